"""Relationships: links from one entity to another, which need not be members."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from community_directory.tables import MemberRelationship
from tests.processes import PROJECT
from tests.tables import rows

pytestmark = pytest.mark.schema

SQL = PROJECT / "community_directory/piccolo_migrations/sql"
UPPER, LOWER = "ABCDEF01-2345-6789-ABCD-EF0123456789", "abcdef01-2345-6789-abcd-ef0123456789"


async def test_a_relationship_is_read_back_as_it_was_stored(directory: asyncpg.Pool) -> None:
    columns: dict[str, Any] = {
        "entity_id_a": str(uuid4()),
        "entity_id_b": str(uuid4()),
        "relationship_type": "MENTORED",
        "content": {"since": 2026, "topics": ["python", None]},
    }
    written = MemberRelationship(**columns)
    await written.save()

    read = (
        await MemberRelationship.objects()
        .output(load_json=True)
        .get(MemberRelationship.id == written.id)
    )
    assert read is not None
    assert read.to_dict() == columns | {"id": written.id, "created_at": written.created_at}


async def test_a_relationship_needs_no_content(directory: asyncpg.Pool) -> None:
    by_sql = await rows.relationship(directory)
    by_class = MemberRelationship(entity_id_a="a", entity_id_b="b", relationship_type="INVITED")
    await by_class.save()
    await by_class.refresh()

    assert by_sql["content"] == by_class.content == "{}"
    assert by_sql["id"] != by_class.id
    for created_at in (by_sql["created_at"], by_class.created_at):
        assert datetime.now(UTC) - created_at < timedelta(minutes=1)


async def test_a_relationship_is_displayed_by_its_type_and_entities(
    directory: asyncpg.Pool,
) -> None:
    await rows.relationship(
        directory, entity_id_a="ana", entity_id_b="luis", relationship_type="INVITED"
    )
    assert await MemberRelationship.select(MemberRelationship.get_readable()) == [
        {"readable": "INVITED ana → luis"}
    ]


async def test_whoever_writes_stores_a_uuid_in_lower_case(directory: asyncpg.Pool) -> None:
    by_sql = await rows.relationship(directory, entity_id_a=UPPER, entity_id_b="Ana")
    by_class = MemberRelationship(entity_id_a="Bo", entity_id_b=UPPER, relationship_type="INVITED")
    await by_class.save()
    await by_class.refresh()
    assert (by_sql["entity_id_a"], by_sql["entity_id_b"]) == (LOWER, "Ana")
    assert (by_class.entity_id_a, by_class.entity_id_b) == ("Bo", LOWER)
    changed = await directory.fetchval(
        "UPDATE member_relationships SET entity_id_b = $1 WHERE entity_id_b = 'Ana'"
        " RETURNING entity_id_b",
        UPPER.replace("A", "F"),
    )
    assert changed == LOWER.replace("a", "f")


async def test_two_spellings_of_a_uuid_are_one_entity(directory: asyncpg.Pool) -> None:
    await rows.relationship(directory, entity_id_a=LOWER, entity_id_b="Ana")
    with pytest.raises(asyncpg.UniqueViolationError):
        await rows.relationship(directory, entity_id_a=UPPER, entity_id_b="Ana")
    with pytest.raises(asyncpg.CheckViolationError):
        await rows.relationship(directory, entity_id_a=UPPER, entity_id_b=LOWER)


async def test_the_migration_gives_stored_uuids_one_spelling(
    directory: asyncpg.Pool, database: str
) -> None:
    await directory.execute("ALTER TABLE member_relationships DISABLE TRIGGER USER")
    newest = datetime.now(UTC)
    for day, a, b in (
        (2, UPPER, "Ana"),
        (1, LOWER, "Ana"),
        (3, UPPER.title(), "Ana"),
        (1, "Bo", UPPER),
        (1, LOWER, UPPER),
        (1, "Ana", "ana"),
    ):
        await rows.relationship(
            directory, entity_id_a=a, entity_id_b=b, created_at=newest - timedelta(days=day)
        )
    await directory.execute((SQL / "relationships_backwards.sql").read_text())
    await directory.execute((SQL / "relationships.sql").read_text())
    stored = await directory.fetch(
        "SELECT entity_id_a, entity_id_b, created_at FROM member_relationships ORDER BY 1, 2"
    )
    assert sorted(map(tuple, stored)) == sorted(
        (a, b, newest - timedelta(days=1))
        for a, b in (("Ana", "ana"), ("Bo", LOWER), (LOWER, "Ana"))
    )
