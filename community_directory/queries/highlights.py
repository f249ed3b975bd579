"""Highlights: what each member did on each day, recounted from the events as often as you like."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from community_directory.database import act_as, engine, transaction
from community_directory.queries.days import checked_span, days_between
from community_directory.queries.pages import Page, calendar_day, checked_limit, page_of, plain_text, position_of
from community_directory.reputation import DAILY_CAP, DAILY_POINTS

ROLL_UP_LOCK = 0x726F6C6C7570
"""The advisory lock's key: "rollup" in ASCII. One at a time, or a slow one could undo what a later one counted."""

LOCK = "SELECT pg_advisory_xact_lock($1)"
ROLLING_UP = "SELECT set_config('community_directory.rolling_up', $1, true)"
"""The audit log leaves out the points of a roll-up: they stand in the highlights."""
ACTOR = "roll-up"

COUNTS = "message_count, reaction_count, voice_minutes"
POINTS = (
    f"least({DAILY_CAP}, {' + '.join(f'least({p.most}, {name} / {p.for_each})' for name, p in DAILY_POINTS.items())})"
)

# A duration that is no number, or negative, counts nothing, and no number of events or seconds is too much for a row.
COUNTED = f"""
summed AS (
    SELECT member_id, ($1::date[])[width_bucket(occurred_at, $2::timestamptz[])] AS highlight_date,
        count(*) FILTER (WHERE event_type = 'MESSAGE') AS messages,
        count(*) FILTER (WHERE event_type = 'REACTION') AS reactions,
        coalesce(sum(CASE WHEN jsonb_typeof(event_metadata -> 'duration_seconds') = 'number'
            THEN least(greatest((event_metadata ->> 'duration_seconds')::numeric, 0), 2147483647 * 60::bigint)
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
), locked AS MATERIALIZED (
    -- in one order, like every writer of many members
    SELECT member.id, points FROM community_members AS member JOIN earned USING (member_id)
    ORDER BY member_id FOR NO KEY UPDATE OF member
), scored AS (
    UPDATE community_members AS member
    SET reputation_score = least(greatest(member.reputation_score + points, 0), 2147483647)
    FROM locked WHERE member.id = locked.id
)
SELECT (SELECT count(*) FROM written) + (SELECT count(*) FROM emptied)
"""

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


async def roll_up(day: date, *, until: date | None = None, zone: str | None = None, actor: str = ACTOR) -> int:
    """Count each member's day anew from the events, and say how many rows had to be written.

    As often as you like, in any order: late and repeated events end in the same rows. Days are the community's, or
    those of another time zone; `until` makes it all days up to that one. Points follow `reputation.DAILY_POINTS`, and
    each member's score and tier follow the points in the same transaction. A day whose events were deleted counts
    nothing. Raises `InvalidInput`.
    """
    days = days_between(day, until or day, zone)
    async with transaction():
        await engine.fetch(LOCK, ROLL_UP_LOCK)
        await act_as(actor)
        await engine.fetch(ROLLING_UP, "on")
        [(written,)] = await engine.fetch(ROLL_UP, *days)
        # What the caller changes of a score in the same transaction is logged.
        await engine.fetch(ROLLING_UP, "")
    return int(written)


async def between(
    since: date, until: date, *, member_id: str | None = None, after: str | None = None, limit: int = 100
) -> Page[Highlight]:
    """The highlights from `since` to `until`, both included, of one member or of everybody; the newest first.

    Raises `InvalidCursor`, `InvalidInput`.
    """
    checked_span(since, until)
    arguments: list[object] = [checked_limit(limit) + 1, since, until]
    conditions = ""
    if member_id is not None:
        arguments.append(member_id)
        conditions = f"AND member_id = ${len(arguments)}"
    if after is not None:
        arguments += position_of(after, "highlights", calendar_day, plain_text)
        conditions += f" AND (highlight_date, member_id) < (${len(arguments) - 1}, ${len(arguments)})"
    records = await engine.fetch(BETWEEN.format(CONDITIONS=conditions), *arguments)
    found = [Highlight(*record) for record in records]
    return page_of(found, limit, "highlights", lambda last: (last.highlight_date.isoformat(), last.member_id))


async def verify(
    day: date, *, until: date | None = None, zone: str | None = None, mend: bool = False
) -> list[Difference]:
    """Compare the rows of a day, or of all days up to `until`, with a recount, and say where they differ.

    With `mend` those days are rolled up. Raises `InvalidInput`.
    """
    days = days_between(day, until or day, zone)
    async with transaction():
        if mend:
            await engine.fetch(LOCK, ROLL_UP_LOCK)
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
