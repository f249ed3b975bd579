"""Cohorts: people who joined together, and how many of them were active later.

A column is a month or a week after joining. It is over for somebody when its last day has passed:
nobody counts in a column that is not over.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum

from community_directory.calendar import add_months

CURVE_WIDTH, CURVE_HEIGHT = 1000, 400
"""The size of the box in which the curves are drawn."""


class Unit(StrEnum):
    """What a column is."""

    MONTH = "month"
    """The calendar month of joining, which is month 0, or one after it."""
    WEEK = "week"
    """Seven days; week 1 begins with the day of joining."""

    @property
    def columns(self) -> range:
        """The numbers of the columns."""
        return range(13) if self is Unit.MONTH else range(1, 13)

    def last_joining_day(self, number: int, today: date) -> date:
        """Return the last day of joining for which a column is over before `today`."""
        if self is Unit.WEEK:
            return today - timedelta(days=7 * number)
        return add_months(today, -number) - timedelta(days=1)


def count_months(first: date, last: date) -> int:
    """Return how many months the month of `last` comes after that of `first`."""
    return (last.year - first.year) * 12 + last.month - first.month


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of people in a column.

    Attributes:
        number: The number of the column.
        count: The members who were active in it, or those who were not.
        people: All people of the cohort for whom the column is over.
        is_partial: Whether the column is not over for others of the cohort.
    """

    number: int
    count: int
    people: int
    is_partial: bool

    @property
    def share(self) -> float:
        """The share of the members in all people, from 0 to 1."""
        return self.count / self.people


@dataclass(slots=True)
class Cohort:
    """People who joined together, counted by the last column that is over for them.

    Attributes:
        people: All of them, also those who are gone since.
        members: Those who are members now.
        active: The members who were active in a column that is over, by the column's number.
    """

    people: Counter[int] = field(default_factory=Counter)
    members: Counter[int] = field(default_factory=Counter)
    active: Counter[int] = field(default_factory=Counter)

    @property
    def gone(self) -> int:
        """The number of those who are no members any more."""
        return self.people.total() - self.members.total()

    def cell(self, number: int, *, lost: bool) -> Cell | None:
        """Return the cell of a column; None if it is over for nobody.

        Args:
            number: The number of the column.
            lost: Whether to count the members who were not active, instead of those who were.
        """
        people = sum(count for last, count in self.people.items() if last >= number)
        if not people:
            return None
        members = sum(count for last, count in self.members.items() if last >= number)
        active = self.active[number]
        count = members - active if lost else active
        return Cell(number, count, people, is_partial=people < self.people.total())

    def add(self, other: "Cohort") -> None:
        """Add the people of another cohort."""
        self.people += other.people
        self.members += other.members
        self.active += other.active

    def without(self, other: "Cohort") -> "Cohort":
        """Return the cohort without the people of another one, who are all in it."""
        return Cohort(
            self.people - other.people, self.members - other.members, self.active - other.active
        )


def add_up(cohorts: Iterable[Cohort]) -> Cohort:
    """Return the cohort of all people of some cohorts."""
    total = Cohort()
    for cohort in cohorts:
        total.add(cohort)
    return total


def draw_curve(cells: Sequence[Cell | None]) -> str:
    """Return the shares of some cells, from 0 at the bottom to 1, as the points of a polyline."""
    step = CURVE_WIDTH / (len(cells) - 1)
    points = [
        f"{place * step:.1f},{CURVE_HEIGHT * (1 - cell.share):.1f}"
        for place, cell in enumerate(cells)
        if cell is not None
    ]
    # A single point is a line without length, which has round ends.
    return " ".join(points * 2 if len(points) == 1 else points)
