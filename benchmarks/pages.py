"""Measure the pages of the workspace: `python -m benchmarks.pages URL`.

The database is one that `benchmarks.year` has filled. The requests are those of a browser with a
session; each page is requested once before it is measured. `--fast` measures nothing twice.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Iterator
from statistics import median
from typing import Final

import httpx

from benchmarks.panel_questions import signed_in_client
from benchmarks.say import say
from community_directory.database import connect
from community_directory.web.insights.app import PAGES
from community_directory.web.insights.period import PERIOD_LABELS

ROUNDS: Final = 5
WORKSPACE: Final = (
    *("/", "/review/", "/people/", "/people/?sort=-active", "/people/?sort=role"),
    *("/people/?status=member&activity=at_risk", "/people/?text=garcia", "/people/1/"),
    *("/people/50000/", "/tree/", "/tree/1/", "/log/", "/invitations/"),
)
"""The other pages."""
OTHER_VIEWS: Final = (
    *("/insights/retention/?unit=week", "/insights/retention/?by=inviter"),
    *("/insights/retention/?show=lost", "/insights/?platform=telegram"),
)
"""The pages of Insights with other choices than the first ones."""


def list_paths() -> Iterator[str]:
    """Yield the addresses: each page of Insights for each period, and the other pages."""
    for page in PAGES:
        for period in PERIOD_LABELS:
            yield f"{page.path}?period={period}"
    for path in OTHER_VIEWS:
        yield f"{path}&period=12m"
    yield from WORKSPACE


async def measure(client: httpx.AsyncClient, path: str, rounds: int) -> list[float]:
    """Request a page, and return the times of the answers in milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        (await client.get(path)).raise_for_status()
        times.append((time.perf_counter() - began) * 1000)
    return times


async def main() -> None:
    """Measure the pages of the database that the command line names, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="URL of a filled database")
    parser.add_argument("--fast", action="store_true", help="request each page twice only")
    parser.add_argument("--only", default="", help="a part of the addresses to measure")
    options = parser.parse_args()
    say(f"The machine's load is {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors.")
    async with connect(options.url), signed_in_client() as client:
        for path in list_paths():
            if options.only in path:
                await measure(client, path, 1)
                times = await measure(client, path, 1 if options.fast else ROUNDS)
                say(f"{min(times):6,.0f} {median(times):6,.0f} ms  {path}")


if __name__ == "__main__":
    asyncio.run(main())
