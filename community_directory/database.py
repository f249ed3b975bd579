"""The engine that the tables use, connections for bots and scripts, transactions, and migrations."""

import asyncio
import contextlib
import io
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, Self

import asyncpg
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

from community_directory import embedded
from community_directory.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    DirectoryError,
    MigrationFailed,
    database_errors,
)
from community_directory.pool import create_pool
from community_directory.settings import POSTGRES_URL_FORM, is_postgres_url, load_settings

logger = logging.getLogger(__name__)

OLDEST_POSTGRES = 15
CONNECT_SECONDS = 10
"""How long a server may take to accept a connection."""
CLOSE_SECONDS = 5
"""How long closing the pool waits for running statements before it cuts them off."""
MIGRATION_LOCK = 0x636F6D6D756E6974
"""The advisory lock's key: "communit" in ASCII."""
MIGRATION_WAIT = "5min"
"""How long one process waits for another that is migrating."""
MIGRATION_LOCK_TIMEOUT = "10s"
"""How long a migration waits for a table that others use: a queue behind it would stop the community."""
MIGRATION_STATEMENT_TIMEOUT = "15min"

LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises when a server is away, says no, or cuts a connection; the last when it is cut just now."""
OPTIONS = {"timeout": CONNECT_SECONDS, "server_settings": {"application_name": "community_directory"}}
CONNECTED_ALREADY = "This process is connected to the directory already."


class DirectoryTransaction(PostgresTransaction):
    """A transaction that gives its connection back whatever fails; inside another one it is a real savepoint.

    Piccolo's own keeps the connection for good when COMMIT fails or the connection dies, and inside another one it
    does nothing, so that inner writes would survive an inner failure.
    """

    __slots__ = ("_pool",)

    async def __aenter__(self) -> Self:
        if self._parent is not None:
            self.connection = self._parent.connection
        else:
            # Remembered, because the engine's own may be closed before this transaction ends.
            self._pool = self.engine.pool
            with database_errors():
                self.connection = await (self._pool.acquire() if self._pool else self.engine.get_new_connection())
        try:
            self.transaction = self.connection.transaction()
            with database_errors():
                await self.transaction.start()
        except BaseException:
            await self._release()
            raise
        self.engine.current_transaction.set(self)
        return self

    async def __aexit__(self, exception_type: object, exception: object, traceback: object) -> Literal[False]:
        try:
            if self._committed or self._rolled_back:
                pass  # by hand
            elif exception is None:
                with database_errors():
                    await self.transaction.commit()
            else:
                # A dead connection can't roll back: the original exception matters, not this one.
                with contextlib.suppress(*LOST):
                    await self.transaction.rollback()
        finally:
            self.engine.current_transaction.set(self._parent)
            await self._release()
        return False

    async def rollback(self) -> None:
        """Undo what was done so far, at once; nothing more can be done in this transaction."""
        with database_errors():
            await self.transaction.rollback()
        self._rolled_back = True

    async def _release(self) -> None:
        if self._parent is not None:
            return
        # By now the transaction has succeeded or failed, and a connection that dies on its way home changes nothing.
        with contextlib.suppress(*LOST):
            await (self._pool.release(self.connection) if self._pool else self.connection.close())


class DirectoryEngine(PostgresEngine):
    """Piccolo's PostgreSQL engine that asks the settings where its database is when it first connects."""

    def __init__(self) -> None:
        super().__init__(config={})

    async def check_version(self) -> None:
        """Do nothing: an import must not connect. The version is checked with each new connection."""

    async def prep_database(self) -> None:
        """Do nothing: extensions come with the migrations."""

    def transaction(self, allow_nested: bool = True) -> DirectoryTransaction:
        """Begin a transaction, or a savepoint inside the current one."""
        return DirectoryTransaction(engine=self, allow_nested=allow_nested)

    async def get_new_connection(self) -> Any:
        """Connect outside the pool. Raises `DatabaseUnavailable`."""
        await self._find_database()
        with _connecting():
            connection = await asyncpg.connect(**self.config)
        try:
            await _check_version(connection)
        except DatabaseUnavailable:
            await connection.close()
            raise
        return connection

    async def start_connection_pool(self, **kwargs: Any) -> None:
        """Open the pool, with asyncpg's arguments for one. Raises `DatabaseUnavailable`."""
        if self.pool is not None:
            raise DirectoryError(CONNECTED_ALREADY)
        await self._find_database()
        pool = create_pool(**{**self.config, "init": _check_version, **kwargs})
        with _connecting():
            await pool
        self.pool = pool

    async def close_connection_pool(self) -> None:
        """Close the pool; whoever still holds a connection after some seconds loses it."""
        pool, self.pool = self.pool, None
        if pool is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pool.close(), CLOSE_SECONDS)

    async def fetch(self, sql: str, *arguments: object) -> list[Any]:
        """Run one statement in the current transaction, else on a connection of the pool; asyncpg's records.

        What the database refuses is raised as this package's errors.
        """
        current = self.current_transaction.get()
        with database_errors():
            if current is not None:
                records = await current.connection.fetch(sql, *arguments)
            elif self.pool is not None:
                records = await self.pool.fetch(sql, *arguments)
            else:
                records = await self._run_in_new_connection(sql, arguments)
        return list(records)

    async def _find_database(self) -> None:
        if self.config:
            return
        settings = load_settings()
        if settings.postgres_url is not None:
            self.config = _arguments(settings.postgres_url.get_secret_value())
        else:
            self.config = {**await embedded.start(settings.data_directory), **OPTIONS}


engine = DirectoryEngine()
"""The engine of every table of the package."""


def _arguments(url: str) -> dict[str, Any]:
    if not is_postgres_url(url):
        raise ConfigurationError(f"The database's URL {POSTGRES_URL_FORM}.")
    return {"dsn": url, **OPTIONS}


async def _check_version(connection: Any) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_POSTGRES:
        raise DatabaseUnavailable(f"PostgreSQL {OLDEST_POSTGRES} or later is needed; this server is {version.major}.")


@contextlib.contextmanager
def _connecting() -> Iterator[None]:
    """Turn what asyncpg raises for a server that is away, or says no, into one clear error."""
    try:
        yield
    except TimeoutError:
        raise DatabaseUnavailable(
            f"The database is not available: it did not answer in {CONNECT_SECONDS} seconds."
        ) from None
    except LOST as error:
        raise DatabaseUnavailable(f"The database is not available: {str(error) or type(error).__name__}") from error
    except ValueError:
        # Its text may quote a piece of a password.
        raise ConfigurationError(f"The database's URL {POSTGRES_URL_FORM}.") from None


_one_at_a_time = threading.Lock()


@contextlib.asynccontextmanager
async def connect(
    url: str | None = None, *, min_size: int = 1, max_size: int | None = None
) -> AsyncIterator[DirectoryEngine]:
    """Open the connection pool that the tables and the query helpers use, and close it at the end.

    Without `url` the database is the settings' one; without `max_size` the pool has theirs, ten connections unless
    DIRECTORY_POOL_MAX_SIZE says otherwise. One pool at a time: a process that is already connected gets a
    `DirectoryError`. Raises `DatabaseUnavailable` when no connection can be made, `ConfigurationError` when the URL
    or a setting is wrong.
    """
    if not _one_at_a_time.acquire(blocking=False):
        raise DirectoryError(CONNECTED_ALREADY)
    before = engine.config
    try:
        if url is not None:
            engine.config = _arguments(url)
        if max_size is None:
            max_size = load_settings().pool_max_size
        await engine.start_connection_pool(min_size=min_size, max_size=max_size)
        try:
            yield engine
        finally:
            await engine.close_connection_pool()
    finally:
        engine.config = before
        _one_at_a_time.release()


def transaction() -> DirectoryTransaction:
    """Begin a transaction: `async with transaction():` commits at the end, or rolls everything back on an exception.

    Inside another transaction it is a savepoint: its own failure undoes its own writes only.
    """
    return engine.transaction()


async def act_as(actor: str) -> None:
    """Name who makes the changes of the current transaction: the audit log has it with each of them."""
    await engine.fetch(
        "SELECT set_config('community_directory.actor', $1, true), set_config('community_directory.reason', '', true)",
        actor,
    )


async def migrate() -> None:
    """Bring the schema up to date: all pending migrations, or none of them.

    Safe to call from several processes at once (the others wait, then find nothing to do) and to kill at any moment:
    the migrations and Piccolo's record of them are one transaction under an advisory lock. Raises `MigrationFailed`.
    """
    # It takes as long to import as everything else together, and bots don't need it.
    from piccolo.apps.migrations.commands.forwards import run_forwards  # noqa: PLC0415

    printed = io.StringIO()
    try:
        async with engine.transaction(allow_nested=False) as current:
            await current.connection.execute(
                f"SET LOCAL statement_timeout = '{MIGRATION_STATEMENT_TIMEOUT}';"
                f"SET LOCAL lock_timeout = '{MIGRATION_WAIT}'; SELECT pg_advisory_xact_lock({MIGRATION_LOCK});"
                f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_TIMEOUT}'"
            )
            with contextlib.redirect_stdout(printed):
                result = await run_forwards(app_name="all")
            if not result.success:
                raise MigrationFailed(f"The schema could not be brought up to date: {result.message}")
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailed(
            "The schema could not be brought up to date: another process is migrating, or holds a table."
        ) from error
    except LOST as error:
        raise MigrationFailed(f"The schema could not be brought up to date: {error}") from error
    except ModuleNotFoundError as error:
        raise MigrationFailed(f"Migrations run where piccolo_conf.py lies, in a clone: {error}") from error
    finally:
        logger.debug("Piccolo's report of the migrations: %s", printed.getvalue())
