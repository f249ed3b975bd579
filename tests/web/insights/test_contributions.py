"""The page Contributions, compared with a count of the raw rows in Python."""

from collections import Counter
from random import Random

import asyncpg
import httpx
import pytest

from community_directory.web.insights.active_people import sum_contributions
from community_directory.web.insights.contributions import draw_curve
from community_directory.web.insights.period import Period
from tests.web.insights.community import RawDirectory, make_community, read_raw_directory
from tests.web.insights.links import check_people_links, read_csv
from tests.web.insights.periods import all_days, last_days
from tests.zones import use_zone


def contributions_of(raw: RawDirectory, period: Period) -> dict[str, int]:
    """Return the contributions of everybody who is present and made some."""
    made = {
        number: raw.contributed(number, period.since, period.until)
        for number in raw.people
        if raw.is_present(number)
    }
    return {number: count for number, count in made.items() if count}


@pytest.mark.parametrize(("seed", "zone"), [(1, "UTC"), (2, "America/New_York")])
async def test_the_contributions_of_everybody_present_are_counted(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, seed: int, zone: str
) -> None:
    use_zone(monkeypatch, zone)
    await make_community(directory, Random(seed))
    raw = await read_raw_directory(directory)
    for period in (last_days(7), last_days(28), last_days(90), all_days()):
        made = contributions_of(raw, period)
        assert len(made) > 10
        groups, found = await sum_contributions(period, limit=12)
        assert dict(groups) == Counter(made.values())
        assert [number for number, _ in groups] == sorted(set(made.values()), reverse=True)
        first = sorted(made, key=lambda number: (-made[number], int(number[1:])))[:12]
        assert [each.contributions for each in found] == [made[number] for number in first]
        assert {each.member_id: each.active_days for each in found} == {
            each.member_id: raw.active_days(each.member_id, period.since, period.until)
            for each in found
        }


async def test_each_number_leads_to_as_many_people(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_community(directory, Random(4))
    for period in ("7", "28", "90", "12m", "all"):
        links = await check_people_links(client, f"/insights/contributions/?period={period}")
        # the tiles, the sentence, the steps of the curve, and the buckets
        assert len(links) > 12
        assert {link.filters["status"] for link in links} == {"present"}


async def test_the_files_have_the_numbers_of_the_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make_community(directory, Random(5))
    made = contributions_of(await read_raw_directory(directory), last_days(28))
    path = "/insights/contributions/"
    curve = await read_csv(client, f"{path}curve.csv")
    assert len(curve) == 101
    assert [curve[position]["share"] for position in (0, -1)] == ["0.0", "1.0"]
    buckets = await read_csv(client, f"{path}buckets.csv")
    people = [int(row["people"]) for row in buckets]
    assert sum(people) == len(made)
    assert people[0] == sum(count < 5 for count in made.values())
    most_active = await read_csv(client, f"{path}most-active.csv")
    assert int(most_active[0]["contributions"]) == max(made.values())


async def test_a_period_without_contributions_is_explained(client: httpx.AsyncClient) -> None:
    assert "Nobody wrote or reacted" in (await client.get("/insights/contributions/")).text
    assert (await client.get("/insights/contributions/curve.csv")).status_code == 200


def test_a_curve_rises_from_the_lower_left_to_the_upper_right_corner() -> None:
    points = draw_curve([0, *([0.5] * 99), 1]).split()
    assert (points[0], points[1], points[-1]) == ("0,400.0", "10,200.0", "1000,0.0")
