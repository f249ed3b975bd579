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

IGNORABLE_CHARACTERS = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's property Default_Ignorable_Code_Point, for a bracket expression, as all of these."""
FILLER_CHARACTERS = (
    r"\u2800\ufff9-\ufffc\U00013430-\U0001343f\U00013441\U00013442\U00016fe4\U0001d159"
)
"""Further characters that nobody can see, such as the blank braille pattern."""
INVISIBLE_CHARACTERS = IGNORABLE_CHARACTERS + FILLER_CHARACTERS
CONTROL_CHARACTERS = r"\u0001-\u001f\u007f-\u009f\u2028\u2029"
"""The control characters that PostgreSQL can store, and the separators of lines."""
DIRECTION_CHARACTERS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""The characters that control the direction of a text, which could make it look like another."""

# The patterns of identifiers mean the same in PostgreSQL and in Python. Their lengths are limits of
# their own, because PostgreSQL takes ten times as long for a bounded repetition.
ACCOUNT_NUMBER = "[1-9][0-9]*"
"""The id of a Telegram or Discord account: other digits would be a second spelling of it."""
MAX_ACCOUNT_NUMBER_LENGTH = 20
PLATFORM_ID = (
    "discord:[1-9][0-9]{0,19}|(?!(discord|https?|id|tel|telegram|tg|user):)[a-z][a-z0-9_]*:[!-~]+"
)
"""An account of another platform than Telegram, of which "user:1" would be a second spelling."""
ENTITY_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
"""The id of an ElizaOS entity, a UUID in lower case."""
TELEGRAM_USERNAME = "[A-Za-z0-9_]+"
MAX_TELEGRAM_USERNAME_LENGTH = 32
GITHUB_USERNAME = "[A-Za-z0-9][A-Za-z0-9_-]*"
MAX_GITHUB_USERNAME_LENGTH = 39


def one_of(column: str, values: type[StrEnum]) -> str:
    """Return the condition that the column contains a value of the enum."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{column} IN ({listed})"


def not_blank(column: str) -> str:
    """Return the condition that the text contains more than white space."""
    return f"{column} ~ '[^{SPACE_CHARACTERS}]'"


def visible(column: str) -> str:
    """Return the condition that the text contains a character that people can see."""
    return f"{column} ~ '[^{SPACE_CHARACTERS}{INVISIBLE_CHARACTERS}]'"


def on_one_line(column: str) -> str:
    """Return the condition that the text has no control characters, nor any of its direction."""
    return f"{column} !~ '[{CONTROL_CHARACTERS}{DIRECTION_CHARACTERS}]'"


def matches(column: str, pattern: str, max_length: int) -> str:
    """Return the condition that all of the text matches the pattern, and is not too long."""
    return f"{column} ~ '^{pattern}$' AND length({column}) <= {max_length}"


def account_number(column: str) -> str:
    """Return the condition that the text is the id of a Telegram or Discord account."""
    return matches(column, ACCOUNT_NUMBER, MAX_ACCOUNT_NUMBER_LENGTH)


def account_id(column: str) -> str:
    """Return the condition that the text is an id of Telegram or, with a prefix, of another one."""
    return f"({account_number(column)}) OR {column} ~ '^({PLATFORM_ID})$'"


def platform_account(platform: str, column: str) -> str:
    """Return the condition that the text is the one spelling of an account's id on a platform."""
    github = matches(column, GITHUB_USERNAME, MAX_GITHUB_USERNAME_LENGTH)
    return (
        f"CASE WHEN {platform} IN ('telegram', 'discord') THEN {account_number(column)}"
        f" WHEN {platform} = 'github' THEN {column} = lower({column}) AND {github}"
        f" WHEN {platform} = 'elizaos' THEN {column} ~ '^{ENTITY_ID}$'"
        f" ELSE {column} ~ '^[!-~]+$' END"
    )


def telegram_username(column: str) -> str:
    """Return the condition that the text is a Telegram username, without an @."""
    return matches(column, TELEGRAM_USERNAME, MAX_TELEGRAM_USERNAME_LENGTH)


def no_space(column: str) -> str:
    """Return the condition that the text is not empty and has no white space.

    It is for ids of other programs: two spellings of one id would be two ids.
    """
    return f"{column} ~ '^[^{SPACE_CHARACTERS}]+$'"


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
