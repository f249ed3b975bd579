"""The database roles: what the owner, the programs and the reader may do, and nothing else."""

import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from community_directory.command_line import command_line, run_parser
from community_directory.database import connect, engine
from community_directory.database.migrations import migrate
from community_directory.database.roles import (
    APP_PRIVILEGES,
    APP_SEQUENCE_PRIVILEGES,
    FUNCTIONS,
    PRIVATE_FUNCTIONS,
    VIEWS,
    apply_roles,
    make_roles_script,
    missing_privileges,
)
from community_directory.errors import InvalidInput, MigrationFailed, NotAllowed, SchemaMissing
from community_directory.queries import audit, highlights, members
from community_directory.queries.privacy import PERSONAL_FIELDS, PUBLIC_COLUMNS
from community_directory.serve import prepare_database
from community_directory.settings import load_settings
from tests.conftest import Server, database_name, database_url, new_database, run_sql
from tests.database.test_adoption import OLD_SCHEMA
from tests.database.test_migrations import dump, pg_dump_of, session
from tests.processes import PROJECT, environment
from tests.roles import (
    MIGRATOR,
    PASSWORD,
    PREFIX,
    PROGRAM,
    app_url,
    migrator_url,
    reader_url,
    with_login,
)
from tests.tables import rows

pytestmark = pytest.mark.schema

LAST_MIGRATION = "2026-11-29T21:00:00:000000"
ADD_ANA: dict[str, Any] = {"telegram_id": 1001, "name": "Ana", "primary_role": "developer"}
SQL = PROJECT / "community_directory/piccolo_migrations/sql"
SCRIPT = make_roles_script(PUBLIC_COLUMNS, PREFIX)
OWNER, APP, READER = f"{PREFIX}_owner", f"{PREFIX}_app", f"{PREFIX}_reader"

SELECT_OWNERS = """
SELECT relkind::text AS kind, relname AS name, relowner::regrole::text AS owner FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind NOT IN ('i', 'c')
UNION ALL
SELECT 'f', proname, proowner::regrole::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
"""


async def owners(url: str) -> dict[tuple[str, str], str]:
    """Return the owner of each table, sequence and function by its kind and name."""
    async with session(url) as connection:
        found = await connection.fetch(SELECT_OWNERS)
    return {(row["kind"], row["name"]): row["owner"] for row in found}


async def apply(url: str, script: str = SCRIPT) -> None:
    """Run the script with the login of the URL."""
    async with connect(url, min_size=0):
        await apply_roles(script)


async def refusal(connection: asyncpg.Connection, statement: str) -> str:
    """Return the message of a statement that the login may not run."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError) as error:
        async with connection.transaction():
            await connection.execute(statement)
    return str(error.value)


# The script


async def test_every_object_belongs_to_the_owner_and_is_in_the_lists(database: str) -> None:
    found = await owners(database)
    assert set(found.values()) == {OWNER}
    functions = {name.partition("(")[0] for name in FUNCTIONS}
    assert set(found) == {
        *(("r", name) for name in APP_PRIVILEGES),
        *(("v", name) for name in VIEWS),
        *(("S", name) for name in APP_SEQUENCE_PRIVILEGES),
        *(("f", name) for name in functions),
    }


async def test_a_second_run_changes_nothing_and_waits_for_no_writer(database: str) -> None:
    before = await dump(database), await owners(database)
    async with session(database) as other, other.transaction():
        await other.execute("LOCK TABLE community_members IN EXCLUSIVE MODE")
        await apply(database)
    assert (await dump(database), await owners(database)) == before


async def test_a_run_takes_back_what_is_too_much_and_grants_what_is_new(database: str) -> None:
    before = await dump(database)
    await run_sql(
        database,
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {APP}, {READER}, PUBLIC",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {APP}, {READER}, PUBLIC",
        f"GRANT SELECT (name) ON community_members TO {READER}",
        f"GRANT CREATE ON SCHEMA public TO PUBLIC, {APP}, {READER}",
        "GRANT EXECUTE ON FUNCTION directory_audit_log_write() TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION directory_audit_log_erase(text, text, text) TO PUBLIC",
        f"REVOKE SELECT ON sessions FROM {APP}",
        f"REVOKE USAGE ON SCHEMA public FROM {READER}",
    )
    assert await dump(database) != before
    await apply(database)
    assert await dump(database) == before


async def test_the_owner_alone_creates_things_in_the_database(database: str) -> None:
    name = database_name(database)
    await run_sql(database, f"GRANT CREATE ON DATABASE {name} TO PUBLIC, {APP}, {READER}")
    await apply(database)
    async with session(database) as connection:
        may_create = [
            await connection.fetchval("SELECT has_database_privilege($1, $2, 'CREATE')", role, name)
            for role in (OWNER, APP, READER)
        ]
    assert may_create == [True, False, False]


async def test_the_roles_need_no_privilege_of_everybody(database: str) -> None:
    name = database_name(database)
    await run_sql(
        database,
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    )
    await apply(database)
    async with connect(app_url(database), min_size=0):
        await members.add(**ADD_ANA)
    async with session(reader_url(database)) as reader:
        assert await reader.fetchval("SELECT count(*) FROM community_members") == 1


async def test_nobody_may_use_the_functions_of_the_log_before_the_roles_are_there(
    server: Server,
) -> None:
    async with own_database(server, "") as (_, url), session(url) as connection:
        for function in (
            "directory_audit_log_write()",
            "directory_audit_log_erase(text,text,text)",
        ):
            assert not await connection.fetchval(
                "SELECT has_function_privilege('public', $1, 'EXECUTE')", function
            )


@asynccontextmanager
async def own_database(server: Server, attributes: str) -> AsyncIterator[tuple[str, str]]:
    """Yield a role with these attributes and a database that it owns and has migrated."""
    role = f"test_{secrets.token_hex(8)}"
    await run_sql(server.url, f"CREATE ROLE {role} LOGIN {attributes} PASSWORD '{PASSWORD}'")
    try:
        async with new_database(server, owner=role) as created:
            url = with_login(created, role)
            async with connect(url, min_size=0):
                await migrate()
            yield role, url
    finally:
        for suffix in ("_owner", "_app", "_reader", "_panel", "_admin", ""):
            await run_sql(server.url, f"DROP ROLE IF EXISTS {role}{suffix}")


async def test_the_owner_of_a_database_who_creates_roles_needs_no_superuser(
    server: Server,
) -> None:
    async with own_database(server, "CREATEROLE") as (role, url):
        script = make_roles_script(PUBLIC_COLUMNS, role)
        for _ in range(2):
            await apply(url, script)
        assert set((await owners(url)).values()) == {f"{role}_owner"}
        await run_sql(
            url, f"CREATE ROLE {role}_panel LOGIN PASSWORD '{PASSWORD}' IN ROLE {role}_app"
        )
        async with connect(with_login(url, f"{role}_panel"), min_size=0):
            assert await missing_privileges() == []
            await members.add(**ADD_ANA)
        async with connect(url, min_size=0):
            assert await migrate() == 0


async def test_a_member_of_the_former_owner_who_creates_roles_needs_no_superuser(
    server: Server,
) -> None:
    async with own_database(server, "") as (role, url):
        await run_sql(
            server.url,
            f"CREATE ROLE {role}_admin LOGIN CREATEROLE PASSWORD '{PASSWORD}' IN ROLE {role}",
        )
        for _ in range(2):
            await apply(with_login(url, f"{role}_admin"), make_roles_script(PUBLIC_COLUMNS, role))
        assert set((await owners(url)).values()) == {f"{role}_owner"}


async def test_who_may_not_create_roles_changes_nothing(server: Server) -> None:
    async with own_database(server, "") as (role, url):
        superuser = database_url(server, database_name(url))
        before = await dump(superuser), await owners(url)
        with pytest.raises(NotAllowed, match=r"create role.*Run this as a superuser"):
            await apply(url, make_roles_script(PUBLIC_COLUMNS, role))
        assert (await dump(superuser), await owners(url)) == before


async def test_the_former_owner_becomes_a_member_and_loses_nothing(server: Server) -> None:
    async with own_database(server, "") as (role, url):
        superuser = database_url(server, database_name(url))
        await apply(superuser, make_roles_script(PUBLIC_COLUMNS, role))
        async with connect(url, min_size=0):
            assert await missing_privileges() == []
            member = await members.add(**ADD_ANA)
            await members.erase(member.member_id, actor="eva")
            await engine.fetch("ALTER TABLE community_members ADD COLUMN note text")


async def test_roles_need_the_migrations(empty_database: str) -> None:
    with pytest.raises(SchemaMissing, match="Run the migrations"):
        await apply(empty_database)


async def test_a_schema_in_which_everybody_may_create_objects_is_refused(server: Server) -> None:
    async with own_database(server, "CREATEROLE") as (role, url):
        # As in a database that was created before PostgreSQL 15.
        await run_sql(
            database_url(server, database_name(url)),
            f"ALTER SCHEMA public OWNER TO {MIGRATOR}",
            "GRANT CREATE ON SCHEMA public TO PUBLIC",
            f"GRANT USAGE, CREATE ON SCHEMA public TO {role} WITH GRANT OPTION",
        )
        with pytest.raises(NotAllowed, match="revoke CREATE on schema public"):
            await apply(url, make_roles_script(PUBLIC_COLUMNS, role))


@pytest.mark.parametrize("prefix", ["", "1a", "A", "a;b", "a b", "pg_x", "a" * 51, "ñ", "a\n"])
def test_a_prefix_is_a_plain_name(prefix: str) -> None:
    with pytest.raises(InvalidInput, match="A prefix has"):
        make_roles_script(PUBLIC_COLUMNS, prefix)


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    run_parser(command_line(), ["roles", "--prefix", PREFIX])
    assert capsys.readouterr().out == SCRIPT


async def test_the_command_applies_the_script(database: str) -> None:
    await run_sql(database, f"REVOKE ALL ON sessions FROM {APP}")
    applied = subprocess.run(
        [sys.executable, "-m", "community_directory", "roles", "--prefix", PREFIX, "--apply"],
        env=environment(POSTGRES_URL=database, PYTHONPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (applied.returncode, applied.stderr) == (0, "")
    assert applied.stdout == (
        f"{OWNER}, {APP} and {READER} have the privileges that they need in the database "
        f"{database_name(database)}.\n"
    )
    async with connect(app_url(database), min_size=0):
        assert await missing_privileges() == []


# The owner


async def test_what_a_member_of_the_owner_migrates_belongs_to_the_owner(
    database: str,
) -> None:
    for url in (migrator_url(database), database):
        before = await dump(database)
        await run_sql(
            database,
            (SQL / "member_rooms_backwards.sql").read_text(encoding="utf-8"),
            f"DELETE FROM migration WHERE name = '{LAST_MIGRATION}'",
        )
        async with connect(url, min_size=0):
            assert await migrate() == 1
        assert set((await owners(database)).values()) == {OWNER}
        await apply(database)
        assert await dump(database) == before


async def test_a_dump_is_restored_by_a_member_of_the_owner(
    server: Server, database: str, tmp_path: Path
) -> None:
    async with connect(app_url(database), min_size=0):
        await members.add(**ADD_ANA)
    programs = Path(await pg_dump_of(database)).parent
    file = tmp_path / "directory.dump"
    run_program(programs / "pg_dump", "--format=custom", f"--file={file}", f"--dbname={database}")
    async with new_database(server, owner=OWNER) as restored:
        run_program(
            programs / "pg_restore",
            "--no-owner",
            f"--role={OWNER}",
            "--exit-on-error",
            f"--dbname={migrator_url(restored)}",
            str(file),
        )
        assert set((await owners(restored)).values()) == {OWNER}
        async with connect(app_url(restored), min_size=0):
            assert await missing_privileges() == []
            await members.erase("#1", actor="eva")
            assert await migrate() == 0
        async with session(app_url(restored)) as program:
            assert "directory_audit_log_write" in await refusal(program, FORGING_TRIGGER)
        # Some constraints are worded differently after a restore.
        granted = re.compile("^(?:GRANT|REVOKE) .*", re.MULTILINE)
        assert granted.findall(await dump(restored)) == granted.findall(await dump(database))


def run_program(program: Path, *arguments: str) -> None:
    ended = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


# The programs


async def test_a_program_lacks_nothing_and_is_told_what_it_lacks(database: str) -> None:
    for url in (app_url(database), migrator_url(database), database):
        async with connect(url, min_size=0):
            assert await missing_privileges() == []
    async with connect(reader_url(database), min_size=0):
        assert len(await missing_privileges()) > 30
    await run_sql(
        database,
        f"REVOKE UPDATE, DELETE ON sessions FROM {APP}",
        f"REVOKE ALL ON SEQUENCE community_member_number FROM {APP}",
        f"REVOKE ALL ON FUNCTION directory_audit_log_erase(text, text, text) FROM {APP}",
        "DROP TABLE panel_attempts",
    )
    async with connect(app_url(database), min_size=0):
        assert await missing_privileges() == [
            "UPDATE on the table sessions",
            "DELETE on the table sessions",
            "SELECT on the table panel_attempts",
            "INSERT on the table panel_attempts",
            "UPDATE on the table panel_attempts",
            "DELETE on the table panel_attempts",
            "USAGE on the sequence community_member_number",
            "SELECT on the sequence community_member_number",
            "EXECUTE on the function directory_audit_log_erase",
        ]
    await run_sql(database, f"REVOKE ALL ON SCHEMA public FROM PUBLIC, {APP}")
    async with connect(app_url(database), min_size=0):
        assert (await missing_privileges())[0] == "USAGE on the schema public"


async def test_the_helpers_of_all_tests_have_the_rights_of_a_program(
    directory: asyncpg.Pool,
) -> None:
    [record] = await engine.fetch(
        "SELECT session_user, current_user, pg_has_role($1, 'USAGE') AS owns", OWNER
    )
    assert tuple(record) == (PROGRAM, PROGRAM, False)


async def test_a_refused_statement_names_the_table_and_the_remedy(database: str) -> None:
    await run_sql(database, f"REVOKE ALL ON community_members FROM {APP}")
    async with connect(app_url(database), min_size=0):
        with pytest.raises(NotAllowed) as refused:
            await members.get("#1")
    assert str(refused.value) == (
        "The database role of this program may not do that: permission denied for table "
        "community_members. Grant what it needs with the SQL that `community-directory roles` "
        "prints."
    )


FORGING_TRIGGER = """
CREATE TEMPORARY TABLE forged (id uuid, member_id text);
CREATE TRIGGER forge AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION
    public.directory_audit_log_write('community_members', 'id', 'member_id');
INSERT INTO forged VALUES (gen_random_uuid(), '#1');
"""

FORBIDDEN = [
    FORGING_TRIGGER,
    "INSERT INTO directory_audit_log (actor, action, table_name, row_id, member_id, changes)"
    " VALUES ('eva', 'UPDATE', 'community_members', gen_random_uuid(), '#1', '{}')",
    "UPDATE directory_audit_log SET actor = 'nobody'",
    "DELETE FROM directory_audit_log",
    *(f"TRUNCATE {table} CASCADE" for table in APP_PRIVILEGES),
    *(f"ALTER TABLE {table} ADD COLUMN note text" for table in APP_PRIVILEGES),
    *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in APP_PRIVILEGES),
    *(f"DROP TABLE {table}" for table in APP_PRIVILEGES),
    "DELETE FROM community_members",
    "DELETE FROM community_invitations",
    "DELETE FROM member_participation",
    "DELETE FROM migration",
    "INSERT INTO migration SELECT * FROM migration",
    "INSERT INTO directory_audit_log SELECT * FROM directory_audit_log",
    "SELECT nextval('directory_audit_log_id_seq')",
    "SELECT setval('community_member_number', 1)",
    "CREATE TABLE mine ()",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE INDEX ON community_members (name)",
    "CREATE TRIGGER mine BEFORE INSERT ON community_members FOR EACH ROW"
    " EXECUTE FUNCTION community_members_before_write()",
    "CREATE OR REPLACE FUNCTION directory_search_text(value text) RETURNS text LANGUAGE sql"
    " RETURN 1",
    "CREATE ROLE mine",
    f"SET ROLE {OWNER}",
    f"GRANT {OWNER} TO CURRENT_USER",
    "SET session_replication_role = replica",
]


async def test_a_program_may_do_nothing_else(directory: asyncpg.Pool, directory_url: str) -> None:
    await rows.member(directory)
    async with session(app_url(directory_url)) as program:
        for statement in FORBIDDEN:
            assert await refusal(program, statement), statement


async def test_a_program_has_no_privilege_beyond_the_list(database: str) -> None:
    async with session(database) as connection:
        found = await connection.fetch(
            """
            SELECT relname, string_agg(privilege_type, ', ' ORDER BY position(
                privilege_type IN 'SELECT INSERT UPDATE DELETE'
            )) AS privileges
            FROM pg_class, aclexplode(relacl) WHERE grantee = $1::text::regrole
            GROUP BY relname
            """,
            APP,
        )
    granted = {row["relname"]: row["privileges"] for row in found}
    views = dict.fromkeys(VIEWS, "SELECT")
    assert granted == APP_PRIVILEGES | APP_SEQUENCE_PRIVILEGES | views


# The erasure


async def test_a_program_erases_a_person_and_the_log_says_who_and_why(
    directory: asyncpg.Pool,
) -> None:
    ana = await members.add(**ADD_ANA, telegram_username="ana", actor="bot", reason="met Ana")
    await members.erase(ana.member_id, actor="eva", reason="asked by e-mail")
    entry, *others = (await audit.history(ana.member_id)).items
    assert (entry.actor, entry.reason, entry.changes) == (
        "eva",
        "asked by e-mail",
        {"erased": [False, True]},
    )
    assert {other.reason for other in others} == {None}
    assert "Ana" not in str(others)

    await members.erase(ana.member_id, actor="bot")
    again = (await audit.history(ana.member_id)).items
    assert [(entry.actor, entry.reason) for entry in again if "erased" in entry.changes] == [
        ("bot", None),
        ("eva", "asked by e-mail"),
    ]
    assert again[-2:] == others[-2:]


async def test_people_who_erase_themselves_are_not_named(directory: asyncpg.Pool) -> None:
    for actor in ("telegram:1001", "@Ana", "ana", "1001"):
        ana = await members.add(**ADD_ANA, telegram_username="ana")
        await members.erase(ana.member_id, actor=actor)
        history = (await audit.history(ana.member_id)).items
        assert (actor, history[0].actor, history[1].actor) == (actor, "erased", "erased")


async def test_a_user_of_the_panel_stays_the_actor(directory: asyncpg.Pool) -> None:
    await directory.execute(
        "INSERT INTO piccolo_user (username, password, email, active, admin, superuser)"
        " VALUES ('Eva', 'x', 'eva@example.org', true, true, true)"
    )
    other = await members.add(telegram_id=7, name="Bea", primary_role="x", actor="Eva")
    ana = await members.add(**ADD_ANA, telegram_username="eva", actor="@eva")
    await members.erase(ana.member_id, actor="Eva")
    assert [entry.actor for entry in (await audit.history(other.member_id)).items] == ["Eva"]
    assert [entry.actor for entry in (await audit.history(ana.member_id)).items] == [
        "Eva",
        "Eva",
        "erased",
    ]


LOOKS_ERASED = {
    "telegram_id": "'erased:1'",
    "name": "'Erased member'",
    "primary_role": "'erased'",
    "deleted_at": "now()",
    **dict.fromkeys(
        [
            "telegram_username",
            "organization",
            "country",
            "github_username",
            "github_profile_data",
            "registration_fee_tx_hash",
            "profile_data",
        ],
        "NULL",
    ),
}


@pytest.mark.parametrize("column", LOOKS_ERASED)
async def test_the_function_leaves_the_log_of_a_member_who_is_not_erased(
    directory: asyncpg.Pool, column: str
) -> None:
    stored: dict[str, Any] = {
        "telegram_id": "1001",
        "name": "Ana",
        "primary_role": "x",
        "deleted_at": None,
        "github_profile_data": {},
        "profile_data": {},
    }
    await rows.member(directory, **{column: stored.get(column, "ana")})
    erased = {name: value for name, value in LOOKS_ERASED.items() if name != column}
    assignments = ", ".join(f"{name} = {value}" for name, value in erased.items())
    await directory.execute(f"UPDATE community_members SET {assignments}")
    before = await directory.fetch("SELECT * FROM directory_audit_log")
    for member_id in ("#1", "#99", None):
        with pytest.raises(InvalidInput, match="can't be changed"):
            await engine.fetch(
                "SELECT directory_audit_log_erase($1, 'eva', NULL)",
                member_id,
            )
    assert await directory.fetch("SELECT * FROM directory_audit_log") == before


@pytest.mark.parametrize("actor", [None, "", "  "])
async def test_the_function_needs_an_actor(directory: asyncpg.Pool, actor: str | None) -> None:
    await members.erase((await members.add(**ADD_ANA)).member_id, actor="eva")
    before = await directory.fetch("SELECT * FROM directory_audit_log")
    with pytest.raises(InvalidInput, match="The actor can't be empty"):
        await engine.fetch("SELECT directory_audit_log_erase('#1', $1, NULL)", actor)
    assert await directory.fetch("SELECT * FROM directory_audit_log") == before


async def test_the_function_erases_every_personal_field(directory: asyncpg.Pool) -> None:
    source = await directory.fetchval(
        "SELECT prosrc FROM pg_proc WHERE proname = 'directory_audit_log_erase'"
    )
    listed = source.partition("ARRAY[")[2].partition("]")[0]
    assert sorted(re.findall(r"'(\w+)'", listed)) == sorted(PERSONAL_FIELDS)


async def test_a_function_with_the_owners_rights_has_a_fixed_search_path(
    directory: asyncpg.Pool,
) -> None:
    found = await directory.fetch(
        "SELECT proname, proconfig, has_function_privilege($1, oid, 'EXECUTE') AS executable"
        " FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
        " ORDER BY proname",
        READER,
    )
    fixed = ["search_path=pg_catalog, pg_temp"]
    assert [tuple(row) for row in found] == [
        ("community_invitations_follow_merge", fixed, False),
        ("community_members_before_insert", fixed, False),
        ("community_members_before_invited", fixed, False),
        ("community_members_change_milestones", fixed, False),
        ("community_members_check_merge", fixed, False),
        ("community_members_follow_merge", fixed, False),
        ("community_members_joined", fixed, False),
        ("community_members_lose_permissions", fixed, False),
        ("community_members_name_accounts", fixed, False),
        ("community_members_release_accounts", fixed, False),
        ("community_members_remember_ban", fixed, False),
        ("directory_audit_log_erase", fixed, False),
        ("directory_audit_log_write", fixed, False),
        ("member_accounts_before_write", fixed, False),
        ("member_accounts_check_erased", fixed, False),
        ("member_participation_archive", fixed, False),
        ("member_participation_collapse", [*fixed, "enable_nestloop=off"], False),
        ("member_participation_follow_merge", fixed, False),
        ("member_participation_move", fixed, False),
        ("member_participation_return", fixed, False),
        ("member_participation_take_back", fixed, False),
        ("member_permissions_check_holder", fixed, False),
    ]
    # A restore without privileges revokes them again.
    private = {name.partition("(")[0] for name in PRIVATE_FUNCTIONS}
    assert private == {row["proname"] for row in found}


async def test_a_table_of_the_session_does_not_make_anybody_the_owner_of_the_log(
    database: str,
) -> None:
    async with session(database) as superuser, superuser.transaction():
        await rows.member(superuser)
        await superuser.execute(
            f"""
            GRANT ALL ON directory_audit_log TO {APP};
            SET LOCAL SESSION AUTHORIZATION {PROGRAM};
            CREATE TEMPORARY TABLE pg_class AS
                SELECT 'public.directory_audit_log'::regclass::oid AS oid,
                    '{PROGRAM}'::regrole::oid AS relowner;
            """
        )
        refused = await refusal(superuser, "DELETE FROM public.directory_audit_log")
        assert "append-only" in refused


# The reader


async def test_the_reader_sees_each_column_that_is_not_personal_and_no_other(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    columns = await directory.fetch(
        """
        SELECT relname, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S', 'v')
            AND attnum > 0 AND NOT attisdropped
        """
    )
    readable = {(table, column) for table, names in PUBLIC_COLUMNS.items() for column in names}
    readable |= {("directory_rolled_up_days", "day"), ("directory_rolled_up_days", "checksum")}
    archive = ("id", "closed_before", "archived_until", "archived_before")
    readable |= {("directory_archive", column) for column in archive}
    readable |= {(row["relname"], row["attname"]) for row in columns if row["relname"] in VIEWS}
    seen = set()
    async with session(reader_url(directory_url)) as reader:
        for table, column in columns:
            try:
                await reader.execute(f"SELECT {column} FROM {table}")
                seen.add((table, column))
            except asyncpg.InsufficientPrivilegeError:
                pass
    assert seen == readable
    personal = "name telegram_id telegram_username organization country search_text profile_data"
    assert not seen & {("community_members", column) for column in personal.split()}
    assert ("community_invitations", "invitation_code") not in seen


async def test_the_reader_counts_and_changes_nothing(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    event = await rows.event(directory)
    await highlights.roll_up(event["occurred_at"].date())
    async with session(reader_url(directory_url)) as reader:
        for counted in (
            "SELECT count(*) FROM community_members WHERE status = 'not_member'",
            "SELECT sum(message_count) FROM member_daily_highlights",
            "SELECT count(*) FROM member_participation JOIN community_members USING (member_id)"
            " WHERE event_type = 'MESSAGE' AND reputation_tier = 'Novice'",
            "SELECT count(*) FROM directory_audit_log WHERE action = 'INSERT'",
            "SELECT count(day) FROM directory_rolled_up_days",
        ):
            assert await reader.fetchval(counted) == 1, counted
        for statement in (
            *FORBIDDEN,
            *(f"DELETE FROM {table}" for table in APP_PRIVILEGES),
            *(f"INSERT INTO {table} DEFAULT VALUES" for table in APP_PRIVILEGES),
            "UPDATE community_members SET status = 'banned'",
            "SELECT nextval('community_member_number')",
            "SELECT directory_audit_log_erase('#1', 'eva', NULL)",
        ):
            assert await refusal(reader, statement), statement


# The start of a program


async def test_a_program_starts_when_no_migration_is_pending(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", app_url(database))
    load_settings.cache_clear()
    await prepare_database(load_settings(), demo=False)
    async with session(database) as connection:
        assert await connection.fetchval("SELECT count(*) FROM piccolo_user") == 1


async def test_a_program_does_not_adopt_an_old_database(template: str, empty_database: str) -> None:
    await run_sql(empty_database, OLD_SCHEMA, f"GRANT SELECT ON public.migration TO {PROGRAM}")
    before = await dump(empty_database)
    async with connect(app_url(empty_database), min_size=0):
        with pytest.raises(MigrationFailed, match=r"^Pending migrations: "):
            await migrate()
    assert await dump(empty_database) == before


async def test_a_program_says_who_must_run_a_pending_migration(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_sql(database, f"DELETE FROM migration WHERE name = '{LAST_MIGRATION}'")
    before = await dump(database, "--inserts")
    monkeypatch.setenv("POSTGRES_URL", app_url(database))
    load_settings.cache_clear()
    with pytest.raises(MigrationFailed) as refused:
        await prepare_database(load_settings(), demo=False)
    assert str(refused.value) == (
        "Pending migrations: 1. The login of this program may not run them. Run "
        "`community-directory migrate` with the login of the tables' owner in POSTGRES_URL, and "
        "then start this program again."
    )
    assert await dump(database, "--inserts") == before
