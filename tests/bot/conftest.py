"""A bot that runs beside the test, with the stand-in for Telegram and a real database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from community_directory.bot.app import run
from community_directory.observers import Observer, observers
from community_directory.settings import load_settings
from tests.bot.stand_in import Group, Telegram

CHAT_ID = -1001234567890
"""The group whose events count; the bot writes Spanish there."""
SMALL_CHAT_ID = -4242
"""Another group whose events count, which is not a supergroup."""


class Defects(Observer):
    """Collects the updates that handlers could not handle because of a defect."""

    def __init__(self) -> None:
        self.sources: list[str] = []

    def error_unhandled(self, source: str) -> None:
        """Keep the source."""
        self.sources.append(source)


@asynccontextmanager
async def running_bot(telegram: Telegram, *, defects: int = 0) -> AsyncIterator[asyncio.Event]:
    """Run the bot with the settings of the environment, and stop it as a signal does.

    Setting the event stops it before the end of the block. The test fails if another number of
    updates than `defects` was left out because of a defect.
    """
    load_settings.cache_clear()
    found = Defects()
    observers.append(found)
    stop = asyncio.Event()
    telegram.bot_task = asyncio.create_task(run(load_settings(), stop))
    try:
        yield stop
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await telegram.bot_task
        telegram.bot_task = None
        observers.remove(found)
    assert found.sources == ["update"] * defects


@pytest.fixture
def no_background_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bot write only what it answers: no notices and greetings come between."""
    monkeypatch.setattr("community_directory.bot.app.list_background_tasks", list)


@pytest.fixture
async def stand_in(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Telegram]:
    """Yield a stand-in for Telegram, which the settings name; no bot runs."""
    async with Telegram().running() as telegram:
        monkeypatch.setenv("TELEGRAM_API_URL", telegram.url)
        monkeypatch.setenv("TELEGRAM_BOT_TOKEN", telegram.token)
        monkeypatch.setenv("TELEGRAM_CHATS", f"{CHAT_ID}=es,{SMALL_CHAT_ID}")
        load_settings.cache_clear()
        yield telegram


@pytest.fixture
async def telegram(directory: asyncpg.Pool, stand_in: Telegram) -> AsyncIterator[Telegram]:
    """Yield a stand-in for Telegram, of which a running bot gets its updates by long polling."""
    async with running_bot(stand_in):
        yield stand_in


@pytest.fixture
def group(stand_in: Telegram) -> Group:
    """Return the group whose events count, in which the bot writes Spanish."""
    return stand_in.group(CHAT_ID)
