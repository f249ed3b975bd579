"""Measure queries and imports of a long history: `python -m benchmarks.participation [--quick]`.

One run measures both sides of every comparison in turn; only the ratio means something.
`RESULTS.md` has the figures of one machine.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg

from benchmarks.say import say
from benchmarks.scratch import load, scratch_database
from community_directory.calendar import today
from community_directory.database import connect
from community_directory.queries import participation

MEMBERS = 10_000
ROUNDS = 40
ROOT = Path(__file__).resolve().parent.parent


async def main() -> None:
    """Measure on a scratch database, and print."""
    options = _options()
    async with scratch_database() as url:
        connection = await asyncpg.connect(url)
        async with connect(url):
            sizes = (30_000, 300_000) if options.quick else (300_000, 3_000_000)
            before: dict[str, float] = {}
            for events in sizes:
                say(f"\n{events:,} events of {MEMBERS:,} members")
                await load(connection, members=MEMBERS, events=events)
                for name, seconds in (await _reads()).items():
                    growth = (
                        f", {seconds / before[name]:.2f} × that of a tenth of the events"
                        if name in before
                        else ""
                    )
                    say(f"  {name}: {seconds * 1000:.2f} ms{growth}")
                    before[name] = seconds
        await connection.close()
        _import(url, messages=50_000 if options.quick else 1_000_000)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="use a tenth of the events and a twentieth of the messages",
    )
    return parser.parse_args()


async def _reads() -> dict[str, float]:
    """Return the median seconds of each query about the last 30 days."""
    until = today("UTC")
    since = until - timedelta(days=29)
    busiest = (await participation.most_active(since=since, until=until, limit=1))[0].member_id
    questions: dict[str, Callable[[], Awaitable[Any]]] = {
        "history of the busiest member, 20 events": lambda: participation.history(busiest),
        "activity of member #5000, 30 days": lambda: participation.activity(
            "#5000", since=since, until=until
        ),
        "most active on one day": lambda: participation.most_active(since=until, until=until),
    }
    times: dict[str, list[float]] = {name: [] for name in questions}
    for _ in range(ROUNDS):
        for name, ask in questions.items():
            times[name].append(await _seconds(ask()))
    return {name: median(measured) for name, measured in times.items()}


def _import(url: str, *, messages: int) -> None:
    """Import a made-up export with the command, and print its memory and time."""
    with tempfile.TemporaryDirectory() as directory:
        export = Path(directory) / "result.json"
        maker = [
            sys.executable,
            "-m",
            "benchmarks.telegram_export",
            str(export),
            "--messages",
            str(messages),
        ]
        subprocess.run(maker, cwd=ROOT, check=True)
        piccolo = str(Path(sys.executable).parent / "piccolo")
        command = [piccolo, "community_directory", "import_telegram", str(export)]
        for what in ("imported", "imported again"):
            began = time.perf_counter()
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "POSTGRES_URL": url},
                stdout=subprocess.DEVNULL,
            )
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                raise SystemExit("The import failed.")
            seconds, python = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
            say(
                f"{messages:,} messages ({export.stat().st_size / 1e6:,.0f} MB) {what}:"
                f" {usage.ru_maxrss / 1024:.0f} MB of memory, {python / seconds:.0%} of the time"
                " in Python, the rest waiting for PostgreSQL"
            )


async def _seconds(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(main())
