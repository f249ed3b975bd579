"""Observed calls: their durations are counted, and the observers are told how they end."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import iscoroutinefunction
from threading import Lock
from time import perf_counter
from typing import Any, ParamSpec, TypeVar

from community_directory.observers import OBSERVED_RESULTS, observers, outcome_of
from community_directory.tracing import tracers

P = ParamSpec("P")
R = TypeVar("R")
AsyncFunction = Callable[P, Coroutine[Any, Any, R]]

CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300)
"""The upper bounds, in seconds, of the durations of calls; roll-ups take the longest."""

MAX_UNCOUNTED = 1_000
"""The number of durations that are counted at once; this takes less than a millisecond."""


class CallDurations:
    """The durations of the calls of one helper that had the same outcome.

    A duration is appended to `uncounted`, and sorted into its bucket later. This adds 0.9 µs to a
    call; the histogram of prometheus-client, with its locks and labels, would add 3 to 4 µs. The
    shortest call takes 45 µs.

    Attributes:
        uncounted: The latest durations in seconds.
        counts: The number of calls in each bucket; the last one has no bound.
        seconds: The sum of the counted durations.
    """

    def __init__(self) -> None:
        self.uncounted: list[float] = []
        self.counts = [0] * (len(CALL_BUCKETS) + 1)
        self.seconds = 0.0
        self._lock = Lock()

    def add(self, seconds: float) -> None:
        """Add the duration of a call."""
        self.uncounted.append(seconds)
        if len(self.uncounted) >= MAX_UNCOUNTED:
            self.count()

    def count(self) -> None:
        """Count the latest durations; the metrics may be read in another thread."""
        with self._lock:
            ended = self.uncounted[:]
            del self.uncounted[: len(ended)]
            for seconds in ended:
                self.counts[bisect_left(CALL_BUCKETS, seconds)] += 1
                self.seconds += seconds


call_durations: defaultdict[tuple[str, str], CallDurations] = defaultdict(CallDurations)
"""The durations of the observed calls, by their name and their outcome."""


def observe_helpers(module: dict[str, Any]) -> None:
    """Let the observers know of each call of the helpers that callers import from a module.

    The helpers are the functions of `__all__`, or else those that the module defines. A module of
    helpers calls this in its last line, with its `globals()`. Its helpers keep their names, their
    signatures and their docstrings. A call inside the package that takes a helper from the module
    in which it lies, such as `lookup`, is not observed: it is a part of another call.
    """
    name = module["__name__"]
    exported = module.get("__all__")
    for helper, function in list(module.items()):
        if not iscoroutinefunction(function) or helper.startswith("_"):
            continue
        if helper in exported if exported is not None else function.__module__ == name:
            module[helper] = observed(f"{name.rpartition('.')[2]}.{helper}")(function)


def observed(name: str) -> Callable[[AsyncFunction[P, R]], AsyncFunction[P, R]]:
    """Return a decorator with which the observers know of each call under this name."""

    def decorate(function: AsyncFunction[P, R]) -> AsyncFunction[P, R]:
        durations = call_durations[name, "ok"]
        uncounted = durations.uncounted
        tells_result = name in OBSERVED_RESULTS

        @wraps(function)
        async def call(*arguments: P.args, **values: P.kwargs) -> R:
            if not observers and not tracers:
                return await function(*arguments, **values)
            began = perf_counter()
            try:
                if tracers:
                    with tracers[0].span(name):
                        result = await function(*arguments, **values)
                else:
                    result = await function(*arguments, **values)
            except BaseException as error:
                call_durations[name, outcome_of(error)].add(perf_counter() - began)
                for observer in observers:
                    observer.call_failed(name, error)
                raise
            # The lines of `durations.add`, whose call would take as long as they do.
            uncounted.append(perf_counter() - began)
            if len(uncounted) >= MAX_UNCOUNTED:
                durations.count()
            if tells_result:
                for observer in observers:
                    observer.call_returned(name, result)
            return result

        return call

    return decorate
