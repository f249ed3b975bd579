import uuid
from typing import Any

import asyncpg
import httpx
import pytest

from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    MemberDailyHighlight,
    MemberParticipation,
)
from community_directory.tables.invitations import CODE_ALPHABET, CODE_LENGTH

CODE = "ABCDEFGH23456789"


async def invite(client: httpx.AsyncClient, created_by: str) -> httpx.Response:
    """Send the form for a new invitation, as it comes, with this inviter."""
    form = (await client.get("/api/tables/community_invitations/new/")).json()
    return await client.post("/api/tables/community_invitations/", json={**form, "created_by": created_by})


async def rows(client: httpx.AsyncClient, table: str, **filters: Any) -> list[dict[str, Any]]:
    response = await client.get(f"/api/tables/{table}/", params={"__readable": "true", **filters})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["rows"]
    count = (await client.get(f"/api/tables/{table}/count/", params=filters)).json()["count"]
    assert count == len(found)
    return found


@pytest.mark.parametrize("key", ["id", "member_id"])
async def test_a_row_is_added_with_the_members_primary_key_or_number(
    client: httpx.AsyncClient, ana: CommunityMember, key: str
) -> None:
    response = await invite(client, created_by=str(getattr(ana, key)))
    assert response.status_code == 201, response.text
    assert await CommunityInvitation.select(CommunityInvitation.created_by).first() == {"created_by": "#1"}


async def test_a_row_shows_the_members_primary_key_and_name(client: httpx.AsyncClient, ana: CommunityMember) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    (listed,) = await rows(client, "community_invitations")
    single = (
        await client.get(f"/api/tables/community_invitations/{listed['invitation_id']}/", params={"__readable": "true"})
    ).json()
    for row in (listed, single):
        assert row["created_by"] == str(ana.id)
        assert row["created_by_readable"] == "#1 Ana García"
        assert row["accepted_by"] is None


async def test_every_key_to_a_member_is_shown_as_a_primary_key(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    await CommunityMember.update({CommunityMember.invited_by: "#1"}).where(CommunityMember.member_id == "#2")
    await CommunityInvitation(
        invitation_code=CODE, created_by="#1", accepted_by="#2", accepted_at=bea.created_at, status="accepted"
    ).save()
    await MemberParticipation(member_id="#2", event_type="MESSAGE", platform="telegram", room_id="1").save()
    await MemberDailyHighlight(member_id="#1", highlight_date=ana.created_at.date()).save()

    (invited,) = await rows(client, "community_members", member_id="#2")
    assert invited["invited_by"] == str(ana.id)
    (accepted,) = await rows(client, "community_invitations")
    assert (accepted["created_by"], accepted["accepted_by"]) == (str(ana.id), str(bea.id))
    assert [row["member_id"] for row in await rows(client, "member_participation")] == [str(bea.id)]
    assert [row["member_id"] for row in await rows(client, "member_daily_highlights")] == [str(ana.id)]


async def test_a_key_is_changed_and_cleared(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    for sent, stored in ((str(ana.id), "#1"), (None, None)):
        response = await client.patch(f"/api/tables/community_members/{bea.id}/", json={"invited_by": sent})
        assert response.status_code == 200, response.text
        await bea.refresh()
        assert bea.invited_by == stored


@pytest.mark.parametrize("key", ["id", "member_id"])
async def test_rows_are_filtered_by_a_members_primary_key_or_number(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember, key: str
) -> None:
    for code, creator in (("AAAAAAAA", "#1"), ("BBBBBBBB", "#2"), ("CCCCCCCC", "#2")):
        await CommunityInvitation(invitation_code=code, created_by=creator).save()
    found = await rows(client, "community_invitations", created_by=str(getattr(bea, key)))
    assert {row["invitation_code"] for row in found} == {"BBBBBBBB", "CCCCCCCC"}


async def test_a_filter_by_several_members_finds_the_rows_of_each(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    for code, creator in (("AAAAAAAA", "#1"), ("BBBBBBBB", "#2")):
        await CommunityInvitation(invitation_code=code, created_by=creator).save()
    found = await rows(client, "community_invitations", created_by=[str(ana.id), "#2"])
    assert len(found) == 2


@pytest.mark.parametrize("value", ["01a204fc-d2ae-7ffe-a0cc-4bc897e7b263", "#999", "nobody", "'; --", "{}"])
async def test_a_filter_by_nobody_finds_nothing(client: httpx.AsyncClient, ana: CommunityMember, value: str) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    assert await rows(client, "community_invitations", created_by=value) == []


async def test_rows_without_the_key_are_found(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    await CommunityMember.update({CommunityMember.invited_by: "#1"}).where(CommunityMember.member_id == "#2")
    found = await rows(client, "community_members", invited_by__operator="is_null")
    assert [row["member_id"] for row in found] == ["#1"]


async def test_a_member_that_is_gone_is_refused_on_the_field(client: httpx.AsyncClient, ana: CommunityMember) -> None:
    response = await invite(client, created_by="01a204fc-d2ae-7ffe-a0cc-4bc897e7b263")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "created_by"]
    assert not await CommunityInvitation.exists()


@pytest.mark.parametrize(
    ("term", "expected"),
    [("garc", ["#1 Ana García"]), ("#2", ["#2 Bea O'Neill"]), ("o'neill", ["#2 Bea O'Neill"]), ("zz", [])],
)
async def test_members_are_picked_by_number_or_name(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember, term: str, expected: list[str]
) -> None:
    response = await client.get("/api/tables/community_members/ids/", params={"search": term, "limit": 6})
    assert sorted(response.json().values()) == expected
    assert set(response.json()) <= {str(ana.id), str(bea.id)}


async def test_the_form_for_an_invitation_starts_with_a_new_code(client: httpx.AsyncClient) -> None:
    codes = {(await client.get("/api/tables/community_invitations/new/")).json()["invitation_code"] for _ in range(3)}
    assert len(codes) == 3
    assert all(len(code) == CODE_LENGTH and set(code) <= set(CODE_ALPHABET) for code in codes)


async def test_the_form_for_a_member_leaves_the_number_to_the_database(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/tables/community_members/new/")).json()["member_id"] == ""


@pytest.mark.parametrize("table", ["member_participation", "directory_audit_log"])
async def test_what_bots_and_triggers_write_is_read_only(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, table: str
) -> None:
    await MemberParticipation(member_id="#1", event_type="MESSAGE", platform="telegram", room_id="1").save()
    (row,) = await rows(client, table)
    before = await directory.fetch(f"SELECT * FROM {table}")
    for method, path in (
        ("POST", ""),
        ("PATCH", f"{row['id']}/"),
        ("PUT", f"{row['id']}/"),
        ("DELETE", f"{row['id']}/"),
    ):
        response = await client.request(method, f"/api/tables/{table}/{path}", json=row)
        assert response.status_code == 405, (method, response.text)
    assert await directory.fetch(f"SELECT * FROM {table}") == before


async def test_a_change_is_logged_in_the_name_of_who_is_signed_in(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await client.patch(f"/api/tables/community_members/{ana.id}/", json={"country": "Perú"})
    created = (await invite(client, created_by="#1")).json()
    await client.delete(f"/api/tables/community_invitations/{created[0]['invitation_id']}/")
    await directory.execute("UPDATE community_members SET country = 'Chile'")
    entries = await directory.fetch("SELECT actor, action FROM directory_audit_log ORDER BY id")
    assert [tuple(entry) for entry in entries] == [
        ("db:postgres", "INSERT"),
        ("manager", "UPDATE"),
        ("manager", "INSERT"),
        ("manager", "DELETE"),
        ("db:postgres", "UPDATE"),
    ]


@pytest.mark.parametrize(
    "change", [{"reputation_score": 10**12}, {"name": "\x00"}, {"name": ""}, {"name": "x" * 300}, {"status": "gone"}]
)
async def test_what_the_database_refuses_is_answered_and_changes_nothing(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    directory: asyncpg.Pool,
    change: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = await directory.fetch("SELECT * FROM community_members")
    response = await client.patch(f"/api/tables/community_members/{ana.id}/", json={"country": "Perú", **change})
    assert response.status_code == 422
    assert "Failing row" not in response.text
    assert await directory.fetch("SELECT * FROM community_members") == before
    assert "Ana" not in caplog.text


async def test_a_row_is_not_replaced_by_put(client: httpx.AsyncClient, ana: CommunityMember) -> None:
    form = (await client.get("/api/tables/community_members/new/")).json()
    row = {**form, "name": "Eva", "telegram_id": "5", "primary_role": "x"}
    response = await client.put(f"/api/tables/community_members/{ana.id}/", json=row)
    assert response.status_code == 405


async def test_a_page_or_row_that_does_not_exist_is_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/tables/community_members/", params={"__page_size": 5000})).status_code == 403
    assert (await client.get(f"/api/tables/community_members/{uuid.uuid4()}/")).status_code == 404


async def test_the_audit_log_is_listed_newest_first(client: httpx.AsyncClient, ana: CommunityMember) -> None:
    ana.country = "Perú"
    await ana.save()
    assert [row["action"] for row in await rows(client, "directory_audit_log")] == ["UPDATE", "INSERT"]


async def test_a_list_comes_newest_first_unless_asked_otherwise(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    assert [row["member_id"] for row in await rows(client, "community_members")] == ["#2", "#1"]
    assert [row["member_id"] for row in await rows(client, "community_members", __order="name")] == ["#1", "#2"]
