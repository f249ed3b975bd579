"""The rows of Retention and Funnel: people of the same month, or of the same inviter."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from community_directory.calendar import add_months, days_between
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput
from community_directory.web.insights.charts import end_of_month
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

MAX_INVITERS = 20
"""The number of inviters that have a row of their own."""

NAME_INVITERS = Statement("""
SELECT member_id, name FROM community_members WHERE member_id = ANY(:numbers)
""")

GroupKey = date | str | None
"""The first day of a month, the number of an inviter, or None for those who have no row."""
Choice = TypeVar("Choice", bound=StrEnum)


class Grouping(StrEnum):
    """What the people of a row have in common."""

    MONTH = "month"
    INVITER = "inviter"


GROUPING_LABELS = {
    Grouping.MONTH: gettext_noop("By month"),
    Grouping.INVITER: gettext_noop("By inviter"),
}


def read_choice(visit: Visit, name: str, choices: type[Choice]) -> Choice:
    """Return a choice of the address, or the first one if it has none.

    Raises:
        InvalidInput: There is no such choice.
    """
    value = visit.query.get(name) or next(iter(choices))
    if value not in list(choices):
        raise InvalidInput("There is no such choice.", field=name)
    return choices(value)


async def name_inviters(keys: Iterable[GroupKey]) -> dict[GroupKey, str]:
    """Return the names of the inviters among some keys."""
    numbers = [key for key in keys if isinstance(key, str)]
    if not numbers:
        return {}
    records = await engine.read(NAME_INVITERS, numbers=numbers)
    return {record["member_id"]: record["name"] for record in records}


def sort_keys(sizes: Mapping[GroupKey, int]) -> list[GroupKey]:
    """Return the months in their order, or the inviters, the largest first and None at the end."""

    def place(key: GroupKey) -> tuple[Any, ...]:
        if isinstance(key, date):
            return (key,)
        return (key is None, -sizes[key], len(key or ""), key or "")

    return sorted(sizes, key=place)


def find_days(key: GroupKey, period: Period) -> tuple[date, date]:
    """Return the first and the last day of a period that a row has."""
    if not isinstance(key, date):
        return period.since, period.until
    return max(period.since, key), min(period.until, end_of_month(key))


def find_buckets(period: Period) -> list[date]:
    """Return the first days of the parts of months in a period."""
    buckets = [period.since]
    while (month := add_months(buckets[-1], 1)) <= period.until:
        buckets.append(month)
    return buckets


def start_times(days: Iterable[date]) -> list[datetime]:
    """Return the times at which days start."""
    return [days_between(day, day, None).starts[0] for day in days]
