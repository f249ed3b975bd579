"""Every page of ours, with the demo: axe-core in light at a desk, and its looks on a dark phone.

A theme has its colours at every width, and a width has its layout in both themes. On the phone
nothing overflows. The links and forms of a page work without a script, and lead to addresses that
exist.
"""

import os
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from piccolo.apps.user.tables import BaseUser
from playwright.async_api import Browser, Page, Response

from community_directory.database import connect
from community_directory.demo import load_demo
from community_directory.queries import members
from tests.conftest import Server, new_database
from tests.roles import app_url
from tests.web.conftest import PanelServer, add_superuser, session_of
from tests.web.routes import addresses, is_answered

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
]

DESK, PHONE = (1280, 800), (390, 844)
MORE = [
    "/people/999/",  # a message
    "/review/?ask=decline&all=1",
    "/insights/?days=7",
    "/insights/funnel/?by=inviter",
    "/insights/retention/?by=inviter&unit=week&show=lost&period=12m",
    "/insights/network/?show=relationships",
    "/insights/network/?show=relationships&around=12",
]
"""Addresses beside one for each route."""
NO_PAGES = ("/preview/", "/act/", ".csv")
"""The ends of the addresses that show the page with their form again, and of files."""
PATHS = sorted(
    {address.path for address in addresses("GET") if not address.path.endswith(NO_PAGES)} | {*MORE}
)
AXE = """
async ([rules, dialogs]) => {
    const options = { resultTypes: ["violations"] };
    const only = rules.length ? { ...options, runOnly: rules } : options;
    const { violations } = await axe.run(document, only);
    for (const dialog of document.querySelectorAll(dialogs)) {
        dialog.showPopover();
        violations.push(...(await axe.run(dialog, options)).violations);
        dialog.hidePopover();
    }
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html)}`);
}
"""
"""Run some rules of axe-core on the page, or all, and all on some dialogs while each is open."""
RULES_OF_LOOKS = [
    "color-contrast",
    "link-in-text-block",
    "scrollable-region-focusable",
]
"""The rules whose result depends on the theme or the width: one look is enough for the others."""
SHORTEN = """
() => {
    for (const item of document.querySelectorAll(":is(tr, li, rect, path, svg a):nth-child(n+9)"))
        item.remove();
}
"""
"""Leave the first eight items of each list, for axe-core, which is slow: the others are alike."""
OPEN_DETAILS = "() => document.querySelectorAll('details').forEach((each) => (each.open = true))"
OVERFLOWING = """
() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const wide = [...document.querySelectorAll("body *")]
        .filter((element) => element.getBoundingClientRect().right > width + 1);
    return wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 200));
}
"""


ADDRESSES = """
() => {
    const own = ({ origin }) => origin === location.origin;
    const links = [...document.links].map((link) => new URL(link.href)).filter(own);
    const forms = [...document.forms].map((form) => [form.method, new URL(form.action).pathname]);
    return [...links.map((link) => ["get", link.pathname]), ...forms];
}
"""
"""The methods and the paths of all links and forms of a page."""
WITHOUT_EFFECT = """
() => [...document.querySelectorAll("button, a:not([href]), [onclick]")]
    .filter((element) => !(element.type === "submit" && element.form))
    .filter((element) => !element.matches("[popovertarget], [data-copy], [data-zoom]"))
    .map((element) => element.outerHTML)
"""
"""What can be pressed and does nothing without a script.

Browsers can't copy without one, and a script adds the buttons that zoom.
"""
ASSET_BYTES = """
() => performance.getEntriesByType("resource")
    .filter(({ name }) => new URL(name).origin === location.origin && /[.](css|js)$/.test(name))
    .filter(({ name }) => !/[/](d3-|network[.])/.test(name))
    .reduce((sum, entry) => sum + entry.decodedBodySize, 0)
"""
"""The size of the files of a page, without those of the picture of Network."""
MAX_ASSET_BYTES = 100_000


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


async def examine(page: Page, axe: str, path: str, *, opens_details: bool = False) -> list[str]:
    """Return what is wrong with a page, also in what can be opened on it if `opens_details`.

    A redirect has nothing, and neither has a response that is only a part of a page.
    """
    problems: list[str] = []
    for (width, height), scheme in ((DESK, "light"), (PHONE, "dark")):
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        response = await page.goto(path)
        assert response
        is_redirected = urlsplit(page.url).path != urlsplit(path).path
        if is_redirected or not await is_page(response):
            return problems
        if response.status not in (200, 400, 404):  # a message is a page, too
            problems.append(f"{path}: the status is {response.status}")
        if opens_details:
            await page.evaluate(OPEN_DETAILS)
        if width == DESK[0]:
            problems += await find_dead_ends(page, path)
        overflowing: list[Any] = await page.evaluate(OVERFLOWING)
        problems += [f"{path} {width} overflows: {each}" for each in overflowing]
        await page.evaluate(SHORTEN)
        await page.evaluate(axe)
        is_phone = width == PHONE[0]
        dialogs = "dialog[popover]" if is_phone else "dialog:not(*)"  # none
        found: list[Any] = await page.evaluate(AXE, [RULES_OF_LOOKS if is_phone else [], dialogs])
        problems += [f"{path} {scheme} {width}: {each}" for each in found]
    return problems


async def find_dead_ends(page: Page, path: str) -> list[str]:
    """Return what needs a script or leads nowhere, and whether the page loads too much."""
    problems = [f"{path} needs a script: {each}" for each in await page.evaluate(WITHOUT_EFFECT)]
    for method, address in sorted({tuple(each) for each in await page.evaluate(ADDRESSES)}):
        if not is_answered(method.upper(), address):
            problems.append(f"{path} leads to {method} {address}")
    if await page.evaluate(ASSET_BYTES) > MAX_ASSET_BYTES:
        problems.append(f"{path} loads more than {MAX_ASSET_BYTES:,} bytes")
    return problems


@pytest.mark.parametrize("state", ["pending", "suspended"])
async def test_the_page_of_a_person_is_accessible_whatever_can_be_done(
    page: Page, axe: str, state: str
) -> None:
    found = (await members.search(status=state, limit=1)).items[0].member_id
    assert await examine(page, axe, f"/people/{found[1:]}/?field=name") == []


async def test_the_filters_of_people_are_accessible_while_all_are_in_sight(
    page: Page, axe: str
) -> None:
    path = "/people/?activity=active&since=28d&contributions_from=1&reached=message&status=present"
    assert await examine(page, axe, path, opens_details=True) == []


async def is_page(response: Response) -> bool:
    if "text/html" not in response.headers.get("content-type", ""):
        return False
    return (await response.text()).lstrip().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("path", PATHS)
async def test_a_page_is_accessible_in_light_at_a_desk_and_in_dark_on_a_phone(
    page: Page, axe: str, path: str
) -> None:
    assert await examine(page, axe, path) == []
