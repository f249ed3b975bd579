"""The Insights pages: access, numbers, and how they look with hostile names."""

import itertools
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from piccolo.apps.user.tables import BaseUser
from piccolo_api.session_auth.tables import SessionsBase
from playwright.async_api import Browser, Page

from community_directory.errors import OperatorError
from community_directory.queries import members
from community_directory.settings import load_settings
from community_directory.web.insights import overview
from community_directory.web.insights.charts import (
    STATUS_BANDS,
    ActivityHours,
    count_hours,
    count_statuses,
    stack_areas,
)
from community_directory.web.pages import abbreviate, clean_name
from tests.conftest import Server, closed_to_all
from tests.tables.rows import audit_entry, event, highlight, invitation, member
from tests.web.conftest import add_superuser, session_of

NOW = datetime.now(UTC)
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


async def cells(
    client: httpx.AsyncClient, caption: str, path: str = "/insights/"
) -> list[list[str]]:
    """Return the rows of the table with this caption, as text."""
    html = (await client.get(path)).text
    (table,) = (
        part for part in re.findall(r"<table.*?</table>", html, re.DOTALL) if f">{caption}" in part
    )
    body = table[table.index("<tbody>") :]
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    ]


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


# Numbers


LATER = (("#5", "active", 6), ("#6", "banned", 12), ("#6", "active", 3), ("#1", "suspended", 2))
"""Status changes: the member, the new status, and how many weeks ago."""


async def test_growth_shows_how_many_had_each_status_at_each_weeks_end(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    weeks_ago = [NOW - timedelta(weeks=weeks) for weeks in range(40)]
    await member(directory, member_id="#1", status="active", created_at=weeks_ago[30])
    await member(directory, member_id="#2", status="active", created_at=weeks_ago[10])
    await member(
        directory,
        member_id="#3",
        status="active",
        created_at=weeks_ago[20],
        deleted_at=weeks_ago[5],
    )
    await member(
        directory,
        member_id="#4",
        status="not_member",
        created_at=weeks_ago[20],
        deleted_at=weeks_ago[5],
    )
    await member(directory, member_id="#5", status="pending", created_at=weeks_ago[8])
    await member(directory, member_id="#6", status="active", created_at=weeks_ago[15])
    for member_id, status, _ in LATER:
        await members.set_status(member_id, status, actor="eva")
    # Move the entries of the audit log into the past.
    for member_id, status, weeks in (
        ("#5", "active", 6),
        ("#6", "banned", 12),
        ("#6", "active", 3),
        ("#1", "suspended", 2),
    ):
        await directory.execute(
            "UPDATE directory_audit_log SET changed_at = $3"
            " WHERE member_id = $1 AND changes -> 'status' ->> 1 = $2 AND action = 'UPDATE'",
            member_id,
            status,
            weeks_ago[weeks],
        )
    # This member's status was changed after they were removed.
    late = await member(
        directory,
        member_id="#7",
        status="suspended",
        created_at=weeks_ago[20],
        deleted_at=weeks_ago[5],
    )
    changes = {"status": ["active", "suspended"]}
    await audit_entry(
        directory, member_id="#7", row_id=late["id"], changed_at=weeks_ago[3], changes=changes
    )
    rows = await cells(client, "Members by status at the end of each week")
    assert len(rows) == 27

    # A change is counted at the end of a week if it was made at least that many weeks ago.
    def expected(weeks: int) -> list[str]:
        active = 1 if weeks > 2 else 0  # #1
        active += weeks <= 10  # #2
        active += 2 * (5 < weeks <= 20)  # #3, #7
        active += weeks <= 6  # #5
        active += 12 < weeks <= 15 or weeks <= 3  # #6
        return [
            str(int(n))
            for n in (active, 6 < weeks <= 8, weeks <= 2, 3 < weeks <= 12, 2 * (weeks <= 5))
        ]

    # The last Monday began at most a week ago: row n > 0 is the end of the week that is n - 1 whole
    # weeks before it.
    assert rows[0] == ["Now", *expected(0)]
    for number, row in enumerate(rows[1:], start=1):
        assert row[1:] == expected(number), number


statuses = st.sampled_from(["not_member", "pending", "active", "suspended", "banned"])
WEEKS = 6


@given(
    st.lists(
        st.tuples(
            st.integers(0, WEEKS - 1),
            st.none() | st.integers(0, WEEKS - 1),
            statuses,
            st.lists(st.tuples(st.integers(1, WEEKS - 1), statuses), max_size=4),
        ),
        max_size=8,
    )
)
def test_undoing_the_changes_agrees_with_a_plain_count(
    people: list[tuple[int, int | None, str, list[tuple[int, str]]]],
) -> None:
    found, changes, plain = [], [], Counter[tuple[str, int]]()
    for came, went, first, drawn in people:
        later = sorted((week, status) for week, status in drawn if week >= came)
        status = first
        for week, after in later:
            changes.append((came, week if went is None else min(week, went), status, after, 1))
            status = after
        found.append((came, went, status, None, 1))
        for end in range(came, WEEKS):
            at = [first, *(after for week, after in later if week <= end)][-1]
            removed = went is not None and end >= went
            if not removed or status != "not_member":
                plain["removed" if removed else at, end] += 1
    counted = count_statuses(found, changes, WEEKS)
    assert counted == {
        status: [plain[status, end] for end in range(WEEKS)] for status in STATUS_BANDS
    }


async def test_outcomes_and_waiting_times_are_counted(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    sender = (await member(directory, status="active"))["member_id"]
    waits = [
        timedelta(minutes=59),
        timedelta(hours=1),
        timedelta(hours=7),
        timedelta(days=1),
        timedelta(days=9),
    ]
    for days, wait in enumerate(waits, start=10):
        sent = NOW - timedelta(days=days)
        joined = (await member(directory))["member_id"]
        await invitation(
            directory, created_by=sender, status="accepted", accepted_by=joined, created_at=sent,
            accepted_at=sent + wait, expires_at=NOW,
        )  # fmt: skip
    for status, ends, days in (
        ("pending", NOW + timedelta(days=1), 1),
        ("pending", NOW - timedelta(days=1), 4),
        ("expired", NOW - timedelta(days=9), 12),
        ("cancelled", NOW, 3),
        ("cancelled", NOW, 300),
    ):
        sent = NOW - timedelta(days=days)
        await invitation(
            directory, created_by=sender, status=status, expires_at=ends, created_at=sent
        )
    funnel = await cells(client, "Invitations by outcome")
    assert [(name, count, share) for name, _, count, share in funnel] == [
        ("Sent", "9", "100%"),
        ("Accepted", "5", "56%"),
        ("Pending", "1", "11%"),
        ("Expired", "2", "22%"),
        ("Cancelled", "1", "11%"),
    ]
    rows = await cells(client, "Accepted invitations by the time")
    assert [row[1] for row in rows] == ["1", "1", "1", "1", "0", "1"]


async def test_hours_are_in_the_communitys_time_zone(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_TIME_ZONE", "Asia/Kolkata")  # five hours and a half ahead of UTC
    load_settings.cache_clear()
    author = (await member(directory))["member_id"]
    plain: Counter[tuple[int, int]] = Counter()
    for minutes in range(0, 27 * 24 * 60, 617):
        at = NOW - timedelta(minutes=minutes)
        await event(directory, member_id=author, occurred_at=at)
        there = at.astimezone(ZoneInfo("Asia/Kolkata"))
        plain[there.weekday(), there.hour] += 1
    await event(directory, member_id=author, occurred_at=NOW - timedelta(days=29))
    await event(directory, member_id=author, occurred_at=NOW + timedelta(days=1))
    rows = await cells(client, "Events by weekday and hour")
    assert [[int(cell) for cell in row[1:]] for row in rows] == [
        [plain[day, hour] for day in range(7)] for hour in range(24)
    ]
    page = (await client.get("/insights/")).text
    assert f"Events: {plain.total()} (" in page
    assert "Asia/Kolkata" in page


def test_only_whole_weeks_are_counted_of_too_many_events() -> None:
    limit = overview.MAX_ACTIVITY_EVENTS

    def count(quarters: list[tuple[datetime, int]]) -> ActivityHours:
        return count_hours(quarters, NOW, days=overview.ACTIVITY_DAYS, max_events=limit)

    full = limit // 20
    busy = [(NOW - timedelta(days=days), full) for days in range(20)]
    hours = count(busy)
    assert (hours.whole_weeks, hours.total) == (2, 15 * full)
    assert hours.since == NOW - timedelta(weeks=2)
    flood = count([(NOW - timedelta(hours=1), limit)])
    assert (flood.whole_weeks, flood.total, flood.since) == (0, limit, NOW - timedelta(hours=1))
    quiet = count(busy[:19])
    assert (quiet.whole_weeks, quiet.total) == (4, 19 * full)
    assert max(map(max, quiet.shades)) == 5


async def test_only_the_newest_events_are_counted(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MAX_ACTIVITY_EVENTS", 3)
    author = (await member(directory))["member_id"]
    for days in (0, 1, 8, 9, 20):
        await event(directory, member_id=author, occurred_at=NOW - timedelta(days=days, hours=1))
    page = (await client.get("/insights/")).text
    assert "Events: 2 (messages" in page
    assert "those of the last 7 days, because 28 days have too many" in page


async def test_the_most_active_members_come_from_the_highlights(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    today = date.today()  # noqa: DTZ011  the community's zone is UTC here, and so is the machine's
    people = [
        (await member(directory, name=name))["member_id"]
        for name in ("Ana", "Bea", "Chidi", "Dana")
    ]
    gone = (await member(directory, name="Gone", deleted_at=NOW))["member_id"]
    for member_id, days, messages, reactions, minutes in (
        (people[0], 0, 2, 1, 0),
        (people[0], 6, 3, 0, 4),
        (people[0], 7, 99, 0, 0),
        (people[1], 2, 7, 0, 0),
        (people[2], 2, 0, 0, 30),
        (people[3], 2, 0, 0, 0),
        (gone, 1, 50, 0, 0),
    ):
        await highlight(
            directory,
            member_id=member_id,
            highlight_date=today - timedelta(days=days),
            message_count=messages,
            reaction_count=reactions,
            voice_minutes=minutes,
        )
    rows = await cells(client, "Members with the most")
    assert [[row[0], *row[2:]] for row in rows] == [
        ["Bea", "7", "0", "0"],
        ["Ana", "5", "1", "4"],
        ["Chidi", "0", "0", "30"],
    ]


async def test_tiers_count_active_members(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for score in (0, 100, 101, 700, 1500, 1501, 9000):
        await member(directory, status="active", reputation_score=score)
    await member(directory, status="pending", reputation_score=9000)
    await member(directory, status="active", reputation_score=9000, deleted_at=NOW)
    rows = await cells(client, "Active members by reputation tier")
    assert [row[2] for row in rows] == ["2", "1", "1", "2", "1"]


def test_bands_are_stacked_below_a_round_number() -> None:
    drawn = stack_areas([[1, 3], [2, 4]])
    assert drawn["totals"] == [3, 7]
    assert [tick for tick, _ in drawn["ticks"]] == [0, 2, 4, 6, 8]
    assert drawn["bands"] == [
        "0.0,350.0 1000.0,250.0 1000.0,400.0 0.0,400.0",
        "0.0,250.0 1000.0,50.0 1000.0,250.0 0.0,350.0",
    ]


@given(st.integers(0, 10**9))
def test_an_axis_has_few_round_numbers_and_room_for_the_highest(top: int) -> None:
    ticks = [tick for tick, _ in stack_areas([[top, 0]])["ticks"]]
    assert ticks[0] == 0
    assert ticks[-1] >= top
    assert 2 <= len(ticks) <= 5


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10k"),
        (999_999, "999k"),
        (10**6, "1M"),
        (2_147_483_647, "2G"),
    ],
)
def test_a_number_for_a_narrow_column_is_abbreviated(number: int, shown: str) -> None:
    assert abbreviate(number) == shown


@given(st.text())
def test_a_name_is_shown_without_control_characters(name: str) -> None:
    shown = clean_name(name)
    assert shown
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\n\0")
    assert clean_name(shown) == shown


async def test_bots_are_in_no_chart_and_no_list(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    yesterday = NOW - timedelta(days=1)
    await member(directory, member_id="#1", status="active", created_at=NOW - timedelta(weeks=9))
    await event(directory, member_id="#1", occurred_at=yesterday)
    await highlight(directory, member_id="#1", highlight_date=yesterday.date(), message_count=1)
    paths = ("/insights/", "/tree/1/")
    before = [(await client.get(path)).text for path in paths]
    bot = {"name": "Rose", "status": "active", "invited_by": "#1", "is_bot": True}
    await member(directory, member_id="#2", created_at=NOW - timedelta(weeks=9), **bot)
    await members.set_status("#2", "suspended", actor="Luis")
    for minutes in range(60):
        await event(directory, member_id="#2", occurred_at=yesterday - timedelta(minutes=minutes))
    await highlight(directory, member_id="#2", highlight_date=yesterday.date(), message_count=60)
    assert [(await client.get(path)).text for path in paths] == before
    shown = (await client.get("/tree/2/")).text
    assert "Rose" in shown


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


# Elements outside the window, except those in a region that scrolls and those that are cut.
OUTSIDE = """
[...document.querySelectorAll("main *")].filter(element => {
    if (element.closest(".hidden, .scroll *, .person *, svg *, title")) return false;
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
    today = NOW.date()
    first = (await member(directory, name=HOSTILE[4], status="active"))["member_id"]
    inviter = first
    for number, name in enumerate(HOSTILE):
        status = ["active", "pending", "suspended", "banned"][number % 4]
        inviter = (await member(directory, name=name, status=status, invited_by=inviter))[
            "member_id"
        ]
        await highlight(
            directory, member_id=inviter, highlight_date=today, message_count=2_000_000_000 - number
        )
        await invitation(directory, created_by=first)
        await event(directory, member_id=inviter)
        # the same GitHub account: two members who seem to be one person
        for twin in (f"#{number + 500}", f"#{number + 600}"):
            await member(directory, member_id=twin, name=name, github_username=f"twin-{number}")
    paths = [
        "insights/",
        "suggestions/",
        *(f"tree/{number}/" for number in range(int(first[1:]), int(first[1:]) + 6)),
    ]
    await look(browser, panel, paths)


@pytest.mark.browser
async def test_an_empty_directory_and_one_member_are_explained(
    browser: Browser, panel: str, directory: asyncpg.Pool, client: httpx.AsyncClient
) -> None:
    page = (await client.get("/insights/")).text
    for sentence in (
        "No members so far",
        "Nobody was invited",
        "No invitation of",
        "No events were recorded",
        "No highlights",
    ):
        assert sentence in page
    assert (await client.get("/tree/1/")).status_code == 404
    await look(browser, panel, ["insights/", "tree/"])
    await directory.execute("DELETE FROM piccolo_user WHERE username = 'look'")
    only = (await member(directory, member_id="#1", status="active"))["member_id"]
    await look(browser, panel, ["insights/", f"tree/{only[1:]}/"])


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
    today = NOW.date()
    await member(directory, member_id="#247", name="Ana", status="active")
    await highlight(directory, member_id="#247", highlight_date=today, message_count=1)
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
