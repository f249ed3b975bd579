"""Servers of a test's own, which it may stop, kill and promote: PostgreSQL and PgBouncer."""

import configparser
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg
import psutil
import pytest

from community_directory.database import embedded

START_TIMEOUT_SECONDS = 120
"""The time after which a server that does not answer counts as failed."""
SYSTEM_USER = embedded.SYSTEM_USER if os.geteuid() == 0 else None
"""The user that the servers run as, because they refuse to run as root."""


def _find_memory() -> str | None:
    folder = Path("/dev/shm")
    has_room = folder.is_dir() and shutil.disk_usage(folder).free > 2 * 2**30
    return str(folder) if has_room and os.access(folder, os.W_OK) else None


MEMORY = _find_memory()
"""The parent of the servers' directories: a folder in memory with room, else None (the usual one).

A copy of a database there takes 20 ms of the processor. It takes 40 to 300 ms on ext4, which passes
over the inodes of the files that were deleted in the last seconds.
"""


def find_free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def find_or_skip(name: str, *folders: str, variable: str) -> str:
    """Return the path of a program that the machine may lack.

    Args:
        name: The name of the program.
        folders: The folders to look in after those of PATH.
        variable: The environment variable that may name the program.

    The test is skipped, or fails in CI, if the program is missing.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *folders])
    found = os.environ.get(variable) or shutil.which(name, path=path)
    if found is None:
        skip_or_fail(f"{name} is not installed (and {variable} does not name it)")
    return found


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI, where nothing may be missing."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass
class PostgresServer:
    """A PostgreSQL server of the embedded version, on a port of the loopback address.

    Attributes:
        directory: The directory for the data and the log.
        port: The port.
        settings: The server's settings.
    """

    directory: Path
    port: int = field(default_factory=find_free_port)
    settings: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def url(self) -> str:
        """The URL of the database of a superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def initialize(self) -> None:
        """Create the data directory."""
        self._make_directory()
        self._run(
            *("initdb", "--pgdata", self.data, "--username=postgres", "--auth=trust"),
            *("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
        )

    async def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",  # the data need not survive a power cut
            "shared_buffers": "16MB",
            # In the data directory: a killed server leaves a megabyte in /dev/shm otherwise.
            "dynamic_shared_memory_type": "mmap",
            **self.settings,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", self.data, *options],
                stdout=log,
                stderr=log,
                user=SYSTEM_USER,
                cwd=self.directory,
            )
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                await (await asyncpg.connect(self.url)).close()
                return
            except (OSError, asyncpg.PostgresError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self.directory / "log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL does not start:\n{log_text}") from None
                time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End the server: cut its connections and write its data, or kill it with SIGKILL."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_TIMEOUT_SECONDS)
            self._process = None
            self._wait_for_children()

    def is_running(self) -> bool:
        """Return whether the server has neither ended nor been stopped."""
        return self._process is not None and self._process.poll() is None

    def copy(self, primary: "PostgresServer") -> None:
        """Make this stopped server a standby of a running one, whatever it was before."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self._make_directory()
        self._run(
            *("pg_basebackup", "--pgdata", self.data, "--write-recovery-conf"),
            *("--checkpoint=fast", "--no-sync", f"--dbname={primary.url}"),
        )

    def promote(self) -> None:
        """Promote this standby, and wait until it accepts writes."""
        self._run("pg_ctl", "promote", "-D", self.data, "-w", "-t", str(START_TIMEOUT_SECONDS))

    def _make_directory(self) -> None:
        self.directory.mkdir()
        if SYSTEM_USER:
            shutil.chown(self.directory, SYSTEM_USER)

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [_program(program), *arguments],
            user=SYSTEM_USER,
            cwd=self.directory,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=START_TIMEOUT_SECONDS,
        )

    def freeze(self) -> None:
        """Stop the server's processes: it accepts connections and never answers."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        """Let frozen processes go on."""
        for process in self._processes():
            process.resume()

    def _wait_for_children(self) -> None:
        """Wait until a killed server's processes have ended; it could not start again before."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while self._processes():
            assert time.monotonic() < deadline, "the processes of a killed server do not end"
            time.sleep(0.05)

    def _processes(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["cwd"])
            if process.info["cwd"] == str(self.data)
        ]


def _program(name: str) -> str:
    found = embedded.find_program(name)
    return str(found) if found and found.exists() else name


@dataclass(frozen=True)
class PgBouncer:
    """A running PgBouncer.

    Attributes:
        program: The path of the program.
        version: The version, for example (1, 18, 0).
        port: The port of the loopback address that it listens on.
    """

    program: str
    version: tuple[int, ...]
    port: int

    def url(self, database_url: str) -> str:
        """Return the URL that leads through PgBouncer to the database with this URL."""
        path = urlsplit(database_url).path
        return urlunsplit(("postgresql", f"postgres@127.0.0.1:{self.port}", path, "", ""))


def find_pgbouncer() -> tuple[str, tuple[int, ...]]:
    """Return the path and the version of PgBouncer; the test is skipped if there is none."""
    program = find_or_skip("pgbouncer", "/usr/sbin", variable="TEST_PGBOUNCER")
    printed = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    version = printed.split()[1]
    return program, tuple(int(part) for part in version.split("."))


@contextmanager
def running_pgbouncer(directory: Path, server_url: str, configuration: str) -> Iterator[PgBouncer]:
    """Run PgBouncer in front of a server.

    Args:
        directory: A directory that the system user of the servers can read.
        server_url: The URL of a database of the server.
        configuration: The text of `pgbouncer.ini`. Where it listens, how it authenticates and where
            the server is are replaced; the other lines are used as they are.
    """
    program, version = find_pgbouncer()
    port = find_free_port()
    # A later line for the same name replaces an earlier one.
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read_string(configuration)
    parts = urlsplit(server_url)
    query = parse_qs(parts.query)
    host = query["host"][0] if "host" in query else parts.hostname
    server_port = query["port"][0] if "port" in query else parts.port
    parser["databases"] = {"*": f"host={host} port={server_port}"}
    users = directory / "users.txt"
    users.write_text('"postgres" ""\n')
    for name in ("logfile", "pidfile"):
        parser.remove_option("pgbouncer", name)
    parser["pgbouncer"].update(
        {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(users),
        }
    )
    file = directory / "pgbouncer.ini"
    with file.open("w") as opened:
        parser.write(opened)
    with subprocess.Popen(
        [program, "--quiet", file], user=SYSTEM_USER, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _wait_for_port(port, process)
            yield PgBouncer(program, version, port)
        finally:
            process.kill()


def _wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"PgBouncer does not start: {process.communicate()[1]}")
        time.sleep(0.05)
