"""Identifiers and names in their one spelling: of each kind, there is one function that gives it.

Helpers, the panel and imports call these functions, and CHECKs of the database refuse any other
spelling. Two spellings of one account would be two members, and an invitation with a misspelled
username could be redeemed by nobody.

An identifier is compared in Unicode's form NFKC, which makes `Ａ` an `A`, and without invisible
characters, which come along when people copy a text from a chat or a web page.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.errors import InvalidInput
from community_directory.queries.values import Profile, check_text, id_text
from community_directory.tables import Platform, checks

MAX_IDENTIFIER_LENGTH = 255
"""The maximum number of characters of an identifier as somebody typed it, links included."""
MAX_INTEGER_ID = 10**20
"""The first integer that has more digits than an id."""
MAX_CODE_LENGTH = 1000
"""The maximum number of characters of a text that is searched for an invitation code."""
RESERVED_PREFIXES = ("banned:", "erased:", "merged:")
"""The prefixes of what stands for the Telegram id of an erased or merged person."""

INVISIBLE_PATTERN = re.compile(f"[{checks.INVISIBLE_CHARACTERS}]+")
CONTROL_PATTERN = re.compile(f"[\0\ud800-\udfff{checks.CONTROL_CHARACTERS}]+")
DIRECTION_PATTERN = re.compile(f"[{checks.DIRECTION_CHARACTERS}]+")
VISIBLE_PATTERN = re.compile(rf"[^\s{checks.INVISIBLE_CHARACTERS}]")
UNSTORABLE_PATTERN = re.compile("[\0\ud800-\udfff]")


def _compile_limited(pattern: str, max_length: int) -> re.Pattern[str]:
    return re.compile(rf"(?=.{{1,{max_length}}}\Z)(?:{pattern})")


ACCOUNT_NUMBER_PATTERN = _compile_limited(checks.ACCOUNT_NUMBER, checks.MAX_ACCOUNT_NUMBER_LENGTH)
PLATFORM_ID_PATTERN = re.compile(checks.PLATFORM_ID)
TELEGRAM_USERNAME_PATTERN = _compile_limited(
    checks.TELEGRAM_USERNAME, checks.MAX_TELEGRAM_USERNAME_LENGTH
)
GITHUB_USERNAME_PATTERN = _compile_limited(
    checks.GITHUB_USERNAME, checks.MAX_GITHUB_USERNAME_LENGTH
)
ACCOUNT_PATTERNS: Mapping[str, re.Pattern[str]] = {
    Platform.TELEGRAM: ACCOUNT_NUMBER_PATTERN,
    Platform.DISCORD: ACCOUNT_NUMBER_PATTERN,
    Platform.GITHUB: GITHUB_USERNAME_PATTERN,
    Platform.ELIZAOS: re.compile(checks.ENTITY_ID),
}
OTHER_ACCOUNT_PATTERN = re.compile("[!-~]+")
OTHER_USERNAME_PATTERN = re.compile(r"[^\s\0\ud800-\udfff\u200b-\u200f\ufeff]+")
PLATFORM_PATTERN = re.compile("[a-z][a-z0-9_]*")
MAX_PLATFORM_LENGTH = 50
CODE_PATTERN = re.compile("[A-Za-z0-9]{8,16}")

MARKS_AROUND = " \t\r\n\"'`‘’‚‛“”„‟«»‹›<>()[]{},;:!?."
"""The characters that people and chats put around a username or a link."""
# The pages of t.me with these names belong to no account. A link with `start` leads to a bot.
TELEGRAM_LINK_PATTERN = re.compile(
    r"""(?!.*[?&]start(?:app|channel|group)?=)
    (?:
        (?:https?://)?(?:www\.)?(?:t\.me|telegram\.(?:dog|me))/@?
        (?!(?:confirmphone|contact|iv|joinchat|login|proxy|setlanguage|share|socks)\b)
        (?P<path>\w+)/?(?:[?\#].*)?
        |(?:https?://)?(?!www\.)(?P<subdomain>\w+)\.t\.me/?(?:[?\#].*)?
        |(?:https?://)?web\.telegram\.org/(?:[akz]/)?\#@(?P<web>\w+)
        |tg:(?://)?resolve/?\?(?:.*&)?domain=@?(?P<domain>\w+)(?:&.*)?
    )""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
GITHUB_LINK_PATTERN = re.compile(
    r"(?:https?://)?(?:www\.)?github\.com/@?(?P<path>[\w-]+)/?(?:[?#].*)?",
    re.ASCII | re.IGNORECASE,
)
DISCORD_MENTION_PATTERN = re.compile(r"<@!?([0-9]+)>")
START_LINK_PATTERN = re.compile(r"(?:^|[?&;])start(?:app)?=([^&#\s]*)", re.IGNORECASE)
START_COMMAND_PATTERN = re.compile(r"/start(?:@\w+)?\s+", re.ASCII | re.IGNORECASE)
OTHER_DASHES = "\u2212\u30fc"
"""The minus sign and the sound mark that Japanese keyboards type, which Unicode counts as none."""


class Account(NamedTuple):
    """An account on a platform, by the platform's own id of it."""

    platform: str
    account_id: str

    @property
    def telegram_id(self) -> str:
        """The account as the column `telegram_id` has it: "1001", or "discord:123"."""
        return self.account_id if self.platform == Platform.TELEGRAM else ":".join(self)


def clean_identifier(text: str) -> str:
    """Return a text in the form NFKC, without invisible characters and spaces around it."""
    return INVISIBLE_PATTERN.sub("", unicodedata.normalize("NFKC", text)).strip()


def normalize_telegram_id(value: str | int, field: str = "telegram_id") -> str:
    """Return the id of a Telegram account as it is stored: digits without leading zeros.

    An account of another platform has the platform in front, such as "discord:123".

    Raises:
        InvalidInput: The value is neither a text nor an integer, it is too long, or it is another
            spelling than the one that is stored.
    """
    text = id_text(value, field)
    if ACCOUNT_NUMBER_PATTERN.fullmatch(text):
        return text
    check_text(field, text, MAX_IDENTIFIER_LENGTH)
    text = clean_identifier(text)
    if ACCOUNT_NUMBER_PATTERN.fullmatch(text):
        return text
    if PLATFORM_ID_PATTERN.fullmatch(text) and not text.startswith(RESERVED_PREFIXES):
        return text
    raise _malformed("member_telegram_id_format_check", field)


def parse_account(telegram_id: str) -> Account:
    """Return the account that a stored `telegram_id` names, which is "1001" or "discord:123".

    This is the one place, beside the SQL function `member_accounts_named`, that takes the column
    apart.
    """
    platform, colon, account_id = telegram_id.partition(":")
    return Account(platform, account_id) if colon else Account(Platform.TELEGRAM, telegram_id)


def check_platform(platform: str) -> None:
    """Check that the name of a platform is a lower-case name.

    Raises:
        InvalidInput: It is not.
    """
    check_text("platform", platform, MAX_PLATFORM_LENGTH)
    if not PLATFORM_PATTERN.fullmatch(platform or ""):
        raise _malformed("member_account_platform_check", "platform")


def normalize_account(platform: str, account_id: str | int) -> Account:
    """Return an account as it is stored: its platform, and the one spelling of its id there.

    Args:
        platform: A lower-case name, such as "telegram", "discord", "github" or "elizaos".
        account_id: The platform's own id of the account, a text or an integer.

    Raises:
        InvalidInput: The platform or the id is malformed.
    """
    check_platform(platform)
    text = id_text(account_id, "account_id")
    check_text("account_id", text, MAX_IDENTIFIER_LENGTH)
    cleaned = clean_identifier(text)
    if platform in (Platform.GITHUB, Platform.ELIZAOS):
        cleaned = cleaned.lower()
    if mention := DISCORD_MENTION_PATTERN.fullmatch(cleaned) if platform == "discord" else None:
        cleaned = mention[1]
    pattern = ACCOUNT_PATTERNS.get(platform, OTHER_ACCOUNT_PATTERN)
    if not pattern.fullmatch(cleaned):
        raise _malformed("member_account_id_check", "account_id")
    return Account(platform, cleaned)


def normalize_discord_id(value: str | int, field: str = "profile_data") -> str:
    """Return the id of a Discord account as it is stored; it may be a mention, such as `<@123>`.

    Raises:
        InvalidInput: The value is no id.
    """
    if type(value) is int and value < MAX_INTEGER_ID:
        value = str(value)
    if isinstance(value, str) and len(value) <= MAX_IDENTIFIER_LENGTH:
        text = DISCORD_MENTION_PATTERN.sub(r"\1", clean_identifier(value))
        if ACCOUNT_NUMBER_PATTERN.fullmatch(text):
            return text
    raise _malformed("member_discord_id_check", field)


def normalize_telegram_username(value: str | None, field: str = "telegram_username") -> str | None:
    """Return a Telegram username as it is stored; a blank one is None.

    It may have an @ in front, be a link to the account, such as https://t.me/ana_garcia, and stand
    between quotes.

    Raises:
        InvalidInput: The value is not a text, or contains no username.
    """
    constraint = (
        "invitation_username_format_check"
        if field == "invited_telegram_username"
        else "member_telegram_username_format_check"
    )
    return _normalize_username(
        value, field, constraint, TELEGRAM_USERNAME_PATTERN, TELEGRAM_LINK_PATTERN
    )


def normalize_github_username(value: str | None, field: str = "github_username") -> str | None:
    """Return a GitHub username as it is stored; a blank one is None.

    It may have an @ in front, be a link to the profile, such as https://github.com/ana/, and stand
    between quotes. An app, such as dependabot[bot], is no person and so is refused.

    Raises:
        InvalidInput: The value is not a text, or contains no username.
    """
    return _normalize_username(
        value,
        field,
        "member_github_username_format_check",
        GITHUB_USERNAME_PATTERN,
        GITHUB_LINK_PATTERN,
    )


def normalize_username(platform: str, username: str | None) -> str | None:
    """Return the username of an account as it is stored; a blank one is None.

    It may have an @ in front. On Telegram and GitHub it may be a link to the account.

    Raises:
        InvalidInput: The platform is malformed, or the value contains no username.
    """
    check_platform(platform)
    if platform == Platform.TELEGRAM:
        return normalize_telegram_username(username, "username")
    if platform == Platform.GITHUB:
        return normalize_github_username(username, "username")
    check_text("username", username, MAX_IDENTIFIER_LENGTH)
    if username is None:
        return None
    text = clean_identifier(username).removeprefix("@")
    if not text:
        return None
    if not OTHER_USERNAME_PATTERN.fullmatch(text):
        raise _malformed("member_account_username_check", "username")
    return text


def normalize_invitation_code(code: str) -> str | None:
    """Return the invitation code that a text contains, in the case in which it was typed.

    The text may have spaces and dashes in the code, marks such as quotes around it, and may be the
    link to a bot with `?start=`, or the command /start.

    Returns:
        The code, or None if no code can look like this.

    Raises:
        InvalidInput: The value is not a text.
    """
    if not isinstance(code, str):
        raise InvalidInput("The code must be a text.", field="code")
    if CODE_PATTERN.fullmatch(code):
        return code
    if len(code) > MAX_CODE_LENGTH:
        return None
    # A link may be percent-encoded, also as a whole, in a link that shares it.
    text = clean_identifier(unquote(code))
    link = START_LINK_PATTERN.search(text)
    text = link[1] if link else START_COMMAND_PATTERN.sub("", text)
    text = "".join(character for character in text if not _is_separator(character))
    while text and not _is_letter_or_number(text[0]):
        text = text[1:]
    while text and not _is_letter_or_number(text[-1]):
        text = text[:-1]
    return text if CODE_PATTERN.fullmatch(text) else None


def visible_name(name: str) -> str | None:
    """Return a name on one line, or None if nobody could see it.

    A line break, another control character and a lone surrogate become a space. Spaces at both ends
    and the characters that control the direction of the text are removed.
    """
    text = CONTROL_PATTERN.sub(" ", DIRECTION_PATTERN.sub("", name)).strip()
    return text if VISIBLE_PATTERN.search(text) else None


def normalize_name(name: str, field: str = "name") -> str:
    """Return a name, or the name of a role, as it is stored: see `visible_name`.

    Raises:
        InvalidInput: The value is not a text, it has no visible character, or it contains a
            character that PostgreSQL can't store.
    """
    check_text(field, name, None)
    if name is None:
        return name  # the database says that it can't be empty
    if UNSTORABLE_PATTERN.search(name):
        raise InvalidInput(
            f"The {field.replace('_', ' ')} contains a character that can't be stored.",
            field=field,
        )
    visible = visible_name(name)
    if visible is None:
        raise _malformed(f"member_{field}_visible_check", field)
    return visible


def normalize_profile(profile_data: Profile | None) -> Profile | None:
    """Return a profile with its `discord_id` as it is stored.

    Raises:
        InvalidInput: The profile has a `discord_id` that is no id.
    """
    if isinstance(profile_data, Mapping) and profile_data.get("discord_id") is not None:
        return {**profile_data, "discord_id": normalize_discord_id(profile_data["discord_id"])}
    return profile_data


IDENTIFIER_NORMALIZERS: Mapping[str, Callable[[Any, str], Any]] = {
    "telegram_id": normalize_telegram_id,
    "telegram_username": normalize_telegram_username,
    "invited_telegram_username": normalize_telegram_username,
    "github_username": normalize_github_username,
}
"""The function for each column that contains an identifier; it takes the value and the column."""
NORMALIZERS: Mapping[str, Callable[[Any, str], Any]] = {
    **IDENTIFIER_NORMALIZERS,
    "name": normalize_name,
    "primary_role": normalize_name,
}
"""The function for each column that contains an identifier or a name."""


def _normalize_username(
    value: str | None,
    field: str,
    constraint: str,
    pattern: re.Pattern[str],
    link_pattern: re.Pattern[str],
) -> str | None:
    check_text(field, value, MAX_IDENTIFIER_LENGTH)
    if value is None or pattern.fullmatch(value):
        return value
    text = clean_identifier(value)
    if text in {"", "@"}:
        return None
    text = text.strip(MARKS_AROUND)
    link = link_pattern.fullmatch(text)
    username = link[link.lastgroup or 0] if link else text.removeprefix("@")
    if pattern.fullmatch(username):
        return username
    raise _malformed(constraint, field)


def _malformed(constraint: str, field: str) -> InvalidInput:
    """Return the error with which the database would refuse the value."""
    return InvalidInput(CONSTRAINT_MESSAGES[constraint].message, field=field, code=constraint)


def _is_separator(character: str) -> bool:
    """Return whether people type the character between the parts of a code: a space or a dash."""
    return (
        character.isspace() or unicodedata.category(character) == "Pd" or character in OTHER_DASHES
    )


def _is_letter_or_number(character: str) -> bool:
    return unicodedata.category(character)[0] in "LN"
