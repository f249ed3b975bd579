"""The engine that the tables use, connections for bots and scripts, and transactions."""

import asyncio
import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Self

import asyncpg
from piccolo.engine.postgres import PostgresEngine
from piccolo.querystring import QueryString

from community_directory.database import embedded
from community_directory.database.pool import CONNECTION_ERRORS, LeasedPool
from community_directory.database.statements import Statement
from community_directory.database.transactions import DirectoryTransaction
from community_directory.errors import (
    AlreadyConnected,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidInput,
    NotConnected,
    database_errors,
)
from community_directory.settings import POSTGRES_URL_FORM, is_postgres_url, load_settings

MIN_POSTGRES_VERSION = 15
CONNECT_TIMEOUT_SECONDS = 10
"""How long a server may take to accept a connection."""
CLOSE_TIMEOUT_SECONDS = 5
"""How long closing the pool waits for running statements before it cuts them off."""

CLOSED = "The connection pool that this task used before is closed."


class DirectoryEngine(PostgresEngine):
    """Piccolo's PostgreSQL engine, which asks the settings for its database when it connects."""

    def __init__(self) -> None:
        super().__init__(config={})
        self.pool: LeasedPool | None = None
        self._address_of_task: ContextVar[tuple[object, ...] | None] = ContextVar(
            "address", default=None
        )
        self._connects_on_demand: bool | None = None

    @property
    def _address(self) -> tuple[object, ...]:
        """What tells one database from another."""
        return tuple(self.config.get(name) for name in ("dsn", "host", "port", "database"))

    async def check_version(self) -> None:
        """Do nothing: an import must not connect. The version is checked with each new connection."""

    async def prep_database(self) -> None:
        """Do nothing: extensions come with the migrations."""

    def transaction(self, allow_nested: bool = True) -> DirectoryTransaction:
        """Begin a transaction, or a savepoint inside the current one."""
        return DirectoryTransaction(engine=self, allow_nested=allow_nested)

    def open_transaction(self) -> DirectoryTransaction | None:
        """Return the transaction that the current task is in; one that has ended counts no longer."""
        # Piccolo types it by its own class; this engine makes no other.
        current: DirectoryTransaction | None = self.current_transaction.get()  # type: ignore[assignment]
        while current is not None and current.ended:
            current = current.outer
        return current

    def transaction_exists(self) -> bool:
        """Tell whether the current task is in a transaction."""
        return self.open_transaction() is not None

    def connect_on_demand(self) -> None:
        """Let each query open a connection of its own until the first pool is opened.

        For Piccolo's command line, whose own commands know no pool. A process that had a pool
        stays without it: a late task must not reach another database.
        """
        if self._connects_on_demand is None:
            self._connects_on_demand = True

    async def get_new_connection(self) -> asyncpg.Connection:
        """Connect outside the pool. Raises `DatabaseUnavailable`, `NotConnected`."""
        if self.pool is None and not self._connects_on_demand:
            raise NotConnected
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
            raise AlreadyConnected
        await self._find_database()
        options = {"init": _check_version, "min_size": 1, "max_size": 10, **self.config, **kwargs}
        pool = LeasedPool(acquire_timeout=load_settings().acquire_timeout, **options)
        with _connecting():
            await pool.open()
        self.pool = pool
        self._connects_on_demand = False
        self._address_of_task.set(self._address)

    async def close_connection_pool(self) -> None:
        """Close the pool; whoever still holds a connection after some seconds loses it."""
        pool, self.pool = self.pool, None
        if pool is not None:
            # This task goes on, and may connect to another database; those that it started may not.
            self._address_of_task.set(None)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT_SECONDS)

    async def acquire(self) -> tuple[LeasedPool | None, asyncpg.Connection]:
        """Take a connection from the pool; on demand, without a pool, open one.

        Raises:
            DatabaseUnavailable: None became free in time.
            NotConnected: No pool is open, or one of another database than this task used before.
        """
        pool = self.pool
        if pool is None:
            return None, await self.get_new_connection()
        address = self._address_of_task.get()
        if address is None:
            self._address_of_task.set(self._address)
        elif address != self._address:
            raise NotConnected(CLOSED)
        try:
            return pool, await pool.acquire()
        except TimeoutError:
            raise DatabaseUnavailable(
                "No connection to the database became free in time: it is busy, or does not answer."
            ) from None
        except asyncpg.InterfaceError:
            if self.pool is not pool:
                raise NotConnected(CLOSED) from None
            raise

    async def fetch(
        self, statement: Statement | str, *arguments: object, **values: object
    ) -> list[asyncpg.Record]:
        """Run one statement in the current transaction, else on a connection of the pool.

        The values of a `Statement` are keywords; those of plain SQL with `$1`, `$2`, … are
        positional. What the database refuses is raised as this package's errors.
        """
        if isinstance(statement, Statement):
            sql, arguments = statement.sql, tuple(statement.arguments(values))
        else:
            sql = statement
        with database_errors():
            return await self._run(sql, arguments)

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> Any:
        """Run a query of Piccolo's."""
        sql, arguments = querystring.compile_string(engine_type=self.engine_type)
        return await self._run(sql, arguments, in_pool=in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> Any:
        """Run a statement of Piccolo's that changes the schema."""
        return await self._run(ddl, [], in_pool=in_pool)

    async def _run(
        self, sql: str, arguments: Sequence[object], *, in_pool: bool = True
    ) -> list[asyncpg.Record]:
        current = self.open_transaction()
        if current is not None:
            return await current.fetch(sql, *arguments)
        # Not in the pool: Piccolo's run_sync() has an event loop of its own.
        pool, connection = (
            await self.acquire() if in_pool else (None, await self.get_new_connection())
        )
        clean = False
        try:
            records: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            clean = True
        except asyncpg.PostgresError:
            clean = True  # the statement was refused, and left nothing behind
            raise
        finally:
            # Whatever happens to the connection now, the answer or the error of the call counts.
            with contextlib.suppress(*CONNECTION_ERRORS):
                if pool is None:
                    await connection.close()
                else:
                    await pool.release(connection, clean=clean)
        return records

    async def _find_database(self) -> None:
        if self.config:
            return
        settings = load_settings()
        if settings.postgres_url is not None:
            self.config = _arguments(settings.postgres_url.get_secret_value())
        else:
            self.config = {**await embedded.start(settings.data_directory), **_options()}


engine = DirectoryEngine()
"""The engine of every table of the package."""


def _arguments(url: str) -> dict[str, Any]:
    if not is_postgres_url(url):
        raise ConfigurationError(f"The database's URL {POSTGRES_URL_FORM}.")
    return {"dsn": url, **_options()}


def _options() -> dict[str, Any]:
    settings = load_settings()
    limits = {
        "statement_timeout": settings.statement_timeout,
        "lock_timeout": settings.lock_timeout,
    }
    return {
        "timeout": CONNECT_TIMEOUT_SECONDS,
        "statement_cache_size": settings.statement_cache_size,
        "server_settings": {
            "application_name": "community_directory",
            **{name: f"{seconds * 1000:.0f}ms" for name, seconds in limits.items() if seconds},
        },
    }


async def _check_version(connection: Any) -> None:
    version = connection.get_server_version()
    if version.major < MIN_POSTGRES_VERSION:
        raise DatabaseUnavailable(
            f"PostgreSQL {MIN_POSTGRES_VERSION} or later is needed; this server is {version.major}."
        )


@contextlib.contextmanager
def _connecting() -> Iterator[None]:
    """Turn what asyncpg raises for a server that is away, or says no, into one clear error."""
    try:
        yield
    except TimeoutError:
        raise DatabaseUnavailable(
            f"The database is not available: it did not answer in {CONNECT_TIMEOUT_SECONDS} seconds."
        ) from None
    except CONNECTION_ERRORS as error:
        raise DatabaseUnavailable(
            f"The database is not available: {str(error) or type(error).__name__}"
        ) from error
    except ValueError:
        # Its text may quote a piece of a password.
        raise ConfigurationError(f"The database's URL {POSTGRES_URL_FORM}.") from None


_connect_lock = threading.Lock()


class DirectoryConnection:
    """The connection to the directory that `connect` describes."""

    def __init__(self, url: str | None, *, min_size: int, max_size: int | None) -> None:
        self._url, self._min_size, self._max_size = url, min_size, max_size
        self._is_open = False

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> DirectoryEngine:
        await self._open()
        return engine

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection pool; a second time does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            await engine.close_connection_pool()
        finally:
            self._leave()

    async def _open(self) -> Self:
        if not _connect_lock.acquire(blocking=False):
            raise AlreadyConnected
        self._config = engine.config
        try:
            if self._url is not None:
                engine.config = _arguments(self._url)
            max_size = self._max_size
            if max_size is None:
                max_size = load_settings().pool_max_size
            await engine.start_connection_pool(min_size=self._min_size, max_size=max_size)
        except BaseException:
            self._leave()
            raise
        self._is_open = True
        return self

    def _leave(self) -> None:
        engine.config = self._config
        _connect_lock.release()


def connect(
    url: str | None = None, *, min_size: int = 1, max_size: int | None = None
) -> DirectoryConnection:
    """Open the connection pool that the tables and the query helpers use.

    `async with connect():` closes it at the end of the block. A framework with hooks for start-up
    and shutdown (discord.py's `setup_hook`, FastAPI's lifespan) or a notebook opens it with
    `directory = await connect()` and closes it with `await directory.close()`.

    Without `url` the database is the one of the settings; without `max_size` the pool has theirs,
    ten connections unless DIRECTORY_POOL_MAX_SIZE says otherwise. A task that outlives the pool
    gets `NotConnected`, also when a pool of another database is open by then.

    Raises:
        AlreadyConnected: This process has an open pool: there is one at a time.
        ConfigurationError: The URL or a setting is wrong.
        DatabaseUnavailable: No connection can be made.
    """
    return DirectoryConnection(url, min_size=min_size, max_size=max_size)


def transaction() -> DirectoryTransaction:
    """Begin a transaction: `async with transaction():` commits at the end, or rolls everything back on an exception.

    Inside another transaction it is a savepoint: its own failure undoes its own writes only.
    """
    return engine.transaction()


async def act_as(actor: str) -> None:
    """Name who makes the changes of the current transaction.

    The audit log has the name with each of them, but for those of a helper that is given an actor.
    It keeps 255 characters of it.

    Raises:
        InvalidInput: The name is blank.
    """
    if not isinstance(actor, str):
        raise InvalidInput("The actor must be a text.", field="actor")
    if not actor.strip():
        raise InvalidInput("The actor can't be empty.", field="actor", code="value_missing")
    await engine.fetch(
        "SELECT set_config('community_directory.actor', $1, true), set_config('community_directory.reason', '', true)",
        actor,
    )
