"""The lists of the panel in tables that are too large to be read from one end to the other."""

import uuid
from collections.abc import AsyncIterator, Mapping

import asyncpg
import httpx
import pytest

from community_directory.database import connect
from community_directory.queries import members
from community_directory.web.admin import large_tables, listing
from tests.conftest import Server, new_database, raw_pool, run_sql
from tests.roles import app_url

LOAD = """
INSERT INTO community_members (telegram_id, telegram_username, name, primary_role, country,
    organization, status, created_at, last_active_at, reputation_score)
SELECT (1000 + n)::text, CASE WHEN n % 2 = 0 THEN 'user' || n END, 'García ' || n,
    CASE n % 50 WHEN 0 THEN 'designer' ELSE 'developer' END,
    CASE n % 3 WHEN 0 THEN 'Perú' WHEN 1 THEN 'Chile' END,
    CASE WHEN n > 2995 THEN 'Frutero' ELSE 'Studio' END,
    CASE n % 100 WHEN 0 THEN 'pending' ELSE 'active' END,
    timestamptz '2026-01-01 00:00Z' + n * interval '1 s',
    timestamptz '2026-01-01 00:00Z' + n * interval '1 s', n
FROM generate_series(1, 3000) AS n;
INSERT INTO community_invitations (invitation_code, created_by, invited_telegram_username)
SELECT 'CODE' || 10000 + n, '#1', 'guest' || n FROM generate_series(1, 300) AS n;
INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id)
SELECT '#1', CASE n % 2 WHEN 0 THEN 'VOICE' ELSE 'MESSAGE' END,
    CASE n % 3 WHEN 0 THEN 'discord' ELSE 'telegram' END, '-100' || n % 4, n::text
FROM generate_series(1, 300) AS n;
"""
# The triggers keep the last superuser.
DELETE_ADDED_ROWS = """
SET session_replication_role = replica;
DELETE FROM sessions;
DELETE FROM piccolo_user;
DELETE FROM member_daily_highlights;
DELETE FROM community_members WHERE telegram_id LIKE '9%';
"""
# Newer than all others, without triggers.
ADD_REMOVED_BOTS = """
SET session_replication_role = replica;
INSERT INTO community_members (member_id, telegram_id, name, primary_role, is_bot, deleted_at)
SELECT '#' || 90000 + n, (90000 + n)::text, 'Robot', 'developer', n % 2 = 0,
    CASE WHEN n % 2 = 1 THEN now() END
FROM generate_series(1, 200) AS n;
"""
TABLES = ("community_members", "community_invitations", "member_participation")


@pytest.fixture(scope="module")
async def community(server: Server, template: str) -> AsyncIterator[str]:
    """Yield the URL of a database with 3,000 members, invitations and events; #7 is removed.

    It is this module's own, because statistics would change the counts of other tests.
    """
    async with new_database(server, template) as url:
        await run_sql(url, LOAD)
        async with connect(url, min_size=0):
            await members.remove("#7", actor="test")
        await run_sql(url, "ANALYZE")
        yield url


@pytest.fixture
async def directory(community: str) -> AsyncIterator[asyncpg.Pool]:
    """Connect the query helpers to the community; the rows that a test adds are deleted."""
    async with connect(app_url(community), min_size=0), raw_pool(community) as pool:
        yield pool
        await pool.execute(DELETE_ADDED_ROWS)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every table for a large one."""
    monkeypatch.setattr(listing, "MAX_UNINDEXED_ROWS", 1)
    monkeypatch.setattr(listing, "MAX_UNPLANNED_ROWS", 1)


async def ask(client: httpx.AsyncClient, table: str, **query: str) -> httpx.Response:
    return await client.get(f"/api/tables/{table}/", params=query)


async def refusal(client: httpx.AsyncClient, table: str, **query: str) -> str:
    """Return the message of a refused list, and check that its count is no error."""
    response = await ask(client, table, **query)
    assert response.status_code == 400, response.text
    filters = {name: value for name, value in query.items() if not name.startswith("__")}
    count = await client.get(f"/api/tables/{table}/count/", params=filters)
    assert count.status_code == 200
    return str(response.json()["detail"])


@pytest.mark.parametrize(
    ("table", "filters"),
    [
        ("community_members", {"telegram_id": "1042"}),
        ("community_members", {"member_id": "2042"}),
        ("community_members", {"country": "per"}),
        ("community_members", {"country": "PERU", "primary_role": "sign"}),
        ("community_members", {"country": "nowhere"}),
        ("community_members", {"primary_role": "dev", "primary_role__match": "starts"}),
        ("community_members", {"name": "García 2042", "name__match": "exact"}),
        ("community_members", {"name": "garcia 204"}),
        ("community_members", {"name": "ga"}),
        ("community_members", {"name": "garcia", "status": "pending"}),
        ("community_members", {"telegram_username": "@USER42"}),
        ("community_members", {"organization": "frutero"}),
        ("community_members", {"name": "garcia", "deleted_at__operator": "not_null"}),
        ("community_members", {"name": "a", "deleted_at__operator": "is_null"}),
        ("community_members", {"reputation_score": "2990", "reputation_score__operator": "gt"}),
        ("community_members", {"created_at": "2026-01-01T00:00:05Z", "created_at__operator": "lt"}),
        ("community_invitations", {"invitation_code": "code-10042"}),
        ("community_invitations", {"invited_telegram_username": "@Guest42"}),
        ("community_invitations", {"status": "pending"}),
        ("member_participation", {"event_type": "voi"}),
        ("member_participation", {"platform": "disc", "room_id": "1003"}),
        ("member_participation", {"room_id": "-1003", "room_id__match": "exact"}),
    ],
    ids=str,
)
async def test_a_filter_of_a_large_table_finds_the_rows_that_it_finds_in_a_small_one(
    client: httpx.AsyncClient,
    request: pytest.FixtureRequest,
    table: str,
    filters: Mapping[str, str],
) -> None:
    small = await ask(client, table, **filters)
    assert small.status_code == 200
    request.getfixturevalue("large")
    large = await ask(client, table, **filters)
    assert large.json() == small.json()


@pytest.mark.parametrize(
    ("table", "filters"),
    [
        ("community_members", {"telegram_id": "104"}),
        ("community_members", {"member_id": "9999"}),
        ("community_members", {"registration_fee_tx_hash": "0x"}),
        ("community_invitations", {"invitation_code": "CODE1"}),
        ("community_invitations", {"invited_telegram_username": "guest"}),
    ],
    ids=str,
)
async def test_a_part_of_an_identifier_is_not_looked_for_in_a_large_table(
    client: httpx.AsyncClient, large: None, table: str, filters: Mapping[str, str]
) -> None:
    assert "Type the whole text, or choose another filter." in await refusal(
        client, table, **filters
    )


async def test_a_column_with_many_values_is_filtered_by_a_whole_one(
    client: httpx.AsyncClient, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_tables, "MAX_DISTINCT_VALUES", 1)
    assert "Type the whole text" in await refusal(client, "community_members", country="per")
    found = await ask(client, "community_members", country="Perú")
    assert len(found.json()["rows"]) == 15


async def test_an_order_or_a_page_that_reads_too_much_is_refused(
    client: httpx.AsyncClient, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_PLANNED_COST", 50)
    for query in ({"__order": "organization"}, {"__page": "200"}):
        sentence = await refusal(client, "community_members", **query)
        assert sentence == (
            "About 3,000 rows are too many for this order, filter or page. Add a filter, or sort by"
            " “Added at”."
        )
    for query in ({}, {"__order": "-reputation_score"}, {"telegram_id": "1042", "__order": "name"}):
        assert (await ask(client, "community_members", **query)).status_code == 200


async def test_a_rare_number_is_looked_for_among_the_first_rows_only(
    client: httpx.AsyncClient, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_WALKED_ROWS", 100)
    old = {"last_active_at": "2026-01-01T00:30:00Z", "last_active_at__operator": "lt"}
    sentence = await refusal(client, "community_members", **old)
    assert sentence.startswith("Few of the first 100 rows match")
    new = {**old, "last_active_at__operator": "gt"}
    assert len((await ask(client, "community_members", **new)).json()["rows"]) == 15


@pytest.mark.parametrize("people", [{"is_bot": "false"}, {"deleted_at__operator": "is_null"}])
async def test_a_filter_for_those_whom_a_list_has_anyway_skips_no_others(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    large: None,
    monkeypatch: pytest.MonkeyPatch,
    people: dict[str, str],
) -> None:
    monkeypatch.setattr(listing, "MAX_WALKED_ROWS", 0)  # 50 for the only row of the page
    await directory.execute(ADD_REMOVED_BOTS)
    response = await ask(client, "community_members", __page_size="1", **people)
    assert [row["name"] for row in response.json()["rows"]] == ["García 3000"]


async def test_a_text_that_other_columns_contain_often_is_refused_in_a_rare_one(
    client: httpx.AsyncClient, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_COMPARED_TEXTS", 100)
    monkeypatch.setattr(listing, "MAX_CANDIDATES", 10)
    sentence = await refusal(client, "community_members", telegram_username="garcia")
    assert sentence == "Few of very many rows have this text here. Type more of it."
    assert len((await ask(client, "community_members", name="garcia")).json()["rows"]) == 15


async def test_an_estimated_number_is_marked(
    client: httpx.AsyncClient, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/api/tables/community_members/count/"
    exact = await client.get(path, params={"country": "Perú"})
    assert exact.json() == {"count": 1000, "page_size": 15}
    monkeypatch.setattr(listing, "MAX_PLANNED_COST", 1)
    estimated = await client.get(path, params={"country": "Perú"})
    assert estimated.json() == {
        "count": pytest.approx(1000, rel=0.2),
        "page_size": 15,
        "is_estimate": True,
    }


async def test_highlights_are_paged_by_their_unique_index(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        """INSERT INTO member_daily_highlights (member_id, highlight_date)
        SELECT '#' || 1 + n % 30, date '2026-01-01' + n / 30 FROM generate_series(0, 119) AS n"""
    )
    for order in ("-highlight_date,-member_id", "highlight_date", "-highlight_date", "member_id"):
        pages = [
            await ask(client, "member_daily_highlights", __order=order, __page=str(page))
            for page in range(1, 9)
        ]
        keys = [row["id"] for page in pages for row in page.json()["rows"]]
        assert len(keys) == len(set(keys)) == 120
        assert all(uuid.UUID(key) for key in keys)


async def test_the_values_of_a_column_are_found_by_jumps_in_its_index(
    directory: asyncpg.Pool,
) -> None:
    found = await large_tables.find_values(
        "member_participation", ("platform", "room_id"), "this.room_id LIKE $1", ["%3"]
    )
    assert found == [("discord", "-1003"), ("telegram", "-1003")]
