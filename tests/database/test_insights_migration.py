"""The migration of Insights: what happened before has its months and milestones afterwards."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards

from community_directory.database import connect
from community_directory.database.migrations import migrate
from community_directory.jobs import roll_up_recent
from community_directory.queries.highlights import verify
from tests.database.test_migrations import APP, dump, session
from tests.queries.recounts import find_wrong_counts, find_wrong_sums
from tests.tables import rows
from tests.zones import use_zone

pytestmark = pytest.mark.schema

BEFORE = "2026-11-29T15:30:00:000000"
"""The last migration before the one that is tested."""
MIGRATION = "2026-11-29T20:00:00:000000"
ROOMS_MIGRATION = "2026-11-29T21:00:00:000000"
"""The migration that finds the first and the last days in rooms."""
BEFORE_ROOMS = "2026-11-29T20:10:00:000000"
"""The last migration before it."""
ADDED = datetime(2026, 1, 10, 22, 30, tzinfo=UTC)
"""When the members are added: on the next day in Kolkata."""
ACCEPTED = datetime(2026, 2, 1, tzinfo=UTC)
STATUSES = (
    ["not_member"],
    ["not_member", "pending"],
    ["not_member", "pending", "active"],
    ["not_member", "pending", "not_member"],
    ["not_member", "pending", "not_member", "banned"],
    ["not_member", "banned"],
    ["not_member", "banned", "active"],
    ["pending"],
    ["pending", "active", "suspended", "banned"],
    ["pending", "not_member"],
    ["pending", "not_member", "banned"],
    ["active"],
)


@pytest.fixture
async def earlier(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[asyncpg.Connection]:
    """Connect the helpers and raw SQL to a database without the tables."""
    use_zone(monkeypatch, "Asia/Kolkata")
    connection = await asyncpg.connect(empty_database)
    async with connect(empty_database, min_size=0):
        assert (await run_forwards(APP, BEFORE)).success
        yield connection
    await connection.close()


async def joined(connection: asyncpg.Connection) -> dict[str, tuple[object, object]]:
    found = await connection.fetch(
        "SELECT member_id, joined_at, approved_at FROM member_milestones"
    )
    return {row["member_id"]: (row["joined_at"], row["approved_at"]) for row in found}


async def change_status(connection: asyncpg.Connection, number: str, *statuses: str) -> None:
    for status in statuses:
        await connection.execute(
            "UPDATE community_members SET status = $2 WHERE member_id = $1", number, status
        )


async def test_joining_and_approval_are_told_by_invitations_the_log_and_the_status(
    earlier: asyncpg.Connection,
) -> None:
    first = ("active", "not_member", "pending", "not_member", "pending", "banned", "suspended")
    for status in first:
        await rows.member(earlier, status=status, created_at=ADDED)
    await change_status(earlier, "#4", "banned")
    await change_status(earlier, "#5", "active")
    approved_at = await earlier.fetchval("SELECT max(changed_at) FROM directory_audit_log")
    await change_status(earlier, "#5", "banned")
    await rows.invitation(
        earlier, created_by="#1", status="accepted", accepted_by="#3", accepted_at=ACCEPTED
    )
    await migrate()
    assert await joined(earlier) == {
        "#1": (ADDED, ADDED),
        "#3": (ACCEPTED, None),
        "#5": (ADDED, approved_at),
        "#6": (ADDED, None),
        "#7": (ADDED, ADDED),
    }


async def test_months_first_days_and_weeks_come_from_the_highlights(
    earlier: asyncpg.Connection,
) -> None:
    for status, is_bot in (("active", False), ("not_member", False), ("active", True)):
        await rows.member(earlier, status=status, is_bot=is_bot, created_at=ADDED)
    for number in ("#1", "#2", "#3"):
        for age, messages in ((0, 0), (1, 3), (8, 2), (30, 1), (84, 1), (85, 1)):
            await rows.highlight(
                earlier,
                member_id=number,
                highlight_date=date(2026, 1, 10) + timedelta(days=age),
                message_count=messages,
                reaction_count=None,
            )
    await migrate()
    assert await find_wrong_sums(earlier) == {}
    weeks = await earlier.fetch("SELECT member_id, active_weeks FROM member_milestones ORDER BY 1")
    assert [tuple(row) for row in weeks] == [("#1", [1, 2, 5, 12]), ("#2", []), ("#3", [])]


async def test_the_next_night_counts_the_rooms_and_hours_of_all_open_days(
    earlier: asyncpg.Connection,
) -> None:
    await rows.member(earlier, status="active", created_at=ADDED)
    for day in range(10):
        await rows.event(earlier, member_id="#1", occurred_at=ADDED + timedelta(days=day))
    await earlier.execute(
        "INSERT INTO directory_rolled_up_days SELECT day, 0"
        " FROM generate_series(date '2026-01-01', date '2026-02-01', interval '1 day') AS day"
    )
    await migrate()
    await roll_up_recent()
    assert await find_wrong_counts(earlier) == {}
    assert await verify(date(2026, 1, 1), until=date(2026, 2, 1)) == []


async def test_the_way_back_leaves_nothing(
    earlier: asyncpg.Connection, empty_database: str
) -> None:
    before = await dump(empty_database)
    await rows.member(earlier, status="active")
    assert (await run_forwards(APP, MIGRATION)).success
    assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
    assert await dump(empty_database) == before
    await rows.member(earlier, status="active")
    await migrate()
    assert len(await joined(earlier)) == 2


async def test_rolled_up_days_say_who_was_in_a_room_first_and_last(
    earlier: asyncpg.Connection,
) -> None:
    assert (await run_forwards(APP, BEFORE_ROOMS)).success
    for status in ("active", "not_member"):
        await rows.member(earlier, status=status)
    for day, number, room_id in (
        (date(2026, 1, 31), "#1", "a"),
        (date(2026, 3, 5), "#1", "a"),
        (date(2026, 2, 5), "#1", "a"),
        (date(2026, 2, 5), "#1", "b"),
        (date(2026, 2, 6), "#2", "b"),
    ):
        await rows.daily_room(earlier, member_id=number, day=day, room_id=room_id)
    await earlier.execute("INSERT INTO directory_rolled_up_days VALUES ('2026-02-05', 7)")
    expected = [
        ("#1", "a", date(2026, 1, 31), date(2026, 3, 5)),
        ("#1", "b", date(2026, 2, 5), date(2026, 2, 5)),
        ("#2", "b", date(2026, 2, 6), date(2026, 2, 6)),
    ]
    for _ in range(2):
        assert (await run_forwards(APP, ROOMS_MIGRATION)).success
        found = await earlier.fetch(
            "SELECT member_id, room_id, first_day, last_day FROM member_rooms ORDER BY 1, 2"
        )
        assert [tuple(row) for row in found] == expected
        assert (await run_backwards(APP, ROOMS_MIGRATION, auto_agree=True)).success
    # The days stay rolled up.
    assert await earlier.fetchval("SELECT checksum FROM directory_rolled_up_days") == 7


async def test_without_the_days_in_rooms_the_schema_is_that_of_before(
    earlier: asyncpg.Connection, empty_database: str
) -> None:
    assert (await run_forwards(APP, BEFORE_ROOMS)).success
    before = await dump(empty_database)
    assert (await run_forwards(APP, ROOMS_MIGRATION)).success
    assert await dump(empty_database) != before
    assert (await run_backwards(APP, ROOMS_MIGRATION, auto_agree=True)).success
    assert await dump(empty_database) == before


async def test_the_log_says_when_contacts_became_members(database: str) -> None:
    async with connect(database, min_size=0), session(database) as connection:
        for number, statuses in enumerate(STATUSES, 10):
            await rows.member(
                connection, member_id=f"#{number}", status=statuses[0], created_at=ADDED
            )
            await change_status(connection, f"#{number}", *statuses[1:])
        noted = await joined(connection)
        assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
        assert (await run_forwards(APP)).success
        assert await joined(connection) == noted
