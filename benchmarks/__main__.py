"""Compare the query helpers with other clients of the same database: `python -m benchmarks`.

The program loads a made-up community into a scratch database, on the server of POSTGRES_URL or on
an embedded one. It measures every operation with every client in turn, and prints the figures. A
run with all clients and operations that is not quick saves them in `RESULTS.md`, with a chart.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from unittest.mock import patch

import asyncpg
from tqdm import tqdm

from benchmarks import chart, huge, report
from benchmarks.community import Community, Size, fill
from benchmarks.measure import NAMES, Contender, LeftOutError, Pace, Process, measure
from benchmarks.operations import GROWTH, LINES, SIZES, Supply
from benchmarks.results import Results
from benchmarks.say import say
from benchmarks.scratch import scratch_database

QUICK = Pace(rounds=15, seconds=6, slice_seconds=0.02, warm_seconds=0.1)
THOROUGH = Pace(rounds=60, seconds=60, slice_seconds=0.06, warm_seconds=1)


@dataclass(frozen=True)
class Place:
    """A database with a community."""

    url: str
    connection: asyncpg.Connection
    community: Community


async def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    if options.huge:
        await huge.run(options.database, options.members)
        return
    load = report.load()
    results, pace = Results(), QUICK if options.quick else THOROUGH
    pace = replace(pace, seconds=options.seconds or pace.seconds)
    size = SIZES["10k"] if options.quick else SIZES["100k"]
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(_place(Size(size), original=True))
        # The other sizes are on the same server, and all are loaded before the first measurement.
        stack.enter_context(patch.dict(os.environ, POSTGRES_URL=place.url))
        places = {"100k": place}
        for name in ("10k", "1M") if options.full else ():
            places[name] = await stack.enter_async_context(
                _place(Size(SIZES[name]), original=False)
            )
        server = await report.server(place.connection)
        await _compare(place, options.clients, options.operations, pace, results)
        if options.full:
            await _grow({name: places[name] for name in SIZES}, pace, results)
    say(report.tables(results))
    if not options.quick and options.clients == list(NAMES) and options.operations == list(LINES):
        command = " ".join(["python -m benchmarks", *sys.argv[1:]])
        report.save(
            results, command=command, size=str(place.community.size), server=server, load=load
        )
        chart.draw(results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--quick",
        action="store_true",
        help="take two minutes, with 10,000 members instead of 100,000",
    )
    length.add_argument(
        "--full", action="store_true", help="measure also with 10,000 and 1,000,000 members"
    )
    length.add_argument(
        "--huge",
        action="store_true",
        help="ask everything of 1,000,000 members, and print what takes too long",
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        help="with --huge: a database that has the community; what is written is rolled back",
    )
    parser.add_argument(
        "--members", type=int, default=huge.MEMBERS, help="with --huge: make a smaller community"
    )
    parser.add_argument(
        "--seconds", type=float, help="spend about so many seconds on each operation, instead of 60"
    )
    parser.add_argument(
        "--clients",
        type=_names(NAMES),
        default=list(NAMES),
        help=f"only these of {', '.join(NAMES)}, with commas between them",
    )
    parser.add_argument(
        "--operations",
        type=_names(LINES),
        default=list(LINES),
        help=f"only these of {', '.join(LINES)}, with commas between them",
    )
    return parser.parse_args()


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    def names(value: str) -> list[str]:
        wanted = value.split(",")
        if unknown := set(wanted) - set(known):
            raise argparse.ArgumentTypeError(
                f"{', '.join(sorted(unknown))} is unknown; choose from {', '.join(known)}"
            )
        return [name for name in known if name in wanted]

    return names


@asynccontextmanager
async def _place(size: Size, *, original: bool) -> AsyncIterator[Place]:
    async with scratch_database() as url:
        connection = await asyncpg.connect(url)
        yield Place(url, connection, await fill(connection, size, original=original))
        await connection.close()


async def _compare(
    place: Place, names: list[str], operations: list[str], pace: Pace, results: Results
) -> None:
    """Measure every client on one database."""
    supply = Supply(place.community)
    with ExitStack() as stack:
        contenders = []
        for name in names:
            try:
                process = stack.enter_context(closing(Process(name, place.url)))
            except LeftOutError as error:
                say(f"{name} is left out: {error}")
                results.remarks[name].append(f"is left out: {error}")
                continue
            results.versions |= process.versions
            contenders.append(Contender(name, process, supply, place.connection))
        for operation in (bar := tqdm(operations, disable=None)):
            bar.set_description(operation)
            await measure(LINES[operation], contenders, pace, results)


async def _grow(places: dict[str, Place], pace: Pace, results: Results) -> None:
    """Measure the helpers on databases of three sizes."""
    with ExitStack() as stack:
        contenders = []
        for name, place in places.items():
            await place.connection.execute("VACUUM ANALYZE", timeout=600)
            process = stack.enter_context(closing(Process("helpers", place.url)))
            contenders.append(Contender(name, process, Supply(place.community), place.connection))
        for line in (bar := tqdm(GROWTH, disable=None)):
            bar.set_description(f"growth: {line.name}")
            await measure((line,), contenders, pace, results)


if __name__ == "__main__":
    asyncio.run(main())
