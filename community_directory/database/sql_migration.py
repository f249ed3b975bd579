"""Migrations that run SQL scripts, for what Piccolo's table classes can't express."""

from pathlib import Path
from typing import TYPE_CHECKING

from community_directory.database import engine

if TYPE_CHECKING:
    from piccolo.apps.migrations.auto.migration_manager import MigrationManager


def read_sql(folder: Path, *names: str) -> str:
    """Return the scripts with these names, joined in this order."""
    return "\n".join((folder / f"{name}.sql").read_text(encoding="utf-8") for name in names)


def sql_migration(
    migration_id: str,
    description: str,
    *,
    app_name: str = "community_directory",
    forwards: str,
    backwards: str,
) -> "MigrationManager":
    """Return a migration that runs one script forwards and another one backwards."""
    # The commands that restore and check a database import this module, and run no migration.
    from piccolo.apps.migrations.auto.migration_manager import (  # noqa: PLC0415  slow
        MigrationManager,
    )

    manager = MigrationManager(
        migration_id=migration_id, app_name=app_name, description=description
    )

    async def run_forwards() -> None:
        await execute_script(forwards)

    async def run_backwards() -> None:
        await execute_script(backwards)

    manager.add_raw(run_forwards)
    manager.add_raw_backwards(run_backwards)
    return manager


async def execute_script(script: str) -> None:
    """Run a script of many statements completely or not at all."""
    # Piccolo's Table.raw() takes a single statement, and treats braces as placeholders.
    async with engine.transaction() as current:
        with current.limit_time():
            await current.connection.execute(script)
