"""Funnel: how far those who were invited came, and where they were lost."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial

import asyncpg

from community_directory.calendar import days_between, load_zone, today
from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.queries.people_activity import RETURN_WEEK
from community_directory.queries.standing import MEMBER, PRESENT
from community_directory.web.insights.groups import (
    GROUPING_LABELS,
    MAX_INVITERS,
    Grouping,
    GroupKey,
    find_days,
    name_inviters,
    read_choice,
    sort_keys,
)
from community_directory.web.insights.layout import ChartTable, InsightsPage, to_people
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

STEPS = ("invited", "joined", "approved", "message", "week4")
STEP_LABELS = {
    "invited": gettext_noop("Invited"),
    "joined": gettext_noop("Joined"),
    "approved": gettext_noop("Approved"),
    "message": gettext_noop("First message"),
    "week4": gettext_noop("Active in week 4"),
}
"""The steps; all but the first are also the values of the filter `reached` of People."""

_SENT_MONTH = "date_trunc('month', created_at AT TIME ZONE :zone)::date"
_TOP_INVITERS = f"""
-- The inviters who have a row of their own.
inviter AS (
    SELECT created_by FROM sent GROUP BY created_by
    ORDER BY count(*) DESC, length(created_by), created_by LIMIT {MAX_INVITERS}
),"""


def _of_inviter(column: str) -> str:
    return f"CASE WHEN {column} IN (SELECT created_by FROM inviter) THEN {column} END"


def _make_statement(by: Grouping | None) -> Statement:
    """Return the statement that counts the steps in rows, or in all for None."""
    row_of_invitation = {
        None: "NULL::text",
        Grouping.MONTH: _SENT_MONTH,
        Grouping.INVITER: _of_inviter("created_by"),
    }[by]
    # People belong to whoever they name as their inviter, as on all pages.
    row_of_person = _of_inviter("invited_by") if by is Grouping.INVITER else "row_key"
    return Statement(f"""
WITH
-- The invitations of the period.
sent AS (
    SELECT created_by, created_at, accepted_by, accepted_at
    FROM community_invitations WHERE created_at >= :start AND created_at < :end
),{_TOP_INVITERS if by is Grouping.INVITER else ""}
-- The invitations with their rows.
invitation AS (SELECT {row_of_invitation} AS row_key, * FROM sent),
-- Each person once, who may have accepted two invitations, with the first.
accepted AS (
    SELECT {"NULL::text" if by is Grouping.INVITER else "row_key"} AS row_key, accepted_by,
        min(created_at) AS invited_at, min(accepted_at) AS accepted_at
    FROM invitation WHERE accepted_by IS NOT NULL GROUP BY 1, 2
),
-- How far each person came, and whether they were a member and are none now.
person AS (
    SELECT {row_of_person} AS row_key, invited_at, accepted_at, approved_at,
        (approved_at AT TIME ZONE :zone)::date AS approved_day, first_message_day,
        {PRESENT} AS has_joined,
        {PRESENT} AND approved_at IS NOT NULL AS is_approved,
        {PRESENT} AND approved_at IS NOT NULL AND first_message_day IS NOT NULL AS has_spoken,
        {RETURN_WEEK} = ANY(active_weeks) AS has_stayed,
        joined_at >= :week_open_since AS is_week_open,
        NOT is_bot AND merged_into IS NULL AND joined_at IS NOT NULL AND NOT ({MEMBER}) AS is_gone
    FROM accepted JOIN community_members AS member ON member.member_id = accepted_by
    LEFT JOIN member_milestones AS milestone ON milestone.member_id = accepted_by
),
-- The invitations of each row.
invited AS (SELECT row_key, count(*) AS invited FROM invitation GROUP BY row_key),
-- The people of each row.
reached AS (
    SELECT row_key,
        count(*) FILTER (WHERE has_joined) AS joined,
        count(*) FILTER (WHERE is_approved) AS approved,
        count(*) FILTER (WHERE has_spoken) AS message,
        count(*) FILTER (WHERE has_spoken AND has_stayed) AS week4,
        count(*) FILTER (WHERE has_spoken AND NOT has_stayed AND is_week_open) AS waiting,
        count(*) FILTER (WHERE is_gone) AS gone,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY accepted_at - invited_at)
            FILTER (WHERE has_joined) AS until_joined,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY approved_at - accepted_at)
            FILTER (WHERE is_approved AND approved_at >= accepted_at) AS until_approved,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY first_message_day - approved_day)
            FILTER (WHERE has_spoken AND first_message_day >= approved_day) AS days_until_message
    FROM person GROUP BY row_key
)
SELECT coalesce(invited.row_key, reached.row_key) AS row_key, coalesce(invited, 0) AS invited,
    coalesce(joined, 0) AS joined, coalesce(approved, 0) AS approved,
    coalesce(message, 0) AS message, coalesce(week4, 0) AS week4,
    coalesce(waiting, 0) AS waiting, coalesce(gone, 0) AS gone,
    until_joined, until_approved, days_until_message
FROM invited FULL JOIN reached
    ON coalesce(invited.row_key::text, '') = coalesce(reached.row_key::text, '')
""")


COUNT_STEPS = {by: _make_statement(by) for by in (None, *Grouping)}


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


@dataclass(frozen=True, slots=True)
class Funnel:
    """How far the people of some invitations came.

    Attributes:
        key: The month, or the inviter.
        name: The name of the inviter, or "".
        people: The people as filters find them; None if no filters do.
        counts: The number of people who took each step and all before it; the first step counts
            invitations.
        waiting: Those who wrote a message, and whose week 4 is not over.
        gone: Those who were members, and are none now. They count in no step but the first.
        medians: The median time from the step before to each step.
    """

    key: GroupKey = None
    name: str = ""
    people: Invited | None = None
    counts: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(STEPS, 0))
    waiting: int = 0
    gone: int = 0
    medians: Mapping[str, timedelta | None] = field(default_factory=dict)

    def lost(self, step: str) -> int:
        """Return how many took a step, but not the next one; the last step loses nobody."""
        following = STEPS[STEPS.index(step) + 1 :]
        if not following:
            return 0
        waiting = self.waiting if step == "message" else 0
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
        """Return the address of those who took a step; None for the invitations."""
        if self.people is None or step == STEPS[0]:
            return None
        return self.people.link(reached=step)

    def link_lost(self, step: str) -> str | None:
        """Return the address of those who took a step, but not the next one."""
        if self.people is None or step in (STEPS[0], STEPS[-1]):
            return None
        return self.people.link(stuck=step)


async def read_funnels(period: Period, by: Grouping | None) -> list[Funnel]:
    """Return the funnels of the invitations of a period, or of all of them together for None."""
    span = days_between(period.since, period.until, None)
    open_day = today() - timedelta(days=7 * RETURN_WEEK - 1)
    records = await engine.read(
        COUNT_STEPS[by],
        start=span.starts[0],
        end=span.end,
        zone=load_zone(None).key,
        week_open_since=days_between(open_day, open_day, None).starts[0],
    )
    found = {record["row_key"]: record for record in records}
    names = await name_inviters(found)
    keys = sort_keys({key: record["invited"] for key, record in found.items()})
    return [
        _make_funnel(found[key], names.get(key, ""), _find_invited(key, period, by)) for key in keys
    ]


def _find_invited(key: GroupKey, period: Period, by: Grouping | None) -> Invited | None:
    """Return the people of a row as filters find them; None for those of all other inviters."""
    if key is None and by is not None:
        return None
    first, last = find_days(key, period)
    return Invited(first, last, key.removeprefix("#") if isinstance(key, str) else None)


def _make_funnel(record: asyncpg.Record, name: str, people: Invited | None) -> Funnel:
    days = record["days_until_message"]
    return Funnel(
        record["row_key"],
        name,
        people,
        {step: record[step] for step in STEPS},
        record["waiting"],
        record["gone"],
        {
            "joined": record["until_joined"],
            "approved": record["until_approved"],
            "message": None if days is None else timedelta(days=days),
        },
    )


async def _read_all(period: Period) -> tuple[Funnel, Funnel | None]:
    """Return the funnel of all invitations of a period, and that of the period before."""
    asked = [each for each in (period, period.before) if each]
    found = await asyncio.gather(*(read_funnels(each, None) for each in asked))
    funnels = [
        rows[0] if rows else Funnel(people=_find_invited(None, each, None))
        for each, rows in zip(asked, found, strict=True)
    ]
    return funnels[0], funnels[1] if period.before else None


async def _build(visit: Visit, period: Period) -> Mapping[str, object]:
    by = read_choice(visit, "by", Grouping)
    (everybody, before), rows = await asyncio.gather(_read_all(period), read_funnels(period, by))
    return {
        "by": by,
        "groupings": GROUPING_LABELS,
        "steps": STEP_LABELS,
        "everybody": everybody,
        "before": before,
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


async def load_steps_chart(_: Visit, period: Period) -> ChartTable:
    """Return the steps of all people, in the period and in the period before."""
    everybody, before = await _read_all(period)
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
    columns = ["invited_month" if by is Grouping.MONTH else "inviter", *STEPS, "waiting", "gone"]
    rows = [
        (row.key, *(row.counts[step] for step in STEPS), row.waiting, row.gone)
        for row in await read_funnels(period, by)
    ]
    return ChartTable(columns, rows)


PAGE = InsightsPage(
    "funnel", _build, {"steps": load_steps_chart, "rows": load_rows_chart}, default_period="90"
)
