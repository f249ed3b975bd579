"""The tasks of a community manager in the panel, in Chromium, with names that are hard to show."""

import re

import asyncpg
import pytest
from playwright.async_api import Page, expect

from tests.tables.rows import fetch_row, member
from tests.web.admin.test_browser import press, settle

pytestmark = pytest.mark.browser

NAMES = ("<img src=x onerror=throw(1)> 👩‍👩‍👧‍👦 Luna 🌙", "Null")
UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-", re.IGNORECASE)
READABLE = """[document.title, document.body.innerText,
    ...[...document.querySelectorAll("input:not([type=checkbox]), select, textarea")].filter(
        e => e.offsetParent).map(e => e.value),
    ...[...document.querySelectorAll("[title], [placeholder], [aria-label]")].flatMap(
        e => [e.title, e.placeholder, e.ariaLabel])
].join("\\n")"""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of the member in a task."""
    name: str = request.param
    return name


async def look(page: Page) -> None:
    """Check that no UUID is shown, and that no name has become an HTML element."""
    assert not UUID.search(await page.evaluate(READABLE))
    await expect(page.locator("img[src=x]")).to_have_count(0)


async def row_of(page: Page, link: str, text: str) -> None:
    """Open a list from the side bar, and check that one of its rows has this text."""
    await page.get_by_role("link", name="Community Directory").click()
    await page.get_by_role("link", name=link, exact=True).click()
    await expect(page.get_by_role("cell", name=text, exact=True)).to_be_visible()
    await look(page)


async def test_two_managers_edit_a_profile_and_nothing_is_lost(
    page: Page, directory: asyncpg.Pool, name: str
) -> None:
    row = await member(directory, name="Ana García", organization="Nopal", country="Mexico")
    other = await page.context.new_page()
    for each in (page, other):
        await each.goto(f"/admin/#/community_members/{row['id']}/")
        await expect(each.locator("form [name=name]")).to_have_value("Ana García")
        await settle(each)
    await look(page)

    async def save(manager: Page, field: str, value: str) -> int:
        await manager.fill(f"form [name={field}]", value)
        return await press(manager, "Save")

    stored = "SELECT name, organization, country FROM community_members WHERE id = $1"
    assert await save(other, "organization", "Frutero") == 200
    assert await save(page, "name", name) == 200
    assert tuple(await fetch_row(directory, stored, row["id"])) == (name, "Frutero", "Mexico")
    # The other manager still sees the old name and overwrites it.
    assert await save(other, "name", "Ana Null") == 422
    await expect(other.get_by_text("name field - Somebody else changed this field")).to_be_visible()
    assert tuple(await fetch_row(directory, stored, row["id"])) == (name, "Frutero", "Mexico")
    await look(other)
    await other.close()
    await row_of(page, "community members", name)
