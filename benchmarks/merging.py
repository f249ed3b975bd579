"""Measure a merge of a member with many events, and its undoing: `python -m benchmarks.merging`.

Other tasks record events at the same time: of other members, and of the two who are merged. Their
longest waits count. `RESULTS.md` has the figures of one machine.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from itertools import count

import asyncpg

from benchmarks.say import say
from benchmarks.scratch import load, scratch_database
from community_directory.calendar import today
from community_directory.database import connect
from community_directory.queries import highlights, members, participation

MEMBERS = 10_000
DUPLICATE, SURVIVOR = MEMBERS - 1, MEMBERS
SHARED = 10
"""One of so many events of the duplicate is one that the other member has, too."""
DAYS = 180
PAUSE_SECONDS = 0.005
"""The time between two events of one recording task."""
AUTHORS: dict[str, Iterator[int]] = {
    "other members": (number % (MEMBERS - 2) + 1 for number in count()),
    "the member who has everything afterwards": (SURVIVOR for _ in count()),
    "the duplicate": (DUPLICATE for _ in count()),
}

# The events are spread over the last 180 days.
LOAD_DUPLICATE = """
INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id, occurred_at)
SELECT member_id, (ARRAY['MESSAGE', 'MESSAGE', 'REACTION'])[1 + n % 3], 'telegram', '-1002',
    n::text, now() - ($1::integer - n) * (interval '180 days' / $1)
FROM generate_series(1, $1::integer) AS n, unnest(ARRAY[$2::text, $3]) AS member_id
WHERE member_id = $2 OR n % $4::integer = 0
"""


async def main() -> None:
    """Measure on a scratch database, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="use a tenth of the events")
    events = 10_000 if parser.parse_args().quick else 100_000
    async with scratch_database() as url:
        connection = await asyncpg.connect(url)
        await load(connection, members=MEMBERS, events=3 * events)
        await connection.execute(
            LOAD_DUPLICATE, events, f"#{DUPLICATE}", f"#{SURVIVOR}", SHARED, timeout=600
        )
        await connection.execute("VACUUM ANALYZE", timeout=600)
        await connection.close()
        async with connect(url):
            await highlights.roll_up(today("UTC") - timedelta(days=DAYS), until=today("UTC"))
            say(f"A member with {events:,} events, among {3 * events:,} of {MEMBERS:,} members")
            idle = lambda: asyncio.sleep(3)  # noqa: E731
            merge = lambda: members.merge(DUPLICATE, into=SURVIVOR, actor="benchmark")  # noqa: E731
            unmerge = lambda: members.unmerge(DUPLICATE, actor="benchmark")  # noqa: E731
            for name, call in {"nothing else": idle, "merge": merge, "unmerge": unmerge}.items():
                await _measure(name, call)


async def _measure(name: str, call: Callable[[], Awaitable[object]]) -> None:
    """Print the time of a call, and the longest waits of those who record events meanwhile."""
    stop = asyncio.Event()
    recording = [asyncio.create_task(_record(authors, stop)) for authors in AUTHORS.values()]
    began = time.perf_counter()
    await call()
    say(f"{name}: {time.perf_counter() - began:.2f} s")
    stop.set()
    for author, waits in zip(AUTHORS, await asyncio.gather(*recording), strict=True):
        say(f"  an event of {author}: at most {max(waits) * 1000:.0f} ms, of {len(waits):,} events")


async def _record(authors: Iterator[int], stop: asyncio.Event) -> list[float]:
    """Record events until `stop` is set, and return the seconds that each of them took."""
    waits = []
    while not stop.is_set():
        began = time.perf_counter()
        await participation.record(
            member_id=next(authors), event_type="MESSAGE", platform="telegram", room_id="-1001"
        )
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_SECONDS)
    return waits


if __name__ == "__main__":
    asyncio.run(main())
