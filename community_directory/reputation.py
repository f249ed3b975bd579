"""Reputation: what a score is made of, and the tier that follows from it."""

from collections.abc import Mapping
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


def github_score(profile_data: Mapping[str, Any] | None) -> int:
    """Points for a GitHub account: repositories × 5 + followers × 3 + stars × 2 + contributions × 1.

    A count that is missing, negative or no whole number earns nothing.
    """
    counts = ((points, (profile_data or {}).get(name)) for name, points in GITHUB_POINTS.items())
    return sum(points * count for points, count in counts if type(count) is int and count > 0)


def tier_of(score: int) -> ReputationTier:
    """The tier of a score."""
    return next((tier for tier, end in TIER_ENDS.items() if score <= end), ReputationTier.EXPERT)
