import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from tests.processes import PROJECT, check_types, environment
from tests.roles import app_url

README = (PROJECT / "README.md").read_text()


def test_the_readme_has_at_most_a_hundred_lines() -> None:
    assert len(README.splitlines()) <= 100


async def test_the_example_of_a_bot_runs_unchanged(database: str, tmp_path: Path) -> None:
    example = README.partition("```python\n")[2].partition("```")[0]
    script = tmp_path / "bot.py"
    script.write_text(example)
    said = [
        subprocess.run(
            [sys.executable, script],
            cwd=tmp_path,
            env=environment(POSTGRES_URL=app_url(database), PYTHONPATH=str(PROJECT)),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert said == ["Welcome, Bea O'Neill! You are member #2.\n", "You are already a member.\n"]


def test_the_example_of_a_bot_is_typed(tmp_path: Path) -> None:
    example = tmp_path / "bot.py"
    example.write_text(README.partition("```python\n")[2].partition("```")[0])
    check_types(example, tmp_path)


@pytest.mark.parametrize("extra", ["embedded", "test"])
def test_the_commands_that_ci_runs_are_in_the_readme(extra: str) -> None:
    [line] = re.findall(rf"^.*pip install -e '\.\[{extra}\]'.*$", README, re.MULTILINE)
    assert line.startswith("python3 -m venv .venv && ")


def test_the_package_says_that_it_is_typed() -> None:
    assert (files("community_directory") / "py.typed").is_file()
