"""The author of an update: looked up at most once a minute, with a username that stays current.

Callers use it as `members.seen`.
"""

import asyncio

from community_directory.database import Statement, engine, transaction
from community_directory.queries.identifiers import (
    normalize_name,
    normalize_telegram_id,
    normalize_username,
    parse_account,
    visible_name,
)
from community_directory.queries.member_cache import MISSING, member_cache
from community_directory.queries.member_rows import Member, member_columns, member_from
from community_directory.queries.usernames import LOCK_USERNAME
from community_directory.queries.values import ACTOR_CTE, check_text
from community_directory.tables import CommunityMember, Platform

DELETED_ACCOUNT_NAME = "Deleted Account"
"""The name that Telegram's apps give an account that was deleted; the Bot API sends none."""
SEEN_REASON = "Telegram's updates have another username or name."

# Somebody who is in the directory takes the username from everybody else; a stranger takes it from
# other accounts of Telegram only, because a member without one may be the stranger.
_FORMER_HOLDER = """lower(holder.telegram_username) = lower(:username::text)
        AND holder.telegram_id <> :telegram_id AND holder.merged_into IS NULL"""
# A name that is the id of the account stands for one that an import did not know.
_LACKS_NAME = "member.name = member.telegram_id AND member.telegram_id = :telegram_id"

LOOK_UP_ACCOUNT = Statement(f"""
SELECT {member_columns("member")}, account.member_id AS number,
    :platform::text = 'telegram' AND (
        member.id IS NOT NULL AND (
            account.username IS DISTINCT FROM :username::text
            OR member.telegram_id = :telegram_id::text
                AND member.telegram_username IS DISTINCT FROM :username
            OR EXISTS (SELECT FROM community_members AS holder WHERE {_FORMER_HOLDER})
        ) OR EXISTS (
            SELECT FROM member_accounts AS other
            WHERE lower(other.username) = lower(:username) AND other.platform = 'telegram'
                AND other.account_id <> :account_id
        )
    ) OR coalesce({_LACKS_NAME} AND :name::text IS NOT NULL, false) AS is_outdated
FROM (SELECT) AS one_row
LEFT JOIN member_accounts AS account
    ON account.platform = :platform AND account.account_id = :account_id::text
LEFT JOIN community_members AS member
    ON member.member_id = account.member_id AND member.deleted_at IS NULL
""")

KEEP_CURRENT = Statement(f"""
WITH {ACTOR_CTE},
-- The member with the account, who may be removed.
owner AS MATERIALIZED (
    SELECT member.id, deleted_at IS NULL AS is_present
    FROM member_accounts AS account JOIN community_members AS member USING (member_id)
    WHERE account.platform = :platform AND account.account_id = :account_id
),
-- The member and the former holders, locked in one order so that two calls do not deadlock.
concerned AS (
    SELECT id FROM community_members AS holder
    WHERE id = (SELECT id FROM owner WHERE is_present) OR {_FORMER_HOLDER} AND (
        holder.telegram_id ~ '^[1-9]' OR EXISTS (SELECT FROM owner WHERE is_present)
    )
    ORDER BY id FOR NO KEY UPDATE
),
-- The columns of all of them; a trigger keeps the accounts that they name.
changed AS (
    UPDATE community_members AS member
    SET telegram_username = CASE
            WHEN :platform = 'telegram' AND member.telegram_id = :telegram_id THEN :username::text
            WHEN lower(member.telegram_username) = lower(:username) THEN NULL
            ELSE member.telegram_username END,
        name = CASE WHEN {_LACKS_NAME} THEN coalesce(:name::text, member.name)
            ELSE member.name END
    FROM concerned, actor WHERE member.id = concerned.id
)
-- The account and those of former holders, except for those that the trigger writes.
UPDATE member_accounts AS account
SET username = CASE account.account_id WHEN :account_id THEN :username END
FROM community_members AS holder, actor
WHERE :platform = 'telegram' AND account.platform = 'telegram'
    AND holder.member_id = account.member_id
    AND CASE account.account_id
        WHEN :account_id THEN EXISTS (SELECT FROM owner WHERE is_present)
            AND account.username IS DISTINCT FROM :username
        ELSE lower(account.username) = lower(:username) END
    AND NOT (
        holder.telegram_id = account.account_id AND CASE account.account_id
            WHEN :account_id THEN holder.telegram_username IS DISTINCT FROM :username
            ELSE lower(holder.telegram_username) IS NOT DISTINCT FROM lower(:username) END
    )
""")


async def seen(*, telegram_id: str | int, username: str | None = None, name: str) -> Member | None:
    """Return the member or contact who wrote an update, and keep their @username current.

    Call it with the author of every update of Telegram. It asks the database about an account at
    most once a minute, and keeps the answer in memory, also that nobody has the account; calls at
    the same time share one statement. What a helper of this process changes is seen at once, and
    what anybody else changes, such as a ban in the panel, within a minute, as is the loss of a
    username that another account has now. In a transaction of the caller, each call asks the
    database.

    If the username has changed, the member's `telegram_username` and account get it, and whoever
    had it before loses it, even if nobody has the new account. An account that was deleted has no
    username any more. The name that somebody has in the directory stays, whatever their account is
    called: only a name that is the id of the account, because an import knew no other, is replaced.

    Args:
        telegram_id: The id of the account, a number as a text or an integer. An account of another
            platform, such as "discord:123", is only looked up: its username stays.
        username: The present username, with or without @; None if the account has none.
        name: The present name of the account; blank or "Deleted Account" if it was deleted.

    Returns:
        The member, or None if nobody has the account or the member was removed. Do not change it:
        other calls return the same object.

    Raises:
        InvalidInput: A value is malformed.
    """
    account = normalize_telegram_id(telegram_id)
    if engine.pool is None or engine.transaction_exists():
        _, member = await _look_up(account, username, name)
        return member
    cache = member_cache(engine.pool)
    found = cache.get(account)
    if found is not MISSING:
        return found
    while (running := cache.pending.get(account)) is not None:
        await asyncio.wait([running])
        if not running.cancelled():
            return running.result()
        # The call that asked was cancelled: the next one asks.
    running = cache.pending[account] = asyncio.get_running_loop().create_future()
    try:
        generation = cache.generation
        number, member = await _look_up(account, username, name)
        cache.store(account, number, member, generation)
        running.set_result(member)
    except Exception as error:
        running.set_exception(error)
        running.exception()  # nobody may have waited for it
        raise
    finally:
        running.cancel()  # does nothing if it has a result
        del cache.pending[account]
    return member


async def _look_up(
    telegram_id: str, username: str | None, name: str
) -> tuple[str | None, Member | None]:
    """Return the number of the account's member, and the member unless they were removed."""
    account = parse_account(telegram_id)
    given_username = normalize_username(account.platform, username)
    values = {
        **account._asdict(),
        "telegram_id": telegram_id,
        "username": given_username if account.platform == Platform.TELEGRAM else None,
        "name": _given_name(name),
    }
    [record] = await engine.fetch(LOOK_UP_ACCOUNT, **values)
    if record["is_outdated"]:
        async with transaction():
            await engine.fetch(LOCK_USERNAME, telegram_username=values["username"])
            await engine.fetch(KEEP_CURRENT, actor=account.platform, reason=SEEN_REASON, **values)
            [record] = await engine.fetch(LOOK_UP_ACCOUNT, **values)
    return record["number"], None if record["id"] is None else member_from(record)


def _given_name(name: str) -> str | None:
    """Return the name that somebody has given their account, or None for a deleted account."""
    check_text("name", name, CommunityMember.name.length)
    if visible_name(name or "") in {None, DELETED_ACCOUNT_NAME}:
        return None
    return normalize_name(name)
