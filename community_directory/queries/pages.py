"""Keyset pagination: a cursor names the row at an edge of a page, and leads onwards or back.

The next page begins after that row, so rows that are added or removed do not shift the pages. A
cursor contains the values by which the list sorts the row, packed into so few bytes that a button
of a Telegram bot, whose data has 64 bytes, has room for it and a prefix.
"""

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID
from zlib import crc32

import asyncpg

from community_directory.database import Statement, engine
from community_directory.errors import InvalidCursor, InvalidInput

MAX_PAGE_SIZE = 100
MAX_STREAM_PAGE_SIZE = 1000
MAX_CURSOR_LENGTH = 40

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows of a list.

    A cursor is a text of at most 40 letters, digits, `-` and `_`. Pass it as `after` to the helper
    that returned the page.

    Attributes:
        items: The rows, always in the order of the list.
        next_cursor: The cursor of the next page; None on the last page.
        previous_cursor: The cursor of the page before; None on the first page.
        total: The number of rows on all pages, if the call asked for it.
    """

    items: list[Item]
    next_cursor: str | None
    previous_cursor: str | None = None
    total: int | None = None


class CursorField(NamedTuple):
    """A field of a cursor: its format, as in `struct`, and the functions that pack and unpack it.

    `unpack` raises a ValueError or an OverflowError for bytes that are no such value.
    """

    code: str
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]


SMALL_INT_FIELD = CursorField("i", int, int)
INT_FIELD = CursorField("q", int, int)
TIME_FIELD = CursorField(
    "q",
    lambda time: (time - EPOCH) // timedelta(microseconds=1),
    lambda microseconds: EPOCH + timedelta(microseconds=microseconds),
)
DATE_FIELD = CursorField("i", date.toordinal, date.fromordinal)
KEY_FIELD = CursorField("16s", lambda key: key.bytes, lambda packed: UUID(bytes=packed))
"""The field for the key of a row, a UUID."""
NUMBER_FIELD = CursorField("Q", lambda number: int(number[1:]), lambda digits: f"#{digits}")
"""The field for the number of a member; `member_number_check` limits it to 19 digits."""


class Cursor(NamedTuple):
    """A cursor that was read: the values of its row, and whether its page is before that row."""

    values: tuple[Any, ...]
    is_backward: bool


class CursorFormat:
    """The format of the cursors of one list.

    A cursor begins with two bytes that identify the list; the last bit says whether it leads back.
    It is not signed: whoever forges one gets another page of the same list.

    Args:
        name: The name of the list, which no other list has.
        fields: The fields for the values by which the list sorts its rows; the last one is unique.
    """

    def __init__(self, name: str, *fields: CursorField) -> None:
        self.name = name
        self.tag = crc32(name.encode()) & 0xFFFE
        self._fields = fields
        self._struct = struct.Struct(">H" + "".join(field.code for field in fields))

    def encode(self, values: tuple[Any, ...], *, is_backward: bool = False) -> str:
        """Return the cursor of the page after, or before, the row with these values."""
        packed = self._struct.pack(
            self.tag | is_backward,
            *(field.pack(value) for field, value in zip(self._fields, values, strict=True)),
        )
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    def decode(self, cursor: str) -> Cursor:
        """Return the values and the direction of a cursor, which anybody can forge.

        Raises:
            InvalidCursor: The text is no cursor of this list.
        """
        try:
            if len(cursor) > MAX_CURSOR_LENGTH:
                raise InvalidCursor
            padded = cursor + "=" * (-len(cursor) % 4)
            tag, *packed = self._struct.unpack(
                base64.b64decode(padded, altchars=b"-_", validate=True)
            )
            if tag & 0xFFFE != self.tag:
                raise InvalidCursor
            values = tuple(
                field.unpack(value) for field, value in zip(self._fields, packed, strict=True)
            )
        except (ValueError, TypeError, OverflowError, struct.error):
            raise InvalidCursor from None
        return Cursor(values, bool(tag & 1))


class PageOrder(NamedTuple):
    """The order in which a statement reads a page, and its SQL.

    The page before a row is read backwards from that row.
    """

    is_descending: bool
    has_cursor: bool

    def after(self, columns: str, values: str) -> str:
        """Return the condition that a row comes after the row of the cursor, in SQL."""
        if not self.has_cursor:
            return "true"
        return f"({columns}) {'<' if self.is_descending else '>'} ({values})"

    def by(self, *columns: str) -> str:
        """Return the ORDER BY clause."""
        direction = "DESC" if self.is_descending else "ASC"
        return f"ORDER BY {', '.join(f'{column} {direction}' for column in columns)}"


class PagedList:
    """A list whose pages are read by keyset, forwards and backwards.

    Args:
        name: The name of the list in its cursors.
        fields: The names of the parameters for the values of a cursor, and their fields.
        make_sql: The function that returns the SQL of a page in an order. Its parameter `limit` is
            the number of rows to read.
        is_descending: Whether the list begins with the largest values.
    """

    def __init__(
        self,
        name: str,
        fields: Mapping[str, CursorField],
        make_sql: Callable[[PageOrder], str],
        *,
        is_descending: bool = False,
    ) -> None:
        self._cursors = CursorFormat(name, *fields.values())
        self._parameters = tuple(fields)
        self.first = Statement(make_sql(PageOrder(is_descending, has_cursor=False)))
        self.after = Statement(make_sql(PageOrder(is_descending, has_cursor=True)))
        self.before = Statement(make_sql(PageOrder(not is_descending, has_cursor=True)))

    async def read_page(
        self,
        after: str | None,
        limit: int,
        make_item: Callable[[asyncpg.Record], Item],
        cursor_values: Callable[[Item], tuple[Any, ...]],
        **values: object,
    ) -> Page[Item]:
        """Read one page.

        Args:
            after: A cursor of this list; None reads the first page.
            limit: The maximum number of rows on the page.
            make_item: The function that makes an item of a row.
            cursor_values: The function that returns the values by which the list sorts an item.
            values: The values of the other parameters.

        Raises:
            InvalidCursor: `after` is not a cursor of this list.
        """
        cursor, statement = None, self.first
        if after is not None:
            cursor = self._cursors.decode(after)
            statement = self.before if cursor.is_backward else self.after
            values.update(zip(self._parameters, cursor.values, strict=True))
        records = await engine.read(statement, limit=limit + 1, **values)
        found = [make_item(record) for record in records]
        return make_page(found, limit, self._cursors, cursor, cursor_values)


def make_page(
    found: list[Item],
    limit: int,
    cursors: CursorFormat,
    cursor: Cursor | None,
    cursor_values: Callable[[Item], tuple[Any, ...]],
) -> Page[Item]:
    """Return a page of at most `limit` rows.

    Args:
        found: Up to `limit + 1` rows as they were read, so those of a page before a row are in
            reverse; the additional row means that another page follows.
        limit: The maximum number of rows on the page.
        cursors: The format of the list's cursors.
        cursor: The cursor with which the page was read; None for the first page.
        cursor_values: The function that returns the values by which the list sorts a row.
    """
    items, has_more = found[:limit], len(found) > limit
    is_backward = cursor is not None and cursor.is_backward
    if is_backward:
        items.reverse()
    has_next = has_more or is_backward
    has_previous = has_more if is_backward else cursor is not None

    def edge(index: int) -> tuple[Any, ...]:
        # All rows of the page may have been removed since its cursor was made.
        return cursor_values(items[index]) if items or cursor is None else cursor.values

    return Page(
        items,
        next_cursor=cursors.encode(edge(-1)) if has_next else None,
        previous_cursor=cursors.encode(edge(0), is_backward=True) if has_previous else None,
    )


def checked_limit(limit: int, largest: int = MAX_PAGE_SIZE, *, field: str = "limit") -> int:
    """Return the limit of a page unchanged if it is valid.

    Raises:
        InvalidInput: The limit is not an integer from 1 to `largest`.
    """
    if type(limit) is not int or not 1 <= limit <= largest:
        raise InvalidInput(f"A page has 1 to {largest:,} rows.", field=field)
    return limit
