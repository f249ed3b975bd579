"""Invitations: made by a member, redeemed exactly once, and the tree of who invited whom."""

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from community_directory.database import engine
from community_directory.errors import (
    AlreadyMember,
    InvalidInput,
    InvitationCancelled,
    InvitationExpired,
    InvitationForSomeoneElse,
    InvitationNotFound,
    InvitationUsed,
    MemberBanned,
    MemberNotActive,
    MemberNotFound,
)
from community_directory.queries.members import (
    ACTOR,
    Member,
    Profile,
    as_json,
    member_columns,
    member_from,
    username_from,
)
from community_directory.queries.pages import Page, checked_limit, page_of, position_of
from community_directory.tables import InvitationStatus, MemberStatus
from community_directory.tables.invitations import VALID_FOR, new_code

LONGEST_VALID = timedelta(days=365)
LONGEST_CODE = 16


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation; `status` is what the clock says: pending past `expires_at` is expired."""

    invitation_id: UUID
    invitation_code: str
    created_by: str
    invited_telegram_username: str | None
    status: InvitationStatus
    expires_at: datetime
    accepted_by: str | None
    accepted_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Redemption:
    """What came of a code; `repeated` when the same person had redeemed it before."""

    member: Member
    invitation: Invitation
    repeated: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """A member's place in the tree of invitations; `depth` counts the steps from the member that was asked about."""

    member_id: str
    name: str
    invited_by: str | None
    depth: int


_INVITATION = [field.name for field in fields(Invitation)]
_STATUS = _INVITATION.index("status")


def _columns(table: str) -> str:
    """The columns of an invitation, with the status that the clock gives it."""
    expired = f"CASE WHEN {table}.status = 'pending' AND {table}.expires_at <= now() THEN 'expired' "
    return ", ".join(
        f"{expired} ELSE {table}.status END AS status" if name == "status" else f"{table}.{name}"
        for name in _INVITATION
    )


COLUMNS = _columns("invitation")

# Only an active member invites. The same person again: the same code, open for longer.
CREATE = f"""
WITH {ACTOR}
INSERT INTO community_invitations AS invitation (invitation_code, created_by, invited_telegram_username, expires_at)
SELECT $4, inviter.member_id, $5, now() + $6
FROM community_members AS inviter, actor
WHERE inviter.member_id = $3 AND inviter.status = 'active' AND inviter.deleted_at IS NULL
    AND ($7::text IS NULL OR inviter.primary_role = $7)
ON CONFLICT (lower(invited_telegram_username)) WHERE status = 'pending' AND invited_telegram_username IS NOT NULL
    DO UPDATE SET expires_at = greatest(invitation.expires_at, EXCLUDED.expires_at)
RETURNING {COLUMNS}
"""

# A code as it was typed, or else in this project's own spelling: the caller gives both, the first one is preferred.
CHOICE = "invitation_code = ANY($1) ORDER BY invitation_code = ($1)[1] DESC LIMIT 1"

GET = f"SELECT {COLUMNS} FROM community_invitations AS invitation WHERE {CHOICE}"

# One statement, one winner. The invitation's row is locked first: of many callers all but one wait there, then see it
# accepted and do nothing. A contact becomes pending, a removed member comes back, anybody else is left alone.
REDEEM = f"""
WITH {ACTOR}, claimed AS MATERIALIZED (
    SELECT invitation.invitation_id, invitation.created_by
    FROM community_invitations AS invitation
    JOIN community_members AS inviter ON inviter.member_id = invitation.created_by
    WHERE invitation.invitation_code = ANY($3) AND invitation.status = 'pending' AND invitation.expires_at > now()
        AND inviter.status = 'active' AND inviter.deleted_at IS NULL
        AND (invitation.invited_telegram_username IS NULL
            OR lower(invitation.invited_telegram_username) = lower($7::text))
    ORDER BY invitation.invitation_code = ($3)[1] DESC LIMIT 1
    FOR UPDATE OF invitation
), newcomer AS (
    INSERT INTO community_members AS member (telegram_id, name, primary_role, status, telegram_username, organization,
        country, github_username, profile_data, invited_by)
    SELECT $4::text, $5, $6, 'pending', $7::text, $8, $9, $10, $11::jsonb, claimed.created_by FROM claimed, actor
    -- asked first, because a conflict costs a number
    WHERE NOT EXISTS (SELECT 1 FROM community_members WHERE telegram_id = $4::text)
    ON CONFLICT (telegram_id) DO NOTHING
    RETURNING member.*
), known AS (
    UPDATE community_members AS member SET
        status = CASE member.status WHEN 'not_member' THEN 'pending' ELSE member.status END,
        invited_by = CASE member.status WHEN 'not_member' THEN claimed.created_by ELSE member.invited_by END,
        name = $5,
        primary_role = $6,
        telegram_username = coalesce($7::text, member.telegram_username),
        organization = coalesce($8, member.organization),
        country = coalesce($9, member.country),
        profile_data = coalesce($11::jsonb, member.profile_data),
        deleted_at = NULL
    FROM claimed, actor
    WHERE member.telegram_id = $4::text AND member.member_id <> claimed.created_by AND member.status <> 'banned'
        AND (member.status = 'not_member' OR member.deleted_at IS NOT NULL)
    RETURNING member.*
), joined AS (
    SELECT * FROM newcomer UNION ALL SELECT * FROM known
), accepted AS (
    UPDATE community_invitations AS invitation
    SET status = 'accepted', accepted_by = joined.member_id, accepted_at = now()
    FROM claimed, joined
    WHERE invitation.invitation_id = claimed.invitation_id AND invitation.status = 'pending'
    RETURNING invitation.*
)
SELECT {_columns("accepted")}, {member_columns("joined")} FROM accepted, joined
"""

# Why a code was not redeemed, as things stand now: the invitation, its maker, and the person if they are known.
WHY_NOT = f"""
SELECT {COLUMNS}, {member_columns("person")},
    person.known, inviter.status AS inviter_status, inviter.deleted_at AS inviter_deleted_at
FROM community_invitations AS invitation
JOIN community_members AS inviter ON inviter.member_id = invitation.created_by
LEFT JOIN (SELECT true AS known, * FROM community_members) AS person ON person.telegram_id = $2
WHERE {CHOICE}
"""

CHANGE = f"""
WITH {{ACTOR}}, before AS (
    SELECT invitation_id, status FROM community_invitations
    WHERE {CHOICE.replace("$1", "$3")} FOR UPDATE
), changed AS (
    UPDATE community_invitations AS invitation SET {{CHANGES}} FROM before, actor
    WHERE invitation.invitation_id = before.invitation_id AND before.status IN ('pending', 'expired')
    RETURNING {COLUMNS}
)
SELECT before.status AS before, changed.* FROM before LEFT JOIN changed ON true
"""
EXTEND = CHANGE.format(ACTOR=ACTOR, CHANGES="status = 'pending', expires_at = greatest(expires_at, now()) + $4")
CANCEL = CHANGE.format(ACTOR=ACTOR, CHANGES="status = 'cancelled'")

EXPIRE_OVERDUE = f"""
WITH {ACTOR}
UPDATE community_invitations SET status = 'expired' FROM actor
WHERE invitation_id IN (
    SELECT invitation_id FROM community_invitations WHERE status = 'pending' AND expires_at <= now()
    FOR UPDATE SKIP LOCKED
)
RETURNING invitation_id
"""

LIST = f"""
SELECT {COLUMNS} FROM community_invitations AS invitation
WHERE ($2::text IS NULL OR created_by = $2)
    AND ($3::text IS NULL OR CASE WHEN status = 'pending' AND expires_at <= now() THEN 'expired' ELSE status END = $3)
    AND ($4::timestamptz IS NULL OR (created_at, invitation_id) < ($4, $5))
ORDER BY created_at DESC, invitation_id DESC LIMIT $1
"""

TREE = """
WITH RECURSIVE tree AS (
    SELECT member_id, name, invited_by, 0 AS depth FROM community_members WHERE member_id = $1
    UNION ALL
    SELECT member.member_id, member.name, member.invited_by, depth + 1
    FROM tree JOIN community_members AS member ON member.invited_by = tree.member_id
)
SELECT member_id, name, invited_by, depth FROM tree ORDER BY depth, length(member_id), member_id
"""

LINEAGE = """
WITH RECURSIVE lineage AS (
    SELECT member_id, name, invited_by, 0 AS depth FROM community_members WHERE member_id = $1
    UNION ALL
    SELECT member.member_id, member.name, member.invited_by, depth + 1
    FROM lineage JOIN community_members AS member ON member.member_id = lineage.invited_by
)
SELECT member_id, name, invited_by, depth FROM lineage ORDER BY depth
"""


async def create(
    *,
    created_by: str,
    telegram_username: str | None = None,
    valid_for: timedelta = VALID_FOR,
    required_role: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> Invitation:
    """Make an invitation, or extend the open one of the same person and answer with its code.

    Without `telegram_username` whoever holds the code may join. Raises `MemberNotActive` when the maker isn't an
    active member (or lacks `required_role`), `MemberNotFound`, `InvalidInput` for a time of not 1 second to 365 days.
    """
    arguments = (created_by, new_code(), username_from(telegram_username), _checked(valid_for), required_role)
    records = await engine.fetch(CREATE, actor or created_by, reason, *arguments)
    if records:
        return _invitation(records[0])
    inviter = await engine.fetch("SELECT status, deleted_at FROM community_members WHERE member_id = $1", created_by)
    if not inviter or inviter[0]["deleted_at"] is not None:
        raise MemberNotFound(created_by)
    status = inviter[0]["status"]
    raise MemberNotActive(created_by, status if status != MemberStatus.ACTIVE else f"without the role {required_role}")


async def get(code: str) -> Invitation:
    """The invitation with this code, however it was typed. Raises `InvitationNotFound`."""
    invitation = await find(code)
    if invitation is None:
        raise InvitationNotFound(code)
    return invitation


async def find(code: str) -> Invitation | None:
    """The invitation with this code, however it was typed; None when there is none."""
    records = await engine.fetch(GET, _spellings(code))
    return _invitation(records[0]) if records else None


async def redeem(
    code: str,
    *,
    telegram_id: str,
    name: str,
    primary_role: str,
    telegram_username: str | None = None,
    organization: str | None = None,
    country: str | None = None,
    github_username: str | None = None,
    profile_data: Profile | None = None,
) -> Redemption:
    """Let a person in with a code: exactly one, whatever the load, as a pending member.

    The same person again (a double tap, a redelivered update) gets the same answer with `repeated`. A contact becomes
    pending, a removed member comes back as they were. Raises `InvitationNotFound`, `InvitationExpired`,
    `InvitationCancelled`, `InvitationUsed`, `InvitationForSomeoneElse`, `AlreadyMember`, `MemberBanned`,
    `InvalidInput`; nothing has changed then.
    """
    spellings = _spellings(code)
    person = (telegram_id, name, primary_role, username_from(telegram_username), organization, country)
    more = (username_from(github_username), as_json(profile_data))
    while True:
        records = await engine.fetch(REDEEM, f"telegram:{telegram_id}", None, spellings, *person, *more)
        if records:
            return Redemption(_member(records[0]), _invitation(records[0]), repeated=False)
        refused = await engine.fetch(WHY_NOT, spellings, telegram_id)
        repeated = _judge(code, refused, username_from(telegram_username))
        if repeated is not None:
            return repeated
        # Somebody extended the invitation, or removed the person, between the two statements: now it may work.


def _judge(code: str, refused: list[Any], username: str | None) -> Redemption | None:
    """Raise why the code was not redeemed, or answer with the redemption that this one repeats."""
    if not refused:
        raise InvitationNotFound(code)
    record = refused[0]
    invitation, person = _invitation(record), _member(record) if record["known"] else None
    if person is not None and person.status is MemberStatus.BANNED:
        raise MemberBanned
    if person is not None and person.deleted_at is None and invitation.accepted_by == person.member_id:
        return Redemption(person, invitation, repeated=True)
    _raise_for_status(code, invitation)
    intended = invitation.invited_telegram_username
    if intended is not None and intended.lower() != (username or "").lower():
        raise InvitationForSomeoneElse(code)
    if record["inviter_status"] != MemberStatus.ACTIVE or record["inviter_deleted_at"] is not None:
        raise InvitationCancelled(code)
    if person is not None and (person.member_id == invitation.created_by or _is_inside(person)):
        raise AlreadyMember(person.member_id)
    return None


def _raise_for_status(code: str, invitation: Invitation) -> None:
    if invitation.status is InvitationStatus.ACCEPTED:
        raise InvitationUsed(code)
    if invitation.status is InvitationStatus.CANCELLED:
        raise InvitationCancelled(code)
    if invitation.status is InvitationStatus.EXPIRED:
        raise InvitationExpired(code, invitation.expires_at)


def _is_inside(person: Member) -> bool:
    return person.deleted_at is None and person.status is not MemberStatus.NOT_MEMBER


async def extend(
    code: str, *, valid_for: timedelta = VALID_FOR, actor: str | None = None, reason: str | None = None
) -> Invitation:
    """Keep an invitation open for longer: from its end, or from now when that is past.

    Raises `InvitationNotFound`, `InvitationUsed`, `InvitationCancelled`, `InvalidInput`.
    """
    return _changed(code, await engine.fetch(EXTEND, actor, reason, _spellings(code), _checked(valid_for)))


async def cancel(code: str, *, actor: str | None = None, reason: str | None = None) -> Invitation:
    """Withdraw an invitation, for good. Raises `InvitationNotFound`, `InvitationUsed`, `InvitationCancelled`."""
    return _changed(code, await engine.fetch(CANCEL, actor, reason, _spellings(code)))


async def expire_overdue() -> int:
    """Mark what is past its time as expired, and say how many; to every helper they were so already."""
    return len(await engine.fetch(EXPIRE_OVERDUE, "sweep", None))


async def list_page(
    *, created_by: str | None = None, status: str | None = None, after: str | None = None, limit: int = 20
) -> Page[Invitation]:
    """Invitations, newest first; of one maker, or of one status by the clock.

    Raises `InvalidCursor`, `InvalidInput`.
    """
    place: tuple[datetime | None, UUID | None] = (None, None)
    if after is not None:
        made, key = position_of(after, "invitations")
        place = datetime.fromisoformat(str(made)), UUID(str(key))
    records = await engine.fetch(LIST, checked_limit(limit) + 1, created_by, status, *place)
    found = [_invitation(record) for record in records]
    last = found[limit - 1] if len(found) > limit else None
    position = (last.created_at.isoformat(), str(last.invitation_id)) if last else None
    return page_of(found, limit, "invitations", position)


async def lineage(member_id: str) -> list[Branch]:
    """Who invited the member, who invited that one, and so on to the first: the member comes first, with depth 0.

    Removed members are in it. Raises `MemberNotFound`.
    """
    return _branches(member_id, await engine.fetch(LINEAGE, member_id))


async def tree(member_id: str) -> list[Branch]:
    """Everybody whom the member invited, and whom those invited, and so on: the member first, then by depth.

    Removed members are in it. Raises `MemberNotFound`.
    """
    return _branches(member_id, await engine.fetch(TREE, member_id))


def _branches(member_id: str, records: list[Any]) -> list[Branch]:
    if not records:
        raise MemberNotFound(member_id)
    return [Branch(*record) for record in records]


def _changed(code: str, records: list[Any]) -> Invitation:
    if not records:
        raise InvitationNotFound(code)
    before, *values = records[0]
    if values[0] is None:
        raise InvitationUsed(code) if before == InvitationStatus.ACCEPTED else InvitationCancelled(code)
    return _invitation(values)


def _checked(valid_for: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= valid_for <= LONGEST_VALID:
        raise InvalidInput(f"An invitation is open for 1 second to {LONGEST_VALID.days} days.", field="valid_for")
    return valid_for


def _spellings(code: str) -> list[str]:
    """The code as it is, and as this project spells its own: capital letters, no spaces, no dashes."""
    typed = re.sub(r"[\s-]", "", code)
    if len(typed) > LONGEST_CODE:
        raise InvitationNotFound(code[:LONGEST_CODE])
    return [typed, typed.upper()]


def _invitation(values: Any) -> Invitation:
    values = list(values[: len(_INVITATION)])
    values[_STATUS] = InvitationStatus(values[_STATUS])
    return Invitation(*values)


def _member(record: Any) -> Member:
    return member_from(tuple(record)[len(_INVITATION) :])
