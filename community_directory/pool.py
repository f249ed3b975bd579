"""asyncpg's pool without the round trip and the ceremony between two calls: a short statement costs half as much.

asyncpg resets a connection after every call, which is a statement of its own, and hands it over in a new task. This
pool hands it straight to the next call. So nothing that runs on it may leave anything behind in the session: no SET
without LOCAL, no session-level advisory lock, no temporary table, no LISTEN.
"""

import asyncio
import time
from contextlib import nullcontext
from typing import Any

import asyncpg

IDLE_SECONDS = 300
"""How old an unused connection may become: whatever stands between here and the server may have forgotten it."""


class DirectoryPool(asyncpg.Pool):  # type: ignore[misc]  # asyncpg ships no types
    """An asyncpg pool that keeps the connections that were used, for the next calls.

    Closed ones, and those in the midst of a statement or a transaction, go the ordinary way, as all do at the end.
    """

    def __init__(self, *, min_size: int = 10, max_size: int = 10, **connection: Any) -> None:
        super().__init__(
            min_size=min_size,
            max_size=max_size,
            max_queries=50_000,  # asyncpg's own numbers
            max_inactive_connection_lifetime=IDLE_SECONDS,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            **connection,
        )
        self._permits = asyncio.Semaphore(max_size)
        self._kept: list[tuple[Any, float]] = []
        """The newest last: those that a quiet hour has no use for grow old."""
        self._in_use: set[Any] = set()

    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ASYNC109  asyncpg's signature
        async with asyncio.timeout(timeout) if timeout is not None else nullcontext():
            await self._permits.acquire()
            try:
                connection = await self._kept_one() or await super()._acquire(None)
            except BaseException:
                self._permits.release()
                raise
        self._in_use.add(connection)
        return connection

    async def _kept_one(self) -> Any | None:
        while self._kept:
            connection, since = self._kept.pop()
            if not _is_closed(connection):
                if time.monotonic() - since < IDLE_SECONDS:
                    return connection
                connection.terminate()
            await super().release(connection)
        return None

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  asyncpg's
        """Take a connection back, and keep it when the next call can use it as it is."""
        if connection not in self._in_use:
            await super().release(connection, timeout=timeout)  # twice, or not ours: asyncpg says which
            return
        self._in_use.remove(connection)
        try:
            if self._closing or _is_closed(connection) or connection.is_in_transaction() or _is_cancelling(connection):
                await super().release(connection, timeout=timeout)
            else:
                self._kept.append((connection, time.monotonic()))
        finally:
            self._permits.release()

    async def close(self) -> None:
        """Close all connections, as soon as those in use have come back."""
        self._closing = True
        try:
            while self._kept:
                await super().release(self._kept.pop()[0])
        except BaseException:
            self.terminate()  # as asyncpg does from here on
            raise
        await super().close()

    def get_idle_size(self) -> int:
        """How many open connections nobody uses."""
        return int(super().get_idle_size()) + sum(not _is_closed(connection) for connection, _ in self._kept)


def _is_closed(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # asyncpg has noticed already


def _is_cancelling(connection: Any) -> bool:
    """Whether its caller gave up, and the server doesn't know yet: what it does meanwhile may still be done."""
    return bool(connection._con._protocol._is_cancelling())  # asyncpg's own question when it takes one back
