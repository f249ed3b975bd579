"""Invitations are created, found, listed, extended, cancelled and expired."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from community_directory.errors import (
    InvalidCursor,
    InvalidInput,
    InvitationCancelled,
    InvitationNotFound,
    InvitationUsed,
    MemberNotActive,
    MemberNotFound,
    PermissionRequired,
)
from community_directory.queries import invitations, members
from community_directory.queries.invitations import Invitation, InvitationStatistics
from community_directory.tables import InvitationStatus, Permission
from community_directory.tables.invitations import CODE_ALPHABET, new_code
from tests.tables import rows
from tests.zones import use_zone

SECONDS = 30
DAY = timedelta(days=1)


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> str:
    """Return the number of an active member."""
    number: str = (await rows.member(directory, status="active", name="Ana"))["member_id"]
    return number


@pytest.fixture
async def eva(directory: asyncpg.Pool) -> str:
    """Return the number of another active member."""
    number: str = (await rows.member(directory, status="active", name="Eva"))["member_id"]
    return number


async def move(directory: asyncpg.Pool, code: str, by: timedelta) -> None:
    """Move the expiry time of an invitation."""
    await directory.execute(
        "UPDATE community_invitations SET expires_at = expires_at + $2::interval"
        " WHERE invitation_code = $1",
        code,
        by,
    )


# Create


async def test_a_code_has_sixteen_characters_without_look_alikes() -> None:
    codes = {new_code() for _ in range(1000)}
    assert len(codes) == 1000
    assert {len(code) for code in codes} == {16}
    assert set("".join(codes)) == set(CODE_ALPHABET)
    assert not set(CODE_ALPHABET) & set("0O1ILU")


async def test_a_code_comes_from_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    choice: Callable[[str], str] = secrets.choice

    def record(alphabet: str) -> str:
        chosen.append(choice(alphabet))
        return chosen[-1]

    monkeypatch.setattr(secrets, "choice", record)
    assert new_code() == "".join(chosen)


async def test_an_invitation_is_open_for_three_days(ana: str) -> None:
    made = await invitations.create(created_by=ana)
    assert made.expires_at - made.created_at == timedelta(days=3)
    assert abs(datetime.now(UTC) - made.created_at) < timedelta(minutes=1)
    assert (made.created_by, made.status, made.invited_telegram_username) == (
        ana,
        InvitationStatus.PENDING,
        None,
    )
    assert (made.accepted_by, made.accepted_at) == (None, None)
    assert set(made.invitation_code) <= set(CODE_ALPHABET)
    assert await invitations.get(made.invitation_code) == made


async def test_an_id_that_the_caller_gives_makes_one_invitation(ana: str) -> None:
    given = UUID(int=7)
    created = await invitations.create(created_by=ana, invitation_id=given)
    assert created.invitation_id == given
    with pytest.raises(InvalidInput) as refused:
        await invitations.create(created_by=ana, invitation_id=given)
    assert refused.value.code == "community_invitations_pkey"
    assert (await invitations.list_page()).items == [created]


@pytest.mark.parametrize("valid_for", [timedelta(seconds=1), DAY, timedelta(days=365)])
async def test_the_inviter_can_set_the_validity(ana: str, valid_for: timedelta) -> None:
    made = await invitations.create(created_by=ana, valid_for=valid_for)
    assert made.expires_at - made.created_at == valid_for


WRONG = [
    timedelta(0),
    timedelta(microseconds=999_999),
    -DAY,
    timedelta(days=365, seconds=1),
    timedelta.max,
]


@pytest.mark.parametrize("valid_for", WRONG)
async def test_a_validity_outside_its_limits_is_refused(ana: str, valid_for: timedelta) -> None:
    made = await invitations.create(created_by=ana)
    with pytest.raises(InvalidInput) as error:
        await invitations.create(created_by=ana, valid_for=valid_for)
    assert error.value.field == "valid_for"
    with pytest.raises(InvalidInput):
        await invitations.extend(made.invitation_code, valid_for=valid_for)
    assert (await invitations.list_page()).items == [made]


@pytest.mark.parametrize("status", ["not_member", "pending", "suspended", "banned"])
async def test_only_an_active_member_can_invite(directory: asyncpg.Pool, status: str) -> None:
    inviter = await rows.member(directory, status=status)
    with pytest.raises(MemberNotActive) as error:
        await invitations.create(created_by=inviter["member_id"], required_permission="invite")
    assert (error.value.member_id, error.value.status) == (inviter["member_id"], status)
    assert str(error.value) == (
        "Only an active member can do this. "
        f"The status of member {inviter['member_id']} is {status.replace('_', ' ')}."
    )


async def test_a_permission_can_be_required(directory: asyncpg.Pool, ana: str) -> None:
    with pytest.raises(PermissionRequired) as error:
        await invitations.create(created_by=ana, required_permission="review")
    assert (error.value.member_id, error.value.permission) == (ana, "review")
    assert f"which member {ana} does not have" in str(error.value)

    await rows.permission(directory, member_id=ana, permission="invite")
    with pytest.raises(PermissionRequired):
        await invitations.create(created_by=ana, required_permission=Permission.REVIEW)
    made = await invitations.create(created_by=ana, required_permission=Permission.INVITE)
    assert made.created_by == ana


async def test_a_manager_has_every_permission_that_is_required(
    directory: asyncpg.Pool, ana: str
) -> None:
    await rows.permission(directory, member_id=ana, permission="manage")
    for permission in Permission:
        await invitations.create(created_by=ana, required_permission=permission)


async def test_an_own_role_is_no_permission(directory: asyncpg.Pool) -> None:
    eva = await rows.member(directory, status="active", primary_role="manage")
    with pytest.raises(PermissionRequired):
        await invitations.create(created_by=eva["member_id"], required_permission="manage")


@pytest.mark.parametrize("permission", ["community_manager", "", "x\0", 1])
async def test_an_unknown_permission_can_not_be_required(ana: str, permission: Any) -> None:
    with pytest.raises(InvalidInput) as error:
        await invitations.create(created_by=ana, required_permission=permission)
    assert error.value.field == "required_permission"


@pytest.mark.parametrize("number", ["#999", "", "999", "#1\0", "x" * 10_000])
async def test_an_unknown_inviter_is_refused(directory: asyncpg.Pool, number: str) -> None:
    with pytest.raises(InvalidInput if "\0" in number else MemberNotFound):
        await invitations.create(created_by=number)


async def test_a_removed_member_cannot_invite(ana: str) -> None:
    await members.remove(ana, actor="test")
    with pytest.raises(MemberNotFound) as error:
        await invitations.create(created_by=ana)
    assert error.value.member_id == ana


@pytest.mark.parametrize("username", ["a b", "@@a", "x" * 256, "a\0b"])
async def test_an_invalid_username_is_refused(ana: str, username: str) -> None:
    with pytest.raises(InvalidInput):
        await invitations.create(created_by=ana, telegram_username=username)
    assert (await invitations.list_page()).items == []


async def test_each_call_without_a_username_creates_another_invitation(ana: str) -> None:
    made = [
        await invitations.create(created_by=ana, telegram_username=name)
        for name in (None, "", "@", " ")
    ]
    assert len({invitation.invitation_code for invitation in made}) == 4


async def test_inviting_the_same_person_again_extends_the_same_code_and_never_shortens_it(
    ana: str, eva: str
) -> None:
    first = await invitations.create(created_by=ana, telegram_username="@Bea", valid_for=3 * DAY)
    longer = await invitations.create(created_by=ana, telegram_username="bea", valid_for=5 * DAY)
    shorter = await invitations.create(created_by=eva, telegram_username="BEA", valid_for=DAY)
    assert first.invitation_code == longer.invitation_code == shorter.invitation_code
    assert first.expires_at < longer.expires_at == shorter.expires_at
    assert shorter.created_by == ana
    assert (await invitations.list_page()).items == [shorter]


@pytest.mark.parametrize("swept", [False, True])
async def test_inviting_again_after_the_expiry_creates_a_new_code_whether_or_not_the_job_ran(
    directory: asyncpg.Pool, ana: str, eva: str, swept: bool
) -> None:
    old = await invitations.create(created_by=ana, telegram_username="bea")
    await move(directory, old.invitation_code, -10 * DAY)
    if swept:
        await invitations.expire_overdue()
    new = await invitations.create(created_by=eva, telegram_username="Bea")
    assert (new.created_by, new.status) == (eva, InvitationStatus.PENDING)
    assert new.invitation_code != old.invitation_code
    assert (await invitations.get(old.invitation_code)).status is InvitationStatus.EXPIRED


@pytest.mark.parametrize("end", ["suspended", "banned", "removed"])
async def test_a_code_of_an_inactive_inviter_does_not_prevent_another_invitation(
    ana: str, eva: str, end: str
) -> None:
    old = await invitations.create(created_by=ana, telegram_username="bea")
    if end == "removed":
        await members.remove(ana, actor="test")
    else:
        await members.set_status(ana, end, actor="test")
    new = await invitations.create(created_by=eva, telegram_username="Bea")
    assert (new.created_by, new.invitation_code != old.invitation_code) == (eva, True)
    assert (await invitations.get(old.invitation_code)).status is InvitationStatus.CANCELLED
    redeemed = await invitations.redeem(
        new.invitation_code,
        telegram_id="1",
        name="Bea",
        primary_role="designer",
        telegram_username="bea",
    )
    assert redeemed.member.invited_by == eva


async def test_a_refused_inviter_closes_no_other_invitation(
    ana: str, directory: asyncpg.Pool
) -> None:
    old = await invitations.create(created_by=ana, telegram_username="bea")
    await move(directory, old.invitation_code, -10 * DAY)
    stranger = await rows.member(directory, status="pending")
    with pytest.raises(MemberNotActive):
        await invitations.create(created_by=stranger["member_id"], telegram_username="bea")
    assert await directory.fetchval("SELECT status FROM community_invitations") == "pending"


@pytest.mark.parametrize("overdue", [False, True])
async def test_the_same_person_invited_twenty_times_at_once_gets_one_code(
    directory: asyncpg.Pool, ana: str, eva: str, overdue: bool
) -> None:
    if overdue:
        old = await invitations.create(created_by=ana, telegram_username="bea")
        await move(directory, old.invitation_code, -10 * DAY)
    work = [
        invitations.create(
            created_by=(ana, eva)[number % 2], telegram_username=("bea", "BEA")[number % 3 % 2]
        )
        for number in range(20)
    ]
    made = await asyncio.wait_for(asyncio.gather(*work), SECONDS)
    assert len({invitation.invitation_code for invitation in made}) == 1
    assert len((await invitations.list_page(status="pending")).items) == 1


async def test_the_log_names_the_inviter(directory: asyncpg.Pool, ana: str) -> None:
    await invitations.create(created_by=ana)
    await invitations.create(created_by=ana, actor="panel:eva", reason="a friend")
    entries = await directory.fetch(
        "SELECT actor, reason FROM directory_audit_log"
        " WHERE table_name = 'community_invitations' ORDER BY id"
    )
    assert [tuple(entry) for entry in entries] == [(ana, None), ("panel:eva", "a friend")]


# Find


@pytest.mark.parametrize(
    "code", ["ABCDEFGH23456789", "", "A" * 17, "ABCD EFGÁ", "ABCDEFGH\0", "ABCDEFG\udfff"]
)
async def test_a_malformed_code_is_not_found(directory: asyncpg.Pool, code: str) -> None:
    assert await invitations.find(code) is None
    for ask in (invitations.get, invitations.extend, invitations.cancel):
        with pytest.raises(InvitationNotFound) as error:
            await ask(code)
        assert error.value.invitation_code == code


async def test_a_code_is_found_however_it_was_typed(ana: str) -> None:
    made = await invitations.create(created_by=ana)
    code = made.invitation_code
    for typed in (code.lower(), f" {code[:4]}-{code[4:]} ", f"{code[:8]}\u2013{code[8:].lower()}"):
        assert await invitations.find(typed) == await invitations.get(typed) == made


# List


async def test_a_list_is_paged_newest_first_while_rows_are_added(
    directory: asyncpg.Pool, ana: str
) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(25):  # five at each moment
        await rows.invitation(directory, created_by=ana, created_at=moment + number // 5 * DAY)
    expected = await directory.fetch(
        "SELECT invitation_code FROM community_invitations"
        " ORDER BY created_at DESC, invitation_id DESC"
    )
    found: list[Invitation] = []
    cursor = None
    while True:
        page = await invitations.list_page(after=cursor, limit=4)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
        assert len(page.items) == 4
        await rows.invitation(directory, created_by=ana, created_at=moment + 99 * DAY)
    assert [invitation.invitation_code for invitation in found] == [row[0] for row in expected]


async def test_a_list_can_be_that_of_days_in_the_zone_of_the_community(
    directory: asyncpg.Pool, ana: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "Europe/Berlin")
    # The 25th of October has 25 hours there, from 22:00 UTC to 23:00 UTC.
    times = ["2026-10-24 21:59Z", "2026-10-24 22:00Z", "2026-10-25 22:59Z", "2026-10-25 23:00Z"]
    codes = [
        (await rows.invitation(directory, created_by=ana, created_at=datetime.fromisoformat(at)))[
            "invitation_code"
        ]
        for at in times
    ]
    days: list[tuple[Any, Any, list[str]]] = [
        ("2026-10-25", date(2026, 10, 25), codes[1:3]),
        (None, "2026-10-24", codes[:1]),
        ("2026-10-26", None, codes[3:]),
        ("", "", codes),
    ]
    for first, last, expected in days:
        page = await invitations.list_page(created_from=first, created_to=last, with_total=True)
        assert [invitation.invitation_code for invitation in page.items] == expected[::-1]
        assert page.total == len(expected)
    with pytest.raises(InvalidInput, match="is no day"):
        await invitations.list_page(created_from="x")


async def test_a_list_shows_the_effective_status(
    directory: asyncpg.Pool, ana: str, eva: str
) -> None:
    settled: dict[str, Any] = {
        "created_by": ana,
        "accepted_by": eva,
        "accepted_at": datetime.now(UTC),
    }
    codes = {
        "pending": [(await invitations.create(created_by=ana)).invitation_code],
        "expired": [
            (
                await rows.invitation(
                    directory, created_by=ana, status=status, expires_at=datetime.now(UTC) - DAY
                )
            )["invitation_code"]
            for status in ("expired", "pending")
        ],
        "cancelled": [
            (await rows.invitation(directory, created_by=ana, status="cancelled"))[
                "invitation_code"
            ]
        ],
        "accepted": [
            (await rows.invitation(directory, status="accepted", **settled))["invitation_code"]
        ],
    }
    await invitations.create(created_by=eva)
    for status, expected in codes.items():
        page = await invitations.list_page(created_by=ana, status=status)
        assert {invitation.invitation_code for invitation in page.items} == set(expected)
        assert {invitation.status for invitation in page.items} == {status}
    assert len((await invitations.list_page(created_by=ana)).items) == 5
    assert len((await invitations.list_page(status="pending")).items) == 2
    assert (await invitations.list_page(created_by="#999")).items == []


async def test_a_list_refuses_unknown_values(ana: str) -> None:
    with pytest.raises(InvalidInput) as error:
        await invitations.list_page(status="open")
    assert error.value.field == "status"
    for limit in (0, 101, -1):
        with pytest.raises(InvalidInput):
            await invitations.list_page(limit=limit)
    for cursor in ("", "x", "🙂", "A" * 1000):
        with pytest.raises(InvalidCursor):
            await invitations.list_page(after=cursor)


# Extend and cancel


async def test_an_open_invitation_is_extended_from_its_expiry_time(ana: str) -> None:
    made = await invitations.create(created_by=ana)
    extended = await invitations.extend(made.invitation_code, valid_for=2 * DAY)
    assert extended.expires_at == made.expires_at + 2 * DAY
    assert (extended.status, extended.invitation_code) == (
        InvitationStatus.PENDING,
        made.invitation_code,
    )


@pytest.mark.parametrize("swept", [False, True])
async def test_an_expired_invitation_is_extended_from_now(
    directory: asyncpg.Pool, ana: str, swept: bool
) -> None:
    made = await invitations.create(created_by=ana)
    await move(directory, made.invitation_code, -10 * DAY)
    if swept:
        assert await invitations.expire_overdue() == 1
    extended = await invitations.extend(made.invitation_code, valid_for=2 * DAY)
    assert extended.status is InvitationStatus.PENDING
    assert extended.expires_at == extended.updated_at + 2 * DAY


async def test_ten_extensions_at_once_add_up(ana: str) -> None:
    made = await invitations.create(created_by=ana)
    await asyncio.gather(
        *(invitations.extend(made.invitation_code, valid_for=DAY) for _ in range(10))
    )
    assert (await invitations.get(made.invitation_code)).expires_at == made.expires_at + 10 * DAY


async def test_an_accepted_or_cancelled_invitation_can_neither_be_extended_nor_cancelled(
    ana: str,
) -> None:
    used, withdrawn = [(await invitations.create(created_by=ana)).invitation_code for _ in range(2)]
    await invitations.redeem(used, telegram_id="1", name="Bea", primary_role="designer")
    assert (await invitations.cancel(withdrawn)).status is InvitationStatus.CANCELLED
    for change in (invitations.extend, invitations.cancel):
        with pytest.raises(InvitationUsed):
            await change(used)
        with pytest.raises(InvitationCancelled):
            await change(withdrawn)


async def test_an_expired_invitation_can_be_cancelled(directory: asyncpg.Pool, ana: str) -> None:
    made = await invitations.create(created_by=ana)
    await move(directory, made.invitation_code, -10 * DAY)
    assert (await invitations.cancel(made.invitation_code)).status is InvitationStatus.CANCELLED


async def test_an_expired_invitation_cannot_be_extended_if_the_person_has_a_newer_one(
    directory: asyncpg.Pool, ana: str
) -> None:
    old = await invitations.create(created_by=ana, telegram_username="bea")
    await move(directory, old.invitation_code, -10 * DAY)
    new = await invitations.create(created_by=ana, telegram_username="Bea")
    with pytest.raises(InvalidInput, match="open invitation") as error:
        await invitations.extend(old.invitation_code)
    assert error.value.field == "invited_telegram_username"
    assert (await invitations.get(old.invitation_code)).status is InvitationStatus.EXPIRED

    await invitations.cancel(new.invitation_code)
    assert (await invitations.extend(old.invitation_code)).status is InvitationStatus.PENDING


async def test_the_log_names_the_actor_and_the_reason_of_an_extension_and_a_cancellation(
    directory: asyncpg.Pool, ana: str
) -> None:
    made = await invitations.create(created_by=ana)
    await invitations.extend(made.invitation_code, actor="panel:eva", reason="on holiday")
    await invitations.cancel(made.invitation_code, actor="bot", reason="a mistake")
    entries = await directory.fetch(
        "SELECT actor, reason FROM directory_audit_log"
        " WHERE action = 'UPDATE' AND row_id = $1 ORDER BY id",
        made.invitation_id,
    )
    assert [tuple(entry) for entry in entries] == [
        ("panel:eva", "on holiday"),
        ("bot", "a mistake"),
    ]


# Expire


async def test_only_overdue_invitations_are_expired(directory: asyncpg.Pool, ana: str) -> None:
    made = [await invitations.create(created_by=ana) for _ in range(6)]
    codes = [invitation.invitation_code for invitation in made]
    for code in codes[:4]:
        await move(directory, code, -10 * DAY)
    await invitations.cancel(codes[3])
    before = await directory.fetch(
        "SELECT * FROM community_invitations WHERE invitation_code = ANY($1)", codes[3:]
    )
    assert await invitations.expire_overdue() == 3
    assert await invitations.expire_overdue() == 0
    assert [(await invitations.get(code)).status for code in codes] == [
        *["expired"] * 3,
        "cancelled",
        *["pending"] * 2,
    ]
    after = await directory.fetch(
        "SELECT * FROM community_invitations WHERE invitation_code = ANY($1)", codes[3:]
    )
    assert after == before
    actors = await directory.fetch(
        "SELECT DISTINCT actor FROM directory_audit_log WHERE action = 'UPDATE'"
    )
    assert ("expiry",) in map(tuple, actors)


async def test_concurrent_expiry_jobs_share_the_work_and_do_not_wait(
    directory: asyncpg.Pool,
) -> None:
    inviter = await rows.member(directory, status="active")
    for _ in range(50):
        await rows.invitation(
            directory,
            created_by=inviter["member_id"],
            expires_at=datetime.now(UTC) - DAY,
            status="pending",
        )
    async with directory.acquire() as other, other.transaction():
        await other.execute(
            "SELECT FROM community_invitations ORDER BY invitation_code LIMIT 10 FOR UPDATE"
        )
        counts = await asyncio.wait_for(
            asyncio.gather(*(invitations.expire_overdue() for _ in range(5))), SECONDS
        )
        assert sum(counts) == 40
    assert await invitations.expire_overdue() == 10


# By their ids


async def test_an_invitation_is_found_changed_and_cancelled_by_its_id(ana: str) -> None:
    made = await invitations.create(created_by=ana)
    key = made.invitation_id
    assert await invitations.get(invitation_id=key) == made
    assert await invitations.find(invitation_id=str(key).upper()) == made
    extended = await invitations.extend(invitation_id=key, valid_for=DAY, actor="luis")
    assert extended.expires_at == made.expires_at + DAY
    cancelled = await invitations.cancel(invitation_id=str(key), actor="luis")
    assert cancelled == await invitations.get(made.invitation_code)
    assert cancelled.status == "cancelled"
    with pytest.raises(InvitationCancelled) as refused:
        await invitations.extend(invitation_id=key)
    assert refused.value.invitation_code == str(key)


BY_KEY: list[Callable[..., Any]] = [
    invitations.get,
    invitations.find,
    invitations.extend,
    invitations.cancel,
]


@pytest.mark.parametrize("call", BY_KEY, ids=lambda call: call.__name__)
async def test_an_invitation_has_either_a_code_or_an_id(ana: str, call: Callable[..., Any]) -> None:
    made = await invitations.create(created_by=ana)
    malformed: Any
    for malformed in ("OPENCODE", "", 5, b"a", made.invitation_code):
        with pytest.raises(InvalidInput) as refused:
            await call(invitation_id=malformed)
        assert refused.value.field == "invitation_id"
    with pytest.raises(InvalidInput, match="either the code or the id"):
        await call(made.invitation_code, invitation_id=made.invitation_id)
    with pytest.raises(InvalidInput, match="must be a text"):
        await call()
    if call is invitations.find:
        assert await call(invitation_id=UUID(int=0)) is None
    else:
        with pytest.raises(InvitationNotFound):
            await call(invitation_id=UUID(int=0))
    assert await invitations.get(made.invitation_code) == made


# By a username


async def test_the_open_invitation_for_a_username_is_found(
    directory: asyncpg.Pool, ana: str
) -> None:
    await invitations.create(created_by=ana)
    made = await invitations.create(created_by=ana, telegram_username="Mona")
    for typed in ("mona", "@MONA", "https://t.me/mona"):
        assert await invitations.find_open_for(typed) == made
    for other in ("mona_", "", "@", "ana"):
        assert await invitations.find_open_for(other) is None
    checked = await invitations.check(
        made.invitation_code, telegram_id=900, telegram_username="mona"
    )
    assert checked.invitation == made


@pytest.mark.parametrize(
    "change",
    [
        lambda code, _ana: invitations.cancel(code),
        lambda code, _ana: invitations.redeem(
            code, telegram_id=900, name="M", primary_role="x", telegram_username="mona"
        ),
        lambda _code, ana: members.set_status(ana, "suspended", actor="luis"),
        lambda _code, ana: members.remove(ana, actor="luis"),
        lambda _code, ana: members.mark_bot(ana, actor="luis"),
    ],
    ids=["cancelled", "redeemed", "inviter suspended", "inviter removed", "inviter a bot"],
)
async def test_an_invitation_that_can_not_be_redeemed_is_not_found_by_its_username(
    ana: str, change: Callable[[str, str], Any]
) -> None:
    made = await invitations.create(created_by=ana, telegram_username="mona")
    await change(made.invitation_code, ana)
    assert await invitations.find_open_for("mona") is None


async def test_an_overdue_invitation_is_not_found_by_its_username(
    directory: asyncpg.Pool, ana: str
) -> None:
    made = await invitations.create(created_by=ana, telegram_username="mona")
    await move(directory, made.invitation_code, -4 * DAY)
    assert await invitations.find_open_for("mona") is None
    again = await invitations.create(created_by=ana, telegram_username="mona")
    assert await invitations.find_open_for("mona") == again


# The record of an inviter


async def test_the_record_of_an_inviter_says_what_became_of_the_people(
    directory: asyncpg.Pool, ana: str, eva: str
) -> None:
    nothing = InvitationStatistics(0, 0, 0, 0, 0, 0, 0, 0)
    assert await invitations.statistics(ana) == nothing
    now = datetime.now(UTC)
    people = ["pending", "active", "active", "suspended", "banned", "not_member"]
    for status in people:
        person = await rows.member(directory, status=status, invited_by=ana)
        await rows.invitation(
            directory,
            created_by=ana,
            status="accepted",
            accepted_by=person["member_id"],
            accepted_at=now,
        )
    removed = await rows.member(directory, status="active", deleted_at=now)
    bot = await rows.member(directory, is_bot=True, status="active")
    for person in (removed, bot):
        await rows.invitation(
            directory,
            created_by=ana,
            status="accepted",
            accepted_by=person["member_id"],
            accepted_at=now,
        )
    for values in (
        {},
        {},
        {"expires_at": now - DAY},
        {"status": "expired"},
        {"status": "cancelled"},
    ):
        await rows.invitation(directory, created_by=ana, **values)
    await rows.invitation(directory, created_by=eva)
    assert await invitations.statistics(ana) == InvitationStatistics(
        open=2,
        accepted=8,
        expired=2,
        cancelled=1,
        pending=1,
        active=2,
        suspended=1,
        banned=1,
    )
    for status in (None, *InvitationStatus):
        page = await invitations.list_page(created_by=ana, status=status, limit=100)
        counted = await invitations.statistics(ana)
        listed = sum(astuple(counted)[:4]) if status is None else None
        by_status = {
            None: listed,
            "pending": counted.open,
            "accepted": counted.accepted,
            "expired": counted.expired,
            "cancelled": counted.cancelled,
        }
        assert len(page.items) == by_status[status]


async def test_the_record_of_a_merged_member_is_that_of_both(
    directory: asyncpg.Pool, ana: str, eva: str
) -> None:
    for inviter in (ana, eva):
        code = (await invitations.create(created_by=inviter)).invitation_code
        account = 900 if inviter == ana else 901
        await invitations.redeem(code, telegram_id=account, name="M", primary_role="x")
        await members.set_status(f"#{account - 897}", "active", actor="luis")
    await members.merge("#4", into="#3", actor="luis")
    await members.merge(eva, into=ana, actor="luis")
    counted = await invitations.statistics(ana)
    # Two invitations were accepted, by one person.
    assert (counted.accepted, counted.active) == (2, 1)
    assert await invitations.statistics(eva) == counted


async def test_whoever_was_removed_has_a_record_and_nobody_has_none(ana: str) -> None:
    await invitations.create(created_by=ana)
    await members.remove(ana, actor="luis")
    assert (await invitations.statistics(ana)).open == 1
    with pytest.raises(MemberNotFound):
        await invitations.statistics("#99")
