"""Security that every page of the app shares: limits, headers, and how long a session lasts."""

from datetime import timedelta

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from community_directory.settings import Settings
from community_directory.web.body_limit import BodyLimit
from community_directory.web.proxies import ForwardedHeaders
from community_directory.web.recent_writes import RecentWrites

SECURITY_HEADERS = {
    # Piccolo Admin's pages have inline styles. Inline scripts are refused.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        "script-src 'self'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Over HTTPS the CSRF check needs a referrer or an origin of the same site.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HTTPS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}

SESSION_IDLE_TIMEOUT = timedelta(hours=8)
SESSION_MAX_AGE = timedelta(days=7)
SESSION_EXTENSION = SESSION_IDLE_TIMEOUT / 2
"""A session with less than this time left is extended by this time.

A session therefore ends after four to eight hours without a request.
"""

ADMIN_PATH = "/admin"
"""The path of Piccolo Admin, which has the sign-in and the API."""
UNCACHED_PATHS = (f"{ADMIN_PATH}/api/", f"{ADMIN_PATH}/public/")


def protect(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Put the limits on requests and the security headers around an app, error pages included."""
    if settings.postgres_read_url is not None:
        app = RecentWrites(app, max_lag=settings.read_lag_seconds)
    answered = SecurityHeaders(BodyLimit(app), production=settings.production)
    return ForwardedHeaders(answered, trusted_proxies=settings.trusted_proxies)


class SecurityHeaders:
    """ASGI middleware that adds the security headers to every response.

    Responses of the API are not cached. In production every cookie is marked as secure.
    """

    def __init__(self, app: ASGIApp, *, production: bool) -> None:
        self._app = app
        self._production = production
        self._headers = {**SECURITY_HEADERS, **(HTTPS_HEADERS if production else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The path is read here, because the routers change both values while they answer.
        path = scope["path"].removeprefix(scope.get("root_path", ""))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if path.startswith(UNCACHED_PATHS):
                    headers["Cache-Control"] = "no-store"
                if self._production:
                    _secure_cookies(message)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _secure_cookies(message: Message) -> None:
    """Mark every cookie of a response as secure; Piccolo does not mark the CSRF token's."""
    message["headers"] = [
        (name, value + b"; Secure" if _is_insecure_cookie(name, value) else value)
        for name, value in message["headers"]
    ]


def _is_insecure_cookie(name: bytes, value: bytes) -> bool:
    return name == b"set-cookie" and b"secure" not in value.lower()
