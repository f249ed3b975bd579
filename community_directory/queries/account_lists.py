"""Lists of accounts as parameters of a statement, and the members who have these accounts."""

from collections.abc import Iterable

from community_directory.queries.identifiers import parse_account

# OFFSET 0 keeps the planner from reading the whole table for a join with the list.
OWNED_ACCOUNTS = """
    unnest(:telegram_ids::text[], :platforms::text[], :account_ids::text[])
        AS sought(telegram_id, platform, account_id)
    CROSS JOIN LATERAL (
        SELECT member_id, proof FROM member_accounts AS account
        WHERE account.platform = sought.platform AND account.account_id = sought.account_id
        OFFSET 0
    ) AS owner
"""
"""The SQL of the accounts of `account_parameters` that somebody has, with their members."""


def account_parameters(telegram_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the parameters for accounts in the spelling of `telegram_id`, as "discord:123"."""
    spelled = list(telegram_ids)
    accounts = [parse_account(telegram_id) for telegram_id in spelled]
    return {
        "telegram_ids": spelled,
        "platforms": [account.platform for account in accounts],
        "account_ids": [account.account_id for account in accounts],
    }
