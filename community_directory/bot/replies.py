"""Answers to people: HTML, buttons, and why something can't be done."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from aiogram import html
from aiogram.enums import ParseMode
from aiogram.exceptions import TelegramBadRequest
from aiogram.filters.callback_data import CallbackData
from aiogram.types import (
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    Message,
)

from community_directory.errors import UserError
from community_directory.language import Translation
from community_directory.queries.members import Member

MAX_ALERT_LENGTH = 200
"""The maximum number of characters of an answer to a button."""
MAX_NAME_LENGTH = 64
"""The maximum number of characters of a name in a text with other texts."""
CANCEL = "cancel"
"""The data of the buttons that close a question."""
NO_PREVIEW = LinkPreviewOptions(is_disabled=True)

Handler = Callable[..., Awaitable[None]]


class Refusal(Exception):
    """Something can't be done; the text says why, as HTML in the person's language."""


def explained(handler: Handler) -> Handler:
    """Answer the refusals and the errors of a handler of messages or buttons, also in groups."""

    @wraps(handler)
    async def explained_handler(event: Message | CallbackQuery, **data: Any) -> None:
        translation: Translation = data["translation"]
        try:
            await handler(event, **data)
        except Refusal as refusal:
            await _refuse(event, str(refusal))
        except UserError as error:
            await _refuse(event, html.quote(translation.error(error)))

    return explained_handler


async def _refuse(event: Message | CallbackQuery, text: str) -> None:
    if isinstance(event, CallbackQuery):
        await event.answer(make_plain(text), show_alert=True)
    else:
        await reply(event, text)


async def reply(message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
    """Reply to a message in HTML."""
    await message.reply(
        text, parse_mode=ParseMode.HTML, reply_markup=keyboard, link_preview_options=NO_PREVIEW
    )


async def edit(
    callback: CallbackQuery,
    text: str,
    keyboard: InlineKeyboardMarkup | None = None,
    *,
    notice: str | None = None,
) -> None:
    """Show HTML in place of the message with the button that was pressed.

    Args:
        callback: The press.
        text: The new text.
        keyboard: The new buttons.
        notice: HTML that is shown for a moment, too.
    """
    message = require_message(callback)
    try:
        await message.edit_text(
            text, parse_mode=ParseMode.HTML, reply_markup=keyboard, link_preview_options=NO_PREVIEW
        )
    except TelegramBadRequest as error:
        # The second of two quick presses finds the text already there.
        if "not modified" not in error.message:
            raise
    await callback.answer(None if notice is None else make_plain(notice))


def require_message(callback: CallbackQuery) -> Message:
    """Return the message with the button that was pressed.

    Raises:
        Refusal: Telegram does not show such an old message any more.
    """
    if isinstance(callback.message, Message):
        return callback.message
    raise Refusal


def make_plain(text: str) -> str:
    """Return HTML as the short text of an answer to a button."""
    for markup, plain in (("<b>", ""), ("</b>", ""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(markup, plain)
    return shorten(text, MAX_ALERT_LENGTH)


def show_name(person: Member) -> str:
    """Return the name and the number of a person, as HTML."""
    return f"{html.bold(html.quote(shorten(person.name, MAX_NAME_LENGTH)))} ({person.member_id})"


def shorten(text: str, length: int) -> str:
    """Return a text with at most so many characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def make_button(text: str, data: CallbackData | str) -> InlineKeyboardButton:
    """Return a button that sends the data back."""
    packed = data if isinstance(data, str) else data.pack()
    return InlineKeyboardButton(text=text, callback_data=packed)


def make_cancel_button(translation: Translation) -> InlineKeyboardButton:
    """Return the button that closes a question."""
    return make_button(translation.gettext("Cancel"), CANCEL)


def make_keyboard(*rows: list[InlineKeyboardButton]) -> InlineKeyboardMarkup:
    """Return the rows of buttons without the empty ones."""
    return InlineKeyboardMarkup(inline_keyboard=[row for row in rows if row])
