"""The actor: the name under which the audit log records a change."""

from community_directory.database.connections import engine
from community_directory.database.statements import Statement
from community_directory.errors import InvalidInput

SET_ACTOR = Statement("""
SELECT set_config('community_directory.actor', :actor, true),
    set_config('community_directory.reason', '', true)
""")


async def act_as(actor: str) -> None:
    """Set the actor of all later changes in the current transaction.

    The audit log records the first 255 characters of the name with each change. The actor that is
    passed to a query helper takes precedence. The call clears a reason that was set for the
    transaction. Outside a transaction it has no effect.

    Raises:
        InvalidInput: The actor is None, blank or not a text.
    """
    check_actor(actor)
    await engine.fetch(SET_ACTOR, actor=actor)


def check_actor(actor: str) -> str:
    """Return the actor if it is a text that is not blank.

    Raises:
        InvalidInput: The actor is blank, or it is not a text.
    """
    if not isinstance(actor, str):
        raise InvalidInput("The actor must be a text.", field="actor")
    if not actor.strip():
        raise actor_missing()
    return actor


def actor_missing() -> InvalidInput:
    """Return the error for a change without an actor."""
    return InvalidInput("The actor can't be empty.", field="actor", code="value_missing")
