"""The commands `import-telegram` and `import-discord`, run as an operator runs them.

`piccolo community_directory import_telegram` is the same command, and takes half as long again to
start: `tests/test_commands.py` says how its arguments are read.
"""

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from benchmarks import telegram_export
from community_directory.queries import highlights, members, participation
from tests.imports.exports import (
    BO,
    NOON,
    account,
    chat,
    discord_channel,
    discord_message,
    discord_reaction,
    encode_json,
    message,
    reaction,
    service,
    user,
)
from tests.imports.test_history import ALL_ROWS, COUNT_EVENTS
from tests.processes import PROGRAM, PROJECT, environment, run_command, run_piccolo
from tests.roles import app_url
from tests.tables import rows


def run(
    *arguments: str | Path, url: str, is_piccolo: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    settings = {"POSTGRES_URL": app_url(url), **variables}
    if is_piccolo:
        return run_piccolo("community_directory", *arguments, settings=settings)
    return run_command(*arguments, settings=settings)


def start(
    *arguments: str | Path, url: str, typed: str | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command from the first line of its program on, with a pipe as its input."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        cwd=PROJECT,
        env=environment(POSTGRES_URL=app_url(url), **variables),
        capture_output=True,
        input=typed,
        text=True,
        timeout=60,
        check=False,
    )


def run_successfully(
    *arguments: str | Path, url: str, is_piccolo: bool = False, **variables: str
) -> list[str]:
    """Return the lines that a successful command prints, without their indentation."""
    finished = run(*arguments, url=url, is_piccolo=is_piccolo, **variables)
    assert (finished.returncode, finished.stderr) == (0, "")
    return [line.strip() for line in finished.stdout.splitlines()]


def run_and_fail(*arguments: str | Path, url: str) -> list[str]:
    """Return the error output of a command that fails, and check that it has no traceback."""
    finished = run(*arguments, url=url)
    assert finished.returncode == 1
    said = finished.stderr.splitlines()
    assert "Traceback" not in finished.stderr
    return said


@pytest.fixture
def result(tmp_path: Path) -> Path:
    return tmp_path / "result.json"


def write_history(path: Path, messages: int, people: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        telegram_export.write(file, telegram_export.messages(messages, people))


HISTORY = chat(
    message(1, reactions=[reaction(BO, count=3)]),
    service(2, "group_call", duration=90),
    service(3, "pin_message", message_id=1),
    message(4, **BO),
    message(5, **{"from": None, "from_id": "user103"}),
    message(6, **{"from": "Rose", "from_id": "user104"}, inline_bot_buttons=[[{"type": "url"}]]),
    message(7, **{"from": "News", "from_id": "channel105"}),
    7,
)
SUMMARY = [
    "4 events of Frutero Club",
    "2 new MESSAGE events, and 0 that were there already",
    "1 new REACTION event, and 0 that were there already",
    "1 new VOICE event, and 0 that were there already",
    "2 new contacts, and 0 people who were known",
    "2 reactions whose author is not in the export, left out",
    "1 service message, left out",
    "1 bot, left out from now on",
    "1 event of bots, left out",
    "1 event of channels and groups, left out",
    "1 malformed message, left out",
    "1 event of deleted accounts that are not in the directory, left out",
]


async def test_a_dry_run_an_import_and_a_repeated_import_report_the_same_events(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    result.write_bytes(encode_json(HISTORY))
    empty = await directory.fetch(ALL_ROWS)
    planned = run_successfully("import-telegram", result, "--dry-run", url=directory_url)
    assert planned[0] == "Nothing was stored. An import would store:"
    assert sorted(planned[1:]) == sorted(SUMMARY)
    assert await directory.fetch(ALL_ROWS) == empty
    again = run_successfully(
        "import_telegram", result, "--dry_run", url=directory_url, is_piccolo=True
    )
    assert again == planned

    imported = run_successfully("import-telegram", result, url=directory_url)
    assert imported == ["Imported:", *planned[1:]]
    day = NOON.date()
    page = await highlights.between(day, day)
    assert {
        (row.member_id, row.message_count, row.reaction_count, row.voice_minutes)
        for row in page.items
    } == {
        ("#1", 1, 0, 1),
        ("#2", 1, 1, 0),
    }
    assert await highlights.verify(day) == []
    leaders = (await members.leaderboard(status=None)).items
    assert {(leader.telegram_id, leader.name, leader.status) for leader in leaders} == {
        ("101", "Ana García", "not_member"),
        ("102", "Bo", "not_member"),
    }
    points = {row.member_id: row.reputation_earned for row in page.items}
    assert {leader.member_id: leader.reputation_score for leader in leaders} == points
    active = await participation.most_active(since=day, until=day)
    assert [(member.name, member.events) for member in active] == [("Ana García", 2), ("Bo", 2)]

    stored = await directory.fetch(ALL_ROWS)
    again = run_successfully("import-telegram", result, url=directory_url)
    assert await directory.fetch(ALL_ROWS) == stored
    assert again[1:6] == [
        "4 events of Frutero Club",
        "0 new MESSAGE events, and 2 that were there already",
        "0 new REACTION events, and 1 that were there already",
        "0 new VOICE events, and 1 that were there already",
        "0 new contacts, and 2 people who were known",
    ]


async def test_the_generated_export_of_the_benchmark_is_imported(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    made = [sys.executable, str(PROJECT / "benchmarks" / "telegram_export.py"), str(result)]
    subprocess.run([*made, "--messages", "500", "--people", "30"], check=True, capture_output=True)
    export = json.loads(result.read_bytes())
    assert len(export["messages"]) == 500
    said = run_successfully("import-telegram", result, url=directory_url)
    assert any(line.endswith("events of Frutero Club 🍓") for line in said)
    first, last = (
        telegram_export.BEGIN.date(),
        (telegram_export.BEGIN + telegram_export.SPAN).date(),
    )
    assert await highlights.verify(first, until=last + timedelta(days=1)) == []
    people = {row[0] for row in await directory.fetch("SELECT name FROM community_members")}
    assert people <= {
        name
        for one in export["messages"]
        for name in (one.get("from"), one.get("actor"), *list_reactors(one))
    }
    other = result.with_name("other.json")
    with other.open("w", encoding="utf-8") as file:
        telegram_export.write(file, telegram_export.messages(500, 30, seed=2))
    assert other.read_bytes() != result.read_bytes()
    write_history(other, 500, 30)
    assert other.read_bytes() == result.read_bytes()


def list_reactors(one: dict[str, Any]) -> list[str]:
    return [who["from"] for kind in one.get("reactions", []) for who in kind.get("recent", [])]


async def test_only_the_chosen_groups_of_an_account_are_imported(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    groups = [
        chat(message(number), name=name, id=number)
        for number, name in enumerate(["A", "B, with C", "D", "E"], 1)
    ]
    personal = chat(message(9), type="personal_chat", name="Bo", id=102)
    result.write_bytes(encode_json(account(*groups, personal)))
    said = run_successfully("import-telegram", result, "--chats=A, 3,", url=directory_url)
    assert said[1:3] == ["1 event of A", "1 event of D"]
    assert "2 messages in chats that were not chosen, left out" in said
    assert "1 message in chats that are not groups, left out" in said
    assert "1 event of B, with C" in run_successfully("import-telegram", result, url=directory_url)
    assert await directory.fetchval(COUNT_EVENTS) == 4


@pytest.mark.parametrize("is_piccolo", [True, False])
async def test_a_name_with_a_comma_is_one_group_and_the_option_can_be_repeated(
    directory: asyncpg.Pool, directory_url: str, result: Path, is_piccolo: bool
) -> None:
    names = ["Frutero", "Frutero, north", "north", "D", "E"]
    groups = [chat(message(number), name=name, id=number) for number, name in enumerate(names, 1)]
    result.write_bytes(encode_json(account(*groups)))
    command = "import_telegram" if is_piccolo else "import-telegram"
    for options, chosen in (
        (["--chats=Frutero, north", "--chats=4"], {"Frutero, north", "D"}),
        (["--chats=D,Frutero", "--chats=", "--chats= E , "], {"D", "Frutero", "E"}),
    ):
        said = run_successfully(
            command, result, "--dry-run", *options, url=directory_url, is_piccolo=is_piccolo
        )
        assert {line.rpartition(" of ")[2] for line in said if " of " in line} == chosen
    assert await directory.fetchval(COUNT_EVENTS) == 0


async def test_the_bots_that_the_operator_names_are_left_out_by_later_imports_too(
    directory: asyncpg.Pool, directory_url: str, tmp_path: Path
) -> None:
    people = {"Bernard Bot": "105", "Rose, the helper": "106", "Rose": "107", "Mod": "108"}
    telegram_file, discord_file = tmp_path / "result.json", tmp_path / "general.json"
    telegram_file.write_bytes(
        encode_json(
            chat(
                *(
                    message(number, **{"from": name, "from_id": f"user{account}"})
                    for number, (name, account) in enumerate(people.items(), 1)
                )
            )
        )
    )
    discord_file.write_bytes(
        encode_json(
            discord_channel(
                *(
                    discord_message(number, author=user(account, name, nickname=name))
                    for number, (name, account) in enumerate(people.items(), 1)
                )
            )
        )
    )
    for command, file in (("import-telegram", telegram_file), ("import-discord", discord_file)):
        for options in (["--bots=Rose, the helper", "--bots=108,999"], []):
            said = run_successfully(command, file, *options, url=directory_url)
            assert "2 events of bots, left out" in said
            assert ("2 bots, left out from now on" in said) is bool(options)
            unknown = "No account in the file is the bot 999."
            assert (unknown in said) is bool(options)
    names = await directory.fetch("SELECT name FROM community_members")
    assert {row["name"] for row in names} == {"Bernard Bot", "Rose"}
    assert len(names) == 4


@pytest.mark.parametrize("platform", ["telegram", "discord"])
async def test_the_name_of_a_bot_that_the_file_shows_is_not_split(
    directory: asyncpg.Pool, directory_url: str, result: Path, platform: str
) -> None:
    buttons = {"inline_bot_buttons": [[{"type": "callback", "text": "Yes"}]]}
    names = ["Rose, the helper", "Rose", "the helper"]
    if platform == "telegram":
        people = [
            {"from": name, "from_id": f"user10{number}"} for number, name in enumerate(names, 1)
        ]
        export = chat(
            *(
                message(number, **person, **(buttons if number == 1 else {}))
                for number, person in enumerate(people, 1)
            )
        )
    else:
        export = discord_channel(
            *(
                discord_message(
                    number, author=user(f"10{number}", name, nickname=name, isBot=number == 1)
                )
                for number, name in enumerate(names, 1)
            )
        )
    result.write_bytes(encode_json(export))
    said = run_successfully(
        f"import-{platform}", result, "--bots=Rose, the helper", url=directory_url
    )
    assert "1 bot, left out from now on" in said
    names_of_people = await directory.fetch("SELECT name FROM community_members ORDER BY name")
    assert [name for (name,) in names_of_people] == ["Rose", "the helper"]


async def test_whoever_is_marked_as_a_person_is_imported_whatever_the_file_shows(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    buttons = [[{"type": "callback", "text": "Yes"}]]
    result.write_bytes(encode_json(chat(message(1))))
    run_successfully("import-telegram", result, url=directory_url)
    result.write_bytes(encode_json(chat(message(1), message(2, inline_bot_buttons=buttons))))
    said = run_successfully("import-telegram", result, url=directory_url)
    assert "2 events of bots, left out" in said
    await members.mark_bot("#1", False, actor="panel", reason="a person")
    for options in (["--dry-run"], []):
        said = run_successfully("import-telegram", result, *options, url=directory_url)
        assert "1 new MESSAGE event, and 1 that were there already" in said
        assert not any("bot" in line for line in said)


async def test_days_and_old_times_are_in_the_zone_of_the_community(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    old = message(1, from_id=101, date="2020-07-31T23:30:00")
    del old["date_unixtime"]
    result.write_bytes(encode_json(chat(old)))
    run_successfully(
        "import-telegram", result, url=directory_url, DIRECTORY_TIME_ZONE="Europe/Madrid"
    )
    row = await rows.fetch_row(
        directory,
        "SELECT occurred_at::text, highlight_date::text"
        " FROM member_participation, member_daily_highlights",
    )
    assert tuple(row) == ("2020-07-31 21:30:00+00", "2020-07-31")


async def test_a_channel_of_discord_is_imported_once(
    directory: asyncpg.Pool, directory_url: str, tmp_path: Path
) -> None:
    await rows.member(
        directory,
        telegram_id="101",
        name="Ana",
        status="active",
        profile_data={"discord_id": "801"},
    )
    ended = (NOON + timedelta(minutes=5)).isoformat()
    call = discord_message(3, type="Call", callEndedTimestamp=ended)
    export = discord_channel(
        discord_message(1, reactions=[discord_reaction(user("802", "bo"), count=2)]),
        discord_message(2, type="GuildMemberJoin"),
        call,
    )
    file = tmp_path / "general.json"
    file.write_bytes(encode_json(export))
    before = await directory.fetch(ALL_ROWS)
    planned = run_successfully("import-discord", file, "--dry-run", url=directory_url)
    assert await directory.fetch(ALL_ROWS) == before
    assert run_successfully("import-discord", file, url=directory_url) == [
        "Imported:",
        *planned[1:],
    ]
    assert planned[1:] == [
        "3 events of Frutero #general",
        "1 new MESSAGE event, and 0 that were there already",
        "1 new REACTION event, and 0 that were there already",
        "1 new VOICE event, and 0 that were there already",
        "1 new contact, and 1 person who was known",
        "1 reaction whose author is not in the export, left out",
        "1 service message, left out",
    ]
    stored = await directory.fetch(ALL_ROWS)
    run_successfully("import-discord", file, url=directory_url)
    assert await directory.fetch(ALL_ROWS) == stored
    [bo, ana] = (await highlights.between(NOON.date(), NOON.date())).items
    assert (bo.reaction_count, ana.message_count, ana.voice_minutes) == (1, 1, 3)


# Truncated files, and files that are not exports


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"<!DOCTYPE html><html></html>", b"{}", b"[]"],
    ids=["empty", "text", "HTML", "object", "list"],
)
@pytest.mark.parametrize("command", ["import-telegram", "import-discord"])
async def test_a_file_that_is_not_an_export_is_refused_with_one_line(
    directory: asyncpg.Pool, directory_url: str, result: Path, command: str, content: bytes
) -> None:
    before = await directory.fetch(ALL_ROWS)
    result.write_bytes(content)
    [said] = run_and_fail(command, result, url=directory_url)
    assert re.match(r"There are no messages in this file|.*result\.json is (empty|not JSON)", said)
    assert await directory.fetch(ALL_ROWS) == before


@pytest.mark.parametrize(
    ("command", "export"),
    [
        ("import-telegram", chat()),
        ("import-telegram", account()),
        ("import-discord", discord_channel()),
    ],
    ids=["chat", "account", "channel"],
)
async def test_an_export_without_messages_is_nothing_to_do(
    directory: asyncpg.Pool, directory_url: str, result: Path, command: str, export: object
) -> None:
    result.write_bytes(encode_json(export))
    for arguments in ((), ("--dry-run",)):
        assert run_successfully(command, result, *arguments, url=directory_url) == [
            f"There are no messages in {result}: nothing to import."
        ]


@pytest.mark.parametrize("command", ["import-telegram", "import-discord"])
async def test_an_unreadable_file_is_named(
    directory_url: str, tmp_path: Path, command: str
) -> None:
    missing = tmp_path / "missing.json"
    assert run_and_fail(command, missing, url=directory_url) == [
        f"Can't read {missing}: No such file or directory."
    ]
    assert run_and_fail(command, tmp_path, url=directory_url) == [
        f"Can't read {tmp_path}: Is a directory."
    ]
    from_pipe = start(command, "/dev/stdin", url=directory_url, typed="{}")
    assert from_pipe.returncode == 1
    assert from_pipe.stderr == "Can't read /dev/stdin: File or stream is not seekable.\n"


@pytest.mark.parametrize("command", ["import-telegram", "import-discord"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty."),
        ("member_id,name\n#1,Ana\n", "is not JSON: export the chat as JSON."),
        ('"member_id","name"\n', "is not JSON: export the chat as JSON."),
        ("\n", "is not JSON: export the chat as JSON."),
    ],
)
async def test_a_file_that_is_not_json_is_named(
    directory_url: str, tmp_path: Path, command: str, content: str, problem: str
) -> None:
    file = tmp_path / "m.csv"
    file.write_text(content)
    assert run_and_fail(command, file, url=directory_url) == [f"{file} {problem}"]


async def test_a_truncated_file_is_imported_up_to_its_end_and_the_last_message_is_named(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    whole = encode_json(chat(*(message(number) for number in range(1, 1203))))
    cut = whole.index(b'"id": 1202')
    result.write_bytes(whole[:cut])
    for times in range(2):
        finished = run("import-telegram", result, url=directory_url)
        assert finished.returncode == 1
        assert finished.stderr == (
            f"The file is incomplete or damaged near byte {cut:,}: export the chat again."
            " Everything before this point was read,"
            " after message 1201 of Frutero Club.\n"
        )
        new = 0 if times else 1201
        assert (
            f"{new:,} new MESSAGE events, and {1201 - new:,} that were there already"
            in finished.stdout
        )
        assert await directory.fetchval(COUNT_EVENTS) == 1201
        assert await highlights.verify(NOON.date(), until=NOON.date() + timedelta(days=1)) == []
    result.write_bytes(whole)
    assert "1 new MESSAGE event, and 1,201 that were there already" in run_successfully(
        "import-telegram", result, url=directory_url
    )


async def test_nothing_is_imported_without_the_secret_key(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    await rows.member(directory, telegram_id=f"banned:{0:064}", status="banned", deleted_at=NOON)
    result.write_bytes(encode_json(HISTORY))
    before = await directory.fetch(ALL_ROWS)
    [said] = run_and_fail("import-telegram", result, url=directory_url)
    assert said.startswith("Set DIRECTORY_SECRET_KEY: ")
    assert await directory.fetch(ALL_ROWS) == before


# Large files


async def test_a_killed_import_can_be_repeated(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    write_history(result, 20_000, 100)
    killed = subprocess.Popen(
        [*PROGRAM, "import-telegram", result],
        cwd=PROJECT,
        env=environment(POSTGRES_URL=app_url(directory_url)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while await directory.fetchval(COUNT_EVENTS) < 3000:
            assert killed.poll() is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    finally:
        killed.kill()
    assert killed.wait() == -signal.SIGKILL
    there = await directory.fetchval(COUNT_EVENTS)
    said = run_successfully("import-telegram", result, url=directory_url)
    stored = await directory.fetchval(COUNT_EVENTS)
    assert stored > there
    once = (
        "SELECT count(*) FROM"
        " (SELECT DISTINCT member_id, event_type, source_id FROM member_participation) AS one"
    )
    assert await directory.fetchval(once) == stored
    assert f"{stored:,} events of Frutero Club 🍓" in said
    first = telegram_export.BEGIN.date()
    until = first + telegram_export.SPAN + timedelta(days=1)
    assert await highlights.verify(first, until=until) == []
    counted = await directory.fetchval(
        "SELECT sum(message_count + reaction_count) FROM member_daily_highlights"
    )
    assert counted == await directory.fetchval(f"{COUNT_EVENTS} WHERE event_type <> 'VOICE'")


MEMORY = """
import resource, runpy, sys
sys.argv = ["community-directory", "import-telegram", sys.argv[1], "--dry-run"]
try:
    runpy.run_module("community_directory", run_name="__main__")
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


async def test_memory_does_not_grow_with_the_file(directory_url: str, tmp_path: Path) -> None:
    peaks = []
    for messages in (2_000, 20_000):
        path = tmp_path / f"{messages}.json"
        write_history(path, messages, 100)
        ran = subprocess.run(
            [sys.executable, "-c", MEMORY, path],
            cwd=PROJECT,
            env=environment(POSTGRES_URL=app_url(directory_url)),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        peaks.append(int(re.findall(r"peak (\d+)", ran.stdout)[0]) / 1024)
        size = path.stat().st_size / 2**20
    # The content of the larger file alone would need more.
    assert size > 8
    assert peaks[1] - peaks[0] < 8


async def test_unknown_groups_are_an_error(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    result.write_bytes(encode_json(chat(message(1))))
    finished = run("import-telegram", result, "--chats=Nobody", url=directory_url)
    assert (finished.returncode, await directory.fetchval(COUNT_EVENTS)) == (1, 0)
    assert finished.stderr == (
        "None of the chosen groups is in this file. "
        "The groups in it are Frutero Club (1234567890).\n"
    )


async def test_a_terminal_without_unicode_gets_escapes(directory_url: str, result: Path) -> None:
    result.write_bytes(encode_json(chat(message(), name="Café 🍓")))
    finished = start("import-telegram", result, url=directory_url, PYTHONIOENCODING="ascii")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "1 event of Caf\\xe9 \\U0001f353\n" in finished.stdout


async def test_an_interrupted_import_says_how_to_continue(
    directory: asyncpg.Pool, directory_url: str, result: Path
) -> None:
    write_history(result, 20_000, 100)
    stopped = subprocess.Popen(
        [*PROGRAM, "import-telegram", result],
        cwd=PROJECT,
        env=environment(POSTGRES_URL=app_url(directory_url)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while await directory.fetchval(COUNT_EVENTS) < 2000:
        assert stopped.poll() is None
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=30)
    assert stopped.returncode == 130
    # Before it, asyncpg may print that it closed a connection.
    assert (
        said.splitlines()[-1]
        == "Stopped. Finished steps are kept. Run the same command again to do the rest."
    )
    assert "Traceback" not in said
