from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T01:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "One-time codes that link two accounts of one person"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "link_codes"),
        backwards=read_sql(SQL, "link_codes_backwards"),
    )
