"""A check says what a redemption would say; `test_redeem` compares each of their refusals."""

import asyncpg
import pytest

from community_directory.errors import (
    AlreadyMember,
    BotRefused,
    ConfigurationError,
    DirectoryError,
    InvalidInput,
    MemberBanned,
)
from community_directory.queries import accounts, invitations, members
from community_directory.queries.bans import make_fingerprint
from community_directory.queries.invitations import InvitationCheck
from community_directory.settings import load_settings
from tests.tables import rows

CODE = "OPENCODE"


@pytest.fixture(autouse=True)
async def ana(directory: asyncpg.Pool) -> None:
    """Add the active #1, who created an invitation."""
    await rows.member(directory, telegram_id="101", name="Ana", status="active", country="México")
    await rows.invitation(directory, created_by="#1", invitation_code=CODE)


async def ask(telegram_id: str | int = 900, username: str | None = None) -> InvitationCheck:
    return await invitations.check(CODE, telegram_id=telegram_id, telegram_username=username)


async def both_refuse(error: type[DirectoryError], telegram_id: str | int) -> None:
    """Assert that a check and a redemption raise the same error."""
    with pytest.raises(DirectoryError) as checked:
        await ask(telegram_id)
    with pytest.raises(DirectoryError) as redeemed:
        await invitations.redeem(
            CODE, telegram_id=telegram_id, name="Eva", primary_role="developer"
        )
    assert type(checked.value) is type(redeemed.value) is error
    assert (str(checked.value), vars(checked.value)) == (
        str(redeemed.value),
        vars(redeemed.value),
    )


async def test_a_check_names_the_inviter_and_changes_nothing(directory: asyncpg.Pool) -> None:
    everything = "SELECT count(*), sum(xmin::text::bigint) FROM {}"
    tables = ("community_members", "community_invitations", "directory_audit_log")
    before = [await directory.fetchrow(everything.format(table)) for table in tables]
    checked = await ask()
    assert checked.invitation == await invitations.get(CODE)
    assert (checked.inviter.name, checked.inviter.country) == ("Ana", "México")
    assert (checked.member, checked.repeated) == (None, False)
    assert before == [await directory.fetchrow(everything.format(table)) for table in tables]


async def test_a_check_after_the_redemption_knows_the_member(directory: asyncpg.Pool) -> None:
    redeemed = await invitations.redeem(CODE, telegram_id=900, name="Eva", primary_role="developer")
    await accounts.link(redeemed.member.member_id, "discord", "5", actor="luis")
    for account in (900, "900", "discord:5"):
        checked = await ask(account)
        assert (checked.member, checked.repeated) == (redeemed.member, True)
        assert checked.invitation == redeemed.invitation
    # Whoever is suspended has no public profile any more, but the member still knows who it was.
    await members.set_status("#1", "suspended", actor="luis")
    assert (await ask()).inviter == members.PublicMember("Ana")


async def test_a_contact_can_redeem_and_is_no_member(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="900")
    checked = await ask()
    assert (checked.member, checked.repeated) == (None, False)


async def test_bots_and_second_accounts_are_refused_as_by_a_redemption(
    directory: asyncpg.Pool,
) -> None:
    await members.remember_bots({"901": "Rose"})
    await rows.member(directory, telegram_id="902", is_bot=True)
    for bot in (901, 902):
        await both_refuse(BotRefused, bot)
    await rows.member(directory, telegram_id="903", status="banned")
    await accounts.link("#3", "discord", "5", actor="luis")
    for account in (903, "discord:5"):
        await both_refuse(MemberBanned, account)
    await accounts.link("#1", "discord", "6", actor="luis")
    await both_refuse(AlreadyMember, "discord:6")


async def test_an_erased_ban_that_can_not_be_checked_is_refused_as_by_a_redemption(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key of at least thirty-two characters")
    load_settings.cache_clear()
    await rows.member(directory, telegram_id="903", status="banned")
    await members.erase("#2", actor="luis")
    assert make_fingerprint("903") is not None
    await both_refuse(MemberBanned, 903)
    assert not (await ask()).repeated
    monkeypatch.delenv("DIRECTORY_SECRET_KEY")
    load_settings.cache_clear()
    await both_refuse(ConfigurationError, 900)


async def test_a_contact_above_the_inviter_is_refused_as_by_a_redemption(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="901")
    await rows.member(directory, telegram_id="902", invited_by="#2", status="active")
    await directory.execute("UPDATE community_members SET invited_by = '#3' WHERE member_id = '#1'")
    await both_refuse(InvalidInput, 901)


async def test_a_contact_who_has_the_inviter_already_closes_no_circle(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="900", invited_by="#1")
    # A circle of a restored backup, which no trigger has seen
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(
            "UPDATE community_members SET invited_by = '#2' WHERE member_id = '#1'"
        )
    assert not (await ask()).repeated
    redeemed = await invitations.redeem(CODE, telegram_id=900, name="E", primary_role="x")
    assert redeemed.member.member_id == "#2"


@pytest.mark.parametrize("telegram_id", ["", "9 0", "-1", 1.5])
async def test_a_malformed_account_is_refused_as_by_a_redemption(telegram_id: str) -> None:
    await both_refuse(InvalidInput, telegram_id)
