"""Updates from Telegram, each of which is handled once.

An update has ended when it was handled, or refused for good. Both ways of delivery confirm only
updates that have ended and whose events are stored.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aiogram import Bot, Dispatcher
from aiogram.types import Update
from aiogram.types.update import UpdateTypeLookupError
from pydantic import ValidationError

from community_directory.bot.accounts import BotAccounts
from community_directory.bot.chats import CountedChats
from community_directory.bot.errors import OUTAGES
from community_directory.logs import name_exception
from community_directory.observers import observers
from community_directory.queries.participation import Recorder

logger = logging.getLogger(__name__)

RawUpdate = dict[str, Any]
"""An update as Telegram's JSON has it."""

MAX_DEFECT_TRIES = 3
"""The number of times that an update is handled which a defect of the program makes fail."""
MAX_REMEMBERED = 10_000
"""The number of ended updates that are recognized if Telegram delivers them again."""

GROUP_EVENTS = ("message", "edited_message", "message_reaction", "chat_member", "chat_join_request")
"""The kinds of updates that are ignored in groups whose events do not count."""


class UpdateHandler:
    """Hands updates to the dispatcher, and remembers which of them have ended."""

    def __init__(
        self, dispatcher: Dispatcher, bot: Bot, recorder: Recorder, chats: CountedChats
    ) -> None:
        self._dispatcher = dispatcher
        self._bot = bot
        self._recorder = recorder
        self._context = {"recorder": recorder, "chats": chats, "bot_accounts": BotAccounts()}
        self._chats = chats
        self._tries: Counter[int] = Counter()
        self._ended: dict[int, None] = {}

    async def handle(self, raw: RawUpdate) -> bool:
        """Handle an update, unless it has ended already; return whether it has ended now.

        Otherwise the database is away, or a defect of the program made it fail: handle it again.
        """
        update_id: int = raw["update_id"]
        if update_id in self._ended:
            return True
        if _is_wanted(raw, self._chats):
            self._tries[update_id] += 1
            if not await self._feed(raw, self._tries[update_id]):
                return False
            del self._tries[update_id]
        self._ended[update_id] = None
        if len(self._ended) > MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        return True

    async def _feed(self, raw: RawUpdate, tries: int) -> bool:
        try:
            update = Update.model_validate(raw, context={"bot": self._bot})
            _ = update.event_type
        except (ValidationError, UpdateTypeLookupError) as error:
            # The error itself, and aiogram's warning, quote what people wrote.
            logger.warning("An update could not be read: %s.", type(error).__name__)
            return True
        try:
            await self._dispatcher.feed_update(self._bot, update, tries=tries, **self._context)
        except OUTAGES as error:
            if tries == 1:
                logger.warning("An update waits for the database: %s", name_exception(error))
            return False
        except Exception:
            if tries < MAX_DEFECT_TRIES:
                return False
            for observer in observers:
                observer.error_unhandled("update")
            logger.exception("An update was left out: handling it failed %d times.", tries)
        return True

    def find_first_left(self, batch: Sequence[RawUpdate]) -> int:
        """Return the id of the first update that has not ended, or the one after the last."""
        ids: list[int] = [raw["update_id"] for raw in batch]
        return next((each for each in ids if each not in self._ended), ids[-1] + 1)

    async def flush(self, timeout: float) -> bool:  # noqa: ASYNC109  it is no error
        """Wait until all events are stored, and return whether they are after some seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._recorder.flush()
        except TimeoutError:
            return False
        return True


def find_lane(raw: RawUpdate) -> int:
    """Return the id of the chat of an update, or of the person if there is no chat.

    The updates of one lane are handled in their order.
    """
    for event in raw.values():
        if isinstance(event, Mapping):
            message = event.get("message")
            chat = event.get("chat") or (message or {}).get("chat") or event.get("from") or {}
            return int(chat.get("id", 0))
    return 0


def _is_wanted(raw: RawUpdate, chats: CountedChats) -> bool:
    """Return whether a handler may need the update: most groups of others end here.

    Anybody can add the bot to a group of their own, so nothing is done for it there.
    """
    for kind in GROUP_EVENTS:
        if event := raw.get(kind):
            chat = event["chat"]
            return (
                chat["type"] == "private"
                or chat["id"] in chats
                or event.get("migrate_from_chat_id") in chats
            )
    return True
