"""The measured times, and their ratios."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median, quantiles

Key = tuple[str, str]
"""The names of a line and of a client."""


@dataclass
class Measured:
    """The figures of one line with one client."""

    rows: int
    costs: list[float] = field(default_factory=list)
    """The seconds of a call in each round.

    With one caller it is the median of the round's calls; with several, the time of the round
    divided by its calls; in a race, the time of the round.
    """
    seconds: list[float] = field(default_factory=list)
    """The seconds that the caller of each call waits; in a race, those of each round."""
    winners: list[int] = field(default_factory=list)
    """The number of winners of each race."""

    @property
    def slow(self) -> float:
        """Return the 95th percentile of the calls' seconds."""
        return (
            quantiles(self.seconds, n=20, method="inclusive")[-1]
            if len(self.seconds) > 1
            else self.seconds[0]
        )


class Results:
    """All figures of one run."""

    def __init__(self) -> None:
        self.measured: dict[Key, Measured] = {}
        self.versions: dict[str, str] = {}
        self.remarks: dict[str, list[str]] = defaultdict(list)
        """The reasons why a client is left out of the run, or of some lines."""

    def ratio(self, over: Key, under: Key) -> float:
        """Return the median of the rounds' ratios: a disturbance slows both sides of a round.

        Raises:
            KeyError: One of them was not measured.
        """
        rounds = zip(self.measured[over].costs, self.measured[under].costs, strict=True)
        return median(one / other for one, other in rounds)

    def cost(self, line: str, client: str) -> float:
        """Return the median of the rounds' seconds.

        Raises:
            KeyError: It was not measured.
        """
        return median(self.measured[line, client].costs)

    def winners(self, line: str, client: str) -> float:
        """Return the most winners of a race, or 0 if one race had none.

        Raises:
            KeyError: It was not measured.
        """
        winners = self.measured[line, client].winners
        return max(winners) if min(winners) else 0
