"""The database roles: an owner, a role for the programs, and one that reads no personal data."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from community_directory.database.connections import engine, transaction
from community_directory.database.limits import long_running
from community_directory.database.statements import Statement
from community_directory.errors import InvalidInput, NotAllowed, database_errors

DEFAULT_PREFIX = "directory"
TEMPLATE_FILE = Path(__file__).with_name("roles.sql")

APP_PRIVILEGES = {
    "community_members": "SELECT, INSERT, UPDATE",
    "community_invitations": "SELECT, INSERT, UPDATE",
    "member_relationships": "SELECT, INSERT, UPDATE, DELETE",
    "member_accounts": "SELECT, INSERT, UPDATE, DELETE",
    "directory_merges": "SELECT, INSERT, UPDATE",
    "directory_merged_rows": "SELECT, INSERT, UPDATE, DELETE",
    "member_permissions": "SELECT, INSERT, DELETE",
    "member_requests": "SELECT, INSERT, UPDATE, DELETE",
    "member_notes": "SELECT, INSERT, DELETE",
    # The named sets of filters of the page People.
    "directory_segments": "SELECT, INSERT, UPDATE, DELETE",
    # What the Telegram bot keeps.
    "directory_bot_chats": "SELECT, INSERT, UPDATE, DELETE",
    "directory_bot_notices": "SELECT, INSERT, UPDATE, DELETE",
    # The one-time codes, the wrong tries, and pairs of members that a code has proved to be one.
    "directory_link_codes": "SELECT, INSERT, UPDATE, DELETE",
    "directory_link_tries": "SELECT, INSERT, UPDATE, DELETE",
    "directory_proved_pairs": "SELECT, INSERT, UPDATE, DELETE",
    # The conversations with the bot that have not ended.
    "directory_bot_states": "SELECT, INSERT, UPDATE, DELETE",
    # Functions delete an event that is taken back, or that two merged members had.
    "member_participation": "SELECT, INSERT, UPDATE",
    "member_daily_highlights": "SELECT, INSERT, UPDATE, DELETE",
    # What Insights counts together with the highlights. A trigger writes when members joined.
    "member_monthly_highlights": "SELECT, INSERT, UPDATE, DELETE",
    "member_daily_rooms": "SELECT, INSERT, UPDATE, DELETE",
    "member_monthly_rooms": "SELECT, INSERT, UPDATE, DELETE",
    "member_rooms": "SELECT, INSERT, UPDATE, DELETE",
    "member_milestones": "SELECT, INSERT, UPDATE, DELETE",
    "directory_hourly_counts": "SELECT, INSERT, UPDATE, DELETE",
    "directory_rolled_up_days": "SELECT, INSERT, UPDATE",
    # The days whose events were deleted: a row that only goes forwards.
    "directory_archive": "SELECT, INSERT, UPDATE",
    # The accounts that imports found to be bots.
    "directory_bots": "SELECT, INSERT, UPDATE, DELETE",
    # Triggers write it, and a function erases from it.
    "directory_audit_log": "SELECT",
    # The places of the consumers that follow it.
    "directory_audit_consumers": "SELECT, INSERT, UPDATE, DELETE",
    # The panel's users, their sessions and second factors, and failed sign-ins.
    "piccolo_user": "SELECT, INSERT, UPDATE, DELETE",
    "sessions": "SELECT, INSERT, UPDATE, DELETE",
    "authenticator_secret": "SELECT, INSERT, UPDATE, DELETE",
    "panel_attempts": "SELECT, INSERT, UPDATE, DELETE",
    "panel_temporary_passwords": "SELECT, INSERT, DELETE",
    # Viewers, the links of invited users, and when each user was here.
    "panel_viewers": "SELECT, INSERT, DELETE",
    "panel_invitations": "SELECT, INSERT, UPDATE, DELETE",
    "panel_visits": "SELECT, INSERT, UPDATE",
    # The last results of `community-directory doctor`, for the panel.
    "directory_doctor_reports": "SELECT, INSERT, UPDATE",
    "directory_moved_rooms": "SELECT, INSERT, UPDATE",
    # Keyed hashes of the accounts of erased people, who may come back.
    "directory_erased_accounts": "SELECT, INSERT, UPDATE, DELETE",
    "directory_dismissed_merges": "SELECT, INSERT",
    # Piccolo's record of the migrations: a program sees whether one is pending.
    "migration": "SELECT",
}
"""The privileges of the panel and the bots on each table of the database."""

VIEWS = (
    "insights_at_risk",
    "insights_contributions",
    "insights_daily_activity",
    "insights_funnel",
    "insights_hourly_activity",
    "insights_inviters",
    "insights_members",
    "insights_retention",
    "insights_rooms",
    "insights_weekly_retention",
)
"""The views without personal data, which every role may read."""

APP_SEQUENCE_PRIVILEGES = {
    "community_member_number": "USAGE, SELECT",
    "piccolo_user_id_seq": "USAGE, SELECT",
    "sessions_id_seq": "USAGE, SELECT",
    "authenticator_secret_id_seq": "USAGE, SELECT",
    # The panel's nightly backup reads every sequence.
    "directory_audit_log_id_seq": "SELECT",
    "migration_id_seq": "SELECT",
}
"""The privileges of the panel and the bots on each sequence of the database."""

ERASE_FUNCTION = "directory_audit_log_erase(text, text, text)"
"""The function that changes the audit log with the rights of its owner."""

TAKE_BACK_FUNCTION = "member_participation_take_back(text, text, text, text, text)"
"""The function that deletes an event with the rights of its owner."""

COLLAPSE_FUNCTION = "member_participation_collapse(uuid)"
"""The function that deletes the events that two merged members had, and keeps them elsewhere."""

ARCHIVE_FUNCTION = "member_participation_archive(timestamp with time zone)"
"""The function that deletes the events of the last archived day."""

MOVE_FUNCTIONS = ("member_participation_move(uuid)", "member_participation_return(uuid)")
"""The functions that move the events of a merged member, and give them back."""

APP_FUNCTIONS = (
    ERASE_FUNCTION,
    TAKE_BACK_FUNCTION,
    COLLAPSE_FUNCTION,
    ARCHIVE_FUNCTION,
    *MOVE_FUNCTIONS,
)
"""The functions with the rights of their owner that the panel and the bots may use."""

PRIVATE_FUNCTIONS = (
    *APP_FUNCTIONS,
    "directory_audit_log_write()",
    "community_members_before_insert()",
    "community_members_before_invited()",
    "community_members_check_merge()",
    "community_members_follow_merge(text)",
    "community_invitations_follow_merge()",
    "member_participation_follow_merge()",
    "community_members_joined()",
    "community_members_change_milestones()",
    "community_members_lose_permissions()",
    "community_members_name_accounts()",
    "community_members_remember_ban()",
    "community_members_release_accounts()",
    "member_accounts_before_write()",
    "member_accounts_check_erased()",
    "member_permissions_check_holder()",
)
"""The functions that run with the rights of their owner, and that not everybody may use."""

FUNCTIONS = (
    *PRIVATE_FUNCTIONS,
    "community_invitations_before_write()",
    "community_invitations_check_status()",
    "community_invitations_claim(text, text, integer, integer)",
    "community_invitations_free_at(text, integer, integer)",
    "community_members_before_write()",
    "community_members_check_inviter()",
    "community_members_check_status()",
    "community_members_end_suspension()",
    "community_members_lose_counts()",
    "member_accounts_named(community_members)",
    "member_relationships_before_write()",
    "directory_archive_before_write()",
    "directory_audit_log_append_only()",
    "directory_audit_log_notify()",
    "directory_search_text(text)",
    "panel_password_set()",
    "panel_session_started()",
    "panel_user_changed()",
)

FIND_MISSING_PRIVILEGES = Statement("""
WITH public AS (SELECT oid FROM pg_namespace WHERE nspname = 'public'),
-- The tables and sequences, which may be missing, too.
relations AS (
    SELECT name, privilege, kind, pg_class.oid FROM unnest(
        :names::text[], :privileges::text[], :kinds::text[]
    ) WITH ORDINALITY AS needed(name, privilege, kind, number)
    LEFT JOIN pg_class ON relname = name AND relnamespace = (SELECT oid FROM public)
    ORDER BY number
)
SELECT 'USAGE on the schema public' AS missing
WHERE NOT has_schema_privilege('public', 'USAGE')
UNION ALL
SELECT privilege || ' on the ' || kind || ' ' || name FROM relations
WHERE NOT coalesce(
    CASE kind WHEN 'table' THEN has_table_privilege(oid, privilege)
        ELSE has_sequence_privilege(oid, privilege) END,
    false
)
UNION ALL
SELECT 'EXECUTE on the function ' || function FROM unnest(:functions::text[]) AS function
WHERE NOT EXISTS (
    SELECT FROM pg_proc WHERE pronamespace = (SELECT oid FROM public)
        AND proname = function AND has_function_privilege(oid, 'EXECUTE')
)
""")


def make_roles_script(
    public_columns: Mapping[str, Sequence[str]], prefix: str = DEFAULT_PREFIX
) -> str:
    """Return the SQL that creates the roles and grants exactly what each of them needs.

    The script may run again at any time. It needs one transaction, in a migrated database.

    Args:
        public_columns: The columns of each table that the reader may see.
        prefix: The beginning of the roles' names. A role belongs to all databases of a server, so
            another directory on the same server needs another prefix to be separate.

    Raises:
        InvalidInput: The prefix is not a name of lower-case letters, digits and underscores.
    """
    if not re.fullmatch("[a-z][a-z0-9_]{0,49}", prefix) or prefix.startswith("pg_"):
        raise InvalidInput(
            "A prefix has up to 50 lower-case letters, digits and underscores. It begins with a "
            "letter, and not with pg_."
        )
    owner, app, reader = (f"{prefix}_{role}" for role in ("owner", "app", "reader"))
    tables = (*APP_PRIVILEGES, *VIEWS)
    grants = [
        *(
            f"GRANT {granted} ON public.{table} TO {app};"
            for table, granted in APP_PRIVILEGES.items()
        ),
        *(
            f"GRANT {granted} ON SEQUENCE public.{name} TO {app};"
            for name, granted in APP_SEQUENCE_PRIVILEGES.items()
        ),
        *(f"GRANT EXECUTE ON FUNCTION public.{name} TO {app};" for name in APP_FUNCTIONS),
        "",
        *(
            f"GRANT SELECT ({', '.join(columns)})\n    ON public.{table} TO {reader};"
            for table, columns in public_columns.items()
            if columns
        ),
        f"GRANT SELECT ON public.directory_archive, public.directory_rolled_up_days TO {reader};",
        *(f"GRANT SELECT ON public.{view} TO {app}, {reader};" for view in VIEWS),
    ]
    return TEMPLATE_FILE.read_text(encoding="utf-8").format(
        owner=owner,
        app=app,
        reader=reader,
        owned=_join(
            f"'public.{name}'" for name in (*APP_PRIVILEGES, *VIEWS, "community_member_number")
        ),
        tables=_join(f"public.{table}" for table in tables),
        sequences=_join(f"public.{name}" for name in APP_SEQUENCE_PRIVILEGES),
        functions=_join(f"'public.{name}'" for name in FUNCTIONS),
        private_functions=_join(f"public.{name}" for name in PRIVATE_FUNCTIONS),
        grants="\n".join(grants),
    )


async def apply_roles(script: str) -> str:
    """Run the script of `make_roles_script` in one transaction, and return the database's name.

    Raises:
        NotAllowed: The present role may not create or grant the roles, or does not own the tables.
        SchemaMissing: The migrations have not run.
    """
    try:
        with long_running(), database_errors():
            async with transaction() as current:
                with current.limit_time():
                    await current.connection.execute(script)
                [(database,)] = await current.fetch("SELECT current_database()")
                return str(database)
    except NotAllowed as error:
        raise NotAllowed(
            f"The roles were not changed: {' '.join(str(error.__cause__).split())}. Run this as a "
            "superuser, or with a login that may create roles and owns the database and its tables."
        ) from error


async def missing_privileges() -> list[str]:
    """Return what the present role lacks of the privileges of the panel and the bots.

    Each is a part of a sentence, such as "INSERT on the table community_members". A role that lacks
    nothing may have more: the owner of the tables has all of them.
    """
    needed = [
        (name, privilege, kind)
        for kind, granted in (("table", APP_PRIVILEGES), ("sequence", APP_SEQUENCE_PRIVILEGES))
        for name, privileges in granted.items()
        for privilege in privileges.split(", ")
    ]
    names, privileges, kinds = zip(*needed, strict=True)
    records = await engine.fetch(
        FIND_MISSING_PRIVILEGES,
        names=names,
        privileges=privileges,
        kinds=kinds,
        functions=[name.partition("(")[0] for name in APP_FUNCTIONS],
    )
    return [record["missing"] for record in records]


def _join(names: Iterable[str]) -> str:
    return ",\n    ".join(names)
