"""Pauses after failures, which end when the bot is stopped."""

import asyncio
from contextlib import suppress

MIN_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 10.0
"""The pause after a failure doubles from the minimum to the maximum."""


async def sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    """Wait for some seconds, or until the event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def wait_unless(stop: asyncio.Event, task: asyncio.Task[object]) -> bool:
    """Wait for the end of a task, or until the event is set; return whether the task has ended."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    return task.done()
