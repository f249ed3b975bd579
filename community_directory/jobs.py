"""Scheduled jobs: what the clock ends, roll-ups, the archive, backups and checks."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING

from community_directory import doctor
from community_directory.backup import back_up_daily
from community_directory.calendar import days_between, load_zone, today
from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import DirectoryError
from community_directory.logs import log_as
from community_directory.observers import observers
from community_directory.queries import archive, highlights, invitations, members
from community_directory.queries.archived_days import (
    find_first_open_day,
    first_kept_day,
    open_days,
)
from community_directory.queries.highlights import FIND_CHANGED_DAYS
from community_directory.settings import load_settings

if TYPE_CHECKING:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

logger = logging.getLogger(__name__)
# When the app stops, it cancels running jobs: APScheduler would log a traceback for each of them.
logging.getLogger("apscheduler.executors.default").addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
)

EXPIRY_LOCK_KEY = 0x7377656570
"""The key of the advisory lock that `expire_overdue_invitations` takes: "sweep" in ASCII."""
ROLL_UP_LOCK_KEY = 0x6E69676874
"""The key of the advisory lock that `roll_up_recent` takes: "night" in ASCII."""
DOCTOR_LOCK_KEY = 0x646F63746F72
"""The key of the advisory lock that `check_directory` takes: "doctor" in ASCII."""

MINUTE_CRON = "* * * * *"
HOURLY_CRON = "0 * * * *"
NIGHTLY_CRON = "30 4 * * *"
"""Half past four in the community's zone.

The late events of the day before have arrived by then, and no change of the clocks skips that hour.
"""
DOCTOR_CRON = "30 5 * * *"
"""An hour after the roll-up, so that the checks see what it wrote."""

ARCHIVE_CRON = "30 6 * * *"
"""After the roll-up and the daily backup, which still contains the events."""

BACKUP_CRON = "20 5-23 * * *"
"""From five in the morning on, each hour: a backup that failed is tried again on the same day."""

JOB_TIMEOUT = timedelta(minutes=50)
"""The time limit of a job, so that it ends before its next run.

The days that it has rolled up by then stay rolled up.
"""
ROLL_UP_BATCH_DAYS = 31
"""The maximum number of days that one transaction rolls up: more days would lock members longer."""

CLEAN_UP_TIMEOUT_SECONDS = 2
"""The longest time that the end of the app waits for cancelled jobs."""

Job = Callable[[], Awaitable[int | str | None]]
"""A job returns the number of rows, or what it did; None if another worker is running it."""

TRY_LOCK = Statement("SELECT pg_try_advisory_xact_lock(:key)")

_running: set[asyncio.Task[object]] = set()


async def expire_overdue_invitations() -> int | None:
    """Mark overdue invitations as expired.

    Return the number of invitations, or None if another worker is running this job.
    """
    with long_running():
        async with transaction():
            return await invitations.expire_overdue() if await _try_lock(EXPIRY_LOCK_KEY) else None


async def end_suspensions() -> int:
    """Make the members active again whose suspension ends by now.

    Return the number of members. Each of them is in the call of one worker.
    """
    return await members.end_suspensions()


async def roll_up_recent() -> int | None:
    """Roll up the last 31 days, and each older day whose events have changed since its roll-up.

    An older day is rolled up if it never was before, or if events of that day were added, deleted
    or moved, by any writer. So is each day into which a stay in a voice chat reaches from an
    earlier day. Any other change of only the type or the metadata of old events is not noticed:
    roll up such a day with `highlights.roll_up`, or empty `directory_rolled_up_days` to have every
    day rolled up again. The highlights of archived days are final, and so are those of days before
    the first stored event.

    A change of DIRECTORY_TIME_ZONE moves events to other days, so the next run rolls these days up
    again. The highlights of the day before the first stored event may still count events that now
    belong to the next day: roll that day up with `highlights.roll_up`.

    Return the number of rows that were written, or None if another worker is running this job.
    """
    until = today()
    batch = timedelta(days=ROLL_UP_BATCH_DAYS - 1)
    oldest = recent = until - batch
    with long_running():
        first = await find_first_open_day()
    if first is not None:
        oldest = min(oldest, first)
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


async def check_directory() -> int | None:
    """Run the checks of `community-directory doctor`, and store their report for the panel.

    Return the number of stored reports, or None if another worker is running this job.
    """
    async with transaction():
        if not await _try_lock(DOCTOR_LOCK_KEY):
            return None
        results = [result async for result in doctor.run_checks()]
        report = await doctor.make_report(results, checked_by="nightly job")
        stored = await doctor.store_report(report)
    if report.verdict in {doctor.Verdict.WARNING, doctor.Verdict.FAILED}:
        found = ", ".join(result.id for result in results if result.next_step is not None)
        logger.warning("Run community-directory doctor, which says what to do about: %s", found)
    return int(stored)


async def archive_old_events() -> int:
    """Archive each day that is older than DIRECTORY_EVENT_RETENTION_DAYS, the oldest day first.

    Each day is a transaction of its own: the days that were archived by the time limit of the job
    stay archived, and the next run continues. Two workers share the days.

    Return the number of deleted events.
    """
    before, deleted = first_kept_day(), 0
    if before is None:
        return 0
    while archived := await archive.archive_next_day(before):
        deleted += archived.events
    return deleted


async def _roll_up_changed(since: date, until: date, recent: date) -> int | None:
    """Roll up the days from `since` to `until`, from the first changed day to the last one.

    Every day from `recent` on counts as changed. Return the number of rows that were written, or
    None if another worker is running the job.
    """
    with long_running():
        async with transaction():
            if not await _try_lock(ROLL_UP_LOCK_KEY):
                return None
            days = await open_days(days_between(since, until, None))
            changed = await engine.fetch(FIND_CHANGED_DAYS, **days._asdict(), recent=recent)
            if not changed:
                return 0
            return await highlights.roll_up(changed[0]["day"], until=changed[-1]["day"])


async def _try_lock(key: int) -> bool:
    """Take an advisory lock until the end of the transaction, and return whether it was free."""
    [(taken,)] = await engine.fetch(TRY_LOCK, key=key)
    return bool(taken)


@contextmanager
def run_scheduled_jobs() -> Iterator["AsyncIOScheduler"]:
    """Run the jobs on their schedules until the context ends, and most of them also now.

    The check would see what the others are about to do, and the archive deletes for good: both wait
    for their time. Suspensions end each minute anyway. Without a directory for backups in the
    settings, there is no job for them, and without a number of days for which events are kept,
    there is none that archives.

    Any number of workers may call this: an advisory lock lets one worker at a time run a job.
    """
    # The commands run jobs, too, but not on a schedule.
    from apscheduler.schedulers.asyncio import AsyncIOScheduler  # noqa: PLC0415  slow
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415

    scheduler = AsyncIOScheduler(timezone=load_zone(None))
    crons: dict[Job, str] = {
        end_suspensions: MINUTE_CRON,
        expire_overdue_invitations: HOURLY_CRON,
        roll_up_recent: NIGHTLY_CRON,
        check_directory: DOCTOR_CRON,
    }
    if load_settings().backup_directory is not None:
        crons[back_up_daily] = BACKUP_CRON
    if load_settings().event_retention_days is not None:
        crons[archive_old_events] = ARCHIVE_CRON
    for job, cron in crons.items():
        trigger = CronTrigger.from_crontab(cron, timezone=load_zone(None))
        # A machine that wakes from sleep runs a job once, however many runs it has missed.
        scheduler.add_job(
            _run_job, trigger, (job,), id=job.__name__, coalesce=True, misfire_grace_time=None
        )
        if job not in (end_suspensions, check_directory, archive_old_events):
            scheduler.add_job(_run_job, args=(job,))
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.shutdown(wait=False)


async def wait_for_cancelled_jobs() -> None:
    """Wait until the jobs that the end of `run_scheduled_jobs` cancelled have cleaned up.

    A backup ends its program and deletes its unfinished file.
    """
    if _running:
        await asyncio.wait(_running, timeout=CLEAN_UP_TIMEOUT_SECONDS)


async def _run_job(job: Job) -> None:
    task = asyncio.current_task()
    assert task  # noqa: S101  for mypy
    _running.add(task)
    task.add_done_callback(_running.discard)
    began, outcome = time.monotonic(), "cancelled"
    try:
        with log_as(f"job:{job.__name__}"):
            outcome = await _run_and_log(job)
    except Exception:
        outcome = "failed"
        for observer in observers:
            observer.error_unhandled("job")
        raise
    finally:
        for observer in observers:
            observer.job_ended(job.__name__, outcome, time.monotonic() - began)


async def _run_and_log(job: Job) -> str:
    """Run a job, log what it did, and return its outcome, as `Observer.job_ended` names it."""
    try:
        async with asyncio.timeout(JOB_TIMEOUT.total_seconds()):
            done = await job()
    except TimeoutError:
        logger.warning(
            "%s took longer than %s, and continues at its next run.", job.__name__, JOB_TIMEOUT
        )
        return "failed"
    except DirectoryError as error:
        logger.warning("%s failed, and is tried again at its next run: %s", job.__name__, error)
        return "failed"
    if done is None:
        logger.info("%s: another worker runs it", job.__name__)
        return "skipped"
    # A job that runs each minute would fill the log.
    level = logging.DEBUG if job is end_suspensions and not done else logging.INFO
    logger.log(level, "%s: %s", job.__name__, f"{done} rows" if isinstance(done, int) else done)
    return "succeeded"
