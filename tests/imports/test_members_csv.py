"""Members as a CSV file: what comes out goes back in, and a file that is wrong in one place changes nothing."""

import asyncio
import csv
import errno
import io
import json
import os
import resource
import secrets
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
from hypothesis import HealthCheck, given, settings
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
from community_directory.imports.members_csv import COLUMNS, BadLines, Imported, cell, value_of
from community_directory.queries import audit, highlights, members, participation
from community_directory.queries.values import MAX_JSON_DEPTH
from community_directory.settings import load_settings
from tests.conftest import Server, new_database, raw_pool, run_sql
from tests.database.test_migrations import SECONDS, session, until
from tests.processes import PROJECT, environment
from tests.queries.cases import all_idle, undone
from tests.tables import rows

MARK = b"\xef\xbb\xbf"
HEADER = ",".join(f'"{column}"' for column in COLUMNS).encode() + b"\r\n"
FORMULA_STARTS = tuple("=+-@＝＋－＠")
AWKWARD = [
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


async def settle(directory: rows.Database) -> None:
    """The active member #1, the pending #2 whom they invited, the removed #3 and the banned #4."""
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
    """The four of `settle`, in a database of this test's own."""
    await settle(directory)
    return directory


@pytest.fixture(scope="module")
async def settled_database(server: Server, template: str) -> AsyncIterator[str]:
    """A database with the four of `settle`."""
    async with new_database(server, template) as url:
        async with session(url) as connection:
            await settle(connection)
        yield url


@pytest.fixture
async def refusing(settled_database: str) -> AsyncIterator[asyncpg.Pool]:
    """The four of `settle`, in a database of many tests; in each of them nothing is changed."""
    async with connect(settled_database, min_size=0), raw_pool(settled_database) as pool:
        before = await state(pool)
        yield pool
        assert await state(pool) == before
        assert all_idle()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a file of members may lie; it is not there yet."""
    return tmp_path / "members.csv"


def lines(*people: Mapping[str, object]) -> str:
    """The text of a file: a column for each key, a line for each person, every cell as it is given."""
    columns = list(dict.fromkeys(column for person in people for column in person))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(people)
    return text.getvalue()


def somebody(**columns: object) -> dict[str, object]:
    """Somebody new, whom the directory takes."""
    return {"telegram_id": "900", "name": "Eva", "primary_role": "developer", **columns}


async def take(file: Path, text: str | bytes, *, overwrite: bool = False) -> Imported:
    """Import a file with that content."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return await members_csv.import_members(file, overwrite=overwrite)


async def problems(file: Path, text: str) -> list[tuple[int, str]]:
    """What the import says of a file that it must refuse."""
    with pytest.raises(BadLines) as error:
        await take(file, text)
    return error.value.problems


def read(file: Path) -> list[dict[str, str]]:
    """The cells of a file, as a spreadsheet has them."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        return list(csv.DictReader(opened, strict=True))


async def state(pool: asyncpg.Pool) -> tuple[list[asyncpg.Record], list[asyncpg.Record]]:
    """Every member as stored, with the version of the row, and the whole log."""
    stored = await pool.fetch("SELECT xmin::text, * FROM community_members ORDER BY member_id")
    return stored, await pool.fetch("SELECT * FROM directory_audit_log ORDER BY id")


def is_sentence(error: Exception) -> bool:
    text = str(error)
    return text.endswith(".") and text.isprintable() and len(text) < 600


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@given(
    TEXTS
    | st.sampled_from(AWKWARD)
    | st.text(st.sampled_from("'=+-@＝＠\t\r\n \u3000a"), min_size=1, max_size=6)
)
def test_a_text_is_read_from_its_cell_as_it_was_and_is_no_formula(text: str) -> None:
    assert value_of(cell(text)) == text
    assert not cell(text).lstrip().startswith(FORMULA_STARTS)
    assert not cell(text).startswith(("\t", "\r", "\n"))


@pytest.mark.parametrize("text", ["'tis", "'90s", "O'Neill", "'"])
def test_an_apostrophe_that_somebody_typed_into_a_cell_stays(text: str) -> None:
    assert value_of(text) == text


async def test_an_export_has_everybody_but_the_removed_in_the_order_of_their_numbers(
    community: asyncpg.Pool, file: Path
) -> None:
    for _ in range(7):
        await rows.member(community)
    # Who was changed lies behind the others.
    await community.execute(
        "UPDATE community_members SET country = 'Perú' WHERE member_id IN ('#2', '#10')"
    )
    assert await members_csv.export_members(file) == 10
    exported = read(file)
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


async def test_an_export_is_utf_8_with_a_mark_and_for_its_owner_only(
    community: asyncpg.Pool, file: Path
) -> None:
    before = os.umask(0)
    try:
        await members_csv.export_members(file)
    finally:
        os.umask(before)
    content = file.read_bytes()
    assert content.startswith(MARK + HEADER)
    assert content.count(MARK) == 1
    assert "García".encode() in content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert left_in(file.parent) == [file.name]


async def test_an_export_of_nobody_is_a_header(directory: asyncpg.Pool, file: Path) -> None:
    assert await members_csv.export_members(file) == 0
    assert file.read_bytes() == MARK + HEADER
    assert await members_csv.import_members(file) == Imported(0, 0, 0)


@pytest.mark.parametrize(
    "make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("/dev/null")]
)
async def test_an_export_refuses_to_overwrite(
    refusing: asyncpg.Pool, file: Path, make: Any
) -> None:
    make(file)
    before = file.lstat()
    with pytest.raises(
        InvalidInput, match=r"members\.csv is there already: choose another name\.$"
    ):
        await members_csv.export_members(file)
    assert file.lstat() == before
    assert left_in(file.parent) == [file.name]


@pytest.mark.parametrize("has_hard_links", [True, False])
async def test_a_name_that_is_taken_while_the_file_is_written_is_not_overwritten(
    community: asyncpg.Pool, file: Path, monkeypatch: pytest.MonkeyPatch, *, has_hard_links: bool
) -> None:
    def no_hard_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_hard_links:  # as on a memory card
        monkeypatch.setattr(Path, "hardlink_to", no_hard_links)
    assert await members_csv.export_members(file.with_name("free.csv")) == 3
    assert len(read(file.with_name("free.csv"))) == 3
    assert left_in(file.parent) == ["free.csv"]

    async def taken(out: IO[str]) -> int:
        file.write_text("somebody else's")
        return await write_members(out)

    write_members = members_csv.write_members
    monkeypatch.setattr(members_csv, "write_members", taken)
    with pytest.raises(InvalidInput, match="is there already"):
        await members_csv.export_members(file)
    assert file.read_text() == "somebody else's"
    assert left_in(file.parent) == ["free.csv", file.name]


@pytest.mark.parametrize(
    "place", ["missing/members.csv", "plain/members.csv", f"{'x' * 300}.csv", "/proc/members.csv"]
)
async def test_an_export_where_no_file_can_be_made_is_a_sentence(
    refusing: asyncpg.Pool, tmp_path: Path, place: str
) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(InvalidInput, match=r"^Can't write .*: [A-Z].*\.$"):
        await members_csv.export_members(tmp_path / place)
    assert left_in(tmp_path) == ["plain"]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """As if there were no room for more than this in any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("people", [1, 200])
async def test_an_export_to_a_full_disk_leaves_nothing(
    directory: asyncpg.Pool, file: Path, people: int
) -> None:
    for _ in range(people):
        await rows.member(directory, organization="x" * 200)
    with pytest.raises(InvalidInput, match=r"^Can't write .*: File too large\.$"), full_disk(50):
        await members_csv.export_members(file)
    assert left_in(file.parent) == []
    assert await members_csv.export_members(file) == people


async def test_an_export_that_is_cancelled_leaves_nothing(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    async with locked(database, "LOCK TABLE community_members"):
        task = asyncio.create_task(members_csv.export_members(file))
        await until(community, "bool_or(wait_event_type = 'Lock')")
        assert len(left_in(file.parent)) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert left_in(file.parent) == []


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
async def test_a_process_that_dies_leaves_no_half_of_an_export(
    community: asyncpg.Pool, database: str, file: Path, number: signal.Signals
) -> None:
    async with locked(database, "LOCK TABLE community_members"):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            EXPORT,
            str(file),
            cwd=PROJECT,
            env=environment(POSTGRES_URL=database),
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(community, "bool_or(wait_event_type = 'Lock')")
        process.send_signal(number)
        assert await process.wait() != 0
    assert not file.exists()
    if number != signal.SIGKILL:
        assert left_in(file.parent) == []


async def test_an_export_is_of_one_moment(directory: asyncpg.Pool, database: str) -> None:
    # More than the database sends at once.
    await directory.execute(
        "INSERT INTO community_members (telegram_id, name, primary_role) "
        "SELECT 'before' || number, 'Before', 'developer' FROM generate_series(1, 2500) AS number"
    )

    def change() -> None:
        asyncio.run(
            run_sql(
                database,
                "UPDATE community_members SET name = 'After'",
                "INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('after', 'After', 'x')",
            )
        )

    class Slow(io.StringIO):
        """A file during whose writing the directory changes."""

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
async def locked(database: str, statement: str) -> AsyncIterator[asyncpg.Connection]:
    """Another session in a transaction that has done this, and does nothing more."""
    async with session(database) as other:
        await other.execute(f"BEGIN; {statement}")
        yield other


async def test_what_was_exported_is_imported_without_a_change(
    community: asyncpg.Pool, file: Path
) -> None:
    for text in AWKWARD:
        await rows.member(
            community,
            name=text,
            primary_role=text,
            organization=text,
            country=text,
            profile_data={"bio": text},
        )
    await rows.member(
        community, profile_data={"a": [1, 2.5, 1e300, None, True, {"deep": 'ñ\\"\n'}]}
    )
    await rows.member(
        community, status="suspended", invited_by="#4", telegram_username="Ána", telegram_id="-100"
    )
    before = await state(community)
    exported = await members_csv.export_members(file)
    assert await members_csv.import_members(file) == Imported(0, 0, exported)
    assert await state(community) == before


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=TEXTS,
    organization=TEXTS,
    bio=st.dictionaries(TEXTS, TEXTS | st.integers() | st.booleans(), max_size=3),
)
async def test_any_text_that_is_exported_is_imported_without_a_change(
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
            return  # a name without a letter
        await members_csv.export_members(file)
        async with undone():
            assert await members_csv.import_members(file) == Imported(0, 0, 1)
            assert await members.get(added.member_id) == added
        # And brings it back when it was changed.
        await members.update_profile(
            added.member_id, name="x", organization=None, profile_data=None
        )
        await members_csv.import_members(file)
        again = await members.get(added.member_id)
        assert (again.name, again.organization, again.profile_data) == (name, organization, bio)


async def test_somebody_new_is_added_with_all_that_the_file_says(
    community: asyncpg.Pool, file: Path
) -> None:
    new = somebody(
        telegram_username="@eva",
        organization="Frutero",
        country="Chile",
        github_username=" @eva-dev ",
        status="active",
        invited_by="#2",
        profile_data='{"bio": "hi"}',
    )
    assert await take(file, lines(new, somebody(telegram_id="901", name="Flo"))) == Imported(
        2, 0, 0
    )
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


async def test_only_what_differs_is_changed_and_logged(community: asyncpg.Pool, file: Path) -> None:
    before, log = await state(community)
    text = lines(
        {"member_id": "#2", "telegram_id": "102", "name": "Bo", "country": "Perú"},
        {"member_id": "#1", "telegram_id": "", "name": "Ana García", "country": "México"},
        {"member_id": "", "telegram_id": "104", "name": "Daniel", "country": ""},
    )
    assert await take(file, text) == Imported(0, 2, 1)
    after, longer = await state(community)
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


async def test_empty_cells_empty_and_columns_that_are_left_out_stay(
    community: asyncpg.Pool, file: Path
) -> None:
    emptied = {"member_id": "#1", "telegram_username": "", "organization": "", "profile_data": ""}
    assert await take(file, lines(emptied)) == Imported(0, 1, 0)
    ana = await members.get("#1")
    assert (ana.telegram_username, ana.organization, ana.profile_data) == (None, None, None)
    assert (ana.name, ana.country, ana.github_username, ana.status) == (
        "Ana García",
        "México",
        "ana-dev",
        "active",
    )


async def test_columns_that_tell_only_are_passed_over(community: asyncpg.Pool, file: Path) -> None:
    before = await state(community)
    told = dict.fromkeys(members_csv.TOLD, "anything at all")
    assert await take(file, lines({"member_id": "#1", **told}, {"member_id": "#2"})) == Imported(
        0, 0, 2
    )
    assert await state(community) == before
    assert await take(file, lines({**somebody(), **told, "reputation_score": "5000"})) == Imported(
        1, 0, 0
    )
    eva = await members.get("#5")
    assert (eva.reputation_score, eva.github_verified, eva.last_active_at) == (0, False, None)


async def test_fixed_columns_may_be_there_as_they_are_or_empty(
    refusing: asyncpg.Pool, file: Path
) -> None:
    fixed = {"telegram_id": "102", "github_username": "", "status": "pending", "invited_by": "#1"}
    assert await take(file, lines({"member_id": "#2", **fixed})) == Imported(0, 0, 1)
    assert await take(
        file, lines({"member_id": "#1", "github_username": " @ana-dev", "status": ""})
    ) == Imported(0, 0, 1)


async def test_usernames_lose_their_at_and_keep_their_case(
    community: asyncpg.Pool, file: Path
) -> None:
    assert await take(file, lines({"member_id": "#1", "telegram_username": " @ana "})) == Imported(
        0, 0, 1
    )
    assert await take(file, lines({"member_id": "#1", "telegram_username": "@ANA"})) == Imported(
        0, 1, 0
    )
    assert (await members.get("#1")).telegram_username == "ANA"
    assert await take(file, lines({"member_id": "#1", "telegram_username": "@"})) == Imported(
        0, 1, 0
    )
    assert (await members.get("#1")).telegram_username is None


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
async def test_any_ending_of_lines_and_empty_lines_and_spaces_in_the_header_are_read(
    community: asyncpg.Pool, file: Path, ending: str, mark: str
) -> None:
    text = ending.join((f"{mark} name , member_id", "", "Bo,#2", "", "", "Anita,#1"))
    assert await take(file, text) == Imported(0, 1, 1)
    assert (await members.get("#1")).name == "Anita"
    text = ending.join((f"{mark} name , member_id", "", "Bo,#2", "", "", ",#1"))
    assert await problems(file, text) == [(6, "The name can't be empty.")]


DEEP = '{"a":' * (MAX_JSON_DEPTH + 2) + "1" + "}" * (MAX_JSON_DEPTH + 2)
NOT_CHANGED = "An import can't change the {} of member #1."
TOO_LONG = "A text is too long, or holds a character that can't be stored."
NO_OBJECT = "The profile_data must be a JSON object."
NO_MEMBER = "There is no member {}."
SPOILT = "A Telegram id is a number: see that the spreadsheet didn't shorten it."

BAD: dict[str, tuple[dict[str, object], str]] = {
    "a new person without a name": (somebody(name=""), "The name can't be empty."),
    "a new person without a role": (somebody(primary_role=""), "The primary role can't be empty."),
    "a new person without an account": (
        somebody(telegram_id=""),
        "Somebody new needs a telegram_id.",
    ),
    "a new person of no status": (somebody(status="Active"), "There is no status Active."),
    "a new person of an unknown inviter": (somebody(invited_by="#99"), NO_MEMBER.format("#99")),
    "a new person invited by a name": (somebody(invited_by="ana"), NO_MEMBER.format("ana")),
    "a new person with a number": (somebody(member_id="#99"), NO_MEMBER.format("#99")),
    "a number that is none": ({"member_id": "1", "name": "Ana"}, NO_MEMBER.format("1")),
    "a number of somebody else": (
        {"member_id": "#1", "telegram_id": "102"},
        NOT_CHANGED.format("telegram_id"),
    ),
    "a number of somebody else than the new account": (
        {"member_id": "#1", "telegram_id": "900"},
        NOT_CHANGED.format("telegram_id"),
    ),
    "another status": ({"member_id": "#1", "status": "suspended"}, NOT_CHANGED.format("status")),
    "another status, by account": (
        {"telegram_id": "101", "status": "suspended"},
        NOT_CHANGED.format("status"),
    ),
    "another GitHub account": (
        {"member_id": "#1", "github_username": "eve"},
        NOT_CHANGED.format("github_username"),
    ),
    "the GitHub account in another case": (
        {"member_id": "#1", "github_username": "Ana-Dev"},
        NOT_CHANGED.format("github_username"),
    ),
    "another inviter": ({"member_id": "#1", "invited_by": "#2"}, NOT_CHANGED.format("invited_by")),
    "a removed person's number": (
        {"member_id": "#3", "name": "Cleo"},
        "Member #3 was removed: restore them first.",
    ),
    "a removed person's account": (
        somebody(telegram_id="103"),
        "Member #3 was removed: restore them first.",
    ),
    "no name any more": ({"member_id": "#1", "name": ""}, "The name can't be empty."),
    "no role any more": (
        {"member_id": "#1", "primary_role": ""},
        "The primary role can't be empty.",
    ),
    "no JSON": ({"member_id": "#1", "profile_data": "{bio: hello}"}, NO_OBJECT),
    "JSON too deep for Python": ({"member_id": "#1", "profile_data": "[" * 100_000}, NO_OBJECT),
    "a number too long for Python": (
        {"member_id": "#1", "profile_data": f'{{"a": {"1" * 5000}}}'},
        NO_OBJECT,
    ),
    "JSON that is a list": ({"member_id": "#1", "profile_data": "[]"}, NO_OBJECT),
    "JSON that is null": ({"member_id": "#1", "profile_data": "null"}, NO_OBJECT),
    "JSON that is a text": (somebody(profile_data='"text"'), NO_OBJECT),
    "JSON too deep": (
        {"member_id": "#1", "profile_data": DEEP},
        f"This is nested more than {MAX_JSON_DEPTH} times.",
    ),
    "JSON with NaN": (somebody(profile_data='{"a": NaN}'), "This can't be stored as JSON."),
    "JSON with an infinity": (
        somebody(profile_data='{"a": 1e999}'),
        "This can't be stored as JSON.",
    ),
    "JSON with NUL": (
        somebody(profile_data='{"a": "\\u0000"}'),
        "A value is out of range, or holds a character that can't be stored.",
    ),
    "a NUL": ({"member_id": "#1", "name": "A\0na"}, TOO_LONG),
    "an account with NUL that is looked up by a number": (
        {"member_id": "#1", "organization": "\0"},
        TOO_LONG,
    ),
    "a spoilt account": (somebody(telegram_id="5.55E+09"), SPOILT),
    "a blank name": (somebody(name="\u200b"), CONSTRAINT_MESSAGES["member_name_check"].message),
    "too long a country": (
        somebody(country="x" * 101),
        "The country has 101 characters; at most 100 are allowed.",
    ),
    "a cell of 200,000 letters": (
        {"member_id": "#1", "name": "x" * 200_000},
        "The name has 200,000 characters; at most 255 are allowed.",
    ),
}


@pytest.mark.parametrize(("person", "sentence"), BAD.values(), ids=BAD)
async def test_a_bad_line_is_named_and_nothing_is_changed(
    refusing: asyncpg.Pool, file: Path, person: dict[str, object], sentence: str
) -> None:
    good = somebody(telegram_id="950", name="Gus")
    changed = {"telegram_id": "102", "name": "Bobby", "primary_role": "x"}
    # A column that a person doesn't have is an empty cell, which would be another problem: each in the same columns.
    people = (
        [{**dict.fromkeys(person, ""), **other} for other in (good, changed)]
        if "name" in person
        else []
    )
    found = await problems(file, lines(*people, person))
    assert found == [(len(people) + 2, sentence)]


async def test_every_bad_line_is_reported_with_the_number_that_an_editor_shows(
    refusing: asyncpg.Pool, file: Path
) -> None:
    text = (
        "telegram_id,name,primary_role\n"
        "900,,dev\n"  # line 2
        '901,"Eva\nLuisa\r\nMaría",dev\n'  # 3 to 5
        "\n"
        "902,,dev\n"  # 7
        "903,Flo\n"  # 8
        '904,"Gus\n","dev\n\n"\n'  # 9 to 12
        "905,Hal,dev,extra,cells\n"  # 13
        "900,Ivy,dev\n"  # 14
        "901,Jon,dev\n"  # 15
        "907,,"  # 16, without an end
    )
    found = await problems(file, text)
    assert found == [
        (2, "The name can't be empty."),
        (7, "The name can't be empty."),
        (8, "This line has 2 cells, and the first one 3."),
        (13, "This line has 5 cells, and the first one 3."),
        (14, "This person is in line 2 already."),
        (15, "This person is in line 3 already."),
        (16, "The name can't be empty."),
    ]


async def test_bad_lines_are_counted_in_a_sentence(refusing: asyncpg.Pool, file: Path) -> None:
    with pytest.raises(BadLines, match=r"^1 line can't be imported, so nothing was changed\.$"):
        await take(file, "member_id\n#99\n")
    with pytest.raises(
        BadLines, match=r"^1,000 lines can't be imported, so nothing was changed\.$"
    ):
        await take(file, "member_id\n" + "#99\n" * 1000)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"member_id": "#1"}, {"member_id": "#1"}),
        ({"member_id": "#1"}, {"telegram_id": "101"}),
        ({"telegram_id": "101"}, {"member_id": "#1", "telegram_id": "101"}),
        ({"telegram_id": "900"}, {"telegram_id": "900"}),
    ],
)
async def test_a_person_who_is_in_the_file_twice_is_a_bad_line(
    refusing: asyncpg.Pool, file: Path, first: dict[str, object], second: dict[str, object]
) -> None:
    rest = {"name": "Eva", "primary_role": "developer"}
    cells = {"member_id": "", "telegram_id": ""}
    found = await problems(file, lines({**cells, **first, **rest}, {**cells, **second, **rest}))
    assert found == [(3, "This person is in line 2 already.")]


async def test_a_line_that_is_no_csv_ends_the_reading_but_what_came_before_is_checked(
    refusing: asyncpg.Pool, file: Path
) -> None:
    found = await problems(file, 'member_id,name\n#1,""\n#99,x\n#4,""\n#2,"Bo\n\n\n')
    assert [number for number, _ in found] == [2, 3, 4, 5]
    assert found[3][1].startswith("This is no CSV: ")
    assert found[3][1].endswith(".")
    found = await problems(file, 'member_id,name\n#1,"a"b\n')
    assert [number for number, _ in found] == [2]


HEADERS = {
    "an unknown column": ("member_id,nickname\n#1,x\n", "member_id, nickname"),
    "a column twice": ("member_id,name,name\n#1,x,y\n", "member_id, name, name"),
    "a column twice but for a space": ("member_id,name, name\n#1,x,y\n", "member_id, name, name"),
    "a column in capitals": ("MEMBER_ID\n#1\n", "MEMBER_ID"),
    "no column that knows a person": ("name,country\nAna,Perú\n", "name, country"),
    "no header": ("#1,Ana\n", "#1, Ana"),
    "a column without a name": ("member_id,\n#1,x\n", "member_id, "),
    "nothing": ("", ""),
    "an empty line": ("\n\n", ""),
    "tabs": ("member_id\tname\n#1\tAna\n", "member_id.name"),
    "a NUL": ("member_id,na\0me\n", "member_id, na.me"),
    "UTF-16 without a mark": ("member_id\n".encode("utf-16-be").decode(), ".*"),
}


@pytest.mark.parametrize(("text", "repeated"), HEADERS.values(), ids=HEADERS)
async def test_a_wrong_first_line_is_a_sentence_that_names_the_columns(
    refusing: asyncpg.Pool, file: Path, text: str, repeated: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"Here it says {repeated}\.$") as error:
        await take(file, text)
    assert not isinstance(error.value, BadLines)
    assert is_sentence(error.value)
    assert all(column in str(error.value) for column in COLUMNS)


@pytest.mark.parametrize(
    "content",
    [
        "member_id,name\n#1,José\n".encode("latin-1"),
        "member_id\n#1\n".encode("utf-16"),
        b"\x89PNG\r\n\x1a\n\0\0",
    ],
    ids=["latin-1", "utf-16", "binary"],
)
async def test_what_is_not_utf_8_is_said_in_a_sentence(
    refusing: asyncpg.Pool, file: Path, content: bytes
) -> None:
    with pytest.raises(
        InvalidInput, match=r"members\.csv is not UTF-8 text: save it as CSV UTF-8\.$"
    ):
        await take(file, content)


async def test_a_file_that_can_not_be_read_is_said_in_a_sentence(
    refusing: asyncpg.Pool, tmp_path: Path
) -> None:
    with pytest.raises(
        InvalidInput, match=r"^Can't read .*missing\.csv: No such file or directory\.$"
    ):
        await members_csv.import_members(tmp_path / "missing.csv")
    with pytest.raises(InvalidInput, match=r"^Can't read .*: Is a directory\.$"):
        await members_csv.import_members(tmp_path)


async def test_a_banned_person_can_be_changed_but_not_let_in(
    community: asyncpg.Pool, file: Path
) -> None:
    assert await take(file, lines({"telegram_id": "104", "name": "Daniel"})) == Imported(0, 1, 0)
    assert (await members.get("#4")).status == "banned"
    found = await problems(file, lines({"telegram_id": "104", "status": "active"}))
    assert found == [(2, "An import can't change the status of member #4.")]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key that nobody guesses, 32 characters or more")
    load_settings.cache_clear()


async def test_who_was_banned_and_erased_is_not_let_in(
    key: None, community: asyncpg.Pool, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await members.erase("#4", actor="eva")
    text = lines(somebody(), somebody(telegram_id="104", name="Dan"))
    assert await problems(file, text) == [
        (3, "This person is banned. If that is a mistake, ask a community manager.")
    ]

    # Without the key nobody can tell who it is, so nobody new is let in.
    monkeypatch.delenv("DIRECTORY_SECRET_KEY")
    load_settings.cache_clear()
    with pytest.raises(ConfigurationError, match="DIRECTORY_SECRET_KEY"):
        await take(file, text)
    assert await take(file, lines({"member_id": "#2", "name": "Bobby"})) == Imported(0, 1, 0)


async def test_who_was_erased_may_come_anew(community: asyncpg.Pool, file: Path) -> None:
    await members.erase("#2", actor="eva")
    assert await take(file, lines(somebody(telegram_id="102", name="Bo"))) == Imported(1, 0, 0)
    assert (await members.get("#5")).telegram_id == "102"


EDITED = (
    "Member #1 was edited after this file was exported: export again, or import with --overwrite."
)


async def exported(file: Path, changes: Mapping[str, str]) -> str:
    """The text of an export, in which somebody has edited the line of the member #1."""
    await members_csv.export_members(file)
    people = read(file)
    file.unlink()
    people[0] |= changes
    return lines(*people)


@pytest.mark.parametrize("changes", [{"name": "Anita"}, {}, {"status": "banned"}], ids=str)
@pytest.mark.parametrize(
    "edit",
    [
        lambda: members.update_profile("#1", country="Perú", actor="bot"),
        lambda: members.set_status("#1", "suspended", actor="bot"),
    ],
)
async def test_a_line_that_would_take_back_what_was_edited_since_is_refused(
    community: asyncpg.Pool,
    file: Path,
    changes: dict[str, str],
    edit: Callable[[], Awaitable[object]],
) -> None:
    text = await exported(file, changes)
    await edit()
    before = await state(community)
    assert await problems(file, text) == [(2, EDITED)]
    assert await state(community) == before


async def test_what_was_edited_since_is_overwritten_when_that_is_wanted(
    community: asyncpg.Pool, file: Path
) -> None:
    text = await exported(file, {"name": "Anita"})
    await members.update_profile("#1", country="Perú", actor="bot")
    assert await take(file, text, overwrite=True) == Imported(0, 1, 2)
    ana = await members.get("#1")
    assert (ana.name, ana.country) == ("Anita", "México")
    # A file without the column can't tell, nor an empty cell.
    await members.update_profile("#1", country="Perú", actor="bot")
    for person in ({"country": "México"}, {"country": "Chile", "updated_at": ""}):
        assert await take(file, lines({"member_id": "#1", **person})) == Imported(0, 1, 0)


async def test_an_edit_that_began_before_the_last_one_is_not_taken_back(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    async with locked(database, "SELECT now()") as early:
        await members.update_profile("#1", organization="Another", actor="bot")
        text = await exported(file, {"name": "Anita"})
        await early.execute("UPDATE community_members SET country = 'Perú' WHERE member_id = '#1'")
        await early.execute("COMMIT")
    assert await problems(file, text) == [(2, EDITED)]
    assert (await members.get("#1")).country == "Perú"


@pytest.mark.parametrize(
    "changes", [{"name": "Anita"}, {}, {"name": "Anita", "updated_at": "31/01/2026 12:00"}], ids=str
)
async def test_an_import_that_overwrites_passes_over_what_it_can_not_change(
    community: asyncpg.Pool, file: Path, changes: dict[str, str]
) -> None:
    text = await exported(file, changes)
    await members.set_status("#1", "suspended", actor="bot")
    changed = int("name" in changes)
    assert await take(file, text, overwrite=True) == Imported(0, changed, 3 - changed)
    ana = await members.get("#1")
    assert (ana.name, ana.status) == (changes.get("name", "Ana García"), "suspended")


async def test_an_import_that_overwrites_still_changes_no_status(
    community: asyncpg.Pool, file: Path
) -> None:
    text = await exported(file, {"status": "suspended"})
    with pytest.raises(BadLines) as refused:
        await take(file, text, overwrite=True)
    assert refused.value.problems == [(2, NOT_CHANGED.format("status"))]


@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_line_of_somebody_else_is_refused_whatever_was_edited(
    community: asyncpg.Pool, file: Path, overwrite: bool
) -> None:
    text = await exported(file, {"telegram_id": "900"})
    await members.update_profile("#1", country="Perú", actor="bot")
    with pytest.raises(BadLines) as refused:
        await take(file, text, overwrite=overwrite)
    assert refused.value.problems == [(2, NOT_CHANGED.format("telegram_id"))]


async def test_the_same_edit_in_the_file_and_in_the_directory_is_none(
    community: asyncpg.Pool, file: Path
) -> None:
    text = await exported(file, {"country": "Perú"})
    await members.update_profile("#1", country="Perú", actor="bot")
    assert await take(file, text) == Imported(0, 0, 3)


async def test_activity_and_points_are_no_edit(community: asyncpg.Pool, file: Path) -> None:
    text = await exported(file, {"name": "Anita"})
    at = await community.fetchval("SELECT now()")
    await participation.record(
        member_id="#1", event_type="MESSAGE", platform="telegram", room_id="-1", occurred_at=at
    )
    await highlights.roll_up(at.date())
    assert (await members.get("#1")).reputation_score > 0
    assert await take(file, text) == Imported(0, 1, 2)


@pytest.mark.parametrize(
    "updated_at", ["31/01/2026 12:00", "46053.5", "2026-01-31 12:00:00", "12:00.0", "soon"]
)
async def test_a_time_of_an_edit_that_a_spreadsheet_spoilt_is_a_bad_line(
    community: asyncpg.Pool, file: Path, updated_at: str
) -> None:
    person = {"member_id": "#1", "name": "Anita", "updated_at": updated_at}
    [(number, sentence)] = await problems(file, lines(person))
    assert number == 2
    assert sentence.startswith("The updated_at is not as it was exported: ")
    assert await take(file, lines({**person, "name": "Ana García"})) == Imported(0, 0, 1)
    assert await take(file, lines(person), overwrite=True) == Imported(0, 1, 0)


async def test_an_import_inside_a_transaction_goes_with_it(
    community: asyncpg.Pool, file: Path
) -> None:
    before = await state(community)
    async with undone():
        assert await take(file, lines({"member_id": "#1", "name": "Anita"})) == Imported(0, 1, 0)
        assert (await members.get("#1")).name == "Anita"
    assert await state(community) == before


async def test_who_is_added_between_the_check_and_the_writing_is_a_bad_line(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    before = await state(community)
    text = lines(somebody(telegram_id="899"), somebody(), somebody(telegram_id="101"))
    insert = (
        "INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('900', 'Eve', 'x')"
    )
    async with locked(database, insert) as other:
        task = asyncio.create_task(problems(file, text))
        await until(community, "bool_or($1 = ANY(pg_blocking_pids(pid)))", other.get_server_pid())
        await other.execute("COMMIT")
        found = await task
    assert found == [(3, "This Telegram account is known already, as member #5.")]
    after, _ = await state(community)
    assert after[:4] == before[0]
    assert [row["name"] for row in after[4:]] == ["Eve"]


async def test_an_edit_that_is_under_way_is_waited_for_and_not_taken_back(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    updated_at = (await members.get("#1")).updated_at
    text = lines(
        {"member_id": "#1", "name": "Anita", "organization": "Frutero", "updated_at": updated_at}
    )
    update = "UPDATE community_members SET organization = 'Another' WHERE member_id = '#1'"
    async with locked(database, update) as other:
        task = asyncio.create_task(problems(file, text))
        await until(community, "bool_or($1 = ANY(pg_blocking_pids(pid)))", other.get_server_pid())
        await other.execute("COMMIT")
        assert await task == [(2, EDITED)]
    ana = await members.get("#1")
    assert (ana.name, ana.organization) == ("Ana García", "Another")


async def test_an_import_and_a_roll_up_of_the_same_members_do_not_wait_for_each_other_for_good(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    moment = await community.fetchval("SELECT timestamptz '2026-01-31 12:00 UTC'")
    numbers = ["#1", "#2", "#4"]
    for number in numbers:
        for _ in range(10):
            await rows.event(community, member_id=number, occurred_at=moment)
    # The last one first, in the file.
    text = lines(*({"member_id": number, "name": "New"} for number in reversed(numbers)))
    waiting = "count(*) FILTER (WHERE wait_event_type = 'Lock') = $1"
    async with locked(
        database, "SELECT FROM community_members WHERE member_id = '#2' FOR UPDATE"
    ) as other:
        imported = asyncio.create_task(take(file, text))
        await until(community, waiting, 1)
        rolled_up = asyncio.create_task(highlights.roll_up(moment.date()))
        await until(community, waiting, 2)
        await other.execute("ROLLBACK")
        assert await asyncio.wait_for(imported, SECONDS) == Imported(0, 3, 0)
        assert await asyncio.wait_for(rolled_up, SECONDS) == 3
    found = await community.fetch(
        "SELECT name, reputation_score > 0 AS scored FROM community_members WHERE name = 'New'"
    )
    assert [tuple(row) for row in found] == [("New", True)] * 3


RIGHTS = (
    "SELECT, INSERT, UPDATE ON community_members, community_invitations, member_relationships, member_participation, "
    "member_daily_highlights",
    "DELETE ON member_relationships",
    "USAGE ON SEQUENCE community_member_number",
)
"""What the README, under Production, gives a bot."""


@asynccontextmanager
async def bot(database: str) -> AsyncIterator[None]:
    """Who is connected has the role of a bot."""
    role = f"role_{secrets.token_hex(8)}"
    await run_sql(
        database, f"CREATE ROLE {role}", *(f"GRANT {right} TO {role}" for right in RIGHTS)
    )
    try:
        async with connect(database, min_size=0), transaction() as current:
            await current.connection.execute(f"SET LOCAL SESSION AUTHORIZATION {role}")
            yield
    finally:
        await run_sql(database, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_bot_with_a_role_of_its_own_exports_and_imports(database: str, file: Path) -> None:
    await run_sql(
        database,
        "INSERT INTO community_members (telegram_id, name, primary_role) VALUES ('1', 'Ana', 'x')",
    )
    async with bot(database):
        text = lines(somebody(), {"telegram_id": "1", "name": "Anita", "primary_role": "x"})
        assert await take(file, text) == Imported(1, 1, 0)
        assert await members_csv.export_members(file.with_name("export.csv")) == 2


async def test_an_import_whose_connection_is_cut_changes_nothing(
    community: asyncpg.Pool, database: str, file: Path
) -> None:
    before = await state(community)
    text = lines({"member_id": "#1", "name": "Anita"}, {"member_id": "#2", "name": "Bobby"})
    async with locked(
        database, "SELECT FROM community_members WHERE member_id = '#2' FOR UPDATE"
    ) as other:
        task = asyncio.create_task(take(file, text))
        await until(community, "bool_or($1 = ANY(pg_blocking_pids(pid)))", other.get_server_pid())
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND $1 = ANY(pg_blocking_pids(pid))".replace(
                "$1", str(other.get_server_pid())
            )
        )
        with pytest.raises(DatabaseUnavailable):
            await asyncio.wait_for(task, SECONDS)
    assert await state(community) == before


CELLS = st.sampled_from(
    ["#1", "#2", "101", "900", "901", "active", "@ana", "{}", '{"a": 1}', "", "  ", "'=1"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
FILES = st.one_of(
    st.binary(max_size=200),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200).map(str.encode),
    st.tuples(
        st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=6, unique=True),
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
async def test_any_file_ends_in_a_result_or_in_sentences(
    community: asyncpg.Pool, tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    async with undone():
        answer: Imported | DirectoryError
        try:
            async with transaction():
                answer = await take(file, content)
        except DirectoryError as error:
            answer = error
    match answer:
        case BadLines():
            assert answer.problems == sorted(answer.problems)
            assert all(
                number >= 2 and sentence.endswith(".") for number, sentence in answer.problems
            )
        case DirectoryError():
            assert is_sentence(answer)
        case Imported():
            assert answer.added + answer.changed + answer.unchanged <= content.count(b"\n")


@pytest.mark.parametrize(
    "text",
    [
        "telegram_id,name,primary_role\n900,Eva,x\n9\x0000,Eva,x\n",
        "member_id,name\n#1,Eva\n#\x002,Eva\n",
        "telegram_id,name,primary_role,invited_by\n900,Eva,x,\n901,Eva,x,#\x001\n",
    ],
)
async def test_an_id_that_no_database_can_look_up_is_named_by_its_line(
    community: asyncpg.Pool, file: Path, text: str
) -> None:
    assert [number for number, _ in await problems(file, text)] == [3]


async def test_true_is_not_one(community: asyncpg.Pool, file: Path) -> None:
    await members.update_profile("#1", profile_data={"a": 1})
    assert await take(file, lines({"member_id": "#1", "profile_data": '{"a": true}'})) == Imported(
        0, 1, 0
    )


async def test_an_empty_text_stays_one(community: asyncpg.Pool, file: Path) -> None:
    await members.update_profile("#1", organization="", country="")
    before = await state(community)
    await members_csv.export_members(file)
    assert await members_csv.import_members(file) == Imported(0, 0, 3)
    assert await state(community) == before


async def test_a_large_profile_goes_out_and_in(community: asyncpg.Pool, file: Path) -> None:
    limit = csv.field_size_limit()
    await members.update_profile("#1", profile_data={"a": "x" * 900_000})
    await members_csv.export_members(file)
    assert await members_csv.import_members(file) == Imported(0, 0, 3)
    # Other parts of the program have the limit that they had.
    assert csv.field_size_limit() == limit


async def test_a_first_line_that_is_two_counts_as_two(community: asyncpg.Pool, file: Path) -> None:
    assert [number for number, _ in await problems(file, '"member_id\n",name\n#99,\n')] == [3]


async def test_semicolons_are_what_spreadsheets_of_some_countries_write(
    community: asyncpg.Pool, file: Path
) -> None:
    assert await take(file, "member_id;name\n#1;García, Ana\n") == Imported(0, 1, 0)
    assert (await members.get("#1")).name == "García, Ana"


async def test_every_cell_is_quoted_so_that_none_is_split_into_a_formula(
    community: asyncpg.Pool, file: Path
) -> None:
    await members.update_profile("#1", name="x;=1+1;y")
    await members_csv.export_members(file)
    assert ',"x;=1+1;y",' in file.read_text("utf-8-sig")


@pytest.mark.parametrize("text", ['"member_id', '"a"b,c\n'])
async def test_a_first_line_that_is_no_csv_is_a_sentence(
    community: asyncpg.Pool, file: Path, text: str
) -> None:
    with pytest.raises(InvalidInput, match="first line is no CSV"):
        await take(file, text)


@pytest.mark.parametrize(
    "account", ["-5", "007", "discord:", "discord:x", "ana", "12 34", "12\n", "\u3000"]
)
async def test_an_account_that_a_spreadsheet_spoilt_is_refused(
    refusing: asyncpg.Pool, file: Path, account: str
) -> None:
    assert await problems(file, f'telegram_id,name,primary_role\n"{account}",Eva,x\n') == [
        (2, SPOILT)
    ]


async def test_nobody_new_was_invited_by_a_removed_member(
    community: asyncpg.Pool, file: Path
) -> None:
    text = "telegram_id,name,primary_role,invited_by\n900,Eva,x,#3\n"
    assert await problems(file, text) == [(2, "There is no member #3.")]
