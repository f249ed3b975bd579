"""Errors of handlers: the answers to people, and the lines of the log."""

import logging

from aiogram import Bot, Router
from aiogram.exceptions import TelegramAPIError
from aiogram.types import ErrorEvent, Update

from community_directory.bot.session import describe_refusal
from community_directory.errors import (
    DatabaseUnavailable,
    DirectoryError,
    OperatorError,
    SchemaMissing,
)
from community_directory.language import Translation, find_translation
from community_directory.logs import name_exception
from community_directory.queries.participation import RecorderFull

logger = logging.getLogger(__name__)
router = Router(name="errors")

OUTAGES = (DatabaseUnavailable, RecorderFull, SchemaMissing)
"""The errors after which the same update is handled again."""
MAX_TRIES = 5
"""The number of times that the update of a person who waits for an answer is handled."""
MAX_ALERT_LENGTH = 200
"""The maximum number of characters of an answer to a button."""


@router.error()
async def handle_error(
    event: ErrorEvent, bot: Bot, tries: int = MAX_TRIES, translation: Translation | None = None
) -> None:
    """Tell the person what is wrong and what to do, and log what concerns the operator.

    Raises:
        Exception: The update is to be handled again: the database is away and nobody waits for an
            answer, or has waited for a few tries only; or the program has a defect.
    """
    error, update = event.exception, event.update
    if isinstance(error, OUTAGES) and not (_is_awaited(update) and tries >= MAX_TRIES):
        raise error
    if isinstance(error, TelegramAPIError):
        # Most often, somebody has blocked the bot.
        logger.warning("%s failed: %s", type(error.method).__name__, describe_refusal(error))
        return
    if not isinstance(error, DirectoryError):
        raise error
    if isinstance(error, OperatorError) or not _is_awaited(update):
        logger.warning("An update could not be handled: %s", name_exception(error))
    await answer(bot, update, (translation or find_translation(None)).error(error))


def _is_awaited(update: Update) -> bool:
    """Return whether a person waits for an answer."""
    is_private = update.message is not None and update.message.chat.type == "private"
    return is_private or update.callback_query is not None or update.chat_join_request is not None


async def answer(bot: Bot, update: Update, text: str) -> None:
    """Answer the person who sent a message to the bot, pressed a button or asked to join."""
    if update.callback_query is not None:
        await bot.answer_callback_query(
            update.callback_query.id, text[:MAX_ALERT_LENGTH], show_alert=True
        )
    elif update.message is not None and update.message.chat.type == "private":
        await bot.send_message(update.message.chat.id, text)
    elif update.chat_join_request is not None:
        await bot.send_message(update.chat_join_request.user_chat_id, text)
