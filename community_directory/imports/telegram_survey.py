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

# Quotation marks inside a text are escaped, so an unescaped one ends a whole key or value.
EVIDENCE_PATTERN = re.compile(r'"(inline_bot_buttons|via_bot|bot_chat|inline_bots)"')
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
    - it has sent a message with buttons (`inline_bot_buttons`, since version 4.13.0). Others may
      have forwarded such a message, or have sent it by means of a bot (`via_bot`).

    An account that has used another bot in line is a person. The survey never judges by a name.
    """
    has_old_ids: bool | None = None
    listed: set[int] = set()
    pressed: set[str] = set()
    people: set[str] = set()
    for window in _read_windows(file):
        if has_old_ids is None and (author := FIRST_AUTHOR_PATTERN.search(window)):
            has_old_ids = author[1] != '"'
        for match in EVIDENCE_PATTERN.finditer(window):
            match match[1]:
                case "bot_chat":
                    _add_bot_chat(listed, _decode_header(window, match.start()))
                case "inline_bots":
                    _add_inline_bot(listed, _decode_object(window, match.start()))
                case key:
                    # Most messages are those of an account that is already known.
                    known = people if key == "via_bot" else pressed
                    if _find_sender(window, match.start()) not in known:
                        _add_sender(pressed, people, _decode_object(window, match.start()))
    ids = (strip_kind(number, OLD_USER_IDS) if has_old_ids else number for number in listed)
    return ExportSurvey(
        has_old_ids=bool(has_old_ids),
        bots=frozenset(map(str, ids)) | (pressed - people),
    )


def _read_windows(file: BinaryIO) -> Iterator[str]:
    """Yield the file in overlapping pieces, a character for each byte."""
    before = ""
    while chunk := file.read(WINDOW_BYTES):
        # In Latin-1 no byte is invalid. The values that are needed are ASCII.
        window = before + chunk.decode("latin-1")
        before = window[-MAX_OBJECT_BYTES:]
        yield ESCAPE_PATTERN.sub(_repair_escape, window) if "\\x" in window else window


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


def _add_bot_chat(bots: set[int], chat: Mapping[str, Any]) -> None:
    if chat.get("type") == "bot_chat" and type(chat.get("id")) is int:
        bots.add(chat["id"])


def _add_inline_bot(bots: set[int], contact: Mapping[str, Any]) -> None:
    if contact.get("category") == "inline_bots" and type(contact.get("id")) is int:
        bots.add(contact["id"])


def _add_sender(bots: set[str], people: set[str], message: Mapping[str, Any]) -> None:
    """Add the sender of a message to the bots or the people, if the message shows which it is."""
    with suppress(ValueError):
        account = parse_author(message.get("from_id"))
        if account is None:
            return
        if message.get("via_bot"):
            people.add(account)
        elif message.get("inline_bot_buttons") and "forwarded_from" not in message:
            bots.add(account)
