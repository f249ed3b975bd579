"""The page of the tree: who is drawn and found, and acts on a branch with a preview."""

import re
from datetime import UTC, datetime, time, timedelta
from html import unescape

import asyncpg
import httpx
import pytest

from community_directory.app import app
from community_directory.calendar import today
from community_directory.queries import acts, members, permissions
from community_directory.queries.branches import BRANCH_KINDS
from community_directory.web.workspace import tree, tree_rows
from tests.queries.test_acts import people, stored_states
from tests.tables import rows
from tests.web.conftest import ADDRESS, add_superuser, session_of

CHECKED = re.compile(r'name="member" value="(\d+)" form="act"( checked)?')


async def family(directory: asyncpg.Pool) -> None:
    """Add #1, who invited #2 and #3; #2 invited the bot #4, who invited the banned #5."""
    await people(directory, "active", name="Root")
    await people(directory, "active", "pending", invited_by="#1", name="Child")
    await people(directory, "active", invited_by="#2", is_bot=True, name="Bot")
    await people(directory, "banned", invited_by="#4", name="Grandchild")


async def text_of(client: httpx.AsyncClient, path: str, status: int = 200) -> str:
    response = await client.get(path)
    assert response.status_code == status, response.text
    return response.text


def shown_text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def fields(html: str) -> dict[str, str]:
    """Return the hidden fields of the question."""
    dialog = html[html.index("<dialog") :]
    return {
        name: unescape(value)
        for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', dialog)
    }


async def ask(
    client: httpx.AsyncClient, number: int, *ticked: int, shown: str, **typed: str
) -> httpx.Response:
    return await client.post(
        f"/tree/{number}/preview/",
        data={
            "csrftoken": client.cookies["csrftoken"],
            "shown": shown,
            "member": [str(each) for each in ticked],
            **typed,
        },
    )


async def confirm(
    client: httpx.AsyncClient, number: int, question: httpx.Response, **typed: str
) -> httpx.Response:
    data = {**fields(question.text), "reason": "a ring of spammers", **typed}
    return await client.post(f"/tree/{number}/act/", data=data)


@pytest.fixture
async def here(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The client, with a token for the forms of the workspace."""
    await client.get("/tree/")
    return client


async def test_the_start_lists_those_who_invited_most(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    assert "Nobody has joined with an invitation" in await text_of(here, "/tree/")
    await family(directory)
    page = await text_of(here, "/tree/")
    assert re.findall(r'href="(/tree/\d+/)"', page) == ["/tree/1/"]
    assert "invited 2" in page


async def test_a_branch_is_drawn_without_bots_and_with_the_people_whom_they_invited(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    page = await text_of(here, "/tree/1/")
    assert [number for number, _ in CHECKED.findall(page)] == ["1", "2", "5", "3"]
    assert "Bot" not in page
    assert "3 people below" in shown_text(page)
    lower = await text_of(here, "/tree/2/")
    assert 'Invited by <a href="/tree/1/">' in lower
    assert [number for number, _ in CHECKED.findall(lower)] == ["2", "5"]


@pytest.mark.parametrize("wanted", ["#1", "1", "Root", "root"])
async def test_a_member_is_found_by_number_and_by_name(
    directory: asyncpg.Pool, here: httpx.AsyncClient, wanted: str
) -> None:
    await family(directory)
    page = (await here.get("/tree/", params={"from": wanted})).text
    assert "The branch of Root" in shown_text(page)


async def test_several_members_with_a_name_are_listed(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    page = (await here.get("/tree/", params={"from": "Child"})).text
    listed = re.findall(r'href="(/tree/\d+/)"', page)
    assert sorted(listed) == ["/tree/2/", "/tree/3/", "/tree/5/"]
    nobody = (await here.get("/tree/", params={"from": "Zoe"})).text
    assert "0 people have this name" in shown_text(nobody)


@pytest.mark.parametrize("path", ["/tree/99/", "/tree/x/", "/tree/" + "9" * 5000 + "/"])
async def test_nobody_has_an_unknown_tree(here: httpx.AsyncClient, path: str) -> None:
    await text_of(here, path, 404)


async def test_old_addresses_lead_to_the_tree(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    for old, new in {
        "/insights/tree/": "/tree/",
        "/insights/tree/1/": "/tree/1/",
        "/insights/tree/?member=1": "/tree/?member=1",
    }.items():
        response = await here.get(old)
        assert (response.status_code, response.headers["location"]) == (301, new)
    assert "The branch of Root" in shown_text(await text_of(here, "/tree/?member=1"))


async def test_a_node_has_its_status_activity_and_numbers(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    for days, count in ((0, 100), (7, 25), (84, 10_000)):
        await rows.highlight(
            directory,
            member_id="#2",
            highlight_date=today() - timedelta(days=days),
            message_count=count,
        )
    await rows.invitation(directory, created_by="#2")
    await directory.execute(
        "UPDATE community_members SET created_at = $1, last_active_at = $2 WHERE member_id = '#2'",
        datetime.now(UTC) - timedelta(days=40),
        datetime.now(UTC) - timedelta(days=3),
    )
    drawing = await tree_rows.draw("#1")
    assert drawing is not None
    node = drawing.nodes[1]
    assert node.bars == [1] * 10 + [9, 18]
    assert (node.days_since_joining, node.days_quiet, node.open_invitations) == (40, 3, 1)
    page = shown_text(await text_of(here, "/tree/1/"))
    assert "here for 40 days, 1 open invitation" in page
    assert "Last active: 3 days" in page


async def test_names_are_text(directory: asyncpg.Pool, here: httpx.AsyncClient) -> None:
    await people(directory, "active", name="<img src=x onerror=alert(1)>")
    for path in ("/tree/1/", "/tree/?from=img"):
        assert "<img" not in await text_of(here, path)


async def test_a_deep_and_a_wide_branch_are_cut_with_a_note(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await directory.execute(
        """INSERT INTO community_members (member_id, telegram_id, name, primary_role, status,
            invited_by)
        SELECT '#' || n, n::text, 'Ana', 'developer', 'active',
            CASE WHEN n = 1 THEN NULL WHEN n <= 120 THEN '#' || n - 1 WHEN n = 121 THEN NULL
                ELSE '#121' END
        FROM generate_series(1, 500) AS n ORDER BY n"""
    )
    deep, wide = [await text_of(here, f"/tree/{number}/") for number in (1, 121)]
    assert [len(CHECKED.findall(page)) for page in (deep, wide)] == [101, 300]
    assert "119 people below" in shown_text(deep)
    assert "379 people below" in shown_text(wide)
    for page, number in ((deep, 101), (wide, 300)):
        assert f"Only the first {number} people are drawn" in shown_text(page)
    # An act affects those who are not drawn, too.
    question = await ask(here, 121, shown="121 122", do="suspend")
    assert "Suspend 378 people?" in question.text


async def test_a_branch_of_forty_is_banned_by_a_preview_and_one_reason(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await people(directory, "active")
    for number in range(1, 14):
        await people(directory, "active", "active", "pending", invited_by=f"#{number}")
    page = await text_of(here, "/tree/1/")
    numbers = [number for number, _ in CHECKED.findall(page)]
    assert len(numbers) == 40
    question = await ask(
        here, 1, *map(int, numbers), shown=" ".join(numbers), do="ban", cancel="1", reason="ring"
    )
    assert (question.status_code, 'value="ring"' in question.text) == (200, True)
    assert "Ban 40 people?" in question.text
    assert await stored_states(directory) != ["banned"] * 40

    for count in ("", "39"):
        refused = await confirm(here, 1, question, count=count)
        assert refused.status_code == 422
        assert "Type 40, the number of people, to confirm." in refused.text
        assert fields(refused.text) == fields(question.text)
    done = await confirm(here, 1, question, count="40")
    assert (done.status_code, done.headers["location"]) == (303, "/tree/1/")
    assert "40 people are banned." in await text_of(here, "/tree/1/")
    assert await stored_states(directory) == ["banned"] * 40
    entries = await directory.fetch(
        "SELECT DISTINCT act_id, actor, reason FROM directory_audit_log WHERE act_id IS NOT NULL"
    )
    assert [(entry["actor"], entry["reason"]) for entry in entries] == [
        ("manager", "a ring of spammers")
    ]


async def test_the_question_says_who_is_left_out_and_those_spared_stay(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    question = await ask(here, 1, 1, 2, 5, shown="1 2 5 3", do="ban")
    text = shown_text(question.text[question.text.index("<dialog") :])
    assert "Ban 2 people?" in text
    assert "Grandchild #5 Is banned already" in text
    assert re.findall(r'value="(\d)" form="act"(?: checked)?', question.text) == list("1253")
    assert [n for n, checked in CHECKED.findall(question.text) if not checked] == ["3"]
    await confirm(here, 1, question)
    assert (await members.get("#3")).status == "pending"
    assert (await members.get("#2")).status == "banned"


async def test_whoever_changed_since_the_question_is_left_out(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    question = await ask(here, 1, 1, 2, shown="1 2 5 3", do="ban")
    await members.set_status("#2", "suspended", actor="eva")
    await confirm(here, 1, question)
    assert (await members.get("#2")).status == "suspended"
    page = await text_of(here, "/tree/1/")
    assert "1 person is banned. 1 person was left out" in shown_text(page)


async def test_only_the_invitations_are_cancelled(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    await rows.invitation(directory, created_by="#2")
    question = await ask(here, 1, 1, 2, shown="1 2", do="cancel_invitations")
    assert "1 open invitation is cancelled." in question.text
    await confirm(here, 1, question)
    assert await directory.fetchval("SELECT status FROM community_invitations") == "cancelled"
    assert (await members.get("#2")).status == "active"


async def test_the_children_get_another_inviter(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    await people(directory, "active", name="Zacarías")
    for nobody in ("", "Child", "Nobody at all"):
        refused = await ask(here, 1, 2, 3, shown="1 2 5 3", do="move", inviter=nobody)
        assert refused.status_code == 422
        assert "Name the new inviter by their number" in refused.text
    question = await ask(here, 1, 2, 3, shown="1 2 5 3", do="move", inviter="zacarias")
    assert "Give 2 people to another inviter?" in question.text
    await confirm(here, 1, question)
    assert (await members.get("#2")).invited_by == (await members.get("#3")).invited_by == "#6"
    assert (await members.get("#5")).invited_by == "#4"


async def test_a_branch_is_suspended_until_the_morning_of_a_day(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    question = await ask(here, 1, 2, shown="1 2 5 3", do="suspend")
    for wrong in ("tomorrow", "2020-01-01"):
        assert (await confirm(here, 1, question, until=wrong)).status_code == 422
    day = today() + timedelta(days=7)
    await confirm(here, 1, question, until=day.isoformat())
    until = (await members.get("#2")).suspended_until
    assert until == datetime.combine(day, time.min, UTC)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"do": "praise"}, "can&#39;t"),
        ({"do": "approve"}, "can&#39;t"),
        ({"do": "ban"}, "Pick at least one person."),
    ],
)
async def test_a_form_that_means_no_act_shows_the_tree_again(
    directory: asyncpg.Pool, here: httpx.AsyncClient, typed: dict[str, str], sentence: str
) -> None:
    await people(directory, "active")
    refused = await ask(here, 1, shown="1", **typed)
    assert refused.status_code == 422
    assert sentence in refused.text or "There is no kind" in refused.text
    assert await stored_states(directory) == ["active"]


async def test_an_act_needs_a_reason(directory: asyncpg.Pool, here: httpx.AsyncClient) -> None:
    await family(directory)
    question = await ask(here, 1, 1, shown="1", do="ban")
    refused = await confirm(here, 1, question, reason=" ")
    assert (refused.status_code, "The reason can&#39;t be empty." in refused.text) == (422, True)
    assert (await members.get("#1")).status == "active"


async def test_only_a_superuser_bans_managers(
    directory: asyncpg.Pool, here: httpx.AsyncClient
) -> None:
    await family(directory)
    await permissions.grant("#1", "manage", actor="eva")
    await directory.execute("UPDATE piccolo_user SET superuser = false WHERE username = 'manager'")
    question = await ask(here, 1, 1, 2, shown="1 2", do="ban")
    assert "only a superuser may do this" in question.text
    forged = {"people": "1:active 2:active"}
    await confirm(here, 1, question, **forged)
    assert [(await members.get(number)).status for number in (1, 2)] == ["active", "banned"]


@pytest.mark.usefixtures("here")
async def test_a_viewer_reads_the_tree_and_can_not_act(directory: asyncpg.Pool) -> None:
    await family(directory)
    viewer = await add_superuser("viewer")
    await directory.execute(
        "UPDATE piccolo_user SET superuser = false, admin = false WHERE username = 'viewer'"
    )
    await directory.execute("INSERT INTO panel_viewers (user_id) VALUES ($1)", viewer.id)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ADDRESS) as client:
        client.cookies.set("id", await session_of(viewer))
        page = await text_of(client, "/tree/1/")
        assert not CHECKED.search(page)
        assert "Act on this branch" not in page
        assert (await ask(client, 1, 1, shown="1", do="ban")).status_code == 403


def test_each_kind_of_act_on_a_branch_has_texts() -> None:
    assert tuple(tree.BRANCH_ACTS) == BRANCH_KINDS
    assert set(tree.BRANCH_ACTS) <= set(acts.ActKind)
