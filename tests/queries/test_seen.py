"""The author of an update is looked up once a minute, and their username stays current."""

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import Any

import asyncpg
import pytest

from community_directory.database import engine, transaction
from community_directory.errors import DatabaseUnavailable, InvalidInput
from community_directory.queries import accounts, audit, invitations, member_cache, members
from community_directory.queries.members import Member
from tests.queries.cases import CASES, HELPERS, arguments, community, undone
from tests.tables import rows
from tests.waiting import until_waiting

SECONDS = 30


@dataclass
class Watch:
    """What the helpers ask the database, and the clock of their memory."""

    statements: int = 0
    later: float = 0

    def let_a_minute_pass(self) -> None:
        self.later += member_cache.LIFETIME_SECONDS


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch, fetch = Watch(), engine.fetch

    async def counted(*statement: Any, **values: Any) -> list[Any]:
        watch.statements += 1
        return await fetch(*statement, **values)

    monkeypatch.setattr(engine, "fetch", counted)
    monkeypatch.setattr(member_cache, "monotonic", lambda: monotonic() + watch.later)
    return watch


async def see(
    telegram_id: int | str = 101, username: str | None = "ana", name: str = "Ana on Telegram"
) -> Member | None:
    return await members.seen(telegram_id=telegram_id, username=username, name=name)


async def usernames(directory: asyncpg.Pool) -> dict[str, str | None]:
    found = await directory.fetch("SELECT member_id, telegram_username FROM community_members")
    return {row["member_id"]: row["telegram_username"] for row in found}


async def account_usernames(directory: asyncpg.Pool) -> dict[str, str | None]:
    found = await directory.fetch("SELECT account_id, username FROM member_accounts")
    return {row["account_id"]: row["username"] for row in found}


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> str:
    await rows.member(
        directory, telegram_id="101", telegram_username="ana", name="Ana", status="active"
    )
    return "#1"


# Who it is


async def test_the_author_is_known_by_each_of_their_accounts(
    directory: asyncpg.Pool, ana: str
) -> None:
    await accounts.link(ana, "telegram", "5001", username="ana_work", actor="luis")
    await accounts.link(ana, "discord", "5002", username="ana.d", actor="luis")
    member = await members.get(ana)
    assert await see(101) == await see("101") == member
    assert await see(5001, "ana_work") == await see("discord:5002", "x") == member
    assert await see(999, None) is None
    await members.remove(ana, actor="luis")
    assert await see(101) is None


async def test_a_merged_member_is_the_other_one(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    await rows.member(directory, telegram_id="102", telegram_username="ana2")
    await see(102, "ana2")
    await members.merge("#2", into=ana, actor="luis")
    member = await members.get(ana)
    watch.statements = 0
    assert await see(102, "ana2") == member
    assert watch.statements == 1
    await members.unmerge("#2", actor="luis")
    assert (await members.get("#2")).telegram_username == "ana2"


async def test_a_malformed_value_is_refused(ana: str) -> None:
    malformed: dict[str, Any]
    for malformed in (
        {"telegram_id": "1 0"},
        {"username": "a b"},
        {"name": "x" * 256},
        {"name": 5},
    ):
        with pytest.raises(InvalidInput):
            await see(**malformed)


# How often the database is asked


async def test_the_database_is_asked_once_a_minute(ana: str, watch: Watch) -> None:
    for account, username in ((101, "ana"), (999, "nobody")):
        watch.statements = 0
        found = [await see(account, username) for _ in range(100)]
        assert watch.statements == 1
        assert all(member is found[0] for member in found)
        watch.let_a_minute_pass()
        await see(account, username)
        assert watch.statements == 2


async def test_calls_at_once_share_one_statement(ana: str, watch: Watch) -> None:
    found = await asyncio.wait_for(asyncio.gather(*(see() for _ in range(50))), SECONDS)
    assert watch.statements == 1
    assert {member and member.member_id for member in found} == {ana}


async def test_calls_at_once_go_on_without_one_that_is_cancelled(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    async with directory.acquire() as other, other.transaction():
        await other.execute("LOCK TABLE member_accounts")
        calls = [asyncio.create_task(see()) for _ in range(5)]
        await until_waiting(directory)
        calls[0].cancel()
        calls[3].cancel()
    found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), SECONDS)
    member = await members.get(ana)
    assert [isinstance(each, asyncio.CancelledError) for each in found] == [
        *(True, False, False, True, False)
    ]
    assert [each for each in found if isinstance(each, Member)] == [member] * 3
    assert watch.statements == 3  # with that of `get`


async def test_a_failure_is_told_to_all_who_wait_and_not_kept(
    ana: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, asked = engine.fetch, 0

    async def fails(*_: Any, **__: Any) -> list[Any]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise DatabaseUnavailable("The database does not answer.")

    monkeypatch.setattr(engine, "fetch", fails)
    found = await asyncio.gather(*(see() for _ in range(5)), return_exceptions=True)
    assert {type(each) for each in found} == {DatabaseUnavailable}
    with pytest.raises(DatabaseUnavailable):
        await see()
    assert asked == 2
    monkeypatch.setattr(engine, "fetch", fetch)
    assert await see() == await members.get(ana)


async def test_the_memory_is_bounded(ana: str, watch: Watch, monkeypatch: Any) -> None:
    monkeypatch.setattr(member_cache, "MAX_CACHED", 10)
    for account in range(1, 31):
        await see(account, None)
    assert engine.pool is not None
    cache = member_cache.member_cache(engine.pool)
    assert len(cache) == 10
    watch.let_a_minute_pass()
    await see()
    assert len(cache) == 1
    assert not cache.pending


# What others change


async def test_a_ban_by_another_program_is_seen_within_a_minute(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    await see()
    await directory.execute("UPDATE community_members SET status = 'banned'")
    watch.let_a_minute_pass()
    member = await see()
    assert member is not None
    assert member.status == "banned"


CHANGES = [
    helper
    for helper, case in CASES.items()
    if (helper.startswith(("members.", "accounts.")) and "actor" in case.valid)
    or helper in {"invitations.redeem", "accounts.complete_link"}
]


@pytest.mark.parametrize("helper", CHANGES)
async def test_what_this_process_changes_is_seen_at_once(
    directory: asyncpg.Pool, helper: str
) -> None:
    await community(directory)
    people: dict[int | str, str | None] = {101: "ana", 102: None, 103: None, 104: None, 900: None}
    people["discord:5"] = None
    for account, username in people.items():
        await see(account, username)
    await HELPERS[helper](**arguments(helper))
    for account, username in people.items():
        expected = await members.find_by_telegram_id(account)
        if account in {101, 900} and expected is not None:
            username = expected.telegram_username  # noqa: PLW2901
        assert await see(account, username) == expected


async def test_a_username_that_is_given_to_another_member_is_lost_at_once(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="101", telegram_username="ana_g")
    await rows.member(directory, telegram_id="102")
    await see(101, "ana_g")
    await members.set_username(2, "ana_g")
    former = await see(101, None)
    assert former is not None
    assert former.telegram_username is None


async def test_whoever_has_just_redeemed_is_known_at_once(
    directory: asyncpg.Pool, ana: str
) -> None:
    await rows.member(directory, telegram_id="102", name="Bo")
    for account in (900, 102):
        await see(account, None)
        code = (await invitations.create(created_by=ana)).invitation_code
        redeemed = await invitations.redeem(
            code, telegram_id=account, name="Eva", primary_role="developer"
        )
        assert await see(account, None) == redeemed.member


async def test_whoever_comes_back_is_known_by_each_account_at_once(
    directory: asyncpg.Pool, ana: str
) -> None:
    bo = (await rows.member(directory, telegram_id="102", status="active"))["member_id"]
    await accounts.link(bo, "telegram", "5001", actor="luis")
    await members.remove(bo, actor="luis")
    assert [await see(account, None) for account in (102, 5001)] == [None, None]
    code = (await invitations.create(created_by=ana)).invitation_code
    redeemed = await invitations.redeem(code, telegram_id=102, name="Eva", primary_role="developer")
    assert [await see(account, None) for account in (102, 5001)] == [redeemed.member] * 2


async def test_a_lookup_from_before_a_change_is_not_kept(
    directory: asyncpg.Pool, ana: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = engine.fetch
    has_read, may_return = asyncio.Event(), asyncio.Event()

    async def slow(*statement: Any, **values: Any) -> list[Any]:
        records = await fetch(*statement, **values)
        has_read.set()
        await may_return.wait()
        return records

    monkeypatch.setattr(engine, "fetch", slow)
    early = asyncio.create_task(see())
    await asyncio.wait_for(has_read.wait(), SECONDS)
    monkeypatch.setattr(engine, "fetch", fetch)
    await members.set_status(ana, "banned", actor="luis")
    may_return.set()
    assert (await early).status == "active"  # type: ignore[union-attr]
    assert (await see()).status == "banned"  # type: ignore[union-attr]


# In a transaction


async def test_a_transaction_sees_its_own_changes_and_others_see_them_after_it(
    directory: asyncpg.Pool, ana: str
) -> None:
    async def status() -> str:
        member = await see()
        assert member is not None
        return member.status

    async def elsewhere() -> str:
        # A task of its own, outside of the transaction.
        context = engine.current_transaction.set(None)
        try:
            return await status()
        finally:
            engine.current_transaction.reset(context)

    assert await status() == "active"
    async with transaction():
        async with transaction():
            await members.set_status(ana, "suspended", actor="luis")
        assert await status() == "suspended"
        assert await asyncio.create_task(elsewhere()) == "active"
    assert await status() == "suspended"


async def test_what_a_transaction_takes_back_is_not_kept(directory: asyncpg.Pool, ana: str) -> None:
    async with undone():
        await members.set_status(ana, "banned", actor="luis")
        assert (await see()).status == "banned"  # type: ignore[union-attr]
    assert (await see()).status == "active"  # type: ignore[union-attr]


# The username


async def test_a_new_username_is_stored_and_leaves_its_former_holder(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    await rows.member(directory, telegram_id="102", telegram_username="Mona", name="Mona")
    await rows.member(
        directory,
        telegram_id="103",
        telegram_username="mona",
        deleted_at=await directory.fetchval("SELECT now()"),
    )
    member = await see(101, "mONA")
    assert member is not None
    assert (member.telegram_username, member.name) == ("mONA", "Ana")
    assert await usernames(directory) == {"#1": "mONA", "#2": None, "#3": None}
    assert await account_usernames(directory) == {"101": "mONA", "102": None, "103": None}
    assert await members.find_by_username("mona") == member
    for number, change in ((ana, ["ana", "mONA"]), ("#2", ["Mona", None])):
        [entry] = [e for e in (await audit.history(number)).items if e.action == "UPDATE"]
        assert (entry.actor, entry.changes) == ("telegram", {"telegram_username": change})
    watch.statements = 0
    watch.let_a_minute_pass()
    assert await see(101, "mONA") == member
    assert watch.statements == 1


async def test_a_username_moves_between_two_accounts_of_one_person(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    await accounts.link(ana, "telegram", "5001", username="ana_work", actor="luis")
    await see(5001, "ana")
    assert await account_usernames(directory) == {"101": None, "5001": "ana"}
    assert await usernames(directory) == {"#1": None}
    watch.let_a_minute_pass()
    await see(101, "ana")
    assert await account_usernames(directory) == {"101": "ana", "5001": None}
    assert await usernames(directory) == {"#1": "ana"}


async def test_a_stranger_takes_a_username_from_accounts_of_telegram(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    await accounts.link(ana, "telegram", "5001", username="ana_work", actor="luis")
    await rows.member(directory, telegram_id="discord:7", telegram_username="ana")
    for username in ("Ana", "ana_WORK"):
        assert await see(999, username) is None
        watch.let_a_minute_pass()
    assert await account_usernames(directory) == {"101": None, "5001": None, "7": None}
    # Who has no account of Telegram may be the stranger; a member is not.
    assert await usernames(directory) == {"#1": None, "#2": "ana"}
    await see(101, "ana")
    assert await usernames(directory) == {"#1": "ana", "#2": None}


async def test_a_removed_member_keeps_and_takes_no_username(
    directory: asyncpg.Pool, ana: str
) -> None:
    await members.remove(ana, actor="luis")
    await rows.member(directory, telegram_id="102", telegram_username="mona")
    assert await see(101, "mona") is None
    assert await usernames(directory) == {"#1": "ana", "#2": None}


async def test_a_username_that_an_import_has_stored_for_an_account_alone_is_corrected(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    await directory.execute("UPDATE member_accounts SET username = 'former'")
    await see()
    assert await account_usernames(directory) == {"101": "ana"}
    await directory.execute("UPDATE member_accounts SET username = 'former'")
    await rows.member(directory, telegram_id="102")
    await see(102, "former")
    assert await account_usernames(directory) == {"101": None, "102": "former"}
    assert await usernames(directory) == {"#1": "ana", "#2": "former"}


async def test_a_deleted_account_loses_its_username_and_not_its_name(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    await rows.member(directory, telegram_id="102", name="102")
    for name in ("", " ", "\u2800", "Deleted Account"):
        await see(101, "ana")
        watch.let_a_minute_pass()
        for account, kept in ((101, "Ana"), (102, "102")):
            member = await see(account, None, name)
            assert member is not None
            assert (member.name, member.telegram_username) == (kept, None)
        assert await account_usernames(directory) == {"101": None, "102": None}
        watch.let_a_minute_pass()


async def test_a_name_that_an_import_did_not_know_is_filled_in(
    directory: asyncpg.Pool, ana: str, watch: Watch
) -> None:
    await rows.member(directory, telegram_id="102", name="102")
    await rows.member(directory, telegram_id="discord:5", name="discord:5")
    await rows.member(directory, telegram_id="104", name="102")
    for account, name in ((102, "Bo"), ("discord:5", "Eva"), (104, "102"), (101, "Ana")):
        member = await see(account, None, "Bo" if account != "discord:5" else "Eva")
        assert member is not None
        assert member.name == name
        watch.let_a_minute_pass()


async def test_an_account_of_another_platform_is_only_looked_up(
    directory: asyncpg.Pool, ana: str
) -> None:
    await rows.member(directory, telegram_id="discord:101", telegram_username="bo")
    await accounts.link("#2", "discord", "101", username="bo.d", actor="luis")
    member = await see("discord:101", "ana")
    assert member == await members.get("#2")
    assert await usernames(directory) == {"#1": "ana", "#2": "bo"}
    assert (await account_usernames(directory))["101"] == "bo.d"
    # Another account of Telegram has the same digits.
    await accounts.link(ana, "telegram", "5001", username="ana_work", actor="luis")
    await rows.member(directory, telegram_id="discord:5001", name="discord:5001")
    named = await see("discord:5001", "ana", "Eva")
    assert named is not None
    assert named.name == "Eva"
    assert (await accounts.of(ana))[-1].username == "ana_work"


async def test_of_several_members_with_one_username_one_keeps_it(directory: asyncpg.Pool) -> None:
    for account in range(101, 107):
        await rows.member(directory, telegram_id=str(account))
    await asyncio.wait_for(
        asyncio.gather(*(see(account, "mona") for account in range(101, 107))), SECONDS
    )
    assert sorted(name for name in (await usernames(directory)).values() if name) == ["mona"]
    names = (await account_usernames(directory)).values()
    assert sorted(name for name in names if name) == ["mona"]


async def test_members_who_swap_their_usernames_do_not_deadlock(
    directory: asyncpg.Pool, watch: Watch
) -> None:
    for number in range(4):
        await rows.member(directory, telegram_id=str(101 + number), telegram_username=f"u{number}")
    for turn in range(1, 6):
        watch.let_a_minute_pass()
        swaps = [see(101 + number, f"u{(number + turn) % 4}") for number in range(4)]
        await asyncio.wait_for(asyncio.gather(*swaps), SECONDS)
        assert set((await usernames(directory)).values()) <= {"u0", "u1", "u2", "u3", None}
