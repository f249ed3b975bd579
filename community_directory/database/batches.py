"""The rows of one query in batches, for results that are larger than the memory should be."""

from collections.abc import AsyncGenerator

import asyncpg

from community_directory.database.connections import transaction
from community_directory.database.limits import long_running
from community_directory.errors import database_errors

BATCH_ROWS = 500
"""The number of rows that are read at once."""


async def fetch_batches(
    sql: str, *parameters: object
) -> AsyncGenerator[list[asyncpg.Record], None]:
    """Yield the rows of a query in batches, as of one moment; each batch has the long time limit.

    The query has a transaction of its own until the last batch, and the caller's code runs inside
    it. A caller that may stop before puts `contextlib.aclosing` around the generator.

    Args:
        sql: The query, with numbered parameters.
        *parameters: The values of the parameters.

    Raises:
        DirectoryError: The database can't answer.
    """
    with long_running():
        async with transaction() as current:
            with current.limit_time(), database_errors():
                cursor = await current.connection.cursor(sql, *parameters)
            while True:
                with current.limit_time(), database_errors():
                    records = await cursor.fetch(BATCH_ROWS)
                if not records:
                    return
                yield records
