"""Days of a community: from midnight to midnight in its time zone, which may be 23 or 25 hours."""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.settings import load_settings

MAX_SPAN_DAYS = 3660
"""The days that one call takes at the most: ten years."""


class Days(NamedTuple):
    """Days one after the other, the moment at which each begins, and the one at which the last ends, in UTC."""

    days: list[date]
    starts: list[datetime]
    end: datetime


def days_between(since: date, until: date, zone: str | None) -> Days:
    """The days from `since` to `until`, both included; None stands for the community's zone. Raises `InvalidInput`."""
    tz, count = zone_of(zone), checked_span(since, until)
    try:
        # Python's clock finds the first midnight where there are two, and the first moment of a day without one.
        edges = [
            datetime.combine(since + timedelta(days=number), time.min, tz).astimezone(UTC)
            for number in range(count + 1)
        ]
        days = [since + timedelta(days=number) for number in range(count)]
    except OverflowError:
        raise InvalidInput("This day is too far away.", field="until") from None
    return Days(days, edges[:-1], edges[-1])


def checked_span(since: date, until: date) -> int:
    """The number of days from `since` to `until`, both included. Raises `InvalidInput`."""
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
    """The day that it is now, in the zone or in the community's."""
    return datetime.now(zone_of(zone)).date()


def zone_of(zone: str | None) -> ZoneInfo:
    """The time zone of that name; None stands for the community's. Raises `InvalidInput`."""
    name = load_settings().time_zone if zone is None else zone
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError, TypeError):
        raise InvalidInput(
            f"There is no time zone {sanitize_for_message(name)}.", field="zone"
        ) from None
