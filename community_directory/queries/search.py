"""Search for members by a part of a text and by conditions, in one of four orders.

Callers use it as `members.search`. Among a million members a page takes less than 100 ms. Searches
that have to read every member take longer: by activity, if neither the text nor a filter is rare,
and for common conditions that members meet only near the end of the order, or hardly anybody meets
together.
"""

import re
from collections.abc import Callable, Container, Iterator, Mapping
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
IS_ACTIVE = f"status = '{MemberStatus.ACTIVE}'"
"""A condition in SQL, with a literal for the predicates of the indexes."""
WINDOW_SIZE = 2000
"""The number of members that are read in order before a sample decides how to continue."""
SAMPLE_SIZE = 1000
"""The approximate number of members in the sample."""
SMALL_TABLE = 20_000
"""The most members of a table of which every part is read faster than a sample."""

# Microseconds for each member who is read, as measured among a million members. The figure of
# in_order is three times the measured one, because the matches may be far from the beginning.
COSTS = {"by_text": 5, "by_filters": 8, "in_order": 0.6, "sorted": 0.4}

# The first members in the order, if they contain a page. An index has the text, too, so that
# PostgreSQL reads the table for the matching members only.
SEARCH_FIRST = """
SELECT * FROM (
    {SOURCE} WHERE {BOUNDS} {ORDER_BY} LIMIT {WINDOW_SIZE}
) AS first WHERE {FILTERS} LIMIT {LIMIT}
"""
SEARCH_FIRST_TEXT = """
{SOURCE} WHERE id = ANY(ARRAY(
    SELECT id FROM (
        SELECT id, status, primary_role, country, reputation_score, search_text
        FROM community_members WHERE {BOUNDS} {ORDER_BY} LIMIT {WINDOW_SIZE}
    ) AS first WHERE {FILTERS} AND {MATCHING} LIMIT {LIMIT}
)) {ORDER_BY} LIMIT {LIMIT}
"""
# An order contains a page of common matches near its beginning, and an index finds the members who
# meet a rare condition; each way is slow where the other one is fast. A sample of the table tells
# how common the conditions are, which the first members in the order do not: the best members have
# no word that newcomers share.
SEARCH = """
WITH estimate AS MATERIALIZED (
    SELECT greatest(reltuples, 1) AS members FROM pg_class
    WHERE oid = 'public.community_members'::regclass
), sample AS MATERIALIZED (
    -- the members in some pages of the table, and those among them who meet conditions
    SELECT greatest(count(*), 1) AS size,
        count(*) FILTER (WHERE {TEXT}) AS with_text,
        count(*) FILTER (WHERE {FILTERS}) AS with_filters,
        count(*) FILTER (WHERE {TEXT} AND {FILTERS}) AS with_both
    FROM community_members TABLESAMPLE SYSTEM ((
        SELECT least(100, 100 * {SAMPLE_SIZE} / members) FROM estimate
    )) REPEATABLE (0)
), cost AS MATERIALIZED (
    -- the cost of each way, from the number of members that it reads
    SELECT with_text * members / size * {by_text} AS by_text,
        with_filters * members / size * {by_filters} AS by_filters,
        {IN_ORDER} AS in_order
    FROM sample, estimate
), decision AS MATERIALIZED (
    SELECT CASE {DECISION} ELSE 'in_order' END AS way
    -- PostgreSQL starts no workers for current_schema(), whose value does not matter: to start them
    -- takes 10 ms, and to find a rare word 0.4 ms (100,000 members, two cores).
    WHERE coalesce(current_schema(), '') IS NOT NULL
)
-- PostgreSQL reads only the part that the decision names.
SELECT * FROM ({WAYS}) AS found {ORDER_BY} LIMIT {LIMIT}
"""
IN_ORDER = """least(members, {LIMIT} * size
            / greatest(with_both, with_text::float8 * with_filters / size, 1e-6)) * {in_order}"""
SORTED = "members * {sorted}"
"""The costs of reading members in order until the page is full, and of sorting all."""
IS_SMALL = "(SELECT members <= {SMALL_TABLE} FROM estimate)"
"""A condition in SQL: every part of the table is read faster than a sample."""


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
    records: list[asyncpg.Record] = []
    if wanted.text != "" and wanted.scores:
        for sql, parameters in wanted.statements(MEMBER_COLUMNS):
            records = await engine.read(sql, *parameters)
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

    def statements(self, columns: str) -> Iterator[tuple[str, Parameters]]:
        """Yield SQL and its parameters, to be run in turn until one finds `limit` records.

        The last one finds all records of the page. The SQL contains every constant as a literal,
        because PostgreSQL can use a partial index only if it knows the value. A parameter is
        written as (SELECT $1): PostgreSQL does not know this value when it plans the statement, so
        one plan serves all values.
        """
        parameters = Parameters()
        equal = list(self._equal(parameters))
        matches = list(self._matches(parameters)) or ["true"]
        limit = next(bucket for bucket in LIMIT_BUCKETS if bucket >= self.limit)
        parts: dict[str, object] = {
            "SOURCE": f"SELECT {columns} FROM community_members",
            "BOUNDS": " AND ".join(self._bounds(parameters, equal)),
            "FILTERS": " AND ".join(self._filters(parameters, equal)) or "true",
            "TEXT": matches[0],
            "MATCHING": f"({' OR '.join(matches)})",
            "ORDER_BY": SORT_ORDERS[self.sort].order_by,
            "LIMIT": limit,
            "WINDOW_SIZE": WINDOW_SIZE,
            "SAMPLE_SIZE": SAMPLE_SIZE,
        }
        everybody = "{SOURCE} WHERE {BOUNDS} AND {FILTERS} AND {MATCHING}".format(**parts)
        page = "{ORDER_BY} LIMIT {LIMIT}".format(**parts)
        if self._is_read_in_order():
            yield f"{everybody} {page}", parameters
            return
        if self.is_bot:
            # OFFSET 0 prevents PostgreSQL from looking for the few bots among all members.
            yield f"SELECT * FROM ({everybody} OFFSET 0) AS found {page}", parameters
            return
        index_ways = self._index_ways(parts, matches, equal)
        # PostgreSQL expects that a CASE is true for half of the members. So it reads them in the
        # order of an index until the page is full; if no index has the order, it sorts all.
        in_order = """
        {SOURCE} WHERE id = ANY(ARRAY(
            SELECT id FROM community_members
            WHERE {BOUNDS} AND CASE WHEN {FILTERS} AND {MATCHING} THEN true END
            {ORDER_BY} LIMIT {LIMIT}
        )) {ORDER_BY}
        """.format(**parts)
        if not index_ways:
            yield in_order, parameters
            return
        if self._begins_in_order(index_ways):
            first = SEARCH_FIRST if self.text is None else SEARCH_FIRST_TEXT
            yield first.format(**parts), parameters
        decision = {
            way: f"(SELECT {way} <= least({', '.join([*index_ways, 'in_order'])}) FROM cost)"
            for way in index_ways
        }
        if self.sort != "reputation":
            # In the order of reputation it is faster to read a small table in order.
            way = next(iter(index_ways))
            decision[way] = f"{IS_SMALL.format(SMALL_TABLE=SMALL_TABLE)} OR {decision[way]}"
        ways = index_ways | {"in_order": in_order}
        costs = COSTS
        if self.sort == "name" and self.text is not None:
            # The index of names lacks the text, so that each member is looked up in the table.
            costs = COSTS | {"in_order": COSTS["by_text"]}
        yield (
            SEARCH.format(
                **parts,
                **costs,
                IN_ORDER=(SORTED if self.sort == "active" else IN_ORDER).format(**parts, **costs),
                DECISION=" ".join(
                    f"WHEN {chosen} THEN '{way}'" for way, chosen in decision.items()
                ),
                WAYS=" UNION ALL ".join(
                    f"SELECT * FROM ({found}) AS {way} WHERE (SELECT way FROM decision) = '{way}'"
                    for way, found in ways.items()
                ),
            ),
            parameters,
        )

    def _index_ways(
        self, parts: dict[str, object], matches: list[str], equal: list["_Equal"]
    ) -> dict[str, str]:
        """Return the SQL of all members who meet the conditions, by each way that has an index."""
        ways = {}
        if is_indexed(self.text or ""):
            # PostgreSQL uses another index for each match, and because of the CASE no other one, in
            # which a frequent value could take longer than to read the matching members.
            ways["by_text"] = " UNION ALL ".join(
                "{SOURCE} WHERE {MATCH} AND CASE WHEN {BOUNDS} AND {FILTERS} THEN true END".format(
                    **parts, MATCH=match
                )
                for match in matches
            )
        if parts["FILTERS"] not in ("true", IS_ACTIVE):
            # An index has the columns of the filters, and in the order of reputation of the bounds.
            # From a condition with = and an unknown value, PostgreSQL expects as many members as
            # have an average value, and reads the whole table; with BETWEEN it expects few.
            in_index = [
                "deleted_at IS NULL",
                parts["BOUNDS"] if self.sort == "reputation" else "true",
                *(f"{each.column} BETWEEN {each.value} AND {each.value}" for each in equal),
            ]
            ways["by_filters"] = """
            {SOURCE} WHERE id = ANY(ARRAY(
                SELECT id FROM community_members WHERE {IN_INDEX} AND {FILTERS}
            )) AND {BOUNDS} AND {MATCHING}
            """.format(**parts, IN_INDEX=" AND ".join(map(str, in_index)))
        return ways

    def _is_read_in_order(self) -> bool:
        """Return whether an index contains the members who meet the conditions in order."""
        if self.text is not None or self.is_bot:
            return False
        role, country = self.equal.get("primary_role"), self.equal.get("country")
        if self.sort == "reputation":
            has_both = self._is_active_or_any() and role is not None and country is not None
            return has_both or (role is None and country is None)
        is_any_score = self.scores == range(MAX_SCORE + 1)
        return self._is_active_or_any() and role is None and country is None and is_any_score

    def _equal(self, parameters: Parameters) -> Iterator["_Equal"]:
        for column, value in self.equal.items():
            if value is not None and (column, value) != ("status", MemberStatus.ACTIVE):
                yield _Equal(column, f"(SELECT {parameters.bind(value)}::text)")

    def _begins_in_order(self, index_ways: Container[str]) -> bool:
        """Return whether the first members in the order are worth a statement of their own."""
        if self.sort == "reputation":
            return self._is_active_or_any()
        return self.sort != "active" and "by_text" not in index_ways

    def _is_active_or_any(self) -> bool:
        return self.equal.get("status") in (MemberStatus.ACTIVE, None)

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
