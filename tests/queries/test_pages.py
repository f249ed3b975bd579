"""All lists come in pages: forwards, backwards, and with cursors that fit a button."""

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pkgutil import iter_modules
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory import queries
from community_directory.database import connect
from community_directory.errors import InvalidCursor
from community_directory.queries import (
    audit,
    highlights,
    invitations,
    members,
    participation,
    permissions,
)
from community_directory.queries.pages import CursorFormat, Page, PagedList
from community_directory.queries.search import SORT_ORDERS
from tests.conftest import Server, new_database, raw_pool
from tests.queries.cases import undone
from tests.tables import rows

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = date(2026, 1, 31)
SINCE = DAY - timedelta(days=8)
LISTS: dict[str, Callable[..., Awaitable[Page[Any]]]] = {
    **{
        f"search by {sort}": lambda sort=sort, **page: members.search(sort=sort, **page)
        for sort in SORT_ORDERS
    },
    "search in the order of an index": lambda **page: members.search(
        role="developer", country="Chile", **page
    ),
    "search by text": lambda **page: members.search("ana", **page),
    "search by text and name": lambda **page: members.search("ana", sort="name", **page),
    "search by filters": lambda **page: members.search(country="Chile", sort="newest", **page),
    "search of bots": lambda **page: members.search(is_bot=True, status=None, **page),
    "leaderboard": lambda **page: members.leaderboard(status=None, **page),
    "merge suggestions": members.merge_suggestions,
    "invitations": invitations.list_page,
    "invitations of one": lambda **page: invitations.list_page(created_by=1, **page),
    "tree": lambda **page: invitations.tree(1, **page),
    "history": lambda **page: participation.history(1, **page),
    "highlights": lambda **page: highlights.between(SINCE, DAY, **page),
    "highlights of one": lambda **page: highlights.between(SINCE, DAY, member_id=1, **page),
    "log": lambda **page: audit.history(1, **page),
    "holders": lambda **page: permissions.holders("review", **page),
}


@pytest.fixture(scope="module")
async def url(server: Server, template: str) -> AsyncIterator[str]:
    """Yield the URL of a database in which each list has 8 to 12 rows, many of them ties."""
    async with new_database(server, template) as url:
        database = await asyncpg.connect(url)
        for number in range(1, 13):
            await rows.member(
                database,
                name=["Ana", "ana", "Ána Bo"][number % 3] + "x" * (number // 4),
                primary_role="developer",
                country="Chile",
                status="active",
                github_username=f"github{number // 5}",
                reputation_score=number % 3,
                invited_by=f"#{(number + 1) // 3}" if number > 1 else None,
                created_at=NOON - timedelta(minutes=number // 2),
                last_active_at=NOON + timedelta(microseconds=number // 3) if number > 4 else None,
            )
            await rows.permission(
                database, member_id=f"#{number}", permission=["review", "manage"][number % 2]
            )
            await rows.invitation(
                database, created_by="#1", created_at=NOON + timedelta(seconds=number // 3)
            )
            await rows.event(
                database, member_id="#1", occurred_at=NOON + timedelta(seconds=number // 3)
            )
        for number in range(1, 13):
            await rows.member(database, name="Ana the bot", is_bot=True)
            await rows.highlight(
                database,
                member_id="#1",
                highlight_date=DAY - timedelta(days=number),
            )
        await rows.highlight(database, member_id="#3", highlight_date=DAY - timedelta(days=2))
        await database.execute("VACUUM ANALYZE")
        await database.close()
        yield url


@pytest.fixture
async def directory(url: str) -> AsyncIterator[asyncpg.Pool]:
    async with connect(url, min_size=0), raw_pool(url) as pool:
        yield pool


def examples(number: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


@pytest.mark.parametrize("name", LISTS)
async def test_going_forward_and_back_shows_the_same_rows(
    directory: asyncpg.Pool, name: str
) -> None:
    whole = await LISTS[name](limit=100)
    assert len(whole.items) >= 8
    assert (whole.next_cursor, whole.previous_cursor) == (None, None)
    for limit in (1, 3, 4):
        forward = [await LISTS[name](limit=limit)]
        while (cursor := forward[-1].next_cursor) is not None:
            assert forward[-1].items
            forward.append(await LISTS[name](limit=limit, after=cursor))
        assert [item for page in forward for item in page.items] == whole.items
        assert [page.previous_cursor is None for page in forward] == [
            number == 0 for number in range(len(forward))
        ]
        page = forward.pop()
        while forward:
            page = await LISTS[name](limit=limit, after=page.previous_cursor)
            assert page.items == forward.pop().items
            assert page.next_cursor is not None
        assert page.previous_cursor is None


@examples(40)
@given(data=st.data(), name=st.sampled_from(list(LISTS)), limit=st.integers(1, 5))
async def test_any_walk_through_a_list_shows_the_rows_that_are_there(
    directory: asyncpg.Pool, data: st.DataObject, name: str, limit: int
) -> None:
    whole = (await LISTS[name](limit=100)).items
    page, start = await LISTS[name](limit=limit), 0
    for _ in range(6):
        end = start + len(page.items)
        assert page.items == whole[start:end]
        assert (page.previous_cursor is None, page.next_cursor is None) == (
            start == 0,
            end == len(whole),
        )
        is_backward = data.draw(st.booleans())
        limit = data.draw(st.integers(1, 5))
        cursor = page.previous_cursor if is_backward else page.next_cursor
        if cursor is None:
            break
        page = await LISTS[name](limit=limit, after=cursor)
        assert len(page.items) == min(limit, start if is_backward else len(whole) - end)
        start = start - len(page.items) if is_backward else end


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_fits_a_button(directory: asyncpg.Pool, name: str) -> None:
    page = await LISTS[name](limit=1)
    cursors = [
        page.next_cursor,
        (await LISTS[name](limit=1, after=page.next_cursor)).previous_cursor,
    ]
    for cursor in cursors:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", cursor or "")


def test_the_largest_values_fit_a_button() -> None:
    for found in formats():
        assert len(base64.urlsafe_b64encode(bytes(found._struct.size)).rstrip(b"=")) <= 40


def formats() -> list[CursorFormat]:
    """Return the formats of all lists."""
    modules = [
        import_module(f"{queries.__name__}.{module.name}")
        for module in iter_modules(queries.__path__)
    ]
    return [order.cursors for order in SORT_ORDERS.values()] + [
        value._cursors
        for module in modules
        for value in vars(module).values()
        if isinstance(value, PagedList)
    ]


def test_no_two_lists_have_cursors_that_begin_alike() -> None:
    tags = {(found.name, found.tag) for found in formats()}
    assert len(tags) > 8
    assert len({tag for _, tag in tags}) == len(tags)


@pytest.mark.parametrize("name", LISTS)
async def test_a_cursor_of_another_list_is_refused(directory: asyncpg.Pool, name: str) -> None:
    own = (await LISTS[name](limit=1)).next_cursor
    assert own is not None
    for call in LISTS.values():
        other = (await call(limit=1)).next_cursor
        assert other is not None
        if other[:2] != own[:2]:  # the tag
            with pytest.raises(InvalidCursor) as refused:
                await LISTS[name](limit=1, after=other)
            assert refused.value.field == "after"


@pytest.mark.parametrize("name", LISTS)
@examples(20)
@given(data=st.data())
async def test_any_bytes_are_a_page_or_no_cursor(
    directory: asyncpg.Pool, name: str, data: st.DataObject
) -> None:
    cursor = (await LISTS[name](limit=1)).next_cursor
    assert cursor is not None
    packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    size = len(packed) - 2
    edges = st.sampled_from([b"\0" * size, b"\xff" * size, b"\x7f" + b"\xff" * (size - 1)])
    body = data.draw(edges | st.binary(min_size=size, max_size=size) | st.binary(max_size=40))
    is_backward = data.draw(st.integers(0, 1))
    forged = base64.urlsafe_b64encode(packed[:1] + bytes([packed[1] | is_backward]) + body)
    try:
        page = await LISTS[name](limit=3, after=forged.decode().rstrip("="))
    except InvalidCursor:
        return
    assert len(body) == size
    assert len(page.items) <= 3


@examples(60)
@given(
    name=st.sampled_from(list(LISTS)), cursor=st.text(max_size=60) | st.text("Aa-_9=", max_size=45)
)
async def test_any_text_is_no_cursor(directory: asyncpg.Pool, name: str, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        await LISTS[name](after=cursor)


async def test_a_page_whose_rows_are_gone_leads_back_to_those_that_are_left(
    directory: asyncpg.Pool,
) -> None:
    async with undone() as current:
        page = await invitations.list_page(limit=8)
        assert page.next_cursor is not None
        last = page.items[-1]
        await current.connection.execute(
            "DELETE FROM community_invitations WHERE (created_at, invitation_id) < ($1, $2)",
            last.created_at,
            last.invitation_id,
        )
        empty = await invitations.list_page(limit=8, after=page.next_cursor)
        assert (empty.items, empty.next_cursor) == ([], None)
        back = await invitations.list_page(limit=8, after=empty.previous_cursor)
        assert back.items == page.items[:-1]
        rest = await invitations.list_page(limit=8, after=back.next_cursor)
        assert rest.items == [last]


async def test_rows_that_come_first_later_are_on_a_page_before(directory: asyncpg.Pool) -> None:
    async with undone() as current:
        first = await invitations.list_page(limit=4)
        second = await invitations.list_page(limit=4, after=first.next_cursor)
        new = await rows.invitation(current.connection, created_by="#1")
        back = await invitations.list_page(limit=4, after=second.previous_cursor)
        assert back.items == first.items
        before = await invitations.list_page(limit=4, after=back.previous_cursor)
        assert [found.invitation_code for found in before.items] == [new["invitation_code"]]
        assert before.previous_cursor is None


async def test_a_page_by_name_continues_after_a_removed_member_but_after_no_stranger(
    directory: asyncpg.Pool,
) -> None:
    async with undone():
        whole = (await members.search(sort="name")).items
        page = await members.search(sort="name", limit=4)
        await members.remove(page.items[-1].member_id, actor="ana")
        rest = await members.search(sort="name", after=page.next_cursor)
        assert rest.items == whole[4:]
        for is_backward in (False, True):
            cursor = SORT_ORDERS["name"].cursors.encode((uuid4(),), is_backward=is_backward)
            with pytest.raises(InvalidCursor):
                await members.search(sort="name", after=cursor)
        last = SORT_ORDERS["name"].cursors.encode((whole[-1].id,))
        assert (await members.search(sort="name", after=last)).items == []


@pytest.mark.parametrize("limit", [1, 5, 100])
async def test_a_page_has_the_total_of_all_pages_on_request(
    directory: asyncpg.Pool, limit: int
) -> None:
    page = await invitations.list_page(limit=limit)
    assert page.total is None
    counted = await invitations.list_page(limit=limit, after=page.next_cursor, with_total=True)
    assert counted.total == 12
    cancelled = await invitations.list_page(status="cancelled", limit=limit, with_total=True)
    assert cancelled.total == 0
    found = await members.search("ana", limit=limit, with_total=True)
    assert found.total == await members.count("ana") == 12
    later = await members.search("ana", limit=limit, after=found.next_cursor, with_total=True)
    assert later.total == 12
