"""Calls that wait at the same moment share a statement, and nobody is worse off for it.

The first half is about who is sent with whom, and asks no database; the second half records events in a real one.
"""

import asyncio
import gc
import random
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import asyncpg
import pytest

from community_directory import database as database_module
from community_directory.database import connect, engine, transaction
from community_directory.errors import DatabaseUnavailable, DirectoryError, InvalidInput, MemberNotFound
from community_directory.queries import members, participation
from community_directory.queries.participation import Event, NewEvent
from community_directory.queries.together import Together
from tests.conftest import Server, new_database
from tests.queries.cases import all_idle, undone
from tests.queries.test_participation import COUNT, NOON, blocked, message, record
from tests.tables import rows
from tests.test_database import SECONDS, cut

# Who is sent with whom


class Refusal(Exception):
    """What comes of an item that is called so."""


class Statements:
    """Stands for the database: notes what is sent, and answers when a test lets it."""

    def __init__(self, *, ways: int = 1, most: int = 100) -> None:
        self.sent: list[str | list[str]] = []
        """An item that went alone, or a list of those that went together."""
        self.under_way = 0
        self.most_under_way = 0
        self.gates: list[asyncio.Future[None]] = []
        """One for each that was sent; it answers, or fails, when its gate is told to."""
        self.ways = ways
        self.together = Together(self._alone, self._all, ways=ways, most=most)

    async def _wait(self) -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await gate
        finally:
            self.under_way -= 1

    async def _alone(self, item: str) -> str:
        self.sent.append(item)
        await self._wait()
        if "refused" in item:
            raise Refusal(item)
        return f"{item} done"

    async def _all(self, items: list[str]) -> list[str | Exception]:
        self.sent.append(list(items))
        await self._wait()
        return [Refusal(item) if "refused" in item else f"{item} done" for item in items]

    def call(self, *items: str) -> list[asyncio.Task[str]]:
        return [asyncio.create_task(self.together.send(item)) for item in items]

    async def answer(self, error: Exception | None = None) -> None:
        """Let the one that was sent first, of those under way, come to its end."""
        gate = next(gate for gate in self.gates if not gate.done())
        if error is None:
            gate.set_result(None)
        else:
            gate.set_exception(error)
        await settled()

    async def assert_free(self) -> None:
        """As many as there are ways go at once and alone, and what comes then waits."""
        assert self.under_way == 0
        before = len(self.sent)
        names = [f"last {n}" for n in range(self.ways + 1)]
        calls = self.call(*names)
        await settled()
        assert self.sent[before:] == names[:-1]
        await self.answer()
        assert self.sent[before:] == [*names[:-1], names[-1:]]
        while self.under_way:
            await self.answer()
        assert await outcomes(*calls) == [f"{name} done" for name in names]


async def outcomes(*calls: asyncio.Task[str], return_exceptions: bool = False) -> list[Any]:
    async with asyncio.timeout(SECONDS):
        return await asyncio.gather(*calls, return_exceptions=return_exceptions)


async def settled() -> None:
    """Whatever can go on without us has done so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_comes_alone_goes_at_once_and_alone() -> None:
    statements = Statements()
    for n in range(3):
        (call,) = statements.call(f"{n}")
        await settled()
        assert statements.sent[-1] == f"{n}"
        await statements.answer()
        assert await call == f"{n} done"
    assert len(statements.sent) == 3
    await statements.assert_free()


async def test_what_comes_meanwhile_goes_together_and_in_order() -> None:
    statements = Statements()
    calls = statements.call("a", "b", "c")
    await settled()
    calls += statements.call("d")
    await settled()
    assert statements.sent == ["a"]
    await statements.answer()
    assert statements.sent == ["a", ["b", "c", "d"]]
    assert [call.done() for call in calls] == [True, False, False, False]
    calls += statements.call("e")
    await settled()
    assert len(statements.sent) == 2
    await statements.answer()
    assert statements.sent == ["a", ["b", "c", "d"], ["e"]]
    await statements.answer()
    assert await outcomes(*calls) == ["a done", "b done", "c done", "d done", "e done"]
    await statements.assert_free()


async def test_no_more_go_together_than_may() -> None:
    statements = Statements(most=3)
    calls = statements.call(*"abcdefgh")
    await settled()
    while statements.under_way:
        await statements.answer()
    assert statements.sent == ["a", ["b", "c", "d"], ["e", "f", "g"], ["h"]]
    assert await outcomes(*calls) == [f"{item} done" for item in "abcdefgh"]
    await statements.assert_free()


async def test_no_more_statements_are_under_way_than_may_be() -> None:
    statements = Statements(ways=3, most=2)
    calls = statements.call(*"abcdefgh")
    await settled()
    assert statements.sent == ["a", "b", "c"]
    await statements.answer()
    assert statements.sent == ["a", "b", "c", ["d", "e"]]
    assert statements.under_way == 3
    while statements.under_way:
        await statements.answer()
    assert statements.sent == ["a", "b", "c", ["d", "e"], ["f", "g"], ["h"]]
    assert statements.most_under_way == 3
    assert await outcomes(*calls) == [f"{item} done" for item in "abcdefgh"]
    await statements.assert_free()


async def test_who_gives_up_waiting_is_left_out_and_the_others_get_theirs() -> None:
    statements = Statements(most=2)
    calls = statements.call(*"abcdef")
    await settled()
    for given_up in (calls[1], calls[2], calls[4]):
        given_up.cancel()
    await settled()
    assert all(call.cancelled() for call in (calls[1], calls[2], calls[4]))
    await statements.answer()
    # Those who gave up take no place of others.
    assert statements.sent == ["a", ["d", "f"]]
    await statements.answer()
    assert await outcomes(*(calls[n] for n in (0, 3, 5))) == ["a done", "d done", "f done"]
    await statements.assert_free()


async def test_when_all_who_waited_have_given_up_nothing_is_sent() -> None:
    statements = Statements(ways=2)
    calls = statements.call(*"abcd")
    await settled()
    for call in calls[2:]:
        call.cancel()
    await settled()
    await statements.answer()
    await statements.answer()
    assert statements.sent == ["a", "b"]
    await statements.assert_free()


async def test_who_gives_up_while_their_statement_is_under_way_disturbs_nobody() -> None:
    statements = Statements()
    calls = statements.call(*"abcd")
    await settled()
    await statements.answer()
    assert statements.sent == ["a", ["b", "c", "d"]]
    calls[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[2]
    assert statements.under_way == 1
    await statements.answer()
    assert await outcomes(*(calls[n] for n in (0, 1, 3))) == ["a done", "b done", "d done"]
    await statements.assert_free()


async def test_who_gives_up_alone_lets_the_others_go_on() -> None:
    statements = Statements()
    calls = statements.call(*"abc")
    await settled()
    calls[0].cancel()
    await settled()
    assert calls[0].cancelled()
    assert statements.sent == ["a", ["b", "c"]]
    statements.gates[0].cancel()
    await statements.answer()
    assert await outcomes(*calls[1:]) == ["b done", "c done"]
    await statements.assert_free()


async def test_what_a_statement_fails_with_is_told_to_each_who_waited_for_it() -> None:
    statements = Statements()
    calls = statements.call(*"abcd")
    await settled()
    await statements.answer()
    calls[3].cancel()
    calls += statements.call("e")
    await settled()
    lost = OSError("the line is cut")
    await statements.answer(lost)
    assert await outcomes(*calls[:3], return_exceptions=True) == ["a done", lost, lost]
    assert calls[3].cancelled()
    # Who came later is not concerned.
    await statements.answer()
    assert await calls[4] == "e done"
    await statements.assert_free()


async def test_what_is_refused_alone_is_told_to_its_caller_and_the_others_go_on() -> None:
    statements = Statements()
    calls = statements.call("refused", "b")
    await settled()
    await statements.answer()
    with pytest.raises(Refusal):
        await calls[0]
    await statements.answer()
    assert await calls[1] == "b done"
    await statements.assert_free()


async def test_an_item_that_is_refused_is_told_to_its_caller_only() -> None:
    statements = Statements()
    calls = statements.call("a", "b", "refused c", "d", "refused e")
    await settled()
    await statements.answer()
    calls[4].cancel()
    await settled()
    await statements.answer()
    answers = await outcomes(*calls, return_exceptions=True)
    assert answers[:2] == ["a done", "b done"]
    assert answers[3] == "d done"
    with pytest.raises(Refusal, match="refused c"):
        await calls[2]
    assert isinstance(answers[4], asyncio.CancelledError)
    await statements.assert_free()


async def test_who_waits_for_a_statement_that_the_programs_end_cancels_does_not_wait_for_ever() -> None:
    statements = Statements()
    calls = statements.call(*"abcd")
    await settled()
    await statements.answer()
    (task,) = statements.together._tasks
    calls += statements.call("e")
    await settled()
    task.cancel()
    await settled()
    assert [call.cancelled() for call in calls] == [False, True, True, True, False]
    statements.gates[1].cancel()
    await statements.answer()
    assert await calls[4] == "e done"
    await statements.assert_free()


async def test_no_statement_is_forgotten_while_it_is_under_way() -> None:
    """The loop itself holds its tasks weakly."""
    statements = Statements(ways=2)
    calls = statements.call(*"abcd")
    await settled()
    await statements.answer()
    assert [task.done() for task in statements.together._tasks] == [False]
    while statements.under_way:
        await statements.answer()
    await outcomes(*calls)
    assert statements.together._tasks == set()


@pytest.mark.parametrize("seed", range(20))
async def test_no_way_is_lost_whatever_happens(seed: int) -> None:  # noqa: PLR0912  a caller's ways, one by one
    chance = random.Random(seed)
    ways, most = chance.randint(1, 3), chance.randint(2, 5)
    statements = Statements(ways=ways, most=most)
    calls: dict[str, asyncio.Task[str]] = {}
    for n in range(300):
        match chance.choice(["come", "come", "come", "give up", "answer", "answer", "fail", "wait"]):
            case "come":
                name = f"refused {n}" if chance.random() < 0.2 else f"{n}"
                (calls[name],) = statements.call(name)
            case "give up" if calls:
                chance.choice(list(calls.values())).cancel()
            case "answer" | "fail" as how:
                if open_gates := [gate for gate in statements.gates if not gate.done()]:
                    gate = chance.choice(open_gates)
                    if how == "answer":
                        gate.set_result(None)
                    else:
                        gate.set_exception(OSError("the line is cut"))
            case _:
                for _ in range(chance.randint(1, 5)):
                    await asyncio.sleep(0)
    async with asyncio.timeout(SECONDS):
        await settled()
        while statements.under_way:
            await statements.answer()
        answers = await outcomes(*calls.values(), return_exceptions=True)
    told = Counter[str]()
    for name, answer in zip(calls, answers, strict=True):
        if isinstance(answer, str):
            assert answer == f"{name} done"
        elif isinstance(answer, Refusal):
            assert answer.args == (name,)
        told[type(answer).__name__] += 1
    # What is answered was sent, once, in the order of the calls, and never with more than may go together.
    order = {name: n for n, name in enumerate(calls)}
    groups = [[each] if isinstance(each, str) else each for each in statements.sent]
    sent = [item for group in groups for item in group]
    assert len(set(sent)) == len(sent)
    assert {name for name, answer in zip(calls, answers, strict=True) if isinstance(answer, str)} <= set(sent)
    for group in [sent] if ways == 1 else groups:
        assert group == sorted(group, key=order.__getitem__)
    assert 1 < max(map(len, groups)) <= most
    assert statements.most_under_way <= ways
    assert told.keys() == {"str", "Refusal", "CancelledError", "OSError"}
    await statements.assert_free()


# Events that share a statement


@pytest.fixture(scope="module")
async def twins(server: Server, template: str) -> AsyncIterator[tuple[str, str]]:
    """The URLs of two databases with the same members, #1 to #20; #5 was removed."""
    async with new_database(server, template) as one, new_database(server, template) as other:
        for url in (one, other):
            connection = await asyncpg.connect(url)
            for n in range(20):
                await rows.member(connection, status="active", deleted_at=NOON if n == 4 else None)
            await connection.close()
        yield one, other


MEXICO = timezone(timedelta(hours=-6))
SPOILT: list[dict[str, Any]] = [
    {"event_type": "message"},
    {"event_type": None},
    {"event_type": "X" * 300},
    {"platform": "Telegram"},
    {"room_id": " "},
    {"room_id": "\0"},
    {"room_id": "\ud800"},
    {"room_id": 1.5},
    {"source_id": ""},
    {"source_id": "x" * 10_000},
    {"member_id": "\0"},
    {"member_id": 5},
    {"member_id": None},
    {"occurred_at": datetime(2024, 1, 31, 12)},  # noqa: DTZ001  refused for that
    {"metadata": {"a": "\0"}},
    {"metadata": {"a": float("nan")}},
    {"metadata": {"a": "x" * 10_000}},
    {"metadata": ["a"]},
]


def events(seed: int, number: int, room: str, *, spoilt: bool) -> list[NewEvent]:
    """Made up by chance: many are duplicates, some of nobody, and some can't be stored."""
    chance = random.Random(seed)
    # The first two go alone, at the same moment: what they are the same as would be left to chance.
    made = [message(room_id=room, metadata={"n": n}) for n in ("first", "second")]
    for n in range(number - len(made)):
        event = message(
            chance.choice([None, *map(str, range(number // 20)), *range(number // 20)]),
            member_id=chance.choice(["#1", "#2", "#3", "#5", "#99"]),
            event_type=chance.choice(["MESSAGE", "REACTION"]),
            room_id=room,
            occurred_at=chance.choice(
                [None, NOON + timedelta(seconds=n), (NOON + timedelta(microseconds=n)).astimezone(MEXICO)]
            ),
            metadata=chance.choice([None, {}, {"n": n, "deep": {"text": "ñ 🌙", "list": [1, None, 2.5]}}]),
        )
        if spoilt and chance.random() < 0.2:
            event = replace(event, **chance.choice(SPOILT))
        made.append(event)
    return made


async def told(call: Coroutine[Any, Any, Event | None], *, clock: bool) -> object:
    """What came of a call, but for what differs from one time to the other: the id, and what the clock said."""
    try:
        event = await call
    except DirectoryError as error:
        return type(error), str(error), vars(error)
    if event is None:
        return None
    return replace(event, id=None, occurred_at=NOON if clock else event.occurred_at)  # type: ignore[arg-type]  # just here


async def stored(url: str, room: str) -> list[tuple[Any, ...]]:
    """The events, but for their ids and for the times that the clock said."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch(
            """
            SELECT member_id, event_type, platform, room_id, source_id, event_metadata,
                CASE WHEN occurred_at < '2025-01-01' THEN occurred_at END AS occurred_at
            FROM member_participation WHERE room_id = $1
            """,
            room,
        )
        return sorted((tuple(event) for event in found), key=repr)
    finally:
        await connection.close()


@asynccontextmanager
async def counted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[tuple[str, int]]]:
    """What is sent: SQL, and for how many events."""
    sent: list[tuple[str, int]] = []
    original = engine.fetch

    async def fetch(sql: str, *arguments: object) -> list[Any]:
        sent.append((sql, len(arguments[0]) if arguments and isinstance(arguments[0], tuple) else 1))
        return await original(sql, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "fetch", fetch)
        yield sent


@pytest.mark.parametrize("spoilt", [True, False], ids=["some refused", "none refused"])
async def test_each_of_many_at_once_gets_what_it_would_have_got_alone(
    twins: tuple[str, str], monkeypatch: pytest.MonkeyPatch, *, spoilt: bool
) -> None:
    room = f"room {spoilt}"
    given = events(7, 200, room, spoilt=spoilt)
    async with connect(twins[0], min_size=0), counted(monkeypatch) as sent:
        async with asyncio.timeout(SECONDS):
            at_once = await asyncio.gather(*(told(record(event), clock=event.occurred_at is None) for event in given))
        seen = {member.member_id: member.last_active_at for member in (await members.search(limit=100)).items}
    first, *halves = [number for _, number in sent if number > 1]
    assert 100 < first < 198 if spoilt else (first, halves) == (198, [])  # some are refused before they are sent
    async with connect(twins[1], min_size=0):
        one_by_one = [await told(record(event), clock=event.occurred_at is None) for event in given]
    for event, one, other in zip(given, at_once, one_by_one, strict=True):
        assert (event, one) == (event, other)
    assert await stored(twins[0], room) == await stored(twins[1], room)
    answered = Counter(type(answer).__name__ for answer in at_once)
    assert answered["Event"] > 50
    assert answered["NoneType"] > 20
    assert answered["tuple"] > 10
    for member_id in {answer.member_id for answer in at_once if isinstance(answer, Event)} - {"#5"}:
        assert seen[member_id] is not None


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda spoilt: f"{next(iter(spoilt))} {str(spoilt)[:30]!r}")
async def test_an_event_that_is_refused_does_not_spoil_those_beside_it(
    twins: tuple[str, str], spoilt: dict[str, Any]
) -> None:
    def call(number: int, **fields: Any) -> Coroutine[Any, Any, Event | None]:
        return record(replace(message(room_id="beside", occurred_at=NOON, metadata={"n": number}), **fields))

    async with connect(twins[0], min_size=0):
        bad = [call(0, **spoilt) for _ in range(2)]
        # Two are under way, and two wait with what is refused.
        calls = [call(1), call(2), call(3), bad[0], call(4), bad[1]]
        async with asyncio.timeout(SECONDS):
            answers = await asyncio.gather(*calls, return_exceptions=True)
        good = [answer for answer in answers if isinstance(answer, Event)]
        assert [event.metadata for event in good] == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]
        assert {type(answer) for answer in answers} <= {Event, InvalidInput, MemberNotFound}
        assert len(good) == 4


@pytest.mark.parametrize("field", ["member_id", "room_id"])
async def test_a_list_instead_of_a_text_is_refused_in_company_too(twins: tuple[str, str], field: str) -> None:
    """What is stored in spite of it is even told as another error than the alone one's, or as success."""
    spoilt = replace(message(room_id="lists"), **{field: ["#1"]})  # type: ignore[arg-type]  # an untyped caller's
    async with connect(twins[0], min_size=0) as connected, asyncio.timeout(SECONDS):
        assert connected.pool is not None
        with pytest.raises(InvalidInput):
            await record(spoilt)
        before = await connected.pool.fetchval(COUNT)
        answers = await asyncio.gather(*map(record, [message(), message(), spoilt]), return_exceptions=True)
        assert await connected.pool.fetchval(COUNT) == before + 2
        assert isinstance(answers[2], InvalidInput)


async def test_an_answer_means_that_everybody_sees_the_event(twins: tuple[str, str]) -> None:
    seen = "SELECT count(*) FROM member_participation WHERE id = $1"

    async def work(onlooker: asyncpg.Connection, number: int) -> None:
        for _ in range(5):
            event = await record(message(member_id=f"#{number}"))
            assert event is not None
            assert await onlooker.fetchval(seen, event.id) == 1

    onlookers = [await asyncpg.connect(twins[0]) for _ in range(15)]
    try:
        async with connect(twins[0], min_size=0), asyncio.timeout(SECONDS):
            await asyncio.gather(*(work(onlooker, number) for number, onlooker in enumerate(onlookers, 1)))
    finally:
        for onlooker in onlookers:
            await onlooker.close()


LOCK = "SELECT 1 FROM community_members WHERE member_id = '#1' FOR UPDATE"
"""Who holds it lets nobody record an event of #1."""


async def under_way(onlooker: asyncpg.Connection, number: int) -> list[int]:
    """The connections of those who wait for the lock, as soon as there are so many."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(SECONDS):
        while True:
            await onlooker.execute("SELECT pg_stat_clear_snapshot()")
            found = [pid for (pid,) in await onlooker.fetch(query)]
            if len(found) == number:
                return found
            await asyncio.sleep(0.01)


async def test_single_events_take_no_more_than_their_ways_however_many_come(database: str) -> None:
    async with connect(database, min_size=0) as connected:
        assert connected.pool is not None
        for _ in range(2):
            await rows.member(connected.pool)
        async with blocked(database, LOCK) as other:
            calls = [asyncio.create_task(record(message(str(n)))) for n in range(50)]
            await under_way(other, participation.WAYS)
            assert connected.pool.get_size() - connected.pool.get_idle_size() == participation.WAYS
            assert not any(call.done() for call in calls)
            # Everything else goes on beside them.
            assert (await members.get("#2")).member_id == "#2"
            assert len((await participation.record_many([message("1", member_id="#2")])).inserted) == 1
        async with asyncio.timeout(SECONDS):
            assert all(await asyncio.gather(*calls))
        assert all_idle(connected.pool)
        assert len({event.id for event in (await participation.history("#1", limit=100)).items}) == 50


async def test_an_event_of_the_callers_transaction_is_not_shared_and_ends_with_it(database: str) -> None:
    async with connect(database, min_size=0) as connected:
        assert connected.pool is not None
        for _ in range(3):
            await rows.member(connected.pool)
        async with blocked(database, LOCK) as other:
            calls = [asyncio.create_task(record(message(str(n)))) for n in range(2)]
            await under_way(other, 2)
            calls += [asyncio.create_task(record(message(str(n), member_id="#2"))) for n in range(5)]
            await settled()
            async with undone(), asyncio.timeout(SECONDS):
                # These wait for nobody, and another transaction for none of them.
                assert await record(message("mine", member_id="#3"))
                assert await record(message("mine", member_id="#3")) is None
                with pytest.raises(MemberNotFound):
                    await record(message("mine", member_id="#99"))
                assert len((await participation.history("#3")).items) == 1
            assert await connected.pool.fetchval(COUNT) == 0
        async with asyncio.timeout(SECONDS):
            assert all(await asyncio.gather(*calls))
        async with transaction():
            assert await record(message("mine", member_id="#3"))
        assert await connected.pool.fetchval(COUNT) == 8


async def test_an_event_that_is_shared_is_not_in_the_transaction_of_who_made_room_for_it(database: str) -> None:
    """A statement for those who wait is begun by whoever was under way before them."""
    async with connect(database, min_size=0) as connected:
        assert connected.pool is not None
        await rows.member(connected.pool)

        async def work(number: int) -> Event | None:
            event = await record(message(str(number)))
            async with undone():
                assert await record(message(f"undone {number}"))
                await asyncio.sleep(0)
            return event

        async with asyncio.timeout(SECONDS):
            assert all(await asyncio.gather(*(work(number) for number in range(20))))
        assert await connected.pool.fetchval(COUNT) == 20


async def test_recording_goes_on_after_the_database_was_away(database: str) -> None:
    async with connect(database, min_size=0) as connected:
        assert connected.pool is not None
        await rows.member(connected.pool)
        async with blocked(database, LOCK) as other:
            calls = [asyncio.create_task(record(message(f"alone {n}"))) for n in range(2)]
            alone = await under_way(other, 2)
            calls += [asyncio.create_task(record(message(f"together {n}"))) for n in range(5)]
            await settled()
            await other.execute("SELECT pg_terminate_backend($1, 10000)", alone[0])
            (together,) = set(await _changed(other, alone)) - set(alone)
            calls += [asyncio.create_task(record(message(f"later {n}"))) for n in range(3)]
            await settled()
            await other.execute("SELECT pg_terminate_backend($1, 10000)", together)
            later = set(await _changed(other, [alone[1], together])) - {alone[1]}
            assert len(later) == 1
        async with asyncio.timeout(SECONDS):
            answers = await asyncio.gather(*calls, return_exceptions=True)
        assert sorted(isinstance(answer, DatabaseUnavailable) for answer in answers[:2]) == [False, True]
        assert all(isinstance(answer, DatabaseUnavailable) for answer in answers[2:7])
        assert all(isinstance(answer, Event) for answer in answers[7:])
        assert await connected.pool.fetchval(COUNT) == 4
        # Now all of them at once, and then as if nothing had been.
        await cut(database)
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(record(message()) for _ in range(20)), return_exceptions=True)
            assert all(await asyncio.gather(*(record(message(f"again {n}")) for n in range(20))))
        async with blocked(database, LOCK) as other:
            calls = [asyncio.create_task(record(message())) for n in range(5)]
            await under_way(other, participation.WAYS)
        assert all(await asyncio.gather(*calls))
        assert all_idle(connected.pool)


async def _changed(onlooker: asyncpg.Connection, before: list[int]) -> list[int]:
    """Who waits for the lock, as soon as others do than before."""
    async with asyncio.timeout(SECONDS):
        while set(found := await under_way(onlooker, len(before))) == set(before):
            await asyncio.sleep(0.01)
    return found


async def test_callers_who_give_up_lose_no_way(database: str) -> None:
    chance = random.Random(3)
    async with connect(database, min_size=0) as connected:
        assert connected.pool is not None
        await rows.member(connected.pool)
        answers: list[Any] = []
        for _ in range(15):
            calls = [asyncio.create_task(record(message())) for _ in range(12)]
            for call in chance.sample(calls, 5):
                for _ in range(chance.randint(0, 15)):
                    await asyncio.sleep(0)
                call.cancel()
            async with asyncio.timeout(SECONDS):
                answers += await asyncio.gather(*calls, return_exceptions=True)
        assert {type(answer) for answer in answers} == {Event, asyncio.CancelledError}
        stored = {event for (event,) in await connected.pool.fetch("SELECT id FROM member_participation")}
        assert {answer.id for answer in answers if isinstance(answer, Event)} <= stored
        async with blocked(database, LOCK) as other:
            calls = [asyncio.create_task(record(message())) for n in range(5)]
            await under_way(other, participation.WAYS)
        assert all(await asyncio.gather(*calls))
        assert all_idle(connected.pool)


async def test_recording_goes_on_in_another_connection(twins: tuple[str, str]) -> None:
    """The ways are the pool's: those of one that was closed are nobody's any more."""
    for n in range(3):
        for url in twins:
            async with connect(url, min_size=0) as connected, asyncio.timeout(SECONDS):
                pool = weakref.ref(connected.pool)
                calls = [asyncio.create_task(record(message(f"{n} {m}", room_id="again"))) for m in range(10)]
                if n == 1:
                    await settled()
                    assert all(call.cancel() for call in calls)
                await asyncio.gather(*calls, return_exceptions=True)
                assert all(await asyncio.gather(*(record(message(room_id="again")) for _ in range(10))))
            calls.clear()  # what they failed with remembers where
            async with asyncio.timeout(SECONDS):
                while pool() is not None:
                    gc.collect()
                    await asyncio.sleep(0.01)


async def test_without_a_pool_each_event_goes_alone(twins: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", twins[0])
    monkeypatch.setattr(engine, "config", {})
    async with counted(monkeypatch) as sent:
        assert all(await asyncio.gather(*(record(message(room_id="no pool")) for _ in range(5))))
    assert [number for _, number in sent] == [1] * 5


async def test_what_waits_when_the_pool_is_closed_is_not_recorded_elsewhere(
    server: Server, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(participation, "BATCH", 2)
    async with new_database(server, template) as here, new_database(server, template) as elsewhere:
        for url in (here, elsewhere):
            connection = await asyncpg.connect(url)
            await rows.member(connection)
            await connection.close()
        async with asyncio.timeout(SECONDS):
            async with blocked(here, LOCK) as other:
                async with connect(here, min_size=0):
                    calls = [asyncio.create_task(record(message(str(n)))) for n in range(8)]
                    await under_way(other, 2)
                connecting = connect(elsewhere, min_size=0)
                connected = await connecting.__aenter__()
            await asyncio.gather(*calls, return_exceptions=True)
        assert connected.pool is not None
        there = await connected.pool.fetchval(COUNT)
        await connecting.__aexit__(None, None, None)
        assert there == 0
