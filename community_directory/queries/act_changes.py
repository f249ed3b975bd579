"""How an act changes its members: it locks, judges and writes them in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import (
    BotRefused,
    InvalidInput,
    MemberMerged,
    MemberNotActive,
    MemberNotFound,
)
from community_directory.queries.act_rows import (
    REMOVED_STATE,
    UNDO_WINDOW,
    UNDOABLE_KINDS,
    Act,
    ActKind,
    ActMember,
    ActPreview,
    LeftOut,
    LeftOutCode,
    explain_status,
)
from community_directory.queries.ids import new_id
from community_directory.queries.member_cache import forget
from community_directory.queries.members import ALLOWED_TRANSITIONS, check_until
from community_directory.queries.values import ACTOR_CTE, member_number
from community_directory.tables import MemberStatus

MAX_PEOPLE = 50_000
"""The maximum number of members of one act."""
LONG_ACT_SIZE = 500
"""The number of members from which an act has the long time limit."""

STATUS_AFTER = {
    ActKind.APPROVE: MemberStatus.ACTIVE,
    ActKind.DECLINE: MemberStatus.NOT_MEMBER,
    ActKind.SUSPEND: MemberStatus.SUSPENDED,
    ActKind.REINSTATE: MemberStatus.ACTIVE,
    ActKind.BAN: MemberStatus.BANNED,
}
"""The status that each kind of act gives."""
STATUSES_BEFORE = {kind: ALLOWED_TRANSITIONS[after] for kind, after in STATUS_AFTER.items()} | {
    ActKind.APPROVE: (MemberStatus.PENDING,),
    ActKind.REINSTATE: (MemberStatus.SUSPENDED, MemberStatus.BANNED),
}
"""The statuses from which it does so."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an act shall do.

    Attributes:
        kind: What the act does.
        seen: The numbers of the members, each with the state that somebody has seen, or None.
        invited_by: The number of the new inviter, for an act that moves members.
        until: The end of a suspension; None is a suspension without an end.
        root: The number of the member whose branch the act is about; None for any members.
        spares_managers: Whether those who hold the permission `manage` are left out.
    """

    kind: ActKind
    seen: Mapping[str, str | None]
    invited_by: str | None
    until: datetime | None
    root: str | None
    spares_managers: bool

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of `JUDGE_MEMBERS`, and of the statements that begin with it."""
        return {
            "numbers": list(self.seen),
            "seen": list(self.seen.values()),
            "kind": self.kind,
            "allowed_before": STATUSES_BEFORE.get(self.kind),
            "spares_managers": self.spares_managers
            and self.kind in (ActKind.SUSPEND, ActKind.BAN, ActKind.REMOVE),
            "invited_by": self.invited_by,
            "root": self.root,
        }


_STATE = f"CASE WHEN deleted_at IS NULL THEN status ELSE '{REMOVED_STATE}' END"

# A removed member can be banned, or else any code would bring them back.
_JUDGED_CTES = f"""
lineage AS (
    -- the new inviter, their inviter, and so on, of whom nobody can move below the new inviter
    SELECT :invited_by::text AS member_id
    UNION
    SELECT member.invited_by
    FROM lineage JOIN community_members AS member USING (member_id)
), branch AS (
    -- the member at the root, whom they invited, whom those invited, and so on
    SELECT :root::text AS member_id
    UNION
    SELECT member.member_id
    FROM branch JOIN community_members AS member ON member.invited_by = branch.member_id
), judged AS MATERIALIZED (
    -- each member in the order of the numbers; the code says why the act leaves them out
    SELECT asked.*, name, status, {_STATE} AS state, CASE
        WHEN member_id IS NULL THEN 'unknown'
        WHEN merged_into IS NOT NULL THEN 'merged'
        WHEN deleted_at IS NOT NULL AND :kind::text NOT IN ('ban', 'cancel_invitations', 'move')
            THEN 'removed'
        WHEN :root IS NOT NULL AND CASE :kind WHEN 'move' THEN invited_by IS DISTINCT FROM :root
            ELSE member_id NOT IN (SELECT member_id FROM branch) END THEN 'elsewhere'
        WHEN status <> ALL(:allowed_before::text[]) THEN 'status'
        WHEN is_bot AND :kind = 'approve' THEN 'bot'
        WHEN :spares_managers AND EXISTS (
            SELECT FROM member_permissions AS held
            WHERE held.member_id = number AND permission = 'manage'
        ) THEN 'manager'
        WHEN :kind = 'move' AND invited_by = :invited_by THEN 'already_there'
        WHEN :kind = 'move' AND member_id IN (SELECT member_id FROM lineage) THEN 'circle'
        WHEN :kind = 'cancel_invitations' AND open_invitations = 0 THEN 'no_invitations'
        WHEN seen <> {_STATE} THEN 'changed'
    END AS code, open_invitations
    FROM unnest(:numbers::text[], :seen::text[]) WITH ORDINALITY AS asked(number, seen, place)
    LEFT JOIN community_members ON member_id = number
    LEFT JOIN LATERAL (
        -- The condition stands in the count, or PostgreSQL reads all open invitations for each one.
        SELECT count(*) FILTER (WHERE invitation.status = 'pending' AND expires_at > now())
            AS open_invitations
        FROM community_invitations AS invitation WHERE created_by = number
    ) AS counted ON true
)"""
_JUDGEMENT = "SELECT number, name, status, state, code, open_invitations FROM judged ORDER BY place"

JUDGE_MEMBERS = Statement(f"WITH RECURSIVE {_JUDGED_CTES} {_JUDGEMENT}")


def _make_change_statement(assignment: str) -> Statement:
    """Return the statement that changes those whom the act affects, and tells about all."""
    return Statement(f"""
WITH RECURSIVE {ACTOR_CTE}, {_JUDGED_CTES}, changed AS (
    UPDATE community_members AS member SET {assignment} FROM judged, actor
    WHERE member.member_id = judged.number AND code IS NULL
)
{_JUDGEMENT}
""")


CHANGE_STATUSES = _make_change_statement(
    "status = :status_after::text, suspended_until = :until::timestamptz"
)
REMOVE_MEMBERS = _make_change_statement("deleted_at = now()")
MOVE_MEMBERS = _make_change_statement("invited_by = :invited_by")

CANCEL_LOCKED_INVITATIONS = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_invitations SET status = 'cancelled' FROM actor
WHERE invitation_id = ANY(:invitation_ids) AND created_by = ANY(:numbers)
    AND status = 'pending' AND expires_at > now()
RETURNING created_by
""")

# The triggers of the audit log read the settings. They end with the act, so that later changes in
# the caller's transaction do not belong to it.
BEGIN_ACT = Statement("""
SELECT set_config('community_directory.act', :act_id, true),
    set_config('community_directory.undone_act', coalesce(:undone_act_id::text, ''), true)
""")
END_ACT = """
SELECT set_config('community_directory.act', '', true),
    set_config('community_directory.undone_act', '', true), now()
"""

# Locks are taken in the order of all writers: invitations, then members by their numbers. NO KEY
# allows other transactions to record events of the members.
LOCK_INVITATIONS = Statement("""
SELECT invitation_id FROM community_invitations
WHERE created_by = ANY(:numbers) AND status = 'pending' AND expires_at > now()
ORDER BY invitation_id FOR UPDATE
""")
LOCK_MEMBERS = Statement("""
SELECT FROM community_members WHERE member_id = ANY(:numbers) AND merged_into IS NULL
ORDER BY member_id FOR NO KEY UPDATE
""")

GET_NEW_INVITER = Statement("""
SELECT status, deleted_at, is_bot, merged_into FROM community_members WHERE member_id = :member_id
""")


def make_plan(
    kind: ActKind,
    numbers: Sequence[str | int] | Mapping[str, str],
    *,
    invited_by: str | int | None,
    including_managers: bool,
    until: datetime | None = None,
    root: str | None = None,
) -> Plan:
    """Check the arguments of an act, and return what it shall do.

    Raises:
        InvalidInput: Nobody or more than `MAX_PEOPLE` are picked, a number is neither a text nor an
            integer, only one of `invited_by` and the kind `move` is given, or `until` is not in the
            future or belongs to another kind than `suspend`.
    """
    if kind is ActKind.UNDO:
        raise InvalidInput("Undo an act by its id.", field="kind")
    inviter = None if invited_by is None else member_number(invited_by, "invited_by")
    if (inviter is None) is (kind is ActKind.MOVE):
        raise InvalidInput(
            "The new inviter belongs to an act that moves members.", field="invited_by"
        )
    check_until(until, STATUS_AFTER.get(kind))
    if isinstance(numbers, str):
        raise InvalidInput("The numbers must be a list.", field="numbers")
    states: Mapping[str, str | None] | Mapping[str | int, None] = (
        dict(numbers) if isinstance(numbers, Mapping) else dict.fromkeys(numbers)
    )
    if not states:
        raise InvalidInput("Pick at least one person.", field="numbers", code="nobody_picked")
    if len(states) > MAX_PEOPLE:
        raise InvalidInput(
            f"At most {MAX_PEOPLE:,} people can be changed at once.",
            field="numbers",
            limit=MAX_PEOPLE,
            code="too_many_people",
        )
    return Plan(
        kind,
        {member_number(number, "numbers"): state for number, state in states.items()},
        inviter,
        until,
        root,
        spares_managers=not including_managers,
    )


async def judge(plan: Plan) -> ActPreview:
    """Return what the act would do now."""
    with _limit_time(plan):
        await _check_new_inviter(plan.invited_by)
        return _make_preview(plan.kind, await engine.fetch(JUDGE_MEMBERS, **plan.parameters))


async def perform(plan: Plan, *, actor: str, reason: str | None, cancels_invitations: bool) -> Act:
    """Do the act in one transaction, and return it."""
    act_id = new_id()
    cancels_invitations |= plan.kind is ActKind.CANCEL_INVITATIONS
    with _limit_time(plan):
        async with transaction():
            await engine.fetch(BEGIN_ACT, act_id=str(act_id), undone_act_id=None)
            invitation_ids = await _lock(plan, with_invitations=cancels_invitations)
            await _check_new_inviter(plan.invited_by)
            done = await _change(plan, actor=actor, reason=reason)
            cancelled = await _cancel_locked(
                invitation_ids, done.affected, actor=actor, reason=reason
            )
            [(*_, acted_at)] = await engine.fetch(END_ACT)
    return Act(
        id=act_id,
        kind=plan.kind,
        actor=actor,
        reason=reason,
        acted_at=acted_at,
        undoable_until=acted_at + UNDO_WINDOW if plan.kind in UNDOABLE_KINDS else None,
        members=done.affected,
        left_out=done.left_out,
        invitations=cancelled,
    )


def _limit_time(plan: Plan) -> AbstractContextManager[None]:
    """Return the time limit of an act: a long one for many members."""
    return long_running() if len(plan.seen) >= LONG_ACT_SIZE else nullcontext()


async def _check_new_inviter(invited_by: str | None) -> None:
    """Raise the reason why a member can't be the new inviter of others, if there is one."""
    if invited_by is None:
        return
    records = await engine.fetch(GET_NEW_INVITER, member_id=invited_by)
    if records and records[0]["merged_into"] is not None:
        raise MemberMerged(invited_by, records[0]["merged_into"])
    if not records or records[0]["deleted_at"] is not None:
        raise MemberNotFound(invited_by)
    if records[0]["is_bot"]:
        raise BotRefused
    if records[0]["status"] != MemberStatus.ACTIVE:
        raise MemberNotActive(invited_by, records[0]["status"])


async def _lock(plan: Plan, *, with_invitations: bool) -> list[UUID]:
    """Lock the members of an act, and return the ids of their open invitations, locked, too."""
    invitation_ids: list[UUID] = []
    if with_invitations:
        locked = await engine.fetch(LOCK_INVITATIONS, numbers=list(plan.seen))
        invitation_ids = [invitation_id for (invitation_id,) in locked]
    numbers = [*plan.seen] if plan.invited_by is None else [*plan.seen, plan.invited_by]
    await engine.fetch(LOCK_MEMBERS, numbers=numbers)
    return invitation_ids


async def _change(plan: Plan, *, actor: str, reason: str | None) -> ActPreview:
    """Change the members whom an act affects, and return what it did.

    The act only cancels invitations if `cancel_invitations` is its kind: then nobody changes.
    """
    values = {**plan.parameters, "actor": actor, "reason": reason}
    match plan.kind:
        case ActKind.CANCEL_INVITATIONS:
            records = await engine.fetch(JUDGE_MEMBERS, **plan.parameters)
        case ActKind.REMOVE:
            records = await engine.fetch(REMOVE_MEMBERS, **values)
        case ActKind.MOVE:
            records = await engine.fetch(MOVE_MEMBERS, **values)
        case _:
            records = await engine.fetch(
                CHANGE_STATUSES,
                **values,
                status_after=STATUS_AFTER[plan.kind],
                until=plan.until,
            )
    done = _make_preview(plan.kind, records)
    if plan.kind is not ActKind.CANCEL_INVITATIONS:
        forget(*(member.member_id for member in done.affected))
    return done


async def _cancel_locked(
    invitation_ids: Sequence[UUID],
    members: Iterable[ActMember],
    *,
    actor: str,
    reason: str | None,
) -> int:
    """Cancel those of the locked invitations that these members created; return their number."""
    if not invitation_ids:
        return 0
    cancelled = await engine.fetch(
        CANCEL_LOCKED_INVITATIONS,
        invitation_ids=invitation_ids,
        numbers=[member.member_id for member in members],
        actor=actor,
        reason=reason,
    )
    return len(cancelled)


def _make_preview(kind: ActKind, records: Sequence[asyncpg.Record]) -> ActPreview:
    """Return what an act does, from the rows of the judgement."""
    affected, left_out, invitations = [], [], 0
    for number, name, status, state, code, open_invitations in records:
        if code is None:
            affected.append(ActMember(number, name, state))
            invitations += open_invitations
            continue
        reason = (
            explain_status(MemberStatus(status), STATUS_AFTER[kind])
            if code == "status"
            else LeftOutCode(code)
        )
        left_out.append(LeftOut(number, name, reason))
    return ActPreview(kind, tuple(affected), tuple(left_out), invitations)
