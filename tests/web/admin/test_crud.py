import asyncio
import json
import uuid
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from piccolo.conf.apps import Finder

from community_directory.queries import members
from community_directory.settings import Settings
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    MemberDailyHighlight,
    MemberParticipation,
    MemberRelationship,
)
from community_directory.web.admin.tables import configure_tables

CODE = "ABCDEFGH23456789"
READ_ONLY = ["member_participation", "member_daily_highlights", "directory_audit_log"]


async def invite(client: httpx.AsyncClient, **values: object) -> httpx.Response:
    """Send the form for a new invitation with its initial values and these."""
    form = (await client.get("/api/tables/community_invitations/new/")).json()
    return await client.post("/api/tables/community_invitations/", json={**form, **values})


async def add(client: httpx.AsyncClient, **values: object) -> httpx.Response:
    """Send the form for a new member with its initial values and these."""
    form = (await client.get("/api/tables/community_members/new/")).json()
    new = {"name": "Eva", "telegram_id": "5", "primary_role": "designer"}
    return await client.post("/api/tables/community_members/", json={**form, **new, **values})


async def rows(client: httpx.AsyncClient, table: str, **filters: Any) -> list[dict[str, Any]]:
    """Return the rows of a list, and check that its count agrees."""
    response = await client.get(f"/api/tables/{table}/", params={"__readable": "true", **filters})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["rows"]
    kept = {
        name: value
        for name, value in filters.items()
        if name not in ("__order", "__visible_fields", "__page_size")
    }
    assert (await client.get(f"/api/tables/{table}/count/", params=kept)).json()["count"] == len(
        found
    )
    return found


async def numbers(client: httpx.AsyncClient, **filters: Any) -> list[str]:
    return [row["member_id"] for row in await rows(client, "community_members", **filters)]


async def get(client: httpx.AsyncClient, member: CommunityMember) -> dict[str, Any]:
    """Return a member as the form is filled with it."""
    row: dict[str, Any] = (await client.get(f"/api/tables/community_members/{member.id}/")).json()
    return row


async def patch(
    client: httpx.AsyncClient, member: CommunityMember, **values: object
) -> httpx.Response:
    return await client.patch(f"/api/tables/community_members/{member.id}/", json=values)


def problem(response: httpx.Response) -> tuple[str, str]:
    """Return the field and the message that the form shows."""
    assert response.status_code == 422, response.text
    (found,) = response.json()["detail"]
    return found["loc"][-1], found["msg"]


async def log(directory: asyncpg.Pool) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in await directory.fetch(
            "SELECT actor, action FROM directory_audit_log ORDER BY id"
        )
    ]


# Keys to a member


@pytest.mark.parametrize("key", ["id", "member_id"])
async def test_a_row_is_added_with_the_members_primary_key_or_number(
    client: httpx.AsyncClient, ana: CommunityMember, key: str
) -> None:
    response = await invite(client, created_by=str(getattr(ana, key)))
    assert response.status_code == 201, response.text
    assert await CommunityInvitation.select(CommunityInvitation.created_by).first() == {
        "created_by": "#1"
    }


async def test_a_row_shows_the_members_primary_key_and_name(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    (listed,) = await rows(client, "community_invitations")
    single = (
        await client.get(f"/api/tables/community_invitations/{listed['invitation_id']}/")
    ).json()
    for row in (listed, single):
        assert row["created_by"] == str(ana.id)
        assert row["created_by_readable"] == "#1 Ana García"
        assert (row["accepted_by"], row["accepted_by_readable"]) == (None, None)


async def test_every_key_to_a_member_is_shown_as_a_primary_key(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    await CommunityMember.update({CommunityMember.invited_by: "#1"}).where(
        CommunityMember.member_id == "#2"
    )
    await CommunityInvitation(
        invitation_code=CODE,
        created_by="#1",
        accepted_by="#2",
        accepted_at=bea.created_at,
        status="accepted",
    ).save()
    await MemberParticipation(
        member_id="#2", event_type="MESSAGE", platform="telegram", room_id="1"
    ).save()
    await MemberDailyHighlight(member_id="#1", highlight_date=ana.created_at.date()).save()

    (invited,) = await rows(
        client, "community_members", member_id="#2", __visible_fields="member_id,invited_by"
    )
    assert invited["invited_by"] == str(ana.id)
    (accepted,) = await rows(client, "community_invitations")
    assert (accepted["created_by"], accepted["accepted_by"]) == (str(ana.id), str(bea.id))
    assert [row["member_id"] for row in await rows(client, "member_participation")] == [str(bea.id)]
    assert [row["member_id"] for row in await rows(client, "member_daily_highlights")] == [
        str(ana.id)
    ]


@pytest.mark.parametrize("key", ["id", "member_id", "digits"])
async def test_rows_are_filtered_by_a_members_primary_key_or_number(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember, key: str
) -> None:
    for code, creator in (("AAAAAAAA", "#1"), ("BBBBBBBB", "#2"), ("CCCCCCCC", "#2")):
        await CommunityInvitation(invitation_code=code, created_by=creator).save()
    sent = "2" if key == "digits" else str(getattr(bea, key))
    found = await rows(client, "community_invitations", created_by=sent)
    assert {row["invitation_code"] for row in found} == {"BBBBBBBB", "CCCCCCCC"}
    others = await rows(client, "community_invitations", created_by=sent, created_by__operator="ne")
    assert [row["invitation_code"] for row in others] == ["AAAAAAAA"]


async def test_a_filter_by_several_members_finds_the_rows_of_each(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    for code, creator in (("AAAAAAAA", "#1"), ("BBBBBBBB", "#2")):
        await CommunityInvitation(invitation_code=code, created_by=creator).save()
    for name in ("created_by", "created_by[]"):
        assert len(await rows(client, "community_invitations", **{name: [str(ana.id), "#2"]})) == 2


@pytest.mark.parametrize(
    "value", ["01a204fc-d2ae-7ffe-a0cc-4bc897e7b263", "#999", "nobody", "'; --", "{}"]
)
async def test_a_filter_by_an_unknown_member_finds_nothing(
    client: httpx.AsyncClient, ana: CommunityMember, value: str
) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    assert await rows(client, "community_invitations", created_by=value) == []


@pytest.mark.parametrize("operator", ["lt", "lte", "gt", "gte"])
@pytest.mark.parametrize("name", ["invited_by", "member_id", "name", "status"])
async def test_members_and_texts_have_no_range_filters(
    client: httpx.AsyncClient, ana: CommunityMember, name: str, operator: str
) -> None:
    query = {name: "#1", f"{name}__operator": operator}
    for path in ("", "count/"):
        response = await client.get(f"/api/tables/community_members/{path}", params=query)
        sentence = "Only numbers and times can be less or greater. Choose Equals or Not Equal."
        assert (response.status_code, response.json()) == (400, {"detail": sentence})


async def test_rows_without_a_member_are_found(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    await CommunityMember.update({CommunityMember.invited_by: "#1"}).where(
        CommunityMember.member_id == "#2"
    )
    assert await numbers(client, invited_by__operator="is_null") == ["#1"]
    assert await numbers(client, invited_by__operator="not_null") == ["#2"]


@pytest.mark.parametrize("creator", ["01a204fc-d2ae-7ffe-a0cc-4bc897e7b263", "#999"])
async def test_an_unknown_member_is_refused_on_the_field(
    client: httpx.AsyncClient, ana: CommunityMember, creator: str
) -> None:
    field, sentence = problem(await invite(client, created_by=creator))
    assert field == "created_by"
    assert "no" in sentence
    assert "member" in sentence
    assert not await CommunityInvitation.exists()


# Finding a member


@pytest.fixture
async def crowd(ana: CommunityMember, bea: CommunityMember) -> None:
    """Members #1 to #30, and #5 removed."""
    people = [
        CommunityMember(
            name=f"Đorđe {number}",
            telegram_id=str(number),
            telegram_username=f"djole_{number}",
            primary_role="x",
        )
        for number in range(3, 31)
    ]
    await CommunityMember.insert(*people)
    await members.remove("#5", actor="test")


async def search(client: httpx.AsyncClient, **asked: str | int) -> list[str]:
    response = await client.get("/api/tables/community_members/ids/", params=asked)
    assert response.status_code == 200, response.text
    return list(response.json().values())


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("garc", ["#1 Ana García"]),
        ("GARCIA", ["#1 Ana García"]),
        ("o'neill", ["#2 Bea O'Neill"]),
        ("djole_17", ["#17 Đorđe 17"]),
        ("dorde 17", ["#17 Đorđe 17"]),
        ("an", ["#1 Ana García"]),
        ("#24", ["#24 Đorđe 24"]),
        ("24", ["#24 Đorđe 24"]),
        ("  #24 ", ["#24 Đorđe 24"]),
        ("zz", []),
        ("%", []),
        ("#5", []),
        ("dorde 5", []),
    ],
)
async def test_a_member_is_found_by_number_name_or_username_and_never_when_removed(
    client: httpx.AsyncClient, crowd: None, term: str, expected: list[str]
) -> None:
    assert await search(client, search=term, limit=6) == expected


async def test_an_exact_number_comes_before_names_with_its_digits(
    client: httpx.AsyncClient, crowd: None
) -> None:
    await CommunityMember.update({CommunityMember.name: "Agent 10"}).where(
        CommunityMember.member_id == "#3"
    )
    assert (await search(client, search="10"))[:2] == ["#10 Đorđe 10", "#3 Agent 10"]


async def test_a_search_answers_with_keys_and_a_limit(
    client: httpx.AsyncClient, crowd: None
) -> None:
    assert await search(client, search="dorde", limit=3) == [
        "#3 Đorđe 3",
        "#4 Đorđe 4",
        "#6 Đorđe 6",
    ]
    assert await search(client, search="dorde", limit=3, offset=3) == [
        "#7 Đorđe 7",
        "#8 Đorđe 8",
        "#9 Đorđe 9",
    ]
    assert len(await search(client)) == 29
    assert len(await search(client, limit=4)) == 4
    keys = (await client.get("/api/tables/community_members/ids/?search=garc")).json()
    assert [uuid.UUID(key) for key in keys]


# Only changed fields are written


async def test_a_save_without_a_change_writes_nothing(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    # A form of the front end cuts fractions of seconds and line breaks, rounds numbers, and has
    # one empty value.
    await directory.execute(
        """UPDATE community_members
        SET name = E'Ana\nGarcía', organization = '', github_verified_at = now(),
        profile_data = '{"big": 12345678901234567890, "exact": 0.1234567890123456789}'"""
    )
    before = await directory.fetch("SELECT *, xmin FROM community_members")
    logged = await log(directory)
    row = await get(client, ana)
    form = {name: value for name, value in row.items() if not name.endswith("_readable")} | {
        "name": "AnaGarcía",
        "organization": None,
        "created_at": row["created_at"][:19] + "Z",
        "github_verified_at": row["github_verified_at"][:19] + ".000Z",
        "profile_data": '{"big": 12345678901234567000, "exact": 0.12345678901234568}',
        "github_verified": "false",
        "reputation_score": "0",
        "registration_fee_paid": "false",
    }
    assert (await patch(client, ana, **form)).status_code == 200
    assert await directory.fetch("SELECT *, xmin FROM community_members") == before
    assert await log(directory) == logged

    assert (await patch(client, ana, **form | {"country": "Perú"})).status_code == 200
    (after,) = await directory.fetch("SELECT * FROM community_members")
    changed = {name for name, value in after.items() if value != before[0][name]}
    assert changed == {"country", "updated_at"}


async def test_an_empty_save_is_no_change(client: httpx.AsyncClient, ana: CommunityMember) -> None:
    response = await patch(client, ana)
    assert response.status_code == 200
    assert response.json()["name"] == "Ana García"


async def test_two_people_who_edit_different_fields_keep_both_changes(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    seen = await get(client, ana)
    form = {name: seen[name] for name in ("name", "country", "organization")}
    assert (await patch(client, ana, **form | {"country": "Perú"}, __seen=seen)).status_code == 200
    assert (
        await patch(client, ana, **form | {"organization": "Frutero"}, __seen=seen)
    ).status_code == 200
    await ana.refresh()
    assert (ana.country, ana.organization) == ("Perú", "Frutero")


async def test_a_field_that_somebody_else_changed_is_not_overwritten(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    seen = await get(client, ana)
    assert (await patch(client, ana, country="Perú", __seen=seen)).status_code == 200
    assert problem(await patch(client, ana, country="Chile", __seen=seen)) == (
        "country",
        "Somebody else changed this field. Open the row again to see the change.",
    )


async def test_only_one_of_two_simultaneous_saves_of_a_field_succeeds(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    seen = await get(client, ana)
    waiting = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    async with directory.acquire() as connection, connection.transaction():
        # Both have read the old row, and neither can continue.
        await connection.execute("SELECT 1 FROM community_members FOR UPDATE")
        saves = [
            asyncio.create_task(patch(client, ana, country=country, __seen=seen))
            for country in ("Perú", "Chile")
        ]
        async with asyncio.timeout(30):
            while await directory.fetchval(waiting) < len(saves):
                await asyncio.sleep(0.01)
    responses = {response.status_code: response for response in await asyncio.gather(*saves)}
    assert responses.keys() == {200, 422}
    assert problem(responses[422]) == (
        "country",
        "Somebody else changed this field. Open the row again to see the change.",
    )
    assert await get(client, ana) == responses[200].json()
    assert responses[200].json()["country"] in ("Perú", "Chile")


async def test_a_number_that_no_reader_can_hold_is_refused_on_its_field(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await patch(client, ana, profile_data='{"x": 1}')
    response = await patch(client, ana, profile_data=f'{{"x": 1{"0" * 400}}}')
    assert problem(response) == (
        "profile_data",
        "This holds a number that is too large, or is nested too deeply.",
    )


async def test_a_field_is_emptied(client: httpx.AsyncClient, ana: CommunityMember) -> None:
    await patch(client, ana, country="Perú", profile_data='{"a": 1}')
    assert (await patch(client, ana, country="", profile_data=None)).status_code == 200
    await ana.refresh()
    assert ana.country is None
    assert ana.profile_data is None


@pytest.mark.parametrize("name", ["Null", "null", "NULL", "All"])
async def test_a_member_may_be_called_null(
    client: httpx.AsyncClient, ana: CommunityMember, name: str
) -> None:
    assert (await patch(client, ana, name=name)).status_code == 200
    assert (await add(client, name=name)).status_code == 201
    assert len(await rows(client, "community_members", name=name, name__match="exact")) == 2


# Locked fields

CHANGES: dict[str, object] = {
    "id": "01a204fc-d2ae-7ffe-a0cc-4bc897e7b263",
    "member_id": "#77",
    "telegram_id": "77",
    "github_username": "ana",
    "github_verified": True,
    "github_verified_at": "2026-01-01T00:00:00Z",
    "github_profile_data": "{}",
    "status": "banned",
    "reputation_score": 5000,
    "reputation_tier": "Expert",
    "invited_by": "#2",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "last_active_at": "2026-01-01T00:00:00Z",
    "deleted_at": "2026-01-01T00:00:00Z",
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_locked_field_of_a_member_is_not_changed_by_hand(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    bea: CommunityMember,
    directory: asyncpg.Pool,
    name: str,
) -> None:
    before = await directory.fetch("SELECT * FROM community_members")
    response = await patch(client, ana, country="Perú", **{name: CHANGES[name]})
    assert problem(response) == (name, "This field can't be edited by hand.")
    assert await directory.fetch("SELECT * FROM community_members") == before
    schema = (await client.get("/api/tables/community_members/schema/")).json()
    assert name in schema["extra"]["locked"]


@pytest.mark.parametrize(
    "name", sorted(CHANGES.keys() - {"telegram_id", "github_username", "status", "invited_by"})
)
async def test_a_generated_column_of_a_new_member_is_refused(
    client: httpx.AsyncClient, ana: CommunityMember, name: str
) -> None:
    response = await add(client, **{name: CHANGES[name]})
    # The form never sends the id, which is ignored.
    if name != "id":
        assert problem(response) == (name, "This field is filled in automatically.")
        assert await CommunityMember.count() == 1


@pytest.mark.parametrize(
    "name",
    [
        "invitation_code",
        "created_by",
        "status",
        "accepted_by",
        "accepted_at",
        "invited_telegram_username",
        "expires_at",
    ],
)
async def test_a_locked_field_of_an_invitation_is_not_changed_by_hand(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember, name: str
) -> None:
    invitation = CommunityInvitation(invitation_code=CODE, created_by="#1")
    await invitation.save()
    times = dict.fromkeys(["accepted_at", "expires_at"], "2026-01-01")
    change = {"invitation_code": "ANOTHERCODE", "status": "cancelled", **times}.get(name, "#2")
    path = f"/api/tables/community_invitations/{invitation.invitation_id}/"
    assert problem(await client.patch(path, json={name: change}))[0] == name


@pytest.mark.parametrize("status", ["not_member", "pending"])
async def test_a_contact_or_a_newcomer_is_added(
    client: httpx.AsyncClient, ana: CommunityMember, status: str
) -> None:
    response = await add(
        client, status=status, telegram_username="@eva", invited_by="1", profile_data='{"a": 1}'
    )
    assert response.status_code == 201, response.text
    eva = await members.get("#2")
    assert str(eva.id) == response.json()[0]["id"]
    assert (eva.status, eva.telegram_username, eva.invited_by, eva.profile_data) == (
        status,
        "eva",
        "#1",
        {"a": 1},
    )


@pytest.mark.parametrize("status", ["active", "suspended", "banned", "gone"])
async def test_a_new_member_is_a_contact_or_a_newcomer(
    client: httpx.AsyncClient, status: str
) -> None:
    assert problem(await add(client, status=status))[0] == "status"
    assert not await CommunityMember.exists()


async def test_a_known_telegram_account_is_refused_on_the_field(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    field, sentence = problem(await add(client, telegram_id="1001"))
    assert field == "telegram_id"
    assert "#1" in sentence


async def test_the_fee_of_a_new_member_is_kept(client: httpx.AsyncClient) -> None:
    response = await add(client, registration_fee_paid="true", registration_fee_tx_hash="0xabc")
    assert response.status_code == 201, response.text
    eva = await members.get("#1")
    assert (eva.registration_fee_paid, eva.registration_fee_tx_hash) == (True, "0xabc")


async def test_only_an_active_member_invites_and_a_username_has_one_code(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    first = await invite(client, created_by="#1", invited_telegram_username="@bea")
    again = await invite(client, created_by="#1", invited_telegram_username="Bea")
    assert first.json() == again.json()
    await members.set_status("#1", "suspended", actor="test")
    assert problem(await invite(client, created_by="#1")) == (
        "created_by",
        "Member #1 is not active, but suspended.",
    )
    assert (
        problem(await invite(client, created_by="#1", expires_at="2020-01-01T00:00:00Z"))[0]
        == "expires_at"
    )


# Removing


async def test_delete_takes_a_member_out_of_lists_counts_and_searches(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember, directory: asyncpg.Pool
) -> None:
    assert (await client.delete(f"/api/tables/community_members/{ana.id}/")).status_code == 204
    assert await numbers(client) == ["#2"]
    assert await search(client, search="garc") == []
    assert await numbers(client, deleted_at__operator="not_null") == ["#1"]
    assert await directory.fetchval("SELECT count(*) FROM community_members") == 2
    assert (await log(directory))[-1] == ("manager", "UPDATE")


@pytest.mark.parametrize("table", ["community_invitations", "member_daily_highlights"])
async def test_an_invitation_or_a_highlight_is_never_deleted(
    client: httpx.AsyncClient, ana: CommunityMember, table: str
) -> None:
    await CommunityInvitation(invitation_code=CODE, created_by="#1").save()
    await MemberDailyHighlight(member_id="#1", highlight_date=ana.created_at.date()).save()
    (row,) = await rows(client, table)
    key = row.get("id") or row["invitation_id"]
    response = await client.delete(f"/api/tables/{table}/{key}/")
    assert response.status_code == 405
    assert response.json()["detail"].endswith(".")
    assert len(await rows(client, table)) == 1


async def test_a_relationship_is_added_changed_and_deleted(client: httpx.AsyncClient) -> None:
    path = "/api/tables/member_relationships/"
    form = (await client.get(f"{path}new/")).json()
    new = {"entity_id_a": "ana", "entity_id_b": "bea", "relationship_type": "MENTORED"}
    (added,) = (await client.post(path, json={**form, **new})).json()
    assert (
        await client.patch(f"{path}{added['id']}/", json={"content": '{"since": 2026}'})
    ).status_code == 200
    (row,) = await rows(client, "member_relationships", __visible_fields="content")
    assert json.loads(row["content"]) == {"since": 2026}
    assert (await client.delete(f"{path}{added['id']}/")).status_code == 204
    assert not await MemberRelationship.exists()


@pytest.mark.parametrize("table", READ_ONLY)
async def test_tables_that_bots_and_triggers_write_are_read_only(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, table: str
) -> None:
    await MemberParticipation(
        member_id="#1", event_type="MESSAGE", platform="telegram", room_id="1"
    ).save()
    await MemberDailyHighlight(member_id="#1", highlight_date=ana.created_at.date()).save()
    (row,) = await rows(client, table)
    before = await directory.fetch(f"SELECT * FROM {table}")
    for method, path in (
        ("POST", ""),
        *((method, f"{row['id']}/") for method in ("PATCH", "PUT", "DELETE")),
    ):
        response = await client.request(method, f"/api/tables/{table}/{path}", json=row)
        assert response.status_code == 405, (method, response.text)
    assert await directory.fetch(f"SELECT * FROM {table}") == before
    schema = (await client.get(f"/api/tables/{table}/schema/")).json()
    assert schema["extra"]["refused"] == ["add", "edit", "delete"]
    assert schema["properties"].keys() <= set(schema["extra"]["locked"])


# Transactions, actors, refusals


async def test_a_change_is_logged_under_the_managers_name(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await patch(client, ana, country="Perú")
    await invite(client, created_by="#1")
    await add(client)
    await directory.execute("UPDATE community_members SET country = 'Chile' WHERE member_id = '#1'")
    assert await log(directory) == [
        ("db:postgres", "INSERT"),
        ("manager", "UPDATE"),
        ("manager", "INSERT"),
        ("manager", "INSERT"),
        ("db:postgres", "UPDATE"),
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "\x00"}, "This must be a text without characters that can't be stored."),
        ({"name": 5}, "This must be a text without characters that can't be stored."),
        ({"name": None}, "This can't be empty."),
        ({"name": "x" * 300}, "The name has 300 characters; at most 255 are allowed."),
        ({"registration_fee_paid": "perhaps"}, "This must be true or false."),
        ({"profile_data": '{"a": NaN}'}, "This must be a JSON object."),
        ({"profile_data": '{"a": '}, "This must be a JSON object."),
        ({"profile_data": {"a": "\x00"}}, None),
    ],
)
async def test_an_invalid_value_is_refused_on_its_field_and_changes_nothing(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    directory: asyncpg.Pool,
    change: dict[str, Any],
    sentence: str | None,
) -> None:
    before = await directory.fetch("SELECT * FROM community_members")
    response = await patch(client, ana, country="Perú", **change)
    assert response.status_code == 422
    if sentence:
        assert problem(response) == (*change, sentence)
    assert await directory.fetch("SELECT * FROM community_members") == before


async def test_a_row_is_not_replaced_by_put(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    response = await client.put(
        f"/api/tables/community_members/{ana.id}/", json=await get(client, ana)
    )
    assert response.status_code == 405


@pytest.mark.parametrize(
    "query",
    [
        "__order=nothing",
        "__order=-",
        "__page=0",
        "__page=-1",
        "__page=99999999999",
        "__page=1&__page=2",
        "__page_size=0",
        "__page_size=5000",
        "__page_size=%D9%A3",
        "__visible_fields=name,secret",
        "__nothing=1",
        "__view=nothing",
        "nothing=1",
        "nothing__operator=is_null",
        "reputation_score=99999999999",
        "reputation_score=1e3",
        "name=%00",
        "name=a&name__operator=like",
        "created_at=yesterday",
        "created_at=2026",
        "last_active_at=1767225600",
        "reputation_score=2147483648",
        "deleted_at=0001-01-01T00:00:00%2B14:00",
        "github_verified=perhaps",
        "id=1",
    ],
)
async def test_an_invalid_query_is_refused_with_a_message(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"/api/tables/community_members/?{query}")
    assert response.status_code == 400, response.text
    assert response.json()["detail"].endswith(".")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"name": NaN}',
        b"\xff",
        b'{"nothing": 1}',
        b"[" * 100_000,
        b'{"name":"\\ud800"}',
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_an_invalid_body_is_refused_with_a_message(
    client: httpx.AsyncClient, ana: CommunityMember, method: str, body: bytes
) -> None:
    path = f"{ana.id}/" if method == "PATCH" else ""
    response = await client.request(method, f"/api/tables/community_members/{path}", content=body)
    assert response.status_code == 422, response.text
    found = response.json()
    assert (found.get("custom_form_error") or found["detail"][0]["msg"]).endswith(".")


@pytest.mark.parametrize("key", ["01a204fc-d2ae-7ffe-a0cc-4bc897e7b263", "1", "%00", "no"])
async def test_a_row_that_does_not_exist_is_not_found(client: httpx.AsyncClient, key: str) -> None:
    for method in ("GET", "PATCH", "DELETE"):
        response = await client.request(
            method, f"/api/tables/community_members/{key}/", content=b"{}"
        )
        assert response.status_code == 404, response.text


COLUMNS = [
    (config.table_class._meta.tablename, config.table_class._meta.columns)
    for config, _ in configure_tables(Settings())
]
NASTY = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
    st.uuids().map(str),
    st.sampled_from(
        [
            "null",
            "all",
            "true",
            "#1",
            "",
            "\ud800",
            "\x00",
            "%",
            "{}",
            "'",
            "e",
            "is_null",
            "contains",
        ]
    ),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_no_query_ends_in_a_server_error(
    client: httpx.AsyncClient, ana: CommunityMember, data: st.DataObject
) -> None:
    table, columns = data.draw(st.sampled_from(COLUMNS))
    names = [column._meta.name for column in columns]
    names += [
        "__order",
        "__page",
        "__page_size",
        "__visible_fields",
        "__view",
        "search",
        "limit",
        "offset",
        "x",
    ]
    name = st.builds(
        str.__add__,
        st.sampled_from(names),
        st.sampled_from(["", "", "__operator", "__match", "[]"]),
    )
    asked = data.draw(st.lists(st.tuples(name, NASTY), max_size=4))
    kind = data.draw(st.sampled_from(["", "count/", "ids/"]))
    query = httpx.QueryParams(
        [(key, value.encode("utf-8", "replace").decode()) for key, value in asked]
    )
    response = await client.get(f"/api/tables/{table}/{kind}?{query}")
    assert response.status_code in (200, 400), (response.text, asked)
    if response.status_code == 400:
        assert response.json()["detail"].endswith(".")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | NASTY,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_no_form_ends_in_a_server_error(
    client: httpx.AsyncClient, ana: CommunityMember, data: st.DataObject
) -> None:
    table, columns = data.draw(st.sampled_from(COLUMNS))
    names = [column._meta.name for column in columns] + ["x", "__seen"]
    body = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=5))
    listed = (await client.get(f"/api/tables/{table}/")).json()["rows"]
    # The test must stay signed in.
    is_new = not listed or table in ("piccolo_user", "sessions") or data.draw(st.booleans())
    method, path = ("POST", "") if is_new else ("PATCH", f"{next(iter(listed[0].values()))}/")
    response = await client.request(
        method, f"/api/tables/{table}/{path}", content=json.dumps(body).encode()
    )
    assert response.status_code in (200, 201, 405, 422), (response.text, body)


# Lists


async def test_a_list_comes_newest_first_unless_asked_otherwise(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    assert await numbers(client) == ["#2", "#1"]
    assert await numbers(client, __order="name") == ["#1", "#2"]
    assert await numbers(client, __order="-country,name") == ["#1", "#2"]
    ana.country = "Perú"
    await ana.save()
    assert [row["action"] for row in await rows(client, "directory_audit_log")] == [
        "UPDATE",
        "INSERT",
        "INSERT",
    ]


async def test_pages_neither_lose_nor_repeat_rows_with_equal_times(
    client: httpx.AsyncClient, crowd: None, directory: asyncpg.Pool
) -> None:
    await directory.execute("UPDATE community_members SET created_at = now()")
    for order in ("-created_at", "country", "-organization"):
        found = [
            row["member_id"]
            for page in range(1, 7)
            for row in (
                await client.get(
                    f"/api/tables/community_members/?__page_size=5&__page={page}&__order={order}"
                )
            ).json()["rows"]
        ]
        assert len(found) == len(set(found)) == 29


async def test_numbers_are_sorted_as_numbers(client: httpx.AsyncClient, crowd: None) -> None:
    found = await numbers(
        client, __order="member_id", name="orde", __visible_fields="member_id", __page_size=50
    )
    assert found == [f"#{number}" for number in range(3, 31) if number != 5]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"status": "active"}, ["#2", "#1"]),
        ({"status": "active", "status__match": "contains"}, ["#2", "#1"]),
        ({"status": "act"}, []),
        ({"status": "active", "status__operator": "ne"}, ["#3"]),
        ({"name": "garcia"}, ["#1"]),
        ({"name": "GARC", "name__match": "starts"}, []),
        ({"name": "ana", "name__match": "starts"}, ["#1"]),
        ({"name": "a", "name__match": "ends"}, ["#3", "#1"]),
        ({"name": "Ana García", "name__match": "exact"}, ["#1"]),
        ({"name": "Ana", "name__match": "exact"}, []),
        ({"name": "%"}, []),
        ({"name": "_"}, []),
        ({"organization": "Frutero", "organization__operator": "ne"}, ["#3", "#2"]),
        ({"country": "per"}, ["#1"]),
        ({"country": ["Perú", "Chile"]}, ["#2", "#1"]),
        ({"reputation_score": "10", "reputation_score__operator": "gte"}, ["#1"]),
        ({"reputation_score": "10"}, ["#1"]),
        ({"member_id": "2", "member_id__match": "exact"}, ["#2"]),
        ({"member_id": "2"}, ["#2"]),
        ({"country__match": "contains", "reputation_score__operator": "e"}, ["#3", "#2", "#1"]),
        ({"country": ""}, ["#3", "#2", "#1"]),
        ({"country__operator": "is_null"}, ["#3"]),
    ],
)
async def test_a_filter_finds_the_matching_rows(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    bea: CommunityMember,
    filters: dict[str, Any],
    expected: list[str],
) -> None:
    await CommunityMember.update(
        {"country": "Perú", "organization": "Frutero", "reputation_score": 10}, force=True
    ).where(CommunityMember.member_id == "#1")
    await CommunityMember.update({"country": "Chile"}).where(CommunityMember.member_id == "#2")
    await add(client, status="pending", name="Eva")
    assert await numbers(client, **filters) == expected


async def test_an_overdue_invitation_shows_as_expired_before_it_is_marked(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    for code in ("OPEN2345", "PAST2345", "NEXT2345"):
        await CommunityInvitation(invitation_code=code, created_by="#1").save()
    await directory.execute(
        """UPDATE community_invitations SET expires_at = now() - interval '1 s'
        WHERE invitation_code = 'PAST2345'"""
    )
    await directory.execute(
        """UPDATE community_invitations SET expires_at = now() + interval '2 days'
        WHERE invitation_code = 'NEXT2345'"""
    )

    async def codes(**filters: str) -> set[str]:
        return {
            row["invitation_code"] for row in await rows(client, "community_invitations", **filters)
        }

    shown = {row["invitation_code"]: row for row in await rows(client, "community_invitations")}
    assert shown["PAST2345"]["status"] == "expired"
    single = await client.get(
        f"/api/tables/community_invitations/{shown['PAST2345']['invitation_id']}/"
    )
    assert single.json()["status"] == "expired"
    assert await codes(status="expired") == {"PAST2345"}
    assert await codes(status="pending") == await codes(__view="open") == {"OPEN2345", "NEXT2345"}
    assert await codes(status="expired", status__operator="ne") == {"OPEN2345", "NEXT2345"}
    assert await codes(__view="expiring_today") == set()
    # The time is before midnight whenever the test runs.
    await directory.execute(
        """UPDATE community_invitations SET expires_at = least(now() + interval '1 minute',
        date_trunc('day', now(), 'UTC') + interval '1 day' - interval '1 ms')
        WHERE invitation_code = 'OPEN2345'"""
    )
    assert await codes(__view="expiring_today") == {"OPEN2345"}


async def test_a_download_of_all_columns_has_them_all(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    (row,) = await rows(client, "community_members", __page_size="1000")
    columns = {column._meta.name for column in CommunityMember._meta.columns}
    assert columns - {"reputation_shortfall"} <= row.keys()
    assert "reputation_shortfall" not in row
    (row,) = await rows(client, "community_members", __page_size="100")
    assert "profile_data" not in row


async def test_a_filter_by_a_frequent_word_finds_the_newest_and_estimates_the_rest(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        """INSERT INTO community_members (telegram_id, name, primary_role, created_at)
        SELECT n, 'García ' || n, 'x', timestamptz '2026-01-01 00:00Z' + n * interval '1 s'
        FROM generate_series(1, 9000) AS n"""
    )
    await directory.execute("ANALYZE community_members")
    listed = await client.get("/api/tables/community_members/?name=GARCIA")
    assert [row["name"] for row in listed.json()["rows"]] == [
        f"García {n}" for n in range(9000, 8985, -1)
    ]
    counted = await client.get("/api/tables/community_members/count/?name=GARCIA")
    assert counted.json()["count"] == pytest.approx(9000, rel=0.1)


async def test_a_time_in_a_list_is_formatted_for_people(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await MemberParticipation(
        member_id="#1",
        event_type="MESSAGE",
        platform="telegram",
        room_id="1",
        occurred_at=ana.created_at,
    ).save()
    (row,) = await rows(client, "member_participation")
    assert row["occurred_at"] == ana.created_at.strftime("%Y-%m-%d %H:%M:%S UTC")


async def test_the_count_of_a_large_table_is_the_planners_estimate(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await directory.execute(
        """INSERT INTO member_participation (member_id, event_type, platform, room_id, source_id)
        SELECT '#1', CASE WHEN n % 1000 = 0 THEN 'VOICE' ELSE 'MESSAGE' END, 'telegram', '1',
            n::text
        FROM generate_series(1, 60000) AS n"""
    )
    await directory.execute("ANALYZE member_participation")
    path = "/api/tables/member_participation/count/"
    assert (await client.get(path)).json() == {
        "count": pytest.approx(60000, rel=0.05),
        "page_size": 15,
    }
    exact = await client.get(f"{path}?event_type=VOICE&event_type__match=exact")
    assert exact.json()["count"] == 60


def test_every_foreign_key_refers_to_a_member() -> None:
    for table in Finder().get_app_config("community_directory").table_classes:
        for column in table._meta.foreign_key_columns:
            assert column._foreign_key_meta.resolved_target_column is CommunityMember.member_id


async def test_large_numbers_in_json_survive_a_change_beside_them(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    path = f"/api/tables/community_members/{ana.id}/"
    stored = {
        "discord_id": 123456789012345678,
        "tea": "green",
        "deep": [{"n": 2**60 + 1}],
        "t": True,
    }
    await CommunityMember.update({CommunityMember.profile_data: stored}).where(
        CommunityMember.id == ana.id
    )
    # In a browser all numbers are doubles.
    sent = {"discord_id": 123456789012345680, "tea": "black", "deep": [{"n": 2**60}], "t": 1}
    assert (await client.patch(path, json={"profile_data": json.dumps(sent)})).status_code == 200
    after = json.loads((await client.get(path)).json()["profile_data"])
    assert after == {
        "discord_id": 123456789012345678,
        "tea": "black",
        "deep": [{"n": 2**60 + 1}],
        "t": 1,
    }
    assert after["t"] is not True


async def test_a_removed_member_is_not_edited(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    path = f"/api/tables/community_members/{ana.id}/"
    assert (await client.delete(path)).status_code == 204
    response = await client.patch(path, json={"name": "Ana again"})
    assert (response.status_code, "removed" in response.text) == (422, True)
    assert (await client.get(path)).json()["name"] == "Ana García"
