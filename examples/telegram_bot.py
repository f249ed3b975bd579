"""A Telegram bot for the directory: people join with a code, see their profile, and invite."""

import asyncio
import os
import sys

from aiogram import Bot, Dispatcher, F
from aiogram.filters import Command, CommandObject, CommandStart, ExceptionTypeFilter
from aiogram.types import ErrorEvent, Message, User
from aiogram.utils.deep_linking import create_start_link

from community_directory.database import connect, migrate
from community_directory.errors import DirectoryError, OperatorError
from community_directory.queries import invitations, members, reputation

ANSWERS = {"member_not_found": "You are not a member. Ask a member for an invitation."}
"""The bot's own messages, by the code of the error."""

dispatcher = Dispatcher()


@dispatcher.message(CommandStart(deep_link=True))
async def join(message: Message, command: CommandObject, event_from_user: User) -> None:
    redemption = await invitations.redeem(
        command.args or "",
        telegram_id=event_from_user.id,
        name=event_from_user.full_name,
        primary_role="newcomer",
        telegram_username=event_from_user.username,
    )
    member = redemption.member
    await message.answer(f"Welcome, {member.name}! Your number is {member.member_id}.")


@dispatcher.message(CommandStart())
async def greet(message: Message, event_from_user: User) -> None:
    await message.answer(f"Hello! Your Telegram id is {event_from_user.id}.")


@dispatcher.message(Command("invite"))
async def invite(message: Message, bot: Bot, event_from_user: User) -> None:
    member = await members.get_by_telegram_id(event_from_user.id)
    invitation = await invitations.create(created_by=member.member_id)
    await message.answer(await create_start_link(bot, invitation.invitation_code))


@dispatcher.message(Command("me"))
async def show_profile(message: Message, event_from_user: User) -> None:
    member = await members.get_by_telegram_id(event_from_user.id)
    score = await reputation.explain(member.member_id)
    hint = f", {score.missing} points to {score.next_tier}" if score.next_tier else ""
    await message.answer(f"{member.member_id} {member.name}, {member.status}: {score.tier}{hint}.")


@dispatcher.message(Command("top"))
async def show_leaderboard(message: Message) -> None:
    page = await members.leaderboard(limit=10)
    lines = [f"{member.name}: {member.reputation_score}" for member in page.items]
    await message.answer("\n".join(lines) or "Nobody is active.")


@dispatcher.error(ExceptionTypeFilter(DirectoryError), F.exception.as_("error"))
async def explain(event: ErrorEvent, error: DirectoryError) -> None:
    if isinstance(error, OperatorError):
        print(error)
    if event.update.message:
        await event.update.message.answer(ANSWERS.get(error.code, error.public_message))


async def main(token: str) -> None:
    async with connect():
        await migrate()
        await dispatcher.start_polling(Bot(token))


if __name__ == "__main__":
    if not (token := os.environ.get("BOT_TOKEN")):
        sys.exit("Set BOT_TOKEN to the token of your bot.")
    asyncio.run(main(token))
