"""The panel of a community manager in Chromium."""

import re

import asyncpg
import pytest
from playwright.async_api import Dialog, Page, expect

from community_directory.tables import CommunityMember
from community_directory.web.admin import listing
from tests.tables.rows import fetch_row
from tests.web.conftest import PASSWORD, add_superuser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
]


async def settle(page: Page) -> None:
    """Wait for all responses: default values arrive after the form and overwrite typed ones."""
    await expect(page.locator("html")).to_have_attribute("data-unanswered", "0")


async def press(page: Page, name: str) -> int:
    """Press a form's button, and return the status of the answer."""
    async with page.expect_response(
        lambda response: response.request.method in ("POST", "PATCH")
    ) as answered:
        await page.get_by_role("button", name=name).click()
    return (await answered.value).status


async def open_table(page: Page, name: str) -> None:
    """Open a table from the first page, because a form has no side bar."""
    await page.get_by_role("link", name="Community Directory").click()
    await page.get_by_role("link", name=name, exact=True).click()
    await expect(page.get_by_role("heading", name=name)).to_be_visible()


async def open_row(page: Page, link: str) -> None:
    """Open the members from the first page, then the form of one of them."""
    await open_table(page, "community members")
    await page.get_by_role("link", name=link, exact=True).click()
    await expect(page.get_by_role("heading", name="Edit community members")).to_be_visible()
    await settle(page)


async def add_row(page: Page, table: str) -> None:
    await open_table(page, table)
    await page.get_by_text("Add Row").click()
    await expect(page.get_by_role("heading", name=f"Add {table}")).to_be_visible()
    await settle(page)


async def add_member(page: Page, **values: str) -> None:
    await add_row(page, "community members")
    for name, value in values.items():
        await page.fill(f"form [name={name}]", value)
    assert await press(page, "Create") == 201
    await expect(page.get_by_text("Successfully added row")).to_be_visible()
    await open_table(page, "community members")
    await expect(page.get_by_role("cell", name=values["name"], exact=True)).to_be_visible()


async def pick_member(page: Page, field: str, search: str, shown: str) -> None:
    """Choose the member of a foreign key: click, type a part of the name, click."""
    await page.locator(f"div:has(> input[name={field}]) input[type=text]").last.click()
    await page.locator("input[type=search]:visible").fill(search)
    await page.locator("a:visible").get_by_text(shown, exact=True).click()


async def test_a_manager_adds_members_and_an_invitation_and_sees_them(
    page: Page, directory: asyncpg.Pool
) -> None:
    await add_member(page, name="Ana García", telegram_id="1001", primary_role="community_manager")
    await add_member(page, name="Bea O'Neill", telegram_id="1002", primary_role="developer")
    await directory.execute("UPDATE community_members SET status = 'pending'")
    await directory.execute("UPDATE community_members SET status = 'active'")

    await add_row(page, "community invitations")
    await expect(page.locator("form [name=invitation_code]")).to_be_disabled()
    await pick_member(page, "created_by", "GARC", "#1 Ana García")
    assert await press(page, "Create") == 201

    code, creator = await fetch_row(
        directory, "SELECT invitation_code, created_by FROM community_invitations"
    )
    assert creator == "#1"
    await open_table(page, "community invitations")
    row = page.locator("tbody tr").filter(has_text=code)
    await expect(row).to_contain_text("Pending")
    await row.get_by_role("link", name="#1 Ana García").click()
    await expect(page.locator("form [name=name]")).to_have_value("Ana García")


async def test_a_manager_adds_an_invited_member_and_filters_by_the_inviter(
    page: Page, bea: CommunityMember
) -> None:
    await add_row(page, "community members")
    for name, value in {
        "name": "Chidi Okafor",
        "telegram_id": "1003",
        "primary_role": "developer",
    }.items():
        await page.fill(f"form [name={name}]", value)
    await pick_member(page, "invited_by", "#1", "#1 Ana García")
    assert await press(page, "Create") == 201

    await open_table(page, "community members")
    await expect(page.get_by_role("row")).to_have_count(4)
    await page.get_by_text("Show Filters").click()
    await pick_member(page, "invited_by", "ana", "#1 Ana García")
    await page.get_by_role("button", name="Apply").click()
    await expect(page.get_by_role("row")).to_have_count(2)
    await expect(page.get_by_role("cell", name="Chidi Okafor")).to_be_visible()


async def test_a_save_writes_what_was_typed_and_nothing_else(
    page: Page, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        """UPDATE community_members
        SET country = '', profile_data = '{"big": 12345678901234567890, "half": 0.50}'"""
    )
    stored = (
        "SELECT organization, country, profile_data::text, created_at, xmin FROM community_members"
    )
    before = await fetch_row(directory, stored)

    await open_row(page, "#1")
    assert await press(page, "Save") == 200
    await expect(page.get_by_text("Successfully saved")).to_be_visible()
    assert await directory.fetchrow(stored) == before

    # Somebody else edits another field while the form is open.
    await directory.execute("UPDATE community_members SET primary_role = 'designer'")
    await page.fill("form [name=organization]", "Frutero")
    assert await press(page, "Save") == 200
    after = await fetch_row(directory, stored)
    assert after[:-1] == ("Frutero", *before[1:-1])
    assert await directory.fetchval("SELECT primary_role FROM community_members") == "designer"

    # A refusal names the field.
    await page.fill("form [name=telegram_username]", "ana garcía")
    assert await press(page, "Save") == 422
    await expect(page.get_by_text("telegram_username field - A Telegram username")).to_be_visible()


async def test_locked_fields_are_greyed_and_not_sent(page: Page, ana: CommunityMember) -> None:
    await open_row(page, "#1")
    for name in (
        "member_id",
        "telegram_id",
        "status",
        "reputation_score",
        "invited_by",
        "created_at",
        "deleted_at",
    ):
        await expect(page.locator(f"form [name={name}]")).to_be_disabled()
    for name in ("name", "country", "primary_role", "profile_data"):
        await expect(page.locator(f"form [name={name}]")).to_be_enabled()
    async with page.expect_request(lambda request: request.method == "PATCH") as sent:
        await page.get_by_role("button", name="Save").click()
    body = (await sent.value).post_data_json
    assert isinstance(body, dict)
    assert (
        body.keys()
        & {"member_id", "telegram_id", "status", "created_at", "deleted_at", "invited_by"}
        == set()
    )
    assert {"name", "country", "__seen"} <= body.keys()


async def test_only_a_read_only_table_looks_read_only(page: Page, ana: CommunityMember) -> None:
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


async def test_delete_removes_a_member_and_no_page_shows_a_uuid(
    page: Page, ana: CommunityMember
) -> None:
    await open_table(page, "community members")
    await expect(page.get_by_role("cell", name="Ana García")).to_be_visible()
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


async def test_a_manager_approves_invites_and_bans_by_forms(
    page: Page, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        "INSERT INTO community_members (name, telegram_id, primary_role, status) VALUES"
        " ('Ana García', '1001', 'x', 'active'),"
        " ('Anaïs <img src=x onerror=throw(1)>', '1002', 'x', 'pending')"
    )
    await open_form(page, "Approve a newcomer")
    await submit(page, member="ana")
    await expect(page.locator(".errors li")).to_have_text(
        "2 people match: #1 Ana García (active), #2 Anaïs <img src=x onerror=throw(1)> (pending). "
        "Type the number of the one you mean."
    )
    await submit(page, member="anais")
    await expect(page.locator("#success_message")).to_have_text(
        "#2 Anaïs <img src=x onerror=throw(1)> is active now."
    )

    await open_form(page, "Invite")
    await submit(page, member="#2", telegram_username="@null")
    await expect(page.locator("#success_message")).to_contain_text("for @null, open until")
    code = await directory.fetchval(
        "SELECT invitation_code FROM community_invitations WHERE created_by = '#2'"
    )
    await expect(page.locator("#success_message")).to_contain_text(f"Send this code: {code}")

    await open_form(page, "Ban a member")
    await submit(page, member="2")
    await expect(page.locator(".errors li")).to_have_text("reason field - please fill this in")
    await submit(page, reason="null")
    await expect(page.locator("#success_message")).to_have_text(
        "#2 Anaïs <img src=x onerror=throw(1)> is banned now."
    )
    log = """
        SELECT actor, reason FROM directory_audit_log
        WHERE member_id = '#2' ORDER BY id DESC LIMIT 1"""
    assert tuple(await fetch_row(directory, log)) == ("admin", "null")

    await open_form(page, "Download members as CSV")
    async with page.expect_download() as download:
        await submit(page)
    assert (await download.value).suggested_filename.endswith(".csv")
    await open_form(page, "Roll up highlights")
    await submit(page)
    await expect(page.locator("#success_message")).to_contain_text("0 highlights written for")


async def test_the_links_of_the_side_bar_open_the_lists_they_name(
    page: Page, ana: CommunityMember
) -> None:
    await page.get_by_role("link", name="To review").click()
    await expect(page).to_have_url(re.compile("status=pending"))
    await expect(page.get_by_role("heading", name="community members")).to_be_visible()
    await expect(page.get_by_text("No results found")).to_be_visible()
    await page.get_by_role("link", name="Expiring today").click()
    await expect(page.get_by_role("heading", name="community invitations")).to_be_visible()
    await expect(page.get_by_text("No results found")).to_be_visible()


async def test_a_list_says_that_its_number_is_an_estimate_and_why_an_order_is_refused(
    page: Page, ana: CommunityMember, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_UNPLANNED_ROWS", -2)
    monkeypatch.setattr(listing, "MAX_PLANNED_COST", 0)
    await page.goto("/admin/#/community_members")
    await expect(page.locator("html.is-estimate #result_count")).to_be_visible()
    await page.goto("/admin/#/community_members?status=active")
    await expect(page.locator("#message_popup")).to_contain_text("Add a filter, or sort by")


async def sign_in(page: Page, password: str = PASSWORD) -> None:
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", password)
    await page.get_by_role("button", name="Login").click()


async def test_the_sign_in_form_shows_why_it_failed(visitor: Page, directory: asyncpg.Pool) -> None:
    await add_superuser("admin")
    await visitor.goto("/admin/")
    said = visitor.locator("#login [role=alert]")
    await sign_in(visitor, "a wrong password")
    await expect(said).to_have_text("The username or the password is wrong.")
    await sign_in(visitor, "")
    await expect(said).to_have_text("Type your username and your password.")
    await add_superuser("owner")  # the last superuser can't be changed
    await directory.execute("UPDATE piccolo_user SET admin = false WHERE username = 'admin'")
    await sign_in(visitor)
    await expect(said).to_contain_text("You can't enter the panel")
    await directory.execute("UPDATE panel_attempts SET failures = 100")
    await sign_in(visitor)
    await expect(said).to_contain_text("Too many failed attempts. Try again in")


async def test_a_bad_password_is_refused_with_a_message_on_each_form(page: Page) -> None:
    await page.goto("/admin/#/change-password/")
    for field, password in zip(
        await page.locator("#change_password input").all(),
        (PASSWORD, "passwordpassword", "passwordpassword"),
        strict=True,
    ):
        await field.fill(password)
    await page.locator("#change_password form button").click()
    await expect(page.get_by_text("The password is too easy to guess")).to_be_visible()

    await page.goto("/admin/")
    await add_row(page, "piccolo user")
    for password, status, said in (
        ("passwordpassword", 422, "The password is too easy to guess"),
        ("quite some other words", 201, "Successfully added row"),
    ):
        for name, value in (
            ("username", "eva"),
            ("email", "eva@example.org"),
            ("password", password),
        ):
            await page.fill(f"form [name={name}]", value)
        assert await press(page, "Create") == status
        await expect(page.get_by_text(said)).to_be_visible()

    await open_table(page, "piccolo user")
    await page.get_by_role("table").get_by_role("link", name="admin").click()
    await settle(page)
    await page.locator("form select[name=superuser]").select_option("false")
    assert await press(page, "Save") == 422
    await expect(page.get_by_text("This is the last superuser")).to_be_visible()


async def test_a_second_factor_is_set_up_and_asked_for(visitor: Page) -> None:
    await add_superuser("admin")
    await visitor.goto("/admin/")
    await sign_in(visitor)
    await expect(visitor.get_by_text("Welcome to Community Directory")).to_be_visible()
    await visitor.goto("/admin/api/mfa-setup/")
    await visitor.fill("input[name=password]", PASSWORD)
    await visitor.get_by_role("button", name="Enable").click()
    await expect(visitor.locator(".qr_code img")).to_be_visible()
    recovery_code = (await visitor.locator("li").first.inner_text()).strip()
    await visitor.context.clear_cookies()
    await visitor.goto("/admin/")
    await sign_in(visitor)
    await expect(visitor.get_by_text("Hint: Use your authenticator app")).to_be_visible()
    await visitor.fill("input[placeholder='123456']", "000000")
    await visitor.get_by_role("button", name="Login").click()
    await expect(visitor.locator("#login [role=alert]")).to_contain_text("This code is wrong")
    await visitor.fill("input[placeholder='123456']", recovery_code)
    await visitor.get_by_role("button", name="Login").click()
    await expect(visitor.get_by_text("Welcome to Community Directory")).to_be_visible()
