"""Highlights: each member's activity on each day, counted from the events."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg

from community_directory.calendar import DaySpan, count_days, days_between
from community_directory.database import Statement, engine, long_running, transaction
from community_directory.queries import roll_ups
from community_directory.queries.archived_days import ARCHIVED_UNTIL_SQL, open_days
from community_directory.queries.ids import new_id
from community_directory.queries.member_rows import NO_BOTS
from community_directory.queries.merge_locks import LOCK_OUT_MERGES
from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    DATE_FIELD,
    NUMBER_FIELD,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.reputation import (
    DAILY_POINTS,
    MAX_DAILY_POINTS,
    add_points_sql,
)
from community_directory.queries.roll_ups import Hour, RolledUpRow
from community_directory.queries.values import (
    ACTOR_CTE,
    member_number,
    present_number_sql,
    required_actor,
)

__all__ = ["Difference", "Highlight", "between", "roll_up", "verify"]

# The time from the start to the end of a VOICE event, in UTC. The index participation_voice_idx has
# this expression: it finds the stays that reach into a day, however long before it they began.
STAY = """tsrange(
    occurred_at AT TIME ZONE 'UTC',
    (occurred_at AT TIME ZONE 'UTC') + make_interval(secs => round(coalesce(
        event_metadata ->> 'duration_seconds', event_metadata ->> 'voice_duration_seconds', '0'
    )::numeric, 6)::double precision)
)"""


# A checksum of each day's events: it changes when an event is added, deleted or moved, when a stay
# that began on an earlier day reaches into the day, or no longer does, when a member is marked as a
# bot, or is no longer one, and when the day begins at another time, in another time zone: then its
# hours are others. PostgreSQL computes it from participation_occurred_at_idx alone, except for
# these stays. If a later version of PostgreSQL computes other hashes, every day is
# rolled up once more.
def _make_day_checksums(of_members: str = "") -> str:
    """Return the SQL of the checksums of days, of all members or under a condition in SQL."""
    return f"""
SELECT day, coalesce(checksum, 0) AS checksum
FROM unnest(:days::date[]) AS days(day) LEFT JOIN (
    SELECT day, sum(hashtextextended(
        member_id, (date_part('epoch', at) * 1000000)::bigint
    )) AS checksum
    FROM (
        SELECT member_id, occurred_at AS at,
            (:days::date[])[width_bucket(occurred_at, :starts::timestamptz[])] AS day
        FROM member_participation
        WHERE occurred_at >= (:starts::timestamptz[])[1] AND occurred_at < :end {of_members}
        UNION ALL
        SELECT member_id, upper(stay) AT TIME ZONE 'UTC', day
        FROM (
            SELECT member_id, stay, unnest((:days::date[])[first_day : last_day]) AS day,
                unnest((:starts::timestamptz[])[first_day : last_day]) AS starts_at
            FROM (
                SELECT member_id, {STAY} AS stay FROM member_participation
                WHERE event_type = 'VOICE' AND {STAY} && (
                    SELECT range_agg(tsrange(
                        start AT TIME ZONE 'UTC', start AT TIME ZONE 'UTC', '[]'
                    )) FROM unnest(:starts::timestamptz[]) AS start
                ) {of_members}
            ) AS found, LATERAL (
                SELECT width_bucket(lower(stay) AT TIME ZONE 'UTC', :starts::timestamptz[])
                        AS first_day,
                    width_bucket(upper(stay) AT TIME ZONE 'UTC', :starts::timestamptz[]) AS last_day
            ) AS positions
        ) AS stays WHERE stay @> (starts_at AT TIME ZONE 'UTC')
    ) AS events WHERE {NO_BOTS} GROUP BY day
) AS sums USING (day)
"""


# Both ends of a day count: in another zone, the first day after the archive has the same start.
_DAY_CHECKSUMS = f"""
SELECT day, checksum + extract(epoch FROM start) + extract(epoch FROM finish) AS checksum
FROM ({_make_day_checksums()}) AS events
JOIN unnest(
    :days::date[], :starts::timestamptz[], (:starts::timestamptz[])[2:] || :end::timestamptz
) AS days(day, start, finish) USING (day)
"""

# A roll-up locks the rows of its days until it commits. Another roll-up of the same days waits;
# without the lock a slow one could overwrite the counts of a later one. All roll-ups lock the days
# in the same order.
STORE_DAY_CHECKSUMS = Statement(f"""
INSERT INTO directory_rolled_up_days AS stored (day, checksum)
{_DAY_CHECKSUMS} ORDER BY day
ON CONFLICT (day) DO UPDATE SET checksum = EXCLUDED.checksum
WHERE stored.checksum <> EXCLUDED.checksum
""")

# Every day from :recent on, and of the earlier days those that were never rolled up or whose events
# have changed since their roll-up.
FIND_CHANGED_DAYS = Statement(f"""
SELECT day FROM ({_DAY_CHECKSUMS}) AS found
LEFT JOIN directory_rolled_up_days AS stored USING (day)
WHERE day >= :recent OR found.checksum IS DISTINCT FROM stored.checksum
ORDER BY day
""")

_COUNT_COLUMNS = "message_count, reaction_count, voice_minutes"
_POINTS_OF_COUNTS = " + ".join(
    f"least({points.most}, {column} / {points.for_each})" for column, points in DAILY_POINTS.items()
)


# A day has at most its own minutes: 1,440, or 60 more or fewer when the clocks change.
def _make_counted_ctes(of_members: str = "", of_days: str = "") -> str:
    """Return the CTEs that count the highlights of days, under further conditions in SQL."""
    return f"""
-- Each stay in a voice chat, once for each of these days into which it reaches.
stays AS (
    SELECT member_id, stay, unnest((:days::date[])[first_day : last_day]) AS highlight_date,
        unnest((:starts::timestamptz[])[first_day : last_day]) AS starts_at,
        unnest((:starts::timestamptz[] || :end::timestamptz)[first_day + 1 : last_day + 1])
            AS ends_at
    FROM (
        SELECT member_id, {STAY} AS stay FROM member_participation
        WHERE event_type = 'VOICE' AND {STAY} && tsrange(
            (:starts::timestamptz[])[1] AT TIME ZONE 'UTC', :end::timestamptz AT TIME ZONE 'UTC'
        ) {of_members}
    ) AS found, LATERAL (
        SELECT greatest(width_bucket(lower(stay) AT TIME ZONE 'UTC', :starts::timestamptz[]), 1)
                AS first_day,
            width_bucket(upper(stay) AT TIME ZONE 'UTC', :starts::timestamptz[]) AS last_day
    ) AS positions
),
-- The times that each member spent in voice chats on each day. Stays at the same time are one, on
-- one platform or on several.
stayed AS (
    SELECT member_id, highlight_date, unnest(range_agg(stay * tsrange(
        starts_at AT TIME ZONE 'UTC', ends_at AT TIME ZONE 'UTC'
    ))) AS time_spent
    FROM stays GROUP BY member_id, highlight_date
),
-- The events of each member and day by type, and the seconds in voice chats.
summed AS (
    SELECT member_id, highlight_date, coalesce(messages, 0) AS messages,
        coalesce(reactions, 0) AS reactions, coalesce(seconds, 0) AS seconds
    FROM (
        SELECT member_id,
            (:days::date[])[width_bucket(occurred_at, :starts::timestamptz[])] AS highlight_date,
            count(*) FILTER (WHERE event_type = 'MESSAGE') AS messages,
            count(*) FILTER (WHERE event_type = 'REACTION') AS reactions
        FROM member_participation
        WHERE occurred_at >= (:starts::timestamptz[])[1] AND occurred_at < :end
            AND event_type IN ('MESSAGE', 'REACTION', 'VOICE') {of_members}
        GROUP BY 1, 2
    ) AS events FULL JOIN (
        SELECT member_id, highlight_date,
            extract(epoch FROM sum(upper(time_spent) - lower(time_spent))) AS seconds
        FROM stayed GROUP BY 1, 2
    ) AS voice USING (member_id, highlight_date)
),
-- The rows that the highlights of these days must have.
counted AS (
    SELECT member_id, highlight_date, {_COUNT_COLUMNS},
        least({MAX_DAILY_POINTS}, {_POINTS_OF_COUNTS}) AS reputation_earned
    FROM summed, LATERAL (
        SELECT least(messages, 2147483647)::integer AS message_count,
            least(reactions, 2147483647)::integer AS reaction_count,
            least(div(seconds, 60), 2147483647)::integer AS voice_minutes
    ) AS counts
    WHERE {NO_BOTS} {of_days}
)"""


COUNTED_CTES = _make_counted_ctes()


def _make_stored_cte(conditions: str = "") -> str:
    """Return the CTE with the highlights that days have, under further conditions in SQL."""
    return f"""
-- The rows that the highlights of these days have.
stored AS (
    SELECT member_id, highlight_date, {_COUNT_COLUMNS}, reputation_earned
    FROM member_daily_highlights
    WHERE highlight_date BETWEEN (:days::date[])[1] AND (:days::date[])[cardinality(:days::date[])]
        {conditions}
)"""


# The new rows are in the order of two indexes, and their ids in that of the third: with random ids
# in a random order a day takes twice as long. An id is made of the time of the call, the member and
# the day, without the volatile function of the column's default.
def _make_roll_up_statement(of_members: str = "", of_days: str = "") -> Statement:
    """Return the statement that stores the highlights of days, under further conditions.

    It needs `id_start`, the result of `_start_of_ids`.
    """
    return Statement(f"""
WITH {_make_counted_ctes(of_members, of_days)}, {_make_stored_cte(f"{of_members} {of_days}")},
-- The rows that are new or differ.
written AS (
    INSERT INTO member_daily_highlights AS highlight
        (id, member_id, highlight_date, {_COUNT_COLUMNS}, reputation_earned)
    SELECT overlay(
        md5(member_id || (highlight_date - date '2000-01-01')) PLACING :id_start FROM 1
    )::uuid, * FROM (SELECT * FROM counted EXCEPT SELECT * FROM stored) AS changed
    ORDER BY member_id, highlight_date
    ON CONFLICT (member_id, highlight_date) DO UPDATE SET message_count = EXCLUDED.message_count,
        reaction_count = EXCLUDED.reaction_count, voice_minutes = EXCLUDED.voice_minutes,
        reputation_earned = EXCLUDED.reputation_earned
    RETURNING member_id, highlight_date, reputation_earned
),
-- The rows without events: these were deleted or moved.
deleted AS (
    DELETE FROM member_daily_highlights AS highlight USING stored
    WHERE highlight.member_id = stored.member_id
        AND highlight.highlight_date = stored.highlight_date
        AND NOT EXISTS (
            SELECT 1 FROM counted WHERE counted.member_id = stored.member_id
                AND counted.highlight_date = stored.highlight_date
        )
    RETURNING highlight.member_id, highlight.reputation_earned
),
-- The change of each member's points.
earned AS (
    SELECT member_id, sum(points) AS points FROM (
        SELECT member_id,
            written.reputation_earned - coalesce(stored.reputation_earned, 0) AS points
        FROM written LEFT JOIN stored USING (member_id, highlight_date)
        UNION ALL SELECT member_id, -reputation_earned FROM deleted
    ) AS changes GROUP BY member_id HAVING sum(points) <> 0
)
SELECT (SELECT count(*) FROM written) + (SELECT count(*) FROM deleted) AS rows_written,
    ARRAY(SELECT member_id FROM written UNION SELECT member_id FROM deleted) AS changed,
    coalesce(array_agg(member_id), '{{}}') AS member_ids,
    coalesce(array_agg(points), '{{}}') AS points
FROM earned
""")


ROLL_UP_DAYS = _make_roll_up_statement()

_OF_THESE_MEMBERS = "AND member_id = ANY(:member_ids::text[])"
_OF_THESE_DAYS = "AND highlight_date = ANY(:counted_days::date[])"
RECOUNT_MEMBERS = _make_roll_up_statement(_OF_THESE_MEMBERS, _OF_THESE_DAYS)

FIND_ROLLED_UP_DAYS = Statement("""
SELECT day FROM directory_rolled_up_days WHERE day BETWEEN :first AND :last
""")

GET_MEMBER_CHECKSUMS = Statement(f"{_make_day_checksums(_OF_THESE_MEMBERS)} WHERE checksum <> 0")

CHANGE_DAY_CHECKSUMS = Statement("""
UPDATE directory_rolled_up_days AS stored SET checksum = stored.checksum + change
FROM unnest(:days::date[], :changes::numeric[]) AS changed(day, change)
WHERE stored.day = changed.day
""")

# All writers of many members lock them in the same order. The lock is a statement of its own: the
# next statement then reads the locked versions. An update in the same statement could wait for an
# older version, whose holder waits for the roll-up (see the statements of `events`).
LOCK_EARNING_MEMBERS = Statement("""
SELECT member_id, ctid FROM community_members WHERE member_id = ANY(:member_ids)
ORDER BY member_id FOR NO KEY UPDATE
""")

# The locked versions are found by their ctid, in the order in which the table has them. To look for
# them by their numbers, PostgreSQL would read the whole table of a large community.
ADD_EARNED_POINTS = Statement(f"""
WITH
-- The writer, for the audit log.
{ACTOR_CTE},
-- A setting for the audit trigger, which leaves out the points of a roll-up: the highlights have
-- them.
rolling_up AS MATERIALIZED (
    SELECT set_config('community_directory.rolling_up', 'on', true)
),
-- The change of the points of each locked version.
earned AS (
    SELECT * FROM unnest(:versions::tid[], :points::bigint[]) AS earned(version, points)
    ORDER BY version
)
UPDATE community_members AS member SET {add_points_sql("points")}
FROM earned, actor, rolling_up WHERE member.ctid = earned.version
""")
# The setting ends with the roll-up, so that the audit log records later changes of scores in the
# caller's transaction.
END_ROLL_UP = "SELECT set_config('community_directory.rolling_up', '', true)"

_OF_ALL_MEMBERS = f"AND {NO_BOTS}"
# Those of archived days stay when a member is marked as a bot, and are not shown. Citus refuses a
# subquery without a column.
_OF_ONE_MEMBER = f"""
    AND member_id = {present_number_sql(":member_id")}
    AND NOT EXISTS (
        SELECT 1 FROM community_members
        WHERE member_id = {present_number_sql(":member_id")} AND is_bot
    )
"""


def _make_list(condition: str) -> PagedList:
    """Return the list of the highlights of some days under a further condition in SQL."""

    def make_sql(order: PageOrder) -> str:
        return f"""
SELECT member_id, highlight_date, coalesce(message_count, 0) AS message_count,
    coalesce(reaction_count, 0) AS reaction_count, coalesce(voice_minutes, 0) AS voice_minutes,
    coalesce(reputation_earned, 0) AS reputation_earned
FROM member_daily_highlights
WHERE highlight_date BETWEEN :since AND :until {condition}
    AND {order.after("highlight_date, member_id", ":last_date, :last_member_id")}
{order.by("highlight_date", "member_id")} LIMIT :limit
"""

    fields = {"last_date": DATE_FIELD, "last_member_id": NUMBER_FIELD}
    return PagedList("highlights", fields, make_sql, is_descending=True)


HIGHLIGHTS_OF_ALL = _make_list(_OF_ALL_MEMBERS)
HIGHLIGHTS_OF_MEMBER = _make_list(_OF_ONE_MEMBER)

FIND_DIFFERENCES = Statement(f"""
WITH {COUNTED_CTES}, {_make_stored_cte()}
SELECT stored.*, counted.* FROM stored
FULL JOIN counted ON counted.member_id = stored.member_id
    AND counted.highlight_date = stored.highlight_date
WHERE stored IS DISTINCT FROM counted
    -- A day may have been archived since the caller looked.
    AND coalesce(stored.highlight_date, counted.highlight_date)
        > coalesce({ARCHIVED_UNTIL_SQL}, '-infinity')
ORDER BY coalesce(stored.highlight_date, counted.highlight_date),
    coalesce(stored.member_id, counted.member_id)
""")


@dataclass(frozen=True, slots=True)
class Highlight:
    """A member's activity on one day of the community, and the points that it earned."""

    member_id: str
    highlight_date: date
    message_count: int
    reaction_count: int
    voice_minutes: int
    reputation_earned: int

    @property
    def table(self) -> str:
        """The name of the table."""
        return "member_daily_highlights"

    @property
    def day(self) -> date:
        """The day whose events are counted."""
        return self.highlight_date


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that a roll-up writes, and that differs from a recount."""

    stored: Highlight | RolledUpRow | None
    """None if there is no row."""
    counted: Highlight | RolledUpRow | None
    """None if there is nothing to count."""
    repaired: bool
    """Whether the row was counted again."""

    @property
    def row(self) -> Highlight | RolledUpRow:
        """The stored row, or else the counted one."""
        row = self.stored or self.counted
        assert row is not None  # noqa: S101  for mypy
        return row


class MemberEvents(NamedTuple):
    """The part of some members in what is counted of days."""

    checksums: dict[date, Decimal]
    """The checksums of their events by day."""
    hours: Counter[Hour]


async def roll_up(
    day: date, *, until: date | None = None, zone: str | None = None, actor: str = "roll-up"
) -> int:
    """Count the highlights of a day, or of all days up to `until`, again from the events.

    Repeated calls, in any order, end in the same rows, even if events arrived late or were deleted.
    A day without events has no row. The same transaction adds the points
    (`reputation.DAILY_POINTS`) to each member's score, and updates the tier. An archived day has no
    events any more: its rows are final, and it is left out.

    Args:
        day: The only day, or the first one.
        until: The last day.
        zone: The name of the days' time zone; None means the community's time zone.
        actor: The author of the changes of scores, for the audit log.

    Returns:
        The number of rows that were written.

    Raises:
        InvalidInput: The days, the time zone or the actor are not valid, or there are too many
            days.
    """
    span, actor = days_between(day, until or day, zone), required_actor(actor)
    with long_running():
        async with transaction():
            # The lock waits for a day that is being archived, too.
            await engine.fetch(LOCK_OUT_MERGES)
            span = await open_days(span)
            if not span.days:
                return 0
            days = span._asdict()
            # The checksums are first: an event that is stored between the two statements makes the
            # day differ from its checksum, and the next roll-up counts it.
            await engine.fetch(STORE_DAY_CHECKSUMS, **days)
            [(rows_written, changed, member_ids, points)] = await engine.fetch(
                ROLL_UP_DAYS, id_start=_start_of_ids(), **days
            )
            changed = await roll_ups.count_rooms_and_hours(span, zone) | set(changed)
            changed |= await roll_ups.find_joined(span, zone)
            versions = await _lock_members(changed)
            if member_ids:
                await _add_points(dict(zip(member_ids, points, strict=True)), versions, actor)
            await roll_ups.recount(changed, span.days[0], span.days[-1], zone=zone)
    return int(rows_written)


def _start_of_ids() -> str:
    """Return the first 12 digits of the ids of new rows: the current time, as in `new_id`."""
    return new_id().hex[:12]


async def _lock_members(member_ids: Collection[str]) -> dict[str, object]:
    """Lock members until the end of the transaction, and return their locked versions."""
    if not member_ids:
        return {}
    records = await engine.fetch(LOCK_EARNING_MEMBERS, member_ids=list(member_ids))
    return {record["member_id"]: record["ctid"] for record in records}


async def _add_points(
    points: Mapping[str, int], versions: Mapping[str, object], actor: str
) -> None:
    """Add points to the scores of members whose versions are locked."""
    await engine.fetch(
        ADD_EARNED_POINTS,
        actor=actor,
        reason=None,
        versions=[versions[member_id] for member_id in points],
        points=list(points.values()),
    )
    await engine.fetch(END_ROLL_UP)


async def between(
    since: date,
    until: date,
    *,
    member_id: str | int | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Highlight]:
    """Return a page of the highlights from `since` to `until`, newest first.

    Both days are included. The highlights are those of one member, or of all members. The number of
    a merged member leads to the other one.

    Raises:
        InvalidCursor: `after` is not a cursor of this query.
        InvalidInput: The days, the number or the limit are not valid.
    """
    count_days(since, until)
    listed, values = HIGHLIGHTS_OF_ALL, {}
    if member_id is not None:
        listed, values = HIGHLIGHTS_OF_MEMBER, {"member_id": member_number(member_id)}
    return await listed.read_page(
        after,
        checked_limit(limit),
        lambda record: Highlight(*record),
        lambda highlight: (highlight.highlight_date, highlight.member_id),
        since=since,
        until=until,
        **values,
    )


async def verify(
    day: date, *, until: date | None = None, zone: str | None = None, repair: bool = False
) -> list[Difference]:
    """Compare the rows of a day, or of all days up to `until`, with a recount of the events.

    So are the rooms and the hours of these days. Their months are compared with the sums of the
    days, the first and last days in rooms of those who were there with the rooms of all days, and
    the milestones of those who were active or joined with the highlights. An archived day has no
    events to count: it is left out.

    Args:
        day: The only day, or the first one.
        until: The last day.
        zone: The name of the days' time zone; None means the community's time zone.
        repair: Whether to roll up all these days in the same transaction if a row differs, and to
            count the months, the days in rooms and the milestones again that differ.

    Returns:
        The rows that differ.

    Raises:
        InvalidInput: The days or the time zone are not valid, or there are too many days.
    """
    span = days_between(day, until or day, zone)
    with long_running():
        async with transaction():
            if repair:
                await engine.fetch(LOCK_OUT_MERGES)
            span = await open_days(span)
            if not span.days:
                return []
            days = span._asdict()
            if repair:
                await engine.fetch(STORE_DAY_CHECKSUMS, **days)  # waits for a roll-up of these days
            pairs = [
                *map(_pair_from, await engine.fetch(FIND_DIFFERENCES, **days)),
                *await roll_ups.find_differences(span, zone),
            ]
            differences = [Difference(*pair, repaired=repair) for pair in pairs]
            if differences and repair:
                await roll_up(day, until=until, zone=zone)
                await _repair_sums(differences, span, zone)
    return differences


async def _repair_sums(differences: Iterable[Difference], span: DaySpan, zone: str | None) -> None:
    """Count the sums of days that differ again, also where no day has changed."""
    found = {row.member_id for row in (each.row for each in differences) if row.day is None}
    members = {member_id for member_id in found if member_id is not None}
    await _lock_members(members)
    await roll_ups.recount(members, span.days[0], span.days[-1], zone=zone)


def _pair_from(record: asyncpg.Record) -> tuple[Highlight | None, Highlight | None]:
    half = len(record) // 2
    return _highlight_or_none(record[:half]), _highlight_or_none(record[half:])


def _highlight_or_none(values: tuple[Any, ...]) -> Highlight | None:
    return None if values[0] is None else _highlight_from(values)


def _highlight_from(values: tuple[Any, ...]) -> Highlight:
    member_id, day, *counts = values
    return Highlight(member_id, day, *(count or 0 for count in counts))


async def count_member_events(member_ids: Sequence[str], days: DaySpan) -> MemberEvents:
    """Return the part of these members in what is counted of each day that is not archived."""
    days = await open_days(days)
    if not days.days:
        return MemberEvents({}, Counter())
    records = await engine.fetch(GET_MEMBER_CHECKSUMS, member_ids=member_ids, **days._asdict())
    return MemberEvents(
        {record["day"]: record["checksum"] for record in records},
        await roll_ups.count_hours_of(member_ids, days),
    )


async def recount_members(
    member_ids: Sequence[str], days: DaySpan, before: MemberEvents, first_day: date | None
) -> list[date]:
    """Count the highlights of some members again, after their events changed in this transaction.

    The days are those that were rolled up, and are not archived. Their checksums and their hours
    change by what changed in the events of these members, so that the nightly roll-up has nothing
    to do. The caller adds the points to the scores, and counts the months and the milestones.

    Args:
        member_ids: The numbers of the members.
        days: The days of the changed events.
        before: The result of `count_member_events` before the change.
        first_day: The day of the first stored event: earlier days keep their highlights.

    Returns:
        The days that were counted.
    """
    days = await open_days(days)
    if not days.days:
        return []
    after = await count_member_events(member_ids, days)
    changes = {
        day: after.checksums.get(day, Decimal(0)) - before.checksums.get(day, Decimal(0))
        for day in sorted(before.checksums.keys() | after.checksums.keys())
    }
    await engine.fetch(CHANGE_DAY_CHECKSUMS, days=list(changes), changes=list(changes.values()))
    rolled_up = await engine.fetch(FIND_ROLLED_UP_DAYS, first=days.days[0], last=days.days[-1])
    counted = [day for (day,) in rolled_up if first_day is not None and day >= first_day]
    if counted:
        await engine.fetch(
            RECOUNT_MEMBERS,
            id_start=_start_of_ids(),
            member_ids=member_ids,
            counted_days=counted,
            **days._asdict(),
        )
        await roll_ups.count_rooms_of(member_ids, days, counted)
        after.hours.subtract(before.hours)
        rolled_up_days = {*counted}
        await roll_ups.change_hours(
            {hour: change for hour, change in after.hours.items() if hour.day in rolled_up_days}
        )
    return counted


observe_helpers(globals())
