from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.base import OnDelete
from piccolo.columns.base import OnUpdate
from piccolo.columns.column_types import ForeignKey
from piccolo.columns.column_types import JSONB
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import UUID
from piccolo.columns.column_types import Varchar
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.defaults.uuid import UUID4
from piccolo.columns.indexes import IndexMethod
from piccolo.constraints import Check
from piccolo.table import Table


class CommunityMember(Table, tablename="community_members", schema=None):
    id = UUID(
        default=UUID4(),
        null=False,
        primary_key=True,
        unique=False,
        index=False,
        index_method=IndexMethod.btree,
        choices=None,
        db_column_name=None,
        secret=False,
    )
    member_id = Varchar(
        length=20,
        default="",
        null=False,
        primary_key=False,
        unique=True,
        index=False,
        index_method=IndexMethod.btree,
        choices=None,
        db_column_name=None,
        secret=False,
    )


ID = "2026-11-29T01:40:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Merges of members"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="community_directory", description=DESCRIPTION
    )

    manager.add_table(
        class_name="DirectoryMerge",
        tablename="directory_merges",
        schema=None,
        columns=None,
    )

    manager.add_column(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        column_name="duplicate_id",
        db_column_name="duplicate_id",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            "references": CommunityMember,
            "on_delete": OnDelete.restrict,
            "on_update": OnUpdate.restrict,
            "target_column": "member_id",
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

    manager.add_column(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        column_name="into_id",
        db_column_name="into_id",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            "references": CommunityMember,
            "on_delete": OnDelete.restrict,
            "on_update": OnUpdate.restrict,
            "target_column": "member_id",
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

    manager.add_column(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        column_name="merged_at",
        db_column_name="merged_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
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

    manager.add_column(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        column_name="undone_at",
        db_column_name="undone_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
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

    manager.add_column(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        column_name="before",
        db_column_name="before",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": None,
            "null": True,
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
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        constraint_name="merge_members_check",
        constraint_class=Check,
        params={"condition": "duplicate_id <> into_id"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        constraint_name="merge_before_check",
        constraint_class=Check,
        params={"condition": "jsonb_typeof(before) = 'object'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        constraint_name="merge_before_readable_check",
        constraint_class=Check,
        params={
            "condition": "octet_length(before::text) < 200 OR NOT (jsonb_path_exists(before, 'strict $.**{100} ? (@.type() == \"object\" || @.type() == \"array\")') OR jsonb_path_exists(before, 'strict $.** ? (@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308)'))"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        constraint_name="merge_merged_at_range_check",
        constraint_class=Check,
        params={
            "condition": "merged_at >= '2000-01-01 00:00Z' AND merged_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryMerge",
        tablename="directory_merges",
        constraint_name="merge_undone_at_range_check",
        constraint_class=Check,
        params={
            "condition": "undone_at >= '2000-01-01 00:00Z' AND undone_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    return manager
