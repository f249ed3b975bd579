"""The tables of ElizaOS that the exchange of relationships uses, as both generations make them."""

import json
from dataclasses import dataclass

import asyncpg

from community_directory.elizaos import entity_id, string_to_uuid

AGENT_NAME = "Kukulcán"
AGENT = string_to_uuid(AGENT_NAME)
CAMEL_CASE = ("sourceEntityId", "targetEntityId", "agentId")
"""The columns of plugin-sql 1.6."""
SNAKE_CASE = ("source_entity_id", "target_entity_id", "agent_id")
"""The columns of plugin-sql 1.7 and later."""

TABLES = """
CREATE TABLE agents (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL);
CREATE TABLE entities (
    id uuid PRIMARY KEY,
    agent_id uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    created_at timestamp NOT NULL DEFAULT now(),
    names text[] NOT NULL DEFAULT '{{}}',
    metadata jsonb NOT NULL DEFAULT '{{}}',
    CONSTRAINT id_agent_id_unique UNIQUE (id, agent_id)
);
CREATE TABLE relationships (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    "{0}" uuid NOT NULL REFERENCES entities ON DELETE CASCADE,
    "{1}" uuid NOT NULL REFERENCES entities ON DELETE CASCADE,
    "{2}" uuid NOT NULL REFERENCES agents ON DELETE CASCADE,
    tags text[],
    metadata jsonb,
    CONSTRAINT unique_relationship UNIQUE ("{0}", "{1}", "{2}")
);
"""


def person(seed: str | int) -> str:
    """Return the id of the agent's entity for an account."""
    return entity_id(AGENT, seed)


@dataclass(frozen=True)
class AgentTables:
    """The tables of an agent in a database of their own."""

    url: str
    connection: asyncpg.Connection
    columns: tuple[str, str, str]

    async def create(self, schema: str | None = None) -> None:
        """Create the tables with the agent."""
        if schema:
            await self.connection.execute(
                f"CREATE SCHEMA {schema}; SET search_path = {schema}, public"
            )
        await self.connection.execute(TABLES.format(*self.columns))
        await self.connection.execute(
            "INSERT INTO agents (id, name) VALUES ($1, $2)", AGENT, AGENT_NAME
        )

    async def relate(
        self,
        source: str,
        target: str,
        tags: list[str] | None,
        metadata: object,
        *,
        agent: str = AGENT,
    ) -> None:
        """Insert a relationship of an agent, and its entities if they are missing."""
        await self.connection.executemany(
            "INSERT INTO entities (id, agent_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            [(source, agent), (target, agent)],
        )
        await self.connection.execute(
            'INSERT INTO relationships ("{}", "{}", "{}", tags, metadata)'
            " VALUES ($1, $2, $3, $4, $5)".format(*self.columns),
            source,
            target,
            agent,
            tags,
            None if metadata is None else json.dumps(metadata),
        )

    async def relationships(self) -> dict[tuple[str, str], tuple[list[str], object]]:
        """Return the tags and the metadata of each relationship of the agent, by its entities."""
        source, target, agent = self.columns
        found = await self.connection.fetch(
            f'SELECT "{source}"::text, "{target}"::text, tags, metadata FROM relationships'
            f' WHERE "{agent}" = $1',
            AGENT,
        )
        return {(a, b): (tags, json.loads(metadata)) for a, b, tags, metadata in found}

    async def snapshot(self) -> list[asyncpg.Record]:
        """Return all rows, with their internal versions: an update that changes nothing shows."""
        found: list[asyncpg.Record] = await self.connection.fetch(
            "SELECT xmin::text, to_jsonb(entities) FROM entities"
            " UNION ALL SELECT xmin::text, to_jsonb(relationships) FROM relationships ORDER BY 2"
        )
        return found
