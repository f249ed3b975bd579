"""Invitations: create, redeem, extend and cancel them, and list the tree of who invited whom."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple, cast
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine, primary_only
from community_directory.errors import (
    BotRefused,
    InvalidInput,
    InvitationCancelled,
    InvitationNotFound,
    InvitationQuotaExceeded,
    InvitationUsed,
    MemberNotActive,
    MemberNotFound,
    PermissionRequired,
)
from community_directory.queries.filter_values import parse_times
from community_directory.queries.identifiers import normalize_telegram_username
from community_directory.queries.invitation_rows import (
    INVITATION_COLUMNS,
    INVITER_CAN_INVITE,
    MATCHING_CODE,
    Invitation,
    effective_status_sql,
    invitation_from,
    normalize_code,
)
from community_directory.queries.invitation_statistics import InvitationStatistics, statistics
from community_directory.queries.member_rows import BOTS, member_not_found
from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    KEY_FIELD,
    NUMBER_FIELD,
    SMALL_INT_FIELD,
    TIME_FIELD,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.redemption import InvitationCheck, Redemption, check, redeem
from community_directory.queries.values import (
    ACTOR_CTE,
    check_text,
    checked_actor,
    member_number,
    parse_choice,
    present_number_sql,
    required_actor,
)
from community_directory.settings import load_settings
from community_directory.tables import (
    CommunityMember,
    InvitationStatus,
    MemberStatus,
    Permission,
)
from community_directory.tables.invitations import DEFAULT_VALIDITY, new_code

__all__ = [
    "MAX_COUNTED_MEMBERS",
    "MAX_TREE_PAGE_SIZE",
    "MAX_VALIDITY",
    "QUOTA_PERIOD",
    "TREE_PAGE_SIZE",
    "Invitation",
    "InvitationCheck",
    "InvitationQuota",
    "InvitationStatistics",
    "Redemption",
    "TreeCounts",
    "TreeNode",
    "cancel",
    "check",
    "create",
    "expire_overdue",
    "extend",
    "find",
    "find_open_for",
    "get",
    "lineage",
    "list_page",
    "quota",
    "redeem",
    "statistics",
    "tree",
    "tree_counts",
]

MAX_VALIDITY = timedelta(days=365)
TREE_PAGE_SIZE = 1000
"""The number of members on a page of a tree, and in a lineage, if it is left out."""
MAX_TREE_PAGE_SIZE = 20_000
MAX_COUNTED_MEMBERS = 10_000
"""The number of members of a tree after which no further level is counted."""
QUOTA_PERIOD = timedelta(days=7)
"""The time in which the quota of new invitations counts them."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A member in the tree of invitations; `depth` is the distance from the requested member."""

    member_id: str
    name: str
    invited_by: str | None
    depth: int


@dataclass(frozen=True, slots=True)
class TreeCounts:
    """The numbers of members in a tree of invitations, by level.

    Attributes:
        levels: The number of those whom the member invited, of those whom these invited, and so on.
        is_complete: Whether the last level is the last one of the tree.
    """

    levels: list[int]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class InvitationQuota:
    """The invitations that a member has, and those that they can have.

    Attributes:
        max_open: The largest number of open invitations; None if there is no limit.
        max_weekly: The largest number of new invitations in seven days; None if there is no limit.
        open: The number of open invitations.
        weekly: The number of invitations that were created in the last seven days.
        next_at: The time, aware and in UTC, from which the member can invite again, at the latest;
            None if they can now, and for a limit of zero.
    """

    max_open: int | None
    max_weekly: int | None
    open: int
    weekly: int
    next_at: datetime | None

    @property
    def left(self) -> int | None:
        """The number of invitations that the member can create now; None if there is no limit."""
        if self.max_open is None or self.max_weekly is None:
            return None
        return max(0, min(self.max_open - self.open, self.max_weekly - self.weekly))


_INVITED_IS_BOT = """EXISTS (
    SELECT FROM community_members
    WHERE is_bot AND lower(telegram_username) = lower(:telegram_username::text)
)"""

# The quota of a member, whose limits are NULL for a manager. A quota of the tier or of a permission
# takes the place of the general one; of several ones, the largest numbers count.
_MEMBER_QUOTA = """LATERAL (
    SELECT
        CASE WHEN NOT is_manager THEN coalesce(max(named.max_open), :max_open) END AS max_open,
        CASE WHEN NOT is_manager THEN coalesce(max(named.max_weekly), :max_weekly) END
            AS max_weekly
    FROM (
        SELECT coalesce(array_agg(permission::text), '{}') AS permissions,
            coalesce(bool_or(permission = 'manage'), false) AS is_manager
        FROM member_permissions AS held WHERE held.member_id = member.member_id
    ) AS held
    LEFT JOIN unnest(:quota_names::text[], :quotas_open::integer[], :quotas_weekly::integer[])
        AS named(name, max_open, max_weekly)
        ON name = lower(member.reputation_tier) OR name = ANY(permissions)
    GROUP BY is_manager
) AS quota"""

# Inviting the same username again extends the open invitation, which keeps its code.
CREATE_INVITATION = Statement(f"""
WITH {ACTOR_CTE}, inviter AS MATERIALIZED (
    -- The creator of the invitation, if they are an active member with the required permission, and
    -- no bot is invited.
    SELECT member_id, max_open, max_weekly
    FROM actor, community_members AS member, {_MEMBER_QUOTA}
    WHERE member_id = :created_by AND status = 'active' AND deleted_at IS NULL AND NOT is_bot
        AND NOT {_INVITED_IS_BOT}
        AND (:required_permission::text IS NULL OR EXISTS (
            SELECT FROM member_permissions AS held
            WHERE held.member_id = member.member_id
                AND held.permission IN (:required_permission, 'manage')
        ))
), claim AS MATERIALIZED (
    -- The times until which the quota of the inviter is used up, if it is. Whoever has one waits
    -- here until other calls in the name of the same inviter have ended.
    SELECT inviter.*, open_at, weekly_at
    FROM inviter, LATERAL community_invitations_claim(
        member_id, :telegram_username, max_open, max_weekly
    )
), permitted AS MATERIALIZED (
    -- the inviter, if the quota allows another invitation
    SELECT member_id FROM claim WHERE open_at IS NULL AND weekly_at IS NULL
), closed AS (
    -- An open invitation of the same username that can't be redeemed any more: it is overdue, or
    -- its creator is no longer active. It would conflict with the new one.
    UPDATE community_invitations AS invitation
    SET status = CASE WHEN invitation.expires_at <= now() THEN 'expired' ELSE 'cancelled' END
    FROM permitted, community_members AS earlier
    WHERE lower(invitation.invited_telegram_username) = lower(:telegram_username::text)
        AND invitation.status = 'pending' AND earlier.member_id = invitation.created_by
        AND (invitation.expires_at <= now() OR earlier.status <> 'active'
            OR earlier.deleted_at IS NOT NULL OR earlier.is_bot)
    RETURNING 1
), created AS (
    -- the new invitation, or the extended one
    INSERT INTO community_invitations AS invitation
        (invitation_id, invitation_code, created_by, invited_telegram_username, expires_at)
    SELECT coalesce(:invitation_id::uuid, gen_random_uuid()), :code, permitted.member_id,
        :telegram_username::text, now() + :valid_for::interval
    -- The count makes PostgreSQL close the earlier invitation first.
    FROM permitted, (SELECT count(*) FROM closed) AS closed
    ON CONFLICT (lower(invited_telegram_username))
        WHERE status = 'pending' AND invited_telegram_username IS NOT NULL
        DO UPDATE SET expires_at = greatest(invitation.expires_at, EXCLUDED.expires_at)
    RETURNING {INVITATION_COLUMNS}
)
SELECT created.*, claim.max_open, claim.max_weekly,
    nullif(greatest(open_at, weekly_at), 'infinity') AS next_at,
    coalesce(open_at >= weekly_at, open_at IS NOT NULL) AS is_open_limit
FROM claim LEFT JOIN created ON true
""")

GET_QUOTA = Statement(f"""
SELECT status, deleted_at, is_bot AS has_bot, max_open, max_weekly, open, weekly,
    nullif(greatest(open_at, weekly_at), 'infinity') AS next_at
FROM community_members AS member, {_MEMBER_QUOTA},
    LATERAL community_invitations_free_at(member_id, max_open, max_weekly),
    LATERAL (
        SELECT count(*) FILTER (WHERE invitation.status = 'pending' AND expires_at > now()) AS open,
            count(*) FILTER (WHERE invitation.created_at > now() - :period::interval) AS weekly
        FROM community_invitations AS invitation
        WHERE invitation.created_by = member.member_id
    ) AS counted
WHERE member.member_id = {present_number_sql(":member_id")}
""")

GET_INVITER = Statement(f"""
SELECT status, deleted_at, is_bot OR {_INVITED_IS_BOT} AS has_bot
FROM community_members WHERE member_id = :created_by
""")

_MATCHING_ID = "invitation_id = :invitation_id"


def _make_get_statement(matching: str) -> Statement:
    """Return the statement that reads the invitation that fulfils a condition in SQL."""
    return Statement(f"""
SELECT {INVITATION_COLUMNS} FROM community_invitations AS invitation WHERE {matching}
""")


GET_INVITATION = _make_get_statement(MATCHING_CODE)
GET_INVITATION_BY_ID = _make_get_statement(_MATCHING_ID)

FIND_OPEN_INVITATION = Statement(f"""
SELECT {INVITATION_COLUMNS} FROM community_invitations AS invitation
JOIN community_members AS inviter ON inviter.member_id = invitation.created_by
WHERE lower(invited_telegram_username) = lower(:telegram_username) AND {INVITER_CAN_INVITE}
    AND invitation.status = 'pending' AND invitation.expires_at > now()
""")


def _make_extend_statement(matching: str) -> Statement:
    """Return the statement that extends the invitation that fulfils a condition in SQL."""
    return Statement(f"""
WITH {ACTOR_CTE}, claim AS MATERIALIZED (
    -- The invitation. An expired one is open again afterwards: open_at is the time
    -- until which the quota of its creator has no place for it.
    SELECT invitation_id, created_by, max_open, CASE WHEN is_expired THEN
        (community_invitations_claim(created_by, NULL, max_open, NULL)).open_at
    END AS open_at
    FROM (
        SELECT invitation_id, created_by, {effective_status_sql("invitation")} = 'expired'
            AS is_expired
        FROM community_invitations AS invitation WHERE {matching}
    ) AS found
    JOIN community_members AS member ON member.member_id = found.created_by, {_MEMBER_QUOTA}
), before AS (
    -- The invitation, locked after the quota, as a new invitation does. One that another call has
    -- opened in the meantime has its place.
    SELECT invitation.invitation_id, invitation.status,
        CASE WHEN {effective_status_sql("invitation")} = 'expired' THEN open_at END AS open_at
    FROM claim JOIN community_invitations AS invitation USING (invitation_id)
    FOR UPDATE OF invitation
), changed AS (
    -- the invitation after the change; an accepted or cancelled one stays as it is
    UPDATE community_invitations AS invitation
    SET status = 'pending', expires_at = greatest(expires_at, now()) + :valid_for::interval
    FROM before, actor
    WHERE invitation.invitation_id = before.invitation_id AND before.open_at IS NULL
        AND before.status IN ('pending', 'expired')
    RETURNING {INVITATION_COLUMNS}
)
SELECT before.status AS before, changed.*, claim.created_by AS inviter, max_open, before.open_at,
    nullif(before.open_at, 'infinity') AS next_at
FROM claim JOIN before USING (invitation_id) LEFT JOIN changed ON true
""")


EXTEND_INVITATION = _make_extend_statement(MATCHING_CODE)
EXTEND_INVITATION_BY_ID = _make_extend_statement(_MATCHING_ID)


def _make_cancel_statement(matching: str) -> Statement:
    """Return the statement that cancels the invitation that fulfils a condition in SQL."""
    return Statement(f"""
WITH {ACTOR_CTE}, before AS (
    -- the invitation, locked
    SELECT invitation_id, status FROM community_invitations WHERE {matching} FOR UPDATE
), changed AS (
    -- the invitation after the change; an accepted or cancelled one stays as it is
    UPDATE community_invitations AS invitation SET status = 'cancelled' FROM before, actor
    WHERE invitation.invitation_id = before.invitation_id
        AND before.status IN ('pending', 'expired')
    RETURNING {INVITATION_COLUMNS}
)
SELECT before.status AS before, changed.* FROM before LEFT JOIN changed ON true
""")


CANCEL_INVITATION = _make_cancel_statement(MATCHING_CODE)
CANCEL_INVITATION_BY_ID = _make_cancel_statement(_MATCHING_ID)

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

_LISTED_INVITATIONS = f"""community_invitations AS invitation
WHERE (:created_by::text IS NULL OR created_by = {present_number_sql(":created_by")})
    AND (:status::text IS NULL OR {effective_status_sql("invitation")} = :status)
    AND (:since::timestamptz IS NULL OR created_at >= :since)
    AND (:before::timestamptz IS NULL OR created_at < :before)"""


def _list_invitations_sql(order: PageOrder) -> str:
    return f"""
SELECT {INVITATION_COLUMNS} FROM {_LISTED_INVITATIONS}
    AND {order.after("created_at, invitation_id", ":edge_time::timestamptz, :edge_id::uuid")}
{order.by("created_at", "invitation_id")} LIMIT :limit
"""


INVITATIONS = PagedList(
    "invitations",
    {"edge_time": TIME_FIELD, "edge_id": KEY_FIELD},
    _list_invitations_sql,
    is_descending=True,
)
COUNT_INVITATIONS = Statement(f"SELECT count(*) FROM {_LISTED_INVITATIONS}")

_START_CTE = """start AS (
    -- the member; the number of a merged member leads to the other one
    SELECT coalesce(merged_into, member_id) AS member_id FROM community_members
    WHERE member_id = :member_id
)"""
FIND_START = Statement("SELECT FROM community_members WHERE member_id = :member_id")


# A restored backup can contain a cycle of members who invited each other. Every member has one
# inviter, so such a cycle leads back to the first member, where the recursion ends. It also ends
# after the level with which there are enough members: all rows of a level have the same `listed`.
#
# A page before a member needs all levels down to that of the member, and ends there.
def _list_tree_sql(order: PageOrder) -> str:
    edge = ":edge_depth::integer, length(:edge_number::text), :edge_number"
    enough = "depth < :edge_depth::integer" if order.is_descending else "listed < :limit"
    return f"""
WITH RECURSIVE {_START_CTE}, tree AS (
    -- the member, whom they invited, whom those invited, and so on; with the number of those, up to
    -- and with this level, who come after the member at the edge
    SELECT member_id, name, invited_by, is_bot, merged_into, 0 AS depth,
        {0 if order.has_cursor else 1}::bigint AS listed
    FROM community_members WHERE member_id = (SELECT member_id FROM start)
    UNION ALL
    SELECT member.member_id, member.name, member.invited_by, member.is_bot, member.merged_into,
        depth + 1,
        listed + count(*) FILTER (
            WHERE NOT member.is_bot AND member.merged_into IS NULL
                AND {order.after("depth + 1, length(member.member_id), member.member_id", edge)}
        ) OVER ()
    FROM tree JOIN community_members AS member ON member.invited_by = tree.member_id
    WHERE member.member_id <> (SELECT member_id FROM start)
        AND {enough} AND (:max_depth::integer IS NULL OR depth < :max_depth)
)
SELECT member_id, name, invited_by, depth FROM tree
WHERE (depth = 0 OR NOT is_bot AND merged_into IS NULL)
    AND {order.after("depth, length(member_id), member_id", edge)}
{order.by("depth", "length(member_id)", "member_id")} LIMIT :limit
"""


INVITATION_TREE = PagedList(
    "tree", {"edge_depth": SMALL_INT_FIELD, "edge_number": NUMBER_FIELD}, _list_tree_sql
)

# The recursion reads an index only. It ends as that of LIST_INVITATION_TREE does.
COUNT_INVITATION_TREE = Statement(f"""
WITH RECURSIVE {_START_CTE}, tree AS (
    -- the member, whom they invited, and so on; with the number of all up to and with this level
    SELECT member_id, 0 AS depth, 0::bigint AS counted FROM start
    UNION ALL
    SELECT member.member_id, depth + 1, counted + count(*) OVER ()
    FROM tree JOIN community_members AS member ON member.invited_by = tree.member_id
    WHERE member.member_id <> (SELECT member_id FROM start)
        AND counted < :max_members AND (:max_depth::integer IS NULL OR depth < :max_depth)
), left_out AS MATERIALIZED (
    -- the bots and the merged members, who are in no tree
    {BOTS}
    UNION ALL
    SELECT member_id FROM community_members WHERE merged_into IS NOT NULL
)
SELECT depth, count(*) FILTER (WHERE NOT tree.member_id IN (SELECT member_id FROM left_out)),
    max(counted) >= :max_members OR depth >= :max_depth AS is_last
FROM tree GROUP BY depth ORDER BY depth
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
SELECT lineage.*, start.member_id AS start FROM lineage, start LIMIT :limit
""")


async def create(
    *,
    created_by: str | int,
    telegram_username: str | None = None,
    valid_for: timedelta = DEFAULT_VALIDITY,
    required_permission: Permission | str | None = None,
    invitation_id: UUID | str | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> Invitation:
    """Create an invitation, or extend the open invitation of the same Telegram username.

    A username has at most one open invitation. Inviting it again keeps the code, and keeps the
    later of the two expiry times. It costs nothing of the inviter's quota, which limits the open
    invitations and the new ones in seven days for every caller, however many calls there are at the
    same time. Members who hold the permission `manage` have no quota.

    Args:
        created_by: The number of the inviter, an active member.
        telegram_username: The only username that can redeem the code, with or without @. If it is
            None, anybody who has the code can redeem it.
        valid_for: The time until the invitation expires: 1 second to 365 days, or three days if it
            is left out.
        required_permission: The permission that the inviter must have, as `permissions.has` tells;
            None lets every active member invite.
        invitation_id: The id of the new invitation, such as that of a form that somebody may send
            twice; None makes a random one.
        actor: The author of the change, for the audit log; the inviter if it is left out.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has the inviter's number, or the inviter was removed.
        MemberNotActive: The inviter is not an active member.
        PermissionRequired: The inviter does not have the required permission.
        InvitationQuotaExceeded: The inviter has used up the quota. The error contains the time from
            which the next invitation is free.
        BotRefused: The inviter, or the member with this username, is a bot.
        InvalidInput: A value can't be stored, there is no such permission, `valid_for` is not 1
            second to 365 days, or an invitation with this id exists, which the error's code
            "community_invitations_pkey" tells.
    """
    created_by = member_number(created_by, "created_by")
    username = normalize_telegram_username(telegram_username)
    if required_permission is not None:
        required_permission = parse_choice(Permission, required_permission, "required_permission")
    records = await engine.fetch(
        CREATE_INVITATION,
        created_by=created_by,
        code=new_code(),
        invitation_id=None if invitation_id is None else _parse_id(invitation_id),
        telegram_username=username,
        valid_for=_checked_validity(valid_for),
        required_permission=required_permission,
        actor=checked_actor(actor) or created_by,
        reason=reason,
        **_quota_settings(),
    )
    if not records:
        inviter = await engine.fetch(GET_INVITER, created_by=created_by, telegram_username=username)
        await _check_inviter(created_by, inviter)
        if required_permission is not None:
            raise PermissionRequired(created_by, required_permission)
        raise MemberNotActive(created_by, inviter[0]["status"])
    [created] = records
    if created["invitation_code"] is not None:
        return invitation_from(created)
    limit, period = (
        (created["max_open"], None)
        if created["is_open_limit"]
        else (created["max_weekly"], QUOTA_PERIOD)
    )
    raise InvitationQuotaExceeded(created_by, limit, period, created["next_at"])


async def quota(member_id: str | int) -> InvitationQuota:
    """Return how many invitations an active member has, and how many they can have.

    The number of a merged member leads to the other one.

    Raises:
        MemberNotFound: No member has this number, or the member was removed.
        MemberNotActive: The member is not active.
        BotRefused: The member is a bot.
        InvalidInput: The number is neither a text nor an integer.
    """
    number = member_number(member_id)
    records = await engine.fetch(
        GET_QUOTA, member_id=number, period=QUOTA_PERIOD, **_quota_settings()
    )
    await _check_inviter(number, records)
    return InvitationQuota(*list(records[0])[3:])


async def get(code: str | None = None, *, invitation_id: UUID | str | None = None) -> Invitation:
    """Return an invitation by its code, typed in any case or pasted, also as a link, or by its id.

    Raises:
        InvitationNotFound: There is no such invitation.
        InvalidInput: The code is not a text, the id is not a UUID, or not exactly one is given.
    """
    key = _parse_key(code, invitation_id)
    records = await engine.fetch(
        GET_INVITATION_BY_ID if key.is_id else GET_INVITATION, **key.values
    )
    if not records:
        raise InvitationNotFound(key.text)
    return invitation_from(records[0])


async def find(
    code: str | None = None, *, invitation_id: UUID | str | None = None
) -> Invitation | None:
    """Return an invitation by its code, typed in any case or pasted, also as a link, or by its id.

    Returns:
        The invitation, or None if there is no such invitation.

    Raises:
        InvalidInput: The code is not a text, the id is not a UUID, or not exactly one is given.
    """
    try:
        return await get(code, invitation_id=invitation_id)
    except InvitationNotFound:
        return None


async def find_open_for(username: str) -> Invitation | None:
    """Return the open invitation for a Telegram username, such as that of a request to join a chat.

    `check` with the code of the invitation tells whether this person can redeem it.

    Args:
        username: The username in any case, with or without @, or a link to it.

    Returns:
        The invitation, or None if the username has none that is open: it is pending, has not
        expired, and its inviter is an active member.

    Raises:
        InvalidInput: The username is malformed.
    """
    normalized = normalize_telegram_username(username)
    if normalized is None:
        return None
    records = await engine.fetch(FIND_OPEN_INVITATION, telegram_username=normalized)
    return invitation_from(records[0]) if records else None


async def extend(
    code: str | None = None,
    *,
    invitation_id: UUID | str | None = None,
    valid_for: timedelta = DEFAULT_VALIDITY,
    actor: str | None = None,
    reason: str | None = None,
) -> Invitation:
    """Extend an open or an expired invitation.

    An expired one is open again afterwards, and so needs a place in its inviter's quota.

    Args:
        code: The code, typed in any case or pasted, also as a link.
        invitation_id: In place of the code, the id of the invitation.
        valid_for: The time that is added to the expiry time, or to now if the invitation has
            expired: 1 second to 365 days.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        InvitationNotFound: There is no such invitation.
        InvitationUsed: The invitation was accepted.
        InvitationCancelled: The invitation was cancelled.
        InvitationQuotaExceeded: The invitation has expired, and its inviter has as many open ones
            as they can have.
        InvalidInput: `valid_for` is not 1 second to 365 days, the invitation has expired and its
            username has a newer one that is open, or not exactly one of code and id is given.
    """
    key = _parse_key(code, invitation_id)
    records = await engine.fetch(
        EXTEND_INVITATION_BY_ID if key.is_id else EXTEND_INVITATION,
        **key.values,
        valid_for=_checked_validity(valid_for),
        actor=checked_actor(actor),
        reason=reason,
        **_quota_settings(),
    )
    if records and records[0]["open_at"] is not None:
        refused = records[0]
        raise InvitationQuotaExceeded(
            refused["inviter"], refused["max_open"], None, refused["next_at"]
        )
    return _require_changed_invitation(key.text, records)


async def cancel(
    code: str | None = None,
    *,
    invitation_id: UUID | str | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> Invitation:
    """Cancel an open or an expired invitation for good.

    Args:
        code: The code, typed in any case or pasted, also as a link.
        invitation_id: In place of the code, the id of the invitation.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        InvitationNotFound: There is no such invitation.
        InvitationUsed: The invitation was accepted.
        InvitationCancelled: The invitation was cancelled before.
        InvalidInput: The code is not a text, the id is not a UUID, not exactly one is given, or the
            actor is blank.
    """
    key = _parse_key(code, invitation_id)
    records = await engine.fetch(
        CANCEL_INVITATION_BY_ID if key.is_id else CANCEL_INVITATION,
        **key.values,
        actor=checked_actor(actor),
        reason=reason,
    )
    return _require_changed_invitation(key.text, records)


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
    created_from: str | date | None = None,
    created_to: str | date | None = None,
    after: str | None = None,
    limit: int = 20,
    with_total: bool = False,
) -> Page[Invitation]:
    """List invitations, newest first.

    Args:
        created_by: The number of an inviter, whose invitations are listed; None lists those of all.
            The number of a merged member leads to the other one.
        status: The effective status of the listed invitations; None lists every status.
        created_from: The first day of creation, in the community's time zone: a date, "month" for
            the first day of this month, or a number of days ago such as "30d".
        created_to: The last day of creation, like `created_from`.
        after: A cursor of another page.
        limit: The number of invitations on the page, 1 to 100.
        with_total: Whether the page has the number of all listed invitations. They are counted in
            an index: among 3,000,000 invitations of all inviters this takes up to 0.3 seconds.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: There is no such status or day, or the limit is not 1 to 100.
    """
    if status is not None:
        status = parse_choice(InvitationStatus, status, "status")
    if created_by is not None:
        created_by = member_number(created_by, "created_by")
        check_text("created_by", created_by, CommunityMember.member_id.length)
    since, before = parse_times("created", created_from, created_to)
    conditions = {"created_by": created_by, "status": status, "since": since, "before": before}
    page = await INVITATIONS.read_page(
        after,
        checked_limit(limit),
        invitation_from,
        lambda invitation: (invitation.created_at, invitation.invitation_id),
        **conditions,
    )
    if not with_total:
        return page
    [(total,)] = await engine.read(COUNT_INVITATIONS, **conditions)
    return replace(page, total=total)


async def lineage(member_id: str | int, *, limit: int = TREE_PAGE_SIZE) -> list[TreeNode]:
    """List a member, then their inviter, then the inviter of that one, and so on to the root.

    The depth of the member is 0, that of their inviter 1. Removed members are included.

    Args:
        member_id: The member's number, "#247" or 247.
        limit: The largest number of members, 1 to 20,000. The last one has an inviter if the list
            is cut.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: The number is neither a text nor an integer, or the limit is out of range.
    """
    number = member_number(member_id)
    records = await engine.fetch(LIST_LINEAGE, member_id=number, limit=_checked_tree_limit(limit))
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


async def tree(
    member_id: str | int,
    *,
    max_depth: int | None = None,
    after: str | None = None,
    limit: int = TREE_PAGE_SIZE,
) -> Page[TreeNode]:
    """List those whom a member invited, directly or through others, by depth and number.

    The member comes first, with depth 0. Removed members are included. Bots are left out, but not
    the people whom they invited.

    Each page reads all levels down to its own, so that later pages of a large tree take longer:
    those of the first of a million members up to 15 seconds.

    Args:
        member_id: The member's number, "#247" or 247.
        max_depth: The largest depth, 0 or more; None has no limit.
        after: A cursor of another page of the same tree.
        limit: The number of members on the page, 1 to 20,000.

    Raises:
        MemberNotFound: No member has this number.
        InvalidCursor: `after` is not a cursor of a tree.
        InvalidInput: The number is neither a text nor an integer, or another argument is out of
            range.
    """
    number = member_number(member_id)
    with primary_only():
        page = await INVITATION_TREE.read_page(
            after,
            _checked_tree_limit(limit),
            lambda record: TreeNode(*record),
            lambda node: (node.depth, node.member_id),
            member_id=number,
            max_depth=_checked_depth(max_depth),
        )
    if not page.items and (after is None or not await engine.fetch(FIND_START, member_id=number)):
        raise MemberNotFound(number)
    return page


async def tree_counts(
    member_id: str | int, *, max_depth: int | None = None, max_members: int = MAX_COUNTED_MEMBERS
) -> TreeCounts:
    """Count those whom a member invited, directly or through others, by depth.

    The members of `tree` are counted. The count ends after the level with which there are
    `max_members`, because a whole million takes up to 10 seconds, more than a call has outside of
    `database.long_running()`.

    Args:
        member_id: The member's number, "#247" or 247.
        max_depth: The largest depth, 0 or more; None has no limit.
        max_members: The number of members after which no further level is counted.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: The number is neither a text nor an integer, or another argument is out of
            range.
    """
    number = member_number(member_id)
    if type(max_members) is not int or not 1 <= max_members < 2**31:
        raise InvalidInput("The number of members must be a positive integer.", field="max_members")
    records = await engine.fetch(
        COUNT_INVITATION_TREE,
        member_id=number,
        max_depth=_checked_depth(max_depth),
        max_members=max_members,
    )
    if not records:
        raise MemberNotFound(number)
    _, *levels = [count for _, count, _ in records]
    return TreeCounts(levels, is_complete=not records[-1]["is_last"])


class _Key(NamedTuple):
    """A code or an id: the text of it, and the parameters of the statement that finds it."""

    is_id: bool
    text: str
    values: dict[str, object]


def _parse_key(code: str | None, invitation_id: UUID | str | None) -> _Key:
    """Return what finds an invitation.

    Raises:
        InvalidInput: A value has the wrong type, or not exactly one is given.
        InvitationNotFound: No code can look like this.
    """
    if invitation_id is None:
        typed = cast("str", code)  # None is refused like everything else that is no text
        return _Key(is_id=False, text=typed, values={**normalize_code(typed)})
    if code is not None:
        raise InvalidInput(
            "Give either the code or the id of the invitation.", field="invitation_id"
        )
    found = _parse_id(invitation_id)
    return _Key(is_id=True, text=str(found), values={"invitation_id": found})


def _parse_id(invitation_id: UUID | str) -> UUID:
    """Return the id of an invitation.

    Raises:
        InvalidInput: The value is not a UUID.
    """
    try:
        return invitation_id if isinstance(invitation_id, UUID) else UUID(invitation_id)
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput("The id of an invitation is a UUID.", field="invitation_id") from None


def _quota_settings() -> dict[str, object]:
    """Return the settings of the quotas as parameters of a statement."""
    settings = load_settings()
    quotas = settings.invitation_quotas
    return {
        "max_open": settings.max_open_invitations,
        "max_weekly": settings.max_weekly_invitations,
        "quota_names": list(quotas),
        "quotas_open": [max_open for max_open, _ in quotas.values()],
        "quotas_weekly": [max_weekly for _, max_weekly in quotas.values()],
    }


async def _check_inviter(member_id: str, records: Sequence[asyncpg.Record]) -> None:
    """Raise the reason why a member can't invite, if there is one in their row."""
    if not records or records[0]["deleted_at"] is not None:
        raise await member_not_found(member_id)
    if records[0]["has_bot"]:
        raise BotRefused
    if records[0]["status"] != MemberStatus.ACTIVE:
        raise MemberNotActive(member_id, records[0]["status"])


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


def _checked_depth(depth: int | None) -> int | None:
    if depth is not None and (type(depth) is not int or not 0 <= depth < 2**31):
        raise InvalidInput("A depth is an integer from 0 on.", field="max_depth")
    return depth


def _checked_tree_limit(limit: int) -> int:
    if type(limit) is not int or not 1 <= limit <= MAX_TREE_PAGE_SIZE:
        raise InvalidInput(
            f"A page of a tree has 1 to {MAX_TREE_PAGE_SIZE:,} members.", field="limit"
        )
    return limit


def _checked_validity(valid_for: object) -> timedelta:
    if (
        not isinstance(valid_for, timedelta)
        or not timedelta(seconds=1) <= valid_for <= MAX_VALIDITY
    ):
        raise InvalidInput(
            f"An invitation is open for 1 second to {MAX_VALIDITY.days} days.", field="valid_for"
        )
    return valid_for


observe_helpers(globals())
