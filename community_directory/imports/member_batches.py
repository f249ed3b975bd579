"""Many members added or changed by one statement, for an import.

The rows are written as `members.add` and `members.update_profile` write each of them. The callers
are in a transaction, which they roll back if not all rows were written.
"""

from collections.abc import Sequence
from functools import cache

from community_directory.database import Statement, engine
from community_directory.queries.bans import (
    account_owner_sql,
    ban_check_impossible_sql,
    is_banned_sql,
)
from community_directory.queries.values import ACTOR_CTE

MEMBER_VALUES = (
    "telegram_id",
    "name",
    "primary_role",
    "status",
    "telegram_username",
    "organization",
    "country",
    "github_username",
    "invited_by",
)
ACCOUNT_VALUES = ("platform", "account_id", "discord_id", "fingerprint", "discord_fingerprint")
LIST_NAMES = ("id", *MEMBER_VALUES, "profile_data", *ACCOUNT_VALUES)
"""The values of `members.addition_values`, in the order of the lists."""


def _lists_sql(names: Sequence[str]) -> str:
    """Return the SQL of a table `given` with the values of lists, which are parameters."""
    lists = ", ".join(f":{name}::{'uuid' if name == 'id' else 'text'}[]" for name in names)
    return f"unnest({lists}) WITH ORDINALITY AS given({', '.join(names)}, position)"


ADD_MEMBERS = Statement(f"""
WITH {ACTOR_CTE}, given AS MATERIALIZED (
    -- the new members, in the order in which they get their numbers
    SELECT * FROM {_lists_sql(LIST_NAMES)}
), added AS (
    -- those whose accounts belong to nobody and are not banned
    INSERT INTO community_members (id, {", ".join(MEMBER_VALUES)}, profile_data)
    SELECT id, {", ".join(f"given.{name}" for name in MEMBER_VALUES)}, profile_data::jsonb
    FROM given, actor
    WHERE {account_owner_sql("given.{}")} IS NULL AND NOT {is_banned_sql("given.{}")}
        AND NOT {ban_check_impossible_sql("given.{}")}
    ORDER BY position
    ON CONFLICT (telegram_id) DO NOTHING
    RETURNING 1
), forgotten AS (
    -- somebody who was erased has come back
    DELETE FROM directory_erased_accounts WHERE fingerprint IN (
        SELECT fingerprint FROM given UNION SELECT discord_fingerprint FROM given
    )
)
SELECT count(*) FROM added
""")


async def add_members(additions: Sequence[dict[str, object]], *, actor: str) -> int:
    """Add people with the values of `members.addition_values`, and return how many were added.

    Somebody is not added whose account belongs to a member or is banned.

    Raises:
        InvalidInput: A value can't be stored.
    """
    lists = {name: [addition[name] for addition in additions] for name in LIST_NAMES}
    records = await engine.fetch(ADD_MEMBERS, actor=actor, reason=None, **lists)
    return int(records[0][0])


async def update_profiles(
    changes: Sequence[tuple[str, dict[str, str | None]]], *, actor: str
) -> int:
    """Change profiles, and return how many members were changed.

    Args:
        changes: The numbers of members, and the values of `profile_values`. All have the same
            fields.
        actor: The author of the changes, for the audit log.

    Raises:
        InvalidInput: A value can't be stored.
    """
    columns = tuple(changes[0][1])
    lists = {column: [values[column] for _, values in changes] for column in columns}
    records = await engine.fetch(
        _make_update_statement(*columns),
        actor=actor,
        reason=None,
        member_id=[number for number, _ in changes],
        **lists,
    )
    return int(records[0][0])


@cache
def _make_update_statement(*columns: str) -> Statement:
    """Return the statement that changes these columns of many members."""
    assignments = ", ".join(
        f"{column} = given.{column}{'::jsonb' if column == 'profile_data' else ''}"
        for column in columns
    )
    return Statement(f"""
    WITH {ACTOR_CTE}, changed AS (
        -- the members after the change
        UPDATE community_members AS member SET {assignments}
        FROM actor, {_lists_sql(("member_id", *columns))}
        WHERE member.member_id = given.member_id AND deleted_at IS NULL
        RETURNING 1
    )
    SELECT count(*) FROM changed
    """)
