"""The views of Insights: their months and days, what is not over yet, and their comments."""

from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from community_directory.calendar import load_zone
from community_directory.database.roles import VIEWS
from community_directory.queries import highlights
from tests.database.test_migrations import session
from tests.roles import reader_url
from tests.tables import rows
from tests.zones import use_zone

ZONE = ZoneInfo("Pacific/Kiritimati")
"""Fourteen hours ahead of UTC: half of the time it has another day."""
WITHOUT_COMMENT = """
SELECT relname || coalesce('.' || attname, '') AS object
FROM pg_class LEFT JOIN LATERAL (
    SELECT NULL::name AS attname, 0 AS attnum UNION ALL
    SELECT attname, attnum FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0
) AS described ON true
WHERE relname = ANY($1) AND coalesce(
    CASE attnum WHEN 0 THEN obj_description(pg_class.oid) ELSE col_description(pg_class.oid, attnum)
    END, '') = ''
"""


@pytest.fixture(autouse=True)
def far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the community a zone of its own."""
    use_zone(monkeypatch, ZONE.key)


def today() -> date:
    return datetime.now(ZONE).date()


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), ZONE)


async def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query as reports run it: as a reader, in the community's zone."""
    async with session(reader_url(url)) as connection:
        await connection.execute(f"SET timezone = '{load_zone(None).key}'")
        return [tuple(row) for row in await connection.fetch(query)]


async def speak(directory: asyncpg.Pool, member_id: str, *days: date, **columns: object) -> None:
    for day in days:
        await rows.event(directory, member_id=member_id, occurred_at=noon(day), **columns)


async def roll_up(days: int) -> None:
    await highlights.roll_up(today() - timedelta(days=days), until=today() - timedelta(days=1))


async def test_every_view_and_each_of_its_columns_has_a_comment(directory: asyncpg.Pool) -> None:
    found = await directory.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'v'"
        " AND relnamespace = 'public'::regnamespace ORDER BY relname"
    )
    assert tuple(row["relname"] for row in found) == VIEWS
    assert await directory.fetch(WITHOUT_COMMENT, list(VIEWS)) == []


@pytest.mark.schema
async def test_the_type_of_a_column_is_changed_between_the_scripts_of_the_views(
    database: str,
) -> None:
    change = "ALTER TABLE member_monthly_highlights ALTER active_days TYPE integer"
    scripts = [
        (rows.MIGRATION_SQL / f"{name}.sql").read_text(encoding="utf-8")
        for name in ("insights_views_backwards", "insights_views")
    ]
    async with session(database) as connection:
        with pytest.raises(asyncpg.FeatureNotSupportedError, match="used by a view or rule"):
            await connection.execute(change)
        await connection.execute(f"{scripts[0]}; {change}; {scripts[1]}")
        assert await connection.fetch(WITHOUT_COMMENT, list(VIEWS)) == []
        for view in VIEWS:
            assert await connection.fetch(f"SELECT * FROM {view}") == []


async def test_a_reader_reads_every_view(directory: asyncpg.Pool, directory_url: str) -> None:
    joined = {"status": "active", "created_at": noon(today() - timedelta(days=41))}
    await rows.member(directory, member_id="#1", **joined)
    await rows.member(directory, member_id="#2", invited_by="#1", **joined)
    await rows.invitation(directory, created_by="#1")
    for member_id in ("#1", "#2"):
        await speak(directory, member_id, *(today() - timedelta(days=days) for days in (1, 40, 41)))
    await roll_up(days=41)
    empty = {view for view in VIEWS if not await ask(directory_url, f"SELECT * FROM {view}")}
    assert empty == {"insights_at_risk"}


async def test_the_last_28_days_end_yesterday(directory: asyncpg.Pool, directory_url: str) -> None:
    # The days ago, and whether whoever was active on them is at risk: 28 is the first of the last
    # days, 29 is the last of those before, 56 is their first, and today is not counted.
    cases = [
        ((29, 30, 31, 56), 0, 4),
        ((29, 30, 31, 57), None, None),
        ((28, 29, 30, 56), None, None),
        ((1, 29, 30, 31, 32), 1, 4),
        ((1, 28, 29, 30, 31, 32), None, None),
        ((0, 1, 29, 30, 31, 32), 1, 4),
        ((1, 28, 29, 30, 31, 32, 33), 2, 5),
    ]
    expected = []
    for ago, active_days, active_days_before in cases:
        row = await rows.member(directory, status="active", created_at=noon(today()))
        days = [today() - timedelta(days=number) for number in ago]
        await speak(directory, row["member_id"], *days)
        if active_days is not None:
            expected.append((row["member_id"], active_days, active_days_before))
    contact = await rows.member(directory, status="not_member")
    await speak(
        directory, contact["member_id"], *(today() - timedelta(days=ago) for ago in range(29, 40))
    )
    await highlights.roll_up(today() - timedelta(days=60), until=today())
    found = await ask(directory_url, "SELECT * FROM insights_at_risk ORDER BY member_id")
    assert found == expected


async def test_a_month_and_a_week_count_when_they_are_over(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    inviter = await rows.member(directory, status="active", created_at=noon(date(2020, 1, 15)))
    for age, active_after in ((28, 27), (27, 26), (27, None), (28, 20)):
        joined = today() - timedelta(days=age)
        person = await rows.member(
            directory,
            status="active",
            created_at=noon(joined),
            invited_by=inviter["member_id"],
        )
        await rows.invitation(
            directory,
            created_by=inviter["member_id"],
            status="accepted",
            accepted_by=person["member_id"],
            accepted_at=noon(joined),
            created_at=noon(joined) - timedelta(hours=36),
        )
        await speak(directory, person["member_id"], joined)
        if active_after is not None:
            await speak(directory, person["member_id"], joined + timedelta(days=active_after))
    await roll_up(30)

    funnel = await ask(
        directory_url,
        "SELECT sum(invited), sum(joined), sum(approved), sum(wrote), sum(active_in_week_4),"
        " sum(week_4_not_over), min(median_days_to_join), max(median_days_to_join)"
        " FROM insights_funnel",
    )
    # Two were active in their week 4, one of them before it is over, and one has time left.
    assert funnel == [(4, 4, 4, 4, 2, 1, 1.5, 1.5)]

    weeks = await ask(
        directory_url,
        "SELECT sum(cohort_size), sum(people_over), sum(active_members)"
        " FROM insights_weekly_retention WHERE week = 4 AND joined_month > '2020-01-01'",
    )
    assert weeks == [(4, 2, 1)]
    months = await ask(
        directory_url,
        "SELECT DISTINCT month, is_over FROM insights_retention"
        " WHERE joined_month > '2020-01-01' ORDER BY 1",
    )
    yesterday = today() - timedelta(days=1)
    assert [month for month, _ in months][-1] == yesterday.replace(day=1)
    assert all(is_over is (month != today().replace(day=1)) for month, is_over in months)
    stayed = await ask(
        directory_url,
        "SELECT sum(joined), sum(members), sum(gone), sum(stayed) FROM insights_inviters",
    )
    assert stayed == [(4, 4, 0, 4)]


async def test_months_are_those_of_the_community(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    [ana, bea, eva] = [
        (await rows.member(directory, status=status))["member_id"]
        for status in ("active", "not_member", "active")
    ]
    # In UTC it is still January.
    first = datetime(2026, 2, 1, 1, tzinfo=ZONE)
    for member_id, room, kind in (
        *((ana, "-1", "MESSAGE"), (bea, "-1", "REACTION"), (eva, "-1", "MESSAGE")),
        *((ana, "1001", "MESSAGE"), (eva, "-1", "PINNED")),
    ):
        await rows.event(
            directory, member_id=member_id, room_id=room, event_type=kind, occurred_at=first
        )
    await highlights.roll_up(date(2026, 1, 31), until=date(2026, 2, 1))
    await directory.execute(
        "UPDATE community_members SET status = 'banned' WHERE member_id = $1", eva
    )

    # The room of one person has the id of an account.
    month = date(2026, 2, 1)
    assert await ask(directory_url, "SELECT * FROM insights_rooms") == [
        (month, "telegram", "-1", 2, 1, 2)
    ]
    assert await ask(directory_url, "SELECT * FROM insights_contributions ORDER BY member_id") == [
        (month, ana, 1, 2, 0, 0),
        (month, bea, 1, 0, 1, 0),
    ]
    assert await ask(directory_url, "SELECT * FROM insights_daily_activity") == [
        (month, 2, 3, 1, 0)
    ]
    statuses = (
        "SELECT status, is_present, is_member, is_gone FROM insights_members ORDER BY joined_at"
    )
    assert {*await ask(directory_url, statuses)} == {
        ("active", True, True, False),
        ("not_member", True, False, False),
        ("banned", False, False, True),
    }
