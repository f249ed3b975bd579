"""Reputation: the formula, and the tiers, which have the same limits in Python and PostgreSQL."""

import asyncio
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.errors import MemberNotFound
from community_directory.queries import highlights, members
from community_directory.queries.reputation import (
    DAILY_POINTS,
    GITHUB_POINTS,
    MAX_DAILY_POINTS,
    MAX_SCORE,
    MAX_TIER_SCORES,
    Explanation,
    explain,
    github_points,
    github_score,
    tier_of,
)
from community_directory.tables import ReputationTier
from tests.database.test_migrations import session
from tests.tables import rows
from tests.waiting import until_waiting

VERIFIED = {
    "github_verified": True,
    "github_username": "ana",
    "github_verified_at": datetime(2026, 1, 31, 12, tzinfo=UTC),
}


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
def test_a_tier_reaches_from_its_lowest_to_its_highest_score(
    tier: str, lowest: int, highest: int
) -> None:
    assert tier_of(lowest) == tier_of(highest) == tier
    assert isinstance(tier_of(lowest), ReputationTier)


def test_every_tier_but_the_last_has_a_highest_score() -> None:
    assert [*MAX_TIER_SCORES, ReputationTier.EXPERT] == list(ReputationTier)


async def test_the_database_has_the_same_tiers(directory: asyncpg.Pool) -> None:
    scores = sorted(
        {0, 2**31 - 1, *(end + step for end in MAX_TIER_SCORES.values() for step in (-1, 0, 1))}
    )
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
    assert (
        github_score({"public_repos": 10, "followers": 20, "stars": 30, "contributions": 40}) == 210
    )


@pytest.mark.parametrize(
    "data", [None, {}, MappingProxyType({}), {"login": "ana", "stargazers": 9}]
)
def test_missing_data_earns_nothing(data: Mapping[str, Any] | None) -> None:
    assert github_score(data) == 0


@pytest.mark.parametrize(
    "junk", [None, -1, "7", "", 7.0, 1.5, math.nan, math.inf, True, False, [7], {"a": 7}, b"7"]
)
@pytest.mark.parametrize("name", GITHUB_POINTS)
def test_a_malformed_count_earns_nothing_and_the_others_count(name: str, junk: object) -> None:
    others = {other: 1 for other in GITHUB_POINTS if other != name}
    assert github_score({**others, name: junk}) == github_score(others)


@given(
    st.dictionaries(
        st.sampled_from(list(GITHUB_POINTS)) | st.text(),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.integers()),
    )
)
def test_any_data_earns_zero_points_or_more(data: dict[str, Any]) -> None:
    assert github_score(data) >= 0


async def test_a_score_is_explained_part_by_part(directory: asyncpg.Pool) -> None:
    data = {"public_repos": 10, "followers": 5, "stars": 0, "contributions": "many", "login": "ana"}
    await rows.member(directory, **VERIFIED, github_profile_data=data, reputation_score=90)
    for day, earned in ((1, 8), (2, 10), (3, 2)):
        await rows.highlight(
            directory,
            member_id="#1",
            highlight_date=date(2026, 1, day),
            reputation_earned=earned,
            message_count=99,
        )
    await rows.highlight(directory, reputation_earned=1000)
    assert await explain("#1") == Explanation(
        github={"public_repos": 50, "followers": 15, "stars": 0, "contributions": 0},
        github_not_found=("contributions",),
        earned=20,
        other=5,
        score=90,
        tier=ReputationTier.NOVICE,
        next_tier=ReputationTier.CONTRIBUTOR,
        missing=11,
    )


async def test_a_score_of_zero_is_explained(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    assert await explain("#1") == Explanation(
        github=dict.fromkeys(GITHUB_POINTS, 0),
        github_not_found=(),
        earned=0,
        other=0,
        score=0,
        tier=ReputationTier.NOVICE,
        next_tier=ReputationTier.CONTRIBUTOR,
        missing=101,
    )


async def test_points_that_were_given_or_taken_by_hand_are_the_other_part(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(
        directory, **VERIFIED, github_profile_data={"stars": 50}, reputation_score=150
    )
    await rows.highlight(directory, member_id="#1", reputation_earned=10)
    assert (await explain("#1")).other == 40
    await directory.execute("UPDATE community_members SET reputation_score = 3")
    explained = await explain("#1")
    assert (explained.other, explained.score, explained.missing) == (-107, 3, 98)


async def test_the_other_part_is_zero_when_github_and_the_days_earned_all_points(
    directory: asyncpg.Pool,
) -> None:
    await rows.event(directory, occurred_at=noon(DAYS[0]))
    await highlights.roll_up(DAYS[0])
    await members.verify_github("#1", github_username="ana", github_profile_data={"stars": 50})
    explained = await explain("#1")
    assert (explained.earned, explained.score, explained.other) == (1, 101, 0)


async def test_points_given_by_hand_survive_a_verification(directory: asyncpg.Pool) -> None:
    await rows.member(directory, reputation_score=500)
    for data, score in (({"stars": 50}, 600), ({"stars": 20, "followers": 1}, 543), ({}, 500)):
        member = await members.verify_github("#1", github_username="ana", github_profile_data=data)
        assert (member.reputation_score, (await explain("#1")).other) == (score, 500)


async def test_data_that_was_stored_without_points_earns_them_when_it_is_verified(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, reputation_score=7)
    await directory.execute(
        "UPDATE community_members SET github_profile_data = $1", '{"stars": 50}'
    )
    explained = await explain("#1")
    assert (sum(explained.github.values()), explained.other, explained.score) == (0, 7, 7)
    member = await members.verify_github(
        "#1", github_username="ana", github_profile_data={"stars": 50}
    )
    explained = await explain("#1")
    assert (sum(explained.github.values()), explained.other, explained.score) == (100, 7, 107)
    assert member.reputation_score == 107


async def test_an_account_that_is_verified_again_earns_its_points_once(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    for _ in range(2):
        await members.verify_github("#1", github_username="ana", github_profile_data={"stars": 50})
        await directory.execute("UPDATE community_members SET github_verified = false")
        explained = await explain("#1")
        assert (sum(explained.github.values()), explained.other, explained.score) == (100, 0, 100)


async def test_a_shortfall_adds_to_the_distance_to_the_next_tier(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await members.verify_github("#1", github_username="ana", github_profile_data={"stars": 50})
    await directory.execute("UPDATE community_members SET reputation_score = 30")
    await members.verify_github("#1", github_username="ana", github_profile_data={})
    explained = await explain("#1")
    assert (explained.score, explained.other, explained.missing) == (0, -70, 171)
    member = await members.verify_github(
        "#1", github_username="ana", github_profile_data={"stars": 50}
    )
    assert member.reputation_score == 30


async def test_a_score_stops_at_the_largest_integer(directory: asyncpg.Pool) -> None:
    await rows.member(directory, reputation_score=MAX_SCORE - 5)
    member = await members.verify_github(
        "#1", github_username="ana", github_profile_data={"stars": 50}
    )
    assert member.reputation_score == MAX_SCORE


async def test_a_shortfall_stops_at_the_largest_integer(directory: asyncpg.Pool) -> None:
    await rows.member(directory, **VERIFIED, github_profile_data={"stars": 10**12})
    member = await members.verify_github(
        "#1", github_username="ana", github_profile_data={"stars": 50}
    )
    assert (member.reputation_score, (await explain("#1")).missing) == (0, 101 + MAX_SCORE)


async def test_the_last_of_two_verifications_at_once_counts(
    directory: asyncpg.Pool, database: str
) -> None:
    await rows.member(directory, reputation_score=7)
    async with session(database) as other, session(database) as observer:
        await other.execute("BEGIN; SELECT FROM community_members FOR UPDATE")
        both = [
            asyncio.create_task(
                members.verify_github(
                    "#1", github_username="ana", github_profile_data={"stars": stars}
                )
            )
            for stars in (50, 80)
        ]
        await until_waiting(observer, 2)
        await other.execute("ROLLBACK")
        await asyncio.gather(*both)
    explained = await explain("#1")
    assert (explained.score, explained.other) == (7 + sum(explained.github.values()), 7)


@pytest.mark.parametrize(
    ("score", "next_tier", "missing"),
    [
        (100, "Contributor", 1),
        (101, "Active Developer", 400),
        (500, "Active Developer", 1),
        (1000, "Experienced", 1),
        (1001, "Expert", 1500),
        (2500, "Expert", 1),
        (2501, None, 0),
        (2**31 - 1, None, 0),
    ],
)
async def test_the_distance_to_the_next_tier_is_explained(
    directory: asyncpg.Pool, score: int, next_tier: str | None, missing: int
) -> None:
    member = await rows.member(directory, reputation_score=score)
    explained = await explain("#1")
    assert (explained.tier, explained.next_tier, explained.missing) == (
        member["reputation_tier"],
        next_tier,
        missing,
    )


async def test_the_score_of_an_unknown_or_removed_member_is_not_explained(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await members.remove("#1", actor="Luis")
    for number in ("#1", "#2", "", "nobody at all, by a number that is much too long"):
        with pytest.raises(MemberNotFound) as missing:
            await explain(number)
        assert missing.value.member_id == number


COUNTS = (
    st.integers(-5, 2000) | st.booleans() | st.text("7ä ", max_size=3) | st.floats(0, 9) | st.none()
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.none() | st.dictionaries(st.sampled_from([*GITHUB_POINTS, "login"]), COUNTS),
    days=st.lists(st.none() | st.integers(0, 2**31 - 1), max_size=4),
    score=st.integers(0, 5000) | st.integers(0, 2**31 - 1),
    verified=st.booleans(),
)
async def test_the_parts_always_add_up_to_the_score(
    directory: asyncpg.Pool,
    *,
    data: dict[str, Any] | None,
    days: list[int | None],
    score: int,
    verified: bool,
) -> None:
    await directory.execute("TRUNCATE community_members CASCADE")
    proof = VERIFIED if verified else {}
    await rows.member(
        directory, member_id="#1", **proof, github_profile_data=data, reputation_score=score
    )
    for day, earned in enumerate(days, start=1):
        await rows.highlight(
            directory, member_id="#1", highlight_date=date(2026, 1, day), reputation_earned=earned
        )
    explained = await explain("#1")
    assert explained.score == score
    assert sum(explained.github.values()) + explained.earned + explained.other == score
    rewarded = data if verified else None
    assert explained.github == github_points(rewarded)
    assert sum(explained.github.values()) == github_score(rewarded)
    assert explained.earned == sum(earned or 0 for earned in days)
    assert explained.tier == tier_of(score)
    if explained.next_tier is not None:
        assert explained.missing > 0
        assert tier_of(score + explained.missing) == explained.next_tier
        assert tier_of(score + explained.missing - 1) == explained.tier


def test_a_day_earns_ten_points_at_the_most() -> None:
    assert DAILY_POINTS == {
        "message_count": (1, 5),
        "reaction_count": (2, 3),
        "voice_minutes": (10, 6),
    }
    assert MAX_DAILY_POINTS == 10


@dataclass
class Model:
    """What the parts of a score should be."""

    given: int = 0
    github: int = 0
    earned: dict[date, int] = field(default_factory=dict)
    messages: Counter[date] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.given + self.github + sum(self.earned.values())

    @property
    def score(self) -> int:
        return max(self.total, 0)

    def set_by_hand(self, score: int) -> None:
        # Zero, where the score is zero already, changes nothing.
        if score != self.score:
            self.given += score - self.total


DAYS = [date(2026, 1, day) for day in (1, 2, 3)]
STEPS = st.one_of(
    st.tuples(st.just("hand"), st.sampled_from([0, 1, 3, 200])),
    st.tuples(st.just("github"), st.sampled_from([0, 1, 40])),
    st.tuples(st.just("message"), st.integers(0, 2)),
    st.tuples(st.just("message"), st.integers(0, 2)),
    st.tuples(st.just("gone"), st.integers(0, 2)),
    st.tuples(st.just("moved"), st.integers(0, 2)),
    st.tuples(st.just("roll-up"), st.integers(0, 2)),
    st.tuples(st.just("roll-up"), st.integers(0, 2)),
    st.tuples(st.just("roll-up of the rest"), st.integers(0, 2)),
)


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


@settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, max_size=25))
async def test_a_score_is_the_sum_of_its_parts_after_any_order_of_changes(
    directory: asyncpg.Pool, steps: list[tuple[str, int]]
) -> None:
    await directory.execute("TRUNCATE community_members, directory_rolled_up_days CASCADE")
    await rows.member(directory, member_id="#1")
    model = Model()

    async def roll_up(since: int, until: int) -> None:
        await highlights.roll_up(DAYS[since], until=DAYS[until])
        model.earned |= {day: min(model.messages[day], 5) for day in DAYS[since : until + 1]}

    for step, number in steps:
        day = DAYS[number % 3]
        match step:
            case "hand":
                await directory.execute(
                    "UPDATE community_members SET reputation_score = $1", number
                )
                model.set_by_hand(number)
            case "github":
                await members.verify_github(
                    "#1", github_username="ana", github_profile_data={"followers": number}
                )
                model.github = 3 * number
            case "message":
                for _ in range(2):
                    await rows.event(directory, member_id="#1", occurred_at=noon(day))
                model.messages[day] += 2
            case "gone":
                await directory.execute(
                    "DELETE FROM member_participation WHERE occurred_at = $1", noon(day)
                )
                model.messages[day] = 0
            case "moved":
                other = DAYS[(number + 1) % 3]
                await directory.execute(
                    "UPDATE member_participation SET occurred_at = $2 WHERE occurred_at = $1",
                    noon(day),
                    noon(other),
                )
                model.messages[other] += model.messages.pop(day, 0)
            case "roll-up":
                await roll_up(number, number)
            case _:
                await roll_up(number, 2)
        explained = await explain("#1")
        assert explained.score == model.score
        assert (explained.earned, sum(explained.github.values())) == (
            sum(model.earned.values()),
            model.github,
        )
        assert explained.other == model.given
        assert explained.tier == tier_of(model.score)
    await roll_up(0, 2)
    assert await highlights.verify(DAYS[0], until=DAYS[-1]) == []
    assert (await explain("#1")).score == model.score
