"""The list of those who wait for approval, with buttons for managers."""

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.filters.callback_data import CallbackData
from aiogram.types import (
    BotCommand,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
)

from community_directory.bot.answers import edit, make_button, make_keyboard, shorten
from community_directory.bot.fields import show_value
from community_directory.bot.management import (
    explained,
    in_lines,
    require_holder,
    require_sender,
    show_name,
)
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.language import Translation
from community_directory.queries.member_rows import member_columns, member_from
from community_directory.queries.members import Member
from community_directory.tables import Permission

router = Router(name="pending")
commands = (BotCommand(command="pending", description=gettext_noop("Who waits for approval")),)

PAGE_SIZE = 5
MAX_LABEL_NAME_LENGTH = 16

# The lists of members have no order with the oldest first. The number of the last member is the
# cursor, and also finds the place of somebody who does not wait any more.
LIST_WAITING = Statement(f"""
SELECT {member_columns("member")}, (
    SELECT count(*) FROM community_members
    WHERE status = 'pending' AND deleted_at IS NULL AND NOT is_bot
) AS total
FROM community_members AS member
WHERE status = 'pending' AND deleted_at IS NULL AND NOT is_bot AND (
    :after::text IS NULL OR (created_at, id) > (
        SELECT created_at, id FROM community_members WHERE member_id = '#' || :after
    )
)
ORDER BY created_at, id LIMIT :limit
""")


class Decide(CallbackData, prefix="m"):
    """A button with which a manager decides about a member.

    Attributes:
        action: The name of the action, such as "approve".
        number: The member's number, without the #.
        reason: The place of the reason, as `managers` reads it; empty if nobody has asked for it.
        is_sure: Whether the manager has confirmed.
        page: The page of this list, "p" and its cursor; empty if the button is under no list.
    """

    action: str
    number: str
    reason: str = ""
    is_sure: bool = False
    page: str = ""


class ShowPage(CallbackData, prefix="mp"):
    """A button that shows those who wait after the member with this number."""

    after: str = ""


@router.message(Command("pending"))
@explained
async def show_pending(message: Message, member: Member | None, translation: Translation) -> None:
    """Show who waits, whoever waits longest first."""
    await require_sender(message, member, Permission.REVIEW, translation)
    text, keyboard = await list_pending("", translation)
    await message.reply(text, reply_markup=keyboard)


@router.callback_query(ShowPage.filter(F.after.regexp("[0-9]{0,19}")))
@explained
async def turn_page(
    callback: CallbackQuery,
    bot: Bot,
    callback_data: ShowPage,
    member: Member | None,
    translation: Translation,
) -> None:
    """Show another page of those who wait."""
    await require_holder(member, Permission.REVIEW, translation)
    await edit(callback, bot, *await list_pending(callback_data.after, translation))


async def list_pending(
    after: str, translation: Translation
) -> tuple[str, InlineKeyboardMarkup | None]:
    """Return a page of those who wait, after the member with this number."""
    records = await engine.fetch(LIST_WAITING, after=after or None, limit=PAGE_SIZE + 1)
    if not records and after:  # all on the last page have been decided
        return await list_pending("", translation)
    if not records:
        return translation.gettext("Nobody waits for approval."), None
    total, found = records[0]["total"], [member_from(record) for record in records]
    waiting, steps = found[:PAGE_SIZE], []
    if after:
        steps.append(make_button("« " + translation.gettext("First page"), ShowPage()))
    if len(found) > PAGE_SIZE:
        following = ShowPage(after=waiting[-1].member_id[1:])
        steps.append(make_button(translation.gettext("Next page") + " »", following))
    text = in_lines(
        translation.ngettext(
            "{count} person waits for approval.",
            "{count} people wait for approval.",
            total,
            count=total,
        ),
        *(_describe(person, translation) for person in waiting),
    )
    rows = [
        make_review_buttons(
            person.member_id,
            translation,
            label=f" {person.member_id} {shorten(person.name, MAX_LABEL_NAME_LENGTH)}",
            page=f"p{after}",
        )
        for person in waiting
    ]
    return text, make_keyboard(*rows, steps)


def make_review_buttons(
    number: str, translation: Translation, *, label: str = "", page: str = ""
) -> list[InlineKeyboardButton]:
    """Return the buttons that approve and decline somebody who waits."""
    approve = Decide(action="approve", number=number[1:], page=page)
    decline = approve.model_copy(update={"action": "decline"})
    return [
        make_button("✅ " + translation.gettext("Approve") + label, approve),
        make_button("❌ " + translation.gettext("Decline") + label, decline),
    ]


def _describe(person: Member, translation: Translation) -> str:
    gettext = translation.gettext
    parts = [
        show_name(person),
        shorten(show_value("primary_role", person.primary_role, translation)),
    ]
    if person.invited_by:
        parts.append(gettext("invited by {number}", number=person.invited_by))
    parts.append(gettext("added on {day}", day=person.created_at.date()))
    return "• " + ", ".join(parts)
