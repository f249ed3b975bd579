"""Measure clients side by side: in each round every client runs a slice of calls, in turn."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import asyncpg

from benchmarks.clients import CLIENTS, drizzle
from benchmarks.operations import Line, Supply
from benchmarks.results import Measured, Results

ROOT: Final = Path(__file__).resolve().parent.parent
DRIZZLE: Final = "drizzle"
NAMES: Final = (*CLIENTS, DRIZZLE)
WARM_CALLS: Final = 20
"""The calls before the first round, which prepare the statements and their generic plans."""


class LeftOutError(Exception):
    """A client can't take part; the message is the reason."""


class CallFailedError(Exception):
    """A call failed in the client; the message is the reason."""


class Process:
    """A client in its own process: see `benchmarks.worker`."""

    def __init__(self, name: str, url: str) -> None:
        self._child = subprocess.Popen(
            _command(name),
            cwd=ROOT,
            env={**os.environ, "BENCHMARK_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            hello = self._answer()
        except CallFailedError as error:
            self.close()
            raise LeftOutError(str(error)) from None
        self.versions: dict[str, str] = hello["versions"]
        self.operations: list[str] = hello["operations"]

    def run(self, line: Line, calls: list[list[Any]]) -> dict[str, Any]:
        """Make the calls and return the seconds of each, the seconds of all, and the answers.

        Raises:
            CallFailedError: A call failed.
        """
        assert self._child.stdin
        request = {"operation": line.method, "calls": calls, "tasks": line.tasks}
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout
        answer = self._child.stdout.readline()
        if not answer:
            raise CallFailedError("its process has ended")
        message: dict[str, Any] = json.loads(answer)
        if "error" in message:
            raise CallFailedError(message["error"])
        return message

    def close(self) -> None:
        """Let the process close its pool and end."""
        assert self._child.stdin
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()


def _command(name: str) -> list[str]:
    if name != DRIZZLE:
        return [sys.executable, "-m", "benchmarks.worker", name]
    try:
        return drizzle.install_drizzle()
    except drizzle.DrizzleMissingError as error:
        raise LeftOutError(str(error)) from None


@dataclass(frozen=True)
class Contender:
    """A client with the database that it uses."""

    name: str
    process: Process
    supply: Supply
    connection: asyncpg.Connection
    """A connection for statements that are not measured."""


@dataclass(frozen=True)
class Pace:
    """The limits of a measurement."""

    rounds: int
    """The most rounds."""
    seconds: float
    """The approximate time of all rounds of an operation; there are at least three rounds."""
    slice_seconds: float
    """The approximate time of the slowest client's slice, within the limits of the line."""
    warm_seconds: float


async def measure(
    lines: tuple[Line, ...], contenders: list[Contender], pace: Pace, results: Results
) -> None:
    """Measure these lines in turn; a client that fails is left out of the line, with a remark."""
    rounds = _Rounds(lines, contenders, results)
    for line in lines:
        await rounds.warm_up(line, pace)
    for number in range(max(3, min(pace.rounds, int(pace.seconds / (rounds.seconds or 1))))):
        for line in lines:
            await rounds.take(line, number)


class _Rounds:
    def __init__(
        self, lines: tuple[Line, ...], contenders: list[Contender], results: Results
    ) -> None:
        self.seconds = 0.0
        """The approximate time of a round."""
        self._results = results
        self._entrants = {
            line.name: [each for each in contenders if line.method in each.process.operations]
            for line in lines
        }
        self._calls: dict[str, int] = {}

    async def warm_up(self, line: Line, pace: Pace) -> None:
        """Let every client make some calls, and choose the number of calls of a slice."""
        costs = []
        for contender in self._entrants[line.name].copy():
            made, spent, calls = 0, 0.0, min(line.most, max(line.least, 6))
            while made < WARM_CALLS and spent < pace.warm_seconds:
                answer = await self._run(line, contender, line.calls(contender.supply, calls))
                if answer is None:
                    break
                made, spent = made + calls, spent + answer["elapsed"]
                cost = answer["elapsed"] / calls
            else:
                costs.append(cost)
        if costs:
            self._calls[line.name] = min(
                line.most, max(line.least, int(pace.slice_seconds / max(costs)))
            )
            self.seconds += self._calls[line.name] * sum(costs)

    async def take(self, line: Line, number: int) -> None:
        """Let every client run a slice.

        If calls can be repeated, all clients make the same calls and must give the same answers.
        """
        entered = self._entrants[line.name].copy()
        turn = number % max(len(entered), 1)
        shared: dict[Supply, tuple[str, list[list[Any]], list[Any]]] = {}
        for contender in entered[turn:] + entered[:turn]:
            known = shared.get(contender.supply) if line.right is None else None
            calls = known[1] if known else line.calls(contender.supply, self._calls[line.name])
            answer = await self._run(line, contender, calls)
            if answer is None:
                continue
            if known:
                _compare(line, known, contender.name, answer["answers"])
            shared[contender.supply] = (contender.name, calls, answer["answers"])
            _note(
                self._results.measured.setdefault((line.name, contender.name), Measured(line.rows)),
                line,
                answer,
            )

    async def _run(
        self, line: Line, contender: Contender, calls: list[list[Any]]
    ) -> dict[str, Any] | None:
        if line.before:
            await contender.connection.execute(
                line.before, contender.supply.community.day, timeout=600
            )
        try:
            answer = contender.process.run(line, calls)
        except CallFailedError as error:
            self._results.remarks[contender.name].append(f"is left out of “{line.name}”: {error}")
            self._entrants[line.name].remove(contender)
            self._results.measured.pop((line.name, contender.name), None)
            return None
        _check(line, contender.name, calls, answer["answers"])
        return answer


def _note(measured: Measured, line: Line, answer: dict[str, Any]) -> None:
    seconds, elapsed = answer["seconds"][line.uncounted :], answer["elapsed"]
    if line.race:
        measured.costs.append(elapsed)
        measured.seconds.append(elapsed)
        measured.winners.append(sum(each is not None for each in answer["answers"]))
        return
    measured.costs.append(median(seconds) if line.tasks == 1 else elapsed / len(seconds))
    measured.seconds += seconds


def _check(line: Line, client: str, calls: list[list[Any]], answers: list[Any]) -> None:
    """Stop the run at a wrong answer, because its time means nothing."""
    if line.right is None:
        return
    for call, answer in zip(calls, answers, strict=True):
        if not line.right(call, answer):
            raise SystemExit(f"{line.name}: {client} answered {_short(answer)} to {_short(call)}.")


def _compare(
    line: Line, known: tuple[str, list[list[Any]], list[Any]], client: str, answers: list[Any]
) -> None:
    other_client, calls, other_answers = known
    for call, answer, other in zip(calls, answers, other_answers, strict=True):
        if answer != other:
            raise SystemExit(
                f"{line.name}: {client} answered {_short(answer)} to {_short(call)},"
                f" {other_client} {_short(other)}."
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 400 else f"{text[:400]}…"
