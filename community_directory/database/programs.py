"""PostgreSQL's own programs (psql, pg_dump, pg_restore), and how they are run."""

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from community_directory.database import embedded
from community_directory.database.hosts import name_session_attributes
from community_directory.errors import BackupFailed, ConfigurationError

CONNECT_TIMEOUT_SECONDS = 10
"""The longest time that a program waits for a connection to a host."""
END_TIMEOUT_SECONDS = 1
"""The longest time that a program may take to end when it is told to; then it is killed."""
CHUNK_BYTES = 1 << 18

INSTALL_DIRECTORIES = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin")
"""The directories in which Debian and Red Hat install the programs of a version."""

SSL_KEY_MESSAGE = (
    "While a program of PostgreSQL runs, every user of this machine could see the sslpassword of "
    "POSTGRES_URL: remove it for this command."
)


async def find_program(name: str, major: int) -> Path:
    """Return the path of a program of this major version of PostgreSQL.

    Another version would not do: an older pg_dump does not read the server, and a newer pg_restore
    sends settings that the server does not know.

    Raises:
        ConfigurationError: There is no such program.
    """
    other_versions = []
    for path in _list_candidates(name, major):
        printed = await run([str(path), "--version"])
        version = int((re.search(rb"\) (\d+)", printed) or [0, 0])[1])
        if version == major:
            return path
        other_versions.append(str(version))
    others = f" (there is version {' and '.join(other_versions)})" if other_versions else ""
    raise ConfigurationError(
        f"The server runs PostgreSQL {major}, and {name} of the same version is missing{others}: "
        f"install PostgreSQL's client programs, on Debian the package postgresql-client-{major}."
    )


def _list_candidates(name: str, major: int) -> list[Path]:
    """Return the programs with this name that exist, those of the version's own directory first."""
    candidates = [Path(folder.format(major=major)) / name for folder in INSTALL_DIRECTORIES]
    elsewhere = (embedded.find_program(name), shutil.which(name))
    candidates += [Path(path) for path in elsewhere if path is not None]
    return [path for path in candidates if path.exists()]


def make_url(config: Mapping[str, Any]) -> str:
    """Return the URL of the database of an engine's configuration, for PostgreSQL's programs."""
    if "dsn" in config:
        return name_session_attributes(str(config["dsn"]))
    query = urlencode({"host": config["host"], "port": config["port"]})
    return f"postgresql://{config['user']}@/{config['database']}?{query}"


def replace_database(url: str, database: str) -> str:
    """Return a PostgreSQL URL that names another database."""
    kept = _options_without(url, "dbname", "database")
    return urlsplit(url)._replace(path=f"/{quote(database, safe='')}", query=kept).geturl()


def split_password(url: str) -> tuple[str, str | None]:
    """Return a PostgreSQL URL without its password, and the password.

    Raises:
        ConfigurationError: The URL has the password of a key, which the programs take from nowhere
            else.
    """
    parts = urlsplit(url)
    account, at, hosts = parts.netloc.rpartition("@")
    user, colon, encoded = account.partition(":")
    password = unquote(encoded) if colon else None
    for name, value in _options(url):
        if name == "sslpassword":
            raise ConfigurationError(SSL_KEY_MESSAGE)
        if name == "password":
            password = unquote(value)
    query = _options_without(url, "password")
    query = f"?{query}" if query else ""
    return f"{parts.scheme}://{user}{at}{hosts}{parts.path}{query}", password


def _options(url: str) -> list[tuple[str, str]]:
    """Return the names and the encoded values of the options of a URL."""
    options = [option.partition("=") for option in urlsplit(url).query.split("&") if option]
    return [(unquote(name), value) for name, _, value in options]


def _options_without(url: str, *names: str) -> str:
    options = filter(None, urlsplit(url).query.split("&"))
    return "&".join(option for option in options if unquote(option.partition("=")[0]) not in names)


@dataclass(frozen=True)
class RunningProgram:
    """A running program of PostgreSQL.

    Attributes:
        process: The process. Its stderr is read by `wait`.
    """

    process: asyncio.subprocess.Process
    _name: str
    _errors: "asyncio.Task[list[str]]"

    async def wait(self) -> None:
        """Wait for the end of the program.

        Raises:
            BackupFailed: The program failed; the message has its first error.
        """
        errors = await self._errors
        if await self.process.wait() == 0:
            return
        if any("No space left on device" in line for line in errors):
            raise BackupFailed("There is no space left on the disk. Free some, and try again.")
        reason = errors[0] if errors else f"it ended with code {self.process.returncode}"
        raise BackupFailed(f"{self._name} failed: {reason}")


@contextlib.asynccontextmanager
async def running(
    command: Sequence[str],
    *,
    password: str | None = None,
    on_line: Callable[[], object] | None = None,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int = asyncio.subprocess.DEVNULL,
) -> AsyncIterator[RunningProgram]:
    """Run a program for the length of a block; it ends with the block at the latest.

    Args:
        command: The path of the program and its arguments, which every user of the machine can see.
        password: The password of the database, which the program gets in its environment.
        on_line: A function to call for each line of the report of `--verbose`.
        stdin: The stream that the program reads.
        stdout: The stream for its output.
    """
    # The message about a full disk is looked for in English.
    environment = {**os.environ, "LC_ALL": "C", "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_SECONDS)}
    if password is not None:
        environment["PGPASSWORD"] = password
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl+C is for this process, which then ends the program.
        start_new_session=True,
    )
    assert process.stderr  # noqa: S101  for mypy
    errors = asyncio.create_task(_read_errors(process.stderr, on_line))
    try:
        yield RunningProgram(process, Path(command[0]).name, errors)
    finally:
        if process.returncode is None:
            await _end(process)
        errors.cancel()
        await asyncio.wait([errors])
        await _read_rest(process)


async def run(command: Sequence[str], **options: Any) -> bytes:
    """Run a program, and return its output; the options are those of `running`.

    Raises:
        BackupFailed: The program failed.
    """
    output = bytearray()
    async with running(command, stdout=asyncio.subprocess.PIPE, **options) as program:
        async for chunk in read_chunks(program):
            output += chunk
        await program.wait()
    return bytes(output)


async def read_chunks(program: RunningProgram) -> AsyncIterator[bytes]:
    """Yield the output of a program, which must have been started with a pipe as stdout."""
    assert program.process.stdout  # noqa: S101  for mypy
    while chunk := await program.process.stdout.read(CHUNK_BYTES):
        yield chunk


async def _read_errors(
    stream: asyncio.StreamReader, on_line: Callable[[], object] | None
) -> list[str]:
    """Read the report of a program to its end, and return the errors in it, without their rows."""
    errors: list[str] = []
    while line := await _read_line(stream):
        if on_line is not None:
            on_line()
        found = re.search(r"\b(?:error|ERROR|FATAL|fatal): +(.*)", line)
        if found:
            errors.append(re.sub(r"^.*?(?:ERROR|FATAL): +", "", found[1]))
    return errors


async def _read_line(stream: asyncio.StreamReader) -> str:
    """Return the next line, or the beginning of a line that is too long for the stream."""
    try:
        line = await stream.readuntil()
    except asyncio.IncompleteReadError as end:
        line = end.partial
    except asyncio.LimitOverrunError as overrun:
        line = await stream.read(overrun.consumed)
    return line.decode(errors="replace")


async def _read_rest(process: asyncio.subprocess.Process) -> None:
    """Read the output of a program that has ended: asyncio closes a pipe at its end only."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_TIMEOUT_SECONDS):
            for stream in filter(None, (process.stdout, process.stderr)):
                while await stream.read(CHUNK_BYTES):
                    pass


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_TIMEOUT_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
