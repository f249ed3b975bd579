"""The pool hands a used connection straight to the next call, and loses none, whatever happens to its callers.

It sends no reset between two calls, so what one left in the session the next would find. That is why the last part
runs every helper on a single connection, and looks at what is left on it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from community_directory.database import DirectoryEngine, connect, engine, transaction
from community_directory.errors import DatabaseUnavailable, DirectoryError
from community_directory.pool import DirectoryPool, create_pool
from tests.conftest import Server, new_database
from tests.queries.cases import CASES, HELPERS, arguments, community
from tests.test_database import SECONDS, cut, cut_unnoticed

KEY = 41
"""Of the advisory lock that statements wait for until a test lets them go on."""
WAIT = f"SELECT pg_advisory_xact_lock_shared({KEY})"
PID = "SELECT pg_backend_pid()"
NAME = "community_directory"


@pytest.fixture(scope="module")
async def url(server: Server) -> AsyncIterator[str]:
    """The URL of one database for all tests here, with a table to write to."""
    async with new_database(server) as url:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE scratch (number int)")
        await connection.close()
        yield url


@pytest.fixture
async def outside(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody who looks on; of the pool's connections they are known by having no name."""
    connection = await asyncpg.connect(url)
    yield connection
    # Statements that still wait for its lock go on.
    await connection.close()


@asynccontextmanager
async def opened(url: str, max_size: int = 1, **options: Any) -> AsyncIterator[DirectoryPool]:
    """A pool, closed at the end, that connects when somebody calls."""
    settings = {"application_name": NAME}
    async with create_pool(dsn=url, min_size=0, max_size=max_size, server_settings=settings, **options) as pool:
        yield pool


@pytest.fixture
async def one(url: str) -> AsyncIterator[DirectoryPool]:
    """A pool of one connection: who doesn't give it back stops the next one."""
    async with opened(url) as pool:
        yield pool


@pytest.fixture
async def connected(url: str) -> AsyncIterator[DirectoryEngine]:
    """The engine with such a pool."""
    async with connect(url, min_size=0, max_size=1) as connected:
        yield connected


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(SECONDS):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.01)


async def backends(outside: asyncpg.Connection) -> set[int]:
    """The pool's connections, as the server sees them."""
    found = await outside.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1", NAME
    )
    return {pid for (pid,) in found}


async def waiting(outside: asyncpg.Connection) -> int:
    """How many statements wait for the lock."""
    count: int = await outside.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return count


async def assert_whole(pool: DirectoryPool) -> None:
    """All of the pool's connections can be had at once, and no other one beside them."""
    async with asyncio.timeout(SECONDS):
        held = [await pool.acquire() for _ in range(pool.get_max_size())]
    assert len({await connection.fetchval(PID) for connection in held}) == len(held)
    with pytest.raises(TimeoutError):
        await pool.acquire(timeout=0.01)
    for connection in held:
        await pool.release(connection)
    assert pool.get_idle_size() == pool.get_size() == len(held)


# What the next call gets


async def test_the_next_call_has_the_same_connection_just_as_it_was_left(url: str, outside: asyncpg.Connection) -> None:
    """So the project may leave nothing behind: what it left here is found by a caller that knows nothing of it."""
    async with opened(url, max_size=3) as pool:
        pid = await pool.fetchval(PID)
        await pool.execute("SET statement_timeout = '4321s'")
        # A reset would be the last that was sent.
        last = await outside.fetchval("SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
        assert last == "SET statement_timeout = '4321s'"
        assert await pool.fetchval("SHOW statement_timeout") == "4321s"
        assert await pool.fetchval(PID) == pid
        assert await backends(outside) == {pid}


async def test_the_connection_that_was_used_last_is_used_next(url: str) -> None:
    async with opened(url, max_size=3) as pool:
        held = [await pool.acquire() for _ in range(3)]
        pids = [await connection.fetchval(PID) for connection in held]
        for connection in held:
            await pool.release(connection)
        again = [await pool.acquire() for _ in range(3)]
        assert [await connection.fetchval(PID) for connection in again] == pids[::-1]
        for connection in again:
            await pool.release(connection)


async def test_fifty_calls_at_once_share_a_few_connections_and_all_are_answered(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=4) as pool:
        await outside.execute(f"SELECT pg_advisory_lock({KEY})")
        calls = [asyncio.create_task(pool.fetchval(f"SELECT {n} FROM ({WAIT}) AS waited")) for n in range(50)]
        await until(lambda: _is(waiting(outside), 4))
        assert len(await backends(outside)) == pool.get_size() == 4
        assert pool.get_idle_size() == 0
        await outside.execute(f"SELECT pg_advisory_unlock({KEY})")
        async with asyncio.timeout(SECONDS):
            assert await asyncio.gather(*calls) == list(range(50))
        assert len(await backends(outside)) == 4
        await assert_whole(pool)


async def _is(value: Awaitable[object], wanted: object) -> bool:
    return await value == wanted


async def test_the_sizes_tell_what_is_open_and_what_nobody_uses(url: str) -> None:
    async with opened(url, max_size=3) as pool:
        assert (pool.get_size(), pool.get_idle_size()) == (0, 0)
        async with pool.acquire():
            assert (pool.get_size(), pool.get_idle_size()) == (1, 0)
            async with pool.acquire():
                assert (pool.get_size(), pool.get_idle_size()) == (2, 0)
            assert (pool.get_size(), pool.get_idle_size()) == (2, 1)
        assert (pool.get_size(), pool.get_idle_size()) == (2, 2)
    assert (pool.get_size(), pool.get_idle_size()) == (0, 0)


async def test_what_the_pool_opened_beforehand_is_used_and_counted(url: str, outside: asyncpg.Connection) -> None:
    settings = {"application_name": NAME}
    async with create_pool(dsn=url, min_size=2, max_size=3, server_settings=settings) as pool:
        ready = await backends(outside)
        assert (len(ready), pool.get_size(), pool.get_idle_size()) == (2, 2, 2)
        for _ in range(3):
            assert await pool.fetchval(PID) in ready
        assert (pool.get_size(), pool.get_idle_size()) == (2, 2)
        await assert_whole(pool)


async def test_what_a_burst_opened_and_nobody_needs_any_more_is_closed(url: str, outside: asyncpg.Connection) -> None:
    async with opened(url, max_size=3, max_inactive_connection_lifetime=0.05) as pool:
        async with pool.acquire(), pool.acquire(), pool.acquire():
            assert len(await backends(outside)) == 3

        async def is_closed_while_others_call() -> bool:
            await pool.fetchval("SELECT 1")
            return bool(pool.get_size() == 1)

        await until(is_closed_while_others_call)
        await until(lambda: pool.get_size() == 0)
        await assert_whole(pool)


# What ends a connection


async def test_a_connection_that_the_server_ended_is_replaced_and_nobody_notices(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=2) as pool:
        async with pool.acquire(), pool.acquire():
            old = await backends(outside)
        await cut(url)
        await until(lambda: pool.get_size() == 0)
        assert pool.get_idle_size() == 0
        assert await pool.fetchval(PID) not in old
        await assert_whole(pool)


async def test_who_uses_a_connection_that_is_cut_is_told_and_the_next_one_is_served(
    connected: DirectoryEngine, url: str, outside: asyncpg.Connection
) -> None:
    assert isinstance(connected.pool, DirectoryPool)
    for _ in range(3):
        await outside.execute(f"SELECT pg_advisory_lock({KEY})")
        call = asyncio.create_task(engine.fetch(WAIT))
        await until(lambda: _is(waiting(outside), 1))
        await outside.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE NOT granted")
        with pytest.raises(DatabaseUnavailable):
            await call
        await outside.execute(f"SELECT pg_advisory_unlock({KEY})")
        assert [tuple(record) for record in await engine.fetch("SELECT 1")] == [(1,)]
    await assert_whole(connected.pool)


async def test_what_a_caller_fails_with_is_not_hidden_by_a_cut_connection(one: DirectoryPool, url: str) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  the connection is lost in the midst of it
        async with one.acquire():
            await cut(url)
            await until(lambda: one.get_size() == 0)
            _ = 1 / 0
    await assert_whole(one)


async def test_a_kept_connection_that_breaks_without_a_word_is_replaced(one: DirectoryPool) -> None:
    async with one.acquire() as connection:
        pid, protocol = await connection.fetchval(PID), connection._con._protocol
    protocol.abort()  # as asyncpg does itself when it waits in vain
    async with asyncio.timeout(SECONDS):
        assert await one.fetchval(PID) != pid
    await assert_whole(one)


async def test_who_is_first_to_use_a_connection_that_was_cut_unnoticed_is_told(
    connected: DirectoryEngine, url: str
) -> None:
    """As with asyncpg's own pool: to ask each connection first whether it lives would be the round trip again."""
    assert isinstance(connected.pool, DirectoryPool)
    await engine.fetch("SELECT 1")
    cut_unnoticed(url)
    with pytest.raises(DatabaseUnavailable):
        await engine.fetch("SELECT 1")
    await engine.fetch("SELECT 1")
    await assert_whole(connected.pool)


async def test_a_connection_that_can_not_be_made_leaves_the_way_free(url: str) -> None:
    refused = iter([True, True, True])

    async def check(connection: asyncpg.Connection) -> None:
        if next(refused, False):
            raise DatabaseUnavailable("Not yet.")

    async with opened(url, init=check) as pool:
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                async with asyncio.timeout(SECONDS):
                    await pool.fetchval("SELECT 1")
        await assert_whole(pool)


# What callers do


async def test_who_gives_up_waiting_leaves_the_way_free(one: DirectoryPool) -> None:
    held = await one.acquire()
    calls = [asyncio.create_task(one.fetchval(f"SELECT {n}")) for n in range(6)]
    for turn, call in enumerate(calls[:3]):
        for _ in range(turn):
            await asyncio.sleep(0)
        call.cancel()
    await one.release(held)
    calls[3].cancel()  # when it is its turn
    async with asyncio.timeout(SECONDS):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers[4:] == [4, 5]
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[:4])
    await assert_whole(one)


async def test_callers_who_give_up_at_any_moment_leave_nothing_behind(url: str) -> None:
    async with opened(url, max_size=2) as pool:
        for turns in range(40):
            calls = [asyncio.create_task(pool.fetchval("SELECT 1")) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            async with asyncio.timeout(SECONDS):
                answers = await asyncio.gather(*calls, return_exceptions=True)
            assert answers[1::2] == [1, 1]
            assert all(answer == 1 or isinstance(answer, asyncio.CancelledError) for answer in answers)
        await assert_whole(pool)


async def test_an_abandoned_statement_ends_on_the_server_before_the_connection_serves_another_one(
    one: DirectoryPool, outside: asyncpg.Connection
) -> None:
    state = "SELECT state FROM pg_stat_activity WHERE pid = $1"
    pid = await one.fetchval(PID)
    await outside.execute(f"SELECT pg_advisory_lock({KEY})")
    call = asyncio.create_task(one.execute(f"INSERT INTO scratch SELECT 1 FROM ({WAIT}) AS waited"))
    await until(lambda: _is(waiting(outside), 1))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await outside.fetchval(state, pid) == "idle"
    await outside.execute(f"SELECT pg_advisory_unlock({KEY})")
    assert await one.fetchval(PID) == pid
    assert await one.fetchval("SELECT count(*) FROM scratch") == 0
    await assert_whole(one)


async def test_who_gives_up_twice_in_a_statement_leaves_nothing_behind(
    one: DirectoryPool, outside: asyncpg.Connection
) -> None:
    await outside.execute(f"SELECT pg_advisory_lock({KEY})")
    call = asyncio.create_task(one.execute(WAIT))
    await until(lambda: _is(waiting(outside), 1))
    call.cancel()
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await assert_whole(one)


@pytest.mark.parametrize("failed", [False, True], ids=["open", "failed"])
async def test_a_transaction_that_was_left_open_is_undone(one: DirectoryPool, *, failed: bool) -> None:
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, complaint: complaints.append(complaint))
    try:
        async with one.acquire() as connection:
            pid = await connection.fetchval(PID)
            await connection.execute("BEGIN")
            await connection.execute("INSERT INTO scratch VALUES (1)")
            await connection.execute("SET work_mem = '1MB'")
            if failed:
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await connection.execute("SELECT 1 / 0")
    finally:
        loop.set_exception_handler(None)
    assert ["active transaction" in complaint["message"] for complaint in complaints] == [True]
    async with one.acquire() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval(PID) == pid
        assert await connection.fetchval("SELECT count(*) FROM scratch") == 0
        assert await connection.fetchval("SHOW work_mem") != "1MB"
    await assert_whole(one)


async def test_who_does_not_want_to_wait_for_ever_says_so(one: DirectoryPool) -> None:
    held = await one.acquire(timeout=SECONDS)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await one.acquire(timeout=0.01)
        with pytest.raises(TimeoutError):
            async with one.acquire(timeout=0):
                pytest.fail("it is in use")
    await one.release(held)
    await assert_whole(one)


async def test_who_gives_a_connection_back_twice_does_no_harm(url: str) -> None:
    async with opened(url, max_size=2) as pool:
        held = await pool.acquire()
        for _ in range(3):
            await pool.release(held)
        await assert_whole(pool)


async def test_who_gives_a_connection_back_twice_does_not_take_it_from_the_next_caller(url: str) -> None:
    async with opened(url, max_size=2) as pool:
        first = await pool.acquire()
        await pool.release(first)
        second = await pool.acquire()
        await pool.release(first)
        third = await pool.acquire()
        try:
            assert await second.fetchval(PID) != await third.fetchval(PID)
        finally:
            pool.terminate()


async def test_a_strangers_connection_is_not_taken(one: DirectoryPool, outside: asyncpg.Connection, url: str) -> None:
    async with opened(url) as other:
        held = await other.acquire()
        for stranger in (held, outside, None):
            with pytest.raises(asyncpg.InterfaceError, match="not a member of this pool"):
                await one.release(stranger)
        await other.release(held)
        await assert_whole(other)
    await assert_whole(one)


# Closing


async def test_closing_waits_for_those_in_use_and_ends_all(url: str, outside: asyncpg.Connection) -> None:
    async with opened(url, max_size=3) as pool:
        held = await pool.acquire()
        async with pool.acquire(), pool.acquire():
            assert len(await backends(outside)) == 3
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        assert pool.is_closing()
        for _ in range(20):
            await held.execute("INSERT INTO scratch VALUES (1)")
        assert not closing.done()
        with pytest.raises(asyncpg.InterfaceError, match="pool is closing"):
            await pool.fetchval("SELECT 1")
        await held.execute("DELETE FROM scratch")
        await pool.release(held)
        async with asyncio.timeout(SECONDS):
            await closing
        await until(lambda: _is(backends(outside), set()))
        assert (pool.get_size(), pool.get_idle_size()) == (0, 0)
        for _ in range(2):
            with pytest.raises(asyncpg.InterfaceError, match="pool is closed"):
                await pool.fetchval("SELECT 1")
            with pytest.raises(asyncpg.InterfaceError, match="pool is closed"):
                await pool.acquire(timeout=SECONDS)
        await pool.close()


async def test_who_waits_while_the_pool_closes_is_told(url: str) -> None:
    async with connect(url, min_size=0, max_size=1):
        async with transaction():
            # Begun where no transaction is.
            calls = [asyncio.create_task(_outside_of_it("SELECT 1")) for _ in range(5)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(engine.close_connection_pool())
            await until(lambda: engine.pool is None)
        async with asyncio.timeout(SECONDS):
            answers = await asyncio.gather(*calls, return_exceptions=True)
            await closing
    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)


async def _outside_of_it(sql: str) -> list[Any]:
    engine.current_transaction.set(None)
    return await engine.fetch(sql)


async def test_a_closing_that_is_given_up_at_any_moment_ends_all_connections(
    url: str, outside: asyncpg.Connection
) -> None:
    for turns in range(1, 12):
        async with opened(url, max_size=3) as pool:
            held = await pool.acquire()
            async with pool.acquire(), pool.acquire():
                pass
            closing = asyncio.create_task(pool.close())
            for _ in range(turns):
                await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresError), match=r"closed|released"):
                await held.fetchval("SELECT 1")
            await until(lambda: _is(backends(outside), set()))
            await pool.release(held)
            with pytest.raises(asyncpg.InterfaceError, match="pool is clos"):
                await pool.fetchval("SELECT 1")


async def test_a_connection_that_was_cut_unnoticed_does_not_make_closing_fail(url: str) -> None:
    async with opened(url, max_size=2) as pool:
        await pool.fetchval("SELECT 1")
        cut_unnoticed(url)


# What helpers leave on a connection


LEFT = """
SELECT 'the setting ' || name FROM pg_settings WHERE source = 'session' AND setting IS DISTINCT FROM reset_val
UNION ALL
-- not among the others: nobody but us knows them
SELECT 'the setting ' || name FROM unnest($1::text[]) AS name WHERE coalesce(current_setting(name, true), '') <> ''
UNION ALL SELECT 'a lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'the channel ' || channel FROM pg_listening_channels() AS channel
UNION ALL SELECT 'the table ' || relname FROM pg_class WHERE relpersistence = 't'
UNION ALL SELECT 'the cursor ' || name FROM pg_cursors WHERE is_holdable
"""
OURS = ["community_directory.actor", "community_directory.reason", "community_directory.rolling_up"]


async def left(pool: asyncpg.Pool) -> list[str]:
    """What is left on the pool's only connection."""
    async with pool.acquire() as connection:
        assert not connection.is_in_transaction()
        return [found for (found,) in await connection.fetch(LEFT, OURS)]


@pytest.mark.parametrize(
    ("deed", "found"),
    [
        ("SET work_mem = '1MB'", "the setting work_mem"),
        ("SET community_directory.actor = 'bot'", "the setting community_directory.actor"),
        ("SET community_directory.rolling_up = 'on'", "the setting community_directory.rolling_up"),
        (f"SELECT pg_advisory_lock({KEY + 1})", "a lock"),
        ("LISTEN news", "the channel news"),
        ("CREATE TEMPORARY TABLE bag ()", "the table bag"),
        ("DECLARE place CURSOR WITH HOLD FOR SELECT 1", "the cursor place"),
    ],
)
async def test_whatever_is_left_on_a_connection_is_seen(one: DirectoryPool, deed: str, found: str) -> None:
    assert await left(one) == []
    await one.execute(deed)
    assert await left(one) == [found]


@pytest.mark.parametrize("helper", CASES)
async def test_a_helper_leaves_nothing_on_its_connection(database: str, helper: str) -> None:
    async with connect(database, min_size=0, max_size=1) as connected:
        assert connected.pool is not None
        await community(connected.pool)
        pid = await connected.pool.fetchval(PID)
        if (refused := CASES[helper].refused) is not None:
            await _refused(helper, refused)
            assert await left(connected.pool) == []
        await HELPERS[helper](**arguments(helper))
        assert await left(connected.pool) == []
        # Or something else than the helper has tidied up.
        assert await connected.pool.fetchval(PID) == pid


async def _refused(helper: str, changed: Mapping[str, object]) -> None:
    with pytest.raises(DirectoryError):
        await HELPERS[helper](**arguments(helper, changed))
