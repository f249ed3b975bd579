"""The benchmarks measure everything that there is."""

import json
from datetime import date
from pathlib import Path

import asyncpg

from benchmarks.community import Community, Size
from benchmarks.huge_cases import People, all_cases
from tests.queries.cases import HELPERS

NOBODY = "#1"
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
