"""Members and contacts: every person whom the community knows, including banned members."""

from enum import StrEnum

from piccolo.columns import (
    JSONB,
    UUID,
    Boolean,
    ForeignKey,
    Integer,
    OnDelete,
    OnUpdate,
    Timestamptz,
    Varchar,
)
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks


class MemberStatus(StrEnum):
    """The status of a person; `not_member` is the status of a contact."""

    NOT_MEMBER = "not_member"
    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    BANNED = "banned"


class ReputationTier(StrEnum):
    """The names of the five ranges of the reputation score, lowest first."""

    NOVICE = "Novice"
    CONTRIBUTOR = "Contributor"
    ACTIVE_DEVELOPER = "Active Developer"
    EXPERIENCED = "Experienced"
    EXPERT = "Expert"


class CommunityMember(
    Table,
    tablename="community_members",
    db=engine,
    help_text="Every person whom the community knows: members and contacts.",
):
    id = UUID(primary_key=True)
    member_id = Varchar(
        length=20,
        default="",
        unique=True,
        help_text="The member's number, such as #247. Leave it empty to get the next one. "
        "It can't be changed later.",
    )
    telegram_id = Varchar(
        length=255,
        default=None,
        required=True,
        help_text="The numeric id of the Telegram account.",
    )
    telegram_username = Varchar(
        length=255, null=True, default=None, help_text="Write it without the leading @."
    )
    name = Varchar(length=255, default=None, required=True, help_text="The name that others see.")
    primary_role = Varchar(
        length=50,
        default=None,
        required=True,
        help_text="The person's main role, for example developer.",
    )
    organization = Varchar(length=255, null=True, default=None)
    country = Varchar(length=100, null=True, default=None)

    github_username = Varchar(
        length=255, null=True, default=None, help_text="Write it without the leading @."
    )
    github_verified = Boolean(
        default=False,
        help_text="Whether the person proved that the account is theirs. "
        "If so, fill in the time of the verification, too.",
    )
    github_verified_at = Timestamptz(null=True, default=None)
    github_profile_data = JSONB(
        null=True, default=None, help_text="GitHub's data about the account, a JSON object."
    )

    status = Varchar(length=20, default=MemberStatus.NOT_MEMBER.value, choices=MemberStatus)
    reputation_score = Integer(default=0)
    reputation_tier = Varchar(
        length=50,
        null=True,
        default=ReputationTier.NOVICE.value,
        choices=ReputationTier,
        help_text="The tier of the score. The database sets it.",
    )

    invited_by: ForeignKey["CommunityMember"] = ForeignKey(
        "self",
        target_column="member_id",
        null=True,
        default=None,
        on_delete=OnDelete.restrict,
        on_update=OnUpdate.restrict,
        help_text="The member who invited this one.",
    )
    registration_fee_paid = Boolean(null=True, default=False)
    registration_fee_tx_hash = Varchar(
        length=255,
        null=True,
        default=None,
        help_text="The hash of the transaction that paid the registration fee.",
    )

    profile_data = JSONB(
        null=True, default=None, help_text="Other data of the profile, a JSON object."
    )

    created_at = Timestamptz()
    updated_at = Timestamptz(
        help_text="The last edit, except for activity and points. The database sets the time."
    )
    last_active_at = Timestamptz(
        null=True, default=None, help_text="The time of the last event, accurate to about a minute."
    )
    deleted_at = Timestamptz(
        null=True,
        default=None,
        help_text="The time at which the member was removed. The data is kept.",
    )
    reputation_shortfall = Integer(
        default=0,
        help_text="The points by which the sum is below zero. The score itself is then zero.",
    )
    is_bot = Boolean(
        default=False,
        help_text="Whether the account is a bot. A bot earns nothing, and is in no list and count.",
    )
    reputation_withheld = Integer(
        default=0,
        help_text="The points of a bot, without those of highlights. They count again if the "
        "account turns out to be a person.",
    )
    merged_into: ForeignKey["CommunityMember"] = ForeignKey(
        "self",
        target_column="member_id",
        null=True,
        default=None,
        on_delete=OnDelete.restrict,
        on_update=OnUpdate.restrict,
        help_text="The member who has everything of this one since the two were merged.",
    )

    suspended_until = Timestamptz(
        null=True,
        default=None,
        help_text="The time at which the suspension ends. Leave it empty if it has no end.",
    )

    member_telegram_id_idx = Unique([telegram_id])

    member_number_check = Check("member_id ~ '^#[1-9][0-9]*$'")
    member_github_verified_check = Check(
        "NOT github_verified OR (github_username IS NOT NULL AND github_verified_at IS NOT NULL)"
    )
    member_github_profile_data_check = Check(checks.json_object("github_profile_data"))
    member_status_check = Check(checks.one_of("status", MemberStatus))
    member_reputation_score_check = Check(checks.not_negative("reputation_score"))
    member_reputation_shortfall_check = Check(checks.not_negative("reputation_shortfall"))
    member_reputation_tier_check = Check(checks.one_of("reputation_tier", ReputationTier))
    member_invited_by_check = Check("invited_by <> member_id")
    member_profile_data_check = Check(checks.json_object("profile_data"))
    member_bot_reputation_check = Check(
        "CASE WHEN is_bot THEN reputation_score = 0 AND reputation_shortfall = 0 "
        "ELSE reputation_withheld = 0 END"
    )
    member_merged_into_check = Check("merged_into <> member_id")
    # The columns of a merged member name no account any more.
    member_merged_check = Check(
        "merged_into IS NULL OR (deleted_at IS NOT NULL AND telegram_id LIKE 'merged:%'"
        " AND NOT github_verified)"
    )

    member_suspended_until_check = Check("suspended_until IS NULL OR status = 'suspended'")
    member_suspended_until_range_check = Check(checks.in_range("suspended_until"))

    member_github_profile_data_readable_check = Check(checks.readable_json("github_profile_data"))
    member_profile_data_readable_check = Check(checks.readable_json("profile_data"))
    member_github_verified_at_range_check = Check(checks.in_range("github_verified_at"))
    member_created_at_range_check = Check(checks.in_range("created_at"))
    member_updated_at_range_check = Check(checks.in_range("updated_at"))
    member_last_active_at_range_check = Check(checks.in_range("last_active_at"))
    member_deleted_at_range_check = Check(checks.in_range("deleted_at"))

    # An account has one spelling: another one would be another member.
    member_telegram_id_format_check = Check(checks.account_id("telegram_id"))
    member_telegram_username_format_check = Check(checks.telegram_username("telegram_username"))
    member_github_username_format_check = Check(
        checks.matches("github_username", checks.GITHUB_USERNAME, checks.MAX_GITHUB_USERNAME_LENGTH)
    )
    member_discord_id_check = Check(checks.account_number("(profile_data ->> 'discord_id')"))
    member_name_visible_check = Check(checks.visible("name"))
    member_name_one_line_check = Check(checks.on_one_line("name"))
    member_primary_role_visible_check = Check(checks.visible("primary_role"))
    member_primary_role_one_line_check = Check(checks.on_one_line("primary_role"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show a person as number and name, such as "#247 Ana García"."""
        return Readable(template="%s %s", columns=[cls.member_id, cls.name])
