"""The panel lists the accounts of members."""

import asyncpg
import httpx
import pytest

from tests.queries.test_lookup import merge
from tests.tables import rows
from tests.web.admin.panel_requests import rows as listed
from tests.web.admin.panel_requests import search


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="1001", telegram_username="ana", status="active")
    await rows.member(directory, telegram_id="1002", name="Bo", status="active")


async def test_the_list_of_accounts_is_read_only_and_filtered_by_a_member(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: None
) -> None:
    [account] = await listed(client, "member_accounts", member_id="1")
    path = "/api/tables/member_accounts/"
    for method, address in (("POST", ""), ("PATCH", account["id"]), ("DELETE", account["id"])):
        response = await client.request(method, f"{path}{address}/" if address else path, json={})
        assert response.status_code == 405, method


async def test_filters_follow_a_merged_number(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: None
) -> None:
    await rows.event(directory, member_id="#1")
    await merge(directory, "#2", into="#1")
    key = await directory.fetchval("SELECT id FROM community_members WHERE member_id = '#2'")
    for number in ("#2", "2", str(key)):
        assert len(await listed(client, "member_participation", member_id=number)) == 1
    assert await search(client, search="2") == ["#1 Ana García"]
