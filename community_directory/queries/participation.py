"""Participation: what members did, event by event, each counted once however often it is delivered."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import MAXYEAR, date, datetime
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID
from weakref import ReferenceType, WeakKeyDictionary, ref

import asyncpg

from community_directory.database import engine, transaction
from community_directory.errors import DatabaseUnavailable, DirectoryError, InvalidInput, MemberNotFound
from community_directory.pool import LeasedPool
from community_directory.queries.days import days_between
from community_directory.queries.ids import new_id
from community_directory.queries.pages import Page, checked_limit, moment, page_of, position_of, row_id
from community_directory.queries.together import Together
from community_directory.queries.values import as_json
from community_directory.tables import MemberStatus

BATCH = 1000
"""The events of one statement at the most."""
WAYS = 2
"""How many statements are under way for single events; what comes meanwhile shares the next one."""
LONGEST_METADATA = 10_000
"""The characters of an event's details, as JSON, at the most."""

SAME = "platform, room_id, source_id, event_type, member_id"
"""What makes two events the same one."""
COLUMNS = "id, member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata"

# A busy member's row is written once a minute, not with each event; a clock that is ahead makes nobody active tomorrow.
# Nobody waits for that: while somebody else changes the member, it is left to the next event.
RECORD = f"""
WITH inserted AS (
    INSERT INTO member_participation AS event ({COLUMNS})
    SELECT $1::uuid, member_id, $3::text, $4::text, $5::text, $6::text, coalesce($7::timestamptz, now()), $8::jsonb
    FROM community_members WHERE member_id = $2
    ON CONFLICT ({SAME}) DO NOTHING
    RETURNING {COLUMNS}
), active AS MATERIALIZED (
    SELECT member.id, least(occurred_at, now()) AS at FROM inserted, community_members AS member
    WHERE member.member_id = $2
        AND (last_active_at IS NULL OR last_active_at < least(occurred_at, now()) - interval '1 minute')
    FOR NO KEY UPDATE OF member SKIP LOCKED
), followed AS (
    UPDATE community_members AS member SET last_active_at = active.at FROM active WHERE member.id = active.id
)
SELECT inserted.* FROM community_members AS known LEFT JOIN inserted ON true WHERE known.member_id = $2
"""

# The same for many. Members are found by arrays, because for a thousand rows of a join PostgreSQL would rather read all
# members, and by arrays that it works out itself, because of a given one it looks up each value in its statistics.
RECORD_MANY = f"""
WITH event AS MATERIALIZED (
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::jsonb[]
    ) WITH ORDINALITY AS event(id, member_id, event_type, platform, room_id, source_id, occurred_at, event_metadata, n)
), known AS MATERIALIZED (
    SELECT member_id, last_active_at FROM community_members WHERE member_id = ANY(ARRAY(SELECT member_id FROM event))
), inserted AS (
    INSERT INTO member_participation ({COLUMNS})
    SELECT id, member_id, event_type, platform, room_id, source_id, coalesce(occurred_at, now()), event_metadata
    FROM event JOIN known USING (member_id)
    -- in one order, or two batches with the same events could wait for each other; of duplicates the first
    ORDER BY {SAME}, n
    ON CONFLICT ({SAME}) DO NOTHING
    RETURNING {COLUMNS}
), active AS MATERIALIZED (
    SELECT member_id, least(max(occurred_at), now()) AS at FROM inserted JOIN known USING (member_id)
    GROUP BY member_id, last_active_at
    HAVING last_active_at IS NULL OR last_active_at < least(max(occurred_at), now()) - interval '1 minute'
), locked AS MATERIALIZED (
    SELECT member_id FROM community_members WHERE member_id = ANY(ARRAY(SELECT member_id FROM active))
    FOR NO KEY UPDATE SKIP LOCKED
), followed AS (
    UPDATE community_members AS member SET last_active_at = active.at FROM active
    WHERE member.member_id = ANY(ARRAY(SELECT member_id FROM locked)) AND member.member_id = active.member_id
        -- asked again, because somebody else may have been quicker
        AND (member.last_active_at IS NULL OR member.last_active_at < active.at - interval '1 minute')
)
"""
IDS = "SELECT ARRAY(SELECT id FROM inserted), ARRAY(SELECT member_id FROM known)"
ROWS = f"SELECT {COLUMNS} FROM inserted UNION ALL SELECT NULL, member_id{', NULL' * 6} FROM known"

HISTORY = f"""
SELECT {COLUMNS} FROM member_participation WHERE member_id = $2 {{AFTER}}
ORDER BY occurred_at DESC, id DESC LIMIT $1
"""
AFTER = "AND (occurred_at, id) < ($3, $4)"

ACTIVITY = """
SELECT ($2::date[])[width_bucket(occurred_at, $3::timestamptz[])] AS day, event_type, count(*)
FROM member_participation
WHERE member_id = $1 AND occurred_at >= ($3::timestamptz[])[1] AND occurred_at < $4
GROUP BY 1, 2 ORDER BY 1, 2
"""

MOST_ACTIVE = """
SELECT member_id, name, status, events FROM (
    SELECT member_id, count(*) AS events FROM member_participation WHERE occurred_at >= $2 AND occurred_at < $3
    GROUP BY member_id
) AS counted JOIN community_members USING (member_id)
WHERE deleted_at IS NULL
ORDER BY events DESC, length(member_id), member_id LIMIT $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to record; the parameters of `record` say what the fields hold."""

    member_id: str
    event_type: str
    platform: str
    room_id: str | int
    source_id: str | int | None = None
    occurred_at: datetime | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event as stored; `occurred_at` is aware, in UTC."""

    id: UUID
    member_id: str
    event_type: str
    platform: str
    room_id: str
    source_id: str | None
    occurred_at: datetime
    metadata: Mapping[str, Any] | None


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


@dataclass(frozen=True, slots=True)
class Activity:
    """How often a member did something on a day."""

    day: date
    event_type: str
    events: int


@dataclass(frozen=True, slots=True)
class ActiveMember:
    """A member or contact, and the number of their events."""

    member_id: str
    name: str
    status: MemberStatus
    events: int


async def record(
    *,
    member_id: str,
    event_type: str,
    platform: str,
    room_id: str | int,
    source_id: str | int | None = None,
    occurred_at: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Event | None:
    """Store an event once: None when it was there already.

    The same `source_id` (the platform's own id: of a message, or of the message that a reaction or a voice chat
    belongs to) of the same member, type and room is the same event; without one each call is another event.
    `occurred_at` is now when it is left out. Of a VOICE event highlights count `metadata["duration_seconds"]`. The
    member's `last_active_at` follows, once a minute, but waits for nobody who changes the member just now. Removed
    members' events are kept, too. Calls that wait at the same moment share a statement; each is answered after its
    commit. Raises `MemberNotFound`, `InvalidInput`.
    """
    event = NewEvent(
        member_id=member_id,
        event_type=event_type,
        platform=platform,
        room_id=room_id,
        source_id=source_id,
        occurred_at=occurred_at,
        metadata=metadata,
    )
    row, pool = _row(event), engine.pool
    if pool is None or engine.transaction_exists():
        return await _record(None, row)
    if pool not in _senders:
        mine = ref(pool)
        _senders[pool] = Together(partial(_record, mine), partial(_record_together, mine), ways=WAYS, most=BATCH)
    return await _senders[pool].send(row)


async def record_many(events: Iterable[NewEvent]) -> Recorded:
    """Store each event once, and say what became of every one of them.

    What can't be stored is refused alone; the others go in. A thousand of them are one statement, stored as a whole or
    not at all: after a `DatabaseUnavailable` send them again, and what has a `source_id` is counted once. Raises
    nothing about a single event.
    """
    recorded = Recorded()
    iterator = iter(events)
    while batch := list(islice(iterator, BATCH)):
        await _store(list(_rows(batch, recorded)), recorded)
    return recorded


async def history(member_id: str, *, after: str | None = None, limit: int = 20) -> Page[Event]:
    """A member's events, newest first. Raises `InvalidCursor`, `InvalidInput`."""
    place = [] if after is None else position_of(after, "participation", moment, row_id)
    statement = HISTORY.format(AFTER=AFTER if place else "")
    records = await engine.fetch(statement, checked_limit(limit) + 1, member_id, *place)
    found = [_event(record) for record in records]
    return page_of(found, limit, "participation", lambda event: (event.occurred_at.isoformat(), str(event.id)))


async def activity(member_id: str, *, since: date, until: date, zone: str | None = None) -> list[Activity]:
    """How many events of each type a member had on each day from `since` to `until`, both included; oldest first.

    Days are the community's, or those of another time zone; a day without events is left out. Raises `InvalidInput`.
    """
    records = await engine.fetch(ACTIVITY, member_id, *days_between(since, until, zone))
    return [Activity(*record) for record in records]


async def most_active(*, since: date, until: date, zone: str | None = None, limit: int = 10) -> list[ActiveMember]:
    """Who had the most events from `since` to `until`, both days included; contacts are among them, removed ones not.

    Days are the community's, or those of another time zone. Raises `InvalidInput`.
    """
    _, starts, end = days_between(since, until, zone)
    records = await engine.fetch(MOST_ACTIVE, checked_limit(limit), starts[0], end)
    return [ActiveMember(member_id, name, MemberStatus(status), events) for member_id, name, status, events in records]


_Row = tuple[UUID, str, str, str, str | int, str | int | None, datetime | None, str | None]


_Pool = ReferenceType[LeasedPool]
_senders: WeakKeyDictionary[LeasedPool, Together[_Row, Event | None]] = WeakKeyDictionary()
"""What waits for a way to the database, of each pool."""
NOTHING_STORED = (
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)


def _check(pool: _Pool | None) -> None:
    """Refuse to send what has waited to another database than it was meant for. Raises `DatabaseUnavailable`."""
    if pool is not None and engine.pool is not pool():
        raise DatabaseUnavailable("The connection to the directory was closed.")


async def _record(pool: _Pool | None, row: _Row) -> Event | None:
    _check(pool)
    records = await engine.fetch(RECORD, *row)
    if not records:
        raise MemberNotFound(row[1])
    return None if records[0]["id"] is None else _event(records[0])


async def _record_together(pool: _Pool, rows: list[_Row]) -> list[Event | Exception | None]:
    """What came of each event, as if it had been recorded alone."""
    try:
        _check(pool)
        records = await engine.fetch(RECORD_MANY + ROWS, *zip(*rows, strict=True))
    except DirectoryError as error:
        # What is wrong with an event, or in its way, is none of the others' affair: it is found by halving.
        is_of_one = isinstance(error, InvalidInput) or isinstance(error.__cause__, NOTHING_STORED)
        if len(rows) == 1 or not is_of_one:
            return [error] * len(rows)
        half = len(rows) // 2
        return [*await _record_together(pool, rows[:half]), *await _record_together(pool, rows[half:])]
    events = {record["id"]: _event(record) for record in records if record["id"] is not None}
    known = {record["member_id"] for record in records if record["id"] is None}
    return [events.get(row[0]) if row[1] in known else MemberNotFound(row[1]) for row in rows]


def _row(event: NewEvent) -> _Row:
    """The columns of an event. Raises `InvalidInput`."""
    at: object = event.occurred_at  # what an untyped caller sends
    # PostgreSQL would take the first and the last moment of Python for the infinities.
    if at is not None and not (isinstance(at, datetime) and at.tzinfo is not None and 1 < at.year < MAXYEAR):
        raise InvalidInput("The time of an event is a time of this age that says its zone.", field="occurred_at")
    metadata = as_json(event.metadata)
    if metadata is not None and len(metadata) > LONGEST_METADATA:
        raise InvalidInput("The details of an event are too long.", field="metadata")
    # The platforms' libraries have numbers for ids.
    room_id = str(event.room_id) if type(event.room_id) is int else event.room_id
    source_id = str(event.source_id) if type(event.source_id) is int else event.source_id
    for text in (event.member_id, event.event_type, event.platform, room_id, source_id):
        # Of None the database says what it thinks. A list among a batch's values it would take for what is in it.
        if not isinstance(text, str) and text is not None:
            raise InvalidInput("Whose event it is, and of what kind and where, are texts.")
    return new_id(), event.member_id, event.event_type, event.platform, room_id, source_id, event.occurred_at, metadata


def _rows(events: list[NewEvent], recorded: Recorded) -> Iterator[tuple[NewEvent, _Row]]:
    for event in events:
        try:
            yield event, _row(event)
        except InvalidInput as error:
            recorded.refused.append(Refused(event, error))


async def _store(rows: list[tuple[NewEvent, _Row]], recorded: Recorded) -> None:
    """Store a batch, but for the events in it that the database refuses."""
    if not rows:
        return
    try:
        # One statement needs no transaction, but must not spoil the caller's.
        async with transaction() if engine.transaction_exists() else nullcontext():
            inserted, known = map(set, await _insert(rows))
    except InvalidInput as error:
        refused = await _refused(rows, error)
        if not refused:
            raise  # each half of it would do
        recorded.refused.extend(refused)
        events = {id(each.event) for each in refused}
        # All others in one statement again: two halves, one after the other, would take their locks in another order
        # than a whole batch does.
        await _store([row for row in rows if id(row[0]) not in events], recorded)
        return
    for event, (event_id, *_) in rows:
        if event_id in inserted:
            recorded.inserted.append(event)
        else:
            (recorded.duplicates if event.member_id in known else recorded.unknown).append(event)


async def _insert(rows: list[tuple[NewEvent, _Row]]) -> Any:
    return (await engine.fetch(RECORD_MANY + IDS, *zip(*(row for _, row in rows), strict=True)))[0]


async def _refused(rows: list[tuple[NewEvent, _Row]], error: InvalidInput) -> list[Refused]:
    """Which events of a refused batch are wrong: found by halving it, and storing nothing."""
    if len(rows) == 1:
        return [Refused(rows[0][0], error)]
    refused = []
    for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
        try:
            async with transaction() as rehearsal:
                await _insert(half)
                await rehearsal.rollback()
        except InvalidInput as its:
            refused += await _refused(half, its)
    return refused


def _event(record: Any) -> Event:
    values = list(record)
    if values[-1] is not None:
        values[-1] = json.loads(values[-1])
    return Event(*values)
