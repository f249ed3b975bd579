"""The access log: one line for each request, and its id in every line that it logs."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Iterator

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from community_directory.logs import LogContext, set_log_context
from community_directory.observers import observers

REQUEST_ID_HEADER = "X-Request-ID"
VALID_REQUEST_ID = re.compile("[0-9A-Fa-f-]{20,64}")
"""The request ids that are accepted from a proxy; neither a name nor a code looks like this."""

QUIET_PATHS = ("/healthz", "/readyz", "/metrics")
"""The paths that programs ask every few seconds. They are logged at the level DEBUG."""

logger = logging.getLogger(__name__)


class RequestLog:
    """ASGI middleware that logs each request, and answers requests that the shutdown cancels.

    The line has the method, the path, the status and the duration. A part of the path that belongs
    to no route, such as the id of a row, is shown as "…", because it may be personal.
    """

    def __init__(self, app: ASGIApp, routes: ASGIApp) -> None:
        """Prepare the middleware.

        Args:
            app: The app to call.
            routes: The app whose routes say which parts of a path are not personal.
        """
        self._app = app
        self._known_parts = frozenset(_find_path_parts(routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it when it has been answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path, status = time.perf_counter(), scope["path"], 0
        request_id = _read_request_id(scope)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        # It is not reset: uvicorn logs an exception in the same task afterwards.
        set_log_context(LogContext(request_id, lambda: _find_user(scope)))
        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # uvicorn cancels the requests that outlast its shutdown, and would log a traceback.
            if status == 0:
                response = PlainTextResponse("The server is stopping. Try again.", 503)
                await response(scope, receive, send_with_id)
        except Exception:
            for observer in observers:
                observer.error_unhandled("request")
            raise
        finally:
            seconds = time.perf_counter() - started
            for observer in observers:
                observer.request_ended(status or 500, seconds)
            logger.log(
                logging.DEBUG if path in QUIET_PATHS else logging.INFO,
                "%s %s %d %.0f ms",
                scope["method"],
                self._hide_unknown_parts(path),
                status or 500,
                seconds * 1000,
            )

    def _hide_unknown_parts(self, path: str) -> str:
        parts = path.split("/")
        return "/".join(part if part in self._known_parts else "…" for part in parts)


def _read_request_id(scope: Scope) -> str:
    """Return the id that a proxy has given the request, or a new one."""
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if VALID_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _find_user(scope: Scope) -> str:
    """Return the id of whoever is signed in, which the authentication adds to the scope, or "-"."""
    user = getattr(scope.get("user"), "user", None)
    user_id = scope.get("user_id") if user is None else user.id
    return "-" if user_id is None else f"user:{user_id}"


def _find_path_parts(app: object) -> Iterator[str]:
    """Yield every part of the paths of an app's routes that is not a parameter."""
    yield ""
    for route in getattr(app, "routes", ()):
        yield from (part for part in getattr(route, "path", "").split("/") if "{" not in part)
        yield from _find_path_parts(getattr(route, "app", None))
    # Middleware keeps the app that it wraps in this attribute.
    if (inner := getattr(app, "app", None)) is not None:
        yield from _find_path_parts(inner)
