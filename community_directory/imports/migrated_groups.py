"""Recognizes a Telegram group and the supergroup that it became by their common messages.

Telegram Desktop exports the messages of the old group together with those of the supergroup, under
their ids minus 1,000,000,000, and names neither the old group nor its id.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from community_directory.database import Statement, engine
from community_directory.imports.dry_run import DryRun
from community_directory.queries.participation import NewEvent
from community_directory.queries.rooms import MIGRATED_ID_OFFSET, move_room
from community_directory.tables import EventType, Platform

GROUP_PATTERN = "^-[1-9][0-9]{0,11}$"
"""The room ids of groups; those of supergroups have 13 digits or more."""
SUPERGROUP_PATTERN = "^-[1-9][0-9]{12,}$"

FIND_MOVE = Statement("""
SELECT EXISTS (
    SELECT FROM directory_moved_rooms
    WHERE platform = :platform AND :room_id IN (room_id, moved_to)
)
""")

# OFFSET 0 keeps the planner from reading the whole table for a join with the list of messages.
FIND_ROOMS = Statement("""
SELECT DISTINCT stored.room_id
FROM unnest(:member_ids::text[], :source_ids::text[], :times::timestamptz[])
    AS message(member_id, source_id, occurred_at)
CROSS JOIN LATERAL (
    SELECT room_id FROM member_participation
    WHERE member_id = message.member_id AND occurred_at = message.occurred_at
        AND source_id = message.source_id
        AND platform = :platform AND event_type = :event_type
    OFFSET 0
) AS stored
""")


class SoughtMessage(NamedTuple):
    """A message as the other room contains it, if both rooms are the same group."""

    member_id: str
    source_id: str
    occurred_at: datetime


class MigratedGroups:
    """Moves each group whose supergroup appears in the same import or is stored, or vice versa."""

    def __init__(self, dry_run: DryRun | None) -> None:
        self._dry_run = dry_run
        self._is_settled: dict[str, bool] = {}
        """Whether the other half of each room was found, by the room's id."""

    async def join(self, events: Sequence[NewEvent]) -> None:
        """Move the old group to its supergroup if these events of one room show that it is one.

        The same author wrote a message at the same time under the same id in both: then they are
        the same message.
        """
        if not events:
            return
        room_id = str(events[0].room_id)
        sought = _list_sought_messages(events)
        if not sought or await self._is_known(room_id):
            return
        found = await _find_rooms(sought)
        if self._dry_run is not None:
            found |= self._dry_run.find_rooms(sought)
        is_group = bool(re.match(GROUP_PATTERN, room_id))
        others = [
            other
            for other in found
            if re.match(SUPERGROUP_PATTERN if is_group else GROUP_PATTERN, other)
        ]
        if len(others) != 1:
            return
        old, new = (room_id, others[0]) if is_group else (others[0], room_id)
        if self._dry_run is not None:
            self._dry_run.move_room(old, new)
        else:
            await move_room(Platform.TELEGRAM, old, new)
        self._is_settled |= {old: True, new: True}

    async def _is_known(self, room_id: str) -> bool:
        """Return whether the room is known to be a half of a group whose other half is known."""
        if room_id not in self._is_settled:
            [(is_moved,)] = await engine.fetch(
                FIND_MOVE, platform=Platform.TELEGRAM, room_id=room_id
            )
            self._is_settled[room_id] = is_moved
        return self._is_settled[room_id]


def _list_sought_messages(events: Sequence[NewEvent]) -> list[SoughtMessage]:
    """Return these messages of one room as the other half of the group would contain them.

    The list is empty for a supergroup without messages of an old group.
    """
    room_id = str(events[0].room_id)
    if re.match(SUPERGROUP_PATTERN, room_id):
        pattern, offset = "-[1-9][0-9]{0,9}", MIGRATED_ID_OFFSET
    elif re.match(GROUP_PATTERN, room_id):
        pattern, offset = "[1-9][0-9]{0,9}", -MIGRATED_ID_OFFSET
    else:
        return []
    return [
        SoughtMessage(
            str(event.member_id), str(int(str(event.source_id)) + offset), event.occurred_at
        )
        for event in events
        if event.event_type == EventType.MESSAGE
        and event.occurred_at is not None
        and re.fullmatch(pattern, str(event.source_id))
    ]


async def _find_rooms(sought: Sequence[SoughtMessage]) -> set[str]:
    member_ids, source_ids, times = zip(*sought, strict=True)
    records = await engine.fetch(
        FIND_ROOMS,
        member_ids=member_ids,
        source_ids=source_ids,
        times=times,
        platform=Platform.TELEGRAM,
        event_type=EventType.MESSAGE,
    )
    return {room_id for (room_id,) in records}
