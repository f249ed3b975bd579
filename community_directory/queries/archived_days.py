"""The days that are archived: their events were deleted, and their highlights are final.

`archive` archives days; all other modules ask here which days are open.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from community_directory.calendar import DaySpan, load_zone, today
from community_directory.database import engine
from community_directory.settings import load_settings

CLOSED_BEFORE_SQL = "(SELECT closed_before FROM directory_archive)"
"""The SQL of the time before which no event is accepted; NULL if none is too old."""
ARCHIVED_UNTIL_SQL = "(SELECT archived_until FROM directory_archive)"
"""The SQL of the last archived day; NULL if there is none."""
ARCHIVED_BEFORE_SQL = "(SELECT archived_before FROM directory_archive)"
"""The SQL of the end of the last archived day; NULL if there is none."""

GET_ARCHIVE = "SELECT closed_before, archived_until, archived_before FROM directory_archive"

FIND_FIRST_EVENT_TIME = "SELECT min(occurred_at) FROM member_participation"


@dataclass(frozen=True, slots=True)
class Archive:
    """Which days are closed to new events, and which are archived."""

    closed_before: datetime
    """Earlier events are refused."""
    until: date | None
    """The last archived day; None if a first run was stopped before its first day."""
    before: datetime | None
    """The end of that day."""


def first_kept_day() -> date | None:
    """Return the first day that DIRECTORY_EVENT_RETENTION_DAYS keeps, or None if it keeps all."""
    retention = load_settings().event_retention_days
    return None if retention is None else today() - timedelta(days=retention)


async def find_archive() -> Archive | None:
    """Return which days are archived, or None if no day was ever closed."""
    records = await engine.fetch(GET_ARCHIVE)
    return Archive(*records[0]) if records else None


async def find_first_open_day() -> date | None:
    """Return the first day that has events and is not archived, or None if there is none.

    After a stay in a voice chat that reached over the end of the last archived day, it is the next
    day.
    """
    [(first_at,)] = await engine.fetch(FIND_FIRST_EVENT_TIME)
    if first_at is None:
        return None
    first: date = first_at.astimezone(load_zone(None)).date()
    archive = await find_archive()
    if archive is None or archive.until is None:
        return first
    return max(first, archive.until + timedelta(days=1))


async def open_days(days: DaySpan) -> DaySpan:
    """Return those of these days that are not archived, from the end of the last archived day on.

    The end is that of the time zone in which the day was archived. After a change of the zone, the
    first open day is longer or shorter: each event is counted on one day.
    """
    archive = await find_archive()
    if archive is None or archive.until is None or archive.before is None:
        return days
    first = archive.until + timedelta(days=1)
    found = [
        (day, archive.before if day == first else max(start, archive.before))
        for day, start in zip(days.days, days.starts, strict=True)
        if day >= first
    ]
    return DaySpan(
        [day for day, _ in found], [start for _, start in found], max(days.end, archive.before)
    )


async def begin_with_first_open_day(days: DaySpan) -> bool:
    """Return whether these days begin with the first one after the archive."""
    archive = await find_archive()
    if archive is None or archive.until is None:
        return False
    first = await find_first_open_day()
    return first is None or days.days[0] <= first
