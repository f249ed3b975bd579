"""Observers of this process: metrics are made of what they are told.

By default nobody observes, and then an observed place of the code costs a look at an empty list.
"""

from community_directory.errors import DirectoryError, UserError

OBSERVED_RESULTS = frozenset(
    {
        "invitations.redeem",
        "participation.record",
        "participation.record_many",
        "participation.recorder",
    }
)
"""The helpers whose results are observed; another one would pay for it without any use."""


class Observer:
    """The base class of observers; each method does nothing unless a subclass overrides it.

    A method must not raise an error, wait, or use the database: the observed code would fail or
    wait, too.
    """

    def call_failed(self, helper: str, error: BaseException) -> None:
        """Note the exception that a helper raised."""

    def call_returned(self, helper: str, result: object) -> None:
        """Note what a helper returned; only those of `OBSERVED_RESULTS` are told."""

    def connection_awaited(self, seconds: float) -> None:
        """Note how long a call waited for a connection that was not free at once."""

    def read_answered(self, server: str) -> None:
        """Note which server answered a query that a replica may answer: "replica" or "primary"."""

    def events_lost(self, reason: str, number: int) -> None:
        """Note events that a recorder did not store: "dropped" or "given_up"."""

    def job_ended(self, job: str, outcome: str, seconds: float) -> None:
        """Note the end of a job: "succeeded", "skipped", "failed" or "cancelled"."""

    def sign_in_failed(self, reason: str) -> None:
        """Note a failure: "wrong_password", "wrong_code" or "too_many_attempts"."""

    def request_ended(self, status: int, seconds: float) -> None:
        """Note the status of the response to an HTTP request, and its duration."""

    def error_unhandled(self, source: str) -> None:
        """Note a defect: an exception that nothing handled in a "request", "job" or "update"."""


observers: list[Observer] = []
"""The observers of this process."""


def outcome_of(error: BaseException | None) -> str:
    """Return how a call ended: "ok", "refused" (a `UserError`), "failed" or "cancelled"."""
    if error is None:
        return "ok"
    if isinstance(error, UserError):
        return "refused"
    return "failed" if isinstance(error, Exception) else "cancelled"


def code_of(error: BaseException) -> str:
    """Return the code of an error of this package, or "unexpected" for any other one."""
    return error.code if isinstance(error, DirectoryError) else "unexpected"
