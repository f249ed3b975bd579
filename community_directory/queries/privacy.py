"""Personal data: export everything that is stored about a person, and erase it.

Callers use it as `members.export` and `members.erase`.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import asyncpg

from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import DatabaseUnavailable, MemberNotFound
from community_directory.queries import roll_ups
from community_directory.queries.bans import (
    REMEMBER_ERASED_ACCOUNTS,
    make_fingerprint,
    secret_key_required,
)
from community_directory.queries.identifiers import RESERVED_PREFIXES, Account
from community_directory.queries.member_cache import forget
from community_directory.queries.member_rows import LOCK_MEMBERS_FULLY, MAY_ERASE_THEMSELVES
from community_directory.queries.merge_locks import LOCK_MERGES
from community_directory.queries.relationships import entity_text
from community_directory.queries.values import (
    ACTOR_CTE,
    member_number,
    present_number_sql,
    required_actor,
)
from community_directory.tables import MemberStatus

NOT_PERSONAL = None
"""The class of a column whose value says nothing about a person; an erasure leaves it as it is."""
IN_FUNCTION = "directory_audit_log_erase"
"""The class of a column that this function of the database erases: only its owner may change it."""

# The id of a private chat is the id of the person's account.
_ERASED_ROOM_ID = "CASE WHEN room_id = ANY(:room_ids) THEN 'erased' ELSE room_id END"

COLUMN_CLASSES: dict[str, dict[str, str | None]] = {
    "community_members": {
        "id": NOT_PERSONAL,
        "member_id": NOT_PERSONAL,
        # That of a merged member says that it was merged.
        "telegram_id": "CASE WHEN merged_into IS NULL THEN :erased_telegram_id ELSE telegram_id"
        " END",
        "telegram_username": "NULL",
        "name": "'Erased member'",
        "primary_role": "'erased'",
        "organization": "NULL",
        "country": "NULL",
        "github_username": "NULL",
        "github_verified": "false",
        "github_verified_at": "NULL",
        "github_profile_data": "NULL",
        "status": NOT_PERSONAL,
        "reputation_score": NOT_PERSONAL,
        "reputation_tier": NOT_PERSONAL,
        "invited_by": NOT_PERSONAL,
        "registration_fee_paid": NOT_PERSONAL,
        "registration_fee_tx_hash": "NULL",
        "profile_data": "NULL",
        "created_at": NOT_PERSONAL,
        "updated_at": NOT_PERSONAL,
        "last_active_at": NOT_PERSONAL,
        "deleted_at": "coalesce(deleted_at, now())",
        "reputation_shortfall": NOT_PERSONAL,
        "is_bot": NOT_PERSONAL,
        "reputation_withheld": NOT_PERSONAL,
        "merged_into": NOT_PERSONAL,
        "suspended_until": NOT_PERSONAL,
    },
    "community_invitations": {
        "invitation_id": NOT_PERSONAL,
        "invitation_code": NOT_PERSONAL,
        "created_by": NOT_PERSONAL,
        "invited_telegram_username": "NULL",
        # Anybody could redeem an open invitation that has lost its username.
        "status": "CASE status WHEN 'pending' THEN 'cancelled' ELSE status END",
        "expires_at": NOT_PERSONAL,
        "accepted_by": NOT_PERSONAL,
        "accepted_at": NOT_PERSONAL,
        "created_at": NOT_PERSONAL,
        "updated_at": NOT_PERSONAL,
    },
    "member_participation": {
        "id": NOT_PERSONAL,
        "member_id": NOT_PERSONAL,
        "event_type": NOT_PERSONAL,
        "platform": NOT_PERSONAL,
        "room_id": _ERASED_ROOM_ID,
        # The highlights are counted from the durations.
        "event_metadata": "(SELECT jsonb_object_agg(key, value) FROM jsonb_each(event_metadata)"
        " WHERE key IN ('duration_seconds', 'voice_duration_seconds'))",
        "occurred_at": NOT_PERSONAL,
        "source_id": "NULL",
    },
    "member_daily_highlights": {
        "id": NOT_PERSONAL,
        "member_id": NOT_PERSONAL,
        "highlight_date": NOT_PERSONAL,
        "message_count": NOT_PERSONAL,
        "reaction_count": NOT_PERSONAL,
        "voice_minutes": NOT_PERSONAL,
        "reputation_earned": NOT_PERSONAL,
        "created_at": NOT_PERSONAL,
    },
    "member_monthly_highlights": {
        "member_id": NOT_PERSONAL,
        "month": NOT_PERSONAL,
        "active_days": NOT_PERSONAL,
        "message_count": NOT_PERSONAL,
        "reaction_count": NOT_PERSONAL,
        "voice_minutes": NOT_PERSONAL,
    },
    "member_daily_rooms": {
        "member_id": NOT_PERSONAL,
        "day": NOT_PERSONAL,
        "platform": NOT_PERSONAL,
        "room_id": _ERASED_ROOM_ID,
        "event_count": NOT_PERSONAL,
        "message_count": NOT_PERSONAL,
    },
    "member_monthly_rooms": {
        "member_id": NOT_PERSONAL,
        "month": NOT_PERSONAL,
        "platform": NOT_PERSONAL,
        "room_id": _ERASED_ROOM_ID,
        "event_count": NOT_PERSONAL,
        "message_count": NOT_PERSONAL,
    },
    "member_rooms": {
        "member_id": NOT_PERSONAL,
        "platform": NOT_PERSONAL,
        "room_id": _ERASED_ROOM_ID,
        "first_day": NOT_PERSONAL,
        "last_day": NOT_PERSONAL,
    },
    "member_milestones": {
        "member_id": NOT_PERSONAL,
        "joined_at": NOT_PERSONAL,
        "approved_at": NOT_PERSONAL,
        "first_active_day": NOT_PERSONAL,
        "first_message_day": NOT_PERSONAL,
        "active_weeks": NOT_PERSONAL,
    },
    "directory_hourly_counts": {
        "day": NOT_PERSONAL,
        "hour": NOT_PERSONAL,
        "platform": NOT_PERSONAL,
        "event_type": NOT_PERSONAL,
        "event_count": NOT_PERSONAL,
    },
    # The rows of these tables are deleted.
    "member_accounts": dict.fromkeys(
        [
            "id",
            "platform",
            "account_id",
            "username",
            "member_id",
            "proof",
            "proved_at",
            "linked_at",
            "details",
        ],
        "DELETE",
    ),
    "member_permissions": {
        "id": NOT_PERSONAL,
        "member_id": NOT_PERSONAL,
        "permission": NOT_PERSONAL,
        "granted_at": NOT_PERSONAL,
    },
    "member_notes": dict.fromkeys(["id", "member_id", "text", "written_at"], "DELETE"),
    "member_requests": dict.fromkeys(["id", "member_id", "kind", "asked_at"], "DELETE"),
    "member_relationships": dict.fromkeys(
        ["id", "entity_id_a", "entity_id_b", "relationship_type", "content", "created_at"], "DELETE"
    ),
    "directory_bots": dict.fromkeys(["id", "telegram_id", "name", "created_at"], "DELETE"),
    "directory_merges": {
        "id": NOT_PERSONAL,
        "duplicate_id": NOT_PERSONAL,
        "into_id": NOT_PERSONAL,
        "merged_at": NOT_PERSONAL,
        "undone_at": NOT_PERSONAL,
        "before": "NULL",
    },
    "directory_audit_log": {
        "id": NOT_PERSONAL,
        "changed_at": NOT_PERSONAL,
        "actor": IN_FUNCTION,
        "reason": IN_FUNCTION,
        "action": NOT_PERSONAL,
        "table_name": NOT_PERSONAL,
        "row_id": NOT_PERSONAL,
        "member_id": NOT_PERSONAL,
        "changes": IN_FUNCTION,
        "act_id": NOT_PERSONAL,
        "undone_act_id": NOT_PERSONAL,
    },
}
"""The class of every column of every table: `NOT_PERSONAL`, or the SQL of its value when erased."""

STATE_COLUMNS = ("status", "deleted_at")
"""The columns that an erasure changes, although their values say nothing about a person."""
SECRET_COLUMNS = ("invitation_code",)
"""The columns that are not personal, but secret: anybody who reads a code can join with it."""

PERSONAL_FIELDS = [
    column
    for table in ("community_members", "community_invitations")
    for column, erased in COLUMN_CLASSES[table].items()
    if erased is not NOT_PERSONAL and column not in STATE_COLUMNS
] + ["account_id", "username", "details", "text"]
"""The fields whose old and new values `directory_audit_log_erase` erases from the audit log."""

PUBLIC_COLUMNS = {
    table: [
        column
        for column, erased in columns.items()
        if (erased is NOT_PERSONAL or column in STATE_COLUMNS) and column not in SECRET_COLUMNS
    ]
    for table, columns in COLUMN_CLASSES.items()
}
"""The columns of each table without personal data and secrets, for `directory_reader`."""


def _assignments_sql(table: str) -> str:
    """Return the SQL assignments that erase the personal data of a row."""
    return ", ".join(f"{column} = {erased}" for column, erased in _erased_columns(table).items())


def _differs_sql(table: str) -> str:
    """Return the SQL condition that the assignments of `_assignments_sql` would change a row."""
    erased = _erased_columns(table)
    return f"({', '.join(erased)}) IS DISTINCT FROM ({', '.join(erased.values())})"


def _erased_columns(table: str) -> dict[str, str]:
    classes = COLUMN_CLASSES[table]
    return {column: erased for column, erased in classes.items() if erased is not NOT_PERSONAL}


PERSON_CTES = f"""member AS (
    -- the member, who has everything of those that were merged into it
    SELECT * FROM community_members WHERE member_id = {present_number_sql(":member_id")}
), person AS (
    -- the member's number and those of the merged ones, the present and former Telegram usernames
    -- in lower case, and the ids under which relationships of the person are stored
    SELECT member.member_id, telegram_id, status, numbers, ARRAY(
        SELECT lower(telegram_username) FROM community_members
        WHERE member_id = ANY(numbers) AND telegram_username IS NOT NULL
        UNION
        SELECT lower(username) FROM member_accounts AS account
        WHERE account.member_id = member.member_id AND platform = 'telegram'
            AND username IS NOT NULL
        UNION
        SELECT lower(username) FROM directory_audit_log AS entry,
            jsonb_array_elements_text(changes -> 'telegram_username') AS username
        WHERE entry.member_id = ANY(numbers) AND table_name = 'community_members'
            AND username IS NOT NULL
    ) AS usernames, numbers || :entity_ids::text[] || ARRAY(
        SELECT spelling FROM member_accounts AS account,
            unnest(ARRAY[account_id, upper(account_id)]) AS spelling
        WHERE account.member_id = member.member_id AND platform = 'elizaos'
    ) AS entity_ids
    FROM member, LATERAL (
        SELECT array_agg(member_id::text ORDER BY member_id) AS numbers
        FROM community_members AS merged
        WHERE merged.member_id = member.member_id OR merged.merged_into = member.member_id
    ) AS merged
)"""
"""The CTEs `member` and `person`, of the member with a number and of everybody merged into it."""


def _concerns_person_sql(numbers: str, usernames: str) -> str:
    """Return the SQL condition that a person accepted an invitation, or that it is for them.

    The parameters are the SQL of arrays: of the person's numbers, and of their usernames in lower
    case.
    """
    return f"(accepted_by = ANY({numbers}) OR lower(invited_telegram_username) = ANY({usernames}))"


EXPORT_PERSON = Statement(f"""
WITH {PERSON_CTES},
-- The rows of the tables that may be distributed, which no query joins with those of others.
event AS (
    SELECT occurred_at, to_jsonb(stored) AS columns FROM member_participation AS stored
    WHERE member_id = ANY(ARRAY(SELECT unnest(numbers) FROM person))
),
highlight AS (
    SELECT highlight_date, to_jsonb(stored) AS columns FROM member_daily_highlights AS stored
    WHERE member_id = ANY(ARRAY(SELECT unnest(numbers) FROM person))
)
SELECT jsonb_build_object(
    'member', to_jsonb(member) - 'search_text',
    'merged_members', (
        SELECT jsonb_agg(to_jsonb(merged) - 'search_text' ORDER BY merged.created_at)
        FROM community_members AS merged WHERE merged_into = person.member_id
    ),
    'merges', (
        -- with the rows that a merge deleted or changed, as they were before
        SELECT jsonb_agg(to_jsonb(merge) || jsonb_build_object('rows', (
            SELECT coalesce(jsonb_agg(
                jsonb_build_object('table', table_name, 'row', earlier.before)
                ORDER BY table_name, row_id
            ), '[]')
            FROM directory_merged_rows AS earlier
            WHERE merge_id = merge.id AND earlier.before IS NOT NULL
        )) ORDER BY merged_at, id)
        FROM directory_merges AS merge
        WHERE duplicate_id = ANY(numbers) OR into_id = ANY(numbers)
    ),
    'accounts', (
        SELECT jsonb_agg(account ORDER BY linked_at, platform, account_id)
        FROM member_accounts AS account WHERE account.member_id = person.member_id
    ),
    'invitations', (
        SELECT jsonb_agg(invitation ORDER BY created_at) FROM community_invitations AS invitation
        WHERE created_by = ANY(numbers) OR {_concerns_person_sql("numbers", "usernames")}
    ),
    'participation', (SELECT jsonb_agg(columns ORDER BY occurred_at) FROM event),
    'bot_states', (
        SELECT jsonb_agg(unfinished ORDER BY conversation)
        FROM directory_bot_states AS unfinished
        WHERE telegram_id = ANY(ARRAY(
            SELECT account_id FROM member_accounts AS account
            WHERE account.member_id = person.member_id AND platform = 'telegram'
        ))
    ),
    'highlights', (SELECT jsonb_agg(columns ORDER BY highlight_date) FROM highlight),
    'monthly_highlights', (
        SELECT jsonb_agg(highlights ORDER BY month, highlights.member_id)
        FROM member_monthly_highlights AS highlights WHERE highlights.member_id = ANY(numbers)
    ),
    'daily_rooms', (
        SELECT jsonb_agg(room ORDER BY day, platform, room_id, room.member_id)
        FROM member_daily_rooms AS room WHERE room.member_id = ANY(numbers)
    ),
    'monthly_rooms', (
        SELECT jsonb_agg(room ORDER BY month, platform, room_id, room.member_id)
        FROM member_monthly_rooms AS room WHERE room.member_id = ANY(numbers)
    ),
    'rooms', (
        SELECT jsonb_agg(room ORDER BY platform, room_id, room.member_id)
        FROM member_rooms AS room WHERE room.member_id = ANY(numbers)
    ),
    'milestones', (
        SELECT jsonb_agg(milestones ORDER BY milestones.member_id)
        FROM member_milestones AS milestones WHERE milestones.member_id = ANY(numbers)
    ),
    'relationships', (
        SELECT jsonb_agg(relationship ORDER BY created_at)
        FROM member_relationships AS relationship
        WHERE entity_id_a = ANY(entity_ids) OR entity_id_b = ANY(entity_ids)
    ),
    'requests', (
        SELECT jsonb_agg(request ORDER BY asked_at, kind)
        FROM member_requests AS request WHERE request.member_id = ANY(numbers)
    ),
    'notes', (
        SELECT jsonb_agg(note ORDER BY written_at, id)
        FROM member_notes AS note WHERE note.member_id = ANY(numbers)
    ),
    'bot_chats', (
        -- the language in which the Telegram bot writes to the person
        SELECT jsonb_agg(chat ORDER BY chat.account_id)
        FROM member_accounts AS account JOIN directory_bot_chats AS chat
            USING (platform, account_id)
        WHERE account.member_id = person.member_id
    ),
    'changes', (
        SELECT jsonb_agg(entry ORDER BY entry.id) FROM directory_audit_log AS entry
        WHERE entry.member_id = ANY(numbers)
    )
)
FROM member, person
""")

FIND_PERSON = Statement(f"""
WITH {PERSON_CTES}
SELECT member_id, telegram_id, status, numbers, usernames, entity_ids, ARRAY(
    SELECT platform FROM member_accounts AS account WHERE account.member_id = person.member_id
    ORDER BY platform, account_id
) AS platforms, ARRAY(
    SELECT account_id FROM member_accounts AS account WHERE account.member_id = person.member_id
    ORDER BY platform, account_id
) AS account_ids
FROM person
""")
# An erasure locks invitations before members, as a redemption does: the opposite order could cause
# a deadlock.
LOCK_INVITATIONS = Statement(f"""
SELECT FROM community_invitations WHERE {_concerns_person_sql(":numbers", ":usernames")}
ORDER BY invitation_id FOR UPDATE
""")
# NO KEY allows other transactions to record events of the member while earlier ones are rewritten.
LOCK_MEMBERS = Statement("""
SELECT FROM community_members WHERE member_id = ANY(:numbers)
ORDER BY member_id FOR NO KEY UPDATE
""")
ERASE_EVENTS = Statement(f"""
UPDATE member_participation SET {_assignments_sql("member_participation")}
WHERE member_id = ANY(:numbers) AND {_differs_sql("member_participation")}
""")


def _make_rooms_statement(table: str, time: str) -> Statement:
    """Return the statement that erases the private chats from one of the tables of rooms."""
    return Statement(f"""
WITH erased AS (
    DELETE FROM {table} WHERE member_id = ANY(:numbers) AND room_id = ANY(:room_ids) RETURNING *
)
INSERT INTO {table} AS room ({time}, platform, room_id, member_id, event_count, message_count)
SELECT {time}, platform, 'erased', member_id, sum(event_count), sum(message_count)
FROM erased GROUP BY {time}, platform, member_id
ON CONFLICT ({time}, platform, room_id, member_id) DO UPDATE
SET event_count = room.event_count + EXCLUDED.event_count,
    message_count = room.message_count + EXCLUDED.message_count
""")


# Those of two accounts become one room. The counts of the rooms stay those of the events.
ERASE_ROOMS = (
    _make_rooms_statement("member_daily_rooms", "day"),
    _make_rooms_statement("member_monthly_rooms", "month"),
)
ERASE_INVITATIONS = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_invitations SET {_assignments_sql("community_invitations")} FROM actor
WHERE {_concerns_person_sql(":numbers", ":usernames")}
""")
# A trigger deletes the accounts.
ERASE_MEMBERS = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET {_assignments_sql("community_members")} FROM actor
WHERE member_id = ANY(:numbers)
""")
# The merges can't be undone any more.
ERASE_MERGES = Statement(f"""
WITH erased AS (
    UPDATE directory_merges SET {_assignments_sql("directory_merges")}
    WHERE duplicate_id = ANY(:numbers) OR into_id = ANY(:numbers)
    RETURNING id
), others AS (
    -- the accounts of the person that somebody else had when these were merged
    DELETE FROM directory_merged_rows AS earlier USING directory_merges AS merge,
        unnest(:platforms::text[], :account_ids::text[]) AS own(platform, account_id)
    WHERE merge_id = merge.id AND table_name = 'member_accounts'
        AND earlier.before ->> 'platform' = own.platform
        AND earlier.before ->> 'account_id' = own.account_id
        AND merge_id NOT IN (SELECT id FROM erased)
)
DELETE FROM directory_merged_rows WHERE merge_id IN (SELECT id FROM erased)
""")
ERASE_RELATIONSHIPS = Statement("""
DELETE FROM member_relationships
WHERE entity_id_a = ANY(:entity_ids) OR entity_id_b = ANY(:entity_ids)
""")
ERASE_REQUESTS = Statement(f"""
WITH {ACTOR_CTE}
DELETE FROM member_requests USING actor WHERE member_id = ANY(:numbers)
""")
ERASE_NOTES = Statement(f"""
WITH {ACTOR_CTE}
DELETE FROM member_notes USING actor WHERE member_id = ANY(:numbers)
""")
# It runs before the accounts are deleted.
ERASE_CODES_AND_CONVERSATIONS = Statement("""
WITH numbers AS (
    SELECT member_id FROM community_members
    WHERE member_id = :member_id OR merged_into = :member_id
), codes AS (
    DELETE FROM directory_link_codes WHERE member_id IN (SELECT member_id FROM numbers)
), tries AS (
    DELETE FROM directory_link_tries AS tries USING member_accounts AS account
    WHERE account.member_id IN (SELECT member_id FROM numbers)
        AND (tries.platform, tries.account_id) = (account.platform, account.account_id)
), conversations AS (
    DELETE FROM directory_bot_states AS state USING member_accounts AS account
    WHERE account.member_id IN (SELECT member_id FROM numbers)
        AND account.platform = 'telegram' AND state.telegram_id = account.account_id
)
DELETE FROM directory_proved_pairs
WHERE member_a IN (SELECT member_id FROM numbers) OR member_b IN (SELECT member_id FROM numbers)
""")
# A known bot that becomes a member leaves the table; an import at that time can add it again.
ERASE_KNOWN_BOTS = Statement("DELETE FROM directory_bots WHERE telegram_id = ANY(:telegram_ids)")
ERASE_AUDIT_ENTRIES = Statement(
    "SELECT public.directory_audit_log_erase(:member_id, :actor, :reason)"
)

MAX_ERASURE_ATTEMPTS = 10
"""The maximum number of attempts while other calls merge members."""


class _PersonChanged(Exception):
    """Another call has merged members since the person was looked up."""


async def export(member_id: str | int, *, entity_ids: Sequence[str | int] = ()) -> dict[str, Any]:
    """Return everything that is stored about a person, removed or not, as JSON values.

    The number of a merged member leads to the member who has everything of it.

    Args:
        member_id: The member's number, "#247" or 247.
        entity_ids: The ids of the person's ElizaOS entities, beside those that are accounts of the
            member.

    Returns:
        A dictionary with the keys `member` (a dictionary of columns), `merged_members`, `merges`,
        `accounts`, `invitations`, `participation`, `bot_states`, `highlights`,
        `monthly_highlights`, `daily_rooms`, `monthly_rooms`, `rooms`, `milestones`,
        `relationships`, `requests`, `notes`, `bot_chats` and `changes` (lists of rows). A merge has
        the `rows` that it deleted or changed, as they were before.

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: An id is neither a text nor an integer, or it is too long.
    """
    number = member_number(member_id)
    with long_running():
        records = await engine.fetch(
            EXPORT_PERSON, member_id=number, entity_ids=_entity_texts(entity_ids)
        )
    if not records:
        raise MemberNotFound(number)
    exported: dict[str, Any] = json.loads(records[0][0])
    return {part: content or [] for part, content in exported.items()}


async def erase(
    member_id: str | int,
    *,
    actor: str,
    entity_ids: Sequence[str | int] = (),
    reason: str | None = None,
    by_themselves: bool = False,
) -> bool:
    """Erase the personal data of a member for good, also from the audit log; the counts stay.

    Everything is erased, or nothing: the member and everybody who was merged into it, under each of
    their accounts. The number of a merged member leads to the member who has everything of it. The
    audit log keeps one entry with the actor and the reason.

    Keyed hashes of the accounts, made with DIRECTORY_SECRET_KEY, recognize the person: a banned one
    still can't join with any of them, and an import of an old export leaves them out. Somebody who
    was not banned may come back by themselves. If the key is not set, an import of an old export
    adds the person as a contact again.

    Args:
        member_id: The member's number, "#247" or 247.
        actor: The author of the change, for the audit log.
        entity_ids: The ids of the person's ElizaOS entities, beside those that are accounts of the
            member.
        reason: The reason of the erasure, for the audit log. It stays there, so it must not say
            anything about the person.
        by_themselves: Whether the member does it without a manager. If they may not
            (`requests.may_erase_themselves`), nothing is erased.

    Returns:
        Whether the data was erased.

    Raises:
        MemberNotFound: No member has this number.
        ConfigurationError: The member is banned, and DIRECTORY_SECRET_KEY is not set.
        NotAllowed: The database role lacks a privilege.
        InvalidInput: An id is neither a text nor an integer, or the actor is blank.
        DatabaseUnavailable: Other calls merged the member during each of ten attempts.
    """
    number, entities = member_number(member_id), _entity_texts(entity_ids)
    actor = required_actor(actor)
    with long_running():
        for _ in range(MAX_ERASURE_ATTEMPTS):
            with suppress(_PersonChanged):
                async with transaction():
                    is_erased = await _erase(
                        number, entities, actor, reason, by_themselves=by_themselves
                    )
                forget()
                return is_erased
    raise DatabaseUnavailable("The directory is busy. Try again in a moment.")


async def _erase(
    number: str, entities: list[str], actor: str, reason: str | None, *, by_themselves: bool
) -> bool:
    """Erase a person in the transaction of the caller, and return whether that was allowed.

    Raises:
        _PersonChanged: Another call merged members before these were locked.
    """
    # A roll-up that read the events before could store counts of the rooms afterwards.
    await engine.fetch(LOCK_MERGES)
    found = await _find_person(number, entities)
    await _run(LOCK_INVITATIONS, found)
    await _run(LOCK_MEMBERS, found)
    person = await _find_person(number, entities)
    if person["numbers"] != found["numbers"]:
        raise _PersonChanged
    if by_themselves and not (await _run(MAY_ERASE_THEMSELVES, person))[0]["may"]:
        return False
    change = {"actor": actor, "reason": None}
    await _run(ERASE_EVENTS, person)
    await _run(ERASE_INVITATIONS, person | change)
    await _run(ERASE_CODES_AND_CONVERSATIONS, person)
    # From here on new events of the member wait, and an account that was linked until now is known.
    await _run(LOCK_MEMBERS_FULLY, person)
    person = await _find_person(number, entities)
    await _run(ERASE_REQUESTS, person | change)
    await _run(ERASE_NOTES, person | change)
    await _run(ERASE_MEMBERS, person | change)
    # The second run erases the events that were recorded during the first one.
    await _run(ERASE_EVENTS, person)
    for statement in ERASE_ROOMS:
        await _run(statement, person)
    await roll_ups.count_room_spans_of(person["numbers"])
    await _run(ERASE_MERGES, person)
    await _run(ERASE_RELATIONSHIPS, person)
    await _run(ERASE_KNOWN_BOTS, person)
    await _run(REMEMBER_ERASED_ACCOUNTS, person)
    await _run(ERASE_AUDIT_ENTRIES, person | {"actor": actor, "reason": reason})
    return True


async def _find_person(number: str, entities: list[str]) -> dict[str, Any]:
    """Return the values of a person that the statements of an erasure have as parameters.

    Raises:
        MemberNotFound: No member has this number.
        ConfigurationError: The member is banned, and DIRECTORY_SECRET_KEY is not set.
    """
    records = await engine.fetch(FIND_PERSON, member_id=number, entity_ids=entities)
    if not records:
        raise MemberNotFound(number)
    person = dict(records[0])
    accounts = map(Account, person["platforms"], person["account_ids"])
    telegram_ids = [account.telegram_id for account in accounts]
    fingerprints = map(make_fingerprint, telegram_ids)
    return person | {
        "telegram_ids": telegram_ids,
        "room_ids": [*telegram_ids, *person["account_ids"]],
        "fingerprints": [text for text in fingerprints if text is not None],
        "erased_telegram_id": _make_erased_telegram_id(person["telegram_id"], person["status"]),
    }


async def _run(statement: Statement, values: dict[str, Any]) -> list[asyncpg.Record]:
    """Run a statement with those of the values that are its parameters."""
    return await engine.fetch(statement, **{name: values[name] for name in statement.parameters})


def _entity_texts(entity_ids: Sequence[str | int]) -> list[str]:
    return [entity_text(entity_id, "entity_ids") for entity_id in entity_ids]


def _make_erased_telegram_id(telegram_id: str, status: str) -> str:
    """Return the text that replaces a Telegram id.

    That of a banned member contains the fingerprint of the account, and that of any other member is
    a new random text. The text of an earlier erasure stays as it is.

    Raises:
        ConfigurationError: The member is banned, and DIRECTORY_SECRET_KEY is not set.
    """
    if telegram_id.startswith(RESERVED_PREFIXES):
        return telegram_id
    if status != MemberStatus.BANNED:
        return f"erased:{uuid4()}"
    fingerprint = make_fingerprint(telegram_id)
    if fingerprint is None:
        raise secret_key_required()
    return f"banned:{fingerprint}"
