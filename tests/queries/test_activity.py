"""What each member did in a period: the rows that are added up, and that only few are read."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from unittest.mock import patch

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.calendar import add_months
from community_directory.database import Parameters, engine, transaction
from community_directory.queries import activity, highlights
from community_directory.queries.activity import split_period, sum_activity
from community_directory.queries.filter_values import DayPeriod
from tests.tables import rows

TODAY = date(2026, 5, 20)
DAYS = st.dates(date(2024, 1, 1), date(2028, 12, 31))
MONTHS, ADDED, REMOVED = (True, True), (False, True), (False, False)


@pytest.fixture(autouse=True, scope="module")
def on_a_day() -> Iterator[None]:
    """Let today be a day in the middle of a month."""
    with patch.object(activity, "today", lambda: TODAY):
        yield


@given(st.tuples(DAYS, DAYS).map(sorted))
def test_the_parts_add_up_to_the_period(edges: list[date]) -> None:
    period = DayPeriod(*edges)
    summed: Counter[date] = Counter()
    for part in split_period(period):
        for first in part.days:
            last = add_months(first, 1) - timedelta(days=1) if part.is_months else first
            for day in DayPeriod(first, last).days:
                summed[day] += 1 if part.is_added else -1
    assert {day: count for day, count in summed.items() if count} == dict.fromkeys(period.days, 1)


@pytest.mark.parametrize(
    ("since", "until", "parts"),
    [
        ("2026-04-10", "2026-04-10", [(ADDED, 1)]),
        ("2026-04-01", "2026-04-30", [(MONTHS, 1)]),
        ("2026-03-31", "2026-05-01", [(ADDED, 2), (MONTHS, 1)]),
        # Fewer days are left out of April than are in it.
        ("2026-04-05", "2026-04-30", [(MONTHS, 1), (REMOVED, 4)]),
        ("2026-04-14", "2026-04-30", [(ADDED, 17)]),
        ("2026-04-01", "2026-04-17", [(ADDED, 17)]),
        ("2026-04-02", "2026-04-29", [(MONTHS, 1), (REMOVED, 2)]),
        # The rest of this month has no rows but those of today.
        ("2026-05-01", "2026-05-19", [(MONTHS, 1), (REMOVED, 12)]),
        ("2025-05-20", "2026-05-19", [(ADDED, 12), (MONTHS, 12), (REMOVED, 12)]),
    ],
)
def test_a_month_is_read_at_once_if_most_of_its_days_are_in_the_period(
    since: str, until: str, parts: list[tuple[tuple[bool, bool], int]]
) -> None:
    found = split_period(DayPeriod(date.fromisoformat(since), date.fromisoformat(until)))
    assert sorted(((part.is_months, part.is_added), len(part.days)) for part in found) == sorted(
        parts
    )


@pytest.fixture
async def active_days(directory: asyncpg.Pool) -> list[date]:
    """Days of half a year on which #1 wrote one message each."""
    first = date(2026, 3, 29)
    await rows.member(directory, status="active", created_at=_noon(first))
    days = [first + timedelta(days=number) for number in range(0, 180, 4)]
    for day in days:
        await rows.event(directory, member_id="#1", occurred_at=_noon(day))
    await highlights.roll_up(days[0], until=days[-1])
    return days


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (date(2026, 4, 1), date(2026, 4, 30)),
        (date(2026, 4, 1), date(2026, 6, 30)),
        (date(2026, 3, 31), date(2026, 7, 1)),
        (date(2026, 4, 2), date(2026, 4, 29)),
        (date(2026, 4, 2), date(2026, 5, 20)),
        (date(2026, 4, 2), date(2026, 5, 31)),
        (date(2026, 4, 10), date(2026, 4, 10)),
        (date(2026, 4, 30), date(2026, 5, 1)),
        (date(2026, 1, 1), date(2026, 12, 31)),
        (date(2027, 1, 1), date(2027, 12, 31)),
        # Nothing is left of a month whose other days are taken away.
        (date(2026, 3, 1), date(2026, 3, 28)),
    ],
)
async def test_a_period_sums_its_months_and_days(
    active_days: list[date], since: date, until: date
) -> None:
    parameters = Parameters()
    found = await engine.read(sum_activity(DayPeriod(since, until), parameters), *parameters)
    count = sum(since <= day <= until for day in active_days)
    assert [tuple(row) for row in found] == ([("#1", count, count, 0, 0)] if count else [])


async def test_a_period_reads_indexes_alone(
    active_days: list[date], directory: asyncpg.Pool
) -> None:
    await directory.execute("VACUUM ANALYZE member_daily_highlights, member_monthly_highlights")
    parameters = Parameters()
    sql = sum_activity(DayPeriod(date(2026, 4, 20), date(2026, 8, 29)), parameters)
    async with transaction() as current:
        await current.connection.execute("SET LOCAL enable_seqscan = off")
        await current.connection.execute("SET LOCAL enable_bitmapscan = off")
        plan = await current.connection.fetch(f"EXPLAIN {sql}", *parameters)
    scans = [line for (line,) in plan if "Scan" in line and "highlights" in line]
    assert len(scans) == 3
