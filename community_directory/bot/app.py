"""The process of the bot: `community-directory bot`."""

import asyncio
import logging
import signal
from contextlib import suppress

from aiogram import Bot
from aiogram.exceptions import (
    TelegramNetworkError,
    TelegramNotFound,
    TelegramServerError,
    TelegramUnauthorizedError,
)

from community_directory.bot.chats import CountedChats
from community_directory.bot.dispatcher import (
    list_background_tasks,
    make_dispatcher,
    set_commands,
)
from community_directory.bot.pauses import MAX_PAUSE_SECONDS, MIN_PAUSE_SECONDS, sleep_unless
from community_directory.bot.polling import Poller
from community_directory.bot.session import TelegramSession, describe_refusal
from community_directory.bot.tasks import run_in_background
from community_directory.bot.updates import UpdateHandler
from community_directory.bot.webhook import Webhook
from community_directory.database import connect
from community_directory.database.migrations import migrate
from community_directory.errors import ConfigurationError
from community_directory.queries import participation
from community_directory.settings import Settings

logger = logging.getLogger(__name__)

MISSING_MESSAGE = "Set TELEGRAM_BOT_TOKEN to the token of your bot, which @BotFather gives you."
REFUSED_MESSAGE = (
    "Telegram refuses the token in TELEGRAM_BOT_TOKEN. Ask @BotFather for the token of your bot."
)


def run_bot(settings: Settings) -> None:
    """Connect, migrate, and run the bot until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: The token is missing, or Telegram refuses it.
        DatabaseUnavailable: The database can't be reached at the start.
    """
    if settings.telegram_bot_token is None:
        raise ConfigurationError(MISSING_MESSAGE)
    asyncio.run(_run_until_signal(settings))


async def _run_until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with connect():
        await migrate()
        await run(settings, stop)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run the bot until `stop` is set; the database is connected.

    Every update whose handling has ended by then is confirmed to Telegram, and its events are
    stored. Telegram delivers the others again to the next process.

    Raises:
        ConfigurationError: The token is missing, or Telegram refuses it.
    """
    if settings.telegram_bot_token is None:
        raise ConfigurationError(MISSING_MESSAGE)
    session = TelegramSession(settings.telegram_api_url)
    bot = Bot(settings.telegram_bot_token.get_secret_value(), session=session)
    try:
        await _run(bot, settings, stop)
    except (TelegramUnauthorizedError, TelegramNotFound):
        # Without the context: aiogram's error has the request, and the request has the token.
        raise ConfigurationError(REFUSED_MESSAGE) from None
    finally:
        await session.close()


async def _run(bot: Bot, settings: Settings, stop: asyncio.Event) -> None:
    if not await _reach_telegram(bot, stop):
        return
    await set_commands(bot)
    chats = CountedChats(settings.telegram_chats)
    await chats.follow_moves()
    dispatcher = make_dispatcher()
    kinds = dispatcher.resolve_used_update_types()
    with suppress(participation.RecorderGaveUp):
        async with participation.recorder(
            give_up_after=float("inf"), close_timeout=0.1
        ) as recorder:
            handler = UpdateHandler(dispatcher, bot, recorder, chats)
            async with run_in_background(list_background_tasks(), bot, chats):
                logger.info("The bot runs, and counts events in %d groups.", len(chats))
                if settings.telegram_webhook_url is None:
                    await bot.delete_webhook()
                    await Poller(bot, handler, stop, kinds).run()
                else:
                    webhook = Webhook(handler, stop)
                    async with webhook.running(
                        bot,
                        settings.telegram_webhook_url,
                        settings.telegram_webhook_host,
                        settings.telegram_webhook_port,
                        kinds,
                    ):
                        await stop.wait()
    logger.info("The bot has stopped.")


async def _reach_telegram(bot: Bot, stop: asyncio.Event) -> bool:
    """Ask for the bot's name until Telegram answers; return False if the bot is stopped before."""
    pause = MIN_PAUSE_SECONDS
    while not stop.is_set():
        try:
            await bot.me()
        except (TelegramNetworkError, TelegramServerError) as error:
            logger.warning("Telegram can't be reached: %s", describe_refusal(error))
            await sleep_unless(stop, pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        else:
            return True
    return False
