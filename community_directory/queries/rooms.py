"""Rooms that became other rooms, such as a Telegram group that became a supergroup.

Callers use `move_room` as `participation.move_room`.
"""

from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries import roll_ups
from community_directory.queries.events import CURRENT_SOURCE_ID
from community_directory.queries.merge_locks import LOCK_MERGES
from community_directory.queries.values import check_texts, id_text
from community_directory.tables import MemberParticipation, Platform

MIGRATED_ID_OFFSET = 1_000_000_000
"""Telegram Desktop exports message 42 of the group that became a supergroup as -999,999,958."""

# No event may reach the old room after its events have moved: the lock waits for every statement
# that stores events, and later ones see the move.
LOCK_EVENTS = Statement("LOCK TABLE member_participation IN SHARE ROW EXCLUSIVE MODE")

FIND_MOVES = Statement("""
SELECT room_id, moved_to FROM directory_moved_rooms
WHERE platform = :platform AND room_id IN (:old_room_id, :new_room_id)
""")

ADD_MOVE = Statement("""
WITH
-- The rooms that had moved to the old one: their events move on.
forwarded AS (
    UPDATE directory_moved_rooms
    SET moved_to = :new_room_id, id_offset = id_offset + :id_offset::bigint,
        id_prefix = :id_prefix::text || id_prefix
    WHERE platform = :platform AND moved_to = :old_room_id
)
INSERT INTO directory_moved_rooms (platform, room_id, moved_to, id_offset, id_prefix)
VALUES (:platform, :old_room_id, :new_room_id, :id_offset::bigint, :id_prefix::text)
""")

_MOVING_EVENTS = f"""
    SELECT id, platform, moved_to AS room_id, {CURRENT_SOURCE_ID} AS source_id, event_type,
        member_id, source_id AS old_source_id
    FROM member_participation JOIN directory_moved_rooms USING (platform, room_id)
    WHERE platform = :platform AND room_id = :old_room_id
"""
"""The events of the old room, with their places in the new one."""

# An export of the new room can contain the events of the old one, too.
DELETE_REPEATED_EVENTS = Statement(f"""
SELECT public.member_participation_take_back(
    platform, :old_room_id, old_source_id, event_type, member_id
)
FROM ({_MOVING_EVENTS}) AS moving
JOIN member_participation USING (platform, room_id, source_id, event_type, member_id)
""")

MOVE_EVENTS = Statement(f"""
WITH moved AS (
    UPDATE member_participation AS event
    SET room_id = moving.room_id, source_id = moving.source_id
    FROM ({_MOVING_EVENTS}) AS moving
    WHERE event.id = moving.id AND event.member_id = moving.member_id
    RETURNING 1
)
SELECT count(*) FROM moved
""")


def _make_counts_statement(table: str, time: str) -> Statement:
    """Return the statement that moves the counts of the old room in one of the tables.

    It returns the members who have them.
    """
    return Statement(f"""
WITH moved AS (
    DELETE FROM {table} WHERE platform = :platform AND room_id = :old_room_id RETURNING *
)
INSERT INTO {table} AS room ({time}, platform, room_id, member_id, event_count, message_count)
SELECT {time}, platform, :new_room_id, member_id, event_count, message_count FROM moved
ON CONFLICT ({time}, platform, room_id, member_id) DO UPDATE
SET event_count = room.event_count + EXCLUDED.event_count,
    message_count = room.message_count + EXCLUDED.message_count
RETURNING member_id
""")


# A day whose events have only moved keeps its checksum, and is not rolled up again: its counts move
# here. A day that loses events that were in both rooms has another checksum: the next roll-up
# counts it again.
MOVE_COUNTS = (
    _make_counts_statement("member_daily_rooms", "day"),
    _make_counts_statement("member_monthly_rooms", "month"),
)


async def move_room(platform: str, old_room_id: str | int, new_room_id: str | int) -> int:
    """Move all events of a room to the room that it became, also those that arrive later.

    Call it when a Telegram group becomes a supergroup (`migrate_to_chat_id`). Message ids start
    again in the new room, so the events get other source ids: on Telegram the message's id minus
    1,000,000,000, as Telegram Desktop exports them, and otherwise the old room's id, a colon and
    the source id. An event that the new room contains already is stored once. The call waits for
    merges, for roll-ups and for the calls that are storing events, and later ones wait for it. A
    repeated call changes nothing.

    Returns:
        The number of events that moved.

    Raises:
        InvalidInput: The old room has moved to another room, the new one has moved itself, both
            are the same, or an id can't be stored.
    """
    old, new = id_text(old_room_id, "old_room_id"), id_text(new_room_id, "new_room_id")
    check_texts(MemberParticipation, platform=platform)
    for room_id in (old, new):
        check_texts(MemberParticipation, room_id=room_id)
    with long_running():
        async with transaction():
            # A roll-up that read the events before could store counts of the old room afterwards.
            await engine.fetch(LOCK_MERGES)
            await engine.fetch(LOCK_EVENTS)
            moves = await engine.fetch(
                FIND_MOVES, platform=platform, old_room_id=old, new_room_id=new
            )
            for room_id, moved_to in moves:
                if (room_id, moved_to) != (old, new):
                    raise InvalidInput(
                        f"Room {sanitize_for_message(room_id)} has moved to "
                        f"{sanitize_for_message(moved_to)}: name that room.",
                        field="old_room_id" if room_id == old else "new_room_id",
                    )
            if not moves:
                await engine.fetch(
                    ADD_MOVE,
                    platform=platform,
                    old_room_id=old,
                    new_room_id=new,
                    id_offset=MIGRATED_ID_OFFSET if platform == Platform.TELEGRAM else None,
                    id_prefix=f"{old}:",
                )
            await engine.fetch(DELETE_REPEATED_EVENTS, platform=platform, old_room_id=old)
            [(moved,)] = await engine.fetch(MOVE_EVENTS, platform=platform, old_room_id=old)
            await _move_counts(platform, old, new)
            return int(moved)


async def _move_counts(platform: str, old: str, new: str) -> None:
    counted: set[str] = set()
    for statement in MOVE_COUNTS:
        found = await engine.fetch(statement, platform=platform, old_room_id=old, new_room_id=new)
        counted |= {member_id for (member_id,) in found}
    await roll_ups.count_room_spans_of(counted)
