"""Notes: what managers write about members, for each other."""

from piccolo.columns import UUID, ForeignKey, OnDelete, OnUpdate, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember


class MemberNote(
    Table,
    tablename="member_notes",
    db=engine,
    help_text="Notes of managers about members. The audit log says who wrote each.",
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
    text = Varchar(length=4000, default=None, required=True)
    written_at = Timestamptz()

    member_note_text_check = Check(checks.visible("text"))
    member_note_written_at_range_check = Check(checks.in_range("written_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show a note as its member and its time."""
        return Readable(template="%s %s", columns=[cls.member_id, cls.written_at])
