"""The tables of the database and their enums, with one module for each table.

Bots import them from here: `from community_directory.tables import CommunityMember, MemberStatus`.
"""

from community_directory.tables.accounts import AccountProof, MemberAccount
from community_directory.tables.audit import AuditAction, DirectoryAuditLog
from community_directory.tables.bots import DirectoryBot
from community_directory.tables.highlights import MemberDailyHighlight
from community_directory.tables.invitations import CommunityInvitation, InvitationStatus
from community_directory.tables.members import CommunityMember, MemberStatus, ReputationTier
from community_directory.tables.merges import DirectoryMerge
from community_directory.tables.notes import MemberNote
from community_directory.tables.participation import EventType, MemberParticipation, Platform
from community_directory.tables.permissions import MemberPermission, Permission
from community_directory.tables.relationships import MemberRelationship
from community_directory.tables.requests import MemberRequest, RequestKind

__all__ = [
    "AccountProof",
    "AuditAction",
    "CommunityInvitation",
    "CommunityMember",
    "DirectoryAuditLog",
    "DirectoryBot",
    "DirectoryMerge",
    "EventType",
    "InvitationStatus",
    "MemberAccount",
    "MemberDailyHighlight",
    "MemberNote",
    "MemberParticipation",
    "MemberPermission",
    "MemberRelationship",
    "MemberRequest",
    "MemberStatus",
    "Permission",
    "Platform",
    "ReputationTier",
    "RequestKind",
]
