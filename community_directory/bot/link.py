"""Links between the Telegram account of a person and their accounts elsewhere, by a code."""

from aiogram import F, Router
from aiogram.filters import Command, CommandObject
from aiogram.types import BotCommand, Message, User
from aiogram.utils.formatting import Code, Text

from community_directory.bot.membership import HAS_JOINED, IN_PRIVATE_CHAT
from community_directory.error_texts import gettext_noop
from community_directory.language import Translation
from community_directory.queries import accounts
from community_directory.queries.members import Member
from community_directory.tables import Platform

router = Router(name="link")
router.message.filter(IN_PRIVATE_CHAT)
commands = [BotCommand(command="link", description=gettext_noop("Link your Discord account"))]


@router.message(Command("link", magic=F.args))
async def complete(
    message: Message, *, command: CommandObject, translation: Translation, event_from_user: User
) -> None:
    """Link this account with a code that was made on another platform."""
    linked = await accounts.complete_link(
        command.args or "",
        platform=Platform.TELEGRAM,
        account_id=event_from_user.id,
        username=event_from_user.username,
    )
    await message.answer(
        translation.gettext(
            "Done: this Telegram account belongs to member {number} now.", number=linked.member_id
        )
    )


@router.message(Command("link"), HAS_JOINED)
async def begin(message: Message, *, member: Member, translation: Translation) -> None:
    """Show a code that the person types on another platform."""
    code = await accounts.begin_link(member.member_id)
    text = translation.gettext(
        "To link your Discord account, send this to the bot of the community there, within ten "
        "minutes. Show it to nobody else."
    )
    other = translation.gettext("You have a code from there? Send /link and the code here.")
    answer = Text(text, "\n\n", Code(f"/link {code.code}"), "\n\n", other)
    await message.answer(**answer.as_kwargs())
