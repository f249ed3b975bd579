"""A connection pool that passes asyncpg's connections straight from one caller to the next.

A call on asyncpg's own pool costs a reset of the session (a round trip), a task and a timer. This
pool does without them, so nothing that runs on a connection may leave anything in its session: no
SET without LOCAL, no session-level advisory lock, no temporary table, no LISTEN. In comparison with
asyncpg's pool (`python -m benchmarks`), finding a member by Telegram id takes 0.52 of the time, and
0.70 with 32 callers.
"""

import asyncio
import contextlib
from typing import Any, cast

import asyncpg
from asyncpg.pool import PoolConnectionProxy

CONNECTION_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""The exceptions of asyncpg for a call that fails: no connection, a lost one, or a server error."""
RELEASE_TIMEOUT_SECONDS = 2
"""The longest time that a cancelled statement may take to end; then its connection is cut."""
RENEWAL_INTERVAL_SECONDS = 60
"""The interval at which idle connections go back to asyncpg's pool, which closes the old ones."""


async def _keep_session(_: asyncpg.Connection) -> None:
    """Do nothing: it replaces the reset of the session. asyncpg still ends an open transaction."""


class LeasedPool:
    """A pool that leases connections from an asyncpg pool and serves its callers in order."""

    def __init__(
        self, *, min_size: int, max_size: int, acquire_timeout: float, **options: Any
    ) -> None:
        """Prepare the pool without opening a connection.

        Args:
            min_size: The number of connections that `open` opens.
            max_size: The maximum number of connections.
            acquire_timeout: The longest time in seconds that a caller waits for a connection.
            options: Further options of `asyncpg.create_pool`.
        """
        if not 0 <= min_size <= max_size:
            raise ValueError("min_size must lie between 0 and max_size.")
        self._pool = asyncpg.create_pool(
            min_size=0, max_size=max_size, reset=_keep_session, **options
        )
        self._min_size = min_size
        self.acquire_timeout = acquire_timeout
        self._free_slots = asyncio.Semaphore(max_size)
        self._idle: list[asyncpg.Connection] = []
        self._closing = False
        self._in_use = 0

    async def open(self) -> None:
        """Open `min_size` connections, or none if one of them can't be opened."""
        await self._pool
        self._renewal = asyncio.create_task(self._renew())
        try:
            for connection in [await self.acquire() for _ in range(self._min_size)]:
                await self.release(connection, clean=True)
        except BaseException:
            self._renewal.cancel()
            self._pool.terminate()
            raise

    def get_size(self) -> int:
        """Return the number of open connections."""
        return self._pool.get_size()

    def get_idle_size(self) -> int:
        """Return the number of open connections that no caller uses."""
        return self.get_size() - self._in_use

    async def acquire(self) -> asyncpg.Connection:
        """Return a connection.

        Raises:
            TimeoutError: No connection became free in time.
        """
        async with asyncio.timeout(self.acquire_timeout):
            await self._free_slots.acquire()
            try:
                connection = await self._take_connection()
            except BaseException:
                self._free_slots.release()
                raise
        self._in_use += 1
        return connection

    async def release(self, connection: asyncpg.Connection, *, clean: bool) -> None:
        """Take a connection back: keep a clean one idle, and return any other to asyncpg's pool."""
        try:
            if clean and not self._closing and _is_usable(connection):
                self._idle.append(connection)
            else:
                await self._return_to_asyncpg(connection)
        finally:
            self._in_use -= 1
            self._free_slots.release()

    async def expire_connections(self) -> None:
        """Replace idle connections now, and each other one once asyncpg's pool gets it back."""
        await self._release_idle()
        await self._pool.expire_connections()

    async def close(self) -> None:
        """Close each connection when its caller returns it; if cancelled, close all at once."""
        self._closing = True
        self._renewal.cancel()
        try:
            await self._release_idle()
            await self._pool.close()
        except BaseException:
            self._pool.terminate()
            raise

    async def _take_connection(self) -> asyncpg.Connection:
        if self._closing:
            raise asyncpg.InterfaceError("the pool is closing")
        while self._idle:
            if _is_usable(connection := self._idle.pop()):
                return connection
            await self._return_to_asyncpg(connection)
        # asyncpg returns a proxy, which has every method of its connection.
        return cast("asyncpg.Connection", await self._pool.acquire())

    async def _return_to_asyncpg(self, connection: asyncpg.Connection) -> None:
        """Return a connection to asyncpg's pool, which ends any statement that still runs on it."""
        with contextlib.suppress(TimeoutError):
            await self._pool.release(
                cast("PoolConnectionProxy", connection), timeout=RELEASE_TIMEOUT_SECONDS
            )

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWAL_INTERVAL_SECONDS)
            await self._release_idle()

    async def _release_idle(self) -> None:
        for _ in range(len(self._idle)):
            if self._idle:
                with contextlib.suppress(*CONNECTION_ERRORS):
                    await self._return_to_asyncpg(self._idle.pop(0))


def _is_usable(connection: asyncpg.Connection) -> bool:
    try:
        return not connection.is_closed() and not connection.is_in_transaction()
    except asyncpg.InterfaceError:
        return False  # asyncpg's pool has taken the dead connection back
