"""The changes that the panel makes to rows: saving, adding, deleting, and refusals."""

import asyncio
import json
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from community_directory.queries import members
from community_directory.tables import (
    CommunityInvitation,
    CommunityMember,
    MemberDailyHighlight,
    MemberParticipation,
    MemberRelationship,
)
from tests.roles import PROGRAM
from tests.waiting import until_waiting
from tests.web.admin.panel_requests import (
    CODE,
    HOSTILE_VALUES,
    TABLE_COLUMNS,
    add,
    get,
    invite,
    log,
    numbers,
    patch,
    problem,
    rows,
    search,
)

READ_ONLY = ["member_participation", "member_daily_highlights", "directory_audit_log"]


# Foreign keys


@pytest.mark.parametrize("key", ["id", "member_id"])
async def test_a_row_is_added_with_the_members_primary_key_or_number(
    client: httpx.AsyncClient, ana: CommunityMember, key: str
) -> None:
    response = await invite(client, created_by=str(getattr(ana, key)))
    assert response.status_code == 201, response.text
    assert await CommunityInvitation.select(CommunityInvitation.created_by).first() == {
        "created_by": "#1"
    }


@pytest.mark.parametrize("creator", ["01a204fc-d2ae-7ffe-a0cc-4bc897e7b263", "#999"])
async def test_an_unknown_member_is_refused_on_the_field(
    client: httpx.AsyncClient, ana: CommunityMember, creator: str
) -> None:
    field, sentence = problem(await invite(client, created_by=creator))
    assert field == "created_by"
    assert "no" in sentence
    assert "member" in sentence
    assert not await CommunityInvitation.exists()


# Only changed fields are written


async def test_a_save_without_a_change_writes_nothing(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    # A form of the front end cuts fractions of seconds and line breaks, rounds numbers, and has
    # one empty value.
    await directory.execute(
        """UPDATE community_members
        SET organization = E'Frutero\nClub', country = '', github_verified_at = now(),
        profile_data = '{"big": 12345678901234567890, "exact": 0.1234567890123456789}'"""
    )
    before = await directory.fetch("SELECT *, xmin FROM community_members")
    logged = await log(directory)
    row = await get(client, ana)
    form = {name: value for name, value in row.items() if not name.endswith("_readable")} | {
        "organization": "FruteroClub",
        "country": None,
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


async def test_an_empty_save_changes_nothing(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
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
    async with directory.acquire() as connection, connection.transaction():
        # Both have read the old row, and neither can continue.
        await connection.execute("SELECT 1 FROM community_members FOR UPDATE")
        saves = [
            asyncio.create_task(patch(client, ana, country=country, __seen=seen))
            for country in ("Perú", "Chile")
        ]
        await until_waiting(directory, len(saves))
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
        "This contains a number that is too large, or is nested too deeply.",
    )


async def test_a_field_is_emptied(client: httpx.AsyncClient, ana: CommunityMember) -> None:
    await patch(client, ana, country="Perú", profile_data='{"a": 1}')
    assert (await patch(client, ana, country="", profile_data=None)).status_code == 200
    await ana.refresh()
    assert ana.country is None
    assert ana.profile_data is None


@pytest.mark.parametrize("name", ["Null", "null", "NULL", "All"])
async def test_a_member_can_have_the_name_null(
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
        "Only an active member can do this. The status of member #1 is suspended.",
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
        (f"db:{PROGRAM}", "INSERT"),
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
    assert response.json() == {"detail": "PUT is not possible here."}


@pytest.mark.parametrize(
    ("method", "path", "accepted"),
    [
        ("PUT", "community_members/", "GET, HEAD, POST"),
        ("OPTIONS", "community_members/1/", "GET, HEAD, PATCH, DELETE"),
        ("DELETE", "community_invitations/1/", "GET, HEAD, PATCH"),
        ("POST", "directory_audit_log/", "GET, HEAD"),
        ("PATCH", "sessions/1/", "GET, HEAD, DELETE"),
        ("PATCH", "community_members/count/", "GET, HEAD"),
        ("DELETE", "community_members/ids/", "GET, HEAD"),
        ("POST", "community_members/new/", "GET, HEAD"),
    ],
)
async def test_a_refused_method_names_the_accepted_ones(
    client: httpx.AsyncClient, method: str, path: str, accepted: str
) -> None:
    response = await client.request(method, f"/api/tables/{path}", content=b"{")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == set(accepted.split(", "))


async def test_sessions_are_only_ended(client: httpx.AsyncClient) -> None:
    (row,) = await rows(client, "sessions")
    response = await client.patch(f"/api/tables/sessions/{row['id']}/", json={"user_id": 1})
    assert (response.status_code, response.json()["detail"]) == (405, "Sessions can only be ended.")
    schema = (await client.get("/api/tables/sessions/schema/")).json()
    assert schema["extra"]["refused"] == ["add", "edit"]
    assert (await client.delete(f"/api/tables/sessions/{row['id']}/")).status_code == 204
    assert (await client.get("/api/user/")).status_code == 401


@pytest.mark.parametrize("table", [table for table, _ in TABLE_COLUMNS])
async def test_a_form_for_a_new_row_has_no_primary_key(
    client: httpx.AsyncClient, table: str
) -> None:
    schema = (await client.get(f"/api/tables/{table}/schema/")).json()
    form = (await client.get(f"/api/tables/{table}/new/")).json()
    assert schema["extra"]["primary_key_name"] not in form
    assert set(form) < set(schema["extra"]["visible_fields_options"])


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


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE_VALUES,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_no_form_causes_a_server_error(
    client: httpx.AsyncClient, ana: CommunityMember, data: st.DataObject
) -> None:
    table, columns = data.draw(st.sampled_from(TABLE_COLUMNS))
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
        "discord_id": "123456789012345678",
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
