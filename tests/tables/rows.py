"""Factories that insert a valid row with SQL.

Each factory takes the columns that a test is about, fills in the other required ones, and returns
the row as PostgreSQL stored it. Columns with a default are left to the table.
"""

import itertools
import json
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from community_directory.queries import roll_ups
from tests.processes import PROJECT

MIGRATION_SQL = PROJECT / "community_directory/piccolo_migrations/sql"
Database: TypeAlias = asyncpg.Pool | asyncpg.Connection | PoolConnectionProxy
"""Anything of asyncpg that runs a statement."""

# Higher than the numbers that tests write themselves.
_numbers = itertools.count(1_000_001)


async def fetch_row(database: Database, sql: str, *arguments: object) -> asyncpg.Record:
    """Return the first row of the result; there must be one."""
    row: asyncpg.Record | None = await database.fetchrow(sql, *arguments)
    assert row is not None
    return row


async def member(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a member, who gets the next number."""
    columns = {
        "telegram_id": str(next(_numbers)),
        "name": "Ana García",
        "primary_role": "developer",
        **columns,
    }
    return await _insert(database, "community_members", columns)


async def invitation(database: Database, **columns: object) -> asyncpg.Record:
    """Insert an open invitation, of a new member unless `created_by` is given."""
    columns = {
        "invitation_code": f"CODE{next(_numbers)}",
        **columns,
    }
    return await _insert(
        database, "community_invitations", await _with_member(database, "created_by", columns)
    )


async def account(database: Database, **columns: object) -> asyncpg.Record:
    """Insert an account that a manager linked, of a new member unless `member_id` is given."""
    columns = {
        "id": uuid.uuid4(),
        "platform": "elizaos",
        "account_id": str(uuid.uuid4()),
        "proof": "manager",
        "proved_at": datetime.now(UTC),
        **columns,
    }
    return await _insert(
        database, "member_accounts", await _with_member(database, "member_id", columns)
    )


async def relationship(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a relationship: one entity invited another."""
    columns = {
        "entity_id_a": str(uuid.uuid4()),
        "entity_id_b": str(uuid.uuid4()),
        "relationship_type": "INVITED",
        **columns,
    }
    return await _insert(database, "member_relationships", columns)


async def event(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a message, of a new member unless `member_id` is given."""
    columns = {
        "event_type": "MESSAGE",
        "platform": "telegram",
        "room_id": "-1001234567890",
        **columns,
    }
    return await _insert(
        database, "member_participation", await _with_member(database, "member_id", columns)
    )


async def erased_account(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the fingerprint of an erased account, of a new member unless `member_id` is given."""
    columns = {"fingerprint": f"{next(_numbers):064}", **columns}
    return await _insert(
        database, "directory_erased_accounts", await _with_member(database, "member_id", columns)
    )


async def archive(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the row that says which days are archived: those of 2025."""
    end = datetime(2026, 1, 1, tzinfo=UTC)
    columns = {
        "closed_before": end,
        "archived_until": date(2025, 12, 31),
        "archived_before": end,
        **columns,
    }
    return await _insert(database, "directory_archive", columns)


async def audit_consumer(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a consumer of the change feed."""
    columns = {"name": f"consumer-{next(_numbers)}", "last_id": 0, **columns}
    return await _insert(database, "directory_audit_consumers", columns)


async def moved_room(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a room that moved to another one."""
    columns = {
        "platform": "telegram",
        "room_id": "-4242",
        "moved_to": "-1001234567890",
        "id_prefix": "-4242:",
        **columns,
    }
    return await _insert(database, "directory_moved_rooms", columns)


async def merge(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the merge of #2 into #1, who must exist."""
    columns = {"id": uuid.uuid4(), "duplicate_id": "#2", "into_id": "#1", **columns}
    return await _insert(database, "directory_merges", columns)


async def merged_row(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a row that a merge moved, of a new merge unless `merge_id` is given."""
    if "merge_id" not in columns:
        columns["merge_id"] = (await merge(database))["id"]
    columns = {"table_name": "member_participation", "row_id": uuid.uuid4(), **columns}
    return await _insert(database, "directory_merged_rows", columns)


async def dismissed_merge(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the members #1 and #2, who must exist, as two persons."""
    columns = {"member_a": "#1", "member_b": "#2", **columns}
    return await _insert(database, "directory_dismissed_merges", columns)


async def highlight(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the highlight of a day without events, of a new member unless `member_id` is given."""
    columns = {"highlight_date": date(2026, 1, 31), **columns}
    return await _insert(
        database, "member_daily_highlights", await _with_member(database, "member_id", columns)
    )


async def counted_highlight(database: Database, **columns: object) -> None:
    """Insert the highlight of a day of a member, and count its sums, as a roll-up does."""
    row = await highlight(database, **columns)
    await roll_ups.recount([row["member_id"]], row["highlight_date"], row["highlight_date"])


async def monthly_highlight(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the highlights of a month, of a new member unless `member_id` is given."""
    columns = {
        "month": date(2026, 1, 1),
        "active_days": 2,
        "message_count": 3,
        "reaction_count": 0,
        "voice_minutes": 0,
        **columns,
    }
    return await _insert(
        database, "member_monthly_highlights", await _with_member(database, "member_id", columns)
    )


async def daily_room(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the events of a day in a room, of a new member unless `member_id` is given."""
    columns = {
        "day": date(2026, 1, 31),
        "platform": "telegram",
        "room_id": "-1001234567890",
        "event_count": 4,
        "message_count": 3,
        **columns,
    }
    return await _insert(
        database, "member_daily_rooms", await _with_member(database, "member_id", columns)
    )


async def monthly_room(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the events of a month in a room, of a new member unless `member_id` is given."""
    columns = {
        "month": date(2026, 1, 1),
        "platform": "telegram",
        "room_id": "-1001234567890",
        "event_count": 4,
        "message_count": 3,
        **columns,
    }
    return await _insert(
        database, "member_monthly_rooms", await _with_member(database, "member_id", columns)
    )


async def room_span(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the days of a room, of a new member unless `member_id` is given."""
    columns = {
        "platform": "telegram",
        "room_id": "-1001234567890",
        "first_day": date(2026, 1, 3),
        "last_day": date(2026, 1, 31),
        **columns,
    }
    return await _insert(
        database, "member_rooms", await _with_member(database, "member_id", columns)
    )


async def milestones(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the milestones of a contact, a new one unless `member_id` is given."""
    return await _insert(
        database, "member_milestones", await _with_member(database, "member_id", columns)
    )


async def hourly_count(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the messages of everybody in one hour."""
    columns = {
        "day": date(2026, 1, 31),
        "hour": 12,
        "platform": "telegram",
        "event_type": "MESSAGE",
        "event_count": 5,
        **columns,
    }
    return await _insert(database, "directory_hourly_counts", columns)


async def permission(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a permission, of a new active member unless `member_id` is given."""
    if "member_id" not in columns:
        columns["member_id"] = (await member(database, status="active"))["member_id"]
    columns = {"id": uuid.uuid4(), "permission": "review", **columns}
    return await _insert(database, "member_permissions", columns)


async def request(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a request to be erased, of a new member unless `member_id` is given."""
    columns = {"id": uuid.uuid4(), "kind": "erasure", **columns}
    return await _insert(
        database, "member_requests", await _with_member(database, "member_id", columns)
    )


async def note(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a note, about a new member unless `member_id` is given."""
    columns = {"id": uuid.uuid4(), "text": "Met in Oaxaca.", **columns}
    return await _insert(
        database, "member_notes", await _with_member(database, "member_id", columns)
    )


async def segment(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a segment of active members."""
    columns = {
        "id": uuid.uuid4(),
        "name": "Active",
        "filters": '{"status": "active"}',
        "created_by": "eva",
        **columns,
    }
    return await _insert(database, "directory_segments", columns)


async def first_segments(database: Database) -> None:
    """Insert the segments that come with the directory, as the migrations do."""
    created = (MIGRATION_SQL / "segments.sql").read_text(encoding="utf-8")
    await database.execute(created[created.index("INSERT INTO") :])
    await database.execute((MIGRATION_SQL / "at_risk_segment.sql").read_text(encoding="utf-8"))


async def bot_chat(
    database: Database, *, member_id: str = "#1", **columns: object
) -> asyncpg.Record:
    """Insert the chat in English between the Telegram bot and #1, or another member."""
    if "account_id" not in columns:
        columns["account_id"] = await database.fetchval(
            "SELECT telegram_id FROM community_members WHERE member_id = $1", member_id
        )
    return await _insert(database, "directory_bot_chats", {"language_code": "en", **columns})


async def bot_notice(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the message about #2 in the chat of #1, who must exist."""
    columns = {"member_id": "#2", "manager_id": "#1", "message_id": 5, **columns}
    return await _insert(database, "directory_bot_notices", columns)


async def bot(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the account of a known bot that is no member."""
    columns = {"telegram_id": str(next(_numbers)), "name": "Rose", **columns}
    return await _insert(database, "directory_bots", columns)


async def link_code(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a code that links an account, of a new member unless `member_id` is given."""
    columns = {
        "code_hash": next(_numbers).to_bytes(32, "big"),
        "expires_at": datetime.now(UTC) + timedelta(minutes=10),
        **columns,
    }
    return await _insert(
        database, "directory_link_codes", await _with_member(database, "member_id", columns)
    )


async def link_tries(database: Database, **columns: object) -> asyncpg.Record:
    """Insert the wrong codes that an account has typed."""
    columns = {
        "platform": "discord",
        "account_id": str(next(_numbers)),
        "wrong": 1,
        "ends_at": datetime.now(UTC) + timedelta(minutes=10),
        **columns,
    }
    return await _insert(database, "directory_link_tries", columns)


async def bot_state(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a conversation with the bot."""
    columns = {
        "telegram_id": str(next(_numbers)),
        "conversation": "7:1:::default",
        "state": "Registration:role",
        **columns,
    }
    return await _insert(database, "directory_bot_states", columns)


async def proved_pair(database: Database, **columns: object) -> asyncpg.Record:
    """Insert a pair of members, #1 and #2 unless they are given."""
    return await _insert(
        database, "directory_proved_pairs", {"member_a": "#1", "member_b": "#2", **columns}
    )


async def merged_member(
    database: Database, *, merged_into: object, **columns: object
) -> asyncpg.Record:
    """Insert the row that a merged member leaves behind."""
    return await member(
        database,
        telegram_id=f"merged:{uuid.uuid4()}",
        deleted_at=datetime.now(UTC),
        merged_into=merged_into,
        **columns,
    )


async def audit_entry(database: Database, **columns: object) -> asyncpg.Record:
    """Insert an entry of the audit log, which triggers write otherwise."""
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
    parameters = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    values = [json.dumps(value) if isinstance(value, dict) else value for value in columns.values()]
    return await fetch_row(
        database, f"INSERT INTO {table} ({names}) VALUES ({parameters}) RETURNING *", *values
    )
