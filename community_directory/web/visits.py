"""The visits of users to the workspace: when one began, and when the one before it ended."""

from datetime import datetime, timedelta

from community_directory.database import Statement, engine

VISIT_GAP = timedelta(minutes=30)
"""The time without a request after which the next request begins a new visit."""
WRITE_INTERVAL = timedelta(minutes=1)
"""The time within which further requests are not written."""

# 1. What is stored, and whether this request has to be written.
# 2. The row is written, once a minute at most. It is read again while it is written, so that of two
#    requests at the same time only one begins a visit.
# 3. The end of the visit before, as it is stored now.
TOUCH_VISIT = Statement(
    """
    WITH stored AS (
        SELECT previous_ended_at, seen_at > now() - :interval::interval AS is_recent
        FROM public.panel_visits WHERE user_id = :user_id
    ), written AS (
        INSERT INTO public.panel_visits AS visit (user_id, seen_at)
        SELECT :user_id, now() WHERE NOT EXISTS (SELECT FROM stored WHERE is_recent)
        ON CONFLICT (user_id) DO UPDATE SET
            seen_at = greatest(visit.seen_at, excluded.seen_at),
            previous_ended_at = CASE
                WHEN visit.seen_at < excluded.seen_at - :gap::interval THEN visit.seen_at
                ELSE visit.previous_ended_at
            END
        RETURNING previous_ended_at
    )
    SELECT previous_ended_at FROM written
    UNION ALL
    SELECT previous_ended_at FROM stored WHERE is_recent
    """
)


async def touch(user_id: int) -> datetime | None:
    """Note a request of a user, and return when their visit before this one ended.

    A visit ends with its last request, to the minute, if none follows within half an hour.

    Returns:
        None during the first visit.
    """
    records = await engine.fetch(
        TOUCH_VISIT, user_id=user_id, interval=WRITE_INTERVAL, gap=VISIT_GAP
    )
    ended_at: datetime | None = records[0]["previous_ended_at"]
    return ended_at
