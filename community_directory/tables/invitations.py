"""Invitations: each has a code with which one person can join, once, while it is open."""

import secrets
from datetime import timedelta
from enum import StrEnum

from piccolo.columns import UUID, ForeignKey, OnDelete, OnUpdate, Timestamptz, Varchar
from piccolo.columns.defaults.timestamptz import TimestamptzOffset
from piccolo.columns.readable import Readable
from piccolo.constraints import Check, Unique
from piccolo.table import Table

from community_directory.database import engine
from community_directory.tables import checks
from community_directory.tables.members import CommunityMember

DEFAULT_VALIDITY = timedelta(days=3)
"""The time that an invitation stays open, unless its creator chooses another one."""
CODE_LENGTH = 16
CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Capital letters and digits without 0, O, 1, I, L and U, which people confuse with others."""


def new_code(length: int = CODE_LENGTH) -> str:
    """Return a random code of so many of 30 characters: 16 of them are 78 bits."""
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(length))


class InvitationStatus(StrEnum):
    """The status of an invitation; a pending one counts as expired after `expires_at`."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class CommunityInvitation(
    Table,
    tablename="community_invitations",
    db=engine,
    help_text="Invitations to the community. One person can join once with each code.",
):
    invitation_id = UUID(primary_key=True)
    invitation_code = Varchar(
        length=16,
        default=None,
        required=True,
        help_text="8 to 16 letters and digits. Everybody who knows the code can join with it.",
    )
    created_by = ForeignKey(
        CommunityMember,
        target_column=CommunityMember.member_id,
        null=False,
        default=None,
        required=True,
        on_delete=OnDelete.restrict,
        on_update=OnUpdate.restrict,
        help_text="The member who created the invitation.",
    )
    invited_telegram_username = Varchar(
        length=255,
        null=True,
        default=None,
        help_text="The username of the only person who can use the code, without the leading @.",
    )
    status = Varchar(length=20, default=InvitationStatus.PENDING.value, choices=InvitationStatus)
    # Hours, because in the session's time zone a day on which the clocks change has 23 or 25 hours.
    expires_at = Timestamptz(
        default=TimestamptzOffset(hours=DEFAULT_VALIDITY // timedelta(hours=1))
    )
    accepted_by = ForeignKey(
        CommunityMember,
        target_column=CommunityMember.member_id,
        null=True,
        default=None,
        on_delete=OnDelete.restrict,
        on_update=OnUpdate.restrict,
        help_text="The member who joined with the code.",
    )
    accepted_at = Timestamptz(null=True, default=None)
    created_at = Timestamptz()
    updated_at = Timestamptz(help_text="The last change; the database sets the time.")

    invitation_code_idx = Unique([invitation_code])

    invitation_code_check = Check(
        "length(invitation_code) >= 8 AND invitation_code ~ '^[A-Za-z0-9]+$'"
    )
    invitation_status_check = Check(checks.one_of("status", InvitationStatus))
    invitation_accepted_by_check = Check("(status = 'accepted') = (accepted_by IS NOT NULL)")
    invitation_accepted_at_check = Check("(accepted_by IS NULL) = (accepted_at IS NULL)")
    invitation_self_check = Check("accepted_by <> created_by")

    invitation_expires_at_range_check = Check(checks.in_range("expires_at"))
    invitation_accepted_at_range_check = Check(checks.in_range("accepted_at"))
    invitation_created_at_range_check = Check(checks.in_range("created_at"))
    invitation_updated_at_range_check = Check(checks.in_range("updated_at"))

    invitation_username_format_check = Check(checks.telegram_username("invited_telegram_username"))

    @classmethod
    def get_readable(cls) -> Readable:
        """Show an invitation as its code."""
        return Readable(template="%s", columns=[cls.invitation_code])
