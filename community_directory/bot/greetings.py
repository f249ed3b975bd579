"""Greetings: people read what has happened to them, and groups read who is new.

The bot follows the change feed: it does not matter who has made a change, and with what program. A
change is confirmed when its messages are sent, so that only a sudden end of the process in between
repeats one.
"""

import time
from collections import deque
from contextlib import aclosing

from aiogram import Bot, Router, html
from aiogram.enums import ChatMemberStatus, ParseMode
from aiogram.exceptions import TelegramBadRequest, TelegramForbiddenError, TelegramNotFound
from aiogram.types import ChatMemberRestricted

from community_directory.bot.answers import shorten
from community_directory.bot.chats import CountedChats
from community_directory.bot.management import show_name
from community_directory.bot.notices import is_news
from community_directory.bot.private_chats import find_chat, write
from community_directory.language import Translation, find_translation
from community_directory.queries import audit, members
from community_directory.queries.audit import Change, ChangeKind
from community_directory.queries.members import Member

router = Router(name="greetings")

CONSUMER = "bot"
"""The name under which the database keeps the place of the greetings in the feed."""
MAX_GREETINGS = 5
GREETINGS_PERIOD_SECONDS = 60.0
"""A group reads at most so many greetings within this time, such as after a bulk approval."""

PRESENT_STATUSES = (
    ChatMemberStatus.CREATOR,
    ChatMemberStatus.ADMINISTRATOR,
    ChatMemberStatus.MEMBER,
)


class Greeter:
    """Tells people and groups what the change feed tells."""

    def __init__(self, bot: Bot, chats: CountedChats) -> None:
        self._bot, self._chats = bot, chats
        self._greeted: dict[int, deque[float]] = {}
        """The times of the latest greetings in each group."""

    async def handle(self, change: Change) -> None:
        """Tell those whom a change concerns."""
        if not is_news(change):
            return
        if change.kind == ChangeKind.INVITATION_REDEEMED:
            await self._tell_inviter(change)
            return
        if (chat := await find_chat(change.member_id)) is not None:
            text = describe_change(change, chat.translation)
            if text is not None:
                await write(self._bot, chat.account_id, text)
        if change.kind == ChangeKind.MEMBER_APPROVED:
            await self._greet_in_groups(change.member_id)

    async def _tell_inviter(self, change: Change) -> None:
        """Tell the creator of an invitation who has joined with it."""
        chat = await find_chat(change.member_id)
        guest = await members.find(change.changes["accepted_by"][1])
        if chat is not None and guest is not None:
            text = chat.translation.gettext(
                "{name} has joined with your invitation. Thank you!", name=show_name(guest)
            )
            await write(self._bot, chat.account_id, text)

    async def _greet_in_groups(self, member_id: str) -> None:
        """Greet a new member in each group in which they are, in its language."""
        member = await members.find(member_id)
        if member is None or not member.telegram_id.isdecimal():
            return
        for chat_id in self._chats:
            if self._may_greet(chat_id) and await self._is_present(chat_id, member):
                self._greeted[chat_id].append(time.monotonic())
                await self._greet(chat_id, member)

    def _may_greet(self, chat_id: int) -> bool:
        times = self._greeted.setdefault(chat_id, deque(maxlen=MAX_GREETINGS))
        is_full = len(times) == MAX_GREETINGS
        return not is_full or time.monotonic() - times[0] > GREETINGS_PERIOD_SECONDS

    async def _is_present(self, chat_id: int, member: Member) -> bool:
        try:
            found = await self._bot.get_chat_member(chat_id, int(member.telegram_id))
        except (TelegramBadRequest, TelegramForbiddenError, TelegramNotFound):
            return False  # Telegram does not know the person there, or the bot has left the group
        is_member = isinstance(found, ChatMemberRestricted) and found.is_member
        return is_member or found.status in PRESENT_STATUSES

    async def _greet(self, chat_id: int, member: Member) -> None:
        translation = find_translation(self._chats.language(chat_id))
        # A mention by its id works without a username.
        name = html.link(html.quote(shorten(member.name)), f"tg://user?id={member.telegram_id}")
        text = translation.gettext("Welcome {name}, our new member!", name=name)
        try:
            await self._bot.send_message(chat_id, text, parse_mode=ParseMode.HTML)
        except (TelegramBadRequest, TelegramForbiddenError):
            return  # the bot may not write in this group


async def follow_greetings(bot: Bot, chats: CountedChats) -> None:
    """Tell people and groups what the change feed tells."""
    greeter = Greeter(bot, chats)
    async with aclosing(audit.follow(CONSUMER)) as changes:
        async for change in changes:
            await greeter.handle(change)


background_tasks = [follow_greetings]


def describe_change(change: Change, translation: Translation) -> str | None:  # noqa: PLR0911
    """Return what a change means for the member, or None if they are not told of it."""
    gettext = translation.gettext
    match change.kind:
        case ChangeKind.MEMBER_APPROVED:
            return gettext(
                "Welcome! You are a member of the community now. Send /directory to see who is "
                "here, or /invite to bring somebody."
            )
        case ChangeKind.MEMBER_DECLINED:
            return gettext(
                "We are sorry: your application was not accepted this time. If you think that this "
                "is a mistake, please talk to the person who invited you."
            )
        case ChangeKind.MEMBER_SUSPENDED:
            return gettext(
                "Your membership is suspended for now. Please talk to a community manager if you "
                "would like to know more."
            )
        case ChangeKind.MEMBER_REINSTATED | ChangeKind.MEMBER_UNBANNED:
            return gettext("Good news: you are an active member again. Welcome back!")
        case ChangeKind.MEMBER_BANNED:
            return gettext(
                "Your membership has ended, and you can't join again. If you think that this is a "
                "mistake, please talk to a community manager."
            )
        case ChangeKind.TIER_REACHED:
            tier = change.changes["reputation_tier"][1]
            return gettext("Congratulations: you have reached the tier {tier}!", tier=tier)
        case _:
            return None
