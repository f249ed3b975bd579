"""The adoption of databases that the migrations before version 0.1.0 created.

Two migrations replaced those eight. A database of the eight has the same tables, but lacks some
columns, constraints, functions and indexes.
"""

from community_directory.database.sql_migration import execute_script, read_sql
from community_directory.errors import MigrationFailed

APP_NAME = "community_directory"
REPLACED_MIGRATIONS = [
    "2026-11-22T17:35:08:597298",
    "2026-11-22T17:35:10:574764",
    "2026-11-22T18:40:00:000000",
    "2026-11-22T20:40:00:000000",
    "2026-11-22T21:30:00:000000",
    "2026-11-22T21:40:00:000000",
    "2026-11-22T23:50:00:000000",
    "2026-11-23T00:20:56:506040",
]
"""The migrations before version 0.1.0, oldest first. The first one created the tables."""
TABLES_MIGRATION = "2026-11-28T14:50:36:941254"
"""The migration that creates the tables."""

# This column is added before the scripts run. They add the column search_text, which is the later
# of the two in a new database, too.
ADD_SHORTFALL = """
ALTER TABLE public.community_members
    ADD COLUMN reputation_shortfall integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT member_reputation_shortfall_check CHECK (reputation_shortfall >= 0);
"""


async def adopt() -> None:
    """Change a database of the replaced migrations into one of the present migrations.

    The change is a part of the current transaction. Any other database stays as it is.

    Raises:
        MigrationFailed: The database has only some of the replaced migrations.
    """
    # Piccolo's migrations take long to import, and only this function needs them here.
    from piccolo.apps.migrations.tables import Migration  # noqa: PLC0415

    from community_directory.piccolo_migrations import (  # noqa: PLC0415
        community_directory_2026_11_28t15_00_00_000000 as functions_migration,
    )

    if not await Migration.table_exists():
        return
    ran = set(await Migration.get_migrations_which_ran(APP_NAME))
    if ran.isdisjoint(REPLACED_MIGRATIONS):
        return
    if ran != set(REPLACED_MIGRATIONS):
        raise MigrationFailed(
            "This database has only some of the migrations that came before version 0.1.0. "
            "Run the others first, with the version of the program that created it."
        )
    folder = functions_migration.SQL
    await execute_script(read_sql(folder, "adopt", "backwards"))
    await execute_script(ADD_SHORTFALL)
    await execute_script(read_sql(folder, *functions_migration.SCRIPTS))
    first, *others, last = REPLACED_MIGRATIONS
    await Migration.delete().where(Migration.app_name == APP_NAME, Migration.name.is_in(others))
    for old, new in ((first, TABLES_MIGRATION), (last, functions_migration.ID)):
        await Migration.update({Migration.name: new}).where(
            Migration.app_name == APP_NAME, Migration.name == old
        )
