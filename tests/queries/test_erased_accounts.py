"""A person is the same under each of their accounts: known, banned, erased, and welcome again."""

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from community_directory.database import engine, transaction
from community_directory.errors import (
    AlreadyMember,
    ConfigurationError,
    DatabaseUnavailable,
    InvalidInput,
    InvitationCancelled,
    MemberBanned,
    MemberExists,
    MemberNotFound,
)
from community_directory.queries import audit, invitations, members, privacy, relationships
from community_directory.queries.bans import make_fingerprint
from community_directory.queries.invitations import Redemption
from community_directory.settings import load_settings
from tests.queries.test_participation import blocked
from tests.queries.test_privacy import KEY, data
from tests.tables import rows
from tests.waiting import until_waiting

ENTITY = "0d7a4c1e-5b2f-4c3d-8e9f-a1b2c3d4e5f6"
NEWCOMER: dict[str, Any] = {"name": "Bea", "primary_role": "designer"}
LINK = (
    "INSERT INTO member_accounts (id, platform, account_id, member_id, proof, proved_at)"
    " VALUES (gen_random_uuid(), $1, $2, $3, 'manager', now())"
)
LOCK_MEMBERS = "SELECT FROM community_members ORDER BY member_id FOR NO KEY UPDATE"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", KEY)
    load_settings.cache_clear()


@pytest.fixture
async def code(directory: asyncpg.Pool) -> str:
    """Return the code of an open invitation of #1."""
    await rows.member(directory, telegram_id="500", status="active")
    return (await invitations.create(created_by="#1")).invitation_code


async def member(directory: asyncpg.Pool, **columns: Any) -> str:
    """Add a member with the Telegram account 1001 and the Discord account 5; return the number."""
    number = str((await rows.member(directory, telegram_id="1001", **columns))["member_id"])
    await rows.account(directory, member_id=number, platform="discord", account_id="5")
    return number


async def merge(directory: asyncpg.Pool, duplicate: str, into: str) -> None:
    """Merge a member into another one as `members.merge` leaves the rows."""
    async with directory.acquire() as connection, connection.transaction():
        await merge_rows(connection, duplicate, into)


async def merge_rows(connection: rows.Database, duplicate: str, into: str) -> None:
    await connection.execute(
        "UPDATE community_members SET telegram_id = 'merged:' || gen_random_uuid(),"
        " deleted_at = now(), github_verified = false, merged_into = $2 WHERE member_id = $1",
        duplicate,
        into,
    )
    await connection.execute(
        "UPDATE member_accounts SET member_id = $2 WHERE member_id = $1", duplicate, into
    )


async def refuses(error: type[Exception], code: str, account: str, **more: Any) -> None:
    """Check that each way to join with an account raises this error."""
    for call in (
        members.add(telegram_id=account, **NEWCOMER, **more),
        invitations.redeem(code, telegram_id=account, **NEWCOMER, **more),
    ):
        with pytest.raises(error):
            await call


# Known accounts


@pytest.mark.parametrize("account", ["1001", "discord:5"])
async def test_a_member_is_known_by_each_account(
    directory: asyncpg.Pool, code: str, account: str
) -> None:
    number = await member(directory, status="active")
    said = f"^This account already belongs to member {number}.$"
    with pytest.raises(MemberExists, match=said):
        await members.add(telegram_id=account, **NEWCOMER)
    with pytest.raises(MemberExists, match=said):
        await members.check_addable(account)
    with pytest.raises(AlreadyMember) as already:
        await invitations.redeem(code, telegram_id=account, **NEWCOMER)
    assert already.value.member_id == number


async def test_a_contact_joins_with_a_second_account_and_keeps_number_and_username(
    directory: asyncpg.Pool, code: str
) -> None:
    number = await member(directory, telegram_username="ana")
    redeemed = await invitations.redeem(
        code, telegram_id="discord:5", telegram_username="bea", **NEWCOMER
    )
    person = redeemed.member
    assert (person.member_id, person.status, person.name) == (number, "pending", "Bea")
    assert (person.telegram_id, person.telegram_username) == ("1001", "ana")
    again = await invitations.redeem(code, telegram_id="1001", **NEWCOMER)
    assert (again.repeated, again.member.member_id) == (True, number)


async def test_a_removed_member_comes_back_with_a_second_account(
    directory: asyncpg.Pool, code: str
) -> None:
    number = await member(directory, status="active")
    await members.remove(number, actor="eva")
    back = (await invitations.redeem(code, telegram_id="discord:5", **NEWCOMER)).member
    assert (back.member_id, back.status, back.deleted_at) == (number, "active", None)


async def test_the_account_of_a_merged_member_is_that_of_the_other_one(
    directory: asyncpg.Pool, code: str
) -> None:
    await rows.member(directory, telegram_id="discord:77", status="pending")
    number = await member(directory, status="active")
    await merge(directory, "#2", number)
    with pytest.raises(AlreadyMember) as refused:
        await invitations.redeem(code, telegram_id="discord:77", **NEWCOMER)
    assert refused.value.member_id == number


async def test_an_account_that_a_profile_only_states_belongs_to_whoever_joins_with_it(
    directory: asyncpg.Pool, code: str
) -> None:
    await rows.member(directory, profile_data={"discord_id": "5"})
    added = await members.add(telegram_id="discord:5", **NEWCOMER)
    assert await owner(directory, "discord", "5") == added.member_id
    await rows.member(directory, profile_data={"discord_id": "6"})
    joined = await invitations.redeem(code, telegram_id="discord:6", **NEWCOMER)
    assert await owner(directory, "discord", "6") == joined.member.member_id


async def owner(directory: asyncpg.Pool, platform: str, account_id: str) -> Any:
    return await directory.fetchval(
        "SELECT member_id FROM member_accounts WHERE platform = $1 AND account_id = $2",
        platform,
        account_id,
    )


# Bans


async def test_a_banned_member_is_refused_with_every_account(
    directory: asyncpg.Pool, code: str
) -> None:
    number = await member(directory, status="active")
    await rows.member(directory, status="banned", profile_data={"discord_id": "6"})
    await members.set_status(number, "banned", actor="eva")
    for account in ("1001", "discord:5", "discord:6"):
        await refuses(MemberBanned, code, account)
        with pytest.raises(MemberBanned):
            await members.check_addable(account)
    await refuses(MemberBanned, code, "9", profile_data={"discord_id": "5"})
    await members.remove(number, actor="eva")
    await refuses(MemberBanned, code, "discord:5")
    assert (await members.add(telegram_id="discord:7", **NEWCOMER)).status == "not_member"


@pytest.mark.usefixtures("key")
async def test_a_banned_person_who_was_erased_is_refused_with_every_account(
    directory: asyncpg.Pool, code: str
) -> None:
    number = await member(directory, status="banned", profile_data={"discord_id": "6"})
    await rows.account(directory, member_id=number, platform="telegram", account_id="2002")
    await rows.account(directory, member_id=number, platform="elizaos", account_id=ENTITY)
    await members.erase(number, actor="eva")
    for account in ("1001", "2002", "discord:5", "discord:6", f"elizaos:{ENTITY}"):
        await refuses(MemberBanned, code, account)
    await refuses(MemberBanned, code, "9", profile_data={"discord_id": "5"})
    await members.erase(number, actor="eva")  # once more
    await refuses(MemberBanned, code, "discord:5")
    assert (await members.add(telegram_id="discord:7", **NEWCOMER)).status == "not_member"


@pytest.mark.usefixtures("key")
async def test_a_person_who_is_banned_after_the_erasure_cannot_come_back(
    directory: asyncpg.Pool, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await member(directory, status="active")
    await members.erase(number, actor="eva")
    await members.set_status(number, "banned", actor="eva")
    await refuses(MemberBanned, code, "discord:5")
    monkeypatch.delenv("DIRECTORY_SECRET_KEY")
    load_settings.cache_clear()
    await refuses(ConfigurationError, code, "discord:5")


@pytest.mark.usefixtures("key")
async def test_an_erasure_of_an_account_that_was_added_again_does_not_lift_the_ban(
    directory: asyncpg.Pool, code: str
) -> None:
    number = await member(directory, status="banned")
    await members.erase(number, actor="eva")
    again = await rows.member(directory, telegram_id="1001")  # by hand
    await members.erase(again["member_id"], actor="eva")
    await refuses(MemberBanned, code, "1001")


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("known", "verified"),
    [({"id": 583231}, {"databaseId": "583231"}), ({}, {}), ({}, {"id": 583231})],
    ids=["the number", "the username", "the username, with a number by now"],
)
async def test_nobody_else_verifies_the_github_account_of_a_banned_person_who_was_erased(
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    known: dict[str, Any],
    verified: dict[str, Any],
) -> None:
    number = await member(directory)
    await members.verify_github(number, github_username="Ana-Dev", github_profile_data=known)
    await members.set_status(number, "banned", actor="eva")
    await members.erase(number, actor="eva")
    other = str((await rows.member(directory))["member_id"])
    with pytest.raises(MemberBanned):
        await members.verify_github(other, github_username="ana-dev", github_profile_data=verified)
    assert not (await members.get(other)).github_verified
    await members.verify_github(other, github_username="bo", github_profile_data={"id": 7})
    monkeypatch.delenv("DIRECTORY_SECRET_KEY")
    load_settings.cache_clear()
    with pytest.raises(ConfigurationError):
        await members.verify_github(other, github_username="cy", github_profile_data={"id": 8})


@pytest.mark.usefixtures("key")
async def test_another_spelling_of_an_account_does_not_lift_the_ban(
    directory: asyncpg.Pool, code: str
) -> None:
    number = str((await rows.member(directory, telegram_id="github:Ana"))["member_id"])
    await members.set_status(number, "banned", actor="eva")
    await members.erase(number, actor="eva")
    for account in ("github:Ana", "github:ana", "github:ANA"):
        await refuses(MemberBanned, code, account)
    assert await members.find_erased(["github:Ana", "github:ANA", "github:bo"]) == {
        "github:Ana",
        "github:ANA",
    }


@pytest.mark.usefixtures("key")
async def test_a_ban_that_another_program_stores_in_the_column_is_remembered(
    directory: asyncpg.Pool, code: str
) -> None:
    await rows.member(directory, telegram_id=f"banned:{make_fingerprint('7')}", status="banned")
    await refuses(MemberBanned, code, "7")
    await rows.member(directory, telegram_id="8", status="banned")
    await directory.execute(
        "UPDATE community_members SET telegram_id = $1 WHERE telegram_id = '8'",
        f"banned:{make_fingerprint('8')}",
    )
    await refuses(MemberBanned, code, "8")


# Erased people who come back


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("way", ["add", "redeem"])
async def test_an_erased_person_is_recognized_until_they_come_back_by_themselves(
    directory: asyncpg.Pool, code: str, way: str
) -> None:
    number = await member(directory)
    accounts = ["1001", "discord:5", "7"]
    assert await members.find_erased(accounts) == set()
    await members.erase(number, actor="eva")
    assert await members.find_erased(accounts) == {"1001", "discord:5"}
    if way == "add":
        back = await members.add(telegram_id="discord:5", **NEWCOMER)
    else:
        back = (await invitations.redeem(code, telegram_id="discord:5", **NEWCOMER)).member
    assert back.member_id != number
    assert await members.find_erased(accounts) == {"1001"}
    await members.erase(back.member_id, actor="eva")
    assert await members.find_erased(accounts) == {"1001", "discord:5"}


@pytest.mark.usefixtures("key")
async def test_nothing_is_forgotten_of_an_erased_person_who_is_refused(
    directory: asyncpg.Pool, code: str
) -> None:
    await members.erase(await member(directory), actor="eva")
    await invitations.cancel(code, actor="eva")
    with pytest.raises(InvitationCancelled):
        await invitations.redeem(code, telegram_id="1001", **NEWCOMER)
    assert await members.find_erased(["1001"]) == {"1001"}


async def test_nobody_is_recognized_without_the_key(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await members.erase(await member(directory), actor="eva")
    assert await members.find_erased(["1001", "discord:5"]) == set()
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", KEY)
    load_settings.cache_clear()
    assert await members.find_erased(["1001", "discord:5"]) == set()
    back = await members.add(telegram_id="1001", **NEWCOMER)
    await members.erase(back.member_id, actor="eva")
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", KEY[::-1])
    load_settings.cache_clear()
    assert await members.find_erased(["1001"]) == set()


@pytest.mark.parametrize("prefix", ["erased", "banned"])
async def test_an_erased_member_can_get_no_account(directory: asyncpg.Pool, prefix: str) -> None:
    await rows.member(directory, telegram_id=f"{prefix}:1", status="banned")
    other = await rows.member(directory)
    await rows.account(directory, member_id=other["member_id"], platform="discord", account_id="5")
    for statement in (
        LINK.replace("$1", "'discord'").replace("$2", "'6'").replace("$3", "'#1'"),
        "UPDATE member_accounts SET member_id = '#1' WHERE platform = 'discord'",
    ):
        with pytest.raises(InvalidInput, match="This member was erased") as refused:
            await engine.fetch(statement)
        assert refused.value.code == "member_account_of_erased"


# Everything of a person, also of those who were merged into them


@pytest.fixture
async def merged(directory: asyncpg.Pool) -> tuple[str, str]:
    """Return the numbers of a member with many accounts, and of the member merged into it.

    Each of their values contains "zq".
    """
    await rows.member(directory, status="active", telegram_id="500")
    number = (
        await members.add(
            telegram_id="880011",
            telegram_username="zq_first",
            name="Zq One",
            primary_role="zq-role",
            profile_data={"discord_id": "880022"},
            actor="discord:880022",
            reason="zq reason",
        )
    ).member_id
    duplicate = (
        await members.add(
            telegram_id="discord:880033",
            name="Zq Two",
            primary_role="zq-role",
            country="Zqland",
            actor="discord:880033",
        )
    ).member_id
    await members.update_profile(duplicate, name="Zq Three", reason="zq reason", actor="zq_second")
    await invitations.redeem(
        (await invitations.create(created_by="#1")).invitation_code,
        telegram_id="discord:880033",
        name="Zq Two",
        primary_role="zq-role",
        organization="Zq Hives",
    )
    await invitations.create(created_by="#1", telegram_username="zq_second", reason="zq reason")
    for platform, account_id, username, details in (
        ("telegram", "880044", "zq_second", None),
        ("elizaos", ENTITY, None, {"agent_id": "zq-agent"}),
        ("discord", "880055", "zq.discord", None),
    ):
        await rows.account(
            directory,
            member_id=duplicate,
            platform=platform,
            account_id=account_id,
            username=username,
            details=details,
        )
    rename = "UPDATE member_accounts SET username = $1 WHERE account_id = '880055'"
    for username in ("zq.between", "zq.new"):
        assert await directory.execute(rename, username) == "UPDATE 1"
    await directory.execute("DELETE FROM member_accounts WHERE account_id = '880055'")
    await merge(directory, duplicate, number)
    for room in ("880011", "880044", "discord:880033", "880033"):
        await rows.event(directory, member_id=number, room_id=room)
    await rows.bot(directory, telegram_id="880044", name="zq")
    for entity in (ENTITY, ENTITY.upper(), number, duplicate):
        await relationships.link(entity, "somebody", "MENTORED", {"topic": "zq-bees"})
    await relationships.link("others", "entirely", "MENTORED", {"topic": "other-bees"})
    # What the person did themselves, to somebody else
    for actor in (
        "880044",
        "telegram:880044",
        "@zq_second",
        "discord:880055",
        "discord:zq.between",
    ):
        await members.update_profile("#1", country=actor[-1], actor=actor, reason="theirs")
    return number, duplicate


VALUES = [
    *("880011", "880022", "880033", "880044", "880055", "zq", ENTITY),
    *("zq.discord", "zq-agent", "zq-bees", "zq_first", "zq_second", "zqland", "zq hives"),
]


async def read_without_codes(database: str) -> str:
    """Return the rows of a database, without invitation codes, which are random letters."""
    text = (await data(database)).lower()
    return re.sub(r"\b[0-9a-z]{16}\b|\bmerged:[-0-9a-f]{36}", "", text)


@pytest.mark.parametrize("freed", [False, True], ids=["its own number", "the freed number"])
async def test_a_dump_after_an_erasure_contains_no_value_of_any_account_or_merged_member(
    merged: tuple[str, str], database: str, freed: bool
) -> None:
    before = await read_without_codes(database)
    assert [value for value in VALUES if value not in before] == []
    await members.erase(merged[freed], actor="eva", reason="asked")
    after = await read_without_codes(database)
    assert [line for line in after.splitlines() if any(value in line for value in VALUES)] == []
    assert "other-bees" in after
    assert "theirs" in after
    history = await audit.history(merged[0], limit=100)
    assert (history.items[0].actor, history.items[0].reason) == ("eva", "asked")


@pytest.mark.usefixtures("key")
async def test_every_account_of_merged_members_is_recognized_after_the_erasure(
    merged: tuple[str, str],
) -> None:
    await members.erase(merged[1], actor="eva")
    accounts = {"880011", "880044", "discord:880022", "discord:880033", f"elizaos:{ENTITY}"}
    assert await members.find_erased([*accounts, "discord:880055", "7"]) == accounts


async def test_a_merged_member_stays_merged_when_it_is_erased(
    merged: tuple[str, str], directory: asyncpg.Pool
) -> None:
    await members.erase(merged[0], actor="eva")
    left = await directory.fetch(
        "SELECT split_part(telegram_id, ':', 1), name, organization, merged_into"
        " FROM community_members WHERE member_id = ANY($1) ORDER BY member_id",
        merged,
    )
    assert [tuple(row) for row in left] == [
        ("erased", "Erased member", None, None),
        ("merged", "Erased member", None, merged[0]),
    ]
    await members.erase(merged[0], actor="eva")


async def test_an_erasure_keeps_the_accounts_of_others(
    merged: tuple[str, str], directory: asyncpg.Pool
) -> None:
    await member(directory)
    others = "SELECT * FROM member_accounts WHERE account_id IN ('500', '1001', '5')"
    before = await directory.fetch(others)
    await members.erase(merged[0], actor="eva")
    assert await directory.fetch(others) == before
    assert await directory.fetchval("SELECT count(*) FROM member_accounts") == len(before) == 3


async def test_an_export_contains_accounts_and_merged_members_under_either_number(
    merged: tuple[str, str],
) -> None:
    exported = await members.export(merged[0])
    assert {account["account_id"] for account in exported["accounts"]} == {
        *("880011", "880022", "880033", "880044"),
        ENTITY,
    }
    assert [row["name"] for row in exported["merged_members"]] == ["Zq Two"]
    assert "search_text" not in exported["merged_members"][0]
    # That of the entity, whose two spellings are one, and those of both numbers
    assert len(exported["relationships"]) == 3
    assert len(exported["invitations"]) == 2
    assert {entry["member_id"] for entry in exported["changes"]} == set(merged)
    assert await members.export(merged[1]) == exported


async def test_a_reason_for_an_earlier_owner_of_an_account_is_erased_with_the_account(
    directory: asyncpg.Pool,
) -> None:
    for _ in range(2):
        await rows.member(directory)
    await rows.account(directory, member_id="#1", platform="discord", account_id="880055")
    await directory.execute("UPDATE member_accounts SET member_id = '#2' WHERE account_id ~ '^88'")
    await members.erase("#2", actor="eva")
    log = await directory.fetch("SELECT changes FROM directory_audit_log")
    assert "880055" not in str(log)


# Races


async def test_a_redemption_waits_for_a_link_of_its_account(
    directory: asyncpg.Pool, directory_url: str, code: str
) -> None:
    number = (await rows.member(directory, status="active"))["member_id"]
    for account in ("7", "discord:7"):
        platform = "telegram" if account == "7" else "discord"
        async with blocked(directory_url, LINK, platform, "7", number) as other:
            redeeming = asyncio.create_task(
                invitations.redeem(code, telegram_id=account, **NEWCOMER)
            )
            adding = asyncio.create_task(members.add(telegram_id=account, **NEWCOMER))
            await until_waiting(other, 2)
            await other.execute("COMMIT")
            with pytest.raises(AlreadyMember) as refused:
                await redeeming
            with pytest.raises(MemberExists) as exists:
                await adding
        assert refused.value.member_id == exists.value.member_id == number
    assert (await invitations.get(code)).status == "pending"


async def test_a_redemption_goes_on_when_the_link_of_its_account_is_rolled_back(
    directory: asyncpg.Pool, directory_url: str, code: str
) -> None:
    async with blocked(directory_url, LINK, "telegram", "7", "#1") as other:
        redeeming = asyncio.create_task(invitations.redeem(code, telegram_id="7", **NEWCOMER))
        await until_waiting(other)
        await other.execute("ROLLBACK")
        assert (await redeeming).member.telegram_id == "7"


async def test_a_link_at_the_same_time_is_a_clear_error_in_a_transaction_of_the_caller(
    directory: asyncpg.Pool, directory_url: str, code: str
) -> None:
    async def redeem_in_a_transaction() -> None:
        async with transaction():
            await invitations.redeem(code, telegram_id="7", **NEWCOMER)

    async with blocked(directory_url, LINK, "telegram", "7", "#1") as other:
        redeeming = asyncio.create_task(redeem_in_a_transaction())
        await until_waiting(other)
        await other.execute("COMMIT")
        with pytest.raises(MemberExists, match="belongs to another member"):
            await redeeming
    assert (await invitations.get(code)).status == "pending"


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("status", ["not_member", "active"])
async def test_a_redemption_never_revives_somebody_who_is_erased_at_the_same_time(
    directory: asyncpg.Pool, directory_url: str, code: str, status: str
) -> None:
    number = await member(directory, status=status)
    await members.remove(number, actor="eva")
    async with blocked(directory_url, LOCK_MEMBERS) as other:
        erasing = asyncio.create_task(members.erase(number, actor="eva"))
        await until_waiting(other)
        redeeming = asyncio.create_task(
            invitations.redeem(code, telegram_id="discord:5", **NEWCOMER)
        )
        await until_waiting(other, 2)
        await other.execute("COMMIT")
        await erasing
        joined = await redeeming
    row = await directory.fetchrow("SELECT * FROM community_members WHERE member_id = $1", number)
    assert row is not None
    erased_last = joined.member.member_id == number
    assert row["name"] == "Erased member"
    assert row["deleted_at"] is not None
    assert (await members.find_erased(["discord:5"]) == {"discord:5"}) is erased_last


@pytest.mark.parametrize("status", ["not_member", "active"])
async def test_a_member_who_is_banned_at_the_same_time_cannot_come_back_with_another_account(
    directory: asyncpg.Pool, directory_url: str, code: str, status: str
) -> None:
    number = await member(directory, status=status)
    await members.remove(number, actor="eva")
    ban = "UPDATE community_members SET status = 'banned' WHERE member_id = $1"
    async with blocked(directory_url, ban, number) as other:
        redeeming = asyncio.create_task(
            invitations.redeem(code, telegram_id="discord:5", **NEWCOMER)
        )
        await until_waiting(other)
        await other.execute("COMMIT")
        with pytest.raises(MemberBanned):
            await redeeming


@pytest.mark.usefixtures("key")
async def test_an_account_that_is_linked_during_an_erasure_is_erased_and_recognized(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    number = await member(directory)
    async with blocked(directory_url, LINK, "discord", "6", number) as other:
        erasing = asyncio.create_task(members.erase(number, actor="eva"))
        await until_waiting(other)
        await other.execute("COMMIT")
        await erasing
    assert await directory.fetchval("SELECT count(*) FROM member_accounts") == 0
    assert await members.find_erased(["discord:6"]) == {"discord:6"}


async def test_an_account_is_not_linked_to_a_member_who_is_erased_at_the_same_time(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    number = await member(directory)
    async with blocked(directory_url, "SELECT") as watcher:
        async with transaction():
            await members.erase(number, actor="eva")
            linking = asyncio.create_task(directory.execute(LINK, "discord", "6", number))
            await until_waiting(watcher)
        with pytest.raises(asyncpg.CheckViolationError):
            await linking


@pytest.mark.parametrize("into_erased", [True, False])
async def test_an_erasure_covers_a_merge_that_ends_before_it_has_its_locks(
    directory: asyncpg.Pool, directory_url: str, into_erased: bool
) -> None:
    number = await member(directory)
    other_number = (await rows.member(directory, name="Zq", telegram_id="7"))["member_id"]
    duplicate, into = (other_number, number) if into_erased else (number, other_number)
    async with blocked(directory_url, LOCK_MEMBERS) as other:
        erasing = asyncio.create_task(members.erase(number, actor="eva"))
        await until_waiting(other)
        await merge_rows(other, duplicate, into)
        await other.execute("COMMIT")
        await erasing
    names = await directory.fetch("SELECT DISTINCT name FROM community_members")
    assert [tuple(row) for row in names] == [("Erased member",)]
    assert await directory.fetchval("SELECT count(*) FROM member_accounts") == 0


async def test_an_erasure_gives_up_while_others_merge_the_member_again_and_again(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await member(directory)
    found = privacy.LOCK_INVITATIONS
    attempts: list[str] = []

    async def merge_another(statement: Any, **values: Any) -> Any:
        if statement is found:
            duplicate = (await rows.member(directory))["member_id"]
            await merge(directory, duplicate, number)
            attempts.append(duplicate)
        return await fetch(statement, **values)

    fetch = engine.fetch
    monkeypatch.setattr(engine, "fetch", merge_another)
    with pytest.raises(DatabaseUnavailable, match="busy"):
        await members.erase(number, actor="eva")
    assert len(attempts) == privacy.MAX_ERASURE_ATTEMPTS
    monkeypatch.undo()
    assert (await members.get(number)).telegram_id == "1001"


async def test_erasures_redemptions_and_links_of_one_person_at_once_leave_no_half(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, status="active")
    for _ in range(10):
        number = await member(directory)
        code = (await invitations.create(created_by="#1")).invitation_code
        results = await asyncio.gather(
            members.erase(number, actor="eva"),
            invitations.redeem(code, telegram_id="discord:5", **NEWCOMER),
            directory.execute(LINK, "discord", "6", number),
            return_exceptions=True,
        )
        assert results[0] is True
        assert isinstance(results[1], Redemption)
        joined = results[1].member.member_id
        # The person who joined after the erasure is another member.
        left = await directory.fetch(
            "SELECT member_id, platform, account_id FROM member_accounts WHERE member_id <> '#1'"
        )
        expected = [] if joined == number else [(joined, "discord", "5")]
        assert [tuple(row) for row in left] == expected
        if joined != number:
            await members.erase(joined, actor="eva")


async def test_the_number_of_nobody_is_not_found(directory: asyncpg.Pool) -> None:
    for number in ("#999", "999", ""):
        with pytest.raises(MemberNotFound):
            await members.erase(number, actor="eva")
        with pytest.raises(MemberNotFound):
            await members.export(number)


def test_a_fingerprint_is_the_hash_that_earlier_versions_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "k" * 32)
    load_settings.cache_clear()
    # printf discord:5 | openssl dgst -sha256 -hmac kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk
    assert (
        make_fingerprint("discord:5")
        == "56aa9b053d860c835982c2b6a4fefa498012370b0a3f13f45f75b76591782191"
    )
    load_settings.cache_clear()
