"""The command line `community-directory …`, as an operator types it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import asyncpg
import psutil
import pytest
from cyclopts import App
from piccolo.apps.user.tables import BaseUser

from community_directory.command_line import command_line, run_parser
from community_directory.database import connect
from community_directory.database.programs import split_password
from community_directory.errors import ConfigurationError
from community_directory.interrupts import STOPPED_MESSAGE
from community_directory.web.admin.users import has_temporary_password
from tests.log_guard import log_guard
from tests.processes import PROGRAM, PROJECT, environment, run_command, type_into
from tests.roles import app_url
from tests.servers import MEMORY
from tests.tables import rows

# The first start on a machine creates a system user and opens directories, and says so. The fixture
# starts a server, so that the tests read the output of a later start.
pytestmark = pytest.mark.usefixtures("server")

NAMES = {
    "archive",
    "bot",
    "citus",
    "serve",
    "migrate",
    "demo",
    "import-telegram",
    "import-discord",
    "import-members",
    "export-members",
    "backup",
    "restore",
    "roll-up",
    "expire-invitations",
    "doctor",
    "elizaos",
    "create-admin",
    "grant",
    "revoke",
    "roles",
    "schema",
    "psql",
}
GROUPS = {"citus": {"check", "script"}, "elizaos": {"export", "import"}}
"""The commands that consist of others."""
NAMES_IN_GROUPS = sorted(f"{group} {name}" for group, names in GROUPS.items() for name in names)


def run(*arguments: str, url: str) -> subprocess.CompletedProcess[str]:
    ended = run_command(*arguments, settings={"POSTGRES_URL": url})
    log_guard.add_log_lines(ended.stderr)
    return ended


def start(*arguments: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command from the first line of its program on, in a folder of the test."""
    ended = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        env=environment(POSTGRES_URL=url, PYTHONPATH=str(PROJECT)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    log_guard.add_log_lines(ended.stderr)
    return ended


def output_of(*arguments: str, url: str) -> list[str]:
    """Run a command that succeeds, and return the lines of its output."""
    ended = run(*arguments, url=url)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def commands_of(parser: App) -> set[str]:
    return {name for name in parser if not name.startswith("-")}


# Help and wrong arguments


def help_of(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the help as one line of words, and check that it has no box and no colour."""
    run_parser(command_line(), [*arguments, "--help"])
    shown = capsys.readouterr()
    assert shown.err == ""
    assert not re.search("[\u2500-\u257f\x1b]", shown.out)
    return " ".join(shown.out.split())


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands_of(command_line()) == NAMES
    for group, names in GROUPS.items():
        assert commands_of(command_line()[group]) == names
    shown = help_of(capsys=capsys)
    for name in NAMES:
        assert re.search(rf" {name} [A-Z]", shown), name


@pytest.mark.parametrize("command", [*sorted(NAMES - GROUPS.keys()), *NAMES_IN_GROUPS])
def test_the_help_of_a_command_describes_each_of_its_arguments(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = command_line()
    for name in command.split():
        parser = parser[name]
    shown = help_of(*command.split(), capsys=capsys)
    for argument in parser.assemble_argument_collection(parse_docstring=True):
        description = argument.parameter.help
        assert description, argument.name
        assert re.search(rf"{argument.name.lstrip('-')}( STR)?(\.\.\.)? ", f"{shown} "), shown
        assert " ".join(description.split()) in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    {
        ("nope",): 'Unknown command "nope".',
        ("serve", "--prot", "80"): "Unknown option: --prot. Did you mean --port?",
        ("serve", "--port", "x"): 'Invalid value for --port: unable to convert "x" into int.',
        ("serve", "--port=65536"): "A port lies between 0 and 65535.",
        ("serve", "extra"): "Unexpected argument: extra.",
        ("roll-up", "2026-01-31"): "Unexpected argument: 2026-01-31.",
        ("roll-up", "--since"): "--since requires an argument.",
        ("import-telegram",): "FILE is missing.",
        ("import-members", "--path=a.csv"): "Unknown option: --path=a.csv.",
        ("import-telegram", "a.json", "--no-dry-run"): "Unknown option: --no-dry-run.",
        ("import-telegram", "a.json", "--dry-run", "--dry-run"): "--dry-run specified multiple",
        ("migrate", "--version"): "Unknown option: --version.",
    }.items(),
)
def test_wrong_arguments_print_one_line_and_return_exit_code_2(
    arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_parser(command_line(), arguments)
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert re.fullmatch(r"community-directory: .* \(see --help\)\n", shown.err)
    assert sentence in shown.err


def test_the_help_names_a_file_the_port_and_the_other_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = help_of("import-members", capsys=capsys)
    assert "import-members [OPTIONS] FILE Add members" in shown
    assert "FILE The file, in UTF-8, with the columns that export-members writes." in shown
    shown = help_of("serve", capsys=capsys)
    assert "DIRECTORY_HOST or 127.0.0.1." in shown
    assert "DIRECTORY_PORT or 8000." in shown


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    run_parser(command_line(), ["--version"])
    assert capsys.readouterr() == (f"{version('community-directory')}\n", "")


def test_a_wrong_setting_prints_one_line_and_returns_exit_code_1() -> None:
    ended = run("migrate", url="mysql://me:secretword@host/x")
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1)
    assert "POSTGRES_URL" in ended.stderr
    assert "secretword" not in ended.stderr


# Commands


async def test_an_empty_database_is_migrated_and_gets_the_demo(empty_database: str) -> None:
    ended = run("demo", url=empty_database)
    assert (ended.returncode, ended.stdout) == (0, "The demo community was loaded.\n")
    steps = ended.stderr.splitlines()
    assert re.fullmatch(r".* command:demo Running \d+ migrations\.", steps[0])
    assert steps[1:] == ["Loading the demo community."]
    assert output_of("demo", url=empty_database) == ["The demo community is there already."]
    assert output_of("migrate", url=empty_database) == ["The schema is up to date."]


async def test_another_piccolo_configuration_in_the_folder_does_not_matter(
    empty_database: str, tmp_path: Path
) -> None:
    (tmp_path / "piccolo_conf.py").write_text("raise RuntimeError('of another program')")
    ended = start("migrate", url=empty_database, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"Migrations run: \d+\.\n", ended.stdout)
    assert start("create-admin", url=empty_database, folder=tmp_path).returncode == 0


async def test_options_have_both_forms_and_the_commands_of_piccolo_are_the_same(
    database: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(database)
    await rows.member(connection)
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    await rows.event(connection, member_id="#1", occurred_at=noon)
    await rows.invitation(connection, expires_at=noon)
    await connection.close()
    for written, options in enumerate(
        (
            ["--since=2026-01-30", "--until", "2026-01-30"],
            ["--since", "2026-01-31", "--until=2026-01-31"],
        )
    ):
        assert output_of("roll-up", *options, url=app_url(database)) == [
            f"Highlights written: {written}."
        ]
    assert output_of("expire-invitations", url=app_url(database)) == ["Invitations expired: 1."]
    file = str(tmp_path / "members.csv")
    assert output_of("export-members", file, url=app_url(database)) == [f"2 people are in {file}."]
    assert output_of("import-members", file, "--overwrite", url=app_url(database)) == [
        "0 added, 0 changed, 2 unchanged."
    ]
    ended = run("import-telegram", file, "--dry-run", "--chats", "A,B", url=app_url(database))
    assert ended.returncode == 1
    assert ended.stderr == f"{file} is not JSON: export the chat as JSON.\n"


def test_a_start_imports_nothing_that_only_few_commands_need() -> None:
    imported = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, community_directory.command_line\n"
            "print({'apscheduler', 'black', 'fastapi', 'uvicorn'} & sys.modules.keys())",
        ],
        env=environment(PYTHONPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert imported == "set()\n"


# Superusers


async def can_sign_in(url: str, username: str, password: str) -> bool:
    async with connect(url):
        return await BaseUser.login(username, password) is not None


async def must_change_password(url: str, username: str) -> bool:
    async with connect(url):
        return await has_temporary_password(username)


async def test_a_superuser_gets_a_random_password_without_a_terminal(database: str) -> None:
    said = output_of("create-admin", "eva", "--email=eva@example.org", url=app_url(database))
    assert said[0] == "eva is a superuser of the panel."
    found = re.fullmatch(r"The password is (\S{16}) \(shown only this once\)", said[1])
    assert found
    assert await can_sign_in(database, "eva", found[1])
    assert await must_change_password(database, "eva")
    for again in (("eva",), ("bo", "--email", "eva@example.org")):
        ended = run("create-admin", *again, url=app_url(database))
        assert (ended.returncode, ended.stdout) == (1, "")
        assert re.fullmatch(
            r"There is already a user with the .* Choose another one\.\n", ended.stderr
        )


@pytest.mark.parametrize(
    ("username", "options", "sentence"),
    [
        ("EVA", [], "In the audit log, EVA could mean a program or another user."),
        ("roll-up", [], "In the audit log, roll-up could mean a program or another user."),
        ("telegram:1", [], "In the audit log, telegram:1 could mean a program or another user."),
        ("a\x1b[31mb", [], "A username must not be blank or have control characters."),
        (" ", [], "A username must not be blank or have control characters."),
        ("bo", ["--email", "bo.example.org"], "bo.example.org is not an e-mail address."),
    ],
)
async def test_a_superuser_with_an_ambiguous_name_or_a_wrong_address_is_refused(
    database: str, username: str, options: list[str], sentence: str
) -> None:
    if username == "EVA":
        output_of("create-admin", "eva", url=app_url(database))
    ended = run("create-admin", username, *options, url=app_url(database))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(sentence)


async def test_the_superuser_of_the_settings_gets_their_address(
    database: str,
) -> None:
    settings = {
        "POSTGRES_URL": app_url(database),
        "DIRECTORY_ADMIN_USERNAME": "ana",
        "DIRECTORY_ADMIN_EMAIL": "ana@example.org",
    }
    for arguments in ((), ("bo",)):
        ended = run_command("create-admin", *arguments, settings=settings)
        assert ended.returncode == 0, ended.stderr
    async with connect(app_url(database)):
        emails = await BaseUser.select(BaseUser.email).output(as_list=True)
    assert sorted(emails) == ["ana@example.org", "bo@localhost"]


async def test_a_password_is_asked_for_on_a_terminal_until_it_is_good(database: str) -> None:
    good = b"correct horse battery\n"
    lines = [b"short\n", good, b"another one\n", good, good]
    code, shown = type_into("create-admin", "eva", url=app_url(database), lines=lines)
    assert code == 0, shown
    assert "The password must have 12 to 128 characters." in shown
    assert "The two passwords differ." in shown
    assert shown.endswith("eva is a superuser of the panel.\n")
    assert "horse" not in shown
    assert await can_sign_in(database, "eva", "correct horse battery")
    assert not await must_change_password(database, "eva")


@pytest.mark.parametrize("key", [b"\x03", b"\x04"], ids=["Ctrl+C", "Ctrl+D"])
def test_a_stopped_command_prints_one_line_and_returns_exit_code_130(key: bytes) -> None:
    code, shown = type_into("create-admin", url="postgresql://127.0.0.1:1/x", lines=[key])
    assert code == 130
    assert shown.endswith(f"{STOPPED_MESSAGE}\n")
    assert "Traceback" not in shown


@pytest.mark.parametrize("program", [["-m", "community_directory"], ["main.py"]])
def test_ctrl_c_during_the_imports_prints_one_line(program: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", *program, "--help"],
        cwd=PROJECT,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        assert any("asyncpg.exceptions" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        lines = [line for line in process.stderr if not line.startswith("import time:")]
    assert (process.returncode, lines) == (130, [f"{STOPPED_MESSAGE}\n"])


async def test_ctrl_c_while_the_embedded_server_is_created_is_no_failure() -> None:
    with tempfile.TemporaryDirectory(prefix="directory-", dir=MEMORY) as folder:
        Path(folder).chmod(0o755)
        with subprocess.Popen(
            [*PROGRAM, "migrate"],
            cwd=PROJECT,
            env=environment(DIRECTORY_DATA_DIRECTORY=f"{folder}/postgres"),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stderr
            assert (
                process.stderr.readline()
                .strip()
                .endswith(f" Creating a PostgreSQL database in {folder}/postgres.")
            )
            while not list(Path(folder).glob("postgres/.unfinished-*/global")):
                assert process.poll() is None
                time.sleep(0.005)
            os.killpg(process.pid, signal.SIGINT)
            assert process.stderr.read() == f"{STOPPED_MESSAGE}\n"
        assert process.returncode == 130


# psql


async def test_psql_opens_the_database_of_the_settings(database: str, tmp_path: Path) -> None:
    count = "SELECT count(*) FROM community_members"
    assert output_of("psql", "-At", "-c", count, url=app_url(database)) == ["0"]
    assert output_of("psql", "--version", url=app_url(database))[0].startswith("psql (PostgreSQL) ")
    script = tmp_path / "script.sql"
    script.write_text("SELECT 1 / 0;")
    ended = run("psql", "-v", "ON_ERROR_STOP=1", "-f", str(script), url=app_url(database))
    assert ended.returncode == 3
    assert "division by zero" in ended.stderr


async def test_no_password_is_in_the_list_of_processes(database: str) -> None:
    url = f"{database}&password=secretword"
    with subprocess.Popen(
        [*PROGRAM, "psql", "-At", "-c", "SELECT pg_sleep(60)"],
        cwd=PROJECT,
        env=environment(POSTGRES_URL=url),
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while not (children := psutil.Process(process.pid).children()):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            [child] = children
            while not (line := child.cmdline()) or "psql" not in line[0]:
                assert time.monotonic() < deadline
            assert "secretword" not in " ".join(line)
            assert child.environ()["PGPASSWORD"] == "secretword"
        finally:
            child.kill()
            process.kill()


@pytest.mark.parametrize(
    ("url", "without", "password"),
    [
        ("postgresql://me:s%40x@host:5432/db", "postgresql://me@host:5432/db", "s@x"),
        ("postgresql://me@host/db?sslmode=require", None, None),
        (
            "postgresql:///db?host=/run&password=a%26b&port=1",
            "postgresql:///db?host=/run&port=1",
            "a&b",
        ),
        ("postgresql:///db?p%61ssword=a%2Bb+c", "postgresql:///db", "a+b+c"),
        ("postgres://me:x@one:1,two:2/db", "postgres://me@one:1,two:2/db", "x"),
        ("postgresql://me:@host/db", "postgresql://me@host/db", ""),
    ],
)
def test_a_password_is_taken_out_of_a_url(
    url: str, without: str | None, password: str | None
) -> None:
    assert split_password(url) == (without or url, password)


@pytest.mark.parametrize("name", ["sslpassword", "ssl%70assword"])
def test_a_url_with_the_password_of_a_key_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="sslpassword") as error:
        split_password(f"postgresql://host/db?{name}=secretword")
    assert "secretword" not in str(error.value)
