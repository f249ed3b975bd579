"""Participation: record the events of members, and count them.

`record` stores one event and returns it, `record_many` stores a list, and `recorder` a stream. An
event with a `source_id` is stored once, however often a platform delivers it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice

from community_directory.calendar import days_between, today
from community_directory.database import Statement, engine
from community_directory.queries.archived_days import ARCHIVED_BEFORE_SQL, ARCHIVED_UNTIL_SQL
from community_directory.queries.event_stream import stream
from community_directory.queries.events import (
    BATCH_SIZE,
    CURRENT_MEMBER,
    CURRENT_PLACE,
    EVENT_COLUMNS,
    Event,
    EventBatch,
    NewEvent,
    Recorded,
    Refused,
    prepare_event,
    prepare_events,
)
from community_directory.queries.member_rows import NO_BOTS
from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    KEY_FIELD,
    TIME_FIELD,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.recorder import Recorder, RecorderFull, RecorderGaveUp
from community_directory.queries.rooms import move_room
from community_directory.queries.values import member_number
from community_directory.settings import MIN_RETENTION_DAYS
from community_directory.tables import EventType, MemberStatus

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
    "move_room",
    "record",
    "record_many",
    "recorder",
    "stream",
    "take_back",
]

TAKE_BACK_EVENT = Statement(f"""
WITH place AS ({CURRENT_PLACE})
SELECT public.member_participation_take_back(
    platform, room_id, source_id, :event_type::text, member_id
)
FROM place, ({CURRENT_MEMBER}) AS person
""")


def _list_events_sql(order: PageOrder) -> str:
    return f"""
SELECT {EVENT_COLUMNS} FROM member_participation
WHERE member_id = ({CURRENT_MEMBER})
    AND {order.after("occurred_at, id", ":occurred_at, :event_id")}
{order.by("occurred_at", "id")} LIMIT :limit
"""


EVENTS_OF_MEMBER = PagedList(
    "participation",
    {"occurred_at": TIME_FIELD, "event_id": KEY_FIELD},
    _list_events_sql,
    is_descending=True,
)

# Archived days have no events any more, but their counts.
COUNT_DAILY_EVENTS = Statement(f"""
SELECT (:days::date[])[width_bucket(occurred_at, :starts::timestamptz[])] AS day,
    event_type, count(*) AS events
FROM member_participation
WHERE member_id = ({CURRENT_MEMBER})
    AND occurred_at >= greatest((:starts::timestamptz[])[1], {ARCHIVED_BEFORE_SQL})
    AND occurred_at < :end
GROUP BY 1, 2
UNION ALL
SELECT highlight_date, counts.event_type, counts.events
FROM member_daily_highlights, LATERAL (
    VALUES ('MESSAGE', message_count), ('REACTION', reaction_count)
) AS counts(event_type, events)
WHERE member_id = ({CURRENT_MEMBER}) AND highlight_date <= {ARCHIVED_UNTIL_SQL}
    AND highlight_date BETWEEN (:days::date[])[1] AND (:days::date[])[cardinality(:days::date[])]
    AND counts.events > 0
ORDER BY 1, 2
""")


# Only the members with the most events are looked up: for most of a large community that would take
# longer than to count the events. They include removed members, so that the caller sees whether
# others follow them.
def _make_rank_statement(counted: str) -> Statement:
    """Return the statement that ranks members by their events, which are counted in SQL."""
    return Statement(f"""
SELECT member_id, name, status, events, deleted_at IS NOT NULL AS is_removed FROM (
    SELECT member_id, events FROM ({counted}) AS counted
    WHERE {NO_BOTS}
    ORDER BY events DESC, length(member_id), member_id LIMIT :candidates
) AS candidates JOIN community_members USING (member_id)
ORDER BY events DESC, length(member_id), member_id
""")


RANK_ACTIVE_MEMBERS = _make_rank_statement("""
    SELECT member_id, count(*) AS events FROM member_participation
    WHERE occurred_at >= :start AND occurred_at < :end
    GROUP BY member_id
""")
# Some of the days may be archived: then they have counts instead of events.
RANK_MEMBERS_OF_OLD_DAYS = _make_rank_statement(f"""
    SELECT member_id, sum(events)::bigint AS events FROM (
        SELECT member_id, count(*) AS events FROM member_participation
        WHERE occurred_at >= greatest(:start, {ARCHIVED_BEFORE_SQL}) AND occurred_at < :end
        GROUP BY member_id
        UNION ALL
        SELECT member_id, coalesce(message_count, 0) + coalesce(reaction_count, 0)
        FROM member_daily_highlights
        WHERE highlight_date BETWEEN :since AND :until AND highlight_date <= {ARCHIVED_UNTIL_SQL}
    ) AS parts GROUP BY member_id HAVING sum(events) > 0
""")
SPARE_CANDIDATES = 50
"""The members that are looked up besides those that are wanted, in place of removed members."""


@dataclass(frozen=True, slots=True)
class Activity:
    """The number of events of one type that a member had on one day."""

    day: date
    event_type: str
    events: int


@dataclass(frozen=True, slots=True)
class ActiveMember:
    """A member or a contact, with the number of their events."""

    member_id: str
    name: str
    status: MemberStatus
    events: int


async def record(
    *,
    member_id: str | int | None = None,
    account: tuple[str, str | int] | None = None,
    event_type: str,
    platform: str,
    room_id: str | int,
    source_id: str | int | None = None,
    occurred_at: datetime | None = None,
    metadata: Mapping[str, object] | None = None,
    durable: bool = True,
) -> Event | None:
    """Store an event once and return it, or return None if it is stored already.

    The event moves the member's `last_active_at` forward, at most once a minute. The call does not
    wait for other updates of the member. Events of removed members are stored, too, and those of a
    merged member are those of the other one.

    Args:
        member_id: The member's number: "#247", or 247.
        account: Instead of the number, an account of the member: its platform and its id there,
            such as ("discord", "123").
        event_type: An upper-case name. Highlights count MESSAGE, REACTION and VOICE.
        platform: A lower-case name, such as "telegram" or "discord".
        room_id: The platform's id of the chat or channel.
        source_id: The platform's id of the message, or of the message or voice chat that the event
            belongs to. Calls with the same platform, room, source id, type and member are about the
            same event; each call without a source id is about a new event.
        occurred_at: An aware datetime, from the year 2000 to one day after the database's current
            time, which is the default. The time of a VOICE event is its start; by default it ends
            now.
        metadata: A JSON object of at most 10,000 characters. The `duration_seconds` or
            `voice_duration_seconds` of a VOICE event are a number of seconds, at most 31 days, and
            highlights count them on the days on which they passed.
        durable: False returns before the event is on the disk. A crash of the database server then
            loses the events of the last moment: up to three times its `wal_writer_delay`, together
            0.6 seconds by default. Nothing else is lost, and nothing is damaged. A crash of this
            program loses nothing. In a transaction of the caller it has no effect: their commit
            waits for the disk.

    Raises:
        MemberNotFound: The member or the account is not in the directory.
        EventArchived: The day of the event is archived: only its counts are kept.
        InvalidInput: The event can't be stored, or it has both a number and an account, or neither.
    """
    prepared = prepare_event(
        NewEvent(
            member_id=member_id,
            account=account,
            event_type=event_type,
            platform=platform,
            room_id=room_id,
            source_id=source_id,
            occurred_at=occurred_at,
            metadata=metadata,
        )
    )
    return await prepared.store(durable=durable)


async def record_many(events: Iterable[NewEvent]) -> Recorded:
    """Store each event once, and return the outcome for every one of them.

    An event that can't be stored, or that is not a `NewEvent`, is refused alone; the others are
    stored. One statement stores up to 1,000 events, all of them or none. After a
    `DatabaseUnavailable` send the same events again: those with a `source_id` are stored once.

    Raises:
        DatabaseUnavailable: The database can't be reached or is busy. A single event never raises
            an error.
    """
    recorded = Recorded()
    iterator = iter(events)
    while chunk := list(islice(iterator, BATCH_SIZE)):
        batch = EventBatch(prepare_events(chunk, recorded.refused))
        await batch.store()
        batch.report(recorded)
    return recorded


async def take_back(
    *,
    member_id: str | int | None = None,
    account: tuple[str, str | int] | None = None,
    platform: str,
    room_id: str | int,
    source_id: str | int,
    event_type: str = EventType.REACTION,
) -> bool:
    """Delete an event that did not last, and return whether it was stored.

    Call it when a member has taken back their last reaction to a message. The next roll-up of the
    day no longer counts it. A later call of `record` stores the event again, so first wait for the
    events that a recorder still holds (`Recorder.flush`). An event of an archived day is not stored
    any more: the result is False, and the day's counts stay.

    Args:
        member_id: The member's number: "#247", or 247.
        account: Instead of the number, an account of the member, such as ("discord", "123").
        platform: The platform of the event.
        room_id: The room of the event; one that has moved is found, too.
        source_id: The id with which the event was recorded.
        event_type: The type of the event.

    Raises:
        InvalidInput: No event can have these values.
    """
    row = prepare_event(
        NewEvent(
            member_id=member_id,
            account=account,
            event_type=event_type,
            platform=platform,
            room_id=room_id,
            source_id=source_id,
        )
    ).row
    deleted = await engine.fetch(
        TAKE_BACK_EVENT,
        member_id=row.member_id,
        event_type=row.event_type,
        platform=row.platform,
        room_id=row.room_id,
        source_id=row.source_id,
    )
    return any(is_deleted for (is_deleted,) in deleted)


def recorder(
    *, max_pending: int = 10_000, give_up_after: float = 60, close_timeout: float = 5
) -> Recorder:
    """Open a recorder for a stream of events.

    Use it as `async with recorder() as stream: stream.add(event)`. `Recorder` documents the
    guarantees.

    Args:
        max_pending: The maximum number of events in the recorder: the waiting and the unsaved ones.
        give_up_after: The seconds after which an event that can't be stored moves to `unsaved`.
        close_timeout: The maximum seconds that the end of the block waits for the last events.
    """
    return Recorder(
        max_pending=max_pending, give_up_after=give_up_after, close_timeout=close_timeout
    )


async def history(
    member_id: str | int, *, after: str | None = None, limit: int = 20
) -> Page[Event]:
    """Return a page of a member's events, newest first.

    Events of archived days are deleted: `highlights.between` has what was counted of them.

    Raises:
        InvalidCursor: `after` is not a cursor of this query.
        InvalidInput: The number or the limit is not valid.
    """
    return await EVENTS_OF_MEMBER.read_page(
        after,
        checked_limit(limit),
        Event.from_columns,
        lambda event: (event.occurred_at, event.id),
        member_id=member_number(member_id),
    )


async def activity(
    member_id: str | int, *, since: date, until: date, zone: str | None = None
) -> list[Activity]:
    """Count a member's events by day and type, from `since` to `until`, oldest day first.

    Both days are included. A day without events is left out. `zone` is the name of the days' time
    zone; None means the community's time zone. Archived days have their messages and reactions, as
    the days of the community's time zone; voice stays and events of other types are not counted
    any more.

    Raises:
        InvalidInput: The number, the days or the time zone are not valid.
    """
    records = await engine.read(
        COUNT_DAILY_EVENTS,
        member_id=member_number(member_id),
        **days_between(since, until, zone)._asdict(),
    )
    return [Activity(*record) for record in records]


async def most_active(
    *, since: date, until: date, zone: str | None = None, limit: int = 10
) -> list[ActiveMember]:
    """Return the members with the most events from `since` to `until`, the most active first.

    Both days are included. Contacts are listed, removed members and bots are not. `zone` is the
    name of the days' time zone; None means the community's time zone. Of archived days the messages
    and reactions count, as the days of the community's time zone.

    The events themselves are counted, of all types and up to this moment, so the time grows with
    their number: about 0.3 seconds for each million events of these days, whatever the number of
    members. Highlights would be faster, but they have no other types and no late events before the
    next roll-up. A call that takes longer than the time limit of statements fails.

    Raises:
        DatabaseUnavailable: The events of these days are too many for the time limit.
        InvalidInput: The days, the time zone or the limit are not valid.
    """
    days, limit = days_between(since, until, zone), checked_limit(limit)
    candidates = limit + SPARE_CANDIDATES
    values: dict[str, object] = {"start": days.starts[0], "end": days.end}
    statement = RANK_ACTIVE_MEMBERS
    # The events of 90 days are always kept; a day in another time zone begins up to 26 hours later.
    if since < today() - timedelta(days=MIN_RETENTION_DAYS - 2):
        statement = RANK_MEMBERS_OF_OLD_DAYS
        values |= {"since": since, "until": until}
    while True:
        records = await engine.read(statement, candidates=candidates, **values)
        found = [
            ActiveMember(member_id, name, MemberStatus(status), events)
            for member_id, name, status, events, is_removed in records
            if not is_removed
        ]
        if len(found) >= limit or len(records) < candidates:
            return found[:limit]
        candidates *= 10


observe_helpers(globals())
