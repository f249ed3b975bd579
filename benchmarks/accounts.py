"""Measure events by account and by number, and `resolve`: `python -m benchmarks.accounts`.

One run measures all calls in turn; only the ratio to the first one means something. `RESULTS.md`
has the figures of one machine.
"""

import argparse
import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from statistics import median
from typing import Any

import asyncpg

from benchmarks.say import say
from benchmarks.scratch import load, scratch_database
from community_directory.database import connect
from community_directory.queries import members, participation
from community_directory.queries.participation import NewEvent

MEMBERS = 10_000
BATCH = 1000
AUTHORS = ("number", "account")
KEYS = {
    "get": "#{}",
    "resolve, by number": "#{}",
    "resolve, by username": "@user{}",
    "resolve, by link": "https://t.me/user{}",
    "resolve, by id on Discord": "discord:{}",
}
"""Calls that find a member, and their key with the member's number for {}."""

# A username and an account on Discord of each member.
ADD_ACCOUNTS = """
UPDATE community_members
SET telegram_username = 'user' || substr(member_id, 2), last_active_at = now();
INSERT INTO member_accounts (id, platform, account_id, member_id, proof, proved_at)
SELECT gen_random_uuid(), 'discord', substr(member_id, 2), member_id, 'code', now()
FROM community_members;
ANALYZE community_members;
ANALYZE member_accounts;
"""

Call = Callable[[], Awaitable[Any]]


async def main() -> None:
    """Measure on a scratch database, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="make a tenth of the calls")
    rounds = 100 if parser.parse_args().quick else 1000
    async with scratch_database() as url:
        connection = await asyncpg.connect(url)
        await load(connection, members=MEMBERS, events=1000)
        await connection.execute(ADD_ACCOUNTS, timeout=600)
        await connection.close()
        async with connect(url):
            say("One event")
            await _compare({f"by {author}": _record_one(author) for author in AUTHORS}, rounds)
            say("A batch of 1,000 events")
            await _compare(
                {f"by {author}": _record_batch(author) for author in AUTHORS}, rounds // 10
            )
            say("One member")
            await _compare({name: _find_one(name) for name in KEYS}, rounds)


async def _compare(calls: dict[str, Call], rounds: int) -> None:
    """Print the median time of each call, and its ratio to that of the first one."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            await call()
            times[name].append(time.perf_counter() - began)
    first = median(times[next(iter(calls))])
    for name, seconds in times.items():
        say(f"  {name}: {median(seconds) * 1000:.3f} ms, {median(seconds) / first:.2f} ×")


def _make_events(author: str) -> Iterator[dict[str, Any]]:
    """Yield new events of one member after the other, by number or by account."""
    for number in itertools.count():
        person = number % MEMBERS + 1
        yield {
            **({"member_id": person} if author == "number" else {"account": ("telegram", person)}),
            "event_type": "MESSAGE",
            "platform": "telegram",
            "room_id": "-1001",
            "source_id": f"{author} {number}",
        }


def _record_one(author: str) -> Call:
    events = _make_events(author)
    return lambda: participation.record(**next(events))


def _record_batch(author: str) -> Call:
    events = _make_events(author)
    return lambda: participation.record_many(NewEvent(**next(events)) for _ in range(BATCH))


def _find_one(name: str) -> Call:
    numbers = itertools.cycle(range(1, MEMBERS + 1))
    find = members.get if name == "get" else members.resolve
    return lambda: find(KEYS[name].format(next(numbers)))


if __name__ == "__main__":
    asyncio.run(main())
