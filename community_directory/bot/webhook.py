"""The webhook: Telegram delivers each update in a request, and again until the answer is 200."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from json import JSONDecodeError
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from aiohttp import web

from community_directory.bot.updates import UpdateHandler, find_lane
from community_directory.errors import ConfigurationError

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  the name of a header
MAX_BODY_BYTES = 1_000_000
FLUSH_TIMEOUT_SECONDS = 10
"""The longest time that a request waits until its events are stored."""
SHUTDOWN_TIMEOUT_SECONDS = 5
"""The time that requests have to end after the bot was stopped."""


class Webhook:
    """Answers 200 to an update that has ended and whose events are stored, and 503 otherwise.

    Attributes:
        secret: The secret of this process that Telegram's requests must have.
    """

    def __init__(self, handler: UpdateHandler) -> None:
        self._handler = handler
        self.secret = secrets.token_urlsafe(32)
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        """The locks of the chats of which an update is being handled."""

    @asynccontextmanager
    async def listening(self, url: str, host: str, port: int) -> AsyncIterator[None]:
        """Listen for requests to the path of the URL, and let them end after the block.

        Raises:
            ConfigurationError: The bot can't listen on the address.
        """
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_post(urlsplit(url).path or "/", self._receive)
        runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_SECONDS
        )
        await runner.setup()
        try:
            await _listen(runner, host, port)
            yield
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        given = request.headers.get(SECRET_HEADER, "")
        if not secrets.compare_digest(given.encode(), self.secret.encode()):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        try:
            update = await request.json()
        except (JSONDecodeError, UnicodeDecodeError, RecursionError):
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        if not isinstance(update, dict) or type(update.get("update_id")) is not int:
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        lock = self._locks.setdefault(find_lane(update), asyncio.Lock())
        async with lock:
            has_ended = await self._handler.handle(update)
        is_stored = has_ended and await self._handler.flush(FLUSH_TIMEOUT_SECONDS)
        return web.Response(status=HTTPStatus.OK if is_stored else HTTPStatus.SERVICE_UNAVAILABLE)


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"Can't listen on {host}, port {port}: {getattr(error, 'strerror', error)}. "
            "Choose another with TELEGRAM_WEBHOOK_HOST or TELEGRAM_WEBHOOK_PORT."
        ) from error
