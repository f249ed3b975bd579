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

SHUTDOWN_TIMEOUT_SECONDS = 3
"""The seconds that running requests have to finish after the process gets a signal to stop."""


def serve_app(host: str | None, port: int | None, *, demo: bool) -> None:
    """Listen on the port, prepare the database, and serve the app until a signal stops it."""
    settings = load_settings_or_exit()
    listener = _listen(
        settings.host if host is None else host, settings.port if port is None else port
    )
    try:
        asyncio.run(prepare_database(settings, demo=demo))
    except DirectoryError as error:
        sys.exit(str(error))
    # The app takes long to import, so the steps above run and print their messages first.
    from community_directory.app import app  # noqa: PLC0415

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            proxy_headers=False,  # DIRECTORY_TRUSTED_PROXIES is the only setting about proxies
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_SECONDS,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        print_line(f"{settings.site_name} is at {_make_url(listener)} (Ctrl+C stops it)")
        server.run(sockets=[listener])


async def prepare_database(settings: Settings, *, demo: bool) -> None:
    """Migrate, create the first superuser if there is none, and load the demo if `demo` is set."""
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
    """Return a socket that listens on the port, or end the program if there can be none."""
    try:
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    # Python raises TypeError or UnicodeError for a host that can't be encoded.
    except (OSError, TypeError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", "this is not a host")).partition(" (")[0]
        sys.exit(
            f"Can't listen on {host}, port {port}: {reason}. Choose another with --host or --port."
        )
    # Connections inherit this. asyncio does not set it for the connections of a given socket, and
    # each response would wait 40 ms for the client to acknowledge its headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _make_url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"
