import asyncio
import csv
import io
import itertools
import json
import logging
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from piccolo.apps.user.tables import BaseUser
from pydantic import BaseModel
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount, Router

from community_directory.app import app
from community_directory.calendar import today
from community_directory.database import engine
from community_directory.errors import InvalidInput, OperatorError
from community_directory.queries import (
    highlights,
    invitations,
    members,
    participation,
    permissions,
)
from community_directory.settings import load_settings
from community_directory.tables import CommunityMember
from community_directory.web.admin.forms import FORMS
from community_directory.web.admin.lookup import find_one_member
from community_directory.web.admin.router import DirectoryForm, DirectoryRouter
from community_directory.web.outage import RETRY_HINT
from tests.conftest import Server, closed_to_all
from tests.tables import rows
from tests.tables.rows import fetch_row

SLUGS = [form.slug for form in FORMS]
FILLED: dict[str, Any] = {
    "member": "#1",
    "invitation": "NOSUCHCODE",
    "reason": "why",
    "number_again": "1",
    "permission": "review",
}
HARMLESS = {("days", "a number"), *itertools.product(("since", "until"), ("none", "empty"))}
HOSTILE = {
    "a script": "<img src=x onerror=alert(1)>",
    "nul": "a\0b",
    "lone surrogate": "a\ud800b",
    "10,000 characters": "x" * 10_000,
    "Null": "Null",
    "none": None,
    "emoji": "👩‍👩‍👧‍👦🇲🇽",
    "a number": 7,
    "a fraction": 1e300,
    "a huge number": 10**400,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "a list": ["#1"],
    "an object": {"#1": "\ud800"},
    "wildcards": "%_\\",
    "quotes": "'; DROP TABLE community_members; --",
    "right to left": "\u202e1#",
    "lines": "#1\n#2",
    "only an accent": "\u0301",
    "empty": "",
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from([*FILLED, "days", "since"]) | st.text(), inner)
    ),
)


async def post(client: httpx.AsyncClient, slug: str, body: object) -> httpx.Response:
    """Send a form, even with values that httpx would refuse to encode."""
    content = json.dumps(body).encode()
    return await client.post(
        f"/api/forms/{slug}/", content=content, headers={"Content-Type": "application/json"}
    )


async def submit(client: httpx.AsyncClient, slug: str, **fields: object) -> str:
    """Send a form that succeeds, and return its message."""
    response = await post(client, slug, fields)
    assert response.status_code == 200, response.text
    return str(response.json()["custom_form_success"])


async def refused(client: httpx.AsyncClient, slug: str, **fields: object) -> str:
    """Send a form that is refused, and return the message that the front end shows."""
    response = await post(client, slug, fields)
    assert response.status_code == 422, response.text
    return shown_to_the_manager(response)


def shown_to_the_manager(response: httpx.Response) -> str:
    """Return the message that the front end shows for a refusal."""
    body = response.json()
    if isinstance(body, str):
        return body
    if "detail" in body:
        return " ".join(f"{error['loc'][-1]} field - {error['msg']}" for error in body["detail"])
    return str(body["custom_form_error"])


async def add(
    directory: asyncpg.Pool, name: str, status: str = "active", **more: Any
) -> members.Member:
    count = await directory.fetchval("SELECT count(*) FROM community_members")
    return await members.add(
        **{"telegram_id": f"90{count}", "name": name, "primary_role": "x", "status": status} | more
    )


async def status_of(directory: asyncpg.Pool, member_id: str) -> str:
    return str(
        await directory.fetchval(
            "SELECT status FROM community_members WHERE member_id = $1", member_id
        )
    )


async def last_entry(directory: asyncpg.Pool) -> tuple[str, str | None]:
    entry = await fetch_row(
        directory, "SELECT actor, reason FROM directory_audit_log ORDER BY id DESC LIMIT 1"
    )
    return entry["actor"], entry["reason"]


async def everything(directory: asyncpg.Pool) -> list[Any]:
    tables = (
        "community_members",
        "community_invitations",
        "member_daily_highlights",
        "directory_audit_log",
    )
    return [await directory.fetch(f"SELECT * FROM {table} ORDER BY 1") for table in tables]


@pytest.fixture
async def ordinary_manager(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client of an admin without the right of a superuser."""
    await BaseUser.update({BaseUser.superuser: False}).where(BaseUser.username == "manager")
    return client


# Access


@pytest.mark.parametrize("slug", SLUGS)
async def test_nobody_uses_a_form_without_signing_in_or_without_the_token(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, slug: str
) -> None:
    before = await everything(directory)
    token = client.headers.pop("X-CSRFToken")
    assert (await post(client, slug, FILLED)).status_code == 403
    client.headers["X-CSRFToken"] = token
    client.cookies.delete("id")
    for path in (f"{slug}/", f"{slug}/schema/", "", "grouped/"):
        assert (await client.get(f"/api/forms/{path}")).status_code == 401
    assert (await post(client, slug, FILLED)).status_code == 401
    assert await everything(directory) == before


@pytest.mark.parametrize("right", ["admin", "active"])
async def test_only_an_active_admin_can_use_a_form(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, right: str
) -> None:
    await directory.execute(f"UPDATE piccolo_user SET {right} = false WHERE username = 'manager'")
    assert (await post(client, "suspend-a-member", FILLED)).status_code == 401
    assert await status_of(directory, "#1") == "active"


@pytest.mark.parametrize("slug", ["erase-a-person", "export-a-person"])
async def test_a_persons_data_is_exported_and_erased_by_superusers_only(
    ordinary_manager: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, slug: str
) -> None:
    before = await everything(directory)
    response = await post(ordinary_manager, slug, FILLED)
    assert response.status_code == 403
    assert shown_to_the_manager(response) == "Only a superuser may do this. Ask one of them."
    assert await everything(directory) == before
    # The refusal comes first: what the form would say about the fields is not for this manager.
    assert (await post(ordinary_manager, slug, {})).status_code == 403
    assert (
        await submit(ordinary_manager, "suspend-a-member", member="#1", reason="spam")
        == "#1 Ana García is suspended now."
    )


async def test_a_form_that_does_not_exist_is_not_found(client: httpx.AsyncClient) -> None:
    for body in (b"{}", b"{"):
        response = await client.post("/api/forms/nothing/", content=body)
        assert (response.status_code, response.json()) == (404, {"detail": "No such form found"})


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
async def test_a_malformed_form_without_the_token_is_no_server_error(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    del client.headers["X-CSRFToken"]
    response = await client.post(
        "/api/forms/invite/", content=b"no boundary", headers={"Content-Type": kind}
    )
    assert response.status_code == 400
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("path", ["invite/", "invite/schema/", "grouped/"])
async def test_a_refused_method_names_the_accepted_ones(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.put(f"/api/forms/{path}")
    assert response.status_code == 405
    assert response.headers["Allow"] == ("GET, POST" if path == "invite/" else "GET")


async def test_every_form_has_a_group_a_help_text_and_distinct_field_titles(
    client: httpx.AsyncClient,
) -> None:
    menu = (await client.get("/api/forms/grouped/")).json()
    assert menu["ungrouped"] == []
    assert list(menu["grouped"]) == ["Review", "Invitations", "People", "Data"]
    for form in (form for group in menu["grouped"].values() for form in group):
        assert form["description"].endswith("."), form
        schema = (await client.get(f"/api/forms/{form['slug']}/schema/")).json()
        titles = [field["title"] for field in schema["properties"].values()]
        assert len(set(titles)) == len(titles)


# Status


async def test_a_newcomer_is_approved(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await add(directory, "Bo", "pending", invited_by="#1")
    said = await submit(client, "approve-a-newcomer", member="#2", reason="we met")
    assert said == "#2 Bo is active now; invited by #1 Ana García."
    assert await status_of(directory, "#2") == "active"
    assert await last_entry(directory) == ("manager", "we met")


async def test_an_inviter_who_was_removed_is_named_by_number(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await add(directory, "Bo", "pending", invited_by="#1")
    await members.remove("#1", actor="test")
    assert (
        await submit(client, "approve-a-newcomer", member="bo")
        == "#2 Bo is active now; invited by #1."
    )


async def test_a_newcomer_without_an_inviter_is_approved_without_a_reason(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add(directory, "Bo", "pending")
    assert await submit(client, "approve-a-newcomer", member="1") == "#1 Bo is active now."
    assert await last_entry(directory) == ("manager", None)


@pytest.mark.parametrize(
    ("slug", "ways", "said"),
    [
        ("decline-a-newcomer", "pending not_member", "#1 Bo was declined and is a contact again."),
        ("suspend-a-member", "active suspended", "#1 Bo is suspended now."),
        ("ban-a-member", "not_member banned", "#1 Bo is banned now."),
        ("reinstate-a-member", "suspended active", "#1 Bo is active again."),
        ("reinstate-a-member", "banned active", "#1 Bo is active again."),
    ],
)
async def test_a_status_changes_with_the_managers_name_and_reason(
    client: httpx.AsyncClient, directory: asyncpg.Pool, slug: str, ways: str, said: str
) -> None:
    before, after = ways.split()
    await add(directory, "Bo", before)
    assert await submit(client, slug, member="#1", reason="  as agreed ") == said
    assert await status_of(directory, "#1") == after
    assert await last_entry(directory) == ("manager", "as agreed")


@pytest.mark.parametrize(
    ("slug", "status", "said"),
    [
        (
            "approve-a-newcomer",
            "banned",
            "#1 Bo is banned. This form is only for members who are pending.",
        ),
        (
            "approve-a-newcomer",
            "suspended",
            "#1 Bo is suspended. This form is only for members who are pending.",
        ),
        (
            "approve-a-newcomer",
            "active",
            "#1 Bo is active. This form is only for members who are pending.",
        ),
        (
            "reinstate-a-member",
            "pending",
            "#1 Bo is pending. This form is only for members who are suspended or banned.",
        ),
        (
            "decline-a-newcomer",
            "active",
            "The status of member #1 can't change from active to not member.",
        ),
        (
            "suspend-a-member",
            "pending",
            "The status of member #1 can't change from pending to suspended.",
        ),
        ("ban-a-member", "banned", "The status of member #1 is already banned."),
    ],
)
async def test_a_form_refuses_members_of_another_status(
    client: httpx.AsyncClient, directory: asyncpg.Pool, slug: str, status: str, said: str
) -> None:
    await add(directory, "Bo", status)
    before = await everything(directory)
    assert await refused(client, slug, member="#1", reason="why") == said
    assert await everything(directory) == before


@pytest.mark.parametrize("slug", ["decline-a-newcomer", "suspend-a-member", "ban-a-member"])
@pytest.mark.parametrize("reason", [{}, {"reason": ""}, {"reason": "  \n "}])
async def test_declining_suspending_and_banning_need_a_reason(
    client: httpx.AsyncClient, directory: asyncpg.Pool, slug: str, reason: dict[str, str]
) -> None:
    await add(directory, "Bo", "pending" if slug.startswith("decline") else "active")
    before = await everything(directory)
    assert (await refused(client, slug, member="#1", **reason)).startswith("reason field - ")
    assert await everything(directory) == before


async def test_the_word_null_is_a_reason_like_any_other(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add(directory, "Bo")
    await submit(client, "ban-a-member", member="#1", reason=None)
    assert await last_entry(directory) == ("manager", "null")


async def test_an_approval_waits_for_a_simultaneous_ban_and_is_refused(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add(directory, "Bo", "pending")
    async with directory.acquire() as other, other.transaction():
        await other.execute("UPDATE community_members SET status = 'banned'")
        approval = asyncio.create_task(refused(client, "approve-a-newcomer", member="#1"))
        await until_somebody_waits(directory)
    assert await approval == "#1 Bo is banned. This form is only for members who are pending."
    assert await status_of(directory, "#1") == "banned"


async def until_somebody_waits(directory: asyncpg.Pool) -> int:
    """Wait until a statement waits for a lock, and return its server process."""
    while True:
        waiting = """SELECT pid FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND datname = current_database()"""
        if pid := await directory.fetchval(waiting):
            return int(pid)
        await asyncio.sleep(0.01)


# The member whom a text means


@pytest.fixture
async def people(directory: asyncpg.Pool) -> None:
    await add(directory, "Ana García", telegram_username="ana")
    await add(directory, "Anaïs Ñandú", "pending", telegram_id="discord:77")
    await add(directory, "Łukasz", telegram_id="1", organization="Banana", telegram_username="wolf")
    await add(directory, "Null", "suspended")
    removed = await add(directory, "Zoë", telegram_username="zoe")
    await members.remove(removed.member_id, actor="test")


@pytest.mark.parametrize(
    ("typed", "member_id"),
    [
        ("#1", "#1"),
        ("2", "#2"),
        ("@ANA", "#1"),
        ("https://t.me/ana", "#1"),
        ("ana.t.me", "#1"),
        ("＠ana", "#1"),
        ("９00\u200b", "#1"),
        ("900", "#1"),
        ("discord:77", "#2"),
        ("discord：77", "#2"),
        ("ana garcia", "#1"),
        ("ana\u00a0\u00a0garci\u0301a", "#1"),
        ("nandu", "#2"),
        ("LUKASZ", "#3"),
        ("WOLF", "#3"),
        ("null", "#4"),
        ("ana g", "#1"),
    ],
)
async def test_a_member_is_found_by_number_username_telegram_id_or_name(
    people: None, typed: str, member_id: str
) -> None:
    assert (await find_one_member(typed)).member_id == member_id


async def test_if_several_members_match_they_are_listed_and_none_is_changed(
    client: httpx.AsyncClient, people: None, directory: asyncpg.Pool
) -> None:
    before = await everything(directory)
    assert await refused(client, "ban-a-member", member="ana", reason="x") == (
        "2 people match: #1 Ana García (@ana, active), #2 Anaïs Ñandú (pending). "
        "Type the number of the one you mean."
    )
    assert await refused(client, "ban-a-member", member="1", reason="x") == (
        "2 people match: #1 Ana García (@ana, active), #3 Łukasz (@wolf, active). "
        "Type the number of the one you mean."
    )
    assert await everything(directory) == before


async def test_only_the_first_ten_of_many_matches_are_listed(directory: asyncpg.Pool) -> None:
    for number in range(12):
        await add(directory, f"Bot {number}")
    with pytest.raises(
        InvalidInput,
        match=r"^12 people match: #1 Bot 0 .*#10 Bot 9 \(active\) and 2 more\. ",
    ):
        await find_one_member("bot")
    await directory.execute(
        "INSERT INTO community_members (name, telegram_id, primary_role)"
        " SELECT 'Bot', n, 'x' FROM generate_series(1, 89) AS n"
    )
    with pytest.raises(
        InvalidInput,
        match=r"^More than 100 people match\. Type more of the name, or the member's number\.$",
    ):
        await find_one_member("bot")


@pytest.mark.parametrize(
    "typed",
    [
        "#99",
        "#",
        "#x",
        "99999",
        "@an",
        "@",
        "banana",
        "%",
        "_",
        "zzz",
        "\u0301",
        "\u200b",
        "zoe",
        "@zoe",
        "#5",
    ],
)
async def test_a_text_that_matches_no_member_is_refused(
    client: httpx.AsyncClient, people: None, directory: asyncpg.Pool, typed: str
) -> None:
    before = await everything(directory)
    said = await refused(client, "suspend-a-member", member=typed, reason="x")
    assert said.startswith("No member matches ")
    assert said.endswith(
        ". Try a number, an @username or a part of the name."
        " A removed member must be restored first."
    )
    assert await everything(directory) == before


async def test_removed_members_are_found_by_the_forms_that_are_about_them(
    client: httpx.AsyncClient, people: None, directory: asyncpg.Pool
) -> None:
    assert await refused(client, "restore-a-member", member="ana garcia") == (
        "No removed member matches ana garcia. Try a number, an @username or a part of the name."
    )
    assert (
        await submit(client, "restore-a-member", member="zoe", reason="back")
        == "#5 Zoë is back and is active."
    )
    assert await last_entry(directory) == ("manager", "back")
    assert (
        await submit(client, "remove-a-member", member="zoe", reason="gone")
        == "#5 Zoë was removed."
    )
    assert await last_entry(directory) == ("manager", "gone")
    assert (
        await submit(client, "show-who-invited-a-member", member="zoe")
        == "#5 Zoë was invited by nobody."
    )
    assert (
        await submit(client, "ban-a-member", member="zoe", reason="spam") == "#5 Zoë is banned now."
    )


async def test_a_bot_is_marked_and_turns_out_to_be_a_person(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add(directory, "Rose", "active")
    await add(directory, "Rosendo", "active")
    assert await refused(client, "mark-as-a-person", member="#1") == (
        "#1 Rose is not marked as a bot."
    )
    assert await submit(client, "mark-as-a-bot", member="#1", reason="it answers all") == (
        "#1 Rose is marked as a bot: it earns nothing, and is in no list."
    )
    assert await last_entry(directory) == ("manager", "it answers all")
    assert await submit(client, "explain-a-reputation", member="#1") == (
        "#1 Rose is marked as a bot, and bots earn nothing."
    )
    assert await refused(client, "mark-as-a-bot", member="#1") == (
        "#1 Rose is marked as a bot already."
    )
    assert "#1 Rose (active, a bot), #2 Rosendo (active)" in await refused(
        client, "ban-a-member", member="rose", reason="spam"
    )
    assert await submit(client, "mark-as-a-person", member="#1", reason="a mistake") == (
        "#1 Rose is a person again. The next roll-up, which runs every night, gives back the points"
        " of the highlights."
    )
    assert await last_entry(directory) == ("manager", "a mistake")
    assert not (await members.get("#1")).is_bot


async def test_a_bot_can_not_invite_in_the_panel(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await members.mark_bot("#1", actor="Luis")
    message = (
        "This account is known as a bot, and bots can't invite or join. "
        "If that is a mistake, ask a community manager."
    )
    assert await refused(client, "invite", member="#1", telegram_username="", days=3) == message
    row = {"created_by": str(ana.id)}
    response = await client.post("/api/tables/community_invitations/", json=row)
    assert response.status_code == 422
    assert [problem["msg"] for problem in response.json()["detail"]] == [message]


async def test_an_unusual_name_is_shown_safely_and_on_one_line(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add(directory, "<img src=x onerror=alert(1)>")
    await add(directory, "👩‍👩‍👧\u202e\n\x07" + "x" * 100)
    assert await submit(client, "suspend-a-member", member="#1", reason="x") == (
        "#1 <img src=x onerror=alert(1)> is suspended now."
    )
    assert await submit(client, "suspend-a-member", member="#2", reason="x") == (
        f"#2 👩‍👩‍👧 {'x' * 53}… is suspended now."
    )


# Invitations


async def test_an_invitation_comes_with_a_link_to_the_bot(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIRECTORY_BOT_USERNAME", "@frutero_bot")
    load_settings.cache_clear()
    said = await submit(client, "invite", member="ana", telegram_username="@eva", days="10")
    (invitation,) = (await invitations.list_page()).items
    until = f"{invitation.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    code = invitation.invitation_code
    assert said == (
        f"There is a new invitation {code} of #1 Ana García for @eva, open until {until}. "
        f"Send this link: https://t.me/frutero_bot?start={code}"
    )
    assert invitation.expires_at - invitation.created_at == timedelta(days=10)
    assert await last_entry(directory) == ("manager", None)


async def test_without_a_bot_the_code_is_shown_alone(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    said = await submit(client, "invite", member="1")
    (invitation,) = (await invitations.list_page()).items
    assert " for anybody, open until " in said
    assert said.endswith(
        f"Send this code: {invitation.invitation_code} "
        "(set DIRECTORY_BOT_USERNAME to get a link here)."
    )


async def test_inviting_a_username_again_keeps_the_code_and_tells_the_manager(
    client: httpx.AsyncClient, ana: CommunityMember, bea: CommunityMember
) -> None:
    code = (await invitations.create(created_by="#1", telegram_username="eva")).invitation_code
    said = await submit(client, "invite", member="bea", telegram_username="EVA", days=30)
    assert said.startswith(
        f"There was already an open invitation {code} of #1 Ana García for @eva, open until "
    )


async def test_a_manager_invites_within_the_quota_of_the_inviter(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    for _ in range(10):
        await submit(client, "invite", member="1")
    assert (await refused(client, "invite", member="1")).startswith(
        "Member #1 has 10 open invitations, and can't have more. The next one is free on "
    )
    response = await client.post("/api/tables/community_invitations/", json={"created_by": "#1"})
    assert response.status_code == 422
    assert "has 10 open invitations" in shown_to_the_manager(response)
    await submit(client, "grant-a-permission", member="1", permission="manage")
    await submit(client, "invite", member="1")


@pytest.mark.parametrize("typed", ["review", " REVIEW "])
async def test_a_permission_is_granted_and_revoked(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, typed: str
) -> None:
    said = await submit(
        client, "grant-a-permission", member="Ana", permission=typed, reason="helps on Sundays"
    )
    assert said == "#1 Ana García has the permission review now."
    assert await permissions.has("#1", "review")
    assert await last_entry(directory) == ("manager", "helps on Sundays")
    [listed] = (await client.get("/api/tables/member_permissions/")).json()["rows"]
    assert (listed["permission"], listed["member_id_readable"]) == ("review", "#1 Ana García")

    said = await submit(client, "revoke-a-permission", member="1", permission=typed)
    assert said == "#1 Ana García does not have the permission review any more."
    assert not await permissions.has("#1", "review")
    assert (
        await refused(client, "revoke-a-permission", member="1", permission="review")
        == "#1 Ana García does not have the permission review."
    )


async def test_an_unknown_permission_and_an_inactive_member_are_refused(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    for slug in ("grant-a-permission", "revoke-a-permission"):
        said = await refused(client, slug, member="1", permission="king")
        assert said == "There is no permission king."
    await add(directory, "Eva", "pending")
    said = await refused(client, "grant-a-permission", member="Eva", permission="manage")
    assert said == "Only an active member can do this. The status of member #2 is pending."
    assert await directory.fetchval("SELECT count(*) FROM member_permissions") == 0


@pytest.mark.parametrize("days", [0, 366, "", "x", None, 2.5])
async def test_an_invitation_is_valid_for_1_to_365_days(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, days: object
) -> None:
    assert (await refused(client, "invite", member="1", days=days)).startswith("days field - ")
    assert not (await invitations.list_page()).items


async def test_only_an_active_member_invites_and_a_wrong_username_is_refused(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    assert await refused(client, "invite", member="1", telegram_username="a b") == (
        "A Telegram username has up to 32 letters, digits and underscores."
    )
    await members.set_status("#1", "suspended", actor="test")
    assert (
        await refused(client, "invite", member="1")
        == "Only an active member can do this. The status of member #1 is suspended."
    )
    assert not (await invitations.list_page()).items


@pytest.mark.parametrize(
    "typed",
    ["{code}", "{lower}", " {dashes} ", "https://t.me/bot?start={code}", "@eva", "EVA", "t.me/eva"],
)
async def test_an_invitation_is_found_by_its_code_or_the_invited_username(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, typed: str
) -> None:
    made = await invitations.create(created_by="#1", telegram_username="eva")
    code = made.invitation_code
    typed = typed.format(code=code, lower=code.lower(), dashes=f"{code[:4]}-{code[4:8]} {code[8:]}")
    until = f"{made.expires_at.astimezone(UTC) + timedelta(days=7):%Y-%m-%d %H:%M} UTC"
    assert await submit(client, "extend-an-invitation", invitation=typed, days="7") == (
        f"The invitation {code} of #1 Ana García for @eva is open until {until}."
    )
    assert await last_entry(directory) == ("manager", None)
    assert await submit(client, "cancel-an-invitation", invitation=typed, reason="mistake") == (
        f"The invitation {code} of #1 Ana García for @eva is cancelled."
    )
    assert await last_entry(directory) == ("manager", "mistake")
    assert (await invitations.get(code)).status == "cancelled"


async def test_a_missing_or_closed_invitation_is_refused_with_the_reason(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    code = (await invitations.create(created_by="#1", telegram_username="eva")).invitation_code
    await invitations.cancel(code)
    overdue = (await invitations.create(created_by="#1", telegram_username="zoe")).invitation_code
    await directory.execute(
        "UPDATE community_invitations SET expires_at = now() WHERE invitation_code = $1", overdue
    )
    for typed, said in {
        "@zoe": "There is no open invitation for @zoe. Type the invitation's code instead.",
        "@eva": "There is no open invitation for @eva. Type the invitation's code instead.",
        "eva": "There is no invitation with this code. Check it for typing mistakes.",
        "@": "There is no open invitation for @. Type the invitation's code instead.",
        "NOSUCHCODE": "There is no invitation with this code. Check it for typing mistakes.",
        code: "This code is no longer valid. Ask whoever invited you for a new one.",
    }.items():
        assert await refused(client, "cancel-an-invitation", invitation=typed) == said


async def test_overdue_invitations_are_expired_in_the_managers_name(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    assert await submit(client, "expire-overdue-invitations") == "0 invitations marked as expired."
    await invitations.create(created_by="#1")
    await directory.execute("UPDATE community_invitations SET expires_at = now() - interval '1 s'")
    assert await submit(client, "expire-overdue-invitations") == "1 invitation marked as expired."
    assert await last_entry(directory) == ("manager", None)


async def test_a_lineage_begins_with_the_first_member(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await add(directory, "Bo", invited_by="#1")
    await add(directory, "Cy", invited_by="#2")
    assert (
        await submit(client, "show-who-invited-a-member", member="cy")
        == "#1 Ana García → #2 Bo → #3 Cy"
    )


# Data


async def test_highlights_are_verified_and_rolled_up(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    days = {"since": "2026-01-30", "until": "2026-01-31"}
    for source, moment in (
        ("1", datetime(2026, 1, 29, 23, tzinfo=UTC)),
        ("2", datetime(2026, 1, 31, 23, tzinfo=UTC)),
    ):
        await participation.record(
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id="1",
            source_id=source,
            occurred_at=moment,
        )
    assert await submit(client, "verify-highlights", **days) == (
        "1 highlight differs from the events: #1 on 2026-01-31. "
        "Use the form “Roll up highlights” to correct this."
    )
    said = await submit(client, "roll-up-highlights", **days)
    assert said == "1 highlight written for 2026-01-30 to 2026-01-31."
    assert [
        found.message_count
        for found in (await highlights.between(date(2026, 1, 1), date(2026, 2, 1))).items
    ] == [1]
    assert await submit(client, "verify-highlights", since=None, until="2026-01-31") == (
        "Every highlight from 2026-01-30 to 2026-01-31 agrees with the events."
    )
    assert await submit(client, "explain-a-reputation", member="ana") == (
        "#1 Ana García has 1 point (daily highlights 1) and is Novice: 100 points to Contributor."
    )


async def test_a_roll_up_that_changes_a_tier_is_logged_under_the_managers_name(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await directory.execute("UPDATE community_members SET reputation_score = 100")
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    await participation.record(
        member_id="#1", event_type="MESSAGE", platform="telegram", room_id="1", occurred_at=moment
    )
    await submit(client, "roll-up-highlights", since="2026-01-01", until="2026-01-01")
    assert (
        await directory.fetchval("SELECT reputation_tier FROM community_members") == "Contributor"
    )
    assert await last_entry(directory) == ("manager", None)


async def test_only_the_first_ten_of_many_differences_are_listed(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    for day in range(1, 13):
        moment = datetime(2026, 1, day, 12, tzinfo=UTC)
        await participation.record(
            member_id="#1",
            event_type="MESSAGE",
            platform="telegram",
            room_id="1",
            occurred_at=moment,
        )
    said = await submit(client, "verify-highlights", since="2026-01-01", until="2026-01-31")
    assert said.startswith(
        "12 highlights differ from the events: #1 on 2026-01-01, #1 on 2026-01-02, "
    )
    assert said.endswith(
        ", #1 on 2026-01-10 and 2 more. Use the form “Roll up highlights” to correct this."
    )


async def test_without_days_a_roll_up_takes_yesterday_and_today(client: httpx.AsyncClient) -> None:
    said = await submit(client, "roll-up-highlights")
    found = re.fullmatch(r"0 highlights written for (\S+) to (\S+)\.", said)
    assert found
    since, until = (date.fromisoformat(day) for day in found.groups())
    assert until - since == timedelta(days=1)
    assert until in {today(), today() - timedelta(days=1)}


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("2026-02-01", "2026-01-01", "Choose 1 to 3660 days, and put the first day first."),
        (
            "2020-01-01",
            "2026-01-01",
            "Choose at most 366 days. "
            "For more, ask the operator to run the command roll_up_highlights.",
        ),
        ("0001-01-01", None, "since field - Input should be greater than or equal to 2000-01-01"),
        (None, "9999-12-31", "until field - Input should be less than or equal to 2999-12-31"),
        (
            "soon",
            None,
            "since field - Input should be a valid date or datetime, input is too short",
        ),
    ],
)
async def test_an_impossible_span_of_days_is_refused(
    client: httpx.AsyncClient, since: str | None, until: str | None, said: str
) -> None:
    for slug in ("roll-up-highlights", "verify-highlights"):
        assert await refused(client, slug, since=since, until=until) == said


async def test_a_reputation_is_explained_part_by_part(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    assert await submit(client, "explain-a-reputation", member="1") == (
        "#1 Ana García has 0 points (none so far) and is Novice: 101 points to Contributor."
    )
    data = {"public_repos": 500, "followers": 20}
    await members.verify_github("#1", github_username="ana", github_profile_data=data)
    assert await submit(client, "explain-a-reputation", member="1") == (
        "#1 Ana García has 2,560 points (GitHub public repos 2,500, GitHub followers 60) "
        "and is Expert: the highest tier. The GitHub data has no count of: stars, contributions."
    )
    data |= {"stars": 0, "contributions_last_year": 0}
    await members.verify_github("#1", github_username="ana", github_profile_data=data)
    assert (await submit(client, "explain-a-reputation", member="1")).endswith("highest tier.")


async def test_the_members_are_downloaded_as_a_table_without_formulas(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await add(directory, "=HYPERLINK(1)")
    response = await post(client, "download-members-as-csv", {})
    assert (
        response.headers["content-disposition"] == f'attachment; filename="members-{today()}.csv"'
    )
    assert response.content.startswith(b'\xef\xbb\xbf"member_id",')
    rows = list(csv.DictReader(io.StringIO(response.content.decode("utf-8-sig"))))
    assert [row["name"] for row in rows] == ["Ana García", "'=HYPERLINK(1)"]


async def test_a_persons_data_is_downloaded_as_json(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await members.remove("#1", actor="test")
    response = await post(client, "export-a-person", {"member": "garcía"})
    assert response.headers["content-disposition"] == 'attachment; filename="member-1.json"'
    assert response.json() == await members.export("#1")


async def test_a_person_is_erased_only_when_the_number_is_typed_again(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await members.remove("#1", actor="test")
    before = await everything(directory)
    for number in ("2", "Ana", "##1", "11"):
        assert await refused(client, "erase-a-person", member="ana", number_again=number) == (
            "Nothing was erased. To erase #1 Ana García, type #1 as confirmation."
        )
    assert await everything(directory) == before
    assert await submit(client, "erase-a-person", member="ana", number_again="#1") == (
        "#1 was erased. An import of an old export would add this person again, because "
        "DIRECTORY_SECRET_KEY is not set."
    )
    assert await directory.fetchval("SELECT name FROM community_members") == "Erased member"
    assert await last_entry(directory) == ("manager", None)


async def test_an_erasure_names_the_member_whose_account_the_profile_stated(
    client: httpx.AsyncClient,
    ana: CommunityMember,
    directory: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIRECTORY_SECRET_KEY", "a key of at least thirty-two characters")
    load_settings.cache_clear()
    await rows.member(directory, telegram_id="discord:5", name="Bea")
    await members.update_profile("#1", profile_data={"discord_id": "5"})
    assert await submit(client, "erase-a-person", member="#1", number_again="1") == (
        "#1 was erased. Their profile named the Discord account of #2 Bea: if that is the same "
        "person, erase that member, too."
    )
    assert await submit(client, "erase-a-person", member="#2", number_again="2") == (
        "#2 was erased."
    )


async def test_a_banned_person_is_not_erased_without_the_key(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    await members.set_status("#1", "banned", actor="test")
    before = await everything(directory)
    said = await refused(client, "erase-a-person", member="1", number_again="1")
    assert said.startswith("Set DIRECTORY_SECRET_KEY: ")
    assert await everything(directory) == before


# Hostile input


@pytest.mark.parametrize("slug", SLUGS)
async def test_hostile_input_is_refused_with_a_message_and_changes_nothing(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, slug: str
) -> None:
    fields = (await client.get(f"/api/forms/{slug}/schema/")).json()["properties"]
    before = await everything(directory)
    filled = {name: value for name, value in FILLED.items() if name in fields}
    for field, (what, value) in itertools.product(
        fields.keys() - {"reason", "telegram_username"}, HOSTILE.items()
    ):
        if (field, what) in HARMLESS:
            continue
        response = await post(client, slug, filled | {field: value})
        assert response.status_code == 422, (field, what, response.text)
        assert len(shown_to_the_manager(response)) < 300
        assert await everything(directory) == before


async def test_a_hostile_reason_is_refused_or_stored_unchanged(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    kept = []
    for number, (what, value) in enumerate(HOSTILE.items(), start=1):
        await add(directory, "Bo")
        before = await everything(directory)
        response = await post(client, "ban-a-member", {"member": f"#{number}", "reason": value})
        if response.status_code == 200:
            kept.append(what)
            assert await last_entry(directory) == ("manager", "null" if value is None else value)
        else:
            assert response.status_code == 422, response.text
            assert await everything(directory) == before
    assert kept == [
        "a script",
        "Null",
        "none",
        "emoji",
        "wildcards",
        "quotes",
        "right to left",
        "lines",
        "only an accent",
    ]


async def test_a_hostile_username_is_refused_or_shown_unchanged(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    kept = []
    for what, value in HOSTILE.items():
        before = await everything(directory)
        response = await post(client, "invite", {"member": "#1", "telegram_username": value})
        if response.status_code == 200:
            kept.append(what)
            whom = {"none": "@Null", "empty": "anybody"}.get(what, f"@{value}")
            assert f" for {whom}, open until " in response.json()["custom_form_success"]
        else:
            assert response.status_code == 422, response.text
            assert await everything(directory) == before
    assert kept == ["Null", "none", "empty"]


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    slug=st.sampled_from(SLUGS), text=st.text(max_size=300), field=st.sampled_from(sorted(FILLED))
)
async def test_any_text_gets_an_answer(
    client: httpx.AsyncClient, slug: str, text: str, field: str
) -> None:
    """Without members in the database, no member is found."""
    response = await post(client, slug, FILLED | {field: text})
    assert response.status_code in {200, 422}
    if response.status_code == 422:
        said = shown_to_the_manager(response)
        assert said.isprintable()
        assert len(said) < 300


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=JSON, slug=st.sampled_from(SLUGS))
async def test_any_json_gets_an_answer(client: httpx.AsyncClient, slug: str, body: object) -> None:
    assert (await post(client, slug, body)).status_code in {200, 422}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"[1]", b'"x"', b"null", b"\xff", b"[" * 100_000, b"1" * 5000]
)
async def test_a_body_that_no_form_sends_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/api/forms/expire-overdue-invitations/", content=body)
    assert response.status_code == 422
    assert (
        shown_to_the_manager(response)
        == "A field contains characters that can't be stored. Remove them."
    )


@pytest.fixture
def panel() -> DirectoryRouter:
    hosted = app.routes[-1]
    assert isinstance(hosted, Mount)
    assert isinstance(hosted.app, TrustedHostMiddleware)
    pages = hosted.app.app
    assert isinstance(pages, Router)
    mounts = [route for route in pages.routes if isinstance(route, Mount)]
    [found] = [each.app for each in mounts if isinstance(each.app, DirectoryRouter)]
    return found


class Nothing(BaseModel):
    """No fields."""


async def test_a_form_stores_everything_or_nothing(
    client: httpx.AsyncClient, directory: asyncpg.Pool, panel: DirectoryRouter
) -> None:
    async def add_and_fail(data: Nothing, actor: str) -> str:
        await add(directory, "Bo", actor=actor)
        raise InvalidInput("No.")

    form = DirectoryForm("Fail", "Test", add_and_fail, superusers_only=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(panel.form_config_map, "fail", form)
        assert await refused(client, "fail") == "No."
    assert not await members.find("#1")


async def test_a_lost_connection_is_reported_without_a_traceback(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    panel: DirectoryRouter,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def add_and_hang_up(data: Nothing, actor: str) -> str:
        await add(directory, "Bo", actor=actor)
        current = engine.current_transaction.get()
        assert current
        await current.connection.close()
        return "Done."

    form = DirectoryForm("Hang up", "Test", add_and_hang_up, superusers_only=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(panel.form_config_map, "hang-up", form)
        response = await post(client, "hang-up", {})
    assert response.status_code == 503
    assert shown_to_the_manager(response) == f"{OperatorError.public_message} {RETRY_HINT}"
    assert not await members.find("#1")
    (record,) = caplog.records
    assert (
        record.getMessage()
        == "A request failed (database_unavailable): The database does not answer."
    )
    assert record.exc_info is None


async def test_an_outage_during_a_form_leaves_nothing_half_done(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool
) -> None:
    before = await everything(directory)
    async with directory.acquire() as other, other.transaction():
        await other.execute("SELECT FROM community_members FOR UPDATE")
        ban = asyncio.create_task(post(client, "ban-a-member", FILLED))
        await other.execute(
            "SELECT pg_terminate_backend($1)", await until_somebody_waits(directory)
        )
        response = await ban
    assert response.status_code == 503
    assert shown_to_the_manager(response) == f"{OperatorError.public_message} {RETRY_HINT}"
    assert await everything(directory) == before


async def test_an_unavailable_database_is_reported(
    client: httpx.AsyncClient, database: str, server: Server
) -> None:
    async with closed_to_all(server, database):
        response = await post(client, "ban-a-member", FILLED)
    assert response.status_code == 503
    assert shown_to_the_manager(response) == f"{OperatorError.public_message} {RETRY_HINT}"
