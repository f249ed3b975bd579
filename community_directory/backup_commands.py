"""The commands `backup` and `restore` of `community-directory`."""

import asyncio
import sys
from pathlib import Path

from community_directory.backup import Backup, back_up, back_up_to_directory
from community_directory.commands import command, print_line
from community_directory.errors import BackupFailed
from community_directory.restore import Restored, Target, check_backup, find_target, restore


@command
async def back_up_database(path: str = "") -> None:
    """Write the whole database to a new file.

    Args:
        path: The new file; without it, one in DIRECTORY_BACKUP_DIRECTORY, where the oldest ones
            are then deleted.
    """
    file = Path(path)
    try:
        if path:
            backup = await back_up(file)
        else:
            file, backup = await back_up_to_directory()
    except asyncio.CancelledError:
        print_line("The backup was stopped, and there is no file.", error=True)
        raise
    size = file.stat().st_size / 1_000_000
    print_line(f"{backup.members:,} members are in {file} ({size:,.1f} MB).")


def restore_database(file: str, /, *, yes: bool = False, discard_old: bool = False) -> None:
    """Replace the whole database by a backup.

    If the database has tables, it asks first, and keeps what was there.

    Args:
        file: The backup, which must be one of your own: the database runs it as a program.
        yes: Do not ask.
        discard_old: Do not keep what was in the database.
    """
    path = Path(file)
    target, backup = asyncio.run(_look(path))
    if target.has_tables and not yes:
        _confirm(path, backup, target)
    try:
        restored = asyncio.run(restore(path, backup, target, keep_old=not discard_old))
    except KeyboardInterrupt:
        print_line(
            "The restore was stopped: the database has its old contents, or all of the restored.",
            error=True,
        )
        raise
    _print_report(restored)


async def _look(path: Path) -> tuple[Target, Backup]:
    target = await find_target()
    return target, await check_backup(path, target)


def _confirm(path: Path, backup: Backup, target: Target) -> None:
    """Ask for the name of the database until it is typed.

    Raises:
        BackupFailed: There is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise BackupFailed(
            f"The database {target.name} has data: add --yes to replace it by the backup."
        )
    has = "other tables" if target.members is None else f"{target.members:,} members"
    print_line(f"The database {target.name} has {has}.")
    print_line(f"{path} has {backup.members:,} members, and was made at {backup.created_at}.")
    print_line("Everything in the database is replaced. Stop the bots first, so that nothing that")
    print_line("they write in the meantime is lost.")
    while input(f"Type {target.name} to go on, or press Ctrl+C: ").strip() != target.name:
        pass


def _print_report(restored: Restored) -> None:
    for sentence in restored.left_out:
        print_line(sentence)
    if restored.old_database:
        print_line(
            f"What was there before is in the database {restored.old_database}. To delete it: "
            f"community-directory psql -c 'DROP DATABASE \"{restored.old_database}\"'"
        )
    if restored.old_file:
        print_line(f"What was there before is in {restored.old_file}.")
    print_line(f"The database has {restored.members:,} members.")
