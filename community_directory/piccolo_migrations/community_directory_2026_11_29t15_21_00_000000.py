from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T15:21:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "The audit log records acts, and approvals and refusals can be undone"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "acts"),
        backwards=read_sql(SQL, "acts_backwards"),
    )
