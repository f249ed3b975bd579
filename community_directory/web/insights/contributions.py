"""The page Contributions: how much of what is written comes from how many people."""

import asyncio
from collections.abc import Mapping, Sequence

from community_directory.web.insights.active_people import (
    Contributions,
    list_most_active,
    sum_contributions,
)
from community_directory.web.insights.layout import ChartTable, InsightsPage
from community_directory.web.insights.period import Period
from community_directory.web.insights.spread import PeopleShare, Spread
from community_directory.web.pages import Visit

MOST_ACTIVE = 12
"""The number of people in the list of those who contributed most."""


async def load_contributions(period: Period | None) -> Contributions:
    """Return the contributions of a period; None has none."""
    if period is None:
        return Contributions([], [])
    return await sum_contributions(period, limit=MOST_ACTIVE)


async def load_spreads(period: Period) -> tuple[Spread, Spread]:
    """Return the contribution spread of a period, and that of the period before."""
    now, before = await asyncio.gather(
        load_contributions(period), load_contributions(period.before)
    )
    return Spread(now.groups), Spread(before.groups)


def draw_curve(curve: Sequence[float]) -> str:
    """Return the points of a curve in a box of 1,000 by 400, from the lower left corner."""
    return " ".join(f"{percent * 10},{400 - 400 * y:.1f}" for percent, y in enumerate(curve))


async def build_page(_: Visit, period: Period) -> Mapping[str, object]:
    """Return the variables of the page."""
    now, then = await asyncio.gather(load_contributions(period), load_contributions(period.before))
    spread, before = Spread(now.groups), Spread(then.groups)
    return {
        "spread": spread,
        "before": before,
        "top": spread.top(1) if spread.groups else None,
        "top_before": before.top(1) if before.groups else None,
        "curves": [draw_curve(each.curve()) for each in (spread, before)],
        "buckets": list(zip(spread.buckets(), before.buckets(), strict=True)),
        "most_people": max(bucket.people for bucket in spread.buckets()),
        "most_active": [person for person in now.most_active if person.contributions],
    }


async def load_curve(_: Visit, period: Period) -> ChartTable:
    """Load the curve."""
    spread, before = await load_spreads(period)
    curves = zip(spread.curve(), before.curve(), strict=True)
    rows = [(percent, round(now, 4), round(then, 4)) for percent, (now, then) in enumerate(curves)]
    return ChartTable(("percent_of_people", "share", "share_before"), rows)


async def load_buckets(_: Visit, period: Period) -> ChartTable:
    """Load the people by their number of contributions."""
    spread, before = await load_spreads(period)
    columns = (
        *("least_contributions", "most_contributions", "people", "contributions", "share"),
        *("people_before", "contributions_before", "share_before"),
    )
    pairs = zip(spread.buckets(), before.buckets(), strict=True)
    return ChartTable(
        columns, [(now.least, now.most, *_values(now), *_values(then)) for now, then in pairs]
    )


def _values(bucket: PeopleShare) -> tuple[object, ...]:
    return bucket.people, bucket.contributions, round(bucket.share, 4)


async def load_most_active(_: Visit, period: Period) -> ChartTable:
    """Load the people who contributed most."""
    people = await list_most_active(period, limit=MOST_ACTIVE)
    return ChartTable(
        ("member_id", "name", "contributions", "messages", "reactions", "active_days"),
        [
            (
                *(person.member_id, person.name, person.contributions),
                *(person.message_count, person.reaction_count, person.active_days),
            )
            for person in people
            if person.contributions
        ],
    )


PAGE = InsightsPage(
    "contributions",
    build_page,
    {"curve": load_curve, "buckets": load_buckets, "most-active": load_most_active},
)
