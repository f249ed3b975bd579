"""OpenTelemetry spans of the calls of helpers, for a program that has set a tracer provider."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from community_directory.observers import code_of, outcome_of

tracers: "list[Tracing]" = []
"""The one that makes a span of each call; empty if the program has set no tracer provider."""


def trace_calls_if_configured() -> None:
    """Make a span of each call from now on if the program has set a tracer provider.

    Without one no call is traced: even a span that nobody keeps takes 5 µs, a tenth of a short
    call.
    """
    tracers.clear()
    # A program without OpenTelemetry does not pay for its import, which takes 36 ms.
    if (trace := sys.modules.get("opentelemetry.trace")) is not None and not isinstance(
        trace.get_tracer_provider(), trace.ProxyTracerProvider
    ):
        tracers.append(Tracing())


class Tracing:
    """Makes spans, named as OpenTelemetry's semantic conventions for databases say.

    A span contains no argument, no result and no message of an error.
    """

    def __init__(self) -> None:
        from opentelemetry import trace  # noqa: PLC0415  not every program imports it

        self._trace = trace
        self._tracer = trace.get_tracer("community_directory")

    @contextmanager
    def span(self, helper: str) -> Iterator[None]:
        """Make a span of the block, in which it is the current one."""
        with self._tracer.start_as_current_span(
            helper,
            kind=self._trace.SpanKind.CLIENT,
            attributes={"db.system.name": "postgresql", "db.operation.name": helper},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                outcome = outcome_of(error)
                if outcome == "refused":
                    # The helper has answered a person: its caller need not see a failure.
                    span.set_attribute("community_directory.refusal", code_of(error))
                else:
                    failure = code_of(error) if outcome == "failed" else outcome
                    span.set_attribute("error.type", failure)
                    span.set_status(self._trace.StatusCode.ERROR)
                raise
