"""Network: people and links, walking, groups, and the picture in a browser."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.async_api import Page, expect

from community_directory.queries import people
from community_directory.web.insights import network_links
from community_directory.web.insights.network_drawing import HEIGHT, WIDTH, place_on_rings
from community_directory.web.insights.network_links import MAX_NODES
from tests.tables.rows import account, member, merged_member, relationship

PATH = "/insights/network/"
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
YESTERDAY = NOW - DAY
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "'\"></title></svg><script>alert(2)</script>",
    "{{ 7 * 7 }}",
    "مرحبا (evil) rtl",
    "W" * 255,
]


async def person(directory: asyncpg.Pool, number: int, **columns: object) -> str:
    """Add an active member with an entity, and return the number with #."""
    joined_at = columns.pop("joined_at", NOW - 100 * DAY)
    values = {"status": "active", "created_at": NOW - 100 * DAY, **columns}
    await member(directory, member_id=f"#{number}", **values)
    await account(directory, account_id=entity(number), member_id=f"#{number}")
    await directory.execute(
        "INSERT INTO member_milestones (member_id, joined_at) VALUES ($1, $2)"
        " ON CONFLICT (member_id) DO UPDATE SET joined_at = $2",
        f"#{number}",
        joined_at,
    )
    return f"#{number}"


def entity(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


async def link(
    directory: asyncpg.Pool, one: int | str, other: int | str, **columns: object
) -> None:
    await relationship(
        directory,
        entity_id_a=entity(one) if isinstance(one, int) else one,
        entity_id_b=entity(other) if isinstance(other, int) else other,
        **{"relationship_type": "MENTORED", "created_at": YESTERDAY, **columns},
    )


async def read_csv(client: httpx.AsyncClient, name: str, query: str) -> list[dict[str, str]]:
    response = await client.get(f"{PATH}{name}.csv?{query}")
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text.removeprefix("\ufeff"))))


async def links_of(client: httpx.AsyncClient, query: str = "show=relationships") -> set[str]:
    """Return the links of an address, such as "#1 #2"."""
    rows = await read_csv(client, "links", query)
    return {f"{row['source']} {row['target']}" for row in rows}


async def people_of(client: httpx.AsyncClient, query: str) -> set[str]:
    """Return the numbers of the drawn people of an address, as the page has them."""
    html = (await client.get(f"{PATH}?{query}")).text
    drawn = set(re.findall(r'data-people="/people/(\d+)/"', html))
    listed = {row["member_id"].removeprefix("#") for row in await read_csv(client, "nodes", query)}
    assert drawn == listed
    return drawn


# Links


async def test_a_link_is_between_two_different_people_whatever_stands_for_them(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number in (1, 2, 3):
        await person(directory, number)
    await account(directory, account_id=entity(10), member_id="#1")
    await merged_member(directory, member_id="#4", merged_into="#3")
    await link(directory, 1, 2)
    await link(directory, "#2", 3)
    await link(directory, "#4", 1)
    await link(directory, 1, 10)  # two entities of the same person
    await link(directory, 1, 99)  # nobody's
    assert await links_of(client) == {"#1 #2", "#2 #3", "#3 #1"}
    html = (await client.get(f"{PATH}?show=relationships")).text
    assert "2 relationships are left out" in html


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "banned"},
        {"deleted_at": NOW},
        {"is_bot": True, "reputation_tier": None},
    ],
)
async def test_only_those_who_are_present_are_drawn(
    client: httpx.AsyncClient, directory: asyncpg.Pool, columns: dict[str, object]
) -> None:
    for number in (1, 2):
        await person(directory, number)
    await person(directory, 3, invited_by="#1", **columns)
    await person(directory, 4, invited_by="#2", status="not_member", joined_at=None)
    await link(directory, 1, 3)
    await link(directory, 3, 2)
    await link(directory, 2, 4)
    for kind in ("relationships", "invitations"):
        assert await links_of(client, f"show={kind}") == {"#2 #4"}
        assert await people_of(client, f"show={kind}&around=2&steps=3") == {"2", "4"}
        assert (await client.get(f"{PATH}?show={kind}&around=3")).status_code == 422


async def test_the_type_and_the_period_choose_relationships(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number in (1, 2, 3):
        await person(directory, number)
    await link(directory, 1, 2, created_at=NOW - 20 * DAY)
    await link(directory, 2, 3, created_at=NOW - 60 * DAY, relationship_type="FRIEND")
    await link(directory, 3, 1, created_at=NOW + DAY)  # today is in no period
    assert await links_of(client) == {"#1 #2", "#2 #3"}
    assert await links_of(client, "show=relationships&period=28") == {"#1 #2"}
    assert await links_of(client, "show=relationships&type=FRIEND") == {"#2 #3"}
    assert await links_of(client, "show=relationships&type=FRIEND&period=28") == set()
    html = (await client.get(f"{PATH}?show=relationships&type=FRIEND&period=28")).text
    assert "Nobody is linked in this time." in html
    assert "<option selected>FRIEND</option>" in html


async def test_the_period_chooses_those_who_joined_in_it(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await person(directory, 1)
    await person(directory, 2, invited_by="#1", joined_at=NOW - 20 * DAY)
    await person(directory, 3, invited_by="#2", joined_at=NOW - 60 * DAY)
    await person(directory, 4, invited_by="#1", joined_at=None, status="not_member")
    assert await links_of(client, "") == {"#1 #2", "#2 #3", "#1 #4"}
    assert await links_of(client, "period=28") == {"#1 #2"}
    assert await people_of(client, "period=28&around=1&steps=3") == {"1", "2"}


async def test_the_numbers_of_links_are_in_the_tables_and_files(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number in (1, 2, 3):
        await person(directory, number, name=f"Person {number}")
    await link(directory, 1, 2)
    await link(directory, 1, 2, relationship_type="FRIEND")
    await link(directory, 3, 1)
    nodes = await read_csv(client, "nodes", "show=relationships")
    assert [(row["member_id"], row["name"], row["links"]) for row in nodes] == [
        ("#1", "Person 1", "3"),
        ("#2", "Person 2", "2"),
        ("#3", "Person 3", "1"),
    ]
    links = await read_csv(client, "links", "show=relationships")
    assert [tuple(row.values()) for row in links] == [
        ("#1", "#2", "FRIEND MENTORED", "2"),
        ("#3", "#1", "MENTORED", "1"),
    ]
    html = (await client.get(f"{PATH}?show=relationships")).text
    assert "Person 1, active: 3 links" in html
    assert "FRIEND, MENTORED" in html


# Walking


async def test_a_walk_shows_who_is_within_its_steps_and_all_links_between_them(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number in range(1, 6):
        await person(directory, number, invited_by=f"#{number - 1}" if number > 1 else None)
    for one, other in ((1, 2), (3, 2), (3, 4), (4, 5), (4, 1)):
        await link(directory, one, other)
    asked = "show=relationships&around="
    assert await people_of(client, f"{asked}2&steps=1") == {"1", "2", "3"}
    assert await people_of(client, f"{asked}%232") == {"1", "2", "3", "4"}
    assert await links_of(client, f"{asked}2") == {"#1 #2", "#3 #2", "#3 #4", "#4 #1"}
    assert await people_of(client, "around=2") == {"1", "2", "3", "4"}
    assert await people_of(client, "around=2&steps=3") == {"1", "2", "3", "4", "5"}


async def test_a_walk_draws_the_nearest_people_if_there_are_too_many(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await person(directory, 1)
    for number in range(2, 6):
        await person(directory, number, invited_by="#1")
    await person(directory, 6, invited_by="#5")
    monkeypatch.setattr(network_links, "MAX_NODES", 4)
    assert await people_of(client, "around=6&steps=2") == {"1", "5", "6"}
    assert await people_of(client, "around=6&steps=3") == {"1", "2", "5", "6"}
    assert "the nearest" in (await client.get(f"{PATH}?around=6&steps=3")).text


async def test_each_person_leads_to_their_page_and_to_a_walk(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number in (1, 2):
        await person(directory, number)
    await link(directory, 1, 2)
    html = unescape((await client.get(f"{PATH}?show=relationships&role=developer&period=90")).text)
    table = html[html.index("<table") :]
    for number in (1, 2):
        assert f'href="/people/{number}/"' in table
        walk = f"{PATH}?around={number}&show=relationships&period=90"
        assert f'href="{walk}"' in table
        shown = (await client.get(walk)).text
        assert f'Who is linked with whom: <a href="/people/{number}/">' in shown


async def test_a_person_without_links_is_drawn_alone(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await person(directory, 1)
    assert await people_of(client, "around=1") == {"1"}
    assert "There are no links between them." in (await client.get(f"{PATH}?around=1")).text


@pytest.mark.parametrize(
    "query",
    [
        *("show=all", "steps=4", "by=name", "year=20x6", "year=9999"),
        *("show=relationships&type=FRIEND", "show=relationships&type=%00"),
    ],
)
async def test_an_address_that_asks_for_nothing_known_says_so(
    client: httpx.AsyncClient, directory: asyncpg.Pool, query: str
) -> None:
    response = await client.get(f"{PATH}?{query}")
    heading = {400: "The address has a mistake", 404: "There is no such page"}
    assert heading[response.status_code] in response.text


async def test_a_walk_begins_with_a_name_or_an_account_and_a_miss_is_told_on_the_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await person(directory, 1, name="Maya Cohen", telegram_username="maya")
    await person(directory, 2, name="Maya Brooks", invited_by="#1")
    await person(directory, 3, name="Ana", invited_by="#2")
    for text in ("Maya Cohen", "cohen", "@maya", "%231", "1"):
        page = (await client.get(f"{PATH}?around={text}&steps=1")).text
        assert "<bdi>Around Maya Cohen</bdi>" in page
        assert await people_of(client, f"around={text}&steps=1") == {"1", "2"}
    for text, sentence in (("zoe", "There is no member zoe."), ("may", "Several members match")):
        response = await client.get(f"{PATH}?around={text}&period=all")
        assert response.status_code == 422
        assert sentence in response.text
        assert f'name="around" value="{text}"' in response.text
        assert response.text.count("data-people=") == 3  # everybody
    assert f'href="{PATH}?around=2&period=all"><bdi>Maya Brooks</bdi> #2' in unescape(response.text)
    assert (await client.get(f"{PATH}links.csv?around=zoe")).status_code == 404


async def test_people_are_called_as_on_the_other_pages(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await person(directory, 1, primary_role="community_manager")
    await person(directory, 2, invited_by="#1", status="not_member", primary_role="falconer")
    page = (await client.get(PATH)).text
    assert "Contact</span>" in page
    assert "Not member" not in page
    assert "compared with" not in page  # nothing is
    client.headers["Accept-Language"] = "es"
    for path in (PATH, "/people/", "/people/1/"):
        page = (await client.get(path)).text
        assert "<bdi>gestión de comunidades</bdi>" in page, path
    assert "<bdi>falconer</bdi>" in (await client.get(PATH)).text


# Groups


async def add_groups(directory: asyncpg.Pool) -> None:
    """Add six people in three roles and two countries, of whom one has no link."""
    columns: list[dict[str, object]] = [
        {"primary_role": "developer", "country": "Peru", "organization": "Bees"},
        {"primary_role": "developer", "country": "Peru", "reputation_score": 300},
        {"primary_role": "designer", "country": "Chile", "joined_at": NOW - 800 * DAY},
        {"primary_role": "designer", "organization": "Bees"},
        {"primary_role": "writer", "country": "Chile"},
        {"primary_role": "writer", "country": "Chile", "status": "pending"},
    ]
    for number, each in enumerate(columns, start=1):
        await person(directory, number, invited_by="#1" if number > 1 else None, **each)
    await person(directory, 7, primary_role="writer", country="Chile", status="banned")
    for one, other in ((1, 2), (1, 3), (2, 3), (4, 3), (5, 1), (7, 1)):
        await link(directory, one, other)


async def test_groups_have_their_links_inside_and_to_others(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_groups(directory)
    monkeypatch.setattr(network_links, "MAX_NODES", 4)
    assert [tuple(row.values()) for row in await read_csv(client, "nodes", "by=role")] == [
        ("designer", "2", "0", "2"),
        ("developer", "2", "1", "4"),
        ("writer", "2", "0", "2"),
    ]
    rows = await read_csv(client, "nodes", "show=relationships&by=role")
    assert [tuple(row.values()) for row in rows] == [
        ("designer", "2", "1", "2"),
        ("developer", "2", "1", "3"),
        ("writer", "2", "0", "1"),
    ]
    rows = await read_csv(client, "links", "show=relationships&by=role")
    assert {(row["source"], row["target"]): row["links"] for row in rows} == {
        ("developer", "designer"): "2",
        ("writer", "developer"): "1",
    }
    html = (await client.get(f"{PATH}?show=relationships&by=role")).text
    assert "More than 500 people are linked" in html
    assert "1 relationship is left out" in html


@pytest.mark.parametrize("by", ["role", "country", "organization", "tier", "year"])
@pytest.mark.parametrize("kind", ["relationships", "invitations"])
async def test_the_number_of_a_group_leads_to_exactly_its_people(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
    kind: str,
) -> None:
    await add_groups(directory)
    monkeypatch.setattr(network_links, "MAX_NODES", 2)
    within = "&country=Chile" if by != "country" else ""
    for chosen in ("", within):
        monkeypatch.setattr(network_links, "MAX_NODES", 1 if chosen else 2)
        response = await client.get(f"{PATH}?show={kind}&by={by}{chosen}")
        html = unescape(response.text)
        found = re.findall(r'class="count-link" href="(/people/\?[^"]+)">([\d,]+)<', html)
        assert found or chosen
        for address, number in found:
            filters = dict(parse_qsl(urlsplit(address).query))
            assert by == "year" or by in filters
            assert await people.count(**filters) == int(number) > 0


async def test_a_group_opens_to_its_people_or_to_groups_by_something_else(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_groups(directory)
    asked = "show=relationships&role=developer"
    assert await people_of(client, asked) == {"1", "2"}
    assert await links_of(client, asked) == {"#1 #2"}
    monkeypatch.setattr(network_links, "MAX_NODES", 1)
    html = unescape((await client.get(f"{PATH}?show=relationships")).text)
    assert f'href="{PATH}?{asked}"' in html
    html = unescape((await client.get(f"{PATH}?{asked}")).text)
    assert f'href="{PATH}?{asked}&country=Peru"' in html
    assert 'aria-label="Take away: developer"' in html
    assert '<option value="role"' not in html
    everything = "&country=Peru&organization=Bees&tier=Novice&year="
    year = (NOW - 100 * DAY).year
    assert await people_of(client, f"role=developer{everything}{year}") == set()


async def test_only_the_largest_groups_are_drawn(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_groups(directory)
    await person(directory, 8, primary_role="writer")
    await link(directory, 8, 4)
    monkeypatch.setattr(network_links, "MAX_NODES", 2)
    monkeypatch.setattr(network_links, "MAX_GROUPS", 2)
    rows = await read_csv(client, "nodes", "show=relationships")
    assert [tuple(row.values()) for row in rows] == [
        ("writer", "3", "0", "2"),
        ("designer", "2", "1", "3"),
    ]
    html = (await client.get(f"{PATH}?show=relationships")).text
    assert "The 2 largest of 3 groups are drawn." in html
    assert "1 relationship is left out" in html


@pytest.mark.parametrize("query", ["", "&country=Peru", "&period=90"])
async def test_links_of_many_relationships_are_estimated_from_a_sample(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
) -> None:
    """Each second relationship is from a developer to a designer, and each fourth is nobody's."""
    await directory.execute(
        """INSERT INTO community_members (member_id, telegram_id, name, primary_role, country)
        SELECT '#' || n, 7000 + n, 'Person ' || n, CASE n % 2 WHEN 0 THEN 'designer'
            ELSE 'developer' END, 'Peru'
        FROM generate_series(1, 400) AS n"""
    )
    await directory.execute(
        """INSERT INTO member_relationships
            (id, entity_id_a, entity_id_b, relationship_type, created_at)
        SELECT md5(n::text)::uuid, '#' || 2 * n - 1,
            CASE n % 4 WHEN 0 THEN 'nobody' WHEN 1 THEN '#' || 2 * n + 1 ELSE '#' || 2 * n END,
            'MENTORED', now() - interval '1 day'
        FROM generate_series(1, 200) AS n"""
    )
    monkeypatch.setattr(network_links, "MAX_NODES", 20)
    monkeypatch.setattr(network_links, "MAX_LISTED_PEOPLE", 10)
    asked = f"show=relationships&by=role{query}"
    [link] = await read_csv(client, "links", asked)
    assert (link["source"], link["target"], link["links"]) == ("developer", "designer", "100")
    assert "estimated" not in (await client.get(f"{PATH}?{asked}")).text
    monkeypatch.setattr(network_links, "SAMPLE_SIZE", 100)
    [link] = await read_csv(client, "links", asked)
    assert 70 <= int(link["links"]) <= 130
    designers, developers = await read_csv(client, "nodes", asked)
    assert (designers["people"], developers["people"]) == ("200", "200")
    assert 25 <= int(developers["links_inside"]) <= 75
    assert int(developers["links_across"]) == int(link["links"])
    html = (await client.get(f"{PATH}?{asked}")).text
    assert "The numbers of links are estimated" in html
    assert "left out" not in html


async def test_few_links_among_many_relationships_are_drawn(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        await person(directory, number)
    for number in range(10, 16):
        await link(directory, 1, number)
    await link(directory, 1, 2)
    await link(directory, 2, 3)
    monkeypatch.setattr(network_links, "SAMPLE_SIZE", 4)
    assert await links_of(client) == {"#1 #2", "#2 #3"}


async def test_many_people_are_drawn_one_by_one_up_to_the_limit(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await person(directory, 1)
    await directory.execute(
        f"""INSERT INTO community_members (member_id, telegram_id, name, primary_role, status,
            invited_by)
        SELECT '#' || n, 7000 + n, 'Person ' || n, 'writer', 'active', '#1'
        FROM generate_series(2, {MAX_NODES + 1}) AS n"""
    )
    assert (await client.get(PATH)).text.count("<circle") < 10  # the groups
    await directory.execute("UPDATE community_members SET status = 'banned' WHERE member_id = '#9'")
    assert (await client.get(PATH)).text.count("data-people=") == MAX_NODES


# The picture


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60),
    st.none() | st.integers(0, 30),
)
def test_every_node_has_a_point_in_the_picture(
    numbers: list[tuple[int, int]], start: int | None
) -> None:
    links = [(str(one), str(other)) for one, other in numbers]
    names = [str(number) for number in range(31)]
    points = place_on_rings(names, links, None if start is None else str(start))
    assert points.keys() == set(names)
    for x, y in points.values():
        assert abs(x) <= WIDTH / 2
        assert abs(y) <= HEIGHT / 2


def test_a_tree_is_drawn_from_the_middle_in_rings() -> None:
    points = place_on_rings(["a", "b", "c", "d"], [("a", "b"), ("a", "c"), ("c", "d")], "a")
    assert points["a"] == (0, 0)
    [b, c, d] = [abs(complex(x / WIDTH, y / HEIGHT)) for x, y in (points[name] for name in "bcd")]
    assert max(b, c) < d
    assert len(set(points.values())) == 4


async def test_hostile_names_are_only_text(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number, name in enumerate(HOSTILE, start=1):
        await person(directory, number, name=name, primary_role=name[:50], country=name[:50])
        if number > 1:
            await link(directory, 1, number)
    html = (await client.get(f"{PATH}?show=relationships")).text
    assert html.count("<script") == html.count("<script src=")
    assert "<img" not in html
    assert "49" not in re.findall(r"<title>[^<]*</title>", html)
    assert unescape(html).count("{{ 7 * 7 }}") >= 2


# In a browser


@pytest.fixture
async def picture(page: Page, directory: asyncpg.Pool) -> Page:
    """The picture of three people in a row, reached by a click, without a reload."""
    for number, name in enumerate(("Ana", "<b>Bea</b>", "Chidi"), start=1):
        await person(directory, number, name=name)
    await link(directory, 1, 2)
    await link(directory, 2, 3)
    await page.goto("/")
    await page.get_by_role("navigation", name="Main").get_by_text("Insights").click()
    await page.get_by_role("link", name="Network").click()
    await page.get_by_role("link", name="Relationships").click()
    await expect(page.locator(".network[data-ready]")).to_be_visible()
    return page


@pytest.mark.browser
async def test_a_node_says_who_it_is_and_leads_on(picture: Page) -> None:
    node = picture.locator(".network svg a", has_text="Ana")
    await node.locator("circle").click()
    chosen = picture.locator(".chosen")
    await expect(chosen).to_contain_text("Ana, active: 1 link")
    await expect(chosen.get_by_role("link", name="Walk from here")).to_be_focused()
    await expect(chosen.get_by_role("link", name="Open the person")).to_have_attribute(
        "href", "/people/1/"
    )
    await expect(picture.locator("path.near")).to_have_attribute("d", re.compile("^M[^M]+$"))
    await picture.get_by_label("Steps").select_option("1")
    await chosen.get_by_role("link", name="Walk from here").click()
    await expect(picture.get_by_role("heading", name="Ana")).to_be_visible()
    await expect(picture.locator(".network svg a.here")).to_have_text(re.compile("Ana"))


# The names of the picture that cover each other.
COVERED = """
(() => {
    const boxes = [...document.querySelectorAll(".network svg a.named text")]
        .map(text => text.getBoundingClientRect());
    return boxes.filter((one, at) => boxes.slice(at + 1).some(other =>
        one.left < other.right && other.left < one.right
        && one.top + 3 < other.bottom && other.top + 3 < one.bottom)).length;
})()
"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
async def test_the_shown_names_do_not_cover_each_other(
    page: Page, directory: asyncpg.Pool, width: int
) -> None:
    await person(directory, 1, name="Maya Cohen")
    for number in range(2, 150):
        inviter = f"#{(number + 4) // 5}"
        await person(directory, number, name=f"Somebody {number}", invited_by=inviter)
    await page.emulate_media(reduced_motion="reduce")
    await page.set_viewport_size({"width": width, "height": 844})
    await page.goto(PATH)
    await expect(page.locator(".network[data-ready]")).to_be_visible()
    for _ in range(3):
        assert await page.locator(".network svg a.named").count() >= 5
        assert await page.evaluate(COVERED) == 0
        await page.get_by_role("button", name="Zoom in").click()
    hidden = page.locator(".network svg a:not(.named)").last
    await hidden.locator("circle").dispatch_event("click")
    await expect(hidden.locator("text")).to_be_visible()


@pytest.mark.browser
async def test_the_picture_is_zoomed_and_its_nodes_are_dragged(picture: Page) -> None:
    svg = picture.locator(".pane svg")
    before = await svg.evaluate("svg => svg.clientWidth")
    await picture.get_by_role("button", name="Zoom in").click()
    assert await svg.evaluate("svg => svg.clientWidth") > before
    await picture.get_by_role("button", name="Zoom out").click()
    assert await svg.evaluate("svg => svg.clientWidth") == before
    await picture.wait_for_timeout(300)
    circle = picture.locator(".network svg a", has_text="Chidi").locator("circle")
    box = await circle.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await picture.mouse.move(x, y)
    await picture.mouse.down()
    await picture.mouse.move(x + 60, y + 40, steps=5)
    await picture.mouse.up()
    await expect(picture.locator(".chosen")).to_be_hidden()
    moved = await circle.bounding_box()
    assert moved
    assert abs(moved["x"] - box["x"] - 60) < 12


@pytest.mark.browser
async def test_a_group_is_opened_in_the_picture(
    page: Page, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_groups(directory)
    monkeypatch.setattr(network_links, "MAX_NODES", 2)
    await page.goto(f"{PATH}?show=relationships")
    await page.locator(".network svg a", has_text="developer").locator("circle").click()
    await page.locator(".chosen").get_by_role("link", name="Open the group").click()
    await expect(page.locator(".network svg a")).to_have_count(2)
    await expect(page.get_by_role("link", name="Take away: developer")).to_be_visible()
