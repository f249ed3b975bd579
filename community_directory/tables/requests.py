"""Requests: what members ask managers for, until somebody has settled it."""

from enum import StrEnum

from piccolo.columns import UUID, ForeignKey, OnDelete, OnUpdate, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember


class RequestKind(StrEnum):
    """The kinds of requests."""

    ERASURE = "erasure"
    """Erase the personal data of the member, who may not do so without a manager."""
    LINK = "link"
    """Link an account that the member can't link, such as one that belongs to another member."""


class MemberRequest(
    Table,
    tablename="member_requests",
    db=engine,
    help_text="What members ask managers for. A request that is settled is deleted.",
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
    )
    kind = Varchar(length=20, default=None, required=True, choices=RequestKind)
    asked_at = Timestamptz()

    # A member has one open request of each kind.
    member_request_idx = Unique([member_id, kind])

    member_request_kind_check = Check(checks.one_of("kind", RequestKind))
    member_request_asked_at_range_check = Check(checks.in_range("asked_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show a request as its member and its kind."""
        return Readable(template="%s %s", columns=[cls.member_id, cls.kind])
