"""The adoption of a database that the migrations before 0.1.0 made.

They were eight, and became two. Whoever ran the eight has the same tables, but for some rules.
"""

from pathlib import Path

from community_directory.database.sql_migration import execute_script, read_sql
from community_directory.errors import MigrationFailed

APP = "community_directory"
REPLACED = [
    "2026-11-22T17:35:08:597298",
    "2026-11-22T17:35:10:574764",
    "2026-11-22T18:40:00:000000",
    "2026-11-22T20:40:00:000000",
    "2026-11-22T21:30:00:000000",
    "2026-11-22T21:40:00:000000",
    "2026-11-22T23:50:00:000000",
    "2026-11-23T00:20:56:506040",
]
"""The migrations before 0.1.0. The first made the tables; the last is the newest."""
TABLES, FUNCTIONS = "2026-11-28T14:50:36:941254", "2026-11-28T15:00:00:000000"
"""The migrations that stand for them."""

SQL = Path(__file__).parent.parent / "piccolo_migrations" / "sql"
# A column comes before the searched text, and so before the functions.
SHORTFALL = """
ALTER TABLE public.community_members
    ADD COLUMN reputation_shortfall integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT member_reputation_shortfall_check CHECK (reputation_shortfall >= 0);
"""


async def adopt() -> None:
    """Bring such a database, in the current transaction, to where the present migrations end.

    Any other database is left as it is. Raises `MigrationFailed` for one that has only some of the
    replaced migrations.
    """
    # It takes long to import, and only a migration needs it.
    from piccolo.apps.migrations.tables import Migration  # noqa: PLC0415

    if not await Migration.table_exists():
        return
    ran = set(await Migration.get_migrations_which_ran(APP))
    if ran.isdisjoint(REPLACED):
        return
    if ran != set(REPLACED):
        raise MigrationFailed(
            "This database has only some of the migrations that came before version 0.1.0. "
            "Run the others first, with the version of the program that made it."
        )
    await execute_script(read_sql(SQL, "adopt", "backwards"))
    await execute_script(SHORTFALL)
    await execute_script(
        read_sql(
            SQL,
            "members",
            "invitations",
            "audit",
            "search_text",
            "search",
            "indexes",
            "rolled_up_days",
        )
    )
    first, *others, last = REPLACED
    await Migration.delete().where(Migration.app_name == APP, Migration.name.is_in(others))
    for old, new in ((first, TABLES), (last, FUNCTIONS)):
        await Migration.update({Migration.name: new}).where(
            Migration.app_name == APP, Migration.name == old
        )
