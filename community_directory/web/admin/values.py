"""What the front end's forms and filters send, as values that the database takes."""

import json
import re
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from piccolo.columns import JSON, BigInt, BigSerial, Column, Text, Timestamp, Varchar
from pydantic import AfterValidator, BeforeValidator, StringConstraints, TypeAdapter

from community_directory.errors import InvalidInput, text_too_long
from community_directory.queries.values import as_json

TEXTS = (Varchar, Text)


def value_of(column: Column, sent: object) -> Any:
    """Return the value for a column, from what a form or a filter sent. Raises `InvalidInput` that names the column."""
    name = column._meta.name
    if sent is None or (sent == "" and (column._meta.null or not isinstance(column, TEXTS))):
        return None
    parser, sentence = _PARSERS[JSON if isinstance(column, JSON) else column.value_type]
    try:
        value = parser.validate_python(sent)
    except InvalidInput as error:
        error.field = name
        raise
    except (ValueError, OverflowError, RecursionError):
        raise InvalidInput(sentence, field=name) from None
    longest = getattr(column, "length", None)
    if longest is not None and len(value) > longest:
        raise text_too_long(name, len(value), longest)
    if column.value_type is int and abs(value) >= (
        2**63 if isinstance(column, (BigInt, BigSerial)) else 2**31
    ):
        raise InvalidInput("This number is too large.", field=name)
    return value.replace(tzinfo=None) if isinstance(column, Timestamp) else value


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
        if column.value_type is datetime:
            before, after = _TIMES.validate_python(seen), _TIMES.validate_python(sent)
            cut = (before.microsecond, before.microsecond // 1000 * 1000, 0)
            return after in [before.replace(microsecond=part) for part in cut]
        if isinstance(column, JSON):
            return bool(
                _rounded(json.loads(seen))
                == _rounded(json.loads(sent) if isinstance(sent, str) else sent)
            )
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return False
    if column.value_type in (bool, int):
        return str(seen).lower() == str(sent).lower()
    return _on_one_line(seen) == _on_one_line(sent)


def _json(sent: object) -> str:
    text = _TEXTS.validate_python(
        sent if isinstance(sent, str) else json.dumps(sent, allow_nan=False)
    )
    as_json(json_object(text))
    return text


def _iso(sent: object) -> object:
    """Refuse a number, which pydantic would take for the seconds since 1970."""
    if not re.match(r"[0-9]{4}-", str(sent)):
        raise ValueError("not an ISO 8601 text")
    return sent


def _in_utc(time: datetime) -> datetime:
    """Return a time in UTC; one without a zone is taken for that."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


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


_TEXTS = TypeAdapter(Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00]*$")])
_TIMES = TypeAdapter(Annotated[datetime, BeforeValidator(_iso), AfterValidator(_in_utc)])
_DAYS = TypeAdapter(Annotated[date, BeforeValidator(_iso)])
_OBJECTS = TypeAdapter(Annotated[str, BeforeValidator(_json)])
_PARSERS: dict[object, tuple[TypeAdapter[Any], str]] = {
    str: (_TEXTS, "This must be a text without characters that can't be stored."),
    int: (TypeAdapter(int), "This must be a whole number."),
    bool: (TypeAdapter(bool), "This must be true or false."),
    datetime: (_TIMES, "This must be a time like 2026-01-31T12:00:00Z."),
    date: (_DAYS, "This must be a day like 2026-01-31."),
    UUID: (TypeAdapter(UUID), "This must be an id."),
    JSON: (_OBJECTS, "This must be a JSON object."),
}
"""How each type of value is parsed, and what a person reads about a value that can't be."""
