"""The download of a list as a CSV file: the same rows, complete, and safe to open."""

import asyncio
import contextlib
import csv
import io
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser
from playwright.async_api import Page, expect

from community_directory.calendar import today
from community_directory.database import batches, engine
from community_directory.errors import DatabaseUnavailable
from community_directory.imports import members_csv
from community_directory.imports.csv_file import format_rows
from community_directory.imports.members_csv import ImportCounts, InvalidLines
from community_directory.queries import members
from community_directory.tables import CommunityInvitation, CommunityMember
from community_directory.web.admin import download
from tests.queries.cases import all_idle
from tests.waiting import until
from tests.web.admin.panel_requests import CODE, TABLE_COLUMNS, rows
from tests.web.admin.test_browser import open_table, settle
from tests.web.conftest import add_superuser, session_of

MEMBERS = "/api/tables/community_members/csv/"


def parse(content: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a file as a spreadsheet shows them."""
    text = io.StringIO(content.decode("utf-8-sig"), newline="")
    return list(csv.DictReader(text, strict=True, delimiter=delimiter))


async def fetch_file(client: httpx.AsyncClient, table: str, **query: Any) -> list[dict[str, str]]:
    response = await client.get(f"/api/tables/{table}/csv/", params=query)
    assert response.status_code == 200, response.text
    return parse(response.content, query.get("__delimiter", ","))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch have few rows, so that a test needs few of them."""
    monkeypatch.setattr(batches, "BATCH_ROWS", 50)


@pytest.fixture
async def crowd(directory: asyncpg.Pool, small_batches: None) -> None:
    """More members than one batch and than one page of the list; one of them is removed."""
    await directory.execute(
        """INSERT INTO community_members (telegram_id, name, primary_role, country, created_at)
        SELECT n, 'Person ' || n, 'x', CASE n % 2 WHEN 0 THEN 'Perú' END,
            timestamptz '2026-01-01 00:00Z' + n % 20 * interval '1 day'
        FROM generate_series(1, 123) AS n"""
    )
    await members.remove("#7", actor="test")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, 122),
        ({"__order": "member_id"}, 122),
        ({"__order": "-country,name"}, 122),
        ({"country": "PERÚ"}, 61),
        ({"country__operator": "is_null", "__order": "-name"}, 61),
        ({"name": "person 12"}, 5),
        ({"name": "12", "name__match": "ends"}, 2),
        ({"deleted_at__operator": "not_null"}, 1),
        ({"created_at": "2026-01-02T00:00:00Z", "created_at__operator": "lt"}, 6),
    ],
)
async def test_a_file_has_all_rows_of_the_list_in_its_order(
    client: httpx.AsyncClient, crowd: None, query: dict[str, str], count: int
) -> None:
    listed = []
    for page in (1, 2):
        response = await client.get(
            "/api/tables/community_members/",
            params={**query, "__page_size": 100, "__page": page, "__visible_fields": "member_id"},
        )
        listed += [row["member_id"] for row in response.json()["rows"]]
    file = await fetch_file(client, "community_members", **query, __page=2, __page_size=5)
    assert [row["member_id"] for row in file] == listed
    assert len(file) == count


async def test_a_file_has_the_rows_of_a_view(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    for code in ("OPEN2345", "PAST2345"):
        await CommunityInvitation(invitation_code=code, created_by="#1").save()
    await directory.execute(
        """UPDATE community_invitations SET expires_at = now() - interval '1 s'
        WHERE invitation_code = 'PAST2345'"""
    )
    everything = await fetch_file(client, "community_invitations")
    assert {row["invitation_code"]: row["status"] for row in everything} == {
        "OPEN2345": "pending",
        "PAST2345": "expired",
    }


async def test_a_file_has_all_columns_or_those_that_are_named(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    (row,) = await fetch_file(client, "community_members")
    columns = {column._meta.name for column in CommunityMember._meta.columns}
    assert row.keys() == columns - {"reputation_shortfall", "reputation_withheld"}
    (row,) = await fetch_file(client, "community_members", __visible_fields="name,member_id")
    assert list(row.items())[:2] == [("name", "Ana García"), ("member_id", "#1")]
    # With the time of the last edit an import notices the edits that were made since.
    assert row.keys() == {"name", "member_id", "updated_at"}
    (row,) = await fetch_file(client, "directory_audit_log", __visible_fields="actor")
    assert row.keys() == {"actor"}
    (row,) = await rows(client, "community_members", __page_size="1000")
    assert "profile_data" not in row


async def test_no_cell_is_a_formula_and_nothing_is_an_empty_cell(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    texts = ['=HYPERLINK("http://x.example","y")', "+1+1", "-1", "@a", "＝1", "\t=1", "a;=1\n=2"]
    for number, text in enumerate(texts, 1):
        await members.add(telegram_id=str(number), name="Ana", primary_role="x", organization=text)
    file = await fetch_file(client, "community_members", __order="member_id")
    assert [row["organization"] for row in file] == [
        *(f"'{text}" for text in texts[:-1]),
        texts[-1],
    ]
    for row in file:
        assert not any(cell.lstrip().startswith(tuple("=+-@＝")) for cell in row.values())
        assert row["country"] == row["invited_by"] == row["profile_data"] == ""


@pytest.mark.parametrize("delimiter", [",", ";"])
async def test_a_file_is_utf_8_with_a_mark_and_the_chosen_delimiter(
    client: httpx.AsyncClient, ana: CommunityMember, delimiter: str
) -> None:
    updated_at = (await members.get("#1")).updated_at
    query = {"__visible_fields": "member_id,updated_at,name", "__delimiter": delimiter}
    response = await client.get(MEMBERS, params=query)
    assert response.content.decode() == "\ufeff" + format_rows(
        [["member_id", "updated_at", "name"], ["#1", updated_at, "Ana García"]], delimiter=delimiter
    )
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == (
        f'attachment; filename="community_members-{today()}.csv"'
    )
    assert response.headers["cache-control"] == "no-store"


async def test_a_list_without_rows_is_a_header(client: httpx.AsyncClient) -> None:
    response = await client.get(MEMBERS, params={"__visible_fields": "updated_at"})
    assert response.content.decode() == '\ufeff"updated_at"\r\n'


async def test_a_reference_is_a_number_with_the_name_beside_it_on_request(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    (row,) = await fetch_file(client, "community_invitations")
    assert (row["created_by"], row["accepted_by"]) == ("#1", "")
    assert "created_by_readable" not in row
    (row,) = await fetch_file(client, "community_invitations", __readable="true")
    assert (row["created_by"], row["created_by_readable"]) == ("#1", "#1 Ana García")
    assert row["accepted_by_readable"] == ""


async def test_every_table_can_be_downloaded(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    for table, _ in TABLE_COLUMNS:
        await fetch_file(client, table, __readable="true")


# Access


async def test_only_those_who_see_a_list_can_download_it(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await BaseUser.update({BaseUser.superuser: False}).where(BaseUser.username == "manager")
    assert (await client.get(MEMBERS)).status_code == 200
    for table in ("piccolo_user", "sessions"):
        response = await client.get(f"/api/tables/{table}/csv/")
        assert response.status_code == 403
        assert response.json()["detail"] == "Only a superuser may see who can enter the panel."
    client.cookies.delete("id")
    assert (await client.get(MEMBERS)).status_code == 401


async def test_no_file_has_a_password_or_a_token(client: httpx.AsyncClient) -> None:
    for table, secret in (("piccolo_user", "password"), ("sessions", "token")):
        assert secret not in (await fetch_file(client, table))[0]
        query = {"__visible_fields": secret}
        response = await client.get(f"/api/tables/{table}/csv/", params=query)
        assert (response.status_code, response.json()) == (
            400,
            {"detail": f"There is no column {secret}."},
        )


@pytest.mark.parametrize(
    "query",
    [
        "__order=nothing",
        "__visible_fields=name,secret",
        "__nothing=1",
        "__delimiter=x",
        "__delimiter=,;",
        "__readable=AAA",
        "__readable=True",
        "__delimiter=,&__delimiter=;",
        "nothing=1",
        "created_at=yesterday",
        "name=%00",
    ],
)
async def test_an_invalid_query_is_refused_with_a_message(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"{MEMBERS}?{query}")
    assert response.status_code == 400, response.text
    assert response.json()["detail"].endswith(".")


async def test_a_file_is_only_read(client: httpx.AsyncClient, crowd: None) -> None:
    for method in ("POST", "PATCH", "DELETE", "PUT"):
        assert (await client.request(method, MEMBERS, json={})).status_code == 405


async def test_the_head_of_a_file_reads_no_rows(
    client: httpx.AsyncClient, crowd: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    async def count_rows(sql: str, *parameters: object) -> AsyncGenerator[list[Any], None]:
        async for records in batches.fetch_batches(sql, *parameters):
            read.append(len(records))
            yield records

    monkeypatch.setattr(download, "fetch_batches", count_rows)
    response = await client.head(MEMBERS)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert read == []
    await client.get(MEMBERS)
    assert read == [50, 50, 22]


# Import


async def test_the_file_of_a_few_columns_does_not_undo_a_later_edit(
    client: httpx.AsyncClient, ana: CommunityMember, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    response = await client.get(MEMBERS, params={"__visible_fields": "member_id,country"})
    file.write_bytes(response.content)
    await members.update_profile("#1", country="Perú")
    with pytest.raises(InvalidLines):
        await members_csv.import_members(file)
    assert (await members.get("#1")).country == "Perú"


@pytest.mark.parametrize(("delimiter", "readable"), [(",", "true"), (";", "false")])
async def test_a_downloaded_list_of_members_can_be_imported(
    client: httpx.AsyncClient, tmp_path: Path, delimiter: str, readable: str
) -> None:
    added = await members.add(
        telegram_id="900", name="=Ana;,", primary_role="x", profile_data={"a": 1}
    )
    file = tmp_path / "list.csv"
    query = {"__delimiter": delimiter, "__readable": readable}
    content = (await client.get(MEMBERS, params=query)).content
    file.write_bytes(content)
    assert await members_csv.import_members(file) == ImportCounts(0, 0, 1)
    file.write_bytes(content.replace(b"'=Ana", b"Bea"))
    assert await members_csv.import_members(file) == ImportCounts(0, 1, 0)
    assert (await members.get(added.member_id)).name == "Bea;,"
    file.write_bytes(content)
    with pytest.raises(InvalidLines) as error:
        await members_csv.import_members(file)
    assert "was edited after this file was exported" in error.value.problems[0].message


# Faults


async def fail_after_a_batch(sql: str, *parameters: object) -> AsyncGenerator[list[Any], None]:
    async with contextlib.aclosing(batches.fetch_batches(sql, *parameters)) as found:
        yield await anext(found)
        raise DatabaseUnavailable("The server is gone.")


async def test_an_error_before_the_first_row_is_answered_with_its_message(
    client: httpx.AsyncClient, crowd: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(sql: str, *parameters: object) -> AsyncGenerator[list[Any], None]:
        raise DatabaseUnavailable("The server at 10.0.0.1 is gone.")
        yield []

    monkeypatch.setattr(download, "fetch_batches", fail)
    response = await client.get(MEMBERS)
    assert response.status_code == 503
    assert "10.0.0.1" not in response.text
    assert response.json()["detail"].endswith(".")


@pytest.fixture
async def browser_client(panel: str, fast_hashes: None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the panel on a real server."""
    async with httpx.AsyncClient(base_url=f"{panel}admin/") as client:
        client.cookies.set("id", await session_of(await add_superuser("manager")))
        yield client


async def test_a_file_that_breaks_off_does_not_look_complete(
    browser_client: httpx.AsyncClient,
    crowd: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(download, "fetch_batches", fail_after_a_batch)
    with pytest.raises(httpx.RemoteProtocolError):
        await browser_client.get(MEMBERS)
    assert all_idle()
    assert "Server error" in caplog.text
    caplog.clear()


@pytest.fixture
async def large_rows(directory: asyncpg.Pool, small_batches: None) -> None:
    """Rows that are larger than all buffers between the server and a browser."""
    await directory.execute(
        """INSERT INTO community_members (telegram_id, name, primary_role, profile_data)
        SELECT n, 'Person ' || n, 'x', jsonb_build_object('a', repeat('x', 50000))
        FROM generate_series(1, 600) AS n"""
    )


@contextlib.asynccontextmanager
async def slow_download(panel: str) -> AsyncIterator[socket.socket]:
    """Begin a download that takes only its first bytes, and close it."""
    token = await session_of(await add_superuser("slow"))
    address = httpx.URL(panel)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(reader, (address.host, address.port))
        request = (
            f"GET /admin{MEMBERS} HTTP/1.1\r\nHost: {address.host}\r\nCookie: id={token}\r\n\r\n"
        )
        await loop.sock_sendall(reader, request.encode())
        assert (await loop.sock_recv(reader, 12)) == b"HTTP/1.1 200"
        yield reader


async def test_a_browser_that_goes_away_leaves_nothing_open(
    panel: str, fast_hashes: None, large_rows: None
) -> None:
    async with slow_download(panel):
        assert not all_idle()
    await until(all_idle)
    assert download._turns._value == download.MAX_DOWNLOADS


async def test_a_browser_that_takes_no_data_is_cut(
    panel: str,
    fast_hashes: None,
    large_rows: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(download, "SEND_TIMEOUT_SECONDS", 0.2)
    async with slow_download(panel):
        await until(all_idle)
    caplog.clear()


async def test_two_downloads_run_at_once_and_the_next_one_waits_for_its_turn(
    browser_client: httpx.AsyncClient,
    panel: str,
    large_rows: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "TURN_TIMEOUT_SECONDS", 0.1)
    query = {"__visible_fields": "member_id", "name": "Person 100"}
    async with slow_download(panel):
        assert (await browser_client.get(MEMBERS, params=query)).status_code == 200
        await BaseUser.delete().where(BaseUser.username == "slow")
        async with slow_download(panel):
            response = await browser_client.get(MEMBERS, params=query)
            assert (response.status_code, response.json()["detail"]) == (503, download.BUSY)
            monkeypatch.setattr(download, "TURN_TIMEOUT_SECONDS", 30)
            waiting = asyncio.create_task(browser_client.get(MEMBERS, params=query))
        assert (await waiting).status_code == 200
    await until(all_idle)


async def test_no_more_than_a_batch_is_in_memory(directory: asyncpg.Pool, crowd: None) -> None:
    sql = "SELECT member_id FROM community_members WHERE name <> $1"
    found = [len(records) async for records in batches.fetch_batches(sql, "Person 1")]
    assert found == [50, 50, 22]
    assert not engine.transaction_exists()
    assert all_idle()


# In a browser


@pytest.mark.browser
async def test_the_button_downloads_the_list_that_is_shown(
    page: Page, ana: CommunityMember, directory: asyncpg.Pool, tmp_path: Path
) -> None:
    await members.add(telegram_id="7", name="=1+1", primary_role="x", country="Perú")
    await members.add(telegram_id="8", name="Zoë; Perú", primary_role="x", country="Perú")
    await open_table(page, "community members")
    await page.goto("/admin/#/community_members?country=per%C3%BA")
    await expect(page.get_by_role("cell", name="Ana García", exact=True)).to_have_count(0)
    await settle(page)
    await page.get_by_text("Export CSV").first.click()
    await page.select_option("#delimiter", ";")
    async with page.expect_download() as download_info:
        await page.get_by_role("button", name="Download").click()
    downloaded = await download_info.value
    assert downloaded.suggested_filename == f"community_members-{today()}.csv"
    await downloaded.save_as(tmp_path / "list.csv")
    file = parse((tmp_path / "list.csv").read_bytes(), ";")
    found = [(row["member_id"], row["name"]) for row in file]
    assert found == [("#3", "Zoë; Perú"), ("#2", "'=1+1")]
    assert list(file[0]) == [
        "member_id",
        "name",
        "telegram_username",
        "primary_role",
        "country",
        "status",
        "reputation_score",
        "updated_at",
    ]
    await expect(page.locator("[data-uitest=csv_modal]")).to_be_hidden()


@pytest.mark.browser
async def test_the_columns_are_chosen_and_references_get_names(
    page: Page, ana: CommunityMember, tmp_path: Path
) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    await open_table(page, "community invitations")
    await settle(page)
    await page.get_by_text("Export CSV").first.click()
    await page.get_by_role("link", name="Columns").click()
    for name in ("status", "expires_at", "accepted_by", "created_at", "invited_telegram_username"):
        await page.locator(f"#csv_{name}").uncheck()
    async with page.expect_download() as found:
        await page.get_by_role("button", name="Download").click()
    await (await found.value).save_as(tmp_path / "list.csv")
    (row,) = parse((tmp_path / "list.csv").read_bytes())
    assert row.pop("updated_at")
    assert row == {
        "invitation_code": CODE,
        "created_by": "#1",
        "created_by_readable": "#1 Ana García",
    }


@pytest.mark.browser
async def test_a_download_that_is_refused_is_explained(
    page: Page, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    said: list[str] = []

    async def read(dialog: Any) -> None:
        said.append(dialog.message)
        await dialog.accept()

    page.on("dialog", read)
    await open_table(page, "community members")
    await settle(page)
    await page.get_by_text("Export CSV").first.click()
    await directory.execute("DELETE FROM sessions")
    async with page.expect_event("dialog"):
        await page.get_by_role("button", name="Download").click()
    assert said == ["The list can't be downloaded now. Sign in again, or try again in a minute."]
