"""What Insights counts, recounted in plain Python from events, highlights and members."""

from collections import Counter, defaultdict
from datetime import date, timedelta
from typing import Any

from community_directory.calendar import load_zone
from tests.tables import rows

Table = dict[Any, Any]
"""The counts of a table by its key."""
SUMS = ("monthly highlights", "milestones")
"""The tables that are counted from the highlights alone."""


TABLES_WITHOUT_KEYS = (
    "directory_hourly_counts, member_daily_rooms, member_monthly_rooms, member_rooms"
)
"""The counted tables without a foreign key, which do not follow a TRUNCATE of the members."""


async def find_wrong_sums(directory: rows.Database) -> dict[str, tuple[Table, Table]]:
    """Return the tables that differ from the highlights, whether or not days are rolled up."""
    found = await find_wrong_counts(directory)
    return {table: rows for table, rows in found.items() if table in SUMS}


async def find_wrong_counts(directory: rows.Database) -> dict[str, tuple[Table, Table]]:
    """Return each table that differs from a recount, with the rows that are wrong and right.

    Every day that has events must be rolled up. The hours of archived days are not compared:
    nothing is left to count them from.
    """
    found = {}
    for table, counted in (
        ("monthly highlights", await count_months(directory)),
        ("daily rooms", await count_rooms(directory, "day")),
        ("monthly rooms", await count_rooms(directory, "month")),
        ("days in rooms", await find_days_in_rooms(directory)),
        ("hours", await count_hours(directory)),
        ("milestones", await count_milestones(directory)),
    ):
        stored = await STORED[table](directory)
        if stored != counted:
            wrong, right = stored.items() - counted.items(), counted.items() - stored.items()
            found[table] = (dict(wrong), dict(right))
    return found


async def count_months(directory: rows.Database) -> Table:
    """Count the highlights of each person and month."""
    months: defaultdict[tuple[str, date], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for number, day, *counts in await list_highlights(directory):
        month = months[number, day.replace(day=1)]
        month[:] = [sum(pair) for pair in zip(month, [1, *counts], strict=True)]
    return {key: tuple(counts) for key, counts in months.items()}


async def count_rooms(directory: rows.Database, unit: str) -> Table:
    """Count the events and the messages of each person in each room, by "day" or "month"."""
    rooms: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0])
    for event in await list_events(directory):
        day = event["day"] if unit == "day" else event["day"].replace(day=1)
        counts = rooms[event["member_id"], day, event["platform"], event["room_id"]]
        counts[0] += 1
        counts[1] += event["event_type"] == "MESSAGE"
    return {key: tuple(counts) for key, counts in rooms.items()}


async def find_days_in_rooms(directory: rows.Database) -> Table:
    """Find the first and the last day of each person in each room."""
    days = defaultdict[Any, list[date]](list)
    for event in await list_events(directory):
        days[event["member_id"], event["platform"], event["room_id"]].append(event["day"])
    return {key: (min(found), max(found)) for key, found in days.items()}


async def count_hours(directory: rows.Database) -> Table:
    """Count the events of everybody in each hour of the days that are not archived."""
    return Counter(
        (event["day"], event["hour"], event["platform"], event["event_type"])
        for event in await list_events(directory)
    )


async def count_milestones(directory: rows.Database) -> Table:
    """Find the first days and the active weeks of everybody who has milestones or highlights."""
    zone = load_zone(None)
    days = defaultdict[str, list[date]](list)
    spoken = defaultdict[str, list[date]](list)
    for number, day, messages, *_ in await list_highlights(directory):
        days[number].append(day)
        if messages:
            spoken[number].append(day)
    begun = dict[str, Any].fromkeys(days)
    for number, joined_at, approved_at in await directory.fetch(
        "SELECT member_id, joined_at, approved_at FROM member_milestones"
    ):
        if number in days or joined_at or approved_at:
            begun[number] = joined_at
    found = {}
    for number, joined_at in begun.items():
        weeks = []
        if joined_at is not None:
            joined = joined_at.astimezone(zone).date()
            ages = [(day - joined) // timedelta(days=1) for day in days[number]]
            weeks = sorted({age // 7 + 1 for age in ages if 0 <= age < 84})
        first, spoke = min(days[number], default=None), min(spoken[number], default=None)
        found[number] = (first, spoke, tuple(weeks))
    return found


async def list_highlights(directory: rows.Database) -> list[Any]:
    """Return the highlights of all persons: number, day, messages, reactions and minutes."""
    records = await directory.fetch(
        "SELECT member_id, highlight_date, message_count, reaction_count, voice_minutes"
        " FROM member_daily_highlights JOIN community_members USING (member_id) WHERE NOT is_bot"
    )
    return [[number, day, *(count or 0 for count in counts)] for number, day, *counts in records]


async def list_events(directory: rows.Database) -> list[dict[str, Any]]:
    """Return the events of all persons on days that are not archived, with day and hour."""
    zone = load_zone(None)
    [(archived_until,)] = await directory.fetch("SELECT max(archived_until) FROM directory_archive")
    records = await directory.fetch(
        "SELECT event.* FROM member_participation AS event"
        " JOIN community_members USING (member_id) WHERE NOT is_bot"
    )
    events = []
    for record in records:
        at = record["occurred_at"].astimezone(zone)
        if archived_until is None or at.date() > archived_until:
            events.append({**record, "day": at.date(), "hour": at.hour})
    return events


async def _stored_months(directory: rows.Database) -> Table:
    records = await directory.fetch(
        "SELECT member_id, month, active_days, message_count, reaction_count, voice_minutes"
        " FROM member_monthly_highlights"
    )
    return {(number, month): tuple(counts) for number, month, *counts in records}


async def _stored_rooms(directory: rows.Database) -> Table:
    records = await directory.fetch(
        "SELECT member_id, day, platform, room_id, event_count, message_count"
        " FROM member_daily_rooms"
    )
    return {tuple(key): tuple(counts) for *key, counts in _split(records)}


async def _stored_room_months(directory: rows.Database) -> Table:
    records = await directory.fetch(
        "SELECT member_id, month, platform, room_id, event_count, message_count"
        " FROM member_monthly_rooms"
    )
    return {tuple(key): tuple(counts) for *key, counts in _split(records)}


def _split(records: list[Any]) -> list[list[Any]]:
    return [[*record[:4], record[4:]] for record in map(list, records)]


async def _stored_days_in_rooms(directory: rows.Database) -> Table:
    records = await directory.fetch(
        "SELECT member_id, platform, room_id, first_day, last_day FROM member_rooms"
    )
    return {tuple(key): (first, last) for *key, first, last in map(list, records)}


async def _stored_hours(directory: rows.Database) -> Table:
    records = await directory.fetch(
        "SELECT day, hour, platform, event_type, event_count FROM directory_hourly_counts"
        " WHERE day > coalesce((SELECT archived_until FROM directory_archive), '-infinity')"
    )
    return Counter({tuple(key): count for *key, count in records})


async def _stored_milestones(directory: rows.Database) -> Table:
    records = await directory.fetch(
        "SELECT member_id, first_active_day, first_message_day, active_weeks FROM member_milestones"
    )
    return {number: (first, spoke, tuple(weeks)) for number, first, spoke, weeks in records}


STORED = {
    "monthly highlights": _stored_months,
    "daily rooms": _stored_rooms,
    "monthly rooms": _stored_room_months,
    "days in rooms": _stored_days_in_rooms,
    "hours": _stored_hours,
    "milestones": _stored_milestones,
}
