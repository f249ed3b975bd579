"""The record of an inviter: how many invitations they created, and what became of the people.

Callers use it as `invitations.statistics`.
"""

from dataclasses import dataclass

from community_directory.database import Statement, engine
from community_directory.errors import MemberNotFound
from community_directory.queries.invitation_rows import effective_status_sql
from community_directory.queries.values import member_number, present_number_sql


@dataclass(frozen=True, slots=True)
class InvitationStatistics:
    """The invitations of a member, and the people who joined with them as they are now.

    Somebody who left, or whom a manager declined, is in `accepted` alone.

    Attributes:
        open: The number of pending invitations that have not expired.
        accepted: The number of accepted invitations.
        expired: The number of expired invitations.
        cancelled: The number of cancelled invitations.
        pending: The number of people who wait for approval.
        active: The number of people who are active members.
        suspended: The number of people who are suspended.
        banned: The number of people who are banned, even if they were removed or erased.
    """

    open: int
    accepted: int
    expired: int
    cancelled: int
    pending: int
    active: int
    suspended: int
    banned: int


_STATUS = effective_status_sql("invitation")

COUNT_INVITATIONS = Statement(f"""
SELECT count(*) FILTER (WHERE {_STATUS} = 'pending'),
    count(*) FILTER (WHERE {_STATUS} = 'accepted'),
    count(*) FILTER (WHERE {_STATUS} = 'expired'),
    count(*) FILTER (WHERE {_STATUS} = 'cancelled'),
    -- Two invitations of one person, whose two members were merged, are one person.
    count(DISTINCT person.member_id) FILTER (WHERE is_present AND person.status = 'pending'),
    count(DISTINCT person.member_id) FILTER (WHERE is_present AND person.status = 'active'),
    count(DISTINCT person.member_id) FILTER (WHERE is_present AND person.status = 'suspended'),
    count(DISTINCT person.member_id) FILTER (WHERE person.status = 'banned')
FROM community_members AS inviter
LEFT JOIN community_invitations AS invitation ON invitation.created_by = inviter.member_id
LEFT JOIN (
    SELECT member_id, status, deleted_at IS NULL AND NOT is_bot AS is_present
    FROM community_members
) AS person ON person.member_id = invitation.accepted_by
WHERE inviter.member_id = {present_number_sql(":member_id")}
GROUP BY inviter.member_id
""")


async def statistics(member_id: str | int) -> InvitationStatistics:
    """Count the invitations of a member, and what became of the people who joined with them.

    The number of a merged member leads to the other one, who has the invitations of both. A member
    who was removed or banned still has a record.

    Args:
        member_id: The member's number: "#247", or 247.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: The number is neither a text nor an integer.
    """
    number = member_number(member_id)
    records = await engine.read(COUNT_INVITATIONS, member_id=number)
    if not records:
        raise MemberNotFound(number)
    return InvitationStatistics(*records[0])
