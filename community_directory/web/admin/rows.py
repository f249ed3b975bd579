"""One table of the panel: its columns, its form, and the reading of one row.

Piccolo Admin's front end identifies rows by primary key: it links to, sends and filters by the
UUID of a referenced row, although the foreign keys here hold a `member_id`. A foreign key is
therefore sent to the browser as the UUID of its member, and converted back when it is received.
Every foreign key of the panel refers to a member.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import date
from functools import cached_property
from typing import Any, TypeVar, cast
from uuid import UUID

import asyncpg
from piccolo.columns import Column, ForeignKey
from piccolo.columns.defaults.base import Default
from piccolo.table import Table
from piccolo_api.crud.endpoints import PiccoloCRUD
from piccolo_api.crud.validators import apply_validators
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from community_directory.database import Statement, engine
from community_directory.errors import InvalidInput, OperatorError
from community_directory.queries.values import member_number
from community_directory.web.admin.policy import RowData, TablePolicy
from community_directory.web.admin.values import parse_value
from community_directory.web.outage import report

NO_ROW = "There is no such row. Perhaps it was deleted."

MEMBER_LABEL = "member_id || ' ' || name || coalesce(' (merged into ' || merged_into || ')', '')"
"""The SQL expression of a member as text for people."""
FIND_MEMBER_ID = Statement(
    "SELECT coalesce(merged_into, member_id) FROM community_members WHERE id = :key"
)
FIND_PRESENT_NUMBER = Statement(
    "SELECT coalesce(merged_into, member_id) FROM community_members WHERE member_id = :number"
)
FIND_NUMBERS_OF_PERSON = Statement("""
SELECT member_id FROM community_members WHERE member_id = :number OR merged_into = :number
""")

Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Response]])


def validated(endpoint: Endpoint) -> Endpoint:
    """Run the validators of the table's configuration before an endpoint."""
    return cast("Endpoint", apply_validators(endpoint))  # type: ignore[no-untyped-call]


class TableRows(PiccoloCRUD):
    """The endpoints that show one row, and the SQL that lists and changes share."""

    def __init__(self, table: type[Table], policy: TablePolicy, **options: Any) -> None:
        super().__init__(table, **options)
        self.policy = policy
        self.columns: dict[str, Column] = {
            column._meta.name: column
            for column in table._meta.columns
            if column._meta.name not in policy.hidden
        }
        self.readable = [name for name, column in self.columns.items() if not column._meta.secret]
        self.key: str = table._meta.primary_key._meta.name
        self.table_name = f'"{table._meta.tablename}"'
        self.locked = frozenset(self.columns) if "edit" in policy.refusals else policy.locked

    @validated
    async def get_single(self, request: Request, *_: object) -> Response:
        """Return one row, to fill its form with."""
        return json_response(await self.read_row(self.row_id(request)))

    @validated
    async def get_new(self, request: Request) -> Response:  # noqa: ARG002
        """Return the initial values of the form for a new row."""
        return json_response(self.initial_row())

    @validated
    async def get_schema(self, request: Request) -> JSONResponse:  # noqa: ARG002
        """Return the columns with their labels, and what `panel.js` locks and hides."""
        return JSONResponse(self._schema)

    @cached_property
    def _schema(self) -> RowData:
        policy = self.policy
        schema = self.pydantic_model.model_json_schema()
        for name in policy.hidden:
            del schema["properties"][name]
        for name, description in schema["properties"].items():
            description["title"] = policy.labels.get(name) or name.replace("_", " ").capitalize()
        schema["extra"]["visible_fields_options"] = self.readable
        schema["extra"]["locked"] = sorted(self.locked)
        schema["extra"]["locked_when_new"] = sorted(policy.locked_when_new)
        schema["extra"]["refused"] = list(policy.refusals)
        return dict(schema)

    def initial_row(self) -> RowData:
        """Return the values with which the form for a new row starts.

        Locked fields are empty, except for those with a choice, which the front end can't empty.
        """
        # A new object of the table would hash an empty password here.
        row = {name: _default(self.columns[name]) for name in self.readable if name != self.key}
        for name in self.policy.locked_when_new:
            if name in row and not self.columns[name]._meta.choices:
                row[name] = None
        return row

    def row_id(self, request: Request) -> object:
        """Return the primary key that a path names.

        Raises:
            HTTPException: No row can have this key (404).
        """
        try:
            return parse_value(self.table._meta.primary_key, request.path_params["row_id"])
        except InvalidInput:
            raise HTTPException(404, NO_ROW) from None

    async def read_row(self, row_id: object, lock: str = "") -> RowData:
        """Return a row, as the browser gets it.

        Args:
            row_id: The primary key of the row.
            lock: A locking clause such as `FOR UPDATE`, or nothing.

        Raises:
            HTTPException: There is no such row (404).
        """
        records = await engine.fetch(
            f"""SELECT {self.select(self.readable)} FROM {self.table_name} AS this
            WHERE this."{self.key}" = $1 {lock}""",
            row_id,
        )
        if not records:
            raise HTTPException(404, NO_ROW)
        return to_row_data(records[0])

    def select(self, names: Iterable[str]) -> str:
        """Return the SELECT list of these columns.

        A foreign key is selected as the key of the member, and once more as text for people.
        """
        expressions = []
        for name in names:
            if isinstance(self.columns[name], ForeignKey):
                expressions.append(f'{self.select_member(name, "id")} AS "{name}"')
                label = self.select_member(name, MEMBER_LABEL)
                expressions.append(f'{label} AS "{name}_readable"')
            else:
                expressions.append(f'{self.expression(name)} AS "{name}"')
        return ", ".join(expressions)

    def select_member(self, name: str, selected: str) -> str:
        """Return the SQL expression of something about the member whom a column refers to."""
        return (
            f"(SELECT {selected} FROM community_members AS person"
            f' WHERE person.member_id = this."{name}")'
        )

    def expression(self, name: str) -> str:
        """Return the SQL expression of a column."""
        return self.policy.computed.get(name, f'this."{name}"')

    async def find_member_id(self, sent: str) -> str | None:
        """Return the number of the member with this key or number; None for an unknown key.

        A merged member leads to the other one.
        """
        try:
            key = UUID(sent)
        except ValueError:
            number = member_number(sent)
            records = await engine.fetch(FIND_PRESENT_NUMBER, number=number)
            return records[0][0] if records else number
        records = await engine.fetch(FIND_MEMBER_ID, key=key)
        return records[0][0] if records else None

    async def find_numbers(self, sent: str) -> list[str]:
        """Return the numbers to look for instead of a key or number, which means a person.

        These are the present number, and the merged ones if the rows of the table keep them.
        """
        number = await self.find_member_id(sent)
        if number is None or not self.policy.keeps_merged_numbers:
            return [number] if number else []
        records = await engine.fetch(FIND_NUMBERS_OF_PERSON, number=number)
        return [number for (number,) in records]


# piccolo_api passes the arguments of a validator by name.
def superusers_only(piccolo_crud: PiccoloCRUD, request: Request) -> None:  # noqa: ARG001
    """Refuse every request of a manager who is no superuser."""
    if not request.user.user.superuser:
        raise HTTPException(403, "Only a superuser may see who can enter the panel.")


def _default(column: Column) -> object:
    value = column.get_default_value()
    return value.python() if isinstance(value, Default) else value


def to_row_data(record: asyncpg.Record) -> RowData:
    """Return a record as the browser gets it: dates and UUIDs are text."""
    row: RowData = json.loads(to_json(dict(record)))
    return row


def to_json(body: object, format_date: Callable[[date], str] | None = None) -> str:
    """Return JSON text, in which dates and times are formatted by `format_date`, or as ISO 8601."""

    def encode(value: object) -> str:
        if isinstance(value, date):
            return (format_date or type(value).isoformat)(value)
        return str(value)

    return json.dumps(body, default=encode)


def json_response(
    body: object, *, status: int = 200, format_date: Callable[[date], str] | None = None
) -> Response:
    """Return a response with what `to_json` makes of the body."""
    return Response(to_json(body, format_date), status, media_type="application/json")


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer a `DirectoryError` with its message, beside the form's field if that is known."""
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
