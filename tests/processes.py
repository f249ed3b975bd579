"""Programs of the project, run in processes of their own as a user runs them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
"""The clone."""
ADMIN_PASSWORD = "correct horse battery"
"""A password that the panel accepts."""


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of this process with these settings of the project and no others."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "POSTGRES_URL" and not name.startswith("DIRECTORY_")
    }
    return {**kept, **variables}


def check_types(file: Path, folder: Path) -> None:
    """Assert that mypy accepts a program that uses the project, run in an empty folder."""
    pytest.importorskip("mypy", reason="mypy comes with the extra dev")
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            PROJECT / "pyproject.toml",
            file,
        ],
        cwd=folder,
        env=environment(MYPYPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@dataclass(frozen=True)
class Panel:
    """A running `python main.py`.

    Attributes:
        process: The process.
        printed: The lines that it has printed.
        url: The URL of the panel.
    """

    process: subprocess.Popen[str]
    printed: list[str]
    url: str

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait for the end of the process, and return its exit code."""
        self.process.send_signal(number)
        self.printed.extend(self.process.communicate(timeout=120)[0].splitlines())
        return self.process.returncode


@contextmanager
def running_panel(*arguments: str, **variables: str) -> Iterator[Panel]:
    """Run `python main.py` on a free port, and yield when it has printed its URL.

    Args:
        arguments: Arguments of the command line.
        variables: Settings for its environment.
    """
    with subprocess.Popen(
        [sys.executable, PROJECT / "main.py", "--port", "0", *arguments],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        printed: list[str] = []
        try:
            assert process.stdout
            for line in process.stdout:
                printed.append(line.rstrip())
                if found := re.search(r"http://\S+/", line):
                    yield Panel(process, printed, found.group())
                    return
            raise AssertionError(f"main.py did not start: {printed}")
        finally:
            process.kill()
