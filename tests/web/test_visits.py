"""Visits of users to the workspace."""

import asyncio
from datetime import datetime, timedelta

import asyncpg
import pytest

from community_directory.web import visits
from tests.web.conftest import add_superuser

pytestmark = pytest.mark.usefixtures("fast_hashes")


@pytest.fixture
async def user_id(directory: asyncpg.Pool) -> int:
    return int((await add_superuser("ana")).id)


async def seen_at(directory: asyncpg.Pool) -> datetime:
    moment: datetime = await directory.fetchval("SELECT seen_at FROM panel_visits")
    return moment


async def wait(directory: asyncpg.Pool, minutes: float) -> datetime:
    """Move the last request into the past, as if this time had passed, and return its time."""
    await directory.execute(
        "UPDATE panel_visits SET seen_at = seen_at - $1::interval", timedelta(minutes=minutes)
    )
    return await seen_at(directory)


async def test_the_first_visit_has_none_before_it(directory: asyncpg.Pool, user_id: int) -> None:
    assert await visits.touch(user_id) is None
    assert await visits.touch(user_id) is None


async def test_a_visit_ends_after_half_an_hour_without_a_request(
    directory: asyncpg.Pool, user_id: int
) -> None:
    await visits.touch(user_id)
    for _ in range(3):  # a visit of more than an hour
        await wait(directory, 29)
        assert await visits.touch(user_id) is None
    ended_at = await wait(directory, 31)
    for _ in range(2):
        assert await visits.touch(user_id) == ended_at
        await wait(directory, 2)
    last_request = await wait(directory, 60)
    assert await visits.touch(user_id) == last_request


async def test_a_visit_is_written_once_a_minute(directory: asyncpg.Pool, user_id: int) -> None:
    await visits.touch(user_id)
    before = await seen_at(directory)
    await visits.touch(user_id)
    assert await seen_at(directory) == before
    before = await wait(directory, 1.1)
    await visits.touch(user_id)
    assert await seen_at(directory) > before


async def test_of_requests_at_the_same_time_one_begins_a_visit(
    directory: asyncpg.Pool, user_id: int
) -> None:
    await visits.touch(user_id)
    ended_at = await wait(directory, 31)
    found = await asyncio.gather(*(visits.touch(user_id) for _ in range(8)))
    assert set(found) == {ended_at}
