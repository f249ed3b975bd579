"""A search in ranges of the score, by two methods each, finds the same as a linear search."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from community_directory.database import connect, engine
from community_directory.errors import InvalidInput
from community_directory.queries import audit, members, search
from community_directory.queries.reputation import MAX_SCORE, scores_of, tier_of
from community_directory.queries.search import SCORE_RANGES, Search, scores_between
from community_directory.tables import ReputationTier
from tests.conftest import Server, new_database, raw_pool
from tests.queries.cases import undone
from tests.tables import rows

SCORES = [
    0,
    0,
    0,
    1,
    2,
    50,
    99,
    100,
    101,
    102,
    500,
    501,
    999,
    1000,
    1001,
    1002,
    2500,
    2501,
    MAX_SCORE,
]
NAMES = ["Ana García", "Mariana Ruiz", "Zoe", "Luis Ányel", "Bo", "Diana"]
ORGANIZATIONS = [None, "Frutero Club", "Banana Labs"]


@dataclass(frozen=True)
class Person:
    """The values of a member that a search compares and sorts by."""

    score: int
    id: str
    member_id: str
    text: str
    status: str
    role: str
    country: str | None
    is_removed: bool


@pytest.fixture(scope="module")
async def url(server: Server, template: str) -> AsyncIterator[str]:
    """Yield the URL of a database of 3,000 random members; no test writes to it."""
    chance = random.Random(11)
    people = [
        (
            str(n + 1),
            f"{chance.choice(NAMES)} {n}",
            chance.choice([None, f"user_{n}"]),
            chance.choice(ORGANIZATIONS),
            chance.choice([None, f"git-{n}"]),
            chance.choice(["developer", "designer"]),
            chance.choice([None, "Chile", "Perú"]),
            chance.choice(["active", "active", "active", "pending", "not_member", "banned"]),
            chance.choice(SCORES),
            chance.random() < 0.1,
        )
        for n in range(3000)
    ]
    async with new_database(server, template) as url:
        connection = await asyncpg.connect(url)
        await connection.executemany(
            """
            INSERT INTO community_members (telegram_id, name, telegram_username, organization,
                github_username, primary_role, country, status, reputation_score, deleted_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $10 THEN now() END)
            """,
            people,
        )
        await connection.execute("VACUUM ANALYZE community_members")
        await connection.close()
        yield url


@pytest.fixture
async def directory(url: str) -> AsyncIterator[asyncpg.Pool]:
    async with connect(url, min_size=0), raw_pool(url) as pool:
        yield pool


@pytest.fixture
async def people(directory: asyncpg.Pool) -> list[Person]:
    """Return all members, best first."""
    found = await directory.fetch(
        """
        SELECT reputation_score, id::text, member_id,
            lower(translate(concat_ws(' ', name, coalesce(telegram_username, ''),
            coalesce(organization, ''), coalesce(github_username, '')), 'áíÁ', 'aia')),
            status, primary_role, country, deleted_at IS NOT NULL
        FROM community_members
        """
    )
    return sorted(
        (Person(*record) for record in found),
        key=lambda person: (person.score, person.id),
        reverse=True,
    )


@contextmanager
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """Record the statements that are sent, and their parameters."""
    statements: list[tuple[Any, ...]] = []
    original = engine.fetch

    async def fetch(*statement: Any) -> list[Any]:
        statements.append(statement)
        return await original(*statement)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "fetch", fetch)
        yield statements


def naive(people: list[Person], text: str, **asked: Any) -> list[str]:
    """Return the numbers of the matching members, best first, by a linear search."""
    status = asked.get("status", "active")
    least, most, tier = asked.get("min_reputation"), asked.get("max_reputation"), asked.get("tier")
    return [
        person.member_id
        for person in people
        if not person.is_removed
        and text.strip().lower() in person.text
        and status in (None, person.status)
        and asked.get("role") in (None, person.role)
        and asked.get("country") in (None, person.country)
        and (least is None or person.score >= least)
        and (most is None or person.score <= most)
        and tier in (None, tier_of(person.score))
    ]


def questions(seed: int, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    chance = random.Random(seed)
    edges = [*SCORES, -1, 3, 400, 1003, 5000]
    for _ in range(number):
        text = chance.choice(
            [
                "ana",
                "ANA",
                " ana ",
                "user_",
                "git-1",
                "garcia",
                "user_29",
                "a 17",
                "banana labs",
                "diana 2",
                "nobody has it",
            ]
        )
        asked: dict[str, Any] = {"limit": chance.choice([1, 2, 3, 7, 20, 100])}
        if chance.random() < 0.5:
            asked["status"] = chance.choice([None, "pending", "banned"])
        for name, values in (
            ("role", ["developer", "designer", "nobody has it"]),
            ("country", ["Chile", "Perú"]),
            ("min_reputation", edges),
            ("max_reputation", edges),
            ("tier", list(ReputationTier)),
        ):
            if chance.random() < 0.25:
                asked[name] = chance.choice(values)
        yield text, asked


@pytest.mark.parametrize("window", [1, 5, 60, 100_000])
async def test_every_page_is_the_same_as_that_of_a_linear_search(
    directory: asyncpg.Pool, people: list[Person], monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(search, "WINDOW_SIZE", window)
    found_any = pages = 0
    for text, asked in questions(window, 120):
        expected = naive(people, text, **asked)
        # The first pages of a long list are enough.
        after = None
        for at in range(0, max(len(expected), 1), asked["limit"]):
            page = await members.search(text, after=after, **asked)
            pages += 1
            assert [member.member_id for member in page.items] == expected[
                at : at + asked["limit"]
            ], (text, asked, at)
            assert (page.next_cursor is None) == (at + asked["limit"] >= len(expected))
            after = page.next_cursor
            if at >= 4 * asked["limit"]:
                break
        found_any += bool(expected)
    assert 40 < found_any < 120
    assert pages > 200


async def test_a_cursor_continues_after_its_row_in_every_range(
    directory: asyncpg.Pool, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW_SIZE", 5)
    found = naive(people, "ana")
    scores = {person.member_id: person.score for person in people}
    ends = [n for n in range(1, len(found)) if scores[found[n]] != scores[found[n - 1]]]
    assert {scores[found[n]] for n in ends} >= {0, 1, 100, 101, 1000, 1001}
    for end in ends:
        # The last member of a score, the one before, and the first of the next score.
        for limit in {max(end - 1, 1), end, end + 1}:
            turned: list[str] = []
            after = None
            while len(turned) < limit:  # to that very place
                page = await members.search("ana", after=after, limit=min(limit - len(turned), 100))
                turned += [member.member_id for member in page.items]
                after = page.next_cursor
            page = await members.search("ana", after=after, limit=3)
            assert [member.member_id for member in page.items] == found[limit : limit + 3]


# The method, and the number of statements


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def scanned(directory: asyncpg.Pool, statement: tuple[Any, ...]) -> dict[str, int]:
    """Return how often each index of the plan was read; zero if it was not."""
    plan = json.loads(
        await directory.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement[0]}", *statement[1:])
    )
    return {
        node["Index Name"]: node["Actual Loops"]
        for node in nodes(plan[0]["Plan"])
        if "Index Name" in node
    }


@pytest.mark.parametrize(
    ("text", "is_common"),
    [("ana", True), ("user_", True), ("user_2999", False), ("nobody has it", False)],
)
async def test_the_text_index_is_used_for_rare_texts_only(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, text: str, *, is_common: bool
) -> None:
    monkeypatch.setattr(search, "WINDOW_SIZE", 100)
    with sent(monkeypatch) as statements:
        await members.search(text, status=None, limit=5)
    assert len(statements) == (1 if is_common else len(SCORE_RANGES))
    async with undone() as current:
        # PostgreSQL would otherwise read the whole table, because it is small.
        await current.connection.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"
        )
        for statement, scores in zip(statements, SCORE_RANGES, strict=False):
            loops = await scanned(current.connection, statement)
            assert (scores, loops[f"member_search_{scores.start}_idx"]) == (
                scores,
                0 if is_common else 1,
            )


async def test_a_member_who_moves_to_another_range_between_two_statements_is_found_once(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with undone() as current:
        numbers = [
            (
                await rows.member(
                    current.connection, name="Xyzzy", status="active", reputation_score=score
                )
            )["member_id"]
            for score in (1500, 300)
        ]
        original = engine.fetch

        async def fetch(*statement: Any) -> list[Any]:
            records = await original(*statement)
            await current.connection.execute(
                "UPDATE community_members SET reputation_score = 200 WHERE member_id = $1",
                numbers[0],
            )
            return records

        monkeypatch.setattr(engine, "fetch", fetch)
        assert [member.member_id for member in (await members.search("xyzzy")).items] == numbers


@pytest.mark.parametrize("sort", ["newest", "active", "name"])
async def test_another_order_uses_the_text_indexes_of_all_ranges(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, sort: search.Sort
) -> None:
    with sent(monkeypatch) as statements:
        assert (await members.search("user_29", status=None, sort=sort)).items
    async with undone() as current:
        await current.connection.execute("SET LOCAL enable_seqscan = off")
        loops = await scanned(current.connection, statements[0])
    # Other indexes find whoever has this username on another account.
    expected = {f"member_search_{scores.start}_idx": 1 for scores in SCORE_RANGES}
    assert loops.items() >= expected.items()
    assert loops["member_account_username_idx"] == 1


async def test_a_range_that_was_read_to_its_end_uses_no_text_index(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sent(monkeypatch) as statements:
        await members.search("nobody has it", status=None)
    async with undone() as current:
        await current.connection.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off"
        )
        for statement, scores in zip(statements, SCORE_RANGES, strict=True):
            loops = await scanned(current.connection, statement)
            assert loops[f"member_search_{scores.start}_idx"] == 0


FIRST, SECOND, THIRD, LAST = SCORE_RANGES.values()


@pytest.mark.parametrize(
    ("asked", "ranges"),
    [
        ({"limit": 5}, [FIRST]),
        ({"min_reputation": 1001}, [FIRST]),
        ({"min_reputation": 1000}, [FIRST, SECOND]),
        ({"min_reputation": 100}, [FIRST, SECOND, THIRD]),
        ({"min_reputation": 1}, [FIRST, SECOND, THIRD]),
        ({"min_reputation": 0}, [FIRST, SECOND, THIRD, LAST]),
        ({"max_reputation": 1001}, [FIRST, SECOND, THIRD, LAST]),
        ({"max_reputation": 1000}, [SECOND, THIRD, LAST]),
        ({"max_reputation": 1}, [THIRD, LAST]),
        ({"max_reputation": 0}, [LAST]),
        ({"max_reputation": -1}, []),
        ({"tier": "Contributor"}, [SECOND]),
        ({"tier": "Expert", "max_reputation": 7}, []),
    ],
    ids=str,
)
async def test_only_ranges_that_can_contain_a_match_are_searched(
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, Any],
    ranges: list[str],
) -> None:
    text = "ana" if "limit" in asked else "nobody has it"
    with sent(monkeypatch) as statements:
        page = await members.search(text, **asked)
    assert [
        next(each for each in SCORE_RANGES.values() if each in sql) for sql, *_ in statements
    ] == ranges
    assert len(page.items) == asked.get("limit", 0)


@pytest.mark.parametrize(
    ("score", "ranges"),
    [
        (1002, [FIRST, SECOND, THIRD, LAST]),
        (1001, [FIRST, SECOND, THIRD, LAST]),
        (1000, [SECOND, THIRD, LAST]),
        (101, [SECOND, THIRD, LAST]),
        (100, [THIRD, LAST]),
        (1, [THIRD, LAST]),
        (0, [LAST]),
    ],
)
def test_ranges_above_a_cursor_are_not_searched(score: int, ranges: list[str]) -> None:
    wanted = Search(
        text="ana",
        equal={},
        scores=range(MAX_SCORE + 1),
        sort="reputation",
        cursor=[score, None],
        limit=2,
    )
    assert list(wanted._score_ranges()) == ranges


async def test_only_as_many_ranges_are_searched_as_the_page_needs(
    directory: asyncpg.Pool, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [person for person in people if person.score > 1000]
    in_first = len(naive(first, "ana", role="designer", country="Chile"))
    assert 10 < in_first < 100
    # One row more than the page has tells whether another page follows.
    for limit, number in ((in_first - 1, 1), (in_first, 2), (in_first + 1, 2)):
        with sent(monkeypatch) as statements:
            page = await members.search("ana", role="designer", country="Chile", limit=limit)
        assert (len(statements), len(page.items)) == (number, limit)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"text": "an"},
        {"text": "r_1"},
        {"text": " "},
        *({"text": "ana", "sort": sort} for sort in ("newest", "active", "name")),
    ],
    ids=str,
)
async def test_other_searches_are_one_statement(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    with sent(monkeypatch) as statements:
        page = await members.search(**asked, status=None, min_reputation=1)
    assert page.items
    assert len(statements) == 1


@pytest.mark.parametrize("text", [None, "an", "ana"])
async def test_other_searches_keep_the_same_limits(
    directory: asyncpg.Pool, people: list[Person], text: str | None
) -> None:
    for score in sorted({*SCORES, 3}):
        for least, most in ((score, score), (score, None), (None, score)):
            asked: dict[str, Any] = {"min_reputation": least, "max_reputation": most}
            expected = naive(people, text or "", **asked)
            page = await members.search(text, sort="newest", limit=100, **asked)
            found = {member.member_id for member in page.items}
            assert len(found) == min(len(expected), 100)
            assert found <= set(expected)


async def test_the_ranges_cover_every_score_once_and_their_sql_agrees(
    directory: asyncpg.Pool,
) -> None:
    scores = [0, 1, 2, 99, 100, 101, 102, 999, 1000, 1001, 1002, MAX_SCORE - 1, MAX_SCORE]
    for score in scores:
        assert sum(score in each for each in SCORE_RANGES) == 1
        for each, condition in SCORE_RANGES.items():
            sql = f"SELECT {condition} FROM (SELECT $1::int AS reputation_score) AS member"
            assert await directory.fetchval(sql, score) == (score in each)


@pytest.mark.parametrize(
    ("least", "most", "tier", "scores"),
    [
        (None, None, None, range(MAX_SCORE + 1)),
        (5, None, None, range(5, MAX_SCORE + 1)),
        (None, 5, None, range(6)),
        (5, 5, None, range(5, 6)),
        (-5, None, None, range(MAX_SCORE + 1)),
        (None, MAX_SCORE, None, range(MAX_SCORE + 1)),
        (None, None, "Contributor", scores_of(ReputationTier.CONTRIBUTOR)),
        (200, 300, "Contributor", range(200, 301)),
        (50, 5000, "Contributor", range(101, 501)),
        (MAX_SCORE, MAX_SCORE, "Expert", range(MAX_SCORE, MAX_SCORE + 1)),
    ],
)
def test_limits_and_a_tier_are_combined(
    least: int | None, most: int | None, tier: str | None, scores: range
) -> None:
    assert scores_between(least, most, tier) == scores


@pytest.mark.parametrize(
    ("least", "most", "tier", "field"),
    [
        (MAX_SCORE + 1, None, None, "min_reputation"),
        (-MAX_SCORE - 1, None, None, "min_reputation"),
        (None, MAX_SCORE + 1, None, "max_reputation"),
        (None, -MAX_SCORE - 1, None, "max_reputation"),
        (None, 10**30, None, "max_reputation"),
        (None, None, "novice", "tier"),
        (None, None, "", "tier"),
    ],
)
async def test_unknown_scores_and_tiers_are_refused(
    directory: asyncpg.Pool, least: int | None, most: int | None, tier: str | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        scores_between(least, most, tier)
    assert refused.value.field == field
    with pytest.raises(InvalidInput) as refused:
        await members.search("ana", min_reputation=least, max_reputation=most, tier=tier)
    assert refused.value.field == field


# The search text


@pytest.mark.parametrize("column", ["name", "telegram_username", "organization", "github_username"])
async def test_the_search_text_follows_each_of_its_columns(
    directory: asyncpg.Pool, column: str
) -> None:
    async with undone() as current:
        member = await rows.member(current.connection, status="active", name="Zyx")
        number = member["member_id"]
        assert member["search_text"] == "zyx"
        texts = {"Wörld-Wide": "world-wide", "Ñandú": "nandu", "Café": "cafe"}
        if column.endswith("_username"):
            texts = {"World_Wide": "world_wide", "NANDU": "nandu", "Cafe": "cafe"}
        for text, plain in texts.items():
            await current.connection.execute(
                f"UPDATE community_members SET {column} = $2 WHERE member_id = $1", number, text
            )
            stored = await current.connection.fetchval(
                "SELECT search_text FROM community_members WHERE member_id = $1", number
            )
            assert plain in stored
            assert [
                found.member_id
                for found in (await members.search(plain, status="active", limit=100)).items
            ] == [number]
        changes = [
            change for entry in (await audit.history(number)).items for change in entry.changes
        ]
        assert column in changes
        assert "search_text" not in changes


async def test_the_search_text_is_not_editable_and_not_in_the_log_or_an_export(
    directory: asyncpg.Pool,
) -> None:
    async with undone() as current:
        member = await rows.member(
            current.connection, name="Zyx", updated_at=await _long_ago(current.connection)
        )
        number = member["member_id"]
        before = (await audit.history(number)).items
        await current.connection.execute(
            "UPDATE community_members SET last_active_at = now() WHERE member_id = $1", number
        )
        after = await current.connection.fetchrow(
            "SELECT * FROM community_members WHERE member_id = $1", number
        )
        assert after["last_active_at"] is not None
        assert {**after, "last_active_at": None} == {**member, "last_active_at": None}
        assert (await audit.history(number)).items == before
        exported = await members.export(number)
        assert "Zyx" in json.dumps(exported, default=str)
        assert "search_text" not in json.dumps(exported, default=str)
        await current.connection.execute(
            "UPDATE community_members SET name = 'Xyz' WHERE member_id = $1", number
        )
        edited = await current.connection.fetchrow(
            "SELECT * FROM community_members WHERE member_id = $1", number
        )
        assert edited["updated_at"] > member["updated_at"]
        assert (await audit.history(number)).items[0].changes.keys() == {"name"}


async def _long_ago(database: rows.Database) -> Any:
    return await database.fetchval("SELECT now() - interval '1 year'")
