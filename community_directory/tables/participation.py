"""Participation events: each message, reaction and voice stay of a member, stored once."""

from enum import StrEnum

from piccolo.columns import JSONB, UUID, ForeignKey, OnDelete, OnUpdate, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember


class EventType(StrEnum):
    """The event types that highlights count; any other upper-case name may be stored too."""

    MESSAGE = "MESSAGE"
    REACTION = "REACTION"
    VOICE = "VOICE"


class Platform(StrEnum):
    """The platforms the community lives on; any other lower-case name may be stored too."""

    TELEGRAM = "telegram"
    DISCORD = "discord"


class MemberParticipation(
    Table,
    tablename="member_participation",
    db=engine,
    help_text="What members did, event by event. Bots write it.",
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
    event_type = Varchar(
        length=50,
        default=None,
        required=True,
        help_text="MESSAGE, REACTION, VOICE or another upper-case name.",
    )
    platform = Varchar(
        length=50,
        default=None,
        required=True,
        help_text="telegram, discord or another lower-case name.",
    )
    room_id = Varchar(
        length=255,
        default=None,
        required=True,
        help_text="The platform's id of the group or channel.",
    )
    event_metadata = JSONB(
        null=True, default=None, help_text="Details of the event, a JSON object."
    )
    occurred_at = Timestamptz(help_text="When it happened, as the platform says.")
    source_id = Varchar(
        length=255,
        null=True,
        default=None,
        help_text="The platform's own id of the event: delivered twice, it is stored once.",
    )

    # A room's ids grow with time, so new events land side by side in it, not all over it.
    participation_source_id_key = Unique([platform, room_id, source_id, event_type, member_id])

    participation_event_type_check = Check(checks.upper_case_name("event_type"))
    participation_platform_check = Check(checks.lower_case_name("platform"))
    participation_room_id_check = Check(checks.not_blank("room_id"))
    participation_source_id_check = Check(checks.not_blank("source_id"))
    participation_event_metadata_check = Check(checks.json_object("event_metadata"))

    participation_event_metadata_readable_check = Check(checks.readable_json("event_metadata"))
    participation_occurred_at_range_check = Check(checks.in_range("occurred_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """An event shows as who did what."""
        return Readable(template="%s %s", columns=[cls.member_id, cls.event_type])
