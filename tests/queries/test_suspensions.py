"""A suspension may have an end, at which the clock makes the member active again."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from community_directory.errors import InvalidInput, StatusChangeRefused
from community_directory.queries import audit, members
from community_directory.queries.audit import ChangeKind
from community_directory.tables import MemberStatus
from tests.tables import rows

FRIDAY = datetime(2190, 1, 1, tzinfo=UTC)
SUNDAY = FRIDAY + timedelta(days=2)
PAST = datetime(2026, 1, 1, tzinfo=UTC)


async def suspended(directory: asyncpg.Pool, until: datetime | None, **columns: object) -> str:
    row = await rows.member(directory, status="suspended", suspended_until=until, **columns)
    return str(row["member_id"])


async def kinds(number: str = "#1") -> list[ChangeKind]:
    return [change.kind for change in (await audit.history(number)).items]


async def test_a_suspension_has_an_end_that_can_be_changed(directory: asyncpg.Pool) -> None:
    await rows.member(directory, status="active")
    for until in (FRIDAY, SUNDAY, None, FRIDAY):
        member = await members.set_status(1, "suspended", actor="eva", until=until)
        assert (member.status, member.suspended_until) == (MemberStatus.SUSPENDED, until)
        assert await members.get(1) == member
        with pytest.raises(StatusChangeRefused, match="already suspended"):
            await members.set_status(1, "suspended", actor="eva", until=until)
    assert await kinds() == [
        *[ChangeKind.SUSPENSION_CHANGED] * 3,
        ChangeKind.MEMBER_SUSPENDED,
        ChangeKind.MEMBER_ADDED,
    ]
    with pytest.raises(StatusChangeRefused):  # somebody who saw an active member decided otherwise
        await members.set_status(1, "suspended", actor="luis", until=SUNDAY, before=["active"])


@pytest.mark.parametrize("status", ["active", "banned"])
async def test_whoever_is_not_suspended_any_more_has_no_end(
    directory: asyncpg.Pool, status: str
) -> None:
    await suspended(directory, FRIDAY)
    await directory.execute("UPDATE community_members SET status = $1", status)
    assert (await members.get(1)).suspended_until is None


@pytest.mark.parametrize(
    ("status", "until", "message"),
    [
        ("active", FRIDAY, r"Only a suspension has an end\."),
        ("suspended", PAST, "must end in the future"),
        ("suspended", FRIDAY.replace(tzinfo=None), "time zone"),
        ("suspended", "tomorrow", "time zone"),
        ("suspended", datetime(2200, 1, 1, tzinfo=UTC), "2000 to 2199"),
    ],
)
async def test_an_end_that_makes_no_sense_is_refused(
    directory: asyncpg.Pool, status: str, until: datetime, message: str
) -> None:
    await rows.member(directory, status="active")
    with pytest.raises(InvalidInput, match=message) as refused:
        await members.set_status(1, status, actor="eva", until=until)
    assert refused.value.field in {"until", "suspended_until"}
    assert await kinds() == [ChangeKind.MEMBER_ADDED]


async def test_the_clock_ends_suspensions_once(directory: asyncpg.Pool) -> None:
    overdue = [await suspended(directory, PAST) for _ in range(10)]
    others = [
        await suspended(directory, FRIDAY),
        await suspended(directory, None),
        await suspended(directory, PAST, deleted_at=PAST),
    ]
    ended = await asyncio.gather(*(members.end_suspensions() for _ in range(4)))
    assert sum(ended) == len(overdue)
    for number in overdue:
        member = await members.get(number)
        assert (member.status, member.suspended_until) == (MemberStatus.ACTIVE, None)
        [change, _] = (await audit.history(number)).items
        assert (change.kind, change.actor, change.reason) == (
            ChangeKind.MEMBER_REINSTATED,
            "clock",
            "The suspension ended on the date that was set.",
        )
    for number in others:
        assert await kinds(number) == [ChangeKind.MEMBER_ADDED]
    await members.restore(others[-1], actor="eva")
    assert await members.end_suspensions() == 1


async def test_a_program_that_has_just_seen_the_member_sees_that_the_suspension_ended(
    directory: asyncpg.Pool,
) -> None:
    await suspended(directory, PAST, telegram_id="101")
    for status in (MemberStatus.SUSPENDED, MemberStatus.ACTIVE):
        member = await members.seen(telegram_id=101, name="Ana")
        assert member is not None
        assert member.status is status
        await members.end_suspensions()


@pytest.mark.parametrize(
    ("of_duplicate", "of_other", "merged"),
    [
        (("suspended", FRIDAY), ("suspended", SUNDAY), SUNDAY),
        (("suspended", SUNDAY), ("suspended", FRIDAY), SUNDAY),
        (("suspended", FRIDAY), ("suspended", None), None),
        (("suspended", None), ("suspended", FRIDAY), None),
        (("suspended", FRIDAY), ("active", None), FRIDAY),
        (("suspended", FRIDAY), ("banned", None), None),
        (("active", None), ("suspended", FRIDAY), FRIDAY),
    ],
)
async def test_of_two_suspensions_a_merge_keeps_the_longer_one_and_an_unmerge_both(
    directory: asyncpg.Pool,
    of_duplicate: tuple[str, datetime | None],
    of_other: tuple[str, datetime | None],
    merged: datetime | None,
) -> None:
    for number, (status, until) in enumerate((of_other, of_duplicate), 101):
        await rows.member(directory, telegram_id=str(number), status=status, suspended_until=until)
    await members.merge(2, into=1, actor="eva")
    assert (await members.get(1)).suspended_until == merged
    undone = await members.unmerge(2, actor="eva")
    assert undone.left == ()
    for found, expected in ((1, of_other), (2, of_duplicate)):
        member = await members.get(found)
        assert (member.status, member.suspended_until) == expected


async def test_a_suspension_that_ended_since_the_merge_stays_ended(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="101", status="active")
    await rows.member(directory, telegram_id="102", status="suspended", suspended_until=PAST)
    await members.merge(2, into=1, actor="eva")
    assert await members.end_suspensions() == 1
    assert (await members.unmerge(2, actor="eva")).left == (
        "The status of #1 was changed since, and stays.",
    )
    assert (await members.get(1)).status is MemberStatus.ACTIVE
