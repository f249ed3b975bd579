"""Search for members by a part of a text and by conditions, in one of four orders.

Callers use it as `members.search`. In the order of reputation a page takes milliseconds, even among
a million members. In the other orders PostgreSQL reads every member who matches the text, so the
search takes longer the more members match.
"""

import re
from collections.abc import Callable, Iterator, Mapping
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

    @property
    def order_by(self) -> str:
        """The SQL that sorts members, where the key breaks ties."""
        return f"ORDER BY {self.expression} {self.direction}, id {self.direction}"


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

USERNAME_PATTERN = re.compile(r"[\w.-]+")
"""A text that can be the username of an account."""
ACTIVE_OR_ANY = (MemberStatus.ACTIVE, None)
IS_ACTIVE = f"status = '{MemberStatus.ACTIVE}'"
"""A condition in SQL, with a literal for the predicates of the indexes."""
WINDOW_SIZE = 1000
"""The number of members that are read in order before a sample decides how to continue."""
SAMPLE_SIZE = 1000
"""The approximate number of members in the sample."""
RARE_SHARE = 0.01
"""The share of the sample below which a condition is rare, and an index finds its members."""
COMMON_SHARE = 0.003
"""The share of the sample from which matches are so many that they are soon found in order."""

# The first members in the order contain a page of common matches, and an index finds the members
# who meet a rare condition; each way is slow where the other one is fast. The order can hide how
# common a condition is: the best members have no word that newcomers share. So a sample decides
# when the first members are not enough.
SEARCH = """
WITH first AS MATERIALIZED (
    -- the first members in the order
    SELECT id, status, primary_role, country, reputation_score, search_text
    FROM community_members WHERE {BOUNDS} {ORDER_BY} LIMIT {WINDOW_SIZE}
), matching_first AS MATERIALIZED (
    -- the members among them who meet all conditions
    SELECT id FROM first WHERE {FILTERS} AND {MATCHING} LIMIT {LIMIT}
), sample AS MATERIALIZED (
    -- the members in some pages of the table, and those among them who meet conditions
    SELECT count(*) AS members,
        count(*) FILTER (WHERE {TEXT}) AS with_text,
        count(*) FILTER (WHERE {FILTERS}) AS with_filters,
        count(*) FILTER (WHERE {TEXT} AND {FILTERS}) AS with_both
    FROM community_members TABLESAMPLE SYSTEM ((
        SELECT least(100, 100 * {SAMPLE_SIZE} / greatest(reltuples, 1)) FROM pg_class
        WHERE oid = 'public.community_members'::regclass
    )) REPEATABLE (0)
), decision AS MATERIALIZED (
    SELECT CASE {DECISION} END AS way
)
-- PostgreSQL reads only the part that the decision names.
SELECT * FROM ({WAYS}) AS found {ORDER_BY} LIMIT {LIMIT}
"""
DECISION = {
    # The first members fill the page, or there are no others.
    "first": "(SELECT count(*) FROM matching_first) = {LIMIT}"
    " OR (SELECT count(*) FROM first) < {WINDOW_SIZE}",
    "in_order": f"(SELECT with_both >= members * {COMMON_SHARE} FROM sample)",
    "by_text": f"(SELECT with_text < members * {RARE_SHARE} AND with_text <= with_filters"
    " FROM sample)",
    "by_filters": f"(SELECT with_filters < members * {RARE_SHARE} FROM sample)",
}
"""Ways to find the members, and the condition in SQL of each; the first true one counts."""


class _Equal(NamedTuple):
    """A condition that a column has a value, other than the status active."""

    column: str
    value: str
    """The SQL of the value, which PostgreSQL does not know when it plans the statement."""

    @property
    def sql(self) -> str:
        """The condition; a literal lets PostgreSQL use the index of the other statuses."""
        others = f" AND NOT {IS_ACTIVE}" if self.column == "status" else ""
        return f"{self.column} = {self.value}{others}"


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


async def _fetch_records(wanted: "Search") -> list[asyncpg.Record]:
    if wanted.text == "" or not wanted.scores:
        return []
    sql, parameters = wanted.statement(MEMBER_COLUMNS)
    return (await engine.fetch(sql, *parameters))[: wanted.limit]


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
    """The folded text, which is not empty; None finds everybody."""
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

    def statement(self, columns: str) -> tuple[str, Parameters]:
        """Return the SQL and its parameters; it can find more records than `limit`.

        The SQL contains every constant as a literal, because PostgreSQL can use a partial index
        only if it knows the value. A parameter is written as (SELECT $1): PostgreSQL does not know
        this value when it plans the statement, so one plan serves all values.
        """
        parameters = Parameters()
        equal = list(self._equal(parameters))
        bounds = " AND ".join(self._bounds(parameters, equal))
        filters = " AND ".join(self._filters(parameters, equal)) or "true"
        matches = list(self._matches(parameters)) or ["true"]
        matching = f"({' OR '.join(matches)})"
        source = f"SELECT {columns} FROM community_members"
        everybody = f"{source} WHERE {bounds} AND {filters} AND {matching}"
        order_by = SORT_ORDERS[self.sort].order_by
        limit = next(bucket for bucket in LIMIT_BUCKETS if bucket >= self.limit)
        if self._is_read_in_order():
            return f"{everybody} {order_by} LIMIT {limit}", parameters
        if self.is_bot:
            # OFFSET 0 prevents PostgreSQL from looking for the few bots among all members.
            sql = f"SELECT * FROM ({everybody} OFFSET 0) AS found {order_by} LIMIT {limit}"
            return sql, parameters

        by_id = f"{source} WHERE id = ANY(ARRAY({{}}))"
        ways = {}
        if self.sort != "active":
            ways["first"] = by_id.format("SELECT id FROM matching_first")
        if is_indexed(self.text or ""):
            # PostgreSQL uses another index for each match. OFFSET 0 prevents it from reading the
            # members in order.
            ways["by_text"] = " UNION ALL ".join(
                f"({source} WHERE {bounds} AND {filters} AND {match} OFFSET 0)" for match in matches
            )
        if filters not in ("true", IS_ACTIVE):
            # An index has the columns of the filters, and in the order of reputation of the bounds.
            in_index = f"{bounds} AND {filters}" if self.sort == "reputation" else filters
            # From a condition with = and an unknown value, PostgreSQL expects as many members as
            # have an average value, and reads the whole table; with BETWEEN it expects few.
            rare = "".join(
                f" AND {condition.column} BETWEEN {condition.value} AND {condition.value}"
                for condition in equal
            )
            ids = f"SELECT id FROM community_members WHERE deleted_at IS NULL AND {in_index}{rare}"
            ways["by_filters"] = f"{by_id.format(ids)} AND {bounds} AND {matching}"
        # PostgreSQL expects that a CASE is true for half of the members. So it reads them in the
        # order of an index until the page is full; if no index has the order, it sorts all.
        in_order = "in_order" if "first" in ways else "sorted"
        ways[in_order] = by_id.format(
            f"SELECT id FROM community_members WHERE {bounds}"
            f" AND CASE WHEN {filters} AND {matching} THEN true END {order_by} LIMIT {limit}"
        )
        sizes = {"LIMIT": limit, "WINDOW_SIZE": WINDOW_SIZE}
        decision = [
            f"WHEN {condition.format(**sizes)} THEN '{way}'"
            for way, condition in DECISION.items()
            if way in ways
        ]
        sql = SEARCH.format(
            BOUNDS=bounds,
            FILTERS=filters,
            MATCHING=matching,
            TEXT=matches[0],
            ORDER_BY=order_by,
            DECISION=" ".join([*decision, f"WHEN true THEN '{in_order}'"]),
            WAYS=" UNION ALL ".join(
                f"SELECT * FROM ({found}) AS {way} WHERE (SELECT way FROM decision) = '{way}'"
                for way, found in ways.items()
            ),
            SAMPLE_SIZE=SAMPLE_SIZE,
            **sizes,
        )
        return sql, parameters

    def _is_read_in_order(self) -> bool:
        """Return whether an index contains the members who meet the conditions in order."""
        if self.text is not None or self.is_bot or self.equal.get("status") not in ACTIVE_OR_ANY:
            return False
        role, country = self.equal.get("primary_role"), self.equal.get("country")
        if self.sort == "reputation" and role is not None and country is not None:
            return True
        is_any_score = self.scores == range(MAX_SCORE + 1) or self.sort == "reputation"
        return role is None and country is None and is_any_score

    def _equal(self, parameters: Parameters) -> Iterator["_Equal"]:
        for column, value in self.equal.items():
            if value is not None and (column, value) != ("status", MemberStatus.ACTIVE):
                yield _Equal(column, f"(SELECT {parameters.bind(value)}::text)")

    def _bounds(self, parameters: Parameters, equal: list["_Equal"]) -> Iterator[str]:
        """Yield the conditions that an index in the order contains."""
        yield "deleted_at IS NULL"
        yield "is_bot" if self.is_bot else "NOT is_bot"
        order = SORT_ORDERS[self.sort]
        if self.cursor is not None:
            value, row_id = map(parameters.bind, self.cursor)
            row = f"({order.cursor_sql.format(value)}, (SELECT {row_id}::uuid))"
            yield f"({order.expression}, id) {order.operator} {row}"
        if self.sort == "reputation":
            yield from self._score_limits(parameters)
            yield from (condition.sql for condition in equal if condition.column == "status")

    def _score_limits(self, parameters: Parameters) -> Iterator[str]:
        if self.scores.start > 0:
            yield f"reputation_score >= (SELECT {parameters.bind(self.scores.start)}::integer)"
        if self.scores.stop <= MAX_SCORE:
            yield f"reputation_score < (SELECT {parameters.bind(self.scores.stop)}::integer)"

    def _filters(self, parameters: Parameters, equal: list["_Equal"]) -> Iterator[str]:
        if self.sort != "reputation":
            yield from self._score_limits(parameters)
        if self.equal.get("status") == MemberStatus.ACTIVE:
            yield IS_ACTIVE
        yield from (condition.sql for condition in equal)

    def _matches(self, parameters: Parameters) -> Iterator[str]:
        """Yield the conditions of which one must be true if there is a text; no two are."""
        if self.text is None:
            return
        pattern = f"(SELECT {parameters.bind(contains_pattern(self.text))}::text)"
        yield f"search_text LIKE {pattern}"
        if self.username is not None and is_indexed(self.text):
            has_username = HAS_USERNAME.format(USERNAME=parameters.bind(self.username))
            yield f"{has_username} AND search_text NOT LIKE {pattern}"


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
