"""The entry of the command line: `community-directory …`, or `python -m community_directory …`.

The imports of the command line take a second, in which Ctrl+C ends the program as later.
"""

from community_directory.interrupts import exit_on_interrupt


def main() -> None:
    """Run the command line `community-directory`."""
    with exit_on_interrupt():
        from community_directory.command_line import run_commands  # noqa: PLC0415  slow

        run_commands()


def run_serve() -> None:
    """Run `python main.py`, which only serves."""
    with exit_on_interrupt():
        from community_directory.command_line import run_serve_only  # noqa: PLC0415  slow

        run_serve_only()


if __name__ == "__main__":
    main()
