from pathlib import Path

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.constraints import Check

from community_directory.database.sql_migration import execute_script, read_sql

ID = "2026-11-29T00:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "One spelling of each identifier, and visible names"

SQL = Path(__file__).parent / "sql"
REPLACED_CONSTRAINTS = {
    "CommunityMember": (
        "community_members",
        (
            "member_telegram_id_check",
            "member_telegram_username_check",
            "member_name_check",
            "member_primary_role_check",
            "member_github_username_check",
        ),
    ),
    "CommunityInvitation": ("community_invitations", ("invitation_username_check",)),
}


async def repair_rows():
    await execute_script(read_sql(SQL, "identifiers_2026_11_29"))


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="community_directory", description=DESCRIPTION
    )
    # It runs before the constraints are added. The way back keeps the repaired values.
    manager.add_raw(repair_rows)

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_telegram_id_format_check",
        constraint_class=Check,
        params={
            "condition": "(telegram_id ~ '^[1-9][0-9]*$' AND length(telegram_id) <= 20) OR telegram_id ~ '^(discord:[1-9][0-9]{0,19}|(?!(discord|https?|id|tel|telegram|tg|user):)[a-z][a-z0-9_]*:[!-~]+)$'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_telegram_username_format_check",
        constraint_class=Check,
        params={
            "condition": "telegram_username ~ '^[A-Za-z0-9_]+$' AND length(telegram_username) <= 32"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_github_username_format_check",
        constraint_class=Check,
        params={
            "condition": "github_username ~ '^[A-Za-z0-9][A-Za-z0-9_-]*$' AND length(github_username) <= 39"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_discord_id_check",
        constraint_class=Check,
        params={
            "condition": "(profile_data ->> 'discord_id') ~ '^[1-9][0-9]*$' AND length((profile_data ->> 'discord_id')) <= 20"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_name_visible_check",
        constraint_class=Check,
        params={
            "condition": "name ~ '[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff\\u2800\\ufff9-\\ufffc\\U00013430-\\U0001343f\\U00013441\\U00013442\\U00016fe4\\U0001d159]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_name_one_line_check",
        constraint_class=Check,
        params={
            "condition": "name !~ '[\\u0001-\\u001f\\u007f-\\u009f\\u2028\\u2029\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_primary_role_visible_check",
        constraint_class=Check,
        params={
            "condition": "primary_role ~ '[^[:space:]\\u0085\\u00a0\\u1680\\u2000-\\u200f\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff\\u2800\\ufff9-\\ufffc\\U00013430-\\U0001343f\\U00013441\\U00013442\\U00016fe4\\U0001d159]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityMember",
        tablename="community_members",
        constraint_name="member_primary_role_one_line_check",
        constraint_class=Check,
        params={
            "condition": "primary_role !~ '[\\u0001-\\u001f\\u007f-\\u009f\\u2028\\u2029\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]'"
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="CommunityInvitation",
        tablename="community_invitations",
        constraint_name="invitation_username_format_check",
        constraint_class=Check,
        params={
            "condition": "invited_telegram_username ~ '^[A-Za-z0-9_]+$' AND length(invited_telegram_username) <= 32"
        },
        schema=None,
    )

    for table_class_name, (tablename, names) in REPLACED_CONSTRAINTS.items():
        for name in names:
            manager.drop_constraint(
                table_class_name=table_class_name,
                tablename=tablename,
                constraint_name=name,
                schema=None,
            )

    return manager
