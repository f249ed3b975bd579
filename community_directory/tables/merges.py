"""Merges: two members who were found to be one person, and how to take that back.

The table `directory_merged_rows`, which a script creates, has the rows that each merge moved.
"""

from piccolo.columns import JSONB, UUID, ForeignKey, OnDelete, OnUpdate, Timestamptz
from piccolo.columns.readable import Readable
from piccolo.constraints import Check
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember


class DirectoryMerge(
    Table,
    tablename="directory_merges",
    db=engine,
    help_text="Members who were merged into another one. The audit log has who did it, and why.",
):
    id = UUID(primary_key=True)
    duplicate_id = ForeignKey(
        CommunityMember,
        target_column=CommunityMember.member_id,
        null=False,
        default=None,
        required=True,
        on_delete=OnDelete.restrict,
        on_update=OnUpdate.restrict,
        help_text="The member whose number leads to the other one.",
    )
    into_id = ForeignKey(
        CommunityMember,
        target_column=CommunityMember.member_id,
        null=False,
        default=None,
        required=True,
        on_delete=OnDelete.restrict,
        on_update=OnUpdate.restrict,
        help_text="The member who has everything of the duplicate.",
    )
    merged_at = Timestamptz()
    undone_at = Timestamptz(null=True, default=None, help_text="The time of the undoing, if any.")
    before = JSONB(
        null=True,
        default=None,
        help_text="The fields that the merge changed, with their values before and after it.",
    )

    merge_members_check = Check("duplicate_id <> into_id")
    merge_before_check = Check(checks.json_object("before"))

    merge_before_readable_check = Check(checks.readable_json("before"))
    merge_merged_at_range_check = Check(checks.in_range("merged_at"))
    merge_undone_at_range_check = Check(checks.in_range("undone_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show a merge as the numbers of both members."""
        return Readable(template="%s into %s", columns=[cls.duplicate_id, cls.into_id])
