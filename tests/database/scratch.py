"""The table `scratch`, and helpers for the tests of connections and transactions."""

import asyncio
import threading
from typing import Any

import asyncpg
from piccolo.columns import Integer
from piccolo.table import Table

from community_directory.database import engine
from tests.conftest import run_sql

TIMEOUT_SECONDS = 20
"""The time after which anything in these tests counts as stuck."""


class Scratch(Table, tablename="scratch", db=engine):
    """A table whose foreign key COMMIT checks."""

    number = Integer(primary_key=True)
    parent = Integer(null=True, default=None)


async def create_scratch_table(url: str) -> None:
    """Create the table in the database with this URL."""
    await run_sql(
        url,
        "CREATE TABLE scratch (number int PRIMARY KEY,"
        " parent int REFERENCES scratch DEFERRABLE INITIALLY DEFERRED)",
    )


async def insert(number: int, parent: int | None = None) -> None:
    """Insert a row with Piccolo, in the current transaction or on a connection of the pool."""
    await Scratch.insert(Scratch(number=number, parent=parent))


async def fetch_value(url: str, sql: str) -> Any:
    """Return one value, selected on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def committed_numbers(url: str) -> list[int]:
    """Return the numbers in the table that were committed."""
    numbers: list[int] = await fetch_value(
        url, "SELECT coalesce(array_agg(number ORDER BY number), '{}') FROM scratch"
    )
    return numbers


async def count_connections(url: str) -> int:
    """Return the number of connections that the engine has to this database."""
    count: int = await fetch_value(
        url,
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'community_directory'",
    )
    return count


async def cut_connections(url: str) -> None:
    """End every other connection to this database."""
    await run_sql(
        url,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def cut_connections_unnoticed(url: str) -> None:
    """End every connection while the event loop stands still, so that the pool does not notice."""
    other = threading.Thread(target=asyncio.run, args=[cut_connections(url)])
    other.start()
    other.join()


async def assert_nothing_is_left() -> None:
    """Assert that no transaction is open, and that the pool has a connection that works."""
    assert engine.current_transaction.get() is None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        assert [tuple(record) for record in await engine.fetch("SELECT 1")] == [(1,)]
        await Scratch.select()
