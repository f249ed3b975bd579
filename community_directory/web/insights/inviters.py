"""The page Inviters: whose people stay, which is more than how many somebody brings."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from community_directory.calendar import load_zone, today
from community_directory.database import Parameters, engine
from community_directory.error_texts import gettext_noop
from community_directory.queries.activity import select_activity, union
from community_directory.queries.filter_values import DayPeriod
from community_directory.queries.standing import ABSENT
from community_directory.web.insights.groups import read_choice
from community_directory.web.insights.layout import ChartTable, InsightsPage
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

MAX_INVITERS = 25
"""The number of inviters in the list."""
MAX_CSV_INVITERS = 10_000
"""The number of inviters in the CSV file."""
MIN_PEOPLE = 5
"""The fewest people of whom a percentage says something."""
STAYED_DAYS = 28
"""Whoever was active in as many days up to yesterday has stayed."""


class Sort(StrEnum):
    """The order of the list: by how many stayed, how many came, or how many did not stay."""

    STAYED = "stayed"
    BROUGHT = "brought"
    LOST = "lost"


SORT_LABELS = {
    Sort.STAYED: gettext_noop("By who stayed"),
    Sort.BROUGHT: gettext_noop("By who came"),
    Sort.LOST: gettext_noop("By who did not stay"),
}
ORDERS = {
    Sort.STAYED: "stayed DESC",
    Sort.BROUGHT: "members + gone DESC",
    Sort.LOST: "members + gone - stayed DESC, stayed",
}
"""The first columns of the orders, in SQL."""


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
        ORDER BY is_total DESC, {{ORDER}},
            stayed::float / nullif(members + gone, 0) DESC, length(invited_by), invited_by
    ) AS place, count(*) OVER () - 1 AS inviters, *
    FROM counted
    WHERE is_total OR (invited_by IS NOT NULL AND invited_by NOT IN ({ABSENT}))
    ORDER BY place LIMIT {{LIMIT}}
)
SELECT inviters, listed.invited_by, name, members, gone, stayed, days_to_first_message
FROM listed LEFT JOIN community_members AS inviter ON inviter.member_id = listed.invited_by
ORDER BY place
"""


@dataclass(frozen=True, slots=True)
class InviterRecord:
    """What became of the people who joined in a period, of one inviter or of several.

    Attributes:
        member_id: The number of the inviter; None for all together, and for all others.
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


class InviterList(NamedTuple):
    """The first inviters of a list.

    Attributes:
        everybody: What became of all who joined, also of those whom nobody in the list invited.
        inviters: The inviters.
        number: The number of all inviters.
    """

    everybody: InviterRecord
    inviters: Sequence[InviterRecord]
    number: int

    @property
    def others(self) -> InviterRecord:
        """What became of those who joined, and whom none of the listed inviters brought."""
        everybody, listed = self.everybody, self.inviters
        return InviterRecord(
            None,
            None,
            everybody.members - sum(each.members for each in listed),
            everybody.gone - sum(each.gone for each in listed),
            everybody.stayed - sum(each.stayed for each in listed),
            None,
        )


def find_active_days() -> DayPeriod:
    """Return the days in which whoever stayed was active."""
    return DayPeriod(today() - timedelta(days=STAYED_DAYS), today() - timedelta(days=1))


async def list_inviters(
    period: Period | None, *, sort: Sort = Sort.STAYED, limit: int = MAX_INVITERS
) -> InviterList:
    """Return the numbers of everybody who joined in a period, and those of each inviter.

    Args:
        period: The period; in none, nobody joined.
        sort: The order of the inviters.
        limit: The most inviters in the list.
    """
    if period is None:
        return InviterList(InviterRecord(None, None, 0, 0, 0, None), [], 0)
    parameters = Parameters()
    sql = COUNT_JOINED.format(
        DAYS=union(select_activity(find_active_days(), parameters)),
        START=parameters.bind(period.starts_at),
        END=parameters.bind(period.ends_at),
        ZONE=parameters.bind(load_zone(None).key),
        ORDER=ORDERS[sort],
        LIMIT=parameters.bind(limit + 1),
    )
    records = await engine.read(sql, *parameters)
    everybody, *inviters = [InviterRecord(*values) for _, *values in records]
    return InviterList(everybody, inviters, records[0]["inviters"])


async def build_page(visit: Visit, period: Period) -> Mapping[str, object]:
    """Return the variables of the page."""
    sort = read_choice(visit, "sort", Sort)
    found, before = await asyncio.gather(
        list_inviters(period, sort=sort), list_inviters(period.before, limit=0)
    )
    active_since, active_until = find_active_days()
    return {
        "found": found,
        "everybody": found.everybody,
        "before": before.everybody if period.before else None,
        "most_brought": max((each.brought for each in found.inviters), default=0),
        "sort": sort,
        "sort_labels": SORT_LABELS,
        "max_csv_inviters": MAX_CSV_INVITERS,
        "active_since": active_since,
        "active_until": active_until,
        "stayed_days": STAYED_DAYS,
        "min_people": MIN_PEOPLE,
    }


async def load_inviters(visit: Visit, period: Period) -> ChartTable:
    """Load the list, which is longer than that of the page."""
    sort = read_choice(visit, "sort", Sort)
    found = await list_inviters(period, sort=sort, limit=MAX_CSV_INVITERS)
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
            for each in found.inviters
        ],
    )


PAGE = InsightsPage("inviters", build_page, {"inviters": load_inviters}, default_period="90")
