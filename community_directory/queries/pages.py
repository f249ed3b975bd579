"""Pages by keyset: a cursor says after which row the next page begins, so pages stay right while rows come and go."""

import base64
import binascii
import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from community_directory.errors import InvalidCursor, InvalidInput

LONGEST_PAGE = 100

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some of the rows, and where the next ones begin: pass `next_cursor` as `after`. None: these were the last."""

    items: list[Item]
    next_cursor: str | None


def page_of(rows: list[Item], limit: int, query: str, position: tuple[str | int, ...] | None) -> Page[Item]:
    """A page of `limit` rows when one row more was fetched; `position` is the last one's place in the order."""
    if len(rows) <= limit or position is None:
        return Page(rows[:limit], None)
    payload = json.dumps([query, *position], separators=(",", ":")).encode()
    return Page(rows[:limit], base64.urlsafe_b64encode(_seal(payload) + payload).decode().rstrip("="))


def position_of(cursor: str, query: str) -> list[str | int]:
    """The place that a cursor of this query names. Raises `InvalidCursor`."""
    try:
        decoded = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        seal, payload = decoded[:_SEAL_BYTES], decoded[_SEAL_BYTES:]
        if seal != _seal(payload):
            raise InvalidCursor
        made_by, *position = json.loads(payload)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise InvalidCursor from None
    if made_by != query:
        raise InvalidCursor
    return list(position)


def checked_limit(limit: int) -> int:
    """The number of rows of a page. Raises `InvalidInput` outside of 1 to 100."""
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidInput(f"A page has 1 to {LONGEST_PAGE} rows.", field="limit")
    return limit


_SEAL_BYTES = 8


def _seal(payload: bytes) -> bytes:
    """No secret, just enough to notice a cursor that was cut or edited: a place in a list gives nothing away."""
    return blake2b(payload, digest_size=_SEAL_BYTES, person=b"directory.cursor").digest()
