"""A primary and its standby, two servers of a test's own."""

import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import asyncpg

from community_directory.database import connect, migrate
from tests.database.failures import add_inviter
from tests.servers import MEMORY, PostgresServer

Pair = tuple[PostgresServer, PostgresServer]
"""A running primary with the schema, and a running standby."""


@asynccontextmanager
async def running_pair(*, is_synchronous: bool = True) -> AsyncIterator[Pair]:
    """Run a primary and a standby, for which each commit waits if the pair is synchronous."""
    directory = Path(tempfile.mkdtemp(prefix="servers-", dir=MEMORY))
    directory.chmod(0o755)
    primary = PostgresServer(directory / "a")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        stack.callback(primary.stop, signal.SIGKILL)
        primary.initialize()
        await primary.start()
        async with connect(primary.url, min_size=0):
            await migrate()
            await add_inviter()
        standby = PostgresServer(directory / "b")
        standby.copy(primary)
        stack.callback(standby.stop, signal.SIGKILL)
        await standby.start()
        if is_synchronous:
            await make_synchronous(primary)
        yield primary, standby


async def make_synchronous(primary: PostgresServer) -> None:
    """Let every commit wait for the standby, and wait until the standby streams."""
    connection = await asyncpg.connect(primary.url)
    await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    await connection.execute("SELECT pg_reload_conf()")
    while not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')"
    ):
        await connection.execute("SELECT pg_sleep(0.05)")
    await connection.close()
