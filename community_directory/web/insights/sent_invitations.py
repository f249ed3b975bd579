"""The invitations of a period: what became of them, and how long people took to accept them."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

import asyncpg

from community_directory.database import Statement, engine
from community_directory.error_texts import gettext_noop
from community_directory.queries.invitation_rows import effective_status_sql
from community_directory.tables import InvitationStatus
from community_directory.web.insights.charts import Bar, make_bars
from community_directory.web.insights.layout import ChartTable, to_invitations
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

SENT = "sent"
INVITATION_OUTCOMES = (
    InvitationStatus.ACCEPTED,
    InvitationStatus.PENDING,
    InvitationStatus.EXPIRED,
    InvitationStatus.CANCELLED,
)
LISTS = {SENT: "all", InvitationStatus.PENDING: "open"}
"""The lists of the page Invitations that have another name than their outcome."""
WAITING_TIME_ENDS = (
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=2),
    timedelta(days=3),
)
"""The ends of the ranges of the time until an invitation is accepted; the last range has none."""
WAITING_TIME_LABELS = (
    gettext_noop("under 1 h"),
    gettext_noop("1–6 h"),
    gettext_noop("6–24 h"),
    gettext_noop("1–2 days"),
    gettext_noop("2–3 days"),
    gettext_noop("longer"),
)
"""The labels of the ranges that `WAITING_TIME_ENDS` separates."""

# Without OFFSET 0 PostgreSQL would expect a group for each invitation, and sort them all.
COUNT_INVITATIONS = Statement(
    f"""
    SELECT effective_status, time_range, count(*) FROM (
        SELECT {effective_status_sql("invitation")} AS effective_status,
            width_bucket(accepted_at - created_at, :waiting_times::interval[]) AS time_range
        FROM community_invitations AS invitation
        WHERE status = ANY(:statuses::text[]) AND created_at >= :since AND created_at < :before
        OFFSET 0
    ) AS sent GROUP BY 1, 2
    """
)


class SentInvitations(NamedTuple):
    """The invitations that were created in a period.

    Attributes:
        outcomes: The bars of all that were sent, and of each of the `INVITATION_OUTCOMES`.
        waiting_times: The bars of the accepted ones by the time until they were accepted.
    """

    outcomes: list[Bar]
    waiting_times: list[Bar]


async def load_invitations(period: Period) -> SentInvitations:
    """Return the invitations that were created in the period."""
    found = await engine.read(
        COUNT_INVITATIONS,
        since=period.starts_at,
        before=period.ends_at,
        statuses=list(InvitationStatus),
        waiting_times=WAITING_TIME_ENDS,
    )
    return SentInvitations(count_outcomes(found), count_waiting_times(found))


def count_outcomes(invitations: Iterable[asyncpg.Record]) -> list[Bar]:
    """Return the bars of the invitations: all that were sent, and those of each outcome."""
    counts = {SENT: 0} | {status.value: 0 for status in INVITATION_OUTCOMES}
    for status, _, number in invitations:
        counts[SENT] += number
        counts[status] += number
    return make_bars(counts, counts[SENT])


def count_waiting_times(invitations: Iterable[asyncpg.Record]) -> list[Bar]:
    """Return the bars of the accepted invitations by the time until they were accepted."""
    counts = dict.fromkeys(WAITING_TIME_LABELS, 0)
    for _, time_range, number in invitations:
        if time_range is not None:
            counts[WAITING_TIME_LABELS[time_range]] += number
    return make_bars(counts, sum(counts.values()))


def link_outcomes(period: Period) -> dict[str, str]:
    """Return the addresses of the page Invitations for all that were sent, and for each outcome."""
    return {
        outcome: to_invitations(
            show=LISTS.get(outcome, outcome), created_from=period.since, created_to=period.until
        )
        for outcome in (SENT, *INVITATION_OUTCOMES)
    }


async def load_outcomes_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the chart of outcomes."""
    return _table("outcome", (await load_invitations(period)).outcomes)


async def load_waiting_times_table(_: Visit, period: Period) -> ChartTable:
    """Return the data of the chart of waiting times."""
    return _table("time_until_accepted", (await load_invitations(period)).waiting_times)


def _table(name: str, bars: Sequence[Bar]) -> ChartTable:
    return ChartTable([name, "invitations"], [(bar["name"], bar["count"]) for bar in bars])
