"""The page Attention: who needs a word now, and by which rule."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from community_directory.database import Parameters, Statement, engine
from community_directory.queries.activity import select_periods
from community_directory.queries.people import PeopleFilters
from community_directory.queries.people_activity import RISK_ACTIVE_DAYS, at_risk_sql
from community_directory.queries.standing import ABSENT, MEMBER, is_no_contact_sql
from community_directory.web.insights.layout import ChartTable, InsightsPage
from community_directory.web.insights.period import Period, choose_periods
from community_directory.web.pages import Visit

MAX_ROWS = 12
"""The number of people in each list."""
MAX_CSV_ROWS = 10_000
"""The number of people in each CSV file."""

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
        ORDER BY before DESC, now, length(member_id), member_id LIMIT {{LIMIT}}
    )
    UNION ALL
    (
        SELECT 'came_back', * FROM listed WHERE is_back
        ORDER BY now DESC, length(member_id), member_id LIMIT {{LIMIT}}
    )
)
SELECT list, member_id, name, last_active_at, invited_by,
    (SELECT name FROM community_members AS inviter WHERE inviter.member_id = member.invited_by),
    NULL AS joined_at, NULL AS status, now, before, counted.*
FROM counted LEFT JOIN shown ON true LEFT JOIN community_members AS member USING (member_id)
ORDER BY list, CASE WHEN list = 'at_risk' THEN before END DESC,
    CASE WHEN list = 'at_risk' THEN now ELSE -now END, length(member_id), member_id
"""

LIST_NEVER_SPOKE = Statement(f"""
WITH
-- The members who joined in the period or in the one before, and of whom there is no event.
newcomer AS MATERIALIZED (
    SELECT member_id, joined_at FROM member_milestones JOIN community_members USING (member_id)
    WHERE joined_at >= :start AND joined_at < :end AND last_active_at IS NULL AND {MEMBER}
),
-- Their numbers.
counted AS (
    SELECT count(*) FILTER (WHERE joined_at >= :since) AS never_spoke,
        count(*) FILTER (WHERE joined_at < :since) AS never_spoke_before
    FROM newcomer
),
-- The latest of the period.
shown AS (
    SELECT * FROM newcomer WHERE joined_at >= :since
    ORDER BY joined_at DESC, length(member_id), member_id LIMIT :limit
)
SELECT member_id, name, last_active_at, invited_by,
    (SELECT name FROM community_members AS inviter WHERE inviter.member_id = member.invited_by),
    joined_at, status, counted.*
FROM counted LEFT JOIN shown ON true LEFT JOIN community_members AS member USING (member_id)
ORDER BY joined_at DESC, length(member_id), member_id
""")
FIND_DAYS = Statement("""
SELECT member_id,
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
""")


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """A person in a list; times are aware, in UTC."""

    member_id: str
    name: str
    last_active_at: datetime | None
    invited_by: str | None
    inviter_name: str | None
    joined_at: datetime | None = None
    """When they became a member; only for those who never spoke."""
    status: str | None = None
    """Their status; only for those who never spoke."""
    days_now: int = 0
    """The days of the period on which they were active; not for those who never spoke."""
    days_before: int = 0
    """The days of the period before on which they were active; not for those who never spoke."""


@dataclass(frozen=True, slots=True)
class PersonDays:
    """The days that say why somebody is in a list.

    Attributes:
        first_active_day: The first day in the period on which they were active.
        last_day_before: The last day before the period on which they were active.
    """

    first_active_day: date | None
    last_day_before: date | None


@dataclass(frozen=True, slots=True)
class PeopleList:
    """The first people of a list, and how many there are, in the period and in the one before.

    The numbers of the people who never spoke have no period before if the period has all days.
    """

    filters: PeopleFilters
    filters_before: PeopleFilters | None
    people: Sequence[ListedPerson]
    number: int
    number_before: int | None


def find_filters(name: ListName, period: Period) -> PeopleFilters:
    """Return the filters of People that find everybody in a list."""
    since, until = period.since.isoformat(), period.until.isoformat()
    if name == "never_spoke":
        return {"status": "member", "member_from": since, "member_to": until, "never_active": "1"}
    status = "member" if name == "at_risk" else "present"
    return {"status": status, "activity": name, "since": since, "until": until}


async def load_lists(period: Period) -> dict[str, PeopleList]:
    """Load the first people of all lists of a period."""
    compared, newcomers = await asyncio.gather(
        _list_by_activity(period, MAX_ROWS), _list_never_spoke(period, MAX_ROWS)
    )
    return compared | {"never_spoke": newcomers}


async def _list_by_activity(period: Period, limit: int) -> dict[str, PeopleList]:
    period, before = choose_periods(period)
    earlier = choose_periods(before)[1]
    parameters = Parameters()
    spans = [each.span for each in (period, before, earlier)]
    sql = LIST_BY_ACTIVITY.format(
        DAYS=select_periods(spans, parameters),
        BEFORE=parameters.bind(before.since),
        EARLIER=parameters.bind(earlier.since),
        LIMIT=parameters.bind(limit),
    )
    records = await engine.read(sql, *parameters)
    at_risk, at_risk_before, came_back, came_back_before = records[0][10:]
    totals: Mapping[ListName, tuple[int, int]] = {
        "at_risk": (at_risk, at_risk_before),
        "came_back": (came_back, came_back_before),
    }
    return {
        name: PeopleList(
            find_filters(name, period),
            find_filters(name, before),
            [ListedPerson(*each[1:10]) for each in records if each["list"] == name],
            *numbers,
        )
        for name, numbers in totals.items()
    }


async def _list_never_spoke(period: Period, limit: int) -> PeopleList:
    before = period.before
    records = await engine.read(
        LIST_NEVER_SPOKE,
        start=(before or period).starts_at,
        since=period.starts_at,
        end=period.ends_at,
        limit=limit,
    )
    number, number_before = records[0][7:]
    return PeopleList(
        find_filters("never_spoke", period),
        None if before is None else find_filters("never_spoke", before),
        [ListedPerson(*each[:7]) for each in records if each["member_id"] is not None],
        number,
        None if before is None else number_before,
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
    return {
        "shown": shown,
        "before": before,
        "least": RISK_ACTIVE_DAYS,
        "days_of": await find_days(shown, lists["came_back"].people),
        "max_csv_rows": MAX_CSV_ROWS,
        **lists,
    }


async def load_at_risk(_: Visit, period: Period) -> ChartTable:
    """Load the people at risk, of whom the page shows the first."""
    found = (await _list_by_activity(period, MAX_CSV_ROWS))["at_risk"].people
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
    """Load the newcomers who never spoke, of whom the page shows the first."""
    found = (await _list_never_spoke(period, MAX_CSV_ROWS)).people
    return ChartTable(
        ("member_id", "name", "joined_at", "invited_by", "status"),
        [
            (person.member_id, person.name, person.joined_at, person.invited_by, person.status)
            for person in found
        ],
    )


async def load_came_back(_: Visit, period: Period) -> ChartTable:
    """Load the people who came back, of whom the page shows the first."""
    found = (await _list_by_activity(period, MAX_CSV_ROWS))["came_back"].people
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
