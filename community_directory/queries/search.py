"""Search for members by a part of a text and by conditions, in one of four orders.

Callers use it as `members.search`. Among a million members a page takes less than 100 ms. Searches
that have to read every member take longer: by activity, if neither the text nor a filter is rare,
and for common conditions that members meet only near the end of the order, or hardly anybody meets
together, unless they are a text and a score. No index has `github_verified` and `inactive_for`: if
hardly anybody meets such a condition, every member is read, too.
"""

from collections.abc import AsyncIterator, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Unpack

import asyncpg

from community_directory.database import Parameters, Statement, engine
from community_directory.errors import InvalidCursor, InvalidInput, sanitize_for_message
from community_directory.queries.conditions import (
    IS_ACTIVE,
    Conditions,
    Filter,
    MemberConditions,
    check_conditions,
    is_indexed,
)
from community_directory.queries.member_rows import MEMBER_COLUMNS, Member, member_from
from community_directory.queries.pages import (
    EPOCH,
    KEY_FIELD,
    MAX_PAGE_SIZE,
    MAX_STREAM_PAGE_SIZE,
    SMALL_INT_FIELD,
    TIME_FIELD,
    Cursor,
    CursorFormat,
    Page,
    PageOrder,
    checked_limit,
    make_page,
)
from community_directory.tables import MemberStatus, ReputationTier

Sort = Literal["reputation", "newest", "active", "name"]

LIMIT_BUCKETS = (11, 21, 51, MAX_PAGE_SIZE + 1, MAX_STREAM_PAGE_SIZE + 1)
"""The values of LIMIT: only a few, because each of them makes another prepared statement."""


class _SortOrder(NamedTuple):
    """An order of members, and the SQL that finds the rows after a cursor."""

    column: str
    expression: str
    is_descending: bool
    cursors: CursorFormat
    cursor_sql: str
    """The SQL of the cursor's value, in which `{}` stands for its first placeholder."""


SORT_ORDERS: dict[Sort, _SortOrder] = {
    "reputation": _SortOrder(
        "reputation_score",
        "reputation_score",
        True,
        CursorFormat("members by reputation", SMALL_INT_FIELD, KEY_FIELD),
        "(SELECT {}::integer)",
    ),
    "newest": _SortOrder(
        "created_at",
        "created_at",
        True,
        CursorFormat("members by newest", TIME_FIELD, KEY_FIELD),
        "(SELECT {}::timestamptz)",
    ),
    "active": _SortOrder(
        "last_active_at",
        "coalesce(last_active_at, 'epoch')",
        True,
        CursorFormat("members by active", TIME_FIELD, KEY_FIELD),
        "(SELECT {}::timestamptz)",
    ),
    # The order does not depend on case, accents or the database's locale: Álvaro is next to alba.
    # A name is too long for a cursor, which has the member's key alone.
    "name": _SortOrder(
        "name",
        "directory_search_text(name)",
        False,
        CursorFormat("members by name", KEY_FIELD),
        "(SELECT directory_search_text(name) FROM community_members WHERE id = {}::uuid)",
    ),
}
FIND_MEMBER_OF_CURSOR = Statement("SELECT FROM community_members WHERE id = :id")

WINDOW_SIZE = 2000
"""The number of members that are read in order before a sample decides how to continue."""
SAMPLE_SIZE = 1000
"""The approximate number of members in the sample."""
SMALL_TABLE = 20_000
"""The most members of a table of which every part is read faster than a sample."""

# Microseconds for each member who is read, as measured among a million members. The figure of
# in_order is three times the measured one, because the matches may be far from the beginning.
COSTS = {"by_text": 5, "by_filters": 8, "in_index": 0.6, "in_order": 0.6, "sorted": 0.4}

# No index has these columns, so that all members are read for a condition on them alone.
UNINDEXED_COLUMNS = {"github_verified", "last_active_at"}
# The indexes in an order have these columns. For a condition on another one, each member is looked
# up in the table.
COLUMNS_IN_ORDER = {"status", "primary_role", "country", "reputation_score"}
COLUMNS_BESIDE_TEXT = {"status", "reputation_score"}
"""The columns of an index on the score that has the text, too."""

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
        SELECT id, search_text{FILTER_COLUMNS}
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
        {BY_FILTERS} AS by_filters,
        {IN_ORDER} AS in_order
    FROM sample, estimate
), decision AS MATERIALIZED (
    SELECT CASE {DECISION} ELSE 'in_order' END AS way
)
-- PostgreSQL reads only the part that the decision names.
SELECT * FROM ({WAYS}) AS found {ORDER_BY} LIMIT {LIMIT}
"""
# The sample tells whether common conditions exclude each other. If nobody in it meets both, the
# share of each of two rare ones tells how many members may meet them.
IN_ORDER = """least(members, {LIMIT} * size
            / greatest(with_both, least(1, with_text::float8 * with_filters / size), 1e-6)
        ) * {in_order}"""
SORTED = "members * {sorted}"
"""The costs of reading members in order until the page is full, and of reading all."""
BY_FILTERS = "with_filters * members / size * {by_filters}"
"""The cost of reading the members whom an index finds."""
BY_SCORE_AND_TEXT = "(with_filters * {in_index} + with_both * {by_filters}) * members / size"
"""The cost of reading an index with the text, and the members whom it finds."""
IS_SMALL = "(SELECT members <= {SMALL_TABLE} FROM estimate)"
"""A condition in SQL: every part of the table is read faster than a sample."""


async def search(
    text: str | None = None,
    *,
    role: str | None = None,
    country: str | None = None,
    organization: str | None = None,
    status: MemberStatus | str | None = MemberStatus.ACTIVE,
    min_reputation: int | None = None,
    max_reputation: int | None = None,
    tier: ReputationTier | str | None = None,
    invited_by: str | int | None = None,
    github_verified: bool | None = None,
    inactive_for: timedelta | None = None,
    joined_since: datetime | None = None,
    is_bot: bool = False,
    sort: Sort = "reputation",
    after: str | None = None,
    limit: int = 20,
    with_total: bool = False,
) -> Page[Member]:
    r"""Find the members who meet all conditions. Removed members are never found.

    The result is one page; its cursors, passed as `after`, lead to the next page and to the one
    before.

    Args:
        text: A part of a name, a Telegram or GitHub username, or an organization, or the whole
            username of any other account, such as one on Discord, of at least 3 characters. The
            text has at most 200 characters. Case, accents, and the kind of an apostrophe, a dash or
            a space do not matter, nor does an @ before a username; `%`, `_` and `\` are ordinary
            characters. Only the first 350 characters of a member's four texts together are searched
            for a part. A text of accents or invisible characters alone finds nobody.
        role: The exact `primary_role`.
        country: The exact country.
        organization: The exact organization.
        status: The status, by default active; None finds members of every status.
        min_reputation: The lowest reputation score.
        max_reputation: The highest reputation score.
        tier: A reputation tier such as "Contributor".
        invited_by: The number of the inviter. The number of a merged member leads to the other one.
        github_verified: Whether the GitHub account is verified.
        inactive_for: The shortest time since the last activity, 1 second to 36,500 days. Members
            who never were active are found, too.
        joined_since: The earliest time at which the members were added.
        is_bot: Whether to find bots, and nobody else. By default they are not found.
        sort: "reputation" (best first), "newest" (added last first), "active" (active last first)
            or "name" (alphabetical).
        after: A cursor of another page, which must have the same order.
        limit: The number of members on the page, 1 to 100.
        with_total: Whether the page has the number of all who meet the conditions. `count` says
            what that costs.

    Raises:
        InvalidCursor: `after` is not a cursor of this order.
        InvalidInput: A value is too long, or there is no such status, tier, score, time, order or
            limit.
    """
    if sort not in list(SORT_ORDERS):  # a list, because an unhashable value must be refused too
        raise InvalidInput(f"There is no order {sanitize_for_message(sort)}.", field="sort")
    conditions = check_conditions(
        text,
        role=role,
        country=country,
        organization=organization,
        status=status,
        min_reputation=min_reputation,
        max_reputation=max_reputation,
        tier=tier,
        invited_by=invited_by,
        github_verified=github_verified,
        inactive_for=inactive_for,
        joined_since=joined_since,
        is_bot=is_bot,
    )
    page = await _read_page(conditions, sort, after, checked_limit(limit))
    return replace(page, total=await _count(conditions)) if with_total else page


async def count(text: str | None = None, **conditions: Unpack[MemberConditions]) -> int:
    """Count the members whom `search` finds with the same text and conditions.

    The number is exact, and costs at most one reading of all members, or of an index that has them:
    among a million members up to some 0.3 seconds of the server's time. A rare text, role, country,
    organization or inviter costs milliseconds.

    Args:
        text: The text of the search.
        **conditions: The conditions of the search.

    Raises:
        InvalidInput: A value is too long, or there is no such status, tier, score or time.
    """
    return await _count(check_conditions(text, **conditions))


async def stream(
    text: str | None = None, *, page_size: int = 100, **conditions: Unpack[MemberConditions]
) -> AsyncIterator[Member]:
    """Yield all members whom `search` finds with the same text and conditions, newest first.

    One page at a time is in the memory, and each page is a query of its own, so a stream may take
    as long as it likes. Others can write in the meantime: nobody comes twice, and everybody comes
    who meets the conditions from the first page to the last.

    Args:
        text: The text of the search.
        page_size: The number of members that are read at once, 1 to 1,000.
        **conditions: The conditions of the search.

    Raises:
        InvalidInput: A value is too long, or there is no such status, tier, score, time or size.
    """
    wanted = check_conditions(text, **conditions)
    page_size = checked_limit(page_size, MAX_STREAM_PAGE_SIZE, field="page_size")
    after: str | None = None
    while True:
        # The time at which a member was added never changes.
        page = await _read_page(wanted, "newest", after, page_size)
        for member in page.items:
            yield member
        after = page.next_cursor
        if after is None:
            return


async def _read_page(
    conditions: Conditions, sort: Sort, after: str | None, limit: int
) -> Page[Member]:
    cursors = SORT_ORDERS[sort].cursors
    cursor = None if after is None else cursors.decode(after)
    records: list[asyncpg.Record] = []
    if not conditions.finds_nobody:
        wanted = Search(conditions=conditions, sort=sort, cursor=cursor, limit=limit + 1)
        for sql, parameters in wanted.statements(MEMBER_COLUMNS):
            records = await engine.read(sql, *parameters)
            if len(records) >= wanted.limit:
                break
    if cursor is not None and sort == "name" and not records:
        [key] = cursor.values
        if not await engine.read(FIND_MEMBER_OF_CURSOR, id=key):
            raise InvalidCursor
    found = [member_from(record) for record in records[: limit + 1]]
    return make_page(found, limit, cursors, cursor, lambda member: _cursor_values(member, sort))


async def _count(conditions: Conditions) -> int:
    if conditions.finds_nobody:
        return 0
    parameters = Parameters()
    filters = conditions.filters(parameters)
    where = [conditions.people, *(each.sql for each in filters.values())]
    if matches := " OR ".join(conditions.matches(parameters)):
        # The text index would be read as a whole for a text that it does not have.
        indexed = is_indexed(conditions.text or "")
        where.append(f"({matches})" if indexed else f"CASE WHEN {matches} THEN true END")
    [(found,)] = await engine.read(
        f"SELECT count(*) FROM community_members WHERE {' AND '.join(where)}", *parameters
    )
    return int(found)


def _cursor_values(member: Member, sort: Sort) -> tuple[Any, ...]:
    match sort:
        case "reputation":
            return member.reputation_score, member.id
        case "newest":
            return member.created_at, member.id
        case "active":
            return member.last_active_at or EPOCH, member.id
        case "name":
            return (member.id,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The checked arguments of `search`."""

    conditions: Conditions
    sort: Sort
    cursor: Cursor | None
    """The cursor at whose row the page begins; None for the first page."""
    limit: int
    """The number of records to find."""

    def statements(self, columns: str) -> Iterator[tuple[str, Parameters]]:
        """Yield SQL and its parameters, to be run in turn until one finds `limit` records.

        The last one finds all records of the page. The SQL contains every constant as a literal,
        because PostgreSQL can use a partial index only if it knows the value.
        """
        parameters = Parameters()
        filters = self.conditions.filters(parameters)
        matches = list(self.conditions.matches(parameters)) or ["true"]
        order = SORT_ORDERS[self.sort]
        is_backward = self.cursor is not None and self.cursor.is_backward
        page_order = PageOrder(order.is_descending != is_backward, self.cursor is not None)
        # The conditions that an index in the order contains.
        bounds = [self.conditions.people, self._after_cursor(page_order, parameters)]
        if order.column in filters:
            bounds.append(filters.pop(order.column).sql)
        if self.sort == "reputation" and not self.conditions.is_active_or_any:
            bounds.append(filters["status"].sql)
        parts: dict[str, object] = {
            "SOURCE": f"SELECT {columns} FROM community_members",
            "BOUNDS": " AND ".join(bounds),
            "FILTERS": " AND ".join(each.sql for each in filters.values()) or "true",
            "FILTER_COLUMNS": "".join(f", {column}" for column in filters),
            "TEXT": matches[0],
            "MATCHING": f"({' OR '.join(matches)})",
            "ORDER_BY": page_order.by(order.expression, "id"),
            "LIMIT": next(bucket for bucket in LIMIT_BUCKETS if bucket >= self.limit),
            "WINDOW_SIZE": WINDOW_SIZE,
            "SAMPLE_SIZE": SAMPLE_SIZE,
        }
        everybody = "{SOURCE} WHERE {BOUNDS} AND {FILTERS} AND {MATCHING}".format(**parts)
        page = "{ORDER_BY} LIMIT {LIMIT}".format(**parts)
        if self._is_read_in_order(filters):
            yield f"{everybody} {page}", parameters
            return
        if self.conditions.is_bot:
            # OFFSET 0 prevents PostgreSQL from looking for the few bots among all members.
            yield f"SELECT * FROM ({everybody} OFFSET 0) AS found {page}", parameters
            return
        index_ways = self._index_ways(parts, matches, filters)
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
            first = SEARCH_FIRST if self.conditions.text is None else SEARCH_FIRST_TEXT
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
        costs = self._costs(filters)
        by_filters = SORTED if filters.keys() <= {"status", *UNINDEXED_COLUMNS} else BY_FILTERS
        if self._is_text_beside_score(filters):
            by_filters = BY_SCORE_AND_TEXT
        yield (
            SEARCH.format(
                **parts,
                **costs,
                BY_FILTERS=by_filters.format(**costs),
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

    def _after_cursor(self, page_order: PageOrder, parameters: Parameters) -> str:
        if self.cursor is None:
            return "true"
        order = SORT_ORDERS[self.sort]
        placeholders = [parameters.bind(value) for value in self.cursor.values]
        value = order.cursor_sql.format(placeholders[0])
        return page_order.after(
            f"{order.expression}, id", f"{value}, (SELECT {placeholders[-1]}::uuid)"
        )

    def _index_ways(
        self, parts: dict[str, object], matches: list[str], filters: Mapping[str, Filter]
    ) -> dict[str, str]:
        """Return the SQL of all members who meet the conditions, by each way that has an index."""
        ways = {}
        if is_indexed(self.conditions.text or ""):
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
            in_index = [
                "deleted_at IS NULL",
                parts["BOUNDS"] if self.sort == "reputation" else "true",
                *(each.in_index for each in filters.values()),
            ]
            # Because of the CASE, PostgreSQL does not look for the text in its index as well, which
            # would be read as a whole for a text of two letters.
            matching = "CASE WHEN {MATCHING} THEN true END".format(**parts)
            is_text_in_index = self._is_text_beside_score(filters)
            in_index.append(matching if is_text_in_index else "true")
            ways["by_filters"] = """
            {SOURCE} WHERE id = ANY(ARRAY(
                SELECT id FROM community_members WHERE {IN_INDEX} AND {FILTERS}
            )) AND {BOUNDS} AND {REST}
            """.format(
                **parts,
                IN_INDEX=" AND ".join(map(str, in_index)),
                REST="true" if is_text_in_index else matching,
            )
        return ways

    def _is_text_beside_score(self, filters: Mapping[str, Filter]) -> bool:
        """Return whether one index has the text, and finds those who meet the filters."""
        has_score = "reputation_score" in filters and filters.keys() <= COLUMNS_BESIDE_TEXT
        return has_score and self.conditions.text is not None

    def _costs(self, filters: Mapping[str, Filter]) -> Mapping[str, float]:
        """Return the costs of the ways, for the indexes that this search can use."""
        is_name_with_text = self.sort == "name" and self.conditions.text is not None
        if is_name_with_text or not filters.keys() <= COLUMNS_IN_ORDER:
            return COSTS | {"in_order": COSTS["by_text"]}
        return COSTS

    def _is_read_in_order(self, filters: Mapping[str, Filter]) -> bool:
        """Return whether an index contains the members who meet the conditions in order."""
        if self.conditions.text is not None or self.conditions.is_bot:
            return False
        others = filters.keys() - {"status"}
        if self.sort == "reputation" and not others:
            return True
        if not self.conditions.is_active_or_any:
            return False
        return others == ({"primary_role", "country"} if self.sort == "reputation" else set())

    def _begins_in_order(self, index_ways: Container[str]) -> bool:
        """Return whether the first members in the order are worth a statement of their own."""
        if self.sort == "reputation":
            return self.conditions.is_active_or_any
        return self.sort != "active" and "by_text" not in index_ways
