"""The archive: events of old days go, their counts stay, and nothing is counted twice."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from community_directory.calendar import DaySpan, today
from community_directory.errors import DatabaseUnavailable, EventArchived, InvalidInput
from community_directory.jobs import roll_up_recent
from community_directory.queries import archive as archive_module
from community_directory.queries import highlights as highlights_module
from community_directory.queries import members, participation, reputation
from community_directory.queries.archive import (
    LIMIT_LOCK_WAIT,
    ArchivedDay,
    OldEvents,
    archive_next_day,
    preview,
)
from community_directory.queries.highlights import between, roll_up, verify
from community_directory.queries.participation import Activity, NewEvent
from tests.queries.recounts import find_wrong_counts
from tests.queries.test_highlights import at, changed, messages, scores, stay, stored
from tests.queries.test_merging import add_member, merge, unmerge
from tests.queries.test_merging import record as record_of
from tests.tables import rows
from tests.zones import use_zone

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
    assert await preview(NEXT) == []
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


async def test_an_event_of_an_archived_day_is_refused(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await participation.record_many([message(DAY, "1"), message(LAST, "2")])
    await archive(LAST)
    closed_before = at(LAST, 0)
    late = message(DAY, "1")
    with pytest.raises(EventArchived, match="those before 2026-02-02 00:00 UTC are archived") as it:
        await participation.record(
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id="-1",
            source_id="1",
            occurred_at=at(DAY),
        )
    assert (it.value.closed_before, it.value.code) == (closed_before, "event_archived")
    edge = message(LAST, "3", occurred_at=closed_before)
    before = message(LAST, "4", occurred_at=closed_before - timedelta(microseconds=1))
    unknown = message(LAST, "5", member_id="#9")
    recorded = await participation.record_many(
        [late, message(LAST, "2"), edge, before, unknown, message(DAY, "6", occurred_at=None)]
    )
    assert [(each.event, type(each.error)) for each in recorded.refused] == [
        (late, EventArchived),
        (before, EventArchived),
    ]
    assert (len(recorded.inserted), len(recorded.duplicates)) == (2, 1)
    assert recorded.unknown == [unknown]
    assert (await members.get("#1")).last_active_at is not None
    assert await roll_up(DAY, until=LAST) == 1
    assert await stored(directory) == {
        ("#1", DAY): (1, 0, 0, 1),
        ("#1", LAST): (2, 0, 0, 2),
    }


async def test_an_event_of_an_archived_day_can_not_be_taken_back(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await participation.record_many([message(DAY, "1", event_type="REACTION")])
    await archive(NEXT)
    counts = await stored(directory)
    assert not await participation.take_back(
        member_id="#1", platform="telegram", room_id="-1", source_id="1"
    )
    await roll_up(DAY)
    assert await stored(directory) == counts == {("#1", DAY): (0, 1, 0, 0)}


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
    one, other = (asyncio.create_task(archive(days[-1])) for _ in range(2))
    await asyncio.gather(*roll_ups)
    first, second = await one, await other
    assert first | second == dict.fromkeys(days[:-1], 2)
    assert not first.keys() & second.keys()
    assert await stored(directory) == {("#1", day): (2, 0, 0, 2) for day in days}


async def test_a_day_that_is_archived_during_a_check_does_not_differ(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    await messages(directory, 2, day=DAY)
    await archive(NEXT)

    async def open_days_before(days: DaySpan) -> DaySpan:
        return days

    monkeypatch.setattr(highlights_module, "open_days", open_days_before)
    assert await verify(DAY) == []


# Time zones.


async def test_the_days_are_those_of_the_community(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "America/Mexico_City")
    await rows.member(directory)
    midnight = datetime.combine(NEXT, time.min, ZoneInfo("America/Mexico_City"))
    for moment in (midnight - timedelta(seconds=1), midnight):
        await rows.event(directory, member_id="#1", occurred_at=moment)
    assert await archive(NEXT) == {DAY: 1}
    assert await directory.fetchval("SELECT occurred_at FROM member_participation") == midnight
    assert (await stored(directory)).keys() == {("#1", DAY)}


@pytest.mark.parametrize(
    ("old_zone", "zone"),
    [
        ("UTC", "America/Mexico_City"),
        ("UTC", "Pacific/Kiritimati"),
        # The first open day ends before the last archived day has ended, and so has no events.
        ("Etc/GMT+12", "Pacific/Kiritimati"),
    ],
)
async def test_each_event_is_counted_once_after_a_change_of_the_zone(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, old_zone: str, zone: str
) -> None:
    use_zone(monkeypatch, old_zone)
    await rows.member(directory)
    await directory.execute(
        """
        INSERT INTO member_participation (member_id, event_type, platform, room_id, occurred_at)
        SELECT '#1', 'MESSAGE', 'telegram', '-1', $1::timestamptz + hour * interval '1 hour'
        FROM generate_series(0, 5 * 24 - 1) AS hour
        """,
        at(DAY, 0) + timedelta(minutes=30),
    )
    await archive(LAST)
    use_zone(monkeypatch, zone)
    until = DAY + timedelta(days=6)
    await roll_up(DAY - timedelta(days=1), until=until)
    assert await verify(DAY - timedelta(days=1), until=until) == []
    counts = await stored(directory)
    assert sum(messages for messages, *_ in counts.values()) == 5 * 24
    assert counts["#1", DAY][0] == counts["#1", NEXT][0] == 24
    # The next days are archived in the new zone.
    await archive(until)
    assert await event_days(directory) == []
    assert await stored(directory) == counts


@pytest.mark.parametrize("age", [10, 100], ids=["some weeks are open", "all weeks are archived"])
@pytest.mark.parametrize("gap", [0, 5], ids=["an event on each day", "a first day without events"])
async def test_weeks_after_joining_on_an_archived_day_begin_in_the_new_zone(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, age: int, gap: int
) -> None:
    use_zone(monkeypatch, "Europe/Madrid")
    joined = at(DAY - timedelta(days=age), 21)  # the next day in Kolkata
    await rows.member(directory, status="active", created_at=joined)
    await rows.member(directory, status="active", created_at=joined)
    open_days = [NEXT + timedelta(days=gap + number) for number in range(9)]
    days = [DAY - timedelta(days=age - 7), DAY, *open_days]
    for day in days:
        for number in ("#1", "#2") if day == days[0] else ("#1",):
            await rows.event(directory, member_id=number, occurred_at=at(day, 9))
    await roll_up_recent()
    await archive(NEXT)
    find_weeks = "SELECT active_weeks FROM member_milestones WHERE member_id = '#2'"
    assert await directory.fetchval(find_weeks) == [2]
    use_zone(monkeypatch, "Asia/Kolkata")
    await roll_up_recent()
    assert await directory.fetchval(find_weeks) == [1]
    assert await find_wrong_counts(directory) == {}
    assert await verify(DAY - timedelta(days=age), until=LAST + timedelta(days=30)) == []


async def test_weeks_are_right_after_the_first_open_day_where_both_zones_have_its_midnights(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "UTC")
    winter = date(2026, 1, 10)
    joined = datetime(2025, 8, 1, 23, 30, tzinfo=UTC)  # August 2 in London
    await rows.member(directory, status="active", created_at=joined)
    await rows.event(directory, occurred_at=datetime(2025, 8, 8, 12, tzinfo=UTC), member_id="#1")
    await rows.event(directory, occurred_at=datetime(2026, 1, 11, 12, tzinfo=UTC), member_id="#1")
    await roll_up_recent()
    await archive(winter + timedelta(days=1))
    find_weeks = "SELECT active_weeks FROM member_milestones"
    assert await directory.fetchval(find_weeks) == [2]
    use_zone(monkeypatch, "Europe/London")
    first = winter + timedelta(days=1)
    [difference] = await verify(first)
    assert difference.row.member_id == "#1"
    await highlights_module.roll_up(first)
    assert await directory.fetchval(find_weeks) == [1]
    assert await verify(first) == []


# Readers.


async def test_activity_has_the_counts_of_archived_days(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await messages(directory, 3, day=DAY)
    await rows.event(directory, member_id="#1", event_type="REACTION", occurred_at=at(DAY))
    await messages(directory, 2, day=NEXT)
    await stay(directory, at(NEXT, 23), 2 * HOUR)
    await messages(directory, 4, day=LAST)
    expected = [
        Activity(DAY, "MESSAGE", 3),
        Activity(DAY, "REACTION", 1),
        Activity(NEXT, "MESSAGE", 2),
        Activity(NEXT, "VOICE", 1),
        Activity(LAST, "MESSAGE", 4),
    ]
    assert await participation.activity("#1", since=DAY, until=LAST) == expected
    await archive(LAST)
    # The stay is still stored, because it reaches into the next day.
    assert await event_days(directory) == [NEXT, LAST]
    del expected[3]
    assert await participation.activity("#1", since=DAY, until=LAST) == expected
    assert await participation.activity("#1", since=NEXT, until=NEXT) == expected[2:3]
    assert await participation.activity("#1", since=LAST, until=LAST) == expected[3:]
    history = (await participation.history("#1")).items
    assert {event.occurred_at.date() for event in history} == {NEXT, LAST}


async def test_the_most_active_members_are_those_of_archived_days_too(
    directory: asyncpg.Pool,
) -> None:
    for _ in range(4):
        await rows.member(directory)
    await messages(directory, 5, "#1", day=DAY)
    await messages(directory, 3, "#2", day=DAY)
    await messages(directory, 3, "#2", day=LAST)
    await messages(directory, 1, "#3", day=LAST)
    await stay(directory, at(NEXT, 23), 2 * HOUR, member_id="#4")
    before = await participation.most_active(since=DAY, until=LAST)
    assert [(each.member_id, each.events) for each in before] == [
        ("#2", 6),
        ("#1", 5),
        ("#3", 1),
        ("#4", 1),
    ]
    await archive(LAST)
    # The number of stays is gone.
    assert await participation.most_active(since=DAY, until=LAST) == before[:3]
    assert await participation.most_active(since=DAY, until=LAST, limit=1) == before[:1]
    assert [
        (each.member_id, each.events)
        for each in await participation.most_active(since=LAST, until=LAST)
    ] == [("#2", 3), ("#3", 1)]


async def test_a_person_is_exported_and_erased_with_archived_days(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await messages(directory, 3, day=DAY)
    await archive(NEXT)
    exported = await members.export("#1")
    assert (exported["participation"], len(exported["highlights"])) == ([], 1)
    assert exported["highlights"][0]["message_count"] == 3
    await members.erase("#1", actor="Luis")
    assert await stored(directory) == {("#1", DAY): (3, 0, 0, 3)}
    assert await scores(directory) == {"#1": 3}


async def test_a_wrong_mark_as_a_bot_loses_no_archived_day(directory: asyncpg.Pool) -> None:
    await rows.member(directory, reputation_score=40)
    for day in (DAY, NEXT):
        await messages(directory, 3, day=day)
    await roll_up(DAY, until=NEXT)
    await archive(NEXT)
    await members.mark_bot("#1", actor="Luis")
    await roll_up(DAY, until=NEXT)
    assert await scores(directory) == {"#1": 0}
    assert (await between(DAY, NEXT)).items == []
    assert (await between(DAY, NEXT, member_id="#1")).items == []
    explained = await reputation.explain("#1")
    assert (explained.earned, explained.other) == (0, 0)

    await members.mark_bot("#1", False, actor="Luis")
    await roll_up(DAY, until=NEXT)
    assert await scores(directory) == {"#1": 46}
    assert [day.message_count for day in (await between(DAY, NEXT, member_id="#1")).items] == [3, 3]


# Merges.


async def add_members(number: int = 2) -> None:
    """Add members with the numbers #1, #2, …"""
    for account in range(number):
        await add_member(str(1001 + account))


@pytest.mark.parametrize("archived_first", [True, False])
async def test_archived_days_of_merged_members_are_added_and_come_back(
    directory: asyncpg.Pool, archived_first: bool
) -> None:
    await add_members()
    for member_id, count in (("#1", 2), ("#2", 4)):
        await messages(directory, count, member_id, day=DAY)
        start = at(DAY, 20 if member_id == "#1" else 23)
        await stay(directory, start, 2 * HOUR, member_id=member_id)
        await messages(directory, count, member_id, day=LAST)
    await roll_up(DAY, until=LAST)
    counts = await stored(directory)
    if archived_first:
        await archive(NEXT)
        await merge()
    else:
        await merge()
        await archive(NEXT)
    assert await stored(directory) == {
        ("#1", DAY): (6, 0, 180, 10),
        ("#1", NEXT): (0, 0, 60, 6),
        ("#1", LAST): (6, 0, 0, 5),
    }
    assert await verify(DAY, until=LAST) == []
    assert await changed(NEXT, LAST) == []
    await unmerge()
    assert await stored(directory) == counts
    assert await scores(directory) == {
        member_id: sum(points for (of, _), (*_, points) in counts.items() if of == member_id)
        for member_id in ("#1", "#2")
    }
    # The rest of the stay that reaches into the next day is the duplicate's again.
    await archive(LAST)
    assert await stored(directory) == counts


async def test_a_day_that_was_counted_after_a_merge_comes_back_too(directory: asyncpg.Pool) -> None:
    await add_members()
    await messages(directory, 2, "#1", day=DAY)
    await messages(directory, 4, "#2", day=DAY)
    await merge()
    await archive(NEXT)
    assert await stored(directory) == {("#1", DAY): (6, 0, 0, 5)}
    await unmerge()
    assert await stored(directory) == {("#1", DAY): (2, 0, 0, 2), ("#2", DAY): (4, 0, 0, 4)}
    assert await scores(directory) == {"#1": 2, "#2": 4}


async def test_an_event_of_both_counts_once_for_good(directory: asyncpg.Pool) -> None:
    await add_members()
    for member_id, sources in {"#1": "abc", "#2": "bc"}.items():
        for source_id in sources:
            await record_of(member_id, source_id, at(DAY))
    await roll_up(DAY)
    await merge()
    await archive(NEXT)
    # What a merge kept of the events is gone, too.
    kept = "SELECT table_name FROM directory_merged_rows WHERE table_name LIKE 'member_d%'"
    assert [table for (table,) in await directory.fetch(kept)] == ["member_daily_highlights"]
    assert await directory.fetchval("SELECT count(*) FROM directory_merged_rows") == len(
        await directory.fetch("SELECT FROM member_accounts WHERE proof <> 'stated'")
    )
    await unmerge()
    counts = await stored(directory)
    assert {key: counted[0] for key, counted in counts.items()} == {("#1", DAY): 1, ("#2", DAY): 2}
    assert await directory.fetch("SELECT FROM directory_merged_rows") == []


async def test_what_was_taken_back_after_a_merge_does_not_come_back(
    directory: asyncpg.Pool,
) -> None:
    await add_members()
    await messages(directory, 2, "#1", day=DAY)
    await record_of("#2", "a", at(DAY), event_type="REACTION")
    await roll_up(DAY)
    await merge()
    assert await participation.take_back(
        member_id="#2", platform="telegram", room_id="-100", source_id="a"
    )
    await archive(NEXT)
    await unmerge()
    assert await stored(directory) == {("#1", DAY): (2, 0, 0, 2)}
    assert await scores(directory) == {"#1": 2, "#2": 0}


async def test_a_bot_has_no_counts_after_a_merge_either(directory: asyncpg.Pool) -> None:
    await add_members()
    for number in ("#1", "#2"):
        await messages(directory, 2, number, day=DAY)
        await members.mark_bot(number, actor="Luis")
    await merge()
    await archive(NEXT)
    await unmerge()
    assert await stored(directory) == {}
    for number in ("#1", "#2"):
        await members.mark_bot(number, False, actor="Luis")
    assert await scores(directory) == {"#1": 0, "#2": 0}


async def test_a_merge_is_undone_while_its_days_wait_for_the_archive(
    directory: asyncpg.Pool,
) -> None:
    await add_members()
    for member_id, sources in {"#1": "abc", "#2": "bc"}.items():
        for source_id in sources:
            await record_of(member_id, source_id, at(DAY))
    await merge()
    await rows.archive(
        directory, closed_before=at(NEXT, 0), archived_until=None, archived_before=None
    )
    restored = (await unmerge()).restored
    assert (restored.events, restored.collapsed_events) == (2, 2)
    assert await archive(NEXT) == {DAY: 5}
    assert await stored(directory) == {("#1", DAY): (3, 0, 0, 3), ("#2", DAY): (2, 0, 0, 2)}


async def test_merges_of_archived_days_are_undone_in_any_order(
    directory: asyncpg.Pool,
) -> None:
    await add_members(3)
    for number in (1, 2, 3):
        await messages(directory, number, f"#{number}", day=DAY)
    await merge("#3", into="#2")
    await merge("#2", into="#1")
    await archive(NEXT)
    assert await stored(directory) == {("#1", DAY): (6, 0, 0, 5)}
    await unmerge("#3")
    assert await stored(directory) == {("#1", DAY): (3, 0, 0, 3), ("#3", DAY): (3, 0, 0, 3)}
    await unmerge("#2")
    assert {key: counted[0] for key, counted in (await stored(directory)).items()} == {
        ("#1", DAY): 1,
        ("#2", DAY): 2,
        ("#3", DAY): 3,
    }
    assert await scores(directory) == {"#1": 1, "#2": 2, "#3": 3}


async def test_the_rooms_of_archived_days_go_and_their_hours_stay(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await participation.record_many(
        [
            message(DAY, "1", event_type="JOIN"),
            message(NEXT, "2"),
            message(NEXT, "3", room_id="-2"),
            message(LAST, "4"),
            message(LAST, "5", event_type="JOIN"),
        ]
    )
    await roll_up(NEXT, until=LAST)
    hours = "SELECT day, event_type, event_count FROM directory_hourly_counts ORDER BY 1, 2"
    await archive(LAST)
    # A day of which no member has a highlight is counted before it is archived, too.
    assert [tuple(row) for row in await directory.fetch(hours)] == [
        (DAY, "JOIN", 1),
        (NEXT, "MESSAGE", 2),
        (LAST, "JOIN", 1),
        (LAST, "MESSAGE", 1),
    ]
    for table in ("member_daily_rooms", "member_monthly_rooms"):
        [room] = await directory.fetch(f"SELECT * FROM {table}")
        assert (room["room_id"], room["event_count"], room["message_count"]) == ("-1", 2, 1)
    assert await find_wrong_counts(directory) == {}
