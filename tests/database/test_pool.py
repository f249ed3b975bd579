"""The pool passes a connection to the next call, and loses none, whatever its callers do.

It does not reset the session between two calls, so a call would find what another one has left. The
last part therefore runs every query helper on a single connection, and checks its session.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

import asyncpg
import pytest

from community_directory.database import connect, connections, engine, transaction
from community_directory.database import pool as pool_module
from community_directory.database.connections import Connector
from community_directory.database.pool import ConnectionPool, replanned
from community_directory.errors import DatabaseUnavailable, DirectoryError, NotConnected
from tests.conftest import Server, new_database, superuser_session
from tests.database.scratch import (
    TIMEOUT_SECONDS,
    cut_connections,
    cut_connections_unnoticed,
)
from tests.queries.cases import CASES, HELPERS, arguments, community
from tests.waiting import until, until_sessions, until_waiting

LOCK_KEY = 41
"""The advisory lock for which statements wait until a test releases it."""
WAIT_FOR_LOCK = f"SELECT pg_advisory_xact_lock_shared({LOCK_KEY})"
SELECT_PID = "SELECT pg_backend_pid()"
APPLICATION_NAME = "community_directory"


@pytest.fixture(scope="module")
async def url(server: Server) -> AsyncIterator[str]:
    """Yield the URL of a database for all tests of this module, with a table to write to."""
    async with new_database(server) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE scratch (number int)")
        await connection.close()
        yield url


@pytest.fixture
async def outside(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection beside the pool; statements that wait for its lock go on at the end."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@asynccontextmanager
async def opened(
    url: str, max_size: int = 1, acquire_timeout: float = TIMEOUT_SECONDS
) -> AsyncIterator[ConnectionPool]:
    """Open a pool that has no connection at first, and close it at the end."""
    connector = Connector(dsn=url, server_settings={"application_name": APPLICATION_NAME})
    pool = ConnectionPool(
        connector.open, min_size=0, max_size=max_size, acquire_timeout=acquire_timeout
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close(TIMEOUT_SECONDS)


async def fetchval(pool: ConnectionPool, sql: str, *arguments: object) -> Any:
    """Run one statement as the engine does."""
    connection = await pool.acquire()
    try:
        value = await connection.fetchval(sql, *arguments)
    except BaseException:
        pool.release(connection, clean=False)
        raise
    pool.release(connection, clean=True)
    return value


async def backends(outside: asyncpg.Connection) -> set[int]:
    """Return the process ids of the pool's connections on the server."""
    found = await outside.fetch(
        "SELECT pid FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = $1",
        APPLICATION_NAME,
    )
    return {pid for (pid,) in found}


async def assert_whole(pool: ConnectionPool, max_size: int = 1) -> None:
    """Assert that the pool has exactly `max_size` connections, and that all of them work."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        held = [await pool.acquire() for _ in range(max_size)]
    assert len({await connection.fetchval(SELECT_PID) for connection in held}) == max_size
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await pool.acquire()
    for connection in held:
        pool.release(connection, clean=True)


# The order of calls


async def test_the_next_call_has_the_same_connection_as_it_was_left(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=3) as pool:
        pid = await fetchval(pool, SELECT_PID)
        await fetchval(pool, "SET statement_timeout = '4321s'")
        # A reset would be the last statement that was sent.
        last = await outside.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
        assert last == "SET statement_timeout = '4321s'"
        assert await fetchval(pool, "SHOW statement_timeout") == "4321s"
        assert await backends(outside) == {pid}


async def test_fifty_calls_at_once_share_a_few_connections_and_all_are_answered(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=4) as pool:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            calls = [fetchval(pool, "SELECT $1::int FROM pg_sleep(0.001)", n) for n in range(50)]
            assert await asyncio.gather(*calls) == list(range(50))
        assert len(await backends(outside)) == 4
        await assert_whole(pool, 4)


async def test_callers_are_served_in_their_order(url: str) -> None:
    served: list[int] = []

    async def call(pool: ConnectionPool, number: int) -> None:
        connection = await pool.acquire()
        served.append(number)
        await connection.fetchval("SELECT 1")
        pool.release(connection, clean=number % 3 > 0)

    async with opened(url) as pool, asyncio.timeout(TIMEOUT_SECONDS):
        await asyncio.gather(*(call(pool, number) for number in range(30)))
    assert served == list(range(30))


async def test_a_caller_that_waits_too_long_is_refused_and_keeps_no_slot(url: str) -> None:
    async with opened(url) as pool:
        held = await pool.acquire()
        pool.acquire_timeout = 0.05
        with pytest.raises(DatabaseUnavailable, match="became free in time"):
            await pool.acquire()
        pool.release(held, clean=True)
        await assert_whole(pool)


# The end of connections


async def test_idle_and_old_connections_are_replaced(
    url: str, outside: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RENEWAL_INTERVAL_SECONDS", 0.01)
    async with opened(url, max_size=3) as pool:
        await asyncio.gather(*(fetchval(pool, "SELECT pg_sleep(0.01)") for _ in range(3)))
        assert len(await backends(outside)) == 3
        monkeypatch.setattr(pool_module, "MAX_IDLE_SECONDS", 0.05)
        await until(lambda: _none_left(outside))
        await assert_whole(pool, 3)
    monkeypatch.setattr(pool_module, "MAX_IDLE_SECONDS", 3600)
    monkeypatch.setattr(pool_module, "MAX_AGE_SECONDS", 0.05)
    async with opened(url) as pool:
        old = await fetchval(pool, SELECT_PID)
        await until(lambda: _is_other(pool, old))


async def _none_left(outside: asyncpg.Connection) -> bool:
    return not await backends(outside)


async def _is_other(pool: ConnectionPool, pid: int) -> bool:
    return bool(await fetchval(pool, SELECT_PID) != pid)


async def test_connections_that_the_server_ended_are_replaced_unnoticed(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=2) as pool:
        await assert_whole(pool, 2)
        old = await backends(outside)
        await cut_connections(url)
        await asyncio.sleep(0)  # the loop learns that they are gone
        assert await fetchval(pool, SELECT_PID) not in old
        await assert_whole(pool, 2)


async def test_a_call_whose_connection_is_cut_fails_and_the_next_one_succeeds(
    url: str, outside: asyncpg.Connection
) -> None:
    async with connect(url, min_size=0, max_size=1) as connected:
        for _ in range(3):
            await outside.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
            call = asyncio.create_task(engine.fetch(WAIT_FOR_LOCK))
            await until_waiting(outside)
            await outside.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE NOT granted"
            )
            with pytest.raises(DatabaseUnavailable):
                await call
            await outside.execute(f"SELECT pg_advisory_unlock({LOCK_KEY})")
            assert [tuple(record) for record in await engine.fetch("SELECT 1")] == [(1,)]
        assert connected.pool is not None
        await assert_whole(connected.pool)


async def test_the_first_call_on_a_connection_that_was_cut_unnoticed_fails(url: str) -> None:
    """The pool of asyncpg does the same: checking a connection first costs a round trip."""
    async with connect(url, min_size=0, max_size=1):
        await engine.fetch("SELECT 1")
        cut_connections_unnoticed(url)
        with pytest.raises(DatabaseUnavailable):
            await engine.fetch("SELECT 1")
        await engine.fetch("SELECT 1")


async def test_a_connection_that_cannot_be_opened_leaves_its_slot_free(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(url) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(connections, "MIN_POSTGRES_VERSION", 99)
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable, match="version 99"):
                    await fetchval(pool, "SELECT 1")
        await assert_whole(pool)


# Callers that give up or leave something behind


async def test_a_refusal_is_told_even_if_the_next_attempt_gets_no_answer() -> None:
    attempts = 0

    async def open_connection() -> asyncpg.Connection:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise asyncpg.TooManyConnectionsError("too many connections")
        answer: asyncio.Future[asyncpg.Connection] = asyncio.get_running_loop().create_future()
        return await answer

    pool = ConnectionPool(open_connection, min_size=0, max_size=1, acquire_timeout=1)
    await pool.open()
    with pytest.raises(DatabaseUnavailable, match="accepts no more of them: too many connections"):
        await pool.acquire()
    assert attempts == 2
    await pool.close(TIMEOUT_SECONDS)


async def test_callers_who_give_up_at_any_moment_leave_nothing_behind(url: str) -> None:
    async with opened(url, max_size=2) as pool:
        for turns in range(40):
            calls = [asyncio.create_task(fetchval(pool, "SELECT 1")) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answers = await asyncio.gather(*calls, return_exceptions=True)
            assert answers[1::2] == [1, 1]
            assert all(
                answer == 1 or isinstance(answer, asyncio.CancelledError) for answer in answers
            )
        await assert_whole(pool, 2)


@pytest.mark.parametrize("clean", [True, False], ids=["a connection", "a free slot"])
async def test_a_caller_who_gives_up_at_the_moment_of_its_turn_passes_it_on(
    url: str, *, clean: bool
) -> None:
    async with opened(url) as pool:
        held = await pool.acquire()
        callers = [asyncio.create_task(pool.acquire()) for _ in range(2)]
        await asyncio.sleep(0)
        pool.release(held, clean=clean)
        callers[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await callers[0]
        pool.release(await callers[1], clean=True)
        await assert_whole(pool)


async def test_a_cancelled_statement_ends_on_the_server_soon_and_stores_nothing(
    url: str, outside: asyncpg.Connection
) -> None:
    async with connect(url, min_size=0, max_size=1) as connected:
        await outside.execute(f"SELECT pg_advisory_lock({LOCK_KEY})")
        call = asyncio.create_task(
            engine.fetch(f"INSERT INTO scratch SELECT 1 FROM ({WAIT_FOR_LOCK}) AS waited")
        )
        await until_waiting(outside)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until_sessions(outside, "count(*) FILTER (WHERE state = 'active') = 0")
        await outside.execute(f"SELECT pg_advisory_unlock({LOCK_KEY})")
        [(count,)] = await engine.fetch("SELECT count(*) FROM scratch")
        assert count == 0
        assert connected.pool is not None
        await assert_whole(connected.pool)


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT 1 / 0"], ids=["open", "failed"])
async def test_a_transaction_that_was_left_open_is_rolled_back(url: str, statement: str) -> None:
    async with opened(url) as pool:
        connection = await pool.acquire()
        await connection.execute("BEGIN; INSERT INTO scratch VALUES (1)")
        with suppress(asyncpg.DivisionByZeroError):
            await connection.execute(statement)
        pool.release(connection, clean=True)
        assert await fetchval(pool, "SELECT count(*) FROM scratch") == 0
        await assert_whole(pool)


# Closing


async def test_closing_waits_for_connections_in_use_and_ends_all(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=3) as pool:
        await assert_whole(pool, 3)
        held = await pool.acquire()
        closing = asyncio.create_task(pool.close(TIMEOUT_SECONDS))
        await asyncio.sleep(0)
        await held.execute("INSERT INTO scratch VALUES (1); DELETE FROM scratch")
        assert not closing.done()
        with pytest.raises(NotConnected, match="closed"):
            await pool.acquire()
        pool.release(held, clean=True)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await closing
        await until(lambda: _none_left(outside))


async def test_calls_that_wait_while_the_pool_closes_are_refused(url: str) -> None:
    async with connect(url, min_size=0, max_size=1):
        async with transaction():
            # The transaction has the only connection, so calls outside of it wait.
            calls = [
                asyncio.create_task(_fetch_outside_of_the_transaction("SELECT 1")) for _ in range(5)
            ]
            await asyncio.sleep(0)
            closing = asyncio.create_task(engine.close_connection_pool())
            await asyncio.sleep(0)
            assert engine.pool is None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            answers = await asyncio.gather(*calls, return_exceptions=True)
            await closing
    assert [type(answer) for answer in answers] == [NotConnected] * 5


async def _fetch_outside_of_the_transaction(sql: str) -> list[Any]:
    engine.current_transaction.set(None)
    return await engine.fetch(sql)


async def test_a_cancelled_close_ends_all_connections(
    url: str, outside: asyncpg.Connection
) -> None:
    for turns in range(1, 12):
        async with opened(url, max_size=3) as pool:
            await assert_whole(pool, 3)
            held = await pool.acquire()
            closing = asyncio.create_task(pool.close(TIMEOUT_SECONDS))
            for _ in range(turns):
                await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            pool.release(held, clean=True)
            await pool.close(TIMEOUT_SECONDS)
            await until(lambda: _none_left(outside))


async def test_a_connection_that_opens_while_the_pool_closes_is_cut(url: str) -> None:
    go_on, made = asyncio.Event(), asyncio.Queue[asyncpg.Connection]()

    async def open_connection() -> asyncpg.Connection:
        made.put_nowait(connection := await asyncpg.connect(url))
        await go_on.wait()
        return connection

    pool = ConnectionPool(open_connection, min_size=0, max_size=1, acquire_timeout=TIMEOUT_SECONDS)
    await pool.open()
    caller = asyncio.create_task(pool.acquire())
    connection = await made.get()
    await pool.close(TIMEOUT_SECONDS)
    go_on.set()
    with pytest.raises(NotConnected, match="closed"):
        await caller
    assert connection.is_closed()


async def test_a_connection_that_was_cut_unnoticed_does_not_make_closing_fail(url: str) -> None:
    async with opened(url, max_size=2) as pool:
        await fetchval(pool, "SELECT 1")
        cut_connections_unnoticed(url)


# Query helpers leave nothing on a connection


SELECT_LEFTOVERS = """
SELECT 'the setting ' || name FROM pg_settings
WHERE source = 'session' AND setting IS DISTINCT FROM reset_val
UNION ALL
-- the settings of this package, which have no default on the server
SELECT 'the setting ' || name FROM unnest($1::text[]) AS name
WHERE coalesce(current_setting(name, true), '') <> ''
UNION ALL SELECT 'a lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'the channel ' || channel FROM pg_listening_channels() AS channel
UNION ALL SELECT 'the table ' || relname FROM pg_class WHERE relpersistence = 't'
UNION ALL SELECT 'the cursor ' || name FROM pg_cursors WHERE is_holdable
"""
OWN_SETTINGS = [
    "community_directory.actor",
    "community_directory.call",
    "community_directory.reason",
    "community_directory.rolling_up",
]


async def leftovers() -> list[str]:
    """Return descriptions of everything that is left in the session of the only connection."""
    return [found for (found,) in await engine.fetch(SELECT_LEFTOVERS, OWN_SETTINGS)]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SET work_mem = '1MB'", "the setting work_mem"),
        ("SET community_directory.actor = 'bot'", "the setting community_directory.actor"),
        ("SET community_directory.call = '[]'", "the setting community_directory.call"),
        (f"SELECT pg_advisory_lock({LOCK_KEY + 1})", "a lock"),
        ("LISTEN news", "the channel news"),
        ("CREATE TEMPORARY TABLE bag ()", "the table bag"),
        ("DECLARE place CURSOR WITH HOLD FOR SELECT 1", "the cursor place"),
    ],
)
async def test_everything_that_a_statement_leaves_on_a_connection_is_found(
    url: str, statement: str, found: str
) -> None:
    async with connect(url, min_size=0, max_size=1):
        assert await leftovers() == []
        await engine.fetch(statement)
        assert await leftovers() == [found]


@pytest.mark.parametrize("helper", CASES)
async def test_a_helper_leaves_nothing_on_its_connection(
    emptied_database: str, helper: str
) -> None:
    async with superuser_session(emptied_database) as outside:
        await community(outside)
    async with connect(emptied_database, min_size=0, max_size=1):
        pid = await _pid()
        if (refused := CASES[helper].refused) is not None:
            await _refused(helper, refused)
            assert await leftovers() == []
        await HELPERS[helper](**arguments(helper))
        assert await leftovers() == []
        # The connection is the same one, so nothing was cleaned up by replacing it.
        assert await _pid() == pid


async def _pid() -> int:
    [(pid,)] = await engine.fetch(SELECT_PID)
    return int(pid)


async def _refused(helper: str, changed: Mapping[str, object]) -> None:
    with pytest.raises(DirectoryError):
        await HELPERS[helper](**arguments(helper, changed))


async def test_a_statement_that_is_replanned_has_no_plan_for_any_values(
    scratch_url: str,
) -> None:
    sql = "SELECT $1::integer"
    plans = "SELECT sum(generic_plans) FROM pg_prepared_statements WHERE statement = $1"
    async with connect(scratch_url, min_size=0, max_size=1):
        for is_replanned in (True, False):
            with replanned() if is_replanned else nullcontext():
                for number in range(10):
                    assert [tuple(row) for row in await engine.read(sql, number)] == [(number,)]
            [(kept,)] = await engine.read(plans, sql)
            assert bool(kept) is not is_replanned
