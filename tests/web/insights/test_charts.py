"""The geometry of charts, and the spans of days that they show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.web.insights.charts import stack_areas


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
