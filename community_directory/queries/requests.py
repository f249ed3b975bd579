"""Requests: what members ask managers for, such as the erasure of their data.

A request is open until somebody settles it; it is then deleted, and the audit log says by whom.
"""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from community_directory.database import Statement, engine
from community_directory.errors import MemberNotFound
from community_directory.queries.ids import new_id
from community_directory.queries.member_rows import (
    LOCKED_PERSON_CTES,
    MAY_ERASE_THEMSELVES,
    Member,
    member_columns,
    member_from,
)
from community_directory.queries.observation import observe_helpers
from community_directory.queries.pages import (
    NUMBER_FIELD,
    TIME_FIELD,
    CursorField,
    Page,
    PagedList,
    PageOrder,
    checked_limit,
)
from community_directory.queries.values import (
    ACTOR_CTE,
    member_number,
    parse_choice,
    present_number_sql,
    required_actor,
)
from community_directory.tables import RequestKind

__all__ = ["MemberRequest", "ask", "list_open", "may_erase_themselves", "resolve"]

PRESENT_NUMBER = present_number_sql(":member_id")


@dataclass(frozen=True, slots=True)
class MemberRequest:
    """An open request of a member; the time is aware, in UTC.

    `repeated` says whether the member had asked for the same before, and nobody has settled it.
    """

    member: Member
    kind: RequestKind
    asked_at: datetime
    repeated: bool


# The locks wait for an erasure at the same time, which would miss the new request. Updating the
# stored row returns it, and changes nothing.
ASK = Statement(f"""
WITH {ACTOR_CTE}, {LOCKED_PERSON_CTES}, request AS (
    INSERT INTO member_requests AS stored (id, member_id, kind)
    SELECT :id::uuid, member_id, :kind::text FROM person, actor
    ON CONFLICT (member_id, kind) DO UPDATE SET kind = EXCLUDED.kind
    RETURNING id, member_id, kind, asked_at
)
SELECT {member_columns("person")}, request.kind, asked_at, request.id <> :id AS repeated
FROM person JOIN request USING (member_id)
""")


def _list_open_sql(order: PageOrder) -> str:
    key = "asked_at, number, kind"
    # Both members of a merge may have asked for the same: the older request counts.
    return f"""
SELECT {member_columns("member")}, kind, asked_at, false AS repeated FROM (
    SELECT coalesce(named.merged_into, named.member_id) AS number, kind, min(asked_at) AS asked_at
    FROM member_requests JOIN community_members AS named USING (member_id)
    WHERE :kind::text IS NULL OR kind = :kind
    GROUP BY number, kind
) AS request JOIN community_members AS member ON member.member_id = number
WHERE {order.after(key, ":asked_at::timestamptz, :last_number::text, :last_kind::text")}
{order.by("asked_at", "number", "kind")} LIMIT :limit
"""


KINDS = tuple(RequestKind)
"""The kinds in the order of their places in a cursor."""


def _unpack_kind(place: int) -> RequestKind:
    if place >= len(KINDS):
        raise ValueError
    return KINDS[place]


KIND_FIELD = CursorField("B", KINDS.index, _unpack_kind)
OPEN_REQUESTS = PagedList(
    "requests",
    {"asked_at": TIME_FIELD, "last_number": NUMBER_FIELD, "last_kind": KIND_FIELD},
    _list_open_sql,
)

RESOLVE = Statement(f"""
WITH {ACTOR_CTE}
DELETE FROM member_requests AS request USING actor, community_members AS named
WHERE named.member_id = request.member_id AND kind = :kind
    AND coalesce(named.merged_into, named.member_id) = {PRESENT_NUMBER}
RETURNING request.id
""")


async def ask(
    member_id: str | int, kind: RequestKind | str, *, actor: str, reason: str | None = None
) -> MemberRequest:
    """Store a request of a member. A repeated call returns the request that is open.

    The number of a merged member leads to the other one. A removed member may ask, too, because
    the directory still has their data.

    Args:
        member_id: The member's number, "#247" or 247.
        kind: What the member asks for.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has this number, or the member was erased.
        InvalidInput: There is no such kind, or the actor is blank.
    """
    number = member_number(member_id)
    records = await engine.fetch(
        ASK,
        id=new_id(),
        member_id=number,
        kind=parse_choice(RequestKind, kind, "kind"),
        actor=required_actor(actor),
        reason=reason,
    )
    if not records:
        raise MemberNotFound(number)
    return _request_from(records[0])


async def list_open(
    *, kind: RequestKind | str | None = None, after: str | None = None, limit: int = 20
) -> Page[MemberRequest]:
    """List the open requests, the oldest first.

    Args:
        kind: Only requests of this kind; None means all.
        after: A cursor of another page.
        limit: The number of requests on the page, 1 to 100.

    Raises:
        InvalidCursor: `after` is not a cursor of this list.
        InvalidInput: There is no such kind, or the limit is not 1 to 100.
    """
    wanted = None if kind is None else parse_choice(RequestKind, kind, "kind")
    return await OPEN_REQUESTS.read_page(
        after,
        checked_limit(limit),
        _request_from,
        lambda request: (request.asked_at, request.member.member_id, request.kind),
        kind=wanted,
    )


async def resolve(
    member_id: str | int, kind: RequestKind | str, *, actor: str, reason: str | None = None
) -> bool:
    """End a request, and return whether it was open: of several calls, one returns True.

    It only ends the request: erase the data or link the account before. An erasure ends the
    requests of the member by itself.

    Args:
        member_id: The member's number, "#247" or 247.
        kind: What the member asks for.
        actor: The author of the change, for the audit log: a manager, or the member.
        reason: The reason of the change, for the audit log.

    Raises:
        InvalidInput: There is no such kind, or the actor is blank.
    """
    records = await engine.fetch(
        RESOLVE,
        member_id=member_number(member_id),
        kind=parse_choice(RequestKind, kind, "kind"),
        actor=required_actor(actor),
        reason=reason,
    )
    return bool(records)


async def may_erase_themselves(member_id: str | int) -> bool:
    """Return whether a member may erase their own data without a manager.

    Contacts and pending and active members may. A member who holds a permission may not, because
    the community needs to know who decided what; neither may a member who is suspended, banned or
    removed, or a bot. They can ask for it (`ask`).

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: The number is neither a text nor an integer.
    """
    number = member_number(member_id)
    records = await engine.fetch(MAY_ERASE_THEMSELVES, member_id=number)
    if not records:
        raise MemberNotFound(number)
    return bool(records[0]["may"])


def _request_from(record: asyncpg.Record) -> MemberRequest:
    kind, asked_at, repeated = record[-3:]
    return MemberRequest(member_from(record), RequestKind(kind), asked_at, repeated)


observe_helpers(globals())
