"""Migrations that are a script of SQL, for what Piccolo's table classes can't say."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder


def sql_migration(
    migration_id: str, description: str, *, app_name: str = "community_directory", forwards: str, backwards: str
) -> MigrationManager:
    """A migration that runs one script, and another one on the way back; each may have many statements."""
    manager = MigrationManager(migration_id=migration_id, app_name=app_name, description=description)

    async def run_forwards() -> None:
        await _execute(forwards)

    async def run_backwards() -> None:
        await _execute(backwards)

    manager.add_raw(run_forwards)
    manager.add_raw_backwards(run_backwards)
    return manager


async def _execute(script: str) -> None:
    # Piccolo runs a migration in a transaction. Its Table.raw() would take a single statement, and eat braces.
    engine: Any = engine_finder()
    await engine.current_transaction.get().connection.execute(script)
