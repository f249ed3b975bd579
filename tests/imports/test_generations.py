"""Any two exports of one history, of any generation and in any order, give the same database."""

import io
from typing import Any

import asyncpg
import pytest

from community_directory.imports import discord, telegram
from community_directory.imports.history import Report, import_history
from community_directory.tables import Platform
from tests.imports.generations import (
    CLOCK,
    DISCORD_GENERATIONS,
    TELEGRAM_GENERATIONS,
    Event,
    Generation,
    TelegramGeneration,
)
from tests.tables import rows

STORED_EVENTS = """
SELECT telegram_id, event_type, room_id, source_id, occurred_at, event_metadata
FROM member_participation JOIN community_members USING (member_id) WHERE NOT is_bot
"""
STORED_PEOPLE = "SELECT telegram_id, name FROM community_members WHERE NOT is_bot ORDER BY 1"


async def import_generation(generation: Generation) -> Report:
    file = io.BytesIO(generation.write())
    if isinstance(generation, TelegramGeneration):
        return await import_history(telegram.read(file, zone=CLOCK), Platform.TELEGRAM)
    return await import_history(discord.read(file), Platform.DISCORD)


def expected(*generations: Generation) -> tuple[set[Event], list[tuple[str, str]]]:
    """Return what `stored` returns after the import of these generations, in any order."""
    bots = set().union(*(generation.recognized_bots() for generation in generations))
    events = set().union(*(generation.events() for generation in generations))
    events = {event for event in events if event.account not in bots}
    # A nickname stays, and replaces the name of the account.
    by_knowledge = sorted(generations, key=lambda generation: generation.has_nicknames)
    names = {account: name for each in by_knowledge for account, name in each.names().items()}
    return events, sorted({(event.account, names[event.account]) for event in events})


async def stored(database: rows.Database) -> tuple[set[Event], list[Any]]:
    """Return the events and the names of the people, without those of bots."""
    events = {Event(*row) for row in await database.fetch(STORED_EVENTS)}
    return events, [tuple(row) for row in await database.fetch(STORED_PEOPLE)]


def name_of(generation: Generation) -> str:
    platform = "Telegram" if isinstance(generation, TelegramGeneration) else "Discord"
    return f"{platform} {generation.version}"


GENERATIONS: list[Generation] = [*TELEGRAM_GENERATIONS, *DISCORD_GENERATIONS]


@pytest.mark.parametrize("generation", GENERATIONS, ids=name_of)
async def test_a_second_import_of_the_same_file_stores_nothing(
    directory: asyncpg.Pool, generation: Generation
) -> None:
    first = await import_generation(generation)
    assert first.inserted.total() > 0
    before = await stored(directory)
    again = await import_generation(generation)
    assert (again.inserted.total(), again.duplicates.total()) == (0, first.inserted.total())
    assert await stored(directory) == before


@pytest.mark.parametrize("first", GENERATIONS, ids=name_of)
async def test_each_second_generation_adds_what_only_it_has(
    directory: asyncpg.Pool, first: Generation
) -> None:
    for second in GENERATIONS:
        if type(second) is type(first) and second is not first:
            await import_generation(first)
            await import_generation(second)
            assert await stored(directory) == expected(first, second), name_of(second)
            await directory.execute("SELECT testing.empty()")


async def test_every_generation_one_after_the_other_gives_the_whole_history(
    directory: asyncpg.Pool,
) -> None:
    for generation in reversed(GENERATIONS):
        await import_generation(generation)
    assert await stored(directory) == expected(*GENERATIONS)
