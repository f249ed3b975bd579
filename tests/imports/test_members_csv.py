"""Members as a CSV file: an export can be imported, and an invalid line changes nothing."""

import asyncio
import csv
import errno
import io
import json
import os
import resource
import signal
import stat
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.database import connect, transaction
from community_directory.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    DirectoryError,
    InvalidInput,
)
from community_directory.imports import members_csv
from community_directory.imports.csv_file import LineProblem
from community_directory.imports.members_csv import CSV_COLUMNS, ImportCounts, InvalidLines
from community_directory.queries import accounts, audit, highlights, members, participation
from community_directory.queries.identifiers import VISIBLE_PATTERN, visible_name
from community_directory.settings import load_settings
from community_directory.tables.checks import MAX_JSON_DEPTH
from tests.conftest import Server, new_database, raw_pool, run_sql
from tests.database.test_migrations import SECONDS, session
from tests.processes import PROJECT, environment
from tests.queries.cases import all_idle, undone
from tests.roles import app_url
from tests.tables import rows
from tests.waiting import until_blocked_by, until_waiting

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEADER = ",".join(f'"{column}"' for column in CSV_COLUMNS).encode() + b"\r\n"
AWKWARD_TEXTS = [
    'Ana "la jefa" García',
    "Ana\nGarcía",
    "Ana\r\nGarcía\r",
    "García, Ana",
    "=HYPERLINK(A1)",
    "  =1+1",
    "\t=1+1",
    "+52 55",
    "-Ana-",
    "@ana",
    "＝1+1",
    "'Ana'",
    "''=1+1",
    "'",
    "' '=",
    "\u00a0@ana",
    " Ana ",
    "\ufeffAna",
    "👩‍👩‍👧‍👦🇲🇽",
    "\u202eمرحبا שלום\u202c",
    "\x01\x07\x1b[31mAna\x7f\x85\u2028",
    "NULL",
    "007",
    "1e5",
    "null;true;",
]
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60
)


async def add_four_people(directory: rows.Database) -> None:
    """Add the active member #1, the pending #2 whom they invited, the removed #3, the banned #4."""
    await rows.member(
        directory,
        telegram_id="101",
        telegram_username="ana",
        github_username="ana-dev",
        organization="Frutero",
        country="México",
        status="active",
        profile_data={"bio": "hello"},
    )
    await rows.member(directory, telegram_id="102", name="Bo", status="pending", invited_by="#1")
    removed_at = await directory.fetchval("SELECT now()")
    await rows.member(
        directory, telegram_id="103", name="Cleo", status="active", deleted_at=removed_at
    )
    await rows.member(directory, telegram_id="104", name="Dan", status="banned")


@pytest.fixture
async def community(directory: asyncpg.Pool) -> asyncpg.Pool:
    """Connect to a database with four people, which only one test uses."""
    await add_four_people(directory)
    return directory


@pytest.fixture(scope="module")
async def community_database(server: Server, template: str) -> AsyncIterator[str]:
    """Make a database with four people."""
    async with new_database(server, template) as url:
        async with session(url) as connection:
            await add_four_people(connection)
        yield url


@pytest.fixture
async def unchanged_community(community_database: str) -> AsyncIterator[asyncpg.Pool]:
    """Connect to a shared database with four people, and check that the test changes nothing."""
    async with connect(community_database, min_size=0), raw_pool(community_database) as pool:
        before = await read_state(pool)
        yield pool
        assert await read_state(pool) == before
        assert all_idle()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a file that does not exist."""
    return tmp_path / "members.csv"


def csv_text(*people: Mapping[str, object]) -> str:
    """Return the text of a file with a column for each key and a line for each person."""
    columns = list(dict.fromkeys(column for person in people for column in person))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(people)
    return text.getvalue()


def new_person(**columns: object) -> dict[str, object]:
    """Return the valid line of a new person."""
    return {"telegram_id": "900", "name": "Eva", "primary_role": "developer", **columns}


async def import_text(file: Path, text: str | bytes, *, overwrite: bool = False) -> ImportCounts:
    """Import a file with that content."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return await members_csv.import_members(file, overwrite=overwrite)


async def find_problems(file: Path, text: str) -> list[LineProblem]:
    """Return the problems of a file that the import must refuse."""
    with pytest.raises(InvalidLines) as error:
        await import_text(file, text)
    return error.value.problems


def read_people(file: Path) -> list[dict[str, str]]:
    """Return the lines of a file as a spreadsheet shows them."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened, strict=True))


async def read_state(pool: asyncpg.Pool) -> tuple[list[asyncpg.Record], list[asyncpg.Record]]:
    """Return all members with the versions of their rows, and the whole audit log."""
    stored = await pool.fetch("SELECT xmin::text, * FROM community_members ORDER BY member_id")
    return stored, await pool.fetch("SELECT * FROM directory_audit_log ORDER BY id")


def is_sentence(error: Exception) -> bool:
    text = str(error)
    return text.endswith(".") and text.isprintable() and len(text) < 600


def list_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_an_export_has_all_members_except_removed_ones_in_the_order_of_their_numbers(
    community: asyncpg.Pool, file: Path
) -> None:
    for _ in range(7):
        await rows.member(community)
    # PostgreSQL stores changed rows behind the others.
    await community.execute(
        "UPDATE community_members SET country = 'Perú' WHERE member_id IN ('#2', '#10')"
    )
    assert await members_csv.export_members(file) == 10
    exported = read_people(file)
    assert [person["member_id"] for person in exported] == [
        "#1",
        "#2",
        *(f"#{number}" for number in range(4, 12)),
    ]
    ana = await members.get("#1")
    assert exported[0] == {
        "member_id": "#1",
        "telegram_id": "101",
        "name": "Ana García",
        "telegram_username": "ana",
        "primary_role": "developer",
        "organization": "Frutero",
        "country": "México",
        "github_username": "ana-dev",
        "status": "active",
        "invited_by": "",
        "profile_data": '{"bio": "hello"}',
        "github_verified": "False",
        "reputation_score": "0",
        "reputation_tier": "Novice",
        "created_at": str(ana.created_at),
        "last_active_at": "",
        "updated_at": str(ana.updated_at),
    }
    assert exported[1]["invited_by"] == "#1"


async def test_an_export_is_utf_8_with_a_byte_order_mark_and_readable_by_its_owner_only(
    community: asyncpg.Pool, file: Path
) -> None:
    before = os.umask(0)
    try:
        await members_csv.export_members(file)
    finally:
        os.umask(before)
    content = file.read_bytes()
    assert content.startswith(BYTE_ORDER_MARK + HEADER)
    assert content.count(BYTE_ORDER_MARK) == 1
    assert "García".encode() in content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list_files(file.parent) == [file.name]


async def test_an_export_without_members_is_a_header(directory: asyncpg.Pool, file: Path) -> None:
    assert await members_csv.export_members(file) == 0
    assert file.read_bytes() == BYTE_ORDER_MARK + HEADER
    assert await members_csv.import_members(file) == ImportCounts(0, 0, 0)


@pytest.mark.parametrize(
    "make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("/dev/null")]
)
async def test_an_export_refuses_to_overwrite(
    unchanged_community: asyncpg.Pool, file: Path, make: Any
) -> None:
    make(file)
    before = file.lstat()
    with pytest.raises(InvalidInput, match=r"members\.csv already exists: choose another name\.$"):
        await members_csv.export_members(file)
    assert file.lstat() == before
    assert list_files(file.parent) == [file.name]


@pytest.mark.parametrize("has_hard_links", [True, False])
async def test_a_file_made_during_an_export_is_not_overwritten(
    community: asyncpg.Pool, file: Path, monkeypatch: pytest.MonkeyPatch, *, has_hard_links: bool
) -> None:
    def no_hard_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_hard_links:  # as on a FAT file system
        monkeypatch.setattr(Path, "hardlink_to", no_hard_links)
    assert await members_csv.export_members(file.with_name("free.csv")) == 3
    assert len(read_people(file.with_name("free.csv"))) == 3
    assert list_files(file.parent) == ["free.csv"]

    async def taken(out: IO[str]) -> int:
        file.write_text("somebody else's")
        return await write_members(out)

    write_members = members_csv.write_members
    monkeypatch.setattr(members_csv, "write_members", taken)
    with pytest.raises(InvalidInput, match="already exists"):
        await members_csv.export_members(file)
    assert file.read_text() == "somebody else's"
    assert list_files(file.parent) == ["free.csv", file.name]


@pytest.mark.parametrize(
    "place", ["missing/members.csv", "plain/members.csv", f"{'x' * 300}.csv", "/proc/members.csv"]
)
async def test_an_export_to_an_impossible_path_is_refused_with_a_message(
    unchanged_community: asyncpg.Pool, tmp_path: Path, place: str
) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(InvalidInput, match=r"^Can't write .*: [A-Z].*\.$"):
        await members_csv.export_members(tmp_path / place)
    assert list_files(tmp_path) == ["plain"]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Limit the size of files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("people", [1, 200])
async def test_an_export_to_a_full_disk_leaves_no_file(
    directory: asyncpg.Pool, file: Path, people: int
) -> None:
    for _ in range(people):
        await rows.member(directory, organization="x" * 200)
    with pytest.raises(InvalidInput, match=r"^Can't write .*: File too large\.$"), full_disk(50):
        await members_csv.export_members(file)
    assert list_files(file.parent) == []
    assert await members_csv.export_members(file) == people


async def test_a_cancelled_export_leaves_no_file(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    async with open_transaction(database, "LOCK TABLE community_members"):
        task = asyncio.create_task(members_csv.export_members(file))
        await until_waiting(community)
        assert len(list_files(file.parent)) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert list_files(file.parent) == []


EXPORT = """
import asyncio, sys
from pathlib import Path
from community_directory.database import connect
from community_directory.imports.members_csv import export_members

async def main():
    async with connect():
        await export_members(Path(sys.argv[1]))

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_killed_process_leaves_no_incomplete_export(
    community: asyncpg.Pool, database: str, file: Path, number: signal.Signals
) -> None:
    async with open_transaction(database, "LOCK TABLE community_members"):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            EXPORT,
            str(file),
            cwd=PROJECT,
            env=environment(POSTGRES_URL=app_url(database)),
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until_waiting(community)
        process.send_signal(number)
        assert await process.wait() != 0
    assert not file.exists()
    if number != signal.SIGKILL:
        assert list_files(file.parent) == []


async def test_an_export_is_a_snapshot(directory: asyncpg.Pool, database: str) -> None:
    # More rows than the cursor fetches at once.
    await directory.execute(
        "INSERT INTO community_members (telegram_id, name, primary_role) "
        "SELECT 'before:' || number, 'Before', 'developer' FROM generate_series(1, 2500) AS number"
    )

    def change() -> None:
        asyncio.run(
            run_sql(
                database,
                "UPDATE community_members SET name = 'After'",
                "INSERT INTO community_members (telegram_id, name, primary_role)"
                " VALUES ('after:1', 'After', 'x')",
            )
        )

    class Slow(io.StringIO):
        """A file that changes the directory while it is written."""

        def write(self, text: str) -> int:
            if self.tell() and not self.changed:
                self.changed = True
                thread = threading.Thread(target=change)
                thread.start()
                thread.join()
            return super().write(text)

        changed = False

    written = Slow()
    assert await members_csv.write_members(written) == 2500
    assert written.changed
    assert {row["name"] for row in csv.DictReader(io.StringIO(written.getvalue(), newline=""))} == {
        "Before"
    }


@asynccontextmanager
async def open_transaction(database: str, statement: str) -> AsyncIterator[asyncpg.Connection]:
    """Open a transaction in another session, in which this statement was run."""
    async with session(database) as other:
        await other.execute(f"BEGIN; {statement}")
        yield other


async def test_an_unchanged_export_is_imported_without_changes(
    community: asyncpg.Pool, file: Path
) -> None:
    for text in AWKWARD_TEXTS:
        await rows.member(
            community,
            name=visible_name(text) or "Ana",
            primary_role=visible_name(text) or "developer",
            organization=text,
            country=text,
            profile_data={"bio": text},
        )
    await rows.member(
        community, profile_data={"a": [1, 2.5, 1e300, None, True, {"deep": 'ñ\\"\n'}]}
    )
    await rows.member(
        community,
        status="suspended",
        invited_by="#4",
        telegram_username="Ana",
        telegram_id="discord:1",
    )
    before = await read_state(community)
    exported = await members_csv.export_members(file)
    assert await members_csv.import_members(file) == ImportCounts(0, 0, exported)
    assert await read_state(community) == before


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=TEXTS,
    organization=TEXTS,
    bio=st.dictionaries(TEXTS, TEXTS | st.integers() | st.booleans(), max_size=3),
)
@example(name="Ana", organization="\r", bio={})
async def test_any_exported_text_is_imported_without_changes(
    directory: asyncpg.Pool,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    organization: str,
    bio: Any,
) -> None:
    file = tmp_path_factory.mktemp("export") / "members.csv"
    async with undone():
        try:
            async with transaction():
                added = await members.add(
                    telegram_id="1",
                    name=name,
                    primary_role="x",
                    organization=organization,
                    profile_data=bio,
                )
        except InvalidInput:
            return  # the name has no visible character
        await members_csv.export_members(file)
        async with undone():
            assert await members_csv.import_members(file) == ImportCounts(0, 0, 1)
            assert await members.get(added.member_id) == added
        # An import of the export restores the values.
        await members.update_profile(
            added.member_id, name="x", organization=None, profile_data=None
        )
        await members_csv.import_members(file)
        again = await members.get(added.member_id)
        assert again.name == added.name
        visible = organization if VISIBLE_PATTERN.search(organization) else None
        assert (again.organization, again.profile_data) == (visible, bio)


async def test_a_new_person_is_added_with_all_values_of_the_line(
    community: asyncpg.Pool, file: Path
) -> None:
    new = new_person(
        telegram_username="@eva",
        organization="Frutero",
        country="Chile",
        github_username=" @eva-dev ",
        status="active",
        invited_by="#2",
        profile_data='{"bio": "hi"}',
    )
    assert await import_text(
        file, csv_text(new, new_person(telegram_id="901", name="Flo"))
    ) == ImportCounts(2, 0, 0)
    eva = await members.get("#5")
    assert (eva.telegram_id, eva.name, eva.telegram_username, eva.organization, eva.country) == (
        "900",
        "Eva",
        "eva",
        "Frutero",
        "Chile",
    )
    assert (eva.github_username, eva.status, eva.invited_by, eva.profile_data) == (
        "eva-dev",
        "active",
        "#2",
        {"bio": "hi"},
    )
    flo = await members.get("#6")
    assert (flo.name, flo.status, flo.telegram_username, flo.profile_data) == (
        "Flo",
        "not_member",
        None,
        None,
    )
    assert [(entry.action, entry.actor) for entry in (await audit.history("#5")).items] == [
        ("INSERT", "import")
    ]


async def test_only_differences_are_stored_and_logged(community: asyncpg.Pool, file: Path) -> None:
    before, log = await read_state(community)
    text = csv_text(
        {"member_id": "#2", "telegram_id": "102", "name": "Bo", "country": "Perú"},
        {"member_id": "#1", "telegram_id": "", "name": "Ana García", "country": "México"},
        {"member_id": "", "telegram_id": "104", "name": "Daniel", "country": ""},
    )
    assert await import_text(file, text) == ImportCounts(0, 2, 1)
    after, longer = await read_state(community)
    assert [(row["member_id"], row["name"], row["country"]) for row in after] == [
        ("#1", "Ana García", "México"),
        ("#2", "Bo", "Perú"),
        ("#3", "Cleo", None),
        ("#4", "Daniel", None),
    ]
    assert (after[0], after[2]) == (before[0], before[2])
    assert [
        (row["member_id"], row["actor"], json.loads(row["changes"])) for row in longer[len(log) :]
    ] == [
        ("#2", "import", {"country": [None, "Perú"]}),
        ("#4", "import", {"name": ["Dan", "Daniel"]}),
    ]


async def test_empty_cells_remove_values_and_missing_columns_keep_them(
    community: asyncpg.Pool, file: Path
) -> None:
    emptied = {"member_id": "#1", "telegram_username": "", "organization": "", "profile_data": ""}
    assert await import_text(file, csv_text(emptied)) == ImportCounts(0, 1, 0)
    ana = await members.get("#1")
    assert (ana.telegram_username, ana.organization, ana.profile_data) == (None, None, None)
    assert (ana.name, ana.country, ana.github_username, ana.status) == (
        "Ana García",
        "México",
        "ana-dev",
        "active",
    )


async def test_read_only_columns_are_ignored(community: asyncpg.Pool, file: Path) -> None:
    before = await read_state(community)
    told = dict.fromkeys(members_csv.READ_ONLY_COLUMNS, "anything at all")
    assert await import_text(
        file, csv_text({"member_id": "#1", **told}, {"member_id": "#2"})
    ) == ImportCounts(0, 0, 2)
    assert await read_state(community) == before
    assert await import_text(
        file, csv_text({**new_person(), **told, "reputation_score": "5000"})
    ) == ImportCounts(1, 0, 0)
    eva = await members.get("#5")
    assert (eva.reputation_score, eva.github_verified, eva.last_active_at) == (0, False, None)


async def test_insert_only_columns_may_be_unchanged_or_empty(
    unchanged_community: asyncpg.Pool, file: Path
) -> None:
    fixed = {"telegram_id": "102", "github_username": "", "status": "pending", "invited_by": "#1"}
    assert await import_text(file, csv_text({"member_id": "#2", **fixed})) == ImportCounts(0, 0, 1)
    assert await import_text(
        file, csv_text({"member_id": "#1", "github_username": " @ana-dev", "status": ""})
    ) == ImportCounts(0, 0, 1)


async def test_usernames_lose_their_at_sign_and_keep_their_case(
    community: asyncpg.Pool, file: Path
) -> None:
    assert await import_text(
        file, csv_text({"member_id": "#1", "telegram_username": " @ana "})
    ) == ImportCounts(0, 0, 1)
    assert await import_text(
        file, csv_text({"member_id": "#1", "telegram_username": "@ANA"})
    ) == ImportCounts(0, 1, 0)
    assert (await members.get("#1")).telegram_username == "ANA"
    assert await import_text(
        file, csv_text({"member_id": "#1", "telegram_username": "@"})
    ) == ImportCounts(0, 1, 0)
    assert (await members.get("#1")).telegram_username is None


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
async def test_any_line_ending_and_empty_lines_and_spaces_in_the_header_are_read(
    community: asyncpg.Pool, file: Path, ending: str, mark: str
) -> None:
    text = ending.join((f"{mark} name , member_id", "", "Bo,#2", "", "", "Anita,#1"))
    assert await import_text(file, text) == ImportCounts(0, 1, 1)
    assert (await members.get("#1")).name == "Anita"
    text = ending.join((f"{mark} name , member_id", "", "Bo,#2", "", "", ",#1"))
    assert await find_problems(file, text) == [(6, "The name can't be empty.")]


DEEP_JSON = '{"a":' * (MAX_JSON_DEPTH + 2) + "1" + "}" * (MAX_JSON_DEPTH + 2)
CANT_CHANGE = "An import can't change the {} of member #1."
HAS_NUL = "This line has a NUL character, which can't be stored: remove it."
NOT_AN_OBJECT = "The profile_data must be a JSON object."
NO_MEMBER = "There is no member {}."
NOT_A_NUMBER = CONSTRAINT_MESSAGES["member_telegram_id_format_check"].message

INVALID_PEOPLE: dict[str, tuple[dict[str, object], str]] = {
    "a new person without a name": (new_person(name=""), "The name can't be empty."),
    "a new person without a role": (
        new_person(primary_role=""),
        "The primary role can't be empty.",
    ),
    "a new person without an account": (
        new_person(telegram_id=""),
        "A new person needs a telegram_id: add it to this line.",
    ),
    "a new person of no status": (new_person(status="Active"), "There is no status Active."),
    "a new person of an unknown inviter": (new_person(invited_by="#99"), NO_MEMBER.format("#99")),
    "a new person invited by a name": (new_person(invited_by="ana"), NO_MEMBER.format("ana")),
    "a new person with a number": (new_person(member_id="#99"), NO_MEMBER.format("#99")),
    "a number that is none": ({"member_id": "one", "name": "Ana"}, NO_MEMBER.format("one")),
    "a number of somebody else": (
        {"member_id": "#1", "telegram_id": "102"},
        CANT_CHANGE.format("telegram_id"),
    ),
    "a number of somebody else than the new account": (
        {"member_id": "#1", "telegram_id": "900"},
        CANT_CHANGE.format("telegram_id"),
    ),
    "another status": ({"member_id": "#1", "status": "suspended"}, CANT_CHANGE.format("status")),
    "another status, by account": (
        {"telegram_id": "101", "status": "suspended"},
        CANT_CHANGE.format("status"),
    ),
    "another GitHub account": (
        {"member_id": "#1", "github_username": "eve"},
        CANT_CHANGE.format("github_username"),
    ),
    "the GitHub account in another case": (
        {"member_id": "#1", "github_username": "Ana-Dev"},
        CANT_CHANGE.format("github_username"),
    ),
    "another inviter": ({"member_id": "#1", "invited_by": "#2"}, CANT_CHANGE.format("invited_by")),
    "a removed person's number": (
        {"member_id": "#3", "name": "Cleo"},
        "Member #3 was removed: restore them first.",
    ),
    "a removed person's account": (
        new_person(telegram_id="103"),
        "Member #3 was removed: restore them first.",
    ),
    "no name any more": ({"member_id": "#1", "name": ""}, "The name can't be empty."),
    "no role any more": (
        {"member_id": "#1", "primary_role": ""},
        "The primary role can't be empty.",
    ),
    "no JSON": ({"member_id": "#1", "profile_data": "{bio: hello}"}, NOT_AN_OBJECT),
    "JSON too deep for Python": ({"member_id": "#1", "profile_data": "[" * 100_000}, NOT_AN_OBJECT),
    "a number too long for Python": (
        {"member_id": "#1", "profile_data": f'{{"a": {"1" * 5000}}}'},
        NOT_AN_OBJECT,
    ),
    "JSON that is a list": ({"member_id": "#1", "profile_data": "[]"}, NOT_AN_OBJECT),
    "JSON that is null": ({"member_id": "#1", "profile_data": "null"}, NOT_AN_OBJECT),
    "JSON that is a text": (new_person(profile_data='"text"'), NOT_AN_OBJECT),
    "JSON too deep": (
        {"member_id": "#1", "profile_data": DEEP_JSON},
        f"This is nested more than {MAX_JSON_DEPTH} levels deep.",
    ),
    "JSON with NaN": (new_person(profile_data='{"a": NaN}'), "This can't be stored as JSON."),
    "JSON with an infinity": (
        new_person(profile_data='{"a": 1e999}'),
        "This can't be stored as JSON.",
    ),
    "JSON with NUL": (
        new_person(profile_data='{"a": "\\u0000"}'),
        "A value is out of range, or contains a character that can't be stored.",
    ),
    "a NUL": ({"member_id": "#1", "name": "A\0na"}, HAS_NUL),
    "an account with NUL that is looked up by a number": (
        {"member_id": "#1", "organization": "\0"},
        HAS_NUL,
    ),
    "an account that a spreadsheet shortened": (new_person(telegram_id="5.55E+09"), NOT_A_NUMBER),
    "a blank name": (new_person(name="\u200b"), "The name can't be empty."),
    "too long a country": (
        new_person(country="x" * 101),
        "The country has 101 characters; at most 100 are allowed.",
    ),
    "a cell of 200,000 letters": (
        {"member_id": "#1", "name": "x" * 200_000},
        "The name has 200,000 characters; at most 255 are allowed.",
    ),
}


@pytest.mark.parametrize(("person", "sentence"), INVALID_PEOPLE.values(), ids=INVALID_PEOPLE)
async def test_an_invalid_line_is_reported_and_nothing_is_changed(
    unchanged_community: asyncpg.Pool, file: Path, person: dict[str, object], sentence: str
) -> None:
    good = new_person(telegram_id="950", name="Gus")
    changed = {"telegram_id": "102", "name": "Bobby", "primary_role": "x"}
    # All people have the same columns, because an empty cell could be another problem.
    people = (
        [{**dict.fromkeys(person, ""), **other} for other in (good, changed)]
        if "name" in person
        else []
    )
    found = await find_problems(file, csv_text(*people, person))
    assert found == [(len(people) + 2, sentence)]


async def test_every_invalid_line_is_reported_with_the_number_that_an_editor_shows(
    unchanged_community: asyncpg.Pool, file: Path
) -> None:
    text = (
        "telegram_id,name,primary_role\n"
        "900,,dev\n"  # line 2
        '901,"Eva\nLuisa\r\nMaría",dev\n'  # 3 to 5
        "\n"
        "902,,dev\n"  # 7
        "903,Flo\n"  # 8: the last cell is empty
        '904,"Gus\n","dev\n\n"\n'  # 9 to 12
        "905,Hal,dev,extra,cells\n"  # 13
        "900,Ivy,dev\n"  # 14
        "901,Jon,dev\n"  # 15
        "907,,"  # 16, without an end
    )
    found = await find_problems(file, text)
    assert found == [
        (2, "The name can't be empty."),
        (7, "The name can't be empty."),
        (8, "The primary role can't be empty."),
        (13, "This line has 5 cells, but the first line has 3."),
        (14, "This person is already in line 2: keep one of them."),
        (15, "This person is already in line 3: keep one of them."),
        (16, "The name can't be empty."),
    ]


async def test_the_message_counts_the_invalid_lines(
    unchanged_community: asyncpg.Pool, file: Path
) -> None:
    with pytest.raises(
        InvalidLines,
        match=r"^1 line can't be imported, so nothing was changed\."
        r" Correct it and import the file again\.$",
    ):
        await import_text(file, "member_id\n#99\n")
    with pytest.raises(
        InvalidLines,
        match=r"^1,000 lines can't be imported, so nothing was changed\."
        r" Correct them and import the file again\.$",
    ):
        await import_text(file, "member_id\n" + "#99\n" * 1000)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"member_id": "#1"}, {"member_id": "#1"}),
        ({"member_id": "#1"}, {"telegram_id": "101"}),
        ({"telegram_id": "101"}, {"member_id": "#1", "telegram_id": "101"}),
        ({"telegram_id": "900"}, {"telegram_id": "900"}),
    ],
)
async def test_a_person_who_is_in_the_file_twice_is_refused(
    unchanged_community: asyncpg.Pool,
    file: Path,
    first: dict[str, object],
    second: dict[str, object],
) -> None:
    rest = {"name": "Eva", "primary_role": "developer"}
    cells = {"member_id": "", "telegram_id": ""}
    found = await find_problems(
        file, csv_text({**cells, **first, **rest}, {**cells, **second, **rest})
    )
    assert found == [(3, "This person is already in line 2: keep one of them.")]


async def test_a_line_that_is_not_csv_ends_the_reading_and_the_lines_before_are_checked(
    unchanged_community: asyncpg.Pool, file: Path
) -> None:
    found = await find_problems(file, 'member_id,name\n#1,""\n#99,x\n#4,""\n#2,"Bo\n\n\n')
    assert [number for number, _ in found] == [2, 3, 4, 5]
    assert found[3][1].startswith("This is not valid CSV (")
    assert found[3][1].endswith(".")
    found = await find_problems(file, 'member_id,name\n#1,"a"b\n')
    assert [number for number, _ in found] == [2]


HEADERS = {
    "an unknown column": ("member_id,nickname\n#1,x\n", "member_id, nickname"),
    "a column twice": ("member_id,name,name\n#1,x,y\n", "member_id, name, name"),
    "a column in two spellings": ("member_id,name, Name\n#1,x,y\n", "member_id, name, Name"),
    "no column that knows a person": ("name,country\nAna,Perú\n", "name, country"),
    "no header": ("#1,Ana\n", "#1, Ana"),
    "nothing": ("", "nothing"),
    "an empty line": ("\n\n", "nothing"),
    "lines of empty cells": (",,\n,,\n", "nothing"),
    "a NUL": ("member_id,na\0me\n", "member_id, na.me"),
    "another delimiter than the file says": ("sep=;\nmember_id,name\n#1,x\n", "member_id,name"),
}


@pytest.mark.parametrize(("text", "repeated"), HEADERS.values(), ids=HEADERS)
async def test_the_message_about_an_invalid_first_line_names_the_columns(
    unchanged_community: asyncpg.Pool, file: Path, text: str, repeated: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"Here it says {repeated}\.$") as error:
        await import_text(file, text)
    assert not isinstance(error.value, InvalidLines)
    assert is_sentence(error.value)
    assert all(column in str(error.value) for column in CSV_COLUMNS)


async def test_an_unknown_column_is_named_first(
    unchanged_community: asyncpg.Pool, file: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"^There is no column bogus\. The first line must name"):
        await import_text(file, "member_id,bogus,name\n#1,x,Ana\n")
    with pytest.raises(InvalidInput, match=r"^The first line must name"):
        await import_text(file, "member_id,name,name\n#1,x,Ana\n")


@pytest.mark.parametrize(
    "content",
    [
        "member_id,name\n#1,José\n".encode("latin-1"),
        "member_id\n#1\n".encode("utf-16")[:-1],
        b"\x89PNG\r\n\x1a\n\0\0",
    ],
    ids=["latin-1", "half a character", "binary"],
)
async def test_a_file_that_is_not_utf_8_is_refused_with_a_message(
    unchanged_community: asyncpg.Pool, file: Path, content: bytes
) -> None:
    with pytest.raises(
        InvalidInput, match=r"members\.csv is not UTF-8 text: save it as CSV UTF-8\.$"
    ):
        await import_text(file, content)


async def test_an_unreadable_file_is_refused_with_a_message(
    unchanged_community: asyncpg.Pool, tmp_path: Path
) -> None:
    with pytest.raises(
        InvalidInput, match=r"^Can't read .*missing\.csv: No such file or directory\.$"
    ):
        await members_csv.import_members(tmp_path / "missing.csv")
    with pytest.raises(InvalidInput, match=r"^Can't read .*: Is a directory\.$"):
        await members_csv.import_members(tmp_path)


async def test_the_profile_of_a_banned_person_can_be_changed_but_not_the_status(
    community: asyncpg.Pool, file: Path
) -> None:
    assert await import_text(
        file, csv_text({"telegram_id": "104", "name": "Daniel"})
    ) == ImportCounts(0, 1, 0)
    assert (await members.get("#4")).status == "banned"
    found = await find_problems(file, csv_text({"telegram_id": "104", "status": "active"}))
    assert found == [(2, "An import can't change the status of member #4.")]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key that nobody guesses, 32 characters or more")
    load_settings.cache_clear()


async def test_a_banned_and_erased_person_is_refused(
    key: None, community: asyncpg.Pool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await members.erase("#4", actor="eva")
    text = csv_text(new_person(), new_person(telegram_id="104", name="Dan"))
    assert await find_problems(file, text) == [
        (3, "This person is banned. If that is a mistake, ask a community manager.")
    ]

    # Without the key banned people can't be recognized, so nobody is added.
    monkeypatch.delenv("DIRECTORY_SECRET_KEY")
    load_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="DIRECTORY_SECRET_KEY"):
        await import_text(file, text)
    assert await import_text(file, csv_text({"member_id": "#2", "name": "Bobby"})) == ImportCounts(
        0, 1, 0
    )


async def test_an_erased_person_can_be_added_again(community: asyncpg.Pool, file: Path) -> None:
    await members.erase("#2", actor="eva")
    assert await import_text(
        file, csv_text(new_person(telegram_id="102", name="Bo"))
    ) == ImportCounts(1, 0, 0)
    assert (await members.get("#5")).telegram_id == "102"


async def test_no_line_brings_back_somebody_who_was_erased(
    key: None, community: asyncpg.Pool, file: Path
) -> None:
    await accounts.link("#2", "discord", "5", actor="eva")
    await members_csv.export_members(file)
    exported = file.read_text(encoding="utf-8-sig")
    file.unlink()
    await members.erase("#2", actor="eva")
    said = "This person was erased: delete the line. They are welcome to join again by themselves."
    assert await find_problems(file, exported) == [(3, said)]
    text = csv_text(new_person(telegram_id="102"), new_person(telegram_id="discord:5"))
    assert await find_problems(file, text) == [(2, said), (3, said)]

    back = await members.add(telegram_id="102", name="Bo", primary_role="x")
    counts = await import_text(file, csv_text({"telegram_id": "102", "name": "Bobby"}))
    assert counts == ImportCounts(0, 1, 0)
    assert (await members.get(back.member_id)).name == "Bobby"


EDITED = (
    "Member #1 was edited after this file was exported: export the members again, or import with"
    " --overwrite."
)


async def export_with_changes(file: Path, changes: Mapping[str, str]) -> str:
    """Return the text of an export in which the line of the member #1 has these changes."""
    await members_csv.export_members(file)
    people = read_people(file)
    file.unlink()
    people[0] |= changes
    return csv_text(*people)


@pytest.mark.parametrize("changes", [{"name": "Anita"}, {}, {"status": "banned"}], ids=str)
@pytest.mark.parametrize(
    "edit",
    [
        lambda: members.update_profile("#1", country="Perú", actor="bot"),
        lambda: members.set_status("#1", "suspended", actor="bot"),
    ],
)
async def test_a_line_older_than_an_edit_is_refused(
    community: asyncpg.Pool,
    file: Path,
    changes: dict[str, str],
    edit: Callable[[], Awaitable[object]],
) -> None:
    text = await export_with_changes(file, changes)
    await edit()
    before = await read_state(community)
    assert await find_problems(file, text) == [(2, EDITED)]
    assert await read_state(community) == before


async def test_a_later_edit_is_overwritten_on_request(community: asyncpg.Pool, file: Path) -> None:
    text = await export_with_changes(file, {"name": "Anita"})
    await members.update_profile("#1", country="Perú", actor="bot")
    assert await import_text(file, text, overwrite=True) == ImportCounts(0, 1, 2)
    ana = await members.get("#1")
    assert (ana.name, ana.country) == ("Anita", "México")
    # Without the column, or with an empty cell, no edit is detected.
    await members.update_profile("#1", country="Perú", actor="bot")
    for person in ({"country": "México"}, {"country": "Chile", "updated_at": ""}):
        assert await import_text(file, csv_text({"member_id": "#1", **person})) == ImportCounts(
            0, 1, 0
        )


async def test_an_edit_that_began_before_the_last_one_is_not_overwritten(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    async with open_transaction(database, "SELECT now()") as early:
        await members.update_profile("#1", organization="Another", actor="bot")
        text = await export_with_changes(file, {"name": "Anita"})
        await early.execute("UPDATE community_members SET country = 'Perú' WHERE member_id = '#1'")
        await early.execute("COMMIT")
    assert await find_problems(file, text) == [(2, EDITED)]
    assert (await members.get("#1")).country == "Perú"


@pytest.mark.parametrize(
    "changes", [{"name": "Anita"}, {}, {"name": "Anita", "updated_at": "31/01/2026 12:00"}], ids=str
)
async def test_an_import_that_overwrites_ignores_columns_that_it_cannot_change(
    community: asyncpg.Pool, file: Path, changes: dict[str, str]
) -> None:
    text = await export_with_changes(file, changes)
    await members.set_status("#1", "suspended", actor="bot")
    changed = int("name" in changes)
    assert await import_text(file, text, overwrite=True) == ImportCounts(0, changed, 3 - changed)
    ana = await members.get("#1")
    assert (ana.name, ana.status) == (changes.get("name", "Ana García"), "suspended")


async def test_an_import_that_overwrites_refuses_another_status(
    community: asyncpg.Pool, file: Path
) -> None:
    text = await export_with_changes(file, {"status": "suspended"})
    with pytest.raises(InvalidLines) as refused:
        await import_text(file, text, overwrite=True)
    assert refused.value.problems == [(2, CANT_CHANGE.format("status"))]


@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_line_with_the_account_of_another_person_is_always_refused(
    community: asyncpg.Pool, file: Path, overwrite: bool
) -> None:
    text = await export_with_changes(file, {"telegram_id": "900"})
    await members.update_profile("#1", country="Perú", actor="bot")
    with pytest.raises(InvalidLines) as refused:
        await import_text(file, text, overwrite=overwrite)
    assert refused.value.problems == [(2, CANT_CHANGE.format("telegram_id"))]


async def test_the_same_edit_in_the_file_and_in_the_directory_is_no_conflict(
    community: asyncpg.Pool, file: Path
) -> None:
    text = await export_with_changes(file, {"country": "Perú"})
    await members.update_profile("#1", country="Perú", actor="bot")
    assert await import_text(file, text) == ImportCounts(0, 0, 3)


async def test_activity_and_points_do_not_count_as_edits(
    community: asyncpg.Pool, file: Path
) -> None:
    text = await export_with_changes(file, {"name": "Anita"})
    at = await community.fetchval("SELECT now()")
    await participation.record(
        member_id="#1", event_type="MESSAGE", platform="telegram", room_id="-1", occurred_at=at
    )
    await highlights.roll_up(at.date())
    assert (await members.get("#1")).reputation_score > 0
    assert await import_text(file, text) == ImportCounts(0, 1, 2)


@pytest.mark.parametrize(
    "updated_at", ["31/01/2026 12:00", "46053.5", "2026-01-31 12:00:00", "12:00.0", "soon"]
)
async def test_an_updated_at_that_a_spreadsheet_changed_is_refused(
    community: asyncpg.Pool, file: Path, updated_at: str
) -> None:
    person = {"member_id": "#1", "name": "Anita", "updated_at": updated_at}
    [(number, sentence)] = await find_problems(file, csv_text(person))
    assert number == 2
    assert sentence.startswith("The updated_at is not as it was exported: ")
    assert await import_text(file, csv_text({**person, "name": "Ana García"})) == ImportCounts(
        0, 0, 1
    )
    assert await import_text(file, csv_text(person), overwrite=True) == ImportCounts(0, 1, 0)


async def test_an_import_is_rolled_back_with_the_callers_transaction(
    community: asyncpg.Pool, file: Path
) -> None:
    before = await read_state(community)
    async with undone():
        assert await import_text(
            file, csv_text({"member_id": "#1", "name": "Anita"})
        ) == ImportCounts(0, 1, 0)
        assert (await members.get("#1")).name == "Anita"
    assert await read_state(community) == before


async def test_a_person_added_concurrently_is_reported(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    before = await read_state(community)
    text = csv_text(new_person(telegram_id="899"), new_person(), new_person(telegram_id="101"))
    insert = (
        "INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('900', 'Eve', 'x')"
    )
    async with open_transaction(database, insert) as other:
        task = asyncio.create_task(find_problems(file, text))
        await until_blocked_by(other)
        await other.execute("COMMIT")
        found = await task
    assert found == [(3, "This account already belongs to member #5.")]
    after, _ = await read_state(community)
    assert after[:4] == before[0]
    assert [row["name"] for row in after[4:]] == ["Eve"]


async def test_an_import_waits_for_a_concurrent_edit_and_does_not_overwrite_it(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    updated_at = (await members.get("#1")).updated_at
    text = csv_text(
        {"member_id": "#1", "name": "Anita", "organization": "Frutero", "updated_at": updated_at}
    )
    update = "UPDATE community_members SET organization = 'Another' WHERE member_id = '#1'"
    async with open_transaction(database, update) as other:
        task = asyncio.create_task(find_problems(file, text))
        await until_blocked_by(other)
        await other.execute("COMMIT")
        assert await task == [(2, EDITED)]
    ana = await members.get("#1")
    assert (ana.name, ana.organization) == ("Ana García", "Another")


async def test_an_import_and_a_roll_up_of_the_same_members_do_not_deadlock(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    moment = await community.fetchval("SELECT timestamptz '2026-01-31 12:00 UTC'")
    numbers = ["#1", "#2", "#4"]
    for number in numbers:
        for _ in range(10):
            await rows.event(community, member_id=number, occurred_at=moment)
    # The file has the members in reverse order.
    text = csv_text(*({"member_id": number, "name": "New"} for number in reversed(numbers)))
    async with open_transaction(
        database, "SELECT FROM community_members WHERE member_id = '#2' FOR UPDATE"
    ) as other:
        imported = asyncio.create_task(import_text(file, text))
        await until_waiting(community)
        rolled_up = asyncio.create_task(highlights.roll_up(moment.date()))
        await until_waiting(community, 2)
        await other.execute("ROLLBACK")
        assert await asyncio.wait_for(imported, SECONDS) == ImportCounts(0, 3, 0)
        assert await asyncio.wait_for(rolled_up, SECONDS) == 3
    found = await community.fetch(
        "SELECT name, reputation_score > 0 AS scored FROM community_members WHERE name = 'New'"
    )
    assert [tuple(row) for row in found] == [("New", True)] * 3


async def test_an_import_whose_connection_is_lost_changes_nothing(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    before = await read_state(community)
    text = csv_text({"member_id": "#1", "name": "Anita"}, {"member_id": "#2", "name": "Bobby"})
    async with open_transaction(
        database, "SELECT FROM community_members WHERE member_id = '#2' FOR UPDATE"
    ) as other:
        task = asyncio.create_task(import_text(file, text))
        await until_blocked_by(other)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND $1 = ANY(pg_blocking_pids(pid))".replace(
                "$1", str(other.get_server_pid())
            )
        )
        with pytest.raises(DatabaseUnavailable):
            await asyncio.wait_for(task, SECONDS)
    assert await read_state(community) == before


CELLS = st.sampled_from(
    ["#1", "#2", "101", "900", "901", "active", "@ana", "{}", '{"a": 1}', "", "  ", "'=1"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
FILES = st.one_of(
    st.binary(max_size=200),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200).map(str.encode),
    st.tuples(
        st.lists(st.sampled_from(CSV_COLUMNS), min_size=1, max_size=6, unique=True),
        st.lists(st.lists(CELLS, max_size=6), max_size=4),
    ).map(
        lambda table: "\r\n".join(
            ",".join(f'"{text}"' for text in row) for row in (table[0], *table[1])
        ).encode()
    ),
    st.tuples(
        st.sampled_from(
            [["telegram_id", "name", "primary_role"], ["member_id", "name", "profile_data"]]
        ),
        st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4),
    ).map(lambda table: _csv(table[0], table[1])),
)


def _csv(header: list[str], cells: list[tuple[str, str, str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *cells])
    return text.getvalue().encode()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=FILES)
async def test_any_file_is_imported_or_refused_with_messages(
    community: asyncpg.Pool, tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    async with undone():
        answer: ImportCounts | DirectoryError
        try:
            async with transaction():
                answer = await import_text(file, content)
        except DirectoryError as error:
            answer = error
    match answer:
        case InvalidLines():
            assert answer.problems == sorted(answer.problems)
            assert all(
                number >= 2 and sentence.endswith(".") for number, sentence in answer.problems
            )
        case DirectoryError():
            assert is_sentence(answer)
        case ImportCounts():
            assert answer.added + answer.changed + answer.unchanged <= content.count(b"\n")


@pytest.mark.parametrize(
    "text",
    [
        "telegram_id,name,primary_role\n900,Eva,x\n9\x0000,Eva,x\n",
        "member_id,name\n#1,Eva\n#\x002,Eva\n",
        "telegram_id,name,primary_role,invited_by\n900,Eva,x,\n901,Eva,x,#\x001\n",
    ],
)
async def test_an_id_with_a_nul_character_is_reported(
    community: asyncpg.Pool, file: Path, text: str
) -> None:
    assert [number for number, _ in await find_problems(file, text)] == [3]


async def test_true_in_a_profile_is_not_equal_to_one(community: asyncpg.Pool, file: Path) -> None:
    await members.update_profile("#1", profile_data={"a": 1})
    assert await import_text(
        file, csv_text({"member_id": "#1", "profile_data": '{"a": true}'})
    ) == ImportCounts(0, 1, 0)


async def test_an_empty_text_is_not_changed_by_an_import(
    community: asyncpg.Pool, file: Path
) -> None:
    await members.update_profile("#1", organization="", country="")
    before = await read_state(community)
    await members_csv.export_members(file)
    assert await members_csv.import_members(file) == ImportCounts(0, 0, 3)
    assert await read_state(community) == before


async def test_a_large_profile_is_exported_and_imported(
    community: asyncpg.Pool, file: Path
) -> None:
    limit = csv.field_size_limit()
    await members.update_profile("#1", profile_data={"a": "x" * 900_000})
    await members_csv.export_members(file)
    assert await members_csv.import_members(file) == ImportCounts(0, 0, 3)
    # The limit of the process is restored.
    assert csv.field_size_limit() == limit


async def test_a_header_of_two_lines_counts_as_two_lines(
    community: asyncpg.Pool, file: Path
) -> None:
    assert [number for number, _ in await find_problems(file, '"member_id\n",name\n#99,\n')] == [3]


async def test_a_file_with_semicolons_is_imported(community: asyncpg.Pool, file: Path) -> None:
    assert await import_text(file, "member_id;name\n#1;García, Ana\n") == ImportCounts(0, 1, 0)
    assert (await members.get("#1")).name == "García, Ana"


async def test_every_cell_is_quoted_so_that_no_semicolon_splits_it(
    community: asyncpg.Pool, file: Path
) -> None:
    await members.update_profile("#1", name="x;=1+1;y")
    await members_csv.export_members(file)
    assert ',"x;=1+1;y",' in file.read_text("utf-8-sig")


@pytest.mark.parametrize("text", ['"member_id', '"a"b,c\n'])
async def test_a_first_line_that_is_not_csv_is_refused_with_a_message(
    community: asyncpg.Pool, file: Path, text: str
) -> None:
    with pytest.raises(InvalidInput, match="first line is not valid CSV"):
        await import_text(file, text)


@pytest.mark.parametrize(
    "account", ["-5", "007", "discord:", "discord:x", "ana", "12 34", "1.2E+01"]
)
async def test_an_account_that_a_spreadsheet_changed_is_refused(
    unchanged_community: asyncpg.Pool, file: Path, account: str
) -> None:
    assert await find_problems(file, f'telegram_id,name,primary_role\n"{account}",Eva,x\n') == [
        (2, NOT_A_NUMBER)
    ]


async def test_a_removed_inviter_is_refused(community: asyncpg.Pool, file: Path) -> None:
    text = "telegram_id,name,primary_role,invited_by\n900,Eva,x,#3\n"
    assert await find_problems(file, text) == [(2, "There is no member #3.")]


# Files as programs and people make them

TABLE = [["telegram_id", "name", "primary_role"], ["900", "Zoë", "dev"], ["901", "李", "dev"]]


def table_text(delimiter: str = ",", rows: list[list[str]] = TABLE) -> str:
    """Return the text of a file with these cells, as a spreadsheet saves it."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


FILES_OF_PROGRAMS = {
    "commas": table_text().encode(),
    "semicolons": table_text(";").encode("utf-8-sig"),
    "tabs": table_text("\t").encode(),
    "vertical bars": table_text("|").encode(),
    "Excel's Unicode text": table_text("\t").encode("utf-16"),
    "UTF-16 of another machine": b"\xfe\xff" + table_text("\t").encode("utf-16-be"),
    "UTF-16 without a mark": table_text(";").encode("utf-16-le"),
    "UTF-16 of another machine without a mark": table_text().encode("utf-16-be"),
    "UTF-32": table_text().encode("utf-32"),
    "two marks": b"\xef\xbb\xbf" + table_text().encode("utf-8-sig"),
    "sep=;": ("sep=;\r\n" + table_text(";")).encode(),
    "sep=; with a mark": ("sep=;\r\n" + table_text(";")).encode("utf-8-sig"),
    "SEP=,": ("SEP=,\n" + table_text()).encode(),
    "sep= in quotes": ('"sep=;"\n' + table_text(";")).encode(),
    "sep= with empty cells": ("sep=;;;\r\n" + table_text(";")).encode(),
    "sep= and a tab": ("sep=\t\r\n" + table_text("\t")).encode("utf-16"),
    "sep= and another delimiter": ("sep=^\r\n" + table_text("^")).encode(),
    "empty rows": ("\n,,\n" + table_text() + ',,\n , \xa0,\n"","",""\n\n,,').encode(),
    "empty rows with semicolons": (table_text(";") + ";;\r\n ; ;\r\n").encode(),
    "empty columns": table_text(rows=[["", *row, "", " "] for row in TABLE]).encode(),
    "longer empty rows": (table_text() + ",,,,,,\n").encode(),
    "longer lines": (table_text()[:-2] + ",, ,\r\n").encode(),
    "spaces behind the commas": table_text().replace(",", ", ").encode(),
    "quotes behind spaces": b'"telegram_id", "name", "primary_role"\n"900", "Zo\xc3\xab", "dev"\n'
    + '"901", "李", "dev"\n'.encode(),
    "lines of an old Mac": table_text().replace("\r\n", "\r").encode(),
}


@pytest.mark.parametrize("content", FILES_OF_PROGRAMS.values(), ids=FILES_OF_PROGRAMS)
async def test_a_file_is_read_as_any_program_saves_it(
    community: asyncpg.Pool, file: Path, content: bytes
) -> None:
    assert await import_text(file, content) == ImportCounts(2, 0, 0)
    added = [await members.get_by_telegram_id(account) for account in ("900", "901")]
    assert [member.name for member in added] == ["Zoë", "李"]


@pytest.mark.parametrize(
    "header",
    [
        "TELEGRAM_ID,Name,Primary_Role",
        "Telegram ID,NAME, primary role ",
        "telegramId,name,primaryRole",
        "Telegram-Id,ｎａｍｅ,Primary\xa0Role",
        '"telegram_id\ufeff","\u200bname","Primary\nRole"',
    ],
)
async def test_names_of_columns_are_read_in_any_spelling(
    community: asyncpg.Pool, file: Path, header: str
) -> None:
    assert await import_text(file, f"{header}\n900,Eva,dev\n") == ImportCounts(1, 0, 0)


async def test_lines_are_numbered_behind_a_line_with_the_delimiter_and_empty_ones(
    unchanged_community: asyncpg.Pool, file: Path
) -> None:
    text = 'sep=;\r\n;\r\nmember_id;name\r\n;;\r\n#99;"x\ny"\r\n#98;x\r\n'
    assert await find_problems(file, text) == [
        (5, NO_MEMBER.format("#99")),
        (7, NO_MEMBER.format("#98")),
    ]


@pytest.mark.parametrize("blank", ["", " ", "\xa0", "\u3000\u200b", "\u3164", "\u2800"])
async def test_a_blank_cell_is_an_empty_one(
    community: asyncpg.Pool, file: Path, blank: str
) -> None:
    blanks = dict.fromkeys(CSV_COLUMNS, blank)
    new = {**blanks, **new_person()}
    changed = {**blanks, "member_id": "#1", "name": "Ana", "primary_role": "dev"}
    assert await import_text(file, csv_text(new, changed, blanks)) == ImportCounts(1, 1, 0)
    eva, ana = await members.get("#5"), await members.get("#1")
    assert (eva.status, eva.invited_by, eva.country, eva.profile_data) == (
        "not_member",
        *[None] * 3,
    )
    assert (ana.organization, ana.country, ana.profile_data) == (None, None, None)
    assert (ana.telegram_id, ana.github_username, ana.status) == ("101", "ana-dev", "active")


async def test_spaces_around_an_identifier_or_a_time_make_no_difference(
    community: asyncpg.Pool, file: Path
) -> None:
    await members_csv.export_members(file)
    padded = [
        {
            column: cell if cell == "" or column in texts else f"\xa0{cell} "
            for column, cell in person.items()
        }
        for texts in [("organization", "country", "profile_data")]
        for person in read_people(file)
    ]
    assert await import_text(file, csv_text(*padded)) == ImportCounts(0, 0, 3)


async def test_a_value_without_a_column_is_refused(
    unchanged_community: asyncpg.Pool, file: Path
) -> None:
    assert await find_problems(file, "member_id,,name\n#1,,Ana García\n#2,x,Bo\n") == [
        (
            3,
            "This line has a value in column 2, which has no name in the first line: name the"
            " column, or empty it.",
        )
    ]


async def test_cells_that_excel_leaves_out_at_the_end_of_a_line_change_nothing(
    community: asyncpg.Pool, file: Path
) -> None:
    text = "member_id,name,organization,country\n#1,Anita\n#2,Bob,Frutero,Perú\n"
    assert await import_text(file, text) == ImportCounts(0, 2, 0)
    ana = await members.get("#1")
    assert (ana.name, ana.organization, ana.country) == ("Anita", "Frutero", "México")


async def test_a_file_that_was_cut_is_refused(
    unchanged_community: asyncpg.Pool, file: Path
) -> None:
    text = "member_id,name,organization,country\n#2,Bob,Frutero,Perú\n#1,Ani"
    assert await find_problems(file, text) == [
        (
            3,
            "The file ends in this line, which has 2 cells instead of 4: save or download the"
            " file again.",
        )
    ]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04\x14\0", "a workbook or an archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "a workbook of an old Excel"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"\x1f\x8b\x08\0", "a compressed file"),
    ],
)
async def test_a_file_that_is_no_csv_is_refused_by_its_name(
    unchanged_community: asyncpg.Pool, file: Path, content: bytes, kind: str
) -> None:
    with pytest.raises(
        InvalidInput, match=rf"members\.csv is {kind}: open it, and save the sheet as CSV UTF-8\.$"
    ):
        await import_text(file, content)


async def test_a_row_that_was_edited_since_the_export_is_a_conflict_in_any_file(
    community: asyncpg.Pool, file: Path
) -> None:
    await members_csv.export_members(file)
    table = list(csv.reader(io.StringIO(file.read_text("utf-8-sig"), newline="")))
    table[1][table[0].index("country")] = "Perú"
    await members.update_profile("#1", organization="Another")
    content = table_text("\t", [[*row, ""] for row in table]).encode("utf-16")
    with pytest.raises(InvalidLines) as error:
        await import_text(file, content)
    assert [problem.number for problem in error.value.problems] == [2]
    assert (await members.get("#1")).country == "México"
    assert await import_text(file, content, overwrite=True) == ImportCounts(0, 1, 2)
    ana = await members.get("#1")
    assert (ana.organization, ana.country) == ("Frutero", "Perú")


@pytest.mark.parametrize("account", ["101", " 101", "\u200b101\xa0", "１０１", "101\ufeff"])
async def test_a_known_person_is_found_by_any_spelling_of_their_account(
    community: asyncpg.Pool, file: Path, account: str
) -> None:
    text = f"telegram_id,name\n{account},Anita\n"
    assert await import_text(file, text) == ImportCounts(0, 1, 0)
    assert (await members.get("#1")).name == "Anita"
    twice = f"telegram_id,name\n101,Ana\n{account},Ana\n"
    assert await find_problems(file, twice) == [
        (3, "This person is already in line 2: keep one of them.")
    ]


# Accounts and merged members


@pytest.mark.parametrize(
    "identifiers",
    [
        {"telegram_id": "1001"},
        {"telegram_id": "discord:801"},
        {"telegram_id": "github:ana-dev"},
        {"member_id": "1"},
        {"member_id": " 1 "},
        {"member_id": "5"},
        {"member_id": "#5"},
        {"member_id": "1", "telegram_id": "discord:801"},
        {"member_id": "5", "telegram_id": "101"},
    ],
    ids=lambda identifiers: " ".join(identifiers.values()),
)
async def test_a_line_finds_a_member_by_any_account_and_any_number(
    community: asyncpg.Pool, file: Path, identifiers: dict[str, str]
) -> None:
    await rows.account(community, platform="telegram", account_id="1001", member_id="#1")
    await rows.account(community, platform="discord", account_id="801", member_id="#1")
    await rows.account(community, platform="github", account_id="ana-dev", member_id="#1")
    await rows.merged_member(community, merged_into="#1")
    counts = await import_text(file, csv_text({**identifiers, "name": "Ana María"}))
    assert counts == ImportCounts(added=0, changed=1, unchanged=0)
    ana = await members.get("#1")
    assert (ana.name, ana.telegram_id) == ("Ana María", "101")


async def test_lines_with_two_accounts_of_a_person_are_refused(
    community: asyncpg.Pool, file: Path
) -> None:
    await rows.account(community, platform="discord", account_id="801", member_id="#1")
    await rows.merged_member(community, merged_into="#1")
    people = [{"telegram_id": "discord:801"}, {"member_id": "5"}, {"telegram_id": "101"}]
    twice = "This person is already in line 2: keep one of them."
    assert await find_problems(file, csv_text(*people)) == [(3, twice), (4, twice)]


async def test_an_account_of_another_member_beside_a_number_is_refused(
    community: asyncpg.Pool, file: Path
) -> None:
    await rows.account(community, platform="discord", account_id="801", member_id="#2")
    person = {"member_id": "1", "telegram_id": "discord:801"}
    assert await find_problems(file, csv_text(person)) == [(2, CANT_CHANGE.format("telegram_id"))]


async def test_the_number_of_a_merged_inviter_leads_to_the_other_one(
    community: asyncpg.Pool, file: Path
) -> None:
    await rows.merged_member(community, merged_into="#1")
    new = new_person(telegram_id="950", name="Gus")
    known = {"telegram_id": "102", "name": "Bo", "primary_role": "developer"}
    text = csv_text({**new, "invited_by": "5"}, {**known, "invited_by": "#5"})
    assert await import_text(file, text) == ImportCounts(added=1, changed=0, unchanged=1)
    assert (await members.get_by_telegram_id("950")).invited_by == "#1"


async def test_a_batch_of_lines_is_written_without_a_call_for_each(
    community: asyncpg.Pool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a line is written by itself")

    monkeypatch.setattr(members_csv, "add", refuse)
    monkeypatch.setattr(members_csv, "update_profile", refuse)
    monkeypatch.setattr(members_csv, "BATCH_LINES", 7)
    people = [new_person(telegram_id=str(number)) for number in range(500, 520)]
    changed = [
        new_person(telegram_id="101", organization="New"),
        new_person(telegram_id="102", name="Bob"),
    ]
    assert await import_text(file, csv_text(*people, *changed)) == ImportCounts(20, 2, 0)
    numbers = await community.fetch(
        "SELECT telegram_id, member_id FROM community_members WHERE telegram_id LIKE '5%'"
        " ORDER BY length(member_id), member_id"
    )
    assert [number["telegram_id"] for number in numbers] == [str(n) for n in range(500, 520)]


@pytest.mark.parametrize("is_alone", [False, True], ids=["in a batch", "by itself"])
async def test_a_line_replaces_the_whole_profile(
    community: asyncpg.Pool, file: Path, monkeypatch: pytest.MonkeyPatch, is_alone: bool
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise InvalidInput("The batch can't be stored.")

    if is_alone:
        monkeypatch.setattr(members_csv, "update_profiles", refuse)
    await members.update_profile("#1", profile_data={"a": 1, "b": 2})
    for cell, expected in (('{"b": 3, "c": null}', {"b": 3, "c": None}), ("", None)):
        line = {"member_id": "#1", "profile_data": cell}
        assert await import_text(file, csv_text(line)) == ImportCounts(0, 1, 0)
        assert (await members.get("#1")).profile_data == expected


async def test_each_refused_line_of_a_batch_has_its_own_problem(
    community: asyncpg.Pool, file: Path
) -> None:
    people = [new_person(telegram_id=str(number)) for number in range(500, 510)]
    people[3]["github_username"] = "x" * 300
    people[6]["country"] = "x" * 300
    changed = [
        new_person(telegram_id="101", country="Perú"),
        new_person(telegram_id="102", country="x" * 300),
    ]
    before = await read_state(community)
    problems = await find_problems(file, csv_text(*people, *changed))
    assert [problem.number for problem in problems] == [5, 8, 13]
    assert await read_state(community) == before


async def test_a_person_who_is_banned_by_a_line_is_refused_by_a_later_one(
    community: asyncpg.Pool, file: Path
) -> None:
    profile = json.dumps({"discord_id": "5"})
    banned = new_person(telegram_id="500", status="banned", profile_data=profile)
    same = new_person(telegram_id="501", profile_data=profile)
    others = [new_person(telegram_id="502"), new_person(telegram_id="503")]
    problems = await find_problems(file, csv_text(others[0], banned, same, others[1]))
    assert [problem.number for problem in problems] == [4]


async def test_an_account_passes_from_one_line_to_a_later_one(
    community: asyncpg.Pool, file: Path
) -> None:
    stated = {"discord_id": "5"}
    await members.update_profile("#1", profile_data=stated, actor="test")
    lines = [
        {"member_id": "#1", "profile_data": json.dumps({"bio": "hello"})},
        {"member_id": "#2", "profile_data": json.dumps(stated)},
    ]
    assert await import_text(file, csv_text(*lines)) == ImportCounts(0, 2, 0)
    account = await community.fetchval(
        "SELECT member_id FROM member_accounts WHERE platform = 'discord' AND account_id = '5'"
    )
    assert account == "#2"
