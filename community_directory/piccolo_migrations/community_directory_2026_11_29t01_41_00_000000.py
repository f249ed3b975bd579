from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T01:41:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "The rows that merges moved, and numbers that lead to another member"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "merges"),
        backwards=read_sql(SQL, "merges_backwards"),
    )
