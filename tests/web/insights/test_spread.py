"""The contribution spread, compared with a count of each person."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.web.insights.spread import Spread

numbers = st.lists(st.integers(1, 900), min_size=1, max_size=30)


def spread_of(made: list[int]) -> Spread:
    return Spread(sorted(Counter(made).items(), reverse=True))


def test_the_top_tenth_of_ten_people_is_one_person() -> None:
    top = spread_of([71, 9, 4, 4, 3, 3, 2, 2, 1, 1]).top(1)
    assert (top.least, top.people, top.people_share) == (71, 1, 0.1)
    assert (top.contributions, top.share) == (71, 0.71)


def test_whoever_has_as_many_contributions_as_the_last_belongs_to_the_top() -> None:
    top = spread_of([5, 5, 5, 1, 1, 1, 1, 1, 1, 1]).top(1)
    assert (top.least, top.people, top.share) == (5, 3, 15 / 22)


def test_a_rank_is_rounded_up() -> None:
    assert spread_of(list(range(1, 12))).top(1).people == 2
    assert spread_of([7]).top(1).people == 1


@given(numbers, st.integers(1, 10))
def test_the_people_of_the_top_tenths_are_counted_one_by_one(made: list[int], tenths: int) -> None:
    ranked = sorted(made, reverse=True)
    rank = len(ranked) * tenths // 10 + (len(ranked) * tenths % 10 > 0)
    least = ranked[rank - 1]
    top = spread_of(made).top(tenths)
    assert top.least == least
    assert top.people == sum(number >= least for number in made)
    assert top.contributions == sum(number for number in made if number >= least)
    assert top.share == pytest.approx(top.contributions / sum(made))


@given(numbers)
def test_everybody_is_in_one_bucket(made: list[int]) -> None:
    buckets = spread_of(made).buckets()
    assert sum(bucket.people for bucket in buckets) == len(made)
    assert sum(bucket.contributions for bucket in buckets) == sum(made)
    assert sum(bucket.share for bucket in buckets) == pytest.approx(1)
    for bucket in buckets:
        last = bucket.most or 900
        assert bucket.people == sum(bucket.least <= number <= last for number in made)


@given(numbers)
def test_the_steps_end_with_everybody_and_no_two_are_the_same(made: list[int]) -> None:
    steps = spread_of(made).steps()
    assert steps[-1].people == len(made)
    assert [step.least for step in steps] == sorted({step.least for step in steps}, reverse=True)


@given(numbers)
def test_the_curve_adds_up_the_contributions_from_the_top(made: list[int]) -> None:
    ranked = [*sorted(made, reverse=True), 0]
    curve = spread_of(made).curve()
    assert len(curve) == 101
    for percent, share in enumerate(curve):
        whole, rest = divmod(len(made) * percent, 100)
        expected = sum(ranked[:whole]) + ranked[whole] * rest / 100
        assert share == pytest.approx(expected / sum(made))


def test_nobody_has_no_share() -> None:
    nobody = Spread([])
    assert (nobody.people, nobody.contributions, nobody.steps()) == (0, 0, [])
    assert [bucket.people for bucket in nobody.buckets()] == [0] * 5
    assert nobody.share_of(1).share == 0
