"""The base class of the clients with models: the database's address and the common answers."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from benchmarks.clients.base import Client, parsed
from community_directory.queries.folding import contains_pattern, fold_needle

PAGE = 20

TREE = """
WITH RECURSIVE tree AS (
    SELECT id, member_id, name, invited_by, 0 AS depth
    FROM community_members WHERE member_id = {member_id}
    UNION ALL
    SELECT member.id, member.member_id, member.name, member.invited_by, depth + 1
    FROM tree JOIN community_members AS member ON member.invited_by = tree.member_id
)
SELECT id, member_id, name, invited_by, depth FROM tree
"""
"""Raw SQL for the ORMs without recursive queries, each with its own placeholder."""


class Place(NamedTuple):
    """The address of a database, in the parts that the libraries take."""

    host: str
    port: int
    user: str
    password: str | None
    database: str


def place(url: str) -> Place:
    """Split a URL into its parts; its query may have the directory of a socket, as in libpq."""
    split = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(split.query).items()}
    return Place(
        host=query.get("host") or split.hostname or "localhost",
        port=int(query.get("port") or split.port or 5432),
        user=unquote(split.username or "postgres"),
        password=split.password and unquote(split.password),
        database=unquote(split.path[1:]),
    )


def search_pattern(text: str) -> str:
    """Return the pattern of LIKE with which the stored column `search_text` finds a text."""
    return contains_pattern(fold_needle(text)) or ""


def span(since: date, until: date) -> tuple[datetime, datetime]:
    """Return the begin of the first day and the end of the last one, in UTC."""
    return datetime.combine(since, time(), UTC), datetime.combine(
        until + timedelta(days=1), time(), UTC
    )


class ORM(Client):
    """A client whose answers are objects with the columns as attributes."""

    event: ClassVar[Callable[..., Any]] = dict
    """The type of the events that `record_many` takes: dictionaries, or objects of a model."""

    def native(self, operation: str, arguments: list[Any]) -> tuple[Any, ...]:
        """Convert dates, times and UUIDs, and many events to the client's type."""
        native = parsed(operation, arguments)
        return (
            ([self.event(**event) for event in native[0]],)
            if operation == "record_many"
            else native
        )

    def answer(self, operation: str, result: Any) -> Any:
        """Convert the objects and rows to the common answer."""
        match operation:
            case "member":
                return result and [
                    result.member_id,
                    result.name,
                    result.status,
                    result.reputation_score,
                ]
            case "redeem":
                return result and [result.telegram_id, result.status, result.invited_by]
            case "directory":
                return [[member.member_id, member.reputation_score] for member in result[:PAGE]]
            case "search":
                return [member.member_id for member in result]
            case "last_30_days":
                return [
                    [str(row.highlight_date), row.message_count, row.reaction_count]
                    for row in result
                ]
            case "last_30_days_raw":
                return [[str(day), *others] for day, *others in map(_values, result)]
            case "tree":
                return sorted(
                    row["member_id"] if isinstance(row, Mapping) else row.member_id
                    for row in result
                )
            case _:
                return result


def _values(row: Any) -> Any:
    return row.values() if isinstance(row, Mapping) else row
