"""The table classes, the migrations and the database agree, and a difference is found."""

import contextlib
import dataclasses
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from piccolo.apps.migrations.auto.schema_snapshot import SchemaSnapshot
from piccolo.apps.migrations.commands.base import BaseMigrationManager
from piccolo.apps.migrations.commands.new import AutoMigrationManager
from piccolo.columns import Text, Varchar
from piccolo.constraints import Check, Unique
from piccolo.table import Table, create_table_class, sort_table_classes

from community_directory.piccolo_app import APP_CONFIG
from community_directory.tables import MemberRelationship

pytestmark = pytest.mark.schema

INSIGHTS_VIEWS = {
    "insights_at_risk": "member_id active_days active_days_before",
    "insights_contributions": "month member_id active_days message_count reaction_count"
    " voice_minutes",
    "insights_daily_activity": "day active_people message_count reaction_count voice_minutes",
    "insights_funnel": "invited_month inviter invited joined approved wrote active_in_week_4"
    " week_4_not_over median_days_to_join median_days_to_approval median_days_to_first_message",
    "insights_hourly_activity": "day hour platform event_type event_count",
    "insights_inviters": "joined_month inviter joined members gone stayed",
    "insights_members": "member_id status is_present is_member is_gone tier inviter joined_at"
    " approved_at joined_day joined_month first_active_day first_message_day active_weeks",
    "insights_retention": "joined_month months_after month cohort_size active_members is_over",
    "insights_rooms": "month platform room_id event_count message_count people",
    "insights_weekly_retention": "joined_month week cohort_size people_over active_members",
}
# The objects that table classes can't express, so that SQL scripts create them.
SCRIPTED_OBJECTS = {
    *(
        ("index", name)
        for name in (
            "audit_member_id_idx",
            "audit_member_status_idx",
            "highlight_date_idx",
            "invitation_accepted_by_idx",
            "invitation_created_at_idx",
            "invitation_created_by_idx",
            "invitation_open_username_idx",
            "invitation_pending_expires_at_idx",
            "invitation_status_idx",
            "member_account_member_idx",
            "member_account_username_idx",
            "member_absent_idx",
            "member_bot_idx",
            "member_country_idx",
            "member_discord_id_idx",
            "member_github_username_idx",
            "member_github_verified_idx",
            "member_invited_by_idx",
            "member_permission_permission_idx",
            "member_merged_into_idx",
            "member_name_idx",
            "member_newest_idx",
            "member_other_status_idx",
            "member_reputation_score_idx",
            "member_role_idx",
            "member_search_idx",
            "member_status_idx",
            "participation_event_type_idx",
            "participation_member_id_idx",
            "participation_occurred_at_idx",
            "participation_voice_idx",
            "relationship_created_at_idx",
            "relationship_entity_b_idx",
            "relationship_type_idx",
        )
    ),
    ("function", "community_invitations_before_write"),
    ("function", "community_invitations_check_status"),
    ("function", "community_invitations_claim"),
    ("function", "community_invitations_free_at"),
    ("function", "community_members_before_insert"),
    ("function", "community_members_before_write"),
    ("function", "community_members_check_inviter"),
    ("function", "community_members_check_status"),
    ("function", "community_members_lose_permissions"),
    ("function", "member_permissions_check_holder"),
    ("function", "community_members_name_accounts"),
    ("function", "community_members_release_accounts"),
    ("function", "directory_audit_log_append_only"),
    ("function", "directory_audit_log_erase"),
    ("function", "directory_audit_log_notify"),
    ("function", "directory_audit_log_write"),
    ("function", "directory_search_text"),
    ("function", "member_accounts_before_write"),
    ("function", "member_accounts_named"),
    ("function", "member_participation_take_back"),
    ("function", "member_relationships_before_write"),
    ("function", "panel_password_set"),
    ("function", "panel_session_started"),
    ("function", "panel_user_changed"),
    ("column", "community_members.search_text"),
    ("table", "directory_rolled_up_days"),
    ("index", "directory_rolled_up_days_pkey"),
    ("constraint", "directory_rolled_up_days.directory_rolled_up_days_pkey"),
    *(("column", f"directory_rolled_up_days.{name}") for name in ("day", "checksum")),
    ("function", "community_members_remember_ban"),
    ("function", "member_accounts_check_erased"),
    ("table", "directory_erased_accounts"),
    ("index", "directory_erased_accounts_pkey"),
    ("index", "erased_account_member_idx"),
    *(
        ("constraint", f"directory_erased_accounts.{name}")
        for name in (
            "directory_erased_accounts_pkey",
            "erased_account_erased_at_range_check",
            "erased_account_fingerprint_check",
            "erased_account_member_id_fkey",
        )
    ),
    *(
        ("column", f"directory_erased_accounts.{name}")
        for name in ("fingerprint", "member_id", "erased_at")
    ),
    ("table", "directory_audit_consumers"),
    ("index", "directory_audit_consumers_pkey"),
    *(("column", f"directory_audit_consumers.{name}") for name in ("name", "last_id")),
    *(
        ("constraint", f"directory_audit_consumers.{name}")
        for name in (
            "audit_consumer_last_id_check",
            "audit_consumer_name_check",
            "directory_audit_consumers_pkey",
        )
    ),
    ("table", "directory_moved_rooms"),
    ("index", "directory_moved_rooms_pkey"),
    ("index", "member_telegram_username_idx"),
    *(
        ("constraint", f"directory_moved_rooms.{name}")
        for name in (
            "directory_moved_rooms_pkey",
            "moved_room_id_check",
            "moved_room_not_itself_check",
            "moved_room_platform_check",
            "moved_room_target_check",
        )
    ),
    *(
        ("column", f"directory_moved_rooms.{name}")
        for name in ("platform", "room_id", "moved_to", "id_offset", "id_prefix")
    ),
    ("table", "directory_archive"),
    ("index", "directory_archive_pkey"),
    ("function", "directory_archive_before_write"),
    ("function", "member_participation_archive"),
    ("trigger", "directory_archive_before_write"),
    *(
        ("constraint", f"directory_archive.{name}")
        for name in ("archive_days_check", "archive_one_row_check", "directory_archive_pkey")
    ),
    *(
        ("column", f"directory_archive.{name}")
        for name in ("id", "closed_before", "archived_until", "archived_before")
    ),
    ("index", "merge_into_idx"),
    ("index", "merge_standing_idx"),
    ("table", "directory_merged_rows"),
    ("index", "directory_merged_rows_pkey"),
    *(
        ("constraint", f"directory_merged_rows.directory_merged_rows_{name}")
        for name in ("pkey", "merge_id_fkey")
    ),
    *(
        ("column", f"directory_merged_rows.{name}")
        for name in ("merge_id", "table_name", "row_id", "before")
    ),
    *(
        ("function", name)
        for name in (
            "community_invitations_follow_merge",
            "community_members_before_invited",
            "community_members_check_merge",
            "community_members_follow_merge",
            "member_participation_collapse",
            "member_participation_follow_merge",
            "member_participation_move",
            "member_participation_return",
        )
    ),
    *(
        ("trigger", name)
        for name in (
            "community_invitations_follow_merge",
            "community_members_before_invited",
            "community_members_before_other_inviter",
            "community_members_check_merge",
            "community_members_check_new_merge",
            "member_participation_follow_merge",
        )
    ),
    ("table", "directory_dismissed_merges"),
    ("index", "directory_dismissed_merges_pkey"),
    ("index", "dismissed_merge_idx"),
    ("index", "member_inviter_name_idx"),
    *(
        ("index", name)
        for name in (
            "audit_account_id_idx",
            "audit_act_idx",
            "audit_actor_idx",
            "audit_changed_at_idx",
            "audit_invited_username_idx",
            "audit_row_idx",
            "audit_undone_act_idx",
            "invitation_username_idx",
            "member_account_linked_at_idx",
            "member_any_country_idx",
            "member_removed_idx",
            "member_any_role_idx",
            "member_organization_idx",
            "member_suspended_until_idx",
            "member_note_member_idx",
        )
    ),
    ("table", "directory_segments"),
    ("index", "directory_segments_pkey"),
    ("index", "segment_name_idx"),
    *(
        ("constraint", f"directory_segments.{name}")
        for name in (
            "directory_segments_pkey",
            "segment_created_at_range_check",
            "segment_filters_check",
            "segment_name_idx",
            "segment_name_one_line_check",
            "segment_name_visible_check",
        )
    ),
    *(
        ("column", f"directory_segments.{name}")
        for name in ("id", "name", "filters", "created_by", "created_at")
    ),
    ("trigger", "member_requests_audit"),
    ("trigger", "member_notes_audit"),
    ("trigger", "community_members_end_suspension"),
    ("function", "community_members_end_suspension"),
    *(
        (kind, name)
        for name in ("directory_bot_chats", "directory_bot_notices")
        for kind, name in (("table", name), ("index", f"{name}_pkey"))
    ),
    *(
        ("constraint", name)
        for name in (
            "directory_bot_chats.bot_chat_account_fkey",
            "directory_bot_chats.bot_chat_language_check",
            "directory_bot_chats.bot_chat_platform_check",
            "directory_bot_chats.directory_bot_chats_pkey",
            "directory_bot_notices.bot_notice_manager_id_fkey",
            "directory_bot_notices.bot_notice_member_id_fkey",
            "directory_bot_notices.bot_notice_message_id_check",
            "directory_bot_notices.bot_notice_sent_at_range_check",
            "directory_bot_notices.directory_bot_notices_pkey",
        )
    ),
    *(
        ("column", f"directory_bot_chats.{name}")
        for name in ("platform", "account_id", "language_code")
    ),
    *(
        ("column", f"directory_bot_notices.{name}")
        for name in ("member_id", "manager_id", "message_id", "sent_at")
    ),
    ("trigger", "directory_dismissed_merges_audit_a"),
    ("trigger", "directory_dismissed_merges_audit_b"),
    *(
        ("constraint", f"directory_dismissed_merges.{name}")
        for name in (
            "directory_dismissed_merges_pkey",
            # PostgreSQL cuts the table and the name together off after 63 bytes.
            "dismissed_merge_dismissed_at_range_c",
            "dismissed_merge_idx",
            "dismissed_merge_member_a_fkey",
            "dismissed_merge_member_b_fkey",
            "dismissed_merge_order_check",
        )
    ),
    *(
        ("column", f"directory_dismissed_merges.{name}")
        for name in ("id", "member_a", "member_b", "dismissed_at")
    ),
    *(
        (kind, name)
        for name in ("directory_link_codes", "directory_link_tries", "directory_proved_pairs")
        for kind, name in (("table", name), ("index", f"{name}_pkey"))
    ),
    ("index", "link_code_hash_idx"),
    ("index", "proved_pair_member_b_idx"),
    *(
        ("constraint", name)
        for name in (
            "directory_link_codes.directory_link_codes_member_id_fkey",
            "directory_link_codes.directory_link_codes_pkey",
            "directory_link_codes.link_code_hash_idx",
            "directory_link_tries.directory_link_tries_pkey",
            "directory_link_tries.link_tries_wrong_check",
            "directory_proved_pairs.directory_proved_pairs_member_a_fkey",
            "directory_proved_pairs.directory_proved_pairs_member_b_fkey",
            "directory_proved_pairs.directory_proved_pairs_pkey",
            "directory_proved_pairs.proved_pair_order_check",
        )
    ),
    *(
        ("column", f"directory_link_codes.{name}")
        for name in ("member_id", "code_hash", "expires_at", "used_at")
    ),
    *(
        ("column", f"directory_link_tries.{name}")
        for name in ("platform", "account_id", "wrong", "ends_at")
    ),
    *(
        ("column", f"directory_proved_pairs.{name}")
        for name in ("member_a", "member_b", "proved_at")
    ),
    ("table", "directory_bot_states"),
    ("index", "directory_bot_states_pkey"),
    ("index", "bot_state_updated_at_idx"),
    *(
        ("constraint", f"directory_bot_states.{name}")
        for name in (
            "bot_state_data_check",
            "bot_state_size_check",
            "bot_state_telegram_id_check",
            "directory_bot_states_pkey",
        )
    ),
    *(
        ("column", f"directory_bot_states.{name}")
        for name in ("telegram_id", "conversation", "state", "data", "updated_at")
    ),
    *(
        entry
        for view, columns in INSIGHTS_VIEWS.items()
        for entry in (
            ("table", view),
            *(("column", f"{view}.{name}") for name in columns.split()),
        )
    ),
    *(
        entry
        for table, prefix, columns in (
            (
                "member_monthly_highlights",
                "monthly_highlight",
                "member_id month active_days message_count reaction_count voice_minutes",
            ),
            (
                "member_daily_rooms",
                "daily_room",
                "member_id day platform room_id event_count message_count",
            ),
            (
                "member_monthly_rooms",
                "monthly_room",
                "member_id month platform room_id event_count message_count",
            ),
            (
                "member_rooms",
                "member_room",
                "member_id platform room_id first_day last_day",
            ),
            (
                "directory_hourly_counts",
                "hourly_count",
                "day hour platform event_type event_count",
            ),
            (
                "member_milestones",
                "milestone",
                "member_id joined_at approved_at first_active_day first_message_day active_weeks",
            ),
        )
        for entry in (
            ("table", table),
            ("index", f"{prefix}_pkey"),
            ("constraint", f"{table}.{prefix}_pkey"),
            *(("column", f"{table}.{name}") for name in columns.split()),
        )
    ),
    *(
        ("constraint", f"{table}.{prefix}_member_id_fkey")
        for table, prefix in (
            ("member_monthly_highlights", "monthly_highlight"),
            ("member_milestones", "milestone"),
        )
    ),
    *(
        ("index", name)
        for name in (
            "monthly_highlight_month_idx",
            "daily_room_member_day_idx",
            "monthly_room_member_id_idx",
            "milestone_joined_at_idx",
        )
    ),
    *(
        (kind, f"community_members_{name}")
        for kind in ("trigger", "function")
        for name in ("change_milestones", "joined", "lose_counts")
    ),
    ("table", "directory_doctor_reports"),
    ("index", "directory_doctor_reports_pkey"),
    ("constraint", "directory_doctor_reports.directory_doctor_reports_pkey"),
    *(
        ("column", f"directory_doctor_reports.{name}")
        for name in ("is_full", "checked_at", "report")
    ),
    ("table", "panel_attempts"),
    ("index", "panel_attempts_pkey"),
    ("constraint", "panel_attempts.panel_attempts_pkey"),
    *(("column", f"panel_attempts.{name}") for name in ("key", "failures", "ends")),
    ("table", "panel_temporary_passwords"),
    ("column", "panel_temporary_passwords.user_id"),
    ("index", "panel_temporary_passwords_pkey"),
    *(
        ("constraint", f"panel_temporary_passwords.panel_temporary_passwords_{name}")
        for name in ("pkey", "user_fkey")
    ),
    *(("table", f"panel_{name}") for name in ("viewers", "invitations", "visits")),
    *(("column", f"panel_{name}.user_id") for name in ("viewers", "invitations", "visits")),
    *(("column", f"panel_invitations.{name}") for name in ("token_hash", "expires_at")),
    *(("column", f"panel_visits.{name}") for name in ("seen_at", "previous_ended_at")),
    *(("index", f"panel_{name}_pkey") for name in ("viewers", "invitations", "visits")),
    *(
        ("constraint", f"panel_{name}.panel_{name}_{kind}")
        for name in ("viewers", "invitations", "visits")
        for kind in ("pkey", "user_fkey")
    ),
    ("constraint", "panel_invitations.panel_invitations_token_check"),
    ("trigger", "community_invitations_audit"),
    ("trigger", "community_invitations_before_write"),
    ("trigger", "community_invitations_check_status"),
    ("trigger", "community_members_audit"),
    ("trigger", "community_members_before_insert"),
    ("trigger", "community_members_before_write"),
    ("trigger", "community_members_check_inviter"),
    ("trigger", "community_members_check_new_inviter"),
    ("trigger", "community_members_check_status"),
    ("trigger", "community_members_remember_ban"),
    ("trigger", "community_members_lose_permissions"),
    ("trigger", "member_permissions_audit"),
    ("trigger", "member_permissions_check_holder"),
    ("trigger", "directory_audit_log_append_only"),
    ("trigger", "directory_audit_log_notify"),
    ("trigger", "member_accounts_check_erased"),
    ("trigger", "community_members_name_accounts"),
    ("trigger", "community_members_name_other_accounts"),
    ("trigger", "community_members_release_accounts"),
    ("trigger", "member_accounts_audit"),
    ("trigger", "member_accounts_before_write"),
    ("trigger", "member_relationships_before_write"),
    ("sequence", "community_member_number"),
    ("extension", "pg_trgm"),
}
PICCOLO_TABLES = ["authenticator_secret", "migration", "piccolo_user", "sessions"]
PICCOLO_RELATIONS = [*PICCOLO_TABLES, *(f"{table}_id_seq" for table in PICCOLO_TABLES)]

# All objects of a schema, as (kind, name) -> definition. NOT NULL is part of its column, although
# PostgreSQL 18 also has a constraint for it. Disabled triggers and the functions of extensions are
# left out.
SNAPSHOT = """
WITH relations AS (
    SELECT oid, relname, relkind FROM pg_class
    WHERE relnamespace = $1::text::regnamespace AND relname <> ALL($2)
)
SELECT 'table' AS kind, relname AS name, relkind::text AS definition
FROM relations WHERE relkind NOT IN ('i', 'S')
UNION ALL
SELECT 'sequence', relname,
    concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcycle)
FROM pg_sequence JOIN relations ON oid = seqrelid
UNION ALL
SELECT 'column', relname || '.' || attname, format_type(atttypid, atttypmod)
    || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
    || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
FROM pg_attribute JOIN relations ON oid = attrelid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relkind <> 'i' AND relkind <> 'S' AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', relname || '.' || conname, pg_get_constraintdef(pg_constraint.oid)
FROM pg_constraint JOIN relations ON relations.oid = conrelid
WHERE contype NOT IN ('n', 't')
UNION ALL
SELECT 'index', relations.relname,
    pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
FROM pg_index JOIN relations ON relations.oid = indexrelid
JOIN relations AS indexed ON indexed.oid = indrelid
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(pg_trigger.oid)
FROM pg_trigger JOIN relations ON relations.oid = tgrelid
WHERE NOT tgisinternal AND tgenabled <> 'D'
UNION ALL
SELECT 'function', proname, pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = $1::text::regnamespace AND NOT EXISTS (
    SELECT FROM pg_depend
    WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
)
UNION ALL
SELECT 'extension', extname, '' FROM pg_extension WHERE extnamespace = $1::text::regnamespace
UNION ALL
SELECT 'type', typname, typtype::text
FROM pg_type WHERE typnamespace = $1::text::regnamespace AND typtype IN ('d', 'e', 'r')
"""


async def snapshot(connection: asyncpg.Connection, schema: str) -> dict[tuple[str, str], str]:
    """Return the definitions of all objects of a schema, without the name of the schema."""
    # Most definitions leave out the schema of an object that the search path finds.
    await connection.execute(f"SET LOCAL search_path TO {schema}")
    found = await connection.fetch(SNAPSHOT, schema, PICCOLO_RELATIONS)
    return {
        (row["kind"], row["name"]): row["definition"].replace(f" {schema}.", " ") for row in found
    }


async def database_differences(
    connection: asyncpg.Connection, tables: Sequence[type[Table]]
) -> list[str]:
    """Return the differences between the database and the classes.

    The tables of the classes are created in a schema of their own, in a transaction that is rolled
    back, so that PostgreSQL writes both definitions in the same way.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        live = await snapshot(connection, "public")
        await connection.execute("CREATE SCHEMA drift; SET LOCAL search_path TO drift")
        for table in sort_table_classes(list(tables)):
            for statement in table.create_table().ddl:
                await connection.execute(statement)
        wanted = await snapshot(connection, "drift")
    finally:
        await transaction.rollback()
    differences = [
        f"{kind} {name}: {live.get((kind, name))} in the database, "
        f"{wanted.get((kind, name))} in the classes"
        for kind, name in live.keys() | wanted.keys()
        if (kind, name) not in SCRIPTED_OBJECTS
        and live.get((kind, name)) != wanted.get((kind, name))
    ]
    return sorted(differences) + sorted(
        f"{kind} {name}: missing" for kind, name in SCRIPTED_OBJECTS - live.keys()
    )


async def unmigrated_changes(tables: Sequence[type[Table]]) -> list[str]:
    """Return the statements that `piccolo migrations new --auto` would write.

    The changed constraints, which it overlooks, are included.
    """
    config = dataclasses.replace(APP_CONFIG, table_classes=list(tables))
    with contextlib.redirect_stdout(io.StringIO()):
        groups = await AutoMigrationManager(auto_input="n").get_alter_statements(config)
    managers = await BaseMigrationManager().get_migration_managers(app_config=config)
    migrated = {table.class_name: table for table in SchemaSnapshot(managers).get_snapshot()}
    changes = [statement for group in groups for statement in group.statements]
    for table in tables:
        before = {
            constraint._meta.name: constraint.ddl
            for constraint in migrated[table.__name__].constraints
        }
        for constraint in table._meta.constraints:
            name = constraint._meta.name
            if before.get(name, constraint.ddl) != constraint.ddl:
                changes.append(
                    f"constraint {name}: {before[name]} in the migrations, "
                    f"{constraint.ddl} in the class"
                )
    return changes


def with_change(**members: Any) -> list[type[Table]]:
    """Return the classes, with these columns and constraints in the class of relationships."""
    meta = MemberRelationship._meta
    columns = {column._meta.name: column.copy() for column in meta.columns}
    constraints = {constraint._meta.name: constraint for constraint in meta.constraints}
    changed = create_table_class(
        MemberRelationship.__name__,
        class_kwargs={"tablename": meta.tablename, "db": meta.db},
        class_members={**columns, **constraints, **members},
    )
    return [changed if table is MemberRelationship else table for table in APP_CONFIG.table_classes]


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def test_the_migrations_agree_with_the_classes() -> None:
    assert await unmigrated_changes(APP_CONFIG.table_classes) == []


async def test_the_database_agrees_with_the_classes(connection: asyncpg.Connection) -> None:
    assert await database_differences(connection, APP_CONFIG.table_classes) == []


async def test_the_search_for_differences_changes_nothing(connection: asyncpg.Connection) -> None:
    for _ in range(2):
        await database_differences(connection, APP_CONFIG.table_classes)
    assert await connection.fetchval("SELECT to_regnamespace('drift')") is None
    assert await connection.fetchval("SHOW search_path") == '"$user", public'


async def test_an_unchanged_copy_of_the_classes_has_no_differences(
    connection: asyncpg.Connection,
) -> None:
    assert await unmigrated_changes(with_change()) == []
    assert await database_differences(connection, with_change()) == []


CHANGED_CLASSES = {
    "column note": {"note": Text()},
    "column entity_id_a": {"entity_id_a": Varchar(length=300, default=None)},
    "constraint relationship_note_check": {"relationship_note_check": Check("content <> '{}'")},
    "constraint relationship_type_check": {
        "relationship_type_check": Check("relationship_type <> ''")
    },
    "constraint relationship_entity_a_idx": {
        "relationship_entity_a_idx": Unique(["entity_id_a", "entity_id_b"])
    },
}


@pytest.mark.parametrize(
    ("changed", "members"), CHANGED_CLASSES.items(), ids=CHANGED_CLASSES.keys()
)
async def test_a_changed_class_is_found(
    connection: asyncpg.Connection, changed: str, members: dict[str, Any]
) -> None:
    tables = with_change(**members)
    kind, name = changed.split()
    assert any(name in change for change in await unmigrated_changes(tables))
    assert any(
        change.startswith(f"{kind} member_relationships.{name}:")
        for change in await database_differences(connection, tables)
    )


CHANGED_DATABASES = {
    "ALTER TABLE member_relationships ADD COLUMN note text": ["column member_relationships.note"],
    "ALTER TABLE community_members DROP COLUMN github_verified_at CASCADE": [
        "column community_members.github_verified_at",
        "constraint community_members.member_github_verified_at_range_check",
        "constraint community_members.member_github_verified_check",
    ],
    "ALTER TABLE community_members ALTER country TYPE varchar(300)": [
        "column community_members.country"
    ],
    "ALTER TABLE community_members ALTER name DROP NOT NULL": ["column community_members.name"],
    "ALTER TABLE community_members ALTER status SET DEFAULT 'active'": [
        "column community_members.status"
    ],
    """
    ALTER TABLE community_members DROP CONSTRAINT member_status_check,
        ADD CONSTRAINT member_status_check CHECK (status <> '')
    """: ["constraint community_members.member_status_check"],
    """
    ALTER TABLE community_members DROP CONSTRAINT member_reputation_score_check,
        ADD CONSTRAINT member_reputation_score_check CHECK (reputation_score >= 0) NOT VALID
    """: ["constraint community_members.member_reputation_score_check"],
    """
    ALTER TABLE member_participation DROP CONSTRAINT member_participation_member_id_fkey,
        ADD CONSTRAINT member_participation_member_id_fkey FOREIGN KEY (member_id)
        REFERENCES community_members (member_id) ON DELETE CASCADE ON UPDATE RESTRICT
    """: ["constraint member_participation.member_participation_member_id_fkey"],
    "ALTER TABLE community_members DROP CONSTRAINT member_telegram_id_idx": [
        "constraint community_members.member_telegram_id_idx",
        "index member_telegram_id_idx",
    ],
    "DROP INDEX member_status_idx": ["index member_status_idx"],
    "CREATE INDEX another_idx ON community_members (country)": ["index another_idx"],
    "DROP TRIGGER community_members_audit ON community_members": [
        "trigger community_members_audit"
    ],
    "ALTER TABLE community_members DISABLE TRIGGER community_members_audit": [
        "trigger community_members_audit"
    ],
    """
    CREATE TRIGGER another BEFORE UPDATE ON community_invitations
        FOR EACH ROW EXECUTE FUNCTION community_invitations_before_write()
    """: ["trigger another"],
    "DROP FUNCTION directory_audit_log_append_only CASCADE": [
        "function directory_audit_log_append_only",
        "trigger directory_audit_log_append_only",
    ],
    "CREATE FUNCTION another() RETURNS int LANGUAGE sql RETURN 1": ["function another"],
    "DROP SEQUENCE community_member_number": ["sequence community_member_number"],
    "DROP EXTENSION pg_trgm CASCADE": [
        "extension pg_trgm",
        "index member_search_idx",
    ],
    "CREATE SEQUENCE another": ["sequence another"],
    "CREATE TABLE another ()": ["table another"],
    "CREATE VIEW another AS SELECT": ["table another"],
    "CREATE TYPE another AS ENUM ()": ["type another"],
}


@pytest.mark.parametrize(("change", "found"), CHANGED_DATABASES.items())
async def test_a_changed_database_is_found(
    connection: asyncpg.Connection, change: str, found: list[str]
) -> None:
    await connection.execute(change)
    differences = await database_differences(connection, APP_CONFIG.table_classes)
    assert [difference.split(":")[0] for difference in differences] == found
