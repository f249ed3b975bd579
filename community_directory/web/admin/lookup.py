"""Whom a manager means: a member or an invitation, from what they type into one field."""

import re
from datetime import datetime
from typing import NamedTuple, Protocol

from community_directory.database import engine
from community_directory.errors import (
    InvalidInput,
    InvitationError,
    InvitationNotFound,
    MemberNotFound,
    sanitize_for_message,
)
from community_directory.queries import invitations, members
from community_directory.queries.invitations import Invitation
from community_directory.queries.search import ANY_RANGE, PATTERN
from community_directory.queries.values import username_from

LISTED, COUNTED = 10, 100
"""How many people an answer lists, and how many it counts, at the most: a letter can mean everybody."""
LONGEST_NAME = 60
JOINERS = "\u200c\u200d"
"""Some scripts, and families among the emoji, are written with these."""

# Found by the search's index, then told apart from those whose organization or GitHub account matches.
NAMED = f"""directory_search_text($1) <> '' AND {ANY_RANGE} AND search_text LIKE {PATTERN.format("$1")}
    AND (directory_search_text(name) LIKE {PATTERN.format("$1")} OR lower(telegram_username) = lower($1))
    OR telegram_id = $1"""

PEOPLE = """
SELECT * FROM (
    SELECT member_id, name, telegram_username, status, deleted_at FROM community_members
    WHERE ({CONDITION}) {REMOVED} LIMIT $2
) AS found ORDER BY length(member_id), member_id
"""
REMOVED = {None: "", False: "AND deleted_at IS NULL", True: "AND deleted_at IS NOT NULL"}

OPEN_FOR = """
SELECT invitation_code FROM community_invitations
WHERE lower(invited_telegram_username) = lower($1) AND status = 'pending' AND expires_at > now()
"""


class HasName(Protocol):
    """A member, or a branch of the tree of invitations."""

    @property
    def member_id(self) -> str: ...  # noqa: D102  a column
    @property
    def name(self) -> str: ...  # noqa: D102  a column


class Person(NamedTuple):
    """What tells one member from another."""

    member_id: str
    name: str
    telegram_username: str | None
    status: str
    deleted_at: datetime | None


def label(someone: HasName) -> str:
    """A member as an answer names them: "#247 Ana García"."""
    return f"{someone.member_id} {plain(someone.name)}"


def plain(text: str) -> str:
    """A name as it is, but short, on one line, and without signs that would disturb the rest of a sentence."""
    text = "".join(sign if sign.isprintable() or sign in JOINERS else "�" for sign in text)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


async def label_of(member_id: str) -> str:
    """The label of the member with this number, of a removed one only the number."""
    member = await members.find(member_id)
    return label(member) if member else member_id


async def one_member(typed: str, *, removed: bool | None = False) -> Person:
    """The one member that somebody means: by number, @username, Telegram id, or a name or part of one.

    Bare digits are a number or a Telegram id. Looks among those who are here, among the removed ones, or (None) among
    all. Raises `MemberNotFound` when nobody matches, and `InvalidInput` with a list when several do.
    """
    found = [
        Person(*record) for record in await engine.fetch(*_question(typed, removed), COUNTED + 1)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _Nobody(typed, removed=removed)
    if len(found) > COUNTED:
        raise InvalidInput(
            f"More than {COUNTED} people match: say more of the name, or the number.",
            field="member",
        )
    most = f"; the first {LISTED} of them" if len(found) > LISTED else ""
    listed = ", ".join(map(_described, found[:LISTED]))
    raise InvalidInput(
        f"{len(found)} people match{most}: {listed}: say which, by number.", field="member"
    )


def _question(typed: str, removed: bool | None) -> tuple[str, str]:
    """The SQL that finds whom the text means, and its argument."""
    if re.fullmatch(r"#[0-9]+", typed):
        condition, value = "member_id = $1", typed
    elif re.fullmatch(r"[0-9]+", typed):
        condition, value = "member_id = '#' || $1 OR telegram_id = $1", typed
    elif typed.startswith("@"):
        condition, value = "lower(telegram_username) = lower($1)", typed[1:]
    else:
        condition, value = NAMED, typed
    return PEOPLE.format(CONDITION=condition, REMOVED=REMOVED[removed]), value


class _Nobody(MemberNotFound):
    """`MemberNotFound` in the words of the panel."""

    def __init__(self, typed: str, *, removed: bool | None) -> None:
        super().__init__(typed)
        whom = "Nobody who was removed" if removed else "Nobody"
        hint = " (who was removed is found by Restore)" if removed is False else ""
        self.args = (
            f"{whom} is meant by {sanitize_for_message(typed)}{hint}: try a number, an @username or a part of the name.",
        )


def _described(person: Person) -> str:
    username = f"@{plain(person.telegram_username)}, " if person.telegram_username else ""
    status = "removed" if person.deleted_at else person.status.replace("_", " ")
    return f"{label(person)} ({username}{status})"


async def one_invitation(typed: str) -> Invitation:
    """The invitation with this code, however it is typed, or the open one of this username.

    Raises `InvitationNotFound`, or its like in other words for a username.
    """
    if invitation := await invitations.find(typed):
        return invitation
    records = await engine.fetch(OPEN_FOR, username_from(typed, "invited_telegram_username"))
    if records:
        return await invitations.get(records[0][0])
    if typed.startswith("@"):
        raise InvitationError(
            f"There is no open invitation for {sanitize_for_message(typed)}: give its code.", typed
        )
    raise InvitationNotFound(typed)
