from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.constraints import Unique

ID = "2026-11-23T00:20:56:506040"
VERSION = "1.38.0"
DESCRIPTION = "Events are told apart by the room's own ids first"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="community_directory", description=DESCRIPTION
    )

    manager.drop_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_source_key",
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberParticipation",
        tablename="member_participation",
        constraint_name="participation_source_id_key",
        constraint_class=Unique,
        params={
            "columns": [
                "platform",
                "room_id",
                "source_id",
                "event_type",
                "member_id",
            ],
            "nulls_distinct": True,
        },
        schema=None,
    )

    return manager
