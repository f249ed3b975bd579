"""Tasks of a worker process, such as one of Celery or RQ: plain functions that call the helpers."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from community_directory.database import connect
from community_directory.queries import invitations, participation

P = ParamSpec("P")
R = TypeVar("R")

runner = asyncio.Runner()
"""The event loop of the process, to which all its connections belong."""


directory = connect()
"""The connection of the process, which is not open yet."""


def start() -> None:
    """Begin a process, after the fork: on the signal `worker_process_init` of Celery."""
    runner.run(directory.open())


def stop() -> None:
    """End a process: on the signal `worker_process_shutdown` of Celery."""
    runner.run(directory.close())
    runner.close()


def task(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Make a plain function of an async one; the decorator of Celery goes above this one."""

    @wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        return runner.run(function(*arguments, **options))

    return run


@task
async def expire_invitations() -> int:
    return await invitations.expire_overdue(actor="worker")


@task
async def find_busiest(days: int) -> dict[str, int]:
    today = participation.today()
    busiest = await participation.most_active(since=today - timedelta(days=days - 1), until=today)
    return {member.name: member.events for member in busiest}


if __name__ == "__main__":
    start()
    print(expire_invitations(), "invitations have expired.")
    print("The busiest of this week:", find_busiest(7))
    stop()
