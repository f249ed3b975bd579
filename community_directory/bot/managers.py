"""What managers do: approve, decline, suspend, ban and reinstate members, and settle requests.

A button contains all that it does, so that it works after a restart. A reason that a manager has
written stands in the message to which the bot's message with the button replies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aiogram import Bot, F, Router
from aiogram.dispatcher.event.bases import SkipHandler
from aiogram.enums import ChatType, ParseMode
from aiogram.filters import Command, CommandObject
from aiogram.filters.callback_data import CallbackData
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.html import bold, quote
from aiogram.types import (
    BotCommand,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
)

from community_directory.bot.notices import (
    MAX_REASON_LENGTH,
    Decide,
    describe_reason,
    describe_request,
    make_buttons,
    name_actor,
    shorten,
)
from community_directory.bot.private_chats import NO_PREVIEW, find_chat, write
from community_directory.database import Statement, engine, transaction
from community_directory.error_texts import gettext_noop
from community_directory.errors import PermissionRequired, StatusChangeRefused, UserError
from community_directory.language import Translation
from community_directory.queries import audit, members, permissions, requests
from community_directory.queries.member_rows import member_columns, member_from
from community_directory.queries.members import Member
from community_directory.tables import MemberStatus, Permission, RequestKind

router = Router(name="managers")

PAGE_SIZE = 5
MAX_LISTED_NAME = 64
"""The maximum number of characters of a name in a list."""
MAX_LABEL_NAME = 20

REASONS = (
    gettext_noop("Spam"),
    gettext_noop("Rude to others"),
    gettext_noop("Fake account"),
    gettext_noop("Unknown to the inviter"),
    gettext_noop("Asked for it themselves"),
)
"""The reasons to choose from; the log has them in English."""

# What a button says about its reason: the number of one of these, or where it is written.
NO_REASON, WHOLE_MESSAGE, ARGUMENTS, AFTER_PERSON = "-", "m", "a", "p"

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


@dataclass(frozen=True)
class Action:
    """What a manager can do to a member.

    Attributes:
        name: The name of the command.
        permission: The permission that the manager needs, or `manage`.
        status: The status that the member gets.
        before: The statuses that the member may have.
        needs_reason: Whether the manager is asked for a reason.
        is_confirmed: Whether the manager is always asked again.
    """

    name: str
    permission: Permission
    status: MemberStatus
    before: Sequence[MemberStatus]
    needs_reason: bool = False
    is_confirmed: bool = False


ACTIONS = {
    action.name: action
    for action in (
        Action("approve", Permission.REVIEW, MemberStatus.ACTIVE, [MemberStatus.PENDING]),
        Action(
            "decline",
            Permission.REVIEW,
            MemberStatus.NOT_MEMBER,
            [MemberStatus.PENDING],
            needs_reason=True,
        ),
        Action(
            "suspend",
            Permission.MODERATE,
            MemberStatus.SUSPENDED,
            [MemberStatus.ACTIVE],
            needs_reason=True,
        ),
        Action(
            "ban",
            Permission.MODERATE,
            MemberStatus.BANNED,
            [status for status in MemberStatus if status != MemberStatus.BANNED],
            needs_reason=True,
            is_confirmed=True,
        ),
        Action(
            "reinstate",
            Permission.MODERATE,
            MemberStatus.ACTIVE,
            [MemberStatus.SUSPENDED, MemberStatus.BANNED],
        ),
    )
}

commands = (
    BotCommand(command="pending", description=gettext_noop("Managers: who waits for approval")),
    BotCommand(command="requests", description=gettext_noop("Managers: what members ask for")),
)


class WriteReason(StatesGroup):
    """The manager was asked for a reason, in a private chat, and may write one."""

    waiting = State()


class ShowPending(CallbackData, prefix="mp"):
    """A button that shows a page of those who wait: those after the member with this number."""

    after: str = ""


class Settle(CallbackData, prefix="mr"):
    """A button under a request: `act` is "erase", "erase_now" or "settle"."""

    act: str
    kind: str
    number: str


class Refusal(Exception):
    """A manager can't do this; the text says why, as HTML."""


# Commands


@router.message(Command(*ACTIONS))
async def act(
    message: Message,
    command: CommandObject,
    member: Member | None,
    translation: Translation,
    state: FSMContext | None = None,
) -> None:
    """Do what a manager has asked for, or ask for what is missing."""
    action = ACTIONS[command.command.lower()]
    try:
        manager = await _require_manager(message, member, action.permission, translation)
        person, reason, code = await _find_person(message, command.args or "", translation)
        await _check(action, manager, person, translation)
        question = Decide(action=action.name, number=person.member_id[1:], reason=code)
        if action.needs_reason and not reason:
            await _ask_for_reason(message, question, person, translation, state)
        elif action.is_confirmed:
            await _ask_again(message, question, person, reason, translation)
        else:
            await _reply(message, await _decide(action, manager, person, reason, translation))
    except (UserError, Refusal) as error:
        await _reply(message, _explain(error, translation))


@router.message(WriteReason.waiting, F.text, ~F.text.startswith("/"))
async def take_reason(
    message: Message, member: Member | None, translation: Translation, state: FSMContext
) -> None:
    """Take the reason that a manager has written, and ask whether to do it."""
    data = await state.get_data()
    await state.clear()
    action = ACTIONS[data["action"]]
    try:
        manager = await _require_manager(message, member, action.permission, translation)
        person = await members.get(data["number"])
        await _check(action, manager, person, translation)
        reason = _check_reason(message.text or "", translation)
        question = Decide(action=action.name, number=data["number"], reason=WHOLE_MESSAGE)
        await _ask_again(message, question, person, reason, translation)
    except (UserError, Refusal) as error:
        await _reply(message, _explain(error, translation))


@router.message(Command("pending"))
async def show_pending(message: Message, member: Member | None, translation: Translation) -> None:
    """Show who waits, the first of them first."""
    try:
        await _require_manager(message, member, Permission.REVIEW, translation)
        text, keyboard = await _list_pending("", translation)
        await _reply(message, text, keyboard)
    except (UserError, Refusal) as error:
        await _reply(message, _explain(error, translation))


@router.message(Command("requests"))
async def show_requests(message: Message, member: Member | None, translation: Translation) -> None:
    """Show the open requests, the first of them first."""
    try:
        await _require_manager(message, member, Permission.MANAGE, translation)
        text, keyboard = await _list_requests(translation)
        await _reply(message, text, keyboard)
    except (UserError, Refusal) as error:
        await _reply(message, _explain(error, translation))


# Buttons


@router.callback_query(Decide.filter(F.action.in_(ACTIONS)))
async def press(
    callback: CallbackQuery,
    callback_data: Decide,
    member: Member | None,
    translation: Translation,
    state: FSMContext | None = None,
) -> None:
    """Do what a button says, or ask for what is missing."""
    action, message = ACTIONS[callback_data.action], callback.message
    try:
        if not isinstance(message, Message):
            raise Refusal(translation.gettext("This button is too old. Send the command again."))
        manager = await _require_holder(member, action.permission, translation)
        person = await members.get(callback_data.number)
        await _check(action, manager, person, translation)
        if action.needs_reason and not callback_data.reason:
            await _ask_for_reason(message, callback_data, person, translation, state)
            await callback.answer()
            return
        if state is not None and await state.get_state() == WriteReason.waiting:
            await state.clear()
        reason = _read_reason(callback_data.reason, message, translation)
        if action.is_confirmed and not callback_data.is_sure:
            await _edit(message, *_make_question(callback_data, person, reason, translation))
            await callback.answer()
            return
        done = await _decide(action, manager, person, reason, translation)
    except (UserError, Refusal) as error:
        await callback.answer(_plain(_explain(error, translation)), show_alert=True)
        return
    if callback_data.page:
        await _edit(message, *await _list_pending(callback_data.page[1:], translation))
        await callback.answer(_plain(done))
    else:
        await _edit(message, done)
        await callback.answer()


@router.callback_query(F.data == "m:cancel")
async def cancel(
    callback: CallbackQuery, translation: Translation, state: FSMContext | None = None
) -> None:
    """Forget a question to a manager."""
    if state is not None and await state.get_state() == WriteReason.waiting:
        await state.clear()
    if isinstance(callback.message, Message):
        await _edit(callback.message, translation.gettext("Nothing was changed."))
    await callback.answer()


@router.callback_query(ShowPending.filter())
async def turn_page(
    callback: CallbackQuery,
    callback_data: ShowPending,
    member: Member | None,
    translation: Translation,
) -> None:
    """Show another page of those who wait."""
    try:
        await _require_holder(member, Permission.REVIEW, translation)
    except (UserError, Refusal) as error:
        await callback.answer(_plain(_explain(error, translation)), show_alert=True)
        return
    if isinstance(callback.message, Message):
        await _edit(callback.message, *await _list_pending(callback_data.after, translation))
    await callback.answer()


@router.callback_query(Settle.filter(F.kind.in_(tuple(RequestKind))))
async def settle(
    callback: CallbackQuery,
    callback_data: Settle,
    bot: Bot,
    member: Member | None,
    translation: Translation,
) -> None:
    """Settle a request: erase the member's data after a second question, or close it."""
    number, message, gettext = f"#{callback_data.number}", callback.message, translation.gettext
    try:
        manager = await _require_holder(member, Permission.MANAGE, translation)
        if manager.member_id == number:
            raise Refusal(gettext("Ask a colleague: nobody settles their own request."))
        if not isinstance(message, Message):
            raise Refusal(gettext("This button is too old. Send the command again."))
        if callback_data.act == "erase":
            await _edit(message, *_make_erasure_question(callback_data, translation))
            await callback.answer()
            return
        chat = await find_chat(number)
        if callback_data.act == "erase_now":
            await _erase(number, manager, translation)
        elif not await requests.resolve(number, callback_data.kind, actor=manager.member_id):
            raise Refusal(gettext("Somebody has settled this request already."))
    except (UserError, Refusal) as error:
        await callback.answer(_plain(_explain(error, translation)), show_alert=True)
        return
    if chat is not None:
        told = (
            chat.translation.gettext("Your data has been erased, as you asked.")
            if callback_data.act == "erase_now"
            else chat.translation.gettext("A manager has settled your request.")
        )
        await write(bot, chat.account_id, told)
    await _edit(message, *await _list_requests(translation))
    await callback.answer(gettext("Done."))


@router.callback_query(F.data.startswith(("m:", "mp:", "mr:")))
async def answer_old_button(callback: CallbackQuery, translation: Translation) -> None:
    """Answer a button of another version of the bot."""
    await callback.answer(
        translation.gettext("This button is too old. Send the command again."), show_alert=True
    )


# Who may do what


async def _require_manager(
    message: Message, member: Member | None, permission: Permission, translation: Translation
) -> Member:
    """Return the manager who has sent a message.

    In a group, a command of somebody without any permission is a message like any other: it may be
    meant for another bot.

    Raises:
        Refusal: Nobody knows who has written this.
        PermissionRequired: The member lacks the permission.
        SkipHandler: The same, in a group, and the member holds no permission at all.
    """
    if message.sender_chat is not None:
        raise Refusal(
            translation.gettext(
                "I can't see who you are. Write in your own name, or to me in private."
            )
        )
    is_group = message.chat.type != ChatType.PRIVATE
    if is_group and (member is None or not await permissions.of(member.member_id)):
        raise SkipHandler
    return await _require_holder(member, permission, translation)


async def _require_holder(
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


async def _check(action: Action, manager: Member, person: Member, translation: Translation) -> None:
    """Check that a manager may do this to a person now.

    Raises:
        Refusal: It is the manager, or another manager, or the person has another status.
    """
    gettext = translation.gettext
    if person.member_id == manager.member_id:
        raise Refusal(gettext("You can't decide about yourself. Ask a colleague."))
    if await permissions.of(person.member_id) and not await permissions.has(
        manager.member_id, Permission.MANAGE
    ):
        raise Refusal(
            gettext(
                "{name} holds a permission. Only somebody with the permission “manage” can do this.",
                name=_name(person),
            )
        )
    if person.status not in action.before:
        raise Refusal(await _describe_status(person, translation))


async def _describe_status(person: Member, translation: Translation) -> str:
    """Return the status of a person who can't get another one, and who has set it, as HTML."""
    gettext = translation.gettext
    lines = [
        gettext(
            "The status of {name} is “{status}”.",
            name=_name(person),
            status=translation.word(person.status),
        )
    ]
    for entry in (await audit.history(person.member_id, limit=20)).items:
        if entry.table_name == "community_members" and "status" in entry.changes:
            actor = await name_actor(entry.actor)
            lines.append(gettext("It was set by {actor}.", actor=actor))
            break
    return " ".join(lines)


# Whom and why


async def _find_person(
    message: Message, arguments: str, translation: Translation
) -> tuple[Member, str, str]:
    """Return the person whom a command means, the reason, and where the reason stands.

    Raises:
        Refusal: The command names nobody, and is no reply to anybody.
        UserError: Nobody matches, or several do.
    """
    first, *rest = arguments.split(maxsplit=1) or [""]
    replied = message.reply_to_message
    # In a forum each message replies to the one that opened the topic.
    is_reply = replied is not None and replied.forum_topic_created is None
    if first.startswith(("#", "@")) or (first.isdecimal() and not is_reply):
        person, words, code = await members.resolve(first), rest, AFTER_PERSON
    elif is_reply and replied and replied.from_user and replied.sender_chat is None:
        person = await members.get_by_telegram_id(replied.from_user.id)
        words, code = [arguments], ARGUMENTS
    else:
        raise Refusal(
            translation.gettext(
                "Whom do you mean? Add a number or a username, such as #247 or @ana, "
                "or reply to a message of theirs."
            )
        )
    reason = _check_reason(" ".join(words), translation)
    return person, reason, code if reason else ""


def _check_reason(text: str, translation: Translation) -> str:
    """Return a reason on one line.

    Raises:
        Refusal: It is too long.
    """
    reason = " ".join(text.split())
    if len(reason) > MAX_REASON_LENGTH:
        raise Refusal(
            translation.gettext(
                "A reason has at most {limit} characters. Write a shorter one.",
                limit=MAX_REASON_LENGTH,
            )
        )
    return reason


def _read_reason(code: str, message: Message, translation: Translation) -> str:
    """Return the reason that a button means.

    Raises:
        Refusal: The message with the reason is gone, or there is no such reason.
    """
    if code in ("", NO_REASON):
        return ""
    if code.isdecimal() and int(code) < len(REASONS):
        return REASONS[int(code)]
    replied = message.reply_to_message
    words = ((replied and replied.text) or "").split(maxsplit=2)
    start = {WHOLE_MESSAGE: 0, ARGUMENTS: 1, AFTER_PERSON: 2}.get(code, len(words))
    if reason := _check_reason(" ".join(words[start:]), translation):
        return reason
    raise Refusal(translation.gettext("This button is too old. Send the command again."))


async def _ask_for_reason(
    message: Message,
    question: Decide,
    person: Member,
    translation: Translation,
    state: FSMContext | None,
) -> None:
    """Ask a manager for a reason; in a private chat they may also write one."""
    gettext = translation.gettext
    if state is not None:
        await state.set_state(WriteReason.waiting)
        await state.set_data({"action": question.action, "number": question.number})
        hint = gettext("Choose a reason, or write one.")
    else:
        hint = gettext(
            "Choose a reason, or send /{action} {number} and the reason.",
            action=question.action,
            number=person.member_id,
        )
    rows = [
        [_button(gettext(reason), question.model_copy(update={"reason": str(number), "page": ""}))]
        for number, reason in enumerate(REASONS)
    ]
    title = _describe_action(question.action, person, translation)
    await _reply(message, f"{title}\n{hint}", _keyboard([*rows, [_cancel_button(translation)]]))


async def _ask_again(
    message: Message, question: Decide, person: Member, reason: str, translation: Translation
) -> None:
    await _reply(message, *_make_question(question, person, reason, translation))


def _make_question(
    question: Decide, person: Member, reason: str, translation: Translation
) -> tuple[str, InlineKeyboardMarkup]:
    """Return the question whether a manager is sure."""
    sure = question.model_copy(update={"is_sure": True, "page": ""})
    title = _describe_action(question.action, person, translation)
    lines = [title, *describe_reason(reason, translation)]
    if question.action == "ban":
        lines.append(translation.gettext("A banned person can't come back with an invitation."))
    yes = _button(translation.gettext("Yes, do it"), sure)
    return "\n".join(lines), _keyboard([[yes, _cancel_button(translation)]])


# What happens


async def _decide(
    action: Action, manager: Member, person: Member, reason: str, translation: Translation
) -> str:
    """Set the status in the name of the manager, and return what was done, as HTML.

    Raises:
        Refusal: A colleague was faster.
    """
    try:
        decided = await members.set_status(
            person.member_id,
            action.status,
            before=action.before,
            actor=manager.member_id,
            reason=reason or None,
        )
    except StatusChangeRefused:
        current = await members.get(person.member_id)
        raise Refusal(await _describe_status(current, translation)) from None
    lines = [_describe_result(action, decided, translation), *describe_reason(reason, translation)]
    return "\n".join(lines)


async def _erase(number: str, manager: Member, translation: Translation) -> None:
    """Erase the data of a member who has asked for it.

    Raises:
        Refusal: The member does not ask for it any more.
        DirectoryError: `members.erase` fails.
    """
    async with transaction():
        if not await requests.resolve(number, RequestKind.ERASURE, actor=manager.member_id):
            raise Refusal(translation.gettext("Somebody has settled this request already."))
        await members.erase(number, actor=manager.member_id, reason="The member asked for it.")


# Texts


def _describe_action(name: str, person: Member, translation: Translation) -> str:
    """Return what a manager is about to do, as a question in HTML."""
    gettext, who = translation.gettext, _name(person)
    match name:
        case "decline":
            return gettext("Decline {name}?", name=who)
        case "suspend":
            return gettext("Suspend {name}?", name=who)
        case "ban":
            return gettext("Ban {name}?", name=who)
        case "approve":
            return gettext("Approve {name}?", name=who)
        case _:
            return gettext("Reinstate {name}?", name=who)


def _describe_result(action: Action, person: Member, translation: Translation) -> str:
    """Return what a manager has done, as HTML."""
    gettext, who = translation.gettext, _name(person)
    match action.name:
        case "approve":
            return "✅ " + gettext("You have approved {name}.", name=who)
        case "decline":
            return "❌ " + gettext("You have declined {name}.", name=who)
        case "suspend":
            return "⏸ " + gettext("You have suspended {name}.", name=who)
        case "ban":
            return "⛔ " + gettext("You have banned {name}.", name=who)
        case _:
            return "✅ " + gettext("You have reinstated {name}.", name=who)


async def _list_pending(
    after: str, translation: Translation
) -> tuple[str, InlineKeyboardMarkup | None]:
    """Return a page of those who wait, after the member with this number."""
    records = await engine.fetch(LIST_WAITING, after=after or None, limit=PAGE_SIZE + 1)
    if not records and after:  # the last page is empty when all on it have been decided
        return await _list_pending("", translation)
    if not records:
        return translation.gettext("Nobody waits for approval."), None
    total, waiting = records[0]["total"], [member_from(record) for record in records]
    lines = [
        translation.ngettext(
            "{count} person waits for approval.",
            "{count} people wait for approval.",
            total,
            count=total,
        )
    ]
    rows = []
    for person in waiting[:PAGE_SIZE]:
        lines.append(_list_line(person, translation))
        label = f" {person.member_id} {shorten(person.name, MAX_LABEL_NAME)}"
        page = f"p{after}"
        rows.append(make_buttons(person.member_id, translation, page=page, label=label))
    steps = []
    if after:
        steps.append(_button("« " + translation.gettext("First page"), ShowPending()))
    if len(waiting) > PAGE_SIZE:
        last = ShowPending(after=waiting[PAGE_SIZE - 1].member_id[1:])
        steps.append(_button(translation.gettext("Next page") + " »", last))
    return "\n".join(lines), _keyboard([*rows, *([steps] if steps else [])])


def _list_line(person: Member, translation: Translation) -> str:
    gettext = translation.gettext
    parts = [
        f"{_name(person)}, {quote(person.primary_role)}",
        gettext("invited by {number}", number=person.invited_by) if person.invited_by else "",
        gettext("added on {day}", day=person.created_at.date()),
    ]
    return "• " + ", ".join(filter(None, parts))


async def _list_requests(
    translation: Translation,
) -> tuple[str, InlineKeyboardMarkup | None]:
    """Return the oldest requests, with buttons."""
    page, gettext = await requests.list_open(limit=PAGE_SIZE), translation.gettext
    if not page.items:
        return gettext("There is no open request."), None
    lines, rows = [], []
    for request in page.items:
        number = request.member.member_id
        asked = describe_request(request.kind, _name(request.member), translation)
        lines.append(f"• {asked} ({translation.format_date(request.asked_at.date())})")
        choice = Settle(act="settle", kind=request.kind, number=number[1:])
        row = [_button(f"{gettext('Close the request')} {number}", choice)]
        if request.kind == RequestKind.ERASURE:
            erase = choice.model_copy(update={"act": "erase"})
            row.insert(0, _button(f"{gettext('Erase')} {number}", erase))
        rows.append(row)
    return "\n".join(lines), _keyboard(rows)


def _make_erasure_question(
    choice: Settle, translation: Translation
) -> tuple[str, InlineKeyboardMarkup]:
    gettext = translation.gettext
    text = gettext(
        "Erase all data of {number} for good? This can't be undone.", number=f"#{choice.number}"
    )
    yes = _button(gettext("Yes, erase"), choice.model_copy(update={"act": "erase_now"}))
    return text, _keyboard([[yes, _cancel_button(translation)]])


def _name(person: Member) -> str:
    """Return the name and the number of a person, as HTML."""
    return f"{bold(quote(shorten(person.name, MAX_LISTED_NAME)))} ({person.member_id})"


def _explain(error: UserError | Refusal, translation: Translation) -> str:
    """Return why something is refused, as HTML."""
    return str(error) if isinstance(error, Refusal) else quote(translation.error(error))


def _plain(text: str) -> str:
    """Return HTML as the short text of an answer to a button."""
    for markup, plain in (("<b>", ""), ("</b>", ""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(markup, plain)
    return shorten(text, 200)


def _button(text: str, data: CallbackData) -> InlineKeyboardButton:
    return InlineKeyboardButton(text=text, callback_data=data.pack())


def _cancel_button(translation: Translation) -> InlineKeyboardButton:
    return InlineKeyboardButton(text=translation.gettext("Cancel"), callback_data="m:cancel")


def _keyboard(rows: list[list[InlineKeyboardButton]]) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(inline_keyboard=rows)


async def _reply(message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
    await message.reply(
        text, parse_mode=ParseMode.HTML, reply_markup=keyboard, link_preview_options=NO_PREVIEW
    )


async def _edit(message: Message, text: str, keyboard: InlineKeyboardMarkup | None = None) -> None:
    await message.edit_text(
        text, parse_mode=ParseMode.HTML, reply_markup=keyboard, link_preview_options=NO_PREVIEW
    )
