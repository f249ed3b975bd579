"""The parts that readers of chat exports share: items, errors, and a stream of JSON."""

import re
from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, BinaryIO

import ijson
from ijson.common import ObjectBuilder

from community_directory.errors import InvalidInput, UserError
from community_directory.tables import EventType

MAX_EXPORT_DEPTH = 200
"""The deepest nesting of JSON that is read; no platform nests its exports deeper than ten."""

MALFORMED_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    OSError,
)
"""The exceptions that reading a malformed message can raise."""

JSON_OBJECT = "object"
"""The event with which `stream_json` yields an object in one piece."""


class SkipReason(StrEnum):
    """The reasons why items of an export become no event; the report shows the values."""

    SERVICE_MESSAGE = "service messages"
    DELETED_ACCOUNT = "events of deleted accounts that are not in the directory"
    BOT = "events of bots"
    SENT_AS_CHAT = "events of channels and groups"
    ANONYMOUS_REACTION = "reactions whose author is not in the export"
    MALFORMED = "malformed messages"
    UNSUPPORTED = "messages that Telegram Desktop can't export"
    NOT_A_GROUP = "messages in chats that are not groups"
    NO_CHAT_ID = "messages in groups without an id, which Telegram Desktop exports since 1.4.8"
    CHAT_NOT_CHOSEN = "messages in chats that were not chosen"
    BANNED_AUTHOR = "events of banned people whose data was erased"
    NOT_STORABLE = "events that can't be stored"


class TruncatedExport(UserError):
    """The file ends too early, or stops being JSON; everything before `position` was read.

    `position` is a number of bytes.
    """

    def __init__(self, position: int) -> None:
        super().__init__(
            f"The file is incomplete or damaged near byte {position:,}: export the chat again."
        )
        self.position = position


class NotJson(TruncatedExport):
    """The file is not JSON from its beginning, so nothing was read."""


class NotAnExport(InvalidInput):
    """The file is readable, but it is not an export of this platform with messages in it."""

    def __init__(self) -> None:
        super().__init__(
            "There are no messages in this file. Export the chat as JSON, or choose another file."
        )


@dataclass(frozen=True, slots=True)
class Author:
    """The author of an event, as the platform knows them."""

    telegram_id: str
    """The `telegram_id` of their contact; for a Discord account it is `discord:` and its id."""
    name: str | None
    """The name that the export shows; None for a deleted account."""
    discord_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExportedEvent:
    """An event that an export contains."""

    author: Author
    event_type: EventType
    room_id: str
    room: str
    """The chat's name, for the report."""
    source_id: str
    """The platform's id of the message."""
    occurred_at: datetime
    metadata: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class SkippedItem:
    """One or more items of an export that become no event."""

    reason: SkipReason
    count: int = 1


@dataclass(frozen=True, slots=True)
class BotAccount:
    """An account of an export that is a bot, once for each bot that the reader meets."""

    telegram_id: str
    name: str
    """The name that the export shows, or the id if it shows none."""


ExportedItem = ExportedEvent | SkippedItem | BotAccount
"""An item that a reader yields."""


@dataclass(frozen=True, slots=True)
class ExportedMessage:
    """The values that a message shares with all events that it becomes."""

    room_id: str
    room: str
    source_id: str
    sent_at: datetime

    def make_event(
        self,
        author: Author | SkippedItem,
        event_type: EventType,
        *,
        occurred_at: datetime | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> ExportedEvent | SkippedItem:
        """Return an event of the author, or the author itself if their events are skipped.

        The event occurred when the message was sent, unless another time is given.

        Raises:
            ValueError: The year is before 2000 or after 2100.
        """
        if isinstance(author, SkippedItem):
            return author
        return ExportedEvent(
            author=author,
            event_type=event_type,
            room_id=self.room_id,
            room=self.room,
            source_id=self.source_id,
            occurred_at=check_event_time(occurred_at or self.sent_at),
            metadata=metadata,
        )


class _RepairingReader:
    r"""A file for ijson, without a byte order mark and with valid escapes.

    Telegram Desktop writes control characters as `\x0B`, which is not an escape of JSON: the
    reader turns it into `\u000B`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        if file.read(3) != BOM_UTF8:
            file.seek(0)

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        # Read on while the chunk may end inside an escape.
        while b"\\" in chunk[-3:] and (more := self._file.read(4)):
            chunk += more
        if b"\\x" not in chunk:
            return chunk
        return re.sub(rb"\\(x(?=[0-9A-Fa-f]{2})|.)", _repair_escape, chunk, flags=re.DOTALL)


def _repair_escape(match: re.Match[bytes]) -> bytes:
    return b"\\u00" if match[1] == b"x" else match[0]


def stream_json(file: BinaryIO, object_prefixes: Collection[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield the JSON of a file as the (prefix, event, value) of ijson, some objects in one piece.

    An object under one of `object_prefixes` is yielded as the event `JSON_OBJECT` with the whole
    object as its value. Ends and keys are not yielded. Memory holds one such object at a time.

    Raises:
        TruncatedExport: The file ends too early, is not JSON, or is nested deeper than
            `MAX_EXPORT_DEPTH`. It is `NotJson` if no object or array begins.
    """
    events = _parse_json(file)
    has_begun = False
    try:
        for path, event, value in events:
            prefix = ".".join(path)
            has_begun = has_begun or event in {"start_map", "start_array"}
            if event == "start_map" and prefix in object_prefixes:
                yield prefix, JSON_OBJECT, _build_object(events, len(path))
            elif event not in {"map_key", "end_map", "end_array"}:
                yield prefix, event, value
    except (ijson.JSONError, UnicodeDecodeError):
        raise (TruncatedExport if has_begun else NotJson)(file.tell()) from None


def _build_object(events: Iterator[tuple[list[str], str, Any]], depth: int) -> Any:
    """Return the object that began at this depth, and take its events from the iterator."""
    builder = ObjectBuilder()
    builder.event("start_map", None)
    for path, event, value in events:
        builder.event(event, value)
        if event == "end_map" and len(path) == depth:
            break
    return builder.value


def _parse_json(file: BinaryIO) -> Iterator[tuple[list[str], str, Any]]:
    """Yield each event of ijson with its path, which is one list that changes with each event."""
    path: list[str] = []
    # Floats, because ijson fails on integers of thousands of digits, and Decimal on huge exponents.
    for event, value in ijson.basic_parse(_RepairingReader(file), use_float=True):
        if event == "map_key":
            path[-1] = value
        elif event in {"end_map", "end_array"}:
            path.pop()
        yield path, event, value
        if event in {"start_map", "start_array"}:
            path.append("item" if event == "start_array" else "")
            if len(path) > MAX_EXPORT_DEPTH:
                raise TruncatedExport(file.tell())


def check_event_time(occurred_at: datetime) -> datetime:
    """Return the time of an event.

    Raises:
        ValueError: The year is before 2000 or after 2100.
    """
    if not 2000 <= occurred_at.year <= 2100:
        raise ValueError
    return occurred_at


def parse_digits(value: object) -> str:
    """Return the digits of an integer that a platform writes as a number or as text.

    Raises:
        ValueError: The value is not an integer, is zero, or has more than 20 digits.
    """
    if type(value) is int or isinstance(value, str):
        digits = str(value)
        if re.fullmatch(r"-?[1-9][0-9]{0,19}", digits):
            return digits
    raise ValueError
