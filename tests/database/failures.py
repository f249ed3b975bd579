"""Callers that write without a pause while their server fails, and what was confirmed to them."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date

from community_directory.database import engine
from community_directory.errors import DatabaseUnavailable
from community_directory.queries import highlights, invitations, members, participation, permissions
from tests.waiting import until

BUSY = """
SELECT FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND state <> 'idle'
    AND pid <> pg_backend_pid()
"""
CALL_BOUND_SECONDS = 30
"""The time in which each call must end, whatever the server does, on a busy machine."""


class Writers:
    """Callers that add members, redeem invitations and record events, each with a ledger.

    Attributes:
        confirmed: The number of confirmed calls by the name of the call.
        unknown: The number of calls that ended in `DatabaseUnavailable`: stored or not.
        longest: The longest time in seconds that a call took.
    """

    def __init__(self) -> None:
        self.confirmed: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.longest = 0.0
        self._added: set[str] = set()
        self._joined: dict[str, str] = {}
        self._recorded: set[str] = set()
        self._number = itertools.count(1)

    @asynccontextmanager
    async def running(self, number_of_writers: int = 6) -> AsyncIterator[None]:
        """Let the callers write during the block."""
        works = [self._add, self._redeem, self._record]
        tasks = [
            asyncio.create_task(self._repeat(works[index % len(works)]))
            for index in range(number_of_writers)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if not isinstance(result, asyncio.CancelledError):
                raise AssertionError("a call ended in an unexpected way") from result  # noqa: TRY004

    async def confirm(self, number: int) -> None:
        """Wait until so many further calls of each kind are confirmed."""
        before = self.confirmed.copy()
        async with asyncio.timeout(10 * CALL_BOUND_SECONDS):
            while any(
                self.confirmed[name] - before[name] < number for name in ("add", "redeem", "record")
            ):
                await asyncio.sleep(0.01)

    async def refuse(self, number: int) -> None:
        """Wait until so many further calls have ended in `DatabaseUnavailable`."""
        before = self.unknown.total()
        async with asyncio.timeout(10 * CALL_BOUND_SECONDS):
            while self.unknown.total() - before < number:
                await asyncio.sleep(0.01)

    async def check(self) -> None:
        """Assert that everything that was confirmed is stored, once and completely."""
        assert self.longest < CALL_BOUND_SECONDS
        await until(_is_quiet)  # what a caller has given up may still be committed
        stored = await engine.fetch("SELECT telegram_id FROM community_members")
        telegram_ids = Counter(row["telegram_id"] for row in stored)
        assert max(telegram_ids.values()) == 1
        assert not self._added - telegram_ids.keys()
        rows = await engine.fetch(
            "SELECT invitation_code, telegram_id FROM community_invitations"
            " JOIN community_members ON member_id = accepted_by"
        )
        joined = {row["invitation_code"]: row["telegram_id"] for row in rows}
        assert not self._joined.items() - joined.items()
        # A member who redeemed an invitation is stored with its acceptance, or neither is.
        assert {name for name in telegram_ids if name.startswith("redeem:")} == set(joined.values())
        rows = await engine.fetch("SELECT source_id FROM member_participation")
        sources = Counter(row["source_id"] for row in rows)
        assert max(sources.values()) == 1
        assert not self._recorded - sources.keys()
        today: date = (await engine.fetch("SELECT (now() AT TIME ZONE 'UTC')::date"))[0][0]
        await highlights.roll_up(today)
        assert await highlights.verify(today) == []

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        name = work.__name__.removeprefix("_")
        while True:
            started = time.monotonic()
            try:
                await work()
                self.confirmed[name] += 1
            except DatabaseUnavailable:
                self.unknown[name] += 1
                await asyncio.sleep(0.05)
            finally:
                self.longest = max(self.longest, time.monotonic() - started)

    async def _add(self) -> None:
        telegram_id = f"add:{next(self._number)}"
        await members.add(telegram_id=telegram_id, name="A", primary_role="developer")
        self._added.add(telegram_id)

    async def _redeem(self) -> None:
        telegram_id = f"redeem:{next(self._number)}"
        code = (await invitations.create(created_by="#1")).invitation_code
        await invitations.redeem(code, telegram_id=telegram_id, name="A", primary_role="developer")
        self._joined[code] = telegram_id

    async def _record(self) -> None:
        source_id = str(next(self._number))
        await participation.record(
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id="-100",
            source_id=source_id,
        )
        self._recorded.add(source_id)


async def add_inviter() -> None:
    """Add the active member #1, who invites the others without a quota."""
    await members.add(telegram_id="1", name="A", primary_role="developer", status="active")
    await permissions.grant("#1", "manage", actor="operator")


async def _is_quiet() -> bool:
    """Return whether no other session is busy."""
    return not await engine.fetch(BUSY)
