"""Backups: files of pg_dump that are complete or not there, and how long they are kept."""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from community_directory.calendar import load_zone
from community_directory.database import engine
from community_directory.database.programs import (
    find_program,
    make_url,
    read_chunks,
    run,
    running,
    split_password,
)
from community_directory.errors import BackupFailed, BackupRunning, ConfigurationError
from community_directory.settings import load_settings

BACKUP_TIMEOUT = timedelta(hours=6)
"""The time limit of one backup or one restore."""
LOCK_TIMEOUT = timedelta(minutes=1)
"""The longest time that a backup waits for a table, for example while a migration changes it."""
PROGRESS_INTERVAL_SECONDS = 0.2
MAX_FOOTER_BYTES = 4096
"""More than what pg_restore prints after the rows of a table."""
FILE_MODE = 0o600
"""A backup contains personal data: only its owner may read it."""
STALE_AFTER = timedelta(hours=1)
"""The age at which an unfinished file counts as left behind: a backup that runs keeps writing."""

PACKAGE = "community-directory"
# The names end with the version of the package that wrote them.
NAME_FORM = re.compile(r"(?P<database>.+)_(?P<time>\d{4}-\d\d-\d\d_\d{6})_[\w.+!-]+\.dump")

# The statement fails if the tables do not exist.
SELECT_DATABASE = """
SELECT current_database() AS name, current_setting('server_version_num')::int / 10000 AS major,
    EXISTS (SELECT FROM public.community_members)
"""


@dataclass(frozen=True)
class Backup:
    """The description of a backup, from its file.

    Attributes:
        created_at: When the backup began, as pg_dump wrote it.
        major: The major version of its PostgreSQL server.
        entries: The lines of its table of contents, which `pg_restore --use-list` reads.
        members: The number of its members, the removed ones included.
        migrations: The app and the id of each migration that its database had run.
    """

    created_at: str
    major: int
    entries: list[str]
    members: int
    migrations: frozenset[tuple[str, str]]


async def back_up(path: Path, *, partial: Path | None = None) -> Backup:
    """Write the connected database to a new file, which only its owner may read.

    The file has everything that was committed before the call. It gets its name when it is
    complete, has been read back and is on the disk, so a failure or a kill leaves no file with this
    name. Members and bots are not disturbed; a migration waits until the backup has ended.

    Args:
        path: The new file.
        partial: The file with another name that is written first, beside the new one. As long as it
            exists, no other process writes it.

    Raises:
        BackupFailed: The backup can't be written, or the file exists.
        BackupRunning: Another process is writing the same file.
        ConfigurationError: The program pg_dump of the server's version is missing.
        SchemaMissing: The database is no directory.
    """
    _check_is_new(path)
    [database] = await engine.fetch(SELECT_DATABASE)
    dump, restore = [
        await find_program(name, database["major"]) for name in ("pg_dump", "pg_restore")
    ]
    partial = partial or path.with_name(f".{path.name}.partial")
    try:
        async with asyncio.timeout(BACKUP_TIMEOUT.total_seconds()):
            with _new_file(partial):
                await _dump(dump, partial)
                backup = await read_backup(partial, restore)
                partial.rename(path)
        await asyncio.to_thread(_sync_directory, path.parent)
    except TimeoutError:
        raise BackupFailed(f"The backup took longer than {BACKUP_TIMEOUT}.") from None
    except OSError as error:
        raise BackupFailed(f"Can't write {path}: {error.strerror}.") from None
    return backup


def _check_is_new(path: Path) -> None:
    if path.exists():
        raise BackupFailed(f"{path} already exists: choose another name.")


@contextlib.contextmanager
def _new_file(partial: Path) -> Iterator[None]:
    """Create the unfinished file, and delete it unless it has got another name at the end."""
    _delete_stale(partial)
    try:
        partial.touch(FILE_MODE, exist_ok=False)
    except FileExistsError:
        raise BackupRunning(
            f"Another backup is writing this file. If none is, delete {partial}."
        ) from None
    try:
        yield
    finally:
        partial.unlink(missing_ok=True)


async def _dump(program: Path, file: Path) -> None:
    """Let pg_dump write the file and bring it onto the disk, and show how much it has written."""
    url, password = split_password(make_url(engine.config))
    command = [
        str(program),
        "--format=custom",
        "--no-password",
        f"--lock-wait-timeout={LOCK_TIMEOUT.total_seconds() * 1000:.0f}",
        f"--dbname={url}",
        f"--file={file}",
    ]
    async with running(command, password=password) as running_dump:
        waiting = asyncio.create_task(running_dump.wait())
        with tqdm(desc="Backing up", unit="B", unit_scale=True, disable=None) as progress:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=PROGRESS_INTERVAL_SECONDS)
                progress.update(os.stat(file).st_size - progress.n)  # noqa: PTH116  is quick
        try:
            await waiting
        except BackupFailed as error:
            if "statement timeout" not in str(error):
                raise
            # Only the wait for tables has a time limit in pg_dump.
            raise BackupFailed(
                "Another program has locked a table, for example a migration. Try again later."
            ) from None


def _delete_stale(partial: Path) -> None:
    """Delete an unfinished file that a killed process left behind."""
    with contextlib.suppress(FileNotFoundError):
        if time.time() - partial.stat().st_mtime > STALE_AFTER.total_seconds():
            partial.unlink()


def _sync_directory(directory: Path) -> None:
    """Make the new name of a file survive a power cut, where the system can do it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# What a file contains


async def read_backup(path: Path, pg_restore: Path) -> Backup:
    """Read a backup to its end, and return what it says about itself.

    Raises:
        BackupFailed: The file is damaged, incomplete, or no backup of a directory.
    """
    try:
        with path.open("rb") as file:
            if file.read(5) != b"PGDMP":
                raise BackupFailed(f"{path} is not a backup.")
    except OSError as error:
        raise BackupFailed(f"Can't read {path}: {error.strerror}.") from None
    program, file_name = str(pg_restore), str(path)
    try:
        contents = (await run([program, "--list", file_name])).decode()
        _check_contents(contents)
        # The list lies at the beginning of the file. This reads the checksum of each table, too.
        await run([program, f"--file={os.devnull}", file_name])
        members = await _count_rows(program, file_name, "community_members")
        migrations = await run([program, *_select("migration"), file_name])
    except BackupFailed as error:
        raise BackupFailed(_explain_damage(path, str(error))) from None
    return Backup(
        created_at=_find(r"created at (.+)", contents),
        major=int(_find(r"Dumped from database version: (\d+)", contents)),
        entries=[line for line in contents.splitlines() if line and not line.startswith(";")],
        members=members,
        migrations=frozenset(_read_migrations(migrations.decode())),
    )


def _check_contents(contents: str) -> None:
    if " TABLE DATA public community_members " not in contents:
        raise BackupFailed("it has no members")


def _find(pattern: str, contents: str) -> str:
    found = re.search(pattern, contents)
    return found[1] if found else "0"


def _explain_damage(path: Path, problem: str) -> str:
    if "unsupported version" in problem:
        return f"{path} comes from a newer PostgreSQL than the server: use a server of its version."
    return f"{path} is damaged, or no backup of a directory: {problem}"


def _select(table: str) -> list[str]:
    """Return the arguments with which pg_restore prints the rows of one table."""
    return ["--data-only", "--schema=public", f"--table={table}", "--file=-"]


async def _count_rows(program: str, file_name: str, table: str) -> int:
    """Count the rows of a table in a backup, without keeping them in memory."""
    head, tail, newlines = b"", b"\n", 0
    found = False
    command = [program, *_select(table), file_name]
    async with running(command, stdout=asyncio.subprocess.PIPE) as printing:
        async for chunk in read_chunks(printing):
            rows = chunk
            if not found:
                head += chunk
                begin = re.search(rb"^COPY .* FROM stdin;\n", head, re.MULTILINE)
                if not begin:
                    continue
                found, rows = True, head[begin.end() :]
            newlines += rows.count(b"\n")
            tail = (tail + rows)[-MAX_FOOTER_BYTES:]
        await printing.wait()
    _, end, footer = tail.rpartition(b"\n\\.\n")
    if not end:
        raise BackupFailed(f"it has no rows of {table}")
    return newlines - 1 - footer.count(b"\n")


def _read_migrations(printed: str) -> Iterator[tuple[str, str]]:
    """Yield the app and the id of each migration in the rows that pg_restore printed."""
    form = r"^COPY public\.migration \((.*)\) FROM stdin;\n(.*?)^\\\.$"
    copied = re.search(form, printed, re.MULTILINE | re.DOTALL)
    if copied:
        columns = copied[1].split(", ")
        for line in copied[2].splitlines():
            row = dict(zip(columns, line.split("\t"), strict=True))
            yield row["app_name"], row["name"]


# The backups in the directory of the settings


async def back_up_daily() -> str | None:
    """Back up to the directory of the settings, unless there is a backup of today.

    The day is one of the community's time zone. Return what was done, or None if another worker is
    doing it.
    """
    database, directory = await _name_database(), _backup_directory()
    today = f"_{datetime.now(load_zone(None)):%Y-%m-%d}_"
    if any(today in path.name for path in find_backups(directory, database)):
        return "there is a backup of today"
    try:
        path, _ = await back_up_to_directory()
    except BackupRunning:
        return None
    return f"wrote {path.name}"


async def back_up_to_directory() -> tuple[Path, Backup]:
    """Write a backup to the directory of the settings, and then delete the oldest ones there.

    As many backups as the settings say are kept, the new one included. Other files, and the backups
    of other databases, are left alone.

    Raises:
        BackupFailed: The backup can't be written; no backup is deleted.
        BackupRunning: Another process is writing one.
        ConfigurationError: No directory is set, or the program pg_dump is missing.
    """
    database, directory = await _name_database(), _backup_directory()
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise BackupFailed(f"Can't write to {directory}: {error.strerror}.") from None
    now = datetime.now(load_zone(None))
    path = directory / f"{database}_{now:%Y-%m-%d_%H%M%S}_{version(PACKAGE)}.dump"
    # The workers of a panel begin within the same day, but not within the same second.
    backup = await back_up(path, partial=directory / f".{database}_{now:%Y-%m-%d}.partial")
    older = [other for other in find_backups(directory, database) if other != path]
    for surplus in older[load_settings().backups_kept - 1 :]:
        surplus.unlink(missing_ok=True)
    for left in directory.glob(f".{database}_????-??-??.partial"):
        _delete_stale(left)
    return path, backup


def find_backups(directory: Path, database: str) -> list[Path]:
    """Return the backups of a database that `back_up_to_directory` wrote, the newest first."""
    found = {
        path: match["time"]
        for path in (directory.iterdir() if directory.is_dir() else ())
        if (match := NAME_FORM.fullmatch(path.name)) and match["database"] == database
    }
    return sorted(found, key=lambda path: found[path], reverse=True)


async def _name_database() -> str:
    """Return the database's name as it stands in the names of files."""
    [database] = await engine.fetch(SELECT_DATABASE)
    return re.sub(r"[^\w-]", "-", database["name"])


def _backup_directory() -> Path:
    directory = load_settings().backup_directory
    if directory is None:
        raise ConfigurationError(
            "There is no place for the backup: name a file, or set DIRECTORY_BACKUP_DIRECTORY."
        )
    return directory.expanduser()
