"""Transactions: a task keeps a connection of the pool until it commits or rolls back."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Literal, Self

import asyncpg
from piccolo.engine.postgres import PostgresTransaction

from community_directory.database.pool import CONNECTION_ERRORS, LeasedPool
from community_directory.errors import DirectoryError, TransactionFailed, database_errors

if TYPE_CHECKING:
    from community_directory.database.connections import DirectoryEngine

ROLLBACK_TIMEOUT_SECONDS = 5
"""The longest time that a failed transaction waits for its rollback; then its connection is cut."""

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

    __slots__ = ("_busy", "_finished", "_innermost", "_outer", "_pool", "_root", "ended")

    engine: "DirectoryEngine"

    def __init__(self, engine: "DirectoryEngine", allow_nested: bool = True) -> None:
        # The context of a task may still refer to a transaction that has ended.
        self._outer = engine.find_open_transaction()
        engine.current_transaction.set(self._outer)
        super().__init__(engine, allow_nested)
        self._root: DirectoryTransaction = self if self._outer is None else self._outer._root
        self._pool: LeasedPool | None = None
        self._innermost = self
        self._busy = self._finished = self.ended = False

    @property
    def outer(self) -> "DirectoryTransaction | None":
        """The transaction or savepoint around this savepoint; None for a transaction."""
        return self._outer

    async def __aenter__(self) -> Self:
        if self._outer is not None:
            self._outer._check_usable()
            self.connection = self._outer.connection
        else:
            with database_errors():
                self._pool, self.connection = await self.engine.acquire()
        try:
            self.transaction = self.connection.transaction()
            with self._use_exclusively(), database_errors():
                await self.transaction.start()
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
                await self._end(commit=exception is None)
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
        self._check_usable()
        with self._use_exclusively():
            records: list[asyncpg.Record] = await self.connection.fetch(sql, *arguments)
        return records

    async def commit(self) -> None:
        """Commit now; the transaction then accepts no more statements.

        Raises:
            TransactionFailed: An earlier statement failed, so that nothing can be stored.
        """
        # For a failed transaction, COMMIT silently rolls back, but this statement raises an error.
        with database_errors():
            await self.fetch("SELECT")
        await self._finish(self.transaction.commit)

    async def rollback(self) -> None:
        """Roll back now; the transaction then accepts no more statements."""
        await self._finish(self.transaction.rollback)

    async def _end(self, *, commit: bool) -> None:
        try:
            if commit:
                await self.commit()
        finally:
            if not self._finished:
                # A dead connection can't roll back; the caller sees the original exception.
                with contextlib.suppress(*CONNECTION_ERRORS, DirectoryError):
                    async with asyncio.timeout(ROLLBACK_TIMEOUT_SECONDS):
                        await self.rollback()

    async def _finish(self, command: Callable[[], Awaitable[None]]) -> None:
        self._check_usable()
        with self._use_exclusively(), database_errors():
            await command()
        self._finished = True

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
    def _use_exclusively(self) -> Iterator[None]:
        """Raise `TransactionFailed` for a second call while one is running."""
        if self._root._busy:
            raise TransactionFailed(CONCURRENT_CALLS_MESSAGE)
        self._root._busy = True
        try:
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
        # The outcome of the transaction is known, so an error of the connection no longer matters.
        with contextlib.suppress(*CONNECTION_ERRORS):
            if self._pool is None:
                await self.connection.close()
            else:
                await self._pool.release(self.connection, clean=clean)
