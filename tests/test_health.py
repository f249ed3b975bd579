"""The health checks say what is missing, in time, and recover by themselves."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from community_directory import app as main
from community_directory import health
from community_directory.database import connect, transaction
from community_directory.settings import load_settings
from tests.conftest import Server, closed_to_all, database_name, run_sql
from tests.proxy import Proxy
from tests.waiting import until_sessions

MAX_ANSWER_SECONDS = 10
"""The time in which an answer must come on a busy machine; the check's own limit is two seconds."""


@pytest.fixture
def patient_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the check end by its own limit, which is short, and not by that of each call."""
    monkeypatch.setattr(health, "READY_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "100")
    monkeypatch.setenv("DIRECTORY_ACQUIRE_TIMEOUT", "100")
    load_settings.cache_clear()


@contextlib.asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the app, which is connected to this database."""
    transport = httpx.ASGITransport(main.app)
    async with (
        connect(url, min_size=0, **options),
        httpx.AsyncClient(transport=transport, base_url="http://directory.example") as client,
    ):
        yield client


async def readiness(client: httpx.AsyncClient) -> tuple[int, str | None]:
    """Return the status of the answer, and what it says is missing."""
    started = time.monotonic()
    response = await client.get("/readyz")
    assert time.monotonic() - started < MAX_ANSWER_SECONDS
    content = response.json()
    if response.status_code == 200:
        assert content["status"] == "ok"
    else:
        assert content.keys() == {"status", "missing", "message"}
        assert content["status"] == "not ready"
        assert content["message"].endswith((".", "community-directory migrate"))
    return response.status_code, content.get("missing")


async def message(client: httpx.AsyncClient) -> str:
    content = (await client.get("/readyz")).json()
    return str(content["message"])


READY = (200, None)
NO_DATABASE = (503, "database")
NO_SCHEMA = (503, "schema")
NO_WRITE_ACCESS = (503, "write_access")


async def test_readiness_follows_the_database_away_and_back(
    database: str, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(database) as client:
        assert await readiness(client) == READY
        async with closed_to_all(server, database):
            for _ in range(3):
                assert await readiness(client) == NO_DATABASE
            assert (await client.get("/healthz")).json() == {"status": "ok"}
        for _ in range(3):
            assert await readiness(client) == READY
    logged = [each.message for each in caplog.records if each.name == health.__name__]
    assert logged == [f"Not ready: {health.NO_ANSWER.message}", "Ready: ok"]


async def test_no_server_is_not_ready() -> None:
    async with connected("postgresql://127.0.0.1:1/nothing") as client:
        assert await readiness(client) == NO_DATABASE


async def test_a_network_that_swallows_packets_is_not_ready_until_it_works_again(
    database: str, patient_calls: None
) -> None:
    proxy = Proxy(database)
    async with proxy.running() as url, connected(url) as client:
        assert await eventually(client) == READY
        proxy.freeze()
        assert await readiness(client) == NO_DATABASE
        assert await readiness(client) == NO_DATABASE
        proxy.thaw()
        assert await eventually(client) == READY


async def eventually(client: httpx.AsyncClient) -> tuple[int, str | None]:
    """Return the first answer that is not about the database, or the last one."""
    deadline = time.monotonic() + 30
    while (found := await readiness(client)) == NO_DATABASE and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return found


async def test_an_app_whose_connections_are_all_in_use_is_not_ready(
    database: str, patient_calls: None
) -> None:
    async with connected(database, max_size=1) as client:
        begun, finish = asyncio.Event(), asyncio.Event()

        async def use_the_connection() -> None:
            async with transaction():
                begun.set()
                await finish.wait()

        busy = asyncio.create_task(use_the_connection())
        await begun.wait()
        assert await readiness(client) == NO_DATABASE
        finish.set()
        await busy
        assert await eventually(client) == READY


async def test_a_database_that_hangs_is_asked_once_at_a_time_and_delays_no_other_request(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "READY_TIMEOUT_SECONDS", 1)
    blocker, observer = await asyncpg.connect(database), await asyncpg.connect(database)
    async with connected(database) as client:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE migration")
            checks = [asyncio.create_task(readiness(client)) for _ in range(20)]
            waiting = "count(*) FILTER (WHERE wait_event_type = 'Lock')"
            assert await until_sessions(observer, waiting) == 1
            assert (await client.get("/healthz")).status_code == 200
            assert set(await asyncio.gather(*checks)) == {NO_DATABASE}
        await blocker.close()
        await observer.close()
        assert await readiness(client) == READY


async def test_a_read_only_database_is_not_ready(database: str) -> None:
    name = database_name(database)
    await run_sql(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with connected(database) as client:
        assert await readiness(client) == NO_WRITE_ACCESS
        assert await message(client) == "The database is read-only."


@pytest.mark.parametrize(
    "privileges", ["", "SELECT ON migration", "SELECT ON migration, community_members"]
)
async def test_a_role_that_may_not_write_is_not_ready(database: str, privileges: str) -> None:
    role = f"reader_{database_name(database)}"
    await run_sql(database, f"CREATE ROLE {role} LOGIN")
    try:
        if privileges:
            await run_sql(database, f"GRANT {privileges} TO {role}")
        parts = urlsplit(database)
        login = f"{role}@{parts.netloc.rpartition('@')[2]}"
        async with connected(parts._replace(netloc=login).geturl()) as client:
            assert await readiness(client) == NO_WRITE_ACCESS
            assert "role" in await message(client)
    finally:
        await run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_database_without_the_tables_is_not_ready(empty_database: str) -> None:
    async with connected(empty_database) as client:
        assert await readiness(client) == NO_SCHEMA
        assert "no tables" in await message(client)


async def test_an_older_schema_is_not_ready(database: str) -> None:
    await run_sql(
        database,
        "DELETE FROM migration WHERE name = "
        "(SELECT max(name) FROM migration WHERE app_name = 'community_directory')",
    )
    async with connected(database) as client:
        assert await readiness(client) == NO_SCHEMA
        assert "older than this program" in await message(client)


async def test_a_newer_schema_is_ready_so_that_an_upgrade_needs_no_pause(database: str) -> None:
    insert = "INSERT INTO migration (name, app_name, ran_on) VALUES ('2999', '{}', now())"
    async with connected(database) as client:
        await run_sql(database, insert.format("another_program"))
        assert (await client.get("/readyz")).json() == {"status": "ok"}
        await run_sql(database, insert.format("community_directory"))
        assert await readiness(client) == READY
        assert await message(client) == health.NEW_SCHEMA.message
