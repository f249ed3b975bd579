"""The lists of the page of invitations: by what became of them, and by inviter."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine
from community_directory.queries.invitation_rows import INVITER_CAN_INVITE, effective_status_sql
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
    UNACCEPTED = "unaccepted"
    """All but the accepted ones."""
    ALL = "all"


ALTERNATIVES = {
    Segment.OPEN: (IS_OPEN,),
    Segment.ENDING: (f"{IS_OPEN} AND expires_at <= now() + interval '24 hours'",),
    Segment.ACCEPTED: ("status = 'accepted'",),
    Segment.EXPIRED: ("status = 'expired'", "status = 'pending' AND expires_at <= now()"),
    Segment.CANCELLED: ("status = 'cancelled'",),
    Segment.UNACCEPTED: ("status = 'pending'", "status = 'expired'", "status = 'cancelled'"),
    Segment.ALL: ("true",),
}
"""The conditions of the segments in SQL, of which a row fulfils one; an index has each."""
OPEN_SEGMENTS = (Segment.OPEN, Segment.ENDING)
"""The segments in the order of the end; the others have the order of the creation, newest first."""

FILTERS = {
    "inviter": f"invitation.created_by = {present_number_sql(':inviter')}",
    "inviters": "invitation.created_by = ANY(:inviters::text[])",
    "since": "invitation.created_at >= :since",
    "before": "invitation.created_at < :before",
}
"""The conditions of the filters in SQL, by the names of their parameters."""


@dataclass(frozen=True, slots=True)
class InvitationFilters:
    """Which invitations all lists of the page have; None is no condition.

    Attributes:
        inviter: The number of the inviter.
        inviters: The numbers of several inviters, none of whom was merged.
        since: The first moment of the first day of creation.
        before: The moment after the last day of creation.
    """

    inviter: str | None = None
    inviters: list[str] | None = None
    since: datetime | None = None
    before: datetime | None = None

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of the conditions in force."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class ListedInvitation:
    """An invitation in a list.

    Attributes:
        status: The effective status.
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
    status: str
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


def _condition(filters: tuple[str, ...]) -> str:
    """Return the condition of the filters with these names in SQL."""
    return " AND ".join(FILTERS[name] for name in filters) or "true"


@cache
def _make_list(segment: Segment, filters: tuple[str, ...], *, is_descending: bool) -> PagedList:
    """Return the list of a segment with the filters of these names."""
    column = "expires_at" if segment in OPEN_SEGMENTS else "created_at"

    def make_sql(order: PageOrder) -> str:
        edge = order.after(f"{column}, invitation_id", ":edge_time::timestamptz, :edge_id::uuid")
        return f"""
SELECT invitation_id, invitation_code AS code, invited_telegram_username AS username,
    invitation.created_at, invitation.expires_at, invitation.accepted_at,
    {effective_status_sql("invitation")} AS status, created_by AS inviter,
    inviter.name AS inviter_name, {INVITER_CAN_INVITE} AS is_usable, accepted_by AS person,
    person.name AS person_name,
    CASE WHEN person.deleted_at IS NULL THEN person.status ELSE 'removed' END AS person_state
FROM (
    SELECT * FROM community_invitations AS invitation
    WHERE ({" OR ".join(ALTERNATIVES[segment])}) AND {_condition(filters)} AND {edge}
    {order.by(column, "invitation_id")} LIMIT :limit
) AS invitation
JOIN community_members AS inviter ON inviter.member_id = created_by
LEFT JOIN community_members AS person ON person.member_id = accepted_by
{order.by(f"invitation.{column}", "invitation_id")}
"""

    name = f"invitations {segment} {filters} {is_descending}"
    fields = {"edge_time": TIME_FIELD, "edge_id": KEY_FIELD}
    return PagedList(name, fields, make_sql, is_descending=is_descending)


@cache
def _make_count(filters: tuple[str, ...]) -> Statement:
    """Return the statement that counts the invitations of each segment, each in an index."""
    counts = ", ".join(
        " + ".join(
            f"(SELECT count(*) FROM (SELECT FROM community_invitations AS invitation"
            f" WHERE {part} AND {_condition(filters)} LIMIT {MAX_COUNTED + 1}) AS counted)"
            for part in ALTERNATIVES[segment]
        )
        + f' AS "{segment}"'
        for segment in Segment
    )
    return Statement(f"SELECT {counts}")


@cache
def _make_inviters_list(filters: tuple[str, ...]) -> PagedList:
    """Return the list of inviters by their invitations that the filters of these names find."""
    condition = _condition(filters)

    def make_sql(order: PageOrder) -> str:
        return f"""
WITH counted AS (
    -- The numbers of invitations of all inviters, from an index alone: the order makes PostgreSQL
    -- read it. It would hash the whole table otherwise, which takes twice as long.
    SELECT created_by, count(*) AS made
    FROM (
        SELECT created_by FROM community_invitations AS invitation WHERE {condition}
        ORDER BY created_by OFFSET 0
    ) AS ordered
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
    WHERE invitation.created_by = page.created_by AND {condition}
) AS outcome
{order.by("made", "created_by")}
"""

    fields = {"edge_made": INT_FIELD, "edge_number": NUMBER_FIELD}
    return PagedList(f"inviters {filters}", fields, make_sql, is_descending=True)


async def list_invitations(
    segment: Segment,
    filters: InvitationFilters,
    *,
    is_descending: bool,
    after: str | None,
    total: int,
) -> Page[ListedInvitation]:
    """List the invitations of a segment: the open ones by their end, others newest first.

    Args:
        segment: Which invitations are listed.
        filters: Which of these are listed.
        is_descending: Whether the open ones that end last come first.
        after: A cursor of another page.
        total: The number of invitations in the list.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
    """
    is_descending = is_descending or segment not in OPEN_SEGMENTS
    column = "expires_at" if segment in OPEN_SEGMENTS else "created_at"
    parameters = filters.parameters
    page = await _make_list(segment, tuple(parameters), is_descending=is_descending).read_page(
        after,
        PAGE_SIZE,
        lambda record: ListedInvitation(**record),
        lambda row: (getattr(row, column), row.invitation_id),
        **parameters,
    )
    return replace(page, total=total)


async def count_invitations(filters: InvitationFilters) -> Mapping[str, int]:
    """Return the number of invitations in each segment that the filters find.

    A number above 10,000 stands for any larger one.
    """
    parameters = filters.parameters
    [counts] = await engine.read(_make_count(tuple(parameters)), **parameters)
    return dict(counts)


async def list_inviters(filters: InvitationFilters, *, after: str | None) -> Page[InviterRecord]:
    """List everybody who has created an invitation that the filters find, those with most first.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
    """
    parameters = filters.parameters
    return await _make_inviters_list(tuple(parameters)).read_page(
        after,
        PAGE_SIZE,
        _record_from,
        lambda record: (record.made, record.member_id),
        **parameters,
    )


def _record_from(record: asyncpg.Record) -> InviterRecord:
    return InviterRecord(**record)
