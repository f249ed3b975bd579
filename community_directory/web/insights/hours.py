"""Events by weekday and hour, of all people and of one platform or all."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from community_directory.database import Statement, engine
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.web.insights.layout import ChartTable
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

SHADES = 5
"""The shades of the chart of hours, besides the one of no events."""

COUNT_HOURS = Statement("""
SELECT platform, extract(isodow FROM day)::integer - 1 AS weekday, hour, sum(event_count) AS events
FROM directory_hourly_counts WHERE day BETWEEN :since AND :until GROUP BY 1, 2, 3
""")
FIND_FIRST_HOURS = Statement("SELECT min(day) FROM directory_hourly_counts")
HAS_PLATFORM = Statement(
    "SELECT EXISTS (SELECT FROM directory_hourly_counts WHERE platform = :platform)"
)


@dataclass(frozen=True)
class ActivityHours:
    """Events by weekday and hour.

    Attributes:
        platforms: The platforms that have events in the period, and the chosen one.
        platform: The platform whose events are counted, or None for all.
        counts: The events of each weekday, Monday first, and hour.
        means: The events of each weekday and hour on one day: all events, divided by the days.
        shades: The shade of each mean, from 0 (none) to 5 (most).
        total: All events.
        is_mean: Whether the weekdays are not equally often in the counted days, so that only the
            means can be compared.
        counted_since: The first day whose hours are counted, if the period begins before it.
    """

    platforms: list[str]
    platform: str | None
    counts: list[list[int]]
    means: list[list[float]]
    shades: list[list[int]]
    total: int
    is_mean: bool
    counted_since: date | None


async def read_platform(visit: Visit) -> str | None:
    """Return the platform that the address chooses, or None for all.

    Raises:
        InvalidInput: The platform never had an event.
    """
    chosen = visit.query.get("platform") or None
    if chosen is not None:
        [(has_events,)] = await engine.read(HAS_PLATFORM, platform=chosen)
        if not has_events:
            raise InvalidInput(
                f"There is no platform {sanitize_for_message(chosen)}.", field="platform"
            )
    return chosen


async def load_hours(platform: str | None, period: Period) -> ActivityHours:
    """Return the events of the period by weekday and hour, on one platform or on all."""
    found, [(first_day,)] = await asyncio.gather(
        engine.read(COUNT_HOURS, since=period.since, until=period.until),
        engine.read(FIND_FIRST_HOURS),
    )
    platforms = {each for each, *_ in found} | ({platform} if platform else set())
    events = [
        (weekday, hour, number) for each, weekday, hour, number in found if platform in (None, each)
    ]
    return count_hours(events, period, first_day, platforms=sorted(platforms), platform=platform)


def count_hours(
    events: Iterable[tuple[int, int, int]],
    period: Period,
    first_day: date | None,
    *,
    platforms: list[str],
    platform: str | None,
) -> ActivityHours:
    """Count events by weekday and hour.

    Args:
        events: Weekdays from 0 (Monday) to 6, hours, and numbers of events.
        period: The period of the events.
        first_day: The first day whose hours were ever counted; None if there is none.
        platforms: The platforms to choose from.
        platform: The chosen platform.
    """
    counted: Counter[tuple[int, int]] = Counter()
    for weekday, hour, number in events:
        counted[weekday, hour] += number
    counts = [[counted[weekday, hour] for hour in range(24)] for weekday in range(7)]
    since = max(period.since, first_day or period.since)
    days = _count_weekdays(since, period.until)
    means = [[number / (days[weekday] or 1) for number in counts[weekday]] for weekday in range(7)]
    most = max(map(max, means))
    return ActivityHours(
        platforms=platforms,
        platform=platform,
        counts=counts,
        means=means,
        shades=[[_shade(mean, most) for mean in row] for row in means],
        total=counted.total(),
        is_mean=len(set(days)) > 1,
        counted_since=since if since > period.since else None,
    )


def _count_weekdays(since: date, until: date) -> list[int]:
    """Return how often each weekday is between two days."""
    weeks, rest = divmod((until - since).days + 1, 7)
    days = [weeks] * 7
    for number in range(rest):
        days[(since + timedelta(days=number)).weekday()] += 1
    return days


def _shade(mean: float, most: float) -> int:
    """Return 0 for no events, and 1 to `SHADES` for the others."""
    return min(SHADES, int(SHADES * mean / most) + 1) if mean else 0


async def load_hours_table(visit: Visit, period: Period) -> ChartTable:
    """Return the data of the chart of hours."""
    hours = await load_hours(await read_platform(visit), period)
    rows = [
        (weekday + 1, hour, hours.counts[weekday][hour], round(hours.means[weekday][hour], 3))
        for weekday in range(7)
        for hour in range(24)
    ]
    return ChartTable(["iso_weekday", "hour", "events", "mean_events"], rows)
