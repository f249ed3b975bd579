from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T00:50:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Rooms that became other rooms, events that are taken back, and holders of usernames"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "moved_rooms"),
        backwards=read_sql(SQL, "moved_rooms_backwards"),
    )
