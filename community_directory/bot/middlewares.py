"""The parameters that handlers get besides those of aiogram.

- `member: Member | None`: the member or the contact who caused the update.
- `translation: Translation`: the language that this person chose, or that of their Telegram.
- `recorder: Recorder`: the recorder of the bot's events.
- `chats: CountedChats`: the groups whose events count.
- `bot_accounts: BotAccounts`: the bots that were met.
- `tries: int`: how often the update was handled, with this time.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from aiogram import BaseMiddleware
from aiogram.fsm.middleware import FSMContextMiddleware
from aiogram.types import TelegramObject, Update, User

from community_directory.language import Translation, find_translation
from community_directory.queries import members
from community_directory.queries.members import Member

Handler = Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]]


class PersonMiddleware(BaseMiddleware):
    """Gives handlers the person who caused an update: `member` and `translation`."""

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:
        """Look the person up, once for each update."""
        user: User | None = data.get("event_from_user")
        data["member"] = None
        if user is not None and not user.is_bot:
            data["member"] = await members.seen(
                telegram_id=user.id, username=user.username, name=user.full_name
            )
        data["translation"] = choose_translation(data["member"], user)
        return await handler(event, data)


class PrivateStateMiddleware(BaseMiddleware):
    """Gives handlers the state of a conversation, which only private chats have.

    A message in a group would otherwise cost a query.
    """

    def __init__(self, states: FSMContextMiddleware) -> None:
        self._states = states

    async def __call__(self, handler: Handler, event: TelegramObject, data: dict[str, Any]) -> Any:
        """Read the state of a private chat."""
        if isinstance(event, Update) and is_private(data):
            return await self._states(handler, event, data)
        return await handler(event, data)


def choose_translation(member: Member | None, user: User | None) -> Translation:
    """Return the language that a member has chosen, or that of the person's Telegram."""
    chosen = (member.profile_data or {}).get("language") if member is not None else None
    if isinstance(chosen, str):
        return find_translation(chosen)
    return find_translation(user.language_code if user else None)


def is_private(data: dict[str, Any]) -> bool:
    """Return whether an update comes from a person's chat with the bot."""
    chat = data.get("event_chat")
    return chat is None or chat.type == "private"
