"""The shared part of the features for managers: permissions, refusals and texts."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from aiogram.enums import ChatType
from aiogram.exceptions import TelegramBadRequest
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

from community_directory.bot.answers import OUT_OF_DATE, join_lines, shorten
from community_directory.errors import PermissionRequired, UserError
from community_directory.language import Translation
from community_directory.queries import audit, members, permissions
from community_directory.queries.members import Member
from community_directory.tables import Permission

MAX_ALERT_LENGTH = 200
"""The maximum length of an answer to a button."""
MAX_REASON_LENGTH = 500
"""The maximum number of characters of a reason."""
CANCEL = "cancel-decision"
"""The data of the buttons that close a question to a manager."""

Handler = Callable[..., Awaitable[None]]


class Refusal(Exception):
    """Somebody can't do something; the text says why, and is empty if nothing should be said."""


def explained(handler: Handler) -> Handler:
    """Answer the refusals and the errors of a handler of messages or buttons, also in groups."""

    @wraps(handler)
    async def explained_handler(event: Message | CallbackQuery, **data: Any) -> None:
        translation: Translation = data["translation"]
        try:
            await handler(event, **data)
        except Refusal as refusal:
            text = str(refusal)
        except UserError as error:
            text = translation.error(error)
        else:
            return
        if not text:
            return
        if isinstance(event, CallbackQuery):
            await event.answer(shorten(text, MAX_ALERT_LENGTH), show_alert=True)
        else:
            await event.reply(text)

    return explained_handler


async def show(
    callback: CallbackQuery,
    text: str,
    keyboard: InlineKeyboardMarkup | None = None,
    *,
    notice: str | None = None,
) -> None:
    """Show a text in place of the message with the button that was pressed.

    Args:
        callback: The press.
        text: The new text.
        keyboard: The new buttons.
        notice: A text that is shown for a moment, too.
    """
    if isinstance(callback.message, Message):
        try:
            await callback.message.edit_text(text, reply_markup=keyboard)
        except TelegramBadRequest as error:
            # The second of two quick presses finds the text already there.
            if "not modified" not in error.message:
                raise
    await callback.answer(None if notice is None else shorten(notice, MAX_ALERT_LENGTH))


def require_message(callback: CallbackQuery, translation: Translation) -> Message:
    """Return the message with the button that was pressed.

    Raises:
        Refusal: Telegram does not show such an old message any more.
    """
    if isinstance(callback.message, Message):
        return callback.message
    raise Refusal(translation.gettext(OUT_OF_DATE))


async def require_sender(
    message: Message, member: Member | None, permission: Permission, translation: Translation
) -> Member:
    """Return the manager who has sent a command.

    In a group, a command of somebody without any permission gets no answer: it may be meant for
    another bot.

    Raises:
        Refusal: Nobody knows who has written this, or it is no member.
        PermissionRequired: The member lacks the permission.
    """
    if message.sender_chat is not None:
        raise Refusal(
            translation.gettext(
                "I can't see who you are. Write in your own name, or to me in private."
            )
        )
    is_group = message.chat.type != ChatType.PRIVATE
    if is_group and (member is None or not await permissions.of(member.member_id)):
        raise Refusal
    return await require_holder(member, permission, translation)


async def require_holder(
    member: Member | None, permission: Permission, translation: Translation
) -> Member:
    """Return the member if they hold the permission, or `manage`.

    Raises:
        Refusal: The person is no member.
        PermissionRequired: The member lacks the permission.
    """
    if member is None:
        raise Refusal(translation.gettext("Only managers of the community can do this."))
    if not await permissions.has(member.member_id, permission):
        raise PermissionRequired(member.member_id, permission)
    return member


async def describe_status(person: Member, translation: Translation) -> str:
    """Return the status of a person, and who has set it."""
    gettext = translation.gettext
    lines = [
        gettext(
            "The status of {name} is “{status}”.",
            name=show_name(person),
            status=translation.word(person.status),
        )
    ]
    for change in (await audit.history(person.member_id, limit=20)).items:
        if change.table_name == "community_members" and "status" in change.changes:
            actor = await name_actor(change.actor)
            lines.append(gettext("It was set by {actor}.", actor=actor))
            break
    return " ".join(lines)


async def name_actor(actor: str) -> str:
    """Return the author of a change: a member with name and number, or the text in the log."""
    member = await members.find(actor) if actor.startswith("#") else None
    return shorten(actor) if member is None else show_name(member)


def show_name(person: Member) -> str:
    """Return the name and the number of a person."""
    return f"{shorten(person.name)} ({person.member_id})"


def show_reason(reason: str | None, translation: Translation) -> list[str]:
    """Return a line with a reason, if there is one."""
    if not reason:
        return []
    shown = shorten(translation.gettext(reason), MAX_REASON_LENGTH)
    return [translation.gettext("Reason: {reason}", reason=shown)]


def make_cancel_button(translation: Translation) -> InlineKeyboardButton:
    """Return the button that closes a question."""
    return InlineKeyboardButton(text=translation.gettext("Cancel"), callback_data=CANCEL)


def in_lines(*lines: str) -> str:
    """Return the lines that are not empty as one message."""
    return join_lines(line for line in lines if line)
