"""What every client in Python has in common, and the operations that it may have as methods of the same names."""

from datetime import date, datetime
from typing import Any, ClassVar, Final
from uuid import UUID

POOL: Final = 10
"""The connections of every client: no more, no less."""

OPERATIONS: Final = (
    "member",
    "record",
    "record_many",
    "insert",
    "copy",
    "redeem",
    "directory",
    "search",
    "last_30_days",
    "last_30_days_raw",
    "roll_up",
    "tree",
    "sweep",
)
"""The methods that are asked for; `insert` and `copy` are bare asyncpg's: what the tables themselves cost."""


class Client:
    """A way to use the database; what it can do are the methods that `OPERATIONS` names."""

    versions: ClassVar[dict[str, str]] = {}
    """Of each library that takes part."""

    async def open(self, url: str) -> None:
        """Open a pool of `POOL` connections, all of them at once."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the pool."""
        raise NotImplementedError

    def native(self, operation: str, arguments: list[Any]) -> tuple[Any, ...]:  # noqa: ARG002  for who needs it
        """A call's arguments as the method takes them, made of JSON before the clock starts."""
        return tuple(arguments)

    def operations(self) -> list[str]:
        """What this client can be asked for."""
        return [name for name in OPERATIONS if hasattr(self, name)]

    async def prepare(self, operation: str, arguments: list[Any]) -> tuple[Any, ...]:
        """`native`, for a client that has to ask somebody for it."""
        return self.native(operation, arguments)

    def answer(self, operation: str, result: Any) -> Any:  # noqa: ARG002  for who needs it
        """What a call returned, after the clock stopped: the JSON that all clients' answers are compared by."""
        return result


def parsed(operation: str, arguments: list[Any]) -> tuple[Any, ...]:
    """The arguments with Python's dates, times and UUIDs; events stay dictionaries."""
    match operation:
        case "record":
            return (_event(arguments[0]),)
        case "record_many" | "insert" | "copy":
            return ([_event(event) for event in arguments[0]],)
        case "directory":
            *conditions, after = arguments
            return (*conditions, after and (after[0], UUID(after[1])))
        case "last_30_days" | "last_30_days_raw":
            member_id, since, until = arguments
            return member_id, date.fromisoformat(since), date.fromisoformat(until)
        case "roll_up":
            return (date.fromisoformat(arguments[0]),)
        case _:
            return tuple(arguments)


def _event(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"occurred_at": datetime.fromisoformat(event["occurred_at"])}
