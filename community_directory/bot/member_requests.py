"""Requests of members: the list for managers, and the erasure of those who want it."""

from aiogram import Bot, F, Router
from aiogram.filters import Command
from aiogram.filters.callback_data import CallbackData
from aiogram.types import BotCommand, CallbackQuery, InlineKeyboardMarkup, Message

from community_directory.bot.answers import make_button, make_keyboard
from community_directory.bot.management import (
    Refusal,
    explained,
    in_lines,
    make_cancel_button,
    require_holder,
    require_sender,
    show,
    show_name,
)
from community_directory.bot.private_chats import find_chat, write
from community_directory.database import transaction
from community_directory.error_texts import gettext_noop
from community_directory.language import Translation
from community_directory.queries import members, requests
from community_directory.queries.members import Member
from community_directory.tables import Permission, RequestKind

router = Router(name="member_requests")
commands = (
    BotCommand(command="requests", description=gettext_noop("What members ask managers for")),
)

PAGE_SIZE = 5


class Settle(CallbackData, prefix="mr"):
    """A button under a request: `act` is "erase", "erase_now" or "close"."""

    act: str
    kind: str
    number: str


@router.message(Command("requests"))
@explained
async def show_requests(message: Message, member: Member | None, translation: Translation) -> None:
    """Show the oldest open requests."""
    await require_sender(message, member, Permission.MANAGE, translation)
    text, keyboard = await _list_requests(translation)
    await message.reply(text, reply_markup=keyboard)


@router.callback_query(Settle.filter((F.act == "erase") & (F.kind == RequestKind.ERASURE)))
@explained
async def ask_again(
    callback: CallbackQuery,
    callback_data: Settle,
    member: Member | None,
    translation: Translation,
) -> None:
    """Ask whether to erase everything about a member."""
    await _require_colleague(callback_data, member, translation)
    gettext, number = translation.gettext, f"#{callback_data.number}"
    sure = callback_data.model_copy(update={"act": "erase_now"})
    await show(
        callback,
        gettext(
            "Erase all data of {number} for good? This can't be undone.",
            number=number,
        ),
        make_keyboard([make_button(gettext("Yes, erase"), sure), make_cancel_button(translation)]),
    )


@router.callback_query(
    Settle.filter(F.act.in_({"erase_now", "close"}) & F.kind.in_(tuple(RequestKind)))
)
@explained
async def settle(
    callback: CallbackQuery,
    callback_data: Settle,
    bot: Bot,
    member: Member | None,
    translation: Translation,
) -> None:
    """Settle a request, and tell whoever has asked."""
    manager = await _require_colleague(callback_data, member, translation)
    number = f"#{callback_data.number}"
    erases = callback_data.act == "erase_now" and callback_data.kind == RequestKind.ERASURE
    chat = await find_chat(number)
    async with transaction():
        if not await requests.resolve(number, callback_data.kind, actor=manager.member_id):
            raise Refusal(translation.gettext("Somebody has settled this request already."))
        if erases:
            await members.erase(
                number, actor=manager.member_id, reason="The member has asked for it."
            )
    if chat is not None:
        told = (
            chat.translation.gettext("Your data has been erased, as you asked. Goodbye!")
            if erases
            else chat.translation.gettext("A community manager has closed your request.")
        )
        await write(bot, chat.account_id, told)
    text, keyboard = await _list_requests(translation)
    await show(callback, text, keyboard, notice=translation.gettext("Done."))


async def _require_colleague(
    request: Settle, member: Member | None, translation: Translation
) -> Member:
    """Return the manager who settles a request of somebody else.

    Raises:
        Refusal: It is their own request.
        PermissionRequired: The member lacks the permission.
    """
    manager = await require_holder(member, Permission.MANAGE, translation)
    if manager.member_id == f"#{request.number}":
        raise Refusal(translation.gettext("Ask a colleague: nobody settles their own request."))
    return manager


async def _list_requests(translation: Translation) -> tuple[str, InlineKeyboardMarkup | None]:
    """Return the oldest requests, with buttons."""
    page, gettext = await requests.list_open(limit=PAGE_SIZE), translation.gettext
    if not page.items:
        return gettext("There is no open request."), None
    lines, rows = [], []
    for request in page.items:
        number = request.member.member_id
        asked = describe_request(request.kind, show_name(request.member), translation)
        lines.append(f"• {asked} ({translation.format_date(request.asked_at.date())})")
        close = Settle(act="close", kind=request.kind, number=number[1:])
        row = [make_button(" ".join((gettext("Close"), number)), close)]
        if request.kind == RequestKind.ERASURE:
            erase = close.model_copy(update={"act": "erase"})
            row.insert(0, make_button(" ".join((gettext("Erase"), number)), erase))
        rows.append(row)
    return in_lines(*lines), make_keyboard(*rows)


def describe_request(kind: RequestKind | str, person: str, translation: Translation) -> str:
    """Return what somebody asks for."""
    if kind == RequestKind.ERASURE:
        return translation.gettext("{person} asks for the erasure of their data.", person=person)
    return translation.gettext("{person} asks for help to link an account.", person=person)
