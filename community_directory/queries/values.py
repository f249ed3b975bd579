"""What several queries share: JSON, texts, usernames, ids, and who makes a change."""

import json
import re
from collections.abc import Mapping
from typing import Any

from piccolo.table import Table

from community_directory.database.actor import check_actor
from community_directory.errors import InvalidInput, text_too_long
from community_directory.tables.checks import MAX_JSON_DEPTH as MAX_JSON_DEPTH  # noqa: PLC0414  callers find it here

Profile = Mapping[str, Any]

MAX_JSON_LENGTH = 1_000_000
"""The characters of a profile, or of other JSON, at the most."""

MAX_ACTOR_LENGTH = 255
"""The characters of an actor in the audit log, at the most."""

# Name the writer and the reason of this one statement; the audit trigger reads them. The time of the
# statement tells it that they belong to this one. Without an actor or a reason those of the
# transaction hold, which `act_as` or the caller's own set_config named.
ACTOR = """actor AS MATERIALIZED (
    SELECT set_config(
        'community_directory.call',
        json_build_array(statement_timestamp(), $1::text, $2::text)::text,
        true
    )
)"""


ACTOR_CTE = """actor AS MATERIALIZED (
    SELECT set_config(
        'community_directory.call',
        json_build_array(statement_timestamp(), :actor::text, :reason::text)::text,
        true
    )
)"""
"""The same with named parameters."""


def as_json(data: Profile | None, *, field: str | None = None) -> str | None:
    """Return the JSON text that is stored.

    Raises `InvalidInput` for what JSON, or PostgreSQL's, can't hold.
    """
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise InvalidInput("This must be a JSON object.", field=field)
    if _is_deeper(data, MAX_JSON_DEPTH):
        raise InvalidInput(
            f"This is nested more than {MAX_JSON_DEPTH} times.", field=field, limit=MAX_JSON_DEPTH
        )
    try:
        stored = _encode_json(dict(data))
        if _SURROGATE.search(stored):
            # Both halves of a pair are one character; one half alone is none.
            stored = stored.encode("utf-16", "surrogatepass").decode("utf-16")
    except (TypeError, ValueError):
        raise InvalidInput("This can't be stored as JSON.", field=field) from None
    if len(stored) > MAX_JSON_LENGTH:
        raise text_too_long(field or "JSON", len(stored), MAX_JSON_LENGTH)
    return stored


# Made once: json.dumps would make one for each event of a batch.
_encode_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


_SURROGATE = re.compile("[\ud800-\udfff]")


def _is_deeper(data: object, levels: int) -> bool:
    if isinstance(data, Mapping):
        return levels == 0 or any(_is_deeper(value, levels - 1) for value in data.values())
    if isinstance(data, list | tuple):
        return levels == 0 or any(_is_deeper(value, levels - 1) for value in data)
    return False


def username_from(username: str | None, field: str) -> str | None:
    """Return a username without the @ that people write; an empty one is None. Raises `InvalidInput`."""
    check_text(field, username, None)
    return (username or "").strip().removeprefix("@") or None


def id_text(value: str | int, field: str) -> str:
    """Return a platform's id as the text that is stored.

    The platforms' libraries have integers. Raises `InvalidInput` for any other type.
    """
    if isinstance(value, str):
        return value
    if type(value) is int:
        try:
            return str(value)
        except ValueError:  # Python writes no integer of thousands of digits
            raise InvalidInput(
                f"The {field.replace('_', ' ')} is too large a number.", field=field
            ) from None
    raise InvalidInput(f"The {field.replace('_', ' ')} must be a text or an integer.", field=field)


def member_number(value: str | int, field: str = "member_id") -> str:
    """Return a member's number as it is stored: 247 is "#247". Raises `InvalidInput`."""
    text = id_text(value, field)
    return f"#{text}" if type(value) is int else text


def check_texts(table: type[Table], **texts: str | None) -> None:
    """Check that texts fit into the columns of these names.

    Raises `InvalidInput` with the field, and for a text that is too long with the limit.
    """
    for field, text in texts.items():
        check_text(field, text, getattr(table, field).length)


def check_text(field: str, text: str | None, limit: int | None) -> None:
    """Check that a text, if there is one, has at most `limit` characters. Raises `InvalidInput`.

    Like a column's length, a limit of None is none.
    """
    if text is None:
        return
    if not isinstance(text, str):
        raise InvalidInput(f"The {field.replace('_', ' ')} must be a text.", field=field)
    if limit is not None and len(text) > limit:
        raise text_too_long(field, len(text), limit)


def checked_actor(actor: str | None) -> str | None:
    """Return who makes a change; None leaves it to the transaction, or to the database login.

    Raises `InvalidInput` for a blank actor, and for one of more than 255 characters.
    """
    return None if actor is None else required_actor(actor)


def required_actor(actor: str) -> str:
    """Return who makes a change that somebody has to answer for.

    Raises `InvalidInput` as `checked_actor` does, and for None.
    """
    check_text("actor", check_actor(actor), MAX_ACTOR_LENGTH)
    return actor
