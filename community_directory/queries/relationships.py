"""Relationships from one ElizaOS entity to another, at most one of each type."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine
from community_directory.errors import text_too_long
from community_directory.queries.values import Profile, as_json, check_texts, id_text
from community_directory.tables import MemberRelationship

RELATIONSHIP_COLUMNS = "id, entity_id_a, entity_id_b, relationship_type, content, created_at"

LINK_ENTITIES = Statement(f"""
INSERT INTO member_relationships (entity_id_a, entity_id_b, relationship_type, content)
VALUES (:entity_id_a, :entity_id_b, :relationship_type, :content::jsonb)
ON CONFLICT (entity_id_a, entity_id_b, relationship_type) DO UPDATE SET content = EXCLUDED.content
RETURNING {RELATIONSHIP_COLUMNS}
""")

UNLINK_ENTITIES = Statement("""
DELETE FROM member_relationships
WHERE entity_id_a = :entity_id_a AND entity_id_b = :entity_id_b
    AND relationship_type = :relationship_type
RETURNING id
""")

LIST_RELATIONSHIPS = Statement(f"""
SELECT {RELATIONSHIP_COLUMNS} FROM member_relationships
WHERE (entity_id_a = :entity_id OR entity_id_b = :entity_id)
    AND (:relationship_type::text IS NULL OR relationship_type = :relationship_type)
ORDER BY created_at DESC, id LIMIT :limit
""")

# Piccolo's type allows columns without a length; this one has a length.
MAX_ENTITY_ID_LENGTH = cast("int", MemberRelationship.entity_id_a.length)

MAX_LISTED_RELATIONSHIPS = 1000
"""The maximum number of relationships that `list_for` returns."""


@dataclass(frozen=True, slots=True)
class Relationship:
    """A relationship that leads from entity a to entity b."""

    id: UUID
    entity_id_a: str
    entity_id_b: str
    relationship_type: str
    content: Profile
    created_at: datetime


async def link(
    entity_id_a: str | int, entity_id_b: str | int, relationship_type: str, content: Profile
) -> Relationship:
    """Link two entities by a relationship such as INVITED or MENTORED.

    If the same relationship exists, its content is replaced.

    Args:
        entity_id_a: The entity that the relationship leads from.
        entity_id_b: The entity that it leads to.
        relationship_type: An upper-case name such as "MENTORED".
        content: A JSON object with details of the relationship.

    Raises:
        InvalidInput: A value can't be stored, or both entities are the same.
    """
    check_texts(MemberRelationship, relationship_type=relationship_type)
    records = await engine.fetch(
        LINK_ENTITIES,
        entity_id_a=entity_text(entity_id_a, "entity_id_a"),
        entity_id_b=entity_text(entity_id_b, "entity_id_b"),
        relationship_type=relationship_type,
        content=as_json(content, field="content"),
    )
    return _relationship_from(records[0])


async def unlink(entity_id_a: str | int, entity_id_b: str | int, relationship_type: str) -> bool:
    """Delete the relationship of this type that leads from entity a to entity b.

    Returns:
        True if there was such a relationship, else False.

    Raises:
        InvalidInput: A value has the wrong type or is too long.
    """
    check_texts(MemberRelationship, relationship_type=relationship_type)
    records = await engine.fetch(
        UNLINK_ENTITIES,
        entity_id_a=entity_text(entity_id_a, "entity_id_a"),
        entity_id_b=entity_text(entity_id_b, "entity_id_b"),
        relationship_type=relationship_type,
    )
    return bool(records)


async def list_for(
    entity_id: str | int, *, relationship_type: str | None = None
) -> list[Relationship]:
    """List the relationships that lead from or to an entity, newest first, at most 1,000.

    Args:
        entity_id: The ElizaOS id of the entity.
        relationship_type: The type of the listed relationships; None lists every type.

    Raises:
        InvalidInput: A value has the wrong type or is too long.
    """
    check_texts(MemberRelationship, relationship_type=relationship_type)
    records = await engine.fetch(
        LIST_RELATIONSHIPS,
        entity_id=entity_text(entity_id, "entity_id"),
        relationship_type=relationship_type,
        limit=MAX_LISTED_RELATIONSHIPS,
    )
    return [_relationship_from(record) for record in records]


def entity_text(entity_id: str | int, field: str) -> str:
    """Return the id of an ElizaOS entity as the text that is stored.

    Raises:
        InvalidInput: The id is neither a text nor an integer, or it is longer than 255 characters.
    """
    text = id_text(entity_id, field)
    if len(text) > MAX_ENTITY_ID_LENGTH:
        raise text_too_long(field, len(text), MAX_ENTITY_ID_LENGTH)
    return text


def _relationship_from(record: asyncpg.Record) -> Relationship:
    return Relationship(**{**record, "content": json.loads(record["content"])})
