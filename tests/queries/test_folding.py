"""Texts are folded as people expect, in every script; a part of a text folds to a part of it."""

import re
import unicodedata
from functools import cache
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from community_directory.queries.folding import contains_pattern, fold, fold_needle
from community_directory.queries.folding_table import UNASSIGNED

CHARACTERS = (*range(1, 0xD800), *range(0xE000, 0x110000))
"""The numbers of all characters that a text of PostgreSQL can contain."""


@cache
def assigned() -> str:
    """Return every character of the table's version of Unicode, which takes a second to find."""
    return re.sub(f"[{UNASSIGNED}]+", "", "".join(map(chr, CHARACTERS)))


# Two spellings that a search does not tell apart, in many scripts.
EQUAL = [
    # Case.
    ("Weiß", "WEISS"),
    ("STRASSER", "straßer"),
    ("STRAẞE", "strasse"),
    ("Әсел", "ӘСЕЛ"),
    ("Қанат Ғабит", "ҚАНАТ ҒАБИТ"),
    ("Ұлан Үміт", "ұлан үміт"),
    ("Ҳамид Ҷӯра", "ҲАМИД ҶУРА"),
    ("Արմեն Պետրոսյան", "ԱՐՄԵՆ ՊԵՏՐՈՍՅԱՆ"),
    ("ԵՒ", "և"),
    ("Ɗanladi Ƙaura", "ɗanladi ƙaura"),
    ("Ɛsi Ɔkoto", "ɛsi ɔkoto"),
    ("ŊGŨGĨ", "ŋgugi"),
    ("გიორგი", "ᲒᲘᲝᲠᲒᲘ"),
    ("ႢႨႭႰႢႨ", "ⴂⴈⴍⴐⴂⴈ"),
    ("ᏣᎳᎩ", "ꮳꮃꭹ"),
    ("ΝΊΚΟΣ", "νικος"),
    ("ᾼδης", "ΑΙΔΗΣ"),
    ("İstanbul Diyarbakır", "ISTANBUL diyarbakir"),
    ("ǅura", "Ǆura"),
    ("𐐔𐐯𐑅𐐨𐑉𐐯𐐻", "𐐼𐐯𐑅𐐨𐑉𐐯𐐻"),
    # Accents and points.
    ("José", "Jose\u0301"),
    ("Nguyễn", "NGUYEN"),
    ("Марина Ёлкина", "марина елкина"),
    ("مُحَمَّد", "محمد"),
    ("محـــمد", "محمد"),
    ("أحمد إبراهيم آدم", "احمد ابراهيم ادم"),
    ("رُؤْيَة", "رويه"),
    ("علی کریمی", "علي كريمي"),
    ("ﷴ", "محمد"),
    ("שָׁלוֹם", "שלום"),
    ("שּׁ", "ש"),
    ("ܫܠܳܡ", "ܫܠܡ"),
    ("ज़ोया", "जोया"),
    ("क़ादिर", "क\u093cादिर"),
    ("चाँद", "चांद"),
    ("ড়", "ড"),
    ("น้ำ", "นำ"),
    ("ガンダム", "ｶﾞﾝﾀﾞﾑ"),
    ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
    # Without the invisible character between them, two vowels are in another order.
    ("ཀ\u0f72\u200d\u0f71", "ཀ\u0f71\u0f72"),
    # Letters that people type as others.
    ("Ørsted Łukasz Đorđe", "orsted lukasz dorde"),
    ("Ægir Œuvre Þór Guðrún", "aegir oeuvre thor gudrun"),
    ("Ɗanladi Ƙaura", "Danladi Kaura"),
    ("Ａｎａ", "ana"),
    ("ﬁve", "FIVE"),
    ("𝓐𝓷𝓪", "ana"),
    # Apostrophes, quotation marks and dashes.
    *((f"O{sign}Neill", "o'neill") for sign in "'’‘‛‚ʼʻʽʾʿ`´′‵＇｀ʹˈˊˋ‹›՚׳Ꞌꞌ΄᾽᾿῾"),
    *((f"Anne{sign}Marie", "anne-marie") for sign in "-‐‑‒–—―−﹘﹣－⁃˗־֊᐀᠆⸺⸻〜〰゠⁻₋➖︱︲"),
    *((f"Grupo {sign}Sol", 'grupo "sol') for sign in '"“”„‟«»＂״ʺ❝❞〝〞〟'),
    # Spaces and invisible characters.
    *((f"Ana{space}García", "ana garcia") for space in "\u00a0\u1680\u2003\u2009\u202f\u2028"),
    *((f"Ana{space}García", "ana garcia") for space in "\u3000\u2800\t\n\r\v\f\x85\x1f"),
    ("Ana  \u00a0 García", "ana garcia"),
    ("Ana \u200b García", "ana garcia"),
    *((f"A{sign}na", "ana") for sign in "\u00ad\u034f\u061c\u115f\u1160\u17b4\u180e\u200b\u200c"),
    *((f"A{sign}na", "ana") for sign in "\u200d\u200e\u202e\u2060\u2066\u2069\u3164\ufe0f\ufeff"),
    *((f"A{sign}na", "ana") for sign in "\uffa0\x01\x1b\x7f\x9f\U000e0041\U000e0100"),
]

# Two texts that a search tells apart.
DIFFERENT = [
    ("कि", "क"),  # vowel signs
    ("कु", "क"),
    ("क्र", "कर"),  # the virama joins letters
    ("अंग", "अग"),  # the anusvara is a sound
    ("ถุง", "ถง"),
    ("ދިވެހި", "ދވހ"),
    ("が", "か"),
    ("Ana Maria", "AnaMaria"),
    ("Anne-Marie", "Anne Marie"),
    ("O'Neill", "ONeill"),
    ("100%", "100"),
    ("a_b", "ab"),
    ("ana@corp", "anacorp"),
]

NOTHING = ["", " ", "\u0301", "\u0301\u0308", "\u200b", "\u00ad\ufeff", "\u3164", "\u2800", "َُِّ"]
NOTHING += ["\u0640", "\ufe0f\u200d", "¨", "\u00a0\u2003", "\x01\x7f", "\U000e0041"]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_different_spellings_of_a_text_are_equal(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_is_left_of_a_text_of_accents_or_invisible_characters(text: str) -> None:
    assert fold_needle(text) == ""
    assert contains_pattern(fold_needle(text)) is None


@pytest.mark.parametrize(
    ("typed", "needle"),
    [
        ("@Mona", "mona"),
        (" ＠mona", "mona"),
        ("@ mona", "mona"),
        ("@@mona", "mona"),
        ("\u200e@mona", "mona"),
        ("@", "@"),
        ("ana@corp.org", "ana@corp.org"),
    ],
)
def test_an_at_sign_before_a_username_is_left_out(typed: str, needle: str) -> None:
    assert fold_needle(typed) == needle


def test_a_pattern_has_no_other_wildcards() -> None:
    assert contains_pattern(fold_needle("5％ a＿b＼")) == r"%5\% a\_b\\%"


def test_every_letter_is_folded_like_its_other_cases() -> None:
    new = re.compile(f"[{UNASSIGNED}]")  # a newer Python knows further capitals
    for letter in assigned():
        cases = {letter.casefold(), letter.upper(), letter.lower(), letter.title()} - {letter}
        for case in cases:
            if not new.search(case):
                assert fold(case) == fold(letter), hex(ord(letter))


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_every_character_is_folded_like_its_normalization_forms(
    form: Literal["NFC", "NFD", "NFKC", "NFKD"],
) -> None:
    for character in assigned():
        if not unicodedata.is_normalized(form, character):
            normalized = unicodedata.normalize(form, character)
            assert fold(normalized) == fold(character), hex(ord(character))


def test_folding_a_folded_text_changes_nothing() -> None:
    for character in assigned():
        once = fold(character)
        assert fold(once) == once, hex(ord(character))


def test_every_accent_or_point_of_alphabets_makes_no_difference() -> None:
    scripts = ("COMBINING", "ARABIC", "HEBREW", "SYRIAC", "SAMARITAN", "MANDAIC", "NKO", "ADLAM")
    # The voiced sound marks of Japan make another letter; the iota subscript is a letter.
    letters = {"\u3099", "\u309a", "\u0345"}
    marks = [
        mark
        for mark in assigned()
        if unicodedata.category(mark) in ("Mn", "Me")
        and unicodedata.name(mark).startswith(scripts)
        and mark not in letters
    ]
    assert len(marks) > 400
    assert [mark for mark in marks if fold(f"a{mark}b") != "ab"] == []


@pytest.mark.parametrize("character", ["\u0378", "\U0001e4ee", "\ua7dc", "\U0010ffff", "\ue000"])
def test_a_character_that_the_table_does_not_have_stays_as_it_is(character: str) -> None:
    assert fold(f"Á {character} Á") == f"a {character} a"


MARKS = [character for character in assigned() if unicodedata.category(character)[0] == "M"]
TEXTS = st.text(
    st.sampled_from("aÀß ´'‐\u00a0\u200b\u0301\u0345カが\u3099नि्\u093cأ\u064e한\u1112\u1161\u0378")
    | st.characters(codec="utf-8", exclude_characters="\0")
    | st.sampled_from(MARKS),
    max_size=12,
)


@given(TEXTS)
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


# Normalization changes the order of some marks, which then are no part of the text any more.
@given(TEXTS, TEXTS, TEXTS)
def test_a_part_of_a_text_folds_to_a_part_of_the_folded_text(
    before: str, text: str, after: str
) -> None:
    whole = f"{before}|{text}|{after}"
    assert fold(f"|{text}|") in fold(whole)


@given(TEXTS)
def test_a_folded_text_has_no_two_spaces_in_a_row(text: str) -> None:
    assert "  " not in fold(text)
