"""The recorder: each event is stored once or reported, even if the database or the caller fails."""

# ruff: noqa: PT012  what the end of a block raises can't be told apart from the block

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg
import pytest

from community_directory.database import connect, engine
from community_directory.errors import DatabaseUnavailable, InvalidInput, NotConnected
from community_directory.queries import participation, recorder
from community_directory.queries.participation import (
    NewEvent,
    Recorder,
    RecorderFull,
    RecorderGaveUp,
)
from community_directory.settings import load_settings
from tests.conftest import Server, new_database
from tests.queries.cases import all_idle, undone
from tests.queries.test_participation import COUNT, NOON, blocked, message
from tests.tables import rows
from tests.waiting import until, until_waiting

SECONDS = 20
"""How long anything here may take before it counts as stuck."""
FOR_EVER = 3600.0
INSERT = (
    "INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id)"
    " VALUES ('#1', 'MESSAGE', 'telegram', '-100', $1)"
)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MIN_RETRY_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(recorder, "MAX_RETRY_PAUSE_SECONDS", 0.05)


class Proxy:
    """Stands between the pool and the server, and fails as a network does."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._query = {name: values[0] for name, values in parse_qs(self._parts.query).items()}
        self._pumps: set[asyncio.Task[None]] = set()
        self.is_up = True
        self.is_silent = False
        """What the server answers is lost."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """The URL of the database behind the proxy."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        user, _, _ = self._parts.netloc.rpartition("@")
        port = server.sockets[0].getsockname()[1]
        try:
            yield urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{port}", query=""))
        finally:
            server.close()
            await self.go_down()

    async def go_down(self) -> None:
        """Cut every connection, and accept no other one."""
        self.is_up = False
        for pump in self._pumps.copy():
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def come_back(self) -> None:
        self.is_up, self.is_silent = True, False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_up:
            writer.close()
            return
        host = self._query.get("host") or self._parts.hostname
        port = int(self._query.get("port") or self._parts.port or 5432)
        if host and host.startswith("/"):
            answers, questions = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            answers, questions = await asyncio.open_connection(host, port)
        for source, target, is_answer in ((reader, questions, False), (answers, writer, True)):
            pump = asyncio.create_task(self._pump(source, target, is_answer=is_answer))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                if not (is_answer and self.is_silent):
                    target.write(data)
        except ConnectionError:
            pass
        finally:
            target.close()


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Proxy]:
    """The helpers are connected to the database, with #1, through this."""
    proxy = Proxy(database)
    async with proxy.running() as url, connect(url, min_size=0):
        connection = await asyncpg.connect(database)
        await rows.member(connection)
        await connection.close()
        yield proxy
        proxy.come_back()


@pytest.fixture
async def onlooker(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def all_ready_tasks_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def until_stored(opened: Recorder, number: int) -> None:
    await until(lambda: opened.stored == number)


def messages(number: int, **fields: Any) -> list[NewEvent]:
    return [message(str(n), **fields) for n in range(number)]


def ids_of(events: list[NewEvent]) -> list[str | int | None]:
    return [event.source_id for event in events]


def add_all(opened: Recorder, events: list[NewEvent]) -> None:
    for event in events:
        opened.add(event)


@contextmanager
def no_flush_by_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(recorder, "FLUSH_AFTER_SECONDS", FOR_EVER)
        yield


# What becomes of an event


async def test_an_event_is_stored_soon_without_a_flush(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    async with participation.recorder() as opened:
        opened.add(message("1", metadata={"length": 5}))
        await until_stored(opened, 1)
        [event] = (await participation.history("#1")).items
        assert (event.source_id, event.metadata) == ("1", {"length": 5})


async def test_a_batch_is_sent_at_once_when_two_hundred_events_wait(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    with no_flush_by_time(monkeypatch):
        async with participation.recorder() as opened:
            for stored in (0, 200):
                add_all(opened, [message()] * 199)
                await all_ready_tasks_run()
                assert all_idle()
                assert opened.stored == stored
                opened.add(message())
                await until_stored(opened, stored + 200)


async def test_flushing_stores_what_was_added(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    with no_flush_by_time(monkeypatch):
        async with participation.recorder() as opened:
            await opened.flush()
            add_all(opened, messages(3))
            await asyncio.gather(opened.flush(), opened.flush())
            assert await directory.fetchval(COUNT) == opened.stored == 3
            add_all(opened, messages(2500))
            await opened.flush()
            assert (opened.stored, opened.duplicates) == (2500, 3)


async def test_the_end_of_the_block_stores_what_was_added(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    with no_flush_by_time(monkeypatch):
        async with participation.recorder() as opened:
            opened.add(message())
    assert await directory.fetchval(COUNT) == opened.stored == 1
    assert opened.unsaved == []


async def test_every_event_is_counted_once_and_a_bad_one_does_not_stop_the_others(
    directory: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    await rows.member(directory)
    await participation.record_many(messages(2))
    bad = message("bad", platform="Telegram")
    async with participation.recorder() as opened:
        add_all(opened, [*messages(100), bad, message("x", member_id="#99"), *messages(200)[100:]])
    assert (opened.stored, opened.duplicates, opened.unknown, opened.refused) == (198, 2, 1, 1)
    assert (opened.dropped, opened.retried, opened.unsaved) == (0, 0, [])
    assert await directory.fetchval(COUNT) == 200
    [line] = [each.message for each in caplog.records if each.name == recorder.__name__]
    assert line == (
        "An event of member #1 was refused: A platform must be a lower-case name such as telegram."
    )


async def test_add_refuses_an_event_that_fails_its_checks(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    async with participation.recorder() as opened:
        with pytest.raises(InvalidInput) as refused:
            opened.add(message("x" * 256))
        assert (refused.value.field, refused.value.limit) == ("source_id", 255)
    assert await directory.fetchval(COUNT) == 0


async def test_a_rollback_of_the_caller_does_not_undo_the_events(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    async with undone(), participation.recorder() as opened:
        opened.add(message())
        await opened.flush()
        assert await directory.fetchval(COUNT) == 1
        opened.add(message())
    assert await directory.fetchval(COUNT) == 2


# The database is away


async def test_events_are_stored_when_the_server_is_back(
    proxy: Proxy, onlooker: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with participation.recorder() as opened:
        await proxy.go_down()
        add_all(opened, [message("1"), message(), message()])
        await until(lambda: opened.retried >= 9)
        assert opened.stored == 0
        proxy.come_back()
        await opened.flush()
        assert (opened.stored, opened.duplicates, opened.unsaved) == (3, 0, [])
    assert await onlooker.fetchval(COUNT) == 3
    [line] = [each for each in caplog.records if each.name == recorder.__name__]
    assert line.message.startswith("3 events were not stored yet: DatabaseUnavailable")


async def test_a_commit_whose_answer_is_lost_is_counted_once(
    proxy: Proxy, onlooker: asyncpg.Connection
) -> None:
    async with participation.recorder() as opened:
        opened.add(message("first"))
        await opened.flush()
        await participation.record(**fields(message("there")))
        proxy.is_silent = True
        add_all(opened, [message("1"), message(), message(), message("there")])
        await until(lambda: is_count(onlooker, 5))
        await proxy.go_down()
        proxy.come_back()
        await opened.flush()
        assert (opened.stored, opened.duplicates, opened.retried) == (4, 1, 4)
    assert await onlooker.fetchval(COUNT) == 5


async def test_an_attempt_that_still_runs_on_the_server_is_counted_once(
    proxy: Proxy, database: str, onlooker: asyncpg.Connection
) -> None:
    async with participation.recorder() as opened:
        async with blocked(database, INSERT, "1") as other:
            add_all(opened, [message("1"), message(), message()])
            await until_waiting(other)
            await proxy.go_down()
            proxy.come_back()
            await until_waiting(other, 2)
        await opened.flush()
        assert (opened.stored, opened.duplicates, opened.retried) == (3, 0, 3)
    assert await onlooker.fetchval(COUNT) == 3


async def test_an_attempt_that_takes_too_long_is_cancelled_and_repeated(
    database: str, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    monkeypatch.setattr(recorder, "TRY_TIMEOUT_SECONDS", 0.1)
    async with participation.recorder() as opened:
        async with blocked(database, "SELECT FROM community_members FOR UPDATE"):
            opened.add(message())
            await until(lambda: opened.retried >= 2)
            assert opened.stored == 0
        monkeypatch.setattr(recorder, "TRY_TIMEOUT_SECONDS", SECONDS)
    assert opened.stored == 1


async def test_an_unexpected_error_loses_no_event(
    database: str, directory: asyncpg.Pool, onlooker: asyncpg.Connection
) -> None:
    await rows.member(directory)
    async with participation.recorder() as opened:
        await onlooker.execute("ALTER TABLE member_participation RENAME TO elsewhere")
        opened.add(message())
        await until(lambda: opened.retried >= 2)
        await onlooker.execute("ALTER TABLE elsewhere RENAME TO member_participation")
    assert (opened.stored, opened.unsaved) == (1, [])


# What can't be stored is handed back


async def test_events_that_cannot_be_stored_are_handed_back_in_order(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    events = messages(1500)
    with pytest.raises(RecorderGaveUp) as gave_up:
        async with participation.recorder(give_up_after=0) as opened:
            await proxy.go_down()
            add_all(opened, events)
            await opened.flush()
            assert ids_of(opened.unsaved) == ids_of(events)
            assert opened.stored == 0
            assert opened.retried == 1000  # the others could not be, and were not tried
    assert ids_of(gave_up.value.events) == ids_of(events)
    assert isinstance(gave_up.value.__cause__, DatabaseUnavailable)
    told = [
        (each.levelname, each.message.partition(":")[0])
        for each in caplog.records
        if each.name == recorder.__name__
    ]
    assert told == [
        ("WARNING", "1,500 events were not stored yet"),
        ("ERROR", "1,500 events were given up"),
    ]
    proxy.come_back()
    recorded = await participation.record_many(gave_up.value.events)
    assert ids_of(recorded.inserted) == ids_of(events)


async def test_only_events_that_wait_too_long_are_handed_back(proxy: Proxy) -> None:
    async with participation.recorder(give_up_after=FOR_EVER) as opened:
        await proxy.go_down()
        add_all(opened, messages(3))
        opened._pending[0].added_at -= FOR_EVER
        opened._pending[1].added_at -= FOR_EVER
        await until(lambda: len(opened.unsaved) == 2 and opened.retried >= 5)
        assert ids_of(opened.unsaved) == ids_of(messages(2))
        opened.unsaved.clear()  # the caller keeps them elsewhere
        proxy.come_back()
    assert opened.stored == 1


async def test_recording_goes_on_after_events_were_handed_back(proxy: Proxy) -> None:
    with pytest.raises(RecorderGaveUp) as gave_up:
        async with participation.recorder(give_up_after=0) as opened:
            await proxy.go_down()
            opened.add(message("1"))
            await opened.flush()
            proxy.come_back()
            opened.add(message("2"))
            await opened.flush()
            assert opened.stored == 1
    assert ids_of(gave_up.value.events) == ids_of([message("1")])


async def test_a_full_recorder_drops_an_event_and_says_so(
    database: str, directory: asyncpg.Pool
) -> None:
    await rows.member(directory)
    async with participation.recorder(max_pending=3) as opened:
        async with blocked(database, "SELECT FROM community_members FOR UPDATE"):
            add_all(opened, messages(3))
            for n in (1, 2):
                with pytest.raises(RecorderFull) as full:
                    opened.add(message("4"))
                assert (full.value.limit, full.value.code, opened.dropped) == (
                    3,
                    "recorder_full",
                    n,
                )
        await opened.flush()
        opened.add(message("5"))
    assert opened.stored == 4


async def test_unsaved_events_fill_the_recorder_until_they_are_taken(proxy: Proxy) -> None:
    async with participation.recorder(max_pending=2, give_up_after=0) as opened:
        await proxy.go_down()
        add_all(opened, messages(2))
        await opened.flush()
        with pytest.raises(RecorderFull):
            opened.add(message("3"))
        proxy.come_back()
        opened.unsaved.clear()
        opened.add(message("4"))
    assert (opened.stored, opened.dropped) == (1, 1)


async def test_an_event_without_a_time_happened_when_it_was_added(
    proxy: Proxy, onlooker: asyncpg.Connection
) -> None:
    async with participation.recorder() as opened:
        await proxy.go_down()
        before = datetime.now(UTC)
        opened.add(message("1"))
        opened.add(message("2", occurred_at=NOON))
        after = datetime.now(UTC)
        await until(lambda: opened.retried >= 2)
        proxy.come_back()
    first, second = await onlooker.fetch(
        "SELECT occurred_at FROM member_participation ORDER BY source_id"
    )
    assert before <= first["occurred_at"] <= after
    assert second["occurred_at"] == NOON


async def test_an_unsaved_event_keeps_the_time_at_which_it_was_added(proxy: Proxy) -> None:
    async with participation.recorder(give_up_after=0) as opened:
        await proxy.go_down()
        before = datetime.now(UTC)
        opened.add(message("1"))
        after = datetime.now(UTC)
        await opened.flush()
        [event] = opened.unsaved
        opened.unsaved.clear()
    assert event.occurred_at is not None
    assert event.occurred_at.utcoffset() == timedelta(0)
    assert before <= event.occurred_at <= after


async def test_a_silent_network_holds_no_event_longer_than_the_limit(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "TRY_TIMEOUT_SECONDS", 1)
    async with participation.recorder(give_up_after=2) as opened:
        opened.add(message("1"))
        await opened.flush()
        assert opened.stored == 1  # the pool holds a connection that worked
        proxy.is_silent = True
        opened.add(message("2"))
        async with asyncio.timeout(SECONDS):
            await opened.flush()
        assert ids_of(opened.unsaved) == ["2"]
        opened.unsaved.clear()
        await proxy.go_down()


async def test_events_are_stored_once_after_a_network_that_loses_all_answers(
    proxy: Proxy, onlooker: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with participation.recorder() as opened:
        opened.add(message("1"))
        await opened.flush()
        monkeypatch.setenv("DIRECTORY_CALL_TIMEOUT", "0.3")
        load_settings.cache_clear()
        proxy.is_silent = True
        add_all(opened, [message("2"), message()])
        await until(lambda: opened.retried >= 2)
        monkeypatch.undo()
        load_settings.cache_clear()
        proxy.come_back()
        await opened.flush()
        assert (opened.stored, opened.duplicates, opened.unsaved) == (3, 0, [])
    assert await onlooker.fetchval(COUNT) == 3


# The end


@pytest.mark.parametrize("is_silent", [False, True], ids=["refuses", "is silent"])
async def test_the_end_waits_no_longer_than_its_timeout(proxy: Proxy, *, is_silent: bool) -> None:
    async with asyncio.timeout(SECONDS):
        with pytest.raises(RecorderGaveUp) as gave_up:
            async with participation.recorder(close_timeout=0.1) as opened:
                if is_silent:
                    proxy.is_silent = True
                else:
                    await proxy.go_down()
                add_all(opened, messages(3))
    assert ids_of(gave_up.value.events) == ids_of(messages(3))
    await proxy.go_down()


async def test_an_end_before_the_first_attempt_gives_the_reason(
    database: str, directory: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    await rows.member(directory)
    async with blocked(database, "SELECT FROM community_members FOR UPDATE"):
        with pytest.raises(RecorderGaveUp, match=r"^1 event could not be stored\.$") as gave_up:
            async with participation.recorder(close_timeout=0.1) as opened:
                opened.add(message("1"))
    assert isinstance(gave_up.value.__cause__, TimeoutError)
    [line] = [each.message for each in caplog.records if each.name == recorder.__name__]
    assert line.startswith("1 event was given up: TimeoutError: ")


async def test_a_cancelled_worker_ends_though_its_connection_cannot_be_given_back(
    database: str, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    pool = engine.pool
    assert pool is not None
    release = pool.release

    def fail_to_release(connection: asyncpg.Connection, *, clean: bool) -> None:
        release(connection, clean=clean)
        if not clean:
            raise RuntimeError("It can not be given back.")

    monkeypatch.setattr(pool, "release", fail_to_release)
    async with blocked(database, "SELECT FROM community_members FOR UPDATE") as other:
        before = asyncio.all_tasks()
        with pytest.raises(RecorderGaveUp) as gave_up:
            async with participation.recorder(close_timeout=0.1) as opened:
                [worker] = asyncio.all_tasks() - before
                opened.add(message("1"))
                await until_waiting(other)
        assert worker.done()
    assert ids_of(gave_up.value.events) == ["1"]
    assert opened.retried == 0


async def test_a_cancelled_block_stores_what_was_added(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rows.member(directory)
    opened = participation.recorder()
    added = asyncio.Event()

    async def work() -> None:
        async with opened:
            add_all(opened, messages(3))
            added.set()
            await asyncio.sleep(FOR_EVER)

    with no_flush_by_time(monkeypatch):
        working = asyncio.create_task(work())
        await added.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
    assert await directory.fetchval(COUNT) == opened.stored == 3


@pytest.mark.parametrize("error", [asyncio.CancelledError, ZeroDivisionError])
async def test_an_exception_is_not_replaced_when_events_are_handed_back(
    proxy: Proxy, error: type[BaseException]
) -> None:
    opened = participation.recorder(close_timeout=0.1)
    with pytest.raises(error):
        async with opened:
            await proxy.go_down()
            opened.add(message("1"))
            raise error
    assert ids_of(opened.unsaved) == ids_of([message("1")])


async def test_a_cancellation_interrupts_the_wait_at_the_end(proxy: Proxy) -> None:
    opened = participation.recorder(close_timeout=FOR_EVER)
    await proxy.go_down()

    async def work() -> None:
        async with opened:
            opened.add(message("1"))

    working = asyncio.create_task(work())
    await until(lambda: opened.retried >= 1)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert ids_of(opened.unsaved) == ids_of([message("1")])


async def test_flush_does_not_wait_for_a_worker_that_the_event_loop_cancelled(
    directory: asyncpg.Pool,
) -> None:
    before = asyncio.all_tasks()
    with pytest.raises(RecorderGaveUp) as gave_up:
        async with (
            asyncio.timeout(SECONDS),
            participation.recorder(close_timeout=FOR_EVER) as opened,
        ):
            opened.add(message("1"))
            [worker] = asyncio.all_tasks() - before
            worker.cancel()
            await opened.flush()
    assert ids_of(gave_up.value.events) == ids_of([message("1")])


async def test_a_recorder_works_only_inside_its_block(directory: asyncpg.Pool) -> None:
    opened = participation.recorder()
    for _ in range(2):
        with pytest.raises(NotConnected):
            opened.add(message())
        with pytest.raises(NotConnected):
            await opened.flush()
        async with opened:
            pass


async def test_a_recorder_needs_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotConnected):
        async with participation.recorder():
            pass


@pytest.mark.parametrize("knows", [True, False], ids=["has an address", "has no address"])
async def test_a_recorder_writes_only_to_the_database_of_its_connection(
    server: Server, template: str, *, knows: bool
) -> None:
    """Frameworks start handlers in contexts that were made before the connection was opened."""
    async with new_database(server, template) as here, new_database(server, template) as there:
        async with connect(here, min_size=0):
            opened = participation.recorder()
            await asyncio.create_task(opened.__aenter__(), context=None if knows else Context())
        async with connect(there, min_size=0), asyncio.timeout(SECONDS):
            opened.add(message("1"))
            await opened.flush()
            with pytest.raises(RecorderGaveUp) as gave_up:
                await opened.__aexit__(None, None, None)
            assert ids_of(gave_up.value.events) == ids_of([message("1")])
            assert isinstance(gave_up.value.__cause__, NotConnected)
            assert opened.unknown == 0


def fields(event: NewEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}


async def is_count(connection: asyncpg.Connection, number: int) -> bool:
    return bool(await connection.fetchval(COUNT) == number)
