"""Members as a CSV file for a spreadsheet, and back: people are added and profiles changed as the file says."""

import csv
import json
import re
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from community_directory.database import engine, transaction
from community_directory.errors import (
    InvalidInput,
    MemberBanned,
    MemberError,
    MemberNotFound,
    UserError,
    database_errors,
    shown,
)
from community_directory.queries.members import add, update_profile
from community_directory.queries.privacy import banned_name
from community_directory.queries.values import as_json, username_from

EDITABLE = ("name", "telegram_username", "primary_role", "organization", "country", "profile_data")
"""An import changes these; an empty cell empties them."""
FIXED = ("member_id", "telegram_id", "github_username", "status", "invited_by")
"""These are read for somebody new (but the number, which the directory gives); of others they must be as they are."""
TOLD = ("github_verified", "reputation_score", "reputation_tier", "created_at", "last_active_at")
"""These an import passes over."""
COLUMNS = ("member_id", "telegram_id", *EDITABLE[:5], "github_username", "status", "invited_by", "profile_data", *TOLD)
ACTOR = "import"
REMOVED = {"deleted_at": "at some time"}
LONGEST_CELL = 10_000_000
"""More than a profile can have; Python's own limit is less."""
ENCODING = "utf-8-sig"
"""UTF-8 with a mark that spreadsheets understand."""

EXPORT = f"""
SELECT {", ".join(COLUMNS)} FROM community_members WHERE deleted_at IS NULL ORDER BY length(member_id), member_id
"""
KNOWN = f"""
SELECT {", ".join(COLUMNS)}, deleted_at FROM community_members WHERE telegram_id = ANY($1) OR member_id = ANY($2)
"""
# The rules of members without their triggers, which would give away numbers.
RULES = """
CREATE TEMPORARY TABLE IF NOT EXISTS imported_members (LIKE community_members INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
ON COMMIT DROP
"""
TRIED = (*EDITABLE, *FIXED[1:])
TRY = f"""
INSERT INTO imported_members (member_id, {", ".join(TRIED)})
VALUES ('#9999999999999999999', $1, $2, $3, $4, $5, $6::jsonb, $7, $8, coalesce($9, 'not_member'), $10)
"""

# What a spreadsheet takes for a formula gets an apostrophe in front, and so does what has one, to be told apart.
DANGEROUS = re.compile(r"\s*['=+\-@＝＋－＠]|[\t\r\n]")


class BadLines(UserError):
    """Lines of a file can't be imported, and so none was; `problems` has each one's number and what is wrong."""

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        what = "1 line" if len(problems) == 1 else f"{len(problems):,} lines"
        super().__init__(f"{what} can't be imported, so nothing was changed.")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Imported:
    """How many people a file added, and how many profiles it changed or found as they are."""

    added: int
    changed: int
    unchanged: int


def cell(value: object) -> str:
    """A value as a cell that no spreadsheet takes for a formula; nothing is an empty one."""
    text = "" if value is None else str(value)
    return f"'{text}" if DANGEROUS.match(text) else text


def value_of(text: str) -> str | None:
    """What `cell` was given; an empty cell is nothing."""
    if text.startswith("'") and DANGEROUS.match(text[1:]):
        text = text[1:]
    return text or None


async def export_members(path: Path) -> int:
    """Write everybody but the removed ones to a new file, that only its owner can read, and say how many they are.

    UTF-8 with a mark that spreadsheets understand, no cell a formula; all or nothing. Raises `InvalidInput` when the
    file is there already or can't be written.
    """
    try:
        with _new_file(path) as file:
            return await write_members(file)
    except OSError as error:
        raise InvalidInput(f"Can't write {path}: {error.strerror}.") from error


@contextmanager
def _new_file(path: Path) -> Iterator[IO[str]]:
    """A file that gets its name when all of it is written."""
    if path.exists():
        raise InvalidInput(f"{path} is there already: choose another name.")
    with tempfile.NamedTemporaryFile(
        "w", encoding=ENCODING, newline="", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        written = Path(file.name)
        try:
            yield file
            file.flush()
            written.replace(path)
        except BaseException:
            written.unlink()
            raise


async def write_members(file: IO[str]) -> int:
    """Write everybody but the removed ones as CSV, no cell a formula, and say how many they are."""
    # Quotes around all of it, for spreadsheets that would split cells at a semicolon.
    writer, count = csv.writer(file, quoting=csv.QUOTE_ALL), 0
    writer.writerow(COLUMNS)
    async with transaction() as current:
        async for record in _read_from(current.connection.cursor(EXPORT, prefetch=1000)):
            writer.writerow(map(cell, record))
            count += 1
    return count


async def _read_from(cursor: AsyncIterable[Any]) -> AsyncIterator[Any]:
    with database_errors():
        async for record in cursor:
            yield record


async def import_members(path: Path) -> Imported:
    """Add the people of a file and change the profiles of those who are here: all of it, or nothing.

    A person is known by `member_id` or by `telegram_id`; columns may be left out. The whole file is checked first.
    Raises `BadLines` with every line that is wrong, `InvalidInput` when the file can't be read at all.
    """
    try:
        with path.open(encoding=ENCODING, newline="") as file:
            lines, problems = _read(file)
    except OSError as error:
        raise InvalidInput(f"Can't read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text: save it as CSV UTF-8.") from error
    async with transaction():
        plans = await _planned(lines, problems)
        if problems:
            raise BadLines(sorted(problems))
        # Changes in the order of numbers, like every writer of many members.
        for plan in sorted(plans, key=lambda plan: plan.member_id or ""):
            await _carry_out(plan)
    added = sum(plan.member_id is None for plan in plans)
    changed = sum(plan.member_id is not None and bool(plan.fields) for plan in plans)
    return Imported(added, changed, len(plans) - added - changed)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    values: Mapping[str, str | None]
    """By column; a column that the file doesn't have is missing."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a line asks for: the fields of somebody new, or the changes of a member."""

    line: int
    member_id: str | None
    fields: Mapping[str, Any]


def _read(file: IO[str]) -> tuple[list[_Line], list[tuple[int, str]]]:
    """The lines of a file, and what is wrong with its form."""
    # Spreadsheets of some countries write semicolons.
    first = file.readline()
    file.seek(0)
    reader = csv.reader(file, strict=True, delimiter=";" if first.count(";") > first.count(",") else ",")
    csv.field_size_limit(LONGEST_CELL)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InvalidInput(f"The first line is no CSV: {error}.") from error
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or len(set(header)) < len(header) or not {"member_id", "telegram_id"} & set(header):
        wanted = f"The first line names columns of {', '.join(COLUMNS)}, each once; member_id or telegram_id is needed"
        raise InvalidInput(f"{wanted}. Here it says {shown(', '.join(header))}.")
    lines: list[_Line] = []
    problems: list[tuple[int, str]] = []
    number = reader.line_num + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return lines, problems
        except csv.Error as error:
            problems.append((number, f"This is no CSV: {error}."))
            return lines, problems
        if any("\0" in text for text in cells):
            problems.append((number, "A text is too long, or holds a character that can't be stored."))
        elif len(cells) == len(header):
            lines.append(_Line(number, dict(zip(header, map(value_of, cells), strict=True))))
        elif cells:
            problems.append((number, f"This line has {len(cells)} cells, and the first one {len(header)}."))
        number = reader.line_num + 1


async def _planned(lines: list[_Line], problems: list[tuple[int, str]]) -> list[_Plan]:
    """What each line asks for; those that can't be done are added to the problems."""
    accounts = [account for line in lines if (account := line.values.get("telegram_id"))]
    hashes = [hashed for account in accounts if (hashed := banned_name(account))]
    numbers = [line.values.get(column) for line in lines for column in ("member_id", "invited_by")]
    people = _People(await engine.fetch(KNOWN, accounts + hashes, numbers))
    await engine.fetch(RULES)
    plans = []
    for line in lines:
        try:
            plans.append(await _plan(line, people))
        except (InvalidInput, MemberError, MemberBanned) as error:
            problems.append((line.number, str(error)))
    return plans


class _People:
    """Whom the file is about, as they are before it."""

    def __init__(self, known: list[Any]) -> None:
        self.by_account = {record["telegram_id"]: record for record in known}
        self.by_number = {record["member_id"]: record for record in known}
        self.lines: dict[str, int] = {}
        """In which line each account was."""


async def _plan(line: _Line, people: _People) -> _Plan:
    """What a line asks for, checked against the rules of the database. Raises what is wrong with it."""
    values = line.values
    person = _person(values, people)
    account = values.get("telegram_id") if person is None else person["telegram_id"]
    if account is None:
        raise InvalidInput("Somebody new needs a telegram_id.")
    if account in people.lines:
        raise InvalidInput(f"This person is in line {people.lines[account]} already.")
    people.lines[account] = line.number

    fields = {column: _typed(column, values[column]) for column in EDITABLE if column in values}
    if person is None:
        if banned_name(account) in people.by_account:
            raise MemberBanned
        inviter = values.get("invited_by")
        if inviter is not None and people.by_number.get(inviter, REMOVED)["deleted_at"] is not None:
            raise MemberNotFound(inviter)
        given = {column: _typed(column, values.get(column)) for column in FIXED}
        fields |= {column: value for column, value in given.items() if value is not None}
        row = fields
    else:
        before = {column: _typed(column, person[column] or None) for column in (*EDITABLE, *FIXED)}
        # Compared as JSON, where true is not 1.
        fields = {column: value for column, value in fields.items() if _json(value) != _json(before[column])}
        row = before | fields
    async with transaction():
        columns = (as_json(row.get(column)) if column == "profile_data" else row.get(column) for column in TRIED)
        await engine.fetch(TRY, *columns)
    if person is None and not re.fullmatch(r"(discord:)?[1-9][0-9]{0,19}", account):
        raise InvalidInput("A Telegram id is a number: see that the spreadsheet didn't shorten it.")
    return _Plan(line.number, None if person is None else person["member_id"], fields)


def _person(values: Mapping[str, str | None], people: _People) -> Any:
    """The member that a line is about; None for somebody new. Raises what is wrong."""
    number = values.get("member_id")
    person = people.by_account.get(values.get("telegram_id")) if number is None else people.by_number.get(number)
    if person is None:
        if number is not None:
            raise MemberNotFound(number)
        return None
    if person["deleted_at"] is not None:
        raise InvalidInput(f"Member {person['member_id']} was removed: restore them first.")
    for column in FIXED:
        value = _typed(column, values.get(column))
        if value not in {None, person[column]}:
            raise InvalidInput(f"An import can't change the {column} of member {person['member_id']}.", field=column)
    return person


def _typed(column: str, text: str | None) -> Any:
    """The value of a cell, as the helpers take it. Raises `InvalidInput`."""
    if text is None:
        return None
    if column.endswith("_username"):
        return username_from(text)
    if column != "profile_data":
        return text
    try:
        profile = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput("The profile_data is no JSON.", field=column) from None
    if not isinstance(profile, dict):
        raise InvalidInput("The profile_data must be a JSON object.", field=column)
    return profile


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)


async def _carry_out(plan: _Plan) -> None:
    try:
        if plan.member_id is None:
            await add(**plan.fields, actor=ACTOR)
        elif plan.fields:
            await update_profile(plan.member_id, **plan.fields, actor=ACTOR)
    except (InvalidInput, MemberError, MemberBanned) as error:
        # Somebody else was here between the check and this.
        raise BadLines([(plan.line, str(error))]) from error
