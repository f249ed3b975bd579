"""The geometry of charts, and the spans of days that they show."""

import itertools
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.web.insights.charts import (
    AREA_HEIGHT,
    AREA_WIDTH,
    choose_points,
    make_columns,
    pick_labels,
    split_into_bars,
    split_into_steps,
    stack_areas,
)

days = st.dates(date(2020, 1, 1), date(2030, 1, 1))
lengths = st.integers(1, 3660)


def test_bands_are_stacked_below_a_round_number() -> None:
    drawn = stack_areas([[1, 3], [2, 4]])
    assert drawn["totals"] == [3, 7]
    assert [tick for tick, _ in drawn["ticks"]] == [0, 2, 4, 6, 8]
    assert drawn["bands"] == [
        "0.0,350.0 1000.0,250.0 1000.0,400.0 0.0,400.0",
        "0.0,250.0 1000.0,50.0 1000.0,250.0 0.0,350.0",
    ]


@given(st.integers(0, 10**9))
def test_an_axis_has_few_round_numbers_and_room_for_the_highest(top: int) -> None:
    ticks = [tick for tick, _ in stack_areas([[top, 0]])["ticks"]]
    assert ticks[0] == 0
    assert ticks[-1] >= top
    assert 2 <= len(ticks) <= 5


@given(days, lengths, st.booleans())
def test_bars_have_each_day_of_the_period_once(since: date, length: int, by_month: bool) -> None:
    until = since + timedelta(days=length - 1)
    spans = split_into_bars(since, until, by_month=by_month)
    shown = [
        span.since + timedelta(days=number)
        for span in spans
        for number in range((span.until - span.since).days + 1)
    ]
    assert shown == [since + timedelta(days=number) for number in range(length)]
    for span in spans:
        assert span.since == span.until or by_month
        assert (span.since.year, span.since.month) == (span.until.year, span.until.month)


@given(days, lengths)
def test_steps_have_each_day_of_the_period_once(since: date, length: int) -> None:
    until = since + timedelta(days=length - 1)
    steps = split_into_steps(since, until)
    assert (steps[0].since, steps[-1].until) == (since, until)
    for step, following in itertools.pairwise(steps):
        assert following.since == step.until + timedelta(days=1)
    assert 1 <= len(steps) <= 122


@pytest.mark.parametrize(
    ("length", "count", "first"),
    [
        (1, 2, date(2025, 9, 30)),
        (7, 8, date(2025, 9, 24)),
        (31, 32, date(2025, 8, 31)),
        (90, 13, date(2025, 7, 9)),
        (365, 53, date(2024, 10, 2)),
        (3650, 121, date(2015, 10, 31)),
    ],
)
def test_points_are_days_weeks_or_ends_of_months(length: int, count: int, first: date) -> None:
    until = date(2025, 10, 1)
    points = choose_points(until - timedelta(days=length - 1), until)
    assert (len(points), points[0], points[-1]) == (count, first, until)


@given(st.integers(1, 400))
def test_labels_have_room_and_the_last_is_one_of_them(count: int) -> None:
    labels = [str(number) for number in range(count)]
    shown = pick_labels(labels)
    assert shown[-1] == (labels[-1], count - 1)
    assert len(shown) <= 6
    assert all(labels[at] == label for label, at in shown)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=92), st.data())
def test_columns_stay_in_their_box_and_are_as_high_as_their_counts(
    counts: list[int], data: st.DataObject
) -> None:
    before = data.draw(st.lists(st.none() | st.integers(0, 10**9), max_size=len(counts)))
    chart = make_columns(counts, before)
    top = chart["ticks"][-1][0]
    for count, column in zip(counts, chart["columns"], strict=True):
        assert column["height"] == pytest.approx(AREA_HEIGHT * count / top)
        assert column["y"] + column["height"] == pytest.approx(AREA_HEIGHT)
        assert 0 <= column["x"] < column["x"] + column["width"] <= AREA_WIDTH
    points = [point.split(",") for point in chart["line"].split()]
    assert len(points) == sum(count is not None for count in before)
    assert all(0 <= float(x) <= AREA_WIDTH and 0 <= float(y) <= AREA_HEIGHT for x, y in points)
