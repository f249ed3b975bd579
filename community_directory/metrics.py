"""Prometheus metrics of this process: its calls, pool, recorders, jobs and requests.

The panel serves them at /metrics if DIRECTORY_METRICS_TOKEN is set. Another program calls `enable`,
and serves the registry that it returns. Labels have bounded sets of values, such as the names of
helpers and the codes of errors, and no personal data.
"""

import time
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from community_directory.database import engine
from community_directory.errors import MemberNotFound, UserError
from community_directory.observers import Observer, code_of, observers, outcome_of
from community_directory.queries.feed import open_followers
from community_directory.queries.observation import CALL_BUCKETS, call_durations
from community_directory.queries.participation import Event, Recorded
from community_directory.queries.recorder import open_recorders
from community_directory.queries.redemption import Redemption

WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4)
"""The upper bounds, in seconds, of the waits for a connection, which end after some 4 seconds."""
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The upper bounds, in seconds, of the durations of HTTP requests."""


class HelperDurations(Collector):
    """The histogram of the durations of calls."""

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram; helpers that were not called are left out."""
        histogram = HistogramMetricFamily(
            "directory_helper_duration_seconds",
            "Duration of the calls of helpers, by outcome: ok, refused (the error is for a "
            "person), failed (any other error) or cancelled.",
            labels=("helper", "outcome"),
        )
        bounds = [*map(floatToGoString, CALL_BUCKETS), "+Inf"]
        for labels, durations in list(call_durations.items()):
            durations.count()
            buckets = list(zip(bounds, accumulate(durations.counts), strict=True))
            if buckets[-1][1]:
                histogram.add_metric(labels, buckets, durations.seconds)
        yield histogram


class CurrentState(Collector):
    """Reads the state of the pool, the replicas, the followers and the recorders.

    That may happen in another thread than the one of the event loop.
    """

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges of the pool and the replicas, if there are any, and of the others."""
        if (pool := engine.pool) is not None:
            size, idle = pool.get_size(), pool.get_idle_size()
            connections = GaugeMetricFamily(
                "directory_pool_connections", "Open connections of the pool.", labels=("state",)
            )
            connections.add_metric(("in_use",), size - idle)
            connections.add_metric(("idle",), idle)
            yield connections
            yield GaugeMetricFamily(
                "directory_pool_max_connections",
                "Connections that the pool may open.",
                pool.get_max_size(),
            )
            yield GaugeMetricFamily(
                "directory_pool_waiting_calls",
                "Calls that wait for a connection of the pool.",
                pool.get_waiting(),
            )
        if (replicas := engine.replicas) is not None:
            ages = GaugeMetricFamily(
                "directory_replica_age_seconds",
                "Time since a replica was known to have every change; infinite if it is not used.",
                labels=("replica",),
            )
            for name, age in replicas.get_ages().items():
                ages.add_metric((name,), age)
            yield ages
        lags = GaugeMetricFamily(
            "directory_feed_lag_seconds",
            "Time since a consumer of the change feed was known to have dealt with every change.",
            labels=("consumer",),
        )
        for follower in list(open_followers):
            # A follower that waits for another one's end says nothing about its consumer.
            if (caught_up_at := follower.caught_up_at) is not None:
                lags.add_metric((follower.name,), time.monotonic() - caught_up_at)
        yield lags
        recorders = list(open_recorders)
        yield GaugeMetricFamily(
            "directory_recorder_pending_events",
            "Events that recorders have taken and not stored yet.",
            sum(recorder.pending for recorder in recorders),
        )
        added = [at for recorder in recorders if (at := recorder.oldest_added_at) is not None]
        yield GaugeMetricFamily(
            "directory_recorder_oldest_event_age_seconds",
            "Time since the oldest of these events was added.",
            time.monotonic() - min(added) if added else 0,
        )


class Metrics(Observer):
    """The metrics, which count what they are told as one of the observers.

    Attributes:
        registry: The registry that contains them.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._errors = Counter(
            "directory_helper_errors",
            "Calls of helpers that were refused or failed, by the code of the error.",
            ("helper", "code"),
            registry=registry,
        )
        self._redemptions = Counter(
            "directory_redemptions",
            "Redemptions of invitations: joined, repeated, or the code of the error.",
            ("outcome",),
            registry=registry,
        )
        self._events = Counter(
            "directory_events",
            "Participation events, by the helper that took them and by outcome.",
            ("helper", "outcome"),
            registry=registry,
        )
        self._lost_events = Counter(
            "directory_recorder_lost_events",
            "Events that recorders did not store: dropped by a full one, or given up.",
            ("reason",),
            registry=registry,
        )
        self._waits = Histogram(
            "directory_pool_wait_seconds",
            "Wait for a connection, to the primary or a replica, of calls that found none free.",
            buckets=WAIT_BUCKETS,
            registry=registry,
        )
        self._reads = Counter(
            "directory_reads",
            "Queries that a replica may answer, by the server that answered: replica or primary.",
            ("server",),
            registry=registry,
        )
        self._job_runs = Counter(
            "directory_job_runs",
            "Runs of the jobs in this process: succeeded, skipped (another process runs it), "
            "failed or cancelled.",
            ("job_name", "outcome"),
            registry=registry,
        )
        self._job_successes = Gauge(
            "directory_job_last_success_timestamp_seconds",
            "Time of the last success of a job in this process.",
            ("job_name",),
            registry=registry,
        )
        self._job_failures = Gauge(
            "directory_job_last_failure_timestamp_seconds",
            "Time of the last failure of a job in this process.",
            ("job_name",),
            registry=registry,
        )
        self._job_durations = Gauge(
            "directory_job_last_duration_seconds",
            "Duration of the last run of a job in this process that succeeded or failed.",
            ("job_name",),
            registry=registry,
        )
        self._sign_in_failures = Counter(
            "directory_sign_in_failures",
            "Wrong passwords and codes in the panel, and attempts after too many of them.",
            ("reason",),
            registry=registry,
        )
        self._requests = Histogram(
            "directory_http_request_duration_seconds",
            "Duration of HTTP requests, by the class of the status.",
            ("status",),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._unhandled_errors = Counter(
            "directory_unhandled_errors",
            "Exceptions that nothing handled: defects.",
            ("source",),
            registry=registry,
        )
        registry.register(HelperDurations())
        registry.register(CurrentState())
        ProcessCollector(registry=registry)
        self._show_zeros()

    def call_failed(self, helper: str, error: BaseException) -> None:
        """Count the error, unless the call was cancelled."""
        if outcome_of(error) == "cancelled":
            return
        code = code_of(error)
        self._errors.labels(helper, code).inc()
        if helper == "invitations.redeem":
            self._redemptions.labels(code).inc()
        elif helper == "participation.record" and isinstance(error, UserError):
            outcome = "unknown" if isinstance(error, MemberNotFound) else "refused"
            self._events.labels(helper, outcome).inc()

    def call_returned(self, helper: str, result: object) -> None:
        """Count a redemption, or events by their outcome."""
        match result:
            case Redemption():
                self._redemptions.labels("repeated" if result.repeated else "joined").inc()
            case Recorded():
                self._events.labels(helper, "recorded").inc(len(result.inserted))
                self._events.labels(helper, "duplicate").inc(len(result.duplicates))
                self._events.labels(helper, "unknown").inc(len(result.unknown))
                self._events.labels(helper, "refused").inc(len(result.refused))
            case Event():
                self._events.labels(helper, "recorded").inc()
            case None:
                self._events.labels(helper, "duplicate").inc()

    def connection_awaited(self, seconds: float) -> None:
        """Observe the wait."""
        self._waits.observe(seconds)

    def read_answered(self, server: str) -> None:
        """Count the query."""
        self._reads.labels(server).inc()

    def events_lost(self, reason: str, number: int) -> None:
        """Count the events."""
        self._lost_events.labels(reason).inc(number)

    def job_ended(self, job: str, outcome: str, seconds: float) -> None:
        """Count the run, and note its time if it succeeded or failed."""
        self._job_runs.labels(job, outcome).inc()
        if outcome in ("succeeded", "failed"):
            ends = self._job_successes if outcome == "succeeded" else self._job_failures
            ends.labels(job).set_to_current_time()
            self._job_durations.labels(job).set(seconds)

    def sign_in_failed(self, reason: str) -> None:
        """Count the failure."""
        self._sign_in_failures.labels(reason).inc()

    def request_ended(self, status: int, seconds: float) -> None:
        """Observe the duration."""
        self._requests.labels(f"{status // 100}xx").observe(seconds)

    def error_unhandled(self, source: str) -> None:
        """Count the error."""
        self._unhandled_errors.labels(source).inc()

    def _show_zeros(self) -> None:
        """Let the counters of rare events begin with 0: the first event is then an increase."""
        for counter, values in (
            (self._lost_events, ("dropped", "given_up")),
            (self._sign_in_failures, ("wrong_password", "wrong_code", "too_many_attempts")),
            (self._unhandled_errors, ("request", "job", "update")),
        ):
            for value in values:
                counter.labels(value)


_metrics = Metrics()


def enable() -> CollectorRegistry:
    """Begin to count, and return the registry with the metrics of this process.

    Every call returns the same registry. What happened before the first call is not counted.
    """
    if _metrics not in observers:
        observers.append(_metrics)
    return _metrics.registry
