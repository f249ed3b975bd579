"""Retention: how many of those who joined together are still active later."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from typing import NamedTuple, TypeVar

from community_directory.calendar import days_between, load_zone, today
from community_directory.database import Statement, engine
from community_directory.errors import InvalidInput
from community_directory.queries.standing import MEMBER
from community_directory.web.insights.cohorts import (
    Cell,
    Cohort,
    Unit,
    add_months,
    add_up,
    count_months,
    draw_curve,
)
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import YEAR, Period
from community_directory.web.pages import Visit

MAX_INVITERS = 20
"""The number of inviters that have a row of their own."""


class Grouping(StrEnum):
    """What the people of a row have in common."""

    MONTH = "month"
    """The month of joining."""
    INVITER = "inviter"


class Show(StrEnum):
    """Whom the cells count."""

    ACTIVE = "active"
    LOST = "lost"
    """The members who were not active."""


ROWS = {Grouping.MONTH: "date_trunc('month', joined)::date", Grouping.INVITER: "invited_by"}
"""The rows in SQL."""
OVER = {
    # The month of joining; `_read_cohorts` knows which month is the last one that is over.
    Unit.MONTH: "date_trunc('month', joined)::date",
    Unit.WEEK: "least((:today::date - joined::date) / 7, 12)",
}
"""What says which columns are over, in SQL."""
# A person's months are counted as they are; a message before joining counts in the month of it.
ACTIVE = {
    Unit.MONTH: """
    SELECT row_key, over, month AS active_in
    FROM cohort JOIN member_monthly_highlights USING (member_id)
    WHERE is_member AND month >= over AND month < date_trunc('month', :today::timestamp)::date
    """,
    Unit.WEEK: """
    SELECT row_key, over, active_in
    FROM cohort, unnest(active_weeks) AS active_in WHERE is_member AND active_in <= over
    """,
}
"""A row for each member and column in which they were active, in SQL."""

NAME_INVITERS = Statement("""
SELECT member_id, name FROM community_members WHERE member_id = ANY(:numbers)
""")


def _make_statement(by: Grouping, unit: Unit) -> Statement:
    inviters = f"""
-- The inviters who have a row of their own.
top AS (
    SELECT invited_by FROM person WHERE invited_by IS NOT NULL GROUP BY invited_by
    ORDER BY count(*) DESC, length(invited_by), invited_by LIMIT {MAX_INVITERS}
),
"""
    is_top = "invited_by IN (SELECT invited_by FROM top)"
    row_key = ROWS[by] if by is Grouping.MONTH else f"CASE WHEN {is_top} THEN invited_by END"
    return Statement(f"""
WITH
-- Everybody who joined in the period, also those who are gone.
person AS (
    SELECT member_id, invited_by, joined_at AT TIME ZONE :zone AS joined, active_weeks,
        {MEMBER} AS is_member
    FROM member_milestones JOIN community_members USING (member_id)
    WHERE joined_at >= :start AND joined_at < :end AND NOT is_bot AND merged_into IS NULL
),
{inviters if by is Grouping.INVITER else ""}
-- The row of each person, and which columns are over for them.
cohort AS (
    SELECT member_id, {row_key} AS row_key, {OVER[unit]} AS over, active_weeks, is_member
    FROM person
)
SELECT row_key, over, NULL AS active_in, count(*) AS people,
    count(*) FILTER (WHERE is_member) AS members
FROM cohort GROUP BY row_key, over
UNION ALL
SELECT row_key, over, active_in, count(*), NULL FROM ({ACTIVE[unit]}) AS active
GROUP BY row_key, over, active_in
""")


COUNT_COHORTS = {(by, unit): _make_statement(by, unit) for by in Grouping for unit in Unit}

Key = date | str | None
"""A month, the number of an inviter, or None for all people without a row of their own."""
Choice = TypeVar("Choice", bound=StrEnum)


class Choices(NamedTuple):
    """What the address asks for."""

    by: Grouping
    unit: Unit
    show: Show


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        key: The month, or the inviter; None for everybody else.
        name: The name of the inviter, or "".
        cohort: The people of the row.
        cells: The cells of all columns; None for one that is not over.
        filters: The filters of People that find the people; None if there are none that do.
    """

    key: Key
    name: str
    cohort: Cohort
    cells: Sequence[Cell | None]
    filters: Mapping[str, object] | None


def _read_choice(visit: Visit, name: str, choices: type[Choice]) -> Choice:
    """Return a choice of the address, or the first one.

    Raises:
        InvalidInput: There is no such choice.
    """
    value = visit.query.get(name)
    if not value:
        return next(iter(choices))
    if value not in list(choices):
        raise InvalidInput("There is no such choice.", field=name)
    return choices(value)


def _read_choices(visit: Visit) -> Choices:
    return Choices(
        _read_choice(visit, "by", Grouping),
        _read_choice(visit, "unit", Unit),
        _read_choice(visit, "show", Show),
    )


async def _read_cohorts(period: Period, by: Grouping, unit: Unit) -> dict[Key, Cohort]:
    """Return the cohorts of those who joined in a period, by their rows."""
    span = days_between(period.since, period.until, None)
    values = {"today": today()} if unit is Unit.WEEK or by else {}
    records = await engine.read(
        COUNT_COHORTS[by, unit],
        start=span.starts[0],
        end=span.end,
        zone=load_zone(None).key,
        **values,
    )
    cohorts: dict[Key, Cohort] = defaultdict(Cohort)
    last_month = add_months(today(), -1)
    for key, over, active_in, people, members in records:
        cohort = cohorts[key]
        if active_in is None:
            last = over if unit is Unit.WEEK else count_months(over, last_month)
            cohort.people[last] += people
            cohort.members[last] += members
        else:
            number = active_in if unit is Unit.WEEK else count_months(over, active_in)
            cohort.active[number] += people
    return dict(cohorts)


def _find_filters(key: Key, by: Grouping, period: Period) -> dict[str, object] | None:
    """Return the filters of People that find those who joined in a row, whatever they are now."""
    first, last = period.since, period.until
    if isinstance(key, date):
        first, last = max(first, key), min(last, add_months(key, 1) - timedelta(days=1))
    filters: dict[str, object] = {"member_from": first, "member_to": last}
    if isinstance(key, str):
        filters["inviter"] = key.removeprefix("#")
    return None if key is None and by is Grouping.INVITER else filters


def link_cell(choices: Choices, filters: Mapping[str, object] | None, cell: Cell) -> str | None:
    """Return the address of People that finds the people of a cell; None if there is none."""
    if filters is None:
        return None
    last = choices.unit.last_joining_day(cell.number, today())
    end = min(last, filters["member_to"])
    return to_people(status="member", **filters, member_to=end)
