"""Links between two entities are made, replaced, removed and listed."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from community_directory.elizaos import entity_id
from community_directory.errors import InvalidInput, MemberNotFound
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


# UUIDs


AGENT = "b850bc30-45f8-0041-a00a-83df46d8555d"
OTHER_AGENT = "12345678-1234-1234-1234-123456789abc"
UUID_A, UUID_B = "abcdef01-2345-6789-abcd-ef0123456789", "fedcba98-7654-3210-fedc-ba9876543210"


async def test_a_uuid_in_upper_case_is_the_same_entity(directory: asyncpg.Pool) -> None:
    made = await relationships.link(UUID_A.upper(), UUID_B, "MENTORED", {"from": 1})
    again = await relationships.link(UUID_A, UUID_B.upper(), "MENTORED", {"from": 2})
    assert (made.entity_id_a, again.id, again.entity_id_b) == (UUID_A, made.id, UUID_B)
    assert await relationships.list_for(UUID_A.upper()) == [again]
    assert await relationships.unlink(UUID_A.upper(), UUID_B.upper(), "MENTORED")


async def test_only_a_text_in_the_shape_of_a_uuid_loses_its_case(directory: asyncpg.Pool) -> None:
    made = await relationships.link("Ana", UUID_A.upper() + "0", "MENTORED", {})
    assert (made.entity_id_a, made.entity_id_b) == ("Ana", UUID_A.upper() + "0")


# One graph of entities and members


async def add_entity(
    directory: asyncpg.Pool, member_id: str, entity_id: str, agent_id: str | None = AGENT
) -> None:
    """Link an entity of an agent, or of an unknown agent, as an account."""
    await rows.account(
        directory,
        platform="elizaos",
        account_id=entity_id,
        member_id=member_id,
        details={"agent_id": agent_id} if agent_id else {},
    )


async def merge_into(directory: asyncpg.Pool, member_id: str, duplicate: str) -> None:
    """Turn a member into the tombstone of one who was merged."""
    await directory.execute(
        "UPDATE community_members SET merged_into = $1, deleted_at = now(),"
        " telegram_id = 'merged:' || id, github_verified = false WHERE member_id = $2",
        member_id,
        duplicate,
    )


async def edges_of(
    member_id: str | int, relationship_type: str | None = None, agent_id: str | None = None
) -> set[tuple[str | None, str, str | None]]:
    """Return the members at both ends, or the entities of others, and the type of each edge."""
    found = await relationships.of_member(
        member_id, relationship_type=relationship_type, agent_id=agent_id
    )
    return {
        (
            edge.member_id_a or edge.entity_id_a,
            edge.relationship_type,
            edge.member_id_b or edge.entity_id_b,
        )
        for edge in found
    }


@pytest.fixture
async def people(directory: asyncpg.Pool) -> None:
    """The members #1 and #2, whom nobody invited."""
    await rows.member(directory, telegram_id="1001", status="active")
    await rows.member(directory, telegram_id="discord:1002", status="active")


async def test_a_member_has_the_relationships_of_all_their_entities(
    directory: asyncpg.Pool, people: None
) -> None:
    await add_entity(directory, "#1", UUID_A)
    await add_entity(directory, "#2", UUID_B, OTHER_AGENT)
    await relationships.link(UUID_A, UUID_B, "MENTORED", {})
    await relationships.link("#1", "#2", "TRUSTS", {})
    await relationships.link("somebody", UUID_A.upper(), "TRUSTS", {})
    await relationships.link("#2", "somebody", "HELPED", {})
    assert await edges_of("#1") == {
        ("#1", "MENTORED", "#2"),
        ("#1", "TRUSTS", "#2"),
        ("somebody", "TRUSTS", "#1"),
    }
    assert await edges_of(1, "MENTORED") == {("#1", "MENTORED", "#2")}
    assert await edges_of("#2", "INVITED") == set()


async def test_an_entity_that_was_not_seen_is_found_by_its_agent(
    directory: asyncpg.Pool, people: None
) -> None:
    for account, other in (("1001", "x"), ("default:1001", "y")):
        await relationships.link(entity_id(AGENT, account), other, "MENTORED", {})
    await relationships.link(entity_id(OTHER_AGENT, "1001"), "z", "MENTORED", {})
    both = {("#1", "MENTORED", "x"), ("#1", "MENTORED", "y")}
    assert await edges_of("#1") == set()
    assert await edges_of("#1", agent_id=AGENT) == both
    await add_entity(directory, "#1", UUID_A)
    assert await edges_of("#1") == both
    assert await edges_of("#1", agent_id=OTHER_AGENT) == both | {("#1", "MENTORED", "z")}


async def test_the_relationships_of_a_merged_member_belong_to_the_other_one(
    directory: asyncpg.Pool, people: None
) -> None:
    await rows.member(directory)
    await relationships.link("#2", "#3", "MENTORED", {})
    await relationships.link("#1", "#2", "MENTORED", {})
    await add_entity(directory, "#2", UUID_B)
    await merge_into(directory, "#1", "#2")
    await directory.execute("UPDATE member_accounts SET member_id = '#1' WHERE member_id = '#2'")
    await relationships.link("somebody", UUID_B, "TRUSTS", {})
    expected = {("#1", "MENTORED", "#3"), ("somebody", "TRUSTS", "#1")}
    assert await edges_of("#1") == await edges_of("#2") == expected
    assert await edges_of("#3") == {("#1", "MENTORED", "#3")}


async def test_the_entities_of_a_member_that_were_seen_come_first(
    directory: asyncpg.Pool, people: None
) -> None:
    await rows.member(directory)
    await merge_into(directory, "#1", "#3")
    await add_entity(directory, "#1", UUID_B, OTHER_AGENT)
    await add_entity(directory, "#1", UUID_A, AGENT.upper())
    found = await relationships.entities_of("#3", agent_id=AGENT)
    computed = [
        entity_id(agent, seed)
        for agent in (AGENT, AGENT.upper(), OTHER_AGENT)
        for seed in ("1001", "default:1001")
    ]
    assert [entity.entity_id for entity in found] == [UUID_A, UUID_B, *computed, "#1", "#3"]
    assert [entity.is_seen for entity in found] == [True, True, *[False] * 8]
    assert found[2] == relationships.Entity(computed[0], AGENT, "1001")


async def test_an_invitation_is_a_relationship_that_is_not_stored(
    directory: asyncpg.Pool, people: None
) -> None:
    now = datetime.now(UTC)
    await rows.invitation(
        directory, created_by="#1", status="accepted", accepted_by="#2", accepted_at=now
    )
    await directory.execute("UPDATE community_members SET invited_by = '#1' WHERE member_id = '#2'")
    await rows.member(directory, invited_by="#2")
    await rows.invitation(directory, created_by="#2")
    assert await edges_of("#2") == {("#1", "INVITED", "#2"), ("#2", "INVITED", "#3")}
    assert await edges_of("#2", "MENTORED") == set()
    [edge] = await relationships.of_member("#1")
    assert edge == relationships.Edge(None, "#1", "#2", "INVITED", {}, now, "#1", "#2")
    assert await directory.fetchval("SELECT count(*) FROM member_relationships") == 0


async def test_an_invitation_that_is_stored_as_a_relationship_is_listed_once(
    directory: asyncpg.Pool, people: None
) -> None:
    await directory.execute("UPDATE community_members SET invited_by = '#1' WHERE member_id = '#2'")
    await add_entity(directory, "#1", UUID_A)
    stored = await relationships.link(UUID_A, "#2", "INVITED", {"at": "a party"})
    [edge] = await relationships.of_member("#2")
    assert (edge.id, edge.content) == (stored.id, {"at": "a party"})


async def test_the_newest_thousand_edges_of_a_member_are_listed(
    directory: asyncpg.Pool, people: None
) -> None:
    await directory.execute(
        """
        INSERT INTO member_relationships (entity_id_a, entity_id_b, relationship_type, created_at)
        SELECT '#1', 'e' || number, 'MENTORED', now() - number * interval '1 s'
        FROM generate_series(1, 1001) AS number
        """
    )
    found = await relationships.of_member("#1")
    assert (len(found), found[0].entity_id_b, found[-1].entity_id_b) == (1000, "e1", "e1000")


@pytest.mark.parametrize("helper", [relationships.of_member, relationships.entities_of])
async def test_a_removed_or_unknown_member_has_no_relationships(
    directory: asyncpg.Pool, people: None, helper: Callable[..., Awaitable[Any]]
) -> None:
    await directory.execute("UPDATE community_members SET deleted_at = now()")
    for number in ("#1", "#99", "nobody"):
        with pytest.raises(MemberNotFound) as refused:
            await helper(number)
        assert refused.value.member_id == number


@pytest.mark.parametrize("helper", [relationships.of_member, relationships.entities_of])
@pytest.mark.parametrize("agent_id", ["", "Kukulcan", "x" * 256, 7])
async def test_the_id_of_an_agent_must_be_a_uuid(
    directory: asyncpg.Pool, people: None, helper: Callable[..., Awaitable[Any]], agent_id: object
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await helper("#1", agent_id=agent_id)
    assert refused.value.field == "agent_id"
