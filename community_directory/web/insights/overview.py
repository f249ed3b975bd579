"""Overview: the community at a glance."""

import asyncio
from collections.abc import Mapping, Sequence

from community_directory.tables import MemberStatus, ReputationTier
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
from community_directory.web.insights.hours import load_hours, load_hours_table, read_platform
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import Period
from community_directory.web.insights.sent_invitations import (
    link_outcomes,
    load_invitations,
    load_outcomes_table,
    load_waiting_times_table,
)
from community_directory.web.insights.tiles import count_active, count_people
from community_directory.web.pages import Visit


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    platform = await read_platform(visit)
    # The statements run at the same time, each on its own connection.
    tiles, activity, growth, hours, invitations = await asyncio.gather(
        count_people(period),
        load_daily_activity(period),
        load_growth(period),
        load_hours(platform, period),
        load_invitations(period),
    )
    weekdays = visit.translation.locale.days["stand-alone"]["abbreviated"]
    bar_labels, growth_labels = _label_bars(visit, activity), _label_points(visit, growth)
    return {
        "tiles": tiles,
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
        "outcome_paths": link_outcomes(period),
        "waiting_times": invitations.waiting_times,
        "tiers": growth.tiers,
        "tier_paths": {
            tier.value: to_people(status=MemberStatus.ACTIVE, tier=tier.value)
            for tier in ReputationTier
        },
    }


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


async def load_most_active_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the list of the most active people."""
    rows = [
        (each.member_id, each.name, each.message_count, each.reaction_count, each.voice_minutes)
        for each in (await count_active(period)).most_active
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
