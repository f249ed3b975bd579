"""The state of conversations: it outlives the process, and is forgotten when it is over."""

import json

import asyncpg
import pytest
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.fsm.storage.base import StorageKey

from community_directory.bot.state import PostgresStorage
from community_directory.errors import InvalidInput
from tests.tables import rows

ANA = StorageKey(bot_id=7, chat_id=1001, user_id=1001)


class Form(StatesGroup):
    name = State()
    role = State()


def conversation(key: StorageKey = ANA) -> FSMContext:
    """Return a conversation as a new process finds it."""
    return FSMContext(PostgresStorage(), key)


async def stored(database: asyncpg.Pool) -> list[tuple[str, str | None, object]]:
    records = await database.fetch(
        "SELECT telegram_id, state, data FROM directory_bot_states ORDER BY telegram_id"
    )
    return [(telegram_id, state, json.loads(data)) for telegram_id, state, data in records]


async def test_a_conversation_goes_on_in_another_process(directory: asyncpg.Pool) -> None:
    assert await conversation().get_state() is None
    assert await conversation().get_data() == {}
    await conversation().set_state(Form.name)
    await conversation().update_data(name="Ana 😀 {x} \\ 'y'")
    await conversation().set_state(Form.role)
    await conversation().update_data(role="developer")
    assert await conversation().get_state() == "Form:role"
    assert await conversation().get_data() == {"name": "Ana 😀 {x} \\ 'y'", "role": "developer"}
    assert await conversation().get_value("role") == "developer"


async def test_two_people_and_two_bots_do_not_share_a_conversation(directory: asyncpg.Pool) -> None:
    await conversation().set_state(Form.name)
    for key in (
        StorageKey(bot_id=8, chat_id=1001, user_id=1001),
        StorageKey(bot_id=7, chat_id=1002, user_id=1002),
        StorageKey(bot_id=7, chat_id=1001, user_id=1001, destiny="other"),
    ):
        assert await conversation(key).get_state() is None
        await conversation(key).set_state(Form.role)
    assert await conversation().get_state() == "Form:name"


async def test_nothing_is_left_of_a_conversation_that_has_ended(directory: asyncpg.Pool) -> None:
    await conversation().set_state(Form.name)
    await conversation().set_data({"name": "Ana"})
    await conversation().set_state(None)
    assert await stored(directory) == [("1001", None, {"name": "Ana"})]
    await conversation().set_data({})
    assert await stored(directory) == []
    await conversation().set_state(Form.name)
    await conversation().set_data({"name": "Ana"})
    await conversation().set_data({})
    assert await stored(directory) == [("1001", "Form:name", {})]
    await conversation().clear()
    assert await stored(directory) == []
    await conversation().clear()


async def test_a_conversation_is_forgotten_after_a_week(directory: asyncpg.Pool) -> None:
    await conversation().set_state(Form.name)
    await conversation().set_data({"name": "Ana"})
    age = "UPDATE directory_bot_states SET updated_at = now() - interval '{}'"
    await directory.execute(age.format("6 days 23 hours"))
    assert await conversation().get_state() == "Form:name"
    await rows.bot_state(directory, telegram_id="1002")
    await directory.execute(age.format("7 days"))
    assert await conversation().get_state() is None
    assert await conversation().get_data() == {}
    await conversation(StorageKey(bot_id=7, chat_id=1003, user_id=1003)).set_state(Form.role)
    assert await stored(directory) == [("1003", "Form:role", {})]


async def test_a_conversation_that_begins_again_after_a_week_has_no_old_answers(
    directory: asyncpg.Pool,
) -> None:
    await conversation().set_state(Form.role)
    await conversation().set_data({"name": "Ana"})
    await directory.execute("UPDATE directory_bot_states SET updated_at = now() - interval '8 d'")
    await conversation().set_state(Form.name)
    assert await conversation().get_data() == {}


async def test_the_answers_of_a_conversation_have_a_limit(directory: asyncpg.Pool) -> None:
    await conversation().set_state(Form.name)
    with pytest.raises(InvalidInput, match="too long"):
        await conversation().update_data(name="x" * 20_000)
    with pytest.raises(InvalidInput):
        await conversation().update_data(name="\0")
    assert await stored(directory) == [("1001", "Form:name", {})]
