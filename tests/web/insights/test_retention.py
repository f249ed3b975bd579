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
from community_directory.web.insights.retention import Choices, Show, load_retention
from tests.tables.rows import member
from tests.web.conftest import add_superuser, session_of
from tests.web.insights.community import RawDirectory, read_raw_directory
from tests.web.insights.invited import make_invited_community
from tests.web.insights.links import read_csv
from tests.web.insights.periods import all_days, last_days
from tests.zones import use_zone

ZONES = [(1, "UTC"), (2, "America/New_York"), (3, "Pacific/Kiritimati")]
ExpectedCell = tuple[int, int, bool] | None
"""The number of a cell, that of all people, and whether it is partial; None if it is not over."""


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


def expected_rows(
    raw: RawDirectory, period: Period, choices: Choices
) -> dict[object, tuple[int, int, list[ExpectedCell]]]:
    """Return the members, the gone and the cells of each row, and of "everybody"."""
    joined = [
        who
        for who, day in raw.joined.items()
        if period.since <= day <= period.until and raw.was_member(who)
    ]
    brought = Counter(raw.people[who]["invited_by"] for who in joined)
    del brought[None]
    order = sorted(brought, key=lambda inviter: (-brought[inviter], len(inviter), inviter))
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
                    rows = {row.key: row for row in found.rows} | {"everybody": found.everybody}
                    assert {
                        key: (
                            row.cohort.members.total(),
                            row.cohort.gone,
                            [as_expected(cell) for cell in row.cells],
                        )
                        for key, row in rows.items()
                    } == expected_rows(raw, period, choices), (period, choices)


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
    retention = await load_retention(
        last_days(365), Choices(Grouping.INVITER, Unit.WEEK, Show.LOST)
    )
    query = f"by=inviter&unit=week&show=lost&from={today() - timedelta(days=365)}"
    rows = await read_csv(client, f"/insights/retention/cohorts.csv?{query}")
    assert [(row["inviter"], int(row["members"]), int(row["gone"])) for row in rows[::12]] == [
        (row.key or "", row.cohort.members.total(), row.cohort.gone) for row in retention.rows
    ]
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
    joined = datetime.now(UTC) - timedelta(days=3)
    await member(directory, status="active", invited_by=inviter["member_id"], created_at=joined)
    page = (await client.get("/insights/retention/?by=inviter")).text
    assert "<img" not in page
    assert "&lt;img src=x" in page


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
    inviter = await rows.nth(0).get_by_role("rowheader").inner_text()
    await rows.nth(0).locator("td").nth(5).get_by_role("link").click()
    await expect(visitor.locator("#rows tbody tr")).to_have_count(12)

    await visitor.get_by_role("link", name="Save this view").click()
    await visitor.get_by_label("Name", exact=True).fill(f"Left {inviter}")
    await visitor.get_by_role("button", name="Save").click()
    segment = visitor.get_by_role("navigation", name="Segments").get_by_role(
        "link", name=f"Left {inviter}"
    )
    await expect(segment).to_have_attribute("aria-current", "page")
    await expect(visitor.locator("#rows tbody tr")).to_have_count(12)


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
