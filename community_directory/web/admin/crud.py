"""The one class behind every list and form of the panel.

Piccolo Admin's front end knows rows by their primary key: it links to, submits and filters by the referenced row's
UUID, also where a foreign key holds a `member_id`. So such a key leaves the server as that UUID, and what comes in is
turned back. Every foreign key of the panel leads to a member.
"""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, TypeVar, cast
from uuid import UUID

from piccolo.columns import JSON, Column, ForeignKey
from piccolo.table import Table
from piccolo_api.crud.endpoints import PiccoloCRUD
from piccolo_api.crud.validators import apply_validators
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from community_directory.database import act_as, engine, transaction
from community_directory.errors import (
    InvalidInput,
    OperatorError,
    database_errors,
    sanitize_for_message,
)
from community_directory.queries.search import ANY_RANGE, PATTERN, is_indexed
from community_directory.web.admin.values import (
    TEXTS,
    is_unchanged,
    json_object,
    value_of,
    with_exact_numbers,
)
from community_directory.web.outage import report

Row = dict[str, Any]

LONGEST_PAGE = 1000
"""The rows of a page at the most: the front end's download of a list asks for so many."""
LAST_PAGE = 1_000_000
MANY = 50_000
"""From so many rows on a count is the planner's estimate."""
CANDIDATES = 1000
"""How many members of those that match a search are looked at one by one; a word of more is a frequent one."""
SAMPLE = 3000
"""Of about so many rows a frequent word is counted."""
FOUND = f"""
SELECT id FROM community_members WHERE deleted_at IS NULL AND {ANY_RANGE} AND search_text LIKE {PATTERN.format("$1")}
LIMIT {CANDIDATES + 1}
"""
SEEN = "__seen"
"""Where the front end's script puts the row as the form was filled with it."""
RANGE_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
OPERATORS = {
    "e": "=",
    "ne": "IS DISTINCT FROM",
    "is_null": "IS NULL",
    "not_null": "IS NOT NULL",
    **RANGE_OPERATORS,
}
MATCHES = {
    "contains": ("'%' || ", " || '%'"),
    "starts": ("", " || '%'"),
    "ends": ("'%' || ", ""),
    "exact": ("", ""),
}
ESCAPED = r"regexp_replace({}, '([\\%_])', '\\\1', 'g')"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a manager may do with a table's rows by hand, and how they are shown; names are those of columns."""

    read_only: bool = False
    locked: frozenset[str] = frozenset()
    """Shown, and never edited: bots, triggers and forms write them."""
    locked_when_new: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    """Neither in a form nor in what a list or a form is sent."""
    add: Callable[[Row, str], Awaitable[object]] | None = None
    """Adds a row with these values in the name of an actor and returns its key, instead of a plain INSERT."""
    prepare: Callable[[Row], Row] | None = None
    """Makes what is stored of the values that were typed."""
    remove: Callable[[Row, str], Awaitable[object]] | None = None
    """Takes a row away in the name of an actor, instead of a DELETE."""
    undeletable: str = ""
    """Why a row is never deleted, as a sentence."""
    present: str = "true"
    """The condition on the rows that are listed unless a filter names its column, which `present_column` names."""
    present_column: str = ""
    computed: Mapping[str, str] = field(default_factory=dict)
    """The SQL that a column shows and is filtered by, instead of what is stored."""
    views: Mapping[str, str] = field(default_factory=dict)
    """Conditions that a link of the side bar names: `?__view=…`."""
    labels: Mapping[str, str] = field(default_factory=dict)
    searched: frozenset[str] = frozenset()
    """The columns that the members' search index holds."""


Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Response]])


def _validated(endpoint: Endpoint) -> Endpoint:
    """Piccolo's decorator, which asks the validators of the table's configuration first, with types."""
    return cast("Endpoint", apply_validators(endpoint))  # type: ignore[no-untyped-call]


class DirectoryCRUD(PiccoloCRUD):
    """Lists, counts, searches, shows, adds, edits and deletes the rows of one table, by its `Rules`."""

    def __init__(self, table: type[Table], rules: Rules, **options: Any) -> None:
        super().__init__(table, **options)
        self.rules = rules
        self._columns: dict[str, Column] = {
            column._meta.name: column
            for column in table._meta.columns
            if column._meta.name not in rules.hidden
        }
        self._readable = {
            name: column for name, column in self._columns.items() if not column._meta.secret
        }
        self._key: str = table._meta.primary_key._meta.name
        self._table = f'"{table._meta.tablename}"'

    # Reading

    @_validated
    async def get_all(self, request: Request, params: Row | None = None) -> Response:  # noqa: ARG002
        """A page of rows: of a few columns, newest first unless the request says otherwise."""
        query = ListQuery(request)
        size = query.number("__page_size", self.page_size, LONGEST_PAGE)
        if query.one("__visible_fields"):
            names = query.one("__visible_fields").split(",")
        else:
            # A download of all columns names none.
            names = [*self._readable] if size == LONGEST_PAGE else self._listed
        if unknown := [name for name in names if name not in self._readable]:
            raise InvalidInput(f"There is no column {sanitize_for_message(unknown[0])}.")
        offset = (query.number("__page", 1, LAST_PAGE) - 1) * size
        where, arguments = await self._where(query)
        order = self._order(query.one("__order"))
        # The page's keys first, so that the rows before it are passed over in an index.
        records = await engine.fetch(
            f"""
            SELECT {self._select({self._key: None, **dict.fromkeys(names)})} FROM (
                SELECT this."{self._key}" FROM {self._table} AS this WHERE {where}
                ORDER BY {order} LIMIT {size} OFFSET {offset}
            ) AS page JOIN {self._table} AS this USING ("{self._key}") ORDER BY {order}
            """,
            *arguments,
        )
        return _answer({"rows": [dict(record) for record in records]}, when=_when_listed)

    @_validated
    async def get_count(self, request: Request) -> Response:
        """How many rows a list has; of many, about how many."""
        query = ListQuery(request)
        where, arguments = await self._where(query)
        if query.has_frequent_word:
            count = await self._sampled_count(where, arguments)
        else:
            rows = f"FROM {self._table} AS this WHERE {where}"
            plan = await engine.fetch(f"EXPLAIN (FORMAT JSON) SELECT {rows}", *arguments)
            count = json.loads(plan[0][0])[0]["Plan"]["Plan Rows"]
            if count <= MANY:
                count = (await engine.fetch(f"SELECT count(*) {rows}", *arguments))[0][0]
        return JSONResponse({"count": int(count), "page_size": self.page_size})

    async def _sampled_count(self, where: str, arguments: list[Any]) -> float:
        """Estimate how many rows meet a condition that is expensive to evaluate, from a few pages of the table."""
        size = await engine.fetch(
            "SELECT reltuples FROM pg_class WHERE oid = $1::text::regclass", self._table
        )
        share = min(100, 100 * SAMPLE / max(size[0][0], 1))
        sample = f"{self._table} AS this TABLESAMPLE SYSTEM ({share}) REPEATABLE (0)"
        counted = await engine.fetch(
            f"SELECT count(*) FILTER (WHERE {where}), count(*) FROM {sample}", *arguments
        )
        matching, looked_at = counted[0]
        return float(size[0][0] * matching / max(looked_at, 1))

    @_validated
    async def get_ids(self, request: Request) -> Response:
        """Rows to choose from, by key, as a person reads them; members are found by number, name and username."""
        query = ListQuery(request)
        limit = query.number("limit", 50, LONGEST_PAGE)
        offset = query.number("offset", 0, LONGEST_PAGE)
        found = await self._choices(query.one("search").strip(), limit, offset)
        return JSONResponse({str(record[0]): record[1] for record in found})

    async def _choices(self, text: str, limit: int, offset: int) -> list[Any]:
        if not self.rules.searched:
            label = self.schema_extra["link_column_name"]
            statement = f"""SELECT "{self._key}", "{label}"::text FROM {self._table} AS this
                ORDER BY {self._order("")} LIMIT {limit} OFFSET {offset}"""
            return await engine.fetch(statement)
        select = "SELECT id, member_id || ' ' || name, member_id, name FROM community_members WHERE deleted_at IS NULL"
        if not text:
            return await engine.fetch(
                f"{select} ORDER BY created_at DESC, id DESC LIMIT {limit} OFFSET {offset}"
            )
        # Of a word shorter than three letters only the beginning of one is in the index.
        pattern = PATTERN.format("$1")
        if not is_indexed(text):
            pattern = pattern.removeprefix("'%' || ")
            condition = f"{ANY_RANGE} AND (search_text LIKE {pattern} OR search_text LIKE '% ' || {pattern})"
        else:
            condition = f"{ANY_RANGE} AND search_text LIKE {pattern}"
        return await engine.fetch(
            f"""
            SELECT * FROM (
                ({select} AND member_id = $2) UNION ({select} AND {condition} LIMIT {CANDIDATES})
            ) AS found
            ORDER BY member_id = $2 DESC, length(member_id), member_id LIMIT {limit} OFFSET {offset}
            """,
            text,
            _number(text),
        )

    @_validated
    async def get_single(self, request: Request, row_id: object) -> Response:  # noqa: ARG002
        """One row, as a form is filled with it."""
        return _answer(await self._read(row_id))

    @_validated
    async def get_new(self, request: Request) -> Response:  # noqa: ARG002
        """What the form for a new row starts with."""
        return _answer(self._new_row())

    def _new_row(self) -> Row:
        """A row as its form starts; what the form locks starts empty, but for a choice."""
        new = self.table(_ignore_missing=True)
        row = {name: getattr(new, name) for name in self._readable if name != self._key}
        for name in self.rules.locked_when_new:
            if not self._columns[name]._meta.choices:
                row[name] = None
        return row

    @_validated
    async def get_schema(self, request: Request) -> JSONResponse:  # noqa: ARG002
        """The columns, with labels that people read, and what the front end's script locks and takes away."""
        return JSONResponse(self._schema)

    @cached_property
    def _schema(self) -> Row:
        schema = self.pydantic_model.model_json_schema()
        properties = schema["properties"]
        for name in self.rules.hidden:
            del properties[name]
        for name, described in properties.items():
            described["title"] = self.rules.labels.get(name) or name.replace("_", " ").capitalize()
        rules = self.rules
        schema["extra"]["locked"] = sorted(self._locked)
        schema["extra"]["locked_when_new"] = sorted(self.rules.locked_when_new)
        schema["extra"]["refused"] = (
            ["add", "edit", "delete"]
            if rules.read_only
            else ["delete"]
            if rules.undeletable
            else []
        )
        return dict(schema)

    @property
    def _locked(self) -> frozenset[str]:
        return frozenset(self._columns) if self.rules.read_only else self.rules.locked

    @property
    def _listed(self) -> list[str]:
        return [
            name for name in self.schema_extra["visible_column_names"] if name in self._readable
        ]

    def _select(self, names: Mapping[str, None]) -> str:
        """The columns to read; a key to a member comes as that row's key, with the person beside it."""
        parts = []
        for name in names:
            if isinstance(self._columns[name], ForeignKey):
                person = f'FROM community_members AS person WHERE person.member_id = this."{name}"'
                parts.append(f'(SELECT id {person}) AS "{name}"')
                parts.append(f"(SELECT member_id || ' ' || name {person}) AS \"{name}_readable\"")
            else:
                parts.append(f'{self._sql(name)} AS "{name}"')
        return ", ".join(parts)

    def _sql(self, name: str) -> str:
        return self.rules.computed.get(name, f'this."{name}"')

    def _order(self, asked: str) -> str:
        """ORDER BY, always down to the row: without a tie-breaker, pages repeat rows and lose others."""
        wanted = [
            (name.removeprefix("-"), "DESC" if name.startswith("-") else "ASC")
            for name in asked.split(",")
            if name
        ] or [
            (by["column"], "ASC" if by["ascending"] else "DESC")
            for by in self.schema_extra["order_by"]
        ]
        parts: list[str] = []
        for name, direction in wanted:
            if name not in self._readable:
                raise InvalidInput(f"There is no column {sanitize_for_message(name)} to sort by.")
            column, expression = self._columns[name], self._sql(name)
            if not parts and (isinstance(column, ForeignKey) or name == "member_id"):
                parts.append(f"length({expression}) {direction}")  # #9 before #10
            empty = " NULLS LAST" if column._meta.null and direction == "DESC" else ""
            parts.append(f"{expression} {direction}{empty}")
        if self._key not in dict(wanted):
            parts.append(f'this."{self._key}" {wanted[0][1]}')
        return ", ".join(parts)

    async def _where(self, query: "ListQuery") -> tuple[str, list[Any]]:
        """The condition that a list's filters mean, and its arguments. Raises `InvalidInput`."""
        parts: list[str] = []
        arguments: list[Any] = []
        for name in query.filtered:
            if name not in self._readable:
                raise InvalidInput(f"There is no column {sanitize_for_message(name)} to filter by.")
            operator = query.one(f"{name}__operator") or "e"
            match = query.one(f"{name}__match") or "contains"
            if operator not in OPERATORS or match not in MATCHES:
                raise InvalidInput(
                    f"There is no filter {sanitize_for_message(operator)}, {sanitize_for_message(match)}.",
                    field=name,
                )
            if operator.endswith("_null"):
                parts.append(f'this."{name}" {OPERATORS[operator]}')
            else:
                parts.append(await self._condition(query, name, operator, match, arguments))
        if view := query.one("__view"):
            if view not in self.rules.views:
                raise InvalidInput(f"There is no view {sanitize_for_message(view)}.")
            parts.append(self.rules.views[view])
        if self.rules.present_column not in query.filtered:
            parts.append(self.rules.present)
        return " AND ".join(parts) or "true", arguments

    async def _condition(
        self, query: "ListQuery", name: str, operator: str, match: str, arguments: list[Any]
    ) -> str:
        """The condition of one filter; of several values of a column each one will do."""
        values = [value for value in query.all(name) if value]
        column, expression = self._columns[name], self._sql(name)
        if operator in RANGE_OPERATORS and isinstance(column, (ForeignKey, *TEXTS)):
            raise InvalidInput(
                "Only a number or a time can be less or greater: choose Equals or Not Equal.",
                field=name,
            )
        if isinstance(column, ForeignKey):
            wanted = [await self._member_id(value_of(column, value)) for value in values]
            arguments.append(wanted)
            equals = f"{expression} = ANY(${len(arguments)}::varchar[])"
            if len(wanted) == 1:  # in the order of an index too
                arguments[-1:], equals = wanted, f"{expression} = ${len(arguments)}"
            return f"({equals}) IS NOT TRUE" if operator == "ne" else equals
        conditions = []
        for sent in values:
            value = value_of(column, sent)
            is_text = isinstance(column, TEXTS) and not column._meta.choices and operator == "e"
            arguments.append(
                _number(value)
                if name == "member_id" and (match == "exact" or operator != "e")
                else value
            )
            place = f"${len(arguments)}"
            if not is_text or match == "exact":
                conditions.append(f"{expression} {OPERATORS[operator]} {place}")
                continue
            before, after = MATCHES[match]
            if name in self.rules.searched and is_indexed(sent):
                text = ESCAPED.format(f"directory_search_text({place}::text)")
                condition = f"directory_search_text({expression}) LIKE {before}{text}{after}"
                if self.rules.present_column not in query.filtered:
                    found = await engine.fetch(FOUND, sent)
                    query.has_frequent_word |= len(found) > CANDIDATES
                    if len(found) <= CANDIDATES:
                        arguments.append([record[0] for record in found])
                        condition = f"(this.id = ANY(${len(arguments)}::uuid[]) AND {condition})"
                    else:
                        # Of a CASE the planner expects half of the rows: it reads in order until the page is full.
                        condition = f"CASE WHEN {condition} THEN true END"
                conditions.append(condition)
            else:
                conditions.append(
                    f"{expression} ILIKE {before}{ESCAPED.format(f'{place}::text')}{after}"
                )
        return f"({(' AND ' if operator == 'ne' else ' OR ').join(conditions)})"

    async def _member_id(self, sent: str) -> str | None:
        """The number of a member who is given by key or by number; None when the key is nobody's."""
        try:
            key = UUID(sent)
        except ValueError:
            return _number(sent)
        found = await engine.fetch("SELECT member_id FROM community_members WHERE id = $1", key)
        return found[0][0] if found else None

    async def _read(self, row_id: object, lock: str = "") -> Row:
        """Return a row, as JSON has it. Raises HTTPException with 404."""
        statement = f"""SELECT {self._select(dict.fromkeys(self._readable))} FROM {self._table} AS this
            WHERE this."{self._key}" = $1 {lock}"""
        records = await engine.fetch(statement, row_id)
        if not records:
            raise HTTPException(404, "There is no such row.")
        return _row(records[0])

    async def _update(self, row_id: object, values: Row) -> Row:
        """Write a row's values, and return it as it is then."""
        assignments = ", ".join(f'"{name}" = ${number}' for number, name in enumerate(values, 2))
        statement = f"""UPDATE {self._table} AS this SET {assignments} WHERE this."{self._key}" = $1
            RETURNING {self._select(dict.fromkeys(self._readable))}"""
        return _row((await engine.fetch(statement, row_id, *values.values()))[0])

    # Writing

    @_validated
    async def post_single(self, request: Request, data: Row) -> Response:
        """Add a row."""
        self._refuse_when_read_only()
        new = json.loads(_json(self._new_row()))
        self._refuse_unknown(data)
        sent = {name: value for name, value in data.items() if name != self._key}
        locked = self.rules.locked_when_new
        for name in locked & sent.keys():
            if not is_unchanged(self._columns[name], new[name], sent.pop(name)):
                raise InvalidInput("This is not filled in by hand.", field=name)
        required = {
            name: None
            for name in self._columns.keys() - locked
            if self._columns[name]._meta.required
        }
        async with _acting(request) as actor:
            key = await (self.rules.add or self._insert)(
                await self._values({**required, **sent}), actor
            )
        return _answer([{self._key: key}], status=201)

    @_validated
    async def patch_single(self, request: Request, row_id: object, data: Row) -> Response:
        """Change the fields of a row that differ from what its form was filled with, and no others."""
        self._refuse_when_read_only()
        seen = data.pop(SEEN, None)
        self._refuse_unknown(data)
        async with _acting(request):
            row = await self._read(row_id, "FOR NO KEY UPDATE OF this")
            before = {**row, **seen} if isinstance(seen, dict) else row
            changed = {
                name: value
                for name, value in data.items()
                if not is_unchanged(self._columns[name], before.get(name), value)
            }
            for name in changed:
                if name in self._locked or name == self._key:
                    raise InvalidInput("This is not changed by hand.", field=name)
                if before.get(name) != row.get(name):
                    raise InvalidInput(
                        "Somebody changed this meanwhile: open the row again.", field=name
                    )
            if self.rules.present_column and row[self.rules.present_column] is not None:
                raise InvalidInput("This was removed: restore it first, with the form.")
            for name, value in changed.items():
                if isinstance(self._columns[name], JSON) and row[name] is not None and value:
                    with suppress(
                        ValueError, ArithmeticError, RecursionError
                    ):  # of what is no JSON `_values` tells
                        sent = json.loads(value) if isinstance(value, str) else value
                        changed[name] = json.dumps(with_exact_numbers(json.loads(row[name]), sent))
            if changed:
                row = await self._update(row_id, await self._values(changed))
        return _answer(row)

    @_validated
    async def delete_single(self, request: Request, row_id: object) -> Response:
        """Delete a row, or what stands for it."""
        self._refuse_when_read_only()
        if self.rules.undeletable:
            raise HTTPException(405, self.rules.undeletable)
        async with _acting(request) as actor:
            row = await self._read(row_id)
            if self.rules.remove:
                await self.rules.remove(row, actor)
            else:
                with database_errors():
                    await self.table.delete().where(self.table._meta.primary_key == row_id)
        return Response(status_code=204)

    async def put_single(self, *_: object) -> Response:
        """Refuse: a form sends what it doesn't mean to change too, and PUT would believe it."""
        raise HTTPException(405, "Rows are changed by PATCH.")

    async def root(self, request: Request) -> Response:
        """Answer for the table: list it, or add to it."""
        if request.method == "POST":
            return await self.post_single(request, await _body(request))
        return await self.get_all(request)

    async def detail(self, request: Request) -> Response:
        """Answer for one row."""
        try:
            row_id = value_of(self.table._meta.primary_key, request.path_params["row_id"])
        except InvalidInput:
            raise HTTPException(404, "There is no such row.") from None
        if request.method == "PATCH":
            return await self.patch_single(request, row_id, await _body(request))
        if request.method == "DELETE":
            return await self.delete_single(request, row_id)
        if request.method == "PUT":
            return await self.put_single(request)
        return await self.get_single(request, row_id)

    def _refuse_when_read_only(self) -> None:
        if self.rules.read_only:
            raise HTTPException(405, f"{self.table._meta.tablename} is read-only.")

    def _refuse_unknown(self, data: Row) -> None:
        for name in data:
            if name not in self._columns:
                raise InvalidInput(f"There is no field {sanitize_for_message(name)}.")

    async def _values(self, sent: Row) -> Row:
        """What is stored of what a form sent."""
        values = {name: value_of(self._columns[name], value) for name, value in sent.items()}
        for name, value in values.items():
            if value is None and self._columns[name]._meta.required:
                raise InvalidInput("This can't be empty.", field=name)
            if isinstance(self._columns[name], ForeignKey) and value is not None:
                values[name] = await self._member_id(value)
                if values[name] is None:
                    raise InvalidInput("There is no such member any more.", field=name)
        return self.rules.prepare(values) if self.rules.prepare else values

    async def _insert(self, values: Row, _: str) -> object:
        given = {
            name: value
            for name, value in values.items()
            if value is not None or self._columns[name]._meta.null
        }
        row = self.table(_ignore_missing=True, **given)
        with database_errors():
            await row.save()
        return getattr(row, self._key)


class ListQuery:
    """The parameters of a request for a list. Its methods raise `InvalidInput`."""

    has_frequent_word = False
    """A filter asks for a text that so many members have that they are not counted, but estimated."""

    def __init__(self, request: Request) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            self._values.setdefault(name.removesuffix("[]"), []).append(value)
        known = {"__visible_fields", "__page_size", "__page", "__order", "__readable", "__view"}
        for name in self._values:
            if name.startswith("__") and name not in known:
                raise InvalidInput(f"There is no parameter {sanitize_for_message(name)}.")

    @property
    def filtered(self) -> list[str]:
        """Return the names of the columns that a filter is about."""
        names = {
            name.removesuffix("__operator")
            for name, values in self._values.items()
            if not name.startswith("__")
            and not name.endswith("__match")
            and (values[0].endswith("_null") if name.endswith("__operator") else any(values))
        }
        return sorted(names)

    def all(self, name: str) -> list[str]:
        """Return the values of a parameter, which may be given more than once."""
        return self._values.get(name, [])

    def one(self, name: str) -> str:
        """Return the value of a parameter, empty when it is missing."""
        values = self.all(name)
        if len(values) > 1:
            raise InvalidInput(f"{sanitize_for_message(name)} is given more than once.")
        return values[0] if values else ""

    def number(self, name: str, default: int, most: int) -> int:
        """Return the number that a parameter gives."""
        text = self.one(name) or str(default)
        if (
            not re.fullmatch("[0-9]{1,9}", text, re.ASCII)
            or not min(default, 1) <= int(text) <= most
        ):
            raise InvalidInput(f"{name} is a number from {min(default, 1)} to {most:,}.")
        return int(text)


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer a `DirectoryError` by a sentence, beside the field of a form where that is known."""
    if isinstance(error, OperatorError):
        return JSONResponse({"detail": report(error)}, 503)
    if request.method == "GET":
        return JSONResponse({"detail": str(error)}, 400)
    name = error.field if isinstance(error, InvalidInput) else None
    if name is None:
        return JSONResponse({"custom_form_error": str(error)}, 422)
    return JSONResponse(
        {"detail": [{"loc": ["body", name], "msg": str(error), "type": "value_error"}]}, 422
    )


@asynccontextmanager
async def _acting(request: Request) -> AsyncIterator[str]:
    """One transaction in the name of who is signed in, which the audit log asks for."""
    actor: str = request.user.user.username
    async with transaction():
        await act_as(actor)
        yield actor


async def _body(request: Request) -> Row:
    try:
        return json_object(await request.body())
    except (ValueError, RecursionError):
        raise InvalidInput("The request is no JSON object.") from None


def _number(value: str) -> str:
    """A member's number, typed with its # or without."""
    return f"#{value}" if re.fullmatch("[0-9]{1,19}", value, re.ASCII) else value


def _row(record: Any) -> Row:
    """Return a record as JSON has it."""
    row: Row = json.loads(_json(dict(record)))
    return row


def _answer(
    body: object, *, status: int = 200, when: Callable[[Any], str] | None = None
) -> Response:
    return Response(_json(body, when), status, media_type="application/json")


def _json(body: object, when: Callable[[Any], str] | None = None) -> str:
    def encode(value: object) -> str:
        if isinstance(value, date):
            return (when or type(value).isoformat)(value)
        return str(value)

    return json.dumps(body, default=encode)


def _when_listed(value: date) -> str:
    """A time in a list: to the second, for people."""
    return (
        value.strftime("%Y-%m-%d %H:%M:%S") + " UTC"
        if isinstance(value, datetime)
        else value.isoformat()
    )
