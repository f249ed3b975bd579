"""The ASGI app: the workspace, Piccolo Admin and the health checks (`uvicorn main:app`)."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp

from community_directory import logs
from community_directory.database import connect, embedded
from community_directory.database.migrations import configure_piccolo
from community_directory.errors import DirectoryError
from community_directory.health import healthz, readyz
from community_directory.jobs import run_scheduled_jobs, wait_for_cancelled_jobs
from community_directory.settings import Settings, load_settings_or_exit
from community_directory.web.admin.panel import create_panel
from community_directory.web.metrics import create_metrics_page
from community_directory.web.request_log import RequestLog
from community_directory.web.security import ADMIN_PATH, protect
from community_directory.web.workspace.app import create_workspace

SERVER_LOST_EXIT_CODE = 1
SERVER_LOST_MESSAGE = (
    "The embedded PostgreSQL has ended, and this program ends too. "
    "Start it again: it starts the server, and nothing that was committed is lost."
)

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
    # uvicorn has set up its own log by now, which this replaces.
    logs.set_up(settings)
    async with connect(min_size=0):
        watch = asyncio.create_task(_watch_embedded_server())
        with run_scheduled_jobs():
            yield
        await wait_for_cancelled_jobs()
        is_server_lost = watch.done() and settings.postgres_url is None
        watch.cancel()
    if settings.postgres_url is None:
        # A signal to uvicorn ends the process without Python's exit handlers, which would do this.
        embedded.release()
    if is_server_lost:
        # uvicorn would end with the code of SIGTERM, which a supervisor takes for a wanted end.
        os._exit(SERVER_LOST_EXIT_CODE)


async def _watch_embedded_server() -> None:
    """End the process as SIGTERM does when its embedded server has ended."""
    if settings.postgres_url is not None:
        return
    await embedded.wait_for_end(settings.data_directory)
    logger.critical(SERVER_LOST_MESSAGE)
    signal.raise_signal(signal.SIGTERM)


async def redirect_to_panel(_: Request) -> RedirectResponse:
    """Redirect to Piccolo Admin, whose address ends with a slash."""
    return RedirectResponse(f".{ADMIN_PATH}/")


class App(Starlette):
    """The ASGI app for these settings."""

    def __init__(self, settings: Settings) -> None:
        pages = Router(
            [
                Route(ADMIN_PATH, redirect_to_panel),
                Mount(ADMIN_PATH, create_panel(settings)),
                Mount("/", create_workspace(settings)),
            ]
        )
        # The health checks and the metrics accept any host name: programs use an address.
        hosted = TrustedHostMiddleware(pages, settings.allowed_hosts or ["*"], www_redirect=False)
        routes: list[BaseRoute] = [Route("/healthz", healthz), Route("/readyz", readyz)]
        if settings.metrics_token is not None:
            routes.append(create_metrics_page(settings.metrics_token))
        routes.append(Mount("/", hosted))
        self._settings = settings
        super().__init__(routes=routes, lifespan=lifespan)

    def build_middleware_stack(self) -> ASGIApp:
        """Put limits, security headers and the log around all middleware and error pages."""
        return RequestLog(protect(super().build_middleware_stack(), self._settings), self.router)


try:
    app = App(settings)
except DirectoryError as error:
    sys.exit(str(error))
