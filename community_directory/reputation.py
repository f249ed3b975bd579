"""Reputation: what a score is made of, and the tier that follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from community_directory.tables import ReputationTier

GITHUB_POINTS = {"public_repos": 5, "followers": 3, "stars": 2, "contributions": 1}
"""Points for each of what `github_profile_data` counts."""

TIER_ENDS = {
    ReputationTier.NOVICE: 100,
    ReputationTier.CONTRIBUTOR: 500,
    ReputationTier.ACTIVE_DEVELOPER: 1000,
    ReputationTier.EXPERIENCED: 2500,
}
"""The highest score of each tier but the last; the trigger on members draws the same lines."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score, part by part, and the way to the next tier; at the top there is none."""

    github: Mapping[str, int]
    """The points for each of what `github_profile_data` counts."""
    earned: int
    """The points from the daily highlights."""
    score: int
    tier: ReputationTier
    next_tier: ReputationTier | None
    missing: int
    """The points from here to the next tier."""


def explain(profile_data: Mapping[str, Any] | None, earned: int) -> Explanation:
    """What a score is made of: the points of a GitHub account, and those that highlights earned."""
    github = github_points(profile_data)
    score = sum(github.values()) + earned
    tier = tier_of(score)
    following = list(ReputationTier)[list(ReputationTier).index(tier) + 1 :]
    missing = TIER_ENDS[tier] + 1 - score if following else 0
    return Explanation(github, earned, score, tier, following[0] if following else None, missing)


def github_score(profile_data: Mapping[str, Any] | None) -> int:
    """Points for a GitHub account: repositories × 5 + followers × 3 + stars × 2 + contributions × 1.

    A count that is missing, negative or no whole number earns nothing.
    """
    return sum(github_points(profile_data).values())


def github_points(profile_data: Mapping[str, Any] | None) -> dict[str, int]:
    """The points of `github_score`, by what earned them."""
    counts = {name: (profile_data or {}).get(name) for name in GITHUB_POINTS}
    return {
        name: GITHUB_POINTS[name] * count if type(count) is int and count > 0 else 0 for name, count in counts.items()
    }


def tier_of(score: int) -> ReputationTier:
    """The tier of a score."""
    return next((tier for tier, end in TIER_ENDS.items() if score <= end), ReputationTier.EXPERT)
