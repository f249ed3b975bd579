"""Links between two entities are made, replaced, removed and listed."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from community_directory.errors import InvalidInput
from community_directory.queries import relationships
from tests.queries.cases import undone
from tests.tables import rows


async def test_a_link_is_returned_as_it_is_stored(directory: asyncpg.Pool) -> None:
    made = await relationships.link("ana", "bo", "MENTORED", {"since": 2026})
    stored = await rows.fetch_row(directory, "SELECT * FROM member_relationships")
    assert made == relationships.Relationship(
        id=stored["id"],
        entity_id_a="ana",
        entity_id_b="bo",
        relationship_type="MENTORED",
        content={"since": 2026},
        created_at=stored["created_at"],
    )


async def test_linking_twice_makes_one_link_with_the_last_content(directory: asyncpg.Pool) -> None:
    first = await relationships.link("ana", "bo", "MENTORED", {"since": 2025})
    second = await relationships.link("ana", "bo", "MENTORED", {"until": 2026})
    assert (second.id, second.created_at, second.content) == (
        first.id,
        first.created_at,
        {"until": 2026},
    )
    assert await relationships.list_for("ana") == [second]


async def test_concurrent_calls_make_one_link(directory: asyncpg.Pool) -> None:
    made = await asyncio.gather(
        *(relationships.link("ana", "bo", "MENTORED", {"from": n}) for n in range(20))
    )
    assert len({link.id for link in made}) == 1
    assert await directory.fetchval("SELECT count(*) FROM member_relationships") == 1


async def test_a_link_in_the_other_direction_or_of_another_type_is_another_link(
    directory: asyncpg.Pool,
) -> None:
    made = [
        await relationships.link("ana", "bo", "MENTORED", {}),
        await relationships.link("bo", "ana", "MENTORED", {}),
        await relationships.link("ana", "bo", "INVITED", {}),
    ]
    assert len({link.id for link in made}) == 3


@pytest.mark.parametrize(
    ("position", "value", "limit"),
    [
        (0, "x" * 256, 255),
        (1, "x" * 256, 255),
        (2, "X" * 51, 50),
        (0, None, None),
        (1, 1.5, None),
        (2, 7, None),
    ],
)
async def test_an_invalid_id_or_type_is_refused_with_its_field(
    directory: asyncpg.Pool, position: int, value: Any, limit: int | None
) -> None:
    named = ["ana", "bo", "MENTORED"]
    named[position] = value
    field = ("entity_id_a", "entity_id_b", "relationship_type")[position]
    for call in (relationships.link(*named, {}), relationships.unlink(*named)):  # type: ignore[arg-type, call-arg]
        with pytest.raises(InvalidInput) as refused:
            await call
        assert (refused.value.field, refused.value.limit) == (field, limit)
    asked, field = (
        ({"entity_id": value}, "entity_id")
        if position < 2
        else ({"relationship_type": value}, field)
    )
    with pytest.raises(InvalidInput) as refused:
        await relationships.list_for(**{"entity_id": "ana", **asked})
    assert (refused.value.field, refused.value.limit) == (field, limit)


async def test_content_that_is_not_a_json_object_is_refused_with_its_field(
    directory: asyncpg.Pool,
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await relationships.link("ana", "bo", "MENTORED", [1])  # type: ignore[arg-type]  # refused for that
    assert refused.value.field == "content"


async def test_ids_can_be_integers(directory: asyncpg.Pool) -> None:
    made = await relationships.link(7, 8, "MENTORED", {})
    assert (made.entity_id_a, made.entity_id_b) == ("7", "8")
    assert await relationships.list_for(8) == [made]
    assert await relationships.unlink(7, 8, "MENTORED")


async def test_a_link_can_be_removed_once(directory: asyncpg.Pool) -> None:
    kept = [
        await relationships.link("bo", "ana", "MENTORED", {}),
        await relationships.link("ana", "bo", "INVITED", {}),
        await relationships.link("ana", "eva", "MENTORED", {}),
    ]
    await relationships.link("ana", "bo", "MENTORED", {})
    assert await relationships.unlink("ana", "bo", "MENTORED") is True
    assert await relationships.unlink("ana", "bo", "MENTORED") is False
    assert {link.id for link in await relationships.list_for("ana")} == {link.id for link in kept}


async def test_links_of_both_directions_are_listed_newest_first(directory: asyncpg.Pool) -> None:
    now = await directory.fetchval("SELECT now()")
    for age, a, b, kind in (
        (2, "ana", "bo", "INVITED"),
        (1, "eva", "ana", "MENTORED"),
        (3, "ana", "luis", "MENTORED"),
    ):
        await rows.relationship(
            directory,
            entity_id_a=a,
            entity_id_b=b,
            relationship_type=kind,
            created_at=now - timedelta(days=age),
        )
    await rows.relationship(directory)

    async def ends(relationship_type: str | None = None) -> list[tuple[str, str]]:
        found = await relationships.list_for("ana", relationship_type=relationship_type)
        return [(link.entity_id_a, link.entity_id_b) for link in found]

    assert await ends() == [("eva", "ana"), ("ana", "bo"), ("ana", "luis")]
    assert await ends("MENTORED") == [("eva", "ana"), ("ana", "luis")]
    assert await ends("UNHEARD_OF") == []
    assert await relationships.list_for("nobody") == []


async def test_the_newest_thousand_of_many_links_are_listed(directory: asyncpg.Pool) -> None:
    await directory.execute(
        """
        INSERT INTO member_relationships (entity_id_a, entity_id_b, relationship_type, created_at)
        SELECT 'ana', 'e' || number, 'INVITED', now() - number * interval '1 s'
        FROM generate_series(1, 1001) AS number
        """
    )
    found = await relationships.list_for("ana")
    assert len(found) == 1000
    assert found[0].entity_id_b == "e1"
    assert "e1001" not in {link.entity_id_b for link in found}


async def test_links_are_rolled_back_with_the_callers_transaction(directory: asyncpg.Pool) -> None:
    kept = await relationships.link("ana", "bo", "MENTORED", {})
    async with undone():
        await relationships.link("ana", "eva", "MENTORED", {})
        await relationships.unlink("ana", "bo", "MENTORED")
        assert [link.entity_id_b for link in await relationships.list_for("ana")] == ["eva"]
    assert await relationships.list_for("ana") == [kept]
