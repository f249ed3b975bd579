"""Every call ends in time, whatever the server, the network and the other callers do.

The faults are real: a lock of another session, a network that swallows packets, a stopped server,
and a pool, a role or a server without a free connection.
"""

# ruff: noqa: PT012  a transaction and what fails in it can't be told apart

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import Context
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg
import pytest

from community_directory import jobs
from community_directory.database import (
    CONNECTION_ERRORS,
    DirectoryEngine,
    connect,
    connections,
    embedded,
    engine,
    long_running,
    migrate,
    transaction,
    transactions,
)
from community_directory.database import pool as pool_module
from community_directory.database.connections import Connector
from community_directory.database.limits import acquire_limit, server_limits
from community_directory.database.migrations import MIGRATION_LOCK_KEY
from community_directory.database.pool import ConnectionPool
from community_directory.demo import load_demo
from community_directory.errors import ConfigurationError, DatabaseUnavailable, OperatorError
from community_directory.imports import members_csv
from community_directory.imports.export import Author, ExportedEvent
from community_directory.imports.history import import_history
from community_directory.queries import highlights, privacy, rooms
from community_directory.settings import load_settings
from community_directory.tables import EventType, Platform
from tests.conftest import no_tasks_left, run_sql, stop_embedded_server
from tests.database.scratch import (
    TIMEOUT_SECONDS,
    Scratch,
    assert_nothing_is_left,
    committed_numbers,
    create_scratch_table,
    insert,
)
from tests.proxy import Proxy
from tests.servers import MEMORY
from tests.tables import rows
from tests.waiting import until_sessions, until_waiting

FOR_EVER = "600"
"""A limit in seconds that no test waits for."""
SOON = 10
"""The seconds in which a call ends on a loaded machine whose limit is a part of a second."""
LOCKED = 9
"""The number of the row that another session locks."""
WAIT_FOR_ROW = f"SELECT FROM scratch WHERE number = {LOCKED} FOR KEY SHARE"

Begin = Callable[[], Awaitable[None]]


@pytest.fixture(autouse=True)
def limit_calls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets the timeouts of the settings, also for an open pool."""

    def limit_calls(seconds: str, **settings: str) -> None:
        names = ("call_timeout", "acquire_timeout", "long_statement_timeout")
        for name, value in {**dict.fromkeys(names, seconds), **settings}.items():
            monkeypatch.setenv(f"DIRECTORY_{name.upper()}", value)
        load_settings.cache_clear()
        if engine.pool is not None:
            engine.pool.acquire_timeout = load_settings().acquire_timeout

    limit_calls(FOR_EVER, statement_timeout="0", lock_timeout="0")
    return limit_calls


@pytest.fixture(scope="module")
async def own_server() -> AsyncIterator[str]:
    """Yield the URL of a database of a server of this module's own, which a test may stop."""
    data = Path(tempfile.mkdtemp(prefix="directory-", dir=MEMORY)) / "postgres"
    with patch.object(embedded, "_find_memory", return_value=0):  # a small server
        arguments = await embedded.start(data)
    url = f"postgresql://postgres@/postgres?host={arguments['host']}&port={arguments['port']}"
    # The data need not survive a power cut.
    await run_sql(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
    await create_scratch_table(url)
    yield url
    stop_embedded_server(data)
    shutil.rmtree(data.parent)


@pytest.fixture
async def scratch_url(own_server: str) -> str:
    """Return the URL of a database with the table `scratch`, which is empty."""
    # What an earlier test has cut may still hold a lock.
    await run_sql(
        own_server,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
        "DELETE FROM scratch",
    )
    return own_server


@pytest.fixture
async def fault_url(scratch_url: str) -> str:
    """Return the URL of a database with the table `scratch` and its locked row only."""
    await run_sql(scratch_url, f"INSERT INTO scratch VALUES ({LOCKED})")
    return scratch_url


# Faults. Each one connects the engine, and yields a function that begins the fault.


@asynccontextmanager
async def locked_row(url: str) -> AsyncIterator[Begin]:
    """Lock the row in another session."""
    async with connect(url, max_size=1):
        other = await asyncpg.connect(url)

        async def begin() -> None:
            await other.execute(f"BEGIN; SELECT FROM scratch WHERE number = {LOCKED} FOR UPDATE")

        yield begin
        await other.close()
        await assert_nothing_is_left()


@asynccontextmanager
async def frozen_network(url: str) -> AsyncIterator[Begin]:
    """Swallow everything between the pool and the server."""
    proxy = Proxy(url)

    async def begin() -> None:
        proxy.freeze()

    async with proxy.running() as address, connect(address, max_size=1):
        yield begin
        proxy.thaw()
        await assert_nothing_is_left()


@asynccontextmanager
async def stopped_server(url: str) -> AsyncIterator[Begin]:
    """Stop all processes of the server."""
    stopped: list[int] = []

    async def begin() -> None:
        connection = await asyncpg.connect(url)
        pids = [pid for (pid,) in await connection.fetch("SELECT pid FROM pg_stat_activity")]
        pids.remove(await connection.fetchval("SELECT pg_backend_pid()"))
        data = Path(await connection.fetchval("SHOW data_directory"))
        await connection.close()
        stopped.extend([int((data / "postmaster.pid").read_text().split()[0]), *pids])
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

    async with connect(url, max_size=1):
        try:
            yield begin
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        await assert_nothing_is_left()


# Calls. None of them ends before the fault does.


async def a_call(begin: Begin) -> None:
    await begin()
    await engine.fetch(f"INSERT INTO scratch VALUES (1, {LOCKED}), (2, {LOCKED})")


async def a_query_of_piccolo(begin: Begin) -> None:
    await begin()
    await insert(1)


async def a_statement(begin: Begin) -> None:
    async with transaction():
        await insert(1)
        await begin()
        await engine.fetch(WAIT_FOR_ROW)


async def a_statement_of_a_savepoint(begin: Begin) -> None:
    async with transaction():
        await insert(1)
        async with transaction():
            await begin()
            await engine.fetch(WAIT_FOR_ROW)


async def a_commit(begin: Begin) -> None:
    async with transaction():
        await insert(1, parent=LOCKED)
        await insert(2)
        await begin()


async def a_rollback(begin: Begin) -> None:
    async with transaction() as current:
        await insert(1)
        await begin()
        await current.rollback()


async def an_entry(begin: Begin) -> None:
    await begin()
    async with transaction():
        pytest.fail("there is no transaction")


Fault = Callable[[str], AbstractAsyncContextManager[Begin]]
Call = Callable[[Begin], Awaitable[None]]

CALLS: list[tuple[Fault, Call]] = [
    (frozen_network, a_query_of_piccolo),
    *((locked_row, call) for call in (a_call, a_statement, a_statement_of_a_savepoint, a_commit)),
    *((frozen_network, call) for call in (a_call, a_statement, a_commit, a_rollback, an_entry)),
    *((stopped_server, call) for call in (a_call, a_commit, an_entry)),
]
"""Faults, and calls that they stop."""
ENDS = [
    *((*each, DatabaseUnavailable) for each in CALLS),
    *((*each, asyncio.CancelledError) for each in CALLS if each[0] is frozen_network),
    # A cancelled call does not know which fault stops it, nor that a timeout cancels it.
    *(
        pytest.param(*each, asyncio.CancelledError, marks=pytest.mark.faults)
        for each in CALLS
        if each[0] is not frozen_network
    ),
    *(pytest.param(*each, TimeoutError, marks=pytest.mark.faults) for each in CALLS),
]


@pytest.mark.parametrize(("fault", "call", "end"), ENDS, ids=lambda each: each.__name__)
async def test_a_call_ends_whatever_stops_it(
    fault_url: str,
    limit_calls: Callable[..., None],
    fault: Fault,
    call: Call,
    end: type[BaseException],
) -> None:
    """It ends by its own limit, by a timeout of its caller, or because it is cancelled."""
    async with fault(fault_url) as begin_fault:
        began = asyncio.get_running_loop().create_future()

        async def begin() -> None:
            await begin_fault()
            if end is DatabaseUnavailable:
                limit_calls("0.1")
            began.set_result(None)

        async def caller() -> None:
            async with asyncio.timeout(None) as timeout:
                limited = asyncio.ensure_future(began)
                if end is TimeoutError:
                    limited.add_done_callback(
                        lambda _: timeout.reschedule(asyncio.get_running_loop().time() + 0.1)
                    )
                await call(begin)

        async with no_tasks_left():
            task = asyncio.create_task(caller())
            await began
            started = asyncio.get_running_loop().time()
            if end is asyncio.CancelledError:
                await asyncio.sleep(0.1)
                task.cancel()
            with pytest.raises(end):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await task
            assert asyncio.get_running_loop().time() - started < SOON
            assert engine.pool is not None
            assert (engine.pool.get_size(), engine.pool.get_idle_size()) == (0, 0)
            await asyncio.sleep(0.01)  # a task that was cancelled ends
        limit_calls(FOR_EVER)
    # A call that is cut may be stored, but never a part of it.
    assert await committed_numbers(fault_url) in ([LOCKED], [1, 2, LOCKED])


async def test_a_cancelled_transaction_does_not_wait_for_its_rollback(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "ROLLBACK_TIMEOUT_SECONDS", 600)
    proxy = Proxy(scratch_url)
    async with proxy.running() as address, connect(address, max_size=1):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), transaction():
                    await insert(1)
                    proxy.freeze(new=False)
                    await asyncio.Event().wait()
        await assert_nothing_is_left()
    assert await committed_numbers(scratch_url) == []


async def error_of(call: "asyncio.Task[object]", end: type[BaseException]) -> BaseException:
    """Let a call end by its limit, by the time limit of its caller or by cancellation."""
    if end is asyncio.CancelledError:
        call.cancel()
    with pytest.raises(end) as raised:
        async with asyncio.timeout(0.1 if end is TimeoutError else TIMEOUT_SECONDS):
            await call
    return raised.value


@pytest.mark.parametrize("end", [DatabaseUnavailable, TimeoutError, asyncio.CancelledError])
@pytest.mark.parametrize("is_entry", [False, True], ids=["a call", "an entry"])
async def test_a_call_without_a_free_connection_ends(
    scratch_url: str, limit_calls: Callable[..., None], end: type[BaseException], *, is_entry: bool
) -> None:
    async def enter() -> None:
        async with transaction():
            pytest.fail("there is no transaction")

    async with connect(scratch_url, max_size=1), no_tasks_left():
        async with transaction():
            await insert(1)
            if end is DatabaseUnavailable:
                limit_calls("0.1")
            call = asyncio.create_task(
                enter() if is_entry else engine.fetch("SELECT 1"), context=Context()
            )
            await asyncio.sleep(0.01)
            error = await error_of(call, end)
            limit_calls(FOR_EVER)
            # The transaction that has the connection goes on.
            await insert(2)
        await assert_nothing_is_left()
    assert await committed_numbers(scratch_url) == [1, 2]
    if isinstance(error, DatabaseUnavailable):
        assert "became free in time" in str(error)
        assert error.retry_after == 1


@pytest.mark.parametrize("end", [DatabaseUnavailable, TimeoutError, asyncio.CancelledError])
async def test_a_connection_that_nobody_accepts_is_given_up(
    scratch_url: str, limit_calls: Callable[..., None], end: type[BaseException]
) -> None:
    proxy = Proxy(scratch_url)
    async with proxy.running() as address, connect(address, min_size=0, max_size=1) as connected:
        proxy.freeze()
        if end is DatabaseUnavailable:
            limit_calls("0.1")
            assert connected.pool is not None
            connected.pool.acquire_timeout = 0.1
        call = asyncio.create_task(engine.fetch("SELECT 1"))
        await asyncio.sleep(0.05)
        error = await error_of(call, end)
        limit_calls(FOR_EVER)
        proxy.thaw()
        await assert_nothing_is_left()
    assert end is not DatabaseUnavailable or "did not answer within 0.1 s" in str(error)


async def test_connecting_and_a_call_without_a_pool_end(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    proxy, on_demand = Proxy(scratch_url), DirectoryEngine()
    async with proxy.running() as address, asyncio.timeout(TIMEOUT_SECONDS):
        on_demand.config = {"dsn": address}
        on_demand.connect_on_demand()
        await on_demand.fetch("SELECT 1")
        proxy.freeze()
        limit_calls("0.2")
        with pytest.raises(DatabaseUnavailable, match=r"did not answer within 0\.16 seconds"):
            async with connect(address, min_size=3):
                pytest.fail("connected")
        with pytest.raises(DatabaseUnavailable, match=r"did not answer within 0\.16 seconds"):
            await on_demand.fetch("SELECT 1")
        proxy.thaw()
        limit_calls(FOR_EVER)
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            async with on_demand.transaction():
                proxy.freeze()
                limit_calls("0.2")
                await on_demand.fetch("SELECT 1")
        proxy.thaw()
        limit_calls(FOR_EVER)
        await on_demand.fetch("SELECT 1")


@pytest.mark.parametrize("in_transaction", [False, pytest.param(True, marks=pytest.mark.faults)])
async def test_the_start_of_the_embedded_server_takes_no_time_of_the_first_call(
    own_server: str,
    limit_calls: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    *,
    in_transaction: bool,
) -> None:
    start, on_demand = embedded.start, DirectoryEngine()

    async def start_slowly(data: Path) -> dict[str, Any]:
        arguments = await start(data)
        await asyncio.sleep(1.2)
        return arguments

    monkeypatch.setattr(embedded, "start", start_slowly)
    limit_calls("1", data_directory=str(data_directory_of(own_server)))
    on_demand.connect_on_demand()
    async with on_demand.transaction() if in_transaction else nullcontext():
        await on_demand.fetch("SELECT 1")


async def test_joining_an_embedded_server_that_does_not_answer_ends(
    fault_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ANSWER_TIMEOUT_SECONDS", 0.2)
    async with stopped_server(fault_url) as begin, asyncio.timeout(TIMEOUT_SECONDS):
        await begin()
        with pytest.raises(DatabaseUnavailable, match=r"did not answer within 0\.2 seconds"):
            await embedded.start(data_directory_of(fault_url))


def data_directory_of(url: str) -> Path:
    """Return the data directory of an embedded server, in which its socket lies."""
    return Path(parse_qs(urlsplit(url).query)["host"][0])


async def test_closing_ends_while_the_network_swallows_everything(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CLOSE_TIMEOUT_SECONDS", 0.2)
    proxy = Proxy(scratch_url)
    async with no_tasks_left(), proxy.running() as address, asyncio.timeout(TIMEOUT_SECONDS):
        async with connect(address, max_size=2):
            await insert(1)
            used = asyncio.create_task(engine.fetch("SELECT pg_sleep(600)"))
            await asyncio.sleep(0.05)
            await engine.fetch("SELECT 1")
            proxy.freeze()
        with pytest.raises(DatabaseUnavailable):
            await used


# After a fault


async def test_all_calls_end_after_a_failover_and_the_next_ones_work(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    proxy = Proxy(scratch_url)
    async with proxy.running() as address, connect(address, max_size=10) as connected:
        await asyncio.gather(*(engine.fetch("SELECT pg_sleep(0.05)") for _ in range(10)))
        proxy.freeze(new=False)
        limit_calls("0.5")
        async with asyncio.timeout(TIMEOUT_SECONDS):
            ends = await asyncio.gather(
                *(engine.fetch("SELECT 1") for _ in range(70)), return_exceptions=True
            )
        limit_calls(FOR_EVER)
        assert {type(each) for each in ends} <= {DatabaseUnavailable, list}
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.gather(*(engine.fetch("SELECT 1") for _ in range(70)))
        assert connected.pool is not None
        assert connected.pool.get_size() == connected.pool.get_idle_size() <= 10


async def test_one_call_without_an_answer_is_enough_to_replace_all_idle_connections(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    proxy = Proxy(scratch_url)
    async with proxy.running() as address, connect(address, max_size=5):
        await asyncio.gather(*(engine.fetch("SELECT pg_sleep(0.05)") for _ in range(5)))
        proxy.freeze(new=False)
        limit_calls("0.3")
        with pytest.raises(DatabaseUnavailable, match=r"^The database does not answer\.$"):
            await engine.fetch("SELECT 1")
        limit_calls(FOR_EVER)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for _ in range(5):
                await engine.fetch("SELECT 1")


async def test_a_connection_that_has_answered_since_is_kept(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    async with connect(scratch_url, max_size=2):
        limit_calls("0.5")
        slow = asyncio.create_task(engine.fetch("SELECT pg_sleep(600)"))
        await asyncio.sleep(0.01)
        [(pid,)] = await engine.fetch("SELECT pg_backend_pid()")
        with pytest.raises(DatabaseUnavailable):
            await slow
        limit_calls(FOR_EVER)
        assert [(pid,)] == [tuple(each) for each in await engine.fetch("SELECT pg_backend_pid()")]


async def test_a_blocked_event_loop_does_not_cut_an_answered_call(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    async with connect(scratch_url, max_size=1):
        [(pid,)] = await engine.fetch("SELECT pg_backend_pid()")
        limit_calls("0.2")
        call = asyncio.create_task(engine.fetch("SELECT pg_backend_pid()"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.5)
        assert [tuple(each) for each in await call] == [(pid,)]
        limit_calls(FOR_EVER)
        assert [tuple(each) for each in await engine.fetch("SELECT pg_backend_pid()")] == [(pid,)]


async def test_an_old_connection_that_does_not_answer_is_replaced(
    scratch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "RENEWAL_INTERVAL_SECONDS", 0.01)
    monkeypatch.setattr(pool_module, "GRACE_SECONDS", 0.1)
    proxy = Proxy(scratch_url)
    async with proxy.running() as address, connect(address, max_size=1) as connected:
        proxy.freeze(new=False)
        monkeypatch.setattr(pool_module, "MAX_IDLE_SECONDS", 0)
        assert connected.pool is not None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while connected.pool.get_size():
                await asyncio.sleep(0.01)
            await engine.fetch("SELECT 1")


# A server without room


@pytest.fixture
async def limited_url(scratch_url: str) -> AsyncIterator[str]:
    """Yield the URL for a role that may have two connections."""
    role = f"test_{secrets.token_hex(8)}"
    await run_sql(
        scratch_url,
        f"CREATE ROLE {role} LOGIN PASSWORD '{role}' CONNECTION LIMIT 2",
        f"GRANT ALL ON scratch TO {role}",
    )
    parts = urlsplit(scratch_url)
    host = parts.netloc.rpartition("@")[2]
    yield urlunsplit(parts._replace(netloc=f"{role}:{role}@{host}"))
    await run_sql(scratch_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_callers_wait_in_order_when_the_role_has_fewer_connections_than_the_pool(
    limited_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "FULL_PAUSE_SECONDS", TIMEOUT_SECONDS)
    served: list[int] = []

    async def call(pool: ConnectionPool, number: int) -> None:
        connection = await pool.acquire()
        served.append(number)
        await connection.execute("SELECT pg_sleep(0.01)")
        pool.release(connection, clean=True)

    async with connect(limited_url, max_size=10) as connected, asyncio.timeout(TIMEOUT_SECONDS):
        pool = connected.pool
        assert pool is not None
        # The first ten open connections, and the server refuses all but two.
        await asyncio.gather(*(call(pool, number) for number in range(40)))
        assert sorted(served) == list(range(40))
        served.clear()
        await asyncio.gather(*(call(pool, number) for number in range(40)))
        assert served == list(range(40))
        assert pool.get_size() == pool.get_idle_size() == 2


async def test_a_caller_whom_the_server_refused_a_connection_keeps_its_place(
    limited_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "FULL_PAUSE_SECONDS", TIMEOUT_SECONDS)
    connector, refused = Connector(dsn=limited_url), asyncio.Event()

    async def open_connection() -> asyncpg.Connection:
        try:
            return await connector.open()
        except asyncpg.TooManyConnectionsError:
            asyncio.get_running_loop().call_soon(refused.set)
            raise

    pool = ConnectionPool(open_connection, min_size=2, max_size=3, acquire_timeout=TIMEOUT_SECONDS)
    await pool.open()
    held, other = [await pool.acquire() for _ in range(2)]
    first, second = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await refused.wait()
    for waiting in (first, second):
        pool.release(held, clean=True)
        assert await waiting is held
    for connection in (held, other):
        pool.release(connection, clean=True)
    await pool.close(TIMEOUT_SECONDS)


async def test_a_call_without_hope_of_a_connection_is_told_why(
    limited_url: str, limit_calls: Callable[..., None]
) -> None:
    others = [await asyncpg.connect(limited_url) for _ in range(2)]
    async with connect(limited_url, min_size=0) as connected:
        assert connected.pool is not None
        connected.pool.acquire_timeout = 0.5
        with pytest.raises(DatabaseUnavailable, match="accepts no more of them: too many") as full:
            await engine.fetch("SELECT 1")
        assert full.value.retry_after == 1
        # A call that waits gets the room that another program leaves.
        connected.pool.acquire_timeout = TIMEOUT_SECONDS
        call = asyncio.create_task(engine.fetch("SELECT 1"))
        await asyncio.sleep(0.05)
        for other in others:
            await other.close()
        await call


async def test_a_refusal_of_the_past_is_not_the_reason_of_a_later_timeout(
    limited_url: str, limit_calls: Callable[..., None]
) -> None:
    other, proxy = await asyncpg.connect(limited_url), Proxy(limited_url)
    async with proxy.running() as address, connect(address, max_size=4) as connected:
        pool = connected.pool
        assert pool is not None
        held, pool.acquire_timeout = [await pool.acquire()], 0.5
        with pytest.raises(DatabaseUnavailable, match="accepts no more of them"):
            await pool.acquire()
        await other.close()
        pool.acquire_timeout = TIMEOUT_SECONDS
        held.append(await pool.acquire())
        proxy.freeze()
        pool.acquire_timeout = 0.5
        calls = [pool.acquire() for _ in range(4)]
        for end in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(end, DatabaseUnavailable)
            assert "accepts no more" not in str(end)
        for connection in held:
            pool.release(connection, clean=False)


async def until_recovering(url: str) -> None:
    """Wait until a server that has crashed refuses connections; at first it resets them."""
    while True:
        try:
            (await asyncpg.connect(url, timeout=TIMEOUT_SECONDS)).terminate()
        except asyncpg.CannotConnectNowError:
            return
        except CONNECTION_ERRORS:
            pass
        await asyncio.sleep(0.01)


async def test_a_server_that_recovers_from_a_crash_is_asked_again_until_the_time_is_over(
    fault_url: str,
) -> None:
    crashing, stopped = [await asyncpg.connect(fault_url) for _ in range(2)]
    pids = [await each.fetchval("SELECT pg_backend_pid()") for each in (crashing, stopped)]
    async with connect(fault_url, min_size=0) as connected:
        # The server waits for the end of all its processes before it recovers.
        os.kill(pids[1], signal.SIGSTOP)
        os.kill(pids[0], signal.SIGKILL)
        with pytest.raises(asyncpg.PostgresError):
            await crashing.fetch("SELECT pg_sleep(600)")
        await until_recovering(fault_url)
        assert connected.pool is not None
        connected.pool.acquire_timeout = 0.5
        with pytest.raises(DatabaseUnavailable, match="accepts no more of them: the database"):
            await engine.fetch("SELECT 1")
        connected.pool.acquire_timeout = TIMEOUT_SECONDS
        call = asyncio.create_task(engine.fetch("SELECT 1"))
        await asyncio.sleep(0.05)
        os.kill(pids[1], signal.SIGKILL)
        await call
    stopped.terminate()


# What the server does


async def test_the_server_answers_before_the_client_gives_up(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    limit_calls(FOR_EVER, statement_timeout="0.2", lock_timeout="0.1")
    async with locked_by_another(scratch_url), connect(scratch_url, max_size=1):
        [(pid,)] = await engine.fetch("SELECT pg_backend_pid()")
        for statement in ("SELECT pg_sleep(600)", "SELECT pg_advisory_xact_lock(1)"):
            with pytest.raises(DatabaseUnavailable, match="is busy") as busy:
                await engine.fetch(statement)
            assert busy.value.retry_after == 1
        assert [tuple(each) for each in await engine.fetch("SELECT pg_backend_pid()")] == [(pid,)]


@asynccontextmanager
async def locked_by_another(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Lock an advisory lock in another session."""
    other = await asyncpg.connect(url)
    await other.execute("SELECT pg_advisory_lock(1)")
    yield other
    await other.close()


@pytest.mark.parametrize(
    ("call", "acquire", "expected"), [("5", "1", 1), ("5", "4", 4), ("5", "5", 4), ("1", "1", 0.8)]
)
def test_a_call_that_waited_for_its_connection_has_time_for_its_statement(
    limit_calls: Callable[..., None], call: str, acquire: str, expected: float
) -> None:
    limit_calls(call, acquire_timeout=acquire)
    assert acquire_limit() == pytest.approx(expected)


@pytest.mark.faults
async def test_a_pool_with_too_many_callers_serves_some_and_cuts_none(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    """Who waits longest is served next, so each call that is served has little time left."""
    limit_calls("5")
    async with connect(scratch_url, max_size=1):
        [(pid,)] = await engine.fetch("SELECT pg_backend_pid()")
        calls = [engine.fetch("SELECT pg_sleep(0.3)") for _ in range(100)]
        ends = await asyncio.gather(*calls, return_exceptions=True)
        refused = [str(end) for end in ends if isinstance(end, DatabaseUnavailable)]
        assert 0 < len(refused) < 100
        assert all("became free in time" in reason for reason in refused)
        assert [tuple(each) for each in await engine.fetch("SELECT pg_backend_pid()")] == [(pid,)]


@pytest.mark.parametrize(
    ("call", "statement", "lock", "expected"),
    [
        ("5", "4", "3", ("4000ms", "3000ms")),
        ("1", "1", "1", ("800ms", "800ms")),
        ("5", "0", "0", ("0ms", "0ms")),
        ("1", "0.0001", "0.0001", ("1ms", "1ms")),
    ],
)
def test_the_limits_of_the_server_are_shorter_than_the_one_of_a_call(
    limit_calls: Callable[..., None],
    call: str,
    statement: str,
    lock: str,
    expected: tuple[str, str],
) -> None:
    limit_calls(call, statement_timeout=statement, lock_timeout=lock)
    assert tuple(server_limits(is_long=False).values()) == expected


async def test_the_server_ends_a_statement_whose_connection_is_cut(scratch_url: str) -> None:
    async with locked_by_another(scratch_url) as other, connect(scratch_url, max_size=1):
        call = asyncio.create_task(engine.fetch("SELECT pg_advisory_xact_lock(1)"))
        await until_waiting(other)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until_sessions(other, "count(*) FILTER (WHERE state = 'active') = 0")


async def test_the_server_watches_for_clients_that_are_gone(scratch_url: str) -> None:
    async with connect(scratch_url):
        found = await engine.fetch(
            "SELECT name, reset_val || coalesce(unit, '') FROM pg_settings"
            " WHERE name LIKE 'tcp%' OR name LIKE 'client_connection%'"
        )
        assert dict(map(tuple, found)) == {
            "client_connection_check_interval": "1000ms",
            "tcp_keepalives_idle": "10s",
            "tcp_keepalives_interval": "5s",
            "tcp_keepalives_count": "3",
            "tcp_user_timeout": "25000ms",
        }


async def test_a_statement_is_neither_compiled_nor_split_among_processes(scratch_url: str) -> None:
    async with connect(scratch_url):
        found = await engine.fetch(
            "SELECT name, setting FROM pg_settings"
            " WHERE name IN ('jit', 'max_parallel_workers_per_gather')"
        )
        assert dict(map(tuple, found)) == {"jit": "off", "max_parallel_workers_per_gather": "0"}


@pytest.mark.parametrize(
    ("wanted", "name", "default"),
    [
        (connections.WATCH_SETTINGS, "client_connection_check_interval", "0"),
        (connections.PLAN_SETTINGS, "max_parallel_workers_per_gather", "2"),
    ],
)
async def test_a_server_that_refuses_a_setting_is_used_all_the_same(
    scratch_url: str,
    monkeypatch: pytest.MonkeyPatch,
    wanted: dict[str, str],
    name: str,
    default: str,
) -> None:
    monkeypatch.setitem(wanted, name, "never")
    async with connect(scratch_url):
        [(setting,)] = await engine.fetch(f"SHOW {name}")
        assert setting == default
        await assert_nothing_is_left()


async def test_a_pgbouncer_without_prepared_statements_is_reported(scratch_url: str) -> None:
    async with connect(scratch_url, max_size=1):
        await engine.fetch("SELECT 1")
        await engine.fetch("DEALLOCATE ALL")  # another connection of PgBouncer has none of them
        with pytest.raises(ConfigurationError, match="DIRECTORY_STATEMENT_CACHE_SIZE to 0"):
            await engine.fetch("SELECT 1")


# Long calls


async def limits() -> tuple[str, str]:
    """Return the limits of the server for a statement and for a lock."""
    [(statement, lock)] = await engine.fetch(
        "SELECT current_setting('statement_timeout'), current_setting('lock_timeout')"
    )
    return statement, lock


async def test_a_long_call_has_the_long_limit_inside_and_outside_of_a_transaction(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    limit_calls("5", long_statement_timeout="50", statement_timeout="2", lock_timeout="1")
    short, long = ("2s", "1s"), ("40s", "40s")
    async with connect(scratch_url, max_size=1):
        assert await limits() == short
        with long_running():
            assert await limits() == long
            async with transaction():
                assert await limits() == long
            await Scratch.count()
        assert await limits() == short
        async with transaction():
            assert await limits() == short
            with long_running():
                assert await limits() == long
                async with transaction():
                    await insert(1)
                with pytest.raises(ZeroDivisionError):
                    async with transaction():
                        _ = 1 / 0
            assert await limits() == short
            with pytest.raises(ZeroDivisionError), long_running():
                async with transaction():
                    assert await limits() == long
                    _ = 1 / 0
            assert await limits() == short
            with long_running():
                with pytest.raises(ZeroDivisionError):
                    async with transaction():
                        _ = 1 / 0
                assert await limits() == long
        with long_running():
            async with transaction() as current:
                await current.connection.execute("SET LOCAL lock_timeout = 77")
                assert await limits() == ("40s", "77ms")
        assert await limits() == short


async def test_a_long_call_outlives_the_limit_of_other_calls(
    scratch_url: str, limit_calls: Callable[..., None]
) -> None:
    limit_calls("0.5", long_statement_timeout=FOR_EVER, statement_timeout="0")
    async with connect(scratch_url, max_size=1):
        with pytest.raises(DatabaseUnavailable):
            await engine.fetch("SELECT pg_sleep(0.7)")
        with long_running():
            await engine.fetch("SELECT pg_sleep(0.7)")
            async with transaction() as current:
                with current.limit_time():
                    await current.connection.execute("SELECT pg_sleep(0.1)")
        with pytest.raises(DatabaseUnavailable):
            async with transaction() as current:
                with current.limit_time():
                    await current.connection.execute("SELECT pg_sleep(600)")
        await assert_nothing_is_left()


DAY = date(2026, 1, 31)


async def _import_a_message() -> None:
    author = Author("7", "Ana")
    event = ExportedEvent(
        author, EventType.MESSAGE, "-100", "Room", "1", datetime(2026, 1, 31, tzinfo=UTC)
    )
    await import_history([event], Platform.TELEGRAM)


async def _import_a_member() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        file.write("telegram_id,name,primary_role\n8,Eva,developer\n")
        file.flush()
        await members_csv.import_members(Path(file.name))


LONG_CALLS: dict[str, Callable[[], Awaitable[object]]] = {
    "roll_up": lambda: highlights.roll_up(DAY),
    "verify": lambda: highlights.verify(DAY),
    "export": lambda: privacy.export("#1"),
    "erase": lambda: privacy.erase("#1", actor="Ana"),
    "move_room": lambda: rooms.move_room("telegram", "-1", "-2"),
    "import_history": _import_a_message,
    "import_members": _import_a_member,
    "write_members": lambda: members_csv.write_members(StringIO()),
    "expire_overdue_invitations": jobs.expire_overdue_invitations,
    "roll_up_recent": jobs.roll_up_recent,
    "load_demo": load_demo,
    "migrate": migrate,
}


@pytest.mark.parametrize(
    "name",
    [
        each
        if each in ("roll_up", "erase", "import_history", "load_demo", "migrate")
        else pytest.param(each, marks=pytest.mark.faults)
        for each in LONG_CALLS
    ],
)
async def test_a_long_call_waits_longer_for_a_lock_than_other_calls(
    emptied_database: str, limit_calls: Callable[..., None], name: str
) -> None:
    other = await asyncpg.connect(emptied_database)
    await rows.member(other)
    limit_calls(FOR_EVER, lock_timeout="0.1")
    async with connect(emptied_database, max_size=1) as connected:
        limit_calls("0.2", lock_timeout="0.1", long_statement_timeout=FOR_EVER)
        assert connected.pool is not None
        connected.pool.acquire_timeout = TIMEOUT_SECONDS
        await other.execute(
            f"BEGIN; SELECT pg_advisory_xact_lock({MIGRATION_LOCK_KEY});"
            "LOCK TABLE community_members, member_participation, community_invitations,"
            " directory_rolled_up_days"
        )
        call = asyncio.ensure_future(LONG_CALLS[name]())
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not call.done() and not await other.fetchval(
                "SELECT count(*) FROM pg_locks"
                " WHERE clock_timestamp() - waitstart > interval '0.3 s'"
            ):
                await asyncio.sleep(0.02)
        await other.execute("ROLLBACK")
        # The demo waits for the table of the members, and then finds one.
        is_refused = name == "load_demo"
        with pytest.raises(OperatorError, match="members") if is_refused else nullcontext():
            await call
    await other.close()
