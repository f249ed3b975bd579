"""A community around days on which the clocks change, and what its raw rows say, in Python.

Nothing here reads what roll-ups have counted, or asks PostgreSQL for a day.
"""

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import asyncpg

from community_directory.queries import highlights, members, participation
from community_directory.queries.participation import NewEvent
from community_directory.tables import MemberStatus
from tests.tables import rows

PEOPLE = 60
SILENT = {41, 46, 51}
"""The people who join in the period, and never do anything."""
EARLIER_DAYS = 20
"""The days before the period before on which people join and are active, too."""
MEMBER = ("pending", "active", "suspended")
NOT_MEMBER, PENDING, ACTIVE, SUSPENDED, BANNED = (
    status.value
    for status in (
        MemberStatus.NOT_MEMBER,
        MemberStatus.PENDING,
        MemberStatus.ACTIVE,
        MemberStatus.SUSPENDED,
        MemberStatus.BANNED,
    )
)
CAREERS = (
    (PENDING, ACTIVE),
    (PENDING, ACTIVE),
    (ACTIVE,),
    (PENDING, ACTIVE, SUSPENDED),
    (NOT_MEMBER,),
    (NOT_MEMBER, PENDING, ACTIVE),
    (PENDING,),
    (PENDING, ACTIVE, BANNED),
    (PENDING, NOT_MEMBER),
    (PENDING, BANNED),
)
"""The statuses of people from first to last."""
HABITS = (
    (0, 0, 0),
    (0, 0, 0),
    (0.1, 0.2, 0.1),
    (0.4, 0.4, 0.1),
    (0, 0.6, 0.1),
    (0.4, 0, 0.3),
    (0, 0, 0.4),
)
"""The chances to be active on a day before the period before, in that one, and in the period."""
ROOMS = (("telegram", "-1001"), ("telegram", "-1002"), ("discord", "77"), ("discord", "1001"))
TYPES = ("MESSAGE",) * 8 + ("REACTION",) * 3 + ("PINNED", "VOICE")
Histories = dict[str, list[tuple[datetime, str]]]
"""The times and statuses of people by number, in order."""


@dataclass
class Person:
    """A person, with the times at which their statuses began.

    Attributes:
        history: The times and statuses, in order.
        row: The stored row, at the end.
    """

    number: str
    history: list[tuple[datetime, str]]
    row: asyncpg.Record

    @property
    def joined_at(self) -> datetime | None:
        """The time at which they first were more than a contact."""
        return next((at for at, status in self.history if status != NOT_MEMBER), None)

    @property
    def approved_at(self) -> datetime | None:
        """The time at which they first were active."""
        return next((at for at, status in self.history if status == ACTIVE), None)

    @property
    def counts(self) -> bool:
        """Whether they are a person of their own: no bot, and not merged into somebody."""
        return not self.row["is_bot"] and self.row["merged_into"] is None

    @property
    def is_present(self) -> bool:
        """Whether they are neither removed nor banned."""
        return self.counts and self.row["deleted_at"] is None and self.row["status"] != BANNED

    @property
    def is_member(self) -> bool:
        """Whether they are present, and more than a contact."""
        return self.is_present and self.row["status"] in MEMBER

    @property
    def is_gone(self) -> bool:
        """Whether they became a member once, and are none now."""
        return self.counts and self.joined_at is not None and not self.is_member

    def status_at(self, end: datetime) -> str | None:
        """Return the status before a moment; None if they were not there, or removed."""
        statuses = [status for at, status in self.history if at < end]
        removed = self.row["deleted_at"] is not None and self.row["deleted_at"] < end
        return statuses[-1] if statuses and self.counts and not removed else None


@dataclass
class RawRows:
    """The people, events and invitations of a directory.

    Attributes:
        since: The first day of the period.
        until: The last day of the period.
        active: The days on which people were active.
        messages: The messages by person and day.
        reactions: The reactions by person and day.
        stays: The stays in voice chats by person, in UTC.
    """

    zone: ZoneInfo
    since: date
    until: date
    people: dict[str, Person]
    events: list[asyncpg.Record]
    invitations: list[asyncpg.Record]
    active: dict[str, set[date]] = field(default_factory=lambda: defaultdict(set))
    messages: Counter[tuple[str, date]] = field(default_factory=Counter)
    reactions: Counter[tuple[str, date]] = field(default_factory=Counter)
    stays: dict[str, list[tuple[datetime, datetime]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def __post_init__(self) -> None:
        """Count the events."""
        for event in self.events:
            number, day = event["member_id"], self.day(event["occurred_at"])
            kind = event["event_type"]
            if kind == "MESSAGE":
                self.messages[number, day] += 1
            if kind == "REACTION":
                self.reactions[number, day] += 1
            if kind != "PINNED":
                self.active[number].add(day)
            if kind == "VOICE":
                self._add_stay(event)

    def _add_stay(self, event: asyncpg.Record) -> None:
        number, begin = event["member_id"], event["occurred_at"]
        end = begin + timedelta(seconds=json.loads(event["event_metadata"])["duration_seconds"])
        self.stays[number].append((begin, end))
        moment = begin
        while moment < end:
            self.active[number].add(self.day(moment))
            moment = self.end_of(self.day(moment))

    def day(self, moment: datetime) -> date:
        """Return the local day of a moment."""
        return moment.astimezone(self.zone).date()

    def start_of(self, day: date) -> datetime:
        """Return the first moment of a local day."""
        # The first minute of this date: around midnight, clocks may go back or forwards.
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
        while self.day(moment) < day:
            moment += timedelta(minutes=15)
        return moment

    def end_of(self, day: date) -> datetime:
        """Return the first moment after a local day."""
        return self.start_of(day + timedelta(days=1))

    @property
    def first_day(self) -> date:
        """The first day of which there are events."""
        return self.before[0] - timedelta(days=EARLIER_DAYS)

    @property
    def before(self) -> tuple[date, date]:
        """The first and the last day of the period before."""
        last = self.since - timedelta(days=1)
        return last - (self.until - self.since), last

    def days(self) -> list[date]:
        """Return the days of the period."""
        return [
            self.since + timedelta(days=number)
            for number in range((self.until - self.since).days + 1)
        ]

    def includes(self, moment: datetime | None) -> bool:
        """Tell whether a moment is in the period."""
        return moment is not None and self.since <= self.day(moment) <= self.until

    def present(self) -> list[Person]:
        """Return those who are present."""
        return [person for person in self.people.values() if person.is_present]

    def joined(self) -> list[Person]:
        """Return those who joined in the period, and are members now or gone."""
        return [
            person
            for person in self.people.values()
            if person.counts and self.includes(person.joined_at)
        ]

    def active_days(self, person: Person, since: date, until: date) -> int:
        """Return the number of days on which somebody was active."""
        return sum(since <= day <= until for day in self.active[person.number])

    def contributions(self, person: Person) -> int:
        """Return the messages and reactions of somebody in the period."""
        return sum(
            self.messages[person.number, day] + self.reactions[person.number, day]
            for day in self.days()
        )

    def voice_minutes(self, number: str, day: date) -> int:
        """Return the whole minutes of a day that somebody spent in voice chats."""
        begin, end = self.start_of(day), self.end_of(day)
        seconds, done = 0.0, begin
        for stay in sorted(self.stays[number]):
            entered, left = max(stay[0], done), min(stay[1], end)
            if entered < left:
                seconds, done = seconds + (left - entered).total_seconds(), left
        return int(seconds // 60)

    def first_message_day(self, person: Person) -> date | None:
        """Return the first day on which somebody wrote a message."""
        return min(
            (day for number, day in self.messages if number == person.number),
            default=None,
        )

    def was_active_in_week(self, person: Person, week: int) -> bool:
        """Tell whether somebody was active in a week after joining."""
        assert person.joined_at is not None
        first = self.day(person.joined_at) + timedelta(days=7 * (week - 1))
        return self.active_days(person, first, first + timedelta(days=6)) > 0

    def events_of_all(self) -> Iterator[tuple[asyncpg.Record, datetime]]:
        """Yield the events of the period, without those of bots, and their local times."""
        for event in self.events:
            local = event["occurred_at"].astimezone(self.zone)
            if self.includes(local) and not self.people[event["member_id"]].row["is_bot"]:
                yield event, local


async def make_community(
    directory: asyncpg.Pool, zone: ZoneInfo, since: date, until: date
) -> RawRows:
    """Add a community of this period, whose days are rolled up, and return its rows."""
    rng = Random(f"{zone} {since}")
    raw = RawRows(zone, since, until, {}, [], [])
    histories = await _add_people(directory, rng, raw)
    await _add_events(rng, raw, histories)
    await _hide_some(directory, rng, raw, list(histories))
    await _store_milestones(directory, histories)
    await _add_invitations(directory, rng, raw)
    recently = datetime.now(zone).date()
    days = (
        (raw.first_day, until),
        (
            recently - timedelta(days=30),
            recently - timedelta(days=1),
        ),
    )
    for first, last in days:
        await highlights.roll_up(first, until=last)
    return await read_rows(directory, raw, histories)


async def read_rows(directory: asyncpg.Pool, raw: RawRows, histories: Histories) -> RawRows:
    """Read the rows of a directory."""
    found = await directory.fetch("SELECT * FROM community_members")
    events = await directory.fetch("SELECT * FROM member_participation")
    invitations = await directory.fetch("SELECT * FROM community_invitations")
    people = {
        row["member_id"]: Person(row["member_id"], histories[row["member_id"]], row)
        for row in found
    }
    return RawRows(raw.zone, raw.since, raw.until, people, events, invitations)


async def _add_people(directory: asyncpg.Pool, rng: Random, raw: RawRows) -> Histories:
    histories: Histories = {}
    inviters: list[str] = []
    for index in range(PEOPLE):
        first = raw.since if index in SILENT else raw.first_day
        history = list(_draw_history(rng, raw, first, CAREERS[index % len(CAREERS)]))
        status = history[-1][1]
        person = await rows.member(
            directory,
            name=f"Person {index}",
            status=status,
            created_at=history[0][0],
            invited_by=rng.choice(inviters) if inviters and rng.random() < 0.8 else None,
            reputation_score=rng.choice((0, 150, 700, 2000)),
        )
        histories[person["member_id"]] = history
        if status == ACTIVE and len(inviters) < 5:
            inviters.append(person["member_id"])
        for (_, before), (at, after) in itertools.pairwise(history):
            await rows.audit_entry(
                directory,
                changed_at=at,
                row_id=person["id"],
                member_id=person["member_id"],
                changes={"status": [before, after]},
            )
    duplicate = await rows.member(directory, name="Duplicate", created_at=raw.start_of(raw.until))
    histories[duplicate["member_id"]] = [(duplicate["created_at"], NOT_MEMBER)]
    return histories


def _draw_history(
    rng: Random, raw: RawRows, first: date, career: Iterable[str]
) -> Iterator[tuple[datetime, str]]:
    """Yield the times and statuses: every third time is within a minute of a midnight."""
    at = _draw_moment(rng, raw, rng.choice((first, raw.since)), raw.until)
    for status in career:
        yield at, status
        later = raw.day(at) + timedelta(days=1)
        at = _draw_moment(rng, raw, later, later + timedelta(days=6))


def _draw_moment(rng: Random, raw: RawRows, first: date, last: date) -> datetime:
    day = first + timedelta(days=rng.randrange((last - first).days + 1))
    begin, end = raw.start_of(day), raw.end_of(day)
    if rng.random() < 0.3:
        return rng.choice((begin, begin + timedelta(seconds=40), end - timedelta(seconds=40)))
    return begin + (end - begin) * rng.random()


async def _store_milestones(directory: asyncpg.Pool, histories: Histories) -> None:
    """Store when people joined: triggers store the times of the inserts."""
    await directory.executemany(
        "INSERT INTO member_milestones (member_id, joined_at, approved_at) VALUES ($1, $2, $3)"
        " ON CONFLICT (member_id) DO UPDATE"
        " SET joined_at = EXCLUDED.joined_at, approved_at = EXCLUDED.approved_at",
        [
            (
                number,
                next((at for at, status in history if status != NOT_MEMBER), None),
                next((at for at, status in history if status == ACTIVE), None),
            )
            for number, history in histories.items()
        ],
    )


async def _add_events(rng: Random, raw: RawRows, histories: Histories) -> None:
    await participation.record_many(
        _draw_event(rng, number, at, source_id=str(index), may_be_stay=may_be_stay)
        for index, (number, at, may_be_stay) in enumerate(_draw_times(rng, raw, histories))
    )


def _draw_times(
    rng: Random, raw: RawRows, histories: Histories
) -> Iterator[tuple[str, datetime, bool]]:
    """Yield people and the times of their events, and whether a stay may begin then.

    Some people are always there, some come and go, and some never speak. Every other one does
    nothing before their last status began. A stay that begins on the last day could reach into a
    day that is not rolled up.
    """
    today = datetime.now(raw.zone).date()
    numbers = list(histories)
    for index, (number, history) in enumerate(histories.items()):
        chances = HABITS[0 if index in SILENT else index % len(HABITS)]
        first = raw.day(history[-1][0]) if index % 2 else raw.first_day
        for ahead in range((raw.until - first).days + 1):
            day = first + timedelta(days=ahead)
            if rng.random() < chances[(day >= raw.before[0]) + (day >= raw.since)]:
                for _ in range(rng.randint(1, 3)):
                    yield number, _draw_moment(rng, raw, day, day), day < raw.until
        if index % 4 == 0:  # yesterday, the first of the last 28 days, or the day before it
            day = today - timedelta(days=(1, 28, 29)[index // 4 % 3])
            yield number, _draw_moment(rng, raw, day, day), False
    # Every half hour of a day on which the clocks change has an event.
    for day in raw.days():
        begin, end = raw.start_of(day), raw.end_of(day)
        if end - begin != timedelta(days=1):
            for half_hours in range(-4, (end - begin) // timedelta(minutes=30) + 4):
                yield rng.choice(numbers[:40]), begin + timedelta(minutes=30) * half_hours, True


def _draw_event(
    rng: Random, number: str, at: datetime, *, source_id: str, may_be_stay: bool
) -> NewEvent:
    kind = rng.choice(TYPES if may_be_stay else TYPES[:-1])
    platform, room_id = rng.choice(ROOMS)
    return NewEvent(
        member_id=number,
        event_type=kind,
        platform=platform,
        room_id=room_id,
        source_id=source_id,
        occurred_at=at,
        metadata={"duration_seconds": rng.choice((0, 59, 600, 4 * 3600))}
        if kind == "VOICE"
        else None,
    )


async def _add_invitations(directory: asyncpg.Pool, rng: Random, raw: RawRows) -> None:
    """Add invitations that were accepted, before or in the period, and some that were not."""
    for person in await directory.fetch(
        "SELECT member_id, invited_by, joined_at FROM community_members"
        " JOIN member_milestones USING (member_id)"
        " WHERE invited_by IS NOT NULL AND joined_at IS NOT NULL ORDER BY joined_at, member_id"
    ):
        if rng.random() < 0.8:
            wait = timedelta(hours=rng.choice((0.5, 1, 5, 6, 23, 30, 50, 72, 90)))
            await rows.invitation(
                directory,
                created_by=person["invited_by"],
                status="accepted",
                accepted_by=person["member_id"],
                accepted_at=person["joined_at"],
                created_at=person["joined_at"] - wait,
                expires_at=person["joined_at"] + timedelta(days=3),
            )
    for status in ("pending", "pending", "expired", "cancelled"):
        created = _draw_moment(rng, raw, raw.since, raw.until)
        await rows.invitation(
            directory,
            created_by="#1",
            status=status,
            created_at=created,
            expires_at=created + timedelta(days=3),
        )


async def _hide_some(
    directory: asyncpg.Pool, rng: Random, raw: RawRows, numbers: list[str]
) -> None:
    """Make some people bots, remove some in the period, and merge one into another."""
    for number in numbers[11::17]:
        await directory.execute(
            "UPDATE community_members SET is_bot = true, reputation_score = 0 WHERE member_id = $1",
            number,
        )
    for number in numbers[12::9]:
        await directory.execute(
            "UPDATE community_members SET deleted_at = $2 WHERE member_id = $1",
            number,
            _draw_moment(rng, raw, raw.since, raw.until),
        )
    await members.merge(numbers[-1], into=numbers[0], actor="eva")
