"""The leaderboard: the members with the best reputation, and the rank of one of them.

Callers use it as `members.leaderboard` and `members.rank`.
"""

from dataclasses import dataclass

from community_directory.database import Statement, engine
from community_directory.queries.member_rows import Member
from community_directory.queries.pages import Page
from community_directory.queries.search import search
from community_directory.queries.values import member_number, present_number_sql
from community_directory.tables import MemberStatus

_IS_LISTED = "status = 'active' AND deleted_at IS NULL AND NOT is_bot"
# Each count reads an index alone, because of its order: the whole table takes three times as long.
GET_RANK = Statement(f"""
SELECT (
    SELECT count(*) FROM (
        SELECT FROM community_members
        WHERE {_IS_LISTED} AND (reputation_score, id) >= (member.reputation_score, member.id)
        ORDER BY reputation_score DESC, id DESC OFFSET 0
    ) AS up_to_member
), (
    SELECT count(*) FROM (
        SELECT FROM community_members WHERE {_IS_LISTED} ORDER BY created_at DESC OFFSET 0
    ) AS listed
)
FROM community_members AS member
WHERE member_id = {present_number_sql(":member_id")} AND {_IS_LISTED}
""")


@dataclass(frozen=True, slots=True)
class Rank:
    """The position of a member on the leaderboard.

    Attributes:
        position: The position; the member with the best reputation has 1.
        of: The number of members on the leaderboard.
    """

    position: int
    of: int


async def leaderboard(
    *,
    status: MemberStatus | str | None = MemberStatus.ACTIVE,
    after: str | None = None,
    limit: int = 20,
) -> Page[Member]:
    """List the members with the best reputation, best first. Bots are left out.

    Args:
        status: The status, by default active; None lists members of every status.
        after: A cursor of another page.
        limit: The number of members on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: There is no such status, or the limit is not 1 to 100.
    """
    return await search(status=status, after=after, limit=limit)


async def rank(member_id: str | int) -> Rank | None:
    """Return the position of a member on the leaderboard of active members.

    Members with the same score have different positions, in the order of the leaderboard. All
    members are counted, in indexes: among a million of them this takes some 0.1 seconds.

    Args:
        member_id: The member's number, "#247" or 247. The number of a merged member leads to the
            other one.

    Returns:
        The position, or None if the member is not on the leaderboard.

    Raises:
        InvalidInput: The number is neither a text nor an integer.
    """
    records = await engine.read(GET_RANK, member_id=member_number(member_id))
    return Rank(*records[0]) if records else None
