"""The primary answers a browser that has just changed something."""

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from community_directory.database.replicas import is_primary_only
from community_directory.web.recent_writes import RecentWrites


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the name of the server that would answer a list, and with a cookie."""
    await Request(scope, receive).body()
    response = PlainTextResponse("primary" if is_primary_only() else "replica")
    response.set_cookie("other", "1")
    await response(scope, receive, send)


@pytest.fixture
def client() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(RecentWrites(tell, max_lag=2.5))
    return httpx.AsyncClient(transport=transport, base_url="http://directory.example")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_the_primary_answers_after_a_change(client: httpx.AsyncClient, method: str) -> None:
    assert (await client.get("/")).text == "replica"
    changed = await client.request(method, "/")
    assert (await client.get("/")).text == "primary"
    other, recent = changed.headers.get_list("Set-Cookie")
    assert other.startswith("other=")
    assert recent == "recent_write=1; Max-Age=4; Path=/; HttpOnly; SameSite=Strict"
    client.cookies.delete("recent_write")  # as the browser does after this time
    assert (await client.get("/")).text == "replica"


async def test_a_page_changes_nothing(client: httpx.AsyncClient) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        answer = await client.request(method, "/")
        assert len(answer.headers.get_list("Set-Cookie")) == 1
