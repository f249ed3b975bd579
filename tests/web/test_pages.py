"""What all pages share: access, acts with a CSRF token, errors, notices, language and theme."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from piccolo.apps.user.tables import BaseUser
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from community_directory.app import app as directory_app
from community_directory.errors import MemberNotFound, OperatorError
from community_directory.language import find_translation
from community_directory.queries import members
from community_directory.settings import load_settings
from community_directory.tables import CommunityMember
from community_directory.web import pages as pages_module
from community_directory.web.pages import (
    CSRFProtection,
    FormRefused,
    PageContent,
    Pages,
    Role,
    Visit,
    clean_name,
    message_page,
)
from tests.web.conftest import ADDRESS, add_superuser, session_of

STATIC_PATH = Path(pages_module.__file__).parent / "static"
D3 = ("dispatch", "force", "quadtree", "timer")


async def build(visit: Visit) -> PageContent:
    """Show a problem and what was typed, as a page with a form does."""
    return message_page("A page", f"typed: <{visit.form.get('name')}>", 200)


async def build_member(visit: Visit) -> PageContent:
    await members.get(visit.query["member"])
    return message_page("A member", "is there", 200)


async def fail(_: Visit) -> PageContent:
    raise OperatorError("A secret of the operator.")


async def lead_on(visit: Visit) -> Response:
    return visit.redirect("/member/?member=1")


async def rename(visit: Visit) -> Response:
    if visit.typed("name") == "nobody":
        raise FormRefused("Nadie se llama así.")
    await members.update_profile(1, name=visit.typed("name"))
    return visit.redirect("/", notice=visit.gettext("{name} is saved", name=visit.typed("name")))


@pytest.fixture
def app(fast_hashes: None) -> Starlette:
    pages = Pages(load_settings())
    return Starlette(
        routes=[
            Route("/", pages.page(build)),
            Route("/member/", pages.page(build_member)),
            Route("/fail/", pages.page(fail)),
            Route("/moved/", pages.page(lead_on)),
            Route("/secret/", pages.page(build, role=Role.SUPERUSER)),
            Route("/rename/", pages.act(rename, again=build), methods=["POST"]),
        ],
        middleware=[Middleware(CSRFProtection, pages=pages)],
    )


@pytest.fixture
async def visitor(app: Starlette, directory: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a session, which has the CSRF token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS) as client:
        await client.get("/")
        yield client


@pytest.fixture
async def superuser(visitor: httpx.AsyncClient) -> httpx.AsyncClient:
    visitor.cookies.set("id", await session_of(await add_superuser("eva")))
    return visitor


async def send(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    return await client.post("/rename/", data={"csrftoken": client.cookies["csrftoken"], **fields})


async def names(directory: asyncpg.Pool) -> list[str]:
    return [name for (name,) in await directory.fetch("SELECT name FROM community_members")]


async def test_without_a_session_a_page_leads_to_the_sign_in_and_back(
    visitor: httpx.AsyncClient,
) -> None:
    response = await visitor.get("/member/?member=7&a=ü")
    assert response.status_code == 303
    following = quote("/member/?member=7&a=%C3%BC", safe="")
    assert response.headers["location"] == f"/sign-in/?next={following}"


async def test_a_user_without_a_role_reads_what_they_lack(visitor: httpx.AsyncClient) -> None:
    user = await BaseUser.create_user("luis", "long enough for this", email="l@x.org", active=True)
    visitor.cookies.set("id", await session_of(user))
    response = await visitor.get("/")
    assert response.status_code == 403
    assert "Your account has no role." in response.text


async def test_only_a_superuser_sees_a_page_for_superusers(visitor: httpx.AsyncClient) -> None:
    user = await BaseUser.create_user(
        "luis", "long enough for this", email="l@x.org", active=True, admin=True
    )
    visitor.cookies.set("id", await session_of(user))
    assert (await visitor.get("/")).status_code == 200
    assert (await visitor.get("/secret/")).status_code == 403
    visitor.cookies.set("id", await session_of(await add_superuser("eva")))
    assert (await visitor.get("/secret/")).status_code == 200


@pytest.mark.parametrize("token", [None, "", "another"])
async def test_an_act_without_the_token_changes_nothing(
    superuser: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, token: str | None
) -> None:
    fields = {"name": "Eve"} | ({} if token is None else {"csrftoken": token})
    response = await superuser.post("/rename/", data=fields)
    assert response.status_code == 403
    assert "Nothing was changed." in response.text
    assert await names(directory) == ["Ana García"]


@pytest.mark.parametrize("header", ["X-CSRFToken", "X-Other"])
@pytest.mark.parametrize("body", [b"x", b"--x\r\nA: b\r\n\r\n"])
async def test_a_body_that_is_no_form_is_refused(
    superuser: httpx.AsyncClient, header: str, body: bytes
) -> None:
    response = await superuser.post(
        "/rename/",
        content=body,
        headers={
            "Content-Type": "multipart/form-data" + "; boundary=x" * (body != b"x"),
            header: superuser.cookies["csrftoken"],
        },
    )
    assert (response.status_code, "Nothing was changed." in response.text) == (403, True)


async def test_an_act_without_a_session_changes_nothing(
    visitor: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    response = await send(visitor, name="Eve")
    assert response.status_code in (303, 401)
    assert await names(directory) == ["Ana García"]


async def test_the_notice_of_an_act_is_shown_once_and_as_text(
    superuser: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    response = await send(superuser, name="<b>Ýve</b>")
    assert (response.status_code, response.headers["location"]) == (303, "/")
    assert await names(directory) == ["<b>Ýve</b>"]
    assert "&lt;b&gt;Ýve&lt;/b&gt; is saved" in (await superuser.get("/")).text
    assert "is saved" not in (await superuser.get("/")).text


def test_a_long_notice_is_cut_before_a_browser_drops_it() -> None:
    visit = Visit(Request({"type": "http"}), find_translation("en"))
    response = visit.redirect("/", notice="😀" * 500)
    assert 1000 < len(response.headers["set-cookie"]) < 4000


async def test_a_refused_act_shows_why_and_what_was_typed(
    superuser: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    response = await send(superuser, name="  ")
    assert response.status_code == 422
    assert re.search(r'role="alert"><p>[^<]*blank', response.text)
    assert "typed: &lt;  &gt;" in response.text
    # The script must not put the address of the act into the address bar.
    assert response.headers["HX-Push-Url"] == "false"
    assert await names(directory) == ["Ana García"]


async def test_an_address_of_nobody_is_a_missing_page(superuser: httpx.AsyncClient) -> None:
    response = await superuser.get("/member/?member=99")
    assert response.status_code == 404
    assert str(MemberNotFound("#99")) in response.text


async def test_an_operators_error_is_told_without_its_details(
    superuser: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = await superuser.get("/fail/")
    assert response.status_code == 503
    assert OperatorError.public_message in response.text
    assert "secret" not in response.text
    assert "A secret of the operator." in caplog.text
    caplog.clear()


@pytest.mark.parametrize(
    ("cookie", "accepted", "language"),
    [
        (None, None, "en"),
        (None, "es-MX,es;q=0.9,en;q=0.8", "es"),
        (None, "de, es;q=0.5", "es"),
        (None, "de", "en"),
        ("es", "en", "es"),
        ("xx", "es", "es"),
        (None, "*;q=x,,\x7f", "en"),
    ],
)
async def test_a_page_is_in_the_chosen_language_or_in_that_of_the_browser(
    superuser: httpx.AsyncClient, cookie: str | None, accepted: str | None, language: str
) -> None:
    if cookie:
        superuser.cookies.set("language", cookie)
    headers = {"Accept-Language": accepted} if accepted else {}
    html = (await superuser.get("/", headers=headers)).text
    assert f'<html lang="{language}"' in html
    assert ("Inicio" in html) is (language == "es")


async def test_a_page_obeys_the_chosen_theme(superuser: httpx.AsyncClient) -> None:
    assert "data-theme" not in (await superuser.get("/")).text
    superuser.cookies.set("theme", "dark")
    assert '<html lang="en" data-theme="dark">' in (await superuser.get("/")).text
    superuser.cookies.set("theme", '"><script>')
    assert "data-theme" not in (await superuser.get("/")).text


async def test_a_choice_leads_back_to_its_page_and_never_elsewhere(
    client: httpx.AsyncClient,
) -> None:
    for referrer, path in (
        (f"{ADDRESS}/log/?a=1", "/log/?a=1"),
        ("http://evil.example/x", "/"),
        (f"{ADDRESS}//evil.example/x", "/"),
        ("http://[evil", "/"),
    ):
        response = await client.post(
            "/theme/", data={"theme": "dark"}, headers={"Referer": referrer}
        )
        assert response.headers["location"] == path
        assert response.cookies["theme"] == "dark"
    response = await client.post("/language/", data={"language": "xx"})
    assert "language" not in response.cookies


async def test_a_missing_page_and_a_failure_are_told_in_words(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.get("/nothing/")
    assert (response.status_code, "There is no such page" in response.text) == (404, True)

    async def crash(_: object) -> None:
        raise ValueError("A secret of the code.")

    monkeypatch.setattr(pages_module, "find_visitor", crash)
    transport = httpx.ASGITransport(directory_app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as browser:
        response = await browser.get("/")
    assert (response.status_code, "Something went wrong" in response.text) == (500, True)
    assert "secret" not in response.text
    caplog.clear()


def test_the_pages_need_few_and_small_files() -> None:
    """At most 100 KB, of which half is htmx, and 30 KB for the picture of one page."""
    sizes = {file.name: file.stat().st_size for file in STATIC_PATH.iterdir()}
    of_network = [sizes.pop(name) for name in list(sizes) if name.startswith(("d3-", "network."))]
    assert sum(sizes.values()) <= 100_000
    assert sum(of_network) <= 30_000


def test_the_files_of_a_library_have_its_license() -> None:
    """D3's license must appear in all copies, and its files say only whose they are."""
    license_text = (STATIC_PATH / "d3-license.txt").read_text()
    for name in D3:
        first, *_ = (STATIC_PATH / f"d3-{name}.min.js").read_text().splitlines()
        assert license_text.startswith(first[first.index("Copyright") :] + "\n")
    assert "this permission notice appear in all copies" in license_text


def test_only_network_loads_a_library_for_its_picture() -> None:
    templates = pages_module.TEMPLATES_PATH.iterdir()
    using = {template.name for template in templates if "/d3-" in template.read_text()}
    assert using == {"insights_network.html"}


def test_no_template_turns_escaping_off() -> None:
    for template in pages_module.TEMPLATES_PATH.iterdir():
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape false", text), template.name


def test_markup_in_a_sentence_is_kept_and_other_values_are_text() -> None:
    visit = Visit(Request({"type": "http"}), find_translation("en"))
    shown = visit.rich("{person} & {number}", person=Markup("<b>x</b>"), number=1234)
    assert shown == "<b>x</b> &amp; 1,234"
    assert visit.rich("{person}", person="<i>{0}") == "&lt;i&gt;{0}"
    assert visit.nrich("{n} <", "{n} <<", 2, n=2) == "2 &lt;&lt;"


async def test_a_page_refuses_a_form_in_its_own_words(
    superuser: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    superuser.headers["Accept-Language"] = "es"
    response = await send(superuser, name="nobody")
    assert response.status_code == 422
    assert "Nadie se llama así." in response.text


async def test_a_page_can_lead_to_another_one(superuser: httpx.AsyncClient) -> None:
    response = await superuser.get("/moved/")
    assert (response.status_code, response.headers["location"]) == (303, "/member/?member=1")


@given(st.text())
def test_a_name_is_shown_without_control_characters(name: str) -> None:
    shown = clean_name(name)
    assert shown
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\n\0")
    assert clean_name(shown) == shown
