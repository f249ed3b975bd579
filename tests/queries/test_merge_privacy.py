"""Personal data in the journal of merges: an export has it, and an erasure deletes it."""

from datetime import UTC, datetime

import asyncpg
import pytest

from community_directory.errors import MergeRefused
from community_directory.queries import accounts, members
from tests.queries.test_privacy import data
from tests.tables import rows

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def add_member(directory: asyncpg.Pool, name: str, **columns: object) -> str:
    """Add a member with a message, whose values all contain the name."""
    member = await rows.member(
        directory,
        name=name,
        profile_data={"bio": f"bio {name}"},
        github_username=f"{name}-hub",
        **columns,
    )
    await rows.account(
        directory,
        member_id=member["member_id"],
        platform="discord",
        account_id=f"8800{member['member_id'][1:]}",
        username=f"{name}.discord",
    )
    # Everybody's message 7 in this room is the same event.
    await rows.event(
        directory,
        member_id=member["member_id"],
        room_id="-100",
        source_id="zq-7",
        event_metadata={"text": f"hello {name}"},
        occurred_at=NOON,
    )
    return str(member["member_id"])


@pytest.fixture
async def pair(directory: asyncpg.Pool) -> tuple[str, str]:
    """Return the numbers of a member and of the one who was merged into them."""
    into = await add_member(directory, "zqone", telegram_id="discord:88091")
    duplicate = await add_member(directory, "zqtwo", telegram_id="88092000088092", country="Zqland")
    await members.merge(duplicate, into=into, actor="eva", reason="zqreason")
    return into, duplicate


async def test_an_erasure_covers_an_account_that_another_member_had_when_they_were_merged(
    pair: tuple[str, str], directory: asyncpg.Pool, database: str
) -> None:
    other = (await rows.member(directory))["member_id"]
    account = "discord", f"8800{pair[1][1:]}"
    assert await accounts.unlink(*account, actor="eva")
    await accounts.link(other, *account, username="zqtwo.discord", actor="eva")
    await members.erase(other, actor="eva")
    dump = (await data(database)).lower()
    assert [line for line in dump.splitlines() if account[1] in line] == []
    assert (await members.unmerge(pair[1], actor="eva")).duplicate == pair[1]


@pytest.mark.parametrize("freed", [False, True], ids=["its own number", "the freed number"])
async def test_an_erasure_deletes_what_the_journal_of_merges_has(
    pair: tuple[str, str], directory: asyncpg.Pool, database: str, freed: bool
) -> None:
    assert "hello zqtwo" in str(await directory.fetch("SELECT before FROM directory_merged_rows"))
    await members.erase(pair[freed], actor="eva")
    dump = (await data(database)).lower()
    assert [line for line in dump.splitlines() if "zq" in line or "8800" in line] == []
    assert await directory.fetchval("SELECT count(*) FROM directory_merged_rows") == 0
    with pytest.raises(MergeRefused, match="was erased"):
        await members.unmerge(pair[1], actor="eva")


async def test_an_erasure_keeps_the_journal_of_others(
    pair: tuple[str, str], directory: asyncpg.Pool
) -> None:
    into = await add_member(directory, "other", telegram_id="99001")
    duplicate = await add_member(directory, "others", telegram_id="99002")
    await members.merge(duplicate, into=into, actor="eva")
    await members.erase(pair[0], actor="eva")
    await members.unmerge(duplicate, actor="eva")
    assert (await members.get(duplicate)).name == "others"


async def test_an_export_has_the_merges_with_the_rows_of_before(pair: tuple[str, str]) -> None:
    exported = await members.export(pair[0])
    [merge] = exported["merges"]
    assert (merge["duplicate_id"], merge["into_id"]) == (pair[1], pair[0])
    assert merge["before"]["duplicate"]["telegram_id"] == "88092000088092"
    events = [row["row"] for row in merge["rows"] if row["table"] == "member_participation"]
    assert [event["event_metadata"] for event in events] == [{"text": "hello zqtwo"}]
    assert await members.export(pair[1]) == exported


async def test_an_export_after_the_undoing_has_the_merge_without_rows(
    pair: tuple[str, str],
) -> None:
    await members.unmerge(pair[1], actor="eva")
    for number in pair:
        [merge] = (await members.export(number))["merges"]
        assert (merge["before"], merge["rows"]) == (None, [])


async def test_an_erasure_after_the_undoing_covers_what_the_merge_wrote_into_the_other_one(
    pair: tuple[str, str], directory: asyncpg.Pool, database: str
) -> None:
    third = await add_member(directory, "third", telegram_id="99001")
    await members.merge(pair[0], into=third, actor="eva", reason="theirs")
    await members.unmerge(pair[1], actor="eva", reason="zqreason")
    await members.erase(pair[1], actor="eva")
    dump = (await data(database)).lower()
    values = ("zqtwo", "zqland", "88092000088092", "zqreason")
    assert [line for line in dump.splitlines() if any(value in line for value in values)] == []
    assert "zqone" in dump


async def test_an_erasure_covers_the_reason_why_a_suggestion_was_dismissed(
    directory: asyncpg.Pool, database: str
) -> None:
    numbers = [await add_member(directory, f"zq{i}", telegram_id=f"9900{i}") for i in range(2)]
    await members.dismiss_suggestion(*numbers, actor="eva", reason="zqreason")
    await members.erase(numbers[1], actor="eva")
    assert "zqreason" not in await data(database)
