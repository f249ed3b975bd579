"""A web API for the directory: `uvicorn web_api:app`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import compare_digest
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader

from community_directory.database import connect
from community_directory.errors import (
    DirectoryError,
    InvalidInput,
    MemberNotFound,
    OperatorError,
    UserError,
)
from community_directory.queries import members
from community_directory.queries.members import PublicMember
from community_directory.queries.pages import Page

STATUS_CODES = {MemberNotFound: 404, InvalidInput: 422, UserError: 409, OperatorError: 503}
"""The status codes of HTTP for errors; the first one that fits counts."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.api_key = os.environ["API_KEY"].encode()
    async with connect():
        yield


async def check_key(
    request: Request, key: Annotated[str, Depends(APIKeyHeader(name="X-API-Key"))]
) -> None:
    if not compare_digest(key.encode(), request.app.state.api_key):
        raise HTTPException(401, "This API key is wrong.")


app = FastAPI(title="Directory", lifespan=lifespan, dependencies=[Depends(check_key)])


@app.get("/members")
async def search_members(text: str | None = None, after: str | None = None) -> Page[PublicMember]:
    page = await members.search(text, after=after)
    people = [members.public(member) for member in page.items]
    return Page(people, page.next_cursor, page.previous_cursor)


@app.get("/members/{number}")
async def get_member(number: int) -> PublicMember:
    return members.public(await members.get(number))


@app.exception_handler(DirectoryError)
async def answer_error(_: Request, error: DirectoryError) -> JSONResponse:
    if isinstance(error, OperatorError):
        print(error)
    code = next(code for kind, code in STATUS_CODES.items() if isinstance(error, kind))
    return JSONResponse({"code": error.code, "message": error.public_message}, code)
