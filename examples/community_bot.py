"""A Telegram bot that a whole community can run on, in one file."""

import asyncio
import os
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

from aiogram import Bot, Dispatcher, F, Router, types
from aiogram.exceptions import TelegramAPIError
from aiogram.filters import Command, CommandObject, CommandStart, ExceptionTypeFilter, MagicData
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State
from aiogram.types import CallbackQuery, InlineKeyboardMarkup, Message, User
from aiogram.utils.deep_linking import create_start_link
from aiogram.utils.keyboard import InlineKeyboardBuilder

from community_directory.database import connect, migrate
from community_directory.errors import DirectoryError, OperatorError
from community_directory.queries import accounts, invitations, members, participation, permissions
from community_directory.queries.audit import ChangeKind, follow
from community_directory.queries.members import Member
from community_directory.queries.participation import NewEvent, Recorder
from community_directory.queries.reputation import explain

ROLES = ("developer", "designer", "organizer")
FIELDS = ("name", "organization", "country")
DAYS = {"week": timedelta(days=6), "month": timedelta(days=29)}
DECISIONS = {  # the new status, and the permission that a manager needs for it
    "approve": ("active", "review"),
    "decline": ("not_member", "review"),
    "ban": ("banned", "moderate"),
}
CHOOSING_ROLE, GIVING_NAME = State("role"), State("name")
IS_KNOWN, IS_ACTIVE = MagicData(F.member), MagicData(F.member.status == "active")


def make_buttons(kind: str, values: dict[str, str | None]) -> InlineKeyboardMarkup:
    builder = InlineKeyboardBuilder()
    for text, value in values.items():
        if value:
            builder.button(text=text, callback_data=f"{kind}:{value}")
    return builder.as_markup()


dispatcher = Dispatcher()
private, active, groups = Router(), Router(), Router()
private.message.filter(F.chat.type == "private")
active.message.filter(F.chat.type == "private", IS_ACTIVE)
active.callback_query.filter(IS_ACTIVE)
groups.message.filter(F.chat.type.in_({"group", "supergroup"}))
dispatcher.include_routers(active, private, groups)


@dispatcher.update.outer_middleware
async def find_member(handler: Any, event: types.TelegramObject, data: dict[str, Any]) -> Any:
    user: User | None = data.get("event_from_user")
    data["member"] = user and await members.seen(
        telegram_id=user.id, username=user.username, name=user.full_name
    )
    data["account"] = user and {"telegram_id": user.id, "telegram_username": user.username}
    return await handler(event, data)


@dispatcher.error(ExceptionTypeFilter(DirectoryError), F.exception.as_("error"))
async def answer_error(_: Any, error: DirectoryError, bot: Bot, event_chat: types.Chat) -> None:
    if isinstance(error, OperatorError):
        print(error)
    if event_chat.type == "private":
        await bot.send_message(event_chat.id, error.public_message)


@private.message(CommandStart(deep_link=True), F.text.partition(" ")[2].as_("code"))
async def begin(message: Message, code: str, state: FSMContext, account: dict[str, Any]) -> None:
    checked = await invitations.check(code, **account)
    if checked.member:
        await message.answer(f"You have joined already, as {checked.member.member_id}.")
        return
    await state.set_state(CHOOSING_ROLE)
    await state.set_data({"code": code})
    roles = make_buttons("role", {role: role for role in ROLES})
    await message.answer(f"{checked.inviter.name} invites you. What do you do?", reply_markup=roles)


@private.callback_query(CHOOSING_ROLE, F.data.partition("role:")[2].as_("role"))
async def ask_name(query: CallbackQuery, role: str, state: FSMContext, bot: Bot) -> None:
    await state.update_data(primary_role=role)
    await state.set_state(GIVING_NAME)
    await bot.send_message(query.from_user.id, "What is your name?")
    await query.answer()


@private.message(GIVING_NAME, F.text.as_("name"), ~F.text.startswith("/"))
async def join(message: Message, name: str, state: FSMContext, account: dict[str, Any]) -> None:
    redemption = await invitations.redeem(name=name, **account, **await state.get_data())
    await state.clear()
    await message.answer(f"Thank you! Your number is {redemption.member.member_id}.")


@private.message(Command("link"))
async def link(message: Message, command: CommandObject) -> None:
    if command.args:
        await accounts.complete_link(command.args, platform="telegram", account_id=message.chat.id)
        await message.answer("This account is linked.")
    else:
        begun = await accounts.begin_link(account=("telegram", message.chat.id))
        await message.answer(f"Type this to our bot on Discord within ten minutes: {begun.code}")


@private.message()
async def help_out(message: Message, member: Member | None) -> None:
    if member and member.status == "active":
        await message.answer("/invite /directory /profile /me /leaderboard /link")
    elif member and member.status == "pending":
        await message.answer("A manager will look at your profile soon.")
    else:
        await message.answer("You are not a member. Ask a member for an invitation.")


@active.message(Command("invite"))
async def invite(message: Message, command: CommandObject, member: Member, bot: Bot) -> None:
    number, username = member.member_id, command.args
    invitation = await invitations.create(created_by=number, telegram_username=username)
    left = (await invitations.quota(number)).left
    link = await create_start_link(bot, invitation.invitation_code)
    await message.answer(link if left is None else f"{link}\nInvitations left: {left}")


async def read_page(words: str, after: str | None = None) -> dict[str, Any]:
    page = await members.search(words, after=after, limit=10)
    lines = [f"{member.name}, {member.primary_role}" for member in page.items]
    turns = make_buttons("page", {"◀": page.previous_cursor, "▶": page.next_cursor})
    return {"text": "\n".join(lines) or "Nobody was found.", "reply_markup": turns}


@active.message(Command("directory"))
async def show_directory(message: Message, command: CommandObject) -> None:
    await message.reply(**await read_page(command.args or ""))


@active.callback_query(F.data.partition("page:")[2].as_("cursor"), F.message.as_("message"))
async def turn_page(query: CallbackQuery, message: Message, cursor: str) -> None:
    asked = (message.reply_to_message and message.reply_to_message.text) or ""
    await message.edit_text(**await read_page(asked.partition(" ")[2], cursor))
    await query.answer()


@active.message(Command("profile"))
async def show_profile(message: Message, command: CommandObject, member: Member) -> None:
    field, _, value = (command.args or "").partition(" ")
    if field in FIELDS:
        changes: dict[str, Any] = {field: value or None}
        member = await members.update_profile(member.member_id, actor=member.member_id, **changes)
    lines = [f"{field}: {getattr(member, field) or '–'}" for field in FIELDS]
    await message.answer("\n".join([*lines, "To change a field: /profile country Mexico"]))


@active.message(Command("me"))
async def show_me(message: Message, member: Member) -> None:
    number, today = member.member_id, participation.today()
    score, rank = await explain(number), await members.rank(number)
    invited = await invitations.statistics(number)
    days = await participation.by_day(member_id=number, since=today - DAYS["month"], until=today)
    picture = "".join("▁▃▅█"[min(day.events, 3)] for day in days)
    position = f"rank {rank.position} of {rank.of}" if rank else "no rank"
    await message.answer(
        f"{number} {member.name}, {score.tier}: {score.score} points, {position}\n{picture}\n"
        f"{invited.active} members joined through you."
    )


@active.message(Command("leaderboard"))
async def show_leaderboard(message: Message, command: CommandObject) -> None:
    if command.args in DAYS:
        today = participation.today()
        busiest = await participation.most_active(since=today - DAYS[command.args], until=today)
        lines = [f"{member.name}: {member.events} events" for member in busiest]
    else:
        best = await members.leaderboard(limit=10)
        lines = [f"{member.name}: {member.reputation_score} points" for member in best.items]
    await message.answer("\n".join(lines) or "Nobody was active.")


@active.message(Command(*DECISIONS))
async def decide(message: Message, command: CommandObject, member: Member) -> None:
    status, permission = DECISIONS[command.command]
    if not await permissions.has(member.member_id, permission):
        await message.answer(f"You need the permission {permission}.")
        return
    person, _, reason = (command.args or "").partition(" ")
    number = (await members.resolve(person)).member_id
    after = await members.set_status(number, status, actor=member.member_id, reason=reason or None)
    await message.answer(f"{number} {after.name}: {after.status}")


@groups.message(F.migrate_to_chat_id.as_("new_id"))
async def move_group(message: Message, new_id: int) -> None:
    await participation.move_room("telegram", message.chat.id, new_id)


@groups.message(IS_KNOWN, F.text | F.photo | F.video | F.voice | F.document | F.sticker)
@dispatcher.message_reaction(IS_KNOWN)
async def count(
    event: Message | types.MessageReactionUpdated, member: Member, recorder: Recorder
) -> None:
    key: dict[str, Any] = {"member_id": member.member_id, "platform": "telegram"}
    key |= {"room_id": event.chat.id, "source_id": event.message_id}
    if isinstance(event, Message) or event.new_reaction:
        kind = "MESSAGE" if isinstance(event, Message) else "REACTION"
        recorder.add(NewEvent(**key, event_type=kind, occurred_at=event.date))
    else:
        await recorder.flush()
        await participation.take_back(**key)


@dispatcher.chat_join_request()
async def admit(request: types.ChatJoinRequest, member: Member | None) -> None:
    user, username = request.from_user, request.from_user.username or ""
    found = await invitations.find_open_for(username)
    if found:
        code = found.invitation_code
        await invitations.check(code, telegram_id=user.id, telegram_username=username)
    if found or (member and member.status == "active"):
        await request.approve()


async def greet(bot: Bot) -> None:
    """Greet whoever was approved, by this bot, the panel or any other program."""
    async for change in follow("community_bot"):
        if change.kind is ChangeKind.MEMBER_APPROVED:
            member = await members.find(change.member_id)
            if member and member.telegram_id.isdecimal():
                with suppress(TelegramAPIError):
                    await bot.send_message(member.telegram_id, f"Welcome, {member.name}!")


async def main(token: str) -> None:
    bot = Bot(token)
    async with connect(), participation.recorder() as recorder, asyncio.TaskGroup() as tasks:
        await migrate()
        greeter = tasks.create_task(greet(bot))
        await dispatcher.start_polling(bot, recorder=recorder)
        greeter.cancel()


if __name__ == "__main__":
    token = os.environ.get("BOT_TOKEN") or sys.exit("Set BOT_TOKEN to the token of your bot.")
    asyncio.run(main(token))
