"""How members are searched: by a part of a text, conditions and an order. Callers use it as `members.search`.

By the best reputation a page is there in milliseconds, among a million members too. In the other orders all who match a
text are looked at, so a common word takes longer the more have it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.pages import LONGEST_PAGE, parse_int, parse_text, parse_timestamp
from community_directory.queries.reputation import MAX_SCORE, scores_of
from community_directory.tables import MemberStatus, ReputationTier

Sort = Literal["reputation", "newest", "active", "name"]

# Escaped after it was simplified, because that makes a plain % of a full-width one. A text of which
# nothing is left, such as a lone accent, is NULL: like nobody's.
PATTERN = r"'%' || regexp_replace(nullif(btrim(directory_search_text({})), ''), '([\\%_])', '\\\1', 'g') || '%'"

LIMIT_BUCKETS = (11, 21, 51, LONGEST_PAGE + 1)


class _Order(NamedTuple):
    """The order of a list, and how what comes after a row is found; {} stands for the value."""

    expression: str
    direction: str
    follows: str
    place: str
    kind: Callable[[Any], object]


def _score(value: object) -> int:
    """A kind of value in a cursor: a reputation score."""
    score = parse_int(value)
    if not 0 <= score <= MAX_SCORE:
        raise ValueError
    return score


ORDERS: dict[Sort, _Order] = {
    "reputation": _Order("reputation_score", "DESC", "<", "(SELECT {}::integer)", _score),
    "newest": _Order("created_at", "DESC", "<", "(SELECT {}::timestamptz)", parse_timestamp),
    "active": _Order(
        "coalesce(last_active_at, 'epoch')",
        "DESC",
        "<",
        "(SELECT {}::timestamptz)",
        parse_timestamp,
    ),
    # as in a telephone book, whatever the database's locale: Álvaro beside alba, not behind Zoe
    "name": _Order(
        "directory_search_text(name)",
        "ASC",
        ">",
        "directory_search_text((SELECT {}::text))",
        parse_text,
    ),
}

# The scores that have a text index of their own, best first, and what the index says of them: among all members a word
# that only those of a low score share would have to be looked up for each of them, to find the best.
RANGES = {
    range(1001, MAX_SCORE + 1): "reputation_score > 1000",
    range(101, 1001): "reputation_score BETWEEN 101 AND 1000",
    range(1, 101): "reputation_score BETWEEN 1 AND 100",
    range(
        1
    ): "reputation_score <= 0",  # with = it would be walked by another index, the primary key's
}
ANY_RANGE = f"({' OR '.join(RANGES.values())})"
"""Everybody, said so that the text indexes are used."""
WINDOW = 1000
"""How many of a range are read one after the other before its index is asked, which finds all who match a text."""

# Of a common text the page is found among the first members of a range, of a rare one by the index: each way is slow
# where the other is fast. How common a text is shows in the window only, so both ways are in one statement.
RANGE = """
WITH best AS MATERIALIZED (
    SELECT id, status, primary_role, country, deleted_at, search_text FROM community_members
    WHERE {BOUNDS} ORDER BY reputation_score DESC, id DESC LIMIT {WINDOW}
), near AS MATERIALIZED (
    SELECT id FROM best WHERE {CONDITIONS} LIMIT {WANTED}
), seen AS MATERIALIZED (
    SELECT (SELECT count(*) FROM near) = {WANTED} OR (SELECT count(*) FROM best) < {WINDOW} AS enough
)
SELECT * FROM (
    SELECT {COLUMNS} FROM community_members WHERE id = ANY(ARRAY(SELECT id FROM near)) AND (SELECT enough FROM seen)
    UNION ALL
    SELECT * FROM (
        -- OFFSET 0 keeps PostgreSQL from walking the range again
        SELECT {COLUMNS} FROM community_members WHERE {BOUNDS} AND {CONDITIONS} OFFSET 0
    ) AS matching WHERE NOT (SELECT enough FROM seen)
) AS found ORDER BY reputation_score DESC, id DESC LIMIT {WANTED}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched for, and after which place in the order: what `members.search` was asked."""

    text: str | None
    equal: Mapping[str, str | None]
    """Columns, and the values that they have; None stands for any."""
    scores: range
    sort: Sort
    place: list[Any] | None
    wanted: int

    def statements(self, columns: str) -> Iterator[tuple[str, list[object]]]:
        """SQL and arguments, to be sent one after the other until there are as many records as wanted.

        What is no value is written into the SQL: only so PostgreSQL knows that an index serves, and plans once.
        """
        # Of a few sizes, because each is a statement of its own to PostgreSQL.
        wanted = next(size for size in LIMIT_BUCKETS if size >= self.wanted)
        arguments = _Arguments()
        bounds = list(self._bounds(arguments))
        conditions = list(self._conditions(arguments))
        order = ORDERS[self.sort]
        indexed = is_indexed(self.text or "")
        if indexed and self.sort == "reputation":
            for condition in self._ranges():
                yield (
                    RANGE.format(
                        COLUMNS=columns,
                        BOUNDS=" AND ".join([condition, *bounds]),
                        CONDITIONS=" AND ".join(conditions),
                        WINDOW=WINDOW,
                        WANTED=wanted,
                    ),
                    arguments,
                )
            return
        where = " AND ".join(conditions + bounds)
        ordered = (
            f"ORDER BY {order.expression} {order.direction}, id {order.direction} LIMIT {wanted}"
        )
        table = "community_members"
        if indexed:
            # OFFSET 0 keeps PostgreSQL from reading everybody in order instead: it doesn't know what that costs.
            table, where = (
                f"(SELECT * FROM {table} WHERE {where} AND {ANY_RANGE} OFFSET 0) AS found",
                "true",
            )
        elif self.text and self.sort == "reputation":
            # Of two letters nobody's table row need be read to see that they don't match: the index has it all.
            where = f"id = ANY(ARRAY(SELECT id FROM {table} WHERE {where} {ordered}))"
        yield f"SELECT {columns} FROM {table} WHERE {where} {ordered}", arguments

    def _bounds(self, arguments: "_Arguments") -> Iterator[str]:
        order = ORDERS[self.sort]
        if self.scores.start > 0:
            yield arguments.placed("reputation_score >= (SELECT {}::integer)", self.scores.start)
        if self.scores.stop <= MAX_SCORE:
            yield arguments.placed("reputation_score < (SELECT {}::integer)", self.scores.stop)
        if self.place is not None:
            yield arguments.placed(
                f"({order.expression}, id) {order.follows} ({order.place}, (SELECT {{}}::uuid))",
                *self.place,
            )

    def _conditions(self, arguments: "_Arguments") -> Iterator[str]:
        yield "deleted_at IS NULL"
        for column, value in self.equal.items():
            if column == "status" and value == MemberStatus.ACTIVE:
                yield f"status = '{MemberStatus.ACTIVE}'"  # as the directory's index says it
            elif value is not None:
                yield arguments.placed(f"{column} = (SELECT {{}}::text)", value)
        if self.text is not None and self.text.strip():
            yield arguments.placed(f"search_text LIKE (SELECT {PATTERN})", self.text.strip())

    def _ranges(self) -> Iterator[str]:
        """The ranges in which those who are searched for can be."""
        stop = self.scores.stop if self.place is None else min(self.scores.stop, self.place[0] + 1)
        for scores, condition in RANGES.items():
            if scores.start < stop and self.scores.start < scores.stop:
                yield condition


class _Arguments(list[object]):
    """The arguments of a statement."""

    def placed(self, condition: str, *values: object) -> str:
        """The condition with a number for each of its values.

        Written as (SELECT …), a value is nothing that PostgreSQL could look at: it plans a statement once for all
        values, not anew for each.
        """
        first = len(self) + 1
        self.extend(values)
        return condition.format(*(f"${number}" for number in range(first, first + len(values))))


def is_indexed(text: str) -> bool:
    """Whether a text index finds the few that match: of three letters or more in a row it does."""
    return re.search(r"[^\W_]{3}", text) is not None


def scores_between(least: int | None, most: int | None, tier: str | None) -> range:
    """The scores from `least` to `most` that are of the tier; None stands for no limit. Raises `InvalidInput`."""
    for field, score in (("min_reputation", least), ("max_reputation", most)):
        if score is not None and (type(score) is not int or abs(score) > MAX_SCORE):
            raise InvalidInput("There is no such score.", field=field)
    if tier is not None and tier not in list(ReputationTier):
        raise InvalidInput(f"There is no tier {sanitize_for_message(tier)}.", field="tier")
    scores = range(MAX_SCORE + 1) if tier is None else scores_of(ReputationTier(tier))
    return range(
        scores.start if least is None else max(scores.start, least),
        scores.stop if most is None else min(scores.stop, most + 1),
    )
