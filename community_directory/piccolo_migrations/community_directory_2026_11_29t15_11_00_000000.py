from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T15:11:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Suspensions that end by the clock"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "suspensions"),
        backwards=read_sql(SQL, "suspensions_backwards"),
    )
