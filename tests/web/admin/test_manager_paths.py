"""The tasks of a community manager in the panel, in Chromium, with names that are hard to show."""

import re

import asyncpg
import pytest
from playwright.async_api import Dialog, Page, expect

from tests.tables.rows import fetch_row, member
from tests.web.admin.test_browser import open_form, open_table, press, settle, submit

pytestmark = pytest.mark.browser

NAMES = ("<img src=x onerror=throw(1)>", "👩‍👩‍👧‍👦 Luna 🌙", "Null")
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


async def answer(page: Page, form: str, sentence: str, **values: str) -> str:
    """Send a form, check its message, and return what follows this sentence."""
    await open_form(page, form)
    await look(page)
    await submit(page, **values)
    said = page.locator("#success_message")
    await expect(said).to_contain_text(sentence)
    await look(page)
    return (await said.inner_text()).partition(sentence)[2]


async def test_a_newcomer_is_reviewed_and_approved(
    page: Page, directory: asyncpg.Pool, name: str
) -> None:
    number = (await member(directory, name=name, status="pending"))["member_id"]
    await expect(page.get_by_role("link", name="To review")).to_be_in_viewport()
    await row_of(page, "To review", name)
    await answer(
        page,
        "Approve a newcomer",
        f"{number} {name} is active now",
        member=name,
        reason=f"Met {name}",
    )
    await row_of(page, "community members", name)
    row = page.locator("tbody tr").filter(has=page.get_by_role("link", name=number, exact=True))
    await expect(row.get_by_role("cell", name="Active", exact=True)).to_be_visible()

    await open_table(page, "directory audit log")
    entry = page.locator("tbody tr").filter(has_text=f"Met {name}")
    for text in ("admin", "Update", "community_members", number):
        await expect(entry.get_by_role("cell", name=text, exact=True)).to_be_visible()
    await look(page)
    await entry.get_by_role("link").first.click()
    await expect(page.locator("form [name=reason]").first).to_have_value(f"Met {name}")
    await expect(page.locator("form [name=changes]").first).to_have_value(
        re.compile(r'"pending",\s*"active"')
    )
    await look(page)


async def test_an_invitation_is_made_extended_and_cancelled(
    page: Page, directory: asyncpg.Pool, name: str
) -> None:
    number = (await member(directory, name=name, status="active"))["member_id"]
    said = await answer(
        page, "Invite", f"of {number} {name} for anybody, open until ", member=name, days="2"
    )
    found = re.search(r"Send this code: (\w+)", said)
    assert found
    code = found[1]
    await row_of(page, "Open invitations", code)
    row = page.locator("tbody tr").filter(has_text=code)
    await expect(row.get_by_role("link", name=f"{number} {name}", exact=True)).to_be_visible()
    before = await row.inner_text()
    sentence = f"The invitation {code} of {number} {name} for anybody is "
    await answer(page, "Extend an invitation", f"{sentence}open until", invitation=code, days="5")
    await row_of(page, "Open invitations", code)
    assert await row.inner_text() != before
    await answer(page, "Cancel an invitation", f"{sentence}cancelled", invitation=code, reason=name)
    await page.get_by_role("link", name="Community Directory").click()
    await page.get_by_role("link", name="Open invitations").click()
    await expect(page.get_by_text("No results found")).to_be_visible()
    await open_table(page, "community invitations")
    await expect(row.get_by_role("cell", name="Cancelled", exact=True)).to_be_visible()
    await look(page)


async def test_the_chain_of_inviters_is_listed_and_drawn(
    page: Page, directory: asyncpg.Pool
) -> None:
    inviter: str | None = None
    chain = []
    for name in NAMES:
        inviter = (await member(directory, name=name, status="active", invited_by=inviter))[
            "member_id"
        ]
        chain.append(f"{inviter} {name}")
    await answer(page, "Show who invited a member", " → ".join(chain), member=NAMES[-1])
    await page.get_by_role("link", name="Community Directory").click()
    await page.get_by_role("link", name="Insights").click()
    await expect(page.get_by_role("heading", name="Insights")).to_be_visible()
    await look(page)
    await page.get_by_label("Member number").fill(chain[0].split()[0])
    await page.get_by_role("button", name="Show the tree").click()
    for shown in NAMES:
        await expect(page.locator("a.node").get_by_text(shown, exact=True)).to_be_visible()
    await look(page)
    await page.get_by_role("link", name="Community Directory").click()
    await expect(page.get_by_text("Welcome to Community Directory")).to_be_visible()


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


async def test_a_member_is_removed_and_brought_back(
    page: Page, directory: asyncpg.Pool, name: str
) -> None:
    number = (await member(directory, name=name, status="active"))["member_id"]
    asked: list[str] = []

    async def accept(dialog: Dialog) -> None:
        asked.append(dialog.message)
        await dialog.accept()

    page.on("dialog", accept)
    await row_of(page, "community members", name)
    row = page.locator("tbody tr").filter(has=page.get_by_role("link", name=number, exact=True))
    await row.locator("a.subtle").last.click()
    await page.get_by_text("Delete", exact=True).click()
    await expect(row).to_have_count(0)
    assert asked == ["Are you sure you want to delete this row?"]
    await row_of(page, "Removed", name)
    await answer(
        page,
        "Restore a member",
        f"{number} {name} is back and is active.",
        member=name,
        reason=name,
    )
    await row_of(page, "community members", name)
    entries = await directory.fetch(
        """SELECT actor, reason FROM directory_audit_log
        WHERE member_id = $1 AND changes ? 'deleted_at' ORDER BY id""",
        number,
    )
    assert [tuple(entry) for entry in entries][-2:] == [("admin", None), ("admin", name)]
