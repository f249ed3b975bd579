"""Rows of members: the class for a row, and the checked values of a new row."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine
from community_directory.errors import InvalidInput, MemberExists, MemberMerged, MemberNotFound
from community_directory.queries.bans import account_values
from community_directory.queries.identifiers import (
    normalize_github_username,
    normalize_name,
    normalize_profile,
    normalize_telegram_id,
    normalize_telegram_username,
)
from community_directory.queries.ids import new_id
from community_directory.queries.values import (
    Profile,
    as_json,
    check_texts,
    present_number_sql,
)
from community_directory.tables import CommunityMember, MemberStatus


@dataclass(slots=True)
class Member:
    """A member or a contact as stored; times are aware, in UTC.

    Treat it as immutable. It is not a frozen dataclass, because a frozen one takes longer to
    create, which slows down a page of 100 members.
    """

    id: UUID
    member_id: str
    telegram_id: str
    telegram_username: str | None
    name: str
    primary_role: str
    organization: str | None
    country: str | None
    github_username: str | None
    github_verified: bool
    github_verified_at: datetime | None
    github_profile_data: Profile | None
    status: MemberStatus
    reputation_score: int
    reputation_tier: str
    invited_by: str | None
    registration_fee_paid: bool | None
    registration_fee_tx_hash: str | None
    profile_data: Profile | None
    created_at: datetime
    updated_at: datetime
    last_active_at: datetime | None
    deleted_at: datetime | None
    is_bot: bool
    suspended_until: datetime | None


_MEMBER_FIELDS = [field.name for field in fields(Member)]
MEMBER_COLUMN_COUNT = len(_MEMBER_FIELDS)
_GITHUB_DATA_INDEX, _PROFILE_DATA_INDEX, _STATUS_INDEX = map(
    _MEMBER_FIELDS.index, ("github_profile_data", "profile_data", "status")
)
_STATUS_BY_VALUE = {str(status): status for status in MemberStatus}

MEMBER_COLUMNS = ", ".join(_MEMBER_FIELDS)

BOTS = "SELECT member_id FROM community_members WHERE is_bot"
"""The numbers of all bots, from member_bot_idx alone."""
NO_BOTS = f"member_id NOT IN ({BOTS})"
"""A condition in SQL: an event or a highlight is not that of a bot."""

# New events and accounts of these members wait, because their foreign keys need a lock, too. An
# event of a merged number locks that row first, and then the other member: so do all who lock both.
LOCK_MEMBERS_FULLY = Statement("""
SELECT FROM community_members WHERE member_id = ANY(:numbers)
ORDER BY merged_into IS NULL, member_id FOR UPDATE
""")

# The first lock waits for a merge at the same time, or for its undoing, and the second one for an
# erasure. After that, the rows are as they are now.
LOCKED_PERSON_CTES = """named AS (
    -- the number of the member, or of the one into whom they were merged
    SELECT coalesce(merged_into, member_id) AS member_id FROM community_members
    WHERE member_id = :member_id FOR KEY SHARE
), locked AS (
    SELECT * FROM community_members WHERE member_id = (SELECT member_id FROM named) FOR KEY SHARE
), person AS (
    -- the member, who may be removed, but not erased
    SELECT * FROM locked WHERE telegram_id !~ '^(erased|banned|merged):'
)"""
"""The CTE `person` of a statement that stores something about the member with a number."""

MAY_ERASE_THEMSELVES = Statement(f"""
SELECT status IN ('not_member', 'pending', 'active') AND deleted_at IS NULL AND NOT is_bot
    AND NOT EXISTS (
        SELECT FROM member_permissions AS held WHERE held.member_id = member.member_id
    ) AS may
FROM community_members AS member WHERE member_id = {present_number_sql(":member_id")}
""")

# An account of GitHub can be known by its username or by its number, which no index compares. The
# number is an arbitrary seed.
LOCK_GITHUB_USERNAME = Statement(
    "SELECT pg_advisory_xact_lock(hashtextextended(lower(:github_username), 7166765))"
)

FIND_OTHER_NUMBER = Statement("""
SELECT merged_into FROM community_members WHERE member_id = :member_id AND merged_into IS NOT NULL
""")

# The lock ends with the transaction. NO KEY allows others to record events of the member.
LOCK_MEMBER = Statement("""
SELECT CASE WHEN github_verified_at IS NOT NULL THEN github_profile_data END AS rewarded
FROM community_members WHERE member_id = :member_id FOR NO KEY UPDATE
""")
"""It returns the GitHub data whose points the score contains: NULL if it was never verified."""


def member_columns(table: str) -> str:
    """Return the SQL of a member's columns from a table or alias, in the order of `member_from`."""
    return ", ".join(f"{table}.{name}" for name in _MEMBER_FIELDS)


async def member_not_found(member_id: str) -> MemberNotFound:
    """Return the error for a number that no present member has, which names another one to use."""
    records = await engine.fetch(FIND_OTHER_NUMBER, member_id=member_id)
    return MemberMerged(member_id, records[0][0]) if records else MemberNotFound(member_id)


def member_from(values: asyncpg.Record | Sequence[Any]) -> Member:
    """Return the member of a row that begins with `MEMBER_COLUMNS`; further values are ignored."""
    values = list(values[: len(_MEMBER_FIELDS)])
    if values[_GITHUB_DATA_INDEX] is not None:
        values[_GITHUB_DATA_INDEX] = json.loads(values[_GITHUB_DATA_INDEX])
    if values[_PROFILE_DATA_INDEX] is not None:
        values[_PROFILE_DATA_INDEX] = json.loads(values[_PROFILE_DATA_INDEX])
    values[_STATUS_INDEX] = _STATUS_BY_VALUE[values[_STATUS_INDEX]]
    return Member(*values)


def new_member_values(
    *,
    telegram_id: str | int,
    name: str,
    primary_role: str,
    telegram_username: str | None,
    organization: str | None,
    country: str | None,
    github_username: str | None,
    profile_data: Profile | None,
) -> dict[str, object]:
    """Check the values of a new member, and return them as parameters of a statement.

    Those of `account_values` are no columns: the statement looks for the owner of the account, and
    for a ban.

    Raises:
        InvalidInput: A value has the wrong type, is too long or malformed, or is not JSON.
    """
    account = normalize_telegram_id(telegram_id)
    texts = {
        "telegram_id": account,
        "name": normalize_name(name),
        "primary_role": normalize_name(primary_role, "primary_role"),
        "telegram_username": normalize_telegram_username(telegram_username),
        "organization": organization,
        "country": country,
        "github_username": normalize_github_username(github_username),
    }
    check_texts(CommunityMember, **texts)
    profile = normalize_profile(profile_data)
    return {
        **texts,
        "id": new_id(),
        "profile_data": as_json(profile, field="profile_data"),
        **account_values(account, profile.get("discord_id") if profile else None),
    }


def profile_values(fields: Mapping[str, Any]) -> dict[str, str | None]:
    """Check the new values of fields of a profile, and return them as parameters of a statement.

    Raises:
        InvalidInput: A value has the wrong type, is too long or malformed, or is not JSON.
    """
    changes = {name: value for name, value in fields.items() if name != "profile_data"}
    if "name" in changes:
        changes["name"] = normalize_name(changes["name"])
    if "telegram_username" in changes:
        changes["telegram_username"] = normalize_telegram_username(changes["telegram_username"])
    if "primary_role" in changes:
        changes["primary_role"] = normalize_name(changes["primary_role"], "primary_role")
    check_texts(CommunityMember, **changes)
    if "profile_data" in fields:
        profile = normalize_profile(fields["profile_data"])
        changes["profile_data"] = as_json(profile, field="profile_data")
    return changes


@contextmanager
def account_may_be_linked(telegram_id: str) -> Iterator[None]:
    """Suppress the error of a statement that adds a member whose account is being linked.

    Another call can link the account to a member at the same time. Afterwards the caller can find
    out who that is.

    Raises:
        MemberExists: The same, in a transaction of the caller: it has failed, so that the member's
            number can't be looked up.
    """
    try:
        yield
    except InvalidInput as error:
        if error.code != "member_account_idx":
            raise
        if engine.transaction_exists():
            raise MemberExists(str(error), telegram_id) from error
