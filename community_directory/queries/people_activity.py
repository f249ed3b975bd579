"""The filters of the page People by activity, joining and invitation, and their SQL."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypedDict

from community_directory.calendar import add_months, days_between, load_zone, today
from community_directory.database import Parameters
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.activity import select_activity, select_rooms, union
from community_directory.queries.filter_values import (
    DayPeriod,
    checked_choice,
    parse_number,
    parse_period,
    parse_times,
)
from community_directory.queries.standing import MEMBER, PRESENT
from community_directory.queries.values import check_text, check_texts
from community_directory.tables import MemberParticipation

ACTIVITY_FILTERS = ("active", "inactive", "at_risk", "came_back")
REACHED_FILTERS = ("joined", "approved", "message", "week4")
MAX_CONTRIBUTIONS = 1_000_000_000
MAX_WEEK = 12
MAX_MONTH = 12
RETURN_WEEK = 4
"""The week after joining in which those are active who stay."""
RISK_ACTIVE_DAYS = 4
"""The fewest active days in the period before of somebody who can be at risk."""

# The names of the inner columns differ from those of the members around these conditions.
HAS_DAY = "EXISTS (SELECT FROM ({DAYS}) AS days WHERE actor = member_id)"
SUMMED = "(SELECT {SUMS} FROM ({DAYS}) AS days WHERE actor = member_id)"
"""A condition on the sums of few members, whose days are looked up one member after the other."""
AMONG_ALL = "member_id IN (SELECT actor FROM ({DAYS}) AS days GROUP BY actor HAVING {SUMS})"
"""A condition on the sums of many members, whose days are read at once."""
ACTIVE = "sum(active_days) > 0"


def at_risk_sql(now: str, before: str) -> str:
    """Return the condition that somebody is at risk, from the active days of two periods."""
    return f"{before} >= {RISK_ACTIVE_DAYS} AND {now} * 2 < {before}"


AT_RISK = at_risk_sql(
    "coalesce(sum(active_days) FILTER (WHERE NOT is_before), 0)",
    "coalesce(sum(active_days) FILTER (WHERE is_before), 0)",
)
CAME_BACK = """sum(active_days) FILTER (WHERE NOT is_before) > 0
    AND coalesce(sum(active_days) FILTER (WHERE is_before), 0) = 0"""
CONTRIBUTIONS = "sum(message_count) + sum(reaction_count)"
HAS_MILESTONES = """EXISTS (
    SELECT FROM (
        SELECT member_id AS beginner, joined_at, approved_at, first_active_day, first_message_day,
            active_weeks
        FROM member_milestones
    ) AS milestones WHERE beginner = member_id AND {CONDITIONS}
)"""
ACTIVE_IN_MONTH = """EXISTS (
    SELECT FROM member_monthly_highlights AS counted
    WHERE counted.member_id = beginner AND month = (
        date_trunc('month', joined_at AT TIME ZONE {ZONE}) + {NUMBER} * interval '1 month'
    )::date
)"""
ACCEPTED = """EXISTS (
    SELECT FROM (
        SELECT accepted_by, created_at AS invited_at FROM community_invitations
    ) AS invitations WHERE accepted_by = member_id{CONDITIONS}
)"""
STEPS = {
    "approved": "approved_at IS NOT NULL",
    "message": "first_message_day IS NOT NULL",
    "week4": f"{RETURN_WEEK} = ANY(active_weeks)",
}
"""The milestones of the steps after an accepted invitation, in SQL."""


def _has_milestones(*conditions: str) -> str:
    return HAS_MILESTONES.format(CONDITIONS=" AND ".join(conditions))


_NOT_APPROVED = f"NOT {_has_milestones(STEPS['approved'])}"
_SILENT = f"{STEPS['approved']} AND NOT ({STEPS['message']})"
_AWAY = f"{STEPS['approved']} AND {STEPS['message']} AND NOT ({STEPS['week4']})"
_MAY_WRITE = f"{_SILENT} AND approved_at >= {{SINCE}}"
_MAY_STAY = f"{_AWAY} AND joined_at >= {{SINCE}}"
STUCK = {
    "joined": f"status <> 'pending' AND {_NOT_APPROVED}",
    "approved": _has_milestones(_SILENT, "approved_at < {SINCE}"),
    "message": _has_milestones(_AWAY, "joined_at < {SINCE}"),
    # Whoever is pending has milestones: one lookup is faster than two of which one must succeed.
    "waiting": _has_milestones(
        f"(status = 'pending' AND approved_at IS NULL OR {_MAY_WRITE} OR {_MAY_STAY})"
    ),
    "waiting_joined": f"status = 'pending' AND {_NOT_APPROVED}",
    "waiting_approved": _has_milestones(_MAY_WRITE),
    "waiting_message": _has_milestones(_MAY_STAY),
}
"""The conditions in SQL on those who took a step, and not the next one, by the filter `stuck`.

In `SINCE`, the first day whose week 4 is not over begins.
"""


class ActivityFilters(TypedDict, total=False):
    """The filters by joining, activity and invitation; one that is None or empty finds everybody.

    A person is active on a day with a message, a reaction or a stay in a voice chat. A day counts
    when it is rolled up, in the night after it. A day of a filter is a date in the community's
    time zone, "month" for the first day of this month, or a number of days ago such as "30d".

    Attributes:
        member_from: The first day on which people became members: on which they first were more
            than a contact.
        member_to: The last day on which people became members.
        since: The first day of the period of `activity`, `room`, `contributions_from` and
            `contributions_to`. Without it, the period has 28 days.
        until: The last day of the period, or yesterday. The period has at most ten years.
        activity: "active" finds people who were active in the period, and "inactive" all others.
            "at_risk" finds members who were active on 4 days or more of the period before, and on
            less than half as many of the period; the period before has as many days, and ends the
            day before. "came_back" finds people who were active in the period, and not in the
            period before, but earlier; nobody who is banned.
        room: A platform, such as "telegram", or a platform and the id of a room, such as
            "telegram:-1001234567890". Finds people who did anything there in the period. The
            rooms of archived days are not known any more.
        contributions_from: The fewest messages and reactions in the period together. 0 finds those
            who were active, if only in a voice chat.
        contributions_to: The most messages and reactions in the period, of people who were active.
        active_week: A week after joining, 1 to 12, in which people were active. Week 1 begins with
            the day of joining, so week 4 has the days 21 to 27 after it.
        inactive_week: A week after joining, 1 to 12, that is over and in which people were not
            active.
        active_month: A month after joining, 0 to 12, in which people were active. Month 0 is the
            calendar month of joining.
        inactive_month: A month after joining, 0 to 12, that is over and in which people were not
            active.
        invited_from: The first day on which the invitation was created that people accepted.
        invited_to: The last day on which it was created.
        reached: A step of those who accepted an invitation: "joined", "approved", "message" (the
            first one) or "week4" (active in week 4 after joining). Finds people who took this step
            and all before it; nobody who is banned.
        stuck: A step that people took, with all before it, without the next one, which they can't
            or did not take in time: "joined" finds those who are not pending any more, "approved"
            those who were approved 28 days ago or earlier, and "message" those whose week 4 is
            over. "waiting" finds all others, who can still take the next step; "waiting_joined",
            "waiting_approved" and "waiting_message" find those of them whose last step it was.
    """

    member_from: str | date | None
    member_to: str | date | None
    since: str | date | None
    until: str | date | None
    activity: str | None
    room: str | None
    contributions_from: str | int | None
    contributions_to: str | int | None
    active_week: str | int | None
    inactive_week: str | int | None
    active_month: str | int | None
    inactive_month: str | int | None
    invited_from: str | date | None
    invited_to: str | date | None
    reached: str | None
    stuck: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityConditions:
    """The checked filters by activity, joining and invitation; None is no condition.

    The times are the first moment of the first day, and that after the last day.
    """

    period: DayPeriod
    activity: str | None
    room: tuple[str, str | None] | None
    """The platform, and the id of the room or None for all rooms."""
    least_contributions: int | None
    most_contributions: int | None
    active_week: int | None
    inactive_week: int | None
    active_month: int | None
    inactive_month: int | None
    member_since: datetime | None
    member_before: datetime | None
    invited_since: datetime | None
    invited_before: datetime | None
    reached: str | None
    stuck: str | None

    def where(self, parameters: Parameters, *, is_of_few: bool) -> Iterator[str]:
        """Yield the conditions in SQL, whose values become parameters.

        Args:
            parameters: The parameters of the statement.
            is_of_few: Whether the statement reads few members, in the order of an index.
        """
        conditions = self._conditions(parameters, is_of_few=is_of_few)
        # IS TRUE keeps PostgreSQL from joining: the members stay in their order, and those after
        # the last one of the page are not examined.
        yield from (f"({each}) IS TRUE" if is_of_few else each for each in conditions)

    def _conditions(self, parameters: Parameters, *, is_of_few: bool) -> Iterator[str]:
        if self.activity is not None:
            yield from self._activity(parameters, is_of_few=is_of_few)
        if self.room is not None:
            rooms = self._select_room(*self.room, parameters)
            yield _among(rooms, "sum(event_count) > 0", is_of_few=False)
        if sums := " AND ".join(self._contributions(parameters)):
            days = _select_days(self.period, parameters)
            yield _among(days, f"{ACTIVE} AND {sums}", is_of_few=is_of_few)
        if milestones := " AND ".join(self._milestones(parameters)):
            yield _has_milestones(milestones)
        invited = _between("invited_at", self.invited_since, self.invited_before, parameters)
        conditions = "".join(f" AND {condition}" for condition in invited)
        if self.reached or self.stuck or conditions:
            yield ACCEPTED.format(CONDITIONS=conditions)
        if self.stuck is not None:
            yield self._stuck_sql(STUCK[self.stuck], parameters)
        if self.reached or self.stuck:
            yield PRESENT

    def _activity(self, parameters: Parameters, *, is_of_few: bool) -> Iterator[str]:
        days = _select_days(self.period, parameters)
        if self.activity in ("active", "inactive"):
            no = "" if self.activity == "active" else "NOT "
            # The days of a short period are joined: nothing is summed.
            if len(days) == 1:
                yield no + HAS_DAY.format(DAYS=days[0])
            else:
                yield f"({_among(days, ACTIVE, is_of_few=is_of_few)}) IS {no}TRUE"
        else:
            days += _select_days(self.period.before, parameters, is_before=True)
            sums = AT_RISK if self.activity == "at_risk" else CAME_BACK
            yield _among(days, sums, is_of_few=is_of_few)
            yield MEMBER if self.activity == "at_risk" else PRESENT

    def _stuck_sql(self, sql: str, parameters: Parameters) -> str:
        if "{SINCE}" not in sql:
            return sql
        first = today() - timedelta(days=7 * RETURN_WEEK - 1)
        since = parameters.bind(days_between(first, first, None).starts[0])
        return sql.format(SINCE=f"(SELECT {since}::timestamptz)")

    def _contributions(self, parameters: Parameters) -> Iterator[str]:
        if self.least_contributions is not None:
            yield f"{CONTRIBUTIONS} >= {parameters.bind(self.least_contributions)}::bigint"
        if self.most_contributions is not None:
            yield f"{CONTRIBUTIONS} <= {parameters.bind(self.most_contributions)}::bigint"

    def _select_room(self, platform: str, room_id: str | None, parameters: Parameters) -> list[str]:
        """Return queries of what people did in one room or all in the period."""
        is_room = f"platform = {parameters.bind(platform)}"
        if room_id is not None:
            is_room += f" AND room_id = {parameters.bind(room_id)}"
        rooms = select_rooms(self.period, parameters, is_room)
        return [f"SELECT member_id AS actor, event_count FROM ({each}) AS room" for each in rooms]

    def _milestones(self, parameters: Parameters) -> Iterator[str]:
        yield from _between("joined_at", self.member_since, self.member_before, parameters)
        if self.activity == "came_back":
            before = parameters.bind(self.period.before.since)
            yield f"first_active_day < (SELECT {before}::date)"
        if self.active_week is not None:
            yield f"(SELECT {parameters.bind(self.active_week)}::smallint) = ANY(active_weeks)"
        if self.inactive_week is not None:
            yield _was_inactive(self.inactive_week, parameters)
        if self.active_month is not None:
            yield _was_active_in_month(self.active_month, parameters)
        if self.inactive_month is not None:
            # The month of those who joined before this one is over.
            month = add_months(today(), -self.inactive_month)
            before = parameters.bind(days_between(month, month, None).starts[0])
            yield f"joined_at < (SELECT {before}::timestamptz)"
            yield f"NOT {_was_active_in_month(self.inactive_month, parameters)}"
        if self.reached is not None:
            yield from _steps_up_to(self.reached)


def _select_days(
    period: DayPeriod, parameters: Parameters, *, is_before: bool = False
) -> list[str]:
    """Return queries of what people did in a period."""
    return [
        f"""SELECT member_id AS actor, {is_before} AS is_before, active_days, message_count,
            reaction_count FROM ({each}) AS part"""
        for each in select_activity(period, parameters)
    ]


def _among(days: list[str], sums: str, *, is_of_few: bool) -> str:
    """Return the condition that the days of a member, of which there are any, have such sums."""
    condition = (SUMMED if is_of_few else AMONG_ALL).format(DAYS=union(days), SUMS=sums)
    # From a union PostgreSQL expects 200 members. Without IS TRUE it would look up each of many
    # thousands of them alone.
    return condition if len(days) == 1 else f"({condition}) IS TRUE"


def _between(
    column: str, since: datetime | None, before: datetime | None, parameters: Parameters
) -> Iterator[str]:
    if since is not None:
        yield f"{column} >= (SELECT {parameters.bind(since)}::timestamptz)"
    if before is not None:
        yield f"{column} < (SELECT {parameters.bind(before)}::timestamptz)"


def _was_inactive(week: int, parameters: Parameters) -> str:
    """Return the condition that a week after joining is over, and was without activity."""
    # The week of those who joined on this day ended yesterday.
    last = today() - week * timedelta(days=7)
    before = parameters.bind(days_between(last, last, None).end)
    return f"""joined_at < (SELECT {before}::timestamptz)
        AND (SELECT {parameters.bind(week)}::smallint) <> ALL(active_weeks)"""


def _was_active_in_month(number: int, parameters: Parameters) -> str:
    """Return the condition that people were active in a month after joining."""
    return ACTIVE_IN_MONTH.format(
        ZONE=parameters.bind(load_zone(None).key), NUMBER=f"{parameters.bind(number)}::integer"
    )


def _steps_up_to(step: str) -> list[str]:
    return list(STEPS.values())[: REACHED_FILTERS.index(step)]


def check_activity_filters(
    *,
    member_from: str | date | None = None,
    member_to: str | date | None = None,
    since: str | date | None = None,
    until: str | date | None = None,
    activity: str | None = None,
    room: str | None = None,
    contributions_from: str | int | None = None,
    contributions_to: str | int | None = None,
    active_week: str | int | None = None,
    inactive_week: str | int | None = None,
    active_month: str | int | None = None,
    inactive_month: str | int | None = None,
    invited_from: str | date | None = None,
    invited_to: str | date | None = None,
    reached: str | None = None,
    stuck: str | None = None,
) -> ActivityConditions:
    """Return the conditions of filters, which `ActivityFilters` describes.

    Raises:
        InvalidInput: A value has the wrong type, or there is no such choice, day, period, week,
            room or number of contributions.
    """
    weeks, months = range(1, MAX_WEEK + 1), range(MAX_MONTH + 1)
    numbers = range(MAX_CONTRIBUTIONS + 1)
    member_since, member_before = parse_times("member", member_from, member_to)
    invited_since, invited_before = parse_times("invited", invited_from, invited_to)
    return ActivityConditions(
        period=parse_period(since, until),
        activity=checked_choice("activity", activity, ACTIVITY_FILTERS),
        room=_parse_room(room),
        least_contributions=parse_number("contributions_from", contributions_from, numbers),
        most_contributions=parse_number("contributions_to", contributions_to, numbers),
        active_week=parse_number("active_week", active_week, weeks),
        inactive_week=parse_number("inactive_week", inactive_week, weeks),
        active_month=parse_number("active_month", active_month, months),
        inactive_month=parse_number("inactive_month", inactive_month, months),
        member_since=member_since,
        member_before=member_before,
        invited_since=invited_since,
        invited_before=invited_before,
        reached=checked_choice("reached", reached, REACHED_FILTERS),
        stuck=checked_choice("stuck", stuck, STUCK),
    )


def _parse_room(value: str | None) -> tuple[str, str | None] | None:
    """Return the platform and the id of a room such as "telegram:-1001234567890".

    "telegram" alone means all rooms.
    """
    check_text("room", value, None)
    if not value:
        return None
    platform, colon, room_id = value.partition(":")
    if not platform or (colon and not room_id):
        raise InvalidInput(
            f"{sanitize_for_message(value)} is no room. Write it as telegram:-1001234567890.",
            field="room",
        )
    check_texts(MemberParticipation, platform=platform, room_id=room_id)
    return platform, room_id or None
