"""Branches of the tree of invitations: everybody below a member, and acts on many of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from community_directory.calendar import load_zone, today
from community_directory.database import Statement, engine, long_running
from community_directory.errors import InvalidInput, MemberNotFound
from community_directory.queries.act_changes import MAX_PEOPLE, Plan, judge, make_plan, perform
from community_directory.queries.act_rows import REMOVED_STATE, Act, ActKind, ActPreview
from community_directory.queries.observation import observe_helpers
from community_directory.queries.values import member_number, parse_choice, required_actor
from community_directory.tables import MemberStatus

__all__ = ["BRANCH_KINDS", "Branch", "BranchMember", "apply", "preview", "preview_act"]

BRANCH_KINDS = (ActKind.SUSPEND, ActKind.BAN, ActKind.CANCEL_INVITATIONS, ActKind.MOVE)
"""What an act on a branch can do."""


@dataclass(frozen=True, slots=True)
class BranchMember:
    """A member of a branch; times are aware, in UTC.

    Attributes:
        member_id: The number of the member.
        name: The name of the member.
        status: The status of the member.
        is_removed: Whether the member was removed.
        level: The distance from the root of the branch.
        invited_by: The number of the inviter.
        parent: The number of the nearest member above who is in the branch: not the inviter if that
            one is a bot or was merged. The root has none.
        is_manager: Whether the member holds the permission `manage`.
        open_invitations: The number of the member's open invitations.
        joined_at: The time at which the member was added.
        days_since_joining: The number of days since then, by the calendar of the community.
        last_active_at: The time of the last event; None if there is none.
    """

    member_id: str
    name: str
    status: MemberStatus
    is_removed: bool
    level: int
    invited_by: str | None
    parent: str | None
    is_manager: bool
    open_invitations: int
    joined_at: datetime
    days_since_joining: int
    last_active_at: datetime | None

    @property
    def state(self) -> str:
        """The status, or "removed", as an act takes it."""
        return REMOVED_STATE if self.is_removed else self.status.value


@dataclass(frozen=True, slots=True)
class Branch:
    """A member, and everybody whom they invited, directly or through others.

    Attributes:
        root: The member at the top, who is in no number below.
        members: The others, by level and number.
        totals: The number of the others by state: a status, or "removed".
        open_invitations: The number of their open invitations.
    """

    root: BranchMember
    members: tuple[BranchMember, ...]
    totals: Mapping[str, int]
    open_invitations: int


# The recursion ends after the level with which there are too many, and at a cycle, which a restored
# backup can contain: every member has one inviter, so it leads back to the root.
LIST_BRANCH = Statement("""
WITH RECURSIVE start AS (
    -- the member; the number of a merged member leads to the other one
    SELECT coalesce(merged_into, member_id) AS member_id FROM community_members
    WHERE member_id = :member_id
), tree AS (
    -- the member, whom they invited, and so on; with the number of all up to and with this level
    SELECT member_id, invited_by, is_bot, merged_into, 0 AS level, NULL::text AS parent,
        0::bigint AS counted
    FROM community_members WHERE member_id = (SELECT member_id FROM start)
    UNION ALL
    SELECT member.member_id, member.invited_by, member.is_bot, member.merged_into, level + 1,
        -- a bot at the root is shown
        CASE WHEN level > 0 AND (tree.is_bot OR tree.merged_into IS NOT NULL) THEN tree.parent
            ELSE tree.member_id END,
        counted + count(*) OVER ()
    FROM tree JOIN community_members AS member ON member.invited_by = tree.member_id
    WHERE member.member_id <> (SELECT member_id FROM start) AND counted <= :max_people
), managers AS MATERIALIZED (
    SELECT member_id FROM member_permissions WHERE permission = 'manage'
), invitations AS MATERIALIZED (
    -- the number of open invitations of each member of the branch
    SELECT created_by, count(*) AS open FROM community_invitations AS invitation
    WHERE created_by IN (SELECT member_id FROM tree) AND status = 'pending' AND expires_at > now()
    GROUP BY created_by
)
SELECT tree.member_id, name, status, deleted_at IS NOT NULL AS is_removed, level, tree.invited_by,
    parent, tree.member_id IN (SELECT member_id FROM managers) AS is_manager,
    coalesce(open, 0) AS open_invitations, created_at, last_active_at,
    (SELECT max(counted) FROM tree) AS counted
FROM tree JOIN community_members USING (member_id)
LEFT JOIN invitations ON created_by = tree.member_id
WHERE level = 0 OR NOT tree.is_bot AND tree.merged_into IS NULL
ORDER BY level, length(tree.member_id), tree.member_id
""")


async def preview(member_id: str | int) -> Branch:
    """Return a member and everybody below them in the tree of invitations.

    Removed members are included. Bots and merged members are left out, but not the people whom they
    invited.

    Args:
        member_id: The number of the member at the top. That of a merged member leads to the other
            one.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: More than 50,000 people are below the member, or the number is neither a text
            nor an integer.
    """
    number = member_number(member_id)
    with long_running():
        records = await engine.read(LIST_BRANCH, member_id=number, max_people=MAX_PEOPLE)
    if not records:
        raise MemberNotFound(number)
    if records[0]["counted"] > MAX_PEOPLE:
        raise InvalidInput(
            f"At most {MAX_PEOPLE:,} people can be changed at once.",
            field="member_id",
            limit=MAX_PEOPLE,
            code="too_many_people",
        )
    root, *members = map(_member_from, records)
    return Branch(
        root=root,
        members=tuple(members),
        totals=Counter(member.state for member in members),
        open_invitations=sum(member.open_invitations for member in members),
    )


async def preview_act(
    member_id: str | int,
    kind: ActKind | str,
    numbers: Sequence[str | int] | Mapping[str, str],
    *,
    invited_by: str | int | None = None,
    including_managers: bool = False,
) -> ActPreview:
    """Tell whom an act on a branch would affect, and whom it would leave out and why.

    The arguments and errors are those of `apply`, which does the act.
    """
    plan = _make_plan(
        member_id, kind, numbers, invited_by=invited_by, including_managers=including_managers
    )
    return await judge(plan)


async def apply(
    member_id: str | int,
    kind: ActKind | str,
    numbers: Sequence[str | int] | Mapping[str, str],
    *,
    actor: str,
    reason: str | None,
    invited_by: str | int | None = None,
    including_managers: bool = False,
    cancel_invitations: bool = False,
    until: datetime | None = None,
) -> Act:
    """Suspend, ban or move members of a branch, or cancel their invitations, as one act of the log.

    Exactly the given members are affected: the root, too, if its number is given. Those who are no
    longer in the branch, whom the act can't affect, or who are not as somebody has seen them, are
    left out.

    Args:
        member_id: The number of the member at the top of the branch.
        kind: What the act does. `move` gives those whom the member invited to another inviter.
        numbers: The numbers of the members, at most 50,000. A mapping has the state in which
            somebody has seen each of them: the status, or "removed".
        actor: The author of the act, for the audit log.
        reason: The reason of the act, for the audit log.
        invited_by: The number of the new inviter, for the kind `move`: an active member.
        including_managers: Whether the act may suspend or ban members who hold the permission
            `manage`. Otherwise it leaves them out.
        cancel_invitations: Whether the open invitations of those whom the act affects are
            cancelled, too.
        until: The end of a suspension, an aware time in the future; None is a suspension without an
            end.

    Raises:
        InvalidInput: An act on a branch can't be of this kind, nobody or too many are picked, only
            one of `invited_by` and the kind `move` is given, `until` is not in the future or is not
            about a suspension, or the actor is blank.
        MemberNotFound: No member has the number of the new inviter, or the member was removed.
        MemberNotActive: The new inviter is not active.
        BotRefused: The new inviter is a bot.
    """
    actor = required_actor(actor)
    plan = _make_plan(
        member_id,
        kind,
        numbers,
        invited_by=invited_by,
        including_managers=including_managers,
        until=until,
    )
    return await perform(plan, actor=actor, reason=reason, cancels_invitations=cancel_invitations)


def _make_plan(
    member_id: str | int,
    kind: ActKind | str,
    numbers: Sequence[str | int] | Mapping[str, str],
    *,
    invited_by: str | int | None,
    including_managers: bool,
    until: datetime | None = None,
) -> Plan:
    kind = parse_choice(ActKind, kind, "kind")
    if kind not in BRANCH_KINDS:
        raise InvalidInput("An act on a branch can't do this.", field="kind")
    return make_plan(
        kind,
        numbers,
        invited_by=invited_by,
        including_managers=including_managers,
        until=until,
        root=member_number(member_id),
    )


def _member_from(record: asyncpg.Record) -> BranchMember:
    joined_at = record["created_at"]
    return BranchMember(
        member_id=record["member_id"],
        name=record["name"],
        status=MemberStatus(record["status"]),
        is_removed=record["is_removed"],
        level=record["level"],
        invited_by=record["invited_by"],
        parent=record["parent"],
        is_manager=record["is_manager"],
        open_invitations=record["open_invitations"],
        joined_at=joined_at,
        days_since_joining=(today() - joined_at.astimezone(load_zone(None)).date()).days,
        last_active_at=record["last_active_at"],
    )


observe_helpers(globals())
