"""The audit log: every change of a member and of the invitations that the member created."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    INT_FIELD,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.values import member_number
from community_directory.tables import AuditAction


def _list_entries_sql(order: PageOrder) -> str:
    return f"""
WITH person AS (
    -- the number, and those of the member who has everything of it and of all merged into that one
    SELECT :member_id::text AS number
    UNION
    SELECT number FROM community_members AS named, LATERAL (
        SELECT coalesce(named.merged_into, named.member_id) AS number
        UNION ALL
        SELECT member_id FROM community_members
        WHERE merged_into = coalesce(named.merged_into, named.member_id)
    ) AS numbers
    WHERE named.member_id = :member_id
)
SELECT entry.* FROM person, LATERAL (
    SELECT id, changed_at, actor, reason, action, table_name, row_id, member_id, changes
    FROM directory_audit_log
    WHERE member_id = number AND {order.after("id", ":entry_id")}
    {order.by("id")} LIMIT :limit
) AS entry
{order.by("id")} LIMIT :limit
"""


AUDIT_ENTRIES = PagedList("history", {"entry_id": INT_FIELD}, _list_entries_sql, is_descending=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """A change of one row.

    `changes` maps each changed column to a list of its old and its new value, as JSON values. The
    entry of an erasure has `{"erased": [False, True]}` instead.
    """

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
    """List the changes of a member and of the invitations that they created, newest first.

    The changes of all writers are included: helpers, the panel and plain SQL. Those of everybody
    who was merged into the member are included, too, and the number of a merged member leads to the
    other one. The page is empty if no member has this number.

    Args:
        member_id: The member's number, "#247" or 247.
        after: A cursor of another page.
        limit: The number of entries on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: The limit is not 1 to 100, or the number is neither a text nor an integer.
    """
    return await AUDIT_ENTRIES.read_page(
        after,
        checked_limit(limit),
        _audit_entry_from,
        lambda entry: (entry.id,),
        member_id=member_number(member_id),
    )


def _audit_entry_from(record: asyncpg.Record) -> Entry:
    values = {
        **record,
        "action": AuditAction(record["action"]),
        "changes": json.loads(record["changes"]),
    }
    return Entry(**values)


observe_helpers(globals())
