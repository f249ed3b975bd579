"""Reputation: the parts of a member's score, and the tier that follows from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from community_directory.database import Statement, engine
from community_directory.errors import MemberNotFound
from community_directory.queries.github_counts import read_counts
from community_directory.queries.values import member_number, present_number_sql
from community_directory.tables import ReputationTier

GITHUB_POINTS = {"public_repos": 5, "followers": 3, "stars": 2, "contributions": 1}
"""The points for each repository, follower, star and contribution of a GitHub account."""


class DailyPoints(NamedTuple):
    """The points of one kind of activity: one for every `for_each`, at most `most` in a day."""

    for_each: int
    most: int


DAILY_POINTS = {
    "message_count": DailyPoints(for_each=1, most=5),
    "reaction_count": DailyPoints(for_each=2, most=3),
    "voice_minutes": DailyPoints(for_each=10, most=6),
}
MAX_DAILY_POINTS = 10
"""The maximum points of one day: activity on many days is rewarded, flooding a chat is not."""

MAX_TIER_SCORES = {
    ReputationTier.NOVICE: 100,
    ReputationTier.CONTRIBUTOR: 500,
    ReputationTier.ACTIVE_DEVELOPER: 1000,
    ReputationTier.EXPERIENCED: 2500,
}
"""The highest score of each tier but the last. The trigger on members has the same limits."""
MAX_SCORE = 2**31 - 1

FIND_SCORE_PARTS = Statement(f"""
WITH member AS MATERIALIZED (
    SELECT * FROM community_members
    WHERE member_id = {present_number_sql(":member_id")} AND deleted_at IS NULL
)
SELECT CASE WHEN github_verified_at IS NOT NULL AND NOT is_bot THEN github_profile_data END,
    reputation_score, reputation_shortfall,
    (SELECT coalesce(sum(reputation_earned), 0) FROM member_daily_highlights AS highlight
        WHERE highlight.member_id = (SELECT member_id FROM member WHERE NOT is_bot))
FROM member
""")


def add_points_sql(points: str) -> str:
    """Return the SQL assignments that add points, an SQL expression, to the score of `member`.

    A score is never below zero. The part below zero is stored as the shortfall, so that points that
    are taken and given back, in any order, end in the same score.
    """
    total = f"(member.reputation_score - member.reputation_shortfall + {points})"
    return f"""reputation_score = least(greatest({total}, 0), {MAX_SCORE}),
        reputation_shortfall = least(greatest(-{total}, 0), {MAX_SCORE})"""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The parts of a score, and the distance to the next tier.

    The score is the sum of the three parts, or zero if the sum is below zero.
    """

    github: Mapping[str, int]
    """The points for each count in `github_profile_data`; zeros before the first verification."""
    github_not_found: tuple[str, ...]
    """The counts that the verified data does not have, under none of their names."""
    earned: int
    """The points from the daily highlights."""
    other: int
    """The points that were added by hand or by another program; negative if more were taken."""
    score: int
    tier: ReputationTier
    next_tier: ReputationTier | None
    """None in the highest tier."""
    missing: int
    """The points from the sum to the next tier; 0 in the highest tier."""


async def explain(member_id: str | int) -> Explanation:
    """Return the parts of a member's score, and the distance to the next tier.

    The points of GitHub are those of the stored `github_profile_data`, if it was verified. Points
    that another program added for an unverified account are a part of `other`. A bot has no points.
    The number of a merged member leads to the other one.

    Raises:
        MemberNotFound: No member has this number, or the member was removed.
        InvalidInput: The number is neither a text nor an integer.
    """
    number = member_number(member_id)
    records = await engine.fetch(FIND_SCORE_PARTS, member_id=number)
    if not records:
        raise MemberNotFound(number)
    data, score, shortfall, earned = records[0]
    total = score - shortfall
    profile_data = None if data is None else json.loads(data)
    github = github_points(profile_data)
    tier = tier_of(score)
    following = list(ReputationTier)[list(ReputationTier).index(tier) + 1 :]
    return Explanation(
        github=github,
        github_not_found=()
        if profile_data is None
        else tuple(name for name, count in read_counts(profile_data).items() if count is None),
        earned=earned,
        other=total - earned - sum(github.values()),
        score=score,
        tier=tier,
        next_tier=following[0] if following else None,
        missing=MAX_TIER_SCORES[tier] + 1 - total if following else 0,
    )


def github_score(profile_data: Mapping[str, object] | None) -> int:
    """Return the points of a GitHub account.

    They are repositories × 5 + followers × 3 + stars × 2 + contributions × 1, read under all names
    that GitHub's APIs and other programs use. A count that is missing, negative or not a whole
    number earns nothing.
    """
    return sum(github_points(profile_data).values())


def github_points(profile_data: Mapping[str, object] | None) -> dict[str, int]:
    """Return the points of `github_score` for each count, by the count's name."""
    return {
        name: GITHUB_POINTS[name] * (count or 0)
        for name, count in read_counts(profile_data).items()
    }


def tier_of(score: int) -> ReputationTier:
    """Return the tier of a score."""
    return next(
        (tier for tier, highest in MAX_TIER_SCORES.items() if score <= highest),
        ReputationTier.EXPERT,
    )


def scores_of(tier: ReputationTier) -> range:
    """Return the scores of a tier."""
    tiers = list(ReputationTier)
    below = tiers.index(tier) - 1
    return range(
        MAX_TIER_SCORES[tiers[below]] + 1 if below >= 0 else 0,
        MAX_TIER_SCORES.get(tier, MAX_SCORE) + 1,
    )
