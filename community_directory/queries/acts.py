"""Acts: what a manager does to one member or to many at once, with a preview, and how to undo it.

The audit log has the act of each change, so that everything that one act changed is found as one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine, transaction
from community_directory.errors import (
    ActNotFound,
    ActNotUndoable,
    ActUndone,
    InvalidInput,
    UndoExpired,
)
from community_directory.queries.act_changes import (
    BEGIN_ACT,
    END_ACT,
    LOCK_MEMBERS,
    MAX_PEOPLE,
    STATUS_AFTER,
    judge,
    make_plan,
    perform,
)
from community_directory.queries.act_rows import (
    UNDO_WINDOW,
    UNDOABLE_KINDS,
    Act,
    ActKind,
    ActMember,
    ActPreview,
    LeftOut,
    LeftOutCode,
)
from community_directory.queries.ids import new_id
from community_directory.queries.member_cache import forget
from community_directory.queries.observation import observe_helpers
from community_directory.queries.values import ACTOR_CTE, parse_choice, required_actor
from community_directory.tables import MemberStatus

__all__ = [
    "MAX_PEOPLE",
    "UNDO_WINDOW",
    "Act",
    "ActKind",
    "ActMember",
    "ActPreview",
    "LeftOut",
    "LeftOutCode",
    "apply",
    "get",
    "preview",
    "undo",
]

GET_ACT = Statement("""
SELECT entry.member_id, name, actor, reason, changed_at, table_name, undone_act_id,
    CASE WHEN deleted_at < changed_at THEN 'removed' ELSE coalesce(changes #>> '{status,0}', status)
    END AS state, changes #>> '{status,0}' AS status_before,
    changes #>> '{status,1}' AS status_after, changes ? 'invited_by' AS is_move,
    (SELECT act_id FROM directory_audit_log WHERE undone_act_id = :act_id LIMIT 1) AS undone_by,
    clock_timestamp() AS now
FROM directory_audit_log AS entry LEFT JOIN community_members USING (member_id)
WHERE act_id = :act_id ORDER BY length(entry.member_id), entry.member_id, entry.id
""")

IS_ACT_UNDONE = Statement("SELECT FROM directory_audit_log WHERE undone_act_id = :act_id LIMIT 1")

# A member whose status somebody has changed since is left out, also if it is the same again.
UNDO_ACT = Statement(f"""
WITH {ACTOR_CTE}, judged AS MATERIALIZED (
    -- each member of the act; the code says why they stay as they are
    SELECT member.member_id, name, status, entry.id AS place, CASE
        WHEN merged_into IS NOT NULL THEN 'merged'
        WHEN deleted_at IS NOT NULL THEN 'removed'
        WHEN status <> :status_after::text OR EXISTS (
            SELECT FROM directory_audit_log AS later
            WHERE later.row_id = entry.row_id AND later.id > entry.id AND later.changes ? 'status'
        ) THEN 'changed'
    END AS code
    FROM directory_audit_log AS entry JOIN community_members AS member ON member.id = entry.row_id
    WHERE act_id = :act_id AND table_name = 'community_members'
), changed AS (
    UPDATE community_members AS member SET status = 'pending' FROM judged, actor
    WHERE member.member_id = judged.member_id AND code IS NULL
)
SELECT member_id, name, status, code FROM judged ORDER BY place
""")


async def preview(
    kind: ActKind | str,
    numbers: Sequence[str | int] | Mapping[str, str],
    *,
    invited_by: str | int | None = None,
    including_managers: bool = False,
) -> ActPreview:
    """Tell whom an act would affect, and whom it would leave out and why. Nothing is changed.

    Args:
        kind: What the act does.
        numbers: The numbers of the members, at most 50,000.
        invited_by: The number of the new inviter, for the kind `move`: an active member.
        including_managers: Whether the act may suspend, ban or remove members who hold the
            permission `manage`. Otherwise it leaves them out.

    Raises:
        InvalidInput: There is no such kind, nobody or too many are picked, or only one of
            `invited_by` and the kind `move` is given.
        MemberNotFound: No member has the number of the new inviter, or the member was removed.
        MemberNotActive: The new inviter is not active.
        BotRefused: The new inviter is a bot.
    """
    kind = parse_choice(ActKind, kind, "kind")
    plan = make_plan(kind, numbers, invited_by=invited_by, including_managers=including_managers)
    return await judge(plan)


async def apply(
    kind: ActKind | str,
    numbers: Sequence[str | int] | Mapping[str, str],
    *,
    actor: str,
    reason: str | None = None,
    invited_by: str | int | None = None,
    including_managers: bool = False,
    cancel_invitations: bool = False,
    until: datetime | None = None,
) -> Act:
    """Do the same to many members in one transaction, and log it as one act.

    Exactly the given members are affected. Those whom the act can't affect, or who are not as
    somebody has seen them, are left out. If it affects nobody, the log has no such act.

    Calls at the same time wait for each other, and lock the members in the same order.

    Args:
        kind: What the act does.
        numbers: The numbers of the members, at most 50,000. A mapping, such as that of
            `ActPreview.states`, has the state in which somebody has seen each of them.
        actor: The author of the act, for the audit log.
        reason: The reason of the act, for the audit log.
        invited_by: The number of the new inviter, for the kind `move`: an active member.
        including_managers: Whether the act may suspend, ban or remove members who hold the
            permission `manage`. Otherwise it leaves them out.
        cancel_invitations: Whether the open invitations of those whom the act affects are
            cancelled, too.
        until: The end of a suspension, an aware time in the future; None is a suspension without an
            end.

    Raises:
        InvalidInput: There is no such kind, nobody or too many are picked, only one of `invited_by`
            and the kind `move` is given, `until` is not in the future or belongs to another kind
            than `suspend`, or the actor is blank.
        MemberNotFound: No member has the number of the new inviter, or the member was removed.
        MemberNotActive: The new inviter is not active.
        BotRefused: The new inviter is a bot.
    """
    kind = parse_choice(ActKind, kind, "kind")
    actor = required_actor(actor)
    plan = make_plan(
        kind,
        numbers,
        invited_by=invited_by,
        including_managers=including_managers,
        until=until,
    )
    return await perform(plan, actor=actor, reason=reason, cancels_invitations=cancel_invitations)


async def get(act_id: UUID | str) -> Act:
    """Return an act from the audit log.

    The names are those of now. An erasure takes the reason out of the entries of the person.

    Raises:
        ActNotFound: The log has no act with this id.
        InvalidInput: The id is not a UUID.
    """
    found = _parse_id(act_id)
    return _act_from(found, await _read_act(found))


async def undo(act_id: UUID | str, *, actor: str, reason: str | None = None) -> Act:
    """Undo an approval or a refusal of the last ten minutes: the members wait again.

    It is an act of its own, whose `undoes` names the first one. Members whose status somebody has
    changed since, who were removed, or who were merged into another one, are left out.

    Args:
        act_id: The id of the act to undo.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        ActNotFound: The log has no act with this id.
        ActNotUndoable: The act is neither an approval nor a refusal.
        ActUndone: The act was undone before.
        UndoExpired: The ten minutes are over.
        InvalidInput: The id is not a UUID, or the actor is blank.
    """
    undone_id, actor, undo_id = _parse_id(act_id), required_actor(actor), new_id()
    async with transaction():
        records = await _read_act(undone_id)
        undone = _act_from(undone_id, records)
        if undone.kind not in UNDOABLE_KINDS:
            raise ActNotUndoable(str(undone_id))
        end = undone.acted_at + UNDO_WINDOW
        await engine.fetch(LOCK_MEMBERS, numbers=[member.member_id for member in undone.members])
        # Another call has undone it before this one got the locks.
        if await engine.fetch(IS_ACT_UNDONE, act_id=undone_id):
            raise ActUndone(str(undone_id))
        if records[0]["now"] > end:
            raise UndoExpired(str(undone_id), end)
        await engine.fetch(BEGIN_ACT, act_id=str(undo_id), undone_act_id=str(undone_id))
        judged = await engine.fetch(
            UNDO_ACT,
            act_id=undone_id,
            status_after=STATUS_AFTER[undone.kind],
            actor=actor,
            reason=reason,
        )
        [(*_, acted_at)] = await engine.fetch(END_ACT)
    affected = tuple(
        ActMember(number, name, status) for number, name, status, code in judged if code is None
    )
    forget(*(member.member_id for member in affected))
    return Act(
        id=undo_id,
        kind=ActKind.UNDO,
        actor=actor,
        reason=reason,
        acted_at=acted_at,
        undoable_until=None,
        members=affected,
        left_out=tuple(
            LeftOut(number, name, LeftOutCode(code)) for number, name, _, code in judged if code
        ),
        undoes=undone_id,
    )


def _parse_id(act_id: UUID | str) -> UUID:
    try:
        return act_id if isinstance(act_id, UUID) else UUID(act_id)
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput("The id of an act is a UUID.", field="act_id") from None


async def _read_act(act_id: UUID) -> Sequence[asyncpg.Record]:
    records = await engine.fetch(GET_ACT, act_id=act_id)
    if not records:
        raise ActNotFound(str(act_id))
    return records


def _act_from(act_id: UUID, records: Sequence[asyncpg.Record]) -> Act:
    changed = [entry for entry in records if entry["table_name"] == "community_members"]
    cancelled = [entry for entry in records if entry["table_name"] == "community_invitations"]
    kind = _find_kind(changed[0]) if changed else ActKind.CANCEL_INVITATIONS
    first, acted_at = records[0], records[0]["changed_at"].astimezone(UTC)
    can_undo = kind in UNDOABLE_KINDS and first["undone_by"] is None
    return Act(
        id=act_id,
        kind=kind,
        actor=first["actor"],
        reason=next((entry["reason"] for entry in records if entry["reason"] is not None), None),
        acted_at=acted_at,
        undoable_until=acted_at + UNDO_WINDOW if can_undo else None,
        members=_list_members(changed or cancelled),
        invitations=len(cancelled),
        undoes=first["undone_act_id"],
        undone_by=first["undone_by"],
    )


def _list_members(entries: Sequence[asyncpg.Record]) -> tuple[ActMember, ...]:
    """Return each member of these entries once, in their order."""
    members = {
        entry["member_id"]: ActMember(entry["member_id"], entry["name"], entry["state"])
        for entry in entries
    }
    return tuple(members.values())


def _find_kind(entry: asyncpg.Record) -> ActKind:
    """Return what an act does whose first change of a member this is."""
    if entry["undone_act_id"] is not None:
        return ActKind.UNDO
    if entry["status_after"] == MemberStatus.ACTIVE:
        waited = entry["status_before"] == MemberStatus.PENDING
        return ActKind.APPROVE if waited else ActKind.REINSTATE
    if entry["status_after"] is not None:
        return next(kind for kind, after in STATUS_AFTER.items() if after == entry["status_after"])
    return ActKind.MOVE if entry["is_move"] else ActKind.REMOVE


observe_helpers(globals())
