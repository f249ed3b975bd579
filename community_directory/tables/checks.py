"""The CHECK conditions that several tables share, as SQL text.

Piccolo writes a CHECK into a migration only if its condition is text. It notices a changed
condition only if the constraint has a new name.
"""

from enum import StrEnum

MAX_JSON_DEPTH = 100
"""The maximum number of objects and arrays that are nested in each other in a JSON value."""
MAX_VOICE_SECONDS = 31 * 24 * 60 * 60
"""The maximum duration of a stay in a voice chat: 31 days."""
VOICE_DURATION_KEYS = ("duration_seconds", "voice_duration_seconds")
"""The names of a stay's duration in the metadata of its event; the first one present counts."""
SPACE_CHARACTERS = r"[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff"
"""The white-space and invisible characters, for a bracket expression of a regular expression.

The locale of the database decides which of them belong to [:space:], so each one is listed.
"""


def one_of(column: str, values: type[StrEnum]) -> str:
    """Return the condition that the column contains a value of the enum."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


def not_blank(column: str) -> str:
    """Return the condition that the text contains more than white space."""
    return f"{column} ~ '[^{SPACE_CHARACTERS}]'"


def no_space(column: str) -> str:
    """Return the condition that the text is not empty and has no white space.

    It is for ids and codes: two spellings of one id would be two ids.
    """
    return f"{column} ~ '^[^{SPACE_CHARACTERS}]+$'"


def username(column: str) -> str:
    """Return the condition that the text is a username: no leading @, and no white space."""
    return f"{column} ~ '^[^@{SPACE_CHARACTERS}][^{SPACE_CHARACTERS}]*$'"


def json_object(column: str) -> str:
    """Return the condition that the JSON is an object, so that readers can look up keys."""
    return f"jsonb_typeof({column}) = 'object'"


def in_range(column: str) -> str:
    """Return the condition that the time lies in the years 2000 to 2199.

    Every client of the database can represent such a time.
    """
    return f"{column} >= '2000-01-01 00:00Z' AND {column} < '2200-01-01 00:00Z'"


def day_in_range(column: str) -> str:
    """Return the condition that a time in the range of `in_range` falls on the day in some zone."""
    return f"{column} >= '1999-12-31' AND {column} <= '2200-01-01'"


def readable_json(column: str) -> str:
    """Return the condition that every JSON parser can read the value.

    No number may exceed a 64-bit float, and no more than `MAX_JSON_DEPTH` objects and arrays may
    be nested in each other. A larger number has 309 digits and a deeper value has 200 brackets, so
    a JSON text of fewer than 200 bytes, which is the usual case, is not searched.
    """
    number = "@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308"
    container = '@.type() == "object" || @.type() == "array"'
    return (
        f"octet_length({column}::text) < 200 OR NOT ("
        f"jsonb_path_exists({column}, 'strict $.**{{{MAX_JSON_DEPTH}}} ? ({container})') OR "
        f"jsonb_path_exists({column}, 'strict $.** ? ({number})'))"
    )


def voice_duration(column: str) -> str:
    """Return the condition that each duration of a VOICE event is a number of seconds.

    It is about events, which have an `event_type`. PostgreSQL orders JSON values by their types
    first, so only a number lies between two numbers.
    """
    durations = " AND ".join(
        f"coalesce({column} -> '{key}', '0') BETWEEN '0' AND '{MAX_VOICE_SECONDS}'"
        for key in VOICE_DURATION_KEYS
    )
    return f"event_type <> 'VOICE' OR ({durations})"


def not_negative(column: str) -> str:
    """Return the condition that a count or a score is not below zero."""
    return f"{column} >= 0"


def upper_case_name(column: str) -> str:
    """Return the condition that the text is an upper-case name, such as CODE_REVIEW.

    It has letters, digits and underscores, and begins with a letter.
    """
    return f"{column} ~ '^[A-Z][A-Z0-9_]*$'"


def lower_case_name(column: str) -> str:
    """Return the condition that the text is a lower-case name, such as telegram.

    It has letters, digits and underscores, and begins with a letter.
    """
    return f"{column} ~ '^[a-z][a-z0-9_]*$'"
