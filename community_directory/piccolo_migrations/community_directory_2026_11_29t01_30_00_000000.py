from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-29T01:30:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "The accounts of erased people, and the audit log of all accounts of a person"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "erased_accounts", "audit_2026_11_29"),
        backwards=read_sql(SQL, "audit_2026_11_29_backwards", "erased_accounts_backwards"),
    )
