"""Relationships: links from one entity to another, which need not be members."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from community_directory.tables import MemberRelationship
from tests.tables import rows

pytestmark = pytest.mark.schema


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
