"""Merging of two numbers of one person, its preview, how it is undone, and two who are not one."""

from datetime import UTC, datetime

import asyncpg
import httpx
import pytest
from babel.messages.pofile import read_po

from community_directory.language import LOCALE_PATH
from community_directory.queries import accounts, members
from community_directory.queries.members import ConflictKind, MergeCounts
from community_directory.web.workspace.person_merge import CONFLICT_TEXTS, JOURNAL_TABLES
from community_directory.web.workspace.person_rows import find_similar
from tests.tables import rows
from tests.web.workspace.person_pages import done, read, refused, send

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
async def two_numbers(directory: asyncpg.Pool) -> None:
    """Ana, who is #1, and #2, who is the same person on Discord."""
    await rows.member(directory, name="Ana", status="active", telegram_username="ana_g")
    await rows.member(
        directory, name="Ana G.", status="suspended", country="Mexico", telegram_id="discord:5"
    )
    await directory.execute("UPDATE member_accounts SET username = 'Ana_G' WHERE member_id = '#2'")
    await rows.event(directory, member_id="#2", occurred_at=NOW)


async def test_a_similar_person_is_suggested_and_compared(client: httpx.AsyncClient) -> None:
    page = await read(client, "/people/1/")
    assert "Looks like one person:" in page
    assert "(#2), the same username" in page
    assert 'href="/people/1/merge/?with=2"' in page
    assert [each.member_id for each in await find_similar("#2")] == ["#1"]


async def test_a_preview_tells_what_a_merge_does_and_changes_nothing(
    client: httpx.AsyncClient,
) -> None:
    before = [await members.get(number) for number in (1, 2)]
    page = await read(client, "/people/1/merge/?with=%232")
    assert "#1 gets: 1 event, 1 account." in page
    assert "These fields change: country." in page
    assert "#2 is suspended, and #1 is active: the person is suspended afterwards." in page
    assert "They differ in the name: that of #1 stays." in page
    assert "Merge #2 into #1" in page
    assert [await members.get(number) for number in (1, 2)] == before


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("1", "This is the same number."),
        ("9", "There is no member"),
        ("<b>nobody</b>", "There is no member"),
        ("3", "One of the two was erased"),
        ("4", "already. Undo that merge first."),
    ],
)
async def test_who_can_t_be_merged_is_told_why(
    client: httpx.AsyncClient, directory: asyncpg.Pool, typed: str, expected: str
) -> None:
    erased = "erased:00000000-0000-4000-8000-000000000000"
    await rows.member(directory, telegram_id=erased, deleted_at=NOW)
    await rows.merged_member(directory, merged_into="#2")
    response = await client.get("/people/1/merge/", params={"with": typed})
    assert response.status_code == 200
    assert expected in response.text
    assert "<b>" not in response.text
    assert "formaction" not in response.text
    await refused(client, "/people/1/merge/", **{"with": typed})


async def test_an_account_names_the_other_one_too(client: httpx.AsyncClient) -> None:
    assert "Merge #2 into #1" in await read(client, "/people/1/merge/?with=discord:5")


async def test_a_merge_is_done_and_undone(client: httpx.AsyncClient) -> None:
    page = await done(client, "/people/1/merge/", **{"with": "#2"}, reason="met them")
    assert "#2 is merged into #1." in page
    assert "Merged into this one on" in page
    assert {each.platform for each in await accounts.of(1)} == {"telegram", "discord"}
    # From the page of somebody else nothing is undone.
    await refused_or_gone(client, "/people/3/unmerge/2/")
    page = await read(client, "/people/1/unmerge/2/")
    assert "#2 is a member of their own again, and gets back: 1 event, 1 account." in page
    page = await done(client, "/people/1/unmerge/2/", reason="a mistake")
    assert "Ana G. is a member of their own again." in page
    assert (await members.get(2)).status == "suspended"
    # It is undone: nothing is left to undo.
    await read(client, "/people/1/unmerge/2/", 400)
    await refused_or_gone(client, "/people/1/unmerge/2/")


async def refused_or_gone(client: httpx.AsyncClient, path: str) -> None:
    """Send a form whose page does not exist any more either."""
    response = await send(client, path)
    assert response.status_code == 422


async def test_two_persons_are_not_suggested_again(client: httpx.AsyncClient) -> None:
    page = await done(client, "/people/1/two-persons/", **{"with": "#2"})
    assert "#1 and #2 are two persons" in page
    assert "Looks like one person" not in page
    assert await find_similar("#2") == []


async def test_similar_people_are_those_of_the_suggestions(directory: asyncpg.Pool) -> None:
    # One of each reason, and some who must not be suggested.
    first = {"invited_by": "#1", "name": "Bo Díaz"}
    await rows.member(directory, **first, github_username="bo")
    await rows.member(directory, **{**first, "name": "bo diaz"})
    await rows.member(directory, name="Bob", github_username="BO")
    await rows.account(directory, member_id="#5", platform="discord", account_id="77")
    await rows.member(directory, profile_data='{"discord_id": "77"}')
    await rows.member(directory, github_username="bo", deleted_at=NOW)
    await rows.member(directory, github_username="bo", is_bot=True)
    await rows.proved_pair(directory, member_a="#1", member_b="#6")
    suggested = {
        frozenset((each.member.member_id, each.other.member_id))
        for each in (await members.merge_suggestions(limit=100)).items
    }
    found = {
        frozenset((f"#{number}", each.member_id))
        for number in range(1, 7)
        for each in await find_similar(f"#{number}")
    }
    assert found == suggested
    strongest = {number: await find_similar(f"#{number}") for number in (3, 6)}
    assert [each.kind for each in strongest[6]] == ["proved", "stated"]


def test_each_conflict_and_each_count_has_words() -> None:
    assert set(CONFLICT_TEXTS) == set(ConflictKind)
    assert set(JOURNAL_TABLES.values()) <= set(MergeCounts.__dataclass_fields__)
    with (LOCALE_PATH / "es/LC_MESSAGES/community_directory.po").open("rb") as file:
        catalog = read_po(file)
    for text in CONFLICT_TEXTS.values():
        message = catalog.get(text)
        assert message is not None
        assert message.string
