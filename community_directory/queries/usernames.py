"""Telegram usernames: each belongs to one person at a time, and can pass to another.

Callers use it as `members.set_username`.
"""

from community_directory.database import Statement, engine, transaction
from community_directory.queries.identifiers import normalize_telegram_username
from community_directory.queries.member_cache import forget
from community_directory.queries.member_rows import (
    Member,
    member_columns,
    member_from,
    member_not_found,
)
from community_directory.queries.values import ACTOR_CTE, checked_actor, member_number

# Two calls with one username run one after the other: a statement does not see what another one
# has not committed yet. The number is an arbitrary seed.
LOCK_USERNAME = Statement(
    "SELECT pg_advisory_xact_lock(hashtextextended(lower(:telegram_username), 7166762))"
)

SET_USERNAME = Statement(f"""
WITH {ACTOR_CTE},
-- The member and the former holders, locked in one order so that two calls do not deadlock.
concerned AS (
    SELECT id, member_id FROM community_members
    WHERE (member_id = :member_id AND deleted_at IS NULL)
        OR lower(telegram_username) = lower(:telegram_username::text)
    ORDER BY id FOR NO KEY UPDATE
),
-- The former holders lose the username, if the member exists.
released AS (
    UPDATE community_members AS member SET telegram_username = NULL FROM concerned, actor
    WHERE member.id = concerned.id AND concerned.member_id <> :member_id
        AND EXISTS (SELECT FROM concerned WHERE member_id = :member_id)
),
-- So do the second accounts of anybody, whose usernames are in no column.
released_accounts AS (
    UPDATE member_accounts AS account SET username = NULL
    FROM community_members AS holder, actor
    WHERE lower(account.username) = lower(:telegram_username) AND account.platform = 'telegram'
        AND holder.member_id = account.member_id AND holder.telegram_id <> account.account_id
        AND EXISTS (SELECT FROM concerned WHERE member_id = :member_id)
)
UPDATE community_members AS member SET telegram_username = :telegram_username::text
FROM concerned, actor
WHERE member.id = concerned.id AND concerned.member_id = :member_id AND member.deleted_at IS NULL
RETURNING {member_columns("member")}
""")


async def set_username(
    member_id: str | int,
    telegram_username: str | None,
    *,
    actor: str | None = None,
    reason: str | None = None,
) -> Member:
    """Give a member the Telegram username that they have now, and return the member.

    Whoever had the username before loses it in the same transaction, also a removed member: on
    Telegram it belongs to one account, which can release it for another. Nothing else of theirs
    changes, and the audit log has both changes. None means that the member has no username.

    Args:
        member_id: The member's number: "#247", or 247.
        telegram_username: The username, with or without @, or the link to the account.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has this number, or the member was removed.
        InvalidInput: The username can't be stored.
    """
    number, actor = member_number(member_id), checked_actor(actor)
    username = normalize_telegram_username(telegram_username)
    async with transaction():
        await engine.fetch(LOCK_USERNAME, telegram_username=username)
        records = await engine.fetch(
            SET_USERNAME,
            member_id=number,
            telegram_username=username,
            actor=actor,
            reason=reason,
        )
    if not records:
        raise await member_not_found(number)
    forget()  # former holders, too
    return member_from(records[0])
