"""Take pictures of the panel, with the demo in a scratch database: `python -m docs.make_screenshots DIRECTORY`."""

import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from benchmarks.scratch import scratch_database
from tests.processes import ADMIN_PASSWORD, running_panel

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
SIZES = {"": (1280, 800), "-phone": (390, 844)}
"""What is added to a picture's name, and how wide and high the window is."""
PAGES = {
    "home": "",
    "members": "#/community_members?status=active&__order=-reputation_score",
    "to-review": "#/community_members?status=pending",
    "invitations": "#/community_invitations?__view=open",
    "form": "#/forms/approve-a-newcomer/",
    "log": "#/directory_audit_log",
    "insights": "insights/",
    "tree": "insights/tree/1/",
}
DARK = ("insights", "tree")


async def main(directory: Path) -> None:
    """Take every picture, at each size."""
    async with scratch_database() as database, async_playwright() as playwright:
        panel = running_panel(
            "--demo", POSTGRES_URL=database, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD
        )
        url = (await asyncio.to_thread(panel.__enter__)).url
        # As root Chromium needs --no-sandbox.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            for suffix, (width, height) in SIZES.items():
                page = await _signed_in(browser, url, width, height)
                for name, place in PAGES.items():
                    await _take(page, url + place, directory / f"{name}{suffix}.png")
                await _open_a_member(page, url)
                await page.screenshot(path=directory / f"member{suffix}.png")
                await _approve_a_newcomer(page, url)
                await page.screenshot(path=directory / f"form-answer{suffix}.png")
                await page.emulate_media(color_scheme="dark")
                for name in DARK:
                    await _take(page, url + PAGES[name], directory / f"{name}-dark{suffix}.png")
                await page.context.close()
        finally:
            await browser.close()
            await asyncio.to_thread(panel.__exit__, None, None, None)


async def _signed_in(browser: Browser, url: str, width: int, height: int) -> Page:
    page = await browser.new_page(viewport={"width": width, "height": height})
    await page.goto(url)
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", ADMIN_PASSWORD)
    await page.get_by_role("button", name="Login").click()
    await page.get_by_text("Welcome to").wait_for()
    return page


async def _go(page: Page, address: str) -> None:
    await page.goto("about:blank")  # an address that differs after its # alone loads nothing
    await page.goto(address, wait_until="networkidle")
    await page.wait_for_timeout(1000)  # its first answers make it ask for more
    await page.wait_for_load_state("networkidle")


async def _take(page: Page, address: str, picture: Path) -> None:
    await _go(page, address)
    await page.screenshot(path=picture)


async def _open_a_member(page: Page, url: str) -> None:
    await _go(page, url + PAGES["members"])
    await page.locator("tbody tr a").first.click()
    await page.locator("form [name=name]").wait_for()
    await page.wait_for_load_state("networkidle")


async def _approve_a_newcomer(page: Page, url: str) -> None:
    await _go(page, url + PAGES["to-review"])
    number = await page.locator("tbody tr a").first.inner_text()
    await _go(page, url + PAGES["form"])
    await page.fill("form [name=member]", number)
    await page.fill("form [name=reason]", "Met them at the meet-up.")
    await page.get_by_role("button", name="Submit").click()
    await page.locator("#success_message").wait_for()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Say where the pictures go: python -m docs.make_screenshots DIRECTORY")
    asyncio.run(main(Path(sys.argv[1])))
