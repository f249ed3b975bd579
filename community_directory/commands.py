"""The commands that operators run, by hand or from cron.

`community-directory …` and `piccolo community_directory …` share them.
"""

import asyncio
import contextlib
import functools
import inspect
import re
import sys
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from io import BufferedReader
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, Never

from tqdm import tqdm

from community_directory import doctor, jobs
from community_directory.calendar import days_between, load_zone, today
from community_directory.database import connect, long_running, transaction
from community_directory.database.migrations import migrate
from community_directory.demo import load_demo
from community_directory.doctor.text import format_result, format_summary
from community_directory.errors import (
    DatabaseUnavailable,
    DirectoryError,
    InvalidInput,
    database_errors,
    sanitize_for_message,
)
from community_directory.imports import discord, members_csv, telegram
from community_directory.imports.export import (
    BotAccount,
    ExportedEvent,
    ExportedItem,
    NotJson,
    TruncatedExport,
)
from community_directory.imports.export_check import check_export
from community_directory.imports.history import (
    Report,
    find_confirmed_people,
    import_history,
    leave_out_bots,
)
from community_directory.interrupts import exit_stopped
from community_directory.queries import archive, highlights, invitations, permissions
from community_directory.queries.archived_days import first_kept_day
from community_directory.queries.values import member_number
from community_directory.tables import EventType, Platform
from community_directory.typescript import make_typescript

OPTIONS_MESSAGE = (
    "Write options as --since=2026-01-31, and switches such as --dry-run without a value."
)

Command = Callable[..., Coroutine[Any, Any, None]]


def command(function: Command) -> Command:
    """Make a command of a function, which then runs with an open connection pool.

    A `DirectoryError` ends the program with exit code 1 and the error's message as its last line;
    Ctrl+C ends it with exit code 130.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    async def run(*arguments: object, **options: object) -> None:
        # Piccolo passes the option --dry-run under the name "dry-run".
        named = {name.replace("-", "_"): value for name, value in options.items()}
        bound = signature.bind(*arguments, **named)
        for name, value in bound.arguments.items():
            # Piccolo converts values by itself, even the text "t" to True.
            if isinstance(value, bool) != (signature.parameters[name].annotation is bool):
                sys.exit(OPTIONS_MESSAGE)
        try:
            async with connect():
                await function(*bound.args, **bound.kwargs)
        except members_csv.InvalidLines as error:
            for number, problem in error.problems:
                print_line(f"line {number}: {problem}")
            sys.exit(str(error))
        except DirectoryError as error:
            sys.exit(str(error))
        except asyncio.CancelledError:
            exit_stopped()

    # Piccolo reads the order of the parameters from the signature.
    run.__signature__ = signature  # type: ignore[attr-defined]
    return run


@command
async def migrate_schema() -> None:
    """Bring the database's schema up to date: all pending migrations run, or none."""
    count = await migrate()
    print_line(f"Migrations run: {count}." if count else "The schema is up to date.")


@command
async def print_schema(*, typescript: bool) -> None:
    """Print the schema of the database for programs in other languages.

    Args:
        typescript: Print a module of TypeScript with tables of Drizzle ORM and types of their rows.
    """
    if not typescript:
        raise InvalidInput("There is one format: write --typescript.")
    print_line((await make_typescript()).rstrip())


@command
async def load_demo_community() -> None:
    """Load the demo community into a directory without members, and do not serve it."""
    await migrate()
    await load_demo_data()


async def load_demo_data() -> None:
    """Load the demo into the connected database, and print whether it was loaded."""
    print_line("Loading the demo community.", error=True)
    loaded = await load_demo()
    print_line(
        "The demo community was loaded." if loaded else "The demo community is there already."
    )


@command
async def create_superuser(username: str, email: str, password: str, *, temporary: bool) -> None:
    """Create a superuser of the panel; the caller has checked the password.

    A temporary password must be changed at the first sign-in.
    """
    # Both modules are slow to import. The second one makes Piccolo check passwords like the panel.
    from piccolo.apps.user.tables import BaseUser  # noqa: PLC0415

    from community_directory.web.admin.users import (  # noqa: PLC0415
        add_superuser,
        is_ambiguous_username,
    )

    if not username.strip() or not username.isprintable():
        raise InvalidInput("A username must not be blank or have control characters.")
    if "@" not in email or not email.isprintable():
        raise InvalidInput(f"{sanitize_for_message(email)} is not an e-mail address.")
    with database_errors():
        async with transaction():
            for column, value in ((BaseUser.username, username), (BaseUser.email, email)):
                if await BaseUser.exists().where(column == value):
                    raise InvalidInput(
                        f"There is already a user with the {column._meta.name} "
                        f"{sanitize_for_message(value)}. Choose another one."
                    )
            if await is_ambiguous_username(username):
                raise InvalidInput(
                    f"In the audit log, {sanitize_for_message(username)} could mean a program or "
                    "another user. Choose another username."
                )
            await add_superuser(username, email, password, temporary=temporary)
    print_line(f"{sanitize_for_message(username)} is a superuser of the panel.")


@command
async def expire_invitations() -> None:
    """Mark overdue invitations as expired."""
    with long_running():
        expired = await invitations.expire_overdue()
    print_line(f"Invitations expired: {expired:,}.")


@command
async def roll_up_highlights(*, since: str = "", until: str = "") -> None:
    """Count the highlights again from the events, in the community's time zone.

    Without a day, it runs the panel's nightly job: it counts the last 31 days, and each older day
    whose events have changed since it was last counted.

    Args:
        since: The first day, such as 2026-01-31; without it, the day before the last one.
        until: The last day; without it, today.
    """
    if since or until:
        last = _parse_day(until) if until else today()
        first = _parse_day(since) if since else max(last, date(1, 1, 2)) - timedelta(days=1)
        written = await _roll_up_days(days_between(first, last, None).days)
    else:
        found = await jobs.roll_up_recent()
        if found is None:
            raise DatabaseUnavailable("Another process is rolling up. Try again later.")
        written = found
    print_line(f"Highlights written: {written:,}.")


@command
async def archive_events(*, before: str = "", dry_run: bool = False) -> None:
    """Turn the events of old days into daily counts for good, and delete them.

    The counts of each day are compared with its events first. Messages, reactions, minutes in voice
    chats and points stay; rooms, times of the day and events of other types are gone.

    Args:
        before: The first day that is kept, such as 2026-01-31; without it, the one that
            DIRECTORY_EVENT_RETENTION_DAYS says.
        dry_run: Only print what would be deleted.
    """
    kept = _parse_day(before) if before else first_kept_day()
    if kept is None:
        raise InvalidInput("Set DIRECTORY_EVENT_RETENTION_DAYS, or give the day with --before.")
    if dry_run:
        _print_old_events(await archive.preview(kept), kept)
        return
    days = events = 0
    with tqdm(desc="Archiving", unit=" days", disable=None) as progress:
        while archived := await archive.archive_next_day(kept):
            days, events = days + 1, events + archived.events
            progress.update()
    print_line(f"Archived: {days:,} {_plural(days, 'day')}, {events:,} {_plural(events, 'event')}.")


def _print_old_events(old: Sequence[archive.OldEvents], kept: date) -> None:
    """Print what the archive of the days before `kept` would delete."""
    if not old:
        print_line(f"There are no events of days before {kept}: nothing to archive.")
        return
    first = min(each.first_day for each in old)
    print_line(f"Nothing was deleted. Of the days from {first} to before {kept} it would delete:")
    for each in old:
        members = f"{each.members:,} {_plural(each.members, 'member')}"
        event = f"{each.event_type} {_plural(each.events, 'event')}"
        lost = "" if each.event_type in set(EventType) else ", of which no count is kept"
        print_line(f"  {each.events:>11,} {event} of {members}{lost}")


Names = tuple[str, ...]
"""The type of an option that may be repeated, each time with a name or several ones."""


@command
async def import_telegram(
    path: str, *, dry_run: bool = False, chats: Names = (), bots: Names = ()
) -> None:
    """Import the history of groups from a JSON export of Telegram Desktop.

    Args:
        path: The file result.json of a chat or of an account.
        dry_run: Only print what would be imported.
        chats: The groups to import: names or ids, separated by commas. It may be repeated.
        bots: Bots to leave out: names or ids, separated by commas. It may be repeated.
    """
    zone, confirmed = load_zone(None), await find_confirmed_people()
    given_chats, given_bots = _list_names(chats), _list_names(bots)

    def read(file: BinaryIO) -> Iterator[ExportedItem]:
        chosen, left_out = given_chats, given_bots
        if any("," in name for name in (*chosen, *left_out)):
            rooms, people = _find_names(telegram.read(file, zone=zone))
            file.seek(0)
            chosen, left_out = _split_names(chosen, rooms), _split_names(left_out, people)
        items = telegram.read(file, zone=zone, chats=chosen, people=confirmed)
        return leave_out_bots(items, left_out)

    await _import(Path(path), Platform.TELEGRAM, read, dry_run)


@command
async def import_discord(path: str, *, dry_run: bool = False, bots: Names = ()) -> None:
    """Import the history of a channel from a JSON export of DiscordChatExporter.

    Args:
        path: The file of one channel.
        dry_run: Only print what would be imported.
        bots: Bots to leave out: names or ids, separated by commas. It may be repeated.
    """
    given_bots = _list_names(bots)

    def read(file: BinaryIO) -> Iterator[ExportedItem]:
        left_out = given_bots
        if any("," in name for name in left_out):
            _, people = _find_names(discord.read(file))
            file.seek(0)
            left_out = _split_names(left_out, people)
        return leave_out_bots(discord.read(file), left_out)

    await _import(Path(path), Platform.DISCORD, read, dry_run)


def _list_names(names: Names | str) -> list[str]:
    """Return the values of an option; `join_repeated_options` makes one text of several."""
    values = names.splitlines() if isinstance(names, str) else names
    return [name.strip() for name in values if name.strip()]


def _find_names(items: Iterable[ExportedItem]) -> tuple[set[str], set[str]]:
    """Return the names of the chats and those of the authors in an export, as far as it goes.

    Bots that the export itself shows are among the authors.
    """
    rooms: set[str] = set()
    people: set[str] = set()
    # The second reading meets the same error and reports it.
    with contextlib.suppress(TruncatedExport):
        for item in items:
            if isinstance(item, BotAccount):
                people.add(item.name.strip())
            elif isinstance(item, ExportedEvent):
                rooms.add(item.room.strip())
                people.add((item.author.name or "").strip())
    return rooms, people


def _split_names(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Split names at commas, except those that are known as a whole."""
    return [
        part.strip()
        for name in names
        for part in ([name] if name in known else name.split(","))
        if part.strip()
    ]


@command
async def export_members(path: str) -> None:
    """Write all members to a CSV file that spreadsheets can open safely.

    Args:
        path: The new file; a file with this name must not exist.
    """
    print_line(f"{await members_csv.export_members(Path(path)):,} people are in {path}.")


@command
async def import_members(path: str, *, overwrite: bool = False) -> None:
    """Add members and change profiles from a CSV file: all of its lines, or none.

    Args:
        path: The file, in UTF-8, with the columns that export-members writes.
        overwrite: Replace profile edits made since the export, as a file without updated_at does.
    """
    imported = await members_csv.import_members(Path(path), overwrite=overwrite)
    print_line(
        f"{imported.added:,} added, {imported.changed:,} changed, {imported.unchanged:,} unchanged."
    )


@command
async def grant_permission(member: str, permission: str, /, *, reason: str = "") -> None:
    """Grant a permission to an active member.

    Args:
        member: The number of the member, such as 247.
        permission: invite, review, moderate, or manage, which includes the others.
        reason: The reason, for the audit log.
    """
    granted = await permissions.grant(member, permission, actor="command:grant", reason=reason)
    print_line(f"{granted.member_id} has the permission {granted.permission}.")


@command
async def revoke_permission(member: str, permission: str, /, *, reason: str = "") -> None:
    """Revoke a permission of a member.

    Args:
        member: The number of the member, such as 247.
        permission: invite, review, moderate or manage.
        reason: The reason, for the audit log.
    """
    number = member_number(member)
    held = await permissions.revoke(number, permission, actor="command:revoke", reason=reason)
    lost = "no longer has" if held else "did not have"
    print_line(f"{number} {lost} the permission {permission}.")


@command
async def run_doctor(*, full: bool = False, fix: bool = False, json: bool = False) -> None:
    """Check the schema, the data, the panel and the server, and say what to do about each fault.

    It changes nothing but the report on the panel's page Health, unless --fix is given. The exit
    code is 1 if a check failed, and 0 if there are only warnings.

    Args:
        full: Read all rows, not only the newest ones of large tables; this may take minutes.
        fix: Also repair what can be repaired without harm.
        json: Print the report as JSON.
    """
    results: list[doctor.Result] = []
    group = ""
    limits = long_running() if full or fix else contextlib.nullcontext()
    bar = tqdm(desc="Checking", total=doctor.CHECK_COUNT, leave=False, disable=None)
    with limits, bar as progress:
        async for result in doctor.run_checks(full=full, fix=fix):
            results.append(result)
            progress.update()
            if not json:
                heading = f"{result.group}\n" if result.group != group else ""
                progress.write(f"{heading}{format_result(result)}")
            group = result.group
    report = await doctor.make_report(results, full=full)
    print_line(doctor.format_json(report) if json else format_summary(results))
    if not await doctor.store_report(report):
        print_line("The report was not stored, so the panel shows an earlier one.", error=True)
    if report.verdict is doctor.Verdict.FAILED:
        sys.exit(1)


COMMANDS: Sequence[Command] = (
    expire_invitations,
    run_doctor,
    roll_up_highlights,
    import_telegram,
    import_discord,
    export_members,
    import_members,
)


def expand_help_option(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `piccolo` with `--help` for `-h`, if they are for these commands."""
    is_ours = "community_directory" in arguments[:2]
    return ["--help" if is_ours and argument == "-h" else argument for argument in arguments]


def join_repeated_options(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `piccolo` with one option for those that are repeated.

    Its value has a line for each of them. Piccolo would use only the last one.
    """
    if "community_directory" not in arguments[:2]:
        return list(arguments)
    joined: list[str] = []
    for argument in arguments:
        option, equals, value = argument.partition("=")
        earlier = [one for one in joined if equals and one.startswith(f"{option}=")]
        if earlier:
            joined[joined.index(earlier[0])] += f"\n{value}"
        else:
            joined.append(argument)
    return joined


def check_arguments(arguments: Sequence[str]) -> None:
    """End the program with one line and exit code 2 if the arguments don't fit the command.

    `arguments` are those of `piccolo`. Without this check, Piccolo would print 24 lines of help, or
    read `--until 2026-01-31` as a switch and as the first day.
    """
    arguments = list(arguments)
    if "--trace" in arguments:
        arguments.remove("--trace")  # Piccolo accepts it in any place
    if arguments[:1] != ["community_directory"] or len(arguments) == 1 or "--help" in arguments:
        return
    _, name, *given = arguments
    command = next((command for command in COMMANDS if command.__name__ == name), None)
    if command is None:
        problem: str | None = (
            f"There is no command {sanitize_for_message(name)}: piccolo --help lists them."
        )
    else:
        problem = _find_argument_problem(given, inspect.signature(command).parameters)
    if problem is not None:
        print_line(problem, error=True)
        sys.exit(2)


def _find_argument_problem(
    given: Sequence[str], parameters: Mapping[str, inspect.Parameter]
) -> str | None:
    """Return the first problem of a command's arguments as a message, or None if they fit."""
    missing = [
        name for name, parameter in parameters.items() if parameter.default is parameter.empty
    ]
    named: list[str] = []
    for argument in given:
        option, equals, _ = argument.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if not argument.startswith("--"):
            if not missing:
                return f"Unexpected argument: {sanitize_for_message(argument)}. {OPTIONS_MESSAGE}"
            named.append(missing.pop(0))
        elif name in parameters:
            if (parameters[name].annotation is bool) == bool(equals):
                return OPTIONS_MESSAGE
            missing = [other for other in missing if other != name]
            named.append(name)
        elif name == "trace":
            return OPTIONS_MESSAGE
        else:
            return f"There is no option {sanitize_for_message(option)}."
    twice = next(
        (name for name in named if named.count(name) > 1 and parameters[name].annotation != Names),
        None,
    )
    if twice is not None:
        return f"The {twice} is given twice."
    return f"The {missing[0]} is missing." if missing else None


Reader = Callable[[BinaryIO], Iterator[ExportedItem]]


async def _import(path: Path, platform: Platform, read: Reader, dry_run: bool) -> Report:
    try:
        with path.open("rb") as file:
            size = file.seek(0, SEEK_END)
            file.seek(0)
            check_export(file, platform)
            with tqdm(
                desc=path.name, total=size, unit="B", unit_scale=True, disable=None
            ) as progress:
                report = await import_history(
                    read(ProgressReader(file, progress)), platform, dry_run=dry_run
                )
    except OSError as error:
        problem = (error.strerror or str(error)).rstrip(".")  # a pipe has no strerror
        raise InvalidInput(f"Can't read {path}: {problem}.") from error
    if not dry_run:
        await _roll_up_days(sorted(report.days))
    if report.rooms or report.skipped:
        _print_report(report, dry_run=dry_run)
    elif not report.broken:
        print_line(f"There are no messages in {path}: nothing to import.")
    if isinstance(report.broken, NotJson):
        raise InvalidInput(f"{path} {report.broken.problem}.")
    if report.broken:
        place = (
            f", after message {sanitize_for_message(report.last.source_id)}"
            f" of {sanitize_for_message(report.last.room)}"
            if report.last
            else ""
        )
        sys.exit(f"{report.broken} Everything before this point was read{place}.")
    return report


async def _roll_up_days(days: Sequence[date]) -> int:
    """Roll up these days, at most 31 in one transaction, and return the number of written rows."""
    written, done = 0, 0
    with tqdm(desc="Rolling up", total=len(days), unit=" days", disable=None) as progress:
        while done < len(days):
            first = days[done]
            month = [
                day
                for day in days[done : done + jobs.ROLL_UP_BATCH_DAYS]
                if (day - first).days < jobs.ROLL_UP_BATCH_DAYS
            ]
            written += await highlights.roll_up(first, until=month[-1])
            done += len(month)
            progress.update(len(month))
    return written


class ProgressReader(BufferedReader):
    """A file whose progress bar shows how much of it was read since the last `seek`."""

    def __init__(self, file: BufferedReader, progress: "tqdm[Never]") -> None:
        super().__init__(file.raw)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and advance the progress bar."""
        chunk = super().read(size)
        self._progress.update(len(chunk))
        return chunk

    def seek(self, target: int, whence: int = 0, /) -> int:
        """Move to a position, and reset the progress bar."""
        self._progress.reset()
        return super().seek(target, whence)


def _print_report(report: Report, *, dry_run: bool) -> None:
    print_line("Nothing was stored. An import would store:" if dry_run else "Imported:")
    for room, count in report.rooms.most_common():
        name = "".join(filter(str.isprintable, room))[:60]
        print_line(f"  {count:>11,} {_plural(count, 'event')} of {name}")
    for event_type in sorted(report.inserted | report.duplicates):
        new, old = report.inserted[event_type], report.duplicates[event_type]
        events = f"new {event_type} {_plural(new, 'event')}"
        print_line(f"  {new:>11,} {events}, and {old:,} that were there already")
    new, known = report.new_contacts, report.known_people
    people = f"{known:,} {_plural(known, 'person who was', 'people who were')} known"
    print_line(f"  {new:>11,} new {_plural(new, 'contact')}, and {people}")
    if report.bots:
        print_line(f"  {report.bots:>11,} {_plural(report.bots, 'bot')}, left out from now on")
    for bot in report.unknown_bots:
        print_line(f"{'':14}No account in the file is the bot {sanitize_for_message(bot)}.")
    for reason, count in report.skipped.most_common():
        print_line(f"  {count:>11,} {_plural(count, _make_singular(reason), reason)}, left out")
    for place in report.places:
        print_line(f"{'':14}{''.join(filter(str.isprintable, place))[:100]}")
    if report.more_places:
        rest = f"{report.more_places:,} more {_plural(report.more_places, 'place')}"
        print_line(f"{'':14}and at {rest}")


def _make_singular(items: str) -> str:
    return re.sub("(event|message|reaction)s", r"\1", items, count=1)


def _plural(count: int, singular: str, plural: str | None = None) -> str:
    """Return the form of a word that follows a number; the plural ends in s, unless it is given."""
    return singular if count == 1 else plural or f"{singular}s"


def _parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{sanitize_for_message(text)} is not a day. Write it as 2026-01-31."
        ) from None


def print_line(sentence: str, *, error: bool = False) -> None:
    """Print a line at once: to stdout, or with `error` to stderr, if it is not a result.

    Characters that the stream's encoding lacks are written as escapes.
    """
    stream = sys.stderr if error else sys.stdout
    encoding = stream.encoding or "utf-8"
    print(sentence.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
