"""Invitations: create, redeem, extend and cancel them, and list the tree of who invited whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from community_directory.database import Statement, engine
from community_directory.errors import (
    BotRefused,
    InvalidInput,
    InvitationCancelled,
    InvitationNotFound,
    InvitationUsed,
    MemberNotActive,
    MemberNotFound,
    RoleRequired,
)
from community_directory.queries.identifiers import normalize_telegram_username
from community_directory.queries.invitation_rows import (
    INVITATION_COLUMNS,
    MATCHING_CODE,
    Invitation,
    effective_status_sql,
    invitation_from,
    normalize_code,
)
from community_directory.queries.pages import (
    Page,
    checked_limit,
    decode_cursor,
    make_page,
    parse_timestamp,
    parse_uuid,
)
from community_directory.queries.redemption import Redemption, redeem
from community_directory.queries.values import (
    ACTOR_CTE,
    check_text,
    checked_actor,
    member_number,
    parse_choice,
    required_actor,
)
from community_directory.tables import CommunityMember, InvitationStatus, MemberStatus
from community_directory.tables.invitations import DEFAULT_VALIDITY, new_code

__all__ = [
    "MAX_VALIDITY",
    "Invitation",
    "Redemption",
    "TreeNode",
    "cancel",
    "create",
    "expire_overdue",
    "extend",
    "find",
    "get",
    "lineage",
    "list_page",
    "redeem",
    "tree",
]

MAX_VALIDITY = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A member in the tree of invitations; `depth` is the distance from the requested member."""

    member_id: str
    name: str
    invited_by: str | None
    depth: int


_INVITED_IS_BOT = """EXISTS (
    SELECT FROM community_members
    WHERE is_bot AND lower(telegram_username) = lower(:telegram_username::text)
)"""

# Inviting the same username again extends the open invitation, which keeps its code.
CREATE_INVITATION = Statement(f"""
WITH {ACTOR_CTE}, inviter AS MATERIALIZED (
    -- The creator of the invitation, if they are an active member with the required role, and no
    -- bot is invited.
    SELECT member_id FROM community_members, actor
    WHERE member_id = :created_by AND status = 'active' AND deleted_at IS NULL AND NOT is_bot
        AND NOT {_INVITED_IS_BOT}
        AND (:required_role::text IS NULL OR primary_role = :required_role)
), closed AS (
    -- An open invitation of the same username that can't be redeemed any more: it is overdue, or
    -- its creator is no longer active. It would conflict with the new one.
    UPDATE community_invitations AS invitation
    SET status = CASE WHEN invitation.expires_at <= now() THEN 'expired' ELSE 'cancelled' END
    FROM inviter, community_members AS earlier
    WHERE lower(invitation.invited_telegram_username) = lower(:telegram_username::text)
        AND invitation.status = 'pending' AND earlier.member_id = invitation.created_by
        AND (invitation.expires_at <= now() OR earlier.status <> 'active'
            OR earlier.deleted_at IS NOT NULL OR earlier.is_bot)
    RETURNING 1
)
INSERT INTO community_invitations AS invitation
    (invitation_code, created_by, invited_telegram_username, expires_at)
SELECT :code, inviter.member_id, :telegram_username::text, now() + :valid_for::interval
-- The count makes PostgreSQL close the earlier invitation first.
FROM inviter, (SELECT count(*) FROM closed) AS closed
ON CONFLICT (lower(invited_telegram_username))
    WHERE status = 'pending' AND invited_telegram_username IS NOT NULL
    DO UPDATE SET expires_at = greatest(invitation.expires_at, EXCLUDED.expires_at)
RETURNING {INVITATION_COLUMNS}
""")

GET_INVITER = Statement(f"""
SELECT status, deleted_at, is_bot OR {_INVITED_IS_BOT} AS has_bot
FROM community_members WHERE member_id = :created_by
""")

GET_INVITATION = Statement(f"""
SELECT {INVITATION_COLUMNS} FROM community_invitations AS invitation WHERE {MATCHING_CODE}
""")


def _make_change_statement(assignments: str) -> Statement:
    """Return the statement that changes a pending or expired invitation by these assignments."""
    return Statement(f"""
    WITH {ACTOR_CTE}, before AS (
        -- the invitation of the code, locked
        SELECT invitation_id, status FROM community_invitations WHERE {MATCHING_CODE} FOR UPDATE
    ), changed AS (
        -- the invitation after the change; an accepted or cancelled one stays as it is
        UPDATE community_invitations AS invitation SET {assignments} FROM before, actor
        WHERE invitation.invitation_id = before.invitation_id
            AND before.status IN ('pending', 'expired')
        RETURNING {INVITATION_COLUMNS}
    )
    SELECT before.status AS before, changed.* FROM before LEFT JOIN changed ON true
    """)


EXTEND_INVITATION = _make_change_statement(
    "status = 'pending', expires_at = greatest(expires_at, now()) + :valid_for::interval"
)
CANCEL_INVITATION = _make_change_statement("status = 'cancelled'")

EXPIRE_OVERDUE_INVITATIONS = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_invitations SET status = 'expired' FROM actor
WHERE invitation_id IN (
    SELECT invitation_id FROM community_invitations
    WHERE status = 'pending' AND expires_at <= now()
    FOR UPDATE SKIP LOCKED
)
RETURNING invitation_id
""")

LIST_INVITATIONS = Statement(f"""
SELECT {INVITATION_COLUMNS} FROM community_invitations AS invitation
WHERE (:created_by::text IS NULL OR created_by = :created_by)
    AND (:status::text IS NULL OR {effective_status_sql("invitation")} = :status)
    AND (:before_time::timestamptz IS NULL
        OR (created_at, invitation_id) < (:before_time, :before_id))
ORDER BY created_at DESC, invitation_id DESC LIMIT :limit
""")

_START_CTE = """start AS (
    -- the member; the number of a merged member leads to the other one
    SELECT coalesce(merged_into, member_id) AS member_id FROM community_members
    WHERE member_id = :member_id
)"""
LIST_INVITATION_TREE = Statement(f"""
WITH RECURSIVE {_START_CTE}, tree AS (
    -- the member, whom they invited, whom those invited, and so on
    SELECT member_id, name, invited_by, is_bot, merged_into, 0 AS depth
    FROM community_members WHERE member_id = (SELECT member_id FROM start)
    UNION ALL
    SELECT member.member_id, member.name, member.invited_by, member.is_bot, member.merged_into,
        depth + 1
    FROM tree JOIN community_members AS member ON member.invited_by = tree.member_id
    -- A restored backup can contain a cycle of members who invited each other. Every member has one
    -- inviter, so such a cycle leads back to the first member, where the recursion ends.
    WHERE member.member_id <> (SELECT member_id FROM start)
)
SELECT member_id, name, invited_by, depth FROM tree
WHERE depth = 0 OR NOT is_bot AND merged_into IS NULL
ORDER BY depth, length(member_id), member_id
""")

# UNION, unlike UNION ALL, ends at a cycle, because it drops rows that it has found before. A column
# for the depth would make these rows different, so `lineage` counts the depth.
LIST_LINEAGE = Statement(f"""
WITH RECURSIVE {_START_CTE}, lineage AS (
    -- the member, their inviter, the inviter of that one, and so on
    SELECT member_id, name, invited_by
    FROM community_members WHERE member_id = (SELECT member_id FROM start)
    UNION
    SELECT member.member_id, member.name, member.invited_by
    FROM lineage JOIN community_members AS member ON member.member_id = lineage.invited_by
)
SELECT lineage.*, start.member_id AS start FROM lineage, start
""")


async def create(
    *,
    created_by: str | int,
    telegram_username: str | None = None,
    valid_for: timedelta = DEFAULT_VALIDITY,
    required_role: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> Invitation:
    """Create an invitation, or extend the open invitation of the same Telegram username.

    A username has at most one open invitation. Inviting it again keeps the code, and keeps the
    later of the two expiry times.

    Args:
        created_by: The number of the inviter, an active member.
        telegram_username: The only username that can redeem the code, with or without @. If it is
            None, anybody who has the code can redeem it.
        valid_for: The time until the invitation expires: 1 second to 365 days, or three days if it
            is left out.
        required_role: The `primary_role` that the inviter must have; None allows every role.
        actor: The author of the change, for the audit log; the inviter if it is left out.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has the inviter's number, or the inviter was removed.
        MemberNotActive: The inviter is not an active member.
        RoleRequired: The inviter does not have the required role.
        BotRefused: The inviter, or the member with this username, is a bot.
        InvalidInput: A value can't be stored, or `valid_for` is not 1 second to 365 days.
    """
    created_by = member_number(created_by, "created_by")
    username = normalize_telegram_username(telegram_username)
    check_text("required_role", required_role, CommunityMember.primary_role.length)
    records = await engine.fetch(
        CREATE_INVITATION,
        created_by=created_by,
        code=new_code(),
        telegram_username=username,
        valid_for=_checked_validity(valid_for),
        required_role=required_role,
        actor=checked_actor(actor) or created_by,
        reason=reason,
    )
    if records:
        return invitation_from(records[0])
    inviter = await engine.fetch(GET_INVITER, created_by=created_by, telegram_username=username)
    if not inviter or inviter[0]["deleted_at"] is not None:
        raise MemberNotFound(created_by)
    if inviter[0]["has_bot"]:
        raise BotRefused
    status = inviter[0]["status"]
    if status != MemberStatus.ACTIVE or required_role is None:
        raise MemberNotActive(created_by, status)
    raise RoleRequired(created_by, required_role)


async def get(code: str) -> Invitation:
    """Return the invitation with this code, typed in any case or pasted, also as a link.

    Raises:
        InvitationNotFound: No invitation has this code.
        InvalidInput: The code is not a text.
    """
    records = await engine.fetch(GET_INVITATION, **normalize_code(code))
    if not records:
        raise InvitationNotFound(code)
    return invitation_from(records[0])


async def find(code: str) -> Invitation | None:
    """Return the invitation with this code, typed in any case or pasted, also as a link.

    Returns:
        The invitation, or None if no invitation has this code.

    Raises:
        InvalidInput: The code is not a text.
    """
    try:
        return await get(code)
    except InvitationNotFound:
        return None


async def extend(
    code: str,
    *,
    valid_for: timedelta = DEFAULT_VALIDITY,
    actor: str | None = None,
    reason: str | None = None,
) -> Invitation:
    """Extend an open or an expired invitation.

    Args:
        code: The code, typed in any case or pasted, also as a link.
        valid_for: The time that is added to the expiry time, or to now if the invitation has
            expired: 1 second to 365 days.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        InvitationNotFound: No invitation has this code.
        InvitationUsed: The invitation was accepted.
        InvitationCancelled: The invitation was cancelled.
        InvalidInput: `valid_for` is not 1 second to 365 days, or the invitation has expired and its
            username has a newer one that is open.
    """
    records = await engine.fetch(
        EXTEND_INVITATION,
        **normalize_code(code),
        valid_for=_checked_validity(valid_for),
        actor=checked_actor(actor),
        reason=reason,
    )
    return _require_changed_invitation(code, records)


async def cancel(code: str, *, actor: str | None = None, reason: str | None = None) -> Invitation:
    """Cancel an open or an expired invitation for good.

    Raises:
        InvitationNotFound: No invitation has this code.
        InvitationUsed: The invitation was accepted.
        InvitationCancelled: The invitation was cancelled before.
        InvalidInput: The code is not a text, or the actor is blank.
    """
    records = await engine.fetch(
        CANCEL_INVITATION, **normalize_code(code), actor=checked_actor(actor), reason=reason
    )
    return _require_changed_invitation(code, records)


async def expire_overdue(*, actor: str = "expiry") -> int:
    """Store the status expired for all overdue invitations, and return their number.

    Every helper treats an overdue invitation as expired even before this call. The hourly job makes
    the call, so that other programs that read the table see the status.

    Raises:
        InvalidInput: The actor is blank.
    """
    records = await engine.fetch(
        EXPIRE_OVERDUE_INVITATIONS, actor=required_actor(actor), reason=None
    )
    return len(records)


async def list_page(
    *,
    created_by: str | int | None = None,
    status: InvitationStatus | str | None = None,
    after: str | None = None,
    limit: int = 20,
) -> Page[Invitation]:
    """List invitations, newest first.

    Args:
        created_by: The number of an inviter, whose invitations are listed; None lists those of all.
        status: The effective status of the listed invitations; None lists every status.
        after: The `next_cursor` of the page before.
        limit: The number of invitations on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: There is no such status, or the limit is not 1 to 100.
    """
    if status is not None:
        status = parse_choice(InvitationStatus, status, "status")
    if created_by is not None:
        created_by = member_number(created_by, "created_by")
        check_text("created_by", created_by, CommunityMember.member_id.length)
    before_time = before_id = None
    if after is not None:
        before_time, before_id = decode_cursor(after, "invitations", parse_timestamp, parse_uuid)
    records = await engine.fetch(
        LIST_INVITATIONS,
        created_by=created_by,
        status=status,
        before_time=before_time,
        before_id=before_id,
        limit=checked_limit(limit) + 1,
    )
    found = [invitation_from(record) for record in records]
    return make_page(
        found,
        limit,
        "invitations",
        lambda last: (last.created_at.isoformat(), str(last.invitation_id)),
    )


async def lineage(member_id: str | int) -> list[TreeNode]:
    """List a member, then their inviter, then the inviter of that one, and so on to the root.

    The depth of the member is 0, that of their inviter 1. Removed members are included.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: The number is neither a text nor an integer.
    """
    number = member_number(member_id)
    records = await engine.fetch(LIST_LINEAGE, member_id=number)
    if not records:
        raise MemberNotFound(number)
    found = {record["member_id"]: record for record in records}
    record: asyncpg.Record | None = found.pop(records[0]["start"])
    nodes: list[TreeNode] = []
    while record is not None:
        nodes.append(
            TreeNode(record["member_id"], record["name"], record["invited_by"], depth=len(nodes))
        )
        record = found.pop(record["invited_by"], None)
    return nodes


async def tree(member_id: str | int) -> list[TreeNode]:
    """List everybody whom a member invited, directly or through others, by depth and number.

    The member comes first, with depth 0. Removed members are included. Bots are left out, but not
    the people whom they invited.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: The number is neither a text nor an integer.
    """
    number = member_number(member_id)
    records = await engine.fetch(LIST_INVITATION_TREE, member_id=number)
    if not records:
        raise MemberNotFound(number)
    return [TreeNode(*record) for record in records]


def _require_changed_invitation(code: str, records: Sequence[asyncpg.Record]) -> Invitation:
    """Return the invitation after its change, or raise the reason why it did not change."""
    if not records:
        raise InvitationNotFound(code)
    before, *values = records[0]
    if values[0] is not None:
        return invitation_from(values)
    if before == InvitationStatus.ACCEPTED:
        raise InvitationUsed(code)
    raise InvitationCancelled(code)


def _checked_validity(valid_for: object) -> timedelta:
    if (
        not isinstance(valid_for, timedelta)
        or not timedelta(seconds=1) <= valid_for <= MAX_VALIDITY
    ):
        raise InvalidInput(
            f"An invitation is open for 1 second to {MAX_VALIDITY.days} days.", field="valid_for"
        )
    return valid_for
