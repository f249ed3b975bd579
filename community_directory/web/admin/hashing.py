"""Password hashing in threads, for a limited number of requests at once.

A hash takes a third of a second on purpose. On the thread of the event loop it would stop all other
requests for that time; in too many threads at once it would take all processors.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException

from community_directory.error_texts import gettext_noop

BUSY = gettext_noop("Too many people are signing in at the moment. Try again in a few seconds.")
RETRY_SECONDS = 5


class TooBusy(HTTPException):
    """Too many requests wait for their turn (503)."""

    def __init__(self) -> None:
        super().__init__(503, BUSY, headers={"Retry-After": str(RETRY_SECONDS)})


class HashingQueue:
    """The requests that may hash passwords now, and those that wait in line."""

    def __init__(self, *, max_running: int, max_waiting: int) -> None:
        self._running = asyncio.Semaphore(max_running)
        self._max_requests = max_running + max_waiting
        self._requests = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, which lasts as long as the block.

        Raises:
            TooBusy: The line is full.
        """
        if self._requests >= self._max_requests:
            raise TooBusy
        self._requests += 1
        try:
            async with self._running:
                yield
        finally:
            self._requests -= 1


UNKNOWN_BROWSERS = HashingQueue(max_running=2, max_waiting=50)
KNOWN_BROWSERS = HashingQueue(max_running=1, max_waiting=50)
"""People who have signed in before do not wait behind those who guess passwords."""
