"""The database that the tests of a worker share: each test finds it empty.

Deleting all rows takes a hundredth of the time of copying a database.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

from tests import cluster
from tests.kept_connections import KeptConnections, end_session
from tests.log_guard import SELECT_PERSONAL_VALUES

EMPTY_TIMEOUT_SECONDS = 60
"""The longest time for deleting all rows, including the end of sessions that hold locks."""
RELEASE_TIMEOUT_SECONDS = 10
"""The longest time until a test has released the connections of the pool."""

# The function `empty` deletes all rows, except Piccolo's record of the migrations, and returns the
# changes of the schema. It keeps the personal values, which no log may contain. First it ends
# sessions that the last test left in a transaction, because they hold locks. The event triggers
# record each committed change of the schema, but none of temporary tables. They are created last,
# so that they do not record this script.
SETUP = """
CREATE SCHEMA testing;
CREATE TABLE testing.personal_values (value text PRIMARY KEY);
CREATE TABLE testing.schema_changes (command text NOT NULL);

CREATE FUNCTION testing.empty() RETURNS text[] LANGUAGE plpgsql
SET session_replication_role = replica SET lock_timeout = '20s'
SET citus.multi_shard_modify_mode = sequential AS $$
BEGIN
    PERFORM pg_terminate_backend(pid, 30000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
        AND backend_type = 'client backend';
    INSERT INTO testing.personal_values {personal_values} ON CONFLICT DO NOTHING;
    {deletes}
    {restarts}
    RETURN ARRAY(
        SELECT command FROM testing.schema_changes
        UNION ALL
        SELECT 'ALTER DATABASE SET ' || array_to_string(setconfig, ', ')
        FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
        WHERE datname = current_database()
    );
END $$;

CREATE FUNCTION testing.note_command() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO testing.schema_changes
    SELECT concat_ws(' ', command_tag, object_identity) FROM pg_event_trigger_ddl_commands()
    WHERE schema_name IS DISTINCT FROM 'pg_temp';
END $$;
CREATE FUNCTION testing.note_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO testing.schema_changes
    SELECT concat_ws(' ', tg_tag, object_identity) FROM pg_event_trigger_dropped_objects()
    WHERE original AND NOT is_temporary;
END $$;
CREATE EVENT TRIGGER note_command ON ddl_command_end EXECUTE FUNCTION testing.note_command();
CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION testing.note_drop();
ALTER EVENT TRIGGER note_command ENABLE ALWAYS;
ALTER EVENT TRIGGER note_drop ENABLE ALWAYS;
"""

SELECT_DELETES = """
SELECT format('DELETE FROM %s;', oid::regclass) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'migration'
ORDER BY relname = 'member_keys', relname
"""
SELECT_RESTARTS = """
SELECT format('PERFORM setval(%L, %s, false);', seqrelid::regclass, seqstart)
FROM pg_sequence JOIN pg_class ON pg_class.oid = seqrelid
WHERE relnamespace = 'public'::regnamespace AND relname <> 'migration_id_seq'
"""


class SharedDatabase:
    """A copy of the template, which is emptied after each test and replaced after a change."""

    def __init__(self, server_url: str, template: str, url: str) -> None:
        self.url = url
        self._server_url = server_url
        self._template = template
        self.name = urlsplit(url).path.removeprefix("/")
        self._connection: asyncpg.Connection | None = None
        self._pool: asyncpg.Pool | None = None
        self.connections = KeptConnections()
        """The connections of the helpers."""

    async def create(self) -> None:
        """Copy the template without its rows, and create the functions and triggers of `SETUP`."""
        await self._on_server(f"CREATE DATABASE {self.name} TEMPLATE {self._template}")
        if cluster.CLUSTER_URL:
            await cluster.distribute(self.url)
        connection = await asyncpg.connect(self.url)
        try:
            deletes = "\n".join(row[0] for row in await connection.fetch(SELECT_DELETES))
            restarts = "\n".join(row[0] for row in await connection.fetch(SELECT_RESTARTS))
            await connection.execute(
                SETUP.format(
                    deletes=deletes, restarts=restarts, personal_values=SELECT_PERSONAL_VALUES
                )
            )
            await connection.execute("SELECT testing.empty()")  # of the rows of the migrations
        finally:
            await connection.close()

    async def drop(self) -> None:
        """Drop the database, and cut all connections to it."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self._cut_pool()
        self.connections.cut()
        await self._on_server(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
        if cluster.CLUSTER_URL:
            await cluster.drop(self.name)

    @asynccontextmanager
    async def lend_pool(self) -> AsyncIterator[asyncpg.Pool]:
        """Lend a test the pool for raw SQL, and the helpers the connections of the test before.

        A new connection would read the catalog and compile the functions again, which takes up to a
        third of the time of a usual test.

        Raises:
            TimeoutError: The block did not release a connection. The next one gets another pool.
        """
        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                self.url, min_size=0, max_size=10, reset=end_session
            )
        pool = self._pool
        with self.connections.serving():
            yield pool
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
                while pool.get_idle_size() < pool.get_size():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self._cut_pool()
            raise

    def _cut_pool(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def empty(self) -> None:
        """Delete all rows and restart all sequences.

        Raises:
            AssertionError: The test changed the schema or a setting of the database, or all rows
                could not be deleted. The database has been replaced.
        """
        try:
            async with asyncio.timeout(EMPTY_TIMEOUT_SECONDS):
                changes = await self._empty()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            await self._replace()
            raise AssertionError(
                f"The shared database could not be emptied after this test: {error!r}"
            ) from error
        if changes:
            await self._replace()
            raise AssertionError(
                "This test changed the shared database, and must request `database`: "
                f"{'; '.join(changes)}"
            )

    async def _empty(self) -> list[str]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.url)
        changes: list[str] = await self._connection.fetchval("SELECT testing.empty()")
        return changes

    async def _replace(self) -> None:
        await self.drop()
        await self.create()

    async def _on_server(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
