"""The engine of the tables, and the connections that bots and scripts open with it."""

import asyncio
import contextlib
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Self, cast

import asyncpg
from piccolo.engine.postgres import PostgresEngine
from piccolo.querystring import QueryString

from community_directory.database import embedded
from community_directory.database.hosts import host_of, list_servers, open_connection
from community_directory.database.limits import (
    acquire_limit,
    call_limit,
    is_long_running,
    server_limits,
)
from community_directory.database.pool import (
    CONNECTION_ERRORS,
    POOL_CLOSED_MESSAGE,
    ConnectionPool,
    run_call,
)
from community_directory.database.replicas import (
    REPLICA_SHARE,
    Replica,
    ReplicaSet,
    is_primary_only,
    is_write,
)
from community_directory.database.statements import Statement
from community_directory.database.transactions import DirectoryTransaction
from community_directory.errors import (
    AlreadyConnected,
    ConfigurationError,
    DatabaseUnavailable,
    NotConnected,
    database_errors,
)
from community_directory.observers import observers
from community_directory.settings import POSTGRES_URL_FORM, is_postgres_url, load_settings
from community_directory.tracing import trace_calls_if_configured

MIN_POSTGRES_VERSION = 15
CLOSE_TIMEOUT_SECONDS = 2
"""The longest time that closing the pool waits for running statements; then it cuts them off."""
WATCH_SETTINGS = {
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}
"""The settings with which the server notices a client that is gone, and drops its locks.

It notices a cut connection after a second, and after half a minute a machine or network that is
gone.
"""
PLAN_SETTINGS = {"jit": "off", "max_parallel_workers_per_gather": "0"}
"""The settings with which the server begins to answer at once, in one process.

A page runs its statements at the same time. At 100,000 members and 10,000,000 events, on two
processors, to compile each of them and to start further processes for it made the pages of Insights
up to 1.6 times slower.
"""
PGBOUNCER_MESSAGE = (
    "PgBouncer refuses the limits of the connection. Add them to ignore_startup_parameters in "
    "pgbouncer.ini, or set DIRECTORY_STATEMENT_TIMEOUT and DIRECTORY_LOCK_TIMEOUT to 0; "
    "then set limits for the role instead"
)


class DirectoryEngine(PostgresEngine):
    """Piccolo's PostgreSQL engine; it reads its database from the settings when it connects.

    Attributes:
        pool: The open connection pool, if there is one.
        replicas: The replicas that answer `read`, if there are any.
    """

    def __init__(self) -> None:
        super().__init__(config={})
        # Piccolo's class declares a pool of asyncpg here.
        self.pool: ConnectionPool | None = None  # type: ignore[assignment, unused-ignore]
        self.replicas: ReplicaSet | None = None
        self._address_of_task: ContextVar[tuple[object, ...] | None] = ContextVar(
            "address", default=None
        )
        self._connects_on_demand: bool | None = None

    @property
    def _address(self) -> tuple[object, ...]:
        """The part of the configuration that identifies the database."""
        return tuple(self.config.get(name) for name in ("dsn", "host", "port", "database"))

    async def check_version(self) -> None:
        """Do nothing: an import must not connect. Each new connection checks the version."""

    async def prep_database(self) -> None:
        """Do nothing: the migrations create the extensions."""

    def transaction(self, allow_nested: bool = True) -> DirectoryTransaction:
        """Return a new transaction, or a savepoint inside the current transaction."""
        return DirectoryTransaction(engine=self, allow_nested=allow_nested)

    def find_open_transaction(self) -> DirectoryTransaction | None:
        """Return the transaction or savepoint of the current task that has not ended, if any."""
        # Piccolo types it by its own class, but this engine makes transactions of this class only.
        current = cast("DirectoryTransaction | None", self.current_transaction.get())
        while current is not None and current.ended:
            current = current.outer
        return current

    def transaction_exists(self) -> bool:
        """Return whether the current task is in a transaction."""
        return self.find_open_transaction() is not None

    def connect_on_demand(self) -> None:
        """Let each query open a connection of its own until the first pool is opened.

        Piccolo's command line needs this, because its own commands open no pool. In a process that
        has opened a pool, the call does nothing: otherwise a task that outlives the pool could
        reach another database.
        """
        if self._connects_on_demand is None:
            self._connects_on_demand = True

    async def get_new_connection(self) -> asyncpg.Connection:
        """Open a connection outside the pool.

        Raises:
            DatabaseUnavailable: The connection can't be opened in time.
            NotConnected: No pool is open, and `connect_on_demand` was not called.
        """
        if self.pool is None and not self._connects_on_demand:
            raise NotConnected
        await self._ensure_config()
        with _translate_connect_errors():
            async with asyncio.timeout(acquire_limit()):
                return await Connector(**self.config).open()

    async def start_connection_pool(self, **kwargs: Any) -> None:
        """Open the pool.

        Args:
            kwargs: `min_size` and `max_size`, the numbers of connections, which are 1 and 10 by
                default, and further arguments of `asyncpg.connect`.

        Raises:
            AlreadyConnected: A pool is open.
            DatabaseUnavailable: No connection can be opened.
        """
        if self.pool is not None:
            raise AlreadyConnected
        await self._ensure_config()
        sizes = {name: kwargs.pop(name, size) for name, size in (("min_size", 1), ("max_size", 10))}
        connector = Connector(**{**self.config, **kwargs})
        pool = ConnectionPool(connector.open, acquire_timeout=acquire_limit(), **sizes)
        with _translate_connect_errors():
            await pool.open()
        self.pool = pool
        self._connects_on_demand = False
        self._address_of_task.set(self._address)

    async def start_replicas(self, url: str, max_size: int) -> None:
        """Let the servers of this URL answer `read` as soon as they are known to be recent.

        Args:
            url: The URL, which names each server.
            max_size: The maximum number of connections to each of them.
        """
        connectors = {
            host_of(server) or "on this machine": Connector(
                **_make_config(server), target_session_attrs="any"
            )
            for server in list_servers(url)
        }
        replicas = []
        for name, connector in connectors.items():
            pool = ConnectionPool(
                connector.open, min_size=0, max_size=max_size, acquire_timeout=acquire_limit()
            )
            await pool.open()
            replicas.append(Replica(name, pool))
        self.replicas = ReplicaSet(replicas, self.fetch, load_settings().read_lag_seconds)

    async def close_connection_pool(self) -> None:
        """Close the pools; after `CLOSE_TIMEOUT_SECONDS` connections in use are cut, too."""
        pool, self.pool = self.pool, None
        replicas, self.replicas = self.replicas, None
        if replicas is not None:
            replicas.stop_watching()
        if pool is not None:
            # This task may connect to another database later; the tasks that it started may not.
            self._address_of_task.set(None)
            closing = [each.close(CLOSE_TIMEOUT_SECONDS) for each in (pool, replicas) if each]
            await asyncio.gather(*closing)

    async def begin_call(self) -> float:
        """Return the time of the event loop at which a call that begins now must have ended."""
        if self.pool is None and self._connects_on_demand:
            # The embedded server may take longer to start than a call may take.
            await self._ensure_config()
        return asyncio.get_running_loop().time() + call_limit()

    async def acquire(
        self, deadline: float | None = None
    ) -> tuple[ConnectionPool | None, asyncpg.Connection]:
        """Take a connection from the pool, or open one if there is no pool (`connect_on_demand`).

        Args:
            deadline: The time of the event loop at which the wait ends at the latest.

        Returns:
            The pool, which takes the connection back, or None; and the connection.

        Raises:
            DatabaseUnavailable: No connection became free in time, or none can be opened.
            NotConnected: No pool is open, or the pool belongs to another database than the one that
                this task used before.
        """
        pool = self.pool
        if pool is None:
            return None, await self.get_new_connection()
        self._check_task()
        if deadline is not None:
            deadline = min(deadline, asyncio.get_running_loop().time() + pool.acquire_timeout)
        return pool, await pool.acquire(deadline)

    def _check_task(self) -> None:
        """Raise NotConnected if the task has used the pool of another database before."""
        address = self._address_of_task.get()
        if address is None:
            self._address_of_task.set(self._address)
        elif address != self._address:
            raise NotConnected(POOL_CLOSED_MESSAGE)

    async def fetch(
        self, statement: Statement | str, /, *arguments: object, **values: object
    ) -> list[asyncpg.Record]:
        """Run one statement in the current transaction, else on a connection of the pool.

        Args:
            statement: A `Statement`, or plain SQL with `$1`, `$2`, ….
            arguments: The values of plain SQL, in the order of their numbers.
            values: The values of a `Statement`, by the names of its parameters.

        Raises:
            DirectoryError: The database refuses the statement, or can't be reached.
            TypeError: The values do not fit the statement.
        """
        sql, bound = _bind(statement, arguments, values)
        with database_errors():
            return await self._run(sql, bound)

    async def read(
        self, statement: Statement | str, /, *arguments: object, **values: object
    ) -> list[asyncpg.Record]:
        """Run one query whose answer may be a moment old, on a replica if one is recent enough.

        The answer has every change that this process made before, and every change that any
        program made DIRECTORY_READ_LAG_SECONDS before. Without such a replica, and inside a
        transaction, `primary_only` or `long_running`, the primary answers, as it does for `fetch`.

        Args:
            statement: A `Statement`, or plain SQL with `$1`, `$2`, ….
            arguments: The values of plain SQL, in the order of their numbers.
            values: The values of a `Statement`, by the names of its parameters.

        Raises:
            DirectoryError: The database refuses the statement, or can't be reached.
            TypeError: The values do not fit the statement.
        """
        replicas = self.replicas
        if replicas is None or self.transaction_exists() or is_long_running() or is_primary_only():
            return await self.fetch(statement, *arguments, **values)
        sql, bound = _bind(statement, arguments, values)
        self._check_task()
        deadline = await self.begin_call()
        records = await replicas.fetch(sql, bound, deadline - REPLICA_SHARE * call_limit())
        for observer in observers:
            observer.read_answered("primary" if records is None else "replica")
        if records is not None:
            return records
        with database_errors():
            return await self._run(sql, bound, deadline=deadline)

    async def run_querystring(
        self, querystring: QueryString, in_pool: bool = True
    ) -> list[asyncpg.Record]:
        """Run a query that Piccolo has built."""
        sql, arguments = querystring.compile_string(engine_type=self.engine_type)
        return await self._run(sql, arguments, in_pool=in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> list[asyncpg.Record]:
        """Run a statement that Piccolo has built to change the schema."""
        return await self._run(ddl, [], in_pool=in_pool)

    async def _run(
        self,
        sql: str,
        arguments: Sequence[object],
        *,
        in_pool: bool = True,
        deadline: float | None = None,
    ) -> list[asyncpg.Record]:
        current = self.find_open_transaction()
        if current is not None:
            return await current.fetch(sql, *arguments)
        if in_pool and is_long_running():
            # The server's limits change for a transaction only.
            async with self.transaction() as own:
                return await own.fetch(sql, *arguments)
        ends = await self.begin_call() if deadline is None else deadline
        try:
            # Piccolo's run_sync() has an event loop of its own, which can't use the pool.
            pool, connection = (
                await self.acquire(deadline) if in_pool else (None, await self.get_new_connection())
            )
            return await run_call(connection, pool, ends, sql, arguments)
        finally:
            if self.replicas is not None and is_write(sql):
                self.replicas.note_write()

    async def _ensure_config(self) -> None:
        """Set `config` from the settings unless it is set; start the embedded server if needed."""
        if self.config:
            return
        settings = load_settings()
        if settings.postgres_url is not None:
            self.config = _make_config(settings.postgres_url.get_secret_value())
        else:
            self.config = {**await embedded.start(settings.data_directory), **_read_options()}


def _bind(
    statement: Statement | str, arguments: Sequence[object], values: Mapping[str, object]
) -> tuple[str, Sequence[object]]:
    """Return the SQL of a statement and its values by number.

    Raises:
        TypeError: The values do not fit the statement.
    """
    if isinstance(statement, str):
        if values:
            raise TypeError("Plain SQL takes positional values, and a Statement named ones.")
        return statement, arguments
    if arguments:
        raise TypeError("A Statement takes named values, such as member_id=…")
    return statement.sql, statement.arguments(values)


engine = DirectoryEngine()
"""The engine of every table of the package."""


def _make_config(url: str) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect` for this database."""
    if not is_postgres_url(url):
        raise ConfigurationError(f"The database's URL {POSTGRES_URL_FORM}.")
    return {"dsn": url, **_read_options()}


def _read_options() -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect` that come from the other settings."""
    limits = {name: limit for name, limit in server_limits(is_long=False).items() if limit != "0ms"}
    return {
        "statement_cache_size": load_settings().statement_cache_size,
        "server_settings": {
            "application_name": "community_directory",
            **WATCH_SETTINGS,
            **PLAN_SETTINGS,
            **limits,
        },
    }


class Connector:
    """Opens connections to one database."""

    def __init__(self, **options: Any) -> None:
        """Prepare the connector with arguments of `asyncpg.connect`."""
        self._options = options

    async def open(self) -> asyncpg.Connection:
        """Open a connection.

        Raises:
            ConfigurationError: A PgBouncer does not accept the settings of the connection.
            DatabaseUnavailable: The server is too old.
        """
        try:
            connection = await self._connect()
        except (asyncpg.InvalidParameterValueError, asyncpg.ProtocolViolationError):
            # PgBouncer refuses settings that it does not know. A server on Windows refuses the
            # check of the connection.
            own = self._options.get("server_settings", {})
            optional = WATCH_SETTINGS.keys() | PLAN_SETTINGS
            kept = {name: value for name, value in own.items() if name not in optional}
            self._options = {**self._options, "server_settings": kept}
            try:
                connection = await self._connect()
            except asyncpg.ProtocolViolationError as error:
                if "startup parameter" not in str(error):
                    raise
                raise ConfigurationError(f"{PGBOUNCER_MESSAGE} ({error}).") from error
        try:
            _check_version(connection)
        except DatabaseUnavailable:
            connection.terminate()
            raise
        return connection

    async def _connect(self) -> asyncpg.Connection:
        return await open_connection(**self._options)


def _check_version(connection: asyncpg.Connection) -> None:
    version = connection.get_server_version()
    if version.major < MIN_POSTGRES_VERSION:
        raise DatabaseUnavailable(
            f"This server runs PostgreSQL {version.major}. "
            f"Use version {MIN_POSTGRES_VERSION} or later."
        )


@contextlib.contextmanager
def _translate_connect_errors() -> Iterator[None]:
    """Translate the exceptions of asyncpg for a connection that can't be opened."""
    try:
        yield
    except TimeoutError:
        raise DatabaseUnavailable(
            f"The database did not answer within {acquire_limit():g} seconds."
        ) from None
    except CONNECTION_ERRORS as error:
        raise DatabaseUnavailable(
            f"The database is not available: {str(error) or type(error).__name__}"
        ) from error
    except ValueError:
        # The message of the exception may quote a piece of a password.
        raise ConfigurationError(f"The database's URL {POSTGRES_URL_FORM}.") from None


_connect_lock = threading.Lock()


class DirectoryConnection:
    """The connection to the directory that `connect` returns: it opens and closes the pool.

    Await it, enter it with `async with`, or call `open` to open the pool.
    """

    def __init__(
        self, url: str | None, *, read_url: str | None, min_size: int, max_size: int | None
    ) -> None:
        self._url, self._read_url = url, read_url
        self._min_size, self._max_size = min_size, max_size
        self._is_open = False

    def __await__(self) -> Generator[Any, None, Self]:
        return self.open().__await__()

    async def __aenter__(self) -> DirectoryEngine:
        await self.open()
        return engine

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection pool; a second call does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            await engine.close_connection_pool()
        finally:
            self._restore_engine()

    async def open(self) -> Self:
        """Open the connection pool.

        Raises:
            AlreadyConnected: A pool is open in this process.
        """
        if not _connect_lock.acquire(blocking=False):
            raise AlreadyConnected
        self._config = engine.config
        try:
            if self._url is not None:
                engine.config = _make_config(self._url)
            max_size = self._max_size
            if max_size is None:
                max_size = load_settings().pool_max_size
            read_url = self._find_read_url()
            await engine.start_connection_pool(min_size=self._min_size, max_size=max_size)
            if read_url is not None:
                await engine.start_replicas(read_url, max_size)
        except BaseException:
            self._restore_engine()
            raise
        self._is_open = True
        trace_calls_if_configured()
        return self

    def _find_read_url(self) -> str | None:
        read_url = self._read_url
        # The standbys of the settings are those of the database of the settings.
        if read_url is None and self._url is None:
            found = load_settings().postgres_read_url
            read_url = found.get_secret_value() if found else None
        if read_url is not None and not is_postgres_url(read_url):
            raise ConfigurationError(f"The URL of the replicas {POSTGRES_URL_FORM}.")
        return read_url

    def _restore_engine(self) -> None:
        engine.config = self._config
        _connect_lock.release()


def connect(
    url: str | None = None,
    *,
    read_url: str | None = None,
    min_size: int = 1,
    max_size: int | None = None,
) -> DirectoryConnection:
    """Open the connection pool that the tables and the query helpers use.

    The pool opens, or an error is raised, when the result is awaited or entered. `async with
    connect():` closes the pool at the end of the block. A framework with hooks for start-up and
    shutdown (discord.py's `setup_hook`, FastAPI's lifespan) or a notebook opens it with
    `directory = await connect()` and closes it with `await directory.close()`.

    In a task that continues after the pool was closed, each query raises `NotConnected`, even if a
    pool of another database has been opened since.

    Args:
        url: The URL of the database; by default the one of the settings.
        read_url: The URL of standbys of this database, which answer the helpers whose result may be
            a moment old; by default the one of the settings, if `url` is not given.
        min_size: The number of connections that are opened at once.
        max_size: The maximum number of connections to each server; by default the one of the
            settings, which is DIRECTORY_POOL_MAX_SIZE or 10.

    Raises:
        AlreadyConnected: This process has an open pool; it can have one at a time.
        ConfigurationError: The URL or a setting is wrong.
        DatabaseUnavailable: No connection can be opened.
    """
    return DirectoryConnection(url, read_url=read_url, min_size=min_size, max_size=max_size)


def transaction() -> DirectoryTransaction:
    """Return a transaction for `async with`: it commits at the end, or rolls back on an exception.

    Inside another transaction it is a savepoint: its rollback undoes only its own writes.
    """
    return engine.transaction()
