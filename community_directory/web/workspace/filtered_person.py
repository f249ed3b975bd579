"""The person of a filter, whom a text names; a removed one has to be named by the number."""

from typing import NamedTuple

from community_directory.database import Statement, engine
from community_directory.queries import members
from community_directory.queries.values import (
    MEMBER_NUMBER_PATTERN,
    member_number,
    present_number_sql,
)

FIND_PERSON = Statement(f"""
SELECT member_id, name FROM community_members
WHERE member_id = {present_number_sql(":member_id")}
""")


class FilteredPerson(NamedTuple):
    """A member whose rows a page lists."""

    member_id: str
    name: str


async def find_filtered_person(text: str) -> FilteredPerson:
    """Return the member whom a text names, also a removed one by their number.

    Raises:
        MemberNotFound: Nobody matches.
        AmbiguousMember: Several members match.
        InvalidInput: The text is too long.
    """
    if MEMBER_NUMBER_PATTERN.fullmatch(text):
        records = await engine.read(FIND_PERSON, member_id=member_number(text))
        if records:
            return FilteredPerson(*records[0])
    found = await members.resolve(text)
    return FilteredPerson(found.member_id, found.name)
