"""A bot and a panel under load, while the standby that answers their queries comes and goes.

`make faults` runs it; with `-rP` pytest prints how many calls and requests there were.
"""

import asyncio
import itertools
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from community_directory.database import connect, engine
from community_directory.queries import members, participation
from community_directory.queries.participation import NewEvent
from tests.conftest import Server
from tests.database.pairs import running_pair
from tests.processes import ADMIN_PASSWORD, Panel, running_panel
from tests.servers import PostgresServer

ROUNDS = 2
"""The number of times that the standby is stopped, and killed, and started again."""
MEMBERS = "admin/api/tables/community_members/"
"""The members in the API of the panel."""
CALLS_PER_STATE = 3
"""The calls of each kind that must succeed before the state of the standby changes."""


class Load:
    """Callers that never pause; every failure and every answer that is too old ends the test.

    Attributes:
        done: The number of calls by name.
        longest: The longest time in seconds that a caller's round of calls took.
    """

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.longest = 0.0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._calls: dict[str, Counter[str]] = {}
        self._number = itertools.count(1)

    @asynccontextmanager
    async def running(self, *works: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Let each of the callers repeat its work during the block."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._repeat(work)) for work in works]
            yield
            for task in tasks:
                task.cancel()

    async def measure(self, state: str) -> None:
        """Wait until enough further calls of each kind have succeeded, and count them."""
        before, started = self.done.copy(), time.monotonic()
        async with asyncio.timeout(300):
            while any(
                self.done[name] - number < CALLS_PER_STATE for name, number in before.items()
            ):
                await asyncio.sleep(0.01)
        self._seconds[state] += time.monotonic() - started
        self._calls.setdefault(state, Counter()).update(self.done - before)

    def describe(self) -> str:
        """Return how many calls a second there were in each state."""
        lines = [
            f"{name}, standby {state}: {number / self._seconds[state]:.1f} a second"
            for state, calls in self._calls.items()
            for name, number in sorted(calls.items())
        ]
        total = f"{self.done.total()} calls, no error, the longest round {self.longest:.1f} s"
        return "\n".join([*lines, total])

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            started = time.monotonic()
            await work()
            self.longest = max(self.longest, time.monotonic() - started)

    async def bot_search(self) -> None:
        await members.leaderboard()
        await members.search("manager")
        self.done["bot: two searches"] += 1

    async def bot_activity(self) -> None:
        today = datetime.now(UTC).date()
        await participation.most_active(since=today - timedelta(days=1), until=today)
        await participation.history("#1")
        self.done["bot: most active, history"] += 1

    async def bot_rename(self) -> None:
        """Change a name, and find the member under it at once."""
        name = f"Renamed {next(self._number)}"
        await members.update_profile("#1", name=name, actor="load")
        assert [found.name for found in (await members.search(name)).items] == [name]
        self.done["bot: change seen at once"] += 1
        await asyncio.sleep(0.3)  # the replica answers in between


class Manager:
    """A signed-in browser, which reaches two workers in turn."""

    def __init__(
        self,
        load: Load,
        panels: list[Panel],
        client: httpx.AsyncClient,
        *,
        key: str,
        telegram_id: str,
    ) -> None:
        self._load, self._client, self._key, self._telegram_id = load, client, key, telegram_id
        self._urls = itertools.cycle(panel.url for panel in panels)
        self._number = itertools.count(1)

    async def sign_in(self) -> None:
        answer = await self._client.get(next(self._urls))
        self._client.headers["X-CSRFToken"] = answer.cookies["csrftoken"]
        form = {"username": "admin", "password": ADMIN_PASSWORD}
        answer = await self._client.post(f"{next(self._urls)}admin/public/login/", json=form)
        assert answer.status_code == 200, answer.text

    async def work(self) -> None:
        """Look at pages, and change a name, which the next worker's list shows at once."""
        for path in (MEMBERS, "people/", "insights/"):
            await self._get(path)
        name = f"Manager {self._telegram_id} {next(self._number)}"
        row = f"{MEMBERS}{self._key}/"
        answer = await self._client.patch(next(self._urls) + row, json={"name": name})
        assert answer.status_code == 200, answer.text
        listed = await self._get(MEMBERS, telegram_id=self._telegram_id)
        assert [found["name"] for found in listed.json()["rows"]] == [name]
        self._load.done["panel: change seen at once on the other worker"] += 1

    async def _get(self, path: str, **query: str) -> httpx.Response:
        answer = await self._client.get(next(self._urls) + path, params=query)
        assert answer.status_code == 200, answer.text
        self._load.done["panel: page"] += 1
        return answer


@pytest.mark.faults
async def test_a_standby_that_comes_and_goes_fails_no_call_of_a_bot_or_a_panel(
    server: Server,
) -> None:
    async with running_pair(is_synchronous=False) as (primary, standby):
        settings = {
            "POSTGRES_URL": primary.url,
            "POSTGRES_READ_URL": standby.url,
            "DIRECTORY_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "DIRECTORY_LOG_LEVEL": "warning",  # a line for each request would fill the pipe
        }
        with ExitStack() as stack:
            panels = [stack.enter_context(running_panel(**settings)) for _ in range(2)]
            async with connect(primary.url, read_url=standby.url):
                await run_load(panels, standby)
            assert [panel.stop() for panel in panels] == [-signal.SIGTERM] * 2
            logged = [line for panel in panels for line in panel.logged]
            assert not [line for line in logged if " ERROR " in f" {line}"]


async def run_load(panels: list[Panel], standby: PostgresServer) -> None:
    load = Load()
    managers = []
    ends = [signal.SIGINT, signal.SIGKILL] * ROUNDS
    async with AsyncExitStack() as stack:
        for telegram_id in ("7001", "7002"):
            added = await members.add(
                telegram_id=telegram_id, name="manager", primary_role="developer", status="active"
            )
            client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
            manager = Manager(load, panels, client, key=str(added.id), telegram_id=telegram_id)
            await manager.sign_in()
            managers.append(manager)
        stream = await stack.enter_async_context(participation.recorder())
        works = [*[load.bot_search] * 4, *[load.bot_activity] * 2, load.bot_rename]
        works.extend(manager.work for manager in managers)
        await stack.enter_async_context(load.running(*works))
        recording = asyncio.create_task(record_events(stream, load))
        while len(load.done) < 6:
            await asyncio.sleep(0.01)
        for end in ends:
            await load.measure("running")
            standby.stop(end)
            await load.measure("away")
            await asyncio.to_thread(asyncio.run, standby.start())
        await load.measure("running")
        recording.cancel()
    await asyncio.gather(recording, return_exceptions=True)
    [(events,)] = await engine.fetch("SELECT count(*) FROM member_participation")
    assert events == load.done["bot: events"]
    print(load.describe())  # noqa: T201


async def record_events(stream: participation.Recorder, load: Load) -> None:
    for number in itertools.count():
        stream.add(
            NewEvent(
                member_id="#1",
                event_type="MESSAGE",
                platform="telegram",
                room_id="-100",
                source_id=str(number),
            )
        )
        load.done["bot: events"] += 1
        await asyncio.sleep(0.01)
