"""Participation events: the messages, reactions and voice stays of members, each stored once."""

from enum import StrEnum

from piccolo.columns import JSONB, UUID, ForeignKey, OnDelete, OnUpdate, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember


class EventType(StrEnum):
    """The event types that highlights count; any other upper-case name can be stored, too."""

    MESSAGE = "MESSAGE"
    REACTION = "REACTION"
    VOICE = "VOICE"


class Platform(StrEnum):
    """The platforms of the community; any other lower-case name can be stored, too."""

    TELEGRAM = "telegram"
    DISCORD = "discord"
    GITHUB = "github"
    ELIZAOS = "elizaos"


class MemberParticipation(
    Table,
    tablename="member_participation",
    db=engine,
    help_text="The messages, reactions and other events of members. Bots write them.",
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
    occurred_at = Timestamptz(
        help_text="The time of the event, as the platform gives it: the start of a VOICE event."
    )
    source_id = Varchar(
        length=255,
        null=True,
        default=None,
        help_text="The platform's id of the event. An event that arrives twice is stored once.",
    )

    # The source ids of a room grow with time, so the entries of new events lie side by side.
    participation_source_id_key = Unique([platform, room_id, source_id, event_type, member_id])

    participation_event_type_check = Check(checks.upper_case_name("event_type"))
    participation_platform_check = Check(checks.lower_case_name("platform"))
    participation_room_id_check = Check(checks.not_blank("room_id"))
    participation_source_id_check = Check(checks.not_blank("source_id"))
    participation_event_metadata_check = Check(checks.json_object("event_metadata"))

    participation_event_metadata_readable_check = Check(checks.readable_json("event_metadata"))
    participation_occurred_at_range_check = Check(checks.in_range("occurred_at"))
    participation_voice_duration_check = Check(checks.voice_duration("event_metadata"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show an event as its member and its type."""
        return Readable(template="%s %s", columns=[cls.member_id, cls.event_type])
