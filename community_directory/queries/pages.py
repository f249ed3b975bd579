"""Pages by keyset: a cursor says after which row the next page begins, so pages stay right while rows come and go."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from community_directory.errors import InvalidCursor, InvalidInput

LONGEST_PAGE = 100
MAX_CURSOR_LENGTH = 4096

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some of the rows, and where the next ones begin: pass `next_cursor` as `after`. None: these were the last."""

    items: list[Item]
    next_cursor: str | None


def make_page(
    rows: list[Item], limit: int, query: str, position: Callable[[Item], tuple[str | int, ...]]
) -> Page[Item]:
    """A page of `limit` rows when one row more was fetched; `position` tells a row's place in the order."""
    items = rows[:limit]
    return Page(items, None if len(rows) <= limit else encode_cursor(query, *position(items[-1])))


def encode_cursor(query: str, *position: str | int) -> str:
    """Return the cursor of a place in a query's order: JSON in URL-safe base64, not signed."""
    payload = json.dumps([query, *position], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, query: str, *kinds: Callable[[Any], object]) -> list[Any]:
    """The place that a cursor of this query names, each of its values read by its kind. Raises `InvalidCursor`.

    Anybody can write a cursor, so each kind accepts only what its column can hold.
    """
    try:
        if len(cursor) > MAX_CURSOR_LENGTH:
            raise InvalidCursor
        payload = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        made_by, *position = json.loads(payload)
        if made_by != query:
            raise InvalidCursor
        return [kind(value) for kind, value in zip(kinds, position, strict=True)]
    except (ValueError, TypeError, RecursionError):
        raise InvalidCursor from None


def parse_int(value: object) -> int:
    """A kind of value in a cursor: a whole number that PostgreSQL can hold."""
    if type(value) is not int or abs(value) >= 2**63:
        raise ValueError
    return value


def parse_text(value: object) -> str:
    """A kind of value in a cursor: a text that PostgreSQL can hold."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()  # no lone surrogates
    return value


def parse_timestamp(value: object) -> datetime:
    """A kind of value in a cursor: a time with its zone."""
    found = datetime.fromisoformat(parse_text(value))
    if found.utcoffset() != timedelta(0):
        raise ValueError
    return found


def parse_date(value: object) -> date:
    """A kind of value in a cursor: a day."""
    return date.fromisoformat(parse_text(value))


def parse_uuid(value: object) -> UUID:
    """A kind of value in a cursor: a row's id."""
    return UUID(parse_text(value))


def checked_limit(limit: int) -> int:
    """The number of rows of a page. Raises `InvalidInput` outside of 1 to 100."""
    if type(limit) is not int or not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput(f"A page has 1 to {LONGEST_PAGE} rows.", field="limit")
    return limit
