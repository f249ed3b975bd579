"""The connection to the server of Telegram's Bot API."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.session.middlewares.base import BaseRequestMiddleware
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    AiogramError,
    TelegramConflictError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.methods import Response, TelegramMethod
from aiohttp import ClientSession

if TYPE_CHECKING:
    from aiogram.client.session.middlewares.base import NextRequestMiddlewareType

logger = logging.getLogger(__name__)

REQUEST_TIMEOUT_SECONDS = 20
"""The time limit of one request; one that waits for updates has the time of its wait besides."""
MAX_REQUESTS = 4
"""The number of times that a request is sent that Telegram refuses for the moment."""
ERROR_PAUSE_SECONDS = 1.0
"""The pause after the first error of the server; each next one is longer by as much."""
MAX_WAIT_SECONDS = 30
"""The longest time that Telegram may ask a request to wait."""


def describe_refusal(error: AiogramError) -> str:
    """Return what happened, without the message: it may quote the token or what people wrote."""
    match error:
        case TelegramConflictError():
            return "another program asks for the updates of this bot. Stop one of the two."
        case TelegramNetworkError():
            return f"no answer ({type(error.__cause__ or error).__name__})."
    return f"{type(error).__name__}."


class RepeatLater(BaseRequestMiddleware):
    """Repeats a request that Telegram's server refuses for the moment, and did not execute."""

    async def __call__(
        self,
        make_request: "NextRequestMiddlewareType[Any]",
        bot: Bot,
        method: TelegramMethod[Any],
    ) -> Response[Any]:
        """Send the request, and wait as long as the server asks before it is sent again."""
        for number in range(1, MAX_REQUESTS):
            try:
                return await make_request(bot, method)
            except TelegramRetryAfter as error:
                if error.retry_after > MAX_WAIT_SECONDS:
                    raise
                await asyncio.sleep(error.retry_after)
            except TelegramServerError:
                await asyncio.sleep(number * ERROR_PAUSE_SECONDS)
        return await make_request(bot, method)


class TelegramSession(AiohttpSession):
    """A session with one server of the Bot API."""

    def __init__(self, api_url: str) -> None:
        super().__init__(api=TelegramAPIServer.from_base(api_url), timeout=REQUEST_TIMEOUT_SECONDS)
        self.middleware(RepeatLater())
        self._client: ClientSession | None = None

    async def create_session(self) -> ClientSession:
        """Return the client, which the first call opens."""
        self._client = await super().create_session()
        return self._client

    async def close(self) -> None:
        """Close the connections, without the pause of a quarter of a second that aiogram makes."""
        if self._client is not None:
            await self._client.close()
