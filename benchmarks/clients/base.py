"""The base class of the clients in Python, and the operations that they may have as methods."""

from datetime import date, datetime
from typing import Any, ClassVar, Final
from uuid import UUID

POOL: Final = 8
"""The number of connections of every client; all of them together are below 100, the default."""

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
    "expire_overdue",
)
"""The names of the methods. Only asyncpg has `insert` and `copy`: the cost of the tables alone."""


class Client:
    """A way to use the database. Its operations are its methods with names of `OPERATIONS`."""

    versions: ClassVar[dict[str, str]] = {}
    """The version of each library that the client uses."""

    async def open(self, url: str) -> None:
        """Open a pool of `POOL` connections, all of them at once."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the pool."""
        raise NotImplementedError

    def native(self, operation: str, arguments: list[Any]) -> tuple[Any, ...]:  # noqa: ARG002
        """Convert a call's arguments from JSON to those of the method, before the clock starts."""
        return tuple(arguments)

    def operations(self) -> list[str]:
        """Return the names of the operations that this client has."""
        return [name for name in OPERATIONS if hasattr(self, name)]

    async def prepare(self, operation: str, arguments: list[Any]) -> tuple[Any, ...]:
        """Return the same as `native`; a client may use the database for it."""
        return self.native(operation, arguments)

    def answer(self, operation: str, result: Any) -> Any:  # noqa: ARG002
        """Convert a call's result, after the clock stopped, to JSON that all clients share."""
        return result


def parsed(operation: str, arguments: list[Any]) -> tuple[Any, ...]:
    """Convert the arguments to Python's dates, times and UUIDs; events stay dictionaries."""
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
