"""Participation events on their way into the database: their types, their checks, and the statement for many.

Callers use the types as `participation.NewEvent` and so on.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from community_directory.database import engine, transaction
from community_directory.errors import InvalidInput, text_too_long
from community_directory.queries.ids import new_id
from community_directory.queries.values import as_json, check_texts, id_text, member_number
from community_directory.tables import MemberParticipation

BATCH_SIZE = 1000
"""The events of one statement at the most."""
MAX_METADATA_LENGTH = 10_000
"""The characters of an event's metadata, as JSON, at the most."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = "now() + interval '1 day'"
"""The time of the last event that is accepted, in SQL: the clock that decides is the database's."""

DEDUPLICATION_KEY = "platform, room_id, source_id, event_type, member_id"
COLUMNS = "id, member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata"

# Members are found by arrays, because for a thousand rows of a join PostgreSQL would rather read
# all members, and by arrays that it works out itself, because of a given one it looks up each value
# in its statistics.
RECORD_MANY = f"""
WITH event AS MATERIALIZED (
    SELECT id, member_id, event_type, platform, room_id, source_id,
        coalesce(occurred_at, now()) AS occurred_at, event_metadata, n
    FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[]
    ) WITH ORDINALITY AS event({COLUMNS}, n)
), known AS MATERIALIZED (
    SELECT member_id, last_active_at FROM community_members
    WHERE member_id = ANY(ARRAY(SELECT member_id FROM event))
), inserted AS (
    INSERT INTO member_participation ({COLUMNS})
    SELECT {COLUMNS} FROM event JOIN known USING (member_id) WHERE occurred_at <= {LATEST}
    -- In one order, or two batches with the same events could wait for each other. Of duplicates
    -- the first is stored.
    ORDER BY {DEDUPLICATION_KEY}, n
    -- The id counts too: a batch that is sent again with the same ids stores nothing twice.
    ON CONFLICT DO NOTHING
    RETURNING id, member_id, occurred_at
), newest AS (
    SELECT member_id, least(max(occurred_at), now()) AS at FROM inserted GROUP BY member_id
), active AS MATERIALIZED (
    SELECT member_id, at, at - interval '1 minute' AS minute_before FROM newest JOIN known USING (member_id)
    WHERE last_active_at IS NULL OR last_active_at < at - interval '1 minute'
), locked AS MATERIALIZED (
    SELECT member_id FROM community_members WHERE member_id = ANY(ARRAY(SELECT member_id FROM active))
    FOR NO KEY UPDATE SKIP LOCKED
), followed AS (
    UPDATE community_members AS member SET last_active_at = active.at FROM active
    WHERE member.member_id = ANY(ARRAY(SELECT member_id FROM locked)) AND member.member_id = active.member_id
        -- Asked again, because another writer may have been quicker than the lock.
        AND (member.last_active_at IS NULL OR member.last_active_at < active.minute_before)
)
SELECT ARRAY(SELECT id FROM inserted), ARRAY(SELECT member_id FROM known),
    ARRAY(SELECT id FROM event WHERE occurred_at > {LATEST})
"""

STORED = "SELECT id FROM member_participation WHERE id = ANY($1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to record; the parameters of `record` say what the fields hold."""

    member_id: str | int
    event_type: str
    platform: str
    room_id: str | int
    source_id: str | int | None = None
    occurred_at: datetime | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that can't be stored, and why."""

    event: NewEvent
    error: InvalidInput


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of each event: every one of them is in one of the four lists."""

    inserted: list[NewEvent] = field(default_factory=list)
    duplicates: list[NewEvent] = field(default_factory=list)
    unknown: list[NewEvent] = field(default_factory=list)
    """Those of a member who is not in the directory."""
    refused: list[Refused] = field(default_factory=list)


Row = tuple[UUID, str, str, str, str, str | None, datetime | None, str | None]
"""An event's columns, as `COLUMNS` names them."""


class PreparedEvent(NamedTuple):
    """An event that was checked, and the row that stores it."""

    event: NewEvent
    row: Row


def prepare(event: NewEvent, *, default_time: datetime | None = None) -> PreparedEvent:
    """Check an event as far as Python can, and make its row. Raises `InvalidInput`.

    An event without a time gets the default one, or if that is None the time at which it is stored.
    """
    if not isinstance(event, NewEvent):
        raise InvalidInput("An event must be a NewEvent.")
    if event.occurred_at is not None:
        _check_time(event.occurred_at)
    elif default_time is not None:
        event = replace(event, occurred_at=default_time)
    metadata = as_json(event.metadata, field="metadata")
    if metadata is not None and len(metadata) > MAX_METADATA_LENGTH:
        raise text_too_long("metadata", len(metadata), MAX_METADATA_LENGTH)
    room_id = id_text(event.room_id, "room_id")
    source_id = None if event.source_id is None else id_text(event.source_id, "source_id")
    check_texts(
        MemberParticipation,
        event_type=event.event_type,
        platform=event.platform,
        room_id=room_id,
        source_id=source_id,
    )
    row = (
        new_id(),
        member_number(event.member_id),
        event.event_type,
        event.platform,
        room_id,
        source_id,
        event.occurred_at,
        metadata,
    )
    return PreparedEvent(event, row)


def _check_time(at: object) -> None:
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise InvalidInput(
            "The time of an event must be a datetime with a time zone.", field="occurred_at"
        )
    if at < EARLIEST:
        raise time_refused()


def time_refused() -> InvalidInput:
    """Return the error for an event of a time that is too far away."""
    return InvalidInput(
        "The time of an event must lie between the year 2000 and one day from now.",
        field="occurred_at",
    )


class Batch:
    """Prepared events that one statement stores as a whole or not at all, and what became of them."""

    def __init__(self, prepared: list[PreparedEvent]) -> None:
        self.prepared = prepared
        self.inserted: set[UUID] = set()
        self.known: set[str] = set()
        """The members who are in the directory."""
        self.refused: dict[UUID, InvalidInput] = {}

    async def store(self) -> None:
        """Store each event once, except those that the database refuses."""
        accepted = [each for each in self.prepared if each.row[0] not in self.refused]
        if not accepted:
            return
        try:
            # One statement needs no transaction, but its failure must not spoil the caller's.
            async with transaction() if engine.transaction_exists() else nullcontext():
                inserted, known, too_late = await _insert(accepted)
        except InvalidInput as error:
            refused = await _find_refused(accepted, error)
            if not refused:
                raise  # each half of it would be accepted
            self.refused |= refused
            # All others in one statement again: two halves, one after the other, would take their
            # locks in another order than a whole batch does.
            await self.store()
            return
        self.inserted, self.known = set(inserted), set(known)
        self.refused |= {event_id: time_refused() for event_id in too_late}

    async def recognize_stored(self) -> None:
        """Count as inserted what an earlier try with the same ids stored, though it seemed to fail."""
        others = [each.row[0] for each in self.prepared if each.row[0] not in self.inserted]
        self.inserted |= {event_id for (event_id,) in await engine.fetch(STORED, others)}

    def report(self, recorded: Recorded) -> None:
        """Add each event to the list that says what became of it."""
        for event, (event_id, member_id, *_) in self.prepared:
            if event_id in self.refused:
                recorded.refused.append(Refused(event, self.refused[event_id]))
            elif event_id in self.inserted:
                recorded.inserted.append(event)
            elif member_id in self.known:
                recorded.duplicates.append(event)
            else:
                recorded.unknown.append(event)


async def _insert(prepared: list[PreparedEvent]) -> tuple[list[UUID], list[str], list[UUID]]:
    """Return the ids that were stored, the members who are known, and the ids that are too late."""
    columns = zip(*(row for _, row in prepared), strict=True)
    [(inserted, known, too_late)] = await engine.fetch(RECORD_MANY, *columns)
    return inserted, known, too_late


async def _find_refused(
    prepared: list[PreparedEvent], error: InvalidInput
) -> dict[UUID, InvalidInput]:
    """Find the bad events of a refused batch by halving it, and store nothing."""
    if len(prepared) == 1:
        return {prepared[0].row[0]: error}
    refused: dict[UUID, InvalidInput] = {}
    for half in (prepared[: len(prepared) // 2], prepared[len(prepared) // 2 :]):
        try:
            async with transaction() as rehearsal:
                await _insert(half)
                await rehearsal.rollback()
        except InvalidInput as its_error:
            refused |= await _find_refused(half, its_error)
    return refused
