"""The recorder: stores a stream of events in batches, through short outages of the database.

Callers open it with `participation.recorder()`.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, takewhile
from types import TracebackType
from typing import Self

from community_directory.database import engine
from community_directory.errors import NotConnected, OperatorError, sanitize_for_message
from community_directory.queries.events import (
    BATCH_SIZE,
    Batch,
    NewEvent,
    PreparedEvent,
    Recorded,
    prepare,
)

logger = logging.getLogger(__name__)

FLUSH_EVENTS = 200
FLUSH_SECONDS = 0.25
"""A batch is sent when so many events wait, or when the oldest has waited so long."""
TRY_SECONDS = 10
"""How long one try to store a batch may take; a lock or a silent network could hold it for ever."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""The pause after a failed try doubles from the first value to the second."""
CANCEL_SECONDS = 1
"""How long the end of the block waits for a cancelled try to give its connection back."""


class RecorderFull(OperatorError):
    """The recorder holds as many events as it may: the event was dropped.

    This happens when the database is away, or slower than the events come.
    """

    code = "recorder_full"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The recorder holds {limit:,} events that are not stored yet: this one was dropped."
        )
        self.limit = limit


class RecorderGaveUp(OperatorError):
    """The recorder has ended with `events` that were not stored, as far as it knows.

    A try whose answer was lost may have stored some of them all the same. `record_many` stores them
    later, and counts those with a `source_id` once.
    """

    code = "recorder_gave_up"

    def __init__(self, events: list[NewEvent]) -> None:
        super().__init__(f"{_counted(len(events))} could not be stored.")
        self.events = events


@dataclass(slots=True)
class _Pending:
    """An event that waits."""

    prepared: PreparedEvent
    added_at: float
    tried: bool = False
    settled: asyncio.Future[None] | None = None
    """Whoever flushes waits for this."""


class Recorder:
    """Stores events in batches: each once, in the order of `add`, in transactions of its own.

    A batch is sent when 200 events wait or the oldest has waited 250 ms. While the database is away
    it is sent again and again, with growing pauses. No try stores an event twice, not even one
    without a `source_id`, because all tries use the same row ids.

    The counters: `stored`, `duplicates` (they were there before), `unknown` (their member is not in
    the directory), `refused` (the database can't hold them; the log says why), `dropped` (the
    recorder was full), and `retried` (how often an event was part of a failed try).

    No event is lost silently. An event that was added is stored or counted by one of the counters,
    or it is in `unsaved`: there are those that could not be stored for `give_up_after` seconds, and
    at the end of the block what was left. Take them out of that list to keep them elsewhere;
    while they are in it they count as pending. The end of the block raises `RecorderGaveUp` with
    them, unless another exception (such as a cancellation) is already on its way.

    A killed process (`kill -9`, a power cut) loses the events that were added and not committed:
    those of the last 250 ms or the last 200, and the batch that was under way; while the database
    is away or slow, all that wait. Platforms that deliver an event again make up for it, if it has
    a `source_id`.

    The recorder belongs to the `connect()` that was open when the block began, and to its event
    loop. It uses one connection of the pool at a time. A transaction of the caller neither holds
    its events back nor takes them back.
    """

    def __init__(self, *, max_pending: int, give_up_after: float, close_timeout: float) -> None:
        self.stored = 0
        self.duplicates = 0
        self.unknown = 0
        self.refused = 0
        self.dropped = 0
        self.retried = 0
        self.unsaved: list[NewEvent] = []
        self._max_pending = max_pending
        self._give_up_after = give_up_after
        self._close_timeout = close_timeout
        self._pending: deque[_Pending] = deque()
        self._any = asyncio.Event()
        """Set while events wait."""
        self._due = asyncio.Event()
        """Set when they shall not wait any longer."""
        self._worker: asyncio.Task[None] | None = None
        """None before the block and after it."""
        self._pool: object = None
        self._last_error: Exception | None = None

    async def __aenter__(self) -> Self:
        if engine.pool is None:
            raise NotConnected
        self._pool = engine.pool
        loop = asyncio.get_running_loop()
        self._worker = loop.create_task(self._run(), context=_context_without_transaction())
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        worker, self._worker = self._open_worker(), None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._close_timeout):
                    await self._flush(worker)
        finally:
            worker.cancel()
            if self._pending and not self._pending[0].tried:
                self._last_error = TimeoutError("The recorder ended before its first try did.")
            self._give_up(len(self._pending))
            await asyncio.wait({worker}, timeout=CANCEL_SECONDS)
        if self.unsaved and exception is None:
            raise RecorderGaveUp(self.unsaved) from self._last_error

    def add(self, event: NewEvent) -> None:
        """Take an event, and return at once. Without a time it happens now, whenever it is stored.

        Raises `InvalidInput` for an event that can be seen to be wrong, `RecorderFull`, and
        `NotConnected` outside the block.
        """
        self._open_worker()
        if len(self._pending) + len(self.unsaved) >= self._max_pending:
            self.dropped += 1
            raise RecorderFull(self._max_pending)
        prepared = prepare(event, default_time=datetime.now(UTC))
        self._pending.append(_Pending(prepared, asyncio.get_running_loop().time()))
        self._any.set()
        if len(self._pending) >= FLUSH_EVENTS:
            self._due.set()

    async def flush(self) -> None:
        """Store what was added until now, and return when it is stored, refused or given up.

        Raises `NotConnected` outside the block.
        """
        await self._flush(self._open_worker())

    def _open_worker(self) -> asyncio.Task[None]:
        if self._worker is None:
            raise NotConnected("A recorder works inside its block: `async with recorder() as …:`.")
        return self._worker

    async def _flush(self, worker: asyncio.Task[None]) -> None:
        if not self._pending:
            return
        last = self._pending[-1]
        if last.settled is None:
            last.settled = asyncio.get_running_loop().create_future()
        self._due.set()
        # The worker ends early when the event loop cancels all tasks.
        await asyncio.wait({last.settled, worker}, return_when=asyncio.FIRST_COMPLETED)

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._wait_until_due()
            if await self._try_to_store():
                pause = FIRST_PAUSE
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _wait_until_due(self) -> None:
        await self._any.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._pending[0].added_at + FLUSH_SECONDS):
                await self._due.wait()

    async def _try_to_store(self) -> bool:
        """Send the oldest events. They stay in the queue until they are known to be stored."""
        waiting = list(islice(self._pending, BATCH_SIZE))
        batch = Batch([each.prepared for each in waiting])
        failure: Exception | None = None
        try:
            self._check_connection()
            async with asyncio.timeout(TRY_SECONDS):
                await batch.store()
                if waiting[0].tried:
                    await batch.recognize_stored()
        except Exception as error:  # whatever it is, no event is lost for it
            failure = error
        worker = asyncio.current_task()
        if worker is not None and worker.cancelling():
            # Hidden by another error, such as of a connection that could not be given back.
            raise asyncio.CancelledError from failure
        if failure is not None:
            self._note_failure(waiting, failure)
            return False
        self._count(batch)
        self._forget(len(waiting))
        return True

    def _check_connection(self) -> None:
        if engine.pool is not self._pool:
            raise NotConnected("The connection that this recorder belongs to was closed.")

    def _note_failure(self, waiting: list[_Pending], error: Exception) -> None:
        if not waiting[0].tried:
            logger.warning("%s not stored yet: %r", _were(len(self._pending)), error)
        self._last_error = error
        self.retried += len(waiting)
        for each in waiting:
            each.tried = True
        # A connection that was closed doesn't come back.
        patience = 0 if isinstance(error, NotConnected) else self._give_up_after
        too_old = asyncio.get_running_loop().time() - patience
        self._give_up(
            sum(1 for _ in takewhile(lambda each: each.added_at <= too_old, self._pending))
        )

    def _count(self, batch: Batch) -> None:
        recorded = Recorded()
        batch.report(recorded)
        self.stored += len(recorded.inserted)
        self.duplicates += len(recorded.duplicates)
        self.unknown += len(recorded.unknown)
        self.refused += len(recorded.refused)
        for refused in recorded.refused:
            logger.warning(
                "An event of member %s was refused: %s",
                sanitize_for_message(refused.event.member_id),
                refused.error,
            )

    def _give_up(self, number: int) -> None:
        """Hand the oldest events back."""
        if number:
            logger.error("%s given up: %r", _were(number), self._last_error)
            self.unsaved += [each.prepared.event for each in islice(self._pending, number)]
            self._forget(number)

    def _forget(self, number: int) -> None:
        """Take the oldest events out of the queue, and tell whoever flushes."""
        for _ in range(number):
            settled = self._pending.popleft().settled
            if settled is not None:
                settled.set_result(None)
        if not self._pending:
            self._any.clear()
        if len(self._pending) < FLUSH_EVENTS:
            self._due.clear()


def _counted(number: int) -> str:
    return "1 event" if number == 1 else f"{number:,} events"


def _were(number: int) -> str:
    return f"{_counted(number)} {'was' if number == 1 else 'were'}"


def _context_without_transaction() -> Context:
    """Copy the caller's context, but for the transaction that they may be in."""
    context = copy_context()
    context.run(engine.current_transaction.set, None)
    return context
