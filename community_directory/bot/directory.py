"""The list of members, with a search."""

from aiogram import Bot, Router
from aiogram.filters import Command, CommandObject
from aiogram.filters.callback_data import CallbackData
from aiogram.types import BotCommand, CallbackQuery, InlineKeyboardMarkup, Message

from community_directory.bot.answers import (
    edit,
    join_lines,
    make_button,
    make_keyboard,
    refuse_old_button,
    shorten,
)
from community_directory.bot.fields import show_value
from community_directory.bot.membership import IN_PRIVATE_CHAT, IS_ACTIVE
from community_directory.error_texts import gettext_noop
from community_directory.language import Translation
from community_directory.queries import members
from community_directory.queries.members import Member

router = Router(name="directory")
router.message.filter(IN_PRIVATE_CHAT, IS_ACTIVE)
router.callback_query.filter(IS_ACTIVE)
commands = [BotCommand(command="directory", description=gettext_noop("Find members"))]

PAGE_SIZE = 8
SEARCH_MARK = "🔎 "
"""The beginning of the first line of a list, in front of the words that were searched for."""


class PageButton(CallbackData, prefix="dir"):
    """A button that leads to another page; the message above it has the words of the search."""

    cursor: str


@router.message(Command("directory"))
async def search(message: Message, *, command: CommandObject, translation: Translation) -> None:
    """List the members, or those who match the words after the command."""
    text, keyboard = await show_page(" ".join((command.args or "").split()), None, translation)
    await message.answer(text, reply_markup=keyboard)


@router.callback_query(PageButton.filter())
async def turn_page(
    query: CallbackQuery, *, callback_data: PageButton, bot: Bot, translation: Translation
) -> None:
    """Show another page in the same message."""
    if not isinstance(query.message, Message) or query.message.text is None:
        await refuse_old_button(query, translation)
        return
    first_line = query.message.text.partition("\n")[0]
    words = first_line.removeprefix(SEARCH_MARK) if first_line.startswith(SEARCH_MARK) else ""
    text, keyboard = await show_page(words, callback_data.cursor, translation)
    await edit(query, bot, text, keyboard)


async def show_page(
    words: str, cursor: str | None, translation: Translation
) -> tuple[str, InlineKeyboardMarkup | None]:
    """Return a page of a search, and the buttons to the pages around it.

    Raises:
        InvalidInput: The words are too long, or the cursor is not one of this search.
    """
    gettext = translation.gettext
    page = await members.search(
        words or None, after=cursor, limit=PAGE_SIZE, with_total=cursor is None
    )
    lines = [SEARCH_MARK + words] if words else []
    if page.total is not None and page.items:
        lines.append(
            translation.ngettext(
                "{number} member", "{number} members", page.total, number=page.total
            )
        )
    if not page.items:
        lines.append(gettext("Nobody found. Try a part of a name, an organization or a role."))
    lines += ["", *(describe_member(member, translation) for member in page.items)]
    buttons = [
        make_button(label, PageButton(cursor=other))
        for label, other in (
            (gettext("← Previous"), page.previous_cursor),
            (gettext("Next →"), page.next_cursor),
        )
        if other is not None
    ]
    return join_lines(lines), make_keyboard(buttons) if buttons else None


def describe_member(member: Member, translation: Translation) -> str:
    """Return what other members may know of one: two lines of a list."""
    known = members.public(member)
    about = [
        show_value("primary_role", known.primary_role, translation),
        known.organization,
        known.country and show_value("country", known.country, translation),
        known.github_username and f"github.com/{known.github_username}",
    ]
    username = f" @{member.telegram_username}" if member.telegram_username else ""
    name = f"{member.member_id} {shorten(known.name)}{username}"
    return f"{name}\n   {' · '.join(shorten(value) for value in about if value)}"
