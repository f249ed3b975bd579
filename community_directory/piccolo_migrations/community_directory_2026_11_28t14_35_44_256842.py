from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Integer
from piccolo.columns.indexes import IndexMethod
from piccolo.constraints import Check

ID = "2026-11-28T14:35:44:256842"
VERSION = "1.38.0"
DESCRIPTION = "How far the sum of all points lies below zero"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="community_directory", description=DESCRIPTION
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="reputation_shortfall",
        db_column_name="reputation_shortfall",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_reputation_shortfall_check",
        constraint_class=Check,
        params={"condition": "reputation_shortfall >= 0"},
        schema=None,
    )

    return manager
