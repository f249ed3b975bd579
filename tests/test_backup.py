"""Backups and restores, under load and under faults, with the programs of PostgreSQL."""

import asyncio
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from community_directory import backup, doctor, jobs
from community_directory.backup import back_up, back_up_daily, find_backups, read_backup
from community_directory.database import connect, engine, programs
from community_directory.database.migrations import migrate
from community_directory.database.programs import find_program
from community_directory.database.programs import run as run_program
from community_directory.database.roles import apply_roles, make_roles_script, missing_privileges
from community_directory.errors import (
    BackupFailed,
    ConfigurationError,
    DatabaseUnavailable,
    NotAllowed,
    SchemaMissing,
)
from community_directory.jobs import run_scheduled_jobs
from community_directory.queries import highlights, invitations, members, participation
from community_directory.queries.privacy import PUBLIC_COLUMNS
from community_directory.restore import (
    RESTORE_LOCK_KEY,
    Restored,
    check_backup,
    find_target,
    restore,
)
from community_directory.settings import load_settings
from tests.conftest import (
    Server,
    database_name,
    database_url,
    new_database,
    new_name,
    run_sql,
)
from tests.database.test_roles import owners
from tests.processes import PROGRAM, PROJECT, environment, run_command, running_panel, type_into
from tests.roles import MIGRATOR, PREFIX, app_url, migrator_url
from tests.tables import rows
from tests.waiting import until, until_sessions

# The tests marked with `schema` run on the oldest supported PostgreSQL, too.
SECONDS = 60
"""The longest that one step of a test may take."""
OLD_SCHEMA = (PROJECT / "tests/database/data/old_schema.sql").read_text(encoding="utf-8")
PAGE = (PROJECT / "docs/how-to/back-up.md").read_text()


# Helpers


def use(monkeypatch: pytest.MonkeyPatch, url: str, **settings: str) -> None:
    """Let the settings of this process name a database."""
    monkeypatch.setenv("POSTGRES_URL", url)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()


async def make_backup(url: str, path: Path) -> backup.Backup:
    async with connect(url, min_size=0):
        return await back_up(path)


async def restore_file(path: Path, **options: bool) -> Restored:
    """Restore into the database of the settings."""
    target = await find_target()
    return await restore(path, await check_backup(path, target), target, **options)


async def fetch(url: str, sql: str, *arguments: object) -> Any:
    """Return one value, selected on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql, *arguments)
    finally:
        await connection.close()


async def names(url: str) -> set[str]:
    """Return the names of the members, read on a connection of its own."""
    found = await fetch(url, "SELECT array_agg(name) FROM community_members")
    return set(found or ())


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def add_members(url: str, *people: str) -> None:
    connection = await asyncpg.connect(url)
    for name in people:
        await rows.member(connection, name=name)
    await connection.close()


@asynccontextmanager
async def owned_database(server: Server, options: str = "") -> AsyncIterator[str]:
    """Yield the URL of a database for its owner, who is no superuser."""
    role = new_name()
    await run_sql(server.url, f"CREATE ROLE {role} LOGIN {options}")
    try:
        async with new_database(server) as url:
            await run_sql(server.url, f"ALTER DATABASE {database_name(url)} OWNER TO {role}")
            yield as_role(url, role)
    finally:
        await run_sql(server.url, f"DROP ROLE {role}")


def as_role(url: str, role: str) -> str:
    """Return the URL with another role; the tests' servers ask for no password on their socket."""
    return re.sub(r"//[^@/]*@", f"//{role}@", url)


@pytest.fixture
async def owner_url(server: Server) -> AsyncIterator[str]:
    """The URL of a migrated database for its owner, who is no superuser."""
    async with owned_database(server) as url:
        async with connect(url, min_size=0):
            await migrate()
        yield url


def start(*arguments: str, url: str, folder: Path, **settings: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(POSTGRES_URL=url, PYTHONPATH=str(PROJECT), **settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(*arguments: str, url: str, folder: Path, **settings: str) -> tuple[int, str]:
    ended = run_command(*arguments, settings={"POSTGRES_URL": url, **settings}, folder=folder)
    return ended.returncode, ended.stdout + ended.stderr


@asynccontextmanager
async def locked(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Hold a lock for which pg_dump and a restore wait."""
    connection = await asyncpg.connect(url)
    await connection.execute("BEGIN; LOCK TABLE member_relationships")
    try:
        yield connection
    finally:
        await connection.close()


async def until_program_waits(holder: asyncpg.Connection) -> None:
    """Wait until pg_dump or pg_restore waits for the lock."""
    await until_sessions(
        holder,
        "bool_or(application_name <> 'community_directory' AND wait_event_type = 'Lock')",
    )


# The how-to page


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def section(title: str) -> list[str]:
    """Return the commands of a section of the page."""
    return shell_blocks(PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0])


class Shell:
    """Runs commands of the page in a folder, in which sudo only changes the role."""

    def __init__(self, folder: Path, url: str, server: Server) -> None:
        self._folder, self._url = folder, url
        arguments = dict(re.findall(r"(host|port)=([^&]+)", server.url))
        (folder / "bin").mkdir()
        self._add("community-directory", f'exec {sys.executable} -m community_directory "$@"')
        self._add("sudo", 'shift 2; PGUSER=postgres exec "$@"')
        self._add("rsync", "true")
        self._variables = {
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(PROJECT),
            "PGHOST": arguments["host"],
            "PGPORT": arguments.get("port", "5432"),
            "TMPDIR": str(folder),
        }

    def _add(self, name: str, script: str) -> None:
        program = self._folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    async def run(self, script: str) -> str:
        """Run a block of the page, which must succeed, and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-ec",
            script,
            cwd=self._folder,
            env=environment(POSTGRES_URL=self._url, **self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 4 * SECONDS)
        assert process.returncode == 0, printed.decode()
        return printed.decode()


class Writers:
    """Many callers that write without a pause, and what was confirmed to them."""

    def __init__(self) -> None:
        self.people: list[str] = []
        self.events: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Writers":
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(6)]
        await until(lambda: len(self.people) >= 30 and len(self.events) >= 30)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _write(self, number: int) -> None:
        for count in range(1_000_000):
            key = f"{number}-{count}"
            member = await members.add(
                telegram_id=f"9{number}{count}", name=key, primary_role="dev"
            )
            self.people.append(key)
            await participation.record(
                member_id=member.member_id,
                event_type="MESSAGE",
                platform="telegram",
                room_id="-1",
                source_id=key,
            )
            self.events.append(key)


@pytest.mark.schema
async def test_the_commands_of_the_page_bring_back_all_that_was_confirmed(
    server: Server, tmp_path: Path
) -> None:
    await run_sql(server.url, "CREATE ROLE directory LOGIN")
    name = "directory"
    url = as_role(database_url(server, name), "directory")
    shell = Shell(tmp_path, url, server)
    [create, restore_command] = section("Restore")
    try:
        await shell.run(create)
        async with connect(url, min_size=0):
            await migrate()
            inviter = await members.add(
                telegram_id="1", name="Ana", primary_role="dev", status="active"
            )
            code = (await invitations.create(created_by=inviter.member_id)).invitation_code
            async with Writers() as writers:
                people, events = set(writers.people), set(writers.events)
                [command] = section("Back up")
                said = await shell.run(command)
                # They wrote during the backup.
                assert len(writers.people) > len(people)
        assert "members are in directory.dump" in said
        assert (
            await fetch(
                url, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'directory'"
            )
            == "directory"
        )
        await run_sql(server.url, f"DROP DATABASE {name} WITH (FORCE)")
        await shell.run(create)
        said = await shell.run(restore_command)
        assert re.search(r"The database has [\d,]+ members\.\n$", said), said

        assert await names(url) >= people | {"Ana"}
        found = await fetch(url, "SELECT array_agg(source_id) FROM member_participation")
        assert set(found) >= events
        await assert_invariants(url, code)
    finally:
        await run_sql(
            server.url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", "DROP ROLE directory"
        )


async def assert_invariants(url: str, open_code: str) -> None:
    """Check that a restored directory works: numbers, codes, roll-ups and the log."""
    highest = await fetch(url, "SELECT max(substr(member_id, 2)::int) FROM community_members")
    async with connect(url, min_size=0):
        joined = await invitations.redeem(
            open_code, telegram_id="777", name="Bo", primary_role="dev"
        )
        assert int(joined.member.member_id[1:]) > highest
        await jobs.roll_up_recent()
        faults = [result async for result in doctor.run_checks() if result.next_step is not None]
        # The server of the tests runs without fsync.
        assert {result.id for result in faults} <= {"settings"}, faults
        today = datetime.now(UTC).date()
        assert await highlights.verify(today - timedelta(days=1), until=today) == []
        assert await migrate() == 0
    changed = await fetch(
        url,
        "SELECT count(*) FROM directory_audit_log WHERE member_id = $1 AND action = 'INSERT'",
        joined.member.member_id,
    )
    assert changed == 1


@pytest.mark.faults
@pytest.mark.schema
async def test_the_monthly_test_of_the_page_restores_any_version_into_the_embedded_server(
    database: str, server: Server, tmp_path: Path
) -> None:
    await add_members(database, "Ana", "Bo")
    await make_backup(database, tmp_path / "directory.dump")
    # The path of tmp_path is too long for a socket, and closed to the system user of PostgreSQL.
    folder = Path(tempfile.mkdtemp(prefix="directory-"))
    folder.chmod(0o755)
    shutil.copy(tmp_path / "directory.dump", folder)
    try:
        [script] = section("Test a backup each month")
        shell = Shell(folder, "", server)
        said = await shell.run(f"unset POSTGRES_URL\n{script}")
    finally:
        shutil.rmtree(folder)
    assert "The database has 2 members." in said
    assert re.search(r"^\d+ checks in .* s: \d+ ok\.$", said, re.MULTILINE), said
    assert re.search(r"^ +2 \| \d{4}-", said, re.MULTILINE)


# Backups


async def test_a_backup_is_for_its_owner_only_and_never_replaces_a_file(
    database: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    await add_members(database, "Ana", "Bo\\.")
    made = await make_backup(database, path)
    assert made.members == 2
    assert ("community_directory", "2026-11-28T15:00:00:000000") in made.migrations
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert listed(tmp_path) == ["a.dump"]
    content = path.read_bytes()
    with pytest.raises(BackupFailed, match="already exists: choose another name"):
        await make_backup(database, path)
    assert path.read_bytes() == content
    with pytest.raises(BackupFailed, match=r"Can't write .*: No such file or directory\."):
        await make_backup(database, tmp_path / "no" / "a.dump")


@pytest.mark.parametrize("count", [0, 1, 3000])
async def test_the_members_in_a_backup_are_counted(
    database: str, tmp_path: Path, count: int
) -> None:
    await run_sql(
        database,
        "INSERT INTO community_members (telegram_id, name, primary_role, profile_data)"
        " SELECT number::text, 'Ana', 'dev', jsonb_build_object('about', repeat('x', 300))"
        f" FROM generate_series(1, {count}) AS number",
    )
    assert (await make_backup(database, tmp_path / "a.dump")).members == count


async def test_a_database_without_members_table_is_no_directory(
    empty_database: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    with pytest.raises(SchemaMissing):
        await make_backup(empty_database, path)
    assert listed(tmp_path) == []
    major = await server_major(empty_database)
    pg_dump, pg_restore = [await find_program(name, major) for name in ("pg_dump", "pg_restore")]
    await run_program([str(pg_dump), "--format=custom", f"--file={path}", empty_database])
    with pytest.raises(BackupFailed, match="no backup of a directory: it has no members"):
        await read_backup(path, pg_restore)


async def test_a_damaged_backup_is_found_wherever_the_damage_is(
    database: str, tmp_path: Path
) -> None:
    await run_sql(
        database,
        "INSERT INTO community_members (telegram_id, name, primary_role)"
        " SELECT number::text, md5(number::text), 'dev' FROM generate_series(1, 2000) AS number",
    )
    path, damaged = tmp_path / "a.dump", tmp_path / "damaged.dump"
    await make_backup(database, path)
    content = path.read_bytes()
    pg_restore = await find_program("pg_restore", await server_major(database))
    await read_backup(path, pg_restore)
    size = len(content)
    cut = [content[:length] for length in (0, 4, 100, size // 2, size - 1000)]
    changed = [
        content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        # The definitions come first; only the rows after them have checksums.
        for place in (2, size * 3 // 4, size * 7 // 8)
    ]
    for wrong in (*cut, *changed):
        damaged.write_bytes(wrong)
        with pytest.raises(BackupFailed, match=r"is damaged, or no backup|is not a backup"):
            await read_backup(damaged, pg_restore)
    with pytest.raises(BackupFailed, match="Can't read"):
        await read_backup(tmp_path / "none.dump", pg_restore)


async def server_major(url: str) -> int:
    return int(await fetch(url, "SELECT current_setting('server_version_num')::int / 10000"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)]
)
async def test_a_stopped_backup_leaves_no_file_with_its_name(
    database: str, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    async with locked(database) as holder:
        with start("backup", "a.dump", url=database, folder=tmp_path) as process:
            await until_program_waits(holder)
            [child] = [
                child
                for child in psutil.Process(process.pid).children()
                if child.name() == "pg_dump"
            ]
            process.send_signal(number)
            printed, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == code
            assert not (tmp_path / "a.dump").exists()
            if number == signal.SIGINT:
                assert "The backup was stopped, and there is no file." in printed
                assert listed(tmp_path) == []
                assert not child.is_running()
            else:
                with suppress(psutil.NoSuchProcess):
                    child.kill()


async def test_a_backup_does_not_wait_for_ever_for_a_table(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "LOCK_TIMEOUT", timedelta(seconds=0.2))
    async with locked(database):
        with pytest.raises(BackupFailed, match="Another program has locked a table"):
            await make_backup(database, tmp_path / "a.dump")
    assert listed(tmp_path) == []


async def test_a_backup_has_a_time_limit(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "BACKUP_TIMEOUT", timedelta(seconds=1))
    async with locked(database):
        with pytest.raises(BackupFailed, match="longer than 0:00:01"):
            await make_backup(database, tmp_path / "a.dump")
    assert listed(tmp_path) == []


async def test_a_full_disk_is_reported_in_one_sentence(database: str) -> None:
    pg_dump = await find_program("pg_dump", await server_major(database))
    with pytest.raises(BackupFailed, match="no space left on the disk"):
        await run_program(
            [str(pg_dump), "--format=custom", f"--dbname={database}", "--file=/dev/full"]
        )


async def test_no_password_is_in_the_list_of_processes_or_in_a_message(
    database: str, tmp_path: Path
) -> None:
    url = f"{database}&password=secretword"
    async with locked(database) as holder:
        with start("backup", "a.dump", url=url, folder=tmp_path) as process:
            await until_program_waits(holder)
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
            assert {"pg_dump"} <= {member.name() for member in family}
            for member in family:
                assert "secretword" not in " ".join(member.cmdline())
            assert family[1].environ()["PGPASSWORD"] == "secretword"
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=SECONDS)
    assert "secretword" not in printed


async def test_a_missing_program_is_named_with_its_version() -> None:
    with pytest.raises(ConfigurationError) as error:
        await find_program("pg_dump", 14)
    assert re.fullmatch(
        r"The server runs PostgreSQL 14, and pg_dump of the same version is missing"
        r"( \(there is version .*\))?: install PostgreSQL's client programs, "
        r"on Debian the package postgresql-client-14\.",
        str(error.value),
    )


# The backups of each day


@pytest.fixture
def daily(
    database: str, directory: asyncpg.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The directory for daily backups of the connected database."""
    folder = tmp_path / "backups"
    monkeypatch.setenv("DIRECTORY_BACKUP_DIRECTORY", str(folder))
    monkeypatch.setenv("DIRECTORY_BACKUPS_KEPT", "3")
    load_settings.cache_clear()
    return folder


async def current_name() -> str:
    [row] = await engine.fetch("SELECT current_database() AS name")
    return str(row["name"])


async def test_there_is_one_backup_each_day(daily: Path) -> None:
    said = await back_up_daily()
    [file] = daily.iterdir()
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert re.fullmatch(rf"{await current_name()}_{today}_\d{{6}}_0\.1\.0\.dump", file.name)
    assert said == f"wrote {file.name}"
    assert stat.S_IMODE(daily.stat().st_mode) == 0o700
    assert await back_up_daily() == "there is a backup of today"
    assert list(daily.iterdir()) == [file]


async def test_one_of_two_workers_writes_the_backup_of_the_day(daily: Path) -> None:
    daily.mkdir()
    partial = daily / f".{await current_name()}_{datetime.now(UTC):%Y-%m-%d}.partial"
    partial.touch()
    assert await back_up_daily() is None
    assert list(daily.iterdir()) == [partial]
    # A worker that was killed writes no more.
    long_ago = time.time() - 2 * 3600
    os.utime(partial, (long_ago, long_ago))
    assert str(await back_up_daily()).startswith("wrote ")
    assert not partial.exists()


async def test_the_oldest_backups_are_deleted_and_nothing_else(daily: Path) -> None:
    daily.mkdir()
    name = await current_name()
    old = [f"{name}_2026-01-{day:02}_052000_0.1.0.dump" for day in range(1, 6)]
    others = {
        "notes.txt",
        "directory.dump",
        "other_2026-01-01_052000_0.1.0.dump",
        f"{name}x_2026-01-01_052000_0.1.0.dump",
        f"{name}_2026-01-01_052000_0.1.0.dump.gpg",
        f".{name}_2026-01-01.partial.mine",
    }
    for file in (*old, *others):
        (daily / file).touch()
    left_behind = daily / f".{name}_2026-01-01.partial"
    left_behind.touch()
    os.utime(left_behind, (0, 0))
    await back_up_daily()
    kept = {path.name for path in find_backups(daily, name)}
    assert len(kept) == 3
    assert kept >= set(old[-2:])
    assert {path.name for path in daily.iterdir()} == kept | others


async def test_the_new_backup_is_kept_even_if_others_seem_newer(daily: Path) -> None:
    daily.mkdir()
    name = await current_name()
    for year in range(2090, 2099):
        (daily / f"{name}_{year}-01-01_052000_0.1.0.dump").touch()
    await back_up_daily()
    kept = [path.name[len(name) + 1 :][:4] for path in find_backups(daily, name)]
    assert kept[:2] == ["2098", "2097"]
    assert len(kept) == 3
    assert int(kept[2]) < 2090


async def test_a_backup_that_fails_deletes_none(
    daily: Path, monkeypatch: pytest.MonkeyPatch, directory_url: str
) -> None:
    daily.mkdir()
    name = await current_name()
    old = {f"{name}_2026-01-{day:02}_052000_0.1.0.dump" for day in range(1, 6)}
    for file in old:
        (daily / file).touch()
    monkeypatch.setattr(backup, "LOCK_TIMEOUT", timedelta(seconds=0.2))
    async with locked(directory_url):
        with pytest.raises(BackupFailed):
            await back_up_daily()
    assert {path.name for path in daily.iterdir()} == old


async def test_backups_are_scheduled_only_with_a_directory(
    daily: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scheduled() -> set[str]:
        with run_scheduled_jobs() as scheduler:
            return {job.id for job in scheduler.get_jobs()}

    assert "back_up_daily" in scheduled()
    monkeypatch.delenv("DIRECTORY_BACKUP_DIRECTORY")
    load_settings.cache_clear()
    assert "back_up_daily" not in scheduled()
    with pytest.raises(ConfigurationError, match="set DIRECTORY_BACKUP_DIRECTORY"):
        await back_up_daily()


@pytest.mark.faults
async def test_a_running_panel_writes_a_backup_and_stops_with_it(
    database: str, tmp_path: Path
) -> None:
    settings = {"POSTGRES_URL": database, "DIRECTORY_BACKUP_DIRECTORY": str(tmp_path)}
    with running_panel(**settings):
        await until(lambda: bool(find_backups(tmp_path, database_name(database))))
    [first] = tmp_path.iterdir()
    first.unlink()
    async with locked(database) as holder:
        with running_panel(**settings) as panel:
            await until_program_waits(holder)
            panel.stop()
    await until(lambda: not list(tmp_path.iterdir()))


async def test_the_command_without_a_file_writes_to_the_directory_of_the_settings(
    database: str, tmp_path: Path
) -> None:
    [cron, _] = section("Every night")
    assert cron == "DIRECTORY_BACKUP_DIRECTORY=backups community-directory backup\n"
    code, said = run("backup", url=database, folder=tmp_path, DIRECTORY_BACKUP_DIRECTORY="backups")
    [file] = find_backups(tmp_path / "backups", database_name(database))
    last = said.splitlines()[-1]
    assert code == 0
    assert re.fullmatch(rf"0 members are in backups/{file.name} \(0\.\d MB\)\.", last)


# Restores


async def test_a_restore_replaces_everything_and_keeps_the_old_database(
    database: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    await add_members(database, "Ana", "Bo")
    await make_backup(database, path)
    await add_members(database, "Cy")
    await run_sql(database, "CREATE TABLE a_bots_own ()", "DELETE FROM community_members")
    use(monkeypatch, database)
    restored = await restore_file(path)
    assert (restored.members, restored.old_file) == (2, None)
    assert restored.old_database
    try:
        assert await names(database) == {"Ana", "Bo"}
        assert await fetch(database, "SELECT to_regclass('a_bots_own')") is None
        old = database_url(server, restored.old_database)
        assert await fetch(old, "SELECT to_regclass('a_bots_own')") == "a_bots_own"
    finally:
        await run_sql(server.url, f"DROP DATABASE {restored.old_database}")
    restored = await restore_file(path, keep_old=False)
    assert restored.old_database is None
    assert await databases_of(server, database) == [database_name(database)]
    assert await next_number(database) == "#3"


async def databases_of(server: Server, url: str) -> list[str]:
    """Return the names of the databases that begin with the name of this one."""
    found: list[str] = await fetch(
        server.url,
        "SELECT array_agg(datname::text) FROM pg_database WHERE starts_with(datname, $1)",
        database_name(url),
    )
    return found


async def next_number(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str((await rows.member(connection))["member_id"])
    finally:
        await connection.close()


@pytest.mark.schema
async def test_an_owner_restores_over_data_in_one_transaction_and_the_old_state_is_a_backup(
    owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    await add_members(owner_url, "Ana", "Bo")
    await make_backup(owner_url, path)
    await add_members(owner_url, "Cy")
    await run_sql(
        owner_url,
        "CREATE SCHEMA bot",
        "CREATE TABLE bot.a (member varchar REFERENCES public.community_members (member_id))",
        "CREATE VIEW of_a_bot AS SELECT name FROM community_members",
        "CREATE TYPE mood AS ENUM ('good')",
    )
    use(monkeypatch, owner_url)
    restored = await restore_file(path)
    assert (restored.members, restored.old_database, restored.left_out) == (2, None, [])
    assert await names(owner_url) == {"Ana", "Bo"}
    assert await fetch(owner_url, "SELECT to_regclass('of_a_bot')") is None
    assert await next_number(owner_url) == "#3"
    assert restored.old_file
    # The other way round: what was there before comes back, with the tables of the bot.
    await restore_file(restored.old_file, keep_old=False)
    assert await names(owner_url) == {"Ana", "Bo", "Cy"}
    assert await fetch(owner_url, "SELECT to_regclass('bot.a')") == "bot.a"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.schema
async def test_an_owner_who_may_create_databases_gets_a_new_one_like_the_old_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    async with owned_database(server, "CREATEDB") as url:
        async with connect(url, min_size=0):
            await migrate()
        await add_members(url, "Ana")
        await make_backup(url, path)
        await add_members(url, "Bo")
        like = (
            "SELECT (to_jsonb(pg_database) - '{oid,datfrozenxid,datminmxid}'::text[])::text"
            " FROM pg_database WHERE datname = current_database()"
        )
        oid = "SELECT oid FROM pg_database WHERE datname = current_database()"
        before = await fetch(url, oid), await fetch(url, like)
        use(monkeypatch, url)
        restored = await restore_file(path, keep_old=False)
        assert (restored.old_database, restored.old_file) == (None, None)
        assert await names(url) == {"Ana"}
        assert await fetch(url, like) == before[1]
        assert await fetch(url, oid) != before[0]


@pytest.mark.faults
async def test_a_restore_does_not_replace_a_database_that_another_role_uses(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    async with owned_database(server, "CREATEDB") as url, owned_database(server) as other:
        async with connect(url, min_size=0):
            await migrate()
        await make_backup(url, path)
        await add_members(url, "Ana")
        use(monkeypatch, url)
        role = re.findall("//(.*)@", other)[0]
        foreign = await asyncpg.connect(as_role(url, role))
        with pytest.raises(BackupFailed, match="stop the panel and the bots, and try again"):
            await restore_file(path)
        await foreign.close()
        assert await names(url) == {"Ana"}
        assert await databases_of(server, url) == [database_name(url)]


async def test_a_database_that_does_not_exist_is_named(server: Server, tmp_path: Path) -> None:
    code, said = run(
        "restore", "a.dump", url=database_url(server, "no_such_database"), folder=tmp_path
    )
    assert (code, said) == (
        1,
        'The database is not available: database "no_such_database" does not exist\n',
    )


async def test_a_restore_that_fails_leaves_the_old_state(
    server: Server, owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    await make_backup(owner_url, path)
    await add_members(owner_url, "Ana")
    # Both ways to restore count the members.
    for url in (owner_url, database_url(server, database_name(owner_url))):
        use(monkeypatch, url)
        target = await find_target()
        wrong = replace(await check_backup(path, target), members=99)
        with pytest.raises(BackupFailed, match="members are missing"):
            await restore(path, wrong, target, keep_old=False)
        assert await names(owner_url) == {"Ana"}

    # The file needs a language that is missing.
    broken = tmp_path / "broken.dump"
    replace_in(path, broken, b"LANGUAGE plpgsql", b"LANGUAGE pl_none")
    use(monkeypatch, owner_url)
    with pytest.raises(BackupFailed, match='psql failed: language "pl_none"'):
        await restore_file(broken, keep_old=False)
    assert await names(owner_url) == {"Ana"}
    use(monkeypatch, database_url(server, database_name(owner_url)))
    with pytest.raises(BackupFailed, match='pg_restore failed: language "pl_none"'):
        await restore_file(broken)
    assert await names(owner_url) == {"Ana"}
    assert await databases_of(server, owner_url) == [database_name(owner_url)]


def replace_in(path: Path, changed: Path, old: bytes, new: bytes) -> None:
    """Write a backup whose table of contents has another text of the same length."""
    content = path.read_bytes()
    assert old in content
    assert len(new) == len(old)
    changed.write_bytes(content.replace(old, new))


async def test_a_file_cannot_run_a_program(
    owner_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, hostile = tmp_path / "a.dump", tmp_path / "hostile.dump"
    await make_backup(owner_url, path)
    await add_members(owner_url, "Ana")
    monkeypatch.chdir(tmp_path)
    sequence = b"CREATE SEQUENCE public.community_member_number\n"
    replace_in(path, hostile, sequence, b"\\! touch started".ljust(len(sequence) - 1) + b"\n")
    use(monkeypatch, owner_url)
    with pytest.raises(BackupFailed, match=r"psql failed: .*restricted"):
        await restore_file(hostile, keep_old=False)
    # A release of pg_restore from before August 2025 does not restrict psql.
    pg_restore = await find_program("pg_restore", await server_major(owner_url))
    old = tmp_path / "pg_restore"
    old.write_text(f"#!/bin/sh\n{pg_restore} \"$@\" | sed -E '/^.(un)?restrict /d'\n")
    old.chmod(0o755)
    monkeypatch.setattr(programs, "INSTALL_DIRECTORIES", (str(tmp_path),))
    with pytest.raises(BackupFailed, match="too old: it would let a file run programs"):
        await restore_file(hostile, keep_old=False)
    assert not (tmp_path / "started").exists()
    assert await names(owner_url) == {"Ana"}


@pytest.mark.faults
@pytest.mark.parametrize("is_owner", [True, False], ids=["the contents", "the database"])
async def test_a_killed_restore_leaves_the_old_state_and_can_be_repeated(
    is_owner: bool, owner_url: str, server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    await add_members(owner_url, "Bo")
    # pg_restore builds this index near the end, which takes as long as the test needs.
    await run_sql(
        owner_url,
        "CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE"
        " AS $$ BEGIN PERFORM pg_sleep(30); RETURN $1; END $$",
    )
    await run_sql(
        owner_url,
        "SET statement_timeout = 0",
        "CREATE INDEX CONCURRENTLY slow_index ON community_members (slow(name)) WHERE name = 'Z'",
    )
    await make_backup(owner_url, path)
    slow = tmp_path / "slow.dump"
    shutil.copy(path, slow)
    replace_in(path, slow, b"WHERE ((name)::text = 'Z'::text)", b"WHERE ((name)::text < 'Z'::text)")
    await add_members(owner_url, "Ana")
    superuser_url = database_url(server, database_name(owner_url))
    url = owner_url if is_owner else superuser_url
    with start("restore", str(slow), "--yes", "--discard-old", url=url, folder=tmp_path) as process:
        await until(
            lambda: fetch(
                server.url,
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')",
            )
        )
        process.kill()
        process.communicate(timeout=SECONDS)
    if is_owner:
        # The locks of the statement that still runs would make the next restore wait.
        sleeping = "FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        await run_sql(server.url, f"SELECT pg_terminate_backend(pid, 10000) {sleeping}")
    assert await names(owner_url) == {"Ana", "Bo"}
    code, said = run("restore", str(path), "--yes", "--discard-old", url=url, folder=tmp_path)
    assert (code, said) == (0, "The database has 1 members.\n")
    assert await databases_of(server, owner_url) == [database_name(owner_url)]


async def test_ctrl_c_stops_a_restore_and_leaves_the_old_state(
    owner_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    await make_backup(owner_url, path)
    await add_members(owner_url, "Ana")
    async with locked(owner_url) as holder:
        with start(
            "restore", "a.dump", "--yes", "--discard-old", url=owner_url, folder=tmp_path
        ) as process:
            await until_program_waits(holder)
            children = psutil.Process(process.pid).children()
            process.send_signal(signal.SIGINT)
            printed, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "The restore was stopped: the database has its old contents" in printed
    assert not any(child.is_running() for child in children)
    assert await names(owner_url) == {"Ana"}


@pytest.mark.parametrize("is_owner", [True, False], ids=["the contents", "the database"])
async def test_the_panel_and_the_bots_go_on_after_a_restore(
    is_owner: bool, owner_url: str, server: Server, tmp_path: Path
) -> None:
    database = owner_url if is_owner else database_url(server, database_name(owner_url))
    path = tmp_path / "a.dump"
    await add_members(database, "Ana")
    await make_backup(database, path)
    await add_members(database, "Bo")
    seen: set[int] = set()
    failures: set[type[Exception]] = set()

    async def read() -> None:
        while True:
            try:
                [row] = await engine.fetch("SELECT count(*) FROM community_members")
                seen.add(row[0])
            except Exception as error:
                failures.add(type(error))
            await asyncio.sleep(0.005)

    async with connect(database):
        readers = [asyncio.create_task(read()) for _ in range(5)]
        await until(lambda: 2 in seen)
        with start(
            "restore", "a.dump", "--yes", "--discard-old", url=database, folder=tmp_path
        ) as process:
            await until(lambda: process.poll() is not None)
        assert process.returncode == 0
        await until(lambda: 1 in seen)
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
        member = await members.add(telegram_id="8", name="Cy", primary_role="dev")
        assert member.member_id == "#2"
    assert seen == {1, 2}
    assert failures <= {DatabaseUnavailable}


async def test_a_restore_over_data_asks_for_the_name_of_the_database(
    database: str, server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "a.dump"
    await make_backup(database, path)
    await add_members(database, "Ana")
    code, said = run("restore", "a.dump", url=database, folder=tmp_path)
    name = database_name(database)
    assert (code, said) == (
        1,
        f"The database {name} has data: add --yes to replace it by the backup.\n",
    )
    code, said = type_into("restore", str(path), url=database, lines=[b"yes\n", b"\x03"])
    assert code == 130
    assert f"The database {name} has 1 members." in said
    assert f"{path} has 0 members, and was made at 20" in said
    assert await names(database) == {"Ana"}
    code, said = type_into(
        "restore", str(path), "--discard-old", url=database, lines=[b"\n", f"{name}\n".encode()]
    )
    assert code == 0, said
    assert said.endswith("The database has 0 members.\n")
    assert await names(database) == set()


async def test_a_backup_of_a_newer_version_is_refused(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_sql(
        database,
        "INSERT INTO migration (name, app_name, ran_on)"
        " VALUES ('2999-01-01T00:00:00:000000', 'community_directory', now()),"
        " ('2999-01-01T00:00:00:000000', 'an_app_of_a_bot', now())",
    )
    path = tmp_path / "a.dump"
    await make_backup(database, path)
    use(monkeypatch, database)
    with pytest.raises(BackupFailed, match="by a newer version of community-directory"):
        await restore_file(path)
    await run_sql(database, "DELETE FROM migration WHERE app_name = 'community_directory'")


@pytest.mark.schema
async def test_the_schema_of_an_older_backup_is_brought_up_to_date(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.dump"
    async with owned_database(server) as old, owned_database(server) as new:
        await run_sql(old, OLD_SCHEMA)
        await run_sql(
            old,
            "INSERT INTO public.community_members (telegram_id, name, primary_role)"
            " VALUES ('1', 'Ana', 'dev')",
        )
        made = await make_backup(old, path)
        assert len([app for app, _ in made.migrations if app == "community_directory"]) == 8
        use(monkeypatch, new)
        await restore_file(path)
        assert "Ana" in await names(new)
        async with connect(new, min_size=0):
            assert await migrate() == 0
            found = await members.search("ana", status=None)
        assert "Ana" in [member.name for member in found.items]


@pytest.mark.schema
async def test_the_rights_of_roles_are_restored_if_the_roles_exist(
    owner_url: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reader = tmp_path / "a.dump", new_name()
    as_superuser = database_url(server, database_name(owner_url))
    await run_sql(server.url, f"CREATE ROLE {reader}")
    await run_sql(
        owner_url,
        f"GRANT SELECT (name) ON community_members TO {reader}",
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader}",
    )
    await make_backup(owner_url, path)
    can_read = f"SELECT has_column_privilege('{reader}', 'community_members', 'name', 'SELECT')"
    await run_sql(owner_url, f"REVOKE SELECT (name) ON community_members FROM {reader}")
    use(monkeypatch, owner_url)
    assert (await restore_file(path, keep_old=False)).left_out == []
    assert await fetch(owner_url, can_read)
    await run_sql(as_superuser, f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")
    [sentence] = (await restore_file(path, keep_old=False)).left_out
    assert sentence == (
        "The rights of roles were left out, because this role can't grant them to "
        f"{reader}: create the roles, and grant the rights again."
    )
    assert await names(owner_url) == set()
    for function in ("directory_audit_log_write()", "directory_audit_log_erase(text, text, text)"):
        may_use = f"SELECT has_function_privilege('public', '{function}', 'EXECUTE')"
        assert not await fetch(owner_url, may_use)


@pytest.mark.schema
async def test_a_program_backs_up_and_has_its_rights_after_the_restore_of_an_owner(
    server: Server, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    async with new_database(server, template, owner=MIGRATOR) as url:
        await add_members(url, "Ana", "Bo")
        assert (await make_backup(app_url(url), path)).members == 2
        use(monkeypatch, migrator_url(url))
        before = await owners(url)
        assert (await restore_file(path, keep_old=False)).left_out == []
        assert await owners(url) == before
        async with connect(app_url(url), min_size=0):
            assert await missing_privileges() == []
            await members.erase("#1", actor="eva")
        use(monkeypatch, app_url(url))
        with pytest.raises(NotAllowed, match=f"The tables belong to {PREFIX}_owner: restore with"):
            await restore_file(path)


@pytest.mark.schema
async def test_an_owner_who_restores_into_an_empty_database_is_told_to_apply_the_roles(
    server: Server, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    await make_backup(app_url(database), path)
    async with new_database(server, owner=MIGRATOR) as url:
        use(monkeypatch, migrator_url(url))
        [sentence] = (await restore_file(path)).left_out
        assert "run the SQL of `community-directory roles`" in sentence
        assert set((await owners(url)).values()) == {MIGRATOR}
        async with connect(url, min_size=0):
            await apply_roles(make_roles_script(PUBLIC_COLUMNS, PREFIX))
        assert set((await owners(url)).values()) == {f"{PREFIX}_owner"}


@pytest.mark.schema
async def test_an_extension_that_only_a_superuser_creates_is_left_out(
    database: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    await add_members(database, "Ana")
    await run_sql(database, "CREATE EXTENSION pg_stat_statements", "CREATE EXTENSION citext")
    await make_backup(database, path)
    async with owned_database(server) as url:
        # This extension has another owner, so the role can't set its comment.
        await run_sql(database_url(server, database_name(url)), "CREATE EXTENSION pg_trgm")
        use(monkeypatch, url)
        restored = await restore_file(path)
        assert "The extension pg_stat_statements was left out: this role may not create it." in (
            restored.left_out
        )
        assert await names(url) == {"Ana"}
        assert await fetch(url, "SELECT count(*) FROM pg_extension WHERE extname = 'citext'") == 1


async def test_a_database_with_settings_or_grants_of_its_own_keeps_them(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = database_name(database)
    path = tmp_path / "a.dump"
    await make_backup(database, path)
    await run_sql(
        database,
        f"ALTER DATABASE {name} SET work_mem = '7MB'",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
    )
    use(monkeypatch, database)
    await restore_file(path, keep_old=False)
    assert await fetch(database, "SHOW work_mem") == "7MB"


async def test_two_restores_on_one_server_do_not_meet(
    database: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.dump"
    await make_backup(database, path)
    use(monkeypatch, database)
    other = await asyncpg.connect(database_url(server, "postgres"))
    await other.execute(f"SELECT pg_advisory_lock({RESTORE_LOCK_KEY})")
    try:
        with pytest.raises(BackupFailed, match="Another restore is running"):
            await restore_file(path)
    finally:
        await other.close()
