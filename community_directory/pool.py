"""asyncpg's pool, without a statement and a task of its own between two calls: a short one takes half the time.

asyncpg resets a connection after every call. Here one that was left clean goes to the next call as it is. So nothing
that runs on this pool may leave anything behind in the session: no SET without LOCAL, no session-level advisory lock,
no temporary table, no LISTEN.
"""

import inspect
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy


class DirectoryPool(asyncpg.Pool):  # type: ignore[misc]  # asyncpg ships no types
    """An asyncpg pool that hands a clean connection on without resetting it.

    Any other (in the midst of a statement or a transaction, given up by its caller, worn out) goes the ordinary way.
    """

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  asyncpg's
        """Take a connection back."""
        if not self._is_clean(connection):
            await super().release(connection, timeout=timeout)
            return
        connection._con._on_release()
        holder = connection._holder
        holder._timeout = None
        holder._release()
        holder._setup_inactive_callback()

    def _is_clean(self, connection: Any) -> bool:
        """Whether asyncpg's own release would do nothing but reset it, and give it back."""
        if type(connection) is not PoolConnectionProxy or connection._con is None or self.is_closing():
            return False
        inner, holder = connection._con, connection._holder
        protocol = inner._protocol
        return bool(
            holder._pool is self
            and holder._generation == self._generation
            and protocol.queries_count < holder._max_queries
            and not inner.is_closed()
            and inner._top_xact is None
            and not protocol.is_in_transaction()
            and not protocol._is_cancelling()
            and not inner._stmt_exclusive_section._acquired
        )


def create_pool(**arguments: Any) -> DirectoryPool:
    """A pool that is still to be awaited, with the arguments and the defaults of `asyncpg.create_pool`."""
    parameters = inspect.signature(asyncpg.create_pool).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    return DirectoryPool(arguments.pop("dsn", None), **{**defaults, **arguments})
