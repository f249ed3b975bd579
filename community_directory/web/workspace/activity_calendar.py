"""A year of a person's activity: a calendar of days, the months, and the rooms.

Past days are counted in the highlights, which are rolled up every night. The days since the last
roll-up are counted from the events. Rooms are in the events alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import NamedTuple

from community_directory.calendar import days_between, load_zone, today
from community_directory.database import Statement, engine
from community_directory.queries import participation
from community_directory.queries.archived_days import ARCHIVED_UNTIL_SQL
from community_directory.queries.filter_values import checked_choice

WEEKS = 53
MAX_ROOM_EVENTS = 10_000
"""The newest events that are counted by room; all events of a busy year would take too long."""
MAX_ROOMS = 50
LEVELS = 5
"""The levels of the colours for days with activity."""
MIN_LABEL_WEEKS = 3
"""The weeks that the name of a month needs above the calendar."""

# There is one row without a day if the member has no highlights.
GET_HIGHLIGHTS = Statement("""
SELECT rolled_up_until, highlight_date, coalesce(message_count, 0), coalesce(reaction_count, 0),
    coalesce(voice_minutes, 0)
FROM (
    SELECT max(day) AS rolled_up_until FROM directory_rolled_up_days WHERE day < :today
) AS rolled_up LEFT JOIN member_daily_highlights
    ON member_id = :member_id AND highlight_date BETWEEN :since AND :today
""")

# The member's number comes from a query, so that PostgreSQL plans for a member of the usual
# activity. For a very active one it would read the newest events of everybody.
COUNT_ROOM_DAYS = Statement(f"""
WITH person AS MATERIALIZED (SELECT :member_id::text AS member_id), oldest AS (
    -- the time of the oldest event that is counted, from an index alone
    SELECT coalesce((
        SELECT occurred_at FROM member_participation
        WHERE member_id = (SELECT member_id FROM person) AND occurred_at < :end
        ORDER BY occurred_at DESC OFFSET :max_events - 1 LIMIT 1
    ), '-infinity') AS occurred_at
)
SELECT platform, room_id, (:days::date[])[width_bucket(occurred_at, :starts::timestamptz[])],
    count(*) FILTER (WHERE event_type = 'MESSAGE'), count(*) FILTER (WHERE event_type = 'REACTION'),
    count(*) FILTER (WHERE event_type = 'VOICE'), count(*) AS events, min(occurred_at) AS first_at,
    {ARCHIVED_UNTIL_SQL} AS archived_until
FROM member_participation
WHERE member_id = (SELECT member_id FROM person) AND occurred_at < :end
    AND occurred_at >= greatest((:starts::timestamptz[])[1], (SELECT occurred_at FROM oldest))
GROUP BY 1, 2, 3
""")


class Kind(StrEnum):
    """The kinds of activity by which the calendar is filtered."""

    ALL = "all"
    MESSAGES = "messages"
    REACTIONS = "reactions"
    VOICE = "voice"


class Room(NamedTuple):
    """A chat or channel of a platform."""

    platform: str
    room_id: str

    @property
    def text(self) -> str:
        """The room in the address of the page."""
        return f"{self.platform}:{self.room_id}"


@dataclass(frozen=True, slots=True)
class DayActivity:
    """The activity of one day: `voice` counts minutes, or, in one room, stays in a voice chat."""

    day: date
    messages: int = 0
    reactions: int = 0
    voice: int = 0

    def amount(self, kind: Kind) -> int:
        """Return how much there was of a kind; ten minutes of voice are as much as a message."""
        if kind is Kind.ALL:
            return self.messages + self.reactions + -(-self.voice // 10)
        return {
            Kind.MESSAGES: self.messages,
            Kind.REACTIONS: self.reactions,
            Kind.VOICE: self.voice,
        }[kind]

    def __add__(self, other: "DayActivity") -> "DayActivity":
        """Return both together, as activity of the first day."""
        return DayActivity(
            self.day,
            self.messages + other.messages,
            self.reactions + other.reactions,
            self.voice + other.voice,
        )


class Cell(NamedTuple):
    """A day in the calendar; the level is 0 to 5, or None after the present day."""

    day: DayActivity
    level: int | None


class MonthLabel(NamedTuple):
    """The name of a month above the column, from 1 on, in which it begins."""

    column: int
    first_day: date


class Month(NamedTuple):
    """The activity of a month, with the number of active days."""

    total: DayActivity
    active_days: int


@dataclass(frozen=True, slots=True)
class ActivityYear:
    """A year of activity until today.

    Attributes:
        cells: The days in whole weeks, the oldest first.
        labels: The months above the calendar.
        months: The months with activity, the last one first.
        total: The sum of all days.
        active_days: The number of days with activity.
        kind: The kind of activity that is shown.
        room: The room whose activity is shown; None means all rooms.
        rooms: The rooms in which the person was active, the one with the most events first.
        rooms_since: The first day on which the rooms are known; None if they all are.
    """

    cells: list[Cell]
    labels: list[MonthLabel]
    months: list[Month]
    total: DayActivity
    active_days: int
    kind: Kind
    room: Room | None
    rooms: list[Room]
    rooms_since: date | None


def calendar_days(first_weekday: int, last: date) -> list[date]:
    """Return the days of the calendar: whole weeks, of which the last one has the last day.

    Args:
        first_weekday: The weekday with which a week begins; 0 is Monday.
        last: The last day of the year.
    """
    start = last - timedelta(days=(last.weekday() - first_weekday) % 7, weeks=WEEKS - 1)
    return [start + timedelta(days=number) for number in range(WEEKS * 7)]


async def read_year(
    member_id: str, *, kind: str = "", room: str = "", first_weekday: int = 0
) -> ActivityYear:
    """Return the activity of a member in the last year, in the community's time zone.

    Args:
        member_id: The number of the member.
        kind: A kind of activity; "" means all kinds.
        room: A room as `Room.text`; "" means all rooms.
        first_weekday: The weekday with which a week begins; 0 is Monday.

    Raises:
        InvalidInput: There is no such kind.
    """
    last = today()
    days = calendar_days(first_weekday, last)
    chosen = Kind(checked_choice("kind", kind, Kind) or Kind.ALL)
    past = [day for day in days if day <= last]
    by_room, rooms_since = await _count_rooms(member_id, past)
    platform, _, room_id = room.partition(":")
    if room:
        shown = by_room.get(Room(platform, room_id), {})
    else:
        shown = await _count_days(member_id, past[0], last)
    return _draw(
        days,
        last,
        shown,
        chosen,
        room=Room(platform, room_id) if room else None,
        rooms=_order_rooms(by_room),
        rooms_since=rooms_since,
    )


async def _count_days(member_id: str, since: date, last: date) -> dict[date, DayActivity]:
    records = await engine.read(GET_HIGHLIGHTS, member_id=member_id, since=since, today=last)
    rolled_up_until = records[0]["rolled_up_until"]
    counted = {day: DayActivity(day, *counts) for _, day, *counts in records if day}
    # Events of yesterday can arrive after the roll-up of the night.
    live_since = since
    if rolled_up_until is not None:
        live_since = max(since, min(rolled_up_until + timedelta(days=1), last - timedelta(days=1)))
    for live in await participation.by_day(member_id=member_id, since=live_since, until=last):
        before = counted.get(live.day, DayActivity(live.day))
        counted[live.day] = replace(before, messages=live.messages, reactions=live.reactions)
    return counted


async def _count_rooms(
    member_id: str, days: Sequence[date]
) -> tuple[dict[Room, dict[date, DayActivity]], date | None]:
    """Count the newest events by room and day; return the first day of which all are counted."""
    span = days_between(days[0], days[-1], None)
    records = await engine.read(
        COUNT_ROOM_DAYS, member_id=member_id, max_events=MAX_ROOM_EVENTS, **span._asdict()
    )
    found: dict[Room, dict[date, DayActivity]] = {}
    for platform, room_id, day, messages, reactions, voice, *_ in records:
        activity = DayActivity(day, messages, reactions, voice)
        found.setdefault(Room(platform, room_id), {})[day] = activity
    known_since = days[0]
    if records and (archived_until := records[0]["archived_until"]) is not None:
        known_since = max(known_since, archived_until + timedelta(days=1))
    if sum(record["events"] for record in records) >= MAX_ROOM_EVENTS:
        first_at = min(record["first_at"] for record in records)
        known_since = max(known_since, first_at.astimezone(load_zone(None)).date())
    return found, known_since if known_since > days[0] else None


def _order_rooms(by_room: Mapping[Room, Mapping[date, DayActivity]]) -> list[Room]:
    sizes = Counter(
        {
            room: sum(day.messages + day.reactions + day.voice for day in days.values())
            for room, days in by_room.items()
        }
    )
    return sorted(sizes, key=lambda room: (-sizes[room], room))[:MAX_ROOMS]


def _draw(
    days: Sequence[date],
    last: date,
    counted: Mapping[date, DayActivity],
    kind: Kind,
    *,
    room: Room | None,
    rooms: list[Room],
    rooms_since: date | None,
) -> ActivityYear:
    shown = [counted.get(day, DayActivity(day)) for day in days]
    thresholds = find_thresholds([day.amount(kind) for day in shown])
    cells = [
        Cell(day, find_level(day.amount(kind), thresholds) if day.day <= last else None)
        for day in shown
    ]
    months: dict[date, list[DayActivity]] = {}
    for day in shown:
        if day.amount(Kind.ALL):
            months.setdefault(day.day.replace(day=1), []).append(day)
    return ActivityYear(
        cells,
        label_months(days, last),
        [
            Month(sum(active, DayActivity(month)), len(active))
            for month, active in sorted(months.items(), reverse=True)
        ],
        sum(shown, DayActivity(last)),
        sum(map(len, months.values())),
        kind,
        room,
        rooms,
        rooms_since,
    )


def find_thresholds(amounts: Sequence[int]) -> list[int]:
    """Return the smallest amounts of the levels 2 to 5: those of the person's own active days.

    A fifth of the active days is on each level, if they all differ.
    """
    active = sorted(amount for amount in amounts if amount)
    if not active:
        return []
    return [max(active[len(active) * level // LEVELS], level + 1) for level in range(1, LEVELS)]


def find_level(amount: int, thresholds: Sequence[int]) -> int:
    """Return the level of a day, 0 to 5."""
    return 0 if amount <= 0 else 1 + sum(amount >= threshold for threshold in thresholds)


def label_months(days: Sequence[date], last: date) -> list[MonthLabel]:
    """Return the months with the columns in which they begin; one without space has no label."""
    labels: list[MonthLabel] = []
    for number, day in enumerate(days):
        column = number // 7 + 1
        if day > last or (day.day != 1 and number):
            continue
        if labels and column - labels[-1].column < MIN_LABEL_WEEKS:
            labels.pop()  # the rest of the first month
        if column <= WEEKS - MIN_LABEL_WEEKS + 1:
            labels.append(MonthLabel(column, day))
    return labels
