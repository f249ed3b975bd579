"""Help, and the answers to whatever no other feature handles in a private chat."""

from aiogram import Bot, F, Router
from aiogram.dispatcher.event.bases import SkipHandler
from aiogram.filters import Command, CommandObject
from aiogram.fsm.context import FSMContext
from aiogram.types import BotCommand, CallbackQuery, Message, User
from aiogram.utils.link import create_telegram_link

from community_directory.bot import (
    directory,
    invite,
    languages,
    leaderboard,
    link,
    managers,
    me,
    personal_data,
    profile,
    registration,
)
from community_directory.bot.answers import join_lines, refuse_old_button
from community_directory.bot.membership import IN_PRIVATE_CHAT, describe_status
from community_directory.error_texts import gettext_noop
from community_directory.errors import InvitationNotFound
from community_directory.language import Translation
from community_directory.queries import permissions
from community_directory.queries.members import Member
from community_directory.tables import MemberStatus

router = Router(name="guide")
commands = [
    BotCommand(command="help", description=gettext_noop("What you can do here")),
    BotCommand(command="cancel", description=gettext_noop("End what you have begun")),
]

FOR_EVERYBODY = (*registration.commands, *link.commands)
FOR_PENDING = (*profile.commands, *me.commands, *link.commands, *languages.commands)
FOR_MEMBERS = (
    *invite.commands,
    *directory.commands,
    *profile.commands,
    *me.commands,
    *leaderboard.commands,
    *link.commands,
    *languages.commands,
)
FOR_OWN_DATA: tuple[BotCommand, ...] = tuple(getattr(personal_data, "commands", ()))
FOR_MANAGERS: tuple[BotCommand, ...] = tuple(getattr(managers, "commands", ()))
IS_NO_TEXT = F.photo | F.voice | F.video | F.video_note | F.sticker | F.document | F.contact
IN_GROUP = F.chat.type.in_({"group", "supergroup"})


@router.message(IN_PRIVATE_CHAT, Command("help"))
async def explain(message: Message, *, member: Member | None, translation: Translation) -> None:
    """List the commands that a person can use."""
    known = await list_commands(member)
    is_active = member is not None and member.status is MemberStatus.ACTIVE
    heading = translation.gettext("You can send me:")
    lines = [
        heading if is_active else describe_status(member, translation),
        "",
        *(f"/{each.command} — {translation.gettext(each.description)}" for each in known),
    ]
    await message.answer(join_lines(lines))


async def list_commands(member: Member | None) -> list[BotCommand]:
    """Return the commands that a person can use."""
    if member is None or member.status not in (MemberStatus.PENDING, MemberStatus.ACTIVE):
        return [*FOR_EVERYBODY, *commands]
    if member.status is MemberStatus.PENDING:
        return [*FOR_PENDING, *FOR_OWN_DATA, *commands]
    is_manager = bool(await permissions.of(member.member_id))
    return [*FOR_MEMBERS, *FOR_OWN_DATA, *(FOR_MANAGERS if is_manager else ()), *commands]


@router.message(IN_PRIVATE_CHAT, Command("cancel"))
async def cancel(message: Message, *, state: FSMContext, translation: Translation) -> None:
    """End whatever conversation is open, and forget its answers."""
    is_open = bool(await state.get_state() or await state.get_data())
    await state.clear()
    await message.answer(
        translation.gettext("Cancelled.") if is_open else translation.gettext("Nothing to cancel.")
    )


@router.message(IN_PRIVATE_CHAT, F.text)
async def answer_anything(
    message: Message,
    *,
    bot: Bot,
    state: FSMContext,
    member: Member | None,
    translation: Translation,
    event_from_user: User,
) -> None:
    """Take a pasted code for an invitation, and say of anything else what can be done here."""
    text = message.text or ""
    has_joined = member is not None and member.status is not MemberStatus.NOT_MEMBER
    if not has_joined and registration.looks_like_code(text):
        interview = registration.Interview(bot, state, translation, event_from_user)
        try:
            await interview.begin(text)
        except InvitationNotFound as error:
            # It may have been no code at all.
            lines = [translation.error(error), "", describe_status(member, translation)]
            await message.answer(join_lines(lines))
        return
    await message.answer(describe_status(member, translation))


@router.message(IN_PRIVATE_CHAT, IS_NO_TEXT)
async def ask_for_text(message: Message, *, translation: Translation) -> None:
    """Say that only texts are read: somebody may have answered a question with a voice message."""
    await message.answer(translation.gettext("I can only read text. Please write it."))


@router.message(IN_GROUP, Command("start", "help"))
@router.message(
    IN_GROUP, Command(*(each.command for each in (*FOR_MEMBERS, *FOR_OWN_DATA, *FOR_MANAGERS)))
)
async def lead_to_private_chat(
    message: Message, *, command: CommandObject, bot: Bot, translation: Translation
) -> None:
    """Answer a command in a group with a link to the private chat.

    Raises:
        SkipHandler: Always, so that the message counts like any other one.
    """
    # Several bots may know these two commands.
    if command.mention or command.command not in ("start", "help"):
        username = (await bot.me()).username
        link = create_telegram_link(username or "")
        await message.reply(translation.gettext("Let us talk in private: {link}", link=link))
    raise SkipHandler


@router.callback_query()
async def refuse_unknown_button(query: CallbackQuery, *, translation: Translation) -> None:
    """Answer a button that no feature knows any more, or that this person may not press."""
    await refuse_old_button(query, translation)
