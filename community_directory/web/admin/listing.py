"""The lists of the panel: pages, filters, order, counts, and the search for a row to refer to."""

import json
import re
from collections.abc import Collection
from datetime import date, datetime

import asyncpg
from piccolo.columns import ForeignKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from community_directory.database import Parameters, Statement, engine
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.folding import contains_pattern, escape_pattern, fold_needle
from community_directory.queries.identifiers import clean_identifier
from community_directory.queries.search import SEARCH_TEXT_LENGTH, is_indexed
from community_directory.queries.values import member_number, present_number_sql
from community_directory.web.admin.policy import RowData
from community_directory.web.admin.rows import TableRows, json_response, validated
from community_directory.web.admin.values import TEXT_COLUMNS, normalize_filter, parse_value

MAX_LIST_ROWS = 1000
"""The most rows of a page."""
MAX_LIST_PAGES = 1_000_000
MAX_EXACT_COUNT = 50_000
"""Above this number of rows a count is the planner's estimate."""
MAX_CANDIDATES = 1000
"""The most members that a rare text matches; a text that matches more is a frequent one."""
COUNT_SAMPLE_ROWS = 3000
"""The approximate number of rows that are read to estimate the count of a frequent text."""

LIST_PARAMETERS = {
    "__visible_fields",
    "__page_size",
    "__page",
    "__order",
    "__readable",
    "__view",
    "__delimiter",
}
RANGE_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
NULL_OPERATORS = {"is_null": "IS NULL", "not_null": "IS NOT NULL"}
FILTER_OPERATORS = {"e": "=", "ne": "IS DISTINCT FROM", **NULL_OPERATORS, **RANGE_OPERATORS}
LIKE_PATTERNS = {
    "contains": "'%' || {} || '%'",
    "starts": "{} || '%'",
    "ends": "'%' || {}",
    "exact": "{}",
}
FIND_CANDIDATES = Statement(
    f"""
    SELECT id FROM community_members
    WHERE deleted_at IS NULL AND search_text LIKE :pattern
    LIMIT {MAX_CANDIDATES + 1}
    """
)
ESTIMATE_TABLE_ROWS = Statement(
    "SELECT reltuples FROM pg_class WHERE oid = :table_name::text::regclass"
)
MEMBER_CHOICES = """
SELECT id, member_id || ' ' || name, member_id, name FROM community_members
WHERE deleted_at IS NULL AND NOT is_bot"""


class ListQuery:
    """The query parameters of a request for a list.

    Raises:
        InvalidInput: A parameter is unknown, repeated or out of range.
    """

    def __init__(self, request: Request) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            self._values.setdefault(name.removesuffix("[]"), []).append(value)
        for name in self._values:
            if name.startswith("__") and name not in LIST_PARAMETERS:
                raise InvalidInput(f"There is no parameter {sanitize_for_message(name)}.")

    def check_filters(self, columns: Collection[str]) -> None:
        """Check the names and operators of all filters, including those without a value.

        Raises:
            InvalidInput: A filter names no such column, or has an unknown operator.
        """
        for parameter in self._values:
            if not parameter.startswith("__"):
                name = parameter.removesuffix("__operator").removesuffix("__match")
                if name not in columns:
                    shown = sanitize_for_message(name)
                    raise InvalidInput(f"There is no column {shown} to filter by.")
                self.operator(name)

    @property
    def filtered_columns(self) -> list[str]:
        """Return the names of the columns that are filtered."""
        names = {
            name.removesuffix("__operator")
            for name, values in self._values.items()
            if not name.startswith("__")
            and not name.endswith("__match")
            and (values[0].endswith("_null") if name.endswith("__operator") else any(values))
        }
        return sorted(names)

    def operator(self, name: str) -> tuple[str, str]:
        """Return the operator of a column's filter, and the way in which it matches texts.

        Raises:
            InvalidInput: There is no such operator, or no such way.
        """
        operator = self.value(f"{name}__operator") or "e"
        match = self.value(f"{name}__match") or "contains"
        if operator not in FILTER_OPERATORS or match not in LIKE_PATTERNS:
            asked = f"{sanitize_for_message(operator)}, {sanitize_for_message(match)}"
            raise InvalidInput(f"There is no filter {asked}.", field=name)
        return operator, match

    def values(self, name: str) -> list[str]:
        """Return the values of a parameter, which may be repeated, without the empty ones."""
        return [value for value in self._values.get(name, []) if value]

    def value(self, name: str) -> str:
        """Return the value of a parameter, which is empty when the parameter is missing.

        Raises:
            InvalidInput: The parameter is repeated.
        """
        values = self._values.get(name, [])
        if len(values) > 1:
            raise InvalidInput(f"{sanitize_for_message(name)} is given more than once.")
        return values[0] if values else ""

    def number(self, name: str, default: int, maximum: int) -> int:
        """Return the value of a parameter that is a number.

        The least number is 1, or 0 if that is the default.

        Raises:
            InvalidInput: The value is no number, or out of range.
        """
        text = self.value(name) or str(default)
        minimum = min(default, 1)
        if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or not minimum <= int(text) <= maximum:
            raise InvalidInput(f"{name} must be a number from {minimum} to {maximum:,}.")
        return int(text)


class ListFilter:
    """The WHERE condition of a list while it is built, with its arguments."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.parameters = Parameters()
        self.has_frequent_text = False
        """The condition contains a text of so many members that an exact count is expensive."""

    @property
    def where(self) -> str:
        """Return the SQL of the condition."""
        return " AND ".join(self.conditions) or "true"


class ListEndpoints(TableRows):
    """The endpoints that list, count and search the rows of one table."""

    @validated
    async def get_all(
        self,
        request: Request,
        params: RowData | None = None,  # noqa: ARG002  a parameter of PiccoloCRUD
    ) -> Response:
        """Return a page of rows, in the table's own order unless the request names another."""
        query = ListQuery(request)
        size = query.number("__page_size", self.page_size, MAX_LIST_ROWS)
        offset = (query.number("__page", 1, MAX_LIST_PAGES) - 1) * size
        names = self.named_columns(query) or self._listed_columns()
        condition = await self._filter(query)
        order = self._order(query.value("__order"))
        # The subquery selects keys only, so that an index is enough to skip the rows before the
        # page.
        records = await engine.fetch(
            f"""
            SELECT {self.select(dict.fromkeys([self.key, *names]))} FROM (
                SELECT this."{self.key}" FROM {self.table_name} AS this
                WHERE {condition.where} ORDER BY {order} LIMIT {size} OFFSET {offset}
            ) AS page JOIN {self.table_name} AS this USING ("{self.key}") ORDER BY {order}
            """,
            *condition.parameters,
        )
        rows = [dict(record) for record in records]
        return json_response({"rows": rows}, format_date=_format_for_people)

    @validated
    async def get_count(self, request: Request) -> Response:
        """Return how many rows a list has; the number is an estimate when there are many."""
        condition = await self._filter(ListQuery(request))
        if condition.has_frequent_text:
            count = await self._count_in_sample(condition)
        else:
            count = await self._count(condition)
        return JSONResponse({"count": count, "page_size": self.page_size})

    @validated
    async def get_ids(self, request: Request) -> Response:
        """Return rows to refer to, by key, with a text for people."""
        query = ListQuery(request)
        limit = query.number("limit", 50, MAX_LIST_ROWS)
        offset = query.number("offset", 0, MAX_LIST_ROWS)
        if self.policy.searched:
            text = query.value("search").strip()
            records = await self._find_members(text, limit, offset)
        else:
            records = await self._list_choices(limit, offset)
        return JSONResponse({str(record[0]): record[1] for record in records})

    def named_columns(self, query: ListQuery) -> list[str]:
        """Return the columns that a request asks for; none if it names none.

        Raises:
            InvalidInput: There is no such column.
        """
        requested = query.value("__visible_fields")
        names = requested.split(",") if requested else []
        for name in names:
            if name not in self.readable:
                raise InvalidInput(f"There is no column {sanitize_for_message(name)}.")
        return names

    def _listed_columns(self) -> list[str]:
        return [name for name in self.schema_extra["visible_column_names"] if name in self.readable]

    async def _count(self, condition: ListFilter) -> int:
        rows = f"FROM {self.table_name} AS this WHERE {condition.where}"
        plan = await engine.fetch(f"EXPLAIN (FORMAT JSON) SELECT {rows}", *condition.parameters)
        estimate = int(json.loads(plan[0][0])[0]["Plan"]["Plan Rows"])
        if estimate > MAX_EXACT_COUNT:
            return estimate
        records = await engine.fetch(f"SELECT count(*) {rows}", *condition.parameters)
        return int(records[0][0])

    async def _count_in_sample(self, condition: ListFilter) -> int:
        """Estimate how many rows meet a condition that is expensive to evaluate.

        The estimate is made from a few pages of the table.
        """
        records = await engine.fetch(ESTIMATE_TABLE_ROWS, table_name=self.table_name)
        table_rows = records[0]["reltuples"]
        percentage = min(100, 100 * COUNT_SAMPLE_ROWS / max(table_rows, 1))
        records = await engine.fetch(
            f"""SELECT count(*) FILTER (WHERE {condition.where}) AS matching, count(*) AS read
            FROM {self.table_name} AS this TABLESAMPLE SYSTEM ({percentage}) REPEATABLE (0)""",
            *condition.parameters,
        )
        sample = records[0]
        return int(table_rows * sample["matching"] / max(sample["read"], 1))

    async def _list_choices(self, limit: int, offset: int) -> list[asyncpg.Record]:
        label = self.schema_extra["link_column_name"]
        return await engine.fetch(
            f"""SELECT "{self.key}", "{label}"::text FROM {self.table_name} AS this
            ORDER BY {self._order("")} LIMIT {limit} OFFSET {offset}"""
        )

    async def _find_members(self, text: str, limit: int, offset: int) -> list[asyncpg.Record]:
        """Find members by number, by a part of the name or username, or by another account's."""
        page = f"LIMIT {limit} OFFSET {offset}"
        if not text:
            return await engine.fetch(f"{MEMBER_CHOICES} ORDER BY created_at DESC, id DESC {page}")
        parameters = Parameters()
        needle = fold_needle(text)
        pattern = contains_pattern(needle)
        number = present_number_sql(parameters.bind(member_number(text)))
        username = parameters.bind(clean_identifier(text).removeprefix("@"))
        if pattern is None or is_indexed(needle):
            matches = f"search_text LIKE {parameters.bind(pattern)}"
        else:
            # The index contains shorter texts only as the beginning of a word.
            start = parameters.bind(pattern.removeprefix("%"))
            matches = f"(search_text LIKE {start} OR search_text LIKE '% ' || {start})"
        return await engine.fetch(
            f"""
            SELECT * FROM (
                ({MEMBER_CHOICES} AND member_id = {number})
                UNION
                ({MEMBER_CHOICES} AND member_id IN (
                    SELECT member_id FROM member_accounts WHERE lower(username) = lower({username})
                ))
                UNION
                ({MEMBER_CHOICES} AND {matches} LIMIT {MAX_CANDIDATES})
            ) AS found
            ORDER BY member_id = {number} DESC, length(member_id), member_id {page}
            """,
            *parameters,
        )

    def _order(self, requested: str) -> str:
        """Return the ORDER BY list, which ends with the key.

        Rows with equal values could otherwise appear on two pages, or on none.
        """
        wanted = [
            (name.removeprefix("-"), "DESC" if name.startswith("-") else "ASC")
            for name in requested.split(",")
            if name
        ] or [
            (by["column"], "ASC" if by["ascending"] else "DESC")
            for by in self.schema_extra["order_by"]
        ]
        parts: list[str] = []
        for name, direction in wanted:
            if name not in self.readable:
                raise InvalidInput(f"There is no column {sanitize_for_message(name)} to sort by.")
            column, expression = self.columns[name], self.expression(name)
            if not parts and (isinstance(column, ForeignKey) or name == "member_id"):
                # "#9" comes before "#10".
                parts.append(f"length({expression}) {direction}")
            nulls = " NULLS LAST" if column._meta.null and direction == "DESC" else ""
            parts.append(f"{expression} {direction}{nulls}")
        if self.key not in dict(wanted):
            parts.append(f'this."{self.key}" {wanted[0][1]}')
        return ", ".join(parts)

    async def _filter(self, query: ListQuery) -> ListFilter:
        """Return the condition of a list's filters and its view."""
        query.check_filters(self.readable)
        condition = ListFilter()
        for name in query.filtered_columns:
            condition.conditions.append(await self._column_condition(query, name, condition))
        if view := query.value("__view"):
            if view not in self.policy.views:
                raise InvalidInput(f"There is no view {sanitize_for_message(view)}.")
            condition.conditions.append(self.policy.views[view])
        condition.conditions += [
            listed
            for name, listed in self.policy.listed.items()
            if not self._is_asked_for(query, name)
        ]
        return condition

    def _is_asked_for(self, query: ListQuery, name: str) -> bool:
        """Tell whether a list is filtered by a column in a way that asks for all of its rows."""
        if name not in query.filtered_columns:
            return False
        # All members but one are not a wish to see the bots among them.
        return not isinstance(self.columns[name], ForeignKey) or query.operator(name)[0] == "e"

    def _leaves_removed_out(self, query: ListQuery) -> bool:
        column = self.policy.removed_at_column
        return bool(column) and column not in query.filtered_columns

    async def _column_condition(self, query: ListQuery, name: str, condition: ListFilter) -> str:
        """Return the condition of one column's filter.

        One of several values has to match; with the operator `ne`, none of them may.
        """
        operator, match = query.operator(name)
        if operator in NULL_OPERATORS:
            return f'this."{name}" {NULL_OPERATORS[operator]}'
        column = self.columns[name]
        if operator in RANGE_OPERATORS and isinstance(column, (ForeignKey, *TEXT_COLUMNS)):
            raise InvalidInput(
                "Only numbers and times can be less or greater. Choose Equals or Not Equal.",
                field=name,
            )
        if isinstance(column, ForeignKey):
            return await self._member_condition(query, name, operator, condition)
        is_text = isinstance(column, TEXT_COLUMNS) and not column._meta.choices
        conditions = [
            await self._text_condition(query, name, match, value, condition)
            if is_text and operator == "e" and match != "exact"
            else self._value_condition(name, operator, value, condition)
            for value in [normalize_filter(name, sent) for sent in query.values(name)]
        ]
        if name == "member_id" and operator == "e" and self.policy.keeps_merged_numbers:
            numbers = [n for sent in query.values(name) for n in await self.find_numbers(sent)]
            conditions.append(f"this.member_id = ANY({condition.parameters.bind(numbers)})")
        return f"({(' AND ' if operator == 'ne' else ' OR ').join(conditions)})"

    async def _member_condition(
        self, query: ListQuery, name: str, operator: str, condition: ListFilter
    ) -> str:
        column = self.columns[name]
        members = [
            number
            for value in query.values(name)
            for number in await self.find_numbers(parse_value(column, value))
        ]
        bind = condition.parameters.bind
        if len(members) == 1:
            # With =, an index returns the rows in its order.
            equals = f"{self.expression(name)} = {bind(members[0])}"
        else:
            equals = f"{self.expression(name)} = ANY({bind(members)}::varchar[])"
        return f"({equals}) IS NOT TRUE" if operator == "ne" else equals

    def _value_condition(self, name: str, operator: str, sent: str, condition: ListFilter) -> str:
        value = parse_value(self.columns[name], sent)
        if name == "member_id":
            value = member_number(value)
        placeholder = condition.parameters.bind(value)
        return f"{self.expression(name)} {FILTER_OPERATORS[operator]} {placeholder}"

    async def _text_condition(
        self, query: ListQuery, name: str, match: str, sent: str, condition: ListFilter
    ) -> str:
        """Return the condition that a column contains a text, and use an index if possible."""
        bind = condition.parameters.bind
        needle = fold_needle(parse_value(self.columns[name], sent))
        pattern = contains_pattern(needle)
        if pattern is None:
            return "false"
        text = f"{bind(escape_pattern(needle))}::text"
        folded = f"directory_search_text({self.expression(name)})"
        matches = f"{folded} LIKE {LIKE_PATTERNS[match].format(text)}"
        if name not in self.policy.searched:
            return matches
        # The stored text spares most rows the folding, unless it was cut.
        stored = "this.search_text"
        may_match = f"({stored} LIKE {bind(pattern)} OR length({stored}) = {SEARCH_TEXT_LENGTH})"
        matches = f"({may_match} AND {matches})"
        if not is_indexed(needle) or not self._leaves_removed_out(query):
            return matches
        candidates = await engine.fetch(FIND_CANDIDATES, pattern=pattern)
        if len(candidates) <= MAX_CANDIDATES:
            keys = bind([record["id"] for record in candidates])
            return f"(this.id = ANY({keys}::uuid[]) AND {matches})"
        condition.has_frequent_text = True
        # The planner expects that a CASE is true for half of the rows: it then reads rows in
        # order until the page is full.
        return f"CASE WHEN {matches} THEN true END"


def _format_for_people(value: date) -> str:
    """Format a date, or a time to the second."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    return value.isoformat()
