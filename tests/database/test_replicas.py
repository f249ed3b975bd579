"""Replicas answer what may be a moment old, and the primary whatever none of them can answer."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from math import inf
from typing import Any

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from community_directory import metrics
from community_directory.database import connect, engine, long_running, transaction
from community_directory.database.pool import ConnectionPool
from community_directory.database.replicas import Replica, ReplicaSet, is_write, skip_header
from community_directory.errors import ConfigurationError, InvalidInput, NotConnected
from community_directory.queries import members
from community_directory.settings import load_settings
from community_directory.tables import CommunityMember
from tests.conftest import Server, run_sql
from tests.database.pairs import Pair, running_pair
from tests.queries.cases import CASES, HELPERS, arguments, community, undone
from tests.servers import PostgresServer, find_free_port
from tests.tables import rows

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


@asynccontextmanager
async def running_standby(primary: PostgresServer) -> AsyncIterator[PostgresServer]:
    """Run another standby of this server."""
    standby = PostgresServer(primary.directory.parent / "c")
    standby.copy(primary)
    try:
        await standby.start()
        yield standby
    finally:
        standby.stop(signal.SIGKILL)


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


async def test_a_replica_needs_no_privilege_but_to_read_the_tables(pair: Pair) -> None:
    primary, standby = pair
    await run_sql(primary.url, "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN")
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
    urls = [server.url.replace("postgres@", "reader@") for server in pair]
    async with connect(urls[0], read_url=urls[1]):
        await wait_until_used(standby)


async def test_the_metrics_say_which_server_answers_and_how_old_a_replica_is(pair: Pair) -> None:
    primary, standby = pair
    name, gone = f"127.0.0.1:{standby.port}", f"127.0.0.1:{find_free_port()}"
    registry = metrics.enable()

    def counted(server: str) -> float:
        return registry.get_sample_value("directory_reads_total", {"server": server}) or 0

    def age_of(replica: str) -> float:
        age = registry.get_sample_value("directory_replica_age_seconds", {"replica": replica})
        assert age is not None
        return age

    async with connect(primary.url, read_url=f"postgresql://postgres@{name},{gone}/postgres"):
        await wait_until_used(standby)
        for server, port in (("replica", standby.port), ("primary", primary.port)):
            if server == "primary":
                engine.replicas.note_write()  # type: ignore[union-attr]
            before = counted("replica"), counted("primary")
            assert await read_port() == port
            grown = {
                each: counted(each) - earlier
                for each, earlier in zip(("replica", "primary"), before, strict=True)
            }
            assert grown == {"replica": server == "replica", "primary": server == "primary"}
        assert 0 <= age_of(name) < TIMEOUT_SECONDS
        assert age_of(gone) == inf
    assert registry.get_sample_value("directory_replica_age_seconds", {"replica": name}) is None


async def test_two_replicas_answer_in_turn(pair: Pair) -> None:
    primary, standby = pair
    both = f"postgresql://postgres@127.0.0.1:{standby.port},localhost:{standby.port}/postgres"
    async with connect(primary.url, read_url=both):
        # A check of a replica may keep its session, so that another one answers meanwhile.
        async with asyncio.timeout(TIMEOUT_SECONDS):
            sessions: list[int] = []
            while len({*sessions}) != 2 or sessions[:2] != sessions[2:]:
                await asyncio.sleep(0.01)
                found = [await engine.read("SELECT pg_backend_pid()") for _ in range(4)]
                sessions = [session for [(session,)] in found]


async def test_the_replicas_of_the_settings_are_those_of_the_database_of_the_settings(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = pair
    monkeypatch.setenv("POSTGRES_URL", primary.url)
    monkeypatch.setenv("POSTGRES_READ_URL", standby.url)
    async with connect():
        await wait_until_used(standby)
    async with connect(primary.url):
        assert engine.replicas is None


@pytest.mark.parametrize("query", ["", "?target_session_attrs=prefer-standby"])
async def test_each_server_of_the_url_is_a_replica_of_its_own(pair: Pair, query: str) -> None:
    primary, standby = pair
    servers = f"127.0.0.1:{find_free_port()},127.0.0.1:{standby.port}"
    async with connect(primary.url, read_url=f"postgresql://postgres@{servers}/postgres{query}"):
        await wait_until_used(standby)
        assert (await find_problem()).startswith(servers.partition(",")[0])


async def test_a_wrong_url_is_refused_before_anything_is_opened(pair: Pair) -> None:
    with pytest.raises(ConfigurationError, match="The URL of the replicas must look like"):
        await connect(pair[0].url, read_url=f"mysql://postgres:{SECRET}@host/postgres")
    async with connect(pair[0].url):
        assert await read_port() == pair[0].port


# What a program has written is visible to it


async def _run_statement() -> None:
    await engine.fetch("UPDATE community_members SET name = 'B' WHERE member_id = '#1'")


async def _run_in_a_transaction() -> None:
    async with transaction():
        await _run_statement()


async def _run_with_piccolo() -> None:
    await CommunityMember.update({CommunityMember.name: "B"}).where(
        CommunityMember.member_id == "#1"
    )


@pytest.mark.parametrize("write", [_run_statement, _run_in_a_transaction, _run_with_piccolo])
async def test_the_primary_answers_until_a_replica_has_what_the_program_wrote(
    pair: Pair, write: Callable[[], Awaitable[None]]
) -> None:
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await members.update_profile("#1", name="A", actor="test")
        await wait_until_used(standby)
        async with paused_replay(standby):
            await wait_until_used(standby)  # it lacks nothing
            await write()
            for _ in range(20):
                assert await read_port() == primary.port
                (found,) = (await members.search()).items
                assert found.name == "B"
                await asyncio.sleep(0.01)
        await wait_until_used(standby)
        (found,) = (await members.search()).items
        assert found.name == "B"


async def test_a_write_of_another_task_is_visible_too(pair: Pair) -> None:
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        async with paused_replay(standby):
            await asyncio.create_task(_run_statement())
            assert await read_port() == primary.port


async def test_a_query_is_no_write(pair: Pair) -> None:
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        async with paused_replay(standby):
            await members.get("#1")
            await CommunityMember.count()
            assert await read_port() == standby.port


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", False),
        ("-- a query\nSELECT 1", False),
        ("WITH a AS (SELECT 1) SELECT * FROM a", False),
        ("WITH a AS (insert INTO b VALUES (1) RETURNING 1) SELECT 1", True),
        ("(SELECT updated_at FROM a) UNION (SELECT 1)", False),
        ("SELECT 1 INTO a", True),
        ("SELECT 1 FROM a FOR UPDATE", True),
        ("MERGE INTO a", True),
        ("CALL a()", True),
        ("TRUNCATE a", True),
        ("SELECT public.a(1)", True),
        ("SELECT to_regclass('public.a')", False),
    ],
)
def test_a_statement_that_may_write_is_recognized(sql: str, expected: bool) -> None:
    assert is_write(sql) is expected


async def test_every_helper_that_writes_is_noticed(directory: asyncpg.Pool) -> None:
    await community(directory)
    taken_back = arguments("participation.take_back")
    del taken_back["account"]
    await rows.event(directory, **taken_back)
    find_write = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"
    unnoticed = []
    for helper in CASES:
        sent: list[LoggedQuery] = []
        async with undone() as current:
            current.connection.add_query_logger(sent.append)
            await HELPERS[helper](**arguments(helper))
            [(has_written,)] = await engine.fetch(find_write)
            await asyncio.sleep(0)  # asyncpg calls the logger in the next round of the loop
            current.connection.remove_query_logger(sent.append)
        if has_written and not any(is_write(each.query) for each in sent):
            unnoticed.append(helper)
    assert unnoticed == []


# The bound on the lag


async def test_a_replica_that_is_behind_is_not_used_until_it_has_caught_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_lag(monkeypatch, "0.5")
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        async with paused_replay(standby):
            # Another program writes.
            await run_sql(primary.url, "UPDATE community_members SET name = 'C'")
            await wait_until_used(primary)
            assert "It is more than 0.5 seconds behind." in await find_problem()
            for _ in range(20):
                assert await read_port() == primary.port
                await asyncio.sleep(0.01)
        await wait_until_used(standby)
        (found,) = (await members.search()).items
        assert found.name == "C"


async def test_what_was_confirmed_longer_ago_than_the_lag_counts_for_nothing() -> None:
    async def wait_for_ever(*_: str) -> Any:
        await asyncio.Event().wait()

    pool = ConnectionPool(wait_for_ever, min_size=0, max_size=1, acquire_timeout=0)
    await pool.open()
    replica = Replica("host", pool)
    replicas = ReplicaSet([replica], wait_for_ever, max_lag=10)
    now = asyncio.get_running_loop().time()
    replica.confirmed_at = now - 11
    assert await replicas.fetch("SELECT 1", (), now) is None
    # It was not tried: what fails there is not trusted any longer.
    assert replica.confirmed_at == now - 11
    replica.confirmed_at = now - 9
    assert await replicas.fetch("SELECT 1", (), now) is None
    assert replica.confirmed_at == -inf
    replicas.stop_watching()
    await replicas.close(0)


async def test_a_replica_of_a_primary_without_writes_is_not_behind(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_lag(monkeypatch, "0.5")
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        for _ in range(2):
            await wait_until_used(standby)
            await run_sql(primary.url, "SELECT pg_sleep(0.6)")


@pytest.mark.parametrize("lag", ["5", "0.2"])
async def test_what_a_query_adds_to_the_log_is_no_lag(
    lag: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_lag(monkeypatch, lag)
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        create = "CREATE TABLE noted AS SELECT generate_series(1, 100000)"
        await run_sql(primary.url, create, "CHECKPOINT")
        reader = await asyncpg.connect(primary.url)
        # The query notes which rows are visible. Nothing flushes that before its transaction ends.
        await reader.execute("BEGIN; SELECT FROM noted")
        assert engine.replicas
        # The primary itself would flush it after some 15 seconds.
        async with asyncio.timeout(8):
            while await engine.replicas.find_problems():
                pass
        await reader.close()
        await run_sql(primary.url, "DROP TABLE noted")


async def test_a_log_that_ends_with_its_file_is_replayed_to_its_end(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_lag(monkeypatch, "10")
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        # The next record will begin behind the header of the next file.
        await run_sql(primary.url, "SELECT pg_switch_wal()")
        assert engine.replicas
        assert await engine.replicas.find_problems() == []


@pytest.mark.parametrize(
    ("next_record", "last_end"),
    [
        (0, 0),
        (40, 0),  # the header of a file
        (8192 + 24, 8192),
        (8192 + 40, 8192 + 40),  # a record of which 16 bytes are on this page
        (2**24 + 40, 2**24),
        (2**24 + 8192 + 24, 2**24 + 8192),
        (2**24 + 8192 + 32, 2**24 + 8192 + 32),
    ],
)
def test_the_end_of_the_log_is_that_of_the_last_record(next_record: int, last_end: int) -> None:
    assert skip_header(next_record, 8192, 2**24) == last_end


# A replica that can't be used


async def test_a_replica_that_stops_and_starts_fails_no_query(pair: Pair) -> None:
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        for number in (signal.SIGINT, signal.SIGKILL):
            await wait_until_used(standby)
            standby.stop(number)
            assert await read_port() == primary.port
            assert await read_port() == primary.port
            await standby.start()
        await wait_until_used(standby)
        # A migration that the replica does not have yet: its answer is an error.
        async with paused_replay(standby):
            await run_sql(primary.url, "CREATE TABLE newer ()")
            await wait_until_used(standby)
            assert await engine.read("SELECT FROM newer") == []
            await run_sql(primary.url, "DROP TABLE newer")


@pytest.mark.faults
async def test_a_silent_replica_leaves_the_primary_time_to_answer(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "2")
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        standby.freeze()
        try:
            ports = await asyncio.gather(*(read_port() for _ in range(15)))
            assert set(ports) == {primary.port}
            assert await find_problem()
        finally:
            standby.thaw()
        await wait_until_used(standby)


async def test_a_replica_that_was_never_there_does_not_keep_a_program_from_connecting(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    primary, _ = pair
    closed = f"127.0.0.1:{find_free_port()}"
    async with connect(primary.url, read_url=f"postgresql://postgres:{SECRET}@{closed}/postgres"):
        assert await read_port() == primary.port
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not caplog.messages:
                await asyncio.sleep(0.01)
    assert caplog.messages[0].startswith(f"The replica {closed}: ")
    assert SECRET not in caplog.text


async def test_a_server_that_accepts_writes_is_no_replica(pair: Pair) -> None:
    primary, _ = pair
    async with connect(primary.url, read_url=primary.url):
        assert "It is no standby" in await find_problem()


async def test_a_standby_of_another_server_is_no_replica(pair: Pair, database: str) -> None:
    async with connect(database, read_url=pair[1].url):
        assert "It does not follow the primary." in await find_problem()


async def test_a_standby_has_no_replicas(pair: Pair) -> None:
    _, standby = pair
    async with connect(standby.url, read_url=standby.url):
        assert "The server of POSTGRES_URL is a standby itself." in await find_problem()


async def test_an_error_of_a_query_is_that_of_the_primary(pair: Pair) -> None:
    primary, standby = pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        with pytest.raises(InvalidInput):
            await engine.read("SELECT 'a'::text || $1", "\0")
        assert await read_port() == standby.port
        with pytest.raises(asyncpg.PostgresSyntaxError):
            await engine.read("SELECT FROM FROM")
        with pytest.raises(TypeError, match="named"):
            await engine.read("SELECT 1", number=1)
        await wait_until_used(standby)


# Promotions


@pytest.mark.faults
async def test_a_replica_that_is_promoted_gives_no_answer_from_then_on(own_pair: Pair) -> None:
    primary, standby = own_pair
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
        assert engine.replicas
        engine.replicas.stop_watching()  # the promotion falls between two checks
        standby.promote()
        await run_sql(standby.url, "UPDATE community_members SET name = 'promoted'")
        (found,) = (await members.search()).items
        assert found.name != "promoted"
        assert "It is no standby" in await find_problem()
        assert await read_port() == primary.port


@pytest.mark.faults
async def test_a_standby_that_was_ahead_of_the_new_primary_is_no_replica(own_pair: Pair) -> None:
    primary, behind = own_pair
    async with running_standby(primary) as ahead:
        behind.stop()
        await run_sql(primary.url, "CREATE TABLE lost AS SELECT generate_series(1, 100000)")
        async with connect(primary.url, read_url=ahead.url):
            await wait_until_used(ahead)
        primary.stop(signal.SIGKILL)
        await behind.start()
        behind.promote()
        async with connect(behind.url, read_url=ahead.url):
            await run_sql(behind.url, "UPDATE community_members SET name = 'new'")
            assert "It does not follow the primary." in await find_problem()
            (found,) = (await members.search()).items
            assert found.name == "new"


@pytest.mark.faults
async def test_a_standby_that_follows_the_new_primary_is_a_replica_again(own_pair: Pair) -> None:
    primary, standby = own_pair
    async with running_standby(primary) as other:
        primary.stop(signal.SIGKILL)
        standby.promote()
        async with connect(standby.url, read_url=other.url):
            follow = f"ALTER SYSTEM SET primary_conninfo = '{standby.url}'"
            await run_sql(other.url, follow, "SELECT pg_reload_conf()")
            # Otherwise it may take until the next checkpoint.
            await run_sql(standby.url, "CHECKPOINT")
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while await read_port() != other.port:
                    await run_sql(other.url, "CHECKPOINT")


# The end


async def test_the_end_of_the_connection_leaves_nothing_open(pair: Pair) -> None:
    primary, standby = pair
    before = asyncio.all_tasks()
    async with connect(primary.url, read_url=standby.url):
        await wait_until_used(standby)
    await asyncio.sleep(0)  # the tasks that were cancelled end
    assert asyncio.all_tasks() == before
    connection = await asyncpg.connect(standby.url)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'community_directory'"
        ):
            await asyncio.sleep(0.01)
    await connection.close()


async def test_a_task_that_outlives_its_pool_reads_no_other_database(
    pair: Pair, database: str
) -> None:
    primary, standby = pair
    is_replaced = asyncio.Event()

    async def read_late() -> None:
        await engine.fetch("SELECT 1")
        await is_replaced.wait()
        await engine.read("SELECT 1")

    async with connect(primary.url, read_url=standby.url):
        task = asyncio.create_task(read_late(), context=Context())
        await wait_until_used(standby)
    async with connect(database, read_url=standby.url):
        is_replaced.set()
        with pytest.raises(NotConnected):
            await task
