from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T00:31:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Bots earn nothing, and the indexes of lists leave them out"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "bots"),
        backwards=read_sql(SQL, "bots_backwards"),
    )
