"""Rooms, hours, months and milestones: in any order of changes, they agree with the events."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.jobs import roll_up_recent
from community_directory.queries import members
from community_directory.queries.highlights import Highlight, roll_up, verify
from tests.queries.recounts import find_wrong_counts
from tests.queries.test_highlights import SUMS, locked, together
from tests.queries.test_redeem import held
from tests.tables import rows
from tests.waiting import until_waiting
from tests.zones import use_zone

ZONE = "Europe/Madrid"
AUTUMN = date(2026, 10, 25)
"""A day of 25 hours in Madrid: two hours at 2."""
SPRING = date(2026, 3, 29)
"""A day of 23 hours in Madrid: none at 2."""
FIRST, LAST = AUTUMN - timedelta(days=2), AUTUMN + timedelta(days=8)
"""Days of two months, around the change of the clocks."""
TABLES = (
    *("member_daily_highlights", "member_daily_rooms", "member_monthly_highlights"),
    *("member_monthly_rooms", "member_rooms", "directory_hourly_counts", "member_milestones"),
)


@pytest.fixture(autouse=True)
def in_madrid(monkeypatch: pytest.MonkeyPatch) -> None:
    use_zone(monkeypatch, ZONE)


def at(day: date, hour: int = 12, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), ZoneInfo(ZONE)).astimezone(UTC)


async def message(database: rows.Database, moment: datetime, **columns: object) -> asyncpg.Record:
    return await rows.event(database, member_id="#1", occurred_at=moment, **columns)


async def hours(database: rows.Database) -> list[tuple[Any, ...]]:
    found = await database.fetch(
        "SELECT day, hour, platform, event_type, event_count FROM directory_hourly_counts"
        " ORDER BY day, hour, platform, event_type"
    )
    return [tuple(row) for row in found]


async def milestones(database: rows.Database, number: str = "#1") -> tuple[Any, ...]:
    found = await database.fetchrow(
        "SELECT first_active_day, first_message_day, active_weeks FROM member_milestones"
        " WHERE member_id = $1",
        number,
    )
    assert found is not None
    return tuple(found)


# Any order of changes.


MOMENTS = st.integers(0, int((at(LAST, 23) - at(FIRST, 0)).total_seconds() // 60)).map(
    lambda minutes: at(FIRST, 0) + timedelta(minutes=minutes)
)
DAYS = st.integers(0, (LAST - FIRST).days).map(lambda days: FIRST + timedelta(days=days))
ZONES = st.sampled_from([ZONE, ZONE, "UTC", "America/Havana", "Asia/Kolkata"])
TYPES = st.sampled_from(["MESSAGE", "REACTION", "JOIN", "VOICE"])
NUMBERS = st.sampled_from(["#1", "#2", "#3"])
CHANGES = st.one_of(
    st.tuples(st.just("event"), NUMBERS, TYPES, st.sampled_from("ab"), MOMENTS),
    st.tuples(st.just("delete"), NUMBERS, TYPES),
    st.tuples(st.just("move"), NUMBERS, MOMENTS),
    st.tuples(st.just("retype"), NUMBERS, TYPES),
    st.tuples(st.just("room"), NUMBERS, st.sampled_from("ab")),
    st.tuples(st.just("join"), NUMBERS),
    st.tuples(st.just("roll up"), DAYS, DAYS, ZONES),
)
FIRST_EVENT = "SELECT id FROM member_participation WHERE member_id = $1 ORDER BY id LIMIT 1"


async def apply_change(directory: asyncpg.Pool, kind: str, *values: Any) -> None:
    match kind, values:
        case "event", (number, event_type, room, moment):
            await rows.event(
                directory,
                member_id=number,
                event_type=event_type,
                room_id=room,
                platform="telegram" if room == "a" else "discord",
                occurred_at=moment,
                event_metadata={"duration_seconds": 4000} if event_type == "VOICE" else None,
            )
        case "delete", (number, event_type):
            await directory.execute(
                "DELETE FROM member_participation WHERE member_id = $1 AND event_type = $2",
                number,
                event_type,
            )
        case "move", (number, moment):
            await directory.execute(
                f"UPDATE member_participation SET occurred_at = $2 WHERE id = ({FIRST_EVENT})",
                number,
                moment,
            )
        case "retype", (number, event_type):
            await directory.execute(
                f"UPDATE member_participation SET event_type = $2 WHERE id = ({FIRST_EVENT})",
                number,
                event_type,
            )
        case "room", (number, room):
            await directory.execute(
                f"UPDATE member_participation SET room_id = $2 WHERE id = ({FIRST_EVENT})",
                number,
                room,
            )
        case "join", (number,):
            await directory.execute(
                "UPDATE community_members SET status = 'pending'"
                " WHERE member_id = $1 AND status = 'not_member'",
                number,
            )
            await directory.execute(
                "UPDATE member_milestones SET joined_at = $2 WHERE member_id = $1",
                number,
                at(FIRST, 23, 30) + int(number[1:]) * timedelta(hours=25),
            )
        case _, (first, second, zone):
            await roll_up(min(first, second), until=max(first, second), zone=zone)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.lists(CHANGES, max_size=25))
async def test_after_any_changes_a_roll_up_ends_in_the_rows_of_a_recount(
    directory: asyncpg.Pool, changes: list[tuple[Any, ...]]
) -> None:
    tables = ("member_participation", "member_daily_highlights", *SUMS, "community_members")
    for table in (*tables, "directory_hourly_counts", "directory_rolled_up_days"):
        await directory.execute(f"DELETE FROM {table}")
    await rows.member(directory, member_id="#1", status="active", created_at=at(FIRST, 0, 30))
    for number in ("#2", "#3"):
        await rows.member(directory, member_id=number, status="not_member")
    for change in changes:
        await apply_change(directory, *change)
    # Another zone may have counted events on the day before.
    around = timedelta(days=1)
    await roll_up(FIRST - around, until=LAST + around)
    assert await find_wrong_counts(directory) == {}
    assert await verify(FIRST - around, until=LAST + around) == []


async def test_a_second_roll_up_writes_no_row_of_any_table(directory: asyncpg.Pool) -> None:
    await rows.member(directory, status="active", created_at=at(FIRST))
    for day in (FIRST, AUTUMN, LAST):
        await message(directory, at(day))
    query = " UNION ALL ".join(
        f"SELECT '{table}', xmin::text, ctid::text FROM {table}" for table in TABLES
    )
    await roll_up(FIRST, until=LAST)
    before = await directory.fetch(query)
    assert {name for name, *_ in before} == set(TABLES)
    await roll_up(FIRST, until=LAST)
    await roll_up(AUTUMN)
    assert await directory.fetch(query) == before


# Hours.


@pytest.mark.parametrize(
    ("day", "counts"), [(AUTUMN, {0: 1, 1: 1, 2: 2, 3: 1}), (SPRING, {0: 1, 1: 1, 3: 1, 4: 1})]
)
async def test_an_hour_that_clocks_show_twice_has_the_events_of_both_and_one_that_they_skip_none(
    directory: asyncpg.Pool, day: date, counts: dict[int, int]
) -> None:
    await rows.member(directory)
    for passed in range(sum(counts.values())):
        await message(directory, at(day, 0, 30) + passed * timedelta(hours=1))
    await roll_up(day)
    assert await hours(directory) == [
        (day, hour, "telegram", "MESSAGE", count) for hour, count in counts.items()
    ]


async def test_hours_have_every_type_and_platform_and_no_bot(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await message(directory, at(AUTUMN, 9), event_type="JOIN")
    await message(directory, at(AUTUMN, 9), platform="discord")
    await rows.event(
        directory,
        member_id=(await rows.member(directory, is_bot=True))["member_id"],
        occurred_at=at(AUTUMN, 9),
    )
    await roll_up(AUTUMN)
    assert await hours(directory) == [
        (AUTUMN, 9, "discord", "MESSAGE", 1),
        (AUTUMN, 9, "telegram", "JOIN", 1),
    ]


async def test_after_a_change_of_the_zone_the_job_counts_the_hours_of_old_days_again(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    await message(directory, at(AUTUMN))
    await roll_up_recent()
    use_zone(monkeypatch, "UTC")
    await roll_up_recent()
    assert [(day, hour) for day, hour, *_ in await hours(directory)] == [(AUTUMN, 11)]
    assert await find_wrong_counts(directory) == {}


# Milestones.


async def test_weeks_begin_with_the_local_day_of_joining(directory: asyncpg.Pool) -> None:
    joined = datetime.combine(FIRST, time(22, 30), UTC)  # the next day in Madrid
    await rows.member(directory, status="active", created_at=joined)
    day = FIRST + timedelta(days=1)
    for age in (-1, 0, 6, 14, 83, 84):
        await message(directory, at(day + age * timedelta(days=1)), event_type="REACTION")
    await message(directory, at(day + timedelta(days=20)))
    await roll_up(FIRST, until=FIRST + timedelta(days=90))
    assert await milestones(directory) == (FIRST, day + timedelta(days=20), [1, 3, 12])


async def test_who_joins_after_their_day_was_counted_was_active_in_the_first_week(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="not_member")
    await message(directory, datetime.now(UTC))
    await roll_up_recent()
    assert (await milestones(directory))[2] == []
    await directory.execute("UPDATE community_members SET status = 'pending'")
    # Around midnight they join on the day after.
    await message(directory, datetime.now(UTC))
    await directory.execute(
        "UPDATE member_milestones SET joined_at = ("
        "SELECT max(occurred_at) FROM member_participation)"
    )
    await directory.execute(
        "DELETE FROM member_participation WHERE id <> ("
        "SELECT id FROM member_participation ORDER BY occurred_at DESC LIMIT 1)"
    )
    await roll_up_recent()
    assert (await milestones(directory))[2] == [1]
    assert await find_wrong_counts(directory) == {}


async def test_the_first_days_move_when_events_are_late_or_are_deleted(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="active", created_at=at(FIRST))
    await message(directory, at(LAST))
    await roll_up(LAST)
    assert await milestones(directory) == (LAST, LAST, [2])
    await message(directory, at(AUTUMN))
    await roll_up(AUTUMN)
    assert await milestones(directory) == (AUTUMN, AUTUMN, [1, 2])
    await directory.execute("DELETE FROM member_participation")
    await roll_up(LAST)
    await roll_up(AUTUMN)
    assert await milestones(directory) == (None, None, [])
    assert await find_wrong_counts(directory) == {}


# First and last days in rooms.


async def days_in_rooms(database: rows.Database) -> list[tuple[Any, ...]]:
    found = await database.fetch(
        "SELECT member_id, platform, room_id, first_day, last_day FROM member_rooms"
        " ORDER BY member_id, platform, room_id"
    )
    return [tuple(row) for row in found]


async def test_the_days_in_a_room_are_the_first_and_the_last_one_of_all_months(
    directory: asyncpg.Pool,
) -> None:
    for _ in range(2):
        await rows.member(directory)
    months = [date(2026, month, 31) for month in (1, 3, 5, 7)]
    for day in months:
        await message(directory, at(day), room_id="a")
        await message(directory, at(day), room_id="a", event_type="JOIN")  # no highlight
    await message(directory, at(months[1]), room_id="b")
    await message(directory, at(months[1]), room_id="a", platform="irc")
    await rows.event(directory, member_id="#2", room_id="a", occurred_at=at(months[2]))
    await roll_up(months[0], until=months[-1])
    assert await days_in_rooms(directory) == [
        ("#1", "irc", "a", months[1], months[1]),
        ("#1", "telegram", "a", months[0], months[3]),
        ("#1", "telegram", "b", months[1], months[1]),
        ("#2", "telegram", "a", months[2], months[2]),
    ]
    await directory.execute(
        "DELETE FROM member_participation WHERE room_id = 'b' OR occurred_at IN ($1, $2)",
        at(months[0]),
        at(months[3]),
    )
    for day in months:
        await roll_up(day)
    assert await days_in_rooms(directory) == [
        ("#1", "irc", "a", months[1], months[1]),
        ("#1", "telegram", "a", months[1], months[2]),
        ("#2", "telegram", "a", months[2], months[2]),
    ]


async def test_after_a_change_of_the_zone_the_days_in_rooms_are_those_of_the_new_one(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    await message(directory, at(AUTUMN, 0, 30), room_id="a")
    await roll_up_recent()
    assert await days_in_rooms(directory) == [("#1", "telegram", "a", AUTUMN, AUTUMN)]
    use_zone(monkeypatch, "UTC")
    await roll_up_recent()
    before = AUTUMN - timedelta(days=1)
    assert await days_in_rooms(directory) == [("#1", "telegram", "a", before, before)]


# When people join and are approved.


async def joining(directory: asyncpg.Pool) -> tuple[bool, bool]:
    """Return whether #1 has joined, and whether they are approved."""
    [found] = await directory.fetch(
        "SELECT joined_at IS NOT NULL, approved_at IS NOT NULL FROM community_members"
        " LEFT JOIN member_milestones USING (member_id) WHERE member_id = '#1'"
    )
    return tuple(found)


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["not_member"], (False, False)),
        (["pending"], (True, False)),
        (["active"], (True, True)),
        (["suspended"], (True, True)),
        (["not_member", "pending"], (True, False)),
        (["not_member", "pending", "active"], (True, True)),
        (["pending", "not_member"], (True, False)),
        (["pending", "active", "suspended", "banned"], (True, True)),
        (["not_member", "banned"], (False, False)),
        (["not_member", "banned", "active"], (True, True)),
    ],
)
async def test_joining_and_approval_follow_every_change_of_status(
    directory: asyncpg.Pool, statuses: list[str], expected: tuple[bool, bool]
) -> None:
    added = at(FIRST)
    await rows.member(directory, status=statuses[0], created_at=added)
    for status in statuses[1:]:
        await directory.execute("UPDATE community_members SET status = $1", status)
    assert await joining(directory) == expected
    if statuses[0] != "not_member":
        assert await directory.fetchval("SELECT joined_at FROM member_milestones") == added


async def test_the_first_time_stays_when_somebody_becomes_a_member_again(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="not_member")
    await directory.execute("UPDATE community_members SET status = 'pending'")
    first = await directory.fetchval("SELECT joined_at FROM member_milestones")
    for status in ("not_member", "pending", "active"):
        await directory.execute("UPDATE community_members SET status = $1", status)
    found = await directory.fetchrow(
        "SELECT joined_at, approved_at > $1 FROM member_milestones", first
    )
    assert found is not None
    assert tuple(found) == (first, True)


async def test_the_undoing_of_an_approval_takes_its_time_away(directory: asyncpg.Pool) -> None:
    await rows.member(directory, status="pending")
    await members.set_status("#1", "active", actor="Luis")
    assert await joining(directory) == (True, True)
    await directory.execute("UPDATE community_members SET status = 'pending'")
    assert await joining(directory) == (True, False)


async def test_many_members_of_one_insert_have_their_milestones(directory: asyncpg.Pool) -> None:
    await directory.execute(
        """
        INSERT INTO community_members (telegram_id, name, primary_role, status)
        SELECT n::text, 'Ana', 'developer',
            (ARRAY['not_member', 'pending', 'active'])[1 + n % 3]
        FROM generate_series(1, 300) AS n
        """
    )
    found = await directory.fetchrow(
        "SELECT count(joined_at), count(approved_at), count(*) FROM member_milestones"
    )
    assert found is not None
    assert tuple(found) == (200, 100, 200)


# What verify finds.


ROOM_TABLES = {"member_daily_rooms", "member_monthly_rooms", "member_rooms"}
DAMAGES = {
    "UPDATE member_daily_rooms SET event_count = 9": {"member_daily_rooms", "member_monthly_rooms"},
    "UPDATE member_daily_rooms SET room_id = 'b'": ROOM_TABLES,
    "DELETE FROM member_daily_rooms": ROOM_TABLES,
    "UPDATE member_monthly_rooms SET message_count = 0": {"member_monthly_rooms"},
    # The months say which days to look at.
    "DELETE FROM member_monthly_rooms": {"member_monthly_rooms", "member_rooms"},
    "UPDATE member_rooms SET first_day = '2026-10-24'": {"member_rooms"},
    "UPDATE member_rooms SET last_day = '2026-10-26'": {"member_rooms"},
    "DELETE FROM member_rooms": {"member_rooms"},
    "INSERT INTO member_rooms VALUES ('#2', 'irc', 'a', '2026-10-25', '2026-10-27')": {
        "member_rooms"
    },
    "INSERT INTO member_rooms VALUES ('#2', 'irc', 'a', '2026-10-23', '2026-10-25')": {
        "member_rooms"
    },
    "UPDATE directory_hourly_counts SET hour = 3": {"directory_hourly_counts"},
    "DELETE FROM directory_hourly_counts": {"directory_hourly_counts"},
    "UPDATE member_monthly_highlights SET active_days = 9": {"member_monthly_highlights"},
    "INSERT INTO member_monthly_highlights VALUES ('#2', '2026-10-01', 1, 1, 0, 0)": {
        "member_monthly_highlights"
    },
    "UPDATE member_milestones SET first_active_day = NULL WHERE member_id = '#1'": {
        "member_milestones"
    },
    "UPDATE member_milestones SET active_weeks = '{2}' WHERE member_id = '#2'": {
        "member_milestones"
    },
    "UPDATE member_milestones SET first_message_day = '2026-10-25' WHERE member_id = '#2'": {
        "member_milestones"
    },
}


@pytest.mark.parametrize(("damage", "tables"), DAMAGES.items())
async def test_verify_finds_and_repairs_a_wrong_row_of_any_table(
    directory: asyncpg.Pool, damage: str, tables: set[str]
) -> None:
    for _ in range(2):
        await rows.member(directory, status="active", created_at=at(AUTUMN))
    await message(directory, at(AUTUMN))
    await roll_up(AUTUMN)
    assert await verify(AUTUMN) == []
    await directory.execute(damage)
    found = await verify(AUTUMN)
    assert {difference.row.table for difference in found} == tables
    assert not any(isinstance(difference.row, Highlight) for difference in found)
    assert len(await verify(AUTUMN, repair=True)) == len(found)
    assert await verify(AUTUMN) == []
    assert await find_wrong_counts(directory) == {}


# At the same time.


async def test_two_open_roll_ups_of_days_of_one_month_lose_nothing_of_it(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="active", created_at=at(FIRST))
    for day in (FIRST, AUTUMN):
        await message(directory, at(day))
    async with held(roll_up(AUTUMN), commit=True):
        second = asyncio.create_task(roll_up(FIRST))
        await until_waiting(directory)
    await together(second)
    assert await find_wrong_counts(directory) == {}


async def test_a_roll_up_that_waits_for_a_member_counts_what_has_changed_meanwhile(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="active", created_at=at(FIRST))
    for day in (FIRST, AUTUMN):
        await message(directory, at(day), event_type="JOIN")  # no points, and no highlight
    async with locked(directory, "SELECT FROM community_members FOR NO KEY UPDATE"):
        both = [asyncio.create_task(roll_up(day)) for day in (FIRST, AUTUMN)]
        await until_waiting(directory, 2)
    await together(*both)
    assert await find_wrong_counts(directory) == {}


async def test_a_status_can_change_during_a_roll_up_and_neither_waits_for_ever(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="not_member")
    await message(directory, at(AUTUMN))
    async with held(roll_up(AUTUMN), commit=True):
        joins = asyncio.create_task(
            directory.execute("UPDATE community_members SET status = 'pending'")
        )
        await until_waiting(directory)
    await together(joins)
    assert await joining(directory) == (True, False)
    assert (await milestones(directory))[0] == AUTUMN
