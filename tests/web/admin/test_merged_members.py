"""Merged members in the tables of the panel."""

from typing import Any

import asyncpg
import httpx

from community_directory.queries import members, participation
from community_directory.tables import CommunityMember
from tests.web.admin.panel_requests import rows as listed
from tests.web.admin.test_forms import add


async def two(directory: asyncpg.Pool, **columns: Any) -> None:
    """Add the members #2 and #3, after Ana; #3 has an event and a country."""
    await add(directory, "Bo", invited_by="#1", **columns)
    await add(directory, "Bo Two", invited_by="#1", country="Chile", **columns)
    await participation.record(
        member_id="#3", event_type="MESSAGE", platform="telegram", room_id="r", source_id="1"
    )


async def test_a_merged_number_leads_to_the_other_member_in_every_list(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    await add(directory, "Bo Three")
    await members.merge("#4", into="#3", actor="Luis")
    await members.merge("#3", into="#2", actor="Luis")

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
    await members.merge("#3", into="#2", actor="Luis")
    key = await directory.fetchval("SELECT id FROM community_members WHERE member_id = '#3'")
    path = f"/api/tables/community_members/{key}/"
    row = (await client.get(path)).json()
    assert row["merged_into_readable"] == "#2 Bo"
    response = await client.patch(path, json={"country": "Perú"})
    assert response.json()["custom_form_error"] == (
        "This member was merged into #2 Bo. Edit that one, or undo the merge on its page."
    )
    assert (await client.delete(path)).status_code == 422


async def test_the_list_of_merges_has_no_personal_values_and_refuses_writes(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory)
    await members.merge("#3", into="#2", actor="Luis")
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
        assert response.json()["detail"] == ("Merge members, and undo it, on the member's page.")
