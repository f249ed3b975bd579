"""Cells of a CSV file that no spreadsheet runs as formulas."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.imports.csv_file import escape_cell, unescape_cell
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
