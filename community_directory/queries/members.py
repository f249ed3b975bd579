"""Members: who they are, what they may become, and how they are found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import asyncpg

from community_directory.database import engine, transaction
from community_directory.errors import (
    InvalidInput,
    MemberBanned,
    MemberExists,
    MemberNotFound,
    StatusChangeRefused,
    sanitize_for_message,
)
from community_directory.queries.ids import new_id
from community_directory.queries.pages import (
    Page,
    checked_limit,
    decode_cursor,
    make_page,
    parse_uuid,
)
from community_directory.queries.privacy import (
    ban_check_impossible,
    ban_fingerprint,
    secret_key_required,
)
from community_directory.queries.privacy import erase as erase  # noqa: PLC0414  callers find it here
from community_directory.queries.privacy import export as export  # noqa: PLC0414  callers find it here
from community_directory.queries.reputation import MAX_SCORE, add_points_sql, github_score
from community_directory.queries.search import ORDERS, Search, Sort, scores_between
from community_directory.queries.values import (
    ACTOR,
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
from community_directory.tables import CommunityMember, MemberStatus

MAX_SEARCH_LENGTH = 200
ALLOWED_TRANSITIONS: Mapping[MemberStatus, tuple[MemberStatus, ...]] = {
    MemberStatus.NOT_MEMBER: (MemberStatus.PENDING,),
    MemberStatus.PENDING: (MemberStatus.NOT_MEMBER,),
    MemberStatus.ACTIVE: (MemberStatus.PENDING, MemberStatus.SUSPENDED, MemberStatus.BANNED),
    MemberStatus.SUSPENDED: (MemberStatus.ACTIVE,),
    MemberStatus.BANNED: (
        MemberStatus.NOT_MEMBER,
        MemberStatus.PENDING,
        MemberStatus.ACTIVE,
        MemberStatus.SUSPENDED,
    ),
}
"""From which statuses a member may come to each one; the trigger on members knows the same ways."""


class _Unset(Enum):
    """The type of `UNSET`: an enum, because checkers of types understand `is not UNSET` of one."""

    UNSET = "unset"


UNSET: Final = _Unset.UNSET
"""A field of a profile that shall stay as it is, where None would empty it."""


@dataclass(slots=True)
class Member:
    """A member or a contact, as stored; times are aware, in UTC.

    It is a value, not to be changed: not frozen, because a page of members would take longer.
    """

    id: UUID
    member_id: str
    telegram_id: str
    telegram_username: str | None
    name: str
    primary_role: str
    organization: str | None
    country: str | None
    github_username: str | None
    github_verified: bool
    github_verified_at: datetime | None
    github_profile_data: Profile | None
    status: MemberStatus
    reputation_score: int
    reputation_tier: str
    invited_by: str | None
    registration_fee_paid: bool | None
    registration_fee_tx_hash: str | None
    profile_data: Profile | None
    created_at: datetime
    updated_at: datetime
    last_active_at: datetime | None
    deleted_at: datetime | None


_MEMBER = [field.name for field in fields(Member)]
_GITHUB_PROFILE_DATA, _PROFILE_DATA, _STATUS = map(
    _MEMBER.index, ("github_profile_data", "profile_data", "status")
)


def member_columns(table: str) -> str:
    """A member's columns in the order that `member_from` takes them."""
    return ", ".join(f"{table}.{name}" for name in _MEMBER)


COLUMNS = ", ".join(_MEMBER)

GET = f"SELECT {COLUMNS} FROM community_members WHERE member_id = $1 AND deleted_at IS NULL"
GET_BY_TELEGRAM_ID = (
    f"SELECT {COLUMNS} FROM community_members WHERE telegram_id = $1 AND deleted_at IS NULL"
)

ADD = f"""
WITH {ACTOR}
INSERT INTO community_members (id, telegram_id, name, primary_role, status, telegram_username, organization, country,
    github_username, invited_by, profile_data)
SELECT $14::uuid, $3::text, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb FROM actor
-- asked first, because a conflict costs a number
WHERE NOT EXISTS (SELECT 1 FROM community_members WHERE telegram_id IN ($3::text, $13)) AND NOT {ban_check_impossible("$13")}
ON CONFLICT (telegram_id) DO NOTHING
RETURNING {COLUMNS}
"""

# The account, banned or erased as it may be; a row of NULLs when nobody can tell whether it is.
KNOWN = f"""
(SELECT member_id, status FROM community_members WHERE telegram_id IN ($1, $2) ORDER BY status = 'banned' DESC)
UNION ALL SELECT NULL, NULL WHERE {ban_check_impossible("$2")}
"""

SET_STATUS = f"""
WITH {ACTOR}, before AS (
    -- NO KEY: nobody who records an event of the member waits
    SELECT id, status FROM community_members
    -- Who was removed can still be banned, or any code would bring them back.
    WHERE member_id = $3 AND (deleted_at IS NULL OR $4::text = 'banned')
    FOR NO KEY UPDATE
), changed AS (
    UPDATE community_members AS member SET status = $4::text FROM before, actor
    WHERE member.id = before.id AND before.status = ANY($5)
    RETURNING member.*
)
SELECT before.status AS before, {member_columns("changed")}
FROM before LEFT JOIN changed ON true
"""

LOCK = """
SELECT CASE WHEN github_verified_at IS NOT NULL THEN github_profile_data END AS rewarded
FROM community_members WHERE member_id = $1 FOR NO KEY UPDATE
"""

VERIFY_GITHUB = f"""
WITH {ACTOR}, before AS (
    SELECT id, (
        SELECT member_id FROM community_members
        WHERE github_verified AND lower(github_username) = lower($4::text) AND member_id <> $3
    ) AS owner
    FROM community_members WHERE member_id = $3 AND deleted_at IS NULL
), verified AS (
    UPDATE community_members AS member SET github_username = $4::text, github_verified = true,
        github_verified_at = now(), github_profile_data = $5::jsonb,
        {add_points_sql("$6::numeric")}
    FROM before, actor WHERE member.id = before.id AND before.owner IS NULL
    RETURNING member.*
)
SELECT before.owner, {member_columns("verified")} FROM before LEFT JOIN verified ON true
"""

REMOVE = f"""
WITH {ACTOR}
UPDATE community_members SET deleted_at = now() FROM actor WHERE member_id = $3 AND deleted_at IS NULL
RETURNING {COLUMNS}
"""

RESTORE = f"""
WITH {ACTOR}
UPDATE community_members SET deleted_at = NULL FROM actor WHERE member_id = $3 AND deleted_at IS NOT NULL
    AND telegram_id !~ '^(erased|banned):'
RETURNING {COLUMNS}
"""


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
    """Add a person and give them the next number.

    One Telegram account is one person, whoever adds it at the same time. Raises `MemberExists` with the number when
    the account is known, `MemberBanned` when it is banned, `InvalidInput` for a value that can't be stored,
    `ConfigurationError` when banned people were erased and DIRECTORY_SECRET_KEY is not set here.
    """
    telegram_id = id_text(telegram_id, "telegram_id")
    telegram_username = username_from(telegram_username, "telegram_username")
    github_username = username_from(github_username, "github_username")
    if invited_by is not None:
        invited_by = member_number(invited_by, "invited_by")
        check_text("invited_by", invited_by, CommunityMember.member_id.length)
    check_texts(
        CommunityMember,
        telegram_id=telegram_id,
        name=name,
        primary_role=primary_role,
        telegram_username=telegram_username,
        organization=organization,
        country=country,
        github_username=github_username,
    )
    arguments = (
        checked_actor(actor),
        reason,
        telegram_id,
        name,
        primary_role,
        _checked_status(status),
        telegram_username,
        organization,
        country,
        github_username,
        invited_by,
        as_json(profile_data, field="profile_data"),
        ban_fingerprint(telegram_id),
        new_id(),
    )
    while not (records := await engine.fetch(ADD, *arguments)):
        # When it raises nothing, whoever had the account was erased between the two statements.
        await check_addable(telegram_id)
    return member_from(records[0])


async def check_addable(telegram_id: str | int) -> None:
    """Check that nobody has this Telegram account, so that `add` would take it.

    Raises `MemberExists`, `MemberBanned`, `InvalidInput` and `ConfigurationError` as `add` does.
    """
    telegram_id = id_text(telegram_id, "telegram_id")
    check_texts(CommunityMember, telegram_id=telegram_id)
    known = await engine.fetch(KNOWN, telegram_id, ban_fingerprint(telegram_id))
    if not known:
        return
    member_id, status = known[0]
    if member_id is None:
        raise secret_key_required()
    if status == MemberStatus.BANNED:
        raise MemberBanned
    raise MemberExists(f"This Telegram account is known already, as member {member_id}.", member_id)


async def get(member_id: str | int) -> Member:
    """Return the member with this number: "#247" or 247.

    Raises `MemberNotFound`, also for one who was removed.
    """
    number = member_number(member_id)
    return _the_member(await engine.fetch(GET, number), number)


async def find(member_id: str | int) -> Member | None:
    """Return the member with this number; None when there is none, or they were removed."""
    return _first(await engine.fetch(GET, member_number(member_id)))


async def get_by_telegram_id(telegram_id: str | int) -> Member:
    """Return the member with this Telegram account.

    Raises `MemberNotFound`, also for one who was removed.
    """
    account = id_text(telegram_id, "telegram_id")
    return _the_member(await engine.fetch(GET_BY_TELEGRAM_ID, account), account)


async def find_by_telegram_id(telegram_id: str | int) -> Member | None:
    """Return the member with this Telegram account; None when there is none, or one was removed."""
    return _first(await engine.fetch(GET_BY_TELEGRAM_ID, id_text(telegram_id, "telegram_id")))


async def update_profile(
    member_id: str | int,
    *,
    name: str | _Unset = UNSET,
    telegram_username: str | _Unset | None = UNSET,
    primary_role: str | _Unset = UNSET,
    organization: str | _Unset | None = UNSET,
    country: str | _Unset | None = UNSET,
    profile_data: Profile | _Unset | None = UNSET,
    actor: str | None = None,
    reason: str | None = None,
) -> Member:
    """Change the named fields of a profile, and no others.

    What somebody else changes at the same time in another field is kept. Raises `MemberNotFound`, `InvalidInput`.
    """
    number, actor = member_number(member_id), checked_actor(actor)
    given = {
        "name": name,
        "telegram_username": (
            UNSET
            if telegram_username is UNSET
            else username_from(telegram_username, "telegram_username")
        ),
        "primary_role": primary_role,
        "organization": organization,
        "country": country,
    }
    texts = {field: text for field, text in given.items() if text is not UNSET}
    check_texts(CommunityMember, **texts)
    changes = dict(texts)
    if profile_data is not UNSET:
        changes["profile_data"] = as_json(profile_data, field="profile_data")
    if not changes:
        return await get(number)
    # The fields' names are those above.
    assignments = ", ".join(f"{field} = ${number}" for number, field in enumerate(changes, start=4))
    records = await engine.fetch(
        f"""
        WITH {ACTOR}
        UPDATE community_members SET {assignments} FROM actor WHERE member_id = $3 AND deleted_at IS NULL
        RETURNING {COLUMNS}
        """,
        actor,
        reason,
        number,
        *changes.values(),
    )
    return _the_member(records, number)


async def set_status(
    member_id: str | int, status: MemberStatus | str, *, actor: str, reason: str | None = None
) -> Member:
    """Take a member from their status to another one, and log who did it and why.

    Of two changes at the same time the second one is judged by what the first one left. A removed member can be
    banned, and nothing else. Raises `StatusChangeRefused`
    when the rules know no way there (or they are there already), `MemberNotFound`, `InvalidInput`.
    """
    number, after = member_number(member_id), _checked_status(status)
    records = await engine.fetch(
        SET_STATUS, required_actor(actor), reason, number, after, ALLOWED_TRANSITIONS[after]
    )
    if not records:
        raise MemberNotFound(number)
    before, *member = records[0]
    if member[0] is None:
        raise StatusChangeRefused(number, before, after)
    return member_from(member)


async def verify_github(
    member_id: str | int,
    *,
    github_username: str,
    github_profile_data: Profile,
    actor: str | None = None,
    reason: str | None = None,
) -> Member:
    """Record that a GitHub account is the member's, and add what its data earns to their score.

    The score changes by the difference between `reputation.github_score` of the new data and of the
    stored data, and the tier follows: all other points stay. Stored data that was never verified, so
    that it has no `github_verified_at`, gave no points, and counts as none. One account proves one person.

    Raises `MemberExists` if the account is another member's, `MemberNotFound` if there is no such
    member, `InvalidInput` if a value can't be stored.
    """
    member_id, actor = member_number(member_id), checked_actor(actor)
    username = username_from(github_username, "github_username")
    check_texts(CommunityMember, github_username=username)
    data = as_json(github_profile_data, field="github_profile_data")
    earned = github_score(github_profile_data)
    if earned > MAX_SCORE:
        raise InvalidInput(
            "These counts earn more points than a score can have.",
            field="github_profile_data",
            limit=MAX_SCORE,
        )
    try:
        async with transaction():
            # Locked first: of two verifications each must add to what the other one stored.
            locked = await engine.fetch(LOCK, member_id)
            rewarded = locked[0]["rewarded"] if locked else None
            points = earned - github_score(None if rewarded is None else json.loads(rewarded))
            records = await engine.fetch(
                VERIFY_GITHUB, actor, reason, member_id, username, data, points
            )
    except InvalidInput as error:
        if not isinstance(error.__cause__, asyncpg.UniqueViolationError):
            raise
        # Proved by two at this very moment. Whose it is can't be asked any more inside the caller's transaction.
        raise MemberExists(str(error), github_username) from error
    if not records:
        raise MemberNotFound(member_id)
    owner, *member = records[0]
    if owner is not None:
        raise MemberExists(f"This GitHub account belongs to member {owner}.", owner)
    return member_from(member)


async def remove(member_id: str | int, *, actor: str, reason: str | None = None) -> Member:
    """Take a member out of every list; nothing is deleted, and `restore` brings them back.

    Raises `MemberNotFound`, `InvalidInput`.
    """
    number = member_number(member_id)
    return _the_member(await engine.fetch(REMOVE, required_actor(actor), reason, number), number)


async def restore(member_id: str | int, *, actor: str, reason: str | None = None) -> Member:
    """Bring a removed member back as they were, but nobody who was erased.

    Raises `MemberNotFound` when nobody of that number was removed, `InvalidInput`.
    """
    number = member_number(member_id)
    return _the_member(await engine.fetch(RESTORE, required_actor(actor), reason, number), number)


async def search(
    text: str | None = None,
    *,
    role: str | None = None,
    country: str | None = None,
    status: MemberStatus | str | None = MemberStatus.ACTIVE,
    min_reputation: int | None = None,
    max_reputation: int | None = None,
    tier: str | None = None,
    sort: Sort = "reputation",
    after: str | None = None,
    limit: int = 20,
) -> Page[Member]:
    r"""Find members that meet all conditions; removed ones are never among them.

    `text` is a part of a name, a Telegram or GitHub username or an organization, whatever its case and accents; `%`,
    `_` and `\` are ordinary letters in it; of somebody's names that are longer than 350 letters together, the first 350
    are looked at. A text of nothing but accents finds nobody. `status=None` finds every status. Orders: best
    reputation, newest, last active, or by name. Raises `InvalidCursor`, `InvalidInput`.
    """
    if sort not in list(ORDERS):  # a list, because of what has no hash
        raise InvalidInput(f"There is no order {sanitize_for_message(sort)}.", field="sort")
    check_text("text", text, MAX_SEARCH_LENGTH)
    check_text("role", role, CommunityMember.primary_role.length)
    check_texts(CommunityMember, country=country)
    wanted = Search(
        text=text,
        equal={
            "primary_role": role,
            "country": country,
            "status": None if status is None else _checked_status(status),
        },
        scores=scores_between(min_reputation, max_reputation, tier),
        sort=sort,
        place=None if after is None else decode_cursor(after, sort, ORDERS[sort].kind, parse_uuid),
        wanted=checked_limit(limit) + 1,
    )
    records: list[Any] = []
    for statement, arguments in wanted.statements(COLUMNS):
        # Between two statements somebody's score may have moved them to the other one.
        found_before = {record["id"] for record in records}
        records += [
            r for r in await engine.fetch(statement, *arguments) if r["id"] not in found_before
        ]
        if len(records) > limit:
            break
    found = [member_from(record) for record in records[: limit + 1]]
    return make_page(found, limit, sort, lambda member: _position(member, sort))


async def leaderboard(
    *,
    status: MemberStatus | str | None = MemberStatus.ACTIVE,
    after: str | None = None,
    limit: int = 20,
) -> Page[Member]:
    """The members of the best reputation: the active ones, those of another status, or with None contacts and all.

    Raises `InvalidCursor`, `InvalidInput`.
    """
    return await search(status=status, after=after, limit=limit)


def _position(member: Member, sort: Sort) -> tuple[str | int, ...]:
    values: dict[Sort, str | int] = {
        "reputation": member.reputation_score,
        "newest": member.created_at.isoformat(),
        "active": member.last_active_at.isoformat() if member.last_active_at else EPOCH,
        "name": member.name,
    }
    return values[sort], str(member.id)


EPOCH = "1970-01-01T00:00:00+00:00"


def _checked_status(status: MemberStatus | str) -> MemberStatus:
    try:
        return MemberStatus(status)
    except ValueError:
        raise InvalidInput(
            f"There is no status {sanitize_for_message(status)}.", field="status"
        ) from None


def _first(records: list[Any]) -> Member | None:
    return member_from(records[0]) if records else None


def _the_member(records: list[Any], member_id: str) -> Member:
    if not records:
        raise MemberNotFound(member_id)
    return member_from(records[0])


def member_from(record: Any) -> Member:
    """A member from the values of `member_columns`; what follows them is left alone."""
    values = list(record[: len(_MEMBER)])
    if values[_GITHUB_PROFILE_DATA] is not None:
        values[_GITHUB_PROFILE_DATA] = json.loads(values[_GITHUB_PROFILE_DATA])
    if values[_PROFILE_DATA] is not None:
        values[_PROFILE_DATA] = json.loads(values[_PROFILE_DATA])
    values[_STATUS] = _STATUSES[values[_STATUS]]
    return Member(*values)


_STATUSES = {str(status): status for status in MemberStatus}
