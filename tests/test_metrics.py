"""The metrics of a process that is no web app: jobs, recorders, and a server in a thread."""

import asyncio
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread

import asyncpg
import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from community_directory import jobs, metrics
from community_directory.errors import DatabaseUnavailable
from community_directory.jobs import Job
from community_directory.observers import observers
from community_directory.queries import members
from tests.tables import rows


@pytest.fixture
def registry() -> CollectorRegistry:
    """The registry of new metrics, which observe."""
    own = metrics.Metrics()
    observers.append(own)
    return own.registry


def test_metrics_are_enabled_once() -> None:
    assert metrics.enable() is metrics.enable()
    assert len(observers) == 1


def test_the_counters_of_rare_events_begin_with_zero(registry: CollectorRegistry) -> None:
    for name, label, values in (
        ("directory_recorder_lost_events_total", "reason", ("dropped", "given_up")),
        (
            "directory_sign_in_failures_total",
            "reason",
            ("wrong_password", "wrong_code", "too_many_attempts"),
        ),
        ("directory_unhandled_errors_total", "source", ("request", "job", "update")),
    ):
        for value in values:
            assert registry.get_sample_value(name, {label: value}) == 0


async def succeed() -> int:
    return 3


async def find_another_worker() -> None:
    return None


async def fail() -> None:
    raise DatabaseUnavailable("The database is away.")


async def hang() -> None:
    await asyncio.Event().wait()


async def break_down() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("job", "outcome", "ended"),
    [
        (succeed, "succeeded", "success"),
        (find_another_worker, "skipped", None),
        (fail, "failed", "failure"),
        (hang, "failed", "failure"),
        (break_down, "failed", "failure"),
    ],
)
async def test_the_end_of_a_job_is_shown(
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    job: Job,
    outcome: str,
    ended: str | None,
) -> None:
    monkeypatch.setattr(jobs, "JOB_TIMEOUT", timedelta(seconds=0.01))
    began = time.time()
    [error] = await asyncio.gather(jobs._run_job(job), return_exceptions=True)
    assert isinstance(error, ZeroDivisionError) is (job is break_down)
    labels = {"job_name": job.__name__}
    runs = registry.get_sample_value("directory_job_runs_total", {**labels, "outcome": outcome})
    assert runs == 1
    for name in ("success", "failure"):
        at = registry.get_sample_value(f"directory_job_last_{name}_timestamp_seconds", labels)
        if name == ended:
            assert at is not None
            assert began <= at <= time.time()
        else:
            assert at is None
    duration = registry.get_sample_value("directory_job_last_duration_seconds", labels)
    assert (duration is None) is (ended is None)
    if job is hang:
        assert duration is not None
        assert duration >= 0.01
    unhandled = registry.get_sample_value("directory_unhandled_errors_total", {"source": "job"})
    assert unhandled == (job is break_down)


async def test_a_job_that_the_end_of_the_app_cancels_has_not_failed(
    registry: CollectorRegistry,
) -> None:
    running = asyncio.create_task(jobs._run_job(hang))
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    labels = {"job_name": "hang", "outcome": "cancelled"}
    assert registry.get_sample_value("directory_job_runs_total", labels) == 1
    failed = registry.get_sample_value(
        "directory_job_last_failure_timestamp_seconds", {"job_name": "hang"}
    )
    assert failed is None


@pytest.fixture
def metrics_url() -> Iterator[str]:
    """The URL at which a bot serves its metrics, as the documentation shows it."""
    server, thread = start_http_server(0, addr="127.0.0.1", registry=metrics.enable())
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


async def test_a_bot_serves_its_metrics_in_a_thread(
    directory: asyncpg.Pool, metrics_url: str
) -> None:
    await rows.member(directory)
    await members.get("#1")

    def read() -> str:
        with urllib.request.urlopen(metrics_url) as response:
            return str(response.read().decode())

    text = await asyncio.to_thread(read)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    labels = {"helper": "members.get", "outcome": "ok"}
    counted = [
        sample.value
        for sample in families["directory_helper_duration_seconds"].samples
        if sample.name.endswith("_count") and sample.labels == labels
    ]
    assert counted
    assert "process_resident_memory_bytes" in families
    assert "directory_pool_connections" in families


async def test_the_metrics_can_be_read_in_another_thread_at_any_moment(
    directory: asyncpg.Pool,
) -> None:
    registry = metrics.enable()
    errors: list[BaseException] = []
    ended = False

    def read() -> None:
        try:
            while not ended:
                list(registry.collect())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=read)
    thread.start()
    for _ in range(20):
        await asyncio.gather(*(members.find("#1") for _ in range(20)))
    ended = True
    await asyncio.to_thread(thread.join)
    assert errors == []
