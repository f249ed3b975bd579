"""The charts of Insights: the days that they show, and the geometry that templates draw."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple, TypedDict

from community_directory.calendar import add_months

MAX_DAY_BARS = 92
"""The longest period whose chart has a bar for each day; that of a longer one has months."""
MAX_DAY_POINTS, MAX_WEEK_POINTS = 31, 400
"""The longest periods whose chart has a point for each day, or each week."""
MAX_LABELS = 6
"""The most labels below a chart."""

AREA_WIDTH, AREA_HEIGHT = 1000, 400
"""The size of the box in which areas, columns and lines are drawn."""
COLUMN_SHARE = 0.78
"""The part of its place that a column fills."""


class Span(NamedTuple):
    """Consecutive days: those of a bar."""

    since: date
    until: date


class StackedAreas(TypedDict):
    """The bands of an area chart as SVG polygons, and its axis."""

    bands: list[str]
    ticks: list[tuple[int, float]]
    """Each number on the axis, and its distance from the top in percent."""
    totals: list[int]


class Column(TypedDict):
    """A column of a chart: its place from the left, its width, its top and its height."""

    x: float
    width: float
    y: float
    height: float


class ColumnChart(TypedDict):
    """Columns in a box of `AREA_WIDTH` by `AREA_HEIGHT`, a line across them, and the axis."""

    columns: list[Column]
    line: str
    """The points of an SVG polyline; "" without a line."""
    ticks: list[tuple[int, float]]
    """Each number on the axis, and its distance from the top in percent."""
    step: float
    """The width of the place of a column."""


class Bar(TypedDict):
    """A bar: its count, its length in percent of the longest bar, and its share of the total.

    The share is from 0 to 1.
    """

    name: str
    count: int
    length: float
    share: float


def is_by_month(since: date, until: date) -> bool:
    """Tell whether a chart of these days has months as bars."""
    return (until - since).days >= MAX_DAY_BARS


def split_into_bars(since: date, until: date, *, by_month: bool) -> list[Span]:
    """Return the days, or the calendar months, from `since` to `until`.

    The first and the last month have only their days between the two.
    """
    spans = []
    while since <= until:
        last = min(end_of_month(since), until) if by_month else since
        spans.append(Span(since, last))
        since = last + timedelta(days=1)
    return spans


def choose_points(since: date, until: date) -> list[date]:
    """Return the days at whose ends a chart shows a state: the last one is `until`.

    They are days, weeks or months, whatever the chart has room for. The first one of the days and
    the weeks is the day before `since` or up to a week later, from which the period began.
    """
    days = (until - since).days + 1
    if days <= MAX_WEEK_POINTS:
        step = 1 if days <= MAX_DAY_POINTS else 7
        return [until - timedelta(days=number) for number in reversed(range(0, days + 1, step))]
    points = [until]
    while (end := points[-1].replace(day=1) - timedelta(days=1)) >= since - timedelta(days=1):
        points.append(end)
    return points[::-1]


def split_into_steps(since: date, until: date) -> list[Span]:
    """Return the days, weeks or months of a small line, whatever it has room for.

    The first week, and the first and the last month, can have fewer days.
    """
    days = (until - since).days + 1
    if days > MAX_WEEK_POINTS:
        return split_into_bars(since, until, by_month=True)
    step = timedelta(days=1 if days <= MAX_DAY_POINTS else 7)
    ends = [until - number * step for number in reversed(range(-(-days // step.days)))]
    return [Span(max(since, end - step + timedelta(days=1)), end) for end in ends]


def end_of_month(day: date) -> date:
    """Return the last day of the month of a day."""
    return add_months(day, 1) - timedelta(days=1)


def pick_labels(labels: Sequence[str]) -> list[tuple[str, int]]:
    """Return the labels that have room below a chart, and their positions; the last is one."""
    step = -(-len(labels) // MAX_LABELS)
    last = len(labels) - 1
    return [(label, at) for at, label in enumerate(labels) if (last - at) % step == 0]


def stack_areas(series: Sequence[Sequence[int]]) -> StackedAreas:
    """Return stacked bands as SVG polygons, the ticks of the axis beside them, and the totals."""
    totals = [sum(values) for values in zip(*series, strict=True)]
    ticks = choose_ticks(max(totals))
    step = AREA_WIDTH / max(len(totals) - 1, 1)
    scale = AREA_HEIGHT / ticks[-1]
    bands, base = [], [0] * len(totals)
    for values in series:
        upper = [below + value for below, value in zip(base, values, strict=True)]
        points = [*enumerate(upper), *reversed(list(enumerate(base)))]
        bands.append(" ".join(f"{x * step:.1f},{AREA_HEIGHT - y * scale:.1f}" for x, y in points))
        base = upper
    return {"bands": bands, "ticks": _place_ticks(ticks), "totals": totals}


def make_columns(counts: Sequence[int], before: Sequence[int | None] = ()) -> ColumnChart:
    """Return a column for each count, and the line of the counts that stood there before.

    Args:
        counts: The heights of the columns.
        before: The heights of the line in the middle of each column; None leaves one out.
    """
    ticks = choose_ticks(max([*counts, *(count or 0 for count in before)]))
    step, scale = AREA_WIDTH / len(counts), AREA_HEIGHT / ticks[-1]
    width = step * COLUMN_SHARE
    return {
        "columns": [
            {
                "x": number * step + (step - width) / 2,
                "width": width,
                "y": AREA_HEIGHT - count * scale,
                "height": count * scale,
            }
            for number, count in enumerate(counts)
        ],
        "line": " ".join(
            f"{(number + 0.5) * step:.1f},{AREA_HEIGHT - count * scale:.1f}"
            for number, count in enumerate(before)
            if count is not None
        ),
        "ticks": _place_ticks(ticks),
        "step": step,
    }


def draw_line(values: Sequence[int]) -> str:
    """Return a line through the values, from zero to the highest, as points of an SVG polyline."""
    step, most = AREA_WIDTH / max(len(values) - 1, 1), max(values, default=0) or 1
    return " ".join(
        f"{number * step:.1f},{AREA_HEIGHT - AREA_HEIGHT * value / most:.1f}"
        for number, value in enumerate(values)
    )


def make_bars(counts: Mapping[str, int], total: int) -> list[Bar]:
    """Return each count with its share of the total, and the length of its bar in percent."""
    longest = max(counts.values(), default=0) or 1
    return [
        {
            "name": name,
            "count": count,
            "length": 100 * count / longest,
            "share": count / (total or 1),
        }
        for name, count in counts.items()
    ]


def choose_ticks(top: int) -> list[int]:
    """Return two to five round numbers, from zero to `top` or a little above."""
    step = next(
        number * 10**power
        for power in range(12)
        for number in (1, 2, 5)
        if number * 10**power * 4 >= max(top, 1)
    )
    return [step * number for number in range(-(-max(top, 1) // step) + 1)]


def _place_ticks(ticks: Sequence[int]) -> list[tuple[int, float]]:
    return [(tick, 100 - 100 * tick / ticks[-1]) for tick in ticks]
