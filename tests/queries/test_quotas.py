"""A member can have so many open invitations, and create so many in seven days."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from community_directory.database import transaction
from community_directory.errors import (
    BotRefused,
    InvitationCancelled,
    InvitationQuotaExceeded,
    MemberNotActive,
    MemberNotFound,
    UserError,
)
from community_directory.queries import invitations, members
from community_directory.queries.invitations import QUOTA_PERIOD, InvitationQuota
from community_directory.settings import QUOTA_NAMES, load_settings
from community_directory.tables import Permission, ReputationTier
from community_directory.tables.invitations import DEFAULT_VALIDITY
from tests.tables import rows
from tests.waiting import until_waiting

SECONDS = 30
DAY = timedelta(days=1)

SetQuotas = Callable[..., None]


@pytest.fixture
def set_quotas(monkeypatch: pytest.MonkeyPatch) -> SetQuotas:
    """Return a function that sets the general quota and those of permissions and tiers."""

    def set_settings(max_open: int = 10, max_weekly: int = 20, quotas: str = "") -> None:
        monkeypatch.setenv("DIRECTORY_MAX_OPEN_INVITATIONS", str(max_open))
        monkeypatch.setenv("DIRECTORY_MAX_WEEKLY_INVITATIONS", str(max_weekly))
        monkeypatch.setenv("DIRECTORY_INVITATION_QUOTAS", quotas)
        load_settings.cache_clear()

    return set_settings


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> str:
    """Return the number of an active member."""
    number: str = (await rows.member(directory, status="active", name="Ana"))["member_id"]
    return number


async def invite(number: str, count: int, **options: Any) -> list[invitations.Invitation]:
    """Create invitations of one member one after the other."""
    return [await invitations.create(created_by=number, **options) for _ in range(count)]


async def refusal(number: str, **options: Any) -> InvitationQuotaExceeded:
    """Return the error with which one more invitation is refused."""
    with pytest.raises(InvitationQuotaExceeded) as error:
        await invitations.create(created_by=number, **options)
    return error.value


async def move(directory: asyncpg.Pool, by: timedelta) -> None:
    """Move all invitations into the past."""
    await directory.execute(
        "UPDATE community_invitations SET created_at = created_at - $1::interval,"
        " expires_at = expires_at - $1::interval",
        by,
    )


async def test_by_default_a_member_has_ten_open_invitations(ana: str) -> None:
    first, *_ = await invite(ana, 10)
    error = await refusal(ana)
    assert isinstance(error, UserError)
    assert (error.member_id, error.limit, error.period) == (ana, 10, None)
    assert error.next_at == first.expires_at
    assert str(error) == (
        f"Member {ana} has 10 open invitations, and can't have more. The next one is free on "
        f"{first.expires_at:%Y-%m-%d at %H:%M} UTC, or when one is used or cancelled."
    )
    assert len((await invitations.list_page(limit=100)).items) == 10


async def test_by_default_a_member_creates_twenty_invitations_in_seven_days(
    directory: asyncpg.Pool, ana: str
) -> None:
    first, *_ = await invite(ana, 10)
    await move(directory, 3 * DAY)
    await invite(ana, 10)
    await directory.execute("UPDATE community_invitations SET status = 'cancelled'")
    error = await refusal(ana)
    assert (error.limit, error.period) == (20, QUOTA_PERIOD)
    assert error.next_at == first.created_at - 3 * DAY + QUOTA_PERIOD
    assert "has created 20 invitations in 7 days" in str(error)

    await move(directory, 4 * DAY)
    await invite(ana, 10)
    await refusal(ana)


@pytest.mark.parametrize("end", ["redeemed", "cancelled", "expired"])
async def test_an_open_invitation_that_ends_frees_its_place(
    directory: asyncpg.Pool, ana: str, end: str
) -> None:
    first, *_ = await invite(ana, 10)
    code = first.invitation_code
    await refusal(ana)
    if end == "redeemed":
        await invitations.redeem(code, telegram_id="7", name="Eva", primary_role="x")
    elif end == "cancelled":
        await invitations.cancel(code)
    else:
        await directory.execute(
            "UPDATE community_invitations SET expires_at = now() WHERE invitation_code = $1", code
        )
    await invitations.create(created_by=ana)
    await refusal(ana)


async def test_the_next_invitation_is_free_when_the_refusal_says(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas
) -> None:
    set_quotas(3, 5)
    for days in (1, 2, 3):
        await invitations.create(created_by=ana, valid_for=days * DAY)
        await move(directory, timedelta(hours=1))
    for _ in range(6):
        error = await refusal(ana)
        assert error.next_at is not None
        await move(directory, error.next_at - datetime.now(UTC) - timedelta(minutes=1))
        await refusal(ana)
        await move(directory, timedelta(minutes=1))
        await invitations.create(created_by=ana)


async def test_the_later_of_both_limits_says_when_the_next_one_is_free(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas
) -> None:
    set_quotas(2, 2)
    first, _ = await invite(ana, 2)
    error = await refusal(ana)
    assert (error.period, error.next_at) == (QUOTA_PERIOD, first.created_at + QUOTA_PERIOD)
    await directory.execute("UPDATE community_invitations SET expires_at = now() + '30 days'")
    error = await refusal(ana)
    assert error.period is None
    assert error.next_at is not None
    assert error.next_at > first.created_at + 29 * DAY


@pytest.mark.parametrize("limits", [(0, 20), (10, 0), (0, 0)])
async def test_a_quota_of_zero_allows_none_ever(
    ana: str, set_quotas: SetQuotas, limits: tuple[int, int]
) -> None:
    set_quotas(*limits)
    error = await refusal(ana)
    assert (error.limit, error.next_at) == (0, None)
    assert str(error) == f"Member {ana} can't invite anybody. Ask a community manager."
    found = await invitations.quota(ana)
    assert (found.left, found.next_at) == (0, None)


async def test_a_manager_has_no_quota(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas
) -> None:
    set_quotas(0, 0, "invite=0/0,novice=0/0")
    await rows.permission(directory, member_id=ana, permission="manage")
    await rows.permission(directory, member_id=ana, permission="invite")
    await invite(ana, 25)
    found = await invitations.quota(ana)
    assert found == InvitationQuota(None, None, 25, 25, None)
    assert found.left is None


@pytest.mark.parametrize(
    ("quotas", "held", "score", "expected"),
    [
        ("", ["invite"], 0, (1, 9)),
        ("invite=3/4", [], 0, (1, 9)),
        ("invite=3/4", ["invite"], 0, (3, 4)),
        ("invite=3/4, REVIEW = 2/6", ["invite", "review"], 0, (3, 6)),
        ("Novice=0/0", [], 0, (0, 0)),
        ("Novice=2/2,Expert=5/5", [], 100, (2, 2)),
        ("Active Developer=5/6", [], 501, (5, 6)),
        ("Expert=5/6,moderate=7/3", ["moderate"], 5000, (7, 6)),
    ],
)
async def test_permissions_and_tiers_have_their_own_quotas(  # noqa: PLR0917  pytest passes names
    directory: asyncpg.Pool,
    set_quotas: SetQuotas,
    quotas: str,
    held: list[str],
    score: int,
    expected: tuple[int, int],
) -> None:
    set_quotas(1, 9, quotas)
    member = await rows.member(directory, status="active", reputation_score=score)
    for permission in held:
        await rows.permission(directory, member_id=member["member_id"], permission=permission)
    found = await invitations.quota(member["member_id"])
    assert (found.max_open, found.max_weekly) == expected
    assert found.left == min(expected)
    await invite(member["member_id"], min(expected))
    assert (await refusal(member["member_id"])).limit == min(expected)


async def test_a_quota_is_told_before_it_is_used_up(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas
) -> None:
    set_quotas(3, 5)
    assert await invitations.quota(int(ana[1:])) == InvitationQuota(3, 5, 0, 0, None)
    first, second = await invite(ana, 2)
    await invitations.cancel(first.invitation_code)
    found = await invitations.quota(ana)
    assert found == InvitationQuota(3, 5, 1, 2, None)
    assert found.left == 2
    await invite(ana, 2)
    found = await invitations.quota(ana)
    assert found == InvitationQuota(3, 5, 3, 4, second.expires_at)
    assert found.left == 0


@pytest.mark.parametrize("status", ["not_member", "pending", "suspended", "banned"])
async def test_only_an_active_member_has_a_quota(directory: asyncpg.Pool, status: str) -> None:
    member = await rows.member(directory, status=status)
    with pytest.raises(MemberNotActive):
        await invitations.quota(member["member_id"])


async def test_bots_and_removed_and_unknown_members_have_no_quota(
    directory: asyncpg.Pool, ana: str
) -> None:
    bot = await rows.member(directory, status="active", is_bot=True)
    with pytest.raises(BotRefused):
        await invitations.quota(bot["member_id"])
    await members.remove(ana, actor="test")
    for number in (ana, "#999"):
        with pytest.raises(MemberNotFound):
            await invitations.quota(number)


async def test_inviting_the_same_person_again_costs_nothing(ana: str) -> None:
    first = await invitations.create(created_by=ana, telegram_username="bea")
    await invite(ana, 9)
    again = await invitations.create(created_by=ana, telegram_username="@BEA", valid_for=5 * DAY)
    assert again.invitation_code == first.invitation_code
    assert again.expires_at > first.expires_at
    await refusal(ana, telegram_username="eva")
    await invitations.cancel(first.invitation_code)
    await invitations.create(created_by=ana, telegram_username="bea")
    await refusal(ana, telegram_username="eva")


async def test_extending_the_invitation_of_somebody_else_costs_nothing(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas
) -> None:
    set_quotas(1, 1)
    eva = (await rows.member(directory, status="active"))["member_id"]
    first = await invitations.create(created_by=eva, telegram_username="bea")
    for _ in range(3):
        again = await invitations.create(created_by=ana, telegram_username="bea")
        assert again.invitation_code == first.invitation_code
    assert (await invitations.quota(ana)).weekly == 0
    # An invitation that nobody can redeem is closed, and the new one costs one.
    await members.set_status(eva, "suspended", actor="test")
    await invitations.create(created_by=ana, telegram_username="bea")
    await refusal(ana)


async def test_a_refusal_closes_no_other_invitation(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas
) -> None:
    set_quotas(0, 0)
    await rows.invitation(
        directory, invited_telegram_username="bea", expires_at=datetime.now(UTC) - DAY
    )
    await refusal(ana, telegram_username="bea")
    assert await directory.fetchval("SELECT status FROM community_invitations") == "pending"


async def test_fifty_calls_at_once_do_not_pass_the_quota(directory: asyncpg.Pool, ana: str) -> None:
    eva = (await rows.member(directory, status="active"))["member_id"]
    work = [invitations.create(created_by=(ana, eva)[number % 2]) for number in range(100)]
    results = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), SECONDS)
    refused = [result for result in results if isinstance(result, Exception)]
    assert {type(error) for error in refused} == {InvitationQuotaExceeded}
    for number in (ana, eva):
        assert len((await invitations.list_page(created_by=number, limit=100)).items) == 10


async def test_the_same_person_invited_at_once_costs_one(ana: str, set_quotas: SetQuotas) -> None:
    set_quotas(1, 1)
    work = [
        invitations.create(created_by=ana, telegram_username=("bea", "Bea")[number % 2])
        for number in range(20)
    ]
    made = await asyncio.wait_for(asyncio.gather(*work), SECONDS)
    assert len({invitation.invitation_code for invitation in made}) == 1


async def test_an_invitation_that_is_redeemed_while_it_is_extended_costs_no_second_one(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas
) -> None:
    set_quotas(1, 1)
    for number in range(10):
        first = await invitations.create(created_by=ana, telegram_username="bea")
        await asyncio.gather(
            invitations.create(created_by=ana, telegram_username="bea"),
            invitations.redeem(
                first.invitation_code,
                telegram_id=str(700 + number),
                name="Bea",
                primary_role="x",
                telegram_username="bea",
            ),
            return_exceptions=True,
        )
        assert (await invitations.quota(ana)).weekly == 1
        await directory.execute(
            "UPDATE community_invitations SET status = 'cancelled' WHERE status = 'pending'"
        )
        await move(directory, 8 * DAY)


@pytest.mark.parametrize("swept", [False, True])
async def test_an_expired_invitation_is_opened_again_only_within_the_quota(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas, swept: bool
) -> None:
    set_quotas(2, 3)
    old = await invitations.create(created_by=ana)
    await move(directory, 4 * DAY)
    if swept:
        await invitations.expire_overdue()
    first, second = await invite(ana, 2)
    with pytest.raises(InvitationQuotaExceeded) as error:
        await invitations.extend(old.invitation_code)
    assert (error.value.member_id, error.value.limit, error.value.period) == (ana, 2, None)
    assert error.value.next_at == first.expires_at
    # An open one keeps its place, and a place that is free is taken by no new invitation.
    await invitations.extend(first.invitation_code)
    await invitations.cancel(second.invitation_code)
    await invitations.extend(old.invitation_code)
    await refusal(ana)
    with pytest.raises(InvitationCancelled):
        await invitations.extend(second.invitation_code)


async def test_twenty_expired_invitations_extended_at_once_do_not_pass_the_quota(
    directory: asyncpg.Pool, ana: str
) -> None:
    old = [await rows.invitation(directory, created_by=ana) for _ in range(20)]
    await move(directory, 9 * DAY)
    work = [invitations.extend(invitation["invitation_code"]) for invitation in old]
    work += [invitations.create(created_by=ana) for _ in range(10)]
    results = await asyncio.wait_for(asyncio.gather(*work, return_exceptions=True), SECONDS)
    refused = [result for result in results if isinstance(result, Exception)]
    assert [type(error) for error in refused] == [InvitationQuotaExceeded] * 20
    assert (await invitations.quota(ana)).open == 10


async def test_an_invitation_that_was_opened_in_the_meantime_needs_no_second_place(
    directory: asyncpg.Pool, ana: str, set_quotas: SetQuotas
) -> None:
    set_quotas(1, 1)
    old = await rows.invitation(directory, created_by=ana)
    await move(directory, 9 * DAY)
    code = old["invitation_code"]
    async with directory.acquire() as observer:
        async with transaction():
            opened = await invitations.extend(code)
            extending = asyncio.create_task(invitations.extend(code), context=Context())
            await until_waiting(observer)
        assert (await extending).expires_at == opened.expires_at + DEFAULT_VALIDITY


async def test_a_failed_transaction_gives_its_place_back(ana: str, set_quotas: SetQuotas) -> None:
    set_quotas(1, 1)

    async def invite_and_fail() -> None:
        async with transaction():
            await invitations.create(created_by=ana)
            raise InvitationCancelled("A")

    with pytest.raises(InvitationCancelled):
        await invite_and_fail()
    await invitations.create(created_by=ana)
    await refusal(ana)


def test_every_permission_but_manage_and_every_tier_can_have_a_quota() -> None:
    names = {*Permission, *ReputationTier} - {Permission.MANAGE}
    assert {name.lower() for name in names} == QUOTA_NAMES
