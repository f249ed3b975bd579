"""The migration of erased accounts takes over the bans that are stored so far, and back."""

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards

from community_directory.database import connect
from tests.database.test_migrations import APP, session
from tests.tables import rows

pytestmark = pytest.mark.schema

MIGRATION = "2026-11-29T01:30:00:000000"
FINGERPRINTS = "SELECT fingerprint, member_id FROM directory_erased_accounts ORDER BY fingerprint"
OLD, NEW, LATER = (f"{number:064x}" for number in (10, 11, 12))


async def test_bans_of_erased_people_go_forwards_and_backwards(database: str) -> None:
    async with connect(database, min_size=0), session(database) as connection:
        assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
        await rows.member(connection, telegram_id=f"banned:{OLD}", status="banned")
        await rows.member(connection, telegram_id="banned:0a1b", status="banned")
        await rows.member(connection, telegram_id="erased:1-2")
        assert (await run_forwards(APP)).success
        assert await fetch(connection) == [(OLD, "#1")]

        # Of a person who was banned after the erasure, one account stays banned.
        await connection.execute("UPDATE community_members SET status = 'banned'")
        for fingerprint in (NEW, LATER):
            await rows.erased_account(connection, fingerprint=fingerprint, member_id="#3")
        assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
        stored = "SELECT telegram_id FROM community_members ORDER BY member_id"
        assert [row[0] for row in await connection.fetch(stored)] == [
            f"banned:{OLD}",
            "banned:0a1b",
            f"banned:{NEW}",
        ]
        assert (await run_forwards(APP)).success
        assert await fetch(connection) == [(OLD, "#1"), (NEW, "#3")]


async def fetch(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in await connection.fetch(FINGERPRINTS)]
