"""Every question that the panel's interface offers, and how long each takes.

`python -m benchmarks.panel_questions URL` asks all of them of a filled database through the app of
the panel, and prints those that take longer than 100 ms of the server's time.
"""

import argparse
import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

import asyncpg
import httpx
from piccolo.apps.user.tables import BaseUser
from piccolo.columns import ForeignKey
from piccolo.table import Table
from piccolo_admin.endpoints import TableConfig
from piccolo_api.session_auth.tables import SessionsBase

from benchmarks.say import say
from community_directory.app import App
from community_directory.database import connect, engine
from community_directory.errors import DirectoryError
from community_directory.settings import Settings
from community_directory.web.admin.policy import TablePolicy
from community_directory.web.admin.tables import configure_tables
from community_directory.web.admin.values import TEXT_COLUMNS
from community_directory.web.security import ADMIN_PATH

MAX_MS = 100
"""The time in which the server answers each question, in milliseconds."""
PAGE_SIZE = 15
PAGES = (1, 2, 100, 3_000, 60_000)
RANGES = ("ne", "lt", "lte", "gt", "gte")
MATCHES = ("contains", "exact", "starts", "ends")
TYPED = ("a", "garcia", "quetzalcoatl", "xylophone", "@user1eef", "#500000", "500000", "10500000")
"""What is typed into a search field: a letter, a common, a rare and an unknown word, an account."""

NO_FILTERS: Final[Mapping[str, str]] = {}
Question = tuple[str, Callable[[], Awaitable[httpx.Response | object]]]
"""A question with its name; the answer of a request has a status."""


async def questions(client: httpx.AsyncClient) -> AsyncIterator[Question]:
    """Yield every question, to be asked by a client of the panel with a superuser's session."""
    for config, policy in configure_tables():
        async for path in _table_questions(config, policy):
            yield path, partial(client.get, f"{ADMIN_PATH}/api/tables/{path}")
    for number in (1, 2, 500_000):
        yield f"tree of #{number}", partial(client.get, f"/tree/{number}/")


async def _table_questions(config: TableConfig, policy: TablePolicy) -> AsyncIterator[str]:
    """Yield the path and the query of every question about one table."""
    table = config.table_class
    name = table._meta.tablename
    default = ",".join(
        f"{'' if by.ascending else '-'}{by.column._meta.name}" for by in config.order_by or ()
    )

    def listed(
        filters: Mapping[str, str] = NO_FILTERS, *, order: str = default, page: int = 1
    ) -> str:
        asked = {"__readable": "true", "__order": order, "__page": page, "__page_size": PAGE_SIZE}
        return f"{name}/?{urlencode({**filters, **asked})}"

    for page in PAGES:
        yield listed(page=page)
    yield f"{name}/count/"
    for column in table._meta.columns:
        if column._meta.name not in policy.hidden and not column._meta.secret:
            yield listed(order=column._meta.name)
            yield listed(order=f"-{column._meta.name}")
    async for filters in _filters(config):
        yield listed(filters)
        yield f"{name}/count/?{urlencode(filters)}"
    if policy.searched:
        for typed in TYPED:
            yield f"{name}/ids/?{urlencode({'search': typed, 'limit': 6})}"
        # Each searched column, also of members who were removed.
        for column_name in policy.searched:
            for typed in TYPED:
                for more in ({}, {"deleted_at__operator": "not_null"}):
                    yield listed({column_name: typed, **more})
                    yield f"{name}/count/?{urlencode({column_name: typed, **more})}"
    yield f"{name}/ids/?limit=6"


async def _filters(config: TableConfig) -> AsyncIterator[dict[str, str]]:
    """Yield the filters by one column that the side bar of a table offers."""
    for column in config.visible_filters or ():
        name = column._meta.name
        if column._meta.null:
            yield {f"{name}__operator": "is_null"}
        for value in await _sample(config.table_class, name):
            for more in _operators(column):
                yield {name: value, **{f"{name}__{kind}": chosen for kind, chosen in more.items()}}


def _operators(column: Any) -> Iterator[dict[str, str]]:
    if isinstance(column, TEXT_COLUMNS) and not column._meta.choices:
        yield from ({"match": match} for match in MATCHES)
        return
    yield {}
    if not isinstance(column, (ForeignKey, *TEXT_COLUMNS)) and column.value_type is not bool:
        yield from ({"operator": operator} for operator in RANGES)


async def _sample(table: type[Table], name: str) -> list[str]:
    """Return the values of a column to filter by: a few stored ones, and one that is not there."""
    column = table._meta.get_column_by_name(name)
    tablename = table._meta.tablename
    if column.value_type is bool:
        return ["true", "false"]
    if column._meta.choices:
        return [choice.value for choice in column._meta.choices]
    records = await engine.fetch(
        f'SELECT "{name}" FROM "{tablename}" WHERE "{name}" IS NOT NULL LIMIT 1 OFFSET 700'
    )
    typed = [
        value.isoformat() if hasattr(value, "isoformat") else str(value) for (value,) in records
    ]
    if isinstance(column, TEXT_COLUMNS):
        return [*typed, *(text[:3] for text in typed if len(text) > 3), "nobody has this"]
    if isinstance(column, ForeignKey):
        return [*typed, "#1", "#999999999"]
    if column.value_type is int:
        return [*typed, "0", "50", "2500", "99999"]
    first, last = ("2001-01-01", "2049-01-01")
    clock = "" if typed and len(typed[0]) == len(first) else "T00:00:00Z"
    return [*typed, f"{first}{clock}", f"{last}{clock}"]


@contextlib.asynccontextmanager
async def signed_in_client() -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the app with the session of a superuser, who is deleted afterwards.

    The only superuser of a database can't be deleted: it stays, with a password that nobody knows.
    """
    name = f"benchmark-{uuid4()}"
    user = await BaseUser.create_user(
        name,
        secrets.token_urlsafe(),
        email=f"{name}@directory.example",
        active=True,
        admin=True,
        superuser=True,
    )
    session = await SessionsBase.create_session(user_id=user.id)
    transport = httpx.ASGITransport(App(Settings()))
    try:
        async with httpx.AsyncClient(
            transport=transport,
            base_url="http://directory.example",
            cookies={"id": session.token},
            timeout=None,
        ) as client:
            yield client
    finally:
        await SessionsBase.delete().where(SessionsBase.user_id == user.id)
        with contextlib.suppress(asyncpg.CheckViolationError):
            await BaseUser.delete().where(BaseUser.id == user.id)


async def ask(question: Callable[[], Awaitable[object]], rounds: int = 3) -> tuple[float, str]:
    """Return the shortest of some times of a question in milliseconds, and what the answer says.

    A question that is answered in time is asked no more; one that is slow is asked again, because
    the first answer reads from the disk.
    """
    shortest, said = float("inf"), ""
    for _ in range(rounds):
        began = time.perf_counter()
        try:
            answer = await question()
            said = ""
            if isinstance(answer, httpx.Response) and answer.status_code != 200:
                said = f"{answer.status_code} {answer.text[:200]}"
        except DirectoryError as error:
            said = str(error)[:100]
        shortest = min(shortest, (time.perf_counter() - began) * 1000)
        if shortest <= MAX_MS:
            break
    return shortest, said


async def main() -> None:
    """Ask all questions of the database that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="URL of a filled database")
    parser.add_argument("--only", default="", help="ask only questions with this text")
    parser.add_argument("--all", action="store_true", help="print the other questions, too")
    options = parser.parse_args()
    count = slow = refused = 0
    async with connect(options.url), signed_in_client() as client:
        async for name, question in questions(client):
            if options.only not in name:
                continue
            count += 1
            milliseconds, said = await ask(question)
            slow += milliseconds > MAX_MS
            refused += said.startswith("400")
            if milliseconds > MAX_MS or options.all or said.startswith("5"):
                say(f"{milliseconds:8.1f} ms  {name}  {said}")
    say(f"{slow} of {count} questions take longer than {MAX_MS} ms; {refused} are refused")


if __name__ == "__main__":
    asyncio.run(main())
