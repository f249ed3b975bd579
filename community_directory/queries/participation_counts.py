"""Counts of events by room and by day, of one member or of everybody.

Callers use them as `participation.by_room` and `participation.by_day`.
"""

from dataclasses import dataclass
from datetime import date, datetime

from community_directory.calendar import days_between
from community_directory.database import Statement, engine
from community_directory.queries.archived_days import ARCHIVED_BEFORE_SQL, ARCHIVED_UNTIL_SQL
from community_directory.queries.events import CURRENT_MEMBER
from community_directory.queries.member_rows import NO_BOTS
from community_directory.queries.pages import checked_limit
from community_directory.queries.values import member_number


@dataclass(frozen=True, slots=True)
class RoomCounts:
    """The events of some days in one room.

    Attributes:
        platform: The platform of the room.
        room_id: The platform's id of the chat or channel.
        events: The number of events of all types.
        messages: The number of messages.
        reactions: The number of reactions.
        voice_stays: The number of stays in voice chats.
        members: The number of members with an event.
        last_at: The time of the last event, aware and in UTC.
    """

    platform: str
    room_id: str
    events: int
    messages: int
    reactions: int
    voice_stays: int
    members: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class DayCounts:
    """The events of one day.

    Attributes:
        day: The day.
        events: The number of events of all types; of an archived day the messages and reactions.
        messages: The number of messages.
        reactions: The number of reactions.
        voice_stays: The number of stays in voice chats that began on the day; 0 if it is archived.
        is_archived: Whether the day is archived, so that no other counts are kept.
    """

    day: date
    events: int
    messages: int
    reactions: int
    voice_stays: int
    is_archived: bool


_OF_MEMBER = f"member_id = ({CURRENT_MEMBER})"
_COUNTS = """count(*) AS events,
    count(*) FILTER (WHERE event_type = 'MESSAGE') AS messages,
    count(*) FILTER (WHERE event_type = 'REACTION') AS reactions,
    count(*) FILTER (WHERE event_type = 'VOICE') AS voice_stays"""
_SUMS = ", ".join(
    f"sum({name})::bigint AS {name}" for name in ("events", "messages", "reactions", "voice_stays")
)


# The members of a room are counted one by one first: PostgreSQL would sort all events to count
# distinct members.
def _make_room_statement(whose: str) -> Statement:
    """Return the statement that counts the events of members who fulfil a condition in SQL."""
    return Statement(f"""
SELECT platform, room_id, {_SUMS}, count(*) AS members, max(last_at) AS last_at
FROM (
    SELECT platform, room_id, member_id, {_COUNTS}, max(occurred_at) AS last_at
    FROM member_participation
    WHERE {whose} AND occurred_at < :end
        AND occurred_at >= greatest(:start::timestamptz, {ARCHIVED_BEFORE_SQL})
    GROUP BY platform, room_id, member_id
) AS counted
GROUP BY platform, room_id ORDER BY events DESC, platform, room_id LIMIT :limit
""")


COUNT_ROOMS = _make_room_statement(NO_BOTS)
COUNT_ROOMS_OF_MEMBER = _make_room_statement(_OF_MEMBER)


# Archived days have no events any more, but their counts.
def _make_day_statement(whose: str) -> Statement:
    """Return the statement that counts the events of members who fulfil a condition in SQL."""
    return Statement(f"""
SELECT day, coalesce(events, 0), coalesce(messages, 0), coalesce(reactions, 0),
    coalesce(voice_stays, 0), coalesce(day <= {ARCHIVED_UNTIL_SQL}, false)
FROM unnest(:days::date[]) AS day LEFT JOIN (
    SELECT day, {_SUMS} FROM (
        SELECT (:days::date[])[width_bucket(occurred_at, :starts::timestamptz[])] AS day, {_COUNTS}
        FROM member_participation
        WHERE {whose} AND occurred_at < :end
            AND occurred_at >= greatest((:starts::timestamptz[])[1], {ARCHIVED_BEFORE_SQL})
        GROUP BY 1
        UNION ALL
        SELECT highlight_date, sum(message_count + reaction_count), sum(message_count),
            sum(reaction_count), 0
        FROM (
            SELECT highlight_date, coalesce(message_count, 0) AS message_count,
                coalesce(reaction_count, 0) AS reaction_count
            FROM member_daily_highlights
            WHERE {whose} AND highlight_date <= {ARCHIVED_UNTIL_SQL}
                AND highlight_date BETWEEN (:days::date[])[1]
                    AND (:days::date[])[cardinality(:days::date[])]
        ) AS archived GROUP BY 1
    ) AS parts GROUP BY day
) AS counted USING (day) ORDER BY day
""")


COUNT_DAYS = _make_day_statement(NO_BOTS)
COUNT_DAYS_OF_MEMBER = _make_day_statement(_OF_MEMBER)


async def by_room(
    *,
    member_id: str | int | None = None,
    since: date,
    until: date,
    zone: str | None = None,
    limit: int = 20,
) -> list[RoomCounts]:
    """Count the events from `since` to `until` by room, the room with the most events first.

    Archived days have no rooms any more, and are not counted. For everybody, without bots, the time
    grows with the number of events of these days, by about a second for each million.

    Args:
        member_id: The number of a member, whose events are counted; None counts those of everybody.
        since: The first day.
        until: The last day, which is included.
        zone: The name of the days' time zone; None means the community's time zone.
        limit: The maximum number of rooms, 1 to 100.

    Raises:
        DatabaseUnavailable: The events of these days are too many for the time limit.
        InvalidInput: The number, the days, the time zone or the limit are not valid.
    """
    days = days_between(since, until, zone)
    values: dict[str, object] = {"start": days.starts[0], "end": days.end}
    values["limit"] = checked_limit(limit)
    if member_id is None:
        records = await engine.read(COUNT_ROOMS, **values)
    else:
        number = member_number(member_id)
        records = await engine.read(COUNT_ROOMS_OF_MEMBER, member_id=number, **values)
    return [RoomCounts(*record) for record in records]


async def by_day(
    *, member_id: str | int | None = None, since: date, until: date, zone: str | None = None
) -> list[DayCounts]:
    """Count the events of each day from `since` to `until`, oldest day first.

    Every day is in the list, also one without events. Archived days have their messages and
    reactions, as the days of the community's time zone; their voice stays and events of other types
    are not counted any more, and `is_archived` tells so. For everybody, without bots, the time
    grows with the number of events of these days, by about half a second for each million.

    Args:
        member_id: The number of a member, whose events are counted; None counts those of everybody.
        since: The first day.
        until: The last day, which is included.
        zone: The name of the days' time zone; None means the community's time zone.

    Raises:
        DatabaseUnavailable: The events of these days are too many for the time limit.
        InvalidInput: The number, the days or the time zone are not valid.
    """
    values = days_between(since, until, zone)._asdict()
    if member_id is None:
        records = await engine.read(COUNT_DAYS, **values)
    else:
        number = member_number(member_id)
        records = await engine.read(COUNT_DAYS_OF_MEMBER, member_id=number, **values)
    return [DayCounts(*record) for record in records]
