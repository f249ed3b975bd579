"""The address and the scheme of a request that has come through proxies."""

import ipaddress
import logging

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)


class ForwardedHeaders:
    """ASGI middleware that reads X-Forwarded-For and X-Forwarded-Proto of trusted proxies.

    Each proxy appends the address from which it got the request, so the last entries come from
    the trusted proxies, and everything before them may be invented. Both headers are ignored if
    no proxy is trusted. X-Forwarded-Host is always ignored: a proxy passes the header Host on.
    """

    def __init__(self, app: ASGIApp, *, trusted_proxies: int) -> None:
        self._app = app
        self._trusted_proxies = trusted_proxies
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Replace the client and the scheme of a request, and pass it on."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self._trusted_proxies:
                # A copy would hide from the log the user whom the authentication adds to the scope.
                scope.update(self._read(headers))
            elif "x-forwarded-for" in headers and not self._has_warned:
                self._has_warned = True
                logger.warning(
                    "The header X-Forwarded-For is ignored. If a proxy is in front of the panel, "
                    "set DIRECTORY_TRUSTED_PROXIES to 1."
                )
        await self._app(scope, receive, send)

    def _read(self, headers: Headers) -> Scope:
        replaced: Scope = {}
        addresses = _entries(headers, "x-forwarded-for")
        # With fewer entries, the request has not come through all of the proxies.
        if len(addresses) >= self._trusted_proxies:
            address = addresses[-self._trusted_proxies]
            if _is_address(address):
                replaced["client"] = (address, 0)
        # Most proxies replace this header instead of appending to it.
        schemes = _entries(headers, "x-forwarded-proto")
        if schemes:
            scheme = schemes[-min(self._trusted_proxies, len(schemes))].lower()
            if scheme in ("http", "https"):
                replaced["scheme"] = scheme
        return replaced


def _entries(headers: Headers, name: str) -> list[str]:
    values = ",".join(headers.getlist(name)).split(",")
    return [value.strip() for value in values if value.strip()]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
