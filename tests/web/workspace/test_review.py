"""Review: who waits, with whom they came, and how managers decide, together and alone."""

import html
import re
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from piccolo.apps.user.tables import BaseUser

from community_directory.queries import acts, members
from community_directory.web.workspace import newcomers, review
from tests.tables import rows
from tests.web.conftest import session_of

HOSTILE = "<img src=x onerror=alert(1)>"


async def add(directory: asyncpg.Pool, **columns: object) -> str:
    """Add somebody who waits, and return their number without the #."""
    record = await rows.member(directory, **{"status": "pending", **columns})
    return str(record["member_id"])[1:]


async def add_several(directory: asyncpg.Pool, number: int) -> list[str]:
    now = datetime.now(UTC)
    return [
        await add(directory, name=f"Person {place}", created_at=now - timedelta(hours=100 - place))
        for place in range(number)
    ]


async def post(client: httpx.AsyncClient, path: str, **fields: object) -> httpx.Response:
    return await client.post(f"/review/{path}/", data=fields)


async def read(client: httpx.AsyncClient, address: str = "/review/") -> str:
    response = await client.get(address)
    assert response.status_code == 200
    return response.text


def listed(text: str) -> list[str]:
    """Return the numbers of the rows in their order."""
    return re.findall(r'<tr id="m(\d+)"', text)


def text_of(markup: str) -> str:
    """Return the words of some markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", markup))).strip()


def row_of(text: str, number: str) -> str:
    [row] = re.findall(rf'<tr id="m{number}".*?</tr>', text, re.DOTALL)
    return text_of(row)


def notices(text: str) -> str:
    found = re.findall(r'<div class="notice.*?</div>', text, re.DOTALL)
    return " ".join(map(text_of, found))


async def status_of(number: str) -> str:
    return (await members.get(number)).status.value


def act_of(response: httpx.Response) -> uuid.UUID:
    assert response.status_code == 303
    return uuid.UUID(httpx.URL(response.headers["location"]).params["done"])


# Who waits


async def test_those_who_wait_are_listed_oldest_first(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    now = datetime.now(UTC)
    late = await add(directory, name="Late", created_at=now - timedelta(hours=2))
    early = await add(directory, name="Early", created_at=now - timedelta(days=4, hours=5))
    await add(directory, status="active")
    await add(directory, is_bot=True)
    await add(directory, deleted_at=now)
    text = await read(client)
    assert listed(text) == [early, late]
    assert "2 newcomers wait, the oldest for 4 days 5 hours." in text
    assert re.search(r'class="soon">4 days 5 hours', text)
    assert '<span class="count">2' in text
    assert await newcomers.list_numbers(1) == [f"#{early}"]


async def test_a_contact_waits_from_the_day_on_which_they_joined(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    now = datetime.now(UTC)
    known = await add(directory, created_at=now - timedelta(days=400))
    other = await add(directory, created_at=now - timedelta(hours=9))
    for hours in (3000, 3):
        await rows.invitation(
            directory,
            status="accepted",
            accepted_by=f"#{known}",
            accepted_at=now - timedelta(hours=hours),
        )
    text = await read(client)
    assert listed(text) == [other, known]
    assert "3 hours" in row_of(text, known)


async def test_a_row_tells_what_a_manager_needs(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    inviter = await add(directory, name="Okwudili", status="active")
    for status in ("active", "active", "suspended", "banned"):
        await add(directory, status=status, invited_by=f"#{inviter}")
    await add(directory, status="active", invited_by=f"#{inviter}", deleted_at=datetime.now(UTC))
    await add(directory, status="active", invited_by=f"#{inviter}", is_bot=True)
    number = await add(
        directory,
        name=HOSTILE,
        telegram_username="nopal_dev",
        country="Mexico",
        primary_role="designer",
        github_username="nopal",
        github_verified=True,
        github_verified_at=datetime.now(UTC),
        reputation_score=412,
        invited_by=f"#{inviter}",
    )
    text = await read(client)
    row = row_of(text, number)
    for shown in (
        HOSTILE,
        f"#{number} · @nopal_dev",
        "designer Mexico",
        "nopal ✓ proved, score 412",
        "Okwudili 6 invited, 2 active, 1 banned",
    ):
        assert shown in row
    assert "<img" not in text
    for link in (
        f"/people/{number}/",
        f"/people/{inviter}/",
        "https://t.me/nopal_dev",
        "https://github.com/nopal",
    ):
        assert f'href="{link}"' in text


async def test_a_row_says_what_is_not_known(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory)
    row = row_of(await read(client), number)
    for shown in ("no username", "Not given", "None", "Nobody"):
        assert shown in row
    proved = await add(directory, github_username="x", reputation_score=7)
    assert "not proved, score 7" in row_of(await read(client), proved)


@pytest.mark.parametrize(("banned", "is_marked"), [(1, False), (2, True)])
async def test_an_inviter_of_whose_people_many_are_banned_is_marked(
    client: httpx.AsyncClient, directory: asyncpg.Pool, banned: int, is_marked: bool
) -> None:
    inviter = await add(directory, status="active")
    await add(directory, invited_by=f"#{inviter}")
    for place in range(6):
        status = "banned" if place < banned else "active"
        await add(directory, status=status, invited_by=f"#{inviter}")
    assert (f'<span class="soon">{banned} banned' in await read(client)) is is_marked


async def test_the_people_of_an_inviter_are_counted_up_to_a_limit(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "MAX_COUNTED_PEOPLE", 2)
    inviter = await add(directory, status="active")
    for _ in range(3):
        await add(directory, invited_by=f"#{inviter}")
    [first, *_] = (await newcomers.list_waiting(limit=5)).page.items
    assert first.inviter is not None
    assert first.inviter.invited == 2


async def test_with_nobody_waiting_the_page_says_so(client: httpx.AsyncClient) -> None:
    text = await read(client)
    assert "Nobody waits for approval." in text
    assert "<table" not in text


async def test_pages_follow_each_other_and_end_where_nobody_waits_any_more(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "PAGE_SIZE", 2)
    numbers = await add_several(directory, 5)
    seen, address = [], "/review/"
    while address:
        text = await read(client, address)
        seen += listed(text)
        found = re.search(r'href="([^"]*)" rel="next"', text)
        last, address = address, html.unescape(found[1]) if found else ""
    assert seen == numbers
    assert listed(await read(client, last)) == numbers[4:]
    # The last one is approved: the page shows the first ones again.
    response = await post(client, "approve", pick=numbers[4], after=httpx.URL(last).params["after"])
    assert "after=" in response.headers["location"]
    assert listed(await read(client, response.headers["location"])) == numbers[:2]
    assert (await client.get("/review/?after=nothing")).status_code == 404


# Approve and decline


async def test_an_approval_is_one_act_in_the_name_of_who_is_signed_in(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory, name="Yerlan Äbdi")
    done = act_of(await post(client, "approve", pick=number))
    assert await status_of(number) == "active"
    act = await acts.get(done)
    assert (act.kind, act.actor, act.reason) == ("approve", "manager", None)
    text = await read(client, f"/review/?done={done}")
    assert "You approved Yerlan Äbdi at" in notices(text)
    assert "possible until" in notices(text)


async def test_without_the_token_nobody_is_approved(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory)
    del client.headers["X-CSRFToken"]
    assert (await post(client, "approve", pick=number)).status_code == 403
    assert await status_of(number) == "pending"


async def test_the_reasons_open_under_the_row(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    first, second = await add_several(directory, 2)
    text = await read(client, f"/review/?decline={second}")
    assert re.findall(r'<tr id="m(\d+)" aria-current="true"', text) == [second]
    assert text.index(f'id="m{first}"') < text.index(f'id="m{second}"') < text.index("Looks auto")
    assert f'href="/review/#m{second}"' in text  # back to the list
    assert "Looks automated" not in await read(client, "/review/?decline=99")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"reason": "automated"}, "Looks automated"),
        ({"reason": "automated", "other": " Asked to wait "}, "Asked to wait"),
        ({"other": "null"}, "null"),
    ],
)
async def test_a_refusal_has_a_reason_of_the_list_or_a_free_one(
    client: httpx.AsyncClient, directory: asyncpg.Pool, fields: dict[str, str], reason: str
) -> None:
    number = await add(directory)
    done = act_of(await post(client, "decline", pick=number, **fields))
    assert await status_of(number) == "not_member"
    assert (await acts.get(done)).reason == reason
    assert "You declined Ana García at" in notices(await read(client, f"/review/?done={done}"))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "can't be empty"),
        ({"reason": "of my own"}, "can't be empty"),
        ({"other": "é" * 301}, "at most 300"),
    ],
)
async def test_a_refusal_without_a_good_reason_changes_nothing_and_keeps_what_was_typed(
    client: httpx.AsyncClient, directory: asyncpg.Pool, fields: dict[str, str], problem: str
) -> None:
    number = await add(directory)
    response = await post(client, "decline", pick=number, decline=number, **fields)
    assert response.status_code == 422
    assert problem in html.unescape(response.text)
    assert f'value="{fields.get("other", "")}"' in response.text
    assert await status_of(number) == "pending"


# Several


async def test_the_picked_ones_are_approved_in_one_act(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    numbers = await add_several(directory, 5)
    done = act_of(await post(client, "several", do="approve", pick=numbers[:4]))
    assert [member.member_id[1:] for member in (await acts.get(done)).members] == numbers[:4]
    text = await read(client, f"/review/?done={done}")
    assert "You approved Person 0 and 3 more" in notices(text)
    assert listed(text) == numbers[4:]


async def test_with_nobody_picked_the_page_says_what_to_do(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    numbers = await add_several(directory, 2)
    for do in ("approve", "decline"):
        response = await post(client, "several", do=do)
        if response.status_code == 303:
            response = await client.get(response.headers["location"])
        assert listed(response.text) == numbers
    response = await post(client, "approve")
    assert (response.status_code, "Pick at least one person." in response.text) == (422, True)
    response = await post(client, "several", do="praise", pick=numbers)
    assert (response.status_code, "There is no such act." in response.text) == (422, True)
    assert listed(response.text) == numbers


async def test_to_decline_the_picked_ones_a_reason_is_asked_for(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    first, second, third = await add_several(directory, 3)
    response = await post(client, "several", do="decline", pick=[first, third])
    address = response.headers["location"]
    assert await status_of(first) == "pending"
    text = await read(client, address)
    assert "Decline 2 newcomers?" in text
    assert '<main class="page" id="content" inert>' in text
    [frozen] = re.findall(r'name="numbers" value="([^"]*)"', text)
    assert frozen.split() == [first, third]
    await post(client, "decline", ask="decline", numbers=frozen, reason="silent")
    assert [await status_of(number) for number in (first, second, third)] == [
        "not_member",
        "pending",
        "not_member",
    ]


async def test_a_question_names_who_is_left_out_and_why(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory, name="Waiting")
    active = await add(directory, name="Done", status="active")
    text = await read(client, f"/review/?ask=approve&pick={number}&pick={active}&pick=99")
    assert "Approve 1 newcomer?" in text
    assert "2 people are left out" in text
    assert text_of(re.findall(r'<ul class="out">.*?</ul>', text, re.DOTALL)[0]) == (
        "DoneIs active already#99There is no member with this number"
    )
    text = await read(client, f"/review/?ask=approve&pick={active}")
    assert "None of them waits any more" in text
    assert "Approve 1" not in text


async def test_all_means_those_who_wait_when_it_is_asked(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    numbers = await add_several(directory, 3)
    text = await read(client)
    assert "Approve all 3" in text
    text = await read(client, "/review/?ask=approve&all=1")
    assert "Approve 3 newcomers?" in text
    [frozen] = re.findall(r'name="numbers" value="([^"]*)"', text)
    late = await add(directory)
    act_of(await post(client, "approve", ask="approve", numbers=frozen))
    assert [await status_of(number) for number in [*numbers, late]] == [
        *["active"] * 3,
        "pending",
    ]


async def test_above_twenty_the_number_is_typed(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    numbers = await add_several(directory, 21)
    text = await read(client, "/review/?ask=decline&all=1")
    assert "type 21 to confirm" in text
    assert "and 13 more" in text
    fields = {"ask": "decline", "numbers": " ".join(numbers), "other": "Not yet"}
    for typed in ("", "20", "21x"):
        response = await post(client, "decline", count=typed, **fields)
        assert response.status_code == 422
        assert "Type 21, the number of people, to confirm." in response.text
        assert "Decline 21 newcomers?" in response.text
        assert 'value="Not yet"' in response.text
        assert f'name="numbers" value="{fields["numbers"]}"' in response.text
    assert await newcomers.list_numbers(100) == [f"#{number}" for number in numbers]
    act_of(await post(client, "decline", count=" 21 ", **fields))
    assert await newcomers.list_numbers(100) == []
    assert "type 21" not in await read(client, "/review/?ask=decline&all=1")


async def test_of_very_many_the_oldest_are_asked_about(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review, "MAX_AT_ONCE", 2)
    numbers = await add_several(directory, 3)
    assert "Approve the oldest 2" in await read(client)
    text = await read(client, "/review/?ask=approve&all=1")
    assert re.findall(r'name="numbers" value="([^"]*)"', text) == [" ".join(numbers[:2])]


# Undo


@pytest.mark.parametrize("path", ["approve", "decline"])
async def test_a_decision_can_be_undone(
    client: httpx.AsyncClient, directory: asyncpg.Pool, path: str
) -> None:
    number = await add(directory)
    done = act_of(await post(client, path, pick=number, reason="silent"))
    response = await post(client, "undo", done=done)
    assert await status_of(number) == "pending"
    text = await read(client, response.headers["location"])
    assert "Undone: Ana García waits again." in notices(text)
    # The address of the decision says so, and offers nothing.
    text = await read(client, f"/review/?done={done}")
    assert "This was undone." in notices(text)
    assert "possible until" not in text
    response = await post(client, "undo", done=done)
    assert (response.status_code, "This was undone already." in response.text) == (422, True)


async def test_an_undo_tells_how_many_wait_again_and_who_has_changed_since(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    numbers = await add_several(directory, 4)
    done = act_of(await post(client, "several", do="approve", pick=numbers))
    await members.set_status(numbers[0], "suspended", actor="luis")
    response = await post(client, "undo", done=done)
    shown = notices(await read(client, response.headers["location"]))
    assert "Undone: 3 people wait again." in shown
    assert "1 person stays as they are" in shown


async def test_after_ten_minutes_nothing_can_be_undone(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory)
    done = act_of(await post(client, "approve", pick=number))
    await directory.execute(
        "UPDATE directory_audit_log SET changed_at = changed_at - interval '11 minutes'"
    )
    text = await read(client, f"/review/?done={done}")
    assert "You approved Ana García" in notices(text)
    assert "possible until" not in text
    response = await post(client, "undo", done=done)
    assert (response.status_code, "be undone any more" in response.text) == (422, True)
    assert await status_of(number) == "active"


async def test_an_act_of_another_kind_is_not_shown(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory, status="active")
    act = await acts.apply("suspend", [number], actor="manager")
    for done in (str(act.id), str(uuid.uuid4()), "nothing"):
        assert 'class="notice"' not in await read(client, f"/review/?done={done}")


# Together with colleagues


@pytest.mark.parametrize(
    ("status", "path", "expected"),
    [
        ("active", "approve", "Luis has approved Ana García already."),
        ("active", "decline", "Luis has approved Ana García already."),
        ("not_member", "approve", "Luis has declined Ana García already."),
        ("not_member", "decline", "Luis has declined Ana García already."),
        ("banned", "approve", "Ana García: Is banned."),
    ],
)
async def test_who_decided_in_the_meantime_is_told(
    client: httpx.AsyncClient, directory: asyncpg.Pool, status: str, path: str, expected: str
) -> None:
    number = await add(directory)
    await members.set_status(number, status, actor="Luis")
    response = await post(client, path, pick=number, reason="silent")
    assert "done=" not in response.headers["location"]
    assert expected in notices(await read(client, response.headers["location"]))
    assert await status_of(number) == status


async def test_a_manager_who_decided_in_the_bot_is_told_by_name(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, name="Leila", telegram_id="777")
    number = await add(directory)
    await members.set_status(number, "active", actor="telegram:777")
    response = await post(client, "approve", pick=number)
    shown = notices(await read(client, response.headers["location"]))
    assert "Leila has approved Ana García already." in shown


async def test_of_several_the_others_are_approved_and_the_notice_names_some(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    numbers = await add_several(directory, 7)
    for number in numbers[:5]:
        await members.set_status(number, "active", actor="Luis")
    response = await post(client, "several", do="approve", pick=numbers)
    text = await read(client, response.headers["location"])
    shown = notices(text)
    assert "You approved Person 5 and 1 more" in shown
    assert "Luis has approved Person 2 already." in shown
    assert "Person 3" not in shown
    assert "2 more people were left out." in shown


async def test_a_second_click_is_no_second_act(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory)
    done = act_of(await post(client, "approve", pick=number))
    response = await post(client, "approve", pick=number)
    assert act_of(response) == done
    assert "already" not in await read(client, response.headers["location"])


async def test_what_a_colleague_did_is_told_with_their_name(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory)
    act = await acts.apply("approve", [number], actor="<b>Luis")
    text = await read(client, f"/review/?done={act.id}")
    assert "<b>Luis approved Ana García at" in notices(text)
    assert "&lt;b&gt;Luis" in text


async def test_the_page_speaks_the_language_of_the_visitor(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory)
    done = act_of(await post(client, "decline", pick=number, reason="silent"))
    assert (await acts.get(done)).reason == "Didn't answer"
    number = await add(directory)
    headers = {"Accept-Language": "es"}
    text = (await client.get(f"/review/?decline={number}&done={done}", headers=headers)).text
    for shown in ("Rechazaste a Ana García a las", "No respondió", "Dejar en espera"):
        assert shown in text_of(text)


# Forged requests


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    path=st.sampled_from(["approve", "decline", "several", "undo"]),
    fields=st.dictionaries(
        st.sampled_from(["pick", "numbers", "count", "reason", "other", "done", "after", "ask"]),
        st.text(max_size=30) | st.sampled_from(["#1", "1", "approve", "all", "\x00", "١"]),
    ),
)
async def test_any_form_is_answered_in_words(
    client: httpx.AsyncClient, path: str, fields: dict[str, str]
) -> None:
    typed = {
        name: value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        for name, value in fields.items()
    }
    assert (await post(client, path, **typed)).status_code in (303, 400, 404, 422)
    assert (await client.get("/review/", params=typed)).status_code in (200, 400, 404)


async def test_who_may_only_read_sees_the_list_and_changes_nothing(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    number = await add(directory)
    viewer = await BaseUser.create_user(
        "viewer", "long enough for this", email="v@directory.example", active=True
    )
    await directory.execute("INSERT INTO panel_viewers (user_id) VALUES ($1)", viewer.id)
    client.cookies.set("id", await session_of(viewer))
    text = await read(client, f"/review/?decline={number}&ask=approve&all=1")
    assert listed(text) == [number]
    assert 'name="pick"' not in text
    assert "Approve" not in text
    for path in ("approve", "decline", "several", "undo"):
        response = await post(client, path, pick=number, reason="silent")
        assert response.status_code == 403
    assert await status_of(number) == "pending"
