import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
from starlette.applications import Starlette

import main
from community_directory.database import connect, engine
from tests.conftest import Server, closed_to_all, database_name, run_sql
from tests.processes import ADMIN_PASSWORD, PROJECT, environment, running_panel


@pytest.fixture
def data_directory() -> Iterator[Path]:
    """A directory for an embedded server: short, and open to the user that PostgreSQL runs as."""
    with tempfile.TemporaryDirectory(prefix="directory-", ignore_cleanup_errors=True) as directory:
        yield Path(directory) / "postgres"


def run_main(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROJECT / "main.py", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def sign_in(url: str, password: str) -> httpx.Response:
    with httpx.Client(base_url=url) as client:
        client.get("/")
        return client.post(
            "/public/login/",
            json={"username": "admin", "password": password},
            headers={"X-CSRFToken": client.cookies["csrftoken"]},
        )


def servers_of(data_directory: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(data_directory) in (process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_a_first_start_prints_where_it_is_and_a_password_that_works_and_a_second_one_does_not(
    data_directory: Path,
) -> None:
    with running_panel(DIRECTORY_DATA_DIRECTORY=str(data_directory)) as panel:
        printed = "\n".join(panel.printed)
        password = printed.partition("with the password ")[2].split()[0]
        assert sign_in(panel.url, password).status_code == 200
        assert sign_in(panel.url, "a wrong password").status_code == 401
        assert panel.stop() == 128 + signal.SIGTERM
        assert len(panel.printed) == 2, panel.printed

    with running_panel(DIRECTORY_DATA_DIRECTORY=str(data_directory)) as panel:
        assert "password" not in "\n".join(panel.printed)
        assert sign_in(panel.url, password).status_code == 200
        panel.stop()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_server_of_production_stops_the_embedded_server_too(
    data_directory: Path, unused_port: int, workers: str, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "main:app", "--port", str(unused_port), "--workers", workers],
        cwd=PROJECT,
        env=environment(DIRECTORY_DATA_DIRECTORY=str(data_directory)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert await eventually(f"http://127.0.0.1:{unused_port}/healthz") == 200
            assert servers_of(data_directory)
            process.send_signal(number)
            process.wait(timeout=30)
        finally:
            process.kill()
    assert servers_of(data_directory) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_the_embedded_server_too(data_directory: Path, number: signal.Signals, code: int) -> None:
    with running_panel(DIRECTORY_DATA_DIRECTORY=str(data_directory)) as panel:
        assert servers_of(data_directory)
        assert panel.stop(number) == code
    assert servers_of(data_directory) == []


async def test_it_migrates_an_empty_database_and_serves_it(empty_database: str) -> None:
    with running_panel(POSTGRES_URL=empty_database, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD) as panel:
        assert httpx.get(f"{panel.url}readyz").status_code == 200
        assert sign_in(panel.url, ADMIN_PASSWORD).status_code == 200
        assert ADMIN_PASSWORD not in "\n".join(panel.printed)
        panel.stop()


async def test_the_demo_is_loaded_once(database: str) -> None:
    for said in ("The demo community was loaded.", "The demo community is there already."):
        with running_panel("--demo", POSTGRES_URL=database, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD) as panel:
            assert said in panel.printed
            panel.stop()


async def test_two_first_starts_at_once_both_serve(empty_database: str) -> None:
    def start() -> str:
        with running_panel(POSTGRES_URL=empty_database) as panel:
            answer = httpx.get(f"{panel.url}readyz")
            panel.stop()
            assert answer.status_code == 200
            return "\n".join(panel.printed)

    printed = await asyncio.gather(asyncio.to_thread(start), asyncio.to_thread(start))
    assert sum("with the password" in lines for lines in printed) == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["--port", "0"], {"DIRECTORY_PORT": "many"}, "DIRECTORY_PORT"),
        (["--port", "0"], {"POSTGRES_URL": "mysql://me:secretword@host/x"}, "POSTGRES_URL"),
        (["--port", "0"], {"POSTGRES_URL": "postgresql://me:secretword@127.0.0.1:1/x"}, "not available"),
        (["--port", "0", "--host", "no.such.host.invalid"], {}, "no.such.host.invalid"),
        (["--port", "0", "--host", "192.0.2.1"], {}, "192.0.2.1"),
    ],
)
def test_what_can_not_work_is_one_line_and_exit_code_1(
    arguments: list[str], variables: dict[str, str], said: str
) -> None:
    ended = run_main(*arguments, **variables)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr
    assert "secretword" not in ended.stderr


async def test_a_port_that_is_taken_is_said_in_one_line(database: str) -> None:
    with running_panel(POSTGRES_URL=database, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD) as panel:
        port = panel.url.rstrip("/").rpartition(":")[2]
        ended = run_main("--port", port, POSTGRES_URL=database)
        panel.stop()
    assert ended.returncode == 1
    assert ended.stderr == f"Can't listen on 127.0.0.1, port {port}: Address already in use. " + (
        "Choose another with --host or --port.\n"
    )


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_out_of_range_is_refused(port: str) -> None:
    ended = run_main("--port", port)
    assert ended.returncode == 2
    assert "port" in ended.stderr.lower()
    assert "Traceback" not in ended.stderr


def test_help_names_every_option_and_needs_no_database() -> None:
    ended = run_main("--help", POSTGRES_URL="postgresql://127.0.0.1:1/x")
    assert ended.returncode == 0
    assert all(option in ended.stdout for option in ("--demo", "--host", "--port"))


def client_of(app: Starlette) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://directory.example")


async def status(client: httpx.AsyncClient, path: str) -> tuple[int, Any]:
    response = await client.get(path)
    return response.status_code, response.json()["status"]


async def test_readiness_follows_the_database_away_and_back(
    directory: asyncpg.Pool, database: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of(main.app) as client:
        assert await status(client, "/readyz") == (200, "ok")
        async with closed_to_all(server, database):
            assert await status(client, "/readyz") == (503, "the database does not answer")
            assert await status(client, "/healthz") == (200, "ok")
        assert "Not ready: " in caplog.text
        assert await status(client, "/readyz") == (200, "ok")


async def test_a_database_that_hangs_is_not_ready_and_holds_up_nobody(
    directory: asyncpg.Pool, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "READY_SECONDS", 0.2)
    blocker = await asyncpg.connect(database)
    async with client_of(main.app) as client:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE community_members")
            for _ in range(20):
                assert await status(client, "/readyz") == (503, "the database does not answer")
            # One check waits, not twenty.
            assert engine.pool is not None
            assert engine.pool.get_size() - engine.pool.get_idle_size() == 1
        await blocker.close()
        await main.app.state.check
        assert await status(client, "/readyz") == (200, "ok")


async def test_a_database_without_the_tables_is_not_ready(empty_database: str) -> None:
    async with connect(empty_database), client_of(main.app) as client:
        assert await status(client, "/readyz") == (503, "the migrations have not run")


async def test_a_server_of_production_starts_while_the_database_is_away(
    database: str, server: Server, unused_port: int
) -> None:
    name = database_name(database)
    await run_sql(server.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    with subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "main:app", "--port", str(unused_port), "--workers", "2"],
        cwd=PROJECT,
        env=environment(POSTGRES_URL=database),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            ready = f"http://127.0.0.1:{unused_port}/readyz"
            assert await eventually(ready) == 503
            await run_sql(server.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            assert httpx.get(ready).status_code == 200
        finally:
            process.terminate()


@pytest.fixture
def unused_port() -> int:
    with main._listen("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
        return port


async def eventually(url: str) -> int:
    """The status of the first answer."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx.get(url).status_code
        except httpx.TransportError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
