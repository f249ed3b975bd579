"""A member's own data: the member gets all of it, and may have it erased."""

import asyncio
import json

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.filters.callback_data import CallbackData
from aiogram.fsm.context import FSMContext
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    CallbackQuery,
    InlineKeyboardMarkup,
    Message,
)

from community_directory.bot.answers import edit, make_button, make_keyboard
from community_directory.bot.membership import IN_PRIVATE_CHAT
from community_directory.error_texts import gettext_noop
from community_directory.language import Translation
from community_directory.queries import members, requests
from community_directory.queries.members import Member
from community_directory.tables import RequestKind

router = Router(name="personal_data")
router.message.filter(IN_PRIVATE_CHAT)

MAX_FILE_BYTES = 50_000_000
"""The size up to which Telegram accepts a file of a bot."""

commands = (
    BotCommand(command="export", description=gettext_noop("Get all data about you")),
    BotCommand(command="forget", description=gettext_noop("Have your data erased")),
)


class Forget(CallbackData, prefix="f"):
    """A button of /forget: `step` is "sure", "now", "ask" or "no"."""

    step: str


_exporting: set[str] = set()
"""The numbers of the members whose export is being made."""


@router.message(Command("export"))
async def export(message: Message, member: Member | None, translation: Translation) -> None:
    """Send a member everything that is stored about them."""
    gettext = translation.gettext
    if member is None:
        await message.answer(_unknown(translation))
        return
    if member.member_id in _exporting:
        await message.answer(gettext("Your file is being made. Please wait a moment."))
        return
    _exporting.add(member.member_id)
    try:
        exported = await members.export(member.member_id)
        # The data of a busy member takes a second, in which others get their answers.
        content = await asyncio.to_thread(_encode, exported)
    finally:
        _exporting.discard(member.member_id)
    if len(content) > MAX_FILE_BYTES:
        await message.answer(
            gettext("Your data is too large for Telegram. Please ask a community manager for it.")
        )
        return
    await message.answer_document(
        BufferedInputFile(content, filename="my-data.json"),
        caption=gettext("This is all that the directory has about you."),
    )


@router.message(Command("forget"))
async def forget(message: Message, member: Member | None, translation: Translation) -> None:
    """Explain what an erasure is, and ask whether the member wants it."""
    gettext = translation.gettext
    if member is None:
        await message.answer(_unknown(translation))
    elif await requests.may_erase_themselves(member.member_id):
        await message.answer(
            gettext(
                "I can erase your profile, your accounts and what was recorded of you. Your "
                "membership ends with it. The counts of the community stay, without your name. "
                "Send /export before, if you want to keep your data."
            ),
            reply_markup=_make_choices(
                ("sure", gettext("Erase my data")), ("no", gettext("Keep my data"))
            ),
        )
    else:
        await message.answer(
            gettext(
                "You hold a permission, or your membership is restricted: a community manager has "
                "to erase your data. Shall I ask them for it?"
            ),
            reply_markup=_make_choices(
                ("ask", gettext("Ask them")), ("no", gettext("Keep my data"))
            ),
        )


@router.callback_query(Forget.filter(F.step == "no"))
async def keep(callback: CallbackQuery, bot: Bot, translation: Translation) -> None:
    """Leave everything as it is."""
    await edit(callback, bot, translation.gettext("Your data stays as it is."))


@router.callback_query(Forget.filter(F.step == "sure"))
async def ask_again(callback: CallbackQuery, bot: Bot, translation: Translation) -> None:
    """Ask a second time."""
    gettext = translation.gettext
    await edit(
        callback,
        bot,
        gettext("Are you sure? This can't be undone, not even by a manager."),
        _make_choices(("now", gettext("Yes, erase for good")), ("no", gettext("Keep my data"))),
    )


@router.callback_query(Forget.filter(F.step == "now"))
async def erase(
    callback: CallbackQuery,
    bot: Bot,
    member: Member | None,
    translation: Translation,
    state: FSMContext | None = None,
) -> None:
    """Erase everything about a member, and forget the conversation with them."""
    gettext = translation.gettext
    if member is None or await members.find(member.member_id) is None:
        await edit(callback, bot, gettext("There is no data about you any more."))
        return
    # The erasure asks again, after it has waited for other changes of the member.
    if not await requests.may_erase_themselves(member.member_id) or not await members.erase(
        member.member_id,
        actor=member.member_id,
        reason="The member erased their own data.",
        by_themselves=True,
    ):
        # Of two presses at the same time, the second one finds no member any more.
        is_gone = await members.find(member.member_id) is None
        await edit(
            callback,
            bot,
            gettext("There is no data about you any more.")
            if is_gone
            else gettext("A community manager has to erase your data. Send /forget again."),
        )
        return
    if state is not None:
        await state.clear()
    await edit(
        callback,
        bot,
        gettext(
            "Your data is erased, and I have forgotten you. If you want to come back one day, ask "
            "a member for an invitation. Goodbye!"
        ),
    )


@router.callback_query(Forget.filter(F.step == "ask"))
async def ask_managers(
    callback: CallbackQuery, bot: Bot, member: Member | None, translation: Translation
) -> None:
    """Store a request that managers see."""
    if member is None:
        await edit(callback, bot, _unknown(translation))
        return
    request = await requests.ask(member.member_id, RequestKind.ERASURE, actor=member.member_id)
    await edit(
        callback,
        bot,
        translation.gettext(
            "The managers know since {day} that you want your data erased. You will be told when "
            "it is done.",
            day=request.asked_at.date(),
        ),
    )


def _encode(exported: dict[str, object]) -> bytes:
    return json.dumps(exported, ensure_ascii=False, indent=1).encode()


def _unknown(translation: Translation) -> str:
    return translation.gettext(
        "You are not in the directory. If you were a member before, ask a community manager for "
        "your data."
    )


def _make_choices(*choices: tuple[str, str]) -> InlineKeyboardMarkup:
    return make_keyboard(*([make_button(text, Forget(step=step))] for step, text in choices))
