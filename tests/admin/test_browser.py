"""The panel as a community manager meets it, in a real Chromium."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator

import asyncpg
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.processes import ADMIN_PASSWORD, Panel, running_panel

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# As root Chromium needs --no-sandbox; it asks nobody outside this machine for anything.
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


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


@pytest.fixture
async def panel(database: str) -> AsyncIterator[Panel]:
    """`python main.py` on a database of the test's own."""
    context = running_panel(POSTGRES_URL=database, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD)
    yield await asyncio.to_thread(context.__enter__)
    await asyncio.to_thread(context.__exit__, None, None, None)


@pytest.fixture
async def page(browser: Browser, panel: Panel) -> AsyncIterator[Page]:
    """The panel, signed in; a server error or an exception in a script fails the test."""
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    await page.goto(panel.url)
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", ADMIN_PASSWORD)
    faults.clear()  # before signing in, the front end stumbles over each 401
    page.on("response", lambda response: faults.append(response.url) if response.status >= 500 else None)
    await page.get_by_role("button", name="Login").click()
    await expect(page.get_by_text("Welcome to Community Directory")).to_be_visible()
    yield page
    await page.close()
    assert not faults


async def settle(page: Page) -> None:
    """Wait for what the front end still asks for: defaults arrive after the form, and overwrite a quick robot."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    known = -1
    while known != len(asked):
        known = len(asked)
        await page.wait_for_timeout(400)


async def open_table(page: Page, name: str) -> None:
    """From anywhere (a form has no side bar): home, then the table."""
    await page.get_by_role("link", name="Community Directory").click()
    await page.get_by_role("link", name=name, exact=True).click()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


async def add_row(page: Page, table: str) -> None:
    await open_table(page, table)
    await page.get_by_text("Add Row").click()
    await expect(page.get_by_role("heading", name=f"Add {table}")).to_be_visible()
    await settle(page)


async def add_member(page: Page, **values: str) -> None:
    await add_row(page, "community members")
    for name, value in values.items():
        await page.fill(f"form [name={name}]", value)
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_text("Successfully added row")).to_be_visible()
    await open_table(page, "community members")
    await expect(page.get_by_role("cell", name=values["name"], exact=True)).to_be_visible()


async def pick_member(page: Page, field: str, search: str, shown: str) -> None:
    """Choose the member of a foreign key, as a person does: click, type a part of the name, click."""
    await page.locator(f"div:has(> input[name={field}]) input[type=text]").last.click()
    await page.locator("input[type=search]:visible").fill(search)
    await page.locator("a:visible").get_by_text(shown, exact=True).click()


async def test_a_newcomer_adds_a_member_and_an_invitation_and_sees_them(page: Page, database: str) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="community_manager")
    await add_member(page, name="Bea O'Neill", telegram_id="1002", primary_role="developer")

    await add_row(page, "community invitations")
    code = await page.input_value("form [name=invitation_code]")
    await pick_member(page, "created_by", "garc", "#1 Ana García")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_text("Successfully added row")).to_be_visible()

    await open_table(page, "community invitations")
    row = page.locator("tbody tr").filter(has_text=code)
    await expect(row).to_contain_text("Pending")
    await row.get_by_role("link", name="#1 Ana García").click()
    await expect(page.locator("form [name=name]")).to_have_value("Ana García")

    connection = await asyncpg.connect(database)
    stored = await connection.fetch("SELECT invitation_code, created_by FROM community_invitations")
    await connection.close()
    assert [tuple(found) for found in stored] == [(code, "#1")]


async def test_a_manager_edits_who_invited_a_member_and_filters_by_it(page: Page, database: str) -> None:
    for number, name in enumerate(("Ana García", "Bea O'Neill", "Chidi Okafor"), start=1001):
        await add_member(page, name=name, telegram_id=str(number), primary_role="developer")

    await page.get_by_role("link", name="#2", exact=True).click()
    await pick_member(page, "invited_by", "#1", "#1 Ana García")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Successfully saved")).to_be_visible()

    await open_table(page, "community members")
    await expect(page.get_by_role("row")).to_have_count(4)
    await page.get_by_text("Show Filters").click()
    await pick_member(page, "invited_by", "ana", "#1 Ana García")
    await page.get_by_role("button", name="Apply").click()
    await expect(page.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_role("cell", name="Bea O'Neill")).to_be_visible()

    # The saved row opens again with its inviter's name, and saving it anew keeps the inviter.
    await page.get_by_role("link", name="#2", exact=True).click()
    await expect(page.locator("div:has(> input[name=invited_by]) input[type=text]").last).to_have_value("#1 Ana García")
    await page.get_by_role("button", name="Save").click()
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT invited_by FROM community_members WHERE member_id = '#2'") == "#1"
    await connection.close()


async def open_form(page: Page, name: str) -> None:
    await page.get_by_role("link", name="Community Directory").click()
    await page.get_by_role("link", name=name, exact=True).click()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()
    await settle(page)


async def submit(page: Page, **values: str) -> None:
    for name, value in values.items():
        await page.fill(f"form [name={name}]", value)
    await page.get_by_role("button", name="Submit").click()


async def test_a_manager_approves_invites_and_bans_by_forms(page: Page, database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "INSERT INTO community_members (name, telegram_id, primary_role, status) VALUES"
        " ('Ana García', '1001', 'x', 'active'), ('Anaïs <img src=x onerror=throw(1)>', '1002', 'x', 'pending')"
    )
    await open_form(page, "Approve a newcomer")
    await submit(page, member="ana")
    await expect(page.locator(".errors li")).to_have_text(
        "2 people match: #1 Ana García (active), #2 Anaïs <img src=x onerror=throw(1)> (pending): say which, by number."
    )
    await submit(page, member="anais")
    await expect(page.locator("#success_message")).to_have_text("#2 Anaïs <img src=x onerror=throw(1)> is active now.")

    await open_form(page, "Invite")
    await submit(page, member="#2", telegram_username="@null")
    await expect(page.locator("#success_message")).to_contain_text("for @null, open until")
    code = await connection.fetchval("SELECT invitation_code FROM community_invitations WHERE created_by = '#2'")
    await expect(page.locator("#success_message")).to_contain_text(f"Send the code {code}")

    await open_form(page, "Ban a member")
    await submit(page, member="2")
    await expect(page.locator(".errors li")).to_have_text("reason field - please fill this in")
    await submit(page, reason="null")
    await expect(page.locator("#success_message")).to_have_text("#2 Anaïs <img src=x onerror=throw(1)> is banned now.")
    log = "SELECT actor, reason FROM directory_audit_log WHERE member_id = '#2' ORDER BY id DESC LIMIT 1"
    assert tuple(await connection.fetchrow(log)) == ("admin", "null")
    await connection.close()

    await open_form(page, "Download members as CSV")
    async with page.expect_download() as download:
        await submit(page)
    assert (await download.value).suggested_filename.endswith(".csv")
    await open_form(page, "Roll up highlights")
    await submit(page)
    await expect(page.locator("#success_message")).to_contain_text("0 highlights written anew")


async def test_the_links_of_the_side_bar_open_the_lists_they_name(page: Page) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="developer")
    await page.get_by_role("link", name="Newcomers to review").click()
    await expect(page).to_have_url(re.compile("status=pending"))
    await expect(page.get_by_role("heading", name="community members")).to_be_visible()
    await expect(page.get_by_role("cell", name="Ana García")).to_have_count(0)
