"""Every form of ours refuses a viewer, a stranger, and a request from elsewhere."""

from collections.abc import AsyncIterator

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser

from community_directory.app import app
from tests.queries.cases import community
from tests.web.conftest import ADDRESS, PASSWORD, add_superuser, session_of
from tests.web.routes import addresses

FOR_EVERYBODY = {"/theme/", "/language/", "/sign-in/", "/sign-out/"}
"""The forms that need no role: each of them is about the browser or the session alone."""
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


async def send_all(client: httpx.AsyncClient, token: str | None) -> dict[str, httpx.Response]:
    fields = {} if token is None else {"csrftoken": token}
    return {
        address.route: await client.post(
            address.path, data={"member": "1", "reason": "x", "text": "x", **fields}
        )
        for address in POSTS
    }


def test_the_forms_for_everybody_exist() -> None:
    assert {address.route for address in addresses("POST")} >= FOR_EVERYBODY
    assert len(POSTS) > 1


async def test_a_viewer_can_send_no_form(
    visitor: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    viewer = await BaseUser.create_user("vera", PASSWORD, email="v@x.org", active=True, admin=False)
    await directory.execute("INSERT INTO panel_viewers (user_id) VALUES ($1)", viewer.id)
    visitor.cookies.set("id", await session_of(viewer))
    assert (await visitor.get("/")).status_code == 200
    before = await dump(directory)
    for route, response in (await send_all(visitor, visitor.cookies["csrftoken"])).items():
        assert response.status_code == 403, route
        assert "Your account may read, but not change this." in response.text, route
    assert await dump(directory) == before


async def test_a_stranger_can_send_no_form(
    visitor: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    before = await dump(directory)
    for route, response in (await send_all(visitor, visitor.cookies["csrftoken"])).items():
        assert response.status_code == 401, route
        assert 'name="password"' in response.text, route
    assert await dump(directory) == before


async def test_a_form_without_the_token_changes_nothing(
    visitor: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    visitor.cookies.set("id", await session_of(await add_superuser("eva")))
    before = await dump(directory)
    for token in (None, "another"):
        for route, response in (await send_all(visitor, token)).items():
            assert response.status_code == 403, route
            assert "CSRF" in response.text or "Nothing was changed." in response.text, route
    assert await dump(directory) == before
