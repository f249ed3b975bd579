"""The migration to identifiers of one spelling repairs stored rows, and reports the others."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards

from community_directory.database import connect
from community_directory.database.migrations import migrate
from community_directory.errors import MigrationFailed
from community_directory.queries import audit
from tests.database.test_migrations import APP, dump
from tests.tables import rows

pytestmark = pytest.mark.schema

BEFORE = "2026-11-29T00:10:00:000000"
"""The last migration before the one that is tested."""
MIGRATION = "2026-11-29T00:20:00:000000"


@pytest.fixture
async def earlier(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect the helpers and raw SQL to a database of the earlier constraints."""
    connection = await asyncpg.connect(empty_database)
    async with connect(empty_database, min_size=0):
        assert (await run_forwards(APP, BEFORE)).success
        yield connection
    await connection.close()


async def repaired(connection: asyncpg.Connection, column: str) -> dict[str, str | None]:
    """Migrate, and return the values of a column by the number of the member."""
    await migrate()
    found = await connection.fetch(
        f"SELECT member_id, {column} AS value FROM community_members ORDER BY member_id"
    )
    return {row["member_id"]: row["value"] for row in found}


REPAIRED = {
    "telegram_id": {
        "1001": "1001",
        "01002": "1002",
        "+1003": "1003",
        "user1004": "1004",
        "telegram:1005": "1005",
        "1006.0": "1006",
        "１００７": "1007",
        "1\u00ad008": "1008",
        '"1009"': "1009",
        "discord:1010": "discord:1010",
        "erased:0a-1": "erased:0a-1",
        "banned:0a1b": "banned:0a1b",
    },
    "telegram_username": {
        "Ana_1": "Ana_1",
        "https://t.me/ana": "ana",
        "t.me/ana?a=b": "ana",
        "HTTPS://Telegram.me/@ana/": "ana",
        "＠ana": "ana",
        "`ana`": "ana",
        "a\u00adna": "ana",
    },
    "github_username": {
        "ana-dev": "ana-dev",
        "https://github.com/ana-dev/": "ana-dev",
        "www.github.com/ana-dev?tab=stars": "ana-dev",
        "＠ana-dev": "ana-dev",
        "«ana-dev»": "ana-dev",
    },
    "profile_data": {
        '{"discord_id": "0123", "a": 1}': '{"a": 1, "discord_id": "123"}',
        '{"discord_id": "<@!123>"}': '{"discord_id": "123"}',
        '{"discord_id": " 123 "}': '{"discord_id": "123"}',
        '{"discord_id": 123}': '{"discord_id": 123}',
        '{"discord_id": null}': '{"discord_id": null}',
        "{}": "{}",
    },
    "name": {
        "Ana\nGarcía": "Ana García",
        "\u202egp.exe": "gp.exe",
        "نیم\u200cفاصله": "نیم\u200cفاصله",
        " Ana": " Ana",
    },
    "primary_role": {"dev\t": "dev", "dev": "dev"},
}


async def test_a_value_with_one_clear_meaning_is_repaired(earlier: asyncpg.Connection) -> None:
    expected = {}
    for column, values in REPAIRED.items():
        for stored, value in values.items():
            member = await rows.member(earlier, **{column: stored})
            expected[member["member_id"]] = (column, stored, value)
    await migrate()
    found = {
        row["member_id"]: row for row in await earlier.fetch("SELECT * FROM community_members")
    }
    assert expected == {
        number: (column, stored, found[number][column])
        for number, (column, stored, _) in expected.items()
    }


async def test_a_name_that_nobody_can_see_becomes_the_id_of_the_account(
    earlier: asyncpg.Connection,
) -> None:
    for number, name in enumerate(("\u3164", "\u2800\u2800", "\u00ad\u2062"), start=1):
        await rows.member(earlier, telegram_id=str(number), name=name)
    await rows.member(earlier, telegram_id="user4", name="\u3164")
    assert await repaired(earlier, "name") == {"#1": "1", "#2": "2", "#3": "3", "#4": "4"}
    entry = (await audit.history("#1")).items[0]
    assert (entry.actor, entry.reason) == ("migration", "One spelling of each identifier")
    # What is changed later has its own actor.
    await earlier.execute("UPDATE community_members SET name = 'Ana' WHERE member_id = '#1'")
    assert (await audit.history("#1")).items[0].actor != "migration"


async def test_an_open_invitation_for_a_link_can_be_redeemed_afterwards(
    earlier: asyncpg.Connection,
) -> None:
    now = datetime.now(UTC)
    stored = {
        "AAAAAAAA": ("bea", "pending", 1, ("bea", "pending")),
        "BBBBBBBB": ("t.me/BEA", "pending", 2, ("BEA", "cancelled")),
        "CCCCCCCC": ("https://t.me/bea", "pending", -1, ("bea", "expired")),
        "DDDDDDDD": ("t.me/bea", "cancelled", 1, ("bea", "cancelled")),
        "EEEEEEEE": ("t.me/eva", "pending", 1, ("eva", "cancelled")),
        "FFFFFFFF": ("https://t.me/eva", "pending", 2, ("eva", "pending")),
        "GGGGGGGG": (None, "pending", 1, (None, "pending")),
        "HHHHHHHH": ("zoe", "pending", -1, ("zoe", "expired")),
        "JJJJJJJJ": ("t.me/zoe", "pending", 1, ("zoe", "pending")),
    }
    for code, (username, status, days, _) in stored.items():
        await rows.invitation(
            earlier,
            invitation_code=code,
            invited_telegram_username=username,
            status=status,
            expires_at=now + timedelta(days=days),
        )
    await migrate()
    found = await earlier.fetch(
        "SELECT invitation_code, invited_telegram_username, status FROM community_invitations"
    )
    assert {row[0]: (row[1], row[2]) for row in found} == {
        code: expected for code, (*_, expected) in stored.items()
    }


REPORTED = {
    "telegram_id": ("member_telegram_id_format_check", ["ana", "-1001", "1.001E+03", "slack:"]),
    "telegram_username": (
        "member_telegram_username_format_check",
        ["Ána", "ana.garcia", "t.me/+AbCd", "t.me/bot?start=x", "x" * 33],
    ),
    "github_username": ("member_github_username_format_check", ["-ana", "a/b", "dependabot[bot]"]),
    "profile_data": ("member_discord_id_check", ['{"discord_id": "ana#1"}', '{"discord_id": ""}']),
    "primary_role": ("member_primary_role_visible_check", ["\u3164"]),
}


async def test_a_row_without_one_clear_meaning_is_reported_by_its_number(
    earlier: asyncpg.Connection, empty_database: str
) -> None:
    before = await dump(empty_database)
    for column, (rule, values) in REPORTED.items():
        for value in values:
            broken = await rows.member(earlier, **{column: value})
            with pytest.raises(MigrationFailed) as refused:
                await migrate()
            assert str(refused.value) == (
                "The schema could not be brought up to date: some rows break the new rules, and "
                f"must be changed first; community_members.{column} ({rule}): "
                f"{broken['member_id']}"
            )
            await earlier.execute("DELETE FROM community_members")
    assert await dump(empty_database) == before


async def test_two_spellings_of_one_account_are_reported(earlier: asyncpg.Connection) -> None:
    verified = {"github_verified": True, "github_verified_at": datetime.now(UTC)}
    for telegram_id, github_username in (
        ("1001", "ana"),
        ("user1001", "github.com/Ana"),
        ("01002", "eva"),
        ("+1002", "zoe"),
    ):
        await rows.member(
            earlier, telegram_id=telegram_id, github_username=github_username, **verified
        )
    with pytest.raises(MigrationFailed) as refused:
        await migrate()
    assert str(refused.value).endswith(
        "community_members.telegram_id (member_telegram_id_format_check): #2, #3, #4; "
        "community_members.github_username (member_github_username_format_check): #2"
    )


async def test_an_invitation_for_no_username_is_reported_by_its_key(
    earlier: asyncpg.Connection,
) -> None:
    broken = await rows.invitation(earlier, invited_telegram_username="Ána")
    with pytest.raises(MigrationFailed) as refused:
        await migrate()
    assert str(refused.value).endswith(
        "community_invitations.invited_telegram_username (invitation_username_format_check): "
        f"{broken['invitation_id']}"
    )


async def test_the_way_back_keeps_the_repaired_values_and_accepts_the_old_ones(
    earlier: asyncpg.Connection, empty_database: str
) -> None:
    before = await dump(empty_database)
    await rows.member(earlier, telegram_username="t.me/ana")
    assert (await run_forwards(APP, MIGRATION)).success
    assert (await run_backwards(APP, MIGRATION, auto_agree=True)).success
    assert await dump(empty_database) == before
    await rows.member(earlier, telegram_username="t.me/eva")
    assert await repaired(earlier, "telegram_username") == {"#1": "ana", "#2": "eva"}
