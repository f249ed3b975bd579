"""The language in which the bot talks with a member, if it is not that of their Telegram."""

from aiogram import Bot, Router
from aiogram.filters import Command
from aiogram.filters.callback_data import CallbackData
from aiogram.types import BotCommand, CallbackQuery, Message
from babel import Locale

from community_directory.bot.answers import edit, make_button, make_keyboard, refuse_old_button
from community_directory.bot.membership import HAS_JOINED, IN_PRIVATE_CHAT
from community_directory.bot.middlewares import choose_translation
from community_directory.error_texts import gettext_noop
from community_directory.language import LANGUAGES, Translation
from community_directory.queries import members
from community_directory.queries.members import Member

router = Router(name="languages")
router.message.filter(IN_PRIVATE_CHAT, HAS_JOINED)
router.callback_query.filter(HAS_JOINED)
commands = [BotCommand(command="language", description=gettext_noop("Choose your language"))]

LIKE_TELEGRAM = "telegram"
"""The choice of the language that Telegram states."""


class LanguageButton(CallbackData, prefix="language"):
    """A button that chooses a language."""

    language: str


@router.message(Command("language"))
async def ask(message: Message, *, translation: Translation) -> None:
    """Show a button for each language."""
    names = [
        (language, (Locale(language).get_language_name(language) or language).capitalize())
        for language in LANGUAGES
    ]
    names.append((LIKE_TELEGRAM, translation.gettext("As in Telegram")))
    buttons = [make_button(name, LanguageButton(language=language)) for language, name in names]
    await message.answer(
        translation.gettext("In which language should I write to you?"),
        reply_markup=make_keyboard(buttons),
    )


@router.callback_query(LanguageButton.filter())
async def choose(
    query: CallbackQuery,
    *,
    callback_data: LanguageButton,
    bot: Bot,
    member: Member,
    translation: Translation,
) -> None:
    """Store the language of a member in their profile."""
    language = callback_data.language
    if language not in (*LANGUAGES, LIKE_TELEGRAM):
        await refuse_old_button(query, translation)
        return
    chosen = await members.update_profile(
        member.member_id,
        profile_data={"language": None if language == LIKE_TELEGRAM else language},
        actor=f"telegram:{query.from_user.id}",
    )
    translation = choose_translation(chosen, query.from_user)
    await edit(query, bot, translation.gettext("I write to you in English from now on."))
