"""Events are counted by room and by day, of one member or of everybody, also in archived days."""

from collections import Counter
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory import calendar
from community_directory.errors import InvalidInput
from community_directory.queries import participation
from community_directory.queries.highlights import roll_up
from community_directory.queries.participation import DayCounts, NewEvent, RoomCounts
from tests.queries.test_archive import archive
from tests.tables import rows
from tests.zones import use_zone

DAY = date(2026, 1, 31)
NEXT = DAY + timedelta(days=1)
LAST = DAY + timedelta(days=2)


def at(day: date, hour: int = 12) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


async def record(*events: tuple[str, str, str, str, datetime]) -> None:
    """Store events: their member, type, platform, room and time."""
    recorded = await participation.record_many(
        NewEvent(
            member_id=member_id,
            event_type=event_type,
            platform=platform,
            room_id=room_id,
            source_id=str(number),
            occurred_at=moment,
        )
        for number, (member_id, event_type, platform, room_id, moment) in enumerate(events)
    )
    assert len(recorded.inserted) == len(events)


@pytest.fixture
async def three_days(directory: asyncpg.Pool) -> None:
    """Store the events of #1, of #2 and of the bot #3."""
    for is_bot in (False, False, True):
        await rows.member(directory, is_bot=is_bot)
    await record(
        ("#1", "MESSAGE", "telegram", "-1", at(DAY)),
        ("#1", "MESSAGE", "telegram", "-1", at(DAY, 13)),
        ("#1", "REACTION", "telegram", "-2", at(DAY)),
        ("#1", "JOIN", "discord", "-1", at(DAY)),
        ("#1", "VOICE", "discord", "lounge", at(LAST)),
        ("#2", "MESSAGE", "telegram", "-1", at(LAST)),
        ("#3", "MESSAGE", "telegram", "-1", at(LAST)),
        # Outside of the days
        ("#1", "MESSAGE", "telegram", "-1", at(DAY) - timedelta(days=1)),
        ("#1", "MESSAGE", "telegram", "-1", at(LAST) + timedelta(days=1)),
    )


async def by_room(**values: Any) -> list[RoomCounts]:
    return await participation.by_room(**{"since": DAY, "until": LAST, **values})


async def by_day(**values: Any) -> list[DayCounts]:
    return await participation.by_day(**{"since": DAY, "until": LAST, **values})


@pytest.mark.usefixtures("three_days")
async def test_events_are_counted_by_room() -> None:
    assert await by_room(member_id=1) == [
        RoomCounts("telegram", "-1", 2, 2, 0, 0, 1, at(DAY, 13)),
        RoomCounts("discord", "-1", 1, 0, 0, 0, 1, at(DAY)),
        RoomCounts("discord", "lounge", 1, 0, 0, 1, 1, at(LAST)),
        RoomCounts("telegram", "-2", 1, 0, 1, 0, 1, at(DAY)),
    ]
    everybody = await by_room()
    assert everybody[0] == RoomCounts("telegram", "-1", 3, 3, 0, 0, 2, at(LAST))
    assert everybody[1:] == (await by_room(member_id=1))[1:]
    assert await by_room(limit=1) == everybody[:1]
    assert await by_room(member_id="#99") == []


@pytest.mark.usefixtures("three_days")
async def test_events_are_counted_by_day_and_every_day_is_there() -> None:
    assert await by_day(member_id=1) == [
        DayCounts(DAY, 4, 2, 1, 0, is_archived=False),
        DayCounts(NEXT, 0, 0, 0, 0, is_archived=False),
        DayCounts(LAST, 1, 0, 0, 1, is_archived=False),
    ]
    assert [day.events for day in await by_day()] == [4, 0, 2]
    assert [day.events for day in await by_day(member_id=3)] == [0, 0, 1]
    assert [day.events for day in await by_day(member_id="#99")] == [0, 0, 0]


async def test_archived_days_have_their_messages_and_reactions_and_no_rooms(
    directory: asyncpg.Pool, three_days: None
) -> None:
    await rows.event(
        directory,
        member_id="#1",
        event_type="VOICE",
        room_id="late",
        occurred_at=at(NEXT, 23),
        event_metadata='{"duration_seconds": 7200}',
    )
    await roll_up(DAY - timedelta(days=1), until=LAST)
    await archive(LAST)
    for member_id in (1, None):
        days = await by_day(member_id=member_id)
        # The stay is still stored, because it reaches into the next day, but its day is archived.
        assert days[:2] == [
            DayCounts(DAY, 3, 2, 1, 0, is_archived=True),
            DayCounts(NEXT, 0, 0, 0, 0, is_archived=True),
        ]
        assert not days[2].is_archived
    assert [(room.room_id, room.events) for room in await by_room()] == [("lounge", 1), ("-1", 1)]
    assert [day.events for day in await by_day(until=NEXT)] == [3, 0]
    assert await by_room(until=NEXT) == []
    await directory.execute("UPDATE community_members SET is_bot = true WHERE member_id = '#1'")
    assert [day.events for day in await by_day()] == [0, 0, 1]


async def test_the_days_are_those_of_the_community_unless_a_zone_is_named(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    await record(("#1", "MESSAGE", "telegram", "-1", at(NEXT, 3)))
    for zone, counts in ((None, [0, 1, 0]), ("America/Mexico_City", [1, 0, 0])):
        assert [day.events for day in await by_day(zone=zone)] == counts
        assert [day.events for day in await by_day(member_id=1, zone=zone)] == counts
    assert len(await by_room(until=DAY)) == 0
    use_zone(monkeypatch, "America/Mexico_City")
    assert [day.events for day in await by_day()] == [1, 0, 0]
    assert len(await by_room(until=DAY)) == 1
    assert (
        participation.today()
        == calendar.today()
        == datetime.now(ZoneInfo("America/Mexico_City")).date()
    )


async def test_a_day_on_which_the_clocks_change_is_counted_whole(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    day = date(2026, 10, 25)  # 25 hours in Madrid, from 22:00 to 23:00 UTC
    edges = [datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 22, 59, tzinfo=UTC)]
    await record(*(("#1", "MESSAGE", "telegram", "-1", edge) for edge in edges))
    [counted] = await by_day(since=day, until=day, zone="Europe/Madrid")
    assert counted.events == 2


async def test_wrong_arguments_are_refused(directory: asyncpg.Pool) -> None:
    wrong: dict[str, Any]
    for wrong in (
        {"until": DAY - timedelta(days=1)},
        {"zone": "Mars/Olympus"},
        {"member_id": 1.5},
    ):
        with pytest.raises(InvalidInput):
            await by_day(**wrong)
        with pytest.raises(InvalidInput):
            await by_room(**wrong)
    with pytest.raises(InvalidInput):
        await by_room(limit=101)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["#1", "#2", "#3"]),
        st.sampled_from(["MESSAGE", "REACTION", "VOICE", "JOIN"]),
        st.sampled_from(["telegram", "discord"]),
        st.sampled_from(["a", "b"]),
        st.datetimes(datetime(2026, 1, 30), datetime(2026, 2, 4), timezones=st.just(UTC)),  # noqa: DTZ001  Hypothesis adds the zone
    ),
    max_size=30,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS)
async def test_the_counts_agree_with_a_recount_in_python(
    directory: asyncpg.Pool, events: list[tuple[str, str, str, str, datetime]]
) -> None:
    await directory.execute("TRUNCATE community_members CASCADE")
    for number, is_bot in enumerate((False, False, True), 1):
        await rows.member(directory, member_id=f"#{number}", is_bot=is_bot)
    await record(*events)
    zone = ZoneInfo("America/Mexico_City")
    for member_id in ("#1", None):
        counted = [
            event
            for event in events
            if event[0] in {member_id, *(("#1", "#2") if member_id is None else ())}
            and DAY <= event[4].astimezone(zone).date() <= LAST
        ]
        days = Counter((event[4].astimezone(zone).date(), event[1]) for event in counted)
        names = {"MESSAGE": "messages", "REACTION": "reactions", "VOICE": "voice_stays"}
        for day in await by_day(member_id=member_id, zone=zone.key):
            found = asdict(day)
            assert day.events == sum(n for (when, _), n in days.items() if when == day.day)
            for event_type, name in names.items():
                assert found[name] == days[day.day, event_type]
        rooms = Counter((event[2], event[3]) for event in counted)
        listed = await by_room(member_id=member_id, zone=zone.key)
        assert {(room.platform, room.room_id): room.events for room in listed} == rooms
        assert [room.events for room in listed] == sorted(rooms.values(), reverse=True)
        for room in listed:
            here = [e for e in counted if (e[2], e[3]) == (room.platform, room.room_id)]
            assert room.members == len({event[0] for event in here})
            assert room.last_at == max(event[4] for event in here)
