"""Scheduled jobs: they do their work on time, in one worker, and fail without harm."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory import jobs
from community_directory.database import connect, connections
from community_directory.errors import DirectoryError
from community_directory.jobs import (
    archive_old_events,
    end_suspensions,
    expire_overdue_invitations,
    roll_up_recent,
    run_scheduled_jobs,
)
from community_directory.queries.highlights import roll_up, verify
from community_directory.settings import load_settings
from tests.database.test_migrations import SECONDS, session
from tests.processes import running_panel
from tests.roles import app_url
from tests.tables import rows
from tests.waiting import until_waiting
from tests.zones import use_zone

TODAY = date(2026, 1, 31)


@pytest.fixture
def end_of_january(monkeypatch: pytest.MonkeyPatch) -> None:
    """Today is the last of January."""
    monkeypatch.setattr(jobs, "today", lambda: TODAY)


@pytest.fixture
def live_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that sets the community's time zone."""

    def choose(zone: str) -> None:
        use_zone(monkeypatch, zone)

    return choose


async def overdue(database: rows.Database, **columns: object) -> str:
    """Insert an overdue invitation, and return its code."""
    made = await rows.invitation(database, expires_at=datetime(2026, 1, 1, tzinfo=UTC), **columns)
    return str(made["invitation_code"])


async def status_of(database: rows.Database, code: str) -> str:
    return str(
        await database.fetchval(
            "SELECT status FROM community_invitations WHERE invitation_code = $1", code
        )
    )


async def message_at(database: rows.Database, moment: datetime, **columns: object) -> str:
    """Insert a message of this time, and return its member's number."""
    return str((await rows.event(database, occurred_at=moment, **columns))["member_id"])


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


async def rolled_up(database: rows.Database) -> list[date]:
    found = await database.fetch("SELECT highlight_date FROM member_daily_highlights ORDER BY 1")
    return [record["highlight_date"] for record in found]


@asynccontextmanager
async def held(database: str, lock: int) -> AsyncIterator[None]:
    """Hold an advisory lock in another session."""
    async with session(database) as other:
        await other.execute(f"SELECT pg_advisory_lock({lock})")
        yield


async def test_overdue_invitations_expire_and_are_counted(directory: asyncpg.Pool) -> None:
    codes = [await overdue(directory), await overdue(directory)]
    still_open = (await rows.invitation(directory))["invitation_code"]
    cancelled = await overdue(directory, status="cancelled")
    assert await expire_overdue_invitations() == 2
    assert [await status_of(directory, code) for code in codes] == ["expired", "expired"]
    assert await status_of(directory, still_open) == "pending"
    assert await status_of(directory, cancelled) == "cancelled"
    assert await expire_overdue_invitations() == 0


def days_ago(*days: int) -> list[date]:
    return [TODAY - timedelta(days=number) for number in days]


async def assert_no_old_day_is_rolled_up(database: rows.Database) -> None:
    """Check that no day before the last month is counted: its changed rows stay as they are."""
    await database.execute(
        "UPDATE member_daily_highlights SET message_count = 99 WHERE highlight_date < $1",
        TODAY - timedelta(days=31),
    )
    assert await roll_up_recent() == 0


async def test_a_roll_up_finds_every_day_with_events_but_not_tomorrow(
    directory: asyncpg.Pool, end_of_january: None
) -> None:
    """A single transaction takes at most ten years: these days span more."""
    days = days_ago(4 * 366, 400, 32, 31, 3, 1, 0)
    for day in [*days, date(2000, 1, 1), TODAY + timedelta(days=1)]:
        await message_at(directory, noon(day))
    assert await roll_up_recent() == 8
    assert await rolled_up(directory) == [date(2000, 1, 1), *days]
    assert await roll_up_recent() == 0


async def test_a_roll_up_of_a_late_day_hides_no_day_before_it(
    directory: asyncpg.Pool, end_of_january: None
) -> None:
    days = days_ago(62, 50, 40, 1)
    for day in days:
        await message_at(directory, noon(day))
    await roll_up(days[1])
    await roll_up(days[-1], until=TODAY)
    assert await roll_up_recent() == 2
    assert await rolled_up(directory) == days


async def test_a_roll_up_finds_every_change_of_the_events_of_old_days(
    directory: asyncpg.Pool, end_of_january: None
) -> None:
    for _ in range(3):
        await rows.member(directory)
    for day in days_ago(400, 300, 200, 100, 90):
        await message_at(directory, noon(day), member_id="#1")
        await message_at(directory, noon(day), member_id="#2")
    assert await roll_up_recent() == 10
    late, deleted, moved, given, replaced = map(noon, days_ago(300, 200, 100, 90, 400))
    await message_at(directory, late, member_id="#3")
    for moment in (timedelta(hours=12), timedelta(hours=12, microseconds=-1)):
        await message_at(directory, noon(TODAY) - timedelta(days=150) + moment, member_id="#3")
    await directory.execute(
        "DELETE FROM member_participation WHERE member_id = '#1' AND occurred_at = $1", deleted
    )
    await directory.execute(
        "UPDATE member_participation SET occurred_at = occurred_at - interval '20 days'"
        " WHERE occurred_at = $1",
        moved,
    )
    await directory.execute(
        "UPDATE member_participation SET member_id = '#3'"
        " WHERE member_id = '#2' AND occurred_at = $1",
        given,
    )
    # As many events as before, of the same members.
    await directory.execute(
        "DELETE FROM member_participation WHERE member_id = '#1' AND occurred_at = $1", replaced
    )
    await message_at(
        directory, replaced + timedelta(hours=1), member_id="#1", event_type="REACTION"
    )
    assert await roll_up_recent() == 1 + 2 + 1 + 4 + 2 + 1
    first, last = days_ago(400, 0)
    assert await verify(first, until=last) == []
    await assert_no_old_day_is_rolled_up(directory)


async def test_an_event_that_comes_during_the_roll_up_of_its_day_is_found_the_next_time(
    directory: asyncpg.Pool, database: str, end_of_january: None
) -> None:
    [day] = days_ago(90)
    member_id = await message_at(directory, noon(day))
    await roll_up(day)
    await message_at(directory, noon(day), member_id=member_id)
    async with session(database) as other, session(database) as observer:
        await other.execute("BEGIN; SELECT FROM member_daily_highlights FOR UPDATE")
        counting = asyncio.create_task(roll_up(day))
        # It has counted, and waits to write.
        await until_waiting(observer)
        await message_at(observer, noon(day), member_id=member_id)
        await other.execute("ROLLBACK")
        assert await counting == 1
    assert len(await verify(day)) == 1
    assert await roll_up_recent() == 1
    assert await verify(day) == []


async def test_a_roll_up_corrects_rows_of_the_last_month_that_were_changed_by_hand(
    directory: asyncpg.Pool, end_of_january: None
) -> None:
    last, before = days_ago(30, 31)
    for day in (last, before):
        await message_at(directory, noon(day))
    await roll_up_recent()
    await directory.execute("UPDATE member_daily_highlights SET message_count = 9")
    assert await roll_up_recent() == 1
    assert await verify(last) == []
    # The day before was left out, and so was its month.
    assert [found.row.table for found in await verify(before)] == [
        "member_daily_highlights",
        "member_monthly_highlights",
    ]


async def test_days_before_the_first_event_keep_their_highlights(
    directory: asyncpg.Pool, end_of_january: None
) -> None:
    days = days_ago(90, 80, 70)
    for day in days:
        await message_at(directory, noon(day))
    await roll_up_recent()
    await directory.execute(
        "DELETE FROM member_participation WHERE occurred_at < $1", noon(days[1])
    )
    assert await roll_up_recent() == 0
    assert await rolled_up(directory) == days


async def test_after_a_change_of_the_zone_every_day_is_rolled_up_again(
    directory: asyncpg.Pool, live_in: Callable[[str], None], end_of_january: None
) -> None:
    [day] = days_ago(90)
    member_id = await message_at(directory, noon(day - timedelta(days=5)))
    # Each is one day later in Kolkata.
    evening = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
    await message_at(directory, evening, member_id=member_id)
    await message_at(
        directory, evening - timedelta(days=1), member_id=member_id, event_type="REACTION"
    )
    await roll_up_recent()
    live_in("Asia/Kolkata")
    assert await roll_up_recent() == 3
    assert await verify(day - timedelta(days=6), until=TODAY) == []
    await assert_no_old_day_is_rolled_up(directory)


async def test_a_day_without_a_checksum_is_rolled_up_again(
    directory: asyncpg.Pool, end_of_january: None
) -> None:
    [day] = days_ago(90)
    await message_at(directory, noon(day))
    await roll_up_recent()
    await directory.execute("UPDATE member_daily_highlights SET message_count = 9")
    await directory.execute("TRUNCATE directory_rolled_up_days")
    assert await roll_up_recent() == 1
    assert await verify(day) == []


async def test_a_failure_in_an_old_month_delays_no_recent_day(
    database: str, directory: asyncpg.Pool, end_of_january: None
) -> None:
    days = days_ago(90, 50, 0)
    for day in days:
        await message_at(directory, noon(day))
    await directory.execute(
        "ALTER TABLE member_daily_highlights ADD CHECK (highlight_date >= '2025-11-15')"
    )
    with pytest.raises(DirectoryError):
        await roll_up_recent()
    assert await rolled_up(directory) == days[1:]


SPANS = st.integers(0, 70)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["late", "late", "late", "deleted", "moved"]), SPANS)
        | st.tuples(st.sampled_from(["UTC", "Asia/Kolkata"]), SPANS)
        | st.tuples(st.just("night"), st.just(0)),
        max_size=12,
    )
)
async def test_no_day_differs_from_its_events_after_the_nightly_roll_up(
    directory: asyncpg.Pool, end_of_january: None, steps: list[tuple[str, int]]
) -> None:
    await directory.execute("TRUNCATE community_members, directory_rolled_up_days CASCADE")
    await rows.member(directory, member_id="#1")
    # The first event stays, as days before it are left alone.
    await message_at(directory, noon(TODAY - timedelta(days=71)), member_id="#1")
    for number, (step, days) in enumerate(steps):
        day = TODAY - timedelta(days=days)
        match step:
            case "late":
                moment = noon(day) + timedelta(hours=8, seconds=number)
                await message_at(
                    directory, moment, member_id="#1", event_type=("MESSAGE", "REACTION")[days % 2]
                )
            case "deleted":
                await directory.execute(
                    "DELETE FROM member_participation WHERE occurred_at > $2 AND occurred_at ="
                    " (SELECT max(occurred_at) FROM member_participation WHERE occurred_at < $1)",
                    noon(day),
                    noon(TODAY - timedelta(days=71)),
                )
            case "moved":
                await directory.execute(
                    "UPDATE member_participation SET occurred_at = occurred_at - interval '1 day' "
                    "WHERE occurred_at > $1",
                    noon(day) - timedelta(days=1),
                )
            case "night":
                await roll_up_recent()
            case zone:
                await roll_up(day, until=min(day + timedelta(days=days), TODAY), zone=zone)
    await roll_up_recent()
    assert await verify(TODAY - timedelta(days=71), until=TODAY) == []


async def test_a_roll_up_counts_the_days_of_the_communitys_zone(
    directory: asyncpg.Pool, live_in: Callable[[str], None], end_of_january: None
) -> None:
    live_in("America/Mexico_City")
    # Half past eleven in the evening there, of the first day and of the last.
    late = [datetime(2025, 10, 2, 5, 30, tzinfo=UTC), datetime(2026, 2, 1, 5, 30, tzinfo=UTC)]
    for moment in (*late, datetime(2026, 2, 1, 6, 30, tzinfo=UTC)):
        await message_at(directory, moment)
    assert await roll_up_recent() == 2
    assert await rolled_up(directory) == [date(2025, 10, 1), TODAY]


async def test_the_points_of_a_scheduled_roll_up_are_added_to_the_score(
    directory: asyncpg.Pool, end_of_january: None
) -> None:
    member_id = await message_at(directory, noon(TODAY))
    await roll_up_recent()
    scored = "SELECT reputation_score FROM community_members WHERE member_id = $1"
    assert await directory.fetchval(scored, member_id) == 1


async def test_expiry_is_left_to_another_worker_that_does_it(
    directory: asyncpg.Pool, database: str
) -> None:
    code = await overdue(directory)
    async with held(database, jobs.EXPIRY_LOCK_KEY):
        assert await asyncio.wait_for(expire_overdue_invitations(), SECONDS) is None
    assert await status_of(directory, code) == "pending"
    assert await expire_overdue_invitations() == 1


async def test_a_roll_up_is_left_to_another_worker_that_does_it(
    directory: asyncpg.Pool, database: str, end_of_january: None
) -> None:
    await message_at(directory, noon(TODAY))
    async with held(database, jobs.ROLL_UP_LOCK_KEY):
        assert await asyncio.wait_for(roll_up_recent(), SECONDS) is None
    assert await rolled_up(directory) == []
    assert await roll_up_recent() == 1


async def test_the_two_jobs_do_not_block_each_other(directory: asyncpg.Pool, database: str) -> None:
    async with held(database, jobs.ROLL_UP_LOCK_KEY):
        assert await expire_overdue_invitations() == 0
    async with held(database, jobs.EXPIRY_LOCK_KEY):
        assert await roll_up_recent() == 0


@pytest.mark.parametrize(
    ("job", "table"),
    [
        (expire_overdue_invitations, "community_invitations"),
        (roll_up_recent, "directory_rolled_up_days"),
    ],
)
async def test_one_of_two_workers_runs_a_job(
    directory: asyncpg.Pool,
    database: str,
    job: Callable[..., asyncio.Future[int | None]],
    table: str,
) -> None:
    async with session(database) as other:
        await other.execute(f"BEGIN; LOCK TABLE {table}")
        both = [asyncio.ensure_future(job()), asyncio.ensure_future(job())]
        # One worker waits for the table; the other one doesn't wait for the first.
        done, waiting = await asyncio.wait(
            both, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        assert [task.result() for task in done] == [None]
        await other.execute("ROLLBACK")
        assert await asyncio.wait_for(waiting.pop(), SECONDS) == 0


async def test_old_events_are_archived_if_the_settings_say_so(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest = datetime.now(UTC) - timedelta(days=103)
    for day in range(5):
        await message_at(directory, oldest + timedelta(days=day))
    count = "SELECT count(*) FROM member_participation"
    assert await archive_old_events() == 0
    with run_scheduled_jobs() as scheduler:
        assert scheduler.get_job("archive_old_events") is None
    assert await directory.fetchval(count) == 5

    monkeypatch.setenv("DIRECTORY_EVENT_RETENTION_DAYS", "100")
    load_settings.cache_clear()
    with run_scheduled_jobs() as scheduler:
        # It waits for the night, so that an operator can still change their mind.
        names = [job.name for job in scheduler.get_jobs() if job.args == (archive_old_events,)]
        assert names == ["_run_job"]
        assert scheduler.get_job("archive_old_events").trigger.fields[5].expressions[0].first == 6
    assert await archive_old_events() == 3
    assert await archive_old_events() == 0
    assert await directory.fetchval(count) == 2
    # The nightly roll-up goes on after the archived days.
    assert await roll_up_recent() == 2
    assert len(await rolled_up(directory)) == 5


def times(trigger: CronTrigger, start: datetime, count: int) -> Iterator[datetime]:
    """Yield the next times at which the trigger fires, in UTC."""
    before, now = None, start
    for _ in range(count):
        before = now = trigger.get_next_fire_time(before, now)
        yield now.astimezone(UTC)


def hours(*clock: str) -> list[datetime]:
    return [datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in clock]


@pytest.fixture
async def triggers(
    directory: asyncpg.Pool, live_in: Callable[[str], None]
) -> Callable[[str], dict[str, CronTrigger]]:
    """The triggers of three jobs, by zone."""

    def of(zone: str) -> dict[str, CronTrigger]:
        live_in(zone)
        with run_scheduled_jobs() as scheduler:
            return {
                name: scheduler.get_job(name).trigger
                for name in ("end_suspensions", "expire_overdue_invitations", "roll_up_recent")
            }

    return of


NIGHTS = {
    "UTC": ("2026-01-31", ["2026-01-31 04:30", "2026-02-01 04:30", "2026-02-02 04:30"]),
    "America/Mexico_City": (
        "2026-01-31",
        ["2026-01-31 10:30", "2026-02-01 10:30", "2026-02-02 10:30"],
    ),
    "Asia/Kolkata": ("2026-01-31", ["2026-01-30 23:00", "2026-01-31 23:00"]),
    # Each of these when clocks go forward, then when they go back.
    "Africa/Cairo": ("2026-04-23", ["2026-04-23 02:30", "2026-04-24 01:30", "2026-04-25 01:30"]),
    "Africa/Cairo ": ("2026-10-29", ["2026-10-29 01:30", "2026-10-30 02:30", "2026-10-31 02:30"]),
    "America/New_York": (
        "2026-03-07",
        ["2026-03-07 09:30", "2026-03-08 08:30", "2026-03-09 08:30"],
    ),
    "America/New_York ": (
        "2026-10-31",
        ["2026-10-31 08:30", "2026-11-01 09:30", "2026-11-02 09:30"],
    ),
    "Europe/Berlin": ("2026-03-28", ["2026-03-28 03:30", "2026-03-29 02:30", "2026-03-30 02:30"]),
    "Europe/Berlin ": ("2026-10-24", ["2026-10-24 02:30", "2026-10-25 03:30", "2026-10-26 03:30"]),
}


@pytest.mark.parametrize("zone", NIGHTS)
async def test_the_days_are_rolled_up_once_each_night_of_the_community(
    triggers: Callable[[str], dict[str, CronTrigger]], zone: str
) -> None:
    first, expected = NIGHTS[zone]
    start = datetime.fromisoformat(first).replace(tzinfo=ZoneInfo(zone.strip()))
    found = list(times(triggers(zone.strip())["roll_up_recent"], start, len(expected)))
    assert found == hours(*expected)


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("UTC", "2026-01-31 22:10"),
        ("America/Mexico_City", "2026-01-31 22:10"),
        ("Africa/Cairo", "2026-04-23 15:10"),
        ("Africa/Cairo", "2026-10-29 15:10"),
        ("America/New_York", "2026-03-08 00:10"),
        ("America/New_York", "2026-11-01 00:10"),
        ("Europe/Berlin", "2026-03-28 20:10"),
        ("Europe/Berlin", "2026-10-24 20:10"),
    ],
)
async def test_invitations_expire_each_hour_even_when_the_clocks_change(
    triggers: Callable[[str], dict[str, CronTrigger]], zone: str, start: str
) -> None:
    [moment] = hours(start)
    found = list(
        times(triggers(zone)["expire_overdue_invitations"], moment.astimezone(ZoneInfo(zone)), 24)
    )
    assert found == [moment.replace(minute=0) + timedelta(hours=number) for number in range(1, 25)]


@asynccontextmanager
async def watched(scheduler: AsyncIOScheduler, count: int) -> AsyncIterator[list[str]]:
    """Yield the list of jobs that end, and wait at the end until there are so many."""
    scheduler.pause_job("end_suspensions")  # it could run at any moment
    ended: list[str] = []
    enough = asyncio.Event()

    def note(event: object) -> None:
        ended.append(str(getattr(event, "job_id", "")))
        if len(ended) >= count:
            enough.set()

    scheduler.add_listener(note, EVENT_JOB_EXECUTED)
    yield ended
    await asyncio.wait_for(enough.wait(), SECONDS)


async def test_two_of_the_jobs_run_right_after_the_start(
    directory: asyncpg.Pool, end_of_january: None, caplog: pytest.LogCaptureFixture
) -> None:
    code = await overdue(directory)
    await message_at(directory, noon(TODAY - timedelta(days=1)))
    with caplog.at_level(logging.INFO, jobs.__name__), run_scheduled_jobs() as scheduler:
        async with watched(scheduler, 2):
            pass
        assert {job.id for job in scheduler.get_jobs()} == {
            "end_suspensions",
            "expire_overdue_invitations",
            "roll_up_recent",
            "check_directory",
        }
    assert await status_of(directory, code) == "expired"
    assert await rolled_up(directory) == [TODAY - timedelta(days=1)]
    said = {record.getMessage() for record in caplog.records if record.name == jobs.__name__}
    assert said == {"expire_overdue_invitations: 1 rows", "roll_up_recent: 1 rows"}


async def test_the_log_shows_that_there_was_nothing_to_do(
    directory: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, jobs.__name__), run_scheduled_jobs() as scheduler:
        async with watched(scheduler, 2):
            pass
    said = {record.getMessage() for record in caplog.records if record.name == jobs.__name__}
    assert said == {"expire_overdue_invitations: 0 rows", "roll_up_recent: 0 rows"}


async def test_the_job_of_each_minute_is_silent_unless_it_did_something(
    directory: asyncpg.Pool,
    triggers: Callable[[str], dict[str, CronTrigger]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    noon_utc = datetime(2026, 1, 31, 12, tzinfo=UTC)
    found = times(triggers("UTC")["end_suspensions"], noon_utc, 2)
    assert list(found) == [noon_utc, noon_utc + timedelta(minutes=1)]
    with caplog.at_level(logging.INFO, jobs.__name__):
        await jobs._run_job(end_suspensions)
        await rows.member(directory, status="suspended", suspended_until=noon_utc)
        await jobs._run_job(end_suspensions)
    said = [record.getMessage() for record in caplog.records if record.name == jobs.__name__]
    assert said == ["end_suspensions: 1 rows"]
    assert await directory.fetchval("SELECT status FROM community_members") == "active"


async def test_the_log_shows_that_another_worker_runs_the_jobs(
    directory: asyncpg.Pool, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with held(database, jobs.EXPIRY_LOCK_KEY), held(database, jobs.ROLL_UP_LOCK_KEY):
        with caplog.at_level(logging.INFO, jobs.__name__), run_scheduled_jobs() as scheduler:
            async with watched(scheduler, 2):
                pass
    said = {record.getMessage() for record in caplog.records if record.name == jobs.__name__}
    assert said == {
        "expire_overdue_invitations: another worker runs it",
        "roll_up_recent: another worker runs it",
    }


@pytest.mark.parametrize("job", ["expire_overdue_invitations", "roll_up_recent"])
async def test_a_job_that_a_sleeping_machine_missed_runs_once(
    directory: asyncpg.Pool, job: str
) -> None:
    with run_scheduled_jobs() as scheduler:
        async with watched(scheduler, 2):
            pass
        async with watched(scheduler, 1) as ended:
            scheduler.modify_job(job, next_run_time=datetime.now(UTC) - timedelta(days=3))
        await asyncio.sleep(0.2)
        assert ended == [job]
        assert scheduler.get_job(job).next_run_time > datetime.now(UTC)


async def test_each_job_logs_one_warning_about_a_database_without_tables(
    empty_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connect(empty_database, min_size=0):
        with run_scheduled_jobs() as scheduler:
            async with watched(scheduler, 2):
                pass
    why = "The database's tables are missing, or of another version. Run the migrations first."
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {record.getMessage() for record in warned} == {
        f"{name} failed, and is tried again at its next run: {why}"
        for name in ("expire_overdue_invitations", "roll_up_recent")
    }
    assert len(warned) == 2
    assert not any(record.exc_info for record in warned)


async def test_a_job_that_takes_too_long_is_cut_off_and_says_so(
    directory: asyncpg.Pool,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(jobs, "JOB_TIMEOUT", timedelta(seconds=0.5))
    async with session(database) as other:
        await other.execute("BEGIN; LOCK TABLE community_invitations, directory_rolled_up_days")
        with run_scheduled_jobs() as scheduler:
            async with watched(scheduler, 2):
                pass
    assert {
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    } == {
        f"{name} took longer than 0:00:00.500000, and continues at its next run."
        for name in ("expire_overdue_invitations", "roll_up_recent")
    }


async def test_the_jobs_end_with_the_app(directory: asyncpg.Pool) -> None:
    with run_scheduled_jobs() as scheduler:
        assert scheduler.running
    await asyncio.sleep(0)
    assert not scheduler.running
    with pytest.raises(ZeroDivisionError), run_scheduled_jobs() as scheduler:
        raise ZeroDivisionError
    await asyncio.sleep(0)
    assert not scheduler.running


async def test_a_job_that_hangs_does_not_delay_the_end(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CLOSE_TIMEOUT_SECONDS", 3600)
    async with session(database) as other, session(database) as observer:
        await other.execute("BEGIN; LOCK TABLE community_invitations, member_daily_highlights")
        async with asyncio.timeout(SECONDS), connect(app_url(database), min_size=0):
            with run_scheduled_jobs():
                await until_waiting(observer, 2)


async def test_a_running_panel_expires_invitations_and_rolls_up(database: str) -> None:
    async with session(database) as connection:
        code = await overdue(connection)
        # Today, or yesterday when midnight comes in between.
        await message_at(connection, await connection.fetchval("SELECT now()"))
        with running_panel(POSTGRES_URL=app_url(database)) as panel:
            async with asyncio.timeout(SECONDS):
                while await status_of(connection, code) == "pending" or not await rolled_up(
                    connection
                ):
                    await asyncio.sleep(0.1)
            panel.stop()
            assert len(panel.printed) == 2, panel.printed
        changed = await connection.fetchval(
            "SELECT count(*) FROM directory_audit_log WHERE actor = 'expiry'"
        )
    assert changed == 1
