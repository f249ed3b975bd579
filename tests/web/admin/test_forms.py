import asyncio
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
)
from community_directory.tables import CommunityMember
from community_directory.web.admin.forms import FORMS
from community_directory.web.admin.router import DirectoryForm, DirectoryRouter
from community_directory.web.outage import RETRY_HINT
from tests.conftest import Server, closed_to_all
from tests.tables.rows import fetch_row
from tests.waiting import until_sessions

SLUGS = [form.slug for form in FORMS]
FILLED: dict[str, Any] = {"member": "#1", "reason": "why"}
HARMLESS = {*itertools.product(("since", "until"), ("none", "empty"))}
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
        st.lists(inner) | st.dictionaries(st.sampled_from([*FILLED, "since"]) | st.text(), inner)
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
    assert (await post(client, "mark-as-a-bot", FILLED)).status_code == 401
    assert not (await members.get("#1")).is_bot


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
        "/api/forms/mark-as-a-bot/", content=b"no boundary", headers={"Content-Type": kind}
    )
    assert response.status_code == 400
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("path", ["mark-as-a-bot/", "mark-as-a-bot/schema/", "grouped/"])
async def test_a_refused_method_names_the_accepted_ones(
    client: httpx.AsyncClient, path: str
) -> None:
    response = await client.put(f"/api/forms/{path}")
    assert response.status_code == 405
    assert response.headers["Allow"] == ("GET, POST" if path == "mark-as-a-bot/" else "GET")


async def test_every_form_has_a_group_a_help_text_and_distinct_field_titles(
    client: httpx.AsyncClient,
) -> None:
    menu = (await client.get("/api/forms/grouped/")).json()
    assert menu["ungrouped"] == []
    assert list(menu["grouped"]) == ["Bots", "Highlights"]
    for form in (form for group in menu["grouped"].values() for form in group):
        assert form["description"].endswith("."), form
        schema = (await client.get(f"/api/forms/{form['slug']}/schema/")).json()
        titles = [field["title"] for field in schema["properties"].values()]
        assert len(set(titles)) == len(titles)


# Bots


async def test_a_bot_is_marked_and_turns_out_to_be_a_person(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add(directory, "Rose", "active")
    assert await refused(client, "mark-as-a-person", member="#1") == (
        "#1 Rose is not marked as a bot."
    )
    assert await submit(client, "mark-as-a-bot", member="#1", reason="it answers all") == (
        "#1 Rose is marked as a bot: it earns nothing, and is in no list."
    )
    assert await last_entry(directory) == ("manager", "it answers all")
    assert await refused(client, "mark-as-a-bot", member="#1") == (
        "#1 Rose is marked as a bot already."
    )
    assert await submit(client, "mark-as-a-person", member="#1", reason="a mistake") == (
        "#1 Rose is a person again. The next roll-up, which runs every night, gives back the points"
        " of the highlights."
    )
    assert await last_entry(directory) == ("manager", "a mistake")
    assert not (await members.get("#1")).is_bot


@pytest.mark.parametrize("typed", ["#1", "1", "@ANA", "https://t.me/ana", "1001"])
async def test_a_member_is_found_by_number_username_or_account(
    client: httpx.AsyncClient, ana: CommunityMember, typed: str
) -> None:
    await members.update_profile("#1", telegram_username="ana")
    said = await submit(client, "mark-as-a-bot", member=typed)
    assert said == "#1 Ana García is marked as a bot: it earns nothing, and is in no list."


@pytest.mark.parametrize("typed", ["#99", "#", "@nobody", "zzz"])
async def test_a_text_that_matches_no_member_is_refused(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, typed: str
) -> None:
    before = await everything(directory)
    await refused(client, "mark-as-a-bot", member=typed)
    assert await everything(directory) == before


async def test_a_bot_can_not_invite_in_the_panel(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    await members.mark_bot("#1", actor="Luis")
    response = await client.post(
        "/api/tables/community_invitations/", json={"created_by": str(ana.id)}
    )
    assert response.status_code == 422
    assert [problem["msg"] for problem in response.json()["detail"]] == [
        "This account is known as a bot, and bots can't invite or join. "
        "If that is a mistake, ask a community manager."
    ]


async def test_an_invitation_of_the_table_counts_in_the_quota_of_the_inviter(
    client: httpx.AsyncClient, ana: CommunityMember
) -> None:
    for _ in range(10):
        await invitations.create(created_by="#1", actor="Luis")
    response = await client.post("/api/tables/community_invitations/", json={"created_by": "#1"})
    assert response.status_code == 422
    assert "has 10 open invitations" in shown_to_the_manager(response)


async def test_an_unusual_name_is_shown_safely_and_on_one_line(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add(directory, "👩‍👩‍👧\u202e\n\x07" + "x" * 100)
    said = await submit(client, "mark-as-a-bot", member="#1")
    assert said.isprintable() or "\u200d" in said
    assert not set(said) & set("\u202e\n\x07")


# Highlights


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
        "3 rows differ from the events: #1 on 2026-01-31 in member_daily_highlights, "
        "#1 on 2026-01-31 in member_daily_rooms, on 2026-01-31 in directory_hourly_counts. "
        "Use the form “Roll up highlights” to correct this."
    )
    said = await submit(client, "roll-up-highlights", **days)
    assert said == "1 highlight written for 2026-01-30 to 2026-01-31."
    assert [
        found.message_count
        for found in (await highlights.between(date(2026, 1, 1), date(2026, 2, 1))).items
    ] == [1]
    assert await submit(client, "verify-highlights", since=None, until="2026-01-31") == (
        "Every count from 2026-01-30 to 2026-01-31 agrees with the events."
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
        "36 rows differ from the events: #1 on 2026-01-01 in member_daily_highlights, "
        "#1 on 2026-01-02 in member_daily_highlights, "
    )
    assert said.endswith(
        ", #1 on 2026-01-10 in member_daily_highlights and 26 more. "
        "Use the form “Roll up highlights” to correct this."
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


# Hostile input


@pytest.mark.parametrize("slug", SLUGS)
async def test_hostile_input_is_refused_with_a_message_and_changes_nothing(
    client: httpx.AsyncClient, ana: CommunityMember, directory: asyncpg.Pool, slug: str
) -> None:
    fields = (await client.get(f"/api/forms/{slug}/schema/")).json()["properties"]
    before = await everything(directory)
    filled = {name: value for name, value in FILLED.items() if name in fields}
    for field, (what, value) in itertools.product(fields.keys() - {"reason"}, HOSTILE.items()):
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
        response = await post(client, "mark-as-a-bot", {"member": f"#{number}", "reason": value})
        if response.status_code == 200:
            kept.append(what)
            expected = "null" if value is None else value or None
            assert await last_entry(directory) == ("manager", expected)
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
        "empty",
    ]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=JSON, slug=st.sampled_from(SLUGS))
async def test_any_json_gets_an_answer(client: httpx.AsyncClient, slug: str, body: object) -> None:
    assert (await post(client, slug, body)).status_code in {200, 422}


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"[1]", b'"x"', b"null", b"\xff", b"[" * 100_000, b"1" * 5000]
)
async def test_a_body_that_no_form_sends_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/api/forms/roll-up-highlights/", content=body)
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

    form = DirectoryForm("Fail", "Test", add_and_fail)
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

    form = DirectoryForm("Hang up", "Test", add_and_hang_up)
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
        marking = asyncio.create_task(post(client, "mark-as-a-bot", FILLED))
        pid = await until_sessions(directory, "max(pid) FILTER (WHERE wait_event_type = 'Lock')")
        await other.execute("SELECT pg_terminate_backend($1)", pid)
        response = await marking
    assert response.status_code == 503
    assert shown_to_the_manager(response) == f"{OperatorError.public_message} {RETRY_HINT}"
    assert await everything(directory) == before


async def test_an_unavailable_database_is_reported(
    client: httpx.AsyncClient, database: str, server: Server
) -> None:
    async with closed_to_all(server, database):
        response = await post(client, "mark-as-a-bot", FILLED)
    assert response.status_code == 503
    assert shown_to_the_manager(response) == f"{OperatorError.public_message} {RETRY_HINT}"
