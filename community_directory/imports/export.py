"""What the readers of exports have in common: what they make of a file, and how they stream it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import ijson
from ijson.common import ObjectBuilder

from community_directory.errors import DirectoryError
from community_directory.tables import EventType

SERVICE = "service messages"
DELETED = "events of deleted accounts that nobody here knows"
BOT = "events of bots"
CHANNEL = "messages in the name of a channel or group"
NAMELESS = "reactions whose author the export doesn't name"
STRANGE = "messages that don't look like any"


MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OverflowError, OSError)
"""What reading a message raises that is not as the platform writes them."""


class BrokenExport(DirectoryError):
    """The file ends too early, or is no JSON from some place on; what came before is good. `position` is in bytes."""

    def __init__(self, position: int) -> None:
        super().__init__(f"The file is broken near byte {position:,}.")
        self.position = position


@dataclass(frozen=True, slots=True)
class Author:
    """Who wrote, as the platform knows them; a deleted account has no name."""

    telegram_id: str
    """What stands in a contact's `telegram_id`; for an account of Discord `discord:` and its id there."""
    name: str | None
    discord_id: str | None = None


@dataclass(frozen=True, slots=True)
class Happened:
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


def stream(file: BinaryIO, whole: Collection[str]) -> Iterator[tuple[str, str, Any]]:
    """The file's JSON as ijson's (prefix, event, value), but with each object under a prefix of `whole` in one piece.

    Such a piece comes as the event `whole`. Memory holds one of them at a time. Raises `BrokenExport`.
    """
    builder = None
    try:
        for prefix, event, value in ijson.parse(file):
            if builder is not None:
                builder.event(event, value)
                if event == "end_map" and prefix in whole:
                    yield prefix, "whole", builder.value
                    builder = None
            elif event == "start_map" and prefix in whole:
                builder = ObjectBuilder()
                builder.event(event, value)
            else:
                yield prefix, event, value
    except (ijson.JSONError, UnicodeDecodeError):
        raise BrokenExport(file.tell()) from None


def plausible(at: datetime) -> datetime:
    """The time, if people chatted then. Raises `ValueError`."""
    if not 2000 <= at.year <= 2100:
        raise ValueError
    return at
