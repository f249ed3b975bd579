"""The Piccolo app: its tables, its migrations and its commands."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from community_directory.commands import COMMANDS
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    DirectoryAuditLog,
    MemberDailyHighlight,
    MemberParticipation,
    MemberRelationship,
)

APP_CONFIG = AppConfig(
    app_name="community_directory",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[
        CommunityMember,
        CommunityInvitation,
        MemberRelationship,
        MemberParticipation,
        MemberDailyHighlight,
        DirectoryAuditLog,
    ],
    commands=list(COMMANDS),
)
