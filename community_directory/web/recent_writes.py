"""Lets a browser that has just changed something see the change, whichever worker it reaches."""

from math import ceil
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from community_directory.database import primary_only

COOKIE: Final = "recent_write"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


class RecentWrites:
    """ASGI middleware that keeps replicas from answering a browser after a change of its own.

    The worker that made the change knows of it, and the other workers do not. So the response to a
    request that may change something sets a cookie, and the primary answers requests with it.
    After the time that a replica may be behind, the cookie ends.
    """

    def __init__(self, app: ASGIApp, *, max_lag: float) -> None:
        self._app = app
        self._cookie = f"{COOKIE}=1; Max-Age={ceil(max_lag) + 1}; Path=/; HttpOnly; SameSite=Strict"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and set the cookie if the request may have changed something."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        may_write = scope["method"] not in SAFE_METHODS

        async def send_with_cookie(message: Message) -> None:
            if may_write and message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Set-Cookie", self._cookie)
            await send(message)

        if COOKIE in Request(scope).cookies:
            with primary_only():
                await self._app(scope, receive, send_with_cookie)
        else:
            await self._app(scope, receive, send_with_cookie)
