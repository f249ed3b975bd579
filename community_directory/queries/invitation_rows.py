"""Rows of invitations: the `Invitation` that a row becomes, and how a code finds its row."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from community_directory.errors import InvitationNotFound
from community_directory.queries.identifiers import normalize_invitation_code
from community_directory.tables import InvitationStatus


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation with its effective status: a pending one is expired after `expires_at`.

    Times are aware, in UTC.
    """

    invitation_id: UUID
    invitation_code: str
    created_by: str
    invited_telegram_username: str | None
    status: InvitationStatus
    expires_at: datetime
    accepted_by: str | None
    accepted_at: datetime | None
    created_at: datetime
    updated_at: datetime


_INVITATION_FIELDS = [field.name for field in fields(Invitation)]
_INVITATION_STATUS_INDEX = _INVITATION_FIELDS.index("status")
INVITATION_COLUMN_COUNT = len(_INVITATION_FIELDS)


def effective_status_sql(table: str) -> str:
    """Return the SQL of an invitation's effective status, which does not need the hourly job."""
    overdue = f"{table}.status = 'pending' AND {table}.expires_at <= now()"
    return f"CASE WHEN {overdue} THEN 'expired' ELSE {table}.status END"


def invitation_columns(table: str) -> str:
    """Return the SQL of an invitation's columns, with its effective status, from a table or alias.

    The order is that of `invitation_from`.
    """
    return ", ".join(
        f"{effective_status_sql(table)} AS status" if name == "status" else f"{table}.{name}"
        for name in _INVITATION_FIELDS
    )


INVITATION_COLUMNS = invitation_columns("invitation")

INVITER_CAN_INVITE = (
    "inviter.status = 'active' AND inviter.deleted_at IS NULL AND NOT inviter.is_bot"
)
"""A condition in SQL: the invitations of this inviter can be redeemed."""

# The code as it was typed is preferred, then the one in upper case: other programs may store codes
# in lower case. They are listed one by one, because PostgreSQL would plan an array of unknown
# length again each time.
MATCHING_CODE = """invitation_code IN (:typed_code::text, :upper_code::text, :lower_code::text)
    ORDER BY invitation_code = :typed_code DESC, invitation_code = :upper_code DESC LIMIT 1"""


def normalize_code(code: str) -> dict[str, str]:
    """Return the parameters of `MATCHING_CODE`: the code as typed, in upper case and in lower case.

    `normalize_invitation_code` takes it out of what was typed.

    Raises:
        InvalidInput: The code is not a text.
        InvitationNotFound: No code can look like this.
    """
    typed = normalize_invitation_code(code)
    if typed is None:
        raise InvitationNotFound(code)
    return {"typed_code": typed, "upper_code": typed.upper(), "lower_code": typed.lower()}


def invitation_from(values: asyncpg.Record | Sequence[Any]) -> Invitation:
    """Return the invitation of a row that begins with `INVITATION_COLUMNS`."""
    values = list(values[:INVITATION_COLUMN_COUNT])
    values[_INVITATION_STATUS_INDEX] = InvitationStatus(values[_INVITATION_STATUS_INDEX])
    return Invitation(*values)
