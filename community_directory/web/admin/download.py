"""The download of a list as a CSV file, which is sent while its rows are read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import asyncpg
from piccolo.columns import ForeignKey
from piccolo.table import Table
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from community_directory.calendar import today
from community_directory.database import fetch_batches
from community_directory.errors import InvalidInput
from community_directory.imports.csv_file import BYTE_ORDER_MARK, format_rows
from community_directory.imports.members_csv import UPDATED_AT_COLUMN
from community_directory.web.admin.listing import ListEndpoints, ListQuery
from community_directory.web.admin.policy import TablePolicy
from community_directory.web.admin.rows import MEMBER_LABEL, Endpoint, validated

DELIMITERS = (",", ";")
"""The delimiters that spreadsheets expect; it depends on the country."""
MAX_DOWNLOADS = 2
"""The downloads that run at once; each of them keeps a connection of the pool."""
TURN_TIMEOUT_SECONDS = 30
"""The longest time that a download waits for its turn."""
SEND_TIMEOUT_SECONDS = 60
"""The longest time in which a browser takes no data before its download is cut."""
DOWNLOAD_TIMEOUT_SECONDS = 3600
"""The longest time of a download, which keeps a connection of the pool."""
BUSY = "Other lists are being downloaded at the moment. Try again in a minute."
INCOMPLETE = "directory.incomplete"
"""The key of a request's scope that is set while its response is a part of a file."""

_turns = asyncio.Semaphore(MAX_DOWNLOADS)


class FileResponse(StreamingResponse):
    """A file that is sent while it is made.

    The response begins when the first part of the file is there: an error before is answered as any
    other. A later one cuts the response, which a browser reports as a failed download.
    """

    def __init__(self, request: Request, parts: AsyncGenerator[str, None], filename: str) -> None:
        disposition = f'attachment; filename="{filename}"'
        super().__init__(parts, headers={"Content-Disposition": disposition}, media_type="text/csv")
        self._parts, self._scope = parts, request.scope

    async def stream_response(self, send: Send) -> None:
        """Send the file, and end what makes it in any case."""
        async with asyncio.timeout(DOWNLOAD_TIMEOUT_SECONDS), aclosing(self._parts) as parts:
            part = await anext(parts)
            self._scope[INCOMPLETE] = True
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            while part:
                body = part.encode(self.charset)
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                part = await anext(parts, "")
            self._scope[INCOMPLETE] = False
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class IncompleteFiles:
    """ASGI middleware that lets no file look complete that is not.

    Starlette's BaseHTTPMiddleware, on which the panel's protection against forged requests is
    built, ends the response of an app that fails after the beginning as if nothing had happened.
    """

    def __init__(self, app: ASGIApp) -> None:
        # The log finds the routes of the app by this name.
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, without the end of an incomplete response."""

        async def send_all_but_a_false_end(message: Message) -> None:
            is_end = message["type"] == "http.response.body" and not message.get("more_body")
            if not (is_end and scope.get(INCOMPLETE)):
                await send(message)

        await self.app(scope, receive, send_all_but_a_false_end)


def _validated_as_list(endpoint: Endpoint) -> Endpoint:
    """Run the validators of the list before an endpoint; they are found by its name."""
    endpoint.__name__ = ListEndpoints.get_all.__name__
    return validated(endpoint)


class DownloadEndpoints(ListEndpoints):
    """The endpoints of the lists, and the one that downloads a list as a file."""

    def __init__(self, table: type[Table], policy: TablePolicy, **options: Any) -> None:
        super().__init__(table, policy, **options)
        # The last route takes any other path as the key of a row.
        self.routes.insert(0, Route("/csv/", self.get_csv, methods=["GET"]))

    @_validated_as_list
    async def get_csv(self, request: Request) -> Response:
        """Return all rows of a list as a CSV file, in the order of the list.

        The parameters are those of the list. A request that names no columns gets all of them; the
        time of the last edit is in every file.
        A reference to a member is the member's number, and `__readable=true` adds the name.
        """
        query = ListQuery(request)
        delimiter = query.value("__delimiter") or DELIMITERS[0]
        if delimiter not in DELIMITERS:
            raise InvalidInput("The delimiter must be a comma or a semicolon.")
        readable = query.value("__readable") or "false"
        if readable not in {"true", "false"}:
            raise InvalidInput("The value of __readable must be true or false.")
        columns = self._select_as_stored(self._file_columns(query), with_labels=readable == "true")
        selected = ", ".join(f'{expression} AS "{name}"' for name, expression in columns.items())
        condition = await self._filter(query)
        # A server drops the body of an answer to HEAD.
        limit = "LIMIT 0" if request.method == "HEAD" else ""
        rows = fetch_batches(
            f"""SELECT {selected} FROM {self.table_name} AS this WHERE {condition.where}
            ORDER BY {", ".join(self._order(query.value("__order")))} {limit}""",
            *condition.parameters,
        )
        parts = format_parts(columns, rows, delimiter)
        return FileResponse(request, parts, f"{self.table._meta.tablename}-{today()}.csv")

    def _file_columns(self, query: ListQuery) -> list[str]:
        names = self.named_columns(query) or self.readable
        if UPDATED_AT_COLUMN in names or UPDATED_AT_COLUMN not in self.readable:
            return names
        # With this column an import of the file notices the edits that were made since.
        return [*names, UPDATED_AT_COLUMN]

    def _select_as_stored(self, names: Iterable[str], *, with_labels: bool) -> dict[str, str]:
        """Return the SQL expressions of these columns by name, as an import reads them."""
        expressions = {}
        for name in names:
            expressions[name] = self.expression(name)
            if with_labels and isinstance(self.columns[name], ForeignKey):
                expressions[f"{name}_readable"] = self.select_member(name, MEMBER_LABEL)
        return expressions


async def format_parts(
    header: Iterable[str], rows: AsyncGenerator[list[asyncpg.Record], None], delimiter: str
) -> AsyncGenerator[str, None]:
    """Yield the parts of a file, the first one with the header and the first rows."""
    part = BYTE_ORDER_MARK + format_rows([header], delimiter=delimiter)
    async with _take_turn(), aclosing(rows) as batches:
        async for records in batches:
            yield part + format_rows(records, delimiter=delimiter)
            part = ""
    if part:
        yield part


@asynccontextmanager
async def _take_turn() -> AsyncIterator[None]:
    """Wait until fewer than `MAX_DOWNLOADS` run.

    Raises:
        HTTPException: It takes too long (503).
    """
    try:
        async with asyncio.timeout(TURN_TIMEOUT_SECONDS):
            await _turns.acquire()
    except TimeoutError:
        raise HTTPException(503, BUSY, {"Retry-After": str(TURN_TIMEOUT_SECONDS)}) from None
    try:
        yield
    finally:
        _turns.release()
