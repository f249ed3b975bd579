"""Participation events: their columns and defaults."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from community_directory.tables import EventType, MemberParticipation, Platform
from tests.tables import rows

pytestmark = pytest.mark.schema

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_an_event_is_read_back_as_it_was_stored(directory: asyncpg.Pool) -> None:
    member = await rows.member(directory)
    columns = {
        "member_id": member["member_id"],
        "event_type": EventType.VOICE,
        "platform": Platform.DISCORD,
        "room_id": "#general",
        "event_metadata": {"minutes": 30},
        "occurred_at": NOON,
        "source_id": "987",
    }
    written = MemberParticipation(**columns)
    await written.save()

    read = (
        await MemberParticipation.objects()
        .output(load_json=True)
        .get(MemberParticipation.id == written.id)
    )
    assert read is not None
    assert read.to_dict() == columns | {"id": written.id}


async def test_an_event_without_a_time_has_the_time_at_which_it_is_stored(
    directory: asyncpg.Pool,
) -> None:
    by_sql = await rows.event(directory)
    by_class = MemberParticipation(
        member_id=by_sql["member_id"],
        event_type=EventType.MESSAGE,
        platform=Platform.TELEGRAM,
        room_id="-100",
    )
    await by_class.save()
    await by_class.refresh()

    for occurred_at in (by_sql["occurred_at"], by_class.occurred_at):
        assert datetime.now(UTC) - occurred_at < timedelta(minutes=1)
    assert by_sql["id"] != by_class.id
    for optional in ("source_id", "event_metadata"):
        assert by_sql[optional] is None
        assert getattr(by_class, optional) is None


async def test_an_event_is_displayed_by_its_member_and_type(directory: asyncpg.Pool) -> None:
    await rows.event(directory)
    assert await MemberParticipation.select(MemberParticipation.get_readable()) == [
        {"readable": "#1 MESSAGE"}
    ]


async def test_events_without_a_source_id_may_repeat(directory: asyncpg.Pool) -> None:
    member = await rows.member(directory)
    for _ in range(2):
        await rows.event(directory, member_id=member["member_id"], occurred_at=NOON, source_id=None)
    assert await MemberParticipation.count() == 2
