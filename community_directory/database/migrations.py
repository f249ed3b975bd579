"""Migrations: all that are pending or none, one process at a time, whoever runs them."""

import contextlib
import functools
import io
import logging
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec

import asyncpg

from community_directory.database import CONNECTION_ERRORS, DirectoryTransaction, connect, engine
from community_directory.database.adoption import adopt
from community_directory.errors import DirectoryError, MigrationFailed

if TYPE_CHECKING:
    from piccolo.apps.migrations.commands.base import MigrationResult

logger = logging.getLogger(__name__)

LOCK_KEY = 0x636F6D6D756E6974
"""The advisory lock's key: "communit" in ASCII."""
MAX_WAIT = "5min"
"""How long one process waits for another that is migrating."""
LOCK_TIMEOUT = "10s"
"""How long a migration waits for a table in use: a queue behind it would stop the community."""
STATEMENT_TIMEOUT = "15min"

P = ParamSpec("P")


async def migrate() -> None:
    """Bring the schema up to date: all pending migrations, or none of them.

    Safe to call from several processes at once (the others wait, then find nothing to do) and to
    kill at any moment: the migrations and Piccolo's record of them are one transaction under an
    advisory lock.

    Raises:
        MigrationFailed: the schema is as it was before.
    """
    # It takes as long to import as everything else together, and bots don't need it.
    from piccolo.apps.migrations.commands.forwards import run_forwards  # noqa: PLC0415

    printed = io.StringIO()
    try:
        async with _migrating():
            with contextlib.redirect_stdout(printed):
                result = await run_forwards(app_name="all")
            if not result.success:
                raise MigrationFailed(
                    f"The schema could not be brought up to date: {result.message}"
                )
    finally:
        logger.debug("Piccolo's report of the migrations: %s", printed.getvalue())


def in_one_transaction(
    run: Callable[P, Coroutine[Any, Any, "MigrationResult"]],
) -> Callable[P, Coroutine[Any, Any, "MigrationResult"]]:
    """Make Piccolo's `run_forwards` or `run_backwards` as atomic as `migrate()`.

    It connects where nobody has. Inside a transaction it does nothing more: `migrate()` is there.
    """

    @functools.wraps(run)
    async def run_in_one_transaction(*args: P.args, **kwargs: P.kwargs) -> "MigrationResult":
        if engine.transaction_exists():
            return await run(*args, **kwargs)
        try:
            async with contextlib.AsyncExitStack() as stack:
                if engine.pool is None:
                    await stack.enter_async_context(connect(min_size=0))
                current = await stack.enter_async_context(_migrating())
                result = await run(*args, **kwargs)
                if kwargs.get("preview") or not result.success:
                    await current.rollback()
        except DirectoryError as error:
            sys.exit(str(error))  # Piccolo would bury the sentence under its help
        return result

    return run_in_one_transaction


@contextlib.asynccontextmanager
async def _migrating() -> AsyncIterator[DirectoryTransaction]:
    """Open the transaction of all migrations, wait for the lock, and adopt an old database."""
    try:
        async with engine.transaction(allow_nested=False) as current:
            await current.connection.execute(
                f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}';"
                f"SET LOCAL lock_timeout = '{MAX_WAIT}'; SELECT pg_advisory_xact_lock({LOCK_KEY});"
                f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"
            )
            await adopt()
            yield current
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailed(
            "The schema could not be brought up to date: another process is migrating, or holds a table."
        ) from error
    except CONNECTION_ERRORS as error:
        raise MigrationFailed(f"The schema could not be brought up to date: {error}") from error
    except ModuleNotFoundError as error:
        raise MigrationFailed(
            f"Migrations run where piccolo_conf.py lies, in a clone: {error}"
        ) from error
