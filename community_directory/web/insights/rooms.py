"""Rooms: platforms and rooms side by side."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg

from community_directory.database import Statement, engine
from community_directory.queries.archived_days import find_archive
from community_directory.queries.filter_values import DayPeriod
from community_directory.queries.standing import PRESENT
from community_directory.tables import EventType
from community_directory.web.insights.charts import Span, draw_line, split_into_steps
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

MAX_SHOWN_ROOMS = 20
MAX_ROOMS = 1000
"""The most rooms of a period that are compared with the period before."""

# Whole months are read from the months, and the days before and after them from the days.
PERIOD_ROOMS = """
    SELECT member_id, platform, room_id, event_count, message_count
    FROM member_monthly_rooms WHERE month BETWEEN :months_since AND :months_until
    UNION ALL
    SELECT member_id, platform, room_id, event_count, message_count
    FROM unnest(:parts_since::date[], :parts_until::date[]) AS part(since, until)
        JOIN member_daily_rooms ON day BETWEEN since AND until
"""
LIST_ROOMS = Statement(f"""
SELECT platform, room_id, sum(events) AS events, sum(messages) AS messages,
    count(*) FILTER (WHERE {PRESENT}) AS people, sum(sum(events)) OVER () AS all_events
FROM (
    SELECT member_id, platform, room_id, sum(event_count) AS events, sum(message_count) AS messages
    FROM ({PERIOD_ROOMS}) AS rooms GROUP BY 1, 2, 3
) AS counted JOIN community_members USING (member_id)
GROUP BY 1, 2 ORDER BY events DESC, 1, 2 LIMIT {MAX_ROOMS}
""")
SUM_ROOMS = Statement(f"""
SELECT platform, room_id, sum(event_count) AS events FROM ({PERIOD_ROOMS}) AS rooms
GROUP BY 1, 2 ORDER BY events DESC, 1, 2 LIMIT {MAX_ROOMS}
""")
COUNT_PLATFORM_PEOPLE = Statement(f"""
SELECT platform, count(*) AS people
FROM (SELECT DISTINCT platform, member_id FROM ({PERIOD_ROOMS}) AS rooms) AS active
    JOIN community_members USING (member_id)
WHERE {PRESENT} GROUP BY 1
""")
# The step is the point of the line of the platform; the period before has none.
COUNT_PLATFORMS = Statement(f"""
SELECT platform, CASE WHEN day >= :since THEN width_bucket(day, :steps::date[]) END AS step,
    sum(event_count) AS events,
    coalesce(sum(event_count) FILTER (WHERE event_type = '{EventType.MESSAGE}'), 0) AS messages
FROM directory_hourly_counts WHERE day BETWEEN :before AND :until GROUP BY 1, 2
""")


class PlatformFigures(NamedTuple):
    """What happened on a platform in the period, and before.

    Attributes:
        platform: Its name.
        events: All events.
        messages: The messages among them.
        people: The present people who did something there.
        share: The part of the events of all platforms, from 0 to 1.
        before: The events of the period before; None if there is none.
        steps: The events of each of the steps of the line.
        line: The line as the points of an SVG polyline.
        path: The address of the people.
    """

    platform: str
    events: int
    messages: int
    people: int
    share: float
    before: int | None
    steps: list[int]
    line: str
    path: str


class RoomFigures(NamedTuple):
    """What happened in a room in the period, and before; as `PlatformFigures` of a room."""

    platform: str
    room_id: str
    events: int
    messages: int
    people: int
    share: float
    before: int | None
    path: str


class QuietRoom(NamedTuple):
    """A room without events in the period, and its events in the period before."""

    platform: str
    room_id: str
    before: int


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of a period.

    Attributes:
        active: Those with events, the busiest first.
        quiet: Those with events in the period before and none in the period, the busiest first.
    """

    active: list[RoomFigures]
    quiet: list[QuietRoom]


async def load_platforms(period: Period) -> tuple[list[Span], list[PlatformFigures]]:
    """Return the steps of the lines, and the platforms, the one with the most events first."""
    steps = split_into_steps(period.since, period.until)
    before = period.before
    found, people = await asyncio.gather(
        engine.read(
            COUNT_PLATFORMS,
            since=period.since,
            until=period.until,
            before=period.since if before is None else before.since,
            steps=[step.since for step in steps],
        ),
        engine.read(COUNT_PLATFORM_PEOPLE, **_parts(period)),
    )
    people_counts = {record["platform"]: record["people"] for record in people}
    platforms = sorted({record["platform"] for record in found} | people_counts.keys())
    figures = [
        _make_platform(
            platform,
            [record for record in found if record["platform"] == platform],
            people_counts.get(platform, 0),
            len(steps),
            period,
        )
        for platform in platforms
    ]
    total = sum(each.events for each in figures) or 1
    figures = [each._replace(share=each.events / total) for each in figures]
    return steps, sorted(figures, key=lambda each: -each.events)


def _make_platform(
    platform: str, records: Sequence[asyncpg.Record], people: int, step_count: int, period: Period
) -> PlatformFigures:
    inside = [record for record in records if record["step"] is not None]
    by_step = {record["step"]: record["events"] for record in inside}
    steps = [int(by_step.get(step, 0)) for step in range(1, step_count + 1)]
    before = sum(record["events"] for record in records if record["step"] is None)
    return PlatformFigures(
        platform=platform,
        events=sum(steps),
        messages=sum(record["messages"] for record in inside),
        people=people,
        share=0,
        before=None if period.before is None else before,
        steps=steps,
        line=draw_line(steps),
        path=_path(platform, period),
    )


async def load_rooms(period: Period) -> Rooms:
    """Return the rooms of the period."""
    before = period.before
    found, earlier = await asyncio.gather(
        engine.read(LIST_ROOMS, **_parts(period)),
        _sum_rooms(before),
    )
    counts = {(platform, room_id): events for platform, room_id, events in earlier}
    rooms = [
        RoomFigures(
            platform=platform,
            room_id=room_id,
            events=events,
            messages=messages,
            people=people,
            share=float(events / all_events),
            before=None if before is None else counts.get((platform, room_id), 0),
            path=_path(f"{platform}:{room_id}", period),
        )
        for platform, room_id, events, messages, people, all_events in found
    ]
    active = {(room.platform, room.room_id) for room in rooms}
    quiet = [QuietRoom(*room, events) for room, events in counts.items() if room not in active]
    return Rooms(rooms, quiet)


async def _sum_rooms(period: Period | None) -> list[asyncpg.Record]:
    return [] if period is None else await engine.read(SUM_ROOMS, **_parts(period))


def _parts(period: Period) -> dict[str, object]:
    """Return the parameters of `PERIOD_ROOMS`; the filter `room` of People has the same parts."""
    months, parts = DayPeriod(period.since, period.until).split()
    return {
        "months_since": months[0].since if months else None,
        "months_until": months[0].until if months else None,
        "parts_since": [part.since for part in parts],
        "parts_until": [part.until for part in parts],
    }


def _path(room: str, period: Period) -> str:
    return to_people(status="present", room=room, since=period.since, until=period.until)


async def _build(_: Visit, period: Period) -> Mapping[str, object]:
    (steps, platforms), rooms, archive = await asyncio.gather(
        load_platforms(period), load_rooms(period), find_archive()
    )
    archived_until = None if archive is None else archive.until
    return {
        "steps": steps,
        "platforms": platforms,
        "rooms": rooms.active[:MAX_SHOWN_ROOMS],
        "other_rooms": len(rooms.active[MAX_SHOWN_ROOMS:]),
        "quiet_rooms": rooms.quiet[:MAX_SHOWN_ROOMS],
        "other_quiet_rooms": len(rooms.quiet[MAX_SHOWN_ROOMS:]),
        "longest": max((room.events for room in rooms.active), default=0),
        "archived_until": archived_until
        if archived_until is not None and archived_until >= period.since
        else None,
    }


async def load_platforms_table(_visit: Visit, period: Period) -> ChartTable:
    """Return the data of the table of platforms."""
    _, platforms = await load_platforms(period)
    rows = [
        (each.platform, each.events, each.messages, each.people, each.before) for each in platforms
    ]
    return ChartTable(["platform", "events", "messages", "people", "events_before"], rows)


async def load_platform_lines_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the lines of the platforms."""
    steps, platforms = await load_platforms(period)
    rows = [
        (each.platform, *step, events)
        for each in platforms
        for step, events in zip(steps, each.steps, strict=True)
    ]
    return ChartTable(["platform", "since", "until", "events"], rows)


async def load_rooms_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the table of rooms, up to `MAX_ROOMS`."""
    columns = ["platform", "room_id", "events", "messages", "people", "events_before"]
    rooms = await load_rooms(period)
    active = [
        (room.platform, room.room_id, room.events, room.messages, room.people, room.before)
        for room in rooms.active
    ]
    quiet = [(room.platform, room.room_id, 0, 0, 0, room.before) for room in rooms.quiet]
    return ChartTable(columns, [*active, *quiet])


PAGE = InsightsPage(
    "rooms",
    _build,
    {
        "platforms": load_platforms_table,
        "platform_lines": load_platform_lines_table,
        "rooms": load_rooms_table,
    },
)
