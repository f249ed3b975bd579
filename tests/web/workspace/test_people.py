"""The page People: what its address asks for, segments, acts on many, an export, a new person."""

import csv
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import date
from html import unescape
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser

from community_directory.app import app
from community_directory.errors import DatabaseUnavailable
from community_directory.queries import acts, audit, members, segments
from community_directory.queries import people as people_helpers
from community_directory.queries.people import MAX_SELECTION
from community_directory.web.body_limit import MAX_BODY_BYTES
from community_directory.web.workspace import act_forms, people, people_bulk
from tests.tables import rows
from tests.web.conftest import ADDRESS, PASSWORD, add_superuser, session_of

pytestmark = pytest.mark.usefixtures("fast_hashes")

NO_ID = "0190f1a0-0000-7000-8000-000000000009"
"""The id of no segment and no act."""


@pytest.fixture
async def client(directory: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    """A superuser's client, which has the CSRF token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS) as client:
        client.cookies.set("id", await session_of(await add_superuser("eva")))
        assert (await client.get("/people/")).status_code == 200
        yield client


async def send(client: httpx.AsyncClient, path: str, **fields: Any) -> httpx.Response:
    data = {"csrftoken": client.cookies["csrftoken"], **fields}
    return await client.post(f"/people/{path}/", data=data)


async def somebody(directory: asyncpg.Pool, **columns: Any) -> str:
    member = await rows.member(directory, **{"status": "active", **columns})
    return str(member["member_id"])[1:]


def listed(response: httpx.Response) -> list[str]:
    """Return the numbers of the people on the page."""
    return re.findall(r'name="pick" value="([0-9]+)"', response.text)


def hidden(response: httpx.Response, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]* value="([^"]*)"', response.text)
    assert found is not None
    return unescape(found[1])


async def statuses(directory: asyncpg.Pool) -> list[str]:
    return [
        "removed" if row["deleted_at"] else row["status"]
        for row in await directory.fetch(
            "SELECT status, deleted_at FROM community_members ORDER BY length(member_id), member_id"
        )
    ]


async def test_a_list_has_whom_its_address_asks_for(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory, country="México", name="Ana")
    await somebody(directory, country="México", status="banned")
    await somebody(directory, country="Chile")
    assert listed(await client.get("/people/?status=active&country=México")) == ["1"]
    response = await client.get("/people/?status=banned")
    assert listed(response) == ["2"]
    assert 's-banned">Banned' in response.text
    assert listed(await client.get("/people/?q=%231")) == ["1"]
    assert "Nobody meets these filters." in (await client.get("/people/?q=nobody")).text


async def test_names_are_text_and_a_filter_of_markup_is_too(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory, name="<img src=x>", primary_role="<b>", country="<i>")
    response = await client.get("/people/", params={"q": "<img", "role": "<b>", "country": "<i>"})
    assert listed(response) == ["1"]
    assert "<img" not in response.text
    assert "<b>" not in response.text
    assert "<i>" not in response.text


async def test_the_address_holds_the_filters_the_order_and_the_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    numbers = [await somebody(directory, country="Chile", name=f"P{n:03}") for n in range(60)]
    first = await client.get("/people/?country=Chile&sort=-name")
    assert listed(first) == numbers[:9:-1]
    assert 'aria-sort="descending"' in first.text
    following = unescape(re.findall(r'rel="next" href="([^"]+)"', first.text)[0])
    second = await client.get(following)
    assert listed(second) == numbers[9::-1]
    previous = unescape(re.findall(r'rel="prev" href="([^"]+)"', second.text)[0])
    assert listed(await client.get(previous)) == listed(first)
    assert "60 people" in second.text
    # Another order begins at its first page, and the order of the present one is turned around.
    assert '"/people/?country=Chile&amp;sort=name"' in second.text
    assert '"/people/?country=Chile&amp;sort=-score"' in second.text


async def test_each_filter_in_force_is_a_chip_that_takes_it_away(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    query = (
        "q=ana&status=removed&role=developer&country=Mexico&tier=Expert&github=unproved"
        "&organization=Frutero&inviter=247&joined_from=month&joined_to=30d&quiet_days=60"
        "&never_active=1&permission=none&bot=both"
    )
    response = await client.get(f"/people/?{query}")
    assert response.status_code == 200
    # A day that moves with the calendar stays one when the form is sent again.
    assert hidden(response, "joined_from") == "month"
    for text in (
        "“ana”",
        "Removed",
        "developer",
        "Mexico",
        "Expert",
        "GitHub not proved",
        "Frutero",
        "Invited by #247",
        "Joined this month",
        "Joined until ",
        "Last active more than 60 days ago",
        "Never active",
        "No permission",
        "People and bots",
    ):
        assert f'aria-label="Take away: {text}' in response.text
    assert response.text.count('class="chip"') == len(query.split("&"))
    inviter = await somebody(directory, name="Irene <b>")
    response = await client.get(f"/people/?inviter={inviter}")
    assert f'aria-label="Take away: Invited by Irene &lt;b&gt; (#{inviter})"' in response.text
    other = await somebody(directory, name="Otto")
    response = await client.get(f"/people/?inviter={inviter}, %23{other}")
    both = f"Invited by Irene &lt;b&gt; (#{inviter}), Otto (#{other})"
    assert f'aria-label="Take away: {both}"' in response.text
    merged = await rows.merged_member(directory, merged_into=f"#{other}")
    response = await client.get(f"/people/?inviter={other},{merged['member_id'][1:]}")
    assert f'aria-label="Take away: Invited by Otto (#{other})"' in response.text
    shorter = await client.get("/people/?status=active&country=Chile")
    assert 'href="/people/?country=Chile" aria-label="Take away: Active"' in shorter.text
    assert 'href="/people/?status=active" aria-label="Take away: Chile"' in shorter.text


@pytest.mark.parametrize(
    ("query", "chips"),
    [
        (
            "activity=active&since=2026-10-01&until=2026-10-31",
            {"Active Oct 1 – 31, 2026": ""},
        ),
        (
            "activity=inactive&since=2026-10-31&until=2026-10-31&status=member",
            {
                "Members": "activity=inactive&since=2026-10-31&until=2026-10-31",
                "Not active Oct 31, 2026": "status=member",
            },
        ),
        (
            "activity=came_back&room=telegram:-1001&since=2026-10-01&until=2026-11-05",
            {
                "Came back Oct 1 – Nov 5, 2026": (
                    "since=2026-10-01&until=2026-11-05&room=telegram:-1001"
                ),
                "In telegram:-1001, Oct 1 – Nov 5, 2026": (
                    "since=2026-10-01&until=2026-11-05&activity=came_back"
                ),
            },
        ),
        ("activity=at_risk&since=2026-10-01&until=2026-10-02", {"At risk Oct 1 – 2, 2026": ""}),
        ("since=2026-10-01&until=2026-10-02", {"Period Oct 1 – 2, 2026": ""}),
        (
            "contributions_from=1&contributions_to=9&since=2026-10-01&until=2026-10-02",
            {"1 to 9 contributions, Oct 1 – 2, 2026": ""},
        ),
        (
            "contributions_from=1000&since=2026-10-01&until=2026-10-02",
            {"At least 1,000 contributions, Oct 1 – 2, 2026": ""},
        ),
        (
            "contributions_to=1&since=2026-10-01&until=2026-10-02",
            {"At most 1 contribution, Oct 1 – 2, 2026": ""},
        ),
        (
            "member_from=2026-10-01&member_to=2026-10-31",
            {"Became a member Oct 1 – 31, 2026": ""},
        ),
        ("member_to=2026-10-31", {"Became a member until Oct 31, 2026": ""}),
        ("invited_from=2026-10-01", {"Invited since Oct 1, 2026": ""}),
        ("active_week=1", {"Active in week 1 after joining": ""}),
        ("inactive_week=4", {"Not active in week 4 after joining": ""}),
        ("active_month=0", {"Active in month 0 after joining": ""}),
        ("active_month=2", {"Active in month 2 after joining": ""}),
        ("inactive_month=0", {"Not active in month 0 after joining": ""}),
        ("inactive_month=1", {"Not active in month 1 after joining": ""}),
        ("reached=message", {"Reached: First message": ""}),
        ("stuck=approved", {"Stopped after: Approved": ""}),
        ("stuck=waiting_message", {"Stopped after: First message, week 4 is not over": ""}),
        ("status=gone", {"Gone: former members": ""}),
    ],
)
async def test_filters_by_activity_joining_and_invitation_are_chips_in_words(
    client: httpx.AsyncClient, query: str, chips: dict[str, str]
) -> None:
    response = await client.get(f"/people/?{query}")
    found = re.findall(r'href="/people/(\?[^"]*)" aria-label="Take away: ([^"]*)"', response.text)
    shown = {
        unescape(text).replace("\u2009", " "): dict(parse_qsl(unescape(left)[1:]))
        for left, text in found
    }
    assert shown == {text: dict(parse_qsl(left)) for text, left in chips.items()}
    # The form has the filters, too, in a part that is open.
    form = response.text.partition('role="search"')[2].partition("</form>")[0]
    for name, value in parse_qsl(query):
        field = rf'name="{name}"[^>]* value="{value}"|name="{name}">.*?value="{value}" selected'
        assert re.search(field, form, re.DOTALL)
    assert ('class="part" open' in form) == (not query.startswith("status"))


async def test_a_list_an_export_a_selection_and_a_segment_have_the_filters_of_activity(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    days = {"since": "2026-10-01", "until": "2026-10-31"}
    for day in (date(2026, 10, 31), date(2026, 11, 1)):
        await somebody(directory, name=f"Of {day}")
        number = await directory.fetchval("SELECT count(*) FROM community_members")
        await rows.counted_highlight(directory, member_id=f"#{number}", highlight_date=day)
    filters = {"activity": "active", **days}
    assert listed(await client.get("/people/", params=filters)) == ["1"]
    exported = await send(client, "preview", do="export", all="1", **filters)
    assert "Of 2026-10-31" in exported.text
    assert "Of 2026-11-01" not in exported.text
    preview = await send(client, "preview", do="ban", all="1", **filters)
    assert hidden(preview, "people") == "1:active"
    assert hidden(preview, "since") == "2026-10-01"
    saved = await send(client, "segments", name="In October", **filters)
    assert listed(await client.get(saved.headers["location"])) == ["1"]
    [segment] = await segments.list_all()
    assert segment.filters == filters


async def test_a_day_that_moves_with_the_calendar_stays_one_when_the_form_is_sent_again(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get("/people/?activity=active&since=28d&until=1d")
    assert (hidden(response, "since"), hidden(response, "until")) == ("28d", "1d")


@pytest.mark.parametrize(
    "query",
    [
        "activity=asleep",
        "activity=active&activity=inactive",
        "active_week=13",
        "inactive_week=%00",
        "contributions_from=x",
        "contributions_to=99999999999999999999",
        "member_from=yesterday",
        "invited_to=9999-12-31",
        "reached=end",
        "room=x:",
        "room=telegram:%00",
        "since=2026-11-02&until=2026-11-01",
        "since=2000-01-01&until=2026-11-01",
        "stuck=week4",
    ],
)
async def test_an_address_with_a_filter_that_means_nothing_says_so(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"/people/?{query}")
    assert response.status_code in (200, 400)
    assert listed(response) == []


@pytest.mark.parametrize(
    "query", ["status=asleep", "sort=age", "after=x", "segment=x", f"segment={NO_ID}", "q=%00"]
)
async def test_an_address_that_asks_for_nothing_there_is_says_so(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"/people/?{query}")
    assert response.status_code in (200, 400, 404)
    assert listed(response) == []


@pytest.mark.parametrize("query", ["bot=x", "github=x", "quiet_days=x", "status=x", "tier=x"])
async def test_a_segment_can_not_be_saved_of_filters_that_mean_nothing(
    client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"/people/segments/?{query}")
    assert response.status_code == 400
    response = await send(client, "segments", name="x", **dict([query.split("=")]))
    assert response.status_code == 422
    assert "x" not in [segment.name for segment in await segments.list_all()]


async def test_a_segment_is_saved_shown_renamed_and_removed(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory, country="Chile")
    await somebody(directory, country="Peru")
    form = await client.get("/people/segments/?country=Chile&sort=-joined")
    assert hidden(form, "country") == "Chile"
    saved = await send(client, "segments", name="Chileans", country="Chile", sort="-joined")
    assert saved.status_code == 303
    [segment] = await segments.list_all()
    assert (segment.created_by, segment.filters) == ("eva", {"country": "Chile", "sort": "-joined"})
    page = await client.get(saved.headers["location"])
    assert listed(page) == ["1"]
    assert f'href="/people/?segment={segment.id}" aria-current="page"' in page.text
    assert "Take away: Chile" in page.text
    # A filter of the address goes before that of the segment.
    assert listed(await client.get(f"/people/?segment={segment.id}&country=Peru")) == ["2"]
    again = await send(client, "segments", name="Chileans", country="Peru")
    assert again.status_code == 422
    assert "Another segment has this name." in again.text
    assert hidden(again, "country") == "Peru"
    change = {"segment_id": str(segment.id)}
    await send(client, "segments/change", **change, do="rename", name="In Chile")
    assert [each.name for each in await segments.list_all()] == ["In Chile"]
    await send(client, "segments/change", **change, do="remove", name="In Chile")
    assert await segments.list_all() == []


async def test_a_preview_names_who_is_affected_and_who_is_left_out(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory, name="Ana")
    await somebody(directory, name="Bo", status="suspended")
    response = await send(client, "preview", do="suspend", pick=["1", "2"], country="Chile")
    assert response.status_code == 200
    text = " ".join(re.sub("<[^>]+>", " ", response.text).split())
    assert "Suspend 1 person?" in text
    assert "Ana #1" in text
    assert "Bo #2 Is suspended already" in text
    assert hidden(response, "people") == "1:active"
    assert 'href="/people/?country=Chile"' in response.text
    assert await statuses(directory) == ["active", "suspended"]


async def test_an_act_is_done_to_the_frozen_list_in_one_transaction_with_one_reason(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for _ in range(3):
        await somebody(directory)
    preview = await send(client, "preview", do="ban", pick=["1", "2"])
    frozen = hidden(preview, "people")
    await members.set_status(2, "suspended", actor="luis")  # in the meantime
    done = await send(client, "act", do="ban", people=frozen, reason="Spam", country="Chile")
    assert done.status_code == 303
    assert await statuses(directory) == ["banned", "suspended", "active"]
    location = done.headers["location"]
    act = await acts.get(location.partition("done=")[2])
    assert (act.actor, act.reason, [each.member_id for each in act.members]) == (
        "eva",
        "Spam",
        ["#1"],
    )
    assert location.startswith("/people/?country=Chile&")
    page = await client.get(location)
    assert "1 person is banned." in page.text
    assert f'href="/log/?act={act.id}"' in page.text
    assert "undo/" not in page.text
    other = await acts.apply("remove", [3], actor="luis")
    await acts.apply("move", [3], invited_by=await somebody(directory), actor="luis")
    page = await client.get(f"/people/?done={other.id}")
    assert "1 person is removed." in page.text
    moved = await directory.fetchval(
        "SELECT act_id FROM directory_audit_log WHERE changes ? 'invited_by' AND act_id IS NOT NULL"
    )
    assert "for approval again" not in (await client.get(f"/people/?done={moved}")).text
    entries = (await audit.history("#1")).items
    assert entries[0].reason == "Spam"


async def test_everybody_in_the_list_can_be_picked_at_once(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for _ in range(60):
        await somebody(directory, country="Chile", status="pending")
    await somebody(directory, country="Peru", status="pending")
    preview = await send(client, "preview", do="approve", all="1", pick=["61"], country="Chile")
    frozen = hidden(preview, "people")
    assert len(frozen.split()) == 60
    assert "and 52 more" in preview.text
    for count in ("", "59", "sixty"):
        refused = await send(client, "act", do="approve", people=frozen, count=count)
        assert refused.status_code == 422
        assert "Type the number of people, 60, to confirm." in refused.text
        assert hidden(refused, "people") == frozen
    assert set(await statuses(directory)) == {"pending"}
    done = await send(client, "act", do="approve", people=frozen, count="60")
    assert await statuses(directory) == ["active"] * 60 + ["pending"]
    page = await client.get(done.headers["location"])
    assert "60 people are approved." in page.text
    undone = await send(client, "undo", act=hidden(page, "act"))
    assert set(await statuses(directory)) == {"pending"}
    page = await client.get(undone.headers["location"])
    assert "60 people wait for approval again." in page.text


async def test_a_reason_is_needed_and_what_was_typed_stays(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory)
    fields = {"do": "suspend", "people": "1:active", "until": "2190-01-15", "country": "Chile"}
    refused = await send(client, "act", **fields, reason=" ")
    assert refused.status_code == 422
    assert "Write a reason, for the log." in refused.text
    assert (hidden(refused, "until"), hidden(refused, "country")) == ("2190-01-15", "Chile")
    for until in ("2020-01-01", "soon", "2200-01-01"):
        again = await send(client, "act", **{**fields, "until": until}, reason="Quiet")
        assert again.status_code == 422
        assert hidden(again, "reason") == "Quiet"
    assert await statuses(directory) == ["active"]
    assert (await send(client, "act", **fields, reason="Quiet")).status_code == 303
    member = await members.get(1)
    assert str(member.suspended_until) == "2190-01-15 00:00:00+00:00"


@pytest.mark.parametrize(
    ("path", "fields", "sentence"),
    [
        ("preview", {"do": "ban"}, "Nobody is picked."),
        ("preview", {"do": "promote", "pick": "1"}, "There is no such act."),
        ("act", {"do": "promote", "people": "1:active"}, "There is no such"),
        ("act", {"do": "ban", "people": "everybody", "reason": "x"}, "There is no such"),
        (
            "act",
            {"do": "ban", "people": "1:active", "reason": "x", "segment": "x"},
            "There is no such segment.",
        ),
        ("undo", {"act": "x"}, "The id of an act is a UUID."),
        ("undo", {"act": NO_ID}, "no such act"),
    ],
)
async def test_an_act_that_names_nothing_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, directory: asyncpg.Pool, path: str, fields: Any, sentence: str
) -> None:
    await somebody(directory)
    response = await send(client, path, **fields)
    assert response.status_code in (400, 422)
    assert sentence in response.text
    assert await statuses(directory) == ["active"]


async def test_an_act_that_affects_nobody_any_more_says_so(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory, status="banned")
    done = await send(client, "act", do="ban", people="1:active", reason="Spam")
    page = await client.get(done.headers["location"])
    assert "Nothing was changed: nobody could be affected any more." in page.text


async def test_the_longest_selection_fits_into_the_form(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory)
    longest = 10**18
    numbers = ["1", *(str(longest + n) for n in range(1, MAX_SELECTION))]
    frozen = " ".join(f"{number}:not_member" for number in numbers[1:])
    fields = {"do": "suspend", "people": f"1:active {frozen}", "reason": "x" * 1000}
    assert len(frozen) < MAX_BODY_BYTES / 2
    done = await send(client, "act", **fields, count=str(MAX_SELECTION))
    assert done.status_code == 303
    assert await statuses(directory) == ["suspended"]


async def test_an_export_has_the_selection_or_the_whole_list_without_formulas(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory, name="=1+1", country="Chile")
    await somebody(directory, name="Bo", country="Chile")
    await somebody(directory, name="Cleo", country="Peru")

    async def names(**fields: Any) -> list[str]:
        response = await send(client, "preview", do="export", **fields)
        assert response.headers["content-type"].startswith("text/csv")
        assert "attachment" in response.headers["content-disposition"]
        return [row["name"] for row in csv.DictReader(io.StringIO(response.text[1:]))]

    assert await names(all="1", country="Chile") == ["'=1+1", "Bo"]
    assert await names(pick=["3", "2"], country="Chile") == ["Bo", "Cleo"]
    assert await names() == []


async def test_an_export_that_breaks_off_does_not_look_complete(
    panel: str, directory: asyncpg.Pool, caplog: pytest.LogCaptureFixture
) -> None:
    await somebody(directory, name="Bo")

    async def read_one_batch(*_: object, **__: object) -> AsyncGenerator[list[Any], None]:
        yield await directory.fetch("SELECT name FROM community_members")
        raise DatabaseUnavailable("The server is gone.")

    async with httpx.AsyncClient(base_url=panel) as browser:
        browser.cookies.set("id", await session_of(await add_superuser("eva")))
        await browser.get("/people/")
        with (
            patch.object(people_helpers, "batches", read_one_batch),
            pytest.raises(httpx.RemoteProtocolError),
        ):
            await send(browser, "preview", do="export", all="1")
    caplog.clear()


async def test_a_person_is_added_by_a_form_that_keeps_what_was_typed(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    fields = {"telegram_id": "x", "name": "Ana", "primary_role": "developer", "country": "Chile"}
    refused = await send(client, "add", **fields)
    assert refused.status_code == 422
    assert (hidden(refused, "name"), hidden(refused, "country")) == ("Ana", "Chile")
    added = await send(client, "add", **{**fields, "telegram_id": "247"}, reason="Met")
    assert added.headers["location"] == "/people/1/"
    member = await members.get(1)
    assert (member.name, member.status, member.country) == ("Ana", "not_member", "Chile")
    [entry] = (await audit.history("#1")).items[:1]
    assert (entry.actor, entry.reason) == ("eva", "Met")


async def test_a_page_in_spanish_has_the_given_segments_in_spanish(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.segment(directory, name="At risk")
    response = await client.get("/people/", headers={"Accept-Language": "es-MX"})
    assert "En riesgo" in response.text
    assert "Última actividad" in response.text
    await somebody(directory)
    preview = await send(client, "preview", do="ban", pick="1")
    assert "Ban 1 person?" in preview.text
    client.headers["Accept-Language"] = "es"
    for number in (2, 3):
        await somebody(directory)
        preview = await send(client, "preview", do="ban", pick=[str(n) for n in range(1, number)])
        assert "¿Expulsar a" in preview.text
    refused = await send(client, "act", do="ban", people="1:active")
    assert "Escribe un motivo, para el registro." in refused.text


async def test_a_confirmation_is_asked_above_a_number_of_people_only(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for _ in range(2):
        await somebody(directory)
    fields = {"do": "remove", "people": "1:active 2:active", "reason": "Left"}
    with patch.object(act_forms, "MAX_WITHOUT_COUNT", 1):
        assert 'name="count"' in (await send(client, "preview", do="remove", all="1")).text
        assert (await send(client, "act", **fields)).status_code == 422
    assert 'name="count"' not in (await send(client, "preview", do="remove", all="1")).text
    assert (await send(client, "act", **fields)).status_code == 303
    assert await statuses(directory) == ["removed", "removed"]


async def test_a_list_of_too_many_can_only_be_exported(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (people_bulk, people):
        monkeypatch.setattr(module, "MAX_SELECTION", 2)
    for _ in range(3):
        await somebody(directory)
    assert "The whole list, for an export" in (await client.get("/people/")).text
    refused = await send(client, "preview", do="ban", all="1")
    assert refused.status_code == 422
    assert "These are more than 2 people. Choose more filters." in refused.text
    exported = await send(client, "preview", do="export", all="1")
    assert len(exported.text.splitlines()) == 4


async def test_a_viewer_sees_the_list_and_no_button(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await somebody(directory, name="Ana")
    user = await BaseUser.create_user("vera", PASSWORD, email="v@x.org", active=True)
    await directory.execute("INSERT INTO panel_viewers (user_id) VALUES ($1)", user.id)
    client.cookies.set("id", await session_of(user))
    response = await client.get("/people/")
    assert "Ana" in response.text
    for text in ('name="pick"', '<button class="button danger', "/people/add/", "segments/"):
        assert text not in response.text
    assert (await client.get("/people/add/")).status_code == 403
    assert (await send(client, "preview", do="export", all="1")).status_code == 403


async def test_the_first_person_can_be_added_as_an_active_member(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/people/add/?status=active")
    assert '<option value="active" selected>' in page.text
    fields = {"telegram_id": "1", "name": "Ana", "primary_role": "community_manager"}
    added = await send(client, "add", **fields, status="active")
    assert (await members.get("#1")).status == "active"
    assert "Ana is an active member now." in (await client.get(added.headers["location"])).text
    await send(client, "add", **fields | {"telegram_id": "2"}, status="banned")
    assert (await members.get("#2")).status == "not_member"


async def test_a_role_is_shown_as_words_everywhere(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    role = "community_manager"
    await rows.member(directory, name="Ana", status="active", primary_role=role)
    await members.update_profile(1, primary_role="writer", actor="eva")
    await members.update_profile(1, primary_role=role, actor="eva")
    for path in ("/people/", f"/people/?role={role}", "/people/1/", "/log/"):
        text = (await client.get(path)).text
        assert "community manager" in text, path
        shown = re.sub(r"<details.*?</details>|<[^>]*>", "", text, flags=re.DOTALL)
        assert role not in shown, path


async def test_an_empty_list_without_filters_says_that_nobody_is_here(
    client: httpx.AsyncClient,
) -> None:
    assert "Nobody is here yet." in (await client.get("/people/")).text
    assert "Nobody meets these filters." in (await client.get("/people/?status=active")).text
