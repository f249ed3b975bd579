"""Personal data: export everything that is stored about a person, and erase it.

Callers use it as `members.export` and `members.erase`.
"""

import json
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from community_directory.database import Statement, engine, long_running, transaction
from community_directory.errors import MemberNotFound
from community_directory.queries.bans import ban_fingerprint, secret_key_required
from community_directory.queries.relationships import entity_text
from community_directory.queries.values import ACTOR_CTE, member_number, required_actor
from community_directory.tables import MemberStatus

NOT_PERSONAL = None
"""The class of a column whose value says nothing about a person; an erasure leaves it as it is."""
IN_FUNCTION = "directory_audit_log_erase"
"""The class of a column that this function of the database erases: only its owner may change it."""

COLUMN_CLASSES: dict[str, dict[str, str | None]] = {
    "community_members": {
        "id": NOT_PERSONAL,
        "member_id": NOT_PERSONAL,
        "telegram_id": ":erased_telegram_id",
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
        # The id of a private chat is the person's own id.
        "room_id": "CASE room_id WHEN :telegram_id THEN 'erased' ELSE room_id END",
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
    "member_relationships": dict.fromkeys(
        ["id", "entity_id_a", "entity_id_b", "relationship_type", "content", "created_at"], "DELETE"
    ),
    "directory_bots": dict.fromkeys(["id", "telegram_id", "name", "created_at"], "DELETE"),
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
]
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


FORMER_USERNAMES = """ARRAY(
    SELECT lower(telegram_username) FROM community_members
    WHERE member_id = :member_id AND telegram_username IS NOT NULL
    UNION
    SELECT lower(username)
    FROM directory_audit_log, jsonb_array_elements_text(changes -> 'telegram_username') AS username
    WHERE member_id = :member_id AND table_name = 'community_members' AND username IS NOT NULL
)"""
"""The Telegram usernames that the member has now or had before, in lower case."""


def _concerns_member_sql(usernames: str) -> str:
    """Return the SQL condition that a member accepted an invitation, or that it is for them.

    `usernames` is the SQL of an array of the member's usernames, in lower case.
    """
    return f"(accepted_by = :member_id OR lower(invited_telegram_username) = ANY({usernames}))"


EXPORT_MEMBER = Statement(f"""
SELECT jsonb_build_object(
    'member', to_jsonb(member) - 'search_text',
    'invitations', (
        SELECT jsonb_agg(invitation ORDER BY created_at) FROM community_invitations AS invitation
        WHERE created_by = :member_id OR {_concerns_member_sql(FORMER_USERNAMES)}
    ),
    'participation', (
        SELECT jsonb_agg(event ORDER BY occurred_at) FROM member_participation AS event
        WHERE member_id = :member_id
    ),
    'highlights', (
        SELECT jsonb_agg(highlight ORDER BY highlight_date)
        FROM member_daily_highlights AS highlight WHERE member_id = :member_id
    ),
    'relationships', (
        SELECT jsonb_agg(relationship ORDER BY created_at)
        FROM member_relationships AS relationship
        WHERE entity_id_a = ANY(:entity_ids) OR entity_id_b = ANY(:entity_ids)
    ),
    'changes', (
        SELECT jsonb_agg(entry ORDER BY entry.id) FROM directory_audit_log AS entry
        WHERE entry.member_id = :member_id
    )
)
FROM community_members AS member WHERE member_id = :member_id
""")

_GET_IDENTITY = f"""
SELECT telegram_id, status, {FORMER_USERNAMES} AS usernames
FROM community_members WHERE member_id = :member_id
"""
GET_IDENTITY = Statement(_GET_IDENTITY)
# NO KEY allows other transactions to record events of the member while earlier ones are rewritten.
LOCK_IDENTITY = Statement(f"{_GET_IDENTITY} FOR NO KEY UPDATE")
# An erasure locks invitations before the member, as a redemption does: the opposite order could
# cause a deadlock.
LOCK_INVITATIONS = Statement(f"""
SELECT FROM community_invitations WHERE {_concerns_member_sql(":usernames")}
ORDER BY invitation_id FOR UPDATE
""")
ERASE_EVENTS = Statement(f"""
UPDATE member_participation SET {_assignments_sql("member_participation")}
WHERE member_id = :member_id AND {_differs_sql("member_participation")}
""")
ERASE_INVITATIONS = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_invitations SET {_assignments_sql("community_invitations")} FROM actor
WHERE {_concerns_member_sql(":usernames")}
""")
ERASE_MEMBER = Statement(f"""
WITH {ACTOR_CTE}
UPDATE community_members SET {_assignments_sql("community_members")} FROM actor
WHERE member_id = :member_id
""")
ERASE_RELATIONSHIPS = Statement("""
DELETE FROM member_relationships
WHERE entity_id_a = ANY(:entity_ids) OR entity_id_b = ANY(:entity_ids)
""")
# It runs before the accounts are deleted.
ERASE_LINK_CODES = Statement("""
WITH numbers AS (
    SELECT member_id FROM community_members
    WHERE member_id = :member_id OR merged_into = :member_id
), codes AS (
    DELETE FROM directory_link_codes WHERE member_id IN (SELECT member_id FROM numbers)
), tries AS (
    DELETE FROM directory_link_tries AS tries USING member_accounts AS account
    WHERE account.member_id IN (SELECT member_id FROM numbers)
        AND (tries.platform, tries.account_id) = (account.platform, account.account_id)
)
DELETE FROM directory_proved_pairs
WHERE member_a IN (SELECT member_id FROM numbers) OR member_b IN (SELECT member_id FROM numbers)
""")
# A known bot that becomes a member leaves the table; an import at that time can add it again.
ERASE_KNOWN_BOT = Statement("DELETE FROM directory_bots WHERE telegram_id = :telegram_id")
ERASE_AUDIT_ENTRIES = Statement(
    "SELECT public.directory_audit_log_erase(:member_id, :actor, :reason)"
)


async def export(member_id: str | int, *, entity_ids: Sequence[str | int] = ()) -> dict[str, Any]:
    """Return everything that is stored about a person, removed or not, as JSON values.

    Args:
        member_id: The member's number, "#247" or 247.
        entity_ids: The ids of the person's ElizaOS entities; only ElizaOS knows them.

    Returns:
        A dictionary with the keys `member` (a dictionary of columns), `invitations`,
        `participation`, `highlights`, `relationships` and `changes` (lists of rows).

    Raises:
        MemberNotFound: No member has this number.
        InvalidInput: An id is neither a text nor an integer, or it is too long.
    """
    number = member_number(member_id)
    with long_running():
        records = await engine.fetch(
            EXPORT_MEMBER, member_id=number, entity_ids=_entity_texts(entity_ids)
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
) -> None:
    """Erase the personal data of a member for good, also from the audit log; the counts stay.

    Everything is erased, or nothing. The audit log keeps one entry with the actor and the reason. A
    banned person still can't join: a keyed hash of their Telegram id, made with
    DIRECTORY_SECRET_KEY, recognizes them. If an old export is imported later, the import adds the
    person as a contact again.

    Args:
        member_id: The member's number, "#247" or 247.
        actor: The author of the change, for the audit log.
        entity_ids: The ids of the person's ElizaOS entities; only ElizaOS knows them.
        reason: The reason of the erasure, for the audit log. It stays there, so it must not say
            anything about the person.

    Raises:
        MemberNotFound: No member has this number.
        ConfigurationError: The member is banned, and DIRECTORY_SECRET_KEY is not set.
        NotAllowed: The database role lacks a privilege.
        InvalidInput: An id is neither a text nor an integer, or the actor is blank.
    """
    number, entities = member_number(member_id), _entity_texts(entity_ids)
    actor = required_actor(actor)
    with long_running():
        async with transaction():
            identity = await engine.fetch(GET_IDENTITY, member_id=number)
            if not identity:
                raise MemberNotFound(number)
            await engine.fetch(
                LOCK_INVITATIONS, member_id=number, usernames=identity[0]["usernames"]
            )
            [(telegram_id, status, usernames)] = await engine.fetch(LOCK_IDENTITY, member_id=number)
            erased_id = _make_erased_telegram_id(telegram_id, status)
            await engine.fetch(ERASE_EVENTS, member_id=number, telegram_id=telegram_id)
            await engine.fetch(
                ERASE_INVITATIONS, member_id=number, usernames=usernames, actor=actor, reason=None
            )
            await engine.fetch(ERASE_LINK_CODES, member_id=number)
            # From here on new events of the member wait: an update of telegram_id, a unique key,
            # takes a stronger lock, for which the foreign key check of an event must wait.
            await engine.fetch(
                ERASE_MEMBER,
                member_id=number,
                erased_telegram_id=erased_id,
                actor=actor,
                reason=None,
            )
            # The second run erases the events that were recorded during the first one.
            await engine.fetch(ERASE_EVENTS, member_id=number, telegram_id=telegram_id)
            await engine.fetch(ERASE_RELATIONSHIPS, entity_ids=entities)
            await engine.fetch(ERASE_KNOWN_BOT, telegram_id=telegram_id)
            await engine.fetch(ERASE_AUDIT_ENTRIES, member_id=number, actor=actor, reason=reason)


def _entity_texts(entity_ids: Sequence[str | int]) -> list[str]:
    return [entity_text(entity_id, "entity_ids") for entity_id in entity_ids]


def _make_erased_telegram_id(telegram_id: str, status: str) -> str:
    """Return the text that replaces a Telegram id.

    It is the ban fingerprint of a banned member, and a new random text for any other member. A
    fingerprint stays as it is, so that a second erasure does not lose the ban.

    Raises:
        ConfigurationError: The member is banned, and DIRECTORY_SECRET_KEY is not set.
    """
    if telegram_id.startswith("banned:"):
        return telegram_id
    if status != MemberStatus.BANNED:
        return f"erased:{uuid4()}"
    fingerprint = ban_fingerprint(telegram_id)
    if fingerprint is None:
        raise secret_key_required()
    return fingerprint
