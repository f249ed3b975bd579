"""The forms of the panel that merge two members, undo it, and dismiss a suggestion."""

from typing import Any

import asyncpg
import httpx
import pytest
from playwright.async_api import Page, expect

from community_directory.queries import members, participation, permissions
from community_directory.tables import CommunityMember
from tests.web.admin.panel_requests import rows as listed
from tests.web.admin.test_browser import open_form
from tests.web.admin.test_browser import submit as submit_in_browser
from tests.web.admin.test_forms import add, everything, last_entry, refused, submit
from tests.web.conftest import ADDRESS

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


async def test_a_suggestion_is_dismissed_and_leaves_the_list(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await two(directory, github_username="bo")
    html = (await client.get(f"{ADDRESS}/insights/suggestions/")).text
    assert "the same GitHub account: bo" in html
    assert html.index("#2") < html.index("#3")
    said = await submit(client, DISMISS, member="#3", other="#2", reason="sisters")
    assert said == "#3 Bo Two and #2 Bo are two persons: nobody will suggest to merge them."
    assert await last_entry(directory) == ("manager", "sisters")
    html = (await client.get(f"{ADDRESS}/insights/suggestions/")).text
    assert "No two members seem to be one person." in html
    assert "the same member" in await refused(client, DISMISS, member="#2", other="#2")


async def test_the_page_of_suggestions_continues_on_the_next_one(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number in range(7):  # 21 pairs
        await add(directory, f"Bo {number}", github_username="bo")
    first = (await client.get(f"{ADDRESS}/insights/suggestions/")).text
    assert first.count("the same GitHub account") == 20
    [_, address] = first.split('<a href="/insights/suggestions/?after=')
    cursor = address.partition('"')[0]
    second = (await client.get(f"{ADDRESS}/insights/suggestions/", params={"after": cursor})).text
    assert second.count("the same GitHub account") == 1
    assert "More suggestions" not in second
    [_, back] = second.split('<a href="/insights/suggestions/?after=')
    address = f"{ADDRESS}/insights/suggestions/?after={back.partition(chr(34))[0]}"
    again = (await client.get(address)).text
    assert again == first
    for wrong in ("x", "", "WyJoaXN0b3J5Iiw1XQ"):
        response = await client.get(f"{ADDRESS}/insights/suggestions/", params={"after": wrong})
        assert response.status_code == 404
        assert "Start again with the first page." in response.text


async def test_a_hostile_name_and_username_do_not_break_the_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for name in ("<img src=x onerror=alert(1)>", "\u202eevil"):
        await directory.execute(
            "INSERT INTO community_members (telegram_id, name, primary_role, github_username)"
            " VALUES ($1, $2, 'x', 'Evil')",
            str(len(name)),
            name.replace("\u202e", ""),
        )
    html = (await client.get(f"{ADDRESS}/insights/suggestions/")).text
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


@pytest.mark.browser
@pytest.mark.filterwarnings("ignore:If running sessions in production")
async def test_a_manager_finds_two_members_in_the_list_merges_them_and_undoes_it(
    page: Page, directory: asyncpg.Pool
) -> None:
    await add(directory, "Ana García", telegram_username="ana")
    await add(directory, "Ana G.", github_username="ana", country="Chile")
    await page.get_by_role("link", name="Merge suggestions").click()
    await expect(page.get_by_role("heading", name="Merge suggestions")).to_be_visible()
    await expect(page.get_by_role("row").last).to_contain_text(
        "the same username on two platforms: ana"
    )
    await page.get_by_role("link", name="Merge two members").click()
    await expect(page.get_by_role("heading", name="Merge two members")).to_be_visible()
    told, heading = page.locator(".errors li"), page.locator(".errors p")
    await submit_in_browser(page, duplicate="#1", into="#1")
    await expect(told).to_contain_text("Name two different members.")
    await expect(heading).to_be_visible()
    await submit_in_browser(page, duplicate="#2", into="#1", reason="she says so")
    await expect(told).to_contain_text("To merge them, type #2 as confirmation.")
    # A preview does not look like an error.
    await expect(heading).to_be_hidden()
    await expect(page.locator("#message_popup")).to_be_hidden()
    lines = (await told.inner_text()).splitlines()
    assert lines[1] == "#1 gets 1 account."
    # What was typed is still there.
    await submit_in_browser(page, number_again="#2")
    await expect(page.locator("#success_message")).to_contain_text(
        "#2 Ana G. was merged into #1 Ana García"
    )
    assert (await members.get("#2")).member_id == "#1"
    # The freed number leads to the other member.
    await open_form(page, "Explain a reputation")
    await submit_in_browser(page, member="#2")
    await expect(page.locator("#success_message")).to_contain_text("#1 Ana García")
    await open_form(page, "Undo a merge")
    await submit_in_browser(page, number="#2")
    await expect(page.locator("#success_message")).to_contain_text("#2 Ana G. is back")
    await open_form(page, "Dismiss a merge suggestion")
    await submit_in_browser(page, member="#1", other="#2")
    await page.get_by_role("link", name="Community Directory").click()
    await page.get_by_role("link", name="Merge suggestions").click()
    await expect(page.get_by_text("No two members seem to be one person.")).to_be_visible()
