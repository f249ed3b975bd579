"""The health checks `/healthz` and `/readyz`."""

import asyncio
import logging
from typing import NamedTuple

import asyncpg
from starlette.requests import Request
from starlette.responses import JSONResponse

from community_directory.database import engine
from community_directory.database.migrations import compare_migrations
from community_directory.errors import DirectoryError, NotAllowed, SchemaMissing
from community_directory.logs import name_exception

READY_TIMEOUT_SECONDS = 2
"""The seconds that the database may take to answer before the app counts as not ready."""

# The statement fails if the tables do not exist.
CHECK_DATABASE = """
SELECT
    current_setting('transaction_read_only') = 'on' AS is_read_only,
    has_table_privilege('public.community_members', 'INSERT')
        AND has_table_privilege('public.community_members', 'UPDATE') AS may_write,
    ARRAY(SELECT app_name || ' ' || name FROM public.migration) AS migrations
"""

logger = logging.getLogger(__name__)


class Readiness(NamedTuple):
    """Whether the app can serve requests.

    Attributes:
        missing: The part that is missing: "database", "schema" or "write_access"; None if the app
            is ready.
        message: A sentence for the operator; empty if there is nothing to say.
    """

    missing: str | None = None
    message: str = ""


READY = Readiness()
NO_ANSWER = Readiness("database", "The database does not answer, or has no connection free.")
NO_TABLES = Readiness(
    "schema", "The database has no tables. Run the migrations: community-directory migrate"
)
OLD_SCHEMA = Readiness(
    "schema",
    "The schema is older than this program. Run the migrations: community-directory migrate",
)
NEW_SCHEMA = Readiness(None, "The schema is newer than this program. Upgrade the program.")
READ_ONLY = Readiness("write_access", "The database is read-only.")
NO_PRIVILEGES = Readiness(
    "write_access", "The database role of this program may not read or write the tables."
)


async def healthz(_: Request) -> JSONResponse:
    """Return 200: the process is alive."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """Return 200 if the app can serve requests, else 503 with what is missing."""
    # Requests share one check, so that many of them can't take all connections.
    state = request.app.state
    if not hasattr(state, "check") or state.check.done():
        state.check = asyncio.create_task(check_readiness())
    found: Readiness = await asyncio.shield(state.check)
    if found != getattr(state, "readiness", READY):
        logger.warning("%s: %s", "Not ready" if found.missing else "Ready", found.message or "ok")
    state.readiness = found
    if found.missing is None:
        return JSONResponse(
            {"status": "ok"} | ({"message": found.message} if found.message else {})
        )
    content = {"status": "not ready", "missing": found.missing, "message": found.message}
    return JSONResponse(content, 503)


async def check_readiness() -> Readiness:
    """Ask the database on a connection of the pool, as a request does."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            (found,) = await engine.fetch(CHECK_DATABASE)
    except SchemaMissing:
        return NO_TABLES
    except NotAllowed:
        return NO_PRIVILEGES
    except (TimeoutError, DirectoryError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        logger.debug("The database did not answer: %s", name_exception(error))
        return NO_ANSWER
    return _judge(found)


def _judge(found: asyncpg.Record) -> Readiness:
    pending, unknown = compare_migrations(set(found["migrations"]))
    if pending:
        return OLD_SCHEMA
    if found["is_read_only"]:
        return READ_ONLY
    if not found["may_write"]:
        return NO_PRIVILEGES
    return NEW_SCHEMA if unknown else READY
