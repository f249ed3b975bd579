from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T01:50:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Pairs of members who are two persons"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "dismissed_merges"),
        backwards=read_sql(SQL, "dismissed_merges_backwards"),
    )
