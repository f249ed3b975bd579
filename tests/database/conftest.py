"""The fixtures of the tests of connections and transactions."""

from collections.abc import AsyncIterator

import pytest

from community_directory.database import DirectoryEngine, connect
from tests.database.scratch import create_scratch_table


@pytest.fixture
async def scratch_url(empty_database: str) -> str:
    """Return the URL of a database with the table `scratch` only."""
    await create_scratch_table(empty_database)
    return empty_database


@pytest.fixture
async def single_connection(scratch_url: str) -> AsyncIterator[DirectoryEngine]:
    """Yield the engine with a pool of one connection; a call that keeps it stops the next call."""
    async with connect(scratch_url, max_size=1) as connected:
        yield connected
