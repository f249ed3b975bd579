"""The charts of Insights: counts, and the geometry that the templates draw."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict

import asyncpg

from community_directory.tables import InvitationStatus, MemberStatus, ReputationTier

REMOVED_BAND = "removed"
STATUS_BANDS = [
    MemberStatus.ACTIVE,
    MemberStatus.PENDING,
    MemberStatus.SUSPENDED,
    MemberStatus.BANNED,
    REMOVED_BAND,
]
"""The bands of the chart of members, from the bottom to the top."""
INVITATION_OUTCOMES = [
    InvitationStatus.ACCEPTED,
    InvitationStatus.PENDING,
    InvitationStatus.EXPIRED,
    InvitationStatus.CANCELLED,
]
WAITING_TIME_ENDS = [
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=2),
    timedelta(days=3),
]
"""The ends of the ranges of the time until an invitation is accepted; the last range has none."""

AREA_WIDTH, AREA_HEIGHT = 1000, 400
"""The size of the box in which the bands of an area chart are drawn."""
SHADES = 5
"""The shades of the chart of hours, besides the one of no events."""


class StackedAreas(TypedDict):
    """The bands of an area chart as SVG polygons, and its axis."""

    bands: list[str]
    ticks: list[tuple[int, float]]
    """Each number on the axis, and its distance from the top in percent."""
    totals: list[int]


class Bar(TypedDict):
    """A bar: its count, its length in percent of the longest bar, and its share of the total.

    The share is from 0 to 1.
    """

    name: str
    count: int
    length: float
    share: float


def count_statuses(
    members: Iterable[Iterable[Any]], changes: Iterable[Iterable[Any]], weeks: int
) -> dict[str, list[int]]:
    """Return how many members had each of the `STATUS_BANDS` at the end of each week.

    The last week ends now. Contacts who aren't members are not counted.

    Args:
        members: Groups of members who agree in these values: the week in which they were added,
            the week in which they were removed (None if they were not), the present status, and
            the reputation tier. The last value is the size of the group.
        changes: Groups of status changes: the week in which the member was added, the week of the
            change, the status before it, the status after it, and the size of the group. A change
            is undone for the weeks between the two.
        weeks: The number of weeks.
    """
    counts: dict[str, list[int]] = {status: [0] * weeks for status in [*MemberStatus, REMOVED_BAND]}

    def add(status: str, first_week: int, end_week: int, number: int) -> None:
        for week in range(first_week, end_week):
            counts[status][week] += number

    for added_week, removed_week, status, _, number in members:
        end_week = weeks if removed_week is None else removed_week
        add(status, added_week, end_week, number)
        if status != MemberStatus.NOT_MEMBER:
            add(REMOVED_BAND, max(added_week, end_week), weeks, number)
    for added_week, changed_week, before, after, number in changes:
        add(before, added_week, changed_week, number)
        add(after, added_week, changed_week, -number)
    return {status: counts[status] for status in STATUS_BANDS}


def stack_areas(series: Sequence[Sequence[int]]) -> StackedAreas:
    """Return stacked bands as SVG polygons, the ticks of the axis beside them, and the totals."""
    totals = [sum(values) for values in zip(*series, strict=True)]
    ticks = _choose_ticks(max(totals))
    step = AREA_WIDTH / (len(totals) - 1)
    scale = AREA_HEIGHT / ticks[-1]
    bands, base = [], [0] * len(totals)
    for values in series:
        upper = [below + value for below, value in zip(base, values, strict=True)]
        points = [*enumerate(upper), *reversed(list(enumerate(base)))]
        bands.append(" ".join(f"{x * step:.1f},{AREA_HEIGHT - y * scale:.1f}" for x, y in points))
        base = upper
    return {
        "bands": bands,
        "ticks": [(tick, 100 - 100 * tick / ticks[-1]) for tick in ticks],
        "totals": totals,
    }


def _choose_ticks(top: int) -> list[int]:
    """Return two to five round numbers, from zero to `top` or a little above."""
    step = next(
        number * 10**power
        for power in range(12)
        for number in (1, 2, 5)
        if number * 10**power * 4 >= max(top, 1)
    )
    return [step * number for number in range(-(-max(top, 1) // step) + 1)]


def count_tiers(members: Iterable[asyncpg.Record]) -> list[Bar]:
    """Return the bars of the active members by reputation tier."""
    counts = {tier.value: 0 for tier in ReputationTier}
    for _, removed_week, status, tier, number in members:
        if removed_week is None and status == MemberStatus.ACTIVE and tier is not None:
            counts[tier] += number
    return _make_bars(counts, sum(counts.values()))


def count_outcomes(invitations: Iterable[asyncpg.Record]) -> list[Bar]:
    """Return the bars of the invitations: all that were sent, and those of each outcome."""
    counts = {"sent": 0} | {status.value: 0 for status in INVITATION_OUTCOMES}
    for status, _, number in invitations:
        counts["sent"] += number
        counts[status] += number
    return _make_bars(counts, counts["sent"])


def count_waiting_times(invitations: Iterable[asyncpg.Record], names: Sequence[str]) -> list[Bar]:
    """Return the bars of the accepted invitations by the time until they were accepted.

    Args:
        invitations: Their effective status, the range of the time, and their number.
        names: The names of the ranges, one more than there are `WAITING_TIME_ENDS`.
    """
    counts = dict.fromkeys(names, 0)
    for _, time_range, number in invitations:
        if time_range is not None:
            counts[names[time_range]] += number
    return _make_bars(counts, sum(counts.values()))


def _make_bars(counts: Mapping[str, int], total: int) -> list[Bar]:
    """Return each count with its share of the total, and the length of its bar in percent."""
    longest = max(counts.values()) or 1
    return [
        {
            "name": name,
            "count": count,
            "length": 100 * count / longest,
            "share": count / (total or 1),
        }
        for name, count in counts.items()
    ]


@dataclass(frozen=True)
class ActivityHours:
    """Events by weekday and hour, with the shade of each hour from 0 (none) to 5 (most)."""

    counts: list[list[int]]
    shades: list[list[int]]
    total: int
    since: datetime | None
    """The beginning of the counted time; None without events."""
    whole_weeks: int
    """The number of whole weeks that are counted; 0 when the events cover less than one."""


def count_hours(
    quarters: Sequence[tuple[datetime, int]], now: datetime, *, days: int, max_events: int
) -> ActivityHours:
    """Count events by weekday and hour, in the time zone of the `quarters`.

    If `quarters` contains `max_events`, the events cover less than `days`. Only the last whole
    weeks are counted then, so that every weekday counts equally often; if the events cover less
    than a week, all of them are counted.

    Args:
        quarters: The first moment of each quarter of an hour, and the number of its events.
        now: The end of the counted time.
        days: The days before `now` from which events were read.
        max_events: The number of the newest events that were read at most.
    """
    since = min((start for start, _ in quarters), default=None)
    weeks = days // 7
    if since is not None and sum(number for _, number in quarters) >= max_events:
        weeks = (now - since) // timedelta(weeks=1)
        since = now - timedelta(weeks=weeks) if weeks else since
        quarters = [(start, number) for start, number in quarters if start >= since]
    counted: Counter[tuple[int, int]] = Counter()
    for start, number in quarters:
        counted[start.weekday(), start.hour] += number
    counts = [[counted[weekday, hour] for hour in range(24)] for weekday in range(7)]
    most = max(map(max, counts))
    shades = [[-(-SHADES * number // most) if most else 0 for number in row] for row in counts]
    return ActivityHours(counts, shades, counted.total(), since, weeks)
