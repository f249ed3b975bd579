"""Replicas answer what may be a moment old, and the primary whatever none of them can answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from community_directory.database import (
    connect,
    engine,
    long_running,
    transaction,
)
from community_directory.settings import load_settings
from tests.conftest import Server, run_sql
from tests.database.pairs import Pair, running_pair
from tests.servers import PostgresServer

SECRET = "correct-horse-battery"
TIMEOUT_SECONDS = 60
"""The time after which a state that does not come counts as missing."""
GET_PORT = "SELECT current_setting('port')::int"


# The server of the session has opened the embedded server's programs to the system user.


@pytest.fixture(scope="module")
async def pair(server: Server) -> AsyncIterator[Pair]:
    """Yield a pair for the tests that leave it running."""
    async with running_pair(is_synchronous=False) as started:
        yield started


@pytest.fixture
async def own_pair(server: Server) -> AsyncIterator[Pair]:
    """Yield a pair of the test's own."""
    async with running_pair(is_synchronous=False) as started:
        yield started


@pytest.fixture(autouse=True)
def generous_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a lag that no test reaches by chance."""
    set_lag(monkeypatch, "3600")


def set_lag(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv("DIRECTORY_READ_LAG_SECONDS", seconds)
    load_settings.cache_clear()


async def read_port() -> int:
    """Return the port of the server that answers a query which may be a moment old."""
    port: int = (await engine.read(GET_PORT))[0][0]
    return port


async def wait_until_used(server: PostgresServer) -> None:
    """Wait until this server answers a query which may be a moment old."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while await read_port() != server.port:
            await asyncio.sleep(0.01)


async def find_problem() -> str:
    """Return what is wrong with the only replica."""
    assert engine.replicas
    (problem,) = await engine.replicas.find_problems()
    return problem


@asynccontextmanager
async def paused_replay(standby: PostgresServer) -> AsyncIterator[None]:
    """Let a standby receive changes without applying them."""
    await run_sql(standby.url, "SELECT pg_wal_replay_pause()")
    async with asyncio.timeout(TIMEOUT_SECONDS):
        connection = await asyncpg.connect(standby.url)
        while await connection.fetchval("SELECT pg_get_wal_replay_pause_state()") != "paused":
            await asyncio.sleep(0.01)
        await connection.close()
    try:
        yield
    finally:
        await run_sql(standby.url, "SELECT pg_wal_replay_resume()")


# Which server answers


async def test_a_replica_answers_what_may_be_a_moment_old_and_nothing_else(pair: Pair) -> None:
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        assert (await engine.fetch(GET_PORT))[0][0] == primary.port
        async with transaction():
            assert await read_port() == primary.port
        with long_running():
            assert await read_port() == primary.port
