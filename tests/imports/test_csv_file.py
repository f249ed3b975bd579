"""Cells of a CSV file that no spreadsheet runs as formulas."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.imports.csv_file import (
    escape_cell,
    format_rows,
    read_lines,
    read_text,
    unescape_cell,
)
from community_directory.queries.identifiers import VISIBLE_PATTERN
from tests.imports.test_members_csv import AWKWARD_TEXTS, TEXTS

FORMULA_STARTS = tuple("=+-@＝＋－＠")
INVISIBLE_TEXTS = [
    "",
    " ",
    "\xa0",
    "\u3000",
    "\x01",
    "\x7f",
    "\u00ad",
    "\u200b",
    "\u202e",
    "\ufeff",
]


@given(
    TEXTS
    | st.sampled_from(AWKWARD_TEXTS)
    | st.text(st.sampled_from("'=+-@＝＠\t\r\n \u3000a"), min_size=1, max_size=6)
)
def test_an_escaped_text_is_restored_and_is_no_formula(text: str) -> None:
    assert unescape_cell(escape_cell(text)) == text
    assert not escape_cell(text).lstrip().startswith(FORMULA_STARTS)
    assert not escape_cell(text).startswith(("\t", "\r", "\n"))


@pytest.mark.parametrize("invisible", INVISIBLE_TEXTS)
def test_no_form_of_a_sign_begins_a_formula_behind_invisible_characters(invisible: str) -> None:
    signs = [
        sign
        for sign in map(chr, range(sys.maxunicode + 1))
        if unicodedata.normalize("NFKC", sign) in ("=", "+", "-", "@")
    ]
    assert len(signs) >= 16
    for sign in signs:
        text = f"{invisible}{sign}1"
        assert escape_cell(text) == f"'{text}"
        assert unescape_cell(escape_cell(text)) == text


@pytest.mark.parametrize("text", ["'tis", "'90s", "O'Neill", "'"])
def test_an_apostrophe_that_a_person_typed_stays(text: str) -> None:
    assert unescape_cell(text) == text


@given(
    table=st.lists(st.tuples(TEXTS, TEXTS | st.just(""), TEXTS), max_size=4),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    names_delimiter=st.booleans(),
    has_blanks=st.booleans(),
)
def test_a_file_is_read_as_it_was_written_in_any_form(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[str, str, str]],
    delimiter: str,
    encoding: str,
    *,
    names_delimiter: bool,
    has_blanks: bool,
) -> None:
    table = [row for row in table if any(cell.isalnum() for cell in row[0])]
    written: list[tuple[str, ...]] = [("Member ID", "name", "Primary Role"), *table]
    if has_blanks:
        written = [row for line in written for row in (line, ("", " ", "", ""))]
    text = f"sep={delimiter}\r\n" if names_delimiter else ""
    file = tmp_path_factory.getbasetemp() / "any-form.csv"
    file.write_bytes((text + format_rows(written, delimiter=delimiter)).encode(encoding))
    lines, problems = read_lines(
        read_text(file),
        columns=("member_id", "name", "primary_role"),
        ignored_columns=(),
        identity_columns=("member_id",),
    )
    assert problems == []
    assert [tuple(line.values.values()) for line in lines] == [
        tuple(cell if VISIBLE_PATTERN.search(cell) else None for cell in row) for row in table
    ]
