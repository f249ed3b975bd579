"""Measure the time from `Recorder.add` to the commit: `python -m benchmarks.recorder [--quick]`.

Events are added at a steady rate. Each time ends when the recorder knows that the event is
committed, so it includes the answer's way back and up to a millisecond until the counter is read.
"""

import argparse
import asyncio
import random
import time
from collections import deque
from statistics import quantiles

import asyncpg

from benchmarks.say import say
from benchmarks.scratch import load, scratch_database
from community_directory.database import connect
from community_directory.queries import participation
from community_directory.queries.participation import NewEvent, Recorder

MEMBERS = 10_000
TICK_SECONDS = 0.001


async def main() -> None:
    """Measure on a scratch database, and print."""
    options = _options()
    async with scratch_database() as url:
        connection = await asyncpg.connect(url)
        await load(connection, members=MEMBERS, events=30_000 if options.quick else 300_000)
        async with connect(url):
            await _run(options.rate, 10 if options.quick else options.seconds)
        await connection.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="take ten seconds, on a tenth of the events"
    )
    parser.add_argument("--rate", type=int, default=1000, help="events a second (1000)")
    parser.add_argument("--seconds", type=int, default=60, help="duration in seconds (60)")
    return parser.parse_args()


async def _run(rate: int, seconds: int) -> None:
    chance = random.Random(1)
    added: deque[float] = deque()
    delays: list[float] = []
    offered, began, python = 0, time.perf_counter(), time.process_time()
    async with participation.recorder() as recorder:
        while (now := time.perf_counter()) < began + seconds:
            while offered < (now - began) * rate:
                added.append(time.perf_counter())
                recorder.add(_event(chance.randint(1, MEMBERS), offered))
                offered += 1
            await asyncio.sleep(TICK_SECONDS)
            _note(recorder, added, delays)
        offering = time.perf_counter() - began
        await recorder.flush()
        _note(recorder, added, delays)
    elapsed, python = time.perf_counter() - began, time.process_time() - python
    percentiles = quantiles(delays, n=100)
    say(
        f"{offered / offering:,.0f} events a second offered for {offering:.0f} s,"
        f" {recorder.stored / elapsed:,.0f} a second stored; {recorder.retried} retried.\n"
        f"From add to commit: p50 {percentiles[49] * 1000:.0f} ms,"
        f" p99 {percentiles[98] * 1000:.0f} ms, at most {max(delays) * 1000:.0f} ms.\n"
        f"{python / elapsed:.0%} of a core in Python."
    )


def _event(member: int, number: int) -> NewEvent:
    return NewEvent(
        member_id=member,
        event_type="MESSAGE",
        platform="telegram",
        room_id=-1001,
        source_id=f"benchmark {number}",
        metadata={"length": 42},
    )


def _note(recorder: Recorder, added: deque[float], delays: list[float]) -> None:
    """Add the delays of the events that were stored since the last call, in their order."""
    now = time.perf_counter()
    delays.extend(now - added.popleft() for _ in range(recorder.stored - len(delays)))


if __name__ == "__main__":
    asyncio.run(main())
