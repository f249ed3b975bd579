from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T10:11:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Members are counted by status, tier and week from an index alone"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "member_status"),
        backwards=read_sql(SQL, "member_status_backwards"),
    )
