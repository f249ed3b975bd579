"""Highlights: in any order of changes, the rows agree with the events, and the scores follow."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.calendar import days_between
from community_directory.database import act_as, engine, transaction
from community_directory.errors import DirectoryError, InvalidCursor, InvalidInput
from community_directory.queries import members, participation
from community_directory.queries.highlights import (
    ADD_EARNED_POINTS,
    FIND_CHANGED_DAYS,
    Difference,
    Highlight,
    between,
    roll_up,
    verify,
)
from community_directory.queries.participation import NewEvent
from community_directory.tables.checks import MAX_VOICE_SECONDS
from tests.queries.cases import undone
from tests.queries.test_participation import (
    INSERT_MESSAGE,
    blocked,
)
from tests.queries.test_redeem import held
from tests.tables import rows
from tests.waiting import until_blocked_by, until_ended_or_waiting, until_waiting
from tests.zones import use_zone

SECONDS = 30
"""How long anything here may take before it counts as stuck."""
MICROSECOND = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = 3600
"""An hour in seconds."""
DAY = date(2026, 1, 31)
NEXT = DAY + timedelta(days=1)
BEFORE = DAY - timedelta(days=1)

SUMS = (
    *("member_daily_rooms", "member_monthly_rooms", "member_rooms"),
    "member_monthly_highlights",
)
"""The tables that refer to members and are counted with the highlights."""

Rows: TypeAlias = dict[tuple[str, date], tuple[int, int, int, int]]


def at(day: date = DAY, hour: int = 12) -> datetime:
    return datetime.combine(day, time(hour), UTC)


async def stored(database: rows.Database) -> Rows:
    found = await database.fetch(
        """
        SELECT member_id, highlight_date, message_count, reaction_count, voice_minutes,
            reputation_earned
        FROM member_daily_highlights
        """
    )
    return {(member, day): tuple(counts) for member, day, *counts in found}


def of_days(differences: list[Difference]) -> list[Difference]:
    """Return the differences of the highlights themselves."""
    return [found for found in differences if isinstance(found.row, Highlight)]


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        (datetime(2000, 1, 1, 0, 0, tzinfo=UTC), "America/Mexico_City", date(1999, 12, 31)),
        (datetime(2199, 12, 31, 23, 59, tzinfo=UTC), "Pacific/Kiritimati", date(2200, 1, 1)),
    ],
)
async def test_the_earliest_and_the_latest_event_have_a_day_in_every_zone(
    directory: asyncpg.Pool, moment: datetime, zone: str, day: date
) -> None:
    await rows.event(directory, occurred_at=moment)
    assert await roll_up(day, zone=zone) == 1
    assert await verify(day, zone=zone) == []
    assert list(await stored(directory)) == [("#1", day)]


async def scores(database: rows.Database) -> dict[str, int]:
    records = await database.fetch(
        "SELECT member_id, reputation_score FROM community_members ORDER BY 1"
    )
    return dict(map(tuple, records))


async def messages(
    database: rows.Database, count: int, member_id: str = "#1", day: date = DAY
) -> None:
    """Insert that many messages of one day with SQL, so that the member's row does not change."""
    await database.execute(
        """
        INSERT INTO member_participation (member_id, event_type, platform, room_id, occurred_at)
        SELECT $1, 'MESSAGE', 'telegram', '-1', $2 FROM generate_series(1, $3)
        """,
        member_id,
        at(day),
        count,
    )


# Days.


# A day of 23 hours, one of 25, no midnight, two of them.
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("UTC", DAY),
        ("America/New_York", date(2026, 3, 8)),
        ("America/New_York", date(2026, 11, 1)),
        ("Africa/Cairo", date(2026, 4, 24)),
        ("America/Havana", date(2026, 11, 1)),
    ],
)
async def test_a_day_ends_at_the_first_moment_of_the_next_day(
    directory: asyncpg.Pool, zone: str, day: date
) -> None:
    await rows.member(directory)
    days = [day + timedelta(days=number) for number in (-1, 0, 1)]
    for start in (datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC) for day in days):
        for moment in (start - MICROSECOND, start):
            await rows.event(directory, member_id="#1", occurred_at=moment)
    expected = {("#1", day): (2, 0, 0, 2) for day in days[:2]}
    for alone in days[:2]:
        assert await roll_up(alone, zone=zone) == 1
    assert await stored(directory) == expected
    assert await roll_up(days[0], until=days[1], zone=zone) == 0
    await directory.execute("DELETE FROM member_daily_highlights")
    assert await roll_up(days[0], until=days[1], zone=zone) == 2
    assert await stored(directory) == expected


# Points.


@pytest.mark.parametrize(
    ("done", "row"),
    [
        ({"MESSAGE": 1}, (1, 0, 0, 1)),
        ({"MESSAGE": 5}, (5, 0, 0, 5)),
        ({"MESSAGE": 6}, (6, 0, 0, 5)),
        ({"REACTION": 1}, (0, 1, 0, 0)),
        ({"REACTION": 2}, (0, 2, 0, 1)),
        ({"REACTION": 5}, (0, 5, 0, 2)),
        ({"REACTION": 8}, (0, 8, 0, 3)),
        ({"VOICE": 1}, (0, 0, 10, 1)),
        ({"VOICE": 7}, (0, 0, 70, 6)),
        ({"MESSAGE": 4, "REACTION": 4, "VOICE": 3}, (4, 4, 30, 9)),
        ({"MESSAGE": 9, "REACTION": 9, "VOICE": 9}, (9, 9, 90, 10)),
        ({"JOIN": 9, "MESSAGE": 1}, (1, 0, 0, 1)),
    ],
)
async def test_a_day_earns_the_points_of_the_table(
    directory: asyncpg.Pool, done: dict[str, int], row: tuple[int, ...]
) -> None:
    await rows.member(directory, reputation_score=95)
    for kind, times in done.items():
        for number in range(times):
            await rows.event(
                directory,
                member_id="#1",
                event_type=kind,
                occurred_at=at() + number * timedelta(minutes=10),
                event_metadata={"duration_seconds": 600},
            )
    assert await roll_up(DAY) == 1
    assert await stored(directory) == {("#1", DAY): row}
    assert await scores(directory) == {"#1": 95 + row[-1]}


async def test_a_day_of_other_events_has_no_row(directory: asyncpg.Pool) -> None:
    await rows.event(directory, event_type="JOIN", occurred_at=at())
    assert await roll_up(DAY) == 0
    assert await stored(directory) == {}


# Voice.


async def stay(
    database: rows.Database,
    start: datetime,
    seconds: float,
    *,
    member_id: str = "#1",
    platform: str = "telegram",
    key: str = "duration_seconds",
) -> asyncpg.Record:
    """Insert a stay in a voice chat."""
    return await rows.event(
        database,
        member_id=member_id,
        platform=platform,
        event_type="VOICE",
        occurred_at=start,
        event_metadata={key: seconds},
    )


async def minutes(database: rows.Database) -> dict[date, int]:
    """Return the minutes of the member #1 by day."""
    return {
        day: counts[2]
        for (member, day), counts in (await stored(database)).items()
        if member == "#1"
    }


async def test_voice_minutes_are_the_sum_of_the_seconds_of_a_day(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    for number, seconds in enumerate((30, 29.5, 0.25, 0.25)):
        await stay(directory, at() + number * timedelta(minutes=1), seconds)
    await roll_up(DAY)
    assert await stored(directory) == {("#1", DAY): (0, 0, 1, 0)}


async def test_a_stay_over_midnight_belongs_to_both_days(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await stay(directory, at(DAY, 22), 26 * HOUR)
    assert await roll_up(BEFORE, until=NEXT + timedelta(days=1)) == 2
    assert await minutes(directory) == {DAY: 120, NEXT: 1440}
    assert await scores(directory) == {"#1": 12}
    # The same rows, a day at a time.
    await directory.execute("DELETE FROM member_daily_highlights")
    assert [await roll_up(day) for day in (NEXT, DAY, BEFORE)] == [1, 1, 0]
    assert await minutes(directory) == {DAY: 120, NEXT: 1440}
    assert await verify(BEFORE, until=NEXT) == []


async def test_the_longest_stay_fills_its_days(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await stay(directory, at(DAY), MAX_VOICE_SECONDS)
    last = DAY + timedelta(days=31)
    await roll_up(DAY, until=last + timedelta(days=1))
    counted = await minutes(directory)
    assert (counted.pop(DAY), counted.pop(last)) == (720, 720)
    assert counted == {DAY + timedelta(days=number): 1440 for number in range(1, 31)}


# A day of 23 hours, one of 25, no midnight, two of them, and a day that does not exist.
@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("UTC", DAY, [1440, 1440, 1440]),
        ("America/New_York", date(2026, 3, 8), [1440, 1380, 1440]),
        ("America/New_York", date(2026, 11, 1), [1440, 1500, 1440]),
        ("Africa/Cairo", date(2026, 4, 24), [1440, 1380, 1440]),
        ("America/Havana", date(2026, 11, 1), [1440, 1500, 1440]),
        ("Pacific/Apia", date(2011, 12, 30), [1440, None, 1440]),
    ],
)
async def test_a_day_has_at_most_its_own_minutes(
    directory: asyncpg.Pool, zone: str, day: date, expected: list[int | None]
) -> None:
    await rows.member(directory)
    start = datetime.combine(day, time(12), ZoneInfo(zone)).astimezone(UTC)
    await stay(directory, start - timedelta(days=4), 8 * 24 * HOUR)
    await stay(directory, start - timedelta(days=3), 8 * 24 * HOUR, platform="discord")
    days = [day + timedelta(days=number) for number in (-1, 0, 1)]
    await roll_up(days[0], until=days[2], zone=zone)
    counted = await minutes(directory)
    assert [counted.get(each) for each in days] == expected


@pytest.mark.parametrize(
    ("stays", "expected"),
    [
        ([(0, 60), (0, 60)], 60),
        ([(0, 60), (30, 60)], 90),
        ([(0, 60), (10, 20)], 60),
        ([(0, 60), (60, 60)], 120),
        ([(0, 60), (70, 60)], 120),
        ([(0, 30), (60, 30), (20, 50)], 90),
        ([(0, 0), (10, 0)], 0),
    ],
)
async def test_stays_at_the_same_time_are_one_on_whatever_platform(
    directory: asyncpg.Pool, stays: list[tuple[int, int]], expected: int
) -> None:
    await rows.member(directory)
    await rows.member(directory)
    for number, (start, length) in enumerate(stays):
        platform = ("telegram", "discord")[number % 2]
        await stay(directory, at() + start * timedelta(minutes=1), length * 60, platform=platform)
    await stay(directory, at(), 600, member_id="#2")
    await roll_up(DAY)
    assert await minutes(directory) == {DAY: expected}
    assert (await stored(directory))["#2", DAY] == (0, 0, 10, 1)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"voice_duration_seconds": 600}, 10),
        ({"duration_seconds": 600}, 10),
        ({"duration_seconds": 600, "voice_duration_seconds": 1200}, 10),
        ({"duration_seconds": 0, "voice_duration_seconds": 1200}, 0),
        ({"title": "standup"}, 0),
        (None, 0),
    ],
)
async def test_either_name_of_a_duration_is_read(
    directory: asyncpg.Pool, metadata: dict[str, Any] | None, expected: int
) -> None:
    await rows.event(directory, event_type="VOICE", occurred_at=at(), event_metadata=metadata)
    await roll_up(DAY)
    assert await minutes(directory) == {DAY: expected}


def minutes_of_stays(stays: list[tuple[datetime, float]]) -> dict[date, int]:
    """Return the minutes of each day in UTC, from the starts and the seconds of stays."""
    seconds: dict[date, timedelta] = {}
    until = datetime.min.replace(tzinfo=UTC)
    for start, length in sorted(stays):
        position, end = max(start, until), start + timedelta(seconds=length)
        while position < end:
            midnight = datetime.combine(position.date(), time(), UTC) + timedelta(days=1)
            part = min(end, midnight) - position
            seconds[position.date()] = seconds.get(position.date(), timedelta()) + part
            position = min(end, midnight)
        until = max(until, end)
    return {day: int(passed.total_seconds() // 60) for day, passed in seconds.items()}


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    stays=st.lists(
        st.tuples(
            st.integers(0, 3 * 24 * 60).map(lambda number: at(DAY, 0) + number * MINUTE),
            st.integers(0, 4000) | st.integers(0, 2 * 24 * 3600),
        ),
        max_size=6,
    )
)
async def test_the_minutes_of_any_stays_are_those_that_passed_on_each_day(
    directory: asyncpg.Pool, stays: list[tuple[datetime, float]]
) -> None:
    for table in ("member_participation", "member_daily_highlights", *SUMS, "community_members"):
        await directory.execute(f"DELETE FROM {table}")
    await rows.member(directory, member_id="#1")
    for start, length in stays:
        await stay(directory, start, length)
    await roll_up(DAY, until=DAY + timedelta(days=6))
    counted = {day: number for day, number in (await minutes(directory)).items() if number}
    assert counted == {day: number for day, number in minutes_of_stays(stays).items() if number}


async def changed(since: date, until: date) -> list[date]:
    """Return the days that the nightly job would roll up."""
    days = days_between(since, until, "UTC")._asdict()
    records = await engine.fetch(FIND_CHANGED_DAYS, **days, recent=date.max)
    return [record["day"] for record in records]


async def test_a_stay_that_reaches_into_later_days_changes_them(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    days = [DAY + timedelta(days=number) for number in range(5)]
    await roll_up(days[0], until=days[-1])
    assert await changed(days[0], days[-1]) == []
    made = await stay(directory, at(days[1], 23), 26 * HOUR)
    assert await changed(days[0], days[-1]) == days[1:4]
    await roll_up(days[0], until=days[-1])
    assert await changed(days[0], days[-1]) == []

    # It ends a second later, then a day later, and then it ends on the day on which it began.
    for seconds, expected in (
        (26 * HOUR + 1, days[2:4]),
        (50 * HOUR, days[2:5]),
        (HOUR, days[2:5]),
    ):
        await directory.execute(
            "UPDATE member_participation SET event_metadata = $1 WHERE id = $2",
            json.dumps({"duration_seconds": seconds}),
            made["id"],
        )
        assert await changed(days[0], days[-1]) == expected
        await roll_up(days[0], until=days[-1])
    assert await minutes(directory) == {days[1]: 60}


async def test_removed_members_are_counted(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await messages(directory, 3)
    await members.remove("#1", actor="Luis")
    await roll_up(DAY)
    assert (await stored(directory), await scores(directory)) == (
        {("#1", DAY): (3, 0, 0, 3)},
        {"#1": 3},
    )


# Again, and later.


async def versions(database: rows.Database) -> list[tuple[object, ...]]:
    found = await database.fetch(
        """
        SELECT 'highlight', id::text, xmin::text, ctid::text FROM member_daily_highlights
        UNION ALL SELECT 'member', member_id, xmin::text, ctid::text FROM community_members
        UNION ALL SELECT 'day', day::text, xmin::text, ctid::text FROM directory_rolled_up_days
        UNION ALL SELECT 'log', id::text, xmin::text, ctid::text FROM directory_audit_log
        ORDER BY 1, 2
        """
    )
    return [tuple(row) for row in found]


async def test_a_second_roll_up_writes_nothing_at_all(directory: asyncpg.Pool) -> None:
    for number in (1, 2, 3):
        await rows.member(directory)
        await messages(directory, number, f"#{number}")
    assert await roll_up(BEFORE, until=NEXT) == 3
    before = await versions(directory)
    assert await roll_up(DAY) == 0
    assert await roll_up(BEFORE, until=NEXT) == 0
    assert await versions(directory) == before


async def test_a_member_whose_points_stay_the_same_is_not_written(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await messages(directory, 5)
    await roll_up(DAY)
    before = await directory.fetchrow("SELECT *, xmin, ctid FROM community_members")
    await messages(directory, 1)
    assert await roll_up(DAY) == 1
    assert await directory.fetchrow("SELECT *, xmin, ctid FROM community_members") == before


COLUMNS = ["message_count", "reaction_count", "voice_minutes", "reputation_earned"]


@pytest.mark.parametrize("value", [7, None])
@pytest.mark.parametrize("column", COLUMNS)
async def test_a_row_that_was_changed_by_hand_is_corrected(
    directory: asyncpg.Pool, column: str, value: int | None
) -> None:
    await rows.member(directory, reputation_score=50)
    await messages(directory, 2)
    await roll_up(DAY)
    await directory.execute(f"UPDATE member_daily_highlights SET {column} = $1", value)
    assert len(of_days(await verify(DAY))) == 1
    assert await roll_up(DAY) == 1
    assert await stored(directory) == {("#1", DAY): (2, 0, 0, 2)}
    assert await verify(DAY) == []
    # The score follows what the points of the row become.
    changed = 2 - (value or 0) if column == "reputation_earned" else 0
    assert await scores(directory) == {"#1": 52 + changed}


async def test_each_member_gets_the_points_of_their_own_days(directory: asyncpg.Pool) -> None:
    earned = {f"#{number}": 1 + number * 7 % 5 for number in range(1, 21)}
    for member_id, points in earned.items():
        await rows.member(directory, member_id=member_id)
        await messages(directory, points, member_id)
    await roll_up(DAY)
    assert await scores(directory) == earned


async def test_a_row_that_was_moved_to_another_day_by_hand_is_made_again(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    for day in (DAY, NEXT):
        await messages(directory, 2, day=day)
    await roll_up(DAY)
    await directory.execute("UPDATE member_daily_highlights SET highlight_date = $1", NEXT)
    assert await roll_up(DAY, until=NEXT) == 1
    assert await stored(directory) == {("#1", DAY): (2, 0, 0, 2), ("#1", NEXT): (2, 0, 0, 2)}
    assert await scores(directory) == {"#1": 4}


async def test_new_rows_are_stored_in_the_order_of_members_days_and_calls(
    directory: asyncpg.Pool,
) -> None:
    """So one page of each index after the other is filled."""
    # In the space of deleted rows, PostgreSQL would store new ones in an order of its own.
    await directory.execute("TRUNCATE member_daily_highlights")
    for number in (2, 3, 1):
        await rows.member(directory, member_id=f"#{number}")
        for day in (NEXT, BEFORE, DAY):
            await messages(directory, 1, f"#{number}", day)
    await roll_up(DAY, until=NEXT)
    found = await directory.fetch(
        "SELECT member_id, highlight_date, id FROM member_daily_highlights ORDER BY ctid"
    )
    assert [(row["member_id"], row["highlight_date"]) for row in found] == [
        (f"#{number}", day) for number in (1, 2, 3) for day in (DAY, NEXT)
    ]
    starts = {row["id"].hex[:12] for row in found}
    assert len(starts) == 1
    await roll_up(BEFORE)
    later = await directory.fetch(
        "SELECT id FROM member_daily_highlights WHERE highlight_date = $1", BEFORE
    )
    assert all(found_id.hex[:12] >= max(starts) for (found_id,) in later)


async def test_points_are_added_to_the_locked_versions_without_a_look_at_other_members(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await directory.execute("VACUUM ANALYZE community_members")
    async with transaction() as current:
        # One member is read as a whole unless that seems expensive.
        await current.connection.execute(
            "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"
        )
        plan = await current.connection.fetch(
            f"EXPLAIN {ADD_EARNED_POINTS.sql}",
            *ADD_EARNED_POINTS.arguments(
                {"actor": "roll-up", "reason": None, "versions": [(0, 1)], "points": [1]}
            ),
        )
    scans = [line.split(" on ")[0].split("->")[-1].strip() for (line,) in plan if "Scan on" in line]
    assert "Tid Scan" in scans
    assert not any("community_members" in line and "Seq Scan" in line for (line,) in plan)


async def test_a_row_that_was_made_by_hand_is_corrected_or_deleted(directory: asyncpg.Pool) -> None:
    await rows.member(directory, reputation_score=60)
    await messages(directory, 2)
    for day in (BEFORE, DAY, NEXT):
        await rows.highlight(
            directory, member_id="#1", highlight_date=day, message_count=9, reputation_earned=5
        )
    assert await roll_up(DAY) == 1
    assert await stored(directory) == {
        ("#1", BEFORE): (9, 0, 0, 5),
        ("#1", DAY): (2, 0, 0, 2),
        ("#1", NEXT): (9, 0, 0, 5),
    }
    assert await scores(directory) == {"#1": 57}
    assert await roll_up(BEFORE, until=NEXT) == 2
    assert await stored(directory) == {("#1", DAY): (2, 0, 0, 2)}
    assert await scores(directory) == {"#1": 47}


@pytest.mark.parametrize(
    ("score", "after"), [(2**31 - 1, 2**31 - 1), (2**31 - 4, 2**31 - 1), (2**31 - 10, 2**31 - 5)]
)
async def test_a_score_stops_at_the_largest_integer(
    directory: asyncpg.Pool, score: int, after: int
) -> None:
    await rows.member(directory, reputation_score=score)
    await rows.member(directory)
    for member_id in ("#1", "#2"):
        await messages(directory, 9, member_id)
    assert await roll_up(DAY) == 2
    assert await scores(directory) == {"#1": after, "#2": 5}


@pytest.mark.parametrize(("score", "after"), [(0, 0), (4, 0), (5, 0), (6, 1)])
async def test_a_score_never_falls_below_zero(
    directory: asyncpg.Pool, score: int, after: int
) -> None:
    await rows.member(directory)
    await messages(directory, 9)
    await roll_up(DAY)
    await directory.execute("UPDATE community_members SET reputation_score = $1", score)
    await directory.execute("DELETE FROM member_participation")
    assert await roll_up(DAY) == 1
    assert await scores(directory) == {"#1": after}


async def test_a_day_that_does_not_exist_counts_nothing(directory: asyncpg.Pool) -> None:
    await rows.event(directory, occurred_at=datetime(2011, 12, 30, 10, tzinfo=UTC))
    assert await roll_up(date(2011, 12, 30), zone="Pacific/Apia") == 0
    assert await roll_up(date(2011, 12, 29), until=date(2011, 12, 31), zone="Pacific/Apia") == 1
    assert (await stored(directory)).keys() == {("#1", date(2011, 12, 31))}


async def test_the_days_are_those_of_the_community_by_default(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.event(directory, occurred_at=at(DAY, 20))
    use_zone(monkeypatch, "Asia/Kolkata")
    assert await roll_up(DAY) == 0
    assert await roll_up(NEXT) == 1
    assert (await stored(directory)).keys() == {("#1", NEXT)}
    assert await verify(NEXT) == []
    assert len(of_days(await verify(NEXT, zone="UTC"))) == 1


@pytest.mark.parametrize(
    ("days", "field"),
    [
        ({"day": NEXT, "until": DAY}, "until"),
        ({"day": at()}, "since"),
        ({"day": DAY, "zone": "Nowhere"}, "zone"),
    ],
)
@pytest.mark.parametrize("question", [roll_up, verify])
async def test_invalid_days_are_refused(
    directory: asyncpg.Pool,
    question: Callable[..., Awaitable[object]],
    days: dict[str, Any],
    field: str,
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await question(**days)
    assert refused.value.field == field


# One transaction.


async def test_a_rollback_of_the_caller_undoes_a_roll_up(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await messages(directory, 3)
    async with undone() as current:
        assert await roll_up(DAY) == 1
        assert await stored(current.connection) == {("#1", DAY): (3, 0, 0, 3)}
        assert await scores(current.connection) == {"#1": 3}
        assert await stored(directory) == {}
    assert (await stored(directory), await scores(directory)) == ({}, {"#1": 0})


# Each constraint makes one write fail: the score, the row, or the log entry of the tier.
OBSTACLES = {
    "the score": "ALTER TABLE community_members ADD CONSTRAINT low CHECK (reputation_score < 103)",
    "the row": "ALTER TABLE member_daily_highlights ADD CONSTRAINT fewer CHECK (message_count < 3)",
    "the log": "ALTER TABLE directory_audit_log ADD CONSTRAINT none CHECK (actor <> 'roll-up')",
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES.keys())
async def test_rows_and_scores_are_written_together_or_not_at_all(
    database: str, directory: asyncpg.Pool, obstacle: str
) -> None:
    for number in (1, 2, 3):
        await rows.member(directory, reputation_score=100)
        await messages(directory, number, f"#{number}")
    await directory.execute(obstacle)
    before = await versions(directory)
    with pytest.raises(DirectoryError):
        await roll_up(DAY)
    assert await versions(directory) == before


async def test_a_roll_up_that_fails_leaves_the_callers_transaction_usable(
    database: str, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, reputation_score=100)
    await messages(directory, 3)
    await directory.execute(OBSTACLES["the score"])
    async with transaction() as current:
        with pytest.raises(DirectoryError):
            await roll_up(DAY)
        await current.connection.execute("UPDATE community_members SET reputation_score = 102")
    assert (await stored(directory), await scores(directory)) == ({}, {"#1": 102})
    assert (await entries(directory))[-1][1] == {
        "reputation_score": [100, 102],
        "reputation_tier": ["Novice", "Contributor"],
    }


# The log.


async def entries(database: rows.Database) -> list[tuple[str, dict[str, Any]]]:
    found = await database.fetch(
        "SELECT actor, changes FROM directory_audit_log WHERE action = 'UPDATE' ORDER BY id"
    )
    return [(actor, json.loads(changes)) for actor, changes in found]


async def test_points_leave_no_entry_in_the_log_and_a_new_tier_does(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, reputation_score=95)
    await rows.member(directory, reputation_score=99)
    for member_id in ("#1", "#2"):
        await messages(directory, 4, member_id)
    await roll_up(DAY)
    assert await scores(directory) == {"#1": 99, "#2": 103}
    assert await entries(directory) == [("roll-up", {"reputation_tier": ["Novice", "Contributor"]})]
    assert (
        await directory.fetchval(
            "SELECT member_id FROM directory_audit_log ORDER BY id DESC LIMIT 1"
        )
        == "#2"
    )
    reasons = "SELECT count(*) FROM directory_audit_log WHERE reason IS NOT NULL"
    assert await directory.fetchval(reasons) == 0


async def test_a_score_that_is_changed_after_a_roll_up_in_the_same_transaction_is_logged(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await messages(directory, 4)
    async with transaction() as current:
        await roll_up(DAY)
        await current.connection.execute("UPDATE community_members SET reputation_score = 7")
        await members.verify_github(
            "#1", github_username="ana", github_profile_data={"stars": 3}, actor="Luis"
        )
    by_hand, by_github = await entries(directory)
    assert by_hand[1] == {"reputation_score": [4, 7]}
    assert (by_github[0], by_github[1]["reputation_score"]) == ("Luis", [7, 13])


async def test_a_roll_up_names_its_own_actor_and_leaves_the_transaction_its_own(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, reputation_score=99)
    await messages(directory, 4)
    async with transaction():
        await act_as("Eva")
        await members.update_profile("#1", name="Ana", actor="Luis", reason="a typo")
        await roll_up(DAY)
        await members.update_profile("#1", name="Ada")
    found = await directory.fetch(
        "SELECT actor, reason FROM directory_audit_log WHERE action = 'UPDATE' ORDER BY id"
    )
    assert [tuple(row) for row in found] == [("Luis", "a typo"), ("roll-up", None), ("Eva", None)]


# At the same time.


async def together(*work: Awaitable[object]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*work), SECONDS)


@asynccontextmanager
async def locked(database: asyncpg.Pool, query: str) -> AsyncIterator[None]:
    """Another session holds what the query locks."""
    async with database.acquire() as connection, connection.transaction():
        assert await connection.fetch(query)
        yield


async def test_an_open_roll_up_of_another_day_loses_no_points(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    for day in (DAY, NEXT):
        await messages(directory, 3, day=day)
    async with held(roll_up(DAY), commit=True):
        second = asyncio.create_task(roll_up(NEXT))
        await until_waiting(directory)
    assert await second == 1
    assert await scores(directory) == {"#1": 6}


async def test_a_slow_roll_up_does_not_undo_what_a_later_one_counted(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    for day in (DAY, NEXT):
        await messages(directory, 1, day=day)
    await roll_up(DAY)
    await messages(directory, 1)
    async with locked(directory, "SELECT FROM member_daily_highlights FOR UPDATE"):
        slow = asyncio.create_task(roll_up(DAY, until=NEXT))
        await until_waiting(directory)  # it has counted
        await messages(directory, 1, day=NEXT)
        quick = asyncio.create_task(roll_up(NEXT))
        await until_waiting(directory, 2)
    assert await together(slow, quick) == [2, 1]
    assert await stored(directory) == {("#1", DAY): (2, 0, 0, 2), ("#1", NEXT): (2, 0, 0, 2)}
    assert await scores(directory) == {"#1": 4}


async def test_two_roll_ups_of_a_new_day_give_its_points_once(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await messages(directory, 1)
    async with locked(directory, "SELECT FROM community_members FOR NO KEY UPDATE"):
        first = asyncio.create_task(roll_up(DAY))
        await until_waiting(directory)  # it has written the row
        await messages(directory, 1)
        second = asyncio.create_task(roll_up(DAY))
        await until_waiting(directory, 2)
    assert await together(first, second) == [1, 1]
    assert await scores(directory) == {"#1": 2}


async def test_roll_ups_of_the_same_days_never_deadlock(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    days = [BEFORE, DAY, NEXT]
    for day in days:
        await messages(directory, 3, day=day)
    # The second one has its first day, and would meet the first one in the last.
    async with held(roll_up(DAY), commit=True):
        both = [asyncio.create_task(roll_up(BEFORE, until=NEXT)) for _ in range(2)]
        await until_waiting(directory, 2)
    assert sorted(await together(*both)) == [0, 2]
    assert await scores(directory) == {"#1": 9}


@pytest.mark.parametrize("first_data", [{}, {"stars": 9}])
async def test_an_account_that_is_verified_during_a_roll_up_loses_no_points(
    directory: asyncpg.Pool, first_data: dict[str, int]
) -> None:
    await rows.member(directory)
    await members.verify_github("#1", github_username="ana", github_profile_data=first_data)
    await messages(directory, 4)
    async with held(roll_up(DAY), commit=True):
        verified = asyncio.create_task(
            members.verify_github("#1", github_username="ana", github_profile_data={"stars": 50})
        )
        await until_waiting(directory)
    await together(verified)
    assert await scores(directory) == {"#1": 104}


async def test_a_roll_up_adds_to_the_score_of_a_verification_at_the_same_time(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await messages(directory, 4)
    verification = members.verify_github(
        "#1", github_username="ana", github_profile_data={"stars": 50}
    )
    async with held(verification, commit=True):
        second = asyncio.create_task(roll_up(DAY))
        await until_waiting(directory)
    await together(second)
    assert await scores(directory) == {"#1": 104}


async def test_a_score_that_is_changed_while_a_roll_up_waits_is_kept(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, reputation_score=10)
    await messages(directory, 4)
    async with directory.acquire() as connection:
        async with connection.transaction():
            await connection.execute(
                "UPDATE community_members SET reputation_score = reputation_score + 1000"
            )
            counting = asyncio.create_task(roll_up(DAY))
            await until_waiting(directory)
        await together(counting)
    assert await scores(directory) == {"#1": 1014}


async def test_a_roll_up_locks_the_members_in_the_order_of_their_numbers(
    directory: asyncpg.Pool,
) -> None:
    for number in (3, 1, 2, 4):
        await rows.member(directory, member_id=f"#{number}")
        await messages(directory, 1, f"#{number}")
    for last in (2, 3, 4):
        async with locked(
            directory,
            f"SELECT FROM community_members WHERE member_id = '#{last}' FOR NO KEY UPDATE",
        ):
            counting = asyncio.create_task(roll_up(DAY))
            await until_waiting(directory)
            free = await directory.fetch(
                "SELECT member_id FROM community_members ORDER BY 1 FOR NO KEY UPDATE SKIP LOCKED"
            )
        await together(counting)
        assert [row[0] for row in free] == [f"#{number}" for number in range(last + 1, 5)]
        await directory.execute("DELETE FROM member_daily_highlights")


async def test_roll_ups_and_batches_of_the_same_members_never_deadlock(
    directory: asyncpg.Pool,
) -> None:
    numbers = [f"#{number}" for number in range(1, 31)]
    for member_id in sorted(numbers, key=hash):
        await rows.member(directory, member_id=member_id)

    def batch(seed: int, day: date) -> list[NewEvent]:
        # Each at another hour, so that every batch moves every member's last activity.
        shuffled = Random(seed).sample(numbers, len(numbers))
        return [
            NewEvent(
                member_id=member_id,
                event_type="MESSAGE",
                platform="telegram",
                room_id=f"-{seed}",
                source_id=str(seed),
                occurred_at=at(day, seed % 24),
            )
            for member_id in shuffled
        ]

    async def arrive(first: int) -> None:
        for seed in range(first, first + 12):
            recorded = await participation.record_many(batch(seed, DAY))
            assert (len(recorded.inserted), recorded.refused) == (30, [])

    async def count() -> None:
        for _ in range(12):
            await roll_up(DAY)

    await together(*(arrive(first) for first in (0, 12, 24)), count(), count())
    await roll_up(DAY)
    assert set((await stored(directory)).values()) == {(36, 0, 0, 5)}
    assert set((await scores(directory)).values()) == {5}


async def test_a_roll_up_and_an_event_that_began_before_a_members_update_do_not_deadlock(
    database: str, directory: asyncpg.Pool
) -> None:
    """The event waits for the member whom the roll-up has locked and will update."""
    for number in (1, 2):
        await rows.member(directory)
        await messages(directory, 1, f"#{number}")
    # A roll-up that updates its rows holds no key of a member.
    await roll_up(DAY)
    for number in (1, 2):
        await messages(directory, 1, f"#{number}")
    # The transaction of `other` also holds the key of #1, until both have ended.
    async with (
        blocked(database, INSERT_MESSAGE, "#1", "0") as other,
        blocked(database, "UPDATE community_members SET name = 'Ana' WHERE member_id = '#1'") as (
            earlier
        ),
        blocked(
            database, "SELECT FROM community_members WHERE member_id = '#2' FOR NO KEY UPDATE"
        ) as holder,
    ):
        await other.execute("SAVEPOINT before")
        await other.execute(INSERT_MESSAGE, "#1", "1")
        event = NewEvent(
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id="-100",
            source_id="1",
            occurred_at=at(),
        )
        recording = asyncio.create_task(participation.record_many([event]))
        counting = asyncio.create_task(roll_up(DAY))
        await until_waiting(directory, 2)
        await earlier.execute("COMMIT")
        await until_blocked_by(holder)
        await other.execute("ROLLBACK TO before")
        await until_ended_or_waiting(recording, other, 2)
        await holder.execute("COMMIT")
        await together(recording, counting)
    assert await scores(directory) == {"#1": 2, "#2": 2}


async def test_recording_an_event_does_not_wait_for_a_roll_up(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await messages(directory, 1)
    async with held(roll_up(DAY), commit=True), directory.acquire() as connection:
        await connection.execute("SET lock_timeout = '2s'")
        await rows.event(connection, member_id="#1", occurred_at=at())
        await connection.execute("RESET lock_timeout")
    assert await roll_up(DAY) == 1


# Reading.


async def test_highlights_of_one_member_or_of_all_are_listed_newest_first(
    directory: asyncpg.Pool,
) -> None:
    for number in (1, 2):
        await rows.member(directory)
        for day in (BEFORE, DAY, NEXT):
            await messages(directory, number, f"#{number}", day)
    await roll_up(BEFORE, until=NEXT)
    page = await between(DAY, NEXT)
    assert [(row.highlight_date, row.member_id) for row in page.items] == [
        (NEXT, "#2"),
        (NEXT, "#1"),
        (DAY, "#2"),
        (DAY, "#1"),
    ]
    assert page.next_cursor is None
    page = await between(BEFORE, DAY, member_id="#2")
    assert page.items == [Highlight("#2", DAY, 2, 0, 0, 2), Highlight("#2", BEFORE, 2, 0, 0, 2)]
    assert (await between(DAY, DAY, member_id="#3")).items == []
    assert (await between(NEXT + timedelta(days=1), NEXT + timedelta(days=9))).items == []


async def test_a_count_that_was_never_written_is_zero(directory: asyncpg.Pool) -> None:
    await rows.highlight(
        directory,
        message_count=None,
        reaction_count=None,
        voice_minutes=None,
        reputation_earned=None,
    )
    assert (await between(DAY, DAY)).items == [Highlight("#1", DAY, 0, 0, 0, 0)]


@pytest.mark.parametrize("member_id", [None, "#2"])
@pytest.mark.parametrize("limit", [1, 2, 4, 5])
async def test_the_pages_together_are_the_rows_in_their_order(
    directory: asyncpg.Pool, limit: int, member_id: str | None
) -> None:
    for number in (1, 2, 3):
        await rows.member(directory)
        for day in (BEFORE - timedelta(days=1), BEFORE, DAY, NEXT, NEXT + timedelta(days=1)):
            await rows.highlight(directory, member_id=f"#{number}", highlight_date=day)
    found: list[tuple[date, str]] = []
    page = await between(BEFORE, NEXT, member_id=member_id, limit=limit)
    while True:
        found += [(row.highlight_date, row.member_id) for row in page.items]
        if page.next_cursor is None or len(found) > 9:
            break
        assert len(page.items) == limit
        page = await between(BEFORE, NEXT, member_id=member_id, limit=limit, after=page.next_cursor)
    numbers = ["#3", "#2", "#1"] if member_id is None else [member_id]
    assert found == [(day, number) for day in (NEXT, DAY, BEFORE) for number in numbers]


async def test_rows_added_between_two_pages_neither_hide_nor_repeat_a_row(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    for day in (BEFORE, DAY, NEXT):
        await rows.highlight(directory, member_id="#1", highlight_date=day)
    page = await between(BEFORE, NEXT + timedelta(days=1), limit=2)
    await rows.highlight(directory, member_id="#1", highlight_date=NEXT + timedelta(days=1))
    rest = await between(BEFORE, NEXT + timedelta(days=1), limit=2, after=page.next_cursor)
    assert [row.highlight_date for row in (*page.items, *rest.items)] == [NEXT, DAY, BEFORE]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"since": NEXT, "until": DAY}, "until"),
        ({"since": DAY, "until": NEXT, "limit": 101}, "limit"),
    ],
)
async def test_an_invalid_page_is_refused(
    directory: asyncpg.Pool, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await between(**arguments)
    assert refused.value.field == field


async def test_a_cursor_of_another_list_is_refused(directory: asyncpg.Pool) -> None:
    for _ in range(2):
        await rows.event(directory, occurred_at=at())
        await rows.member(directory, status="active")
    await roll_up(DAY)
    of_members = (await members.leaderboard(limit=1)).next_cursor
    assert of_members is not None
    of_highlights = (await between(DAY, DAY, limit=1)).next_cursor
    assert of_highlights is not None
    for cursor in (of_members, of_highlights[:-1], "", "nonsense"):
        with pytest.raises(InvalidCursor):
            await between(DAY, DAY, after=cursor)
    assert len((await between(DAY, DAY, after=of_highlights)).items) == 1


# Checking.


async def test_verify_returns_the_stored_and_the_counted_rows(directory: asyncpg.Pool) -> None:
    for number in (1, 2, 3):
        await rows.member(directory)
        await messages(directory, number, f"#{number}")
    await messages(directory, 1, "#3", NEXT)
    await roll_up(DAY, until=NEXT)
    assert await verify(DAY, until=NEXT) == []

    await directory.execute(
        "UPDATE member_daily_highlights SET voice_minutes = 9 WHERE member_id = '#2'"
    )
    await directory.execute(
        "DELETE FROM member_daily_highlights WHERE member_id = '#3' AND highlight_date = $1", DAY
    )
    await directory.execute("DELETE FROM member_participation WHERE member_id = '#1'")
    await messages(directory, 4, "#3", NEXT)
    before = await versions(directory)
    expected = [
        (Highlight("#1", DAY, 1, 0, 0, 1), None),
        (Highlight("#2", DAY, 2, 0, 9, 2), Highlight("#2", DAY, 2, 0, 0, 2)),
        (None, Highlight("#3", DAY, 3, 0, 0, 3)),
        (Highlight("#3", NEXT, 1, 0, 0, 1), Highlight("#3", NEXT, 5, 0, 0, 5)),
    ]
    unrepaired = [Difference(*pair, repaired=False) for pair in expected]
    assert of_days(await verify(DAY, until=NEXT)) == unrepaired
    assert of_days(await verify(DAY)) == unrepaired[:3]
    assert await versions(directory) == before

    assert of_days(await verify(DAY, until=NEXT, repair=True)) == [
        Difference(*pair, repaired=True) for pair in expected
    ]
    assert await verify(DAY, until=NEXT) == await verify(DAY, until=NEXT, repair=True) == []
    assert await stored(directory) == {
        ("#2", DAY): (2, 0, 0, 2),
        ("#3", DAY): (3, 0, 0, 3),
        ("#3", NEXT): (5, 0, 0, 5),
    }


async def test_a_repair_changes_only_its_days_in_its_zone(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.event(directory, member_id="#1", occurred_at=at(DAY, 20))
    await messages(directory, 1, day=BEFORE)
    repaired = of_days(await verify(NEXT, zone="Asia/Kolkata", repair=True))
    assert [(difference.stored, difference.repaired) for difference in repaired] == [(None, True)]
    assert (await stored(directory)).keys() == {("#1", NEXT)}


async def test_a_repair_waits_for_a_roll_up_that_is_under_way(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await messages(directory, 1)
    async with held(roll_up(DAY), commit=True):
        assert len(of_days(await verify(DAY))) == 1  # looking waits for nobody
        repairing = asyncio.create_task(verify(DAY, repair=True))
        await until_waiting(directory)
    assert await together(repairing) == [[]]
    assert await scores(directory) == {"#1": 1}
