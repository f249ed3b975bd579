from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T14:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "A table for the consumers of the change feed, and a trigger that wakes them"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "audit_feed"),
        backwards=read_sql(SQL, "audit_feed_backwards"),
    )
