"""Search for members by a part of a text and by conditions, in one of four orders.

Callers use it as `members.search`. In the order of reputation a page takes milliseconds, even among
a million members. In the other orders PostgreSQL reads every member who matches the text, so the
search takes longer the more members match.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import asyncpg

from community_directory.database import Parameters, engine
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.folding import contains_pattern, fold_needle
from community_directory.queries.identifiers import clean_identifier
from community_directory.queries.member_rows import MEMBER_COLUMNS, Member, member_from
from community_directory.queries.pages import (
    MAX_PAGE_SIZE,
    Page,
    checked_limit,
    decode_cursor,
    make_page,
    parse_int,
    parse_text,
    parse_timestamp,
    parse_uuid,
)
from community_directory.queries.reputation import MAX_SCORE, scores_of
from community_directory.queries.values import check_text, check_texts, parse_choice
from community_directory.tables import CommunityMember, MemberStatus, ReputationTier

Sort = Literal["reputation", "newest", "active", "name"]

MAX_SEARCH_LENGTH = 200
SEARCH_TEXT_LENGTH = 350
"""The length at which the column `search_text` is cut."""
NEVER_ACTIVE = "1970-01-01T00:00:00+00:00"
"""The time in the cursor for a member without `last_active_at`: PostgreSQL's 'epoch'."""

LIMIT_BUCKETS = (11, 21, 51, MAX_PAGE_SIZE + 1)
"""The values of LIMIT: only a few, because each of them makes another prepared statement."""


class _SortOrder(NamedTuple):
    """An order of members, and the SQL that finds the rows after a cursor.

    `{}` in `cursor_sql` is replaced by the placeholder of the cursor's value.
    """

    expression: str
    direction: str
    operator: str
    cursor_sql: str
    parse: Callable[[object], object]
    """The parser of the cursor field."""


def _parse_score(value: object) -> int:
    """Parse the field of a cursor that is a reputation score."""
    score = parse_int(value)
    if not 0 <= score <= MAX_SCORE:
        raise ValueError
    return score


SORT_ORDERS: dict[Sort, _SortOrder] = {
    "reputation": _SortOrder("reputation_score", "DESC", "<", "(SELECT {}::integer)", _parse_score),
    "newest": _SortOrder("created_at", "DESC", "<", "(SELECT {}::timestamptz)", parse_timestamp),
    "active": _SortOrder(
        "coalesce(last_active_at, 'epoch')",
        "DESC",
        "<",
        "(SELECT {}::timestamptz)",
        parse_timestamp,
    ),
    # The order does not depend on case, accents or the database's locale: Álvaro is next to alba.
    "name": _SortOrder(
        "directory_search_text(name)",
        "ASC",
        ">",
        "directory_search_text((SELECT {}::text))",
        parse_text,
    ),
}

SCORE_RANGES = {
    range(1001, MAX_SCORE + 1): "reputation_score > 1000",
    range(101, 1001): "reputation_score BETWEEN 101 AND 1000",
    range(1, 101): "reputation_score BETWEEN 1 AND 100",
    # PostgreSQL would choose another index, the primary key's, for a condition with =.
    range(1): "reputation_score <= 0",
}
"""The scores that have a text index of their own, best first, and the predicate of each index.

One index for all members would be slow for a word that only members of a low score have: PostgreSQL
would look up each of them to find the best.
"""
ANY_RANGE = f"({' OR '.join(SCORE_RANGES.values())})"
"""A condition in SQL that is true for every member, and lets PostgreSQL use the text indexes."""
USERNAME_PATTERN = re.compile(r"[\w.-]+")
"""A text that can be the username of an account."""
WINDOW_SIZE = 1000
"""The number of members of a range that are read in order before its text index is used."""

# The first members of a range contain a page of a common text, and the index finds a rare text;
# each method is slow where the other one is fast. Only the first members show how common the text
# is, so both methods are in one statement.
SEARCH_SCORE_RANGE = """
WITH best AS MATERIALIZED (
    -- the best members of the range
    SELECT id, status, primary_role, country, deleted_at, is_bot, search_text
    FROM community_members
    WHERE {BOUNDS} ORDER BY reputation_score DESC, id DESC LIMIT {WINDOW_SIZE}
), matching_best AS MATERIALIZED (
    -- the members among them who meet all conditions
    SELECT id FROM best WHERE {CONDITIONS} LIMIT {LIMIT}
), decision AS MATERIALIZED (
    -- whether they are enough: they fill the page, or the range has no more members
    SELECT (SELECT count(*) FROM matching_best) = {LIMIT}
        OR (SELECT count(*) FROM best) < {WINDOW_SIZE} AS best_are_enough
)
SELECT * FROM (
    SELECT {COLUMNS} FROM community_members
    WHERE id = ANY(ARRAY(SELECT id FROM matching_best)) AND (SELECT best_are_enough FROM decision)
    UNION ALL
    SELECT * FROM ({MATCHING}) AS matching WHERE NOT (SELECT best_are_enough FROM decision)
) AS found ORDER BY reputation_score DESC, id DESC LIMIT {LIMIT}
"""

# The username of an account on Discord, or of a second one on Telegram, is not in search_text. The
# key of the member, unlike the number, is in the index of the best members. With arrays instead of
# a join PostgreSQL expects a few members, and does not read the whole table.
HAS_USERNAME = """id = ANY(ARRAY(
    SELECT id FROM community_members WHERE member_id = ANY(ARRAY(
        SELECT member_id FROM member_accounts
        WHERE lower(username) = lower((SELECT {USERNAME}::text))
    ))
))"""
"""A condition in SQL: the member has an account with this username."""


async def search(
    text: str | None = None,
    *,
    role: str | None = None,
    country: str | None = None,
    status: MemberStatus | str | None = MemberStatus.ACTIVE,
    min_reputation: int | None = None,
    max_reputation: int | None = None,
    tier: ReputationTier | str | None = None,
    is_bot: bool = False,
    sort: Sort = "reputation",
    after: str | None = None,
    limit: int = 20,
) -> Page[Member]:
    r"""Find the members who meet all conditions. Removed members are never found.

    The result is one page; its `next_cursor`, passed as `after`, continues it.

    Args:
        text: A part of a name, a Telegram or GitHub username, or an organization, or the whole
            username of any other account, such as one on Discord, of at least 3 characters. The
            text has at most 200 characters. Case, accents, and the kind of an apostrophe, a dash or
            a space do not matter, nor does an @ before a username; `%`, `_` and `\` are ordinary
            characters. Only the first 350 characters of a member's four texts together are searched
            for a part. A text of accents or invisible characters alone finds nobody.
        role: The exact `primary_role`.
        country: The exact country.
        status: The status, by default active; None finds members of every status.
        min_reputation: The lowest reputation score.
        max_reputation: The highest reputation score.
        tier: A reputation tier such as "Contributor".
        is_bot: Whether to find bots, and nobody else. By default they are not found.
        sort: "reputation" (best first), "newest" (added last first), "active" (active last first)
            or "name" (alphabetical).
        after: The `next_cursor` of the page before, which must have the same order.
        limit: The number of members on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this order.
        InvalidInput: A value is too long, or there is no such status, tier, score, order or limit.
    """
    if sort not in list(SORT_ORDERS):  # a list, because an unhashable value must be refused too
        raise InvalidInput(f"There is no order {sanitize_for_message(sort)}.", field="sort")
    check_text("text", text, MAX_SEARCH_LENGTH)
    check_text("role", role, CommunityMember.primary_role.length)
    check_texts(CommunityMember, country=country)
    wanted = Search(
        text=fold_needle(text) if text and text.strip() else None,
        username=None if text is None else _parse_username(text),
        equal={
            "primary_role": role,
            "country": country,
            "status": None if status is None else parse_choice(MemberStatus, status, "status"),
        },
        scores=scores_between(min_reputation, max_reputation, tier),
        is_bot=is_bot,
        sort=sort,
        cursor=(
            None
            if after is None
            else decode_cursor(after, sort, SORT_ORDERS[sort].parse, parse_uuid)
        ),
        limit=checked_limit(limit) + 1,
    )
    found = [member_from(record) for record in await _fetch_records(wanted)]
    return make_page(found, limit, sort, lambda member: _cursor_values(member, sort))


async def leaderboard(
    *,
    status: MemberStatus | str | None = MemberStatus.ACTIVE,
    after: str | None = None,
    limit: int = 20,
) -> Page[Member]:
    """List the members with the best reputation, best first. Bots are left out.

    Args:
        status: The status, by default active; None lists members of every status.
        after: The `next_cursor` of the page before.
        limit: The number of members on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: There is no such status, or the limit is not 1 to 100.
    """
    return await search(status=status, after=after, limit=limit)


def _parse_username(text: str) -> str | None:
    """Return the username that the text can be, or None if it can be none."""
    username = clean_identifier(text).removeprefix("@")
    return username if USERNAME_PATTERN.fullmatch(username) else None


def _union(columns: str, conditions: Sequence[str], matches: Sequence[str]) -> str:
    """Return the SQL of all members who meet the conditions, and match in one of several ways.

    PostgreSQL uses another index for each way. OFFSET 0 prevents it from reading the members in
    order, whose cost it underestimates.
    """
    return " UNION ALL ".join(
        f"(SELECT {columns} FROM community_members"
        f" WHERE {' AND '.join([*conditions, match])} OFFSET 0)"
        for match in matches
    )


async def _fetch_records(wanted: "Search") -> list[asyncpg.Record]:
    records: list[asyncpg.Record] = []
    for sql, parameters in wanted.statements(MEMBER_COLUMNS):
        # A member whose score changes between two statements can be in the results of both.
        found_before = {record["id"] for record in records}
        records += [
            record
            for record in await engine.read(sql, *parameters)
            if record["id"] not in found_before
        ]
        if len(records) >= wanted.limit:
            break
    return records[: wanted.limit]


def _cursor_values(member: Member, sort: Sort) -> tuple[str | int, ...]:
    values: dict[Sort, str | int] = {
        "reputation": member.reputation_score,
        "newest": member.created_at.isoformat(),
        "active": member.last_active_at.isoformat() if member.last_active_at else NEVER_ACTIVE,
        "name": member.name,
    }
    return values[sort], str(member.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The checked arguments of `search`."""

    text: str | None
    """The folded text; an empty one finds nobody, and None finds everybody."""
    username: str | None = None
    """The text as a username; None if it can be none."""
    equal: Mapping[str, str | None]
    """Columns and the values that they must have; None means any value."""
    scores: range
    is_bot: bool = False
    sort: Sort
    cursor: list[Any] | None
    """The values of the row after which the page begins; None for the first page."""
    limit: int
    """The number of records to find."""

    def statements(self, columns: str) -> Iterator[tuple[str, Parameters]]:
        """Yield SQL and its parameters, to be run in turn until there are `limit` records.

        The SQL contains every constant as a literal, because PostgreSQL can use a partial index
        only if it knows the value. A parameter is written as (SELECT $1): PostgreSQL does not know
        this value when it plans the statement, so one plan serves all values.
        """
        limit = next(bucket for bucket in LIMIT_BUCKETS if bucket >= self.limit)
        parameters = Parameters()
        bounds = list(self._bounds(parameters))
        conditions = list(self._conditions(parameters))
        matches = list(self._matches(parameters))
        if self._uses_text_index() and self.sort == "reputation":
            for score_range in self._score_ranges():
                in_range = " AND ".join([score_range, *bounds])
                sql = SEARCH_SCORE_RANGE.format(
                    COLUMNS=columns,
                    BOUNDS=in_range,
                    MATCHING=_union(columns, [in_range, *conditions], matches),
                    CONDITIONS=" AND ".join([*conditions, f"({' OR '.join(matches)})"]),
                    WINDOW_SIZE=WINDOW_SIZE,
                    LIMIT=limit,
                )
                yield sql, parameters
        else:
            where = " AND ".join(conditions + bounds)
            yield self._statement(columns, where, matches, limit), parameters

    def _statement(self, columns: str, where: str, matches: list[str], limit: int) -> str:
        """Return the statement that reads all members in the order of the search."""
        order = SORT_ORDERS[self.sort]
        ordered = (
            f"ORDER BY {order.expression} {order.direction}, id {order.direction} LIMIT {limit}"
        )
        source = "community_members"
        if self._uses_text_index():
            found = _union("*", [where, ANY_RANGE], matches)
            return f"SELECT {columns} FROM ({found}) AS found {ordered}"
        where = " AND ".join([where, *matches])
        if self.text and self.sort == "reputation":
            # The index contains all columns of the conditions, so that for a text of two letters
            # PostgreSQL reads the table rows of the matching members only.
            where = f"id = ANY(ARRAY(SELECT id FROM {source} WHERE {where} {ordered}))"
        return f"SELECT {columns} FROM {source} WHERE {where} {ordered}"

    def _uses_text_index(self) -> bool:
        return is_indexed(self.text or "")

    def _bounds(self, parameters: Parameters) -> Iterator[str]:
        order = SORT_ORDERS[self.sort]
        if self.scores.start > 0:
            yield f"reputation_score >= (SELECT {parameters.bind(self.scores.start)}::integer)"
        if self.scores.stop <= MAX_SCORE:
            yield f"reputation_score < (SELECT {parameters.bind(self.scores.stop)}::integer)"
        if self.cursor is not None:
            value, row_id = map(parameters.bind, self.cursor)
            row = f"({order.cursor_sql.format(value)}, (SELECT {row_id}::uuid))"
            yield f"({order.expression}, id) {order.operator} {row}"

    def _conditions(self, parameters: Parameters) -> Iterator[str]:
        yield "deleted_at IS NULL"
        yield "is_bot" if self.is_bot else "NOT is_bot"
        for column, value in self.equal.items():
            if column == "status" and value == MemberStatus.ACTIVE:
                # A literal, as in the predicate of member_directory_idx.
                yield f"status = '{MemberStatus.ACTIVE}'"
            elif value is not None:
                yield f"{column} = (SELECT {parameters.bind(value)}::text)"

    def _matches(self, parameters: Parameters) -> Iterator[str]:
        """Yield the conditions of which one must be true if there is a text; no two are."""
        if self.text is None:
            return
        pattern = f"(SELECT {parameters.bind(contains_pattern(self.text))}::text)"
        yield f"search_text LIKE {pattern}"
        if self.username is not None and self._uses_text_index():
            has_username = HAS_USERNAME.format(USERNAME=parameters.bind(self.username))
            yield f"{has_username} AND search_text NOT LIKE {pattern}"

    def _score_ranges(self) -> Iterator[str]:
        """Yield the predicates of the ranges that can contain a member of the result."""
        stop = self.scores.stop
        if self.cursor is not None:
            stop = min(stop, self.cursor[0] + 1)
        for scores, predicate in SCORE_RANGES.items():
            if scores.start < stop and self.scores.start < scores.stop:
                yield predicate


def is_indexed(text: str) -> bool:
    """Return whether a text index can find a folded text: three letters or digits in a row."""
    return re.search(r"[^\W_]{3}", text) is not None


def scores_between(least: int | None, most: int | None, tier: ReputationTier | str | None) -> range:
    """Return the scores from `least` to `most` that belong to the tier; None means no limit.

    Raises:
        InvalidInput: There is no such score or tier.
    """
    for field, score in (("min_reputation", least), ("max_reputation", most)):
        if score is not None and (type(score) is not int or abs(score) > MAX_SCORE):
            raise InvalidInput("There is no such score.", field=field)
    scores = range(MAX_SCORE + 1)
    if tier is not None:
        scores = scores_of(parse_choice(ReputationTier, tier, "tier"))
    return range(
        scores.start if least is None else max(scores.start, least),
        scores.stop if most is None else min(scores.stop, most + 1),
    )
