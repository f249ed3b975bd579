"""Citus: what can be checked without a cluster, and on one that CITUS_POSTGRES_URL names."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator

import asyncpg
import pytest

import community_directory.queries
from community_directory import citus, citus_commands
from community_directory.citus import Outcome, checks
from community_directory.database import Statement, engine
from community_directory.doctor.schema_checks import CATALOG_PATH, read_catalog
from community_directory.errors import InvalidInput, database_errors
from tests import cluster
from tests.queries.cases import CASES, HELPERS, arguments, community, undone

DISTRIBUTED = "member_participation|member_daily_highlights"
WRITES_DISTRIBUTED = re.compile(rf"(INSERT INTO|UPDATE|DELETE FROM) (public\.)?({DISTRIBUTED})\b")
ASK_EVERY_SHARD = {
    "FIND_STORED_EVENTS",  # after a lost connection only
    "LOCK_EVENTS",  # locks the whole table
    "RETURN_HIGHLIGHTS",  # stores whole rows
}
"""The statements without `member_id`."""
LOCKING_CLAUSE = re.compile(r"FOR (KEY SHARE|SHARE|NO KEY UPDATE|UPDATE)\b")
on_a_cluster = pytest.mark.skipif(
    cluster.CLUSTER_URL is None, reason="CITUS_POSTGRES_URL names no coordinator of Citus"
)


def list_statements() -> Iterator[tuple[str, str]]:
    """Return the name and the SQL of each statement about the distributed tables."""
    package = community_directory.queries
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for name, value in vars(importlib.import_module(info.name)).items():
            several = value.values() if isinstance(value, dict) else [value]
            for statement in several:
                if isinstance(statement, Statement) and re.search(DISTRIBUTED, statement.sql):
                    sql = re.sub(r"--[^\n]*", "", statement.sql)
                    yield f"{info.name}.{name}", sql


STATEMENTS = dict(list_statements())


@pytest.mark.parametrize("name", STATEMENTS)
def test_each_statement_about_a_distributed_table_can_run_on_citus(name: str) -> None:
    sql = STATEMENTS[name]
    asks_one_shard = "member_id" in sql or sql.startswith("SELECT public.")
    assert asks_one_shard is not (name.rpartition(".")[2] in ASK_EVERY_SHARD)
    assert not re.search(r"ON CONFLICT \((id|\w*_?date)\)", sql)
    assert not re.search(r"\bctid\b", sql)
    assert not re.search(rf"UPDATE ({DISTRIBUTED})( AS \w+)? SET member_id", sql)
    if WRITES_DISTRIBUTED.search(sql):
        for clause in LOCKING_CLAUSE.finditer(sql):
            # Citus fails if the query of the clause joins members with another CTE.
            query = sql[sql.rindex("MATERIALIZED (", 0, clause.start()) : clause.start()]
            assert "JOIN" not in query
            assert re.search(r"FROM community_members\s+WHERE", query)


def test_there_are_statements_that_write_and_lock() -> None:
    writing = [name for name, sql in STATEMENTS.items() if WRITES_DISTRIBUTED.search(sql)]
    assert {"RECORD_EVENT", "RECORD_EVENTS", "ERASE_EVENTS"} <= {
        name.rpartition(".")[2] for name in writing
    }


@pytest.mark.schema
async def test_the_tables_have_no_key_or_trigger_that_the_recipe_does_not_know(
    directory: asyncpg.Pool,
) -> None:
    if cluster.CLUSTER_URL:
        pytest.skip("the tables are distributed")
    found = await engine.fetch(checks.FIND_OBSTACLES, tables=checks.DISTRIBUTED_TABLES)
    assert [tuple(row) for row in found] == [
        ("primary key", "member_daily_highlights_pkey"),
        ("primary key", "member_participation_pkey"),
        ("trigger", checks.REPLACED_TRIGGER),
    ]


async def test_the_check_says_what_is_missing_and_what_changes(
    directory: asyncpg.Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    if cluster.CLUSTER_URL:
        pytest.skip("the tables are distributed")
    findings = await citus.check()
    missing = [sentence for outcome, sentence in findings if outcome is Outcome.MISSING]
    changes = [sentence for outcome, sentence in findings if outcome is Outcome.CHANGE]
    assert any("shared_preload_libraries" in sentence for sentence in missing)
    assert any("CREATE EXTENSION citus" in sentence for sentence in missing)
    assert "member_participation_pkey becomes (id, member_id)." in changes
    assert any(checks.REPLACED_TRIGGER in sentence for sentence in changes)
    assert not any("refuses" in sentence for sentence in missing)


async def test_the_check_names_a_key_and_a_trigger_of_somebody_else(
    database: str, directory: asyncpg.Pool
) -> None:
    if cluster.CLUSTER_URL:
        pytest.skip("the tables are distributed")
    await directory.execute("""
        CREATE UNIQUE INDEX own_key ON member_participation (id, platform);
        CREATE TRIGGER own_trigger BEFORE UPDATE ON member_participation
            FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
    """)
    missing = [sentence for outcome, sentence in await citus.check() if outcome is Outcome.MISSING]
    assert any("unique key own_key" in sentence for sentence in missing)
    assert any("trigger own_trigger" in sentence for sentence in missing)


@pytest.mark.parametrize("name", ["distribute", "undistribute"])
def test_a_script_is_printed_for_psql(
    name: citus.ScriptName, capsys: pytest.CaptureFixture[str]
) -> None:
    citus_commands.print_script(name)
    printed = capsys.readouterr().out
    assert f"--single-transaction --file {name}.sql" in printed
    assert f"{'un' if name == 'undistribute' else 'create_'}distribut" in printed


@pytest.mark.parametrize(
    ("error", "message", "field"),
    [
        (
            asyncpg.CheckViolationError,
            'new row for relation "member_participation_102011" violates check constraint '
            '"participation_room_id_check"',
            "room_id",
        ),
        (
            asyncpg.ForeignKeyViolationError,
            'insert or update on table "member_participation_102013" violates foreign key '
            'constraint "member_participation_member_id_fkey_102013"',
            "member_id",
        ),
        (
            asyncpg.NotNullViolationError,
            'null value in column "event_type" of relation "member_participation_102011" violates '
            "not-null constraint",
            "event_type",
        ),
    ],
)
def test_an_error_of_a_worker_is_that_of_the_violated_rule(
    error: type[asyncpg.PostgresError], message: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught, database_errors():
        raise error(message)
    assert caught.value.field == field


async def dump(directory: asyncpg.Pool) -> list[str]:
    """Return all events and highlights."""
    return [
        await directory.fetchval(f"SELECT array_agg(t::text ORDER BY t::text)::text FROM {table} t")
        for table in checks.DISTRIBUTED_TABLES
    ]


@on_a_cluster
async def test_the_scripts_lead_there_and_back(database: str, directory: asyncpg.Pool) -> None:
    await community(directory)
    before = await dump(directory)
    findings = await citus.check()
    assert Outcome.CHANGE not in {outcome for outcome, _ in findings}
    assert (Outcome.READY, "The events of a member are read by one task.") in findings
    cluster.run_script(database, "undistribute")
    assert await dump(directory) == before
    assert await read_catalog() == json.loads(CATALOG_PATH.read_text(encoding="utf-8"))
    cluster.run_script(database, "distribute")
    assert await dump(directory) == before


@on_a_cluster
@pytest.mark.parametrize("helper", CASES)
async def test_each_helper_works_on_the_cluster(directory: asyncpg.Pool, helper: str) -> None:
    await community(directory)
    async with undone():
        await HELPERS[helper](**arguments(helper))
