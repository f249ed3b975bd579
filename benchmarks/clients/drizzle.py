"""Drizzle, which runs in Node: how to start it, and why it may have to be left out."""

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "drizzle"
INSTALL: Final = ("install", "--no-audit", "--no-fund", "--no-package-lock", "--silent")


def command() -> list[str] | None:
    """How to start it, installed where that is still to be done; None when `why_not` has a reason."""
    node = shutil.which("node")
    return None if node is None or why_not() else [node, str(DIRECTORY / "client.mjs")]


@cache
def why_not() -> str | None:
    """Why it is left out, in words; None when it can run. Installs what it needs."""
    if shutil.which("node") is None:
        return "node is not installed"
    if _installed():
        return None
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    print("Drizzle is being installed by npm …", file=sys.stderr, flush=True)  # noqa: T201  it may take a while
    done = subprocess.run([npm, *INSTALL], cwd=DIRECTORY, stdout=sys.stderr, check=False)
    return None if done.returncode == 0 and _installed() else "npm could not install it"


def _installed() -> bool:
    """Whether the libraries are there in the versions that are asked for: an older or half an installation won't do."""
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
