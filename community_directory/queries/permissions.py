"""Permissions: grant and revoke them, and ask who may do what.

Somebody grants a permission. The `primary_role`, which people choose themselves, gives them none.
"""

from dataclasses import dataclass
from datetime import datetime

from community_directory.database import Statement, engine, primary_only, transaction
from community_directory.errors import (
    BotRefused,
    MemberNotActive,
    MemberNotFound,
    PermissionRequired,
)
from community_directory.queries.ids import new_id
from community_directory.queries.member_rows import (
    Member,
    member_columns,
    member_from,
    member_not_found,
)
from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    NUMBER_FIELD,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.values import (
    ACTOR_CTE,
    member_number,
    parse_choice,
    required_actor,
)
from community_directory.tables import MemberStatus, Permission

__all__ = ["MemberPermission", "grant", "has", "holders", "of", "revoke"]


@dataclass(frozen=True, slots=True)
class MemberPermission:
    """A permission that a member holds; the time is aware, in UTC."""

    member_id: str
    permission: Permission
    granted_at: datetime


# The members are locked one after the other in the order in which all statements lock them. Two
# managers who revoke each other's permission at once must wait, or both would succeed.
LOCK_MEMBERS = Statement("""
SELECT member_id, status, is_bot FROM community_members
WHERE member_id IN (:member_id, :granted_by) AND deleted_at IS NULL
ORDER BY member_id FOR NO KEY UPDATE
""")

GRANT_PERMISSION = Statement(f"""
WITH {ACTOR_CTE}
INSERT INTO member_permissions (id, member_id, permission)
SELECT :id::uuid, :member_id::text, :permission::text FROM actor
ON CONFLICT (member_id, permission) DO NOTHING
""")

REVOKE_PERMISSION = Statement(f"""
WITH {ACTOR_CTE}
DELETE FROM member_permissions USING actor
WHERE member_id = :member_id AND permission = :permission
RETURNING id
""")

GET_PERMISSION = Statement("""
SELECT member_id, permission, granted_at FROM member_permissions
WHERE member_id = :member_id AND permission = :permission
""")

# The status is asked, too: it decides, even if somebody has switched the triggers off.
HAS_PERMISSION = Statement("""
SELECT FROM community_members AS named
JOIN community_members AS member
    ON member.member_id = coalesce(named.merged_into, named.member_id)
JOIN member_permissions AS held ON held.member_id = member.member_id
WHERE named.member_id = :member_id AND held.permission IN (:permission, 'manage')
    AND member.status = 'active' AND member.deleted_at IS NULL AND NOT member.is_bot
LIMIT 1
""")

LIST_PERMISSIONS = Statement("""
SELECT held.member_id, held.permission, held.granted_at FROM community_members AS named
LEFT JOIN member_permissions AS held
    ON held.member_id = coalesce(named.merged_into, named.member_id)
WHERE named.member_id = :member_id
ORDER BY held.granted_at, held.permission
""")


# The numbers are sorted first, so that only the members of the page are looked up.
def _list_holders_sql(order: PageOrder) -> str:
    return f"""
SELECT {member_columns("member")} FROM (
    SELECT DISTINCT length(member_id) AS digits, member_id FROM member_permissions
    WHERE permission IN (:permission, 'manage')
        AND {order.after("length(member_id), member_id", "length(:last::text), :last")}
    {order.by("digits", "member_id")}
) AS held CROSS JOIN LATERAL (
    SELECT * FROM community_members
    WHERE member_id = held.member_id AND status = 'active' AND deleted_at IS NULL AND NOT is_bot
    OFFSET 0
) AS member
{order.by("held.digits", "held.member_id")} LIMIT :limit
"""


HOLDERS = PagedList("holders", {"last": NUMBER_FIELD}, _list_holders_sql)


async def grant(
    member_id: str | int,
    permission: Permission | str,
    *,
    actor: str,
    granted_by: str | int | None = None,
    reason: str | None = None,
) -> MemberPermission:
    """Grant a permission to an active member. A repeated call changes nothing.

    A ban, a suspension, a removal and the mark as a bot take all permissions of a member, for good.

    Args:
        member_id: The number of the member who gets the permission.
        permission: The permission; `manage` includes the others.
        actor: The author of the change, for the audit log.
        granted_by: The number of the member who grants it, and who must hold `manage`. Leave it out
            only if the caller has checked the right by other means, as the panel and the command
            line do.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has one of the numbers, or the member was removed.
        MemberNotActive: The member who gets the permission is not active.
        BotRefused: The member who gets the permission is a bot.
        PermissionRequired: The member who grants it does not hold `manage`.
        InvalidInput: There is no such permission, or the actor is blank.
    """
    number, permission = member_number(member_id), _parse_permission(permission)
    actor = required_actor(actor)
    async with transaction():
        status, is_bot = await _lock(number, granted_by)
        if is_bot:
            raise BotRefused
        if status != MemberStatus.ACTIVE:
            raise MemberNotActive(number, status)
        await engine.fetch(
            GRANT_PERMISSION,
            id=new_id(),
            member_id=number,
            permission=permission,
            actor=actor,
            reason=reason,
        )
        [record] = await engine.fetch(GET_PERMISSION, member_id=number, permission=permission)
    return _permission_from(*record)


async def revoke(
    member_id: str | int,
    permission: Permission | str,
    *,
    actor: str,
    revoked_by: str | int | None = None,
    reason: str | None = None,
) -> bool:
    """Revoke a permission, and return whether the member held it.

    A member who also holds `manage` can do the same as before.

    Args:
        member_id: The number of the member who loses the permission.
        permission: The permission.
        actor: The author of the change, for the audit log.
        revoked_by: The number of the member who revokes it, and who must hold `manage`. Leave it
            out only if the caller has checked the right by other means.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has one of the numbers, or the member was removed.
        PermissionRequired: The member who revokes it does not hold `manage`.
        InvalidInput: There is no such permission, or the actor is blank.
    """
    number, permission = member_number(member_id), _parse_permission(permission)
    actor = required_actor(actor)
    async with transaction():
        await _lock(number, revoked_by)
        records = await engine.fetch(
            REVOKE_PERMISSION, member_id=number, permission=permission, actor=actor, reason=reason
        )
    return bool(records)


async def has(member_id: str | int, permission: Permission | str) -> bool:
    """Return whether a member may do what the permission allows: they hold it, or `manage`.

    An unknown, removed, suspended or banned member may do nothing. The number of a member who was
    merged into another one leads to the other one.

    Raises:
        InvalidInput: There is no such permission, or the number is neither a text nor an integer.
    """
    records = await engine.fetch(
        HAS_PERMISSION,
        member_id=member_number(member_id),
        permission=_parse_permission(permission),
    )
    return bool(records)


async def of(member_id: str | int) -> list[MemberPermission]:
    """List the permissions that were granted to a member, in the order of their times.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: The number is neither a text nor an integer.
    """
    number = member_number(member_id)
    records = await engine.fetch(LIST_PERMISSIONS, member_id=number)
    if not records:
        raise MemberNotFound(number)
    return [_permission_from(*record) for record in records if record["permission"] is not None]


async def holders(
    permission: Permission | str, *, after: str | None = None, limit: int = 20
) -> Page[Member]:
    """List the members who may do what the permission allows, those who hold `manage` included.

    They are sorted by number.

    Args:
        permission: The permission.
        after: A cursor of another page.
        limit: The number of members on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: There is no such permission, or the limit is not 1 to 100.
    """
    permission = _parse_permission(permission)
    with primary_only():
        return await HOLDERS.read_page(
            after,
            checked_limit(limit),
            member_from,
            lambda member: (member.member_id,),
            permission=permission,
        )


async def _lock(number: str, granted_by: str | int | None) -> tuple[str, bool]:
    """Lock a member and the manager who grants or revokes; return the status and the bot mark.

    Raises:
        MemberNotFound: No member has one of the numbers, or the member was removed.
        PermissionRequired: The manager does not hold `manage`.
    """
    manager = None if granted_by is None else member_number(granted_by, "granted_by")
    records = await engine.fetch(LOCK_MEMBERS, member_id=number, granted_by=manager)
    found = {record["member_id"]: record for record in records}
    for wanted in (manager, number):
        if wanted is not None and wanted not in found:
            raise await member_not_found(wanted)
    if manager is not None and not await has(manager, Permission.MANAGE):
        raise PermissionRequired(manager, Permission.MANAGE)
    return found[number]["status"], found[number]["is_bot"]


def _parse_permission(permission: Permission | str) -> Permission:
    return parse_choice(Permission, permission, "permission")


def _permission_from(member_id: str, permission: str, granted_at: datetime) -> MemberPermission:
    return MemberPermission(member_id, Permission(permission), granted_at)


observe_helpers(globals())
