"""The migrations run forwards and backwards, twice, concurrently, and are killed half-way."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.apps.migrations.tables import Migration

from community_directory.database import connect
from community_directory.database import migrations as migrate_module
from community_directory.database.migrations import MIGRATION_LOCK_KEY, migrate
from community_directory.errors import MigrationFailed
from tests.conftest import Server, new_database, run_sql
from tests.processes import PROJECT, environment, run_piccolo
from tests.tables import rows
from tests.waiting import until_blocked_by, until_sessions

pytestmark = pytest.mark.schema

APP = "community_directory"
MIGRATIONS = PROJECT / "community_directory/piccolo_migrations"
SECOND = "2026-11-28T15:00:00:000000"
"""The first migration creates the bare tables; this one and later ones create everything else."""
ROWS_ALONE = "2026-11-29T22:00:00:000000"
"""The migration that changes rows, and not the schema."""
OURS = {
    "community_members",
    "community_invitations",
    "member_relationships",
    "member_participation",
    "member_daily_highlights",
    "directory_audit_log",
}
PICCOLOS = {
    "authenticator_secret",
    "migration",
    "panel_attempts",
    "panel_invitations",
    "panel_temporary_passwords",
    "panel_viewers",
    "panel_visits",
    "piccolo_user",
    "sessions",
}
SECONDS = 30
"""The longest that one step of a test may take."""


async def dump(url: str, what: str = "--schema-only") -> str:
    """Return the schema, or another dump, as the server's own pg_dump writes it."""
    # pg_dump would put a random key into each dump.
    code, output = await run(await pg_dump_of(url), what, "--restrict-key=x", f"--dbname={url}")
    assert code == 0, output
    return output


PG_DUMPS: dict[str, str] = {}
"""The pg_dump of each server, which is found once: some tests make a hundred dumps."""


async def pg_dump_of(url: str) -> str:
    """Find the pg_dump of the server's own version: another one writes other lines.

    The server says where its programs are. On another machine they are where Debian installs them,
    or on the PATH.
    """
    server = urlunsplit(urlsplit(url)._replace(path=""))
    if server not in PG_DUMPS:
        PG_DUMPS[server] = await find_pg_dump(url)
    return PG_DUMPS[server]


async def find_pg_dump(url: str) -> str:
    async with session(url) as connection:
        bin_directory = await connection.fetchval(
            "SELECT setting FROM pg_config WHERE name = 'BINDIR'"
        )
        major = connection.get_server_version().major
    debian = f"/usr/lib/postgresql/{major}/bin"
    path = os.pathsep.join([bin_directory, debian, os.environ.get("PATH", os.defpath)])
    program = shutil.which("pg_dump", path=path)
    assert program is not None, f"This machine has no pg_dump {major} for the tests' server."
    _, version = await run(program, "--version")
    assert f" {major}." in version, f"The tests' server is {major}, but {program} is {version}"
    return program


async def run(*command: str, url: str | None = None) -> tuple[int, str]:
    """Run a program in the project's folder; return its exit code and its output."""
    process = await start(*command, url=url)
    output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def start(*command: str, url: str | None = None) -> asyncio.subprocess.Process:
    environment = os.environ | ({"POSTGRES_URL": url} if url else {})
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=PROJECT,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


SCRIPT = """
import asyncio
from community_directory.database import connect
from community_directory.database.migrations import migrate

async def main():
    async with connect(min_size=0):
        await migrate()

asyncio.run(main())
"""


def run_migrations(*arguments: str, url: str) -> tuple[int, str]:
    """Run `piccolo migrations …`; return its exit code and its output."""
    ended = run_piccolo("migrations", *arguments, settings={"POSTGRES_URL": url})
    return ended.returncode, ended.stdout + ended.stderr


PICCOLO = (sys.executable, "-m", "piccolo.main", "migrations")
MIGRATE = (sys.executable, "-c", SCRIPT)
FORWARDS = ("forwards", "all")
BACKWARDS = ("backwards", "all", "--auto_agree")


@asynccontextmanager
async def running(
    *command: str, url: str, processes: int = 1
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Start processes of one program; kill those that still run when the test fails."""
    started = [await start(*command, url=url) for _ in range(processes)]
    try:
        yield started
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def relations(url: str) -> set[str]:
    async with session(url) as connection:
        found = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
        return {row["relname"] for row in found}


async def objects(url: str) -> set[str]:
    """Describe every object of the database except PostgreSQL's own."""
    async with session(url) as connection:
        found = await connection.fetch(
            """
            SELECT pg_describe_object(classid, every.oid, 0) AS described FROM (
                SELECT 'pg_class'::regclass AS classid, oid, relnamespace AS namespace FROM pg_class
                UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
                UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type
                UNION ALL SELECT 'pg_constraint'::regclass, oid, connamespace FROM pg_constraint
                UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace FROM pg_operator
                UNION ALL SELECT 'pg_trigger'::regclass, oid, 0 FROM pg_trigger
                UNION ALL SELECT 'pg_event_trigger'::regclass, oid, 0 FROM pg_event_trigger
                UNION ALL SELECT 'pg_extension'::regclass, oid, 0 FROM pg_extension
                UNION ALL SELECT 'pg_namespace'::regclass, oid, oid FROM pg_namespace
            ) AS every
            LEFT JOIN pg_namespace ON pg_namespace.oid = namespace
            WHERE nspname IS NULL OR nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
            """
        )
        return {row["described"] for row in found}


async def fill(url: str) -> None:
    """Write a row into each table, with explicit member ids: the first migration assigns none."""
    async with session(url) as connection:
        await rows.member(connection, member_id="#1")
        await rows.member(connection, member_id="#2", invited_by="#1")
        await rows.invitation(connection, created_by="#1")
        await rows.relationship(connection)
        await rows.event(connection, member_id="#1")
        await rows.highlight(connection, member_id="#1")
        await rows.audit_entry(connection)


@pytest.fixture(scope="module")
async def clean_dump(server: Server) -> str:
    """The schema that the migrations make when nothing disturbs them, without further roles."""
    async with new_database(server) as url:
        async with connect(url, min_size=0):
            await migrate()
        return await dump(url)


async def test_forwards_makes_the_six_tables_in_an_empty_database(empty_database: str) -> None:
    assert await relations(empty_database) == set()
    async with connect(empty_database, min_size=0):
        await migrate()
    assert await relations(empty_database) >= OURS | PICCOLOS


DESIGNED = {
    "community_invitations": {
        "invitation_id": "uuid NOT NULL DEFAULT gen_random_uuid()",
        "invitation_code": "character varying(16) NOT NULL",
        "created_by": "character varying(20) NOT NULL",
        "invited_telegram_username": "character varying(255)",
        "status": "character varying(20) NOT NULL DEFAULT 'pending'::character varying",
        "expires_at": "timestamp with time zone NOT NULL"
        " DEFAULT (CURRENT_TIMESTAMP + '72:00:00'::interval)",
        "accepted_by": "character varying(20)",
        "accepted_at": "timestamp with time zone",
        "created_at": "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "updated_at": "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
    },
    "community_members": {
        "id": "uuid NOT NULL DEFAULT gen_random_uuid()",
        "member_id": "character varying(20) NOT NULL DEFAULT ''::character varying",
        "telegram_id": "character varying(255) NOT NULL",
        "telegram_username": "character varying(255)",
        "name": "character varying(255) NOT NULL",
        "primary_role": "character varying(50) NOT NULL",
        "organization": "character varying(255)",
        "country": "character varying(100)",
        "github_username": "character varying(255)",
        "github_verified": "boolean NOT NULL DEFAULT false",
        "github_verified_at": "timestamp with time zone",
        "github_profile_data": "jsonb",
        "status": "character varying(20) NOT NULL DEFAULT 'not_member'::character varying",
        "reputation_score": "integer NOT NULL DEFAULT 0",
        "reputation_tier": "character varying(50) DEFAULT 'Novice'::character varying",
        "invited_by": "character varying(20)",
        "registration_fee_paid": "boolean DEFAULT false",
        "registration_fee_tx_hash": "character varying(255)",
        "profile_data": "jsonb",
        "created_at": "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "updated_at": "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "last_active_at": "timestamp with time zone",
        "deleted_at": "timestamp with time zone",
        "reputation_shortfall": "integer NOT NULL DEFAULT 0",
        "is_bot": "boolean NOT NULL DEFAULT false",
        "reputation_withheld": "integer NOT NULL DEFAULT 0",
        "merged_into": "character varying(20)",
        "suspended_until": "timestamp with time zone",
        "search_text": 'text GENERATED ALWAYS AS ("left"(directory_search_text('
        "((((name)::text || COALESCE((' '::text || (telegram_username)::text), ''::text))"
        " || COALESCE((' '::text || (organization)::text), ''::text))"
        " || COALESCE((' '::text || (github_username)::text), ''::text))), 350)) STORED",
    },
    "directory_audit_log": {
        "id": "bigint NOT NULL DEFAULT nextval('directory_audit_log_id_seq'::regclass)",
        "changed_at": "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "actor": "character varying(255) NOT NULL",
        "reason": "text",
        "action": "character varying(10) NOT NULL",
        "table_name": "character varying(63) NOT NULL",
        "row_id": "uuid NOT NULL",
        "member_id": "character varying(20) NOT NULL",
        "changes": "jsonb NOT NULL",
        "act_id": "uuid",
        "undone_act_id": "uuid",
    },
    "member_daily_highlights": {
        "id": "uuid NOT NULL DEFAULT gen_random_uuid()",
        "member_id": "character varying(20) NOT NULL",
        "highlight_date": "date NOT NULL",
        "message_count": "integer DEFAULT 0",
        "reaction_count": "integer DEFAULT 0",
        "voice_minutes": "integer DEFAULT 0",
        "reputation_earned": "integer DEFAULT 0",
        "created_at": "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
    },
    "member_participation": {
        "id": "uuid NOT NULL DEFAULT gen_random_uuid()",
        "member_id": "character varying(20) NOT NULL",
        "event_type": "character varying(50) NOT NULL",
        "platform": "character varying(50) NOT NULL",
        "room_id": "character varying(255) NOT NULL",
        "event_metadata": "jsonb",
        "occurred_at": "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
        "source_id": "character varying(255)",
    },
    "member_relationships": {
        "id": "uuid NOT NULL DEFAULT gen_random_uuid()",
        "entity_id_a": "character varying(255) NOT NULL",
        "entity_id_b": "character varying(255) NOT NULL",
        "relationship_type": "character varying(50) NOT NULL",
        "content": "jsonb NOT NULL DEFAULT '{}'::jsonb",
        "created_at": "timestamp with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
    },
}


async def test_every_column_is_as_designed(database: str) -> None:
    async with session(database) as connection:
        found = await connection.fetch(
            """
            SELECT attrelid::regclass::text AS table_name, attname,
                format_type(atttypid, atttypmod)
                    || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
                    || CASE WHEN attgenerated = 's'
                    THEN ' GENERATED ALWAYS AS (' || pg_get_expr(adbin, adrelid) || ') STORED'
                    ELSE coalesce(
                        ' DEFAULT '
                            || nullif(pg_get_expr(adbin, adrelid), 'NULL::character varying'),
                        ''
                    )
                    END AS definition
            FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
            WHERE attrelid::regclass::text = ANY($1::text[]) AND attnum > 0 AND NOT attisdropped
            """,
            list(OURS),
        )
        primary_keys = await connection.fetch(
            """
            SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE conrelid::regclass::text = ANY($1::text[]) AND contype = 'p'
            """,
            list(OURS),
        )
    columns: dict[str, dict[str, str]] = {}
    for row in found:
        columns.setdefault(row["table_name"], {})[row["attname"]] = row["definition"]
    assert columns == DESIGNED
    assert {tuple(row) for row in primary_keys} == {
        (table, f"PRIMARY KEY ({next(iter(designed))})") for table, designed in DESIGNED.items()
    }


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "with rows in every table"])
async def test_backwards_leaves_nothing_and_forwards_again_makes_the_same(
    empty_database: str, clean_dump: str, filled: bool
) -> None:
    await run_sql(empty_database, "CREATE EXTENSION pg_trgm")  # backwards leaves it
    async with connect(empty_database, min_size=0):
        for other in ("user", "session_auth", "mfa_authenticator", "directory_panel"):
            assert (await run_forwards(other)).success
        before, dump_before = await objects(empty_database), await dump(empty_database)

        for _ in range(2):
            assert (await run_forwards(APP)).success
            assert await dump(empty_database) == clean_dump
            if filled:
                await fill(empty_database)

            assert (await run_backwards(APP, "all", auto_agree=True)).success
            assert await objects(empty_database) == before
            assert await dump(empty_database) == dump_before
            assert not await Migration.exists().where(Migration.app_name == APP)


@pytest.mark.parametrize("filled", [False, True], ids=["empty", "with rows in every table"])
async def test_each_migration_goes_back_on_its_own(empty_database: str, filled: bool) -> None:
    await run_sql(empty_database, "CREATE EXTENSION pg_trgm")
    async with connect(empty_database, min_size=0):
        await Migration.create_table()
        dumps = [await dump(empty_database)]
        while (await run_forwards(APP, "1")).message == "Migration succeeded":
            dumps.append(await dump(empty_database))
            names = (
                await Migration.select(Migration.name).order_by(Migration.name).output(as_list=True)
            )
            assert (dumps[-1] == dumps[-2]) == (names[-1] == ROWS_ALONE)
            if not filled:
                continue  # the way back, below, has the same steps
            if len(dumps) == 2:
                await fill(empty_database)

            assert (await run_backwards(APP, "1", auto_agree=True)).success
            assert await dump(empty_database) == dumps[-2]
            assert (await run_forwards(APP, "1")).success
            assert await dump(empty_database) == dumps[-1]

        assert len(dumps) == 1 + len(list(MIGRATIONS.glob("community_directory_*.py")))
        if filled:
            return  # each has gone back above
        for expected in reversed(dumps[:-1]):
            assert (await run_backwards(APP, "1", auto_agree=True)).success
            assert await dump(empty_database) == expected


async def test_the_given_segment_of_those_at_risk_goes_back_and_forwards(database: str) -> None:
    find = "SELECT filters::jsonb ? 'activity' FROM directory_segments WHERE name = 'At risk'"
    async with connect(database, min_size=0), session(database) as connection:
        assert await connection.fetchval(find)
        assert (await run_backwards(APP, ROWS_ALONE, auto_agree=True)).success
        assert not await connection.fetchval(find)
        assert (await run_forwards(APP, ROWS_ALONE)).success
        assert await connection.fetchval(find)


async def test_the_panels_own_schema_goes_back_and_forwards(empty_database: str) -> None:
    async with connect(empty_database, min_size=0):
        await migrate()
        before = await dump(empty_database)
        assert "panel_" in before
        assert (await run_backwards("directory_panel", "all", auto_agree=True)).success
        assert "panel_" not in await dump(empty_database)
        assert (await run_forwards("directory_panel")).success
        assert await dump(empty_database) == before


async def test_going_back_to_the_bare_tables_and_forwards_again_loses_no_row(
    database: str,
) -> None:
    async with connect(database, min_size=0), session(database) as connection:
        await rows.member(connection)
        assert (await run_backwards(APP, SECOND, auto_agree=True)).success
        assert (await run_forwards(APP)).success
        await rows.member(connection)
        members = await connection.fetch("SELECT member_id FROM community_members ORDER BY 1")
    assert [tuple(member) for member in members] == [("#1",), ("#2",)]


async def test_backwards_leaves_an_extension_which_may_have_other_users(
    empty_database: str,
) -> None:
    await run_sql(empty_database, "CREATE EXTENSION pg_trgm")
    async with connect(empty_database, min_size=0):
        await migrate()
        assert (await run_backwards(APP, "all", auto_agree=True)).success
    async with session(empty_database) as connection:
        assert await connection.fetchval("SELECT similarity('ana', 'ana')") == 1


async def test_an_extension_that_is_there_already_is_used_where_it_is(empty_database: str) -> None:
    await run_sql(
        empty_database, 'CREATE SCHEMA "Extensions"', 'CREATE EXTENSION pg_trgm SCHEMA "Extensions"'
    )
    async with connect(empty_database, min_size=0):
        await migrate()
    async with session(empty_database) as connection:
        definition = await connection.fetchval(
            "SELECT pg_get_indexdef('member_search_idx'::regclass)"
        )
        assert '"Extensions".gin_trgm_ops' in definition
        await rows.member(connection)


async def test_the_command_line_goes_forwards_and_back(
    empty_database: str, clean_dump: str
) -> None:
    for _ in range(2):
        code, output = run_migrations(*FORWARDS, url=empty_database)
        assert code == 0, output
        assert await dump(empty_database) == clean_dump
    await fill(empty_database)
    code, output = run_migrations("backwards", APP, "all", "--auto_agree", url=empty_database)
    assert code == 0, output
    assert not await relations(empty_database) & OURS
    assert await relations(empty_database) >= PICCOLOS


OTHER_CONFIGURATION = """
from community_directory.database import DirectoryEngine
from piccolo.conf.apps import AppRegistry

DB = DirectoryEngine()
DB.config = {"dsn": "postgresql://127.0.0.1:1/another"}
APP_REGISTRY = AppRegistry(["notes"])
"""
OTHER_APP = """
from piccolo.conf.apps import AppConfig

APP_CONFIG = AppConfig("notes", "/nowhere")
"""
LOOK_BEFORE = """
import os, sys
from piccolo.apps.migrations.commands import forwards
from piccolo.apps.migrations.tables import Migration
from piccolo.conf.apps import Finder

before = dict(os.environ), forwards.run_forwards, Finder.get_piccolo_conf_module
"""
LOOK_AFTER = """
assert before == (dict(os.environ), forwards.run_forwards, Finder.get_piccolo_conf_module)
assert "community_directory.piccolo_conf" not in sys.modules
if os.path.exists("piccolo_conf.py"):
    import piccolo_conf
    assert Migration._meta.db is piccolo_conf.DB
    assert Finder().get_app_names() == ["notes"]
"""


@pytest.mark.parametrize("calls", ["migrate()", "asyncio.gather(migrate(), migrate())"])
@pytest.mark.parametrize("own", [False, True], ids=["none", "one of its own"])
async def test_a_program_with_or_without_a_piccolo_configuration_migrates_the_directory(
    empty_database: str, clean_dump: str, tmp_path: Path, own: bool, calls: str
) -> None:
    if own:
        (tmp_path / "piccolo_conf.py").write_text(OTHER_CONFIGURATION)
        (tmp_path / "notes.py").write_text(OTHER_APP)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        LOOK_BEFORE + SCRIPT.replace("migrate()\n", f"{calls}\n") + LOOK_AFTER,
        cwd=tmp_path,
        env=environment(POSTGRES_URL=empty_database, PYTHONPATH=str(package_alone(tmp_path))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    assert (process.returncode, output.decode()) == (0, "")
    assert await dump(empty_database) == clean_dump


def package_alone(folder: Path) -> Path:
    """A folder to import the package from, and not the clone's piccolo_conf."""
    path = folder / "installed"
    path.mkdir()
    (path / APP).symlink_to(PROJECT / APP)
    return path


async def test_an_up_to_date_database_is_left_as_it_is(
    directory: asyncpg.Pool, database: str
) -> None:
    await rows.invitation(directory)
    everything = """
        SELECT 'migration' AS of, migration::text AS row, xmin::text FROM migration
        UNION ALL SELECT 'members', community_members::text, xmin::text FROM community_members
        UNION ALL SELECT 'invitations', community_invitations::text, xmin::text
        FROM community_invitations
        UNION ALL SELECT 'log', directory_audit_log::text, xmin::text FROM directory_audit_log
    """
    before = await directory.fetch(everything), await dump(database)
    await migrate()
    await migrate()
    assert (await directory.fetch(everything), await dump(database)) == before


async def run_four_at_once(*command: str, url: str) -> None:
    async with session(url) as gate, running(*command, url=url, processes=4) as processes:
        # Nobody starts before all four are there.
        await gate.execute(f"SELECT pg_advisory_lock({MIGRATION_LOCK_KEY})")
        await until_sessions(
            gate, "count(*) FILTER (WHERE wait_event_type = 'Lock' AND wait_event = 'advisory') = 4"
        )
        await gate.execute(f"SELECT pg_advisory_unlock({MIGRATION_LOCK_KEY})")
        for process in processes:
            output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
            assert process.returncode == 0, output.decode()


@pytest.mark.parametrize(
    "program", [MIGRATE, (*PICCOLO, *FORWARDS)], ids=["migrate()", "command line"]
)
async def test_four_processes_may_migrate_at_once(
    empty_database: str, clean_dump: str, program: tuple[str, ...]
) -> None:
    await run_four_at_once(*program, url=empty_database)
    assert await dump(empty_database) == clean_dump
    async with session(empty_database) as connection:
        ran = await connection.fetch("SELECT app_name, name FROM migration")
    assert len(ran) == len(set(ran))


async def test_four_processes_may_go_back_at_once(database: str) -> None:
    await run_four_at_once(*PICCOLO, *BACKWARDS, url=database)
    assert await relations(database) & (OURS | PICCOLOS) == {"migration"}


# A migration stops where another session holds a lock: on the name of an object that is not
# committed yet, or on Piccolo's record of the migrations.
OBSTACLES = {
    "before the first table": "CREATE TABLE community_invitations ()",
    "between the first migration and its record": "LOCK TABLE migration IN SHARE MODE",
    "at the start of the second migration": "CREATE SEQUENCE community_member_number",
    "in the second migration": "CREATE TABLE member_search_0_idx ()",
    "at the end of the second migration": "CREATE TABLE audit_member_status_idx ()",
    "in the migrations of Piccolo": "CREATE TABLE sessions ()",
}
KILLED = [
    *(
        pytest.param(MIGRATE, obstacle, id=f"migrate() {where}")
        for where, obstacle in OBSTACLES.items()
    ),
    *(
        pytest.param((*PICCOLO, *FORWARDS), OBSTACLES[where], id=f"command line {where}")
        for where in ("between the first migration and its record", "in the migrations of Piccolo")
    ),
]


async def kill_at(obstacle: str, *command: str, url: str) -> None:
    """Kill a program where it waits for what another session holds."""
    async with session(url) as observer, running(*command, url=url) as (process,):
        async with session(url) as other:
            await other.execute(f"BEGIN; {obstacle}")
            await until_blocked_by(other)
            process.kill()
            assert await process.wait() == -signal.SIGKILL
        await until_sessions(observer, "count(*) = 0")


@pytest.mark.parametrize(("program", "obstacle"), KILLED)
async def test_a_migration_that_is_killed_can_be_run_again(
    empty_database: str, clean_dump: str, program: tuple[str, ...], obstacle: str
) -> None:
    async with connect(empty_database, min_size=0):
        await Migration.create_table()
    before = await dump(empty_database)
    await kill_at(obstacle, *program, url=empty_database)
    assert await dump(empty_database) == before

    async with connect(empty_database, min_size=0):
        await migrate()
    assert await dump(empty_database) == clean_dump


async def test_going_back_that_is_killed_leaves_everything(database: str) -> None:
    before = await dump(database)
    # The command goes back app by app, and our tables come last.
    await kill_at("LOCK TABLE member_relationships", *PICCOLO, *BACKWARDS, url=database)
    assert await dump(database) == before


FAILING = {
    "an unknown migration": ("forwards", APP, "2026-01-01T00:00:00:000000"),
    "a table of another program": ("forwards", "all"),
}


@pytest.mark.parametrize("command", FAILING.values(), ids=FAILING.keys())
async def test_the_command_line_leaves_nothing_behind_when_it_fails(
    empty_database: str, command: tuple[str, ...]
) -> None:
    await run_sql(
        empty_database, "CREATE TABLE sessions ()"
    )  # the last one that Piccolo would make
    before = await dump(empty_database)
    code, output = run_migrations(*command, url=empty_database)
    assert code == 1, output
    assert await dump(empty_database) == before


async def test_a_preview_changes_nothing(empty_database: str, database: str) -> None:
    before = await dump(database)
    code, output = run_migrations(*FORWARDS, "--preview", url=empty_database)
    assert (code, "CREATE TABLE" in output) == (0, True), output
    assert await relations(empty_database) == set()

    code, output = run_migrations(*BACKWARDS, "--preview", url=database)
    assert code == 0, output
    assert await dump(database) == before


async def test_waiting_too_long_for_another_migration_is_a_clear_error(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_module, "MIGRATION_LOCK_TIMEOUT", "100ms")
    async with session(empty_database) as other, connect(empty_database, min_size=0):
        await other.execute(f"SELECT pg_advisory_lock({MIGRATION_LOCK_KEY})")
        with pytest.raises(
            MigrationFailed, match=r"^The schema could not be brought up to date: .*another process"
        ):
            await asyncio.wait_for(migrate(), SECONDS)
        assert await relations(empty_database) == set()

        await other.execute(f"SELECT pg_advisory_unlock({MIGRATION_LOCK_KEY})")
        await migrate()


async def test_a_migration_waits_for_a_busy_table_a_short_time_only(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate_module, "TABLE_LOCK_TIMEOUT", "100ms")
    async with session(empty_database) as other, connect(empty_database, min_size=0):
        await other.execute("BEGIN; CREATE TABLE audit_member_id_idx ()")
        with pytest.raises(
            MigrationFailed, match=r"^The schema could not be brought up to date: .*another process"
        ):
            await asyncio.wait_for(migrate(), SECONDS)
        await other.execute("ROLLBACK")
        assert await relations(empty_database) == set()
        await migrate()


async def test_a_migration_that_fails_leaves_the_schema_as_it_was(empty_database: str) -> None:
    await run_sql(
        empty_database, "CREATE TABLE sessions ()"
    )  # the last one that Piccolo would make
    before = await dump(empty_database)
    async with connect(empty_database, min_size=0):
        with pytest.raises(
            MigrationFailed, match=r'^The schema could not be brought up to date: .*"sessions"'
        ):
            await migrate()
    assert await dump(empty_database) == before
