from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-22T21:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Sessions end with what they were given for, a superuser is left, and guesses are counted"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        app_name="directory_panel",
        forwards=read_sql(SQL, "panel"),
        backwards=read_sql(SQL, "backwards"),
    )
