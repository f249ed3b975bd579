"""The recorder stores a stream of events in batches, and survives short outages of the database.

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
from community_directory.logs import name_exception
from community_directory.observers import observers
from community_directory.queries.events import (
    BATCH_SIZE,
    EventBatch,
    NewEvent,
    PreparedEvent,
    Recorded,
    prepare_event,
)
from community_directory.queries.observation import observed

logger = logging.getLogger(__name__)

FLUSH_AFTER_EVENTS = 200
"""The number of waiting events at which a batch is sent."""
FLUSH_AFTER_SECONDS = 0.25
"""The time that the oldest event waits until a batch is sent."""
TRY_TIMEOUT_SECONDS = 10
"""The time limit of one try to store a batch, which may take several calls on the database."""
MIN_RETRY_PAUSE_SECONDS = 0.1
MAX_RETRY_PAUSE_SECONDS = 2.0
"""The pause after a failed try doubles from the minimum to the maximum."""
CANCEL_TIMEOUT_SECONDS = 1
"""The time that the end of the block waits until a cancelled try returns its connection."""

open_recorders: "set[Recorder]" = set()
"""The recorders whose blocks have begun and not ended."""


class RecorderFull(OperatorError):
    """The recorder contains `limit` events, its maximum, and has dropped another one.

    This happens while the database is not available, or stores events more slowly than they arrive.
    """

    code = "recorder_full"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The recorder is full: {limit:,} events are not stored. This event was dropped."
        )
        self.limit = limit


class RecorderGaveUp(OperatorError):
    """The recorder has ended with `events` that it could not store.

    A try whose response was lost may have stored some of them. Store all of them later with
    `record_many`: it stores those with a `source_id` once.
    """

    code = "recorder_gave_up"

    def __init__(self, events: list[NewEvent]) -> None:
        super().__init__(f"{_format_count(len(events))} could not be stored.")
        self.events = events


@dataclass(slots=True)
class _PendingEvent:
    """A waiting event; `added_at` is a time of the event loop's clock."""

    prepared: PreparedEvent
    added_at: float
    tried: bool = False
    settled: asyncio.Future[None] | None = None
    """The future for which calls of `flush` wait; None if there is no such call."""


class Recorder:
    """A queue of events that are stored in batches, in the background.

    Order and time:
        Each event is stored once, in the order of `add`, in transactions of the recorder's own. A
        batch is sent when 200 events wait, or when the oldest has waited 250 ms. While the database
        is not available, the recorder repeats the batch with growing pauses. No try stores an event
        twice, not even an event without a `source_id`, because all tries use the same row ids.

    No silent loss:
        Each added event is counted by one of the counters below, or is in `unsaved`. The end of the
        block raises `RecorderGaveUp` with the unsaved events, unless another exception (such as a
        cancellation) ends the block.

    A killed process:
        `kill -9` or a power cut loses the events that were added and not committed: those of the
        last 250 ms or the last 200, and the batch that was being stored. While the database is not
        available or slow, these are all waiting events. A platform that delivers events again
        repairs the loss; those with a `source_id` are still stored once.

    Connection:
        The recorder uses the connection pool that is open when the block begins, and the event loop
        of the block. It uses one connection of the pool at a time. A transaction of the caller
        neither delays its events nor rolls them back.

    Attributes:
        stored: The number of events that this recorder stored.
        duplicates: The number of events that were stored before.
        unknown: The number of events whose member is not in the directory.
        refused: The number of events that the database refused; the log has the reasons.
        dropped: The number of events that `add` dropped because the recorder was full.
        retried: The sum of the events of all failed tries.
        unsaved: The events that could not be stored for `give_up_after` seconds, and after the end
            of the block all events that were left. They count towards `max_pending` until the
            caller removes them from this list.
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
        self._pending: deque[_PendingEvent] = deque()
        self._has_events = asyncio.Event()
        """Set while events wait."""
        self._is_due = asyncio.Event()
        """Set when the waiting events must be sent at once."""
        self._worker: asyncio.Task[None] | None = None
        """The task that stores the events; None before the block and after it."""
        self._pool: object = None
        self._last_error: Exception | None = None

    async def __aenter__(self) -> Self:
        if engine.pool is None:
            raise NotConnected
        self._pool = engine.pool
        loop = asyncio.get_running_loop()
        self._worker = loop.create_task(self._run(), context=_copy_context_without_transaction())
        open_recorders.add(self)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        worker, self._worker = self._require_worker(), None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._close_timeout):
                    await self._flush(worker)
        finally:
            open_recorders.discard(self)
            worker.cancel()
            if self._pending and not self._pending[0].tried:
                self._last_error = TimeoutError("The recorder ended before its first try did.")
            self._give_up(len(self._pending))
            await asyncio.wait({worker}, timeout=CANCEL_TIMEOUT_SECONDS)
        if self.unsaved and exception is None:
            raise RecorderGaveUp(self.unsaved) from self._last_error

    @property
    def pending(self) -> int:
        """The number of events that wait, or are being stored."""
        return len(self._pending)

    @property
    def oldest_added_at(self) -> float | None:
        """The time of the event loop at which the oldest of them was added; None without any."""
        try:
            return self._pending[0].added_at
        except IndexError:
            return None

    def add(self, event: NewEvent) -> None:
        """Add an event to the queue, and return at once.

        An event without a time gets the current time, however much later it is stored.

        Raises:
            InvalidInput: A check without the database shows that the event can't be stored.
            RecorderFull: The recorder contains its maximum of events; this event was dropped.
            NotConnected: The call is outside the block.
        """
        self._require_worker()
        if len(self._pending) + len(self.unsaved) >= self._max_pending:
            self.dropped += 1
            _note_lost("dropped", 1)
            raise RecorderFull(self._max_pending)
        prepared = prepare_event(event, default_time=datetime.now(UTC))
        self._pending.append(_PendingEvent(prepared, asyncio.get_running_loop().time()))
        self._has_events.set()
        if len(self._pending) >= FLUSH_AFTER_EVENTS:
            self._is_due.set()

    async def flush(self) -> None:
        """Send all waiting events, and return when each of them is stored, refused or given up.

        Raises:
            NotConnected: The call is outside the block.
        """
        await self._flush(self._require_worker())

    def _require_worker(self) -> asyncio.Task[None]:
        if self._worker is None:
            raise NotConnected("Use a recorder inside its block: `async with recorder() as …:`.")
        return self._worker

    async def _flush(self, worker: asyncio.Task[None]) -> None:
        if not self._pending:
            return
        last = self._pending[-1]
        if last.settled is None:
            last.settled = asyncio.get_running_loop().create_future()
        self._is_due.set()
        # The worker ends early when the event loop cancels all tasks.
        await asyncio.wait({last.settled, worker}, return_when=asyncio.FIRST_COMPLETED)

    async def _run(self) -> None:
        pause = MIN_RETRY_PAUSE_SECONDS
        while True:
            await self._wait_until_due()
            if await self._try_to_store():
                pause = MIN_RETRY_PAUSE_SECONDS
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_PAUSE_SECONDS)

    async def _wait_until_due(self) -> None:
        await self._has_events.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._pending[0].added_at + FLUSH_AFTER_SECONDS):
                await self._is_due.wait()

    async def _try_to_store(self) -> bool:
        """Send the oldest events, and return whether the database has stored them.

        The events stay in the queue until the database confirms that they are stored.
        """
        waiting = list(islice(self._pending, BATCH_SIZE))
        batch = EventBatch([each.prepared for each in waiting])
        failure: Exception | None = None
        try:
            self._check_connection()
            async with asyncio.timeout(TRY_TIMEOUT_SECONDS):
                recorded = await _store(batch, again=waiting[0].tried)
        except Exception as error:  # no error of any kind may lose an event
            failure = error
        worker = asyncio.current_task()
        if worker is not None and worker.cancelling():
            # Another error, such as a failure to return the connection, replaced the cancellation.
            raise asyncio.CancelledError from failure
        if failure is not None:
            self._note_failure(waiting, failure)
            return False
        self._count(recorded)
        self._remove(len(waiting))
        return True

    def _check_connection(self) -> None:
        if engine.pool is not self._pool:
            raise NotConnected("The connection pool that this recorder uses was closed.")

    def _note_failure(self, waiting: list[_PendingEvent], error: Exception) -> None:
        if not waiting[0].tried:
            logger.warning(
                "%s not stored yet: %s",
                _format_count_with_verb(len(self._pending)),
                name_exception(error),
            )
        self._last_error = error
        self.retried += len(waiting)
        for each in waiting:
            each.tried = True
        # A closed pool never opens again.
        patience = 0 if isinstance(error, NotConnected) else self._give_up_after
        too_old = asyncio.get_running_loop().time() - patience
        self._give_up(
            sum(1 for _ in takewhile(lambda each: each.added_at <= too_old, self._pending))
        )

    def _count(self, recorded: Recorded) -> None:
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
        """Move the oldest events from the queue to `unsaved`."""
        if number:
            logger.error(
                "%s given up: %s",
                _format_count_with_verb(number),
                name_exception(self._last_error),
            )
            _note_lost("given_up", number)
            self.unsaved += [each.prepared.event for each in islice(self._pending, number)]
            self._remove(number)

    def _remove(self, number: int) -> None:
        """Remove the oldest events from the queue, and wake the calls of `flush`."""
        for _ in range(number):
            settled = self._pending.popleft().settled
            if settled is not None:
                settled.set_result(None)
        if not self._pending:
            self._has_events.clear()
        if len(self._pending) < FLUSH_AFTER_EVENTS:
            self._is_due.clear()


@observed("participation.recorder")
async def _store(batch: EventBatch, *, again: bool) -> Recorded:
    """Store a batch, and return the outcome for each event; `again` if an earlier try failed."""
    await batch.store()
    if again:
        await batch.recognize_stored()
    recorded = Recorded()
    batch.report(recorded)
    return recorded


def _note_lost(reason: str, number: int) -> None:
    for observer in observers:
        observer.events_lost(reason, number)


def _format_count(number: int) -> str:
    return "1 event" if number == 1 else f"{number:,} events"


def _format_count_with_verb(number: int) -> str:
    return f"{_format_count(number)} {'was' if number == 1 else 'were'}"


def _copy_context_without_transaction() -> Context:
    """Return a copy of the caller's context without the caller's transaction."""
    context = copy_context()
    context.run(engine.current_transaction.set, None)
    return context
