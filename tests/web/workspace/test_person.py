"""The page of a person: what it shows to whom, and every act on it."""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from html import unescape
from typing import Any

import asyncpg
import httpx
import pytest

from community_directory.calendar import today
from community_directory.queries import (
    accounts,
    acts,
    audit,
    invitations,
    members,
    notes,
    permissions,
    relationships,
    requests,
)
from community_directory.web.workspace.person import list_links, list_profile_fields
from community_directory.web.workspace.person_actions import ACTIONS, CHANGE_END
from tests.tables import rows
from tests.web.workspace.person_pages import done, read, refused, send, sign_in_as

ONE_LINE = "<img src=x onerror=alert(1)>{{ 7 * 7 }}"
HOSTILE = f"\u202e{ONE_LINE}"
NOW = datetime.now(UTC)


@pytest.fixture
async def ana(directory: asyncpg.Pool) -> asyncpg.Record:
    """Member #1, who is active."""
    return await rows.member(
        directory,
        name="Ana García",
        status="active",
        country="Mexico",
        telegram_id="1001",
        telegram_username="ana",
        profile_data=json.dumps(
            {"site": "https://ana.example/", "skills": ["art", "code"], "more": {"a": 1}}
        ),
    )


def buttons(page: str) -> list[str]:
    """Return the actions of the head of a page."""
    return [name for name in re.findall(r'popovertarget="([a-z]+)">', page) if name != "places"]


async def test_the_page_shows_who_somebody_is(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    await directory.execute(
        "UPDATE community_members SET last_active_at = now() - interval '3 days'"
    )
    page = await read(client, "/people/1/")
    assert "<h1><bdi>Ana García</bdi></h1>" in page
    assert '<span class="state s-active">Active</span>' in page
    for text in ("#1", "Mexico", "Novice", "Active 3 days ago", "@ana", "art, code"):
        assert text in page
    assert 'href="https://t.me/ana"' in page
    assert 'href="https://ana.example/"' in page
    assert buttons(page) == ["suspend", "ban", "remove"]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"status": "pending"}, ["approve", "decline", "ban", "remove"]),
        ({"status": "pending", "is_bot": True}, ["decline", "ban", "remove"]),
        ({"status": "not_member"}, ["ban", "remove"]),
        ({"status": "active"}, ["suspend", "ban", "remove"]),
        ({"status": "suspended"}, ["reinstate", "end", "ban", "remove"]),
        ({"status": "banned"}, ["reinstate", "remove"]),
        ({"status": "active", "deleted_at": NOW}, ["ban", "restore"]),
        ({"status": "banned", "deleted_at": NOW}, ["restore"]),
        ({"deleted_at": NOW, "telegram_id": "erased:00000000-0000-4000-8000-000000000000"}, []),
    ],
)
async def test_the_buttons_are_what_is_possible_now(
    client: httpx.AsyncClient,
    directory: asyncpg.Pool,
    columns: Mapping[str, object],
    expected: list[str],
) -> None:
    await rows.member(directory, **columns)
    assert buttons(await read(client, "/people/1/")) == expected


@pytest.mark.parametrize(
    "action",
    [action for action in ACTIONS if action.name != CHANGE_END],
    ids=lambda action: action.name,
)
async def test_each_action_does_what_it_says(
    client: httpx.AsyncClient, directory: asyncpg.Pool, action: object
) -> None:
    [action] = [each for each in ACTIONS if each is action]
    state = min(action.states)
    await rows.member(
        directory,
        name="Bo",
        status="active" if state == "removed" else state,
        deleted_at=NOW if state == "removed" else None,
    )
    page = await done(
        client, f"/people/1/act/{action.name}/", before=state, reason="Spam", other="seen it"
    )
    assert action.done.format(name="Bo") in page
    assert action.name not in buttons(page)
    [change] = [
        change
        for change in (await audit.history(1)).items
        if {"status", "deleted_at"} & change.changes.keys()
        and change.action == "UPDATE"
        and change.table_name == "community_members"
    ]
    # One's own words are more than the choice.
    assert (change.actor, change.reason) == ("manager", "seen it")


async def test_an_action_that_takes_something_needs_a_reason(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    page = await refused(client, "/people/1/act/ban/", before="active")
    assert "The reason can't be empty." in page
    assert "Ban Ana García?" in page  # the form is on the page again
    assert (await members.get(1)).status == "active"


async def test_a_status_that_a_colleague_has_changed_is_told(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    await members.set_status(1, "suspended", actor="luis")
    fields = {"other": "mine <b>", "until": "2199-01-01"}
    page = await refused(client, "/people/1/act/suspend/", before="active", **fields)
    assert "Nothing was changed. Ana García: Is suspended already." in page
    assert "mine <b>" not in page  # there is nothing to suspend any more
    # It is possible still: the form has what was typed.
    page = await refused(client, "/people/1/act/ban/", before="active", **fields)
    assert "Was changed by somebody else since the preview" in page
    assert 'name="other" maxlength="1000" value="mine <b>"' in page
    assert '<input type="hidden" name="before" value="suspended">' in page
    assert (await members.get(1)).status == "suspended"


async def test_a_suspension_ends_on_a_day_of_the_community(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    suspend, day = "/people/1/act/suspend/", today() + timedelta(days=3)
    for until in ("soon", str(today()), "1990-01-01", "2200-01-01", "9999-12-31"):
        await refused(client, suspend, before="active", reason="x", until=until)
    page = await done(client, suspend, before="active", reason="x", until=str(day))
    assert "Suspended until" in page
    assert (await members.get(1)).suspended_until == datetime.combine(day, time.min, UTC)


async def test_a_suspension_gets_another_end(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    end, day = "/people/1/act/end/", today() + timedelta(days=3)
    await members.set_status(1, "suspended", actor="luis")
    page = await done(client, end, until=str(day))
    assert f'max="2199-12-31" value="{day}"' in page  # the form has the present end
    assert "set the end of the suspension to" in page
    assert (await members.get(1)).suspended_until == datetime.combine(day, time.min, UTC)
    assert "the suspension has this end already" in await refused(client, end, until=str(day))
    page = await refused(client, end, until="2200-01-01")
    assert "The suspension must end by Dec 31, 2199, or have no end." in page
    assert "suspended them without an end" in await done(client, end, until="")
    assert (await members.get(1)).suspended_until is None
    await members.set_status(1, "active", actor="luis")
    assert "can't change" in await refused(client, end, until=str(day))
    assert (await members.get(1)).status == "active"


async def test_an_approval_can_be_undone(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, name="Bo", status="pending")
    response = await send(client, "/people/1/act/approve/", before="pending")
    page = await read(client, response.headers["location"])
    [act] = re.findall(r'name="act" value="([^"]+)"', page)
    assert "This can be undone until" in page
    assert "Bo waits for approval again." in await done(client, "/people/1/undo/", act=act)
    assert (await members.get(1)).status == "pending"
    await refused(client, "/people/1/undo/", act=act)
    for nothing in ("x", "00000000-0000-4000-8000-000000000000"):
        assert 'name="act"' not in await read(client, f"/people/1/?act={nothing}")


async def test_only_a_superuser_acts_on_somebody_who_manages(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    await permissions.grant(1, "manage", actor="eva")
    superuser = client.cookies["id"]
    await sign_in_as(client, directory, "manager")
    for until in ("", "2199-01-01"):
        fields = {"before": "active", "reason": "x", "until": until}
        page = await refused(client, "/people/1/act/suspend/", **fields)
        assert "Is a manager: only a superuser may do this" in page
    assert (await members.get(1)).status == "active"
    client.cookies.set("id", superuser)
    await done(client, "/people/1/act/suspend/", before="active", reason="x")
    assert (await members.get(1)).status == "suspended"


async def test_a_viewer_reads_and_has_no_forms(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    await notes.add(1, "careful", actor="eva")
    await accounts.link(1, "discord", "5", actor="eva")
    await sign_in_as(client, directory, "viewer")
    page = await read(client, "/people/1/")
    assert "careful" in page
    posts = re.findall(r'<form[^>]*method="post" action="([^"]*)"', page)
    assert posts == ["/theme/"]
    assert buttons(page) == []
    assert "Split off" not in page
    assert "<dialog" not in page
    for path in ("act/ban", "notes", "profile", "permissions", "accounts", "erase", "export"):
        assert (await send(client, f"/people/1/{path}/", reason="x")).status_code == 403
    for path in ("/people/1/merge/?with=2", "/people/1/erase/"):
        await read(client, path, 403)
    # Nor do they by the addresses of the forms.
    assert "Save" not in await read(client, "/people/1/?field=name")


async def test_one_field_is_edited_in_place(client: httpx.AsyncClient, ana: asyncpg.Record) -> None:
    page = await read(client, "/people/1/?field=country")
    assert re.findall(r'name="value" value="([^"]*)"', page) == ["Mexico"]
    before = re.findall(r'name="before" value="([^"]*)"', page)
    assert '"Mexico"' in [unescape(text) for text in before] or '"Mexico"' in page
    page = await done(
        client, "/people/1/profile/", field="country", before='"Mexico"', value=" Peru "
    )
    assert "Saved." in page
    member = await members.get(1)
    assert (member.country, member.telegram_username) == ("Peru", "ana")
    await done(client, "/people/1/profile/", field="country", before='"Peru"', value="")
    assert (await members.get(1)).country is None
    page = await refused(
        client, "/people/1/profile/", field="name", before='"Ana García"', value=""
    )
    assert (await members.get(1)).name == "Ana García"


async def test_keys_of_the_profile_are_edited_with_their_kind(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    edit = "/people/1/profile/"
    key = {"field": "profile_data"}
    await done(client, edit, **key, key="skills", before='["art", "code"]', value="art, , law")
    await done(client, edit, **key, key="site", before='"https://ana.example/"', value="")
    assert (await members.get(1)).profile_data == {"skills": ["art", "law"], "more": {"a": 1}}
    assert "?field=profile_data&key=more" not in await read(client, "/people/1/")


async def test_who_saved_in_the_meantime_is_told_and_nothing_is_lost(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    await members.update_profile(1, country="Chile", actor="luis")
    page = await refused(
        client, "/people/1/profile/", field="country", before='"Mexico"', value="Peru"
    )
    assert "Somebody else has changed the country" in page
    assert re.search(r"Stored now: Chile <small>\(luis, \d+ seconds? ago\)", page)
    assert 'name="value" value="Peru"' in page
    assert (await members.get(1)).country == "Chile"
    # The form has the present value now, so that saving again replaces it.
    await done(client, "/people/1/profile/", field="country", before='"Chile"', value="Peru")
    assert (await members.get(1)).country == "Peru"


@pytest.mark.parametrize(
    ("field", "before"),
    [
        ("status", '"active"'),
        ("telegram_id", '"1001"'),
        ("profile_data", "{}"),
        ("name", "not JSON"),
    ],
)
async def test_other_fields_are_not_edited(
    client: httpx.AsyncClient, ana: asyncpg.Record, field: str, before: str
) -> None:
    stored = await members.get(1)
    await refused(client, "/people/1/profile/", field=field, before=before, value="7")
    assert await members.get(1) == stored


async def test_notes_are_written_and_removed(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    page = await done(client, "/people/1/notes/", note=f" {HOSTILE}\nsecond ")
    assert "The note is stored." in page
    [note] = (await notes.list_for(1)).items
    assert (note.text, note.written_by) == (f"{HOSTILE}\nsecond", "manager")
    await refused(client, "/people/1/notes/", note="  ")
    page = await refused(client, "/people/1/notes/", note="x" * 4001)
    assert "x" * 4001 in page
    await done(client, "/people/1/notes/remove/", id=str(note.id))
    assert (await notes.list_for(1)).items == []
    await refused(client, "/people/1/notes/remove/", id=str(note.id))


async def test_permissions_change_where_the_boxes_did(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    await permissions.grant(1, "review", actor="eva")
    page = await read(client, "/people/1/")
    assert re.findall(r'name="before" value="([a-z]+)"><label', page) == ["review"]
    # A colleague grants another one, which this form has not seen.
    await permissions.grant(1, "moderate", actor="luis")
    await done(client, "/people/1/permissions/", may=["invite"], before=["review"], reason="new")
    held = {each.permission for each in await permissions.of(1)}
    assert held == {"invite", "moderate"}
    assert {
        (change.actor, change.reason)
        for change in (await audit.history(1)).items
        if change.changes.get("permission") in ([None, "invite"], ["review", None])
    } == {("manager", "new")}


async def test_accounts_are_linked_and_split_off(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    account = {"platform": "discord", "account_id": "55"}
    await refused(client, "/people/1/accounts/", **account, username="ana.d")
    page = await done(client, "/people/1/accounts/", **account, username="ana.d", reason="known")
    assert "The discord account is linked." in page
    assert page.count("Split off</button>") == 2  # on the page and in its dialog
    # The account that is named by the member's own columns stays.
    main = {"platform": "telegram", "account_id": "1001", "reason": "x"}
    await refused(client, "/people/1/accounts/split/", **main)
    await done(client, "/people/1/accounts/split/", **account, reason="a mistake")
    assert {each.platform for each in await accounts.of(1)} == {"telegram"}
    page = await refused(client, "/people/1/accounts/split/", **account, reason="again")
    assert "does not have the account any more" in page


async def test_an_account_of_somebody_else_is_not_split_off_here(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    await rows.account(directory, platform="discord", account_id="7")
    split = {"platform": "discord", "account_id": "7", "reason": "x"}
    await refused(client, "/people/1/accounts/split/", **split)
    assert len(await accounts.of(2)) == 2


async def test_the_page_tells_invitations_branch_and_relationships(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    await rows.member(directory, name="Bo", status="active", invited_by="#1")
    await rows.member(directory, name="Cleo", status="pending", invited_by="#2")
    await rows.invitation(
        directory, created_by="#1", accepted_by="#2", accepted_at=NOW, status="accepted"
    )
    await rows.invitation(directory, created_by="#2", invited_telegram_username="zoe")
    await relationships.link("#2", "#1", "MENTORED", {})
    await relationships.link("#2", "entity-x", "KNOWS", {})
    page = await read(client, "/people/2/")
    assert 'Received from <a href="/people/1/"><bdi>Ana García</bdi></a>' in page
    assert "<bdi>@zoe</bdi>" in page
    assert "1 made: 1 open" in page
    assert '<li><a href="/people/1/"><bdi>Ana García</bdi></a></li>' in page
    assert '<a class="person" href="/people/3/"><bdi>Cleo</bdi></a>' in page
    assert '<span class="tag">MENTORED</span> → <a href="/people/1/">' in page
    assert '<bdi class="code">entity-x</bdi>' in page
    first = await read(client, "/people/1/")
    assert '<span class="tag">MENTORED</span></div>' in first
    assert "They received no invitation." in first
    assert "Invited by" in await read(client, "/people/3/")


async def test_the_page_explains_the_reputation(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(
        directory,
        github_username="ana",
        github_verified=True,
        github_verified_at=NOW,
        github_profile_data='{"public_repos": 3, "followers": 1, "contributions": 86}',
        reputation_score=104,
        status="active",
    )
    page = await read(client, "/people/1/")
    assert "104 points: 3 repositories × 5, 1 follower × 3, 86 contributions" in page
    assert "397 to Active Developer" in page
    assert "The GitHub data has no count of: stars" in page
    assert (
        '<progress aria-label="The way from Contributor to Active Developer" value="3" max="400"'
        in page
    )
    await directory.execute("UPDATE community_members SET reputation_score = 0, is_bot = true")
    assert "A bot earns nothing." in await read(client, "/people/1/")


async def test_the_story_is_told_page_by_page(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    for number in range(35):
        await members.update_profile(1, organization=f"Studio {number}", actor="luis")
    page = await read(client, "/people/1/")
    assert page.count("<time") >= 30
    [earlier] = re.findall(r'\?story=([^"#]+)#story">Earlier', page)
    older = await read(client, f"/people/1/?story={earlier}")
    assert "Later</a>" in older
    assert "Earlier</a>" not in older
    await read(client, "/people/1/?story=nothing", 404)


async def test_a_removed_and_an_erased_person_have_their_page(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    await members.remove(1, actor="eva")
    page = await read(client, "/people/1/")
    assert '<span class="state s-removed">Removed</span>' in page
    assert "A removed member has no reputation." in page
    assert "/people/1/profile/" not in page
    await members.erase(1, actor="eva")
    page = await read(client, "/people/1/")
    assert '<span class="state s-removed">Erased</span>' in page
    assert "/people/1/erase/" not in page
    assert "/people/1/notes/" not in page
    assert "Ana" not in page


async def test_a_merged_number_leads_to_the_other_one(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    await rows.merged_member(directory, merged_into="#1")
    response = await client.get("/people/2/")
    assert (response.status_code, response.headers["location"]) == (303, "/people/1/")
    assert "#2 was merged into #1." in await read(client, "/people/1/")
    response = await send(client, "/people/2/act/remove/", before="active", reason="x")
    assert response.headers["location"] == "/people/1/"
    assert (await members.get(1)).deleted_at is None


@pytest.mark.parametrize("number", ["2", "0", "x", "9" * 30, "9" * 5000, "%231"])
async def test_there_is_no_page_for_other_numbers(
    client: httpx.AsyncClient, ana: asyncpg.Record, number: str
) -> None:
    status = 200 if number == "%231" else 404
    await read(client, f"/people/{number}/", status)
    if status == 404:
        assert (await send(client, f"/people/{number}/notes/", note="x")).status_code == 422


async def test_an_unknown_action_changes_nothing(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    stored = await members.get(1)
    await refused(client, "/people/1/act/promote/", before="active", reason="x")
    assert await members.get(1) == stored


async def test_hostile_texts_are_text_everywhere(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(
        directory,
        name=ONE_LINE,
        primary_role="<b>role</b>",
        organization=HOSTILE,
        country="<script>",
        status="active",
        profile_data=json.dumps({HOSTILE: HOSTILE, "link": "javascript:alert(1)"}),
    )
    await rows.member(directory, name=ONE_LINE, invited_by="#1")
    await rows.event(directory, member_id="#1", room_id=HOSTILE, occurred_at=NOW)
    await rows.note(directory, member_id="#1", text=HOSTILE)
    await relationships.link("#1", "<img/src=x>", "KNOWS", {})
    await rows.account(directory, member_id="#1", platform="matrix", account_id="<i>")
    for path in (
        "/people/1/",
        "/people/1/?field=name",
        "/people/1/?room=a:<b>",
        "/people/1/?kind=<b>",
    ):
        response = await client.get(path)
        assert response.status_code == (400 if "kind" in path else 200)
        assert not re.search(r"<(img|script>|b>|i>|/b>)", response.text)
        assert 'href="javascript' not in response.text
        assert "\u202e" not in re.sub(r'value="[^"]*"', "", response.text)


def test_only_addresses_of_pages_are_links() -> None:
    def member(**profile: object) -> members.Member:
        fields: dict[str, Any] = dict.fromkeys(members.Member.__dataclass_fields__)
        return members.Member(**{**fields, "name": "Ana", "profile_data": profile})

    odd = {"a": "javascript:1", "b": "https://x y", "c": "see https://x", "d": ["art"], "e": 7}
    assert list_links(member(**odd)) == []
    assert list_links(member(a="https://x.org/me/")) == [("https://x.org/me/", "x.org/me")]
    shown = {field.key: field for field in list_profile_fields(member(**odd, f=["a,b"], g="a\nb"))}
    assert [shown[key].is_editable for key in "adefg"] == [True, True, False, False, False]


async def test_a_person_is_exported_by_a_superuser(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    response = await send(client, "/people/1/export/")
    assert response.headers["content-disposition"] == 'attachment; filename="member-1.json"'
    assert response.json()["member"]["name"] == "Ana García"
    await sign_in_as(client, directory, "manager")
    assert (await send(client, "/people/1/export/")).status_code == 403
    assert "Export everything" not in await read(client, "/people/1/")


async def test_a_person_is_erased_if_their_number_is_typed(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    assert "Type #1 to confirm" in await read(client, "/people/1/erase/")
    page = await refused(client, "/people/1/erase/", number_again="2", reason="asked")
    assert 'value="asked"' in page
    await refused(client, "/people/1/erase/", number_again="#1", reason="")
    page = await done(client, "/people/1/erase/", number_again="1", reason="asked")
    assert "#1 was erased." in page
    assert "DIRECTORY_SECRET_KEY is not set" in page
    assert (await audit.history(1)).items[0].reason == "asked"


async def test_the_erasure_names_whose_account_the_profile_states(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.member(directory, name="Ana", profile_data='{"discord_id": "5"}')
    assert "seem to be the same person" not in await read(client, "/people/1/erase/")
    await rows.member(directory, name="Other", telegram_id="discord:5")
    page = await read(client, "/people/1/erase/")
    assert "seem to be the same person" in page
    assert '<a href="/people/2/"><bdi>Other</bdi></a> (#2), the same Discord account' in page


async def test_a_superuser_reads_which_setting_an_erasure_needs(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    await members.set_status(1, "banned", actor="eva")
    page = await refused(client, "/people/1/erase/", number_again="1", reason="asked")
    assert "only if the setting DIRECTORY_SECRET_KEY is set" in page


async def test_a_person_who_asks_for_something_is_seen(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    await requests.ask(1, "erasure", actor="bot")
    assert "Asked for the erasure of their data." in await read(client, "/people/1/")


async def test_two_managers_ban_at_once_and_one_is_told(
    client: httpx.AsyncClient, ana: asyncpg.Record
) -> None:
    answers = await asyncio.gather(
        *(send(client, "/people/1/act/ban/", before="active", reason="spam") for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [303, 422, 422]
    kinds = [change.kind for change in (await audit.history(1)).items]
    assert kinds.count(audit.ChangeKind.MEMBER_BANNED) == 1


async def test_the_numbers_of_the_page_are_those_of_the_helpers(
    client: httpx.AsyncClient, directory: asyncpg.Pool, ana: asyncpg.Record
) -> None:
    for number in range(8):
        await rows.member(directory, name=f"Child {number}", invited_by="#1")
        await rows.invitation(directory, created_by="#1")
    page = await read(client, "/people/1/")
    made = await invitations.statistics(1)
    assert f"8 made: {made.open} open" in page
    assert "All by outcome" in page
    assert "All in People" in page
    assert acts.UNDO_WINDOW.total_seconds() == 600  # the texts say so


@pytest.mark.usefixtures("ana")
async def test_links_to_longer_lists_promise_no_number_and_lead_to_rows(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    """People lists nobody who was removed, and Invitations one outcome at a time."""
    for _ in range(7):
        child = (await rows.member(directory, status="active", invited_by="#1"))["member_id"]
        accepted = {"status": "accepted", "accepted_by": child, "accepted_at": NOW}
        await rows.invitation(directory, created_by="#1", **accepted)
    await members.remove(2, actor="irene")
    page = await read(client, "/people/1/")
    links = dict(re.findall(r'<a href="([^"]*inviter=1)">([^<]*)</a>', page))
    assert list(links.values()) == ["All by outcome", "All in People"]
    listed = [len(re.findall("<tr>", await read(client, unescape(link)))) for link in links]
    assert listed == [7 + 1, 6 + 1]  # with the row of the heads


@pytest.mark.usefixtures("ana")
async def test_one_invitation_has_the_singular_and_a_list_of_them_the_plural(
    client: httpx.AsyncClient, directory: asyncpg.Pool
) -> None:
    await rows.invitation(directory, created_by="#1", status="cancelled")
    client.cookies.set("language", "es")
    assert '<span class="state o-cancelled">Cancelada</span>' in await read(client, "/people/1/")
    assert "Canceladas <small>1" in await read(client, "/invitations/")
