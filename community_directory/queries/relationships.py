"""Relationships between ElizaOS entities: directed, one of each type between two of them."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from community_directory.database import engine
from community_directory.errors import text_too_long
from community_directory.queries.values import Profile, as_json, check_texts, id_text
from community_directory.tables import MemberRelationship

COLUMNS = "id, entity_id_a, entity_id_b, relationship_type, content, created_at"

# Linking twice is one link, with what was said last of it.
LINK = f"""
INSERT INTO member_relationships (entity_id_a, entity_id_b, relationship_type, content)
VALUES ($1, $2, $3, $4::jsonb)
ON CONFLICT (entity_id_a, entity_id_b, relationship_type) DO UPDATE SET content = EXCLUDED.content
RETURNING {COLUMNS}
"""

UNLINK = """
DELETE FROM member_relationships WHERE entity_id_a = $1 AND entity_id_b = $2 AND relationship_type = $3 RETURNING id
"""

OF = f"""
SELECT {COLUMNS} FROM member_relationships
WHERE (entity_id_a = $1 OR entity_id_b = $1) AND ($2::text IS NULL OR relationship_type = $2)
ORDER BY created_at DESC, id LIMIT $3
"""

# Piccolo's columns of text may have no length; this one has.
MAX_ENTITY_ID_LENGTH = cast("int", MemberRelationship.entity_id_a.length)

MOST = 1000
"""The links that `of` answers with at the most."""


@dataclass(frozen=True, slots=True)
class Relationship:
    """A link that leads from entity a to entity b."""

    id: UUID
    entity_id_a: str
    entity_id_b: str
    relationship_type: str
    content: Profile
    created_at: datetime


async def link(
    entity_id_a: str | int, entity_id_b: str | int, relationship_type: str, content: Profile
) -> Relationship:
    """Say that one entity INVITED, MENTORED, … another; a second time replaces the content. Raises `InvalidInput`."""
    ends = entity_text(entity_id_a, "entity_id_a"), entity_text(entity_id_b, "entity_id_b")
    check_texts(MemberRelationship, relationship_type=relationship_type)
    records = await engine.fetch(LINK, *ends, relationship_type, as_json(content, field="content"))
    return _relationship(records[0])


async def unlink(entity_id_a: str | int, entity_id_b: str | int, relationship_type: str) -> bool:
    """Take a link back, and say whether there was one. Raises `InvalidInput`."""
    ends = entity_text(entity_id_a, "entity_id_a"), entity_text(entity_id_b, "entity_id_b")
    check_texts(MemberRelationship, relationship_type=relationship_type)
    return bool(await engine.fetch(UNLINK, *ends, relationship_type))


async def of(entity_id: str | int, *, relationship_type: str | None = None) -> list[Relationship]:
    """Return the newest 1,000 links that start from the entity or lead to it, newest first. Raises `InvalidInput`."""
    entity = entity_text(entity_id, "entity_id")
    check_texts(MemberRelationship, relationship_type=relationship_type)
    return [
        _relationship(record) for record in await engine.fetch(OF, entity, relationship_type, MOST)
    ]


def entity_text(entity_id: str | int, field: str) -> str:
    """Return an entity's id as the text that is stored. Raises `InvalidInput`."""
    text = id_text(entity_id, field)
    if len(text) > MAX_ENTITY_ID_LENGTH:
        raise text_too_long(field, len(text), MAX_ENTITY_ID_LENGTH)
    return text


def _relationship(record: Any) -> Relationship:
    return Relationship(**{**record, "content": json.loads(record["content"])})
