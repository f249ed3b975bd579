"""Write results as text for a terminal: signs and words, no colours."""

import textwrap
from collections.abc import Iterator, Sequence

from community_directory.doctor.model import Result, Verdict

MARKS = {
    Verdict.OK: ("✓", "ok"),
    Verdict.FIXED: ("✓", "fixed"),
    Verdict.NOT_CHECKED: ("–", "not checked"),
    Verdict.WARNING: ("!", "warning"),
    Verdict.FAILED: ("✗", "failed"),
}
"""The sign and the word of each verdict."""
LINE_WIDTH = 100
INDENT = " " * 17
"""The width of the columns of signs and words."""


def format_result(result: Result) -> str:
    """Return the lines of one result: its verdict, the first faults, and what to do."""
    return "\n".join(_lines(result))


def format_summary(results: Sequence[Result]) -> str:
    """Return one line with the number of checks of each verdict, the worst last."""
    counts = {
        word: sum(result.verdict is verdict for result in results)
        for verdict, (_, word) in MARKS.items()
    }
    parts = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    seconds = sum(result.milliseconds for result in results) / 1000
    return f"{len(results)} checks in {seconds:.1f} s: {parts}."


def _lines(result: Result) -> Iterator[str]:
    sign, word = MARKS[result.verdict]
    yield _wrap(result.message, first=f"  {sign} {word:13}", then=INDENT)
    for example in result.examples:
        # These are not wrapped, because some of them are statements to copy.
        yield f"{INDENT}- {example}"
    if (hidden := result.count - len(result.examples)) > 0 and result.examples:
        yield f"{INDENT}  and {hidden:,} more"
    if result.next_step is not None:
        yield _wrap(result.next_step, first=f"{INDENT}→ ", then=f"{INDENT}  ")


def _wrap(text: str, *, first: str, then: str) -> str:
    return textwrap.fill(
        text,
        LINE_WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
