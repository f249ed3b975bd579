"""The commands of `piccolo community_directory …`, as an operator types them."""

import inspect
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from community_directory import commands, jobs
from community_directory.commands import COMMANDS
from community_directory.database import engine
from community_directory.errors import InvalidInput
from community_directory.settings import load_settings
from tests.conftest import Server, database_name, run_sql
from tests.processes import PROJECT, environment, run_piccolo
from tests.roles import app_url
from tests.tables import rows

PICCOLO = (sys.executable, "-m", "piccolo.main", "community_directory")
AWAY = "postgresql://127.0.0.1:1/x"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def piccolo(*arguments: str, url: str = AWAY) -> subprocess.CompletedProcess[str]:
    """`piccolo community_directory …`."""
    return run_piccolo("community_directory", *arguments, settings={"POSTGRES_URL": url})


def plain(text: str) -> str:
    """Return the text without its colours."""
    return re.sub(r"\x1b\[\d+m", "", text)


@pytest.fixture
def here(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A migrated database that the settings of this process name; its URL."""
    monkeypatch.setenv("POSTGRES_URL", app_url(database))
    load_settings.cache_clear()
    return database


@pytest.fixture
async def events(here: str) -> str:
    """A database with the members #1 and #2, and events on some days of January 2026; its URL."""
    connection = await asyncpg.connect(here)
    await rows.member(connection)
    await rows.member(connection, name="Bo")
    for day in (1, 15, 30, 31):
        await rows.event(connection, member_id="#1", occurred_at=NOON.replace(day=day))
    await connection.close()
    return here


async def rolled_up(url: str) -> list[int]:
    connection = await asyncpg.connect(url)
    found = await connection.fetch("SELECT highlight_date FROM member_daily_highlights ORDER BY 1")
    await connection.close()
    return [record["highlight_date"].day for record in found]


async def exit_of(command: Callable[..., Any], **options: object) -> str:
    """Return the last line of a command that fails."""
    with pytest.raises(SystemExit) as ended:
        await command(**options)
    assert isinstance(ended.value.code, str)  # Python prints it, and the exit code is 1
    return ended.value.code


async def test_highlights_are_rolled_up_from_one_day_to_another(events: str) -> None:
    ended = piccolo("roll_up_highlights", "--since=2026-01-02", "--until=2026-01-30", url=events)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Highlights written: 2.\n", "")
    assert await rolled_up(events) == [15, 30]
    ended = piccolo("roll_up_highlights", "--since=2026-01-01", "--until=2026-01-31", url=events)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "Highlights written: 2.\n", "")
    assert await rolled_up(events) == [1, 15, 30, 31]


async def test_old_events_become_daily_counts(
    events: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = await asyncpg.connect(events)
    await rows.event(connection, member_id="#2", event_type="JOIN", occurred_at=NOON)
    await connection.close()
    needed = "Set DIRECTORY_EVENT_RETENTION_DAYS, or give the day with --before."
    assert await exit_of(commands.archive_events) == needed
    assert "The last 90 days can't be archived" in await exit_of(
        commands.archive_events, before="2199-01-01"
    )
    await commands.archive_events(before="2026-01-01", dry_run=True)
    await commands.archive_events(before="2026-02-01", dry_run=True)
    await commands.archive_events(before="2026-01-31")
    await commands.archive_events(before="2026-01-31")
    assert capsys.readouterr().out.splitlines() == [
        "There are no events of days before 2026-01-01: nothing to archive.",
        "Nothing was deleted. Of the days from 2026-01-01 to before 2026-02-01 it would delete:",
        "            4 MESSAGE events of 1 member",
        "            1 JOIN event of 1 member, of which no count is kept",
        "Archived: 3 days, 3 events.",
        "Archived: 0 days, 0 events.",
    ]
    assert await rolled_up(events) == [1, 15, 30]
    monkeypatch.setenv("DIRECTORY_EVENT_RETENTION_DAYS", "90")
    load_settings.cache_clear()
    await commands.archive_events(dry_run=True)
    await commands.archive_events()
    assert "Archived: 1 day, 2 events." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 15, 30, 31]),
        ({"until": "2026-01-16"}, [15]),
        ({"since": "2026-01-15"}, [15, 30, 31]),
        ({"since": "2026-01-31"}, [31]),
        ({"since": "2025-01-01", "until": "2026-01-15"}, [1, 15]),
        ({"since": "2019-12-31", "until": "2026-01-31"}, [1, 15, 30, 31]),
    ],
)
async def test_without_days_each_day_that_was_never_rolled_up_is_found(
    events: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, str],
    expected: list[int],
) -> None:
    for module in (commands, jobs):
        monkeypatch.setattr(module, "today", lambda: date(2026, 1, 31))
    await commands.roll_up_highlights(**options)
    assert await rolled_up(events) == expected
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"Highlights written: {len(expected)}.\n", "")


@pytest.mark.parametrize("days", [0, 1, 30, 31, 32, 62, 100])
async def test_every_day_of_a_long_span_is_rolled_up_once(
    events: str, capsys: pytest.CaptureFixture[str], days: int
) -> None:
    connection = await asyncpg.connect(events)
    await connection.execute(
        "INSERT INTO member_participation (member_id, event_type, platform, room_id, occurred_at) "
        "SELECT '#2', 'MESSAGE', 'telegram', '-1', "
        "timestamptz '2020-01-01 12:00 UTC' + day * interval '1 day' "
        "FROM generate_series(0, $1::int) AS day",
        days,
    )
    until = await connection.fetchval("SELECT (date '2020-01-01' + $1::int)::text", days)
    await connection.close()
    await commands.roll_up_highlights(since="2020-01-01", until=until)
    assert capsys.readouterr().out == f"Highlights written: {days + 1}.\n"
    assert len(await rolled_up(events)) == days + 1


@pytest.mark.parametrize(
    "day", ["yesterday", "31.01.2026", "2026-02-30", "2026-1-1", "2026-01-01T00:00:00", " "]
)
@pytest.mark.parametrize("option", ["since", "until"])
async def test_a_malformed_day_is_reported_in_one_sentence(
    events: str, option: str, day: str
) -> None:
    said = await exit_of(commands.roll_up_highlights, **{option: day})
    assert said == f"{day} is not a day. Write it as 2026-01-31."
    assert await rolled_up(events) == []


@pytest.mark.parametrize(
    ("since", "until"),
    [("2026-01-31", "2026-01-30"), ("1000-01-01", "2026-01-30"), ("9999-12-31", "9999-12-31")],
)
async def test_days_that_cannot_be_rolled_up_are_reported_in_one_sentence(
    events: str, since: str, until: str
) -> None:
    said = await exit_of(commands.roll_up_highlights, since=since, until=until)
    assert said in {
        "Choose 1 to 3660 days, and put the first day first.",
        "This day is too far away.",
    }


async def test_a_bad_day_prints_one_sentence_and_returns_exit_code_1(database: str) -> None:
    ended = piccolo("roll_up_highlights", "--since=soon", url=app_url(database))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "soon is not a day. Write it as 2026-01-31.\n"


async def test_invitations_expire(database: str) -> None:
    connection = await asyncpg.connect(database)
    await rows.invitation(connection, expires_at=NOON)
    await rows.invitation(connection)
    ended = piccolo("expire_invitations", url=app_url(database))
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        0,
        "Invitations expired: 1.\n",
        "",
    )
    found = await connection.fetch("SELECT status FROM community_invitations ORDER BY expires_at")
    await connection.close()
    assert [record["status"] for record in found] == ["expired", "pending"]


async def test_members_are_exported_and_imported(events: str, tmp_path: Path) -> None:
    file = tmp_path / "members.csv"
    ended = piccolo("export_members", str(file), url=events)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"2 people are in {file}.\n", "")
    again = piccolo("export_members", f"--path={file}", url=events)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"{file} already exists: choose another name.\n"

    text = file.read_text(encoding="utf-8-sig").replace('"Bo"', '"Bob"')
    file.write_text(f"{text},900,Eva,,developer{',' * 12}\n")
    ended = piccolo("import_members", str(file), url=events)
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        0,
        "1 added, 1 changed, 1 unchanged.\n",
        "",
    )


async def test_bad_lines_are_listed_and_the_last_line_says_that_nothing_was_changed(
    events: str, tmp_path: Path
) -> None:
    file = tmp_path / "members.csv"
    file.write_text("member_id,name\n#1,Anita\n#99,x\n#2,\n")
    ended = piccolo("import_members", str(file), url=events)
    assert ended.returncode == 1
    assert ended.stdout == "line 3: There is no member #99.\nline 4: The name can't be empty.\n"
    assert ended.stderr == (
        "2 lines can't be imported, so nothing was changed. "
        "Correct them and import the file again.\n"
    )


async def test_a_missing_file_is_reported_in_one_line(here: str, tmp_path: Path) -> None:
    file = tmp_path / "members.csv"
    assert (
        await exit_of(commands.import_members, path=str(file))
        == f"Can't read {file}: No such file or directory."
    )
    nowhere = tmp_path / "missing" / "members.csv"
    said = await exit_of(commands.export_members, path=str(nowhere))
    assert said == f"Can't write {nowhere}: No such file or directory."


async def test_counts_of_thousands_have_commas(
    here: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await run_sql(
        here,
        "INSERT INTO community_members (telegram_id, name, primary_role) "
        "SELECT number, 'Ana', 'x' FROM generate_series(1, 1234) AS number",
    )
    file = tmp_path / "members.csv"
    await commands.export_members(path=str(file))
    await commands.import_members(path=str(file))
    assert (
        capsys.readouterr().out
        == f"1,234 people are in {file}.\n0 added, 0 changed, 1,234 unchanged.\n"
    )


def test_help_describes_a_command_and_each_of_its_parameters() -> None:
    command = max(COMMANDS, key=lambda command: len(inspect.signature(command).parameters))
    ended = piccolo(command.__name__, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    helped = plain(ended.stdout)
    assert (command.__doc__ or "").splitlines()[0] in helped
    for parameter in inspect.signature(command).parameters:
        assert re.search(rf"^{parameter} .*\n[A-Z]\S.*\.$", helped, re.MULTILINE), helped


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_the_text_that_help_shows_has_each_parameter(command: Callable[..., object]) -> None:
    for parameter in inspect.signature(command).parameters:
        assert re.search(rf"^ {{8}}{parameter}: [A-Z]\S", command.__doc__ or "", re.MULTILINE)


def test_the_list_of_commands_describes_each_of_them() -> None:
    listed = plain(piccolo("--help").stdout)
    for command in COMMANDS:
        line = (command.__doc__ or "").splitlines()[0]
        assert f"community_directory {command.__name__}\n{line}" in listed


FORM = "Write options as --since=2026-01-31, and switches such as --dry-run without a value."


@pytest.mark.parametrize(
    ("arguments", "line"),
    {
        ("roll_up_highlights", "--sinze=2026-01-31"): "There is no option --sinze.",
        ("roll_up_highlights", "--until", "2026-01-31"): FORM,
        ("roll_up_highlights", "2026-01-31"): f"Unexpected argument: 2026-01-31. {FORM}",
        ("export_members",): "The path is missing.",
        ("import_members", "a.csv", "b.csv"): f"Unexpected argument: b.csv. {FORM}",
        (
            "import_members",
            "a.csv",
            "--path=b.csv",
            "c.csv",
        ): f"Unexpected argument: c.csv. {FORM}",
        ("import_members", "a.csv", "--path=b.csv"): "The path is given twice.",
        ("import_members", "--path=a.csv", "--path=b.csv"): "The path is given twice.",
        (
            "roll_up_highlights",
            "--since=2026-01-31",
            "--since=2026-02-01",
        ): "The since is given twice.",
        ("import_telegram", "--dry-run"): "The path is missing.",
        ("expire_invitations", "--trace=1"): FORM,
        ("expire_invitations", "--trace", "--trace"): FORM,
        ("expire_invitations", "x", "--trace"): f"Unexpected argument: x. {FORM}",
        ("import_telegram", "result.json", "--dry-run=yes"): FORM,
        ("expire_invitations", "--force"): "There is no option --force.",
        ("expire_invitation",): "There is no command expire_invitation: piccolo --help lists them.",
    }.items(),
)
def test_wrong_arguments_print_one_line_and_return_exit_code_2(
    arguments: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.check_arguments(["community_directory", *arguments])
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err) == (2, "", f"{line}\n")


def test_wrong_arguments_after_trace_are_reported_in_one_line_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.check_arguments(["--trace", "community_directory", "nope"])
    said = capsys.readouterr()
    line = "There is no command nope: piccolo --help lists them.\n"
    assert (ended.value.code, said.out, said.err) == (2, "", line)


def test_a_short_option_asks_for_help_too() -> None:
    short, long = piccolo("import_members", "-h"), piccolo("import_members", "--help")
    assert (short.returncode, short.stdout, short.stderr) == (0, long.stdout, "")
    assert commands.expand_help_option(["migrations", "forwards", "-h"]) == [
        "migrations",
        "forwards",
        "-h",
    ]
    assert (
        commands.expand_help_option(["--trace", "community_directory", "x", "-h"])[-1] == "--help"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("community_directory",),
        ("--trace", "community_directory", "expire_invitations"),
        ("community_directory", "--help"),
        ("community_directory", "export_members", "--help"),
        ("community_directory", "export_members", "--path=a.csv", "--trace"),
        ("community_directory", "import_telegram", "--dry_run", "result.json", "--chats=A,B"),
        ("community_directory", "import_telegram", "result.json", "--dry-run"),
        ("migrations", "forwards", "--force"),
    ],
)
def test_valid_arguments_and_those_of_other_commands_pass(arguments: tuple[str, ...]) -> None:
    commands.check_arguments(arguments)


def test_piccolo_checks_arguments_before_it_runs_a_command() -> None:
    ended = piccolo("import_members", "a.csv", "b.csv", "c.csv", "d.csv")
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        2,
        "",
        f"Unexpected argument: b.csv. {FORM}\n",
    )


COMPLETE: dict[str, dict[str, str]] = {
    "expire_invitations": {},
    "run_doctor": {},
    "roll_up_highlights": {"since": "2026-01-31", "until": "2026-01-31"},
    "import_members": {"path": str(PROJECT / "README.md")},
    "export_members": {"path": "/proc/members.csv"},
    "import_telegram": {"path": "result.json"},
    "import_discord": {"path": "result.json"},
}


@pytest.mark.parametrize("name", [command.__name__ for command in COMMANDS])
async def test_an_unavailable_database_is_reported_in_one_line(
    name: str, here: str, server: Server
) -> None:
    command = next(command for command in COMMANDS if command.__name__ == name)
    await run_sql(server.url, f"ALTER DATABASE {database_name(here)} ALLOW_CONNECTIONS false")
    said = await exit_of(command, **COMPLETE[name])
    assert re.fullmatch(r"The database is not available: .*", said)


def test_piccolo_prints_nothing_but_one_line_about_an_unavailable_database() -> None:
    ended = piccolo("expire_invitations")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(r"The database is not available: .*\n", ended.stderr)


@pytest.mark.parametrize("name", ["expire_invitations", "roll_up_highlights", "import_members"])
async def test_a_database_without_tables_is_reported_in_one_line(
    name: str, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_URL", empty_database)
    load_settings.cache_clear()
    (tmp_path / "members.csv").write_text("member_id\n#1\n")
    command = next(command for command in COMMANDS if command.__name__ == name)
    options = (
        {"path": str(tmp_path / "members.csv")} if name == "import_members" else COMPLETE[name]
    )
    said = await exit_of(command, **options)
    assert (
        said
        == "The database's tables are missing, or of another version. Run the migrations first."
    )


async def test_options_may_be_written_with_dashes(here: str) -> None:
    given: list[dict[str, object]] = []

    @commands.command
    async def remember(path: str, dry_run: bool = False) -> None:
        given.append({"path": path, "dry_run": dry_run})

    await remember(**{"path": "x", "dry-run": True})
    await remember(path="x", dry_run=True)
    await remember(path="x")
    assert given == [{"path": "x", "dry_run": dry} for dry in (True, True, False)]
    for wrong in ({}, {"path": "x", "dry-rum": True}, {"path": "x", "dry-run": True, "more": 1}):
        with pytest.raises(TypeError):
            await remember(**wrong)


async def test_a_command_connects_and_closes_the_connection(here: str) -> None:
    @commands.command
    async def look() -> None:
        assert engine.pool is not None
        raise InvalidInput("Seen.")

    assert await exit_of(look) == "Seen."
    assert engine.pool is None


def on_a_terminal(*arguments: str, url: str) -> str:
    """Run a command with a terminal as its stderr, and return what it writes there."""
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    with subprocess.Popen(
        [*PICCOLO, *arguments],
        cwd=PROJECT,
        env=environment(POSTGRES_URL=url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        written = b""
        while True:
            try:
                some = os.read(ours, 4096)
            except OSError:  # Linux raises it when the other side is closed
                some = b""
            if not some:
                break
            written += some
        assert process.wait() == 0
    os.close(ours)
    return written.decode()


async def test_progress_is_shown_on_a_terminal(events: str) -> None:
    shown = on_a_terminal(
        "roll_up_highlights", "--since=2026-01-01", "--until=2026-02-28", url=events
    )
    assert "Rolling up" in shown
    assert "100%" in shown
    assert "59/59" in shown
