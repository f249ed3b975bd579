"""The parts that readers of chat exports share: items and errors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from community_directory.errors import InvalidInput, UserError
from community_directory.imports.file_types import NOT_JSON
from community_directory.queries.identifiers import UNSTORABLE_PATTERN
from community_directory.tables import EventType

MALFORMED_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    OSError,
)
"""The exceptions that reading a malformed message can raise."""


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
    ERASED_AUTHOR = "events of people whose data was erased"
    ARCHIVED = "events of archived days, of which only daily counts are kept"
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
    """The file is not JSON from its beginning, so nothing was read.

    `problem` says what the file is and what to do; in a message, it follows the file's name.
    """

    def __init__(self, problem: str = NOT_JSON) -> None:
        super().__init__(0)
        self.args = (f"This file {problem}.",)
        self.problem = problem


class NotAnExport(InvalidInput):
    """The file is readable, but it is not an export of this platform."""

    def __init__(
        self,
        message: str = "There are no messages in this file. "
        "Export the chat as JSON, or choose another file.",
    ) -> None:
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Author:
    """The author of an event, as the platform knows them."""

    telegram_id: str
    """The `telegram_id` of their contact; for a Discord account it is `discord:` and its id."""
    name: str | None
    """The name that the export shows; None for a deleted account."""
    discord_id: str | None = None
    account_name: str | None = field(default=None, compare=False)
    """The name of the account, if `name` is the one that it has on a server."""
    username: str | None = field(default=None, compare=False)
    """The unique name by which others find the account, if the export shows it."""


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
    place: str | None = None
    """Where in the file the items are, for the report."""


@dataclass(frozen=True, slots=True)
class BotAccount:
    """An account of an export that is a bot, once for each bot that the reader meets."""

    telegram_id: str
    name: str
    """The name that the export shows, or the id if it shows none."""


@dataclass(frozen=True, slots=True)
class UnknownBot:
    """A bot that the operator has named, of which the export has nothing."""

    given: str
    """The name or the id, as it was given."""


ExportedItem = ExportedEvent | SkippedItem | BotAccount | UnknownBot
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


def check_event_time(occurred_at: datetime) -> datetime:
    """Return the time of an event.

    Raises:
        ValueError: The year is before 2000 or after 2100.
    """
    if not 2000 <= occurred_at.year <= 2100:
        raise ValueError
    return occurred_at


def make_reaction_metadata(emoji: object) -> Mapping[str, object] | None:
    """Return the metadata of a reaction, or None if there is no emoji that can be stored."""
    is_storable = isinstance(emoji, str) and emoji and not UNSTORABLE_PATTERN.search(emoji)
    return {"emoji": emoji} if is_storable else None


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


def parse_account_number(value: object) -> str:
    """Return the digits of the number of an account, which is not negative.

    Raises:
        ValueError: The value is not such a number.
    """
    digits = parse_digits(value)
    if digits.startswith("-"):
        raise ValueError
    return digits
