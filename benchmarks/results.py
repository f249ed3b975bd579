"""What was measured, and how two of them compare."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median, quantiles

Key = tuple[str, str]
"""A line's name and a client's."""


@dataclass
class Measured:
    """A line, by one client."""

    rows: int
    costs: list[float] = field(default_factory=list)
    """Of each round: the median of its calls' seconds; of several callers at a time the whole by the number of calls;
    of a race the whole."""
    seconds: list[float] = field(default_factory=list)
    """Of each call, as its caller waits; of a race the whole again."""
    winners: list[int] = field(default_factory=list)
    """Of each race."""

    @property
    def slow(self) -> float:
        """Ninety-five of a hundred calls take no longer."""
        return (
            quantiles(self.seconds, n=20, method="inclusive")[-1]
            if len(self.seconds) > 1
            else self.seconds[0]
        )


class Results:
    """All that was measured in one run."""

    def __init__(self) -> None:
        self.measured: dict[Key, Measured] = {}
        self.versions: dict[str, str] = {}
        self.remarks: dict[str, list[str]] = defaultdict(list)
        """Of a client: why it isn't there, or not everywhere."""

    def ratio(self, over: Key, under: Key) -> float:
        """One time over the other: the median of the rounds' ratios, because what slows a round slows both.

        Raises `KeyError` when one of them was not measured.
        """
        rounds = zip(self.measured[over].costs, self.measured[under].costs, strict=True)
        return median(one / other for one, other in rounds)

    def cost(self, line: str, client: str) -> float:
        """The seconds of a call, in the middle of the rounds. Raises `KeyError`."""
        return median(self.measured[line, client].costs)

    def winners(self, line: str, client: str) -> float:
        """The most winners of a race, unless one had none. Raises `KeyError`."""
        winners = self.measured[line, client].winners
        return max(winners) if min(winners) else 0
