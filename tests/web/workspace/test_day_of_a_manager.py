"""The day of a manager in Chromium: each path is one that they take every day."""

import re
from datetime import timedelta

import asyncpg
import pytest
from piccolo.apps.user.tables import BaseUser
from playwright.async_api import Browser, Page, expect

from community_directory.calendar import today
from community_directory.queries import members
from tests.tables import rows
from tests.web.conftest import PASSWORD, session_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:If running sessions in production"),
]


@pytest.fixture
async def page(visitor: Page, panel: str) -> Page:
    """A browser in which luis, a manager, is signed in."""
    luis = await BaseUser.create_user(
        "luis", PASSWORD, email="luis@directory.example", active=True, admin=True
    )
    await visitor.context.add_cookies(
        [{"name": "id", "value": await session_of(luis), "url": panel}]
    )
    return visitor


@pytest.fixture
async def newcomers(directory: asyncpg.Pool) -> list[str]:
    """Ten newcomers, #2 to #11, whom the active #1 has invited."""
    await rows.member(directory, name="Ana García", status="active", telegram_username="ana")
    added = [
        await rows.member(directory, name=f"Newcomer {number}", status="pending", invited_by="#1")
        for number in range(10)
    ]
    return [row["member_id"] for row in added]


async def statuses(directory: asyncpg.Pool, status: str) -> int:
    count: int = await directory.fetchval(
        "SELECT count(*) FROM community_members WHERE status = $1", status
    )
    return count


async def test_ten_newcomers_are_approved_with_ten_keys_and_the_last_one_comes_back(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await page.goto("/review/")
    await expect(page.locator("tbody tr[id]")).to_have_count(10)
    for _ in newcomers:
        await page.keyboard.press("a")
    await expect(page.get_by_text("Nobody waits for approval.")).to_be_visible()
    assert await statuses(directory, "pending") == 0
    approved = await directory.fetch(
        "SELECT DISTINCT actor FROM directory_audit_log WHERE changes -> 'status' ->> 1 = 'active'"
        " AND action = 'UPDATE'"
    )
    assert [actor for (actor,) in approved] == ["luis"]

    await expect(page.locator("#announcer")).to_contain_text("Undo possible until")
    await page.get_by_role("button", name="Undo").click()
    await expect(page.locator("tbody tr[id]")).to_have_count(1)
    assert await statuses(directory, "pending") == 1
    await expect(page.get_by_role("status").filter(has_text="waits again")).to_be_visible()


async def test_several_newcomers_are_declined_after_a_look_at_the_list(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await page.goto("/review/")
    await page.get_by_label("Pick all 10 on this page").check()
    await page.get_by_label("Pick Newcomer 3").uncheck()
    await page.get_by_role("button", name="Decline the picked").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("heading", name="Decline 9 newcomers?")).to_be_visible()
    assert await statuses(directory, "pending") == 10  # nothing has happened yet
    await dialog.get_by_label("Looks automated").check()
    await dialog.get_by_role("button", name="Decline 9 people").click()
    await expect(page.locator("tbody tr[id]")).to_have_count(1)
    await expect(page.get_by_role("link", name="Newcomer 3", exact=True)).to_be_visible()
    assert await statuses(directory, "not_member") == 9


async def test_a_newcomer_is_approved_on_their_page_and_their_story_says_so(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await page.goto("/review/")
    await page.get_by_role("link", name="Newcomer 0", exact=True).click()
    await expect(page).to_have_url(re.compile("/people/2/$"))
    await page.get_by_role("button", name="Approve").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Reason, for the log (optional)").fill("Met in Oaxaca")
    await dialog.get_by_role("button", name="Approve").click()
    await expect(page.locator("#content").get_by_text("is an active member now.")).to_be_visible()
    story = page.get_by_role("region", name="Story")
    await expect(story).to_contain_text("luis")
    await expect(story).to_contain_text("Met in Oaxaca")
    assert (await members.get(2)).status == "active"


async def test_two_managers_edit_the_same_field_and_nothing_is_lost(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await page.goto("/people/1/")
    edit = page.get_by_role("link", name="Edit Organization")
    await edit.click()
    field = page.locator("input[name=value]")
    await expect(field).to_be_focused()
    # htmx has taken over the link that the key presses.
    await expect(page.locator(".htmx-added, .htmx-settling")).to_have_count(0)
    await field.press("Escape")
    await expect(edit).to_be_focused()
    await edit.click()
    await field.fill("Frutero")
    await members.update_profile(1, organization="Banana Labs", actor="eva")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_role("alert").first).to_be_visible()
    await expect(page.get_by_text("Stored now: Banana Labs")).to_be_visible()
    await expect(field).to_have_value("Frutero")
    assert (await members.get(1)).organization == "Banana Labs"
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.locator("#content").get_by_text("Saved.")).to_be_visible()
    assert (await members.get(1)).organization == "Frutero"


async def test_a_note_is_written_and_removed(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await page.goto("/people/1/")
    notes = page.get_by_role("region", name="Notes by managers")
    await notes.get_by_label("A new note").fill("<b>Kind</b> & quick")
    await notes.get_by_role("button", name="Add the note").click()
    await expect(notes.get_by_text("<b>Kind</b> & quick")).to_be_visible()
    await notes.get_by_role("button", name="Remove").click()
    await expect(notes.get_by_text("No notes so far.")).to_be_visible()


async def test_a_suspension_ends_on_its_day(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await page.goto("/people/1/")
    await page.get_by_role("button", name="Suspend").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Asked for a pause").check()
    await dialog.get_by_label("Until the morning of").fill(str(today() + timedelta(days=7)))
    await dialog.get_by_role("button", name="Suspend").click()
    await expect(page.get_by_text("Suspended until")).to_be_visible()

    # The week passes.
    await directory.execute(
        "UPDATE community_members SET suspended_until = now() WHERE suspended_until IS NOT NULL"
    )
    assert await members.end_suspensions() == 1
    await page.reload()
    await expect(page.get_by_text("Suspended until")).to_have_count(0)
    story = page.get_by_role("region", name="Story")
    await expect(story).to_contain_text("Came back from the suspension")


async def test_fifty_usernames_are_invited_at_once(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await rows.permission(directory, member_id="#1", permission="manage")  # no quota
    await page.goto("/invitations/")
    many = page.get_by_role("region", name="Invite many")
    names = [f"@friend_{number}" for number in range(48)]
    await many.get_by_label("Usernames").fill("\n".join([*names, "@ana", "not a username!"]))
    await many.get_by_label("Invited by").fill("#1")
    await many.get_by_role("button", name="Invite them all").click()
    await expect(many.get_by_role("status")).to_contain_text("48 invited, 2 not")
    await expect(many.get_by_text("A member already:")).to_be_visible()
    assert await directory.fetchval("SELECT count(*) FROM community_invitations") == 48

    # Over plain HTTP, a browser has no clipboard.
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    copy = page.locator("[data-copy]").first
    async with page.expect_event("dialog", lambda dialog: dialog.type == "prompt") as shown:
        page.once("dialog", lambda dialog: dialog.dismiss())
        await copy.click()
    assert (await shown.value).default_value == await copy.get_attribute("data-copy")


async def test_an_ended_session_keeps_what_was_typed(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await page.goto("/people/1/")
    await page.get_by_label("A new note").fill("Ten minutes of typing")
    await directory.execute("DELETE FROM sessions")
    await page.get_by_role("button", name="Add the note").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.get_by_label("Username").fill("luis")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    # The session is gone, so it was perhaps another manager's: the form is sent by a button.
    await page.get_by_role("button", name="Send it").click()
    notes = page.get_by_role("region", name="Notes by managers")
    await expect(notes.get_by_text("Ten minutes of typing")).to_be_visible()


async def test_the_people_of_a_filter_are_removed_after_a_preview(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await rows.permission(directory, member_id="#1", permission="manage")
    await page.goto("/people/")
    await page.get_by_label("Name, @username, number or id").fill("newcomer")
    await expect(page.locator("#rows tbody tr")).to_have_count(10)
    await expect(page).to_have_url(re.compile("q=newcomer"))
    dialog = page.get_by_role("dialog")
    reason = dialog.get_by_label("Reason, for the log")
    remove = page.get_by_role("button", name="Remove", exact=True)
    await page.get_by_label("All 10 people of the list").check()
    await remove.click()
    await expect(reason).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator("#rows tbody tr")).to_have_count(10)
    await page.get_by_label("All 10 people of the list").check()
    await remove.click()
    await expect(dialog.get_by_text("Nothing has happened yet.")).to_be_visible()
    # Whoever comes now is not in the list that was shown.
    await rows.member(directory, name="Late newcomer", status="pending")
    await reason.fill("Asked for it")
    await dialog.get_by_role("button", name=re.compile("Remove")).click()
    await expect(page.get_by_role("link", name="See it in the log")).to_be_visible()
    left = await directory.fetch(
        "SELECT name FROM community_members WHERE deleted_at IS NULL ORDER BY member_id"
    )
    assert [name for (name,) in left] == ["Ana García", "Late newcomer"]
    await page.get_by_role("link", name="See it in the log").click()
    await expect(page.locator("main")).to_contain_text("Asked for it")


async def test_a_view_is_saved_as_a_segment_that_colleagues_see(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    await page.goto("/people/?status=pending")
    await page.get_by_label("Name, @username, number or id").fill("newcomer")
    await expect(page).to_have_url(re.compile("q=newcomer"))
    sort = page.get_by_role("link", name="Score")
    await sort.press("Enter")
    await expect(page).to_have_url(re.compile("sort=-score"))
    await expect(sort).to_be_focused()
    await page.get_by_label("Name, @username, number or id").fill("newcomer 1")
    await expect(page.locator("#rows tbody tr")).to_have_count(1)
    await page.get_by_role("link", name="Save this view").click()
    await page.get_by_role("region", name="Save this view").get_by_label("Name").fill("Autumn")
    await page.get_by_role("button", name="Save", exact=True).click()
    segments = page.get_by_role("navigation", name="Segments")
    await expect(segments.get_by_role("link", name="Autumn")).to_be_visible()
    await page.goto("/people/")
    await segments.get_by_role("link", name="Autumn").click()
    await expect(page.locator("#rows tbody tr")).to_have_count(1)
    await expect(page.locator("#rows tbody th").filter(has_text="Ana")).to_have_count(0)


async def test_a_spammer_is_banned_with_everybody_below_by_four_clicks_and_one_reason(
    page: Page, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    spammer = await rows.member(directory, name="Spammer", status="active", invited_by="#1")
    branch = [spammer["member_id"]]
    for number in range(39):
        found = await rows.member(
            directory, name=f"Bot {number}", status="active", invited_by=branch[number // 3]
        )
        branch.append(found["member_id"])
    await page.goto(f"/tree/{branch[0][1:]}/")
    # Four clicks: what happens, the one to spare, the preview, and the act.
    await page.get_by_role("radio", name=re.compile("^Ban")).check()
    await page.get_by_label("Include Bot 38").uncheck()
    await page.get_by_label("Reason, for the log").fill("Spam")
    await page.get_by_role("button", name="Preview").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_text("Nothing has happened yet.")).to_be_visible()
    await expect(dialog.get_by_label("Reason, for the log")).to_have_value("Spam")
    await dialog.get_by_label("More than 20 people: type 39 to confirm").fill("39")
    await dialog.get_by_role("button", name=re.compile("Ban")).click()
    await expect(page.get_by_role("status").filter(has_text="39")).to_be_visible()
    assert await statuses(directory, "banned") == 39
    assert (await members.get(branch[-1])).status == "active"
    acts = await directory.fetch(
        "SELECT act_id, count(*), min(reason) FROM directory_audit_log"
        " WHERE changes -> 'status' ->> 1 = 'banned' GROUP BY act_id"
    )
    assert [(row["count"], row["min"]) for row in acts] == [(39, "Spam")]


async def test_a_colleague_joins_by_a_link_and_sets_their_own_password(
    page: Page, panel: str, directory: asyncpg.Pool
) -> None:
    await directory.execute("UPDATE piccolo_user SET superuser = true")
    await page.goto("/colleagues/")
    await page.get_by_label("Username").fill("vera")
    await page.get_by_label("E-mail address").fill("vera@directory.example")
    await page.get_by_role("radio", name=re.compile("^Viewer")).check()
    await page.get_by_role("button", name="Make a link").click()
    link = await page.get_by_label("It works once").input_value()
    await page.context.clear_cookies()
    await page.goto(link)
    await page.get_by_label("New password, at least 12 characters").fill(PASSWORD)
    await page.get_by_label("The new password again").fill(PASSWORD)
    await page.get_by_role("button", name="Join").click()
    await page.get_by_label("Username").fill("vera")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("link", name="vera", exact=True)).to_be_visible()
    await page.goto(link)
    await expect(page.get_by_role("button", name="Join")).to_have_count(0)


async def test_a_newcomer_is_approved_and_a_note_is_written_without_a_script(
    page: Page, panel: str, browser: Browser, directory: asyncpg.Pool, newcomers: list[str]
) -> None:
    context = await browser.new_context(
        base_url=panel,
        java_script_enabled=False,
        storage_state=await page.context.storage_state(),
    )
    plain = await context.new_page()
    await plain.goto("/review/")
    await plain.get_by_role("button", name="Approve Newcomer 0", exact=True).click()
    await plain.get_by_role("button", name="Undo").click()
    await expect(plain.get_by_text("waits again")).to_be_visible()
    await plain.get_by_role("link", name="Newcomer 0", exact=True).click()
    await plain.get_by_label("A new note").fill("Kind")
    await plain.get_by_role("button", name="Add the note").click()
    await expect(
        plain.get_by_role("region", name="Notes by managers").get_by_text("Kind")
    ).to_be_visible()
    await context.close()
    assert await statuses(directory, "pending") == 10
