"""A member's own profile: show it, and edit a field."""

from typing import Any

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.filters.callback_data import CallbackData
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import BotCommand, CallbackQuery, InlineKeyboardMarkup, Message

from community_directory.bot.answers import (
    edit,
    in_rows,
    is_from,
    join_lines,
    make_button,
    make_keyboard,
    refuse_old_button,
    remove_buttons,
)
from community_directory.bot.fields import FIELDS, clean_value, show_value, suggest_values
from community_directory.bot.membership import HAS_JOINED, IN_PRIVATE_CHAT
from community_directory.error_texts import gettext_noop
from community_directory.language import Translation
from community_directory.queries import members
from community_directory.queries.members import Member

router = Router(name="profile")
router.message.filter(IN_PRIVATE_CHAT, HAS_JOINED)
router.callback_query.filter(HAS_JOINED)
commands = [BotCommand(command="profile", description=gettext_noop("See and edit your profile"))]

EDITABLE = tuple(name for name in FIELDS if name != "github_username")
"""The fields that members edit; a GitHub account changes when it is verified."""


class Editing(StatesGroup):
    """The state while the bot waits for the new value of a field."""

    value = State()


class ProfileButton(CallbackData, prefix="profile"):
    """A button under a profile, or under the question for a new value.

    Attributes:
        action: "edit" a field, "choose" a suggestion, "empty" the field, or "cancel".
        field: The field.
        choice: The number of the suggestion.
    """

    action: str
    field: str
    choice: int = 0


@router.message(Command("profile"))
async def show(
    message: Message, *, member: Member, state: FSMContext, translation: Translation
) -> None:
    """Show one's own profile with a button for each field."""
    await state.clear()
    text, keyboard = show_profile(await members.get(member.member_id), translation)
    await message.answer(text, reply_markup=keyboard)


@router.callback_query(ProfileButton.filter())
async def press(
    query: CallbackQuery,
    *,
    callback_data: ProfileButton,
    bot: Bot,
    member: Member,
    state: FSMContext,
    translation: Translation,
) -> None:
    """Handle a button of the profile, or under the open question."""
    field, action = callback_data.field, callback_data.action
    if field not in EDITABLE:
        await refuse_old_button(query, translation)
        return
    if action == "edit":
        await _ask(query, field, bot=bot, member=member, state=state, translation=translation)
        return
    data = await state.get_data()
    if data.get("field") != field or not is_from(query, data.get("question")):
        await refuse_old_button(query, translation)
        return
    options = data["options"]
    if action == "choose" and 0 <= callback_data.choice < len(options):
        member = await _change(member, field, options[callback_data.choice])
    elif action == "empty" and not FIELDS[field].is_required:
        member = await _change(member, field, None)
    await state.clear()
    await edit(query, bot, *show_profile(member, translation))


@router.message(Editing.value, F.text, ~F.text.startswith("/"))
async def read_value(
    message: Message, *, bot: Bot, member: Member, state: FSMContext, translation: Translation
) -> None:
    """Take what a member writes as the new value of the field.

    Raises:
        InvalidInput: The field can't have this value; the question stays open.
    """
    data = await state.get_data()
    member = await _change(member, data["field"], message.text or "")
    await state.clear()
    await remove_buttons(bot, message.chat.id, data["question"])
    text, keyboard = show_profile(member, translation)
    await message.answer(text, reply_markup=keyboard)


def show_profile(member: Member, translation: Translation) -> tuple[str, InlineKeyboardMarkup]:
    """Return a member's own profile, and the buttons that edit it."""
    gettext = translation.gettext
    lines = [f"{member.member_id} · {translation.word(member.status)}", ""]
    for name, field in FIELDS.items():
        value = show_value(name, getattr(member, name), translation)
        if name == "github_username" and member.github_verified:
            value = gettext("{username} (verified)", username=value)
        lines.append(f"{gettext(field.label)}: {value}")
    buttons = [
        make_button(f"✏️ {gettext(FIELDS[name].label)}", ProfileButton(action="edit", field=name))
        for name in EDITABLE
    ]
    return join_lines(lines), make_keyboard(*in_rows(buttons))


async def _ask(
    query: CallbackQuery,
    field: str,
    *,
    bot: Bot,
    member: Member,
    state: FSMContext,
    translation: Translation,
) -> None:
    """Ask for the new value of a field, in place of the profile."""
    gettext = translation.gettext
    options = await suggest_values(field, query.from_user, translation)
    choices = [
        make_button(
            show_value(field, option, translation),
            ProfileButton(action="choose", field=field, choice=number),
        )
        for number, option in enumerate(options)
    ]
    others = [make_button(gettext("Cancel"), ProfileButton(action="cancel", field=field))]
    if not FIELDS[field].is_required and getattr(member, field) is not None:
        others.insert(
            0, make_button(gettext("Leave empty"), ProfileButton(action="empty", field=field))
        )
    question = await edit(
        query,
        bot,
        gettext(FIELDS[field].question),
        make_keyboard(*in_rows(choices), others),
    )
    await state.set_data({"field": field, "options": options, "question": question})
    await state.set_state(Editing.value)


async def _change(member: Member, field: str, value: str | None) -> Member:
    """Store the value of a field, and return the member as it is then.

    Raises:
        InvalidInput: The field can't have this value.
    """
    change: dict[str, Any] = {field: None if value is None else clean_value(field, value)}
    return await members.update_profile(
        member.member_id, **change, actor=f"telegram:{member.telegram_id}"
    )
