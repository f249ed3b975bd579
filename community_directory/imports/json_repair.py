"""Finds the end of a message whose JSON is broken, and repairs what exporters write wrongly.

All functions take text whose bytes that are not UTF-8 were decoded with `surrogateescape`.
"""

import json
import re
from enum import Enum, auto
from typing import Any, NamedTuple

_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|)')
_BARE_QUOTE = re.compile(r'\\.|\\$|"', re.DOTALL)
_KEY_INSIDE = re.compile(r'"\s*:\s*["\[{0-9]')
# A key, or nothing; a value; and the comma after it. Both platforms write each on its own line.
_LINE = re.compile(
    r'^([ \t]*(?:"(?:[^"\\\n]|\\.)*"[ \t]*:[ \t]*)?)(\S(?:.*?\S)??)([ \t]*,?[ \t\r]*)$',
    re.MULTILINE,
)
_LOST_PART = "\0" * 4
_CONTAINERS = frozenset("{}[]")

# Both platforms begin each message with its id and its type, in every version. Telegram Desktop
# begins a chat with its name, type and id; DiscordChatExporter ends with the number of messages.
_MESSAGE = r'\{\s*"id"\s*:\s*"?-?[0-9]+"?\s*,\s*"type"\s*:'
_NEXT_MESSAGE = re.compile(_MESSAGE)
_NEXT_OBJECT = re.compile(
    rf"""
      (?P<message> {_MESSAGE} )
    | (?P<chat> \{{\s*(?:"name"\s*:\s*(?:null|"[^"\n]*")\s*,\s*)?
                "type"\s*:\s*"\w+"\s*,\s*"id"\s*:\s*-?[0-9]+\s*,\s*"messages"\s*:\s*\[ )
    | (?P<end> \]\s*,\s*"messageCount"\s*: )
    """,
    re.VERBOSE,
)
# The messages of a chat are the last part of it, in the export of an account, too.
_CHAT_HEADER = re.compile(
    r'"messages"|"type"\s*:\s*"(?:saved|replies|verify|\w+_(?:chat|\w*group|channel)")'
)
_END_OF_FILE = re.compile(r"\]\s*\}\s*(?:\]\s*\}\s*\}\s*)?\Z")


class Boundary(Enum):
    """What follows a broken message."""

    MESSAGE = auto()
    """The next message, or the end of the list of messages."""
    CHAT = auto()
    """The next chat of an account: the list of messages and the chat are not closed."""


class MessageEnd(NamedTuple):
    """The place where a broken message ends."""

    position: int
    boundary: Boundary


_SEPARATORS = {
    Boundary.MESSAGE: re.compile(r"[\s,]*\Z"),
    Boundary.CHAT: re.compile(r"\s*\]\s*\}[\s,]*\Z"),
}


def find_message_end(text: str, start: int, *, is_complete: bool) -> MessageEnd | None:
    """Return the end of the broken message that begins at `start`, or None if it is not in `text`.

    In an indented file, a message ends at the first closing brace with the indentation of its
    opening one. In any file, it ends where the next message or chat begins.

    Args:
        text: A part of a file.
        start: The index of the message's first character.
        is_complete: Whether the file ends where `text` ends.
    """
    closing = _find_closing_brace(text, start, is_complete=is_complete)
    limit = len(text) if closing is None else closing
    found = _NEXT_OBJECT.search(text, start + 1, limit)
    if found:
        boundary = Boundary.CHAT if found["chat"] else Boundary.MESSAGE
        return MessageEnd(found.start(), boundary)
    if closing is not None:
        return MessageEnd(closing, Boundary.MESSAGE)
    ending = _END_OF_FILE.search(text, start + 1) if is_complete else None
    return MessageEnd(ending.start(), Boundary.MESSAGE) if ending else None


def _find_closing_brace(text: str, start: int, *, is_complete: bool) -> int | None:
    """Return the index after the brace that closes an indented object, or None."""
    indentation = text[text.rfind("\n", 0, start) + 1 : start]
    if not indentation or indentation.strip(" \t"):
        return None
    following = r"[,\]]|\Z" if is_complete else r"[,\]]"
    found = re.compile(rf"\n{indentation}\}}(?=\s*(?:{following}))").search(text, start)
    return found.end() if found else None


def contains_message(text: str, start: int, end: int) -> bool:
    """Return whether the object between two indexes has swallowed the message after it."""
    return _NEXT_MESSAGE.search(text, start + 1, end) is not None


def find_chat(text: str, index: int) -> int | None:
    """Return the index of the next chat of an account, or None if a message begins before it."""
    found = _NEXT_OBJECT.search(text, index)
    return found.start() if found and found["chat"] else None


def is_stray_bracket(text: str, index: int) -> bool:
    """Return whether the closing bracket at `index` does not end the list of messages.

    A message that lost an opening bracket seems to end too early. Then what is left of it follows,
    and the next message. If the header of a chat is between, even a damaged one, the next message
    belongs to that chat.
    """
    found = _NEXT_OBJECT.search(text, index)
    if not found or not found["message"]:
        return False
    return not _CHAT_HEADER.search(text, index, found.start())


def repair_object(text: str, boundary: Boundary) -> dict[str, Any] | None:
    """Return the object that a broken message stands for, or None if that is not certain.

    The text may end with what separates the message from what follows it.
    """
    value = repair_value(_SEPARATORS[boundary].sub("", text))
    return value if isinstance(value, dict) else None


def repair_value(text: str) -> Any:
    r"""Return the value of broken JSON, or None if it is not certain what it stands for.

    The text may have control characters, line breaks in strings, escapes that JSON does not know
    (Telegram Desktop writes `\x0B`), and integers of any length. On a line of its own, a value may
    lack its quotes, and a string may contain quotes without a backslash.

    A part of the file that a disk has lost is a row of null characters. What is around it may be of
    two messages.
    """
    if _LOST_PART in text:
        return None
    escaped = _ESCAPE.sub(_repair_escape, text)
    for candidate in (escaped, _LINE.sub(_repair_line, escaped)):
        try:
            return _LENIENT_DECODER.decode(candidate)
        except (ValueError, RecursionError):
            continue
    return None


def _repair_escape(match: re.Match[str]) -> str:
    if match[1]:
        return match[0]
    return f"\\u00{match[2]}" if match[2] else "\\\\"


def _repair_line(match: re.Match[str]) -> str:
    """Return a line with quotes around its value, and a backslash before each quote in it."""
    key, value, end = match.groups()
    if value[0] in _CONTAINERS or _is_json(value):
        return match[0]
    if len(value) > 1 and value[0] == value[-1] == '"':
        inside = value[1:-1]
        # Two lines became one: the value would swallow the next field.
        if _KEY_INSIDE.search(inside):
            return match[0]
        return f'{key}"{_BARE_QUOTE.sub(_escape_quote, inside)}"{end}'
    if '"' in value or not key.strip():
        return match[0]
    return f'{key}"{value}"{end}'


def _escape_quote(match: re.Match[str]) -> str:
    return match[0] if len(match[0]) == 2 else f"\\{match[0]}"


def _is_json(text: str) -> bool:
    try:
        _LENIENT_DECODER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parse_int(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        # Python refuses to convert thousands of digits to an integer.
        return float(digits)


_LENIENT_DECODER = json.JSONDecoder(strict=False, parse_int=_parse_int)
