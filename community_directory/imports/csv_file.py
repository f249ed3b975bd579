"""CSV files that spreadsheets open safely: cells, lines, and files that are always complete."""

import csv
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from community_directory.errors import InvalidInput, sanitize_for_message

CSV_ENCODING = "utf-8-sig"
"""UTF-8 with a byte order mark, by which spreadsheets recognize it."""
MAX_CELL_LENGTH = 10_000_000
"""The longest cell that is read. It is longer than any profile; Python's default is 131,072."""

# Spreadsheets run such cells as formulas, so they get an apostrophe in front. A cell that begins
# with an apostrophe gets another one, so that the original text can be restored.
UNSAFE_CELL_START = re.compile(r"\s*['=+\-@＝＋－＠]|[\t\r\n]")


@dataclass(frozen=True, slots=True)
class CsvLine:
    """A line of a file, with its number and its values."""

    number: int
    values: Mapping[str, str | None]
    """The value of each column that the file has; None for an empty cell."""


class LineProblem(NamedTuple):
    """The number of a line, and why it can't be imported."""

    number: int
    message: str


def escape_cell(value: object) -> str:
    """Return a value as a cell that no spreadsheet runs as a formula; None is an empty cell."""
    text = "" if value is None else str(value)
    return f"'{text}" if UNSAFE_CELL_START.match(text) else text


def unescape_cell(cell: str) -> str | None:
    """Return the text of which `escape_cell` made a cell; an empty cell is None."""
    if cell.startswith("'") and UNSAFE_CELL_START.match(cell[1:]):
        cell = cell[1:]
    return cell or None


@contextmanager
def create_file(path: Path) -> Iterator[IO[str]]:
    """Open a new text file that gets its name only when all of it is written.

    Only its owner can read the file.

    Raises:
        InvalidInput: A file of that name exists, or was created while this one was written.
        OSError: The file can't be written.
    """
    with tempfile.NamedTemporaryFile(
        "w",
        encoding=CSV_ENCODING,
        newline="",
        dir=path.parent,
        prefix=f".{path.name}.",
        delete=False,
    ) as file:
        temporary = Path(file.name)
        try:
            yield file
            file.flush()
            _rename_without_overwriting(temporary, path)
        except FileExistsError:
            raise InvalidInput(f"{path} already exists: choose another name.") from None
        finally:
            temporary.unlink(missing_ok=True)


def _rename_without_overwriting(temporary: Path, path: Path) -> None:
    """Give a temporary file its name.

    Raises:
        FileExistsError: Another file has that name.
    """
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:
        # The file system has no hard links: an empty file reserves the name.
        path.touch(exist_ok=False)
        temporary.replace(path)


def read_lines(
    file: IO[str], *, columns: Collection[str], identity_columns: Collection[str]
) -> tuple[list[CsvLine], list[LineProblem]]:
    """Return the valid lines of a file, and the problems of the others.

    The first line names some of `columns`, and at least one of `identity_columns`. Cells are
    separated by commas, or by semicolons as spreadsheets of some countries write them. Empty lines
    are ignored. A line that is not valid CSV ends the reading.

    Raises:
        InvalidInput: The first line is not valid CSV, or names no such columns.
    """
    first_line = file.readline()
    file.seek(0)
    delimiter = ";" if first_line.count(";") > first_line.count(",") else ","
    reader = csv.reader(file, strict=True, delimiter=delimiter)
    lines: list[CsvLine] = []
    problems: list[LineProblem] = []
    with _allow_long_cells():
        header = _read_header(reader, columns, identity_columns)
        number = reader.line_num + 1
        try:
            for cells in reader:
                problem = _find_problem(cells, header)
                if problem is not None:
                    problems.append(LineProblem(number, problem))
                elif cells:
                    values = map(unescape_cell, cells)
                    lines.append(CsvLine(number, dict(zip(header, values, strict=True))))
                number = reader.line_num + 1
        except csv.Error as error:
            message = (
                f"This is not valid CSV ({error}), so the rest of the file was not read."
                " Correct this line first."
            )
            problems.append(LineProblem(number, message))
    return lines, problems


@contextmanager
def _allow_long_cells() -> Iterator[None]:
    """Raise the csv module's limit on the length of a cell, which the whole process shares."""
    before = csv.field_size_limit(MAX_CELL_LENGTH)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_header(
    reader: Iterator[list[str]], columns: Collection[str], identity_columns: Collection[str]
) -> list[str]:
    """Return the names of columns in the first line.

    Raises:
        InvalidInput: The line is not valid CSV, a name is unknown or repeated, or no column tells
            whom a line is about.
    """
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InvalidInput(
            f"The first line is not valid CSV ({error}): save the file as CSV UTF-8."
        ) from error
    names = set(header)
    if names <= set(columns) and len(names) == len(header) and names & set(identity_columns):
        return header
    unknown = ", ".join(name for name in header if name and name not in columns)
    problem = f"There is no column {sanitize_for_message(unknown)}. " if unknown else ""
    found = sanitize_for_message(", ".join(header)) or "nothing"
    raise InvalidInput(
        f"{problem}The first line must name each column once, and"
        f" {' or '.join(identity_columns)} among them. The columns are"
        f" {', '.join(columns)}. Here it says {found}."
    )


def _find_problem(cells: Sequence[str], header: Sequence[str]) -> str | None:
    """Return why the cells of a line can't be read, or None if they can."""
    if any("\0" in cell for cell in cells):
        return "This line has a NUL character, which can't be stored: remove it."
    if cells and len(cells) != len(header):
        return f"This line has {len(cells)} cells, but the first line has {len(header)}."
    return None
