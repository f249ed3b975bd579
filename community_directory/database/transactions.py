"""Transactions: a task keeps a connection of the pool until it commits or rolls back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Self

import asyncpg
from piccolo.engine.postgres import PostgresTransaction

from community_directory.database.limits import call_limit, is_long_running, server_limits
from community_directory.database.pool import (
    CONNECTION_ERRORS,
    CallGuard,
    ConnectionPool,
    close_connection,
)
from community_directory.errors import DirectoryError, TransactionFailed, database_errors

if TYPE_CHECKING:
    from community_directory.database.connections import DirectoryEngine

ROLLBACK_TIMEOUT_SECONDS = 1
"""The longest time that a failed transaction waits for its rollback; then its connection is cut."""
SHORT_LIMITS = "SET LOCAL statement_timeout TO DEFAULT; SET LOCAL lock_timeout TO DEFAULT"

CONCURRENT_CALLS_MESSAGE = (
    "Two calls run at once in one transaction. "
    "Await one after the other, or give each a transaction of its own."
)


class DirectoryTransaction(PostgresTransaction):
    """A transaction that returns its connection to the pool even if COMMIT or the connection fails.

    Inside another transaction it is a savepoint. One task at a time can use it, and nothing can use
    it after its end. (Piccolo's own class never returns the connection when COMMIT fails or the
    connection dies. It does nothing inside another transaction, so that the writes of an inner
    block survive the failure of that block.)

    Attributes:
        connection: The connection of asyncpg that the transaction uses.
        ended: Whether the block of the transaction has ended.
    """

    __slots__ = (
        "_at_end",
        "_busy",
        "_finished",
        "_had_long_limits",
        "_has_long_limits",
        "_innermost",
        "_outer",
        "_pool",
        "_root",
        "ended",
    )

    engine: "DirectoryEngine"

    def __init__(self, engine: "DirectoryEngine", allow_nested: bool = True) -> None:
        # The context of a task may still refer to a transaction that has ended.
        self._outer = engine.find_open_transaction()
        engine.current_transaction.set(self._outer)
        super().__init__(engine, allow_nested)
        self._root: DirectoryTransaction = self if self._outer is None else self._outer._root
        self._pool: ConnectionPool | None = None
        self._innermost = self
        self._at_end: list[Callable[[], None]] = []
        self._has_long_limits = False
        self._had_long_limits = self._root._has_long_limits
        self._busy = self._finished = self.ended = False

    @property
    def outer(self) -> "DirectoryTransaction | None":
        """The transaction or savepoint around this savepoint; None for a transaction."""
        return self._outer

    async def __aenter__(self) -> Self:
        deadline = await self.engine.begin_call()
        if self._outer is not None:
            self._outer._check_usable()
            self.connection, self._pool = self._outer.connection, self._outer._pool
        else:
            with database_errors():
                self._pool, self.connection = await self.engine.acquire()
        try:
            self.transaction = self.connection.transaction()
            with self._use_exclusively(deadline), database_errors():
                await self.transaction.start()
                await self._match_limits()
        except BaseException:
            await self._release(clean=False)
            raise
        self._root._innermost = self
        self.engine.current_transaction.set(self)
        return self

    async def __aexit__(
        self, exception_type: object, exception: object, traceback: object
    ) -> Literal[False]:
        try:
            if not self._finished:
                await self._end(exception)
        finally:
            self.ended = True
            if self._outer is not None:
                self._root._innermost = self._outer
            self.engine.current_transaction.set(self._outer)
            await self._release(clean=self._finished)
        return False

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """Run one statement in this transaction.

        Raises:
            TransactionFailed: The transaction has ended, or another task uses it at the moment.
        """
        with self.limit_time():
            if is_long_running() is not self._root._has_long_limits:
                await self._match_limits()
            records: list[asyncpg.Record] = await self.connection.fetch(sql, *arguments)
        return records

    async def commit(self) -> None:
        """Commit now; the transaction then accepts no more statements.

        Raises:
            TransactionFailed: An earlier statement failed, so that nothing can be stored.
        """
        await self._finish(self._commit, call_limit())

    async def rollback(self) -> None:
        """Roll back now; the transaction then accepts no more statements."""
        await self._finish(self._roll_back, call_limit())

    def call_at_end(self, function: Callable[[], None]) -> None:
        """Call a function when the transaction around all savepoints has ended, in either way.

        The function must not raise an error, wait, or use the database.
        """
        self._root._at_end.append(function)

    def limit_time(self) -> AbstractContextManager[None]:
        """Return a context for one call on `connection`: it ends in time, as `fetch` does.

        If it does not, or is cancelled, the connection is cut, and the transaction rolled back.

        Raises:
            TransactionFailed: The transaction has ended, or another task uses it at the moment.
        """
        self._check_usable()
        return self._use_exclusively(asyncio.get_running_loop().time() + call_limit())

    async def _end(self, exception: object) -> None:
        if exception is not None and not isinstance(exception, Exception):
            # The task is cancelled: a rollback could wait for a server that does not answer.
            self.connection.terminate()
            return
        try:
            if exception is None:
                await self.commit()
        finally:
            if not self._finished and not self.connection.is_closed():
                # A dead connection can't roll back; the caller sees the original exception.
                with contextlib.suppress(*CONNECTION_ERRORS, DirectoryError):
                    await self._finish(self._roll_back, ROLLBACK_TIMEOUT_SECONDS)

    async def _finish(self, command: Callable[[], Awaitable[None]], seconds: float) -> None:
        self._check_usable()
        deadline = asyncio.get_running_loop().time() + seconds
        with database_errors(), self._use_exclusively(deadline):
            await command()
        self._finished = True

    async def _commit(self) -> None:
        # For a failed transaction, COMMIT silently rolls back, but this statement raises an error.
        await self.connection.fetch("SELECT")
        await self.transaction.commit()

    async def _roll_back(self) -> None:
        await self.transaction.rollback()
        self._root._has_long_limits = self._had_long_limits

    async def _match_limits(self) -> None:
        """Give the server's limits the length that `long_running` asks for."""
        is_long = is_long_running()
        if is_long is not self._root._has_long_limits:
            limits = server_limits(is_long=True).items()
            long_limits = "; ".join(f"SET LOCAL {name} = '{limit}'" for name, limit in limits)
            await self.connection.execute(long_limits if is_long else SHORT_LIMITS)
            self._root._has_long_limits = is_long

    def _check_usable(self) -> None:
        if self._root.ended:
            raise TransactionFailed(
                "The transaction around this savepoint has ended. Begin a new one."
            )
        if self._finished:
            raise TransactionFailed(
                "This transaction was committed or rolled back. Begin a new one."
            )
        if self._root._innermost is not self:
            raise TransactionFailed(CONCURRENT_CALLS_MESSAGE)

    @contextlib.contextmanager
    def _use_exclusively(self, deadline: float) -> Iterator[None]:
        """Cut the connection at the deadline; refuse a second call while one is running.

        Raises:
            TransactionFailed: Another call is running.
        """
        if self._root._busy:
            raise TransactionFailed(CONCURRENT_CALLS_MESSAGE)
        self._root._busy = True
        try:
            with CallGuard(self.connection, self._pool, deadline):
                yield
        except CONNECTION_ERRORS as error:
            if self._root.ended:
                raise TransactionFailed(
                    "The transaction ended during this call. Await the call inside the transaction."
                ) from error
            raise
        finally:
            self._root._busy = False

    async def _release(self, *, clean: bool) -> None:
        if self._outer is not None:
            return
        for function in self._at_end:
            function()
        if self.engine.replicas is not None:
            self.engine.replicas.note_write()
        if self._pool is not None:
            self._pool.release(self.connection, clean=clean)
        elif clean:
            await close_connection(self.connection)
        else:
            self.connection.terminate()
