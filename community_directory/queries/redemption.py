"""Redemption of invitations: one statement, which succeeds for exactly one of many callers.

Callers use it as `invitations.redeem`, and `invitations.check` to know before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.database import Statement, engine
from community_directory.errors import (
    AlreadyMember,
    BotRefused,
    DatabaseUnavailable,
    InvalidInput,
    InvitationCancelled,
    InvitationExpired,
    InvitationForSomeoneElse,
    InvitationNotFound,
    InvitationUsed,
    MemberBanned,
)
from community_directory.queries.bans import (
    ACCOUNT_OWNER,
    BAN_CHECK_IMPOSSIBLE,
    FORGET_ERASED_ACCOUNTS,
    IS_BANNED,
    account_values,
    secret_key_required,
)
from community_directory.queries.identifiers import (
    normalize_telegram_id,
    normalize_telegram_username,
)
from community_directory.queries.invitation_rows import (
    INVITATION_COLUMN_COUNT,
    INVITATION_COLUMNS,
    INVITER_CAN_INVITE,
    MATCHING_CODE,
    Invitation,
    invitation_columns,
    invitation_from,
    normalize_code,
)
from community_directory.queries.member_cache import forget
from community_directory.queries.member_rows import (
    MEMBER_COLUMN_COUNT,
    Member,
    account_may_be_linked,
    member_columns,
    member_from,
    new_member_values,
)
from community_directory.queries.public_members import PublicMember, public
from community_directory.queries.values import (
    ACTOR_CTE,
    MAX_ACTOR_LENGTH,
    Profile,
    check_texts,
)
from community_directory.tables import CommunityMember, InvitationStatus, MemberStatus

MAX_REDEMPTION_ATTEMPTS = 10
"""The maximum number of attempts while other calls change the invitation or the person."""


@dataclass(frozen=True, slots=True)
class Redemption:
    """A member who joined with an invitation; `repeated` if they had redeemed it before."""

    member: Member
    invitation: Invitation
    repeated: bool


@dataclass(frozen=True, slots=True)
class InvitationCheck:
    """An invitation that a person can redeem, or has redeemed.

    Attributes:
        invitation: The invitation.
        inviter: What anybody may know of the member who created it.
        member: The member who the person became with it; None if they can redeem it now.
        repeated: Whether the person has redeemed it before.
    """

    invitation: Invitation
    inviter: PublicMember
    member: Member | None
    repeated: bool


IS_INVITED = """(
    invitation.invited_telegram_username IS NULL
    OR lower(invitation.invited_telegram_username) = lower(:telegram_username::text)
)"""
"""A condition in SQL: the invitation is for anybody, or for this Telegram username."""

IS_KNOWN_BOT = f"""(
    EXISTS (SELECT FROM community_members WHERE member_id = {ACCOUNT_OWNER} AND is_bot)
    OR EXISTS (SELECT FROM directory_bots WHERE telegram_id = :telegram_id::text)
)"""
"""A condition in SQL: this account is a bot, known as a member or from an import."""

# PostgreSQL checks it again after it has waited for the lock of the row: the member may have been
# erased, or merged into another one, in the meantime.
HAS_ACCOUNTS = "member.telegram_id !~ '^(erased|banned|merged):'"

# The statement locks the row of the invitation first: all other callers wait for the lock, then
# find the invitation accepted and change nothing.
REDEEM_INVITATION = Statement(f"""
WITH {ACTOR_CTE}, claimed AS MATERIALIZED (
    -- The invitation, locked, if it can be redeemed: it is open, its inviter is active and no bot,
    -- it is meant for this person, and the person is no bot and is not banned under any account.
    SELECT invitation.invitation_id, invitation.created_by
    FROM community_invitations AS invitation
    JOIN community_members AS inviter ON inviter.member_id = invitation.created_by
    WHERE invitation.invitation_id = (
        SELECT invitation_id FROM community_invitations WHERE {MATCHING_CODE}
    ) AND invitation.status = 'pending' AND invitation.expires_at > now()
        AND {INVITER_CAN_INVITE} AND {IS_INVITED}
        AND NOT {IS_KNOWN_BOT} AND NOT {IS_BANNED} AND NOT {BAN_CHECK_IMPOSSIBLE}
    FOR UPDATE OF invitation
), known AS MATERIALIZED (
    -- the number of the member or contact whose account this is
    SELECT {ACCOUNT_OWNER} AS member_id
), newcomer AS (
    -- a person whom the directory does not know becomes a pending member
    INSERT INTO community_members AS member (id, telegram_id, name, primary_role, status,
        telegram_username, organization, country, github_username, profile_data, invited_by)
    SELECT :id::uuid, :telegram_id::text, :name, :primary_role, 'pending',
        :telegram_username::text, :organization, :country, :github_username, :profile_data::jsonb,
        claimed.created_by
    FROM claimed, actor, known
    -- ON CONFLICT alone would use up a member's number for each conflict.
    WHERE known.member_id IS NULL
    ON CONFLICT (telegram_id) DO NOTHING
    RETURNING member.*
), contact AS (
    -- a contact becomes a pending member, with the new values
    UPDATE community_members AS member SET
        status = 'pending',
        invited_by = claimed.created_by,
        name = :name,
        primary_role = :primary_role,
        -- of their second account, it is not the username of telegram_id
        telegram_username = CASE member.telegram_id WHEN :telegram_id::text
            THEN coalesce(:telegram_username::text, member.telegram_username)
            ELSE member.telegram_username END,
        organization = coalesce(:organization, member.organization),
        country = coalesce(:country, member.country),
        github_username = CASE WHEN member.github_verified THEN member.github_username
            ELSE coalesce(:github_username, member.github_username) END,
        profile_data = coalesce(:profile_data::jsonb, member.profile_data),
        deleted_at = NULL
    FROM claimed, actor, known
    WHERE member.member_id = known.member_id AND member.status = 'not_member'
        AND NOT member.is_bot AND {HAS_ACCOUNTS}
    RETURNING member.*
), returned AS (
    -- a removed member is restored unchanged, so that nobody gets another role by rejoining
    UPDATE community_members AS member SET deleted_at = NULL
    FROM claimed, actor, known
    WHERE member.member_id = known.member_id AND member.deleted_at IS NOT NULL
        AND member.status NOT IN ('not_member', 'banned') AND NOT member.is_bot AND {HAS_ACCOUNTS}
    RETURNING member.*
), joined AS (
    -- the row of the three above, or no row if the person is a member or banned
    SELECT * FROM newcomer UNION ALL SELECT * FROM contact UNION ALL SELECT * FROM returned
), accepted AS (
    -- the invitation, accepted by the member who joined
    UPDATE community_invitations AS invitation
    SET status = 'accepted', accepted_by = joined.member_id, accepted_at = now()
    FROM claimed, joined
    WHERE invitation.invitation_id = claimed.invitation_id
    RETURNING invitation.*
), forgotten AS (
    -- somebody who was erased has come back
    {FORGET_ERASED_ACCOUNTS} AND EXISTS (SELECT FROM newcomer)
)
SELECT {invitation_columns("accepted")}, {member_columns("joined")} FROM accepted, joined
""")

ACYCLIC_CONSTRAINT = "member_invited_by_acyclic"
# A trigger refuses a contact whom the inviter has above them in the tree of invitations.
CLOSES_CIRCLE = """CASE
    WHEN person.status = 'not_member' AND person.invited_by IS DISTINCT FROM invitation.created_by
    THEN EXISTS (
        WITH RECURSIVE lineage AS (
            SELECT invitation.created_by AS member_id
            UNION
            SELECT member.invited_by
            FROM lineage JOIN community_members AS member USING (member_id)
        )
        SELECT FROM lineage WHERE lineage.member_id = person.member_id
    ) ELSE false END"""

# The invitation of a code, the person if they are known, and its inviter.
EXPLAIN_REFUSAL = Statement(f"""
SELECT {INVITATION_COLUMNS}, {member_columns("person")},
    person.is_known, {IS_BANNED} AS is_banned, {IS_INVITED} AS is_invited,
    {IS_KNOWN_BOT} AS is_known_bot,
    {INVITER_CAN_INVITE} AS inviter_is_active,
    {BAN_CHECK_IMPOSSIBLE} AS ban_check_impossible, {CLOSES_CIRCLE} AS closes_circle,
    {member_columns("inviter")}
FROM community_invitations AS invitation
JOIN community_members AS inviter ON inviter.member_id = invitation.created_by
LEFT JOIN (
    SELECT true AS is_known, * FROM community_members WHERE member_id = {ACCOUNT_OWNER}
) AS person ON true
WHERE {MATCHING_CODE}
""")


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
    """Redeem a code: the person becomes a pending member.

    Exactly one of many people with the same code succeeds. The same person can repeat the call (a
    double tap, an update that Telegram delivers again) and gets the same member with `repeated`. A
    contact becomes pending with the new values. A removed member comes back with the status and the
    data that they had. If an error is raised, nothing has changed.

    Args:
        code: The code as the person typed or pasted it: in any case, with spaces, dashes or quotes,
            or as the link to the bot.
        telegram_id: The id of the person's Telegram account, a number as a text or an integer. An
            account of another platform has the platform in front, such as "discord:123".
        name: The name that others see.
        primary_role: The role, such as "developer".
        telegram_username: The Telegram username, with or without @, or a link to it. An invitation
            for one username can be redeemed with that username only.
        organization: The organization that the person works for.
        country: The country, as the directory shows it.
        github_username: The GitHub username; `members.verify_github` verifies it.
        profile_data: A JSON object with further data.

    Raises:
        InvitationNotFound: No invitation has this code.
        InvitationExpired: The invitation has expired, at the error's `expired_at`.
        InvitationCancelled: The invitation was cancelled, or its inviter is no longer active or
            is a bot.
        InvitationUsed: Another person has redeemed the code.
        InvitationForSomeoneElse: The invitation is for another Telegram username.
        AlreadyMember: The person is a member already, perhaps with another account.
        MemberBanned: One of the person's accounts is banned.
        MemberExists: The account is being linked to a member, and a transaction of the caller has
            failed therefore.
        BotRefused: The account is known as a bot.
        InvalidInput: A value can't be stored.
        ConfigurationError: Banned members were erased, and DIRECTORY_SECRET_KEY is not set.
        DatabaseUnavailable: Other calls changed the invitation or the person during each of ten
            attempts.
    """
    code_values = normalize_code(code)
    person = new_member_values(
        telegram_id=telegram_id,
        name=name,
        primary_role=primary_role,
        telegram_username=telegram_username,
        organization=organization,
        country=country,
        github_username=github_username,
        profile_data=profile_data,
    )
    actor = f"telegram:{person['telegram_id']}"[:MAX_ACTOR_LENGTH]
    values = {**person, **code_values}
    identity = {name: values[name] for name in EXPLAIN_REFUSAL.parameters}
    for _ in range(MAX_REDEMPTION_ATTEMPTS):
        with account_may_be_linked(str(person["telegram_id"])):
            records = await engine.fetch(REDEEM_INVITATION, actor=actor, reason=None, **values)
            if records:
                member = _person_from(records[0])
                forget(str(person["telegram_id"]), member.member_id)
                return Redemption(member, invitation_from(records[0]), repeated=False)
        refusal = await engine.fetch(EXPLAIN_REFUSAL, **identity)
        repeated = _explain_refusal(code, refusal)
        if repeated is not None:
            return repeated
        # Another call changed the invitation or the person between the two statements: try again.
    raise DatabaseUnavailable("The directory is busy. Try again in a moment.")


async def check(
    code: str, *, telegram_id: str | int, telegram_username: str | None = None
) -> InvitationCheck:
    """Tell whether a person can redeem a code, before a long conversation; nothing is changed.

    The call raises what `redeem` would raise now with the same code and person, in the same order.
    `redeem` still has to be asked at the end: somebody else may be faster. It also knows the
    Discord account that a profile states, and whether the profile can be stored.

    Args:
        code: The code as the person typed or pasted it, also as the link to the bot.
        telegram_id: The id of the person's Telegram account, a number as a text or an integer. An
            account of another platform has the platform in front, such as "discord:123".
        telegram_username: The Telegram username, with or without @, or a link to it.

    Raises:
        InvitationNotFound: No invitation has this code.
        InvitationExpired: The invitation has expired, at the error's `expired_at`.
        InvitationCancelled: The invitation was cancelled, or its inviter is no longer active or
            is a bot.
        InvitationUsed: Another person has redeemed the code.
        InvitationForSomeoneElse: The invitation is for another Telegram username.
        AlreadyMember: The person is a member already, perhaps with another account.
        MemberBanned: One of the person's accounts is banned.
        BotRefused: The account is known as a bot.
        InvalidInput: The id or the username is malformed, or the person is a contact through whom
            the inviter came here.
        ConfigurationError: Banned members were erased, and DIRECTORY_SECRET_KEY is not set.
    """
    code_values = normalize_code(code)
    texts = {
        "telegram_id": normalize_telegram_id(telegram_id),
        "telegram_username": normalize_telegram_username(telegram_username),
    }
    check_texts(CommunityMember, **texts)
    account = account_values(str(texts["telegram_id"]))
    records = await engine.fetch(EXPLAIN_REFUSAL, **texts, **account, **code_values)
    repeated = _explain_refusal(code, records)
    inviter = member_from(tuple(records[0])[-MEMBER_COLUMN_COUNT:])
    return InvitationCheck(
        invitation_from(records[0]),
        public(inviter),
        None if repeated is None else repeated.member,
        repeated is not None,
    )


def _explain_refusal(code: str, records: Sequence[asyncpg.Record]) -> Redemption | None:
    """Raise the reason why a code can't be redeemed, or return the redemption that was repeated.

    Return None if there is no reason, so that the caller can try the code again.
    """
    if not records:
        raise InvitationNotFound(code)
    record = records[0]
    invitation = invitation_from(record)
    person = _person_from(record) if record["is_known"] else None
    if record["is_banned"]:
        raise MemberBanned
    if record["is_known_bot"]:
        raise BotRefused
    if person is not None and _has_joined(person) and invitation.accepted_by == person.member_id:
        return Redemption(person, invitation, repeated=True)
    _raise_for_status(code, invitation)
    if not record["is_invited"]:
        raise InvitationForSomeoneElse(code)
    if not record["inviter_is_active"]:
        raise InvitationCancelled(code)
    if person is not None and (person.member_id == invitation.created_by or _has_joined(person)):
        raise AlreadyMember(person.member_id)
    if record["ban_check_impossible"]:
        raise secret_key_required()
    if record["closes_circle"]:
        refusal = CONSTRAINT_MESSAGES[ACYCLIC_CONSTRAINT]
        raise InvalidInput(refusal.message, field=refusal.field, code=ACYCLIC_CONSTRAINT)
    return None


def _raise_for_status(code: str, invitation: Invitation) -> None:
    if invitation.status is InvitationStatus.ACCEPTED:
        raise InvitationUsed(code)
    if invitation.status is InvitationStatus.CANCELLED:
        raise InvitationCancelled(code)
    if invitation.status is InvitationStatus.EXPIRED:
        raise InvitationExpired(code, invitation.expires_at)


def _has_joined(person: Member) -> bool:
    """Return whether the person is more than a contact, and was not removed."""
    return person.deleted_at is None and person.status is not MemberStatus.NOT_MEMBER


def _person_from(record: asyncpg.Record) -> Member:
    """Return the member of a record, whose columns follow those of an invitation."""
    return member_from(tuple(record)[INVITATION_COLUMN_COUNT:])
