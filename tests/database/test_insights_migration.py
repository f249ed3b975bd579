"""The migration of Insights finds in the log when members joined, as its triggers note it later."""

from datetime import UTC, datetime

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards

from community_directory.database import connect
from tests.database.test_migrations import APP, session
from tests.tables import rows

pytestmark = pytest.mark.schema

MIGRATION = "2026-11-29T20:00:00:000000"
ADDED = datetime(2026, 1, 31, 12, tzinfo=UTC)
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


async def milestones(connection: asyncpg.Connection) -> list[tuple[object, ...]]:
    found = await connection.fetch(
        "SELECT member_id, joined_at, approved_at FROM member_milestones ORDER BY member_id"
    )
    return [tuple(row) for row in found]


async def test_the_log_says_when_contacts_became_members(database: str) -> None:
    async with connect(database, min_size=0), session(database) as connection:
        for number, statuses in enumerate(STATUSES, 10):
            await rows.member(
                connection, member_id=f"#{number}", status=statuses[0], created_at=ADDED
            )
            for status in statuses[1:]:
                await connection.execute(
                    "UPDATE community_members SET status = $2 WHERE member_id = $1",
                    f"#{number}",
                    status,
                )
        noted = await milestones(connection)
        assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
        assert (await run_forwards(APP)).success
        assert await milestones(connection) == noted
