"""Replicas: standbys of the primary that answer queries which may be a moment old.

A watcher of each replica finds out, again and again, up to which moment it has every change of the
primary: it asks the primary for the end of its log (WAL), and the replica until it has replayed
that. All times are those of this process, so no clocks are compared, and a primary without writes
is no special case. A query goes to a replica only if that moment lies after the last write of this
process, and within the lag that is allowed. Whatever goes wrong there, the primary answers.
"""

import asyncio
import contextlib
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextvars import Context, ContextVar
from functools import lru_cache
from math import inf
from typing import NamedTuple

import asyncpg

from community_directory.database.pool import CONNECTION_ERRORS, ConnectionPool, run_call
from community_directory.errors import (
    DatabaseUnavailable,
    DirectoryError,
    UserError,
    database_errors,
)

REPLICA_SHARE = 0.5
"""The share of a call's time in which a replica must answer, so that the primary still can."""
CHECK_TIMEOUT_SECONDS = 1
"""The time in which a replica must answer a check."""
CHECK_PAUSE_SECONDS = 0.02
"""The shortest time between two checks of a replica, and between two questions of one check."""
FLUSH_SECONDS = 0.3
"""The time after which a check that still waits lets the primary send the end of its log."""
RETRY_SECONDS = 1
"""The time after which a replica that can't be used is checked again."""

PAGE_HEADER_BYTES, FILE_HEADER_BYTES = 24, 40
"""The lengths of the header of a page of the log, and of the first page of a file."""
NO_STANDBY_MESSAGE = "It is no standby; it may have been promoted."

# The time line of a standby follows at its restart points or before, so that a standby that was
# ahead of a new primary is not taken for one that follows it.
GET_STANDBY_POSITION = """
SELECT system_identifier,
    greatest(timeline_id, min_recovery_end_timeline) AS timeline,
    (pg_last_wal_replay_lsn() - '0/0')::bigint AS byte
FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
WHERE pg_is_in_recovery()
"""
GET_PRIMARY_POSITION = """
SELECT system_identifier,
    ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer AS timeline,
    (pg_current_wal_insert_lsn() - '0/0')::bigint AS byte,
    current_setting('wal_block_size')::integer AS page_size,
    pg_size_bytes(current_setting('wal_segment_size')) AS file_size
FROM pg_control_system() WHERE NOT pg_is_in_recovery()
"""

# A query may add to the log, too, and a primary without writes would keep that for itself for up to
# 15 seconds. The transaction id lets it send all of its log in some tenths of a second.
FLUSH_PRIMARY = """
SELECT pg_current_xact_id() WHERE pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()
"""

# A statement that is wrongly taken for a write only lets the primary answer for a moment. The
# functions of the schema "public" that statements name with it write with their owner's rights.
QUERY_PATTERN = re.compile(
    r"\s*(?:--[^\n]*\n\s*)*\(*(?:SELECT|WITH|EXPLAIN|SHOW|VALUES)\b", re.IGNORECASE
)
WRITE_PATTERN = re.compile(
    r"\b(?:INSERT|UPDATE|DELETE|MERGE|INTO)\b|\bpublic\.\w+\(", re.IGNORECASE
)

logger = logging.getLogger(__name__)
_is_primary_only: ContextVar[bool] = ContextVar("is_primary_only", default=False)

is_primary_only = _is_primary_only.get
"""Return whether the current task is inside `primary_only`."""


@contextlib.contextmanager
def primary_only() -> Iterator[None]:
    """Let the primary answer all queries inside, also those that may be a moment old.

    Use it for a query that must see what another process has just written.
    """
    token = _is_primary_only.set(True)
    try:
        yield
    finally:
        _is_primary_only.reset(token)


@lru_cache(maxsize=1000)
def is_write(sql: str) -> bool:
    """Return whether a statement may write."""
    return QUERY_PATTERN.match(sql) is None or WRITE_PATTERN.search(sql) is not None


class ReplicaUnusable(DatabaseUnavailable):
    """A replica is no standby of the primary, or is too far behind."""


class Position(NamedTuple):
    """A position in the log of a server.

    Attributes:
        system: The number that the server and its copies have in common.
        timeline: The number of the time line, which a promotion increases.
        byte: The number of bytes from the beginning of the log.
    """

    system: int
    timeline: int
    byte: int


class Replica:
    """A standby, and the moment up to which it is known to have every change of the primary.

    Attributes:
        name: The host and port.
        confirmed_at: This moment as a time of the event loop; minus infinity if it is unknown.
        is_wanted: Set when a query found no replica that is recent enough.
    """

    def __init__(self, name: str, pool: ConnectionPool) -> None:
        """Prepare the replica.

        Args:
            name: The host and port, for messages.
            pool: A pool of connections to this server alone.
        """
        self.name = name
        self.confirmed_at = -inf
        self.is_wanted = asyncio.Event()
        self._pool = pool

    async def fetch(
        self, sql: str, arguments: Sequence[object], deadline: float
    ) -> list[asyncpg.Record]:
        """Run one statement.

        Raises:
            ReplicaUnusable: The server has been promoted.
        """
        connection = await self._pool.acquire(deadline)
        records = await run_call(connection, self._pool, deadline, sql, arguments)
        # The server tells this before it ends its answer. A PgBouncer does not pass it on.
        if getattr(connection.get_settings(), "in_hot_standby", None) == "off":
            raise ReplicaUnusable(NO_STANDBY_MESSAGE)
        return records

    async def confirm(
        self, fetch_primary: Callable[[str], Awaitable[list[asyncpg.Record]]], max_lag: float
    ) -> None:
        """Wait until the replica has every change that the primary has now.

        Args:
            fetch_primary: A function that runs a query on the primary.
            max_lag: The longest wait in seconds.

        Raises:
            ReplicaUnusable: The replica does not follow the primary, or is behind.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        wanted = await _get_primary_position(fetch_primary)
        is_flushed = False
        while True:
            deadline = loop.time() + CHECK_TIMEOUT_SECONDS
            records = await self.fetch(GET_STANDBY_POSITION, (), deadline)
            if not records:
                raise ReplicaUnusable(NO_STANDBY_MESSAGE)
            found = Position(*records[0])
            if found[:2] != wanted[:2]:
                raise ReplicaUnusable("It does not follow the primary.")
            if found.byte >= wanted.byte:
                self.confirmed_at = started
                return
            if loop.time() - started > FLUSH_SECONDS and not is_flushed:
                await fetch_primary(FLUSH_PRIMARY)
                is_flushed = True
            elif loop.time() - started > max_lag:
                raise ReplicaUnusable(f"It is more than {max_lag:g} seconds behind.")
            await asyncio.sleep(CHECK_PAUSE_SECONDS)

    def distrust(self) -> None:
        """Stop using the replica until it is confirmed again."""
        self.confirmed_at = -inf
        self.is_wanted.set()

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109  as ConnectionPool.close
        """Close the pool; see `ConnectionPool.close`."""
        await self._pool.close(timeout)


class ReplicaSet:
    """The replicas of one primary."""

    def __init__(
        self,
        replicas: Iterable[Replica],
        fetch_primary: Callable[[str], Awaitable[list[asyncpg.Record]]],
        max_lag: float,
    ) -> None:
        """Begin to watch the replicas.

        Args:
            replicas: The replicas.
            fetch_primary: A function that runs a query on the primary.
            max_lag: The seconds that an answer may lack at most.
        """
        self._replicas = deque(replicas)
        self._fetch_primary = fetch_primary
        self._max_lag = max_lag
        self._written_at = -inf
        self._loop = asyncio.get_running_loop()
        # Without the context of the caller, which may have a transaction or a long time limit.
        self._watchers = [
            asyncio.create_task(self._watch(replica), context=Context())
            for replica in self._replicas
        ]

    def note_write(self) -> None:
        """Let the primary answer until a replica has what this process has written by now."""
        self._written_at = asyncio.get_running_loop().time()

    async def fetch(
        self, sql: str, arguments: Sequence[object], deadline: float
    ) -> list[asyncpg.Record] | None:
        """Run a query on a replica, or return None if the primary has to answer it.

        Args:
            sql: The query.
            arguments: Its values.
            deadline: The time of the event loop until which the replica must answer.
        """
        replica = self._choose()
        if replica is None:
            return None
        try:
            with database_errors():
                return await replica.fetch(sql, arguments, deadline)
        except UserError:
            return None
        except (DirectoryError, *CONNECTION_ERRORS):
            replica.distrust()
            return None

    async def find_problems(self) -> list[str]:
        """Check each replica now, and return what is wrong with those that can't be used."""
        replicas = list(self._replicas)
        # Without the transaction of the caller.
        checks = [
            asyncio.create_task(self._find_problem(replica), context=Context())
            for replica in replicas
        ]
        problems = await asyncio.gather(*checks)
        return [
            f"{replica.name}: {problem}"
            for replica, problem in zip(replicas, problems, strict=True)
            if problem
        ]

    def get_ages(self) -> dict[str, float]:
        """Return how many seconds ago each replica had every change; infinity if it is not used."""
        return {each.name: self._loop.time() - each.confirmed_at for each in list(self._replicas)}

    def stop_watching(self) -> None:
        """Stop the watchers, which need the pool of the primary."""
        for watcher in self._watchers:
            watcher.cancel()

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109  as ConnectionPool.close
        """Close the pools; see `ConnectionPool.close`."""
        await asyncio.gather(*(replica.close(timeout) for replica in self._replicas))

    def _choose(self) -> Replica | None:
        """Return the next replica that is recent enough, if there is one."""
        loop_time = asyncio.get_running_loop().time()
        oldest = max(loop_time - self._max_lag, self._written_at)
        for _ in range(len(self._replicas)):
            replica = self._replicas[0]
            self._replicas.rotate()
            if replica.confirmed_at > oldest:
                return replica
            replica.is_wanted.set()
        return None

    async def _watch(self, replica: Replica) -> None:
        """Confirm a replica whenever it was wanted, and often enough for the lag."""
        interval = min(self._max_lag / 2, RETRY_SECONDS)
        known_problem = None
        while True:
            problem = await self._find_problem(replica)
            if problem != known_problem:
                logger.warning("The replica %s: %s", replica.name, problem or "It is used again.")
                known_problem = problem
            if problem:
                await asyncio.sleep(interval)
            else:
                await asyncio.sleep(CHECK_PAUSE_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(interval):
                        await replica.is_wanted.wait()
            replica.is_wanted.clear()

    async def _find_problem(self, replica: Replica) -> str | None:
        """Confirm a replica, or return why it can't be used."""
        try:
            await replica.confirm(self._fetch_primary, self._max_lag)
        except (DirectoryError, *CONNECTION_ERRORS) as error:
            problem = str(error) or type(error).__name__
        except ValueError:
            # The message of the exception may quote a piece of a password.
            problem = "Its URL can't be used."
        else:
            return None
        replica.distrust()
        return problem


async def _get_primary_position(
    fetch_primary: Callable[[str], Awaitable[list[asyncpg.Record]]],
) -> Position:
    records = await fetch_primary(GET_PRIMARY_POSITION)
    if not records:
        raise ReplicaUnusable("The server of POSTGRES_URL is a standby itself.")
    system, timeline, byte, page_size, file_size = records[0]
    return Position(system, timeline, skip_header(byte, page_size, file_size))


def skip_header(byte: int, page_size: int, file_size: int) -> int:
    """Return the end of the last record, given the place where the next one will begin.

    The two differ if the last record fills its page: the next one begins behind the header of a
    page that is written with it, and no replica gets there before.
    """
    if byte % file_size == FILE_HEADER_BYTES:
        return byte - FILE_HEADER_BYTES
    return byte - PAGE_HEADER_BYTES if byte % page_size == PAGE_HEADER_BYTES else byte
