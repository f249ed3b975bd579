"""The time limits of calls on the database: short ones by default, long ones where asked for."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from math import ceil

from community_directory.settings import load_settings

PART_SHARE = 0.8
"""The longest limit of a part of a call, as a share of the limit of the call.

A server that works thus answers before the client gives up, and its connection stays usable. A call
that got its connection late has time for its statement: otherwise a busy pool would cut most of its
calls and connections.
"""

_is_long_running: ContextVar[bool] = ContextVar("is_long_running", default=False)

is_long_running = _is_long_running.get
"""Return whether the current task is inside `long_running`."""


@contextlib.contextmanager
def long_running() -> Iterator[None]:
    """Give each statement and transaction inside the long time limit instead of the short one.

    The limit is DIRECTORY_LONG_STATEMENT_TIMEOUT. The wait for a connection stays as short as it is
    elsewhere. A task that is started inside has the long limit, too.
    """
    token = _is_long_running.set(True)
    try:
        yield
    finally:
        _is_long_running.reset(token)


def call_limit() -> float:
    """Return the seconds that one call of the current task may take.

    A call is a statement outside of a transaction with its wait for a connection, and in a
    transaction its start, each statement and its commit.
    """
    settings = load_settings()
    return settings.long_statement_timeout if is_long_running() else settings.call_timeout


def acquire_limit() -> float:
    """Return the seconds that a call may wait for a connection."""
    settings = load_settings()
    return min(settings.acquire_timeout, settings.call_timeout * PART_SHARE)


def server_limits(*, is_long: bool) -> dict[str, str]:
    """Return the server's settings that limit statements; 0ms means no limit."""
    settings = load_settings()
    if is_long:
        longest = settings.long_statement_timeout * PART_SHARE
        seconds = {"statement_timeout": longest, "lock_timeout": longest}
    else:
        longest = settings.call_timeout * PART_SHARE
        seconds = {
            "statement_timeout": min(settings.statement_timeout, longest),
            "lock_timeout": min(settings.lock_timeout, longest),
        }
    # A part of a millisecond counts as one, because 0 would be no limit.
    return {name: f"{ceil(1000 * limit)}ms" for name, limit in seconds.items()}
