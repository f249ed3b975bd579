"""Measure what metrics and traces cost a short call: `python -m benchmarks.metrics [--quick]`.

The ways take turns after every 20 calls of `members.get`, in a random order, so that a change of
the machine's load hits all of them alike. The figures are medians of single calls.
"""

import argparse
import asyncio
import gc
import os
import random
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import NamedTuple

import asyncpg
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import set_tracer_provider

from benchmarks.say import say
from benchmarks.scratch import load, scratch_database
from community_directory.database import connect
from community_directory.metrics import Metrics
from community_directory.observers import Observer, observers
from community_directory.queries import lookup, members
from community_directory.tracing import Tracing, tracers

MEMBERS = 1_000
CALLS_PER_TURN = 20


class NoExporter(SpanExporter):
    """Takes the spans, and sends them nowhere."""

    def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002
        """Do nothing."""
        return SpanExportResult.SUCCESS


class Way(NamedTuple):
    """One way to make the call."""

    name: str
    observers: list[Observer]
    tracers: list[Tracing]
    get: Callable[[str], Awaitable[object]] = members.get


async def main() -> None:
    """Measure on a scratch database, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    turns = 200 if parser.parse_args().quick else 2_000
    bare = Way("the function itself", [], [], lookup.get)
    quiet = Way("nobody observes", [], [])
    # A tracer keeps to the provider that it had at its first span.
    unused = Way("spans without a provider", [], [Tracing()])
    ways = [bare, quiet, Way("metrics", [Metrics()], []), unused]
    async with scratch_database() as url:
        connection = await asyncpg.connect(url)
        await load(connection, members=MEMBERS, events=1)
        await connection.close()
        async with connect(url):
            load_average = os.getloadavg()[0]
            say(f"{turns * CALLS_PER_TURN:,} calls of members.get; load {load_average:.1f}")
            await _measure(ways, turns)
            provider = TracerProvider()
            provider.add_span_processor(BatchSpanProcessor(NoExporter()))
            set_tracer_provider(provider)
            await _measure([bare, Way("spans with a provider", [], [Tracing()])], turns)


async def _measure(ways: list[Way], turns: int) -> None:
    """Make the calls, and print the time of each way, and its ratio to the first one."""
    chance = random.Random(1)
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    gc.disable()
    for _ in range(turns):
        for way in chance.sample(ways, len(ways)):
            observers[:], tracers[:] = way.observers, way.tracers
            for _ in range(CALLS_PER_TURN):
                began = time.perf_counter()
                await way.get("#7")
                seconds[way.name].append(time.perf_counter() - began)
    gc.enable()
    observers.clear()
    tracers.clear()
    base = median(seconds[ways[0].name])
    for name, measured in seconds.items():
        middle = median(measured)
        say(f"{name:25} {middle * 1e6:6.1f} µs, ratio {middle / base:.3f}")


if __name__ == "__main__":
    asyncio.run(main())
