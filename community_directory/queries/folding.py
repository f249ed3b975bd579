"""Fold texts as searches compare them, exactly as the SQL function directory_search_text does.

The search helpers and the panel fold what people typed here, so that they know before they ask the
database whether anything of it is left, and whether an index can find it.

Two texts are equal after folding if they differ only in

- case, by Unicode's full case folding: STRASSE is Straße, and the iota subscript is an iota;
- forms that compatibility decomposition (NFKD) makes equal, such as full-width letters, ligatures
  and Hangul;
- accents and points, which are nonspacing marks. Marks that write a vowel, join letters or make
  another letter of a kana do make a difference: vowel signs, viramas and anusvaras of Devanagari
  and related scripts, the vowels of Thai, and Japan's voiced sound marks. The points of Arabic and
  Hebrew, nuktas and the tones of Thai make none, and Devanagari's candrabindu is an anusvara;
- a stroke, hook or tail of a Latin letter, and letters that people type as others: æ is ae, ŋ is
  n, and the Arabic and Persian forms of yeh and kaf are one letter each;
- the kind of an apostrophe, a quotation mark, a dash or a space, and the number of spaces in a row;
- invisible characters: control and format characters, variation selectors, fillers, the kashida.

A character that Unicode 14.0 does not have stays as it is, so that every supported version of
PostgreSQL and Python agrees.
"""

import re
import unicodedata

from community_directory.queries.folding_table import (
    DROPPED,
    FOLDED,
    SEQUENCES,
    SPACED_ACCENTS,
    UNASSIGNED,
)

ASSIGNED_TEXT = re.compile(f"[^{UNASSIGNED}]+")
DROPPED_CHARACTERS = re.compile(f"[{DROPPED}]")
SPACED_ACCENT = re.compile(f" [{SPACED_ACCENTS}]")
TRANSLATION = str.maketrans(FOLDED | SEQUENCES)


def fold(text: str) -> str:
    """Return the text as searches compare it."""
    folded = ASSIGNED_TEXT.sub(lambda found: _fold_assigned(found[0]), text)
    return re.sub("  +", " ", folded)


def fold_needle(text: str) -> str:
    """Return what is searched for when a person types this text; an empty text finds nobody.

    An @ at the beginning is left out, because people write one before a username.
    """
    folded = fold(text).strip(" ")
    return folded.lstrip("@ ") or folded


def contains_pattern(needle: str) -> str | None:
    """Return the pattern of LIKE for texts with this folded part; None, for no part, is no pattern.

    In SQL, nothing is like NULL.
    """
    return f"%{escape_pattern(needle)}%" if needle else None


def escape_pattern(text: str) -> str:
    """Return the pattern of LIKE for this text alone."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def _fold_assigned(text: str) -> str:
    normalized = SPACED_ACCENT.sub("'", unicodedata.normalize("NFKD", text))
    kept = DROPPED_CHARACTERS.sub("", normalized)
    # Marks that stood apart may be neighbors now, and have to be in order.
    return unicodedata.normalize("NFKD", kept).translate(TRANSLATION)
