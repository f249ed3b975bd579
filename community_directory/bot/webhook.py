"""The webhook: Telegram delivers each update in a request, and again until the answer is 200."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from json import JSONDecodeError
from urllib.parse import urlsplit

from aiogram import Bot
from aiohttp import web

from community_directory.bot.updates import UpdateHandler, find_lane

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  the name of a header
MAX_BODY_BYTES = 1_000_000
SHUTDOWN_TIMEOUT_SECONDS = 5
"""The time that requests have to end after the bot was stopped."""


class Webhook:
    """Answers 200 to an update that has ended and whose events are stored, and 503 otherwise."""

    def __init__(self, handler: UpdateHandler, stop: asyncio.Event) -> None:
        self._handler = handler
        self._stop = stop
        self._secret = secrets.token_urlsafe(32)
        self._lanes: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def running(
        self, bot: Bot, url: str, host: str, port: int, allowed_updates: list[str]
    ) -> AsyncIterator[None]:
        """Listen, and tell Telegram the URL and the secret that its requests must have."""
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_post(urlsplit(url).path or "/", self._receive)
        runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_SECONDS
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            await bot.set_webhook(url, secret_token=self._secret, allowed_updates=allowed_updates)
            yield
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        given = request.headers.get(SECRET_HEADER, "")
        if not secrets.compare_digest(given.encode(), self._secret.encode()):
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        try:
            update = await request.json()
            lane = find_lane(update)
            update_id = update["update_id"]
        except (JSONDecodeError, UnicodeDecodeError, AttributeError, LookupError, TypeError):
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        del update_id
        async with self._lanes[lane]:
            ended = await self._handler.handle(update)
        is_stored = ended and await self._handler.flush(self._stop)
        return web.Response(status=HTTPStatus.OK if is_stored else HTTPStatus.SERVICE_UNAVAILABLE)
