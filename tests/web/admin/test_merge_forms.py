"""The forms of the panel that merge two members, undo it, and dismiss a suggestion."""

from typing import Any

import asyncpg
import httpx
import pytest

from community_directory.queries import members, participation, permissions
from community_directory.tables import CommunityMember
from tests.web.admin.panel_requests import rows as listed
from tests.web.admin.test_forms import add, everything, last_entry, refused, submit

MERGE, UNDO, DISMISS = "merge-two-members", "undo-a-merge", "dismiss-a-merge-suggestion"


async def two(directory: asyncpg.Pool, **columns: Any) -> None:
    """Add the members #2 and #3, after Ana; #3 has an event and a country."""
    await add(directory, "Bo", invited_by="#1", **columns)
    await add(directory, "Bo Two", invited_by="#1", country="Chile", **columns)
    await participation.record(
        member_id="#3", event_type="MESSAGE", platform="telegram", room_id="r", source_id="1"
    )


async def test_a_merge_is_shown_before_it_is_done(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    before = await everything(directory)
    for confirmation in ("", "2", "#33", "yes"):
        said = await refused(
            client, MERGE, duplicate="#3", into="2", number_again=confirmation, reason="one"
        )
        assert said.splitlines() == [
            "Nothing was changed so far. This is what happens if you merge #3 Bo Two into #2 Bo:",
            "#2 gets 1 event and 1 account.",
            "These fields change: country.",
            "They differ in the name: that of #2 stays.",
            "Both have a Telegram account: #2 has two afterwards.",
            "To merge them, type #3 as confirmation.",
        ]
    assert await everything(directory) == before


@pytest.mark.parametrize("confirmation", ["3", "#3"])
async def test_a_merge_is_done_and_undone_in_the_managers_name(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    directory: asyncpg.Pool,
    confirmation: str,
) -> None:
    await two(directory)
    said = await submit(
        client, MERGE, duplicate="bo two", into="2", number_again=confirmation, reason=" asked "
    )
    assert said == (
        "#3 Bo Two was merged into #2 Bo, who has got 1 event and 1 account. "
        "“Undo a merge” takes it back if you type #3 there."
    )
    assert (await members.get("#3")).member_id == "#2"
    assert (await last_entry(directory)) == ("manager", "asked")

    assert await refused(client, UNDO, number="#2") == (
        "Type the number that was merged into #2: #3."
    )
    said = await submit(client, UNDO, number="3", reason="a mistake")
    assert said.splitlines()[0] == (
        "#3 Bo Two is back, apart from #2 Bo, and has 1 event and 1 account again."
    )
    assert (await members.get("#3")).name == "Bo Two"
    assert (await last_entry(directory)) == ("manager", "a mistake")
    assert await refused(client, UNDO, number="3") == "#3 is not merged into another member."


async def test_what_both_have_is_shown_and_what_can_not_be_undone_is_told(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    await participation.record(
        member_id="#2", event_type="MESSAGE", platform="telegram", room_id="r", source_id="1"
    )
    await members.set_status("#3", "suspended", actor="test")
    lines = (await refused(client, MERGE, duplicate="#3", into="#2")).splitlines()
    assert "Events that both have, and that count once: 1." in lines
    assert "The status is then suspended." in lines

    await submit(client, MERGE, duplicate="#3", into="#2", number_again="3")
    await members.update_profile("#2", country="Perú", actor="test")
    said = await submit(client, UNDO, number="#3")
    assert said.splitlines()[1:] != []
    assert "country" in said
    assert (await members.get("#2")).country == "Perú"
    assert (await members.get("#3")).country == "Chile"


async def test_the_preview_tells_who_gets_the_permissions_of_the_duplicate(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    await permissions.grant("#3", "manage", actor="Luis")
    said = await refused(client, MERGE, duplicate="#3", into="2")
    assert "#2 gets 1 permission of #3." in said.splitlines()
    await members.set_status("#2", "suspended", actor="Luis")
    said = await refused(client, MERGE, duplicate="#3", into="2")
    assert "#2 does not get 1 permission of #3: the person is not active." in said.splitlines()


async def test_a_merge_that_is_refused_says_why_and_changes_nothing(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    await members.mark_bot("#3", actor="test")
    before = await everything(directory)
    reason = "#3 is a bot and #2 is a person. Correct the mark first."
    assert await refused(client, MERGE, duplicate="#3", into="#2") == (
        f"#3 Bo Two can't be merged into #2 Bo.\n{reason}"
    )
    assert await refused(client, MERGE, duplicate="#3", into="#2", number_again="3") == reason
    assert "two different members" in await refused(client, MERGE, duplicate="#2", into="2")
    assert await everything(directory) == before


async def test_a_merged_number_leads_to_the_other_member_in_every_list(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    await add(directory, "Bo Three")
    await submit(client, MERGE, duplicate="#4", into="#3", number_again="4")
    await submit(client, MERGE, duplicate="#3", into="#2", number_again="3", reason="asked")

    # A merged member is in no list, also in that of removed ones.
    assert await found(client, "community_members") == {"#1", "#2"}
    assert await found(client, "community_members", deleted_at__operator="not_null") == set()
    for number in ("#2", "#3", "4"):
        assert await found(client, "community_members", member_id=number) == {"#2"}
        assert await found(client, "member_participation", member_id=number) == {"#2 Bo"}
        assert await found(client, "member_accounts", member_id=number) == {"#2 Bo"}
        # The log and the merges keep the numbers under which they were written.
        logged = await found(client, "directory_audit_log", member_id=number)
        assert logged == {"#2", "#3", "#4"}
        assert await found(
            client, "directory_merges", duplicate_id=number, shown="duplicate_id"
        ) == {
            "#3 Bo Two (merged into #2)",
            "#4 Bo Three (merged into #2)",
        }
    assert await found(client, "directory_audit_log", member_id="#1") == {"#1"}
    assert await found(client, "directory_merges", duplicate_id="#1", shown="duplicate_id") == set()
    assert await found(client, "directory_merges", into_id="#9", shown="into_id") == set()


async def found(
    client: httpx.AsyncClient, table: str, *, shown: str = "member_id", **query: str
) -> set[str]:
    """Return the members in a column of a list."""
    records = await listed(client, table, **query)
    return {record.get(f"{shown}_readable") or record[shown] for record in records}


async def test_the_page_of_a_merged_member_names_the_other_one(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    await submit(client, MERGE, duplicate="#3", into="#2", number_again="3")
    key = await directory.fetchval("SELECT id FROM community_members WHERE member_id = '#3'")
    path = f"/api/tables/community_members/{key}/"
    row = (await client.get(path)).json()
    assert row["merged_into_readable"] == "#2 Bo"
    response = await client.patch(path, json={"country": "Perú"})
    assert response.json()["custom_form_error"] == (
        "This member was merged into #2 Bo. Edit that one, or use the form “Undo a merge”."
    )
    assert (await client.delete(path)).status_code == 422
    assert await refused(client, "restore-a-member", member="3") == (
        "#3 was merged into #2 Bo. Use the form “Undo a merge”."
    )


async def test_the_list_of_merges_has_no_personal_values_and_refuses_writes(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    await submit(client, MERGE, duplicate="#3", into="#2", number_again="3")
    [merge] = await listed(client, "directory_merges")
    assert merge["into_id_readable"] == "#2 Bo"
    path = f"/api/tables/directory_merges/{merge['id']}/"
    assert "Chile" in await directory.fetchval("SELECT before::text FROM directory_merges")
    for url in (path, "/api/tables/directory_merges/csv/", "/api/tables/directory_merges/"):
        text = (await client.get(url)).text
        assert "#3" in text
        assert "Chile" not in text
    for method, url in (
        ("POST", "/api/tables/directory_merges/"),
        ("PATCH", path),
        ("DELETE", path),
    ):
        response = await client.request(method, url, json={})
        assert response.status_code == 405, method
        assert response.json()["detail"] == (
            "Use the forms “Merge two members” and “Undo a merge”."
        )
