"""Background tasks of the bot: each runs until the bot stops, and is started again if it ends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager

from aiogram import Bot

from community_directory.bot.chats import CountedChats
from community_directory.logs import name_exception

logger = logging.getLogger(__name__)

MIN_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0
"""The pause before a task is started again doubles from the minimum to the maximum."""

BackgroundTask = Callable[[Bot, CountedChats], Coroutine[object, object, None]]
"""A module lists its tasks in `background_tasks`."""


@asynccontextmanager
async def run_in_background(
    tasks: Iterable[BackgroundTask], bot: Bot, chats: CountedChats
) -> AsyncIterator[None]:
    """Run the tasks while the block runs, and cancel them at its end."""
    running = [asyncio.create_task(_keep_running(task, bot, chats)) for task in tasks]
    try:
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _keep_running(task: BackgroundTask, bot: Bot, chats: CountedChats) -> None:
    """Run a task again whenever it ends."""
    loop, pause = asyncio.get_running_loop(), MIN_PAUSE_SECONDS
    while True:
        began = loop.time()
        try:
            await task(bot, chats)
            problem = "It ended."
        except Exception as error:
            problem = name_exception(error)
        pause = MIN_PAUSE_SECONDS if loop.time() - began > MAX_PAUSE_SECONDS else pause
        logger.warning("%s starts again in %.0f s: %s", task.__name__, pause, problem)
        await asyncio.sleep(pause)
        pause = min(2 * pause, MAX_PAUSE_SECONDS)
