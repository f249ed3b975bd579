"""Prepare the database and serve the app: `community-directory serve`, `python main.py`."""

import asyncio
import contextlib
import socket
import sys

import uvicorn

from community_directory.commands import load_demo_data, print_line
from community_directory.database import connect
from community_directory.database.migrations import migrate
from community_directory.errors import DirectoryError
from community_directory.settings import Settings, load_settings_or_exit

SHUTDOWN_SECONDS = 5
"""How long requests may go on when the process is told to stop."""


def serve_app(host: str | None, port: int | None, *, demo: bool) -> None:
    """Take the port, prepare the database, and serve the app until told to stop."""
    settings = load_settings_or_exit()
    listener = _listen(
        settings.host if host is None else host, settings.port if port is None else port
    )
    try:
        asyncio.run(prepare_database(settings, demo=demo))
    except DirectoryError as error:
        sys.exit(str(error))
    # It takes longer to import than all of the above, which has printed its steps by now.
    from community_directory.app import app  # noqa: PLC0415

    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    )
    with contextlib.suppress(KeyboardInterrupt):
        print_line(f"{settings.site_name} is at {_url_of(listener)} (Ctrl+C stops it)")
        server.run(sockets=[listener])


async def prepare_database(settings: Settings, *, demo: bool) -> None:
    """Migrate, create the first superuser if there is none, and load the demo if asked to."""
    from community_directory.web.admin.users import create_first_superuser  # noqa: PLC0415  slow

    async with connect():
        await migrate()
        password = await create_first_superuser(settings)
        if password:
            print_line(
                f"Sign in as {settings.admin_username} with the password {password} "
                "(shown only this once)"
            )
        if demo:
            await load_demo_data()


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is done."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    # Python raises the last two for a host that can't be encoded.
    except (OSError, TypeError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", "this is no host")).partition(" (")[0]
        sys.exit(
            f"Can't listen on {host}, port {port}: {reason}. Choose another with --host or --port."
        )


def _url_of(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"
