"""Reads the JSON of exports one message at a time, and goes on after a message that is broken."""

import json
import re
from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import Collection, Iterator, Mapping
from typing import Any, BinaryIO

from community_directory.imports.export import (
    NotJson,
    SkippedItem,
    SkipReason,
    TruncatedExport,
)
from community_directory.imports.file_types import describe_wrong_type
from community_directory.imports.json_repair import (
    Boundary,
    contains_message,
    find_chat,
    find_message_end,
    is_stray_bracket,
    repair_object,
    repair_value,
)

MAX_EXPORT_DEPTH = 200
"""The deepest nesting of JSON that is read; no platform nests its exports deeper than ten."""

MAX_OBJECT_LENGTH = 32 * 1024 * 1024
"""The most characters of one message that are read."""
MAX_REPAIR_LENGTH = 1024 * 1024
"""The most characters of one broken message that are repaired."""

JSON_OBJECT = "object"
"""The event with which `stream_json` yields an object in one piece."""
DAMAGED_OBJECT = "damaged object"
"""The event with which `stream_json` yields an object whose JSON is broken."""

_CHUNK_SIZE = 64 * 1024
_LONGEST_TOKEN = 16
"""The length of the longest token that the decoder reports by its beginning, strings aside."""
_NOT_SPACE = re.compile(r"[^ \t\n\r]")
_NUMBER = re.compile(r"[-+.0-9Ee]+")
_OPENING_BRACKETS = ("{", "[")
_DECODER = json.JSONDecoder()


def stream_json(file: BinaryIO, object_prefixes: Collection[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield the JSON of a file as (prefix, event, value), some objects in one piece.

    Prefixes and events are those of ijson: the first message of a list has the prefix
    "messages.item". Ends and keys are not yielded. An object under one of `object_prefixes` is
    yielded as the event `JSON_OBJECT` with the whole object as its value.

    Such an object whose JSON is broken is repaired where it is certain what it stands for;
    otherwise it is yielded as `DAMAGED_OBJECT` with its place in the file as the value, and the
    next one is read. Memory holds one such object at a time.

    Raises:
        NotJson: The file is of another type, or no object or array begins.
        TruncatedExport: The file ends too early, is damaged outside such an object, or is nested
            deeper than `MAX_EXPORT_DEPTH` there.
    """
    return _JsonStream(file, object_prefixes).read()


def skip_malformed(event: str, value: Any) -> SkippedItem:
    """Return the item for a message that can't be read, by what `stream_json` yielded for it."""
    place = None
    if event == DAMAGED_OBJECT:
        place = value
    elif event == JSON_OBJECT and (number := _get_id(value)):
        place = f"message {number}"
    return SkippedItem(SkipReason.MALFORMED, place=place)


class _JsonStream:
    """The state of `stream_json`."""

    def __init__(self, file: BinaryIO, object_prefixes: Collection[str]) -> None:
        self._text = _TextReader(file)
        self._object_prefixes = object_prefixes
        self._path: list[str] = []
        self._closing: list[str] = []
        """The brackets that close the objects and arrays around the next value."""
        self._chats: tuple[list[str], list[str]] | None = None
        """What `_closing` and `_path` are in a list of chats, once one was met."""
        self._last_id: str | None = None

    def read(self) -> Iterator[tuple[str, str, Any]]:
        """Yield the events of the whole file."""
        text = self._text
        if text.peek() not in _OPENING_BRACKETS:
            yield self._read_only_scalar()
            return
        yield from self._read_value()
        while self._closing or self._find_next_chat():
            character = text.peek()
            if character == "]" and self._is_stray_bracket():
                yield ".".join(self._path), *self._read_damaged_item()
            elif character == self._closing[-1]:
                text.index += 1
                self._closing.pop()
                self._path.pop()
            elif character == ",":
                text.index += 1
            elif not character:
                raise TruncatedExport(text.bytes_read)
            elif self._closing[-1] == "]" or self._read_key():
                yield from self._read_value()
        if text.peek():
            raise TruncatedExport(text.find_byte(text.index))

    def _is_stray_bracket(self) -> bool:
        """Return whether the next bracket belongs to a broken object, not to the list around it."""
        is_in_list = ".".join(self._path) in self._object_prefixes
        return is_in_list and self._text.is_at_stray_bracket()

    def _read_only_scalar(self) -> tuple[str, str, Any]:
        try:
            value = self._text.read_scalar()
        except (ValueError, TruncatedExport):
            raise NotJson from None
        if self._text.peek():
            raise NotJson
        return "", _get_scalar_event(value), value

    def _read_key(self) -> bool:
        """Read a key and its colon, and return whether there was one; a broken line is skipped."""
        text = self._text
        try:
            key = text.read_scalar()
        except ValueError:
            key = None
        if not isinstance(key, str) or text.peek() != ":":
            self._skip_broken_text()
            return False
        text.index += 1
        self._path[-1] = key
        return True

    def _skip_broken_text(self) -> str:
        """Move to the next chat, or return the rest of the line and move behind it."""
        return "" if self._find_next_chat() else self._text.skip_line()

    def _find_next_chat(self) -> bool:
        """Move to the next chat, and return whether there is one before the next message.

        A broken message at the end of a chat may seem to close the list of chats.
        """
        if self._chats is None or not self._text.find_chat():
            return False
        closing, path = self._chats
        self._closing, self._path = [*closing], [*path]
        return True

    def _read_value(self) -> Iterator[tuple[str, str, Any]]:
        character = self._text.peek()
        prefix = ".".join(self._path)
        if prefix in self._object_prefixes:
            yield prefix, *self._read_item(character)
        elif character in _OPENING_BRACKETS:
            yield prefix, self._open(character), None
        else:
            value = self._read_scalar_or_line()
            yield prefix, _get_scalar_event(value), value

    def _open(self, character: str) -> str:
        """Enter an object or array, and return its event."""
        is_object = character == "{"
        self._text.index += 1
        if self._closing[-2:] == ["]", "}"] and self._path[-1] == "messages":
            self._chats = self._closing[:-1], self._path[:-1]
        self._closing.append("}" if is_object else "]")
        self._path.append("" if is_object else "item")
        if len(self._path) > MAX_EXPORT_DEPTH:
            raise TruncatedExport(self._text.find_byte(self._text.index))
        return "start_map" if is_object else "start_array"

    def _read_scalar_or_line(self) -> Any:
        text = self._text
        try:
            return text.read_scalar()
        except ValueError:
            return repair_value(self._skip_broken_text().rstrip(", \t\r"))

    def _read_item(self, character: str) -> tuple[str, Any]:
        """Read a value that should be an object, and return its event and value."""
        if character == "[":
            return self._open(character), None
        text = self._text
        try:
            value = text.read_message() if character == "{" else text.read_scalar()
        except ValueError:
            return self._read_damaged_item()
        if character == "{":
            self._last_id = _get_id(value)
            return JSON_OBJECT, value
        # The scalar may be what is left of an object, whose other fields follow.
        if text.peek() in ("", ",", "]"):
            return _get_scalar_event(value), value
        return self._read_damaged_item()

    def _read_damaged_item(self) -> tuple[str, Any]:
        """Read a broken object up to where the next one begins, and repair it if possible."""
        position = self._text.find_byte(self._text.index)
        broken, boundary = self._text.read_damaged()
        if boundary is Boundary.CHAT and self._closing[-3:] == ["]", "}", "]"]:
            # The list of messages and its chat end, too.
            del self._closing[-2:], self._path[-2:]
        value = repair_object(broken, boundary)
        if value is not None:
            self._last_id = _get_id(value)
            return JSON_OBJECT, value
        after = f", after message {self._last_id}" if self._last_id else ""
        return DAMAGED_OBJECT, f"near byte {position:,}{after}"


def _get_id(message: Mapping[str, Any]) -> str | None:
    """Return the id of a message if it is fit to be shown."""
    number = str(message.get("id"))
    return number if re.fullmatch(r"-?[0-9]{1,20}", number) else None


def _get_scalar_event(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


class _TextReader:
    """The text of a file, of which memory holds a part. Bytes that are not UTF-8 are kept.

    Raises:
        NotJson: The file is of another type.
    """

    def __init__(self, file: BinaryIO) -> None:
        head = file.read(_CHUNK_SIZE)
        problem = describe_wrong_type(head)
        if problem:
            raise NotJson(problem)
        self._file = file
        # Unlike "replace", it keeps the length in bytes, so that a place can be named.
        self._decoder = getincrementaldecoder("utf-8")("surrogateescape")
        self.text = self._decoder.decode(head.removeprefix(BOM_UTF8))
        self.index = 0
        """The index in `text` of the first character that was not read."""
        self.bytes_read = len(head)
        self._is_complete = False

    def peek(self) -> str:
        """Skip white space, and return the next character, or an empty text at the end."""
        while True:
            found = _NOT_SPACE.search(self.text, self.index)
            if found:
                self.index = found.start()
                return found[0]
            self.index = len(self.text)
            if not self._read_more():
                return ""

    def read_message(self) -> Any:
        """Return the message that begins at `index`, and move behind it.

        Raises:
            ValueError: It is not JSON, it contains the next message because it is not closed, or
                a part of it follows because it is closed too early. `index` stays.
            TruncatedExport: The file ends before the message does.
        """
        value, end = self._decode()
        length = end - self.index
        if contains_message(self.text, self.index, end) or not self._ends_after(length):
            raise ValueError
        self.index += length
        return value

    def read_scalar(self) -> Any:
        """Return the string, number, boolean or null that begins at `index`, and move behind it.

        Raises:
            ValueError: It is not JSON, or it is an object or array. `index` stays.
            TruncatedExport: The file ends before the value does.
        """
        if self.peek() in _OPENING_BRACKETS:
            raise ValueError
        # The digits of a number may go on in the next part of the file.
        while _NUMBER.fullmatch(self.text, self.index) and self._read_more():
            pass
        value, self.index = self._decode()
        return value

    def _decode(self) -> tuple[Any, int]:
        """Return the value that begins at `index`, and the index of its end."""
        while True:
            try:
                return _DECODER.raw_decode(self.text, self.index)
            except json.JSONDecodeError as error:
                if not self._may_continue(error):
                    raise
            except RecursionError:
                raise ValueError from None
            if not self._read_more():
                raise TruncatedExport(self.bytes_read)

    def _ends_after(self, length: int) -> bool:
        """Return whether a message may end after this number of characters."""
        while not (found := _NOT_SPACE.search(self.text, self.index + length)):
            if not self._read_more():
                return True
        return found[0] in ",]{"

    def _may_continue(self, error: json.JSONDecodeError) -> bool:
        """Return whether the error is perhaps only the end of the text in memory."""
        is_string = error.msg.startswith("Unterminated string")
        is_near_end = error.pos >= len(self.text) - _LONGEST_TOKEN
        is_long = len(self.text) - self.index > MAX_OBJECT_LENGTH
        return (
            (is_string or is_near_end)
            and not is_long
            and not find_message_end(self.text, self.index, is_complete=False)
        )

    def read_damaged(self) -> tuple[str, Boundary]:
        """Return the broken object that begins at `index`, and move to where it ends.

        The text is empty if the object is longer than `MAX_REPAIR_LENGTH`. The object ends with the
        file if no other end is found.
        """
        is_too_long = False
        while True:
            end = find_message_end(self.text, self.index, is_complete=self._is_complete)
            if end or self._is_complete:
                break
            if len(self.text) - self.index > MAX_REPAIR_LENGTH:
                is_too_long = True
                self.index = len(self.text) - _CHUNK_SIZE
            self._read_more()
        index, boundary = end or (len(self.text), Boundary.MESSAGE)
        broken = "" if is_too_long else self.text[self.index : index]
        self.index = index
        return broken, boundary

    def is_at_stray_bracket(self) -> bool:
        """Return whether the bracket at `index` belongs to a message that seemed to end before."""
        if len(self.text) - self.index < _CHUNK_SIZE:
            self._read_more()
        return is_stray_bracket(self.text, self.index)

    def find_chat(self) -> bool:
        """Move to the next chat, and return whether it begins before the next message."""
        if len(self.text) - self.index < _CHUNK_SIZE:
            self._read_more()
        position = find_chat(self.text, self.index)
        if position is not None:
            self.index = position
        return position is not None

    def skip_line(self) -> str:
        """Return the rest of the line, and move behind it.

        Raises:
            TruncatedExport: The line does not end soon, so there is no way to go on.
        """
        if self.text.find("\n", self.index) < 0:
            self._read_more()
        end = self.text.find("\n", self.index)
        if end < 0:
            raise TruncatedExport(self.find_byte(self.index))
        line = self.text[self.index : end]
        self.index = end
        return line

    def find_byte(self, index: int) -> int:
        """Return the number of bytes of the file before the character at an index."""
        undecoded, _ = self._decoder.getstate()
        after = self.text[index:].encode("utf-8", "surrogateescape")
        return self.bytes_read - len(undecoded) - len(after)

    def _read_more(self) -> bool:
        """Read the next part of the file, and return whether there was one."""
        if self._is_complete:
            return False
        # As much as is waiting, so that a long value is not decoded again too often.
        chunk = self._file.read(max(_CHUNK_SIZE, len(self.text) - self.index))
        self.bytes_read += len(chunk)
        self._is_complete = not chunk
        # Keep the indentation of the value that begins here.
        kept = max(self.index - MAX_EXPORT_DEPTH, 0)
        self.text = self.text[kept:] + self._decoder.decode(chunk, final=not chunk)
        self.index -= kept
        return bool(chunk)
