"""The CHECK conditions that several tables share, as SQL text.

Piccolo can only carry a CHECK into a migration when it is text, and sees a changed one only under a new name.
"""

from enum import StrEnum

MAX_JSON_DEPTH = 100
"""How many objects and arrays of a JSON value may lie inside each other."""
SPACE = r"[:space:]\u0085\u00a0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000\ufeff"
"""What a person sees as nothing. Which of these [:space:] means depends on the database's locale, so each is named."""


def one_of(column: str, values: type[StrEnum]) -> str:
    """The column holds one of the enum's values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


def not_blank(column: str) -> str:
    """The text is more than white space."""
    return f"{column} ~ '[^{SPACE}]'"


def no_space(column: str) -> str:
    """The text is not empty and has no white space: an id or a code that two writers must spell alike."""
    return f"{column} ~ '^[^{SPACE}]+$'"


def username(column: str) -> str:
    """A username as the platform stores it: without the leading @ and without white space."""
    return f"{column} ~ '^[^@{SPACE}][^{SPACE}]*$'"


def json_object(column: str) -> str:
    """The JSON is an object, so that readers may ask it for keys."""
    return f"jsonb_typeof({column}) = 'object'"


def in_range(column: str) -> str:
    """The time lies in the years 2000 to 2199, so that every reader can hold it."""
    return f"{column} >= '2000-01-01 00:00Z' AND {column} < '2200-01-01 00:00Z'"


def day_in_range(column: str) -> str:
    """The day is, in some time zone, one of a time that is `in_range`."""
    return f"{column} >= '1999-12-31' AND {column} <= '2200-01-01'"


def readable_json(column: str) -> str:
    """Every reader can parse the JSON: no number is beyond a 64-bit float, and nesting has an end.

    Such a number has 309 digits, and such nesting has 200 brackets: a shorter JSON text, which is
    the ordinary one, is not searched for them.
    """
    number = "@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308"
    container = '@.type() == "object" || @.type() == "array"'
    return (
        f"octet_length({column}::text) < 200 OR NOT ("
        f"jsonb_path_exists({column}, 'strict $.**{{{MAX_JSON_DEPTH}}} ? ({container})') OR "
        f"jsonb_path_exists({column}, 'strict $.** ? ({number})'))"
    )


def not_negative(column: str) -> str:
    """A count or a score never falls below zero."""
    return f"{column} >= 0"


def upper_case_name(column: str) -> str:
    """MESSAGE, INVITED, CODE_REVIEW: letters, digits and underscores, upper-case."""
    return f"{column} ~ '^[A-Z][A-Z0-9_]*$'"


def lower_case_name(column: str) -> str:
    """telegram, discord: letters, digits and underscores, lower-case."""
    return f"{column} ~ '^[a-z][a-z0-9_]*$'"
