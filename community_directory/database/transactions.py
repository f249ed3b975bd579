"""Transactions: a connection of the pool that one task uses until it commits or rolls back."""

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
"""How long a failed transaction waits for its rollback before it cuts the connection."""

TWO_TASKS = "Two calls at once in one transaction: await one after the other, or give each a transaction of its own."


class DirectoryTransaction(PostgresTransaction):
    """A transaction that gives its connection back whatever fails.

    Inside another transaction it is a savepoint. One task uses it at a time, and nothing uses it
    once it has ended. (Piccolo's own keeps the connection for good when COMMIT fails or the
    connection dies, and does nothing inside another one, so that inner writes survive an inner
    failure.)
    """

    __slots__ = ("_busy", "_finished", "_innermost", "_outer", "_pool", "_root", "ended")

    engine: "DirectoryEngine"

    def __init__(self, engine: "DirectoryEngine", allow_nested: bool = True) -> None:
        # A task keeps the context of a transaction that has ended; it counts no longer.
        self._outer = engine.open_transaction()
        engine.current_transaction.set(self._outer)
        super().__init__(engine, allow_nested)
        self._root: DirectoryTransaction = self if self._outer is None else self._outer._root
        self._pool: LeasedPool | None = None
        self._innermost = self
        self._busy = self._finished = self.ended = False

    @property
    def outer(self) -> "DirectoryTransaction | None":
        """The transaction around this savepoint."""
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
            with self._one_call(), database_errors():
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
                await self._commit_or_undo(commit=exception is None)
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
            TransactionFailed: It was rolled back, or another task uses it at this moment.
        """
        self._check_usable()
        with self._one_call():
            records: list[asyncpg.Record] = await self.connection.fetch(sql, *arguments)
        return records

    async def commit(self) -> None:
        """Commit at once; nothing more can be done in this transaction.

        Raises:
            TransactionFailed: A step was refused before, so that nothing can be stored.
        """
        # PostgreSQL answers COMMIT of a failed transaction with a silent ROLLBACK.
        with database_errors():
            await self.fetch("SELECT")
        await self._finish(self.transaction.commit)

    async def rollback(self) -> None:
        """Undo what was done so far, at once; nothing more can be done in this transaction."""
        await self._finish(self.transaction.rollback)

    async def _commit_or_undo(self, *, commit: bool) -> None:
        try:
            if commit:
                await self.commit()
        finally:
            if not self._finished:
                # A dead connection can't roll back: the original exception matters, not this one.
                with contextlib.suppress(*CONNECTION_ERRORS, DirectoryError):
                    async with asyncio.timeout(ROLLBACK_TIMEOUT_SECONDS):
                        await self.rollback()

    async def _finish(self, command: Callable[[], Awaitable[None]]) -> None:
        self._check_usable()
        with self._one_call(), database_errors():
            await command()
        self._finished = True

    def _check_usable(self) -> None:
        if self._root.ended:
            raise TransactionFailed("The transaction around this savepoint has ended.")
        if self._finished:
            raise TransactionFailed(
                "This transaction was committed or rolled back: nothing more can be done in it."
            )
        if self._root._innermost is not self:
            raise TransactionFailed(TWO_TASKS)

    @contextlib.contextmanager
    def _one_call(self) -> Iterator[None]:
        """Refuse a second call on the connection while one is under way."""
        if self._root._busy:
            raise TransactionFailed(TWO_TASKS)
        self._root._busy = True
        try:
            yield
        except CONNECTION_ERRORS as error:
            if self._root.ended:
                raise TransactionFailed("The transaction ended during this call.") from error
            raise
        finally:
            self._root._busy = False

    async def _release(self, *, clean: bool) -> None:
        if self._outer is not None:
            return
        # The transaction has succeeded or failed by now: a connection that dies on its way home
        # changes nothing.
        with contextlib.suppress(*CONNECTION_ERRORS):
            if self._pool is None:
                await self.connection.close()
            else:
                await self._pool.release(self.connection, clean=clean)
