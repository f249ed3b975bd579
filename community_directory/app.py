"""The ASGI app: Piccolo Admin, the insights and the health checks (`uvicorn main:app`)."""

import asyncio
import contextlib
import logging
import sys
import warnings
from collections.abc import AsyncIterator

import asyncpg
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from community_directory.database import connect, embedded, engine
from community_directory.database.migrations import configure_piccolo
from community_directory.errors import DirectoryError, SchemaMissing
from community_directory.jobs import run_scheduled_jobs
from community_directory.settings import Settings, load_settings_or_exit
from community_directory.web.admin.panel import create_panel
from community_directory.web.insights import INSIGHTS_PATH, create_insights
from community_directory.web.security import protect

READY_TIMEOUT_SECONDS = 2
"""The seconds that the database may take to answer before the app counts as not ready."""

NO_ANSWER_STATUS = "the database does not answer"
READ_ONLY_STATUS = "the database is read-only"

SELECT_READ_ONLY = (
    "SELECT current_setting('transaction_read_only') = 'on', EXISTS (SELECT FROM community_members)"
)
"""The first value is also true on a standby. The statement fails if the tables do not exist."""

logger = logging.getLogger(__name__)
settings = load_settings_or_exit()
configure_piccolo()
# Piccolo warns about the first sign-in without HTTPS. DIRECTORY_PRODUCTION requires HTTPS here.
warnings.filterwarnings("ignore", message="If running sessions in production")


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Keep the connection pool open and run the scheduled jobs while the app runs.

    The app starts even if the database is not available.
    """
    async with connect(min_size=0):
        with run_scheduled_jobs():
            yield
    if settings.postgres_url is None:
        # A signal to uvicorn ends the process without Python's exit handlers, which would do this.
        embedded.release()


async def healthz(_: Request) -> JSONResponse:
    """Return 200: the process is alive."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """Return 200 if the database answers, has the tables and accepts writes, else 503."""
    # There is one check at a time, and it is never cancelled: to cancel a statement, asyncpg would
    # wait for the server that does not answer.
    state = request.app.state
    if not hasattr(state, "check") or state.check.done():
        state.check = asyncio.create_task(_check_database())
    await asyncio.wait({state.check}, timeout=READY_TIMEOUT_SECONDS)
    status = state.check.result() if state.check.done() else NO_ANSWER_STATUS
    return JSONResponse({"status": status}, status_code=200 if status == "ok" else 503)


async def _check_database() -> str:
    """Return "ok", or the reason why the database can't be used."""
    try:
        (found,) = await engine.fetch(SELECT_READ_ONLY)
    except SchemaMissing:
        return "the migrations have not run"
    except (DirectoryError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        logger.warning("Not ready: %s", error)
        return NO_ANSWER_STATUS
    return READ_ONLY_STATUS if found[0] else "ok"


async def redirect_to_insights(_: Request) -> RedirectResponse:
    """Redirect to the insights, whose address ends with a slash."""
    return RedirectResponse(f".{INSIGHTS_PATH}/")


class App(Starlette):
    """The ASGI app for these settings."""

    def __init__(self, settings: Settings) -> None:
        insights = Mount(INSIGHTS_PATH, create_insights(settings))
        panel = Mount("/", create_panel(settings))
        pages = Router([Route(INSIGHTS_PATH, redirect_to_insights), insights, panel])
        # The health checks accept any host name: a load balancer uses an address.
        hosted = TrustedHostMiddleware(pages, settings.allowed_hosts or ["*"], www_redirect=False)
        routes = [Route("/healthz", healthz), Route("/readyz", readyz), Mount("/", hosted)]
        self._settings = settings
        super().__init__(routes=routes, lifespan=lifespan)

    def build_middleware_stack(self) -> ASGIApp:
        """Put the limits and the security headers around all middleware, and around error pages."""
        return protect(super().build_middleware_stack(), self._settings)


try:
    app = App(settings)
except DirectoryError as error:
    sys.exit(str(error))
