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
    await page.get_by_text("Add row").click()
    await expect(page.get_by_role("heading", name=f"Add {table}")).to_be_visible()
    await settle(page)


async def pick_member(page: Page, field: str, search: str, shown: str) -> None:
    """Choose the member of a foreign key: click, type a part of the name, click."""
    await page.locator(f"div:has(> input[name={field}]) input[type=text]").last.click()
    await page.locator("input[type=search]:visible").fill(search)
    await page.locator("a:visible").get_by_text(shown, exact=True).click()


async def test_a_manager_adds_an_invitation_and_sees_it(
    page: Page, bea: CommunityMember, directory: asyncpg.Pool
) -> None:
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
    await page.get_by_text("Show filters").click()
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
    add_row_button = page.get_by_text("Add row")
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
    await page.goto("/admin/#/community_members?deleted_at__operator=not_null")
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


async def test_a_form_says_what_it_did_and_why_it_did_nothing(
    page: Page, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        "INSERT INTO community_members (name, telegram_id, primary_role, status) VALUES"
        " ('Anaïs <img src=x onerror=throw(1)>', '1002', 'x', 'active')"
    )
    await open_form(page, "Mark as a bot")
    await submit(page, member="#9")
    await expect(page.locator(".errors li")).to_contain_text("There is no member #9")
    await submit(page, member="1", reason="null")
    await expect(page.locator("#success_message")).to_contain_text("is marked as a bot")
    log = "SELECT actor, reason FROM directory_audit_log ORDER BY id DESC LIMIT 1"
    assert tuple(await fetch_row(directory, log)) == ("admin", "null")
    await open_form(page, "Roll up highlights")
    await submit(page)
    await expect(page.locator("#success_message")).to_contain_text("0 highlights written for")


async def names(page: Page) -> list[str]:
    """Return the names in the list, as soon as it has been loaded."""
    await settle(page)
    return [
        name.strip() for name in await page.locator("tbody tr td:nth-child(3)").all_inner_texts()
    ]


async def test_the_filters_and_the_order_of_a_list_are_in_its_address(
    page: Page, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        """INSERT INTO community_members (name, telegram_id, primary_role, status, country) VALUES
        ('Ana', '1', 'x', 'active', 'Mexico'), ('Bea', '2', 'x', 'active', 'Mexico'),
        ('Eve', '3', 'x', 'banned', 'Mexico'), ('Kai', '4', 'x', 'active', 'Chile')"""
    )
    await page.goto("/admin/#/community_members?status=active")
    await expect(page.get_by_role("row")).to_have_count(4)
    # The form has the filter of the address, so that another one comes in addition.
    await page.get_by_text("Show filters").click()
    await expect(page.locator(".filter_wrapper [name=status]")).to_have_value("active")
    await page.fill(".filter_wrapper [name=country]", "mexico")
    await page.get_by_role("button", name="Apply").click()
    await expect(page).to_have_url(re.compile("country=mexico&status=active$"))
    await expect(page.get_by_role("row")).to_have_count(3)
    await page.locator("[data-uitest=sort_button]").click()
    await page.locator("select[name=column]").select_option("name")
    await page.locator("select[name=ordering]").select_option("true")
    await page.locator("[data-uitest=sort_form_button]").click()
    await expect(page).to_have_url(re.compile("country=mexico&status=active&__order=name$"))
    await page.reload()
    await expect(page.get_by_role("row")).to_have_count(3)
    assert await names(page) == ["Ana", "Bea"]
    await page.go_back()
    await expect(page).to_have_url(re.compile(r"\?status=active$"))
    await expect(page.get_by_role("row")).to_have_count(4)
    await page.get_by_text("Show filters").click()
    await page.get_by_role("button", name="Clear filters").click()
    await expect(page).to_have_url(re.compile(r"/community_members/?$"))
    await expect(page.get_by_role("row")).to_have_count(5)


async def test_a_bulk_update_offers_only_what_may_be_changed(
    page: Page, ana: CommunityMember
) -> None:
    await open_table(page, "community members")
    await page.locator(".table_wrapper tbody input[type=checkbox]").check()
    await page.get_by_text("Update 1 rows").click()
    options = page.locator("select[name=property] option:not([hidden])")
    offered = [await option.get_attribute("value") for option in await options.all()]
    assert {"country", "primary_role"} <= set(offered)
    assert not {"status", "member_id", "invited_by", "deleted_at"} & set(offered)
    # A refusal says why.
    await page.locator("select[name=property]").select_option("telegram_username")
    await page.fill("#overlay form [name=telegram_username]", "ana garcía")
    assert await press(page, "Update") == 422
    await expect(page.locator("#message_popup")).to_contain_text("A Telegram username has up to")


async def test_the_panel_obeys_the_theme_and_the_time_zone_of_the_workspace(
    page: Page, panel: str
) -> None:
    await page.context.add_cookies([{"name": "theme", "value": "dark", "url": panel}])
    await page.reload()
    await expect(page.locator("html[data-theme=dark] #app .dark_mode")).to_be_visible()
    assert await page.evaluate("localStorage.defaultTimezone") == "UTC"
    await page.locator("[data-uitest=nav_dropdown_button]").click()
    await page.get_by_text("Light mode").click()
    await expect(page.locator("html[data-theme=light]")).to_have_count(1)
    chosen = {c["name"]: c["value"] for c in await page.context.cookies()}["theme"]
    assert chosen == "light"


async def test_without_a_session_a_list_leads_to_the_sign_in_and_back(
    visitor: Page, directory: asyncpg.Pool
) -> None:
    await add_superuser("admin")
    await visitor.goto("/admin/#/community_members?status=active")
    await visitor.fill("input[name=username]", "admin")
    await visitor.fill("input[name=password]", PASSWORD)
    await visitor.get_by_role("button", name="Sign in").click()
    await expect(visitor).to_have_url(re.compile(r"/admin/#/community_members\?status=active$"))
    await expect(visitor.get_by_text("No results found")).to_be_visible()


async def test_a_list_says_that_its_number_is_an_estimate_and_why_an_order_is_refused(
    page: Page, ana: CommunityMember, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_UNPLANNED_ROWS", -2)
    monkeypatch.setattr(listing, "MAX_PLANNED_COST", 0)
    await page.goto("/admin/#/community_members")
    await expect(page.locator("html.is-estimate #result_count")).to_be_visible()
    await page.goto("/admin/#/community_members?status=active")
    await expect(page.locator("#message_popup")).to_contain_text("Add a filter, or sort by")


async def test_a_bad_password_is_refused_with_a_message(page: Page) -> None:
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
