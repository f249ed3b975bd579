from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T01:01:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "The accounts that the columns of a member name"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "accounts"),
        backwards=read_sql(SQL, "accounts_backwards"),
    )
