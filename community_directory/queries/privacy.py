"""What is stored of a person: handed to them, or taken out. Callers use it as `members.export` and `members.erase`."""

import hmac
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from uuid import uuid4

from community_directory.database import engine, transaction
from community_directory.errors import ConfigurationError, MemberNotFound
from community_directory.queries.relationships import entity_text
from community_directory.queries.values import ACTOR, member_number, required_actor
from community_directory.settings import load_settings
from community_directory.tables import MemberStatus

NOT_PERSONAL = None
"""The class of a column that says nothing of a person by itself; the others name what an erased one holds."""

COLUMNS: dict[str, dict[str, str | None]] = {
    "community_members": {
        "id": NOT_PERSONAL,
        "member_id": NOT_PERSONAL,
        "telegram_id": "$4",
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
    },
    "community_invitations": {
        "invitation_id": NOT_PERSONAL,
        "invitation_code": NOT_PERSONAL,
        "created_by": NOT_PERSONAL,
        "invited_telegram_username": "NULL",
        # Without its name an open invitation would be anybody's.
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
        # A private chat bears the person's own id.
        "room_id": "CASE room_id WHEN $2 THEN 'erased' ELSE room_id END",
        # What the highlights are counted from.
        "event_metadata": "CASE WHEN event_metadata ? 'duration_seconds'"
        " THEN jsonb_build_object('duration_seconds', event_metadata -> 'duration_seconds') END",
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
    # These rows go as a whole.
    "member_relationships": dict.fromkeys(
        ["id", "entity_id_a", "entity_id_b", "relationship_type", "content", "created_at"], "DELETE"
    ),
    "directory_audit_log": {
        "id": NOT_PERSONAL,
        "changed_at": NOT_PERSONAL,
        "actor": "CASE WHEN lower(actor) = ANY($2) THEN 'erased' ELSE actor END",
        "reason": "CASE WHEN member_id = $1 OR row_id = ANY($3) THEN NULL ELSE reason END",
        "action": NOT_PERSONAL,
        "table_name": NOT_PERSONAL,
        "row_id": NOT_PERSONAL,
        "member_id": NOT_PERSONAL,
        "changes": """(
            SELECT jsonb_object_agg(field, CASE
                WHEN field = ANY($4) AND (member_id = $1 AND table_name = 'community_members' OR row_id = ANY($3))
                THEN '[null, null]' ELSE change
            END)
            FROM jsonb_each(changes) AS changed(field, change)
        )""",
    },
}
"""Every column of every table, and what it holds once the person is erased: a piece of SQL."""

PERSONAL = [
    column
    for table in ("community_members", "community_invitations")
    for column, erased in COLUMNS[table].items()
    if erased is not NOT_PERSONAL and column not in ("status", "deleted_at")
]
"""The fields that the audit log forgets."""


def _assignments(table: str) -> str:
    return ", ".join(f"{column} = {erased}" for column, erased in _erased(table).items())


def _differs(table: str) -> str:
    """Return the condition, in SQL, that a row holds anything that the assignments change."""
    columns, erased = ", ".join(_erased(table)), ", ".join(_erased(table).values())
    return f"({columns}) IS DISTINCT FROM ({erased})"


def _erased(table: str) -> dict[str, str]:
    return {column: erased for column, erased in COLUMNS[table].items() if erased is not None}


USERNAMES = """ARRAY(
    SELECT lower(telegram_username) FROM community_members WHERE member_id = $1 AND telegram_username IS NOT NULL
    UNION
    SELECT lower(username)
    FROM directory_audit_log, jsonb_array_elements_text(changes -> 'telegram_username') AS username
    WHERE member_id = $1 AND table_name = 'community_members' AND username IS NOT NULL
)"""


def _concerns(member_id: str, usernames: str) -> str:
    """Return the condition, in SQL, of the invitations that concern a person without belonging to them.

    They name the person, by the username of today or of before, or have let them in.
    """
    return f"(accepted_by = {member_id} OR lower(invited_telegram_username) = ANY({usernames}))"


EXPORT = f"""
SELECT jsonb_build_object(
    'member', to_jsonb(member) - 'search_text',
    'invitations', (
        SELECT jsonb_agg(invitation ORDER BY created_at) FROM community_invitations AS invitation
        WHERE created_by = $1 OR {_concerns("$1", USERNAMES)}
    ),
    'participation', (
        SELECT jsonb_agg(event ORDER BY occurred_at) FROM member_participation AS event WHERE member_id = $1
    ),
    'highlights', (
        SELECT jsonb_agg(highlight ORDER BY highlight_date) FROM member_daily_highlights AS highlight
        WHERE member_id = $1
    ),
    'relationships', (
        SELECT jsonb_agg(relationship ORDER BY created_at) FROM member_relationships AS relationship
        WHERE entity_id_a = ANY($2) OR entity_id_b = ANY($2)
    ),
    'changes', (
        SELECT jsonb_agg(entry ORDER BY entry.id) FROM directory_audit_log AS entry WHERE entry.member_id = $1
    )
)
FROM community_members AS member WHERE member_id = $1
"""

PERSON = f"SELECT telegram_id, status, {USERNAMES} AS usernames FROM community_members WHERE member_id = $1"
# Invitations before members, as a redemption does: the other way round, the two would wait for each other.
LOCK_INVITATIONS = f"""
SELECT FROM community_invitations WHERE {_concerns("$1", "$2")} ORDER BY invitation_id FOR UPDATE
"""
# NO KEY, so that nobody who records an event of the member waits while their events are rewritten.
LOCK_MEMBER = f"{PERSON} FOR NO KEY UPDATE"
ERASE_EVENTS = f"""
UPDATE member_participation SET {_assignments("member_participation")}
WHERE member_id = $1 AND {_differs("member_participation")}
"""
ERASE_INVITATIONS = f"""
WITH {ACTOR}
UPDATE community_invitations SET {_assignments("community_invitations")} FROM actor
WHERE {_concerns("$3", "$4")} RETURNING invitation_id
"""
ERASE_MEMBER = f"""
WITH {ACTOR}
UPDATE community_members SET {_assignments("community_members")} FROM actor WHERE member_id = $3
"""
ERASE_RELATIONSHIPS = (
    "DELETE FROM member_relationships WHERE entity_id_a = ANY($1) OR entity_id_b = ANY($1)"
)
ERASE_LOG = f"""
UPDATE directory_audit_log SET {_assignments("directory_audit_log")}
WHERE member_id = $1 OR row_id = ANY($3) OR lower(actor) = ANY($2)
"""


async def export(member_id: str | int, *, entity_ids: Sequence[str | int] = ()) -> dict[str, Any]:
    """Return all that is stored of a person, as JSON: profile, invitations, events, highlights, relationships, changes.

    Removed people are found, too. ElizaOS knows which `entity_ids` are theirs. Raises `MemberNotFound`,
    `InvalidInput`.
    """
    number = member_number(member_id)
    records = await engine.fetch(EXPORT, number, _entities(entity_ids))
    if not records:
        raise MemberNotFound(number)
    exported: dict[str, Any] = json.loads(records[0][0])
    return {part: content or [] for part, content in exported.items()}


async def erase(member_id: str | int, *, actor: str, entity_ids: Sequence[str | int] = ()) -> None:
    """Take a person out of the directory for good: their data goes, also out of the audit log; the counts stay.

    A banned person is still refused at redemption, by a keyed hash of their Telegram id: that needs the setting
    DIRECTORY_SECRET_KEY, or `ConfigurationError` is raised. All or nothing. Only the owner of the tables may change
    the log, so a role without that right can't erase. An import of an old export brings them back as a contact.
    Raises `MemberNotFound`, `InvalidInput`.
    """
    number, entities, actor = member_number(member_id), _entities(entity_ids), required_actor(actor)
    async with transaction():
        person = await engine.fetch(PERSON, number)
        if not person:
            raise MemberNotFound(number)
        await engine.fetch(LOCK_INVITATIONS, number, person[0]["usernames"])
        [(telegram_id, status, usernames)] = await engine.fetch(LOCK_MEMBER, number)
        erased_name = _erased_name(telegram_id, status)
        await engine.fetch(ERASE_EVENTS, number, telegram_id)
        invitations = await engine.fetch(ERASE_INVITATIONS, actor, None, number, usernames)
        # From here on new events of the member wait, because the Telegram id is a key.
        await engine.fetch(ERASE_MEMBER, actor, None, number, erased_name)
        # Once more, for the events that came while the others were rewritten.
        await engine.fetch(ERASE_EVENTS, number, telegram_id)
        await engine.fetch(ERASE_RELATIONSHIPS, entities)
        rows = [record["invitation_id"] for record in invitations]
        names = [
            telegram_id,
            f"telegram:{telegram_id}",
            *usernames,
            *(f"@{username}" for username in usernames),
        ]
        await engine.fetch(ERASE_LOG, number, names, rows, PERSONAL)


def _entities(entity_ids: Sequence[str | int]) -> list[str]:
    return [entity_text(entity_id, "entity_ids") for entity_id in entity_ids]


def _erased_name(telegram_id: str, status: str) -> str:
    """What stands in place of a Telegram id: for a banned person what `ban_fingerprint` finds again, else anything."""
    if telegram_id.startswith("banned:"):
        return telegram_id
    if status != MemberStatus.BANNED:
        return f"erased:{uuid4()}"
    name = ban_fingerprint(telegram_id)
    if name is None:
        raise secret_key_required()
    return name


def secret_key_required() -> ConfigurationError:
    """The error for who has no key where one is needed."""
    return ConfigurationError(
        "Set DIRECTORY_SECRET_KEY: without it, a banned person who was erased could come back."
    )


def ban_check_impossible(banned_as: str) -> str:
    """A condition in SQL: banned people were erased, and without a key nobody can tell whether this is one of them."""
    return f"({banned_as}::text IS NULL AND EXISTS (SELECT 1 FROM community_members WHERE telegram_id LIKE 'banned:%'))"


def ban_fingerprint(telegram_id: str) -> str | None:
    """What a banned and erased person is stored under; None when no key is set, see `ban_check_impossible`."""
    key = load_settings().secret_key
    if key is None:
        return None
    digest = hmac.digest(
        key.get_secret_value().encode(), str(telegram_id).encode(errors="surrogatepass"), sha256
    )
    return f"banned:{digest.hex()}"
