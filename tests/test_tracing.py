"""Spans of the helpers' calls, read from the in-memory exporter of OpenTelemetry's SDK."""

import subprocess
import sys
from collections.abc import Iterator

import asyncpg
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import db_attributes, error_attributes
from opentelemetry.trace import ProxyTracerProvider, SpanKind, StatusCode

from community_directory.database import connect, engine
from community_directory.errors import DatabaseUnavailable, InvitationNotFound, MemberNotFound
from community_directory.queries import invitations, members
from community_directory.tracing import tracers
from tests.processes import environment
from tests.roles import app_url
from tests.tables import rows


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The ended spans of a program that has set a provider, before it connects."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # A process can set the global provider once.
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    yield exporter
    provider.shutdown()


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    [span] = exporter.get_finished_spans()
    exporter.clear()
    return span


async def test_a_call_has_a_span_named_after_its_helper(
    spans: InMemorySpanExporter, directory: asyncpg.Pool
) -> None:
    await rows.member(directory)
    await members.get("#1")
    span = only(spans)
    assert span.name == "members.get"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        db_attributes.DB_SYSTEM_NAME: db_attributes.DbSystemNameValues.POSTGRESQL.value,
        db_attributes.DB_OPERATION_NAME: "members.get",
    }
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time < span.end_time


async def test_a_refusal_is_no_failure_of_the_span(
    spans: InMemorySpanExporter, directory: asyncpg.Pool
) -> None:
    with pytest.raises(MemberNotFound):
        await members.get("#99")
    span = only(spans)
    assert span.status.status_code is StatusCode.UNSET
    assert span.attributes
    assert span.attributes["community_directory.refusal"] == "member_not_found"
    assert error_attributes.ERROR_TYPE not in span.attributes


@pytest.mark.parametrize(
    ("error", "type_of_error"),
    [
        (DatabaseUnavailable("Ana is away."), "database_unavailable"),
        (KeyError("Ana"), "unexpected"),
    ],
)
async def test_a_failure_has_its_code_and_no_message(
    spans: InMemorySpanExporter,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    type_of_error: str,
) -> None:
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(engine, "acquire", fail)
    with pytest.raises(type(error)):
        await members.get("#1")
    span = only(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert span.attributes
    assert span.attributes[error_attributes.ERROR_TYPE] == type_of_error
    assert span.events == ()
    assert "Ana" not in span.to_json()


async def test_a_span_is_inside_the_one_of_its_caller(
    spans: InMemorySpanExporter, directory: asyncpg.Pool
) -> None:
    tracer = trace.get_tracer("a bot")
    with tracer.start_as_current_span("/start") as outer:
        await members.find("#1")
        assert trace.get_current_span() is outer
    call, command = spans.get_finished_spans()
    assert (call.name, command.name) == ("members.find", "/start")
    assert call.parent
    assert call.parent.span_id == outer.get_span_context().span_id


async def test_a_span_has_nothing_personal(
    spans: InMemorySpanExporter, directory: asyncpg.Pool
) -> None:
    with pytest.raises(InvitationNotFound):
        await invitations.redeem(
            "ABCDEFGHJKMNPQRS", telegram_id=4711, name="Zacarías", primary_role="developer"
        )
    text = only(spans).to_json()
    assert not any(each in text for each in ("4711", "Zacar", "ABCDEFGHJKMNPQRS", "developer"))


async def test_without_a_provider_no_call_is_traced(directory: asyncpg.Pool) -> None:
    assert isinstance(trace.get_tracer_provider(), ProxyTracerProvider)
    assert tracers == []


async def test_a_new_pool_looks_for_the_provider_again(
    emptied_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = app_url(emptied_database)
    with monkeypatch.context() as patch:
        patch.setattr(trace, "get_tracer_provider", TracerProvider)
        for _ in range(2):
            async with connect(url, min_size=0):
                assert len(tracers) == 1
    async with connect(url, min_size=0):
        assert tracers == []


def test_a_program_without_telemetry_imports_nothing_for_it() -> None:
    program = (
        "import asyncio, sys\n"
        "from community_directory.database import connect\n"
        "from community_directory.queries import members\n"
        "async def main():\n"
        "    async with connect('postgresql://127.0.0.1:1/x', min_size=0): pass\n"
        "asyncio.run(main())\n"
        "print([name for name in ('opentelemetry', 'prometheus_client') if name in sys.modules])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, check=True
    )
    assert ended.stdout == b"[]\n"
