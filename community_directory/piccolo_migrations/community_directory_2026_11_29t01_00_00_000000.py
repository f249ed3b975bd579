from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from enum import Enum
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
from piccolo.constraints import Unique
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


ID = "2026-11-29T01:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Accounts of members, and members that were merged into others"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="community_directory", description=DESCRIPTION
    )

    manager.add_table(
        class_name="MemberAccount",
        tablename="member_accounts",
        schema=None,
        columns=None,
    )

    manager.add_column(
        table_class_name="MemberAccount",
        tablename="member_accounts",
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
        table_class_name="MemberAccount",
        tablename="member_accounts",
        column_name="platform",
        db_column_name="platform",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
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
        table_class_name="MemberAccount",
        tablename="member_accounts",
        column_name="account_id",
        db_column_name="account_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
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
        table_class_name="MemberAccount",
        tablename="member_accounts",
        column_name="username",
        db_column_name="username",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
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
        table_class_name="MemberAccount",
        tablename="member_accounts",
        column_name="member_id",
        db_column_name="member_id",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            "references": CommunityMember,
            "on_delete": OnDelete.cascade,
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
        table_class_name="MemberAccount",
        tablename="member_accounts",
        column_name="proof",
        db_column_name="proof",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 20,
            "default": "manager",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "AccountProof",
                {
                    "PLATFORM": "platform",
                    "CODE": "code",
                    "MANAGER": "manager",
                    "STATED": "stated",
                },
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        column_name="proved_at",
        db_column_name="proved_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
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
        table_class_name="MemberAccount",
        tablename="member_accounts",
        column_name="linked_at",
        db_column_name="linked_at",
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
        table_class_name="MemberAccount",
        tablename="member_accounts",
        column_name="details",
        db_column_name="details",
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
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_idx",
        constraint_class=Unique,
        params={"columns": ["platform", "account_id"], "nulls_distinct": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_platform_check",
        constraint_class=Check,
        params={"condition": "platform ~ '^[a-z][a-z0-9_]*$'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_id_check",
        constraint_class=Check,
        params={
            "condition": "CASE WHEN platform IN ('telegram', 'discord') THEN account_id ~ '^[1-9][0-9]*$' AND length(account_id) <= 20 WHEN platform = 'github' THEN account_id = lower(account_id) AND account_id ~ '^[A-Za-z0-9][A-Za-z0-9_-]*$' AND length(account_id) <= 39 WHEN platform = 'elizaos' THEN account_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' ELSE account_id ~ '^[!-~]+$' END"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_username_check",
        constraint_class=Check,
        params={
            "condition": "username ~ '^[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff]+$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_proof_check",
        constraint_class=Check,
        params={
            "condition": "proof IN ('platform', 'code', 'manager', 'stated')"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_proved_at_check",
        constraint_class=Check,
        params={"condition": "(proof = 'stated') = (proved_at IS NULL)"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_details_check",
        constraint_class=Check,
        params={"condition": "jsonb_typeof(details) = 'object'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_details_readable_check",
        constraint_class=Check,
        params={
            "condition": "octet_length(details::text) < 200 OR NOT (jsonb_path_exists(details, 'strict $.**{100} ? (@.type() == \"object\" || @.type() == \"array\")') OR jsonb_path_exists(details, 'strict $.** ? (@ > 1.7976931348623158e308 || @ < -1.7976931348623158e308)'))"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_proved_at_range_check",
        constraint_class=Check,
        params={
            "condition": "proved_at >= '2000-01-01 00:00Z' AND proved_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="MemberAccount",
        tablename="member_accounts",
        constraint_name="member_account_linked_at_range_check",
        constraint_class=Check,
        params={
            "condition": "linked_at >= '2000-01-01 00:00Z' AND linked_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="merged_into",
        db_column_name="merged_into",
        column_class_name="ForeignKey",
        column_class=ForeignKey,
        params={
            # Piccolo can't resolve "self" for a column that is added to an existing table.
            "references": CommunityMember,
            "on_delete": OnDelete.restrict,
            "on_update": OnUpdate.restrict,
            "target_column": "member_id",
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
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_merged_check",
        constraint_class=Check,
        params={
            "condition": "merged_into IS NULL OR (deleted_at IS NOT NULL AND telegram_id LIKE 'merged:%' AND NOT github_verified)"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_merged_into_check",
        constraint_class=Check,
        params={"condition": "merged_into <> member_id"},
        schema=None,
    )

    return manager
