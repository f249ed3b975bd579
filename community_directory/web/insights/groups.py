"""The rows of Retention and Funnel: people of the same month, or of the same inviter."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypeVar

from community_directory.calendar import add_months, days_between
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.errors import InvalidInput, MemberNotFound
from community_directory.queries.people_filters import PRESENT_NUMBERS, parse_inviters
from community_directory.web.insights.charts import end_of_month
from community_directory.web.insights.layout import read_parameters
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

NAME_INVITERS = Statement(f"""
SELECT member_id, name FROM community_members
WHERE member_id = ANY({PRESENT_NUMBERS.format(NUMBERS=":numbers")})
ORDER BY length(member_id), member_id
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


async def read_inviters(visit: Visit) -> dict[str, str] | None:
    """Return the names by number of the inviters whose people the address asks for.

    None if it asks for everybody.

    Raises:
        InvalidInput: A number is none, or there are too many.
        MemberNotFound: There is none of these members.
    """
    numbers = parse_inviters(read_parameters(visit).get("inviter"))
    if numbers is None:
        return None
    names = await name_inviters(numbers)
    if not names:
        raise MemberNotFound(numbers[0])
    return names


async def name_inviters(keys: Iterable[GroupKey]) -> dict[str, str]:
    """Return the names of the inviters among some keys, by number.

    The number of a merged member becomes that of the other one.
    """
    numbers = [key for key in keys if isinstance(key, str)]
    if not numbers:
        return {}
    records = await engine.read(NAME_INVITERS, numbers=numbers)
    return {record["member_id"]: record["name"] for record in records}


def format_inviters(key: GroupKey, inviters: Iterable[str] | None) -> str | None:
    """Return the filter `inviter` of the people of a row; None if they have any inviter or none.

    Args:
        key: The key of the row.
        inviters: The numbers of the inviters whose people the page has; None if it has everybody.
    """
    numbers = [key] if isinstance(key, str) else inviters
    return None if numbers is None else ",".join(each.removeprefix("#") for each in numbers)


def list_key_columns(by: Grouping, month_column: str) -> list[str]:
    """Return the columns of a CSV file that say which row it is."""
    return [month_column] if by is Grouping.MONTH else ["inviter", "name"]


def list_key_values(visit: Visit, by: Grouping, key: GroupKey, name: str) -> list[object]:
    """Return the values of these columns; those who have no row have a name, and no number."""
    if by is Grouping.MONTH:
        return [key]
    return [key, visit.gettext("All others") if key is None else name]


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
