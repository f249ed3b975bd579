"""Connections of the helpers that outlive their pool, and serve the next test.

The first call on a new connection reads the catalog, plans its statements and compiles the
functions. Three calls that add a member, create an invitation and redeem it take 47 ms on a new
connection, and 5 ms on one that has made them before.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch

import asyncpg

from community_directory.database import connections
from community_directory.database.hosts import open_connection

MAX_KEPT = 10
"""The most connections that are kept; the oldest one makes room."""


class KeptConnection(asyncpg.Connection):
    """A connection that is kept when it is closed, unless its session can't be ended."""

    options: dict[str, Any]
    """The arguments with which it was opened."""
    loop: asyncio.AbstractEventLoop
    keeper: "KeptConnections"
    is_kept = False
    _watchers: list[Callable[[], None]]
    """What removes each listener and logger that asyncpg leaves on the connection."""

    def add_termination_listener(self, callback: Callable[..., Any]) -> None:
        """Call it at the end of the connection, unless the connection is kept before."""
        super().add_termination_listener(callback)
        self._watchers.append(lambda: self.remove_termination_listener(callback))

    def add_query_logger(self, callback: Callable[..., Any]) -> None:
        """Call it after each query until the connection is kept."""
        super().add_query_logger(callback)
        self._watchers.append(lambda: self.remove_query_logger(callback))

    async def close(self, *, timeout: float | None = None) -> None:
        """Keep the connection, or close it in the middle of a transaction."""
        if self.is_closed() or self.is_in_transaction():
            await super().close(timeout=timeout)
        else:
            await end_session(self)
            while self._watchers:
                self._watchers.pop()()
            self.keeper.add(self)

    def terminate(self) -> None:
        """Cut the connection, unless it is kept."""
        if not self.is_kept:
            super().terminate()


class KeptConnections:
    """The connections to a database that no pool uses at the moment."""

    def __init__(self) -> None:
        self._kept: list[KeptConnection] = []

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let the pools that are opened in the block use kept connections, and keep theirs."""
        with patch.object(connections, "open_connection", self._open):
            yield

    async def _open(self, **options: Any) -> asyncpg.Connection:
        """Return the connection that was kept last with these arguments, or else a new one."""
        loop = asyncio.get_running_loop()
        for connection in reversed(self._kept):
            if (connection.options, connection.loop) == (options, loop):
                self._kept.remove(connection)
                connection.is_kept = False
                if not connection.is_closed():
                    return connection
        opened = cast(
            "KeptConnection", await open_connection(**options, connection_class=KeptConnection)
        )
        opened.options, opened.loop, opened.keeper, opened._watchers = options, loop, self, []
        return opened

    def add(self, connection: KeptConnection) -> None:
        """Keep a connection whose session has ended."""
        connection.is_kept = True
        self._kept.append(connection)
        if len(self._kept) > MAX_KEPT:
            self._cut(self._kept.pop(0))

    def cut(self) -> None:
        """Cut all connections."""
        while self._kept:
            self._cut(self._kept.pop())

    def _cut(self, connection: KeptConnection) -> None:
        connection.is_kept = False
        connection.terminate()


async def end_session(connection: asyncpg.Connection) -> None:
    """Leave nothing of the session of a test to the next one."""
    await connection.reset()
    await connection.execute("RESET SESSION AUTHORIZATION; DISCARD TEMP")
