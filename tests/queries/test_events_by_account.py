"""Events that are recorded by an account of the member, or by the number of a merged member."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import pytest

from community_directory.errors import InvalidInput, MemberNotFound
from community_directory.queries import participation
from community_directory.queries.participation import Event, NewEvent
from tests.queries.test_participation import blocked, last_active_at
from tests.tables import rows
from tests.waiting import until_blocked_by

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)
ANA = "#1"
LINK = """
INSERT INTO member_accounts (id, platform, account_id, member_id, proof, proved_at)
VALUES (gen_random_uuid(), $1, $2, $3, 'code', now())
"""
MERGE = """
UPDATE community_members
SET merged_into = $2, deleted_at = now(), telegram_id = 'merged:' || gen_random_uuid()
WHERE member_id = $1
"""
AUTHORS = "SELECT member_id FROM member_participation ORDER BY source_id"


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> None:
    """#1, who has an account on Telegram and one on Discord."""
    await rows.member(directory, telegram_id="1001")
    await directory.execute(LINK, "discord", "5", ANA)


@pytest.fixture
async def merged(directory: asyncpg.Pool, ana: None) -> None:
    """#2, who was merged into #1."""
    await rows.member(directory, telegram_id="2002")
    await directory.execute(MERGE, "#2", ANA)


def message(source_id: str, **author: Any) -> NewEvent:
    return NewEvent(
        event_type="MESSAGE",
        platform="discord",
        room_id="7",
        source_id=source_id,
        occurred_at=NOON,
        **author,
    )


async def record(event: NewEvent) -> Event | None:
    return await participation.record(
        **{name: getattr(event, name) for name in NewEvent.__dataclass_fields__}
    )


@pytest.mark.parametrize(
    "account", [("discord", "5"), ("discord", 5), ("discord", " <@5> "), ("telegram", 1001)]
)
@pytest.mark.usefixtures("ana")
async def test_an_event_of_an_account_is_the_members(account: tuple[str, str | int]) -> None:
    event = await record(message("1", account=account))
    assert event is not None
    assert event.member_id == ANA
    assert await last_active_at(ANA) == NOON


@pytest.mark.usefixtures("ana")
async def test_the_same_event_by_account_and_by_number_is_stored_once() -> None:
    assert await record(message("1", account=("discord", "5"))) is not None
    assert await record(message("1", member_id=ANA)) is None
    recorded = await participation.record_many(
        [message("2", member_id=ANA), message("2", account=("telegram", "1001"))]
    )
    assert (len(recorded.inserted), len(recorded.duplicates)) == (1, 1)


@pytest.mark.parametrize("account", [("discord", "6"), ("slack", "5"), ("telegram", "5")])
@pytest.mark.usefixtures("ana")
async def test_an_event_of_an_unknown_account_is_refused(account: tuple[str, str]) -> None:
    with pytest.raises(MemberNotFound, match=f"There is no member {':'.join(account)}"):
        await record(message("1", account=account))


@pytest.mark.parametrize(
    ("author", "field"),
    [
        ({}, "member_id"),
        ({"member_id": ANA, "account": ("discord", "5")}, "member_id"),
        ({"account": ("discord",)}, "account"),
        ({"account": 5}, "account"),
        ({"account": "abc"}, "account"),
        ({"account": ("Discord", "5")}, "platform"),
        ({"account": ("discord", "05")}, "account_id"),
        ({"account": ("discord", None)}, "account_id"),
        ({"account": (None, "5")}, "platform"),
    ],
)
@pytest.mark.usefixtures("ana")
async def test_an_event_has_a_number_or_a_well_formed_account(
    author: Mapping[str, Any], field: str
) -> None:
    event = message("1", **author)
    with pytest.raises(InvalidInput) as error:
        await record(event)
    assert error.value.field == field
    recorded = await participation.record_many([event, message("2", member_id=ANA)])
    assert ([each.event for each in recorded.refused], len(recorded.inserted)) == ([event], 1)


@pytest.mark.usefixtures("merged")
async def test_a_batch_mixes_numbers_and_accounts(directory: asyncpg.Pool) -> None:
    await rows.member(directory, telegram_id="3003", member_id="#3")
    # The accounts telegram 5 and discord 3003 belong to nobody, although their parts are known.
    unknown = [
        message("8", account=("telegram", "5")),
        message("8", account=("discord", "3003")),
        message("8", member_id="#9"),
    ]
    known = [
        message("1", member_id=ANA),
        message("2", account=("discord", "5")),
        message("3", member_id="#2"),
        message("4", member_id="#3"),
        message("5", account=("telegram", "3003")),
        message("6", account=("telegram", "1001")),
    ]
    recorded = await participation.record_many([*unknown, *known])
    assert (recorded.inserted, recorded.unknown) == (known, unknown)
    stored = await directory.fetch(AUTHORS)
    assert [member_id for (member_id,) in stored] == [ANA, ANA, ANA, "#3", "#3", ANA]


@pytest.mark.usefixtures("ana")
async def test_a_recorder_takes_events_of_accounts(directory: asyncpg.Pool) -> None:
    async with participation.recorder() as recorder:
        recorder.add(message("1", account=("discord", "5")))
        recorder.add(message("2", account=("discord", "6")))
    assert (recorder.stored, recorder.unknown) == (1, 1)


@pytest.mark.usefixtures("merged")
async def test_a_reaction_is_taken_back_by_account_and_by_a_merged_number() -> None:
    for author in ({"account": ("discord", "5")}, {"member_id": "#2"}, {"member_id": ANA}):
        assert await record(message("1", member_id=ANA)) is not None
        taken: dict[str, Any] = {
            **author,
            "platform": "discord",
            "room_id": "7",
            "source_id": "1",
            "event_type": "MESSAGE",
        }
        assert [await participation.take_back(**taken) for _ in range(2)] == [True, False]


@pytest.mark.usefixtures("merged")
async def test_the_number_of_a_merged_member_has_the_history_of_the_other_one() -> None:
    await record(message("1", member_id=ANA))
    history = await participation.history("#2")
    assert [event.member_id for event in history.items] == [ANA]
    day = date(2024, 1, 31)
    assert await participation.activity("#2", since=day, until=day) == [
        participation.Activity(day, "MESSAGE", 1)
    ]


@pytest.mark.usefixtures("merged")
@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
async def test_an_event_of_a_merged_member_moves_the_last_activity_of_the_other_one(
    directory: asyncpg.Pool, batch: bool
) -> None:
    """It never moves it backwards, either."""
    later = NOON.replace(hour=18)
    for source_id, at, expected in (("1", NOON, NOON), ("2", later, later), ("3", NOON, later)):
        event = NewEvent(
            member_id="#2",
            event_type="MESSAGE",
            platform="discord",
            room_id="7",
            source_id=source_id,
            occurred_at=at,
        )
        await (participation.record_many([event]) if batch else record(event))
        assert await last_active_at(ANA) == expected
    last = "SELECT last_active_at FROM community_members WHERE member_id = '#2'"
    assert await directory.fetchval(last) is None


@pytest.mark.parametrize("batch", [False, True], ids=["one", "batch"])
@pytest.mark.parametrize("author", [{"member_id": "#2"}, {"account": ("telegram", "2002")}])
@pytest.mark.usefixtures("ana")
async def test_an_event_that_waits_for_a_merge_is_the_other_ones(
    database: str, directory: asyncpg.Pool, author: Mapping[str, Any], batch: bool
) -> None:
    await rows.member(directory, telegram_id="2002")
    event = message("1", **author)
    async with blocked(database, MERGE, "#2", ANA) as merging:
        await merging.execute(
            "UPDATE member_accounts SET member_id = $1 WHERE member_id = '#2'", ANA
        )
        recording = asyncio.ensure_future(
            participation.record_many([event]) if batch else record(event)
        )
        await until_blocked_by(merging)
        await merging.execute("COMMIT")
        await asyncio.wait_for(recording, 10)
    assert await directory.fetchval(AUTHORS) == ANA
