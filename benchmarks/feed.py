"""Measure what the change feed costs those who write, and how fast a follower reads.

`python -m benchmarks.feed` compares, in turns: no notification, the trigger of the feed, and a
trigger that always notifies. The figures are the best rounds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from itertools import count

from benchmarks.say import say
from benchmarks.scratch import scratch_database
from community_directory.database import connect, engine, migrate
from community_directory.queries import audit, invitations, members, permissions

CALLERS = 32
CALLS = 320
ROUNDS = 5
ALWAYS = """
CREATE FUNCTION public.always_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NOTIFY directory_audit_log; RETURN NULL; END $$;
CREATE TRIGGER always_notify AFTER INSERT ON public.directory_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION public.always_notify();
"""
VARIANTS = {
    "without": ("DISABLE TRIGGER directory_audit_log_notify", "DISABLE TRIGGER always_notify"),
    "with": ("ENABLE TRIGGER directory_audit_log_notify", "DISABLE TRIGGER always_notify"),
    "always": ("DISABLE TRIGGER directory_audit_log_notify", "ENABLE TRIGGER always_notify"),
}

numbers = count(1_000_000)


async def add() -> None:
    """Add a member."""
    await members.add(telegram_id=next(numbers), name="Ana", primary_role="developer")


async def redeem(codes: list[str]) -> None:
    """Redeem one of the codes."""
    await invitations.redeem(
        codes.pop(), telegram_id=next(numbers), name="Ana", primary_role="developer"
    )


async def run(call: Callable[[], Awaitable[None]]) -> float:
    """Return the seconds that the callers take for all calls."""
    calls = iter(range(CALLS))

    async def repeat() -> None:
        for _ in calls:
            await call()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(repeat())
    return time.perf_counter() - began


async def make_codes(number: int) -> list[str]:
    """Return the codes of new invitations."""
    made = [await invitations.create(created_by="#1") for _ in range(number)]
    return [each.invitation_code for each in made]


async def follow_all() -> None:
    """Follow the changes for ever."""
    async with aclosing(audit.follow("benchmark")) as changes:
        async for _ in changes:
            pass


async def main() -> None:
    """Measure on a scratch database, and print."""
    best: dict[tuple[str, str], float] = {}
    async with scratch_database() as url, connect(url, max_size=CALLERS):
        await migrate()
        async with engine.transaction() as current:
            await current.connection.execute(ALWAYS)
        await members.add(telegram_id="1", name="Eva", primary_role="lead", status="active")
        await permissions.grant("#1", "manage", actor="benchmark")
        follower = asyncio.create_task(follow_all())
        for _ in range(ROUNDS):
            for variant, changes in VARIANTS.items():
                for change in changes:
                    await engine.fetch(f"ALTER TABLE directory_audit_log {change}")
                codes = await make_codes(CALLS)
                calls: dict[str, Callable[[], Awaitable[None]]] = {
                    "add": add,
                    "redeem": partial(redeem, codes),
                }
                for name, call in calls.items():
                    seconds = await run(call)
                    best[name, variant] = min(seconds, best.get((name, variant), seconds))
        follower.cancel()
        await asyncio.wait({follower})
        for (name, variant), seconds in best.items():
            ratio = seconds / best[name, "without"]
            say(f"{name}, {variant}: {CALLS / seconds:,.0f} a second, {ratio:.2f} of the time")
        await _read_all()


async def _read_all() -> None:
    [(newest,)] = await engine.fetch("SELECT max(id) FROM directory_audit_log")
    began = time.perf_counter()
    async with aclosing(audit.follow("reader", after=0)) as changes:
        async for change in changes:
            if change.id == newest:
                break
    say(f"a follower reads {newest / (time.perf_counter() - began):,.0f} changes a second")


if __name__ == "__main__":
    asyncio.run(main())
