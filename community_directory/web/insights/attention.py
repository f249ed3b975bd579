"""The page Attention: who needs a word now, and by which rule."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from community_directory.database import Statement, engine
from community_directory.queries import people
from community_directory.queries.people import Person
from community_directory.web.insights.active_people import ActivePerson, list_most_active
from community_directory.web.insights.layout import ChartTable, InsightsPage
from community_directory.web.insights.period import ALL, CUSTOM, Period
from community_directory.web.pages import Visit

MAX_ROWS = 12
"""The number of people in each list."""
DAYS_WITHOUT_COMPARISON = 28
"""The days that the lists are about if the period has no period before."""

FIND_DAYS = Statement("""
SELECT member_id, joined_at,
    (
        SELECT min(highlight_date) FROM member_daily_highlights AS highlight
        WHERE highlight.member_id = found.member_id
            AND highlight_date BETWEEN :since AND :until
    ) AS first_active_day,
    (
        SELECT max(highlight_date) FROM member_daily_highlights AS highlight
        WHERE highlight.member_id = found.member_id AND highlight_date < :since
    ) AS last_day_before
FROM unnest(:member_ids::text[]) AS found(member_id)
LEFT JOIN member_milestones USING (member_id)
""")


@dataclass(frozen=True, slots=True)
class PersonDays:
    """A person, and the days that say why they are in a list.

    Attributes:
        person: The person.
        joined_at: When they became a member; None for somebody who never did.
        first_active_day: The first day in the period on which they were active.
        last_day_before: The last day before the period on which they were active.
    """

    person: Person
    joined_at: datetime | None
    first_active_day: date | None
    last_day_before: date | None


def choose_period(period: Period) -> Period:
    """Return the period of the lists, which has a period before: all days have none."""
    if period.name != ALL:
        return period
    since = period.until - timedelta(days=DAYS_WITHOUT_COMPARISON - 1)
    return Period(CUSTOM, since, period.until)


def find_filters(period: Period) -> dict[str, dict[str, Any]]:
    """Return the filters of People for each of the lists."""
    days = {"since": period.since.isoformat(), "until": period.until.isoformat()}
    return {
        "at_risk": {"status": "member", "activity": "at_risk", **days},
        "never_spoke": {
            "status": "member",
            "member_from": days["since"],
            "member_to": days["until"],
            "never_active": "1",
        },
        "came_back": {"status": "present", "activity": "came_back", **days},
    }


async def add_days(period: Period, found: Sequence[Person]) -> list[PersonDays]:
    """Return people with their days, in the same order."""
    records = await engine.read(
        FIND_DAYS,
        member_ids=[person.member_id for person in found],
        since=period.since,
        until=period.until,
    )
    days = {member_id: values for member_id, *values in records}
    return [PersonDays(person, *days[person.member_id]) for person in found]
