"""Overview: the community at a glance."""

import asyncio
from collections.abc import Mapping, Sequence

from community_directory.web.insights.charts import make_columns, pick_labels
from community_directory.web.insights.daily_activity import (
    BarCounts,
    DailyActivity,
    load_activity_table,
    load_daily_activity,
)
from community_directory.web.insights.hours import (
    ActivityHours,
    load_hours,
    load_hours_table,
    read_platform,
)
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import DAYS_OF_ALL, Period
from community_directory.web.insights.tiles import (
    PeopleCount,
    count_accepted,
    count_active,
    count_joined,
)
from community_directory.web.pages import Visit


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    platform = await read_platform(visit)

    async def load_others() -> tuple[PeopleCount, PeopleCount, DailyActivity, ActivityHours]:
        return (
            await count_joined(period),
            await count_accepted(period),
            await load_daily_activity(period),
            await load_hours(platform, period),
        )

    # To count the active people takes as long as all the rest in turn. If each statement ran on a
    # connection of its own, this one would wait for a core, and the page take a third longer.
    active, others = await asyncio.gather(count_active(period), load_others())
    joined, accepted, activity, hours = others
    weekdays = visit.translation.locale.days["stand-alone"]["abbreviated"]
    bar_labels = _label_bars(visit, activity)
    return {
        "active": active,
        "joined": joined,
        "accepted": accepted,
        "days_of_all": DAYS_OF_ALL,
        "activity": activity,
        "chart": make_columns([bar.people for bar in activity.bars], activity.people_before),
        "bar_titles": _title_bars(visit, activity),
        "bar_labels": pick_labels(bar_labels),
        "bar_paths": _link_bars(activity.bars),
        "before_paths": _link_bars(activity.before),
        "hours": hours,
        "weekdays": [weekdays[number] for number in range(7)],
    }


def _label_bars(visit: Visit, activity: DailyActivity) -> list[str]:
    return [
        visit.translation.format_axis_day(bar.span.since, by_month=activity.by_month)
        for bar in activity.bars
    ]


def _link_bars(bars: Sequence[BarCounts]) -> list[str]:
    """Return the addresses of the people who were active on the days of bars."""
    return [
        to_people(status="present", activity="active", since=bar.span.since, until=bar.span.until)
        for bar in bars
    ]


def _title_bars(visit: Visit, activity: DailyActivity) -> list[str]:
    """Return what a bar says when the mouse is over it."""
    return [
        visit.ngettext(
            "{label}: {number} active person",
            "{label}: {number} active people",
            bar.people,
            label=visit.translation.format_days(*bar.span),
            number=bar.people,
        )
        for bar in activity.bars
    ]


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
        "hours": load_hours_table,
        "most_active": load_most_active_table,
    },
)
