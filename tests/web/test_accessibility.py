"""Every page of ours passes axe-core in light and dark and on a phone, where nothing overflows."""

import os
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from piccolo.apps.user.tables import BaseUser
from playwright.async_api import Browser, Page, Response

from community_directory.database import connect
from community_directory.demo import load_demo
from tests.conftest import Server, new_database
from tests.roles import app_url
from tests.web.conftest import PanelServer, add_superuser, session_of
from tests.web.routes import addresses

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
]

DESK, PHONE = (1280, 800), (390, 844)
MORE = [
    "/people/999/",  # a message
    "/insights/?days=7",
]
"""Addresses beside one for each route."""
AXE = """
async (rules) => {
    const found = await axe.run(document, rules ? { runOnly: rules } : {});
    return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html)}`);
}
"""
COLORS = ["color-contrast", "link-in-text-block"]
"""The rules whose result depends on the theme."""
OVERFLOWING = """
() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const wide = [...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > width + 1);
    return wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 200));
}
"""


@pytest.fixture(scope="module")
async def axe() -> str:
    """The source of axe-core."""
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        if os.environ.get("CI"):
            pytest.fail("CI must install axe-playwright-python")
        pytest.skip("axe-playwright-python is not installed")
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
async def page(
    server: Server, template: str, browser: Browser, panel_server: PanelServer
) -> AsyncIterator[Page]:
    """A browser in which a superuser of the demo is signed in; no test writes to the demo."""
    port = panel_server.servers[0].sockets[0].getsockname()[1]
    async with new_database(server, template) as url, connect(app_url(url), min_size=0):
        assert await load_demo()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BaseUser, "_pbkdf2_iteration_count", 1)
            token = await session_of(await add_superuser("eva"))
        context = await browser.new_context(
            base_url=f"http://127.0.0.1:{port}", reduced_motion="reduce"
        )
        await context.add_cookies([{"name": "id", "value": token, "url": context_url(port)}])
        yield await context.new_page()
        await context.close()


def context_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


async def examine(page: Page, axe: str, path: str) -> list[str]:
    """Return what is wrong with a page; a response that is only a part of a page has nothing."""
    problems: list[str] = []
    for width, height in (DESK, PHONE):
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(color_scheme="light")
        response = await page.goto(path)
        assert response
        if not await is_page(response):
            return problems
        if response.status not in (200, 400, 404):  # a message is a page, too
            problems.append(f"{path}: the status is {response.status}")
        await page.evaluate(axe)
        for scheme, rules in (("light", None), ("dark", COLORS)):
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found: list[Any] = await page.evaluate(AXE, rules)
            problems += [f"{path} {scheme} {width}: {each}" for each in found]
        overflowing: list[Any] = await page.evaluate(OVERFLOWING)
        problems += [f"{path} {width} overflows: {each}" for each in overflowing]
    return problems


async def is_page(response: Response) -> bool:
    if "text/html" not in response.headers.get("content-type", ""):
        return False
    return (await response.text()).lstrip().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("path", sorted({address.path for address in addresses("GET")} | {*MORE}))
async def test_a_page_is_accessible_in_light_and_dark_at_a_desk_and_on_a_phone(
    page: Page, axe: str, path: str
) -> None:
    assert await examine(page, axe, path) == []
