"""asyncpg alone, the yardstick: it runs the helpers' own statements on an ordinary pool."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any, ClassVar
from unittest.mock import patch

import asyncpg

from benchmarks.clients.base import POOL
from benchmarks.clients.base import Client as Base
from benchmarks.clients.directory_helpers import Client as Helpers
from community_directory.database import DirectoryEngine, Statement, connect, transaction
from community_directory.queries import (
    archived_days,
    events,
    highlights,
    invitations,
    lookup,
    roll_ups,
)
from community_directory.queries.member_rows import MEMBER_COLUMNS

INSERT = f"""
INSERT INTO member_participation ({events.EVENT_COLUMNS})
SELECT * FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::jsonb[]
) ON CONFLICT DO NOTHING
"""

# A redemption with explicit row locks, in three statements.
CLAIM = """
SELECT invitation_id, created_by FROM community_invitations
WHERE invitation_code = $1 AND status = 'pending' AND expires_at > now() FOR UPDATE
"""
LET_IN = f"""
INSERT INTO community_members (telegram_id, name, primary_role, status, invited_by)
VALUES ($1, $2, 'developer', 'pending', $3) RETURNING {MEMBER_COLUMNS}
"""
ACCEPT = """
UPDATE community_invitations SET status = 'accepted', accepted_by = $2, accepted_at = now()
WHERE invitation_id = $1
"""

SentStatement = tuple[str, tuple[object, ...]]
"""SQL with its arguments, as a helper sends it."""


class Client(Base):
    """A pool of asyncpg with its defaults."""

    versions: ClassVar = {"asyncpg": asyncpg.__version__}
    options: ClassVar[dict[str, Any]] = {}
    """The options of the pool."""
    columns: ClassVar = events.EVENT_COLUMNS.split(", ")
    """The columns of an event's row."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._url = ""
        self._sent_statements: dict[tuple[str, str], list[SentStatement]] = {}

    async def open(self, url: str) -> None:
        """Open the connections."""
        self._url = url
        self._pool = await asyncpg.create_pool(url, min_size=POOL, max_size=POOL, **self.options)

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def prepare(self, operation: str, arguments: list[Any]) -> tuple[Any, ...]:
        """Return an event's row, or the statements that a helper sends for these arguments."""
        match operation:
            case "record":
                return tuple(
                    events.RECORD_EVENT.arguments(self._prepared_row(arguments[0])._asdict())
                )
            case "record_many" | "insert" | "copy":
                return ([self._row(event) for event in arguments[0]],)
            case "directory" | "search" | "last_30_days" | "last_30_days_raw" | "tree":
                return (await self._statements(operation, arguments),)
            case "roll_up":
                return Helpers().native(operation, arguments)
            case _:
                return tuple(arguments)

    async def _statements(self, operation: str, arguments: list[Any]) -> list[SentStatement]:
        key = (operation, repr(arguments))
        if key not in self._sent_statements:
            helpers = Helpers()
            method: Callable[..., Awaitable[Any]] = getattr(helpers, operation)
            self._sent_statements[key] = await _sent(
                self._url, method, *helpers.native(operation, arguments)
            )
        return self._sent_statements[key]

    def _row(self, event: dict[str, Any]) -> tuple[Any, ...]:
        row = dict(zip(Client.columns, self._prepared_row(event), strict=True))
        return tuple(row[column] for column in self.columns)

    def _prepared_row(self, event: dict[str, Any]) -> events.EventRow:
        [native] = Helpers().native("record_many", [[event]])
        return events.prepare_event(native[0]).row

    def answer(self, operation: str, result: Any) -> Any:
        """Convert the records to the common answer."""
        match operation:
            case "member":
                return result and [
                    result["member_id"],
                    result["name"],
                    result["status"],
                    result["reputation_score"],
                ]
            case "record":
                return result["id"] is not None
            case "record_many":
                return len(result[0])
            case "insert" | "copy":
                return int(result.split()[-1])
            case "redeem":
                return result and [result["telegram_id"], result["status"], result["invited_by"]]
            case "directory":
                return [[record["member_id"], record["reputation_score"]] for record in result[:20]]
            case "search":
                return [record["member_id"] for record in result[:20]]
            case "last_30_days":
                return [
                    [str(row["highlight_date"]), row["message_count"], row["reaction_count"]]
                    for row in result
                ]
            case "last_30_days_raw":
                return [[str(day), event_type, count] for day, event_type, count in result]
            case "tree":
                return sorted(record["member_id"] for record in result)
            case "expire_overdue":
                return len(result)
            case _:
                return result

    async def member(self, telegram_id: str) -> Any:
        """Return a member's row."""
        statement = lookup.GET_MEMBER_BY_ACCOUNT.sql
        return await self._pool.fetchrow(statement, "telegram", telegram_id)

    async def record(self, *row: Any) -> Any:
        """Store one event."""
        return await self._pool.fetchrow(events.RECORD_EVENT.sql, *row)

    async def record_many(self, rows: list[tuple[Any, ...]]) -> Any:
        """Store a batch, and update the members' last activity."""
        return await self._pool.fetchrow(events.RECORD_EVENTS.sql, *zip(*rows, strict=True))

    async def insert(self, rows: list[tuple[Any, ...]]) -> Any:
        """Store a batch, and nothing else."""
        return await self._pool.execute(INSERT, *zip(*rows, strict=True))

    async def copy(self, rows: list[tuple[Any, ...]]) -> Any:
        """Store a batch as fast as PostgreSQL can."""
        return await self._pool.copy_records_to_table(
            "member_participation", records=rows, columns=self.columns
        )

    async def redeem(self, code: str, telegram_id: str, name: str) -> Any:
        """Create a member while the invitation's row is locked."""
        async with self._pool.acquire() as connection, connection.transaction():
            invitation = await connection.fetchrow(CLAIM, code)
            if invitation is None:
                return None
            member = await connection.fetchrow(LET_IN, telegram_id, name, invitation["created_by"])
            await connection.execute(ACCEPT, invitation["invitation_id"], member["member_id"])
            return member

    async def roll_up(self, day: date) -> Any:
        """Count a day as the helper does, in a transaction of the pool."""
        on_pool = _OnPool(self._pool)
        with (
            patch.multiple(highlights, engine=on_pool, transaction=on_pool.transaction),
            patch.object(archived_days, "engine", on_pool),
            patch.object(roll_ups, "engine", on_pool),
        ):
            return await highlights.roll_up(day, zone="UTC")

    async def expire_overdue(self) -> Any:
        """Mark overdue invitations as expired."""
        return await self._pool.fetch(invitations.EXPIRE_OVERDUE_INVITATIONS.sql, "expiry", None)

    async def replay(self, statements: list[SentStatement]) -> Any:
        """Run the statements that a helper sent; the last one returns the whole answer."""
        records: Any = []
        for sql, arguments in statements:
            records = await self._pool.fetch(sql, *arguments)
        return records

    directory = search = last_30_days = last_30_days_raw = tree = replay


class _OnPool:
    """What a helper uses of the engine, on one connection of an ordinary pool."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connection: Any = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._pool.acquire() as self._connection, self._connection.transaction():
            yield

    async def fetch(self, statement: Statement | str, *arguments: Any, **values: Any) -> Any:
        return await self._connection.fetch(*_sql_of(statement, *arguments, **values))


def _sql_of(statement: Statement | str, *arguments: Any, **values: Any) -> tuple[Any, ...]:
    if isinstance(statement, Statement):
        return statement.sql, *statement.arguments(values)
    return statement, *arguments


async def _sent(
    url: str, helper: Callable[..., Awaitable[Any]], *arguments: Any
) -> list[SentStatement]:
    """Return the statements that a helper sends; its changes are rolled back."""
    statements: list[SentStatement] = []
    fetch = DirectoryEngine.fetch

    async def record_statement(
        engine: DirectoryEngine, statement: Statement | str, *arguments: Any, **values: Any
    ) -> Any:
        sql, *bound = _sql_of(statement, *arguments, **values)
        statements.append((sql, tuple(bound)))
        return await fetch(engine, statement, *arguments, **values)

    async with connect(url, min_size=1, max_size=1), transaction() as rehearsal:
        with patch.object(DirectoryEngine, "fetch", record_statement):
            await helper(*arguments)
        await rehearsal.rollback()
    if not statements:
        raise RuntimeError("The helper sent no statement.")
    return statements


async def _do_nothing(_: Any) -> None:
    pass


class WithoutReset(Client):
    """A pool that does not reset its connections, which saves a round trip."""

    options: ClassVar = {"reset": _do_nothing}


class OnOriginalTables(Client):
    """A pool on the tables and indexes of the original design, with the same rows.

    Its events have no `source_id`.
    """

    options: ClassVar = {"server_settings": {"search_path": "original,public"}}
    columns: ClassVar = [
        "member_id",
        "event_type",
        "platform",
        "room_id",
        "occurred_at",
        "event_metadata",
    ]

    def operations(self) -> list[str]:
        """Return the operations that depend on the indexes and on the size of a row."""
        return ["insert", "copy", "directory", "tree", "expire_overdue"]

    async def insert(self, rows: list[tuple[Any, ...]]) -> Any:
        """Store a batch."""
        return await self._pool.execute(ORIGINAL_INSERT, *zip(*rows, strict=True))


ORIGINAL_INSERT = f"""
INSERT INTO member_participation ({", ".join(OnOriginalTables.columns)})
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::jsonb[])
"""
