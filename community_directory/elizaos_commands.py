"""The commands `elizaos export` and `elizaos import` of `community-directory`."""

from pathlib import Path

from community_directory.commands import command, print_line
from community_directory.elizaos import string_to_uuid
from community_directory.imports.agent_database import open_agent_database
from community_directory.imports.agent_file import read_agent_file, write_agent_file
from community_directory.imports.agent_rows import AgentRows
from community_directory.imports.elizaos import (
    Report,
    export_relationships,
    import_relationships,
)


@command
async def export_to_agent(path: str = "", *, agent: str, dry_run: bool = False) -> None:
    """Write the relationships of members, invitations included, for an ElizaOS agent.

    Everything that the agent has stays, and a second run changes nothing.

    Args:
        path: A new JSON file; without it, the tables of the agent in DIRECTORY_ELIZAOS_URL.
        agent: The name of the agent's character, or its id.
        dry_run: Only print what would be written.
    """
    agent_id = string_to_uuid(agent)
    present = AgentRows({}, {})
    if not path:
        async with open_agent_database(agent_id) as database:
            present = await database.read()
    changes, report = await export_relationships(agent_id, present)
    if path and not dry_run:
        write_agent_file(Path(path), agent_id, changes)
    elif changes.relationships and not dry_run:
        async with open_agent_database(agent_id) as database:
            await database.add(changes)
    print_line("Nothing was written. An export would write:" if dry_run else "Exported:")
    _print_report(report, "new entities of the agent")


@command
async def import_from_agent(path: str = "", *, agent: str, dry_run: bool = False) -> None:
    """Store the relationships of an ElizaOS agent, and its entities as accounts of members.

    Args:
        path: A JSON file; without it, the tables of the agent in DIRECTORY_ELIZAOS_URL.
        agent: The name of the agent's character, or its id.
        dry_run: Only print what would be stored.
    """
    agent_id = string_to_uuid(agent)
    if path:
        rows = read_agent_file(Path(path), agent_id)
    else:
        async with open_agent_database(agent_id) as database:
            rows = await database.read()
    report = await import_relationships(agent_id, rows, dry_run=dry_run)
    print_line("Nothing was stored. An import would store:" if dry_run else "Imported:")
    _print_report(report, "entities that are accounts of members from now on")


def _print_report(report: Report, entities: str) -> None:
    print_line(f"  {report.added:>11,} new relationships")
    print_line(f"  {report.changed:>11,} relationships with new details")
    print_line(f"  {report.unchanged:>11,} relationships that were there already")
    print_line(f"  {report.entities:>11,} {entities}")
    for reason, count in sorted(report.left_out.items()):
        print_line(f"  {count:>11,} {reason}, left out")
