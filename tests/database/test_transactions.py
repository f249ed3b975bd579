"""A transaction commits or rolls back completely, and always returns its connection to the pool."""

# ruff: noqa: PT012  a transaction and what fails in it can't be told apart

import asyncio

import asyncpg
import pytest

from community_directory.database import (
    CONNECTION_ERRORS,
    DirectoryEngine,
    connect,
    engine,
    transaction,
)
from community_directory.errors import DatabaseUnavailable, InvalidInput, TransactionFailed
from community_directory.tables import CommunityMember
from tests.database.scratch import (
    TIMEOUT_SECONDS,
    Scratch,
    assert_nothing_is_left,
    committed_numbers,
    cut_connections,
    cut_connections_unnoticed,
    insert,
)


async def test_a_transaction_commits_at_its_end(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    async with transaction():
        await insert(1)
        assert await committed_numbers(scratch_url) == []
    assert await committed_numbers(scratch_url) == [1]
    await assert_nothing_is_left()


async def test_an_exception_rolls_everything_back_and_is_passed_on(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction():
            await insert(1)
            _ = 1 / 0
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_a_failed_statement_rolls_everything_back(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(asyncpg.UniqueViolationError):
        async with transaction():
            await insert(1)
            await insert(1)
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


@pytest.mark.parametrize(
    "statement", ["SELECT pg_sleep(60)", None], ids=["in a statement", "between statements"]
)
async def test_a_cancelled_task_rolls_back(
    single_connection: DirectoryEngine, scratch_url: str, statement: str | None
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
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_tasks_cancelled_at_any_moment_leave_nothing_behind(
    single_connection: DirectoryEngine, scratch_url: str
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
        await assert_nothing_is_left()
    assert await committed_numbers(scratch_url) == []


async def test_a_failed_commit_is_reported_and_returns_the_connection(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(InvalidInput):
        async with transaction():
            await insert(1, parent=2)
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_a_commit_on_a_cut_connection_is_reported_and_returns_the_connection(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with transaction():
            await insert(1)
            await cut_connections(scratch_url)
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_a_statement_on_a_cut_connection_is_reported_and_returns_the_connection(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(CONNECTION_ERRORS):
        async with transaction():
            await insert(1)
            await cut_connections(scratch_url)
            await insert(2)
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_an_exception_is_not_hidden_by_a_cut_connection(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction():
            await cut_connections(scratch_url)
            _ = 1 / 0
    await assert_nothing_is_left()


async def test_an_exception_in_a_savepoint_is_not_hidden_by_a_cut_connection(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction(), transaction():
            await cut_connections(scratch_url)
            _ = 1 / 0
    await assert_nothing_is_left()


async def test_a_connection_that_dies_before_begin_is_returned(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    cut_connections_unnoticed(scratch_url)
    with pytest.raises(DatabaseUnavailable):
        async with transaction():
            pytest.fail("there is no transaction")
    await assert_nothing_is_left()


async def test_a_connection_that_dies_after_commit_changes_nothing(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    async with transaction() as current:
        await insert(1)
        await current.commit()
        cut_connections_unnoticed(scratch_url)
    assert await committed_numbers(scratch_url) == [1]
    await assert_nothing_is_left()


async def test_an_explicit_commit_stays(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction() as current:
            await insert(1)
            await current.commit()
            _ = 1 / 0
    assert await committed_numbers(scratch_url) == [1]
    await assert_nothing_is_left()


async def test_an_explicit_commit_that_fails_returns_the_connection(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(InvalidInput):
        async with transaction() as current:
            await insert(1, parent=2)
            await current.commit()
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_an_explicit_rollback_undoes_everything(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    async with transaction() as current:
        await insert(1)
        await current.rollback()
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_an_inner_failure_undoes_the_inner_writes_only(
    single_connection: DirectoryEngine, scratch_url: str
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
    assert await committed_numbers(scratch_url) == [1, 4]
    await assert_nothing_is_left()


async def test_an_outer_failure_undoes_the_inner_success(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with transaction():
            async with transaction():
                await insert(1)
            _ = 1 / 0
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_transactions_nest_to_any_depth(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
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
    assert await committed_numbers(scratch_url) == [1, 4]
    await assert_nothing_is_left()


async def test_an_inner_transaction_can_be_rolled_back_explicitly(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    async with transaction():
        await insert(1)
        async with transaction() as inner:
            await insert(2)
            await inner.rollback()
    assert await committed_numbers(scratch_url) == [1]
    await assert_nothing_is_left()


async def test_a_savepoint_that_cannot_begin_leaves_the_outer_transaction_as_it_was(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    with pytest.raises(TransactionFailed):
        async with transaction() as outer:
            with pytest.raises(asyncpg.UniqueViolationError):
                await outer.connection.execute("INSERT INTO scratch VALUES (1), (1)")
            async with transaction():
                pytest.fail("there is no savepoint")
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_queries_of_piccolo_and_asyncpg_share_a_transaction(
    single_connection: DirectoryEngine, scratch_url: str
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
    assert await committed_numbers(scratch_url) == [1, 2]
    await assert_nothing_is_left()


async def test_nothing_is_written_after_an_explicit_rollback(
    single_connection: DirectoryEngine, scratch_url: str
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
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_a_transaction_with_a_failed_statement_does_not_seem_to_commit(
    single_connection: DirectoryEngine, scratch_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TransactionFailed, match="earlier statement"):
        async with transaction():
            await insert(1)
            with pytest.raises(asyncpg.UniqueViolationError):
                await insert(1)
    await assert_nothing_is_left()
    with pytest.raises(TransactionFailed, match="earlier statement"):
        async with transaction() as current:
            with pytest.raises(InvalidInput):
                await engine.fetch("INSERT INTO scratch VALUES (1), (1)")
            await current.commit()
    assert (await committed_numbers(scratch_url), caplog.messages) == ([], [])
    await assert_nothing_is_left()


async def test_a_savepoint_with_a_failed_statement_leaves_the_outer_transaction_as_it_was(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    async with transaction():
        await insert(1)
        with pytest.raises(TransactionFailed, match="earlier statement"):
            async with transaction():
                await insert(2)
                with pytest.raises(asyncpg.UniqueViolationError):
                    await insert(1)
        await insert(3)
    assert await committed_numbers(scratch_url) == [1, 3]
    await assert_nothing_is_left()


async def test_a_savepoint_that_outlives_its_transaction_is_refused(scratch_url: str) -> None:
    inside, ended = asyncio.Event(), asyncio.Event()

    async def late() -> None:
        async with transaction():
            inside.set()
            await ended.wait()
            await insert(1)

    async with connect(scratch_url, max_size=1):
        with pytest.raises(TransactionFailed, match="Two calls run at once"):
            async with transaction():
                task = asyncio.create_task(late())
                await inside.wait()
        ended.set()
        with pytest.raises(TransactionFailed, match="around this savepoint has ended"):
            await task
        await assert_nothing_is_left()
    assert await committed_numbers(scratch_url) == []


async def test_a_task_that_outlives_its_transaction_uses_the_pool(scratch_url: str) -> None:
    go_on = asyncio.Event()

    async def late(number: int) -> None:
        await go_on.wait()
        assert engine.transaction_exists() is False
        await insert(number)
        async with transaction():
            await insert(number + 1)
        await engine.fetch("SELECT 1")

    async with connect(scratch_url):
        with pytest.raises(ZeroDivisionError):
            async with transaction():
                async with transaction():
                    task = asyncio.create_task(late(1))
                _ = 1 / 0
        go_on.set()
        await task
    assert await committed_numbers(scratch_url) == [1, 2]


async def test_two_calls_at_once_in_one_transaction_are_refused(
    single_connection: DirectoryEngine, scratch_url: str
) -> None:
    async def in_a_savepoint(number: int) -> None:
        async with transaction():
            await insert(number)

    with pytest.raises(TransactionFailed, match="Two calls run at once"):
        async with transaction():
            await asyncio.gather(insert(1), insert(2))
    await assert_nothing_is_left()
    with pytest.raises(TransactionFailed, match="Two calls run at once"):
        async with transaction():
            await asyncio.gather(in_a_savepoint(3), in_a_savepoint(4))
    assert await committed_numbers(scratch_url) == []
    await assert_nothing_is_left()


async def test_a_call_of_another_task_that_runs_at_the_end_is_refused(
    scratch_url: str,
) -> None:
    async def late() -> None:
        await engine.fetch("SELECT pg_sleep(60)")

    async with connect(scratch_url, max_size=1):
        with pytest.raises(TransactionFailed, match="Two calls run at once"):
            async with transaction():
                await insert(1)
                task = asyncio.create_task(late())
                await asyncio.sleep(0.05)
        with pytest.raises(TransactionFailed, match="ended during this call"):
            await task
        await assert_nothing_is_left()
    assert await committed_numbers(scratch_url) == []


async def test_many_transactions_share_few_connections(scratch_url: str) -> None:
    async def work(number: int) -> None:
        async with transaction() as current:
            await insert(number)
            await current.connection.execute("SELECT pg_sleep(0.005)")

    async with connect(scratch_url, max_size=3):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await asyncio.gather(*(work(number) for number in range(40)))
        await assert_nothing_is_left()
    assert await committed_numbers(scratch_url) == list(range(40))


async def test_queries_outside_of_a_transaction_run_side_by_side(directory: asyncpg.Pool) -> None:
    counts = await asyncio.gather(*(CommunityMember.count() for _ in range(20)))
    assert counts == [0] * 20
