"""The panel as a community manager meets it, in a real Chromium."""

import asyncio
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
from playwright.async_api import Browser, Dialog, Page, expect

from tests.processes import ADMIN_PASSWORD, Panel, running_panel

pytestmark = pytest.mark.browser


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
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
    await page.goto(panel.url)
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", ADMIN_PASSWORD)
    # Before signing in, the front end stumbles over each 401.
    faults[:] = [fault for fault in faults if "Content Security Policy" in fault]
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


async def test_a_manager_adds_members_and_an_invitation_and_sees_them(page: Page, database: str) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="community_manager")
    await add_member(page, name="Bea O'Neill", telegram_id="1002", primary_role="developer")
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE community_members SET status = 'pending'")
    await connection.execute("UPDATE community_members SET status = 'active'")

    await add_row(page, "community invitations")
    await expect(page.locator("form [name=invitation_code]")).to_be_disabled()
    await pick_member(page, "created_by", "GARC", "#1 Ana García")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_text("Successfully added row")).to_be_visible()

    code, creator = await connection.fetchrow("SELECT invitation_code, created_by FROM community_invitations")
    await connection.close()
    assert creator == "#1"
    await open_table(page, "community invitations")
    row = page.locator("tbody tr").filter(has_text=code)
    await expect(row).to_contain_text("Pending")
    await row.get_by_role("link", name="#1 Ana García").click()
    await expect(page.locator("form [name=name]")).to_have_value("Ana García")


async def test_a_manager_adds_who_was_invited_and_filters_by_it(page: Page, database: str) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="developer")
    await add_member(page, name="Bea O'Neill", telegram_id="1002", primary_role="developer")
    await add_row(page, "community members")
    for name, value in {"name": "Chidi Okafor", "telegram_id": "1003", "primary_role": "developer"}.items():
        await page.fill(f"form [name={name}]", value)
    await pick_member(page, "invited_by", "#1", "#1 Ana García")
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_text("Successfully added row")).to_be_visible()

    await open_table(page, "community members")
    await expect(page.get_by_role("row")).to_have_count(4)
    await page.get_by_text("Show Filters").click()
    await pick_member(page, "invited_by", "ana", "#1 Ana García")
    await page.get_by_role("button", name="Apply").click()
    await expect(page.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_role("cell", name="Chidi Okafor")).to_be_visible()


async def test_a_save_writes_what_was_typed_and_nothing_else(page: Page, database: str) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="developer")
    connection = await asyncpg.connect(database)
    await connection.execute(
        """UPDATE community_members SET country = '', profile_data = '{"big": 12345678901234567890, "half": 0.50}'"""
    )
    stored = "SELECT organization, country, profile_data::text, created_at, xmin FROM community_members"
    before = await connection.fetchrow(stored)

    await page.get_by_role("link", name="#1", exact=True).click()
    await settle(page)
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Successfully saved")).to_be_visible()
    assert await connection.fetchrow(stored) == before

    # Somebody else edits another field while the form is open.
    await connection.execute("UPDATE community_members SET primary_role = 'designer'")
    await page.fill("form [name=organization]", "Frutero")
    async with page.expect_response(lambda response: response.request.method == "PATCH") as saved:
        await page.get_by_role("button", name="Save").click()
    assert (await saved.value).status == 200
    after = await connection.fetchrow(stored)
    assert after[:-1] == ("Frutero", *before[1:-1])
    assert await connection.fetchval("SELECT primary_role FROM community_members") == "designer"

    # What it refuses stands beside the field's name.
    await page.fill("form [name=telegram_username]", "@ana")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("telegram_username field - A username has no @ in front")).to_be_visible()
    await connection.close()


async def test_locked_fields_are_greyed_and_not_sent(page: Page) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="developer")
    await page.get_by_role("link", name="#1", exact=True).click()
    await settle(page)
    for name in ("member_id", "telegram_id", "status", "reputation_score", "invited_by", "created_at", "deleted_at"):
        await expect(page.locator(f"form [name={name}]")).to_be_disabled()
    for name in ("name", "country", "primary_role", "profile_data"):
        await expect(page.locator(f"form [name={name}]")).to_be_enabled()
    async with page.expect_request(lambda request: request.method == "PATCH") as sent:
        await page.get_by_role("button", name="Save").click()
    body = (await sent.value).post_data_json
    assert isinstance(body, dict)
    assert body.keys() & {"member_id", "telegram_id", "status", "created_at", "deleted_at", "invited_by"} == set()
    assert {"name", "country", "__seen"} <= body.keys()


async def test_a_table_that_is_read_only_looks_it_and_others_do_not(page: Page) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="developer")
    add_row_button = page.get_by_text("Add Row")
    await open_table(page, "directory audit log")
    await expect(page.get_by_role("cell", name="community_members")).to_be_visible()
    await expect(add_row_button).to_be_hidden()
    await expect(page.locator("tbody td:first-child > input[type=checkbox]").last).to_be_hidden()
    await page.locator("tbody tr a").first.click()
    await expect(page.get_by_role("heading", name="Edit directory audit log")).to_be_visible()
    await expect(page.get_by_role("button", name="Save")).to_be_hidden()
    await expect(page.locator("[data-uitest=drop_down_button]")).to_be_hidden()
    await expect(page.locator("form [name=actor]")).to_be_disabled()

    await open_table(page, "community members")
    await expect(add_row_button).to_be_visible()
    await page.get_by_role("link", name="#1", exact=True).click()
    await expect(page.get_by_role("button", name="Save")).to_be_visible()


async def test_nobody_meets_a_uuid_and_delete_removes_a_member(page: Page) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="developer")
    asked: list[str] = []

    async def accept(dialog: Dialog) -> None:
        asked.append(dialog.message)
        await dialog.accept()

    page.on("dialog", accept)
    uuid = re.compile("[0-9a-f]{8}-[0-9a-f]{4}")
    await expect(page.locator("body")).not_to_contain_text(uuid)
    await page.locator("tbody tr a.subtle").first.click()
    await page.get_by_text("Delete", exact=True).click()
    await expect(page.get_by_text("No results found")).to_be_visible()
    assert asked == ["Are you sure you want to delete this row?"]
    await page.get_by_role("link", name="Removed").click()
    await expect(page.get_by_role("cell", name="Ana García")).to_be_visible()
    await expect(page.locator("body")).not_to_contain_text(uuid)


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
    await page.get_by_role("link", name="To review").click()
    await expect(page).to_have_url(re.compile("status=pending"))
    await expect(page.get_by_role("heading", name="community members")).to_be_visible()
    await expect(page.get_by_role("cell", name="Ana García")).to_have_count(0)
    await page.get_by_role("link", name="Expiring today").click()
    await expect(page.get_by_role("heading", name="community invitations")).to_be_visible()
    await expect(page.get_by_text("No results found")).to_be_visible()


async def test_who_can_not_sign_in_reads_why_in_the_form(browser: Browser, panel: Panel, database: str) -> None:
    connection = await asyncpg.connect(database)
    page = await browser.new_page()
    await page.goto(panel.url)
    said = page.locator("#login [role=alert]")
    await page.fill("input[name=username]", "admin")
    for password, sentence in (
        ("a wrong password", "The username or the password is wrong."),
        ("", "Type your username and your password."),
    ):
        await page.fill("input[name=password]", password)
        await page.get_by_role("button", name="Login").click()
        await expect(said).to_have_text(sentence)
    await connection.execute("ALTER TABLE piccolo_user DISABLE TRIGGER ALL; UPDATE piccolo_user SET admin = false")
    await page.fill("input[name=password]", ADMIN_PASSWORD)
    await page.get_by_role("button", name="Login").click()
    await expect(said).to_contain_text("You may not enter the panel")
    await connection.execute("UPDATE panel_attempts SET failures = 100")
    await page.get_by_role("button", name="Login").click()
    await expect(said).to_contain_text("Too many failed attempts: try again in")
    await connection.close()
    await page.close()


async def test_a_bad_password_is_refused_in_a_sentence_on_each_form(page: Page, panel: Panel) -> None:
    await page.goto(f"{panel.url}#/change-password/")
    for field, password in zip(
        await page.locator("#change_password input").all(),
        (ADMIN_PASSWORD, "passwordpassword", "passwordpassword"),
        strict=True,
    ):
        await field.fill(password)
    await page.locator("#change_password form button").click()
    await expect(page.get_by_text("The password is too easy to guess")).to_be_visible()

    await page.goto(panel.url)
    await add_row(page, "piccolo user")
    for password, said in (
        ("passwordpassword", "The password is too easy to guess"),
        ("quite some other words", "Successfully added row"),
    ):
        for name, value in (("username", "eva"), ("email", "eva@example.org"), ("password", password)):
            await page.fill(f"form [name={name}]", value)
        await page.get_by_role("button", name="Create").click()
        await expect(page.get_by_text(said)).to_be_visible()

    await open_table(page, "piccolo user")
    await page.get_by_role("table").get_by_role("link", name="admin").click()
    await settle(page)
    await page.locator("form select[name=superuser]").select_option("false")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("The last superuser stays.")).to_be_visible()


async def test_a_second_factor_is_set_up_and_asked_for(browser: Browser, database: str) -> None:
    context = running_panel(
        POSTGRES_URL=database,
        DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD,
        DIRECTORY_MFA_KEY="a key that is long enough for it",
    )
    panel = await asyncio.to_thread(context.__enter__)
    page = await browser.new_page()
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)

    async def sign_in() -> None:
        await page.goto(panel.url)
        await page.fill("input[name=username]", "admin")
        await page.fill("input[name=password]", ADMIN_PASSWORD)
        await page.get_by_role("button", name="Login").click()

    await sign_in()
    await expect(page.get_by_text("Welcome to Community Directory")).to_be_visible()
    await page.goto(f"{panel.url}api/mfa-setup/")
    await page.fill("input[name=password]", ADMIN_PASSWORD)
    await page.get_by_role("button", name="Enable").click()
    await expect(page.locator(".qr_code img")).to_be_visible()
    recovery_code = (await page.locator("li").first.inner_text()).strip()
    await page.context.clear_cookies()
    await sign_in()
    await expect(page.get_by_text("Hint: Use your authenticator app")).to_be_visible()
    await page.fill("input[placeholder='123456']", "000000")
    await page.get_by_role("button", name="Login").click()
    await expect(page.locator("#login [role=alert]")).to_contain_text("This code is wrong")
    await page.fill("input[placeholder='123456']", recovery_code)
    await page.get_by_role("button", name="Login").click()
    await expect(page.get_by_text("Welcome to Community Directory")).to_be_visible()
    await page.close()
    await asyncio.to_thread(context.__exit__, None, None, None)
    assert faults == []
