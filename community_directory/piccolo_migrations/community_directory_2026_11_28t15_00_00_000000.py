from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-28T15:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Numbers, functions, triggers and indexes"

SQL = Path(__file__).parent / "sql"
SCRIPTS = ("members", "invitations", "audit", "search_text", "search", "indexes", "rolled_up_days")
"""The scripts that this migration runs; the adoption of an older database runs them, too."""

# Not in backwards.sql: an adopted database keeps its sequence, and has no table of days yet.
SEQUENCE = "SEQUENCE public.community_member_number"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=f"CREATE {SEQUENCE} AS bigint;\n"
        + read_sql(SQL, *SCRIPTS),
        backwards=read_sql(SQL, "backwards")
        + f"DROP TABLE public.directory_rolled_up_days;\nDROP {SEQUENCE};",
    )
