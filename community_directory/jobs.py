"""What the directory does by the clock: mark overdue invitations each hour, roll up the days each night."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from community_directory.database import engine, transaction
from community_directory.errors import DirectoryError
from community_directory.queries import highlights, invitations
from community_directory.queries.days import LONGEST_SPAN, today, zone_of

logger = logging.getLogger(__name__)
# A job that is cut off because the app stops has nothing to tell.
logging.getLogger("apscheduler.executors.default").addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
)

SWEEP_LOCK = 0x7377656570
"""The advisory lock's key: "sweep" in ASCII."""

NIGHT = "30 4 * * *"
"""Half past four in the community's zone: late events are in, and no change of clocks skips that hour."""
HOUR = "0 * * * *"

LATE = timedelta(days=31)
"""For how long late events are looked for; what is rolled up again without a change costs little."""

# The last day that was rolled up, else the first one with an event.
FIRST_DAY = """
SELECT coalesce(
    (SELECT max(highlight_date) FROM member_daily_highlights),
    (SELECT min(occurred_at) AT TIME ZONE $1 FROM member_participation)::date
)
"""


async def sweep() -> int | None:
    """Mark overdue invitations as expired, and say how many; None: another worker is at it."""
    async with transaction():
        return await invitations.expire_overdue() if await _alone(SWEEP_LOCK) else None


async def roll_up_recent() -> int | None:
    """Roll up the last month, with the events that came late; what was never rolled up before that, too.

    Says how many rows had to be written; None: another worker is at it.
    """
    now = today()
    async with transaction():
        if not await _alone(highlights.ROLL_UP_LOCK):
            return None
        [(first,)] = await engine.fetch(FIRST_DAY, zone_of(None).key)
        since = max(min(first or now, now - LATE), now - timedelta(days=LONGEST_SPAN - 1))
        return await highlights.roll_up(since, until=now)


async def _alone(lock: int) -> bool:
    """Take the lock until the end of the transaction, unless another worker has it."""
    [(taken,)] = await engine.fetch("SELECT pg_try_advisory_xact_lock($1)", lock)
    return bool(taken)


@contextmanager
def scheduled() -> Iterator[AsyncIOScheduler]:
    """Do both now and then by the clock, as long as the context is open; each worker may have one."""
    scheduler = AsyncIOScheduler(timezone=zone_of(None))
    for job, when in ((sweep, HOUR), (roll_up_recent, NIGHT)):
        trigger = CronTrigger.from_crontab(when, timezone=zone_of(None))
        # What a sleeping machine missed is done once, when it wakes.
        scheduler.add_job(_run, trigger, (job,), id=job.__name__, coalesce=True, misfire_grace_time=None)
        scheduler.add_job(_run, args=(job,))
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


async def _run(job: Callable[[], Awaitable[int | None]]) -> None:
    try:
        done = await job()
    except DirectoryError as error:
        logger.warning("%s was not done, and is tried again at its next time: %s", job.__name__, error)
    else:
        logger.info("%s: %s", job.__name__, "another worker does it" if done is None else f"{done} rows")
