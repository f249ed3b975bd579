"""The member whom somebody means by what they typed into a form: a number, an account, a name."""

from community_directory.errors import AmbiguousMember, MemberNotFound
from community_directory.queries import members
from community_directory.queries.members import Member
from community_directory.queries.values import MEMBER_NUMBER_PATTERN
from community_directory.tables import MemberStatus

MAX_FOUND = 20
"""The most members whose names have the text."""


async def find_members(text: str, *, status: MemberStatus | None = None) -> list[Member]:
    """Return the member with this number or account, or those whose name has this text.

    Args:
        text: What somebody typed.
        status: The status of those who are found by the name; None means any.

    Raises:
        MemberNotFound: Nobody has this number.
        AmbiguousMember: Several members have this account.
        InvalidInput: The text is too long.
    """
    try:
        return [await members.resolve(text)]
    except MemberNotFound:
        if MEMBER_NUMBER_PATTERN.fullmatch(text):
            raise
        found = await members.search(text, status=status, sort="name", limit=MAX_FOUND)
        return list(found.items)


async def find_member(text: str, *, status: MemberStatus | None = None) -> Member:
    """Return the member whom a text means alone; a whole name means more than a part of one.

    Args:
        text: What somebody typed.
        status: The status of somebody who is found by the name; None means any.

    Raises:
        MemberNotFound: The text is empty, or nobody matches.
        AmbiguousMember: Several members match.
        InvalidInput: The text is too long.
    """
    found = await find_members(text, status=status) if text else []
    exact = [member for member in found if member.name.casefold() == text.casefold()]
    matching = exact if len(exact) == 1 else found
    if not matching:
        raise MemberNotFound(text)
    if len(matching) > 1:
        raise AmbiguousMember([member.member_id for member in matching])
    return matching[0]
