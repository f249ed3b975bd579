"""What a manager reads when the directory can't answer, while the log says why."""

import logging

from community_directory.errors import OperatorError

LOOK_FIRST = "Look first whether it was done."
"""For whoever sent something: the answer may be all that was lost."""

logger = logging.getLogger(__name__)


def report(error: OperatorError) -> str:
    """Log an error's sentence for whoever runs the panel, and return the one that a manager may read."""
    logger.error("Not answered (%s): %s", error.code, error)
    return error.public_message
