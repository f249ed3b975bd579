"""Values of filters, as the addresses of pages write them: choices, numbers, days and periods."""

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import NamedTuple, Self

from community_directory.calendar import count_days, days_between, today
from community_directory.errors import InvalidInput, sanitize_for_message

MONTH = "month"
"""The text of the first day of the current month."""
DAYS_AGO_PATTERN = re.compile("([1-9][0-9]{0,4})d")
"""The text of a number of days before today, such as "30d"."""
NUMBER_PATTERN = re.compile("[0-9]{1,10}")
DEFAULT_PERIOD_DAYS = 28


class DayPeriod(NamedTuple):
    """The days from `since` to `until`, both included."""

    since: date
    until: date

    @property
    def days(self) -> list[date]:
        """The days."""
        count = (self.until - self.since).days + 1
        return [self.since + timedelta(days=number) for number in range(count)]

    @property
    def before(self) -> Self:
        """The period before: as many days, up to the day before this one."""
        end = self.since - timedelta(days=1)
        return type(self)(end - (self.until - self.since), end)


def checked_choice(field: str, value: str | None, choices: Iterable[str]) -> str | None:
    """Return a choice, or None if nothing is chosen.

    Raises:
        InvalidInput: There is no such choice.
    """
    if value is None or value == "":
        return None
    if value not in list(choices):  # a list, because an unhashable value must be refused too
        raise InvalidInput(f"There is no {field} {sanitize_for_message(value)}.", field=field)
    return str(value)


def parse_number(field: str, value: str | int | None, numbers: range) -> int | None:
    """Return one of the numbers, or None if there is none.

    Raises:
        InvalidInput: The value is none of them.
    """
    if value is None or value == "":
        return None
    found = value if type(value) is int else None
    if isinstance(value, str) and NUMBER_PATTERN.fullmatch(value):
        found = int(value)
    if found is None or found not in numbers:
        least, most = numbers[0], numbers[-1]
        name = field.replace("_", " ")
        raise InvalidInput(f"The {name} must be {least} to {most:,}.", field=field)
    return found


def parse_day(field: str, value: str | date | None) -> date | None:
    """Return a day, which may be relative to today, in the community's time zone.

    Raises:
        InvalidInput: The text is no day, or the day is before 1900 or after 2199.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            if value == MONTH:
                return today().replace(day=1)
            if ago := DAYS_AGO_PATTERN.fullmatch(value):
                value = today() - timedelta(days=int(ago[1]))
            else:
                value = date.fromisoformat(value)
        # The days of a community are those whose midnights every time zone has.
        if not isinstance(value, datetime) and 1900 <= value.year <= 2199:
            return value
    except (ValueError, AttributeError):
        pass
    raise InvalidInput(
        f"{sanitize_for_message(value)} is no day. Write it as 2026-11-01.", field=field
    )


def parse_times(
    name: str, first: str | date | None, last: str | date | None
) -> tuple[datetime | None, datetime | None]:
    """Return the first moment of the day `first`, and that after the day `last`.

    Args:
        name: The start of the names of both filters, which end in "_from" and "_to".
        first: The first day.
        last: The last day.

    Raises:
        InvalidInput: A value is no day.
    """
    since, until = parse_day(f"{name}_from", first), parse_day(f"{name}_to", last)
    return (
        None if since is None else days_between(since, since, None).starts[0],
        None if until is None else days_between(until, until, None).end,
    )


def parse_period(since: str | date | None, until: str | date | None) -> DayPeriod:
    """Return the days from `since` to `until`.

    The last day is yesterday if there is none: a day is rolled up in the night after it. The first
    day makes it 28 days if there is none.

    Raises:
        InvalidInput: A text is no day, or `until` is before `since` or more than ten years later.
    """
    last = parse_day("until", until) or today() - timedelta(days=1)
    first = parse_day("since", since) or last - timedelta(days=DEFAULT_PERIOD_DAYS - 1)
    count_days(first, last)
    return DayPeriod(first, last)
