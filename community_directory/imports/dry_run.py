"""Finds out what storing the events of an import would do, and stores nothing."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
from piccolo.constraints import Check

from community_directory.database import Statement, engine, transaction
from community_directory.errors import EventArchived, InvalidInput
from community_directory.queries.archived_days import CLOSED_BEFORE_SQL
from community_directory.queries.events import (
    BATCH_EVENTS,
    EARLIEST_OPEN_TIME_SQL,
    LATEST_EVENT_TIME_SQL,
    EventRow,
    NewEvent,
    Recorded,
    Refused,
    prepare_events,
    time_out_of_range,
)
from community_directory.queries.rooms import MIGRATED_ID_OFFSET
from community_directory.queries.values import check_texts
from community_directory.tables import EventType, MemberParticipation

_CHECKS = " AND ".join(
    f"({check.condition}) IS NOT FALSE"
    for check in vars(MemberParticipation).values()
    if isinstance(check, Check)
)
"""The SQL condition that a row obeys the CHECKs of its table."""

LOOK_UP_EVENTS = Statement(f"""
WITH event AS MATERIALIZED ({BATCH_EVENTS})
SELECT id, room_id, source_id, {_CHECKS} AS is_valid,
    occurred_at > {LATEST_EVENT_TIME_SQL} AS is_too_late,
    CASE WHEN occurred_at < {EARLIEST_OPEN_TIME_SQL} THEN {CLOSED_BEFORE_SQL} END AS closed_before,
    EXISTS (
        SELECT FROM member_participation AS stored
        WHERE stored.platform = event.platform AND stored.room_id = event.room_id
            AND stored.source_id = event.source_id AND stored.event_type = event.event_type
            AND stored.member_id = event.member_id
    ) AS is_stored
FROM event
""")

CREATE_PLANNED_EVENTS = """
CREATE TABLE planned_events (
    source_id, event_type, member_id, room_id, occurred_at,
    PRIMARY KEY (source_id, event_type, member_id, room_id)
) WITHOUT ROWID
"""
ADD_PLANNED_EVENT = "INSERT OR IGNORE INTO planned_events VALUES (?, ?, ?, ?, ?)"
FIND_PLANNED_EVENTS = """
SELECT room_id, occurred_at FROM planned_events
WHERE source_id = ? AND event_type = ? AND member_id = ?
"""
MOVE_PLANNED_EVENTS = """
UPDATE OR REPLACE planned_events
SET room_id = :new_room_id, source_id = CAST(CAST(source_id AS INTEGER) - :id_offset AS TEXT)
WHERE room_id = :old_room_id
"""


class _Outcome(NamedTuple):
    """The outcome that storing an event would have."""

    room_id: str
    source_id: str | None
    problem: InvalidInput | None
    is_stored: bool


class DryRun:
    """Tells what storing events would do, batch by batch, as if each batch were stored.

    It reads the database, and writes only to a temporary file, which SQLite deletes by itself:
    the events that earlier batches would have stored. Members need not exist.
    """

    def __init__(self) -> None:
        self._planned = sqlite3.connect("")
        self._planned.execute(CREATE_PLANNED_EVENTS)
        self._old_rooms: dict[str, str] = {}
        """The old room of each room to which one would have moved."""
        self._new_rooms: dict[str, str] = {}

    async def record_many(self, events: Iterable[NewEvent]) -> Recorded:
        """Return what `participation.record_many` would return."""
        recorded = Recorded()
        prepared = [
            (event, self._follow_move(row))
            for event, row in prepare_events(events, recorded.refused)
        ]
        rows = [row for _, row in prepared]
        outcomes = await _look_up(rows)
        # The move is only planned, so the events that would move are still in their old room.
        moved = await _look_up([old for row in rows if (old := self._undo_move(row))])
        for event, row in prepared:
            outcome = outcomes[row.event_id]
            if outcome.problem is not None:
                recorded.refused.append(Refused(event, outcome.problem))
                continue
            is_stored = outcome.is_stored or (
                row.event_id in moved and moved[row.event_id].is_stored
            )
            if is_stored or not self._plan(row, outcome):
                recorded.duplicates.append(event)
            else:
                recorded.inserted.append(event)
        return recorded

    def find_messages(
        self, messages: Iterable[tuple[str, str, datetime]], tolerance: timedelta
    ) -> list[tuple[str, float]]:
        """Return the rooms with messages of these members, source ids and times.

        The times may differ by the tolerance. The difference in seconds comes with each room.
        """
        return [
            (room_id, planned_at - occurred_at.timestamp())
            for member_id, source_id, occurred_at in messages
            for room_id, planned_at in self._planned.execute(
                FIND_PLANNED_EVENTS, (source_id, EventType.MESSAGE, member_id)
            )
            if abs(planned_at - occurred_at.timestamp()) <= tolerance.total_seconds()
        ]

    def move_room(self, old_room_id: str, new_room_id: str) -> None:
        """Treat the events of a Telegram group as those of the supergroup that it became."""
        self._old_rooms[new_room_id], self._new_rooms[old_room_id] = old_room_id, new_room_id
        self._planned.execute(
            MOVE_PLANNED_EVENTS,
            {
                "new_room_id": new_room_id,
                "old_room_id": old_room_id,
                "id_offset": MIGRATED_ID_OFFSET,
            },
        )

    def close(self) -> None:
        """Delete the temporary file."""
        self._planned.close()

    def _plan(self, row: EventRow, outcome: _Outcome) -> bool:
        """Remember the event, and return whether no earlier one was the same."""
        at = None if row.occurred_at is None else row.occurred_at.timestamp()
        key = (outcome.source_id, row.event_type, row.member_id, outcome.room_id)
        return self._planned.execute(ADD_PLANNED_EVENT, (*key, at)).rowcount == 1

    def _follow_move(self, row: EventRow) -> EventRow:
        new_room_id = self._new_rooms.get(row.room_id)
        if new_room_id is None or row.source_id is None:
            return row
        return row._replace(
            room_id=new_room_id, source_id=str(int(row.source_id) - MIGRATED_ID_OFFSET)
        )

    def _undo_move(self, row: EventRow) -> EventRow | None:
        """Return the row of an event as the old room contains it, or None if there is none."""
        old_room_id = self._old_rooms.get(row.room_id)
        if old_room_id is None or row.source_id is None or not row.source_id.startswith("-"):
            return None
        return row._replace(
            room_id=old_room_id, source_id=str(int(row.source_id) + MIGRATED_ID_OFFSET)
        )


async def _look_up(rows: Sequence[EventRow]) -> dict[UUID, _Outcome]:
    """Return the outcome for each event, by the id of its row."""
    if not rows:
        return {}
    columns = dict(zip(EventRow._fields, zip(*rows, strict=True), strict=True))
    try:
        # Inside the caller's transaction a failure must not abort that transaction.
        async with transaction() if engine.transaction_exists() else nullcontext():
            found = await engine.fetch(LOOK_UP_EVENTS, **columns)
    except InvalidInput as error:
        # PostgreSQL can't represent a value of one of the events, such as a NUL character.
        if len(rows) == 1:
            return {rows[0].event_id: _Outcome(rows[0].room_id, None, error, is_stored=False)}
        middle = len(rows) // 2
        return {**await _look_up(rows[:middle]), **await _look_up(rows[middle:])}
    return {
        row["id"]: _Outcome(row["room_id"], row["source_id"], _find_problem(row), row["is_stored"])
        for row in found
    }


def _find_problem(row: asyncpg.Record) -> InvalidInput | None:
    if not row["is_valid"]:
        return InvalidInput("The database does not accept this event.")
    if row["is_too_late"]:
        return time_out_of_range()
    if row["closed_before"] is not None:
        return EventArchived(row["closed_before"])
    try:
        check_texts(MemberParticipation, source_id=row["source_id"])
    except InvalidInput as error:
        return error
    return None
