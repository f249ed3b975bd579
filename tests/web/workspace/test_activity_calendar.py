"""The calendar of a person's year: days, levels, months, rooms, and archived days."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.calendar import today
from community_directory.errors import InvalidInput
from community_directory.queries import highlights
from community_directory.web.workspace import activity_calendar
from community_directory.web.workspace.activity_calendar import (
    WEEKS,
    DayActivity,
    Kind,
    Room,
    calendar_days,
    find_level,
    find_thresholds,
    label_months,
    read_year,
)
from tests.tables import rows
from tests.zones import use_zone

DAY = timedelta(days=1)


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


async def write(directory: asyncpg.Pool, day: date, kind: str, **more: object) -> None:
    await rows.event(directory, member_id="#1", occurred_at=noon(day), event_type=kind, **more)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(0, 6))
def test_a_year_is_whole_weeks_that_end_with_the_present_one(last: date, first: int) -> None:
    days = calendar_days(first, last)
    assert len(days) == WEEKS * 7
    assert {days[number].weekday() for number in range(0, len(days), 7)} == {first}
    assert last in days[-7:]
    assert [after - before for before, after in pairwise(days)] == [DAY] * 370
    labels = label_months(days, last)
    assert all(days[7 * (label.column - 1)] <= label.first_day for label in labels)
    assert all(after.column - before.column >= 3 for before, after in pairwise(labels))
    assert len({(label.first_day.year, label.first_day.month) for label in labels}) == len(labels)
    assert 11 <= len(labels) <= 13
    assert all(label.first_day <= last and label.column <= WEEKS - 2 for label in labels)


@given(st.lists(st.integers(0, 10_000), max_size=400))
def test_more_activity_is_never_a_lower_level(amounts: list[int]) -> None:
    thresholds = find_thresholds(amounts)
    levels = [find_level(amount, thresholds) for amount in sorted(amounts)]
    assert levels == sorted(levels)
    assert all(0 <= level <= 5 for level in levels)
    assert {
        level == 0 for amount, level in zip(sorted(amounts), levels, strict=True) if amount
    } <= {False}


def test_a_few_events_a_day_are_not_the_darkest_level() -> None:
    thresholds = find_thresholds([1] * 300)
    assert find_level(1, thresholds) == 1
    spread = find_thresholds(list(range(1, 101)))
    assert [find_level(amount, spread) for amount in (0, 1, 21, 41, 61, 81, 100)] == [
        *(0, 1, 2, 3, 4, 5, 5)
    ]


def test_ten_minutes_of_voice_are_as_much_as_a_message() -> None:
    day = DayActivity(date(2026, 1, 1), messages=2, reactions=3, voice=11)
    assert [day.amount(kind) for kind in Kind] == [7, 2, 3, 11]


async def test_past_days_are_the_highlights_and_the_last_ones_the_events(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    last = today()
    for days, kind in ((0, "MESSAGE"), (1, "REACTION"), (2, "MESSAGE"), (9, "MESSAGE")):
        await write(directory, last - days * DAY, kind)
    await write(directory, last - 9 * DAY, "VOICE", event_metadata='{"duration_seconds": 4000}')
    year = await read_year("#1")
    assert (year.total.messages, year.total.reactions, year.active_days) == (3, 1, 4)
    await highlights.roll_up(last - 9 * DAY, until=last - DAY)
    # An event that came after the roll-up: that of yesterday counts at once.
    await write(directory, last - DAY, "MESSAGE")
    await write(directory, last - 9 * DAY, "MESSAGE")
    year = await read_year("#1")
    assert (year.total.messages, year.total.reactions, year.total.voice) == (4, 1, 66)
    levels = {cell.day.day: cell.level for cell in year.cells}
    assert levels[last] == 1
    assert levels[last - 3 * DAY] == 0
    assert [cell.level for cell in year.cells if cell.day.day > last].count(None) == sum(
        cell.day.day > last for cell in year.cells
    )


async def test_the_calendar_has_one_room_or_one_kind(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    last = today()
    for days, kind, platform, room in (
        (0, "MESSAGE", "telegram", "-1001"),
        (3, "MESSAGE", "telegram", "-1001"),
        (3, "REACTION", "discord", "a:b"),
        (3, "VOICE", "discord", "a:b"),
        (3, "JOIN", "discord", "a:b"),
    ):
        await write(directory, last - days * DAY, kind, platform=platform, room_id=room)
    # Those of somebody else are in no calendar of this member.
    await rows.event(directory, room_id="other", occurred_at=noon(last))
    everything = await read_year("#1")
    assert everything.rooms == [Room("discord", "a:b"), Room("telegram", "-1001")]
    assert everything.rooms_since is None
    one = await read_year("#1", room="discord:a:b")
    assert one.room == Room("discord", "a:b")
    assert (one.total.messages, one.total.reactions, one.total.voice) == (0, 1, 1)
    assert one.active_days == 1
    reactions = await read_year("#1", kind="reactions")
    assert [cell.day.day for cell in reactions.cells if cell.level] == [last - 3 * DAY]
    with pytest.raises(InvalidInput, match="There is no kind nothing"):
        await read_year("#1", kind="nothing")
    nothing = await read_year("#1", room="telegram:of nobody")
    assert (nothing.active_days, nothing.months) == (0, [])


async def test_only_the_newest_events_are_counted_by_room(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_calendar, "MAX_ROOM_EVENTS", 3)
    await rows.member(directory)
    last = today()
    for days in range(5):
        await write(directory, last - days * DAY, "MESSAGE", room_id=str(days))
    year = await read_year("#1")
    assert len(year.rooms) == 3
    assert year.rooms_since == last - 2 * DAY


async def test_archived_days_have_no_rooms_but_their_counts(directory: asyncpg.Pool) -> None:
    last = today()
    await rows.member(directory)
    await rows.highlight(
        directory, member_id="#1", highlight_date=last - 100 * DAY, message_count=7
    )
    await directory.execute(
        "INSERT INTO directory_rolled_up_days (day, checksum) VALUES ($1, 0)", last - 100 * DAY
    )
    await rows.archive(
        directory,
        closed_before=noon(last - 99 * DAY),
        archived_until=last - 99 * DAY,
        archived_before=noon(last - 99 * DAY),
    )
    await write(directory, last, "MESSAGE", room_id="a")
    year = await read_year("#1")
    assert (year.total.messages, year.rooms_since) == (8, last - 98 * DAY)
    [newest, oldest] = year.months
    assert (newest.active_days, oldest.total.messages) == (1, 7)
    assert (await read_year("#1", room="telegram:a")).total.messages == 1


async def test_a_day_is_that_of_the_community(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "Pacific/Kiritimati")
    await rows.member(directory)
    last = today()
    zone = ZoneInfo("Pacific/Kiritimati")
    for day in (last, last - 5 * DAY):
        at = datetime.combine(day, time(1), zone)
        await rows.event(directory, member_id="#1", room_id="a", occurred_at=at)
    for year in (await read_year("#1"), await read_year("#1", room="telegram:a")):
        active = [cell.day.day for cell in year.cells if cell.level]
        assert active == [last - 5 * DAY, last]
