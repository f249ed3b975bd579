"""The commands `citus check` and `citus script` of `community-directory`."""

import sys

from community_directory.citus import Outcome, ScriptName, check, read_script
from community_directory.commands import command, print_line


@command
async def check_citus() -> None:
    """Say whether the database is ready for Citus, and what distributing it would change.

    It changes nothing, and works on PostgreSQL without Citus. Of a database that is distributed it
    says how. The exit code is 1 if something is missing.
    """
    findings = await check()
    for outcome, sentence in findings:
        print_line(f"{outcome:<8}{sentence}")
    if any(outcome is Outcome.MISSING for outcome, _ in findings):
        sys.exit(1)


def print_script(name: ScriptName, /) -> None:
    """Print the SQL that distributes the tables over the nodes of Citus, or that brings them back.

    Args:
        name: The script distribute or undistribute.
    """
    print_line(read_script(name).rstrip())
