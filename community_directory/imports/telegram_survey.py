"""Searches a Telegram export for its bots, and for old ids, before its messages are read.

Most evidence of a bot is somewhere in the middle of a file, and the bot's messages before it must
not become those of a person. The search looks for a few keys in the bytes of the file, and parses
only the objects around them, so it takes a small part of the time of reading the file.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any, BinaryIO

from community_directory.imports.telegram_ids import OLD_USER_IDS, parse_author, strip_kind

WINDOW_BYTES = 1 << 21
MAX_OBJECT_BYTES = 1 << 18
"""The size of the largest message in which evidence is found; a text has at most 4,096 characters.

Each window begins with so many bytes of the one before, so that no message is cut in both.
"""
MAX_OPENING_BRACES = 1000
"""The number of braces before a key among which the one that opens its object is looked for."""

SENT_TO_ALL = {
    "private_group",
    "private_supergroup",
    "public_supergroup",
    "private_channel",
    "public_channel",
}
CHAT_TYPES = {"bot_chat", "personal_chat", "saved_messages", "verification_codes", *SENT_TO_ALL}
EVIDENCE = {"inline_bot_buttons", "via_bot", "inline_bots", *CHAT_TYPES}
"""The keys and values that are looked for: the regular expression finds how they end."""
EVIDENCE_PATTERN = re.compile(
    r'_(?:bots?|bot_buttons|chat|group|supergroup|channel|messages|codes)"'
)
MAX_EVIDENCE_LENGTH = 20
TYPE_KEY_PATTERN = re.compile(r'"type"\s*:\s*\Z')
SENDER_PATTERN = re.compile(r'"from_id"\s*:\s*"user([0-9]+)"')
FIRST_AUTHOR_PATTERN = re.compile(r'"(?:from|actor)_id"\s*:\s*(["0-9])')
# Telegram Desktop writes control characters as `\x0B`, which is not an escape of JSON.
ESCAPE_PATTERN = re.compile(r"\\(x(?=[0-9A-Fa-f]{2})|.)", re.DOTALL)

_decode_json = JSONDecoder(strict=False).raw_decode


@dataclass(frozen=True, slots=True)
class ExportSurvey:
    """The facts that the reader of an export must know before the first message."""

    has_old_ids: bool
    """The ids of chats are `OLD_USER_IDS` and `OLD_CHAT_IDS`; False if no message has an author."""
    bots: frozenset[str]
    """The ids of the accounts of which the export shows that they are bots."""


def survey_export(file: BinaryIO) -> ExportSurvey:
    """Return the survey of an export, which is read from its present position to its end.

    An account is a bot if

    - the exported account has a chat of the type `bot_chat` with it, or often uses it in line, or
    - it has sent a message with buttons (`inline_bot_buttons`, since version 4.13.0) to a group or
      a channel. Others may have forwarded such a message, or have sent it by means of a bot
      (`via_bot`). In private, a shop's bot writes in the name of its owner.

    An account that has used another bot in line is a person. The survey never judges by a name.
    """
    surveyor = _Surveyor()
    for window in _read_windows(file):
        surveyor.search(window)
    return surveyor.finish()


class _Surveyor:
    """Collects the evidence of one file."""

    def __init__(self) -> None:
        self._has_old_ids: bool | None = None
        self._listed: set[int] = set()
        """The ids of bots in the lists of an account."""
        self._senders: set[str] = set()
        """The ids of those who sent buttons."""
        self._people: set[str] = set()
        self._chat_type = ""
        """The type of the chat in which the next window begins."""

    def search(self, window: str) -> None:
        """Add the evidence of a window to that of the windows before."""
        if self._has_old_ids is None and (author := FIRST_AUTHOR_PATTERN.search(window)):
            self._has_old_ids = author[1] != '"'
        chat_type = self._chat_type
        for found, position in _find_evidence(window):
            if found in CHAT_TYPES:
                chat_type = found
                if position < len(window) - MAX_OBJECT_BYTES:
                    self._chat_type = found
                if found == "bot_chat":
                    self._add_listed(_decode_header(window, position), "type", found)
            elif found == "inline_bots":
                self._add_listed(_decode_object(window, position), "category", found)
            # Most messages are those of an account that is already known.
            elif _find_sender(window, position) not in (
                self._people if found == "via_bot" else self._senders
            ):
                self._add_sender(_decode_object(window, position), chat_type)

    def _add_listed(self, listed: Mapping[str, Any], key: str, value: str) -> None:
        if listed.get(key) == value and type(listed.get("id")) is int:
            self._listed.add(listed["id"])

    def _add_sender(self, message: Mapping[str, Any], chat_type: str) -> None:
        """Add the sender of a message to the bots or the people, if it shows which they are."""
        with suppress(ValueError):
            account = parse_author(message.get("from_id"))
            if account is None:
                return
            if message.get("via_bot"):
                self._people.add(account)
            elif (
                message.get("inline_bot_buttons")
                and "forwarded_from" not in message
                and chat_type in SENT_TO_ALL
            ):
                self._senders.add(account)

    def finish(self) -> ExportSurvey:
        """Return what the evidence shows."""
        listed = (
            strip_kind(number, OLD_USER_IDS) if self._has_old_ids else number
            for number in self._listed
        )
        return ExportSurvey(
            has_old_ids=bool(self._has_old_ids),
            bots=frozenset(map(str, listed)) | (self._senders - self._people),
        )


def _read_windows(file: BinaryIO) -> Iterator[str]:
    """Yield the file in overlapping pieces, a character for each byte."""
    before = ""
    while chunk := file.read(WINDOW_BYTES):
        # In Latin-1 no byte is invalid. The values that are needed are ASCII.
        text = chunk.decode("latin-1")
        if "\\x" in text:
            text = ESCAPE_PATTERN.sub(_repair_escape, text)
        yield before + text
        before = (before + text)[-MAX_OBJECT_BYTES:]


def _find_evidence(window: str) -> Iterator[tuple[str, int]]:
    """Yield the keys and values of `EVIDENCE` in a window, with their places."""
    for match in EVIDENCE_PATTERN.finditer(window):
        end = match.end() - 1
        position = window.rfind('"', max(0, end - MAX_EVIDENCE_LENGTH), end)
        found = window[position + 1 : end] if position != -1 else ""
        if found in CHAT_TYPES:
            # A text may consist of the name of a type.
            if TYPE_KEY_PATTERN.search(window, max(0, position - MAX_EVIDENCE_LENGTH), position):
                yield found, position
        elif found in EVIDENCE:
            yield found, position


def _repair_escape(match: re.Match[str]) -> str:
    return "\\u00" if match[1] == "x" else match[0]


def _decode_object(text: str, position: int) -> Mapping[str, Any]:
    """Return the smallest JSON object around a position; it is empty if damaged or cut off."""
    start = position
    found: Mapping[str, Any]
    for _ in range(MAX_OPENING_BRACES):
        start = text.rfind("{", max(0, position - MAX_OBJECT_BYTES), start)
        if start == -1:
            break
        try:
            found, end = _decode_json(text, start)
        except (ValueError, RecursionError):
            continue  # a brace in a text, or the object is damaged
        if end > position:
            return found
        if "date" in found and "type" in found:
            break  # the message before
    return {}


def _decode_header(text: str, position: int) -> Mapping[str, Any]:
    """Return the object around a position up to its messages, which come last."""
    end = text.find('"messages"', position)
    start = max(0, position - MAX_OBJECT_BYTES)
    header = text[start:end].rstrip(" \r\n\t,") + "}"
    return _decode_object(header, position - start) if end != -1 else {}


def _find_sender(text: str, position: int) -> str | None:
    """Return the sender of the message at a position without parsing it, where that is clear.

    Telegram Desktop writes the sender after the date, and before all evidence.
    """
    start = text.rfind('"from_id"', max(0, position - MAX_OBJECT_BYTES), position)
    if start == -1 or text.find('"date', start, position) != -1:
        return None
    sender = SENDER_PATTERN.match(text, start, position)
    return sender[1] if sender else None
