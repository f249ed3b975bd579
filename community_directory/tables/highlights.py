"""Daily highlights: the counts of a member's participation events on one day."""

from piccolo.columns import UUID, Date, ForeignKey, Integer, OnDelete, OnUpdate, Timestamptz
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember


class MemberDailyHighlight(
    Table,
    tablename="member_daily_highlights",
    db=engine,
    help_text="The counts of a member's participation events on one day.",
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
    highlight_date = Date(
        default=None, required=True, help_text="The day in the community's time zone."
    )
    message_count = Integer(null=True, default=0)
    reaction_count = Integer(null=True, default=0)
    voice_minutes = Integer(null=True, default=0)
    reputation_earned = Integer(null=True, default=0)
    created_at = Timestamptz()

    # One row per member and day: a repeated roll-up updates it instead of adding another one.
    highlight_member_date_idx = Unique([member_id, highlight_date])

    highlight_message_count_check = Check(checks.not_negative("message_count"))
    highlight_reaction_count_check = Check(checks.not_negative("reaction_count"))
    highlight_voice_minutes_check = Check(checks.not_negative("voice_minutes"))
    highlight_reputation_earned_check = Check(checks.not_negative("reputation_earned"))

    highlight_date_range_check = Check(checks.day_in_range("highlight_date"))
    highlight_created_at_range_check = Check(checks.in_range("created_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show a highlight as its member and its day."""
        return Readable(template="%s %s", columns=[cls.member_id, cls.highlight_date])
