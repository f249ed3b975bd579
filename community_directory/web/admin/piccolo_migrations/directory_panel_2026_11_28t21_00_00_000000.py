from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-28T21:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "A password that somebody else has set is changed at the first sign-in"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        app_name="directory_panel",
        forwards=read_sql(SQL, "temporary_passwords"),
        backwards=read_sql(SQL, "temporary_passwords_backwards"),
    )
