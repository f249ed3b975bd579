"""Days of a community: from midnight to midnight in its time zone, so 23 to 25 hours long."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.settings import load_settings

MAX_SPAN_DAYS = 3660
"""The most days that one call takes: ten years."""


class DaySpan(NamedTuple):
    """Consecutive days, the moment at which each begins, and the end of the last, all in UTC."""

    days: list[date]
    starts: list[datetime]
    end: datetime


def days_between(since: date, until: date, zone: str | None) -> DaySpan:
    """Return the days from `since` to `until`, both included.

    Days are those of the time zone; None stands for the community's zone.

    Raises:
        InvalidInput: The days or the time zone are not valid, or there are too many days.
    """
    time_zone, count = load_zone(zone), count_days(since, until)
    try:
        # Python takes the first of two midnights, and where a day has no midnight its first moment.
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
        InvalidInput: One of them is not a day, their order is reversed, or there are too many days.
    """
    for field, day in (("since", since), ("until", until)):
        if not _is_day(day):
            raise InvalidInput("A day is a date without a time.", field=field)
    count = (until - since).days + 1
    if not 1 <= count <= MAX_SPAN_DAYS:
        raise InvalidInput(
            f"Ask for 1 to {MAX_SPAN_DAYS} days, the first one first.", field="until"
        )
    return count


def _is_day(value: object) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)


def today(zone: str | None = None) -> date:
    """Return the current day in a time zone; None stands for the community's zone.

    Raises:
        InvalidInput: There is no such time zone.
    """
    return datetime.now(load_zone(zone)).date()


def load_zone(zone: str | None) -> ZoneInfo:
    """Return the time zone with this name; None stands for the community's zone.

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
