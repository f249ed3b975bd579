"""The tables of the panel: their columns, filters and order, and what managers may change.

A member's status changes only in the workspace, which checks the rules and asks for a reason. In
the tables managers correct typing errors, add contacts, newcomers and invitations, and remove
members.
"""

import json
from datetime import UTC, datetime
from typing import Any

from piccolo.apps.user.tables import BaseUser
from piccolo.columns import Column
from piccolo.table import Table
from piccolo_admin.endpoints import TableConfig
from piccolo_api.crud.endpoints import OrderBy
from piccolo_api.crud.validators import Validators
from piccolo_api.session_auth.tables import SessionsBase

from community_directory.errors import (
    BotRefused,
    InvalidInput,
    MemberBanned,
    MemberError,
    MemberExists,
    database_errors,
)
from community_directory.queries import invitations, members
from community_directory.queries.invitation_rows import effective_status_sql
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    DirectoryAuditLog,
    DirectoryBot,
    DirectoryMerge,
    MemberAccount,
    MemberDailyHighlight,
    MemberNote,
    MemberParticipation,
    MemberPermission,
    MemberRelationship,
    MemberRequest,
    MemberStatus,
)
from community_directory.web.admin.policy import ACTIONS, RowData, TablePolicy
from community_directory.web.admin.rows import superusers_only
from community_directory.web.admin.security import hash_new_password
from community_directory.web.admin.users import is_ambiguous_username

# The menu sorts its groups by name.
COMMUNITY_GROUP, ENGAGEMENT_GROUP, PANEL_GROUP = "Community", "Engagement", "Panel"

SIDEBAR_LINKS = {"Workspace": "../"}

READ_ONLY = dict.fromkeys(ACTIONS.values(), "This table is read-only.")

OPEN_CONDITION = "this.status = 'pending' AND this.expires_at > now()"
OVERDUE_CONDITION = "this.status = 'pending' AND this.expires_at <= now()"
STATUS_CONDITIONS = {
    "pending": OPEN_CONDITION,
    "expired": f"(this.status = 'expired' OR {OVERDUE_CONDITION})",
    "accepted": "this.status = 'accepted'",
    "cancelled": "this.status = 'cancelled'",
}
"""The conditions of the effective status, which an index of the stored one serves."""

# With NOT IN, PostgreSQL would estimate that half of the events are those of bots, and the count of
# a long list is such an estimate.
NOT_OF_A_BOT = """NOT EXISTS (
    SELECT FROM community_members AS bot WHERE bot.is_bot AND bot.member_id = this.member_id
)"""

GENERATED_MEMBER_COLUMNS = frozenset(
    [
        "id",
        "member_id",
        "github_verified",
        "github_verified_at",
        "github_profile_data",
        "reputation_score",
        "reputation_tier",
        "created_at",
        "updated_at",
        "last_active_at",
        "deleted_at",
        "is_bot",
        "merged_into",
        "suspended_until",
    ]
)
GENERATED_INVITATION_COLUMNS = frozenset(
    ["invitation_code", "status", "accepted_by", "accepted_at", "created_at", "updated_at"]
)
COLUMN_LABELS = {
    "member_id": "Member",
    "telegram_id": "Telegram id",
    "telegram_username": "Telegram username",
    "github_username": "GitHub username",
    "github_verified": "GitHub verified",
    "github_verified_at": "GitHub verified at",
    "github_profile_data": "GitHub profile",
    "profile_data": "Profile",
    "primary_role": "Role",
    "registration_fee_tx_hash": "Registration fee transaction",
    "created_at": "Added at",
    "updated_at": "Last edited at",
    "deleted_at": "Removed at",
    "invited_telegram_username": "For the Telegram username",
    "invitation_code": "Code",
    "created_by": "Invited by",
    "reputation_score": "Reputation",
    "reputation_tier": "Tier",
    "is_bot": "Bot",
    "highlight_date": "Day",
    "message_count": "Messages",
    "reaction_count": "Reactions",
    "reputation_earned": "Points",
    "event_type": "Event",
    "event_metadata": "Details",
    "room_id": "Room",
    "source_id": "Id on the platform",
    "relationship_type": "Type",
    "entity_id_a": "From",
    "entity_id_b": "To",
    "account_id": "Account id",
    "proof": "Proof",
    "proved_at": "Proved at",
    "linked_at": "Linked at",
    "details": "Details",
    "merged_into": "Merged into",
    "duplicate_id": "Merged member",
    "into_id": "Into",
    "merged_at": "Merged at",
    "undone_at": "Undone at",
    "permission": "Permission",
    "granted_at": "Granted at",
    "kind": "Request",
    "asked_at": "Asked at",
    "text": "Note",
    "written_at": "Written at",
    "suspended_until": "Suspended until",
    "changed_at": "When",
    "actor": "Who",
    "action": "What",
    "table_name": "Table",
}

PanelTable = tuple[TableConfig, TablePolicy]


def configure_tables() -> list[PanelTable]:
    """Return the configuration and the policy of every table of the panel."""
    return [*_community_tables(), *_engagement_tables(), *_panel_tables()]


def _community_tables() -> list[PanelTable]:
    return [
        _table(
            CommunityMember,
            columns="member_id name telegram_username primary_role country status reputation_score",
            filters="member_id name telegram_username telegram_id github_username organization"
            " primary_role country status reputation_tier reputation_score invited_by created_at"
            " last_active_at deleted_at is_bot",
            order="-created_at",
            group=COMMUNITY_GROUP,
            policy=TablePolicy(
                locked=GENERATED_MEMBER_COLUMNS
                | {"telegram_id", "github_username", "status", "invited_by"},
                locked_when_new=GENERATED_MEMBER_COLUMNS,
                add=_add_member,
                remove=_remove_member,
                removed_at_column="deleted_at",
                listed={
                    "deleted_at": "this.deleted_at IS NULL",
                    "is_bot": "NOT this.is_bot",
                    "merged_into": "this.merged_into IS NULL",
                },
                keeps_merged_numbers=True,
                value_indexes={"primary_role": ("primary_role",), "country": ("country",)},
                searched=frozenset(
                    {"name", "telegram_username", "organization", "github_username"}
                ),
                hidden=frozenset({"reputation_shortfall", "reputation_withheld"}),
                labels=COLUMN_LABELS | {"member_id": "Number"},
            ),
        ),
        _table(
            CommunityInvitation,
            columns="invitation_code status created_by invited_telegram_username expires_at"
            " accepted_by created_at",
            filters="invitation_code status created_by accepted_by invited_telegram_username"
            " expires_at created_at",
            order="-created_at",
            group=COMMUNITY_GROUP,
            policy=TablePolicy(
                locked=GENERATED_INVITATION_COLUMNS
                | {"created_by", "invited_telegram_username", "expires_at"},
                locked_when_new=GENERATED_INVITATION_COLUMNS,
                add=_add_invitation,
                refusals={
                    "delete": "Invitations can't be deleted. Cancel them on the page Invitations."
                },
                computed={"status": effective_status_sql("this")},
                value_conditions={"status": STATUS_CONDITIONS},
                exact={
                    "invitation_code": "this.invitation_code IN ({0}, upper({0}), lower({0}))",
                    "invited_telegram_username": "lower(this.invited_telegram_username)"
                    " = lower({0})",
                },
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            MemberAccount,
            columns="platform account_id username member_id proof proved_at linked_at",
            filters="platform account_id username member_id proof linked_at",
            order="-linked_at",
            group=COMMUNITY_GROUP,
            policy=TablePolicy(
                refusals=dict.fromkeys(
                    ACTIONS.values(), "Link and split accounts on the member's page."
                ),
                value_indexes={"platform": ("platform",)},
                exact={"username": "lower(this.username) = lower({0})"},
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            MemberPermission,
            columns="permission member_id granted_at",
            filters="permission member_id granted_at",
            order="-granted_at",
            group=COMMUNITY_GROUP,
            policy=TablePolicy(
                refusals=dict.fromkeys(
                    ACTIONS.values(),
                    "Change permissions on the member's page.",
                ),
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            MemberRequest,
            columns="kind member_id asked_at",
            filters="kind member_id asked_at",
            order="-asked_at",
            group=COMMUNITY_GROUP,
            policy=TablePolicy(
                refusals=dict.fromkeys(
                    ("add", "edit"),
                    "Members ask by themselves. A request that is settled can be deleted here.",
                ),
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            MemberNote,
            columns="text member_id written_at",
            filters="member_id written_at",
            order="-written_at",
            group=COMMUNITY_GROUP,
            policy=TablePolicy(
                refusals=dict.fromkeys(
                    ACTIONS.values(), "Write and remove notes on the page of the member."
                ),
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            DirectoryMerge,
            columns="merged_at duplicate_id into_id undone_at",
            filters="duplicate_id into_id merged_at undone_at",
            order="-merged_at",
            group=COMMUNITY_GROUP,
            policy=TablePolicy(
                refusals=dict.fromkeys(
                    ACTIONS.values(), "Merge members, and undo it, on the member's page."
                ),
                # What the fields of the members were is personal, and a list has no use for it.
                hidden=frozenset({"before"}),
                keeps_merged_numbers=True,
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            MemberRelationship,
            columns="relationship_type entity_id_a entity_id_b created_at",
            filters="relationship_type entity_id_a entity_id_b created_at",
            order="-created_at",
            group=COMMUNITY_GROUP,
            policy=TablePolicy(
                locked=frozenset({"created_at"}),
                locked_when_new=frozenset({"created_at"}),
                value_indexes={"relationship_type": ("relationship_type",)},
                labels=COLUMN_LABELS,
            ),
        ),
    ]


def _engagement_tables() -> list[PanelTable]:
    return [
        _table(
            MemberParticipation,
            columns="occurred_at member_id event_type platform room_id",
            filters="member_id event_type platform room_id occurred_at",
            order="-occurred_at",
            group=ENGAGEMENT_GROUP,
            policy=TablePolicy(
                refusals=READ_ONLY,
                listed={"member_id": NOT_OF_A_BOT},
                value_indexes={
                    "event_type": ("event_type",),
                    "platform": ("platform",),
                    "room_id": ("platform", "room_id"),
                },
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            MemberDailyHighlight,
            columns="highlight_date member_id message_count reaction_count voice_minutes"
            " reputation_earned",
            filters="member_id highlight_date message_count reputation_earned",
            order="-highlight_date -member_id",
            group=ENGAGEMENT_GROUP,
            policy=TablePolicy(
                refusals=READ_ONLY,
                unique_key=("highlight_date", "member_id"),
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            DirectoryBot,
            columns="telegram_id name created_at",
            filters="telegram_id name created_at",
            order="-created_at",
            group=ENGAGEMENT_GROUP,
            policy=TablePolicy(
                refusals=dict.fromkeys(
                    ("add", "edit"),
                    "Imports add bots. A bot that turns out to be a person can be deleted here.",
                ),
                labels=COLUMN_LABELS,
            ),
        ),
    ]


def _panel_tables() -> list[PanelTable]:
    return [
        _table(
            DirectoryAuditLog,
            columns="changed_at actor action table_name member_id reason",
            filters="member_id actor action table_name changed_at",
            order="-changed_at",
            group=PANEL_GROUP,
            # The column member_id identifies the row for people.
            policy=TablePolicy(
                refusals=READ_ONLY,
                hidden=frozenset({"row_id"}),
                exact={"actor": "lower(this.actor) = lower({0})"},
                keeps_merged_numbers=True,
                labels=COLUMN_LABELS,
            ),
        ),
        _table(
            BaseUser,
            columns="username email active admin superuser last_login",
            filters="username email active admin superuser last_login",
            order="username",
            group=PANEL_GROUP,
            validators=Validators(every=[superusers_only]),
            policy=TablePolicy(
                # The audit log identifies users by name.
                locked=frozenset({"last_login", "username"}),
                locked_when_new=frozenset({"last_login"}),
                add=_add_user,
                prepare=hash_new_password,
            ),
        ),
        _table(
            SessionsBase,
            columns="id user_id expiry_date max_expiry_date",
            filters="user_id expiry_date max_expiry_date",
            order="-expiry_date",
            group=PANEL_GROUP,
            validators=Validators(every=[superusers_only]),
            policy=TablePolicy(
                # Whoever writes a session could act as any user.
                refusals=dict.fromkeys(("add", "edit"), "Sessions can only be ended."),
                hidden=frozenset({"token"}),
            ),
        ),
    ]


def _table(
    table: type[Table],
    *,
    columns: str,
    filters: str,
    order: str,
    group: str,
    policy: TablePolicy,
    validators: Validators | None = None,
) -> PanelTable:
    """Return a table's configuration; in lists the first column links to the row."""
    column = table._meta.get_column_by_name
    visible = [column(name) for name in columns.split()]
    config = TableConfig(
        table,
        visible_columns=visible,
        visible_filters=[column(name) for name in filters.split()],
        link_column=visible[0],
        order_by=[
            OrderBy(column(name.lstrip("-")), ascending=name[0] != "-") for name in order.split()
        ],
        menu_group=group,
        validators=validators,
    )
    return config, policy


async def _add_member(values: RowData, actor: str) -> object:
    status = values.pop("status", MemberStatus.NOT_MEMBER)
    if status not in (MemberStatus.NOT_MEMBER, MemberStatus.PENDING):
        raise InvalidInput(
            "Choose Not member or Pending. Change the status on their page later.",
            field="status",
        )
    fee: dict[Column | str, Any] = {
        name: values.pop(name)
        for name in ("registration_fee_paid", "registration_fee_tx_hash")
        if name in values
    }
    profile = values.pop("profile_data", None)
    try:
        member = await members.add(
            **values, status=status, profile_data=profile and json.loads(profile), actor=actor
        )
    except (MemberExists, MemberBanned) as error:
        raise InvalidInput(str(error), field="telegram_id") from error
    if any(fee.values()):
        await CommunityMember.update(fee).where(CommunityMember.id == member.id)
    return member.id


async def _remove_member(row: RowData, actor: str) -> object:
    return await members.remove(row["member_id"], actor=actor)


async def _add_invitation(values: RowData, actor: str) -> object:
    """Create an invitation with the query helper, as bots do.

    Only an active member can invite. Inviting a username again extends its open invitation.
    """
    expires_at = values.get("expires_at")
    options: dict[str, Any] = {"valid_for": expires_at - datetime.now(UTC)} if expires_at else {}
    try:
        invitation = await invitations.create(
            created_by=values["created_by"],
            telegram_username=values.get("invited_telegram_username"),
            actor=actor,
            **options,
        )
    except (MemberError, BotRefused) as error:
        raise InvalidInput(str(error), field="created_by") from error
    except InvalidInput as error:
        field = "expires_at" if error.field == "valid_for" else error.field
        raise InvalidInput(str(error), field=field) from error
    return invitation.invitation_id


async def _add_user(values: RowData, _: str) -> object:
    for name in ("username", "password", "email"):
        if not values.get(name):
            raise InvalidInput("This can't be empty.", field=name)
    if await is_ambiguous_username(values["username"]):
        raise InvalidInput(
            "This name is taken: the audit log could not tell the two apart. Choose another name.",
            field="username",
        )
    user = BaseUser(**values)  # type: ignore[no-untyped-call]
    with database_errors():
        await user.save()
    return user.id
