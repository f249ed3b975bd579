"""Measure the Telegram bot: `python -m benchmarks.bot [--quick]`.

The bot is a process of its own, as `community-directory bot` starts it. This process is Telegram:
it offers messages and reactions of members in groups at a steady rate, and then as many at once as
the bot asks for. Each time lies between an update's offer and its confirmation, which the bot sends
when the update is stored.
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from statistics import quantiles

import asyncpg
import psutil

from benchmarks.say import say
from benchmarks.scratch import load, scratch_database
from tests.bot.stand_in import Group, Json, Person, Telegram

MEMBERS = 10_000
GROUPS = 20
REACTIONS = 0.2
"""The share of reactions among the updates."""
TICK_SECONDS = 0.01


class Community:
    """People who write in groups; a few of them write most messages."""

    def __init__(self, telegram: Telegram) -> None:
        self._telegram = telegram
        self._chance = random.Random(1)
        self.groups = [telegram.group(-1_001_000_000_000 - n) for n in range(1, GROUPS + 1)]
        self._people = [
            telegram.person(n, f"Member {n}", f"member_{n}") for n in range(1, MEMBERS + 1)
        ]

    def act(self) -> int:
        """Send an update, and return its id."""
        person = self._people[int(MEMBERS * self._chance.random() ** 3)]
        group = self._chance.choice(self.groups)
        if self._chance.random() < REACTIONS:
            return self._telegram.send(message_reaction=self._make_reaction(person, group))
        words = "gm " * self._chance.randint(1, 40)
        return self._telegram.send(message=person.message({"text": words}, group))

    def _make_reaction(self, person: Person, group: Group) -> Json:
        return {
            "chat": group.chat,
            "message_id": next(self._telegram.numbers),
            "user": person.user,
            "date": self._telegram.now(),
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": "👍"}],
        }


async def main() -> None:
    """Measure on a scratch database, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the updates")
    parser.add_argument("--rate", type=int, default=300, help="updates a second (300)")
    options = parser.parse_args()
    seconds, at_once = (6, 2_000) if options.quick else (60, 20_000)
    async with scratch_database() as url, Telegram().running() as telegram:
        connection = await asyncpg.connect(url)
        await load(connection, members=MEMBERS, events=10_000)
        community = Community(telegram)
        async with _running_bot(url, telegram, community) as process:
            await telegram.watch(community.act())  # the bot has started
            await _offer_steadily(telegram, community, process, options.rate, seconds)
            await _offer_at_once(telegram, community, process, at_once)
        stored = await connection.fetchval("SELECT count(*) FROM member_participation")
        say(f"{stored:,} events are stored, {len(telegram.unconfirmed)} updates unconfirmed.")
        await connection.close()


@asynccontextmanager
async def _running_bot(
    url: str, telegram: Telegram, community: Community
) -> AsyncIterator[psutil.Process]:
    variables = {
        "POSTGRES_URL": url,
        "TELEGRAM_API_URL": telegram.url,
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_CHATS": ",".join(str(group.id) for group in community.groups),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "community_directory", "bot"), env={**os.environ, **variables}
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


def _note_delay(delays: list[float], offered_at: float, _: asyncio.Future[None]) -> None:
    delays.append(time.perf_counter() - offered_at)


async def _offer_steadily(
    telegram: Telegram, community: Community, process: psutil.Process, rate: int, seconds: int
) -> None:
    delays: list[float] = []
    watched: list[asyncio.Future[None]] = []
    began, used = time.perf_counter(), _cpu_seconds(process)
    while (now := time.perf_counter()) < began + seconds:
        while len(watched) < (now - began) * rate:
            watched.append(telegram.watch(community.act()))
            watched[-1].add_done_callback(partial(_note_delay, delays, time.perf_counter()))
        await asyncio.sleep(TICK_SECONDS)
    await asyncio.wait(watched)
    elapsed, used = time.perf_counter() - began, _cpu_seconds(process) - used
    percentiles = quantiles(delays, n=100)
    say(
        f"{len(watched) / elapsed:,.0f} updates a second for {seconds} s, {used / elapsed:.0%} of a"
        f" core, {used / len(watched) * 1000:.2f} ms of it for each update,"
        f" {process.memory_info().rss / 1e6:.0f} MB of memory.\n"
        f"From offer to confirmation: p50 {percentiles[49] * 1000:.0f} ms,"
        f" p99 {percentiles[98] * 1000:.0f} ms, at most {max(delays) * 1000:.0f} ms."
    )


async def _offer_at_once(
    telegram: Telegram, community: Community, process: psutil.Process, number: int
) -> None:
    watched = [telegram.watch(community.act()) for _ in range(number)]
    began, used = time.perf_counter(), _cpu_seconds(process)
    await asyncio.wait(watched)
    elapsed, used = time.perf_counter() - began, _cpu_seconds(process) - used
    say(
        f"{number:,} updates that waited were confirmed in {elapsed:.1f} s,"
        f" {number / elapsed:,.0f} a second, {used / number * 1000:.2f} ms of a core each,"
        f" {process.memory_info().rss / 1e6:.0f} MB of memory."
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    asyncio.run(main())
