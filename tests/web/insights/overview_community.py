"""A community in a zone with DST for the tests of Overview and Rooms, and its recount in Python.

Its days are in the past, so that the tests need no clock. In Santiago the clocks were put forward
on 2025-09-07, at midnight: the day has 23 hours, and begins at one o'clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from community_directory.queries import bots, highlights, members
from tests.tables.rows import event, member
from tests.zones import use_zone

SANTIAGO = ZoneInfo("America/Santiago")
SINCE, UNTIL = date(2025, 8, 25), date(2025, 9, 21)
BEFORE = date(2025, 7, 28)
"""The first day of the period before."""
PERIOD = f"from={SINCE}&to={UNTIL}"
ROOMS = (("telegram", "-1001"), ("telegram", "-1002"), ("discord", "77"), ("irc", "#help: all"))
EVENT_TYPES = ("MESSAGE", "REACTION", "MESSAGE", "PINNED")


class Person(NamedTuple):
    """A person of the community, who does something every `step` days from the day `first` on."""

    name: str
    status: str
    first: int
    step: int
    is_removed: bool = False
    is_bot: bool = False


PEOPLE = (
    Person("Ana", "active", -40, 1),
    Person("Bea", "active", -26, 3),
    Person("Chidi", "pending", 5, 2),
    Person("Dana", "suspended", -28, 9),
    Person("Eva", "not_member", 11, 4),
    Person("Falk", "banned", -20, 2),
    Person("Gil", "active", -20, 2, is_removed=True),
    Person("Rose", "active", -20, 1, is_bot=True),
    Person("Hui", "active", -28, 28),
)


@dataclass(frozen=True)
class RawEvent:
    """An event as it was stored, with the time that the clocks of the community showed."""

    person: Person
    at: datetime
    platform: str
    room_id: str
    event_type: str

    @property
    def day(self) -> date:
        """The local day."""
        return self.at.date()

    @property
    def is_activity(self) -> bool:
        """Whether the event makes its author active on that day."""
        return self.event_type in ("MESSAGE", "REACTION")

    @property
    def is_of_present(self) -> bool:
        """Whether the author is neither banned nor removed."""
        return self.person.status != "banned" and not self.person.is_removed


def _make_events() -> Iterator[RawEvent]:
    for at, person in enumerate(PEOPLE):
        for number, ago in enumerate(range(person.first, 28, person.step)):
            day = SINCE + timedelta(days=ago)
            for part in range(1 + (number + at) % 3):
                clock = time((7 * number + 5 * part + at) % 24, 59)
                moment = datetime.combine(day, clock, SANTIAGO).astimezone(UTC)
                local = moment.astimezone(SANTIAGO)
                room = ROOMS[(number + part * at) % len(ROOMS)]
                yield RawEvent(person, local, *room, EVENT_TYPES[(number + part) % 4])


ALL_EVENTS = tuple(_make_events())
EVENTS = tuple(each for each in ALL_EVENTS if not each.person.is_bot)
"""The events that count: those of bots do not."""


async def make_community(directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store the people and their events in the zone of Santiago, and roll all days up."""
    use_zone(monkeypatch, "America/Santiago")
    numbers = {}
    for person in PEOPLE:
        row = await member(
            directory,
            name=person.name,
            status=person.status,
            created_at=datetime.combine(SINCE, time(), SANTIAGO) + timedelta(days=person.first),
        )
        numbers[person] = row["member_id"]
    for each in ALL_EVENTS:
        await event(
            directory,
            member_id=numbers[each.person],
            event_type=each.event_type,
            platform=each.platform,
            room_id=each.room_id,
            occurred_at=each.at,
        )
    for person, number in numbers.items():
        if person.is_bot:
            await bots.mark_bot(number, actor="eva")
    first = min(each.day for each in ALL_EVENTS)
    await highlights.roll_up(first, until=UNTIL + timedelta(days=1))
    for person, number in numbers.items():
        if person.is_removed:
            await members.remove(number, actor="eva")


def within(since: date, until: date) -> list[RawEvent]:
    """Return the events of some days, both included."""
    return [each for each in EVENTS if since <= each.day <= until]
