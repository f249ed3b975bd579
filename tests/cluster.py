"""A real Citus cluster for the tests: CITUS_POSTGRES_URL names a database of its coordinator.

The role of the URL is a superuser who reaches every node without a password, and the workers are
those that this database knows. With the variable, the databases of all tests are distributed:
`CITUS_POSTGRES_URL=... pytest tests/queries` runs the helpers on the cluster.
"""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from community_directory.citus import read_script
from tests import roles
from tests.servers import find_or_skip

CLUSTER_URL = os.environ.get("CITUS_POSTGRES_URL")
"""The URL of a database of the coordinator; None if there is no cluster."""
LIST_WORKERS = """
SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 AND isactive ORDER BY nodeid
"""
FIND_COORDINATOR = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid = 0"


@asynccontextmanager
async def ordinary_database() -> AsyncIterator[str]:
    """Create a database without Citus on the coordinator, yield its URL, and drop it.

    Roles that are created in it stay on the coordinator.
    """
    assert CLUSTER_URL is not None
    name = f"{roles.PREFIX}_server"
    await run(CLUSTER_URL, f"CREATE DATABASE {name}")
    yield with_database(CLUSTER_URL, name)
    await run(CLUSTER_URL, f"DROP DATABASE {name} WITH (FORCE)")


async def distribute(url: str) -> None:
    """Distribute the tables of a migrated database, whose roles exist on the coordinator."""
    name = urlsplit(url).path[1:]
    workers = await list_workers()
    for worker in workers:
        await run(worker, f"CREATE DATABASE {name}")
        await run(with_database(worker, name), "CREATE EXTENSION citus")
    async with session(url) as coordinator:
        await coordinator.execute("CREATE EXTENSION citus")
        [(host, port)] = await fetch(FIND_COORDINATOR)
        await coordinator.fetch("SELECT citus_set_coordinator_host($1, $2)", host, port)
        for worker in workers:
            parts = urlsplit(worker)
            await coordinator.fetch("SELECT citus_add_node($1, $2)", parts.hostname, parts.port)
    run_script(url, "distribute")
    for worker in workers:
        await run(worker, roles.make_login_script(roles.PROGRAM, "app"))


def run_script(url: str, name: Literal["distribute", "undistribute"]) -> None:
    """Run a script of the recipe as an operator does."""
    psql = find_or_skip("psql", "/usr/lib/postgresql/15/bin", variable="PSQL")
    options = [
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--single-transaction",
        "--file=-",
    ]
    subprocess.run(
        [psql, url, *options],
        input=read_script(name).encode(),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=300,
    )


async def drop(name: str) -> None:
    """Drop a database on the workers."""
    for worker in await list_workers():
        await run(worker, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def list_workers() -> list[str]:
    """Return the URLs of the workers."""
    assert CLUSTER_URL is not None
    parts = urlsplit(CLUSTER_URL)
    login = parts.netloc.rpartition("@")[0]
    return [
        urlunsplit(parts._replace(netloc=f"{login}@{host}:{port}"))
        for host, port in await fetch(LIST_WORKERS)
    ]


def with_database(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def fetch(query: str) -> list[asyncpg.Record]:
    """Return the rows of a query in the database of CITUS_POSTGRES_URL."""
    assert CLUSTER_URL is not None
    async with session(CLUSTER_URL) as connection:
        records: list[asyncpg.Record] = await connection.fetch(query)
    return records


async def run(url: str, statement: str) -> None:
    """Run a statement on a connection of its own."""
    async with session(url) as connection:
        await connection.execute(statement)


@asynccontextmanager
async def session(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a connection of its own with this URL, and close it."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
