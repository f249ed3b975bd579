"""Pages by keyset: a cursor says after which row the next page begins, so pages stay right while rows come and go."""

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import Any, Generic, TypeVar
from uuid import UUID

from community_directory.errors import InvalidCursor, InvalidInput

LONGEST_PAGE = 100

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some of the rows, and where the next ones begin: pass `next_cursor` as `after`. None: these were the last."""

    items: list[Item]
    next_cursor: str | None


def page_of(rows: list[Item], limit: int, query: str, position: Callable[[Item], tuple[str | int, ...]]) -> Page[Item]:
    """A page of `limit` rows when one row more was fetched; `position` tells a row's place in the order."""
    items = rows[:limit]
    if len(rows) <= limit:
        return Page(items, None)
    payload = json.dumps([query, *position(items[-1])], separators=(",", ":"), ensure_ascii=False).encode()
    return Page(items, _sealed(payload))


def position_of(cursor: str, query: str, *kinds: Callable[[Any], object]) -> list[Any]:
    """The place that a cursor of this query names, each of its values read by its kind. Raises `InvalidCursor`."""
    if len(cursor) > _LONGEST_CURSOR:
        raise InvalidCursor
    try:
        payload = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))[_SEAL_BYTES:]
        # Compared as text, because decoding passes over what isn't base64.
        if cursor != _sealed(payload):
            raise InvalidCursor
        made_by, *position = json.loads(payload)
        if made_by != query:
            raise InvalidCursor
        return [kind(value) for kind, value in zip(kinds, position, strict=True)]
    except (UnicodeEncodeError, binascii.Error, ValueError, TypeError, RecursionError):
        # Anybody can work out a seal, so what it seals is not trusted either.
        raise InvalidCursor from None


def whole_number(value: object) -> int:
    """A kind of value in a cursor: a whole number that PostgreSQL can hold."""
    if type(value) is not int or abs(value) >= 2**63:
        raise ValueError
    return value


def plain_text(value: object) -> str:
    """A kind of value in a cursor: a text that PostgreSQL can hold."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()  # no lone surrogates
    return value


def moment(value: object) -> datetime:
    """A kind of value in a cursor: a time with its zone."""
    found = datetime.fromisoformat(plain_text(value))
    if found.utcoffset() != timedelta(0):
        raise ValueError
    return found


def calendar_day(value: object) -> date:
    """A kind of value in a cursor: a day."""
    return date.fromisoformat(plain_text(value))


def row_id(value: object) -> UUID:
    """A kind of value in a cursor: a row's id."""
    return UUID(plain_text(value))


def checked_limit(limit: int) -> int:
    """The number of rows of a page. Raises `InvalidInput` outside of 1 to 100."""
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput(f"A page has 1 to {LONGEST_PAGE} rows.", field="limit")
    return limit


_LONGEST_CURSOR = 4096
_SEAL_BYTES = 8


def _sealed(payload: bytes) -> str:
    return base64.urlsafe_b64encode(_seal(payload) + payload).decode().rstrip("=")


def _seal(payload: bytes) -> bytes:
    """No secret, just enough to notice a cursor that was cut or edited: a place in a list gives nothing away."""
    return blake2b(payload, digest_size=_SEAL_BYTES, person=b"directory.cursor").digest()
