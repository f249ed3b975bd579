"""A stream of events: complete, each once, oldest first, and with short queries."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from community_directory.database import engine
from community_directory.errors import InvalidInput
from community_directory.queries import event_stream, members, participation
from community_directory.queries.event_stream import HIGHEST_KEY
from community_directory.queries.participation import Event
from tests.tables import rows

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def read(**asked: Any) -> list[Event]:
    return [event async for event in participation.stream(**asked)]


@pytest.fixture
async def events(directory: asyncpg.Pool) -> list[asyncpg.Record]:
    """Thirty events of two members and five of a bot, many at the same time; in their order."""
    for is_bot in (False, False, True):
        await rows.member(directory, is_bot=is_bot)
    stored = [
        await rows.event(
            directory,
            member_id=f"#{number % 2 + 1}",
            platform=["telegram", "discord"][number % 3 // 2],
            event_type=["MESSAGE", "REACTION"][number % 5 // 4],
            occurred_at=NOON + number // 7 * MINUTE,
        )
        for number in range(30)
    ]
    for _ in range(5):
        await rows.event(directory, member_id="#3", occurred_at=NOON)
    return sorted(stored, key=lambda event: (event["occurred_at"], event["id"]))


@pytest.mark.parametrize("pages", [1, 10])
@pytest.mark.parametrize("page_size", [1, 2, 7, 30, 1000])
async def test_a_stream_has_each_event_once_oldest_first(
    events: list[asyncpg.Record], page_size: int, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "WINDOW_PAGES", pages)
    for asked in (
        {},
        {"member_id": 1},
        {"platform": "discord"},
        {"event_type": "REACTION"},
        {"member_id": "#2", "platform": "telegram", "event_type": "MESSAGE"},
        {"platform": "matrix"},
        {"member_id": 3},
    ):
        expected = [
            event["id"]
            for event in events
            if asked.get("member_id") in (None, event["member_id"], int(event["member_id"][1:]))
            and asked.get("platform") in (None, event["platform"])
            and asked.get("event_type") in (None, event["event_type"])
        ]
        streamed = await read(page_size=page_size, **asked)
        assert [event.id for event in streamed] == expected, asked


async def test_the_days_of_a_stream_begin_and_end_at_midnight_of_the_zone(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    # The first of the two days has 23 hours.
    starts = [datetime(2024, 3, 10, 5, tzinfo=UTC), datetime(2024, 3, 11, 4, tzinfo=UTC)]
    moments = [start + shift * timedelta(microseconds=1) for start in starts for shift in (-1, 0)]
    for moment in moments:
        await rows.event(directory, member_id="#1", occurred_at=moment)
    first, second = date(2024, 3, 10), date(2024, 3, 11)
    for since, until, expected in (
        (None, None, moments),
        (first, None, moments[1:]),
        (None, first, moments[:3]),
        (first, first, moments[1:3]),
        (second, second, moments[3:]),
        (second, second + timedelta(days=1), moments[3:]),
    ):
        streamed = await read(since=since, until=until, zone="America/New_York", page_size=1)
        assert [event.occurred_at for event in streamed] == expected


async def test_others_write_while_a_stream_is_read(
    directory: asyncpg.Pool, events: list[asyncpg.Record]
) -> None:
    """Each event that stays comes once, whatever comes and goes around it."""
    deleted = {event["id"] for event in events[2::5]}
    streamed = []
    async for event in participation.stream(page_size=2):
        streamed.append(event.id)
        assert len(streamed) < 100
        for moment in (NOON - MINUTE, event.occurred_at):
            await rows.event(directory, member_id="#2", occurred_at=moment)
        if len(streamed) == 3:
            await directory.execute("DELETE FROM member_participation WHERE id = ANY($1)", deleted)
            await members.mark_bot("#2", actor="ana")
            await members.mark_bot("#2", False, actor="ana")
        if len(streamed) > 60:
            break
    assert len(set(streamed)) == len(streamed)
    there = [event["id"] for event in events if event["id"] not in deleted]
    assert [key for key in streamed if key in there] == there


async def test_a_stream_holds_no_transaction_and_no_connection_between_two_pages(
    directory: asyncpg.Pool, events: list[asyncpg.Record]
) -> None:
    async for _ in participation.stream(page_size=10):
        assert not engine.transaction_exists()
        assert (
            await directory.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state <> 'idle'"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            == 0
        )


async def test_the_number_of_a_merged_member_leads_to_the_other_one(
    directory: asyncpg.Pool, events: list[asyncpg.Record]
) -> None:
    merged = await rows.merged_member(directory, merged_into="#1")
    assert len(await read(member_id=merged["member_id"])) == 15


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"page_size": 0}, "page_size"),
        ({"page_size": 1001}, "page_size"),
        ({"since": date(2026, 1, 2), "until": date(2026, 1, 1)}, "until"),
        ({"since": NOON}, "since"),
        ({"platform": "x" * 51}, "platform"),
        ({"event_type": 5}, "event_type"),
        ({"member_id": 1.5}, "member_id"),
        ({"zone": "Mars/Olympus", "since": date(2026, 1, 2)}, "zone"),
    ],
    ids=str,
)
async def test_a_stream_refuses_what_no_event_has(
    directory: asyncpg.Pool, asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await read(**asked)
    assert refused.value.field == field


@pytest.mark.parametrize("window", ["all", "member"])
async def test_a_window_is_found_and_read_from_an_index(
    directory: asyncpg.Pool, window: str
) -> None:
    await directory.execute(
        """
        SET session_replication_role = replica;
        INSERT INTO community_members (member_id, telegram_id, name, primary_role)
        SELECT '#' || n, n::text, 'Member ' || n, 'developer' FROM generate_series(1, 500) AS n;
        INSERT INTO member_participation
            (member_id, event_type, platform, room_id, source_id, occurred_at)
        SELECT '#' || n % 500 + 1, 'MESSAGE', 'telegram', '-100', n::text,
            timestamptz '2024-01-31 00:00Z' - n * interval '86 seconds'
        FROM generate_series(1, 20000) AS n;
        RESET session_replication_role;
        """
    )
    await directory.execute("VACUUM ANALYZE")
    index = {"all": "participation_occurred_at_idx", "member": "participation_member_id_idx"}
    statements = event_stream.WINDOW_OF_ALL if window == "all" else event_stream.WINDOW_OF_MEMBER
    at = datetime(2024, 1, 20, tzinfo=UTC)
    values: dict[str, object] = {
        "last_time": at,
        "last_id": HIGHEST_KEY,
        "window_end": at + timedelta(hours=1),
        "end": event_stream.LATEST_TIME,
        "member_id": "#247",
        "platform": None,
        "event_type": "MESSAGE",
        "limit": 100,
        "events": 1000,
    }
    async with engine.transaction() as current:
        for statement in statements:
            arguments = [values[name] for name in statement.parameters]
            found = await current.connection.fetchval(
                f"EXPLAIN (FORMAT JSON) {statement.sql}", *arguments
            )
            read_nodes = {
                (node.get("Index Name"), node["Node Type"])
                for node in nodes(json.loads(found)[0]["Plan"])
                if node.get("Relation Name") == "member_participation"
            }
            expected = "Index Only Scan" if statement is statements.find_end else "Index Scan"
            assert read_nodes == {(index[window], expected)}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


# Members


async def test_others_write_while_members_are_streamed(directory: asyncpg.Pool) -> None:
    """Each member who meets the conditions throughout comes once."""
    for number in range(12):
        await rows.member(
            directory, status="active", name="Ana", created_at=NOON + number // 3 * MINUTE
        )
    streamed = []
    async for member in members.stream("ana", page_size=2):
        streamed.append(member.member_id)
        assert len(streamed) < 100
        moment = member.created_at
        await rows.member(directory, status="active", name="Ana", created_at=moment)
        await rows.member(directory, status="active", name="Ana", created_at=moment + MINUTE)
        await directory.execute(
            "UPDATE community_members SET reputation_score = 900 WHERE id = $1", member.id
        )
        if len(streamed) == 3:
            await members.remove("#2", actor="ana")
        if len(streamed) > 60:
            break
    assert len(set(streamed)) == len(streamed)
    there = [f"#{number}" for number in range(1, 13) if number != 2]
    assert {number for number in streamed if number in there} == set(there)
