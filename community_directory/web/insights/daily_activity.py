"""Active people and messages by day or month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import asyncpg

from community_directory.database import Parameters, Statement, engine
from community_directory.queries.activity import select_activity, union
from community_directory.queries.filter_values import DayPeriod
from community_directory.queries.member_rows import BOTS, NO_BOTS
from community_directory.queries.standing import ABSENT
from community_directory.web.insights.charts import (
    Span,
    end_of_month,
    is_by_month,
    split_into_bars,
)
from community_directory.web.insights.layout import ChartTable
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit


def _make_sums(table: str, day: str, condition: str) -> str:
    """Return the SQL of the people and the messages of days or months; their sums count.

    The people are those who are present, and the messages those of everybody but bots. Everybody is
    counted. Then the absent, who are few, are taken from the people, and bots from the messages.
    That takes half as long as to look for each row's person among them, because indexes lead to the
    days of the absent. A bot has rows only on archived days.
    """
    return f"""
SELECT {day} AS since, count(*) AS people, sum(coalesce(message_count, 0)) AS messages
FROM {table} WHERE {condition} GROUP BY 1
UNION ALL
SELECT {day}, -count(*), 0
FROM {table} WHERE {condition} AND member_id IN ({ABSENT}) GROUP BY 1
UNION ALL
SELECT {day}, 0, -sum(coalesce(message_count, 0))
FROM {table} WHERE {condition} AND member_id IN ({BOTS}) GROUP BY 1
"""


SUM = """
SELECT since, sum(people)::bigint AS people, sum(messages)::bigint AS messages
FROM ({SUMS}) AS sums GROUP BY 1
"""
COUNT_DAYS = Statement(
    SUM.format(
        SUMS=_make_sums(
            "member_daily_highlights", "highlight_date", "highlight_date BETWEEN :since AND :until"
        )
    )
)
SUM_MONTHS = _make_sums("member_monthly_highlights", "month", "month = ANY({MONTHS}::date[])")
# The days that are not a whole month are first summed by member.
SUM_PART = f"""
SELECT {{SINCE}}::date, count(*) FILTER (WHERE days > 0 AND member_id NOT IN ({ABSENT})),
    coalesce(sum(messages) FILTER (WHERE {NO_BOTS}), 0)
FROM (
    SELECT member_id, sum(active_days) AS days, sum(message_count) AS messages
    FROM ({{DAYS}}) AS days GROUP BY member_id
) AS members
"""


class BarCounts(NamedTuple):
    """The days of a bar, the present people who were active then, and everybody's messages."""

    span: Span
    people: int
    messages: int


@dataclass(frozen=True, slots=True)
class DailyActivity:
    """The activity of a period by day or month, and that of the period before.

    Attributes:
        by_month: Whether the bars are months.
        bars: The bars of the period.
        before: As many bars of the period before, with the same numbers of days; none of a period
            of all days.
    """

    by_month: bool
    bars: list[BarCounts]
    before: list[BarCounts]

    @property
    def has_parts(self) -> bool:
        """Whether the bars are months, one of which is not whole."""
        return self.by_month and not all(_is_whole_month(bar.span) for bar in self.bars)

    @property
    def messages(self) -> int:
        """The messages of the period."""
        return sum(bar.messages for bar in self.bars)

    @property
    def messages_before(self) -> int:
        """The messages of the period before."""
        return sum(bar.messages for bar in self.before)

    @property
    def people_before(self) -> list[int | None]:
        """The people of the period before, one for each bar of the period."""
        return [bar.people for bar in self.before] or [None] * len(self.bars)


async def load_daily_activity(period: Period) -> DailyActivity:
    """Return the activity of the period and of the one before by day, or by month."""
    by_month = is_by_month(period.since, period.until)
    spans = split_into_bars(period.since, period.until, by_month=by_month)
    days = timedelta(days=(period.until - period.since).days + 1)
    earlier = [Span(since - days, until - days) for since, until in spans if period.before]
    count = _count_months if by_month else _count_days
    found = {since: (people, messages) for since, people, messages in await count(earlier + spans)}

    def bars(spans: Sequence[Span]) -> list[BarCounts]:
        return [BarCounts(span, *found.get(span.since, (0, 0))) for span in spans]

    return DailyActivity(by_month, bars(spans), bars(earlier))


async def _count_days(spans: Sequence[Span]) -> list[asyncpg.Record]:
    return await engine.read(COUNT_DAYS, since=spans[0].since, until=spans[-1].until)


async def _count_months(spans: Sequence[Span]) -> list[asyncpg.Record]:
    parameters = Parameters()
    months = [span for span in spans if _is_whole_month(span)]
    sums = [
        SUM_MONTHS.format(MONTHS=parameters.bind([span.since for span in months])),
        *(
            SUM_PART.format(
                SINCE=parameters.bind(span.since),
                DAYS=union(select_activity(DayPeriod(*span), parameters)),
            )
            for span in spans
            if span not in months
        ),
    ]
    return await engine.read(SUM.format(SUMS=union(sums)), *parameters)


def _is_whole_month(span: Span) -> bool:
    return span.since.day == 1 and span.until == end_of_month(span.since)


async def load_activity_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the chart of active people."""
    activity = await load_daily_activity(period)
    rows = [
        (*bar.span, bar.people, bar.messages, before)
        for bar, before in zip(activity.bars, activity.people_before, strict=True)
    ]
    return ChartTable(["since", "until", "active_people", "messages", "active_people_before"], rows)
