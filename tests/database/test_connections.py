"""The connection to the directory opens and closes, and each failure is reported clearly."""

# ruff: noqa: PT012  a transaction and what fails in it can't be told apart

import asyncio
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator
from contextvars import Context
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from community_directory.database import (
    CONNECTION_ERRORS,
    DirectoryConnection,
    DirectoryEngine,
    connect,
    embedded,
    engine,
    transaction,
)
from community_directory.database import connections as database_module
from community_directory.errors import (
    AlreadyConnected,
    ConfigurationError,
    DatabaseUnavailable,
    DirectoryError,
    NotConnected,
)
from community_directory.queries import members
from community_directory.tables import CommunityMember
from tests.conftest import Server, database_name, run_sql, stop_embedded_server
from tests.database.scratch import (
    TIMEOUT_SECONDS,
    Scratch,
    assert_nothing_is_left,
    committed_numbers,
    count_connections,
    cut_connections,
    insert,
)
from tests.processes import PROJECT, environment
from tests.servers import MEMORY

SECRET = "correct-horse-battery"


async def test_the_pool_opens_with_its_block_closes_after_it_and_opens_again(
    scratch_url: str,
) -> None:
    before = engine.config
    for _ in range(3):
        async with connect(scratch_url) as connected:
            assert connected is engine
            assert await Scratch.count() == 0
        assert engine.pool is None
        assert engine.config is before
    assert await count_connections(scratch_url) == 0


async def test_the_pool_is_closed_after_an_exception(scratch_url: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(scratch_url):
            _ = 1 / 0
    assert (engine.pool, await count_connections(scratch_url)) == (None, 0)


async def test_a_second_connect_is_refused_and_the_first_one_goes_on(scratch_url: str) -> None:
    async with connect(scratch_url):
        with pytest.raises(AlreadyConnected):
            async with connect(scratch_url):
                pytest.fail("this is the second one")
        await assert_nothing_is_left()


async def test_one_of_two_simultaneous_connects_is_refused(scratch_url: str) -> None:
    async def work() -> str:
        try:
            async with connect(scratch_url):
                await asyncio.sleep(0.1)
                await assert_nothing_is_left()
        except AlreadyConnected:
            return "refused"
        return "served"

    assert sorted(await asyncio.gather(work(), work(), work())) == ["refused", "refused", "served"]
    assert await count_connections(scratch_url) == 0


async def test_a_pool_opened_by_hand_is_not_opened_twice(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "config", {"dsn": scratch_url})
    await engine.start_connection_pool()
    try:
        with pytest.raises(AlreadyConnected):
            await engine.start_connection_pool()
        with pytest.raises(AlreadyConnected):
            async with connect(scratch_url):
                pytest.fail("this is the second one")
        await assert_nothing_is_left()
    finally:
        await engine.close_connection_pool()
    await engine.close_connection_pool()


async def test_the_pool_has_the_size_that_was_asked_for(scratch_url: str) -> None:
    async with connect(scratch_url, min_size=2, max_size=4) as connected:
        assert await count_connections(scratch_url) == 2
        await asyncio.gather(*(connected.fetch("SELECT pg_sleep(0.05)") for _ in range(20)))
        assert await count_connections(scratch_url) == 4
    async with connect(scratch_url, min_size=0):
        assert await count_connections(scratch_url) == 0


async def test_an_impossible_pool_size_raises_a_value_error(
    scratch_url: str,
) -> None:
    with pytest.raises(ValueError, match="min_size must lie between"):
        async with connect(scratch_url, min_size=20, max_size=10):
            pytest.fail("there is no such pool")
    async with connect(scratch_url):
        await assert_nothing_is_left()


async def test_connections_that_the_server_ended_are_replaced(scratch_url: str) -> None:
    async with connect(scratch_url, min_size=0, max_size=3) as connected:
        await asyncio.gather(*(connected.fetch("SELECT pg_sleep(0.02)") for _ in range(3)))
        assert await count_connections(scratch_url) == 3
        await cut_connections(scratch_url)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.gather(*(Scratch.count() for _ in range(10)))
        await assert_nothing_is_left()


async def test_closing_stops_waiting_for_a_connection_that_stays_in_use(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "CLOSE_TIMEOUT_SECONDS", 0.2)
    inside = asyncio.Event()

    async def work() -> None:
        async with transaction() as current:
            await insert(1)
            inside.set()
            await current.connection.execute("SELECT pg_sleep(60)")

    async with asyncio.timeout(TIMEOUT_SECONDS):
        async with connect(scratch_url):
            task = asyncio.create_task(work())
            await inside.wait()
        with pytest.raises(CONNECTION_ERRORS):
            await task
    assert engine.pool is None
    async with connect(scratch_url):
        await assert_nothing_is_left()
    assert await committed_numbers(scratch_url) == []


async def test_closing_waits_for_a_transaction_that_is_about_to_end(scratch_url: str) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with transaction() as current:
            inside.set()
            await current.connection.execute("SELECT pg_sleep(0.1)")
            await insert(1)

    async with connect(scratch_url):
        task = asyncio.create_task(work())
        await inside.wait()
    await task
    assert await committed_numbers(scratch_url) == [1]
    assert await count_connections(scratch_url) == 0


async def test_connect_uses_the_database_of_the_settings_by_default(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", scratch_url)
    before = engine.config
    async with connect():
        await assert_nothing_is_left()
        assert await count_connections(scratch_url) == 1
    assert engine.config is before


async def test_a_query_outside_of_connect_is_refused_with_advice(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", scratch_url)
    for call in (
        insert(1),
        engine.fetch("SELECT 1"),
        members.find("#1"),
        transaction().__aenter__(),
    ):
        with pytest.raises(NotConnected, match="async with connect"):
            await call
    assert await committed_numbers(scratch_url) == []


async def test_an_engine_on_demand_opens_a_connection_for_each_query_until_it_has_a_pool(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", scratch_url)
    on_demand = DirectoryEngine()
    on_demand.connect_on_demand()
    await on_demand.fetch("INSERT INTO scratch VALUES (1)")
    async with on_demand.transaction():
        await on_demand.fetch("INSERT INTO scratch VALUES (2)")
    with pytest.raises(ZeroDivisionError):
        async with on_demand.transaction():
            await on_demand.fetch("INSERT INTO scratch VALUES (3)")
            _ = 1 / 0
    assert (await committed_numbers(scratch_url), await count_connections(scratch_url)) == (
        [1, 2],
        0,
    )
    await on_demand.start_connection_pool()
    await on_demand.close_connection_pool()
    with pytest.raises(NotConnected):
        await on_demand.fetch("INSERT INTO scratch VALUES (4)")
    assert await committed_numbers(scratch_url) == [1, 2]


async def test_a_task_that_outlives_the_connection_cannot_query(
    scratch_url: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", database)
    closed, reopened = asyncio.Event(), asyncio.Event()

    async def late(moment: asyncio.Event) -> None:
        await moment.wait()
        await members.add(telegram_id="1", name="Late", primary_role="developer")

    async with connect(scratch_url):
        first, second = asyncio.create_task(late(closed)), asyncio.create_task(late(reopened))
        await asyncio.sleep(0)
    closed.set()
    with pytest.raises(NotConnected):
        await first
    async with connect(database):
        reopened.set()
        with pytest.raises(NotConnected, match="closed"):
            await second
        assert await CommunityMember.count() == 0


async def test_a_task_that_began_before_connect_keeps_its_first_database(
    scratch_url: str, database: str
) -> None:
    """The task may go on when the same database is connected again, but not in another one."""
    turns: asyncio.Queue[int] = asyncio.Queue()

    async def work() -> None:
        while number := await turns.get():
            await insert(number)
            turns.task_done()

    with pytest.RaisesGroup(pytest.RaisesExc(NotConnected, match="closed")):
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            for number in (1, 2):
                async with connect(scratch_url):
                    turns.put_nowait(number)
                    await turns.join()
            async with connect(database):
                turns.put_nowait(3)
                await turns.join()
    assert await committed_numbers(scratch_url) == [1, 2]


async def test_a_framework_connects_in_one_hook_and_closes_in_another(scratch_url: str) -> None:
    directory = await asyncio.create_task(_open(scratch_url))  # the context of this task ends here
    await asyncio.gather(*(insert(number) for number in range(3)))
    with pytest.raises(AlreadyConnected):
        await connect(scratch_url)
    await asyncio.create_task(directory.close())
    await directory.close()
    assert (await committed_numbers(scratch_url), await count_connections(scratch_url)) == (
        [0, 1, 2],
        0,
    )
    with pytest.raises(NotConnected):
        await insert(3)
    await (await connect(scratch_url)).close()


async def _open(url: str) -> DirectoryConnection:
    return await connect(url)


async def test_the_settings_bound_a_statement_and_a_wait_for_a_lock(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_TIMEOUT", "0.2")
    monkeypatch.setenv("DIRECTORY_LOCK_TIMEOUT", "0.1")
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    async with connect(scratch_url):
        with pytest.raises(DatabaseUnavailable, match="busy"):
            await engine.fetch("SELECT pg_sleep(60)")
        [(lock_timeout,)] = await engine.fetch("SHOW lock_timeout")
        assert lock_timeout == "100ms"
        assert [*await engine.fetch("SELECT name FROM pg_prepared_statements")] == []


async def test_a_call_that_gets_no_connection_in_time_is_refused(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_ACQUIRE_TIMEOUT", "0.1")
    async with connect(scratch_url, max_size=1):
        async with transaction():
            task = asyncio.create_task(engine.fetch("SELECT 1"), context=Context())
            with pytest.raises(DatabaseUnavailable, match="became free in time"):
                await task
        await assert_nothing_is_left()


def with_login(url: str, login: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


async def refusal(url: str, **options: Any) -> DirectoryError:
    """Return the error of connecting to this URL.

    Assert that nothing is left of the attempt, and that the error shows no secret.
    """
    before = engine.config
    with pytest.raises(DirectoryError) as raised:
        async with connect(url, **options):
            pytest.fail("connected")
    assert (engine.pool, engine.config) == (None, before)
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert SECRET not in shown
    assert SECRET[:7] not in shown
    return raised.value


@pytest.fixture
def closed_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def test_a_port_that_nobody_listens_on_is_reported(closed_port: int) -> None:
    error = await refusal(f"postgresql://bot:{SECRET}@127.0.0.1:{closed_port}/directory")
    assert isinstance(error, DatabaseUnavailable)
    assert str(closed_port) in str(error)


async def test_a_missing_socket_is_reported() -> None:
    error = await refusal(f"postgresql://bot:{SECRET}@/directory?host=/nowhere")
    assert isinstance(error, DatabaseUnavailable)
    assert "No such file or directory" in str(error)


async def test_a_host_name_that_cannot_be_resolved_is_reported() -> None:
    error = await refusal(f"postgresql://bot:{SECRET}@nowhere.invalid/directory")
    assert isinstance(error, DatabaseUnavailable)


async def test_an_unknown_database_is_reported(server: Server) -> None:
    name = f"missing_{secrets.token_hex(4)}"
    error = await refusal(urlunsplit(urlsplit(server.url)._replace(path=f"/{name}")))
    assert isinstance(error, DatabaseUnavailable)
    assert str(error) == f'The database is not available: database "{name}" does not exist'


async def test_a_server_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_ACQUIRE_TIMEOUT", "0.2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = await refusal(
            f"postgresql://bot:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/directory"
        )
    assert isinstance(error, DatabaseUnavailable)
    assert "did not answer" in str(error)


async def test_a_server_that_is_not_postgresql_is_reported() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as web:
        port = web.sockets[0].getsockname()[1]
        for mode in ("prefer", "disable"):
            error = await refusal(
                f"postgresql://bot:{SECRET}@127.0.0.1:{port}/directory?sslmode={mode}"
            )
            assert isinstance(error, DatabaseUnavailable)


@pytest.fixture
async def locked_server() -> AsyncIterator[str]:
    """Yield the URL of a server that asks for a password; `{}` stands for the password."""
    data = Path(tempfile.mkdtemp(prefix="directory-", dir=MEMORY)) / "postgres"
    arguments = await embedded.start(data)
    query = f"host={arguments['host']}&port={arguments['port']}"
    (data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
    await run_sql(
        f"postgresql://postgres@/postgres?{query}",
        f"ALTER ROLE postgres PASSWORD '{SECRET}'",
        "SELECT pg_reload_conf()",
    )
    yield f"postgresql://postgres:{{}}@/postgres?{query}"
    stop_embedded_server(data)
    shutil.rmtree(data.parent)


async def test_a_wrong_password_is_reported(locked_server: str) -> None:
    async with connect(locked_server.format(SECRET)) as connected:
        await connected.fetch("SELECT 1")
    error = await refusal(locked_server.format(f"{SECRET}!"))
    assert isinstance(error, DatabaseUnavailable)
    assert "password authentication failed" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "",
        SECRET,
        f"mysql://bot:{SECRET}@host/db",
        f"postgresql://bot:{SECRET}/@host/db",
        f"postgresql://bot:{SECRET}@x@host/db",
        f"postgresql://bot:5432?{SECRET}@host/db",
        f"postgresql://bot:x@host:{SECRET}/db",
        f"postgresql://bot:{SECRET}@[::1/db",
        f"postgresql://bot@/db?host=/tmp&port={SECRET}",
        f"postgresql://bot:{SECRET}@{'h' * 70}/db",
    ],
)
async def test_the_error_for_a_malformed_url_shows_no_part_of_it(url: str) -> None:
    error = await refusal(url)
    assert isinstance(error, ConfigurationError)
    assert "must look like postgresql://" in str(error)


async def test_a_pool_that_cannot_be_filled_closes_all_its_connections(
    server: Server, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_ACQUIRE_TIMEOUT", "2")
    role = f"test_{secrets.token_hex(8)}"
    await run_sql(server.url, f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 2")
    try:
        error = await refusal(with_login(empty_database, f"{role}:{SECRET}"), min_size=5)
        assert isinstance(error, DatabaseUnavailable)
        assert "too many connections" in str(error)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while await count_connections(empty_database):
                await asyncio.sleep(0.01)
    finally:
        await run_sql(server.url, f"DROP ROLE {role}")


async def test_another_attempt_after_a_failure_succeeds(scratch_url: str, closed_port: int) -> None:
    await refusal(f"postgresql://bot@127.0.0.1:{closed_port}/directory")
    async with connect(scratch_url):
        await assert_nothing_is_left()


async def test_a_server_that_is_too_old_is_refused(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "MIN_POSTGRES_VERSION", 99)
    assert "Use version 99 or later." in str(await refusal(scratch_url))
    on_demand = DirectoryEngine()
    on_demand.config = {
        "dsn": scratch_url,
        "server_settings": {"application_name": "community_directory"},
    }
    on_demand.connect_on_demand()
    with pytest.raises(DatabaseUnavailable, match=r"Use version 99 or later\."):
        await on_demand.fetch("SELECT 1")
    async with asyncio.timeout(TIMEOUT_SECONDS):  # the server notices a moment later
        while await count_connections(scratch_url):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("major", "accepted"), [(14, False), (15, True), (18, True)])
def test_postgresql_15_is_the_oldest_supported_version(major: int, *, accepted: bool) -> None:
    connection: Any = SimpleNamespace(get_server_version=lambda: SimpleNamespace(major=major))
    if accepted:
        database_module._check_version(connection)
    else:
        with pytest.raises(
            DatabaseUnavailable, match=r"This server runs PostgreSQL 14\. Use version 15 or later\."
        ):
            database_module._check_version(connection)


# Programs elsewhere


def test_an_import_opens_no_connection_and_reads_no_setting(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DIRECTORY_PORT=nonsense\n")
    result = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            "import community_directory.tables; print('imported')",
        ],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(PROJECT), POSTGRES_URL="nonsense", DIRECTORY_TYPO="1"),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "imported\n", "")


BOT = """
import asyncio, sys
from community_directory.database import connect, transaction
from community_directory.tables import CommunityMember

async def main():
    async with connect(sys.argv[1]):
        async with transaction():
            await CommunityMember.insert(
                CommunityMember(telegram_id="7", name="Ana García", primary_role="developer")
            )
        print(await CommunityMember.select(CommunityMember.name, CommunityMember.member_id))

asyncio.run(main())
"""


async def test_a_bot_in_another_directory_needs_only_a_url(database: str, tmp_path: Path) -> None:
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", BOT, database],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "Ana García" in result.stdout
    assert "'#1'" in result.stdout
    assert database_name(database) not in result.stdout
