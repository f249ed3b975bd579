"""Members: add, find and change them, and remove and restore them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, Final

import asyncpg

from community_directory.database import Statement, engine
from community_directory.errors import (
    InvalidInput,
    MemberBanned,
    MemberExists,
    MemberMerged,
    MemberNotFound,
    ProfileChanged,
    StatusChangeRefused,
    UserError,
    sanitize_for_message,
    text_too_long,
)
from community_directory.queries.bans import (
    ACCOUNT_OWNER,
    BAN_CHECK_IMPOSSIBLE,
    FORGET_ERASED_ACCOUNTS,
    IS_BANNED,
    account_values,
    find_erased,
    secret_key_required,
)
from community_directory.queries.bots import forget_bot, known_bots, mark_bot, remember_bots
from community_directory.queries.conditions import MemberConditions
from community_directory.queries.github import verify_github
from community_directory.queries.identifiers import (
    normalize_telegram_id,
)
from community_directory.queries.leaderboard import Rank, leaderboard, rank
from community_directory.queries.lookup import (
    find,
    find_by_account,
    find_by_telegram_id,
    find_by_username,
    get,
    get_by_telegram_id,
    resolve,
)
from community_directory.queries.member_cache import forget
from community_directory.queries.member_rows import (
    MEMBER_COLUMNS,
    Member,
    account_may_be_linked,
    member_columns,
    member_from,
    member_not_found,
    new_member_values,
    profile_values,
)
from community_directory.queries.merge_plan import (
    ConflictKind,
    MergeConflict,
    MergeCounts,
    MergePreview,
)
from community_directory.queries.merge_suggestions import dismiss_suggestion, merge_suggestions
from community_directory.queries.merging import Merge, Unmerge, merge, merge_preview, unmerge
from community_directory.queries.observation import observe_helpers
from community_directory.queries.privacy import erase, export
from community_directory.queries.public_members import PublicMember, public
from community_directory.queries.search import Sort, count, search, stream
from community_directory.queries.seen import seen
from community_directory.queries.usernames import set_username
from community_directory.queries.values import (
    ACTOR_CTE,
    MAX_JSON_LENGTH,
    Profile,
    as_json,
    check_text,
    checked_actor,
    member_number,
    parse_choice,
    required_actor,
)
from community_directory.tables import CommunityMember, MemberStatus

__all__ = [
    "ALLOWED_TRANSITIONS",
    "UNSET",
    "ConflictKind",
    "Member",
    "MemberConditions",
    "Merge",
    "MergeConflict",
    "MergeCounts",
    "MergePreview",
    "PublicMember",
    "Rank",
    "Sort",
    "Unmerge",
    "add",
    "check_addable",
    "check_until",
    "count",
    "dismiss_suggestion",
    "end_suspensions",
    "erase",
    "export",
    "find",
    "find_by_account",
    "find_by_telegram_id",
    "find_by_username",
    "find_erased",
    "forget_bot",
    "get",
    "get_by_telegram_id",
    "known_bots",
    "leaderboard",
    "mark_bot",
    "merge",
    "merge_preview",
    "merge_suggestions",
    "public",
    "rank",
    "remember_bots",
    "remove",
    "resolve",
    "restore",
    "search",
    "seen",
    "set_status",
    "set_username",
    "stream",
    "unmerge",
    "update_profile",
    "verify_github",
]

ALLOWED_TRANSITIONS: Mapping[MemberStatus, tuple[MemberStatus, ...]] = {
    MemberStatus.NOT_MEMBER: (MemberStatus.PENDING,),
    # An approval can be undone.
    MemberStatus.PENDING: (MemberStatus.NOT_MEMBER, MemberStatus.ACTIVE),
    MemberStatus.ACTIVE: (MemberStatus.PENDING, MemberStatus.SUSPENDED, MemberStatus.BANNED),
    MemberStatus.SUSPENDED: (MemberStatus.ACTIVE,),
    MemberStatus.BANNED: (
        MemberStatus.NOT_MEMBER,
        MemberStatus.PENDING,
        MemberStatus.ACTIVE,
        MemberStatus.SUSPENDED,
    ),
}
"""The statuses from which a member may change to each status; a trigger enforces the same rules."""


class _Unset(Enum):
    """The type of `UNSET`: an enum, so that type checkers understand `is not UNSET`."""

    UNSET = "unset"


UNSET: Final = _Unset.UNSET
"""The value of a profile field that stays as it is; None empties the field."""

ADD_MEMBER = Statement(f"""
WITH {ACTOR_CTE}, added AS (
    -- the new member, if the account belongs to nobody and is not banned
    INSERT INTO community_members AS member (id, telegram_id, name, primary_role, status,
        telegram_username, organization, country, github_username, invited_by, profile_data)
    SELECT :id::uuid, :telegram_id::text, :name, :primary_role, :status, :telegram_username,
        :organization, :country, :github_username, :invited_by, :profile_data::jsonb
    FROM actor
    -- ON CONFLICT alone would use up a member's number for each conflict.
    WHERE {ACCOUNT_OWNER} IS NULL AND NOT {IS_BANNED} AND NOT {BAN_CHECK_IMPOSSIBLE}
    ON CONFLICT (telegram_id) DO NOTHING
    RETURNING member.*
), forgotten AS (
    -- somebody who was erased has come back
    {FORGET_ERASED_ACCOUNTS} AND EXISTS (SELECT FROM added)
)
SELECT {member_columns("added")} FROM added
""")

FIND_KNOWN_ACCOUNT = Statement(f"""
SELECT {ACCOUNT_OWNER} AS member_id, {IS_BANNED} AS is_banned,
    {BAN_CHECK_IMPOSSIBLE} AS ban_check_impossible
""")

_REMOVED_KEYS = """ARRAY(
    SELECT key FROM jsonb_each(:profile_data::jsonb) WHERE jsonb_typeof(value) = 'null'
)"""
# A member without a profile still has none if no key is added.
_MERGED_PROFILE = f"""coalesce(
    (profile_data || :profile_data::jsonb) - {_REMOVED_KEYS},
    nullif(:profile_data::jsonb - {_REMOVED_KEYS}, '{{}}')
)"""
_MERGED_PROFILE_LENGTH = f"coalesce(length({_MERGED_PROFILE}::text), 0)"

# The fields that no longer have the value of :before, an object of fields. Of the profile it has
# some keys, and a key that is missing is null.
_CHANGED_FIELDS = """
    SELECT field FROM jsonb_each(:before::jsonb) AS seen(field, value)
    WHERE value <> CASE field
        WHEN 'profile_data' THEN (
            SELECT jsonb_object_agg(key, coalesce(profile_data -> key, 'null'))
            FROM jsonb_object_keys(value) AS key
        )
        ELSE coalesce(to_jsonb(member) -> field, 'null')
    END
"""

FIND_UNCHANGED_PROFILE = Statement(f"""
SELECT merged_into, deleted_at IS NOT NULL AS is_removed, {_MERGED_PROFILE_LENGTH} AS length,
    ARRAY({_CHANGED_FIELDS}) AS changed_fields
FROM community_members AS member WHERE member_id = :member_id
""")

SET_MEMBER_STATUS = Statement(f"""
WITH {ACTOR_CTE}, before AS (
    -- The status before, locked. NO KEY allows other transactions to record the member's events.
    SELECT id, status, suspended_until FROM community_members
    -- A removed member can still be banned, or else any code would bring them back.
    WHERE member_id = :member_id AND (deleted_at IS NULL OR :status::text = 'banned')
        AND merged_into IS NULL
    FOR NO KEY UPDATE
), changed AS (
    -- the member after the change, if the change is allowed
    UPDATE community_members AS member
    SET status = :status::text, suspended_until = :until::timestamptz
    FROM before, actor
    WHERE member.id = before.id AND before.status = ANY(:allowed_before)
        AND (before.status, before.suspended_until) IS DISTINCT FROM (:status, :until)
    RETURNING member.*
)
SELECT before.status AS before, {member_columns("changed")}
FROM before LEFT JOIN changed ON true
""")

# A removed member stays suspended: the suspension ends when they are restored.
END_SUSPENSIONS = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET status = 'active' FROM actor
WHERE id IN (
    SELECT id FROM community_members
    WHERE suspended_until <= now() AND deleted_at IS NULL
    FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING member_id
""")

REMOVE_MEMBER = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET deleted_at = now() FROM actor
WHERE member_id = :member_id AND deleted_at IS NULL
RETURNING {MEMBER_COLUMNS}
""")

RESTORE_MEMBER = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET deleted_at = NULL FROM actor
WHERE member_id = :member_id AND deleted_at IS NOT NULL AND merged_into IS NULL
    AND telegram_id !~ '^(erased|banned):'
RETURNING {MEMBER_COLUMNS}
""")


async def add(
    *,
    telegram_id: str | int,
    name: str,
    primary_role: str,
    status: MemberStatus | str = MemberStatus.NOT_MEMBER,
    telegram_username: str | None = None,
    organization: str | None = None,
    country: str | None = None,
    github_username: str | None = None,
    invited_by: str | int | None = None,
    profile_data: Profile | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> Member:
    """Add a person, and give them the next number.

    An account belongs to one member: of several calls with the same account at the same time, one
    adds the member and the others raise `MemberExists`. Somebody who was erased, but not banned, is
    welcome; an import asks `find_erased` first.

    Args:
        telegram_id: The id of the Telegram account, a number as a text or an integer. An account of
            another platform has the platform in front, such as "discord:123".
        name: The name that others see.
        primary_role: The role, such as "developer".
        status: The first status; by default the person is a contact ("not_member").
        telegram_username: The Telegram username, with or without @, or a link to it.
        organization: The organization that the person works for.
        country: The country, as the directory shows it.
        github_username: The GitHub username, with or without @, or a link to it; `verify_github`
            verifies it.
        invited_by: The number of the member who invited the person.
        profile_data: A JSON object with further data.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberExists: The account belongs to a member or a contact, who may have been removed. The
            error contains their number.
        MemberBanned: The account, or the Discord account that the profile states, is banned.
        InvalidInput: A value can't be stored.
        ConfigurationError: Banned members were erased, and DIRECTORY_SECRET_KEY is not set.
    """
    values = addition_values(
        telegram_id=telegram_id,
        name=name,
        primary_role=primary_role,
        status=status,
        telegram_username=telegram_username,
        organization=organization,
        country=country,
        github_username=github_username,
        invited_by=invited_by,
        profile_data=profile_data,
    )
    values |= {"actor": checked_actor(actor), "reason": reason}
    account = {name: values[name] for name in FIND_KNOWN_ACCOUNT.parameters}
    while True:
        with account_may_be_linked(str(values["telegram_id"])):
            if records := await engine.fetch(ADD_MEMBER, **values):
                forget(str(values["telegram_id"]))
                return member_from(records[0])
        # If this raises nothing, the account was erased between the two statements: try again.
        await _check_addable(account)


def addition_values(
    *, status: MemberStatus | str, invited_by: str | int | None, **fields: Any
) -> dict[str, object]:
    """Check the arguments of `add`, and return them as parameters of its statement.

    Raises:
        InvalidInput: A value can't be stored.
    """
    status = parse_choice(MemberStatus, status, "status")
    if invited_by is not None:
        invited_by = member_number(invited_by, "invited_by")
        check_text("invited_by", invited_by, CommunityMember.member_id.length)
    return new_member_values(**fields) | {"status": status, "invited_by": invited_by}


async def check_addable(telegram_id: str | int) -> None:
    """Check that `add` would accept this Telegram account.

    Raises:
        MemberExists: The account belongs to a member or a contact, who may have been removed.
        MemberBanned: The account is banned.
        InvalidInput: The id is malformed.
        ConfigurationError: Banned members were erased, and DIRECTORY_SECRET_KEY is not set.
    """
    await _check_addable(account_values(normalize_telegram_id(telegram_id)))


async def _check_addable(account: Mapping[str, object]) -> None:
    [(member_id, is_banned, ban_check_impossible)] = await engine.fetch(
        FIND_KNOWN_ACCOUNT, **account
    )
    if is_banned:
        raise MemberBanned
    if member_id is not None:
        raise MemberExists(f"This account already belongs to member {member_id}.", member_id)
    if ban_check_impossible:
        raise secret_key_required()


async def update_profile(
    member_id: str | int,
    *,
    name: str | _Unset = UNSET,
    telegram_username: str | _Unset | None = UNSET,
    primary_role: str | _Unset = UNSET,
    organization: str | _Unset | None = UNSET,
    country: str | _Unset | None = UNSET,
    profile_data: Profile | _Unset | None = UNSET,
    replace_profile_data: Profile | _Unset | None = UNSET,
    before: Mapping[str, object] | None = None,
    actor: str | None = None,
    reason: str | None = None,
) -> Member:
    """Change the given fields of a profile.

    A field that is left out stays as it is, even if another call changes it at the same time. None
    empties a field.

    Args:
        member_id: The member's number: "#247", or 247.
        name: The name that others see.
        telegram_username: The Telegram username, with or without @, or a link to it.
        primary_role: The role, such as "developer".
        organization: The organization that the person works for.
        country: The country, as the directory shows it.
        profile_data: The keys of the JSON object to change, with their new values. A key with None
            is taken away. All other keys stay, also those that another call changes at the same
            time. Objects and lists inside are replaced whole.
        replace_profile_data: In place of `profile_data`, a whole new JSON object.
        before: The values that fields had when somebody decided to change them, by the names of
            these arguments; that of `profile_data` has the keys that matter. If another call has
            changed one of them since, nothing is changed. None changes the fields in any case.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.

    Raises:
        MemberNotFound: No member has this number, or the member was removed.
        ProfileChanged: A field does not have its value of `before` any more.
        InvalidInput: A value can't be stored, the profile would have more than 1,000,000
            characters, both `profile_data` and `replace_profile_data` are given, or `before` has
            another field.
    """
    number, actor = member_number(member_id), checked_actor(actor)
    if profile_data is not UNSET and replace_profile_data is not UNSET:
        raise InvalidInput(
            "Give the keys of the profile that change, or the whole profile, but not both.",
            field="profile_data",
        )
    fields = {
        "name": name,
        "telegram_username": telegram_username,
        "primary_role": primary_role,
        "organization": organization,
        "country": country,
        "profile_data": replace_profile_data if profile_data is UNSET else profile_data,
    }
    seen = as_json(before, field="before")
    for field in before or ():
        if field not in fields:
            raise InvalidInput(
                f"There is no field {sanitize_for_message(field)} in a profile.", field="before"
            )
    changes = profile_values(
        {column: value for column, value in fields.items() if value is not UNSET}
    )
    if not changes:
        member = await get(number)
        if member.member_id != number:
            raise MemberMerged(number, member.member_id)
        return member
    merges_profile = profile_data is not UNSET and profile_data is not None
    values: dict[str, object] = {"actor": actor, "reason": reason, **changes}
    if before:
        values["before"] = seen
    records = await engine.fetch(
        _make_update_statement(*changes, merges_profile=merges_profile, is_checked=bool(before)),
        member_id=number,
        **values,
    )
    if not records and (merges_profile or before):
        merged = changes["profile_data"] if merges_profile else None
        raise await _explain_unchanged_profile(number, merged, before)
    return await _require_member(records, number)


@cache
def _make_update_statement(*changed: str, merges_profile: bool, is_checked: bool) -> Statement:
    """Return the statement that changes these columns.

    The columns are put into the SQL, so they must be names of parameters of `update_profile`.

    Args:
        changed: The columns.
        merges_profile: Whether `profile_data` has keys to change, and is no whole profile.
        is_checked: Whether fields must have the values of `before`.
    """
    values = {column: f":{column}" for column in changed}
    conditions = ["member_id = :member_id", "deleted_at IS NULL"]
    if merges_profile:
        values["profile_data"] = _MERGED_PROFILE
        conditions.append(f"{_MERGED_PROFILE_LENGTH} <= {MAX_JSON_LENGTH}")
    if is_checked:
        # After a wait for another change, PostgreSQL reads the member again and checks this again.
        # Of NOT EXISTS it makes a join, which it takes as it was.
        conditions.append(f"cardinality(ARRAY({_CHANGED_FIELDS})) = 0")
    assignments = ", ".join(f"{column} = {value}" for column, value in values.items())
    return Statement(f"""
    WITH {ACTOR_CTE}
    UPDATE community_members AS member SET {assignments} FROM actor
    WHERE {" AND ".join(conditions)}
    RETURNING {MEMBER_COLUMNS}
    """)


async def _explain_unchanged_profile(
    member_id: str, profile_data: str | None, before: Mapping[str, object] | None
) -> UserError:
    """Return the reason why no profile was changed."""
    records = await engine.fetch(
        FIND_UNCHANGED_PROFILE,
        member_id=member_id,
        profile_data=profile_data,
        before=as_json(before),
    )
    if not records:
        return MemberNotFound(member_id)
    merged_into, is_removed, length, changed_fields = records[0]
    if merged_into is not None:
        return MemberMerged(member_id, merged_into)
    if is_removed:
        return MemberNotFound(member_id)
    if length > MAX_JSON_LENGTH:
        return text_too_long("profile_data", length, MAX_JSON_LENGTH)
    # A field can have its earlier value again by now.
    field = next(iter(changed_fields or before or ()), None)
    return MemberNotFound(member_id) if field is None else ProfileChanged(member_id, field)


async def set_status(
    member_id: str | int,
    status: MemberStatus | str,
    *,
    actor: str,
    reason: str | None = None,
    before: Sequence[MemberStatus | str] | None = None,
    until: datetime | None = None,
) -> Member:
    """Change the status of a member, and log the actor and the reason in the same transaction.

    Calls for the same member run one after the other, and each of them starts from the status that
    the call before it has set. A removed member can only be banned.

    A suspension with `until` ends at that time (`end_suspensions`). To suspend a suspended member
    again, with another `until`, changes the end; without `until` the suspension then has no end.

    Args:
        member_id: The member's number, "#247" or 247.
        status: The new status.
        actor: The author of the change, for the audit log.
        reason: The reason of the change, for the audit log.
        before: The statuses that the member may have, such as those that somebody has seen before
            they decided; by default those of `ALLOWED_TRANSITIONS`.
        until: The end of a suspension, an aware time in the future; None is a suspension without an
            end.

    Raises:
        StatusChangeRefused: `ALLOWED_TRANSITIONS` or `before` does not contain this change, or the
            member has the status already, with the same end.
        MemberNotFound: No member has this number, or the member was removed and the status is not
            banned.
        InvalidInput: There is no such status, the actor is blank, or `until` is not in the future
            or belongs to another status than suspended.
    """
    number, after = member_number(member_id), parse_choice(MemberStatus, status, "status")
    check_until(until, after)
    allowed = ALLOWED_TRANSITIONS[after]
    if after is MemberStatus.SUSPENDED:
        allowed = (*allowed, MemberStatus.SUSPENDED)  # with another end
    if before is not None:
        wanted = {parse_choice(MemberStatus, status, "before") for status in before}
        allowed = tuple(status for status in allowed if status in wanted)
    records = await engine.fetch(
        SET_MEMBER_STATUS,
        member_id=number,
        status=after,
        allowed_before=allowed,
        until=until,
        actor=required_actor(actor),
        reason=reason,
    )
    if not records:
        raise await member_not_found(number)
    found, *member = records[0]
    if member[0] is None:
        raise StatusChangeRefused(number, found, after)
    forget(number)
    return member_from(member)


def check_until(until: datetime | None, status: MemberStatus | None) -> None:
    """Check that a time can be the end of a suspension, if there is one.

    Raises:
        InvalidInput: The status is another one, or the time is not aware or not in the future.
    """
    if until is None:
        return
    if status is not MemberStatus.SUSPENDED:
        raise InvalidInput("Only a suspension has an end.", field="until")
    if getattr(until, "tzinfo", None) is None:
        raise InvalidInput("The end must be a time with a time zone.", field="until")
    if until <= datetime.now(UTC):
        raise InvalidInput("A suspension must end in the future.", field="until")


async def end_suspensions(*, actor: str = "clock") -> int:
    """Make the members active again whose suspension ends by now, and return their number.

    The scheduled job makes the call each minute. Of several calls at the same time, each member is
    in one.

    Raises:
        InvalidInput: The actor is blank.
    """
    records = await engine.fetch(
        END_SUSPENSIONS,
        actor=required_actor(actor),
        reason="The suspension ended on the date that was set.",
    )
    for (number,) in records:
        forget(number)
    return len(records)


async def remove(member_id: str | int, *, actor: str, reason: str | None = None) -> Member:
    """Remove a member from every list. Nothing is deleted, and `restore` brings the member back.

    Raises:
        MemberNotFound: No member has this number, or the member was removed before.
        InvalidInput: The actor is blank.
    """
    number = member_number(member_id)
    records = await engine.fetch(
        REMOVE_MEMBER, member_id=number, actor=required_actor(actor), reason=reason
    )
    return await _require_member(records, number)


async def restore(member_id: str | int, *, actor: str, reason: str | None = None) -> Member:
    """Bring back a removed member, with the status and the data that they had.

    Raises:
        MemberNotFound: No removed member has this number, or the member was erased.
        InvalidInput: The actor is blank.
    """
    number = member_number(member_id)
    records = await engine.fetch(
        RESTORE_MEMBER, member_id=number, actor=required_actor(actor), reason=reason
    )
    return await _require_member(records, number)


async def _require_member(records: Sequence[asyncpg.Record], member_id: str) -> Member:
    """Return the member after a change."""
    if not records:
        raise await member_not_found(member_id)
    forget(member_id)
    return member_from(records[0])


observe_helpers(globals())
