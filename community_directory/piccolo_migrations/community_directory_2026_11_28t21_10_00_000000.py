from pathlib import Path

from community_directory.database.sql_migration import read_sql, sql_migration

ID = "2026-11-28T21:10:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "The last reports of community-directory doctor"

SQL = Path(__file__).parent / "sql"


async def forwards():
    return sql_migration(
        ID,
        DESCRIPTION,
        forwards=read_sql(SQL, "doctor_reports"),
        backwards="DROP TABLE public.directory_doctor_reports;",
    )
