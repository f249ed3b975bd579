"""Bans and erasures that outlive the data of a person: keyed hashes recognize their accounts."""

import hmac
from collections.abc import Sequence
from hashlib import sha256

from community_directory.database import Statement, engine
from community_directory.errors import ConfigurationError
from community_directory.queries.identifiers import Account, parse_account
from community_directory.queries.values import id_text
from community_directory.settings import load_settings
from community_directory.tables import Platform


def account_owner_sql(value: str) -> str:
    """Return the SQL of the number of the member or contact whose account this is.

    An account that somebody's profile only states belongs to whoever joins with it.

    Args:
        value: The SQL of a value of `account_values`, with its name as `{}`.
    """
    return f"""(
    SELECT member_id FROM member_accounts
    WHERE platform = {value.format("platform")} AND account_id = {value.format("account_id")}
        AND proof <> 'stated'
)"""


# Each account is looked up by itself: PostgreSQL would plan arrays of unknown length again each
# time.
def is_banned_sql(value: str) -> str:
    """Return the condition that one of the person's accounts is that of a banned member.

    The member may have been erased. The argument is that of `account_owner_sql`.
    """
    return f"""EXISTS (
    SELECT FROM (
        SELECT member_id FROM member_accounts
        WHERE platform = {value.format("platform")} AND account_id = {value.format("account_id")}
        UNION ALL
        SELECT member_id FROM member_accounts
        WHERE platform = 'discord' AND account_id = {value.format("discord_id")}
        UNION ALL
        SELECT member_id FROM directory_erased_accounts
        WHERE fingerprint IN ({value.format("fingerprint")}, {value.format("discord_fingerprint")})
    ) AS named JOIN community_members AS banned USING (member_id)
    WHERE banned.status = 'banned'
)"""


def ban_check_impossible_sql(value: str) -> str:
    """Return the condition that banned members were erased, and DIRECTORY_SECRET_KEY is not set.

    The argument is that of `account_owner_sql`.
    """
    return f"""(
    {value.format("fingerprint")} IS NULL AND EXISTS (
        SELECT FROM directory_erased_accounts JOIN community_members AS banned USING (member_id)
        WHERE banned.status = 'banned'
    )
)"""


ACCOUNT_OWNER = account_owner_sql(":{}::text")
IS_BANNED = is_banned_sql(":{}::text")
BAN_CHECK_IMPOSSIBLE = ban_check_impossible_sql(":{}::text")

FORGET_ERASED_ACCOUNTS = """
DELETE FROM directory_erased_accounts
WHERE fingerprint IN (:fingerprint::text, :discord_fingerprint::text)"""
"""The beginning of a statement in SQL for a person who comes back after an erasure."""

# A ban is never forgotten: the account stays that of the banned member.
REMEMBER_ERASED_ACCOUNTS = Statement("""
INSERT INTO directory_erased_accounts AS known (fingerprint, member_id)
SELECT fingerprint, :member_id FROM unnest(:fingerprints::text[]) AS fingerprint
ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE
SET member_id = EXCLUDED.member_id, erased_at = EXCLUDED.erased_at
WHERE NOT EXISTS (
    SELECT FROM community_members AS banned
    WHERE banned.member_id = known.member_id AND banned.status = 'banned'
)
""")

FIND_ERASED_ACCOUNTS = Statement("""
SELECT fingerprint FROM directory_erased_accounts WHERE fingerprint = ANY(:fingerprints)
""")


def account_values(telegram_id: str, discord_id: str | None = None) -> dict[str, str | None]:
    """Return the parameters of the conditions above, for a person who joins.

    Args:
        telegram_id: The account that they join with, as it is stored.
        discord_id: The Discord account that their profile states, as it is stored.
    """
    account = parse_account(telegram_id)
    stated = None if discord_id is None else Account(Platform.DISCORD, discord_id).telegram_id
    return {
        "platform": account.platform,
        "account_id": account.account_id,
        "discord_id": discord_id,
        "fingerprint": make_fingerprint(telegram_id),
        "discord_fingerprint": None if stated is None else make_fingerprint(stated),
    }


def make_fingerprint(telegram_id: str) -> str | None:
    """Return what stands for an account after an erasure.

    The result is a keyed hash (HMAC-SHA256): the same account always has the same fingerprint, and
    nobody can read the account from it. The result is None if DIRECTORY_SECRET_KEY is not set. In
    that case statements check `BAN_CHECK_IMPOSSIBLE`.

    Args:
        telegram_id: The account as the column has it, "1001" or "discord:123". The case of an id
            counts only where the platform tells it apart.
    """
    key = load_settings().secret_key
    if key is None:
        return None
    account = parse_account(telegram_id).telegram_id
    digest = hmac.digest(
        key.get_secret_value().encode(), account.encode(errors="surrogatepass"), sha256
    )
    return digest.hex()


async def find_erased(telegram_ids: Sequence[str | int]) -> set[str]:
    """Return those of these accounts whose owner was erased, and has not come back with them.

    An import leaves them out, unless somebody owns such an account again. Nobody is recognized, and
    the result is empty, if DIRECTORY_SECRET_KEY is not set.

    Args:
        telegram_ids: The accounts as the directory stores them: the id of a Telegram account, and
            the platform and the id of any other, such as "discord:123".

    Raises:
        InvalidInput: An id is neither a text nor an integer.
    """
    accounts = [id_text(account, "telegram_ids") for account in telegram_ids]
    fingerprints = {account: make_fingerprint(account) for account in accounts}
    records = await engine.fetch(FIND_ERASED_ACCOUNTS, fingerprints=list(fingerprints.values()))
    erased = {fingerprint for (fingerprint,) in records}
    return {account for account, fingerprint in fingerprints.items() if fingerprint in erased}


def secret_key_required() -> ConfigurationError:
    """Return the error for a ban that can't be stored or checked without DIRECTORY_SECRET_KEY."""
    return ConfigurationError(
        "Set DIRECTORY_SECRET_KEY: without it, a banned person who was erased could come back."
    )
