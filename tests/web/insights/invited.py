"""A small random community of people who were invited, and what its raw rows say of them."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random

import asyncpg

from community_directory.calendar import days_between, load_zone, today
from community_directory.queries import bots, highlights, members, participation
from community_directory.queries.participation import NewEvent
from tests.tables.rows import invitation, member

INVITERS = 24
"""More than have a row of their own."""
GUESTS = 100
DAYS = 430
"""The days up to yesterday: they have each day of a year, also those on which the clocks change."""
HABITS = (0.0, 0.05, 0.2, 0.2, 0.6)
"""The chances of being active on a day."""
MEMBER_STATUSES = ("pending", "active", "suspended")


async def make_invited_community(directory: asyncpg.Pool, rng: Random) -> None:
    """Add inviters and guests with their invitations and events, and roll the events up."""
    end = today()
    inviters = [
        (await member(directory, status="active", created_at=_moment(rng, DAYS)))["member_id"]
        for _ in range(INVITERS)
    ]
    guests = []
    for _ in range(GUESTS):
        # The first inviters bring most people.
        inviter = inviters[rng.randrange(rng.choice((4, INVITERS)))]
        guests.append(await _add_guest(directory, rng, inviter, rng.choice(inviters)))
    await highlights.roll_up(end - timedelta(days=DAYS), until=end - timedelta(days=1))
    for number in guests[3::15]:
        await bots.mark_bot(number, actor="eva")
    for number in guests[5::12]:
        await members.remove(number, actor="eva")
    for number in guests[7::18]:
        await members.merge(number, into=guests[0], actor="eva")


def _moment(rng: Random, ago: int) -> datetime:
    """Return a moment of a day in the community's zone, often right before or after midnight."""
    day = today() - timedelta(days=ago)
    span = days_between(day, day, None)
    moments = (
        span.starts[0],
        span.end - timedelta(seconds=1),
        span.starts[0] + (span.end - span.starts[0]) * rng.random(),
    )
    return rng.choice(moments)


def _choose_age(rng: Random) -> int:
    """Choose how many days ago somebody joined: often at the end or the beginning of a month."""
    at_edges = [
        ago for ago in range(1, DAYS) if (today() - timedelta(days=ago)).day in (1, 28, 29, 30, 31)
    ]
    return rng.choice((rng.choice(at_edges), rng.randrange(1, DAYS), rng.randrange(1, 90)))


async def _add_guest(directory: asyncpg.Pool, rng: Random, inviter: str, other_inviter: str) -> str:
    """Add somebody with their invitation and events, and an invitation that nobody accepted."""
    age = _choose_age(rng)
    joined = _moment(rng, age)
    status = rng.choice(("active",) * 8 + ("pending", "suspended", "banned", "not_member"))
    row = await member(
        directory, status="pending", invited_by=inviter, created_at=joined, name=f"Guest {age}"
    )
    number: str = row["member_id"]
    for after in ("active", status) if status == "suspended" else (status,):
        await directory.execute(
            "UPDATE community_members SET status = $2 WHERE member_id = $1 AND status <> $2",
            number,
            after,
        )
    if status in ("active", "suspended"):
        approved = min(joined + timedelta(hours=rng.choice((0, 5, 40))), datetime.now(UTC))
        await directory.execute(
            "UPDATE member_milestones SET approved_at = $2 WHERE member_id = $1", number, approved
        )
    await _invite(directory, rng, inviter, joined, number)
    if rng.random() < 0.1:  # they were declined, and invited again
        again = min(joined + timedelta(days=rng.choice((1, 40))), datetime.now(UTC))
        await _invite(directory, rng, other_inviter, again, number)
    if rng.random() < 0.4:
        await _invite(directory, rng, other_inviter, joined, None)
    habit = rng.choice(HABITS)
    days = [ago for ago in range(1, min(age + 40, DAYS)) if rng.random() < habit]
    await participation.record_many(
        NewEvent(
            member_id=number,
            event_type=rng.choice(("MESSAGE", "REACTION", "VOICE")),
            platform="telegram",
            room_id="-1001",
            source_id=f"{number}-{ago}",
            occurred_at=_moment(rng, ago),
            metadata={"duration_seconds": 0},
        )
        for ago in days
    )
    return number


async def _invite(
    directory: asyncpg.Pool, rng: Random, inviter: str, accepted: datetime, guest: str | None
) -> None:
    created = accepted - timedelta(hours=rng.choice((1, 30, 71)))
    accepted_by = {"accepted_by": guest, "accepted_at": accepted, "status": "accepted"}
    await invitation(
        directory,
        created_by=inviter,
        created_at=created,
        expires_at=created + timedelta(days=3),
        **(accepted_by if guest and guest != inviter else {}),
    )


@dataclass
class RawInvited:
    """The rows of people, invitations and events, and what follows from them.

    Attributes:
        people: The rows of all members by number.
        invitations: The rows of all invitations.
        joined: The local day on which somebody became a member, by number.
        approved: When somebody was approved, by number.
        active: The local days on which people were active.
        messages: The local days on which people wrote messages.
    """

    people: dict[str, asyncpg.Record]
    invitations: list[asyncpg.Record]
    joined: dict[str, date]
    approved: dict[str, datetime]
    active: dict[str, set[date]] = field(default_factory=lambda: defaultdict(set))
    messages: dict[str, set[date]] = field(default_factory=lambda: defaultdict(set))

    def is_present(self, number: str) -> bool:
        """Tell whether somebody is no bot, and neither removed nor banned."""
        row = self.people[number]
        return not row["is_bot"] and row["deleted_at"] is None and row["status"] != "banned"

    def is_member(self, number: str) -> bool:
        """Tell whether somebody is present and more than a contact."""
        return self.is_present(number) and self.people[number]["status"] in MEMBER_STATUSES

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


async def read_raw_invited(directory: asyncpg.Pool) -> RawInvited:
    """Read the rows of people, invitations and events, and when people joined."""
    zone = load_zone(None)
    rows = await directory.fetch("SELECT * FROM community_members")
    milestones = await directory.fetch("SELECT * FROM member_milestones")
    raw = RawInvited(
        {row["member_id"]: row for row in rows},
        await directory.fetch("SELECT * FROM community_invitations"),
        {
            row["member_id"]: row["joined_at"].astimezone(zone).date()
            for row in milestones
            if row["joined_at"] is not None
        },
        {row["member_id"]: row["approved_at"] for row in milestones if row["approved_at"]},
    )
    for event in await directory.fetch("SELECT * FROM member_participation"):
        day = event["occurred_at"].astimezone(zone).date()
        raw.active[event["member_id"]].add(day)
        if event["event_type"] == "MESSAGE":
            raw.messages[event["member_id"]].add(day)
    return raw
