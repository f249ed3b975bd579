"""The page of invitations: the lists, one and many, twice the same form, and who may see codes."""

import asyncio
import html
import re
import time
from datetime import datetime, timedelta
from uuid import uuid4

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from piccolo.apps.user.tables import BaseUser

from community_directory.language import find_translation
from community_directory.queries import invitations, members, permissions
from community_directory.settings import load_settings
from community_directory.web.workspace.invitation_batches import SEPARATORS, split_usernames
from community_directory.web.workspace.invitations import MAX_CHANGED
from tests.tables import rows
from tests.web.conftest import session_of
from tests.zones import use_zone

HOSTILE = "<img src=x onerror=alert(1)>"


def text_of(markup: str) -> str:
    markup = re.sub(r"<noscript>.*?</noscript>", "", markup, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", markup))).strip()


def rows_of(page: str) -> list[str]:
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    return [text_of(row) for row in re.findall(r"<tr>.*?</tr>", body, re.DOTALL)]


def answers_of(page: str) -> list[str]:
    listed = re.search(r'<ul class="list">(.*?)</ul>', page, re.DOTALL)
    assert listed is not None
    return [text_of(item) for item in re.findall(r"<li>.*?</li>", listed[1], re.DOTALL)]


async def read(client: httpx.AsyncClient, query: str = "") -> str:
    response = await client.get(f"/invitations/{query}")
    assert response.status_code == 200
    return response.text


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> None:
    """Ana, an active member, is #1, and may invite as many as she likes."""
    await rows.member(directory, name="Ana", status="active", telegram_username="ana_g")
    await directory.execute(
        "INSERT INTO member_permissions (id, member_id, permission)"
        " VALUES (gen_random_uuid(), '#1', 'manage')"
    )


async def make(directory: asyncpg.Pool, name: str, **columns: object) -> asyncpg.Record:
    """Insert an invitation of Ana."""
    defaults = {"created_by": "#1", "invited_telegram_username": name}
    return await rows.invitation(directory, **(defaults | columns))


async def add_one_of_each(directory: asyncpg.Pool) -> None:
    now = await directory.fetchval("SELECT now()")
    dora = await rows.member(directory, name="Dora", status="active", invited_by="#1")
    await make(directory, "open_one", expires_at=now + timedelta(days=2))
    await make(directory, "ends_soon", expires_at=now + timedelta(hours=5))
    await make(directory, "overdue", expires_at=now - timedelta(hours=5))
    await make(directory, "late", expires_at=now - timedelta(days=9), status="expired")
    await make(directory, "gone", status="cancelled")
    await make(
        directory, "dora_d", status="accepted", accepted_by=dora["member_id"], accepted_at=now
    )


@pytest.mark.usefixtures("ana")
async def test_each_segment_lists_its_invitations_and_counts_them(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add_one_of_each(directory)
    page = await read(client)
    assert "2 are open; 1 of them ends within a day." in text_of(page)
    assert re.findall(r"<small>(\d+)</small></a>", page) == ["2", "1", "1", "2", "1", "5", "6"]
    assert ["ends_soon" in row for row in rows_of(page)] == [True, False]
    descending = rows_of(await read(client, "?sort=-ends"))
    assert ["open_one" in row for row in descending] == [True, False]
    for show, names in {
        "ending": {"ends_soon"},
        "accepted": {"dora_d"},
        "expired": {"overdue", "late"},
        "cancelled": {"gone"},
        "unaccepted": {"open_one", "ends_soon", "overdue", "late", "gone"},
        "all": {"open_one", "ends_soon", "overdue", "late", "gone", "dora_d"},
    }.items():
        listed = rows_of(await read(client, f"?show={show}"))
        assert {re.findall(r"@(\w+)", row)[0] for row in listed} == names
    assert "Dora" in rows_of(await read(client, "?show=accepted"))[0]
    all_rows = rows_of(await read(client, "?show=all"))
    (accepted,) = [row for row in all_rows if "@dora_d" in row]
    assert accepted.endswith("Accepted Dora")
    states = [row.split()[-1] for row in all_rows if row != accepted]
    assert sorted(states) == ["Cancelled", "Expired", "Expired", "Open", "Open"]


@pytest.mark.usefixtures("ana")
async def test_the_numbers_of_an_inviter_lead_to_as_many_invitations(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await add_one_of_each(directory)
    page = await read(client, "?show=inviters")
    numbers = [int(number) for number in re.findall(r">(\d+)(?:<span|</td>)", page)]
    assert numbers[:3] == [6, 2, 1]
    links = re.findall(r'<a href="([^"]*inviter=1)">(\d+)<span', page)
    assert [number for _, number in links] == ["2", "1"]
    for link, number in links:
        listed = rows_of(await read(client, link.replace("&amp;", "&")))
        assert len(listed) == int(number)


@pytest.mark.usefixtures("ana")
async def test_the_lists_can_be_those_of_days_in_the_zone_of_the_community(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_zone(monkeypatch, "America/New_York")
    await rows.member(directory, name="Bea", status="active")
    for name, hour, inviter in (
        # The first of November has 25 hours there, from 4:00 UTC to 5:00 UTC of the next day.
        ("day_before", "2026-11-01 03:59Z", "#1"),
        ("first_minute", "2026-11-01 04:00Z", "#1"),
        ("last_minute", "2026-11-02 04:59Z", "#2"),
        ("day_after", "2026-11-02 05:00Z", "#2"),
    ):
        made = datetime.fromisoformat(hour)
        await make(directory, name, created_at=made, status="cancelled", created_by=inviter)

    async def listed(query: str) -> set[str]:
        return set(re.findall(r"@(\w+)", await read(client, f"?show=all&{query}")))

    one_day = "created_from=2026-11-01&created_to=2026-11-01"
    assert await listed(one_day) == {"first_minute", "last_minute"}
    assert await listed(f"{one_day}&inviter=2") == {"last_minute"}
    assert await listed("created_to=2026-10-31") == {"day_before"}
    assert await listed("created_from=2026-11-02") == {"day_after"}
    page = await read(client, f"?show=cancelled&{one_day}")
    assert "Made Nov 1, 2026 ×" in text_of(page)
    assert 'name="created_to" value="2026-11-01"' in page
    assert re.findall(r"<small>(\d+)</small></a>", page) == ["0", "0", "0", "0", "2", "2", "2"]
    inviters = await read(client, f"?show=inviters&{one_day}")
    # The number, and one invitation that was made, and is neither open nor accepted.
    assert [row[:8] for row in rows_of(inviters)] == ["Bea#2100", "Ana#1100"]
    only = rows_of(await read(client, f"?show=inviters&inviter=1&{one_day}"))
    assert [row[:8] for row in only] == ["Ana#1100"]
    assert "There are none here." in await read(client, "?show=inviters&created_to=2020-01-01")


@pytest.mark.usefixtures("ana")
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("created_from=soon", "soon is no day"),
        ("show=inviters&created_to=2026-02-30", "2026-02-30 is no day"),
        ("show=lost", "There is no show lost."),
        ("sort=name", "There is no sort name."),
        ("show=inviters&sort=%00", "There is no sort"),
    ],
)
async def test_an_address_that_means_nothing_is_refused(
    client: httpx.AsyncClient, query: str, sentence: str
) -> None:
    response = await client.get(f"/invitations/?{query}")
    assert response.status_code == 400
    assert sentence in response.text


@pytest.mark.usefixtures("ana")
async def test_the_lists_can_be_those_of_one_inviter_even_of_a_removed_one(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await make(directory, "of_ana")
    await rows.member(directory, name="Bea", status="active")
    await make(directory, "of_bea", created_by="#2")
    await members.remove("#2", actor="Irene")
    page = await read(client, "?inviter=2")
    assert len(rows_of(page)) == 1
    assert "of_bea" in page
    assert "not active: the link doesn’t work" in page
    assert "Invited by Bea" in text_of(page)
    await rows.member(directory, name="Cleo", status="active")
    await make(directory, "of_cleo", created_by="#3")
    page = await read(client, "?inviter=2, %233")
    assert set(re.findall(r"@(of_[a-z]+)", page)) == {"of_bea", "of_cleo"}
    assert "Invited by Bea, Cleo" in text_of(page)
    await rows.merged_member(directory, merged_into="#3")
    page = await read(client, "?inviter=3,4")
    assert set(re.findall(r"@(of_[a-z]+)", page)) == {"of_cleo"}
    assert "Invited by Cleo" in text_of(page)
    assert "Invited by Cleo, Cleo" not in text_of(page)
    assert (await client.get("/invitations/?inviter=99")).status_code == 404


@pytest.mark.usefixtures("ana")
async def test_pages_follow_each_other_without_a_gap(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("community_directory.web.workspace.invitation_lists.PAGE_SIZE", 2)
    for number in range(5):
        await make(directory, f"name_{number}", status="cancelled")
    seen, query = [], "?show=cancelled"
    while True:
        page = await read(client, query)
        assert "5 invitations" in page
        seen += re.findall(r"@(name_\d)", page)
        following = re.search(r'href="(\?[^"]+)" rel="next"', page)
        if following is None:
            break
        query = html.unescape(following[1])
    assert seen == [f"name_{number}" for number in reversed(range(5))]


async def invite(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    data = {"id": str(uuid4()), "inviter": "#1", "days": "7", "username": "", **fields}
    return await client.post("/invitations/", data=data)


@pytest.mark.usefixtures("ana")
async def test_an_invitation_is_made_and_its_link_shown(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIRECTORY_BOT_USERNAME", "frutero_bot")
    load_settings.cache_clear()
    response = await invite(client, username="@Dora_D", inviter="ana")
    assert response.status_code == 303
    [made] = (await invitations.list_page()).items
    assert made.invited_telegram_username == "Dora_D"
    assert abs(made.expires_at - made.created_at - timedelta(days=7)) < timedelta(minutes=1)
    page = (await client.get(response.headers["location"])).text
    link = f"https://t.me/frutero_bot?start={made.invitation_code}"
    assert f'data-copy="{link}"' in page
    assert f'<noscript><span class="code">{link}</span></noscript>' in page
    assert await directory.fetchval("SELECT actor FROM directory_audit_log ORDER BY id DESC") == (
        "manager"
    )
    assert 'value="#1"' in await read(client)  # the inviter is remembered


@pytest.mark.usefixtures("ana")
async def test_without_the_name_of_the_bot_the_code_is_copied(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    made = await make(directory, "dora_d")
    assert f'data-copy="{made["invitation_code"]}"' in await read(client)


@pytest.mark.parametrize("username", ["dora_d", ""])
@pytest.mark.usefixtures("ana")
async def test_a_form_that_is_sent_twice_makes_one_invitation(
    client: httpx.AsyncClient, directory: asyncpg.Pool, username: str
) -> None:
    form_id = str(uuid4())
    responses = await asyncio.gather(
        *(invite(client, id=form_id, username=username) for _ in range(4))
    )
    responses.append(await invite(client, id=form_id, username=username))
    assert {response.headers["location"] for response in responses} == {
        f"/invitations/?made={form_id}"
    }
    assert await directory.fetchval("SELECT count(*) FROM community_invitations") == 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"inviter": "nobody at all"}, "Choose the member who invites them."),
        ({"inviter": ""}, "Choose the member who invites them."),
        ({"inviter": "Ana M"}, "Several members match: "),
        ({"username": "two words"}, "username"),
        ({"username": "ana_g"}, "A member already: Ana"),
        ({"inviter": "#4"}, "Only an active member can do this."),
    ],
)
@pytest.mark.usefixtures("ana")
async def test_a_refused_form_says_why_and_keeps_what_was_typed(
    client: httpx.AsyncClient, directory: asyncpg.Pool, fields: dict[str, str], problem: str
) -> None:
    for name in ("Ana Moreno", "Ana Méndez"):
        await rows.member(directory, name=name, status="active")
    await rows.member(directory, name="Carla", status="suspended")
    response = await invite(client, **fields)
    assert response.status_code == 422
    alert = re.search(r'role="alert"><p>(.*?)</p>', response.text)
    assert alert is not None
    assert problem in html.unescape(alert[1])
    for value in fields.values():
        assert f'value="{value}"' in response.text
    assert await directory.fetchval("SELECT count(*) FROM community_invitations") == 0


@pytest.mark.usefixtures("ana")
async def test_each_of_many_usernames_is_answered_also_the_second_time(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for name, status in (
        ("Okwu", "active"),
        ("Petra", "banned"),
        ("Wanda", "pending"),
        ("Sun", "suspended"),
        ("Kim", "not_member"),
    ):
        await rows.member(
            directory, name=name, status=status, telegram_username=f"{name.lower()}_x"
        )
    await make(directory, "open_x")
    usernames = "@mirela_d\n@OKWU_x, petra_x;wanda_x, sun_x @kim_x\n@open_x\ntwo words, mirela_D"
    data = {"id": str(uuid4()), "inviter": "1", "days": "3", "usernames": usernames}
    expected = [
        "@mirela_d Invited, the link is ready Copy for @mirela_d",
        "@OKWU_x A member already: Okwu",
        "petra_x Banned: Petra. A manager has to lift the ban first.",
        "wanda_x Waits for approval already: Wanda",
        "sun_x A member already, suspended: Sun",
        "@kim_x Invited, the link is ready Copy for @kim_x",
        "@open_x Open already, by Ana; it ends in 3 days Extend for @open_x",
        "two words Not a username",
    ]
    for _ in range(2):
        response = await client.post("/invitations/many/", data=data)
        assert response.status_code == 200
        assert answers_of(response.text) == expected
        assert "2 invited, 6 not" in response.text
    assert await directory.fetchval("SELECT count(*) FROM community_invitations") == 3
    [[moment]] = await directory.fetch(
        "SELECT DISTINCT changed_at FROM directory_audit_log WHERE actor = 'manager'"
    )
    assert moment  # one transaction, and so one line in the log


@pytest.mark.usefixtures("ana")
async def test_the_quota_of_the_inviter_ends_a_batch(
    client: httpx.AsyncClient, directory: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await directory.execute("DELETE FROM member_permissions")
    monkeypatch.setenv("DIRECTORY_MAX_OPEN_INVITATIONS", "2")
    load_settings.cache_clear()
    data = {"id": str(uuid4()), "inviter": "1", "usernames": "aaaaa,bbbbb,ccccc"}
    assert "can have 2 open invitations, and 20 new ones in 7 days" in await read(client)
    assert "Ana can invite 2 more now: at most 2 open ones" in await read(client, "?inviter=1")
    page = (await client.post("/invitations/many/", data=data)).text
    assert "has 2 open invitations" in answers_of(page)[2]
    assert "Ana can invite 0 more now" in page
    assert await directory.fetchval("SELECT count(*) FROM community_invitations") == 2
    await permissions.grant(1, "manage", actor="eva")
    assert "more now" not in await read(client, "?inviter=1")


@pytest.mark.usefixtures("ana")
async def test_at_most_fifty_are_invited_at_once(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    for number, status in ((50, 200), (51, 422), (0, 422)):
        usernames = ",".join(f"person_{place}" for place in range(number))
        data = {"id": str(uuid4()), "inviter": "1", "usernames": usernames}
        response = await client.post("/invitations/many/", data=data)
        assert response.status_code == status
        assert usernames in response.text
    assert await directory.fetchval("SELECT count(*) FROM community_invitations") == 50


separated = st.tuples(
    st.sampled_from([", ", ";", "\n", " @", ",\n\n", "\r\n"]),
    st.text("abc_", min_size=4, max_size=6),
)


@given(st.lists(separated, max_size=8))
def test_usernames_may_be_separated_in_any_way(typed: list[tuple[str, str]]) -> None:
    names = [name for _, name in typed]
    text = "".join(map("".join, typed))
    assert [name.lstrip("@") for name in split_usernames(text)] == list(dict.fromkeys(names))
    assert SEPARATORS.split("two words") == ["two words"]


def test_a_long_white_space_takes_no_time() -> None:
    started = time.process_time()
    assert len(split_usernames("a" + " " * 50_000 + "b")) == 1
    assert time.process_time() - started < 1  # with the square of the length it takes ten seconds


@pytest.mark.usefixtures("ana")
async def test_picked_invitations_are_changed_as_one_act(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    ids = [str((await make(directory, f"name_{n}"))["invitation_id"]) for n in range(3)]
    used = await make(directory, "gone", status="cancelled")
    back = "show=ending&inviter=1"
    response = await client.post(
        "/invitations/change/",
        data={"do": "extend", "pick": [*ids[:2], str(used["invitation_id"])], "back": back},
    )
    assert (response.status_code, response.headers["location"]) == (303, f"/invitations/?{back}")
    page = (await client.get(response.headers["location"])).text
    assert "2 invitations were extended by 3 days. 1 stayed as it was: This code is" in page
    left = await directory.fetchval(
        "SELECT min(expires_at) > now() + interval '5 days' FROM community_invitations"
        " WHERE invitation_id = ANY($1)",
        ids[:2],
    )
    assert left
    await client.post("/invitations/change/", data={"do": f"cancel {ids[2]}"})
    await client.post("/invitations/change/", data={"do": "cancel", "pick": ids[:2]})
    statuses = await directory.fetch("SELECT DISTINCT status FROM community_invitations")
    assert [status for (status,) in statuses] == ["cancelled"]
    acts = await directory.fetch(
        "SELECT act_id, count(*) FROM directory_audit_log WHERE action = 'UPDATE' GROUP BY 1"
    )
    assert sorted(count for _, count in acts) == [1, 2, 2]
    assert all(act_id for act_id, _ in acts)


@pytest.mark.parametrize("do", ["", "praise", "Cancel"])
@pytest.mark.usefixtures("ana")
async def test_a_form_that_says_nothing_known_cancels_nothing(
    client: httpx.AsyncClient, directory: asyncpg.Pool, do: str
) -> None:
    invitation = await make(directory, "somebody")
    data = {"do": do, "pick": str(invitation["invitation_id"])}
    response = await client.post("/invitations/change/", data=data)
    assert (response.status_code, "There is no such act." in response.text) == (422, True)
    many = {"do": "cancel", "pick": [data["pick"], *(str(uuid4()) for _ in range(MAX_CHANGED))]}
    response = await client.post("/invitations/change/", data=many)
    assert (response.status_code, "Up to 100 invitations" in response.text) == (422, True)
    assert await directory.fetchval("SELECT status FROM community_invitations") == "pending"


@pytest.mark.parametrize("do", ["cancel", "extend"])
@pytest.mark.usefixtures("ana")
async def test_what_can_t_be_changed_is_said(
    client: httpx.AsyncClient, directory: asyncpg.Pool, do: str
) -> None:
    used = await make(directory, "gone", status="cancelled")
    data = {"do": f"{do} {used['invitation_id']}", "back": "show=cancelled"}
    response = await client.post("/invitations/change/", data=data)
    assert response.status_code == 422
    assert "This code is no longer valid" in response.text
    assert "@gone" in response.text  # the list is the one of before
    response = await client.post("/invitations/change/", data={"do": do, "pick": ["x"]})
    assert response.status_code == 422
    assert "Pick at least one invitation." in response.text


@pytest.mark.usefixtures("ana")
async def test_a_viewer_sees_no_code_and_no_form(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    made = await make(directory, "dora_d")
    viewer = await BaseUser.create_user(
        "viewer", "long enough for this", email="v@directory.example", active=True
    )
    await directory.execute("INSERT INTO panel_viewers (user_id) VALUES ($1)", viewer.id)
    client.cookies.set("id", await session_of(viewer))
    page = await read(client, f"?made={made['invitation_id']}")
    assert "@dora_d" in page
    assert made["invitation_code"][-8:] not in page
    assert "/invitations/change/" not in page
    assert (await invite(client)).status_code == 403


@pytest.mark.usefixtures("ana")
async def test_names_are_text_and_the_page_speaks_spanish(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await directory.execute("UPDATE community_members SET name = $1", HOSTILE)
    await add_one_of_each(directory)
    data = {"id": str(uuid4()), "inviter": "1", "usernames": HOSTILE}
    pages = [(await client.post("/invitations/many/", data=data)).text]
    pages += [await read(client, f"?show={show}") for show in ("open", "accepted", "inviters")]
    for page in pages:
        assert "<img" not in page
        assert html.escape(HOSTILE) in page
    client.cookies.set("language", "es")
    assert "Terminan en un día" in await read(client)
    assert find_translation("es").gettext("Invite many") in await read(client)
