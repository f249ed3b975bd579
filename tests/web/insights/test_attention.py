"""The page Attention, compared with a count of the raw rows in Python."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from random import Random

import asyncpg
import httpx
import pytest

from community_directory.calendar import today
from community_directory.queries import highlights, participation, people, segments
from community_directory.queries.participation import NewEvent
from community_directory.web.insights import attention
from community_directory.web.insights.attention import LIST_NAMES, ListName, load_lists
from community_directory.web.insights.period import Period, choose_periods
from tests.tables.rows import first_segments, member
from tests.web.insights.community import RawDirectory, make_community, read_raw_directory
from tests.web.insights.html_tables import read_table
from tests.web.insights.links import check_people_links, read_csv
from tests.web.insights.periods import all_days, last_days
from tests.zones import use_zone


def expected_people(raw: RawDirectory, name: ListName, period: Period) -> set[str]:
    """Return the numbers of those who belong to a list, by its rule."""
    compared, before = choose_periods(period)

    def is_in(number: str) -> bool:
        now = raw.active_days(number, compared.since, compared.until)
        then = raw.active_days(number, before.since, before.until)
        if name == "at_risk":
            return raw.is_member(number) and then >= 4 and now < then / 2
        if name == "came_back":
            was_active = any(day < before.since for day in raw.active[number])
            return raw.is_present(number) and now > 0 and not then and was_active
        has_joined = raw.joined_between(number, period.since, period.until)
        return raw.is_member(number) and has_joined and not raw.active[number]

    return {number for number in raw.people if is_in(number)}


@pytest.mark.parametrize(("seed", "zone"), [(1, "UTC"), (2, "America/New_York")])
async def test_each_list_has_those_whom_its_rule_names(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, seed: int, zone: str
) -> None:
    use_zone(monkeypatch, zone)
    await make_community(directory, Random(seed))
    raw = await read_raw_directory(directory)
    sizes = Counter[ListName]()
    for period in (last_days(28), last_days(20), last_days(45), all_days()):
        lists = await load_lists(period)
        for name in LIST_NAMES:
            found = lists[name]
            expected = expected_people(raw, name, period)
            assert set(await people.numbers(**found.filters)) == expected, (name, period)
            assert found.number == len(expected)
            before = period.before
            if before is None and name != "never_spoke":
                before = choose_periods(period)[1]
            assert found.number_before == (
                None if before is None else len(expected_people(raw, name, before))
            )
            shown = [person.member_id for person in found.people]
            assert set(shown) <= expected
            assert len(set(shown)) == len(shown) == min(12, len(expected))
            sizes[name] = max(sizes[name], len(expected))
    assert min(sizes[name] for name in LIST_NAMES) > 1, sizes


async def test_those_who_never_spoke_are_of_all_days_if_all_are_chosen(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    joined = datetime.now(UTC) - timedelta(days=90)
    await member(directory, name="Old", status="active", created_at=joined)
    path = "/insights/attention/?period=all"
    [link] = await check_people_links(client, path)
    assert (link.number, link.filters["member_from"]) == (1, str(joined.date()))
    page = (await client.get(path)).text
    # Only the two lists that compare days have a period before.
    assert page.count("in the period before") == 2


async def test_newcomers_who_never_spoke_have_their_status(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for days, status in enumerate(("pending", "active"), start=2):
        joined = datetime.now(UTC) - timedelta(days=days)
        await member(directory, name=status.title(), status=status, created_at=joined)
    rows = await read_table(client, "Newcomers who never spoke", "/insights/attention/")
    assert [(row[0], row[2]) for row in rows] == [("Pending", "Pending"), ("Active", "Active")]
    found = await read_csv(client, "/insights/attention/never-spoke.csv")
    assert [row["status"] for row in found] == ["pending", "active"]


async def test_the_file_of_a_list_has_more_than_the_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = datetime.now(UTC) - timedelta(days=2)
    for _ in range(14):
        await member(directory, status="active", created_at=joined)
        await active_member(directory, "Slower", *range(29, 33))
        await active_member(directory, "Back", 70, 2)
    await roll_up()
    path = "/insights/attention/"
    names = ("at-risk", "never-spoke", "came-back")
    for name in names:
        assert len(await read_csv(client, f"{path}{name}.csv")) == 14, name
    assert "The CSV file has the first" not in (await client.get(path)).text
    monkeypatch.setattr(attention, "MAX_CSV_ROWS", 13)
    for name in names:
        assert len(await read_csv(client, f"{path}{name}.csv")) == 13, name
    assert (await client.get(path)).text.count("The CSV file has the first 13.") == 3


async def active_member(directory: asyncpg.Pool, name: str, *days_ago: int, **more: object) -> str:
    """Add a member who wrote a message at noon so many days ago."""
    row = await member(directory, name=name, status="active", **more)
    await participation.record_many(
        NewEvent(
            member_id=row["member_id"],
            event_type="MESSAGE",
            platform="telegram",
            room_id="-1001",
            source_id=f"{row['member_id']}-{ago}",
            occurred_at=datetime.combine(today() - timedelta(days=ago), time(12), UTC),
        )
        for ago in days_ago
    )
    return str(row["member_id"])


async def roll_up() -> None:
    await highlights.roll_up(today() - timedelta(days=100), until=today() - timedelta(days=1))


async def test_those_at_risk_who_were_most_active_come_first(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    inviter = (await member(directory, name="Ines", status="active"))["member_id"]
    await active_member(directory, "Four", 29, 30, 31, 32, 5)
    await active_member(directory, "Nine", *range(29, 38), 1, 2, 3, 4, invited_by=inviter)
    await active_member(directory, "Half", *range(29, 39), *range(1, 6))
    await active_member(directory, "Three", 29, 30, 31)
    await roll_up()
    columns = ("name", "active_days_before", "active_days", "invited_by")
    assert [
        tuple(row[column] for column in columns)
        for row in await read_csv(client, "/insights/attention/at-risk.csv")
    ] == [("Nine", "9", "4", inviter), ("Four", "4", "1", "")]
    page = (await client.get("/insights/attention/")).text
    assert page.index(">Nine<") < page.index(">Four<")
    assert ">Ines<" in page
    assert "active on at least 4 days from" in page


async def test_the_given_segment_of_those_at_risk_has_the_people_of_the_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await first_segments(directory)
    await make_community(directory, Random(5))
    shown = next(
        link
        for link in await check_people_links(client, "/insights/attention/")
        if link.filters.get("activity") == "at_risk"
    )
    assert shown.number > 1
    [segment, *_] = await segments.list_all()
    assert await people.numbers(**segment.filters) == await people.numbers(**shown.filters)


async def test_somebody_who_came_back_has_the_days_of_their_absence(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await active_member(directory, "Back", 70, 66, 6, 2)
    await active_member(directory, "Steady", 70, 40, 2)
    await active_member(directory, "New", 2)
    await roll_up()
    [row] = await read_csv(client, "/insights/attention/came-back.csv")
    days = [row["first_active_day"], row["last_day_before"]]
    assert row["name"] == "Back"
    assert days == [f"{today() - timedelta(days=ago)}" for ago in (6, 66)]
    assert "after 60 days" in (await client.get("/insights/attention/")).text


async def test_each_number_leads_to_as_many_people(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_community(directory, Random(4))
    for period in ("7", "28", "90", "12m", "all"):
        links = await check_people_links(client, f"/insights/attention/?period={period}")
        assert links
        if period == "28":
            assert sum(link.number > 0 for link in links) > 3


async def test_a_list_of_nobody_says_so(client: httpx.AsyncClient) -> None:
    page = (await client.get("/insights/attention/")).text
    assert page.count("Nobody") == 3
    assert page.count("0 in the period before") == 3
    assert await check_people_links(client, "/insights/attention/") == []
