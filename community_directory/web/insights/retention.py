"""Retention: how many of those who joined together are active later."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

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

_JOINED = "(joined_at AT TIME ZONE :zone)"
_JOINED_MONTH = f"date_trunc('month', {_JOINED})::date"
_PERIOD = "joined_at >= :start AND joined_at < :end"
# Those who are gone are people of their cohort, too.
_PEOPLE = f"""
    FROM member_milestones JOIN community_members USING (member_id)
    WHERE {_PERIOD} AND NOT is_bot AND merged_into IS NULL"""

# The rows are the months of joining, or some inviters: to read the people of a few inviters is
# fast, and all others are the rest of everybody.
ROW_KEYS = {Grouping.MONTH: _JOINED_MONTH, Grouping.INVITER: "invited_by"}
CONDITIONS = {Grouping.MONTH: "", Grouping.INVITER: "AND invited_by = ANY(:inviters::text[])"}

FIND_INVITERS = Statement(f"""
SELECT invited_by {_PEOPLE} AND invited_by IS NOT NULL
GROUP BY invited_by ORDER BY count(*) DESC, length(invited_by), invited_by LIMIT {MAX_INVITERS}
""")


def _make_size_statement(by: Grouping) -> Statement:
    """Return the statement that counts people by row and month of joining."""
    return Statement(f"""
SELECT {ROW_KEYS[by]} AS row_key, {_JOINED_MONTH} AS over, NULL AS active_in, count(*) AS people,
    count(*) FILTER (WHERE {MEMBER}) AS members
{_PEOPLE} {CONDITIONS[by]} GROUP BY row_key, over
""")


def _make_month_statement(by: Grouping) -> Statement:
    """Return the statement that counts the active members by row, month of joining, and month."""
    # OFFSET 0 keeps PostgreSQL from joining all three tables at once, which takes longer.
    return Statement(f"""
SELECT row_key, over, month AS active_in, count(*) AS people, NULL AS members
FROM (
    SELECT member_id, {ROW_KEYS[by]} AS row_key, {_JOINED_MONTH} AS over
    {_PEOPLE} {CONDITIONS[by]} AND {MEMBER} OFFSET 0
) AS member JOIN member_monthly_highlights USING (member_id)
WHERE month >= over AND month < date_trunc('month', :today::timestamp)::date
GROUP BY row_key, over, month
""")


def _make_week_statement(by: Grouping) -> Statement:
    """Return the statement that counts people by row and by the last week that is over."""
    return Statement(f"""
WITH
-- The people who agree in all that is counted: few groups, compared with the people.
alike AS (
    SELECT {ROW_KEYS[by]} AS row_key,
        least((:today::date - {_JOINED}::date) / 7, {Unit.WEEK.columns[-1]}) AS over,
        {MEMBER} AS is_member, active_weeks, count(*) AS people
    {_PEOPLE} {CONDITIONS[by]} GROUP BY 1, 2, 3, 4
)
SELECT row_key, over, NULL AS active_in, sum(people)::bigint AS people,
    sum(people) FILTER (WHERE is_member)::bigint AS members
FROM alike GROUP BY row_key, over
UNION ALL
SELECT row_key, over, active_in, sum(people)::bigint, NULL
FROM alike, unnest(active_weeks) AS active_in WHERE is_member AND active_in <= over
GROUP BY row_key, over, active_in
""")


COUNT_COHORTS: dict[Unit, dict[Grouping, tuple[Statement, ...]]] = {
    Unit.MONTH: {by: (_make_size_statement(by), _make_month_statement(by)) for by in Grouping},
    Unit.WEEK: {by: (_make_week_statement(by),) for by in Grouping},
}
"""The statements whose rows together are the cohorts."""


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
    unit = choices.unit
    by_month, by_inviter, earlier = await asyncio.gather(
        _read_months(period, unit),
        _read_inviters(period, choices),
        _read_before(period, unit),
    )
    everybody, before = add_up(by_month.values()), add_up(earlier.values())
    cohorts = by_month
    if choices.by is Grouping.INVITER:
        others = everybody.without(add_up(by_inviter.values()))
        cohorts = {**by_inviter, **({None: others} if others.people else {})}
    names = await name_inviters(cohorts)
    keys = sort_keys({key: cohort.people.total() for key, cohort in cohorts.items()})

    def make_row(key: GroupKey, cohort: Cohort, people: People | None) -> RetentionRow:
        lost = choices.show is Show.LOST
        cells = [cohort.cell(number, lost=lost) for number in unit.columns]
        return RetentionRow(key, names.get(key, ""), cohort, people, cells)

    return Retention(
        [
            make_row(key, cohorts[key], None if key is None else _find_people(key, period))
            for key in keys
        ],
        make_row(None, everybody, _find_people(None, period)),
        make_row(None, before, _find_people(None, period.before) if period.before else None),
    )


Cohorts = dict[GroupKey, Cohort]


async def _read_months(period: Period, unit: Unit) -> Cohorts:
    """Return the cohorts of those who joined in a period, by the month of joining."""
    return await _read_cohorts(COUNT_COHORTS[unit][Grouping.MONTH], unit, _find_values(period))


async def _read_before(period: Period, unit: Unit) -> Cohorts:
    return await _read_months(period.before, unit) if period.before else {}


async def _read_inviters(period: Period, choices: Choices) -> Cohorts:
    """Return the cohorts of the inviters who brought most; none if the rows are months."""
    if choices.by is not Grouping.INVITER:
        return {}
    values = _find_values(period)
    found = await engine.read(FIND_INVITERS, start=values["start"], end=values["end"])
    inviters = [inviter for (inviter,) in found]
    statements = COUNT_COHORTS[choices.unit][Grouping.INVITER]
    return await _read_cohorts(statements, choices.unit, {**values, "inviters": inviters})


def _find_values(period: Period) -> dict[str, Any]:
    """Return the parameters of the statements."""
    span = days_between(period.since, period.until, None)
    return {
        "start": span.starts[0],
        "end": span.end,
        "zone": load_zone(None).key,
        "today": today(),
    }


async def _read_cohorts(
    statements: Sequence[Statement], unit: Unit, values: Mapping[str, Any]
) -> Cohorts:
    """Return the cohorts that some statements count."""
    found = await asyncio.gather(
        *(
            engine.read(statement, **{name: values[name] for name in statement.parameters})
            for statement in statements
        )
    )
    last_month = add_months(today(), -1)
    cohorts: Cohorts = defaultdict(Cohort)
    for key, over, active_in, people, members in (record for each in found for record in each):
        last, number = over, active_in
        if unit is Unit.MONTH:
            last = count_months(over, last_month)
            number = None if active_in is None else count_months(over, active_in)
        if number is None:
            cohorts[key].people[last] += people
            cohorts[key].members[last] += members or 0
        else:
            cohorts[key].active[number] += people
    return dict(cohorts)


def _find_people(key: GroupKey, period: Period) -> People:
    """Return the people of a month, of an inviter, or of the whole period, as filters find them."""
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
    # The curve has everybody, so the inviters are not read.
    retention = await load_retention(period, choices._replace(by=Grouping.MONTH))
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
