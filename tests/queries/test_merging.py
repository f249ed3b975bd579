"""Merging: two rows of one person become one member, and nothing is lost if that is undone."""

from datetime import UTC, date, datetime
from typing import Any

import asyncpg

from community_directory.queries import highlights, members, participation
from community_directory.queries.members import Member

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = date(2026, 1, 31)


async def add_member(telegram_id: str, **columns: Any) -> Member:
    new = {"name": "Ana", "primary_role": "developer", "status": "active", **columns}
    return await members.add(telegram_id=telegram_id, **new)


async def record(member_id: str, source_id: str | None, at: datetime = NOON) -> None:
    await participation.record(
        member_id=member_id,
        event_type="MESSAGE",
        platform="telegram",
        room_id="-100",
        source_id=source_id,
        occurred_at=at,
    )


async def dump(directory: asyncpg.Pool) -> dict[str, Any]:
    """Return all rows that a merge can change, without the times of the changes."""
    tables = {
        "community_members": "updated_at",
        "community_invitations": "updated_at",
        "member_participation": "id",
        "member_daily_highlights": "created_at",
        "member_accounts": "id",
        "directory_rolled_up_days": "day",
    }
    return {
        table: await directory.fetchval(
            f"SELECT coalesce(jsonb_agg(to_jsonb(t) - 'updated_at' - 'search_text' "
            f"ORDER BY to_jsonb(t) - 'updated_at'), '[]')::text FROM {table} AS t"
        )
        for table in tables
    }


async def test_a_merge_and_its_undoing_end_where_they_began(directory: asyncpg.Pool) -> None:
    await add_member("discord:5", name="Ana G")
    await add_member("1001", telegram_username="ana", country="Spain", profile_data={"a": 1})
    await add_member("1002", name="Child", invited_by="#2")
    await record("#1", "1")
    await record("#2", "1")
    await record("#2", "2")
    await record("#2", None)
    await highlights.roll_up(DAY)
    earlier = await dump(directory)

    preview = await members.merge_preview("#2", into="#1")
    merge = await members.merge("#2", into="#1", actor="Luis", reason="the same person")
    assert merge.moved == preview.counts
    ana = await members.get("#1")
    assert (ana.telegram_id, ana.country, ana.profile_data) == ("1001", "Spain", {"a": 1})
    assert ana.reputation_score == 3
    assert (await members.get("#3")).invited_by == "#1"
    assert await highlights.verify(DAY) == []

    undone = await members.unmerge("#2", actor="Luis")
    assert undone.left == ()
    assert await dump(directory) == earlier
