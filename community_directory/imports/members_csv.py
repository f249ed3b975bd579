"""Members as a CSV file: an export for spreadsheets, and an import that adds and changes people."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

import asyncpg
from pydantic import TypeAdapter, ValidationError

from community_directory.database import (
    Statement,
    engine,
    fetch_batches,
    long_running,
    transaction,
)
from community_directory.errors import InvalidInput, MemberNotFound, UserError
from community_directory.imports import IMPORT_ACTOR
from community_directory.imports.csv_file import (
    CsvLine,
    LineProblem,
    create_file,
    format_rows,
    is_blank,
    read_lines,
    read_text,
)
from community_directory.imports.member_batches import add_members, update_profiles
from community_directory.queries.account_lists import OWNED_ACCOUNTS, account_parameters
from community_directory.queries.identifiers import (
    NORMALIZERS,
    clean_identifier,
)
from community_directory.queries.member_rows import profile_values
from community_directory.queries.members import (
    add,
    addition_values,
    check_addable,
    find_erased,
    update_profile,
)
from community_directory.tables import CommunityMember, MemberStatus

EDITABLE_COLUMNS = (
    "name",
    "telegram_username",
    "primary_role",
    "organization",
    "country",
    "profile_data",
)
"""The columns that an import changes; an empty cell removes the value."""
IDENTITY_COLUMNS = ("member_id", "telegram_id")
"""The columns that tell whom a line is about; the directory assigns the `member_id`."""
INSERT_ONLY_COLUMNS = ("github_username", "status", "invited_by")
"""The columns that are read for new people only; an import can't change them."""
MEMBER_REFERENCES = (*IDENTITY_COLUMNS, "invited_by")
"""The columns that tell whom a line is about, and who invited them."""
READ_ONLY_COLUMNS = (
    "github_verified",
    "reputation_score",
    "reputation_tier",
    "created_at",
    "last_active_at",
)
"""The columns that are exported, and ignored by an import."""
UPDATED_AT_COLUMN = "updated_at"
"""The time of the last edit, which tells whether a line is older than another edit."""
CSV_COLUMNS = (
    "member_id",
    "telegram_id",
    "name",
    "telegram_username",
    "primary_role",
    "organization",
    "country",
    "github_username",
    "status",
    "invited_by",
    "profile_data",
    *READ_ONLY_COLUMNS,
    UPDATED_AT_COLUMN,
)
"""The columns of an export, in their order."""
IGNORED_COLUMNS = (
    *(
        column._meta.name
        for column in CommunityMember._meta.columns
        if column._meta.name not in CSV_COLUMNS
    ),
    "invited_by_readable",
    "merged_into_readable",
)
"""The columns that only the panel's download of the members has; an import ignores them."""

EXPORT_MEMBERS = f"""
SELECT {", ".join(CSV_COLUMNS)} FROM community_members WHERE deleted_at IS NULL AND NOT is_bot
ORDER BY length(member_id), member_id
"""
# The members who have these accounts or numbers. The number of a merged member leads to the other
# one.
FIND_KNOWN_MEMBERS = Statement(f"""
SELECT telegram_id AS identifier, member_id FROM {OWNED_ACCOUNTS}
UNION ALL
SELECT member_id, coalesce(merged_into, member_id) FROM community_members
WHERE member_id = ANY(:member_ids)
""")
# The lock keeps the members from being edited between the check and the update. It is taken in the
# order of member_id, as every statement that locks many members does.
LOCK_MEMBERS = Statement(f"""
SELECT {", ".join(CSV_COLUMNS)}, deleted_at FROM community_members
WHERE member_id = ANY(:member_ids)
ORDER BY member_id FOR NO KEY UPDATE
""")
BATCH_LINES = 1000
"""The number of lines that one statement writes."""
ERASED_PREFIXES = ("banned:", "erased:")
"""The prefixes of what stands for the telegram_id of somebody who was erased."""
NUMBER_PATTERN = re.compile(r"^([1-9][0-9]*)$", re.ASCII)
"""The number of a member without the # in front of it."""
PROFILE_ADAPTER = TypeAdapter(dict[str, Any])

LineValues = Mapping[str, str | None]
"""The values of a line by column, without the columns that the line does not have."""


class InvalidLines(UserError):
    """Lines of a file can't be imported, so none was; `problems` has each of them."""

    def __init__(self, problems: list[LineProblem]) -> None:
        count, them = (
            ("1 line", "it") if len(problems) == 1 else (f"{len(problems):,} lines", "them")
        )
        super().__init__(
            f"{count} can't be imported, so nothing was changed. Correct {them} and import the file"
            " again."
        )
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """The numbers of people whom an import added, changed, and left as they were."""

    added: int
    changed: int
    unchanged: int


async def export_members(path: Path) -> int:
    """Write all members except removed ones to a new file, and return their number.

    The file is complete or absent, and only its owner can read it. It is UTF-8 with a byte order
    mark, and spreadsheets run no cell of it as a formula.

    Raises:
        InvalidInput: The file exists already, or can't be written.
    """
    try:
        with create_file(path) as file:
            return await write_members(file)
    except OSError as error:
        raise InvalidInput(f"Can't write {path}: {error.strerror}.") from error


async def write_members(file: IO[str]) -> int:
    """Write all members except removed ones and bots as CSV, and return their number.

    The file has the members of one moment.
    """
    count = 0
    file.write(format_rows([CSV_COLUMNS]))
    async with aclosing(fetch_batches(EXPORT_MEMBERS)) as batches:
        async for records in batches:
            file.write(format_rows(records))
            count += len(records)
    return count


async def import_members(path: Path, *, overwrite: bool = False) -> ImportCounts:
    """Add the new people of a file and change the profiles of the others: all of it, or nothing.

    A line names a person by `member_id`, "#247" or "247", or by `telegram_id`, which may be any
    account of the person, such as "1001" or "discord:123". The number of a merged member leads to
    the other one. The file may leave out other columns.

    A line about somebody who was erased is refused, if DIRECTORY_SECRET_KEY is set.

    A line is refused if it differs from a member who was edited after its `updated_at`. With
    `overwrite` such a line is imported, except the columns that an import can't change. A line
    without `updated_at` is always imported. An import that fails may use up member numbers.

    Raises:
        InvalidLines: Lines can't be imported; the error has all of them.
        InvalidInput: The file can't be read, or its first line is invalid.
    """
    lines, problems = read_lines(
        read_text(path),
        columns=CSV_COLUMNS,
        ignored_columns=IGNORED_COLUMNS,
        identity_columns=IDENTITY_COLUMNS,
    )
    lines = _normalize_identifiers(lines, problems)
    with long_running():
        async with transaction():
            numbers = await _find_known_members(lines)
            members = await engine.fetch(LOCK_MEMBERS, member_ids=list(set(numbers.values())))
            erased = await _find_erased(lines, numbers)
            importer = _MemberImporter(numbers, members, erased, overwrite=overwrite)
            for line in lines:
                await importer.import_line(line)
            await importer.write()
            problems += importer.problems
            if problems:
                raise InvalidLines(sorted(problems))
    unchanged = len(lines) - importer.added - importer.changed
    return ImportCounts(importer.added, importer.changed, unchanged)


def _normalize_identifiers(lines: list[CsvLine], problems: list[LineProblem]) -> list[CsvLine]:
    """Return the lines with each identifier of a member in its one spelling.

    Otherwise a line could not be found to be about somebody whom the directory knows. The lines
    with malformed identifiers are left out, and `problems` gets them.
    """
    normalized = []
    for line in lines:
        try:
            identifiers = {
                column: _parse_value(column, line.values[column])
                for column in MEMBER_REFERENCES
                if column in line.values
            }
        except UserError as error:
            problems.append(LineProblem(line.number, str(error)))
        else:
            normalized.append(replace(line, values={**line.values, **identifiers}))
    return normalized


async def _find_known_members(lines: list[CsvLine]) -> dict[str, str]:
    """Return the present number of each known account and number in a file."""
    records = await engine.fetch(
        FIND_KNOWN_MEMBERS,
        **account_parameters(
            account for line in lines if (account := line.values.get("telegram_id"))
        ),
        member_ids=[
            line.values.get(column) for line in lines for column in ("member_id", "invited_by")
        ],
    )
    return {record["identifier"]: record["member_id"] for record in records}


async def _find_erased(lines: list[CsvLine], numbers: Mapping[str, str]) -> set[str]:
    """Return the accounts of a file whose owner was erased, and which nobody has again."""
    accounts = {account for line in lines if (account := line.values.get("telegram_id"))}
    return await find_erased(list(accounts - numbers.keys()))


@dataclass(frozen=True, slots=True)
class _Addition:
    """The new person of a line: the arguments of `add`, and the parameters of its statement."""

    line_number: int
    fields: dict[str, Any]
    values: dict[str, object]


@dataclass(frozen=True, slots=True)
class _Change:
    """The change of a line: the arguments of `update_profile`, and the parameters."""

    line_number: int
    member_id: str
    fields: dict[str, Any]
    values: dict[str, str | None]


class _NotAllWritten(Exception):
    """A statement did not write all lines of its batch."""


class _MemberImporter:
    """Imports lines in batches; a refused line changes nothing in the database.

    A batch is one statement. If a line of it is refused, its lines are written one after the other,
    so that each has its own error.

    `numbers` are the present numbers of the accounts and the numbers in the lines. `members` are
    the members with these numbers, removed ones included. `erased` are the accounts of people who
    were erased.
    """

    def __init__(
        self,
        numbers: Mapping[str, str],
        members: list[asyncpg.Record],
        erased: set[str],
        *,
        overwrite: bool,
    ) -> None:
        self.added = self.changed = 0
        self.problems: list[LineProblem] = []
        self._additions: list[_Addition] = []
        self._changes: list[_Change] = []
        self._numbers = numbers
        self._members = {member["member_id"]: member for member in members}
        self._erased = erased
        self._overwrite = overwrite
        self._line_numbers: dict[str, int] = {}
        """The number of the line in which each member, or each new account, was found."""

    async def import_line(self, line: CsvLine) -> None:
        """Check a line, and add or change its person with the next batch."""
        try:
            await self._check_line(line)
        except UserError as error:
            self.problems.append(LineProblem(line.number, str(error)))
        if len(self._additions) + len(self._changes) >= BATCH_LINES:
            await self.write()

    async def write(self) -> None:
        """Write the lines that were checked."""
        additions, self._additions = self._additions, []
        changes, self._changes = self._changes, []
        self.added += len(additions)
        self.changed += len(changes)
        if additions and not await self._write_at_once(partial(self._add_all, additions)):
            for addition in additions:
                write = partial(add, **addition.fields, actor=IMPORT_ACTOR)
                await self._write_line(addition.line_number, write)
        by_columns: dict[tuple[str, ...], list[_Change]] = {}
        for change in changes:
            by_columns.setdefault(tuple(change.values), []).append(change)
        for group in by_columns.values():
            if not await self._write_at_once(partial(self._change_all, group)):
                for change in group:
                    fields = dict(change.fields)
                    if "profile_data" in fields:
                        fields["replace_profile_data"] = fields.pop("profile_data")
                    write = partial(update_profile, change.member_id, **fields, actor=IMPORT_ACTOR)
                    await self._write_line(change.line_number, write)

    async def _write_at_once(self, write: Callable[[], Awaitable[None]]) -> bool:
        """Tell whether a statement wrote all of its lines; otherwise it wrote none."""
        try:
            async with transaction():
                await write()
        except (UserError, _NotAllWritten):
            return False
        return True

    async def _add_all(self, additions: list[_Addition]) -> None:
        values = [addition.values for addition in additions]
        if await add_members(values, actor=IMPORT_ACTOR) < len(values):
            raise _NotAllWritten

    async def _change_all(self, changes: list[_Change]) -> None:
        values = [(change.member_id, change.values) for change in changes]
        if await update_profiles(values, actor=IMPORT_ACTOR) < len(values):
            raise _NotAllWritten

    async def _write_line(self, line_number: int, write: Callable[[], Awaitable[object]]) -> None:
        try:
            async with transaction():
                await write()
        except UserError as error:
            self.problems.append(LineProblem(line_number, str(error)))

    async def _check_line(self, line: CsvLine) -> None:
        """Check whom a line adds or changes, and keep it for the next batch.

        Raises:
            UserError: The line can't be imported.
        """
        member = self._find_member(line.values)
        person = line.values.get("telegram_id") if member is None else member["member_id"]
        if person is None:
            raise InvalidInput("A new person needs a telegram_id: add it to this line.")
        if person in self._line_numbers:
            raise InvalidInput(
                f"This person is already in line {self._line_numbers[person]}: keep one of them."
            )
        self._line_numbers[person] = line.number
        inviter = line.values.get("invited_by")
        values = line.values
        if inviter is not None:
            values = {**values, "invited_by": self._numbers.get(inviter, inviter)}
        if member is None:
            await self._keep_addition(line.number, values)
        else:
            await self._keep_change(line.number, member, values)

    def _find_member(self, values: LineValues) -> asyncpg.Record | None:
        """Return the member whom a line is about, or None for a new person.

        Raises:
            InvalidInput: The member was removed or erased.
            MemberNotFound: No member has this `member_id`.
        """
        number = values.get("member_id")
        identifier = number or values.get("telegram_id") or ""
        member = self._members.get(self._numbers.get(identifier, ""))
        if member is None and number is not None:
            raise MemberNotFound(number)
        if member is not None and member["telegram_id"].startswith(ERASED_PREFIXES):
            raise _was_erased()
        if member is not None and member["deleted_at"] is not None:
            raise InvalidInput(f"Member {member['member_id']} was removed: restore them first.")
        return member

    async def _keep_addition(self, line_number: int, values: LineValues) -> None:
        inviter = values.get("invited_by")
        if inviter is not None and (
            inviter not in self._members or self._members[inviter]["deleted_at"]
        ):
            raise MemberNotFound(inviter)
        fields = {
            column: _parse_value(column, values.get(column))
            for column in (*EDITABLE_COLUMNS, "telegram_id", *INSERT_ONLY_COLUMNS)
        }
        fields["status"] = fields["status"] or MemberStatus.NOT_MEMBER
        if fields["telegram_id"] in self._erased:
            await check_addable(fields["telegram_id"])
            raise _was_erased()
        is_banned = fields["status"] == MemberStatus.BANNED
        if is_banned:
            # A person after this line may be refused, and nobody before it.
            await self.write()
        self._additions.append(_Addition(line_number, fields, addition_values(**fields)))
        if is_banned:
            await self.write()

    async def _keep_change(
        self, line_number: int, member: asyncpg.Record, values: LineValues
    ) -> None:
        account = values.get("telegram_id")
        if account is not None and self._numbers.get(account) != member["member_id"]:
            raise _unchangeable(member, "telegram_id")
        changes = _find_profile_changes(member, values)
        if not changes and not _find_differences(member, values, INSERT_ONLY_COLUMNS):
            return
        if not self._was_edited_since(member, values.get(UPDATED_AT_COLUMN)):
            _refuse_changes(member, values, INSERT_ONLY_COLUMNS)
        elif not self._overwrite:
            raise InvalidInput(
                f"Member {member['member_id']} was edited after this file was exported: export the"
                " members again, or import with --overwrite."
            )
        if changes:
            stored = member["profile_data"] or "{}"
            is_account_named = "profile_data" in changes and "discord_id" in {
                **json.loads(stored),
                **(changes["profile_data"] or {}),
            }
            if is_account_named:
                # Another line may name the same account: they count in their order.
                await self.write()
            number = member["member_id"]
            self._changes.append(_Change(line_number, number, changes, profile_values(changes)))
            if is_account_named:
                await self.write()

    def _was_edited_since(self, member: asyncpg.Record, updated_at: str | None) -> bool:
        """Tell whether a member was edited after a line with this `updated_at` was exported.

        Raises:
            InvalidInput: The time is malformed, and edits may not be overwritten.
        """
        if updated_at is None:
            return False
        try:
            exported_edit = datetime.fromisoformat(updated_at.strip())
        except ValueError:
            exported_edit = None
        if exported_edit is not None and exported_edit.utcoffset() is not None:
            # Any other time counts, not only a later one: an edit has the time at which its
            # transaction began, and may be committed after a later one.
            return bool(exported_edit != member[UPDATED_AT_COLUMN])
        if self._overwrite:
            return True
        raise InvalidInput(
            "The updated_at is not as it was exported: undo the change of the spreadsheet, or"
            " import with --overwrite.",
            field=UPDATED_AT_COLUMN,
        )


def _find_profile_changes(member: asyncpg.Record, values: LineValues) -> dict[str, Any]:
    """Return the new values of the columns in which a line changes a member's profile."""
    fields = {
        column: _parse_value(column, values[column])
        for column in EDITABLE_COLUMNS
        if column in values
    }
    # A blank value is that of a blank cell. Values are compared as JSON, because in Python True
    # equals 1.
    stored = {
        column: None if is_blank(member[column] or "") else _parse_value(column, member[column])
        for column in fields
    }
    return {
        column: value
        for column, value in fields.items()
        if _to_sorted_json(value) != _to_sorted_json(stored[column])
    }


def _find_differences(
    member: asyncpg.Record, values: LineValues, columns: Sequence[str]
) -> list[str]:
    """Return the columns in which a line has another value than the member."""
    return [
        column
        for column in columns
        if _parse_value(column, values.get(column)) not in {None, member[column]}
    ]


def _refuse_changes(member: asyncpg.Record, values: LineValues, columns: Sequence[str]) -> None:
    """Check that a line changes none of the columns.

    Raises:
        InvalidInput: It changes one of them.
    """
    for column in _find_differences(member, values, columns):
        raise _unchangeable(member, column)


def _was_erased() -> InvalidInput:
    return InvalidInput(
        "This person was erased: delete the line. They are welcome to join again by themselves.",
        field="telegram_id",
    )


def _unchangeable(member: asyncpg.Record, column: str) -> InvalidInput:
    return InvalidInput(
        f"An import can't change the {column} of member {member['member_id']}.", field=column
    )


def _parse_value(column: str, text: str | None) -> Any:
    """Return the value of a cell as the helpers for members take it.

    Raises:
        InvalidInput: The `profile_data` is not a JSON object, or a text can't be stored.
    """
    if text is None:
        return None
    if column in NORMALIZERS:
        return NORMALIZERS[column](text, column)
    if column in {"member_id", "invited_by"}:
        return NUMBER_PATTERN.sub(r"#\1", clean_identifier(text))
    if column == "status":
        return clean_identifier(text)
    if column != "profile_data":
        return text
    try:
        return PROFILE_ADAPTER.validate_json(text)
    except ValidationError:
        raise InvalidInput("The profile_data must be a JSON object.", field=column) from None


def _to_sorted_json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
