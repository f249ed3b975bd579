"""Accounts of bots, whose messages count for nobody."""

from aiogram.types import User

from community_directory.queries import members


class BotAccounts:
    """The bots that this process has met; the directory remembers them for imports."""

    def __init__(self) -> None:
        self._remembered: set[int] = set()

    async def remember(self, user: User) -> None:
        """Remember an account that Telegram says to be a bot, once in the life of the process."""
        if user.id not in self._remembered:
            await members.remember_bots({str(user.id): user.full_name or None})
            self._remembered.add(user.id)
