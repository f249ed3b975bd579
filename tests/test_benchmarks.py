"""The benchmarks measure everything that there is."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from benchmarks.clients.asyncpg_pool import Client
from benchmarks.community import Community, Size
from benchmarks.huge_cases import People, all_cases
from tests.queries.cases import HELPERS
from tests.tables import rows

NOBODY, DAY = "#1", "2026-01-31"
DRIZZLE = Path(__file__).parent.parent / "benchmarks" / "drizzle"


def test_the_lock_file_of_drizzle_pins_every_package_and_names_no_registry() -> None:
    lock = json.loads((DRIZZLE / "package-lock.json").read_text())
    wanted = json.loads((DRIZZLE / "package.json").read_text())["dependencies"]
    root, packages = lock["packages"].pop(""), lock["packages"]
    assert root["dependencies"] == wanted
    assert wanted.items() <= {
        (name.removeprefix("node_modules/"), package["version"])
        for name, package in packages.items()
    }
    assert all("integrity" in package for package in packages.values())
    assert not any("resolved" in package for package in packages.values())


async def test_the_large_community_is_asked_everything_that_the_helpers_offer(
    directory: asyncpg.Pool,
) -> None:
    community = Community(
        size=Size(2),
        telegram_ids=["1"],
        member_ids=[NOBODY],
        busiest=NOBODY,
        trees=[NOBODY],
        popular_pages=[],
        small_pages=[],
        rare_pages=[],
        codes=["NOSUCHCODE"],
        day=date(2026, 11, 28),
    )
    people = People(community, NOBODY, "#2", "ana", "#3", "#4", "#5", "#6", many=["1"])
    async with all_cases(people) as cases:
        assert HELPERS.keys() <= {case.title for case in cases}


@pytest.mark.parametrize(
    ("operation", "argument", "expected"),
    [("tree", "#1", ["#1", "#2"]), ("search", "xochitl", ["#1"]), ("roll_up", DAY, 1)],
)
async def test_bare_asyncpg_runs_what_a_helper_runs(
    database: str, operation: str, argument: str, expected: Any
) -> None:
    connection = await asyncpg.connect(database)
    await rows.member(connection, name="Xochitl", status="active")
    await rows.member(connection, invited_by="#1")
    await rows.event(connection, member_id="#1", occurred_at=datetime(2026, 1, 31, tzinfo=UTC))
    await connection.close()
    client = Client()
    await client.open(database)
    prepared = await client.prepare(operation, [argument])
    answer = await getattr(client, operation)(*prepared)
    await client.close()
    assert client.answer(operation, answer) == expected
