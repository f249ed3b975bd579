"""The process of the bot: `community-directory bot`."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from aiogram import Bot
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)

from community_directory import logs
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
from community_directory.database import connect, embedded
from community_directory.database.migrations import migrate
from community_directory.errors import ConfigurationError, DatabaseUnavailable, DirectoryError
from community_directory.queries import participation
from community_directory.settings import Settings

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_SECONDS = 0.1
"""The time for events that are left at the end: the updates were not confirmed, and come again."""
MISSING_MESSAGE = (
    "TELEGRAM_BOT_TOKEN is missing. Set it to the token of your bot, which @BotFather gives you."
)
REFUSED_MESSAGE = (
    "Telegram refuses the token in TELEGRAM_BOT_TOKEN. Ask @BotFather for the token of your bot."
)
WEBHOOK_REFUSED_MESSAGE = (
    "Telegram refuses TELEGRAM_WEBHOOK_URL. It must be a URL of HTTPS that Telegram can reach, "
    "with port 443, 80, 88 or 8443."
)
SERVER_LOST_MESSAGE = (
    "The embedded PostgreSQL has ended, and this program ends too. "
    "Start it again: it starts the server, and nothing that was confirmed is lost."
)


def run_bot(settings: Settings) -> None:
    """Connect, migrate, and run the bot until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: The token is missing, or Telegram refuses it or the URL of the webhook.
        DatabaseUnavailable: The database can't be reached at the start, or the embedded one ended.
    """
    if settings.telegram_bot_token is None:
        raise ConfigurationError(MISSING_MESSAGE)
    # A request has the token in its URL, and exceptions quote URLs.
    logs.hide(settings.telegram_bot_token.get_secret_value())
    try:
        with asyncio.Runner(loop_factory=_find_loop_factory()) as runner:
            runner.run(_run_until_signal(settings))
    except DirectoryError:
        raise
    except Exception:
        # Python would print the message.
        logger.critical("The bot has ended because of a defect.", exc_info=True)
        sys.exit(1)


def _find_loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the event loop of the extra `uvloop`, or None if it is not installed."""
    try:
        import uvloop  # noqa: PLC0415  an extra
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run_until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with connect():
        await migrate()
        watch = asyncio.create_task(_watch_embedded_server(settings, stop))
        await run(settings, stop)
        is_server_lost = watch.done() and settings.postgres_url is None
        watch.cancel()
    if is_server_lost:
        raise DatabaseUnavailable(SERVER_LOST_MESSAGE)


async def _watch_embedded_server(settings: Settings, stop: asyncio.Event) -> None:
    """Stop the bot when its embedded server has ended; only a new process starts it again."""
    if settings.postgres_url is not None:
        return
    await embedded.wait_for_end(settings.data_directory)
    stop.set()


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run the bot until `stop` is set; the database is connected.

    Every update whose handling has ended by then is confirmed to Telegram, and its events are
    stored. Telegram delivers the others again to the next process.

    Raises:
        ConfigurationError: The token is missing, or Telegram refuses it or the URL of the webhook.
    """
    if settings.telegram_bot_token is None:
        raise ConfigurationError(MISSING_MESSAGE)
    session = TelegramSession(settings.telegram_api_url)
    bot = Bot(settings.telegram_bot_token.get_secret_value(), session=session)
    try:
        if await _insist(stop, partial(_prepare, bot, settings)):
            await _run(bot, settings, stop)
    except (TelegramUnauthorizedError, TelegramNotFound):
        raise ConfigurationError(REFUSED_MESSAGE) from None
    finally:
        await session.close()


async def _prepare(bot: Bot, settings: Settings) -> None:
    """Check the token, tell Telegram the commands, and end a webhook that is not wanted."""
    await bot.me()
    await set_commands(bot)
    if settings.telegram_webhook_url is None:
        await bot.delete_webhook()


async def _insist(stop: asyncio.Event, request: Callable[[], Awaitable[object]]) -> bool:
    """Send a request until Telegram answers; return False if the bot is stopped before."""
    pause = MIN_PAUSE_SECONDS
    while not stop.is_set():
        try:
            await request()
        except (TelegramNetworkError, TelegramRetryAfter, TelegramServerError) as error:
            logger.warning("Telegram can't be reached: %s", describe_refusal(error))
            await sleep_unless(stop, pause)
            pause = min(2 * pause, MAX_PAUSE_SECONDS)
        else:
            return True
    return False


async def _run(bot: Bot, settings: Settings, stop: asyncio.Event) -> None:
    chats = CountedChats(settings.telegram_chats)
    await chats.follow_moves()
    logger.info("The bot counts what members do in %d groups.", len(chats))
    recorder = participation.recorder(
        give_up_after=float("inf"), close_timeout=CLOSE_TIMEOUT_SECONDS
    )
    with suppress(participation.RecorderGaveUp):
        async with recorder, run_in_background(list_background_tasks(), bot, chats):
            handler = UpdateHandler(make_dispatcher(), bot, recorder, chats)
            await _receive_updates(bot, handler, settings, stop)
    logger.info("The bot has stopped.")


async def _receive_updates(
    bot: Bot, handler: UpdateHandler, settings: Settings, stop: asyncio.Event
) -> None:
    kinds = make_dispatcher().resolve_used_update_types()
    if settings.telegram_webhook_url is None:
        logger.info("The bot asks for updates: %s.", ", ".join(kinds))
        await Poller(bot, handler, stop, kinds).run()
        return
    webhook = Webhook(handler)
    async with webhook.listening(
        settings.telegram_webhook_url,
        settings.telegram_webhook_host,
        settings.telegram_webhook_port,
    ):
        request = partial(
            bot.set_webhook,
            settings.telegram_webhook_url,
            secret_token=webhook.secret,
            allowed_updates=kinds,
        )
        try:
            await _insist(stop, request)
        except TelegramBadRequest:
            raise ConfigurationError(WEBHOOK_REFUSED_MESSAGE) from None
        logger.info("The bot gets updates by its webhook: %s.", ", ".join(kinds))
        await stop.wait()
