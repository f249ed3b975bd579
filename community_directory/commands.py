"""The commands of `piccolo community_directory …`: what an operator runs by hand, or by cron."""

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from io import BufferedReader
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, Never

from tqdm import tqdm

from community_directory import jobs
from community_directory.calendar import days_between, load_zone, today
from community_directory.database import connect
from community_directory.errors import (
    DatabaseUnavailable,
    DirectoryError,
    InvalidInput,
    sanitize_for_message,
)
from community_directory.imports import discord, members_csv, telegram
from community_directory.imports.export import ExportedEvent, Skipped
from community_directory.imports.history import Report, import_history
from community_directory.queries import highlights, invitations
from community_directory.tables import Platform

OPTIONS_FORM = "Write options as --since=2026-01-31, and switches such as --dry-run alone."

Command = Callable[..., Awaitable[None]]


def command(function: Command) -> Command:
    """A command that runs on the directory; what goes wrong is its last line, and the exit code 1."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    async def run(**options: Any) -> None:
        # `--dry-run` is how people write it.
        bound = signature.bind(**{name.replace("-", "_"): value for name, value in options.items()})
        for name, value in bound.arguments.items():
            # Piccolo makes True of the text "t", too.
            if isinstance(value, bool) != (signature.parameters[name].annotation is bool):
                sys.exit(OPTIONS_FORM)
        try:
            async with connect():
                await function(**bound.arguments)
        except members_csv.BadLines as error:
            for number, problem in error.problems:
                _say(f"line {number}: {problem}")
            sys.exit(str(error))
        except DirectoryError as error:
            sys.exit(str(error))
        except asyncio.CancelledError:
            sys.exit("Stopped. What was done stays; the same command again does the rest.")

    run.__signature__ = signature  # type: ignore[attr-defined]  # piccolo asks it for the parameters' order
    return run


@command
async def expire_invitations() -> None:
    """Mark the invitations that are past their time as expired."""
    _say(f"{await invitations.expire_overdue():,} invitations have expired.")


@command
async def roll_up_highlights(since: str = "", until: str = "") -> None:
    """Count the highlights again from the events, in the community's zone.

    Without days it does what the panel does each night: the last month, and each older day whose
    events are not those that it was rolled up from.

    :param since:
        The first day, as 2026-01-31; the day before the last one, when it is left out.
    :param until:
        The last day; today, when it is left out.
    """
    if since or until:
        last = _day(until) if until else today()
        first = _day(since) if since else max(last, date(1, 1, 2)) - timedelta(days=1)
        written = await _roll_up(days_between(first, last, None).days)
    else:
        found = await jobs.roll_up_recent()
        if found is None:
            raise DatabaseUnavailable("Another process is rolling up at the moment.")
        written = found
    _say(f"{written:,} highlights were written.")


@command
async def import_telegram(path: str, dry_run: bool = False, chats: str = "") -> None:
    """Import the history of groups from the JSON that Telegram Desktop exports.

    :param path:
        The result.json of a chat, or of an account.
    :param dry_run:
        Only say what would happen.
    :param chats:
        Of an account's groups only these: names or ids, with commas between them.
    """
    chosen = [name.strip() for name in chats.split(",") if name.strip()]
    zone = load_zone(None)
    report = await _import(
        Path(path),
        Platform.TELEGRAM,
        lambda file: telegram.read(file, zone=zone, chats=chosen),
        dry_run,
    )
    if chosen and not report.rooms:
        raise InvalidInput("None of these groups has anything to import in this file.")


@command
async def import_discord(path: str, dry_run: bool = False) -> None:
    """Import the history of a channel from the JSON that DiscordChatExporter writes.

    :param path:
        The file of one channel.
    :param dry_run:
        Only say what would happen.
    """
    await _import(Path(path), Platform.DISCORD, discord.read, dry_run)


@command
async def export_members(path: str) -> None:
    """Write everybody to a CSV file that spreadsheets can open safely.

    :param path:
        The file, which must not be there yet.
    """
    _say(f"{await members_csv.export_members(Path(path)):,} people are in {path}.")


@command
async def import_members(path: str, overwrite: bool = False) -> None:
    """Add people and change profiles as a CSV file says: all of it, or nothing.

    :param path:
        The file, in UTF-8, with columns as export_members writes them.
    :param overwrite:
        Take back edits of profiles made since the export; a file without updated_at always does.
    """
    imported = await members_csv.import_members(Path(path), overwrite=overwrite)
    _say(
        f"{imported.added:,} added, {imported.changed:,} changed, {imported.unchanged:,} as they were."
    )


COMMANDS: Sequence[Command] = (
    expire_invitations,
    roll_up_highlights,
    import_telegram,
    import_discord,
    export_members,
    import_members,
)


def with_help(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `piccolo` with `--help` for the `-h` of one of these commands."""
    ours = "community_directory" in arguments[:2]
    return ["--help" if ours and argument == "-h" else argument for argument in arguments]


def check_arguments(arguments: Sequence[str]) -> None:
    """End the program with one line and exit code 2 if a command does not take its arguments.

    `arguments` are those of `piccolo`, which by itself would print 24 lines of help, or take
    `--until 2026-01-31` for a switch and the first day.
    """
    arguments = list(arguments)
    if "--trace" in arguments:
        arguments.remove("--trace")  # Piccolo's own, wherever it stands
    if arguments[:1] != ["community_directory"] or len(arguments) == 1 or "--help" in arguments:
        return
    _, name, *given = arguments
    command = next((command for command in COMMANDS if command.__name__ == name), None)
    if command is None:
        problem: str | None = (
            f"There is no command {sanitize_for_message(name)}: piccolo --help lists them."
        )
    else:
        problem = _problem(given, inspect.signature(command).parameters)
    if problem is not None:
        print(problem, file=sys.stderr)  # noqa: T201  a command talks to its user
        sys.exit(2)


def _problem(given: Sequence[str], parameters: Mapping[str, inspect.Parameter]) -> str | None:
    """What is wrong with a command's arguments."""
    missing = [
        name for name, parameter in parameters.items() if parameter.default is parameter.empty
    ]
    named: list[str] = []
    for argument in given:
        option, equals, _ = argument.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if not argument.startswith("--"):
            if not missing:
                return f"There is no place for {sanitize_for_message(argument)}. {OPTIONS_FORM}"
            named.append(missing.pop(0))
        elif name in parameters:
            if (parameters[name].annotation is bool) == bool(equals):
                return OPTIONS_FORM
            missing = [other for other in missing if other != name]
            named.append(name)
        elif name == "trace":
            return OPTIONS_FORM
        else:
            return f"There is no option {sanitize_for_message(option)}."
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        return f"The {twice} is given twice."
    return f"The {missing[0]} is missing." if missing else None


Reader = Callable[[BinaryIO], Iterator[ExportedEvent | Skipped]]


async def _import(path: Path, platform: Platform, read: Reader, dry_run: bool) -> Report:
    try:
        with path.open("rb") as file:
            size = file.seek(0, SEEK_END)
            file.seek(0)
            with tqdm(
                desc=path.name, total=size, unit="B", unit_scale=True, disable=None
            ) as progress:
                report = await import_history(
                    read(ProgressReader(file, progress)), platform, dry_run=dry_run
                )
    except OSError as error:
        raise InvalidInput(f"Can't read {path}: {error.strerror}.") from error
    if not dry_run:
        await _roll_up(sorted(report.days))
    if report.rooms or report.skipped:
        _tell(report, dry_run=dry_run)
    if report.broken:
        place = (
            f", after message {sanitize_for_message(report.last.source_id)} of {sanitize_for_message(report.last.room)}"
            if report.last
            else ""
        )
        sys.exit(f"{report.broken} All that comes before was read{place}.")
    return report


async def _roll_up(days: Sequence[date]) -> int:
    """Roll up the days, a month in a transaction."""
    written, done = 0, 0
    with tqdm(desc="Rolling up", total=len(days), unit=" days", disable=None) as progress:
        while done < len(days):
            first = days[done]
            some = [
                day
                for day in days[done : done + jobs.ROLL_UP_BATCH_DAYS]
                if (day - first).days < jobs.ROLL_UP_BATCH_DAYS
            ]
            written += await highlights.roll_up(first, until=some[-1])
            done += len(some)
            progress.update(len(some))
    return written


class ProgressReader(BufferedReader):
    """A file that shows how much of it was read; from the start again, when it is read twice."""

    def __init__(self, file: BufferedReader, progress: "tqdm[Never]") -> None:
        super().__init__(file.raw)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self._progress.update(len(chunk))
        return chunk

    def seek(self, target: int, whence: int = 0, /) -> int:
        self._progress.reset()
        return super().seek(target, whence)


def _tell(report: Report, *, dry_run: bool) -> None:
    _say("Nothing was stored; this is what would be:" if dry_run else "Imported:")
    for room, count in report.rooms.most_common():
        _say(f"  {count:>11,} events of {''.join(filter(str.isprintable, room))[:60]}")
    for event_type in sorted(report.inserted | report.duplicates):
        new, old = report.inserted[event_type], report.duplicates[event_type]
        _say(f"  {new:>11,} new {event_type} events, and {old:,} that were there already")
    _say(
        f"  {report.new_contacts:>11,} new contacts, and {report.known_people:,} people who were known"
    )
    for reason, count in report.skipped.most_common():
        _say(f"  {count:>11,} {reason} were left out")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{sanitize_for_message(text)} is no day: write it as 2026-01-31."
        ) from None


def _say(sentence: str) -> None:
    print(sentence)  # noqa: T201  a command talks to its user
