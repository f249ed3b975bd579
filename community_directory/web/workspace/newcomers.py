"""Newcomers: the people who wait for approval, and the records of those who invited them."""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine
from community_directory.queries.pages import KEY_FIELD, TIME_FIELD, Page, PagedList, PageOrder
from community_directory.tables import MemberStatus

MAX_COUNTED_PEOPLE = 1000
"""The number of people of one inviter after which no more are counted."""

OVERDUE_AFTER = timedelta(days=3)

WAITS = "status = 'pending' AND deleted_at IS NULL AND NOT is_bot"
"""A condition in SQL: a person waits for approval."""


@dataclass(frozen=True, slots=True)
class Inviter:
    """A member who invited somebody, and what became of everybody whom they invited.

    Attributes:
        member_id: The number of the member.
        name: The name of the member.
        invited: The number of people whom they invited, also of those who left; it ends at
            `MAX_COUNTED_PEOPLE`, and so do the others.
        active: The number of these people who are active members.
        banned: The number of these people who are banned.
    """

    member_id: str
    name: str
    invited: int
    active: int
    banned: int

    @property
    def has_many_banned(self) -> bool:
        """Whether a quarter of the people or more are banned."""
        return 4 * self.banned >= self.invited


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A person who waits for approval.

    Attributes:
        waits_since: The time at which they joined with their last invitation, or were added.
        inviter: Who invited them, or None.
    """

    id: UUID
    member_id: str
    name: str
    telegram_username: str | None
    primary_role: str
    organization: str | None
    country: str | None
    github_username: str | None
    github_verified: bool
    reputation_score: int
    waits_since: datetime
    inviter: Inviter | None

    @property
    def digits(self) -> str:
        """The number without its #, as addresses and forms have it."""
        return self.member_id[1:]

    @property
    def is_overdue(self) -> bool:
        """Whether they have waited too long."""
        return datetime.now(UTC) - self.waits_since >= OVERDUE_AFTER


# A contact who joins waits from the day on which they joined.
_WAITING = f"""
    SELECT id, member_id, coalesce((
        SELECT max(accepted_at) FROM community_invitations
        WHERE accepted_by = waiting.member_id
    ), created_at) AS waits_since
    FROM community_members AS waiting WHERE {WAITS}"""


def _list_waiting_sql(order: PageOrder) -> str:
    edge = ":edge_time::timestamptz, :edge_id::uuid"
    return f"""
WITH waiting AS MATERIALIZED ({_WAITING}
), page AS MATERIALIZED (
    SELECT id, waits_since FROM waiting
    WHERE {order.after("waits_since, id", edge)} {order.by("waits_since", "id")} LIMIT :limit
), inviters AS MATERIALIZED (
    -- each inviter of the page once, with the numbers of those whom they invited
    SELECT inviter.member_id, inviter.name, counted.* FROM community_members AS inviter, LATERAL (
        SELECT count(*) AS invited,
            count(*) FILTER (WHERE status = 'active' AND deleted_at IS NULL) AS active,
            count(*) FILTER (WHERE status = 'banned') AS banned
        FROM (
            SELECT status, deleted_at FROM community_members
            WHERE invited_by = inviter.member_id AND NOT is_bot AND merged_into IS NULL
            LIMIT :max_counted
        ) AS people
    ) AS counted
    WHERE inviter.member_id = ANY(ARRAY(
        SELECT invited_by FROM page JOIN community_members USING (id)
    ))
)
SELECT (SELECT count(*) FROM waiting) AS total, (SELECT min(waits_since) FROM waiting) AS oldest,
    id, person.member_id, person.name, telegram_username, primary_role, organization, country,
    github_username, github_verified, reputation_score, waits_since,
    inviters.member_id AS inviter_id, inviters.name AS inviter_name, invited, active, banned
FROM page JOIN community_members AS person USING (id)
    LEFT JOIN inviters ON inviters.member_id = person.invited_by
{order.by("waits_since", "id")}
"""


NEWCOMERS = PagedList(
    "newcomers", {"edge_time": TIME_FIELD, "edge_id": KEY_FIELD}, _list_waiting_sql
)

LIST_NUMBERS = Statement(f"""
SELECT member_id FROM ({_WAITING}) AS waiting ORDER BY waits_since, id LIMIT :limit
""")

# The bot acts in the name of an account on Telegram, and the panel in that of a user.
FIND_DECISIONS = Statement("""
SELECT member.member_id, act_id, actor, coalesce(author.name, actor) AS author,
    changes #>> '{status,1}' AS status
FROM community_members AS member CROSS JOIN LATERAL (
    SELECT * FROM directory_audit_log
    WHERE row_id = member.id AND changes #>> '{status,0}' = 'pending'
    ORDER BY id DESC LIMIT 1
) AS entry
LEFT JOIN community_members AS author
    ON author.telegram_id = substring(actor FROM '^telegram:([0-9]+)$')
WHERE member.member_id = ANY(:numbers)
""")


@dataclass(frozen=True, slots=True)
class Decision:
    """The last decision about somebody who waited.

    Attributes:
        act_id: The act that it was a part of, or None.
        actor: The author, as the audit log has them.
        author: The name of the author.
        status: The status that they got.
    """

    act_id: UUID | None
    actor: str
    author: str
    status: MemberStatus


@dataclass(frozen=True, slots=True)
class Waiting:
    """A page of those who wait, the oldest first.

    Attributes:
        total: The number of all who wait.
        oldest: The time since which the first of all waits; None if nobody waits.
    """

    page: Page[Newcomer]
    total: int
    oldest: datetime | None


async def list_waiting(*, after: str | None = None, limit: int) -> Waiting:
    """List those who wait, with the inviters and what became of the people whom these invited.

    After a page on which nobody waits any more comes the first one again.

    Args:
        after: A cursor of another page.
        limit: The number of people on the page.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
    """
    page = await NEWCOMERS.read_page(
        after,
        limit,
        lambda record: record,
        lambda record: (record["waits_since"], record["id"]),
        max_counted=MAX_COUNTED_PEOPLE,
    )
    if not page.items and after is not None:
        return await list_waiting(limit=limit)
    newcomers = Page(
        [_newcomer_from(record) for record in page.items], page.next_cursor, page.previous_cursor
    )
    if not page.items:
        return Waiting(newcomers, 0, None)
    return Waiting(newcomers, page.items[0]["total"], page.items[0]["oldest"])


async def list_numbers(limit: int) -> list[str]:
    """Return the numbers of those who wait longest."""
    return [number for (number,) in await engine.read(LIST_NUMBERS, limit=limit)]


async def find_decisions(numbers: list[str]) -> dict[str, Decision]:
    """Return the last decision about each of these members who have waited."""
    records = await engine.fetch(FIND_DECISIONS, numbers=numbers)
    return {
        number: Decision(act_id, actor, author, MemberStatus(status))
        for number, act_id, actor, author, status in records
    }


def _newcomer_from(record: asyncpg.Record) -> Newcomer:
    names = [each.name for each in fields(Newcomer) if each.name != "inviter"]
    inviter = None
    if record["inviter_id"] is not None:
        inviter = Inviter(
            record["inviter_id"],
            record["inviter_name"],
            record["invited"],
            record["active"],
            record["banned"],
        )
    return Newcomer(**{name: record[name] for name in names}, inviter=inviter)
