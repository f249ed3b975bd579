"""The commands `community-directory elizaos export` and `import`, as an operator types them."""

import json
import subprocess
from pathlib import Path

import asyncpg
import pytest

from community_directory.elizaos_commands import export_to_agent, import_from_agent
from community_directory.settings import load_settings
from tests.imports.agent_tables import AGENT, AGENT_NAME, CAMEL_CASE, AgentTables, person
from tests.processes import run_command
from tests.roles import app_url
from tests.tables import rows

NOTHING_NEW = """\
            0 new relationships
            0 relationships with new details
            1 relationships that were there already
"""


def run(*arguments: str | Path, url: str) -> subprocess.CompletedProcess[str]:
    return run_command("elizaos", *arguments, settings={"POSTGRES_URL": url})


@pytest.fixture
async def here(emptied_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database of the settings, in which #1 has invited #2."""
    connection = await asyncpg.connect(emptied_database)
    await rows.member(connection, telegram_id="1001", name="Ana")
    await rows.member(connection, telegram_id="1002", name="Bo", invited_by="#1")
    await connection.close()
    monkeypatch.setenv("POSTGRES_URL", app_url(emptied_database))
    load_settings.cache_clear()
    return app_url(emptied_database)


async def test_a_file_is_exported_and_imported_from_the_command_line(
    here: str, tmp_path: Path
) -> None:
    file = tmp_path / "agent.json"
    ended = run("export", file, "--agent", AGENT_NAME, url=here)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        "Exported:\n"
        "            1 new relationships\n"
        "            0 relationships with new details\n"
        "            0 relationships that were there already\n"
        "            2 new entities of the agent\n"
    )
    assert json.loads(file.read_text())["agentId"] == AGENT
    ended = run("import", file, f"--agent={AGENT}", url=here)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        f"Imported:\n{NOTHING_NEW}            2 entities that are accounts of members from now on\n"
    )
    again = run("export", file, f"--agent={AGENT}", url=here)
    assert again.returncode == 1
    assert again.stderr.endswith("already exists: choose another name.\n")


def test_wrong_arguments_or_a_missing_setting_print_one_line(here: str) -> None:
    ended = run("export", url=here)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--agent" in ended.stderr
    ended = run("import", f"--agent={AGENT}", url=here)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "Set DIRECTORY_ELIZAOS_URL to the URL of the agent's database, or name a file.\n"
    )


async def test_the_agents_tables_are_written_and_read(
    here: str,
    empty_database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection = await asyncpg.connect(empty_database)
    tables = AgentTables(empty_database, connection, CAMEL_CASE)
    await tables.create()
    monkeypatch.setenv("DIRECTORY_ELIZAOS_URL", empty_database)
    load_settings.cache_clear()
    await export_to_agent(agent=AGENT_NAME, dry_run=True)
    assert await tables.relationships() == {}
    assert capsys.readouterr().out.startswith("Nothing was written. An export would write:\n")
    await export_to_agent(agent=AGENT_NAME)
    ends = (person("1001"), person("1002"))
    assert await tables.relationships() == {ends: (["INVITED"], {"INVITED": {}})}
    capsys.readouterr()
    await export_to_agent(agent=AGENT_NAME)
    assert capsys.readouterr().out == (
        f"Exported:\n{NOTHING_NEW}            0 new entities of the agent\n"
    )
    await import_from_agent(agent=AGENT_NAME, dry_run=True)
    assert capsys.readouterr().out == (
        f"Nothing was stored. An import would store:\n{NOTHING_NEW}"
        "            2 entities that are accounts of members from now on\n"
    )
    await connection.close()
