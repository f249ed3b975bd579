"""The change feed: consumers follow the audit log, and the database keeps the place of each.

Callers use it as `audit.follow`, `audit.consumers` and `audit.forget_consumer`.

Ids are given out in one order, and transactions commit in another one: an entry may become visible
after an entry with a higher id. A transaction that has written to the log holds a lock on the table
until it ends. A follower therefore looks for the highest visible id first, and for the transactions
with such a lock then. When these have ended, no entry with a lower id can appear any more, and the
follower tells all changes up to this id, in the order of their ids.
"""

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from community_directory.database import Statement, engine
from community_directory.database.limits import call_limit
from community_directory.database.pool import CallGuard, close_connection
from community_directory.errors import (
    ConsumerInUse,
    DatabaseUnavailable,
    InvalidInput,
    NotConnected,
    database_errors,
)
from community_directory.queries.changes import CHANGE_COLUMNS, Change

__all__ = ["Consumer", "Follower", "consumers", "follow", "forget_consumer", "open_followers"]

logger = logging.getLogger(__name__)

CHANNEL = "directory_audit_log"
"""The channel on which a trigger notifies followers."""
POLL_INTERVAL_SECONDS = 1.0
"""The interval at which a follower looks for changes without a notification."""
LOCK_INTERVAL_SECONDS = 1.0
"""The interval at which a waiting follower tries to take over."""
MIN_WRITER_WAIT_SECONDS = 0.005
MAX_WRITER_WAIT_SECONDS = 0.25
"""The pause until a follower looks again for open transactions doubles up to the maximum."""
MIN_RETRY_PAUSE_SECONDS = 0.1
MAX_RETRY_PAUSE_SECONDS = 2.0
"""The pause after a lost connection doubles from the minimum to the maximum."""

CONSUMER_PATTERN = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
MAX_ID = 2**63 - 1

LOCK_KEY = "hashtextextended(:name::text, 1717921124)"
"""The SQL of the key of a consumer's advisory lock: the name, with "feed" in ASCII as the seed."""
TAKE_LOCK = Statement(f"SELECT pg_try_advisory_lock({LOCK_KEY})")
TAKE_TRANSACTION_LOCK = Statement(f"SELECT pg_try_advisory_xact_lock({LOCK_KEY})")
BEGIN = Statement("BEGIN")
CHECK_CONNECTION = Statement("SELECT")
DESCRIBE_SERVER = Statement("SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS is_standby")
DESCRIBE_SESSION = Statement("""
SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()
""")
END_SESSION = Statement("""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = :pid AND backend_start = :backend_start
""")

FIND_PLACE = Statement("SELECT last_id FROM directory_audit_consumers WHERE name = :name::text")
ADD_CONSUMER = Statement("""
INSERT INTO directory_audit_consumers (name, last_id) VALUES (:name::text, coalesce(
    :after_id::bigint,
    (SELECT min(id) - 1 FROM directory_audit_log
        WHERE changed_at > :after_time::timestamptz AND id <= :newest_id::bigint),
    :newest_id
)) RETURNING last_id
""")

# An INSERT takes this lock before the id of its row.
IS_WRITER = """locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
    AND relation = 'directory_audit_log'::regclass
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
"""A condition in SQL for a row of pg_locks: its transaction may have written to the log."""

# The snapshot, which decides what is visible, is older than the answer of pg_locks.
FIND_NEWEST_CHANGE = Statement(f"""
SELECT newest_id, ARRAY(SELECT virtualtransaction FROM pg_locks WHERE {IS_WRITER}) AS writers
FROM (SELECT max(id) AS newest_id FROM directory_audit_log) AS log WHERE newest_id > :last_id
""")
# A transaction that is prepared for a commit in two phases goes on under another name, without a
# process.
IS_ANY_WRITER_OPEN = Statement(f"""
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE {IS_WRITER} AND (virtualtransaction = ANY(:writers::text[]) OR pid IS NULL)
)
""")

# A power cut may lose the last confirmations, and so repeat changes: a flush of each would take
# longer than all the rest.
CONFIRM_AND_READ_NEXT = Statement(f"""
WITH confirmed AS (
    UPDATE directory_audit_consumers SET last_id = :last_id
    FROM (SELECT set_config('synchronous_commit', 'off', true)) AS setting
    WHERE name = :name::text AND last_id < :last_id
)
SELECT {CHANGE_COLUMNS} FROM directory_audit_log
WHERE id > :last_id AND id <= :final_id ORDER BY id LIMIT 1
""")

LIST_CONSUMERS = Statement("""
SELECT name, last_id, (
    SELECT changed_at FROM directory_audit_log WHERE id > last_id ORDER BY id LIMIT 1
) AS waiting_since
FROM directory_audit_consumers ORDER BY name
""")

FORGET_CONSUMER = Statement(f"""
WITH consumer AS MATERIALIZED (
    -- the consumer, and whether nobody follows it
    SELECT name, pg_try_advisory_xact_lock({LOCK_KEY}) AS is_free
    FROM directory_audit_consumers WHERE name = :name::text
), forgotten AS (
    DELETE FROM directory_audit_consumers USING consumer
    WHERE directory_audit_consumers.name = consumer.name AND is_free
)
SELECT is_free FROM consumer
""")


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer of the change feed, and its place.

    Attributes:
        name: Its name.
        last_id: The id of the last change that it has dealt with, and of all before.
        waiting_since: The time of the oldest change that waits for it; None if there is none.
    """

    name: str
    last_id: int
    waiting_since: datetime | None


class Follower:
    """A reader of the changes for one consumer, which connects again by itself.

    Attributes:
        name: The name of the consumer.
        caught_up_at: The latest time of `time.monotonic` at which no change was waiting, or at
            which the follower became the reader; None before that.
    """

    def __init__(self, name: str, after: int | datetime | None) -> None:
        self.name = name
        self.caught_up_at: float | None = None
        self._after = after
        self._pool = engine.pool
        self._connection: asyncpg.Connection | None = None
        self._lock_holder: asyncpg.Connection | None = None
        """The connection that holds the lock in a transaction, if there is a pooler."""
        self._session: asyncpg.Record | None = None
        """The server's process of the last connection, which may outlive it and keep the lock."""
        self._last_id = 0
        """The id of the last change that was told."""
        self._final_id: int | None = None
        """The id up to which no further entry can appear; None before it is known."""
        self._woken = asyncio.Event()
        self._is_lost = False

    async def next_change(self) -> Change:
        """Confirm the change that was told before, and wait for the next one.

        Raises:
            NotConnected: The pool that was open at the beginning is closed.
        """
        pause = MIN_RETRY_PAUSE_SECONDS
        while True:
            self._check_pool()
            try:
                if self._connection is None:
                    await self._connect()
                    pause = MIN_RETRY_PAUSE_SECONDS
                return await self._read_next()
            except DatabaseUnavailable as error:
                if not self._is_lost:
                    logger.warning("The consumer %s waits for the database: %s", self.name, error)
                self._is_lost = True
                await self.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_PAUSE_SECONDS)

    async def close(self) -> None:
        """Close the connections, which releases the lock."""
        connections = [each for each in (self._connection, self._lock_holder) if each]
        self._connection = self._lock_holder = None
        await asyncio.gather(*map(close_connection, connections))

    async def _connect(self) -> None:
        """Open a connection, become the only reader, and find the consumer's place."""
        self._connection = await engine.get_new_connection()
        [server] = await self._fetch(DESCRIBE_SERVER)
        if server["is_standby"]:
            # A standby does not know which transactions are open.
            raise DatabaseUnavailable("The database server is a standby.")
        # A pooler gives each of its clients a number of its own.
        has_pooler = server["pid"] != self._connection.get_server_pid()
        if has_pooler:
            self._lock_holder = await engine.get_new_connection()
            await self._fetch(BEGIN, connection=self._lock_holder)
        await self._wait_for_lock()
        self._connection.add_termination_listener(self._wake)
        if not has_pooler:
            [self._session] = await self._fetch(DESCRIBE_SESSION)
            with self._guard(self._connection), database_errors():
                await self._connection.add_listener(CHANNEL, self._wake)
        self._last_id = await self._find_place()
        self._final_id = None
        self.caught_up_at = self.caught_up_at or time.monotonic()
        logger.info("The consumer %s follows from change %d", self.name, self._last_id)
        self._is_lost = False

    async def _wait_for_lock(self) -> None:
        take = TAKE_LOCK if self._lock_holder is None else TAKE_TRANSACTION_LOCK
        while True:
            [(taken,)] = await self._fetch(take, connection=self._lock_holder, name=self.name)
            if taken:
                return
            if self._session is not None:
                # The server would take half a minute to notice that the network has lost it.
                await self._fetch(END_SESSION, **self._session)
                self._session = None
                continue
            self.caught_up_at = None
            await asyncio.sleep(LOCK_INTERVAL_SECONDS)
            self._check_pool()

    async def _find_place(self) -> int:
        """Return the id of the last change that was dealt with, or add the consumer."""
        places = await self._fetch(FIND_PLACE, name=self.name)
        if not places:
            newest = await self._fetch(FIND_NEWEST_CHANGE, last_id=0)
            after_time = self._after if isinstance(self._after, datetime) else None
            if after_time and newest:
                # One of them may have written the first entry after this time.
                await self._wait_for_writers(newest[0]["writers"])
            places = await self._fetch(
                ADD_CONSUMER,
                name=self.name,
                after_id=None if after_time else self._after,
                after_time=after_time,
                newest_id=newest[0]["newest_id"] if newest else 0,
            )
        return int(places[0]["last_id"])

    async def _read_next(self) -> Change:
        while True:
            if self._final_id is None:
                self._final_id = await self._find_final_id()
            records = await self._fetch(
                CONFIRM_AND_READ_NEXT,
                name=self.name,
                last_id=self._last_id,
                final_id=self._final_id,
            )
            if records:
                # After the confirmation: a change that took longer than the lock is not repeated.
                await self._check_lock()
                change = Change.from_record(records[0])
                self._last_id = change.id
                return change
            self._last_id, self._final_id = self._final_id, None

    async def _find_final_id(self) -> int:
        """Wait for a change that was not told, and for the transactions that may precede it."""
        while True:
            self._check_pool()
            self._woken.clear()
            await self._check_lock()
            began = time.monotonic()
            records = await self._fetch(FIND_NEWEST_CHANGE, last_id=self._last_id)
            if records:
                await self._wait_for_writers(records[0]["writers"])
                return int(records[0]["newest_id"])
            self.caught_up_at = began
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_INTERVAL_SECONDS):
                    await self._woken.wait()

    async def _wait_for_writers(self, writers: list[str]) -> None:
        pause = MIN_WRITER_WAIT_SECONDS
        while writers:
            [(is_open,)] = await self._fetch(IS_ANY_WRITER_OPEN, writers=writers)
            if not is_open:
                return
            await asyncio.sleep(pause)
            self._check_pool()
            pause = min(2 * pause, MAX_WRITER_WAIT_SECONDS)

    async def _check_lock(self) -> None:
        """Raise DatabaseUnavailable if a connection of its own held the lock, and is lost."""
        if self._lock_holder is not None:
            await self._fetch(CHECK_CONNECTION, connection=self._lock_holder)

    async def _fetch(
        self,
        statement: Statement,
        *,
        connection: asyncpg.Connection | None = None,
        **values: object,
    ) -> list[asyncpg.Record]:
        used = connection or self._connection
        assert used  # noqa: S101  for mypy
        with self._guard(used), database_errors():
            records: list[asyncpg.Record] = await used.fetch(
                statement.sql, *statement.arguments(values)
            )
        return records

    def _guard(self, connection: asyncpg.Connection) -> CallGuard:
        return CallGuard(connection, None, asyncio.get_running_loop().time() + call_limit())

    def _check_pool(self) -> None:
        if self._pool is None or engine.pool is not self._pool:
            raise NotConnected

    def _wake(self, *_: object) -> None:
        self._woken.set()


open_followers: set[Follower] = set()
"""The followers whose loops have begun and not ended."""


async def follow(
    consumer: str, *, after: int | datetime | None = None
) -> AsyncGenerator[Change, None]:
    """Tell a consumer every change of the audit log that is committed, by whichever program.

    The loop waits for the next change, and never ends by itself:

        async for change in audit.follow("greeter"):
            if change.kind is audit.ChangeKind.MEMBER_APPROVED:
                await greet(change.member_id)

    Each change is told at least once. It is confirmed when the loop asks for the next one: a
    program that ends in the middle of a change is told that change again when it starts. A server
    that crashes may forget the confirmations of its last second. The changes have the order of
    their ids, in which a row's changes were made. A transaction that has written to the log holds
    back all changes that were written after, until it ends.

    A change is told within a second of its commit, and usually after milliseconds: PostgreSQL
    notifies the follower, which also looks each second. The follower has a connection of its own,
    which is not one of the pool. When it is lost, the follower connects again, with pauses of up to
    two seconds. It continues after the last confirmed change.

    A consumer has one reader at a time. Another loop for the same consumer, in any process, waits,
    and takes over within two seconds when the first one has ended.

    A loop that is left by `break` stays the reader until Python deletes the generator: use
    `contextlib.aclosing` to end it at once.

    Args:
        consumer: The name of the consumer, under which the database keeps its place: 1 to 63
            lower-case letters, digits, dots, dashes and underscores, beginning with a letter. It is
            in logs and metrics.
        after: Where a new consumer begins: after the change with this id (0: with the first one of
            the log), or with the changes after this time. Without it, the consumer begins with
            the changes that are written from now on. A consumer that the database knows continues
            at its place, whatever `after` is.

    Raises:
        InvalidInput: The name has another form, or `after` is neither an id nor an aware datetime.
        NotConnected: No connection pool is open, or the one that was open at the beginning of the
            loop has been closed.
        NotAllowed: The database role may not read the log or write the place.
        SchemaMissing: The migrations have not run.
    """
    follower = Follower(_checked_name(consumer), _checked_start(after))
    open_followers.add(follower)
    try:
        while True:
            yield await follower.next_change()
    finally:
        open_followers.discard(follower)
        await follower.close()


async def consumers() -> list[Consumer]:
    """List the consumers of the change feed by name, each with its place.

    A consumer that nobody follows any more stays in the list until it is forgotten.
    """
    return [Consumer(**record) for record in await engine.fetch(LIST_CONSUMERS)]


async def forget_consumer(consumer: str) -> bool:
    """Forget the place of a consumer, and return whether there was one.

    When the consumer is followed again, it is a new one.

    Raises:
        ConsumerInUse: A program follows this consumer at the moment.
        InvalidInput: The name has another form than those of consumers.
    """
    name = _checked_name(consumer)
    records = await engine.fetch(FORGET_CONSUMER, name=name)
    if records and not records[0]["is_free"]:
        raise ConsumerInUse(name)
    return bool(records)


def _checked_name(consumer: str) -> str:
    if not CONSUMER_PATTERN.fullmatch(consumer):
        raise InvalidInput(
            "The name of a consumer has up to 63 lower-case letters, digits, dots, dashes and "
            "underscores, and begins with a letter.",
            field="consumer",
        )
    return consumer


def _checked_start(after: int | datetime | None) -> int | datetime | None:
    is_id = type(after) is int and 0 <= after <= MAX_ID
    is_time = isinstance(after, datetime) and after.utcoffset() is not None
    if after is not None and not is_id and not is_time:
        raise InvalidInput(
            "A consumer begins after the id of a change, or after a time with a time zone.",
            field="after",
        )
    return after
