"""Participation: each event is stored once, a batch loses none, and activity is counted by day."""

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.calendar import days_between, today
from community_directory.database import Statement, connect, engine, transaction
from community_directory.errors import (
    DatabaseUnavailable,
    InvalidCursor,
    InvalidInput,
    MemberNotFound,
)
from community_directory.queries import highlights, members, participation
from community_directory.queries.participation import (
    ActiveMember,
    Activity,
    Event,
    NewEvent,
    Recorded,
    Refused,
)
from community_directory.tables import MemberStatus
from tests import cluster
from tests.conftest import Server, new_database
from tests.queries.cases import undone
from tests.tables import rows
from tests.waiting import until_blocked_by, until_ended_or_waiting, until_waiting
from tests.zones import use_zone

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
COUNT = "SELECT count(*) FROM member_participation"


def message(source_id: str | int | None = None, **fields: Any) -> NewEvent:
    """A message of #1."""
    given = {
        "member_id": "#1",
        "event_type": "MESSAGE",
        "platform": "telegram",
        "room_id": "-100",
        **fields,
    }
    return NewEvent(source_id=source_id, **given)


async def record(event: NewEvent) -> Event | None:
    return await participation.record(
        member_id=event.member_id,
        event_type=event.event_type,
        platform=event.platform,
        room_id=event.room_id,
        source_id=event.source_id,
        occurred_at=event.occurred_at,
        metadata=event.metadata,
    )


async def last_active_at(member_id: str = "#1") -> datetime | None:
    return (await members.get(member_id)).last_active_at


@asynccontextmanager
async def blocked(database: str, sql: str, *arguments: object) -> AsyncIterator[asyncpg.Connection]:
    """Run a statement in another session's open transaction, which is rolled back at the end."""
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("BEGIN")
        await connection.execute(sql, *arguments)
        yield connection
    finally:
        await connection.close()


@pytest.fixture(scope="module")
async def populated(server: Server, template: str) -> AsyncIterator[str]:
    """The URL of a database for tests that roll back: #1 to #12; #3 is removed, #4 is a contact."""
    async with new_database(server, template) as url:
        connection = await asyncpg.connect(url)
        for number in range(1, 13):
            await rows.member(
                connection,
                name=f"Member {number}",
                status="not_member" if number == 4 else "active",
                deleted_at=NOON if number == 3 else None,
            )
        await connection.close()
        yield url


@pytest.fixture
async def shared(populated: str) -> AsyncIterator[asyncpg.Connection]:
    """The connection of a transaction that the helpers use, and that is rolled back."""
    async with connect(populated, min_size=0), undone() as current:
        yield current.connection


# One event


async def test_record_returns_the_event_as_it_is_stored(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    in_mexico = datetime(2024, 1, 31, 6, tzinfo=ZoneInfo("America/Mexico_City"))
    event = await record(
        message(
            "987",
            event_type="VOICE",
            platform="discord",
            occurred_at=in_mexico,
            metadata={"duration_seconds": 600},
        )
    )
    stored = await rows.fetch_row(directory, "SELECT * FROM member_participation")
    assert event == Event(
        id=stored["id"],
        member_id="#1",
        event_type="VOICE",
        platform="discord",
        room_id="-100",
        source_id="987",
        occurred_at=NOON,
        metadata={"duration_seconds": 600},
    )
    assert event.occurred_at.tzinfo == UTC
    for column in ("member_id", "event_type", "platform", "room_id", "source_id"):
        assert stored[column] == getattr(event, column)
    assert (stored["occurred_at"], json.loads(stored["event_metadata"])) == (NOON, event.metadata)
    assert (await participation.history("#1")).items == [event]


async def test_an_event_without_a_time_happened_now(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    before = await directory.fetchval("SELECT clock_timestamp()")
    one = await record(message())
    await participation.record_many([message()])
    after = await directory.fetchval("SELECT clock_timestamp()")
    found = (await participation.history("#1")).items
    assert one in found
    assert len(found) == 2
    for event in found:
        assert before <= event.occurred_at <= after
        assert event.metadata is None
        assert event.source_id is None


async def test_an_event_that_is_delivered_by_many_at_once_is_stored_once(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    answers = await asyncio.gather(*(record(message("1")) for _ in range(20)))
    (event,) = [answer for answer in answers if answer is not None]
    assert await record(message("1", occurred_at=NOON, metadata={"edited": True})) is None
    assert (await participation.history("#1")).items == [event]


async def test_each_call_without_a_source_id_stores_another_event(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    assert all(await asyncio.gather(*(record(message(occurred_at=NOON)) for _ in range(5))))
    recorded = await participation.record_many([message(occurred_at=NOON)] * 5)
    assert len(recorded.inserted) == 5
    assert await directory.fetchval(COUNT) == 10


@pytest.mark.parametrize(
    "other",
    [
        {"member_id": "#2"},
        {"room_id": "-200"},
        {"event_type": "REACTION"},
        {"platform": "discord"},
        {"source_id": "2"},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_the_same_source_id_in_another_place_is_another_event(
    directory: asyncpg.Pool, other: dict[str, str]
) -> None:
    await rows.member(directory)
    await rows.member(directory)
    assert await record(message("1"))
    assert await record(replace(message("1"), **other))  # type: ignore[arg-type]
    third = {"source_id": "3", **other}
    recorded = await participation.record_many([replace(message("3"), **third), message("3")])  # type: ignore[arg-type]
    assert len(recorded.inserted) == (1 if "source_id" in other else 2)


async def test_an_event_of_an_unknown_member_is_refused(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    with pytest.raises(MemberNotFound) as refused:
        await record(message("1", member_id="#99"))
    assert refused.value.member_id == "#99"
    assert await directory.fetchval(COUNT) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_type", "message"),
        ("event_type", None),
        ("platform", "Telegram"),
        (
            "platform",
            ["telegram"],
        ),  # among a batch's values a list would be taken for what is in it
        ("room_id", " "),
        ("room_id", None),
        ("source_id", ""),
        ("source_id", ["1"]),
        ("member_id", 1.5),
        ("member_id", None),
        ("metadata", [1]),
        ("metadata", {"a": float("nan")}),
        ("occurred_at", "2024-01-31"),
        ("occurred_at", datetime(2024, 1, 31, 12)),  # noqa: DTZ001  refused for that
        ("occurred_at", datetime(1999, 12, 31, 23, 59, tzinfo=UTC)),
        ("occurred_at", datetime.now(UTC) + timedelta(days=2)),
        ("occurred_at", datetime.max.replace(tzinfo=UTC)),
    ],
)
async def test_an_invalid_event_is_refused_with_its_field(
    shared: asyncpg.Connection, field: str, value: object
) -> None:
    bad = replace(message("1"), **{field: value})  # type: ignore[arg-type]  # what an untyped caller sends
    recorded = await participation.record_many([bad])
    assert [refused.error.field for refused in recorded.refused] == [field]
    with pytest.raises(InvalidInput) as refused:
        async with transaction():
            await record(bad)
    assert refused.value.field == field
    assert await shared.fetchval(COUNT) == 0
    assert await last_active_at() is None


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("event_type", 50),
        ("platform", 50),
        ("room_id", 255),
        ("source_id", 255),
        ("metadata", 10_000),
    ],
)
async def test_a_text_that_is_too_long_is_refused_with_its_field_and_limit(
    shared: asyncpg.Connection, field: str, limit: int
) -> None:
    letter = "A" if field == "event_type" else "a"

    def of_length(length: int) -> NewEvent:
        text = (
            {"a": letter * (length - len('{"a": ""}'))} if field == "metadata" else letter * length
        )
        return replace(message("1"), **{field: text})  # type: ignore[arg-type]

    with pytest.raises(
        InvalidInput, match=f"has {limit + 1:,} characters; at most {limit:,}"
    ) as refused:
        await record(of_length(limit + 1))
    recorded = await participation.record_many([of_length(limit + 1), of_length(limit)])
    assert recorded.inserted == [of_length(limit)]
    for error in (refused.value, recorded.refused[0].error):
        assert (error.field, error.limit, error.code) == (field, limit, "text_too_long")


async def test_ids_may_be_integers(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    event = await record(message(7, member_id=1, room_id=-1001))
    assert event is not None
    assert (event.member_id, event.room_id, event.source_id) == ("#1", "-1001", "7")
    recorded = await participation.record_many(
        [message(7, member_id=1, room_id=-1001), message(8, member_id=99)]
    )
    assert (len(recorded.duplicates), len(recorded.unknown)) == (1, 1)
    assert (await participation.history(1)).items == [event]
    day = today()
    assert await participation.activity(1, since=day, until=day) == [Activity(day, "MESSAGE", 1)]


NOTE_COMMITS = """
CREATE TABLE commits (source_id text, synchronous_commit text);
CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO commits VALUES (NEW.source_id, current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER note_commit AFTER INSERT ON member_participation
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_commit();
"""


@pytest.mark.skipif(bool(cluster.CLUSTER_URL), reason="a distributed table has no triggers")
async def test_an_event_that_need_not_be_durable_waits_for_no_disk_and_the_next_one_does(
    database: str, directory: asyncpg.Pool
) -> None:
    await rows.member(directory)
    await directory.execute(NOTE_COMMITS)
    event: dict[str, Any] = {"event_type": "MESSAGE", "platform": "telegram", "room_id": "-100"}
    assert await participation.record(member_id=1, source_id="a", durable=False, **event)
    assert await participation.record(member_id=1, source_id="b", **event)
    async with transaction():
        assert await participation.record(member_id=1, source_id="c", durable=False, **event)
    assert await participation.record(member_id=1, source_id="a", durable=False, **event) is None
    assert [tuple(row) for row in await directory.fetch("SELECT * FROM commits")] == [
        ("a", "off"),
        ("b", "on"),
        ("c", "on"),
    ]
    # The pool of the helpers has one connection by now, which the next caller gets.
    assert [tuple(row) for row in await engine.fetch("SHOW synchronous_commit")] == [("on",)]


async def test_an_event_that_waits_for_a_lock_delays_no_other_event(
    database: str, directory: asyncpg.Pool
) -> None:
    for _ in range(2):
        await rows.member(directory)
    async with blocked(
        database, "SELECT FROM community_members WHERE member_id = '#1' FOR UPDATE"
    ) as other:
        waiting = [asyncio.create_task(record(message())) for _ in range(5)]
        await until_waiting(other, 5)
        async with asyncio.timeout(10):
            assert await record(message(member_id="#2"))
        assert not any(task.done() for task in waiting)
    assert all(await asyncio.gather(*waiting))


async def test_an_event_is_undone_with_the_callers_transaction(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    async with undone():
        assert await record(message("1"))
        assert await last_active_at() is not None
    assert await directory.fetchval(COUNT) == 0
    assert await last_active_at() is None
    assert await record(message("1"))


async def test_row_ids_are_in_the_order_of_time(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    before = time.time_ns() // 1_000_000
    events = []
    for _ in range(5):
        events.append(await record(message(occurred_at=NOON)))
        await asyncio.sleep(0.002)
    ids = [event.id for event in events if event is not None]
    assert ids == sorted(ids)
    assert all(id_.version == 7 and id_.variant == uuid.RFC_4122 for id_ in ids)
    assert all(before <= id_.int >> 80 <= time.time_ns() // 1_000_000 for id_ in ids)
    # Neither half of what is random is the same twice.
    assert len({id_.int & (1 << 62) - 1 for id_ in ids}) == 5
    assert len({id_.int >> 64 & 0xFFF for id_ in ids}) > 1


# Batches


async def test_a_batch_reports_the_outcome_of_every_event(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await record(message("there"))
    events = {
        "inserted": [message("1"), message("2"), message()],
        "duplicates": [message("there")],
        "unknown": [message("1", member_id="#99"), message("1", member_id="")],
        "refused": [message("1", platform="Telegram")],
    }
    given = [event for told in events.values() for event in told]
    recorded = await participation.record_many(given)
    assert recorded.inserted == events["inserted"]
    assert recorded.duplicates == events["duplicates"]
    assert recorded.unknown == events["unknown"]
    (refused,) = recorded.refused
    assert (refused.event, refused.error.field) == (events["refused"][0], "platform")
    assert await directory.fetchval(COUNT) == 4


async def test_a_batch_of_no_events_stores_nothing(directory: asyncpg.Pool) -> None:
    assert await participation.record_many([]) == Recorded()
    assert await participation.record_many(iter(())) == Recorded()


async def test_an_event_of_a_batch_is_stored_like_a_single_event(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    event = message(
        "1", occurred_at=NOON, event_type="VOICE", platform="discord", metadata={"a": [1, None]}
    )
    single = await record(event)
    assert single is not None
    await participation.record_many([replace(event, source_id="2")])
    [batched] = [
        found for found in (await participation.history("#1")).items if found.source_id == "2"
    ]
    assert replace(batched, id=single.id, source_id="1") == single
    assert (batched.id.version, batched.occurred_at.tzinfo) == (7, UTC)


async def test_an_event_that_is_in_a_batch_twice_is_stored_once(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    recorded = await participation.record_many(
        [message("1"), message("2"), message("1"), message("2"), message("1")]
    )
    assert recorded == Recorded(
        inserted=[message("1"), message("2")], duplicates=[message("1"), message("2"), message("1")]
    )
    assert await directory.fetchval(COUNT) == 2


BAD: dict[str, Any] = {
    "a type": message("bad", event_type="message"),
    "a platform": message("bad", platform="Telegram"),
    "a room": message("bad", room_id=""),
    "an id": message(" "),
    "a long room": message("bad", room_id="x" * 256),
    "a long id": message("x" * 256),
    "nul": message("a\0b"),
    "nul in the member": message("bad", member_id="#\0"),
    "half a surrogate pair": message("\ud800"),
    "a huge number of a member": message("bad", member_id=10**5000),
    "a huge number of a room": message("bad", room_id=-(10**5000)),
    "a huge number as an id": message(10**5000),
    "no event": {"member_id": "#1"},
    "nothing": None,
    "no JSON object": message("bad", metadata=[1]),
    "JSON with nul": message("bad", metadata={"a": "\0"}),
    "what is no JSON": message("bad", metadata={"a": object()}),
    "a time without a zone": message("bad", occurred_at=datetime(2024, 1, 31)),  # noqa: DTZ001  refused for that
    "a time before 2000": message("bad", occurred_at=datetime(1999, 12, 31, tzinfo=UTC)),
    "a time after tomorrow": message("bad", occurred_at=datetime.now(UTC) + timedelta(days=2)),
    "a time too far away": message(
        "bad", occurred_at=datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))
    ),
}


@pytest.mark.parametrize("position", [0, 3, 7], ids=["first", "middle", "last"])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_bad_event_does_not_stop_the_others(
    shared: asyncpg.Connection, bad: NewEvent, position: int
) -> None:
    good = [message(str(number)) for number in range(7)]
    recorded = await participation.record_many([*good[:position], bad, *good[position:]])
    assert recorded.inserted == good
    (refused,) = recorded.refused
    assert isinstance(refused, Refused)
    assert refused.event is bad
    assert isinstance(refused.error, InvalidInput)
    assert (recorded.duplicates, recorded.unknown) == ([], [])
    assert await shared.fetchval(COUNT) == 7


async def test_many_bad_events_do_not_stop_the_others(shared: asyncpg.Connection) -> None:
    good = [message(str(number)) for number in range(len(BAD) * 2)]
    given = [
        event for pair in zip(good, BAD.values(), good[len(BAD) :], strict=False) for event in pair
    ]
    recorded = await participation.record_many(given)
    assert recorded.inserted == [event for event in given if event not in BAD.values()]
    assert {id(refused.event) for refused in recorded.refused} == {
        id(event) for event in BAD.values()
    }
    assert len(recorded.refused) == len(BAD)
    assert await shared.fetchval(COUNT) == len(good)


async def test_a_bad_event_does_not_change_the_outcome_of_duplicates_and_unknown_members(
    shared: asyncpg.Connection,
) -> None:
    await record(message("there"))
    given = [
        message("there"),
        message("1"),
        BAD["a room"],
        message("1"),
        message("1", member_id="#99"),
        message("2"),
    ]
    recorded = await participation.record_many(given)
    assert recorded.inserted == [message("1"), message("2")]
    assert recorded.duplicates == [message("there"), message("1")]
    assert recorded.unknown == [message("1", member_id="#99")]
    assert [refused.event for refused in recorded.refused] == [BAD["a room"]]


async def test_thousands_of_events_are_stored_in_their_order(directory: asyncpg.Pool) -> None:
    await rows.member(directory)

    def given() -> Iterator[NewEvent]:
        for number in range(2500):
            yield BAD["a type"] if number in (999, 1000, 2499) else message(str(number))

    recorded = await participation.record_many(given())
    assert recorded.inserted == [event for event in given() if event.source_id != "bad"]
    assert len(recorded.refused) == 3
    assert await directory.fetchval("SELECT count(DISTINCT id) FROM member_participation") == 2497
    again = await participation.record_many(given())
    assert again.duplicates == recorded.inserted
    assert (again.inserted, len(again.refused)) == ([], 3)


async def test_a_bad_event_does_not_spoil_the_callers_transaction(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    async with undone():
        recorded = await participation.record_many([message("1"), BAD["a room"], message("2")])
        assert len(recorded.inserted) == 2
        await members.update_profile("#1", country="Chile")
        assert len((await participation.history("#1")).items) == 2
    assert await directory.fetchval(COUNT) == 0
    assert (await members.get("#1")).country is None

    async with transaction():
        await participation.record_many([BAD["nul"]])
        await participation.record_many([message("1"), BAD["a room"], message("2")])
    assert await directory.fetchval(COUNT) == 2


async def test_events_that_are_sent_again_after_a_cut_connection_are_counted_once(
    database: str, directory: asyncpg.Pool
) -> None:
    await rows.member(directory)
    events = [message(str(number)) for number in range(1500)]
    # Somebody else is about to store the last one.
    async with blocked(
        database,
        "INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id) "
        "VALUES ('#1', 'MESSAGE', 'telegram', '-100', '1499')",
    ) as other:
        sending = asyncio.create_task(participation.record_many(events))
        await until_waiting(other)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with pytest.raises(DatabaseUnavailable):
            await sending
    # The first thousand as a whole, and nothing of the others.
    assert await directory.fetchval(COUNT) == 1000
    recorded = await participation.record_many(events)
    assert recorded == Recorded(inserted=events[1000:], duplicates=events[:1000])


# Several batches at once


async def test_many_batches_with_the_same_events_store_each_once(directory: asyncpg.Pool) -> None:
    for _ in range(5):
        await rows.member(directory)
    events = [message(str(number), member_id=f"#{number % 5 + 1}") for number in range(200)]
    orders = [events, events[::-1], events[100:] + events[:100], events[::2] + events[1::2]] * 3
    recorded = await asyncio.gather(*(participation.record_many(order) for order in orders))
    inserted = Counter(event.source_id for one in recorded for event in one.inserted)
    assert inserted == Counter(event.source_id for event in events)
    assert sum(len(one.duplicates) for one in recorded) == 11 * 200
    assert await directory.fetchval(COUNT) == 200


@pytest.mark.parametrize(
    "bad", [[], [message("bad", platform="")]], ids=["good", "one of them bad"]
)
@pytest.mark.parametrize("field", ["platform", "room_id", "event_type", "member_id", "source_id"])
async def test_batches_with_the_same_events_in_opposite_order_wait_in_one_order(
    database: str, directory: asyncpg.Pool, field: str, bad: list[NewEvent]
) -> None:
    """Without a common order, each batch would hold the event that the other one waits for."""
    for _ in range(3):
        await rows.member(directory)
    texts = {"event_type": ("A", "M", "Z"), "member_id": ("#1", "#2", "#3")}.get(
        field, ("a", "m", "z")
    )
    first, middle, last = [replace(message("1"), **{field: text}) for text in texts]  # type: ignore[arg-type]
    async with blocked(
        database,
        "INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id) "
        "VALUES ($1, $2, $3, $4, $5)",
        middle.member_id,
        middle.event_type,
        middle.platform,
        middle.room_id,
        middle.source_id,
    ) as other:
        forth = asyncio.create_task(participation.record_many([first, *bad, middle, last]))
        await until_waiting(other)
        back = asyncio.create_task(participation.record_many([last, *bad, middle, first]))
        await until_waiting(other, 2)
        await other.execute("ROLLBACK")
        recorded = await asyncio.gather(forth, back)
    assert sorted((len(one.inserted), len(one.duplicates)) for one in recorded) == [(0, 3), (3, 0)]


PAUSE_AT_FIRST_MEMBER = """
CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1);
    RETURN NEW;
END $$;
CREATE TRIGGER pause BEFORE UPDATE ON community_members
FOR EACH ROW WHEN (OLD.member_id = '#1') EXECUTE FUNCTION pause();
"""
INSERT_MESSAGE = (
    "INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id) "
    "VALUES ($1, 'MESSAGE', 'telegram', '-100', $2)"
)


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
async def test_two_statements_that_began_before_a_members_update_do_not_deadlock(
    database: str, directory: asyncpg.Pool, batch: bool
) -> None:
    """The second one may wait for the member whom the first one has locked and will update."""
    for _ in range(2):
        await rows.member(directory)
    await directory.execute(PAUSE_AT_FIRST_MEMBER)
    later = NOON + 10 * MINUTE
    # The transaction of `other` also holds the key of #2, until both statements have ended.
    async with (
        blocked(database, INSERT_MESSAGE, "#2", "0") as other,
        blocked(database, "SELECT pg_advisory_lock(1)") as pause,
    ):
        for source_id in ("second", "first"):
            await other.execute(f"SAVEPOINT before_{source_id}")
            await other.execute(INSERT_MESSAGE, "#2", source_id)
        first = asyncio.create_task(
            participation.record_many(
                [
                    message(occurred_at=later),
                    message("first", member_id="#2", occurred_at=later),
                ]
            )
        )
        event = message("second", member_id="#2", occurred_at=later)
        second = asyncio.ensure_future(
            participation.record_many([event]) if batch else record(event)
        )
        await until_waiting(other, 2)
        await record(message("between", member_id="#2", occurred_at=NOON))
        await other.execute("ROLLBACK TO before_first")
        await until_blocked_by(pause)
        await other.execute("ROLLBACK TO before_second")
        await until_ended_or_waiting(second, pause, 2)  # with the first one
        await pause.execute("SELECT pg_advisory_unlock(1)")
        await asyncio.wait_for(asyncio.gather(first, second), 10)
    assert await directory.fetchval(COUNT) == 4
    assert (await last_active_at("#1"), await last_active_at("#2")) == (later, NOON)


@pytest.fixture
async def unordered(database: str, directory: asyncpg.Pool) -> None:
    """#3, #1 and #2, whom statements read in this order, in which they are stored."""
    for number in (3, 1, 2):
        await rows.member(directory, member_id=f"#{number}")
    for scan in ("indexscan", "bitmapscan"):
        await directory.execute(
            f"ALTER DATABASE {urlsplit(database).path[1:]} SET enable_{scan} = off"
        )


@pytest.mark.usefixtures("unordered")
async def test_a_batch_waits_for_its_members_in_the_order_of_their_numbers(
    database: str, directory: asyncpg.Pool
) -> None:
    async with blocked(
        database, "SELECT FROM community_members WHERE member_id = '#2' FOR UPDATE"
    ) as holder:
        recording = asyncio.create_task(
            participation.record_many(message("1", member_id=f"#{number}") for number in (3, 2, 1))
        )
        await until_blocked_by(holder)
        free = await directory.fetch(
            "SELECT member_id FROM community_members FOR UPDATE SKIP LOCKED"
        )
    assert len((await recording).inserted) == 3
    assert [member_id for (member_id,) in free] == ["#3"]


@pytest.mark.usefixtures("unordered")
async def test_a_batch_locks_its_active_members_in_the_order_of_their_numbers(
    database: str, directory: asyncpg.Pool
) -> None:
    async with (
        blocked(database, INSERT_MESSAGE, "#2", "0") as holder,
        blocked(database, INSERT_MESSAGE, "#3", "1") as other,
    ):
        recording = asyncio.create_task(
            participation.record_many(message("1", member_id=f"#{number}") for number in (1, 2, 3))
        )
        await until_waiting(other)
        await record(message("between", member_id="#2", occurred_at=NOON))
        await holder.execute(
            "SELECT FROM community_members WHERE member_id = '#2' FOR NO KEY UPDATE"
        )
        await other.execute("ROLLBACK")
        await until_blocked_by(holder)
        free = await directory.fetch(
            "SELECT member_id FROM community_members FOR NO KEY UPDATE SKIP LOCKED"
        )
        await holder.execute("COMMIT")
        await recording
    assert [member_id for (member_id,) in free] == ["#3"]


# When a member was last active


async def test_the_first_event_sets_the_last_activity(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    await record(message(occurred_at=NOON))
    assert await last_active_at() == NOON
    assert await last_active_at("#2") is None
    await participation.record_many([message(member_id="#2", occurred_at=NOON)])
    assert await last_active_at("#2") == NOON


@pytest.mark.parametrize(
    ("later", "follows"),
    [
        (-timedelta(days=1), False),
        (timedelta(0), False),
        (timedelta(seconds=30), False),
        (MINUTE, False),
        (MINUTE + timedelta(microseconds=1), True),
        (timedelta(days=1), True),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
async def test_the_last_activity_follows_once_a_minute_and_never_goes_back(
    shared: asyncpg.Connection, later: timedelta, follows: bool, batch: bool
) -> None:
    await record(message(occurred_at=NOON))
    event = message(occurred_at=NOON + later)
    if batch:
        await participation.record_many([event])
    else:
        await record(event)
    assert await last_active_at() == (NOON + later if follows else NOON)
    assert await shared.fetchval(COUNT) == 2


async def test_the_last_activity_is_never_in_the_future(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    before = await directory.fetchval("SELECT clock_timestamp()")
    tomorrow = before + timedelta(days=1)
    event = await record(message(occurred_at=tomorrow))
    await participation.record_many([message(member_id="#2", occurred_at=tomorrow)])
    after = await directory.fetchval("SELECT clock_timestamp()")
    assert event is not None
    assert event.occurred_at == tomorrow
    for member_id in ("#1", "#2"):
        seen = await last_active_at(member_id)
        assert seen is not None
        assert before <= seen <= after


async def test_an_event_lies_at_most_a_day_in_the_future(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    too_late = message(
        occurred_at=await directory.fetchval("SELECT now() + interval '1 day 1 minute'")
    )
    with pytest.raises(InvalidInput, match="one day from now"):
        await record(too_late)
    recorded = await participation.record_many([too_late, message("1")])
    assert ([refused.event for refused in recorded.refused], recorded.inserted) == (
        [too_late],
        [message("1")],
    )
    assert await directory.fetchval(COUNT) == 1


async def test_a_duplicate_does_not_change_the_last_activity(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await record(message("1", occurred_at=NOON))
    await record(message("1", occurred_at=NOON + timedelta(days=1)))
    await participation.record_many([message("1", occurred_at=NOON + timedelta(days=1))])
    assert await last_active_at() == NOON


async def test_many_events_update_a_member_once_and_only_the_last_activity(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await rows.member(directory)
    stored = "SELECT * FROM community_members WHERE member_id = '#1'"
    before = await rows.fetch_row(directory, stored)
    entries = await directory.fetchval("SELECT count(*) FROM directory_audit_log")
    async with transaction() as current:
        updates = (
            "SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'community_members'"
        )
        # It may have updates of transactions before, which the server has not added up yet.
        earlier = await current.connection.fetchval(updates)
        await participation.record_many(
            message(occurred_at=NOON + number * MINUTE) for number in range(900)
        )
        assert await current.connection.fetchval(updates) == earlier + 1
        await participation.record_many(
            message(occurred_at=NOON + number * MINUTE) for number in range(900)
        )
        await record(message(occurred_at=NOON))
        assert await current.connection.fetchval(updates) == earlier + 1
    after = await rows.fetch_row(directory, stored)
    assert dict(after) == {**dict(before), "last_active_at": NOON + 899 * MINUTE}
    assert await directory.fetchval("SELECT count(*) FROM directory_audit_log") == entries


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
async def test_an_event_waits_for_no_update_of_its_member_and_the_next_sets_the_last_activity(
    database: str, directory: asyncpg.Pool, batch: bool
) -> None:
    await rows.member(directory)
    async with blocked(database, "UPDATE community_members SET last_active_at = $1", NOON) as other:
        event = message("1", occurred_at=NOON + 10 * MINUTE)
        async with asyncio.timeout(10):
            await (participation.record_many([event]) if batch else record(event))
        assert await directory.fetchval(COUNT) == 1
        await other.execute("COMMIT")
    assert await last_active_at() == NOON
    event = message("2", occurred_at=NOON + 11 * MINUTE)
    await (participation.record_many([event]) if batch else record(event))
    assert await last_active_at() == NOON + 11 * MINUTE


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
async def test_a_slower_writer_does_not_set_the_last_activity_back(
    database: str, directory: asyncpg.Pool, batch: bool
) -> None:
    await rows.member(directory)
    event = message("1", occurred_at=NOON)
    # The event is about to be stored by somebody else, so whoever records it waits.
    async with blocked(
        database,
        "INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id) "
        "VALUES ('#1', 'MESSAGE', 'telegram', '-100', '1')",
    ) as other:
        recording = participation.record_many([event]) if batch else record(event)
        waiting = asyncio.ensure_future(recording)
        await until_waiting(other)
        await record(message("2", occurred_at=NOON + 10 * MINUTE))
        await other.execute("ROLLBACK")
        await waiting
    assert await directory.fetchval(COUNT) == 2
    assert await last_active_at() == NOON + 10 * MINUTE


# History


async def turned(member_id: str, limit: int) -> list[Event]:
    """All pages; between two of them something new happens."""
    found: list[Event] = []
    after: str | None = None
    while True:
        page = await participation.history(member_id, after=after, limit=limit)
        found += page.items
        after = page.next_cursor
        if after is None:
            return found
        assert len(page.items) == limit
        assert len(found) < 1000, "the same page again and again"
        await record(message(member_id=member_id, occurred_at=NOON + timedelta(days=1)))
        await record(message(member_id=member_id, occurred_at=NOON))


@pytest.mark.parametrize("limit", [1, 4, 13, 26, 100])
async def test_the_pages_together_are_the_whole_history(
    shared: asyncpg.Connection, limit: int
) -> None:
    moments = (
        [NOON] * 10
        + [NOON - timedelta(microseconds=n) for n in range(10)]
        + [NOON - timedelta(days=9)] * 6
    )
    await participation.record_many(message(occurred_at=moment) for moment in moments)
    await participation.record_many(
        message(member_id="#2", occurred_at=moment) for moment in moments
    )
    whole = (await participation.history("#1", limit=100)).items
    assert [event.occurred_at for event in whole] == sorted(moments, reverse=True)
    assert [(event.occurred_at, event.id) for event in whole] == sorted(
        ((event.occurred_at, event.id) for event in whole), reverse=True
    )
    assert {event.member_id for event in whole} == {"#1"}
    assert await turned("#1", limit) == whole


async def test_a_member_without_events_and_an_unknown_member_have_no_history(
    shared: asyncpg.Connection,
) -> None:
    await record(message())
    for member_id in ("#2", "#99"):
        page = await participation.history(member_id)
        assert (page.items, page.next_cursor) == ([], None)


async def test_invalid_limits_and_days_are_refused(shared: asyncpg.Connection) -> None:
    day, day_before = NOON.date(), NOON.date() - timedelta(days=1)
    for question, field in (
        (participation.history("#1", limit=101), "limit"),
        (participation.most_active(since=day, until=day, limit=101), "limit"),
        (participation.most_active(since=day, until=day_before), "until"),
        (participation.activity("#1", since=day, until=day_before), "until"),
        (participation.activity("#1", since=NOON, until=day), "since"),
    ):
        with pytest.raises(InvalidInput) as refused:
            await question
        assert refused.value.field == field


async def test_the_cursor_of_another_query_is_refused(shared: asyncpg.Connection) -> None:
    cursor = (await members.search(status=None, limit=1)).next_cursor
    assert cursor is not None
    with pytest.raises(InvalidCursor):
        await participation.history("#1", after=cursor)


# Days


async def test_activity_counts_a_day_from_its_first_moment_to_its_last(
    shared: asyncpg.Connection,
) -> None:
    """The first of the two days has 23 hours; test_calendar.py has the days of other zones."""
    zone, since, until = "America/New_York", date(2024, 3, 10), date(2024, 3, 11)
    starts = [
        datetime(2024, 3, 10, 5, tzinfo=UTC),
        datetime(2024, 3, 11, 4, tzinfo=UTC),
        datetime(2024, 3, 12, 4, tzinfo=UTC),
    ]
    # Two moments before each start, the start, and two after it. Odd distances belong to #2.
    await participation.record_many(
        message(member_id=f"#{beside % 2 + 1}", occurred_at=start + timedelta(microseconds=beside))
        for start in starts
        for beside in (-2, -1, 0, 1, 2)
    )
    found = await participation.activity("#1", since=since, until=until, zone=zone)
    assert found == [Activity(day, "MESSAGE", 3) for day in (since, until)]
    most = await participation.most_active(since=since, until=until, zone=zone)
    assert [(active.member_id, active.events) for active in most] == [("#1", 6), ("#2", 4)]


async def test_a_day_that_was_skipped_has_no_events(shared: asyncpg.Connection) -> None:
    # In Apia it was midnight of the 31st right after the last moment of the 29th.
    edge = datetime(2011, 12, 30, 10, tzinfo=UTC)
    await participation.record_many(
        [message(occurred_at=edge - timedelta(microseconds=1)), message(occurred_at=edge)]
    )
    since, skipped, until = date(2011, 12, 29), date(2011, 12, 30), date(2011, 12, 31)
    found = await participation.activity("#1", since=since, until=until, zone="Pacific/Apia")
    assert found == [Activity(since, "MESSAGE", 1), Activity(until, "MESSAGE", 1)]
    assert (
        await participation.activity("#1", since=skipped, until=skipped, zone="Pacific/Apia") == []
    )
    assert await participation.most_active(since=skipped, until=skipped, zone="Pacific/Apia") == []


async def test_the_most_active_include_contacts_but_no_removed_members(
    shared: asyncpg.Connection,
) -> None:
    # #9 and #10 are equal, and not in the order of their letters.
    events = {"#3": 9, "#4": 5, "#10": 3, "#9": 3, "#1": 1}
    await participation.record_many(
        message(member_id=member_id, occurred_at=NOON)
        for member_id, number in events.items()
        for _ in range(number)
    )
    found = await participation.most_active(since=NOON.date(), until=NOON.date())
    assert [(active.member_id, active.events) for active in found] == [
        ("#4", 5),
        ("#9", 3),
        ("#10", 3),
        ("#1", 1),
    ]
    assert found[0] == ActiveMember("#4", "Member 4", MemberStatus.NOT_MEMBER, 5)
    top = await participation.most_active(since=NOON.date(), until=NOON.date(), limit=2)
    assert [active.member_id for active in top] == ["#4", "#9"]


async def test_members_follow_however_many_removed_ones_were_more_active(
    shared: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participation, "SPARE_CANDIDATES", 0)
    await participation.record_many(
        message(member_id=f"#{number}", occurred_at=NOON)
        for number in range(1, 16)
        for _ in range(number)
    )
    await shared.execute(
        "UPDATE community_members SET deleted_at = now() WHERE substr(member_id, 2)::integer > 4"
    )
    day = NOON.date()
    found = await participation.most_active(since=day, until=day, limit=1)
    assert [active.member_id for active in found] == ["#4"]
    found = await participation.most_active(since=day, until=day, limit=5)
    assert [active.member_id for active in found] == ["#4", "#2", "#1"]


async def test_the_lower_one_of_two_numbers_is_first_of_equally_active_members(
    shared: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participation, "SPARE_CANDIDATES", 0)
    await participation.record_many(
        message(member_id=member_id, occurred_at=NOON) for member_id in ("#10", "#9")
    )
    found = await participation.most_active(since=NOON.date(), until=NOON.date(), limit=1)
    assert [active.member_id for active in found] == ["#9"]


# Days of 23 and 25 hours, without midnight and with two of them, and a day that does not exist.
DAYS_OF_ZONES = [
    ("UTC", date(2024, 1, 31)),
    ("America/New_York", date(2024, 3, 10)),
    ("America/New_York", date(2024, 11, 3)),
    ("Africa/Cairo", date(2024, 4, 26)),
    ("America/Havana", date(2024, 11, 3)),
    ("Pacific/Apia", date(2011, 12, 30)),
]


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    place=st.sampled_from(DAYS_OF_ZONES),
    span=st.integers(1, 3),
    limit=st.integers(1, 4),
    spare=st.integers(0, 2),
    events=st.lists(
        st.tuples(
            st.sampled_from(["#1", "#2", "#3", "#4", "#9", "#10"]),
            st.sampled_from(["MESSAGE", "REACTION", "VOICE", "JOIN"]),
            st.integers(-30, 80).map(lambda hours: timedelta(hours=hours))
            | st.sampled_from([timedelta(0), timedelta(microseconds=-1), timedelta(days=1)]),
        ),
        max_size=12,
    ),
)
async def test_the_most_active_are_those_of_a_recount(
    shared: asyncpg.Connection,
    *,
    place: tuple[str, date],
    span: int,
    limit: int,
    spare: int,
    events: list[tuple[str, str, timedelta]],
) -> None:
    (zone, since), until = place, place[1] + timedelta(days=span - 1)
    start = datetime.combine(since, datetime.min.time(), ZoneInfo(zone)).astimezone(UTC)
    new = [
        message(member_id=member_id, event_type=kind, occurred_at=start + distance)
        for member_id, kind, distance in events
    ]
    await shared.execute("DELETE FROM member_participation")
    await participation.record_many(new)
    removed = await shared.fetch(
        "SELECT member_id FROM community_members WHERE deleted_at IS NOT NULL"
    )
    counted = Counter(
        str(event.member_id)
        for event in new
        if event.occurred_at is not None
        and since <= event.occurred_at.astimezone(ZoneInfo(zone)).date() <= until
    )
    for (member_id,) in removed:
        counted.pop(member_id, None)
    expected = sorted(counted.items(), key=lambda item: (-item[1], int(item[0][1:])))[:limit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(participation, "SPARE_CANDIDATES", spare)
        found = await participation.most_active(since=since, until=until, zone=zone, limit=limit)
    assert [(active.member_id, active.events) for active in found] == expected


async def test_the_most_active_are_ten_by_default(
    shared: asyncpg.Connection,
) -> None:
    await participation.record_many(
        message(member_id=f"#{number}", occurred_at=NOON) for number in range(1, 13)
    )
    assert len(await participation.most_active(since=NOON.date(), until=NOON.date())) == 10
    assert (
        len(await participation.most_active(since=NOON.date(), until=NOON.date(), limit=100)) == 11
    )


async def test_activity_is_in_order_however_many_events_there_are(
    shared: asyncpg.Connection,
) -> None:
    kinds = [f"KIND_{letter}" for letter in "QWERTYUIOP"]
    await participation.record_many(
        message(event_type=kinds[number % 10], occurred_at=NOON - timedelta(days=number % 3))
        for number in range(3000)
    )
    # Now PostgreSQL knows that there are few kinds, and counts them without sorting the events.
    await shared.execute("ANALYZE member_participation")
    found = await participation.activity(
        "#1", since=NOON.date() - timedelta(days=2), until=NOON.date()
    )
    assert found == [
        Activity(NOON.date() - timedelta(days=days), kind, 100)
        for days in (2, 1, 0)
        for kind in sorted(kinds)
    ]


async def test_days_are_those_of_the_community_unless_a_zone_is_given(
    shared: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "Asia/Kolkata")
    evening = datetime(2024, 1, 31, 20, tzinfo=UTC)
    await record(message(occurred_at=evening))
    first, second = date(2024, 1, 31), date(2024, 2, 1)
    for zone, day in ((None, second), ("UTC", first), ("Asia/Kolkata", second)):
        assert await participation.activity("#1", since=first, until=second, zone=zone) == [
            Activity(day, "MESSAGE", 1)
        ]
        (active,) = await participation.most_active(since=day, until=day, zone=zone)
        assert active.member_id == "#1"
    assert await participation.activity("#1", since=first, until=first) == []
    assert await participation.most_active(since=first, until=first) == []


# What it costs


@pytest.fixture(scope="module")
async def crowded(server: Server, template: str) -> AsyncIterator[asyncpg.Connection]:
    """500 members and 60,000 events of 60 days."""
    async with new_database(server, template) as url:
        connection = await asyncpg.connect(url)
        await connection.execute(
            """
            SET session_replication_role = replica;
            INSERT INTO community_members (member_id, telegram_id, name, primary_role)
            SELECT '#' || n, n::text, 'Member ' || n, 'developer' FROM generate_series(1, 500) AS n;
            INSERT INTO member_participation
                (member_id, event_type, platform, room_id, source_id, occurred_at)
            SELECT '#' || n % 500 + 1, 'MESSAGE', 'telegram', '-100', n::text,
                timestamptz '2024-01-31 00:00Z' - n * interval '86 seconds'
            FROM generate_series(1, 60000) AS n;
            RESET session_replication_role;
            """
        )
        # Without it there are no statistics, and no index-only scan.
        await connection.execute("VACUUM ANALYZE")
        yield connection
        await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def _days(number: int) -> dict[str, object]:
    """Return the parameters that name so many days from the first of January 2024."""
    first = date(2024, 1, 1)
    return days_between(first, first + timedelta(days=number - 1), "UTC")._asdict()


@pytest.mark.parametrize(
    ("statement", "values", "index", "scan"),
    [
        (
            participation.EVENTS_OF_MEMBER.first,
            {"limit": 21, "member_id": "#247"},
            "participation_member_id_idx",
            "Index Scan",
        ),
        (
            participation.EVENTS_OF_MEMBER.after,
            {
                "limit": 21,
                "member_id": "#247",
                "occurred_at": NOON,
                "event_id": uuid.UUID(int=2**127),
            },
            "participation_member_id_idx",
            "Index Scan",
        ),
        (
            participation.COUNT_DAILY_EVENTS,
            {"member_id": "#247", **_days(30)},
            "participation_member_id_idx",
            "Index Only Scan",
        ),
        (
            participation.RANK_ACTIVE_MEMBERS,
            {
                "candidates": 60,
                "start": datetime(2024, 1, 20, tzinfo=UTC),
                "end": datetime(2024, 1, 23, tzinfo=UTC),
            },
            "participation_occurred_at_idx",
            "Index Only Scan",
        ),
    ],
    ids=["history", "the next page", "activity", "most_active"],
)
async def test_each_query_of_events_uses_its_index(
    crowded: asyncpg.Connection,
    statement: Statement,
    values: dict[str, object],
    index: str,
    scan: str,
) -> None:
    arguments = statement.arguments(values)
    plan = json.loads(await crowded.fetchval(f"EXPLAIN (FORMAT JSON) {statement.sql}", *arguments))
    read = {
        (node.get("Index Name"), node["Node Type"])
        for node in nodes(plan[0]["Plan"])
        if node.get("Relation Name") == "member_participation"
        or "participation" in node.get("Index Name", "")
    }
    assert read == {(index, scan)}
    assert await crowded.fetch(statement.sql, *arguments)


async def test_only_the_most_active_are_looked_up(crowded: asyncpg.Connection) -> None:
    """A limit lies below the join with the members."""
    statement = participation.RANK_ACTIVE_MEMBERS
    values = {"candidates": 60, "start": NOON, "end": NOON + timedelta(days=1)}
    plan = json.loads(
        await crowded.fetchval(
            f"EXPLAIN (FORMAT JSON) {statement.sql}", *statement.arguments(values)
        )
    )
    [join] = [
        node
        for node in nodes(plan[0]["Plan"])
        if node["Node Type"] in {"Nested Loop", "Hash Join", "Merge Join"}
    ]
    assert "Limit" in {node["Node Type"] for node in nodes(join)}


async def test_ten_years_of_days_are_not_compared_with_each_event(directory: asyncpg.Pool) -> None:
    """No plan compares each event with each day, whatever the connection has planned before."""
    statements = (
        (participation.COUNT_DAILY_EVENTS, {"member_id": "#1", **_days(3650)}),
        (highlights.ROLL_UP_DAYS, {"id_start": "0" * 12, **_days(3650)}),
    )
    async with transaction() as current:
        await current.connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        for statement, values in statements:
            plan = await current.connection.fetch(
                f"EXPLAIN {statement.sql}", *statement.arguments(values)
            )
            assert not any("Function Scan" in row[0] for row in plan)
