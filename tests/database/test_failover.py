"""A standby takes over: nothing that was confirmed is lost, and calls find the new primary."""

import asyncio
import signal
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from community_directory import doctor
from community_directory.database import (
    DirectoryEngine,
    connect,
    embedded,
    engine,
    migrate,
    transaction,
)
from community_directory.database.programs import make_url, run
from community_directory.errors import DatabaseUnavailable
from community_directory.queries import members
from tests.conftest import Server, run_sql
from tests.database.failures import Writers
from tests.database.pairs import Pair, make_synchronous, running_pair
from tests.database.scratch import cut_connections
from tests.queries.cases import HELPERS, arguments
from tests.servers import PostgresServer

SECRET = "correct-horse-battery"
WRITING_HELPERS = (
    "highlights.roll_up",
    "invitations.create",
    "members.add",
    "members.set_status",
    "members.update_profile",
    "participation.record",
    "participation.record_many",
    "relationships.link",
)


# The server of the session has opened the embedded server's programs to the system user.


@pytest.fixture(scope="module")
async def pair(server: Server) -> AsyncIterator[Pair]:
    """Yield a pair for the tests that leave it as it is."""
    async with running_pair() as started:
        yield started


@pytest.fixture
async def own_pair(server: Server) -> AsyncIterator[Pair]:
    """Yield a pair of the test's own."""
    async with running_pair() as started:
        yield started


def join(*servers: PostgresServer, login: str = "postgres", options: str = "") -> str:
    """Return the URL that names these servers."""
    names = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://{login}@{names}/postgres{options}"


async def current_port() -> int:
    """Return the port of the server that the helpers use."""
    port: int = (await engine.fetch("SELECT current_setting('port')::int"))[0][0]
    return port


# Several servers in one URL


async def test_the_server_that_accepts_writes_is_found_at_any_place(pair: Pair) -> None:
    primary, standby = pair
    for servers in ((primary, standby), (standby, primary)):
        async with connect(join(*servers)):
            assert await current_port() == primary.port


@pytest.mark.parametrize("attributes", ["standby", "prefer-standby", "read-only"])
async def test_the_session_attributes_of_the_url_are_respected(pair: Pair, attributes: str) -> None:
    primary, standby = pair
    url = join(primary, standby, options=f"?target_session_attrs={attributes}")
    async with connect(url):
        assert await current_port() == standby.port


async def test_the_session_attributes_of_the_environment_are_respected(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = pair
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
    async with connect(join(primary, standby)):
        assert await current_port() == standby.port


async def test_a_command_outside_of_a_pool_finds_the_server_that_accepts_writes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = pair
    monkeypatch.setenv("POSTGRES_URL", join(standby, primary))
    on_demand = DirectoryEngine()
    on_demand.connect_on_demand()
    [(port,)] = await on_demand.fetch("SELECT current_setting('port')::int")
    assert port == primary.port


async def test_the_programs_of_postgresql_find_the_server_that_accepts_writes(pair: Pair) -> None:
    primary, standby = pair
    for options in ("", "?application_name=test"):
        async with connect(join(standby, primary, options=options)):
            url = make_url(engine.config)
        psql = str(embedded.find_program("psql"))
        assert int(await run([psql, "-At", "-c", "SHOW port", f"--dbname={url}"])) == primary.port


async def test_a_silent_server_leaves_time_for_the_next_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "2.5")
    primary, _ = pair
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = join(replace(primary, port=silent.getsockname()[1]), primary)
        async with connect(url):
            assert await current_port() == primary.port


async def test_a_full_server_does_not_hide_the_next_one_and_is_waited_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "2")
    primary, standby = pair
    await run_sql(primary.url, "CREATE ROLE few LOGIN CONNECTION LIMIT 1")
    url = join(standby, primary, login="few")
    while True:  # until the standby has the role
        with suppress(asyncpg.InvalidAuthorizationSpecificationError):
            held = await asyncpg.connect(join(standby, login="few"))
            break
        await asyncio.sleep(0.05)
    async with connect(url, max_size=2):
        assert await current_port() == primary.port
        async with transaction():
            await engine.fetch("SELECT 1")
            call = asyncio.create_task(_port_outside_of_the_transaction())
            with pytest.raises(DatabaseUnavailable, match="accepts no more of them"):
                await call
        assert await current_port() == primary.port
    await held.close()


async def _port_outside_of_the_transaction() -> int:
    engine.current_transaction.set(None)
    return await current_port()


async def test_the_reason_is_told_for_each_server_without_a_secret(pair: Pair) -> None:
    _, standby = pair
    closed = PostgresServer(Path())
    url = join(closed, standby, login=f"postgres:{SECRET}")
    with pytest.raises(DatabaseUnavailable) as raised:
        async with connect(url):
            pytest.fail("no server accepts writes")
    assert f"127.0.0.1:{standby.port}: it is read-only" in str(raised.value)
    assert f"127.0.0.1:{closed.port}: " in str(raised.value)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


# A standby alone


async def test_a_standby_alone_answers_queries_and_refuses_writes(pair: Pair) -> None:
    _, standby = pair
    async with connect(standby.url):
        assert (await members.get("#1")).telegram_id == "1"
        assert await migrate() == 0
        for helper in WRITING_HELPERS:
            with pytest.raises(DatabaseUnavailable, match="read-only"):
                await HELPERS[helper](**arguments(helper))


async def test_doctor_finds_on_a_standby_what_it_finds_on_the_primary(pair: Pair) -> None:
    verdicts = []
    for server in pair:
        async with connect(server.url):
            found = [result async for result in doctor.run_checks()]
            verdicts.append({result.id: result.verdict for result in found})
            is_stored = await doctor.store_report(await doctor.make_report(found))
            assert is_stored == (server is pair[0])
    assert verdicts[0] == verdicts[1]
    assert doctor.Verdict.NOT_CHECKED not in verdicts[0].values()


# Failover


async def test_a_promotion_under_load_loses_nothing_that_was_confirmed(own_pair: Pair) -> None:
    primary, standby = own_pair
    writers = Writers()
    async with connect(join(primary, standby)):
        async with writers.running():
            await writers.confirm(20)
            primary.stop(signal.SIGKILL)
            standby.promote()
            await writers.confirm(20)
        assert await current_port() == standby.port
        await writers.check()
        assert writers.unknown.total() > 0
        # The former primary comes back, and still believes that it accepts writes.
        await primary.start()
        await cut_connections(standby.url)
        assert await current_port() == standby.port


@pytest.mark.faults
async def test_a_primary_that_falls_silent_is_replaced_and_stays_replaced(
    own_pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "2")
    primary, standby = own_pair
    writers = Writers()
    async with connect(join(primary, standby)):
        async with writers.running(12):
            await writers.confirm(50)
            primary.freeze()
            await writers.refuse(20)
            standby.promote()
            await writers.confirm(50)
            primary.thaw()
            await writers.confirm(50)
        assert writers.longest < 10
        assert await current_port() == standby.port
        await writers.check()


@pytest.mark.faults
async def test_three_promotions_in_a_row_lose_nothing_that_was_confirmed(own_pair: Pair) -> None:
    primary, standby = own_pair
    writers = Writers()
    async with connect(join(primary, standby)):
        async with writers.running(12):
            for _ in range(3):
                await writers.confirm(100)
                primary.stop(signal.SIGKILL)
                standby.promote()
                await writers.confirm(100)
                # The former primary comes back as a standby of its successor.
                primary.copy(standby)
                await primary.start()
                await make_synchronous(standby)
                primary, standby = standby, primary
            await writers.confirm(100)
        assert await current_port() == primary.port
        await writers.check()
