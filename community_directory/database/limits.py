"""The time limits of calls on the database: short ones by default, long ones where asked for."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from community_directory.settings import load_settings

SERVER_SHARE = 0.8
"""The longest limit of the server, as a share of the client's.

A server that works answers within it, and its connection can be used again.
"""

is_long_running: ContextVar[bool] = ContextVar("is_long_running", default=False)
"""Whether the current task is inside `long_running`."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """The longest times in seconds that one call may take; 0 means no limit of the server.

    Attributes:
        call: The limit of the client for a call outside of a transaction, and in a transaction for
            its start, each statement and its commit.
        statement: The limit of the server for a statement.
        lock: The limit of the server for a wait for a lock.
    """

    call: float
    statement: float
    lock: float

    def server_settings(self) -> dict[str, str]:
        """Return the server's settings by name."""
        return {
            "statement_timeout": f"{self.statement * 1000:.0f}ms",
            "lock_timeout": f"{self.lock * 1000:.0f}ms",
        }


@contextlib.contextmanager
def long_running() -> Iterator[None]:
    """Give the statements and transactions inside the long time limit instead of the short one.

    The limit is DIRECTORY_LONG_STATEMENT_TIMEOUT, for each statement. The wait for a connection
    stays as short as it is elsewhere. A task that is started inside has the long limit, too.
    """
    token = is_long_running.set(True)
    try:
        yield
    finally:
        is_long_running.reset(token)


def load_limits() -> TimeLimits:
    """Return the time limits of the current task."""
    settings = load_settings()
    if is_long_running.get():
        longest = settings.long_statement_timeout
        return TimeLimits(longest, longest * SERVER_SHARE, longest * SERVER_SHARE)
    most = settings.call_timeout * SERVER_SHARE
    return TimeLimits(
        settings.call_timeout,
        min(settings.statement_timeout, most),
        min(settings.lock_timeout, most),
    )
