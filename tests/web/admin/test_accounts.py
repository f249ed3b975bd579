"""The panel lists, links and unlinks accounts, and finds people by them."""

from typing import Any

import asyncpg
import httpx
import pytest

from community_directory.errors import MemberNotFound
from community_directory.queries import accounts, audit, members
from community_directory.web.admin.lookup import find_one_member
from tests.queries.test_lookup import ENTITY, merge
from tests.tables import rows
from tests.web.admin.panel_requests import rows as listed
from tests.web.admin.panel_requests import search
from tests.web.conftest import ADDRESS

UNLINK = {"platform": "Discord", "account_id": "<@5>", "reason": "she told me"}
LINK = {"member": "#1", "username": "@ana.garcia", **UNLINK}


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="1001", telegram_username="ana", status="active")
    await rows.member(directory, telegram_id="1002", name="Bo", status="active")


async def answer(client: httpx.AsyncClient, slug: str, **values: Any) -> str:
    response = await client.post(f"/api/forms/{slug}/", json=values)
    body = response.json()
    return str(body["custom_form_success"] if response.is_success else body["custom_form_error"])


async def test_a_manager_links_and_unlinks_an_account(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: None
) -> None:
    said = await answer(client, "link-an-account", **LINK)
    assert said == "The discord account 5 belongs to #1 Ana García."
    [account] = await listed(client, "member_accounts", platform="discord")
    assert (account["account_id"], account["username"]) == ("5", "ana.garcia")
    assert (account["proof"], account["member_id_readable"]) == ("manager", "#1 Ana García")
    [entry] = [
        entry
        for entry in (await audit.history("#1")).items
        if entry.table_name == "member_accounts"
    ]
    assert entry.reason == "she told me"
    taken = await answer(client, "link-an-account", **LINK | {"member": "#2"})
    assert taken.startswith("This account belongs to member #1.")
    said = await answer(client, "unlink-an-account", **UNLINK)
    assert "belongs to nobody now" in said
    assert [found.platform for found in await accounts.of("#1")] == ["telegram"]
    assert (await answer(client, "unlink-an-account", **UNLINK)).startswith("Nobody has this")


async def test_an_account_of_the_members_own_fields_is_not_unlinked(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: None
) -> None:
    said = await answer(
        client, "unlink-an-account", platform="telegram", account_id="1001", reason="x"
    )
    assert said == "The member's own fields name this account: change those first."


async def test_the_list_of_accounts_is_read_only_and_filtered_by_a_member(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: None
) -> None:
    [account] = await listed(client, "member_accounts", member_id="1")
    path = "/api/tables/member_accounts/"
    for method, address in (("POST", ""), ("PATCH", account["id"]), ("DELETE", account["id"])):
        response = await client.request(method, f"{path}{address}/" if address else path, json={})
        assert response.status_code == 405, method


@pytest.mark.parametrize(
    "typed", ["<@5>", "discord:5", "@ana.garcia", "ana.garcia", "1001", "t.me/ana", ENTITY.upper()]
)
async def test_a_form_finds_a_person_by_any_account(
    directory: asyncpg.Pool, ana: None, typed: str
) -> None:
    await accounts.link("#1", "discord", "5", username="ana.garcia", actor="luis")
    await accounts.link("#1", "elizaos", ENTITY, actor="luis")
    assert (await find_one_member(typed)).member_id == "#1"


async def test_forms_and_filters_follow_a_merged_number(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: None
) -> None:
    await rows.event(directory, member_id="#1")
    await merge(directory, "#2", into="#1")
    for typed in ("#2", "2", "1002"):
        assert (await find_one_member(typed)).member_id == "#1"
        assert (await find_one_member(typed, removed=None)).member_id == "#1"
    for typed in ("#2", "Bo"):
        with pytest.raises(MemberNotFound):
            await find_one_member(typed, removed=True)
    with pytest.raises(MemberNotFound):
        await find_one_member("Bo", removed=None)
    key = await directory.fetchval("SELECT id FROM community_members WHERE member_id = '#2'")
    for number in ("#2", "2", str(key)):
        assert len(await listed(client, "member_participation", member_id=number)) == 1
    assert await search(client, search="2") == ["#1 Ana García"]
    page = (await client.get(f"{ADDRESS}/tree/2/")).text
    assert "Ana García" in page
    with pytest.raises(MemberNotFound):
        await members.set_status("#2", "suspended", actor="luis")
