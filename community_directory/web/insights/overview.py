"""Overview: the community at a glance."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from community_directory.queries import people
from community_directory.queries.people import PeopleFilters
from community_directory.tables import MemberStatus, ReputationTier
from community_directory.web.insights.active_people import ActivePerson, list_most_active
from community_directory.web.insights.charts import make_columns, pick_labels, stack_areas
from community_directory.web.insights.daily_activity import (
    DailyActivity,
    load_activity_table,
    load_daily_activity,
)
from community_directory.web.insights.growth import (
    STATUS_BANDS,
    Growth,
    load_growth,
    load_growth_table,
    load_tiers_table,
)
from community_directory.web.insights.hours import load_hours, load_hours_table
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import CUSTOM, Period
from community_directory.web.insights.sent_invitations import (
    load_invitations,
    load_outcomes_table,
    load_waiting_times_table,
)
from community_directory.web.pages import Visit

MOST_ACTIVE_PEOPLE = 12
RISK_DAYS = 28
"""The last days of all in which people are at risk, because all days have no period before."""


class PeopleCount(NamedTuple):
    """A number of people, that of the period before or None, and the address of these people."""

    number: int
    before: int | None
    path: str


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    # The statements run at the same time, each on its own connection.
    tiles, most_active, (activity, growth, hours, invitations) = await asyncio.gather(
        _count_tiles(period),
        _list_most_active(period),
        asyncio.gather(
            load_daily_activity(period),
            load_growth(period),
            load_hours(visit, period),
            load_invitations(period),
        ),
    )
    weekdays = visit.translation.locale.days["stand-alone"]["abbreviated"]
    bar_labels, growth_labels = _label_bars(visit, activity), _label_points(visit, growth)
    return {
        **tiles,
        "activity": activity,
        "chart": make_columns([bar.people for bar in activity.bars], activity.people_before),
        "bar_titles": _title_bars(visit, activity, bar_labels),
        "bar_labels": pick_labels(bar_labels),
        "bar_paths": [
            to_people(status="present", activity="active", since=span.since, until=span.until)
            for span, *_ in activity.bars
        ],
        "growth": growth,
        "area": stack_areas(list(growth.counts.values())),
        "growth_labels": growth_labels,
        "shown_growth_labels": pick_labels(growth_labels),
        "status_paths": {status: to_people(status=status) for status in STATUS_BANDS}
        if growth.is_current
        else {},
        "hours": hours,
        "weekdays": [weekdays[number] for number in range(7)],
        "outcomes": invitations.outcomes,
        "waiting_times": invitations.waiting_times,
        "most_active": most_active,
        "tiers": growth.tiers,
        "tier_paths": {
            tier.value: to_people(status=MemberStatus.ACTIVE, tier=tier.value)
            for tier in ReputationTier
        },
    }


async def _count_tiles(period: Period) -> dict[str, PeopleCount]:
    active, joined, accepted, at_risk = await asyncio.gather(
        _count_people(
            period,
            lambda days: {
                "status": "present",
                "activity": "active",
                "since": days.since,
                "until": days.until,
            },
        ),
        _count_people(
            period,
            lambda days: {
                "status": "present",
                "member_from": days.since,
                "member_to": days.until,
            },
        ),
        _count_people(
            period,
            lambda days: {
                "status": "present",
                "reached": "joined",
                "invited_from": days.since,
                "invited_to": days.until,
            },
        ),
        _count_people(
            _risk_period(period),
            lambda days: {
                "status": "member",
                "activity": "at_risk",
                "since": days.since,
                "until": days.until,
            },
        ),
    )
    return {"active": active, "joined": joined, "accepted": accepted, "at_risk": at_risk}


async def _count_people(
    period: Period, find_filters: Callable[[Period], PeopleFilters]
) -> PeopleCount:
    """Count the people whom the filters find in the period, and in the one before."""
    periods = [each for each in (period, period.before) if each is not None]
    number, *before = await asyncio.gather(
        *(people.count(**find_filters(each)) for each in periods)
    )
    return PeopleCount(number, before[0] if before else None, to_people(**find_filters(period)))


def _risk_period(period: Period) -> Period:
    if period.before is not None:
        return period
    return Period(CUSTOM, period.until - timedelta(days=RISK_DAYS - 1), period.until)


def _label_bars(visit: Visit, activity: DailyActivity) -> list[str]:
    return [
        visit.translation.format_axis_day(bar.span.since, by_month=activity.by_month)
        for bar in activity.bars
    ]


def _title_bars(visit: Visit, activity: DailyActivity, labels: Sequence[str]) -> list[str]:
    """Return what a bar says when the mouse is over it."""
    return [
        visit.ngettext(
            "{label}: {number} active person",
            "{label}: {number} active people",
            bar.people,
            label=label,
            number=bar.people,
        )
        for label, bar in zip(labels, activity.bars, strict=True)
    ]


def _label_points(visit: Visit, growth: Growth) -> list[str]:
    """Return the labels of the points of the chart of members."""
    show = visit.translation.format_axis_day
    labels = [show(day, by_month=growth.by_month) for day in growth.points]
    return [*labels, visit.gettext("now")] if growth.is_current else labels


async def _list_most_active(period: Period) -> Sequence[ActivePerson]:
    return await list_most_active(period, limit=MOST_ACTIVE_PEOPLE)


async def load_most_active_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the list of the most active people."""
    rows = [
        (each.member_id, each.name, each.message_count, each.reaction_count, each.voice_minutes)
        for each in await _list_most_active(period)
    ]
    return ChartTable(["member_id", "name", "messages", "reactions", "voice_minutes"], rows)


PAGE = InsightsPage(
    "overview",
    _build,
    {
        "activity": load_activity_table,
        "members": load_growth_table,
        "hours": load_hours_table,
        "tiers": load_tiers_table,
        "outcomes": load_outcomes_table,
        "waiting_times": load_waiting_times_table,
        "most_active": load_most_active_table,
    },
)
