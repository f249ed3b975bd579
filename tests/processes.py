"""Programs of the project, run in processes of their own as a user runs them."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.log_guard import LOG_LINE, log_guard

PROJECT = Path(__file__).parent.parent
"""The clone."""
ADMIN_PASSWORD = "correct horse battery"
"""A password that the panel accepts."""

_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _BROWSERS)), None)
"""The path of Chromium, if there is one.

The headless shell, which draws on no screen, takes three fifths of the processor's time.
"""

PROGRAM = (sys.executable, "-m", "community_directory")


COMMAND_SECONDS = 60
"""The time after which a command counts as stuck."""


class ForkServer:
    """Runs commands in forks of a program that has imported the project: `tests.fork_server`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        program: str,
        arguments: Sequence[str | Path],
        settings: Mapping[str, str],
        folder: Path,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of a program of `tests.fork_server`."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server"],
                cwd=PROJECT,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdin
        assert self._process.stdout
        command = [str(argument) for argument in arguments]
        with tempfile.TemporaryDirectory() as name:
            printed, said = Path(name, "stdout"), Path(name, "stderr")
            for stream in (printed, said):
                stream.touch()
            request = {
                "program": program,
                "arguments": command,
                "environment": environment(**settings),
                "folder": str(folder),
                "streams": [os.devnull, str(printed), str(said)],
                "seconds": COMMAND_SECONDS,
            }
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(
                [program, *command], code, printed.read_text(), said.read_text()
            )

    def stop(self) -> None:
        """End the server, if a test has started it."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


fork_server = ForkServer()
"""The fork server of this worker."""


def run_command(
    *arguments: str | Path, settings: Mapping[str, str], folder: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    """Run `community-directory …` in a fork, and return its exit code and its output.

    It saves the import of the project, which takes most of the time of a command. What is special
    about a start belongs to tests of `PROGRAM`: a terminal, a pipe, signals, and what Python itself
    reads of the environment and the folder.

    Args:
        arguments: The arguments of the command line.
        settings: Variables of its environment, beside those of this process that are no settings.
        folder: The working directory.
    """
    return fork_server.run("directory", arguments, settings, folder)


def run_piccolo(
    *arguments: str | Path, settings: Mapping[str, str], folder: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    """Run `piccolo …` as `run_command` runs `community-directory …`."""
    return fork_server.run("piccolo", arguments, settings, folder)


def type_into(*arguments: str, url: str, lines: list[bytes]) -> tuple[int, str]:
    """Run a command on a terminal and answer each of its prompts; return its code and output."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(
            sys.executable,
            [*PROGRAM, *arguments],
            environment(POSTGRES_URL=url, PYTHONPATH=str(PROJECT)),
        )
    shown, typed, length_when_typed, quiet = b"", b"", 0, 0
    while True:
        quiet += 1
        if select.select([terminal], [], [], 0.2)[0]:
            quiet = 0
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # Linux raises it when the other side is closed
                break
        elif shown.endswith(b": ") and len(shown) > length_when_typed and lines:
            typed, length_when_typed = lines.pop(0), len(shown)
            os.write(terminal, typed)
        elif typed == b"\x03" and quiet == 25:
            # input() misses a signal that arrives between its prompt and its wait. A second one
            # ends a program that has heard the first one and is still busy.
            os.write(terminal, typed)
            quiet = 0
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode().replace("\r", "")


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of this process with these settings of the project and no others."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("POSTGRES_URL", "POSTGRES_READ_URL", "DIRECTORY_", "TELEGRAM_"))
    }
    return {**kept, **variables}


def check_types(file: Path, folder: Path) -> None:
    """Assert that mypy accepts a program that uses the project, run in an empty folder.

    It uses what `mypy` remembers of the project, which saves 4 s.
    """
    pytest.importorskip("mypy", reason="mypy comes with the extra dev")
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            PROJECT / "pyproject.toml",
            "--cache-dir",
            PROJECT / ".mypy_cache",
            file,
        ],
        cwd=folder,
        env=environment(MYPYPATH=str(PROJECT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@dataclass
class Panel:
    """A running `python main.py`.

    Attributes:
        process: The process.
        printed: The lines that it has printed, without those of its log.
        logged: The lines of its log, from which the time is cut off.
        url: The URL of the panel.
    """

    process: subprocess.Popen[str]
    printed: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    url: str = ""

    def read_until_served(self) -> None:
        """Read what it prints until it has printed its URL."""
        assert self.process.stdout
        for line in self.process.stdout:
            self._keep(line)
            if found := re.search(r"http://\S+/", line):
                self.url = found.group()
                return
        raise AssertionError(f"main.py did not start: {self.printed} {self.logged}")

    def _keep(self, line: str) -> None:
        line = line.rstrip()
        if LOG_LINE.match(line):
            log_guard.add(line)
            self.logged.append(line.partition(" ")[2])
        else:
            self.printed.append(line)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, wait for the end of the process, and return its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        for line in self.process.communicate(timeout=120)[0].splitlines():
            self._keep(line)
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
        panel = Panel(process)
        try:
            panel.read_until_served()
            yield panel
        finally:
            process.kill()
