"""The commands of `community-directory`, and the parser of their arguments."""

import asyncio
import contextlib
import functools
import inspect
import os
import secrets
import sys
from collections.abc import Sequence
from getpass import getpass
from importlib.metadata import version
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import MissingArgumentError, UnusedCliTokensError
from cyclopts.help import DefaultFormatter, PanelSpec
from rich.box import Box

from community_directory import (
    backup_commands,
    citus_commands,
    commands,
    elizaos_commands,
    logs,
)
from community_directory.commands import Command, print_line
from community_directory.database import connect
from community_directory.database.migrations import CONFIGURATION_MODULE
from community_directory.database.roles import DEFAULT_PREFIX, apply_roles, make_roles_script
from community_directory.errors import ConfigurationError, DirectoryError, sanitize_for_message
from community_directory.passwords import password_problem
from community_directory.psql import run_psql
from community_directory.queries.privacy import PUBLIC_COLUMNS
from community_directory.settings import Settings, load_settings

NO_LINES_BOX = Box("    \n" * 8)
"""The box around the lists of the help: without lines, which disturb in a log or screen reader."""
SHARED_COMMANDS: dict[str, Command] = {
    "migrate": commands.migrate_schema,
    "schema": commands.print_schema,
    "demo": commands.load_demo_community,
    "import-telegram": commands.import_telegram,
    "import-discord": commands.import_discord,
    "import-members": commands.import_members,
    "export-members": commands.export_members,
    "backup": backup_commands.back_up_database,
    "roll-up": commands.roll_up_highlights,
    "archive": commands.archive_events,
    "expire-invitations": commands.expire_invitations,
    "doctor": commands.run_doctor,
    "grant": commands.grant_permission,
    "revoke": commands.revoke_permission,
}
ELIZAOS_COMMANDS: dict[str, Command] = {
    "export": elizaos_commands.export_to_agent,
    "import": elizaos_commands.import_from_agent,
}


def serve(
    *,
    demo: bool = False,
    host: str | None = None,
    port: Annotated[int | None, Parameter(validator=lambda _, port: _check_port(port))] = None,
) -> None:
    """Migrate the database, create the first superuser if there is none, and serve the panel.

    Args:
        demo: First load the demo community, if the directory has no members.
        host: The address to listen on; without it, DIRECTORY_HOST or 127.0.0.1.
        port: The port to listen on, 0 for a free one; without it, DIRECTORY_PORT or 8000.
    """
    from community_directory.serve import serve_app  # noqa: PLC0415  slow to import

    with logs.log_as("command:serve"):
        serve_app(host, port, demo=demo)


def bot() -> None:
    """Run the Telegram bot of TELEGRAM_BOT_TOKEN until a signal stops it.

    It brings the database's schema up to date first.
    """
    try:
        from community_directory.bot.app import run_bot  # noqa: PLC0415  an extra, slow to import
    except ModuleNotFoundError as error:
        if error.name not in {"aiogram", "aiohttp"}:
            raise
        raise ConfigurationError(
            "The bot needs the extra bot: pip install 'community-directory[bot]'."
        ) from None
    with logs.log_as("command:bot"):
        run_bot(load_settings())


def _check_port(port: int | None) -> None:
    if port is not None and not 0 <= port <= 65535:
        raise ValueError("A port lies between 0 and 65535.")


def create_admin(username: str = "", /, *, email: str = "", generate: bool = False) -> None:
    """Create a superuser of the panel, who may do everything.

    It asks for a password on a terminal. Otherwise, or with --generate, it makes a random one and
    prints it once. A random one must be changed at the first sign-in.

    Args:
        username: The name for signing in; without it, DIRECTORY_ADMIN_USERNAME or admin.
        email: The e-mail address; without it, DIRECTORY_ADMIN_EMAIL for the name of the settings,
            and NAME@localhost for another name.
        generate: Make a random password.
    """
    settings = load_settings()
    username = username or settings.admin_username
    if not email:
        is_default = username == settings.admin_username
        email = settings.admin_email if is_default else f"{username}@localhost"
    random = generate or not sys.stdin.isatty()
    password = secrets.token_urlsafe(12) if random else _ask_password(settings, username, email)
    asyncio.run(commands.create_superuser(username, email, password, temporary=random))
    if random:
        print_line(f"The password is {password} (shown only this once)")


def _ask_password(settings: Settings, username: str, email: str) -> str:
    """Ask for a password until it follows the rules and is typed the same way twice."""
    while True:
        password = getpass(f"Password for {sanitize_for_message(username)}: ")
        if problem := password_problem(password, settings.site_name, username, email):
            print_line(f"The password {problem}.", error=True)
        elif getpass("The same password again: ") == password:
            return password
        else:
            print_line("The two passwords differ.", error=True)


def psql(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Open psql on the database of the settings, the embedded one included.

    Args:
        arguments: The arguments of psql, for example -c "SELECT count(*) FROM community_members".
    """
    sys.exit(run_psql(arguments))


def roles(*, apply: bool = False, prefix: str = DEFAULT_PREFIX) -> None:
    """Print the SQL that creates the database roles and grants each what it needs.

    The roles are directory_owner, which migrates, directory_app for the panel and the bots, and
    directory_reader, which sees no personal data. Nobody can log in as one of them: make a login a
    member of one.

    Args:
        apply: Run the SQL instead, in one transaction, with the login of POSTGRES_URL.
        prefix: The beginning of the names instead of directory, for a second directory on one
            server.
    """
    script = make_roles_script(PUBLIC_COLUMNS, prefix)
    if not apply:
        print_line(script.rstrip())
        return
    database = asyncio.run(_apply_roles(script))
    print_line(
        f"{prefix}_owner, {prefix}_app and {prefix}_reader have the privileges that they need in "
        f"the database {sanitize_for_message(database)}."
    )


async def _apply_roles(script: str) -> str:
    async with connect(min_size=0):
        return await apply_roles(script)


def command_line() -> App:
    """Return the parser of `community-directory`."""
    app = _make_parser(
        "community-directory",
        help="Run and look after a community directory.",
        version=lambda: version("community-directory"),
        version_flags=["--version"],
    )
    # The commands do not take --version, and psql has one of its own.
    app.command(serve, version_flags=[])
    app.command(bot, version_flags=[])
    for name, command in SHARED_COMMANDS.items():
        app.command(_prepare_command(command, name), name=name, version_flags=[])
    app.command(backup_commands.restore_database, name="restore", version_flags=[])
    app.command(create_admin, version_flags=[])
    app.command(roles, version_flags=[])
    elizaos = _make_parser("elizaos", help="Exchange relationships with an ElizaOS agent.")
    for name, command in ELIZAOS_COMMANDS.items():
        prepared = _prepare_command(command, f"elizaos-{name}")
        elizaos.command(prepared, name=name, version_flags=[])
    app.command(elizaos)
    citus = _make_parser("citus", help="Distribute events and highlights over several machines.")
    checked = _prepare_command(citus_commands.check_citus, "citus-check")
    citus.command(checked, name="check", version_flags=[])
    citus.command(citus_commands.print_script, name="script", version_flags=[])
    app.command(citus)
    # psql has an option -h of its own, too.
    app.command(psql, help_flags=["--help"], version_flags=[])
    return app


def _prepare_command(command: Command, name: str) -> Command:
    """Return the command with an argument FILE instead of its parameter `path`, if it has one.

    Piccolo needs the parameter: its commands take `--path=…`, too. The log names the command.
    """

    @functools.wraps(command)
    async def run(*arguments: object, **options: object) -> None:
        with logs.log_as(f"command:{name}"):
            await command(*arguments, **options)

    signature = inspect.signature(command)
    parameters = [
        parameter.replace(name="file", kind=parameter.POSITIONAL_ONLY)
        if parameter.name == "path"
        else parameter
        for parameter in signature.parameters.values()
    ]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__doc__ = (command.__doc__ or "").replace(" path: ", " file: ")
    return run


def _make_parser(name: str, *, version_flags: Sequence[str] = (), **options: object) -> App:
    return App(
        name=name,
        default_parameter=Parameter(negative=(), show_default=False),
        version_flags=version_flags,
        help_formatter=DefaultFormatter(panel_spec=PanelSpec(box=NO_LINES_BOX)),
        print_error=False,
        exit_on_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
        **options,  # type: ignore[arg-type]
    )


def run_commands() -> None:
    """Run the command line `community-directory`."""
    _set_up_process()
    run_parser(command_line())


def run_serve_only() -> None:
    """Run `python main.py`, which only serves."""
    _set_up_process()
    run_parser(_make_parser("python main.py", default_command=serve))


def _set_up_process() -> None:
    # With this variable Piccolo uses this package's configuration, even in a folder with another
    # piccolo_conf.py.
    os.environ["PICCOLO_CONF"] = CONFIGURATION_MODULE
    # A command that needs the settings says what is wrong with them; --help does not need them.
    with contextlib.suppress(ConfigurationError):
        logs.set_up(load_settings())


def run_parser(parser: App, arguments: Sequence[str] | None = None) -> None:
    """Run a command. If it fails, end the program with one line and without a traceback."""
    try:
        parser(arguments)
    except CycloptsError as error:
        print_line(f"{parser.name[0]}: {_describe_error(error)} (see --help)", error=True)
        sys.exit(2)
    except DirectoryError as error:
        sys.exit(str(error))
    except BrokenPipeError:
        # The program that reads the output, such as head, has ended. Python would fail once more
        # when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _describe_error(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        unused = " ".join(error.unused_tokens or [])
        return f"Unexpected argument: {sanitize_for_message(unused)}."
    argument = error.argument
    if isinstance(error, MissingArgumentError) and argument and argument.is_positional_only():
        return f"{argument.name} is missing."
    return " ".join(str(error).split())
