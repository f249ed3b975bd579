from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T00:10:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Searches fold every script alike on every server"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "search_text_2026_11_29", "search_2026_11_29"),
        backwards=read_sql(SQL, "search_2026_11_29_backwards", "search_text", "search"),
    )
