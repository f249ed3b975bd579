"""A program that imports the command lines once, and becomes each command in a fork of itself.

`tests.processes.run_command` starts it and writes the requests. It must not import pytest, which
some packages notice.
"""

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import TypedDict

import piccolo.main

import community_directory.command_line
import community_directory.web.admin.users  # noqa: F401  of Piccolo's configuration
from community_directory.__main__ import main

PROGRAMS: dict[str, Callable[[], None]] = {"directory": main, "piccolo": piccolo.main.main}


class Request(TypedDict):
    """A command."""

    program: str
    """The key of `PROGRAMS`."""
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    """The working directory."""
    streams: list[str]
    """The paths of the standard streams."""
    seconds: int
    """The time after which the command counts as stuck, and ends with SIGALRM."""


def fork_for_each_request() -> Request:
    """Answer each line of the input with the exit code of a fork, which returns from here."""
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            request: Request = json.loads(line)
            return request
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  the answer
    sys.exit()


def become(request: Request) -> None:
    """Make this process like a program that was started for the request."""
    for number, path in enumerate(request["streams"]):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = [request["program"], *request["arguments"]]
    signal.alarm(request["seconds"])


if __name__ == "__main__":
    gc.freeze()
    request = fork_for_each_request()
    become(request)
    PROGRAMS[request["program"]]()
