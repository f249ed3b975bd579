"""Drizzle, a client that runs in Node."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.say import say

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "drizzle"
INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
"""npm's arguments: the versions of the lock file, which names no registry."""


class DrizzleMissingError(Exception):
    """Drizzle can't run on this machine; the message is the reason."""


def install_drizzle() -> list[str]:
    """Install Drizzle with npm, unless it is installed, and return the command that starts it.

    Raises:
        DrizzleMissingError: Node or npm is missing, or npm fails.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        raise DrizzleMissingError("node is not installed")
    if not _is_installed():
        if npm is None:
            raise DrizzleMissingError("npm is not installed")
        say("npm installs Drizzle …")
        done = subprocess.run([npm, *INSTALL], cwd=DIRECTORY, stdout=sys.stderr, check=False)
        if done.returncode != 0 or not _is_installed():
            raise DrizzleMissingError("npm could not install it")
    return [node, str(DIRECTORY / "client.mjs")]


def _is_installed() -> bool:
    """Return whether all libraries are installed in the versions of package.json."""
    wanted: dict[str, str] = json.loads((DIRECTORY / "package.json").read_text())["dependencies"]
    return all(_version(library) == version for library, version in wanted.items())


def _version(library: str) -> str | None:
    try:
        return str(
            json.loads((DIRECTORY / "node_modules" / library / "package.json").read_text())[
                "version"
            ]
        )
    except (OSError, ValueError, KeyError):
        return None
