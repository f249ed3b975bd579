"""What a roll-up counts besides the highlights: rooms, hours, months, and how members began.

The rooms and the hours of a day are counted from its events. The months are the sums of the days,
the first and the last day of a member in a room come from all rooms of days, and the milestones of
a member from the highlights of all days.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from community_directory.calendar import DaySpan, clock_shifts
from community_directory.database import Statement, engine
from community_directory.queries.archived_days import (
    ARCHIVED_UNTIL_SQL,
    begin_with_first_open_day,
)
from community_directory.queries.events import EARLIEST_EVENT_TIME
from community_directory.queries.member_rows import NO_BOTS

OF_THESE_MEMBERS = "AND member_id = ANY(:member_ids::text[])"
"""A condition in SQL: the rows are those of `:member_ids`."""


def _local_time_sql(moment: str) -> str:
    """Return the SQL of what the clocks show at a moment. It needs the values of `clock_shifts`."""
    return f"""(({moment} AT TIME ZONE 'UTC')
        + (:offsets::interval[])[width_bucket({moment}, :shifts::timestamptz[])])"""


@dataclass(frozen=True, slots=True)
class RolledUpTable:
    """A table that roll-ups rewrite, and how its rows are counted."""

    name: str
    key: tuple[str, ...]
    """The columns of the primary key, in the order in which rows are locked."""
    counts: tuple[str, ...]
    counted: str
    """The SQL of the rows that the table must have, with the columns of the key and the counts."""
    scope: str
    """The condition in SQL of the rows of the table that are compared with these."""

    def make_write_statement(self) -> Statement:
        """Return the statement that writes the rows that differ, and returns their members."""
        same = " AND ".join(f"old.{column} = gone.{column}" for column in self.key)
        returned = "member_id" if "member_id" in self.key else "NULL"
        return Statement(f"""
WITH {self._ctes()},
-- The rows that are new or differ.
written AS (
    INSERT INTO {self.name} ({self._columns()})
    SELECT * FROM (SELECT * FROM counted EXCEPT SELECT * FROM stored) AS changed
    ORDER BY {", ".join(self.key)}
    ON CONFLICT ({", ".join(self.key)}) DO UPDATE
        SET {", ".join(f"{column} = EXCLUDED.{column}" for column in self.counts)}
    RETURNING {returned} AS member_id
),
-- The rows of which nothing is left to count.
deleted AS (
    DELETE FROM {self.name} AS old USING (
        SELECT {", ".join(self.key)} FROM stored EXCEPT SELECT {", ".join(self.key)} FROM counted
    ) AS gone
    WHERE {same}
    RETURNING {"old.member_id" if "member_id" in self.key else "NULL"} AS member_id
)
SELECT member_id FROM written UNION SELECT member_id FROM deleted
""")

    def make_find_statement(self, further: str = "true") -> Statement:
        """Return the statement that returns each row that differs, as JSON: stored, counted."""
        return Statement(f"""
WITH {self._ctes()}
SELECT to_jsonb(stored), to_jsonb(counted)
FROM stored FULL JOIN counted USING ({", ".join(self.key)})
WHERE stored IS DISTINCT FROM counted AND {further}
ORDER BY {", ".join(self.key)}
""")

    def _ctes(self) -> str:
        return f"""
-- The rows that the table must have.
counted AS ({self.counted}),
-- The rows that it has.
stored AS (SELECT {self._columns()} FROM {self.name} WHERE {self.scope})"""

    def _columns(self) -> str:
        return ", ".join((*self.key, *self.counts))


# Days from events.

_DAY = "(:days::date[])[width_bucket(occurred_at, :starts::timestamptz[])]"
_OF_THESE_DAYS = "occurred_at >= (:starts::timestamptz[])[1] AND occurred_at < :end"
_STORED_DAYS = "day BETWEEN (:days::date[])[1] AND (:days::date[])[cardinality(:days::date[])]"
_ROOM_COUNTS = ("event_count", "message_count")


def _make_room_table(of_members: str = "", of_days: str = "") -> RolledUpTable:
    """Return the rooms of each member and day, under further conditions in SQL."""
    return RolledUpTable(
        name="member_daily_rooms",
        key=("day", "platform", "room_id", "member_id"),
        counts=_ROOM_COUNTS,
        counted=f"""
    SELECT * FROM (
        SELECT {_DAY} AS day, platform, room_id, member_id,
            least(count(*), 2147483647)::integer AS event_count,
            least(count(*) FILTER (WHERE event_type = 'MESSAGE'), 2147483647)::integer
                AS message_count
        FROM member_participation
        WHERE {_OF_THESE_DAYS} AND {NO_BOTS} {of_members}
        GROUP BY 1, 2, 3, 4
    ) AS rooms WHERE true {of_days}""",
        scope=f"{_STORED_DAYS} {of_members} {of_days}",
    )


_COUNTED_DAYS = "AND day = ANY(:counted_days::date[])"
_ROOMS = _make_room_table(of_days=_COUNTED_DAYS)
_ROOMS_OF_MEMBERS = _make_room_table(OF_THESE_MEMBERS, _COUNTED_DAYS)

# The days whose rooms differ from the events, found by sums of hashes: each row adds its hash as
# often as it has events. To count and compare the rooms of a month takes four times as long.
_HASH = "hashtextextended(room_id, hashtextextended(platform, hashtextextended(member_id, 0)))"
FIND_DAYS_WITH_OTHER_ROOMS = Statement(f"""
SELECT day FROM (
    SELECT {_DAY} AS day, sum({_HASH}) AS events,
        coalesce(sum({_HASH}) FILTER (WHERE event_type = 'MESSAGE'), 0) AS messages
    FROM member_participation WHERE {_OF_THESE_DAYS} AND {NO_BOTS} GROUP BY 1
) AS counted FULL JOIN (
    SELECT day, sum({_HASH}::numeric * event_count) AS events,
        sum({_HASH}::numeric * message_count) AS messages
    FROM member_daily_rooms WHERE {_STORED_DAYS} GROUP BY day
) AS stored USING (day)
WHERE (counted.events, counted.messages) IS DISTINCT FROM (stored.events, stored.messages)
""")


def _make_hours_sql(of_members: str = "") -> str:
    """Return the SQL of the hours of days, of all members or under a condition in SQL.

    The hour is the one that clocks show: where they are put back, one hour has the events of two.
    """
    return f"""
    SELECT {_DAY} AS day, date_part('hour', {_local_time_sql("occurred_at")})::smallint AS hour,
        platform, event_type, least(count(*), 2147483647)::integer AS event_count
    FROM member_participation WHERE {_OF_THESE_DAYS} AND {NO_BOTS} {of_members}
    GROUP BY 1, 2, 3, 4"""


_HOURS = RolledUpTable(
    name="directory_hourly_counts",
    key=("day", "hour", "platform", "event_type"),
    counts=("event_count",),
    counted=_make_hours_sql(),
    scope=_STORED_DAYS,
)

# Months from days.

_THESE_MONTHS = "month >= :since AND month <= :until"
_DAYS_OF_MONTHS = "BETWEEN :since AND (:until::date + interval '1 month' - interval '1 day')::date"


def _month_of(day: str) -> str:
    return f"date_trunc('month', {day}::timestamp)::date"


def _sum_of(column: str) -> str:
    return f"least(sum(coalesce({column}, 0)), 2147483647)::integer AS {column}"


def _make_month_table(of_members: str = "") -> RolledUpTable:
    return RolledUpTable(
        name="member_monthly_highlights",
        key=("member_id", "month"),
        counts=("active_days", "message_count", "reaction_count", "voice_minutes"),
        counted=f"""
    SELECT member_id, {_month_of("highlight_date")} AS month, count(*)::smallint AS active_days,
        {_sum_of("message_count")}, {_sum_of("reaction_count")}, {_sum_of("voice_minutes")}
    FROM member_daily_highlights
    WHERE highlight_date {_DAYS_OF_MONTHS} AND {NO_BOTS} {of_members}
    GROUP BY 1, 2""",
        scope=f"{_THESE_MONTHS} {of_members}",
    )


def _make_room_month_table(of_members: str = "") -> RolledUpTable:
    return RolledUpTable(
        name="member_monthly_rooms",
        key=("month", "platform", "room_id", "member_id"),
        counts=_ROOM_COUNTS,
        counted=f"""
    SELECT {_month_of("day")} AS month, platform, room_id, member_id,
        {_sum_of("event_count")}, {_sum_of("message_count")}
    FROM member_daily_rooms WHERE day {_DAYS_OF_MONTHS} {of_members}
    GROUP BY 1, 2, 3, 4""",
        scope=f"{_THESE_MONTHS} {of_members}",
    )


_MONTHS = _make_month_table()
_ROOM_MONTHS = _make_room_month_table()

# The first and the last days in rooms, from the rooms of all days.


def _make_room_span_table(of_members: str) -> RolledUpTable:
    """Return the first and last days in rooms of members under a condition in SQL."""
    return RolledUpTable(
        name="member_rooms",
        key=("member_id", "platform", "room_id"),
        counts=("first_day", "last_day"),
        # The months say which days to read: those of the first and of the last month of each room.
        # The days of other rooms in these months change neither the first nor the last day.
        counted=f"""
    SELECT member_id, platform, room_id, min(day) AS first_day, max(day) AS last_day
    FROM (
        SELECT DISTINCT member_id, unnest(ARRAY[min(month), max(month)]) AS month
        FROM member_monthly_rooms WHERE {of_members}
        GROUP BY member_id, platform, room_id
    ) AS ends
    JOIN member_daily_rooms USING (member_id)
    WHERE day BETWEEN month AND month + 30
    GROUP BY 1, 2, 3""",
        scope=of_members,
    )


_ROOM_SPANS = _make_room_span_table("member_id = ANY(:member_ids::text[])")
_ROOM_SPANS_OF_DAYS = _make_room_span_table(f"""member_id IN (
    SELECT member_id FROM member_daily_rooms WHERE {_STORED_DAYS}
    UNION
    SELECT member_id FROM member_rooms
    WHERE first_day = ANY(:days::date[]) OR last_day = ANY(:days::date[])
)""")

# Milestones from the highlights of all days.

WEEKS = 12
"""The number of weeks after joining for which it is stored whether a member was active."""


def _make_milestone_table(members: str) -> RolledUpTable:
    """Return the milestones of the members whose numbers a query in SQL returns."""
    return RolledUpTable(
        name="member_milestones",
        key=("member_id",),
        counts=("first_active_day", "first_message_day", "active_weeks"),
        # The months say which days to read: to read all days of a member would take longer, and
        # Citus refuses to look up the first one of each. A bot has no months: it keeps the day of
        # joining alone, for the case that it becomes a person.
        counted=f"""
    WITH
    -- The months in which they were first active, and the day on which they joined.
    begun AS MATERIALIZED (
        SELECT member_id, {_local_time_sql("joined_at")}::date AS joined, joined_at, approved_at,
            min(month) AS active_month,
            min(month) FILTER (WHERE message_count > 0) AS message_month
        FROM ({members}) AS member(member_id)
        LEFT JOIN member_milestones USING (member_id)
        LEFT JOIN member_monthly_highlights USING (member_id)
        GROUP BY member_id, joined_at, approved_at
    ),
    -- Their days up to the end of these months and of the weeks after joining. A condition on the
    -- first day would make PostgreSQL look for each member at each date.
    active AS (
        SELECT highlight.member_id, min(highlight_date) AS first_active_day,
            min(highlight_date) FILTER (WHERE message_count > 0) AS first_message_day,
            array_agg(DISTINCT ((highlight_date - joined) / 7 + 1)::smallint)
                FILTER (WHERE highlight_date BETWEEN joined AND joined + {7 * WEEKS - 1}) AS weeks
        FROM begun
        JOIN member_daily_highlights AS highlight ON highlight.member_id = begun.member_id
        WHERE active_month IS NOT NULL AND highlight_date <= greatest(
            active_month + 30, message_month + 30, joined + {7 * WEEKS - 1}
        )
        GROUP BY highlight.member_id
    )
    SELECT member_id, first_active_day, first_message_day, coalesce(weeks, '{{}}') AS active_weeks
    FROM begun LEFT JOIN active USING (member_id)
    WHERE num_nonnulls(joined_at, approved_at, first_active_day) > 0""",
        scope=f"member_id IN ({members})",
    )


_MILESTONES = _make_milestone_table("SELECT unnest(:member_ids::text[])")
_JOINED = "joined_at >= (:starts::timestamptz[])[1] AND joined_at < :end"
_MILESTONES_OF_JOINED = _make_milestone_table(
    f"SELECT member_id FROM member_milestones WHERE {_JOINED}"
)
_MILESTONES_OF_DAYS = _make_milestone_table(f"""
    SELECT member_id FROM member_daily_highlights
    WHERE highlight_date BETWEEN (:days::date[])[1] AND (:days::date[])[cardinality(:days::date[])]
    UNION
    SELECT member_id FROM member_milestones
    WHERE {_JOINED} OR first_active_day = ANY(:days) OR first_message_day = ANY(:days)
""")

WRITE_ROOMS = _ROOMS.make_write_statement()
WRITE_ROOMS_OF_MEMBERS = _ROOMS_OF_MEMBERS.make_write_statement()
WRITE_HOURS = _HOURS.make_write_statement()
GET_HOURS_OF_MEMBERS = Statement(_make_hours_sql(OF_THESE_MEMBERS))
CHANGE_HOURS = Statement("""
WITH
-- The hours with the events that they must have.
changed AS (
    SELECT day, hour, platform, event_type, coalesce(event_count, 0) + change AS total
    FROM unnest(
        :days::date[], :hours::smallint[], :platforms::text[], :event_types::text[],
        :changes::integer[]
    ) AS changed(day, hour, platform, event_type, change)
    LEFT JOIN directory_hourly_counts USING (day, hour, platform, event_type)
),
-- The hours of which nothing is left.
emptied AS (
    DELETE FROM directory_hourly_counts AS stored USING changed
    WHERE (stored.day, stored.hour, stored.platform, stored.event_type)
        = (changed.day, changed.hour, changed.platform, changed.event_type) AND total <= 0
)
INSERT INTO directory_hourly_counts (day, hour, platform, event_type, event_count)
SELECT * FROM changed WHERE total > 0
ON CONFLICT (day, hour, platform, event_type) DO UPDATE SET event_count = EXCLUDED.event_count
""")
WRITE_MONTHS = _make_month_table(OF_THESE_MEMBERS).make_write_statement()
WRITE_ROOM_MONTHS = _make_room_month_table(OF_THESE_MEMBERS).make_write_statement()
WRITE_ROOM_SPANS = _ROOM_SPANS.make_write_statement()
WRITE_MILESTONES = _MILESTONES.make_write_statement()
FIND_JOINED = _MILESTONES_OF_JOINED.make_find_statement()

# A day may have been archived since the caller looked.
_STILL_OPEN = f"day > coalesce({ARCHIVED_UNTIL_SQL}, '-infinity')"
FIND_ROOM_DIFFERENCES = _ROOMS.make_find_statement(_STILL_OPEN)
FIND_HOUR_DIFFERENCES = _HOURS.make_find_statement(_STILL_OPEN)
FIND_MONTH_DIFFERENCES = _MONTHS.make_find_statement()
FIND_ROOM_MONTH_DIFFERENCES = _ROOM_MONTHS.make_find_statement()
FIND_ROOM_SPAN_DIFFERENCES = _ROOM_SPANS_OF_DAYS.make_find_statement()
FIND_MILESTONE_DIFFERENCES = _MILESTONES_OF_DAYS.make_find_statement()


@dataclass(frozen=True, slots=True)
class RolledUpRow:
    """A row of another table than the highlights that a roll-up writes."""

    table: str
    values: Mapping[str, Any]
    """The columns that are counted, and those of the key; days are texts such as "2026-01-31"."""

    @property
    def day(self) -> date | None:
        """The day whose events are counted; None if the row is a sum of days."""
        return date.fromisoformat(self.values["day"]) if "day" in self.values else None

    @property
    def member_id(self) -> str | None:
        """The member; None if the row is that of an hour."""
        return self.values.get("member_id")


Pair = tuple[RolledUpRow | None, RolledUpRow | None]
"""What is stored and what is counted; None in place of a row that is missing."""


async def count_rooms_and_hours(days: DaySpan, zone: str | None) -> set[str]:
    """Count the rooms and the hours of these days again, and return the members who have changed.

    The caller has locked the days: see `highlights.roll_up`.
    """
    await engine.fetch(WRITE_HOURS, **days._asdict(), **clock_shifts(zone)._asdict())
    differing = await _find_days_with_other_rooms(days)
    if not differing:
        return set()
    changed = await engine.fetch(WRITE_ROOMS, **days._asdict(), counted_days=differing)
    return {member_id for (member_id,) in changed}


async def _find_days_with_other_rooms(days: DaySpan) -> list[date]:
    records = await engine.fetch(FIND_DAYS_WITH_OTHER_ROOMS, **days._asdict())
    return [record["day"] for record in records]


async def find_joined(days: DaySpan, zone: str | None) -> set[str]:
    """Return the members who joined on these days, and whose milestones differ from a recount.

    Their days may have been counted before they joined.
    """
    starts = await _find_starts_of_joining(days)
    records = await engine.fetch(
        FIND_JOINED, starts=starts, end=days.end, **clock_shifts(zone)._asdict()
    )
    return {json.loads(stored)["member_id"] for stored, _ in records}


async def _find_starts_of_joining(days: DaySpan) -> list[datetime]:
    """Return the starts of days, of which the first is that of those who join on these days.

    No roll-up has the archived days on which others joined, and whose weeks are others after a
    change of the zone: they belong to the first open day.
    """
    return [EARLIEST_EVENT_TIME] if await begin_with_first_open_day(days) else days.starts


async def find_differences(days: DaySpan, zone: str | None) -> list[Pair]:
    """Return the rows of rooms, hours, months and milestones that differ from a recount.

    The rooms and the hours are those of these days, the months those that have one of these days.
    The first and last days in rooms are those of everybody who was in a room on these days. The
    milestones are those of everybody who was active, joined or began on these days.
    """
    events, clocks = days._asdict(), clock_shifts(zone)._asdict()
    joined = {**events, "starts": await _find_starts_of_joining(days)}
    differing = await _find_days_with_other_rooms(days)
    months = _months(days.days[0], days.days[-1])
    return [
        *await _find(_ROOMS, FIND_ROOM_DIFFERENCES, **events, counted_days=differing),
        *await _find(_HOURS, FIND_HOUR_DIFFERENCES, **events, **clocks),
        *await _find(_MONTHS, FIND_MONTH_DIFFERENCES, **months),
        *await _find(_ROOM_MONTHS, FIND_ROOM_MONTH_DIFFERENCES, **months),
        *await _find(_ROOM_SPANS, FIND_ROOM_SPAN_DIFFERENCES, days=days.days),
        *await _find(_MILESTONES, FIND_MILESTONE_DIFFERENCES, **joined, **clocks),
    ]


async def _find(table: RolledUpTable, statement: Statement, **values: object) -> list[Pair]:
    return [
        (_row_from(table, stored), _row_from(table, counted))
        for stored, counted in await engine.fetch(statement, **values)
    ]


def _row_from(table: RolledUpTable, row: str | None) -> RolledUpRow | None:
    return None if row is None else RolledUpRow(table.name, json.loads(row))


async def count_rooms_of(
    member_ids: Collection[str], days: DaySpan, counted_days: Collection[date]
) -> None:
    """Count the rooms of some members again, on those of these days that are `counted_days`."""
    await engine.fetch(
        WRITE_ROOMS_OF_MEMBERS,
        member_ids=list(member_ids),
        counted_days=list(counted_days),
        **days._asdict(),
    )


class Hour(NamedTuple):
    """An hour of a day, as clocks show it, and what is counted in it."""

    day: date
    hour: int
    platform: str
    event_type: str


async def count_hours_of(member_ids: Collection[str], days: DaySpan) -> Counter[Hour]:
    """Return the number of events of some members in each hour of these days."""
    records = await engine.fetch(
        GET_HOURS_OF_MEMBERS,
        member_ids=list(member_ids),
        **days._asdict(),
        **clock_shifts(None)._asdict(),
    )
    return Counter({Hour(*key): count for *key, count in records})


async def change_hours(changes: Mapping[Hour, int]) -> None:
    """Add these numbers, which may be negative, to the events of hours."""
    changed = [(*key, change) for key, change in changes.items() if change]
    if changed:
        names = ("days", "hours", "platforms", "event_types", "changes")
        columns = map(list, zip(*changed, strict=True))
        await engine.fetch(CHANGE_HOURS, **dict(zip(names, columns, strict=True)))


async def recount(
    member_ids: Collection[str], since: date, until: date, *, zone: str | None = None
) -> None:
    """Count the sums of the days of some members again, in the caller's transaction.

    These are the months, the first and last days in rooms, and the milestones.

    Call it after the highlights or the daily rooms of these members changed on days from `since` to
    `until`, or after their `joined_at` changed. The caller has locked the members
    (`LOCK_EARNING_MEMBERS`) in a statement before this call: another writer of their days then has
    either committed, or waits. A bot keeps the times at which it joined and was approved, and
    loses the rest.
    """
    numbers = sorted(member_ids)
    if not numbers:
        return
    months = _months(since, until)
    await engine.fetch(WRITE_MONTHS, member_ids=numbers, **months)
    await engine.fetch(WRITE_ROOM_MONTHS, member_ids=numbers, **months)
    await count_room_spans_of(numbers)
    await engine.fetch(WRITE_MILESTONES, member_ids=numbers, **clock_shifts(zone)._asdict())


async def count_room_spans_of(member_ids: Collection[str]) -> None:
    """Find the first and the last day of some members in each room again.

    Call it after their rooms of days and of months changed in other ways than `recount` knows.
    """
    await engine.fetch(WRITE_ROOM_SPANS, member_ids=list(member_ids))


def _months(since: date, until: date) -> dict[str, date]:
    """Return the first days of the first and of the last month."""
    return {"since": since.replace(day=1), "until": until.replace(day=1)}
