"""The changes that the panel makes: rows are added, edited and deleted within a table's policy."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from piccolo.columns import ForeignKey
from piccolo.table import Table
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from community_directory.database import Parameters, act_as, engine, transaction
from community_directory.errors import InvalidInput, database_errors, sanitize_for_message
from community_directory.web.admin.download import DownloadEndpoints
from community_directory.web.admin.policy import ACTIONS, RowData, TablePolicy
from community_directory.web.admin.rows import (
    json_response,
    to_json,
    to_row_data,
    validated,
)
from community_directory.web.admin.values import (
    parse_changes,
    parse_json_object,
    parse_new_row,
)

SHOWN_ROW_FIELD = "__seen"
"""The field in which `panel.js` sends the row as the form was filled with it."""


class DirectoryCRUD(DownloadEndpoints):
    """All endpoints of one table: besides the lists, those that add, edit and delete rows."""

    def __init__(self, table: type[Table], policy: TablePolicy, **options: Any) -> None:
        super().__init__(table, policy, **options)
        for route in self.routes:
            if isinstance(route, Route) and route.endpoint in (self.root, self.detail):
                # These endpoints refuse methods themselves, because it depends on the policy.
                route.methods = None

    async def root(self, request: Request) -> Response:
        """List the rows of the table, or add one."""
        if request.method in ("GET", "HEAD"):
            return await self.get_all(request)
        if request.method == "POST":
            return await self.post_single(request)
        raise self._method_refused(request)

    async def detail(self, request: Request) -> Response:
        """Show, edit or delete one row."""
        if request.method in ("GET", "HEAD"):
            return await self.get_single(request)
        if self._is_path_of_another_endpoint(request):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        if request.method == "PATCH":
            return await self.patch_single(request)
        if request.method == "DELETE":
            return await self.delete_single(request)
        raise self._method_refused(request)

    @validated
    async def post_single(self, request: Request, *_: object) -> Response:
        """Add a row, and return its key."""
        self._check_allowed(request)
        data = await _read_body(request)
        self._check_fields(data)
        data.pop(self.key, None)
        values = parse_new_row(
            self.columns,
            initial=json.loads(to_json(self.initial_row())),
            sent=data,
            locked=self.policy.locked_when_new,
        )
        async with _acting_manager(request) as actor:
            add = self.policy.add or self._insert
            key = await add(await self._prepare_values(values), actor)
        return json_response([{self.key: key}], status=201)

    @validated
    async def patch_single(self, request: Request, *_: object) -> Response:
        """Store the fields that a person changed, and return the row.

        The front end sends every field of the form. A field that still has the value with which
        the form was filled is left alone, also when somebody else has changed it since.
        """
        self._check_allowed(request)
        row_id, data = self.row_id(request), await _read_body(request)
        shown = data.pop(SHOWN_ROW_FIELD, None)
        self._check_fields(data)
        async with _acting_manager(request):
            row = await self.read_row(row_id, "FOR NO KEY UPDATE OF this")
            if self.policy.removed_at_column and row[self.policy.removed_at_column] is not None:
                raise InvalidInput(_explain_removed(row))
            changes = parse_changes(
                self.columns,
                stored=row,
                shown={**row, **shown} if isinstance(shown, dict) else row,
                sent=data,
                locked=self.locked | {self.key},
            )
            if changes:
                row = await self._update(row_id, await self._prepare_values(changes))
        return json_response(row)

    @validated
    async def delete_single(self, request: Request, *_: object) -> Response:
        """Delete a row, or do what the table's policy does instead."""
        self._check_allowed(request)
        row_id = self.row_id(request)
        async with _acting_manager(request) as actor:
            row = await self.read_row(row_id)
            if self.policy.remove:
                await self.policy.remove(row, actor)
            else:
                with database_errors():
                    await self.table.delete().where(self.table._meta.primary_key == row_id)
        return Response(status_code=204)

    def _check_allowed(self, request: Request) -> None:
        if ACTIONS[request.method] in self.policy.refusals:
            raise self._method_refused(request)

    def _method_refused(self, request: Request) -> HTTPException:
        """Return the refusal of a method, which names the methods that its address accepts."""
        methods = ("PATCH", "DELETE") if "row_id" in request.path_params else ("POST",)
        accepted = [method for method in methods if ACTIONS[method] not in self.policy.refusals]
        action = ACTIONS.get(request.method, "")
        message = self.policy.refusals.get(action, f"{request.method} is not possible here.")
        return HTTPException(405, message, {"Allow": ", ".join(["GET", "HEAD", *accepted])})

    def _is_path_of_another_endpoint(self, request: Request) -> bool:
        """Tell whether the key in the path is the name of an endpoint, such as `count`."""
        names = [route.path.strip("/") for route in self.routes if isinstance(route, Route)]
        return request.path_params["row_id"] in names

    def _check_fields(self, data: RowData) -> None:
        for name in data:
            if name not in self.columns:
                raise InvalidInput(f"There is no field {sanitize_for_message(name)}.")

    async def _prepare_values(self, values: RowData) -> RowData:
        """Return the values to store; references to members become their numbers.

        Raises:
            InvalidInput: A member does not exist, or the policy refuses the values.
        """
        for name, value in values.items():
            if isinstance(self.columns[name], ForeignKey) and value is not None:
                values[name] = await self.find_member_id(value)
                if values[name] is None:
                    raise InvalidInput(
                        "This member no longer exists. Choose another one.", field=name
                    )
        return await self.policy.prepare(values) if self.policy.prepare else values

    async def _insert(self, values: RowData, _: str) -> object:
        given = {
            name: value
            for name, value in values.items()
            if value is not None or self.columns[name]._meta.null
        }
        row = self.table(_ignore_missing=True, **given)
        with database_errors():
            await row.save()
        return getattr(row, self.key)

    async def _update(self, row_id: object, values: RowData) -> RowData:
        """Store the values, and return the row as it is then."""
        bind = (parameters := Parameters()).bind
        assignments = ", ".join(f'"{name}" = {bind(value)}' for name, value in values.items())
        records = await engine.fetch(
            f"""UPDATE {self.table_name} AS this SET {assignments}
            WHERE this."{self.key}" = {bind(row_id)} RETURNING {self.select(self.readable)}""",
            *parameters,
        )
        return to_row_data(records[0])


@asynccontextmanager
async def _acting_manager(request: Request) -> AsyncIterator[str]:
    """Open a transaction, and yield the name of the signed-in manager, whom the log then names."""
    actor: str = request.user.user.username
    async with transaction():
        await act_as(actor)
        yield actor


def _explain_removed(row: RowData) -> str:
    if into := row.get("merged_into_readable"):
        return f"This member was merged into {into}. Edit that one, or undo the merge on its page."
    return "This member was removed. Restore them on their page first."


async def _read_body(request: Request) -> RowData:
    try:
        return parse_json_object(await request.body())
    except (ValueError, RecursionError):
        raise InvalidInput("The request must contain a JSON object.") from None
