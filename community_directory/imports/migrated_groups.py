"""Recognizes a Telegram group and the supergroup that it became by their common messages.

Telegram Desktop exports the messages of the old group together with those of the supergroup, under
their ids minus 1,000,000,000, and names neither the old group nor its id.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from community_directory.database import Statement, engine
from community_directory.imports.dry_run import DryRun
from community_directory.queries.participation import NewEvent
from community_directory.queries.rooms import MIGRATED_ID_OFFSET, move_room
from community_directory.tables import EventType, Platform

GROUP_PATTERN = "^-[1-9][0-9]{0,11}$"
"""The room ids of groups; those of supergroups have 13 digits or more."""
SUPERGROUP_PATTERN = "^-[1-9][0-9]{12,}$"

MAX_ZONE_DIFFERENCE = timedelta(hours=26)
"""The most by which the time of a message is wrong that was read in another zone than its own."""
ZONE_STEP_SECONDS = 15 * 60
"""All differences between two time zones are multiples of it."""
MIN_MESSAGES_IN_OTHER_ZONE = 3
MAX_MESSAGES_IN_OTHER_ZONE = 50
"""The number of messages of a batch that are looked for at other times than their own."""

FIND_MOVE = Statement("""
SELECT EXISTS (
    SELECT FROM directory_moved_rooms
    WHERE platform = :platform AND :room_id IN (room_id, moved_to)
)
""")

# OFFSET 0 keeps the planner from reading the whole table for a join with the list of messages, and
# from looking for the source id in all rooms rather than for the times of the member.
FIND_ROOMS = Statement("""
SELECT stored.room_id, extract(epoch FROM stored.occurred_at - message.occurred_at)::float8
FROM unnest(:member_ids::text[], :source_ids::text[], :times::timestamptz[])
    AS message(member_id, source_id, occurred_at)
CROSS JOIN LATERAL (
    SELECT room_id, occurred_at, source_id, platform, event_type FROM member_participation
    WHERE member_id = message.member_id
        AND occurred_at BETWEEN message.occurred_at - :tolerance::interval
            AND message.occurred_at + :tolerance::interval
    OFFSET 0
) AS stored
WHERE stored.source_id = message.source_id
    AND platform = :platform AND event_type = :event_type
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
        the same message. Old exports have times without a zone, so several messages whose times
        differ by the same number of quarters of an hour are the same ones, too.
        """
        if not events:
            return
        room_id = str(events[0].room_id)
        sought = _list_sought_messages(events)
        if not sought or await self._is_known(room_id):
            return
        is_group = bool(re.match(GROUP_PATTERN, room_id))
        pattern = SUPERGROUP_PATTERN if is_group else GROUP_PATTERN
        others = [other for other in await self._find_rooms(sought) if re.match(pattern, other)]
        if len(others) != 1:
            return
        old, new = (room_id, others[0]) if is_group else (others[0], room_id)
        if self._dry_run is not None:
            self._dry_run.move_room(old, new)
        else:
            await move_room(Platform.TELEGRAM, old, new)
        self._is_settled |= {old: True, new: True}

    async def _find_rooms(self, sought: Sequence[SoughtMessage]) -> set[str]:
        """Return the rooms that contain these messages, at their times or those of another zone."""
        found = await self._find_messages(sought, timedelta(0))
        if not found:
            sample = sought[:MAX_MESSAGES_IN_OTHER_ZONE]
            differences = Counter(await self._find_messages(sample, MAX_ZONE_DIFFERENCE))
            found = [
                (room_id, seconds)
                for (room_id, seconds), count in differences.items()
                if seconds % ZONE_STEP_SECONDS == 0 and count >= MIN_MESSAGES_IN_OTHER_ZONE
            ]
        return {room_id for room_id, _ in found}

    async def _find_messages(
        self, sought: Sequence[SoughtMessage], tolerance: timedelta
    ) -> list[tuple[str, float]]:
        """Return the room of each message that is found, and by how many seconds it is later."""
        member_ids, source_ids, times = zip(*sought, strict=True)
        records = await engine.fetch(
            FIND_ROOMS,
            member_ids=member_ids,
            source_ids=source_ids,
            times=times,
            tolerance=tolerance,
            platform=Platform.TELEGRAM,
            event_type=EventType.MESSAGE,
        )
        found = [(room_id, seconds) for room_id, seconds in records]
        if self._dry_run is not None:
            found += self._dry_run.find_messages(sought, tolerance)
        return found

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
