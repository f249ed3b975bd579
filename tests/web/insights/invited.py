"""A small random community of people who were invited."""

from datetime import UTC, datetime, timedelta
from random import Random

import asyncpg

from community_directory.calendar import days_between, today
from community_directory.queries import highlights, participation
from community_directory.queries.participation import NewEvent
from tests.tables.rows import invitation, member
from tests.web.insights.community import hide_some_people

INVITERS = 24
"""More than have a row of their own."""
GUESTS = 100
DAYS = 430
"""The days up to yesterday: they have each day of a year, also those on which the clocks change."""
HABITS = (0.0, 0.05, 0.2, 0.2, 0.6)
"""The chances of being active on a day."""
STATUSES = (*("active",) * 8, "pending", "suspended", "banned", "not_member")


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
        other = rng.choice(inviters)
        guests.append(await _add_guest(directory, rng, inviter, other, age=_choose_age(rng)))
    # Whatever the dates are, each inviter has brought somebody, and somebody waits for week 4.
    for inviter in inviters:
        await _add_guest(
            directory, rng, inviter, inviter, age=rng.randrange(40, 360), status="active"
        )
    for inviter in inviters[:3]:
        await _add_guest(directory, rng, inviter, inviter, age=10, status="active", habit=0.9)
    # An invitation can still be accepted, and others never will be.
    for status in ("pending", "expired", "cancelled"):
        created = datetime.now(UTC) - timedelta(days=2)
        await invitation(
            directory,
            created_by=inviters[0],
            status=status,
            created_at=created,
            expires_at=created + timedelta(days=3),
        )
    await highlights.roll_up(end - timedelta(days=DAYS), until=end - timedelta(days=1))
    await hide_some_people(guests)


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


async def _add_guest(
    directory: asyncpg.Pool,
    rng: Random,
    inviter: str,
    other_inviter: str,
    *,
    age: int,
    status: str | None = None,
    habit: float | None = None,
) -> str:
    """Add somebody with their invitation and events, and an invitation that nobody accepted.

    Without a status and a habit, they have random ones.
    """
    joined = _moment(rng, age)
    status = status or rng.choice(STATUSES)
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
    habit = habit or rng.choice(HABITS)
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
