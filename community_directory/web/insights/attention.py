"""The page Attention: who needs a word now, and by which rule."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from community_directory.database import Statement, engine
from community_directory.queries import people
from community_directory.queries.people import PeopleFilters, PeopleSort, Person
from community_directory.queries.people_activity import RISK_ACTIVE_DAYS
from community_directory.web.insights.active_people import (
    ActivePerson,
    count_active_days,
    list_most_active,
)
from community_directory.web.insights.layout import ChartTable, InsightsPage
from community_directory.web.insights.period import CUSTOM, Period
from community_directory.web.pages import Visit

MAX_ROWS = 12
"""The number of people in each list."""
DAYS_OF_ALL = 28
"""The days of the lists if the page shows all days, which have no period before."""

ListName = Literal["at_risk", "never_spoke", "came_back"]
LIST_NAMES: tuple[ListName, ...] = ("at_risk", "never_spoke", "came_back")
SORTS: Mapping[ListName, PeopleSort] = {"never_spoke": "-joined", "came_back": "-active"}
"""The orders of the lists: those who joined, or were active, most recently come first."""

FIND_DAYS = Statement("""
SELECT member_id, joined_at,
    (
        SELECT min(highlight_date) FROM member_daily_highlights AS highlight
        WHERE highlight.member_id = found.member_id
            AND highlight_date BETWEEN :since AND :until
    ) AS first_active_day,
    (
        SELECT max(highlight_date) FROM member_daily_highlights AS highlight
        WHERE highlight.member_id = found.member_id AND highlight_date < :since
    ) AS last_day_before
FROM unnest(:member_ids::text[]) AS found(member_id)
LEFT JOIN member_milestones USING (member_id)
""")


@dataclass(frozen=True, slots=True)
class PersonAtRisk:
    """A person, with what they did in the period before, and their active days in the period."""

    person: ActivePerson
    days_now: int


@dataclass(frozen=True, slots=True)
class PersonDays:
    """A person, and the days that say why they are in a list.

    Attributes:
        person: The person.
        joined_at: When they became a member; None for somebody who never did.
        first_active_day: The first day in the period on which they were active.
        last_day_before: The last day before the period on which they were active.
    """

    person: Person
    joined_at: datetime | None
    first_active_day: date | None
    last_day_before: date | None


@dataclass(frozen=True, slots=True)
class PeopleList:
    """The first people of a list, and how many there are, in the period and in the one before."""

    filters: PeopleFilters
    filters_before: PeopleFilters
    rows: Sequence[PersonAtRisk] | Sequence[PersonDays]
    number: int
    number_before: int


def choose_periods(period: Period) -> tuple[Period, Period]:
    """Return the period of the lists, and the one before: all days have none."""
    if period.before is not None:
        return period, period.before
    since = period.until - timedelta(days=DAYS_OF_ALL - 1)
    return choose_periods(Period(CUSTOM, since, period.until))


def find_filters(name: ListName, period: Period) -> PeopleFilters:
    """Return the filters of People that find everybody in a list."""
    since, until = period.since.isoformat(), period.until.isoformat()
    if name == "never_spoke":
        return {
            "status": "member",
            "member_from": since,
            "member_to": until,
            "never_active": "1",
        }
    status = "member" if name == "at_risk" else "present"
    return {"status": status, "activity": name, "since": since, "until": until}


async def list_at_risk(period: Period, before: Period) -> list[PersonAtRisk]:
    """Return the people at risk, those first who were active on most days before."""
    found = await list_most_active(
        before, by="active_days", limit=MAX_ROWS, **find_filters("at_risk", period)
    )
    days = await count_active_days(period, [person.member_id for person in found])
    return [PersonAtRisk(person, days.get(person.member_id, 0)) for person in found]


async def list_with_days(name: ListName, period: Period) -> list[PersonDays]:
    """Return the first people of a list with their days."""
    found = await people.search(sort=SORTS[name], limit=MAX_ROWS, **find_filters(name, period))
    records = await engine.read(
        FIND_DAYS,
        member_ids=[person.member_id for person in found.items],
        since=period.since,
        until=period.until,
    )
    days = {member_id: values for member_id, *values in records}
    return [PersonDays(person, *days[person.member_id]) for person in found.items]


async def load_list(name: ListName, period: Period) -> PeopleList:
    """Load a list, its total and that of the period before."""
    period, before = choose_periods(period)
    filters, filters_before = find_filters(name, period), find_filters(name, before)
    rows = list_at_risk(period, before) if name == "at_risk" else list_with_days(name, period)
    return PeopleList(
        filters,
        filters_before,
        *await asyncio.gather(rows, people.count(**filters), people.count(**filters_before)),
    )


async def build_page(_: Visit, period: Period) -> Mapping[str, object]:
    """Return the variables of the page."""
    lists = await asyncio.gather(*(load_list(name, period) for name in LIST_NAMES))
    shown, before = choose_periods(period)
    return {
        "shown": shown,
        "before": before,
        "least": RISK_ACTIVE_DAYS,
        **dict(zip(LIST_NAMES, lists, strict=True)),
    }


async def load_at_risk(_: Visit, period: Period) -> ChartTable:
    """Load the people at risk whom the page shows."""
    rows = await list_at_risk(*choose_periods(period))
    return ChartTable(
        ("member_id", "name", "active_days_before", "active_days", "last_active_at", "invited_by"),
        [
            (
                *(row.person.member_id, row.person.name, row.person.active_days, row.days_now),
                *(row.person.last_active_at, row.person.invited_by),
            )
            for row in rows
        ],
    )


async def load_never_spoke(_: Visit, period: Period) -> ChartTable:
    """Load the newcomers who never spoke whom the page shows."""
    rows = await list_with_days("never_spoke", choose_periods(period)[0])
    return ChartTable(
        ("member_id", "name", "joined_at", "invited_by"),
        [
            (row.person.member_id, row.person.name, row.joined_at, row.person.invited_by)
            for row in rows
        ],
    )


async def load_came_back(_: Visit, period: Period) -> ChartTable:
    """Load the people who came back whom the page shows."""
    rows = await list_with_days("came_back", choose_periods(period)[0])
    return ChartTable(
        ("member_id", "name", "first_active_day", "last_day_before", "invited_by"),
        [
            (
                *(row.person.member_id, row.person.name, row.first_active_day),
                *(row.last_day_before, row.person.invited_by),
            )
            for row in rows
        ],
    )


PAGE = InsightsPage(
    "attention",
    build_page,
    {"at-risk": load_at_risk, "never-spoke": load_never_spoke, "came-back": load_came_back},
)
