"""A PostgreSQL that is killed under load loses none of the updates that the bot receives."""

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from community_directory.database import connect, engine
from community_directory.database.migrations import migrate
from community_directory.queries import members
from tests.bot.conftest import running_bot
from tests.bot.stand_in import Group, Telegram
from tests.conftest import Server
from tests.database.test_faults import running_server
from tests.servers import PostgresServer

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("no_background_tasks")]

PEOPLE = 20
KILLS = 5


@pytest.fixture
def folder(server: Server) -> Iterator[Path]:
    """Yield a directory for a server; the server of the session has opened its programs."""
    with tempfile.TemporaryDirectory(prefix="directory-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
async def database_server(folder: Path) -> AsyncIterator[PostgresServer]:
    """Yield a server of the test's own, with a migrated database; the helpers are connected."""
    async with running_server(folder) as server, connect(server.url):
        await migrate()
        for number in range(1, PEOPLE + 1):
            await members.add(
                telegram_id=number, name=f"Member {number}", primary_role="x", status="active"
            )
        yield server


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_database_that_is_killed_under_load_loses_no_update(
    database_server: PostgresServer, stand_in: Telegram, group: Group, number: signal.Signals
) -> None:
    people = [stand_in.person(number, f"Member {number}") for number in range(1, PEOPLE + 1)]
    written: dict[str, str] = {}
    update_ids: list[int] = []

    async def write() -> None:
        while True:
            for person in people:
                message = person.message({"text": "gm"}, group)
                written[str(message["message_id"])] = f"#{person.id}"
                update_ids.append(stand_in.send(message=message))
            await asyncio.sleep(0.02)

    async with running_bot(stand_in):
        writing = asyncio.create_task(write())
        for _ in range(KILLS):
            await asyncio.sleep(0.5)
            database_server.stop(number)
            await database_server.start()
        writing.cancel()
        await asyncio.wait({writing})
        await stand_in.confirmed(*update_ids)
    stored = await engine.fetch("SELECT source_id, member_id FROM member_participation")
    assert Counter(source_id for source_id, _ in stored) == Counter(written.keys())
    assert {record["source_id"]: record["member_id"] for record in stored} == written
    assert len(written) > KILLS * PEOPLE
