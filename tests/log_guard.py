"""What the tests have logged, searched for the personal data and the secrets that they used.

The log of the session has the records of this process: all of this package, and the warnings of
other packages. Programs that tests run add the lines of their logs. Personal data is what the
databases of the tests contained when they were emptied or dropped.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg

from community_directory.logs import PACKAGE, LineFormatter

PERSONAL_COLUMNS = {
    "community_members": ("name", "telegram_username", "telegram_id", "github_username"),
    "community_invitations": ("invitation_code", "invited_telegram_username"),
    "piccolo_user": ("username", "email", "password"),
    "sessions": ("token",),
    "authenticator_secret": ("secret",),
}
SELECT_PERSONAL_VALUES = " UNION ".join(
    f"SELECT {column} FROM public.{table} WHERE length({column}) BETWEEN 3 AND 200"
    for table, columns in PERSONAL_COLUMNS.items()
    for column in columns
)

PROJECT = Path(__file__).parent.parent
SECRETS = {"correct horse battery", "secretword"}
"""The passwords of the tests."""
FORBIDDEN_PATTERNS = (
    r"[\w.+-]@[\w-]+\.[a-z]{2,}",  # an e-mail address, from the last character of its name
    r"\?[\w-]+=",  # a query string
    r"\b(?:csrftoken|id)=\w{20,}",  # a cookie
    r"postgres(?:ql)?://[^\s/@]*:[^\s/@]+@",  # a URL with a password
    r"Failing row contains|Key \(",  # PostgreSQL's description of a row
)
UNUSABLE_DATABASE_ERRORS = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.LockNotAvailableError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedTableError,
    OSError,
)
"""The errors of a database that has no tables, or older ones, or is gone, closed or locked."""
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+ [A-Z]+ [\w.]+ |\{\"time\": |Traceback ", re.ASCII)


class LogGuard(logging.Handler):
    """Collects log lines and personal values, and compares them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self.lines: list[str] = []
        self.values = set(SECRETS)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Collect the records of this process."""
        package = logging.getLogger(PACKAGE)
        level = package.level
        package.setLevel(logging.DEBUG)
        logging.getLogger().addHandler(self)
        yield
        logging.getLogger().removeHandler(self)
        package.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record of this process."""
        self.lines.append(self.format(record))

    def add(self, output: str) -> None:
        """Keep the output of a program, or a log file."""
        self.lines += output.splitlines()

    def add_log_lines(self, output: str) -> None:
        """Keep the lines of a program's output that are its log's; the others are for a person."""
        self.lines += [line for line in output.splitlines() if LOG_LINE.match(line)]

    async def collect(self, url: str, query: str = SELECT_PERSONAL_VALUES) -> None:
        """Keep the personal values in a database, if a test has left it in a usable state."""
        with suppress(*UNUSABLE_DATABASE_ERRORS):
            connection = await asyncpg.connect(url, server_settings={"lock_timeout": "1s"})
            try:
                self.values.update(row[0] for row in await connection.fetch(query))
            finally:
                await connection.close()

    def find_leaks(self) -> list[str]:
        """Return each line that contains personal data, with what it contains."""
        text = "\n".join(self.lines)
        words = set(re.findall(r"\w+", text))
        values = {value for value in self.values if _is_recognizable(value)} - _usual_words()
        # Of the values whose words are all in the logs, few are there as a whole; each of these
        # takes a search of every line.
        leaked = sorted(
            value
            for value in values
            if words.issuperset(re.findall(r"\w+", value)) and value in text
        )
        patterns = [*FORBIDDEN_PATTERNS, *(rf"(?<!\w){re.escape(each)}(?!\w)" for each in leaked)]
        return [
            f"{pattern}: {line}"
            for pattern in patterns
            for line in self.lines
            if re.search(pattern, line)
        ]

    def check(self) -> None:
        """Fail if a line contains personal data."""
        leaks = self.find_leaks()
        assert not leaks, "Personal data in a log:\n" + "\n".join(leaks[:20])


def _is_recognizable(value: str) -> bool:
    """Return whether a value can't be in a line by chance, as a port or a process id can."""
    if value.isdigit():
        return len(value) >= 9
    return len(re.findall(r"[^\W\d_]", value)) >= 3 and not re.fullmatch(r"(.)\1*", value)


def _usual_words() -> set[str]:
    """Return the words of the package, which a message may contain, without those of the demo.

    Ana is the name of many members of the tests, and of an example in a docstring.
    """
    files = [file for file in (PROJECT / PACKAGE).rglob("*.py") if file.name != "demo.py"]
    return {word for file in files for word in re.findall(r"\w+", file.read_text())} - {"Ana"}


log_guard = LogGuard()
"""The log of this worker's session."""
