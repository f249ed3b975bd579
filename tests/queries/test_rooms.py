"""A room that becomes another room: its events go on there, each of them once."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from community_directory.errors import InvalidInput
from community_directory.jobs import roll_up_recent
from community_directory.queries import highlights, participation
from community_directory.queries.merge_locks import LOCK_OUT_MERGES
from community_directory.queries.participation import NewEvent
from tests.queries.recounts import find_wrong_counts
from tests.queries.test_participation import blocked
from tests.tables import rows
from tests.waiting import until_blocked_by

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
OLD, NEW = "-4242", "-1001234567890"
PLACES = """
    SELECT room_id, source_id, event_type, member_id FROM member_participation
    ORDER BY room_id, source_id, event_type, member_id
"""


def event(source_id: str | int | None, room_id: str = OLD, **fields: object) -> NewEvent:
    """Return a message of #1 in the old group."""
    given: dict[str, object] = {
        "member_id": "#1",
        "event_type": "MESSAGE",
        "platform": "telegram",
        "occurred_at": NOON,
        **fields,
    }
    return NewEvent(room_id=room_id, source_id=source_id, **given)  # type: ignore[arg-type]


async def places(directory: asyncpg.Pool) -> list[tuple[str, str | None]]:
    return [(row["room_id"], row["source_id"]) for row in await directory.fetch(PLACES)]


async def test_the_events_of_a_group_move_to_its_supergroup_under_other_ids(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await participation.record_many([event(42), event("poll-7"), event(None), event(1, "-99")])
    assert await participation.move_room("telegram", int(OLD), int(NEW)) == 3
    assert await places(directory) == [
        (NEW, "-4242:poll-7"),
        (NEW, "-999999958"),
        (NEW, None),
        ("-99", "1"),
    ]
    assert await participation.move_room("telegram", OLD, NEW) == 0


async def test_a_late_delivery_to_the_old_room_ends_in_the_new_one_once(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await participation.record_many([event(42)])
    await participation.move_room("telegram", OLD, NEW)
    recorded = await participation.record_many([event(42), event(43), event("x")])
    assert (len(recorded.inserted), len(recorded.duplicates)) == (2, 1)
    for source_id, is_new in ((42, False), (43, False), (44, True)):
        stored = await participation.record(
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id=OLD,
            source_id=source_id,
            occurred_at=NOON,
        )
        assert (stored is not None) is is_new
        assert stored is None or (stored.room_id, stored.source_id) == (NEW, "-999999956")
    async with participation.recorder() as stream:
        stream.add(event(44))
        stream.add(event(45))
    assert (stream.stored, stream.duplicates) == (1, 1)
    assert {room_id for room_id, _ in await places(directory)} == {NEW}


async def test_events_that_the_new_room_has_already_are_stored_once(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await rows.member(directory)
    await participation.record_many(
        [
            event(42),
            event(42, event_type="REACTION"),
            event(42, member_id="#2"),
            event(-999_999_958, NEW),
        ]
    )
    assert await participation.move_room("telegram", OLD, NEW) == 2
    assert [tuple(row) for row in await directory.fetch(PLACES)] == [
        (NEW, "-999999958", "MESSAGE", "#1"),
        (NEW, "-999999958", "MESSAGE", "#2"),
        (NEW, "-999999958", "REACTION", "#1"),
    ]


async def test_a_room_of_another_platform_keeps_its_ids_behind_the_name_of_the_old_room(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    given = {"platform": "discord"}
    await participation.record_many([event(7, "700", **given), event(7, "701", **given)])
    assert await participation.move_room("discord", 700, 701) == 1
    assert await places(directory) == [("701", "7"), ("701", "700:7")]
    late = await participation.record_many([event(7, "700", **given)])
    assert len(late.duplicates) == 1


async def test_a_room_can_move_again(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    for platform in ("telegram", "matrix"):
        given = {"platform": platform}
        await participation.record_many([event(5, "-1", **given), event("x", "-1", **given)])
        await participation.move_room(platform, "-1", "-2")
        await participation.move_room(platform, "-2", "-3")
        late = await participation.record_many(
            [event(5, "-1", **given), event("x", "-1", **given), event(6, "-1", **given)]
        )
        assert (len(late.duplicates), len(late.inserted)) == (2, 1)
    assert {room_id for room_id, _ in await places(directory)} == {"-3"}


@pytest.mark.parametrize(
    ("platform", "old", "new", "message"),
    [
        ("telegram", OLD, OLD, "A room can't move to itself."),
        ("telegram", " ", NEW, "A room's id can't be blank."),
        ("telegram", OLD, "", "A room's id can't be blank."),
        ("Telegram", OLD, NEW, "A platform must be a lower-case name such as telegram."),
        ("telegram", "\0", NEW, "can't be stored"),
        ("telegram", "x" * 256, NEW, "at most 255"),
        ("telegram", "-1", "-3", "Room -1 has moved to -2: name that room."),
        ("telegram", "-2", "-1", "Room -1 has moved to -2: name that room."),
        ("telegram", "-5", "-1", "Room -1 has moved to -2: name that room."),
        ("telegram", None, NEW, "must be a text or an integer"),
    ],
)
async def test_a_move_that_makes_no_sense_is_refused_and_changes_nothing(
    directory: asyncpg.Pool, platform: str, old: str, new: str, message: str
) -> None:
    await rows.member(directory)
    await participation.record_many([event(1), event(1, "-2"), event(1, "-5")])
    await participation.move_room("telegram", "-1", "-2")
    before = await places(directory)
    with pytest.raises(InvalidInput, match=message):
        await participation.move_room(platform, old, new)
    assert await places(directory) == before
    assert await directory.fetchval("SELECT count(*) FROM directory_moved_rooms") == 1


async def test_no_event_stays_in_the_old_room_if_it_is_recorded_during_the_move(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    recorded = 0

    async def record() -> None:
        nonlocal recorded
        for batch in range(40):
            found = await participation.record_many([event(batch * 5 + n + 1) for n in range(5)])
            recorded += len(found.inserted)

    recording = asyncio.create_task(record())
    while not recorded:
        await asyncio.sleep(0)
    moved = await participation.move_room("telegram", OLD, NEW)
    await recording
    assert 0 < moved <= recorded == 200
    assert {room_id for room_id, _ in await places(directory)} == {NEW}


async def test_moves_at_the_same_time_wait_for_each_other(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await participation.record_many([event(number) for number in range(1, 51)])
    moved = await asyncio.gather(*(participation.move_room("telegram", OLD, NEW) for _ in range(4)))
    assert sorted(moved) == [0, 0, 0, 50]


async def test_a_move_changes_no_highlight(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await participation.record_many(
        [event(number, occurred_at=NOON + timedelta(minutes=number)) for number in range(1, 4)]
    )
    await highlights.roll_up(NOON.date())
    await participation.move_room("telegram", OLD, NEW)
    assert await highlights.verify(NOON.date()) == []


# Events that are taken back


async def test_a_reaction_that_is_taken_back_is_no_longer_counted(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    await participation.record_many(
        [
            event(42),
            event(42, event_type="REACTION"),
            event(42, event_type="REACTION", member_id="#2"),
            event(43, event_type="REACTION"),
        ]
    )
    await highlights.roll_up(NOON.date())
    place = {"member_id": 1, "platform": "telegram", "room_id": int(OLD), "source_id": 42}
    assert await participation.take_back(**place) is True  # type: ignore[arg-type]
    assert await participation.take_back(**place) is False  # type: ignore[arg-type]
    await highlights.roll_up(NOON.date())
    page = await highlights.between(NOON.date(), NOON.date())
    assert {row.member_id: (row.message_count, row.reaction_count) for row in page.items} == {
        "#1": (1, 1),
        "#2": (0, 1),
    }
    assert len((await participation.record_many([event(42, event_type="REACTION")])).inserted) == 1


async def test_a_reaction_in_a_room_that_has_moved_can_be_taken_back(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await participation.record_many(
        [event(n, event_type="REACTION") for n in (42, 43)]
        + [event(42, NEW, event_type="REACTION")]
    )
    await participation.move_room("telegram", OLD, NEW)
    for room_id, source_id in ((OLD, 42), (NEW, "-999999957")):
        assert await participation.take_back(
            member_id="#1", platform="telegram", room_id=room_id, source_id=source_id
        )
    assert await places(directory) == [(NEW, "42")]


async def test_only_the_named_event_is_taken_back(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await participation.record_many([event(42), event(42, event_type="REACTION"), event(None)])
    place = {"member_id": "#1", "platform": "telegram", "room_id": OLD, "source_id": 42}
    for changed in (
        {"member_id": "#2"},
        {"platform": "discord"},
        {"room_id": "-1"},
        {"source_id": 43},
        {"event_type": "VOICE"},
    ):
        assert not await participation.take_back(**{**place, **changed})  # type: ignore[arg-type]
    assert len(await places(directory)) == 3
    assert await participation.take_back(**place, event_type="MESSAGE")  # type: ignore[arg-type]
    assert await places(directory) == [(OLD, "42"), (OLD, None)]
    with pytest.raises(InvalidInput):
        await participation.take_back(**{**place, "source_id": "\0"})  # type: ignore[arg-type]


async def test_the_counts_of_a_room_move_without_a_roll_up(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await rows.member(directory)
    await participation.record_many(
        [
            event(1),
            event(2, member_id="#2"),
            event(3, event_type="REACTION"),
            event(4, occurred_at=NOON + timedelta(days=1)),
            event(5, NEW),
            event(6, "-99"),
            event(7, platform="discord"),
        ]
    )
    await highlights.roll_up(NOON.date(), until=NOON.date() + timedelta(days=1))
    await participation.move_room("telegram", OLD, NEW)
    assert await find_wrong_counts(directory) == {}
    assert await roll_up_recent() == 0


async def test_a_day_that_loses_repeated_events_is_rolled_up_again(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    await participation.record_many([event(42), event(43), event(-999_999_958, NEW)])
    await highlights.roll_up(NOON.date())
    await participation.move_room("telegram", OLD, NEW)
    assert await roll_up_recent() == 1
    assert await find_wrong_counts(directory) == {}


async def test_a_move_waits_for_a_roll_up_that_could_count_the_old_room(
    directory: asyncpg.Pool, database: str
) -> None:
    await rows.member(directory)
    await participation.record_many([event(42)])
    async with blocked(database, LOCK_OUT_MERGES) as roll_up:
        moving = asyncio.create_task(participation.move_room("telegram", OLD, NEW))
        await until_blocked_by(roll_up)
        # Whoever stores events does not wait.
        await participation.record_many([event(43)])
    assert await moving == 2
