"""What the tests of the pages about people share: signed-in clients and forms."""

from html import unescape

import asyncpg
import httpx
from piccolo.apps.user.tables import BaseUser

from tests.web.conftest import PASSWORD, session_of


async def sign_in_as(client: httpx.AsyncClient, directory: asyncpg.Pool, role: str) -> None:
    """Sign a client in as a new user: a "viewer" or a "manager"."""
    name = f"the_{role}"
    user = await BaseUser.create_user(
        name, PASSWORD, email=f"{name}@directory.example", active=True, admin=role == "manager"
    )
    if role == "viewer":
        await directory.execute("INSERT INTO panel_viewers (user_id) VALUES ($1)", user.id)
    client.cookies.set("id", await session_of(user))


async def read(client: httpx.AsyncClient, path: str, status: int = 200) -> str:
    """Return the page at a path, as text that a person reads."""
    response = await client.get(path)
    assert response.status_code == status, response.text
    return unescape(response.text)


async def send(client: httpx.AsyncClient, path: str, **fields: str | list[str]) -> httpx.Response:
    """Send a form."""
    return await client.post(path, data=fields)


async def done(client: httpx.AsyncClient, path: str, **fields: str | list[str]) -> str:
    """Send a form that is accepted, and return the page after it."""
    response = await send(client, path, **fields)
    assert response.status_code == 303, unescape(response.text)
    return await read(client, response.headers["location"])


async def refused(client: httpx.AsyncClient, path: str, **fields: str | list[str]) -> str:
    """Send a form that is refused, and return the page that says why."""
    response = await send(client, path, **fields)
    assert response.status_code == 422, response.text
    assert 'role="alert"' in response.text
    return unescape(response.text)
