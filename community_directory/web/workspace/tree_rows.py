"""What the page of the tree draws: the first members of a branch, with their activity."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import asyncpg

from community_directory.calendar import load_zone, today
from community_directory.database import Statement, engine
from community_directory.queries.member_rows import NO_BOTS
from community_directory.queries.values import present_number_sql

MAX_NODES = 300
"""The members that are drawn; of a larger branch, those nearest to its root."""
MAX_LEVELS = 100
"""The levels that are drawn: browsers limit how deep elements are nested."""
ACTIVITY_WEEKS = 12
SPARK_HEIGHT = 18
"""The height of the longest bar of an activity, in pixels."""
MAX_ROOTS = 20
"""The members in the list of those who invited most."""

# PostgreSQL ends the recursion when there are enough rows, and it goes down level by level. Bots
# and merged members are left out, but not the people whom they invited.
DRAW_BRANCH = Statement(f"""
WITH RECURSIVE start AS (
    SELECT {present_number_sql(":member_id")} AS root
), tree AS (
    SELECT member_id, NULL::text AS parent, false AS is_hidden, 0 AS level
    FROM community_members WHERE member_id = (SELECT root FROM start)
    UNION ALL
    SELECT child.member_id, CASE WHEN tree.is_hidden THEN tree.parent ELSE tree.member_id END,
        child.is_hidden, level + 1
    FROM tree CROSS JOIN LATERAL (
        SELECT member_id, is_bot OR merged_into IS NOT NULL AS is_hidden FROM community_members
        WHERE invited_by = tree.member_id AND member_id <> (SELECT root FROM start)
        ORDER BY length(member_id), member_id LIMIT :max_nodes
    ) AS child WHERE level < :max_levels
), drawn AS MATERIALIZED (
    SELECT * FROM tree WHERE NOT is_hidden LIMIT :max_nodes
)
SELECT drawn.member_id, parent, level, name, invited_by, created_at, last_active_at,
    CASE WHEN deleted_at IS NULL THEN status ELSE 'removed' END AS state,
    EXISTS (
        SELECT FROM member_permissions AS held
        WHERE held.member_id = drawn.member_id AND permission = 'manage'
    ) AS is_manager,
    (
        SELECT count(*) FROM community_invitations AS invitation
        WHERE created_by = drawn.member_id AND invitation.status = 'pending' AND expires_at > now()
    ) AS open_invitations
FROM drawn JOIN community_members USING (member_id)
ORDER BY level, length(drawn.member_id), drawn.member_id
""")

COUNT_ACTIVITY = Statement("""
SELECT member_id, (:today::date - highlight_date) / 7 AS weeks_ago,
    sum(message_count + reaction_count + voice_minutes)
FROM member_daily_highlights
WHERE member_id = ANY(:numbers) AND highlight_date > :since AND highlight_date <= :today
GROUP BY 1, 2
""")

LIST_INVITERS = Statement(f"""
SELECT member_id, name, CASE WHEN deleted_at IS NULL THEN status ELSE 'removed' END AS state,
    invited
FROM (
    SELECT invited_by AS member_id, count(*) AS invited FROM community_members
    WHERE invited_by IS NOT NULL AND {NO_BOTS}
    GROUP BY invited_by ORDER BY invited DESC, length(invited_by), invited_by LIMIT :limit
) AS counted JOIN community_members USING (member_id)
WHERE NOT is_bot
ORDER BY invited DESC, length(member_id), member_id
""")


@dataclass(slots=True, eq=False)
class Node:
    """A member in the drawn tree.

    Attributes:
        invited_by: The number of the inviter, who may be a bot that is not drawn.
        depth: The number of drawn members above.
        state: The status, or "removed".
        days_since_joining: The days since the member was added.
        days_quiet: The days since the last event; None if there is none.
        bars: The heights of the activity of the last weeks, the oldest first.
        children: The drawn members below.
    """

    member_id: str
    name: str
    state: str
    invited_by: str | None
    is_manager: bool
    open_invitations: int
    days_since_joining: int
    days_quiet: int | None
    bars: Sequence[int] = ()
    depth: int = 0
    children: list["Node"] = field(default_factory=list)

    @property
    def number(self) -> str:
        """The number without #, as addresses have it."""
        return self.member_id[1:]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The drawn tree of a member.

    Attributes:
        root: The member at the top.
        nodes: All drawn members, each before those below.
        is_complete: Whether everybody below the root is drawn.
    """

    root: Node
    nodes: Sequence[Node]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Inviter:
    """Somebody who invited others directly."""

    member_id: str
    name: str
    state: str
    invited: int


async def draw(member_id: str) -> Drawing | None:
    """Return the tree of a member; None if no member has this number."""
    records = await engine.read(
        DRAW_BRANCH, member_id=member_id, max_nodes=MAX_NODES + 1, max_levels=MAX_LEVELS
    )
    if not records:
        return None
    is_complete = len(records) <= MAX_NODES and records[-1]["level"] < MAX_LEVELS
    records = records[:MAX_NODES]
    nodes = {record["member_id"]: _make_node(record) for record in records}
    for record in records[1:]:
        node, parent = nodes[record["member_id"]], nodes[record["parent"]]
        node.depth = parent.depth + 1
        parent.children.append(node)
    for number, bars in (await _read_activity(list(nodes))).items():
        nodes[number].bars = bars
    root, *_ = nodes.values()
    return Drawing(root, _order(root), is_complete)


def _order(root: Node) -> list[Node]:
    """Return a member and everybody drawn below, each before those below."""
    ordered, waiting = [], [root]
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        waiting.extend(reversed(node.children))
    return ordered


async def list_inviters() -> list[Inviter]:
    """List those who invited most people directly."""
    return [Inviter(*record) for record in await engine.read(LIST_INVITERS, limit=MAX_ROOTS)]


def _make_node(record: asyncpg.Record) -> Node:
    quiet_since = record["last_active_at"]
    return Node(
        member_id=record["member_id"],
        name=record["name"],
        state=record["state"],
        invited_by=record["invited_by"],
        is_manager=record["is_manager"],
        open_invitations=record["open_invitations"],
        days_since_joining=_days_since(record["created_at"]),
        days_quiet=None if quiet_since is None else _days_since(quiet_since),
    )


def _days_since(moment: datetime) -> int:
    return (today() - moment.astimezone(load_zone(None)).date()).days


async def _read_activity(numbers: Sequence[str]) -> dict[str, list[int]]:
    """Return the bars of each member; the longest one is that of the busiest week of all."""
    day = today()
    records = await engine.read(
        COUNT_ACTIVITY,
        numbers=numbers,
        today=day,
        since=day - timedelta(weeks=ACTIVITY_WEEKS),
    )
    most = max((count for *_, count in records), default=0) or 1
    bars: dict[str, list[int]] = defaultdict(lambda: [1] * ACTIVITY_WEEKS)
    for number, weeks_ago, count in records:
        # Roots keep a quiet week visible beside a busy one.
        height = round((int(count) / int(most)) ** 0.5 * SPARK_HEIGHT)
        bars[number][ACTIVITY_WEEKS - 1 - weeks_ago] = max(1, height)
    return {number: bars[number] for number in numbers}
