"""Makes a valid row by raw SQL, for tests that are about one column of it or about what comes of it.

Each factory takes the columns that the test is about and returns the row as PostgreSQL stored it. What the table has
a default for is left to the table.
"""

import itertools
import json
import uuid
from datetime import date
from typing import TypeAlias

import asyncpg

Database: TypeAlias = asyncpg.Pool | asyncpg.Connection

# Far from the small ones that a test may write by hand.
_numbers = itertools.count(1_000_001)


async def member(database: Database, **columns: object) -> asyncpg.Record:
    """Somebody new, with the next number."""
    columns = {
        "telegram_id": str(next(_numbers)),
        "name": "Ana García",
        "primary_role": "developer",
        **columns,
    }
    return await _insert(database, "community_members", columns)


async def invitation(database: Database, **columns: object) -> asyncpg.Record:
    """An open invitation; without `created_by` by a new member."""
    columns = {
        "invitation_code": f"CODE{next(_numbers)}",
        **columns,
    }
    return await _insert(
        database, "community_invitations", await _with_member(database, "created_by", columns)
    )


async def relationship(database: Database, **columns: object) -> asyncpg.Record:
    """One entity invited another."""
    columns = {
        "entity_id_a": str(uuid.uuid4()),
        "entity_id_b": str(uuid.uuid4()),
        "relationship_type": "INVITED",
        **columns,
    }
    return await _insert(database, "member_relationships", columns)


async def event(database: Database, **columns: object) -> asyncpg.Record:
    """A message; without `member_id` by a new member."""
    columns = {
        "event_type": "MESSAGE",
        "platform": "telegram",
        "room_id": "-1001234567890",
        **columns,
    }
    return await _insert(
        database, "member_participation", await _with_member(database, "member_id", columns)
    )


async def highlight(database: Database, **columns: object) -> asyncpg.Record:
    """A day without any event; without `member_id` of a new member."""
    columns = {"highlight_date": date(2026, 1, 31), **columns}
    return await _insert(
        database, "member_daily_highlights", await _with_member(database, "member_id", columns)
    )


async def audit_entry(database: Database, **columns: object) -> asyncpg.Record:
    """What the triggers write, written by hand."""
    columns = {
        "actor": "bot",
        "action": "UPDATE",
        "table_name": "community_members",
        "row_id": uuid.uuid4(),
        "member_id": "#1",
        "changes": {"status": ["pending", "active"]},
        **columns,
    }
    return await _insert(database, "directory_audit_log", columns)


async def _with_member(
    database: Database, column: str, columns: dict[str, object]
) -> dict[str, object]:
    if column in columns:
        return columns
    return {column: (await member(database))["member_id"], **columns}


async def _insert(database: Database, table: str, columns: dict[str, object]) -> asyncpg.Record:
    names = ", ".join(columns)
    places = ", ".join(f"${position}" for position in range(1, len(columns) + 1))
    values = [json.dumps(value) if isinstance(value, dict) else value for value in columns.values()]
    return await database.fetchrow(
        f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING *", *values
    )
