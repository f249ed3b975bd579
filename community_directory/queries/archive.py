"""The archive: old events become daily counts for good, and are deleted.

The highlights keep the messages, the reactions, the minutes in voice chats and the points of each
member and day, and the hourly counts keep the events of everybody together. The rooms and the times
of each member, ids of messages and metadata are gone.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from community_directory.calendar import days_between, load_zone, today
from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import DatabaseUnavailable, InvalidInput
from community_directory.queries import highlights, roll_ups
from community_directory.queries.archived_days import (
    ARCHIVED_BEFORE_SQL,
    find_archive,
    find_first_open_day,
    open_days,
)
from community_directory.queries.highlights import STAY
from community_directory.queries.member_rows import BOTS
from community_directory.queries.merge_locks import LOCK_MERGES
from community_directory.queries.merge_rows import day_points_sql
from community_directory.queries.observation import observe_helpers
from community_directory.queries.reputation import DAILY_POINTS
from community_directory.queries.rooms import LOCK_EVENTS
from community_directory.settings import MIN_RETENTION_DAYS

CLOSE_LOCK_TIMEOUT = "2s"
"""The longest time for which the writers of events wait when days are closed.

PostgreSQL ends an autovacuum of the events after deadlock_timeout, which is one second.
"""
MAX_ROLL_UPS = 3
"""The number of times that a day is rolled up until its rows equal a recount."""

LIMIT_LOCK_WAIT = f"SELECT set_config('lock_timeout', '{CLOSE_LOCK_TIMEOUT}', true)"
CLOSE_DAYS = Statement("""
INSERT INTO directory_archive AS archive (closed_before) VALUES (:before)
ON CONFLICT (id) DO UPDATE SET closed_before = EXCLUDED.closed_before
WHERE archive.closed_before < EXCLUDED.closed_before
""")
MARK_ARCHIVED = Statement("""
UPDATE directory_archive SET archived_until = :day, archived_before = :ends_at
""")
DELETE_EVENTS = Statement("SELECT public.member_participation_archive(:starts_at)")

_DAY = """tsrange(
    :starts_at::timestamptz AT TIME ZONE 'UTC', :ends_at::timestamptz AT TIME ZONE 'UTC'
)"""
_POINTS = day_points_sql({column: column for column in DAILY_POINTS})
_EVENTS_OF_MERGES = """
    directory_merged_rows AS journal JOIN directory_merges AS merge ON merge.id = merge_id
"""
_OF_THE_DAY = f"""(
    occurred_at >= :starts_at AND occurred_at < :ends_at
    OR event_type = 'VOICE' AND {STAY} && {_DAY}
)"""

# If a merge is undone, the archived days of the duplicate come back as they are counted here.
COUNT_MERGED_EVENTS = Statement(f"""
WITH
-- The events of the day that each merge has moved, and those that both members had.
event AS (
    SELECT merge_id, duplicate_id, event_type, occurred_at, {STAY} AS stay
    FROM {_EVENTS_OF_MERGES} JOIN member_participation AS moved ON moved.id = row_id
    WHERE table_name = 'member_participation' AND journal.before IS NULL AND {_OF_THE_DAY}
    UNION ALL
    SELECT merge_id, duplicate_id, event_type, occurred_at, {STAY}
    FROM {_EVENTS_OF_MERGES},
        jsonb_populate_record(NULL::member_participation, journal.before) AS collapsed
    WHERE table_name = 'member_participation' AND journal.before IS NOT NULL AND {_OF_THE_DAY}
),
-- The seconds in voice chats. Stays at the same time are one.
stayed AS (
    SELECT merge_id, extract(epoch FROM sum(upper(time_spent) - lower(time_spent))) AS seconds
    FROM (
        SELECT merge_id, unnest(range_agg(stay * {_DAY})) AS time_spent
        FROM event WHERE event_type = 'VOICE' GROUP BY merge_id
    ) AS times GROUP BY merge_id
),
-- The row of each duplicate.
counted AS (
    SELECT merge_id, duplicate_id, jsonb_build_object(
        'message_count', message_count, 'reaction_count', reaction_count,
        'voice_minutes', voice_minutes, 'reputation_earned', {_POINTS}
    ) AS columns
    FROM (
        SELECT merge_id, duplicate_id,
            count(*) FILTER (WHERE event_type = 'MESSAGE')::integer AS message_count,
            count(*) FILTER (WHERE event_type = 'REACTION')::integer AS reaction_count,
            coalesce(div(max(seconds), 60), 0)::integer AS voice_minutes
        FROM event LEFT JOIN stayed USING (merge_id)
        WHERE event_type IN ('MESSAGE', 'REACTION', 'VOICE')
            AND duplicate_id NOT IN ({BOTS})
        GROUP BY merge_id, duplicate_id
    ) AS counts
),
-- The rows that the merges have moved, and whose events were taken back since.
deleted AS (
    DELETE FROM directory_merged_rows
    WHERE table_name = 'member_daily_highlights' AND before ->> 'highlight_date' = :day::date::text
        AND merge_id NOT IN (SELECT merge_id FROM counted)
),
-- The other rows that the merges have moved, with these counts.
updated AS (
    UPDATE directory_merged_rows AS journal SET before = before || columns FROM counted
    WHERE journal.merge_id = counted.merge_id AND table_name = 'member_daily_highlights'
        AND before ->> 'highlight_date' = :day::date::text
    RETURNING journal.merge_id
)
-- The others: the day was counted after the merge only.
INSERT INTO directory_merged_rows (merge_id, table_name, row_id, before)
SELECT merge_id, 'member_daily_highlights', id, columns || jsonb_build_object(
    'id', id, 'member_id', duplicate_id, 'highlight_date', :day::date, 'created_at', now()
)
FROM counted, LATERAL (SELECT md5(concat_ws(' ', duplicate_id, :day::date))::uuid AS id) AS ids
WHERE merge_id NOT IN (SELECT merge_id FROM updated)
""")
# What merges remember of the deleted events. The statement has no CASE and joins no events, so that
# Citus can run it.
FORGET_MERGED_EVENTS = Statement(f"""
WITH
-- The moved events that are not deleted: they belong to members into whom others were merged.
stored AS MATERIALIZED (
    SELECT id FROM member_participation
    WHERE member_id = ANY(ARRAY(SELECT into_id FROM directory_merges WHERE undone_at IS NULL))
),
forgotten AS MATERIALIZED (
    SELECT merge_id, row_id FROM directory_merged_rows
    WHERE table_name = 'member_participation' AND before IS NULL
        AND NOT EXISTS (SELECT FROM stored WHERE stored.id = row_id)
    UNION ALL
    SELECT merge_id, row_id
    FROM directory_merged_rows, jsonb_populate_record(NULL::member_participation, before)
    WHERE table_name = 'member_participation' AND before IS NOT NULL AND occurred_at < :ends_at
        AND (
            event_type <> 'VOICE'
            OR (upper({STAY}) <= :ends_at::timestamptz AT TIME ZONE 'UTC') IS NOT FALSE
        )
)
DELETE FROM directory_merged_rows AS journal USING forgotten
WHERE journal.merge_id = forgotten.merge_id AND journal.row_id = forgotten.row_id
    AND table_name = 'member_participation'
""")

# The rooms of the day, and of earlier days whose events somebody has deleted. Each month keeps the
# rooms of its other days. The members who lose rooms are returned.
DELETE_ROOMS = Statement("""
WITH deleted AS (
    DELETE FROM member_daily_rooms WHERE day <= :day::date
    RETURNING member_id, day, platform, room_id, event_count, message_count
),
-- What each month loses.
lost AS (
    SELECT member_id, date_trunc('month', day)::date AS month, platform, room_id,
        sum(event_count) AS events, sum(message_count) AS messages
    FROM deleted GROUP BY 1, 2, 3, 4
),
-- The rooms of which nothing is left in the month.
emptied AS (
    DELETE FROM member_monthly_rooms AS room USING lost
    WHERE (room.member_id, room.month, room.platform, room.room_id)
        = (lost.member_id, lost.month, lost.platform, lost.room_id) AND event_count <= events
),
-- The others.
reduced AS (
    UPDATE member_monthly_rooms AS room
    SET event_count = event_count - events, message_count = message_count - messages
    FROM lost
    WHERE (room.member_id, room.month, room.platform, room.room_id)
        = (lost.member_id, lost.month, lost.platform, lost.room_id) AND event_count > events
)
SELECT DISTINCT member_id FROM lost
""")

PREVIEW_EVENTS = Statement(f"""
SELECT event_type, count(*) AS events, count(DISTINCT member_id) AS members,
    min(occurred_at) AS first_at
FROM member_participation
WHERE occurred_at >= coalesce({ARCHIVED_BEFORE_SQL}, '-infinity') AND occurred_at < :before
GROUP BY event_type ORDER BY count(*) DESC, event_type
""")


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """A day that has been archived."""

    day: date
    events: int
    """The number of deleted events."""


@dataclass(frozen=True, slots=True)
class OldEvents:
    """The events of one type that would be deleted."""

    event_type: str
    events: int
    members: int
    """The number of members who have such events."""
    first_day: date


async def preview(before: date) -> list[OldEvents]:
    """Return the events of the days before this one by type, the most frequent type first.

    `archive_next_day` would delete them, except for stays in voice chats that reach into this day.

    Raises:
        InvalidInput: One of the last 90 days would be archived, or the value is not a date.
    """
    starts_at, zone = _start_of(before), load_zone(None)
    with long_running():
        records = await engine.fetch(PREVIEW_EVENTS, before=starts_at)
    return [
        OldEvents(event_type, events, members, first_at.astimezone(zone).date())
        for event_type, events, members, first_at in records
    ]


async def archive_next_day(before: date) -> ArchivedDay | None:
    """Archive the oldest day before this one that is not archived; None if there is none.

    One transaction counts the highlights of the day again, compares them with the events, deletes
    the events, and notes the day as archived: all of it, or nothing. The day's highlights are final
    afterwards. Merges and roll-ups wait for it, and recording does not.

    From the first call on, events of the days before `before` are refused, by a trigger, too: an
    event whose row is deleted could otherwise be stored again.

    Args:
        before: The first day that is kept, in the community's time zone.

    Raises:
        InvalidInput: One of the last 90 days would be archived, or the value is not a date.
        DatabaseUnavailable: Somebody is writing many events at the moment, or the rows of the day
            differ from a recount again and again. Nothing was deleted.
    """
    starts_at = _start_of(before)
    async with transaction():
        day = await find_first_open_day()
        if day is None or day >= before:
            return None
        await _close_days(starts_at)
    with long_running():
        async with transaction():
            # It excludes other archives, merges and roll-ups.
            await engine.fetch(LOCK_MERGES)
            day = await find_first_open_day()
            if day is None or day >= before:
                return None
            return ArchivedDay(day, await _archive(day))


async def _archive(day: date) -> int:
    """Archive a day in the transaction of the caller, and return the number of deleted events."""
    for _ in range(MAX_ROLL_UPS):
        if not await highlights.verify(day, repair=True):
            break
    else:
        raise DatabaseUnavailable(f"The highlights of {day} differ from its events. Try again.")
    span = await open_days(days_between(day, day, None))
    of_the_day = {"day": day, "starts_at": span.starts[0], "ends_at": span.end}
    await engine.fetch(COUNT_MERGED_EVENTS, **of_the_day)
    await engine.fetch(MARK_ARCHIVED, day=day, ends_at=span.end)
    [(deleted,)] = await engine.fetch(DELETE_EVENTS, starts_at=span.starts[0])
    await engine.fetch(FORGET_MERGED_EVENTS, ends_at=span.end)
    losers = await engine.fetch(DELETE_ROOMS, day=day)
    await roll_ups.count_room_spans_of([member_id for (member_id,) in losers])
    return int(deleted)


async def _close_days(starts_at: datetime) -> None:
    """Refuse events before this time from the end of the caller's transaction on.

    The lock waits for every statement that stores events: no event of these days is on its way.
    """
    archive = await find_archive()
    if archive is not None and archive.closed_before >= starts_at:
        return
    await engine.fetch(LIMIT_LOCK_WAIT)
    await engine.fetch(LOCK_EVENTS)
    await engine.fetch(CLOSE_DAYS, before=starts_at)


def _start_of(before: date) -> datetime:
    """Return the start of the first day that is kept.

    Raises:
        InvalidInput: One of the last 90 days would be archived, or the value is not a date.
    """
    starts_at = days_between(before, before, None).starts[0]
    latest = today() - timedelta(days=MIN_RETENTION_DAYS)
    if before > latest:
        raise InvalidInput(
            f"The last {MIN_RETENTION_DAYS} days can't be archived. "
            f"Choose {latest} or an earlier day.",
            field="before",
        )
    return starts_at


observe_helpers(globals())
