"""Lookups of one member: by number, account, username or a link to one.

Callers use it as `members.resolve`, `members.get`, …. A number that was merged into another one
leads to the other one.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import asyncpg

from community_directory.database import Statement, engine
from community_directory.errors import AmbiguousMember, InvalidInput, MemberNotFound
from community_directory.queries.identifiers import (
    DISCORD_MENTION_PATTERN,
    MARKS_AROUND,
    MAX_IDENTIFIER_LENGTH,
    Account,
    clean_identifier,
    normalize_account,
    normalize_telegram_id,
    normalize_username,
    parse_account,
)
from community_directory.queries.member_rows import (
    MEMBER_COLUMNS,
    Member,
    member_from,
)
from community_directory.queries.values import (
    check_text,
    id_text,
    member_number,
    present_number_sql,
)
from community_directory.tables import Platform, checks

MAX_MATCHES = 20
"""The maximum number of members that a lookup reads to say that it is ambiguous."""

ACCOUNT_PATTERN = re.compile(r"(?!(?:https?|tg):)([a-z][a-z0-9_]*):([!-~]+)", re.IGNORECASE)
"""An account with its platform in front, such as "discord:123"."""
MARKS_AFTER = ",;:!?."
"""The marks of a sentence that come after a mention."""
ENTITY_PATTERN = re.compile(checks.ENTITY_ID, re.IGNORECASE)
USERNAME_PATTERN = re.compile(r"@([^\s@]+)")
TELEGRAM_USER_LINK_PATTERN = re.compile(
    r"(?:tg:(?://)?(?:user/?\?id|openmessage/?\?user_id)="
    r"|(?:https?://)?web\.telegram\.org/(?:[akz]/)?#)([0-9]+)",
    re.IGNORECASE,
)
DISCORD_USER_LINK_PATTERN = re.compile(
    r"(?:(?:https?://)?(?:(?:www|canary|ptb)\.)?discord(?:app)?\.com|discord://-)"
    r"/users/([0-9]+)/?(?:[?#].*)?",
    re.IGNORECASE,
)

GET_MEMBER = Statement(f"""
SELECT {MEMBER_COLUMNS} FROM community_members
WHERE member_id = {present_number_sql(":member_id")} AND deleted_at IS NULL
""")

GET_MEMBER_BY_ACCOUNT = Statement(f"""
SELECT {MEMBER_COLUMNS} FROM community_members
WHERE member_id = (
    SELECT member_id FROM member_accounts
    WHERE platform = :platform AND account_id = :account_id
) AND deleted_at IS NULL
""")

FIND_NUMBERS = """
    -- the numbers of the members that a key can mean; those with the lowest rank count
    SELECT coalesce(merged_into, member_id) AS member_id, 0 AS rank
    FROM community_members WHERE member_id = :number::text
    UNION ALL
    SELECT member_id, 0 FROM member_accounts
    WHERE platform = :platform::text AND account_id = :account_id::text
    UNION ALL
    SELECT member_id, 0 FROM community_members
    WHERE lower(telegram_username) = lower(:username::text)
        AND coalesce(:username_platform::text, 'telegram') = 'telegram'
    UNION ALL
    -- The column above has the username of the account in telegram_id.
    SELECT account.member_id,
        CASE WHEN account.platform = coalesce(:username_platform, 'telegram') THEN 0 ELSE 1 END
    FROM member_accounts AS account JOIN community_members AS member USING (member_id)
    WHERE lower(account.username) = lower(:username)
        AND account.platform = coalesce(:username_platform, account.platform)
        AND NOT (account.platform = 'telegram' AND account.account_id = member.telegram_id)
    UNION ALL
    -- an account of GitHub that is stated and not verified
    SELECT member_id, 2 FROM community_members
    WHERE github_username IN (:username, lower(:username)) AND :username_platform = 'github'
"""
"""The SQL that finds members by the parameters of a `MemberKey`."""


def make_lookup_statement(columns: str, condition: str, limit: int) -> Statement:
    """Return the statement that finds members by a `MemberKey`, those of the lowest rank first.

    Args:
        columns: The columns of each member; `rank` follows.
        condition: A further condition in SQL.
        limit: The maximum number of members.
    """
    # With an array PostgreSQL looks each member up; with a join it may read all of them.
    return Statement(f"""
    WITH found AS MATERIALIZED (
        {FIND_NUMBERS}
    )
    SELECT {columns},
        (SELECT min(rank) FROM found WHERE found.member_id = member.member_id) AS rank
    FROM community_members AS member
    WHERE member.member_id = ANY(ARRAY(SELECT member_id FROM found)) AND {condition}
    ORDER BY rank, length(member.member_id), member.member_id LIMIT {limit}
    """)


RESOLVE_MEMBER = make_lookup_statement(MEMBER_COLUMNS, "deleted_at IS NULL", MAX_MATCHES)


class MemberKey(NamedTuple):
    """The number, the account and the username that a text can mean, some of them or all."""

    number: str | None = None
    platform: str | None = None
    account_id: str | None = None
    username: str | None = None
    username_platform: str | None = None
    """The platform of the username; with None, one on Telegram is preferred."""


def parse_member_key(text: str) -> MemberKey | None:
    """Return what a text means, or None if it is a plain word or text, such as a name."""
    text = clean_identifier(text)
    bare = text.strip(MARKS_AROUND)
    number = member_number(bare)
    if number.startswith("#") and number != bare:
        # Digits alone can also be the id of a Telegram account.
        return MemberKey(number, Platform.TELEGRAM, number[1:])
    if re.fullmatch("#[0-9]+", bare):
        return MemberKey(number)
    if re.fullmatch("[0-9]+", bare):
        return MemberKey(None, Platform.TELEGRAM, bare)
    return _parse_account_key(text) or _parse_username_key(text)


def _parse_account_key(text: str) -> MemberKey | None:
    if mention := DISCORD_MENTION_PATTERN.fullmatch(text.rstrip(MARKS_AFTER)):
        return MemberKey(None, Platform.DISCORD, mention[1])
    if ENTITY_PATTERN.fullmatch(text):
        return MemberKey(None, Platform.ELIZAOS, text.lower())
    for platform, pattern in (
        (Platform.TELEGRAM, TELEGRAM_USER_LINK_PATTERN),
        (Platform.DISCORD, DISCORD_USER_LINK_PATTERN),
    ):
        if link := pattern.fullmatch(text.strip(MARKS_AROUND)):
            return MemberKey(None, platform, link[1])
    if account := ACCOUNT_PATTERN.fullmatch(text):
        name, account_id = account[1].lower(), account[2]
        # Digits are an id on GitHub, and another text is a username, which can be the id, too.
        if name != Platform.GITHUB or account_id.isdigit():
            with suppress(InvalidInput):
                return MemberKey(None, *normalize_account(name, account_id))
        return _parse_username(name, account_id)
    return None


def _parse_username_key(text: str) -> MemberKey | None:
    is_link = "/" in text or text.casefold().endswith(".t.me") or text.startswith("tg:")
    if is_link:
        for platform in (Platform.TELEGRAM, Platform.GITHUB):
            if key := _parse_username(platform, text):
                return key
    username_match = USERNAME_PATTERN.fullmatch(text.strip(MARKS_AROUND))
    return MemberKey(username=username_match[1]) if username_match else None


def _parse_username(platform: str, text: str) -> MemberKey | None:
    """Return what a username of a platform means, or a link to one; None if it is none."""
    username = None
    with suppress(InvalidInput):
        username = normalize_username(platform, text)
    if username is None:
        return None
    if platform == Platform.GITHUB and not username.isdigit():
        return MemberKey(None, platform, username.lower(), username, platform)
    return MemberKey(username=username, username_platform=platform)


async def resolve(member: str | int) -> Member:
    """Return the member whom a text means, as a person or a program writes it.

    It can be a number (`#247`, `247`), the id of a Telegram account, an account with its platform
    in front (`discord:123`, `telegram:1001`, `github:ana`), a mention (`@ana`, `<@123>`), a link to
    an account (`t.me/ana`, `tg://user?id=1001`, `github.com/ana`, `discord.com/users/123`), or the
    UUID of an ElizaOS entity. Digits alone are a number or a Telegram id. A username is one on
    Telegram, or, if nobody has it there, one on another platform. A merged number leads to the
    member who has everything of it.

    Args:
        member: The text, or an integer.

    Raises:
        MemberNotFound: Nobody matches, or the member was removed.
        AmbiguousMember: Several members match; the error has their numbers.
        InvalidInput: The value is neither a text nor an integer, or it is too long.
    """
    text = id_text(member, "member_id")
    check_text("member_id", text, MAX_IDENTIFIER_LENGTH)
    key = parse_member_key(text) or MemberKey(username=clean_identifier(text))
    return _require_one(text, await engine.fetch(RESOLVE_MEMBER, **key._asdict()))


async def get(member_id: str | int) -> Member:
    """Return the member with this number: "#247", "247" or 247.

    A number that was merged into another one leads to the other one.

    Raises:
        MemberNotFound: No member has this number, or the member was removed.
        InvalidInput: The number is neither a text nor an integer.
    """
    member = await find(member_id)
    if member is None:
        raise MemberNotFound(member_number(member_id))
    return member


async def find(member_id: str | int) -> Member | None:
    """Return the member with this number: "#247", "247" or 247.

    A number that was merged into another one leads to the other one.

    Returns:
        The member, or None if no member has this number or the member was removed.

    Raises:
        InvalidInput: The number is neither a text nor an integer.
    """
    records = await engine.fetch(GET_MEMBER, member_id=member_number(member_id))
    return member_from(records[0]) if records else None


async def get_by_telegram_id(telegram_id: str | int) -> Member:
    """Return the member or contact with this Telegram account, which may be a second one.

    Args:
        telegram_id: The id of the account, a number as a text or an integer. An account of another
            platform has the platform in front, such as "discord:123".

    Raises:
        MemberNotFound: Nobody has this account, or the member was removed.
        InvalidInput: The id is malformed.
    """
    account = normalize_telegram_id(telegram_id)
    member = await _find_by_account(parse_account(account))
    if member is None:
        raise MemberNotFound(account)
    return member


async def find_by_telegram_id(telegram_id: str | int) -> Member | None:
    """Return the member or contact with this Telegram account, which may be a second one.

    Returns:
        The member, or None if nobody has this account or the member was removed.

    Raises:
        InvalidInput: The id is malformed.
    """
    return await _find_by_account(parse_account(normalize_telegram_id(telegram_id)))


async def find_by_account(platform: str, account_id: str | int) -> Member | None:
    """Return the member or contact with this account.

    An account that the member's profile only names, which nobody has proved, counts too: see
    `proof` in `accounts.of`.

    Args:
        platform: A lower-case name, such as "telegram", "discord", "github" or "elizaos".
        account_id: The platform's own id of the account.

    Returns:
        The member, or None if nobody has this account or the member was removed.

    Raises:
        InvalidInput: The platform or the id is malformed.
    """
    return await _find_by_account(normalize_account(platform, account_id))


async def find_by_username(username: str, platform: str = Platform.TELEGRAM) -> Member | None:
    """Return the member or contact with this username on a platform.

    Args:
        username: The username in any case, with or without @. On Telegram and GitHub it may be a
            link to the account.
        platform: A lower-case name, such as "telegram".

    Returns:
        The member, or None if nobody has this username or the member was removed.

    Raises:
        AmbiguousMember: Several members have it; the error has their numbers.
        InvalidInput: The username is not a text or no username, or the platform is malformed.
    """
    normalized = normalize_username(platform, username)
    if normalized is None:
        return None
    key = MemberKey(username=normalized, username_platform=platform)
    try:
        return _require_one(username, await engine.fetch(RESOLVE_MEMBER, **key._asdict()))
    except MemberNotFound:
        return None


def best_matches(records: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """Return the records with the lowest rank."""
    return [record for record in records if record["rank"] == records[0]["rank"]]


def _require_one(text: str, records: Sequence[asyncpg.Record]) -> Member:
    """Return the only member of the records with the lowest rank.

    Raises:
        MemberNotFound: There is none.
        AmbiguousMember: There are several.
    """
    matches = best_matches(records)
    if not matches:
        raise MemberNotFound(text)
    if len(matches) > 1:
        raise AmbiguousMember([record["member_id"] for record in matches])
    return member_from(matches[0])


async def _find_by_account(account: Account) -> Member | None:
    records = await engine.fetch(GET_MEMBER_BY_ACCOUNT, **account._asdict())
    return member_from(records[0]) if records else None
