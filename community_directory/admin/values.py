"""What the front end's forms and filters send, as values that the database takes."""

import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from piccolo.columns import (
    JSON,
    JSONB,
    UUID,
    BigInt,
    BigSerial,
    Boolean,
    Column,
    Date,
    ForeignKey,
    Integer,
    Serial,
    Text,
    Timestamp,
    Timestamptz,
    Varchar,
)

from community_directory.errors import InvalidInput
from community_directory.queries.values import as_json

LONG = (BigInt, BigSerial)
WHOLE = (Integer, Serial, *LONG)
JSONS = (JSON, JSONB)
TEXTS = (Varchar, Text)


def value_of(column: Column, sent: object) -> Any:
    """The value for a column, from what a form or a filter sent. Raises `InvalidInput` that names the column."""
    name = column._meta.name
    if sent is None or (sent == "" and (column._meta.null or not isinstance(column, TEXTS))):
        return None
    for kinds, read, sentence in _READERS:
        if isinstance(column, kinds):
            try:
                value = read(sent)
            except InvalidInput as error:
                raise InvalidInput(str(error), field=name) from None
            except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
                raise InvalidInput(sentence, field=name) from None
            longest = getattr(column, "length", None)
            if longest is not None and len(value) > longest:
                raise InvalidInput(f"This has {len(value)} characters, of {longest} at the most.", field=name)
            if isinstance(column, WHOLE) and abs(value) >= (2**63 if isinstance(column, LONG) else 2**31):
                raise InvalidInput("This number is too large.", field=name)
            return value
    raise InvalidInput("This can't be read or changed here.", field=name)


def json_object(text: str | bytes) -> dict[str, Any]:
    """The object that a JSON text holds. Raises ValueError, RecursionError for what is no JSON or no object."""
    found = json.loads(text, parse_constant=_refuse)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004  one kind of error for all that is wrong with a text
    return found


def is_unchanged(column: Column, seen: Any, sent: Any) -> bool:
    """Whether a form that was filled with `seen`, as the panel sent it, makes `sent` of it by itself.

    It cuts fractions of seconds and line breaks, rounds large numbers in JSON, and has one empty value.
    """
    if column._meta.secret or seen in (None, "") or sent in (None, ""):
        return sent in (None, "") and (column._meta.secret or seen in (None, ""))
    try:
        if isinstance(column, (Timestamp, Timestamptz)):
            before, after = _moment(seen), _moment(sent)
            cut = (before.microsecond, before.microsecond // 1000 * 1000, 0)
            return after in [before.replace(microsecond=part) for part in cut]
        if isinstance(column, JSONS):
            return bool(_rounded(json.loads(seen)) == _rounded(json.loads(sent) if isinstance(sent, str) else sent))
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return False
    if isinstance(column, (Boolean, *WHOLE)):
        return str(seen).lower() == str(sent).lower()
    return _on_one_line(seen) == _on_one_line(sent)


def _text(sent: object) -> str:
    if not isinstance(sent, str) or "\0" in sent:
        raise ValueError
    sent.encode()  # no lone surrogates
    return sent


def _whole(sent: object) -> int:
    if isinstance(sent, bool) or not re.fullmatch(r"[+-]?[0-9]{1,30}", str(sent).strip(), re.ASCII):
        raise ValueError
    return int(str(sent))


def _boolean(sent: object) -> bool:
    return {"true": True, "false": False}[str(sent).lower()]


def _moment(sent: object) -> datetime:
    found = datetime.fromisoformat(_text(sent).strip())
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _json(sent: object) -> str:
    text = sent if isinstance(sent, str) else json.dumps(sent, allow_nan=False)
    as_json(json_object(_text(text)))
    return text


def _refuse(_: str) -> None:
    raise ValueError("JSON has no NaN and no Infinity")


def _rounded(value: Any) -> Any:
    """JSON as a browser holds it: every number is a double."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, bool):
        return str(value)  # which is not 1 or 0
    return float(value) if isinstance(value, int) else value


def with_exact_numbers(stored: Any, sent: Any) -> Any:
    """What a form sent of a JSON value, with the numbers that it only rounded as they are stored."""
    if isinstance(stored, dict) and isinstance(sent, dict):
        return {key: with_exact_numbers(stored.get(key), value) for key, value in sent.items()}
    if isinstance(stored, list) and isinstance(sent, list) and len(stored) == len(sent):
        return [with_exact_numbers(*pair) for pair in zip(stored, sent, strict=True)]
    return stored if stored is not None and _rounded(stored) == _rounded(sent) else sent


def _on_one_line(value: object) -> str:
    return re.sub(r"[\r\n]", "", str(value))


_READERS: list[tuple[tuple[type[Column], ...], Callable[[Any], Any], str]] = [
    ((ForeignKey, *TEXTS), _text, "This must be a text without characters that can't be stored."),
    (WHOLE, _whole, "This must be a whole number."),
    ((Boolean,), _boolean, "This must be true or false."),
    ((Timestamptz,), _moment, "This must be a time like 2026-01-31T12:00:00Z."),
    ((Timestamp,), lambda sent: _moment(sent).replace(tzinfo=None), "This must be a time like 2026-01-31T12:00:00."),
    ((Date,), lambda sent: date.fromisoformat(_text(sent)), "This must be a day like 2026-01-31."),
    ((UUID,), lambda sent: uuid.UUID(_text(sent)), "This must be an id."),
    (JSONS, _json, "This must be a JSON object."),
]
