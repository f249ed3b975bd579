"""squawk checks each migration for locks that stop a running bot, and for what breaks it."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from community_directory.database import connect, engine, migrate
from tests.database.failures import Writers, add_inviter
from tests.processes import PROJECT

OWN_APPS = ("community_directory", "directory_panel")
TRANSACTION_COMMANDS = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
ADOPT = PROJECT / "community_directory/piccolo_migrations/sql/adopt.sql"
PAGE = (PROJECT / "docs/how-to/change-the-schema.md").read_text()
EXCEPTIONS = {
    # The first version: its tables are new and empty.
    "community_directory 2026-11-28T15:00:00:000000": {
        "adding-field-with-default",
        "require-concurrent-index-creation",
    },
    # The searched text of every member is computed again, some 5 seconds for each 100,000 members:
    # a search that compares new and old texts would find nobody in the meantime.
    "community_directory 2026-11-29T00:10:00:000000": {
        "adding-field-with-default",
        "ban-drop-column",
        "require-concurrent-index-creation",
    },
    # No older version may store another spelling after the rows were repaired.
    "community_directory 2026-11-29T00:20:00:000000": {
        "ban-drop-constraint",
        "ban-drop-function",
        "constraint-missing-not-valid",
    },
    # An operator can create the index before. The constraint reads the table once: no invalid
    # duration may be left when the index is used.
    "community_directory 2026-11-29T00:40:00:000000": {
        "constraint-missing-not-valid",
        "require-concurrent-index-creation",
    },
    # The columns are new, so that no row can break the constraint. An index of 100,000 members
    # takes a second.
    "community_directory 2026-11-29T00:30:00:000000": {"constraint-missing-not-valid"},
    "community_directory 2026-11-29T00:31:00:000000": {
        "require-concurrent-index-creation",
        "require-concurrent-index-deletion",
    },
    "community_directory 2026-11-29T00:50:00:000000": {"require-concurrent-index-creation"},
    # No older version may miss the index: with it, the version is slower without a key only.
    "community_directory 2026-11-29T01:30:00:000000": {"require-concurrent-index-deletion"},
    # The table is new and empty.
    "community_directory 2026-11-29T01:11:00:000000": {"require-concurrent-index-creation"},
    # The column is new and empty, so that the constraints read the table once, in milliseconds.
    "community_directory 2026-11-29T01:00:00:000000": {
        "adding-foreign-key-constraint",
        "constraint-missing-not-valid",
    },
    # The accounts of 100,000 members take two seconds, the indexes a tenth of one.
    "community_directory 2026-11-29T01:01:00:000000": {"require-concurrent-index-creation"},
    # The table is new and empty.
    "community_directory 2026-11-29T01:41:00:000000": {"require-concurrent-index-creation"},
    # The lists of the panel need one of the two indexes at any time. An index of 1,000,000 members
    # takes three seconds.
    "community_directory 2026-11-29T10:11:00:000000": {
        "require-concurrent-index-creation",
        "require-concurrent-index-deletion",
    },
    # An index of 100,000 members takes a third of a second.
    "community_directory 2026-11-29T01:50:00:000000": {"require-concurrent-index-creation"},
    # An operator can create the indexes before, with CREATE INDEX CONCURRENTLY. The old ones must
    # be there until then.
    "community_directory 2026-11-29T10:00:00:000000": {
        "require-concurrent-index-creation",
        "require-concurrent-index-deletion",
    },
    # An operator can create the indexes before. Those of 1,000,000 members take some 15 seconds.
    "community_directory 2026-11-29T10:20:00:000000": {"require-concurrent-index-creation"},
    # An operator can create the index before. That of 1,000,000 members takes some 2 seconds.
    "community_directory 2026-11-29T14:40:00:000000": {"require-concurrent-index-creation"},
    # The table is new and empty.
    "community_directory 2026-11-29T15:01:00:000000": {"require-concurrent-index-creation"},
    # The column is new and empty: no row is checked for longer than it takes to read it, and an
    # index without rows takes as long.
    "community_directory 2026-11-29T15:10:00:000000": {"constraint-missing-not-valid"},
    "community_directory 2026-11-29T15:11:00:000000": {"require-concurrent-index-creation"},
    # No entry has an act before: an index without rows takes as long as to read the log once.
    "community_directory 2026-11-29T15:21:00:000000": {"require-concurrent-index-creation"},
    # An hour, a week and the days of a month stay below 100: the rows are many, and small.
    "community_directory 2026-11-29T20:00:00:000000": {"prefer-bigint-over-smallint"},
    # An operator can create the index of members before. That of the days in rooms is made from the
    # rooms themselves, which nobody may write meanwhile, and it takes the place of another one.
    "community_directory 2026-11-29T21:00:00:000000": {
        "require-concurrent-index-creation",
        "require-concurrent-index-deletion",
    },
}
"""The rules of squawk that a migration breaks, by its app and its id, each with a reason."""
EXCEPTIONS_OF_THE_ADOPTION = {
    # It runs once, on a database from before 0.1.0, in place of the first migrations.
    "ban-drop-constraint",
    "ban-drop-function",
    "constraint-missing-not-valid",
}


async def record_scripts(url: str) -> dict[str, str]:
    """Return the SQL that each migration of this package sends, by its app and its id.

    The limits of time come first. Piccolo's record of the migrations is left out.
    """
    queries: list[asyncpg.connection.LoggedQuery] = []
    async with connect(url, max_size=1):
        assert engine.pool is not None
        connection = await engine.pool.acquire()
        connection.add_query_logger(queries.append)
        engine.pool.release(connection, clean=True)
        await migrate()
        await asyncio.sleep(0)  # asyncpg calls the logger in the next round of the loop
    limits = next(query.query for query in queries if "lock_timeout" in query.query)
    scripts = {}
    sent = [limits]
    for query in queries:
        if query.query.startswith('INSERT INTO "migration"'):
            name, app = query.args[:2]
            scripts[f"{app} {name}"] = ";\n".join(sent)
            sent = [limits]
        elif '"migration"' not in query.query and not query.query.startswith(TRANSACTION_COMMANDS):
            sent.append(query.query.strip().rstrip(";"))
    return {name: script for name, script in scripts.items() if name.startswith(OWN_APPS)}


def find_broken_rules(script: str) -> set[str]:
    """Return the names of squawk's rules that a script breaks."""
    checked = subprocess.run(
        [Path(sys.executable).parent / "squawk", "--reporter=json"],
        cwd=PROJECT,
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return {finding["rule_name"] for finding in json.loads(checked.stdout)}


async def test_a_migration_breaks_no_rule_of_squawk_but_its_exceptions(
    empty_database: str,
) -> None:
    scripts = await record_scripts(empty_database)
    assert len(scripts) >= 3
    for name, script in scripts.items():
        assert find_broken_rules(script) == EXCEPTIONS.get(name, set()), name
    limits = next(iter(scripts.values())).partition("\n")[0]
    assert find_broken_rules(f"{limits}\n{ADOPT.read_text()}") == EXCEPTIONS_OF_THE_ADOPTION


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        (
            "ALTER TABLE community_members ADD CONSTRAINT c CHECK (name <> '')",
            "constraint-missing-not-valid",
        ),
        ("CREATE INDEX i ON community_members (name)", "require-concurrent-index-creation"),
        ("ALTER TABLE community_members ALTER name TYPE text", "changing-column-type"),
        ("ALTER TABLE community_members RENAME name TO title", "renaming-column"),
    ],
)
def test_squawk_finds_what_stops_or_breaks_a_running_bot(statement: str, rule: str) -> None:
    assert rule in find_broken_rules(statement)


async def test_the_documented_changes_disturb_no_caller(database: str) -> None:
    statements = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(statements) == 7
    operator = await asyncpg.connect(database)
    writers = Writers()
    async with connect(database):
        await add_inviter()
        async with writers.running():
            for statement in statements:
                await writers.confirm(5)
                result = await operator.execute(statement)
                assert not result.startswith("SELECT") or result == "SELECT 0"
            await writers.confirm(5)
        await writers.check()
    assert writers.unknown.total() == 0
    assert await operator.fetchval("SELECT count(*) FROM community_members WHERE pronouns <> ''")
    assert await operator.fetchval(
        "SELECT convalidated FROM pg_constraint WHERE conname = 'member_pronouns_check'"
    )
    await operator.close()
