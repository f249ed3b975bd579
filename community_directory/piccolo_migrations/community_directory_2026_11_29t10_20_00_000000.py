from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T10:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Indexes for the lists of the panel and for the invitations of a person"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "panel_lists") + read_sql(SQL, "audit_erasure"),
        # The function of before was written by the script of this name.
        backwards=read_sql(SQL, "audit_erasure_backwards")
        + read_sql(SQL, "audit_2026_11_29")
        + read_sql(SQL, "panel_lists_backwards"),
    )
