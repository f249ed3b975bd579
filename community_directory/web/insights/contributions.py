"""The page Contributions: how much of what is written comes from how many people."""

import asyncio
from collections.abc import Mapping, Sequence

from community_directory.database import Statement, engine
from community_directory.queries.activity import PERIOD_ACTIVITY
from community_directory.web.insights.active_people import list_most_active
from community_directory.web.insights.layout import ChartTable, InsightsPage
from community_directory.web.insights.period import Period
from community_directory.web.insights.spread import PeopleShare, Spread
from community_directory.web.pages import Visit

MOST_ACTIVE = 12
"""The number of people in the list of those who contributed most."""

# The rows of the result are few: many people have the same small numbers.
COUNT_PEOPLE_BY_CONTRIBUTIONS = Statement(f"""
SELECT message_count + reaction_count AS contributions, count(*) AS people
FROM ({PERIOD_ACTIVITY}) AS activity JOIN community_members USING (member_id)
WHERE NOT is_bot AND deleted_at IS NULL AND status <> 'banned'
    AND message_count + reaction_count > 0
GROUP BY 1 ORDER BY 1 DESC
""")


async def load_spread(period: Period | None) -> Spread:
    """Return how many people made how many contributions in a period; None has none."""
    if period is None:
        return Spread([])
    records = await engine.read(
        COUNT_PEOPLE_BY_CONTRIBUTIONS, since=period.since, until=period.until
    )
    return Spread([(number, people) for number, people in records])


def draw_curve(curve: Sequence[float]) -> str:
    """Return the points of a curve in a box of 1,000 by 400, from the lower left corner."""
    return " ".join(f"{percent * 10},{400 - 400 * y:.1f}" for percent, y in enumerate(curve))


async def build_page(_: Visit, period: Period) -> Mapping[str, object]:
    """Return the variables of the page."""
    spread, before, most_active = await asyncio.gather(
        load_spread(period),
        load_spread(period.before),
        list_most_active(period, by="contributions", limit=MOST_ACTIVE, status="present"),
    )
    return {
        "spread": spread,
        "before": before,
        "top": spread.top(1) if spread.groups else None,
        "top_before": before.top(1) if before.groups else None,
        "curves": [draw_curve(each.curve()) for each in (spread, before)],
        "buckets": list(zip(spread.buckets(), before.buckets(), strict=True)),
        "most_people": max(bucket.people for bucket in spread.buckets()),
        "most_active": most_active,
    }


async def load_curve(_: Visit, period: Period) -> ChartTable:
    """Load the curve."""
    spread, before = await asyncio.gather(load_spread(period), load_spread(period.before))
    curves = zip(spread.curve(), before.curve(), strict=True)
    rows = [(percent, round(now, 4), round(then, 4)) for percent, (now, then) in enumerate(curves)]
    return ChartTable(("percent_of_people", "share", "share_before"), rows)


async def load_buckets(_: Visit, period: Period) -> ChartTable:
    """Load the people by their number of contributions."""
    spread, before = await asyncio.gather(load_spread(period), load_spread(period.before))
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
    people = await list_most_active(period, by="contributions", limit=MOST_ACTIVE, status="present")
    return ChartTable(
        ("member_id", "name", "contributions", "messages", "reactions", "active_days"),
        [
            (
                *(person.member_id, person.name, person.contributions),
                *(person.message_count, person.reaction_count, person.active_days),
            )
            for person in people
        ],
    )


PAGE = InsightsPage(
    "contributions",
    build_page,
    {"curve": load_curve, "buckets": load_buckets, "most-active": load_most_active},
)
