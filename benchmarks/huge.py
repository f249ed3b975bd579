"""Ask everything of a very large community, and say what takes too long.

`python -m benchmarks --huge` runs it. The times are those of the caller, on the same machine as the
server: they contain the time of the server and of Python. A call that writes is rolled back, so its
time does not contain the commit.
"""

import os
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Final
from unittest.mock import patch

import asyncpg
import httpx
from tqdm import tqdm

from benchmarks import report
from benchmarks.community import Size, fill, survey
from benchmarks.huge_cases import Case, all_cases, find_people
from benchmarks.panel_questions import questions, signed_in_client
from benchmarks.say import say
from benchmarks.scratch import scratch_database
from community_directory.database import connect, transaction
from community_directory.errors import DirectoryError, UserError
from community_directory.queries.pages import Page
from community_directory.settings import Settings, load_settings
from community_directory.web.admin.users import create_first_superuser

MEMBERS: Final = 1_000_000
ROUNDS: Final = 3
"""The most calls of a case that is over its limit; the shortest one counts."""
LONG_SECONDS: Final = 10
"""A case that takes longer is called once."""
TIMEOUT_SECONDS: Final = "300"
INSIGHTS: Final = ("/insights/", "/suggestions/", "/health/")


@dataclass(frozen=True)
class Measured:
    """The time of a case."""

    case: Case
    seconds: float
    failure: str
    """The error; empty if there was none."""
    answer: object

    @property
    def is_over(self) -> bool:
        """Return whether the case takes longer than its limit, or has no answer."""
        return self.seconds > self.case.seconds or bool(self.failure)

    def __str__(self) -> str:
        times = f"{self.seconds * 1000:,.0f} ms, limit {self.case.seconds * 1000:,.0f}"
        return f"{self.case.group}: {self.case}: {self.failure or times}"


async def run(database: str | None, members: int) -> None:
    """Ask everything of a database that has the community, or of a scratch database."""
    limits = ("DIRECTORY_CALL_TIMEOUT", "DIRECTORY_STATEMENT_TIMEOUT")
    with patch.dict(os.environ, dict.fromkeys(limits, TIMEOUT_SECONDS)):
        load_settings.cache_clear()
        if database:
            await _ask_all(database)
            return
        async with scratch_database() as url:
            connection = await asyncpg.connect(url)
            await fill(connection, Size(members), original=False)
            await connection.close()
            await _ask_all(url)


async def _ask_all(url: str) -> None:
    load = report.load()
    connection = await asyncpg.connect(url)
    members = await connection.fetchval("SELECT count(*) FROM community_members", timeout=600)
    community = await survey(connection, Size(members))
    people = await find_people(connection, community)
    server = await report.server(connection)
    await connection.close()
    # Without another superuser, the one of the client could not be deleted.
    async with connect(url):
        await create_first_superuser(Settings())
        async with signed_in_client() as client, all_cases(people) as cases:
            measured = await _measure_all([case async for case in _panel(client)] + cases)
    size, command = str(community.size), "python -m benchmarks --huge"
    heading = report.heading(command=command, size=size, server=server, load=load)
    text = f"{heading}\n{_table(measured)}"
    say(text)
    if members >= MEMBERS:
        report.replace_part(report.PATH, "huge", f"\n{text}\n")


async def _panel(client: httpx.AsyncClient) -> AsyncIterator[Case]:
    async for name, question in questions(client):
        yield Case("Insights" if name.startswith("tree") else "panel", name, question)
    for path in INSIGHTS:
        yield Case("Insights", path, partial(client.get, path))


async def _measure_all(cases: list[Case]) -> list[Measured]:
    """Measure the cases, and the second page of each that has one."""
    measured, waiting = [], deque(cases)
    with tqdm(total=len(cases), disable=None) as bar:
        while waiting:
            case = waiting.popleft()
            bar.set_description(case.group)
            one = await _measure(case)
            measured.append(replace(one, answer=None))
            if one.is_over:
                tqdm.write(str(one))
            cursor = one.answer.next_cursor if isinstance(one.answer, Page) else None
            if cursor and "after" not in case.arguments:
                waiting.appendleft(replace(case, arguments={**case.arguments, "after": cursor}))
            bar.total = len(measured) + len(waiting)
            bar.update()
    return measured


async def _measure(case: Case) -> Measured:
    shortest, answer, failure = float("inf"), None, ""
    for _ in range(ROUNDS):
        try:
            seconds, answer = await (_call_and_undo(case) if case.writes else _call(case))
        except DirectoryError as error:
            return Measured(case, float("inf"), f"{type(error).__name__}: {error}", None)
        shortest = min(shortest, seconds)
        if seconds <= case.seconds or seconds > LONG_SECONDS:
            break
    if isinstance(answer, httpx.Response) and answer.is_server_error:
        failure = f"{answer.status_code} {answer.text[:200]}"
    return Measured(case, shortest, failure, answer)


async def _call(case: Case) -> tuple[float, object]:
    more = await case.prepare() if case.prepare else {}
    began = perf_counter()
    try:
        answer = await case.call(**case.arguments, **more)
    except UserError as error:
        if case.writes:
            raise
        answer = error  # that there is no such row is an answer
    return perf_counter() - began, answer


async def _call_and_undo(case: Case) -> tuple[float, object]:
    async with transaction() as undone:
        try:
            return await _call(case)
        finally:
            await undone.rollback()


def _table(measured: Iterable[Measured]) -> str:
    """Return a table of the groups: the cases, those over their limit, and the slowest of them."""
    groups: dict[str, list[Measured]] = {}
    for one in measured:
        groups.setdefault(one.case.group, []).append(one)
    rows = []
    for name, members in groups.items():
        slowest = max(members, key=lambda one: one.seconds / one.case.seconds)
        over = sum(one.is_over for one in members)
        rows.append(
            [
                name,
                f"{len(members):,}",
                f"**{over:,}**" if over else "0",
                f"{slowest.seconds * 1000:,.0f}",
                f"{slowest.case.seconds * 1000:,.0f}",
                f"`{slowest.case}`".replace("|", "\\|"),
            ]
        )
    head = ["", "asked", "over the limit", "slowest, ms", "its limit, ms", "the slowest"]
    return report.table(head, rows)
