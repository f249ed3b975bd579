"""Home: numbers of what waits, newcomers, and what colleagues did since the last visit."""

import asyncio
import html
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser

from community_directory import doctor
from community_directory.doctor import Verdict
from community_directory.errors import DatabaseUnavailable
from community_directory.queries import acts, members, requests
from community_directory.queries.pages import Page
from community_directory.web.workspace import home, log_entries
from community_directory.web.workspace.home import SuggestionCounter
from tests.tables import rows
from tests.web.test_health import make_result

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine finish each count of merge suggestions."""
    monkeypatch.setattr(home, "SUGGESTIONS_TIMEOUT_SECONDS", 60)
    monkeypatch.setattr(home, "SUGGESTIONS_SHARE", math.inf)


async def read(client: httpx.AsyncClient) -> str:
    response = await client.get("/")
    assert response.status_code == 200
    return response.text


def text_of(markup: str) -> str:
    """Return the words of some markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup))).strip()


async def tiles(client: httpx.AsyncClient) -> dict[str, str]:
    """Return the words of each tile by its address."""
    found = re.findall(r'<a class="tile[^"]*" href="([^"]*)">(.*?)</a>', await read(client))
    return {html.unescape(path): text_of(tile) for path, tile in found}


async def story(client: httpx.AsyncClient) -> list[str]:
    """Return the lines of what colleagues did, without their times."""
    found = re.findall(r"</time><div>(.*?)</div></li>", await read(client), re.DOTALL)
    return list(map(text_of, found))


async def add_colleague(username: str) -> None:
    await BaseUser.create_user(
        username, "long enough for this", email=f"{username}@directory.example", active=True
    )


async def end_last_visit(directory: asyncpg.Pool, ago: timedelta) -> None:
    await directory.execute(
        """
        INSERT INTO panel_visits (user_id, seen_at, previous_ended_at)
        SELECT id, now(), now() - $1::interval FROM piccolo_user WHERE username = 'manager'
        ON CONFLICT (user_id) DO UPDATE SET previous_ended_at = excluded.previous_ended_at
        """,
        ago,
    )


# Numbers


async def test_each_number_leads_to_what_it_counts(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    inviter = (await rows.member(directory, status="active", last_active_at=NOW))["member_id"]
    for hours in (9, 70):
        await rows.member(directory, status="pending", created_at=NOW - timedelta(hours=hours))
    now = datetime.now(UTC)
    for hours in (2, 23, 25, -1):
        await rows.invitation(
            directory, created_by=inviter, expires_at=now + timedelta(hours=hours, minutes=30)
        )
    for days in (59, 61, 90):
        await rows.member(
            directory, status="active", last_active_at=NOW - timedelta(days=days), name="Quiet"
        )
    for username in ("same", "SAME"):
        await rows.account(
            directory,
            platform="discord" if username == "same" else "telegram",
            account_id=str(len(username) + ord(username[0])),
            username=username,
            member_id=(await rows.member(directory, status="active"))["member_id"],
        )
    await requests.ask(inviter, "erasure", actor="bot")
    await directory.execute("UPDATE member_requests SET asked_at = now() - interval '50 hours'")
    found = await tiles(client)
    # The minutes pass while the test runs.
    found = {path: re.sub(r" \d+ minutes$", "", text) for path, text in found.items()}
    assert found == {
        "/review/": "2 Newcomers to review The oldest waits 2 days 22 hours",
        "/invitations/?show=ending": "2 Invitations ending Within a day, the first in 2 hours",
        "/people/?status=active&quiet_days=60": "2 Quiet members Nothing from them for 60 days",
        "/suggestions/": "1 Merge suggestion Two accounts that look like one person",
        "/requests/?kind=link": "0 Link requests Nobody waits for their account",
        "/requests/?kind=erasure": "1 Erasure request The oldest waits 2 days 2 hours",
    }
    assert (await read(client)).count('class="tile none"') == 1


async def test_bots_removed_and_suspended_people_and_those_never_active_are_not_quiet(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    long_ago = NOW - timedelta(days=100)
    quiet: dict[str, object] = {"status": "active", "last_active_at": long_ago}
    others: list[dict[str, object]] = [
        {"is_bot": True},
        {"deleted_at": NOW},
        {"status": "suspended"},
        {"last_active_at": None},
    ]
    for columns in others:
        await rows.member(directory, **{**quiet, **columns})
    await rows.member(directory, status="pending")
    found = await tiles(client)
    assert found["/people/?status=active&quiet_days=60"].startswith("0 Quiet members")


async def test_a_number_ends_at_a_limit(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "MAX_COUNTED", 2)
    for _ in range(3):
        member = await rows.member(
            directory, status="active", last_active_at=NOW - timedelta(days=100)
        )
        await rows.invitation(
            directory, created_by=member["member_id"], expires_at=NOW + timedelta(hours=1)
        )
    found = await tiles(client)
    assert found["/people/?status=active&quiet_days=60"].startswith("1+ Quiet members")
    assert found["/invitations/?show=ending"].startswith("1+ Invitations ending")


async def test_a_request_of_both_members_of_a_merge_counts_once(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    first, second = [(await rows.member(directory))["member_id"] for _ in range(2)]
    for number in (first, second):
        await requests.ask(number, "link", actor="bot")
    await members.merge(second, into=first, actor="eva", reason="one person")
    assert (await tiles(client))["/requests/?kind=link"].startswith("1 Link request ")


async def test_a_slow_count_of_suggestions_shows_the_last_number(
    directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: asyncio.Queue[int | Exception] = asyncio.Queue()
    calls = 0

    async def count(**_: object) -> Page[Any]:
        nonlocal calls
        calls += 1
        answer = await answers.get()
        if isinstance(answer, Exception):
            raise answer
        return Page([None] * answer, None)

    monkeypatch.setattr(members, "merge_suggestions", count)
    counter = SuggestionCounter()
    monkeypatch.setattr(home, "SUGGESTIONS_TIMEOUT_SECONDS", 0)
    assert [await counter.get(), await counter.get()] == [None, None]
    assert calls == 1
    monkeypatch.setattr(home, "SUGGESTIONS_TIMEOUT_SECONDS", 60)
    answers.put_nowait(3)
    assert await counter.get() == 3
    monkeypatch.setattr(home, "SUGGESTIONS_TIMEOUT_SECONDS", 0)
    assert [await counter.get(), await counter.get()] == [3, 3]
    assert calls == 2
    answers.put_nowait(5)
    monkeypatch.setattr(home, "SUGGESTIONS_TIMEOUT_SECONDS", 60)
    assert await counter.get() == 5
    answers.put_nowait(DatabaseUnavailable("It is away."))
    assert await counter.get() == 5
    # The next one counts again, and then nobody for a long time.
    monkeypatch.setattr(home, "SUGGESTIONS_SHARE", 1e-9)
    answers.put_nowait(7)
    assert [await counter.get(), await counter.get()] == [7, 7]
    assert calls == 4


async def test_the_page_does_not_wait_for_the_first_count(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def count(_: SuggestionCounter) -> None:
        return None

    monkeypatch.setattr(SuggestionCounter, "get", count)
    await rows.member(directory, status="active")
    assert (await tiles(client))["/suggestions/"] == "… Merge suggestions They are being counted"


# Newcomers


async def test_the_newcomers_who_wait_longest_lead_to_their_rows(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    inviter = await rows.member(directory, status="active", name="<b>Okwudili")
    numbers = []
    for place in range(7):
        member = await rows.member(
            directory,
            status="pending",
            name=f"Person {place}",
            created_at=NOW - timedelta(hours=100 - place),
            invited_by=inviter["member_id"],
        )
        numbers.append(member["member_id"][1:])
    text = await read(client)
    assert re.findall(r'href="/review/#m(\d+)"', text) == numbers[:6]
    assert "Review all 7" in text
    assert "<b>Okwudili" not in text
    assert "&lt;b&gt;Okwudili" in text
    assert '<span class="count">7' in text


# What colleagues did


async def test_the_acts_of_colleagues_since_the_last_visit_are_told(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add_colleague("Luis")
    numbers = [
        (await rows.member(directory, status="pending", name=f"Person {place}"))["member_id"]
        for place in range(5)
    ]
    await acts.apply("approve", numbers[:1], actor="luis")
    await directory.execute("UPDATE directory_audit_log SET changed_at = now() - interval '2 days'")
    await end_last_visit(directory, timedelta(days=1))
    await acts.apply("approve", numbers[1:4], actor="luis", reason="Known from the meetup")
    await acts.apply("decline", numbers[4:], actor="manager", reason="mine")
    await members.update_profile(1, name="Other", actor="telegram:1")
    assert await story(client) == [
        "luis approved Person 3 and 2 more “Known from the meetup”",
    ]
    text = await read(client)
    assert "Since you were here" in text
    assert "Your last visit ended on" in text


async def test_at_the_first_visit_the_acts_of_a_week_are_told(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add_colleague("luis")
    for days in (8, 6):
        number = (await rows.member(directory, status="pending", name=f"Day {days}"))["member_id"]
        await acts.apply("approve", [number], actor="luis")
        await directory.execute(
            "UPDATE directory_audit_log SET changed_at = now() - $1::interval WHERE member_id = $2",
            timedelta(days=days),
            number,
        )
    assert await story(client) == ["luis approved Day 6"]
    assert "What colleagues did this week" in await read(client)


async def test_an_act_on_very_many_is_one_line_and_hides_nothing(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "MAX_SHOWN", 3)
    monkeypatch.setattr(log_entries, "MAX_SHOWN", 3)
    await add_colleague("luis")
    numbers = [
        (await rows.member(directory, status="pending", name=f"P{place}"))["member_id"]
        for place in range(6)
    ]
    await acts.apply("approve", numbers[:1], actor="luis")
    await acts.apply("approve", numbers[1:], actor="luis")
    assert await story(client) == ["luis approved P5 and 4 more", "luis approved P0"]


async def test_a_few_lines_are_told(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "SHOWN_CHANGES", 2)
    await add_colleague("luis")
    for place in range(3):
        number = (await rows.member(directory, status="pending", name=f"P{place}"))["member_id"]
        await acts.apply("approve", [number], actor="luis")
    assert await story(client) == ["luis approved P2", "luis approved P1"]


# Health, nothing to do, and an empty directory


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([Verdict.OK, Verdict.NOT_CHECKED], None),
        ([Verdict.WARNING], "found 1 fault."),
        ([Verdict.WARNING, Verdict.FAILED], "found 2 faults."),
    ],
)
async def test_faults_of_the_last_report_are_told(
    client: httpx.AsyncClient, verdicts: list[Verdict], expected: str | None
) -> None:
    results = [make_result(verdict) for verdict in verdicts]
    await doctor.store_report(await doctor.make_report(results, checked_by="eva"))
    text = await read(client)
    assert ('href="/health/"' in text) is (expected is not None)
    assert (expected or "Welcome") in text_of(text)


async def test_with_nothing_to_do_the_page_says_so(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, status="active")
    text = await read(client)
    assert "Nothing waits for you." in text
    assert "Colleagues have changed nothing." in text
    assert 'class="tile' not in text
    assert 'class="count"' not in text
    await rows.member(directory, status="pending")
    assert "Nothing waits for you." not in await read(client)


async def test_an_empty_directory_shows_the_first_steps(client: httpx.AsyncClient) -> None:
    text = await read(client)
    assert "The directory is empty." in text
    for step in ("1. Say who you are", "2. Bring those", "3. Invite people"):
        assert step in text
    for path in ("/people/add/?status=active", "/invitations/"):
        assert f'href="{path}"' in text
    assert "Nothing waits" not in text


async def test_the_page_speaks_the_language_of_the_visitor(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, status="pending", created_at=NOW - timedelta(days=3, hours=4))
    response = await client.get("/", headers={"Accept-Language": "es"})
    for shown in ("Persona nueva por revisar", "espera desde hace 3 días 4 horas", "Espera"):
        assert shown in text_of(response.text)
