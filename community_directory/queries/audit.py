"""The audit trail: what happened to a member and to the invitations they made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from community_directory.database import engine
from community_directory.queries.pages import (
    Page,
    checked_limit,
    decode_cursor,
    make_page,
    parse_int,
)
from community_directory.queries.values import member_number
from community_directory.tables import AuditAction

HISTORY = """
SELECT id, changed_at, actor, reason, action, table_name, row_id, member_id, changes FROM directory_audit_log
WHERE member_id = $2 AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of one row; `changes` maps each changed field to its old and its new value, as JSON has them."""

    id: int
    changed_at: datetime
    actor: str
    reason: str | None
    action: AuditAction
    table_name: str
    row_id: UUID
    member_id: str
    changes: Mapping[str, list[Any]]


async def history(
    member_id: str | int, *, after: str | None = None, limit: int = 20
) -> Page[Entry]:
    """All changes of a member and of the invitations they made, newest first, whoever wrote them.

    Raises `InvalidCursor`, `InvalidInput`.
    """
    place = None if after is None else decode_cursor(after, "history", parse_int)[0]
    records = await engine.fetch(HISTORY, checked_limit(limit) + 1, member_number(member_id), place)
    found = [_entry(record) for record in records]
    return make_page(found, limit, "history", lambda entry: (entry.id,))


def _entry(record: Any) -> Entry:
    values = {
        **record,
        "action": AuditAction(record["action"]),
        "changes": json.loads(record["changes"]),
    }
    return Entry(**values)
