"""Entities and relationships of an ElizaOS agent in the tables of @elizaos/plugin-sql.

Version 1.6 of the plugin names columns as `sourceEntityId`, and later ones as `source_entity_id`:
the information schema has the names.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import asyncpg

from community_directory.database.hosts import open_connection
from community_directory.database.limits import acquire_limit, server_limits
from community_directory.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InvalidInput,
    NotAllowed,
    OperatorError,
    database_errors,
    sanitize_for_message,
)
from community_directory.imports.agent_rows import (
    AgentEntity,
    AgentRelationship,
    AgentRows,
)
from community_directory.settings import load_settings

COLUMNS = {
    "agents": ("id",),
    "entities": ("id", "agentid", "names", "metadata"),
    "relationships": (
        "sourceentityid",
        "targetentityid",
        "agentid",
        "tags",
        "metadata",
        "createdat",
    ),
}
"""The columns that are used of each table, in lower case and without underscores."""

# A table may be in several schemas; the first one of the search path is used.
FIND_COLUMNS = """
SELECT DISTINCT ON (table_name, spelling)
    table_name::text, spelling, quote_ident(column_name) AS column_name
FROM information_schema.columns, replace(lower(column_name), '_', '') AS spelling
WHERE table_schema = ANY(current_schemas(false)) AND table_name = ANY($1)
ORDER BY table_name, spelling, array_position(current_schemas(false), table_schema::name)
"""


class AgentDatabase:
    """The tables of one agent, in a transaction."""

    def __init__(self, connection: asyncpg.Connection, agent_id: str) -> None:
        self._connection = connection
        self._agent_id = agent_id
        self._columns: dict[str, Mapping[str, str]] = {}

    async def prepare(self) -> None:
        """Find the names of the columns, and check that the agent is there.

        Raises:
            OperatorError: The tables are missing.
            InvalidInput: The database has no such agent.
        """
        records = await self._connection.fetch(FIND_COLUMNS, list(COLUMNS))
        for table, needed in COLUMNS.items():
            found = {name: column for of, name, column in records if of == table}
            if not found.keys() >= set(needed):
                raise OperatorError(
                    f"The database of DIRECTORY_ELIZAOS_URL has no table {table} of ElizaOS that "
                    "its login may read. Start the agent once, which creates it."
                )
            self._columns[table] = found
        query = "SELECT EXISTS (SELECT FROM agents WHERE id = $1)"
        if not await self._connection.fetchval(query, self._agent_id):
            raise InvalidInput(
                f"The agent {sanitize_for_message(self._agent_id)} is not in its database. Give the"
                " name or the id of its character, and start the agent once.",
                field="agent",
            )

    async def read(self) -> AgentRows:
        """Return all entities, and the relationships of the agent."""
        entity, row = self._columns["entities"], self._columns["relationships"]
        entities = {
            str(record["id"]): AgentEntity(record["names"], _decode(record["metadata"]))
            for record in await self._connection.fetch(
                f"SELECT id, {entity['names']} AS names, {entity['metadata']} AS metadata"
                " FROM entities"
            )
        }
        relationships = {
            (str(record["source"]), str(record["target"])): AgentRelationship(
                record["tags"] or (), _decode(record["metadata"]), record["created_at"]
            )
            for record in await self._connection.fetch(
                f"SELECT {row['sourceentityid']} AS source, {row['targetentityid']} AS target,"
                f" {row['tags']} AS tags, {row['metadata']} AS metadata,"
                f" {row['createdat']} AS created_at"
                f" FROM relationships WHERE {row['agentid']} = $1",
                self._agent_id,
            )
        }
        return AgentRows(entities, relationships)

    async def add(self, rows: AgentRows) -> None:
        """Add entities that are missing, relationships, and tags and metadata of relationships.

        Everything that the agent stored stays, except metadata under the same keys.
        """
        entity, row = self._columns["entities"], self._columns["relationships"]
        await self._connection.execute(
            f"""
            INSERT INTO entities (id, {entity["agentid"]}, {entity["names"]}, {entity["metadata"]})
            SELECT id, $1, ARRAY(SELECT jsonb_array_elements_text(names)), metadata
            FROM jsonb_to_recordset($2) AS new(id uuid, names jsonb, metadata jsonb)
            ORDER BY id ON CONFLICT DO NOTHING
            """,
            self._agent_id,
            json.dumps(
                [
                    {"id": key, "names": list(value.names), "metadata": value.metadata}
                    for key, value in rows.entities.items()
                ]
            ),
        )
        tags, metadata = f"present.{row['tags']}", f"present.{row['metadata']}"
        await self._connection.execute(
            f"""
            INSERT INTO relationships AS present ({row["sourceentityid"]}, {row["targetentityid"]},
                {row["agentid"]}, {row["tags"]}, {row["metadata"]}, {row["createdat"]})
            SELECT source, target, $1, ARRAY(SELECT jsonb_array_elements_text(tags)), metadata,
                coalesce(created_at, now())
            FROM jsonb_to_recordset($2) AS new(
                source uuid, target uuid, tags jsonb, metadata jsonb, created_at timestamptz
            )
            ORDER BY source, target
            ON CONFLICT ({row["sourceentityid"]}, {row["targetentityid"]}, {row["agentid"]})
            DO UPDATE SET
                {row["tags"]} = coalesce({tags}, '{{}}') || ARRAY(
                    SELECT tag FROM unnest(EXCLUDED.{row["tags"]}) AS tag
                    WHERE tag <> ALL(coalesce({tags}, '{{}}'))
                ),
                {row["metadata"]} = CASE WHEN jsonb_typeof({metadata}) = 'object'
                    THEN {metadata} ELSE '{{}}' END || EXCLUDED.{row["metadata"]}
            """,
            self._agent_id,
            json.dumps(
                [
                    {
                        "source": source,
                        "target": target,
                        "tags": list(value.tags),
                        "metadata": value.metadata,
                        "created_at": value.created_at and value.created_at.isoformat(),
                    }
                    for (source, target), value in rows.relationships.items()
                ]
            ),
        )


@contextlib.asynccontextmanager
async def open_agent_database(agent_id: str) -> AsyncIterator[AgentDatabase]:
    """Open the database of DIRECTORY_ELIZAOS_URL, in one transaction that ends with the block.

    Raises:
        ConfigurationError: The setting is missing.
        DatabaseUnavailable: The database can't be reached, or does not answer in time.
        OperatorError: Its login lacks a privilege, or the tables are missing.
        InvalidInput: The database has no such agent.
    """
    settings = load_settings()
    if settings.elizaos_url is None:
        raise ConfigurationError(
            "Set DIRECTORY_ELIZAOS_URL to the URL of the agent's database, or name a file."
        )
    with _agent_errors():
        connection = await open_connection(
            settings.elizaos_url.get_secret_value(),
            timeout=acquire_limit(),
            command_timeout=settings.long_statement_timeout,
            statement_cache_size=0,
        )
    try:
        with _agent_errors():
            async with connection.transaction():
                lock_timeout = server_limits(is_long=False)["lock_timeout"]
                await connection.execute(f"SET LOCAL lock_timeout = '{lock_timeout}'")
                database = AgentDatabase(connection, agent_id)
                await database.prepare()
                yield database
    finally:
        connection.terminate() if connection.is_in_transaction() else await _close(connection)


async def _close(connection: asyncpg.Connection) -> None:
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await connection.close(timeout=acquire_limit())


@contextlib.contextmanager
def _agent_errors() -> Iterator[None]:
    """Translate the exceptions of asyncpg about the database of the agent."""
    try:
        with database_errors():
            yield
    except NotAllowed as error:
        reason = str(error.__cause__).partition("\n")[0]
        raise NotAllowed(
            f"The login of DIRECTORY_ELIZAOS_URL may not do that: {reason}. Use the agent's own."
        ) from error
    except DatabaseUnavailable as error:
        raise DatabaseUnavailable(f"The database of the agent: {error}") from error


def _decode(metadata: str | None) -> Mapping[str, Any]:
    """Return the metadata of a row; anything but an object is an empty one."""
    try:
        decoded = json.loads(metadata or "{}")
    except ValueError:  # an integer of thousands of digits
        return {}
    return decoded if isinstance(decoded, dict) else {}
