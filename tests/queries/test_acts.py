"""An act changes exactly the members who were picked, in one transaction, as one in the log."""

import asyncio
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.database import transaction
from community_directory.error_texts import LEFT_OUT_TEXTS
from community_directory.errors import (
    ActNotFound,
    ActNotUndoable,
    ActUndone,
    BotRefused,
    InvalidInput,
    MemberBanned,
    MemberMerged,
    MemberNotActive,
    MemberNotFound,
    StatusChangeRefused,
    UndoExpired,
)
from community_directory.queries import acts, audit, invitations, members, permissions
from community_directory.queries.acts import Act, ActKind, ActPreview, LeftOutCode
from community_directory.queries.audit import ChangeKind
from community_directory.settings import load_settings
from community_directory.tables import MemberStatus
from tests.tables import rows

BY: dict[str, Any] = {"actor": "Luis", "reason": "a spam wave"}


async def people(directory: asyncpg.Pool, *states: str, **columns: object) -> None:
    """Add a member for each state, from the next number on; "removed" is an active one."""
    now = await directory.fetchval("SELECT now()")
    for state in states:
        removed = {"status": "active", "deleted_at": now} if state == "removed" else {}
        await rows.member(directory, **{"status": state, **removed, **columns})


async def stored_states(directory: asyncpg.Pool) -> list[str]:
    found = await directory.fetch(
        "SELECT CASE WHEN deleted_at IS NULL THEN status ELSE 'removed' END FROM community_members"
        " ORDER BY length(member_id), member_id"
    )
    return [state for (state,) in found]


def affected(done: Act | ActPreview) -> list[str]:
    found = done.members if isinstance(done, Act) else done.affected
    return [member.member_id for member in found]


def left_out(act: Act | ActPreview) -> dict[str, str]:
    return {each.member_id: each.code.value for each in act.left_out}


STATES = ["not_member", "pending", "active", "suspended", "banned", "removed"]
EXPECTED: dict[str, list[str]] = {
    # for each kind: the state after, or why the member is left out, in the order of STATES
    "approve": ["-contact", "active", "-already_active", "-is_suspended", "-banned", "-removed"],
    "decline": [
        "-already_declined", "not_member", "-is_active", "-is_suspended", "-banned", "-removed",
    ],
    "suspend": ["-contact", "-pending", "suspended", "-already_suspended", "-banned", "-removed"],
    "reinstate": ["-contact", "-pending", "-already_active", "active", "active", "-removed"],
    "ban": ["banned", "banned", "banned", "banned", "-already_banned", "removed"],
    "remove": ["removed", "removed", "removed", "removed", "removed", "-removed"],
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPECTED)
async def test_an_act_affects_those_whom_its_preview_names(
    directory: asyncpg.Pool, kind: str
) -> None:
    await people(directory, *STATES)
    numbers = [f"#{number}" for number in range(1, 7)]
    outcomes = dict(zip(numbers, EXPECTED[kind], strict=True))

    preview = await acts.preview(kind, numbers)
    assert await stored_states(directory) == STATES
    assert affected(preview) == [n for n in numbers if not outcomes[n].startswith("-")]
    assert left_out(preview) == {n: o[1:] for n, o in outcomes.items() if o.startswith("-")}
    assert {each.name for each in preview.left_out} <= {"Ana García"}

    act = await acts.apply(kind, preview.states, **BY)
    assert affected(act) == affected(preview)
    assert act.left_out == ()
    assert await stored_states(directory) == [
        before if outcome.startswith("-") else outcome
        for before, outcome in zip(STATES, EXPECTED[kind], strict=True)
    ]
    assert await acts.get(act.id) == act


async def test_a_removed_member_who_is_banned_stays_removed(directory: asyncpg.Pool) -> None:
    await people(directory, "removed")
    preview = await acts.preview("ban", [1])
    assert preview.states == {"#1": "removed"}
    await acts.apply("ban", preview.states, **BY)
    assert await directory.fetchval("SELECT status FROM community_members") == "banned"


@pytest.mark.parametrize("kind", [kind for kind in EXPECTED if kind != "remove"])
async def test_an_act_allows_the_changes_of_status_that_set_status_allows(
    directory: asyncpg.Pool, kind: str
) -> None:
    await people(directory, *STATES[:5])
    preview = await acts.preview(kind, range(1, 6))
    after = {
        "approve": "active", "decline": "not_member", "suspend": "suspended",
        "reinstate": "active", "ban": "banned",
    }[kind]  # fmt: skip
    # Whoever waits is approved, and whoever was suspended or banned is reinstated.
    before = {"approve": ["pending"], "reinstate": ["suspended", "banned"]}.get(kind)
    for number in range(1, 6):
        try:
            await members.set_status(number, after, actor="Luis", before=before)
            assert f"#{number}" in affected(preview)
        except StatusChangeRefused:
            assert f"#{number}" in left_out(preview)


async def test_an_act_is_one_in_the_log_with_its_actor_and_reason(directory: asyncpg.Pool) -> None:
    await people(directory, "active", "active", "active")
    await permissions.grant("#1", "invite", actor="eva")
    act = await acts.apply("suspend", ["#1", "#3"], **BY)
    await members.set_status("#2", "suspended", actor="Luis")

    entries = await directory.fetch("SELECT * FROM directory_audit_log WHERE act_id = $1", act.id)
    assert {(entry["member_id"], entry["table_name"]) for entry in entries} == {
        ("#1", "member_permissions"),
        ("#1", "community_members"),
        ("#3", "community_members"),
    }
    assert {(entry["actor"], entry["reason"]) for entry in entries} == {("Luis", "a spam wave")}
    change = (await audit.history("#1")).items[0]
    assert (change.act_id, change.undone_act_id) == (act.id, None)
    assert (await audit.history("#2")).items[0].act_id is None


async def test_later_changes_of_the_callers_transaction_do_not_belong_to_the_act(
    directory: asyncpg.Pool,
) -> None:
    await people(directory, "active", "active")
    async with transaction():
        act = await acts.apply("suspend", ["#1"], **BY)
        await members.set_status("#2", "suspended", actor="Luis")
    assert [member.member_id for member in (await acts.get(act.id)).members] == ["#1"]


async def test_a_setting_that_is_no_uuid_keeps_no_row_from_being_written(
    directory: asyncpg.Pool,
) -> None:
    async with directory.acquire() as connection, connection.transaction():
        for name in ("act", "undone_act"):
            await connection.execute(f"SELECT set_config('community_directory.{name}', 'x', true)")
        await rows.member(connection)
    [entry] = await directory.fetch("SELECT act_id, undone_act_id FROM directory_audit_log")
    assert tuple(entry) == (None, None)


async def test_members_who_changed_since_the_preview_are_left_out(directory: asyncpg.Pool) -> None:
    await people(directory, "pending", "pending", "active", "active", "removed")
    ban = await acts.preview("ban", range(1, 6))
    await members.set_status("#1", "active", actor="eva")
    await members.remove("#3", actor="eva")
    await members.restore("#5", actor="eva")
    act = await acts.apply("ban", ban.states, **BY)
    assert affected(act) == ["#2", "#4"]
    assert left_out(act) == {"#1": "changed", "#3": "changed", "#5": "changed"}
    # Without the states that somebody has seen, the same are affected.
    assert affected(await acts.apply("ban", ["#1", "#3", "#5"], **BY)) == ["#1", "#3", "#5"]


async def test_what_can_not_be_done_any_more_is_left_out_with_its_own_reason(
    directory: asyncpg.Pool,
) -> None:
    await people(directory, "pending", "pending")
    seen = (await acts.preview("approve", ["#1", "#2"])).states
    await acts.apply("approve", seen, actor="eva")
    act = await acts.apply("approve", seen, **BY)
    assert (act.members, left_out(act)) == ((), dict.fromkeys(seen, "already_active"))
    with pytest.raises(ActNotFound):
        await acts.get(act.id)


async def test_unknown_and_merged_numbers_and_bots_are_left_out(directory: asyncpg.Pool) -> None:
    await people(directory, "active")
    await rows.merged_member(directory, merged_into="#1")
    await people(directory, "pending", is_bot=True)
    preview = await acts.preview("ban", ["#2", "#3", 99, "nobody", "#3"])
    assert affected(preview) == ["#3"]
    assert left_out(preview) == {"#2": "merged", "#99": "unknown", "nobody": "unknown"}
    assert left_out(await acts.preview("approve", ["#3"])) == {"#3": "bot"}


@pytest.mark.parametrize("kind", ["suspend", "ban", "remove"])
async def test_managers_are_spared_unless_the_caller_says_otherwise(
    directory: asyncpg.Pool, kind: str
) -> None:
    await people(directory, "active", "active")
    await permissions.grant("#1", "manage", actor="eva")
    await permissions.grant("#2", "review", actor="eva")
    act = await acts.apply(kind, ["#1", "#2"], **BY)
    assert (affected(act), left_out(act)) == (["#2"], {"#1": "manager"})
    assert [held.permission for held in await permissions.of("#1")] == ["manage"]
    assert await permissions.of("#2") == []

    act = await acts.apply(kind, ["#1"], including_managers=True, **BY)
    assert affected(act) == ["#1"]
    assert await permissions.of("#1") == []


async def test_the_accounts_of_banned_members_are_banned(directory: asyncpg.Pool) -> None:
    inviter = await rows.member(directory, status="active")
    for telegram_id in ("700", "701"):
        await rows.member(directory, telegram_id=telegram_id, status="pending")
    await rows.account(directory, member_id="#2", platform="discord", account_id="88")
    await acts.apply("ban", ["#2", "#3"], **BY)
    code = (await invitations.create(created_by=inviter["member_id"])).invitation_code
    for account in ("700", "701", "discord:88"):
        with pytest.raises(MemberBanned):
            await invitations.redeem(code, telegram_id=account, name="Bo", primary_role="x")
        with pytest.raises(MemberBanned):
            await members.add(telegram_id=account, name="Bo", primary_role="x")


async def test_an_act_cancels_the_open_invitations_of_whom_it_affects(
    directory: asyncpg.Pool,
) -> None:
    await people(directory, "active", "banned", "active")
    now = await directory.fetchval("SELECT now()")
    for number in ("#1", "#2", "#3"):
        await rows.invitation(directory, created_by=number)
    await rows.invitation(
        directory, created_by="#1", created_at=now - timedelta(days=9), expires_at=now
    )
    await rows.invitation(directory, created_by="#1", status="cancelled")
    preview = await acts.preview("suspend", ["#1", "#2"])
    assert preview.invitations == 1

    act = await acts.apply("suspend", ["#1", "#2"], cancel_invitations=True, **BY)
    assert act.invitations == 1
    assert await acts.get(act.id) == replace(act, left_out=())
    found = await directory.fetch(
        "SELECT created_by FROM community_invitations"
        " WHERE status = 'pending' AND expires_at > now()"
    )
    assert sorted(number for (number,) in found) == ["#2", "#3"]
    assert (await acts.apply("suspend", ["#3"], **BY)).invitations == 0


async def test_invitations_alone_can_be_cancelled_also_those_of_removed_members(
    directory: asyncpg.Pool,
) -> None:
    await people(directory, "active", "removed", "active")
    for number in ("#1", "#1", "#2"):
        await rows.invitation(directory, created_by=number)
    act = await acts.apply("cancel_invitations", ["#1", "#2", "#3"], **BY)
    assert (affected(act), left_out(act)) == (["#1", "#2"], {"#3": "no_invitations"})
    assert act.invitations == 3
    assert await stored_states(directory) == ["active", "removed", "active"]
    found = await acts.get(act.id)
    assert (found.kind, found.invitations, affected(found)) == (
        ActKind.CANCEL_INVITATIONS, 3, ["#1", "#2"],
    )  # fmt: skip


async def test_members_move_to_another_inviter(directory: asyncpg.Pool) -> None:
    await people(directory, "active", "active", "active")
    await people(directory, "active", "removed", invited_by="#1")
    preview = await acts.preview("move", ["#3", "#4", "#5"], invited_by="#2")
    act = await acts.apply("move", preview.states, invited_by=2, **BY)
    assert affected(act) == ["#3", "#4", "#5"]
    assert affected(await acts.get(act.id)) == ["#3", "#4", "#5"]
    assert (await acts.get(act.id)).kind is ActKind.MOVE
    assert [(node.member_id, node.invited_by) for node in (await invitations.tree("#2")).items] == [
        ("#2", None), ("#3", "#2"), ("#4", "#2"), ("#5", "#2"),
    ]  # fmt: skip
    assert left_out(await acts.preview("move", ["#3"], invited_by="#2")) == {"#3": "already_there"}


async def test_nobody_moves_below_somebody_whom_they_invited(directory: asyncpg.Pool) -> None:
    await rows.member(directory, status="active")
    for inviter in ("#1", "#2"):
        await rows.member(directory, status="active", invited_by=inviter)
    act = await acts.apply("move", ["#1", "#2", "#3"], invited_by="#3", **BY)
    assert (act.members, left_out(act)) == ((), dict.fromkeys(["#1", "#2", "#3"], "circle"))


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"status": "suspended"}, MemberNotActive),
        ({"status": "active", "is_bot": True}, BotRefused),
        ({"status": "active", "deleted_at": "now"}, MemberNotFound),
        (None, MemberNotFound),
    ],
)
async def test_the_new_inviter_is_an_active_member(
    directory: asyncpg.Pool, columns: dict[str, object] | None, error: type[Exception]
) -> None:
    await people(directory, "active")
    if columns is not None:
        if "deleted_at" in columns:
            columns = {**columns, "deleted_at": await directory.fetchval("SELECT now()")}
        await rows.member(directory, **columns)
    for call in (acts.preview("move", ["#1"], invited_by="#2"),
                 acts.apply("move", ["#1"], invited_by="#2", **BY)):  # fmt: skip
        with pytest.raises(error):
            await call
    assert await directory.fetchval("SELECT invited_by FROM community_members LIMIT 1") is None


async def test_a_merged_number_is_no_new_inviter(directory: asyncpg.Pool) -> None:
    await people(directory, "active", "active")
    await rows.merged_member(directory, merged_into="#1")
    with pytest.raises(MemberMerged):
        await acts.preview("move", ["#2"], invited_by="#3")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"kind": "praise"}, "invalid_input"),
        ({"kind": "undo"}, "invalid_input"),
        ({"numbers": []}, "nobody_picked"),
        ({"numbers": "#1"}, "invalid_input"),
        ({"numbers": range(1, 50_002)}, "too_many_people"),
        ({"kind": "move"}, "invalid_input"),
        ({"invited_by": "#2"}, "invalid_input"),
    ],
)
async def test_a_call_that_means_no_act_is_refused(
    directory: asyncpg.Pool, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await acts.apply(**{"kind": "ban", "numbers": ["#1"], **arguments}, **BY)
    assert refused.value.code == code


async def test_a_blank_actor_is_refused(directory: asyncpg.Pool) -> None:
    for call in (acts.apply("ban", ["#1"], actor=" "), acts.undo(uuid.uuid4(), actor=" ")):
        with pytest.raises(InvalidInput):
            await call


def test_each_reason_to_leave_somebody_out_has_a_text() -> None:
    assert LEFT_OUT_TEXTS.keys() == set(LeftOutCode)
    assert acts.LeftOut("#1", "Ana", LeftOutCode.BOT).sentence == "Is a bot"


# Undo


@pytest.mark.parametrize(
    ("kind", "after", "told", "untold"),
    [
        ("approve", "active", ChangeKind.MEMBER_APPROVED, ChangeKind.MEMBER_UNAPPROVED),
        ("decline", "not_member", ChangeKind.MEMBER_DECLINED, ChangeKind.MEMBER_UNDECLINED),
    ],
)
async def test_an_approval_and_a_refusal_can_be_undone(
    directory: asyncpg.Pool, kind: str, after: str, told: ChangeKind, untold: ChangeKind
) -> None:
    await people(directory, "pending", "pending")
    act = await acts.apply(kind, ["#1", "#2"], **BY)
    assert act.undoable_until == act.acted_at + acts.UNDO_WINDOW
    assert await stored_states(directory) == [after, after]

    undo = await acts.undo(str(act.id), actor="eva", reason="the wrong people")
    assert await stored_states(directory) == ["pending", "pending"]
    assert (undo.kind, undo.undoes, affected(undo)) == (ActKind.UNDO, act.id, ["#1", "#2"])
    assert await acts.get(undo.id) == undo
    undone = await acts.get(act.id)
    assert (undone.undone_by, undone.undoable_until) == (undo.id, None)
    history = (await audit.history("#1")).items
    assert [change.kind for change in history[:2]] == [untold, told]
    assert (history[0].actor, history[0].reason) == ("eva", "the wrong people")

    with pytest.raises(ActUndone):
        await acts.undo(act.id, actor="eva")
    with pytest.raises(ActNotUndoable):
        await acts.undo(undo.id, actor="eva")


async def test_whoever_really_joins_is_told_as_joined(directory: asyncpg.Pool) -> None:
    await people(directory, "not_member")
    await members.set_status("#1", "pending", actor="eva")
    assert (await audit.history("#1")).items[0].kind is ChangeKind.MEMBER_JOINED


@pytest.mark.parametrize("kind", ["suspend", "reinstate", "ban", "remove"])
async def test_other_acts_can_not_be_undone(directory: asyncpg.Pool, kind: str) -> None:
    await people(directory, "active", "suspended")
    act = await acts.apply(kind, ["#1", "#2"], **BY)
    assert act.undoable_until is None
    with pytest.raises(ActNotUndoable):
        await acts.undo(act.id, actor="eva")


async def age(directory: asyncpg.Pool, act: Act, minutes: float) -> None:
    await directory.execute(
        "UPDATE directory_audit_log SET changed_at = now() - $2 * interval '1 minute'"
        " WHERE act_id = $1",
        act.id,
        minutes,
    )


async def test_an_act_can_be_undone_for_ten_minutes(directory: asyncpg.Pool) -> None:
    await people(directory, "pending", "pending")
    early, late = [await acts.apply("approve", [number], **BY) for number in ("#1", "#2")]
    await age(directory, early, 9.9)
    await age(directory, late, 10)
    await acts.undo(early.id, actor="eva")
    with pytest.raises(UndoExpired) as refused:
        await acts.undo(late.id, actor="eva")
    assert refused.value.expired_at == (await acts.get(late.id)).undoable_until
    assert await stored_states(directory) == ["pending", "active"]


async def test_only_those_whose_status_nobody_changed_since_wait_again(
    directory: asyncpg.Pool,
) -> None:
    await people(directory, *["pending"] * 5)
    act = await acts.apply("approve", range(1, 6), **BY)
    for status in ("suspended", "active"):  # the same again
        await members.set_status("#1", status, actor="eva")
    await members.set_status("#2", "banned", actor="eva")
    await members.remove("#3", actor="eva")
    await members.merge("#4", into="#2", actor="eva")
    await members.update_profile("#5", name="Eva")
    undo = await acts.undo(act.id, actor="eva")
    assert [(member.member_id, member.name) for member in undo.members] == [("#5", "Eva")]
    assert left_out(undo) == {"#1": "changed", "#2": "changed", "#3": "removed", "#4": "merged"}
    assert await stored_states(directory) == ["active", "banned", "removed", "removed", "pending"]


async def test_an_undone_approval_takes_the_permissions(directory: asyncpg.Pool) -> None:
    await people(directory, "pending")
    act = await acts.apply("approve", ["#1"], **BY)
    await permissions.grant("#1", "invite", actor="eva")
    await acts.undo(act.id, actor="eva")
    assert await permissions.of("#1") == []


@pytest.mark.parametrize("act_id", ["x", "", 7, None])
async def test_an_id_that_is_no_uuid_is_refused(directory: asyncpg.Pool, act_id: Any) -> None:
    for call in (acts.get(act_id), acts.undo(act_id, actor="eva")):
        with pytest.raises(InvalidInput):
            await call


async def test_an_unknown_act_is_not_found(directory: asyncpg.Pool) -> None:
    for call in (acts.get(uuid.uuid4()), acts.undo(uuid.uuid4(), actor="eva")):
        with pytest.raises(ActNotFound):
            await call


async def test_an_erased_member_keeps_the_act_without_its_reason(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a" * 40)
    load_settings.cache_clear()
    await people(directory, "active", "active", name="Ana")
    act = await acts.apply("ban", ["#1", "#2"], **BY)
    await members.erase("#1", actor="eva")
    found = await acts.get(act.id)
    assert [member.name for member in found.members] == ["Erased member", "Ana"]
    assert found.reason == "a spam wave"
    await members.erase("#2", actor="eva")
    assert (await acts.get(act.id)).reason is None


# Races


async def test_of_two_acts_at_once_each_member_belongs_to_one(directory: asyncpg.Pool) -> None:
    await people(directory, *["pending"] * 60)
    numbers = list(range(1, 61))
    done = await asyncio.gather(
        *(
            acts.apply(kind, numbers[::step], actor=kind)
            for kind in ("approve", "decline")
            for step in (1, -1)
        )
    )
    changed = [number for act in done for number in affected(act)]
    assert sorted(changed) == sorted(f"#{number}" for number in numbers)
    for act in done:
        assert len(act.members) + len(act.left_out) == 60


async def test_of_two_undos_at_once_one_is_done(directory: asyncpg.Pool) -> None:
    await people(directory, *["pending"] * 5)
    act = await acts.apply("approve", range(1, 6), **BY)
    outcomes = await asyncio.gather(
        *(acts.undo(act.id, actor=str(number)) for number in range(6)), return_exceptions=True
    )
    undone = [outcome for outcome in outcomes if isinstance(outcome, Act)]
    assert [len(each.members) for each in undone] == [5]
    assert [type(each) for each in outcomes if not isinstance(each, Act)] == [ActUndone] * 5


async def test_acts_and_other_calls_at_once_end_without_a_deadlock(
    directory: asyncpg.Pool,
) -> None:
    await people(directory, *["active"] * 20)
    await people(directory, *["active"] * 20, invited_by="#1")
    codes = [
        (await rows.invitation(directory, created_by=f"#{number}"))["invitation_code"]
        for number in range(2, 12)
    ]

    async def join(number: int) -> None:
        await invitations.redeem(
            codes[number], telegram_id=str(9000 + number), name="Bo", primary_role="x"
        )

    numbers = list(range(2, 21))
    outcomes = await asyncio.gather(
        acts.apply("suspend", numbers, cancel_invitations=True, **BY),
        acts.apply("ban", numbers[::-1], cancel_invitations=True, **BY),
        acts.apply("cancel_invitations", numbers, **BY),
        acts.apply("move", range(21, 41), invited_by="#1", **BY),
        acts.apply("move", range(40, 20, -1), invited_by="#2", **BY),
        members.merge("#30", into="#31", actor="eva"),
        members.merge("#5", into="#3", actor="eva"),
        *(members.set_status(number, "banned", actor="eva") for number in range(20, 10, -1)),
        *(join(number) for number in range(10)),
        return_exceptions=True,
    )
    unexpected = [
        outcome
        for outcome in outcomes
        if isinstance(outcome, BaseException) and not hasattr(outcome, "code")
    ]
    assert unexpected == []
    assert "database_unavailable" not in {getattr(outcome, "code", None) for outcome in outcomes}
    found = await directory.fetch(
        "SELECT status FROM community_members WHERE member_id <> '#5'"
        " AND substr(member_id, 2)::integer BETWEEN 2 AND 20"
    )
    assert {status for (status,) in found} <= {MemberStatus.BANNED, MemberStatus.SUSPENDED}


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_whatever_is_picked_exactly_that_is_done(
    directory: asyncpg.Pool, data: st.DataObject
) -> None:
    states = data.draw(st.lists(st.sampled_from(STATES), min_size=1, max_size=8))
    kind = data.draw(st.sampled_from(list(EXPECTED)))
    first = 1 + int(await directory.fetchval("SELECT count(*) FROM community_members"))
    await people(directory, *states)
    numbers = [f"#{first + place}" for place in range(len(states))]
    picked = data.draw(st.lists(st.sampled_from(numbers), min_size=1, unique=True))
    act = await acts.apply(kind, picked, **BY)
    assert sorted([*affected(act), *left_out(act)]) == sorted(picked)
    expected = dict(zip(STATES, EXPECTED[kind], strict=True))
    after = dict(zip(numbers, (await stored_states(directory))[first - 1 :], strict=True))
    for number, before in zip(numbers, states, strict=True):
        outcome = expected[before]
        done = number in picked and not outcome.startswith("-")
        assert after[number] == (outcome if done else before)
        assert (number in affected(act)) is done
