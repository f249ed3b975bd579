"""Messages for managers when the database or the configuration fails; the log has the details."""

import logging

from community_directory.errors import OperatorError

RETRY_HINT = "Check whether your change was saved before you send it again."
"""A hint after a write: perhaps only the response was lost."""

logger = logging.getLogger(__name__)


def report(error: OperatorError) -> str:
    """Log an operator's error, and return the message that a manager may read."""
    logger.error("A request failed (%s): %s", error.code, error)
    return error.public_message
