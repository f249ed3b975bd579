"""Exactly one person redeems a code, whatever concurrent calls change at that moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import asyncpg
import pytest

from community_directory.database import connect, engine, transaction
from community_directory.errors import (
    AlreadyMember,
    DatabaseUnavailable,
    DirectoryError,
    InvalidInput,
    InvitationCancelled,
    InvitationError,
    InvitationExpired,
    InvitationForSomeoneElse,
    InvitationNotFound,
    InvitationUsed,
    MemberBanned,
)
from community_directory.queries import invitations, members
from community_directory.queries.bans import make_fingerprint
from community_directory.queries.invitations import Redemption
from community_directory.queries.members import Member
from community_directory.queries.redemption import MAX_REDEMPTION_ATTEMPTS
from community_directory.settings import load_settings
from community_directory.tables import InvitationStatus, MemberStatus
from tests.conftest import raw_pool
from tests.roles import app_url
from tests.tables import rows
from tests.waiting import until_ended_or_waiting, until_waiting

SECONDS = 30
"""The time limit of a call: one that takes longer is stuck."""


async def inviter_without_quota() -> Member:
    """Return an active member who can manage."""
    member = await inviter()
    await rows.permission(pool(), member_id=member.member_id, permission="manage")
    return member


async def inviter(**columns: Any) -> Member:
    return await members.get(
        (await rows.member(pool(), **{"status": "active", **columns}))["member_id"]
    )


_pool: ContextVar[asyncpg.Pool] = ContextVar("pool")


@pytest.fixture(autouse=True)
async def pool_of_the_test(directory_url: str) -> AsyncIterator[None]:
    async with raw_pool(directory_url) as pool:
        _pool.set(pool)
        yield


def pool() -> asyncpg.Pool:
    """Return the test's own pool for raw SQL."""
    return _pool.get()


async def redeem(code: str, person: int | str = 1, **more: Any) -> Redemption:
    return await invitations.redeem(
        code, **{"telegram_id": str(person), "name": "Bea", "primary_role": "designer", **more}
    )


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> Member:
    """Return an active member."""
    return await inviter(name="Ana")


@pytest.fixture
async def code(ana: Member) -> str:
    """Return the code of Ana's open invitation."""
    return (await invitations.create(created_by=ana.member_id)).invitation_code


async def check_invariants(connection: asyncpg.Pool | asyncpg.Connection) -> None:
    """Check that no redemption is incomplete: each has a member, a time and an invitation."""
    assert not await connection.fetch(
        """
        SELECT * FROM community_invitations
        WHERE (status = 'accepted') <> (accepted_by IS NOT NULL)
            OR (accepted_by IS NULL) <> (accepted_at IS NULL)
        """
    )
    assert not await connection.fetch(
        """
        SELECT * FROM community_members AS member
        WHERE invited_by IS NOT NULL AND NOT EXISTS (
            SELECT FROM community_invitations
            WHERE accepted_by = member.member_id AND created_by = member.invited_by
        )
        """
    )


async def newcomers() -> list[str]:
    found = await pool().fetch(
        "SELECT telegram_id FROM community_members WHERE invited_by IS NOT NULL ORDER BY 1"
    )
    return [row[0] for row in found]


# One winner


async def test_a_newcomer_becomes_a_pending_member_with_their_inviter(
    ana: Member, code: str
) -> None:
    redemption = await redeem(
        code,
        "42",
        telegram_username="@bea",
        organization="Frutero",
        country="México",
        github_username="@beag",
        profile_data={"bio": "¡Hola!"},
    )
    member, invitation = redemption.member, redemption.invitation
    assert redemption.repeated is False
    assert (member.telegram_id, member.name, member.primary_role, member.status) == (
        "42",
        "Bea",
        "designer",
        "pending",
    )
    assert (member.telegram_username, member.organization, member.country) == (
        "bea",
        "Frutero",
        "México",
    )
    assert (member.github_username, member.github_verified, member.profile_data) == (
        "beag",
        False,
        {"bio": "¡Hola!"},
    )
    assert member.invited_by == ana.member_id == invitation.created_by
    assert (invitation.status, invitation.accepted_by) == (
        InvitationStatus.ACCEPTED,
        member.member_id,
    )
    assert invitation.accepted_at == member.created_at
    assert await members.get(member.member_id) == member
    assert await invitations.get(code) == invitation


async def test_the_log_names_the_person_who_redeemed(code: str) -> None:
    member = (await redeem(code, "42")).member
    entries = await pool().fetch(
        "SELECT actor, table_name, action FROM directory_audit_log"
        " WHERE actor LIKE 'telegram:%' ORDER BY id"
    )
    assert sorted(tuple(entry) for entry in entries) == [
        ("telegram:42", "community_invitations", "UPDATE"),
        ("telegram:42", "community_members", "INSERT"),
    ]
    assert member.telegram_id == "42"


async def two_hundred_callers(code: str) -> list[Redemption | BaseException]:
    barrier = asyncio.Barrier(10)

    async def connected() -> None:
        async with transaction():
            await barrier.wait()

    # All ten connections are open before the first call.
    await asyncio.wait_for(asyncio.gather(*(connected() for _ in range(10))), SECONDS)
    callers = [redeem(code, person) for person in range(1, 201)]
    return await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), SECONDS)


async def test_exactly_one_of_two_hundred_callers_joins(code: str) -> None:
    results = await two_hundred_callers(code)
    won = [result for result in results if isinstance(result, Redemption)]
    assert [redemption.repeated for redemption in won] == [False]
    assert {type(result) for result in results} == {Redemption, InvitationUsed}
    assert await newcomers() == [won[0].member.telegram_id]
    assert (await invitations.get(code)).accepted_by == won[0].member.member_id
    await check_invariants(pool())


async def test_fifty_concurrent_calls_of_one_person_all_return_the_same_member(
    code: str,
) -> None:
    results = await asyncio.wait_for(
        asyncio.gather(*(redeem(code, "42") for _ in range(50))), SECONDS
    )
    assert sorted(result.repeated for result in results) == [False] + [True] * 49
    member = await members.get_by_telegram_id("42")
    assert all(result.member == member for result in results)
    assert {result.invitation for result in results} == {await invitations.get(code)}
    assert await newcomers() == ["42"]


async def test_one_person_with_two_codes_at_once_uses_one(ana: Member) -> None:
    other = await inviter(name="Eva")
    for person in range(1, 11):
        codes = [
            (await invitations.create(created_by=creator.member_id)).invitation_code
            for creator in (ana, other)
        ]
        results = await asyncio.gather(
            *(redeem(code, person) for code in codes), return_exceptions=True
        )
        assert {type(result) for result in results} == {Redemption, AlreadyMember}
        statuses = [(await invitations.get(code)).status for code in codes]
        assert [status is InvitationStatus.ACCEPTED for status in statuses] == [
            isinstance(result, Redemption) for result in results
        ]
        assert InvitationStatus.PENDING in statuses
    assert len(await newcomers()) == 10
    await check_invariants(pool())


async def test_a_contact_with_two_codes_at_once_uses_one(ana: Member) -> None:
    await rows.permission(pool(), member_id=ana.member_id, permission="manage")
    for person in range(1, 11):
        await rows.member(pool(), telegram_id=str(person))
        codes = [
            (await invitations.create(created_by=ana.member_id)).invitation_code for _ in range(2)
        ]
        results = await asyncio.gather(
            *(redeem(code, person) for code in codes), return_exceptions=True
        )
        assert {type(result) for result in results} == {Redemption, AlreadyMember}
        assert {(await invitations.get(code)).status for code in codes} == {"accepted", "pending"}


# Two sessions, in both orders

Action: TypeAlias = Callable[[Member, str], Awaitable[object]]


async def pass_the_time(_ana: Member, code: str) -> None:
    await engine.fetch(
        "UPDATE community_invitations SET expires_at = now() - interval '1 second'"
        " WHERE invitation_code = $1",
        code,
    )


async def expire(ana: Member, code: str) -> None:
    await pass_the_time(ana, code)
    await invitations.expire_overdue()


def on_code(change: Callable[..., Awaitable[object]], *arguments: object) -> Action:
    return lambda _ana, code: change(code, *arguments)


def on_inviter(change: Callable[..., Awaitable[object]], *arguments: object) -> Action:
    return lambda ana, _code: change(ana.member_id, *arguments, actor="test")


def on_person(status: str) -> Action:
    return lambda _ana, _code: members.add(
        telegram_id="1", name="Bea", primary_role="developer", status=status
    )


# The change of another session, and the error of a redemption that comes after it
ACTIONS: dict[str, tuple[Action, type[DirectoryError] | None]] = {
    "cancel": (on_code(invitations.cancel), InvitationCancelled),
    "extend": (on_code(invitations.extend), None),
    "expire_overdue": (expire, InvitationExpired),
    "let the time pass": (pass_the_time, InvitationExpired),
    "suspend the inviter": (on_inviter(members.set_status, "suspended"), InvitationCancelled),
    "ban the inviter": (on_inviter(members.set_status, "banned"), InvitationCancelled),
    "remove the inviter": (on_inviter(members.remove), InvitationCancelled),
    "redeem by another": (on_code(redeem, "2"), InvitationUsed),
    "add the person": (on_person("active"), AlreadyMember),
    "add the person as a contact": (on_person("not_member"), None),
    "add the person as banned": (on_person("banned"), MemberBanned),
}


class TakenBackError(Exception):
    """Rolls back a transaction in which nothing failed."""


@asynccontextmanager
async def taken_back() -> AsyncIterator[None]:
    """Open a transaction that is rolled back at its end."""
    with contextlib.suppress(TakenBackError):
        async with transaction():
            yield
            raise TakenBackError


@asynccontextmanager
async def held(
    action: Coroutine[Any, Any, object], *, commit: bool
) -> AsyncIterator["asyncio.Future[object]"]:
    """Run the action in a transaction that is open inside the block, and ends after it."""
    done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    end = asyncio.Event()

    async def run() -> None:
        async with transaction() if commit else taken_back():
            done.set_result(await action)
            await end.wait()

    task = asyncio.create_task(run())
    await asyncio.wait_for(asyncio.shield(done), SECONDS)
    try:
        yield done
    finally:
        end.set()
        await asyncio.wait_for(task, SECONDS)


async def outcome(action: Awaitable[object]) -> object:
    """Return the type of the error, or None."""
    try:
        await action
    except DirectoryError as error:
        return type(error)
    return None


async def state(code: str) -> tuple[object, ...]:
    invitation = await invitations.get(code)
    person = await members.find_by_telegram_id("1")
    return invitation.status, person and (person.status, person.invited_by)


@pytest.mark.parametrize("commit", [True, False], ids=["commits", "rolls back"])
@pytest.mark.parametrize("redeem_first", [True, False], ids=["redeem first", "redeem second"])
@pytest.mark.parametrize("name", ACTIONS)
async def test_a_redemption_and_a_concurrent_change_end_as_if_one_came_after_the_other(  # noqa: PLR0917  pytest passes names
    directory: asyncpg.Pool, ana: Member, code: str, name: str, redeem_first: bool, commit: bool
) -> None:
    action, error = ACTIONS[name]

    async def redeeming() -> object:
        return await outcome(redeem(code))

    async def acting() -> object:
        return await outcome(action(ana, code))

    async def tried(
        *works: Callable[[], Awaitable[object]],
    ) -> tuple[dict[str, object], tuple[object, ...]]:
        """Return the results of both, one after the other, in a transaction that is rolled back."""
        async with taken_back():
            outcomes = {work.__name__: await work() for work in works}
            end = await state(code)
        return outcomes, end

    first, second = (redeeming, acting) if redeem_first else (acting, redeeming)
    if commit:
        serial = [await tried(redeeming, acting), await tried(acting, redeeming)]
        assert serial[1][0]["redeeming"] is error
    else:
        serial = [await tried(second)]

    async with directory.acquire() as observer:
        async with held(first(), commit=commit) as done:
            task = asyncio.ensure_future(second())
            await until_ended_or_waiting(task, observer)
        outcomes = {second.__name__: await asyncio.wait_for(task, SECONDS)}
    if commit:
        outcomes[first.__name__] = done.result()
    assert (outcomes, await state(code)) in serial
    accepted = (await invitations.get(code)).status is InvitationStatus.ACCEPTED
    assert accepted == (len(await newcomers()) == 1)
    await check_invariants(directory)


# Interruptions


async def nothing_happened(code: str) -> None:
    assert (await invitations.get(code)).status is InvitationStatus.PENDING
    assert await newcomers() == []


async def until_the_server_has_noticed(other: asyncpg.Connection) -> None:
    """Wait until the server has ended the connections that were cut."""
    pool = engine.pool
    assert pool is not None
    async with asyncio.timeout(SECONDS):
        while pool.get_size() != await other.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'community_directory'"
        ):
            await asyncio.sleep(0.01)
            await other.execute("SELECT pg_stat_clear_snapshot()")


async def test_a_caller_cancelled_while_waiting_for_the_lock_leaves_nothing_behind(
    database: str,
) -> None:
    other = await asyncpg.connect(database)
    async with connect(app_url(database), min_size=0, max_size=1):
        ana = await inviter()
        code = (await invitations.create(created_by=ana.member_id)).invitation_code
        async with other.transaction():
            await other.execute("SELECT FROM community_invitations FOR UPDATE")
            task = asyncio.create_task(redeem(code))
            await until_waiting(other)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, SECONDS)
            await until_the_server_has_noticed(other)
        await nothing_happened(code)
        assert (await asyncio.wait_for(redeem(code), SECONDS)).repeated is False
    await other.close()


async def test_a_caller_cancelled_at_any_point_leaves_nothing_or_everything(
    database: str,
) -> None:
    other = await asyncpg.connect(database)
    async with connect(app_url(database), min_size=1, max_size=1):
        ana = await inviter_without_quota()
        finished = 0
        for steps in range(40):
            code = (await invitations.create(created_by=ana.member_id)).invitation_code
            task = asyncio.create_task(redeem(code, steps + 1000))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            (result,) = await asyncio.wait_for(
                asyncio.gather(task, return_exceptions=True), SECONDS
            )
            finished += isinstance(result, Redemption)
            await until_the_server_has_noticed(other)
            accepted = (await invitations.get(code)).status is InvitationStatus.ACCEPTED
            assert accepted == (await members.find_by_telegram_id(steps + 1000) is not None)
            # The connection is free, and the code is open or used by the same person.
            again = await asyncio.wait_for(redeem(code, steps + 1000), SECONDS)
            assert again.repeated is accepted
        await check_invariants(pool())
    await other.close()


@pytest.mark.parametrize(
    "own_transaction", [False, True], ids=["alone", "in the caller's transaction"]
)
async def test_a_connection_that_is_lost_during_a_redemption_leaves_nothing_behind(
    database: str, own_transaction: bool
) -> None:
    other = await asyncpg.connect(database)

    async def caller(code: str) -> Redemption:
        if not own_transaction:
            return await redeem(code)
        async with transaction():
            return await redeem(code)

    async with connect(app_url(database), min_size=0, max_size=1):
        ana = await inviter()
        code = (await invitations.create(created_by=ana.member_id)).invitation_code
        async with other.transaction():
            await other.execute(
                "SELECT FROM community_members FOR UPDATE"
            )  # where the newcomer's inviter is checked
            task = asyncio.create_task(caller(code))
            await until_waiting(other)
            killed = await other.fetch(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
                """
            )
            assert len(killed) == 1
            with pytest.raises(DatabaseUnavailable):
                await asyncio.wait_for(task, SECONDS)
        await nothing_happened(code)
        assert (await asyncio.wait_for(caller(code), SECONDS)).repeated is False
    await other.close()


async def test_a_redemption_is_rolled_back_with_the_callers_transaction(code: str) -> None:
    async with taken_back():
        assert (await redeem(code)).repeated is False
        assert (await redeem(code)).repeated is True
    await nothing_happened(code)
    assert (
        await pool().fetchval(
            "SELECT count(*) FROM directory_audit_log WHERE actor LIKE 'telegram:%'"
        )
        == 0
    )
    assert (await redeem(code)).repeated is False


# Refusals


async def refused(
    error: type[DirectoryError], code: str, person: int | str = 1, **more: Any
) -> Any:
    """Return the error of a redemption, and check that it has changed nothing.

    A check of the same code and person raises the same error.
    """
    everything = """
        SELECT (SELECT array_agg(m::text) FROM community_members AS m), array_agg(i::text)
        FROM {} AS i
    """
    before = await pool().fetch(everything.format("community_invitations"))
    with pytest.raises(DirectoryError) as caught:
        await redeem(code, person, **more)
    assert type(caught.value) is error
    if more.keys() <= {"telegram_id", "telegram_username"}:
        with pytest.raises(DirectoryError) as checked:
            await invitations.check(code, **{"telegram_id": str(person), **more})
        assert describe(checked.value) == describe(caught.value)
    if isinstance(caught.value, InvitationError):
        assert caught.value.invitation_code == code
    assert await pool().fetch(everything.format("community_invitations")) == before
    return caught.value


def describe(error: BaseException) -> tuple[object, ...]:
    """Return everything that a program can know of an error."""
    return type(error), error.args, vars(error)


UNKNOWN = [
    "ABCDEFGH23456789",
    "",
    " ",
    "-",
    "SHORT",
    "ABCDEFGH234567890",
    "A" * 10_000_000,
    "ÁBCDEFGH",
    "ABCD\0EFGH",
]


@pytest.mark.parametrize(
    "unknown", [*UNKNOWN, "ABCDEFG\ud800", "'; DROP TABLE"], ids=range(len(UNKNOWN) + 2)
)
async def test_an_unknown_code_is_not_found(directory: asyncpg.Pool, unknown: str) -> None:
    error = await refused(InvitationNotFound, unknown)
    assert error.invitation_code == unknown


async def test_an_overdue_invitation_has_expired_before_the_job_runs(
    ana: Member, code: str
) -> None:
    await pass_the_time(ana, code)
    stored = await rows.fetch_row(pool(), "SELECT status, expires_at FROM community_invitations")
    assert stored["status"] == "pending"
    assert (await refused(InvitationExpired, code)).expired_at == stored["expires_at"]
    await invitations.expire_overdue()
    assert (await refused(InvitationExpired, code)).expired_at == stored["expires_at"]


async def test_a_member_who_was_removed_cannot_redeem_their_used_invitation_again(
    code: str,
) -> None:
    member = (await redeem(code)).member
    await members.remove(member.member_id, actor="test")
    await refused(InvitationUsed, code)


@pytest.mark.parametrize("username", [None, "", "@", "other", "ana_", "an"])
async def test_an_invitation_for_someone_else_is_refused(ana: Member, username: str | None) -> None:
    invitation = await invitations.create(created_by=ana.member_id, telegram_username="Ana")
    await refused(InvitationForSomeoneElse, invitation.invitation_code, telegram_username=username)


@pytest.mark.parametrize("invited", ["Ana_Garcia", "@ana_garcia", " @ANA_GARCIA "])
@pytest.mark.parametrize("username", ["ana_garcia", "@ANA_garcia"])
async def test_a_username_matches_in_any_case_with_or_without_its_at_sign(
    ana: Member, invited: str, username: str
) -> None:
    invitation = await invitations.create(created_by=ana.member_id, telegram_username=invited)
    assert (await redeem(invitation.invitation_code, telegram_username=username)).repeated is False


@pytest.mark.parametrize("typed", ["https://t.me/ana_dev", "t.me/Ana_Dev?a=b", "＠ana_dev"])
async def test_an_invitation_for_a_link_to_a_username_can_be_redeemed(
    ana: Member, typed: str
) -> None:
    invitation = await invitations.create(created_by=ana.member_id, telegram_username=typed)
    redeemed = await redeem(invitation.invitation_code, telegram_username="ana_dev")
    assert redeemed.member.telegram_username == "ana_dev"


@pytest.mark.parametrize("status", ["suspended", "banned"])
async def test_the_codes_of_an_inviter_who_becomes_active_again_are_open_again(
    ana: Member, code: str, status: str
) -> None:
    await members.set_status(ana.member_id, status, actor="test")
    await members.set_status(ana.member_id, "active", actor="test")
    assert (await redeem(code)).repeated is False


@pytest.mark.parametrize("status", ["pending", "active", "suspended"])
async def test_a_member_cannot_redeem(code: str, status: str) -> None:
    known = await rows.member(pool(), telegram_id="1", status=status)
    assert (await refused(AlreadyMember, code)).member_id == known["member_id"]


async def test_a_banned_person_cannot_redeem(code: str) -> None:
    known = await rows.member(pool(), telegram_id="1", status="banned")
    await refused(MemberBanned, code)
    await members.remove(known["member_id"], actor="test")
    await refused(MemberBanned, code)


async def test_a_banned_and_erased_person_cannot_redeem_even_after_their_row_was_added_again(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key of at least thirty-two characters")
    load_settings.cache_clear()
    await rows.member(pool(), telegram_id="1", name="written in by hand")
    await rows.member(pool(), telegram_id=f"banned:{make_fingerprint('1')}", status="banned")
    await refused(MemberBanned, code)
    with pytest.raises(MemberBanned):
        await members.add(telegram_id=1, name="Bea", primary_role="designer")


async def test_a_person_who_was_banned_after_joining_cannot_repeat_the_redemption(
    code: str,
) -> None:
    member = (await redeem(code)).member
    await members.set_status(member.member_id, "banned", actor="test")
    await refused(MemberBanned, code)


async def test_an_inviter_cannot_redeem_their_own_invitation(ana: Member, code: str) -> None:
    assert (await refused(AlreadyMember, code, ana.telegram_id)).member_id == ana.member_id


BAD: dict[str, dict[str, Any]] = {
    "an id with a space": {"telegram_id": "1 2"},
    "an id of ten million characters": {"telegram_id": "1" * 10_000_000},
    "an id that is none": {"telegram_id": 1.5},
    "a NUL": {"name": "Be\0a"},
    "a NUL in the id": {"telegram_id": "1\0"},
    "a lone surrogate": {"name": "Bea\ud800"},
    "a blank name": {"name": " "},
    "a number that is none": {"profile_data": {"a": float("nan")}},
    "spaces in a username": {"telegram_username": "a b"},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_an_invalid_value_is_a_clear_error_and_the_code_stays_open(
    code: str, bad: dict[str, Any]
) -> None:
    await refused(InvalidInput, code, **bad)
    assert (await redeem(code)).repeated is False


# Known persons


async def test_a_contact_becomes_pending_and_keeps_their_number(ana: Member, code: str) -> None:
    contact = await rows.member(
        pool(), telegram_id="1", name="B", organization="Frutero", country="México"
    )
    member = (await redeem(code, country="España", github_username="beag")).member
    assert member.member_id == contact["member_id"]
    assert (member.status, member.invited_by) == (MemberStatus.PENDING, ana.member_id)
    assert (
        member.name,
        member.primary_role,
        member.organization,
        member.country,
        member.github_username,
    ) == (
        "Bea",
        "designer",
        "Frutero",
        "España",
        "beag",
    )


async def test_a_contact_keeps_their_verified_github_account(ana: Member, code: str) -> None:
    contact = await rows.member(pool(), telegram_id="1")
    await members.verify_github(
        contact["member_id"], github_username="bea-dev", github_profile_data={}
    )
    member = (await redeem(code, github_username="somebody-else")).member
    assert (member.status, member.github_username, member.github_verified) == (
        "pending",
        "bea-dev",
        True,
    )


async def test_a_declined_person_can_join_with_another_code(ana: Member, code: str) -> None:
    member = (await redeem(code)).member
    await members.set_status(member.member_id, "not_member", actor="test")
    other = await inviter()
    again = await redeem((await invitations.create(created_by=other.member_id)).invitation_code)
    assert (again.member.member_id, again.member.status) == (member.member_id, MemberStatus.PENDING)
    assert again.member.invited_by == other.member_id


async def test_a_declined_person_cannot_join_with_the_same_code(code: str) -> None:
    member = (await redeem(code)).member
    await members.set_status(member.member_id, "not_member", actor="test")
    await refused(InvitationUsed, code)


async def test_a_removed_and_banned_person_cannot_redeem(code: str) -> None:
    known = await rows.member(pool(), telegram_id="1", status="active")
    await members.remove(known["member_id"], actor="test")
    await members.set_status(known["member_id"], "banned", actor="test")
    await refused(MemberBanned, code)


async def test_a_removed_contact_becomes_pending(code: str) -> None:
    contact = await rows.member(pool(), telegram_id="1")
    await members.remove(contact["member_id"], actor="test")
    member = (await redeem(code)).member
    assert (member.member_id, member.status, member.deleted_at) == (
        contact["member_id"],
        MemberStatus.PENDING,
        None,
    )


@pytest.mark.parametrize("status", ["pending", "active", "suspended"])
async def test_a_removed_member_comes_back_unchanged(code: str, status: str) -> None:
    known = await rows.member(
        pool(), telegram_id="1", status=status, primary_role="developer", reputation_score=700
    )
    before = await members.get(known["member_id"])
    await members.remove(before.member_id, actor="test")
    redemption = await redeem(
        code, name="Boss", primary_role="community_manager", organization="Other"
    )
    after = redemption.member
    assert after.deleted_at is None
    assert (
        after.member_id,
        after.status,
        after.name,
        after.primary_role,
        after.organization,
        after.invited_by,
    ) == (
        before.member_id,
        before.status,
        before.name,
        "developer",
        None,
        None,
    )
    assert after.reputation_score == 700
    assert redemption.invitation.accepted_by == before.member_id


async def test_a_contact_who_invited_their_inviter_cannot_close_a_circle(
    directory: asyncpg.Pool,
) -> None:
    contact = await rows.member(directory, telegram_id="1")
    creator = await inviter(invited_by=contact["member_id"])
    invitation = await invitations.create(created_by=creator.member_id)
    error = await refused(InvalidInput, invitation.invitation_code)
    assert error.field == "invited_by"


# The code

SPELLINGS: list[Callable[[str], str]] = [
    str.lower,
    lambda code: f" {code}\n",
    lambda code: "-".join(code[start : start + 4] for start in range(0, 16, 4)),
    lambda code: " ".join(code[start : start + 4] for start in range(0, 16, 4)).lower(),
    lambda code: f"{code[:8]}—{code[8:]}",
    lambda code: f"{code[:8]}\u00a0\u2011{code[8:]}",
]


@pytest.mark.parametrize("spell", SPELLINGS)
async def test_a_code_can_be_typed_in_lower_case_with_spaces_and_dashes(
    code: str, spell: Callable[[str], str]
) -> None:
    assert (await redeem(spell(code))).invitation.invitation_code == code
    assert (await redeem(spell(code))).repeated is True


@pytest.mark.parametrize(
    "foreign", ["0123456789abcdef", "deadbeef", "DEADBEEF", "AbCd1234", "12345678"]
)
async def test_a_code_of_another_program_is_found(ana: Member, foreign: str) -> None:
    await rows.invitation(pool(), created_by=ana.member_id, invitation_code=foreign)
    assert (await redeem(foreign)).invitation.invitation_code == foreign


async def test_a_code_in_the_typed_case_is_preferred(
    ana: Member,
) -> None:
    for code in ("deadbeef", "DEADBEEF"):
        await rows.invitation(pool(), created_by=ana.member_id, invitation_code=code)
    assert (await redeem("deadbeef", 1)).invitation.invitation_code == "deadbeef"
    # A used code is not replaced by the other one.
    await refused(InvitationUsed, "deadbeef", 2)
    assert (await redeem("DeadBeef", 2)).invitation.invitation_code == "DEADBEEF"


async def test_a_redemption_gives_up_when_the_invitation_keeps_changing(
    ana: Member, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, statements = engine.fetch, 0

    async def fetch(*statement: Any, **values: Any) -> list[Any]:
        # The invitation is overdue for each redemption, and open for each explanation.
        nonlocal statements
        statements += 1
        await original(
            "UPDATE community_invitations SET expires_at = now() + $1 * interval '1 day'",
            -1 if statements % 2 else 1,
        )
        return await original(*statement, **values)

    monkeypatch.setattr(engine, "fetch", fetch)
    with pytest.raises(
        DatabaseUnavailable, match=r"^The directory is busy\. Try again in a moment\.$"
    ):
        await asyncio.wait_for(redeem(code), SECONDS)
    assert statements == 2 * MAX_REDEMPTION_ATTEMPTS
