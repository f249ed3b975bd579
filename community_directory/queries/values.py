"""Values that several queries share: JSON, texts, ids, and the actor of a change."""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from piccolo.table import Table

from community_directory.database.actor import actor_missing, check_actor
from community_directory.errors import InvalidInput, sanitize_for_message, text_too_long
from community_directory.tables.checks import MAX_JSON_DEPTH

Profile = Mapping[str, Any]
Choice = TypeVar("Choice", bound=StrEnum)

MAX_JSON_LENGTH = 1_000_000
"""The maximum number of characters of a profile, or of other JSON."""

MAX_ACTOR_LENGTH = 255
"""The maximum number of characters of an actor in the audit log."""

MEMBER_NUMBER_PATTERN = re.compile(r"\s*#?([1-9][0-9]{0,18})\s*")
"""A member's number as people type it; the group has its digits."""
MAX_NUMBER_LENGTH = 255
"""The maximum number of characters of a text that can be a member's number."""

ACTOR_CTE = """actor AS MATERIALIZED (
    -- the actor and the reason of this change, for the audit trigger
    SELECT set_config(
        'community_directory.call',
        json_build_array(statement_timestamp(), :actor::text, :reason::text)::text,
        true
    )
)"""
"""The CTE that sets the actor and the reason of one statement for the audit trigger.

The trigger compares the time, and so ignores the values of an earlier statement. In place of a NULL
it uses the value of the transaction, which `act_as` or the caller's own set_config has set.
"""


def as_json(data: Mapping[str, object] | None, *, field: str | None = None) -> str | None:
    """Return the JSON text that is stored; None stays None.

    Args:
        data: A mapping that is nested at most 100 levels deep.
        field: The name of the value in an error.

    Raises:
        InvalidInput: JSON or PostgreSQL can't represent the data, or it has more than 1,000,000
            characters.
    """
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise InvalidInput("This must be a JSON object.", field=field)
    if _is_deeper(data, MAX_JSON_DEPTH):
        raise InvalidInput(
            f"This is nested more than {MAX_JSON_DEPTH} levels deep.",
            field=field,
            limit=MAX_JSON_DEPTH,
        )
    try:
        stored = _encode_json(dict(data))
        if _SURROGATE.search(stored):
            # Two halves of a surrogate pair become one character; one half alone can't be stored.
            stored = stored.encode("utf-16", "surrogatepass").decode("utf-16")
    except (TypeError, ValueError):
        raise InvalidInput("This can't be stored as JSON.", field=field) from None
    if len(stored) > MAX_JSON_LENGTH:
        raise text_too_long(field or "JSON", len(stored), MAX_JSON_LENGTH)
    return stored


# Created once: json.dumps would create an encoder for each event of a batch.
_encode_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
_SURROGATE = re.compile("[\ud800-\udfff]")


def _is_deeper(data: object, levels: int) -> bool:
    if isinstance(data, Mapping):
        return levels == 0 or any(_is_deeper(value, levels - 1) for value in data.values())
    if isinstance(data, list | tuple):
        return levels == 0 or any(_is_deeper(value, levels - 1) for value in data)
    return False


def parse_choice(kind: type[Choice], value: Choice | str, field: str) -> Choice:
    """Return the member of an enum that has this value.

    Raises:
        InvalidInput: The enum has no such value.
    """
    try:
        return kind(value)
    except ValueError:
        raise InvalidInput(
            f"There is no {field} {sanitize_for_message(value)}.", field=field
        ) from None


def id_text(value: str | int, field: str) -> str:
    """Return the id of a platform, a text or an integer, as the text that is stored.

    Raises:
        InvalidInput: The id is neither a text nor an integer, or it has thousands of digits.
    """
    if isinstance(value, str):
        return value
    if type(value) is int:
        try:
            return str(value)
        except ValueError:  # Python refuses to convert an integer of thousands of digits
            raise InvalidInput(
                f"The {field.replace('_', ' ')} is too large a number.", field=field
            ) from None
    raise InvalidInput(f"The {field.replace('_', ' ')} must be a text or an integer.", field=field)


def present_number_sql(number: str) -> str:
    """Return the SQL of a member's number, or of that of the member into whom they were merged.

    Calls that read something of a member, record an event or link an account follow merged numbers.
    Calls that change a member's row or permissions refuse them (`member_not_found`).
    """
    return f"""coalesce(
        (SELECT merged_into FROM community_members WHERE member_id = {number}::text), {number}
    )"""


def member_number(value: str | int, field: str = "member_id") -> str:
    """Return a member's number as it is stored: "#247", "247" and 247 become "#247".

    Any other text stays as it is, and is the number of nobody.

    Raises:
        InvalidInput: The number is neither a text nor an integer, or it has thousands of digits.
    """
    text = id_text(value, field)
    if type(value) is int:
        return f"#{text}"
    number = MEMBER_NUMBER_PATTERN.fullmatch(text) if len(text) <= MAX_NUMBER_LENGTH else None
    return f"#{number[1]}" if number else text


def check_texts(table: type[Table], **texts: str | None) -> None:
    """Check that each text fits into the column of its name; None is always accepted.

    Raises:
        InvalidInput: A value is not a text, or it is longer than its column, whose length is the
            error's `limit`.
    """
    for field, text in texts.items():
        check_text(field, text, getattr(table, field).length)


def check_text(field: str, text: str | None, limit: int | None) -> None:
    """Check that a text has at most `limit` characters; if `limit` is None, any length is allowed.

    Raises:
        InvalidInput: The value is not a text, or it is too long.
    """
    if text is None:
        return
    if not isinstance(text, str):
        raise InvalidInput(f"The {field.replace('_', ' ')} must be a text.", field=field)
    if limit is not None and len(text) > limit:
        raise text_too_long(field, len(text), limit)


def checked_actor(actor: str | None) -> str | None:
    """Return the actor of a change unchanged if the audit log can store it.

    With None, the audit log records the actor of the transaction (`act_as`), or else the login to
    the database.

    Raises:
        InvalidInput: The actor is blank, not a text, or longer than 255 characters.
    """
    return None if actor is None else required_actor(actor)


def required_actor(actor: str) -> str:
    """Return the actor of a change that needs one, unchanged if the audit log can store it.

    Raises:
        InvalidInput: The actor is None, blank, not a text, or longer than 255 characters.
    """
    if actor is None:
        raise actor_missing()
    check_text("actor", actor, MAX_ACTOR_LENGTH)
    return check_actor(actor)
