"""The counts of a GitHub account, under each of the names that GitHub and other programs use.

A name is read in any spelling: `total_stars`, `totalStars` and `Total-Stars` are the same name.
"""

from collections.abc import Iterable, Iterator, Mapping

Fields = Mapping[str, object]
"""The fields of a JSON object, by their names in lower case, without `_` and `-`."""

COUNT_NAMES = {
    "public_repos": (
        *("publicrepos", "publicrepositories", "repositories", "repos", "totalrepos"),
        *("totalrepositories", "reposcount", "repocount", "repositorycount", "repositoriescount"),
    ),
    "followers": ("followers", "followerscount", "followercount", "totalfollowers"),
    "stars": (
        *("stars", "totalstars", "starscount", "starcount", "stargazerscount", "stargazercount"),
        *("totalstargazers", "starsreceived"),
    ),
    "contributions": (
        *("contributions", "contributionslastyear", "totalcontributions"),
        *("totalcontributionslastyear", "contributionscount", "contributioncount"),
        *("contributionscollection", "contributioncalendar"),
    ),
}
"""The names of each count; the first one that has a count is read."""

CONTAINER_NAMES = ("data", "user", "viewer", "profile", "stats")
"""The names of objects whose fields are read like those of the account itself."""
NESTED_NAMES = ("totalcount", "totalcontributions", "contributioncalendar")
"""The names of a count inside an object, as GitHub's GraphQL API gives it."""
CONTRIBUTION_NAMES = (
    *("totalcommitcontributions", "totalissuecontributions", "totalpullrequestcontributions"),
    *("totalpullrequestreviewcontributions", "totalrepositorycontributions"),
    "restrictedcontributionscount",
)
"""The counts of a `contributionsCollection`; their sum is read if it has no calendar."""
STAR_NAMES = ("stargazercount", "stargazerscount", "stargazers", "stars", "starscount")
"""The names of the stars of one repository."""


def read_counts(profile_data: Mapping[str, object] | None) -> dict[str, int | None]:
    """Return the number of repositories, followers, stars and contributions of an account.

    The data is an answer of GitHub's REST or GraphQL API, or the data of another program. A count
    is a whole number, or the `totalCount` or `totalContributions` of an object. A missing total is
    the sum of its parts: of the listed repositories, their stars, or the kinds of contributions. An
    account without repositories has no stars.

    Returns:
        Each count by its name in `COUNT_NAMES`; None if the data has no such count, or only values
        that are negative or not whole numbers.
    """
    accounts = list(_accounts(_fields(profile_data or {})))
    counts = {
        count: _first_count(account.get(name) for account in accounts for name in names)
        for count, names in COUNT_NAMES.items()
    }
    repositories = _find_repositories(accounts)
    parts: dict[str, list[int | None]] = {
        "public_repos": [1] * len(repositories),
        "stars": [_first_count(map(repository.get, STAR_NAMES)) for repository in repositories],
        "contributions": _find_contributions(accounts),
    }
    found = {
        name: _add_up(parts.get(name, [])) if count is None else count
        for name, count in counts.items()
    }
    if found["public_repos"] == 0 and found["stars"] is None:
        found["stars"] = 0
    return found


def _fields(data: Mapping[str, object]) -> Fields:
    """Return the fields of an object; of two spellings of one name, the first in order counts."""
    return {
        str(name).replace("_", "").replace("-", "").lower(): data[name]
        for name in sorted(data, key=str, reverse=True)
    }


def _accounts(fields: Fields) -> Iterator[Fields]:
    """Yield the fields of the data, and of the objects that contain those of the account."""
    yield fields
    for name in CONTAINER_NAMES:
        inner = fields.get(name)
        if isinstance(inner, Mapping):
            yield from _accounts(_fields(inner))


def _first_count(values: Iterable[object]) -> int | None:
    """Return the first count among these values and the objects that contain one."""
    for value in values:
        count: int | None = None
        if type(value) is int and value >= 0:
            count = value
        elif isinstance(value, Mapping):
            count = _first_count(map(_fields(value).get, NESTED_NAMES))
        if count is not None:
            return count
    return None


def _add_up(counts: Iterable[int | None]) -> int | None:
    """Return the sum of the counts that are known; None if none is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _find_repositories(accounts: Iterable[Fields]) -> list[Fields]:
    """Return the first list of repositories."""
    for account in accounts:
        for name in COUNT_NAMES["public_repos"]:
            if found := [_fields(repository) for repository in _list_nodes(account.get(name))]:
                return found
    return []


def _list_nodes(value: object) -> Iterator[Mapping[str, object]]:
    """Yield the objects of a list, or the nodes of a connection of the GraphQL API."""
    if isinstance(value, Mapping):
        fields = _fields(value)
        yield from _list_nodes(fields.get("nodes") or fields.get("edges"))
    elif isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Mapping):
                node = item.get("node")
                yield node if isinstance(node, Mapping) else item


def _find_contributions(accounts: Iterable[Fields]) -> list[int | None]:
    """Return the counts of the kinds of contributions in the first `contributionsCollection`."""
    for account in accounts:
        for name in COUNT_NAMES["contributions"]:
            collection = account.get(name)
            if isinstance(collection, Mapping):
                fields = _fields(collection)
                return [_first_count([fields.get(kind)]) for kind in CONTRIBUTION_NAMES]
    return []
