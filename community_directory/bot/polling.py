"""Long polling: the bot asks Telegram for updates, and confirms those whose events are stored."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from aiogram import Bot
from aiogram.exceptions import TelegramAPIError, TelegramUnauthorizedError
from aiogram.methods import TelegramMethod

from community_directory.bot.pauses import (
    MAX_PAUSE_SECONDS,
    MIN_PAUSE_SECONDS,
    sleep_unless,
    wait_unless,
)
from community_directory.bot.session import REQUEST_TIMEOUT_SECONDS, describe_refusal
from community_directory.bot.updates import RawUpdate, UpdateHandler, find_lane
from community_directory.database import Statement, engine
from community_directory.errors import DirectoryError

logger = logging.getLogger(__name__)

POLL_SECONDS = 30
"""The time that Telegram waits for updates before it answers that there are none."""
FLUSH_TIMEOUT_SECONDS = 5
"""The longest time that a stopped bot waits for the last events."""

IS_WRITABLE = Statement("SELECT current_setting('transaction_read_only') = 'off'")


class GetRawUpdates(TelegramMethod[list[dict[str, Any]]]):
    """The method getUpdates, whose result is not parsed: a malformed update fails alone."""

    __returning__ = list[dict[str, Any]]
    __api_method__ = "getUpdates"

    offset: int | None = None
    limit: int | None = None
    timeout: int = 0
    allowed_updates: list[str] | None = None


class Poller:
    """Asks for updates and has them handled until it is stopped."""

    def __init__(
        self, bot: Bot, handler: UpdateHandler, stop: asyncio.Event, allowed_updates: list[str]
    ) -> None:
        self._bot = bot
        self._handler = handler
        self._stop = stop
        self._allowed_updates = allowed_updates
        self._offset: int | None = None
        """The id of the first update that is not confirmed; None before the first one."""

    async def run(self) -> None:
        """Handle updates until the bot is stopped, and then confirm those that have ended.

        Raises:
            TelegramUnauthorizedError: Telegram no longer accepts the token.
        """
        while not self._stop.is_set():
            batch = await self._fetch()
            await self._handle_all(batch)
            if batch and await self._store():
                self._offset = self._handler.find_first_left(batch)
        await self._confirm()

    async def _fetch(self) -> list[RawUpdate]:
        """Return the next updates; none if there are none for a while, or the bot is stopped."""
        pause = MIN_PAUSE_SECONDS
        while not self._stop.is_set():
            asking = asyncio.create_task(self._ask())
            try:
                if not await wait_unless(self._stop, asking):
                    return []
            finally:
                asking.cancel()
            error = asking.exception()
            if error is None:
                return asking.result()
            if not isinstance(error, TelegramAPIError) or isinstance(
                error, TelegramUnauthorizedError
            ):
                raise error
            logger.warning("Telegram sends no updates: %s", describe_refusal(error))
            await sleep_unless(self._stop, pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        return []

    async def _ask(self) -> list[RawUpdate]:
        method = GetRawUpdates(
            offset=self._offset, timeout=POLL_SECONDS, allowed_updates=self._allowed_updates
        )
        timeout = POLL_SECONDS + REQUEST_TIMEOUT_SECONDS
        return await self._bot(method, request_timeout=timeout)

    async def _handle_all(self, batch: Sequence[RawUpdate]) -> None:
        """Handle updates until all have ended, or the bot is stopped.

        Those of one chat are handled one after the other. While the database is away, they wait.
        """
        lanes: dict[int, deque[RawUpdate]] = {}
        for update in batch:
            lanes.setdefault(find_lane(update), deque()).append(update)
        pause = MIN_PAUSE_SECONDS
        while lanes:
            await asyncio.gather(*map(self._handle_lane, lanes.values()))
            lanes = {number: lane for number, lane in lanes.items() if lane}
            if self._stop.is_set():
                return
            if lanes:
                pause = await self._wait_for_database(pause)

    async def _handle_lane(self, lane: deque[RawUpdate]) -> None:
        while lane and not self._stop.is_set() and await self._handler.handle(lane[0]):
            lane.popleft()

    async def _wait_for_database(self, pause: float) -> float:
        """Pause, at least once, until the database accepts changes; return the next pause."""
        while not self._stop.is_set():
            await sleep_unless(self._stop, pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
            try:
                [(is_writable,)] = await engine.fetch(IS_WRITABLE)
            except DirectoryError:
                continue
            if is_writable:
                break
        return pause

    async def _store(self) -> bool:
        """Wait until all events are stored, and return whether they are.

        They are not if the bot is stopped while the database is away.
        """
        while not await self._handler.flush(FLUSH_TIMEOUT_SECONDS):
            if self._stop.is_set():
                return False
        return True

    async def _confirm(self) -> None:
        """Tell Telegram which updates have ended, so that the next process does not get them."""
        if self._offset is not None:
            try:
                await self._bot(GetRawUpdates(offset=self._offset, limit=1))
            except TelegramAPIError as error:
                logger.warning(
                    "The last updates could not be confirmed, and come again: %s",
                    describe_refusal(error),
                )
