"""Keyset pagination: a cursor contains the sort values of the last row of a page.

The next page begins after that row, so rows that are added or removed do not shift the pages.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from community_directory.errors import InvalidCursor, InvalidInput

MAX_PAGE_SIZE = 100
MAX_CURSOR_LENGTH = 4096

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows of a list.

    Pass `next_cursor` as `after` to get the next page; it is None on the last page.
    """

    items: list[Item]
    next_cursor: str | None


def make_page(
    rows: list[Item], limit: int, query: str, cursor_values: Callable[[Item], tuple[str | int, ...]]
) -> Page[Item]:
    """Return a page of at most `limit` rows.

    Args:
        rows: Up to `limit + 1` rows; the additional row means that another page follows.
        limit: The maximum number of rows on the page.
        query: The name of the query, which its cursors contain.
        cursor_values: The function that returns the values by which the query sorts a row.
    """
    items = rows[:limit]
    if len(rows) <= limit:
        return Page(items, None)
    return Page(items, encode_cursor(query, *cursor_values(items[-1])))


def encode_cursor(query: str, *values: str | int) -> str:
    """Return a cursor: the query and the values, as JSON in URL-safe base64; it is not signed."""
    payload = json.dumps([query, *values], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(payload.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, query: str, *parsers: Callable[[object], object]) -> list[Any]:
    """Return the values of a cursor of this query, each parsed by the parser of its field.

    Anybody can forge a cursor, so a parser accepts only values that its column can have.

    Raises:
        InvalidCursor: The cursor belongs to another query, or a value cannot be parsed.
    """
    try:
        if len(cursor) > MAX_CURSOR_LENGTH:
            raise InvalidCursor
        payload = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        cursor_query, *values = json.loads(payload)
        if cursor_query != query:
            raise InvalidCursor
        return [parse(value) for parse, value in zip(parsers, values, strict=True)]
    except (ValueError, TypeError, RecursionError):
        raise InvalidCursor from None


def parse_int(value: object) -> int:
    """Parse a cursor field that is an integer of at most 64 bits, as in PostgreSQL.

    Raises:
        ValueError: The value is not such an integer.
    """
    if type(value) is not int or abs(value) >= 2**63:
        raise ValueError
    return value


def parse_text(value: object) -> str:
    """Parse a cursor field that is a text without NUL and lone surrogates, as in PostgreSQL.

    Raises:
        ValueError: The value is not such a text.
    """
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()  # raises UnicodeEncodeError, a ValueError, for a lone surrogate
    return value


def parse_timestamp(value: object) -> datetime:
    """Parse a cursor field that is a time in UTC, in ISO 8601 with its offset.

    Raises:
        ValueError: The value is not such a time.
    """
    found = datetime.fromisoformat(parse_text(value))
    if found.utcoffset() != timedelta(0):
        raise ValueError
    return found


def parse_date(value: object) -> date:
    """Parse a cursor field that is a date in ISO 8601.

    Raises:
        ValueError: The value is not such a date.
    """
    return date.fromisoformat(parse_text(value))


def parse_uuid(value: object) -> UUID:
    """Parse a cursor field that is the id of a row.

    Raises:
        ValueError: The value is not a UUID.
    """
    return UUID(parse_text(value))


def checked_limit(limit: int) -> int:
    """Return the limit of a page unchanged if it is valid.

    Raises:
        InvalidInput: The limit is not an integer from 1 to 100.
    """
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE_SIZE:
        raise InvalidInput(f"A page has 1 to {MAX_PAGE_SIZE} rows.", field="limit")
    return limit
