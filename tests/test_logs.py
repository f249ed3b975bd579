"""The log has one line for each event, with the request and the actor and no personal data."""

import asyncio
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import asyncpg
import pytest

from community_directory import logs
from community_directory.errors import DatabaseUnavailable, MemberNotFound
from community_directory.logs import LineFormatter, LogContext, log_as, set_log_context
from tests.log_guard import LogGuard
from tests.processes import PROJECT, environment

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00"

logger = logging.getLogger("community_directory.example")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a handler with the formatter writes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_line_has_the_time_level_logger_request_actor_and_message(stream: io.StringIO) -> None:
    logger.warning("The %s is full.", "disk")
    line = stream.getvalue()
    assert re.fullmatch(
        rf"{TIME} WARNING community_directory\.example - - The disk is full\.\n", line
    )


async def test_the_request_and_the_actor_are_in_every_line_of_their_task(
    stream: io.StringIO,
) -> None:
    async def work(number: int) -> None:
        set_log_context(LogContext(f"request-{number}", lambda: f"user:{number}"))
        await asyncio.sleep(0)
        logger.warning("%d", number)
        with log_as("job:example"):
            await asyncio.create_task(inside(number))
        logger.warning("%d", number)

    async def inside(number: int) -> None:
        logger.warning("%d", number)

    await asyncio.gather(*(asyncio.create_task(work(number)) for number in range(5)))
    found = [line.split(" ")[3:] for line in stream.getvalue().splitlines()]
    assert sorted(found) == sorted(
        [f"request-{number}", actor, str(number)]
        for number in range(5)
        for actor in (f"user:{number}", f"user:{number}", "job:example")
    )


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\u2028b", "a\x85b", "a\0b"])
def test_a_message_stays_on_its_line_and_controls_no_terminal(
    stream: io.StringIO, text: str
) -> None:
    logger.error("%s", text)
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue()[:-1].isprintable()


def test_a_line_of_json_has_the_same_fields() -> None:
    record = logging.makeLogRecord({"name": "x", "msg": "two\nlines \udcff", "levelname": "INFO"})
    fields = json.loads(LineFormatter(as_json=True).format(record))
    assert re.fullmatch(TIME, fields.pop("time"))
    assert fields == {
        "level": "INFO",
        "logger": "x",
        "request_id": "-",
        "actor": "-",
        "message": "two\\nlines \udcff",
    }


def test_an_exception_is_logged_with_its_causes_and_code_but_not_with_what_it_quotes(
    stream: io.StringIO,
) -> None:
    row = asyncpg.UniqueViolationError("duplicate key")
    row.__dict__.update(detail="Key (name)=(Ana García)", constraint_name="member_unique")
    try:
        try:
            raise row
        except asyncpg.UniqueViolationError as error:
            raise MemberNotFound("Ana García") from error
    except MemberNotFound:
        logger.exception("It failed.")
    line = stream.getvalue()
    assert len(line.splitlines()) == 1
    assert "Ana" not in line
    assert re.search(r"It failed\. MemberNotFound \[.*test_logs\.py:\d+ test_an_exception", line)
    assert "caused by UniqueViolationError 23505 member_unique [" in line


def test_the_exceptions_of_a_group_are_logged(stream: io.StringIO) -> None:
    group = ExceptionGroup("Ana", [ValueError("Bea"), DatabaseUnavailable("It is down.")])
    logger.error("It failed.", exc_info=group)
    line = stream.getvalue()
    assert "ExceptionGroup [] | ValueError [] | DatabaseUnavailable: It is down. []" in line


def test_asyncio_does_not_quote_the_exception_of_a_lost_task() -> None:
    record = logging.makeLogRecord(
        {"name": "asyncio", "msg": "Task exception was never retrieved\nfuture: <Task Ana García>"}
    )
    line = LineFormatter().format(record)
    assert line.endswith(" - - Task exception was never retrieved")


def run_python(program: str, **variables: str) -> list[str]:
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(PYTHONPATH=str(PROJECT), **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == ""
    return [re.sub(f"^{TIME} ", "", line) for line in ended.stderr.splitlines()]


SET_UP = """
import logging, warnings
from community_directory import logs
from community_directory.settings import load_settings
logs.set_up(load_settings())
for name in ("community_directory.x", "other", "uvicorn.error"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger(name).log(level, "said")
logging.getLogger("uvicorn.access").info("said with an address and a query string")
"""


def test_this_package_logs_from_its_level_on_and_others_warn() -> None:
    *lines, warning = run_python(SET_UP + "warnings.warn('beware')")
    assert warning == "WARNING py.warnings - - <string>:10: UserWarning: beware"
    assert lines == [
        "INFO community_directory.x - - said",
        "WARNING community_directory.x - - said",
        "WARNING other - - said",
        "WARNING uvicorn.error - - said",
    ]
    assert run_python(SET_UP, DIRECTORY_LOG_LEVEL="error") == [
        "WARNING other - - said",
        "WARNING uvicorn.error - - said",
    ]
    assert "DEBUG community_directory.x - - said" in run_python(SET_UP, DIRECTORY_LOG_LEVEL="debug")
    assert [
        json.loads(line)["logger"] for line in run_python(SET_UP, DIRECTORY_LOG_FORMAT="json")
    ] == ["community_directory.x", "community_directory.x", "other", "uvicorn.error"]


def test_the_log_of_uvicorn_is_replaced() -> None:
    uvicorn = (
        "import logging.config\nfrom uvicorn.config import LOGGING_CONFIG\n"
        "logging.config.dictConfig(LOGGING_CONFIG)\n"
    )
    assert [line for line in run_python(uvicorn + SET_UP) if "uvicorn" in line] == [
        "INFO uvicorn.error - - said",
        "WARNING uvicorn.error - - said",
    ]


def test_a_program_that_has_set_up_its_log_keeps_it() -> None:
    own = "import logging; logging.basicConfig(format='mine %(message)s')\n" + SET_UP
    assert set(run_python(own)) == {"mine said"}


# The search for personal data in the logs of the tests


@pytest.mark.parametrize(
    "leak",
    [
        "Ana García",
        "anagarcia_99",
        "1234567890",
        "ana@example.org",
        "GET /api/?name=x",
        "csrftoken=0123456789abcdef0123456789abcdef",
        "correct horse battery",
        "postgresql://me:secret@host/db",
        "Failing row contains (1, x)",
        "ABCD2345EFGH6789",
    ],
)
def test_a_planted_leak_is_found(leak: str) -> None:
    guard = LogGuard()
    guard.values |= {"Ana García", "anagarcia_99", "1234567890", "ABCD2345EFGH6789"}
    harmless = "2026-11-28T20:54:17.898+00:00 INFO x a1cb12345678901cc - GET /insights/ 200 1234 ms"
    guard.add(harmless)
    guard.check()
    guard.add(f"{harmless} {leak}, and more")
    with pytest.raises(AssertionError, match="Personal data in a log") as found:
        guard.check()
    assert leak in str(found.value)


async def test_the_personal_values_of_the_databases_are_collected(
    directory: asyncpg.Pool, directory_url: str
) -> None:
    await directory.execute(
        "INSERT INTO community_members (telegram_id, name, primary_role)"
        " VALUES ('1234567890', 'Ana García', 'developer')"
    )
    guard = LogGuard()
    await guard.collect(directory_url)
    assert {"Ana García", "1234567890"} <= guard.values


def test_every_level_of_this_package_is_searched() -> None:
    guard = LogGuard()
    with guard.watching():
        logger.debug("said quietly")
    assert logs.PACKAGE in guard.lines[0]
    assert guard.lines[0].endswith("said quietly")
