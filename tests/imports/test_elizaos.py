"""Relationships go to the tables or a file of an ElizaOS agent, and come back, once each."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from community_directory.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    DirectoryError,
    InvalidInput,
    NotAllowed,
    OperatorError,
)
from community_directory.imports import agent_database
from community_directory.imports.agent_file import read_agent_file, write_agent_file
from community_directory.imports.agent_people import LeftOut
from community_directory.imports.agent_rows import AgentRelationship, AgentRows, type_of
from community_directory.imports.elizaos import (
    Report,
    export_relationships,
    import_relationships,
)
from community_directory.queries import members, privacy, relationships
from community_directory.settings import load_settings
from tests.imports.agent_tables import AGENT, CAMEL_CASE, SNAKE_CASE, AgentTables, person
from tests.roles import reader_url
from tests.tables import rows
from tests.waiting import until_waiting

ANA, BO = person("1001"), person("1002")
STRANGER, OTHER_STRANGER = "abcdef01-2345-6789-abcd-ef0123456789", str(uuid4())
OTHER_AGENT = str(uuid4())


@pytest.fixture(params=[CAMEL_CASE, SNAKE_CASE], ids=["camel-case", "snake-case"])
async def agent(
    request: pytest.FixtureRequest, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AgentTables]:
    """The tables of an agent, in a database that the settings name."""
    monkeypatch.setenv("DIRECTORY_ELIZAOS_URL", empty_database)
    load_settings.cache_clear()
    connection = await asyncpg.connect(empty_database)
    tables = AgentTables(empty_database, connection, request.param)
    await tables.create()
    yield tables
    await connection.close()


@pytest.fixture
async def people(directory: asyncpg.Pool) -> None:
    """Ana is #1 and has invited Bo, who is #2 and writes on Discord only."""
    await rows.member(
        directory, telegram_id="1001", telegram_username="ana", name="Ana", status="active"
    )
    await rows.member(
        directory, telegram_id="discord:1002", name="Bo", status="active", invited_by="#1"
    )


async def export(*, dry_run: bool = False) -> Report:
    """Export into the agent's tables, as the command does."""
    async with agent_database.open_agent_database(AGENT) as database:
        present = await database.read()
    changes, report = await export_relationships(AGENT, present)
    if not dry_run:
        async with agent_database.open_agent_database(AGENT) as database:
            await database.add(changes)
    return report


async def import_all(*, dry_run: bool = False) -> Report:
    """Import from the agent's tables, as the command does."""
    async with agent_database.open_agent_database(AGENT) as database:
        found = await database.read()
    return await import_relationships(AGENT, found, dry_run=dry_run)


async def stored(directory: asyncpg.Pool) -> dict[tuple[str, str, str], Any]:
    """Return the content of each stored relationship."""
    found = await directory.fetch(
        "SELECT entity_id_a, entity_id_b, relationship_type, content FROM member_relationships"
    )
    return {(a, b, named): json.loads(content) for a, b, named, content in found}


def only(source: str, target: str, *tags: str, **metadata: object) -> AgentRows:
    """Return one relationship of an agent."""
    return AgentRows({}, {(source, target): AgentRelationship(tags, metadata)})


# Export


async def test_the_relationships_of_two_people_are_one_row_of_the_agent(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await relationships.link("#1", "#2", "MENTORED", {"topic": "bees"})
    await relationships.link(STRANGER.upper(), ANA, "TRUSTS", {})
    report = await export()
    assert report == Report(added=3, entities=3)
    assert await agent.relationships() == {
        (ANA, BO): (["INVITED", "MENTORED"], {"INVITED": {}, "MENTORED": {"topic": "bees"}}),
        (STRANGER, ANA): (["TRUSTS"], {"TRUSTS": {}}),
    }
    entities = await agent.connection.fetch(
        "SELECT id::text, agent_id::text, names, metadata FROM entities"
    )
    telegram = {"userId": "1001", "id": "1001", "name": "Ana", "username": "ana"}
    discord = {"userId": "1002", "id": "1002", "name": "Bo", "username": None}
    assert {(key, of, *names): json.loads(data) for key, of, names, data in entities} == {
        (ANA, AGENT, "Ana", "ana"): {"telegram": telegram},
        (BO, AGENT, "Bo"): {"discord": discord},
        (STRANGER, AGENT): {},
    }


async def test_a_second_export_changes_nothing(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await relationships.link("#1", "#2", "MENTORED", {"topic": "bees"})
    await export()
    before = await agent.snapshot()
    assert await export() == Report(unchanged=2)
    assert await agent.snapshot() == before


async def test_an_export_adds_to_what_the_agent_has_stored(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await agent.relate(ANA, BO, ["invited", "best friend"], {"strength": 5, "invited": {"at": "x"}})
    await relationships.link("#1", "#2", "MENTORED", {"topic": "bees"})
    assert await export() == Report(added=1, unchanged=1)
    assert await agent.relationships() == {
        (ANA, BO): (
            ["invited", "best friend", "MENTORED"],
            {"strength": 5, "invited": {"at": "x"}, "MENTORED": {"topic": "bees"}},
        )
    }
    await relationships.link("#1", "#2", "BEST_FRIEND", {"since": 2026})
    assert await export() == Report(changed=1, unchanged=2)
    [(tags, metadata)] = (await agent.relationships()).values()
    assert tags == ["invited", "best friend", "MENTORED"]
    assert metadata["BEST_FRIEND"] == {"since": 2026}  # type: ignore[index]  # it is an object
    assert await export() == Report(unchanged=3)


@pytest.mark.parametrize("metadata", [None, [1], "text"])
async def test_an_export_adds_to_a_row_without_tags_or_an_object(
    directory: asyncpg.Pool, people: None, agent: AgentTables, metadata: object
) -> None:
    await agent.relate(ANA, BO, None, metadata)
    assert await export() == Report(added=1)
    assert await agent.relationships() == {(ANA, BO): (["INVITED"], {"INVITED": {}})}


async def test_a_tag_that_the_agent_adds_during_an_export_is_there_once(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    async with agent_database.open_agent_database(AGENT) as database:
        changes, _ = await export_relationships(AGENT, await database.read())
    await agent.relate(ANA, BO, ["friend", "INVITED"], {"strength": 5})
    async with agent_database.open_agent_database(AGENT) as database:
        await database.add(changes)
    assert await agent.relationships() == {
        (ANA, BO): (["friend", "INVITED"], {"strength": 5, "INVITED": {}})
    }


async def test_an_entity_that_the_agent_knows_comes_before_a_computed_one(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    later = person("default:1001")
    await agent.relate(later, STRANGER, ["friend"], {})
    await export()
    assert (later, BO) in await agent.relationships()


async def test_an_entity_that_was_seen_comes_before_a_computed_one(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    for entity, details in (
        (OTHER_STRANGER, {"agent_id": OTHER_AGENT}),
        (STRANGER, {"agent_id": AGENT.upper()}),
    ):
        await rows.account(directory, account_id=entity, member_id="#1", details=details)
    await export()
    assert (STRANGER, BO) in await agent.relationships()


async def test_a_member_without_an_account_of_a_platform_has_an_entity_by_number(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await rows.member(directory, telegram_id="matrix:@eva", invited_by="#1")
    await export()
    assert (ANA, person("#3")) in await agent.relationships()


async def test_a_merged_member_is_exported_as_the_other_one(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await rows.member(directory, telegram_id="1003")
    await relationships.link("#3", "#2", "MENTORED", {})
    await relationships.link("#3", "#1", "TRUSTS", {})
    await directory.execute(
        "UPDATE community_members SET merged_into = '#1', deleted_at = now(),"
        " telegram_id = 'merged:' || id WHERE member_id = '#3'"
    )
    report = await export()
    assert report.left_out == {LeftOut.ONE_PERSON: 1}
    assert await agent.relationships() == {
        (ANA, BO): (["INVITED", "MENTORED"], {"INVITED": {}, "MENTORED": {}})
    }


async def test_what_elizaos_can_not_have_is_left_out_and_counted(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await rows.member(directory, telegram_id="1003", invited_by="#2")
    await directory.execute("UPDATE community_members SET deleted_at = now() WHERE name = 'Bo'")
    await relationships.link("ana", "#1", "TRUSTS", {})
    await relationships.link("#2", "#3", "TRUSTS", {})
    report = await export()
    assert report.left_out == {LeftOut.NO_ENTITY: 1, LeftOut.REMOVED: 1}
    assert await agent.relationships() == {}


async def test_an_id_that_could_be_of_two_people_is_of_neither(
    directory: asyncpg.Pool, agent: AgentTables
) -> None:
    await rows.member(directory, telegram_id="1001")
    await rows.member(directory, telegram_id="discord:1001", invited_by="#1")
    await export()
    assert set(await agent.relationships()) == {(person("#1"), person("#2"))}


async def test_tables_in_a_schema_of_their_own_are_found(
    directory: asyncpg.Pool, people: None, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await asyncpg.connect(empty_database)
    await AgentTables(empty_database, connection, CAMEL_CASE).create()
    own = AgentTables(empty_database, connection, SNAKE_CASE)
    await own.create("eliza")
    separator = "&" if "?" in empty_database else "?"
    url = f"{empty_database}{separator}search_path=eliza,public"
    monkeypatch.setenv("DIRECTORY_ELIZAOS_URL", url)
    load_settings.cache_clear()
    await export()
    assert set(await own.relationships()) == {(ANA, BO)}
    await connection.close()


# Import


async def test_the_relationships_of_an_agent_are_stored_one_for_each_tag(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await agent.relate(BO, ANA, ["friend", "MENTORED"], {"MENTORED": {"a": 1}, "strength": 5})
    await agent.relate(ANA, STRANGER, ["friend"], None)
    await agent.connection.execute("INSERT INTO agents VALUES ($1, 'other')", OTHER_AGENT)
    await agent.relate(BO, STRANGER, ["enemy"], {}, agent=OTHER_AGENT)
    assert await import_all(dry_run=True) == Report(added=3, entities=2)
    assert await stored(directory) == {}
    assert await import_all() == Report(added=3, entities=2)
    assert await stored(directory) == {
        (BO, ANA, "FRIEND"): {"strength": 5},
        (BO, ANA, "MENTORED"): {"a": 1},
        (ANA, STRANGER, "FRIEND"): {},
    }
    edges = await relationships.of_member("#1")
    assert {(edge.member_id_a, edge.relationship_type, edge.member_id_b) for edge in edges} == {
        ("#2", "FRIEND", "#1"),
        ("#2", "MENTORED", "#1"),
        ("#1", "FRIEND", None),
        ("#1", "INVITED", "#2"),
    }


async def test_entities_of_members_become_accounts_of_theirs(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await agent.relate(person("default:1001"), STRANGER, ["friend"], {})
    await import_all()
    [account] = await directory.fetch("SELECT * FROM member_accounts WHERE platform = 'elizaos'")
    assert (account["account_id"], account["member_id"]) == (person("default:1001"), "#1")
    assert (account["proof"], account["proved_at"] is None) == ("platform", False)
    assert json.loads(account["details"]) == {"agent_id": AGENT, "seed": "default:1001"}
    assert (await import_all()).entities == 0
    assert await directory.fetchval(
        "SELECT actor FROM directory_audit_log WHERE table_name = 'member_accounts'"
    )


async def test_an_account_that_is_only_stated_proves_no_entity(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await directory.execute(
        """UPDATE community_members SET profile_data = '{"discord_id": "77"}'
        WHERE member_id = '#1'"""
    )
    await agent.relate(person("77"), STRANGER, ["friend"], {})
    assert await import_all() == Report(added=1)
    assert await stored(directory) == {("#1", STRANGER, "FRIEND"): {}}


async def test_a_second_import_and_an_import_after_an_export_change_nothing(
    directory: asyncpg.Pool, people: None, agent: AgentTables
) -> None:
    await relationships.link("#1", "#2", "MENTORED", {"topic": "bees"})
    await agent.relate(BO, STRANGER, ["friend", "friend of Ana"], {"strength": 5})
    await export()
    await import_all()
    before = await directory.fetch("SELECT xmin::text, * FROM member_relationships ORDER BY id")
    seen = await agent.snapshot()
    assert await import_all() == Report(unchanged=4)
    assert await export() == Report(unchanged=4)
    assert before == await directory.fetch(
        "SELECT xmin::text, * FROM member_relationships ORDER BY id"
    )
    assert await agent.snapshot() == seen
    assert set(await stored(directory)) == {
        ("#1", "#2", "MENTORED"),
        (BO, STRANGER, "FRIEND"),
        (BO, STRANGER, "FRIEND_OF_ANA"),
    }


async def test_an_invitation_that_the_agent_has_as_a_relationship_is_not_stored(
    directory: asyncpg.Pool, people: None
) -> None:
    found = only(ANA, BO, "invited", invited={"at": "a party"})
    assert await import_relationships(AGENT, found) == Report(unchanged=1, entities=2)
    assert await stored(directory) == {}


async def test_a_person_who_is_erased_during_an_import_gets_nothing_back(
    directory: asyncpg.Pool, people: None
) -> None:
    found = AgentRows(
        {},
        {
            (ANA, BO): AgentRelationship(["friend"]),
            (STRANGER, BO): AgentRelationship(["friend"]),
        },
    )
    async with directory.acquire() as connection:
        erasure = connection.transaction()
        await erasure.start()
        await connection.execute(
            "UPDATE community_members SET deleted_at = now(), telegram_id = 'erased:1'"
            " WHERE member_id = '#1'"
        )
        importing = asyncio.create_task(import_relationships(AGENT, found))
        await until_waiting(directory)
        await erasure.commit()
    report = await importing
    assert report == Report(added=1, entities=1, left_out=Counter({LeftOut.REMOVED: 1}))
    assert await stored(directory) == {(STRANGER, BO, "FRIEND"): {}}
    assert not await directory.fetch("SELECT FROM member_accounts WHERE member_id = '#1'")


async def test_new_details_of_the_agent_replace_the_content(
    directory: asyncpg.Pool, people: None
) -> None:
    await relationships.link("#1", "#2", "MENTORED", {"topic": "bees"})
    changed = only(ANA, BO, "MENTORED", MENTORED={"topic": "honey"})
    assert await import_relationships(AGENT, changed) == Report(changed=1, entities=2)
    assert await stored(directory) == {("#1", "#2", "MENTORED"): {"topic": "honey"}}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (only(ANA, person("default:1001"), "friend"), LeftOut.ONE_PERSON),
        (only(ANA, BO), LeftOut.NO_TYPE),
        (only(ANA, BO, "", "日本", "7", "x" * 51), LeftOut.NO_TYPE),
        (only(ANA, BO, "friend", name="a\0b"), LeftOut.NOT_STORABLE),
        (only(ANA, BO, "friend", number=10**400), LeftOut.NOT_STORABLE),
        (only(ANA, BO, "friend", number=float("inf")), LeftOut.NOT_STORABLE),
        (only(ANA, BO, "friend", text="\ud800"), LeftOut.NOT_STORABLE),
        (only(person("1003"), BO, "friend"), LeftOut.REMOVED),
    ],
    ids=["one", "no tag", "no type", "nul", "number", "infinite", "surrogate", "removed"],
)
async def test_what_the_directory_can_not_have_is_left_out_and_counted(
    directory: asyncpg.Pool, people: None, found: AgentRows, reason: LeftOut
) -> None:
    await rows.member(directory, telegram_id="1003", deleted_at=datetime.now(UTC))
    report = await import_relationships(AGENT, found)
    assert (report.added, report.left_out) == (0, {reason: 1})
    assert await stored(directory) == {}
    linked = "SELECT account_id FROM member_accounts WHERE member_id = '#3'"
    assert [account for (account,) in await directory.fetch(linked)] == ["1003"]


async def test_a_backslash_before_a_nul_in_letters_is_stored(
    directory: asyncpg.Pool, people: None
) -> None:
    found = only(ANA, BO, "friend", text="\\u0000")
    assert (await import_relationships(AGENT, found)).added == 1
    assert await stored(directory) == {(ANA, BO, "FRIEND"): {"text": "\\u0000"}}


async def test_the_time_of_a_relationship_is_kept_if_it_can_be_stored(
    directory: asyncpg.Pool, people: None
) -> None:
    times = [datetime(2025, 1, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)]
    for target, time in zip((ANA, BO), times, strict=True):
        row = AgentRelationship(["friend"], {}, time)
        await import_relationships(AGENT, AgentRows({}, {(STRANGER, target): row}))
    found = await directory.fetch("SELECT created_at FROM member_relationships ORDER BY 1")
    assert found[0]["created_at"] == times[0]
    assert (datetime.now(UTC) - found[1]["created_at"]).total_seconds() < 600


async def test_an_erased_person_gets_no_entity_back(
    directory: asyncpg.Pool,
    people: None,
    agent: AgentTables,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "k" * 32)
    load_settings.cache_clear()
    await export()
    await agent.connection.execute("UPDATE relationships SET tags = '{friend}'")
    await members.set_status("#2", "banned", actor="test")
    await privacy.erase("#2", actor="test")
    assert (await import_all()).left_out == {LeftOut.ERASED: 1}
    assert await stored(directory) == {}


# The agent's database


async def test_an_export_needs_the_agents_database(
    directory: asyncpg.Pool, people: None, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusal(url: str | None) -> DirectoryError:
        if url is None:
            monkeypatch.delenv("DIRECTORY_ELIZAOS_URL", raising=False)
        else:
            monkeypatch.setenv("DIRECTORY_ELIZAOS_URL", url)
        load_settings.cache_clear()
        with pytest.raises(DirectoryError) as refused:
            await export()
        return refused.value

    assert isinstance(await refusal(None), ConfigurationError)
    gone = await refusal("postgresql://nobody@127.0.0.1:1/none")
    assert isinstance(gone, DatabaseUnavailable)
    assert str(gone).startswith("The database of the agent: ")
    missing = await refusal(empty_database)
    assert isinstance(missing, OperatorError)
    assert "no table agents" in str(missing)
    connection = await asyncpg.connect(empty_database)
    await AgentTables(empty_database, connection, CAMEL_CASE).create()
    await connection.execute("DELETE FROM agents")
    absent = await refusal(empty_database)
    assert isinstance(absent, InvalidInput)
    assert absent.field == "agent"
    await connection.close()


async def test_a_login_without_rights_is_told_to_use_the_agents(
    directory: asyncpg.Pool, people: None, agent: AgentTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reader_url(agent.url)
    monkeypatch.setenv("DIRECTORY_ELIZAOS_URL", reader)
    load_settings.cache_clear()
    await agent.connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
    with pytest.raises(NotAllowed, match=r"Use the agent's own\.$"):
        await export()


async def test_an_export_that_meets_a_lock_ends(
    directory: asyncpg.Pool, people: None, agent: AgentTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_LOCK_TIMEOUT", "0.2")
    load_settings.cache_clear()
    async with agent.connection.transaction():
        await agent.connection.execute("LOCK TABLE relationships IN EXCLUSIVE MODE")
        with pytest.raises(DatabaseUnavailable):
            await export()
    assert await agent.relationships() == {}


# Files


async def test_an_exported_file_is_the_same_each_time_and_imports_as_nothing_new(
    directory: asyncpg.Pool, people: None, tmp_path: Path
) -> None:
    await relationships.link("#1", "#2", "MENTORED", {"topic": "🐝"})
    for name in ("first", "second"):
        changes, _ = await export_relationships(AGENT, AgentRows({}, {}))
        write_agent_file(tmp_path / name, AGENT, changes)
    text = (tmp_path / "first").read_text()
    assert text == (tmp_path / "second").read_text()
    assert (tmp_path / "first").stat().st_mode & 0o777 == 0o600
    assert read_agent_file(tmp_path / "first", AGENT) == changes
    [relationship] = json.loads(text)["relationships"]
    assert relationship["sourceEntityId"] == ANA
    assert relationship["metadata"] == {"INVITED": {}, "MENTORED": {"topic": "🐝"}}
    report = await import_relationships(AGENT, changes)
    assert report == Report(unchanged=2, entities=2)
    with pytest.raises(InvalidInput, match="already exists"):
        write_agent_file(tmp_path / "first", AGENT, changes)
    with pytest.raises(InvalidInput, match="Can't write"):
        write_agent_file(tmp_path / "none/first", AGENT, changes)


@pytest.mark.parametrize("names", [CAMEL_CASE, SNAKE_CASE])
def test_a_file_has_rows_of_either_spelling(tmp_path: Path, names: tuple[str, str, str]) -> None:
    source, target, of = names
    row = {source: ANA.upper(), target: BO, of: AGENT.upper(), "tags": None, "metadata": None}
    other = {source: BO, target: ANA, of: OTHER_AGENT}
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([row, other, {source: ANA, target: STRANGER}]))
    assert read_agent_file(file, AGENT).relationships == {
        (ANA, BO): AgentRelationship([], {}),
        (ANA, STRANGER): AgentRelationship([], {}),
    }
    file.write_text(json.dumps([other]))
    with pytest.raises(InvalidInput, match="other agents"):
        read_agent_file(file, AGENT)


ROW = {"sourceEntityId": ANA, "targetEntityId": BO}


@pytest.mark.parametrize(
    "content",
    [
        7,
        {"relationships": {}},
        ["row"],
        [{}],
        [{**ROW, "sourceEntityId": "ana"}],
        [{**ROW, "targetEntityId": 7}],
        [{**ROW, "tags": "friend"}],
        [{**ROW, "tags": [7]}],
        [{**ROW, "metadata": []}],
        {"entities": [{"id": None}]},
    ],
)
def test_a_file_with_other_content_is_refused(tmp_path: Path, content: object) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InvalidInput, match="has no relationships"):
        read_agent_file(file, AGENT)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"{", b"[" * 100_000, b"9" * 5000])
def test_a_file_that_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rows.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput):
        read_agent_file(file, AGENT)
    with pytest.raises(InvalidInput, match="Can't read"):
        read_agent_file(tmp_path, AGENT)


@pytest.mark.parametrize(
    "time", ["yesterday", None, 7, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
async def test_a_time_that_can_not_be_stored_is_the_present_one(
    directory: asyncpg.Pool, people: None, tmp_path: Path, time: object
) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{**ROW, "tags": ["friend"], "createdAt": time}]))
    await import_relationships(AGENT, read_agent_file(file, AGENT))
    age = await directory.fetchval("SELECT now() - created_at FROM member_relationships")
    assert age.total_seconds() < 600


# Types


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("MENTORED", "MENTORED"),
        ("A__B_", "A__B_"),
        ("best friend", "BEST_FRIEND"),
        ("Co-author!", "CO_AUTHOR"),
        ("x" * 50, "X" * 50),
        ("x" * 51, None),
        ("", None),
        ("7up", None),
    ],
)
def test_a_tag_is_read_as_a_type(tag: str, expected: str | None) -> None:
    assert type_of(tag) == expected
