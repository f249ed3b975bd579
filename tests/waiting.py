"""Waiting for what others do, by looking again and again: a test that slept would guess how long.

The time after which these give up is as long as the slowest program may take on a busy machine. It
only decides how late a test fails that waits in vain.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from community_directory.database import transaction
from tests.tables import rows

SECONDS = 60
LOOK_AGAIN_SECONDS = 0.01

Result = TypeVar("Result")


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def until_sessions(connection: rows.Database, expression: str, *arguments: object) -> Any:
    """Wait until an aggregate of the other sessions of this database is true, and return it.

    The expression is in SQL, on `pg_stat_activity`. Workers of the server, such as those of
    autovacuum, never count.
    """
    async with asyncio.timeout(SECONDS):
        while not (found := await _look(connection, expression, *arguments)):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
    return found


async def _look(connection: rows.Database, expression: str, *arguments: object) -> Any:
    # A transaction reads the statistics once, unless the snapshot is cleared.
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    return await connection.fetchval(
        f"""
        SELECT {expression} FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
            AND pid <> pg_backend_pid()
        """,
        *arguments,
    )


async def until_waiting(connection: rows.Database, number: int = 1) -> None:
    """Wait until at least that many other sessions wait for a lock."""
    await until_sessions(
        connection, "count(*) FILTER (WHERE wait_event_type = 'Lock') >= $1", number
    )


async def until_blocked_by(blocker: asyncpg.Connection | PoolConnectionProxy) -> None:
    """Wait until another session waits for a lock that this one holds."""
    await until_sessions(blocker, "bool_or(pg_backend_pid() = ANY(pg_blocking_pids(pid)))")


async def until_ended_or_waiting(
    work: asyncio.Future[Any], connection: rows.Database, number: int = 1
) -> None:
    """Wait until the work has ended, or at least that many other sessions wait for a lock.

    A session that was just given its lock counts no more, though it may not have noticed yet.
    """
    waiting = "count(*) FILTER (WHERE cardinality(pg_blocking_pids(pid)) > 0) >= $1"

    async def has_ended_or_waits() -> bool:
        return work.done() or bool(await _look(connection, waiting, number))

    await until(has_ended_or_waits)


async def start_during(
    directory: asyncpg.Pool, change: Awaitable[object], call: Coroutine[Any, Any, Result]
) -> asyncio.Task[Result]:
    """Start a call that waits for a change, and return it when the change is committed."""
    async with transaction():
        await change
        waiting = asyncio.create_task(call, context=Context())
        await until_waiting(directory)
    return waiting
