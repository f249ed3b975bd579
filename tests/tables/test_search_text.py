"""A search compares texts without case and accents, in every script."""

import re
import unicodedata

import asyncpg
import pytest

pytestmark = pytest.mark.schema

# Capitals of later versions than Unicode 14; a newer Python knows their small letters.
NEWER_CAPITALS = re.compile(
    "[\u1c89\ua7cb\ua7cc\ua7ce\ua7d2\ua7d4\ua7da\ua7dc\U00010d50-\U00010d65\U00016ea0-\U00016eb8]"
)
# Surrogates are no characters, and a text of PostgreSQL can't contain NUL.
CHARACTERS = [chr(n) for n in range(1, 0x110000) if not 0xD800 <= n < 0xE000]


async def folded(directory: asyncpg.Pool, texts: list[str]) -> list[str]:
    """Return the texts without case and accents, as PostgreSQL computes them."""
    found = await directory.fetch(
        """
        SELECT directory_search_text(value)
        FROM unnest($1::text[]) WITH ORDINALITY AS given(value, number)
        ORDER BY number
        """,
        texts,
    )
    return [row[0] for row in found]


async def test_every_letter_is_folded_like_its_capital(directory: asyncpg.Pool) -> None:
    pairs = [
        (letter, letter.casefold())
        for letter in CHARACTERS
        if letter.casefold() != letter
        and len(letter.casefold()) == 1
        and not unicodedata.category(letter).startswith("M")
        and not NEWER_CAPITALS.match(letter)
    ]
    assert len(pairs) > 1300
    capitals = await folded(directory, [capital for capital, _ in pairs])
    small = await folded(directory, [letter for _, letter in pairs])
    assert [
        pair for pair, one, other in zip(pairs, capitals, small, strict=True) if one != other
    ] == []


async def test_folding_a_folded_text_changes_nothing(directory: asyncpg.Pool) -> None:
    once = await folded(directory, CHARACTERS)
    assert await folded(directory, once) == once


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Қанат Ғабит", "қанат ғабит"),
        ("Արմեն Պետրոսյան", "արմեն պետրոսյան"),
        ("Ɗanladi Ƙaura", "ɗanladi ƙaura"),
        ("ŊGŨGĨ", "ŋgugi"),
        ("Ɛsi Ɔkoto", "ɛsi ɔkoto"),
        ("Ҳамид Ҷӯра", "ҳамид ҷура"),
        ("Ұлан Үміт", "ұлан үміт"),
        ("ΝΊΚΟΣ", "νικος"),
        ("Ørsted Łukasz Đorđe", "orsted lukasz dorde"),
        ("STRAẞE", "strasse"),
        ("Straße", "STRASSE"),
        ("İstanbul Diyarbakır", "istanbul diyarbakir"),
        ("Ａｎａ", "ana"),
        ("ANA", "ana"),
        ("\u0301", ""),
    ],
)
async def test_different_spellings_of_a_text_are_equal(
    directory: asyncpg.Pool, one: str, other: str
) -> None:
    assert len(set(await folded(directory, [one, other]))) == 1
