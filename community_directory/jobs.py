"""Scheduled jobs: expire overdue invitations each hour, and roll up the highlights each night."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from community_directory.calendar import days_between, load_zone, today
from community_directory.database import Statement, engine, transaction
from community_directory.errors import DirectoryError
from community_directory.queries import highlights, invitations
from community_directory.queries.highlights import FIND_CHANGED_DAYS

logger = logging.getLogger(__name__)
# APScheduler logs a traceback for a job that is cancelled because the app stops: leave it out.
logging.getLogger("apscheduler.executors.default").addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
)

EXPIRY_LOCK_KEY = 0x7377656570
"""The key of the advisory lock that `expire_overdue_invitations` holds: "sweep" in ASCII."""
ROLL_UP_LOCK_KEY = 0x6E69676874
"""The key of the advisory lock that `roll_up_recent` holds: "night" in ASCII."""

HOURLY_CRON = "0 * * * *"
NIGHTLY_CRON = "30 4 * * *"
"""Half past four in the community's zone.

The late events of the day before have arrived by then, and no change of the clocks skips that hour.
"""

JOB_TIMEOUT = timedelta(minutes=50)
"""The time limit of a job: it ends before its next run. The days that it has rolled up stay."""
ROLL_UP_BATCH_DAYS = 31
"""The most days that one transaction rolls up: it holds its locks on members for a short time."""

FIND_FIRST_EVENT_TIME = "SELECT min(occurred_at) FROM member_participation"
TRY_LOCK = Statement("SELECT pg_try_advisory_xact_lock(:key)")


async def expire_overdue_invitations() -> int | None:
    """Mark overdue invitations as expired.

    Return the number of invitations, or None if another worker runs this job at the moment.
    """
    async with transaction():
        return await invitations.expire_overdue() if await _try_lock(EXPIRY_LOCK_KEY) else None


async def roll_up_recent() -> int | None:
    """Roll up the last 31 days, and each older day whose events have changed since its roll-up.

    An older day is rolled up if it never was before, or if events of that day were added, deleted
    or moved, by any writer. A change of only the type or the metadata of old events is not noticed:
    roll up such a day with `highlights.roll_up`, or empty `directory_rolled_up_days` to have every
    day rolled up again. Days before the first stored event keep their highlights, so that old
    events can be deleted, whole days at a time.

    After a change of DIRECTORY_TIME_ZONE the days have other events, so the next night rolls them
    up again. The day before the first stored event may keep events that now belong to the next day:
    roll it up with `highlights.roll_up`.

    Return the number of rows that were written, or None if another worker runs this job at the
    moment.
    """
    until = today()
    batch = timedelta(days=ROLL_UP_BATCH_DAYS - 1)
    oldest = recent = until - batch
    [(first,)] = await engine.fetch(FIND_FIRST_EVENT_TIME)
    if first is not None:
        oldest = min(oldest, first.astimezone(load_zone(None)).date())
    written = 0
    # The newest days are first: a failure in an old month delays no recent day.
    while until >= oldest:
        since = max(oldest, until - batch)
        rows = await _roll_up_changed(since, until, recent)
        if rows is None:
            return None
        written += rows
        until = since - timedelta(days=1)
    return written


async def _roll_up_changed(since: date, until: date, recent: date) -> int | None:
    async with transaction():
        if not await _try_lock(ROLL_UP_LOCK_KEY):
            return None
        days = days_between(since, until, None)
        changed = await engine.fetch(FIND_CHANGED_DAYS, **days._asdict(), recent=recent)
        if not changed:
            return 0
        return await highlights.roll_up(changed[0]["day"], until=changed[-1]["day"])


async def _try_lock(key: int) -> bool:
    """Take an advisory lock until the end of the transaction, unless another worker holds it."""
    [(taken,)] = await engine.fetch(TRY_LOCK, key=key)
    return bool(taken)


@contextmanager
def run_scheduled_jobs() -> Iterator[AsyncIOScheduler]:
    """Run both jobs now, and then on their schedules until the context ends.

    Any number of workers may run them: for each job an advisory lock lets one worker through.
    """
    scheduler = AsyncIOScheduler(timezone=load_zone(None))
    for job, cron in ((expire_overdue_invitations, HOURLY_CRON), (roll_up_recent, NIGHTLY_CRON)):
        trigger = CronTrigger.from_crontab(cron, timezone=load_zone(None))
        # A machine that was asleep runs a job once when it wakes, however often it missed it.
        scheduler.add_job(
            _run_job, trigger, (job,), id=job.__name__, coalesce=True, misfire_grace_time=None
        )
        scheduler.add_job(_run_job, args=(job,))
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


async def _run_job(job: Callable[[], Awaitable[int | None]]) -> None:
    try:
        async with asyncio.timeout(JOB_TIMEOUT.total_seconds()):
            done = await job()
    except TimeoutError:
        logger.warning(
            "%s took longer than %s, and continues at its next run.", job.__name__, JOB_TIMEOUT
        )
    except DirectoryError as error:
        logger.warning("%s failed, and is tried again at its next run: %s", job.__name__, error)
    else:
        logger.info(
            "%s: %s", job.__name__, "another worker runs it" if done is None else f"{done} rows"
        )
