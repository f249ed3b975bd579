"""The benchmarks measure everything that there is."""

from datetime import date

import asyncpg

from benchmarks.community import Community, Size
from benchmarks.huge_cases import People, all_cases
from tests.queries.cases import HELPERS

NOBODY = "#1"


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
