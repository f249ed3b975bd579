"""The command `community-directory bot` starts the bot, and a signal stops it."""

import asyncio
import logging
import signal
import sys

import asyncpg
import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramNetworkError
from aiogram.types import BotCommand

from community_directory.bot import app, profile, session, tasks
from community_directory.bot.chats import CountedChats
from community_directory.bot.session import TelegramSession
from community_directory.command_line import command_line, run_parser
from community_directory.logs import hide
from community_directory.queries import members
from tests.bot.conftest import CHAT_ID, running_bot
from tests.bot.stand_in import TOKEN, Group, Telegram
from tests.log_guard import log_guard
from tests.processes import PROGRAM, PROJECT, environment
from tests.roles import app_url


def error_of_the_command() -> str:
    """Run `community-directory bot`, which fails, and return its last words."""
    with pytest.raises(SystemExit) as ended:
        run_parser(command_line(), ["bot"])
    return str(ended.value.code)


def test_without_a_token_the_command_says_where_to_get_one() -> None:
    assert error_of_the_command() == app.MISSING_MESSAGE


def test_without_the_extra_the_command_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "community_directory.bot.app")
    monkeypatch.setitem(sys.modules, "aiogram", None)
    assert "pip install 'community-directory[bot]'" in error_of_the_command()


async def start(telegram: Telegram, url: str, **variables: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        "bot",
        env=environment(
            POSTGRES_URL=url,
            PYTHONPATH=str(PROJECT),
            TELEGRAM_API_URL=telegram.url,
            TELEGRAM_BOT_TOKEN=TOKEN,
            TELEGRAM_CHATS=str(CHAT_ID),
            **variables,
        ),
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process) -> str:
    """Wait for the end of a bot, and return what it has printed to stderr."""
    async with asyncio.timeout(60):
        _, printed = await process.communicate()
    log_guard.add(printed.decode())
    return printed.decode()


async def test_a_signal_stops_the_bot_which_has_stored_and_confirmed_everything(
    directory_url: str, directory: asyncpg.Pool, stand_in: Telegram, group: Group
) -> None:
    await members.add(telegram_id=1001, name="Ana", primary_role="artist", status="active")
    process = await start(stand_in, app_url(directory_url), DIRECTORY_LOG_LEVEL="debug")
    ana = stand_in.person(1001, "Ana")
    await ana.says("hello", group)
    process.send_signal(signal.SIGTERM)
    printed = await end(process)
    assert process.returncode == 0, printed
    assert "The bot has stopped." in printed
    assert TOKEN not in printed
    assert await directory.fetchval("SELECT count(*) FROM member_participation") == 1
    assert stand_in.unconfirmed == []


async def test_the_bot_waits_for_telegram_and_then_tells_its_commands_in_each_language(
    directory: asyncpg.Pool,
    stand_in: Telegram,
    group: Group,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "MIN_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(session, "ERROR_PAUSE_SECONDS", 0.01)
    command = BotCommand(command="profile", description="Show your profile")
    monkeypatch.setattr(profile, "commands", [command], raising=False)
    for _ in range(session.MAX_REQUESTS + 1):
        stand_in.refuse_next("getMe", 502, "Bad Gateway")
    async with running_bot(stand_in):
        await stand_in.person(1001, "Ana").says("hello")
    english, spanish = stand_in.calls_of("setMyCommands")
    assert {"command": "profile", "description": "Show your profile"} in english["commands"]
    assert "language_code" not in english
    assert spanish["language_code"] == "es"
    assert english["scope"] == {"type": "all_private_chats"}


# Background tasks


async def test_a_background_task_that_fails_is_logged_and_starts_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "MIN_PAUSE_SECONDS", 0.01)
    runs, is_third = 0, asyncio.Event()

    async def greet(_: Bot, __: CountedChats) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise ValueError("Ana García")
        if runs == 3:
            is_third.set()
            await asyncio.Event().wait()

    bot = Bot(TOKEN, session=TelegramSession("http://127.0.0.1"))
    async with tasks.run_in_background([greet], bot, CountedChats({})):
        async with asyncio.timeout(30):
            await is_third.wait()
    assert runs == 3
    assert "greet starts again in 0 s: ValueError" in caplog.text
    assert "García" not in caplog.text


# The token


async def test_the_token_is_in_no_line_of_the_log_when_telegram_does_not_answer(
    unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    hide(TOKEN)
    connection = TelegramSession(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(TelegramNetworkError):
        await Bot(TOKEN, session=connection).me()
    await connection.close()
    error = OSError(f"Connection timeout to host https://api.telegram.org/bot{TOKEN}/getMe")
    logging.getLogger("aiogram").error("It failed.", exc_info=error)
    assert TOKEN not in "".join(map(log_guard.format, caplog.records))
