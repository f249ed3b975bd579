"""The web app (`main:app`), and `python main.py`, which prepares the database and serves it."""

import argparse
import asyncio
import contextlib
import logging
import socket
import sys
import warnings
from collections.abc import AsyncIterator
from typing import NoReturn

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp

from community_directory.database import connect, embedded, engine
from community_directory.database.migrations import migrate
from community_directory.demo import load_demo
from community_directory.errors import DirectoryError, SchemaMissing
from community_directory.jobs import scheduled
from community_directory.settings import Settings, load_settings_or_exit
from community_directory.web.admin.panel import create_panel
from community_directory.web.admin.users import create_first_superuser
from community_directory.web.insights import INSIGHTS_PATH, create_insights
from community_directory.web.security import SecurityHeaders

READY_SECONDS = 2
"""How long the database may take to answer before the app counts as not ready."""

AWAY = "the database does not answer"
READ_ONLY = "the database only reads"

IS_READ_ONLY = (
    "SELECT current_setting('transaction_read_only') = 'on', EXISTS (SELECT FROM community_members)"
)
"""A standby says so, too."""

logger = logging.getLogger(__name__)
settings = load_settings_or_exit()
# Said at each first sign-in without HTTPS; that is what DIRECTORY_PRODUCTION is for.
warnings.filterwarnings("ignore", message="If running sessions in production")


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Hold the connection pool, and do what is due by the clock, while the app runs; the database may be away."""
    async with connect(min_size=0):
        with scheduled():
            yield
    if settings.postgres_url is None:
        embedded.leave()  # uvicorn, when told to stop, ends the process without Python's exit handlers


async def healthz(_: Request) -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> JSONResponse:
    """The database answers, has the tables and can write: send traffic here."""
    # One check at a time, never cancelled: to cancel a statement, asyncpg waits for the server that doesn't answer.
    state = request.app.state
    if not hasattr(state, "check") or state.check.done():
        state.check = asyncio.create_task(_database_status())
    await asyncio.wait({state.check}, timeout=READY_SECONDS)
    status = state.check.result() if state.check.done() else AWAY
    return JSONResponse({"status": status}, status_code=200 if status == "ok" else 503)


async def _database_status() -> str:
    try:
        (found,) = await engine.fetch(IS_READ_ONLY)
    except SchemaMissing:
        return "the migrations have not run"
    except (DirectoryError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        logger.warning("Not ready: %s", error)
        return AWAY
    return READ_ONLY if found[0] else "ok"


async def to_insights(_: Request) -> RedirectResponse:
    """Lead to the pages, whose address ends with a slash."""
    return RedirectResponse(f".{INSIGHTS_PATH}/")


class App(Starlette):
    """The panel and the health checks."""

    def __init__(self, settings: Settings) -> None:
        # Not for the health checks: who asks for them calls us by another name.
        insights = Mount(INSIGHTS_PATH, create_insights(settings))
        pages = Router(
            [Route(INSIGHTS_PATH, to_insights), insights, Mount("/", create_panel(settings))]
        )
        hosted = TrustedHostMiddleware(pages, settings.allowed_hosts or ["*"], www_redirect=False)
        routes = [Route("/healthz", healthz), Route("/readyz", readyz), Mount("/", hosted)]
        self._production = settings.production
        super().__init__(routes=routes, lifespan=lifespan)

    def build_middleware_stack(self) -> ASGIApp:
        """Put the security headers outside of everything: Starlette's own answer to an error has them, too."""
        return SecurityHeaders(super().build_middleware_stack(), production=self._production)


try:
    app = App(settings)
except DirectoryError as error:
    sys.exit(str(error))


def main() -> None:
    """Migrate, create the first superuser, load the demo when asked to, and serve until told to stop."""
    options = _options()
    listener = _listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_prepare(demo=options.demo))
        except DirectoryError as error:
            sys.exit(str(error))
        _say(
            f"{settings.site_name} is at http://{f'[{host}]' if ':' in host else host}:{port}/ (Ctrl+C stops it)"
        )
        server.run(sockets=[listener])


class OptionParser(argparse.ArgumentParser):
    """Prints one line about a wrong option, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and exit."""
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def _options() -> argparse.Namespace:
    parser = OptionParser(
        prog="python main.py",
        description="Migrate the database, create the first superuser when there is none, and serve the panel.",
    )
    parser.add_argument("--demo", action="store_true", help="first load a small made-up community")
    parser.add_argument(
        "--host", default=settings.host, help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        default=settings.port,
        type=int,
        help="port, 0 for a free one (default: %(default)s)",
    )
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error("--port must lie between 0 and 65535")
    return options


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is done."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (
        OSError,
        TypeError,
        UnicodeError,
    ) as error:  # the others are for a host that can't be encoded
        reason = str(getattr(error, "strerror", "this is no host")).partition(" (")[0]
        sys.exit(
            f"Can't listen on {host}, port {port}: {reason}. Choose another with --host or --port."
        )


async def _prepare(*, demo: bool) -> None:
    async with connect():
        await migrate()
        password = await create_first_superuser(settings)
        if password:
            _say(
                f"Sign in as {settings.admin_username} with the password {password} (shown only this once)"
            )
        if demo:
            _say(
                "The demo community was loaded."
                if await load_demo()
                else "The demo community is there already."
            )


def _say(sentence: str) -> None:
    print(sentence, flush=True)  # noqa: T201  a program talks to its user


if __name__ == "__main__":
    main()
