"""Bots: mark the members that are bots, and remember those that are no members.

Callers use it as `members.mark_bot`, `members.remember_bots`, ….
"""

from collections.abc import Mapping, Sequence
from datetime import date

from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import InvalidInput
from community_directory.queries import roll_ups
from community_directory.queries.account_lists import OWNED_ACCOUNTS, account_parameters
from community_directory.queries.identifiers import normalize_name, normalize_telegram_id
from community_directory.queries.member_cache import forget
from community_directory.queries.member_rows import (
    MEMBER_COLUMNS,
    Member,
    member_from,
    member_not_found,
)
from community_directory.queries.merge_locks import LOCK_MERGES
from community_directory.queries.values import (
    ACTOR_CTE,
    check_texts,
    id_text,
    member_number,
    required_actor,
)
from community_directory.tables import DirectoryBot

ALL_DAYS = date(1999, 12, 31), date(2200, 1, 1)
"""The first and the last day that can have highlights."""

MARK_BOT = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET is_bot = :is_bot FROM actor
WHERE member_id = :member_id AND merged_into IS NULL
RETURNING {MEMBER_COLUMNS}
""")

# All calls insert in the same order, so that two of them never deadlock. A profile that only states
# an account makes nobody its owner.
REMEMBER_BOTS = Statement("""
INSERT INTO directory_bots AS known (telegram_id, name)
SELECT telegram_id, coalesce(name, telegram_id)
FROM unnest(:telegram_ids::text[], :platforms::text[], :account_ids::text[], :names::text[])
    AS bot(telegram_id, platform, account_id, name)
WHERE NOT EXISTS (
    SELECT FROM member_accounts AS account
    WHERE account.platform = bot.platform AND account.account_id = bot.account_id
        AND proof <> 'stated'
)
ORDER BY telegram_id
ON CONFLICT (telegram_id) DO UPDATE SET name = EXCLUDED.name WHERE known.name <> EXCLUDED.name
""")
FORGET_BOT = Statement(
    "DELETE FROM directory_bots WHERE telegram_id = :telegram_id RETURNING telegram_id"
)
FIND_KNOWN_BOTS = Statement(f"""
SELECT telegram_id FROM directory_bots WHERE telegram_id = ANY(:telegram_ids)
UNION
SELECT telegram_id FROM {OWNED_ACCOUNTS}
WHERE EXISTS (SELECT FROM community_members WHERE member_id = owner.member_id AND is_bot)
""")


async def mark_bot(
    member_id: str | int, is_bot: bool = True, *, actor: str, reason: str | None = None
) -> Member:
    """Mark a member or a contact as a bot, or take the mark away.

    A bot earns nothing: its score is zero, and it has no highlights. It is in no list, count or
    chart, it can't invite or join, and imports leave its events out. Its events stay stored. If the
    mark is taken away, the member has the points back that did not come from highlights, and the
    next roll-up counts the highlights again. A repeated call changes nothing.

    Args:
        member_id: The number of the member, who may have been removed.
        is_bot: Whether the member is a bot.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: `is_bot` is not a bool, or the actor is blank.
    """
    number, actor = member_number(member_id), required_actor(actor)
    if not isinstance(is_bot, bool):
        raise InvalidInput("Whether a member is a bot must be True or False.", field="is_bot")
    # A roll-up of many days takes longer than an ordinary call may wait.
    with long_running():
        async with transaction():
            # The triggers that delete what is counted of a bot run while its row is locked. A
            # roll-up writes counts, and locks members at last: the mark waits for roll-ups first.
            await engine.fetch(LOCK_MERGES)
            records = await engine.fetch(
                MARK_BOT, member_id=number, is_bot=is_bot, actor=actor, reason=reason
            )
            if not is_bot:
                # No roll-up counts archived days again.
                await roll_ups.recount([number], *ALL_DAYS)
    if not records:
        raise await member_not_found(number)
    forget(number)
    return member_from(records[0])


async def remember_bots(names: Mapping[str, str | None]) -> None:
    """Remember accounts that are bots and no members, so that later imports leave them out.

    Accounts of members and contacts are left as they are: `mark_bot` marks those. A known bot gets
    its new name. If a known bot becomes a member, the member is marked as a bot.

    Args:
        names: The name of each account by its `telegram_id`, which is `discord:` and the id for an
            account of Discord. None means that the name is not known.

    Raises:
        InvalidInput: An id or a name can't be stored; then nothing is.
    """
    if not isinstance(names, Mapping):
        raise InvalidInput("The names of bots must be a mapping.", field="names")
    accounts = {
        normalize_telegram_id(account): None if name is None else normalize_name(name)
        for account, name in names.items()
    }
    for account, name in accounts.items():
        check_texts(DirectoryBot, telegram_id=account, name=name)
    await engine.fetch(REMEMBER_BOTS, **account_parameters(accounts), names=list(accounts.values()))


async def forget_bot(telegram_id: str | int) -> bool:
    """Forget an account that `remember_bots` has remembered; return whether it was known.

    The account of a member is not affected: `mark_bot` takes their mark away.

    Raises:
        InvalidInput: The id is malformed.
    """
    account = normalize_telegram_id(telegram_id)
    return bool(await engine.fetch(FORGET_BOT, telegram_id=account))


async def known_bots(telegram_ids: Sequence[str | int]) -> set[str]:
    """Return those of these accounts that are bots, members or not.

    An account of Discord is `discord:` and its id. All accounts of a member that is a bot are bots.

    Raises:
        InvalidInput: An id is neither a text nor an integer.
    """
    accounts = [id_text(account, "telegram_ids") for account in telegram_ids]
    records = await engine.fetch(FIND_KNOWN_BOTS, **account_parameters(accounts))
    return {account for (account,) in records}
