import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from piccolo.conf.apps import Finder

from community_directory.commands import COMMANDS, Command
from community_directory.settings import Settings, variable
from tests.processes import PROJECT, environment

README = (PROJECT / "README.md").read_text()


def test_every_setting_is_in_the_table_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        row = next(
            (line for line in README.splitlines() if line.startswith(f"| `{variable(name)}`")), None
        )
        assert row, f"{variable(name)} is missing from the README"
        if isinstance(field.default, str | int) and not isinstance(field.default, bool):
            assert f"`{field.default}`" in row


def test_no_setting_is_in_the_readme_that_does_not_exist() -> None:
    known = {variable(name) for name in Settings.model_fields}
    assert set(re.findall(r"DIRECTORY_[A-Z_]+|POSTGRES_URL", README)) <= known


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_is_in_the_table_of_commands(command: Command) -> None:
    named = rf"^\| `piccolo community_directory {command.__name__}\b[^|]*` +\| \w"
    assert re.search(named, README, re.MULTILINE), f"{command.__name__} is missing from the README"


def test_every_table_and_column_is_in_the_diagram() -> None:
    diagram = README.partition("erDiagram")[2].partition("```")[0]
    for table in Finder().get_app_config("community_directory").table_classes:
        drawn = re.search(
            rf"^    {table._meta.tablename} {{\n(.*?)\n    }}", diagram, re.MULTILINE | re.DOTALL
        )
        assert drawn, table
        columns = [line.split()[1] for line in drawn[1].splitlines()]
        assert columns == [column._meta.name for column in table._meta.columns]


def test_every_picture_is_there_and_small_and_none_is_left_over() -> None:
    named = set(re.findall(r"docs/screenshots/[\w-]+\.png", README))
    assert named == {
        str(file.relative_to(PROJECT)) for file in (PROJECT / "docs/screenshots").iterdir()
    }
    for name in named:
        assert (PROJECT / name).stat().st_size < 200_000, name


@pytest.mark.parametrize(
    "page", [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]
)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_test_that_the_readme_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", README)
    assert len(named) > 10
    for file, test in named:
        assert re.search(rf"def {test}\(", (PROJECT / file).read_text()), f"{file}::{test}"


async def test_the_example_of_a_bot_runs_as_it_stands(database: str, tmp_path: Path) -> None:
    example = README.partition("```python\n")[2].partition("```")[0]
    script = tmp_path / "bot.py"
    script.write_text(example)
    said = [
        subprocess.run(
            [sys.executable, script],
            cwd=tmp_path,
            env=environment(POSTGRES_URL=database, PYTHONPATH=str(PROJECT)),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert said == ["Welcome, Bea O'Neill! You are member #2.\n", "You are already a member.\n"]


def test_the_example_of_a_bot_is_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy comes with the extra dev")
    example = tmp_path / "bot.py"
    example.write_text(README.partition("```python\n")[2].partition("```")[0])
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            PROJECT / "pyproject.toml",
            example,
        ],
        cwd=tmp_path,
        env=environment(MYPYPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_package_says_that_it_is_typed() -> None:
    assert (files("community_directory") / "py.typed").is_file()
