"""The change feed while servers and followers are killed; `make faults` runs most of these."""

import asyncio
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from community_directory.database import connect, migrate
from community_directory.queries import audit
from tests.conftest import Server, raw_pool
from tests.database.pairs import running_pair
from tests.processes import PROJECT, environment
from tests.queries.test_feed import (
    CountingWriters,
    Reader,
    add_counted_members,
    assert_complete,
    following,
    has_place,
    is_idle,
    newest_id,
    restore_copy,
)
from tests.servers import PostgresServer
from tests.tables import rows
from tests.waiting import until

pytestmark = pytest.mark.faults

FOLLOW = """
import asyncio, sys
from community_directory.database import connect
from community_directory.queries import audit

async def main():
    async with connect(min_size=0):
        async for change in audit.follow("bot", after=0):
            print(change.id, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def folder(server: Server) -> Iterator[Path]:
    """Yield a directory for servers; the server of the session has opened its programs."""
    path = Path(tempfile.mkdtemp(prefix="servers-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def running(path: Path, **settings: str) -> AsyncIterator[PostgresServer]:
    """Run a server with the schema."""
    server = PostgresServer(path, settings=settings)
    with ExitStack() as stack:
        stack.callback(server.stop, signal.SIGKILL)
        server.initialize()
        await server.start()
        async with connect(server.url, min_size=0):
            await migrate()
        yield server


async def tell_until_killed(url: str, seconds: float) -> list[int]:
    """Follow the changes in a process of its own, kill it, and return the ids that it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FOLLOW),
        cwd=PROJECT,
        env=environment(POSTGRES_URL=url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout
    told = []
    try:
        async with asyncio.timeout(60):
            told.append(int(await process.stdout.readline()))
        await asyncio.sleep(seconds)
    finally:
        process.kill()
    rest, _ = await process.communicate()
    # The last line may be cut off.
    return told + [int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]


async def test_a_killed_process_misses_nothing(database: str) -> None:
    chance = random.Random(5)
    async with connect(database, min_size=0), raw_pool(database) as pool:
        await add_counted_members(pool)
        writing = asyncio.create_task(CountingWriters(database, chance).run(50, 60))
        told: list[int] = []
        deaths = 0
        while not writing.done():
            told += await tell_until_killed(database, chance.random())
            deaths += 1
        await writing
        newest = await newest_id(pool)
        async with following("bot") as reader:
            await until(lambda: has_place("bot", newest))
        told += reader.ids
        all_ids = [row["id"] for row in await pool.fetch("SELECT id FROM directory_audit_log")]
    assert list(dict.fromkeys(told)) == sorted(all_ids)
    assert len(told) - len(all_ids) <= deaths


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_follower_continues_when_its_server_is_back(
    folder: Path, number: signal.Signals
) -> None:
    async with (
        running(folder / "a") as server,
        connect(server.url, min_size=0),
        following("bot") as reader,
    ):
        for _ in range(3):
            async with raw_pool(server.url) as pool:
                await rows.member(pool)
                await reader.has(await newest_id(pool))
            server.stop(number)
            await server.start()
        async with raw_pool(server.url) as pool:
            await rows.member(pool)
            await reader.has(await newest_id(pool))
            ids = [row["id"] for row in await pool.fetch("SELECT id FROM directory_audit_log")]
    assert_complete(reader.told, sorted(ids), repeats=6)


async def test_a_follower_goes_on_with_the_promoted_standby(folder: Path) -> None:
    async with running_pair() as (primary, standby):
        url = f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
        async with connect(url, min_size=0), following("bot") as reader:
            async with raw_pool(primary.url) as pool:
                await rows.member(pool)
                await reader.has(await newest_id(pool))
            primary.stop(signal.SIGKILL)
            standby.promote()
            connection = await asyncpg.connect(standby.url)
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            await connection.execute("SELECT pg_reload_conf()")
            await connection.close()
            async with raw_pool(standby.url) as pool:
                await rows.member(pool)
                await reader.has(await newest_id(pool))
                ids = [row["id"] for row in await pool.fetch("SELECT id FROM directory_audit_log")]
    # The primary had not sent the confirmations of the last half second.
    assert_complete(reader.told, sorted(ids), repeats=3)


async def test_a_standby_tells_nothing_until_it_is_promoted(folder: Path) -> None:
    async with running_pair(is_synchronous=False) as (primary, standby):
        async with raw_pool(primary.url) as pool:
            await rows.member(pool)
        async with connect(f"{standby.url}?target_session_attrs=any", min_size=0):
            reader = Reader("bot", after=0)
            await asyncio.sleep(3)  # it has tried several times
            assert reader.told == []
            primary.stop(signal.SIGKILL)
            standby.promote()
            await reader.has(1)
            await reader.kill()


async def test_a_transaction_that_is_committed_in_two_phases_is_not_missed(folder: Path) -> None:
    async with (
        running(folder / "a", max_prepared_transactions="2") as server,
        connect(server.url, min_size=0),
        raw_pool(server.url) as pool,
        pool.acquire() as notifier,
        pool.acquire() as writer,
        following("bot") as reader,
    ):
        await until(lambda: is_idle("bot"))
        # A transaction that notifies can't be prepared.
        await notifier.execute("SELECT pg_advisory_lock(1717921124)")
        await writer.execute("BEGIN")
        await rows.member(writer)
        await rows.member(pool, telegram_id="77")
        await asyncio.sleep(1.5)  # the follower waits for the transaction by its name
        await writer.execute("PREPARE TRANSACTION 'late'")
        await asyncio.sleep(1.5)
        assert reader.told == []
        await writer.execute("COMMIT PREPARED 'late'")
        await reader.has(1, 2)
        await notifier.execute("SELECT pg_advisory_unlock(1717921124)")
    assert reader.ids == [1, 2]


async def test_a_directory_that_is_restored_into_another_server_misses_nothing(
    folder: Path,
) -> None:
    async with running(folder / "a") as old:
        async with connect(old.url, min_size=0), raw_pool(old.url) as pool:
            for _ in range(5_000):  # the numbers of transactions are far ahead of the new server's
                await pool.execute("SELECT pg_current_xact_id()")
            await add_counted_members(pool)
            async with aclosing(audit.follow("bot", after=0)) as changes:
                told = [await anext(changes) for _ in range(4)]
        new = PostgresServer(folder / "b")
        with ExitStack() as stack:
            stack.callback(new.stop, signal.SIGKILL)
            new.initialize()
            await new.start()
            await restore_copy(old.url, new.url)
            async with connect(new.url, min_size=0), raw_pool(new.url) as pool:
                await rows.member(pool, telegram_id="77")
                async with following("bot", after=None) as reader:
                    await reader.has(9)
    assert_complete([*told, *reader.told], [*range(1, 10)], repeats=1)
