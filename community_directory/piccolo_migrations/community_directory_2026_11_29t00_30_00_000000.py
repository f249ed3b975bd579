from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import UUID
from piccolo.columns.column_types import Varchar
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.defaults.uuid import UUID4
from piccolo.columns.indexes import IndexMethod
from piccolo.constraints import Check
from piccolo.constraints import Unique

ID = "2026-11-29T00:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Bots: the mark of a member, and the accounts that imports know"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="community_directory", description=DESCRIPTION
    )

    manager.add_table(
        class_name="DirectoryBot",
        tablename="directory_bots",
        schema=None,
        columns=None,
    )

    manager.add_column(
        table_class_name="DirectoryBot",
        tablename="directory_bots",
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
        table_class_name="DirectoryBot",
        tablename="directory_bots",
        column_name="telegram_id",
        db_column_name="telegram_id",
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
        table_class_name="DirectoryBot",
        tablename="directory_bots",
        column_name="name",
        db_column_name="name",
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
        table_class_name="DirectoryBot",
        tablename="directory_bots",
        column_name="created_at",
        db_column_name="created_at",
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

    manager.add_constraint(
        table_class_name="DirectoryBot",
        tablename="directory_bots",
        constraint_name="bot_telegram_id_idx",
        constraint_class=Unique,
        params={"columns": ["telegram_id"], "nulls_distinct": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryBot",
        tablename="directory_bots",
        constraint_name="bot_telegram_id_check",
        constraint_class=Check,
        params={
            "condition": "(telegram_id ~ '^[1-9][0-9]*$' AND length(telegram_id) <= 20) OR telegram_id ~ '^(discord:[1-9][0-9]{0,19}|(?!(discord|https?|id|tel|telegram|tg|user):)[a-z][a-z0-9_]*:[!-~]+)$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryBot",
        tablename="directory_bots",
        constraint_name="bot_name_check",
        constraint_class=Check,
        params={
            "condition": "name ~ '[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff\\u2800\\ufff9-\\ufffc\\U00013430-\\U0001343f\\U00013441\\U00013442\\U00016fe4\\U0001d159]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="DirectoryBot",
        tablename="directory_bots",
        constraint_name="bot_created_at_range_check",
        constraint_class=Check,
        params={
            "condition": "created_at >= '2000-01-01 00:00Z' AND created_at < '2200-01-01 00:00Z'"
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="is_bot",
        db_column_name="is_bot",
        column_class_name="Boolean",
        column_class=Boolean,
        params={
            "default": False,
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
        table_class_name="CommunityMember",
        tablename="community_members",
        column_name="reputation_withheld",
        db_column_name="reputation_withheld",
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
        constraint_name="member_bot_reputation_check",
        constraint_class=Check,
        params={
            "condition": "CASE WHEN is_bot THEN reputation_score = 0 AND reputation_shortfall = 0 ELSE reputation_withheld = 0 END"
        },
        schema=None,
    )

    return manager
