"""Growth: members by status over a period and by reputation tier, and what became of invitations.

The chart of members goes back in time from those of today, by undoing the changes of status in the
audit log.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import accumulate
from typing import Any

import asyncpg

from community_directory.calendar import days_between, today
from community_directory.database import Statement, engine
from community_directory.tables import MemberStatus, ReputationTier
from community_directory.web.insights.charts import (
    MAX_WEEK_POINTS,
    Bar,
    choose_points,
    make_bars,
    pick_labels,
    stack_areas,
)
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import Period
from community_directory.web.insights.sent_invitations import (
    SentInvitations,
    link_outcomes,
    load_invitations,
    load_outcomes_table,
    load_waiting_times_table,
)
from community_directory.web.insights.tiles import PeopleCount, count_accepted, count_joined
from community_directory.web.pages import Visit

GONE_BAND = "gone"
STATUS_BANDS = (MemberStatus.ACTIVE, MemberStatus.PENDING, MemberStatus.SUSPENDED, GONE_BAND)
"""The bands of the chart of members, from the bottom to the top."""

# The members are grouped by present status, tier, and the points of the chart between which they
# were added and removed, from member_status_idx alone. Point 0 is the first one.
COUNT_MEMBERS = Statement(
    """
    SELECT width_bucket(created_at, :points::timestamptz[]) AS added_at,
        width_bucket(deleted_at, :points) AS removed_at, status, reputation_tier, count(*)
    FROM community_members WHERE NOT is_bot AND merged_into IS NULL
    GROUP BY 1, 2, 3, 4
    """
)
COUNT_STATUS_CHANGES = Statement(
    """
    SELECT added_at, changed_at, status ->> 0, status ->> 1, changes
    FROM (
        SELECT width_bucket(created_at, :points::timestamptz[]) AS added_at,
            least(width_bucket(changed_at, :points), width_bucket(deleted_at, :points))
                AS changed_at,
            changes -> 'status' AS status, count(*) AS changes
        FROM directory_audit_log AS entry JOIN community_members ON community_members.id = row_id
        WHERE table_name = 'community_members' AND action = 'UPDATE' AND changes ? 'status'
            AND NOT is_bot AND merged_into IS NULL AND changed_at >= (:points::timestamptz[])[1]
        GROUP BY 1, 2, 3
    ) AS grouped
    """
)
# Whoever became a member is a member, or gone.
COUNT_JOINED = Statement(
    """
    SELECT width_bucket(joined_at, :points::timestamptz[]) AS joined, count(*)
    FROM member_milestones
    WHERE joined_at IS NOT NULL AND member_id NOT IN (
        SELECT member_id FROM community_members WHERE is_bot OR merged_into IS NOT NULL
    )
    GROUP BY 1
    """
)


@dataclass(frozen=True, slots=True)
class Growth:
    """The members of each status at points of a period, and the tiers of the active ones of today.

    Attributes:
        points: The days at whose ends the members are counted.
        by_month: Whether the points are months.
        is_current: Whether the period ends yesterday: the last of the counts is then that of now.
        counts: The counts of each of the `STATUS_BANDS`, one for each point.
        tiers: The bars of the active members of today by tier.
    """

    points: list[date]
    by_month: bool
    is_current: bool
    counts: dict[str, list[int]]
    tiers: list[Bar]


async def load_growth(period: Period) -> Growth:
    """Return the members by status at the points of a chart of the period, and by tier."""
    points = choose_points(period.since, period.until)
    ends = [days_between(day, day, None).end for day in points]
    members, changes, joined = await asyncio.gather(
        engine.read(COUNT_MEMBERS, points=ends),
        engine.read(COUNT_STATUS_CHANGES, points=ends),
        engine.read(COUNT_JOINED, points=ends),
    )
    counts = count_statuses(members, changes, len(points) + 1)
    counts[GONE_BAND] = count_gone(counts, joined)
    is_current = period.until == today() - timedelta(days=1)
    shown = len(points) + is_current
    return Growth(
        points,
        (period.until - period.since).days >= MAX_WEEK_POINTS,
        is_current,
        {status: counts[status][:shown] for status in STATUS_BANDS},
        count_tiers(members),
    )


def count_statuses(
    members: Iterable[Iterable[Any]], changes: Iterable[Iterable[Any]], points: int
) -> dict[str, list[int]]:
    """Return how many people, of those who were not removed, had each status at each point.

    The last point is now.

    Args:
        members: Groups of people who agree in these values: the point from which on they were
            added, the point from which on they were removed (None if they were not), the present
            status, and the reputation tier. The last value is the size of the group.
        changes: Groups of status changes: the point from which on the person was added, the point
            from which on the change was made, the status before it, the status after it, and the
            size of the group. A change is undone for the points between the two.
        points: The number of points.
    """
    counts: dict[str, list[int]] = {status: [0] * points for status in MemberStatus}

    def add(status: str, first: int, end: int, number: int) -> None:
        for point in range(first, end):
            counts[status][point] += number

    for added_at, removed_at, status, _, number in members:
        add(status, added_at, points if removed_at is None else removed_at, number)
    for added_at, changed_at, before, after, number in changes:
        add(before, added_at, changed_at, number)
        add(after, added_at, changed_at, -number)
    return counts


def count_gone(counts: Mapping[str, Sequence[int]], joined: Iterable[Iterable[int]]) -> list[int]:
    """Return how many had become members until each point, and were no members then.

    Args:
        counts: The number of people of each status at each point.
        joined: The point from which on people had become members, and their number.
    """
    members = [
        sum(each) for each in zip(*(counts[band] for band in STATUS_BANDS[:-1]), strict=True)
    ]
    newly = [0] * len(members)
    for point, number in joined:
        newly[point] += number
    return [max(0, ever - now) for ever, now in zip(accumulate(newly), members, strict=True)]


def count_tiers(members: Iterable[asyncpg.Record]) -> list[Bar]:
    """Return the bars of the active members by reputation tier."""
    counts = {tier.value: 0 for tier in ReputationTier}
    for _, removed_at, status, tier, number in members:
        if removed_at is None and status == MemberStatus.ACTIVE and tier is not None:
            counts[tier] += number
    return make_bars(counts, sum(counts.values()))


async def load_growth_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the chart of members by status."""
    growth = await load_growth(period)
    labels = [*growth.points, *(["now"] if growth.is_current else [])]
    rows = zip(labels, *growth.counts.values(), strict=True)
    return ChartTable(["end_of_day", *growth.counts], rows)


async def load_tiers_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the chart of active members by tier."""
    growth = await load_growth(period)
    return ChartTable(["tier", "members"], [(bar["name"], bar["count"]) for bar in growth.tiers])


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    # The chart takes as long as all the rest in turn.
    async def load_others() -> tuple[PeopleCount, PeopleCount, SentInvitations, int | None]:
        return (
            await count_joined(period),
            await count_accepted(period),
            await load_invitations(period),
            await _count_sent(period.before),
        )

    growth, others = await asyncio.gather(load_growth(period), load_others())
    joined, accepted, invitations, sent_before = others
    labels = _label_points(visit, growth)
    return {
        "growth": growth,
        "area": stack_areas(list(growth.counts.values())),
        "labels": labels,
        "shown_labels": pick_labels(labels),
        "status_paths": {status: to_people(status=status) for status in STATUS_BANDS}
        if growth.is_current
        else {},
        "joined": joined,
        "accepted": accepted,
        "sent_before": sent_before,
        "outcomes": invitations.outcomes,
        "outcome_paths": link_outcomes(period),
        "waiting_times": invitations.waiting_times,
        "tier_paths": {
            tier.value: to_people(status=MemberStatus.ACTIVE, tier=tier.value)
            for tier in ReputationTier
        },
    }


async def _count_sent(period: Period | None) -> int | None:
    """Return the number of invitations of a period; None if there is no period."""
    return None if period is None else (await load_invitations(period)).outcomes[0]["count"]


def _label_points(visit: Visit, growth: Growth) -> list[str]:
    """Return the labels of the points of the chart of members."""
    show = visit.translation.format_axis_day
    labels = [show(day, by_month=growth.by_month) for day in growth.points]
    return [*labels, visit.gettext("now")] if growth.is_current else labels


PAGE = InsightsPage(
    "growth",
    _build,
    {
        "members": load_growth_table,
        "tiers": load_tiers_table,
        "outcomes": load_outcomes_table,
        "waiting_times": load_waiting_times_table,
    },
)
