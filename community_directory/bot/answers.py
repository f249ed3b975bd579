"""Messages to a person: within Telegram's limits, and sent whatever became of earlier ones.

Texts have no markup, so that names of people are text everywhere.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters.callback_data import CallbackData
from aiogram.types import (
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    MaybeInaccessibleMessageUnion,
)

from community_directory.error_texts import gettext_noop
from community_directory.language import Translation

MAX_TEXT_LENGTH = 4096
MAX_CAPTION_LENGTH = 1024
MAX_ALERT_LENGTH = 200
"""The maximum length of an answer to a button."""
MAX_LABEL_LENGTH = 40
"""The maximum length of a button's label: a phone shows no more."""
MAX_NAME_LENGTH = 60
"""The maximum length of a name in a list."""
OUT_OF_DATE = gettext_noop("This button is out of date.")


def shorten(text: str, limit: int = MAX_NAME_LENGTH) -> str:
    """Return a text on one line that is cut to a number of UTF-16 units, as Telegram counts."""
    return _cut(" ".join(text.split()), limit)


def join_lines(lines: Iterable[str], limit: int = MAX_TEXT_LENGTH) -> str:
    """Return lines as one text; those beyond the limit of a message are left out."""
    return _cut("\n".join(lines), limit)


def _cut(text: str, limit: int) -> str:
    """Return a text that is cut to a number of UTF-16 units, and ends with … then."""
    encoded = text.encode("utf-16-le", "replace")
    if len(encoded) <= 2 * limit:
        return text
    return f"{encoded[: 2 * (limit - 1)].decode('utf-16-le', 'ignore')}…"


def make_button(label: str, data: CallbackData) -> InlineKeyboardButton:
    """Return a button under a message."""
    return InlineKeyboardButton(text=shorten(label, MAX_LABEL_LENGTH), callback_data=data.pack())


def make_keyboard(*rows: Sequence[InlineKeyboardButton]) -> InlineKeyboardMarkup:
    """Return the buttons under a message; rows without buttons are left out."""
    return InlineKeyboardMarkup(inline_keyboard=[list(row) for row in rows if row])


def in_rows(
    buttons: Sequence[InlineKeyboardButton], width: int = 2
) -> list[Sequence[InlineKeyboardButton]]:
    """Return buttons in rows of a width."""
    return [buttons[start : start + width] for start in range(0, len(buttons), width)]


async def edit(
    query: CallbackQuery,
    bot: Bot,
    text: str,
    keyboard: InlineKeyboardMarkup | None = None,
    *,
    notice: str | None = None,
) -> int:
    """Show a text in the message whose button was pressed, and answer the press.

    If the message can't be edited any more, a new one is sent.

    Args:
        query: The press.
        bot: The bot.
        text: The new text.
        keyboard: The new buttons.
        notice: A text that is shown for a moment, too.

    Returns:
        The id of the message that shows the text.
    """
    shown = query.message
    if shown is None or not await _edit_message(bot, shown, text, keyboard):
        shown = await bot.send_message(query.from_user.id, text, reply_markup=keyboard)
    await query.answer(None if notice is None else shorten(notice, MAX_ALERT_LENGTH))
    return shown.message_id


async def _edit_message(
    bot: Bot,
    message: MaybeInaccessibleMessageUnion,
    text: str,
    keyboard: InlineKeyboardMarkup | None,
) -> bool:
    """Edit a message, and return whether it shows the text now."""
    try:
        await bot.edit_message_text(
            text, chat_id=message.chat.id, message_id=message.message_id, reply_markup=keyboard
        )
    except TelegramBadRequest as error:
        # The second of two quick presses finds the text already there.
        return "not modified" in error.message
    return True


async def remove_buttons(bot: Bot, chat_id: int, message_id: int | None) -> None:
    """Remove the buttons of a message, if it is still there."""
    if message_id is not None:
        # It may have been deleted, or have no buttons any more.
        with suppress(TelegramBadRequest):
            await bot.edit_message_reply_markup(chat_id=chat_id, message_id=message_id)


async def refuse_old_button(query: CallbackQuery, translation: Translation) -> None:
    """Tell a person that a button belongs to something that is over."""
    await query.answer(translation.gettext(OUT_OF_DATE))


def is_from(query: CallbackQuery, message_id: object) -> bool:
    """Return whether a button belongs to the message with this id."""
    return query.message is not None and query.message.message_id == message_id
