"""Citus: events and highlights on several machines, for the day one primary is not enough."""

from pathlib import Path
from typing import Literal

from community_directory.citus.checks import Finding, Outcome, check

__all__ = ["Finding", "Outcome", "ScriptName", "check", "read_script"]

ScriptName = Literal["distribute", "undistribute"]
SCRIPTS_DIRECTORY = Path(__file__).parent


def read_script(name: ScriptName) -> str:
    """Return the SQL that distributes the tables over the nodes, or that brings them back."""
    return (SCRIPTS_DIRECTORY / f"{name}.sql").read_text(encoding="utf-8")
