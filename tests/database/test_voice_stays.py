"""The migration of voice stays keeps every duration, and stores the start of those of Telegram."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards

from community_directory.database import connect
from tests.database.test_migrations import APP, session
from tests.tables import rows

pytestmark = pytest.mark.schema

MIGRATION = "2026-11-29T00:40:00:000000"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
REPAIRS = [
    ({"duration_seconds": "60"}, {"duration_seconds": 60}),
    ({"duration_seconds": "60.5", "title": "a"}, {"duration_seconds": 60.5, "title": "a"}),
    ({"voice_duration_seconds": "60"}, {"voice_duration_seconds": 60}),
    ({"duration_seconds": -5}, {"invalid_duration_seconds": -5}),
    ({"duration_seconds": "1:30"}, {"invalid_duration_seconds": "1:30"}),
    ({"duration_seconds": "9999999"}, {"invalid_duration_seconds": "9999999"}),
    ({"duration_seconds": 2678401}, {"invalid_duration_seconds": 2678401}),
    ({"duration_seconds": None}, {"invalid_duration_seconds": None}),
    ({"duration_seconds": [60]}, {"invalid_duration_seconds": [60]}),
    (
        {"duration_seconds": True, "voice_duration_seconds": 60},
        {"invalid_duration_seconds": True, "voice_duration_seconds": 60},
    ),
    ({"duration_seconds": 60}, {"duration_seconds": 60}),
    ({"title": "a"}, {"title": "a"}),
    ({}, {}),
    (None, None),
]


async def old_event(connection: asyncpg.Connection, **columns: Any) -> Any:
    event = await rows.event(
        connection, **{"event_type": "VOICE", "member_id": "#1", "occurred_at": NOON, **columns}
    )
    return event["id"]


async def test_old_durations_become_numbers_or_are_kept_under_another_name(database: str) -> None:
    async with connect(database, min_size=0), session(database) as connection:
        await rows.member(connection)
        assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
        old = {
            await old_event(connection, event_metadata=before, platform="discord"): after
            for before, after in REPAIRS
        }
        message = {"duration_seconds": "1:30"}
        old[await old_event(connection, event_metadata=message, event_type="MESSAGE")] = message
        assert (await run_forwards(APP)).success
        found = await connection.fetch("SELECT id, event_metadata FROM member_participation")
    assert old == {event_id: None if data is None else json.loads(data) for event_id, data in found}


async def test_the_stored_end_of_a_stay_on_telegram_becomes_its_start(database: str) -> None:
    hour = {"voice_duration_seconds": 3600}
    async with connect(database, min_size=0), session(database) as connection:
        await rows.member(connection)
        assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
        first = datetime(2000, 1, 1, tzinfo=UTC)
        expected = {
            await old_event(connection, event_metadata=hour): NOON - timedelta(hours=1),
            await old_event(connection, event_metadata=hour, occurred_at=first): first,
            await old_event(connection, event_metadata={"duration_seconds": -60}): NOON,
            await old_event(connection, event_metadata=None): NOON,
            await old_event(connection, event_metadata=hour, platform="discord"): NOON,
            await old_event(connection, event_metadata=hour, event_type="MESSAGE"): NOON,
        }
        read_times = "SELECT id, occurred_at FROM member_participation"
        assert (await run_forwards(APP)).success
        assert dict(map(tuple, await connection.fetch(read_times))) == expected
        assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
        before = dict(map(tuple, await connection.fetch(read_times)))
        assert set(before.values()) == {NOON, first + timedelta(hours=1)}


async def test_every_day_is_rolled_up_again_after_the_migration(database: str) -> None:
    async with connect(database, min_size=0), session(database) as connection:
        add_day = "INSERT INTO directory_rolled_up_days VALUES ('2026-01-31', 7)"
        count_days = "SELECT count(*) FROM directory_rolled_up_days"
        await connection.execute(add_day)
        assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
        assert await connection.fetchval(count_days) == 0
        await connection.execute(add_day)
        assert (await run_forwards(APP)).success
        assert await connection.fetchval(count_days) == 0
