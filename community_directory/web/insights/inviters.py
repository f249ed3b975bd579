"""The page Inviters: whose people stay, which is more than how many somebody brings."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from community_directory.calendar import load_zone, today
from community_directory.database import Parameters, engine
from community_directory.queries.activity import select_activity, union
from community_directory.queries.filter_values import DayPeriod
from community_directory.queries.standing import ABSENT
from community_directory.web.insights.groups import read_choice
from community_directory.web.insights.layout import ChartTable, InsightsPage
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

MAX_INVITERS = 25
"""The number of inviters in the list."""
MAX_CSV_INVITERS = 1000
"""The number of inviters in the CSV file."""
MIN_PEOPLE = 5
"""The fewest people of whom a percentage says something."""
STAYED_DAYS = 28
"""Whoever was active in as many days up to yesterday has stayed."""


class Sort(StrEnum):
    """The order of the list: by how many people stayed, or by how many an inviter brought."""

    STAYED = "stayed"
    BROUGHT = "brought"


# A removed inviter is in no list, but the people count in the row of everybody.
COUNT_JOINED = f"""
WITH
-- Everybody who became a member in the period, as they are now.
joined AS (
    SELECT member.member_id, invited_by,
        deleted_at IS NULL AND status NOT IN ('banned', 'not_member') AS is_member,
        first_message_day IS NOT NULL AS has_written,
        greatest(first_message_day - (joined_at AT TIME ZONE {{ZONE}}::text)::date, 0)
            AS days_to_first_message
    FROM member_milestones JOIN community_members AS member USING (member_id)
    WHERE joined_at >= {{START}} AND joined_at < {{END}} AND NOT is_bot AND merged_into IS NULL
),
-- Everybody who was active lately.
active AS (
    SELECT member_id FROM ({{DAYS}}) AS days GROUP BY member_id HAVING sum(active_days) > 0
),
-- The numbers of each inviter, and of everybody together.
counted AS (
    SELECT invited_by, GROUPING(invited_by) = 1 AS is_total,
        count(*) FILTER (WHERE is_member) AS members,
        count(*) FILTER (WHERE NOT is_member) AS gone,
        count(active.member_id) FILTER (WHERE is_member) AS stayed,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY days_to_first_message)
            FILTER (WHERE is_member AND has_written) AS days_to_first_message
    FROM joined LEFT JOIN active USING (member_id)
    GROUP BY GROUPING SETS ((invited_by), ())
),
-- Everybody, and the first inviters in the order of the list.
listed AS (
    SELECT row_number() OVER (
        ORDER BY is_total DESC, CASE WHEN {{BY_BROUGHT}} THEN members + gone ELSE stayed END DESC,
            stayed::float / nullif(members + gone, 0) DESC, length(invited_by), invited_by
    ) AS place, *
    FROM counted
    WHERE is_total OR (invited_by IS NOT NULL AND invited_by NOT IN ({ABSENT}))
    ORDER BY place LIMIT {{LIMIT}}
)
SELECT listed.invited_by, name, members, gone, stayed, days_to_first_message
FROM listed LEFT JOIN community_members AS inviter ON inviter.member_id = listed.invited_by
ORDER BY place
"""


@dataclass(frozen=True, slots=True)
class InviterRecord:
    """What became of the people who joined in a period, of one inviter or of all together.

    Attributes:
        member_id: The number of the inviter; None for all together.
        name: The name of the inviter.
        members: The people who are members now.
        gone: The people who are no members any more.
        stayed: The members who were active lately.
        days_to_first_message: The median of the days from joining to the first message, of the
            members who wrote one; None if nobody did.
    """

    member_id: str | None
    name: str | None
    members: int
    gone: int
    stayed: int
    days_to_first_message: float | None

    @property
    def brought(self) -> int:
        """The number of people who joined."""
        return self.members + self.gone

    @property
    def stayed_share(self) -> float | None:
        """The share of those who joined that stayed; None if they are few."""
        return self.stayed / self.brought if self.brought >= MIN_PEOPLE else None


def find_active_days() -> DayPeriod:
    """Return the days in which whoever stayed was active."""
    return DayPeriod(today() - timedelta(days=STAYED_DAYS), today() - timedelta(days=1))


async def list_inviters(
    period: Period | None, *, by_brought: bool = False, limit: int = MAX_INVITERS
) -> tuple[InviterRecord, list[InviterRecord]]:
    """Return the numbers of everybody who joined in a period, and those of each inviter.

    Args:
        period: The period; in none, nobody joined.
        by_brought: Whether the list begins with those who brought most people, instead of those
            most of whose people stayed.
        limit: The number of inviters.
    """
    if period is None:
        return InviterRecord(None, None, 0, 0, 0, None), []
    parameters = Parameters()
    sql = COUNT_JOINED.format(
        DAYS=union(select_activity(find_active_days(), parameters)),
        START=parameters.bind(period.starts_at),
        END=parameters.bind(period.ends_at),
        ZONE=parameters.bind(load_zone(None).key),
        BY_BROUGHT="true" if by_brought else "false",
        LIMIT=parameters.bind(limit + 1),
    )
    records = await engine.read(sql, *parameters)
    everybody, *inviters = [InviterRecord(*record) for record in records]
    return everybody, inviters


async def build_page(visit: Visit, period: Period) -> Mapping[str, object]:
    """Return the variables of the page."""
    by_brought = read_choice(visit, "sort", Sort) is Sort.BROUGHT
    (everybody, inviters), (before, _) = await asyncio.gather(
        list_inviters(period, by_brought=by_brought), list_inviters(period.before, limit=0)
    )
    active_since, active_until = find_active_days()
    return {
        "everybody": everybody,
        "before": before if period.before else None,
        "inviters": inviters,
        "most_brought": max((each.brought for each in inviters), default=0),
        "by_brought": by_brought,
        "active_since": active_since,
        "active_until": active_until,
        "stayed_days": STAYED_DAYS,
        "min_people": MIN_PEOPLE,
    }


async def load_inviters(visit: Visit, period: Period) -> ChartTable:
    """Load the list, which is longer than that of the page."""
    by_brought = read_choice(visit, "sort", Sort) is Sort.BROUGHT
    _, inviters = await list_inviters(period, by_brought=by_brought, limit=MAX_CSV_INVITERS)
    return ChartTable(
        (
            "member_id",
            "name",
            "brought",
            "members",
            "stayed",
            "gone",
            "median_days_to_first_message",
        ),
        [
            (
                *(each.member_id, each.name, each.brought, each.members),
                *(each.stayed, each.gone, each.days_to_first_message),
            )
            for each in inviters
        ],
    )


PAGE = InsightsPage("inviters", build_page, {"inviters": load_inviters}, default_period="90")
