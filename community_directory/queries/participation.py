"""Participation: what members did, event by event, each counted once however often it is delivered.

`record` stores one event and answers with it, `record_many` a list, and `recorder` a stream of them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from community_directory.calendar import days_between
from community_directory.database import engine
from community_directory.errors import InvalidInput, MemberNotFound
from community_directory.queries.events import (
    BATCH_SIZE,
    COLUMNS,
    LATEST,
    Batch,
    NewEvent,
    PreparedEvent,
    Recorded,
    Refused,
    prepare,
    time_refused,
)
from community_directory.queries.pages import (
    Page,
    checked_limit,
    decode_cursor,
    make_page,
    parse_timestamp,
    parse_uuid,
)
from community_directory.queries.recorder import Recorder, RecorderFull, RecorderGaveUp
from community_directory.queries.values import member_number
from community_directory.tables import MemberStatus

__all__ = [
    "ActiveMember",
    "Activity",
    "Event",
    "NewEvent",
    "Recorded",
    "Recorder",
    "RecorderFull",
    "RecorderGaveUp",
    "Refused",
    "activity",
    "history",
    "most_active",
    "record",
    "record_many",
    "recorder",
]

# A busy member's row is written once a minute, not with each event; a clock that is ahead makes
# nobody active tomorrow. Nobody waits for that: while somebody else changes the member, it is left
# to the next event.
RECORD = f"""
WITH inserted AS (
    INSERT INTO member_participation AS event ({COLUMNS})
    SELECT $1::uuid, member_id, $3::text, $4::text, $5::text, $6::text, coalesce($7::timestamptz, now()), $8::jsonb
    FROM community_members WHERE member_id = $2 AND coalesce($7::timestamptz, now()) <= {LATEST}
    ON CONFLICT DO NOTHING
    RETURNING {COLUMNS}
), active AS MATERIALIZED (
    SELECT member.id, least(occurred_at, now()) AS at FROM inserted, community_members AS member
    WHERE member.member_id = $2
        AND (last_active_at IS NULL OR last_active_at < least(occurred_at, now()) - interval '1 minute')
    FOR NO KEY UPDATE OF member SKIP LOCKED
), followed AS (
    UPDATE community_members AS member SET last_active_at = active.at FROM active WHERE member.id = active.id
)
SELECT $7::timestamptz > {LATEST} AS too_late, inserted.*
FROM community_members AS known LEFT JOIN inserted ON true WHERE known.member_id = $2
"""

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
    member_id: str | int,
    event_type: str,
    platform: str,
    room_id: str | int,
    source_id: str | int | None = None,
    occurred_at: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Event | None:
    """Store an event once and return it, or None if it was there already.

    Two calls with the same `source_id` (the platform's own id: of a message, or of the message that a reaction or a
    voice chat belongs to), member, type and room are the same event; without a `source_id` each call is another one.
    `occurred_at` is now when it is left out, and lies at most one day after the database's now. Highlights count
    `metadata["duration_seconds"]` of VOICE events. The member's `last_active_at` follows, once a minute, and no call
    waits for somebody who changes the member at that moment. Removed members' events are kept, too. Raises
    `MemberNotFound`, `InvalidInput`.
    """
    _, row = prepare(
        NewEvent(
            member_id=member_id,
            event_type=event_type,
            platform=platform,
            room_id=room_id,
            source_id=source_id,
            occurred_at=occurred_at,
            metadata=metadata,
        )
    )
    records = await engine.fetch(RECORD, *row)
    if not records:
        raise MemberNotFound(row[1])
    too_late, *columns = records[0]
    if too_late:
        raise time_refused()
    return None if columns[0] is None else _event(columns)


async def record_many(events: Iterable[NewEvent]) -> Recorded:
    """Store each event once, and say what became of every one of them.

    An event that can't be stored, even what is no `NewEvent`, is refused alone; the others go in. A thousand
    of them are one statement, stored as a whole or not at all: after a `DatabaseUnavailable` send them again, and those
    with a `source_id` are counted once. Raises nothing about a single event.
    """
    recorded = Recorded()
    iterator = iter(events)
    while chunk := list(islice(iterator, BATCH_SIZE)):
        prepared: list[PreparedEvent] = []
        for event in chunk:
            try:
                prepared.append(prepare(event))
            except InvalidInput as error:
                recorded.refused.append(Refused(event, error))
        batch = Batch(prepared)
        await batch.store()
        batch.report(recorded)
    return recorded


def recorder(
    *, max_pending: int = 10_000, give_up_after: float = 60, close_timeout: float = 5
) -> Recorder:
    """Open a recorder, for a stream of events: `async with recorder() as recorder: recorder.add(event)`.

    See `Recorder` for what it promises. At most `max_pending` events wait in it. An event that could not be stored for
    `give_up_after` seconds is handed back. The end of the block waits `close_timeout` seconds at the most.
    """
    return Recorder(
        max_pending=max_pending, give_up_after=give_up_after, close_timeout=close_timeout
    )


async def history(
    member_id: str | int, *, after: str | None = None, limit: int = 20
) -> Page[Event]:
    """A member's events, newest first. Raises `InvalidCursor`, `InvalidInput`."""
    place = (
        [] if after is None else decode_cursor(after, "participation", parse_timestamp, parse_uuid)
    )
    statement = HISTORY.format(AFTER=AFTER if place else "")
    records = await engine.fetch(
        statement, checked_limit(limit) + 1, member_number(member_id), *place
    )
    found = [_event(record) for record in records]
    return make_page(
        found, limit, "participation", lambda event: (event.occurred_at.isoformat(), str(event.id))
    )


async def activity(
    member_id: str | int, *, since: date, until: date, zone: str | None = None
) -> list[Activity]:
    """How many events of each type a member had on each day from `since` to `until`, both included; oldest first.

    Days are the community's, or those of another time zone; a day without events is left out. Raises `InvalidInput`.
    """
    records = await engine.fetch(
        ACTIVITY, member_number(member_id), *days_between(since, until, zone)
    )
    return [Activity(*record) for record in records]


async def most_active(
    *, since: date, until: date, zone: str | None = None, limit: int = 10
) -> list[ActiveMember]:
    """Who had the most events from `since` to `until`, both days included; contacts are among them, removed ones not.

    Days are the community's, or those of another time zone. Raises `InvalidInput`.
    """
    _, starts, end = days_between(since, until, zone)
    records = await engine.fetch(MOST_ACTIVE, checked_limit(limit), starts[0], end)
    return [
        ActiveMember(member_id, name, MemberStatus(status), events)
        for member_id, name, status, events in records
    ]


def _event(columns: Iterable[Any]) -> Event:
    values = list(columns)
    if values[-1] is not None:
        values[-1] = json.loads(values[-1])
    return Event(*values)
