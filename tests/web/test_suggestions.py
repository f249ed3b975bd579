"""The page Merge suggestions, and the act that dismisses one."""

import asyncpg
import httpx
import pytest

from community_directory.queries import members
from tests.tables.rows import fetch_row, member

PATH = "/suggestions/"


async def two(directory: asyncpg.Pool) -> None:
    """Add the members #1 and #2, who name the same GitHub account."""
    for number, name in enumerate(("Bo", "<img src=x onerror=alert(1)>"), start=1):
        await member(directory, member_id=f"#{number}", name=name, github_username="bo")


async def test_a_pair_is_shown_with_its_reason_and_a_way_to_merge_it(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await two(directory)
    html = (await client.get(PATH)).text
    assert "the same GitHub account: bo" in html
    assert html.index('href="/people/1/"') < html.index('href="/people/2/"')
    assert (await client.get("/people/1/merge/?with=2")).status_code == 200
    assert 'href="/people/1/merge/?with=2"' in html
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    spanish = await client.get(PATH, headers={"Accept-Language": "es-MX"})
    assert "la misma cuenta de GitHub: bo" in spanish.text


async def test_a_dismissed_pair_does_not_come_back(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await two(directory)
    pair = {"member": "#1", "other": "#2"}
    response = await client.post(f"{PATH}dismiss/", data=pair, follow_redirects=True)
    assert response.status_code == 200
    assert "#1 and #2 are two people" in response.text
    assert "No two members seem to be one person." in response.text
    entry = await fetch_row(
        directory, "SELECT actor FROM directory_audit_log ORDER BY id DESC LIMIT 1"
    )
    assert tuple(entry) == ("manager",)


@pytest.mark.parametrize("pair", [("#2", "#2"), ("#1", "#9"), ("", "x"), ("\0", "#1")])
async def test_what_is_no_pair_is_refused_with_the_list(
    client: httpx.AsyncClient, directory: asyncpg.Pool, pair: tuple[str, str]
) -> None:
    await two(directory)
    form = dict(zip(("member", "other"), pair, strict=True))
    response = await client.post(f"{PATH}dismiss/", data=form)
    assert response.status_code == 422
    assert 'role="alert"' in response.text
    assert "the same GitHub account: bo" in response.text
    assert len((await members.merge_suggestions()).items) == 1


async def test_the_list_continues_on_the_next_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number in range(7):  # 21 pairs
        await member(directory, name=f"Bo {number}", github_username="bo")
    first = (await client.get(PATH)).text
    assert first.count("the same GitHub account") == 20
    [_, address] = first.split(f'<a href="{PATH}?after=')
    second = (await client.get(f"{PATH}?after={address.partition(chr(34))[0]}")).text
    assert second.count("the same GitHub account") == 1
    assert "More suggestions" not in second
    [_, back] = second.split(f'<a href="{PATH}?after=')
    assert (await client.get(f"{PATH}?after={back.partition(chr(34))[0]}")).text == first
    for wrong in ("x", "", "WyJoXaN0b3J5Iiw1XQ"):
        response = await client.get(PATH, params={"after": wrong})
        assert response.status_code == 404
        assert "Start again with the first page." in response.text
