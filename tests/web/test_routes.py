"""Every form of ours refuses a viewer, a stranger, and a request from elsewhere."""

from collections.abc import AsyncIterator, Iterable

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser

from community_directory.app import app
from tests.queries.cases import community
from tests.web.conftest import ADDRESS, PASSWORD, add_superuser, session_of
from tests.web.routes import Address, addresses

FOR_EVERYBODY = {"/theme/", "/language/", "/sign-in/", "/sign-out/", "/join/{token}/"}
"""The forms that need no session: they are about the browser, or begin or end a session."""
OWN_ACCOUNT = "/me/"
"""The forms about the own account, which viewers have, too."""
FOR_SUPERUSERS = ("/colleagues/", "/people/{number}/export/", "/people/{number}/erase/")
"""The beginnings of the forms that managers can't send either."""
OF_THE_SERVER = {"panel_visits", "panel_attempts", "migration"}
"""The tables that a request may change although it is refused."""

POSTS = [address for address in addresses("POST") if address.route not in FOR_EVERYBODY]


@pytest.fixture
async def visitor(directory: asyncpg.Pool, fast_hashes: None) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a session, which has a CSRF token."""
    await community(directory)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS) as client:
        await client.get("/sign-in/")
        yield client


async def dump(directory: asyncpg.Pool) -> dict[str, str]:
    """Return a hash of the rows of each table."""
    tables = await directory.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    names = [name for (name,) in tables if name not in OF_THE_SERVER]
    hashes = ", ".join(
        f"(SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {name} AS t)"
        for name in names
    )
    row = await directory.fetchrow(f"SELECT {hashes}")
    assert row
    return dict(zip(names, row, strict=True))


async def sign_in(
    client: httpx.AsyncClient, directory: asyncpg.Pool, username: str, *, is_manager: bool
) -> None:
    user = await BaseUser.create_user(
        username, PASSWORD, email=f"{username}@x.org", active=True, admin=is_manager
    )
    if not is_manager:
        await directory.execute("INSERT INTO panel_viewers (user_id) VALUES ($1)", user.id)
    client.cookies.set("id", await session_of(user))
    assert (await client.get("/")).status_code == 200


async def send(
    client: httpx.AsyncClient, posts: Iterable[Address], token: str | None
) -> dict[str, httpx.Response]:
    """Send a form to each address, and return the responses by route."""
    fields = {"member": "1", "reason": "x", "text": "x"}
    if token is not None:
        fields["csrftoken"] = token
    return {address.route: await client.post(address.path, data=fields) for address in posts}


def test_the_forms_that_are_named_here_exist() -> None:
    routes = {address.route for address in addresses("POST")}
    assert routes >= FOR_EVERYBODY
    for beginning in (OWN_ACCOUNT, *FOR_SUPERUSERS):
        assert any(route.startswith(beginning) for route in routes), beginning


async def test_a_viewer_can_send_no_form_but_those_about_their_own_account(
    visitor: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await sign_in(visitor, directory, "vera", is_manager=False)
    before = await dump(directory)
    posts = [address for address in POSTS if not address.route.startswith(OWN_ACCOUNT)]
    for route, response in (await send(visitor, posts, visitor.cookies["csrftoken"])).items():
        assert response.status_code == 403, route
        assert "Your account may read, but not change this." in response.text, route
    assert await dump(directory) == before


async def test_a_manager_can_not_send_the_forms_of_superusers(
    visitor: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await sign_in(visitor, directory, "luis", is_manager=True)
    before = await dump(directory)
    posts = [address for address in POSTS if address.route.startswith(FOR_SUPERUSERS)]
    for route, response in (await send(visitor, posts, visitor.cookies["csrftoken"])).items():
        assert response.status_code == 403, route
    assert await dump(directory) == before


async def test_a_stranger_can_send_no_form(
    visitor: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    before = await dump(directory)
    for route, response in (await send(visitor, POSTS, visitor.cookies["csrftoken"])).items():
        assert response.status_code == 401, route
        assert 'name="password"' in response.text, route
    assert await dump(directory) == before


async def test_a_form_without_the_token_changes_nothing(
    visitor: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    visitor.cookies.set("id", await session_of(await add_superuser("eva")))
    before = await dump(directory)
    for token in (None, "another"):
        for route, response in (await send(visitor, POSTS, token)).items():
            assert response.status_code == 403, route
            assert "CSRF" in response.text or "Nothing was changed." in response.text, route
    assert await dump(directory) == before


async def test_the_address_of_a_form_leads_to_its_page(visitor: httpx.AsyncClient) -> None:
    visitor.cookies.set("id", await session_of(await add_superuser("eva")))
    shown = {address.route for address in addresses("GET")}
    for address in addresses("POST"):
        if address.route in shown:
            continue
        response = await visitor.get(address.path)
        assert response.status_code == 303, address
        page = response.headers["location"]
        assert address.path.startswith(page), address
        assert (await visitor.get(page)).status_code == 200, address
