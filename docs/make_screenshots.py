"""Take screenshots of the panel: `python -m docs.make_screenshots DIRECTORY`.

They show the demo community, which is loaded into a temporary database.
"""

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
WINDOW_SIZES = {"": (1280, 800), "-phone": (390, 844)}
"""The width and height of the window, by the suffix of the file names."""
PAGE_PATHS = {
    "home": "admin/",
    "members": "admin/#/community_members?status=active&__order=-reputation_score",
    "to-review": "admin/#/community_members?status=pending",
    "invitations": "admin/#/community_invitations?__view=open",
    "form": "admin/#/forms/approve-a-newcomer/",
    "accounts": "admin/#/member_accounts",
    "suggestions": "insights/suggestions/",
    "merge-form": "admin/#/forms/merge-two-members/",
    "merges": "admin/#/directory_merges",
    "log": "admin/#/directory_audit_log",
    "insights": "insights/",
    "tree": "tree/1/",
}
DARK_PAGES = ("insights", "tree", "suggestions")


async def main(directory: Path) -> None:
    """Take every screenshot at each window size."""
    async with scratch_database() as database, async_playwright() as playwright:
        panel = running_panel(
            "--demo", POSTGRES_URL=database, DIRECTORY_ADMIN_PASSWORD=ADMIN_PASSWORD
        )
        url = (await asyncio.to_thread(panel.__enter__)).url
        # Chromium needs --no-sandbox when it runs as root.
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            for suffix, (width, height) in WINDOW_SIZES.items():
                page = await _sign_in(browser, url, width, height)
                for name, place in PAGE_PATHS.items():
                    await _take(page, url + place, directory / f"{name}{suffix}.png")
                await _open_a_member(page, url)
                await page.screenshot(path=directory / f"member{suffix}.png")
                await page.emulate_media(color_scheme="dark")
                for name in DARK_PAGES:
                    await _take(
                        page, url + PAGE_PATHS[name], directory / f"{name}-dark{suffix}.png"
                    )
                await page.context.close()
            # This changes the data, which must be the same in all other screenshots.
            for suffix, (width, height) in WINDOW_SIZES.items():
                page = await _sign_in(browser, url, width, height)
                await _approve_a_newcomer(page, url)
                await page.screenshot(path=directory / f"form-answer{suffix}.png")
                await page.context.close()
        finally:
            await browser.close()
            await asyncio.to_thread(panel.__exit__, None, None, None)


async def _sign_in(browser: Browser, url: str, width: int, height: int) -> Page:
    page = await browser.new_page(viewport={"width": width, "height": height})
    await page.goto(f"{url}admin/")
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", ADMIN_PASSWORD)
    await page.get_by_role("button", name="Login").click()
    await page.get_by_text("Welcome to").wait_for()
    return page


async def _go(page: Page, address: str) -> None:
    # Without this, an address that differs only after its # would load nothing.
    await page.goto("about:blank")
    await page.goto(address, wait_until="networkidle")
    # The first responses cause further requests.
    await page.wait_for_timeout(1000)
    await page.wait_for_load_state("networkidle")


async def _take(page: Page, address: str, file: Path) -> None:
    await _go(page, address)
    await page.screenshot(path=file)


async def _open_a_member(page: Page, url: str) -> None:
    await _go(page, url + PAGE_PATHS["members"])
    await page.locator("tbody tr a").first.click()
    await page.locator("form [name=name]").wait_for()
    await page.wait_for_load_state("networkidle")


async def _approve_a_newcomer(page: Page, url: str) -> None:
    await _go(page, url + PAGE_PATHS["to-review"])
    number = await page.locator("tbody tr a").first.inner_text()
    await _go(page, url + PAGE_PATHS["form"])
    await page.fill("form [name=member]", number)
    await page.fill("form [name=reason]", "Met them at the meet-up.")
    await page.get_by_role("button", name="Submit").click()
    await page.locator("#success_message").wait_for()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            "Name the directory for the screenshots: python -m docs.make_screenshots DIRECTORY"
        )
    asyncio.run(main(Path(sys.argv[1])))
