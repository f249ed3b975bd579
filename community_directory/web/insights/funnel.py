"""Funnel: how far those who were invited came, and where they were lost."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from community_directory.calendar import load_zone, today
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.queries.people_activity import RETURN_WEEK
from community_directory.queries.people_filters import MAX_INVITERS
from community_directory.queries.standing import MEMBER, PRESENT
from community_directory.web.insights.groups import (
    GROUPING_LABELS,
    Grouping,
    GroupKey,
    find_buckets,
    find_days,
    format_inviters,
    list_key_columns,
    list_key_values,
    name_inviters,
    read_choice,
    read_inviters,
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
WAITING = tuple(f"waiting_{step}" for step in STEPS[:-1])
"""The counts of those who can still take the step after each one, but for the last."""

_PERIOD = "created_at >= :start AND created_at < :end"
_HAS_SPOKEN = "approved_at IS NOT NULL AND first_message_day IS NOT NULL"
_HAS_STAYED = f"{RETURN_WEEK} = ANY(active_weeks)"
# Each step has those who took the steps before it, too.
_COUNTS = f"""count(*) FILTER (WHERE is_present) AS joined,
    count(*) FILTER (WHERE is_present AND approved_at IS NOT NULL) AS approved,
    count(*) FILTER (WHERE is_present AND {_HAS_SPOKEN}) AS message,
    count(*) FILTER (WHERE is_present AND {_HAS_SPOKEN} AND {_HAS_STAYED}) AS week4,
    count(*) FILTER (WHERE is_pending AND approved_at IS NULL) AS waiting_joined,
    count(*) FILTER (
        WHERE is_present AND approved_at >= :week_open_since AND first_message_day IS NULL
    ) AS waiting_approved,
    count(*) FILTER (
        WHERE is_present AND {_HAS_SPOKEN} AND NOT {_HAS_STAYED} AND joined_at >= :week_open_since
    ) AS waiting_message,
    count(*) FILTER (WHERE was_member AND joined_at IS NOT NULL) AS gone"""
_PERSON = f"""(
    SELECT member_id, invited_by, {PRESENT} AS is_present,
        {PRESENT} AND status = 'pending' AS is_pending,
        NOT is_bot AND merged_into IS NULL AND NOT ({MEMBER}) AS was_member
    FROM community_members
) AS person"""
_APPROVED_DAY = "(approved_at AT TIME ZONE :zone)::date"

# A bucket is the part of a month in the period.
_BUCKET = "width_bucket(created_at, :starts::timestamptz[])"
_BUCKETS = "created_at >= (:starts::timestamptz[])[1] AND created_at < :end"
_IS_OPEN = "status = 'pending' AND expires_at > now()"
# The conditions of the statements whose invitations are those of all, or of some inviters alone.
_CREATED_BY = {False: "", True: "AND created_by = ANY(:inviters::text[])"}
_INVITED_BY = {
    False: "",
    True: """AND accepted_by IN (
        SELECT member_id FROM community_members WHERE invited_by = ANY(:inviters::text[])
    )""",
}


def _make_invited_statement(condition: str) -> Statement:
    """Return the statement that counts invitations by bucket."""
    return Statement(f"""
SELECT {_BUCKET} AS bucket, count(*) AS invited,
    count(*) FILTER (WHERE {_IS_OPEN}) AS waiting_invited,
    count(*) FILTER (WHERE status = 'cancelled') AS cancelled,
    count(*) FILTER (WHERE status = 'expired' OR status = 'pending' AND expires_at <= now())
        AS expired
FROM community_invitations WHERE {_BUCKETS} {condition} GROUP BY 1
""")


def _make_reached_statement(condition: str) -> Statement:
    """Return the statement that counts the people of all buckets, and of each, by their steps."""
    return Statement(f"""
WITH
-- Each person once in each bucket, who may have accepted two invitations.
accepted AS (
    SELECT accepted_by AS member_id, {_BUCKET} AS bucket, min(created_at) AS invited_at,
        min(accepted_at) AS accepted_at
    FROM community_invitations WHERE {_BUCKETS} AND accepted_by IS NOT NULL {condition}
    GROUP BY 1, 2
),
-- Whether that is the person's first bucket.
invited AS (
    SELECT member_id, bucket, invited_at, min(accepted_at) OVER person AS accepted_at,
        bucket = min(bucket) OVER person AS is_first
    FROM accepted WINDOW person AS (PARTITION BY member_id)
),
-- What each of them reached.
reached AS MATERIALIZED (
    SELECT bucket, is_first, is_present, is_pending, was_member, joined_at, approved_at,
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


COUNT_INVITED = {some: _make_invited_statement(sql) for some, sql in _CREATED_BY.items()}
COUNT_REACHED = {some: _make_reached_statement(sql) for some, sql in _INVITED_BY.items()}
"""The statements, by whether they are about some inviters alone."""
FIND_INVITERS = Statement(f"""
SELECT created_by FROM community_invitations WHERE {_PERIOD}
GROUP BY created_by ORDER BY count(*) DESC, length(created_by), created_by LIMIT {MAX_INVITERS}
""")
# People belong to the inviter whom their row names, as on all pages.
COUNT_INVITERS = Statement(f"""
WITH
-- The invitations of each inviter.
invited AS (
    SELECT created_by AS row_key, count(*) AS invited,
        count(*) FILTER (WHERE {_IS_OPEN}) AS waiting_invited
    FROM community_invitations WHERE {_PERIOD} AND created_by = ANY(:inviters::text[])
    GROUP BY created_by
),
-- Each person once whom one of them brought.
accepted AS (
    SELECT DISTINCT member_id, invited_by AS row_key, is_present, is_pending, was_member
    FROM {_PERSON} JOIN community_invitations ON accepted_by = member_id
    WHERE invited_by = ANY(:inviters::text[]) AND {_PERIOD}
),
-- The steps of each inviter who brought somebody.
reached AS (
    SELECT row_key, {_COUNTS} FROM accepted LEFT JOIN member_milestones USING (member_id)
    GROUP BY row_key
)
SELECT * FROM invited FULL JOIN reached USING (row_key)
""")


@dataclass(frozen=True, slots=True)
class Invited:
    """Those who were invited from `first` to `last`, by some inviters or by all."""

    first: date
    last: date
    inviter: str | None = None
    """The filter `inviter` of People and of Invitations."""

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
            invitations. Those of `WAITING` are those who did not take the next step, but still
            can: open invitations, people who are pending, those without a message who were approved
            less than 28 days ago, and those who were not active in week 4 so far. "gone" are those
            who were members, and are none now.
        medians: The median time from the step before to each step.
    """

    key: GroupKey = None
    name: str = ""
    people: Invited | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    medians: Mapping[str, timedelta | None] = field(default_factory=dict)

    def waiting(self, step: str) -> int | None:
        """Return how many took a step, and can still take the next one; None for the last step."""
        return self.counts.get(f"waiting_{step}")

    @property
    def people_waiting(self) -> int:
        """The number of people who can still take the next step."""
        return sum(self.counts[name] for name in WAITING[1:])

    def lost(self, step: str) -> int | None:
        """Return how many took a step, and can't take the next one, or did not in time.

        None for the last step, which loses nobody.
        """
        waiting = self.waiting(step)
        if waiting is None:
            return None
        return self.counts[step] - waiting - self.counts[STEPS[STEPS.index(step) + 1]]

    def share(self, step: str) -> float | None:
        """Return the share of those of the step before who took a step, from 0 to 1.

        None if there is nobody, or no step before.
        """
        if step == STEPS[0]:
            return None
        before = self.counts[STEPS[STEPS.index(step) - 1]]
        return self.counts[step] / before if before else None

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

    def link_waiting(self, step: str) -> str | None:
        """Return the address of those who can still take the step after this one."""
        if self.people is None or step == STEPS[-1]:
            return None
        if step == STEPS[0]:
            return self.people.link_invitations("open")
        return self.people.link(stuck=f"waiting_{step}")

    def link_lost(self, step: str) -> str | None:
        """Return the address of those who are lost after a step.

        None for the first step, which loses invitations, and people who are not here any more.
        """
        if self.people is None or step in (STEPS[0], STEPS[-1]):
            return None
        return self.people.link(stuck=step)


class Funnels(NamedTuple):
    """The funnels of a period.

    Attributes:
        everybody: That of all invitations.
        by_month: Those of the months with an invitation.
        expired: The number of the invitations that nobody accepted in time.
        cancelled: The number of those that were cancelled.
    """

    everybody: Funnel
    by_month: list[Funnel]
    expired: int
    cancelled: int


Inviters = Mapping[str, str] | None
"""The names by number of the inviters whose people alone count; None for everybody."""


async def read_funnels(period: Period, inviters: Inviters = None) -> Funnels:
    """Return the funnels of all invitations of a period, and of those of each month."""
    buckets = find_buckets(period)
    values = {"starts": start_times(buckets), "end": period.ends_at}
    if inviters is not None:
        values["inviters"] = [*inviters]
    is_of_inviters = inviters is not None
    # The two statements, like those of the period before, run at the same time.
    invited, (in_all, *months) = await asyncio.gather(
        engine.read(COUNT_INVITED[is_of_inviters], **values),
        engine.read(
            COUNT_REACHED[is_of_inviters],
            zone=load_zone(None).key,
            week_open_since=_find_open_week(),
            **values,
        ),
    )
    sent = {record["bucket"]: dict(record.items()) for record in invited}
    reached = {record["bucket"]: dict(record.items()) for record in months}
    in_period = {
        name: sum(record[name] for record in invited)
        for name in ("invited", "waiting_invited", "expired", "cancelled")
    }
    return Funnels(
        _make_funnel(None, _find_invited(None, period, inviters), in_period, dict(in_all.items())),
        [
            _make_funnel(
                month,
                _find_invited(month, period, inviters),
                sent.get(number, {}),
                reached.get(number, {}),
            )
            for number in sorted({*sent, *reached})
            for month in [buckets[number - 1].replace(day=1)]
        ],
        in_period["expired"],
        in_period["cancelled"],
    )


def _find_invited(key: GroupKey, period: Period, inviters: Inviters) -> Invited:
    """Return the people of a month, of an inviter, or of the whole period, as filters find them."""
    return Invited(*find_days(key, period), format_inviters(key, inviters))


async def _read_before(period: Period, inviters: Inviters) -> Funnel | None:
    """Return the funnel of the period before; None if there is none."""
    return (await read_funnels(period.before, inviters)).everybody if period.before else None


def _find_open_week() -> datetime:
    """Return the time from which on those joined whose week 4 is not over."""
    [time] = start_times([today() - timedelta(days=7 * RETURN_WEEK - 1)])
    return time


async def read_rows(period: Period, inviters: Inviters = None) -> list[Funnel]:
    """Return the funnels of the inviters: the chosen ones, or those with most invitations."""
    values: dict[str, Any] = {"start": period.starts_at, "end": period.ends_at}
    numbers = None if inviters is None else [*inviters]
    if numbers is None:
        numbers = [inviter for (inviter,) in await engine.read(FIND_INVITERS, **values)]
    records = await engine.read(
        COUNT_INVITERS, inviters=numbers, week_open_since=_find_open_week(), **values
    )
    by_key: dict[GroupKey, dict[str, Any]] = {
        record["row_key"]: dict(record.items()) for record in records
    }
    names = await name_inviters(by_key)
    return [
        _make_funnel(
            key,
            _find_invited(key, period, inviters),
            by_key[key],
            by_key[key],
            names.get(str(key), ""),
        )
        for key in sort_keys({key: counts["invited"] or 0 for key, counts in by_key.items()})
    ]


def _make_funnel(
    key: GroupKey,
    people: Invited,
    invited: Mapping[str, Any],
    reached: Mapping[str, Any],
    name: str = "",
) -> Funnel:
    """Return the funnel of a row from the counts of its invitations and of its people."""
    counts = {name: reached.get(name) or 0 for name in (*STEPS, *WAITING, "gone")}
    counts |= {name: invited.get(name) or 0 for name in (STEPS[0], WAITING[0])}
    days = reached.get("days_until_message")
    medians = {
        "joined": reached.get("until_joined"),
        "approved": reached.get("until_approved"),
        "message": None if days is None else timedelta(days=days),
    }
    return Funnel(key, name, people, counts, medians)


def find_others(everybody: Funnel, rows: Sequence[Funnel]) -> Funnel:
    """Return the funnel of those who are in no row; no filters find its people."""
    counts = {
        name: max(number - sum(row.counts[name] for row in rows), 0)
        for name, number in everybody.counts.items()
    }
    return Funnel(counts=counts)


async def _read_table(
    period: Period, by: Grouping, inviters: Inviters
) -> tuple[Funnels, list[Funnel]]:
    """Return the funnels of a period, and the rows of the table.

    Those of other inviters, if there are any, are the last row.
    """
    if by is Grouping.MONTH:
        funnels = await read_funnels(period, inviters)
        return funnels, funnels.by_month
    funnels, rows = await asyncio.gather(
        read_funnels(period, inviters), read_rows(period, inviters)
    )
    others = find_others(funnels.everybody, rows)
    return funnels, [*rows, others] if any(others.counts.values()) else rows


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    by, inviters = read_choice(visit, "by", Grouping), await read_inviters(visit)
    (funnels, rows), before = await asyncio.gather(
        _read_table(period, by, inviters), _read_before(period, inviters)
    )
    return {
        "by": by,
        "groupings": GROUPING_LABELS,
        "steps": STEP_LABELS,
        "everybody": funnels.everybody,
        "before": before,
        "inviters": inviters,
        "unaccepted": {"expired": funnels.expired, "cancelled": funnels.cancelled},
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
    inviters = await read_inviters(visit)
    (everybody, *_), before = await asyncio.gather(
        read_funnels(period, inviters), _read_before(period, inviters)
    )
    columns = ["step", "number", "waiting", "lost", "median_hours", "number_before"]
    rows = [
        (
            step,
            everybody.counts[step],
            everybody.waiting(step),
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
    _, rows = await _read_table(period, by, await read_inviters(visit))
    counts = [*STEPS, *WAITING, "gone"]
    values = [
        (
            *list_key_values(visit, by, row.key, row.name),
            *(row.counts[name] for name in counts),
        )
        for row in rows
    ]
    return ChartTable([*list_key_columns(by, "invited_month"), *counts], values)


PAGE = InsightsPage(
    "funnel", _build, {"steps": load_steps_chart, "rows": load_rows_chart}, default_period="90"
)
