"""The choice of a period: days that can't be shown, and where a choice is kept."""

import re
from datetime import UTC, date, datetime, time, timedelta
from html import unescape

import asyncpg
import httpx
import pytest
from playwright.async_api import Page, expect

from community_directory.calendar import MAX_SPAN_DAYS, today
from community_directory.language import find_translation
from community_directory.web.insights.layout import PAGE_LABELS, find_page_path
from tests.tables.rows import invitation, member

PATH = "/insights/"


def ago(days: int) -> date:
    return today() - timedelta(days=days)


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        (ago(0), ago(0), "A day is counted in the night after it. Choose days up to {yesterday}."),
        (ago(-2), ago(-9), "Choose days up to {yesterday}."),
        (ago(3), ago(5), "The first day can’t be after the last one."),
        (ago(MAX_SPAN_DAYS + 1), ago(1), "Choose at most 3,660 days."),
        ("soon", ago(1), "soon is no day from 1900 to 2199. Write it as 2026-11-01."),
        ("1800-01-01", ago(1), "1800-01-01 is no day from 1900 to 2199. Write it as 2026-11-01."),
    ],
)
async def test_days_that_cannot_be_shown_are_refused_on_the_page_with_the_form(
    client: httpx.AsyncClient, first: object, last: object, reason: str
) -> None:
    query = {"from": str(first), "to": str(last), "platform": "irc"}
    response = await client.get(PATH, params=query)
    yesterday = find_translation("en").format_date(ago(1))
    assert response.status_code == 422
    page = unescape(response.text)
    assert reason.format(yesterday=yesterday) in page
    assert f'name="from" value="{first}" max="{ago(1)}"' in page
    assert '<input type="hidden" name="platform" value="irc">' in page
    for way_on in ('href="/insights/growth/"', 'href="?platform=irc&period=28"'):
        assert way_on in page


async def test_an_unknown_period_is_refused_in_spanish_and_in_files(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get(f"{PATH}?period=x", headers={"Accept-Language": "es"})
    assert response.status_code == 422
    assert "No existe ese periodo. Elige uno de estos." in response.text
    response = await client.get(f"{PATH}activity.csv?period=x")
    assert (response.status_code, "There is no such period" in response.text) == (400, True)


async def test_a_last_day_alone_begins_with_the_first_known_one(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    shown = find_translation("en").format_days
    assert f"{shown(ago(9), ago(9))} ·" in (await client.get(f"{PATH}?to={ago(9)}")).text
    noon = datetime.combine(ago(20), time(12), UTC)
    await member(directory, status="active", created_at=noon)
    assert f"{shown(ago(20), ago(9))} ·" in (await client.get(f"{PATH}?to={ago(9)}")).text
    assert f"{shown(ago(9), ago(1))} ·" in (await client.get(f"{PATH}?from={ago(9)}")).text


@pytest.mark.parametrize("name", PAGE_LABELS)
async def test_every_page_leads_to_the_others_with_the_chosen_period(
    client: httpx.AsyncClient, name: str
) -> None:
    page = (await client.get(f"{find_page_path(name)}?period=90")).text
    for other in PAGE_LABELS:
        assert f'href="{find_page_path(other)}?period=90"' in page
    assert page.count('href="/insights/?period=90"') == 2  # the tab, and the charts' own link


@pytest.mark.browser
async def test_a_phone_shows_the_first_figure_and_where_one_is(
    page: Page, directory: asyncpg.Pool
) -> None:
    await member(directory, status="active")
    await page.set_viewport_size({"width": 390, "height": 844})
    for name in ("overview", "growth", "rooms", "network"):
        await page.goto(f"{find_page_path(name)}?period=all")
        await expect(page.locator(".tabs [aria-current]")).to_be_in_viewport(ratio=0.9)
        await expect(page.get_by_role("link", name="All", exact=True)).to_be_in_viewport()
        top = await page.locator(".figures dd, section.card h2").first.evaluate(
            "element => element.getBoundingClientRect().top"
        )
        assert top < 500, name


@pytest.mark.browser
async def test_days_are_chosen_in_the_form(page: Page, directory: asyncpg.Pool) -> None:
    await page.goto(PATH)
    await page.get_by_text("Choose days").click()
    await page.get_by_label("From", exact=True).fill(ago(5).isoformat())
    await page.get_by_label("to", exact=True).fill(ago(9).isoformat())
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("alert")).to_contain_text("The first day can’t be after the last")
    await page.get_by_label("to", exact=True).fill(ago(3).isoformat())
    await page.get_by_role("button", name="Show").click()
    await expect(page).to_have_url(re.compile(rf"\?from={ago(5)}&to={ago(3)}$"))
    await expect(page.locator(".figures dd").first).to_be_visible()


@pytest.mark.browser
async def test_a_phone_shows_what_is_listed_before_the_forms(
    page: Page, directory: asyncpg.Pool
) -> None:
    ana = (await member(directory, status="active"))["member_id"]
    await invitation(directory, created_by=ana, created_at=datetime.combine(ago(3), time(), UTC))
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.goto("/people/?status=member")
    await expect(page.locator("#chips").get_by_text("1 person")).to_be_in_viewport()
    await page.goto(f"/invitations/?show=all&created_from={ago(4)}")
    await expect(page.locator("table.rows tbody th").first).to_be_in_viewport()
