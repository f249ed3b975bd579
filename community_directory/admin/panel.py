"""The panel's tables: which columns, filters and order a manager meets, and which tables nobody writes by hand."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import piccolo_admin.endpoints
from piccolo.apps.user.tables import BaseUser
from piccolo_admin.endpoints import AdminRouter, TableConfig, create_admin
from piccolo_api.crud.endpoints import OrderBy, PiccoloCRUD
from piccolo_api.crud.validators import Validators
from piccolo_api.session_auth.tables import SessionsBase
from starlette.exceptions import HTTPException
from starlette.requests import Request

from community_directory.admin.crud import DirectoryCRUD
from community_directory.settings import Settings
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    DirectoryAuditLog,
    MemberDailyHighlight,
    MemberParticipation,
    MemberRelationship,
)

# The menu sorts its groups by name.
COMMUNITY, ENGAGEMENT, PANEL = "Community", "Engagement", "Panel"

SIDEBAR_LINKS = {
    "Insights": "./insights/",
    "Newcomers to review": "#/community_members?status=pending&__order=-created_at",
    "Pending invitations": "#/community_invitations?status=pending&__order=-expires_at",
    "Top reputation": "#/community_members?status=active&__order=-reputation_score",
}


def create_panel(settings: Settings) -> AdminRouter:
    """The ASGI app of the panel. Raises RuntimeError when this version of Piccolo Admin doesn't fit."""
    # It logs what the database refused with the whole row; whoever typed it gets the answer.
    logging.getLogger("piccolo_api.crud.exceptions").disabled = True
    tables = _tables()
    with _directory_crud(tables):
        panel: AdminRouter = create_admin(
            tables,
            auto_include_related=False,
            site_name=settings.site_name,
            production=settings.production,
            allowed_hosts=settings.allowed_hosts,
            sidebar_links=SIDEBAR_LINKS,
        )
    # Whoever is sent from Insights to the sign-in is taken back there.
    panel.template = panel.template.replace("</body>", '<script src="./insights/static/return.js"></script></body>')
    return panel


def _tables() -> list[TableConfig]:
    return [
        TableConfig(
            CommunityMember,
            visible_columns=[
                CommunityMember.member_id,
                CommunityMember.name,
                CommunityMember.telegram_username,
                CommunityMember.primary_role,
                CommunityMember.country,
                CommunityMember.status,
                CommunityMember.reputation_score,
            ],
            visible_filters=[
                CommunityMember.member_id,
                CommunityMember.name,
                CommunityMember.telegram_username,
                CommunityMember.telegram_id,
                CommunityMember.github_username,
                CommunityMember.organization,
                CommunityMember.primary_role,
                CommunityMember.country,
                CommunityMember.status,
                CommunityMember.reputation_tier,
                CommunityMember.reputation_score,
                CommunityMember.invited_by,
                CommunityMember.created_at,
                CommunityMember.last_active_at,
                CommunityMember.deleted_at,
            ],
            link_column=CommunityMember.member_id,
            order_by=[OrderBy(CommunityMember.created_at, ascending=False)],
            menu_group=COMMUNITY,
        ),
        TableConfig(
            CommunityInvitation,
            visible_columns=[
                CommunityInvitation.invitation_code,
                CommunityInvitation.status,
                CommunityInvitation.created_by,
                CommunityInvitation.invited_telegram_username,
                CommunityInvitation.expires_at,
                CommunityInvitation.accepted_by,
            ],
            visible_filters=[
                CommunityInvitation.invitation_code,
                CommunityInvitation.status,
                CommunityInvitation.created_by,
                CommunityInvitation.accepted_by,
                CommunityInvitation.invited_telegram_username,
                CommunityInvitation.expires_at,
                CommunityInvitation.created_at,
            ],
            link_column=CommunityInvitation.invitation_code,
            order_by=[OrderBy(CommunityInvitation.created_at, ascending=False)],
            menu_group=COMMUNITY,
        ),
        TableConfig(
            MemberRelationship,
            visible_columns=[
                MemberRelationship.relationship_type,
                MemberRelationship.entity_id_a,
                MemberRelationship.entity_id_b,
                MemberRelationship.created_at,
            ],
            link_column=MemberRelationship.relationship_type,
            order_by=[OrderBy(MemberRelationship.created_at, ascending=False)],
            menu_group=COMMUNITY,
        ),
        TableConfig(
            MemberParticipation,
            visible_columns=[
                MemberParticipation.occurred_at,
                MemberParticipation.member_id,
                MemberParticipation.event_type,
                MemberParticipation.platform,
                MemberParticipation.room_id,
            ],
            visible_filters=[
                MemberParticipation.member_id,
                MemberParticipation.event_type,
                MemberParticipation.platform,
                MemberParticipation.room_id,
                MemberParticipation.occurred_at,
            ],
            link_column=MemberParticipation.occurred_at,
            order_by=[OrderBy(MemberParticipation.occurred_at, ascending=False)],
            menu_group=ENGAGEMENT,
            validators=Validators(every=[_read_only]),
        ),
        TableConfig(
            MemberDailyHighlight,
            visible_columns=[
                MemberDailyHighlight.highlight_date,
                MemberDailyHighlight.member_id,
                MemberDailyHighlight.message_count,
                MemberDailyHighlight.reaction_count,
                MemberDailyHighlight.voice_minutes,
                MemberDailyHighlight.reputation_earned,
            ],
            visible_filters=[
                MemberDailyHighlight.member_id,
                MemberDailyHighlight.highlight_date,
                MemberDailyHighlight.message_count,
                MemberDailyHighlight.reputation_earned,
            ],
            link_column=MemberDailyHighlight.highlight_date,
            order_by=[OrderBy(MemberDailyHighlight.highlight_date, ascending=False)],
            menu_group=ENGAGEMENT,
        ),
        TableConfig(
            DirectoryAuditLog,
            visible_columns=[
                DirectoryAuditLog.changed_at,
                DirectoryAuditLog.actor,
                DirectoryAuditLog.action,
                DirectoryAuditLog.table_name,
                DirectoryAuditLog.member_id,
                DirectoryAuditLog.reason,
            ],
            visible_filters=[
                DirectoryAuditLog.member_id,
                DirectoryAuditLog.actor,
                DirectoryAuditLog.action,
                DirectoryAuditLog.table_name,
                DirectoryAuditLog.changed_at,
            ],
            link_column=DirectoryAuditLog.changed_at,
            order_by=[OrderBy(DirectoryAuditLog.id, ascending=False)],
            menu_group=PANEL,
            validators=Validators(every=[_read_only]),
        ),
        TableConfig(
            BaseUser,
            visible_columns=[
                BaseUser.username,
                BaseUser.email,
                BaseUser.active,
                BaseUser.admin,
                BaseUser.superuser,
                BaseUser.last_login,
            ],
            exclude_visible_filters=[BaseUser.password],
            link_column=BaseUser.username,
            order_by=[OrderBy(BaseUser.username)],
            menu_group=PANEL,
        ),
        TableConfig(
            SessionsBase,
            exclude_visible_columns=[SessionsBase.token],
            exclude_visible_filters=[SessionsBase.token],
            order_by=[OrderBy(SessionsBase.expiry_date, ascending=False)],
            menu_group=PANEL,
        ),
    ]


def _read_only(piccolo_crud: PiccoloCRUD, request: Request) -> None:
    """A validator for tables that bots or triggers write."""
    if request.method not in ("GET", "HEAD"):
        raise HTTPException(status_code=405, detail=f"{piccolo_crud.table._meta.tablename} is read-only.")


@contextmanager
def _directory_crud(tables: Sequence[TableConfig]) -> Iterator[None]:
    """Let `create_admin`, which has no parameter for it, build its endpoints with our CRUD class."""
    built = []

    def build(table: type, **options: object) -> DirectoryCRUD:
        built.append(table)
        return DirectoryCRUD(table, **options)  # type: ignore[arg-type]  # passed on as they come

    with patch.object(piccolo_admin.endpoints, "PiccoloCRUD", build):
        yield
    if built != [config.table_class for config in tables]:
        raise RuntimeError("This version of Piccolo Admin doesn't build its tables with PiccoloCRUD any more.")
