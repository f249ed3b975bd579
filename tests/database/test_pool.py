"""The pool passes a used connection to the next call, and loses none, whatever its callers do.

It sends no reset between two calls, so one call would find what another left in the session. That
is why the last part runs every helper on a single connection, and looks at what is left on it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from community_directory.database import connect, engine, transaction, transactions
from community_directory.database import pool as pool_module
from community_directory.database.pool import LeasedPool
from community_directory.errors import DatabaseUnavailable, DirectoryError, NotConnected
from tests.conftest import Server, new_database
from tests.database.test_connections import SECONDS, cut, cut_unnoticed
from tests.queries.cases import CASES, HELPERS, arguments, community
from tests.queries.test_recorder import Proxy

KEY = 41
"""Statements wait for this advisory lock until a test lets them go on."""
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
    """A connection beside the pool; the statements that wait for its lock go on at the end."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


@asynccontextmanager
async def opened(url: str, max_size: int = 1, **options: Any) -> AsyncIterator[LeasedPool]:
    """Open a pool that connects when somebody calls, and close it at the end."""
    pool = LeasedPool(
        dsn=url,
        min_size=0,
        max_size=max_size,
        acquire_timeout=SECONDS,
        server_settings={"application_name": NAME},
        **options,
    )
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def fetchval(pool: LeasedPool, sql: str, *arguments: object) -> Any:
    """Run one statement as the engine does."""
    connection = await pool.acquire()
    try:
        value = await connection.fetchval(sql, *arguments)
    except BaseException:
        await pool.release(connection, clean=False)
        raise
    await pool.release(connection, clean=True)
    return value


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when it holds."""
    async with asyncio.timeout(SECONDS):
        while not await condition():
            await asyncio.sleep(0.01)


async def backends(outside: asyncpg.Connection) -> set[int]:
    """Return the pool's connections, as the server sees them."""
    found = await outside.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1",
        NAME,
    )
    return {pid for (pid,) in found}


async def waiting(outside: asyncpg.Connection, count: int) -> bool:
    """Tell whether so many statements wait for the lock."""
    found: int = await outside.fetchval(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return found == count


async def assert_whole(pool: LeasedPool, max_size: int = 1) -> None:
    """Take all of the pool's connections at once, and see that there is no other one."""
    async with asyncio.timeout(SECONDS):
        held = [await pool.acquire() for _ in range(max_size)]
    assert len({await connection.fetchval(PID) for connection in held}) == max_size
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await pool.acquire()
    for connection in held:
        await pool.release(connection, clean=True)


# What the next call gets


async def test_the_next_call_has_the_same_connection_as_it_was_left(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=3) as pool:
        pid = await fetchval(pool, PID)
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
        async with asyncio.timeout(SECONDS):
            calls = [fetchval(pool, "SELECT $1::int FROM pg_sleep(0.001)", n) for n in range(50)]
            assert await asyncio.gather(*calls) == list(range(50))
        assert len(await backends(outside)) == 4
        await assert_whole(pool, 4)


async def test_callers_are_served_in_their_order(url: str) -> None:
    served: list[int] = []

    async def call(pool: LeasedPool, number: int) -> None:
        connection = await pool.acquire()
        served.append(number)
        await connection.fetchval("SELECT 1")
        await pool.release(connection, clean=number % 3 > 0)

    async with opened(url) as pool, asyncio.timeout(SECONDS):
        await asyncio.gather(*(call(pool, number) for number in range(30)))
    assert served == list(range(30))


async def test_who_waits_too_long_is_told_and_takes_no_turn(url: str) -> None:
    async with opened(url) as pool:
        held = await pool.acquire()
        pool.acquire_timeout = 0.05
        with pytest.raises(TimeoutError):
            await pool.acquire()
        await pool.release(held, clean=True)
        await assert_whole(pool)


# What ends a connection


async def test_idle_connections_go_back_and_worn_out_ones_are_replaced(
    url: str, outside: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RENEWAL_INTERVAL_SECONDS", 0.01)
    async with opened(url, max_size=3, max_inactive_connection_lifetime=0.05) as pool:
        await asyncio.gather(*(fetchval(pool, "SELECT pg_sleep(0.01)") for _ in range(3)))
        await until(lambda: _none_left(outside))
        await assert_whole(pool, 3)
    async with opened(url, max_queries=5) as pool:
        old = await fetchval(pool, PID)
        for _ in range(5):
            await fetchval(pool, "SELECT 1")
        await until(lambda: _is_other(pool, old))


async def _none_left(outside: asyncpg.Connection) -> bool:
    return not await backends(outside)


async def _is_other(pool: LeasedPool, pid: int) -> bool:
    return bool(await fetchval(pool, PID) != pid)


async def test_expired_connections_are_replaced(url: str) -> None:
    async with opened(url) as pool:
        old = await fetchval(pool, PID)
        await pool.expire_connections()
        assert await fetchval(pool, PID) != old


async def test_connections_that_the_server_ended_are_replaced_and_nobody_notices(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=2) as pool:
        await assert_whole(pool, 2)
        old = await backends(outside)
        await cut(url)
        await asyncio.sleep(0)  # the loop learns that they are gone
        assert await fetchval(pool, PID) not in old
        await assert_whole(pool, 2)


async def test_who_uses_a_connection_that_is_cut_is_told_and_the_next_one_is_served(
    url: str, outside: asyncpg.Connection
) -> None:
    async with connect(url, min_size=0, max_size=1) as connected:
        for _ in range(3):
            await outside.execute(f"SELECT pg_advisory_lock({KEY})")
            call = asyncio.create_task(engine.fetch(WAIT))
            await until(lambda: waiting(outside, 1))
            await outside.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE NOT granted"
            )
            with pytest.raises(DatabaseUnavailable):
                await call
            await outside.execute(f"SELECT pg_advisory_unlock({KEY})")
            assert [tuple(record) for record in await engine.fetch("SELECT 1")] == [(1,)]
        assert connected.pool is not None
        await assert_whole(connected.pool)


async def test_who_first_uses_a_connection_that_was_cut_unnoticed_is_told(url: str) -> None:
    """As with asyncpg's own pool: asking each connection first would cost a round trip again."""
    async with connect(url, min_size=0, max_size=1):
        await engine.fetch("SELECT 1")
        cut_unnoticed(url)
        with pytest.raises(DatabaseUnavailable):
            await engine.fetch("SELECT 1")
        await engine.fetch("SELECT 1")


async def test_a_connection_that_cannot_be_made_leaves_the_turn_free(url: str) -> None:
    refused = iter([True, True, True])

    async def check(connection: asyncpg.Connection) -> None:
        if next(refused, False):
            raise DatabaseUnavailable("Not yet.")

    async with opened(url, init=check) as pool:
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                await fetchval(pool, "SELECT 1")
        await assert_whole(pool)


# What callers do


async def test_callers_who_give_up_at_any_moment_leave_nothing_behind(url: str) -> None:
    async with opened(url, max_size=2) as pool:
        for turns in range(40):
            calls = [asyncio.create_task(fetchval(pool, "SELECT 1")) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            async with asyncio.timeout(SECONDS):
                answers = await asyncio.gather(*calls, return_exceptions=True)
            assert answers[1::2] == [1, 1]
            assert all(
                answer == 1 or isinstance(answer, asyncio.CancelledError) for answer in answers
            )
        await assert_whole(pool, 2)


async def test_an_abandoned_statement_ends_on_the_server_before_the_connection_serves_again(
    url: str, outside: asyncpg.Connection
) -> None:
    async with connect(url, min_size=0, max_size=1) as connected:
        await outside.execute(f"SELECT pg_advisory_lock({KEY})")
        call = asyncio.create_task(
            engine.fetch(f"INSERT INTO scratch SELECT 1 FROM ({WAIT}) AS waited")
        )
        await until(lambda: waiting(outside, 1))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await waiting(outside, 0)
        await outside.execute(f"SELECT pg_advisory_unlock({KEY})")
        [(count,)] = await engine.fetch("SELECT count(*) FROM scratch")
        assert count == 0
        assert connected.pool is not None
        await assert_whole(connected.pool)


async def test_a_call_on_a_silent_network_ends_and_its_connection_is_replaced(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RELEASE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(transactions, "ROLLBACK_TIMEOUT_SECONDS", 0.2)
    proxy = Proxy(url)

    async def in_a_transaction() -> None:
        async with transaction():
            await engine.fetch("SELECT 1")

    async with proxy.running() as address, connect(address, min_size=1, max_size=1):
        for call in (lambda: engine.fetch("SELECT 1"), in_a_transaction):
            await engine.fetch("SELECT 1")
            proxy.is_silent = True
            async with asyncio.timeout(SECONDS):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await call()
                proxy.come_back()
                await engine.fetch("SELECT 1")


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT 1 / 0"], ids=["open", "failed"])
async def test_a_transaction_that_was_left_open_is_undone(url: str, statement: str) -> None:
    async with opened(url) as pool:
        connection = await pool.acquire()
        await connection.execute("BEGIN; INSERT INTO scratch VALUES (1)")
        with suppress(asyncpg.DivisionByZeroError):
            await connection.execute(statement)
        await pool.release(connection, clean=True)
        assert await fetchval(pool, "SELECT count(*) FROM scratch") == 0
        await assert_whole(pool)


# Closing


async def test_closing_waits_for_those_in_use_and_ends_all(
    url: str, outside: asyncpg.Connection
) -> None:
    async with opened(url, max_size=3) as pool:
        await assert_whole(pool, 3)
        held = await pool.acquire()
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        await held.execute("INSERT INTO scratch VALUES (1); DELETE FROM scratch")
        assert not closing.done()
        with pytest.raises(asyncpg.InterfaceError, match="pool is clos"):
            await pool.acquire()
        await pool.release(held, clean=True)
        async with asyncio.timeout(SECONDS):
            await closing
        await until(lambda: _none_left(outside))


async def test_who_waits_while_the_pool_closes_is_told(url: str) -> None:
    async with connect(url, min_size=0, max_size=1):
        async with transaction():
            # Begun where no transaction is.
            calls = [asyncio.create_task(_outside_of_it("SELECT 1")) for _ in range(5)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(engine.close_connection_pool())
            await asyncio.sleep(0)
            assert engine.pool is None
        async with asyncio.timeout(SECONDS):
            answers = await asyncio.gather(*calls, return_exceptions=True)
            await closing
    assert [type(answer) for answer in answers] == [NotConnected] * 5


async def _outside_of_it(sql: str) -> list[Any]:
    engine.current_transaction.set(None)
    return await engine.fetch(sql)


async def test_a_closing_that_is_given_up_ends_all_connections(
    url: str, outside: asyncpg.Connection
) -> None:
    for turns in range(1, 12):
        async with opened(url, max_size=3) as pool:
            await assert_whole(pool, 3)
            held = await pool.acquire()
            closing = asyncio.create_task(pool.close())
            for _ in range(turns):
                await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            await pool.release(held, clean=True)
            await pool.close()
            await until(lambda: _none_left(outside))


async def test_a_connection_that_was_cut_unnoticed_does_not_make_closing_fail(url: str) -> None:
    async with opened(url, max_size=2) as pool:
        await fetchval(pool, "SELECT 1")
        cut_unnoticed(url)


# What helpers leave on a connection


LEFT = """
SELECT 'the setting ' || name FROM pg_settings
WHERE source = 'session' AND setting IS DISTINCT FROM reset_val
UNION ALL
-- not among the others: the server knows no default of ours
SELECT 'the setting ' || name FROM unnest($1::text[]) AS name
WHERE coalesce(current_setting(name, true), '') <> ''
UNION ALL SELECT 'a lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'the channel ' || channel FROM pg_listening_channels() AS channel
UNION ALL SELECT 'the table ' || relname FROM pg_class WHERE relpersistence = 't'
UNION ALL SELECT 'the cursor ' || name FROM pg_cursors WHERE is_holdable
"""
OURS = [
    "community_directory.actor",
    "community_directory.call",
    "community_directory.reason",
    "community_directory.rolling_up",
]


async def left() -> list[str]:
    """Return what is left on the pool's only connection."""
    return [found for (found,) in await engine.fetch(LEFT, OURS)]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("SET work_mem = '1MB'", "the setting work_mem"),
        ("SET community_directory.actor = 'bot'", "the setting community_directory.actor"),
        ("SET community_directory.call = '[]'", "the setting community_directory.call"),
        (f"SELECT pg_advisory_lock({KEY + 1})", "a lock"),
        ("LISTEN news", "the channel news"),
        ("CREATE TEMPORARY TABLE bag ()", "the table bag"),
        ("DECLARE place CURSOR WITH HOLD FOR SELECT 1", "the cursor place"),
    ],
)
async def test_whatever_is_left_on_a_connection_is_seen(
    url: str, statement: str, found: str
) -> None:
    async with connect(url, min_size=0, max_size=1):
        assert await left() == []
        await engine.fetch(statement)
        assert await left() == [found]


@pytest.mark.parametrize("helper", CASES)
async def test_a_helper_leaves_nothing_on_its_connection(database: str, helper: str) -> None:
    async with asyncpg.create_pool(database, min_size=1, max_size=1) as pool:
        await community(pool)
    async with connect(database, min_size=0, max_size=1):
        pid = await _pid()
        if (refused := CASES[helper].refused) is not None:
            await _refused(helper, refused)
            assert await left() == []
        await HELPERS[helper](**arguments(helper))
        assert await left() == []
        # Or something else than the helper has tidied up.
        assert await _pid() == pid


async def _pid() -> int:
    [(pid,)] = await engine.fetch(PID)
    return int(pid)


async def _refused(helper: str, changed: Mapping[str, object]) -> None:
    with pytest.raises(DirectoryError):
        await HELPERS[helper](**arguments(helper, changed))
