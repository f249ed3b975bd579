"""The model of a check, its faults, its result and the report of all checks."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from community_directory.database import Statement


class Verdict(StrEnum):
    """The verdict of a check, and of a report: that of its worst check."""

    OK = "ok"
    FIXED = "fixed"
    NOT_CHECKED = "not_checked"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: a text without personal data, such as a member's number or an index's name."""

    text: str
    verdict: Verdict | None = None
    """The verdict, if it is another one than that of the check."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of the rows that a check reads.

    Attributes:
        sample: The number of rows that a check of many rows reads; None means all of them.
    """

    sample: int | None

    @property
    def is_full(self) -> bool:
        """Whether all rows are read."""
        return self.sample is None


Find = Callable[[Scope], Awaitable[Sequence[Finding]]]
Fix = Callable[[Scope], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One invariant, how its faults are found, and what to do about them.

    Attributes:
        id: A stable name, for programs.
        title: The invariant as a sentence without its full stop.
        problem: The name of the faults, in the plural; their number follows it.
        next_step: The sentence that tells an operator what to do about them.
        find: A statement that returns one fault a row, in the column `finding`, or a function that
            returns the faults. A column `verdict` replaces the check's verdict. The parameter
            `:sample` is the number of rows to read, NULL for all.
        values: The other parameters of the statement.
        verdict: The verdict if there is a fault.
        needs: The predefined role of PostgreSQL without which the check sees too little.
        fix: Repairs the faults; only for repairs that can do no harm.
    """

    id: str
    title: str
    problem: str
    next_step: str
    find: Statement | Find
    values: Mapping[str, object] = field(default_factory=dict)
    verdict: Verdict = Verdict.FAILED
    needs: str | None = None
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a check.

    Attributes:
        id: The stable name of the check.
        group: The name of the check's group.
        count: The number of faults; counting stops above `MAX_COUNT`.
        message: A sentence for a person.
        next_step: The sentence that says what to do; None if there is nothing to do.
        examples: The first faults.
        milliseconds: The time that the check took.
    """

    id: str
    group: str
    verdict: Verdict
    count: int
    message: str
    next_step: str | None
    examples: list[str]
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Report:
    """The results of all checks of one run.

    Attributes:
        checked_at: The time of the run, by the database's clock.
        checked_by: The login of the database, or "nightly job".
        is_full: Whether all rows were read.
    """

    checked_at: datetime
    checked_by: str
    is_full: bool
    verdict: Verdict
    results: list[Result]

    def count(self, verdict: Verdict) -> int:
        """Return the number of checks with this verdict."""
        return sum(result.verdict is verdict for result in self.results)
