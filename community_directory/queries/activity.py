"""What each member did in a period, summed from the months and the days of the highlights."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

from community_directory.calendar import add_months, today
from community_directory.database import Parameters
from community_directory.queries.filter_values import DayPeriod
from community_directory.queries.standing import ABSENT

MONTH_ROWS = 5
"""A month has as many rows as some five of its days: most people are active on several."""


class Part(NamedTuple):
    """Months or days, whose rows are added up for a period, or taken away from it."""

    is_months: bool
    is_added: bool
    days: list[date]
    """The days, or the first days of the months."""


def split_period(period: DayPeriod) -> list[Part]:
    """Return the parts that add up to a period, in a way that reads few rows.

    A month of which most days are in the period is added as a whole, and its other days are taken
    away. Of a year, one row is read for each member and month, and the days of half a month at most
    at each end.
    """
    found: dict[tuple[bool, bool], list[date]] = defaultdict(list)
    latest = today()
    first = period.since.replace(day=1)
    while first <= period.until:
        following = add_months(first, 1)
        month = DayPeriod(first, following - timedelta(days=1)).days
        inside = [day for day in month if period.since <= day <= period.until]
        outside = [day for day in month if not period.since <= day <= period.until]
        # Days to come have no rows.
        if not outside or MONTH_ROWS + sum(day <= latest for day in outside) < len(inside):
            found[True, True].append(first)
            found[False, False] += outside
        else:
            found[False, True] += inside
        first = following
    return [Part(*kind, days) for kind, days in found.items() if days]


def select_activity(period: DayPeriod, parameters: Parameters, *further: str) -> list[str]:
    """Return queries in SQL of rows of members, whose sums are what they did in a period.

    The columns are member_id, active_days, message_count, reaction_count and voice_minutes. Whoever
    was not active has no row, or rows with the sum 0. Bots are in it: a bot that was marked after
    its days were archived keeps them. All parts are index-only, by monthly_highlight_month_idx and
    highlight_date_idx.

    Args:
        period: The period.
        parameters: The parameters of the statement.
        further: Further columns of each row, in SQL.
    """
    names = ("message_count", "reaction_count", "voice_minutes")

    def select(part: Part) -> str:
        days = "active_days::integer" if part.is_months else "1"
        counts = [("active_days", days), *((name, f"coalesce({name}, 0)") for name in names)]
        table, column = (
            ("member_monthly_highlights", "month")
            if part.is_months
            else ("member_daily_highlights", "highlight_date")
        )
        return f"""
        SELECT {", ".join(("member_id", *further, *_signed(part, counts)))} FROM {table}
        WHERE {column} = ANY({parameters.bind(part.days)}::date[])"""

    return [select(part) for part in split_period(period)]


def select_periods(periods: Iterable[DayPeriod], parameters: Parameters) -> str:
    """Return the SQL of all rows of `select_activity` of several periods.

    The further column `period` is the place of the period among them, from 0 on.
    """
    return union(
        query
        for place, period in enumerate(periods)
        for query in select_activity(period, parameters, f"{place} AS period")
    )


def select_rooms(period: DayPeriod, parameters: Parameters, condition: str = "true") -> list[str]:
    """Return queries in SQL of rows of members and rooms, whose sums are those of a period.

    The columns are member_id, platform, room_id, event_count and message_count.

    Args:
        period: The period.
        parameters: The parameters of the statement.
        condition: A condition on the rows, in SQL. A platform, or a platform and a room, is looked
            up in the primary key for each month or day.
    """

    def select(part: Part) -> str:
        counts = [(name, name) for name in ("event_count", "message_count")]
        table, column = (
            ("member_monthly_rooms", "month") if part.is_months else ("member_daily_rooms", "day")
        )
        return f"""
        SELECT member_id, platform, room_id, {", ".join(_signed(part, counts))} FROM {table}
        WHERE {column} = ANY({parameters.bind(part.days)}::date[]) AND {condition}"""

    return [select(part) for part in split_period(period)]


def _signed(part: Part, counts: Iterable[tuple[str, str]]) -> list[str]:
    """Return the columns of some counts, which are negative if they are taken away."""
    sign = "" if part.is_added else "-"
    return [f"{sign}{sql} AS {name}" for name, sql in counts]


def union(queries: Iterable[str]) -> str:
    """Return the SQL of all rows of some queries."""
    return " UNION ALL ".join(queries)


def sum_activity(period: DayPeriod, parameters: Parameters) -> str:
    """Return the SQL of a subquery: what each person who is present did in a period.

    It has the columns of `select_activity`. Whoever was not active has no row.
    """
    return f"""
    SELECT member_id, sum(active_days) AS active_days, sum(message_count) AS message_count,
        sum(reaction_count) AS reaction_count, sum(voice_minutes) AS voice_minutes
    FROM ({union(select_activity(period, parameters))}) AS parts GROUP BY member_id
    HAVING sum(active_days) > 0 AND member_id NOT IN ({ABSENT})"""
