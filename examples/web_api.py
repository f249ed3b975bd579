"""A web API for the directory: `uvicorn web_api:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from community_directory.database import connect
from community_directory.errors import MemberNotFound, OperatorError, UserError
from community_directory.queries import members


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with connect():
        yield


app = FastAPI(title="Directory", lifespan=lifespan)


class PublicMember(BaseModel):
    """The public fields of a member."""

    model_config = ConfigDict(from_attributes=True)

    member_id: str
    name: str
    primary_role: str
    reputation_score: int
    reputation_tier: str
    created_at: datetime


class MemberList(BaseModel):
    """A page of members; `next_cursor` is the `after` of the next page."""

    items: list[PublicMember]
    next_cursor: str | None


@app.get("/members")
async def search_members(text: str | None = None, after: str | None = None) -> MemberList:
    page = await members.search(text, after=after)
    items = [PublicMember.model_validate(member) for member in page.items]
    return MemberList(items=items, next_cursor=page.next_cursor)


@app.get("/members/{number}")
async def get_member(number: int) -> PublicMember:
    return PublicMember.model_validate(await members.get(number))


@app.exception_handler(UserError)
async def refuse(_: Request, error: UserError) -> JSONResponse:
    status = 404 if isinstance(error, MemberNotFound) else 422
    return JSONResponse({"code": error.code, "message": str(error)}, status)


@app.exception_handler(OperatorError)
async def apologize(_: Request, error: OperatorError) -> JSONResponse:
    print(error)
    return JSONResponse({"code": error.code, "message": error.public_message}, 503)
