"""The figures of Overview and Growth: numbers of people in a period and in the one before.

Each number is that of the people whom People finds with the filters of its link. It is counted here
in another way, because a count for both periods at once costs a fraction.
"""

import asyncio
from typing import NamedTuple

from community_directory.database import Parameters, Statement, engine
from community_directory.queries.activity import select_periods
from community_directory.queries.people_activity import at_risk_sql
from community_directory.queries.standing import ABSENT, is_no_contact_sql
from community_directory.web.insights.active_people import MOST_ACTIVE_FIRST, ActivePerson
from community_directory.web.insights.layout import to_people
from community_directory.web.insights.period import Period, choose_periods

MOST_ACTIVE_PEOPLE = 12
IS_MEMBER = is_no_contact_sql("person.member_id")
"""A condition in SQL: a present person is a member."""

# Bots and merged people are among the absent, who are few and have an index.
COUNT_JOINED = Statement("""
SELECT count(*) FILTER (WHERE joined_at >= :since) AS number,
    count(*) FILTER (WHERE joined_at < :since) AS before
FROM member_milestones
WHERE joined_at >= :start AND joined_at < :end AND member_id NOT IN (
    SELECT member_id FROM community_members
    WHERE (is_bot OR deleted_at IS NOT NULL OR status = 'banned')
        AND (is_bot OR merged_into IS NOT NULL)
)
""")
# Whoever accepted several invitations counts once in each of the periods.
COUNT_ACCEPTED = Statement(f"""
SELECT count(*) FILTER (WHERE is_now) AS number, count(*) FILTER (WHERE is_before) AS before
FROM (
    SELECT bool_or(created_at >= :since) AS is_now, bool_or(created_at < :since) AS is_before
    FROM community_invitations
    WHERE created_at >= :start AND created_at < :end AND accepted_by IS NOT NULL
    GROUP BY accepted_by HAVING accepted_by NOT IN ({ABSENT})
) AS accepted
""")
COUNT_ACTIVE = f"""
WITH
-- The days on which each present person was active in three periods: this one, the one before, and
-- the one before that, with which those who were at risk before are compared.
person AS MATERIALIZED (
    SELECT member_id, coalesce(sum(active_days) FILTER (WHERE period = 0), 0) AS days,
        coalesce(sum(active_days) FILTER (WHERE period = 1), 0) AS days_before,
        coalesce(sum(active_days) FILTER (WHERE period = 2), 0) AS days_earlier,
        coalesce(sum(message_count) FILTER (WHERE period = 0), 0) AS message_count,
        coalesce(sum(reaction_count) FILTER (WHERE period = 0), 0) AS reaction_count,
        coalesce(sum(voice_minutes) FILTER (WHERE period = 0), 0) AS voice_minutes
    FROM ({{DAYS}}) AS parts GROUP BY member_id HAVING member_id NOT IN ({ABSENT})
),
-- The numbers of people.
counted AS (
    SELECT count(*) FILTER (WHERE days > 0) AS active,
        count(*) FILTER (WHERE days_before > 0) AS active_before,
        count(*) FILTER (
            WHERE {at_risk_sql("days", "days_before")} AND {IS_MEMBER}
        ) AS at_risk,
        count(*) FILTER (
            WHERE {at_risk_sql("days_before", "days_earlier")} AND {IS_MEMBER}
        ) AS at_risk_before
    FROM person
),
-- Those who did most in this period.
most_active AS (
    SELECT member_id, days, message_count, reaction_count, voice_minutes FROM person
    WHERE message_count + reaction_count + voice_minutes > 0
    ORDER BY {MOST_ACTIVE_FIRST} LIMIT {MOST_ACTIVE_PEOPLE}
)
SELECT active, active_before, at_risk, at_risk_before, member_id, name, days, message_count,
    reaction_count, voice_minutes
FROM counted LEFT JOIN (most_active JOIN community_members USING (member_id)) ON true
ORDER BY {MOST_ACTIVE_FIRST}
"""


class PeopleCount(NamedTuple):
    """A number of people, that of the period before or None, and the address of these people."""

    number: int
    before: int | None
    path: str


class ActivityCounts(NamedTuple):
    """Who was active in a period.

    Attributes:
        active: Those who were active.
        at_risk: The members who were active on less than half as many days as before.
        most_active: The people with the most messages and reactions.
    """

    active: PeopleCount
    at_risk: PeopleCount
    most_active: list[ActivePerson]


async def count_joined(period: Period) -> PeopleCount:
    """Count who became a member in the period, and in the one before, with those who are gone."""
    return PeopleCount(
        *await _count_since(COUNT_JOINED, period),
        to_people(status="ever_member", member_from=period.since, member_to=period.until),
    )


async def count_accepted(period: Period) -> PeopleCount:
    """Count who accepted an invitation that was created in the period, and in the one before."""
    return PeopleCount(
        *await _count_since(COUNT_ACCEPTED, period),
        to_people(
            status="present",
            reached="joined",
            invited_from=period.since,
            invited_to=period.until,
        ),
    )


async def count_active(period: Period) -> ActivityCounts:
    """Count who was active and who is at risk, and return those who did most."""
    risk_period, _ = choose_periods(period)
    has_before = period.before is not None
    if has_before:
        counts = risk = await _count_active_days(period, 3)
    else:
        counts, risk = await asyncio.gather(
            _count_active_days(period, 1), _count_active_days(risk_period, 2)
        )
    return ActivityCounts(
        PeopleCount(
            counts.active,
            counts.active_before if has_before else None,
            to_people(status="present", activity="active", since=period.since, until=period.until),
        ),
        PeopleCount(
            risk.at_risk,
            risk.at_risk_before if has_before else None,
            to_people(
                status="member",
                activity="at_risk",
                since=risk_period.since,
                until=risk_period.until,
            ),
        ),
        counts.most_active,
    )


class _ActiveDays(NamedTuple):
    """What `COUNT_ACTIVE` returns."""

    active: int
    active_before: int
    at_risk: int
    at_risk_before: int
    most_active: list[ActivePerson]


async def _count_active_days(period: Period, periods: int) -> _ActiveDays:
    """Read the days of the period and of some before it."""
    parameters, spans = Parameters(), [period.span]
    while len(spans) < periods:
        spans.append(spans[-1].before)
    sql = COUNT_ACTIVE.format(DAYS=select_periods(spans, parameters))
    found = await engine.read(sql, *parameters)
    active, active_before, at_risk, at_risk_before, *_ = found[0]
    return _ActiveDays(
        active,
        active_before,
        at_risk,
        at_risk_before,
        [ActivePerson(*each[4:]) for each in found if each["member_id"] is not None],
    )


async def _count_since(statement: Statement, period: Period) -> tuple[int, int | None]:
    """Return the number of a period and of the one before, by the times of their days.

    Args:
        statement: It counts what happened from `:since` on, and from `:start` up to then.
        period: The period.
    """
    start = (period.before or period).starts_at
    [(number, number_before)] = await engine.read(
        statement, start=start, since=period.starts_at, end=period.ends_at
    )
    return number, None if period.before is None else number_before
