"""Calls that wait at the same moment share one statement, and each is answered after its commit."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Together(Generic[Item, Answer]):
    """Sends what comes alone at once, and what comes while others are under way together with what else waits.

    A call alone loses nothing, and many at once wait for a few commits instead of one each.
    """

    def __init__(
        self,
        alone: Callable[[Item], Awaitable[Answer]],
        together: Callable[[list[Item]], Awaitable[list[Answer | Exception]]],
        *,
        ways: int,
        most: int,
    ) -> None:
        """`together` answers for each item, in their order; `ways` statements are under way at a time."""
        self._alone, self._together = alone, together
        self._free, self._most = ways, most
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, item: Item) -> Answer:
        """What came of the item; what its statement was refused for is raised."""
        if self._free:
            self._free -= 1
            try:
                return await self._alone(item)
            finally:
                self._go_on()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        return await answer

    def _go_on(self) -> None:
        """Let those who wait have the way that has become free."""
        waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        while self._waiting and len(waiting) < self._most:
            item, answer = self._waiting.popleft()
            if not answer.done():  # its caller has given up
                waiting.append((item, answer))
        if not waiting:
            self._free += 1
            return
        task = asyncio.create_task(self._send(waiting))
        self._tasks.add(task)  # or nobody would hold it
        task.add_done_callback(self._tasks.discard)

    async def _send(self, waiting: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        answers: list[Answer | Exception] = []
        try:
            answers = await self._together([item for item, _ in waiting])
        except Exception as error:  # each caller gets it
            answers = [error] * len(waiting)
        finally:
            self._go_on()
            if not answers:  # the program ends
                for _, future in waiting:
                    future.cancel()
        for (_, future), answer in zip(waiting, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
