from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T15:40:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Viewers, invitations of colleagues, and when each user of the panel was here"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        app_name="directory_panel",
        forwards=read_sql(SQL, "access"),
        backwards=read_sql(SQL, "access_backwards"),
    )
