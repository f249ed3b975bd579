"""What people did in a period: those who did most, and how many did how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from community_directory.database import Parameters, engine
from community_directory.queries.activity import sum_activity
from community_directory.web.insights.period import Period

MOST_ACTIVE_FIRST = """message_count + reaction_count DESC, voice_minutes DESC,
    length(member_id), member_id"""
"""The order of those who did most, in SQL."""
# The two parts of the result have one reading of the activity. The groups are few: many people have
# the same small numbers.
SUM_CONTRIBUTIONS = f"""
WITH
-- What each person did in the period.
activity AS MATERIALIZED ({{ACTIVITY}}),
-- Those who did most.
first AS (
    SELECT * FROM activity
    ORDER BY {MOST_ACTIVE_FIRST} LIMIT {{LIMIT}}
),
-- The number of people with each number of contributions.
groups AS (
    SELECT message_count + reaction_count AS contributions, count(*) AS people
    FROM activity WHERE message_count + reaction_count > 0 GROUP BY 1
)
SELECT contributions, people, NULL AS member_id, NULL AS name, NULL AS active_days,
    NULL AS message_count, NULL AS reaction_count, NULL AS voice_minutes
FROM groups
UNION ALL
SELECT message_count + reaction_count, NULL, member_id, name, active_days, message_count,
    reaction_count, voice_minutes
FROM first JOIN community_members USING (member_id)
"""


@dataclass(frozen=True, slots=True)
class ActivePerson:
    """A person, and what they did in a period."""

    member_id: str
    name: str
    active_days: int
    message_count: int
    reaction_count: int
    voice_minutes: int

    @property
    def contributions(self) -> int:
        """The number of messages and reactions."""
        return self.message_count + self.reaction_count


class Contributions(NamedTuple):
    """The messages and reactions of a period.

    Attributes:
        groups: Each number of contributions that somebody made, and the number of people who made
            as many, the largest number of contributions first. Nobody made none.
        most_active: Those who contributed most; if they are few, also people in voice chats alone.
    """

    groups: Sequence[tuple[int, int]]
    most_active: Sequence[ActivePerson]


async def sum_contributions(period: Period, *, limit: int) -> Contributions:
    """Return the contributions of those who are present: no bots, no removed and banned people.

    Args:
        period: The period.
        limit: The number of people in the list of the most active ones.
    """
    parameters = Parameters()
    activity = sum_activity(period.span, parameters)
    sql = SUM_CONTRIBUTIONS.format(ACTIVITY=activity, LIMIT=parameters.bind(limit))
    records = await engine.read(sql, *parameters)
    groups: list[tuple[int, int]] = []
    most_active: list[ActivePerson] = []
    for contributions, people, *values in records:
        if people is None:
            most_active.append(ActivePerson(*values))
        else:
            groups.append((contributions, people))
    most_active.sort(
        key=lambda person: (-person.contributions, -person.voice_minutes, int(person.member_id[1:]))
    )
    return Contributions(sorted(groups, reverse=True), most_active)


async def list_most_active(period: Period, *, limit: int) -> Sequence[ActivePerson]:
    """Return those who contributed most in a period, and are present."""
    return (await sum_contributions(period, limit=limit)).most_active
