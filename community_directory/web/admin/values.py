"""Conversion of what the front end's forms and filters send into values for the database."""

import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from piccolo.columns import JSON, BigInt, BigSerial, Column, Text, Timestamp, Varchar
from pydantic import AfterValidator, BeforeValidator, StringConstraints, TypeAdapter

from community_directory.errors import InvalidInput, text_too_long
from community_directory.queries.identifiers import (
    IDENTIFIER_NORMALIZERS,
    NORMALIZERS,
    normalize_invitation_code,
    normalize_profile,
)
from community_directory.queries.values import as_json
from community_directory.web.admin.policy import RowData

TEXT_COLUMNS = (Varchar, Text)


def parse_new_row(
    columns: Mapping[str, Column], *, initial: RowData, sent: RowData, locked: Collection[str]
) -> RowData:
    """Return the values of a new row.

    Args:
        columns: The columns that a form may send.
        initial: The values that the form started with.
        sent: The values of the form.
        locked: The columns that nobody fills in by hand.

    Raises:
        InvalidInput: A field is locked, missing, or can't be stored.
    """
    # A required field is missing unless the form sends it.
    fields: RowData = dict.fromkeys(
        name for name, column in columns.items() if column._meta.required and name not in locked
    )
    for name, value in sent.items():
        if name not in locked:
            fields[name] = value
        elif not is_unchanged(columns[name], initial[name], value):
            raise InvalidInput("This field is filled in automatically.", field=name)
    return {name: _parse_field(columns[name], value) for name, value in fields.items()}


def parse_changes(
    columns: Mapping[str, Column],
    *,
    stored: RowData,
    shown: RowData,
    sent: RowData,
    locked: Collection[str],
) -> RowData:
    """Return the new values of the fields that a person changed.

    Args:
        columns: The columns that a form may send.
        stored: The row as it is stored now.
        shown: The row as the form was filled with it.
        sent: The values of the form.
        locked: The columns that nobody edits by hand.

    Raises:
        InvalidInput: A changed field is locked, can't be stored, or was changed by somebody else
            after the form was opened.
    """
    changes = {
        name: value
        for name, value in sent.items()
        if not is_unchanged(columns[name], shown.get(name), value)
    }
    for name, value in changes.items():
        if name in locked:
            raise InvalidInput("This field can't be edited by hand.", field=name)
        if shown.get(name) != stored.get(name):
            raise InvalidInput(
                "Somebody else changed this field. Open the row again to see the change.",
                field=name,
            )
        if isinstance(columns[name], JSON):
            changes[name] = _restore_exact_numbers(stored.get(name), value)
    return {name: _parse_field(columns[name], value) for name, value in changes.items()}


def parse_value(column: Column, sent: object) -> Any:
    """Return the value for a column that a form or a filter sent.

    Raises:
        InvalidInput: The column can't hold this value; the error names the column.
    """
    name = column._meta.name
    if sent is None or (sent == "" and (column._meta.null or not isinstance(column, TEXT_COLUMNS))):
        return None
    parser, message = _PARSERS[JSON if isinstance(column, JSON) else column.value_type]
    try:
        value = parser.validate_python(sent)
    except InvalidInput as error:
        error.field = name
        raise
    except (ValueError, OverflowError, RecursionError):
        raise InvalidInput(message, field=name) from None
    longest = getattr(column, "length", None)
    if longest is not None and len(value) > longest:
        raise text_too_long(name, len(value), longest)
    if column.value_type is int and abs(value) >= (
        2**63 if isinstance(column, (BigInt, BigSerial)) else 2**31
    ):
        raise InvalidInput("This number is too large.", field=name)
    return value.replace(tzinfo=None) if isinstance(column, Timestamp) else value


def normalize_filter(name: str, sent: str) -> str:
    """Return the text that a filter of a column looks for.

    An identifier gets its one spelling, so that @ana and t.me/ana find ana. A part of one stays as
    it is.
    """
    try:
        if name == "invitation_code":
            return normalize_invitation_code(sent) or sent
        if name in IDENTIFIER_NORMALIZERS:
            return IDENTIFIER_NORMALIZERS[name](sent, name) or sent
    except InvalidInput:
        pass  # a part of an identifier
    return sent


def parse_json_object(text: str | bytes) -> RowData:
    """Return the object that a JSON text contains.

    Raises:
        ValueError: The text is not JSON, or not an object.
        RecursionError: The object is nested too deeply.
    """
    found = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(found, dict):
        # A caller catches one kind of error for everything that is wrong with a text.
        raise ValueError("not an object")  # noqa: TRY004
    return found


def is_unchanged(column: Column, shown: Any, sent: object) -> bool:
    """Tell whether the front end sends `sent` when a person leaves the value `shown` alone.

    The front end cuts fractions of seconds and line breaks, rounds large numbers in JSON, and
    doesn't tell an empty text from a missing one.
    """
    if column._meta.secret or shown in (None, "") or sent in (None, ""):
        return sent in (None, "") and (column._meta.secret or shown in (None, ""))
    try:
        if column.value_type is datetime:
            before, after = _TIMES.validate_python(shown), _TIMES.validate_python(sent)
            fractions = (before.microsecond, before.microsecond // 1000 * 1000, 0)
            return after in [before.replace(microsecond=fraction) for fraction in fractions]
        if isinstance(column, JSON):
            return _round_numbers(json.loads(shown)) == _round_numbers(_load_json(sent))
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        return False
    if column.value_type in (bool, int):
        return str(shown).lower() == str(sent).lower()
    return _join_lines(shown) == _join_lines(sent)


def _parse_field(column: Column, sent: object) -> object:
    name = column._meta.name
    value = parse_value(column, sent)
    if value is not None and name in NORMALIZERS:
        value = NORMALIZERS[name](value, name)
    elif value is not None and name == "profile_data":
        profile = json.loads(value)
        normalized = normalize_profile(profile)
        value = value if normalized == profile else as_json(normalized)
    if value is None and column._meta.required:
        raise InvalidInput("This can't be empty.", field=name)
    return value


def _restore_exact_numbers(stored: str | None, sent: object) -> object:
    """Return JSON that a form sent, with the stored numbers where the browser rounded them."""
    if stored is None or not sent:
        return sent
    try:
        return json.dumps(_with_exact_numbers(json.loads(stored), _load_json(sent)))
    except (ValueError, ArithmeticError, RecursionError):
        # `parse_value` refuses it with a message.
        return sent


def _with_exact_numbers(stored: object, sent: object) -> object:
    if isinstance(stored, dict) and isinstance(sent, dict):
        return {key: _with_exact_numbers(stored.get(key), value) for key, value in sent.items()}
    if isinstance(stored, list) and isinstance(sent, list) and len(stored) == len(sent):
        return [_with_exact_numbers(*pair) for pair in zip(stored, sent, strict=True)]
    is_rounded = stored is not None and _round_numbers(stored) == _round_numbers(sent)
    return stored if is_rounded else sent


def _round_numbers(value: object) -> object:
    """Return JSON as a browser holds it: every number is a double."""
    if isinstance(value, dict):
        return {key: _round_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_round_numbers(item) for item in value]
    if isinstance(value, bool):
        # A boolean must not equal 1 or 0.
        return str(value)
    return float(value) if isinstance(value, int) else value


def _load_json(sent: object) -> object:
    return json.loads(sent) if isinstance(sent, str) else sent


def _join_lines(value: object) -> str:
    return re.sub(r"[\r\n]", "", str(value))


def _check_json_text(sent: object) -> str:
    text = _TEXTS.validate_python(
        sent if isinstance(sent, str) else json.dumps(sent, allow_nan=False)
    )
    as_json(parse_json_object(text))
    return text


def _check_iso_text(sent: object) -> object:
    """Refuse a number, which pydantic would read as seconds since 1970."""
    if not re.match(r"[0-9]{4}-", str(sent)):
        raise ValueError("not an ISO 8601 text")
    return sent


def _in_utc(time: datetime) -> datetime:
    """Return a time in UTC, which is also the zone of a time without one."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _refuse_constant(_: str) -> None:
    raise ValueError("JSON has no NaN and no Infinity")


_TEXTS: TypeAdapter[str] = TypeAdapter(
    Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00]*$")]
)
_TIMES: TypeAdapter[datetime] = TypeAdapter(
    Annotated[datetime, BeforeValidator(_check_iso_text), AfterValidator(_in_utc)]
)
_DAYS: TypeAdapter[date] = TypeAdapter(Annotated[date, BeforeValidator(_check_iso_text)])
_OBJECTS: TypeAdapter[str] = TypeAdapter(Annotated[str, BeforeValidator(_check_json_text)])
_PARSERS: dict[object, tuple[TypeAdapter[Any], str]] = {
    str: (_TEXTS, "This must be a text without characters that can't be stored."),
    int: (TypeAdapter(int), "This must be a whole number."),
    bool: (TypeAdapter(bool), "This must be true or false."),
    datetime: (_TIMES, "This must be a time like 2026-01-31T12:00:00Z."),
    date: (_DAYS, "This must be a day like 2026-01-31."),
    UUID: (TypeAdapter(UUID), "This must be an id."),
    JSON: (_OBJECTS, "This must be a JSON object."),
}
"""The parser of each type of value, and the message about a value that it can't read."""
