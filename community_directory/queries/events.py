"""Participation events: their types, their checks, and the statements that store them.

Callers use the types as `participation.NewEvent`, `participation.Event`, ….
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self
from uuid import UUID

import asyncpg

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.database import Statement, engine, transaction
from community_directory.errors import EventArchived, InvalidInput, MemberNotFound, text_too_long
from community_directory.queries.archived_days import CLOSED_BEFORE_SQL
from community_directory.queries.identifiers import normalize_account
from community_directory.queries.ids import new_id
from community_directory.queries.values import as_json, check_texts, id_text, member_number
from community_directory.tables import EventType, MemberParticipation
from community_directory.tables.checks import MAX_VOICE_SECONDS, VOICE_DURATION_KEYS

BATCH_SIZE = 1000
"""The maximum number of events that one statement stores."""
MAX_METADATA_LENGTH = 10_000
"""The maximum number of characters of an event's metadata as JSON."""
EARLIEST_EVENT_TIME = datetime(2000, 1, 1, tzinfo=UTC)
LATEST_EVENT_TIME_SQL = "now() + interval '1 day'"
"""The latest time that an event may have. It is SQL, because the database's clock decides."""
EARLIEST_OPEN_TIME_SQL = f"coalesce({CLOSED_BEFORE_SQL}, '-infinity')"
"""The earliest time that a new event may have: the days before are archived."""

EVENT_COLUMNS = (
    "id, member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata"
)

# Message ids start again at 1 in the new room, so the ids of the old one become other ids.
CURRENT_SOURCE_ID = """CASE
    WHEN moved_to IS NULL THEN source_id
    WHEN id_offset IS NOT NULL AND source_id ~ '^(0|-?[1-9][0-9]{0,17})$'
        THEN (source_id::bigint - id_offset)::text
    ELSE id_prefix || source_id
END"""
"""The SQL of the source id under which an event is stored: another one, if its room was moved.

It is for rows that are joined with `directory_moved_rooms`.
"""

CURRENT_PLACE = f"""
    SELECT platform, coalesce(moved_to, room_id) AS room_id, {CURRENT_SOURCE_ID} AS source_id
    FROM (
        SELECT :platform::text AS platform, :room_id::text AS room_id, :source_id::text AS source_id
    ) AS event LEFT JOIN directory_moved_rooms USING (platform, room_id)
"""
"""The room and the source id of one event, which are others if its room was moved."""

CURRENT_MEMBER = """
    SELECT coalesce(merged_into, member_id) AS member_id FROM community_members
    WHERE member_id = coalesce((
        SELECT member_id FROM member_accounts
        WHERE platform = split_part(:member_id::text, ':', 1)
            AND account_id = substr(:member_id::text, strpos(:member_id::text, ':') + 1)
    ), :member_id)
"""
"""The SQL of the member with this number, or with an account such as "discord:123".

Of a merged member it is the number of the other one.
"""

_OCCURRED_AT = "coalesce(:occurred_at::timestamptz, now())"
_ACTIVE_AT = f"least({_OCCURRED_AT}, now())"

# A member's row is updated at most once a minute, however many events the member has. Storing an
# event does not wait for another update of that row: SKIP LOCKED leaves it to the next event.
#
# There is one exception. A statement reads the version of the row that was current when it began.
# If that version has been replaced, PostgreSQL locks it and then its successor. SKIP LOCKED can
# wait for a successor that is locked, because a foreign key still locks the old version (FOR KEY
# SHARE). Two rules prevent a deadlock then:
# - An update never touches an old version. It finds the locked version by the transaction that
#   wrote it (xmin), and leaves a version that is newer than the statement to the next event.
# - A batch locks its members in the same order as every writer of many members.
#
# The statements run on Citus, too, which refuses `ctid` in an update, and fails if the query of a
# locking clause joins members with another CTE: such a query reads the CTEs in subqueries.
_RECORD_EVENT = f"""
WITH
-- The event's room and source id, which are others if the room was moved.
place AS ({CURRENT_PLACE}),
-- The member, or the one into whom they were merged. The lock, which the foreign key takes anyway,
-- waits for a merge: no event is stored for a member who no longer exists.
person AS MATERIALIZED ({CURRENT_MEMBER} FOR KEY SHARE),
-- The event, unless it is stored already, its member is unknown, or its time is too early or late.
inserted AS (
    INSERT INTO member_participation ({EVENT_COLUMNS})
    SELECT :event_id::uuid, member_id, :event_type::text, platform, room_id, source_id,
        {_OCCURRED_AT}, :metadata::jsonb
    FROM place, person
    WHERE {_OCCURRED_AT} BETWEEN {EARLIEST_OPEN_TIME_SQL} AND {LATEST_EVENT_TIME_SQL}
    ON CONFLICT DO NOTHING
    RETURNING {EVENT_COLUMNS}
),
-- The locked member, if the event moves their last activity forward by more than a minute. A
-- platform's clock may be ahead of the database's: the last activity never lies in the future.
active AS MATERIALIZED (
    SELECT member_id, xmin AS version, {_ACTIVE_AT} AS at FROM community_members
    WHERE member_id = (SELECT member_id FROM inserted)
        AND coalesce(last_active_at, '-infinity') < {_ACTIVE_AT} - interval '1 minute'
    FOR NO KEY UPDATE SKIP LOCKED
),
-- The member's new last activity.
updated AS (
    UPDATE community_members AS member SET last_active_at = active.at FROM active
    WHERE member.member_id = active.member_id AND member.xmin = active.version
)
-- No row: the member is unknown. A row of NULLs: the event is stored already, too early or late.
SELECT :occurred_at::timestamptz > {LATEST_EVENT_TIME_SQL} AS is_too_late,
    CASE WHEN :occurred_at::timestamptz < {EARLIEST_OPEN_TIME_SQL} THEN {CLOSED_BEFORE_SQL} END
        AS closed_before,
    inserted.*
FROM person LEFT JOIN inserted ON true
"""
RECORD_EVENT = Statement(_RECORD_EVENT)
# The setting ends with the transaction, which is that of the statement.
RECORD_EVENT_WITHOUT_FLUSH = Statement(
    f"{_RECORD_EVENT}, (SELECT set_config('synchronous_commit', 'off', true)) AS setting"
)

BATCH_EVENTS = f"""
    SELECT id, member_id, event_type, platform, coalesce(moved_to, room_id) AS room_id,
        {CURRENT_SOURCE_ID} AS source_id, coalesce(occurred_at, now()) AS occurred_at,
        event_metadata, n
    FROM unnest(
        :event_id::uuid[], :member_id::text[], :event_type::text[], :platform::text[],
        :room_id::text[], :source_id::text[], :occurred_at::timestamptz[], :metadata::jsonb[]
    ) WITH ORDINALITY AS event({EVENT_COLUMNS}, n)
    LEFT JOIN directory_moved_rooms USING (platform, room_id)
"""
"""The events of a batch, where they are stored, with the position `n` of each in the batch."""

# Subqueries find the members by arrays: PostgreSQL would read the whole table for a join with a
# thousand rows. The arrays are made inside the statement: for an array that is a parameter, the
# planner looks up each value in the column's statistics.
RECORD_EVENTS = Statement(f"""
WITH
-- The batch, with the position of each event in it.
event AS MATERIALIZED ({BATCH_EVENTS}),
-- The numbers of the batch, and the accounts, each with the number of its member.
named AS MATERIALIZED (
    SELECT DISTINCT member_id AS named, member_id FROM event WHERE member_id NOT LIKE '%:%'
    UNION ALL
    SELECT concat(platform, ':', account_id), member_id FROM member_accounts
    WHERE platform = ANY(ARRAY(
        SELECT DISTINCT split_part(member_id, ':', 1) FROM event WHERE member_id LIKE '%:%'
    )) AND account_id = ANY(ARRAY(
        SELECT DISTINCT substr(member_id, strpos(member_id, ':') + 1) FROM event
        WHERE member_id LIKE '%:%'
    ))
),
-- The members of the batch who are in the directory, locked as the foreign key does anyway: this
-- waits for a merge. The events of a merged member are those of the other one, whom their foreign
-- key locks afterwards: merged members are the first.
person AS MATERIALIZED (
    SELECT member_id, coalesce(merged_into, member_id) AS current_id, last_active_at
    FROM community_members
    WHERE member_id = ANY(ARRAY(SELECT member_id FROM named))
    ORDER BY merged_into IS NULL, member_id FOR KEY SHARE
),
-- The present member of each number and account of the batch.
known AS MATERIALIZED (
    SELECT named, current_id AS member_id FROM named JOIN person USING (member_id)
),
-- The new events. All batches insert in the same order, so that two batches with the same events
-- never deadlock; among duplicates in one batch the first is stored. ON CONFLICT covers the row id
-- too: a batch that is sent again with the same ids stores nothing twice.
inserted AS (
    INSERT INTO member_participation ({EVENT_COLUMNS})
    SELECT id, known.member_id, event_type, platform, room_id, source_id, occurred_at,
        event_metadata
    FROM event JOIN known ON known.named = event.member_id
    WHERE occurred_at BETWEEN {EARLIEST_OPEN_TIME_SQL} AND {LATEST_EVENT_TIME_SQL}
    ORDER BY platform, room_id, source_id, event_type, known.member_id, n
    ON CONFLICT DO NOTHING
    RETURNING id, member_id, occurred_at
),
-- The time of each member's newest stored event.
newest AS (
    SELECT member_id, least(max(occurred_at), now()) AS at FROM inserted GROUP BY member_id
),
-- The members whose last activity moves forward by more than a minute.
active AS MATERIALIZED (
    SELECT member_id, at
    FROM newest LEFT JOIN person USING (member_id)
    WHERE coalesce(person.last_active_at, (
        SELECT last_active_at FROM community_members AS other
        WHERE person IS NULL AND other.member_id = newest.member_id
    ), '-infinity') < at - interval '1 minute'
),
-- The row versions of those that are not locked by another transaction.
locked AS MATERIALIZED (
    SELECT member_id, xmin::text AS version FROM community_members
    WHERE member_id = ANY(ARRAY(SELECT member_id FROM active))
    ORDER BY member_id FOR NO KEY UPDATE SKIP LOCKED
),
-- Both in one row for each member; no version if the member is locked by another transaction. For a
-- join PostgreSQL could compare each row with each.
moved AS (
    SELECT member_id, max(at) AS at, max(version) AS version FROM (
        SELECT member_id, at, NULL AS version FROM active
        UNION ALL SELECT member_id, NULL, version FROM locked
    ) AS found GROUP BY member_id
),
-- Their new last activity. A version that another writer has committed since this statement began
-- is invisible to it, so a later activity is never overwritten.
updated AS (
    UPDATE community_members AS member SET last_active_at = moved.at FROM moved
    WHERE member.member_id = moved.member_id AND member.xmin::text = moved.version
)
SELECT ARRAY(SELECT id FROM inserted) AS inserted_ids,
    ARRAY(SELECT named FROM known) AS known_members,
    ARRAY(SELECT id FROM event WHERE occurred_at > {LATEST_EVENT_TIME_SQL}) AS too_late_ids,
    ARRAY(SELECT id FROM event WHERE occurred_at < {EARLIEST_OPEN_TIME_SQL}) AS archived_ids,
    {CLOSED_BEFORE_SQL} AS closed_before
""")

FIND_STORED_EVENTS = Statement("SELECT id FROM member_participation WHERE id = ANY(:event_ids)")


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event; `occurred_at` is aware, in UTC."""

    id: UUID
    member_id: str
    event_type: str
    platform: str
    room_id: str
    source_id: str | None
    occurred_at: datetime
    metadata: Mapping[str, Any] | None

    @classmethod
    def from_columns(cls, columns: Iterable[Any]) -> Self:
        """Return the event of a row with the columns `EVENT_COLUMNS`."""
        values = list(columns)
        if values[-1] is not None:
            values[-1] = json.loads(values[-1])
        return cls(*values)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to record; the parameters of `participation.record` describe its fields."""

    member_id: str | int | None = None
    account: tuple[str, str | int] | None = None
    event_type: str
    platform: str
    room_id: str | int
    source_id: str | int | None = None
    occurred_at: datetime | None = None
    metadata: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An event that can't be stored, and the reason."""

    event: NewEvent
    error: InvalidInput


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome for each event: every event is in exactly one of the four lists."""

    inserted: list[NewEvent] = field(default_factory=list)
    duplicates: list[NewEvent] = field(default_factory=list)
    """The events that were stored already."""
    unknown: list[NewEvent] = field(default_factory=list)
    """The events whose member or account is not in the directory."""
    refused: list[Refused] = field(default_factory=list)


class EventRow(NamedTuple):
    """The parameters of `RECORD_EVENT`: an event as it is stored."""

    event_id: UUID
    member_id: str
    """The number of the member, or an account of theirs as "discord:123"."""
    event_type: str
    platform: str
    room_id: str
    source_id: str | None
    occurred_at: datetime | None
    metadata: str | None


class PreparedEvent(NamedTuple):
    """A checked event, with the row that stores it."""

    event: NewEvent
    row: EventRow

    async def store(self, *, durable: bool = True) -> Event | None:
        """Store the event once and return it, or return None if it is stored already.

        Args:
            durable: Whether to wait until the event survives a crash of the server. A transaction
                of the caller waits in any case.

        Raises:
            MemberNotFound: The member or the account is not in the directory.
            EventArchived: The day of the event is archived.
            InvalidInput: The database refuses the event.
        """
        waits = durable or engine.transaction_exists()
        statement = RECORD_EVENT if waits else RECORD_EVENT_WITHOUT_FLUSH
        records = await engine.fetch(statement, **self.row._asdict())
        if not records:
            raise MemberNotFound(self.row.member_id)
        is_too_late, closed_before, *columns = records[0]
        if is_too_late:
            raise time_out_of_range()
        if closed_before is not None:
            raise EventArchived(closed_before)
        return None if columns[0] is None else Event.from_columns(columns)


def prepare_event(event: NewEvent, *, default_time: datetime | None = None) -> PreparedEvent:
    """Check an event as far as possible without the database, and make its row.

    An event without a time gets `default_time`, or else the time at which it is stored. A stay in a
    voice chat without a time ends at that time: it began as long before as it lasted.

    Raises:
        InvalidInput: The check shows that the event can't be stored.
    """
    if not isinstance(event, NewEvent):
        raise InvalidInput("An event must be a NewEvent.")
    duration = _voice_duration(event)
    if event.occurred_at is not None:
        _check_occurred_at(event.occurred_at)
    elif duration is not None:
        event = replace(event, occurred_at=(default_time or datetime.now(UTC)) - duration)
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
    row = EventRow(
        event_id=new_id(),
        member_id=_name_member(event),
        event_type=event.event_type,
        platform=event.platform,
        room_id=room_id,
        source_id=source_id,
        occurred_at=event.occurred_at,
        metadata=metadata,
    )
    return PreparedEvent(event, row)


def _name_member(event: NewEvent) -> str:
    """Return the member's number, or their account as "discord:123".

    Raises:
        InvalidInput: The event has neither, or both, or the account is malformed.
    """
    if event.account is None and event.member_id is not None:
        return member_number(event.member_id)
    if event.account is None or event.member_id is not None:
        raise InvalidInput(
            "Give either the member's number or an account of theirs.", field="member_id"
        )
    try:
        platform, account_id = event.account
    except (TypeError, ValueError):
        raise InvalidInput(
            'An account is a platform and an id, such as ("discord", "123").', field="account"
        ) from None
    return ":".join(normalize_account(platform, account_id))


def prepare_events(events: Iterable[NewEvent], refused: list[Refused]) -> list[PreparedEvent]:
    """Return the rows of these events, and add those that can't be stored to `refused`."""
    prepared: list[PreparedEvent] = []
    for event in events:
        try:
            prepared.append(prepare_event(event))
        except InvalidInput as error:
            refused.append(Refused(event, error))
    return prepared


def _voice_duration(event: NewEvent) -> timedelta | None:
    """Return the duration of a stay in a voice chat; None if the event has none.

    Raises:
        InvalidInput: The metadata has a duration that is not a number of seconds, or is too long.
    """
    if event.event_type != EventType.VOICE or not isinstance(event.metadata, Mapping):
        return None
    durations = [
        _check_seconds(event.metadata[key]) for key in VOICE_DURATION_KEYS if key in event.metadata
    ]
    return timedelta(seconds=durations[0]) if durations else None


def _check_seconds(value: object) -> float:
    """Return a number of seconds from 0 to `MAX_VOICE_SECONDS` unchanged.

    Raises:
        InvalidInput: The value is anything else.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= MAX_VOICE_SECONDS
    ):
        raise InvalidInput(
            CONSTRAINT_MESSAGES["participation_voice_duration_check"].message,
            field="metadata",
            limit=MAX_VOICE_SECONDS,
        )
    return value


def _check_occurred_at(at: object) -> None:
    """Check that a time is aware and not too early; the statement checks that it is not too late.

    Raises:
        InvalidInput: The value is not an aware datetime, or it is before the year 2000.
    """
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise InvalidInput(
            "The time of an event must be a datetime with a time zone.", field="occurred_at"
        )
    if at < EARLIEST_EVENT_TIME:
        raise time_out_of_range()


def time_out_of_range() -> InvalidInput:
    """Return the error for the time of an event that is too early or too late."""
    return InvalidInput(
        "The time of an event must lie between the year 2000 and one day from now.",
        field="occurred_at",
    )


class EventBatch:
    """Prepared events that one statement stores as a whole or not at all, and their outcome."""

    def __init__(self, prepared: list[PreparedEvent]) -> None:
        self.prepared = prepared
        self.inserted_ids: set[UUID] = set()
        self.known_members: set[str] = set()
        """The numbers and accounts of these events that are in the directory."""
        self.refused: dict[UUID, InvalidInput] = {}

    async def store(self) -> None:
        """Store each event once, except for events that the database refuses."""
        accepted = [each for each in self.prepared if each.row.event_id not in self.refused]
        if not accepted:
            return
        try:
            # One statement needs no transaction. Inside the caller's transaction it needs a
            # savepoint, because its failure must not abort that transaction.
            async with transaction() if engine.transaction_exists() else nullcontext():
                outcome = await _insert(accepted)
        except InvalidInput as error:
            refused = await _find_refused(accepted, error)
            if not refused:
                raise  # no single event is the cause: the database accepts each half of the batch
            self.refused |= refused
            # One statement stores all the others. Two statements with half of them each would take
            # their locks in another order than a whole batch does, and could cause a deadlock.
            await self.store()
            return
        self.inserted_ids = set(outcome["inserted_ids"])
        self.known_members = set(outcome["known_members"])
        self.refused |= {event_id: time_out_of_range() for event_id in outcome["too_late_ids"]}
        self.refused |= {
            event_id: EventArchived(outcome["closed_before"])
            for event_id in outcome["archived_ids"]
        }

    async def recognize_stored(self) -> None:
        """Count the events as inserted that an earlier try with the same ids has stored.

        A try can fail after the database has stored its events, if the response is lost.
        """
        others = [
            each.row.event_id
            for each in self.prepared
            if each.row.event_id not in self.inserted_ids
        ]
        found = await engine.fetch(FIND_STORED_EVENTS, event_ids=others)
        self.inserted_ids |= {event_id for (event_id,) in found}

    def report(self, recorded: Recorded) -> None:
        """Add each event to the list of its outcome."""
        for event, row in self.prepared:
            if row.event_id in self.refused:
                recorded.refused.append(Refused(event, self.refused[row.event_id]))
            elif row.event_id in self.inserted_ids:
                recorded.inserted.append(event)
            elif row.member_id in self.known_members:
                recorded.duplicates.append(event)
            else:
                recorded.unknown.append(event)


async def _insert(prepared: list[PreparedEvent]) -> asyncpg.Record:
    """Store the events, and return the row of `RECORD_EVENTS`."""
    columns = zip(*(each.row for each in prepared), strict=True)
    [outcome] = await engine.fetch(
        RECORD_EVENTS, **dict(zip(EventRow._fields, columns, strict=True))
    )
    return outcome


async def _find_refused(
    prepared: list[PreparedEvent], error: InvalidInput
) -> dict[UUID, InvalidInput]:
    """Find the invalid events of a refused batch by halving it, and store nothing."""
    if len(prepared) == 1:
        return {prepared[0].row.event_id: error}
    refused: dict[UUID, InvalidInput] = {}
    for half in (prepared[: len(prepared) // 2], prepared[len(prepared) // 2 :]):
        try:
            async with transaction() as rehearsal:
                await _insert(half)
                await rehearsal.rollback()
        except InvalidInput as error_of_half:
            refused |= await _find_refused(half, error_of_half)
    return refused
