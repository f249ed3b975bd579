"""What anybody may know of a member, for answers in a chat, web pages and APIs.

Callers use it as `members.public`.
"""

from dataclasses import dataclass

from community_directory.calendar import load_zone
from community_directory.queries.member_rows import Member
from community_directory.tables import MemberStatus


@dataclass(frozen=True, slots=True)
class PublicMember:
    """What anybody may know of a member: no ids, fees, and data of other programs.

    All values are texts, integers or None, so that `dataclasses.asdict` gives an object for JSON.

    Attributes:
        name: The name in the directory.
        primary_role: The role that they chose.
        organization: Their organization.
        country: Their country.
        github_username: The username of the GitHub account, if it is verified.
        reputation_score: The points.
        reputation_tier: The tier of the points.
        known_since: The day on which the directory first knew them, in the community's time zone,
            as in "2026-11-29".
    """

    name: str
    primary_role: str | None = None
    organization: str | None = None
    country: str | None = None
    github_username: str | None = None
    reputation_score: int | None = None
    reputation_tier: str | None = None
    known_since: str | None = None


def public(member: Member) -> PublicMember:
    """Return what anybody may know of a member.

    Only an active member has a public profile. Of a bot, and of anybody who is not active or was
    removed, the name is known, and everything else is None. The number and the @username are left
    out: a program that may show them takes them from the member.
    """
    is_public = (
        member.status is MemberStatus.ACTIVE and member.deleted_at is None and not member.is_bot
    )
    if not is_public:
        return PublicMember(member.name)
    return PublicMember(
        name=member.name,
        primary_role=member.primary_role,
        organization=member.organization,
        country=member.country,
        github_username=member.github_username if member.github_verified else None,
        reputation_score=member.reputation_score,
        reputation_tier=member.reputation_tier,
        known_since=member.created_at.astimezone(load_zone(None)).date().isoformat(),
    )
