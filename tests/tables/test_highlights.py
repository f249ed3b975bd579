"""Daily highlights: one row for each member and day."""

from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from community_directory.tables import MemberDailyHighlight
from tests.tables import rows

pytestmark = pytest.mark.schema

COUNTS = ["message_count", "reaction_count", "voice_minutes", "reputation_earned"]


async def test_a_highlight_is_read_back_as_it_was_stored(directory: asyncpg.Pool) -> None:
    member = await rows.member(directory)
    columns = {
        "member_id": member["member_id"],
        "highlight_date": date(2026, 1, 31),
        "message_count": 1,
        "reaction_count": 2,
        "voice_minutes": 3,
        "reputation_earned": 4,
    }
    written = MemberDailyHighlight(**columns)
    await written.save()

    read = await MemberDailyHighlight.objects().get(MemberDailyHighlight.id == written.id)
    assert read is not None
    assert read.to_dict() == columns | {"id": written.id, "created_at": written.created_at}


async def test_a_day_without_events_counts_zero(directory: asyncpg.Pool) -> None:
    by_sql = await rows.highlight(directory)
    by_class = MemberDailyHighlight(member_id=by_sql["member_id"], highlight_date=date(2026, 2, 1))
    await by_class.save()
    await by_class.refresh()

    assert [by_sql[count] for count in COUNTS] == [0, 0, 0, 0]
    assert [getattr(by_class, count) for count in COUNTS] == [0, 0, 0, 0]
    assert by_sql["id"] != by_class.id
    for created_at in (by_sql["created_at"], by_class.created_at):
        assert datetime.now(UTC) - created_at < timedelta(minutes=1)


async def test_a_highlight_is_displayed_by_its_member_and_day(directory: asyncpg.Pool) -> None:
    await rows.highlight(directory, highlight_date=date(2026, 1, 31))
    assert await MemberDailyHighlight.select(MemberDailyHighlight.get_readable()) == [
        {"readable": "#1 2026-01-31"}
    ]
