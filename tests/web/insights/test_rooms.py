"""The page Rooms: platforms and rooms, recounted from raw events, and the people in them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from community_directory.calendar import today
from community_directory.queries import highlights, participation, people
from community_directory.queries.archive import archive_next_day
from community_directory.queries.participation import NewEvent
from community_directory.web.insights.rooms import MAX_ROOMS, load_rooms
from tests.tables.rows import archive, event, member
from tests.web.insights.html_tables import read_table
from tests.web.insights.links import check_people_links, read_csv
from tests.web.insights.overview_community import (
    BEFORE,
    EVENTS,
    PERIOD,
    ROOMS,
    SINCE,
    UNTIL,
    RawEvent,
    make_community,
    within,
)
from tests.web.insights.periods import last_days
from tests.zones import use_zone

DAY = timedelta(days=1)
PATH = f"/insights/rooms/?{PERIOD}"
LONG_SINCE = date(2025, 7, 10)
LONG = f"from={LONG_SINCE}&to={UNTIL}"
"""A period with a whole month and days on both sides."""


def day_time(day: date) -> datetime:
    return datetime.combine(day, time(16), UTC)


def count_by(
    events: Iterable[RawEvent], key: Callable[[RawEvent], str]
) -> dict[str, tuple[int, int, int]]:
    """Return the events, the messages, and the present people of each platform or room."""
    counts, messages, names = Counter[str](), Counter[str](), defaultdict[str, set[str]](set)
    for each in events:
        counts[key(each)] += 1
        messages[key(each)] += each.event_type == "MESSAGE"
        if each.is_of_present:
            names[key(each)].add(each.person.name)
    return {name: (counts[name], messages[name], len(names[name])) for name in counts}


def by_platform(each: RawEvent) -> str:
    return each.platform


def by_room(each: RawEvent) -> str:
    return f"{each.platform}:{each.room_id}"


# People who were there before and after a period are counted in another way if it ends yesterday.
@pytest.mark.parametrize(
    ("since", "until"),
    [
        (SINCE, UNTIL),
        (LONG_SINCE, UNTIL),
        (date(2025, 7, 1), date(2025, 8, 31)),
        (SINCE + 7 * DAY, SINCE + 9 * DAY),
        (SINCE, None),
        (SINCE + 9 * DAY, None),
    ],
)
async def test_platforms_and_rooms_have_the_numbers_of_a_recount(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    since: date,
    until: date | None,
) -> None:
    await make_community(directory, monkeypatch)
    until = until or today() - DAY
    query, events = f"from={since}&to={until}", within(since, until)
    before = Counter(map(by_room, within(since - (until - since) - DAY, since - DAY)))
    platforms = await read_csv(client, f"/insights/rooms/platforms.csv?{query}")
    assert {
        row["platform"]: (int(row["events"]), int(row["messages"]), int(row["people"]))
        for row in platforms
    } == count_by(events, by_platform)
    rooms = await read_csv(client, f"/insights/rooms/rooms.csv?{query}")
    for row in rooms:  # a spreadsheet would take "-1001" for a formula
        row["room_id"] = row["room_id"].removeprefix("'")
    assert {
        f"{row['platform']}:{row['room_id']}": (
            int(row["events"]),
            int(row["messages"]),
            int(row["people"]),
        )
        for row in rooms
    } == count_by(events, by_room)
    assert {f"{row['platform']}:{row['room_id']}": int(row["events_before"]) for row in rooms} == {
        f"{platform}:{room}": before[f"{platform}:{room}"] for platform, room in ROOMS
    }


async def test_every_number_of_people_leads_to_exactly_these_people(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    for query in (PERIOD, LONG, "period=all"):
        links = await check_people_links(client, f"/insights/rooms/?{query}")
        assert [filters["room"] for _, filters in links] == sorted(
            (filters["room"] for _, filters in links), key=lambda room: ":" in room
        )
        assert len(links) == len({platform for platform, _ in ROOMS}) + len(ROOMS)
        assert all(number for number, _ in links)


VISITS = (
    # of people who were not there in the 20 days up to yesterday
    (30,),
    (0,),
    (30, 0),
    (21, 0),
    (150,),
    (150, 0),
    # of those who were, for the first or the last time, or again
    (1,),
    (20,),
    (10, 5),
    (30, 20),
    (30, 1),
    (30, 10, 9),
    (10, 0),
    (30, 10, 0),
    (150, 10, 0),
    (150, 5),
    (150, 20, 0),
    (150, 1, 0),
)
"""How many days ago each person was in a room."""


class Stay(NamedTuple):
    """That somebody was in a room, some days ago."""

    person: int
    platform: str
    room_id: str
    days_ago: int


# Of three visits, the one in between is to the first room alone.
STAYS = [
    Stay(person, *room, days_ago)
    for person, visits in enumerate(VISITS)
    for room, every in ((("telegram", "a"), 1), (("telegram", "b"), 2), (("irc", "a"), 2))
    for days_ago in visits[::every]
]


@pytest.mark.parametrize("zone", ["UTC", "America/Santiago"])
async def test_who_was_there_before_and_after_a_period_counts_if_they_were_there_in_it_too(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    use_zone(monkeypatch, zone)
    now = today()
    for status in ("active", "banned"):
        numbers = [(await member(directory, status=status))["member_id"] for _ in VISITS]
        for stay in STAYS:
            # Late in Santiago is the next day in UTC.
            clock = time(23, 30) if stay.days_ago % 2 else time(0, 30)
            day = now - stay.days_ago * DAY
            await event(
                directory,
                member_id=numbers[stay.person],
                platform=stay.platform,
                room_id=stay.room_id,
                occurred_at=datetime.combine(day, clock, ZoneInfo(zone)),
            )
    await highlights.roll_up(now - 151 * DAY, until=now)
    await check_rooms(client, now, STAYS)
    while await archive_next_day(now - 100 * DAY):
        pass
    await check_rooms(client, now, [stay for stay in STAYS if stay.days_ago < 100])


async def check_rooms(client: httpx.AsyncClient, now: date, stays: list[Stay]) -> None:
    """Check that the rooms of periods up to yesterday have the people who were there."""
    for length in (1, 2, 9, 20, 40, 200):
        expected = defaultdict[str, set[int]](set)
        for stay in stays:
            if 1 <= stay.days_ago <= length:
                expected[stay.platform].add(stay.person)
                expected[f"{stay.platform}:{stay.room_id}"].add(stay.person)
        query = f"from={now - length * DAY}&to={now - DAY}"
        links = await check_people_links(client, f"/insights/rooms/?{query}")
        assert {filters["room"]: number for number, filters in links} == {
            room: len(found) for room, found in expected.items()
        }
    for period in ("7", "28", "90", "12m", "all"):
        assert await check_people_links(client, f"/insights/rooms/?period={period}")


async def test_shares_and_changes_are_those_of_the_events(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    now = Counter(map(by_platform, within(SINCE, UNTIL)))
    before = Counter(map(by_platform, within(BEFORE, SINCE - DAY)))
    rows = await read_table(client, "Platforms, the busiest first", PATH)
    assert [row[0].lower() for row in rows] == [name for name, _ in now.most_common()]
    for row in rows:
        name = row[0].lower()
        assert row[4] == f"{100 * now[name] / now.total():.0f}%"
        change = 100 * (now[name] - before[name]) / before[name]
        assert row[5] == f"{change:+.0f}%"


async def test_the_lines_have_the_events_of_each_day_or_week(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    days = await read_csv(client, f"/insights/rooms/platform_lines.csv?{PERIOD}")
    assert len(days) == 3 * 28
    weeks = await read_csv(client, f"/insights/rooms/platform_lines.csv?{LONG}")
    assert weeks[0]["since"] == "2025-07-10"
    assert weeks[1]["since"] == "2025-07-14"
    for row in [*days, *weeks]:
        since, until = date.fromisoformat(row["since"]), date.fromisoformat(row["until"])
        found = [each for each in within(since, until) if each.platform == row["platform"]]
        assert int(row["events"]) == len(found), row


async def test_a_room_that_fell_silent_is_listed_as_quiet(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    author = await directory.fetchval("SELECT member_id FROM community_members WHERE name = 'Ana'")
    for room in ("<b>old</b>", "older"):
        first = SINCE - 2 * DAY
        await event(
            directory, member_id=author, platform="irc", room_id=room, occurred_at=day_time(first)
        )
    await event(
        directory, member_id=author, platform="irc", room_id="older",
        occurred_at=day_time(SINCE - 3 * DAY),
    )  # fmt: skip
    await highlights.roll_up(SINCE - 3 * DAY, until=SINCE)
    rows = await read_table(client, "Quiet rooms", PATH)
    assert rows == [["older", "Irc", "2"], ["&lt;b&gt;old&lt;/b&gt;", "Irc", "1"]]
    everything = await client.get("/insights/rooms/?period=all")
    assert "Quiet rooms" not in everything.text


async def test_only_twenty_rooms_are_shown_and_the_file_has_all(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    author = (await member(directory))["member_id"]
    for number in range(22):
        for _ in range(1 + number):
            await event(
                directory,
                member_id=author,
                room_id=f"room-{number}",
                occurred_at=day_time(date(2025, 3, 5)),
            )
    await highlights.roll_up(date(2025, 3, 4), until=date(2025, 3, 6))
    query = "from=2025-03-01&to=2025-03-10"
    rows = await read_table(client, "Rooms, the busiest first", f"/insights/rooms/?{query}")
    assert [row[0] for row in rows] == [f"room-{number}" for number in range(21, 1, -1)]
    assert (
        "2 more rooms are in the CSV file" in (await client.get(f"/insights/rooms/?{query}")).text
    )
    assert len(await read_csv(client, f"/insights/rooms/rooms.csv?{query}")) == 22


async def test_the_page_says_that_the_rooms_of_archived_days_are_gone(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await archive(directory, archived_until=date(2025, 8, 30))
    said = "The days until August 30, 2025 are archived"
    assert said in (await client.get(PATH)).text
    assert said not in (await client.get("/insights/rooms/?from=2025-08-31&to=2025-09-21")).text


async def test_an_empty_period_is_explained(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    page = (await client.get(PATH)).text
    assert "No events were counted in this period" in page
    assert "No room had an event in this period" in page
    assert "Each room of the period before had an event in this one" in page


async def test_a_platform_or_a_room_is_a_filter_of_people(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    for platform, room_id in ROOMS:
        for room in (platform, f"{platform}:{room_id}"):
            names = {
                each.person.name
                for each in EVENTS
                if SINCE <= each.day <= UNTIL
                and each.is_of_present
                and room in (each.platform, by_room(each))
            }
            found = await people.search(
                status="present", room=room, since=SINCE, until=UNTIL, limit=100
            )
            assert {person.name for person in found.items} == names


async def test_a_busy_room_has_its_people_among_very_many_private_chats(
    directory: asyncpg.Pool,
) -> None:
    await member(directory, member_id="#1", status="active")
    yesterday = today() - DAY
    chats = [f"chat-{number:04}" for number in range(MAX_ROOMS)]
    await participation.record_many(
        NewEvent(
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id=room_id,
            source_id=str(number),
            occurred_at=day_time(yesterday),
        )
        for number, room_id in enumerate([*chats, "group", "group"])
    )
    await highlights.roll_up(yesterday)
    rooms = await load_rooms(last_days(28))
    assert len(rooms.active) == MAX_ROOMS
    assert (rooms.active[0].room_id, rooms.active[0].people) == ("group", 1)
    assert {room.people for room in rooms.active} == {1}
    assert [platform.people for platform in rooms.platforms] == [1]
