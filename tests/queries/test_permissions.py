"""Permissions are granted, revoked and lost; a role that people choose themselves is none."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from community_directory.database import transaction
from community_directory.errors import (
    BotRefused,
    InvalidCursor,
    InvalidInput,
    MemberNotActive,
    MemberNotFound,
    PermissionRequired,
)
from community_directory.queries import members, permissions
from community_directory.tables import Permission
from tests.tables import rows
from tests.waiting import until_waiting

SECONDS = 30


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> str:
    """Return the number of an active member who holds `manage`."""
    number: str = (await rows.member(directory, status="active", name="Ana"))["member_id"]
    await rows.permission(directory, member_id=number, permission="manage")
    return number


@pytest.fixture
async def bea(directory: asyncpg.Pool) -> str:
    """Return the number of an active member without permissions."""
    number: str = (await rows.member(directory, status="active", name="Bea"))["member_id"]
    return number


async def held(directory: asyncpg.Pool) -> list[tuple[str, str]]:
    """Return the permissions that are stored."""
    found = await directory.fetch(
        "SELECT member_id, permission FROM member_permissions ORDER BY member_id, permission"
    )
    return [tuple(row) for row in found]


# Grant and revoke


@pytest.mark.parametrize("permission", Permission)
async def test_a_manager_grants_and_revokes_a_permission(
    ana: str, bea: str, permission: Permission
) -> None:
    assert not await permissions.has(bea, permission)
    granted = await permissions.grant(bea, permission.value, actor="bot", granted_by=ana)
    assert (granted.member_id, granted.permission) == (bea, permission)
    assert await permissions.has(bea, permission)
    assert await permissions.of(bea) == [granted]
    assert await permissions.revoke(bea, permission, actor="bot", revoked_by=ana)
    assert not await permissions.has(bea, permission)
    assert await permissions.of(bea) == []
    assert not await permissions.revoke(bea, permission, actor="bot", revoked_by=ana)


async def test_a_repeated_grant_changes_nothing(directory: asyncpg.Pool, bea: str) -> None:
    first = await permissions.grant(bea, "review", actor="bot")
    assert await permissions.grant(bea, "review", actor="bot", reason="again") == first
    assert len(await entries(directory)) == 1


@pytest.mark.parametrize("permission", ["invite", "review", "moderate"])
async def test_whoever_can_manage_can_do_the_rest(ana: str, bea: str, permission: str) -> None:
    assert await permissions.has(ana, permission)
    await permissions.grant(bea, permission, actor="bot")
    assert await permissions.has(int(bea[1:]), permission)
    assert not await permissions.has(bea, "manage")
    others = {"invite", "review", "moderate"} - {permission}
    assert not any([await permissions.has(bea, other) for other in others])


@pytest.mark.parametrize("held_by_caller", [[], ["invite", "review", "moderate"]])
async def test_only_a_manager_grants_and_revokes(
    directory: asyncpg.Pool, ana: str, bea: str, held_by_caller: list[str]
) -> None:
    for permission in held_by_caller:
        await permissions.grant(bea, permission, actor="bot")
    before = await held(directory)
    with pytest.raises(PermissionRequired) as error:
        await permissions.grant(bea, "manage", actor="bot", granted_by=bea)
    assert (error.value.member_id, error.value.permission) == (bea, "manage")
    assert (
        str(error.value) == f"This needs the permission manage, which member {bea} does not have."
    )
    with pytest.raises(PermissionRequired):
        await permissions.revoke(ana, "manage", actor="bot", revoked_by=bea)
    assert await held(directory) == before


async def test_a_role_that_people_choose_themselves_opens_no_door(directory: asyncpg.Pool) -> None:
    eva = await rows.member(directory, status="active", primary_role="community_manager")
    for permission in Permission:
        assert not await permissions.has(eva["member_id"], permission)
    with pytest.raises(PermissionRequired):
        await permissions.grant(
            eva["member_id"], "review", actor="bot", granted_by=eva["member_id"]
        )


@pytest.mark.parametrize("status", ["not_member", "pending", "suspended", "banned"])
async def test_only_an_active_member_gets_a_permission(
    directory: asyncpg.Pool, ana: str, status: str
) -> None:
    eva = await rows.member(directory, status=status)
    with pytest.raises(MemberNotActive) as error:
        await permissions.grant(eva["member_id"], "invite", actor="bot", granted_by=ana)
    assert error.value.status == status
    assert await held(directory) == [(ana, "manage")]


async def test_bots_and_removed_and_unknown_members_get_no_permission(
    directory: asyncpg.Pool, ana: str, bea: str
) -> None:
    bot = await rows.member(directory, status="active", is_bot=True)
    with pytest.raises(BotRefused):
        await permissions.grant(bot["member_id"], "invite", actor="bot")
    await members.remove(bea, actor="test")
    for number, granted_by in ((bea, None), (bea, ana), ("#999", ana), (ana, bea), (ana, 999)):
        with pytest.raises(MemberNotFound):
            await permissions.grant(number, "invite", actor="bot", granted_by=granted_by)
        with pytest.raises(MemberNotFound):
            await permissions.revoke(number, "invite", actor="bot", revoked_by=granted_by)
    assert await held(directory) == [(ana, "manage")]


@pytest.mark.parametrize("permission", ["", "Manage", "admin", "manage ", None, 1])
async def test_an_unknown_permission_is_refused(ana: str, permission: Any) -> None:
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: permissions.grant(ana, permission, actor="bot"),
        lambda: permissions.revoke(ana, permission, actor="bot"),
        lambda: permissions.has(ana, permission),
        lambda: permissions.holders(permission),
    ]
    for call in calls:
        with pytest.raises(InvalidInput) as error:
            await call()
        assert error.value.field == "permission"


async def test_the_log_tells_who_granted_and_revoked_and_why(
    directory: asyncpg.Pool, bea: str
) -> None:
    await permissions.grant(bea, "review", actor="panel:eva", reason="helps on Sundays")
    await permissions.revoke(bea, "review", actor="panel:ana", reason="moved away")
    [granted, revoked] = await entries(directory)
    assert tuple(granted)[:4] == (bea, "panel:eva", "helps on Sundays", "INSERT")
    assert tuple(revoked)[:4] == (bea, "panel:ana", "moved away", "DELETE")


async def entries(directory: asyncpg.Pool) -> list[asyncpg.Record]:
    """Return the entries of the log about permissions."""
    found: list[asyncpg.Record] = await directory.fetch(
        "SELECT member_id, actor, reason, action, changes FROM directory_audit_log"
        " WHERE table_name = 'member_permissions' ORDER BY id"
    )
    return found


# Losing permissions

Change = Callable[[str], Awaitable[object]]
LOSSES: dict[str, Change] = {
    "suspended": lambda number: members.set_status(number, "suspended", actor="mod", reason="spam"),
    "banned": lambda number: members.set_status(number, "banned", actor="mod", reason="spam"),
    "removed": lambda number: members.remove(number, actor="mod", reason="spam"),
    "a bot": lambda number: members.mark_bot(number, actor="mod", reason="spam"),
    "erased": lambda number: members.erase(number, actor="mod", reason="spam"),
}
RETURNS: dict[str, Change] = {
    "suspended": lambda number: members.set_status(number, "active", actor="mod"),
    "banned": lambda number: members.set_status(number, "active", actor="mod"),
    "removed": lambda number: members.restore(number, actor="mod"),
    "a bot": lambda number: members.mark_bot(number, False, actor="mod"),
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_whoever_is_excluded_loses_every_permission(
    directory: asyncpg.Pool, ana: str, bea: str, loss: str
) -> None:
    for permission in ("review", "manage"):
        await permissions.grant(bea, permission, actor="bot")
    await LOSSES[loss](bea)
    assert await held(directory) == [(ana, "manage")]
    assert not await permissions.has(bea, "review")
    assert await permissions.of(bea) == []
    lost = (await entries(directory))[-2:]
    assert [(entry["member_id"], entry["actor"], entry["action"]) for entry in lost] == [
        (bea, "mod", "DELETE")
    ] * 2


@pytest.mark.parametrize("loss", RETURNS)
async def test_whoever_comes_back_has_no_permission(bea: str, loss: str) -> None:
    await permissions.grant(bea, "manage", actor="bot")
    await LOSSES[loss](bea)
    await RETURNS[loss](bea)
    assert (await members.get(bea)).status == "active"
    assert await permissions.of(bea) == []


async def test_a_change_of_the_profile_keeps_the_permissions(bea: str) -> None:
    granted = await permissions.grant(bea, "review", actor="bot")
    before = await members.get(bea)
    await permissions.grant(bea, "invite", actor="bot")
    assert await members.get(bea) == before
    await members.update_profile(bea, name="Beatriz", primary_role="designer")
    assert granted in await permissions.of(bea)


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("ban_is_first", [False, True])
async def test_a_ban_at_the_same_time_leaves_no_permission(
    directory: asyncpg.Pool, bea: str, isolation: str, ban_is_first: bool
) -> None:
    grant = "INSERT INTO member_permissions (id, member_id, permission)"
    grant += " SELECT gen_random_uuid(), member_id, 'manage' FROM community_members"
    ban = "UPDATE community_members SET status = 'banned'"
    first, second = (ban, grant) if ban_is_first else (grant, ban)
    async with directory.acquire() as one, directory.acquire() as two:
        for session in (one, two):
            await session.execute(f"BEGIN ISOLATION LEVEL {isolation}")
            await session.fetchval("SELECT count(*) FROM community_members")  # takes the snapshot
        await one.execute(first)
        waiting = asyncio.create_task(two.execute(second))
        await until_waiting(directory)
        await one.execute("COMMIT")
        with suppress(asyncpg.SerializationError, asyncpg.CheckViolationError):
            await waiting
        await two.execute("COMMIT")
    status = await directory.fetchval("SELECT status FROM community_members")
    left = await held(directory)
    assert left == [] or status == "active"
    if isolation == "READ COMMITTED":
        assert (left, status) == ([], "banned")


async def test_two_managers_who_revoke_each_other_leave_one(
    directory: asyncpg.Pool, ana: str, bea: str
) -> None:
    for _ in range(10):
        for number in (ana, bea):
            await permissions.grant(number, "manage", actor="bot")
        results = await asyncio.wait_for(
            asyncio.gather(
                permissions.revoke(ana, "manage", actor="bot", revoked_by=bea),
                permissions.revoke(bea, "manage", actor="bot", revoked_by=ana),
                return_exceptions=True,
            ),
            SECONDS,
        )
        assert len(await held(directory)) == 1
        assert [type(result) for result in results if result is not True] == [PermissionRequired]


async def test_grants_and_bans_at_once_never_wait_for_each_other_in_a_circle(
    directory: asyncpg.Pool, ana: str
) -> None:
    numbers = [(await rows.member(directory, status="active"))["member_id"] for _ in range(4)]
    for number in numbers:
        await permissions.grant(number, "manage", actor="bot")
    work: list[Awaitable[object]] = [
        permissions.grant(number, "review", actor="bot", granted_by=other)
        for number in numbers
        for other in numbers
    ]
    work += [members.set_status(number, "banned", actor="bot") for number in numbers[:3]]
    results = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), SECONDS)
    refused = [result for result in results if isinstance(result, Exception)]
    assert {type(error) for error in refused} <= {MemberNotActive, PermissionRequired}
    assert {number for number, _ in await held(directory)} == {ana, numbers[3]}


# Ask


async def test_has_is_false_for_an_unknown_member(directory: asyncpg.Pool) -> None:
    assert not await permissions.has("#999", "invite")
    assert not await permissions.has(999, "manage")
    with pytest.raises(MemberNotFound):
        await permissions.of("#999")


async def test_a_permission_of_somebody_who_is_not_active_counts_nothing(
    directory: asyncpg.Pool, bea: str
) -> None:
    await permissions.grant(bea, "manage", actor="bot")
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE community_members SET status = 'suspended'")
    assert not await permissions.has(bea, "manage")
    assert (await permissions.holders("manage")).items == []


async def test_the_number_of_a_merged_member_leads_to_the_other_one(
    directory: asyncpg.Pool, ana: str, bea: str
) -> None:
    await directory.execute(
        "UPDATE community_members SET deleted_at = now(), merged_into = $1,"
        " telegram_id = 'merged:' || id WHERE member_id = $2",
        ana,
        bea,
    )
    assert await permissions.has(bea, "review")
    assert [found.member_id for found in await permissions.of(bea)] == [ana]
    with pytest.raises(MemberNotFound):
        await permissions.grant(bea, "review", actor="bot")


async def test_the_holders_are_paged_and_include_managers_once(
    directory: asyncpg.Pool, ana: str
) -> None:
    numbers = [(await rows.member(directory, status="active"))["member_id"] for _ in range(5)]
    for number in numbers:
        await permissions.grant(number, "review", actor="bot")
    await permissions.grant(numbers[0], "manage", actor="bot")
    await permissions.grant(ana, "invite", actor="bot")
    found: list[str] = []
    cursor = None
    while True:
        page = await permissions.holders("review", after=cursor, limit=2)
        found += [member.member_id for member in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [ana, *numbers]
    managers = await permissions.holders(Permission.MANAGE)
    assert [member.member_id for member in managers.items] == [ana, numbers[0]]
    assert (await permissions.holders("moderate")).items == managers.items
    for wrong in (0, 101):
        with pytest.raises(InvalidInput):
            await permissions.holders("review", limit=wrong)
    with pytest.raises(InvalidCursor):
        await permissions.holders("review", after="x")


async def test_a_grant_obeys_the_transaction_of_its_caller(
    directory: asyncpg.Pool, bea: str
) -> None:
    async def grant_and_fail() -> None:
        async with transaction():
            await permissions.grant(bea, "review", actor="bot")
            assert await permissions.has(bea, "review")
            raise MemberNotFound(bea)

    with pytest.raises(MemberNotFound):
        await grant_and_fail()
    assert await held(directory) == []
    granted = await permissions.grant(bea, "review", actor="bot")
    assert abs(datetime.now(UTC) - granted.granted_at).total_seconds() < 60
