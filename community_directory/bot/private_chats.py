"""Private chats: who has started the bot, and what it writes to them by itself."""

import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiogram import BaseMiddleware, Bot
from aiogram.enums import ChatType
from aiogram.exceptions import TelegramBadRequest, TelegramForbiddenError, TelegramNotFound
from aiogram.types import (
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    Message,
    TelegramObject,
    Update,
    User,
)

from community_directory.database import Statement, engine
from community_directory.errors import DirectoryError
from community_directory.language import Translation, find_translation
from community_directory.logs import name_exception
from community_directory.queries.values import present_number_sql

logger = logging.getLogger(__name__)

Handler = Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]]

LANGUAGE_TAG_PATTERN = re.compile("[a-z]+(-[a-z0-9]+)*")
DEFAULT_LANGUAGE = "en"
REMEMBERED_SECONDS = 60.0
"""The time after which the database is asked again whether it knows a person's language."""
MAX_REMEMBERED = 10_000
"""The number of people whose stored languages a process knows."""
NO_PREVIEW = LinkPreviewOptions(is_disabled=True)

# Only members and contacts are remembered. The lock waits for an erasure at the same time.
REMEMBER_CHAT = Statement("""
WITH account AS (
    SELECT account_id FROM member_accounts
    WHERE platform = 'telegram' AND account_id = :account_id AND proof <> 'stated'
    FOR KEY SHARE
), remembered AS (
    INSERT INTO directory_bot_chats AS chat (account_id, language_code)
    SELECT account_id, :language_code FROM account
    ON CONFLICT (platform, account_id) DO UPDATE SET language_code = EXCLUDED.language_code
    WHERE chat.language_code <> EXCLUDED.language_code
)
SELECT account_id FROM account
""")
CHOSEN_LANGUAGE = "coalesce(profile_data ->> 'language', language_code)"
"""The language that a member has chosen, or else that of their Telegram."""
FIND_CHAT = Statement(f"""
SELECT account_id, {CHOSEN_LANGUAGE}
FROM community_members JOIN directory_bot_chats ON account_id = telegram_id
WHERE member_id = {present_number_sql(":member_id")}
""")
FORGET_CHAT = Statement("DELETE FROM directory_bot_chats WHERE account_id = :account_id")


class PrivateChat(NamedTuple):
    """The chat between a person and the bot."""

    account_id: str
    language_code: str

    @property
    def translation(self) -> Translation:
        """The texts in the person's language."""
        return find_translation(self.language_code)


class PrivateChatMiddleware(BaseMiddleware):
    """Remembers the members who write to the bot, and their languages."""

    def __init__(self) -> None:
        self._remembered: dict[int, tuple[str, float]] = {}
        self._pool = engine.pool

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:
        """Handle the update first, because it may make a member of the person."""
        result = await handler(event, data)
        message = event.message if isinstance(event, Update) else None
        if message and message.from_user and message.chat.type == ChatType.PRIVATE:
            try:
                await self._remember(message.from_user)
            except DirectoryError as error:
                # The person has been answered: the update must not be handled again.
                logger.warning("A chat was not remembered: %s", name_exception(error))
        return result

    async def _remember(self, user: User) -> None:
        code = (user.language_code or DEFAULT_LANGUAGE).lower()
        code = code if LANGUAGE_TAG_PATTERN.fullmatch(code) else DEFAULT_LANGUAGE
        if self._pool is not engine.pool:  # another database, perhaps
            self._pool, self._remembered = engine.pool, {}
        known, until = self._remembered.get(user.id, ("", 0.0))
        if known == code and time.monotonic() < until:
            return
        if await engine.fetch(REMEMBER_CHAT, account_id=str(user.id), language_code=code):
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[user.id] = code, time.monotonic() + REMEMBERED_SECONDS


async def find_chat(member_id: str) -> PrivateChat | None:
    """Return the chat of a member, or None if they have not started the bot."""
    records = await engine.fetch(FIND_CHAT, member_id=member_id)
    return PrivateChat(*records[0]) if records else None


async def write(
    bot: Bot, account_id: str, text: str, keyboard: InlineKeyboardMarkup | None = None
) -> Message | None:
    """Send a person a message; return None if they can't be reached.

    Somebody who has blocked the bot is not written to again until they write to it.
    """
    try:
        return await bot.send_message(
            account_id,
            text,
            reply_markup=keyboard,
            link_preview_options=NO_PREVIEW,
        )
    except TelegramForbiddenError:
        await engine.fetch(FORGET_CHAT, account_id=account_id)
    except (TelegramBadRequest, TelegramNotFound) as error:
        logger.warning("A message was not sent: %s", type(error).__name__)
    return None


async def rewrite(
    bot: Bot,
    account_id: str,
    message_id: int,
    text: str,
    keyboard: InlineKeyboardMarkup | None = None,
) -> None:
    """Edit a message of the bot, unless it is gone or has this text already."""
    try:
        await bot.edit_message_text(
            text,
            chat_id=account_id,
            message_id=message_id,
            reply_markup=keyboard,
            link_preview_options=NO_PREVIEW,
        )
    except TelegramForbiddenError:
        await engine.fetch(FORGET_CHAT, account_id=account_id)
    except (TelegramBadRequest, TelegramNotFound) as error:
        # Most often the text is the same: the manager's own press has edited it before.
        logger.info("A message was not edited: %s", type(error).__name__)
