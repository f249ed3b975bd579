"""The panel's tables: which columns, filters and order a manager meets, and what they may do by hand.

Statuses change by the forms alone, which know the rules and ask for a reason. By hand a manager mends what people
mistyped, adds contacts, newcomers and invitations, and takes members out of the lists.
"""

import json
from datetime import UTC, datetime
from typing import Any

from piccolo.apps.user.tables import BaseUser
from piccolo.table import Table
from piccolo_admin.endpoints import TableConfig
from piccolo_api.crud.endpoints import OrderBy, PiccoloCRUD
from piccolo_api.crud.validators import Validators
from piccolo_api.session_auth.tables import SessionsBase
from starlette.exceptions import HTTPException
from starlette.requests import Request

from community_directory.database import engine
from community_directory.errors import (
    InvalidInput,
    MemberBanned,
    MemberError,
    MemberExists,
    database_errors,
)
from community_directory.queries import invitations, members
from community_directory.queries.invitation_rows import effective_status_sql
from community_directory.settings import Settings
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    DirectoryAuditLog,
    MemberDailyHighlight,
    MemberParticipation,
    MemberRelationship,
    MemberStatus,
)
from community_directory.web.admin.crud import Row, Rules
from community_directory.web.admin.security import only_ended, with_password_hash

# The menu sorts its groups by name.
COMMUNITY, ENGAGEMENT, PANEL = "Community", "Engagement", "Panel"

SIDEBAR_LINKS = {
    "Insights": "./insights/",
    "To review": "#/community_members?status=pending",
    "Open invitations": "#/community_invitations?__view=open",
    "Expiring today": "#/community_invitations?__view=expiring_today",
    "Top reputation": "#/community_members?status=active&__order=-reputation_score",
    "Removed": "#/community_members?deleted_at__operator=not_null",
}

OPEN = "this.status = 'pending' AND this.expires_at > now()"
END_OF_TODAY = (
    "(date_trunc('day', now() AT TIME ZONE '{zone}') + interval '1 day') AT TIME ZONE '{zone}'"
)

MADE_BY_THE_DATABASE = frozenset(
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
    ]
)
MADE_BY_INVITING = frozenset(
    ["invitation_code", "status", "accepted_by", "accepted_at", "created_at", "updated_at"]
)
LABELS = {
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
    "changed_at": "When",
    "actor": "Who",
    "action": "What",
    "table_name": "Table",
}


ACTORS = {"expiry", "roll-up", "import", "demo", "bot", "erased"}
"""The names under which programs act."""


def tables(settings: Settings) -> list[tuple[TableConfig, Rules]]:
    """Every table of the panel, with its rules."""
    expiring_today = f"{OPEN} AND this.expires_at < {END_OF_TODAY.format(zone=settings.time_zone)}"
    return [
        _table(
            CommunityMember,
            columns="member_id name telegram_username primary_role country status reputation_score",
            filters="member_id name telegram_username telegram_id github_username organization primary_role country"
            " status reputation_tier reputation_score invited_by created_at last_active_at deleted_at",
            order="-created_at",
            group=COMMUNITY,
            rules=Rules(
                locked=MADE_BY_THE_DATABASE
                | {"telegram_id", "github_username", "status", "invited_by"},
                locked_when_new=MADE_BY_THE_DATABASE,
                add=_add_member,
                remove=_remove_member,
                present="this.deleted_at IS NULL",
                present_column="deleted_at",
                searched=frozenset(
                    {"name", "telegram_username", "organization", "github_username"}
                ),
                hidden=frozenset({"reputation_shortfall"}),
                labels=LABELS | {"member_id": "Number"},
            ),
        ),
        _table(
            CommunityInvitation,
            columns="invitation_code status created_by invited_telegram_username expires_at accepted_by created_at",
            filters="invitation_code status created_by accepted_by invited_telegram_username expires_at created_at",
            order="-created_at",
            group=COMMUNITY,
            rules=Rules(
                locked=MADE_BY_INVITING | {"created_by", "invited_telegram_username", "expires_at"},
                locked_when_new=MADE_BY_INVITING,
                add=_add_invitation,
                undeletable="An invitation is not deleted: cancel it with the form.",
                computed={"status": effective_status_sql("this")},
                views={"open": OPEN, "expiring_today": expiring_today},
                labels=LABELS,
            ),
        ),
        _table(
            MemberRelationship,
            columns="relationship_type entity_id_a entity_id_b created_at",
            filters="relationship_type entity_id_a entity_id_b created_at",
            order="-created_at",
            group=COMMUNITY,
            rules=Rules(
                locked=frozenset({"created_at"}),
                locked_when_new=frozenset({"created_at"}),
                labels=LABELS,
            ),
        ),
        _table(
            MemberParticipation,
            columns="occurred_at member_id event_type platform room_id",
            filters="member_id event_type platform room_id occurred_at",
            order="-occurred_at",
            group=ENGAGEMENT,
            rules=Rules(read_only=True, labels=LABELS),
        ),
        _table(
            MemberDailyHighlight,
            columns="highlight_date member_id message_count reaction_count voice_minutes reputation_earned",
            filters="member_id highlight_date message_count reputation_earned",
            order="-highlight_date -member_id",
            group=ENGAGEMENT,
            rules=Rules(read_only=True, labels=LABELS),
        ),
        _table(
            DirectoryAuditLog,
            columns="changed_at actor action table_name member_id reason",
            filters="member_id actor action table_name changed_at",
            order="-id",
            group=PANEL,
            # What names the row to a person is its member.
            rules=Rules(read_only=True, hidden=frozenset({"row_id"}), labels=LABELS),
        ),
        _table(
            BaseUser,
            columns="username email active admin superuser last_login",
            filters="username email active admin superuser last_login",
            order="username",
            group=PANEL,
            validators=Validators(every=[_superusers_only]),
            rules=Rules(
                # The audit log knows users by their names.
                locked=frozenset({"last_login", "username"}),
                locked_when_new=frozenset({"last_login"}),
                add=_add_user,
                prepare=with_password_hash,
            ),
        ),
        _table(
            SessionsBase,
            columns="id user_id expiry_date max_expiry_date",
            filters="user_id expiry_date max_expiry_date",
            order="-expiry_date",
            group=PANEL,
            validators=Validators(every=[_superusers_only, only_ended]),
            rules=Rules(locked=frozenset({"user_id", "token"}), hidden=frozenset({"token"})),
        ),
    ]


def _table(
    table: type[Table],
    *,
    columns: str,
    filters: str,
    order: str,
    group: str,
    rules: Rules,
    validators: Validators | None = None,
) -> tuple[TableConfig, Rules]:
    """A table's configuration from the names of its columns; the first one links to the row."""
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
    return config, rules


async def _add_member(values: Row, actor: str) -> object:
    status = values.pop("status", MemberStatus.NOT_MEMBER)
    if status not in (MemberStatus.NOT_MEMBER, MemberStatus.PENDING):
        raise InvalidInput(
            "Who is new is no member or pending: the forms take them further.", field="status"
        )
    fee: dict[Any, Any] = {
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


async def _add_user(values: Row, _: str) -> object:
    for name in ("username", "password", "email"):
        if not values.get(name):
            raise InvalidInput("This can't be empty.", field=name)
    username = values["username"]
    alike = "SELECT 1 FROM piccolo_user WHERE lower(username) = lower($1)"
    if username in ACTORS or ":" in username or await engine.fetch(alike, username):
        raise InvalidInput(
            "This name is taken: the audit log would mix the two up.", field="username"
        )
    user = BaseUser(**values)  # type: ignore[no-untyped-call]
    with database_errors():
        await user.save()
    return user.id


async def _remove_member(row: Row, actor: str) -> object:
    return await members.remove(row["member_id"], actor=actor)


async def _add_invitation(values: Row, actor: str) -> object:
    """Invite as the bots do: only an active member can, and whoever is invited already keeps their code."""
    expires_at = values.get("expires_at")
    options: dict[str, Any] = {"valid_for": expires_at - datetime.now(UTC)} if expires_at else {}
    username = values.get("invited_telegram_username")
    try:
        made = await invitations.create(
            created_by=values["created_by"], telegram_username=username, actor=actor, **options
        )
    except MemberError as error:
        raise InvalidInput(str(error), field="created_by") from error
    except InvalidInput as error:
        raise InvalidInput(
            str(error), field="expires_at" if error.field == "valid_for" else error.field
        ) from error
    return made.invitation_id


def _superusers_only(piccolo_crud: PiccoloCRUD, request: Request) -> None:  # noqa: ARG001  called by name
    if not request.user.user.superuser:
        raise HTTPException(
            status_code=403, detail="Only a superuser sees who may enter the panel."
        )
