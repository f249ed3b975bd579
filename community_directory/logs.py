"""The log: one line for each event, on stderr, without personal data.

Loggers are those of the standard module `logging`. `set_up` is for programs of this package, such
as the panel; a bot that imports the package configures its log by itself.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple

from community_directory.errors import OperatorError
from community_directory.settings import Settings

PACKAGE = "community_directory"

QUOTED_EXCEPTIONS = (OperatorError, AttributeError, ImportError, NameError, TypeError, OSError)
"""The exceptions whose messages are logged.

The message of any other exception may quote personal data: PostgreSQL's quotes rows.
"""


class LogContext(NamedTuple):
    """The cause of a line.

    Attributes:
        request_id: The id of the HTTP request, or "-".
        find_actor: Returns who or what acts: "user:5", "job:roll_up_recent", "command:migrate" or
            "-". It is called for each line, because a request begins before its user is known.
    """

    request_id: str = "-"
    find_actor: Callable[[], str] = lambda: "-"


_hidden: set[str] = set()


def hide(secret: str) -> None:
    """Write … instead of this secret in all further lines."""
    _hidden.add(secret)


NO_CONTEXT = LogContext()
_context = ContextVar("log_context", default=NO_CONTEXT)


def set_log_context(context: LogContext) -> None:
    """Set the context of all further lines of the current task and of tasks that it starts."""
    _context.set(context)


@contextmanager
def log_as(actor: str) -> Iterator[None]:
    """Name the actor in the lines that are logged inside."""
    token = _context.set(_context.get()._replace(find_actor=lambda: actor))
    try:
        yield
    finally:
        _context.reset(token)


class LineFormatter(logging.Formatter):
    """Formats a record as one line of text or JSON.

    The fields are time, level, logger, request id, actor and message. An exception follows the
    message: its types and lines of code, and the messages of `QUOTED_EXCEPTIONS`.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        context = _context.get()
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "request_id": context.request_id,
            "actor": context.find_actor(),
            "message": _describe(record),
        }
        return json.dumps(fields) if self._as_json else " ".join(fields.values())


def _describe(record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.name == "asyncio":
        # The other lines quote the task, and with it the message of its exception.
        message = message.partition("\n")[0]
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        message = f"{message.strip()} {_format_traceback(error)}"
    for secret in _hidden:
        message = message.replace(secret, "…")
    return _escape_control_characters(message.strip())


def name_exception(error: BaseException | None) -> str:
    """Return the type of an exception, and what of its message is not personal.

    That is the message of `QUOTED_EXCEPTIONS`, and PostgreSQL's error code and constraint.
    """
    name = type(error).__name__
    if isinstance(error, QUOTED_EXCEPTIONS):
        return f"{name}: {error}"
    found = [getattr(error, attribute, None) for attribute in ("sqlstate", "constraint_name")]
    return " ".join([name, *filter(None, found)])


def _format_traceback(error: BaseException) -> str:
    """Return an exception and its causes, each with the lines of code that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    places = "; ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    parts = [f"{name_exception(error)} [{places}]"]
    if isinstance(error, BaseExceptionGroup):
        parts += map(_format_traceback, error.exceptions)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        parts.append(f"caused by {_format_traceback(cause)}")
    return " | ".join(parts)


def _escape_control_characters(text: str) -> str:
    r"""Escape line ends and other control characters: a message could imitate another line."""
    return re.sub(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029]",
        lambda found: found[0].encode("unicode_escape").decode(),
        text,
    )


def set_up(settings: Settings) -> None:
    """Send the lines of all loggers to stderr, in the format of the settings.

    The level of the settings is that of this package. Other packages log warnings and errors. The
    call does nothing if the root logger has a handler: the program has set up a log of its own.
    """
    if logging.getLogger().hasHandlers():
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(as_json=settings.log_format == "json"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger(PACKAGE).setLevel(settings.log_level.upper())
    logging.captureWarnings(capture=True)
    _redirect_uvicorn()


def _redirect_uvicorn() -> None:
    """Let the root logger write uvicorn's lines, and switch its access log off.

    The lines of that log have the query string and the client's address.
    """
    for name, propagates in (("uvicorn", True), ("uvicorn.access", False)):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = propagates
