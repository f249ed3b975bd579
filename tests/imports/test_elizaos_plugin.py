"""Relationships are exchanged with an agent whose tables the real @elizaos/plugin-sql made.

TEST_ELIZAOS names folders, separated by colons, in each of which npm has installed one version:
`npm install --prefix FOLDER @elizaos/plugin-sql@1.7.2`. Without it these tests are skipped.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from community_directory.database import connect, migrate
from community_directory.elizaos_commands import export_to_agent, import_from_agent
from community_directory.queries import relationships
from community_directory.settings import load_settings
from tests.conftest import run_sql
from tests.imports.agent_tables import AGENT, AGENT_NAME, person
from tests.roles import app_url
from tests.tables import rows

AGENT_PROGRAM = Path(__file__).with_name("elizaos_agent.mjs")
NODE = shutil.which("node")
FOLDERS = [Path(folder) for folder in os.environ.get("TEST_ELIZAOS", "").split(":") if folder]
VERSIONS = {
    json.loads((folder / "node_modules/@elizaos/plugin-sql/package.json").read_text())["version"]: (
        folder
    )
    for folder in FOLDERS
}

pytestmark = [
    pytest.mark.skipif(not VERSIONS, reason="TEST_ELIZAOS names no folder with plugin-sql"),
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.parametrize("version", VERSIONS),
]


def run_agent(version: str, url: str, step: str) -> subprocess.CompletedProcess[str]:
    """Run the agent's program with one version of the plugin."""
    # The driver of Node takes the host of a URL without one from its query only.
    return subprocess.run(
        [str(NODE), AGENT_PROGRAM, url.replace("@/", "@localhost/"), AGENT_NAME, step],
        cwd=VERSIONS[version],
        env={**os.environ, "LOG_LEVEL": "fatal"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def answer_of(version: str, url: str, step: str) -> dict[str, Any]:
    """Run the agent's program, which must succeed, and return its answer."""
    ended = run_agent(version, url, step)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


async def test_the_agent_and_the_directory_have_the_same_relationships(
    emptied_database: str, empty_database: str, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    started = answer_of(version, empty_database, "start")
    ana, bo = person("1001"), person("default:1002")
    assert (started["agentId"], started["ana"], started["bo"]) == (AGENT, ana, bo)

    monkeypatch.setenv("POSTGRES_URL", app_url(emptied_database))
    monkeypatch.setenv("DIRECTORY_ELIZAOS_URL", empty_database)
    load_settings.cache_clear()
    connection = await asyncpg.connect(emptied_database)
    await rows.member(connection, telegram_id="1001", status="active")
    await rows.member(connection, telegram_id="1002", status="active", invited_by="#1")
    await rows.relationship(
        connection, entity_id_a="#2", entity_id_b="#1", relationship_type="MENTORED"
    )
    await connection.close()

    await import_from_agent(agent=AGENT_NAME)
    async with connect():
        edges = await relationships.of_member("#1")
    assert {
        (edge.member_id_a, edge.relationship_type, edge.member_id_b, str(edge.content))
        for edge in edges
    } == {
        ("#1", "FRIEND", "#2", "{'strength': 5}"),
        ("#1", "INVITED", "#2", "{}"),
        ("#2", "MENTORED", "#1", "{}"),
    }
    await export_to_agent(agent=AGENT_NAME)
    related = answer_of(version, empty_database, "read")["related"]
    assert {row["sourceEntityId"]: (row["tags"], row["metadata"]) for row in related} == {
        ana: (["friend", "INVITED"], {"strength": 5, "INVITED": {}}),
        bo: (["MENTORED"], {"MENTORED": {}}),
    }
    await export_to_agent(agent=AGENT_NAME)
    assert answer_of(version, empty_database, "start")["related"] == related


async def test_the_plugin_and_then_the_directory_can_share_a_database(
    empty_database: str, version: str
) -> None:
    answer_of(version, empty_database, "start")
    async with connect(empty_database, min_size=0):
        await migrate()
    answer_of(version, empty_database, "start")
    await run_sql(empty_database, "SELECT search_text, merged_into FROM community_members")


async def test_the_directory_and_then_the_plugin_share_a_database_from_version_1_7_on(
    empty_database: str, version: str
) -> None:
    async with connect(empty_database, min_size=0):
        await migrate()
    ended = run_agent(version, empty_database, "start")
    assert (ended.returncode == 0) == (not version.startswith("1.6.")), ended.stdout + ended.stderr
    await run_sql(empty_database, "SELECT search_text, merged_into FROM community_members")
