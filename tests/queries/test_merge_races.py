"""Merges at the same time as everything else: nothing is half merged, lost, or blocked for good."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from datetime import UTC, date, datetime
from functools import partial
from itertools import count, pairwise
from typing import Any, TypeVar

import asyncpg
import pytest

from community_directory.database import engine, transaction
from community_directory.errors import (
    AccountTaken,
    DatabaseUnavailable,
    DirectoryError,
    InvitationUsed,
    MemberMerged,
    MergeRefused,
    NotMerged,
    StatusChangeRefused,
)
from community_directory.queries import (
    accounts,
    audit,
    highlights,
    invitations,
    members,
    merge_rows,
    notes,
    participation,
    permissions,
    requests,
)
from community_directory.queries.merging import MAX_ATTEMPTS
from community_directory.queries.participation import NewEvent
from tests import cluster
from tests.queries.test_participation import (
    blocked,
)
from tests.tables import rows
from tests.waiting import start_during, until_blocked_by, until_waiting

DAY = date(2026, 1, 31)
MORNING = datetime(2026, 1, 31, 9, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "event_type": "MESSAGE",
    "platform": "telegram",
    "room_id": "-100",
    "occurred_at": MORNING,
}
MAX_RECORDED = 500
"""The number of events that one writer records beside merges."""
ENTITY = "0d7a4c1e-5b2f-4c3d-8e9f-a1b2c3d4e5f6"

# A row that names a merged member, or an account in a column that its member does not have.
FIND_HALVES = """
SELECT 'event', member_id FROM member_participation JOIN merged USING (member_id)
UNION ALL SELECT 'highlight', member_id FROM member_daily_highlights JOIN merged USING (member_id)
UNION ALL SELECT 'account', member_id FROM member_accounts JOIN merged USING (member_id)
UNION ALL SELECT 'permission', member_id FROM member_permissions JOIN merged USING (member_id)
UNION ALL SELECT 'invitation', member_id FROM community_invitations
    JOIN merged ON member_id IN (created_by, accepted_by)
UNION ALL SELECT 'child', merged.member_id FROM community_members AS child
    JOIN merged ON merged.member_id IN (child.invited_by, child.merged_into)
    WHERE child.member_id NOT IN (SELECT member_id FROM merged)
UNION ALL SELECT 'present', member_id FROM merged WHERE deleted_at IS NULL
UNION ALL SELECT 'column', member.member_id
    FROM community_members AS member, member_accounts_named(member) AS named
    LEFT JOIN member_accounts AS account USING (platform, account_id)
    WHERE named.proof <> 'stated' AND account.member_id IS DISTINCT FROM member.member_id
"""
FIND_WRONG_SCORES = """
WITH earned AS MATERIALIZED (
    SELECT member_id, sum(reputation_earned) AS points FROM member_daily_highlights GROUP BY 1
)
SELECT member_id, reputation_score, reputation_shortfall
FROM community_members LEFT JOIN earned USING (member_id)
WHERE merged_into IS NULL AND reputation_score - reputation_shortfall <> coalesce(points, 0)
"""

MERGED_TABLES = (
    "community_members",
    "community_invitations",
    "member_participation",
    "member_daily_highlights",
    "member_monthly_highlights",
    "member_daily_rooms",
    "member_monthly_rooms",
    "member_rooms",
    "member_milestones",
    "directory_hourly_counts",
    "member_accounts",
    "member_permissions",
    "directory_rolled_up_days",
    "directory_merges",
    "directory_merged_rows",
    "directory_audit_log",
)
NEWCOMER: dict[str, Any] = {"name": "Cy", "primary_role": "designer"}
NEW_ACCOUNTS = count(3000)

Call = Callable[[], Coroutine[Any, Any, object]]
Result = TypeVar("Result")


async def add_pair(directory: asyncpg.Pool) -> tuple[str, str]:
    """Add two members with events, an invitation and a permission each; return their numbers."""
    numbers = []
    for telegram_id in ("discord:5", "1001"):
        row = await rows.member(directory, telegram_id=telegram_id, status="active")
        numbers.append(row["member_id"])
        await rows.permission(directory, member_id=numbers[-1], permission="manage")
        for _ in range(2):
            await rows.invitation(directory, created_by=numbers[-1])
        for n in range(3):
            await participation.record(member_id=numbers[-1], source_id=n, **EVENT)
    return numbers[0], numbers[1]


async def check_whole(directory: asyncpg.Pool) -> None:
    """Check that nothing is left at a merged member, and that all counts agree with the events."""
    merged = """
        WITH merged AS MATERIALIZED (SELECT * FROM community_members WHERE merged_into IS NOT NULL)
    """
    assert await directory.fetch(merged + FIND_HALVES) == []
    await highlights.roll_up(DAY)
    assert await highlights.verify(DAY) == []
    assert await directory.fetch(FIND_WRONG_SCORES) == []


async def run_at_once(*calls: Call) -> list[object]:
    """Run calls at the same time, and return the results; only errors of the package are among."""
    results = await asyncio.wait_for(
        asyncio.gather(*(call() for call in calls), return_exceptions=True), 60
    )
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, DirectoryError):
            raise result
    return results


def merging(duplicate: str, into: str) -> Call:
    return lambda: members.merge(duplicate, into=into, actor="eva")


def unmerging(duplicate: str) -> Call:
    return lambda: members.unmerge(duplicate, actor="eva")


async def dump_all(directory: asyncpg.Pool) -> list[str]:
    """Return the rows of all tables that a merge writes."""
    return [
        await directory.fetchval(f"SELECT array_agg(t::text ORDER BY t::text)::text FROM {table} t")
        for table in MERGED_TABLES
    ]


class TakenBack(Exception):
    """Rolls back a transaction in which nothing failed."""


# Pairs of a merge and one other call, with the errors that the other call may raise


async def erase(number: str) -> None:
    await members.erase(number, actor="eva")


async def ban(number: str) -> None:
    await members.set_status(number, "banned", actor="eva")


async def suspend(number: str) -> None:
    await members.set_status(number, "suspended", actor="eva")


async def remove(number: str) -> None:
    await members.remove(number, actor="eva")


async def link(number: str) -> None:
    await accounts.link(number, "telegram", f"200{number[1:]}", actor="eva")


async def complete_link(number: str) -> None:
    code = (await accounts.begin_link(number)).code
    await accounts.complete_link(code, platform="discord", account_id=f"300{number[1:]}")


async def unlink(number: str) -> None:
    await accounts.link(number, "elizaos", ENTITY, actor="eva")
    await accounts.unlink("elizaos", ENTITY, actor="eva")


async def deliver(call: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Deliver events; each attempt of a merge to move those that are stored may refuse them."""
    for _ in range(MAX_ATTEMPTS):
        with suppress(DatabaseUnavailable):
            return await call()
    return await call()


async def record(number: str) -> None:
    for n in range(2, 6):
        await deliver(partial(participation.record, member_id=number, source_id=n, **EVENT))


async def record_many(number: str) -> None:
    events = [
        NewEvent(member_id=other, source_id=n, **EVENT)
        for n in range(2, 6)
        for other in (number, "#1", "#2")
    ]
    recorded = await deliver(partial(participation.record_many, events))
    assert recorded.unknown == []
    assert recorded.refused == []


async def roll_up(number: str) -> None:
    del number
    await highlights.roll_up(DAY)


async def invite(number: str) -> None:
    await invitations.create(created_by=number)


async def redeem(number: str) -> None:
    page = await invitations.list_page(status="pending")
    code = page.items[0].invitation_code
    child = await invitations.redeem(code, telegram_id=next(NEW_ACCOUNTS), **NEWCOMER)
    assert child.member.invited_by is not None


async def grant(number: str) -> None:
    await permissions.grant(number, "review", actor="eva", granted_by=number)


async def edit(number: str) -> None:
    await members.update_profile(number, country="Chile", profile_data={"discord_id": "7"})


async def verify_github(number: str) -> None:
    name = f"dev-{number[1:]}"
    await members.verify_github(number, github_username=name, github_profile_data={})


CALLS: dict[Callable[[str], Coroutine[Any, Any, None]], tuple[type[DirectoryError], ...]] = {
    ban: (MemberMerged, StatusChangeRefused),
    complete_link: (),
    edit: (MemberMerged,),
    erase: (),
    grant: (MemberMerged,),
    invite: (MemberMerged,),
    link: (),
    record: (),
    record_many: (),
    redeem: (),
    remove: (MemberMerged,),
    roll_up: (),
    suspend: (MemberMerged, StatusChangeRefused),
    unlink: (),
    verify_github: (MemberMerged,),
}


async def test_an_event_of_both_that_is_stored_while_events_move_is_one_event(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await add_pair(directory)
    await participation.record(member_id=first, source_id=9, **EVENT)
    fetch = engine.fetch
    came: list[asyncpg.Record] = []

    async def fetch_after_the_event(statement: Any, *arguments: Any, **values: Any) -> Any:
        if statement is merge_rows.MOVE_EVENTS and not came:
            came.append(
                await rows.event(directory, **EVENT | {"member_id": second, "source_id": "9"})
            )
        return await fetch(statement, *arguments, **values)

    monkeypatch.setattr(engine, "fetch", fetch_after_the_event)
    merged = await members.merge(first, into=second, actor="eva")
    assert len(came) == 1
    assert merged.moved.collapsed_events == 4
    await check_whole(directory)


@pytest.mark.parametrize("of_duplicate", [True, False], ids=["duplicate", "other"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
async def test_a_merge_and_another_call_at_once_leave_no_half(
    directory: asyncpg.Pool, call: Callable[[str], Coroutine[Any, Any, None]], of_duplicate: bool
) -> None:
    first, second = await add_pair(directory)
    for duplicate, into in ((first, second), (second, first)):
        number = duplicate if of_duplicate else into
        merged, other = await run_at_once(merging(duplicate, into), partial(call, number))
        assert other is None or isinstance(other, CALLS[call])
        await check_whole(directory)
        if isinstance(merged, DirectoryError):
            assert isinstance(merged, MergeRefused)
            assert call in {erase, remove}
            return
        undone, other = await run_at_once(unmerging(duplicate), partial(call, number))
        await check_whole(directory)
        if isinstance(undone, DirectoryError):
            assert isinstance(undone, MergeRefused)
            assert call is erase
            return


@pytest.mark.skipif(bool(cluster.CLUSTER_URL), reason="Citus ends the other session")
async def test_a_merge_that_is_ended_because_of_a_deadlock_is_done_once_more(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    into, duplicate = await add_pair(directory)
    lock = "SELECT FROM community_members WHERE member_id = $1 FOR KEY SHARE"
    again = """
        INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id)
        SELECT member_id, event_type, platform, room_id, source_id FROM member_participation
        WHERE member_id = $1 ON CONFLICT DO NOTHING
    """
    async with blocked(directory_url, lock, duplicate) as other:
        # The other session leaves it to the merge to find the deadlock.
        await other.execute("SET LOCAL deadlock_timeout = '8s'")
        merge = asyncio.create_task(merging(duplicate, into)())
        await until_blocked_by(other)
        await asyncio.wait_for(other.execute(again, duplicate), 20)
        await other.execute("COMMIT")
        assert isinstance(await asyncio.wait_for(merge, 20), members.Merge)
    await check_whole(directory)


@pytest.mark.parametrize("telegram_ids", [("discord:5", "1001"), ("1001", "1002")])
async def test_events_of_both_numbers_never_deadlock_with_merges(
    directory: asyncpg.Pool, telegram_ids: tuple[str, str]
) -> None:
    for telegram_id in telegram_ids:
        await rows.member(directory, telegram_id=telegram_id, status="active")
    sources, done = count(), asyncio.Event()

    async def record_all(*numbers: str) -> int:
        recorded = 0
        # Without an end, each merge would have more to move than the one before.
        while not done.is_set() and recorded < MAX_RECORDED:
            events = [
                NewEvent(member_id=number, source_id=next(sources), **EVENT) for number in numbers
            ]
            if len(events) == 1:
                event = {"member_id": numbers[0], "source_id": next(sources), **EVENT}
                assert await deliver(partial(participation.record, **event))
                recorded += 1
            else:
                recorded += len(
                    (await deliver(partial(participation.record_many, events))).inserted
                )
        return recorded

    async def merge_all() -> None:
        try:
            for duplicate, into in (("#1", "#2"), ("#2", "#1")) * 3:
                await members.merge(duplicate, into=into, actor="eva")
                await members.unmerge(duplicate, actor="eva")
        finally:
            done.set()

    counts = await run_at_once(
        merge_all,
        lambda: record_all("#1"),
        lambda: record_all("#2"),
        lambda: record_all("#1", "#2"),
        lambda: record_all("#2", "#1"),
    )
    assert [error for error in counts if isinstance(error, DirectoryError)] == []
    stored = await directory.fetchval("SELECT count(*) FROM member_participation")
    assert stored == sum(recorded for recorded in counts if isinstance(recorded, int))
    await check_whole(directory)


async def test_two_merges_in_both_directions_at_once_end_as_one(directory: asyncpg.Pool) -> None:
    for _ in range(5):
        first, second = await add_pair(directory)
        results = await run_at_once(merging(first, second), merging(second, first))
        refused = [result for result in results if isinstance(result, MergeRefused)]
        assert len(refused) == 1
        await check_whole(directory)
        into = await members.get(first)
        assert into.member_id == (await members.get(second)).member_id
        events = await participation.history(first)
        assert len(events.items) == 3
        await members.erase(first, actor="eva")


async def test_a_ring_of_merges_at_once_ends_as_one_member(directory: asyncpg.Pool) -> None:
    numbers = [
        (await rows.member(directory, telegram_id=str(n), status="active"))["member_id"]
        for n in range(1, 6)
    ]
    for number in numbers:
        await participation.record(member_id=number, source_id=number, **EVENT)
    ring = [merging(one, other) for one, other in pairwise([*numbers, numbers[0]])]
    results = await run_at_once(*ring)
    merged = [result for result in results if not isinstance(result, DirectoryError)]
    present = await directory.fetch("SELECT FROM community_members WHERE merged_into IS NULL")
    assert len(merged) + len(present) == len(numbers)
    await check_whole(directory)
    assert await directory.fetchval("SELECT count(*) FROM member_participation") == len(numbers)


async def test_two_undoings_of_one_merge_at_once_end_as_one(directory: asyncpg.Pool) -> None:
    first, second = await add_pair(directory)
    await members.merge(second, into=first, actor="eva")
    results = await run_at_once(unmerging(second), unmerging(second))
    assert sum(isinstance(result, NotMerged) for result in results) == 1
    assert (await members.get(second)).member_id == second
    await check_whole(directory)


# Orders that are certain: the second call waits for the first one


async def test_an_event_that_waits_for_a_merge_is_stored_for_the_other_one(
    directory: asyncpg.Pool,
) -> None:
    first, second = await add_pair(directory)
    other = {**EVENT, "platform": "discord"}
    batch = [NewEvent(member_id=number, source_id="b", **other) for number in (first, second)]
    async with directory.acquire() as observer:
        async with transaction():
            await members.merge(first, into=second, actor="eva")
            recording = asyncio.create_task(
                participation.record(member_id=first, source_id="a", **other), context=Context()
            )
            recording_many = asyncio.create_task(
                participation.record_many(batch), context=Context()
            )
            await until_waiting(observer, 2)
        stored, recorded = await recording, await recording_many
    assert stored is not None
    assert stored.member_id == second
    assert (len(recorded.inserted), len(recorded.duplicates)) == (1, 1)
    await check_whole(directory)


async def test_an_event_that_waits_for_an_undoing_is_stored_for_the_member_who_is_back(
    directory: asyncpg.Pool,
) -> None:
    first, second = await add_pair(directory)
    await members.merge(first, into=second, actor="eva")
    async with directory.acquire() as observer:
        async with transaction():
            await members.unmerge(first, actor="eva")
            recording = asyncio.create_task(
                participation.record(member_id=first, source_id="a", **EVENT), context=Context()
            )
            await until_waiting(observer)
        stored = await recording
    assert stored is not None
    assert stored.member_id == first
    await check_whole(directory)


async def test_a_merge_that_waits_for_an_erasure_is_refused(directory: asyncpg.Pool) -> None:
    first, second = await add_pair(directory)
    for duplicate, into in ((first, second), (second, first)):
        async with directory.acquire() as observer:
            async with transaction():
                await members.erase(first, actor="eva")
                merge = asyncio.create_task(merging(duplicate, into)(), context=Context())
                await until_waiting(observer)
            with pytest.raises(MergeRefused, match="was erased"):
                await merge
    await check_whole(directory)


async def test_a_merge_that_waits_for_a_ban_brings_the_ban(directory: asyncpg.Pool) -> None:
    first, second = await add_pair(directory)
    async with directory.acquire() as observer:
        async with transaction():
            await members.set_status(first, "banned", actor="eva")
            merge = asyncio.create_task(merging(first, second)(), context=Context())
            await until_waiting(observer)
        await merge
    assert (await members.get(second)).status == "banned"
    assert await permissions.of(second) == []


async def test_an_invitation_that_is_redeemed_while_it_moves_stays_accepted(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    first, second = await add_pair(directory)
    lock = "SELECT FROM community_members WHERE member_id = $1 FOR NO KEY UPDATE"
    async with blocked(directory_url, lock, first) as other:
        merge = asyncio.create_task(merging(first, second)(), context=Context())
        await until_blocked_by(other)
        # The merge has locked the invitations of before.
        invitation = await invitations.create(created_by=first)
        async with transaction() as redemption:
            code = invitation.invitation_code
            redeemed = await invitations.redeem(code, telegram_id="2001", **NEWCOMER)
            await other.execute("COMMIT")
            await until_blocked_by(redemption.connection)
        await merge
    moved = await invitations.get(code)
    accepted_by = redeemed.member.member_id
    assert (moved.created_by, moved.status, moved.accepted_by) == (second, "accepted", accepted_by)
    assert moved.accepted_at is not None
    with pytest.raises(InvitationUsed):
        await invitations.redeem(code, telegram_id="2002", **NEWCOMER)
    await members.unmerge(first, actor="eva")
    returned = await invitations.get(code)
    assert (returned.created_by, returned.accepted_by) == (first, accepted_by)
    await check_whole(directory)


@pytest.mark.parametrize("undoes", [False, True], ids=["merge", "unmerge"])
async def test_an_account_that_is_linked_to_somebody_else_while_it_moves_stays_there(
    directory: asyncpg.Pool, undoes: bool
) -> None:
    profile = {"profile_data": {"discord_id": "7"}}
    first = (await rows.member(directory, status="active", **profile))["member_id"]
    second = (await rows.member(directory, profile_data={"discord_id": "8"}))["member_id"]
    third = (await rows.member(directory, status="active"))["member_id"]
    if undoes:
        await members.merge(first, into=second, actor="eva")
    call = unmerging(first) if undoes else merging(first, second)
    link = accounts.link(third, "discord", 7, actor="eva")
    await (await start_during(directory, link, call()))
    [_, linked] = await accounts.of(third)
    assert (linked.account_id, linked.member_id) == ("7", third)
    if not undoes:
        await members.unmerge(first, actor="eva")
    assert [account.account_id for account in await accounts.of(third)][1:] == ["7"]
    await check_whole(directory)


@pytest.mark.parametrize("undoes", [False, True], ids=["merge", "unmerge"])
@pytest.mark.parametrize("write", ["request", "note"])
async def test_what_is_written_about_a_member_during_a_merge_is_about_the_present_one(
    directory: asyncpg.Pool, write: str, undoes: bool
) -> None:
    first, second = await add_pair(directory)
    if undoes:
        await members.merge(first, into=second, actor="eva")
    call = (unmerging(first) if undoes else merging(first, second))()
    assert await write_during(directory, call, write, first) == (first if undoes else second)


@pytest.mark.parametrize("undoes", [False, True], ids=["merge", "unmerge"])
@pytest.mark.parametrize("write", ["request", "note"])
async def test_what_is_written_about_an_earlier_number_during_a_merge_is_about_the_present_member(
    directory: asyncpg.Pool, write: str, undoes: bool
) -> None:
    first, second, third = [
        (await rows.member(directory, status="active"))["member_id"] for _ in range(3)
    ]
    await members.merge(first, into=second, actor="eva")
    if undoes:
        await members.merge(second, into=third, actor="eva")
    call = (unmerging(second) if undoes else merging(second, third))()
    written = await write_during(directory, call, write, first)
    assert written == (second if undoes else third)


async def write_during(
    directory: asyncpg.Pool, change: Awaitable[object], write: str, number: str
) -> str:
    """Write about a member while a change is not committed; return whom it is about."""
    call: Coroutine[Any, Any, object] = (
        requests.ask(number, "erasure", actor=number)
        if write == "request"
        else notes.add(number, "Called.", actor="eva")
    )
    await (await start_during(directory, change, call))
    table = "member_requests" if write == "request" else "member_notes"
    member_id: str = await directory.fetchval(f"SELECT member_id FROM {table}")
    return member_id


async def test_a_merge_that_fails_at_its_end_leaves_nothing(
    directory: asyncpg.Pool, directory_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await add_pair(directory)
    before = await dump_all(directory)
    fetch = engine.fetch

    async def fail_at_the_end(statement: Any, **values: Any) -> Any:
        if statement is merge_rows.STORE_BEFORE:
            raise ConnectionError
        return await fetch(statement, **values)

    monkeypatch.setattr(engine, "fetch", fail_at_the_end)
    with pytest.raises(ConnectionError):
        await members.merge(first, into=second, actor="eva")
    monkeypatch.undo()
    assert await dump_all(directory) == before


# A contact who proves an account


async def test_a_contact_who_types_a_code_is_merged_in_one_transaction(
    directory: asyncpg.Pool,
) -> None:
    ana = (await rows.member(directory, telegram_id="1001", status="active"))["member_id"]
    contact = (await rows.member(directory, telegram_id="discord:5"))["member_id"]
    await participation.record(account=("discord", "5"), source_id="1", **EVENT)
    before = await dump_all(directory)
    typed = {"platform": "discord", "account_id": "5"}
    with suppress(TakenBack):
        async with transaction():
            code = (await accounts.begin_link(ana)).code
            await accounts.complete_link(code, **typed)
            raise TakenBack
    assert await dump_all(directory) == before

    code = (await accounts.begin_link(ana)).code
    linked = await accounts.complete_link(code, **typed)
    assert (linked.member_id, linked.proof) == (ana, "platform")
    assert (await members.get(contact)).member_id == ana
    assert [event.source_id for event in (await participation.history(ana)).items] == ["1"]
    [entry] = [
        entry
        for entry in (await audit.history(ana)).items
        if entry.member_id == contact and entry.changes.get("merged_into")
    ]
    assert (entry.actor, entry.reason) == ("discord:5", accounts.PROVED_REASON)
    await members.unmerge(contact, actor="eva")
    assert (await members.get(contact)).telegram_id == "discord:5"


async def test_codes_of_a_contact_and_a_redemption_at_once_leave_one_member(
    directory: asyncpg.Pool,
) -> None:
    ana = (await rows.member(directory, telegram_id="1001", status="active"))["member_id"]
    for account_id in range(50, 55):
        await rows.member(directory, telegram_id=f"discord:{account_id}")
        code = (await accounts.begin_link(ana)).code
        invited = (await invitations.create(created_by=ana)).invitation_code
        await run_at_once(
            partial(accounts.complete_link, code, platform="discord", account_id=account_id),
            partial(invitations.redeem, invited, telegram_id=f"discord:{account_id}", **NEWCOMER),
        )
        await check_whole(directory)
        found = await members.find_by_account("discord", account_id)
        assert found is not None
        assert (found.member_id == ana) is not (found.status == "pending")


@pytest.mark.parametrize("joins", ["contact", "beginner"])
async def test_a_contact_who_joins_while_a_code_is_typed_is_not_merged(
    directory: asyncpg.Pool, joins: str
) -> None:
    statuses = ("active", "not_member") if joins == "contact" else ("not_member", "active")
    for telegram_id, status in zip(("1001", "discord:5"), statuses, strict=True):
        await rows.member(directory, telegram_id=telegram_id, status=status)
    joining = "discord:5" if joins == "contact" else "1001"
    await rows.member(directory, status="active")
    invitation = (await invitations.create(created_by="#3")).invitation_code
    code = (await accounts.begin_link("#1")).code
    redemption = invitations.redeem(invitation, telegram_id=joining, **NEWCOMER)
    typing = accounts.complete_link(code, platform="discord", account_id="5")
    linking = await start_during(directory, redemption, typing)
    with pytest.raises(AccountTaken) as taken:
        await linking
    assert taken.value.member_id == "#2"
    assert await directory.fetchval("SELECT count(*) FROM directory_merges") == 0
    [suggestion] = (await members.merge_suggestions()).items
    assert {suggestion.member.member_id, suggestion.other.member_id} == {"#1", "#2"}


async def test_a_contact_who_is_merged_while_a_code_is_typed_is_the_other_one(
    directory: asyncpg.Pool,
) -> None:
    for telegram_id, status in (
        ("1001", "active"),
        ("discord:5", "not_member"),
        ("1003", "active"),
    ):
        await rows.member(directory, telegram_id=telegram_id, status=status)
    code = (await accounts.begin_link("#1")).code
    merge = members.merge("#2", into="#3", actor="eva")
    typing = accounts.complete_link(code, platform="discord", account_id="5")
    linking = await start_during(directory, merge, typing)
    with pytest.raises(AccountTaken) as taken:
        await linking
    assert taken.value.member_id == "#3"
