"""The database folds the searched text as Python does, on all of Unicode, by one table."""

import importlib
import re
import unicodedata
from types import ModuleType

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.queries.folding import fold
from community_directory.queries.folding_table import UNASSIGNED, UNICODE_VERSION
from tests.queries.test_folding import CHARACTERS, DIFFERENT, EQUAL, NOTHING, TEXTS, assigned


async def folded(directory: asyncpg.Pool, texts: list[str]) -> list[str]:
    """Return the texts as PostgreSQL folds them."""
    found = await directory.fetch(
        """
        SELECT directory_search_text(value)
        FROM unnest($1::text[]) WITH ORDINALITY AS given(value, number)
        ORDER BY number
        """,
        texts,
    )
    return [row[0] for row in found]


async def assert_agreement(directory: asyncpg.Pool, texts: list[str]) -> None:
    by_database = await folded(directory, texts)
    by_python = [fold(text) for text in texts]
    assert [
        text for text, one, other in zip(texts, by_database, by_python, strict=True) if one != other
    ] == []


@pytest.mark.schema
async def test_the_database_and_python_fold_every_character_alike(
    directory: asyncpg.Pool,
) -> None:
    await assert_agreement(directory, list(assigned()))
    # No two of these characters influence each other, so a text may contain many.
    others = re.sub(f"[^{UNASSIGNED}\ue000-\uf8ff]", "", "".join(map(chr, CHARACTERS)))
    assert len(others) > 800_000
    long = [others[start : start + 10_000] for start in range(0, len(others), 10_000)]
    await assert_agreement(directory, long)
    assert await folded(directory, long) == long


@pytest.mark.schema
async def test_the_database_and_python_fold_words_of_all_scripts_alike(
    directory: asyncpg.Pool,
) -> None:
    words = [word for pair in (*EQUAL, *DIFFERENT) for word in pair]
    await assert_agreement(directory, [*words, *NOTHING, *map("\u0378".join, EQUAL)])


@pytest.mark.schema
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(TEXTS, min_size=20, max_size=40))
async def test_the_database_and_python_fold_any_text_alike(
    directory: asyncpg.Pool, texts: list[str]
) -> None:
    await assert_agreement(directory, texts)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script that makes the tables; its import takes seconds, and few runs need it."""
    return importlib.import_module("tools.make_search_text")


@pytest.mark.skipif(
    unicodedata.unidata_version != UNICODE_VERSION,
    reason="the table is made with the Python that has its version of Unicode",
)
def test_both_tables_are_what_the_script_writes(script: ModuleType) -> None:
    assert script.SQL_FILE.read_text(encoding="utf-8") == script.sql_function()
    written = script.PYTHON_FILE.read_text(encoding="utf-8")
    assert written == script.python_module()


def test_both_tables_are_of_one_version_of_unicode(script: ModuleType) -> None:
    assert script.UNICODE_VERSION == UNICODE_VERSION
    first_lines = script.SQL_FILE.read_text(encoding="utf-8")[:400]
    assert f"from Unicode {UNICODE_VERSION}." in first_lines
