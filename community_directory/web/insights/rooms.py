"""Rooms: platforms and rooms side by side."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import asyncpg

from community_directory.calendar import today
from community_directory.database import Parameters, Statement, engine
from community_directory.queries.activity import select_rooms, union
from community_directory.queries.archived_days import find_archive
from community_directory.queries.standing import ABSENT
from community_directory.tables import EventType
from community_directory.web.insights.charts import Span, draw_line, split_into_steps
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

MAX_SHOWN_ROOMS = 20
MAX_ROOMS = 1000
"""The most rooms of a period that are compared with the period before."""

SUM_ROOMS = f"""
SELECT platform, room_id, sum(event_count)::bigint AS events,
    sum(message_count)::bigint AS messages,
    sum(event_count) / sum(sum(event_count)) OVER () AS share
FROM ({{PARTS}}) AS parts
GROUP BY 1, 2 HAVING sum(event_count) > 0 ORDER BY events DESC, 1, 2 LIMIT {MAX_ROOMS}
"""
# To sum each part, and then the sums, takes a sixth less than to sum the rows of all parts.
SUM_PART = """
SELECT platform, room_id, sum(event_count) AS event_count, sum(message_count) AS message_count
FROM ({PART}) AS part GROUP BY 1, 2
"""
# The people of the platforms have no room: a person is in several rooms of a platform.
COUNT_PEOPLE = f"""
WITH {{FOUND}}
(
    SELECT platform, room_id, count(*) AS people FROM found {{ROOMS}}
    GROUP BY 1, 2 ORDER BY people DESC, 1, 2 LIMIT {MAX_ROOMS}
)
UNION ALL
SELECT platform, NULL, count(*)
FROM (SELECT platform, member_id FROM found GROUP BY 1, 2) AS active GROUP BY 1
"""
FIND_PEOPLE = f"""
-- Those who were in a room before and after the period, and in it, too. If the period ends
-- yesterday, they did something today. As an alternative in the condition below, PostgreSQL would
-- take this for so expensive that it would sort all others.
remaining AS MATERIALIZED (
    SELECT platform, room_id, member_id FROM member_rooms AS room
    WHERE first_day < {{SINCE}} AND last_day > {{UNTIL}} AND member_id NOT IN ({ABSENT})
        AND (SELECT sum(event_count) FROM ({{PARTS}}) AS parts) > 0
),
-- All others came, or were last there, in the period. To read the rows twice is faster than to
-- store them.
found AS NOT MATERIALIZED (
    SELECT platform, room_id, member_id FROM member_rooms
    WHERE (first_day BETWEEN {{SINCE}} AND {{UNTIL}} OR last_day BETWEEN {{SINCE}} AND {{UNTIL}})
        AND member_id NOT IN ({ABSENT})
    UNION ALL SELECT * FROM remaining
)"""
OF_THE_ROOM = """member_id = room.member_id AND platform = room.platform
    AND room_id = room.room_id"""
SUM_PEOPLE = f"""
found AS MATERIALIZED (
    SELECT platform, room_id, member_id FROM ({{PARTS}}) AS parts
    WHERE member_id NOT IN ({ABSENT}) GROUP BY 1, 2, 3 HAVING sum(event_count) > 0
)"""
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
    """The platforms and rooms of a period.

    Attributes:
        steps: The days of the points of the lines of the platforms.
        platforms: The platforms, the busiest first.
        active: Those with events, the busiest first.
        quiet: Those with events in the period before and none in the period, the busiest first.
    """

    steps: list[Span]
    platforms: list[PlatformFigures]
    active: list[RoomFigures]
    quiet: list[QuietRoom]


async def load_rooms(period: Period) -> Rooms:
    """Return the platforms and the rooms of the period."""
    before = period.before
    steps = split_into_steps(period.since, period.until)

    async def load_sums() -> tuple[list[asyncpg.Record], ...]:
        by_step = await engine.read(
            COUNT_PLATFORMS,
            since=period.since,
            until=period.until,
            before=period.since if before is None else before.since,
            steps=[step.since for step in steps],
        )
        return by_step, await _sum_rooms(period), await _sum_rooms(before)

    # To count the people takes as long as all sums in turn: each has a core of two.
    people, (by_step, found, earlier) = await asyncio.gather(_count_people(period), load_sums())
    if len(people) >= MAX_ROOMS:
        # The rooms with most people are not all the busiest ones.
        missing = [_room(each) for each in found if _room(each) not in people]
        people |= await _count_people(period, missing)
    counts = {_room(each): each["events"] for each in earlier}
    rooms = [
        RoomFigures(
            platform=each["platform"],
            room_id=each["room_id"],
            events=each["events"],
            messages=each["messages"],
            people=people.get(_room(each), 0),
            share=float(each["share"]),
            before=None if before is None else counts.get(_room(each), 0),
            path=_path(f"{each['platform']}:{each['room_id']}", period),
        )
        for each in found
    ]
    active = {(room.platform, room.room_id) for room in rooms}
    return Rooms(
        steps=steps,
        platforms=_make_platforms(by_step, people, len(steps), period),
        active=rooms,
        quiet=[QuietRoom(*room, events) for room, events in counts.items() if room not in active],
    )


def _make_platforms(
    records: Sequence[asyncpg.Record],
    people: Mapping[tuple[str, str | None], int],
    step_count: int,
    period: Period,
) -> list[PlatformFigures]:
    platforms = [
        _make_platform(
            platform,
            [record for record in records if record["platform"] == platform],
            people.get((platform, None), 0),
            step_count,
            period,
        )
        for platform in sorted(
            {record["platform"] for record in records} | {name for name, _ in people}
        )
    ]
    total = sum(each.events for each in platforms) or 1
    with_shares = [each._replace(share=each.events / total) for each in platforms]
    return sorted(with_shares, key=lambda each: -each.events)


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


async def _sum_rooms(period: Period | None) -> list[asyncpg.Record]:
    """Return what happened in the rooms of a period, the busiest first."""
    if period is None:
        return []
    parameters = Parameters()
    parts = union(SUM_PART.format(PART=part) for part in select_rooms(period.span, parameters))
    return await engine.read(SUM_ROOMS.format(PARTS=parts), *parameters)


async def _count_people(
    period: Period, rooms: Sequence[tuple[str, str]] | None = None
) -> dict[tuple[str, str | None], int]:
    """Return the number of present people in rooms, and on each platform under the room None.

    A period that ends earlier than yesterday has many people who were there before and after it.

    Args:
        period: The period.
        rooms: The rooms; None stands for those with most people, up to `MAX_ROOMS`.
    """
    parameters = Parameters()
    condition = ""
    if rooms is not None:
        platforms = parameters.bind([platform for platform, _ in rooms])
        ids = parameters.bind([room_id for _, room_id in rooms])
        condition = f"""WHERE (platform, room_id) IN (
            SELECT * FROM unnest({platforms}::text[], {ids}::text[])
        )"""
    if period.until < today() - timedelta(days=1):
        found = SUM_PEOPLE.format(PARTS=union(select_rooms(period.span, parameters)))
    else:
        found = FIND_PEOPLE.format(
            SINCE=f"{parameters.bind(period.since)}::date",
            UNTIL=f"{parameters.bind(period.until)}::date",
            PARTS=union(select_rooms(period.span, parameters, OF_THE_ROOM)),
        )
    sql = COUNT_PEOPLE.format(FOUND=found, ROOMS=condition)
    records = await engine.read(sql, *parameters)
    return {(each["platform"], each["room_id"]): each["people"] for each in records}


def _room(record: asyncpg.Record) -> tuple[str, str]:
    """Return the platform and the id of the room of a record."""
    return record["platform"], record["room_id"]


def _path(room: str, period: Period) -> str:
    return to_people(status="present", room=room, since=period.since, until=period.until)


async def _build(_: Visit, period: Period) -> Mapping[str, object]:
    rooms, archive = await asyncio.gather(load_rooms(period), find_archive())
    archived_until = None if archive is None else archive.until
    return {
        "steps": rooms.steps,
        "platforms": rooms.platforms,
        "rooms": rooms.active[:MAX_SHOWN_ROOMS],
        "other_rooms": len(rooms.active[MAX_SHOWN_ROOMS:]),
        "quiet_rooms": rooms.quiet[:MAX_SHOWN_ROOMS],
        "other_quiet_rooms": len(rooms.quiet[MAX_SHOWN_ROOMS:]),
        "longest": max((room.events for room in rooms.active), default=0),
        "archived_until": archived_until
        if archived_until is not None and archived_until >= period.since
        else None,
    }


async def load_platforms_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the table of platforms."""
    rooms = await load_rooms(period)
    rows = [
        (each.platform, each.events, each.messages, each.people, each.before)
        for each in rooms.platforms
    ]
    return ChartTable(["platform", "events", "messages", "people", "events_before"], rows)


async def load_platform_lines_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the lines of the platforms."""
    rooms = await load_rooms(period)
    rows = [
        (each.platform, *step, events)
        for each in rooms.platforms
        for step, events in zip(rooms.steps, each.steps, strict=True)
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
