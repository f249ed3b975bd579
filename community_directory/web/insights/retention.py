"""Retention: how many of those who joined together are active later."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from community_directory.calendar import add_months, days_between, load_zone, today
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.queries.standing import MEMBER
from community_directory.web.insights.cohorts import (
    Cell,
    Cohort,
    Unit,
    add_up,
    count_months,
    draw_curve,
)
from community_directory.web.insights.groups import (
    GROUPING_LABELS,
    MAX_INVITERS,
    Grouping,
    GroupKey,
    find_days,
    name_inviters,
    read_choice,
    sort_keys,
)
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import YEAR, Period
from community_directory.web.pages import Visit


class Show(StrEnum):
    """Whom the cells count."""

    ACTIVE = "active"
    LOST = "lost"
    """The members who were not active."""


UNIT_LABELS = {
    Unit.MONTH: gettext_noop("Months after joining"),
    Unit.WEEK: gettext_noop("Weeks after joining"),
}
SHOW_LABELS = {
    Show.ACTIVE: gettext_noop("Who was active"),
    Show.LOST: gettext_noop("Who was not"),
}

_JOINED_MONTH = "date_trunc('month', joined)::date"
OVER = {Unit.MONTH: _JOINED_MONTH, Unit.WEEK: "least((:today::date - joined::date) / 7, 12)"}
"""What says which columns are over, in SQL: the month of joining, or the last week that is over."""
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

_TOP_INVITERS = f"""
-- The inviters who have a row of their own.
inviter AS (
    SELECT invited_by FROM person WHERE invited_by IS NOT NULL GROUP BY invited_by
    ORDER BY count(*) DESC, length(invited_by), invited_by LIMIT {MAX_INVITERS}
),"""


def _make_statement(by: Grouping, unit: Unit) -> Statement:
    is_by_month = by is Grouping.MONTH
    of_inviter = "CASE WHEN invited_by IN (SELECT invited_by FROM inviter) THEN invited_by END"
    return Statement(f"""
WITH
-- Everybody who joined in the period, also those who are gone.
person AS (
    SELECT member_id, invited_by, joined_at AT TIME ZONE :zone AS joined, active_weeks,
        {MEMBER} AS is_member
    FROM member_milestones JOIN community_members USING (member_id)
    WHERE joined_at >= :start AND joined_at < :end AND NOT is_bot AND merged_into IS NULL
),{"" if is_by_month else _TOP_INVITERS}
-- The row of each person, and which columns are over for them.
cohort AS (
    SELECT member_id, {_JOINED_MONTH if is_by_month else of_inviter} AS row_key,
        {OVER[unit]} AS over, active_weeks, is_member
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


class Choices(NamedTuple):
    """What the address asks for."""

    by: Grouping
    unit: Unit
    show: Show


class People(NamedTuple):
    """Those who joined from `first` to `last`, of one inviter or of all.

    Attributes:
        first: The first day of joining.
        last: The last day of joining.
        inviter: The digits of the inviter's number, or None.
    """

    first: date
    last: date
    inviter: str | None = None

    def link(self, status: str, *, last: date | None = None, **filters: object) -> str:
        """Return the address of the page People that lists them.

        Args:
            status: The filter of the status.
            last: An earlier last day of joining.
            filters: Further filters.
        """
        return to_people(
            status=status,
            member_from=self.first,
            member_to=min(self.last, last or self.last),
            inviter=self.inviter,
            **filters,
        )


class RetentionRow(NamedTuple):
    """A row of the table.

    Attributes:
        key: The month or the inviter.
        name: The name of the inviter, or "".
        cohort: The people of the row.
        people: The same people as filters find them; None if no filters do.
        cells: The cells of the columns; None for one that is not over.
    """

    key: GroupKey
    name: str
    cohort: Cohort
    people: People | None
    cells: Sequence[Cell | None]


class Retention(NamedTuple):
    """The retention of those who joined in a period.

    Attributes:
        rows: The rows of the table.
        everybody: The row of all people together.
        before: The row of everybody who joined in the period before, or of nobody.
    """

    rows: Sequence[RetentionRow]
    everybody: RetentionRow
    before: RetentionRow


def _read_choices(visit: Visit) -> Choices:
    return Choices(
        read_choice(visit, "by", Grouping),
        read_choice(visit, "unit", Unit),
        read_choice(visit, "show", Show),
    )


async def load_retention(period: Period, choices: Choices) -> Retention:
    """Return the retention of those who joined in a period."""
    by, unit, show = choices
    read = [_read_cohorts(period, by, unit)]
    if period.before:
        read.append(_read_cohorts(period.before, Grouping.MONTH, unit))
    cohorts, *earlier = await asyncio.gather(*read)
    names = await name_inviters(cohorts)

    def make_row(key: GroupKey, cohort: Cohort, people: People | None) -> RetentionRow:
        cells = [cohort.cell(number, lost=show is Show.LOST) for number in unit.columns]
        return RetentionRow(key, names.get(key, ""), cohort, people, cells)

    keys = sort_keys({key: cohort.people.total() for key, cohort in cohorts.items()})
    everybody = People(period.since, period.until)
    before = People(period.before.since, period.before.until) if period.before else None
    return Retention(
        [make_row(key, cohorts[key], _find_people(key, period)) for key in keys],
        make_row(None, add_up(cohorts.values()), everybody),
        make_row(None, add_up(cohort for each in earlier for cohort in each.values()), before),
    )


async def _read_cohorts(period: Period, by: Grouping, unit: Unit) -> dict[GroupKey, Cohort]:
    """Return the cohorts of those who joined in a period, by their rows."""
    span = days_between(period.since, period.until, None)
    records = await engine.read(
        COUNT_COHORTS[by, unit],
        start=span.starts[0],
        end=span.end,
        zone=load_zone(None).key,
        today=today(),
    )
    last_month = add_months(today(), -1)
    cohorts: dict[GroupKey, Cohort] = defaultdict(Cohort)
    for key, over, active_in, people, members in records:
        last, number = over, active_in
        if unit is Unit.MONTH:
            last = count_months(over, last_month)
            number = None if active_in is None else count_months(over, active_in)
        if number is None:
            cohorts[key].people[last] += people
            cohorts[key].members[last] += members
        else:
            cohorts[key].active[number] += people
    return dict(cohorts)


def _find_people(key: GroupKey, period: Period) -> People | None:
    """Return the people of a row as filters find them; None for those of all other inviters."""
    if key is None:
        return None
    first, last = find_days(key, period)
    return People(first, last, key.removeprefix("#") if isinstance(key, str) else None)


def link_cell(people: People, cell: Cell, choices: Choices) -> str:
    """Return the address of People that lists the people of a cell."""
    activity = "active" if choices.show is Show.ACTIVE else "inactive"
    return people.link(
        "member",
        last=choices.unit.last_joining_day(cell.number, today()),
        **{f"{activity}_{choices.unit}": cell.number},
    )


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    choices = _read_choices(visit)
    retention = await load_retention(period, choices)
    return {
        "choices": choices,
        "labels": {"by": GROUPING_LABELS, "unit": UNIT_LABELS, "show": SHOW_LABELS},
        "retention": retention,
        "columns": choices.unit.columns,
        "curve": draw_curve(retention.everybody.cells),
        "curve_before": draw_curve(retention.before.cells),
        "link_cell": partial(link_cell, choices=choices),
        "max_inviters": MAX_INVITERS,
    }


async def load_cohorts_chart(visit: Visit, period: Period) -> ChartTable:
    """Return the table, a row for each cell."""
    choices = _read_choices(visit)
    retention = await load_retention(period, choices)
    columns = [
        "joined_month" if choices.by is Grouping.MONTH else "inviter",
        "members",
        "gone",
        choices.unit.value,
        choices.show.value,
        "people",
    ]
    rows = [
        (
            row.key,
            row.cohort.members.total(),
            row.cohort.gone,
            number,
            *_count(cell),
        )
        for row in retention.rows
        for number, cell in zip(choices.unit.columns, row.cells, strict=True)
    ]
    return ChartTable(columns, rows)


async def load_curve_chart(visit: Visit, period: Period) -> ChartTable:
    """Return the columns of everybody, in the period and in the period before."""
    choices = _read_choices(visit)
    retention = await load_retention(period, choices)
    show = choices.show.value
    columns = [choices.unit.value, show, "people", f"{show}_before", "people_before"]
    rows = [
        (number, *_count(now), *_count(before))
        for number, now, before in zip(
            choices.unit.columns, retention.everybody.cells, retention.before.cells, strict=True
        )
    ]
    return ChartTable(columns, rows)


def _count(cell: Cell | None) -> tuple[int | None, int | None]:
    """Return the number of a cell and that of all people; None if it is not over."""
    return (None, None) if cell is None else (cell.count, cell.people)


PAGE = InsightsPage(
    "retention",
    _build,
    {"cohorts": load_cohorts_chart, "curve": load_curve_chart},
    default_period=YEAR,
)
