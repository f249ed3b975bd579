"""Members ask managers for what they may not do themselves, and somebody settles it once."""

import asyncio
from base64 import b64decode, urlsafe_b64encode

import asyncpg
import pytest

from community_directory.errors import InvalidCursor, InvalidInput, MemberNotFound
from community_directory.queries import members, requests
from tests.tables import rows


async def entries(directory: asyncpg.Pool) -> list[tuple[str, str, str | None]]:
    """Return the actions, the actors and the reasons of the log's entries about requests."""
    found = await directory.fetch(
        "SELECT action, actor, reason FROM directory_audit_log"
        " WHERE table_name = 'member_requests' ORDER BY id"
    )
    return [tuple(row) for row in found]


async def listed(**conditions: str) -> list[tuple[str, str]]:
    page = await requests.list_open(**conditions)  # type: ignore[arg-type]
    return [(request.member.member_id, request.kind) for request in page.items]


async def test_a_request_is_open_until_somebody_settles_it(directory: asyncpg.Pool) -> None:
    await rows.member(directory, name="Ana", status="suspended")
    asked = await requests.ask(1, "erasure", actor="#1", reason="leaves")
    assert (asked.member.name, asked.kind, asked.repeated) == ("Ana", "erasure", False)
    again = await requests.ask("#1", "erasure", actor="#1")
    assert (again.asked_at, again.repeated) == (asked.asked_at, True)
    await requests.ask("#1", "link", actor="#1")
    assert await listed() == [("#1", "erasure"), ("#1", "link")]
    assert await listed(kind="link") == [("#1", "link")]

    assert await requests.resolve("#1", "erasure", actor="#2", reason="changed their mind")
    assert not await requests.resolve("#1", "erasure", actor="#2")
    assert await listed() == [("#1", "link")]
    assert await entries(directory) == [
        ("INSERT", "#1", "leaves"),
        ("INSERT", "#1", None),
        ("DELETE", "#2", "changed their mind"),
    ]


async def test_of_two_who_settle_a_request_at_once_one_does(directory: asyncpg.Pool) -> None:
    await rows.request(directory)
    settled = await asyncio.gather(
        *(requests.resolve("#1", "erasure", actor=f"#{number}") for number in range(2, 10))
    )
    assert sorted(settled) == [False] * 7 + [True]


async def test_of_two_who_ask_at_once_one_is_new(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    asked = await asyncio.gather(*(requests.ask("#1", "link", actor="#1") for _ in range(8)))
    assert sorted(request.repeated for request in asked) == [False] + [True] * 7
    assert await listed() == [("#1", "link")]


async def test_requests_come_in_pages_the_oldest_first(directory: asyncpg.Pool) -> None:
    for day in (3, 1, 2):
        await rows.request(
            directory,
            asked_at=await directory.fetchval("SELECT now() - $1 * interval '1 day'", day),
        )
    page = await requests.list_open(limit=2)
    assert [request.member.member_id for request in page.items] == ["#1", "#3"]
    last = await requests.list_open(limit=2, after=page.next_cursor)
    assert [request.member.member_id for request in last.items] == ["#2"]
    assert last.next_cursor is None
    back = await requests.list_open(limit=2, after=last.previous_cursor)
    assert back.items == page.items
    packed = bytearray(b64decode(f"{page.next_cursor}==", altchars=b"-_"))
    packed[-1] = 99  # the place of the kind
    for forged in ("nonsense", urlsafe_b64encode(packed).decode().rstrip("=")):
        with pytest.raises(InvalidCursor):
            await requests.list_open(after=forged)


async def test_a_removed_member_may_ask_and_an_erased_one_may_not(
    directory: asyncpg.Pool,
) -> None:
    for _ in range(2):
        await rows.member(directory, status="active")
    await members.remove("#1", actor="eva")
    await members.erase("#2", actor="eva")
    assert not (await requests.ask("#1", "erasure", actor="#1")).repeated
    for nobody in ("#2", "#99"):
        with pytest.raises(MemberNotFound):
            await requests.ask(nobody, "erasure", actor="#1")
    with pytest.raises(InvalidInput):
        await requests.ask("#1", "a cake", actor="#1")


async def test_an_erasure_settles_the_requests_of_the_person(directory: asyncpg.Pool) -> None:
    await rows.request(directory, kind="erasure")
    await rows.request(directory, member_id="#1", kind="link")
    await members.erase("#1", actor="eva")
    assert await listed() == []
    assert [(action, actor) for action, actor, _ in await entries(directory)][-2:] == [
        ("DELETE", "eva")
    ] * 2


async def test_the_requests_of_merged_members_are_those_of_one_person(
    directory: asyncpg.Pool,
) -> None:
    for _ in range(2):
        await rows.request(directory, kind="erasure")
    await members.merge(duplicate="#2", into="#1", actor="eva")
    assert await listed() == [("#1", "erasure")]
    assert (await requests.ask("#2", "erasure", actor="#1")).repeated
    assert await requests.resolve("#2", "erasure", actor="eva")
    assert await listed() == []


@pytest.mark.parametrize(
    ("status", "may"),
    [
        ("not_member", True),
        ("pending", True),
        ("active", True),
        ("suspended", False),
        ("banned", False),
    ],
)
async def test_whoever_is_suspended_or_banned_may_not_erase_themselves(
    directory: asyncpg.Pool, status: str, may: bool
) -> None:
    await rows.member(directory, status=status)
    assert await requests.may_erase_themselves("#1") is may


async def test_whoever_holds_a_permission_or_is_removed_may_not_erase_themselves(
    directory: asyncpg.Pool,
) -> None:
    await rows.permission(directory, permission="invite")
    assert not await requests.may_erase_themselves("#1")
    await rows.member(directory, is_bot=True)
    assert not await requests.may_erase_themselves("#2")
    await rows.member(directory, status="active")
    assert await requests.may_erase_themselves("#3")
    await members.remove("#3", actor="eva")
    assert not await requests.may_erase_themselves("#3")
    with pytest.raises(MemberNotFound):
        await requests.may_erase_themselves("#99")


async def test_a_merged_number_leads_to_the_permissions_of_the_other_member(
    directory: asyncpg.Pool,
) -> None:
    await rows.permission(directory)
    await rows.merged_member(directory, merged_into="#1")
    assert not await requests.may_erase_themselves("#2")


async def test_the_language_of_a_chat_leaves_with_the_account(directory: asyncpg.Pool) -> None:
    for _ in range(2):
        await rows.member(directory, status="active")
    await rows.bot_chat(directory, member_id="#1")
    await rows.bot_chat(directory, member_id="#2", language_code="es")
    await members.erase("#1", actor="eva")
    assert await directory.fetchval("SELECT array_agg(language_code) FROM directory_bot_chats") == [
        "es"
    ]
