"""Retention, compared with a count of the raw rows in Python."""

import html
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from random import Random
from urllib.parse import parse_qsl

import asyncpg
import httpx
import pytest
from playwright.async_api import Page, expect

from community_directory.calendar import add_months, today
from community_directory.demo import load_demo
from community_directory.language import find_translation
from community_directory.queries import people
from community_directory.web.insights.cohorts import Cell, Cohort, Unit, draw_curve
from community_directory.web.insights.groups import Grouping
from community_directory.web.insights.period import Period
from community_directory.web.insights.retention import Choices, Retention, Show, load_retention
from tests.tables.rows import member
from tests.web.conftest import add_superuser, session_of
from tests.web.insights.community import RawDirectory, read_raw_directory
from tests.web.insights.html_tables import read_table
from tests.web.insights.invited import make_invited_community
from tests.web.insights.links import check_people_links, read_csv
from tests.web.insights.periods import all_days, last_days
from tests.zones import use_zone

ZONES = [(1, "UTC"), (2, "America/New_York"), (3, "Pacific/Kiritimati")]
ExpectedCell = tuple[int, int, bool] | None
"""The number of a cell, that of all people, and whether it is partial; None if it is not over."""
ExpectedRow = tuple[int, int, list[ExpectedCell]]
"""The members, the gone and the cells."""


def expected_cell(
    raw: RawDirectory, cohort: list[str], choices: Choices, number: int
) -> ExpectedCell:
    def is_over(who: str) -> bool:
        joined = raw.joined[who]
        if choices.unit is Unit.WEEK:
            return joined + timedelta(days=7 * number) <= today()
        months = 12 * (today().year - joined.year) + today().month - joined.month
        return months > number

    over = [who for who in cohort if is_over(who)]
    if not over:
        return None
    active_in = raw.weeks if choices.unit is Unit.WEEK else raw.months
    counted = [
        who
        for who in over
        if raw.is_member(who) and (number in active_in(who)) is (choices.show is Show.ACTIVE)
    ]
    return len(counted), len(over), len(over) < len(cohort)


def expected_rows(raw: RawDirectory, period: Period, choices: Choices) -> dict[object, ExpectedRow]:
    """Return the members, the gone and the cells of each row, and of "everybody"."""
    joined = [
        who
        for who, day in raw.joined.items()
        if period.since <= day <= period.until and raw.was_member(who)
    ]
    brought = Counter(raw.people[who]["invited_by"] for who in joined)
    del brought[None]
    order = sorted(brought, key=lambda inviter: (-brought[inviter], len(inviter), inviter))
    if choices.inviters is not None:
        joined = [who for who in joined if raw.people[who]["invited_by"] in choices.inviters]
    rows: dict[object, list[str]] = {"everybody": joined}
    for who in joined:
        inviter = raw.people[who]["invited_by"]
        by_inviter = inviter if inviter in order[:20] else None
        key = raw.joined[who].replace(day=1) if choices.by is Grouping.MONTH else by_inviter
        rows.setdefault(key, []).append(who)
    return {
        key: (
            sum(map(raw.is_member, cohort)),
            sum(map(raw.is_gone, cohort)),
            [expected_cell(raw, cohort, choices, number) for number in choices.unit.columns],
        )
        for key, cohort in rows.items()
    }


def as_expected(cell: Cell | None) -> ExpectedCell:
    return None if cell is None else (cell.count, cell.people, cell.is_partial)


def as_expected_rows(found: Retention) -> dict[object, ExpectedRow]:
    rows = {row.key: row for row in found.rows} | {"everybody": found.everybody}
    return {
        key: (
            row.cohort.members.total(),
            row.cohort.gone,
            [as_expected(cell) for cell in row.cells],
        )
        for key, row in rows.items()
    }


@pytest.mark.parametrize(("seed", "zone"), ZONES)
async def test_each_cell_is_that_of_a_recount(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, seed: int, zone: str
) -> None:
    use_zone(monkeypatch, zone)
    await make_invited_community(directory, Random(seed))
    raw = await read_raw_directory(directory)
    for period in (last_days(28), last_days(365), all_days()):
        for by in Grouping:
            for unit in Unit:
                for show in Show:
                    choices = Choices(by, unit, show)
                    found = await load_retention(period, choices)
                    expected = expected_rows(raw, period, choices)
                    assert as_expected_rows(found) == expected, (period, choices)


async def test_those_of_the_chosen_inviters_alone_are_counted(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_invited_community(directory, Random(1))
    raw, period = await read_raw_directory(directory), last_days(365)
    brought = Counter(row["invited_by"] for row in raw.people.values() if row["invited_by"])
    (first, _), _, (third, _) = brought.most_common(3)
    for by in Grouping:
        for unit in Unit:
            choices = Choices(by, unit, Show.LOST, {first: "Ana", third: "Bo"})
            found = await load_retention(period, choices)
            assert as_expected_rows(found) == expected_rows(raw, period, choices), choices
            # The form of the page has a parameter for each box.
            query = f"by={by}&unit={unit}&show=lost&inviter={first[1:]}&inviter=%23{third[1:]}"
            links = await check_people_links(client, f"/insights/retention/?{query}")
            of_both = {
                "inviter": f"{min(first, third, key=_number)[1:]},"
                f"{max(first, third, key=_number)[1:]}"
            }
            of_one = [{"inviter": first[1:]}, {"inviter": third[1:]}]
            shown = [{"inviter": filters["inviter"]} for _, filters in links]
            assert of_both in shown
            assert all(each in (of_both, *of_one) for each in shown)
            file = await read_csv(client, f"/insights/retention/curve.csv?{query}")
            assert [row["lost"] for row in file] == [
                str(cell.count) if cell else "" for cell in found.everybody.cells
            ]


def _number(member_id: str) -> int:
    return int(member_id[1:])


@pytest.mark.parametrize(
    ("inviter", "status"), [("x", 400), ("1,x", 400), ("99999", 404), (",".join("1" * 2), 200)]
)
async def test_an_inviter_who_does_not_exist_is_refused(
    client: httpx.AsyncClient, directory: asyncpg.Pool, inviter: str, status: int
) -> None:
    await member(directory, member_id="#1", status="active")
    for page in ("retention", "funnel"):
        response = await client.get(f"/insights/{page}/?inviter={inviter}")
        assert response.status_code == status


async def test_a_period_in_which_no_column_is_over_says_so(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    joined = datetime.now(UTC) - timedelta(days=2)
    await member(directory, status="active", created_at=joined)
    for query, sentence in (
        (f"from={today() - timedelta(days=2)}&unit=week", "no week is over since"),
        (f"from={max(today().replace(day=1), today() - timedelta(days=2))}", "no month is over"),
    ):
        page = (await client.get(f"/insights/retention/?{query}")).text
        assert sentence in page or "Nobody joined" in page
        assert "<table" not in page
        assert "<polyline" not in page


async def test_what_is_over_for_nobody_has_no_column(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    joined = datetime.now(UTC) - timedelta(days=16)
    await member(directory, status="active", created_at=joined)
    [row, _] = await read_table(client, "Members by month", "/insights/retention/?unit=week")
    # The month, the members, the gone, and two weeks.
    assert len(row) == 5


async def test_the_random_community_has_every_kind_of_cell(directory: asyncpg.Pool) -> None:
    """The recount above would prove little without them."""
    await make_invited_community(directory, Random(1))
    for by in Grouping:
        for unit in Unit:
            found = await load_retention(last_days(365), Choices(by, unit, Show.ACTIVE))
            cells = [cell for row in found.rows for cell in row.cells]
            assert by is Grouping.INVITER or None in cells
            assert {bool(cell and cell.count) for cell in cells} == {True, False}
            assert found.everybody.cohort.gone > 3
            assert found.before.cohort.people
            is_partial = {cell.is_partial for cell in cells if cell}
            assert is_partial == ({True, False} if by is Grouping.INVITER else is_partial)
        assert len(found.rows) > 10
    assert found.rows[-1].key is None
    assert found.rows[-1].cohort.people


async def test_each_number_leads_to_as_many_people(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "America/New_York")
    await make_invited_community(directory, Random(4))
    for query in (
        "",
        "?unit=week",
        "?by=inviter&show=lost",
        "?by=inviter&unit=week&show=lost&period=all",
        "?unit=week&period=90",
    ):
        page = (await client.get(f"/insights/retention/{query}")).text
        links = re.findall(r'href="/people/\?([^"]*)"[^>]*>([0-9,]+)', page)
        assert len(links) > 40, query
        assert ("compared with the period before" in page) == ("period=all" not in query), query
        for address, number in links:
            filters = dict(parse_qsl(html.unescape(address)))
            assert await people.count(**filters) == int(number), (query, filters)


async def test_files_have_the_numbers_of_the_charts(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_invited_community(directory, Random(5))
    await directory.execute("UPDATE community_members SET name = '=1+2 ' || member_id")
    retention = await load_retention(
        last_days(365), Choices(Grouping.INVITER, Unit.WEEK, Show.LOST)
    )
    query = f"by=inviter&unit=week&show=lost&from={today() - timedelta(days=365)}"
    rows = await read_csv(client, f"/insights/retention/cohorts.csv?{query}")
    assert [(row["inviter"], int(row["members"]), int(row["gone"])) for row in rows[::12]] == [
        (row.key or "", row.cohort.members.total(), row.cohort.gone) for row in retention.rows
    ]
    assert (rows[-1]["inviter"], rows[-1]["name"]) == ("", "All others")
    # No spreadsheet computes a name.
    assert {row["name"] for row in rows[:-12]} == {f"'=1+2 {row['inviter']}" for row in rows[:-12]}
    cells = [cell for row in retention.rows for cell in row.cells]
    assert [(row["lost"], row["people"]) for row in rows] == [
        (str(cell.count), str(cell.people)) if cell else ("", "") for cell in cells
    ]
    assert [row["week"] for row in rows[:12]] == [str(week) for week in range(1, 13)]

    curve = await read_csv(client, f"/insights/retention/curve.csv?{query}")
    assert [row["lost"] for row in curve] == [
        str(cell.count) if cell else "" for cell in retention.everybody.cells
    ]
    assert [row["people_before"] for row in curve] == [
        str(cell.people) if cell else "" for cell in retention.before.cells
    ]


async def test_a_period_without_people_is_said(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for query in ("", "?by=inviter&unit=week", "?period=all"):
        page = (await client.get(f"/insights/retention/{query}")).text
        assert "Nobody joined in this period." in page


@pytest.mark.parametrize("query", ["by=country", "unit=day", "show=gone"])
async def test_a_choice_that_does_not_exist_is_refused(
    client: httpx.AsyncClient, directory: asyncpg.Pool, query: str
) -> None:
    response = await client.get(f"/insights/retention/?{query}")
    assert response.status_code == 400
    assert "There is no such choice." in response.text


async def test_hostile_names_of_inviters_stay_text(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    inviter = await member(directory, name="<img src=x onerror=alert(1)>", status="active")
    joined = datetime.now(UTC) - timedelta(days=9)
    await member(directory, status="active", invited_by=inviter["member_id"], created_at=joined)
    page = (await client.get("/insights/retention/?by=inviter&unit=week")).text
    assert "<img" not in page
    assert "&lt;img src=x" in page


async def test_a_picked_inviter_who_has_no_row_stays_picked(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await member(directory, status="active")
    await member(directory, status="active")
    joined = datetime.now(UTC) - timedelta(days=9)
    await member(directory, status="active", invited_by="#1", created_at=joined)
    page = (await client.get("/insights/retention/?by=inviter&unit=week&inviter=1,2")).text
    assert re.findall(r'<input type="(\w+)" name="inviter" value="(\d+)"', page) == [
        ("checkbox", "1"),
        ("hidden", "2"),
    ]


# The story of a manager


@pytest.mark.browser
async def test_those_who_left_after_three_weeks_are_found_and_saved_as_a_segment(
    visitor: Page, panel: str, directory: asyncpg.Pool
) -> None:
    assert await load_demo()
    eva = await add_superuser("eva")
    await visitor.context.add_cookies(
        [{"name": "id", "value": await session_of(eva), "url": panel}]
    )
    await visitor.goto("/insights/")
    await visitor.get_by_role("link", name="Retention").click()
    month = find_translation("en").format_month(add_months(today(), -2), with_year=True)
    await visitor.get_by_role("link", name=month, exact=True).click()
    by_inviter = visitor.get_by_role("link", name="By inviter")
    await expect(by_inviter).to_have_attribute("aria-current", "true")
    for choice in ("Weeks after joining", "Who was not"):
        link = visitor.get_by_role("link", name=choice)
        await link.click()
        await expect(link).to_have_attribute("aria-current", "true")
    # The first two inviters brought most people, of whom nobody was active in week 4.
    rows = visitor.get_by_role("table", name="Members by inviter").locator("tbody tr")
    for row in (rows.nth(0), rows.nth(1)):
        await expect(row.locator("td").nth(0)).to_have_text("12")
        await expect(row.locator("td").nth(5)).to_have_text("12 100%")
        await row.get_by_role("checkbox").check()
    inviters = [
        await row.get_by_role("checkbox").get_attribute("value") for row in await rows.all()
    ]
    await visitor.get_by_role("button", name="Only the picked inviters").click()
    await expect(rows).to_have_count(2)
    await expect(visitor.get_by_role("link", name="Show everybody")).to_be_visible()
    total = visitor.get_by_role("table", name="Members by inviter").locator("tfoot td").nth(5)
    await expect(total).to_have_text("24 100%")
    await total.get_by_role("link").click()
    people_rows = visitor.locator("#rows tbody tr")
    await expect(people_rows).to_have_count(24)
    start = add_months(today(), -2).replace(day=1)
    brought = await directory.fetch(
        """SELECT member_id FROM community_members JOIN member_milestones USING (member_id)
        WHERE invited_by = ANY($1) AND joined_at >= $2 AND joined_at < $3""",
        [f"#{number}" for number in inviters[:2]],
        datetime.combine(start, datetime.min.time(), UTC),
        datetime.combine(add_months(start, 1), datetime.min.time(), UTC),
    )
    links = await people_rows.locator("th a.person").evaluate_all("all => all.map(a => a.href)")
    assert {f"#{link.rstrip('/').rpartition('/')[2]}" for link in links} == {
        row["member_id"] for row in brought
    }

    await visitor.get_by_role("link", name="Save this view").click()
    await visitor.get_by_label("Name", exact=True).fill("Left after three weeks")
    await visitor.get_by_role("button", name="Save").click()
    segment = visitor.get_by_role("navigation", name="Segments").get_by_role(
        "link", name="Left after three weeks"
    )
    await expect(segment).to_have_attribute("aria-current", "page")
    await expect(people_rows).to_have_count(24)
    await visitor.goto(f"{panel}people/")
    await segment.click()
    await expect(people_rows).to_have_count(24)


@pytest.mark.browser
async def test_on_a_phone_a_week_is_in_sight_and_the_head_of_the_names_stays_with_them(
    visitor: Page, panel: str, directory: asyncpg.Pool
) -> None:
    await make_invited_community(directory, Random(1))
    eva = await add_superuser("eva")
    await visitor.context.add_cookies(
        [{"name": "id", "value": await session_of(eva), "url": panel}]
    )
    await visitor.set_viewport_size({"width": 390, "height": 844})
    await visitor.goto(f"{panel}insights/retention/?by=inviter&unit=week")
    table = visitor.get_by_role("table", name="Members by inviter")
    week = await table.get_by_role("columnheader", name="1", exact=True).bounding_box()
    assert week
    assert week["x"] + week["width"] <= 390
    head = table.get_by_role("columnheader", name="Inviter")
    before = await head.bounding_box()
    await table.locator("..").evaluate("element => { element.scrollLeft = 200; }")
    assert await head.bounding_box() == before


# What the cells are made of


def test_a_cell_counts_those_for_whom_its_column_is_over() -> None:
    cohort = Cohort(Counter({2: 4, 5: 6}), Counter({2: 3, 5: 5}), Counter({1: 7, 3: 2}))
    assert cohort.gone == 2
    assert cohort.cell(1, lost=False) == Cell(1, 7, 10, is_partial=False)
    assert cohort.cell(1, lost=True) == Cell(1, 1, 10, is_partial=False)
    assert cohort.cell(3, lost=False) == Cell(3, 2, 6, is_partial=True)
    assert cohort.cell(3, lost=True) == Cell(3, 3, 6, is_partial=True)
    assert cohort.cell(6, lost=False) is None


def test_the_last_day_of_joining_for_which_a_column_is_over() -> None:
    monday = date(2027, 3, 1)
    assert Unit.WEEK.last_joining_day(1, monday) == date(2027, 2, 22)
    assert Unit.WEEK.last_joining_day(4, monday) == date(2027, 2, 1)
    assert Unit.MONTH.last_joining_day(0, monday) == date(2027, 2, 28)
    assert Unit.MONTH.last_joining_day(2, date(2027, 3, 31)) == date(2026, 12, 31)
    assert Unit.MONTH.last_joining_day(12, date(2028, 2, 29)) == date(2027, 1, 31)


def test_a_curve_ends_where_columns_are_not_over() -> None:
    half, all_of_them = (
        Cell(number, count, 4, is_partial=False) for number, count in ((0, 2), (1, 4))
    )
    assert draw_curve([half, all_of_them, None]) == "0.0,200.0 500.0,0.0"
    assert draw_curve([half, None, None]) == "0.0,200.0 0.0,200.0"
    assert draw_curve([None, None]) == ""
