"""The CRUD endpoints behind the panel, made to fit foreign keys to `member_id`.

Piccolo Admin's front end knows rows by their primary key only: it links to, submits and filters by the referenced
row's UUID, also where a foreign key holds a `member_id`. So such a key leaves the server as that UUID, and what comes
in is turned back.
"""

import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from piccolo.columns import ForeignKey
from piccolo.columns.combination import WhereRaw
from piccolo.columns.operators.comparison import IsNotNull, IsNull
from piccolo.table import Table
from piccolo_api.crud.endpoints import PK_TYPES, CustomJSONResponse, Params, PiccoloCRUD
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from community_directory.database import act_as, transaction
from community_directory.errors import InvalidInput, database_errors
from community_directory.tables import CommunityInvitation
from community_directory.tables.invitations import new_code

Row = dict[str, Any]

NEW_VALUES: dict[type[Table], dict[str, Callable[[], str]]] = {CommunityInvitation: {"invitation_code": new_code}}
"""What the form for a new row is filled with, besides the columns' defaults."""


class DirectoryCRUD(PiccoloCRUD):
    """`PiccoloCRUD` whose foreign keys to `member_id` are shown, sent and filtered as the front end expects."""

    @property
    def _member_keys(self) -> list[ForeignKey[Any]]:
        return [
            column
            for column in self.table._meta.foreign_key_columns
            if _target(column) is not column._foreign_key_meta.resolved_references._meta.primary_key
        ]

    @property
    def _order(self) -> str:
        columns = self.schema_extra["order_by"]
        return ",".join(column["column"] if column["ascending"] else f"-{column['column']}" for column in columns)

    async def get_all(self, request: Request, params: Row | None = None) -> Response:
        """The rows of a page, in the table's own order unless the request names another.

        The front end asks for a list twice, without its order and with it, and shows what comes last.
        """
        response: Response = await super().get_all(request, {"__order": self._order, **(params or {})})
        if response.status_code != 200:
            return response
        body = json.loads(bytes(response.body))
        await self._show_primary_keys(body["rows"])
        headers = {name: value for name, value in response.headers.items() if name == "content-range"}
        return CustomJSONResponse(json.dumps(body), headers=headers)

    async def get_single(self, request: Request, row_id: PK_TYPES) -> Response:
        """One row."""
        response: Response = await super().get_single(request, row_id)
        if response.status_code != 200:
            return response
        row = json.loads(bytes(response.body))
        await self._show_primary_keys([row])
        return CustomJSONResponse(json.dumps(row))

    async def get_new(self, request: Request) -> CustomJSONResponse:
        """The values that the form for a new row starts with."""
        response = await super().get_new(request)
        row = json.loads(bytes(response.body))
        row.update({name: make() for name, make in NEW_VALUES.get(self.table, {}).items()})
        return CustomJSONResponse(json.dumps(row))

    async def post_single(self, request: Request, data: Row) -> Response:
        """Add a row."""
        return await self._write(request, super().post_single(request, await self._with_member_ids(data)))

    async def patch_single(self, request: Request, row_id: PK_TYPES, data: Row) -> Response:
        """Change a row."""
        return await self._write(request, super().patch_single(request, row_id, await self._with_member_ids(data)))

    async def delete_single(self, request: Request, row_id: PK_TYPES) -> Response:
        """Delete a row that nothing refers to."""
        return await self._write(request, super().delete_single(request, row_id))

    async def put_single(self, *_: object) -> Response:
        """Refuse: the front end changes rows by PATCH, and PUT would skip what that takes care of."""
        raise HTTPException(status_code=405, detail="Rows are changed by PATCH.")

    async def _write(self, request: Request, change: Awaitable[Response]) -> Response:
        """Make a change in one transaction, in the name of who is signed in: the audit trigger asks for it."""
        try:
            with database_errors():
                async with transaction():
                    await act_as(request.user.user.username)
                    return await change
        except InvalidInput as error:
            return JSONResponse({"custom_form_error": str(error)}, status_code=422)

    def _apply_filters(self, query: Any, params: Params) -> Any:
        for column in self._member_keys:
            name = column._meta.name
            if params.fields.get(name) and params.operators[name] not in (IsNull, IsNotNull):
                query = query.where(self._is_one_of(column, params.fields.pop(name)))
        return super()._apply_filters(query, params)

    def _is_one_of(self, column: ForeignKey[Any], sent: str | list[str]) -> WhereRaw:
        """A condition that the foreign key refers to one of the rows; a `member_id` is taken as well as a UUID."""
        target, references = _target(column)._meta, column._foreign_key_meta.resolved_references._meta
        values = sent if isinstance(sent, list) else [sent]
        primary_key = references.primary_key._meta.db_column_name
        # Names come from the table classes, values are parameters.
        condition = (
            f'"{self.table._meta.tablename}"."{column._meta.db_column_name}" IN '  # noqa: S608  see above
            f'(SELECT "{target.db_column_name}" FROM "{references.tablename}" '
            f'WHERE "{primary_key}" = ANY({{}}) OR "{target.db_column_name}" = ANY({{}}))'
        )
        return WhereRaw(condition, [key for key in map(_uuid, values) if key], values)

    async def _show_primary_keys(self, rows: list[Row]) -> None:
        for column in self._member_keys:
            name, target = column._meta.name, _target(column)
            references = column._foreign_key_meta.resolved_references
            wanted = list({row[name] for row in rows if row.get(name) is not None})
            if not wanted:
                continue
            found = await references.select(references._meta.primary_key, target).where(target.is_in(wanted))
            keys = {row[target._meta.name]: str(row[references._meta.primary_key._meta.name]) for row in found}
            for row in rows:
                if row.get(name) is not None:
                    row[name] = keys[row[name]]

    async def _with_member_ids(self, data: Row) -> Row:
        data = dict(data)
        for column in self._member_keys:
            name, target = column._meta.name, _target(column)
            key = _uuid(data.get(name))
            if key is None:
                continue
            references = column._foreign_key_meta.resolved_references
            row = await references.select(target).where(references._meta.primary_key == key).first()
            if row is None:
                message = {"loc": ["body", name], "msg": "there is no such row any more", "type": "value_error"}
                raise HTTPException(status_code=422, detail=[message])  # type: ignore[arg-type]  # the form reads a list
            data[name] = row[target._meta.name]
        return data


def _target(column: ForeignKey[Any]) -> Any:
    meta = column._foreign_key_meta
    return meta.resolved_target_column


def _uuid(value: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        return None
