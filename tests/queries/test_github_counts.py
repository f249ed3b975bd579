"""GitHub's counts are the same in every shape in which GitHub's APIs and other programs give them.

Each shape is the worked example: 15 repositories, 50 followers, 200 stars and 500 contributions are
1,125 points.
"""

import json
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.errors import InvalidInput
from community_directory.queries import members
from community_directory.queries.github_counts import COUNT_NAMES, read_counts
from community_directory.queries.reputation import GITHUB_POINTS, explain, github_score
from tests.tables import rows

COUNTS = {"public_repos": 15, "followers": 50, "stars": 200, "contributions": 500}
POINTS = {"public_repos": 75, "followers": 150, "stars": 400, "contributions": 500}
STARRED = [{"stargazerCount": 120}, {"stargazerCount": 80}, {"name": "notes"}]
ACCOUNT: dict[str, Any] = {
    "login": "ana",
    "repositories": {"totalCount": 15, "nodes": STARRED},
    "followers": {"totalCount": 50},
    "following": {"totalCount": 7},
    "starredRepositories": {"totalCount": 9000},
    "repositoriesContributedTo": {"totalCount": 9000},
    "contributionsCollection": {
        "totalCommitContributions": 400,
        "restrictedContributionsCount": 3,
        "contributionCalendar": {"totalContributions": 500, "weeks": []},
    },
}
SHAPES: dict[str, dict[str, Any]] = {
    "own names": COUNTS,
    "other names": {
        "public_repos": 15,
        "followers": 50,
        "total_stars": 200,
        "contributions_last_year": 500,
    },
    "camel case": {
        "publicRepos": 15,
        "followersCount": 50,
        "totalStars": 200,
        "totalContributions": 500,
    },
    "names of statistics": {
        "total_repos": 15,
        "followers_count": 50,
        "stars_count": 200,
        "total_contributions_last_year": 500,
    },
    "an account of the REST API with counts of another program": {
        "login": "ana",
        "public_repos": 15,
        "public_gists": 9000,
        "followers": 50,
        "following": 9000,
        "stats": {"stargazersCount": 200, "contributions": 500},
    },
    "repositories of the REST API": {
        "repos": [{"stargazers_count": 200}, *({"stargazers_count": 0} for _ in range(14))],
        "followers": 50,
        "contributions": 500,
    },
    "GraphQL": ACCOUNT,
    "a response of GraphQL": {"data": {"user": ACCOUNT}},
    "a response about the viewer": {"data": {"viewer": ACCOUNT}, "errors": []},
    "a user": {"user": ACCOUNT},
    "edges": {
        **ACCOUNT,
        "repositories": {"totalCount": 15, "edges": [{"node": node} for node in STARRED]},
    },
    "stars as connections": {
        **ACCOUNT,
        "repositories": {
            "totalCount": 15,
            "nodes": [{"stargazers": {"totalCount": stars}} for stars in (150, 50)],
        },
    },
    "a calendar without its collection": {
        **{name: value for name, value in ACCOUNT.items() if name != "contributionsCollection"},
        "contributionCalendar": {"totalContributions": 500},
    },
    "aliases of a query": {
        "publicRepositories": {"totalCount": 15},
        "repositories": {"nodes": STARRED},
        "followers": {"totalCount": 50},
        "contributions": {"contributionCalendar": {"totalContributions": 500}},
    },
    "contributions by kind": {
        **ACCOUNT,
        "contributionsCollection": {
            "totalCommitContributions": 400,
            "totalIssueContributions": 40,
            "totalPullRequestContributions": 30,
            "totalPullRequestReviewContributions": 20,
            "totalRepositoryContributions": 7,
            "restrictedContributionsCount": 3,
            "totalRepositoriesWithContributedCommits": 9000,
        },
    },
    "a malformed count beside a good one": {**COUNTS, "stars": "many", "total_stars": 200},
    "a total above the listed repositories": {**ACCOUNT, "total_stars": 200, "repos": [{}]},
}


@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES.keys())
def test_the_worked_example_has_its_points_in_every_shape(data: dict[str, Any]) -> None:
    assert read_counts(data) == COUNTS
    assert github_score(data) == 1125


@pytest.mark.parametrize("data", SHAPES.values(), ids=SHAPES.keys())
async def test_every_shape_is_stored_as_it_is_and_earns_its_points(
    directory: asyncpg.Pool, data: dict[str, Any]
) -> None:
    await rows.member(directory)
    member = await members.verify_github("#1", github_username="ana", github_profile_data=data)
    assert member.reputation_score == 1125
    stored = await directory.fetchval("SELECT github_profile_data FROM community_members")
    assert json.loads(stored) == data
    explained = await explain("#1")
    assert (explained.github, explained.github_not_found, explained.other) == (POINTS, (), 0)


def test_every_count_has_points() -> None:
    assert COUNT_NAMES.keys() == GITHUB_POINTS.keys()


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"data": {"user": None}, "errors": [{"type": "NOT_FOUND"}]},
        {"starred": 5, "stargazers": 9, "following": 3, "public_gists": 2, "total_count": 8},
        {"followers": [1, 2], "repositories": [], "stars": {"a": 7}, "contributions": {}},
        {"followers": "50", "stars": 1.5, "contributions": True, "public_repos": -1},
        {"repositories": {"nodes": [None, 7], "edges": "none"}, "user": "ana", "data": [COUNTS]},
    ],
)
def test_other_data_has_no_counts(data: dict[str, Any] | None) -> None:
    assert read_counts(data) == dict.fromkeys(COUNTS)


def test_a_count_of_zero_is_found() -> None:
    assert read_counts(dict.fromkeys(COUNTS, 0)) == dict.fromkeys(COUNTS, 0)
    assert read_counts({"stars": 0, "total_stars": 7})["stars"] == 0


def test_of_two_spellings_of_a_name_the_same_one_counts_in_any_order() -> None:
    spellings = {"total_stars": 5, "totalStars": 7, "Total-Stars": 9}
    for data in (spellings, dict(reversed(spellings.items()))):
        assert read_counts(data)["stars"] == 9


async def test_an_explanation_names_the_counts_that_were_not_found(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    assert (await explain("#1")).github_not_found == ()
    for data, missing in (
        ({}, tuple(COUNTS)),
        ({"total_stars": 3, "login": "ana"}, ("public_repos", "followers", "contributions")),
        ({**COUNTS, "followers": "many"}, ("followers",)),
        (COUNTS, ()),
    ):
        await members.verify_github("#1", github_username="ana", github_profile_data=data)
        assert (await explain("#1")).github_not_found == missing


# The spellings of all names, and junk in place of their values.
KEYS = st.sampled_from(
    [name for names in COUNT_NAMES.values() for name in names]
    + ["total_stars", "totalStars", "Total-Stars", "data", "user", "nodes", "node", "totalCount"]
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(st.dictionaries(KEYS, DATA, max_size=6))
def test_the_counts_of_any_data_do_not_depend_on_the_order_of_its_keys(
    data: dict[str, Any],
) -> None:
    counts = read_counts(data)
    assert all(count is None or count >= 0 for count in counts.values())
    assert read_counts(dict(reversed(data.items()))) == counts


@pytest.mark.parametrize("count", [1e16, 1.5e300, 10**16])
async def test_a_count_that_is_stored_as_a_whole_number_is_read_as_one(
    directory: asyncpg.Pool, count: float
) -> None:
    await rows.member(directory)
    with pytest.raises(InvalidInput):
        await members.verify_github(
            "#1", github_username="ana", github_profile_data={"public_repos": count}
        )


@pytest.mark.parametrize(
    ("repositories", "stars"),
    [
        ({"totalCount": 0, "nodes": []}, 0),
        (0, 0),
        ({"totalCount": 2, "nodes": []}, None),
        ({"totalCount": 2, "nodes": [None, {}]}, None),
        ({"nodes": None}, None),
    ],
)
def test_an_account_without_repositories_has_no_stars(
    repositories: object, stars: int | None
) -> None:
    assert read_counts({"repositories": repositories})["stars"] == stars
