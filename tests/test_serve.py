"""The panel's process: it ends in time whatever its database does, and with its embedded server."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from tests.conftest import closed_to_all, database_name, run_sql, Server
from tests.processes import ADMIN_PASSWORD, PROJECT, Panel, running_panel
from tests.proxy import Proxy

pytestmark = pytest.mark.usefixtures("server")

TIMEOUT = 120
"""The seconds that an answer, or the end of a program, may take on a busy machine."""
SHUTDOWN_BOUND_SECONDS = 10
"""The longest time from SIGTERM to the end of the process."""


@contextlib.asynccontextmanager
async def serving(url: str, **variables: str) -> AsyncIterator[Panel]:
    """Run the panel on a database, which the test's event loop may serve through a proxy."""
    context = running_panel(
        POSTGRES_URL=url, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD, **variables
    )
    panel = await asyncio.to_thread(context.__enter__)
    try:
        yield panel
    finally:
        context.__exit__(None, None, None)


async def ask(panel: Panel, path: str) -> int:
    async with httpx.AsyncClient(base_url=panel.url, timeout=TIMEOUT) as client:
        # A session makes the panel ask the database.
        response = await client.get(path, cookies={"id": "a" * 43})
        return response.status_code


async def end_with_requests_in_flight(panel: Panel) -> float:
    """Send SIGTERM while requests wait for the database; return the seconds until the end."""
    paths = ["/api/tables/community_members/", "/insights/", "/readyz"] * 4
    requests = [asyncio.create_task(ask(panel, path)) for path in paths]
    await asyncio.sleep(0.5)
    started = time.monotonic()
    code = await asyncio.to_thread(panel.stop)
    duration = time.monotonic() - started
    assert code == -signal.SIGTERM
    await asyncio.gather(*requests, return_exceptions=True)
    return duration


async def test_x(database: str) -> None:
    proxy = Proxy(database)
    async with proxy.running() as url, serving(url) as panel:
        assert await ask(panel, "/readyz") == 200
        proxy.freeze()
        d = await end_with_requests_in_flight(panel)
        print(d)
        for l in panel.logged: print(l[:300])
        assert 0
