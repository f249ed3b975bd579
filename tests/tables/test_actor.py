"""The actor of a change comes from the statement, else the transaction, else the login."""

from typing import Any

import asyncpg
import pytest

from community_directory.database import act_as, transaction
from community_directory.errors import InvalidInput
from community_directory.queries import members
from tests.tables import rows

pytestmark = pytest.mark.schema

# The query helpers set the actor in the same way, in the statement that writes.
UPDATE_WITH_ACTOR = """
WITH call AS MATERIALIZED (
    SELECT set_config('community_directory.call',
        json_build_array(statement_timestamp(), $1::text, $2::text)::text, true)
)
UPDATE community_members SET country = $3 FROM call
"""
SET_ACTOR = """
SELECT set_config('community_directory.actor', $1, true),
    set_config('community_directory.reason', $2, true)
"""


async def entries(connection: rows.Database) -> list[tuple[str, str | None, str]]:
    """Return the actor, the reason and the new country of each change, in order."""
    found = await connection.fetch(
        """
        SELECT actor, reason, changes -> 'country' ->> 1 AS country FROM directory_audit_log
        WHERE action = 'UPDATE' ORDER BY id
        """
    )
    return [tuple(row) for row in found]


async def test_a_statement_has_its_own_actor_and_reason(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    await directory.execute(UPDATE_WITH_ACTOR, "bot", "moved", "Peru")
    async with directory.acquire() as connection:
        assert await entries(connection) == [("bot", "moved", "Peru")]


async def test_the_actor_of_a_statement_holds_for_this_statement_only(
    directory: asyncpg.Pool,
) -> None:
    await rows.member(directory)
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute(UPDATE_WITH_ACTOR, "bot", "moved", "Peru")
        await connection.execute("UPDATE community_members SET country = 'Chile'")
        await connection.execute(SET_ACTOR, "manager:eva", "as told")
        await connection.execute("UPDATE community_members SET country = 'Cuba'")
        await connection.execute(UPDATE_WITH_ACTOR, None, None, "Peru")
        await connection.execute(UPDATE_WITH_ACTOR, "bot", None, "Chile")
        await connection.execute(UPDATE_WITH_ACTOR, None, "moved", "Cuba")
        await connection.execute(UPDATE_WITH_ACTOR, "", "", "Peru")
        await connection.execute("UPDATE community_members SET country = 'Chile'")
        assert await entries(connection) == [
            ("bot", "moved", "Peru"),
            ("db:postgres", None, "Chile"),
            ("manager:eva", "as told", "Cuba"),
            ("manager:eva", "as told", "Peru"),
            ("bot", "as told", "Chile"),
            ("manager:eva", "moved", "Cuba"),
            ("manager:eva", "as told", "Peru"),
            ("manager:eva", "as told", "Chile"),
        ]


async def test_act_as_holds_for_the_whole_transaction(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    async with transaction() as current:
        await act_as("manager:eva")
        await current.connection.execute(UPDATE_WITH_ACTOR, "bot", None, "Peru")
        await current.connection.execute("UPDATE community_members SET country = 'Chile'")
        assert await entries(current.connection) == [
            ("bot", None, "Peru"),
            ("manager:eva", None, "Chile"),
        ]


@pytest.mark.parametrize("actor", ["", "  ", None, 5])
async def test_an_actor_cannot_be_blank(directory: asyncpg.Pool, actor: Any) -> None:
    async with transaction():
        with pytest.raises(InvalidInput) as refused:
            await act_as(actor)
    assert refused.value.field == "actor"


@pytest.mark.parametrize(
    ("actor", "code"),
    [
        (None, "value_missing"),
        ("  ", "value_missing"),
        (" " * 256, "text_too_long"),
        ("x" * 256, "text_too_long"),
        (5, "invalid_input"),
    ],
)
async def test_the_code_of_a_refused_actor_says_why(
    directory: asyncpg.Pool, actor: Any, code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await members.set_status("#1", "active", actor=actor)
    assert (refused.value.field, refused.value.code) == ("actor", code)


async def test_an_actor_of_any_characters_is_logged_unchanged(directory: asyncpg.Pool) -> None:
    await rows.member(directory)
    unusual = "\"\\'[,]\n\t\x01é🙂" * 40
    await directory.execute(UPDATE_WITH_ACTOR, unusual, unusual, "Peru")
    async with directory.acquire() as connection:
        assert await entries(connection) == [(unusual[:255], unusual, "Peru")]


NOW = "to_json(statement_timestamp())::text"
MALFORMED = {
    "empty": "''",
    "malformed JSON": "'nonsense'",
    "no array": "'{}'",
    "a number": "'1'",
    "an open array": "'['",
    "an empty array": "'[]'",
    "another time": """'["2026-01-31T12:00:00+00:00", "ghost", "ghost"]'""",
    "the time only": f"'[' || {NOW} || ']'",
    "no actor": f"'[' || {NOW} || ', null, null]'",
    "this time, then malformed JSON": f"'[' || {NOW} || ', ghost'",
    "a character that PostgreSQL can't store": f"""'[' || {NOW} || ', "\\u0000", null]'""",
    "a bare line feed": f"""'[' || {NOW} || ', "' || chr(10) || '", null]'""",
    "an unknown escape": f"""'[' || {NOW} || ', "\\x", null]'""",
    "an open text": f"""'[' || {NOW} || ', null, "]'""",
    "nested too deeply": f"'[' || {NOW} || ', ' || repeat('[', 100000)",
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED.keys())
async def test_no_setting_keeps_a_row_from_being_written(
    directory: asyncpg.Pool, malformed: str
) -> None:
    await rows.member(directory)
    async with directory.acquire() as connection, connection.transaction():
        await connection.execute(SET_ACTOR, "manager:eva", "as told")
        await connection.execute(
            f"""
            WITH call AS MATERIALIZED (
                SELECT set_config('community_directory.call', {malformed}, true)
            )
            UPDATE community_members SET country = 'Peru' FROM call
            """
        )
        assert await entries(connection) == [("manager:eva", "as told", "Peru")]
