"""What the readers of exports have in common: what they make of a file, and how they stream it."""

import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import ijson
from ijson.common import ObjectBuilder

from community_directory.errors import InvalidInput, UserError
from community_directory.tables import EventType

SERVICE = "service messages"
DELETED = "events of deleted accounts that nobody here knows"
BOT = "events of bots"
CHANNEL = "messages in the name of a channel or group"
ANONYMOUS = "reactions whose author the export doesn't name"
STRANGE = "messages that don't look like any"


DEEPEST = 200
"""How deep the JSON of an export may be nested: no platform's is deeper than ten."""
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError)
"""What reading a message raises that is not as the platform writes them."""


class TruncatedExport(UserError):
    """The file ends too early, or is no JSON from some place on; what came before is good. `position` is in bytes."""

    def __init__(self, position: int) -> None:
        super().__init__(f"The file is broken near byte {position:,}.")
        self.position = position


class NotAnExport(InvalidInput):
    """The file is JSON, perhaps, but no export of this kind."""

    def __init__(self) -> None:
        super().__init__("There are no messages in this file: it is no export of this kind.")


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote, as the platform knows them; a deleted account has no name."""

    telegram_id: str
    """What stands in a contact's `telegram_id`; for an account of Discord `discord:` and its id there."""
    name: str | None
    discord_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExportedEvent:
    """An event of an export; `room` is the chat's name, for the report."""

    author: Author
    event_type: EventType
    room_id: str
    room: str
    source_id: str
    occurred_at: datetime
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """What of an export becomes no event, and why."""

    reason: str
    count: int = 1


class _Readable:
    """A file as ijson takes it: Telegram Desktop writes control characters as x0B, which is no JSON's escape."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        if file.read(3) != BOM_UTF8:
            file.seek(0)

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        # No escape is cut in two.
        while b"\\" in chunk[-3:] and (more := self._file.read(4)):
            chunk += more
        return (
            re.sub(rb"\\(x(?=[0-9A-Fa-f]{2})|.)", _escape, chunk, flags=re.DOTALL)
            if b"\\x" in chunk
            else chunk
        )


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u00" if match[1] == b"x" else match[0]


def stream(file: BinaryIO, whole: Collection[str]) -> Iterator[tuple[str, str, Any]]:
    """The file's JSON as ijson's (prefix, event, value), but with each object under a prefix of `whole` in one piece.

    Such a piece comes as the event `whole`; ends are left out. Memory holds one piece at a time. Raises `TruncatedExport`.
    """
    builder, depth, path = None, 0, list[str]()
    try:
        # With floats, because ijson dies of a whole number of thousands of digits, and Decimal of huge exponents.
        for event, value in ijson.basic_parse(_Readable(file), use_float=True):
            if event == "map_key":
                path[-1] = value
            elif event in {"end_map", "end_array"}:
                path.pop()
            if builder is not None:
                builder.event(event, value)
                if event == "end_map" and len(path) == depth:
                    yield ".".join(path), "whole", builder.value
                    builder = None
            elif event not in {"map_key", "end_map", "end_array"}:
                prefix = ".".join(path)
                if event == "start_map" and prefix in whole:
                    builder, depth = ObjectBuilder(), len(path)
                    builder.event(event, value)
                else:
                    yield prefix, event, value
            if event in {"start_map", "start_array"}:
                path.append("item" if event == "start_array" else "")
                if len(path) > DEEPEST:
                    raise TruncatedExport(file.tell())
    except (ijson.JSONError, UnicodeDecodeError):
        raise TruncatedExport(file.tell()) from None


def plausible(at: datetime) -> datetime:
    """The time, if people chatted then. Raises `ValueError`."""
    if not 2000 <= at.year <= 2100:
        raise ValueError
    return at


def number(value: object) -> str:
    """The digits of a whole number that a platform wrote as a number or as text. Raises `ValueError`."""
    if type(value) is int or isinstance(value, str):
        digits = str(value)
        if re.fullmatch(r"-?[1-9][0-9]{0,19}", digits):
            return digits
    raise ValueError
