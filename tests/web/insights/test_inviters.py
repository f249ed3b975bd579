"""The page Inviters, compared with a count of the raw rows in Python."""

from datetime import UTC, datetime, timedelta
from random import Random
from statistics import median

import asyncpg
import httpx
import pytest

from community_directory.web.insights.inviters import (
    InviterRecord,
    Sort,
    find_active_days,
    list_inviters,
)
from community_directory.web.insights.period import Period
from tests.tables.rows import member
from tests.web.insights.community import RawDirectory, make_community, read_raw_directory
from tests.web.insights.html_tables import read_table
from tests.web.insights.links import check_people_links, read_csv
from tests.web.insights.periods import all_days, last_days
from tests.zones import use_zone


def expected_record(raw: RawDirectory, period: Period, inviter: str | None) -> InviterRecord:
    """Return what became of those who joined, of an inviter or of all."""
    joined = [
        number
        for number, row in raw.people.items()
        if raw.joined_between(number, period.since, period.until)
        and inviter in (None, row["invited_by"])
    ]
    members = [number for number in joined if raw.is_member(number)]
    stayed = [number for number in members if raw.active_days(number, *find_active_days())]
    waits = [
        max((min(raw.messages[number]) - raw.joined[number]).days, 0)
        for number in members
        if raw.messages[number]
    ]
    return InviterRecord(
        inviter,
        None if inviter is None else raw.people[inviter]["name"],
        len(members),
        sum(map(raw.is_gone, joined)),
        len(stayed),
        median(waits) if waits else None,
    )


def expected_inviters(raw: RawDirectory, period: Period) -> list[InviterRecord]:
    """Return the records of the inviters who are present and brought somebody."""
    found = [
        expected_record(raw, period, number) for number in raw.people if raw.is_present(number)
    ]
    return [record for record in found if record.brought]


@pytest.mark.parametrize(("seed", "zone"), [(1, "UTC"), (2, "America/New_York")])
async def test_what_became_of_the_people_of_each_inviter(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, seed: int, zone: str
) -> None:
    use_zone(monkeypatch, zone)
    await make_community(directory, Random(seed))
    raw = await read_raw_directory(directory)
    for period in (last_days(28), last_days(90), all_days()):
        everybody, inviters, number = await list_inviters(period, limit=100)
        assert number == len(inviters)
        assert everybody == expected_record(raw, period, None)
        assert everybody.stayed
        assert everybody.gone
        expected = expected_inviters(raw, period)
        assert sorted(inviters, key=str) == sorted(expected, key=str)
        by_stayed = [(each.stayed, each.stayed / each.brought) for each in inviters]
        assert by_stayed == sorted(by_stayed, reverse=True)
        by_brought = await list_inviters(period, sort=Sort.BROUGHT, limit=100)
        assert [each.brought for each in by_brought.inviters] == sorted(
            (each.brought for each in expected), reverse=True
        )
        by_lost = await list_inviters(period, sort=Sort.LOST, limit=100)
        lost = [(each.brought - each.stayed, -each.stayed) for each in by_lost.inviters]
        assert lost == sorted(lost, reverse=True)


async def test_the_page_says_how_many_inviters_it_does_not_list(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    long_ago, lately = (datetime.now(UTC) - timedelta(days=days) for days in (200, 2))
    for _ in range(27):
        inviter = (await member(directory, status="active", created_at=long_ago))["member_id"]
        await member(directory, status="active", created_at=lately, invited_by=inviter)
    await member(directory, status="active", created_at=lately)
    path = "/insights/inviters/"
    everybody, *listed, others = await read_table(client, "Inviters, and what", path)
    assert (everybody[3], len(listed)) == ("28", 25)
    assert (others[0], others[3]) == ("All others", "3")
    assert "2 more inviters are in the CSV file." in (await client.get(path)).text
    assert len(await read_csv(client, f"{path}inviters.csv")) == 27


async def test_each_number_leads_to_as_many_people(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_community(directory, Random(4))
    statuses = set()
    for query in ("?sort=lost", "?period=28&sort=brought", "?period=12m", "?period=all"):
        links = await check_people_links(client, f"/insights/inviters/{query}")
        inviters = {link.filters["inviter"] for link in links if "inviter" in link.filters}
        assert len(inviters) > 3
        statuses |= {link.filters["status"] for link in links}
    assert statuses == {"ever_member", "member", "gone"}


async def test_few_people_have_no_percentage(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    few, enough = (InviterRecord("#1", "Ana", people, 0, 2, None) for people in (4, 5))
    assert few.stayed_share is None
    assert enough.stayed_share == 0.4
    page = (await client.get("/insights/inviters/")).text
    assert "Nobody joined in this period" in page


async def test_the_list_can_begin_with_those_who_brought_most(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_community(directory, Random(4))
    path = "/insights/inviters/inviters.csv?period=all"
    for sort, column in (("", "stayed"), ("&sort=brought", "brought")):
        numbers = [int(row[column]) for row in await read_csv(client, path + sort)]
        assert numbers == sorted(numbers, reverse=True)
        assert len(set(numbers)) > 1
    rows = await read_csv(client, f"{path}&sort=lost")
    lost = [int(row["brought"]) - int(row["stayed"]) for row in rows]
    assert lost == sorted(lost, reverse=True)


@pytest.mark.parametrize("path", ["", "inviters.csv"])
async def test_an_order_that_does_not_exist_is_refused(
    client: httpx.AsyncClient, directory: asyncpg.Pool, path: str
) -> None:
    response = await client.get(f"/insights/inviters/{path}?sort=name")
    assert response.status_code == 400
    assert "There is no such choice." in response.text


async def test_people_without_an_inviter_are_no_inviter_where_nobody_is_absent(
    directory: asyncpg.Pool,
) -> None:
    joined = datetime.now(UTC) - timedelta(days=2)
    await member(directory, member_id="#1", status="active", created_at=joined)
    await member(directory, member_id="#2", status="active", created_at=joined, invited_by="#1")
    found = await list_inviters(all_days())
    assert (found.everybody.brought, [each.member_id for each in found.inviters]) == (2, ["#1"])
