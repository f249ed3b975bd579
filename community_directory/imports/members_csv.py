"""Members as a CSV file for a spreadsheet, and back: people are added and profiles changed as the file says."""

import csv
import json
import re
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from pydantic import TypeAdapter, ValidationError

from community_directory.database import engine, transaction
from community_directory.errors import (
    InvalidInput,
    MemberNotFound,
    UserError,
    database_errors,
    sanitize_for_message,
)
from community_directory.queries.members import add, update_profile
from community_directory.queries.values import username_from
from community_directory.tables import MemberStatus

EDITABLE = ("name", "telegram_username", "primary_role", "organization", "country", "profile_data")
"""An import changes these; an empty cell empties them."""
WHO = ("member_id", "telegram_id")
"""These say whom a line is about; the number is given by the directory."""
FIXED = ("github_username", "status", "invited_by")
"""These are read for somebody new; of others they must be as they are."""
TOLD = ("github_verified", "reputation_score", "reputation_tier", "created_at", "last_active_at")
"""These an import passes over."""
UPDATED_AT = "updated_at"
"""When the member was last edited, which tells a line that is older than another edit."""
COLUMNS = (
    *(*WHO, *EDITABLE[:5], "github_username", "status", "invited_by", "profile_data"),
    *(*TOLD, UPDATED_AT),
)
ACTOR = "import"
LONGEST_CELL = 10_000_000
"""More than a profile can have; Python's own limit is less."""
ENCODING = "utf-8-sig"
"""UTF-8 with a mark that spreadsheets understand."""

EXPORT = f"""
SELECT {", ".join(COLUMNS)} FROM community_members WHERE deleted_at IS NULL ORDER BY length(member_id), member_id
"""
# Locked, so that nobody edits a member between the check and the writing, and in the order in which
# every writer of many members locks them.
KNOWN = f"""
SELECT {", ".join(COLUMNS)}, deleted_at FROM community_members WHERE telegram_id = ANY($1) OR member_id = ANY($2)
ORDER BY member_id FOR NO KEY UPDATE
"""
PROFILE = TypeAdapter(dict[str, Any])

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
    """A file that gets its name when all of it is written, unless the name was taken by then."""
    with tempfile.NamedTemporaryFile(
        "w", encoding=ENCODING, newline="", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        written = Path(file.name)
        try:
            yield file
            file.flush()
            _give_name(written, path)
        except FileExistsError:
            raise InvalidInput(f"{path} is there already: choose another name.") from None
        finally:
            written.unlink(missing_ok=True)


def _give_name(written: Path, path: Path) -> None:
    """Name a file as no other one is named. Raises `FileExistsError`."""
    try:
        path.hardlink_to(written)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: an empty file takes the name first.
        path.touch(exist_ok=False)
        written.replace(path)


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


async def import_members(path: Path, *, overwrite: bool = False) -> Imported:
    """Add the people of a file and change the profiles of those who are here: all of it, or nothing.

    A person is known by `member_id` or by `telegram_id`; columns may be left out. A line that
    differs from a member who was edited after its `updated_at` is refused, except with `overwrite`;
    a line without `updated_at` is imported whatever was edited. What an import can't change is passed
    over in a line that overwrites another edit. A refused import may use up numbers.

    Raises:
        BadLines: Lines are wrong; it has all of them.
        InvalidInput: The file can't be read at all.
    """
    try:
        with path.open(encoding=ENCODING, newline="") as file, _long_cells():
            lines, problems = _read(file)
    except OSError as error:
        raise InvalidInput(f"Can't read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text: save it as CSV UTF-8.") from error
    async with transaction():
        importer = _Importer(await _known(lines), overwrite=overwrite)
        for line in lines:
            try:
                await importer.take(line)
            except UserError as error:
                problems.append((line.number, str(error)))
        if problems:
            raise BadLines(sorted(problems))
    return Imported(
        importer.added, importer.changed, len(lines) - importer.added - importer.changed
    )


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    values: Mapping[str, str | None]
    """By column; a column that the file doesn't have is missing."""


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let the csv module take cells of this length; its limit is one for the whole process."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read(file: IO[str]) -> tuple[list[_Line], list[tuple[int, str]]]:
    """The lines of a file, and what is wrong with its form."""
    # Spreadsheets of some countries write semicolons.
    first = file.readline()
    file.seek(0)
    reader = csv.reader(
        file, strict=True, delimiter=";" if first.count(";") > first.count(",") else ","
    )
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InvalidInput(f"The first line is no CSV: {error}.") from error
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or len(set(header)) < len(header) or not {"member_id", "telegram_id"} & set(header):
        wanted = f"The first line names columns of {', '.join(COLUMNS)}, each once; member_id or telegram_id is needed"
        raise InvalidInput(f"{wanted}. Here it says {sanitize_for_message(', '.join(header))}.")
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
            problems.append(
                (number, "A text is too long, or holds a character that can't be stored.")
            )
        elif len(cells) == len(header):
            lines.append(_Line(number, dict(zip(header, map(value_of, cells), strict=True))))
        elif cells:
            problems.append(
                (number, f"This line has {len(cells)} cells, and the first one {len(header)}.")
            )
        number = reader.line_num + 1


async def _known(lines: list[_Line]) -> list[Any]:
    """The members whom the file is about, and those who invited somebody new."""
    accounts = [line.values.get("telegram_id") for line in lines]
    numbers = [line.values.get(column) for line in lines for column in ("member_id", "invited_by")]
    return await engine.fetch(KNOWN, accounts, numbers)


class _Importer:
    """Takes one line after the other; each that is refused leaves nothing behind."""

    def __init__(self, known: list[Any], *, overwrite: bool) -> None:
        self.added = self.changed = 0
        self._by_account = {record["telegram_id"]: record for record in known}
        self._by_number = {record["member_id"]: record for record in known}
        self._overwrite = overwrite
        self._lines: dict[str, int] = {}
        """In which line each account was."""

    async def take(self, line: _Line) -> None:
        """Add or change the person of a line. Raises what is wrong with it."""
        person = self._person(line.values)
        account = line.values.get("telegram_id") if person is None else person["telegram_id"]
        if account is None:
            raise InvalidInput("Somebody new needs a telegram_id.")
        if account in self._lines:
            raise InvalidInput(f"This person is in line {self._lines[account]} already.")
        self._lines[account] = line.number
        if person is None:
            await self._add(account, line.values)
        else:
            await self._change(person, line.values)

    def _person(self, values: Mapping[str, str | None]) -> Any:
        """The member that a line is about; None for somebody new."""
        number = values.get("member_id")
        if number is None:
            person = self._by_account.get(values.get("telegram_id"))
        elif (person := self._by_number.get(number)) is None:
            raise MemberNotFound(number)
        if person is not None and person["deleted_at"] is not None:
            raise InvalidInput(f"Member {person['member_id']} was removed: restore them first.")
        return person

    async def _add(self, account: str, values: Mapping[str, str | None]) -> None:
        if not re.fullmatch(r"(discord:)?[1-9][0-9]{0,19}", account):
            raise InvalidInput(
                "A Telegram id is a number: see that the spreadsheet didn't shorten it."
            )
        inviter = values.get("invited_by")
        if inviter is not None and (
            inviter not in self._by_number or self._by_number[inviter]["deleted_at"]
        ):
            raise MemberNotFound(inviter)
        fields = {
            column: _typed(column, values.get(column))
            for column in (*EDITABLE, "telegram_id", *FIXED)
        }
        fields["status"] = fields["status"] or MemberStatus.NOT_MEMBER
        async with transaction():
            await add(**fields, actor=ACTOR)
        self.added += 1

    async def _change(self, person: Any, values: Mapping[str, str | None]) -> None:
        number = person["member_id"]
        _refuse(person, values, WHO)
        fields = {column: _typed(column, values[column]) for column in EDITABLE if column in values}
        # Compared as JSON, where true is not 1.
        changes = {
            column: value
            for column, value in fields.items()
            if _json(value) != _json(_typed(column, person[column] or None))
        }
        if not changes and not _differing(person, values, FIXED):
            return
        if not self._is_outdated(person, values.get(UPDATED_AT)):
            _refuse(person, values, FIXED)
        elif not self._overwrite:
            raise InvalidInput(
                f"Member {number} was edited after this file was exported: export again, or import with --overwrite."
            )
        if changes:
            async with transaction():
                await update_profile(number, **changes, actor=ACTOR)
            self.changed += 1

    def _is_outdated(self, person: Any, updated_at: str | None) -> bool:
        """Whether a member was edited after a line of that `updated_at` was written."""
        if updated_at is None:
            return False
        try:
            edited = datetime.fromisoformat(updated_at)
        except ValueError:
            edited = None
        if edited is not None and edited.utcoffset() is not None:
            # Another time, not a later one: an edit bears the time at which its transaction began.
            return bool(edited != person[UPDATED_AT])
        if self._overwrite:
            return True
        raise InvalidInput(
            "The updated_at is not as it was exported: undo what the spreadsheet made of it, or import with"
            " --overwrite.",
            field=UPDATED_AT,
        )


def _differing(person: Any, values: Mapping[str, str | None], columns: Sequence[str]) -> list[str]:
    """The columns in which a line, where it says anything, differs from the member."""
    return [
        column
        for column in columns
        if _typed(column, values.get(column)) not in {None, person[column]}
    ]


def _refuse(person: Any, values: Mapping[str, str | None], columns: Sequence[str]) -> None:
    """Raise `InvalidInput` if a line would change one of the columns."""
    for column in _differing(person, values, columns):
        raise InvalidInput(
            f"An import can't change the {column} of member {person['member_id']}.", field=column
        )


def _typed(column: str, text: str | None) -> Any:
    """The value of a cell, as the helpers take it. Raises `InvalidInput`."""
    if text is None:
        return None
    if column.endswith("_username"):
        return username_from(text, column)
    if column != "profile_data":
        return text
    try:
        return PROFILE.validate_json(text)
    except ValidationError:
        raise InvalidInput("The profile_data must be a JSON object.", field=column) from None


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
