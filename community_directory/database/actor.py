"""The actor: the name under which the audit log records a change."""

from community_directory.database.connections import engine
from community_directory.database.statements import Statement
from community_directory.errors import InvalidInput

SET_ACTOR = Statement("""
SELECT set_config('community_directory.actor', :actor, true),
    set_config('community_directory.reason', '', true)
""")


async def act_as(actor: str) -> None:
    """Set the actor of all changes of the current transaction.

    The audit log records the first 255 characters of the name with each change. A query helper that
    takes an actor itself records that one instead.

    Raises:
        InvalidInput: The actor is blank.
    """
    check_actor(actor)
    await engine.fetch(SET_ACTOR, actor=actor)


def check_actor(actor: str | None) -> str:
    """Return the actor if it is a text that is not blank.

    Raises:
        InvalidInput: There is no actor, it is blank, or it is not a text.
    """
    if actor is not None and not isinstance(actor, str):
        raise InvalidInput("The actor must be a text.", field="actor")
    if actor is None or not actor.strip():
        raise InvalidInput("The actor can't be empty.", field="actor", code="value_missing")
    return actor
