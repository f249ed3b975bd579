"""Lists of people in the order of what they did in a period."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Unpack

from community_directory.database import Parameters, engine
from community_directory.queries.activity import make_period_activity
from community_directory.queries.people_filters import PeopleFilters, check_people_filters
from community_directory.web.insights.period import Period

ORDERS = {
    "active_days": "active_days DESC, message_count + reaction_count DESC",
    "contributions": "message_count + reaction_count DESC, active_days DESC",
}


@dataclass(frozen=True, slots=True)
class ActivePerson:
    """A person, and what they did in a period; times are aware, in UTC."""

    member_id: str
    name: str
    last_active_at: datetime | None
    invited_by: str | None
    inviter_name: str | None
    active_days: int
    message_count: int
    reaction_count: int

    @property
    def contributions(self) -> int:
        """The number of messages and reactions."""
        return self.message_count + self.reaction_count


async def list_most_active(
    period: Period,
    *,
    by: Literal["active_days", "contributions"],
    limit: int,
    **filters: Unpack[PeopleFilters],
) -> list[ActivePerson]:
    """Return those who did most in a period, of the people whom filters let through.

    Args:
        period: The period. Its days are not a filter: the filters have days of their own.
        by: Whether the days on which they were active count, or their messages and reactions.
        limit: The number of people.
        **filters: The filters of People.
    """
    wanted, parameters = check_people_filters(**filters), Parameters()
    where = " AND ".join([wanted.people, *wanted.where(parameters)])
    activity = make_period_activity(parameters.bind(period.since), parameters.bind(period.until))
    records = await engine.read(
        f"""SELECT member_id, name, last_active_at, invited_by,
            (SELECT name FROM community_members AS inviter
                WHERE inviter.member_id = found.invited_by),
            active_days, message_count, reaction_count
        FROM (
            SELECT member_id, name, last_active_at, invited_by FROM community_members
            WHERE {where}
        ) AS found JOIN ({activity}) AS activity USING (member_id)
        ORDER BY {ORDERS[by]}, length(member_id), member_id
        LIMIT {parameters.bind(limit)}""",
        *parameters,
    )
    return [ActivePerson(*record) for record in records]


async def count_active_days(period: Period, member_ids: list[str]) -> dict[str, int]:
    """Return the number of days on which people were active in a period, by their numbers."""
    parameters = Parameters()
    activity = make_period_activity(parameters.bind(period.since), parameters.bind(period.until))
    records = await engine.read(
        f"""SELECT member_id, active_days FROM ({activity}) AS activity
        WHERE member_id = ANY({parameters.bind(member_ids)}::text[])""",
        *parameters,
    )
    return dict(records)
