"""Overview: the community at a glance."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta

from babel.dates import format_skeleton
from babel.numbers import format_decimal

from community_directory.calendar import load_zone
from community_directory.database import Statement, engine
from community_directory.queries.invitation_rows import effective_status_sql
from community_directory.queries.member_rows import NO_BOTS
from community_directory.tables import InvitationStatus, MemberStatus
from community_directory.web.insights.charts import (
    WAITING_TIME_ENDS,
    count_hours,
    count_outcomes,
    count_statuses,
    count_tiers,
    count_waiting_times,
    stack_areas,
)
from community_directory.web.insights.layout import InsightsPage
from community_directory.web.insights.period import Period
from community_directory.web.pages import Visit

CHART_WEEKS = 26
"""The weeks in the charts of members and invitations."""
ACTIVITY_DAYS = 28
"""The days whose events are counted by weekday and hour."""
MAX_ACTIVITY_EVENTS = 40_000
"""The newest events that are counted; all events of a busy month would take too long."""
MOST_ACTIVE_DAYS = 7
"""The days of the list of the most active members, including today."""

# The members are grouped by present status, tier, and the weeks in which they were added and
# removed. Week 0 is the time before the first of the :week_ends. Two statements count them, each
# from member_status_idx alone: those who were added, or added and removed, in week 0, whose groups
# are few, so that PostgreSQL counts them in parallel, and all others.
COUNT_EARLY_MEMBERS = Statement(
    """
    SELECT 0 AS added_week, CASE WHEN is_removed THEN 0 END AS removed_week, status,
        reputation_tier, members
    FROM (
        SELECT status, reputation_tier, deleted_at IS NOT NULL AS is_removed, count(*) AS members
        FROM community_members
        WHERE NOT is_bot AND merged_into IS NULL AND created_at < (:week_ends::timestamptz[])[1]
            AND (deleted_at IS NULL OR deleted_at < (:week_ends::timestamptz[])[1])
        GROUP BY 1, 2, 3
    ) AS grouped
    """
)
COUNT_LATER_MEMBERS = Statement(
    """
    SELECT
        CASE
            WHEN created_at < (:week_ends::timestamptz[])[1] THEN 0
            ELSE width_bucket(created_at, :week_ends)
        END AS added_week,
        width_bucket(deleted_at, :week_ends) AS removed_week,
        status, reputation_tier, count(*)
    FROM community_members
    WHERE NOT is_bot AND merged_into IS NULL AND (
        created_at >= (:week_ends::timestamptz[])[1] OR deleted_at >= (:week_ends::timestamptz[])[1]
    )
    GROUP BY 1, 2, 3, 4
    """
)
# The chart goes back in time by undoing these changes of status.
COUNT_STATUS_CHANGES = Statement(
    """
    SELECT
        CASE
            WHEN created_at < (:week_ends::timestamptz[])[1] THEN 0
            ELSE width_bucket(created_at, :week_ends)
        END AS added_week,
        least(
            width_bucket(changed_at, :week_ends), width_bucket(deleted_at, :week_ends)
        ) AS changed_week,
        changes -> 'status' ->> 0, changes -> 'status' ->> 1, count(*)
    FROM directory_audit_log AS entry JOIN community_members AS member ON member.id = entry.row_id
    WHERE table_name = 'community_members' AND action = 'UPDATE' AND changes ? 'status'
        AND NOT is_bot AND merged_into IS NULL AND changed_at >= (:week_ends::timestamptz[])[1]
    GROUP BY 1, 2, 3, 4
    """
)
# Without OFFSET 0 PostgreSQL would expect a group for each invitation, and sort them all.
COUNT_INVITATIONS = Statement(
    f"""
    SELECT effective_status, time_range, count(*) FROM (
        SELECT {effective_status_sql("invitation")} AS effective_status,
            width_bucket(accepted_at - created_at, :waiting_times::interval[]) AS time_range
        FROM community_invitations AS invitation
        WHERE status = ANY(:statuses::text[]) AND created_at >= :since OFFSET 0
    ) AS sent GROUP BY 1, 2
    """
)
# The offset of every time zone is a multiple of a quarter of an hour.
COUNT_EVENTS = Statement(
    f"""
    SELECT date_bin('15 minutes', occurred_at, timestamptz '2000-01-01 00:00Z'), count(*)
    FROM (
        SELECT occurred_at FROM member_participation
        WHERE occurred_at >= :since AND occurred_at <= :until AND {NO_BOTS}
        ORDER BY occurred_at DESC LIMIT :max_events
    ) AS newest GROUP BY 1
    """
)
# 100 members are looked up to show 12, because removed members and bots are left out.
LIST_MOST_ACTIVE = Statement(
    """
    SELECT member_id, name, messages, reactions, minutes FROM (
        SELECT member_id, sum(message_count) AS messages, sum(reaction_count) AS reactions,
            sum(voice_minutes) AS minutes
        FROM member_daily_highlights WHERE highlight_date > :since
        GROUP BY member_id
        ORDER BY sum(message_count + reaction_count) DESC, sum(voice_minutes) DESC,
            length(member_id), member_id
        LIMIT 100
    ) AS counted JOIN community_members USING (member_id)
    WHERE deleted_at IS NULL AND NOT is_bot AND messages + reactions + minutes > 0
    ORDER BY messages + reactions DESC, minutes DESC, length(member_id), member_id LIMIT 12
    """
)


async def build(visit: Visit, _: Period) -> Mapping[str, object]:
    """Return the variables of the page."""
    translation = visit.translation
    zone = load_zone(None)
    now = datetime.now(UTC)
    today = now.astimezone(zone).date()
    monday = today - timedelta(days=today.weekday())
    week_ends = [
        datetime.combine(monday - timedelta(weeks=weeks), time.min, zone).astimezone(UTC)
        for weeks in reversed(range(CHART_WEEKS))
    ]
    # The statements run at the same time, each on its own connection.
    early, later, changes, invitations, quarters, most_active = await asyncio.gather(
        engine.read(COUNT_EARLY_MEMBERS, week_ends=week_ends),
        engine.read(COUNT_LATER_MEMBERS, week_ends=week_ends),
        engine.read(COUNT_STATUS_CHANGES, week_ends=week_ends),
        engine.read(
            COUNT_INVITATIONS,
            since=week_ends[0],
            statuses=list(InvitationStatus),
            waiting_times=WAITING_TIME_ENDS,
        ),
        engine.read(
            COUNT_EVENTS,
            since=now - timedelta(days=ACTIVITY_DAYS),
            until=now,
            max_events=MAX_ACTIVITY_EVENTS,
        ),
        engine.read(LIST_MOST_ACTIVE, since=today - timedelta(days=MOST_ACTIVE_DAYS)),
    )
    members = [*early, *later]
    growth = count_statuses(members, changes, len(week_ends) + 1)
    # A week ends at midnight: its label is the day before.
    days = [end.astimezone(zone) - timedelta(days=1) for end in week_ends]
    local_quarters = [(start.astimezone(zone), number) for start, number in quarters]
    weekdays = translation.locale.days["stand-alone"]["abbreviated"]
    change = growth[MemberStatus.ACTIVE][-1] - growth[MemberStatus.ACTIVE][0]
    return {
        "weeks": CHART_WEEKS,
        "days": ACTIVITY_DAYS,
        "active_days": MOST_ACTIVE_DAYS,
        "labels": [
            *(format_skeleton("MMMd", day, locale=translation.locale) for day in days),
            visit.gettext("now"),
        ],
        "growth": growth,
        "change": change and format_decimal(change, "+#,##0;-#,##0", translation.locale),
        "area": stack_areas(list(growth.values())),
        "tiers": count_tiers(members),
        "outcomes": count_outcomes(invitations),
        "waiting_times": count_waiting_times(invitations, _name_waiting_times(visit)),
        "hours": count_hours(
            local_quarters, now, days=ACTIVITY_DAYS, max_events=MAX_ACTIVITY_EVENTS
        ),
        "weekdays": [weekdays[number] for number in range(7)],
        "most_active": most_active,
    }


def _name_waiting_times(visit: Visit) -> list[str]:
    """Return the names of the ranges that `WAITING_TIME_ENDS` separates."""
    return [
        visit.gettext("under 1 h"),
        visit.gettext("1–6 h"),
        visit.gettext("6–24 h"),
        visit.gettext("1–2 days"),
        visit.gettext("2–3 days"),
        visit.gettext("longer"),
    ]


PAGE = InsightsPage("overview", build)
