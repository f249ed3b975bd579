"""Programs in TypeScript use the directory with the original schema and with the generated one.

TEST_DRIZZLE names a folder in which npm has installed Drizzle, its driver and the compiler: `npm
install --prefix FOLDER drizzle-orm pg typescript @types/pg @types/node`. Without it these tests are
skipped.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from community_directory.database import connect
from community_directory.queries import accounts, invitations, members, participation
from community_directory.typescript import make_typescript
from tests.roles import app_url
from tests.shared import SharedDatabase

PROGRAMS = Path(__file__).parent / "drizzle"
NODE = shutil.which("node")
FOLDER = os.environ.get("TEST_DRIZZLE", "")
COMPILER_OPTIONS = (
    *("--strict", "--noEmitOnError", "--skipLibCheck"),
    *("--module", "nodenext", "--target", "es2022", "--types", "node"),
)
NOON = "2026-01-31T12:00:00.123Z"
ZONES = ["UTC", "Asia/Kolkata"]

pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="TEST_DRIZZLE names no folder with drizzle-orm"),
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
]


def node(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(NODE), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
async def compiled(shared_database: SharedDatabase) -> AsyncIterator[Path]:
    """Yield a folder with the compiled programs; the compiler has accepted both schemas."""
    async with connect(shared_database.url, min_size=0):
        schema = await make_typescript()
    # The programs find their packages in a folder above.
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        (folder / "schema.ts").write_text(schema)
        for program in PROGRAMS.glob("*.ts"):
            shutil.copy(program, folder)
        compiler = Path(FOLDER, "node_modules/typescript/bin/tsc").resolve()
        ended = node(compiler, *COMPILER_OPTIONS, *sorted(folder.glob("*.ts")), cwd=folder)
        assert ended.returncode == 0, ended.stdout
        yield folder


def run(program: str, compiled: Path, url: str, zone: str) -> dict[str, Any]:
    """Run a compiled program in sessions of this time zone, and return what it read."""
    # The driver of Node takes the host of a URL without one from its query only.
    ended = node(f"{program}.js", url.replace("@/", "@localhost/"), zone, cwd=compiled)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    read: dict[str, Any] = json.loads(ended.stdout)
    return read


def is_recent(moment: str) -> bool:
    return abs(datetime.now(UTC) - datetime.fromisoformat(moment)) < timedelta(minutes=5)


async def test_the_original_schema_writes_and_reads_the_directory(
    directory: asyncpg.Pool, directory_url: str, compiled: Path
) -> None:
    read = run("original", compiled, app_url(directory_url), "UTC")

    ana, bo = (row for row in read["members"] if row != read["third"])
    assert ana == read["inviter"]
    assert (ana["member_id"], ana["telegram_id"], ana["name"], ana["last_active_at"]) == (
        *("#247", "1001", "Ana", NOON),
    )
    assert ana["github_profile_data"] == {"id": 7, "public_repos": 3}
    assert (bo["telegram_id"], bo["status"], bo["invited_by"]) == ("1003", "active", "#247")
    assert bo["profile_data"] == {"discord_id": "5"}
    invitation = read["accepted"]
    assert (invitation["status"], invitation["accepted_by"]) == ("accepted", "#248")
    first, second = read["events"]
    assert (first["event_metadata"], second["occurred_at"]) == ({"length": 5}, NOON)
    assert read["relationships"][0]["content"] == {"since": 2026}
    assert read["highlights"][0]["highlight_date"] == "2026-01-31"
    for row in (ana, bo, invitation, *read["relationships"], *read["highlights"]):
        assert is_recent(row["created_at"])
    assert is_recent(first["occurred_at"])

    # The helpers read what the program wrote.
    member = await members.get("#247")
    assert (member.name, member.github_username, member.telegram_username) == (
        *("Ana", "Ana-dev", "Ana_1"),
    )
    assert (await invitations.get("0123456789ABCDEF")).accepted_by == "#248"
    history = await participation.history("#247")
    assert [event.occurred_at for event in history.items][1] == datetime.fromisoformat(NOON)
    assert (await members.get_by_telegram_id(1004)).member_id == read["third"]["member_id"]


async def test_the_original_schema_reads_times_in_sessions_with_the_time_zone_utc(
    directory: asyncpg.Pool, directory_url: str, compiled: Path
) -> None:
    read = run("original", compiled, app_url(directory_url), "Asia/Kolkata")
    # It takes the local time for that of UTC. What it wrote is right.
    assert read["inviter"]["last_active_at"] == "2026-01-31T17:30:00.123Z"
    assert (await members.get("#247")).last_active_at == datetime.fromisoformat(NOON)


async def test_accounts_follow_what_the_original_schema_writes(
    directory: asyncpg.Pool, directory_url: str, compiled: Path
) -> None:
    failures = run("original", compiled, app_url(directory_url), "UTC")["failures"]
    found = {
        (account.platform, account.account_id, account.proof, number)
        for number in ("#247", "#248")
        for account in await accounts.of(number)
    }
    assert found == {
        ("telegram", "1001", "platform", "#247"),
        ("github", "7", "platform", "#247"),
        ("telegram", "1003", "platform", "#248"),
        ("discord", "5", "stated", "#248"),
    }
    # A second row of the same account fails, and says why.
    assert failures["sameColumn"]["constraint"] == "member_telegram_id_idx"
    assert failures["sameAccount"] == {
        "code": "23505",
        "constraint": "member_account_idx",
        "message": "The account belongs to another member.",
    }
    assert failures["unknownMember"]["constraint"] == "member_participation_member_id_fkey"


@pytest.mark.parametrize("zone", ZONES)
async def test_the_generated_schema_writes_and_reads_the_directory_in_each_time_zone(
    directory: asyncpg.Pool, directory_url: str, compiled: Path, zone: str
) -> None:
    # Some tables are for the panel alone, so the program has all rights.
    read = run("generated", compiled, directory_url, zone)
    member = read["read"]
    assert (member["member_id"], member["status"]) == ("#1", "pending")
    assert (member["last_active_at"], member["profile_data"]) == (NOON, {"discord_id": "5"})
    assert is_recent(member["created_at"])
    assert [(account["platform"], account["proof"]) for account in read["accounts"]] == [
        ("discord", "stated"),
        ("telegram", "platform"),
    ]
    assert read["changes"] == [
        {"id": "bigint", "action": "INSERT", "status": [None, "not_member"]},
        {"id": "bigint", "action": "UPDATE", "status": ["not_member", "pending"]},
    ]


async def test_drizzle_understands_every_column_and_key_as_the_database_does(
    directory: asyncpg.Pool, directory_url: str, compiled: Path
) -> None:
    tables = run("generated", compiled, directory_url, "UTC")["tables"]
    columns = await directory.fetch(
        """
        SELECT table_name, column_name, udt_name, is_nullable = 'NO' AS not_null,
            column_default IS NOT NULL AND column_default NOT LIKE 'NULL::%' AS has_default
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = ANY($1) ORDER BY ordinal_position
        """,
        list(tables),
    )
    names = {"int2": "smallint", "int4": "integer", "int8": "bigint", "bool": "boolean"}
    names |= {f"_{name}": f"{standard}[]" for name, standard in names.items()}
    assert {
        name: [
            (column["name"], column["notNull"], column["hasDefault"]) for column in table["columns"]
        ]
        for name, table in tables.items()
    } == {
        name: [tuple(row)[1:2] + tuple(row)[3:] for row in columns if row["table_name"] == name]
        for name in tables
    }
    types = {
        (name, column["name"]): column["type"].partition("(")[0]
        for name, table in tables.items()
        for column in table["columns"]
    }
    for row in columns:
        expected = names.get(row["udt_name"], row["udt_name"])
        expected = expected.replace("timestamptz", "timestamp with time zone")
        assert types[row["table_name"], row["column_name"]] == expected
    constraints = await directory.fetch(
        """
        SELECT conname, contype::text FROM pg_constraint
        WHERE conrelid::regclass::text = ANY($1) AND contype IN ('u', 'f')
            AND confrelid <> 'piccolo_user'::regclass
        """,
        list(tables),
    )
    for kind, part in (("u", "uniques"), ("f", "references")):
        assert {row["conname"] for row in constraints if row["contype"] == kind} == {
            found["name"] for table in tables.values() for found in table[part]
        }
