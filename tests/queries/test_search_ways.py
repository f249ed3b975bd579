"""A search finds the same as a linear search in each of its ways, and chooses the short one."""

import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import asyncpg
import pytest

from community_directory.database import connect, engine
from community_directory.errors import InvalidInput
from community_directory.queries import audit, members, search
from community_directory.queries.conditions import scores_between
from community_directory.queries.folding import fold
from community_directory.queries.reputation import MAX_SCORE, scores_of, tier_of
from community_directory.queries.search import Sort
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
ROLES = ["developer"] * 6 + ["designer"] * 3 + ["lawyer"]
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SORTS: tuple[Sort, ...] = get_args(Sort)


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
    is_bot: bool
    created_at: datetime
    last_active_at: datetime | None
    name: str
    organization: str | None
    github_verified: bool
    invited_by: str | None

    def sort_key(self, sort: Sort) -> tuple[object, str]:
        keys: dict[Sort, object] = {
            "reputation": self.score,
            "newest": self.created_at,
            "active": self.last_active_at or datetime(1970, 1, 1, tzinfo=UTC),
            "name": fold(self.name),
        }
        return keys[sort], self.id


@pytest.fixture(scope="module")
async def url(server: Server, template: str) -> AsyncIterator[str]:
    """Yield the URL of a database of 3,000 random members; no test writes to it."""
    chance = random.Random(11)
    people: list[tuple[Any, ...]] = [
        (
            str(n + 1),
            f"{chance.choice(NAMES)} {n}",
            chance.choice([None, f"user_{n}"]),
            chance.choice(ORGANIZATIONS),
            chance.choice([None, f"git-{n}"]),
            chance.choice(ROLES),
            chance.choice([None, "Chile", "Perú"]),
            chance.choice(["active", "active", "active", "pending", "not_member", "banned"]),
            0 if (is_bot := chance.random() < 0.02) else chance.choice(SCORES),
            chance.random() < 0.1,
            is_bot,
            NOON - timedelta(minutes=n // 3),
            chance.choice([None, NOON - timedelta(minutes=chance.randrange(900))]),
        )
        for n in range(3000)
    ]
    more = random.Random(12)
    people = [
        (*columns, columns[4] is not None and more.random() < 0.7, more.choice([None, "#1", "#2"]))
        for columns in people
    ]
    people[:2] = [(*columns[:-1], None) for columns in people[:2]]
    people = [
        (telegram_id, f"{name} Rookie" if columns[6] <= 2 else name, *columns)
        for telegram_id, name, *columns in people
    ]
    async with new_database(server, template) as url:
        connection = await asyncpg.connect(url)
        await connection.executemany(
            """
            INSERT INTO community_members (telegram_id, name, telegram_username, organization,
                github_username, primary_role, country, status, reputation_score, deleted_at,
                is_bot, created_at, last_active_at, github_verified, github_verified_at, invited_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $10 THEN now() END, $11, $12, $13,
                $14, CASE WHEN $14 THEN now() END, $15)
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
    """Return all members."""
    found = await directory.fetch(
        """
        SELECT reputation_score, id::text, member_id,
            lower(translate(concat_ws(' ', name, coalesce(telegram_username, ''),
            coalesce(organization, ''), coalesce(github_username, '')), 'áíÁ', 'aia')),
            status, primary_role, country, deleted_at IS NOT NULL, is_bot,
            created_at, last_active_at, name, organization, github_verified, invited_by
        FROM community_members
        """
    )
    return [Person(*record) for record in found]


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


def naive(
    people: list[Person], text: str | None, sort: Sort = "reputation", **asked: Any
) -> list[str]:
    """Return the numbers of the matching members in order, by a linear search."""
    status = asked.get("status", "active")
    least, most, tier = asked.get("min_reputation"), asked.get("max_reputation"), asked.get("tier")
    found = [
        person
        for person in people
        if not person.is_removed
        and person.is_bot == asked.get("is_bot", False)
        and (text is None or text.strip().lower() in person.text)
        and status in (None, person.status)
        and asked.get("role") in (None, person.role)
        and asked.get("country") in (None, person.country)
        and (least is None or person.score >= least)
        and (most is None or person.score <= most)
        and tier in (None, tier_of(person.score))
        and asked.get("organization") in (None, person.organization)
        and asked.get("github_verified") in (None, person.github_verified)
        and asked.get("invited_by") in (None, person.invited_by)
        and person.created_at >= asked.get("joined_since", person.created_at)
        and (
            "inactive_for" not in asked
            or person.last_active_at is None
            or person.last_active_at <= datetime.now(UTC) - asked["inactive_for"]
        )
    ]
    found.sort(key=lambda person: person.sort_key(sort), reverse=sort != "name")
    return [person.member_id for person in found]


def questions(seed: str, number: int) -> Iterator[tuple[str | None, dict[str, Any]]]:
    chance, more = random.Random(seed), random.Random(f"{seed} more")
    edges = [*SCORES, -1, 3, 400, 1003, 5000]
    texts = ["ana", "ANA", " ana ", "user_", "git-1", "garcia", "user_29", "a 17", "banana labs"]
    texts += ["diana 2", "nobody has it", "zoe", "an", "r_", "qx", "a"]
    for _ in range(number):
        asked: dict[str, Any] = {
            "limit": chance.choice([1, 2, 3, 7, 20, 100]),
            "sort": chance.choice(SORTS),
        }
        if chance.random() < 0.5:
            asked["status"] = chance.choice([None, "pending", "banned"])
        if chance.random() < 0.1:
            asked["is_bot"] = True
        for name, values in (
            ("role", ["developer", "designer", "lawyer", "nobody has it"]),
            ("country", ["Chile", "Perú", "Narnia"]),
            ("min_reputation", edges),
            ("max_reputation", edges),
            ("tier", list(ReputationTier)),
        ):
            if chance.random() < 0.25:
                asked[name] = chance.choice(values)
        # The activity of nobody is less than half a minute from the time that is asked for.
        at = NOON - timedelta(minutes=more.choice([5, 450, 890]), seconds=30)
        conditions: tuple[tuple[str, list[Any]], ...] = (
            ("organization", ["Frutero Club", "Banana Labs", "Narnia"]),
            ("github_verified", [True, False]),
            ("invited_by", ["#1", "#2", "#3"]),
            ("joined_since", [at, at + timedelta(minutes=5), NOON + timedelta(days=1)]),
            ("inactive_for", [datetime.now(UTC) - at]),
        )
        for name, values in conditions:
            if more.random() < 0.1:
                asked[name] = more.choice(values)
        yield chance.choice([*texts, None, None, None]), asked


@pytest.mark.parametrize("way", ["first", "in_order", "by_text", "by_filters", "any"])
async def test_every_page_is_the_same_as_that_of_a_linear_search(
    directory: asyncpg.Pool, people: list[Person], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way in search.COSTS:
        costs = {other: 0 if other == way else 1e12 for other in search.COSTS}
        monkeypatch.setattr(search, "COSTS", costs)
    # With all members in it, the first members always are enough; with five, rarely.
    monkeypatch.setattr(search, "WINDOW_SIZE", 100_000 if way == "first" else 5)
    # Otherwise no sample would be taken of so few members.
    monkeypatch.setattr(search, "SMALL_TABLE", 0)
    found_any = pages = 0
    for text, asked in questions(way, 100):
        limit = asked["limit"]
        expected = naive(people, text, **asked)
        # The first pages of a long list are enough.
        after = None
        for at in range(0, max(len(expected), 1), limit):
            page = await members.search(text, after=after, **asked)
            pages += 1
            numbers = [member.member_id for member in page.items]
            assert numbers == expected[at : at + limit], (text, asked, at)
            assert (page.next_cursor is None) == (at + limit >= len(expected))
            after = page.next_cursor
            if at >= 4 * limit:
                break
        while page.previous_cursor is not None:
            page = await members.search(text, after=page.previous_cursor, **asked)
            at -= limit
            numbers = [member.member_id for member in page.items]
            assert numbers == expected[at : at + limit], (text, asked, at)
        assert at == 0
        found_any += bool(expected)
    assert 30 < found_any < 100
    assert pages > 120


async def test_counts_totals_and_streams_have_everybody_whom_a_search_finds(
    directory: asyncpg.Pool, people: list[Person]
) -> None:
    found_any = 0
    for text, asked in questions("count", 60):
        page = await members.search(text, with_total=True, **asked)
        limit, _ = asked.pop("limit"), asked.pop("sort")
        expected = naive(people, text, sort="newest", **asked)
        assert page.total == await members.count(text, **asked) == len(expected), (text, asked)
        size = max(limit, 20)
        streamed = [
            member.member_id async for member in members.stream(text, page_size=size, **asked)
        ]
        assert streamed == expected, (text, asked)
        found_any += bool(expected)
    assert 20 < found_any < 60


async def test_a_cursor_continues_after_its_row_whatever_the_score(
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


# The way, and the number of statements


async def way_of(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, text: str | None, **asked: Any
) -> str | None:
    """Return the way that a search decides on, or None if it has no choice."""
    with sent(monkeypatch) as statements:
        await members.search(text, **asked)
    sql, *arguments = statements[-1]
    if "FROM decision" not in sql:
        return "first" if "AS first" in sql else None
    plan = await directory.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
    (way,) = {
        match[1]
        for node in nodes(json.loads(plan)[0]["Plan"])
        if (match := re.search("'(.*)'::text", node.get("One-Time Filter", "")))
        and any(
            part["Actual Loops"]
            for part in node["Plans"]
            if part["Parent Relationship"] != "InitPlan"
        )
    }
    return way


RARE = {"country": "Narnia"}


@pytest.mark.parametrize(
    ("text", "asked", "way"),
    [
        (None, {}, None),
        (None, {"sort": "name"}, None),
        (None, {"min_reputation": 5}, None),
        (None, {"status": "pending"}, None),
        (None, {"role": "lawyer", "country": "Chile"}, None),
        ("ana", {"is_bot": True}, None),
        # The first members in the order fill the page.
        ("ana", {"limit": 5}, "first"),
        ("an", {"limit": 5, "role": "developer"}, "first"),
        (None, {"role": "developer", "sort": "newest", "limit": 5}, "first"),
        (None, {"sort": "name", "status": "banned", "limit": 5}, "first"),
        # They do not, though many match.
        ("ana", {"limit": 5, "sort": "name"}, "in_order"),
        ("ana", {"limit": 100}, "in_order"),
        ("user_", {"limit": 100, "sort": "active"}, "in_order"),
        ("an", {"limit": 100, "sort": "active"}, None),
        ("qx", {}, None),
        # The text is rare.
        ("user_2999", {}, "by_text"),
        ("nobody has it", {}, "by_text"),
        ("nobody has it", {"sort": "name", "role": "developer"}, "by_text"),
        ("user_2999", {"sort": "active"}, "by_text"),
        # A filter is rarer than the text.
        ("ana", RARE, "by_filters"),
        ("qx", RARE, "by_filters"),
        (None, RARE, "by_filters"),
        (None, RARE | {"sort": "name", "status": None}, "by_filters"),
        (None, RARE | {"sort": "active"}, "by_filters"),
        (None, {"role": "nobody has it", "status": "pending"}, "by_filters"),
        (
            None,
            {"role": "lawyer", "country": "Chile", "status": "banned", "sort": "name"},
            "by_filters",
        ),
        (None, {"min_reputation": 3000, "max_reputation": 4000, "sort": "newest"}, "by_filters"),
        # Both are common, but exclude each other.
        ("rookie", {"min_reputation": 50, "sort": "name", "limit": 5}, "by_filters"),
        ("rookie", {"max_reputation": 2, "sort": "name", "limit": 5}, "in_order"),
    ],
    ids=str,
)
async def test_a_search_decides_on_the_short_way(
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    asked: dict[str, Any],
    way: str | None,
) -> None:
    monkeypatch.setattr(search, "WINDOW_SIZE", 100)
    monkeypatch.setattr(search, "SMALL_TABLE", 0)
    assert await way_of(directory, monkeypatch, text, **asked) == way


@pytest.mark.parametrize(
    ("text", "asked", "way"),
    [
        ("ana", {"sort": "name"}, "by_text"),
        ("ana", {"sort": "name", "role": "lawyer"}, "by_text"),
        (None, {"sort": "name", "role": "lawyer", "limit": 100}, "by_filters"),
        ("ana", {"limit": 100}, "in_order"),
    ],
)
async def test_a_small_table_is_read_without_a_sample(
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    asked: dict[str, Any],
    way: str,
) -> None:
    monkeypatch.setattr(search, "WINDOW_SIZE", 100)
    assert await way_of(directory, monkeypatch, text, **asked) == way


async def test_a_text_of_nobody_with_a_score_is_looked_for_in_one_index(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SMALL_TABLE", 0)
    with sent(monkeypatch) as statements:
        await members.search("rookie", min_reputation=1000, sort="name")
    sql, *arguments = statements[-1]
    plan = await directory.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
    read = [
        (node["Node Type"], node["Index Name"])
        for node in nodes(json.loads(plan)[0]["Plan"])
        if "Index Name" in node
        and node["Actual Rows"] + node.get("Rows Removed by Filter", 0) > 100
    ]
    assert read == [("Index Only Scan", "member_reputation_score_idx")]


async def scanned(database: asyncpg.Connection, statement: tuple[Any, ...]) -> dict[str, int]:
    """Return how often each index of the plan was read; zero if it was not."""
    plan = json.loads(
        await database.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement[0]}", *statement[1:])
    )
    return {
        node["Index Name"]: node["Actual Loops"]
        for node in nodes(plan[0]["Plan"])
        if "Index Name" in node
    }


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("text", ["user_2999", "nobody has it"])
async def test_the_text_index_finds_a_rare_text(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, text: str, sort: Sort
) -> None:
    monkeypatch.setattr(search, "WINDOW_SIZE", 100)
    with sent(monkeypatch) as statements:
        await members.search(text, status=None, limit=5, sort=sort)
    async with undone() as current:
        # PostgreSQL would otherwise read the whole table, because it is small.
        await current.connection.execute("SET LOCAL enable_seqscan = off")
        loops = await scanned(current.connection, statements[-1])
    assert loops["member_search_idx"] == 1
    # The other ways are not taken.
    orders = ("member_reputation_score_idx", "member_newest_idx", "member_name_idx")
    assert sum(loops.get(index, 0) for index in orders) == 0


async def test_a_search_is_one_statement_or_two(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, asked in questions("number", 50):
        with sent(monkeypatch) as statements:
            await members.search(text, **asked)
        assert len(statements) <= 2


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("\u0301", {}),
        ("ana", {"max_reputation": -1}),
        (None, {"tier": "Expert", "max_reputation": 7}),
    ],
)
async def test_a_search_that_can_find_nobody_is_no_statement(
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    asked: dict[str, Any],
) -> None:
    with sent(monkeypatch) as statements:
        page = await members.search(text, **asked)
    assert (statements, page.items) == ([], [])


@pytest.mark.parametrize("text", [None, "an", "ana"])
async def test_other_searches_keep_the_same_limits(
    directory: asyncpg.Pool, people: list[Person], text: str | None
) -> None:
    for score in sorted({*SCORES, 3}):
        for least, most in ((score, score), (score, None), (None, score)):
            asked: dict[str, Any] = {"min_reputation": least, "max_reputation": most}
            expected = naive(people, text, **asked)
            page = await members.search(text, sort="newest", limit=100, **asked)
            found = {member.member_id for member in page.items}
            assert len(found) == min(len(expected), 100)
            assert found <= set(expected)


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
