"""Rows of members: the class for a row, and the checked values of a new row."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from community_directory.database import Statement
from community_directory.queries.bans import ban_fingerprint
from community_directory.queries.identifiers import (
    normalize_github_username,
    normalize_name,
    normalize_profile,
    normalize_telegram_id,
    normalize_telegram_username,
)
from community_directory.queries.ids import new_id
from community_directory.queries.values import Profile, as_json, check_texts
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


_MEMBER_FIELDS = [field.name for field in fields(Member)]
_GITHUB_DATA_INDEX, _PROFILE_DATA_INDEX, _STATUS_INDEX = map(
    _MEMBER_FIELDS.index, ("github_profile_data", "profile_data", "status")
)
_STATUS_BY_VALUE = {str(status): status for status in MemberStatus}

MEMBER_COLUMNS = ", ".join(_MEMBER_FIELDS)

NO_BOTS = "member_id NOT IN (SELECT member_id FROM community_members WHERE is_bot)"
"""A condition in SQL: an event or a highlight is not that of a bot."""

# The lock ends with the transaction. NO KEY allows others to record events of the member.
LOCK_MEMBER = Statement("""
SELECT CASE WHEN github_verified_at IS NOT NULL THEN github_profile_data END AS rewarded
FROM community_members WHERE member_id = :member_id FOR NO KEY UPDATE
""")
"""It returns the GitHub data whose points the score contains: NULL if it was never verified."""


def member_columns(table: str) -> str:
    """Return the SQL of a member's columns from a table or alias, in the order of `member_from`."""
    return ", ".join(f"{table}.{name}" for name in _MEMBER_FIELDS)


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

    One parameter is not a column: the statement looks for a ban with `ban_fingerprint`.

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
    return {
        **texts,
        "id": new_id(),
        "profile_data": as_json(normalize_profile(profile_data), field="profile_data"),
        "ban_fingerprint": ban_fingerprint(account),
    }
