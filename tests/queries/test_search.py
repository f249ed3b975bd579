"""Members are found by a part of a text and by conditions, in four orders, page by page."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.database import connect
from community_directory.errors import InvalidCursor, InvalidInput
from community_directory.queries import audit, members
from community_directory.queries.search import Sort
from tests.conftest import Server, new_database, raw_pool
from tests.queries.cases import undone
from tests.tables import rows

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SORTS: tuple[Sort, ...] = get_args(Sort)


@pytest.fixture(scope="module")
async def shared(server: Server, template: str) -> AsyncIterator[asyncpg.Pool]:
    """Yield the database of all tests and examples here; each is rolled back."""
    async with (
        new_database(server, template) as url,
        connect(url, min_size=0),
        raw_pool(url) as pool,
    ):
        yield pool


@pytest.fixture
async def directory(shared: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """Yield the connection of a transaction that the helpers use, and that is rolled back."""
    async with undone() as current:
        yield current.connection


async def somebody(database: rows.Database, **columns: object) -> str:
    return str((await rows.member(database, **{"status": "active", **columns}))["member_id"])


async def found(text: str | None = None, **conditions: Any) -> set[str]:
    """Return the names of the members who are found."""
    return {member.name for member in (await members.search(text, **conditions)).items}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("name", "Ana García"),
        ("telegram_username", "ana_garcia"),
        ("organization", "Frutero Club"),
        ("github_username", "anagarcia-dev"),
    ],
)
async def test_a_part_of_each_text_is_found(
    directory: asyncpg.Connection, column: str, value: str
) -> None:
    await somebody(directory, **{"name": "Eva", column: value})
    await somebody(directory, name="Luis")
    for text in (
        value,
        value[1:-1],
        value.upper(),
        value.swapcase(),
        f"  {value} ",
        value[:2],
        value[-1:],
    ):
        if text.strip().lower() not in "luis":
            assert len(await found(text)) == 1
    assert await found(value + "x") == set()


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("José", ["jose", "JOSÉ", "josé", "JOSE", "jose\u0301"]),
        ("Jose", ["José"]),
        ("Jose\u0301", ["josé", "jose"]),
        ("Muñoz", ["munoz", "MUÑOZ"]),
        ("Müller", ["muller", "MÜLLER"]),
        ("Søren", ["soren", "SØREN"]),
        ("Soren", ["Søren"]),
        ("Łukasz", ["lukasz", "łukasz", "ŁUKASZ"]),
        ("Đorđe", ["dorde", "đorđe", "ĐORĐE"]),
        ("İbrahim", ["ibrahim", "IBRAHIM"]),
        ("Марина Ёлкина", ["марина", "МАРИНА", "елкина", "ЁЛКИНА"]),
        ("Ελένη", ["ελενη", "ΕΛΈΝΗ"]),
        ("山田 がく", ["山田", "がく", "か\u3099く"]),
        ("ガンダム", ["ｶﾞﾝﾀﾞﾑ", "ガンダム"]),
        ("Ｗｉｄｅ", ["wide"]),
        ("O’Neill", ["o'neill", "O´Neill", "’NEI"]),
        ("O'Neill", ["o’neill"]),
        ("Oʻtkir", ["o'tkir"]),
        ("Anne‑Marie", ["anne-marie", "ANNE–MARIE", "e−m"]),
        ("Weiß", ["WEISS", "weiss"]),
        ("STRASSER", ["straßer"]),
        ("Әсел", ["әсел", "ӘСЕЛ"]),
        ("ҚАЙРАТ", ["қайрат"]),
        ("مُحَمَّد", ["محمد", "مُحَمَّد", "محـمد"]),
        ("Ana  García", ["ana garcia", "ana\u00a0\u2003garcia", "na g"]),
        ("A\u200bna\u00ad", ["ana", "\ufeffana"]),
        ("राज़ी", ["राजी"]),
    ],
)
async def test_case_and_accents_make_no_difference(
    directory: asyncpg.Connection, stored: str, wanted: list[str]
) -> None:
    await somebody(directory, name=stored)
    await somebody(directory, name="Zyx")
    for text in wanted:
        assert await found(text) == {stored}
        for sort in SORTS:
            assert await found(text, sort=sort) == {stored}


@pytest.mark.parametrize("typed", ["@mona", "@MONA_L", " ＠mona", "@"])
async def test_an_at_sign_before_a_username_makes_no_difference(
    directory: asyncpg.Connection, typed: str
) -> None:
    await somebody(directory, name="Ana", telegram_username="mona_l")
    await somebody(directory, name="Eva", organization="Caf@")
    assert await found(typed) == ({"Eva"} if typed == "@" else {"Ana"})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("%", {"100% Ana"}),
        ("0%", {"100% Ana"}),
        ("_", {"a_b"}),
        ("a_b", {"a_b"}),
        ("\\", {"a\\b"}),
        ("\\\\", set()),
        ("a\\b", {"a\\b"}),
        ("\\%", set()),
        ("％", {"100% Ana"}),
        ("﹪", {"100% Ana"}),
        ("＿", {"a_b"}),
        ("＼", {"a\\b"}),
        ("a＿b", {"a_b"}),
        ("' OR 1=1 --", set()),
        ("{}", set()),
        ("$1", set()),
    ],
)
async def test_no_character_is_a_wildcard(
    directory: asyncpg.Connection, text: str, names: set[str]
) -> None:
    for name in ("100% Ana", "a_b", "acb", "a\\b"):
        await somebody(directory, name=name)
    assert await found(text) == names


@pytest.mark.parametrize(
    "text",
    [
        *("\u0301", "\u0301\u0308", " \u0301 ", "´", "¨", "\u0301 \u0308"),
        *("\u200b", "\u00ad\ufeff", "\u3164", "\u2800", "\u064e\u0651", "\u0640", " \u200d "),
    ],
)
async def test_a_text_of_accents_or_invisible_characters_alone_finds_nobody(
    directory: asyncpg.Connection, text: str
) -> None:
    await somebody(directory, name="Eva María")
    for sort in SORTS:
        assert await found(text, sort=sort) == set()


@pytest.mark.parametrize("text", [None, "", "  ", "\t\n"])
async def test_a_search_without_a_text_finds_everybody(
    directory: asyncpg.Connection, text: str | None
) -> None:
    await somebody(directory, name="Eva")
    assert await found(text) == {"Eva"}


@pytest.mark.parametrize(("field", "limit"), {"text": 200, "role": 50, "country": 100}.items())
async def test_a_text_that_is_too_long_is_refused(
    directory: asyncpg.Connection, field: str, limit: int
) -> None:
    assert await found(**{field: "x" * limit}) == set()
    with pytest.raises(InvalidInput) as refused:
        await found(**{field: "x" * (limit + 1)})
    assert (refused.value.field, refused.value.limit, refused.value.code) == (
        field,
        limit,
        "text_too_long",
    )


@pytest.mark.parametrize("ask", [members.search, members.leaderboard])
@pytest.mark.parametrize("status", ["activ", "Active", "", "removed"])
async def test_a_status_that_does_not_exist_is_refused(
    directory: asyncpg.Connection, ask: Callable[..., Any], status: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await ask(status=status)
    assert refused.value.field == "status"


async def test_all_conditions_hold_together(directory: asyncpg.Connection) -> None:
    await somebody(
        directory, name="Ana", primary_role="developer", country="Chile", reputation_score=100
    )
    await somebody(
        directory, name="Bo", primary_role="developer", country="Perú", reputation_score=101
    )
    await somebody(
        directory, name="Eva", primary_role="designer", country="Chile", reputation_score=600
    )
    await somebody(directory, name="Luis", country="Chile", status="pending")
    assert await found() == {"Ana", "Bo", "Eva"}
    assert await found(status=None) == {"Ana", "Bo", "Eva", "Luis"}
    assert await found(status="pending") == {"Luis"}
    assert await found(role="developer") == {"Ana", "Bo"}
    assert await found(country="Chile") == {"Ana", "Eva"}
    assert await found(role="developer", country="Chile") == {"Ana"}
    assert await found("a", country="Chile", status=None) == {"Ana", "Eva"}
    assert await found(tier="Novice") == {"Ana"}
    assert await found(tier="Contributor") == {"Bo"}
    assert await found(min_reputation=101) == {"Bo", "Eva"}
    assert await found(max_reputation=101) == {"Ana", "Bo"}
    assert await found(min_reputation=101, max_reputation=101) == {"Bo"}
    assert await found(min_reputation=102, max_reputation=101) == set()
    assert await found(role="nobody has it") == set()
    assert await found(role="active") == set()  # not the status


async def test_a_removed_member_is_never_found(directory: asyncpg.Connection) -> None:
    number = await somebody(directory, name="Ana", telegram_username="ana")
    await members.remove(number, actor="Luis")
    for sort in SORTS:
        assert await found("ana", sort=sort) == await found(status=None, sort=sort) == set()


async def test_each_sort_order_is_right(directory: asyncpg.Connection) -> None:
    made = [
        {"name": "zoe", "reputation_score": 1, "created_at": NOON, "last_active_at": None},
        {
            "name": "Álvaro",
            "reputation_score": 3,
            "created_at": NOON - timedelta(days=1),
            "last_active_at": NOON,
        },
        {
            "name": "Bea",
            "reputation_score": 2,
            "created_at": NOON + timedelta(days=1),
            "last_active_at": None,
        },
        {
            "name": "alba",
            "reputation_score": 0,
            "created_at": NOON - timedelta(days=2),
            "last_active_at": NOON + timedelta(microseconds=1),
        },
    ]
    for columns in made:
        await somebody(directory, **columns)

    async def order(sort: Sort) -> list[str]:
        return [member.name for member in (await members.search(sort=sort)).items]

    assert await order("reputation") == ["Álvaro", "Bea", "zoe", "alba"]
    assert await order("newest") == ["Bea", "zoe", "Álvaro", "alba"]
    assert (await order("active"))[:2] == ["alba", "Álvaro"]
    assert set((await order("active"))[2:]) == {"zoe", "Bea"}
    assert await order("name") == ["alba", "Álvaro", "Bea", "zoe"]


async def test_an_order_that_does_not_exist_is_refused(directory: asyncpg.Connection) -> None:
    with pytest.raises(InvalidInput) as refused:
        await members.search(sort="id; DROP TABLE community_members")  # type: ignore[arg-type]  # from outside
    assert refused.value.field == "sort"


@pytest.mark.parametrize("limit", [0, -1, 101, 10**30])
async def test_a_page_has_1_to_100_rows(directory: asyncpg.Connection, limit: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        await members.search(limit=limit)
    assert refused.value.field == "limit"


async def test_a_last_page_that_is_full_has_no_next_one(directory: asyncpg.Connection) -> None:
    for _ in range(4):
        await somebody(directory)
    page = await members.search(limit=2)
    assert page.next_cursor is not None
    page = await members.search(limit=2, after=page.next_cursor)
    assert (len(page.items), page.next_cursor) == (2, None)
    assert (await members.search(limit=4)).next_cursor is None


# There are few values, so that there are many ties.
PEOPLE = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["Ana", "ana", "Ána", "Bo", "bo x", "Żaneta", "李", "a%", "_"]),
            "reputation_score": st.sampled_from([0, 1, 100, 2**31 - 1]),
            "created_at": st.sampled_from(
                [NOON, NOON + timedelta(microseconds=1), NOON.replace(year=2000)]
            ),
            "last_active_at": st.sampled_from(
                [
                    None,
                    NOON,
                    NOON + timedelta(microseconds=1),
                    NOON.replace(year=2000),
                    datetime(2000, 1, 1, tzinfo=UTC),
                ]
            ),
        }
    ),
    max_size=12,
)


def examples(number: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@examples(60)
@given(people=PEOPLE, limit=st.integers(1, 13), sort=st.sampled_from(SORTS))
async def test_all_pages_together_contain_everybody_once_and_in_order(
    shared: asyncpg.Pool, people: list[dict[str, object]], limit: int, sort: Sort
) -> None:
    async with undone() as current:
        for columns in people:
            await somebody(current.connection, **columns)
        whole = (await members.search(sort=sort, limit=100)).items
        assert len(whole) == len(people)
        turned: list[members.Member] = []
        page = await members.search(sort=sort, limit=limit)
        turned += page.items
        while page.next_cursor is not None:
            assert len(page.items) == limit
            page = await members.search(sort=sort, limit=limit, after=page.next_cursor)
            assert page.items
            turned += page.items
        assert turned == whole


@examples(40)
@given(people=PEOPLE, newcomers=PEOPLE, limit=st.integers(1, 5), sort=st.sampled_from(SORTS))
async def test_members_are_found_once_while_others_are_added_between_two_pages(
    shared: asyncpg.Pool,
    people: list[dict[str, object]],
    newcomers: list[dict[str, object]],
    limit: int,
    sort: Sort,
) -> None:
    async with undone() as current:
        for columns in people:
            await somebody(current.connection, **columns)
        there = [member.id for member in (await members.search(sort=sort, limit=100)).items]
        coming = iter(newcomers)
        turned: list[object] = []
        after: str | None = None
        while True:
            page = await members.search(sort=sort, limit=limit, after=after)
            turned += [member.id for member in page.items]
            after = page.next_cursor
            if after is None:
                break
            if columns_of_one := next(coming, None):
                await somebody(current.connection, **columns_of_one)
        assert [key for key in turned if key in there] == there
        assert len(set(turned)) == len(turned)


async def a_cursor(database: rows.Database, sort: Sort) -> str:
    for _ in range(2):
        await somebody(database)
    cursor = (await members.search(sort=sort, limit=1)).next_cursor
    assert cursor is not None
    return cursor


@pytest.mark.parametrize("sort", SORTS)
async def test_a_cut_or_longer_cursor_is_refused(shared: asyncpg.Pool, sort: Sort) -> None:
    async with undone() as current:
        cursor = await a_cursor(current.connection, sort)
        await members.search(sort=sort, after=cursor)
        changed = [
            *(cursor[:end] for end in range(0, len(cursor), 7)),
            *(
                cursor + more
                for more in ("A", "\n", " ", "!", "é", "\0", "\ud800", "A" * 10_000_000)
            ),
            f" {cursor}",
            f"{cursor[:5]}!{cursor[5:]}",
            f"{cursor[:5]}\n{cursor[5:]}",
        ]
        for other in changed:
            with pytest.raises(InvalidCursor) as refused:
                await members.search(sort=sort, after=other)
            assert refused.value.field == "after"


@pytest.mark.parametrize("sort", SORTS)
async def test_a_cursor_of_another_order_or_another_list_is_refused(
    shared: asyncpg.Pool, sort: Sort
) -> None:
    async with undone() as current:
        cursor = await a_cursor(current.connection, sort)
        await members.update_profile((await members.search()).items[0].member_id, name="Eva")
        for other in SORTS:
            if other != sort:
                with pytest.raises(InvalidCursor):
                    await members.search(sort=other, after=cursor)
        with pytest.raises(InvalidCursor):
            await audit.history("#1", after=cursor)


async def test_names_of_only_emoji_are_paged_to_the_end(directory: asyncpg.Pool) -> None:
    moons = [
        (await rows.member(directory, status="active", name="🌙" * 255))["member_id"]
        for _ in range(3)
    ]
    found, after = [], None
    while True:
        page = await members.search(sort="name", limit=1, after=after)
        found += [member.member_id for member in page.items]
        after = page.next_cursor
        if after is None:
            break
    assert sorted(found) == sorted(moons)


# The usernames of other accounts.


async def link(database: rows.Database, member_id: str, username: str, account_id: str) -> None:
    await database.execute(
        """
        INSERT INTO member_accounts
            (id, platform, account_id, username, member_id, proof, proved_at)
        VALUES (gen_random_uuid(), 'discord', $1, $2, $3, 'code', now())
        """,
        account_id,
        username,
        member_id,
    )


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(
    "text", ["night.owl_7", "@Night.Owl_7", " NIGHT.OWL_7 ", "@\u200bnight.owl_7"]
)
async def test_the_username_of_another_account_is_found(
    directory: asyncpg.Connection, text: str, sort: Sort
) -> None:
    for number, name in enumerate(("Ana", "Bo")):
        member_id = await somebody(directory, name=name)
        await link(directory, member_id, f"night.owl_{7 + number}", str(5 + number))
    assert await found(text, sort=sort) == {"Ana"}


@pytest.mark.parametrize("text", ["night.owl", "owl_7", "night owl_7", "night%", "@night.owl_7 x"])
async def test_a_part_of_the_username_of_another_account_is_not_found(
    directory: asyncpg.Connection, text: str
) -> None:
    await link(directory, await somebody(directory, name="Ana"), "night.owl_7", "5")
    assert await found(text) == set()


async def test_whoever_has_the_username_of_another_account_meets_the_other_conditions_too(
    directory: asyncpg.Connection,
) -> None:
    people: tuple[dict[str, object], ...] = (
        {"name": "Ana", "country": "Mexico"},
        {"name": "Suspended", "country": "Mexico", "status": "suspended"},
        {"name": "Removed", "country": "Mexico", "deleted_at": NOON},
        {"name": "Bot", "country": "Mexico", "is_bot": True},
        {"name": "Elsewhere", "country": "Spain"},
    )
    for number, columns in enumerate(people):
        await link(directory, await somebody(directory, **columns), "owl", str(number + 5))
    assert await found("owl", country="Mexico") == {"Ana"}
    assert await found("owl", country="Mexico", status=None) == {"Ana", "Suspended"}


@pytest.mark.parametrize("sort", SORTS)
async def test_matches_by_text_and_by_another_account_are_one_list_in_pages(
    directory: asyncpg.Connection, sort: Sort
) -> None:
    """Somebody who is found in both ways is there once."""
    for number in range(12):
        member_id = await somebody(
            directory,
            name=f"Owl {number}" if number % 3 else f"Person {number}",
            reputation_score=100 * number,
        )
        if number % 2 == 0:
            await link(directory, member_id, "owl", str(number + 5))
    expected = [
        f"Owl {number}" if number % 3 else f"Person {number}"
        for number in reversed(range(12))
        if number % 3 or number % 2 == 0
    ]
    names: list[str] = []
    after = None
    while True:
        page = await members.search("owl", sort=sort, limit=3, after=after)
        names += [member.name for member in page.items]
        if (after := page.next_cursor) is None:
            break
    assert names == expected if sort == "reputation" else sorted(names) == sorted(expected)
