"""Accounts: they follow the columns of the members, whoever writes, and belong to one person."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from community_directory.errors import InvalidInput, MemberExists
from community_directory.queries import audit, members
from community_directory.queries.identifiers import Account, parse_account
from tests.rules import GOOD_TELEGRAM_IDS
from tests.tables import rows
from tests.waiting import until_blocked_by

pytestmark = pytest.mark.schema

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ENTITY = "504a537a-480a-0488-8a95-259e71354ad5"
WAIT_SECONDS = 20
"""The longest that a session of these tests may wait for another one."""

Columns: TypeAlias = dict[str, Any]
Accounts: TypeAlias = set[tuple[str, str, str, str]]
"""Accounts as platform, id, member and proof."""


def verified(username: str, **data: object) -> Columns:
    """Return the columns of a verified GitHub account."""
    return {
        "github_username": username,
        "github_verified": True,
        "github_verified_at": NOON,
        "github_profile_data": json.dumps(data),
    }


def states(discord_id: object) -> Columns:
    """Return the columns of a profile that names a Discord account."""
    return {"profile_data": json.dumps({"discord_id": discord_id})}


UNVERIFIED: Columns = {"github_verified": False, "github_verified_at": None}


async def stored(database: rows.Database) -> Accounts:
    """Return all accounts."""
    found = await database.fetch(
        "SELECT platform, account_id, member_id, proof FROM member_accounts"
    )
    return {tuple(row) for row in found}


async def change(database: rows.Database, member_id: str, **columns: object) -> None:
    """Change the row of a member."""
    assignments = ", ".join(f"{name} = ${n}" for n, name in enumerate(columns, start=2))
    await database.execute(
        f"UPDATE community_members SET {assignments} WHERE member_id = $1",
        member_id,
        *columns.values(),
    )


# The accounts that a row names

NAMED: list[tuple[Columns, set[tuple[str, str, str]]]] = [
    ({}, {("telegram", "1001", "platform")}),
    ({"telegram_id": "discord:5"}, {("discord", "5", "platform")}),
    ({"telegram_id": "matrix:@a:b.org"}, {("matrix", "@a:b.org", "platform")}),
    ({"telegram_id": "slack:U1a"}, {("slack", "U1a", "platform")}),
    ({"telegram_id": f"elizaos:{ENTITY.upper()}"}, {("elizaos", ENTITY, "platform")}),
    ({"telegram_id": "github:Ana"}, {("github", "ana", "platform")}),
    ({"telegram_id": "erased:0a-1"} | verified("ana") | states("5"), set()),
    ({"telegram_id": "banned:0a1b"} | verified("ana") | states("5"), set()),
    ({"telegram_id": "merged:0a-1"} | states("5"), set()),
    ({"github_username": "ana"}, {("telegram", "1001", "platform")}),
    (verified("Ana"), {("telegram", "1001", "platform"), ("github", "ana", "platform")}),
    (verified("Ana", id=7), {("telegram", "1001", "platform"), ("github", "7", "platform")}),
    (verified("Ana", id="7"), {("telegram", "1001", "platform"), ("github", "7", "platform")}),
    (
        verified("Ana", id="MDQ6VXNlcjc=", databaseId=7),
        {("telegram", "1001", "platform"), ("github", "7", "platform")},
    ),
    (verified("Ana", id=0), {("telegram", "1001", "platform"), ("github", "ana", "platform")}),
    (verified("Ana", id=10**20), {("telegram", "1001", "platform"), ("github", "ana", "platform")}),
    ({"telegram_id": "github:ANA"} | verified("ana"), {("github", "ana", "platform")}),
    ({"telegram_id": "github:7"} | verified("ana", id=7), {("github", "7", "platform")}),
    (states("5"), {("telegram", "1001", "platform"), ("discord", "5", "stated")}),
    (states(5), {("telegram", "1001", "platform"), ("discord", "5", "stated")}),
    (states(None), {("telegram", "1001", "platform")}),
    ({"telegram_id": "discord:5"} | states("5"), {("discord", "5", "platform")}),
    (
        {"telegram_id": "discord:5"} | states("6"),
        {("discord", "5", "platform"), ("discord", "6", "stated")},
    ),
]


@pytest.mark.parametrize(("columns", "named"), NAMED)
async def test_a_new_row_has_the_accounts_that_its_columns_name(
    directory: asyncpg.Pool, columns: Columns, named: set[tuple[str, str, str]]
) -> None:
    await rows.member(directory, **{"telegram_id": "1001", **columns})
    assert {(platform, key, proof) for platform, key, _, proof in await stored(directory)} == named


async def test_an_account_has_the_username_and_the_times_of_its_row(
    directory: asyncpg.Pool,
) -> None:
    member = await rows.member(directory, telegram_username="Ana_1", **verified("Ana-dev", id=7))
    await rows.member(directory, telegram_id="discord:5", telegram_username="Eva_1", **states("6"))
    found = await directory.fetch("SELECT * FROM member_accounts ORDER BY platform, account_id")
    assert [(row["platform"], row["username"]) for row in found] == [
        ("discord", None),
        ("discord", None),
        ("github", "Ana-dev"),
        ("telegram", "Ana_1"),
    ]
    assert [row["proved_at"] is None for row in found] == [False, True, False, False]
    assert found[3]["proved_at"] == found[3]["linked_at"] == member["created_at"]


async def test_the_helpers_read_the_column_as_the_database_does(directory: asyncpg.Pool) -> None:
    spellings = [*GOOD_TELEGRAM_IDS, f"elizaos:{ENTITY.upper()}", "github:Ana", "x:a:B"]
    accounts = [text for text in spellings if not re.match("(banned|erased|merged):", text)]
    for telegram_id in accounts:
        await rows.member(directory, telegram_id=telegram_id)
    assert {Account(platform, key) for platform, key, *_ in await stored(directory)} == {
        parse_account(telegram_id) for telegram_id in accounts
    }


@pytest.mark.parametrize("telegram_id", ["elizaos:ana", "github:-ana", "github:a/b"])
async def test_what_is_no_account_of_its_platform_is_refused(
    directory: asyncpg.Pool, telegram_id: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await members.add(telegram_id=telegram_id, name="Ana", primary_role="developer")
    assert refused.value.code == "member_account_id_check"
    assert await stored(directory) == set()


# Writers


async def test_every_way_to_insert_members_stores_their_accounts(directory: asyncpg.Pool) -> None:
    await members.add(telegram_id=1001, name="Ana", primary_role="developer")
    await directory.copy_records_to_table(
        "community_members",
        columns=["telegram_id", "name", "primary_role", "profile_data"],
        records=[
            ("1002", "Bea", "developer", None),
            ("discord:5", "Eva", "developer", None),
            ("1003", "Zoe", "developer", '{"discord_id": "6"}'),
        ],
    )
    await directory.execute(
        "INSERT INTO community_members (telegram_id, name, primary_role)"
        " SELECT n::text, 'Ana', 'developer' FROM generate_series(1004, 1005) AS n"
    )
    upsert = (
        "INSERT INTO community_members (telegram_id, name, primary_role, telegram_username)"
        " VALUES ('1006', 'Ana', 'developer', $1)"
        " ON CONFLICT (telegram_id) DO UPDATE SET telegram_username = EXCLUDED.telegram_username"
    )
    await directory.execute(upsert, "first")
    await directory.execute(upsert, "second")
    assert {account[:2] for account in await stored(directory)} == {
        *(("telegram", str(number)) for number in range(1001, 1007)),
        *(("discord", "5"), ("discord", "6")),
    }
    assert await directory.fetchval(
        "SELECT username FROM member_accounts WHERE account_id = '1006'"
    ) == ("second")


@pytest.mark.parametrize("order", ["ASC", "DESC"])
async def test_of_two_new_rows_the_account_belongs_to_the_one_that_proves_it(
    directory: asyncpg.Pool, order: str
) -> None:
    await directory.execute(
        "INSERT INTO community_members (member_id, telegram_id, name, primary_role, profile_data)"
        f" SELECT * FROM (VALUES ('#1', 'discord:5', 'Ana', 'developer', NULL::jsonb),"
        " ('#2', '1002', 'Bea', 'developer', '{\"discord_id\": \"5\"}'))"
        f" AS member (member_id) ORDER BY member_id {order}"
    )
    assert await stored(directory) == {
        ("discord", "5", "#1", "platform"),
        ("telegram", "1002", "#2", "platform"),
    }


async def test_two_new_rows_that_prove_one_account_are_refused(directory: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.UniqueViolationError, match="belongs to another member") as refused:
        await directory.execute(
            "INSERT INTO community_members (telegram_id, name, primary_role, github_username,"
            " github_verified, github_verified_at, github_profile_data)"
            " SELECT n::text, 'Ana', 'developer', 'ana-' || n, true, now(), '{\"id\": 7}'"
            " FROM generate_series(1, 2) AS n"
        )
    assert refused.value.constraint_name == "member_account_idx"
    assert await stored(directory) == set()


async def test_a_helper_and_an_erasure_keep_the_accounts_in_step(directory: asyncpg.Pool) -> None:
    member = await members.add(telegram_id=1001, name="Ana", primary_role="developer")
    await members.update_profile(member.member_id, profile_data={"discord_id": 5})
    await members.verify_github(
        member.member_id, github_username="Ana", github_profile_data={"id": 7}
    )
    assert {account[:2] for account in await stored(directory)} == {
        ("telegram", "1001"),
        ("discord", "5"),
        ("github", "7"),
    }
    await members.erase(member.member_id, actor="bot")
    assert await stored(directory) == set()


# Changes

CHANGES: dict[str, tuple[Columns, Columns, set[tuple[str, str, str]]]] = {
    "another account of the same platform replaces the one before": (
        {},
        {"telegram_id": "1002"},
        {("telegram", "1002", "platform")},
    ),
    "another Discord account does so, too": (
        {"telegram_id": "discord:5"},
        {"telegram_id": "discord:6"},
        {("discord", "6", "platform")},
    ),
    "an account of another platform stays": (
        {"telegram_id": "discord:5"},
        {"telegram_id": "1001"},
        {("discord", "5", "platform"), ("telegram", "1001", "platform")},
    ),
    "so does the Telegram account": (
        {},
        {"telegram_id": "discord:5"},
        {("discord", "5", "platform"), ("telegram", "1001", "platform")},
    ),
    "a proved account stays proved when the profile names it": (
        {"telegram_id": "discord:5", **states("5")},
        {"telegram_id": "1001"},
        {("discord", "5", "platform"), ("telegram", "1001", "platform")},
    ),
    "an account that was replaced is only stated if the profile still names it": (
        {"telegram_id": "discord:5", **states("5")},
        {"telegram_id": "discord:6"},
        {("discord", "5", "stated"), ("discord", "6", "platform")},
    ),
    "a stated account is proved by the column": (
        states("5"),
        {"telegram_id": "discord:5"},
        {("discord", "5", "platform"), ("telegram", "1001", "platform")},
    ),
    "a stated account goes with the statement": (
        states("5"),
        {"profile_data": '{"bio": "x"}'},
        {("telegram", "1001", "platform")},
    ),
    "another stated account replaces it": (
        states("5"),
        states("6"),
        {("discord", "6", "stated"), ("telegram", "1001", "platform")},
    ),
    "the GitHub account goes with the verification": (
        verified("ana", id=7),
        UNVERIFIED,
        {("telegram", "1001", "platform")},
    ),
    "another GitHub account replaces the one before": (
        verified("ana", id=7),
        verified("bea", id=8),
        {("github", "8", "platform"), ("telegram", "1001", "platform")},
    ),
    "a new username is the same GitHub account": (
        verified("ana", id=7),
        verified("ana-dev", id=7),
        {("github", "7", "platform"), ("telegram", "1001", "platform")},
    ),
    "the number of GitHub replaces the username": (
        verified("ana"),
        verified("ana", id=7),
        {("github", "7", "platform"), ("telegram", "1001", "platform")},
    ),
    "an unverified username changes nothing": (
        {"github_username": "ana"},
        {"github_username": "bea"},
        {("telegram", "1001", "platform")},
    ),
    "an erased member has none": (
        {**verified("ana", id=7), **states("5")},
        {"telegram_id": "erased:0a-1"},
        set(),
    ),
    "a banned and erased member has none": (
        {**verified("ana", id=7), **states("5")},
        {"telegram_id": "banned:0a1b"},
        set(),
    ),
    "an erased member who comes back has those of the row": (
        {"telegram_id": "erased:0a-1", **states("5")},
        {"telegram_id": "1001"},
        {("discord", "5", "stated"), ("telegram", "1001", "platform")},
    ),
    "a removed member keeps them": (
        states("5"),
        {"deleted_at": NOON},
        {("discord", "5", "stated"), ("telegram", "1001", "platform")},
    ),
    "a merged member leaves them to the other one": (
        {**verified("ana", id=7), **states("5")},
        {"telegram_id": "merged:1", "deleted_at": NOON, "merged_into": "#9", **UNVERIFIED},
        {
            ("github", "7", "platform"),
            ("discord", "5", "stated"),
            ("telegram", "1001", "platform"),
        },
    ),
}


@pytest.mark.parametrize(("before", "after", "left"), CHANGES.values(), ids=CHANGES.keys())
async def test_a_change_of_the_columns_changes_the_accounts(
    directory: asyncpg.Pool, before: Columns, after: Columns, left: set[tuple[str, str, str]]
) -> None:
    await rows.member(directory, member_id="#9", telegram_id="1009")
    await rows.member(directory, **{"member_id": "#1", "telegram_id": "1001", **before})
    await change(directory, "#1", **after)
    assert {
        (platform, key, proof)
        for platform, key, member_id, proof in await stored(directory)
        if member_id == "#1"
    } == left


async def test_an_account_follows_the_username_of_its_column(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_username="ana", **verified("ana", id=7))
    names = "SELECT platform, username FROM member_accounts"
    await change(directory, "#1", telegram_username="Ana_2", **verified("ana-dev", id=7))
    assert {row["platform"]: row["username"] for row in await directory.fetch(names)} == {
        "telegram": "Ana_2",
        "github": "ana-dev",
    }
    await change(directory, "#1", telegram_username=None)
    assert {row["platform"]: row["username"] for row in await directory.fetch(names)} == {
        "telegram": None,
        "github": "ana-dev",
    }


async def test_a_change_keeps_the_proof_the_name_and_the_details_of_a_linked_account(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    linked = await rows.account(
        directory,
        member_id="#1",
        platform="discord",
        account_id="5",
        username="ana.dev",
        proof="code",
        proved_at=NOON,
        details={"a": 1},
    )
    for columns in (
        states("5"),
        {"telegram_id": "discord:5"},
        {"telegram_id": "1002"},
        {"profile_data": None},
    ):
        await change(directory, "#1", **columns)
        found = await directory.fetchrow("SELECT * FROM member_accounts WHERE platform = 'discord'")
        assert found == linked, columns


async def test_accounts_that_were_linked_by_hand_stay_until_the_member_is_erased(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="1001")
    for platform, key in (("telegram", "1005"), ("github", "8"), ("discord", "5")):
        await rows.account(directory, member_id="#1", platform=platform, account_id=key)
    linked = await stored(directory) - {("telegram", "1001", "#1", "platform")}
    for columns in ({"telegram_id": "1002"}, verified("ana", id=7), UNVERIFIED):
        await change(directory, "#1", **columns)
        assert linked < await stored(directory)
    await change(directory, "#1", telegram_id="erased:1")
    assert await stored(directory) == set()


async def test_a_change_of_other_columns_writes_no_account(directory: asyncpg.Pool) -> None:
    await rows.member(directory, **states("5"), **verified("ana", id=7))
    version = "SELECT array_agg((id, xmin, ctid)::text ORDER BY id) FROM member_accounts"
    before = await directory.fetchval(version)
    await change(directory, "#1", last_active_at=NOON, reputation_score=5, name="Eva")
    assert await directory.fetchval(version) == before


async def test_the_accounts_of_a_row_go_with_it(directory: asyncpg.Pool) -> None:
    await rows.member(directory, **states("5"))
    await rows.account(directory, member_id="#1")
    await directory.execute("DELETE FROM community_members")
    assert await stored(directory) == set()


# Several rows in one statement


@pytest.mark.parametrize("names", [states, lambda key: verified(f"{key}-dev", id=key)])
async def test_one_statement_swaps_the_accounts_of_two_members(
    directory: asyncpg.Pool, names: Any
) -> None:
    first, second = names(5), names(6)
    await rows.member(directory, telegram_id="1001", **first)
    await rows.member(directory, telegram_id="1002", **second)
    column = next(name for name in first if name.endswith("_data"))
    before = await stored(directory)
    swap = (
        f"UPDATE community_members SET {column} = CASE member_id WHEN '#1' THEN $2::jsonb"
        " ELSE $1::jsonb END"
    )
    await directory.execute(swap, first[column], second[column])
    other = {"#1": "#2", "#2": "#1"}
    assert await stored(directory) == {
        (platform, key, member_id if platform == "telegram" else other[member_id], proof)
        for platform, key, member_id, proof in before
    }


@pytest.mark.parametrize("moving", [("#1", "#2"), ("#2", "#1")])
async def test_one_statement_passes_a_verified_account_on_in_any_order_of_the_rows(
    directory: asyncpg.Pool, moving: tuple[str, str]
) -> None:
    giver, taker = moving
    for member_id in ("#1", "#2"):
        username = f"dev-{member_id[1]}"
        await rows.member(
            directory, member_id=member_id, **verified(username, id=7)
        ) if member_id == giver else await rows.member(
            directory, member_id=member_id, github_username=username
        )
    await directory.execute(
        "UPDATE community_members SET github_verified = member_id = $1, github_verified_at = now(),"
        " github_profile_data = '{\"id\": 7}'",
        taker,
    )
    assert ("github", "7", taker, "platform") in await stored(directory)
    assert len(await stored(directory)) == 3


async def test_one_statement_moves_telegram_ids_along(directory: asyncpg.Pool) -> None:
    for number in (1003, 1002, 1001):
        await rows.member(directory, telegram_id=str(number))
    await directory.execute(
        "UPDATE community_members SET telegram_id = (telegram_id::int + 1)::text"
    )
    assert await stored(directory) == {
        ("telegram", "1004", "#1", "platform"),
        ("telegram", "1003", "#2", "platform"),
        ("telegram", "1002", "#3", "platform"),
    }


async def test_telegram_ids_are_swapped_by_way_of_a_third_one(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="1001")
    await rows.member(directory, telegram_id="1002")
    before = await stored(directory)
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await directory.execute(
            "UPDATE community_members"
            " SET telegram_id = CASE telegram_id WHEN '1001' THEN '1002' ELSE '1001' END"
        )
    assert refused.value.constraint_name == "member_telegram_id_idx"
    assert await stored(directory) == before
    async with directory.acquire() as connection, connection.transaction():
        for member_id, telegram_id in (("#1", "999"), ("#2", "1001"), ("#1", "1002")):
            await change(connection, member_id, telegram_id=telegram_id)
    assert await stored(directory) == {
        ("telegram", "1002", "#1", "platform"),
        ("telegram", "1001", "#2", "platform"),
    }


async def test_one_statement_changes_many_members(directory: asyncpg.Pool) -> None:
    await directory.execute(
        "INSERT INTO community_members (telegram_id, name, primary_role)"
        " SELECT n::text, 'Ana', 'developer' FROM generate_series(1001, 1050) AS n"
    )
    await directory.execute(
        "UPDATE community_members SET telegram_username = 'u' || telegram_id,"
        " profile_data = jsonb_build_object('discord_id', telegram_id)"
    )
    assert await directory.fetchval(
        "SELECT bool_and(username = 'u' || account_id) AND count(*) = 50 FROM member_accounts"
        " WHERE platform = 'telegram'"
    )
    await directory.execute("UPDATE community_members SET telegram_id = 'erased:' || telegram_id")
    assert await stored(directory) == set()


# Accounts of others

TAKEN: dict[str, Columns] = {
    "telegram": {"telegram_id": "1005"},
    "discord": {"telegram_id": "discord:5"},
    "github": verified("bea", id=7),
}


@pytest.mark.parametrize("columns", TAKEN.values(), ids=TAKEN.keys())
async def test_an_account_of_another_member_is_refused(
    directory: asyncpg.Pool, columns: Columns
) -> None:
    await rows.member(directory, **verified("ana", id=7))
    for platform, key in (("telegram", "1005"), ("discord", "5")):
        await rows.account(directory, member_id="#1", platform=platform, account_id=key)
    await rows.member(directory, member_id="#2", telegram_id="1002")
    before = await stored(directory)
    for writing in (
        rows.member(directory, **{"telegram_id": "1003", **columns}),
        change(directory, "#2", **columns),
    ):
        with pytest.raises(asyncpg.UniqueViolationError) as refused:
            await writing
        assert refused.value.constraint_name == "member_account_idx"
    assert await stored(directory) == before


async def test_a_helper_says_that_the_account_belongs_to_another_member(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, **verified("ana", id=7))
    await rows.member(directory)
    with pytest.raises(MemberExists, match="This GitHub account belongs to member #1"):
        await members.verify_github("#2", github_username="bea", github_profile_data={"id": 7})


async def test_a_stated_account_of_another_member_is_no_obstacle(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="discord:5")
    await rows.member(directory, telegram_id="1002", **states("5"))
    await rows.member(directory, telegram_id="1003", **states("6"))
    await rows.member(directory, telegram_id="1004", **states("6"))
    assert {account for account in await stored(directory) if account[0] == "discord"} == {
        ("discord", "5", "#1", "platform"),
        ("discord", "6", "#3", "stated"),
    }


async def test_a_stated_account_passes_to_whoever_proves_it(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="1001", **states("5"))
    await rows.member(directory, telegram_id="discord:5")
    proved = ("discord", "5", "#2", "platform")
    assert proved in await stored(directory)
    # The profile of the first one goes on to state it.
    await change(directory, "#1", telegram_username="ana", **states("5"))
    assert proved in await stored(directory)
    await change(directory, "#1", profile_data=None)
    assert proved in await stored(directory)


async def test_a_row_whose_account_another_member_has_can_be_edited(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, **verified("ana", id=7))
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await rows.member(
            connection, **{"member_id": "#2", "telegram_id": "2", **verified("b", id=7)}
        )
    await change(directory, "#2", **verified("bea", id=7), telegram_username="bea", **states("5"))
    assert {account[:3] for account in await stored(directory)} >= {
        ("github", "7", "#1"),
        ("telegram", "2", "#2"),
        ("discord", "5", "#2"),
    }
    await change(directory, "#2", **UNVERIFIED)
    with pytest.raises(asyncpg.UniqueViolationError):
        await change(directory, "#2", **verified("bea", id=7))


async def test_a_row_that_only_stated_an_account_can_not_prove_that_of_another_member(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await rows.account(directory, member_id="#1", platform="discord", account_id="5")
    await rows.member(directory, member_id="#2", **states("5"))
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await change(directory, "#2", telegram_id="discord:5")
    assert refused.value.constraint_name == "member_account_idx"


# Writes to the accounts


REFUSED_WRITES = [
    "DELETE FROM member_accounts WHERE platform = $1",
    "UPDATE member_accounts SET member_id = '#2' WHERE platform = $1",
    "UPDATE member_accounts SET account_id = '99' WHERE platform = $1",
    "UPDATE member_accounts SET platform = 'slack' WHERE platform = $1",
    "UPDATE member_accounts SET proof = 'stated', proved_at = NULL WHERE platform = $1",
]


@pytest.mark.parametrize("statement", REFUSED_WRITES)
@pytest.mark.parametrize("platform", ["telegram", "github"])
async def test_an_account_that_a_column_proves_can_not_be_taken_away(
    directory: asyncpg.Pool, statement: str, platform: str
) -> None:
    await rows.member(directory, **verified("ana", id=7))
    await rows.member(directory, telegram_id="slack:U1")
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await directory.execute(statement, platform)
    assert refused.value.constraint_name == "member_account_in_column"
    await directory.execute("UPDATE member_accounts SET username = 'eva', proof = 'code'")


async def test_a_stated_account_can_pass_to_another_member_but_not_be_deleted(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, **states("5"))
    await rows.member(directory)
    with pytest.raises(asyncpg.CheckViolationError):
        await directory.execute("DELETE FROM member_accounts WHERE platform = 'discord'")
    await directory.execute(
        "UPDATE member_accounts SET member_id = '#2', proof = 'manager', proved_at = now()"
        " WHERE platform = 'discord'"
    )
    await directory.execute("DELETE FROM member_accounts WHERE platform = 'discord'")
    await change(directory, "#1", profile_data='{"discord_id": "5", "bio": "x"}')
    assert ("discord", "5", "#1", "stated") in await stored(directory)


async def test_a_linked_account_can_be_changed_and_unlinked(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.account(directory, member_id="#1", platform="discord", account_id="5")
    await directory.execute(
        "UPDATE member_accounts SET account_id = '6' WHERE platform = 'discord'"
    )
    assert ("discord", "6", "#1", "manager") in await stored(directory)
    await directory.execute("DELETE FROM member_accounts WHERE platform = 'discord'")
    assert len(await stored(directory)) == 1


async def test_an_account_of_a_merged_member_belongs_to_the_other_one(
    directory: asyncpg.Pool,
) -> None:
    other = await rows.member(directory, telegram_id="1001")
    merged = await rows.merged_member(directory, merged_into="#1", **states("5"))
    assert (other["member_id"], merged["member_id"]) == ("#1", "#2")
    await rows.account(directory, member_id="#2", platform="discord", account_id="5")
    await rows.account(directory, member_id="#1", platform="slack", account_id="U1")
    await directory.execute("UPDATE member_accounts SET member_id = '#2' WHERE platform = 'slack'")
    assert await stored(directory) == {
        ("telegram", "1001", "#1", "platform"),
        ("discord", "5", "#1", "manager"),
        ("slack", "U1", "#1", "manager"),
    }


async def test_a_member_who_is_no_longer_merged_has_the_accounts_of_the_columns(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="1001")
    await rows.merged_member(directory, merged_into="#1", **states("5"))
    await change(directory, "#2", merged_into=None, telegram_id="1002", deleted_at=None)
    assert await stored(directory) == {
        ("telegram", "1001", "#1", "platform"),
        ("telegram", "1002", "#2", "platform"),
        ("discord", "5", "#2", "stated"),
    }


async def test_the_log_records_what_is_written_to_the_accounts_and_not_what_follows_a_column(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory, telegram_id="1001", **states("5"))
    await change(directory, "#1", telegram_id="1002")
    logged = (
        "SELECT action FROM directory_audit_log WHERE table_name = 'member_accounts' ORDER BY id"
    )
    assert await directory.fetch(logged) == []
    await rows.account(directory, member_id="#1", platform="slack", account_id="U1")
    await directory.execute("UPDATE member_accounts SET username = 'ana' WHERE platform = 'slack'")
    await directory.execute("DELETE FROM member_accounts WHERE platform = 'slack'")
    assert [row["action"] for row in await directory.fetch(logged)] == [
        "INSERT",
        "UPDATE",
        "DELETE",
    ]
    newest = (await audit.history("#1")).items[0]
    assert newest.changes["account_id"] == ["U1", None]


# Two sessions at once


@asynccontextmanager
async def two_sessions(
    directory: asyncpg.Pool,
) -> AsyncIterator[tuple[PoolConnectionProxy, PoolConnectionProxy]]:
    async with directory.acquire() as first, directory.acquire() as second:
        yield first, second


async def race(
    directory: asyncpg.Pool, first: Sequence[str], second: str, *, roll_back: bool = False
) -> str | None:
    """Run a statement while a transaction of others is open; return the constraint it broke.

    The statement must wait for the end of the transaction.
    """
    async with two_sessions(directory) as (one, other):
        transaction = one.transaction()
        await transaction.start()
        for statement in first:
            await one.execute(statement)
        task = asyncio.create_task(other.execute(second))
        await until_blocked_by(one)
        await (transaction.rollback() if roll_back else transaction.commit())
        try:
            await asyncio.wait_for(task, WAIT_SECONDS)
        except asyncpg.IntegrityConstraintViolationError as refused:
            return str(refused.constraint_name)
    return None


VERIFY = (
    "UPDATE community_members SET github_username = 'dev-' || substr(member_id, 2),"
    " github_verified = true, github_verified_at = now(), github_profile_data = '{\"id\": 7}'"
    " WHERE member_id = "
)
LINK = (
    "INSERT INTO member_accounts (id, platform, account_id, member_id, proved_at)"
    " VALUES (gen_random_uuid(), 'github', '7', '#2', now())"
)
UNLINK = "DELETE FROM member_accounts WHERE platform = 'github'"
MERGE = [
    "UPDATE community_members SET telegram_id = 'merged:1', deleted_at = now(), merged_into = '#1'"
    " WHERE member_id = '#2'",
    "UPDATE member_accounts SET member_id = '#1' WHERE member_id = '#2'",
]
ERASE = "UPDATE community_members SET telegram_id = 'erased:1' WHERE member_id = '#2'"


@pytest.fixture
async def pair(directory: asyncpg.Pool) -> asyncpg.Pool:
    """Return the pool of a directory with the members #1 and #2."""
    await rows.member(directory, telegram_id="1001")
    await rows.member(directory, telegram_id="1002")
    return directory


async def owners(directory: asyncpg.Pool) -> list[str]:
    """Return the members who have the GitHub account."""
    found = await directory.fetch("SELECT member_id FROM member_accounts WHERE platform = 'github'")
    return [row["member_id"] for row in found]


@pytest.mark.parametrize("second", [f"{VERIFY} '#2'", LINK])
async def test_of_two_sessions_that_take_one_account_the_second_is_refused(
    pair: asyncpg.Pool, second: str
) -> None:
    assert await race(pair, [f"{VERIFY} '#1'"], second) == "member_account_idx"
    assert await owners(pair) == ["#1"]


@pytest.mark.parametrize("second", [f"{VERIFY} '#2'", LINK])
async def test_the_second_session_has_the_account_if_the_first_rolls_back(
    pair: asyncpg.Pool, second: str
) -> None:
    assert await race(pair, [f"{VERIFY} '#1'"], second, roll_back=True) is None
    assert await owners(pair) == ["#2"]


async def test_a_link_that_another_session_verifies_at_the_same_time_is_refused(
    pair: asyncpg.Pool,
) -> None:
    assert await race(pair, [LINK], f"{VERIFY} '#1'") == "member_account_idx"
    assert await owners(pair) == ["#2"]


async def test_an_account_that_is_unlinked_while_a_column_names_it_is_there_afterwards(
    pair: asyncpg.Pool,
) -> None:
    await pair.execute(LINK)
    assert await race(pair, [f"{VERIFY} '#2'"], UNLINK) == "member_account_in_column"
    await change(pair, "#2", **UNVERIFIED)
    await pair.execute(LINK)
    assert await race(pair, [UNLINK], f"{VERIFY} '#2'") is None
    assert await owners(pair) == ["#2"]


async def test_a_link_during_a_merge_belongs_to_the_other_one(pair: asyncpg.Pool) -> None:
    assert await race(pair, MERGE, LINK) is None
    assert await owners(pair) == ["#1"]


async def test_a_merge_waits_for_a_link_and_moves_its_account(pair: asyncpg.Pool) -> None:
    async with two_sessions(pair) as (one, other):
        transaction = one.transaction()
        await transaction.start()
        await one.execute(LINK)
        merging = other.transaction()
        await merging.start()
        task = asyncio.create_task(other.execute(MERGE[0]))
        await until_blocked_by(one)
        await transaction.commit()
        await asyncio.wait_for(task, WAIT_SECONDS)
        await other.execute(MERGE[1])
        await merging.commit()
    assert await owners(pair) == ["#1"]


async def test_a_link_to_a_member_who_is_merged_and_whose_heir_is_merged_follows_both(
    pair: asyncpg.Pool,
) -> None:
    await pair.execute(MERGE[0])
    await pair.execute(MERGE[1])
    await rows.member(pair, member_id="#3", telegram_id="1003")
    second_merge = [
        "UPDATE community_members SET merged_into = '#3' WHERE member_id = '#2'",
        "UPDATE community_members SET telegram_id = 'merged:2', deleted_at = now(),"
        " merged_into = '#3' WHERE member_id = '#1'",
        "UPDATE member_accounts SET member_id = '#3' WHERE member_id = '#1'",
    ]
    assert await race(pair, second_merge, LINK) is None
    assert await owners(pair) == ["#3"]


async def test_an_erasure_waits_for_a_link_and_deletes_its_account(pair: asyncpg.Pool) -> None:
    assert await race(pair, [LINK], ERASE) is None
    assert await owners(pair) == []
