"""The page of the requests of members, and how they are settled."""

import asyncpg
import httpx

from community_directory.queries import requests
from tests.tables import rows
from tests.web.workspace.person_pages import done, read, refused, send, sign_in_as

SETTLE = "/requests/settle/"


async def test_without_requests_the_page_says_so(client: httpx.AsyncClient) -> None:
    assert "Nobody asks for anything" in await read(client, "/requests/")


async def test_requests_lead_to_what_settles_them(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number, kind in enumerate(("erasure", "link"), 1):
        await rows.member(directory, name=f"<b>{number}</b>")
        await requests.ask(number, kind, actor="bot")
    response = await client.get("/requests/")
    assert "<b>" not in response.text
    assert 'href="/people/1/erase/"' in response.text
    assert 'href="/people/2/#accounts"' in response.text
    page = await done(client, SETTLE, number="#2", kind="link", reason="linked it")
    assert "The request is settled." in page
    assert "/people/2/" not in page
    [entry] = await directory.fetch(
        "SELECT actor, reason FROM directory_audit_log"
        " WHERE table_name = 'member_requests' AND action = 'DELETE'"
    )
    assert tuple(entry) == ("manager", "linked it")


async def test_a_request_is_settled_once_and_with_a_reason(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.request(directory, kind="link")
    await refused(client, SETTLE, number="#1", kind="link")
    await refused(client, SETTLE, number="#1", kind="nothing", reason="x")
    await done(client, SETTLE, number="#1", kind="link", reason="x")
    page = await refused(client, SETTLE, number="#1", kind="link", reason="x")
    assert "Somebody else has settled this request already." in page


async def test_only_managers_settle_and_only_superusers_erase(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.request(directory, kind="erasure")
    await sign_in_as(client, directory, "manager")
    page = await read(client, "/requests/")
    assert "Dismiss" in page
    assert "/erase/" not in page
    await sign_in_as(client, directory, "viewer")
    page = await read(client, "/requests/")
    assert "Dismiss" not in page
    response = await send(client, SETTLE, number="#1", kind="erasure", reason="x")
    assert response.status_code == 403


async def test_many_requests_are_read_page_by_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for _ in range(21):
        await rows.request(directory, kind="link")
    page = await read(client, "/requests/")
    assert page.count("Open the accounts") == 20
    [after] = [part.split('"')[0] for part in page.split("/requests/?after=")[1:]]
    assert (await read(client, f"/requests/?after={after}")).count("Open the accounts") == 1
    await read(client, "/requests/?after=nothing", 404)
