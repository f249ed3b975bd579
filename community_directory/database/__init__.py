"""The database: the engine of the tables, connections, transactions, statements and migrations."""

from community_directory.database.actor import act_as
from community_directory.database.batches import fetch_batches
from community_directory.database.connections import (
    DirectoryConnection,
    DirectoryEngine,
    connect,
    engine,
    transaction,
)
from community_directory.database.limits import long_running
from community_directory.database.pool import CONNECTION_ERRORS
from community_directory.database.replicas import primary_only
from community_directory.database.statements import Parameters, Statement
from community_directory.database.transactions import DirectoryTransaction

__all__ = [
    "CONNECTION_ERRORS",
    "DirectoryConnection",
    "DirectoryEngine",
    "DirectoryTransaction",
    "Parameters",
    "Statement",
    "act_as",
    "connect",
    "engine",
    "fetch_batches",
    "long_running",
    "migrate",
    "primary_only",
    "transaction",
]


async def migrate() -> int:
    """Bring the schema up to date, as `community_directory.database.migrations.migrate` does."""
    # Piccolo's migrations take as long to import as all other modules; bots rarely need them.
    from community_directory.database.migrations import migrate as run_migrations  # noqa: PLC0415

    return await run_migrations()
