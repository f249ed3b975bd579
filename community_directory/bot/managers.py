"""Decisions of managers: they approve, decline, suspend, ban and reinstate members.

A button contains all that it does, so that it works after a restart. A reason that a manager has
written stands in the message to which the bot's message with the button replies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aiogram import F, Router
from aiogram.filters import Command, CommandObject
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import BotCommand, CallbackQuery, InlineKeyboardMarkup, Message

from community_directory.bot import member_requests, pending
from community_directory.bot.answers import OUT_OF_DATE, make_button, make_keyboard
from community_directory.bot.management import (
    CANCEL,
    MAX_REASON_LENGTH,
    Refusal,
    describe_status,
    explained,
    in_lines,
    make_cancel_button,
    require_holder,
    require_message,
    require_sender,
    show,
    show_name,
    show_reason,
)
from community_directory.bot.pending import Decide, list_pending
from community_directory.error_texts import gettext_noop
from community_directory.errors import StatusChangeRefused
from community_directory.language import Translation
from community_directory.queries import members, permissions
from community_directory.queries.members import Member
from community_directory.tables import MemberStatus, Permission

router = Router(name="managers")

REASONS = (
    gettext_noop("Spam"),
    gettext_noop("Rude to others"),
    gettext_noop("Fake account"),
    gettext_noop("Unknown to the inviter"),
    gettext_noop("Asked for it themselves"),
)
"""The reasons to choose from; the log has them in English."""

# A button names the place of a reason in this list, or the message that has the reason.
WHOLE_MESSAGE, AFTER_COMMAND, AFTER_PERSON = "m", "c", "p"
WORDS_BEFORE_REASON = {WHOLE_MESSAGE: 0, AFTER_COMMAND: 1, AFTER_PERSON: 2}


@dataclass(frozen=True)
class Action:
    """An action of a manager on a member.

    Attributes:
        permission: The permission that the manager needs, or `manage`.
        status: The status that the member gets.
        before: The statuses that the member may have.
        question: The question whether to do it.
        result: The sentence that it is done.
        needs_reason: Whether the manager is asked for a reason.
        is_confirmed: Whether the manager is always asked again.
    """

    permission: Permission
    status: MemberStatus
    before: Sequence[MemberStatus]
    question: str
    result: str
    needs_reason: bool = False
    is_confirmed: bool = False


ACTIONS = {
    "approve": Action(
        Permission.REVIEW,
        MemberStatus.ACTIVE,
        [MemberStatus.PENDING],
        gettext_noop("Approve {name}?"),
        gettext_noop("You have approved {name}."),
    ),
    "decline": Action(
        Permission.REVIEW,
        MemberStatus.NOT_MEMBER,
        [MemberStatus.PENDING],
        gettext_noop("Decline {name}?"),
        gettext_noop("You have declined {name}."),
        needs_reason=True,
    ),
    "suspend": Action(
        Permission.MODERATE,
        MemberStatus.SUSPENDED,
        [MemberStatus.ACTIVE],
        gettext_noop("Suspend {name}?"),
        gettext_noop("You have suspended {name}."),
        needs_reason=True,
    ),
    "ban": Action(
        Permission.MODERATE,
        MemberStatus.BANNED,
        [status for status in MemberStatus if status != MemberStatus.BANNED],
        gettext_noop("Ban {name}? Nobody can bring them back with an invitation."),
        gettext_noop("You have banned {name}."),
        needs_reason=True,
        is_confirmed=True,
    ),
    "reinstate": Action(
        Permission.MODERATE,
        MemberStatus.ACTIVE,
        [MemberStatus.SUSPENDED, MemberStatus.BANNED],
        gettext_noop("Reinstate {name}?"),
        gettext_noop("You have reinstated {name}."),
    ),
}

commands = (
    *pending.commands,
    BotCommand(command="approve", description=gettext_noop("Approve a newcomer: /approve #247")),
    BotCommand(command="decline", description=gettext_noop("Decline a newcomer, with a reason")),
    BotCommand(command="suspend", description=gettext_noop("Suspend a member, with a reason")),
    BotCommand(command="ban", description=gettext_noop("Ban a person, with a reason")),
    BotCommand(command="reinstate", description=gettext_noop("End a suspension or a ban")),
    *member_requests.commands,
)


class WriteReason(StatesGroup):
    """The manager was asked for a reason in a private chat, and may write one."""

    waiting = State()


# Commands


@router.message(Command(*ACTIONS))
@explained
async def act(
    message: Message,
    command: CommandObject,
    member: Member | None,
    translation: Translation,
    state: FSMContext | None = None,
) -> None:
    """Do what a manager has asked for, or ask for what is missing."""
    action = ACTIONS[command.command]
    manager = await require_sender(message, member, action.permission, translation)
    person, reason, place = await _find_person(message, command.args or "", translation)
    await _check(action, manager, person, translation)
    choice = Decide(action=command.command, number=person.member_id[1:], reason=place)
    if action.needs_reason and not reason:
        await _ask_for_reason(message, choice, person, translation, state)
    elif action.is_confirmed:
        text, keyboard = _make_question(choice, person, reason, translation)
        await message.reply(text, reply_markup=keyboard)
    else:
        await message.reply(await _decide(action, manager, person, reason, translation))


@router.message(WriteReason.waiting, F.text, ~F.text.startswith("/"))
@explained
async def take_reason(
    message: Message, member: Member | None, translation: Translation, state: FSMContext
) -> None:
    """Take the reason that a manager has written, and ask whether to do it."""
    data = await state.get_data()
    await state.clear()
    action = ACTIONS[data["action"]]
    manager = await require_sender(message, member, action.permission, translation)
    person = await members.get(data["number"])
    await _check(action, manager, person, translation)
    reason = _check_reason(message.text or "", translation)
    choice = Decide(action=data["action"], number=data["number"], reason=WHOLE_MESSAGE)
    text, keyboard = _make_question(choice, person, reason, translation)
    await message.reply(text, reply_markup=keyboard)


# Buttons


@router.callback_query(Decide.filter(F.action.in_(ACTIONS)))
@explained
async def press(
    callback: CallbackQuery,
    callback_data: Decide,
    member: Member | None,
    translation: Translation,
    state: FSMContext | None = None,
) -> None:
    """Do what a button says, or ask for what is missing."""
    action, message = ACTIONS[callback_data.action], require_message(callback, translation)
    manager = await require_holder(member, action.permission, translation)
    person = await members.get(callback_data.number)
    await _check(action, manager, person, translation)
    await _end_question(state)
    if action.needs_reason and not callback_data.reason:
        await _ask_for_reason(message, callback_data, person, translation, state)
        await callback.answer()
        return
    reason = _read_reason(callback_data.reason, message, translation)
    if action.is_confirmed and not callback_data.is_sure:
        await show(callback, *_make_question(callback_data, person, reason, translation))
        return
    done = await _decide(action, manager, person, reason, translation)
    if callback_data.page:
        text, keyboard = await list_pending(callback_data.page[1:], translation)
        await show(callback, text, keyboard, notice=done)
    else:
        await show(callback, done)


@router.callback_query(F.data == CANCEL)
async def cancel(
    callback: CallbackQuery, translation: Translation, state: FSMContext | None = None
) -> None:
    """Close a question."""
    await _end_question(state)
    await show(callback, translation.gettext("Nothing was changed."))


router.include_routers(pending.router, member_requests.router)


# The person, the rules and the reason


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
    if replied is not None and replied.forum_topic_created is not None:
        replied = None  # in a forum, a message replies to the one that has opened the topic
    if first.startswith(("#", "@")) or (first.isdecimal() and replied is None):
        person = await members.resolve(first)
        return person, _check_reason(" ".join(rest), translation), AFTER_PERSON
    if replied is not None and replied.from_user is not None and replied.sender_chat is None:
        person = await members.get_by_telegram_id(replied.from_user.id)
        return person, _check_reason(arguments, translation), AFTER_COMMAND
    raise Refusal(
        translation.gettext(
            "Whom do you mean? Add a number or a username, such as #247 or @ana, or reply to a "
            "message of theirs."
        )
    )


async def _check(action: Action, manager: Member, person: Member, translation: Translation) -> None:
    """Check that a manager may do this to a person now.

    Raises:
        Refusal: It is the manager, or another manager, or the person has another status.
    """
    if person.member_id == manager.member_id:
        raise Refusal(translation.gettext("You can't decide about yourself. Ask a colleague."))
    if await permissions.of(person.member_id) and not await permissions.has(
        manager.member_id, Permission.MANAGE
    ):
        raise Refusal(
            translation.gettext(
                "{name} holds a permission. Only colleagues with the permission “manage” can do "
                "this.",
                name=show_name(person),
            )
        )
    if person.status not in action.before:
        raise Refusal(await describe_status(person, translation))


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


def _read_reason(place: str, message: Message, translation: Translation) -> str:
    """Return the reason of a button.

    Raises:
        Refusal: The message with the reason is gone, or there is no such reason.
    """
    if not place:
        return ""
    if place.isdecimal() and int(place) < len(REASONS):
        return REASONS[int(place)]
    replied = message.reply_to_message
    words = ((replied and replied.text) or "").split()
    if reason := _check_reason(
        " ".join(words[WORDS_BEFORE_REASON.get(place, len(words)) :]), translation
    ):
        return reason
    raise Refusal(translation.gettext(OUT_OF_DATE))


async def _ask_for_reason(
    message: Message,
    choice: Decide,
    person: Member,
    translation: Translation,
    state: FSMContext | None,
) -> None:
    """Ask a manager for a reason; in a private chat they may also write one."""
    gettext = translation.gettext
    if state is not None:
        await state.set_state(WriteReason.waiting)
        await state.set_data({"action": choice.action, "number": choice.number})
        hint = gettext("Choose a reason, or write one.")
    else:
        hint = gettext(
            "Choose a reason, or send /{action} {number} and the reason.",
            action=choice.action,
            number=person.member_id,
        )
    rows = [
        [make_button(gettext(reason), choice.model_copy(update={"reason": f"{place}", "page": ""}))]
        for place, reason in enumerate(REASONS)
    ]
    question = gettext(ACTIONS[choice.action].question, name=show_name(person))
    keyboard = make_keyboard(*rows, [make_cancel_button(translation)])
    await message.reply(in_lines(question, hint), reply_markup=keyboard)


async def _end_question(state: FSMContext | None) -> None:
    """Do not take the manager's next message as a reason."""
    if state is not None and await state.get_state() == WriteReason.waiting:
        await state.clear()


def _make_question(
    choice: Decide, person: Member, reason: str, translation: Translation
) -> tuple[str, InlineKeyboardMarkup]:
    """Return the question whether a manager is sure."""
    question = translation.gettext(ACTIONS[choice.action].question, name=show_name(person))
    sure = choice.model_copy(update={"is_sure": True, "page": ""})
    yes = make_button(translation.gettext("Yes, do it"), sure)
    return (
        in_lines(question, *show_reason(reason, translation)),
        make_keyboard([yes, make_cancel_button(translation)]),
    )


async def _decide(
    action: Action, manager: Member, person: Member, reason: str, translation: Translation
) -> str:
    """Set the status in the name of the manager, and return what was done.

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
        present = await members.get(person.member_id)
        raise Refusal(await describe_status(present, translation)) from None
    result = translation.gettext(action.result, name=show_name(decided))
    return in_lines(result, *show_reason(reason, translation))
