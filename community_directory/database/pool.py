"""A connection pool that passes asyncpg's connections straight from one caller to the next.

A call on asyncpg's own pool costs a reset of the session (a round trip), a task and a timer. This
pool does without them, so nothing that runs on a connection may leave anything in its session: no
SET without LOCAL, no session-level advisory lock, no temporary table, no LISTEN. It never waits for
a connection that does not answer. In comparison with asyncpg's pool (`python -m benchmarks`),
finding a member by Telegram id takes 0.51 of the time, and 0.60 with 32 callers.
"""

import asyncio
import contextlib
from bisect import insort
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from itertools import count
from operator import itemgetter
from types import TracebackType

import asyncpg

from community_directory.errors import (
    BUSY_RETRY_SECONDS,
    NO_ANSWER_MESSAGE,
    DatabaseUnavailable,
    NotConnected,
)
from community_directory.observers import observers

CONNECTION_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""The exceptions of asyncpg for a call that fails: no connection, a lost one, or a server error."""
FULL_ERRORS = (asyncpg.TooManyConnectionsError, asyncpg.CannotConnectNowError)
"""The exceptions of asyncpg for a server that accepts no further connection for the moment."""
FULL_PAUSE_SECONDS = 0.3
"""The time after which the pool tries again to open a connection that the server refused."""
RENEWAL_INTERVAL_SECONDS = 60
"""The interval at which old and unused connections are closed."""
MAX_IDLE_SECONDS = 300
"""The time after which an unused connection is closed."""
MAX_AGE_SECONDS = 3600
"""The time after which a connection is replaced, so that the server can free its memory."""
GRACE_SECONDS = 1
"""The longest time that the orderly end of a connection may take; then it is cut."""

_is_replanned: ContextVar[bool] = ContextVar("is_replanned", default=False)

POOL_CLOSED_MESSAGE = (
    "The connection pool that this task used before is closed. "
    "Open a new pool, and then start a new task."
)


class ConnectionPool:
    """A pool of connections to one database, which serves its callers in order.

    Attributes:
        acquire_timeout: The longest time in seconds that a caller waits for a connection.
    """

    def __init__(
        self,
        open_connection: Callable[[], Awaitable[asyncpg.Connection]],
        *,
        min_size: int,
        max_size: int,
        acquire_timeout: float,
    ) -> None:
        """Prepare the pool without opening a connection.

        Args:
            open_connection: A function that opens a connection.
            min_size: The number of connections that `open` opens.
            max_size: The maximum number of connections.
            acquire_timeout: The longest time in seconds that a caller waits for a connection.
        """
        if not 0 <= min_size <= max_size:
            raise ValueError("min_size must lie between 0 and max_size.")
        self._open_connection = open_connection
        self._min_size, self._max_size = min_size, max_size
        self.acquire_timeout = acquire_timeout
        self._connections: dict[asyncpg.Connection, float] = {}
        """The connections, and the times at which they were opened."""
        self._idle: list[tuple[asyncpg.Connection, float]] = []
        """The connections that no caller uses, and the times at which they were returned."""
        self._opening = 0
        """The number of callers that are opening a connection."""
        self._line: list[tuple[int, asyncio.Future[asyncpg.Connection | None]]] = []
        """The waiting callers in order; None as the result lets a caller open a connection."""
        self._numbers = count()
        self._limit = max_size
        """The number of connections that may be open; less than `max_size` on a full server."""
        self._refusal: asyncpg.PostgresError | None = None
        """The error with which the full server refused the last connection; None if it did not."""
        self._next_try: asyncio.TimerHandle | None = None
        self._returned = asyncio.Event()
        self._closing = False

    async def open(self) -> None:
        """Open `min_size` connections, or none if they can't be opened in time.

        Raises:
            DatabaseUnavailable: The time is over.
        """
        self._loop = asyncio.get_running_loop()
        self._renewal = self._loop.create_task(self._renew())
        deadline = self._loop.time() + self.acquire_timeout
        try:
            for connection in [await self.acquire(deadline) for _ in range(self._min_size)]:
                self.release(connection, clean=True)
        except BaseException:
            self._stop()
            self._cut_all()
            raise

    def get_size(self) -> int:
        """Return the number of open connections."""
        return sum(not connection.is_closed() for connection in list(self._connections))

    def get_idle_size(self) -> int:
        """Return the number of open connections that no caller uses."""
        return sum(not connection.is_closed() for connection, _ in list(self._idle))

    def get_max_size(self) -> int:
        """Return the maximum number of connections."""
        return self._max_size

    def get_waiting(self) -> int:
        """Return the number of callers that wait for a connection to become free."""
        return sum(not turn.done() for _, turn in list(self._line))

    async def acquire(self, deadline: float | None = None) -> asyncpg.Connection:
        """Return a connection; callers get one in the order of their calls.

        Args:
            deadline: The time of the event loop at which the wait ends, if not `acquire_timeout`
                seconds from now.

        Raises:
            DatabaseUnavailable: The caller got no connection in time.
            NotConnected: The pool is closed.
        """
        if self._closing:
            raise NotConnected(POOL_CLOSED_MESSAGE)
        # Nobody waits in the line while a connection is idle.
        if (connection := self._pop_idle()) is not None:
            return connection
        if deadline is None:
            deadline = self._loop.time() + self.acquire_timeout
        number, began = next(self._numbers), self._loop.time()
        try:
            while True:
                connection = await self._wait_for_turn(number, deadline)
                if connection is None:
                    connection = await self._open_or_note_refusal(deadline)
                if connection is not None:
                    return connection
        finally:
            for observer in observers:
                observer.connection_awaited(self._loop.time() - began)

    def release(self, connection: asyncpg.Connection, *, clean: bool) -> None:
        """Take a connection back; one that is not clean is cut at once."""
        if clean and not connection.is_closed() and not connection.is_in_transaction():
            self._idle.append((connection, self._loop.time()))
        else:
            self._cut([connection])
        self._returned.set()
        self._serve_line()

    def cut_idle(self, silent_since: float) -> None:
        """Cut the idle connections that have not answered since this time of the event loop.

        When one connection gets no answer, the others are no better, unless they have proved it.
        """
        suspects = [each for each in self._idle if each[1] <= silent_since]
        self._idle = [each for each in self._idle if each[1] > silent_since]
        self._cut(connection for connection, _ in suspects)
        self._serve_line()

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109  it never raises TimeoutError
        """Close each connection when its caller returns it; after the time, cut all others.

        Args:
            timeout: The time in seconds.
        """
        self._stop()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while self._connections:
                        await self._close_idle(lambda *_: True)
                        self._returned.clear()
                        if self._connections and not self._idle:
                            await self._returned.wait()
        finally:
            self._cut_all()

    def _stop(self) -> None:
        """Refuse all callers from now on."""
        self._closing = True
        self._renewal.cancel()
        if self._next_try is not None:
            self._next_try.cancel()
        line, self._line = self._line, []
        for _, turn in line:
            if not turn.done():
                turn.set_exception(NotConnected(POOL_CLOSED_MESSAGE))

    def _cut_all(self) -> None:
        self._idle.clear()
        self._cut(list(self._connections))

    def _cut(self, connections: Iterable[asyncpg.Connection]) -> None:
        for connection in connections:
            self._connections.pop(connection, None)
            connection.terminate()

    def _pop_idle(self) -> asyncpg.Connection | None:
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._cut([connection])
        return None

    async def _wait_for_turn(self, number: int, deadline: float) -> asyncpg.Connection | None:
        """Wait until a connection is free, or return None when the caller may open one."""
        turn: asyncio.Future[asyncpg.Connection | None] = self._loop.create_future()
        if not self._line or self._line[-1][0] < number:
            self._line.append((number, turn))
        else:  # the server has refused to open a connection for this caller
            insort(self._line, (number, turn), key=itemgetter(0))
        self._serve_line()
        expiry = self._loop.call_at(deadline, self._expire, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self._take_back(turn.result())
            raise
        finally:
            expiry.cancel()
            if turn.cancelled():
                self._serve_line()

    def _expire(self, turn: "asyncio.Future[asyncpg.Connection | None]") -> None:
        if not turn.done():
            turn.set_exception(self._explain_timeout())
            self._serve_line()

    def _take_back(self, given: asyncpg.Connection | None) -> None:
        """Take back what a caller has got who has given up at the same moment."""
        if given is not None:
            self.release(given, clean=True)
        else:
            self._opening -= 1
            self._serve_line()

    def _serve_line(self) -> None:
        """Serve the first callers as far as possible, and drop those who have given up."""
        while self._line:
            _, turn = self._line[0]
            if not turn.done():
                connection = self._pop_idle()
                if connection is None:
                    if len(self._connections) + self._opening >= self._limit:
                        return
                    self._opening += 1
                turn.set_result(connection)
            del self._line[0]

    async def _open_or_note_refusal(self, deadline: float) -> asyncpg.Connection | None:
        """Open a connection, or return None if the server is full or still starting."""
        try:
            async with asyncio.timeout_at(deadline):
                connection = await self._open_connection()
        except FULL_ERRORS as error:
            self._opening -= 1
            self._limit, self._refusal = len(self._connections), error
            if self._next_try is None:
                self._next_try = self._loop.call_later(FULL_PAUSE_SECONDS, self._raise_limit)
            return None
        except BaseException as error:
            self._opening -= 1
            self._serve_line()
            if isinstance(error, TimeoutError):
                if self._refusal is not None:
                    raise self._explain_timeout() from None
                raise DatabaseUnavailable(
                    f"The database did not answer within {self.acquire_timeout:g} seconds."
                ) from None
            raise
        self._opening -= 1
        if self._closing:
            connection.terminate()
            raise NotConnected(POOL_CLOSED_MESSAGE)
        self._connections[connection], self._refusal = self._loop.time(), None
        self._raise_limit()
        return connection

    def _raise_limit(self) -> None:
        """Let one further connection be opened: perhaps the server has room again."""
        if self._next_try is not None:
            self._next_try.cancel()
            self._next_try = None
        self._limit = min(
            self._max_size, max(self._limit, len(self._connections) + self._opening + 1)
        )
        self._serve_line()

    def _explain_timeout(self) -> DatabaseUnavailable:
        if self._refusal is not None:
            return DatabaseUnavailable(
                "No connection to the database became free in time, "
                f"and the server accepts no more of them: {self._refusal}",
                retry_after=BUSY_RETRY_SECONDS,
            )
        return DatabaseUnavailable(
            "No connection to the database became free in time. "
            "The database is busy, or does not answer. Try again in a moment.",
            retry_after=BUSY_RETRY_SECONDS,
        )

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_INTERVAL_SECONDS)
            await self._close_idle(self._is_old)

    def _is_old(self, connection: asyncpg.Connection, returned_at: float) -> bool:
        now = self._loop.time()
        return (
            now - returned_at > MAX_IDLE_SECONDS
            or now - self._connections[connection] > MAX_AGE_SECONDS
        )

    async def _close_idle(self, is_due: Callable[[asyncpg.Connection, float], bool]) -> None:
        due = [each for each in self._idle if is_due(*each)]
        self._idle = [each for each in self._idle if each not in due]
        try:
            await asyncio.gather(*(close_connection(connection) for connection, _ in due))
        finally:
            self._cut(connection for connection, _ in due)
            self._serve_line()


async def close_connection(connection: asyncpg.Connection) -> None:
    """Close a connection, or cut it if the server does not answer in time."""
    try:
        with contextlib.suppress(TimeoutError, *CONNECTION_ERRORS):
            async with asyncio.timeout(GRACE_SECONDS):
                await connection.close()
    finally:
        connection.terminate()


class CallGuard:
    """Cuts a connection if a call on it is cancelled, or has no answer at the deadline.

    Nothing waits for a connection that was cut. The server notices its end, and rolls back.
    """

    __slots__ = ("_connection", "_deadline", "_handle", "_is_late", "_pool", "_started")

    def __init__(
        self, connection: asyncpg.Connection, pool: ConnectionPool | None, deadline: float
    ) -> None:
        """Prepare the guard.

        Args:
            connection: The connection of the call.
            pool: The pool of the connection, if it has one. When the call gets no answer, its idle
                connections are cut, too.
            deadline: The time of the event loop until which the answer must come.
        """
        self._connection, self._pool, self._deadline = connection, pool, deadline

    def __enter__(self) -> None:
        self._is_late = False
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        self._handle: asyncio.Handle = loop.call_at(self._deadline, self._expire)

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._handle.cancel()
        if exception is None:
            return
        if not isinstance(exception, Exception):
            self._connection.terminate()
        elif self._is_late:
            raise DatabaseUnavailable(NO_ANSWER_MESSAGE) from None

    def _expire(self) -> None:
        # A loop that was blocked reads the answer and learns of the deadline in the same turn. The
        # call then ends in the next turn, and cancels this handle.
        self._handle = asyncio.get_running_loop().call_soon(self._cut)

    def _cut(self) -> None:
        self._is_late = True
        self._connection.terminate()
        if self._pool is not None:
            self._pool.cut_idle(self._started)


@contextlib.contextmanager
def replanned() -> Iterator[None]:
    """Let PostgreSQL plan each statement inside for its values, outside of transactions.

    After five calls it may keep a plan for any values. Such a plan expects few rows of every
    period: with it, the retention of a year took twice as long, at 100,000 members.
    """
    token = _is_replanned.set(True)
    try:
        yield
    finally:
        _is_replanned.reset(token)


async def run_call(
    connection: asyncpg.Connection,
    pool: ConnectionPool | None,
    deadline: float,
    sql: str,
    arguments: Sequence[object],
) -> list[asyncpg.Record]:
    """Run one statement on a connection, and give it back to its pool, or close it without one.

    Args:
        connection: The connection, which nobody else uses.
        pool: The pool of the connection, if it has one.
        deadline: The time of the event loop until which the answer must come.
        sql: The statement.
        arguments: The values of the statement.

    Raises:
        DatabaseUnavailable: The answer did not come in time.
    """
    clean = False
    try:
        with CallGuard(connection, pool, deadline):
            records = await _fetch(connection, sql, arguments)
        clean = True
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        clean = True  # the statement failed, and left nothing in the session
        raise
    finally:
        if pool is not None:
            pool.release(connection, clean=clean)
        elif clean:
            await close_connection(connection)
        else:
            connection.terminate()
    return records


async def _fetch(
    connection: asyncpg.Connection, sql: str, arguments: Sequence[object]
) -> list[asyncpg.Record]:
    if _is_replanned.get():
        # The statement without a name, of which PostgreSQL keeps no plan.
        statement = await connection.prepare(sql, name="")
        records: list[asyncpg.Record] = await statement.fetch(*arguments)
    else:
        records = await connection.fetch(sql, *arguments)
    return records
