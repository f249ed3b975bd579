"""The Piccolo app: its tables, its migrations and its commands."""

import sys
from pathlib import Path

from piccolo.conf.apps import AppConfig, Command

from community_directory.commands import (
    COMMANDS,
    check_arguments,
    expand_help_option,
    join_repeated_options,
)
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
)


class DirectoryApp(AppConfig):
    """The app's configuration, which checks a command's arguments before Piccolo binds them."""

    def get_commands(self) -> list[Command]:
        """Return the commands. Piccolo calls this method just before it runs one of them."""
        sys.argv[1:] = expand_help_option(sys.argv[1:])
        check_arguments(sys.argv[1:])
        sys.argv[1:] = join_repeated_options(sys.argv[1:])
        return super().get_commands()


APP_CONFIG = DirectoryApp(
    app_name="community_directory",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[
        CommunityMember,
        CommunityInvitation,
        MemberRelationship,
        MemberParticipation,
        MemberDailyHighlight,
        DirectoryAuditLog,
        DirectoryBot,
        MemberAccount,
        DirectoryMerge,
        MemberPermission,
        MemberRequest,
        MemberNote,
    ],
    commands=list(COMMANDS),
)
