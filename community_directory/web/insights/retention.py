"""Retention: how many of those who joined together are active later."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from community_directory.calendar import add_months, today
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.queries.people_filters import MAX_INVITERS
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
    Grouping,
    GroupKey,
    find_buckets,
    find_days,
    format_inviters,
    list_key_columns,
    list_key_values,
    name_inviters,
    read_choice,
    read_inviters,
    sort_keys,
    start_times,
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

# Those who are gone are people of their cohort, too. A bucket is the part of a month in a period:
# to look it up costs a tenth of the month of a time in a time zone.
_BUCKET = "width_bucket(joined_at, :starts::timestamptz[])"
_PEOPLE = """
    FROM member_milestones JOIN community_members USING (member_id)
    WHERE joined_at >= (:starts::timestamptz[])[1] AND joined_at < :end
        AND NOT is_bot AND merged_into IS NULL"""

# The rows are the buckets, or some inviters: to read the people of a few inviters is fast, and all
# others are the rest of everybody.
ROW_KEYS = {Grouping.MONTH: _BUCKET, Grouping.INVITER: "invited_by"}
CONDITIONS = {False: "", True: "AND invited_by = ANY(:inviters::text[])"}
"""The conditions on people, by whether they are those of some inviters alone."""

FIND_INVITERS = Statement(f"""
SELECT invited_by {_PEOPLE} AND invited_by IS NOT NULL
GROUP BY invited_by ORDER BY count(*) DESC, length(invited_by), invited_by LIMIT {MAX_INVITERS}
""")


def _make_month_statement(by: Grouping, condition: str) -> Statement:
    """Return the statement that counts people by row and bucket, and the active members by month.

    A row without a month counts all people, and the members among them.
    """
    return Statement(f"""
WITH
-- Everybody who joined.
person AS MATERIALIZED (
    SELECT member_id, {ROW_KEYS[by]} AS row_key, {_BUCKET} AS bucket, {MEMBER} AS is_member
    {_PEOPLE} {condition}
)
SELECT row_key, bucket AS over, NULL AS active_in, count(*) AS people,
    count(*) FILTER (WHERE is_member) AS members
FROM person GROUP BY row_key, bucket
UNION ALL
SELECT row_key, bucket, month, count(*), NULL
FROM person JOIN member_monthly_highlights USING (member_id)
WHERE is_member AND month >= (:months::date[])[bucket] AND month < :this_month
GROUP BY row_key, bucket, month
""")


def _make_week_statement(by: Grouping, condition: str) -> Statement:
    """Return the statement that counts people by row and by the last week that is over.

    A row without a week counts all people, and the members among them.
    """
    last_week = Unit.WEEK.columns[-1]
    return Statement(f"""
WITH
-- The people who agree in all that is counted: few groups, compared with the people.
alike AS (
    SELECT {ROW_KEYS[by]} AS row_key,
        {last_week} - width_bucket(joined_at, :weeks::timestamptz[]) AS over,
        {MEMBER} AS is_member, active_weeks, count(*) AS people
    {_PEOPLE} {condition} GROUP BY 1, 2, 3, 4
)
SELECT row_key, over, NULL AS active_in, sum(people)::bigint AS people,
    sum(people) FILTER (WHERE is_member)::bigint AS members
FROM alike GROUP BY row_key, over
UNION ALL
SELECT row_key, over, active_in, sum(people)::bigint, NULL
FROM alike, unnest(active_weeks) AS active_in WHERE is_member AND active_in <= over
GROUP BY row_key, over, active_in
""")


MAKE_STATEMENT = {Unit.MONTH: _make_month_statement, Unit.WEEK: _make_week_statement}
COUNT_COHORTS = {
    (unit, by, is_of_inviters): make(by, condition)
    for unit, make in MAKE_STATEMENT.items()
    for by in Grouping
    for is_of_inviters, condition in CONDITIONS.items()
}
"""The statements whose rows are the cohorts."""


class Choices(NamedTuple):
    """What the address asks for.

    Attributes:
        by: What the people of a row have in common.
        unit: What a column is.
        show: Whom the cells count.
        inviters: The names by number of the inviters whose people alone count; None for everybody.
    """

    by: Grouping
    unit: Unit
    show: Show
    inviters: Mapping[str, str] | None = None


class People(NamedTuple):
    """Those who joined from `first` to `last`, of some inviters or of all.

    Attributes:
        first: The first day of joining.
        last: The last day of joining.
        inviter: The filter `inviter` of People, or None.
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


async def _read_choices(visit: Visit) -> Choices:
    return Choices(
        read_choice(visit, "by", Grouping),
        read_choice(visit, "unit", Unit),
        read_choice(visit, "show", Show),
        await read_inviters(visit),
    )


async def load_retention(period: Period, choices: Choices) -> Retention:
    """Return the retention of those who joined in a period."""
    unit = choices.unit
    # The period before is read at the same time: one reading of both takes longer.
    by_month, by_inviter, earlier = await asyncio.gather(
        _read_months(period, choices),
        _read_inviters(period, choices),
        _read_months(period.before, choices),
    )
    everybody, before = add_up(by_month.values()), add_up(earlier.values())
    cohorts = by_month
    if choices.by is Grouping.INVITER:
        others = everybody.without(add_up(by_inviter.values()))
        cohorts = {**by_inviter, **({None: others} if others.people else {})}
    names = await name_inviters(cohorts)
    keys = sort_keys({key: cohort.people.total() for key, cohort in cohorts.items()})

    def find_people(key: GroupKey, period: Period) -> People:
        return People(*find_days(key, period), format_inviters(key, choices.inviters))

    def make_row(key: GroupKey, cohort: Cohort, people: People | None) -> RetentionRow:
        lost = choices.show is Show.LOST
        cells = [cohort.cell(number, lost=lost) for number in unit.columns]
        return RetentionRow(key, names.get(str(key), ""), cohort, people, cells)

    return Retention(
        [
            make_row(key, cohorts[key], None if key is None else find_people(key, period))
            for key in keys
        ],
        make_row(None, everybody, find_people(None, period)),
        make_row(None, before, find_people(None, period.before) if period.before else None),
    )


Cohorts = dict[GroupKey, Cohort]


async def _read_months(period: Period | None, choices: Choices) -> Cohorts:
    """Return the cohorts of those who joined in a period, by the month of joining."""
    if period is None:
        return {}
    found = await _read_cohorts(choices.unit, Grouping.MONTH, period, choices.inviters)
    buckets = find_buckets(period)
    return {buckets[number - 1].replace(day=1): cohort for number, cohort in found.items()}


async def _read_inviters(period: Period, choices: Choices) -> Cohorts:
    """Return the cohorts of the inviters: the chosen ones, or those who brought most.

    There are none if the rows are months.
    """
    if choices.by is not Grouping.INVITER:
        return {}
    inviters: Iterable[str] | None = choices.inviters
    if inviters is None:
        found = await engine.read(FIND_INVITERS, starts=[period.starts_at], end=period.ends_at)
        inviters = [inviter for (inviter,) in found]
    return await _read_cohorts(choices.unit, choices.by, period, inviters)


async def _read_cohorts(
    unit: Unit, by: Grouping, period: Period, inviters: Iterable[str] | None
) -> dict[Any, Cohort]:
    """Return the cohorts by the number of the bucket, from 1 on, or by inviter.

    They have the people of some inviters, or everybody.
    """
    buckets = find_buckets(period)
    months = [day.replace(day=1) for day in buckets]
    values: dict[str, object] = {"starts": start_times(buckets), "end": period.ends_at}
    if inviters is not None:
        values["inviters"] = [*inviters]
    if unit is Unit.MONTH:
        values |= {"months": months, "this_month": today().replace(day=1)}
    else:
        # Whoever joined before the first of these times is through with all weeks.
        first = [unit.last_joining_day(week, today()) for week in reversed(unit.columns)]
        values["weeks"] = start_times([day + timedelta(days=1) for day in first])
    last_month = add_months(today(), -1)
    cohorts: dict[Any, Cohort] = defaultdict(Cohort)
    for key, over, active_in, people, members in await engine.read(
        COUNT_COHORTS[unit, by, inviters is not None], **values
    ):
        last, number = over, active_in
        if unit is Unit.MONTH:
            joined = months[over - 1]
            last = count_months(joined, last_month)
            number = None if active_in is None else count_months(joined, active_in)
        if number is None:
            cohorts[key].people[last] += people
            cohorts[key].members[last] += members or 0
        else:
            cohorts[key].active[number] += people
    return dict(cohorts)


def link_cell(people: People, cell: Cell, choices: Choices) -> str:
    """Return the address of People that lists the people of a cell."""
    activity = "active" if choices.show is Show.ACTIVE else "inactive"
    return people.link(
        "member",
        last=choices.unit.last_joining_day(cell.number, today()),
        **{f"{activity}_{choices.unit}": cell.number},
    )


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    choices = await _read_choices(visit)
    retention = await load_retention(period, choices)
    return {
        "choices": choices,
        "labels": {"by": GROUPING_LABELS, "unit": UNIT_LABELS, "show": SHOW_LABELS},
        "retention": retention,
        "columns": choices.unit.columns,
        # What is over for nobody has no column.
        "shown": sum(cell is not None for cell in retention.everybody.cells),
        "curve": draw_curve(retention.everybody.cells),
        "curve_before": draw_curve(retention.before.cells),
        "link_cell": partial(link_cell, choices=choices),
        "max_inviters": MAX_INVITERS,
    }


async def load_cohorts_chart(visit: Visit, period: Period) -> ChartTable:
    """Return the table, a row for each cell."""
    choices = await _read_choices(visit)
    retention = await load_retention(period, choices)
    columns = [
        *list_key_columns(choices.by, "joined_month"),
        "members",
        "gone",
        choices.unit.value,
        choices.show.value,
        "people",
    ]
    rows = [
        (
            *list_key_values(visit, choices.by, row.key, row.name),
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
    choices = await _read_choices(visit)
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
