"""What a search compares: a text without case and accents, in every script."""

import re
import unicodedata

import asyncpg
import pytest

pytestmark = pytest.mark.schema

# Capitals that came after Unicode 14, whose small letters a newer Python knows.
NEWER = re.compile(
    "[\u1c89\ua7cb\ua7cc\ua7ce\ua7d2\ua7d4\ua7da\ua7dc\U00010d50-\U00010d65\U00016ea0-\U00016eb8]"
)
# Surrogates are no characters, and PostgreSQL's texts have no NUL.
LETTERS = [chr(n) for n in range(1, 0x110000) if not 0xD800 <= n < 0xE000]


async def folded(directory: asyncpg.Pool, texts: list[str]) -> list[str]:
    found = await directory.fetch(
        """
        SELECT directory_search_text(value) FROM unnest($1::text[]) WITH ORDINALITY AS given(value, place)
        ORDER BY place
        """,
        texts,
    )
    return [row[0] for row in found]


async def test_every_letter_is_like_its_capital(directory: asyncpg.Pool) -> None:
    pairs = [
        (letter, letter.casefold())
        for letter in LETTERS
        if letter.casefold() != letter
        and len(letter.casefold()) == 1
        and not unicodedata.category(letter).startswith("M")
        and not NEWER.match(letter)
    ]
    assert len(pairs) > 1300
    capitals = await folded(directory, [capital for capital, _ in pairs])
    small = await folded(directory, [letter for _, letter in pairs])
    assert [
        pair for pair, one, other in zip(pairs, capitals, small, strict=True) if one != other
    ] == []


async def test_what_is_folded_stays_as_it_is(directory: asyncpg.Pool) -> None:
    once = await folded(directory, LETTERS)
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
async def test_texts_that_people_write_differently_are_alike(
    directory: asyncpg.Pool, one: str, other: str
) -> None:
    assert len(set(await folded(directory, [one, other]))) == 1
