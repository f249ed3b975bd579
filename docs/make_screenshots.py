"""Take screenshots of the pages: `python -m docs.make_screenshots DIRECTORY`.

They show the demo community, which is loaded into a temporary database.
"""

import asyncio
import sys
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from benchmarks.scratch import scratch_database
from tests.processes import ADMIN_PASSWORD, CHROMIUM, running_panel

WINDOW_SIZES = {"": (1280, 860), "-phone": (390, 844)}
"""The width and height of the window, by the suffix of the file names."""
PAGE_PATHS = {
    "home": "",
    "review": "review/",
    "people": "people/",
    "person": "people/7/",
    "invitations": "invitations/",
    "tree": "tree/8/",
    "insights": "insights/",
    "log": "log/",
    "colleagues": "colleagues/",
    "health": "health/",
    "suggestions": "suggestions/",
    "tables": "admin/#/community_members",
}


async def main(directory: Path) -> None:
    """Take every screenshot at each window size, light and dark."""
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
                for scheme in ("", "-dark"):
                    await page.emulate_media(color_scheme="dark" if scheme else "light")
                    for name, path in PAGE_PATHS.items():
                        await page.goto(url + path, wait_until="networkidle")
                        await page.screenshot(path=directory / f"{name}{scheme}{suffix}.png")
                await page.context.close()
        finally:
            await browser.close()
            await asyncio.to_thread(panel.__exit__, None, None, None)


async def _sign_in(browser: Browser, url: str, width: int, height: int) -> Page:
    page = await browser.new_page(viewport={"width": width, "height": height}, locale="en-US")
    await page.goto(f"{url}sign-in/")
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", ADMIN_PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(url)
    return page


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            "Name the directory for the screenshots: python -m docs.make_screenshots DIRECTORY"
        )
    asyncio.run(main(Path(sys.argv[1])))
