"""Entities and relationships in the shape of ElizaOS's tables.

ElizaOS has one relationship for each ordered pair of entities and agent. The types of ours are its
tags, and its metadata has the content of each under the type. Other relationships of an agent have
tags in any case, and metadata of any shape.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from community_directory.queries.values import Profile
from community_directory.tables import MemberRelationship

TYPE_PATTERN = re.compile("[A-Z][A-Z0-9_]*")
MAX_TYPE_LENGTH = MemberRelationship.relationship_type.length

Pair = tuple[str, str]
"""The entity that a relationship leads from, and the one that it leads to: UUIDs in lower case."""


@dataclass(frozen=True, slots=True)
class AgentEntity:
    """An entity, as its agent knows it."""

    names: Sequence[str] = ()
    metadata: Profile = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentRelationship:
    """A relationship, as its agent knows it."""

    tags: Sequence[str] = ()
    metadata: Profile = field(default_factory=dict)
    created_at: datetime | None = None


class AgentRows(NamedTuple):
    """The entities and relationships of one agent."""

    entities: dict[str, AgentEntity]
    relationships: dict[Pair, AgentRelationship]


def type_of(tag: str) -> str | None:
    """Return the type of relationship that a tag names, or None if it names none.

    "best friend" is BEST_FRIEND.
    """
    made = tag if TYPE_PATTERN.fullmatch(tag) else re.sub("[^A-Z0-9]+", "_", tag.upper()).strip("_")
    return made if TYPE_PATTERN.fullmatch(made) and len(made) <= (MAX_TYPE_LENGTH or 0) else None


def read_contents(relationship: AgentRelationship) -> dict[str, Profile]:
    """Return the content of each type that the tags name.

    It is the object that the metadata has under the type, or else all of the metadata that belongs
    to no other type.
    """
    types = dict.fromkeys(found for tag in relationship.tags if (found := type_of(tag)))
    own: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in relationship.metadata.items():
        named = type_of(key)
        if named not in types:
            rest[key] = value
        elif isinstance(value, Mapping):
            own[named] = value
    return {named: own.get(named, rest) for named in types}


def add_contents(
    present: AgentRelationship | None, contents: Mapping[str, Profile], created_at: datetime
) -> AgentRelationship | None:
    """Return the tags and metadata to add so that `read_contents` gives these contents, too.

    The result is None if it does already.
    """
    known = {} if present is None else read_contents(present)
    changed = {named: content for named, content in contents.items() if known.get(named) != content}
    if not changed and present is not None:
        return None
    keys = {type_of(key): key for key in (present.metadata if present else {})}
    return AgentRelationship(
        tags=[named for named in sorted(changed) if named not in known],
        metadata={keys.get(named, named): changed[named] for named in sorted(changed)},
        created_at=created_at,
    )
