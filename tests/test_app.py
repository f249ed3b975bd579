import asyncio
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import Server, database_name, run_sql
from tests.processes import ADMIN_PASSWORD, PROJECT, environment, running_panel
from tests.roles import app_url
from tests.servers import MEMORY

# The first start on a machine creates a system user and opens directories, and says so. The fixture
# starts a server, so that the tests read the output of a later start.
pytestmark = pytest.mark.usefixtures("server")

TIMEOUT = 120
"""The seconds that an answer, or the end of a program, may take on a busy machine."""


@pytest.fixture
def data_directory() -> Iterator[Path]:
    """A directory for an embedded server, with a short path that its system user may enter."""
    with tempfile.TemporaryDirectory(
        prefix="directory-", dir=MEMORY, ignore_cleanup_errors=True
    ) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "postgres"


def run_main(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROJECT / "main.py", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def sign_in(url: str, password: str) -> httpx.Response:
    with httpx.Client(base_url=url, timeout=TIMEOUT) as client:
        client.get("/admin/")
        return client.post(
            "/admin/public/login/",
            json={"username": "admin", "password": password},
            headers={"X-CSRFToken": client.cookies["csrftoken"]},
        )


async def until_stopped(data_directory: Path) -> None:
    """Wait until the embedded server has ended, a moment after the program that stops it."""
    async with asyncio.timeout(30):
        while servers_of(data_directory):
            await asyncio.sleep(0.05)


def servers_of(data_directory: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(data_directory) in (process.info["cmdline"] or [])
        and process.status() != psutil.STATUS_ZOMBIE
    ]


def test_only_a_first_start_prints_a_password(
    data_directory: Path,
) -> None:
    with running_panel(DIRECTORY_DATA_DIRECTORY=str(data_directory)) as panel:
        printed = "\n".join(panel.printed)
        password = printed.partition("with the password ")[2].split()[0]
        assert sign_in(panel.url, password).status_code == 200
        assert sign_in(panel.url, "a wrong password").status_code == 401
        assert panel.stop() == 128 + signal.SIGTERM
        assert [line.partition(" ")[0] for line in panel.printed] == ["Sign", "Community"]
        assert panel.logged[0] == (
            "INFO community_directory.database.embedded - command:serve "
            f"Creating a PostgreSQL database in {data_directory}."
        )
        assert re.fullmatch(r".* Running \d+ migrations\.", panel.logged[1])

    with running_panel(DIRECTORY_DATA_DIRECTORY=str(data_directory)) as panel:
        assert "password" not in "\n".join(panel.printed)
        assert sign_in(panel.url, password).status_code == 200
        panel.stop()


@contextmanager
def running_uvicorn(workers: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run uvicorn with the app, and yield the URL that it chose, before it answers there."""
    with subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "main:app", "--port", "0", "--workers", workers],
        cwd=PROJECT,
        env=environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr
            found = next(
                found for line in process.stderr if (found := re.search(r"http://127\S+", line))
            )
            yield process, found.group()
        finally:
            process.kill()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_uvicorn_stops_the_embedded_server_too(
    data_directory: Path, workers: str, number: signal.Signals
) -> None:
    with running_uvicorn(workers, DIRECTORY_DATA_DIRECTORY=str(data_directory)) as (process, url):
        assert await eventually(f"{url}/healthz") == 200
        assert servers_of(data_directory)
        process.send_signal(number)
        process.communicate(timeout=TIMEOUT)
    await until_stopped(data_directory)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
async def test_a_signal_stops_the_embedded_server_too(
    data_directory: Path, number: signal.Signals, code: int
) -> None:
    with running_panel(DIRECTORY_DATA_DIRECTORY=str(data_directory)) as panel:
        assert servers_of(data_directory)
        assert panel.stop(number) == code
    await until_stopped(data_directory)


async def test_main_migrates_an_empty_database_and_serves_it(empty_database: str) -> None:
    with running_panel(
        POSTGRES_URL=empty_database, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD
    ) as panel:
        assert httpx.get(f"{panel.url}readyz", timeout=TIMEOUT).status_code == 200
        assert sign_in(panel.url, ADMIN_PASSWORD).status_code == 200
        assert ADMIN_PASSWORD not in "\n".join(panel.printed)
        panel.stop()


async def test_the_demo_is_loaded_once(database: str) -> None:
    for said in ("The demo community was loaded.", "The demo community is there already."):
        with running_panel(
            "--demo", POSTGRES_URL=app_url(database), DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD
        ) as panel:
            assert said in panel.printed
            panel.stop()


async def test_two_first_starts_at_once_both_serve(empty_database: str) -> None:
    def start() -> str:
        with running_panel(POSTGRES_URL=empty_database) as panel:
            answer = httpx.get(f"{panel.url}readyz", timeout=TIMEOUT)
            panel.stop()
            assert answer.status_code == 200
            return "\n".join(panel.printed)

    printed = await asyncio.gather(asyncio.to_thread(start), asyncio.to_thread(start))
    assert sum("with the password" in lines for lines in printed) == 1


@pytest.mark.parametrize(
    ("arguments", "variables", "reason"),
    [
        (["--port", "0"], {"DIRECTORY_PORT": "many"}, "DIRECTORY_PORT"),
        (["--port", "0"], {"POSTGRES_URL": "mysql://me:secretword@host/x"}, "POSTGRES_URL"),
        (
            ["--port", "0"],
            {"POSTGRES_URL": "postgresql://me:secretword@127.0.0.1:1/x"},
            "not available",
        ),
        (["--port", "0", "--host", "no.such.host.invalid"], {}, "no.such.host.invalid"),
        (["--port", "0", "--host", "192.0.2.1"], {}, "192.0.2.1"),
        (["--port", "0", "--host", "ü" * 64], {}, "this is not a host"),
    ],
)
def test_a_start_that_fails_prints_one_line_and_returns_exit_code_1(
    arguments: list[str], variables: dict[str, str], reason: str
) -> None:
    ended = run_main(*arguments, **variables)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert reason in ended.stderr
    assert "secretword" not in ended.stderr


async def test_a_port_that_is_taken_is_reported_in_one_line(database: str) -> None:
    with running_panel(
        POSTGRES_URL=app_url(database), DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD
    ) as panel:
        port = panel.url.rstrip("/").rpartition(":")[2]
        ended = run_main("--port", port, POSTGRES_URL=app_url(database))
        panel.stop()
    assert ended.returncode == 1
    assert ended.stderr == f"Can't listen on 127.0.0.1, port {port}: Address already in use. " + (
        "Choose another with --host or --port.\n"
    )


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_out_of_range_is_refused(port: str) -> None:
    ended = run_main("--port", port)
    assert ended.returncode == 2
    assert ended.stderr.startswith("python main.py: ")
    assert "port" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_an_unknown_option_is_reported_in_one_line() -> None:
    ended = run_main("--prot", "80")
    assert ended.returncode == 2
    assert ended.stderr == (
        "python main.py: Unknown option: --prot. Did you mean --port? (see --help)\n"
    )


def test_help_names_every_option_and_needs_no_database() -> None:
    ended = run_main("--help", POSTGRES_URL="postgresql://127.0.0.1:1/x")
    assert ended.returncode == 0
    assert all(option in ended.stdout for option in ("--demo", "--host", "--port"))


async def test_uvicorn_starts_while_the_database_is_away(database: str, server: Server) -> None:
    name = database_name(database)
    await run_sql(server.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    with running_uvicorn("2", POSTGRES_URL=app_url(database)) as (process, url):
        assert await eventually(f"{url}/readyz") == 503
        await run_sql(server.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert httpx.get(f"{url}/readyz", timeout=TIMEOUT).status_code == 200
        process.terminate()
        process.communicate(timeout=TIMEOUT)


async def eventually(url: str) -> int:
    """Return the status of the first answer."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            return httpx.get(url, timeout=TIMEOUT).status_code
        except httpx.TransportError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
