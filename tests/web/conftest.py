"""Fixtures: a signed-in client of the panel, and the panel in a browser."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import asyncpg
import httpx
import pytest
import uvicorn
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase
from playwright.async_api import Browser, Page, async_playwright, expect
from pydantic import SecretStr

from community_directory.app import App, app
from community_directory.settings import Settings
from community_directory.tables import CommunityMember
from community_directory.web.security import ADMIN_PATH
from tests.processes import CHROMIUM

ADDRESS = "http://directory.example"
ADMIN_ADDRESS = f"{ADDRESS}{ADMIN_PATH}/"

PASSWORD = "long enough for this"

expect.set_options(timeout=30_000)

# Chromium needs --no-sandbox when it runs as root. The other options prevent network requests.
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI must install Chromium")
        pytest.skip("no Chromium on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        await browser.close()


# The front end hides a message after three seconds. Here it stays until the next one and covers no
# button. The root element of the page has the number of unanswered requests.
INIT_SCRIPT = """
(() => {
    const { setTimeout } = window;
    window.setTimeout = (call, delay, ...rest) =>
        delay === 3000 ? 0 : setTimeout(call, delay, ...rest);
    addEventListener("DOMContentLoaded", () => {
        const style = "<style>#message_popup { pointer-events: none }</style>";
        document.head.insertAdjacentHTML("beforeend", style);
    });
    let unanswered = 0;
    const count = (change) => {
        document.documentElement.dataset.unanswered = unanswered += change;
    };
    const { send } = XMLHttpRequest.prototype;
    XMLHttpRequest.prototype.send = function (body) {
        count(1);
        this.addEventListener("loadend", () => count(-1));
        return send.call(this, body);
    };
})();
"""


class PanelServer(uvicorn.Server):
    """A server that does not handle signals, so that pytest gets Ctrl+C."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture(scope="session")
async def panel_server() -> AsyncIterator[PanelServer]:
    """The panel for all tests; it uses the database to which the test is connected."""
    settings = Settings(mfa_key=SecretStr("a key that is long enough for this"))
    server = PanelServer(uvicorn.Config(App(settings), port=0, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server
    server.should_exit = True
    await serving


@pytest.fixture
async def panel(panel_server: PanelServer, directory: asyncpg.Pool) -> AsyncIterator[str]:
    """The URL of the panel; all requests are answered before the next test."""
    yield f"http://127.0.0.1:{panel_server.servers[0].sockets[0].getsockname()[1]}/"
    async with asyncio.timeout(30):
        while panel_server.server_state.tasks:
            await asyncio.sleep(0.01)


@pytest.fixture
def fast_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords fast; normally it takes a third of a second on purpose."""
    monkeypatch.setattr(BaseUser, "_pbkdf2_iteration_count", 1)


async def add_superuser(username: str) -> BaseUser:
    return await BaseUser.create_user(
        username,
        PASSWORD,
        email=f"{username}@directory.example",
        active=True,
        admin=True,
        superuser=True,
    )


async def session_of(user: BaseUser) -> str:
    """Create a session, and return its token."""
    session = await SessionsBase.create_session(user_id=user.id)
    return str(session.token)


@pytest.fixture
async def client(directory: asyncpg.Pool, fast_hashes: None) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a superuser's session and CSRF token, as the front end has them."""
    token = await session_of(await add_superuser("manager"))
    # The last superuser can't be changed, so a second one lets tests change the first.
    await add_superuser("owner")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS) as client:
        client.cookies.set("id", token)
        await client.get(f"{ADMIN_PATH}/")
        client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
        yield client


@pytest.fixture
async def visitor(browser: Browser, panel: str, fast_hashes: None) -> AsyncIterator[Page]:
    """A browser without a session; errors and warnings in it fail the test."""
    context = await browser.new_context(base_url=panel, viewport={"width": 1280, "height": 800})
    await context.add_init_script(INIT_SCRIPT)
    problems: list[str] = []
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.on(
        "console",
        lambda said: problems.append(said.text) if said.type in ("error", "warning") else None,
    )
    context.on(
        "response",
        lambda response: problems.append(response.url) if response.status >= 500 else None,
    )
    page = await context.new_page()
    yield page
    await context.close()
    # Responses of 4xx are expected, and the front end logs an error for each 401.
    assert [
        problem
        for problem in problems
        if "status of 4" not in problem and "status code 401" not in problem
    ] == []


@pytest.fixture
async def page(visitor: Page, panel: str) -> Page:
    """The panel's first page, signed in as admin."""
    await visitor.context.add_cookies(
        [{"name": "id", "value": await session_of(await add_superuser("admin")), "url": panel}]
    )
    await visitor.goto(f"{ADMIN_PATH}/")
    await expect(visitor.get_by_text("Welcome to Community Directory")).to_be_visible()
    return visitor


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> CommunityMember:
    """Member #1."""
    return await _member("Ana García", "1001")


@pytest.fixture
async def bea(ana: CommunityMember) -> CommunityMember:
    """Member #2."""
    return await _member("Bea O'Neill", "1002")


async def _member(name: str, telegram_id: str) -> CommunityMember:
    member = CommunityMember(
        name=name, telegram_id=telegram_id, primary_role="developer", status="active"
    )
    await member.save()
    await member.refresh()
    return member
