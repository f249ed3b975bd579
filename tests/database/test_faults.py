"""Servers that are killed, restarted or out of disk space under load; `make faults` runs these."""

import asyncio
import contextlib
import itertools
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import pytest

from community_directory.database import connect, engine, migrate, transaction
from community_directory.errors import DatabaseUnavailable
from tests.conftest import Server, run_sql
from tests.database.failures import Writers, add_inviter
from tests.database.scratch import committed_numbers, create_scratch_table, cut_connections
from tests.processes import PROJECT, environment
from tests.servers import START_TIMEOUT_SECONDS, PostgresServer, skip_or_fail
from tests.waiting import until_waiting

pytestmark = pytest.mark.faults


@pytest.fixture
def directory(server: Server) -> Iterator[Path]:
    """Yield a directory for a server; the server of the session has opened its programs."""
    path = Path(tempfile.mkdtemp(prefix="servers-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def running_server(directory: Path) -> AsyncIterator[PostgresServer]:
    """Run a server without a schema."""
    server = PostgresServer(directory / "server")
    with ExitStack() as stack:
        stack.callback(server.stop, signal.SIGKILL)
        server.initialize()
        await server.start()
        yield server


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT])
async def test_a_server_that_ends_under_load_loses_nothing_that_was_confirmed(
    directory: Path, number: signal.Signals
) -> None:
    writers = Writers()
    async with running_server(directory) as server, connect(server.url):
        await migrate()
        await add_inviter()
        async with writers.running(12):
            for _ in range(5):
                await writers.confirm(100)
                server.stop(number)
                await server.start()
            await writers.confirm(100)
        await writers.check()
    assert writers.unknown.total() > 0


async def test_callers_who_give_up_while_the_server_restarts_lose_no_connection(
    directory: Path,
) -> None:
    """The role has fewer connections than the pool, and a third of 200 callers is cancelled."""
    numbers, confirmed, chance = itertools.count(), set[int](), random.Random(13)

    async def add() -> None:
        number = next(numbers)
        async with transaction():
            await engine.fetch(f"INSERT INTO scratch VALUES ({number})")
        confirmed.add(number)

    async def repeat() -> None:
        while True:
            call = asyncio.create_task(add())
            if chance.random() < 0.3:
                asyncio.get_running_loop().call_later(chance.random() * 0.05, call.cancel)
            await asyncio.wait({call})
            if not call.cancelled() and (error := call.exception()) is not None:
                assert isinstance(error, DatabaseUnavailable)
                await asyncio.sleep(0.05)

    async with running_server(directory) as server:
        await create_scratch_table(server.url)
        await run_sql(server.url, "CREATE ROLE few LOGIN CONNECTION LIMIT 4")
        await run_sql(server.url, "GRANT ALL ON scratch TO few")
        async with connect(server.url.replace("postgres@", "few@"), max_size=8) as connected:
            callers = [asyncio.create_task(repeat()) for _ in range(200)]
            for number in (signal.SIGKILL, signal.SIGINT, None, None):
                before = len(confirmed)
                while len(confirmed) < before + 500:
                    await asyncio.sleep(0.01)
                if number is None:
                    await cut_connections(server.url)
                else:
                    server.stop(number)
                    await server.start()
            for caller in callers:
                caller.cancel()
            ends = await asyncio.gather(*callers, return_exceptions=True)
            assert {type(end) for end in ends} == {asyncio.CancelledError}
            pool = connected.pool
            assert pool is not None
            pool.acquire_timeout = START_TIMEOUT_SECONDS
            # The line is served in order, so no other caller has a connection then.
            held = [await pool.acquire() for _ in range(4)]
            for connection in held:
                await connection.execute("SELECT 1")
                pool.release(connection, clean=True)
            assert pool.get_size() == pool.get_idle_size() == 4
        assert confirmed <= set(await committed_numbers(server.url))


@pytest.fixture
def small_disk(directory: Path) -> Iterator[Path]:
    """Yield the root of a file system of 160 MiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m,mode=755", "tmpfs", directory],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        skip_or_fail(f"a small file system can't be mounted: {mounted.stderr.splitlines()[0]}")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


async def test_a_full_disk_loses_nothing_that_was_confirmed(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    writers = Writers()
    async with running_server(small_disk) as server, connect(server.url):
        await migrate()
        await add_inviter()
        async with writers.running(12):
            await writers.confirm(100)
            fill_disk(ballast)
            await writers.refuse(20)
            ballast.unlink()
            if not server.is_running():
                await server.start()
            await writers.confirm(100)
        await writers.check()


def fill_disk(ballast: Path) -> None:
    """Write a file until the disk has no space left."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(64 * 1024))


# What another session has created and not committed: a migrator waits for it.
OBSTACLES = (
    "CREATE TABLE community_invitations ()",
    "CREATE SEQUENCE community_member_number",
    "CREATE TABLE sessions ()",
)


async def test_a_server_that_is_killed_while_four_processes_migrate_can_be_migrated(
    directory: Path,
) -> None:
    async with running_server(directory) as server:
        for obstacle in OBSTACLES:
            other = await asyncpg.connect(server.url)
            await other.execute(f"BEGIN; {obstacle}")
            with start_migrators(server.url) as processes:
                await until_waiting(other)
                server.stop(signal.SIGKILL)
                assert [end(process) for process in processes] == [1, 1, 1, 1]
            other.terminate()
            await server.start()
        with start_migrators(server.url) as processes:
            assert [end(process) for process in processes] == [0, 0, 0, 0]
        async with connect(server.url):
            assert await migrate() == 0
            await add_inviter()


@contextmanager
def start_migrators(url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start four processes that migrate the database with this URL."""
    command = [sys.executable, "-m", "community_directory", "migrate"]
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                subprocess.Popen(command, cwd=PROJECT, env=environment(POSTGRES_URL=url))
            )
            for _ in range(4)
        ]


def end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process, and return its exit code."""
    return process.wait(START_TIMEOUT_SECONDS)
