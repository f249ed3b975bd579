"""The lists of the page of invitations: by what became of them, and by inviter."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine
from community_directory.queries.invitation_rows import INVITER_CAN_INVITE
from community_directory.queries.pages import (
    INT_FIELD,
    KEY_FIELD,
    NUMBER_FIELD,
    TIME_FIELD,
    Page,
    PagedList,
    PageOrder,
)
from community_directory.queries.values import present_number_sql

PAGE_SIZE = 25
MAX_COUNTED = 10_000
"""The number up to which the invitations of a segment are counted."""

IS_OPEN = "status = 'pending' AND expires_at > now()"


class Segment(StrEnum):
    """Which invitations a page lists."""

    OPEN = "open"
    ENDING = "ending"
    """The open ones that end within a day."""
    ACCEPTED = "accepted"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


ALTERNATIVES = {
    Segment.OPEN: (IS_OPEN,),
    Segment.ENDING: (f"{IS_OPEN} AND expires_at <= now() + interval '24 hours'",),
    Segment.ACCEPTED: ("status = 'accepted'",),
    Segment.EXPIRED: ("status = 'expired'", "status = 'pending' AND expires_at <= now()"),
    Segment.CANCELLED: ("status = 'cancelled'",),
}
"""The conditions of the segments in SQL, of which a row fulfils one; an index has each."""
OPEN_SEGMENTS = (Segment.OPEN, Segment.ENDING)
"""The segments in the order of the end; the others have the order of the creation, newest first."""

OF_INVITER = f"created_by = {present_number_sql(':inviter')}"


@dataclass(frozen=True, slots=True)
class ListedInvitation:
    """An invitation in a list.

    Attributes:
        inviter: The number of the inviter.
        is_usable: Whether the inviter is an active member, without whom the code is worth nothing.
        person: The number of whoever accepted it; None if nobody did.
        person_state: The status of that person, or "removed".
    """

    invitation_id: UUID
    code: str
    username: str | None
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    inviter: str
    inviter_name: str
    is_usable: bool
    person: str | None
    person_name: str | None
    person_state: str | None

    @property
    def ends_soon(self) -> bool:
        """Whether the invitation ends within a day."""
        return self.expires_at - datetime.now(UTC) <= timedelta(days=1)


@dataclass(frozen=True, slots=True)
class InviterRecord:
    """What became of the invitations of a member."""

    member_id: str
    name: str
    made: int
    open: int
    accepted: int
    active: int
    banned: int


def _make_list(segment: Segment, *, has_inviter: bool, is_descending: bool) -> PagedList:
    """Return the list of a segment, of all inviters or of one."""
    column = "expires_at" if segment in OPEN_SEGMENTS else "created_at"

    def make_sql(order: PageOrder) -> str:
        edge = order.after(f"{column}, invitation_id", ":edge_time::timestamptz, :edge_id::uuid")
        return f"""
SELECT invitation_id, invitation_code AS code, invited_telegram_username AS username,
    invitation.created_at, invitation.expires_at, invitation.accepted_at, created_by AS inviter,
    inviter.name AS inviter_name, {INVITER_CAN_INVITE} AS is_usable, accepted_by AS person,
    person.name AS person_name,
    CASE WHEN person.deleted_at IS NULL THEN person.status ELSE 'removed' END AS person_state
FROM (
    SELECT * FROM community_invitations
    WHERE ({" OR ".join(ALTERNATIVES[segment])})
        AND {OF_INVITER if has_inviter else "true"} AND {edge}
    {order.by(column, "invitation_id")} LIMIT :limit
) AS invitation
JOIN community_members AS inviter ON inviter.member_id = created_by
LEFT JOIN community_members AS person ON person.member_id = accepted_by
{order.by(f"invitation.{column}", "invitation_id")}
"""

    name = f"invitations {segment} {has_inviter} {is_descending}"
    fields = {"edge_time": TIME_FIELD, "edge_id": KEY_FIELD}
    return PagedList(name, fields, make_sql, is_descending=is_descending)


LISTS = {
    (segment, has_inviter, is_descending): _make_list(
        segment, has_inviter=has_inviter, is_descending=is_descending
    )
    for segment in Segment
    for has_inviter in (False, True)
    for is_descending in ((False, True) if segment in OPEN_SEGMENTS else (True,))
}


def _make_count(condition: str) -> Statement:
    """Return the statement that counts the invitations of each segment, each in an index."""
    counts = ", ".join(
        " + ".join(
            f"(SELECT count(*) FROM (SELECT FROM community_invitations"
            f" WHERE {part} AND {condition} LIMIT {MAX_COUNTED + 1}) AS counted)"
            for part in ALTERNATIVES[segment]
        )
        + f" AS {segment}"
        for segment in Segment
    )
    return Statement(f"SELECT {counts}")


COUNT_ALL, COUNT_OF_INVITER = _make_count("true"), _make_count(OF_INVITER)


def _list_inviters_sql(order: PageOrder) -> str:
    return f"""
WITH counted AS (
    -- The numbers of invitations of all inviters, from an index alone: the order makes PostgreSQL
    -- read it. It would hash the whole table otherwise, which takes twice as long.
    SELECT created_by, count(*) AS made
    FROM (SELECT created_by FROM community_invitations ORDER BY created_by OFFSET 0) AS ordered
    GROUP BY created_by
), page AS (
    SELECT created_by, made FROM counted
    WHERE {order.after("made, created_by", ":edge_made::bigint, :edge_number::text")}
    {order.by("made", "created_by")} LIMIT :limit
)
SELECT member_id, name, made, outcome.* FROM page
JOIN community_members ON member_id = created_by, LATERAL (
    SELECT count(*) FILTER (WHERE invitation.status = 'pending' AND expires_at > now()) AS open,
        count(*) FILTER (WHERE invitation.status = 'accepted') AS accepted,
        count(*) FILTER (WHERE person.status = 'active' AND person.deleted_at IS NULL) AS active,
        count(*) FILTER (WHERE person.status = 'banned') AS banned
    FROM community_invitations AS invitation
    LEFT JOIN community_members AS person ON person.member_id = accepted_by
    WHERE invitation.created_by = page.created_by
) AS outcome
{order.by("made", "created_by")}
"""


INVITERS = PagedList(
    "inviters",
    {"edge_made": INT_FIELD, "edge_number": NUMBER_FIELD},
    _list_inviters_sql,
    is_descending=True,
)


async def list_invitations(
    segment: Segment, *, inviter: str | None, is_descending: bool, after: str | None, total: int
) -> Page[ListedInvitation]:
    """List the invitations of a segment: the open ones by their end, others newest first.

    Args:
        segment: Which invitations are listed.
        inviter: The number of the inviter; None lists those of all.
        is_descending: Whether the open ones that end last come first.
        after: A cursor of another page.
        total: The number of invitations in the list.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
    """
    is_descending = is_descending or segment not in OPEN_SEGMENTS
    column = "expires_at" if segment in OPEN_SEGMENTS else "created_at"
    page = await LISTS[segment, inviter is not None, is_descending].read_page(
        after,
        PAGE_SIZE,
        lambda record: ListedInvitation(**record),
        lambda row: (getattr(row, column), row.invitation_id),
        **_condition(inviter),
    )
    return replace(page, total=total)


async def count_invitations(inviter: str | None) -> Mapping[str, int]:
    """Return the number of invitations in each segment, of all inviters or of one.

    A number above 10,000 stands for any larger one.
    """
    statement = COUNT_ALL if inviter is None else COUNT_OF_INVITER
    [counts] = await engine.read(statement, **_condition(inviter))
    return dict(counts)


async def list_inviters(after: str | None) -> Page[InviterRecord]:
    """List everybody who has created an invitation, those with the most first.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
    """
    return await INVITERS.read_page(
        after, PAGE_SIZE, _record_from, lambda record: (record.made, record.member_id)
    )


def _record_from(record: asyncpg.Record) -> InviterRecord:
    return InviterRecord(**record)


def _condition(inviter: str | None) -> dict[str, object]:
    return {} if inviter is None else {"inviter": inviter}
