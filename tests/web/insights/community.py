"""A small random community, and what its raw rows say about everybody, counted in Python."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random

import asyncpg

from community_directory.calendar import days_between, load_zone, today
from community_directory.queries import bots, highlights, members, participation
from community_directory.queries.participation import NewEvent
from tests.tables.rows import member

PEOPLE = 60
DAYS = 150
"""The days, up to yesterday, on which people join and are active."""
STATUSES = ("active",) * 6 + ("pending", "suspended", "banned", "not_member", "not_member")
HABITS = (
    # The chances of being active on a day: long ago, in the 28 days before, and in the last 28.
    (0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0),
    (0.3, 0.5, 0.1),
    (0.4, 0.4, 0.0),
    (0.3, 0.0, 0.2),
    (0.5, 0.0, 0.5),
    (0.2, 0.2, 0.2),
    (0.0, 0.6, 0.25),
    (0.0, 0.0, 0.5),
)
IS_MEMBER = ("pending", "active", "suspended")


async def make_community(directory: asyncpg.Pool, rng: Random) -> None:
    """Add people of every status, bots, removed and merged people, and roll their events up."""
    end = today()
    numbers: list[str] = []
    for number in range(PEOPLE):
        age = rng.randrange(1, DAYS)
        status = rng.choice(STATUSES)
        row = await member(
            directory,
            name=f"Person {number}",
            status=status,
            invited_by=rng.choice(numbers) if numbers and rng.random() < 0.8 else None,
            created_at=moment_of(rng, end - timedelta(days=age)),
        )
        numbers.append(row["member_id"])
        await participation.record_many(draw_events(rng, row["member_id"], age))
    await highlights.roll_up(end - timedelta(days=DAYS), until=end - timedelta(days=1))
    # A third of what happens to people happens after their days were rolled up.
    await hide_some_people(numbers)


async def hide_some_people(numbers: Sequence[str]) -> None:
    """Mark some people as bots, remove some, merge some, and ban one."""
    for number in numbers[3::15]:
        await bots.mark_bot(number, actor="eva")
    for number in numbers[5::12]:
        await members.remove(number, actor="eva")
    for number in numbers[7::18]:
        into = next(each for each in numbers if each not in {*numbers[3::15], *numbers[5::12]})
        await members.merge(number, into=into, actor="eva")
    for number in numbers[9::25]:
        if (await members.get(number)).status != "banned":
            await members.set_status(number, "banned", actor="eva")


def moment_of(rng: Random, day: date) -> datetime:
    """Return a random moment of a day in the community's time zone."""
    days = days_between(day, day, None)
    return days.starts[0] + (days.end - days.starts[0]) * rng.random()


def draw_events(rng: Random, member_id: str, age: int) -> list[NewEvent]:
    """Return the events of somebody who joined so many days ago."""
    habit = rng.choice(HABITS)
    events: list[NewEvent] = []
    busyness = rng.choice((1, 3, 12, 40))
    for ago in range(1, age + 1):
        if rng.random() >= habit[0 if ago > 56 else 1 if ago > 28 else 2]:
            continue
        for _ in range(rng.randint(1, busyness)):
            at = moment_of(rng, today() - timedelta(days=ago))
            events.append(
                NewEvent(
                    member_id=member_id,
                    event_type=rng.choice(("MESSAGE", "MESSAGE", "REACTION")),
                    platform="telegram",
                    room_id="-1001",
                    source_id=f"{member_id}-{len(events)}",
                    occurred_at=at,
                )
            )
    if rng.random() < 0.3 and habit[2]:
        day = today() - timedelta(days=rng.randint(1, min(age, 28)))
        events.append(
            NewEvent(
                member_id=member_id,
                event_type="VOICE",
                platform="discord",
                room_id="7",
                source_id=f"{member_id}-voice",
                occurred_at=moment_of(rng, day),
                metadata={"duration_seconds": 0},
            )
        )
    return events


@dataclass
class RawDirectory:
    """The rows of people, invitations and events as they are stored, and what follows from them.

    Attributes:
        people: The rows of all members by number.
        invitations: The rows of all invitations.
        joined: The local day on which somebody became a member, by number.
        approved: When somebody was approved, by number.
        active: The local days on which people were active.
        contributions: The messages and reactions by person and day.
        messages: The local days on which people wrote messages.
    """

    people: dict[str, asyncpg.Record]
    invitations: list[asyncpg.Record]
    joined: dict[str, date]
    approved: dict[str, datetime]
    active: dict[str, set[date]] = field(default_factory=lambda: defaultdict(set))
    contributions: Counter[tuple[str, date]] = field(default_factory=Counter)
    messages: dict[str, set[date]] = field(default_factory=lambda: defaultdict(set))

    def is_present(self, number: str) -> bool:
        """Tell whether somebody is in the lists: no bot, and neither removed nor banned."""
        row = self.people[number]
        return not row["is_bot"] and row["deleted_at"] is None and row["status"] != "banned"

    def is_member(self, number: str) -> bool:
        """Tell whether somebody is present and more than a contact."""
        return self.is_present(number) and self.people[number]["status"] in IS_MEMBER

    def was_member(self, number: str) -> bool:
        """Tell whether somebody is or was a member: no bot, and not merged into somebody."""
        row = self.people[number]
        return number in self.joined and not row["is_bot"] and row["merged_into"] is None

    def is_gone(self, number: str) -> bool:
        """Tell whether somebody was a member and is none now."""
        return self.was_member(number) and not self.is_member(number)

    def weeks(self, number: str) -> set[int]:
        """Return the weeks after joining in which somebody was active."""
        return {(day - self.joined[number]).days // 7 + 1 for day in self.active[number]}

    def months(self, number: str) -> set[int]:
        """Return the months after joining in which somebody was active."""
        joined = self.joined[number]
        return {
            12 * (day.year - joined.year) + day.month - joined.month for day in self.active[number]
        }

    def active_days(self, number: str, since: date, until: date) -> int:
        """Return the number of days on which somebody was active in a period."""
        return sum(since <= day <= until for day in self.active[number])

    def contributed(self, number: str, since: date, until: date) -> int:
        """Return the messages and reactions of somebody in a period."""
        return sum(
            made
            for (who, day), made in self.contributions.items()
            if who == number and since <= day <= until
        )

    def joined_between(self, number: str, since: date, until: date) -> bool:
        """Tell whether somebody became a member in a period."""
        return number in self.joined and since <= self.joined[number] <= until


async def read_raw_directory(directory: asyncpg.Pool) -> RawDirectory:
    """Read the rows of people, invitations and events, and when people became members."""
    zone = load_zone(None)
    rows = await directory.fetch("SELECT * FROM community_members")
    milestones = await directory.fetch("SELECT * FROM member_milestones")
    raw = RawDirectory(
        {row["member_id"]: row for row in rows},
        await directory.fetch("SELECT * FROM community_invitations"),
        {
            row["member_id"]: row["joined_at"].astimezone(zone).date()
            for row in milestones
            if row["joined_at"]
        },
        {row["member_id"]: row["approved_at"] for row in milestones if row["approved_at"]},
    )
    for event in await directory.fetch("SELECT * FROM member_participation"):
        number, day = event["member_id"], event["occurred_at"].astimezone(zone).date()
        raw.active[number].add(day)
        if event["event_type"] != "VOICE":
            raw.contributions[number, day] += 1
        if event["event_type"] == "MESSAGE":
            raw.messages[number].add(day)
    return raw
