"""The formula and the tiers: Python and the database draw the same lines."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.reputation import GITHUB_POINTS, TIER_ENDS, Explanation, explain, github_score, tier_of
from community_directory.tables import ReputationTier
from tests.tables import rows


@pytest.mark.parametrize(
    ("tier", "lowest", "highest"),
    [
        ("Novice", 0, 100),
        ("Contributor", 101, 500),
        ("Active Developer", 501, 1000),
        ("Experienced", 1001, 2500),
        ("Expert", 2501, 2**31 - 1),
    ],
)
def test_a_tier_reaches_from_its_lowest_to_its_highest_score(tier: str, lowest: int, highest: int) -> None:
    assert tier_of(lowest) == tier_of(highest) == tier
    assert isinstance(tier_of(lowest), ReputationTier)


def test_every_tier_but_the_last_has_an_end() -> None:
    assert [*TIER_ENDS, ReputationTier.EXPERT] == list(ReputationTier)


async def test_the_database_draws_the_same_lines(directory: asyncpg.Pool) -> None:
    scores = sorted({0, 2**31 - 1, *(end + step for end in TIER_ENDS.values() for step in (-1, 0, 1))})
    for score in scores:
        member = await rows.member(directory, reputation_score=score)
        assert member["reputation_tier"] == tier_of(score)


@pytest.mark.parametrize(
    ("name", "points"), [("public_repos", 5), ("followers", 3), ("stars", 2), ("contributions", 1)]
)
def test_each_count_earns_its_points(name: str, points: int) -> None:
    assert github_score({name: 7}) == 7 * points
    assert GITHUB_POINTS[name] == points


def test_the_points_add_up() -> None:
    assert github_score({"public_repos": 10, "followers": 20, "stars": 30, "contributions": 40}) == 210


@pytest.mark.parametrize("data", [None, {}, MappingProxyType({}), {"login": "ana", "stargazers": 9}])
def test_nothing_earns_nothing(data: Mapping[str, Any] | None) -> None:
    assert github_score(data) == 0


@pytest.mark.parametrize("junk", [None, -1, "7", "", 7.0, 1.5, math.nan, math.inf, True, False, [7], {"a": 7}, b"7"])
@pytest.mark.parametrize("name", GITHUB_POINTS)
def test_a_junk_count_earns_nothing_and_spoils_nothing(name: str, junk: object) -> None:
    others = {other: 1 for other in GITHUB_POINTS if other != name}
    assert github_score({**others, name: junk}) == github_score(others)


@given(
    st.dictionaries(
        st.sampled_from(list(GITHUB_POINTS)) | st.text(),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_no_data_earns_less_than_nothing(data: dict[str, Any]) -> None:
    assert github_score(data) >= 0


def test_a_score_is_explained_part_by_part() -> None:
    assert explain({"public_repos": 10, "followers": 5, "stars": 0, "contributions": "many"}, 20) == Explanation(
        github={"public_repos": 50, "followers": 15, "stars": 0, "contributions": 0},
        earned=20,
        score=85,
        tier=ReputationTier.NOVICE,
        next_tier=ReputationTier.CONTRIBUTOR,
        missing=16,
    )


def test_at_the_top_there_is_no_next_tier() -> None:
    explained = explain(None, 2501)
    assert (explained.tier, explained.next_tier, explained.missing) == (ReputationTier.EXPERT, None, 0)


@given(st.dictionaries(st.sampled_from(list(GITHUB_POINTS)), st.integers(-5, 2000)), st.integers(0, 5000))
def test_the_parts_are_the_score_and_the_missing_points_lead_to_the_next_tier(
    counts: dict[str, int], earned: int
) -> None:
    explained = explain(counts, earned)
    assert sum(explained.github.values()) + explained.earned == explained.score
    assert sum(explained.github.values()) == github_score(counts)
    assert explained.tier == tier_of(explained.score)
    if explained.next_tier is not None:
        assert explained.missing > 0
        assert tier_of(explained.score + explained.missing) == explained.next_tier
        assert tier_of(explained.score + explained.missing - 1) == explained.tier
