"""Review by keyboard, in a real browser."""

import re
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from playwright.async_api import Page, expect

from tests.tables import rows
from tests.web.conftest import add_superuser, session_of


@pytest.mark.browser
async def test_ten_newcomers_take_ten_key_presses(
    visitor: Page, panel: str, directory: asyncpg.Pool
) -> None:
    now = datetime.now(UTC)
    for place in range(13):
        await rows.member(
            directory,
            name=f"Person {place}",
            status="pending",
            created_at=now - timedelta(hours=90 - place),
        )
    cookie = {"name": "id", "value": await session_of(await add_superuser("irene")), "url": panel}
    await visitor.context.add_cookies([cookie])  # type: ignore[list-item]
    await visitor.goto("/review/")
    waiting = visitor.locator("[data-keys] tbody tr[id]")
    current = visitor.locator("tr[aria-current]")
    await expect(current).to_contain_text("Person 0")
    # The first two keep waiting.
    await visitor.keyboard.press("j")
    await visitor.keyboard.press("j")
    await expect(current.get_by_role("link", name="Person 2", exact=True)).to_be_focused()
    for _ in range(10):
        await visitor.keyboard.press("a")
    await expect(waiting).to_have_count(3)
    await expect(current.get_by_role("link", name="Person 12", exact=True)).to_be_focused()
    await expect(visitor.locator(".notice")).to_contain_text("You approved Person 11")

    await visitor.keyboard.press("u")
    await expect(visitor.locator(".notice")).to_contain_text("Person 11 waits again")
    # The address holds the current row as soon as the page is ready for keys.
    await expect(visitor).to_have_url(re.compile(r"#m13$"))
    await visitor.reload()
    await expect(current.get_by_role("link", name="Person 12", exact=True)).to_be_focused()

    await visitor.keyboard.press("d")
    await expect(visitor.get_by_label("The inviter doesn't know them")).to_be_focused()
    await visitor.keyboard.press("a")  # it would approve, if the reasons were not open
    await visitor.keyboard.press("Escape")
    await expect(visitor.locator(".answer")).to_have_count(0)
    await visitor.keyboard.press("d")
    await visitor.get_by_label("Or in your own words").fill("jka")
    await visitor.keyboard.press("Enter")
    await expect(visitor.locator(".notice")).to_contain_text("You declined Person 12")
    await expect(waiting).to_have_count(3)
    await expect(current.get_by_role("link", name="Person 11", exact=True)).to_be_focused()

    await visitor.keyboard.press("Control+a")
    for key in "kkxjx":
        await visitor.keyboard.press(key)
    await expect(visitor.get_by_text("Picked: 2")).to_be_visible()
    await visitor.keyboard.press("d")
    await expect(visitor.get_by_role("dialog")).to_contain_text("Decline 2 newcomers?")
    await visitor.keyboard.press("Escape")
    await expect(visitor).to_have_url(re.compile(r"/review/(#.*)?$"))
    await expect(waiting).to_have_count(3)
