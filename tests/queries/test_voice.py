"""Voice stays: a duration is a number of seconds, and the stored time is the start."""

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from community_directory.errors import InvalidInput
from community_directory.queries import highlights, members, participation
from community_directory.queries.events import prepare_event
from community_directory.queries.participation import NewEvent
from community_directory.tables.checks import MAX_VOICE_SECONDS, VOICE_DURATION_KEYS
from tests.tables import rows

STAY = timedelta(hours=3)
TOLERANCE = timedelta(minutes=5)
BAD_DURATIONS = [
    *("60", "", "1:30", None, True, False, [], [60], {"seconds": 60}, Decimal(60), 1 + 0j),
    *(-1, -0.001, MAX_VOICE_SECONDS + 1, MAX_VOICE_SECONDS + 0.5, 10**400, 1e300),
    *(math.nan, math.inf, -math.inf),
]


def voice(metadata: Any, **fields: Any) -> NewEvent:
    return NewEvent(
        member_id="#1",
        event_type=fields.pop("event_type", "VOICE"),
        platform="discord",
        room_id="1",
        metadata=metadata,
        **fields,
    )


async def record(event: NewEvent) -> None:
    await participation.record(
        member_id=event.member_id,
        event_type=event.event_type,
        platform=event.platform,
        room_id=event.room_id,
        occurred_at=event.occurred_at,
        metadata=event.metadata,
    )


async def record_batch(event: NewEvent) -> None:
    recorded = await participation.record_many([event])
    for refused in recorded.refused:
        raise refused.error


async def stream(event: NewEvent) -> None:
    async with participation.recorder() as recorder:
        recorder.add(event)


WRITERS = pytest.mark.parametrize("write", [record, record_batch, stream])
Write = Callable[[NewEvent], Awaitable[None]]


@pytest.mark.parametrize("duration", BAD_DURATIONS, ids=repr)
@pytest.mark.parametrize("key", VOICE_DURATION_KEYS)
async def test_a_duration_that_is_no_number_of_seconds_is_refused(
    directory: asyncpg.Pool, key: str, duration: object
) -> None:
    await rows.member(directory)
    event = voice({key: duration})
    for write in (record, record_batch, stream):
        with pytest.raises(InvalidInput) as refused:
            await write(event)
        assert refused.value.field == "metadata"
        assert "number of seconds" in str(refused.value)
    assert await directory.fetchval("SELECT count(*) FROM member_participation") == 0


async def test_a_bad_duration_is_refused_beside_a_good_one(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    with pytest.raises(InvalidInput):
        await record(voice({"duration_seconds": 60, "voice_duration_seconds": "60"}))


@pytest.mark.parametrize(
    "metadata", [None, {}, {"duration_seconds": 0}, {"voice_duration_seconds": 0.5}]
)
async def test_a_stay_of_a_known_or_unknown_duration_is_stored(
    directory: asyncpg.Pool, metadata: dict[str, object] | None
) -> None:
    await rows.member(directory)
    await record(voice(metadata, occurred_at=datetime(2026, 1, 31, tzinfo=UTC)))
    (page,) = (await participation.history("#1")).items
    assert (page.metadata, page.occurred_at) == (metadata, datetime(2026, 1, 31, tzinfo=UTC))


async def test_the_duration_of_another_event_may_be_anything(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await record(voice({"duration_seconds": "1:30"}, event_type="MESSAGE"))
    assert await directory.fetchval("SELECT count(*) FROM member_participation") == 1


@WRITERS
@pytest.mark.parametrize("key", VOICE_DURATION_KEYS)
async def test_a_stay_without_a_time_ends_when_it_is_stored(
    directory: asyncpg.Pool, write: Write, key: str
) -> None:
    await rows.member(directory)
    before = datetime.now(UTC)
    await write(voice({key: STAY.total_seconds()}))
    start = await directory.fetchval("SELECT occurred_at FROM member_participation")
    assert before - STAY - TOLERANCE <= start <= datetime.now(UTC) - STAY + TOLERANCE


def test_a_stay_that_waits_to_be_stored_ends_at_its_default_time() -> None:
    event = voice({"duration_seconds": STAY.total_seconds()})
    at = datetime(2026, 1, 31, tzinfo=UTC)
    assert prepare_event(event, default_time=at).row.occurred_at == at - STAY


@WRITERS
async def test_the_time_of_a_stay_is_its_start(directory: asyncpg.Pool, write: Write) -> None:
    await rows.member(directory)
    at = datetime(2026, 1, 31, 22, tzinfo=UTC)
    await write(voice({"duration_seconds": 7200}, occurred_at=at))
    assert await directory.fetchval("SELECT occurred_at FROM member_participation") == at


async def test_an_erased_person_keeps_the_durations_under_both_names(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    for metadata in ({"duration_seconds": 60, "title": "x"}, {"voice_duration_seconds": 90}, {}):
        await record(voice(metadata))
    await members.erase("#1", actor="bot")
    found = await directory.fetch("SELECT event_metadata FROM member_participation")
    assert sorted(str(row["event_metadata"]) for row in found) == [
        "None",
        '{"duration_seconds": 60}',
        '{"voice_duration_seconds": 90}',
    ]


async def test_a_duration_that_no_float_can_be_is_counted(directory: asyncpg.Pool) -> None:
    member = await rows.member(directory)
    await directory.execute(
        """INSERT INTO member_participation
            (id, member_id, event_type, platform, room_id, occurred_at, event_metadata)
        VALUES (gen_random_uuid(), $1, 'VOICE', 'discord', '1', '2026-01-31',
            '{"duration_seconds": 1e-400}')""",
        member["member_id"],
    )
    await highlights.roll_up(date(2026, 1, 31))
    page = await highlights.between(date(2026, 1, 31), date(2026, 1, 31))
    assert [row.voice_minutes for row in page.items] == [0]
