"""The limits on the bodies of requests, in process and against a running panel."""

import asyncio
import contextlib
import http.client
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from community_directory import app as main
from community_directory.web.body_limit import MAX_BODY_BYTES, BodyLimit
from tests.processes import ADMIN_PASSWORD, running_panel
from tests.web.conftest import ADDRESS

PATHS = [
    "/",
    "/healthz",
    "/admin/public/login/",
    "/admin/api/tables/piccolo_user/",
    "/insights/",
    "/nowhere",
]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    await Response(await request.body())(scope, receive, send)


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS)


async def in_chunks(size: int, sent: list[int]) -> AsyncIterator[bytes]:
    for _ in range(size // 10_000):
        sent.append(10_000)
        yield b"x" * 10_000


async def test_a_body_up_to_the_limit_reaches_the_app() -> None:
    async with client_of(BodyLimit(echo)) as client:
        for body in (b"", b"x", b"x" * MAX_BODY_BYTES):
            assert (await client.post("/", content=body)).content == body
        chunked = await client.post("/", content=in_chunks(MAX_BODY_BYTES, []))
        assert len(chunked.content) == MAX_BODY_BYTES


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PATCH", "GET"])
async def test_every_path_refuses_a_larger_body(
    directory: asyncpg.Pool, path: str, method: str
) -> None:
    async with client_of(main.app) as client:
        answer = await client.request(method, path, content=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["detail"].startswith("The request is larger than 1,000,000 bytes.")
    assert answer.headers["Connection"] == "close"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_received_bytes_count_and_not_the_announced_length() -> None:
    sent: list[int] = []
    body = in_chunks(30 * MAX_BODY_BYTES, sent)
    async with client_of(BodyLimit(echo)) as client:
        answer = await client.post("/", content=body, headers={"Content-Length": "5"})
    assert answer.status_code == 413
    # A part of the rest is read, so that the client reads the response.
    assert sum(sent) < 12 * MAX_BODY_BYTES


@pytest.mark.parametrize("length", ["1000001", "9" * 30, "-1", "1e3", ""])
async def test_an_announced_length_is_refused_before_anything_is_read(length: str) -> None:
    received: list[Message] = []

    async def receive() -> Message:
        assert received, "the body was read before the response"
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        received.append(message)

    headers = [(b"content-length", length.encode())]
    await BodyLimit(echo)({"type": "http", "headers": headers}, receive, send)
    assert received[0]["status"] == 413


async def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b"x"
            await asyncio.sleep(0.1)

    async with client_of(BodyLimit(echo, timeout=0.5)) as client, asyncio.timeout(20):
        answer = await client.post("/", content=slow())
    assert answer.status_code == 408
    assert answer.json()["detail"] == "The request took longer than 0.5 seconds. Try again."


async def test_nobody_answers_a_client_that_has_left() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def never(*_: Any) -> None:
        raise AssertionError

    await BodyLimit(never)({"type": "http", "headers": []}, receive, never)


# A running panel


def memory_megabytes(pid: int) -> int:
    """Return the largest memory that a process has used so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) // 1024


def send_gigabyte(url: str, headers: dict[str, str]) -> bytes:
    """Send a body until the panel closes the connection or it has a gigabyte; return the answer."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        lines = [f"{name}: {value}" for name, value in {"Host": "x", **headers}.items()]
        start = "\r\n".join(["POST /admin/public/login/ HTTP/1.1", *lines, "", ""])
        connection.sendall(start.encode())
        block = b"x" * 1_000_000
        if "Transfer-Encoding" in headers:
            block = b"%x\r\n%s\r\n" % (len(block), block)
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                connection.sendall(block)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while received := connection.recv(65_536):
                answer += received
        return answer


async def test_a_gigabyte_does_not_grow_the_memory_of_a_panel(database: str) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("this system does not tell the memory of a process")
    settings = {"POSTGRES_URL": database, "DIRECTORY_ADMIN_PASSWORD": ADMIN_PASSWORD}
    with running_panel(**settings) as panel:
        before = memory_megabytes(panel.process.pid)
        for headers in (
            {"Content-Length": "1000000000"},
            {"Transfer-Encoding": "chunked"},
        ):
            await asyncio.to_thread(send_gigabyte, panel.url, headers)
        # What is a little too large is answered before the connection is closed.
        parts = urlsplit(panel.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        connection.request("POST", "/admin/public/login/", body=b"x" * 5_000_000)
        assert connection.getresponse().status == 413
        assert memory_megabytes(panel.process.pid) - before < 50
