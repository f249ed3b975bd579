"""CSV files as spreadsheets write and open them: cells, lines, and files that are always complete.

A file is read as programs of any country save it: with commas, semicolons, tabs or vertical bars
between the cells, as UTF-8 or as the UTF-16 that Excel calls Unicode text, with a first line
`sep=;`, with rows and columns that are empty, and with names of columns in any case. It is written
so that no program runs a cell as a formula.
"""

import codecs
import csv
import io
import re
import tempfile
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.identifiers import VISIBLE_PATTERN

CSV_ENCODING = "utf-8-sig"
"""UTF-8 with a byte order mark, by which spreadsheets recognize it."""
BYTE_ORDER_MARK = "\ufeff"
MAX_CELL_LENGTH = 10_000_000
"""The longest cell that is read. It is longer than any profile; Python's default is 131,072."""
DELIMITERS = ",;\t|"
"""The characters that may separate cells; the first one that fits does."""

# The mark of UTF-32 begins with that of UTF-16.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
FILE_SIGNATURES = {
    b"PK\x03\x04": "a workbook or an archive",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a compressed file",
}
"""The first bytes of files that people take for CSV, and what they are."""

# Spreadsheets run such cells as formulas, so they get an apostrophe in front. A cell that begins
# with an apostrophe gets another one, so that the original text can be restored. Some programs skip
# invisible characters, or take the other forms of these signs for the same.
UNSAFE_CELL_START = re.compile(
    r"[\s\x00-\x1f\x7f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*"
    r"['=⁼₌﹦＝+⁺₊﬩﹢＋\-−﹣－@﹫＠]|[\t\r\n]"
)

NAME_PUNCTUATION = re.compile(r"[\s_'\u00ad\u200b-\u200f\u2010-\u2015\u2060\ufeff-]")
"""The characters in which the spellings of a column's name differ."""

# Excel reads the delimiter from such a line, and doesn't show it.
DELIMITER_LINE = re.compile(
    r"""[\ufeff ]*"?sep=([^\w\s"']|\t)"?[,;|\t ]*(\r\n|\r|\n|\Z)""", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class CsvLine:
    """A line of a file, with its number and its values."""

    number: int
    values: Mapping[str, str | None]
    """The value of each column that the line has; None for an empty cell."""


class LineProblem(NamedTuple):
    """The number of a line, and why it can't be imported."""

    number: int
    message: str


class _Row(NamedTuple):
    """A line that is not blank."""

    number: int
    cells: list[str]
    ends: bool
    """Whether a line break follows, or another line."""


class _InvalidCsv(Exception):
    """A line is not valid CSV, so the rest of the file can't be read."""

    def __init__(self, number: int, reason: csv.Error) -> None:
        super().__init__(str(reason))
        self.number = number


def escape_cell(value: object) -> str:
    """Return a value as a cell that no spreadsheet runs as a formula; None is an empty cell."""
    text = "" if value is None else str(value)
    return f"'{text}" if UNSAFE_CELL_START.match(text) else text


def unescape_cell(cell: str) -> str | None:
    """Return the text of which `escape_cell` made a cell; an empty cell is None."""
    if cell.startswith("'") and UNSAFE_CELL_START.match(cell[1:]):
        cell = cell[1:]
    return cell or None


def format_rows(rows: Iterable[Iterable[object]], *, delimiter: str = ",") -> str:
    """Return rows as the text of a CSV file, in which every cell is escaped."""
    text = io.StringIO()
    # Every cell has quotes, because some spreadsheets would split it at a semicolon.
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, delimiter=delimiter)
    writer.writerows(map(escape_cell, row) for row in rows)
    return text.getvalue()


@contextmanager
def create_file(path: Path, *, encoding: str = CSV_ENCODING) -> Iterator[IO[str]]:
    """Open a new text file that gets its name only when all of it is written.

    Only its owner can read the file.

    Raises:
        InvalidInput: A file of that name exists, or was created while this one was written.
        OSError: The file can't be written.
    """
    with tempfile.NamedTemporaryFile(
        "w",
        encoding=encoding,
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


def read_text(path: Path) -> str:
    """Return the text of a file that is UTF-8, or the UTF-16 that Excel saves.

    Raises:
        InvalidInput: The file can't be read, is of another kind, or has another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"Can't read {path}: {error.strerror}.") from error
    for signature, kind in FILE_SIGNATURES.items():
        if content.startswith(signature):
            raise InvalidInput(f"{path} is {kind}: open it, and save the sheet as CSV UTF-8.")
    try:
        return content.decode(_find_encoding(content))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not UTF-8 text: save it as CSV UTF-8.") from error


def _find_encoding(content: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding
    # Half of the bytes of a Latin text are NUL.
    if content[:1] == b"\0" != content[1:2]:
        return "utf-16-be"
    if content[:1] != b"\0" == content[1:2]:
        return "utf-16-le"
    return CSV_ENCODING


def read_lines(
    text: str,
    *,
    columns: Collection[str],
    ignored_columns: Collection[str],
    identity_columns: Collection[str],
) -> tuple[list[CsvLine], list[LineProblem]]:
    """Return the valid lines of a file, and the problems of the others.

    The first line that is not blank names some of `columns` and `ignored_columns`, in any case, and
    at least one of `identity_columns`. Blank lines are ignored, and so are columns without a name
    and values. A blank cell is None. A line may lack cells at its end, as Excel leaves empty ones
    out; it then has no value of their columns. A line that is not valid CSV ends the reading.

    Raises:
        InvalidInput: The first line is not valid CSV, or names no such columns.
    """
    names = {_fold_name(name): name for name in (*columns, *ignored_columns)}
    lines: list[CsvLine] = []
    problems: list[LineProblem] = []
    with _allow_long_cells():
        rows = _read_rows(text, _find_delimiter(text, names))
        header = _read_header(rows, names, columns, identity_columns)
        try:
            for row in rows:
                if problem := _find_problem(row, header):
                    problems.append(LineProblem(row.number, problem))
                else:
                    cells = zip(header, row.cells, strict=False)
                    values = {
                        name: None if is_blank(text := unescape_cell(cell) or "") else text
                        for name, cell in cells
                        if name
                    }
                    lines.append(CsvLine(row.number, values))
        except _InvalidCsv as error:
            message = (
                f"This is not valid CSV ({error}), so the rest of the file was not read."
                " Correct this line first."
            )
            problems.append(LineProblem(error.number, message))
    return lines, problems


def _fold_name(name: str) -> str:
    """Return what all spellings of a column's name share, such as Telegram ID and telegram_id."""
    return NAME_PUNCTUATION.sub("", unicodedata.normalize("NFKC", name).casefold())


def is_blank(cell: str) -> bool:
    """Tell whether a cell has only white space and invisible characters."""
    return not VISIBLE_PATTERN.search(cell)


@contextmanager
def _allow_long_cells() -> Iterator[None]:
    """Raise the csv module's limit on the length of a cell, which the whole process shares."""
    before = csv.field_size_limit(MAX_CELL_LENGTH)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _find_delimiter(text: str, names: Collection[str]) -> str:
    """Return the delimiter that the file names, or with which its first line has most names."""
    if named := DELIMITER_LINE.match(text):
        return named[1]

    def count_names(delimiter: str) -> int:
        try:
            row = next(_read_rows(text, delimiter), None)
        except _InvalidCsv:
            return -1
        return 0 if row is None else sum(_fold_name(cell) in names for cell in row.cells)

    return max(DELIMITERS, key=count_names)


def _read_rows(text: str, delimiter: str) -> Iterator[_Row]:
    """Yield the lines of a file that are not blank.

    Raises:
        _InvalidCsv: A line is not valid CSV.
    """
    file, number = io.StringIO(text, newline=""), 1
    if named := DELIMITER_LINE.match(text):
        file.seek(named.end())
        number = 2
    before = number - 1
    reader = csv.reader(file, strict=True, delimiter=delimiter, skipinitialspace=True)
    try:
        for cells in reader:
            if not all(map(is_blank, cells)):
                ends = file.tell() < len(text) or text.endswith(("\r", "\n"))
                yield _Row(number, cells, ends)
            number = before + reader.line_num + 1
    except csv.Error as error:
        raise _InvalidCsv(number, error) from error


def _read_header(
    rows: Iterator[_Row],
    names: Mapping[str, str],
    columns: Collection[str],
    identity_columns: Collection[str],
) -> list[str | None]:
    """Return the columns that the first line names; None for one without a name.

    Raises:
        InvalidInput: The line is not valid CSV, a name is unknown or repeated, or no column tells
            whom a line is about.
    """
    try:
        row = next(rows, None)
    except _InvalidCsv as error:
        raise InvalidInput(
            f"The first line is not valid CSV ({error}): save the file as CSV UTF-8."
        ) from error
    cells = [] if row is None else [cell.strip() for cell in row.cells]
    named = [cell for cell in cells if not is_blank(cell)]
    unknown = [name for name in named if _fold_name(name) not in names]
    header = [names.get(_fold_name(cell)) for cell in cells]
    found = {name for name in header if name}
    if not unknown and len(found) == len(named) and found & set(identity_columns):
        return header
    problem = f"There is no column {sanitize_for_message(', '.join(unknown))}. " if unknown else ""
    shown = sanitize_for_message(", ".join(cells)) or "nothing"
    raise InvalidInput(
        f"{problem}The first line must name each column once, and"
        f" {' or '.join(identity_columns)} among them. The columns are"
        f" {', '.join(columns)}. Here it says {shown}."
    )


def _find_problem(row: _Row, header: Sequence[str | None]) -> str | None:
    """Return why the cells of a line can't be read, or None if they can."""
    if any("\0" in cell for cell in row.cells):
        return "This line has a NUL character, which can't be stored: remove it."
    count, expected = len(row.cells), len(header)
    if not all(map(is_blank, row.cells[expected:])):
        return f"This line has {count} cells, but the first line has {expected}."
    if count < expected and not row.ends:
        return (
            f"The file ends in this line, which has {count} cells instead of {expected}: "
            "save or download the file again."
        )
    for position, (name, cell) in enumerate(zip(header, row.cells, strict=False), 1):
        if name is None and not is_blank(cell):
            return (
                f"This line has a value in column {position}, which has no name in the first"
                " line: name the column, or empty it."
            )
    return None
