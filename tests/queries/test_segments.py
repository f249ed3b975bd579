"""Segments are shared; each has a name and filters that `people.search` takes."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from community_directory.calendar import today
from community_directory.errors import InvalidInput
from community_directory.queries import people, segments
from community_directory.queries.segments import MAX_SEGMENTS
from tests.tables import rows
from tests.waiting import start_during

AT_RISK = (rows.MIGRATION_SQL / "at_risk_segment.sql").read_text()
NOT_AT_RISK = (rows.MIGRATION_SQL / "at_risk_segment_backwards.sql").read_text()
BEFORE = {"status": "active", "joined_to": "30d", "quiet_days": "30", "never_active": "1"}
AFTER = {"status": "member", "activity": "at_risk"}


async def test_the_first_three_find_whom_they_name(directory: asyncpg.Pool) -> None:
    await rows.first_segments(directory)
    now = datetime.now(UTC)
    long_ago = {"created_at": now - timedelta(days=90), "status": "active"}
    for number, ages in enumerate(((29, 30, 31, 56, 1), (40, 41, 42, 43, 28), (29, 30, 31)), 1):
        await rows.member(directory, **long_ago, last_active_at=now)
        for age in ages:
            await rows.counted_highlight(
                directory,
                member_id=f"#{number}",
                highlight_date=today() - timedelta(days=age),
            )
    await rows.member(directory, **{**long_ago, "status": "suspended"})
    await rows.member(directory, status="active", invited_by="#3")
    await rows.member(directory, status="pending", invited_by="#3")
    await rows.member(directory, status="banned", invited_by="#1")
    for number, age in ((4, 45), (4, 46), (4, 47), (4, 48), (7, 45), (7, 46), (7, 47), (7, 48)):
        await rows.counted_highlight(
            directory, member_id=f"#{number}", highlight_date=today() - timedelta(days=age)
        )
    found = {}
    for segment in await segments.list_all():
        filters: dict[str, Any] = dict(segment.filters)
        page = await people.search(**filters)
        found[segment.name] = [person.member_id for person in page.items]
    assert found.keys() == {"At risk", "Newcomers of this month", "Best connected"}
    assert sorted(found["At risk"]) == ["#1", "#2", "#4"]
    assert found["Newcomers of this month"] == ["#7", "#6", "#5"]
    assert found["Best connected"][:2] == ["#3", "#1"]
    assert sorted(found["Best connected"]) == ["#1", "#2", "#3", "#5"]


async def test_a_given_segment_changes_there_and_back_unless_somebody_has_edited_it(
    directory: asyncpg.Pool,
) -> None:
    await rows.first_segments(directory)
    changed = await segments.list_all()
    assert changed[0].filters == AFTER
    await directory.execute(NOT_AT_RISK)
    given = await segments.list_all()
    assert (given[0].filters, given[1:]) == (BEFORE, changed[1:])
    await directory.execute(AT_RISK)
    assert await segments.list_all() == changed
    await directory.execute(NOT_AT_RISK)
    await segments.rename(given[0].id, "Quiet")
    await segments.save("At risk", BEFORE, actor="eva")
    edited = await segments.list_all()
    for script in (AT_RISK, NOT_AT_RISK):
        await directory.execute(script)
        assert await segments.list_all() == edited
    await segments.remove(edited[-1].id)
    await segments.save("At risk", AFTER, actor="eva")
    edited = await segments.list_all()
    await directory.execute(NOT_AT_RISK)
    assert await segments.list_all() == edited


async def test_a_segment_keeps_its_filters_without_empty_ones(directory: asyncpg.Pool) -> None:
    saved = await segments.save(
        "  In México ", {"country": "México", "status": "", "sort": "-joined"}, actor="eva"
    )
    assert (saved.name, saved.created_by) == ("In México", "eva")
    assert saved.filters == {"country": "México", "sort": "-joined"}
    assert await segments.list_all() == [saved]
    renamed = await segments.rename(str(saved.id), "Mexicans")
    assert renamed is not None
    assert (renamed.name, renamed.id, renamed.filters) == ("Mexicans", saved.id, saved.filters)
    assert await segments.remove(str(saved.id))
    assert not await segments.remove(saved.id)
    assert await segments.rename(saved.id, "Nobody") is None
    assert await segments.list_all() == []


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("", {}),
        ("x" * 61, {}),
        ("Taken", {}),
        ("a", {"status": "asleep"}),
        ("a", {"sort": "age"}),
        ("a", {"after": "x"}),
        ("a", {"never_active": True}),
        ("a", {"q": "x" * 201}),
        ("a", [("q", "ana")]),
        ("a", {"country": "x" * 101}),
    ],
)
async def test_a_segment_that_nobody_could_open_is_refused(
    directory: asyncpg.Pool, name: str, filters: dict[str, str]
) -> None:
    await segments.save("Taken", {}, actor="eva")
    with pytest.raises(InvalidInput):
        await segments.save(name, filters, actor="eva")
    assert [segment.name for segment in await segments.list_all()] == ["Taken"]


async def test_of_two_who_save_the_last_segment_at_once_one_does(directory: asyncpg.Pool) -> None:
    for number in range(1, MAX_SEGMENTS):
        await rows.segment(directory, name=f"Segment {number}")
    last = segments.save("The last one", {}, actor="eva")
    saving = await start_during(directory, last, segments.save("One more", {}, actor="luis"))
    with pytest.raises(InvalidInput, match="50 segments already"):
        await saving
    assert len(await directory.fetch("SELECT FROM directory_segments")) == MAX_SEGMENTS


async def test_there_are_at_most_so_many_segments(directory: asyncpg.Pool) -> None:
    for number in range(MAX_SEGMENTS):
        await rows.segment(directory, name=f"Segment {number}")
    with pytest.raises(InvalidInput, match="50 segments already"):
        await segments.save("One more", {}, actor="eva")
    assert len(await segments.list_all()) == MAX_SEGMENTS
    with pytest.raises(InvalidInput):
        await segments.rename("no id", "x")
    with pytest.raises(InvalidInput):
        await segments.rename((await segments.list_all())[0].id, "Segment 2")
    assert not await segments.remove(uuid4())
