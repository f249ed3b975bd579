"""Verification of GitHub accounts, and the points that they earn.

Callers use it as `members.verify_github`.
"""

import json
from decimal import Decimal

import asyncpg

from community_directory.database import Statement, engine, transaction
from community_directory.errors import InvalidInput, MemberBanned, MemberExists
from community_directory.queries.bans import (
    BAN_CHECK_IMPOSSIBLE,
    make_fingerprint,
    secret_key_required,
)
from community_directory.queries.identifiers import (
    ACCOUNT_NUMBER_PATTERN,
    Account,
    normalize_github_username,
)
from community_directory.queries.member_cache import forget
from community_directory.queries.member_rows import (
    LOCK_GITHUB_USERNAME,
    LOCK_MEMBER,
    Member,
    member_columns,
    member_from,
    member_not_found,
)
from community_directory.queries.reputation import MAX_SCORE, add_points_sql, github_score
from community_directory.queries.values import (
    ACTOR_CTE,
    Profile,
    as_json,
    checked_actor,
    member_number,
)
from community_directory.tables import Platform

VERIFY_GITHUB = Statement(f"""
WITH {ACTOR_CTE}, before AS (
    -- the member, another member who has verified this GitHub account or to whom it is linked, and
    -- whether it belonged to a banned person who was erased
    SELECT id, (
        SELECT member_id FROM community_members
        WHERE github_verified AND lower(github_username) = lower(:github_username::text)
            AND member_id <> :member_id
        UNION ALL
        SELECT member_id FROM member_accounts
        WHERE platform = 'github'
            AND (account_id = ANY(:account_ids::text[]) OR lower(username) = :username_alone::text)
            AND proof <> 'stated' AND member_id <> :member_id
        LIMIT 1
    ) AS owner, EXISTS (
        SELECT FROM directory_erased_accounts
        JOIN community_members AS banned USING (member_id)
        WHERE fingerprint = ANY(:fingerprints::text[]) AND banned.status = 'banned'
    ) AS is_banned, {BAN_CHECK_IMPOSSIBLE} AS is_unknown
    FROM community_members WHERE member_id = :member_id AND deleted_at IS NULL
), verified AS (
    -- the member after the verification, if nobody else has the account
    UPDATE community_members AS member SET github_username = :github_username::text,
        github_verified = true, github_verified_at = now(),
        github_profile_data = :github_profile_data::jsonb,
        {add_points_sql(":points::numeric")}
    FROM before, actor
    WHERE member.id = before.id AND before.owner IS NULL AND NOT is_banned AND NOT is_unknown
    RETURNING member.*
)
SELECT before.owner, is_banned, is_unknown, {member_columns("verified")}
FROM before LEFT JOIN verified ON true
""")


async def verify_github(
    member_id: str | int,
    *,
    github_username: str,
    github_profile_data: Profile,
    actor: str | None = None,
    reason: str | None = None,
) -> Member:
    """Record that a GitHub account belongs to a member, and add its points to the score.

    The score changes by the difference between `reputation.github_score` of the new data and of the
    stored data, and the tier follows; all other points stay. Stored data that was never verified,
    which has no `github_verified_at`, gave no points and counts as none. A GitHub account belongs
    to one member.

    Args:
        member_id: The member's number, "#247" or 247.
        github_username: The username of the account, with or without @, or a link to it.
        github_profile_data: A JSON object with the counts of the account: `public_repos`,
            `followers`, `stars` and `contributions`, or an answer of GitHub's REST or GraphQL API.
            It is stored as it is. `reputation.explain` names the counts that were not found.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberExists: The account belongs to another member.
        MemberBanned: The account belonged to a banned person who was erased.
        MemberNotFound: No member has this number, or the member was removed.
        ConfigurationError: Banned members were erased, and DIRECTORY_SECRET_KEY is not set.
        InvalidInput: A value can't be stored, or the counts earn more points than a score can have.
    """
    number, actor = member_number(member_id), checked_actor(actor)
    username = normalize_github_username(github_username)
    data = as_json(github_profile_data, field="github_profile_data")
    stored = None if data is None else json.loads(data, parse_float=_parse_as_stored)
    earned = github_score(stored)
    account_number = _find_number(stored)
    account_ids = _account_ids(username, account_number)
    fingerprints = [
        make_fingerprint(Account(Platform.GITHUB, account_id).telegram_id)
        for account_id in account_ids
    ]
    if earned > MAX_SCORE:
        raise InvalidInput(
            "These counts earn more points than a score can have.",
            field="github_profile_data",
            limit=MAX_SCORE,
        )
    try:
        async with transaction():
            await engine.fetch(LOCK_GITHUB_USERNAME, github_username=username)
            # The lock comes first, so that the second of two verifications reads the data of the
            # first one, and adds only the difference.
            locked = await engine.fetch(LOCK_MEMBER, member_id=number)
            rewarded = locked[0]["rewarded"] if locked else None
            records = await engine.fetch(
                VERIFY_GITHUB,
                member_id=number,
                github_username=username,
                github_profile_data=data,
                account_ids=account_ids,
                # An account with a number is another one than who had its username before.
                username_alone=username and username.lower() if account_number is None else None,
                fingerprints=fingerprints,
                fingerprint=fingerprints[0] if fingerprints else None,
                points=earned - github_score(None if rewarded is None else json.loads(rewarded)),
                actor=actor,
                reason=reason,
            )
    except InvalidInput as error:
        if not isinstance(error.__cause__, asyncpg.UniqueViolationError):
            raise
        # Another member verified the account at the same time. Their number can't be looked up,
        # because the caller's transaction may have failed.
        raise MemberExists(str(error), github_username) from error
    if not records:
        raise await member_not_found(number)
    owner, is_banned, is_unknown, *member = records[0]
    if owner is not None:
        raise MemberExists(f"This GitHub account belongs to member {owner}.", owner)
    if is_banned:
        raise MemberBanned
    if is_unknown:
        raise secret_key_required()
    forget(number)
    return member_from(member)


def _find_number(data: Profile | None) -> str | None:
    """Return the number of the account, if GitHub's answer has it."""
    numbers = [str((data or {}).get(key)) for key in ("id", "databaseId")]
    return next(filter(ACCOUNT_NUMBER_PATTERN.fullmatch, numbers), None)


def _account_ids(username: str | None, account_number: str | None) -> list[str]:
    """Return the ids under which an account can be known: its number, and its username.

    A username of digits alone counts only without a number: it could be the number of another one.
    """
    known = [] if account_number is None else [account_number]
    if username is not None and not (known and username.isdigit()):
        known.append(username.lower())
    return known


def _parse_as_stored(number: str) -> float:
    """Return a number of JSON as PostgreSQL gives it back: 1e+16 becomes a whole number."""
    return int(Decimal(number)) if "e+" in number else float(number)
