"""The end of a program that Ctrl+C stops. This module imports nothing slow."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPED_MESSAGE = "Stopped. Finished steps are kept. Run the same command again to do the rest."
STOPPED_EXIT_CODE = 130
"""The exit code of a program that Ctrl+C ended."""


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """End the program without a traceback at Ctrl+C, or at Ctrl+D at a prompt."""
    try:
        yield
    except (KeyboardInterrupt, EOFError):
        exit_stopped()


def exit_stopped() -> NoReturn:
    """Print that the program was stopped, and end it."""
    print(STOPPED_MESSAGE, file=sys.stderr, flush=True)  # noqa: T201  a result of the command line
    sys.exit(STOPPED_EXIT_CODE)
