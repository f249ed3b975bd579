"""The archive: events of old days go, their counts stay, and nothing is counted twice."""

import asyncio
from datetime import date, timedelta
from typing import Any

import asyncpg
import pytest

from community_directory.calendar import today
from community_directory.errors import DatabaseUnavailable, InvalidInput
from community_directory.queries import archive as archive_module
from community_directory.queries.archive import (
    LIMIT_LOCK_WAIT,
    ArchivedDay,
    OldEvents,
    archive_next_day,
    preview,
)
from community_directory.queries.highlights import roll_up, verify
from community_directory.queries.participation import NewEvent
from tests.queries.test_highlights import at, changed, messages, scores, stay, stored
from tests.tables import rows

DAY = date(2026, 1, 31)
NEXT = DAY + timedelta(days=1)
LAST = DAY + timedelta(days=2)
HOUR = 3600


async def archive(before: date) -> dict[date, int]:
    """Archive all days before this one, and return the number of deleted events of each."""
    deleted: dict[date, int] = {}
    while found := await archive_next_day(before):
        deleted[found.day] = found.events
    return deleted


def message(day: date, source_id: str | None = None, **values: Any) -> NewEvent:
    return NewEvent(
        **{
            "member_id": "#1",
            "event_type": "MESSAGE",
            "platform": "telegram",
            "room_id": "-1",
            "source_id": source_id,
            "occurred_at": at(day),
            **values,
        }
    )


async def event_days(database: rows.Database) -> list[date]:
    found = await database.fetch("SELECT DISTINCT occurred_at FROM member_participation")
    return sorted({moment.date() for (moment,) in found})


async def test_the_events_of_old_days_go_and_their_counts_stay(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    await messages(directory, 6, day=DAY)
    await messages(directory, 2, "#2", day=DAY)
    for event_type in ("REACTION", "REACTION", "JOIN"):
        await rows.event(directory, member_id="#1", event_type=event_type, occurred_at=at(DAY))
    await stay(directory, at(DAY), 600)
    await messages(directory, 3, day=NEXT)
    await messages(directory, 4, day=LAST)
    await roll_up(DAY, until=LAST)
    counts, points = await stored(directory), await scores(directory)

    assert await preview(LAST) == [
        OldEvents("MESSAGE", 11, 2, DAY),
        OldEvents("REACTION", 2, 1, DAY),
        OldEvents("JOIN", 1, 1, DAY),
        OldEvents("VOICE", 1, 1, DAY),
    ]
    assert await archive_next_day(LAST) == ArchivedDay(DAY, 12)
    assert await archive_next_day(LAST) == ArchivedDay(NEXT, 3)
    assert await archive_next_day(LAST) is None
    assert await preview(LAST) == []

    assert await event_days(directory) == [LAST]
    assert (await stored(directory), await scores(directory)) == (counts, points)
    assert counts["#1", DAY] == (6, 2, 10, 7)
    # No recount deletes the counts of an archived day.
    assert await roll_up(DAY, until=LAST) == 0
    assert await roll_up(DAY) == 0
    assert await verify(DAY, until=LAST, repair=True) == []
    assert await stored(directory) == counts
    assert await changed(LAST, LAST) == []


async def test_a_day_is_counted_before_its_events_go(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await messages(directory, 3, day=DAY)
    await messages(directory, 3, day=NEXT)
    await roll_up(NEXT)
    await directory.execute("UPDATE member_daily_highlights SET message_count = 99")
    await archive(LAST)
    assert await event_days(directory) == []
    assert await stored(directory) == {("#1", DAY): (3, 0, 0, 3), ("#1", NEXT): (3, 0, 0, 3)}
    assert await scores(directory) == {"#1": 6}


async def test_nothing_is_deleted_while_the_counts_differ(
    directory: asyncpg.Pool, database: str
) -> None:
    await rows.member(directory)
    await messages(directory, 3, day=DAY)
    await directory.execute("""
        CREATE FUNCTION miscount() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.message_count := NEW.message_count + 1;
            RETURN NEW;
        END $$;
        CREATE TRIGGER miscount BEFORE INSERT OR UPDATE ON member_daily_highlights
            FOR EACH ROW EXECUTE FUNCTION miscount();
    """)
    with pytest.raises(DatabaseUnavailable, match="2026-01-31 differ from its events"):
        await archive(NEXT)
    assert await event_days(directory) == [DAY]
    assert await directory.fetchval("SELECT archived_until FROM directory_archive") is None
    await directory.execute("DROP TRIGGER miscount ON member_daily_highlights")
    assert await archive(NEXT) == {DAY: 3}


async def test_the_events_of_ninety_days_stay(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    oldest = today() - timedelta(days=91)
    for day in (oldest, oldest + timedelta(days=1)):
        await messages(directory, 1, day=day)
    for call in (preview, archive_next_day):
        with pytest.raises(InvalidInput, match="The last 90 days can't be archived"):
            await call(today() - timedelta(days=89))
    assert await archive(today() - timedelta(days=90)) == {oldest: 1}
    with pytest.raises(InvalidInput, match="date without a time"):
        await archive_next_day(at(DAY))


async def test_a_directory_without_events_has_nothing_to_archive(directory: asyncpg.Pool) -> None:
    assert await archive_next_day(DAY) is None
    await rows.event(directory, occurred_at=at(DAY))
    assert await archive_next_day(DAY) is None
    assert await directory.fetch("SELECT FROM directory_archive") == []


# Voice.


async def test_a_stay_is_deleted_with_the_last_day_into_which_it_reaches(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await stay(directory, at(DAY, 22), 26 * HOUR)
    await stay(directory, at(DAY, 23), HOUR)
    await stay(directory, at(DAY, 23), 0)
    await rows.event(directory, member_id="#1", event_type="VOICE", occurred_at=at(DAY, 23))
    await stay(directory, at(NEXT, 2), HOUR)
    await roll_up(DAY, until=LAST)
    counts = await stored(directory)
    assert counts == {("#1", DAY): (0, 0, 120, 6), ("#1", NEXT): (0, 0, 1440, 6)}

    assert await archive_next_day(LAST) == ArchivedDay(DAY, 3)
    assert await roll_up(DAY, until=LAST) == 0
    assert await verify(DAY, until=LAST) == []
    assert await changed(NEXT, LAST) == []
    await directory.execute("DELETE FROM member_daily_highlights WHERE highlight_date = $1", NEXT)
    assert await roll_up(NEXT) == 1
    assert await stored(directory) == counts
    assert await archive_next_day(LAST) == ArchivedDay(NEXT, 2)
    assert await event_days(directory) == []
    assert await stored(directory) == counts


async def test_a_long_stay_keeps_the_days_without_other_events(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await stay(directory, at(DAY, 12), 3 * 24 * HOUR)
    days = [DAY + timedelta(days=number) for number in range(4)]
    await roll_up(DAY, until=days[-1])
    counts = await stored(directory)
    assert await archive(days[-1]) == {days[0]: 0, days[1]: 0, days[2]: 0}
    assert await archive(days[-1] + timedelta(days=1)) == {days[3]: 1}
    assert await stored(directory) == counts
    assert [counts["#1", day][2] for day in days] == [720, 1440, 1440, 720]


# Late events.


async def test_a_raw_insert_of_an_event_of_an_archived_day_is_refused(
    directory: asyncpg.Pool,
) -> None:
    await rows.event(directory, occurred_at=at(DAY))
    await archive(LAST)
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await rows.event(directory, occurred_at=at(LAST, 0) - timedelta(microseconds=1))
    assert raised.value.constraint_name == "participation_day_archived"
    await rows.event(directory, occurred_at=at(LAST, 0))


async def test_an_event_on_its_way_is_counted(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    await messages(directory, 1, day=DAY)
    monkeypatch.setattr(archive_module, "LIMIT_LOCK_WAIT", LIMIT_LOCK_WAIT.replace("1s", "50ms"))
    async with directory.acquire() as writer:
        transaction = writer.transaction()
        await transaction.start()
        await messages(writer, 2, day=DAY)
        # Days are closed while no statement stores events: the archive waits, but not for long.
        with pytest.raises(DatabaseUnavailable):
            await archive_next_day(NEXT)
        assert await directory.fetch("SELECT FROM directory_archive") == []
        await transaction.commit()
    assert await archive(NEXT) == {DAY: 3}
    assert await stored(directory) == {("#1", DAY): (3, 0, 0, 3)}


async def test_two_workers_share_the_days(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    days = [DAY + timedelta(days=number) for number in range(6)]
    for day in days:
        await messages(directory, 2, day=day)
    roll_ups = [roll_up(day) for day in days]
    found = await asyncio.gather(archive(days[-1]), archive(days[-1]), *roll_ups)
    assert {**found[0], **found[1]} == dict.fromkeys(days[:-1], 2)
    assert not found[0].keys() & found[1].keys()
    assert await stored(directory) == {("#1", day): (2, 0, 0, 2) for day in days}
