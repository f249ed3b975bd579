"""Accounts are linked by a manager or with a code, and each belongs to one member."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from community_directory.database import engine, transaction
from community_directory.errors import (
    AccountTaken,
    BotRefused,
    ConfigurationError,
    DirectoryError,
    InvalidInput,
    LinkCodeInvalid,
    MemberBanned,
    MemberExists,
    MemberMerged,
    MemberNotFound,
    TooManyTries,
)
from community_directory.queries import accounts, audit, invitations, members, privacy
from community_directory.queries.accounts import LinkedAccount
from community_directory.settings import load_settings
from community_directory.tables import AccountProof
from tests.queries.test_lookup import merge
from tests.tables import rows
from tests.waiting import start_during, until_waiting

ENTITY = "b850bc30-45f8-0041-a00a-83df46d8555d"
BY: dict[str, Any] = {"actor": "luis", "reason": "she told me"}
ANA = ("telegram", "1001")


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> str:
    """Add the active #1 with a Telegram account, and the active #2."""
    await rows.member(directory, telegram_id="1001", status="active")
    await rows.member(directory, telegram_id="1002", status="active", name="Bo")
    return "#1"


async def named(member_id: str) -> set[str]:
    """Return the accounts of a member, such as "discord:5"."""
    return {f"{found.platform}:{found.account_id}" for found in await accounts.of(member_id)}


async def changes_of(member_id: str) -> list[audit.Change]:
    """Return the entries of the log about the member's accounts."""
    entries = (await audit.history(member_id, limit=100)).items
    return [entry for entry in entries if entry.table_name == "member_accounts"]


async def columns_of(directory: asyncpg.Pool, member_id: str) -> tuple[str, str | None]:
    row = await rows.fetch_row(
        directory,
        "SELECT telegram_id, telegram_username FROM community_members WHERE member_id = $1",
        member_id,
    )
    return row["telegram_id"], row["telegram_username"]


# By a manager


async def test_an_account_is_linked_with_its_actor_and_reason(
    directory: asyncpg.Pool, ana: str
) -> None:
    linked = await accounts.link(ana, "discord", "<@5>", username="@ana.garcia", **BY)
    assert (linked.platform, linked.account_id, linked.username) == ("discord", "5", "ana.garcia")
    assert (linked.member_id, linked.proof) == (ana, AccountProof.MANAGER)
    assert linked.proved_at == linked.linked_at
    assert linked.linked_at.tzinfo is not None
    assert linked.details is None
    assert await accounts.of(1) == [*await accounts.of(ana)]
    assert await named(ana) == {"telegram:1001", "discord:5"}
    [entry] = await changes_of(ana)
    assert (entry.actor, entry.reason, entry.action) == ("luis", "she told me", "INSERT")
    assert entry.changes["account_id"] == [None, "5"]


async def test_a_repeated_call_changes_nothing_but_the_username(
    directory: asyncpg.Pool, ana: str
) -> None:
    first = await accounts.link(ana, "elizaos", ENTITY, details={"seed": "1001"}, **BY)
    again = await accounts.link(ana, "elizaos", ENTITY.upper(), details={"seed": "2"}, **BY)
    assert again == first
    assert len(await changes_of(ana)) == 1
    renamed = await accounts.link(ana, "elizaos", ENTITY, username="eliza", **BY)
    assert renamed.username == "eliza"
    assert (renamed.linked_at, renamed.details) == (first.linked_at, {"seed": "1001"})
    assert await accounts.link(ana, "elizaos", ENTITY, **BY) == renamed
    newest, _ = await changes_of(ana)
    assert newest.changes == {"username": [None, "eliza"]}


async def test_an_account_of_another_member_is_refused(directory: asyncpg.Pool, ana: str) -> None:
    await accounts.link(ana, "discord", "5", **BY)
    for platform, account_id in (("discord", "5"), ("telegram", "1001")):
        with pytest.raises(AccountTaken, match="#1") as refused:
            await accounts.link("#2", platform, account_id, **BY)
        assert refused.value.member_id == ana
    assert await named("#2") == {"telegram:1002"}


async def test_a_github_account_is_the_same_by_its_number_and_its_username(
    directory: asyncpg.Pool, ana: str
) -> None:
    await rows.member(directory)
    data = {"id": 583231}
    await accounts.link(ana, "github", "Ana-Dev", actor="luis")
    with pytest.raises(MemberExists, match=f"belongs to member {ana}"):
        await members.verify_github("#2", github_username="ana-dev", github_profile_data=data)
    await members.verify_github(ana, github_username="ana-dev", github_profile_data=data)
    await accounts.unlink("github", "ana-dev", actor="luis")
    with pytest.raises(AccountTaken, match=f"belongs to member {ana}"):
        await accounts.link("#2", "github", "Ana-Dev", actor="luis")
    # digits alone are a number, even if somebody has them as their username
    await members.verify_github("#2", github_username="777", github_profile_data={"id": 8})
    await accounts.link("#3", "github", "777", actor="luis")


async def test_a_github_account_known_by_its_username_is_no_other_members_by_its_number(
    directory: asyncpg.Pool, ana: str
) -> None:
    await accounts.link(ana, "github", "ana-dev", **BY)
    with pytest.raises(AccountTaken, match=ana):
        await accounts.link("#2", "github", "7", username="Ana-Dev", **BY)
    await accounts.link("#2", "github", "8", username="bea", **BY)
    with pytest.raises(MemberExists, match="belongs to member #2"):
        await members.verify_github(ana, github_username="Bea", github_profile_data={})
    # Another number is another account, whose username has been free meanwhile.
    await accounts.link(ana, "github", "9", username="bea", **BY)
    await members.verify_github(ana, github_username="bea", github_profile_data={"id": 9})


async def test_an_account_that_somebody_only_states_passes_to_whoever_proves_it(
    directory: asyncpg.Pool, ana: str
) -> None:
    await members.update_profile("#2", profile_data={"discord_id": "5"})
    [stated] = [found for found in await accounts.of("#2") if found.platform == "discord"]
    assert (stated.proof, stated.proved_at) == (AccountProof.STATED, None)
    linked = await accounts.link(ana, "discord", "5", **BY)
    assert (linked.member_id, linked.proof) == (ana, AccountProof.MANAGER)
    assert linked.linked_at > stated.linked_at
    assert await named("#2") == {"telegram:1002"}
    await members.update_profile("#2", profile_data={"discord_id": "5", "bio": "again"})
    assert await named("#2") == {"telegram:1002"}


async def test_an_account_that_a_member_states_is_proved_by_a_link(
    directory: asyncpg.Pool, ana: str
) -> None:
    await members.update_profile(ana, profile_data={"discord_id": "5"})
    linked = await accounts.link(ana, "discord", "5", **BY)
    assert (linked.proof, linked.proved_at is None) == (AccountProof.MANAGER, False)


async def test_somebody_without_a_telegram_account_gets_it_in_the_column(
    directory: asyncpg.Pool, ana: str
) -> None:
    await rows.member(directory, telegram_id="discord:5")
    linked = await accounts.link("#3", "telegram", 1003, username="eva", **BY)
    assert (linked.member_id, linked.username, linked.proof) == ("#3", "eva", AccountProof.MANAGER)
    assert await columns_of(directory, "#3") == ("1003", "eva")
    assert await named("#3") == {"telegram:1003", "discord:5"}
    assert await accounts.link("#3", "telegram", 1003, **BY) == linked
    with pytest.raises(AccountTaken):
        await accounts.link("#1", "telegram", 1003, **BY)


async def test_a_username_of_the_account_in_the_column_is_that_of_the_column(
    directory: asyncpg.Pool, ana: str
) -> None:
    linked = await accounts.link(ana, "telegram", "1001", username="t.me/ana_new", **BY)
    assert linked.username == "ana_new"
    assert await columns_of(directory, ana) == ("1001", "ana_new")
    assert linked.proof == AccountProof.PLATFORM
    await accounts.link(ana, "telegram", "1009", username="second", **BY)
    assert await columns_of(directory, ana) == ("1001", "ana_new")


async def test_an_account_goes_to_the_member_into_whom_another_one_was_merged(
    directory: asyncpg.Pool, ana: str
) -> None:
    await merge(directory, "#2", into="#1")
    assert (await accounts.link("#2", "discord", "5", **BY)).member_id == "#1"
    assert await named("#2") == await named("#1") == {"telegram:1001", "telegram:1002", "discord:5"}


@pytest.mark.parametrize("number", ["#99", "#2", "ana"])
async def test_nobody_else_than_a_present_member_gets_an_account(
    directory: asyncpg.Pool, ana: str, number: str
) -> None:
    await members.remove("#2", actor="luis")
    with pytest.raises(MemberNotFound):
        await accounts.link(number, "discord", "5", **BY)
    assert await members.find_by_account("discord", "5") is None


async def test_no_account_goes_to_a_removed_member_into_whom_another_one_was_merged(
    directory: asyncpg.Pool, ana: str
) -> None:
    await merge(directory, "#2", into="#1")
    await members.remove("#1", actor="luis")
    with pytest.raises(MemberMerged):
        await accounts.link("#2", "discord", "5", **BY)


@pytest.mark.parametrize(
    "changed",
    [
        {"platform": "Discord"},
        {"account_id": "05"},
        {"account_id": None},
        {"username": "a b"},
        {"details": [1]},
        {"actor": " "},
        {"actor": None},
        {"member_id": None},
    ],
)
async def test_a_malformed_value_is_refused(
    directory: asyncpg.Pool, ana: str, changed: dict[str, object]
) -> None:
    values = {"member_id": ana, "platform": "discord", "account_id": "5", **BY, **changed}
    with pytest.raises(InvalidInput):
        await accounts.link(**values)


async def test_a_known_bot_belongs_to_no_person(directory: asyncpg.Pool, ana: str) -> None:
    await members.remember_bots({"discord:5": "MEE6"})
    with pytest.raises(BotRefused):
        await accounts.link(ana, "discord", "5", **BY)
    await members.mark_bot("#2", actor="luis")
    assert (await accounts.link("#2", "discord", "5", **BY)).member_id == "#2"


@pytest.fixture
def secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "x" * 32)
    load_settings.cache_clear()


async def test_an_account_of_a_banned_person_who_was_erased_is_refused(
    directory: asyncpg.Pool, ana: str, secret_key: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory, telegram_id="discord:5", status="active")
    await members.set_status("#3", "banned", actor="luis")
    await privacy.erase("#3", actor="luis")
    with pytest.raises(MemberBanned):
        await accounts.link(ana, "discord", "5", **BY)
    code = (await accounts.begin_link(ana)).code
    with pytest.raises(MemberBanned):
        await accounts.complete_link(code, platform="discord", account_id="5")
    monkeypatch.delenv("DIRECTORY_SECRET_KEY")
    load_settings.cache_clear()
    with pytest.raises(ConfigurationError):
        await accounts.link(ana, "discord", "6", **BY)


# Unlinking


async def test_an_account_is_unlinked_once(directory: asyncpg.Pool, ana: str) -> None:
    await accounts.link(ana, "discord", "5", **BY)
    assert await accounts.unlink("discord", "<@5>", **BY)
    assert not await accounts.unlink("discord", "5", **BY)
    assert await named(ana) == {"telegram:1001"}
    newest, _ = await changes_of(ana)
    assert (newest.action, newest.actor, newest.reason) == ("DELETE", "luis", "she told me")
    assert (await accounts.link("#2", "discord", "5", **BY)).member_id == "#2"


@pytest.mark.parametrize("account", [("telegram", "1001"), ("discord", "5"), ("github", "583231")])
async def test_an_account_that_the_columns_name_is_not_unlinked(
    directory: asyncpg.Pool, ana: str, account: tuple[str, str]
) -> None:
    await members.update_profile(ana, profile_data={"discord_id": "5"})
    await members.verify_github(
        ana, github_username="ana-dev", github_profile_data={"id": 583231}, actor="luis"
    )
    before = await named(ana)
    with pytest.raises(InvalidInput, match="own fields") as refused:
        await accounts.unlink(*account, **BY)
    assert refused.value.code == "member_account_in_column"
    assert await named(ana) == before


# With a code


async def complete(code: str, account_id: str = "5", **options: str) -> LinkedAccount:
    return await accounts.complete_link(
        code, **{"platform": "discord", "account_id": account_id, **options}
    )


async def test_a_code_links_the_account_that_types_it(directory: asyncpg.Pool, ana: str) -> None:
    begun = await accounts.begin_link(account=ANA)
    assert re.fullmatch("[23456789A-HJKMNP-TV-Z]{12}", begun.code)
    assert timedelta(minutes=9) < begun.expires_at - datetime.now(UTC) < timedelta(minutes=11)
    linked = await complete(begun.code, username="@ana.garcia")
    assert (linked.member_id, linked.account_id, linked.username) == (ana, "5", "ana.garcia")
    assert (linked.proof, linked.proved_at) == (AccountProof.CODE, linked.linked_at)
    [entry] = await changes_of(ana)
    assert entry.actor == "discord:5"
    assert "code" in str(entry.reason)


async def test_a_code_is_stored_as_a_hash_and_printed_nowhere(
    directory: asyncpg.Pool, ana: str
) -> None:
    begun = await accounts.begin_link(ana)
    [row] = await directory.fetch("SELECT * FROM directory_link_codes")
    assert row["code_hash"] == sha256(begun.code.encode()).digest()
    assert begun.code not in str(row)
    assert begun.code not in repr(begun)


@pytest.mark.parametrize(
    "spell",
    [
        str.lower,
        lambda code: f" {code[:4]}-{code[4:8]} {code[8:]}\n",
        lambda code: f"“{code}”",
        lambda code: f"/start {code}",
        lambda code: f"https://t.me/some_bot?start={code}",
    ],
)
async def test_a_code_is_found_however_it_was_typed(
    directory: asyncpg.Pool, ana: str, spell: Callable[[str], str]
) -> None:
    code = (await accounts.begin_link(ana)).code
    assert (await complete(spell(code))).member_id == ana


async def test_a_code_works_once(directory: asyncpg.Pool, ana: str) -> None:
    code = (await accounts.begin_link(ana)).code
    first = await complete(code)
    assert await complete(code) == first
    with pytest.raises(LinkCodeInvalid):
        await complete(code, "6")
    assert await named(ana) == {"telegram:1001", "discord:5"}


async def test_a_code_ends_after_ten_minutes(directory: asyncpg.Pool, ana: str) -> None:
    code = (await accounts.begin_link(ana)).code
    await directory.execute("UPDATE directory_link_codes SET expires_at = now()")
    with pytest.raises(LinkCodeInvalid):
        await complete(code)
    assert await named(ana) == {"telegram:1001"}


async def test_a_new_code_replaces_the_one_before(directory: asyncpg.Pool, ana: str) -> None:
    old, new = [(await accounts.begin_link(ana)).code for _ in range(2)]
    with pytest.raises(LinkCodeInvalid):
        await complete(old)
    assert (await complete(new)).member_id == ana
    # A used code is replaced, too.
    third = (await accounts.begin_link(ana)).code
    assert (await complete(third, "6")).member_id == ana


async def test_codes_and_tries_that_are_over_are_deleted(directory: asyncpg.Pool, ana: str) -> None:
    await rows.link_code(directory, member_id="#2", expires_at=datetime.now(UTC))
    await rows.link_code(directory, member_id=ana, expires_at=datetime.now(UTC))
    await rows.link_tries(directory, ends_at=datetime.now(UTC))
    await accounts.begin_link(ana)
    assert await directory.fetchval("SELECT array_agg(member_id) FROM directory_link_codes") == [
        ana
    ]
    assert await directory.fetchval("SELECT count(*) FROM directory_link_tries") == 0


async def refusals(count: int, code: str = "WRONGCODE234", account_id: str = "5") -> list[str]:
    """Return the codes of the errors of several calls one after the other."""
    found = []
    for _ in range(count):
        with pytest.raises(DirectoryError) as refused:
            await complete(code, account_id)
        found.append(refused.value.code)
    return found


@pytest.mark.parametrize("wrong", ["WRONGCODE234", "wrong", "", "\0", "x" * 5000])
async def test_an_account_has_five_wrong_tries(
    directory: asyncpg.Pool, ana: str, wrong: str
) -> None:
    code = (await accounts.begin_link(ana)).code
    assert await refusals(6, wrong) == ["link_code_invalid"] * 5 + ["too_many_tries"]
    with pytest.raises(TooManyTries) as refused:
        await complete(code)
    assert timedelta() < refused.value.retry_at - datetime.now(UTC) <= timedelta(minutes=10)
    assert await named(ana) == {"telegram:1001"}
    # Another account, and the same id on another platform, are not concerned.
    assert (await complete(code, "6")).member_id == ana


async def test_the_tries_begin_again_when_the_time_is_over(
    directory: asyncpg.Pool, ana: str
) -> None:
    await refusals(5)
    await directory.execute("UPDATE directory_link_tries SET ends_at = now()")
    assert await refusals(6) == ["link_code_invalid"] * 5 + ["too_many_tries"]
    await directory.execute("UPDATE directory_link_tries SET ends_at = now()")
    assert (await complete((await accounts.begin_link(ana)).code)).member_id == ana


async def test_a_right_code_gives_back_no_tries(directory: asyncpg.Pool, ana: str) -> None:
    await refusals(4)
    await complete((await accounts.begin_link(ana)).code)
    assert await refusals(2) == ["link_code_invalid", "too_many_tries"]


async def test_of_fifty_wrong_tries_at_once_five_are_looked_at(
    directory: asyncpg.Pool, ana: str
) -> None:
    results = await asyncio.gather(
        *(complete("WRONGCODE234") for _ in range(50)), return_exceptions=True
    )
    kinds = [type(result) for result in results]
    assert kinds.count(LinkCodeInvalid) == 5
    assert kinds.count(TooManyTries) == 45


async def test_of_many_accounts_with_one_code_one_is_linked(
    directory: asyncpg.Pool, ana: str
) -> None:
    code = (await accounts.begin_link(ana)).code
    results = await asyncio.gather(
        *(complete(code, str(number)) for number in range(5, 25)), return_exceptions=True
    )
    linked = [result for result in results if isinstance(result, LinkedAccount)]
    assert len(linked) == 1
    others = {type(result) for result in results if not isinstance(result, LinkedAccount)}
    assert others == {LinkCodeInvalid}
    assert await named(ana) == {"telegram:1001", f"discord:{linked[0].account_id}"}


async def test_an_account_with_two_codes_at_once_is_linked_to_one_member(
    directory: asyncpg.Pool, ana: str
) -> None:
    codes = [(await accounts.begin_link(number)).code for number in ("#1", "#2")]
    results = await asyncio.gather(*map(complete, codes), return_exceptions=True)
    assert {type(result) for result in results} == {LinkedAccount, AccountTaken}


async def test_a_message_that_is_delivered_many_times_is_one_link(
    directory: asyncpg.Pool, ana: str
) -> None:
    code = (await accounts.begin_link(ana)).code
    results = await asyncio.gather(*(complete(code) for _ in range(20)))
    assert len({result.linked_at for result in results}) == 1
    assert len(await changes_of(ana)) == 1


async def test_a_link_races_with_a_redemption_of_the_same_account(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="1", status="active")
    for number in range(20, 30):
        await rows.member(directory, telegram_id=f"discord:{number}", status="active")
        member = await members.get_by_telegram_id(f"discord:{number}")
        code = (await accounts.begin_link(member.member_id)).code
        invitation = await invitations.create(created_by="#1")
        results = await asyncio.gather(
            accounts.complete_link(code, platform="telegram", account_id=str(number)),
            invitations.redeem(
                invitation.invitation_code,
                telegram_id=str(number),
                name="Eva",
                primary_role="developer",
            ),
            return_exceptions=True,
        )
        errors = [result for result in results if isinstance(result, BaseException)]
        assert len(errors) == 1, results
        holder = await members.find_by_account("telegram", number)
        assert holder is not None
        assert holder.telegram_id == str(number)


async def test_an_account_that_is_only_stated_can_not_begin(
    directory: asyncpg.Pool, ana: str
) -> None:
    await members.update_profile(ana, profile_data={"discord_id": "5"})
    with pytest.raises(MemberNotFound):
        await accounts.begin_link(account=("discord", "5"))
    linked = await complete((await accounts.begin_link(ana)).code)
    assert (linked.proof, linked.member_id) == (AccountProof.CODE, ana)
    assert linked.proved_at is not None
    assert (await accounts.begin_link(account=("discord", "5"))).code


async def test_an_account_that_another_member_states_passes_to_whoever_proves_it(
    directory: asyncpg.Pool, ana: str
) -> None:
    await members.update_profile("#2", profile_data={"discord_id": "5"})
    assert (await complete((await accounts.begin_link(ana)).code)).member_id == ana
    assert await named("#2") == {"telegram:1002"}


async def test_a_discord_member_proves_a_telegram_account(
    directory: asyncpg.Pool, ana: str
) -> None:
    await rows.member(directory, telegram_id="discord:5", status="active")
    code = (await accounts.begin_link(account=("discord", "5"))).code
    linked = await accounts.complete_link(
        code, platform="telegram", account_id=1003, username="eva"
    )
    assert (linked.member_id, linked.proof) == ("#3", AccountProof.CODE)
    assert await columns_of(directory, "#3") == ("1003", "eva")


async def test_the_code_of_a_merged_member_links_to_the_other_one(
    directory: asyncpg.Pool, ana: str
) -> None:
    code = (await accounts.begin_link("#2")).code
    await merge(directory, "#2", into="#1")
    assert (await complete(code)).member_id == "#1"
    assert (await accounts.begin_link("#2")).code
    assert await directory.fetchval(
        "SELECT count(*) FROM directory_link_codes WHERE member_id = '#1'"
    )


@pytest.mark.parametrize("number", [None, "#99", "#2"])
async def test_only_a_present_member_can_begin(
    directory: asyncpg.Pool, ana: str, number: str | None
) -> None:
    await members.remove("#2", actor="luis")
    account = ("discord", "77") if number is None else None
    with pytest.raises(MemberNotFound):
        await accounts.begin_link(number, account=account)


@pytest.mark.parametrize(
    ("number", "account"),
    [(None, None), ("#1", ANA), (None, ("discord",)), (None, "telegram"), (None, (None, "1"))],
)
async def test_a_link_begins_with_either_a_number_or_an_account(
    directory: asyncpg.Pool, ana: str, number: str | None, account: tuple[str, str] | None
) -> None:
    with pytest.raises(InvalidInput):
        await accounts.begin_link(number, account=account)


async def test_nobody_who_is_banned_or_a_bot_links_an_account(
    directory: asyncpg.Pool, ana: str
) -> None:
    codes = [(await accounts.begin_link(number)).code for number in ("#1", "#2")]
    await members.set_status(ana, "banned", actor="luis")
    await members.mark_bot("#2", actor="luis")
    for number, code, error in zip(("#1", "#2"), codes, (MemberBanned, BotRefused), strict=True):
        with pytest.raises(error):
            await accounts.begin_link(number)
        with pytest.raises(error):
            await complete(code)
    # A manager can link it, so that the ban follows the account.
    assert (await accounts.link(ana, "discord", "5", **BY)).member_id == ana
    await rows.member(directory, status="active")
    code = (await accounts.begin_link("#3")).code
    with pytest.raises(MemberBanned):
        await complete(code)
    with pytest.raises(BotRefused):
        await accounts.complete_link(code, platform="telegram", account_id="1002")


async def test_the_code_of_a_removed_member_is_invalid(directory: asyncpg.Pool, ana: str) -> None:
    code = (await accounts.begin_link(ana)).code
    await members.remove(ana, actor="luis")
    with pytest.raises(LinkCodeInvalid):
        await complete(code)


async def test_two_members_who_prove_to_be_one_are_remembered_and_nothing_changes(
    directory: asyncpg.Pool, ana: str
) -> None:
    code = (await accounts.begin_link(ana)).code
    for _ in range(2):
        with pytest.raises(AccountTaken) as refused:
            await accounts.complete_link(code, platform="telegram", account_id="1002")
        assert refused.value.member_id == "#2"
    pairs = await directory.fetch("SELECT member_a, member_b FROM directory_proved_pairs")
    assert [tuple(pair) for pair in pairs] == [("#1", "#2")]
    assert await named("#2") == {"telegram:1002"}
    # The code is not used up.
    assert (await complete(code)).member_id == ana


@pytest.fixture
async def merged(directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Merge with plain SQL, and return the duplicates with those into whom they were merged."""
    done: list[tuple[str, str]] = []

    async def merge_for_test(duplicate: str, *, into: str, actor: str, reason: str) -> None:
        done.append((duplicate, into))
        assert actor.count(":") == 1
        await engine.fetch(
            "UPDATE community_members SET merged_into = $2, deleted_at = now(),"
            " github_verified = false, telegram_id = 'merged:' || id WHERE member_id = $1",
            duplicate,
            into,
        )
        await engine.fetch(
            "UPDATE member_accounts SET member_id = $2 WHERE member_id = $1", duplicate, into
        )

    monkeypatch.setattr(accounts, "merge", merge_for_test)
    return done


async def test_a_contact_who_types_the_code_is_merged_into_the_member(
    directory: asyncpg.Pool, ana: str, merged: list[tuple[str, str]]
) -> None:
    await rows.member(directory, telegram_id="discord:5")
    code = (await accounts.begin_link(ana)).code
    linked = await complete(code, username="ana.garcia")
    assert merged == [("#3", "#1")]
    assert (linked.member_id, linked.username) == ("#1", "ana.garcia")
    assert await complete(code) == linked
    assert await named("#1") == {"telegram:1001", "discord:5"}


async def test_a_contact_who_began_is_merged_into_the_member_who_types_the_code(
    directory: asyncpg.Pool, ana: str, merged: list[tuple[str, str]]
) -> None:
    await rows.member(directory, telegram_id="discord:5")
    code = (await accounts.begin_link(account=("discord", "5"))).code
    linked = await accounts.complete_link(code, platform="telegram", account_id="1001")
    assert merged == [("#3", "#1")]
    assert (linked.member_id, linked.account_id) == ("#1", "1001")
    assert await named("#1") == {"telegram:1001", "discord:5"}


async def test_the_account_of_a_removed_contact_is_taken(
    directory: asyncpg.Pool, ana: str, merged: list[tuple[str, str]]
) -> None:
    await rows.member(directory, telegram_id="discord:5", deleted_at=datetime.now(UTC))
    with pytest.raises(AccountTaken):
        await complete((await accounts.begin_link(ana)).code)
    assert merged == []


async def test_an_error_of_the_merge_leaves_the_code_unused(
    directory: asyncpg.Pool, ana: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory, telegram_id="discord:5")

    async def refuse(duplicate: str, *, into: str, actor: str, reason: str) -> None:
        raise BotRefused

    monkeypatch.setattr(accounts, "merge", refuse)
    code = (await accounts.begin_link(ana)).code
    with pytest.raises(BotRefused):
        await complete(code)
    assert (await complete(code, "6")).member_id == ana


async def test_an_erasure_deletes_the_codes_the_tries_and_the_pairs(
    directory: asyncpg.Pool, ana: str
) -> None:
    code = (await accounts.begin_link(ana)).code
    with pytest.raises(AccountTaken):
        await accounts.complete_link(code, platform="telegram", account_id="1002")
    with pytest.raises(LinkCodeInvalid):
        await accounts.complete_link("WRONGCODE234", platform="telegram", account_id="1001")
    await privacy.erase(ana, actor="luis")
    for table in ("directory_link_codes", "directory_link_tries", "directory_proved_pairs"):
        assert await directory.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_nobody_keeps_an_account_that_is_linked_during_the_erasure(
    directory: asyncpg.Pool,
) -> None:
    for number in range(1, 11):
        await rows.member(directory, telegram_id=str(number + 1000))
        await asyncio.gather(
            privacy.erase(number, actor="luis"),
            accounts.link(number, "discord", number, **BY),
            return_exceptions=True,
        )
    assert await directory.fetchval("SELECT count(*) FROM member_accounts") == 0


async def test_a_link_in_a_transaction_that_is_rolled_back_leaves_nothing(
    directory: asyncpg.Pool, ana: str
) -> None:
    code = (await accounts.begin_link(ana)).code

    async def fail() -> None:
        async with transaction():
            await complete(code)
            await accounts.link(ana, "discord", "6", **BY)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert await named(ana) == {"telegram:1001"}
    assert (await complete(code)).member_id == ana


async def test_many_links_of_one_account_at_once_are_one(directory: asyncpg.Pool) -> None:
    for _ in range(10):
        await rows.member(directory, status="active")
    calls: list[Awaitable[LinkedAccount]] = [
        accounts.link(number, "discord", "5", **BY) for number in range(1, 11)
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results].count(LinkedAccount) == 1
    assert {type(result) for result in results} == {LinkedAccount, AccountTaken}


@pytest.mark.parametrize("links_first", [True, False])
async def test_a_github_account_that_is_linked_and_verified_at_once_belongs_to_one_member(
    directory: asyncpg.Pool, ana: str, links_first: bool
) -> None:
    link = accounts.link(ana, "github", "ana-dev", **BY)
    verify = members.verify_github("#2", github_username="Ana-Dev", github_profile_data={"id": 7})
    first, second = (link, verify) if links_first else (verify, link)
    waiting = await start_during(directory, first, second)
    with pytest.raises(MemberExists if links_first else AccountTaken):
        await waiting
    known = "SELECT member_id FROM member_accounts WHERE platform = 'github'"
    assert await directory.fetchval(known) == (ana if links_first else "#2")


async def test_a_github_account_that_is_linked_by_number_and_by_username_at_once_has_one_member(
    directory: asyncpg.Pool, ana: str
) -> None:
    by_number = accounts.link(ana, "github", "7", username="Ana-Dev", **BY)
    by_username = accounts.link("#2", "github", "ana-dev", **BY)
    waiting = await start_during(directory, by_number, by_username)
    with pytest.raises(AccountTaken):
        await waiting


async def link_during(
    directory: asyncpg.Pool, change: Callable[[PoolConnectionProxy], Awaitable[object]]
) -> object:
    """Link the Telegram account 1003 to #3 while another transaction has made a change."""
    async with (
        directory.acquire() as connection,
        asyncio.TaskGroup() as group,
        connection.transaction(),
    ):
        await change(connection)
        linking = group.create_task(catch(accounts.link("#3", "telegram", "1003", **BY)))
        await until_waiting(directory)
    return linking.result()


async def catch(call: Awaitable[object]) -> object:
    try:
        return await call
    except DirectoryError as error:
        return error


async def test_whoever_joined_with_the_account_at_the_same_time_keeps_it(
    directory: asyncpg.Pool, ana: str
) -> None:
    await rows.member(directory, telegram_id="discord:5")

    async def join(connection: PoolConnectionProxy) -> None:
        await rows.member(connection, telegram_id="1003")

    refused = await link_during(directory, join)
    assert isinstance(refused, AccountTaken)
    assert refused.member_id == "#4"
    assert await columns_of(directory, "#3") == ("discord:5", None)


async def test_nobody_who_is_erased_at_the_same_time_gets_an_account(
    directory: asyncpg.Pool, ana: str
) -> None:
    await rows.member(directory, telegram_id="1009")

    async def erase(connection: PoolConnectionProxy) -> None:
        await connection.execute(
            "UPDATE community_members SET telegram_id = 'erased:1', deleted_at = now()"
            " WHERE member_id = '#3'"
        )

    assert isinstance(await link_during(directory, erase), MemberNotFound)
    assert await named("#3") == set()


@pytest.mark.parametrize("column", ["used_at", "expires_at"])
async def test_a_code_that_is_over_counts_as_a_wrong_one(
    directory: asyncpg.Pool, ana: str, column: str
) -> None:
    code = (await accounts.begin_link(ana)).code
    await directory.execute(f"UPDATE directory_link_codes SET {column} = now()")
    assert await refusals(6, code) == ["link_code_invalid"] * 5 + ["too_many_tries"]
