"""The page Attention: who needs a word now, and by which rule."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import asyncpg

from community_directory.database import Parameters, Statement, engine
from community_directory.queries import people
from community_directory.queries.activity import select_periods
from community_directory.queries.people import PeopleFilters, Person
from community_directory.queries.people_activity import RISK_ACTIVE_DAYS, at_risk_sql
from community_directory.queries.standing import ABSENT, MEMBER, is_no_contact_sql
from community_directory.web.insights.layout import ChartTable, InsightsPage
from community_directory.web.insights.period import Period, choose_periods
from community_directory.web.insights.tiles import count_in_both
from community_directory.web.pages import Visit

MAX_ROWS = 12
"""The number of people in each list."""

ListName = Literal["at_risk", "never_spoke", "came_back"]
LIST_NAMES: tuple[ListName, ...] = ("at_risk", "never_spoke", "came_back")

IS_NO_CONTACT = is_no_contact_sql("found.member_id")
# Each number is that of the filters of `find_filters`, and a test compares them. One reading of the
# days of three periods costs a third of the four that the filters need.
LIST_BY_ACTIVITY = f"""
WITH
-- The days on which each person was active in the period, the one before and the one before that,
-- and the first day (began) of those who began in these periods or later: it is NULL for all who
-- began before. Whoever has days has a milestone. A join of the days, or of their sums, with the
-- milestones would take up to half as long as all the rest.
activity AS (
    SELECT member_id, max(first_active_day) AS began,
        coalesce(sum(active_days) FILTER (WHERE period = 0), 0) AS now,
        coalesce(sum(active_days) FILTER (WHERE period = 1), 0) AS before,
        coalesce(sum(active_days) FILTER (WHERE period = 2), 0) AS earlier
    FROM (
        SELECT member_id, period, active_days, NULL::date AS first_active_day
        FROM ({{DAYS}}) AS days
        UNION ALL
        SELECT member_id, NULL, NULL, first_active_day
        FROM member_milestones WHERE first_active_day >= {{EARLIER}}::date
    ) AS periods GROUP BY member_id
),
-- The people whom these days put in a list, in the period (is_) or in the one before (was_).
-- Newcomers do not come back.
found AS (
    SELECT member_id, now, before,
        {at_risk_sql("now", "before")} AS is_slower,
        {at_risk_sql("before", "earlier")} AS was_slower,
        now > 0 AND before = 0 AND coalesce(began < {{BEFORE}}::date, true) AS is_back,
        before > 0 AND earlier = 0 AND began IS NULL AS was_back
    FROM activity
),
-- Of them, those who are present; contacts are not at risk.
listed AS MATERIALIZED (
    SELECT member_id, now, before,
        is_slower AND {IS_NO_CONTACT} AS is_at_risk,
        was_slower AND {IS_NO_CONTACT} AS was_at_risk,
        is_back, was_back
    FROM found
    WHERE (is_slower OR was_slower OR is_back OR was_back) AND member_id NOT IN ({ABSENT})
),
-- The number of people in each list.
counted AS (
    SELECT count(*) FILTER (WHERE is_at_risk) AS at_risk,
        count(*) FILTER (WHERE was_at_risk) AS was_at_risk,
        count(*) FILTER (WHERE is_back) AS came_back,
        count(*) FILTER (WHERE was_back) AS had_come_back
    FROM listed
),
-- The first people of each list.
shown AS (
    (
        SELECT 'at_risk' AS list, * FROM listed WHERE is_at_risk
        ORDER BY before DESC, now, length(member_id), member_id LIMIT {MAX_ROWS}
    )
    UNION ALL
    (
        SELECT 'came_back', * FROM listed WHERE is_back
        ORDER BY now DESC, length(member_id), member_id LIMIT {MAX_ROWS}
    )
)
SELECT list, member_id, name, last_active_at, invited_by,
    (SELECT name FROM community_members AS inviter WHERE inviter.member_id = member.invited_by),
    now, before, counted.*
FROM counted LEFT JOIN shown ON true LEFT JOIN community_members AS member USING (member_id)
ORDER BY list, CASE WHEN list = 'at_risk' THEN before END DESC,
    CASE WHEN list = 'at_risk' THEN now ELSE -now END, length(member_id), member_id
"""

COUNT_NEVER_SPOKE = Statement(f"""
SELECT count(*) FILTER (WHERE joined_at >= :since) AS number,
    count(*) FILTER (WHERE joined_at < :since) AS before
FROM member_milestones JOIN community_members USING (member_id)
WHERE joined_at >= :start AND joined_at < :end AND last_active_at IS NULL AND {MEMBER}
""")
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
class ListedPerson:
    """A person in a list; times are aware, in UTC."""

    member_id: str
    name: str
    last_active_at: datetime | None
    invited_by: str | None
    inviter_name: str | None
    days_now: int = 0
    """The days of the period on which they were active; only for people at risk."""
    days_before: int = 0
    """The days of the period before on which they were active; only for people at risk."""


@dataclass(frozen=True, slots=True)
class PersonDays:
    """The days that say why somebody is in a list.

    Attributes:
        joined_at: When they became a member; None for somebody who never did.
        first_active_day: The first day in the period on which they were active.
        last_day_before: The last day before the period on which they were active.
    """

    joined_at: datetime | None
    first_active_day: date | None
    last_day_before: date | None


@dataclass(frozen=True, slots=True)
class PeopleList:
    """The first people of a list, and how many there are, in the period and in the one before."""

    filters: PeopleFilters
    filters_before: PeopleFilters
    people: Sequence[ListedPerson]
    number: int
    number_before: int


def find_filters(name: ListName, period: Period) -> PeopleFilters:
    """Return the filters of People that find everybody in a list."""
    since, until = period.since.isoformat(), period.until.isoformat()
    if name == "never_spoke":
        return {"status": "member", "member_from": since, "member_to": until, "never_active": "1"}
    status = "member" if name == "at_risk" else "present"
    return {"status": status, "activity": name, "since": since, "until": until}


async def load_lists(period: Period) -> dict[str, PeopleList]:
    """Load all lists of a period."""
    period, before = choose_periods(period)
    earlier = choose_periods(before)[1]
    records, never_spoke, newcomers = await asyncio.gather(
        _list_by_activity(period, before, earlier),
        people.search(sort="-joined", limit=MAX_ROWS, **find_filters("never_spoke", period)),
        count_in_both(COUNT_NEVER_SPOKE, period, before),
    )
    found: dict[ListName, list[ListedPerson]] = {name: [] for name in LIST_NAMES}
    for name, *values in records:
        if name is not None:
            found[name].append(ListedPerson(*values[:7]))
    found["never_spoke"] = [_listed_from(person) for person in never_spoke.items]
    at_risk, at_risk_before, came_back, came_back_before = records[0][8:]
    totals: Mapping[ListName, tuple[int, int]] = {
        "at_risk": (at_risk, at_risk_before),
        "never_spoke": newcomers,
        "came_back": (came_back, came_back_before),
    }
    return {
        name: PeopleList(
            find_filters(name, period), find_filters(name, before), found[name], *totals[name]
        )
        for name in LIST_NAMES
    }


async def _list_by_activity(
    period: Period, before: Period, earlier: Period
) -> list[asyncpg.Record]:
    parameters = Parameters()
    spans = [each.span for each in (period, before, earlier)]
    sql = LIST_BY_ACTIVITY.format(
        DAYS=select_periods(spans, parameters),
        BEFORE=parameters.bind(before.since),
        EARLIER=parameters.bind(earlier.since),
    )
    return await engine.read(sql, *parameters)


def _listed_from(person: Person) -> ListedPerson:
    return ListedPerson(
        person.member_id,
        person.name,
        person.last_active_at,
        person.invited_by,
        person.inviter_name,
    )


async def find_days(period: Period, found: Sequence[ListedPerson]) -> dict[str, PersonDays]:
    """Return the days of people by their numbers."""
    records = await engine.read(
        FIND_DAYS,
        member_ids=[person.member_id for person in found],
        since=period.since,
        until=period.until,
    )
    return {member_id: PersonDays(*values) for member_id, *values in records}


async def build_page(_: Visit, period: Period) -> Mapping[str, object]:
    """Return the variables of the page."""
    lists = await load_lists(period)
    shown, before = choose_periods(period)
    with_days = [*lists["never_spoke"].people, *lists["came_back"].people]
    return {
        "shown": shown,
        "before": before,
        "least": RISK_ACTIVE_DAYS,
        "days_of": await find_days(shown, with_days),
        **lists,
    }


async def load_at_risk(_: Visit, period: Period) -> ChartTable:
    """Load the people at risk whom the page shows."""
    found = (await load_lists(period))["at_risk"].people
    return ChartTable(
        ("member_id", "name", "active_days_before", "active_days", "last_active_at", "invited_by"),
        [
            (
                *(person.member_id, person.name, person.days_before, person.days_now),
                *(person.last_active_at, person.invited_by),
            )
            for person in found
        ],
    )


async def load_never_spoke(_: Visit, period: Period) -> ChartTable:
    """Load the newcomers who never spoke whom the page shows."""
    found = (await load_lists(period))["never_spoke"].people
    days = await find_days(period, found)
    return ChartTable(
        ("member_id", "name", "joined_at", "invited_by"),
        [
            (person.member_id, person.name, days[person.member_id].joined_at, person.invited_by)
            for person in found
        ],
    )


async def load_came_back(_: Visit, period: Period) -> ChartTable:
    """Load the people who came back whom the page shows."""
    found = (await load_lists(period))["came_back"].people
    days = await find_days(choose_periods(period)[0], found)
    return ChartTable(
        ("member_id", "name", "first_active_day", "last_day_before", "invited_by"),
        [
            (
                *(person.member_id, person.name, days[person.member_id].first_active_day),
                *(days[person.member_id].last_day_before, person.invited_by),
            )
            for person in found
        ],
    )


PAGE = InsightsPage(
    "attention",
    build_page,
    {"at-risk": load_at_risk, "never-spoke": load_never_spoke, "came-back": load_came_back},
)
