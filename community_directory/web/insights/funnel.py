"""Funnel: how far those who were invited came, and where they were lost."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import asyncpg

from community_directory.calendar import load_zone, today
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.queries.people_activity import RETURN_WEEK
from community_directory.queries.standing import MEMBER, PRESENT
from community_directory.web.insights.groups import (
    GROUPING_LABELS,
    MAX_INVITERS,
    Grouping,
    GroupKey,
    find_buckets,
    find_days,
    name_inviters,
    read_choice,
    sort_keys,
    start_times,
)
from community_directory.web.insights.layout import (
    ChartTable,
    InsightsPage,
    to_invitations,
    to_people,
)
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

STEPS = ("invited", "joined", "approved", "message", "week4")
STEP_LABELS = {
    "invited": gettext_noop("Invitations"),
    "joined": gettext_noop("Joined"),
    "approved": gettext_noop("Approved"),
    "message": gettext_noop("First message"),
    "week4": gettext_noop("Active in week 4"),
}
"""The steps; all but the first are also the values of the filter `reached` of People."""

_PERIOD = "created_at >= :start AND created_at < :end"
_HAS_SPOKEN = "approved_at IS NOT NULL AND first_message_day IS NOT NULL"
_HAS_STAYED = f"{RETURN_WEEK} = ANY(active_weeks)"
# Each step has those who took the steps before it, too.
_COUNTS = f"""count(*) FILTER (WHERE is_present) AS joined,
    count(*) FILTER (WHERE is_present AND approved_at IS NOT NULL) AS approved,
    count(*) FILTER (WHERE is_present AND {_HAS_SPOKEN}) AS message,
    count(*) FILTER (WHERE is_present AND {_HAS_SPOKEN} AND {_HAS_STAYED}) AS week4,
    count(*) FILTER (
        WHERE is_present AND {_HAS_SPOKEN} AND NOT {_HAS_STAYED} AND joined_at >= :week_open_since
    ) AS waiting,
    count(*) FILTER (WHERE was_member AND joined_at IS NOT NULL) AS gone"""
_PERSON = f"""(
    SELECT member_id, invited_by, {PRESENT} AS is_present,
        NOT is_bot AND merged_into IS NULL AND NOT ({MEMBER}) AS was_member
    FROM community_members
) AS person"""
_APPROVED_DAY = "(approved_at AT TIME ZONE :zone)::date"

# A bucket is the part of a month in the period.
_BUCKET = "width_bucket(created_at, :starts::timestamptz[])"
_BUCKETS = "created_at >= (:starts::timestamptz[])[1] AND created_at < :end"
COUNT_INVITED = Statement(f"""
SELECT {_BUCKET} AS bucket, count(*) AS invited,
    count(*) FILTER (WHERE accepted_by IS NULL) AS unaccepted
FROM community_invitations WHERE {_BUCKETS} GROUP BY 1
""")
COUNT_REACHED = Statement(f"""
WITH
-- Each person once in each bucket, who may have accepted two invitations.
accepted AS (
    SELECT accepted_by AS member_id, {_BUCKET} AS bucket, min(created_at) AS invited_at,
        min(accepted_at) AS accepted_at
    FROM community_invitations WHERE {_BUCKETS} AND accepted_by IS NOT NULL GROUP BY 1, 2
),
-- Whether that is the person's first bucket.
invited AS (
    SELECT member_id, bucket, invited_at, min(accepted_at) OVER person AS accepted_at,
        bucket = min(bucket) OVER person AS is_first
    FROM accepted WINDOW person AS (PARTITION BY member_id)
),
-- What each of them reached.
reached AS MATERIALIZED (
    SELECT bucket, is_first, is_present, was_member, joined_at, approved_at,
        first_message_day, active_weeks, invited_at, accepted_at
    FROM invited JOIN {_PERSON} USING (member_id) LEFT JOIN member_milestones USING (member_id)
)
SELECT NULL AS bucket, {_COUNTS},
    percentile_cont(0.5) WITHIN GROUP (ORDER BY accepted_at - invited_at)
        FILTER (WHERE is_present) AS until_joined,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY approved_at - accepted_at)
        FILTER (WHERE is_present AND approved_at >= accepted_at) AS until_approved,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY first_message_day - {_APPROVED_DAY})
        FILTER (WHERE is_present AND {_HAS_SPOKEN} AND first_message_day >= {_APPROVED_DAY})
        AS days_until_message
FROM reached WHERE is_first
UNION ALL
SELECT bucket, {_COUNTS}, NULL, NULL, NULL FROM reached GROUP BY bucket
""")
FIND_INVITERS = Statement(f"""
SELECT created_by FROM community_invitations WHERE {_PERIOD}
GROUP BY created_by ORDER BY count(*) DESC, length(created_by), created_by LIMIT {MAX_INVITERS}
""")
# People belong to the inviter whom their row names, as on all pages.
COUNT_INVITERS = Statement(f"""
WITH
-- The invitations of each inviter.
invited AS (
    SELECT created_by AS row_key, count(*) AS invited
    FROM community_invitations WHERE {_PERIOD} AND created_by = ANY(:inviters::text[])
    GROUP BY created_by
),
-- Each person once whom one of them brought.
accepted AS (
    SELECT DISTINCT member_id, invited_by AS row_key, is_present, was_member
    FROM {_PERSON} JOIN community_invitations ON accepted_by = member_id
    WHERE invited_by = ANY(:inviters::text[]) AND {_PERIOD}
),
-- The steps of each inviter who brought somebody.
reached AS (
    SELECT row_key, {_COUNTS} FROM accepted LEFT JOIN member_milestones USING (member_id)
    GROUP BY row_key
)
SELECT * FROM invited LEFT JOIN reached USING (row_key)
""")


@dataclass(frozen=True, slots=True)
class Invited:
    """Those who were invited from `first` to `last`, by one inviter or by all."""

    first: date
    last: date
    inviter: str | None = None
    """The digits of the inviter's number."""

    def link(self, *, status: str = "present", **filters: object) -> str:
        """Return the address of the page People that lists those with these filters."""
        return to_people(
            status=status,
            invited_from=self.first,
            invited_to=self.last,
            inviter=self.inviter,
            **filters,
        )

    def link_invitations(self, show: str) -> str:
        """Return the address of the page Invitations that lists theirs, or a part of them."""
        return to_invitations(
            show=show,
            created_from=self.first,
            created_to=self.last,
            inviter=self.inviter,
        )


@dataclass(frozen=True, slots=True)
class Funnel:
    """How far the people of some invitations came.

    Attributes:
        key: The month, or the inviter.
        name: The name of the inviter, or "".
        people: The people as filters find them; None if no filters do.
        counts: The number of people who took each step and all before it; the first step counts
            invitations. "waiting" are those who wrote a message, whose week 4 is not over, and who
            were not active in it so far. "gone" are those who were members, and are none now.
        medians: The median time from the step before to each step.
    """

    key: GroupKey = None
    name: str = ""
    people: Invited | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    medians: Mapping[str, timedelta | None] = field(default_factory=dict)

    def lost(self, step: str) -> int:
        """Return how many took a step, but not the next one; the last step loses nobody."""
        following = STEPS[STEPS.index(step) + 1 :]
        if not following:
            return 0
        waiting = self.counts["waiting"] if step == "message" else 0
        return self.counts[step] - waiting - self.counts[following[0]]

    def share(self, step: str) -> float | None:
        """Return the share of those of the step before who took a step, from 0 to 1.

        Those whose week 4 is not over are left out. None if there is nobody, or no step before.
        """
        if step == STEPS[0]:
            return None
        before = STEPS[STEPS.index(step) - 1]
        could = self.counts[step] + self.lost(before)
        return self.counts[step] / could if could else None

    def share_of_all(self, step: str) -> float | None:
        """Return the share of the invitations that led to a step; None without invitations."""
        return self.counts[step] / self.counts["invited"] if self.counts["invited"] else None

    def link(self, step: str) -> str | None:
        """Return the address of those who took a step, or of the invitations of the first one."""
        if self.people is None:
            return None
        if step == STEPS[0]:
            return self.people.link_invitations("all")
        return self.people.link(reached=step)

    def link_lost(self, step: str) -> str | None:
        """Return the address of those who took a step, but not the next one.

        None for the first step, which loses invitations that nobody accepted, and people.
        """
        if self.people is None or step in (STEPS[0], STEPS[-1]):
            return None
        return self.people.link(stuck=step)


class Funnels(NamedTuple):
    """The funnels of a period.

    Attributes:
        everybody: That of all invitations.
        by_month: Those of the months with an invitation.
        unaccepted: The number of the invitations that nobody has accepted.
    """

    everybody: Funnel
    by_month: list[Funnel]
    unaccepted: int


def _find_invited(key: GroupKey, period: Period) -> Invited:
    """Return the people of a month, of an inviter, or of the whole period, as filters find them."""
    first, last = find_days(key, period)
    return Invited(first, last, key.removeprefix("#") if isinstance(key, str) else None)


async def read_funnels(period: Period) -> Funnels:
    """Return the funnels of all invitations of a period, and of those of each month."""
    buckets = find_buckets(period)
    times = {"starts": start_times(buckets), "end": period.ends_at}
    # The two statements, like those of the period before, run at the same time.
    invited, (in_all, *months) = await asyncio.gather(
        engine.read(COUNT_INVITED, **times),
        engine.read(
            COUNT_REACHED,
            zone=load_zone(None).key,
            week_open_since=_find_open_week(),
            **times,
        ),
    )
    reached = {record["bucket"]: record for record in months}
    sent = sum(record["invited"] for record in invited)
    return Funnels(
        _make_funnel(None, period, sent, in_all),
        [
            _make_funnel(buckets[number - 1].replace(day=1), period, each, reached.get(number))
            for number, each, _ in sorted(map(tuple, invited))
        ],
        sum(record["unaccepted"] for record in invited),
    )


async def _read_before(period: Period) -> Funnel | None:
    """Return the funnel of the period before; None if there is none."""
    return (await read_funnels(period.before)).everybody if period.before else None


def _find_open_week() -> datetime:
    """Return the time from which on those joined whose week 4 is not over."""
    [time] = start_times([today() - timedelta(days=7 * RETURN_WEEK - 1)])
    return time


async def read_inviters(period: Period) -> list[Funnel]:
    """Return the funnels of the inviters of a period with most invitations."""
    values: dict[str, Any] = {"start": period.starts_at, "end": period.ends_at}
    found = await engine.read(FIND_INVITERS, **values)
    inviters = [inviter for (inviter,) in found]
    records = await engine.read(
        COUNT_INVITERS, inviters=inviters, week_open_since=_find_open_week(), **values
    )
    by_key: dict[GroupKey, asyncpg.Record] = {record["row_key"]: record for record in records}
    names = await name_inviters(by_key)
    return [
        _make_funnel(key, period, by_key[key]["invited"], by_key[key], names.get(key, ""))
        for key in sort_keys({key: record["invited"] for key, record in by_key.items()})
    ]


def _make_funnel(
    key: GroupKey, period: Period, invited: int, record: asyncpg.Record | None, name: str = ""
) -> Funnel:
    """Return the funnel of a row, whose record is None if nobody accepted an invitation."""
    values: dict[str, Any] = {} if record is None else dict(record.items())
    counts = {name: values.get(name) or 0 for name in (*STEPS, "waiting", "gone")}
    counts["invited"] = invited
    days = values.get("days_until_message")
    medians = {
        "joined": values.get("until_joined"),
        "approved": values.get("until_approved"),
        "message": None if days is None else timedelta(days=days),
    }
    return Funnel(key, name, _find_invited(key, period), counts, medians)


def find_others(everybody: Funnel, rows: Sequence[Funnel]) -> Funnel:
    """Return the funnel of those who are in no row; no filters find its people."""
    counts = {
        name: max(number - sum(row.counts[name] for row in rows), 0)
        for name, number in everybody.counts.items()
    }
    return Funnel(counts=counts)


async def _read_rows(period: Period, by: Grouping) -> tuple[Funnels, list[Funnel]]:
    """Return the funnels of a period, and the rows of the table.

    Those of other inviters, if there are any, are the last row.
    """
    if by is Grouping.MONTH:
        funnels = await read_funnels(period)
        return funnels, funnels.by_month
    funnels, rows = await asyncio.gather(read_funnels(period), read_inviters(period))
    others = find_others(funnels.everybody, rows)
    return funnels, [*rows, others] if any(others.counts.values()) else rows


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    by = read_choice(visit, "by", Grouping)
    (funnels, rows), before = await asyncio.gather(_read_rows(period, by), _read_before(period))
    return {
        "by": by,
        "groupings": GROUPING_LABELS,
        "steps": STEP_LABELS,
        "everybody": funnels.everybody,
        "before": before,
        "unaccepted": funnels.unaccepted,
        "rows": rows,
        "describe": partial(describe_median, visit),
        "max_inviters": MAX_INVITERS,
    }


def describe_median(visit: Visit, funnel: Funnel, step: str) -> str:
    """Return the median time from the step before to a step, in words; "" if there is none."""
    median = funnel.medians.get(step)
    if median is None:
        return ""
    if step == "message" and not median:  # of which the day is known alone
        return visit.gettext("the same day")
    return visit.translation.format_duration(median)


async def load_steps_chart(visit: Visit, period: Period) -> ChartTable:
    """Return the steps of all people, in the period and in the period before."""
    read_choice(visit, "by", Grouping)  # refuses what the page refuses
    (everybody, *_), before = await asyncio.gather(read_funnels(period), _read_before(period))
    columns = ["step", "people", "lost", "median_hours", "people_before"]
    rows = [
        (
            step,
            everybody.counts[step],
            everybody.lost(step),
            _count_hours(everybody.medians.get(step)),
            before and before.counts[step],
        )
        for step in STEPS
    ]
    return ChartTable(columns, rows)


def _count_hours(duration: timedelta | None) -> float | None:
    return None if duration is None else round(duration / timedelta(hours=1), 1)


async def load_rows_chart(visit: Visit, period: Period) -> ChartTable:
    """Return the steps by month or inviter."""
    by = read_choice(visit, "by", Grouping)
    _, rows = await _read_rows(period, by)
    columns = ["invited_month" if by is Grouping.MONTH else "inviter", *STEPS, "waiting", "gone"]
    values = [(row.key, *(row.counts[name] for name in columns[1:])) for row in rows]
    return ChartTable(columns, values)


PAGE = InsightsPage(
    "funnel", _build, {"steps": load_steps_chart, "rows": load_rows_chart}, default_period="90"
)
