"""The dispatcher: the routers of all features, in the order in which they see an update.

A feature is a module with a `router`. It may have `commands`, a sequence of `BotCommand` whose
descriptions are translated, and `background_tasks`, a sequence of `BackgroundTask`.
"""

from collections.abc import Sequence
from functools import cache
from types import ModuleType

from aiogram import Bot, Dispatcher
from aiogram.types import BotCommand, BotCommandScopeAllPrivateChats

from community_directory.bot import (
    directory,
    errors,
    greetings,
    groups,
    guide,
    invite,
    languages,
    leaderboard,
    link,
    managers,
    me,
    notices,
    personal_data,
    profile,
    registration,
)
from community_directory.bot.middlewares import PersonMiddleware, PrivateStateMiddleware
from community_directory.bot.private_chats import PrivateChatMiddleware
from community_directory.bot.state import make_storage
from community_directory.bot.tasks import BackgroundTask
from community_directory.language import LANGUAGES, find_translation

FEATURES: Sequence[ModuleType] = (
    groups,
    managers,
    notices,
    greetings,
    registration,
    invite,
    directory,
    profile,
    me,
    leaderboard,
    link,
    languages,
    personal_data,
    guide,
)
"""The features: groups, whose updates pass no other filters, managers, and private chats."""


@cache
def make_dispatcher() -> Dispatcher:
    """Return the dispatcher of this process: aiogram attaches a router to one dispatcher only."""
    dispatcher = Dispatcher(storage=make_storage(), disable_fsm=True)
    dispatcher.update.outer_middleware(PersonMiddleware())
    dispatcher.update.outer_middleware(PrivateStateMiddleware(dispatcher.fsm))
    dispatcher.update.outer_middleware(PrivateChatMiddleware())
    dispatcher.include_routers(errors.router, *(feature.router for feature in FEATURES))
    return dispatcher


def list_background_tasks() -> list[BackgroundTask]:
    """Return the background tasks of all features."""
    return [task for feature in FEATURES for task in getattr(feature, "background_tasks", ())]


async def set_commands(bot: Bot) -> None:
    """Tell Telegram which commands the bot has in private chats, in each language."""
    commands: list[BotCommand] = [
        command for feature in FEATURES for command in getattr(feature, "commands", ())
    ]
    for language in LANGUAGES:
        gettext = find_translation(language).gettext
        await bot.set_my_commands(
            [
                BotCommand(command=command.command, description=gettext(command.description))
                for command in commands
            ],
            scope=BotCommandScopeAllPrivateChats(),
            # The commands without a language are for people of all other languages.
            language_code=None if language == LANGUAGES[0] else language,
        )
