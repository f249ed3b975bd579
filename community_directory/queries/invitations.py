"""Invitations: made by a member, redeemed exactly once, and the tree of who invited whom."""

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from community_directory.database import engine
from community_directory.errors import (
    AlreadyMember,
    DatabaseUnavailable,
    InvalidInput,
    InvitationCancelled,
    InvitationExpired,
    InvitationForSomeoneElse,
    InvitationNotFound,
    InvitationUsed,
    MemberBanned,
    MemberNotActive,
    MemberNotFound,
    RoleRequired,
    sanitize_for_message,
)
from community_directory.queries.ids import new_id
from community_directory.queries.members import Member, member_columns, member_from
from community_directory.queries.pages import (
    Page,
    checked_limit,
    decode_cursor,
    make_page,
    parse_timestamp,
    parse_uuid,
)
from community_directory.queries.privacy import (
    ban_check_impossible,
    ban_fingerprint,
    secret_key_required,
)
from community_directory.queries.values import (
    ACTOR,
    MAX_ACTOR_LENGTH,
    Profile,
    as_json,
    check_text,
    check_texts,
    checked_actor,
    id_text,
    member_number,
    required_actor,
    username_from,
)
from community_directory.tables import CommunityMember, InvitationStatus, MemberStatus
from community_directory.tables.invitations import DEFAULT_VALIDITY, new_code

MAX_VALIDITY = timedelta(days=365)
SPACES_AND_DASHES = re.compile(r"[\s\u2010-\u2015\u2212-]+")
"""What people put into a code, and what their phones make of it."""
CODE = re.compile("[A-Za-z0-9]{8,16}")
ATTEMPTS = 10
"""How often a redemption looks again when what stood in its way was gone a parse_timestamp later."""


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
class TreeNode:
    """A member's place in the tree of invitations; `depth` counts the steps from the member that was asked about."""

    member_id: str
    name: str
    invited_by: str | None
    depth: int


_INVITATION = [field.name for field in fields(Invitation)]
_STATUS = _INVITATION.index("status")


def status_now(table: str) -> str:
    """The status that the clock gives an invitation, in SQL, whether or not the sweeper ran."""
    overdue = f"{table}.status = 'pending' AND {table}.expires_at <= now()"
    return f"CASE WHEN {overdue} THEN 'expired' ELSE {table}.status END"


def _columns(table: str) -> str:
    """The columns of an invitation, with the status that the clock gives it."""
    return ", ".join(
        f"{status_now(table)} AS status" if name == "status" else f"{table}.{name}"
        for name in _INVITATION
    )


COLUMNS = _columns("invitation")

# Only an active member invites. The same person again: the same code, open for longer. One that is past its time, or
# whose maker may no longer invite, is closed first: it is of no use, and stands in the way of the new one.
CREATE = f"""
WITH {ACTOR}, maker AS MATERIALIZED (
    SELECT member_id FROM community_members, actor
    WHERE member_id = $3 AND status = 'active' AND deleted_at IS NULL AND ($7::text IS NULL OR primary_role = $7)
), closed AS (
    UPDATE community_invitations AS invitation
    SET status = CASE WHEN invitation.expires_at <= now() THEN 'expired' ELSE 'cancelled' END
    FROM maker, community_members AS earlier
    WHERE lower(invitation.invited_telegram_username) = lower($5::text) AND invitation.status = 'pending'
        AND earlier.member_id = invitation.created_by
        AND (invitation.expires_at <= now() OR earlier.status <> 'active' OR earlier.deleted_at IS NOT NULL)
    RETURNING 1
)
INSERT INTO community_invitations AS invitation (invitation_code, created_by, invited_telegram_username, expires_at)
SELECT $4, maker.member_id, $5::text, now() + $6::interval
-- counted, so that closing comes first
FROM maker, (SELECT count(*) FROM closed) AS closed
ON CONFLICT (lower(invited_telegram_username)) WHERE status = 'pending' AND invited_telegram_username IS NOT NULL
    DO UPDATE SET expires_at = greatest(invitation.expires_at, EXCLUDED.expires_at)
RETURNING {COLUMNS}
"""

# A code as it was typed, or else in this project's own spelling: the caller gives both, the first one is preferred.
# Named one by one, because of an array of unknown length PostgreSQL plans anew each time.
CHOICE = (
    "invitation_code IN (($1::text[])[1], ($1)[2]) ORDER BY invitation_code = ($1)[1] DESC LIMIT 1"
)

GET = f"SELECT {COLUMNS} FROM community_invitations AS invitation WHERE {CHOICE}"

INTENDED = """(invitation.invited_telegram_username IS NULL
        OR lower(invitation.invited_telegram_username) = lower({username}::text))"""

# One statement, one winner. The invitation's row is locked first: of many callers all but one wait there, then see it
# accepted and do nothing. A contact becomes pending, a removed member comes back, anybody else is left alone.
REDEEM = f"""
WITH {ACTOR}, claimed AS MATERIALIZED (
    SELECT invitation.invitation_id, invitation.created_by
    FROM community_invitations AS invitation
    JOIN community_members AS inviter ON inviter.member_id = invitation.created_by
    WHERE invitation.invitation_id = (
        SELECT invitation_id FROM community_invitations WHERE {CHOICE.replace("$1", "$3")}
    ) AND invitation.status = 'pending' AND invitation.expires_at > now()
        AND inviter.status = 'active' AND inviter.deleted_at IS NULL
        AND {INTENDED.format(username="$7")}
        -- banned, then erased: the door knows them by a hash
        AND NOT EXISTS (SELECT 1 FROM community_members WHERE telegram_id = $12) AND NOT {ban_check_impossible("$12")}
    FOR UPDATE OF invitation
), newcomer AS (
    INSERT INTO community_members AS member (id, telegram_id, name, primary_role, status, telegram_username,
        organization, country, github_username, profile_data, invited_by)
    SELECT $13::uuid, $4::text, $5, $6, 'pending', $7::text, $8, $9, $10, $11::jsonb, claimed.created_by
    FROM claimed, actor
    -- asked first, because a conflict costs a number
    WHERE NOT EXISTS (SELECT 1 FROM community_members WHERE telegram_id = $4::text)
    ON CONFLICT (telegram_id) DO NOTHING
    RETURNING member.*
), contact AS (
    UPDATE community_members AS member SET
        status = 'pending',
        invited_by = claimed.created_by,
        name = $5,
        primary_role = $6,
        telegram_username = coalesce($7::text, member.telegram_username),
        organization = coalesce($8, member.organization),
        country = coalesce($9, member.country),
        github_username = CASE WHEN member.github_verified THEN member.github_username
            ELSE coalesce($10, member.github_username) END,
        profile_data = coalesce($11::jsonb, member.profile_data),
        deleted_at = NULL
    FROM claimed, actor
    WHERE member.telegram_id = $4::text AND member.status = 'not_member'
    RETURNING member.*
), returned AS (
    -- as they were: nobody comes back with another role
    UPDATE community_members AS member SET deleted_at = NULL
    FROM claimed, actor
    WHERE member.telegram_id = $4::text AND member.deleted_at IS NOT NULL
        AND member.status NOT IN ('not_member', 'banned')
    RETURNING member.*
), joined AS (
    SELECT * FROM newcomer UNION ALL SELECT * FROM contact UNION ALL SELECT * FROM returned
), accepted AS (
    UPDATE community_invitations AS invitation
    SET status = 'accepted', accepted_by = joined.member_id, accepted_at = now()
    FROM claimed, joined
    WHERE invitation.invitation_id = claimed.invitation_id
    RETURNING invitation.*
)
SELECT {_columns("accepted")}, {member_columns("joined")} FROM accepted, joined
"""

# Why a code was not redeemed, as things stand now: the invitation, its maker, and the person if they are known.
WHY_NOT = f"""
SELECT {COLUMNS}, {member_columns("person")},
    person.known, {INTENDED.format(username="$3")} AS intended,
    inviter.status = 'active' AND inviter.deleted_at IS NULL AS open, {ban_check_impossible("$4")} AS ban_check_impossible
FROM community_invitations AS invitation
JOIN community_members AS inviter ON inviter.member_id = invitation.created_by
LEFT JOIN (
    SELECT true AS known, * FROM community_members
    WHERE telegram_id IN ($2, $4) ORDER BY status = 'banned' DESC LIMIT 1
) AS person ON true
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
EXTEND = CHANGE.format(
    ACTOR=ACTOR,
    CHANGES="status = 'pending', expires_at = greatest(expires_at, now()) + $4::interval",
)
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
    AND ($3::text IS NULL OR {status_now("invitation")} = $3)
    AND ($4::timestamptz IS NULL OR (created_at, invitation_id) < ($4, $5))
ORDER BY created_at DESC, invitation_id DESC LIMIT $1
"""

TREE = """
WITH RECURSIVE tree AS (
    SELECT member_id, name, invited_by, 0 AS depth FROM community_members WHERE member_id = $1
    UNION ALL
    SELECT member.member_id, member.name, member.invited_by, depth + 1
    FROM tree JOIN community_members AS member ON member.invited_by = tree.member_id
    -- Everybody has one inviter, so a circle (a restore can leave one) leads back to the first.
    WHERE member.member_id <> $1
)
SELECT member_id, name, invited_by, depth FROM tree ORDER BY depth, length(member_id), member_id
"""

# UNION, not UNION ALL, ends in a circle. It has no depth, which would tell the rounds apart.
LINEAGE = """
WITH RECURSIVE lineage AS (
    SELECT member_id, name, invited_by FROM community_members WHERE member_id = $1
    UNION
    SELECT member.member_id, member.name, member.invited_by
    FROM lineage JOIN community_members AS member ON member.member_id = lineage.invited_by
)
SELECT member_id, name, invited_by FROM lineage
"""


async def create(
    *,
    created_by: str | int,
    telegram_username: str | None = None,
    valid_for: timedelta = DEFAULT_VALIDITY,
    required_role: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> Invitation:
    """Make an invitation, or extend the open one of the same person and answer with its code.

    Without `telegram_username` whoever holds the code may join. Raises `MemberNotActive` when the maker isn't an
    active member, `RoleRequired` when they lack the required role, `MemberNotFound`, `InvalidInput` for a time of not
    1 second to 365 days.
    """
    created_by = member_number(created_by, "created_by")
    username = username_from(telegram_username, "telegram_username")
    check_texts(CommunityMember, telegram_username=username)
    check_text("required_role", required_role, CommunityMember.primary_role.length)
    arguments = (created_by, new_code(), username, _checked(valid_for), required_role)
    records = await engine.fetch(CREATE, checked_actor(actor) or created_by, reason, *arguments)
    if records:
        return _invitation(records[0])
    inviter = await engine.fetch(
        "SELECT status, deleted_at FROM community_members WHERE member_id = $1", created_by
    )
    if not inviter or inviter[0]["deleted_at"] is not None:
        raise MemberNotFound(created_by)
    status = inviter[0]["status"]
    if status != MemberStatus.ACTIVE or required_role is None:
        raise MemberNotActive(created_by, status)
    raise RoleRequired(created_by, required_role)


async def get(code: str) -> Invitation:
    """The invitation with this code, however it was typed. Raises `InvitationNotFound`."""
    records = await engine.fetch(GET, normalize_code(code))
    if not records:
        raise InvitationNotFound(code)
    return _invitation(records[0])


async def find(code: str) -> Invitation | None:
    """The invitation with this code, however it was typed; None when there is none."""
    try:
        return await get(code)
    except InvitationNotFound:
        return None


async def redeem(
    code: str,
    *,
    telegram_id: str | int,
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
    `InvalidInput`, `ConfigurationError` when banned people were erased and DIRECTORY_SECRET_KEY is not set here;
    nothing has changed then.
    """
    spellings, telegram_id = normalize_code(code), id_text(telegram_id, "telegram_id")
    username = username_from(telegram_username, "telegram_username")
    github_username = username_from(github_username, "github_username")
    check_texts(
        CommunityMember,
        telegram_id=telegram_id,
        name=name,
        primary_role=primary_role,
        telegram_username=username,
        organization=organization,
        country=country,
        github_username=github_username,
    )
    person = (telegram_id, name, primary_role, username, organization, country)
    banned_as = ban_fingerprint(telegram_id)
    more = (github_username, as_json(profile_data, field="profile_data"), banned_as, new_id())
    actor = f"telegram:{telegram_id}"[:MAX_ACTOR_LENGTH]
    for _ in range(ATTEMPTS):
        records = await engine.fetch(REDEEM, actor, None, spellings, *person, *more)
        if records:
            return Redemption(_member(records[0]), _invitation(records[0]), repeated=False)
        repeated = _explain_refusal(
            code, await engine.fetch(WHY_NOT, spellings, telegram_id, username, banned_as)
        )
        if repeated is not None:
            return repeated
        # Somebody extended the invitation, or removed the person, between the two statements: now it may work.
    raise DatabaseUnavailable("The directory is busy: try again.")


def _explain_refusal(code: str, refused: list[Any]) -> Redemption | None:
    """Raise why the code was not redeemed, or answer with the redemption that this one repeats."""
    if not refused:
        raise InvitationNotFound(code)
    record = refused[0]
    invitation, person = _invitation(record), _member(record) if record["known"] else None
    if person is not None and person.status is MemberStatus.BANNED:
        raise MemberBanned
    if person is not None and _is_inside(person) and invitation.accepted_by == person.member_id:
        return Redemption(person, invitation, repeated=True)
    _raise_for_status(code, invitation)
    if not record["intended"]:
        raise InvitationForSomeoneElse(code)
    if not record["open"]:
        raise InvitationCancelled(code)
    if person is not None and (person.member_id == invitation.created_by or _is_inside(person)):
        raise AlreadyMember(person.member_id)
    if record["ban_check_impossible"]:
        raise secret_key_required()
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
    code: str,
    *,
    valid_for: timedelta = DEFAULT_VALIDITY,
    actor: str | None = None,
    reason: str | None = None,
) -> Invitation:
    """Keep an invitation open for longer: from its end, or from now when that is past.

    Raises `InvitationNotFound`, `InvitationUsed`, `InvitationCancelled`, `InvalidInput` for a time of not 1 second to
    365 days and for an expired one whose person has a newer one that is open.
    """
    return _changed(
        code,
        await engine.fetch(
            EXTEND, checked_actor(actor), reason, normalize_code(code), _checked(valid_for)
        ),
    )


async def cancel(code: str, *, actor: str | None = None, reason: str | None = None) -> Invitation:
    """Withdraw an invitation, for good. Raises `InvitationNotFound`, `InvitationUsed`, `InvitationCancelled`."""
    return _changed(
        code, await engine.fetch(CANCEL, checked_actor(actor), reason, normalize_code(code))
    )


async def expire_overdue(*, actor: str = "sweep") -> int:
    """Mark what is past its time as expired, and say how many; to every helper they were so already."""
    return len(await engine.fetch(EXPIRE_OVERDUE, required_actor(actor), None))


async def list_page(
    *,
    created_by: str | int | None = None,
    status: InvitationStatus | str | None = None,
    after: str | None = None,
    limit: int = 20,
) -> Page[Invitation]:
    """Invitations, newest first; of one maker, or of one status by the clock.

    Raises `InvalidCursor`, `InvalidInput`.
    """
    if status is not None and status not in list(InvitationStatus):
        raise InvalidInput(f"There is no status {sanitize_for_message(status)}.", field="status")
    if created_by is not None:
        created_by = member_number(created_by, "created_by")
        check_text("created_by", created_by, CommunityMember.member_id.length)
    place = (
        [None, None]
        if after is None
        else decode_cursor(after, "invitations", parse_timestamp, parse_uuid)
    )
    records = await engine.fetch(LIST, checked_limit(limit) + 1, created_by, status, *place)
    found = [_invitation(record) for record in records]
    return make_page(
        found,
        limit,
        "invitations",
        lambda last: (last.created_at.isoformat(), str(last.invitation_id)),
    )


async def lineage(member_id: str | int) -> list[TreeNode]:
    """Who invited the member, who invited that one, and so on to the first: the member comes first, with depth 0.

    Removed members are in it. Raises `MemberNotFound`.
    """
    number = member_number(member_id)
    found = {record["member_id"]: record for record in await engine.fetch(LINEAGE, number)}
    record = found.pop(number, None)
    if record is None:
        raise MemberNotFound(number)
    branches: list[TreeNode] = []
    while record is not None:
        branches.append(
            TreeNode(record["member_id"], record["name"], record["invited_by"], depth=len(branches))
        )
        record = found.pop(record["invited_by"], None)
    return branches


async def tree(member_id: str | int) -> list[TreeNode]:
    """Everybody whom the member invited, and whom those invited, and so on: the member first, then by depth.

    Removed members are in it. Raises `MemberNotFound`.
    """
    number = member_number(member_id)
    records = await engine.fetch(TREE, number)
    if not records:
        raise MemberNotFound(number)
    return [TreeNode(*record) for record in records]


def _changed(code: str, records: list[Any]) -> Invitation:
    if not records:
        raise InvitationNotFound(code)
    before, *values = records[0]
    if values[0] is None:
        raise (
            InvitationUsed(code)
            if before == InvitationStatus.ACCEPTED
            else InvitationCancelled(code)
        )
    return _invitation(values)


def _checked(valid_for: object) -> timedelta:
    if (
        not isinstance(valid_for, timedelta)
        or not timedelta(seconds=1) <= valid_for <= MAX_VALIDITY
    ):
        raise InvalidInput(
            f"An invitation is open for 1 second to {MAX_VALIDITY.days} days.", field="valid_for"
        )
    return valid_for


def normalize_code(code: str) -> list[str]:
    """The code as it is, and as this project spells its own: capital letters, no spaces, no dashes.

    Raises `InvitationNotFound` for what no code can be, `InvalidInput` for what is no text.
    """
    if not isinstance(code, str):
        raise InvalidInput("The code must be a text.", field="code")
    typed = SPACES_AND_DASHES.sub("", code)
    if not CODE.fullmatch(typed):
        raise InvitationNotFound(code)
    return [typed, typed.upper()]


def _invitation(values: Any) -> Invitation:
    values = list(values[: len(_INVITATION)])
    values[_STATUS] = InvitationStatus(values[_STATUS])
    return Invitation(*values)


def _member(record: Any) -> Member:
    return member_from(tuple(record)[len(_INVITATION) :])
