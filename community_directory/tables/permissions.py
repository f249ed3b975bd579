"""Permissions: what a member may do for the community. Somebody grants them; no profile does."""

from enum import StrEnum

from piccolo.columns import UUID, ForeignKey, OnDelete, OnUpdate, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember


class Permission(StrEnum):
    """The permissions that a member can hold; `manage` includes the others."""

    INVITE = "invite"
    """Invite people, where a bot asks for a permission to do so."""
    REVIEW = "review"
    """Approve and decline newcomers."""
    MODERATE = "moderate"
    """Suspend, ban and reinstate members."""
    MANAGE = "manage"
    """Everything, without a quota of invitations, and grant and revoke permissions."""


class MemberPermission(
    Table,
    tablename="member_permissions",
    db=engine,
    help_text="What members may do for the community. A ban, a suspension or a removal deletes it.",
):
    id = UUID(primary_key=True)
    member_id = ForeignKey(
        CommunityMember,
        target_column=CommunityMember.member_id,
        null=False,
        default=None,
        required=True,
        on_delete=OnDelete.restrict,
        on_update=OnUpdate.restrict,
        help_text="An active member.",
    )
    permission = Varchar(length=20, default=None, required=True, choices=Permission)
    granted_at = Timestamptz()

    # A member holds a permission once.
    member_permission_idx = Unique([member_id, permission])

    member_permission_check = Check(checks.one_of("permission", Permission))
    member_permission_granted_at_range_check = Check(checks.in_range("granted_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show a permission as its member and its name."""
        return Readable(template="%s %s", columns=[cls.member_id, cls.permission])
