"""Entities and relationships of an ElizaOS agent as a JSON file.

The keys are those of ElizaOS's own objects, such as `sourceEntityId`. A file is read with those of
its tables, too, such as `source_entity_id`, and a list of relationships alone is a file.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from community_directory.elizaos import UUID_PATTERN
from community_directory.errors import InvalidInput
from community_directory.imports.agent_rows import AgentEntity, AgentRelationship, AgentRows
from community_directory.imports.csv_file import create_file


def write_agent_file(path: Path, agent_id: str, rows: AgentRows) -> None:
    """Write a new file, which is complete or not there, and which only its owner can read.

    Raises:
        InvalidInput: A file of that name exists, or it can't be written.
    """
    content = {
        "agentId": agent_id,
        "entities": [
            {
                "id": entity_id,
                "agentId": agent_id,
                "names": entity.names,
                "metadata": entity.metadata,
            }
            for entity_id, entity in sorted(rows.entities.items())
        ],
        "relationships": [
            {
                "sourceEntityId": source,
                "targetEntityId": target,
                "agentId": agent_id,
                "tags": relationship.tags,
                "metadata": relationship.metadata,
                "createdAt": relationship.created_at and relationship.created_at.isoformat(),
            }
            for (source, target), relationship in sorted(rows.relationships.items())
        ],
    }
    try:
        with create_file(path, encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False, indent=1)
            file.write("\n")
    except OSError as error:
        raise InvalidInput(f"Can't write {path}: {error.strerror}.") from error


def read_agent_file(path: Path, agent_id: str) -> AgentRows:
    """Return the entities and relationships that a file has of an agent.

    Raises:
        InvalidInput: The file can't be read, or it has other content.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"Can't read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON.") from error
    if isinstance(content, list):
        content = {"relationships": content}
    if not isinstance(content, dict):
        _refuse(path)
    entities = {
        _uuid(path, row.get("id")): AgentEntity(
            _texts(path, row.get("names")), _object(path, row.get("metadata"))
        )
        for row in _rows_of(path, content.get("entities"), agent_id)
    }
    relationships = {
        (_uuid(path, row.get("sourceentityid")), _uuid(path, row.get("targetentityid"))): (
            AgentRelationship(
                _texts(path, row.get("tags")),
                _object(path, row.get("metadata")),
                _time(row.get("createdat")),
            )
        )
        for row in _rows_of(path, content.get("relationships"), agent_id)
    }
    return AgentRows(entities, relationships)


def _rows_of(path: Path, rows: object, agent_id: str) -> list[dict[str, Any]]:
    """Return the rows of an agent with their keys in one spelling, such as sourceentityid.

    Raises:
        InvalidInput: A row is not an object, or all of them belong to other agents.
    """
    found = [
        {key.replace("_", "").lower(): value for key, value in _object(path, row).items()}
        for row in _list(path, rows)
    ]
    own = [row for row in found if str(row.get("agentid") or agent_id).lower() == agent_id.lower()]
    if found and not own:
        raise InvalidInput(f"{path} is about other agents only: give the right --agent.")
    return own


def _uuid(path: Path, value: object) -> str:
    if not isinstance(value, str) or not UUID_PATTERN.fullmatch(value):
        _refuse(path)
    return value.lower()


def _texts(path: Path, value: object) -> list[str]:
    if not all(isinstance(text, str) for text in _list(path, value)):
        _refuse(path)
    return _list(path, value)


def _list(path: Path, value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        _refuse(path)
    return value


def _object(path: Path, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        _refuse(path)
    return value


def _time(value: object) -> datetime | None:
    """Return the time in a text; None if there is none."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _refuse(path: Path) -> NoReturn:
    raise InvalidInput(
        f"{path} has no relationships of an ElizaOS agent: each needs sourceEntityId and"
        " targetEntityId, which are UUIDs, a list of tags, and metadata, an object."
    )
