"""The Log: acts in words, its filters, its pages, and what exactly was changed."""

import html
import re
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser

from community_directory.calendar import load_zone
from community_directory.database import transaction
from community_directory.queries import acts, invitations, members, notes
from community_directory.queries.audit import ChangeKind
from community_directory.web.workspace import log_entries
from community_directory.web.workspace.log import KIND_NAMES
from tests.tables import rows
from tests.web.conftest import session_of
from tests.zones import use_zone

HOSTILE = "<img src=x onerror=alert(1)>"


def text_of(markup: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", markup))).strip()


async def read(client: httpx.AsyncClient, query: str = "") -> str:
    response = await client.get(f"/log/{query}")
    assert response.status_code == 200
    return response.text


def sentences(page: str) -> list[str]:
    """Return the sentences of a page, without times and details."""
    return [text_of(line) for line in re.findall(r"</time><div>(.*?)\n", page)]


async def write_entry(directory: asyncpg.Pool, **columns: object) -> asyncpg.Record:
    """Insert an entry of the log: Irene changed the country of #1, unless columns say otherwise."""
    defaults = {"actor": "Irene", "changes": {"country": ["Chile", "Peru"]}}
    return await rows.audit_entry(directory, **(defaults | columns))


@pytest.fixture
async def people(directory: asyncpg.Pool) -> None:
    """Ana is #1, Bea is #2, Carla and Dora wait; the log is empty."""
    for name, status in (
        ("Ana", "active"),
        ("Bea", "active"),
        ("Carla", "pending"),
        ("Dora", "pending"),
    ):
        await rows.member(directory, name=name, status=status)
    await directory.execute("TRUNCATE directory_audit_log")


@pytest.mark.usefixtures("people")
async def test_the_log_tells_acts_in_words_newest_first(client: httpx.AsyncClient) -> None:
    await acts.apply("approve", ["#3", "#4"], actor="Irene", reason="met in Lima")
    await members.set_status("#1", "banned", actor="Luis")
    page = await read(client)
    assert sentences(page) == ["Luis banned Ana", "Irene approved Dora and 1 more"]
    assert "“met in Lima”" in page
    assert '<h2 id="day-1">' in page


@pytest.mark.usefixtures("people")
async def test_yesterday_by_luis_takes_two_clicks(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "America/Lima")
    midnight = datetime.combine(
        datetime.now(ZoneInfo("America/Lima")).date(), datetime.min.time(), load_zone(None)
    )
    await BaseUser.create_user(
        "Luis", "long enough for this", email="l@directory.example", active=True, admin=True
    )
    for moment, actor, country in (
        (midnight, "luis", "today"),
        (midnight - timedelta(microseconds=1), "luis", "last"),
        (midnight - timedelta(days=1), "Luis", "first"),
        (midnight - timedelta(days=1), "Irene", "of Irene"),
        (midnight - timedelta(days=1, microseconds=1), "Luis", "before"),
    ):
        changes = {"country": [None, country]}
        await write_entry(directory, changed_at=moment, actor=actor, changes=changes)
    page = await read(client)
    by_luis = re.search(r'href="([^"]+)"[^>]*><bdi>Luis</bdi>', page)
    assert by_luis is not None
    page = await read(client, html.unescape(by_luis[1]))
    yesterday = re.search(r'href="([^"]+)"[^>]*>\s*Yesterday', page)
    assert yesterday is not None
    assert sentences(await read(client, html.unescape(yesterday[1]))) == [
        "luis set the country of Ana to last",
        "Luis set the country of Ana to first",
    ]


@pytest.mark.usefixtures("people")
async def test_a_person_has_the_changes_of_their_invitations_and_merged_numbers(
    client: httpx.AsyncClient,
) -> None:
    await invitations.create(created_by="#1", telegram_username="dora_d")
    await members.update_profile("#2", country="Peru", actor="Irene")
    await members.remove("#2", actor="Irene")
    assert sentences(await read(client, "?person=1")) == ["Ana invited @dora_d"]
    removed = sentences(await read(client, "?person=%232"))
    assert removed == ["Irene removed Bea", "Irene set the country of Bea to Peru"]
    await members.restore("#2", actor="Irene")
    await members.merge("#2", into="#1", actor="Irene")
    found = sentences(await read(client, "?person=2"))
    assert "Irene set the country of Bea to Peru" in found
    assert "Ana invited @dora_d" in found
    assert (await client.get("/log/?person=99")).status_code == 404


@pytest.mark.parametrize("hours", [1, 0])
@pytest.mark.usefixtures("people")
async def test_a_kind_is_found_among_others_and_further_back(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
) -> None:
    monkeypatch.setattr(log_entries, "MAX_SEARCHED", 4)
    now = datetime.now(UTC)
    for age in range(10):  # in ten transactions, or in one that is larger than a search
        await write_entry(directory, changed_at=now - timedelta(hours=age * hours))
    await write_entry(
        directory,
        changed_at=now - timedelta(hours=11),
        changes={"deleted_at": [None, "2026-11-29T00:00:00+00:00"]},
    )
    await write_entry(
        directory,
        changed_at=now - timedelta(hours=12),
        changes={"status": ["active", "banned"]},
    )
    assert sentences(await read(client, "?kind=member_banned")) == ["Irene banned Ana"]
    query, seen, pages = "?kind=member_removed", [], 0
    while True:
        page = await read(client, query)
        pages += 1
        seen += sentences(page)
        further = re.search(r'href="(\?[^"]+)">Search further back', page)
        if further is None:
            break
        query = html.unescape(further[1])
    assert (seen, pages) == (["Irene removed Ana"], 3)


@pytest.mark.usefixtures("people")
async def test_pages_follow_each_other_without_a_gap_and_back(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_entries, "MOMENTS_ON_PAGE", 2)
    now = datetime.now(UTC)
    for age in range(5):
        changes = {"country": [None, f"C{age}"]}
        moment = now - timedelta(hours=age)
        await write_entry(directory, changed_at=moment, changes=changes)
        await write_entry(directory, changed_at=moment, changes=changes, member_id="#2")
    pages, link = [await read(client)], "next"
    for link in ("next", "next", "prev", "prev"):
        found = re.search(rf'href="(\?[^"]+)" rel="{link}"', pages[-1])
        assert found is not None
        pages.append(await read(client, html.unescape(found[1])))
    assert [len(sentences(page)) for page in pages] == [2, 2, 1, 2, 2]
    assert sentences(pages[3]) == sentences(pages[1])
    assert sentences(pages[4]) == sentences(pages[0])
    shown = [re.findall(r"<bdi>C\d</bdi>", page)[0] for page in pages[:3]]
    assert shown == ["<bdi>C0</bdi>", "<bdi>C2</bdi>", "<bdi>C4</bdi>"]


@pytest.mark.usefixtures("people")
async def test_a_large_transaction_is_counted_and_its_rarest_kind_is_told(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_entries, "MAX_SHOWN", 5)
    now = datetime.now(UTC)
    await write_entry(directory, changed_at=now, changes={"status": ["active", "banned"]})
    for number in range(2, 30):
        await write_entry(directory, changed_at=now, member_id=f"#{number}")
    page = await read(client)
    assert sentences(page) == ["Irene banned Ana", "Irene changed the profile of #29 and 27 more"]
    link = re.search(r'href="(/log/\?entry=\d+)">Everything', page)
    assert link is not None
    whole = (await client.get(link[1])).text
    assert len(sentences(whole)) == 5
    following = re.search(r'href="(\?entry[^"]+)" rel="next"', whole)
    assert following is not None
    assert len(sentences(await read(client, html.unescape(following[1])))) == 5


@pytest.mark.usefixtures("people")
async def test_everything_that_an_act_changed_is_one_page(client: httpx.AsyncClient) -> None:
    act = await acts.apply("approve", ["#3", "#4"], actor="Irene", reason="met in Lima")
    page = await read(client, f"?act={act.id}")
    assert sorted(sentences(page)) == ["Irene approved Carla", "Irene approved Dora"]
    assert "Irene approved Dora and 1 more" in text_of(page)
    for query in (f"?act={uuid4()}", "?act=x", "?entry=x", "?entry=0", f"?entry={10**30}"):
        assert (await client.get(f"/log/{query}")).status_code == 404


@pytest.mark.usefixtures("people")
async def test_each_line_has_the_old_and_new_values_and_only_managers_see_codes(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    made = await invitations.create(created_by="#1", telegram_username="dora_d")
    await members.set_status("#3", "active", actor="Irene")
    await notes.add("#1", HOSTILE, actor=HOSTILE)
    page = await read(client)
    assert "status pending active" in text_of(page.replace("</t", " </t"))
    assert made.invitation_code in page
    assert "<img" not in page
    assert html.escape(HOSTILE) in page
    viewer = await BaseUser.create_user(
        "viewer", "long enough for this", email="v@directory.example", active=True
    )
    await directory.execute("INSERT INTO panel_viewers (user_id) VALUES ($1)", viewer.id)
    client.cookies.set("id", await session_of(viewer))
    page = await read(client)
    assert "Ana invited @dora_d" in sentences(page)
    assert made.invitation_code not in page


@pytest.mark.usefixtures("people")
async def test_what_an_erasure_took_is_not_told(client: httpx.AsyncClient) -> None:
    await members.update_profile("#2", organization="Secret Works", actor="Irene")
    await members.erase("#2", actor="Irene")
    page = await read(client)
    assert "Secret Works" not in page
    assert sentences(page) == [
        "Irene erased the personal data of Erased member",
        "Irene changed the organization of Erased member",
    ]


@pytest.mark.parametrize("query", ["?day=x", "?after=x", "?day=2026-13-01", "?kind=x"])
async def test_a_malformed_address_gets_a_message(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/log/{query}")
    heading = {400: "The address has a mistake", 404: "There is no such page"}
    assert heading[response.status_code] in response.text


async def test_an_empty_log_says_so_in_both_languages(client: httpx.AsyncClient) -> None:
    day = date(2020, 1, 1).isoformat()
    assert "There is nothing here." in await read(client, f"?day={day}&kind=member_banned")
    client.cookies.set("language", "es")
    assert "Aquí no hay nada." in await read(client, f"?day={day}")


@pytest.mark.usefixtures("people")
async def test_a_caller_s_own_transaction_is_one_moment(client: httpx.AsyncClient) -> None:
    async with transaction():
        await members.update_profile("#1", country="Peru", actor="Irene")
        await members.update_profile("#2", country="Peru", actor="Irene")
    assert sentences(await read(client)) == ["Irene changed the profile of Bea and 1 more"]


def test_every_kind_has_a_name() -> None:
    assert set(KIND_NAMES) == set(ChangeKind)
