"""All events of some time, one after the other. Callers use it as `participation.stream`."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import NamedTuple
from uuid import UUID

from community_directory.calendar import days_between
from community_directory.database import Statement, engine
from community_directory.queries.events import (
    CURRENT_MEMBER,
    EARLIEST_EVENT_TIME,
    EVENT_COLUMNS,
    Event,
)
from community_directory.queries.member_rows import NO_BOTS
from community_directory.queries.pages import MAX_STREAM_PAGE_SIZE, checked_limit
from community_directory.queries.values import check_texts, member_number
from community_directory.tables import MemberParticipation

LATEST_TIME = datetime.max.replace(tzinfo=UTC)
LOWEST_KEY, HIGHEST_KEY = UUID(int=0), UUID(int=2**128 - 1)
WINDOW_PAGES = 10
"""The events of a window, in pages."""


class _WindowStatements(NamedTuple):
    """The statements that find the end of a window of events, and read a page of it.

    The indexes have the times of events, but not their keys and platforms. So the end of a window
    is found first, from an index alone. Without windows PostgreSQL would expect so few events of a
    member that it sorted all that are left for each page, and it would look for those of a rare
    type until the time limit.
    """

    find_end: Statement
    read_page: Statement


def _make_statements(condition: str) -> _WindowStatements:
    """Return the statements under a condition in SQL."""
    return _WindowStatements(
        Statement(f"""
SELECT occurred_at FROM member_participation
WHERE occurred_at > :last_time AND occurred_at < :end AND {condition}
ORDER BY occurred_at OFFSET :events LIMIT 1
"""),
        Statement(f"""
SELECT {EVENT_COLUMNS} FROM member_participation
WHERE occurred_at >= :last_time AND (occurred_at, id) > (:last_time, :last_id)
    AND occurred_at < :end AND occurred_at <= :window_end AND {condition} AND {NO_BOTS}
    AND (:platform::text IS NULL OR platform = :platform)
    AND (:event_type::text IS NULL OR event_type = :event_type)
ORDER BY occurred_at, id LIMIT :limit
"""),
    )


WINDOW_OF_ALL = _make_statements("true")
WINDOW_OF_MEMBER = _make_statements(f"member_id = ({CURRENT_MEMBER})")


async def stream(
    *,
    since: date | None = None,
    until: date | None = None,
    zone: str | None = None,
    member_id: str | int | None = None,
    platform: str | None = None,
    event_type: str | None = None,
    page_size: int = 100,
) -> AsyncIterator[Event]:
    """Yield all events from `since` to `until`, oldest first. Those of bots are left out.

    One page at a time is in the memory, and each page is a query of its own, so a stream may take
    as long as it likes. Others can write in the meantime: no event comes twice, and each comes that
    was stored before the stream began and is not deleted. An event that is stored later comes if
    its time is after that of the last one.

    Events of archived days are deleted: `highlights.between` has what was counted of them.

    Args:
        since: The first day; None begins with the first event.
        until: The last day; None ends with the last event.
        zone: The name of the days' time zone; None means the community's time zone.
        member_id: The number of a member, whose events alone come. The number of a merged member
            leads to the other one.
        platform: The platform of the events, such as "telegram"; None means all.
        event_type: The type of the events, such as "MESSAGE"; None means all.
        page_size: The number of events that are read at once, 1 to 1,000.

    Raises:
        InvalidInput: A day, the time zone, the number or the size is not valid.
    """
    start, end = EARLIEST_EVENT_TIME, LATEST_TIME
    if since is not None:
        start = days_between(since, since if until is None else until, zone).starts[0]
    if until is not None:
        end = days_between(until, until, zone).end
    check_texts(MemberParticipation, platform=platform, event_type=event_type)
    page_size = checked_limit(page_size, MAX_STREAM_PAGE_SIZE, field="page_size")
    statements = WINDOW_OF_ALL if member_id is None else WINDOW_OF_MEMBER
    values: dict[str, object] = {"last_time": start, "last_id": LOWEST_KEY}
    scope: dict[str, object] = {"end": end}
    if member_id is not None:
        scope["member_id"] = member_number(member_id)
    filters = {"platform": platform, "event_type": event_type}
    while True:
        found = await engine.read(
            statements.find_end,
            last_time=values["last_time"],
            events=WINDOW_PAGES * page_size,
            **scope,
        )
        window_end = found[0]["occurred_at"] if found else LATEST_TIME
        is_full = True
        while is_full:
            records = await engine.read(
                statements.read_page,
                window_end=window_end,
                limit=page_size,
                **values,
                **scope,
                **filters,
            )
            for record in records:
                yield Event.from_columns(record)
            if is_full := len(records) == page_size:
                values = {"last_time": records[-1]["occurred_at"], "last_id": records[-1]["id"]}
        if not found:
            return
        values = {"last_time": window_end, "last_id": HIGHEST_KEY}
