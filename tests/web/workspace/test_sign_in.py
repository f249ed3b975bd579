"""The sign-in page, the second factor, temporary passwords, and what an ended session keeps."""

import asyncio
import functools
import json
import re
from datetime import datetime
from html import unescape
from urllib.parse import quote

import asyncpg
import httpx
import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from community_directory import app as main
from community_directory.settings import Settings
from community_directory.web.admin import attempts
from community_directory.web.admin.attempts import ADDRESS_LIMIT
from community_directory.web.admin.second_factor import mfa_providers
from community_directory.web.admin.sign_in import SAME_CHOICE, WRONG_CODE, WRONG_CREDENTIALS
from community_directory.web.pages import (
    CSRFProtection,
    PageContent,
    Pages,
    Role,
    Visit,
    message_page,
)
from community_directory.web.returning import MAX_KEPT_LENGTH, KeptForm, find_own_path
from community_directory.web.workspace import sign_in
from tests.web.conftest import ADDRESS, PASSWORD, add_superuser, session_of

pytestmark = pytest.mark.usefixtures("fast_hashes", "directory")

ANOTHER = "quite some other words"
OWN = "my very own words"
WITH_MFA = Settings(mfa_key=SecretStr("a key that is long enough for this"))


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_DELAY_SECONDS", 0.001)


@functools.cache
def app_with_mfa() -> ASGIApp:
    return main.App(WITH_MFA)


async def open_browser(app: ASGIApp = main.app) -> httpx.AsyncClient:
    """Return a client that has opened the sign-in page."""
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS)
    assert (await client.get("/sign-in/")).status_code == 200
    return client


async def send(client: httpx.AsyncClient, path: str, **fields: object) -> httpx.Response:
    token = {"csrftoken": client.cookies["csrftoken"]}
    return await client.post(path, data={**token, **fields})


async def sign_in_as(
    client: httpx.AsyncClient, username: str = "ana", following: str = "/", **fields: object
) -> httpx.Response:
    path = f"/sign-in/?next={quote(following, safe='')}"
    return await send(client, path, **{"username": username, "password": PASSWORD, **fields})


async def is_in(client: httpx.AsyncClient) -> bool:
    response = await client.get("/tree/")
    assert response.status_code in (200, 303)
    return response.status_code == 200


def hidden(response: httpx.Response, name: str) -> str:
    """Return the value of a hidden field."""
    found = re.search(f'type="hidden" name="{name}" value="([^"]*)"', response.text)
    assert found, response.text
    return unescape(found[1])


async def test_a_user_signs_in_goes_on_and_signs_out() -> None:
    await add_superuser("ana")
    browser = await open_browser()
    response = await sign_in_as(browser, following="/tree/?member=7")
    assert (response.status_code, response.headers["location"]) == (303, "/tree/?member=7")
    assert "HttpOnly" in response.headers["set-cookie"]
    assert await is_in(browser)
    token = browser.cookies["id"]
    response = await send(browser, "/sign-out/")
    assert (response.status_code, response.headers["location"]) == (303, "/sign-in/")
    assert "You are signed out." in (await browser.get("/sign-in/")).text
    browser.cookies.set("id", token)
    assert not await is_in(browser)


async def test_a_wrong_password_is_told_and_the_username_stays() -> None:
    await add_superuser("ana")
    browser = await open_browser()
    for username in ("ana", "nobody"):
        response = await sign_in_as(browser, username, password="a wrong <password>")
        assert response.status_code == 401
        assert WRONG_CREDENTIALS in response.text
        assert f'value="{username}"' in response.text
        assert "a wrong" not in response.text
    assert not await is_in(browser)


async def test_a_script_is_told_to_open_the_next_page_as_a_whole() -> None:
    await add_superuser("ana")
    browser = await open_browser()
    browser.headers["HX-Request"] = "true"
    response = await sign_in_as(browser, following="/admin/")
    assert (response.status_code, response.headers["HX-Redirect"]) == (200, "/admin/")
    response = await sign_in_as(browser, following="/people/?q=Лев")
    assert response.headers["HX-Redirect"] == "/people/?q=%D0%9B%D0%B5%D0%B2"


async def test_the_page_has_the_same_limits_as_the_api() -> None:
    await add_superuser("ana")
    browser = await open_browser()
    for _ in range(ADDRESS_LIMIT.failures):
        assert (await sign_in_as(browser, password="a wrong password")).status_code == 401
    browser.cookies.set("language", "es")
    response = await sign_in_as(browser)
    assert response.status_code == 429
    assert "15 minutos" in response.text
    assert 0 < int(response.headers["Retry-After"]) <= 900


@pytest.mark.parametrize("fields", [{"username": ""}, {"password": "x" * 129}, {"password": "\0"}])
async def test_what_is_no_credential_is_refused(fields: dict[str, str]) -> None:
    response = await sign_in_as(await open_browser(), **{"username": "ana", **fields})
    assert response.status_code == 422
    assert 'role="alert"' in response.text


async def test_a_sign_in_without_the_token_is_refused() -> None:
    await add_superuser("ana")
    browser = await open_browser()
    browser.cookies.clear()
    response = await browser.post("/sign-in/", data={"username": "ana", "password": PASSWORD})
    assert response.status_code == 403
    assert not await SessionsBase.exists()


async def test_a_second_factor_is_asked_for_and_checked() -> None:
    user = await add_superuser("ana")
    (provider,) = mfa_providers(WITH_MFA)
    await provider.get_registration_json(user)
    stored = await BaseUser.raw("SELECT secret FROM authenticator_secret")
    secret = provider.encryption_provider.decrypt(stored[0]["secret"])
    browser = await open_browser(app_with_mfa())
    response = await sign_in_as(browser)
    assert (response.status_code, 'name="mfa_code"' in response.text) == (401, True)
    assert 'role="alert"' not in response.text
    response = await sign_in_as(browser, mfa_code="000000")
    assert (response.status_code, WRONG_CODE in response.text) == (401, True)
    assert 'name="mfa_code"' in response.text
    response = await sign_in_as(browser, mfa_code=pyotp.TOTP(secret).now())
    assert response.status_code == 303
    assert await is_in(browser)


async def test_a_temporary_password_is_replaced(directory: asyncpg.Pool) -> None:
    user = await add_superuser("ana")
    await directory.execute("INSERT INTO panel_temporary_passwords VALUES ($1)", user.id)
    browser = await open_browser()
    response = await sign_in_as(browser)
    assert (response.status_code, 'name="new_password"' in response.text) == (403, True)
    for new, again, problem in (
        (PASSWORD, PASSWORD, SAME_CHOICE),
        (OWN, ANOTHER, "Type the same new password twice."),
        ("ana ana ana ana", "ana ana ana ana", "too easy to guess"),
    ):
        response = await sign_in_as(browser, new_password=new, new_password_again=again)
        assert (response.status_code, problem in response.text) == (403, True)
        assert 'name="new_password"' in response.text
    response = await sign_in_as(browser, new_password=OWN, new_password_again=OWN)
    assert response.status_code == 303
    assert await is_in(browser)
    assert await BaseUser.login("ana", OWN) == user.id


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/",
        "/\\evil.example/",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/a\nb",
        "evil",
        "",
        "/" + "x" * 3000,
    ],
)
async def test_the_next_page_is_never_elsewhere(path: str) -> None:
    await add_superuser("ana")
    assert find_own_path(path) == "/"
    response = await sign_in_as(await open_browser(), following=path)
    assert response.headers["location"] == "/"


# A session that has ended


async def act(visit: Visit) -> Response:
    return PlainTextResponse(json.dumps([visit.user.username, visit.form.multi_items()]))


async def build(_: Visit) -> PageContent:
    return message_page("A form", "to fill in", 200)


@pytest.fixture
async def browser() -> httpx.AsyncClient:
    """A client of an app with a form, which Ana has left open until her session ended."""
    pages = Pages(Settings())
    app = Starlette(
        routes=[
            *sign_in.routes(pages),
            Route("/form/", pages.act(act, again=build, role=Role.VIEWER), methods=["POST"]),
        ],
        middleware=[Middleware(CSRFProtection, pages=pages)],
    )
    client = await open_browser(app)
    token = await session_of(await add_superuser("ana"))
    client.cookies.set("id", token, domain="directory.example", path="/")
    await SessionsBase.update(
        {SessionsBase.expiry_date: datetime(2026, 1, 1)},  # noqa: DTZ001  as in piccolo_api
        force=True,
    )
    return client


HIDDEN_FIELD = 'type="hidden" name="([^"]*)" value="([^"]*)"'
TYPED = {"reason": '"><b>Ünïcode</b>', "pick": ["7", "41"], "password": "a secret of Ana"}


async def test_an_ended_session_keeps_what_was_typed(browser: httpx.AsyncClient) -> None:
    response = await send(browser, "/form/?a=1", **TYPED)
    assert response.status_code == 401
    assert "a secret of Ana" not in response.text
    kept = hidden(response, "kept")

    response = await sign_in_as(browser, password="a wrong password", kept=kept)
    assert hidden(response, "kept") == kept
    response = await sign_in_as(browser, kept=kept)
    assert response.status_code == 200
    assert 'role="alert"' not in response.text
    assert 'action="/form/?a=1"' in response.text
    assert "&lt;b&gt;Ünïcode&lt;/b&gt;</bdi>" in response.text
    fields = [
        (unescape(name), unescape(value))
        for name, value in re.findall(
            r'type="hidden" name="([^"]*)" value="([^"]*)"', response.text
        )
        if name not in ("csrftoken", "theme")
    ]
    assert fields == [("reason", TYPED["reason"]), ("pick", "7"), ("pick", "41")]

    response = await send(browser, "/form/?a=1", reason=fields[0][1], pick=["7", "41"])
    assert response.json() == [
        "ana",
        [["csrftoken", browser.cookies["csrftoken"]], *map(list, fields)],
    ]


async def test_somebody_else_is_told_that_they_did_not_type_it(browser: httpx.AsyncClient) -> None:
    await add_superuser("bea")
    kept = hidden(await send(browser, "/form/", reason="known"), "kept")
    response = await sign_in_as(browser, "bea", kept=kept)
    assert "You are signed in as bea, and somebody else may have typed this." in response.text
    browser.cookies.delete("id")
    kept = hidden(await send(browser, "/form/", reason="known"), "kept")
    response = await sign_in_as(browser, "bea", kept=kept)
    assert "somebody else may have typed this." in response.text


async def test_a_form_of_another_site_is_not_kept(browser: httpx.AsyncClient) -> None:
    for fields in ({"reason": "x"}, {"reason": "x", "csrftoken": "guessed"}):
        response = await browser.post("/form/", data=fields)
        assert response.status_code == 403
        assert "kept" not in response.text


async def test_a_form_that_is_too_long_is_not_kept_and_that_is_told(
    browser: httpx.AsyncClient,
) -> None:
    response = await send(browser, "/form/", reason="x" * MAX_KEPT_LENGTH)
    assert response.status_code == 401
    assert "too long to be kept" in response.text
    assert 'name="kept"' not in response.text


async def test_a_form_of_secrets_alone_is_not_kept(browser: httpx.AsyncClient) -> None:
    browser.headers["Referer"] = f"{ADDRESS}/me/?a=1"
    response = await send(browser, "/form/", password="a secret", new_password="b", empty="")
    assert "What you typed is kept" not in response.text
    assert "/sign-in/?next=/me/%3Fa%3D1" in response.text


async def test_a_script_gets_the_sign_in_as_a_whole_page(browser: httpx.AsyncClient) -> None:
    browser.headers["HX-Request"] = "true"
    response = await send(browser, "/form/", reason="x")
    assert response.headers["HX-Retarget"] == "body"
    client = await open_browser()
    headers = {"HX-Request": "true", "HX-Current-URL": f"{ADDRESS}/insights/?a=1"}
    response = await client.get("/tree/", headers=headers)
    assert response.headers["HX-Redirect"] == "/sign-in/?next=%2Finsights%2F%3Fa%3D1"


@pytest.mark.parametrize("address", ["http://[", "//evil.example/", f"{ADDRESS}//evil.example/"])
async def test_a_browser_that_lies_about_its_page_is_led_to_home(address: str) -> None:
    client = await open_browser()
    headers = {"HX-Request": "true", "HX-Current-URL": address}
    response = await client.get("/tree/", headers=headers)
    assert response.headers["HX-Redirect"] == "/sign-in/?next=%2F"
    client.headers["Referer"] = address
    response = await send(client, "/review/approve/", pick="1")
    assert (response.status_code, 'action="/sign-in/?next=/"' in response.text) == (401, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{}",
        "[]",
        "null",
        "[" * 100_000,
        '{"path": "//evil.example", "user_id": 1, "fields": [["a", "b"]]}',
        '{"path": "/", "user_id": 1, "fields": [["a", 1]]}',
        '{"path": "/", "user_id": 1, "fields": [["a"]]}',
        '{"path": "/", "user_id": 1, "fields": 1}',
        '{"path": 1, "user_id": 1, "fields": []}',
    ],
)
async def test_a_text_that_is_no_kept_form_is_ignored(text: str) -> None:
    await add_superuser("ana")
    response = await sign_in_as(await open_browser(), kept=text)
    assert response.status_code == 303


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(fields=st.lists(st.tuples(NAMES, NAMES)), user_id=st.none() | st.integers(1, 2**31))
def test_a_kept_form_is_the_same_afterwards(
    fields: list[tuple[str, str]], user_id: int | None
) -> None:
    kept = KeptForm.make("/form/?a=1", user_id, FormData([*fields]))
    assert KeptForm.parse(kept.to_json() or "") == kept
    assert all(field in fields for field in kept.fields)


# Visits of the pages


async def test_a_session_is_extended_only_when_it_ends_soon() -> None:
    client = await open_browser()
    client.cookies.set("id", await session_of(await add_superuser("ana")))
    (session,) = await SessionsBase.objects()
    await asyncio.gather(*(is_in(client) for _ in range(3)))
    (extended,) = await SessionsBase.objects()
    hours = (extended.expiry_date - session.expiry_date).total_seconds() / 3600
    assert hours == 4
