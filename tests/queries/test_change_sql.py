"""The kind of an entry in SQL is the kind of the change in Python."""

import itertools
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from community_directory.queries.audit import Change, ChangeKind
from community_directory.queries.change_sql import KIND_SQL
from community_directory.queries.changes import ROW_KINDS
from community_directory.tables import AuditAction, InvitationStatus, MemberStatus, ReputationTier

SELECT_KINDS = f"""
SELECT {KIND_SQL} FROM jsonb_to_recordset($1::jsonb)
    AS entry(table_name text, action text, changes jsonb, undone_act_id uuid)
"""

STATUSES = [*MemberStatus]
MEMBER_CHANGES: list[dict[str, list[Any]]] = [
    {"erased": [False, True]},
    {"merged_into": [None, "#2"], "status": ["active", "pending"]},
    {"merged_into": ["#2", None]},
    *({"status": [before, after]} for before, after in itertools.permutations(STATUSES, 2)),
    {"suspended_until": [None, "2026-12-08T00:00:00+00:00"]},
    {"deleted_at": [None, "2026-12-08T00:00:00+00:00"], "country": ["Chile", None]},
    {"deleted_at": ["2026-12-08T00:00:00+00:00", None]},
    *(
        {"reputation_tier": [before, after], "name": ["a", "b"]}
        for before, after in itertools.permutations([None, *ReputationTier], 2)
    ),
    {"country": [None, None]},
    {"reputation_score": [0, 1]},
    {"is_bot": [False, True]},
]
ENTRIES: list[tuple[str, AuditAction, dict[str, list[Any]]]] = [
    *(("community_members", AuditAction.UPDATE, changes) for changes in MEMBER_CHANGES),
    *(("community_members", AuditAction.INSERT, {"status": [None, status]}) for status in STATUSES),
    ("community_members", AuditAction.DELETE, {"status": ["active", None]}),
    *(
        ("community_invitations", AuditAction.UPDATE, {"status": [None, status]})
        for status in InvitationStatus
    ),
    ("community_invitations", AuditAction.UPDATE, {"expires_at": ["a", "b"]}),
    ("community_invitations", AuditAction.UPDATE, {"created_by": ["#1", "#2"]}),
    *((table, action, {"id": ["a", "b"]}) for table, action in ROW_KINDS),
    ("a_table_to_come", AuditAction.INSERT, {"id": [None, "a"]}),
]


def kind_of(
    table: str, action: AuditAction, changes: dict[str, list[Any]], undone: UUID | None
) -> ChangeKind:
    record = {
        "id": 1,
        "changed_at": datetime.now(UTC),
        "actor": "Irene",
        "reason": None,
        "action": action,
        "table_name": table,
        "row_id": uuid4(),
        "member_id": "#1",
        "changes": json.dumps(changes),
        "act_id": None,
        "undone_act_id": undone,
    }
    return Change.from_record(record).kind  # type: ignore[arg-type]  # a mapping does as well


async def test_the_kind_in_sql_is_that_of_the_change(directory: asyncpg.Pool) -> None:
    given = [
        (*entry, undone)
        for entry in ENTRIES
        for undone in (None, uuid4())
        if undone is None or entry[1] is AuditAction.UPDATE
    ]
    names = ("table_name", "action", "changes", "undone_act_id")
    stored = json.dumps([dict(zip(names, entry, strict=True)) for entry in given], default=str)
    found = [ChangeKind(kind) for (kind,) in await directory.fetch(SELECT_KINDS, stored)]
    expected = [kind_of(*entry) for entry in given]
    assert found == expected
    assert set(expected) == set(ChangeKind)
