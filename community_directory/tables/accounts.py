"""Accounts: each belongs to one person, who can have several of them on several platforms.

Triggers keep the accounts that the columns of `community_members` name. They follow those columns,
and never the other way round.
"""

from enum import StrEnum

from piccolo.columns import JSONB, UUID, ForeignKey, OnDelete, OnUpdate, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember


class AccountProof(StrEnum):
    """The ways to prove that an account belongs to a person."""

    PLATFORM = "platform"
    """The platform named it: the account wrote to a bot, is in an export, or was verified."""
    CODE = "code"
    """The person typed a one-time code, which they got on one account, on the other one."""
    MANAGER = "manager"
    """A manager or an operator linked it."""
    STATED = "stated"
    """The person's profile names it, and nobody has proved it."""


class MemberAccount(
    Table,
    tablename="member_accounts",
    db=engine,
    help_text="The accounts of each person on Telegram, Discord, GitHub, ElizaOS and others.",
):
    id = UUID(primary_key=True)
    platform = Varchar(
        length=50,
        default=None,
        required=True,
        help_text="telegram, discord, github, elizaos or another lower-case name.",
    )
    account_id = Varchar(
        length=255,
        default=None,
        required=True,
        help_text="The platform's own id of the account. On GitHub it is the username in lower "
        "case if the number is not known.",
    )
    username = Varchar(
        length=255, null=True, default=None, help_text="The present username, without an @."
    )
    member_id = ForeignKey(
        CommunityMember,
        target_column=CommunityMember.member_id,
        null=False,
        default=None,
        required=True,
        on_delete=OnDelete.cascade,
        on_update=OnUpdate.restrict,
    )
    proof = Varchar(
        length=20,
        default=AccountProof.MANAGER.value,
        choices=AccountProof,
        help_text="How it was proved that the account belongs to the person.",
    )
    proved_at = Timestamptz(
        null=True, help_text="The time of the proof; empty if the profile only names the account."
    )
    linked_at = Timestamptz()
    details = JSONB(
        null=True,
        default=None,
        help_text="Of an ElizaOS entity: its agent_id, and the seed that its id was made from.",
    )

    # An account belongs to one person.
    member_account_idx = Unique([platform, account_id])

    member_account_platform_check = Check(checks.lower_case_name("platform"))
    member_account_id_check = Check(checks.platform_account("platform", "account_id"))
    member_account_username_check = Check(checks.no_space("username"))
    member_account_proof_check = Check(checks.one_of("proof", AccountProof))
    member_account_proved_at_check = Check("(proof = 'stated') = (proved_at IS NULL)")
    member_account_details_check = Check(checks.json_object("details"))

    member_account_details_readable_check = Check(checks.readable_json("details"))
    member_account_proved_at_range_check = Check(checks.in_range("proved_at"))
    member_account_linked_at_range_check = Check(checks.in_range("linked_at"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show an account as its platform and id."""
        return Readable(template="%s %s", columns=[cls.platform, cls.account_id])
