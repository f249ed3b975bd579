"""Highlights: what each member did on each day, recounted from the events as often as you like."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from community_directory.calendar import checked_span, days_between
from community_directory.database import engine, transaction
from community_directory.queries.pages import (
    Page,
    checked_limit,
    decode_cursor,
    make_page,
    parse_date,
    parse_text,
)
from community_directory.queries.reputation import DAILY_CAP, DAILY_POINTS, add_points
from community_directory.queries.values import ACTOR, member_number, required_actor

# Which events each day has: a sum that differs when others came, went or were moved. It is read
# from participation_occurred_at_idx alone. A later PostgreSQL may hash in another way: then each
# day is rolled up once more.
CHECKSUMS = """
SELECT day, checksum
FROM unnest($1::date[], $2::timestamptz[], ($2::timestamptz[])[2:] || $3::timestamptz)
    AS days(day, starts_at, ends_at),
LATERAL (
    SELECT coalesce(sum(hashtextextended(
        member_id, (date_part('epoch', occurred_at) * 1000000)::bigint
    )), 0) AS checksum
    FROM member_participation WHERE occurred_at >= starts_at AND occurred_at < ends_at
) AS events
"""

# A roll-up holds the rows of its days until it commits: another one of the same days waits, or a
# slow one could undo what a later one counted. All take them in the order of the days.
REMEMBER_EVENTS = f"""
INSERT INTO directory_rolled_up_days AS remembered (day, checksum)
{CHECKSUMS} ORDER BY day
ON CONFLICT (day) DO UPDATE SET checksum = EXCLUDED.checksum
WHERE remembered.checksum <> EXCLUDED.checksum
"""

# The days since $4, and those with other events than they were rolled up from, or never rolled up.
CHANGED_DAYS = f"""
SELECT day FROM ({CHECKSUMS}) AS found LEFT JOIN directory_rolled_up_days AS remembered USING (day)
WHERE day >= $4 OR found.checksum IS DISTINCT FROM remembered.checksum
ORDER BY day
"""

COUNTS = "message_count, reaction_count, voice_minutes"
POINTS = f"least({DAILY_CAP}, {' + '.join(f'least({p.most}, {name} / {p.for_each})' for name, p in DAILY_POINTS.items())})"

# A duration that is no number, or negative, counts nothing. No number is too large for a row.
COUNTED = f"""
summed AS (
    SELECT member_id, ($1::date[])[width_bucket(occurred_at, $2::timestamptz[])] AS highlight_date,
        count(*) FILTER (WHERE event_type = 'MESSAGE') AS messages,
        count(*) FILTER (WHERE event_type = 'REACTION') AS reactions,
        coalesce(sum(CASE WHEN jsonb_typeof(event_metadata -> 'duration_seconds') = 'number'
            THEN greatest((event_metadata ->> 'duration_seconds')::numeric, 0)
        END) FILTER (WHERE event_type = 'VOICE'), 0) AS seconds
    FROM member_participation
    WHERE occurred_at >= ($2::timestamptz[])[1] AND occurred_at < $3 AND event_type IN ('MESSAGE', 'REACTION', 'VOICE')
    GROUP BY 1, 2
), counted AS (
    SELECT member_id, highlight_date, {COUNTS}, {POINTS} AS reputation_earned
    FROM summed, LATERAL (SELECT least(messages, 2147483647)::integer AS message_count,
        least(reactions, 2147483647)::integer AS reaction_count,
        least(div(seconds, 60), 2147483647)::integer AS voice_minutes) AS counts
)"""

STORED = f"""stored AS (
    SELECT member_id, highlight_date, {COUNTS}, reputation_earned FROM member_daily_highlights
    WHERE highlight_date BETWEEN ($1::date[])[1] AND ($1::date[])[cardinality($1::date[])]
)"""

ROLL_UP = f"""
WITH {COUNTED}, {STORED}, written AS (
    INSERT INTO member_daily_highlights AS highlight (member_id, highlight_date, {COUNTS}, reputation_earned)
    SELECT * FROM counted
    ON CONFLICT (member_id, highlight_date) DO UPDATE SET message_count = EXCLUDED.message_count,
        reaction_count = EXCLUDED.reaction_count, voice_minutes = EXCLUDED.voice_minutes,
        reputation_earned = EXCLUDED.reputation_earned
    WHERE (highlight.message_count, highlight.reaction_count, highlight.voice_minutes, highlight.reputation_earned)
        IS DISTINCT FROM (EXCLUDED.message_count, EXCLUDED.reaction_count, EXCLUDED.voice_minutes,
            EXCLUDED.reputation_earned)
    RETURNING member_id, highlight_date, reputation_earned
), emptied AS (
    DELETE FROM member_daily_highlights AS highlight USING stored
    WHERE highlight.member_id = stored.member_id AND highlight.highlight_date = stored.highlight_date
        AND NOT EXISTS (SELECT 1 FROM counted WHERE counted.member_id = stored.member_id
            AND counted.highlight_date = stored.highlight_date)
    RETURNING highlight.member_id, highlight.reputation_earned
), earned AS (
    SELECT member_id, sum(points) AS points FROM (
        SELECT member_id, written.reputation_earned - coalesce(stored.reputation_earned, 0) AS points
        FROM written LEFT JOIN stored USING (member_id, highlight_date)
        UNION ALL SELECT member_id, -reputation_earned FROM emptied
    ) AS changes GROUP BY member_id HAVING sum(points) <> 0
)
SELECT (SELECT count(*) FROM written) + (SELECT count(*) FROM emptied),
    coalesce(array_agg(member_id), '{{}}'), coalesce(array_agg(points), '{{}}')
FROM earned
"""

# The audit log leaves out the points of a roll-up: the highlights tell them.
ADD_POINTS = f"""
WITH {ACTOR}, rolling_up AS MATERIALIZED (
    SELECT set_config('community_directory.rolling_up', 'on', true)
), earned AS (
    SELECT * FROM unnest($3::text[], $4::bigint[]) AS earned(member_id, points)
), locked AS MATERIALIZED (
    -- in one order, like every writer of many members
    SELECT member.id, points FROM community_members AS member JOIN earned USING (member_id)
    ORDER BY member_id FOR NO KEY UPDATE OF member
)
UPDATE community_members AS member SET {add_points("points")}
FROM locked, actor, rolling_up WHERE member.id = locked.id
"""
# What the caller changes of a score in the same transaction is logged.
END_OF_ROLL_UP = "SELECT set_config('community_directory.rolling_up', '', true)"

BETWEEN = """
SELECT member_id, highlight_date, coalesce(message_count, 0) AS message_count,
    coalesce(reaction_count, 0) AS reaction_count, coalesce(voice_minutes, 0) AS voice_minutes,
    coalesce(reputation_earned, 0) AS reputation_earned
FROM member_daily_highlights
WHERE highlight_date BETWEEN $2 AND $3 {CONDITIONS}
ORDER BY highlight_date DESC, member_id DESC LIMIT $1
"""

DIFFERENCES = f"""
WITH {COUNTED}, {STORED}
SELECT stored.*, counted.* FROM stored
FULL JOIN counted ON counted.member_id = stored.member_id AND counted.highlight_date = stored.highlight_date
WHERE stored IS DISTINCT FROM counted
ORDER BY coalesce(stored.highlight_date, counted.highlight_date), coalesce(stored.member_id, counted.member_id)
"""


@dataclass(frozen=True, slots=True)
class Highlight:
    """What a member did on one day of the community, and the points that it earned."""

    member_id: str
    highlight_date: date
    message_count: int
    reaction_count: int
    voice_minutes: int
    reputation_earned: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A day of a member whose row is not what its events say; None: there is no row, or there are no events."""

    stored: Highlight | None
    counted: Highlight | None
    mended: bool


async def roll_up(
    day: date, *, until: date | None = None, zone: str | None = None, actor: str = "roll-up"
) -> int:
    """Count the highlights of a day, or of all days up to `until`, again from the events.

    Return the number of rows that were written. Any repetition, in any order, ends in the same
    rows, whatever came late or was deleted; a day without events has no row. Each member's score
    and tier follow the points (`reputation.DAILY_POINTS`) in the same transaction. Days are those
    of the community, or of another time zone. Raises `InvalidInput` if there is no such day or time
    zone, or if there are too many days.
    """
    days, actor = days_between(day, until or day, zone), required_actor(actor)
    async with transaction():
        # First, so that an event that comes between the two is counted again, and never missed.
        await engine.fetch(REMEMBER_EVENTS, *days)
        [(written, member_ids, points)] = await engine.fetch(ROLL_UP, *days)
        if member_ids:
            await engine.fetch(ADD_POINTS, actor, None, member_ids, points)
            await engine.fetch(END_OF_ROLL_UP)
    return int(written)


async def between(
    since: date,
    until: date,
    *,
    member_id: str | int | None = None,
    after: str | None = None,
    limit: int = 100,
) -> Page[Highlight]:
    """The highlights from `since` to `until`, both included, of one member or of everybody; the newest first.

    Raises `InvalidCursor`, `InvalidInput`.
    """
    checked_span(since, until)
    arguments: list[object] = [checked_limit(limit) + 1, since, until]
    conditions = ""
    if member_id is not None:
        arguments.append(member_number(member_id))
        conditions = f"AND member_id = ${len(arguments)}"
    if after is not None:
        arguments += decode_cursor(after, "highlights", parse_date, parse_text)
        conditions += (
            f" AND (highlight_date, member_id) < (${len(arguments) - 1}, ${len(arguments)})"
        )
    records = await engine.fetch(BETWEEN.format(CONDITIONS=conditions), *arguments)
    found = [Highlight(*record) for record in records]
    return make_page(
        found, limit, "highlights", lambda last: (last.highlight_date.isoformat(), last.member_id)
    )


async def verify(
    day: date, *, until: date | None = None, zone: str | None = None, mend: bool = False
) -> list[Difference]:
    """Compare the rows of a day, or of all days up to `until`, with a recount, and say where they differ.

    With `mend` those days are rolled up. Raises `InvalidInput`.
    """
    days = days_between(day, until or day, zone)
    async with transaction():
        if mend:
            await engine.fetch(REMEMBER_EVENTS, *days)  # waits for a roll-up of these days
        records = await engine.fetch(DIFFERENCES, *days)
        if records and mend:
            await roll_up(day, until=until, zone=zone)
    return [_difference(tuple(record), mended=mend) for record in records]


def _difference(values: tuple[Any, ...], *, mended: bool) -> Difference:
    stored, counted = (
        None if half[0] is None else _highlight(half)
        for half in (values[: len(values) // 2], values[len(values) // 2 :])
    )
    return Difference(stored, counted, mended)


def _highlight(values: tuple[Any, ...]) -> Highlight:
    member_id, day, *counts = values
    return Highlight(member_id, day, *(count or 0 for count in counts))
