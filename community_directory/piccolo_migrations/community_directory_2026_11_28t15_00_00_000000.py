from pathlib import Path

from community_directory.sql_migration import read_sql, sql_migration

ID = "2026-11-28T15:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Numbers, functions, triggers and indexes"

SQL = Path(__file__).parent / "sql"
# The sequence is in no file: it keeps its place when a database is adopted.
SEQUENCE = "SEQUENCE public.community_member_number"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=f"CREATE {SEQUENCE} AS bigint;\n"
        + read_sql(SQL, "members", "invitations", "audit", "search_text", "search", "indexes"),
        backwards=read_sql(SQL, "backwards") + f"DROP {SEQUENCE};",
    )
