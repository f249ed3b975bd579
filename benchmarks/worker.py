"""Run one client in its own process: `python -m benchmarks.worker NAME`, with BENCHMARK_URL.

The process reads calls as lines of JSON, and answers each line with the times and the answers:

    {"operation": "member", "calls": [["12345"], ["77"]], "tasks": 1}
    {"seconds": [0.0002, 0.0002], "elapsed": 0.0004, "answers": [["#5", "Ana", "active", 7], null]}

Its first line has the versions and the operations of the client. Thus no client's libraries or
garbage disturb another client, and a client in another language is one more program for this
protocol.
"""

import asyncio
import importlib
import json
import os
import sys
from time import perf_counter
from typing import Any, TextIO

from benchmarks.clients import CLIENTS
from benchmarks.clients.base import Client


async def main(name: str, lines: TextIO) -> None:
    """Answer calls until the input ends."""
    module, client_class = CLIENTS[name]
    try:
        client: Client = getattr(
            importlib.import_module(f"benchmarks.clients.{module}"), client_class
        )()
    except ImportError as error:
        _write(lines, {"error": str(error)})
        return
    await client.open(os.environ["BENCHMARK_URL"])
    try:
        _write(lines, {"versions": client.versions, "operations": client.operations()})
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                _write(lines, await _run(client, **json.loads(line)))
            except Exception as error:  # the parent reports every error
                _write(lines, {"error": f"{type(error).__name__}: {error}"})
    finally:
        await client.close()


async def _run(
    client: Client, *, operation: str, calls: list[list[Any]], tasks: int = 1
) -> dict[str, Any]:
    """Make the calls, `tasks` at a time, and measure how long the caller of each one waits."""
    method = getattr(client, operation)
    prepared = [await client.prepare(operation, arguments) for arguments in calls]
    seconds, results = [0.0] * len(calls), [None] * len(calls)
    waiting = iter(enumerate(prepared))

    async def take() -> None:
        for number, arguments in waiting:
            began = perf_counter()
            results[number] = await method(*arguments)
            seconds[number] = perf_counter() - began

    start = perf_counter()
    if tasks == 1:
        await take()
    else:
        await asyncio.gather(*(take() for _ in range(tasks)))
    elapsed = perf_counter() - start
    answers = [client.answer(operation, result) for result in results]
    return {"seconds": seconds, "elapsed": elapsed, "answers": answers}


def _write(lines: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=lines, flush=True)


if __name__ == "__main__":
    # The answers go to stdout; the output of libraries goes to stderr.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        asyncio.run(main(sys.argv[1], answers))
