"""All pages of Insights: files, access, and how they look with hostile names or no database."""

import itertools
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase
from playwright.async_api import Browser, Page

from community_directory.calendar import today
from community_directory.errors import OperatorError
from community_directory.queries import highlights
from community_directory.web.insights.layout import find_page_path
from tests.conftest import Server, closed_to_all
from tests.tables.rows import counted_highlight, event, invitation, member
from tests.web.conftest import add_superuser, session_of
from tests.web.insights.links import read_csv
from tests.web.insights.overview_community import PERIOD, SINCE, UNTIL, make_community

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "مرحبا (evil) rtl",
    "👩‍👩‍👧‍👦 The Family 🦊",
    "Null",
    "W" * 255,
    "Z̷̛̪͇̹̥̐̈́̾a̸l̵g̶o̷" * 4,
    "{{ 7 * 7 }}",
    "'\"><script>alert(2)</script>",
    "مريم الشريف القحطاني",
]


# Files


FILE_COLUMNS = {
    ("overview", "activity"): "since,until,active_people,messages,active_people_before",
    ("overview", "hours"): "iso_weekday,hour,events,mean_events",
    ("overview", "most_active"): "member_id,name,messages,reactions,voice_minutes",
    ("growth", "members"): "end_of_day,active,pending,suspended,gone",
    ("growth", "tiers"): "tier,members",
    ("growth", "outcomes"): "outcome,invitations",
    ("growth", "waiting_times"): "time_until_accepted,invitations",
}
"""The columns of the files of pages and charts."""


async def test_the_data_of_each_chart_is_a_csv_file(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_community(directory, monkeypatch)
    for (name, chart), columns in FILE_COLUMNS.items():
        path = find_page_path(name)
        page = (await client.get(f"{path}?{PERIOD}")).text
        assert f'href="{path}{chart}.csv?' in page
        response = await client.get(f"{path}{chart}.csv?{PERIOD}")
        header = response.text.removeprefix("\ufeff").splitlines()[0]
        assert header.replace('"', "") == columns
        assert f"{name}-{chart}-{SINCE}-{UNTIL}.csv" in response.headers["content-disposition"]
        assert await read_csv(client, f"{path}{chart}.csv?{PERIOD}")


# Access


async def test_a_visitor_without_a_session_is_sent_to_the_sign_in(
    client: httpx.AsyncClient,
) -> None:
    client.cookies.delete("id")
    for path in ("/insights/", "/tree/", "/tree/247/"):
        response = await client.get(path)
        assert response.status_code == 303
        assert response.headers["location"] == f"/sign-in/?next={path.replace('/', '%2F')}"


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE piccolo_user SET active = false WHERE username = 'manager'",
        "DELETE FROM piccolo_user WHERE username = 'manager'",
        "UPDATE sessions SET expiry_date = now() - interval '1 day'",
        "UPDATE sessions SET token = 'another'",
    ],
)
async def test_a_deactivated_user_and_an_expired_session_are_sent_to_the_sign_in(
    client: httpx.AsyncClient, directory: asyncpg.Pool, spoil: str
) -> None:
    assert (await client.get("/insights/")).status_code == 200
    await directory.execute(spoil)
    response = await client.get("/insights/")
    assert (response.status_code, response.headers["location"]) == (
        303,
        "/sign-in/?next=%2Finsights%2F",
    )


async def test_a_user_without_the_right_gets_a_message(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    user = await BaseUser.create_user(
        username="guest",
        password="long enough for this",
        email="guest@directory.example",
        active=True,
    )
    client.cookies.set("id", (await SessionsBase.create_session(user_id=user.id)).token)
    for path in ("/insights/", "/tree/", "/tree/1/"):
        response = await client.get(path)
        assert response.status_code == 403
        assert "Your account has no role." in response.text
        assert "Active members" not in response.text


@pytest.mark.parametrize("page", ["health", "suggestions"])
async def test_the_old_address_of_a_page_leads_to_it(client: httpx.AsyncClient, page: str) -> None:
    response = await client.get(f"/insights/{page}/")
    assert (response.status_code, response.headers["location"]) == (301, f"/{page}/")


async def test_the_page_is_not_cached(
    client: httpx.AsyncClient,
) -> None:
    assert (await client.get("/insights/")).headers["cache-control"] == "no-store"
    assert (await client.get("/static/insights.css")).status_code == 200


async def test_an_unavailable_database_is_reported_on_the_page(
    database: str,
    server: Server,
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await directory.execute("ALTER TABLE community_members RENAME TO gone")
    response = await client.get("/insights/")
    assert response.status_code == 503
    assert OperatorError.public_message in response.text
    assert "A request failed (schema_missing): The database's tables are missing" in caplog.text
    async with closed_to_all(server, database):
        response = await client.get("/insights/")
    assert response.status_code == 503
    assert OperatorError.public_message in response.text
    assert "A request failed (database_unavailable)" in caplog.text
    assert "Traceback" not in response.text


DAY = timedelta(days=1)


def noon_of(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


DEEP_AND_WIDE = """
SET session_replication_role = replica;
INSERT INTO community_members (member_id, telegram_id, name, primary_role, status, invited_by)
SELECT '#' || n, n, 'Deep ' || n, 'developer', 'active', CASE WHEN n > 1 THEN '#' || n - 1 END
FROM generate_series(1, 1000) AS n;
INSERT INTO community_members (member_id, telegram_id, name, primary_role, status, invited_by)
SELECT '#' || n, n, 'Wide ' || n, 'developer', 'active', CASE WHEN n > 2000 THEN '#2000' END
FROM generate_series(2000, 7000) AS n;
RESET session_replication_role;
"""

# In a browser


async def look(browser: Browser, panel: str, paths: list[str]) -> None:
    """Check each page at two widths, light and dark: no overflow, no error, no blocked request."""
    user = await BaseUser.create_user(
        username="look",
        email="look@example.org",
        password="long enough for this",
        active=True,
        admin=True,
    )
    token = (await SessionsBase.create_session(user_id=user.id)).token
    context = await browser.new_context()
    await context.add_cookies([{"name": "id", "value": token, "url": panel}])
    page = await context.new_page()
    faults = _faults_of(page, panel)
    for path in paths:
        response = await page.goto(panel + path)
        assert response
        assert response.status == 200, path
        for summary in await page.locator("summary").all():
            await summary.click()
        for width, dark in itertools.product((390, 1280), (False, True)):
            await page.set_viewport_size({"width": width, "height": 800})
            await page.emulate_media(
                color_scheme="dark" if dark else "light", reduced_motion="reduce"
            )
            wide, room = await page.evaluate(
                "[document.documentElement].map(e => [e.scrollWidth, e.clientWidth])[0]"
            )
            assert wide <= room, (path, width)
            assert await page.evaluate(OUTSIDE) == [], (path, width)
            assert await page.evaluate(OVERLAPPING) == [], (path, width)
            assert await page.evaluate(FAINT) == [], (path, dark)
        assert (
            await page.evaluate("document.body.innerText.match(/[\\u202a-\\u202e\\u2066-\\u2069]/)")
            is None
        )
    await context.close()
    assert faults == []


def _faults_of(page: Page, address: str) -> list[str]:
    """A list of the errors in the browser, policy violations, and requests to other hosts."""
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((address, "data:")) else faults.append(request.url)
        ),
    )
    return faults


# Elements outside the window, except those in a part that scrolls and those that are cut.
OUTSIDE = """
[...document.querySelectorAll("main *")].filter(element => {
    if (element.closest(".hidden, .scroll *, :is(.tabs, .segments, .person, svg) *, title"))
        return false;
    const box = element.getBoundingClientRect();
    return box.width && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
}).map(element => element.outerHTML.slice(0, 200))
"""


# Cells whose text runs into the next one, and words that are broken to fit into a cell.
OVERLAPPING = """
[...document.querySelectorAll("td, th, dd")].filter(cell =>
    cell.scrollWidth > cell.clientWidth + 1 && getComputedStyle(cell).overflowX === "visible"
    || cell.closest(".plain") && cell.clientHeight > 60
).map(cell => cell.outerHTML.slice(0, 200))
"""

# Text with a contrast of less than 4.5:1 to its background (WCAG AA).
FAINT = """
(() => {
    const parts = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = colour => parts(colour).slice(0, 3).map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const ground = element => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (parts(colour)[3] !== 0) return colour;
        }
    };
    return [...document.querySelectorAll("body *")].filter(element => {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        if (!own || element.closest("svg, .hidden, .skip, .columns i")) return false;
        const colours = [light(getComputedStyle(element).color), light(ground(element))];
        const [a, b] = colours.sort((x, y) => y - x);
        return (a + .05) / (b + .05) < 4.5;
    }).map(element => element.outerHTML.slice(0, 200));
})()
"""


@pytest.mark.browser
async def test_hostile_names_do_not_break_the_pages(
    browser: Browser, panel: str, directory: asyncpg.Pool
) -> None:
    yesterday = today() - timedelta(days=1)
    first = (await member(directory, name=HOSTILE[4], status="active"))["member_id"]
    inviter = first
    for number, name in enumerate(HOSTILE):
        status = ["active", "pending", "suspended", "banned"][number % 4]
        inviter = (await member(directory, name=name, status=status, invited_by=inviter))[
            "member_id"
        ]
        await counted_highlight(
            directory,
            member_id=inviter,
            highlight_date=yesterday,
            message_count=2_000_000_000 - number,
        )
        await invitation(directory, created_by=first)
        await event(
            directory, member_id=inviter, room_id=name, occurred_at=noon_of(yesterday - DAY)
        )
        # the same GitHub account: two members who seem to be one person
        for twin in (f"#{number + 500}", f"#{number + 600}"):
            await member(directory, member_id=twin, name=name, github_username=f"twin-{number}")
    await highlights.roll_up(yesterday - DAY)
    paths = [
        "insights/",
        "insights/growth/",
        "insights/retention/?by=inviter&unit=week",
        "insights/funnel/?by=inviter",
        "insights/attention/",
        "insights/inviters/",
        "insights/contributions/",
        "insights/rooms/",
        "insights/network/",
        "suggestions/",
        *(f"tree/{number}/" for number in range(int(first[1:]), int(first[1:]) + 6)),
    ]
    await look(browser, panel, paths)


@pytest.mark.browser
async def test_an_empty_directory_and_one_member_are_explained(
    browser: Browser, panel: str, directory: asyncpg.Pool, client: httpx.AsyncClient
) -> None:
    for path, sentences in (
        ("/insights/", ("Nobody was active", "No events were counted", "No highlights")),
        ("/insights/growth/", ("No members so far", "Nobody was invited", "No invitation of")),
    ):
        page = (await client.get(path)).text
        assert [sentence for sentence in sentences if sentence not in page] == [], path
    assert (await client.get("/tree/1/")).status_code == 404
    await look(browser, panel, ["insights/", "insights/growth/", "tree/"])
    await directory.execute("DELETE FROM piccolo_user WHERE username = 'look'")
    only = (await member(directory, member_id="#1", status="active"))["member_id"]
    await look(browser, panel, ["insights/", "insights/growth/", f"tree/{only[1:]}/"])


@pytest.mark.browser
async def test_a_deep_and_a_wide_tree_fit_the_page(
    browser: Browser, panel: str, directory: asyncpg.Pool
) -> None:
    await directory.execute(DEEP_AND_WIDE)
    await look(browser, panel, ["insights/", "tree/1/", "tree/2000/"])


@pytest.mark.browser
async def test_the_page_works_with_the_keyboard(
    visitor: Page, panel: str, directory: asyncpg.Pool
) -> None:
    yesterday = today() - timedelta(days=1)
    await member(directory, member_id="#247", name="Ana", status="active")
    await counted_highlight(directory, member_id="#247", highlight_date=yesterday, message_count=1)
    await visitor.context.add_cookies(
        [{"name": "id", "value": await session_of(await add_superuser("eva")), "url": panel}]
    )
    await visitor.goto("/insights/")
    reached = await _by_keyboard(visitor)
    assert {"Community Directory", "Insights", "Ana", "Show as a table", "Health"} <= reached


async def _by_keyboard(page: Page) -> set[str]:
    """Return the texts of the elements that the tab key reaches, and check their focus."""
    reached = set()
    for _ in range(60):
        await page.keyboard.press("Tab")
        tag, text, outline = await page.evaluate(
            """[document.activeElement].map(
                e => [e.tagName, e.innerText || '', getComputedStyle(e).outlineStyle]
            )[0]"""
        )
        assert outline != "none" or tag == "BODY", text
        reached.add(text.removeprefix("←").strip())
    return reached
