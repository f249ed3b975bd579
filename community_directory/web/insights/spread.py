"""The contribution spread: how much of all contributions comes from how many people."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

BUCKETS = ((1, 4), (5, 19), (20, 99), (100, 499), (500, None))
"""The ranges of contributions by which people are counted; the last one has no end."""


class PeopleShare(NamedTuple):
    """The people who made a range of contributions, and their shares of all, from 0 to 1.

    Attributes:
        least: The fewest contributions of each of them.
        most: The most contributions of each of them; None if there is no limit.
        people: Their number.
        people_share: Their share of all who contributed.
        contributions: The contributions that they made together.
        share: Their share of all contributions.
    """

    least: int
    most: int | None
    people: int
    people_share: float
    contributions: int
    share: float


@dataclass(frozen=True)
class Spread:
    """How many people made how many contributions.

    Attributes:
        groups: Each number of contributions that somebody made, and the number of people who made
            as many, the largest number of contributions first. Nobody made none.
    """

    groups: Sequence[tuple[int, int]]

    @cached_property
    def people(self) -> int:
        """The number of people who contributed."""
        return sum(people for _, people in self.groups)

    @cached_property
    def contributions(self) -> int:
        """The number of all contributions."""
        return sum(number * people for number, people in self.groups)

    def share_of(self, least: int, most: int | None = None) -> PeopleShare:
        """Return the people who made `least` to `most` contributions."""
        groups = [
            (number, people)
            for number, people in self.groups
            if number >= least and (most is None or number <= most)
        ]
        people = sum(people for _, people in groups)
        contributions = sum(number * people for number, people in groups)
        return PeopleShare(
            least,
            most,
            people,
            people / (self.people or 1),
            contributions,
            contributions / (self.contributions or 1),
        )

    def buckets(self) -> list[PeopleShare]:
        """Return the people of each of the `BUCKETS`."""
        return [self.share_of(least, most) for least, most in BUCKETS]

    def top(self, tenths: int) -> PeopleShare:
        """Return the people with at least as many contributions as the last of the top tenths.

        The last of them has the rank of that many tenths of all people, rounded up. Whoever has as
        many contributions is one of them, so they can be more than these tenths.

        Raises:
            ValueError: Nobody contributed.
        """
        rank, seen = -(-self.people * tenths // 10), 0
        for number, people in self.groups:
            seen += people
            if seen >= rank:
                return self.share_of(number)
        raise ValueError("Nobody contributed.")

    def steps(self) -> list[PeopleShare]:
        """Return the people of one to ten top tenths; those of the same people appear once."""
        if not self.groups:
            return []
        found = {step.least: step for step in map(self.top, range(1, 11))}
        return list(found.values())

    def curve(self) -> list[float]:
        """Return the share of all contributions of each whole percent of people, from 0 to 100.

        The people are in the order of their contributions, the largest number first. Between people
        with the same number the curve is straight.
        """
        shares, done, made = [0.0], 0, 0
        groups = iter(self.groups)
        number, people = next(groups, (0, 0))
        for percent in range(1, 101):
            rank = self.people * percent / 100
            while done + people < rank:
                done, made = done + people, made + number * people
                number, people = next(groups)
            shares.append((made + number * (rank - done)) / (self.contributions or 1))
        return shares
