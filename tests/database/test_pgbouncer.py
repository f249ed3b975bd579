"""The helpers work through PgBouncer in transaction mode, configured as the documentation says."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing
from pathlib import Path

import asyncpg
import pytest

from community_directory.database import connect, engine, migrate
from community_directory.errors import ConfigurationError, DatabaseUnavailable
from community_directory.queries import audit, members
from community_directory.settings import load_settings
from tests.conftest import Server, database_name, raw_pool, run_sql
from tests.processes import PROJECT
from tests.queries.test_feed import following, has_place, is_idle
from tests.queries.test_load import run_callers
from tests.servers import PgBouncer, find_pgbouncer, running_pgbouncer
from tests.tables import rows
from tests.waiting import until

PAGE = (PROJECT / "docs/how-to/pgbouncer.md").read_text()
POOL_SIZE = 3
"""The connections of PgBouncer to the server: fewer than a caller has to PgBouncer."""

END_LOCK_HOLDER = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
WHERE locktype = 'advisory'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

StartPgBouncer = Callable[..., PgBouncer]


def documented(language: str) -> str:
    """Return the only block of the page in this language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


@pytest.fixture
def start_pgbouncer(server: Server) -> Iterator[StartPgBouncer]:
    """Yield a function that runs PgBouncer with the documented configuration and further lines."""
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    directory.chmod(0o755)
    with ExitStack() as stack:

        def start(*lines: str) -> PgBouncer:
            pool_size = f"default_pool_size = {POOL_SIZE}"
            configuration = re.sub("default_pool_size = .*", pool_size, documented("ini"))
            configuration += "\n".join(lines)
            return stack.enter_context(running_pgbouncer(directory, server.url, configuration))

        yield start
    shutil.rmtree(directory)


async def assert_sessions_are_clean(url: str) -> None:
    """Assert that no connection of PgBouncer to the server has a setting, lock or table left."""
    left = """
        SELECT 'setting ' || name FROM pg_settings
        WHERE source = 'session' AND setting <> reset_val
            AND name NOT IN ('application_name', 'client_encoding')
        UNION ALL SELECT 'lock' FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
        UNION ALL SELECT 'channel ' || channel FROM pg_listening_channels() AS channel
        UNION ALL SELECT 'table ' || relname FROM pg_class
        WHERE relnamespace = pg_my_temp_schema()
    """
    connections = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(POOL_SIZE)]
    backends = set()
    for connection in connections:
        await connection.execute("BEGIN")  # keeps a connection of the server
        backends.add(await connection.fetchval("SELECT pg_backend_pid()"))
        assert await connection.fetch(left) == []
    assert len(backends) == POOL_SIZE
    for connection in connections:
        await connection.close()


async def apply_documented_limits(url: str) -> None:
    """Run the documented SQL for the role of the tests in this database alone."""
    role = f"ROLE postgres IN DATABASE {database_name(url)}"
    await run_sql(url, documented("sql").replace("ROLE directory", role))


async def assert_helpers_work(url: str, pgbouncer: PgBouncer) -> None:
    """Run thirty callers of every helper on fewer connections of PgBouncer."""
    await apply_documented_limits(url)
    watcher = await asyncpg.connect(url)
    async with connect(pgbouncer.url(url), max_size=20):
        await run_callers(watcher, number_of_callers=30, calls=50)
        connections = await watcher.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"  # autovacuum may be at work
        )
        assert connections == POOL_SIZE
    await watcher.close()
    await assert_sessions_are_clean(pgbouncer.url(url))


async def test_every_helper_works_in_transaction_mode_without_prepared_statements(
    database: str, start_pgbouncer: StartPgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    await assert_helpers_work(database, start_pgbouncer())


async def test_every_helper_works_in_transaction_mode_with_prepared_statements(
    database: str, start_pgbouncer: StartPgBouncer
) -> None:
    _, version = find_pgbouncer()
    if version < (1, 21):
        pytest.skip(f"PgBouncer {version} can't; TEST_PGBOUNCER may name version 1.21 or later")
    lines = [] if version >= (1, 24) else ["max_prepared_statements = 200"]
    await assert_helpers_work(database, start_pgbouncer(*lines))


async def test_one_of_two_followers_tells_the_changes_behind_pgbouncer(
    database: str, start_pgbouncer: StartPgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    # Each of the two holds a connection to the server.
    pgbouncer = start_pgbouncer(f"default_pool_size = {POOL_SIZE + 2}")
    async with connect(pgbouncer.url(database)):
        async with following("bot") as first:
            await until(lambda: is_idle("bot"))
            async with following("bot") as second:
                await members.add(telegram_id=1, name="Ana", primary_role="developer")
                await first.has(1)
                await until(lambda: has_place("bot", 1))
                await first.kill()
                await members.add(telegram_id=2, name="Eva", primary_role="developer")
                await second.has(2)
        assert (first.ids, second.ids) == ([1], [2])
        await assert_sessions_are_clean(pgbouncer.url(database))


async def test_a_follower_that_has_lost_its_lock_behind_pgbouncer_tells_nothing_more(
    database: str, start_pgbouncer: StartPgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    pgbouncer = start_pgbouncer(f"default_pool_size = {POOL_SIZE + 2}")
    async with (
        connect(pgbouncer.url(database)),
        raw_pool(database) as pool,
        aclosing(audit.follow("bot", after=0)) as changes,
    ):
        for number in (1, 2):
            await rows.member(pool, telegram_id=str(number))
        assert (await anext(changes)).id == 1
        assert await pool.fetch(END_LOCK_HOLDER)
        async with following("bot") as second:
            await second.has(1, 2)
            next_change = asyncio.ensure_future(anext(changes))
            assert not (await asyncio.wait({next_change}, timeout=0.5))[0]
            next_change.cancel()
            await asyncio.wait({next_change})


async def test_four_migrators_at_once_work_in_transaction_mode(
    empty_database: str, start_pgbouncer: StartPgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    pgbouncer = start_pgbouncer()
    await apply_documented_limits(empty_database)
    async with connect(pgbouncer.url(empty_database)):
        ran = await asyncio.gather(*(migrate() for _ in range(4)))
    assert sorted(ran)[:3] == [0, 0, 0]
    assert max(ran) > 0
    await assert_sessions_are_clean(pgbouncer.url(empty_database))


async def test_the_limits_of_the_role_apply_behind_pgbouncer(
    database: str, start_pgbouncer: StartPgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    await apply_documented_limits(database)
    async with connect(start_pgbouncer().url(database)):
        for name, value in re.findall(r"SET (\w+) = '?(\w+)", documented("sql")):
            [(shown,)] = await engine.fetch(f"SHOW {name}")
            assert shown == value


async def test_a_caller_is_told_within_seconds_that_every_connection_is_in_use(
    database: str, start_pgbouncer: StartPgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    pgbouncer = start_pgbouncer("query_wait_timeout = 1")
    async with connect(pgbouncer.url(database), min_size=0):
        async with AsyncExitStack() as stack:
            for _ in range(POOL_SIZE):
                busy = await asyncpg.connect(pgbouncer.url(database), statement_cache_size=0)
                stack.push_async_callback(busy.close)
                await busy.execute("BEGIN; SELECT 1")
            async with asyncio.timeout(30):
                with pytest.raises(DatabaseUnavailable):
                    await members.find("#1")
        assert await members.find("#1") is None


async def test_prepared_statements_that_pgbouncer_does_not_support_are_a_wrong_setting(
    database: str, start_pgbouncer: StartPgBouncer
) -> None:
    _, version = find_pgbouncer()
    lines = ["max_prepared_statements = 0"] if version >= (1, 21) else []
    pgbouncer = start_pgbouncer(*lines)
    url = pgbouncer.url(database)
    async with connect(url, min_size=0, max_size=1):
        await members.find("#1")
        # This takes the only connection to the server, on which the statement is prepared.
        other = await asyncpg.connect(url, statement_cache_size=0)
        async with other.transaction():
            with pytest.raises(ConfigurationError, match="DIRECTORY_STATEMENT_CACHE_SIZE to 0"):
                await members.find("#1")
        await other.close()


async def test_settings_that_pgbouncer_does_not_ignore_are_reported_or_can_be_left_out(
    database: str, start_pgbouncer: StartPgBouncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_STATEMENT_CACHE_SIZE", "0")
    pgbouncer = start_pgbouncer("ignore_startup_parameters =")
    with pytest.raises(ConfigurationError, match="ignore_startup_parameters"):
        async with connect(pgbouncer.url(database)):
            pytest.fail("PgBouncer accepted the settings")
    monkeypatch.setenv("DIRECTORY_STATEMENT_TIMEOUT", "0")
    monkeypatch.setenv("DIRECTORY_LOCK_TIMEOUT", "0")
    load_settings.cache_clear()
    async with connect(pgbouncer.url(database)):
        assert await members.find("#1") is None
