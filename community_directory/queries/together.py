"""Calls that wait at the same moment share one statement, and each is answered after its commit."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from itertools import islice
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
        self._waiting: dict[asyncio.Future[Answer], Item] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, item: Item) -> Answer:
        """What came of the item; what it was refused for is raised."""
        if self._free:
            self._free -= 1
            try:
                return await self._alone(item)
            finally:
                self._go_on()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = item
        try:
            return await answer
        finally:
            self._waiting.pop(answer, None)  # its caller may have given up

    def _go_on(self) -> None:
        """Let those who wait have the way that has become free."""
        answers = list(islice(self._waiting, self._most))
        if not answers:
            self._free += 1
            return
        waiting = {answer: self._waiting.pop(answer) for answer in answers}
        # In a context of its own: the one who goes may be in a transaction by now.
        task = asyncio.get_running_loop().create_task(self._send(waiting), context=Context())
        self._tasks.add(task)  # or nobody would hold it
        task.add_done_callback(self._tasks.discard)

    async def _send(self, waiting: dict[asyncio.Future[Answer], Item]) -> None:
        try:
            found = await self._together(list(waiting.values()))
        except Exception as error:  # each caller gets it
            found = [error] * len(waiting)
        except asyncio.CancelledError:
            for answer in waiting:
                answer.cancel()  # the program ends
            raise
        finally:
            self._go_on()
        for answer, its in zip(waiting, found, strict=True):
            if answer.done():
                continue
            if isinstance(its, Exception):
                answer.set_exception(its)
            else:
                answer.set_result(its)
