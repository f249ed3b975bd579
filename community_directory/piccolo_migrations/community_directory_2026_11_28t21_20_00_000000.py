from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-28T21:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Programs that do not own the audit log erase a person, and forge no entry"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "audit_2026_11_28"),
        backwards=read_sql(SQL, "audit_2026_11_28_backwards"),
    )
