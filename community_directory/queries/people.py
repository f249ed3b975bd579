"""People as managers look for them: filters, an order by every column, and selections.

The page People of the workspace has these lists. `members.search` is for bots: it has another
order, and finds no removed members.

Among 100,000 members a page takes less than 100 ms. It is read in the order of an index, if the
first members of the order fill it; if not, all who meet the filters are read and sorted.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, NamedTuple, Unpack, get_args
from uuid import UUID

import asyncpg

from community_directory.database import Parameters, Statement, engine, fetch_batches
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    EPOCH,
    KEY_FIELD,
    MAX_PAGE_SIZE,
    NUMBER_FIELD,
    SMALL_INT_FIELD,
    TIME_FIELD,
    Cursor,
    CursorField,
    CursorFormat,
    Page,
    PageOrder,
    checked_limit,
    make_page,
)
from community_directory.queries.people_filters import (
    PeopleConditions,
    PeopleFilters,
    check_people_filters,
)
from community_directory.tables import MemberStatus

__all__ = [
    "MAX_CHOICES",
    "MAX_SELECTION",
    "MAX_TOTAL",
    "PEOPLE_SORTS",
    "Choices",
    "PeopleFilters",
    "PeopleSort",
    "Person",
    "batches",
    "choices",
    "count",
    "numbers",
    "search",
]

MAX_TOTAL = 10_000
"""The largest total of a page that is exact; a page of more has one more."""
MAX_SELECTION = 10_000
"""The most people of one selection."""
MAX_CHOICES = 100
"""The most roles, or countries, to choose from."""
WINDOW_SIZE = 2000
"""The number of members that are read in the order of an index before all are read."""
LIMIT_BUCKETS = (21, 51, MAX_PAGE_SIZE + 1)
"""The values of LIMIT: only a few, because each of them makes another prepared statement."""

PeopleSort = Literal[
    "name", "number", "status", "role", "country", "tier", "score", "inviter", "joined", "active",
    "-name", "-number", "-status", "-role", "-country", "-tier", "-score", "-inviter",
    "-invited", "-joined", "-active",
]  # fmt: skip
"""An order of people by a column; with "-" it begins with the largest values."""


@dataclass(slots=True)
class Person:
    """A member, contact or bot in a list; times are aware, in UTC. Treat it as immutable.

    `invited_count` is the number of people whom the person invited, also of those who were removed.
    """

    id: UUID
    member_id: str
    name: str
    status: MemberStatus
    primary_role: str
    organization: str | None
    country: str | None
    github_username: str | None
    github_verified: bool
    reputation_tier: str
    reputation_score: int
    invited_by: str | None
    created_at: datetime
    last_active_at: datetime | None
    deleted_at: datetime | None
    is_bot: bool
    inviter_name: str | None
    invited_count: int


PERSON_COLUMNS = """id, member_id, name, status, primary_role, organization, country,
    github_username, github_verified, reputation_tier, reputation_score, invited_by, created_at,
    last_active_at, deleted_at, is_bot,
    (SELECT name FROM community_members AS inviter WHERE inviter.member_id = found.invited_by),
    (
        SELECT count(*) FROM community_members AS invited
        WHERE invited.invited_by = found.member_id
    )"""
# The people of all inviters are counted at once, which is faster than one inviter after the other.
WITH_INVITED = """SELECT found.*, coalesce(counted.people, 0) AS invited FROM ({FOUND}) AS found
    {JOIN} (
        SELECT invited_by, count(*)::integer AS people FROM community_members
        WHERE invited_by IS NOT NULL GROUP BY invited_by HAVING count(*) >= {LEAST}
    ) AS counted ON counted.invited_by = found.member_id"""
MANY_INVITED = 5
"""The number of invited people of those who come first in the order by it."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The values to choose from in filters, in their order."""

    roles: list[str]
    countries: list[str]


def _values_sql(kind: str, column: str) -> str:
    """Return the CTE of the different values of a column; each step finds the next in an index."""
    return f"""{kind} AS (
        SELECT min({column}) AS value FROM community_members
        UNION ALL
        SELECT (SELECT min({column}) FROM community_members WHERE {column} > {kind}.value)
        FROM {kind} WHERE {kind}.value IS NOT NULL
    )"""


FIND_CHOICES = Statement(f"""
WITH RECURSIVE {_values_sql("role", "primary_role")}, {_values_sql("country", "country")}
SELECT * FROM (SELECT 'role' AS kind, value FROM role LIMIT {MAX_CHOICES}) AS roles
WHERE value <> ''
UNION ALL
SELECT * FROM (SELECT 'country', value FROM country LIMIT {MAX_CHOICES}) AS countries
WHERE value <> ''
""")


class _Order(NamedTuple):
    """An order of people, and the value that its cursors have beside a member's key.

    An order without `field` has texts, which are too long for a cursor: they are looked up.
    """

    columns: tuple[str, ...]
    is_indexed: bool = False
    field: CursorField | None = None
    cursor_sql: str = ""
    """The columns of a cursor's value, in which `{}` stands for its placeholder."""
    value: Callable[[Person], object] = lambda person: person.id

    def cursors(self, name: str) -> CursorFormat:
        """Return the format of the cursors of this order."""
        fields = (KEY_FIELD,) if self.field is None else (self.field, KEY_FIELD)
        return CursorFormat(f"people by {name}", *fields)

    def cursor_values(self, person: Person) -> tuple[object, ...]:
        """Return the values of the cursor at a person's row."""
        return (person.id,) if self.field is None else (self.value(person), person.id)

    def after(self, cursor: Cursor, order: PageOrder, parameters: Parameters) -> str:
        """Return the condition that a row comes after that of the cursor, in SQL."""
        placeholders = [parameters.bind(value) for value in cursor.values]
        key = f"{placeholders[-1]}::uuid"
        if self.field is None:
            values = [
                f"(SELECT {column} FROM community_members WHERE id = {key})"
                for column in self.columns
            ]
        else:
            values = [self.cursor_sql.format(placeholders[0])]
        return order.after(", ".join([*self.columns, "id"]), ", ".join([*values, key]))


_SCORE = _Order(
    ("reputation_score",),
    is_indexed=True,
    field=SMALL_INT_FIELD,
    cursor_sql="{}::integer",
    value=lambda person: person.reputation_score,
)
# In both directions, the rows without a country or an inviter come last.
ORDERS = {
    "name": _Order(("directory_search_text(name)",), is_indexed=True),
    "number": _Order(
        ("length(member_id)", 'member_id COLLATE "C"'),
        field=NUMBER_FIELD,
        cursor_sql="length({0}::text), {0}::text",
        value=lambda person: person.member_id,
    ),
    "status": _Order(
        (f"array_position(ARRAY{[str(status) for status in MemberStatus]}, status::text)",),
        field=SMALL_INT_FIELD,
        cursor_sql="{}::integer",
        value=lambda person: list(MemberStatus).index(person.status) + 1,
    ),
    "role": _Order(("primary_role",)),
    "country": _Order(("(country IS NULL) = {ASCENDING}", "coalesce(country, '')")),
    "tier": _SCORE,
    "score": _SCORE,
    "inviter": _Order(
        (
            "(invited_by IS NULL) = {ASCENDING}",
            "coalesce(length(invited_by), 0)",
            "coalesce(invited_by, '') COLLATE \"C\"",
        )
    ),
    "invited": _Order(
        ("invited",),
        field=SMALL_INT_FIELD,
        cursor_sql="{}::integer",
        value=lambda person: person.invited_count,
    ),
    "joined": _Order(
        ("created_at",),
        is_indexed=True,
        field=TIME_FIELD,
        cursor_sql="{}::timestamptz",
        value=lambda person: person.created_at,
    ),
    "active": _Order(
        ("coalesce(last_active_at, 'epoch')",),
        field=TIME_FIELD,
        cursor_sql="{}::timestamptz",
        value=lambda person: person.last_active_at or EPOCH,
    ),
}
PEOPLE_SORTS = tuple(get_args(PeopleSort))


async def search(
    *,
    sort: PeopleSort = "name",
    after: str | None = None,
    limit: int = 50,
    with_total: bool = False,
    **conditions: Unpack[PeopleFilters],
) -> Page[Person]:
    """Find the people whom all filters let through.

    The result is one page; its cursors, passed as `after`, lead to the next page and to the one
    before.

    Args:
        sort: The order: a column, or "-" and a column. Tiers are in the order of the score, and
            statuses in that of a membership.
        after: A cursor of another page, which must have the same order.
        limit: The number of people on the page, 1 to 100.
        with_total: Whether the page has the number of all whom the filters let through, up to
            `MAX_TOTAL`; a larger total means that there are more.
        **conditions: The filters.

    Raises:
        InvalidCursor: `after` is not a cursor of this order.
        InvalidInput: A filter is not valid, or there is no such order or limit.
    """
    if sort not in list(PEOPLE_SORTS):  # a list, because an unhashable value must be refused too
        raise InvalidInput(f"There is no order {sanitize_for_message(sort)}.", field="sort")
    wanted = check_people_filters(**conditions)
    column, is_descending = sort.removeprefix("-"), sort.startswith("-")
    order, limit = ORDERS[column], checked_limit(limit)
    cursors = order.cursors(column)
    cursor = None if after is None else cursors.decode(after)
    records: list[asyncpg.Record] = []
    if not wanted.finds_nobody:
        for is_window in [True, False] if _has_window(wanted, order, cursor) else [False]:
            sql, parameters = _page_sql(
                wanted, order, cursor, limit + 1, is_descending=is_descending, is_window=is_window
            )
            records = await engine.read(sql, *parameters)
            if len(records) > limit:
                break
    found = [_person_from(record) for record in records[: limit + 1]]
    page = make_page(found, limit, cursors, cursor, order.cursor_values)
    return replace(page, total=await _count(wanted, MAX_TOTAL + 1)) if with_total else page


async def count(**conditions: Unpack[PeopleFilters]) -> int:
    """Count the people whom `search` finds with the same filters.

    The number is exact, and costs at most one reading of all members.

    Args:
        **conditions: The filters.

    Raises:
        InvalidInput: A filter is not valid.
    """
    return await _count(check_people_filters(**conditions))


async def choices() -> Choices:
    """Return the roles and countries that people have, up to `MAX_CHOICES` of each."""
    records = await engine.read(FIND_CHOICES)
    return Choices(
        *(
            [record["value"] for record in records if record["kind"] == kind]
            for kind in ("role", "country")
        )
    )


async def numbers(**conditions: Unpack[PeopleFilters]) -> list[str]:
    """Return the numbers of all people whom the filters let through, the lowest first.

    Args:
        **conditions: The filters.

    Raises:
        InvalidInput: A filter is not valid, or more than `MAX_SELECTION` people are found.
    """
    wanted = check_people_filters(**conditions)
    if wanted.finds_nobody:
        return []
    parameters = Parameters()
    records = await engine.read(
        f"""SELECT member_id FROM community_members WHERE {_where(wanted, parameters)}
        ORDER BY length(member_id), member_id LIMIT {MAX_SELECTION + 1}""",
        *parameters,
    )
    if len(records) > MAX_SELECTION:
        raise InvalidInput(
            f"These are more than {MAX_SELECTION:,} people. Choose more filters.", field="q"
        )
    return [record["member_id"] for record in records]


async def batches(
    columns: Sequence[str],
    *,
    selected: Sequence[str] | None = None,
    **conditions: Unpack[PeopleFilters],
) -> AsyncGenerator[list[asyncpg.Record], None]:
    """Yield rows of all whom the filters let through, as of one moment, the lowest numbers first.

    Args:
        columns: The columns of `community_members` to read.
        selected: The numbers of people; instead of the filters, they say whose rows are read.
        **conditions: The filters.

    Raises:
        InvalidInput: A filter is not valid.
    """
    wanted, parameters = check_people_filters(**conditions), Parameters()
    if selected is not None:
        where = f"member_id = ANY({parameters.bind(selected)}::text[])"
    elif wanted.finds_nobody:
        return
    else:
        where = _where(wanted, parameters)
    sql = f"""SELECT {", ".join(columns)} FROM community_members WHERE {where}
        ORDER BY length(member_id), member_id"""
    async with aclosing(fetch_batches(sql, *parameters)) as found:
        async for records in found:
            yield records


def _where(wanted: PeopleConditions, parameters: Parameters) -> str:
    return " AND ".join([wanted.people, *wanted.where(parameters)])


def _has_window(wanted: PeopleConditions, order: _Order, cursor: Cursor | None) -> bool:
    """Return whether the first members of the order can be read without all the others."""
    if "invited" in order.columns:
        return cursor is None or not cursor.is_backward
    return order.is_indexed and wanted.has_order


def _page_sql(
    wanted: PeopleConditions,
    order: _Order,
    cursor: Cursor | None,
    limit: int,
    *,
    is_descending: bool,
    is_window: bool,
) -> tuple[str, Parameters]:
    """Return the SQL of a page and its parameters.

    Args:
        wanted: The conditions, which somebody can meet.
        order: The order of the list.
        cursor: The cursor at whose row the page begins; None for the first page.
        limit: The number of rows to read.
        is_descending: Whether the list begins with the largest values.
        is_window: Whether to look only among the first members of the order.
    """
    parameters = Parameters()
    is_backward = cursor is not None and cursor.is_backward
    page_order = PageOrder(is_descending != is_backward, cursor is not None)
    after = "true" if cursor is None else order.after(cursor, page_order, parameters)
    order_by = page_order.by(*order.columns, "id")
    filters = " AND ".join(wanted.where(parameters, is_of_few=is_window)) or "true"
    where = f"{wanted.people} AND {filters}"
    if "invited" in order.columns:
        found = f"SELECT * FROM community_members WHERE {where} {'' if is_window else 'OFFSET 0'}"
        join, least = ("JOIN", MANY_INVITED) if is_window else ("LEFT JOIN", 0)
        found = WITH_INVITED.format(FOUND=found, JOIN=join, LEAST=least)
        found = f"SELECT * FROM ({found}) AS found WHERE {after}"
    elif is_window:
        # The indexes have people only. The few bots, if they are wanted, are merged into the order.
        first_rows = f"{order_by} LIMIT {WINDOW_SIZE}"
        first = [
            f"(SELECT * FROM community_members WHERE {part} AND {after} {first_rows})"
            for part in wanted.parts
        ]
        merged = first_rows if len(first) > 1 else ""
        found = f"""SELECT * FROM (
            SELECT * FROM ({" UNION ALL ".join(first)}) AS parts {merged}
        ) AS first WHERE {filters}"""
        order_by = ""  # they are in order
    else:
        # OFFSET 0 keeps PostgreSQL from reading everybody in the order of an index.
        found = f"SELECT * FROM community_members WHERE {where} OFFSET 0"
        found = f"SELECT * FROM ({found}) AS found WHERE {after}"
    bucket = next(bucket for bucket in LIMIT_BUCKETS if bucket >= limit)
    sql = f"SELECT {PERSON_COLUMNS} FROM ({found}) AS found {order_by} LIMIT {bucket}"
    return sql.replace("{ASCENDING}", str(not is_descending)), parameters


async def _count(wanted: PeopleConditions, limit: int | None = None) -> int:
    if wanted.finds_nobody:
        return 0
    parameters = Parameters()
    sql = f"SELECT FROM community_members WHERE {_where(wanted, parameters)}"
    if limit is not None:
        sql += f" LIMIT {limit}"
    [(found,)] = await engine.read(f"SELECT count(*) FROM ({sql}) AS found", *parameters)
    return int(found)


def _person_from(record: asyncpg.Record) -> Person:
    person = Person(*record)
    person.status = MemberStatus(person.status)
    return person


observe_helpers(globals())
