"""The lists of the panel: pages, filters, order, counts, and the search for a row to refer to."""

import re
from collections.abc import Collection
from datetime import date, datetime

import asyncpg
from piccolo.columns import Boolean, ForeignKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from community_directory.calendar import load_zone
from community_directory.database import Parameters, Statement, engine
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.conditions import SEARCH_TEXT_LENGTH, is_indexed
from community_directory.queries.folding import contains_pattern, escape_pattern, fold_needle
from community_directory.queries.identifiers import clean_identifier
from community_directory.queries.values import member_number, present_number_sql
from community_directory.web.admin.large_tables import (
    count_table_rows,
    find_values,
    plan_query,
)
from community_directory.web.admin.policy import RowData
from community_directory.web.admin.rows import TableRows, json_response, validated
from community_directory.web.admin.values import TEXT_COLUMNS, normalize_filter, parse_value

MAX_LIST_ROWS = 1000
"""The most rows of a page."""
MAX_LIST_PAGES = 1_000_000
MAX_EXACT_COUNT = 50_000
"""Above this number of rows a count is the planner's estimate."""
MAX_PLANNED_COST = 8_000
"""The cost up to which a page is read and a number is counted, in the planner's unit.

With PostgreSQL's defaults 100 to 200 of it take some 1 ms, so that an answer takes up to 80 ms.
"""
MAX_UNINDEXED_ROWS = 200_000
"""The rows of a table in which a part of an identifier is looked for, each row at a time."""
MAX_UNPLANNED_ROWS = 400_000
"""The rows of a table of which every page is read, whatever it costs."""
MAX_EASY_ROWS = 1000
"""The rows of a list without filters, in the table's own order, that are read without a plan."""
MAX_WALKED_ROWS = 20_000
"""The rows, beside 50 for each row of the pages, among which a filter finds its page."""
MAX_COMPARED_TEXTS = 50_000
"""The most members whose texts are compared until a page is full."""
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
MEMBER_CHOICES = """
SELECT id, member_id || ' ' || name, member_id, name FROM community_members
WHERE deleted_at IS NULL AND NOT is_bot"""


class TooManyRows(InvalidInput):
    """A page that can't be read in a table of this size in a reasonable time."""


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
        requested = query.value("__order")
        order = self._order(requested)
        # The subquery selects keys only, so that an index is enough to skip the rows before the
        # page.
        key = self._page_key(requested)
        columns = ", ".join(f'"{name}"' for name in key)
        selected = ", ".join(f'this."{name}"' for name in key)
        page = (
            f"SELECT {selected} FROM {self.table_name} AS this"
            f" WHERE {condition.where} ORDER BY {', '.join(order)} LIMIT {size} OFFSET {offset}"
        )
        if query.filtered_columns or offset > MAX_EASY_ROWS or order != self._order(""):
            await self._check_size(query, condition, page, order, offset + size)
        records = await engine.read(
            f"""
            SELECT {self.select(dict.fromkeys([self.key, *names]))} FROM ({page}) AS page
            JOIN {self.table_name} AS this USING ({columns}) ORDER BY {", ".join(order)}
            """,
            *condition.parameters,
        )
        rows = [dict(record) for record in records]
        return json_response({"rows": rows}, format_date=_format_for_people)

    @validated
    async def get_count(self, request: Request) -> Response:
        """Return how many rows a list has; the number is an estimate when there are many.

        The list itself says why it can't be read.
        """
        try:
            condition = await self._filter(ListQuery(request))
        except TooManyRows:
            count, is_estimate = 0, False
        else:
            if condition.has_frequent_text:
                count, is_estimate = await self._count_in_sample(condition), True
            else:
                count, is_estimate = await self._count(condition)
        body = {"count": count, "page_size": self.page_size}
        # panel.js says that a number is an estimate.
        return JSONResponse(body | {"is_estimate": True} if is_estimate else body)

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

    async def _check_size(
        self, query: ListQuery, condition: ListFilter, page: str, order: list[str], last_row: int
    ) -> None:
        """Check that a page can be read in a reasonable time.

        Raises:
            TooManyRows: It can't; the message says what to do.
        """
        table_rows = await count_table_rows(self.table_name)
        if table_rows <= MAX_UNPLANNED_ROWS:
            return
        plan = await plan_query(page, condition.parameters)
        first, *_ = self._order_columns(query.value("__order"))
        # Rows with one of few values are sorted by the key before the first one is known.
        is_coarse = plan.is_walk and first in self.policy.value_indexes
        if plan.cost > MAX_PLANNED_COST or is_coarse:
            raise TooManyRows(
                f"About {table_rows:,} rows are too many for this order, filter or page. Add a"
                f" filter, or sort by {self._label_own_order()}."
            )
        if condition.has_frequent_text:
            await self._check_text(condition, last_row)
        elif plan.is_walk and query.filtered_columns and not self._lists_removed(query):
            await self._check_walk(query, condition, order, last_row)

    async def _check_walk(
        self, query: ListQuery, condition: ListFilter, order: list[str], last_row: int
    ) -> None:
        """Check that a page is full before too many rows were read in the order of the list.

        Old rows can have early times, or another platform, so that the first ones are far away.

        Raises:
            TooManyRows: It is not.
        """
        listed = " AND ".join(self._listed_conditions(query)) or "true"
        records = await engine.read(
            f"""
            SELECT count(*) FROM (
                SELECT FROM (
                    SELECT * FROM {self.table_name} AS this WHERE {listed}
                    ORDER BY {", ".join(order)} LIMIT {MAX_WALKED_ROWS + 50 * last_row}
                ) AS this WHERE {condition.where} LIMIT {last_row}
            ) AS found
            """,
            *condition.parameters,
        )
        if records[0][0] < last_row:
            raise TooManyRows(
                f"Few of the first {MAX_WALKED_ROWS:,} rows match, and the others are too many to"
                " look through. Add a filter, or sort by another column."
            )

    async def _check_text(self, condition: ListFilter, last_row: int) -> None:
        """Check that a page is full before the texts of too many members were compared.

        Raises:
            TooManyRows: Other columns contain the text often, but this one rarely.
        """
        rows = f"SELECT FROM {self.table_name} AS this WHERE {condition.where}"
        # The planner expects that the text is in half of the rows.
        compared = 2 * (await plan_query(rows, condition.parameters)).rows
        if compared > MAX_COMPARED_TEXTS:
            matching = await self._count_in_sample(condition)
            compared = compared * last_row // matching if matching else compared
        if compared > MAX_COMPARED_TEXTS:
            raise TooManyRows("Few of very many rows have this text here. Type more of it.")

    async def _count(self, condition: ListFilter) -> tuple[int, bool]:
        """Return how many rows meet a condition, and whether the number is an estimate."""
        rows = f"FROM {self.table_name} AS this WHERE {condition.where}"
        plan = await plan_query(f"SELECT {rows}", condition.parameters)
        if plan.rows > MAX_EXACT_COUNT or plan.cost > MAX_PLANNED_COST:
            return plan.rows, True
        records = await engine.read(f"SELECT count(*) {rows}", *condition.parameters)
        return int(records[0][0]), False

    async def _count_in_sample(self, condition: ListFilter) -> int:
        """Estimate how many rows meet a condition that is expensive to evaluate.

        The estimate is made from a few pages of the table.
        """
        table_rows = await count_table_rows(self.table_name)
        percentage = min(100, 100 * COUNT_SAMPLE_ROWS / max(table_rows, 1))
        records = await engine.read(
            f"""SELECT count(*) FILTER (WHERE {condition.where}) AS matching, count(*) AS read
            FROM {self.table_name} AS this TABLESAMPLE SYSTEM ({percentage}) REPEATABLE (0)""",
            *condition.parameters,
        )
        sample = records[0]
        return int(table_rows * sample["matching"] / max(sample["read"], 1))

    async def _is_frequent(self, table_rows: int, pattern: str) -> bool:
        """Tell whether a text is in so many members that the text index finds too many.

        The index takes longer to say so: 70 ms for one in 20 of a million, a sample 3 ms.
        """
        percentage = 100 * COUNT_SAMPLE_ROWS / table_rows
        records = await engine.read(
            f"""SELECT count(*) FROM {self.table_name}
            TABLESAMPLE SYSTEM ({percentage}) REPEATABLE (0) WHERE search_text LIKE $1""",
            pattern,
        )
        return int(records[0][0]) * table_rows > 3 * MAX_CANDIDATES * COUNT_SAMPLE_ROWS

    async def _list_choices(self, limit: int, offset: int) -> list[asyncpg.Record]:
        label = self.schema_extra["link_column_name"]
        return await engine.read(
            f"""SELECT "{self.key}", "{label}"::text FROM {self.table_name} AS this
            ORDER BY {", ".join(self._order(""))} LIMIT {limit} OFFSET {offset}"""
        )

    async def _find_members(self, text: str, limit: int, offset: int) -> list[asyncpg.Record]:
        """Find members by number, by a part of the name or username, or by another account's."""
        page = f"LIMIT {limit} OFFSET {offset}"
        if not text:
            return await engine.read(f"{MEMBER_CHOICES} ORDER BY created_at DESC, id DESC {page}")
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
        return await engine.read(
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

    def _order_columns(self, requested: str) -> dict[str, str]:
        """Return the directions by column in which a list is sorted; the last ones are unique.

        Rows with equal values could otherwise appear on two pages, or on none.

        Raises:
            InvalidInput: There is no such column.
        """
        wanted: dict[str, str] = {}
        for name in filter(None, requested.split(",")):
            wanted.setdefault(name.removeprefix("-"), "DESC" if name.startswith("-") else "ASC")
        if not wanted:
            for by in self.schema_extra["order_by"]:
                wanted[by["column"]] = "ASC" if by["ascending"] else "DESC"
        for name in wanted:
            if name not in self.readable:
                raise InvalidInput(f"There is no column {sanitize_for_message(name)} to sort by.")
        # If the first columns of a unique index are wanted, the others complete its order.
        unique = self.policy.unique_key
        key = unique if unique[: len(wanted)] == tuple(wanted) else (self.key,)
        return wanted | {name: next(iter(wanted.values())) for name in key if name not in wanted}

    def _order(self, requested: str) -> list[str]:
        """Return the parts of the ORDER BY list."""
        parts: list[str] = []
        for name, direction in self._order_columns(requested).items():
            column, expression = self.columns[name], self.expression(name)
            if not parts and (isinstance(column, ForeignKey) or name == "member_id"):
                # "#9" comes before "#10".
                parts.append(f"length({expression}) {direction}")
            nulls = " NULLS LAST" if column._meta.null and direction == "DESC" else ""
            parts.append(f"{expression} {direction}{nulls}")
        return parts

    def _page_key(self, requested: str) -> list[str]:
        """Return the columns that identify the rows of a page, which its index has."""
        unique = [*self.policy.unique_key]
        return unique if [*self._order_columns(requested)] == unique else [self.key]

    def _label_own_order(self) -> str:
        column = self.schema_extra["order_by"][0]["column"]
        return f"“{self._schema['properties'][column]['title']}”"

    async def _filter(self, query: ListQuery) -> ListFilter:
        """Return the condition of a list's filters."""
        query.check_filters(self.readable)
        condition = ListFilter()
        for name in query.filtered_columns:
            condition.conditions.append(await self._column_condition(query, name, condition))
        condition.conditions += self._listed_conditions(query)
        return condition

    def _listed_conditions(self, query: ListQuery) -> list[str]:
        """Return the conditions that the rows of a list meet unless a filter asks for others."""
        return [
            listed
            for name, listed in self.policy.listed.items()
            if not self._is_asked_for(query, name)
        ]

    def _is_asked_for(self, query: ListQuery, name: str) -> bool:
        """Tell whether a list is filtered by a column in a way that asks for all of its rows.

        A filter that asks for no other rows than the list has anyway is none: with the condition of
        the list, PostgreSQL can use the index that has no others.
        """
        if name not in query.filtered_columns:
            return False
        column, (operator, _) = self.columns[name], query.operator(name)
        if isinstance(column, ForeignKey):
            # All members but one are not a wish to see the bots among them.
            return operator == "e"
        if isinstance(column, Boolean):
            return operator != "e" or any(parse_value(column, v) for v in query.values(name))
        return operator != "is_null"

    def _leaves_removed_out(self, query: ListQuery) -> bool:
        column = self.policy.removed_at_column
        return bool(column) and (
            column not in query.filtered_columns or query.operator(column)[0] == "is_null"
        )

    def _lists_removed(self, query: ListQuery) -> bool:
        return bool(self.policy.removed_at_column) and not self._leaves_removed_out(query)

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
            if is_text
            and operator == "e"
            and (match != "exact" or name in self.policy.searched | self.policy.exact.keys())
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
        if operator == "e" and (indexed := self.policy.value_conditions.get(name, {}).get(value)):
            return indexed
        if name == "member_id":
            value = member_number(value)
        placeholder = condition.parameters.bind(value)
        return f"{self.expression(name)} {FILTER_OPERATORS[operator]} {placeholder}"

    async def _text_condition(
        self, query: ListQuery, name: str, match: str, sent: str, condition: ListFilter
    ) -> str:
        """Return the condition that a column contains a text, and use an index if possible."""
        value = parse_value(self.columns[name], sent)
        pattern = contains_pattern(fold_needle(value))
        if pattern is None and match != "exact":
            return "false"
        if name in self.policy.searched:
            return await self._searched_condition(query, name, match, value, condition)
        table_rows = await count_table_rows(self.table_name)
        if table_rows <= MAX_UNINDEXED_ROWS:
            return self._match_condition(name, match, value, condition.parameters)
        values = await self._find_matching_values(name, match, value)
        if values is not None:
            bind = condition.parameters.bind
            return (
                " AND ".join(
                    f'this."{column}" = ANY({bind([*{*matching}])}::varchar[])'
                    for column, matching in zip(
                        self.policy.value_indexes[name], zip(*values, strict=True), strict=False
                    )
                )
                or "false"
            )
        keys = await self._find_keys(name, value)
        if not keys:
            raise TooManyRows(
                f"None of about {table_rows:,} rows has exactly this text here, and a part of it is"
                " not looked for among so many. Type the whole text, or choose another filter.",
                field=name,
            )
        if len(keys) <= MAX_CANDIDATES:
            return f'this."{self.key}" = ANY({condition.parameters.bind(keys)})'
        return self._whole_condition(name, value, condition.parameters)

    async def _find_matching_values(
        self, name: str, match: str, value: str
    ) -> list[tuple[str, ...]] | None:
        """Return the few different values of a column that match; None if it has many."""
        if name not in self.policy.value_indexes:
            return None
        arguments = Parameters()
        matches = self._match_condition(name, match, value, arguments)
        columns = self.policy.value_indexes[name]
        return await find_values(self.table_name, columns, matches, arguments)

    async def _find_keys(self, name: str, value: str) -> list[object]:
        """Return the keys of the rows with a value, up to one too many; none without an index."""
        arguments = Parameters()
        whole = self._whole_condition(name, value, arguments)
        rows = f'SELECT this."{self.key}" FROM {self.table_name} AS this WHERE {whole}'
        if name not in self.policy.exact:
            plan = await plan_query(rows, arguments)
            if plan.cost > MAX_PLANNED_COST:
                return []
        records = await engine.read(f"{rows} LIMIT {MAX_CANDIDATES + 1}", *arguments)
        return [key for (key,) in records]

    def _whole_condition(self, name: str, value: str, parameters: Parameters) -> str:
        """Return the condition that a column has this value, which an index can find."""
        if name == "member_id":
            value = member_number(value)
        condition = self.policy.exact.get(name, f'this."{name}" = {{0}}')
        return condition.format(f"{parameters.bind(value)}::text")

    def _match_condition(self, name: str, match: str, value: str, parameters: Parameters) -> str:
        """Return the condition that the folded text of a column matches."""
        if match == "exact":
            return f"{self.expression(name)} = {parameters.bind(value)}"
        text = f"{parameters.bind(escape_pattern(fold_needle(value)))}::text"
        folded = f"directory_search_text({self.expression(name)})"
        return f"{folded} LIKE {LIKE_PATTERNS[match].format(text)}"

    async def _searched_condition(
        self, query: ListQuery, name: str, match: str, value: str, condition: ListFilter
    ) -> str:
        """Return the condition of a column that the text index of the members contains."""
        bind = condition.parameters.bind
        matches = self._match_condition(name, match, value, condition.parameters)
        needle = fold_needle(value)
        pattern = contains_pattern(needle)
        if pattern is None:
            return matches
        # The stored text spares most rows the folding, unless it was cut.
        stored = "this.search_text"
        may_match = f"({stored} LIKE {bind(pattern)} OR length({stored}) = {SEARCH_TEXT_LENGTH})"
        matches = f"({may_match} AND {matches})"
        if not self._leaves_removed_out(query):
            return matches
        table_rows = await count_table_rows(self.table_name)
        is_large = table_rows > MAX_UNINDEXED_ROWS
        if not is_indexed(needle):
            if not is_large:
                return matches
        elif not (is_large and await self._is_frequent(table_rows, pattern)):
            candidates = await engine.read(FIND_CANDIDATES, pattern=pattern)
            if len(candidates) <= MAX_CANDIDATES:
                keys = bind([record["id"] for record in candidates])
                return f"(this.id = ANY({keys}::uuid[]) AND {matches})"
        condition.has_frequent_text = True
        # The planner expects that a CASE is true for half of the rows: it then reads rows in
        # order until the page is full.
        return f"CASE WHEN {matches} THEN true END"


def _format_for_people(value: date) -> str:
    """Format a date, or a time to the second in the community's time zone."""
    if isinstance(value, datetime):
        return f"{value.astimezone(load_zone(None)):%Y-%m-%d %H:%M:%S %Z}"
    return value.isoformat()
