"""Reputation: what a score is made of, and the tier that follows from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from community_directory.database import engine
from community_directory.errors import MemberNotFound
from community_directory.queries.values import member_number
from community_directory.tables import ReputationTier

GITHUB_POINTS = {"public_repos": 5, "followers": 3, "stars": 2, "contributions": 1}
"""Points for each of what `github_profile_data` counts."""


class DailyPoints(NamedTuple):
    """One point for each so many of a day's count, up to the most that the kind earns in a day."""

    for_each: int
    most: int


DAILY_POINTS = {
    "message_count": DailyPoints(for_each=1, most=5),
    "reaction_count": DailyPoints(for_each=2, most=3),
    "voice_minutes": DailyPoints(for_each=10, most=6),
}
DAILY_CAP = 10
"""The points of a day at the most, so that flooding a chat earns nothing: showing up on many days does."""

TIER_ENDS = {
    ReputationTier.NOVICE: 100,
    ReputationTier.CONTRIBUTOR: 500,
    ReputationTier.ACTIVE_DEVELOPER: 1000,
    ReputationTier.EXPERIENCED: 2500,
}
"""The highest score of each tier but the last; the trigger on members draws the same lines."""
MAX_SCORE = 2**31 - 1


def add_points(points: str) -> str:
    """Return the SQL assignments that add points, an SQL expression, to the score of `member`.

    A score never lies below zero: what is missing to zero is kept as the shortfall, so that points
    which are taken and given again, in any order, end in the same score.
    """
    total = f"(member.reputation_score - member.reputation_shortfall + {points})"
    return f"""reputation_score = least(greatest({total}, 0), {MAX_SCORE}),
        reputation_shortfall = least(greatest(-{total}, 0), {MAX_SCORE})"""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score, part by part, and the way to the next tier; at the top there is none.

    The score is the sum of the three parts, but never less than zero.
    """

    github: Mapping[str, int]
    """The points for each of what `github_profile_data` counts; none before a verification gave them."""
    earned: int
    """The points from the daily highlights."""
    other: int
    """The points that were given by hand, or brought along from elsewhere; negative if taken."""
    score: int
    tier: ReputationTier
    next_tier: ReputationTier | None
    missing: int
    """The points that are missing to the next tier; more than from the score if the sum is below zero."""


PARTS = """
SELECT CASE WHEN github_verified_at IS NOT NULL THEN github_profile_data END, reputation_score, reputation_shortfall, (
    SELECT coalesce(sum(reputation_earned), 0) FROM member_daily_highlights WHERE member_id = $1
)
FROM community_members WHERE member_id = $1 AND deleted_at IS NULL
"""


async def explain(member_id: str | int) -> Explanation:
    """Say what a member's score is made of, and what is missing to the next tier.

    The points of GitHub are those of the stored `github_profile_data`, if it was ever verified: until
    then it gave none. What another program added for it is a part of `other`.

    Raises:
        MemberNotFound: There is no member with this number, or they were removed.
        InvalidInput: This can't be a number.
    """
    number = member_number(member_id)
    records = await engine.fetch(PARTS, number)
    if not records:
        raise MemberNotFound(number)
    data, score, shortfall, earned = records[0]
    total = score - shortfall
    github = github_points(None if data is None else json.loads(data))
    tier = tier_of(score)
    following = list(ReputationTier)[list(ReputationTier).index(tier) + 1 :]
    return Explanation(
        github=github,
        earned=earned,
        other=total - earned - sum(github.values()),
        score=score,
        tier=tier,
        next_tier=following[0] if following else None,
        missing=TIER_ENDS[tier] + 1 - total if following else 0,
    )


def github_score(profile_data: Mapping[str, Any] | None) -> int:
    """Points for a GitHub account: repositories × 5 + followers × 3 + stars × 2 + contributions × 1.

    A count that is missing, negative or no whole number earns nothing.
    """
    return sum(github_points(profile_data).values())


def github_points(profile_data: Mapping[str, Any] | None) -> dict[str, int]:
    """The points of `github_score`, by what earned them."""
    counts = {name: (profile_data or {}).get(name) for name in GITHUB_POINTS}
    return {
        name: GITHUB_POINTS[name] * count if type(count) is int and count > 0 else 0
        for name, count in counts.items()
    }


def tier_of(score: int) -> ReputationTier:
    """The tier of a score."""
    return next((tier for tier, end in TIER_ENDS.items() if score <= end), ReputationTier.EXPERT)


def scores_of(tier: ReputationTier) -> range:
    """The scores of a tier."""
    tiers = list(ReputationTier)
    below = tiers.index(tier) - 1
    return range(
        TIER_ENDS[tiers[below]] + 1 if below >= 0 else 0, TIER_ENDS.get(tier, MAX_SCORE) + 1
    )
