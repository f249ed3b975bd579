"""A branch is a member and everybody below; an act on it changes exactly those who were picked."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from community_directory.errors import InvalidInput, MemberNotFound
from community_directory.queries import acts, audit, branches, invitations, members, permissions
from community_directory.queries.acts import ActKind
from tests.queries.test_acts import affected, left_out, people, stored_states
from tests.tables import rows

BY: dict[str, Any] = {"actor": "Luis", "reason": "a ring of spammers"}


async def family(directory: asyncpg.Pool) -> None:
    """Add #1, who invited #2 and #3; #2 invited the bot #4, who invited #5; #6 is elsewhere."""
    await people(directory, "active", name="Root")
    await people(directory, "active", "pending", invited_by="#1")
    await people(directory, "active", invited_by="#2", is_bot=True)
    await people(directory, "banned", invited_by="#4")
    await people(directory, "active")


async def test_a_branch_has_everybody_below_a_member(directory: asyncpg.Pool) -> None:
    await family(directory)
    await people(directory, "removed", invited_by="#3")
    await rows.merged_member(directory, merged_into="#6", invited_by="#1")
    for _ in range(2):
        await rows.invitation(directory, created_by="#2")
    await rows.invitation(directory, created_by="#2", status="cancelled")
    await rows.invitation(directory, created_by="#1")
    await permissions.grant("#2", "manage", actor="eva")
    await directory.execute(
        "UPDATE community_members SET created_at = now() - interval '40 days',"
        " last_active_at = $1 WHERE member_id = '#2'",
        datetime(2026, 1, 31, tzinfo=UTC),
    )

    branch = await branches.preview(1)
    assert (branch.root.member_id, branch.root.name, branch.root.level) == ("#1", "Root", 0)
    assert (branch.root.parent, branch.root.open_invitations) == (None, 1)
    assert [
        (each.member_id, each.level, each.invited_by, each.parent) for each in branch.members
    ] == [
        ("#2", 1, "#1", "#1"),
        ("#3", 1, "#1", "#1"),
        ("#7", 2, "#3", "#3"),
        ("#5", 3, "#4", "#2"),
    ]
    assert branch.totals == {"active": 1, "pending": 1, "removed": 1, "banned": 1}
    assert branch.open_invitations == 2
    second = branch.members[0]
    assert (second.is_manager, second.open_invitations, second.state) == (True, 2, "active")
    assert second.days_since_joining in (40, 41)
    assert second.last_active_at == datetime(2026, 1, 31, tzinfo=UTC)
    assert branch.members[2].state == "removed"


async def test_a_bot_at_the_top_is_shown_and_its_children_hang_below_it(
    directory: asyncpg.Pool,
) -> None:
    await family(directory)
    branch = await branches.preview("#4")
    assert [(each.member_id, each.parent) for each in branch.members] == [("#5", "#4")]


async def test_nobody_has_an_unknown_branch(directory: asyncpg.Pool) -> None:
    with pytest.raises(MemberNotFound):
        await branches.preview("#99")


async def test_a_branch_of_too_many_is_refused(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await family(directory)
    monkeypatch.setattr(branches, "MAX_PEOPLE", 2)
    with pytest.raises(InvalidInput) as refused:
        await branches.preview("#1")
    assert (refused.value.code, refused.value.limit) == ("too_many_people", 2)
    assert len((await branches.preview("#2")).members) == 1


async def test_a_circle_of_a_restored_backup_ends(directory: asyncpg.Pool) -> None:
    await family(directory)
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE community_members SET invited_by = '#5' WHERE member_id = '#1'"
        )
    assert len((await branches.preview("#1")).members) == 3
    assert affected(await branches.apply("#1", "suspend", ["#2"], **BY)) == ["#2"]


async def test_a_branch_is_banned_as_one_act_with_those_spared(directory: asyncpg.Pool) -> None:
    await family(directory)
    await rows.invitation(directory, created_by="#1")
    branch = await branches.preview("#1")
    states = {each.member_id: each.state for each in [branch.root, *branch.members]}
    del states["#3"]
    preview = await branches.preview_act("#1", "ban", states)
    assert affected(preview) == ["#1", "#2"]
    assert left_out(preview) == {"#5": "already_banned"}

    act = await branches.apply("#1", "ban", preview.states, cancel_invitations=True, **BY)
    assert (affected(act), act.invitations) == (["#1", "#2"], 1)
    assert await stored_states(directory) == [
        "banned", "banned", "pending", "active", "banned", "active",
    ]  # fmt: skip
    assert await acts.get(act.id) == act
    assert (await audit.history("#2")).items[0].reason == "a ring of spammers"


async def test_whoever_is_not_below_the_root_any_more_is_left_out(
    directory: asyncpg.Pool,
) -> None:
    await family(directory)
    await acts.apply("move", ["#3"], invited_by="#6", actor="eva")
    for kind in ("suspend", "ban", "cancel_invitations"):
        act = await branches.apply("#1", kind, ["#3", "#6"], **BY)
        assert left_out(act) == {"#3": "elsewhere", "#6": "elsewhere"}
    assert affected(await branches.apply("#1", "suspend", ["#1", "#2"], **BY)) == ["#1", "#2"]


async def test_the_children_of_a_member_get_another_inviter(directory: asyncpg.Pool) -> None:
    await family(directory)
    act = await branches.apply("#1", "move", ["#2", "#3", "#5"], invited_by="#6", **BY)
    assert (affected(act), left_out(act)) == (["#2", "#3"], {"#5": "elsewhere"})
    assert [node.member_id for node in await invitations.lineage("#5")] == ["#5", "#4", "#2", "#6"]


async def test_children_do_not_move_below_themselves(directory: asyncpg.Pool) -> None:
    await family(directory)
    act = await branches.apply("#1", "move", ["#2", "#3"], invited_by="#2", **BY)
    assert (affected(act), left_out(act)) == (["#3"], {"#2": "circle"})


@pytest.mark.parametrize("kind", [kind for kind in ActKind if kind not in branches.BRANCH_KINDS])
async def test_an_act_on_a_branch_is_of_few_kinds(directory: asyncpg.Pool, kind: ActKind) -> None:
    with pytest.raises(InvalidInput):
        await branches.apply("#1", kind, ["#1"], **BY)


async def test_a_suspension_of_a_branch_can_end(directory: asyncpg.Pool) -> None:
    await family(directory)
    until = datetime.now(UTC) + timedelta(days=7)
    await branches.apply("#1", "suspend", ["#1", "#2"], until=until, **BY)
    assert {(await members.get(number)).suspended_until for number in (1, 2)} == {until}
    for kind, end in (("ban", until), ("suspend", until - timedelta(days=8))):
        with pytest.raises(InvalidInput):
            await branches.apply("#1", kind, ["#1"], until=end, **BY)


async def test_acts_on_branches_that_overlap_end_without_a_deadlock(
    directory: asyncpg.Pool,
) -> None:
    await people(directory, "active")
    for number in range(1, 16):
        await people(directory, "active", "active", invited_by=f"#{number}")
    numbers = [f"#{number}" for number in range(1, 32)]
    outcomes = await asyncio.gather(
        branches.apply("#1", "suspend", numbers, **BY),
        branches.apply("#2", "ban", numbers[::-1], cancel_invitations=True, **BY),
        branches.apply("#3", "move", numbers, invited_by="#2", **BY),
        branches.apply("#2", "move", numbers[::-1], invited_by="#3", **BY),
        members.set_status("#31", "banned", actor="eva"),
        return_exceptions=True,
    )
    codes = {
        getattr(each, "code", repr(each)) for each in outcomes if isinstance(each, BaseException)
    }
    assert codes <= {"member_not_active", "status_change_refused"}
    assert len((await invitations.tree("#1")).items) == 31
