"""The limits on the body of a request: its size, and the time in which it arrives."""

import asyncio
from collections.abc import Iterable

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1_000_000
BODY_TIMEOUT_SECONDS = 30
"""The seconds in which a whole body must arrive."""
MAX_DISCARDED_BYTES = 10 * MAX_BODY_BYTES
DISCARD_SECONDS = 5
"""The seconds in which the rest of a refused body is read.

Most clients send the whole body before they read the response, and lose it if the connection is
closed earlier.
"""


class BodyRefused(Exception):
    """The body is too large or too slow; the arguments are the status and the sentence."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.response = JSONResponse({"detail": detail}, status, headers={"Connection": "close"})


class BodyLimit:
    """ASGI middleware that receives the body of a request before the app sees the request.

    The app therefore never holds more than the limit, whatever it does with the body. A body that
    is too large is answered with 413, and one that arrives too slowly with 408. The length that
    the client announces only makes the refusal earlier: the received bytes count.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        timeout: float = BODY_TIMEOUT_SECONDS,
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive the body and pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._receive_body(scope["headers"], receive)
        except ClientDisconnect:
            return
        except BodyRefused as refusal:
            await _refuse(refusal.response, receive, send)
            return
        received = False

        async def receive_again() -> Message:
            nonlocal received
            if received:
                return await receive()
            received = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_again, send)

    async def _receive_body(
        self, headers: Iterable[tuple[bytes, bytes]], receive: Receive
    ) -> bytes:
        announced = dict(headers).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced[:20]) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    body += message.get("body", b"")
                    if len(body) > self._max_bytes:
                        raise self._too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise BodyRefused(
                408, f"The request took longer than {self._timeout:g} seconds. Try again."
            ) from None

    def _too_large(self) -> BodyRefused:
        return BodyRefused(
            413, f"The request is larger than {self._max_bytes:,} bytes. Send less at once."
        )


async def _refuse(response: JSONResponse, receive: Receive, send: Send) -> None:
    """Send the response, discard a part of the body, and close the connection."""
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": response.raw_headers,
        }
    )
    await send({"type": "http.response.body", "body": bytes(response.body), "more_body": True})
    discarded = 0
    try:
        async with asyncio.timeout(DISCARD_SECONDS):
            while discarded < MAX_DISCARDED_BYTES:
                message = await receive()
                if not message.get("more_body", False):
                    break
                discarded += len(message["body"])
    except TimeoutError:
        pass
    await send({"type": "http.response.body"})
