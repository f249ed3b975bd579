"""Each request has an id and a line in the access log, which contains nothing personal."""

import logging
import re
from collections.abc import Iterator

import httpx
import pytest

from community_directory.app import App
from community_directory.logs import LineFormatter
from community_directory.settings import Settings
from community_directory.web import request_log
from tests.web.conftest import ADDRESS


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines of the access log."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    handler.setFormatter(LineFormatter())
    request_log.logger.addHandler(handler)
    request_log.logger.setLevel(logging.DEBUG)
    yield lines
    request_log.logger.setLevel(logging.NOTSET)
    request_log.logger.removeHandler(handler)


def parts_of(line: str) -> list[str]:
    return line.split(" ")[1:]


async def test_a_request_has_a_line_with_its_id_and_user(
    client: httpx.AsyncClient, lines: list[str]
) -> None:
    for path in ("/admin/api/tables/community_members/?name=Ana", "/insights/"):
        response = await client.get(path)
        assert response.status_code == 200
        request_id = response.headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{32}", request_id)
        level, name, logged_id, actor, method, shown, status, duration, unit = parts_of(lines[-1])
        assert (level, name) == ("INFO", request_log.__name__)
        assert (logged_id, method, shown) == (request_id, "GET", path.partition("?")[0])
        assert re.fullmatch(r"user:\d+", actor)
        assert (status, unit) == ("200", "ms")
        assert duration.isdigit()


async def test_the_user_is_in_the_line_of_a_request_through_a_proxy(
    client: httpx.AsyncClient, lines: list[str]
) -> None:
    transport = httpx.ASGITransport(App(Settings(trusted_proxies=1)))
    async with httpx.AsyncClient(
        transport=transport, base_url=ADDRESS, cookies=client.cookies
    ) as proxied:
        for path in ("/admin/api/user/", "/insights/"):
            response = await proxied.get(path, headers={"X-Forwarded-For": "198.51.100.1"})
            assert response.status_code == 200
            assert re.fullmatch(r"user:\d+", parts_of(lines[-1])[3])


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/admin/api/tables/community_members/4711/", "/admin/api/tables/community_members/…/"),
        ("/admin/api/tables/Ana/", "/admin/api/tables/…/"),
        ("/tree/Ana%20Garc%C3%ADa", "/tree/…"),
        ("/ana@example.org", "/…"),
        ("/%0A2026 ERROR", "/…"),
    ],
)
async def test_parts_of_a_path_that_may_be_personal_are_hidden(
    client: httpx.AsyncClient, lines: list[str], path: str, shown: str
) -> None:
    await client.get(path)
    assert parts_of(lines[-1])[5] == shown
    client.cookies.clear()
    await client.get(path)
    assert parts_of(lines[-1])[3] == "-"
    assert parts_of(lines[-1])[5] == shown


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("01234567-89ab-cdef-0123-456789abcdef", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("ana@example.org", False),
        ("1234567890", False),
        ("ABCD2345EFAB6789", False),
        ("0123456789abcdef0123456789abcdef\nERROR", False),
        ("", False),
    ],
)
async def test_only_an_id_that_no_person_has_is_taken_from_a_proxy(
    client: httpx.AsyncClient, lines: list[str], given: str, is_kept: bool
) -> None:
    response = await client.get("/insights/", headers={"X-Request-ID": given})
    assert (response.headers["X-Request-ID"] == given) is is_kept
    assert parts_of(lines[-1])[2] == response.headers["X-Request-ID"]


async def test_health_checks_are_logged_at_the_level_debug(
    client: httpx.AsyncClient, lines: list[str]
) -> None:
    for path in ("/healthz", "/readyz"):
        await client.get(path)
        assert parts_of(lines[-1])[0] == "DEBUG"


async def test_a_request_that_fails_has_a_line_too(
    client: httpx.AsyncClient, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("community_directory.web.insights.overview.make_columns", fail)
    with pytest.raises(ZeroDivisionError):
        await client.get("/insights/")
    assert parts_of(lines[-1])[5:7] == ["/insights/", "500"]
