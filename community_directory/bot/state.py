"""The state of conversations, in PostgreSQL: a restart in the middle of one loses nothing.

A row has what a person has answered so far. It is personal data, also of somebody who is no member
yet: it is deleted when the conversation ends and when it is a week old, and `members.export` and
`members.erase` cover it.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from aiogram.fsm.state import State
from aiogram.fsm.storage.base import BaseStorage, StateType, StorageKey

from community_directory.database import Statement, engine

LIFETIME = timedelta(days=7)
"""The time after its last change at which a conversation is forgotten."""

FIND_STATE = Statement("""
SELECT state, data FROM directory_bot_states
WHERE telegram_id = :telegram_id AND conversation = :conversation
    AND updated_at > now() - :lifetime::interval
""")

# A few old rows with each new one: nobody has to run a job.
_FORGET_OLD_STATES = """forgotten AS (
    DELETE FROM directory_bot_states WHERE (telegram_id, conversation) IN (
        SELECT telegram_id, conversation FROM directory_bot_states
        WHERE updated_at <= now() - :lifetime::interval
            AND (telegram_id, conversation) <> (:telegram_id, :conversation)
        ORDER BY updated_at LIMIT 100 FOR UPDATE SKIP LOCKED
    )
)"""
SET_STATE = Statement(f"""
WITH {_FORGET_OLD_STATES}
INSERT INTO directory_bot_states AS stored (telegram_id, conversation, state)
VALUES (:telegram_id, :conversation, :state)
ON CONFLICT (telegram_id, conversation) DO UPDATE SET state = EXCLUDED.state, updated_at = now(),
    data = CASE WHEN stored.updated_at > now() - :lifetime::interval
        THEN stored.data ELSE '{{}}' END
""")
SET_DATA = Statement(f"""
WITH {_FORGET_OLD_STATES}
INSERT INTO directory_bot_states AS stored (telegram_id, conversation, data)
VALUES (:telegram_id, :conversation, :data::jsonb)
ON CONFLICT (telegram_id, conversation) DO UPDATE SET data = EXCLUDED.data, updated_at = now(),
    state = CASE WHEN stored.updated_at > now() - :lifetime::interval THEN stored.state END
""")
# A row without a state and without data is deleted instead of emptied.
CLEAR_STATE = Statement("""
WITH deleted AS (
    DELETE FROM directory_bot_states
    WHERE telegram_id = :telegram_id AND conversation = :conversation AND data = '{}'
)
UPDATE directory_bot_states SET state = NULL, updated_at = now()
WHERE telegram_id = :telegram_id AND conversation = :conversation AND data <> '{}'
""")
CLEAR_DATA = Statement("""
WITH deleted AS (
    DELETE FROM directory_bot_states
    WHERE telegram_id = :telegram_id AND conversation = :conversation AND state IS NULL
)
UPDATE directory_bot_states SET data = '{}', updated_at = now()
WHERE telegram_id = :telegram_id AND conversation = :conversation AND state IS NOT NULL
""")


class PostgresStorage(BaseStorage):
    """Keeps the state of the conversations in private chats in the table `directory_bot_states`."""

    async def set_state(self, key: StorageKey, state: StateType = None) -> None:
        """Store the state of a conversation; None ends it."""
        name = state.state if isinstance(state, State) else state
        if name is None:
            await engine.fetch(CLEAR_STATE, **_key_values(key))
        else:
            await engine.fetch(SET_STATE, **_key_values(key), state=name, lifetime=LIFETIME)

    async def get_state(self, key: StorageKey) -> str | None:
        """Return the state of a conversation, or None if there is none."""
        records = await engine.fetch(FIND_STATE, **_key_values(key), lifetime=LIFETIME)
        state: str | None = records[0]["state"] if records else None
        return state

    async def set_data(self, key: StorageKey, data: Mapping[str, Any]) -> None:
        """Store the data of a conversation in place of those of before.

        Raises:
            InvalidInput: The data have more than 20,000 bytes as JSON.
        """
        if data:
            stored = json.dumps(dict(data), ensure_ascii=False)
            await engine.fetch(SET_DATA, **_key_values(key), data=stored, lifetime=LIFETIME)
        else:
            await engine.fetch(CLEAR_DATA, **_key_values(key))

    async def get_data(self, key: StorageKey) -> dict[str, Any]:
        """Return the data of a conversation."""
        records = await engine.fetch(FIND_STATE, **_key_values(key), lifetime=LIFETIME)
        data: dict[str, Any] = json.loads(records[0]["data"]) if records else {}
        return data

    async def close(self) -> None:
        """Do nothing: the connections belong to `connect`."""


def make_storage() -> BaseStorage:
    """Return the storage of the conversations."""
    return PostgresStorage()


def _key_values(key: StorageKey) -> dict[str, object]:
    """Return the parameters that name the row of a conversation."""
    place = (key.bot_id, key.chat_id, key.thread_id or "", key.business_connection_id or "")
    return {
        "telegram_id": str(key.user_id),
        "conversation": ":".join(map(str, (*place, key.destiny))),
    }
