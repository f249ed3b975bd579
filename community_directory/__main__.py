"""The entry of the command line: `community-directory …`, or `python -m community_directory …`.

The imports of the command line take half a second, in which Ctrl+C ends the program as later.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from community_directory.interrupts import exit_on_interrupt


def main() -> None:
    """Run the command line `community-directory`."""
    with exit_on_interrupt():
        with _without_garbage():
            from community_directory.command_line import run_commands  # noqa: PLC0415  slow

        run_commands()


def run_serve() -> None:
    """Run `python main.py`, which only serves."""
    with exit_on_interrupt():
        with _without_garbage():
            from community_directory.command_line import run_serve_only  # noqa: PLC0415  slow

        run_serve_only()


@contextmanager
def _without_garbage() -> Iterator[None]:
    """Import without looking for garbage, and never look at what was imported.

    Modules stay until the program ends. Looking for garbage among them took a seventh of a start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    main()
