"""Days from midnight to midnight in the community's time zone, so 23 to 25 hours long."""

from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.settings import load_settings

MAX_SPAN_DAYS = 3660
"""The maximum number of days of one call: ten years."""


class DaySpan(NamedTuple):
    """Consecutive days, the time in UTC at which each day starts, and the end of the last one."""

    days: list[date]
    starts: list[datetime]
    end: datetime


class ClockShifts(NamedTuple):
    """When the clocks of a time zone were or will be changed, and their offsets from then on."""

    shifts: list[datetime]
    offsets: list[timedelta]
    """The offsets from UTC, one for each of the shifts."""


def days_between(since: date, until: date, zone: str | None) -> DaySpan:
    """Return the days from `since` to `until`, both included.

    Args:
        since: The first day.
        until: The last day.
        zone: The name of the days' time zone; None means the community's time zone.

    Raises:
        InvalidInput: The days or the time zone are not valid, or there are too many days.
    """
    time_zone, count = load_zone(zone), count_days(since, until)
    try:
        # A day on which the clocks change can have two midnights or none. Python then starts it at
        # the first midnight, or at the first moment of the day.
        edges = [
            datetime.combine(since + timedelta(days=number), time.min, time_zone).astimezone(UTC)
            for number in range(count + 1)
        ]
        days = [since + timedelta(days=number) for number in range(count)]
    except OverflowError:
        raise InvalidInput("This day is too far away.", field="until") from None
    return DaySpan(days, edges[:-1], edges[-1])


def count_days(since: date, until: date) -> int:
    """Return the number of days from `since` to `until`, both included.

    Raises:
        InvalidInput: A value is not a date, `until` is before `since`, or there are too many days.
    """
    for field, day in (("since", since), ("until", until)):
        if not _is_day(day):
            raise InvalidInput("A day is a date without a time.", field=field)
    count = (until - since).days + 1
    if not 1 <= count <= MAX_SPAN_DAYS:
        raise InvalidInput(
            f"Choose 1 to {MAX_SPAN_DAYS} days, and put the first day first.", field="until"
        )
    return count


def _is_day(value: object) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)


def add_months(day: date, number: int) -> date:
    """Return the first day of the month that comes a number of months after that of `day`."""
    years, month = divmod(day.year * 12 + day.month - 1 + number, 12)
    return date(years, month + 1, 1)


def today(zone: str | None = None) -> date:
    """Return the current day in a time zone; None means the community's time zone.

    Raises:
        InvalidInput: There is no such time zone.
    """
    return datetime.now(load_zone(zone)).date()


def load_zone(zone: str | None) -> ZoneInfo:
    """Return the time zone with this name; None means the community's time zone.

    Raises:
        InvalidInput: There is no such time zone.
    """
    name = load_settings().time_zone if zone is None else zone
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError, TypeError):
        raise InvalidInput(
            f"There is no time zone {sanitize_for_message(name)}.", field="zone"
        ) from None


FIRST_CLOCK = datetime(1999, 12, 30, tzinfo=UTC)
"""Before every event: the first one is from the year 2000 on."""
LAST_CLOCK = datetime(2200, 1, 3, tzinfo=UTC)
"""After every event: the last one is from the year 2199."""
WEEK_SECONDS = 7 * 24 * 3600


def clock_shifts(zone: str | None) -> ClockShifts:
    """Return when the clocks of a time zone are changed; None means the community's time zone.

    The first shift is before every event.

    Raises:
        InvalidInput: There is no such time zone.
    """
    return _find_shifts(load_zone(zone))


@cache
def _find_shifts(zone: ZoneInfo) -> ClockShifts:
    """Look at the offset of each week: clocks that are changed twice in a week change nothing."""

    def offset_at(moment: datetime) -> timedelta:
        return moment.astimezone(zone).utcoffset() or timedelta()

    shifts, offsets, week = [FIRST_CLOCK], [offset_at(FIRST_CLOCK)], FIRST_CLOCK
    while week < LAST_CLOCK:
        seconds = range(WEEK_SECONDS + 1)
        if (offset := offset_at(week + timedelta(seconds=WEEK_SECONDS))) != offsets[-1]:
            passed = bisect_left(
                seconds,
                True,
                key=lambda second, week=week, offset=offset: (  # type: ignore[misc]
                    offset_at(week + timedelta(seconds=second)) == offset
                ),
            )
            shifts.append(week + timedelta(seconds=passed))
            offsets.append(offset)
        week += timedelta(seconds=WEEK_SECONDS)
    return ClockShifts(shifts, offsets)
