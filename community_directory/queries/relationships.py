"""Relationships from one ElizaOS entity to another, at most one of each type.

A person has an entity for each agent that has met them, and other programs use the member's number
in place of an entity. `of_member` follows all of these.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine, transaction
from community_directory.elizaos import UUID_PATTERN, account_entity_ids
from community_directory.errors import InvalidInput, MemberNotFound, text_too_long
from community_directory.queries.observation import observe_helpers
from community_directory.queries.values import (
    Profile,
    as_json,
    check_text,
    check_texts,
    id_text,
    member_number,
)
from community_directory.tables import MemberRelationship, Platform

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

FIND_ENTITIES = Statement("""
WITH person AS (
    -- the member, or the one with whom they were merged
    SELECT coalesce(merged_into, member_id) AS member_id
    FROM community_members WHERE member_id = :member_id
)
SELECT member.member_id, account.platform, account.account_id,
    account.details ->> 'agent_id' AS agent_id, account.details ->> 'seed' AS seed,
    ARRAY(
        SELECT merged.member_id FROM community_members AS merged
        WHERE merged.merged_into = member.member_id
    ) AS former_numbers
FROM person
JOIN community_members AS member USING (member_id)
LEFT JOIN member_accounts AS account ON account.member_id = member.member_id
    AND account.platform IN ('elizaos', 'telegram', 'discord')
WHERE member.deleted_at IS NULL
ORDER BY account.platform DESC, account.linked_at, account.account_id
""")


def _member_sql(entity_id: str) -> str:
    """Return the SQL of the number of the member to whom an entity belongs, or NULL."""
    return f"""coalesce(
        CASE WHEN {entity_id} = ANY(:entity_ids) THEN :member_id END,
        (SELECT member_id FROM member_accounts
            WHERE platform = 'elizaos' AND account_id = {entity_id}),
        (SELECT coalesce(merged_into, member_id) FROM community_members
            WHERE member_id = {entity_id})
    )"""


LIST_EDGES = Statement(f"""
WITH stored AS (
    SELECT {RELATIONSHIP_COLUMNS}, {_member_sql("entity_id_a")} AS member_id_a,
        {_member_sql("entity_id_b")} AS member_id_b
    FROM member_relationships
    WHERE (entity_id_a = ANY(:entity_ids) OR entity_id_b = ANY(:entity_ids))
        AND (:relationship_type::text IS NULL OR relationship_type = :relationship_type)
), invited AS (
    -- Who invited whom: the invitations, and inviters that were named without an invitation. The
    -- same two people are one edge.
    SELECT DISTINCT ON (inviter, invited) inviter, invited, invited_at
    FROM (
        SELECT created_by, accepted_by, accepted_at, 1 FROM community_invitations
        WHERE status = 'accepted' AND (created_by = :member_id OR accepted_by = :member_id)
        UNION ALL
        SELECT invited_by, member_id, created_at, 2 FROM community_members
        WHERE merged_into IS NULL AND (invited_by = :member_id
            OR member_id = :member_id AND invited_by IS NOT NULL)
    ) AS named (inviter, invited, invited_at, priority)
    WHERE coalesce(:relationship_type, 'INVITED') = 'INVITED'
    ORDER BY inviter, invited, priority, invited_at
)
SELECT * FROM stored WHERE member_id_a IS DISTINCT FROM member_id_b
UNION ALL
SELECT NULL, inviter, invited, 'INVITED', '{{}}', invited_at, inviter, invited FROM invited
WHERE NOT EXISTS (
    SELECT FROM stored WHERE relationship_type = 'INVITED'
        AND member_id_a = inviter AND member_id_b = invited
)
ORDER BY created_at DESC, id, entity_id_a, entity_id_b LIMIT :limit
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


@dataclass(frozen=True, slots=True)
class Edge:
    """A relationship with the members to whom its two entities belong.

    It leads from entity a to entity b. An end that belongs to no member has no number.
    """

    id: UUID | None
    """The id of the stored relationship; None if an invitation stands for it."""
    entity_id_a: str
    entity_id_b: str
    relationship_type: str
    content: Profile
    created_at: datetime
    member_id_a: str | None
    member_id_b: str | None


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity that stands for a member in relationships."""

    entity_id: str
    """A UUID in lower case, or the number of the member or of one who was merged with them."""
    agent_id: str | None = None
    """The agent whose entity it is, if that is known."""
    seed: str | None = None
    """The text from which the agent made the UUID, if that is known."""
    is_seen: bool = False
    """Whether the entity is an account of the member. Otherwise its id is computed."""


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


async def of_member(
    member_id: str | int, *, relationship_type: str | None = None, agent_id: str | None = None
) -> list[Edge]:
    """List the relationships of a member, whichever entity they are stored for.

    The newest come first, at most 1,000. They are those of all entities that `entities_of` returns,
    and an INVITED edge from the inviter and to each person who was invited, which invitations hold.

    Args:
        member_id: The member's number, "#247" or 247. The number of a member who was merged leads
            to the other one.
        relationship_type: The type of the listed relationships; None lists every type.
        agent_id: The agent whose entity ids are computed, too.

    Raises:
        MemberNotFound: No member has this number, or they were removed.
        InvalidInput: A value has the wrong type or is too long.
    """
    check_texts(MemberRelationship, relationship_type=relationship_type)
    async with transaction():
        number, entities = await _find_entities(member_id, agent_id)
        records = await engine.fetch(
            LIST_EDGES,
            member_id=number,
            entity_ids=[entity.entity_id for entity in entities],
            relationship_type=relationship_type,
            limit=MAX_LISTED_RELATIONSHIPS,
        )
    return [Edge(**{**record, "content": json.loads(record["content"])}) for record in records]


async def entities_of(member_id: str | int, *, agent_id: str | None = None) -> list[Entity]:
    """List the entities that can stand for a member in relationships.

    The entities that are accounts of the member come first, then those that can be computed, then
    the member's number and those of members who were merged with them. An id is computed from each
    Telegram and Discord account, for the given agent and those of the first ones.

    Args:
        member_id: The member's number, "#247" or 247. The number of a member who was merged leads
            to the other one.
        agent_id: The id of the agent whose entities come first, spelled as its character has it.

    Raises:
        MemberNotFound: No member has this number, or they were removed.
        InvalidInput: A value has the wrong type or is too long.
    """
    return (await _find_entities(member_id, agent_id))[1]


async def _find_entities(member_id: str | int, agent_id: str | None) -> tuple[str, list[Entity]]:
    number = member_number(member_id)
    check_text("agent_id", agent_id, MAX_ENTITY_ID_LENGTH)
    if agent_id is not None and not UUID_PATTERN.fullmatch(agent_id):
        raise InvalidInput(
            "The id of an agent is a UUID: string_to_uuid makes it of the name.", field="agent_id"
        )
    records = await engine.fetch(FIND_ENTITIES, member_id=number)
    if not records:
        raise MemberNotFound(number)
    present, former = records[0]["member_id"], records[0]["former_numbers"]
    seen = [
        Entity(record["account_id"], record["agent_id"], record["seed"], is_seen=True)
        for record in records
        if record["platform"] == Platform.ELIZAOS
    ]
    accounts = [
        record["account_id"]
        for record in records
        if record["platform"] in (Platform.TELEGRAM, Platform.DISCORD)
    ]
    numbers = [Entity(text) for text in (present, *sorted(former))]
    return present, order_entities(seen, accounts, numbers, agent_id)


def order_entities(
    seen: Iterable[Entity], accounts: Sequence[str], numbers: Iterable[Entity], agent_id: str | None
) -> list[Entity]:
    """Return the entities of a member, each once: seen ones, computed ones, and the numbers.

    Args:
        seen: The entities that are accounts of the member.
        accounts: The ids of the member's accounts on other platforms.
        numbers: The entities that are numbers.
        agent_id: The agent whose entities come first.
    """
    ordered = sorted(seen, key=lambda entity: not _is_agent(entity.agent_id, agent_id))
    agents = dict.fromkeys(
        known for known in (agent_id, *(entity.agent_id for entity in ordered)) if known
    )
    computed = [
        Entity(made.lower(), agent, seed)
        for agent in agents
        for account in accounts
        for made, seed in account_entity_ids(agent, account)
    ]
    found: dict[str, Entity] = {}
    for entity in (*ordered, *computed, *numbers):
        found.setdefault(entity.entity_id, entity)
    return list(found.values())


def _is_agent(known: str | None, agent_id: str | None) -> bool:
    """Return whether two ids of agents are the same; UUIDs are in any case."""
    return None not in (known, agent_id) and str(known).lower() == str(agent_id).lower()


def entity_text(entity_id: str | int, field: str) -> str:
    """Return the id of an ElizaOS entity as the text that is stored: a UUID in lower case.

    Raises:
        InvalidInput: The id is neither a text nor an integer, or it is longer than 255 characters.
    """
    text = id_text(entity_id, field)
    if len(text) > MAX_ENTITY_ID_LENGTH:
        raise text_too_long(field, len(text), MAX_ENTITY_ID_LENGTH)
    return text.lower() if UUID_PATTERN.fullmatch(text) else text


def _relationship_from(record: asyncpg.Record) -> Relationship:
    return Relationship(**{**record, "content": json.loads(record["content"])})


observe_helpers(globals())
