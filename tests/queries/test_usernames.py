"""A Telegram username that its holder released belongs to whoever took it."""

import asyncio

import asyncpg
import pytest

from community_directory.errors import InvalidInput, MemberNotFound
from community_directory.queries import accounts, audit, members
from tests.tables import rows


async def usernames(directory: asyncpg.Pool) -> dict[str, str | None]:
    found = await directory.fetch("SELECT member_id, telegram_username FROM community_members")
    return {row["member_id"]: row["telegram_username"] for row in found}


async def test_a_username_leaves_its_first_holder(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_username="Mona", name="Mona", country="Chile")
    await rows.member(directory, telegram_username="bo")
    await rows.member(directory, telegram_username="mona", deleted_at=await now(directory))
    taken = await members.set_username(2, "@mONA", actor="bot", reason="seen in the group")
    assert taken.telegram_username == "mONA"
    assert await usernames(directory) == {"#1": None, "#2": "mONA", "#3": None}
    first = await members.get("#1")
    assert (first.name, first.country) == ("Mona", "Chile")
    for number, change in (("#1", ["Mona", None]), ("#2", ["bo", "mONA"])):
        [entry] = [
            entry for entry in (await audit.history(number)).items if entry.action == "UPDATE"
        ]
        assert (entry.actor, entry.reason) == ("bot", "seen in the group")
        assert entry.changes == {"telegram_username": change}


async def test_a_username_leaves_a_second_account(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    for number, account, username in (("#1", "5001", "Mona"), ("#2", "5002", "bo")):
        await accounts.link(number, "telegram", account, username=username, actor="luis")
    await members.set_username("#2", "mona")
    assert (await members.resolve("@mona")).member_id == "#2"
    assert [found.username for found in await accounts.of("#1")] == [None, None]
    await members.set_username("#2", "bo")
    assert {found.username for found in await accounts.of("#2")} == {"bo", None}


async def now(directory: asyncpg.Pool) -> object:
    return await directory.fetchval("SELECT now()")


async def test_the_same_username_again_changes_nothing(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_username="ana")
    before = await members.get("#1")
    assert await members.set_username("#1", "ana") == before
    assert len((await audit.history("#1")).items) == 1


async def test_a_member_can_have_no_username(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_username="ana")
    await rows.member(directory)
    assert (await members.set_username("#1", None)).telegram_username is None
    assert await usernames(directory) == {"#1": None, "#2": None}


async def test_nobody_loses_a_username_to_a_member_who_does_not_exist(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_username="ana")
    await rows.member(directory, deleted_at=await now(directory))
    for number in ("#2", "#99"):
        with pytest.raises(MemberNotFound):
            await members.set_username(number, "ana")
    with pytest.raises(InvalidInput):
        await members.set_username("#1", "a b")
    assert await usernames(directory) == {"#1": "ana", "#2": None}


async def test_of_several_claims_at_the_same_time_one_member_keeps_the_username(
    directory: asyncpg.Pool,
) -> None:
    for _ in range(6):
        await rows.member(directory)
    await asyncio.gather(*(members.set_username(number, "mona") for number in range(1, 7)))
    assert sorted(name for name in (await usernames(directory)).values() if name) == ["mona"]


async def test_two_members_who_swap_their_usernames_do_not_deadlock(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_username="a")
    await rows.member(directory, telegram_username="b")
    for _ in range(5):
        await asyncio.gather(members.set_username("#1", "b"), members.set_username("#2", "a"))
        await asyncio.gather(members.set_username("#1", "a"), members.set_username("#2", "b"))
    assert await usernames(directory) == {"#1": "a", "#2": "b"}
