"""Segments: named sets of filters of people, which all managers share.

The first three come with the directory: "At risk" has the members whom the filter `activity` finds
by that name in the last 28 days, as Insights does, "Newcomers of this month" everybody who was
added since its first day, and "Best connected" the active members, those first who invited most
people.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from community_directory.database import Statement, engine, transaction
from community_directory.errors import InvalidInput, sanitize_for_message
from community_directory.queries.identifiers import normalize_name
from community_directory.queries.ids import new_id
from community_directory.queries.observation import observe_helpers
from community_directory.queries.people import PEOPLE_SORTS
from community_directory.queries.people_filters import PeopleFilters, check_people_filters
from community_directory.queries.values import as_json, check_text, required_actor

__all__ = ["MAX_SEGMENTS", "Segment", "list_all", "remove", "rename", "save"]

MAX_SEGMENTS = 50
MAX_NAME_LENGTH = 60
MAX_FILTERS_LENGTH = 2000
"""The most characters of the filters of a segment together."""

FILTER_NAMES = (*PeopleFilters.__annotations__, "sort")


@dataclass(frozen=True, slots=True)
class Segment:
    """A named set of filters; the time is aware, in UTC.

    `filters` has the parameters of `people.search`, as texts: the filters, and the order as `sort`.
    """

    id: UUID
    name: str
    filters: Mapping[str, str]
    created_by: str
    created_at: datetime


COLUMNS = "id, name, filters, created_by, created_at"
LIST_SEGMENTS = Statement(f"""
SELECT {COLUMNS} FROM directory_segments ORDER BY created_at, id LIMIT {MAX_SEGMENTS}
""")
# A statement does not count what another one has not committed yet. The number is arbitrary.
LOCK_SEGMENTS = Statement("SELECT pg_advisory_xact_lock(7166764)")
SAVE_SEGMENT = Statement(f"""
INSERT INTO directory_segments (id, name, filters, created_by)
SELECT :id::uuid, :name::text, :filters::jsonb, :actor::text
WHERE (SELECT count(*) FROM directory_segments) < {MAX_SEGMENTS}
RETURNING {COLUMNS}
""")
RENAME_SEGMENT = Statement(f"""
UPDATE directory_segments SET name = :name WHERE id = :id RETURNING {COLUMNS}
""")
REMOVE_SEGMENT = Statement("DELETE FROM directory_segments WHERE id = :id RETURNING id")


async def list_all() -> list[Segment]:
    """List the segments, the oldest first; there are at most `MAX_SEGMENTS`."""
    return [_segment_from(record) for record in await engine.read(LIST_SEGMENTS)]


async def save(name: str, filters: Mapping[str, str], *, actor: str) -> Segment:
    """Store a segment. Calls at the same time run one after the other.

    Args:
        name: A name of at most 60 characters, which no other segment has.
        filters: The filters of `people.search` and the order, as `sort`. Empty ones are left out.
        actor: Who saves it.

    Raises:
        InvalidInput: The name is taken or blank, a filter is not valid, or there are too many
            segments.
    """
    values = {
        "name": _checked_name(name),
        "filters": as_json(_checked_filters(filters), field="filters"),
        "actor": required_actor(actor),
    }
    async with transaction():
        await engine.fetch(LOCK_SEGMENTS)
        records = await engine.fetch(SAVE_SEGMENT, id=new_id(), **values)
    if not records:
        raise InvalidInput(
            f"There are {MAX_SEGMENTS} segments already. Remove one of them first.", field="name"
        )
    return _segment_from(records[0])


async def rename(segment_id: UUID | str, name: str) -> Segment | None:
    """Give a segment another name, and return it, or None if it was removed.

    Raises:
        InvalidInput: The name is taken or blank, or the id is malformed.
    """
    records = await engine.fetch(RENAME_SEGMENT, id=_parse_id(segment_id), name=_checked_name(name))
    return _segment_from(records[0]) if records else None


async def remove(segment_id: UUID | str) -> bool:
    """Remove a segment, and return whether it was there.

    Raises:
        InvalidInput: The id is malformed.
    """
    return bool(await engine.fetch(REMOVE_SEGMENT, id=_parse_id(segment_id)))


def _checked_name(name: str) -> str:
    checked = normalize_name(name)
    check_text("name", checked, MAX_NAME_LENGTH)
    return checked


def _checked_filters(filters: Mapping[str, str]) -> dict[str, str]:
    """Return the filters without empty ones.

    Raises:
        InvalidInput: A filter is unknown or not valid.
    """
    if not isinstance(filters, Mapping):
        raise InvalidInput("The filters must be a mapping of names to texts.", field="filters")
    for name, value in filters.items():
        if name not in list(FILTER_NAMES) or not isinstance(value, str):
            raise InvalidInput(f"There is no filter {sanitize_for_message(name)}.", field="filters")
    kept = {name: value for name, value in filters.items() if value}
    if sum(map(len, kept.values())) > MAX_FILTERS_LENGTH:
        raise InvalidInput("These filters are too long.", field="filters")
    sort = kept.get("sort")
    if sort is not None and sort not in PEOPLE_SORTS:
        raise InvalidInput(f"There is no order {sanitize_for_message(sort)}.", field="sort")
    check_people_filters(**{name: kept[name] for name in kept if name != "sort"})
    return kept


def _parse_id(segment_id: UUID | str) -> UUID:
    if isinstance(segment_id, UUID):
        return segment_id
    try:
        return UUID(segment_id)
    except (ValueError, AttributeError, TypeError):
        raise InvalidInput("There is no such segment.", field="segment_id") from None


def _segment_from(record: asyncpg.Record) -> Segment:
    segment_id, name, filters, created_by, created_at = record
    return Segment(segment_id, name, json.loads(filters), created_by, created_at)


observe_helpers(globals())
