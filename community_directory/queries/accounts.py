"""Accounts: link them to a member, by a manager or with a one-time code, and unlink them.

Triggers keep the accounts that a member's own columns name, such as `telegram_id`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import cast

import asyncpg

from community_directory.constraints import CONSTRAINT_MESSAGES
from community_directory.database import Statement, engine, transaction
from community_directory.errors import (
    AccountTaken,
    BotRefused,
    DatabaseUnavailable,
    InvalidInput,
    LinkCodeInvalid,
    MemberBanned,
    MemberMerged,
    MemberNotFound,
    MergeRefused,
    TooManyTries,
    UserError,
)
from community_directory.queries.bans import (
    BAN_CHECK_IMPOSSIBLE,
    make_fingerprint,
    secret_key_required,
)
from community_directory.queries.identifiers import (
    Account,
    normalize_account,
    normalize_invitation_code,
    normalize_username,
)
from community_directory.queries.ids import new_id
from community_directory.queries.member_cache import forget
from community_directory.queries.member_rows import LOCK_GITHUB_USERNAME, member_not_found
from community_directory.queries.merging import merge
from community_directory.queries.observation import observe_helpers
from community_directory.queries.values import (
    ACTOR_CTE,
    MAX_ACTOR_LENGTH,
    Profile,
    as_json,
    member_number,
    present_number_sql,
    required_actor,
)
from community_directory.tables import AccountProof, MemberStatus, Platform
from community_directory.tables.invitations import new_code

LINK_CODE_LENGTH = 12
"""The number of characters of a one-time code: 12 of 30, which is 58 bits."""
MAX_WRONG_TRIES = 5
"""The number of wrong codes after which an account has to wait."""
MAX_LINK_ATTEMPTS = 10
"""The maximum number of attempts while other calls change the account."""
TAKEN_CONSTRAINTS = ("member_account_idx", "member_telegram_id_idx")
PROVED_REASON = "The person proved with a one-time code that both accounts are theirs."

ACCOUNT_COLUMNS = "platform, account_id, username, member_id, proof, proved_at, linked_at, details"
THIS_ACCOUNT = "platform = :platform::text AND account_id = :account_id::text"
PRESENT_NUMBER = present_number_sql(":member_id")

LIST_ACCOUNTS = Statement(f"""
SELECT {ACCOUNT_COLUMNS} FROM member_accounts WHERE member_id = {PRESENT_NUMBER}
ORDER BY linked_at, platform, account_id
""")

# A member whose telegram_id is an account of another platform gets a Telegram account in that
# column, and a trigger adds the account: a redemption writes them in the same order, and so the two
# never deadlock.
LINK_ACCOUNT = Statement(f"""
WITH {ACTOR_CTE}, member AS MATERIALIZED (
    -- The member, locked: an erasure at the same time comes before or after.
    SELECT id, member_id, telegram_id, status, is_bot FROM community_members
    WHERE member_id = {PRESENT_NUMBER} AND deleted_at IS NULL
    FOR NO KEY UPDATE
), owner AS (
    -- Another member who has the account; one who only states it does not count. An account of
    -- GitHub may be known by its number or by its username, and a username of digits alone looks
    -- like another number.
    SELECT account.member_id FROM member_accounts AS account, member
    WHERE platform = :platform::text AND (
            account_id = :account_id::text OR platform = 'github' AND (
                lower(username) = :account_id AND :account_id !~ '^[0-9]+$'
                OR account_id = lower(:username::text) AND account_id !~ '^[0-9]+$'
            )
        ) AND proof <> 'stated' AND account.member_id <> member.member_id
    LIMIT 1
), refusal AS (
    SELECT EXISTS (SELECT FROM directory_bots WHERE telegram_id = :telegram_id) AND NOT is_bot
            OR is_bot AND :proof::text = 'code' AS is_bot,
        EXISTS (
            SELECT FROM directory_erased_accounts
            JOIN community_members AS banned USING (member_id)
            WHERE fingerprint = :fingerprint AND banned.status = 'banned'
        )
            OR status = 'banned' AND :proof = 'code' AS is_banned,
        {BAN_CHECK_IMPOSSIBLE} AS is_unknown
    FROM member
), allowed AS (
    SELECT member.*, :platform = 'telegram' AND telegram_id !~ '^[1-9]' AS needs_column
    FROM member, refusal
    WHERE NOT (refusal.is_bot OR is_banned OR is_unknown) AND NOT EXISTS (SELECT FROM owner)
), renamed AS (
    -- the columns of the member, if they have this account or will have it
    UPDATE community_members AS changed
    SET telegram_id = :account_id,
        telegram_username = coalesce(:username::text, changed.telegram_username)
    FROM allowed, actor
    WHERE changed.id = allowed.id
        AND (needs_column OR :platform = 'telegram' AND changed.telegram_id = :account_id)
        AND (changed.telegram_id, changed.telegram_username) IS DISTINCT FROM
            (:account_id, coalesce(:username, changed.telegram_username))
), linked AS (
    INSERT INTO member_accounts AS account
        (id, platform, account_id, username, member_id, proof, proved_at, details)
    SELECT :id::uuid, :platform, :account_id, :username, allowed.member_id, :proof, now(),
        :details::jsonb
    FROM allowed, actor WHERE NOT needs_column
    ON CONFLICT (platform, account_id) DO UPDATE SET
        member_id = EXCLUDED.member_id,
        username = coalesce(EXCLUDED.username, account.username),
        proof = CASE account.proof WHEN 'stated' THEN EXCLUDED.proof ELSE account.proof END,
        proved_at = coalesce(account.proved_at, EXCLUDED.proved_at),
        linked_at = CASE account.member_id WHEN EXCLUDED.member_id THEN account.linked_at
            ELSE now() END,
        details = coalesce(account.details, EXCLUDED.details)
    WHERE account.member_id = EXCLUDED.member_id OR account.proof = 'stated'
    RETURNING {ACCOUNT_COLUMNS}
)
SELECT linked.*, member.member_id AS number, owner.member_id AS owner, refusal.is_bot, is_banned,
    is_unknown, needs_column
FROM (SELECT) AS one_row LEFT JOIN member ON true LEFT JOIN refusal ON true
    LEFT JOIN owner ON true LEFT JOIN allowed ON true LEFT JOIN linked ON true
""")

PROVE_ACCOUNT = Statement(f"""
WITH {ACTOR_CTE}
UPDATE member_accounts SET proof = :proof, details = coalesce(details, :details::jsonb)
FROM actor WHERE {THIS_ACCOUNT}
RETURNING {ACCOUNT_COLUMNS}
""")

UNLINK_ACCOUNT = Statement(f"""
WITH {ACTOR_CTE}, known AS (
    SELECT id, EXISTS (
        SELECT FROM community_members AS member, member_accounts_named(member) AS named
        WHERE member.member_id = account.member_id AND named.platform = account.platform
            AND named.account_id = account.account_id
    ) AS is_in_column
    FROM member_accounts AS account WHERE {THIS_ACCOUNT} FOR UPDATE
), unlinked AS (
    DELETE FROM member_accounts USING known, actor
    WHERE member_accounts.id = known.id AND NOT is_in_column
)
SELECT is_in_column FROM known
""")

# An account that is only stated proves nothing: with it, somebody could enter another's membership.
BEGIN_LINK = Statement(f"""
WITH beginner AS (
    SELECT member_id, status, is_bot FROM community_members
    WHERE deleted_at IS NULL AND member_id = coalesce(
        {PRESENT_NUMBER},
        (SELECT member_id FROM member_accounts WHERE {THIS_ACCOUNT} AND proof <> 'stated')
    )
), expired AS (
    -- Codes and tries that are over, except for the row that the new code replaces.
    DELETE FROM directory_link_codes WHERE member_id IN (
        SELECT member_id FROM directory_link_codes
        WHERE expires_at <= now() AND member_id NOT IN (SELECT member_id FROM beginner)
        FOR UPDATE SKIP LOCKED
    )
), over AS (
    DELETE FROM directory_link_tries WHERE (platform, account_id) IN (
        SELECT platform, account_id FROM directory_link_tries WHERE ends_at <= now()
        FOR UPDATE SKIP LOCKED
    )
), begun AS (
    INSERT INTO directory_link_codes (member_id, code_hash, expires_at)
    SELECT member_id, :code_hash, now() + interval '10 minutes' FROM beginner
    WHERE status <> 'banned' AND NOT is_bot
    ON CONFLICT (member_id) DO UPDATE
    SET code_hash = EXCLUDED.code_hash, expires_at = EXCLUDED.expires_at, used_at = NULL
    RETURNING expires_at
)
SELECT status, is_bot, expires_at FROM beginner LEFT JOIN begun ON true
""")

# Tries of one account run one after the other, so that many at once are no more than five. The
# number is an arbitrary seed.
LOCK_TRIES = Statement(
    "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(':', :platform::text,"
    " :account_id::text), 7166763))"
)
# The member who began with this code, and the member who has the account.
FIND_CODE = Statement(f"""
SELECT beginner.member_id, beginner.status, beginner.is_bot, code.used_at IS NOT NULL AS is_used,
    owner.member_id AS owner, owner.status AS owner_status, owner.is_bot AS owner_is_bot,
    owner.deleted_at IS NOT NULL AS owner_is_removed, tries.ends_at AS retry_at
FROM (SELECT) AS one_row
LEFT JOIN directory_link_codes AS code ON code_hash = :code_hash AND expires_at > now()
LEFT JOIN community_members AS begun ON begun.member_id = code.member_id
LEFT JOIN community_members AS beginner
    ON beginner.member_id = coalesce(begun.merged_into, begun.member_id)
    AND beginner.deleted_at IS NULL
LEFT JOIN member_accounts AS account ON {THIS_ACCOUNT} AND proof <> 'stated'
LEFT JOIN community_members AS owner ON owner.member_id = account.member_id
LEFT JOIN directory_link_tries AS tries
    ON (tries.platform, tries.account_id) = (:platform, :account_id)
    AND wrong >= :max_wrong_tries AND ends_at > now()
""")
GET_STATUS = Statement("SELECT status FROM community_members WHERE member_id = :member_id")
COUNT_WRONG_TRY = Statement("""
INSERT INTO directory_link_tries AS tries (platform, account_id, wrong, ends_at)
VALUES (:platform, :account_id, 1, now() + interval '10 minutes')
ON CONFLICT (platform, account_id) DO UPDATE
SET wrong = CASE WHEN tries.ends_at > now() THEN tries.wrong ELSE 0 END + 1,
    ends_at = CASE WHEN tries.ends_at > now() THEN tries.ends_at ELSE EXCLUDED.ends_at END
""")
USE_CODE = Statement("""
UPDATE directory_link_codes SET used_at = now()
WHERE code_hash = :code_hash AND used_at IS NULL AND expires_at > now() RETURNING member_id
""")
REMEMBER_PAIR = Statement("""
INSERT INTO directory_proved_pairs (member_a, member_b)
VALUES (least(:one COLLATE "C", :other), greatest(:one COLLATE "C", :other))
ON CONFLICT (member_a, member_b) DO UPDATE SET proved_at = EXCLUDED.proved_at
""")


@dataclass(frozen=True, slots=True)
class LinkedAccount:
    """An account of a member; times are aware, in UTC.

    `proved_at` is None if nobody has proved the account: the member's profile only states it.
    """

    platform: str
    account_id: str
    username: str | None
    member_id: str
    proof: AccountProof
    proved_at: datetime | None
    linked_at: datetime
    details: Profile | None


@dataclass(frozen=True, slots=True)
class LinkCode:
    """A one-time code, which is stored nowhere, and the time until which it can be used."""

    code: str = field(repr=False)
    expires_at: datetime


async def of(member_id: str | int) -> list[LinkedAccount]:
    """Return the accounts of a member, the oldest link first.

    The list is empty if no member has this number. A merged number leads to the other member.

    Args:
        member_id: The member's number: "#247", or 247.

    Raises:
        InvalidInput: The number is neither a text nor an integer.
    """
    records = await engine.fetch(LIST_ACCOUNTS, member_id=member_number(member_id))
    return [_account_from(record) for record in records]


async def link(
    member_id: str | int,
    platform: str,
    account_id: str | int,
    *,
    username: str | None = None,
    details: Profile | None = None,
    actor: str,
    reason: str | None = None,
) -> LinkedAccount:
    """Link an account to a member, because a manager or an operator knows whose it is.

    A repeated call changes nothing but the username. An account that another member only states in
    their profile passes to this member. If the member has no Telegram account, a Telegram account
    becomes their `telegram_id`, and the account of before stays linked.

    Args:
        member_id: The member's number: "#247", or 247.
        platform: A lower-case name, such as "telegram", "discord", "github" or "elizaos".
        account_id: The platform's own id of the account.
        username: The present username, with or without @.
        details: A JSON object. That of an ElizaOS entity has its `agent_id`, and the `seed` that
            its id was made from.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        AccountTaken: The account belongs to another member, whose number the error has.
        MemberNotFound: No member has this number, or the member was removed.
        MemberBanned: The account belonged to a banned person who was erased.
        BotRefused: The account is known as a bot, and the member is not marked as one.
        InvalidInput: A value can't be stored, or the actor is blank.
        ConfigurationError: Banned members were erased, and DIRECTORY_SECRET_KEY is not set.
    """
    return await _link(
        member_number(member_id),
        normalize_account(platform, account_id),
        username=normalize_username(platform, username),
        details=as_json(details, field="details"),
        proof=AccountProof.MANAGER,
        actor=required_actor(actor),
        reason=reason,
    )


async def unlink(
    platform: str, account_id: str | int, *, actor: str, reason: str | None = None
) -> bool:
    """Unlink an account from its member; return whether it was linked.

    The events of the account stay with the member.

    Args:
        platform: A lower-case name, such as "discord".
        account_id: The platform's own id of the account.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        InvalidInput: The member's own fields name the account, such as `telegram_id`, a verified
            GitHub account, or `discord_id` in the profile. Its `code` is
            "member_account_in_column". Or a value is malformed, or the actor is blank.
    """
    account = normalize_account(platform, account_id)
    records = await engine.fetch(
        UNLINK_ACCOUNT, **account._asdict(), actor=required_actor(actor), reason=reason
    )
    if records and records[0]["is_in_column"]:
        name = "member_account_in_column"
        refusal = CONSTRAINT_MESSAGES[name]
        raise InvalidInput(refusal.message, field=refusal.field, code=name)
    forget(account.telegram_id)
    return bool(records)


async def begin_link(
    member_id: str | int | None = None, *, account: tuple[str, str | int] | None = None
) -> LinkCode:
    """Return a one-time code with which a person links another account to this member.

    Show the code to this person alone. They type it in a chat of the other account, whose bot calls
    `complete_link`. The code can be used once within ten minutes. A new code replaces the one
    before. Only a hash of it is stored.

    Args:
        member_id: The member's number: "#247", or 247.
        account: In place of the number, the platform and id of an account of the member.

    Raises:
        MemberNotFound: No member has this number or account, or the member was removed. An account
            that a profile only states is nobody's here.
        MemberBanned: The member is banned.
        BotRefused: The member is marked as a bot.
        InvalidInput: Both or none of the two are given, or one is malformed.
    """
    if (member_id is None) is (account is None):
        raise InvalidInput("Give either the number of a member or an account.", field="member_id")
    number = None if member_id is None else member_number(member_id)
    known = None if account is None else _checked_account(account)
    code = new_code(LINK_CODE_LENGTH)
    records = await engine.fetch(
        BEGIN_LINK,
        member_id=number,
        platform=known and known.platform,
        account_id=known and known.account_id,
        code_hash=_hash_code(code),
    )
    if not records:
        raise MemberNotFound(number or (known.telegram_id if known else ""))
    status, is_bot, expires_at = records[0]
    if refusal := _find_refusal(status, is_bot):
        raise refusal
    return LinkCode(code, expires_at)


async def complete_link(
    code: str, *, platform: str, account_id: str | int, username: str | None = None
) -> LinkedAccount:
    """Link the account that typed a code of `begin_link` to the member who began with it.

    The platform must have named the account: pass the id of the author of the message. If several
    accounts type one code, one of them is linked. The same account again gets the same answer. If
    the account, or the member who began, is a mere contact, who has not joined, the contact is
    merged into the other one. If both are members, nothing changes, and the pair is suggested for
    merging.

    After five wrong codes within ten minutes an account is refused until those are over, whatever
    it types. Each wrong code counts when the call is outside of a transaction that is rolled back.

    Args:
        code: The code as the person typed it: in any case, with spaces or dashes.
        platform: The platform of the account, such as "discord".
        account_id: The platform's own id of the account.
        username: The present username of the account, with or without @.

    Raises:
        LinkCodeInvalid: The code is wrong or has expired, or another account has used it.
        TooManyTries: The account has typed five wrong codes; the error says when it can try again.
        AccountTaken: The account belongs to another member, whose number the error has.
        MemberBanned: One of the two is banned, or the account belonged to a banned person who was
            erased.
        BotRefused: One of the two is a bot.
        InvalidInput: A value is malformed.
        ConfigurationError: Banned members were erased, and DIRECTORY_SECRET_KEY is not set.
        DatabaseUnavailable: Other calls change these members again and again.
    """
    account = normalize_account(platform, account_id)
    username = normalize_username(platform, username)
    typed = normalize_invitation_code(code)
    # No code has an empty hash.
    code_hash = b"" if typed is None else _hash_code(typed.upper())
    async with transaction():
        for _ in range(MAX_LINK_ATTEMPTS):
            if linked := await _complete(code_hash, account, username):
                break
        else:
            raise DatabaseUnavailable("The directory is busy. Try again in a moment.")
    # The error is raised after the commit, which keeps the wrong try or the proved pair.
    if isinstance(linked, UserError):
        raise linked
    return linked


async def _complete(
    code_hash: bytes, account: Account, username: str | None
) -> LinkedAccount | UserError | None:
    """Link the account, and return it or what refuses it; None if a member was just changed."""
    await engine.fetch(LOCK_TRIES, **account._asdict())
    await _lock_github_username(account, username)  # before a merge locks the rows of members
    [found] = await engine.fetch(
        FIND_CODE, **account._asdict(), code_hash=code_hash, max_wrong_tries=MAX_WRONG_TRIES
    )
    number, owner = found["member_id"], found["owner"]
    if found["retry_at"] is not None:
        return TooManyTries(found["retry_at"])
    if number is None or (found["is_used"] and owner != number):
        await engine.fetch(COUNT_WRONG_TRY, **account._asdict())
        return LinkCodeInvalid()
    refusal = _find_refusal(found["status"], found["is_bot"])
    if owner is not None:
        refusal = refusal or _find_refusal(found["owner_status"], found["owner_is_bot"])
    if refusal:
        return refusal
    is_linked = owner == number
    if owner is not None and not is_linked:
        pair = _choose_survivor(found)
        if pair is None:
            await engine.fetch(REMEMBER_PAIR, one=number, other=owner)
            return AccountTaken(owner)
        duplicate, number = pair
        if not await _merge_contact(duplicate, number, _actor_of(account)):
            return None
    linked = await _link(
        number,
        account,
        username=username,
        details=None,
        proof=AccountProof.CODE,
        actor=_actor_of(account),
        reason=PROVED_REASON,
    )
    if not is_linked and not await engine.fetch(USE_CODE, code_hash=code_hash):
        # Another account was faster; the transaction is rolled back.
        raise LinkCodeInvalid
    return linked


async def _lock_github_username(account: Account, username: str | None) -> None:
    """Wait for other calls with this username, if the account is one of GitHub."""
    if account.platform == Platform.GITHUB:
        # The id can be the username, or the number of the account.
        name = username or account.account_id
        await engine.fetch(LOCK_GITHUB_USERNAME, github_username=name)


async def _merge_contact(contact: str, into: str, actor: str) -> bool:
    """Merge a contact, and return True, or return False if one of both changed at the same time."""
    try:
        async with transaction() as merging:
            await merge(contact, into=into, actor=actor, reason=PROVED_REASON)
            # The merge has locked the row, and leaves its status.
            [(status,)] = await engine.fetch(GET_STATUS, member_id=contact)
            is_contact: bool = status == MemberStatus.NOT_MEMBER
            if not is_contact:
                await merging.rollback()
    except MergeRefused:
        return False  # one of both was merged, removed or erased
    return is_contact


def _choose_survivor(found: asyncpg.Record) -> tuple[str, str] | None:
    """Return the contact and the member into whom it is merged; None if both have joined."""
    if found["owner_is_removed"]:
        return None
    if found["owner_status"] == MemberStatus.NOT_MEMBER:
        return found["owner"], found["member_id"]
    if found["status"] == MemberStatus.NOT_MEMBER:
        return found["member_id"], found["owner"]
    return None


async def _link(
    number: str,
    account: Account,
    *,
    username: str | None,
    details: str | None,
    proof: AccountProof,
    actor: str,
    reason: str | None,
) -> LinkedAccount:
    values = {**account._asdict(), "details": details, "proof": proof}
    values |= {"actor": actor, "reason": reason}
    refusal: UserError | None = None
    for _ in range(MAX_LINK_ATTEMPTS):
        try:
            async with transaction():
                await _lock_github_username(account, username)
                [record] = await engine.fetch(
                    LINK_ACCOUNT,
                    **values,
                    id=new_id(),
                    member_id=number,
                    username=username,
                    telegram_id=account.telegram_id,
                    fingerprint=make_fingerprint(account.telegram_id),
                )
                if record["needs_column"]:
                    [record] = await engine.fetch(PROVE_ACCOUNT, **values)
        except InvalidInput as error:
            if error.code not in TAKEN_CONSTRAINTS:
                raise
            # Somebody else took the account at the same time: the next attempt says who.
            refusal = error
            continue
        if record["platform"] is not None:
            linked = _account_from(record)
            forget(account.telegram_id, linked.member_id)
            return linked
        if record["number"] is None:
            refusal = await member_not_found(number)
            if not isinstance(refusal, MemberMerged):
                raise refusal
            # The member was merged at the same time: the next attempt follows the number, unless it
            # leads to a removed member.
        _raise_refusal(record)
    raise refusal or DatabaseUnavailable("The directory is busy. Try again in a moment.")


def _raise_refusal(record: asyncpg.Record) -> None:
    """Raise the reason why an account was not linked, if there is one."""
    if record["owner"] is not None:
        raise AccountTaken(record["owner"])
    if record["is_banned"]:
        raise MemberBanned
    if record["is_bot"]:
        raise BotRefused
    if record["is_unknown"]:
        raise secret_key_required()


def _find_refusal(status: str, is_bot: bool) -> UserError | None:
    """Return the error for a member who can't link accounts."""
    if status == MemberStatus.BANNED:
        return MemberBanned()
    return BotRefused() if is_bot else None


def _checked_account(account: Sequence[str | int]) -> Account:
    if not isinstance(account, tuple | list) or len(account) != 2:
        raise InvalidInput("An account is its platform and its id.", field="account")
    platform, account_id = account
    return normalize_account(cast("str", platform), account_id)


def _hash_code(code: str) -> bytes:
    """Return what is stored of a code, and compared: how long that takes tells nothing of it."""
    return sha256(code.encode()).digest()


def _actor_of(account: Account) -> str:
    return ":".join(account)[:MAX_ACTOR_LENGTH]


def _account_from(record: asyncpg.Record) -> LinkedAccount:
    values = {name: record[name] for name in LinkedAccount.__dataclass_fields__}
    values["proof"] = AccountProof(values["proof"])
    if values["details"] is not None:
        values["details"] = json.loads(values["details"])
    return LinkedAccount(**values)


observe_helpers(globals())
