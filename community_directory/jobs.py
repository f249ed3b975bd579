"""What the directory does by the clock: mark overdue invitations each hour, roll up the days each night."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from community_directory.calendar import days_between, today, zone_of
from community_directory.database import engine, transaction
from community_directory.errors import DirectoryError
from community_directory.queries import highlights, invitations
from community_directory.queries.highlights import CHANGED_DAYS

logger = logging.getLogger(__name__)
# A job that is cut off because the app stops has nothing to tell.
logging.getLogger("apscheduler.executors.default").addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
)

SWEEP_LOCK = 0x7377656570
"""The advisory lock's key: "sweep" in ASCII."""
NIGHT_LOCK = 0x6E69676874
"""The advisory lock's key: "night" in ASCII."""

NIGHT = "30 4 * * *"
"""Half past four in the community's zone: late events are in, and no change of clocks skips that hour."""
HOUR = "0 * * * *"

JOB_TIMEOUT = timedelta(minutes=50)
"""The longest that a job may take: it ends before its next time. What a roll-up has done by then stays."""
MONTH = timedelta(days=31)
"""The days of one transaction, so that nobody waits long for a member that it locks."""

FIRST_EVENT = "SELECT min(occurred_at) FROM member_participation"


async def sweep() -> int | None:
    """Mark overdue invitations as expired.

    Return how many; None if another worker is at it.
    """
    async with transaction():
        return await invitations.expire_overdue() if await _try_lock(SWEEP_LOCK) else None


async def roll_up_recent() -> int | None:
    """Roll up the last month, and each older day whose events are not those it was rolled up from.

    That is a day which was never rolled up, and one with events that came late, were deleted or
    were moved, however old it is and whoever wrote them. An older day whose events only changed
    their type or metadata is not noticed: roll it up by `highlights.roll_up`, or empty
    `directory_rolled_up_days` to have every day rolled up again. Days before the first stored event
    keep their highlights, so that old events can be deleted, whole days at a time.

    After a change of DIRECTORY_TIME_ZONE the days have other events, so the next night rolls them up
    again. The day before the first stored event may keep what now belongs to the next day: roll it
    up by `highlights.roll_up`.

    Return how many rows were written; None if another worker is at it.
    """
    until = today()
    oldest = recent = until - MONTH + timedelta(days=1)
    [(first,)] = await engine.fetch(FIRST_EVENT)
    if first is not None:
        oldest = min(oldest, first.astimezone(zone_of(None)).date())
    written = 0
    # The newest first: an obstacle in an old month keeps no recent day waiting.
    while until >= oldest:
        since = max(oldest, until - MONTH + timedelta(days=1))
        rows = await _roll_up_changed(since, until, recent)
        if rows is None:
            return None
        written += rows
        until = since - timedelta(days=1)
    return written


async def _roll_up_changed(since: date, until: date, recent: date) -> int | None:
    async with transaction():
        if not await _try_lock(NIGHT_LOCK):
            return None
        changed = await engine.fetch(CHANGED_DAYS, *days_between(since, until, None), recent)
        if not changed:
            return 0
        return await highlights.roll_up(changed[0]["day"], until=changed[-1]["day"])


async def _try_lock(lock: int) -> bool:
    """Take the lock until the end of the transaction, unless another worker has it."""
    [(taken,)] = await engine.fetch("SELECT pg_try_advisory_xact_lock($1)", lock)
    return bool(taken)


@contextmanager
def scheduled() -> Iterator[AsyncIOScheduler]:
    """Run both jobs now, and then by the clock as long as the context is open; each worker may have one."""
    scheduler = AsyncIOScheduler(timezone=zone_of(None))
    for job, when in ((sweep, HOUR), (roll_up_recent, NIGHT)):
        trigger = CronTrigger.from_crontab(when, timezone=zone_of(None))
        # What a sleeping machine missed is done once, when it wakes.
        scheduler.add_job(
            _run, trigger, (job,), id=job.__name__, coalesce=True, misfire_grace_time=None
        )
        scheduler.add_job(_run, args=(job,))
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


async def _run(job: Callable[[], Awaitable[int | None]]) -> None:
    try:
        async with asyncio.timeout(JOB_TIMEOUT.total_seconds()):
            done = await job()
    except TimeoutError:
        logger.warning(
            "%s took longer than %s, and goes on at its next time.", job.__name__, JOB_TIMEOUT
        )
    except DirectoryError as error:
        logger.warning(
            "%s was not done, and is tried again at its next time: %s", job.__name__, error
        )
    else:
        logger.info(
            "%s: %s", job.__name__, "another worker does it" if done is None else f"{done} rows"
        )
