"""The engine that the tables use, connections for bots and scripts, transactions, and migrations."""

import asyncio
import contextlib
import io
import logging
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

from community_directory import embedded
from community_directory.errors import DatabaseUnavailable, DirectoryError, MigrationFailed
from community_directory.settings import load_settings

logger = logging.getLogger(__name__)

OLDEST_POSTGRES = 15
CLOSE_SECONDS = 5
"""How long closing the pool waits for running statements before it cuts them off."""
MIGRATION_LOCK = 0x636F6D6D756E6974
"""The advisory lock's key: "communit" in ASCII."""
MIGRATION_WAIT = "5min"
"""How long one process waits for another that is migrating."""
MIGRATION_LOCK_TIMEOUT = "10s"
"""How long a migration waits for a table that others use: a queue behind it would stop the community."""
MIGRATION_STATEMENT_TIMEOUT = "15min"


class DirectoryTransaction(PostgresTransaction):
    """A transaction that gives its connection back whatever fails; inside another one it is a real savepoint.

    Piccolo's own keeps the connection for good when COMMIT fails or the connection dies, and inside another one it
    does nothing, so that inner writes would survive an inner failure.
    """

    __slots__ = ("_savepoint",)

    async def __aenter__(self) -> PostgresTransaction:
        if self._parent is not None:
            self._savepoint = self._parent.connection.transaction()
            await self._savepoint.start()
            return self._parent
        self.connection = await self.get_connection()
        try:
            self.transaction = self.connection.transaction()
            await self.begin()
        except BaseException:
            await self._release()
            raise
        self.context = self.engine.current_transaction.set(self)
        return self

    async def __aexit__(self, exception_type: object, exception: object, traceback: object) -> bool:
        if self._parent is not None:
            await (self._savepoint.commit() if exception is None else self._savepoint.rollback())
            return False
        try:
            if exception is None:
                if not self._committed and not self._rolled_back:
                    await self.commit()
            elif not self._rolled_back:
                # A dead connection can't roll back: the original exception matters, not this one.
                with contextlib.suppress(asyncpg.InterfaceError, asyncpg.PostgresConnectionError, OSError):
                    await self.rollback()
        finally:
            self.engine.current_transaction.reset(self.context)
            await self._release()
        return False

    async def _release(self) -> None:
        if self.engine.pool:
            await self.engine.pool.release(self.connection)
        else:
            await self.connection.close()


class DirectoryEngine(PostgresEngine):
    """Piccolo's PostgreSQL engine that asks the settings where its database is when it first connects."""

    def __init__(self) -> None:
        super().__init__(config={})

    async def check_version(self) -> None:
        """Do nothing: an import must not connect. The version is checked with each new connection."""

    async def prep_database(self) -> None:
        """Do nothing: extensions come with the migrations."""

    def transaction(self, allow_nested: bool = True) -> PostgresTransaction:
        """Begin a transaction, or a savepoint inside the current one."""
        return DirectoryTransaction(engine=self, allow_nested=allow_nested)

    async def get_new_connection(self) -> Any:
        """Connect outside the pool. Raises `DatabaseUnavailable`."""
        await self._find_database()
        with _connecting():
            connection = await asyncpg.connect(**self.config)
        await _check_version(connection)
        return connection

    async def start_connection_pool(self, **kwargs: Any) -> None:
        """Open the pool, with asyncpg's arguments for one. Raises `DatabaseUnavailable`."""
        await self._find_database()
        with _connecting():
            await super().start_connection_pool(init=_check_version, **kwargs)

    async def close_connection_pool(self) -> None:
        """Close the pool; whoever still holds a connection after some seconds loses it."""
        pool, self.pool = self.pool, None
        if pool is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pool.close(), CLOSE_SECONDS)

    async def _find_database(self) -> None:
        if self.config:
            return
        settings = load_settings()
        if settings.postgres_url is not None:
            self.config = _arguments(settings.postgres_url.get_secret_value())
        else:
            self.config = await embedded.start(settings.data_directory)


engine = DirectoryEngine()
"""The engine of every table of the package."""


def _arguments(url: str) -> dict[str, Any]:
    return {"dsn": url, "timeout": 10, "server_settings": {"application_name": "community_directory"}}


async def _check_version(connection: Any) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_POSTGRES:
        raise DatabaseUnavailable(f"PostgreSQL {OLDEST_POSTGRES} or later is needed; this server is {version.major}.")


@contextlib.contextmanager
def _connecting() -> Any:
    """Turn what asyncpg raises for a server that is away, or says no, into one clear error."""
    try:
        yield
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise DatabaseUnavailable(f"The database is not available: {reason}") from error


@contextlib.asynccontextmanager
async def connect(url: str | None = None, *, min_size: int = 1, max_size: int = 10) -> AsyncIterator[DirectoryEngine]:
    """Open the connection pool that the tables and the query helpers use, and close it at the end.

    Without `url` the database is the settings' one. One pool at a time: a process that is already connected gets a
    `DirectoryError`. Raises `DatabaseUnavailable` when no connection can be made.
    """
    if engine.pool is not None:
        raise DirectoryError("This process is connected to the directory already.")
    before = engine.config
    if url is not None:
        engine.config = _arguments(url)
    try:
        await engine.start_connection_pool(min_size=min_size, max_size=max_size)
        try:
            yield engine
        finally:
            await engine.close_connection_pool()
    finally:
        if url is not None:
            engine.config = before


def transaction() -> PostgresTransaction:
    """Begin a transaction: `async with transaction():` commits at the end, or rolls everything back on an exception.

    Inside another transaction it is a savepoint: its own failure undoes its own writes only.
    """
    return engine.transaction()


async def migrate() -> None:
    """Bring the schema up to date: all pending migrations, or none of them.

    Safe to call from several processes at once (the others wait, then find nothing to do) and to kill at any moment:
    the migrations and Piccolo's record of them are one transaction under an advisory lock. Raises `MigrationFailed`.
    """
    from piccolo.apps.migrations.commands.forwards import run_forwards

    printed = io.StringIO()
    try:
        async with engine.transaction(allow_nested=False) as current:
            await current.connection.execute(
                f"SET LOCAL lock_timeout = '{MIGRATION_WAIT}'; SELECT pg_advisory_xact_lock({MIGRATION_LOCK});"
                f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_TIMEOUT}';"
                f"SET LOCAL statement_timeout = '{MIGRATION_STATEMENT_TIMEOUT}'"
            )
            with contextlib.redirect_stdout(printed):
                result = await run_forwards(app_name="all")
            if not result.success:
                raise MigrationFailed(f"The schema could not be brought up to date: {result.message}")
    except asyncpg.PostgresError as error:
        raise MigrationFailed(f"The schema could not be brought up to date: {error}") from error
    finally:
        logger.debug("Piccolo's report of the migrations: %s", printed.getvalue())
