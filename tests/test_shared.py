"""Each test finds the shared database empty, whatever the test before has left behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from contextvars import ContextVar

import asyncpg
import pytest

from community_directory.database import connect, engine
from tests.conftest import Server, database_url, new_name
from tests.shared import SharedDatabase
from tests.tables import rows

connected: ContextVar[str] = ContextVar("connected")


@pytest.fixture
async def shared(server: Server, template: str) -> AsyncIterator[SharedDatabase]:
    """Yield a shared database that these tests may spoil, unlike the one of the worker."""
    database = SharedDatabase(server.url, template, database_url(server, new_name()))
    await database.create()
    yield database
    await database.drop()


async def fill(connection: asyncpg.Connection) -> None:
    """Insert rows into every table of the directory, and a user of the panel."""
    await rows.invitation(connection)
    await rows.relationship(connection)
    await rows.event(connection)
    await rows.highlight(connection)
    await connection.execute(
        """
        UPDATE community_members SET invited_by = '#1' WHERE member_id = '#2';
        INSERT INTO piccolo_user (username, password) VALUES ('ana', 'secret');
        """
    )


async def test_every_row_is_gone_and_every_sequence_begins_again(shared: SharedDatabase) -> None:
    connection = await asyncpg.connect(shared.url)
    for _ in range(2):
        await fill(connection)
        assert (
            await connection.fetchval(
                "SELECT member_id FROM community_members ORDER BY created_at LIMIT 1"
            )
            == "#1"
        )
        assert await connection.fetchval("SELECT min(id) FROM directory_audit_log") == 1
        assert await connection.fetchval("SELECT id FROM piccolo_user") == 1
        await shared.empty()
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        left = [
            row[0] for row in tables if await connection.fetchval(f"SELECT count(*) FROM {row[0]}")
        ]
        assert left == ["migration"]
    await connection.close()


async def test_a_transaction_that_was_left_open_is_ended(shared: SharedDatabase) -> None:
    forgotten = await asyncpg.connect(shared.url)
    await forgotten.execute("BEGIN")
    await rows.member(forgotten)
    await forgotten.execute("LOCK TABLE community_members")
    await shared.empty()
    # asyncpg may be in the middle of the server's goodbye.
    ended = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
    with pytest.raises(ended):
        await forgotten.execute("COMMIT")
    other = await asyncpg.connect(shared.url)
    assert (await rows.member(other))["member_id"] == "#1"
    await other.close()


async def test_the_database_survives_the_end_of_every_connection(
    server: Server, shared: SharedDatabase
) -> None:
    await shared.empty()
    connection = await asyncpg.connect(server.url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1",
        shared.name,
    )
    await connection.close()
    await shared.empty()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE community_members ADD CONSTRAINT no_ana CHECK (name <> 'Ana')",
        "DROP TRIGGER community_members_before_write ON community_members",
        "DROP TABLE member_relationships",
        "ALTER TABLE community_members DISABLE TRIGGER ALL",
        "SET session_replication_role = replica;"
        "CREATE INDEX one_too_many ON community_members (country)",
        "CREATE FUNCTION one_too_many() RETURNS integer LANGUAGE sql RETURN 1",
    ],
)
async def test_a_change_of_the_schema_fails_its_test_and_harms_no_other(
    shared: SharedDatabase, change: str
) -> None:
    connection = await asyncpg.connect(shared.url)
    before = await schema(connection)
    await connection.execute(change)
    assert await schema(connection) != before
    await connection.close()
    with pytest.raises(AssertionError, match=r"must request `database`|could not be emptied"):
        await shared.empty()
    connection = await asyncpg.connect(shared.url)
    assert await schema(connection) == before
    await connection.close()
    await shared.empty()


async def test_a_setting_of_the_database_fails_its_test(shared: SharedDatabase) -> None:
    connection = await asyncpg.connect(shared.url)
    await connection.execute(f"ALTER DATABASE {shared.name} SET timezone = 'Asia/Tokyo'")
    await connection.close()
    with pytest.raises(AssertionError, match="TimeZone=Asia/Tokyo"):
        await shared.empty()
    await shared.empty()


async def test_a_change_that_is_undone_and_a_temporary_table_change_nothing(
    shared: SharedDatabase,
) -> None:
    connection = await asyncpg.connect(shared.url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "CREATE ROLE undone; GRANT ALL ON community_members TO undone; DROP TABLE sessions"
    )
    await transaction.rollback()
    await connection.execute(
        "CREATE TEMPORARY TABLE scratch (id serial PRIMARY KEY); DROP TABLE scratch"
    )
    await connection.close()
    await shared.empty()


ABOUT_SESSION = """
    SELECT pg_backend_pid(), to_regclass('scratch'), current_user, session_user,
        current_setting('lock_timeout'), ARRAY(SELECT pg_listening_channels()),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')
"""
LEAVE_SOMETHING = """
    SET lock_timeout = '1s'; SELECT pg_advisory_lock(1); CREATE TEMPORARY TABLE scratch ();
    SET SESSION AUTHORIZATION pg_monitor; SET ROLE pg_read_all_stats
"""


async def test_the_pool_keeps_its_connections_and_forgets_their_sessions(
    shared: SharedDatabase,
) -> None:
    async with shared.lend_pool() as pool:
        fresh = await pool.fetchrow(ABOUT_SESSION)
        await pool.execute(LEAVE_SOMETHING)
    async with shared.lend_pool() as pool:
        assert await pool.fetchrow(ABOUT_SESSION) == fresh


async def test_the_helpers_get_the_connection_of_the_test_before_without_its_session(
    shared: SharedDatabase,
) -> None:
    fresh, heard = None, list[object]()
    for _ in range(2):
        with shared.connections.serving():
            async with connect(shared.url, min_size=0):
                assert engine.pool is not None
                connection = await engine.pool.acquire()
                found = await connection.fetchrow(ABOUT_SESSION)
                assert found == (fresh or found)
                fresh = found
                assert heard == []
                await connection.add_listener("news", print)
                assert await connection.fetchval("SELECT pg_listening_channels()") == "news"
                connection.add_query_logger(heard.append)
                connection.add_termination_listener(heard.append)
                await connection.execute(LEAVE_SOMETHING)
                engine.pool.release(connection, clean=True)
        assert heard != []
        heard.clear()
    shared.connections.cut()
    await asyncio.sleep(0)
    assert heard == []


@pytest.mark.parametrize("spoiled", ["BEGIN", "SELECT pg_terminate_backend(pg_backend_pid())"])
async def test_the_helpers_get_no_connection_that_is_spoiled(
    shared: SharedDatabase, spoiled: str
) -> None:
    pids = []
    for _ in range(2):
        with shared.connections.serving():
            async with connect(shared.url, min_size=0):
                assert engine.pool is not None
                connection = await engine.pool.acquire()
                pids.append(await connection.fetchval("SELECT pg_backend_pid()"))
                with suppress(asyncpg.PostgresError, OSError):
                    await connection.execute(spoiled)
                engine.pool.release(connection, clean=True)
    assert len({*pids}) == 2


async def test_a_connection_that_is_not_released_fails_its_test_and_harms_no_other(
    shared: SharedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.shared.RELEASE_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(TimeoutError):
        async with shared.lend_pool() as pool:
            forgotten = await pool.acquire()
    with pytest.raises(asyncpg.InterfaceError):
        await forgotten.execute("SELECT 1")
    async with shared.lend_pool() as pool:
        assert await pool.fetchval("SELECT 1") == 1


async def schema(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    """Return the constraints, triggers, relations and functions of the database."""
    found = await connection.fetch(
        """
        SELECT conname::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT tgname, tgenabled::text FROM pg_trigger
        UNION ALL SELECT relname, relkind::text FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        ORDER BY 1, 2
        """
    )
    return [tuple(row) for row in found]


@pytest.fixture
async def connection_of_the_context() -> AsyncIterator[None]:
    token = connected.set("by the fixture")
    yield
    connected.reset(token)


async def test_a_test_sees_the_context_of_its_fixtures(connection_of_the_context: None) -> None:
    assert connected.get() == "by the fixture"
    assert await asyncio.create_task(asyncio.sleep(0, connected.get())) == "by the fixture"


async def test_a_test_does_not_see_the_context_of_the_fixtures_of_another_test() -> None:
    assert connected.get(None) is None
