"""The page /metrics, over HTTP, read by the parser of prometheus-client."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import asyncpg
import httpx
import pytest
import uvicorn
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from community_directory import metrics
from community_directory.app import App, app
from community_directory.database import connect, engine
from community_directory.errors import DatabaseUnavailable, DirectoryError
from community_directory.queries import invitations, members, participation
from community_directory.queries.participation import NewEvent
from community_directory.queries.recorder import open_recorders
from community_directory.settings import Settings
from community_directory.web import request_log
from tests.roles import app_url
from tests.tables import rows
from tests.web.conftest import ADDRESS, PanelServer

TOKEN = "0123456789abcdefghijklmnopqrstuvwxyz"
BROKEN_PATH = "/broken"

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def fail(_: Request) -> Response:
    raise ZeroDivisionError


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[str]:
    """The URL of an app with a token, which uvicorn serves."""
    served_app = App(Settings(metrics_token=SecretStr(TOKEN)))
    served_app.router.routes.insert(0, Route(BROKEN_PATH, fail))
    server = PanelServer(uvicorn.Config(served_app, port=0, log_level="critical", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture
async def client(served: str) -> AsyncIterator[httpx.AsyncClient]:
    metrics.enable()
    async with httpx.AsyncClient(base_url=served, timeout=60) as client:
        yield client


async def scrape(client: httpx.AsyncClient) -> Figures:
    """Read the page, as Prometheus does, and return each value by its name and labels."""
    response = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    samples: list[Sample] = [
        sample
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    ]
    return {(each.name, frozenset(each.labels.items())): each.value for each in samples}


class Change:
    """The metrics before and after a block."""

    before: Figures
    after: Figures

    def of(self, name: str, **labels: str) -> float:
        """Return by how much a value has grown."""
        key = (name, frozenset(labels.items()))
        assert key in self.after, f"there is no {key}"
        return self.after[key] - self.before.get(key, 0)


@asynccontextmanager
async def measured(client: httpx.AsyncClient) -> AsyncIterator[Change]:
    change = Change()
    change.before = await scrape(client)
    yield change
    change.after = await scrape(client)


# Who may read


async def test_without_a_token_in_the_settings_there_is_no_page(directory: asyncpg.Pool) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as visitor:
        response = await visitor.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 404


@pytest.mark.parametrize(
    "authorization",
    [
        *("", "Bearer", "Bearer x", "Bearer ü", TOKEN),
        *(f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}"),
    ],
)
async def test_without_the_right_token_nothing_is_shown(
    client: httpx.AsyncClient, authorization: str
) -> None:
    headers = httpx.Headers({"Authorization": authorization}, encoding="utf-8")
    response = await client.get("/metrics", headers=headers if authorization else {})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.content == b""


async def test_the_token_is_compared_in_constant_time(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return False

    monkeypatch.setattr("secrets.compare_digest", compare)
    response = await client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 401
    assert compared == [(TOKEN.encode(), TOKEN.encode())]


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ValueError, match="must have 32 characters or more"):
        Settings(metrics_token=SecretStr("short"))


async def test_a_host_that_is_not_the_panels_can_read(served: str) -> None:
    settings = Settings(
        metrics_token=SecretStr(TOKEN), production=True, allowed_hosts=["directory.example"]
    )
    transport = httpx.ASGITransport(App(settings))
    async with httpx.AsyncClient(transport=transport, base_url="http://10.0.0.7:8000") as visitor:
        response = await visitor.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    kept: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record)

    handler = Keep()
    request_log.logger.addHandler(handler)
    request_log.logger.setLevel(logging.DEBUG)
    yield kept
    request_log.logger.setLevel(logging.NOTSET)
    request_log.logger.removeHandler(handler)


async def test_a_scrape_is_logged_for_debugging_only_and_without_the_token(
    client: httpx.AsyncClient, lines: list[logging.LogRecord]
) -> None:
    await scrape(client)
    [line] = lines
    assert line.levelname == "DEBUG"
    assert line.getMessage().startswith("GET /metrics 200 ")
    assert TOKEN not in line.getMessage()


async def test_the_page_has_the_newer_format_too(client: httpx.AsyncClient) -> None:
    headers = {
        "Authorization": f"bearer {TOKEN}",
        "Accept": "application/openmetrics-text;version=1.0.0",
    }
    response = await client.get("/metrics", headers=headers)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    families = parse_openmetrics(response.text)  # type: ignore[no-untyped-call]
    assert "directory_helper_duration_seconds" in {family.name for family in families}


# The figures


async def test_the_calls_of_a_helper_are_counted_with_their_time_and_outcome(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory)
    name = "directory_helper_duration_seconds"
    async with measured(client) as change:
        await members.get("#1")
        await members.get("#1")
        for number in ("#99", "\0"):
            with pytest.raises(DirectoryError):
                await members.get(number)
    assert change.of(f"{name}_count", helper="members.get", outcome="ok") == 2
    assert change.of(f"{name}_count", helper="members.get", outcome="refused") == 2
    assert 0 < change.of(f"{name}_sum", helper="members.get", outcome="ok") < 60
    counts = [
        change.after[key]
        for key in change.after
        if key[0] == f"{name}_bucket" and ("helper", "members.get") in key[1]
    ]
    assert max(counts) >= 2
    errors = "directory_helper_errors_total"
    assert change.of(errors, helper="members.get", code="member_not_found") == 1
    assert change.of(errors, helper="members.get", code="invalid_input") == 1


async def test_a_call_without_a_database_has_failed(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise DatabaseUnavailable("The database is away.")

    monkeypatch.setattr(engine, "acquire", refuse)
    async with measured(client) as change:
        with pytest.raises(DatabaseUnavailable):
            await members.get("#1")
    name = "directory_helper_duration_seconds_count"
    assert change.of(name, helper="members.get", outcome="failed") == 1
    errors = "directory_helper_errors_total"
    assert change.of(errors, helper="members.get", code="database_unavailable") == 1


async def test_redemptions_are_counted_by_outcome(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, status="active")
    invitation = await invitations.create(created_by="#1")

    async def redeem(code: str, telegram_id: int) -> None:
        await invitations.redeem(code, telegram_id=telegram_id, name="Eva", primary_role="dev")

    async with measured(client) as change:
        await redeem(invitation.invitation_code, 900)
        await redeem(invitation.invitation_code, 900)
        for code in (invitation.invitation_code, "ABCDEFGHJKMNPQRS"):
            with pytest.raises(DirectoryError):
                await redeem(code, 901)
    for outcome in ("joined", "repeated", "invitation_used", "invitation_not_found"):
        assert change.of("directory_redemptions_total", outcome=outcome) == 1, outcome


def an_event(**changed: object) -> dict[str, object]:
    event = {"member_id": "#1", "event_type": "MESSAGE", "platform": "telegram", "room_id": 1}
    return {**event, "source_id": "1", **changed}


async def test_events_are_counted_by_helper_and_outcome(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory)
    outcomes = {
        "recorded": an_event(source_id="2"),
        "duplicate": an_event(),
        "unknown": an_event(member_id="#99"),
        "refused": an_event(event_type="lower"),
    }
    events: list[NewEvent] = [NewEvent(**event) for event in outcomes.values()]  # type: ignore[arg-type]
    await participation.record(**an_event())  # type: ignore[arg-type]
    async with measured(client) as change:
        for event in outcomes.values():
            with suppress(DirectoryError):
                await participation.record(**event)  # type: ignore[arg-type]
        await participation.record_many(events * 2)
        async with participation.recorder() as recorder:
            recorder.add(events[1])
            recorder.add(events[2])
    name = "directory_events_total"
    single, many, stream = (
        f"participation.{each}" for each in ("record", "record_many", "recorder")
    )
    for outcome in outcomes:
        assert change.of(name, helper=single, outcome=outcome) == 1, outcome
    assert change.of(name, helper=many, outcome="recorded") == 0
    assert change.of(name, helper=many, outcome="duplicate") == 4
    assert change.of(name, helper=many, outcome="unknown") == 2
    assert change.of(name, helper=many, outcome="refused") == 2
    assert change.of(name, helper=stream, outcome="duplicate") == 1
    assert change.of(name, helper=stream, outcome="unknown") == 1


async def test_the_queue_of_a_recorder_and_its_age_are_shown(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory)
    pending = ("directory_recorder_pending_events", frozenset[tuple[str, str]]())
    age = ("directory_recorder_oldest_event_age_seconds", frozenset[tuple[str, str]]())
    lost = "directory_recorder_lost_events_total"
    async with directory.acquire() as connection, connection.transaction():
        # The batch waits for the table.
        await connection.execute("LOCK TABLE member_participation IN EXCLUSIVE MODE")
        async with measured(client) as change:
            with suppress(participation.RecorderGaveUp):
                async with participation.recorder(max_pending=2, close_timeout=0) as recorder:
                    for number in range(3):
                        with suppress(participation.RecorderFull):
                            recorder.add(NewEvent(**an_event(source_id=number)))  # type: ignore[arg-type]
                    first = await scrape(client)
                    second = await scrape(client)
    assert first[pending] == 2
    assert 0 < first[age] < second[age] < 60
    assert change.after[pending] == change.after[age] == 0
    assert change.of(lost, reason="dropped") == 1
    assert change.of(lost, reason="given_up") == 2
    assert open_recorders == set()


async def test_a_full_pool_and_a_waiting_caller_are_shown(
    client: httpx.AsyncClient, emptied_database: str
) -> None:
    def gauge(figures: Figures, name: str, **labels: str) -> float:
        return figures[f"directory_pool_{name}", frozenset(labels.items())]

    async with connect(app_url(emptied_database), min_size=0, max_size=1):
        assert engine.pool
        before = await scrape(client)
        connection = await engine.pool.acquire()
        full = await scrape(client)
        waiting = asyncio.create_task(members.find("#1"))
        async with asyncio.timeout(30):
            while gauge(crowded := await scrape(client), "waiting_calls") == 0:
                await asyncio.sleep(0)
        engine.pool.release(connection, clean=True)
        await waiting
        after = await scrape(client)
    for figures, in_use, idle in ((before, 0, 0), (full, 1, 0), (crowded, 1, 0), (after, 0, 1)):
        assert gauge(figures, "connections", state="in_use") == in_use
        assert gauge(figures, "connections", state="idle") == idle
        assert gauge(figures, "max_connections") == 1
        assert gauge(figures, "waiting_calls") == int(figures is crowded)
    # One wait was for the connection to be opened, the other one for its return.
    assert gauge(after, "wait_seconds_count") - gauge(before, "wait_seconds_count") == 2
    assert gauge(after, "wait_seconds_sum") > gauge(full, "wait_seconds_sum")
    no_pool = await scrape(client)
    assert not any(name == "directory_pool_connections" for name, _ in no_pool)


async def test_failed_sign_ins_are_counted(
    client: httpx.AsyncClient, directory: asyncpg.Pool, fast_hashes: None
) -> None:
    await client.get("/admin/")
    headers = {"X-CSRFToken": client.cookies["csrftoken"]}
    async with measured(client) as change:
        for code in ({}, {"mfa_code": "١٢٣"}):
            form = {"username": "ana", "password": "a wrong password", **code}
            response = await client.post("/admin/public/login/", json=form, headers=headers)
            assert response.status_code == 401
        await directory.execute("UPDATE panel_attempts SET failures = 20")
        response = await client.post("/admin/public/login/", json=form, headers=headers)
        assert response.status_code == 429
    name = "directory_sign_in_failures_total"
    for reason in ("wrong_password", "wrong_code", "too_many_attempts"):
        assert change.of(name, reason=reason) == 1, reason
    requests = "directory_http_request_duration_seconds_count"
    assert change.of(requests, status="4xx") == 3


async def test_an_unhandled_error_is_counted(client: httpx.AsyncClient) -> None:
    async with measured(client) as change:
        assert (await client.get(BROKEN_PATH)).status_code == 500
    assert change.of("directory_unhandled_errors_total", source="request") == 1
    assert change.of("directory_http_request_duration_seconds_count", status="5xx") == 1


async def test_no_label_has_personal_data(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, telegram_id="4711", name="Zacarías")
    await members.search("Zacarías")
    for call in (members.get_by_telegram_id("4712"), members.get("Zacarías@example.org")):
        with pytest.raises(DirectoryError):
            await call
    labels = {text for _, found in await scrape(client) for label in found for text in label}
    assert "members.get_by_telegram_id" in labels
    assert not any(text in label for text in ("4711", "4712", "Zacar") for label in labels)
