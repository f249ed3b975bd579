"""The member or invitation that a manager means by a text typed into one field."""

from datetime import datetime
from typing import NamedTuple, Protocol

from community_directory.database import Statement, engine
from community_directory.errors import (
    InvalidInput,
    InvitationError,
    InvitationNotFound,
    MemberNotFound,
    sanitize_for_message,
)
from community_directory.queries import invitations, members
from community_directory.queries.folding import contains_pattern, fold_needle
from community_directory.queries.identifiers import clean_identifier, normalize_telegram_username
from community_directory.queries.invitations import Invitation
from community_directory.queries.lookup import best_matches, make_lookup_statement, parse_member_key
from community_directory.queries.member_rows import Member
from community_directory.queries.values import member_number

MAX_LISTED_MATCHES = 10
MAX_COUNTED_MATCHES = 100
MAX_SHOWN_NAME_LENGTH = 60
"""The characters of a name in a message; a longer one is cut."""
JOINERS = "\u200c\u200d"
"""Invisible characters that some scripts and emoji need."""

# The text index also contains organizations and GitHub usernames; only the name and the username
# count here.
NAME_CONDITION = """
search_text LIKE :pattern
AND (
    directory_search_text(name) LIKE :pattern
    OR lower(telegram_username) = lower(:typed)
)
OR member_id = ANY(ARRAY(
    SELECT member_id FROM member_accounts WHERE lower(username) = lower(:typed)
))
"""
MATCH_COLUMNS = "name, telegram_username, status, deleted_at, is_bot"
# A merged member is nobody's match: its number and its accounts lead to the other one.
REMOVED_CONDITIONS = {
    None: "merged_into IS NULL",
    False: "deleted_at IS NULL",
    True: "deleted_at IS NOT NULL AND merged_into IS NULL",
}
FIND_BY_KEY = {
    removed: make_lookup_statement(
        f"member_id, {MATCH_COLUMNS}", condition, MAX_COUNTED_MATCHES + 1
    )
    for removed, condition in REMOVED_CONDITIONS.items()
}
FIND_BY_NAME = {
    removed: Statement(
        f"""
        SELECT * FROM (
            SELECT member_id, {MATCH_COLUMNS} FROM community_members
            WHERE ({NAME_CONDITION}) AND {condition} LIMIT {MAX_COUNTED_MATCHES + 1}
        ) AS found ORDER BY length(member_id), member_id
        """
    )
    for removed, condition in REMOVED_CONDITIONS.items()
}
FIND_OPEN_INVITATION = Statement(
    """
    SELECT invitation_code FROM community_invitations
    WHERE lower(invited_telegram_username) = lower(:username)
        AND status = 'pending' AND expires_at > now()
    """
)


class HasName(Protocol):
    """A member, or a node of the tree of invitations."""

    @property
    def member_id(self) -> str: ...  # noqa: D102  a column
    @property
    def name(self) -> str: ...  # noqa: D102  a column


class MemberMatch(NamedTuple):
    """A member who matches the text."""

    member_id: str
    name: str
    telegram_username: str | None
    status: str
    deleted_at: datetime | None
    is_bot: bool


def label(member: HasName) -> str:
    """Return a member's number and name for a message, such as "#247 Ana García"."""
    return f"{member.member_id} {shorten(member.name)}"


def shorten(text: str) -> str:
    """Return a name that is short enough for a message, on one line.

    Control characters, which could change how the rest of the message is shown, are replaced.
    """
    printable = "".join(
        character if character.isprintable() or character in JOINERS else "�" for character in text
    )
    if len(printable) <= MAX_SHOWN_NAME_LENGTH:
        return printable
    return f"{printable[: MAX_SHOWN_NAME_LENGTH - 1]}…"


async def find_label(member_id: str) -> str:
    """Return the label of the member with this number; the number alone if they were removed."""
    member = await members.find(member_id)
    return label(member) if member else member_id


async def find_one_member(typed: str, *, removed: bool | None = False) -> MemberMatch:
    """Return the one member whom a text means.

    Args:
        typed: A number, an account, an @username or a link, as `members.resolve` understands them,
            or a name or a part of one.
        removed: Search among the present members (False), the removed ones (True) or all (None).

    Raises:
        MemberNotFound: Nobody matches.
        InvalidInput: Several members match; the message lists them.
    """
    matches = await _find_matches(typed, removed=removed)
    if len(matches) == 1:
        return matches[0]
    if not matches:
        into = await _find_merged_into(typed) if removed else None
        raise _MatchNotFound(typed, removed=removed, merged_into=into)
    if len(matches) > MAX_COUNTED_MATCHES:
        raise InvalidInput(
            f"More than {MAX_COUNTED_MATCHES} people match. "
            "Type more of the name, or the member's number.",
            field="member",
        )
    listed = ", ".join(map(_describe_match, matches[:MAX_LISTED_MATCHES]))
    more = len(matches) - MAX_LISTED_MATCHES
    raise InvalidInput(
        f"{len(matches)} people match: {listed}{f' and {more} more' if more > 0 else ''}. "
        "Type the number of the one you mean.",
        field="member",
    )


async def _find_matches(typed: str, *, removed: bool | None) -> list[MemberMatch]:
    if key := parse_member_key(typed):
        found = best_matches(await engine.fetch(FIND_BY_KEY[removed], **key._asdict()))
        return [MemberMatch(*tuple(record)[:-1]) for record in found]
    text = clean_identifier(typed)
    pattern = contains_pattern(fold_needle(text))
    records = await engine.fetch(FIND_BY_NAME[removed], typed=text, pattern=pattern)
    return [MemberMatch(*record) for record in records]


async def _find_merged_into(typed: str) -> Member | None:
    """Return the member who has everything of a merged one, if the text is the number of that."""
    number = member_number(typed)
    member = await members.find(number)
    return member if member and member.member_id != number else None


class _MatchNotFound(MemberNotFound):
    """`MemberNotFound` with a message about the text that was typed."""

    def __init__(self, typed: str, *, removed: bool | None, merged_into: Member | None) -> None:
        super().__init__(typed)
        if merged_into:
            number = member_number(typed)
            self.args = (
                f"{number} was merged into {label(merged_into)}. Use the form “Undo a merge”.",
            )
            return
        who = "No removed member" if removed else "No member"
        hint = " A removed member must be restored first." if removed is False else ""
        self.args = (
            f"{who} matches {sanitize_for_message(typed)}. "
            f"Try a number, an @username or a part of the name.{hint}",
        )


def _describe_match(match: MemberMatch) -> str:
    username = f"@{shorten(match.telegram_username)}, " if match.telegram_username else ""
    status = "removed" if match.deleted_at else match.status.replace("_", " ")
    if match.is_bot:
        status = f"{status}, a bot"
    return f"{label(match)} ({username}{status})"


async def find_one_invitation(typed: str) -> Invitation:
    """Return the invitation with this code, or the open one for this username.

    Raises:
        InvitationNotFound: No invitation has this code.
        InvitationError: There is no open invitation for this @username.
    """
    if invitation := await invitations.find(typed):
        return invitation
    try:
        username = normalize_telegram_username(typed)
    except InvalidInput:
        username = None
    records = await engine.fetch(FIND_OPEN_INVITATION, username=username)
    if records:
        return await invitations.get(records[0]["invitation_code"])
    if typed.startswith("@"):
        raise InvitationError(
            f"There is no open invitation for {sanitize_for_message(typed)}. "
            "Type the invitation's code instead.",
            typed,
        )
    raise InvitationNotFound(typed)
